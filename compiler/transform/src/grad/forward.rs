//! Forward mode: each linear step is emitted beside its primal instruction, and control flow carries tangents along with
//! the values, so nothing is kept.

use tdl_ir::{Builder, Dtype, Inst, Op, Type, Update, ValueId};

use super::control::zeros;
use super::linearize::Linearizer;
use super::tape::Kind;

/// Emits one step; `None` is zero.
pub(super) fn step(b: &mut Builder, kind: &Kind, ins: &[Option<ValueId>], ty: &Type) -> Option<ValueId> {
    let dtype = ty.dtype().unwrap_or(Dtype::F32);
    let x = match ins {
        [Some(x), ..] => *x,
        [None] | [] => return None,
        _ if ins.iter().all(Option::is_none) => return None,
        [None, ..] => zeros(b, &operand(b, kind, ty)),
    };
    let second = ins.get(1).copied().flatten();
    Some(match kind {
        Kind::Add => match (ins[0], second) {
            (Some(x), Some(y)) => b.add(x, y),
            (Some(x), None) | (None, Some(x)) => x,
            (None, None) => return None,
        },
        Kind::Sub => match (ins[0], second) {
            (Some(x), Some(y)) => b.sub(x, y),
            (Some(x), None) => x,
            (None, Some(y)) => b.neg(y),
            (None, None) => return None,
        },
        Kind::Neg => b.neg(x),
        Kind::Scale(coef) => b.mul(x, *coef),
        Kind::Select(cond) => {
            let y = second.unwrap_or_else(|| zeros(b, ty));
            b.select(*cond, x, y)
        }
        Kind::Convert => b.convert(x, dtype),
        Kind::Expand(axes) => b.expand(x, axes.clone(), ty.dims()),
        Kind::Reshape => b.reshape(x, ty.dims()),
        Kind::Permute(perm) => b.permute(x, perm.clone()),
        Kind::Flip(axes) => b.inst1(Op::Flip { axes: axes.clone() }, vec![x], ty.clone()),
        Kind::Slice { steps, starts } => {
            let mut args = vec![x];
            args.extend(starts);
            b.inst1(Op::Slice { steps: steps.clone() }, args, ty.clone())
        }
        Kind::UpdateSlice { steps, starts, mode, update } => {
            let u = match (second, mode) {
                (Some(u), _) => u,
                (None, Update::Set) => zeros(b, update),
                (None, Update::Add) => return Some(x),
            };
            let mut args = vec![x, u];
            args.extend(starts);
            b.inst1(Op::UpdateSlice { steps: steps.clone(), mode: *mode }, args, ty.clone())
        }
        Kind::Concat(axis, types) => {
            let parts = ins.iter().zip(types).map(|(v, ty)| v.unwrap_or_else(|| zeros(b, ty))).collect();
            b.inst1(Op::Concat { axis: *axis }, parts, ty.clone())
        }
        Kind::Sum(axes) => b.sum(x, axes.clone()),
        Kind::CumSum { axis, reverse } => {
            let op = Op::Scan { op: tdl_ir::ScanOp::Sum, axis: *axis, reverse: *reverse };
            b.inst1(op, vec![x], ty.clone())
        }
        Kind::Shear { axis, spread, steps } => {
            let args = [x].into_iter().chain(steps.iter().copied()).collect();
            b.inst1(Op::Shear { axis: *axis, spread: *spread }, args, ty.clone())
        }
        Kind::Window { other, lhs, rhs, out, windows, steps } => {
            let args = [x, *other].into_iter().chain(steps.iter().copied()).collect();
            let (lhs, rhs, out) = (lhs.clone(), rhs.clone(), out.clone());
            b.inst1(Op::Window { lhs, rhs, out, windows: windows.clone() }, args, ty.clone())
        }
        Kind::Attention { .. } => unreachable!("`prepare` spells it out"),
        Kind::Contract { other, lhs, rhs, out } => b.contract(x, *other, lhs, rhs, out),
        Kind::Gather(ids) => b.inst1(Op::Gather, vec![x, *ids], ty.clone()),
        Kind::Scatter { ids, mode, .. } => {
            let u = second.unwrap_or_else(|| {
                let mut dims = b.dims(*ids);
                dims.extend_from_slice(&ty.dims()[1..]);
                b.full(0.0, dtype, &dims)
            });
            b.inst1(Op::Scatter { mode: *mode }, vec![x, *ids, u], ty.clone())
        }
        Kind::Push { .. } | Kind::If { .. } | Kind::For(_) | Kind::Custom { .. } | Kind::Remat { .. } => {
            unreachable!("forward mode carries tangents through control flow and inlines calls")
        }
    })
}

/// The type of a step's absent first operand.
fn operand(_: &Builder, kind: &Kind, ty: &Type) -> Type {
    match kind {
        Kind::Concat(_, types) => types[0].clone(),
        _ => ty.clone(),
    }
}

/// A zero tangent: no elements yet, for a stack.
fn zero_like(b: &mut Builder, ty: &Type) -> ValueId {
    match ty {
        Type::Stack { .. } => b.inst1(Op::StackNew, vec![], ty.clone()),
        Type::Tensor { .. } | Type::Str => zeros(b, ty),
    }
}

impl Linearizer<'_> {
    fn tangent_or_zero(&mut self, v: ValueId) -> ValueId {
        match self.tangent(v) {
            Some(t) => t,
            None => {
                let ty = self.b.ty(self.map.get(v)).clone();
                zero_like(self.b, &ty)
            }
        }
    }

    /// `if`: both branches also yield the tangents of the results that have one.
    pub(super) fn branch_forward(&mut self, i: &Inst) {
        let cond = self.map.get(i.args[0]);
        let slots: Vec<usize> = (0..i.results.len()).filter(|k| self.is_active(i.results[*k])).collect();
        let mut blocks = Vec::new();
        for region in &i.regions {
            self.b.begin_region();
            self.open_scope();
            self.insts(region);
            self.b.span = i.span;
            let mut results = self.map.all(&region.results);
            for k in &slots {
                results.push(self.tangent_or_zero(region.results[*k]));
            }
            self.close_scope();
            blocks.push(self.b.end_region(results));
        }
        self.finish_forward(i, &slots, vec![cond], blocks);
    }

    /// Loops: the tangents of the carried values are carried too.
    pub(super) fn repeat_forward(&mut self, i: &Inst) {
        let skip = usize::from(matches!(i.op, Op::For));
        let slots: Vec<usize> = (0..i.results.len()).filter(|k| self.is_active(i.results[*k])).collect();
        self.b.span = i.span;
        let mut args = self.map.all(&i.args);
        for k in &slots {
            args.push(self.tangent_or_zero(i.args[skip + k]));
        }
        let last = i.regions.len() - 1;
        let mut blocks = Vec::new();
        for (n, region) in i.regions.iter().enumerate() {
            self.b.begin_region();
            self.open_scope();
            crate::clone::params(self.b, self.from, region, &mut self.map);
            for k in &slots {
                let p = region.params[skip + k];
                let ty = self.b.ty(self.map.get(p)).clone();
                let tangent = self.b.param(ty);
                if n == last {
                    self.set_tangent(p, tangent);
                }
            }
            self.insts(region);
            self.b.span = i.span;
            let mut results = self.map.all(&region.results);
            if n == last {
                for k in &slots {
                    results.push(self.tangent_or_zero(region.results[*k]));
                }
            }
            self.close_scope();
            blocks.push(self.b.end_region(results));
        }
        self.finish_forward(i, &slots, args, blocks);
    }

    fn finish_forward(&mut self, i: &Inst, slots: &[usize], args: Vec<ValueId>, blocks: Vec<tdl_ir::Block>) {
        self.b.span = i.span;
        for (k, r) in i.results.iter().enumerate() {
            self.map.set(*r, self.b.next_value(k));
        }
        let mut types: Vec<Type> = i.results.iter().map(|r| self.map.ty(self.b, self.from.ty(*r))).collect();
        types.extend(slots.iter().map(|k| types[*k].clone()).collect::<Vec<_>>());
        let results = self.b.inst(i.op.clone(), args, types, blocks);
        for (old, new) in i.results.iter().zip(&results) {
            self.b.copy_name(self.from.value(*old), *new);
        }
        for (k, tangent) in slots.iter().zip(&results[i.results.len()..]) {
            self.set_tangent(i.results[*k], *tangent);
        }
    }

    /// Stacks: a stack's tangent is a stack.
    pub(super) fn stack_forward(&mut self, i: &Inst) {
        match i.op {
            Op::StackPush => {
                let stack = self.tangent_or_zero(i.args[0]);
                let x = self.tangent_or_zero(i.args[1]);
                let ty = self.b.ty(stack).clone();
                let pushed = self.b.inst1(Op::StackPush, vec![stack, x], ty);
                self.set_tangent(i.results[0], pushed);
            }
            Op::StackTensor => {
                let stack = self.tangent_or_zero(i.args[0]);
                let ty = self.b.ty(self.map.get(i.results[1])).clone();
                let count = Type::scalar(Dtype::I64);
                let out = self.b.inst(Op::StackTensor, vec![stack], vec![count, ty], Vec::new());
                self.set_tangent(i.results[1], out[1]);
            }
            _ => unreachable!("only stack ops come here"),
        }
    }
}
