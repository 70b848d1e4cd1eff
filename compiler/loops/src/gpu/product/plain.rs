//! Products by multiply-adds: threads are a square of 16 by 16, and each has 4 or 8 elements of the tile a side. The strips that come
//! next are in registers while those in shared memory are multiplied, and go to the other half of it.

use tdl_ir::{BinaryOp, CompareOp, Dtype};

use super::{Along, Epilogue, Frame, Kind, ONE, Spread, THREADS, aligned, compare, muladd, neighbours, put, sum, zero};
use crate::code::Code;
use crate::ir::*;

/// Threads a side.
const SIDE: i64 = 16;
/// Neighbouring elements of a thread; those after them are as far on as all threads reach.
const RUN: i64 = 4;

/// The inner indices that are in shared memory at a time: as many as make each thread load one chunk of each operand.
fn strip(tile: i64) -> i64 {
    THREADS * RUN / tile
}

/// From one inner index to the next in shared memory.
fn pitch(tile: i64) -> i64 {
    tile + RUN
}

pub fn kernel(kind: Kind, after: Option<&mut dyn Epilogue>) -> Kernel {
    let Kind { dtype, tile: side, .. } = kind;
    let len = 2 * strip(side) * pitch(side);
    let name = format!("product.{dtype}.{side}");
    let shared = vec![(dtype, len); 2];
    super::kernel(kind, Spread { name, rows: side, cols: side, threads: THREADS, shared }, after, tile)
}

/// A chunk of neighbours of an operand, and where it is in shared memory.
struct Chunk {
    values: Vec<Reg>,
    /// Inner index and place on the tile's side.
    inner: Operand,
    side: Operand,
    /// The neighbours differ in the inner index.
    along_inner: bool,
}

fn tile(f: &mut Frame<'_>) {
    let Kind { dtype, tile, .. } = f.kind;
    let none = vec![zero(dtype); ((tile / SIDE) * (tile / SIDE)) as usize];
    let sums = accumulate(f, &none, None);
    finish(f, &sums);
}

/// Where in the block's square a thread is.
fn place(f: &mut Frame<'_>) -> (Operand, Operand) {
    (f.c.div(f.thread, Operand::i64(SIDE)), f.c.rem(f.thread, Operand::i64(SIDE)))
}

/// The left operand, if it is in shared memory as a whole: its element of row `i` and inner index `l` (from the first one on) is at
/// `l * held_pitch + i`.
pub fn held_pitch(tile: i64) -> i64 {
    pitch(tile)
}

/// Elements of each strip array.
pub fn strip_len(tile: i64) -> i64 {
    2 * strip(tile) * pitch(tile)
}

/// The row of each of a thread's sums, and its column, from the tile's corner on.
pub fn elements(f: &mut Frame<'_>) -> Vec<(Operand, Operand)> {
    let each = f.kind.tile / SIDE;
    let (down, across) = place(f);
    let mut at = |start: Operand, q: i64| {
        let offset = q / RUN * SIDE * RUN + q % RUN;
        f.c.scalar(Dtype::I64, Expr::Index(sum(offset, &[(start, Operand::i64(RUN))])))
    };
    let rows: Vec<Operand> = (0..each).map(|q| at(down, q)).collect();
    let cols: Vec<Operand> = (0..each).map(|q| at(across, q)).collect();
    rows.iter().flat_map(|r| cols.iter().map(|c| (*r, *c))).collect()
}

/// Threads that have the same rows differ in these bits of their numbers.
pub const ALONG_ROW: [u32; 4] = [1, 2, 4, 8];

/// Adds the products of the inner indices from `f.inner0` to `f.k`. Between two calls no barrier is needed.
pub fn accumulate(f: &mut Frame<'_>, init: &[Operand], held: Option<Reg>) -> Vec<Operand> {
    let Kind { dtype, tile, .. } = f.kind;
    let strip_len = strip(tile);
    let half = strip_len * pitch(tile);
    let (down, across) = place(f);
    let wide = [&f.a, &f.b].map(|v| aligned(f.c, v, RUN, &[]));
    let left = held.is_none();

    let first = fetch(f, f.inner0, wide, left);
    store(f, &first, Operand::i64(0));
    f.c.push(Stmt::Barrier(Per::Block));

    let each = tile / SIDE;
    let count = (each * each) as usize;
    let regs = |c: &mut Code| -> Vec<Reg> { (0..count).map(|_| c.reg(RegTy::Scalar(dtype))).collect() };
    let (sums, inner, inner_end, sums_end) = (regs(f.c), regs(f.c), regs(f.c), regs(f.c));
    let at_strip = f.c.i64();
    f.c.begin();
    let since = f.c.binary(BinaryOp::Sub, Dtype::I64, at_strip.into(), f.inner0);
    let number = f.c.div(since, Operand::i64(strip_len));
    let turn = f.c.rem(number, Operand::i64(2));
    let here = f.c.mul(turn, Operand::i64(half));
    let there = f.c.binary(BinaryOp::Sub, Dtype::I64, Operand::i64(half), here);
    let next = f.c.add(at_strip.into(), Operand::i64(strip_len));
    let more = compare(f.c, CompareOp::Lt, next, f.k);
    // loads of what comes next are under way while this strip is multiplied
    let coming = fetch(f, next, wide, left);

    let head = f.c.begin_loop(Operand::i64(0), Operand::i64(strip_len), LoopKind::Serial);
    let row = |c: &mut Code, start: Operand| {
        c.scalar(Dtype::I64, Expr::Index(sum(0, &[(start, ONE), (head.var.into(), Operand::i64(pitch(tile)))])))
    };
    let here = row(f.c, here);
    let left_row = match held {
        None => here,
        Some(_) => {
            let start = f.c.mul(since, Operand::i64(pitch(tile)));
            row(f.c, start)
        }
    };
    let mut side = |ptr: Reg, row: Operand, from: Operand| -> Vec<Reg> {
        let most = (WIDE / dtype.size()).min(RUN as usize);
        let mut out = Vec::new();
        for run in 0..tile / (SIDE * RUN) {
            let all: Vec<Reg> = (0..RUN).map(|_| f.c.reg(RegTy::Scalar(dtype))).collect();
            for (q, dst) in all.chunks(most).enumerate() {
                let offset = run * SIDE * RUN + (q * most) as i64;
                let index = sum(offset, &[(row, ONE), (from, Operand::i64(RUN))]);
                f.c.push(Device::Load { dst: dst.to_vec(), ptr, dtype, index }.into());
            }
            out.extend(all);
        }
        out
    };
    let xs = side(held.unwrap_or(f.shared[0]), left_row, down);
    let ys = side(f.shared[1], here, across);
    let mut carried = Vec::new();
    for (p, x) in xs.iter().enumerate() {
        for (q, y) in ys.iter().enumerate() {
            let at = p * each as usize + q;
            let next = muladd(f.c, dtype, (*x).into(), (*y).into(), inner[at].into());
            carried.push(Carried { param: inner[at], init: sums[at].into(), next, result: inner_end[at] });
        }
    }
    f.c.end_loop(head, carried, vec![]);
    f.c.begin();
    store(f, &coming, there);
    let then = f.c.end();
    f.c.push(Stmt::If(If { cond: more, then, els: vec![], results: vec![] }));
    f.c.push(Stmt::Barrier(Per::Block));
    let body = f.c.end();
    let carried = (0..count)
        .map(|at| Carried { param: sums[at], init: init[at], next: inner_end[at].into(), result: sums_end[at] })
        .collect();
    let (kind, step) = (LoopKind::Serial, Operand::i64(strip_len));
    f.c.push(Stmt::For(For { var: at_strip, lo: f.inner0, hi: f.k, step, kind, carried, reductions: vec![], body }));
    sums_end.into_iter().map(Operand::from).collect()
}

/// Stores the sums.
pub fn finish(f: &mut Frame<'_>, sums: &[Operand]) {
    let Kind { dtype, tile, .. } = f.kind;
    let each = tile / SIDE;
    let (down, across) = place(f);
    let wide = aligned(f.c, &f.out, RUN, &[]);
    let place = |c: &mut Code, start: Operand, from: Operand, run: i64| {
        let x = c.scalar(Dtype::I64, Expr::Index(sum(run * SIDE * RUN, &[(start, ONE), (from, Operand::i64(RUN))])));
        (0..RUN).map(|q| c.add(x, Operand::i64(q))).collect::<Vec<_>>()
    };
    let most = (WIDE / dtype.size()).min(RUN as usize);
    for p in 0..each {
        let i = place(f.c, f.row0, down, p / RUN)[(p % RUN) as usize];
        for run in 0..each / RUN {
            let j = place(f.c, f.col0, across, run);
            let from = (p * each + run * RUN) as usize;
            for (j, values) in j.chunks(most).zip(sums[from..from + RUN as usize].chunks(most)) {
                put(f, wide, i, j[0], values);
            }
        }
    }
}

/// Loads this thread's chunk of each operand's strip, of the left one only if it is asked for.
fn fetch(f: &mut Frame<'_>, strip_at: Operand, wide: [Operand; 2], left: bool) -> [Option<Chunk>; 2] {
    let (row0, col0, m, n) = (f.row0, f.col0, f.m, f.n);
    let a = left.then(|| chunk(f, true, strip_at, (row0, m), wide[0]));
    let b = chunk(f, false, strip_at, (col0, n), wide[1]);
    [a, Some(b)]
}

fn chunk(
    f: &mut Frame<'_>,
    left: bool,
    strip_at: Operand,
    (side0, side_end): (Operand, Operand),
    wide: Operand,
) -> Chunk {
    let Kind { dtype, tile, .. } = f.kind;
    let (c, v) = (&mut *f.c, if left { &f.a } else { &f.b });
    let along_inner = if left { v.along != Along::Rows } else { v.along == Along::Rows };
    let length = if along_inner { strip(tile) } else { tile };
    let chunks = Operand::i64(length / RUN);
    let (outer, inner) = (c.div(f.thread, chunks), c.rem(f.thread, chunks));
    let inner = c.mul(inner, Operand::i64(RUN));
    let (l, s) = if along_inner { (inner, outer) } else { (outer, inner) };
    let (at_l, at_s) = (c.add(strip_at, l), c.add(side0, s));
    let values = neighbours(c, dtype, v, left, (at_l, f.k), (at_s, side_end), along_inner, RUN, wide);
    Chunk { values, inner: l, side: s, along_inner }
}

/// Puts chunks into shared memory, from element `half` on.
fn store(f: &mut Frame<'_>, chunks: &[Option<Chunk>; 2], half: Operand) {
    let Kind { dtype, tile, .. } = f.kind;
    let pitch = Operand::i64(pitch(tile));
    for (ptr, x) in f.shared.clone().into_iter().zip(chunks) {
        let Some(x) = x else { continue };
        let most = (WIDE / dtype.size()).min(RUN as usize);
        let values: Vec<Operand> = x.values.iter().map(|r| (*r).into()).collect();
        if x.along_inner {
            for (q, value) in values.into_iter().enumerate() {
                let l = f.c.add(x.inner, Operand::i64(q as i64));
                let index = sum(0, &[(half, ONE), (l, pitch), (x.side, ONE)]);
                f.c.push(Stmt::Store { ptr, dtype, index, value });
            }
            continue;
        }
        for (q, values) in values.chunks(most).enumerate() {
            let index = sum((q * most) as i64, &[(half, ONE), (x.inner, pitch), (x.side, ONE)]);
            f.c.push(Device::Store { ptr, dtype, index, values: values.to_vec() }.into());
        }
    }
}
