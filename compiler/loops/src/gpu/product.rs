//! Products of matrices: a block of threads computes a tile of the result, with strips of both operands in shared memory.
//! Each element is summed in the order of the inner axis by one thread; f32 is exact f32, 16-bit floats are summed in f32.

use tdl_ir::{BinaryOp, CompareOp, Dtype};

use crate::code::Code;
use crate::ir::*;
use crate::lower::Lower;

/// Rows and columns of a tile, and what of the inner axis is in shared memory at a time.
const TILE: i64 = 64;
const STRIP: i64 = 16;
/// Threads are a square, and each has as many elements of the tile a side.
const SIDE: i64 = 16;
const EACH: i64 = TILE / SIDE;
/// From one inner index to the next in shared memory.
const PITCH: i64 = TILE + 1;

/// A matrix inside the kernel: strides, and the tile's batch item.
struct View {
    ptr: Reg,
    rows: Reg,
    cols: Reg,
    base: Reg,
}

impl Lower<'_> {
    /// Launches the kernel of a product.
    pub fn launch_product(&mut self, g: &Gemm) {
        let kernel = self.intern(kernel(g.dtype, g.batch.len(), g.accumulate));
        let mut args = Vec::new();
        let mut offsets = Vec::new();
        for m in [&g.a, &g.b, &g.c] {
            args.push(m.ptr.into());
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
        let mut range = Operand::i64(1);
        for extent in [g.m, g.n] {
            let up = self.host.add(extent, Operand::i64(TILE - 1));
            let tiles = self.host.div(up, Operand::i64(TILE));
            range = self.host.mul(range, tiles);
        }
        for extent in &g.batch {
            range = self.host.mul(range, *extent);
        }
        self.tally_product(g);
        self.perform(Stmt::Launch { kernel, args, range, grain: Operand::i64(1) });
    }
}

fn kernel(dtype: Dtype, batch: usize, accumulate: bool) -> Kernel {
    let mut c = Code::new();
    c.begin_memo();
    let mut params = Vec::new();
    let param = |c: &mut Code, params: &mut Vec<KernelParam>, name: &str, ty, access| {
        let reg = c.named(ty, Some(name.into()));
        params.push(KernelParam { reg, access });
        reg
    };
    let written = if accumulate { Access::ReadWrite } else { Access::Write };
    let ptrs = [("a", Access::Read), ("b", Access::Read), ("c", written)]
        .map(|(name, access)| param(&mut c, &mut params, name, RegTy::Ptr, access));
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

    let (a_tile, b_tile) = (c.reg(RegTy::Ptr), c.reg(RegTy::Ptr));
    let sum = if matches!(dtype, Dtype::F16 | Dtype::Bf16) { Dtype::F32 } else { dtype };
    for dst in [a_tile, b_tile] {
        c.push(Stmt::Shared { dst, dtype, len: (STRIP * PITCH) as usize });
    }
    let place = |c: &mut Code, p: Place| c.scalar(Dtype::I64, Expr::Place(p));
    let (thread, block, blocks) =
        (place(&mut c, Place::Thread), place(&mut c, Place::Block), place(&mut c, Place::Blocks));
    let (down, across) = (c.div(thread, Operand::i64(SIDE)), c.rem(thread, Operand::i64(SIDE)));
    let tiles = c.add(n.into(), Operand::i64(TILE - 1));
    let tiles_across = c.div(tiles, Operand::i64(TILE));
    let tiles = c.add(m.into(), Operand::i64(TILE - 1));
    let tiles_down = c.div(tiles, Operand::i64(TILE));

    let step = c.i64();
    c.begin();
    let col0 = c.rem(step.into(), tiles_across);
    let rest = c.div(step.into(), tiles_across);
    let row0 = c.rem(rest, tiles_down);
    let mut item = c.div(rest, tiles_down);
    let (row0, col0) = (c.mul(row0, Operand::i64(TILE)), c.mul(col0, Operand::i64(TILE)));
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
    for ((ptr, s), base) in ptrs.into_iter().zip(&strides).zip(bases) {
        let base = c.let_(int, Expr::Index(base));
        views.push(View { ptr, rows: s[0], cols: s[1], base });
    }
    let [a, b, out] = <[View; 3]>::try_from(views).unwrap_or_else(|_| unreachable!("three matrices"));

    // strips of the inner axis
    let zero = zero(sum);
    let count = (EACH * EACH) as usize;
    let sums: Vec<Reg> = (0..count).map(|_| c.reg(RegTy::Scalar(sum))).collect();
    let strip = c.i64();
    c.begin();
    for q in 0..TILE * STRIP / (SIDE * SIDE) {
        let e = c.add(thread, Operand::i64(q * SIDE * SIDE));
        // neighbouring threads read along the inner axis of `a`, and along the rows of `b`
        let (i, l) = (c.div(e, Operand::i64(STRIP)), c.rem(e, Operand::i64(STRIP)));
        copy(&mut c, dtype, &a, a_tile, [row0, i, m.into()], [strip.into(), l, k.into()], [false, true]);
        let (l, j) = (c.div(e, Operand::i64(TILE)), c.rem(e, Operand::i64(TILE)));
        copy(&mut c, dtype, &b, b_tile, [strip.into(), l, k.into()], [col0, j, n.into()], [true, false]);
    }
    c.push(Stmt::Barrier);
    let inner: Vec<Reg> = (0..count).map(|_| c.reg(RegTy::Scalar(sum))).collect();
    let inner_end: Vec<Reg> = (0..count).map(|_| c.reg(RegTy::Scalar(sum))).collect();
    let sums_end: Vec<Reg> = (0..count).map(|_| c.reg(RegTy::Scalar(sum))).collect();
    let head = c.begin_loop(Operand::i64(0), Operand::i64(STRIP), LoopKind::Serial);
    let side = |c: &mut Code, tile: Reg, from: Operand| -> Vec<Operand> {
        (0..EACH)
            .map(|q| {
                let mut terms = vec![Term { reg: head.var, stride: Operand::i64(PITCH) }];
                terms.extend(term(from));
                let index = Index { offset: q * SIDE, terms };
                let x = c.scalar(dtype, Expr::Load { ptr: tile, dtype, index });
                c.convert(dtype, sum, x)
            })
            .collect()
    };
    let (xs, ys) = (side(&mut c, a_tile, down), side(&mut c, b_tile, across));
    let mut carried = Vec::new();
    for (p, x) in xs.iter().enumerate() {
        for (q, y) in ys.iter().enumerate() {
            let at = p * EACH as usize + q;
            let next = muladd(&mut c, sum, *x, *y, inner[at].into());
            carried.push(Carried { param: inner[at], init: sums[at].into(), next, result: inner_end[at] });
        }
    }
    c.end_loop(head, carried, vec![]);
    c.push(Stmt::Barrier);
    let body = c.end();
    let carried = (0..count)
        .map(|at| Carried { param: sums[at], init: zero, next: inner_end[at].into(), result: sums_end[at] })
        .collect();
    let (lo, kind) = (Operand::i64(0), LoopKind::Serial);
    let step_by = Operand::i64(STRIP);
    c.push(Stmt::For(For { var: strip, lo, hi: k.into(), step: step_by, kind, carried, reductions: vec![], body }));

    for p in 0..EACH {
        for q in 0..EACH {
            let value = sums_end[(p * EACH + q) as usize];
            let i = c.add(row0, down);
            let i = c.add(i, Operand::i64(p * SIDE));
            let j = c.add(col0, across);
            let j = c.add(j, Operand::i64(q * SIDE));
            let ok = inside(&mut c, i, m.into(), j, n.into());
            c.begin();
            let index = at(&out, i, j);
            let mut value: Operand = value.into();
            if accumulate {
                let old = c.scalar(dtype, Expr::Load { ptr: out.ptr, dtype, index: index.clone() });
                let old = c.convert(dtype, sum, old);
                value = c.binary(BinaryOp::Add, sum, old, value);
            }
            let value = c.convert(sum, dtype, value);
            c.push(Stmt::Store { ptr: out.ptr, dtype, index, value });
            let then = c.end();
            c.push(Stmt::If(If { cond: ok, then, els: vec![], results: vec![] }));
        }
    }
    let body = c.end();
    c.push(Stmt::For(super::serial(step, block, range.into(), blocks, body)));
    let body = c.blocks.pop().expect("the body is open");
    let grid = Grid { range, threads: (SIDE * SIDE) as usize, per: Per::Block };
    let name = format!("product.{dtype}");
    Kernel { name, regs: c.regs, params, lo: step, hi: step, body, grid: Some(grid) }
}

fn zero(dtype: Dtype) -> Operand {
    crate::nest::identity(tdl_ir::ReduceOp::Sum, dtype)
}

fn term(o: Operand) -> Option<Term> {
    match o {
        Operand::Reg(reg) => Some(Term { reg, stride: Operand::i64(1) }),
        Operand::Const(..) => None,
    }
}

/// Element `(i, j)` of a matrix.
fn at(v: &View, i: Operand, j: Operand) -> Index {
    let mut terms: Vec<Term> = term(v.base.into()).into_iter().collect();
    for (o, stride) in [(i, v.rows), (j, v.cols)] {
        if let Operand::Reg(reg) = o {
            terms.push(Term { reg, stride: stride.into() });
        }
    }
    Index { offset: 0, terms }
}

fn inside(c: &mut Code, i: Operand, m: Operand, j: Operand, n: Operand) -> Operand {
    let less = |c: &mut Code, a, b| c.scalar(Dtype::Bool, Expr::Compare { op: CompareOp::Lt, dtype: Dtype::I64, a, b });
    let (a, b) = (less(c, i, m), less(c, j, n));
    c.binary(BinaryOp::And, Dtype::Bool, a, b)
}

/// `tile[inner, outer] = matrix[first + row, first + col]`, or 0 outside; `inner` says which of the two is the inner axis.
fn copy(c: &mut Code, dtype: Dtype, v: &View, tile: Reg, row: [Operand; 3], col: [Operand; 3], inner: [bool; 2]) {
    let (i, j) = (c.add(row[0], row[1]), c.add(col[0], col[1]));
    let ok = inside(c, i, row[2], j, col[2]);
    c.begin();
    let x = c.scalar(dtype, Expr::Load { ptr: v.ptr, dtype, index: at(v, i, j) });
    let then = c.end();
    let value = c.reg(RegTy::Scalar(dtype));
    let results = vec![IfResult { result: value, then: x, els: zero(dtype) }];
    c.push(Stmt::If(If { cond: ok, then, els: vec![], results }));
    let terms = [(row[1], inner[0]), (col[1], inner[1])].into_iter().filter_map(|(o, inner)| match o {
        Operand::Reg(reg) => Some(Term { reg, stride: Operand::i64(if inner { PITCH } else { 1 }) }),
        Operand::Const(..) => None,
    });
    let index = Index { offset: 0, terms: terms.collect() };
    c.push(Stmt::Store { ptr: tile, dtype, index, value: value.into() });
}

/// `x * y + z`: rounded once for floats.
fn muladd(c: &mut Code, dtype: Dtype, x: Operand, y: Operand, z: Operand) -> Operand {
    if dtype.is_float() {
        return c.scalar(dtype, Expr::MulAdd { dtype, a: x, b: y, c: z });
    }
    let xy = c.binary(BinaryOp::Mul, dtype, x, y);
    c.binary(BinaryOp::Add, dtype, xy, z)
}
