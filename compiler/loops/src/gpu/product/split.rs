//! Products with few steps and a long inner axis: parts of that axis go to different blocks, and a second kernel adds what they found, in
//! the order of the parts.

use tdl_ir::{BinaryOp, CompareOp, Dtype, ReduceOp};

use super::after::Fused;
use super::{BUSY, Epilogue, Here, sum_dtype};
use crate::code::Code;
use crate::ir::*;
use crate::lower::Lower;

/// A part's length is a multiple of this, so that no strip is cut.
const STRIP: i64 = 32;

/// When the inner axis is parted.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// So many steps keep a GPU busy.
    pub busy: i64,
    /// Inner indices of a part, at least.
    pub least: i64,
    /// Parts, at most.
    pub most: i64,
}

pub(super) const TILES: Limits = Limits { busy: BUSY, least: 512, most: 32 };

impl Lower<'_> {
    /// Into how many parts the inner axis goes; each has as many indices. The whole has so many `steps`.
    pub(super) fn parts(&mut self, g: &Gemm, steps: i64, limits: Limits) -> Operand {
        let Limits { busy, least, most } = limits;
        let mut parts = Operand::i64(1);
        let mut n = 2;
        while n <= most && n * steps.max(1) <= busy {
            parts = match g.k.as_i64() {
                Some(k) if k >= n * least && k % (n * STRIP) == 0 => Operand::i64(n),
                Some(_) => parts,
                None => {
                    let test = |l: &mut Self, op, a, b| {
                        l.host.scalar(Dtype::Bool, Expr::Compare { op, dtype: Dtype::I64, a, b })
                    };
                    let long = test(self, CompareOp::Ge, g.k, Operand::i64(n * least));
                    let rest = self.host.rem(g.k, Operand::i64(n * STRIP));
                    let whole = test(self, CompareOp::Eq, rest, Operand::i64(0));
                    let cond = self.host.binary(BinaryOp::And, Dtype::Bool, long, whole);
                    let (a, b) = (Operand::i64(n), parts);
                    self.host.scalar(Dtype::I64, Expr::Select { dtype: Dtype::I64, cond, a, b })
                }
            };
            n *= 2;
        }
        parts
    }

    /// The product in that many parts, or as a whole if there is one. The whole has so many `steps`; `launch` launches a product, with
    /// its number of steps and the result's dtype.
    pub(super) fn whole_or_parts(
        &mut self,
        g: &Gemm,
        (parts, steps): (Operand, Operand),
        fused: Option<&Fused<'_>>,
        whole: impl FnOnce(&mut Self),
        launch: &dyn Fn(&mut Self, &Gemm, Operand, Dtype),
    ) {
        match parts.as_i64() {
            Some(1) => whole(self),
            Some(_) => self.launch_parts(g, (parts, steps), fused, launch),
            None => {
                let (op, b) = (CompareOp::Gt, Operand::i64(1));
                let cond = self.host.scalar(Dtype::Bool, Expr::Compare { op, dtype: Dtype::I64, a: parts, b });
                self.host.begin();
                self.launch_parts(g, (parts, steps), fused, launch);
                let then = self.host.end();
                self.host.begin();
                whole(self);
                let els = self.host.end();
                self.host.push(Stmt::If(If { cond, then, els, results: vec![] }));
            }
        }
    }

    fn launch_parts(
        &mut self,
        g: &Gemm,
        (parts, steps): (Operand, Operand),
        fused: Option<&Fused<'_>>,
        launch: &dyn Fn(&mut Self, &Gemm, Operand, Dtype),
    ) {
        let sum = sum_dtype(g.dtype);
        let mut items = self.host.mul(g.m, g.n);
        for extent in &g.batch {
            items = self.host.mul(items, *extent);
        }
        let count = self.host.mul(items, parts);
        let bytes = self.host.mul(count, Operand::i64(sum.size() as i64));
        let (ptr, site) = (self.host.reg(RegTy::Ptr), self.site());
        self.perform(Stmt::Alloc { dst: ptr, bytes, site, ahead: false });

        let each = self.host.div(g.k, parts);
        let mut part = g.clone();
        part.k = each;
        part.accumulate = false;
        part.batch.insert(0, parts);
        let a_step = self.host.mul(each, g.a.col_stride);
        part.a.batch_strides.insert(0, a_step);
        let b_step = self.host.mul(each, g.b.row_stride);
        part.b.batch_strides.insert(0, b_step);
        let mut strides = vec![items];
        let mut inner = items;
        for extent in &g.batch {
            // what is left of the product of extents: never divides by zero, for then nothing is launched
            let extent = self.host.max(*extent, Operand::i64(1));
            inner = self.host.div(inner, extent);
            strides.push(inner);
        }
        let (row_stride, col_stride) = (g.n, Operand::i64(1));
        part.c = Matrix { ptr, offset: Index::default(), row_stride, col_stride, batch_strides: strides };
        let range = self.host.mul(parts, steps);
        launch(self, &part, range, sum);

        let (kernel, captured) = self.with_epilogue(g, fused, |after| added(g, sum, after));
        let offset = match g.c.offset.terms.is_empty() {
            true => Operand::i64(g.c.offset.offset),
            false => self.host.scalar(Dtype::I64, Expr::Index(g.c.offset.clone())),
        };
        let mut args = vec![ptr.into()];
        if fused.is_none() {
            args.push(g.c.ptr.into());
        }
        args.extend([items, parts, offset, g.m, g.n, g.c.row_stride, g.c.col_stride]);
        args.extend(&g.batch);
        args.extend(&g.c.batch_strides);
        args.extend(captured);
        self.tally_parts(count, sum.size());
        self.perform(Stmt::Launch { kernel, args, range: items, grain: Operand::i64(1) });
        self.perform(Stmt::Free { ptr });
    }
}

/// Adds the parts of each element of the result.
fn added(g: &Gemm, sum: Dtype, mut after: Option<&mut dyn Epilogue>) -> Kernel {
    let dtype = g.dtype;
    let mut c = Code::new();
    c.begin_memo();
    let int = RegTy::Scalar(Dtype::I64);
    let mut params = Vec::new();
    let mut param = |c: &mut Code, name: String, ty, access| {
        let reg = c.named(ty, Some(name.into()));
        params.push(KernelParam { reg, access });
        reg
    };
    let written = if g.accumulate { Access::ReadWrite } else { Access::Write };
    let from = param(&mut c, "parts".into(), RegTy::Ptr, Access::Read);
    let to = match &mut after {
        Some(after) => after.out(&mut c),
        None => param(&mut c, "c".into(), RegTy::Ptr, written),
    };
    let [items, parts, offset, m, n, rows, cols] = ["items", "count", "c.at", "m", "n", "c.rows", "c.cols"]
        .map(|name| param(&mut c, name.into(), int, Access::Read));
    let batch: Vec<Reg> = (0..g.batch.len()).map(|i| param(&mut c, format!("batch{i}"), int, Access::Read)).collect();
    let steps: Vec<Reg> = (0..g.batch.len()).map(|i| param(&mut c, format!("c.batch{i}"), int, Access::Read)).collect();
    let (lo, hi) = (c.named(int, Some("lo".into())), c.named(int, Some("hi".into())));

    let head = c.begin_loop(lo.into(), hi.into(), LoopKind::Vector);
    let part = c.begin_loop(Operand::i64(0), parts.into(), LoopKind::Serial);
    let terms = vec![Term { reg: part.var, stride: items.into() }, Term { reg: head.var, stride: Operand::i64(1) }];
    let value = c.scalar(sum, Expr::Load { ptr: from, dtype: sum, index: Index { offset: 0, terms } });
    let result = c.reg(RegTy::Scalar(sum));
    let init = crate::nest::identity(ReduceOp::Sum, sum);
    c.end_loop(part, vec![], vec![Reduction { op: ReduceOp::Sum, dtype: sum, init, value, result }]);
    let j = c.rem(head.var.into(), n.into());
    let rest = c.div(head.var.into(), n.into());
    let i = c.rem(rest, m.into());
    let mut item = c.div(rest, m.into());
    let one = Operand::i64(1);
    let mut terms =
        vec![(offset.into(), one), (i, rows.into()), (j, if g.c.col_stride == one { one } else { cols.into() })];
    for (extent, step) in batch.iter().zip(&steps).rev() {
        let at = c.rem(item, (*extent).into());
        terms.push((at, (*step).into()));
        item = c.div(item, (*extent).into());
    }
    let index = super::sum(0, &terms);
    let mut value: Operand = result.into();
    if g.accumulate {
        let old = c.scalar(dtype, Expr::Load { ptr: to, dtype, index: index.clone() });
        let old = c.convert(dtype, sum, old);
        value = c.binary(BinaryOp::Add, sum, old, value);
    }
    let value = c.convert(sum, dtype, value);
    match after {
        Some(after) => after.put(&mut c, &Here { row: i, col: j, index }, &[value]),
        None => c.push(Stmt::Store { ptr: to, dtype, index, value }),
    }
    c.end_loop(head, vec![], vec![]);
    let body = c.blocks.pop().expect("the body is open");
    Kernel { name: format!("product.{dtype}.parts"), regs: c.regs, params, lo, hi, body, grid: None }
}
