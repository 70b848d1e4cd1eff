//! Products of 16-bit floats on tensor cores: eight warps, two down and four across, have a part of the tile each, whose sums
//! are in their registers. Strips of both operands come into one half of shared memory while those in the other half are
//! multiplied. An operand lies there as it lies in memory, so a copy is 16 bytes to 16 bytes, and what has to be transposed is so on
//! the way to the registers.

use tdl_ir::{BinaryOp, CompareOp, Dtype};

use super::{Along, Epilogue, Frame, Kind, ONE, Spread, THREADS, aligned, at, compare, inside, put, sum, zero};
use crate::code::Code;
use crate::ir::*;

/// Warps down and across a tile.
const DOWN: i64 = 2;
const ACROSS: i64 = 4;
/// Inner indices that are in shared memory at a time.
const STRIP: i64 = 32;
/// Elements of a copy.
const RUN: i64 = 8;

/// How an operand lies in shared memory.
#[derive(Clone, Copy)]
struct Layout {
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
    let layouts = [layout(true, kind.along[0], kind.tile), layout(false, kind.along[1], kind.tile)];
    let Kind { dtype, tile: side, .. } = kind;
    let name = format!("product.{dtype}.{side}");
    let shared = layouts.iter().map(|l| (dtype, 2 * l.len)).collect();
    super::kernel(kind, Spread { name, rows: side, cols: side, threads: THREADS, shared }, after, |f| tile(f, layouts))
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
    let tile = f.kind.tile;
    let size = Operand::i64(WARP as i64);
    let (warp, lane) = (f.c.div(f.thread, size), f.c.rem(f.thread, size));
    let (down, across) = (f.c.div(warp, Operand::i64(ACROSS)), f.c.rem(warp, Operand::i64(ACROSS)));
    let row = f.c.mul(down, Operand::i64(tile / DOWN));
    let col = f.c.mul(across, Operand::i64(tile / ACROSS));
    let place = Place { lane, row, col };
    let (tiles_down, tiles_across) = (tile / DOWN / Tile::M, tile / ACROSS / Tile::N);

    let wide = [0, 1].map(|which| {
        let (v, side) = if which == 0 { (&f.a, f.m) } else { (&f.b, f.n) };
        let extent = if layouts[which].along_inner { f.k } else { side };
        aligned(f.c, v, RUN, &[extent])
    });
    start(f, layouts, Operand::i64(0), Operand::i64(0), wide);

    let count = (tiles_down * tiles_across * 4) as usize;
    let regs = |c: &mut Code| -> Vec<Reg> { (0..count).map(|_| c.reg(RegTy::Scalar(Dtype::F32))).collect() };
    let (sums, sums_end) = (regs(f.c), regs(f.c));
    let at_strip = f.c.i64();
    f.c.begin();
    let number = f.c.div(at_strip.into(), Operand::i64(STRIP));
    let turn = f.c.rem(number, Operand::i64(2));
    let other = f.c.binary(BinaryOp::Sub, Dtype::I64, ONE, turn);
    let next = f.c.add(at_strip.into(), Operand::i64(STRIP));
    let more = compare(f.c, CompareOp::Lt, next, f.k);
    f.c.begin();
    start_copies(f, layouts, next, other, wide);
    let then = f.c.end();
    f.c.push(Stmt::If(If { cond: more, then, els: vec![], results: vec![] }));
    f.c.push(Device::Group.into());
    f.c.push(Device::Wait { left: 1 }.into());
    f.c.push(Stmt::Barrier(Per::Block));
    let mut now: Vec<Operand> = sums.iter().map(|r| (*r).into()).collect();
    for step in 0..STRIP / Tile::K {
        multiply(f, layouts, &place, turn, step * Tile::K, (tiles_down, tiles_across), &mut now);
    }
    // the next round's copies come to where others may still be reading
    f.c.push(Stmt::Barrier(Per::Block));
    let body = f.c.end();
    let carried = (0..count)
        .map(|i| Carried { param: sums[i], init: zero(Dtype::F32), next: now[i], result: sums_end[i] })
        .collect();
    let (lo, kind, step) = (Operand::i64(0), LoopKind::Serial, Operand::i64(STRIP));
    f.c.push(Stmt::For(For { var: at_strip, lo, hi: f.k, step, kind, carried, reductions: vec![], body }));

    let wide = aligned(f.c, &f.out, 2, &[]);
    let (group, pair) = (f.c.div(lane, Operand::i64(4)), f.c.rem(lane, Operand::i64(4)));
    for i in 0..tiles_down {
        for half in 0..2 {
            let offset = i * Tile::M + half * Tile::M / 2;
            let row = index(f.c, sum(offset, &[(f.row0, ONE), (place.row, ONE), (group, ONE)]));
            for j in 0..tiles_across {
                let col = sum(j * Tile::N, &[(f.col0, ONE), (place.col, ONE), (pair, Operand::i64(2))]);
                let col = index(f.c, col);
                let from = ((i * tiles_across + j) * 4 + half * 2) as usize;
                put(f, wide, row, col, &[sums_end[from].into(), sums_end[from + 1].into()]);
            }
        }
    }
}

fn index(c: &mut Code, i: Index) -> Operand {
    c.scalar(Dtype::I64, Expr::Index(i))
}

/// Copies of a strip, as a group.
fn start(f: &mut Frame<'_>, layouts: [Layout; 2], strip_at: Operand, half: Operand, wide: [Operand; 2]) {
    start_copies(f, layouts, strip_at, half, wide);
    f.c.push(Device::Group.into());
}

fn start_copies(f: &mut Frame<'_>, layouts: [Layout; 2], strip_at: Operand, half: Operand, wide: [Operand; 2]) {
    for which in 0..2 {
        copies(f, which, layouts[which], strip_at, half, wide[which]);
    }
}

/// This thread's part of copying an operand's strip to its half of shared memory; zeros, outside.
fn copies(f: &mut Frame<'_>, which: usize, layout: Layout, strip_at: Operand, half: Operand, wide: Operand) {
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
    for q in 0..tile * STRIP / RUN / THREADS {
        let e = c.add(f.thread, Operand::i64(q * THREADS));
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

/// Adds the products of 16 inner indices of the strip, from `inner` on, to the sums.
fn multiply(
    f: &mut Frame<'_>,
    [a, b]: [Layout; 2],
    place: &Place,
    half: Operand,
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
    let mut matrices = |ptr: Reg, layout: Layout, side0: Operand, side: i64, [of_side, of_inner]: [Operand; 2]| {
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
    let rows: Vec<[Reg; 4]> =
        (0..tiles_down).map(|i| matrices(f.shared[0], a, place.row, i * Tile::M, [low, high])).collect();
    let cols: Vec<[Reg; 4]> =
        (0..tiles_across / 2).map(|j| matrices(f.shared[1], b, place.col, j * 2 * Tile::N, [high, low])).collect();
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
