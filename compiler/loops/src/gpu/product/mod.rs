//! Products of matrices: a block of threads computes a tile of the result, with strips of both operands in shared memory.
//!
//! 16-bit floats go through the tensor cores (`tensor`), and are summed in f32; all else is exact in its dtype, by multiply-adds (`plain`), where each
//! element is summed in the order of the inner axis by one thread. Tiles are large where there are enough of them for all
//! multiprocessors, by the extents of the run; the order of a sum does not depend on the tile. Few tiles with a long inner
//! axis are made in parts (`split`). Results of up to eight rows or columns are not tiles: there reading the other operand takes the
//! time, and it is read by whole lines (`thin`).
//!
//! Along the axis where an operand's elements are neighbours in memory, they are loaded 16 bytes at a time, if the tile's
//! beginning and the other stride allow it, which the kernel finds out; else one by one.

mod after;
mod attention;
mod plain;
mod split;
mod tensor;
mod thin;

use tdl_ir::{BinaryOp, CompareOp, Dtype};

use self::after::{After, Fused};
use self::thin::Thin;
use crate::code::Code;
use crate::ir::*;
use crate::lower::Lower;

/// Rows and columns of a tile.
const SMALL: i64 = 64;
const LARGE: i64 = 128;
/// So many large tiles keep a GPU busy.
const BUSY: i64 = 96;
const THREADS: i64 = 256;

/// The axis along which a matrix's elements are neighbours in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Along {
    /// From row to row.
    Rows,
    Cols,
    Neither,
}

/// A matrix inside the kernel: strides, and the tile's batch item.
#[derive(Clone, Copy)]
struct View {
    ptr: Reg,
    rows: Operand,
    cols: Operand,
    base: Reg,
    along: Along,
}

/// What a kernel is made for.
#[derive(Clone, Copy)]
struct Kind {
    dtype: Dtype,
    /// Of the result.
    out: Dtype,
    batch: usize,
    accumulate: bool,
    along: [Along; 3],
    /// Rows and columns of a tile.
    tile: i64,
}

/// How a kernel is spread.
struct Spread {
    name: String,
    /// Rows and columns of the result that a block makes.
    rows: i64,
    cols: i64,
    threads: i64,
    /// Arrays in shared memory.
    shared: Vec<(Dtype, i64)>,
}

/// Where an element of the result is.
struct Here {
    row: Operand,
    col: Operand,
    /// In memory; the next column's is the next one.
    index: Index,
}

/// What is done with a product's elements instead of storing them.
trait Epilogue {
    /// The address of what is stored.
    fn out(&mut self, c: &mut Code) -> Reg;
    /// Elements from `here` on; more than one only where their number of neighbours may be stored at a time.
    fn put(&mut self, c: &mut Code, here: &Here, values: &[Operand]);
}

/// A kernel that is being written, within a tile.
struct Frame<'c> {
    c: &'c mut Code,
    after: Option<&'c mut dyn Epilogue>,
    kind: Kind,
    a: View,
    b: View,
    out: View,
    m: Operand,
    n: Operand,
    k: Operand,
    /// The first inner index; `k` is the last one's.
    inner0: Operand,
    row0: Operand,
    col0: Operand,
    thread: Operand,
    shared: Vec<Reg>,
}

impl Lower<'_> {
    /// Launches the kernel of a product.
    pub fn launch_product(&mut self, g: &Gemm, fused: Option<&Fused<'_>>) {
        if let Some(thin) = Thin::of(g) {
            return self.launch_thin(&thin, fused);
        }
        let count = |l: &mut Self, tile: i64| {
            let mut range = Operand::i64(1);
            for extent in [g.m, g.n] {
                let up = l.host.add(extent, Operand::i64(tile - 1));
                let tiles = l.host.div(up, Operand::i64(tile));
                range = l.host.mul(range, tiles);
            }
            for extent in &g.batch {
                range = l.host.mul(range, *extent);
            }
            range
        };
        let out = g.dtype;
        if !matches!(g.dtype, Dtype::F16 | Dtype::Bf16 | Dtype::F32) {
            let range = count(self, SMALL);
            return self.launch_tiles(g, SMALL, range, out, fused);
        }
        let large = count(self, LARGE);
        if let Some(n) = large.as_i64() {
            if n >= BUSY {
                return self.launch_tiles(g, LARGE, large, out, fused);
            }
            let range = count(self, SMALL);
            return self.launch_small(g, range, fused);
        }
        let (op, b) = (CompareOp::Ge, Operand::i64(BUSY));
        let cond = self.host.scalar(Dtype::Bool, Expr::Compare { op, dtype: Dtype::I64, a: large, b });
        self.host.begin();
        self.launch_tiles(g, LARGE, large, out, fused);
        let then = self.host.end();
        self.host.begin();
        let range = count(self, SMALL);
        self.launch_tiles(g, SMALL, range, out, fused);
        let els = self.host.end();
        self.host.push(Stmt::If(If { cond, then, els, results: vec![] }));
    }

    /// A known number of small tiles, perhaps in parts.
    fn launch_small(&mut self, g: &Gemm, range: Operand, fused: Option<&Fused<'_>>) {
        let parts = range.as_i64().map_or(ONE, |tiles| self.parts(g, tiles, split::TILES));
        let whole = |l: &mut Self| l.launch_tiles(g, SMALL, range, g.dtype, fused);
        let part = |l: &mut Self, part: &Gemm, range, out| l.launch_tiles(part, SMALL, range, out, None);
        self.whole_or_parts(g, (parts, range), fused, whole, &part);
    }

    fn launch_tiles(&mut self, g: &Gemm, tile: i64, range: Operand, out: Dtype, fused: Option<&Fused<'_>>) {
        let along = [(&g.a, [g.m, g.k]), (&g.b, [g.k, g.n]), (&g.c, [g.m, g.n])].map(|(m, extents)| along(m, extents));
        let kind = Kind { dtype: g.dtype, out, batch: g.batch.len(), accumulate: g.accumulate, along, tile };
        self.launch_steps(g, range, fused, |after| match g.dtype {
            Dtype::F16 | Dtype::Bf16 => tensor::kernel(kind, after),
            _ => plain::kernel(kind, after),
        });
    }

    /// Launches a kernel that [`kernel`] makes.
    fn launch_steps(
        &mut self,
        g: &Gemm,
        range: Operand,
        fused: Option<&Fused<'_>>,
        kernel: impl FnOnce(Option<&mut dyn Epilogue>) -> Kernel,
    ) {
        let (kernel, captured) = self.with_epilogue(g, fused, kernel);
        let mut args = Vec::new();
        let mut offsets = Vec::new();
        for (at, m) in [&g.a, &g.b, &g.c].into_iter().enumerate() {
            if at < 2 || fused.is_none() {
                args.push(m.ptr.into());
            }
            let offset = match m.offset.terms.is_empty() {
                true => Operand::i64(m.offset.offset),
                false => self.host.scalar(Dtype::I64, Expr::Index(m.offset.clone())),
            };
            offsets.push(offset);
        }
        for (m, offset) in [&g.a, &g.b, &g.c].into_iter().zip(offsets) {
            args.extend([m.row_stride, m.col_stride, offset]);
            args.extend(&m.batch_strides);
        }
        args.extend([g.m, g.n, g.k]);
        args.extend(&g.batch);
        args.extend(captured);
        self.tally_product(g);
        self.perform(Stmt::Launch { kernel, args, range, grain: Operand::i64(1) });
    }

    /// A kernel that goes on with the group, if there is one, and what it takes behind its own arguments.
    fn with_epilogue(
        &mut self,
        g: &Gemm,
        fused: Option<&Fused<'_>>,
        kernel: impl FnOnce(Option<&mut dyn Epilogue>) -> Kernel,
    ) -> (KernelId, Vec<Operand>) {
        let Some(fused) = fused else { return (self.intern(kernel(None)), vec![]) };
        let mut after = After::new(self, fused, g);
        let mut kernel = kernel(Some(&mut after));
        let (params, captured) = after.end();
        kernel.params.extend(params);
        kernel.name += ".fused";
        (self.intern(kernel), captured)
    }
}

/// An axis of one element has no neighbours.
fn along(m: &Matrix, [rows, cols]: [Operand; 2]) -> Along {
    let unit = |stride: Operand, extent: Operand| stride.as_i64() == Some(1) && extent.as_i64() != Some(1);
    match (unit(m.row_stride, rows), unit(m.col_stride, cols)) {
        (_, true) => Along::Cols,
        (true, _) => Along::Rows,
        _ => Along::Neither,
    }
}

/// A kernel whose steps are tiles; `body` writes one.
fn kernel(
    kind: Kind,
    spread: Spread,
    mut after: Option<&mut dyn Epilogue>,
    body: impl FnOnce(&mut Frame<'_>),
) -> Kernel {
    let Kind { dtype: _, out: _, batch, accumulate, along, tile: _ } = kind;
    let Spread { name, rows, cols, threads, shared } = spread;
    let mut c = Code::new();
    c.begin_memo();
    let mut params = Vec::new();
    let param = |c: &mut Code, params: &mut Vec<KernelParam>, name: &str, ty, access| {
        let reg = c.named(ty, Some(name.into()));
        params.push(KernelParam { reg, access });
        reg
    };
    let written = if accumulate { Access::ReadWrite } else { Access::Write };
    let [a, b] = ["a", "b"].map(|name| param(&mut c, &mut params, name, RegTy::Ptr, Access::Read));
    let out = match &mut after {
        Some(after) => after.out(&mut c),
        None => param(&mut c, &mut params, "c", RegTy::Ptr, written),
    };
    let ptrs = [a, b, out];
    let int = RegTy::Scalar(Dtype::I64);
    let mut strides = Vec::new();
    for name in ["a", "b", "c"] {
        let n = |what: &str| format!("{name}.{what}");
        let all: Vec<Reg> = ["rows", "cols", "at"]
            .into_iter()
            .map(n)
            .chain((0..batch).map(|i| n(&format!("batch{i}"))))
            .map(|name| param(&mut c, &mut params, &name, int, Access::Read))
            .collect();
        strides.push(all);
    }
    let [m, n, k] = ["m", "n", "k"].map(|name| param(&mut c, &mut params, name, int, Access::Read));
    let extents: Vec<Reg> =
        (0..batch).map(|i| param(&mut c, &mut params, &format!("batch{i}"), int, Access::Read)).collect();
    let range = c.named(int, Some("range".into()));

    let mut arrays = Vec::new();
    for (dtype, len) in shared {
        let dst = c.reg(RegTy::Ptr);
        c.push(Stmt::Shared { dst, dtype, len: len as usize });
        arrays.push(dst);
    }
    let place = |c: &mut Code, p: Place| c.scalar(Dtype::I64, Expr::Place(p));
    let (thread, block, blocks) =
        (place(&mut c, Place::Thread), place(&mut c, Place::Block), place(&mut c, Place::Blocks));
    let tiles = c.add(n.into(), Operand::i64(cols - 1));
    let tiles_across = c.div(tiles, Operand::i64(cols));
    let tiles = c.add(m.into(), Operand::i64(rows - 1));
    let tiles_down = c.div(tiles, Operand::i64(rows));

    let step = c.i64();
    c.begin();
    let col0 = c.rem(step.into(), tiles_across);
    let rest = c.div(step.into(), tiles_across);
    let row0 = c.rem(rest, tiles_down);
    let mut item = c.div(rest, tiles_down);
    let (row0, col0) = (c.mul(row0, Operand::i64(rows)), c.mul(col0, Operand::i64(cols)));
    let mut bases: Vec<Index> =
        strides.iter().map(|s| Index { offset: 0, terms: vec![Term { reg: s[2], stride: Operand::i64(1) }] }).collect();
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
    for (((ptr, s), base), along) in ptrs.into_iter().zip(&strides).zip(bases).zip(along) {
        let base = c.let_(int, Expr::Index(base));
        let rows = if along == Along::Rows { Operand::i64(1) } else { s[0].into() };
        let cols = if along == Along::Cols { Operand::i64(1) } else { s[1].into() };
        views.push(View { ptr, rows, cols, base, along });
    }
    let [a, b, out] = <[View; 3]>::try_from(views).unwrap_or_else(|_| unreachable!("three matrices"));
    let (m, n, k) = (m.into(), n.into(), k.into());
    let after = after.map(|a| a as &mut dyn Epilogue);
    body(&mut Frame {
        c: &mut c,
        after,
        kind,
        a,
        b,
        out,
        m,
        n,
        k,
        inner0: Operand::i64(0),
        row0,
        col0,
        thread,
        shared: arrays,
    });
    let body = c.end();
    c.push(Stmt::For(super::serial(step, block, range.into(), blocks, body)));
    let body = c.blocks.pop().expect("the body is open");
    let grid = Grid { range, threads: threads as usize, per: Per::Block };
    Kernel { name, regs: c.regs, params, lo: step, hi: step, body, grid: Some(grid) }
}

/// In what products are added up.
fn sum_dtype(dtype: Dtype) -> Dtype {
    if matches!(dtype, Dtype::F16 | Dtype::Bf16) { Dtype::F32 } else { dtype }
}

fn zero(dtype: Dtype) -> Operand {
    crate::nest::identity(tdl_ir::ReduceOp::Sum, dtype)
}

/// `offset + sum of terms`, where constants go to the offset.
fn sum(offset: i64, terms: &[(Operand, Operand)]) -> Index {
    let mut out = Index { offset, terms: Vec::new() };
    for (o, stride) in terms {
        match (o, stride) {
            (Operand::Reg(reg), _) => out.terms.push(Term { reg: *reg, stride: *stride }),
            (Operand::Const(..), Operand::Reg(reg)) => out.terms.push(Term { reg: *reg, stride: *o }),
            (o, s) => out.offset += o.as_i64().unwrap_or(0) * s.as_i64().unwrap_or(0),
        }
    }
    out
}

const ONE: Operand = Operand::i64(1);

/// Element `(i, j)` of a matrix.
fn at(v: &View, i: Operand, j: Operand) -> Index {
    sum(0, &[(v.base.into(), ONE), (i, v.rows), (j, v.cols)])
}

fn compare(c: &mut Code, op: CompareOp, a: Operand, b: Operand) -> Operand {
    c.scalar(Dtype::Bool, Expr::Compare { op, dtype: Dtype::I64, a, b })
}

fn and(c: &mut Code, a: Operand, b: Operand) -> Operand {
    c.binary(BinaryOp::And, Dtype::Bool, a, b)
}

fn inside(c: &mut Code, i: Operand, m: Operand, j: Operand, n: Operand) -> Operand {
    let (a, b) = (compare(c, CompareOp::Lt, i, m), compare(c, CompareOp::Lt, j, n));
    and(c, a, b)
}

/// Do chunks of `width` neighbours, from multiples of it on, begin at multiples of their length in memory? `also` are numbers that
/// have to be multiples too.
fn aligned(c: &mut Code, v: &View, width: i64, also: &[Operand]) -> Operand {
    let stride = match v.along {
        Along::Rows => v.cols,
        Along::Cols => v.rows,
        Along::Neither => return Operand::bool(false),
    };
    let mut all = c.binary(BinaryOp::Or, Dtype::I64, stride, v.base.into());
    for o in also {
        all = c.binary(BinaryOp::Or, Dtype::I64, all, *o);
    }
    let address = c.scalar(Dtype::I64, Expr::Address(v.ptr));
    let mut ok = Operand::bool(true);
    for (x, of) in [(all, width), (address, WIDE as i64)] {
        let rest = c.binary(BinaryOp::And, Dtype::I64, x, Operand::i64(of - 1));
        let fits = compare(c, CompareOp::Eq, rest, Operand::i64(0));
        ok = if ok == Operand::bool(true) { fits } else { and(c, ok, fits) };
    }
    ok
}

/// Writes `values` to neighbours of row `i` from column `j` on, at a multiple of their number: together, if `wide` and the
/// result's rows are contiguous. What is outside is left.
fn put(f: &mut Frame<'_>, wide: Operand, i: Operand, j: Operand, values: &[Operand]) {
    let Kind { out: dtype, accumulate, .. } = f.kind;
    let (c, v, after) = (&mut *f.c, &f.out, &mut f.after);
    let sum_dtype = sum_dtype(dtype);
    let width = values.len() as i64;
    let finished = |c: &mut Code, old: Option<Reg>, value: Operand| {
        let mut value = value;
        if let Some(old) = old {
            let old = c.convert(dtype, sum_dtype, old.into());
            value = c.binary(BinaryOp::Add, sum_dtype, old, value);
        }
        c.convert(sum_dtype, dtype, value)
    };
    let whole = (v.along == Along::Cols).then(|| {
        let end = c.add(j, Operand::i64(width - 1));
        let fits = inside(c, i, f.m, end, f.n);
        and(c, fits, wide)
    });
    c.begin();
    for (q, value) in values.iter().enumerate() {
        let j = c.add(j, Operand::i64(q as i64));
        let ok = inside(c, i, f.m, j, f.n);
        c.begin();
        let index = at(v, i, j);
        let load = Expr::Load { ptr: v.ptr, dtype, index: index.clone() };
        let old = accumulate.then(|| c.let_(RegTy::Scalar(dtype), load));
        let value = finished(c, old, *value);
        match after {
            Some(after) => after.put(c, &Here { row: i, col: j, index }, &[value]),
            None => c.push(Stmt::Store { ptr: v.ptr, dtype, index, value }),
        }
        let then = c.end();
        c.push(Stmt::If(If { cond: ok, then, els: vec![], results: vec![] }));
    }
    let single = c.end();
    let Some(cond) = whole else {
        single.into_iter().for_each(|s| c.push(s));
        return;
    };
    c.begin();
    let index = at(v, i, j);
    let old: Vec<Option<Reg>> = values.iter().map(|_| accumulate.then(|| c.reg(RegTy::Scalar(dtype)))).collect();
    if accumulate {
        let dst = old.iter().copied().flatten().collect();
        c.push(Device::Load { dst, ptr: v.ptr, dtype, index: index.clone() }.into());
    }
    let values: Vec<Operand> = old.into_iter().zip(values).map(|(old, v)| finished(c, old, *v)).collect();
    match after {
        Some(after) => after.put(c, &Here { row: i, col: j, index }, &values),
        None => c.push(Device::Store { ptr: v.ptr, dtype, index, values }.into()),
    }
    let then = c.end();
    c.push(Stmt::If(If { cond, then, els: single, results: vec![] }));
}

/// As many elements of an operand from an inner index and a place on the side on, 0 outside.
fn neighbours(
    c: &mut Code,
    dtype: Dtype,
    v: &View,
    left: bool,
    (l, l_end): (Operand, Operand),
    (s, s_end): (Operand, Operand),
    along_inner: bool,
    width: i64,
    wide: Operand,
) -> Vec<Reg> {
    let ty = RegTy::Scalar(dtype);
    let index = |l, s| if left { at(v, s, l) } else { at(v, l, s) };
    c.begin();
    let mut single = Vec::new();
    for q in 0..width {
        let (l, s) = match along_inner {
            true => (c.add(l, Operand::i64(q)), s),
            false => (l, c.add(s, Operand::i64(q))),
        };
        let ok = inside(c, l, l_end, s, s_end);
        c.begin();
        let x = c.scalar(dtype, Expr::Load { ptr: v.ptr, dtype, index: index(l, s) });
        let then = c.end();
        let result = c.reg(ty);
        let results = vec![IfResult { result, then: x, els: zero(dtype) }];
        c.push(Stmt::If(If { cond: ok, then, els: vec![], results }));
        single.push(result);
    }
    let els = c.end();
    if v.along == Along::Neither {
        els.into_iter().for_each(|s| c.push(s));
        return single;
    }
    let last = |c: &mut Code, x| c.add(x, Operand::i64(width - 1));
    let (l_last, s_last) = if along_inner { (last(c, l), s) } else { (l, last(c, s)) };
    let fits = inside(c, l_last, l_end, s_last, s_end);
    let cond = and(c, fits, wide);
    c.begin();
    let all: Vec<Reg> = (0..width).map(|_| c.reg(ty)).collect();
    let most = (WIDE / dtype.size()).min(width as usize);
    for (q, dst) in all.chunks(most).enumerate() {
        let mut index = index(l, s);
        index.offset += (q * most) as i64;
        c.push(Device::Load { dst: dst.to_vec(), ptr: v.ptr, dtype, index }.into());
    }
    let then = c.end();
    let mut values = Vec::new();
    let mut results = Vec::new();
    for (wide, one) in all.into_iter().zip(single) {
        let result = c.reg(ty);
        results.push(IfResult { result, then: wide.into(), els: one.into() });
        values.push(result);
    }
    c.push(Stmt::If(If { cond, then, els, results }));
    values
}

/// `x * y + z`: rounded once for floats.
fn muladd(c: &mut Code, dtype: Dtype, x: Operand, y: Operand, z: Operand) -> Operand {
    if dtype.is_float() {
        return c.scalar(dtype, Expr::MulAdd { dtype, a: x, b: y, c: z });
    }
    let xy = c.binary(BinaryOp::Mul, dtype, x, y);
    c.binary(BinaryOp::Add, dtype, xy, z)
}
