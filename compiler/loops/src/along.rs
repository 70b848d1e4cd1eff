//! Operations that go along an axis: scans, the place of the largest, order.

use tdl_ir::{BinaryOp, CompareOp, Dtype, Inst, ScanOp, UnaryOp};

use crate::code::Idx;
use crate::eval::BufStore;
use crate::gpu::scan::{Combine, Scan};
use crate::gpu::sort::Rows;
use crate::ir::*;
use crate::kernel::{MEMORY_COST, Work};
use crate::lower::Lower;
use crate::nest::identity as fold_identity;
use crate::plan::tree_cost;
use crate::size::Size;

impl Lower<'_> {
    pub fn scan(&mut self, inst: &Inst, op: ScanOp, axis: usize, reverse: bool, n: usize) {
        let (x, r) = (inst.args[0], inst.results[0]);
        let buf = self.place(r, n);
        let dims = self.sizes_of(r);
        let dtype = self.dtype(r);
        let others: Vec<usize> = (0..dims.len()).filter(|a| *a != axis).collect();
        let other_dims: Vec<Size> = others.iter().map(|a| dims[*a].clone()).collect();
        let (reduce, binary) = match op {
            ScanOp::Sum => (tdl_ir::ReduceOp::Sum, BinaryOp::Add),
            ScanOp::Prod => (tdl_ir::ReduceOp::Prod, BinaryOp::Mul),
            ScanOp::Max => (tdl_ir::ReduceOp::Max, BinaryOp::Max),
            ScanOp::Min => (tdl_ir::ReduceOp::Min, BinaryOp::Min),
        };
        let acc = match (op, dtype) {
            (ScanOp::Sum | ScanOp::Prod, Dtype::F16 | Dtype::Bf16) => Dtype::F32,
            _ => dtype,
        };
        if self.on_gpu() {
            let combine = Combine { op: binary, reduce, acc, reverse };
            let scan = Scan { x, result: r, to: Some(buf), dims: dims.clone(), axis, dtype, combine };
            if !scan.is_short() {
                return self.scan_of_threads(&scan);
            }
        }
        let cost = i64::from(tree_cost(&self.values, x)) + 2 * MEMORY_COST;
        let work = Work { elements: dims[axis].clone(), cost };
        self.tally_along(x, r);
        self.launch("scan", &Size::product(&other_dims), work, |l, lo, hi| {
            let rows = l.code().begin_loop(lo, hi, LoopKind::Serial);
            let at = l.decompose(rows.var.into(), &other_dims);
            let mut idx = vec![Idx::ZERO; dims.len()];
            for (a, i) in others.iter().zip(at) {
                idx[*a] = i;
            }
            let len = l.outer_size(&dims[axis]);
            let param = l.code().reg(RegTy::Scalar(acc));
            let result = l.code().reg(RegTy::Scalar(acc));
            let head = l.code().begin_loop(Operand::i64(0), len, LoopKind::Serial);
            idx[axis] = Idx::reg(head.var);
            if reverse {
                let end = Idx::size(dims[axis].clone()).add(&Idx::constant(-1));
                idx[axis] = end.add(&Idx::reg(head.var).scale(&Size::constant(-1)));
            }
            let value = l.eval(x, &idx);
            let value = l.code().convert(dtype, acc, value);
            let next = l.code().binary(binary, acc, param.into(), value);
            let out = l.code().convert(acc, dtype, next);
            l.store(BufStore { id: buf, dtype, dims: &dims }, &idx, out);
            let init = fold_identity(reduce, acc);
            l.code().end_loop(head, vec![Carried { param, init, next, result }], vec![]);
            l.code().end_loop(rows, vec![], vec![]);
        });
    }

    /// The first largest or smallest along the last axis; NaN beats everything.
    pub fn arg_reduce(&mut self, inst: &Inst, max: bool, n: usize) {
        let (x, r) = (inst.args[0], inst.results[0]);
        let dims = self.sizes_of(x);
        let (len, rows) = dims.split_last().expect("a reduced axis");
        let (len, rows) = (len.clone(), rows.to_vec());
        let dtype = self.dtype(x);
        let scalar = self.is_scalar(r);
        let buf = if scalar { self.alloc(&Size::constant(8), None) } else { self.place(r, n) };
        let cost = i64::from(tree_cost(&self.values, x)) + 2 * MEMORY_COST;
        self.tally_along(x, r);
        self.launch("argreduce", &Size::product(&rows), Work { elements: len.clone(), cost }, |l, lo, hi| {
            let head = l.code().begin_loop(lo, hi, LoopKind::Serial);
            let mut idx = l.decompose(head.var.into(), &rows);
            let row = idx.clone();
            idx.push(Idx::ZERO);
            let (best, best_end) = (l.code().reg(RegTy::Scalar(dtype)), l.code().reg(RegTy::Scalar(dtype)));
            let (at, at_end) = (l.code().i64(), l.code().i64());
            let len = l.outer_size(&len);
            let inner = l.code().begin_loop(Operand::i64(0), len, LoopKind::Serial);
            idx[rows.len()] = Idx::reg(inner.var);
            let value = l.eval(x, &idx);
            let op = if max { CompareOp::Gt } else { CompareOp::Lt };
            let code = l.code();
            let mut better = code.scalar(Dtype::Bool, Expr::Compare { op, dtype, a: value, b: best.into() });
            if dtype.is_float() {
                let nan = |code: &mut crate::code::Code, x: Operand| {
                    code.scalar(Dtype::Bool, Expr::Unary { op: UnaryOp::IsNan, dtype, x })
                };
                let (new, old) = (nan(code, value), nan(code, best.into()));
                let first =
                    code.scalar(Dtype::Bool, Expr::Compare { op: CompareOp::Gt, dtype: Dtype::Bool, a: new, b: old });
                better = code.binary(BinaryOp::Or, Dtype::Bool, better, first);
            }
            let next = code.scalar(dtype, Expr::Select { dtype, cond: better, a: value, b: best.into() });
            let next_at = code.scalar(
                Dtype::I64,
                Expr::Select { dtype: Dtype::I64, cond: better, a: inner.var.into(), b: at.into() },
            );
            let reduce = if max { tdl_ir::ReduceOp::Max } else { tdl_ir::ReduceOp::Min };
            let carried = vec![
                Carried { param: best, init: fold_identity(reduce, dtype), next, result: best_end },
                Carried { param: at, init: Operand::i64(0), next: next_at, result: at_end },
            ];
            l.code().end_loop(inner, carried, vec![]);
            if scalar {
                let to = BufStore { id: buf, dtype: Dtype::I64, dims: &[Size::ONE] };
                l.store(to, &[Idx::ZERO], at_end.into());
            } else {
                l.store(BufStore { id: buf, dtype: Dtype::I64, dims: &rows }, &row, at_end.into());
            }
            l.code().end_loop(head, vec![], vec![]);
        });
        if scalar {
            self.load_scalar(r, buf, Dtype::I64);
            self.release(buf);
        }
    }

    pub fn sort(&mut self, inst: &Inst, descending: bool, n: usize) {
        let x = inst.args[0];
        let src = self.dense(x);
        let dtype = self.dtype(x);
        let mut bufs = Vec::new();
        for r in &inst.results {
            let buf = if self.values.role(*r) == crate::values::Role::Dead {
                let bytes = self.bytes(*r);
                let buf = self.alloc(&bytes, None);
                self.temporaries().push(buf);
                buf
            } else {
                let buf = self.place(*r, n);
                self.block().alive.insert(*r);
                buf
            };
            bufs.push(buf);
        }
        let dims = self.sizes_of(x);
        let (len, rows) = dims.split_last().expect("a sorted axis");
        let rows = Size::product(rows);
        let (values, indices) = (bufs[0], bufs[1]);
        if self.on_gpu() {
            return self.sort_rows(&Rows { src, values, indices, dtype, rows, len: len.clone(), descending });
        }
        let (rows, len) = (self.size(&rows), self.size(len));
        let [src, values, indices] = [src, values, indices].map(|b| self.buf(b).ptr);
        self.runtime(RuntimeCall::Sort { src, values, indices, dtype, rows, len, descending });
    }

    pub fn nonzero(&mut self, inst: &Inst, n: usize) {
        if self.on_gpu() {
            return self.nonzero_of_threads(inst, n);
        }
        let mask = self.dense(inst.args[0]);
        let mask = self.buf(mask).ptr;
        let len = self.dims(inst.args[0])[0];
        let dst = self.host.named(RegTy::Scalar(Dtype::I64), None);
        self.runtime(RuntimeCall::CountTrue { dst, mask, len });
        self.scalars.insert(inst.results[0], dst.into());
        let r = inst.results[1];
        if self.values.role(r) != crate::values::Role::Dead {
            let buf = self.place(r, n);
            let dst = self.buf(buf).ptr;
            self.runtime(RuntimeCall::Positions { dst, mask, len });
        }
    }
}
