//! Products with up to eight columns, or rows: then both operands change places. Reading the long operand takes the time, and nothing of
//! it is read twice, so there are no tiles.
//!
//! If its neighbours are along the inner axis, a few threads of a warp take a row, or some rows, that meet the same columns, and add what
//! each found by shuffles. If they are along the rows, a thread takes as many as it loads at a time, and the inner axis is dealt out to
//! the block's warps, whose sums are added in shared memory. Few rows are made in parts of the inner axis (`split`).

use tdl_ir::{BinaryOp, CompareOp, Dtype};

use super::after::Fused;
use super::split::Limits;
use super::{
    Along, Epilogue, Frame, Kind, ONE, Spread, View, aligned, along, and, at, compare, muladd, put, sum, sum_dtype,
    zero,
};
use crate::code::Code;
use crate::ir::*;
use crate::lower::Lower;

/// Columns, at most.
const MOST: i64 = 8;
const THREADS: i64 = 128;
const WARPS: i64 = THREADS / WARP as i64;
/// So many rows keep a GPU busy when some of them share a warp.
const MANY: i64 = 1 << 15;
/// Inner indices whose elements are loaded before they are multiplied.
const AHEAD: i64 = 4;

/// How the long operand lies.
#[derive(Clone, Copy)]
enum Way {
    /// Its rows are contiguous: each is taken by `lanes` threads of a warp, `rows` of them at a time.
    Lines { lanes: i64, rows: i64 },
    /// Its columns are.
    Columns,
}

/// A product with few columns.
pub struct Thin {
    gemm: Gemm,
    cols: i64,
    way: Way,
}

impl Thin {
    pub fn of(g: &Gemm) -> Option<Thin> {
        let transposed = |m: &Matrix| Matrix { row_stride: m.col_stride, col_stride: m.row_stride, ..m.clone() };
        let (a, b, c) = (transposed(&g.b), transposed(&g.a), transposed(&g.c));
        let other = Gemm { m: g.n, n: g.m, a, b, c, ..g.clone() };
        [g.clone(), other].into_iter().find_map(|gemm| {
            let cols = gemm.n.as_i64().filter(|n| (1..=MOST).contains(n))?;
            let way = match along(&gemm.a, [gemm.m, gemm.k]) {
                // the columns' elements are loaded by the same threads, so they have to lie as the row's do
                Along::Cols if cols == 1 || gemm.b.row_stride.as_i64() == Some(1) => lines(&gemm),
                Along::Rows => Way::Columns,
                Along::Cols | Along::Neither => return None,
            };
            Some(Thin { gemm, cols, way })
        })
    }

    /// Rows that a block makes.
    fn rows(&self) -> i64 {
        match self.way {
            Way::Lines { lanes, rows } => THREADS / lanes * rows,
            Way::Columns => WARP as i64 * width(self.gemm.dtype),
        }
    }

    fn limits(&self) -> Limits {
        match self.way {
            Way::Lines { .. } => Limits { busy: 512, least: 1024, most: 256 },
            Way::Columns => Limits { busy: 1024, least: 128, most: 64 },
        }
    }

    fn kernel(&self, out: Dtype, after: Option<&mut dyn Epilogue>) -> Kernel {
        let g = &self.gemm;
        let (dtype, cols) = (g.dtype, self.cols);
        let near = if g.b.row_stride.as_i64() == Some(1) { Along::Rows } else { Along::Neither };
        let (name, left) = match self.way {
            Way::Lines { .. } => ("lines", Along::Cols),
            Way::Columns => ("columns", Along::Rows),
        };
        let along = [left, near, Along::Neither];
        let kind = Kind { dtype, out, batch: g.batch.len(), accumulate: g.accumulate, along, tile: self.rows() };
        let shared = match self.way {
            Way::Lines { .. } => vec![],
            Way::Columns => vec![(sum_dtype(dtype), WARPS * cols * self.rows())],
        };
        let name = format!("product.{dtype}.{name}");
        let spread = Spread { name, rows: self.rows(), cols, threads: THREADS, shared };
        super::kernel(kind, spread, after, |f| match self.way {
            Way::Lines { lanes, rows } => by_lines(f, cols, lanes, rows),
            Way::Columns => by_columns(f, cols),
        })
    }
}

/// Elements that are loaded at a time.
fn width(dtype: Dtype) -> i64 {
    (WIDE / dtype.size()).min(crate::gpu::wide::MOST as usize) as i64
}

fn lines(g: &Gemm) -> Way {
    let chunks = g.k.as_i64().map_or(i64::MAX, |k| k / width(g.dtype)).clamp(1, WARP as i64);
    let lanes = (chunks as u64).next_power_of_two() as i64;
    let rows = g.batch.iter().fold(g.m.as_i64(), |all, n| all?.checked_mul(n.as_i64()?));
    Way::Lines { lanes, rows: if rows.is_none_or(|r| r >= MANY) { 4 } else { 1 } }
}

impl Lower<'_> {
    pub(super) fn launch_thin(&mut self, t: &Thin, fused: Option<&Fused<'_>>) {
        let g = &t.gemm;
        let up = self.host.add(g.m, Operand::i64(t.rows() - 1));
        let mut steps = self.host.div(up, Operand::i64(t.rows()));
        for extent in &g.batch {
            steps = self.host.mul(steps, *extent);
        }
        let parts = steps.as_i64().map_or(ONE, |n| self.parts(g, n, t.limits()));
        let whole = |l: &mut Self| l.launch_steps(g, steps, fused, |after| t.kernel(g.dtype, after));
        self.whole_or_parts(g, (parts, steps), fused, whole, &|l, part, range, out| {
            let part = Thin { gemm: part.clone(), ..*t };
            l.launch_steps(&part.gemm, range, None, |after| part.kernel(out, after));
        });
    }
}

/// The sums so far, by row and then by column.
type Sums = Vec<Operand>;

fn regs(c: &mut Code, count: usize, dtype: Dtype) -> Vec<Reg> {
    (0..count).map(|_| c.reg(RegTy::Scalar(dtype))).collect()
}

/// `for var in lo..hi by step`, in which `body` gets `var` and the sums so far.
fn summing(
    c: &mut Code,
    dtype: Dtype,
    (lo, hi, step): (Operand, Operand, i64),
    sums: &[Operand],
    body: impl FnOnce(&mut Code, Operand, Sums) -> Sums,
) -> Sums {
    let (params, results) = (regs(c, sums.len(), dtype), regs(c, sums.len(), dtype));
    let var = c.i64();
    c.begin();
    let next = body(c, var.into(), params.iter().map(|r| (*r).into()).collect());
    let body = c.end();
    let carried = (0..sums.len())
        .map(|i| Carried { param: params[i], init: sums[i], next: next[i], result: results[i] })
        .collect();
    let (step, kind) = (Operand::i64(step), LoopKind::Serial);
    c.push(Stmt::For(For { var, lo, hi, step, kind, carried, reductions: vec![], body }));
    results.into_iter().map(Operand::from).collect()
}

/// `if cond`, the sums of `then`, else those of `els`.
fn either(
    c: &mut Code,
    dtype: Dtype,
    cond: Operand,
    then: impl FnOnce(&mut Code) -> Sums,
    els: impl FnOnce(&mut Code) -> Sums,
) -> Sums {
    c.begin();
    let a = then(c);
    let then = c.end();
    c.begin();
    let b = els(c);
    let els = c.end();
    let all = regs(c, a.len(), dtype);
    let results = (0..a.len()).map(|i| IfResult { result: all[i], then: a[i], els: b[i] }).collect();
    c.push(Stmt::If(If { cond, then, els, results }));
    all.into_iter().map(Operand::from).collect()
}

/// What is multiplied and added up.
struct Terms<'f> {
    a: &'f View,
    b: &'f View,
    dtype: Dtype,
    sum: Dtype,
    cols: i64,
}

impl Terms<'_> {
    fn load(&self, c: &mut Code, v: &View, i: Operand, j: Operand) -> Operand {
        let dtype = self.dtype;
        let x = c.scalar(dtype, Expr::Load { ptr: v.ptr, dtype, index: at(v, i, j) });
        c.convert(dtype, self.sum, x)
    }

    /// `count` neighbours, at a multiple of their length.
    fn wide(&self, c: &mut Code, v: &View, i: Operand, j: Operand, count: i64) -> Vec<Operand> {
        let all = regs(c, count as usize, self.dtype);
        let (dst, dtype, index) = (all.clone(), self.dtype, at(v, i, j));
        c.push(Device::Load { dst, ptr: v.ptr, dtype, index }.into());
        all.into_iter().map(|r| c.convert(dtype, self.sum, r.into())).collect()
    }

    /// Row elements times column elements, of one inner index.
    fn add(&self, c: &mut Code, xs: &[Operand], ys: &[Operand], sums: &mut Sums) {
        for (i, x) in xs.iter().enumerate() {
            for (j, y) in ys.iter().enumerate() {
                let at = i * ys.len() + j;
                sums[at] = muladd(c, self.sum, *x, *y, sums[at]);
            }
        }
    }

    /// The terms of the inner indices `lo..hi`, one by one, of rows that are there.
    fn singly(&self, c: &mut Code, lo: Operand, hi: Operand, rows: &[Operand], sums: &[Operand]) -> Sums {
        summing(c, self.sum, (lo, hi, 1), sums, |c, l, mut sums| {
            let xs: Vec<Operand> = rows.iter().map(|i| self.load(c, self.a, *i, l)).collect();
            let ys: Vec<Operand> = (0..self.cols).map(|j| self.load(c, self.b, l, Operand::i64(j))).collect();
            self.add(c, &xs, &ys, &mut sums);
            sums
        })
    }
}

/// Rows from `first` on; those that are not there are the last one.
fn rows_from(f: &mut Frame<'_>, first: Operand, count: i64) -> Vec<Operand> {
    let last = f.c.add(f.m, Operand::i64(-1));
    (0..count)
        .map(|r| {
            let row = f.c.add(first, Operand::i64(r));
            f.c.min(row, last)
        })
        .collect()
}

fn by_lines(f: &mut Frame<'_>, cols: i64, lanes: i64, count: i64) {
    let Kind { dtype, .. } = f.kind;
    let (sum_ty, width) = (sum_dtype(dtype), width(dtype));
    let (group, lane) = (f.c.div(f.thread, Operand::i64(lanes)), f.c.rem(f.thread, Operand::i64(lanes)));
    let first = f.c.scalar(Dtype::I64, Expr::Index(sum(0, &[(f.row0, ONE), (group, Operand::i64(count))])));
    let rows = rows_from(f, first, count);
    // two chunks of one row are on their way at a time
    let ahead = if count == 1 { 2 } else { 1 };
    let stride = lanes * width;
    let near = f.b.along == Along::Rows;
    let mut wide = aligned(f.c, &f.a, width, &[]);
    if near {
        let b = aligned(f.c, &f.b, width, &[]);
        wide = and(f.c, wide, b);
    }
    let t = Terms { a: &f.a, b: &f.b, dtype, sum: sum_ty, cols };
    let (c, k) = (&mut *f.c, f.k);
    let begin = c.mul(lane, Operand::i64(width));
    let sums = vec![zero(sum_ty); (count * cols) as usize];
    let mut sums = summing(c, sum_ty, (begin, k, stride * ahead), &sums, |c, l, sums| {
        let chunks: Vec<Operand> = (0..ahead).map(|u| c.add(l, Operand::i64(u * stride))).collect();
        let end = c.add(l, Operand::i64((ahead - 1) * stride + width));
        let whole = compare(c, CompareOp::Le, end, k);
        let cond = and(c, whole, wide);
        let then = |c: &mut Code| {
            let mut sums = sums.clone();
            let xs: Vec<Vec<Vec<Operand>>> =
                chunks.iter().map(|l| rows.iter().map(|i| t.wide(c, t.a, *i, *l, width)).collect()).collect();
            for (l, xs) in chunks.iter().zip(xs) {
                let ys: Vec<Vec<Operand>> = (0..cols)
                    .map(|j| match near {
                        true => t.wide(c, t.b, *l, Operand::i64(j), width),
                        false => (0..width)
                            .map(|q| {
                                let l = c.add(*l, Operand::i64(q));
                                t.load(c, t.b, l, Operand::i64(j))
                            })
                            .collect(),
                    })
                    .collect();
                for q in 0..width as usize {
                    let x: Vec<Operand> = xs.iter().map(|x| x[q]).collect();
                    let y: Vec<Operand> = ys.iter().map(|y| y[q]).collect();
                    t.add(c, &x, &y, &mut sums);
                }
            }
            sums
        };
        let els = |c: &mut Code| {
            chunks.iter().fold(sums.clone(), |sums, l| {
                let end = c.add(*l, Operand::i64(width));
                let end = c.min(end, k);
                t.singly(c, *l, end, &rows, &sums)
            })
        };
        either(c, sum_ty, cond, then, els)
    });
    let mut xor = 1;
    while xor < lanes {
        for s in &mut sums {
            let dst = c.reg(RegTy::Scalar(sum_ty));
            c.push(Device::Shuffle { dst, dtype: sum_ty, x: *s, xor: xor as u32 }.into());
            *s = c.binary(BinaryOp::Add, sum_ty, *s, dst.into());
        }
        xor *= 2;
    }
    let cond = compare(c, CompareOp::Eq, lane, Operand::i64(0));
    c.begin();
    for (at, s) in sums.iter().enumerate() {
        let (r, j) = (at as i64 / cols, at as i64 % cols);
        let row = f.c.add(first, Operand::i64(r));
        put(f, Operand::bool(false), row, Operand::i64(j), &[*s]);
    }
    let then = f.c.end();
    f.c.push(Stmt::If(If { cond, then, els: vec![], results: vec![] }));
}

fn by_columns(f: &mut Frame<'_>, cols: i64) {
    let Kind { dtype, tile, .. } = f.kind;
    let (sum_ty, width) = (sum_dtype(dtype), width(dtype));
    let size = Operand::i64(WARP as i64);
    let (warp, lane) = (f.c.div(f.thread, size), f.c.rem(f.thread, size));
    let first = f.c.scalar(Dtype::I64, Expr::Index(sum(0, &[(f.row0, ONE), (lane, Operand::i64(width))])));
    let rows = rows_from(f, first, width);
    let end = f.c.add(first, Operand::i64(width));
    let inside = compare(f.c, CompareOp::Le, end, f.m);
    let aligned = aligned(f.c, &f.a, width, &[]);
    let wide = and(f.c, inside, aligned);
    let t = Terms { a: &f.a, b: &f.b, dtype, sum: sum_ty, cols };
    let (c, k) = (&mut *f.c, f.k);
    let begin = c.mul(warp, Operand::i64(AHEAD));
    let last = c.add(k, Operand::i64(1 - AHEAD));
    let sums = vec![zero(sum_ty); (width * cols) as usize];
    let sums = summing(c, sum_ty, (begin, last, AHEAD * WARPS), &sums, |c, l, sums| {
        let then = |c: &mut Code| {
            let mut sums = sums.clone();
            let inner: Vec<Operand> = (0..AHEAD).map(|u| c.add(l, Operand::i64(u))).collect();
            let xs: Vec<Vec<Operand>> = inner.iter().map(|l| t.wide(c, t.a, first, *l, width)).collect();
            for (l, xs) in inner.iter().zip(xs) {
                let ys: Vec<Operand> = (0..cols).map(|j| t.load(c, t.b, *l, Operand::i64(j))).collect();
                t.add(c, &xs, &ys, &mut sums);
            }
            sums
        };
        let end = c.add(l, Operand::i64(AHEAD));
        either(c, sum_ty, wide, then, |c| t.singly(c, l, end, &rows, &sums))
    });
    // what is left goes to the warp whose turn it is
    let groups = c.div(k, Operand::i64(AHEAD));
    let whole = c.mul(groups, Operand::i64(AHEAD));
    let turn = c.rem(groups, Operand::i64(WARPS));
    let cond = compare(c, CompareOp::Eq, turn, warp);
    let rest = c.scalar(Dtype::I64, Expr::Select { dtype: Dtype::I64, cond, a: whole, b: k });
    let sums = t.singly(c, rest, k, &rows, &sums);

    let parts = f.shared[0];
    let most = WIDE / sum_ty.size();
    for j in 0..cols as usize {
        let mine: Vec<Operand> = (0..width as usize).map(|q| sums[q * cols as usize + j]).collect();
        for (n, values) in mine.chunks(most).enumerate() {
            let offset = j as i64 * tile + (n * most) as i64;
            let index = sum(offset, &[(warp, Operand::i64(cols * tile)), (lane, Operand::i64(width))]);
            c.push(Device::Store { ptr: parts, dtype: sum_ty, index, values: values.to_vec() }.into());
        }
    }
    c.push(Stmt::Barrier(Per::Block));
    let e = c.i64();
    c.begin();
    let mut all = zero(sum_ty);
    for w in 0..WARPS {
        let index = sum(w * cols * tile, &[(e.into(), ONE)]);
        let x = c.scalar(sum_ty, Expr::Load { ptr: parts, dtype: sum_ty, index });
        all = if w == 0 { x } else { c.binary(BinaryOp::Add, sum_ty, all, x) };
    }
    let (j, i) = (c.div(e.into(), Operand::i64(tile)), c.rem(e.into(), Operand::i64(tile)));
    let row = c.add(f.row0, i);
    put(f, Operand::bool(false), row, j, &[all]);
    let body = f.c.end();
    let (hi, step) = (Operand::i64(cols * tile), Operand::i64(THREADS));
    f.c.push(Stmt::For(crate::gpu::serial(e, f.thread, hi, step, body)));
    // the block's next step has the same memory
    f.c.push(Stmt::Barrier(Per::Block));
}
