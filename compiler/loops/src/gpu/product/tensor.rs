//! Products of 16-bit floats on tensor cores: eight warps, two down and four across, have a part of the tile each, whose sums
//! are in their registers. Strips of both operands come into one half of shared memory while those in the other half are
//! multiplied. An operand lies there as it lies in memory, so a copy is 16 bytes to 16 bytes, and what has to be transposed is so on
//! the way to the registers.

use tdl_ir::{BinaryOp, CompareOp, Dtype};

use super::{Along, Epilogue, Frame, Kind, ONE, Spread, aligned, at, compare, inside, put, sum, zero};
use crate::code::Code;
use crate::ir::*;

/// Warps down and across a tile.
#[derive(Clone, Copy)]
pub struct Warps {
    pub down: i64,
    pub across: i64,
}

impl Warps {
    pub fn threads(self) -> i64 {
        self.down * self.across * WARP as i64
    }

    /// Tiles of a warp's instructions, down and across its part.
    fn tiles(self, tile: i64) -> (i64, i64) {
        (tile / self.down / Tile::M, tile / self.across / Tile::N)
    }
}

const EIGHT: Warps = Warps { down: 2, across: 4 };
/// Inner indices that are in shared memory at a time.
const STRIP: i64 = 32;
/// Elements of a copy.
const RUN: i64 = 8;

/// How an operand lies in shared memory.
#[derive(Clone, Copy)]
pub struct Layout {
    /// Neighbours differ in the inner index.
    along_inner: bool,
    /// From one line to the next: eight lines begin in eight different groups of banks.
    pitch: i64,
    /// Elements of a strip.
    len: i64,
}

fn layout(left: bool, along: Along, tile: i64) -> Layout {
    let along_inner = if left { along != Along::Rows } else { along == Along::Rows };
    let (length, lines) = if along_inner { (STRIP, tile) } else { (tile, STRIP) };
    Layout { along_inner, pitch: length + RUN, len: lines * (length + RUN) }
}

pub fn kernel(kind: Kind, after: Option<&mut dyn Epilogue>) -> Kernel {
    let layouts = layouts([kind.along[0], kind.along[1]], kind.tile);
    let Kind { dtype, tile: side, .. } = kind;
    let name = format!("product.{dtype}.{side}");
    let shared = layouts.iter().map(|l| (dtype, 2 * l.len)).collect();
    super::kernel(kind, Spread { name, rows: side, cols: side, threads: EIGHT.threads(), shared }, after, |f| {
        tile(f, layouts)
    })
}

/// Where a thread is.
struct Place {
    /// Its number in the warp.
    lane: Operand,
    /// First row and column of its warp's part of the tile.
    row: Operand,
    col: Operand,
}

fn tile(f: &mut Frame<'_>, layouts: [Layout; 2]) {
    let (down, across) = EIGHT.tiles(f.kind.tile);
    let none = vec![zero(Dtype::F32); (down * across * 4) as usize];
    let sums = accumulate(f, EIGHT, layouts, &none, None);
    finish(f, EIGHT, &sums);
}

fn place(f: &mut Frame<'_>, warps: Warps) -> Place {
    let tile = f.kind.tile;
    let size = Operand::i64(WARP as i64);
    let (warp, lane) = (f.c.div(f.thread, size), f.c.rem(f.thread, size));
    let across = Operand::i64(warps.across);
    let (down, across) = (f.c.div(warp, across), f.c.rem(warp, across));
    let row = f.c.mul(down, Operand::i64(tile / warps.down));
    let col = f.c.mul(across, Operand::i64(tile / warps.across));
    Place { lane, row, col }
}

/// From one row to the next of a left operand that is in shared memory as a whole, inner indices (from the first one on) being neighbours.
pub fn held_pitch(tile: i64) -> i64 {
    tile + RUN
}

/// Elements of each strip array, however the operand lies.
pub fn strip_len(tile: i64) -> i64 {
    2 * [Along::Cols, Along::Rows].map(|along| layout(true, along, tile).len).into_iter().fold(0, i64::max)
}

/// How both operands lie.
pub fn layouts(along: [Along; 2], tile: i64) -> [Layout; 2] {
    [layout(true, along[0], tile), layout(false, along[1], tile)]
}

/// The row of each of a thread's sums, and its column, from the tile's corner on. The second of a pair is the next column.
pub fn elements(f: &mut Frame<'_>, warps: Warps) -> Vec<(Operand, Operand)> {
    let (down, across) = warps.tiles(f.kind.tile);
    let place = place(f, warps);
    let (group, pair) = (f.c.div(place.lane, Operand::i64(4)), f.c.rem(place.lane, Operand::i64(4)));
    let mut out = Vec::new();
    for i in 0..down {
        for j in 0..across {
            for q in 0..4 {
                let row = sum(i * Tile::M + q / 2 * Tile::M / 2, &[(place.row, ONE), (group, ONE)]);
                let col = sum(j * Tile::N + q % 2, &[(place.col, ONE), (pair, Operand::i64(2))]);
                out.push((index(f.c, row), index(f.c, col)));
            }
        }
    }
    out
}

/// Threads that have the same rows differ in these bits of their numbers, where one warp has them.
pub const ALONG_ROW: [u32; 2] = [1, 2];

/// Adds the products of the inner indices from `f.inner0` to `f.k`. Between two calls no barrier is needed.
pub fn accumulate(
    f: &mut Frame<'_>,
    warps: Warps,
    layouts: [Layout; 2],
    init: &[Operand],
    held: Option<Reg>,
) -> Vec<Operand> {
    let tile = f.kind.tile;
    let place = place(f, warps);
    let tiles = warps.tiles(tile);
    let copied = if held.is_some() { 1..2 } else { 0..2 };

    let wide = [0, 1].map(|which| {
        let (v, side) = if which == 0 { (&f.a, f.m) } else { (&f.b, f.n) };
        let extent = if layouts[which].along_inner { f.k } else { side };
        aligned(f.c, v, RUN, &[extent])
    });
    let start = |f: &mut Frame<'_>, strip_at: Operand, half: Operand| {
        for which in copied.clone() {
            copies(f, which, layouts[which], strip_at, half, wide[which], warps.threads());
        }
    };
    start(f, f.inner0, Operand::i64(0));
    f.c.push(Device::Group.into());

    let count = init.len();
    let regs = |c: &mut Code| -> Vec<Reg> { (0..count).map(|_| c.reg(RegTy::Scalar(Dtype::F32))).collect() };
    let (sums, sums_end) = (regs(f.c), regs(f.c));
    let at_strip = f.c.i64();
    f.c.begin();
    let since = f.c.binary(BinaryOp::Sub, Dtype::I64, at_strip.into(), f.inner0);
    let number = f.c.div(since, Operand::i64(STRIP));
    let turn = f.c.rem(number, Operand::i64(2));
    let other = f.c.binary(BinaryOp::Sub, Dtype::I64, ONE, turn);
    let next = f.c.add(at_strip.into(), Operand::i64(STRIP));
    let more = compare(f.c, CompareOp::Lt, next, f.k);
    f.c.begin();
    start(f, next, other);
    let then = f.c.end();
    f.c.push(Stmt::If(If { cond: more, then, els: vec![], results: vec![] }));
    f.c.push(Device::Group.into());
    f.c.push(Device::Wait { left: 1 }.into());
    f.c.push(Stmt::Barrier(Per::Block));
    // an operand that is there as a whole is one strip, which begins at its first element
    let whole = Layout { along_inner: true, pitch: held_pitch(tile), len: 1 };
    let (left, left_layout, left_half) = match held {
        Some(ptr) => (ptr, whole, since),
        None => (f.shared[0], layouts[0], turn),
    };
    let left = Strip { ptr: left, layout: left_layout, half: left_half };
    let right = Strip { ptr: f.shared[1], layout: layouts[1], half: turn };
    let mut now: Vec<Operand> = sums.iter().map(|r| (*r).into()).collect();
    for step in 0..STRIP / Tile::K {
        multiply(f, [&left, &right], &place, step * Tile::K, tiles, &mut now);
    }
    // the next round's copies come to where others may still be reading
    f.c.push(Stmt::Barrier(Per::Block));
    let body = f.c.end();
    let carried =
        (0..count).map(|i| Carried { param: sums[i], init: init[i], next: now[i], result: sums_end[i] }).collect();
    let (kind, step) = (LoopKind::Serial, Operand::i64(STRIP));
    f.c.push(Stmt::For(For { var: at_strip, lo: f.inner0, hi: f.k, step, kind, carried, reductions: vec![], body }));
    sums_end.into_iter().map(Operand::from).collect()
}

/// Stores the sums.
pub fn finish(f: &mut Frame<'_>, warps: Warps, sums: &[Operand]) {
    let place = place(f, warps);
    let (tiles_down, tiles_across) = warps.tiles(f.kind.tile);
    let wide = aligned(f.c, &f.out, 2, &[]);
    let (group, pair) = (f.c.div(place.lane, Operand::i64(4)), f.c.rem(place.lane, Operand::i64(4)));
    for i in 0..tiles_down {
        for half in 0..2 {
            let offset = i * Tile::M + half * Tile::M / 2;
            let row = index(f.c, sum(offset, &[(f.row0, ONE), (place.row, ONE), (group, ONE)]));
            for j in 0..tiles_across {
                let col = sum(j * Tile::N, &[(f.col0, ONE), (place.col, ONE), (pair, Operand::i64(2))]);
                let col = index(f.c, col);
                let from = ((i * tiles_across + j) * 4 + half * 2) as usize;
                put(f, wide, row, col, &sums[from..from + 2]);
            }
        }
    }
}

fn index(c: &mut Code, i: Index) -> Operand {
    c.scalar(Dtype::I64, Expr::Index(i))
}

/// This thread's part of copying an operand's strip to its half of shared memory; zeros, outside.
fn copies(
    f: &mut Frame<'_>,
    which: usize,
    layout: Layout,
    strip_at: Operand,
    half: Operand,
    wide: Operand,
    threads: i64,
) {
    let Kind { dtype, tile, .. } = f.kind;
    let left = which == 0;
    let c = &mut *f.c;
    let (v, side0, side_end) = if left { (&f.a, f.row0, f.m) } else { (&f.b, f.col0, f.n) };
    let k = f.k;
    let to = f.shared[which];
    let length = if layout.along_inner { STRIP } else { tile };
    let element = |l, s| if left { at(v, s, l) } else { at(v, l, s) };
    // for each chunk: its place in shared memory, and its first element's inner index and place on the side
    let mut chunks = Vec::new();
    for q in 0..tile * STRIP / RUN / threads {
        let e = c.add(f.thread, Operand::i64(q * threads));
        let (line, run) = (c.div(e, Operand::i64(length / RUN)), c.rem(e, Operand::i64(length / RUN)));
        let place =
            sum(0, &[(half, Operand::i64(layout.len)), (line, Operand::i64(layout.pitch)), (run, Operand::i64(RUN))]);
        let run = c.mul(run, Operand::i64(RUN));
        let (l, s) = if layout.along_inner { (run, line) } else { (line, run) };
        chunks.push((place, c.add(strip_at, l), c.add(side0, s)));
    }
    c.begin();
    for (place, l, s) in &chunks {
        for q in 0..RUN {
            let (l, s) = match layout.along_inner {
                true => (c.add(*l, Operand::i64(q)), *s),
                false => (*l, c.add(*s, Operand::i64(q))),
            };
            let ok = inside(c, l, k, s, side_end);
            c.begin();
            let x = c.scalar(dtype, Expr::Load { ptr: v.ptr, dtype, index: element(l, s) });
            let then = c.end();
            let value = c.reg(RegTy::Scalar(dtype));
            let results = vec![IfResult { result: value, then: x, els: zero(dtype) }];
            c.push(Stmt::If(If { cond: ok, then, els: vec![], results }));
            let index = Index { offset: place.offset + q, terms: place.terms.clone() };
            c.push(Stmt::Store { ptr: to, dtype, index, value: value.into() });
        }
    }
    let els = c.end();
    if v.along == Along::Neither {
        els.into_iter().for_each(|s| c.push(s));
        return;
    }
    c.begin();
    for (place, l, s) in chunks {
        // where the extent is a multiple of it, a chunk is inside if its first element is
        let inside = inside(c, l, k, s, side_end);
        let (from, index) = (v.ptr, element(l, s));
        c.push(Device::Copy { to, at: place, from, index, dtype, inside }.into());
    }
    let then = c.end();
    c.push(Stmt::If(If { cond: wide, then, els, results: vec![] }));
}

/// An operand's strip in shared memory.
struct Strip {
    ptr: Reg,
    layout: Layout,
    /// Which of the strips there.
    half: Operand,
}

/// Adds the products of 16 inner indices of the strips, from `inner` on, to the sums.
fn multiply(
    f: &mut Frame<'_>,
    [a, b]: [&Strip; 2],
    place: &Place,
    inner: i64,
    (tiles_down, tiles_across): (i64, i64),
    sums: &mut [Operand],
) {
    let Kind { dtype, .. } = f.kind;
    // eight threads have the rows of a matrix: the first and third bits of their groups' numbers say which of four
    let c = &mut *f.c;
    let (group, line) = (c.div(place.lane, Operand::i64(8)), c.rem(place.lane, Operand::i64(8)));
    let (low, high) = (c.rem(group, Operand::i64(2)), c.div(group, Operand::i64(2)));
    let eight = Operand::i64(8);
    let mut matrices = |strip: &Strip, side0: Operand, side: i64, [of_side, of_inner]: [Operand; 2]| {
        let Strip { ptr, layout, half } = *strip;
        let pitch = Operand::i64(layout.pitch);
        let mut terms = vec![(half, Operand::i64(layout.len))];
        let offset = if layout.along_inner {
            let lines = c.mul(of_side, eight);
            let s = index(c, sum(side, &[(side0, ONE), (lines, ONE), (line, ONE)]));
            terms.extend([(s, pitch), (of_inner, eight)]);
            inner
        } else {
            let lines = c.mul(of_inner, eight);
            let l = index(c, sum(inner, &[(lines, ONE), (line, ONE)]));
            terms.extend([(l, pitch), (side0, ONE), (of_side, eight)]);
            side
        };
        let dst = [0; 4].map(|_| c.reg(RegTy::Scalar(Dtype::U32)));
        let index = sum(offset, &terms);
        let transposed = !layout.along_inner;
        c.push(Device::Matrices { dst, ptr, dtype, index, transposed }.into());
        dst
    };
    // of `a`: rows, then inner indices; of `b`: inner indices, then columns
    let rows: Vec<[Reg; 4]> = (0..tiles_down).map(|i| matrices(a, place.row, i * Tile::M, [low, high])).collect();
    let cols: Vec<[Reg; 4]> =
        (0..tiles_across / 2).map(|j| matrices(b, place.col, j * 2 * Tile::N, [high, low])).collect();
    for (i, a) in rows.iter().enumerate() {
        for j in 0..tiles_across as usize {
            let from = (i * tiles_across as usize + j) * 4;
            let b = [cols[j / 2][j % 2 * 2], cols[j / 2][j % 2 * 2 + 1]];
            let dst = [0; 4].map(|_| c.reg(RegTy::Scalar(Dtype::F32)));
            let old = [0, 1, 2, 3].map(|q| sums[from + q]);
            c.push(Device::Product { dst, dtype, a: *a, b, c: old }.into());
            for (q, r) in dst.into_iter().enumerate() {
                sums[from + q] = r.into();
            }
        }
    }
}
