//! Folds constants and rewrites what has a cheaper equal form. Never changes a float result by more than the sign of a
//! zero, except that a sum of equal values becomes a product and sums of sums become one sum.
//!
//! before: %2 = mul %0 %ones   %3 = permute [1 0] (permute [1 0] %2)   return %3
//! after:  return %0
//!
//! One walk in order: each instruction is looked at with its operands already rewritten.

mod control;
mod elementwise;
mod identity;
mod movement;
mod products;
mod windows;

use tdl_ir::op::fold;
use tdl_ir::{Block, Builder, Function, Inst, Op, Scalar, Type, ValueId};

use crate::clone::{self, Map};

/// Before differentiation.
pub fn function(f: &mut Function) {
    run(f, true);
}

/// After differentiation: `stop_grad` goes.
pub fn derived(f: &mut Function) {
    run(f, false);
}

fn run(f: &mut Function, derivatives: bool) {
    let from = std::mem::replace(f, Builder::new("", f.span).finish(Vec::new()));
    let mut s = Simplifier { defs: Vec::new(), derivatives };
    *f = clone::function(&from, &mut |b, i, map| s.inst(b, &from, i, map));
}

struct Simplifier {
    /// New values by the instruction that defines them.
    defs: Vec<Option<(Op, Vec<ValueId>)>>,
    /// Derivative ops may still look at this function.
    derivatives: bool,
}

impl Simplifier {
    fn inst(&mut self, b: &mut Builder, from: &Function, i: &Inst, map: &mut Map) {
        b.span = i.span;
        match &i.op {
            Op::If => return self.branch(b, from, i, map),
            Op::For => return self.counted(b, from, i, map),
            Op::While => return self.repeat(b, from, i, map),
            Op::Assert { .. } if b.as_const(map.get(i.args[0])) == Some(Scalar::Bool(true)) => return,
            _ => {}
        }
        if let [r] = i.results.as_slice()
            && i.regions.is_empty()
        {
            let args = map.all(&i.args);
            let ty = map.ty(b, from.ty(*r));
            if let Some(v) = self.rewrite(b, &i.op, &args, &ty) {
                name_after(b, from, *r, v);
                map.set(*r, v);
                return;
            }
        }
        let regions = i.regions.iter().map(|r| self.region(b, from, r, map)).collect();
        let results = clone::inst_with(b, from, i, regions, map);
        if let [r] = results.as_slice() {
            self.define(*r, i.op.clone(), map.all(&i.args));
        }
    }

    fn region(&mut self, b: &mut Builder, from: &Function, block: &Block, map: &mut Map) -> Block {
        clone::region_with(b, from, block, map, &mut |b, i, map| self.inst(b, from, i, map))
    }

    fn define(&mut self, v: ValueId, op: Op, args: Vec<ValueId>) {
        let at = v.0 as usize;
        if self.defs.len() <= at {
            self.defs.resize(at + 1, None);
        }
        self.defs[at] = Some((op, args));
    }

    fn def(&self, v: ValueId) -> Option<(&Op, &[ValueId])> {
        self.defs.get(v.0 as usize)?.as_ref().map(|(op, args)| (op, args.as_slice()))
    }

    /// Emits an op that is worth looking at again.
    fn emit(&mut self, b: &mut Builder, op: Op, args: Vec<ValueId>, ty: Type) -> ValueId {
        if let Some(v) = self.rewrite(b, &op, &args, &ty) {
            return v;
        }
        let v = b.inst1(op.clone(), args.clone(), ty);
        self.define(v, op, args);
        v
    }

    fn constant(&mut self, b: &mut Builder, c: Scalar, ty: &Type) -> Option<ValueId> {
        let c = b.constant(c, ty.dtype()?);
        Some(b.splat(c, ty.dims()))
    }

    /// An equal value that is cheaper, if there is one.
    fn rewrite(&mut self, b: &mut Builder, op: &Op, args: &[ValueId], ty: &Type) -> Option<ValueId> {
        if let Some(c) = self.fold(b, op, args, ty) {
            return self.constant(b, c, ty);
        }
        match op {
            Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Convert => {
                let cheaper = self.elementwise(b, op, args, ty).or_else(|| self.narrow(b, op, args, ty));
                cheaper.or_else(|| self.before_units(b, op, args, ty))
            }
            Op::StopGrad => (!self.derivatives || b.as_splat(args[0]).is_some()).then_some(args[0]),
            Op::Expand { .. }
            | Op::Reshape
            | Op::Permute { .. }
            | Op::Slice { .. }
            | Op::UpdateSlice { .. }
            | Op::Flip { .. }
            | Op::Concat { .. } => self.movement(b, op, args, ty),
            Op::Shear { axis, spread } => self.shear(b, *axis, *spread, args, ty),
            Op::Reduce { op, axes } => self.reduce(b, *op, axes, args[0], ty),
            Op::Contract { lhs, rhs, out } => self.contract(b, lhs, rhs, out, args, ty),
            Op::Barrier
            | Op::Const(_)
            | Op::Dense(_)
            | Op::Text(_)
            | Op::Iota
            | Op::ArgReduce { .. }
            | Op::Scan { .. }
            | Op::Sort { .. }
            | Op::Nonzero
            | Op::Window { .. }
            | Op::Attention
            | Op::AttentionGrad
            | Op::Gather
            | Op::Scatter { .. }
            | Op::Random { .. }
            | Op::If
            | Op::For
            | Op::While
            | Op::Call { .. }
            | Op::Vjp { .. }
            | Op::Jvp { .. }
            | Op::Checkpoint { .. }
            | Op::Vmap { .. }
            | Op::StackNew
            | Op::StackPush
            | Op::StackTensor
            | Op::Print { .. }
            | Op::Assert { .. }
            | Op::Format { .. }
            | Op::Io(_)
            | Op::Debug { .. }
            | Op::Host(_) => None,
        }
    }

    /// The constant that an elementwise op on constants gives.
    fn fold(&self, b: &Builder, op: &Op, args: &[ValueId], ty: &Type) -> Option<Scalar> {
        if !matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Convert) {
            return None;
        }
        let consts: Option<Vec<Scalar>> = args.iter().map(|a| b.as_splat(*a)).collect();
        fold(op, &consts?, b.ty(*args.last()?).dtype()?, ty.dtype()?)
    }
}

/// The user's name for `old` goes to what stands for it, unless that has one.
fn name_after(b: &mut Builder, from: &Function, old: ValueId, new: ValueId) {
    if let Some(name) = &from.value(old).name {
        b.name_value(new, name);
    }
}
