//! Attention without the matrix of all scores. A block of threads has some rows of the result, and goes over the other axis by tiles:
//! scores are a product whose sums stay in registers, become weights there, and go through shared memory as the left operand of
//! the next product.
//!
//! ```text
//! attention                                   attention_grad.q                    attention_grad.kv
//!   for the tiles of keys k, v                  for the tiles of keys k, v          for the tiles of queries q, dy, sums, delta
//!     s = q kᵀ / sqrt(d)                          p = exp(q kᵀ / sqrt(d) - sums)      p = exp(k qᵀ / sqrt(d) - sums)
//!     most' = max(most, s)                        ds = p (dy vᵀ - delta) / sqrt(d)    dv += p dy
//!     p = exp(s - most')                          dq += ds k                          ds = p (v dyᵀ - delta) / sqrt(d)
//!     y = y exp(most - most') + p v                                                   dk += ds q
//!     total = total exp(most - most') + sum(p)
//!   y / total, sums = most + log(total)
//! ```
//!
//! What a block makes has 64 columns at most; where there are more, further blocks compute the scores again. Tiles of keys that no
//! query of the block sees are left out. Nothing is added up by more than one block, so the order of all sums is fixed.
//!
//! Source: Dao et al., *FlashAttention*, NeurIPS 2022, and its second part, ICLR 2024.

mod backward;
mod forward;

use tdl_ir::{BinaryOp, CompareOp, Dtype, Inst, Op, Scalar, UnaryOp, ValueId};

use super::tensor::Warps;
use super::{Along, Frame, Kind, ONE, View, along, and, at, compare, plain, sum, sum_dtype, tensor, zero};
use crate::buffers::BufId;
use crate::code::Code;
use crate::ir::*;
use crate::lower::Lower;
use crate::size::{Size, dense_strides};
use crate::values::Role;

/// Rows and columns of a tile.
const TILE: i64 = 64;
/// No score is as low, and its exponential less any score is zero.
const LOWEST: f64 = -1e30;

/// A tensor that a kernel takes.
#[derive(Clone)]
struct Taken {
    matrix: Matrix,
    along: Along,
    access: Access,
}

/// What a kernel is launched for.
struct Launch {
    name: &'static str,
    dtype: Dtype,
    taken: Vec<Taken>,
    extents: Extents,
    batch: Vec<Operand>,
    /// The results: whose axis is shared out to blocks, and how many columns there are.
    made: Made,
    /// Products of that many sizes each pair has part in.
    products: i64,
}

/// Queries, keys, and the elements of keys and of values; how far after its own number a query sees.
#[derive(Clone, Copy)]
struct Extents {
    n: Operand,
    m: Operand,
    d: Operand,
    e: Operand,
    reach: Operand,
}

/// What a kernel makes.
#[derive(Clone, Copy)]
enum Made {
    /// A row for each query, with the elements of a value.
    Result,
    /// A row for each query, with the elements of a key.
    Queries,
    /// A row for each key, with the elements of a key and those of a value.
    Keys,
}

impl Made {
    /// Rows and columns.
    fn extents(self, c: &mut Code, x: Extents) -> [Operand; 2] {
        match self {
            Made::Result => [x.n, x.e],
            Made::Queries => [x.n, x.d],
            Made::Keys => [x.m, c.max(x.d, x.e)],
        }
    }

    /// On tensor cores, a warp has all columns of its rows where something is reduced along them; else it has half of them, since
    /// more sums than one product's have to stay in registers.
    fn warps(self) -> Warps {
        match self {
            Made::Result => Warps { down: 4, across: 1 },
            Made::Queries | Made::Keys => Warps { down: 4, across: 2 },
        }
    }

    /// Tiles down and across; without columns, rows still have their sums.
    fn tiles(self, c: &mut Code, x: Extents) -> [Operand; 2] {
        let [down, across] = self.extents(c, x).map(|extent| {
            let up = c.add(extent, Operand::i64(TILE - 1));
            c.div(up, Operand::i64(TILE))
        });
        [down, c.max(across, ONE)]
    }
}

impl Lower<'_> {
    pub fn attention(&mut self, inst: &Inst, n: usize) {
        let dtype = self.dtype(inst.args[0]);
        let reach = self.scalar(inst.args[inst.args.len() - 1]);
        let (q, v) = (self.dims(inst.args[0]), self.dims(inst.args[2]));
        let (batch, rows) = q.split_at(q.len() - 2);
        let (_, values) = v.split_at(v.len() - 2);
        let x = Extents { n: rows[0], m: values[0], d: rows[1], e: values[1], reach };
        let extents = [[x.n, x.d], [x.m, x.d], [x.m, x.e], [x.n, x.e], [x.n, ONE], [x.n, ONE]];
        let mut read = Vec::new();
        for (k, v) in inst.args[..inst.args.len() - 1].iter().enumerate() {
            let matrix = if k < 4 { self.matrix_of(*v) } else { self.line_of(*v) };
            read.push(Taken { along: along(&matrix, extents[k]), matrix, access: Access::Read });
        }
        let launch = |name, written: Vec<Taken>, made, products| {
            let taken = read.iter().cloned().chain(written).collect();
            Launch { name, dtype, taken, extents: x, batch: batch.to_vec(), made, products }
        };
        let results = &inst.results;
        if inst.op == Op::Attention {
            let y = self.written(results[0], n, false, [x.n, x.e]);
            let sums = self.written(results[1], n, true, [x.n, ONE]);
            let launch = launch("attention", vec![y, sums], Made::Result, 2);
            return self.launch_attention(&launch, forward::tile);
        }
        let mut wanted = results.iter().map(|r| self.values.role(*r) != Role::Dead);
        let [q, k, v] = [0; 3].map(|_| wanted.next() == Some(true));
        if q {
            let dq = self.written(results[0], n, false, [x.n, x.d]);
            let launch = launch("attention_grad.q", vec![dq], Made::Queries, 3);
            self.launch_attention(&launch, backward::queries);
        }
        if k || v {
            let dk = self.written(results[1], n, false, [x.m, x.d]);
            let dv = self.written(results[2], n, false, [x.m, x.e]);
            let launch = launch("attention_grad.kv", vec![dk, dv], Made::Keys, 4);
            self.launch_attention(&launch, backward::keys);
        }
    }

    /// Where a result goes, read by others or not; with a value for each row alone, if `line`.
    fn written(&mut self, r: ValueId, n: usize, line: bool, extents: [Operand; 2]) -> Taken {
        let buf = if self.values.role(r) == Role::Dead {
            let bytes = self.bytes(r);
            let buf = self.alloc(&bytes, None);
            self.temporaries().push(buf);
            buf
        } else {
            let buf = self.place(r, n);
            self.block().alive.insert(r);
            buf
        };
        let matrix = self.dense_matrix(r, buf, line);
        Taken { along: along(&matrix, extents), matrix, access: Access::Write }
    }

    /// A tensor with a value for each row, as a matrix of one column.
    fn line_of(&mut self, v: ValueId) -> Matrix {
        let buf = self.dense(v);
        self.dense_matrix(v, buf, true)
    }

    fn dense_matrix(&mut self, v: ValueId, buf: BufId, line: bool) -> Matrix {
        let mut strides = dense_strides(&self.sizes_of(v));
        if line {
            strides.push(Size::constant(0));
        }
        let ptr = self.buf(buf).ptr;
        self.matrix(ptr, Index::default(), &strides)
    }

    /// The last two axes of a tensor, as it lies in memory.
    fn matrix_of(&mut self, v: ValueId) -> Matrix {
        let (ptr, offset, strides) = self.lies(v);
        self.matrix(ptr, offset, &strides)
    }

    fn matrix(&mut self, ptr: Reg, offset: Index, strides: &[Size]) -> Matrix {
        let strides: Vec<Operand> = strides.iter().map(|s| self.size(s)).collect();
        let (batch, own) = strides.split_at(strides.len() - 2);
        Matrix { ptr, offset, row_stride: own[0], col_stride: own[1], batch_strides: batch.to_vec() }
    }

    fn launch_attention(&mut self, launch: &Launch, tile: fn(&mut Block<'_>)) {
        let Extents { n, m, d, e, reach } = launch.extents;
        let mut args: Vec<Operand> = launch.taken.iter().map(|t| t.matrix.ptr.into()).collect();
        for t in &launch.taken {
            let offset = match t.matrix.offset.terms.is_empty() {
                true => Operand::i64(t.matrix.offset.offset),
                false => self.host.scalar(Dtype::I64, Expr::Index(t.matrix.offset.clone())),
            };
            args.extend([t.matrix.row_stride, t.matrix.col_stride, offset]);
            args.extend(&t.matrix.batch_strides);
        }
        args.extend([n, m, d, e, reach]);
        args.extend(&launch.batch);
        let [down, across] = launch.made.tiles(&mut self.host, launch.extents);
        let mut range = self.host.mul(down, across);
        for extent in &launch.batch {
            range = self.host.mul(range, *extent);
        }
        let kernel = self.intern(kernel(launch, tile));
        self.tally_attention(&launch.batch, [n, m, d, e], launch.products, launch.dtype);
        self.perform(Stmt::Launch { kernel, args, range, grain: ONE });
    }
}

/// A kernel whose steps are tiles of rows with some columns each; `tile` writes one.
fn kernel(launch: &Launch, tile: fn(&mut Block<'_>)) -> Kernel {
    let dtype = launch.dtype;
    let tensor = sum_dtype(dtype) != dtype;
    let warps = launch.made.warps();
    let (threads, strips, held) = match tensor {
        true => (warps.threads(), tensor::strip_len(TILE), TILE * tensor::held_pitch(TILE)),
        false => (super::THREADS, plain::strip_len(TILE), TILE * plain::held_pitch(TILE)),
    };
    let mut c = Code::new();
    c.begin_memo();
    let mut params = Vec::new();
    let mut param = |c: &mut Code, name: String, ty, access| {
        let reg = c.named(ty, Some(name.into()));
        params.push(KernelParam { reg, access });
        reg
    };
    let int = RegTy::Scalar(Dtype::I64);
    let taken = launch.taken.iter().enumerate();
    let ptrs: Vec<Reg> = taken.map(|(k, t)| param(&mut c, format!("x{k}"), RegTy::Ptr, t.access)).collect();
    let mut strides = Vec::new();
    for k in 0..ptrs.len() {
        let own = ["rows", "cols", "at"].map(String::from).into_iter();
        let all = own.chain((0..launch.batch.len()).map(|i| format!("batch{i}")));
        let all: Vec<Reg> = all.map(|what| param(&mut c, format!("x{k}.{what}"), int, Access::Read)).collect();
        strides.push(all);
    }
    let names = ["n", "m", "d", "e", "reach"].map(String::from);
    let [n, m, d, e, reach] = names.map(|name| Operand::from(param(&mut c, name, int, Access::Read)));
    let extents: Vec<Reg> =
        (0..launch.batch.len()).map(|i| param(&mut c, format!("batch{i}"), int, Access::Read)).collect();
    let range = c.named(int, Some("range".into()));

    let mut shared = Vec::new();
    for len in [strips, strips, held] {
        let dst = c.reg(RegTy::Ptr);
        c.push(Stmt::Shared { dst, dtype, len: len as usize });
        shared.push(dst);
    }
    let place = |c: &mut Code, p: Place| c.scalar(Dtype::I64, Expr::Place(p));
    let (thread, block, blocks) =
        (place(&mut c, Place::Thread), place(&mut c, Place::Block), place(&mut c, Place::Blocks));
    let x = Extents { n, m, d, e, reach };
    let [tiles_down, tiles_across] = launch.made.tiles(&mut c, x);

    let step = c.i64();
    c.begin();
    let col0 = c.rem(step.into(), tiles_across);
    let rest = c.div(step.into(), tiles_across);
    let row0 = c.rem(rest, tiles_down);
    let mut item = c.div(rest, tiles_down);
    let (row0, col0) = (c.mul(row0, Operand::i64(TILE)), c.mul(col0, Operand::i64(TILE)));
    let mut bases: Vec<Index> = strides.iter().map(|s| sum(0, &[(s[2].into(), ONE)])).collect();
    for (axis, extent) in extents.iter().enumerate().rev() {
        let at = if axis == 0 { item } else { c.rem(item, (*extent).into()) };
        let Operand::Reg(reg) = at else { unreachable!("the number of a step is in a register") };
        for (base, s) in bases.iter_mut().zip(&strides) {
            base.terms.push(Term { reg, stride: s[3 + axis].into() });
        }
        if axis > 0 {
            item = c.div(item, (*extent).into());
        }
    }
    let mut views = Vec::new();
    for (((ptr, s), base), t) in ptrs.into_iter().zip(&strides).zip(bases).zip(&launch.taken) {
        let base = c.let_(int, Expr::Index(base));
        let rows = if t.along == Along::Rows { ONE } else { s[0].into() };
        let cols = if t.along == Along::Cols { ONE } else { s[1].into() };
        views.push(View { ptr, rows, cols, base, along: t.along });
    }
    let (a, b) = (views[0], views[1]);
    let kind = Kind { dtype, out: dtype, batch: 0, accumulate: false, along: [Along::Neither; 3], tile: TILE };
    let inner0 = Operand::i64(0);
    let mut f =
        Frame { c: &mut c, after: None, kind, a, b, out: a, m: n, n: m, k: d, inner0, row0, col0, thread, shared };
    let elements = if tensor { tensor::elements(&mut f, warps) } else { plain::elements(&mut f) };
    let warps = tensor.then_some(warps);
    tile(&mut Block { f, views, x, elements, warps, row0, col0 });
    let body = c.end();
    c.push(Stmt::For(super::super::serial(step, block, range.into(), blocks, body)));
    let body = c.blocks.pop().expect("the body is open");
    let grid = Grid { range, threads: threads as usize, per: Per::Block };
    Kernel {
        name: format!("{}.{dtype}", launch.name),
        regs: c.regs,
        params,
        lo: step,
        hi: step,
        body,
        grid: Some(grid),
    }
}

/// One side of a product: rows of a left operand, or columns of a right one, from `at` up to `end`.
#[derive(Clone, Copy)]
struct Side {
    view: View,
    at: Operand,
    end: Operand,
}

/// A step of the kernel that is being written.
struct Block<'c> {
    f: Frame<'c>,
    views: Vec<View>,
    x: Extents,
    /// Row and column of each of a thread's sums, in a tile.
    elements: Vec<(Operand, Operand)>,
    /// On tensor cores.
    warps: Option<Warps>,
    /// Where what this block makes begins.
    row0: Operand,
    col0: Operand,
}

/// The same matrix with rows and columns exchanged.
fn transposed(v: View) -> View {
    let along = match v.along {
        Along::Rows => Along::Cols,
        Along::Cols => Along::Rows,
        Along::Neither => Along::Neither,
    };
    View { rows: v.cols, cols: v.rows, along, ..v }
}

fn float(x: f64) -> Operand {
    Operand::Const(Scalar::float(x), Dtype::F32)
}

fn op(c: &mut Code, op: BinaryOp, a: Operand, b: Operand) -> Operand {
    c.binary(op, Dtype::F32, a, b)
}

fn exp(c: &mut Code, x: Operand) -> Operand {
    c.scalar(Dtype::F32, Expr::Unary { op: UnaryOp::Exp, dtype: Dtype::F32, x })
}

fn select(c: &mut Code, dtype: Dtype, cond: Operand, a: Operand, b: Operand) -> Operand {
    c.scalar(dtype, Expr::Select { dtype, cond, a, b })
}

impl Block<'_> {
    /// Sums of nothing.
    fn none(&self) -> Vec<Operand> {
        vec![zero(Dtype::F32); self.elements.len()]
    }

    /// Adds a product over the inner indices `from..to`; the left operand is what is in shared memory, if there is no other.
    fn product(
        &mut self,
        left: Option<Side>,
        right: Side,
        (from, to): (Operand, Operand),
        sums: &[Operand],
    ) -> Vec<Operand> {
        let f = &mut self.f;
        (f.b, f.col0, f.n, f.inner0, f.k) = (right.view, right.at, right.end, from, to);
        if let Some(left) = left {
            (f.a, f.row0, f.m) = (left.view, left.at, left.end);
        }
        let held = left.is_none().then(|| f.shared[2]);
        match self.warps {
            Some(warps) => {
                let layouts = tensor::layouts([f.a.along, f.b.along], TILE);
                tensor::accumulate(f, warps, layouts, sums, held)
            }
            None => plain::accumulate(f, sums, held),
        }
    }

    /// Puts a value for each element into shared memory.
    fn hold(&mut self, values: &[Operand]) {
        let (c, dtype, ptr) = (&mut *self.f.c, self.f.kind.dtype, self.f.shared[2]);
        if self.warps.is_none() {
            let pitch = Operand::i64(plain::held_pitch(TILE));
            for ((row, col), value) in self.elements.iter().zip(values) {
                let index = sum(0, &[(*col, pitch), (*row, ONE)]);
                c.push(Stmt::Store { ptr, dtype, index, value: *value });
            }
            return;
        }
        let pitch = Operand::i64(tensor::held_pitch(TILE));
        for (elements, values) in self.elements.chunks(2).zip(values.chunks(2)) {
            let values = values.iter().map(|v| c.convert(Dtype::F32, dtype, *v)).collect();
            let index = sum(0, &[(elements[0].0, pitch), (elements[0].1, ONE)]);
            c.push(Device::Store { ptr, dtype, index, values }.into());
        }
    }

    /// Stores the sums at the block's rows and columns of a result that ends at `rows` and `cols`.
    fn finish(&mut self, view: View, [rows, cols]: [Operand; 2], sums: &[Operand]) {
        let (row0, col0) = (self.row0, self.col0);
        let f = &mut self.f;
        (f.out, f.m, f.n, f.row0, f.col0) = (view, rows, cols, row0, col0);
        match self.warps {
            Some(warps) => tensor::finish(f, warps, sums),
            None => plain::finish(f, sums),
        }
    }

    /// The different rows (or columns) of this thread's elements, and which of them each element has.
    fn lines(&self, of: impl Fn(&(Operand, Operand)) -> Operand) -> (Vec<Operand>, Vec<usize>) {
        let mut lines: Vec<Operand> = Vec::new();
        let mut which = Vec::with_capacity(self.elements.len());
        for x in self.elements.iter().map(of) {
            which.push(lines.iter().position(|l| *l == x).unwrap_or_else(|| {
                lines.push(x);
                lines.len() - 1
            }));
        }
        (lines, which)
    }

    /// A value of the threads that have the same rows, combined.
    fn along_row(&mut self, combine: BinaryOp, mut x: Operand) -> Operand {
        let masks: &[u32] = if self.warps.is_some() { &tensor::ALONG_ROW } else { &plain::ALONG_ROW };
        for xor in masks {
            let dst = self.f.c.reg(RegTy::Scalar(Dtype::F32));
            self.f.c.push(Device::Shuffle { dst, dtype: Dtype::F32, x, xor: *xor }.into());
            x = op(self.f.c, combine, x, dst.into());
        }
        x
    }

    /// `1 / sqrt(d)`.
    fn scale(&mut self) -> Operand {
        let c = &mut *self.f.c;
        let d = c.convert(Dtype::I64, Dtype::F32, self.x.d);
        c.scalar(Dtype::F32, Expr::Unary { op: UnaryOp::Rsqrt, dtype: Dtype::F32, x: d })
    }

    /// The number of keys that a query sees, at most `m`; below one if it sees none.
    fn seen(&mut self, query: Operand) -> Operand {
        let c = &mut *self.f.c;
        let last = c.add(query, self.x.reach);
        let count = c.add(last, ONE);
        c.min(count, self.x.m)
    }

    /// From `lo` to `hi` by tiles, with carried sums; their values in the end. The body gets a tile's beginning, and its end, which is `end` at most.
    fn tiles(
        &mut self,
        (lo, hi, end): (Operand, Operand, Operand),
        init: &[Operand],
        body: impl FnOnce(&mut Self, Operand, Operand, &[Operand]) -> Vec<Operand>,
    ) -> Vec<Operand> {
        let regs = |c: &mut Code| -> Vec<Reg> { init.iter().map(|_| c.reg(RegTy::Scalar(Dtype::F32))).collect() };
        let (params, results) = (regs(self.f.c), regs(self.f.c));
        let var = self.f.c.i64();
        self.f.c.begin();
        let up = self.f.c.add(var.into(), Operand::i64(TILE));
        let to = self.f.c.min(up, end);
        let now: Vec<Operand> = params.iter().map(|r| (*r).into()).collect();
        let next = body(self, var.into(), to, &now);
        let body = self.f.c.end();
        let carried = params.iter().zip(&results).zip(init.iter().zip(next));
        let carried = carried.map(|((param, result), (init, next))| Carried {
            param: *param,
            init: *init,
            next,
            result: *result,
        });
        let carried = carried.collect();
        let (kind, step) = (LoopKind::Serial, Operand::i64(TILE));
        self.f.c.push(Stmt::For(For { var, lo, hi, step, kind, carried, reductions: vec![], body }));
        results.into_iter().map(Operand::from).collect()
    }
}
