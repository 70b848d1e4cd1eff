//! Folds constants and rewrites what has a cheaper equal form. Never changes a float result by more than the sign of a
//! zero.
//!
//! before: %2 = mul %0 %ones   %3 = permute [1 0] (permute [1 0] %2)   return %3
//! after:  return %0

use rustc_hash::FxHashMap;
use tdl_ir::op::fold;
use tdl_ir::{BinaryOp, Block, Builder, Function, Inst, Op, Scalar, Type, UnaryOp, Update, ValueId};

use crate::clone::{self, Map};

pub fn function(f: &mut Function) {
    let mut s = Simplifier { defs: FxHashMap::default() };
    let from = std::mem::replace(f, Builder::new("", f.span).finish(Vec::new()));
    *f = clone::function(&from, &mut |b, i, map| s.inst(b, &from, i, map));
}

struct Simplifier {
    /// New values by the instruction that defines them.
    defs: FxHashMap<ValueId, (Op, Vec<ValueId>)>,
}

impl Simplifier {
    fn inst(&mut self, b: &mut Builder, from: &Function, i: &Inst, map: &mut Map) {
        b.span = i.span;
        match &i.op {
            Op::If => return self.branch(b, from, i, map),
            Op::For => return self.repeat(b, from, i, map),
            Op::Assert { .. } if b.as_const(map.get(i.args[0])) == Some(Scalar::Bool(true)) => return,
            _ => {}
        }
        if let [r] = i.results.as_slice()
            && i.regions.is_empty()
        {
            let args = map.all(&i.args);
            let ty = map.ty(b, from.ty(*r));
            if let Some(v) = self.rewrite(b, &i.op, &args, &ty) {
                map.set(*r, v);
                return;
            }
        }
        let regions = i.regions.iter().map(|r| self.region(b, from, r, map)).collect();
        let results = clone::inst_with(b, from, i, regions, map);
        if let [r] = results.as_slice() {
            self.defs.insert(*r, (i.op.clone(), map.all(&i.args)));
        }
    }

    fn region(&mut self, b: &mut Builder, from: &Function, block: &Block, map: &mut Map) -> Block {
        clone::region_with(b, from, block, map, &mut |b, i, map| self.inst(b, from, i, map))
    }

    fn branch(&mut self, b: &mut Builder, from: &Function, i: &Inst, map: &mut Map) {
        let side = match b.as_const(map.get(i.args[0])) {
            Some(Scalar::Bool(c)) => &i.regions[usize::from(!c)],
            Some(Scalar::Int(_) | Scalar::Float(_)) | None => {
                let regions = i.regions.iter().map(|r| self.region(b, from, r, map)).collect();
                clone::inst_with(b, from, i, regions, map);
                return;
            }
        };
        self.splice(b, from, side, &i.results, map);
    }

    /// Puts a block's instructions here; `results` are what it yields.
    fn splice(&mut self, b: &mut Builder, from: &Function, block: &Block, results: &[ValueId], map: &mut Map) {
        for inst in &block.insts {
            self.inst(b, from, inst, map);
        }
        for (r, y) in results.iter().zip(&block.results) {
            let v = map.get(*y);
            map.set(*r, v);
        }
    }

    fn repeat(&mut self, b: &mut Builder, from: &Function, i: &Inst, map: &mut Map) {
        match b.as_i64(map.get(i.args[0])) {
            Some(n) if n <= 0 => {
                for (r, a) in i.results.iter().zip(&i.args[1..]) {
                    let v = map.get(*a);
                    map.set(*r, v);
                }
            }
            Some(1) => {
                let zero = b.const_i64(0);
                map.set(i.regions[0].params[0], zero);
                for (p, a) in i.regions[0].params[1..].iter().zip(&i.args[1..]) {
                    let v = map.get(*a);
                    map.set(*p, v);
                }
                self.splice(b, from, &i.regions[0], &i.results, map);
            }
            Some(_) | None => {
                let region = self.region(b, from, &i.regions[0], map);
                clone::inst_with(b, from, i, vec![region], map);
            }
        }
    }

    fn def(&self, v: ValueId) -> Option<(&Op, &[ValueId])> {
        self.defs.get(&v).map(|(op, args)| (op, args.as_slice()))
    }

    /// Emits an op that is worth looking at again.
    fn emit(&mut self, b: &mut Builder, op: Op, args: Vec<ValueId>, ty: Type) -> ValueId {
        if let Some(v) = self.rewrite(b, &op, &args, &ty) {
            return v;
        }
        let v = b.inst1(op.clone(), args.clone(), ty);
        self.defs.insert(v, (op, args));
        v
    }

    /// An equal value that is cheaper, if there is one.
    fn rewrite(&mut self, b: &mut Builder, op: &Op, args: &[ValueId], ty: &Type) -> Option<ValueId> {
        let dtype = ty.dtype()?;
        if ty.is_scalar() && !args.is_empty() && !matches!(op, Op::Const(_)) {
            let consts: Option<Vec<Scalar>> = args.iter().map(|a| b.as_const(*a)).collect();
            let operand = b.ty(*args.last()?).dtype();
            if let (Some(consts), Some(from)) = (consts, operand)
                && let Some(c) = fold(op, &consts, from, dtype)
            {
                return Some(b.constant(c, dtype));
            }
        }
        match op {
            Op::Unary(UnaryOp::Neg) => match self.def(args[0]) {
                Some((Op::Unary(UnaryOp::Neg), inner)) => Some(inner[0]),
                _ => None,
            },
            Op::Binary(op) => self.binary(b, *op, args, ty),
            Op::Select => match b.as_splat(args[0]) {
                Some(Scalar::Bool(true)) => Some(args[1]),
                Some(Scalar::Bool(false)) => Some(args[2]),
                Some(Scalar::Int(_) | Scalar::Float(_)) | None => (args[1] == args[2]).then_some(args[1]),
            },
            Op::Convert => (b.ty(args[0]).dtype() == Some(dtype)).then_some(args[0]),
            Op::Expand { axes } => {
                let (inner, x) = match self.def(args[0]) {
                    Some((Op::Expand { axes: inner }, x)) => (inner.clone(), x[0]),
                    _ => return None,
                };
                // axes of the inner result, renumbered past the outer ones
                let mut all = axes.clone();
                let kept: Vec<usize> = (0..ty.rank()).filter(|k| !axes.contains(k)).collect();
                all.extend(inner.iter().map(|k| kept[*k]));
                all.sort_unstable();
                Some(self.emit(b, Op::Expand { axes: all }, vec![x], ty.clone()))
            }
            Op::Reshape => {
                if b.ty(args[0]) == ty {
                    return Some(args[0]);
                }
                if let Some(c) = b.as_splat(args[0]) {
                    let c = b.constant(c, dtype);
                    return Some(b.splat(c, ty.dims()));
                }
                match self.def(args[0]) {
                    Some((Op::Reshape, x)) => {
                        let x = x[0];
                        Some(self.emit(b, Op::Reshape, vec![x], ty.clone()))
                    }
                    _ => None,
                }
            }
            Op::Permute { perm } => {
                if perm.iter().enumerate().all(|(k, p)| k == *p) {
                    return Some(args[0]);
                }
                if let Some(c) = b.as_splat(args[0]) {
                    let c = b.constant(c, dtype);
                    return Some(b.splat(c, ty.dims()));
                }
                let (inner, x) = match self.def(args[0]) {
                    Some((Op::Permute { perm: inner }, x)) => (inner.clone(), x[0]),
                    _ => return None,
                };
                let both = perm.iter().map(|p| inner[*p]).collect();
                Some(self.emit(b, Op::Permute { perm: both }, vec![x], ty.clone()))
            }
            Op::Slice { steps } => {
                let whole = steps.iter().all(|s| *s == 1)
                    && args[1..].iter().all(|s| b.as_i64(*s) == Some(0))
                    && b.ty(args[0]) == ty;
                whole.then_some(args[0])
            }
            Op::UpdateSlice { steps, mode } => {
                let whole = steps.iter().all(|s| *s == 1)
                    && args[2..].iter().all(|s| b.as_i64(*s) == Some(0))
                    && b.ty(args[1]) == ty;
                (whole && (*mode == Update::Set || b.is_splat(args[0], 0.0))).then_some(args[1])
            }
            Op::Flip { axes } => match self.def(args[0]) {
                Some((Op::Flip { axes: inner }, x)) if inner == axes => Some(x[0]),
                _ => None,
            },
            Op::Contract { lhs, rhs, out } => {
                let mut labels = [lhs.clone(), rhs.clone()];
                let mut new = args.to_vec();
                let mut changed = false;
                for k in 0..2 {
                    if let Some((Op::Permute { perm }, x)) = self.def(new[k]) {
                        let x = x[0];
                        let mut old = vec![0; perm.len()];
                        for (to, from) in perm.iter().enumerate() {
                            old[*from] = labels[k][to];
                        }
                        labels[k] = old;
                        new[k] = x;
                        changed = true;
                    }
                }
                let [lhs, rhs] = labels;
                changed.then(|| self.emit(b, Op::Contract { lhs, rhs, out: out.clone() }, new, ty.clone()))
            }
            _ => None,
        }
    }

    fn binary(&mut self, b: &mut Builder, op: BinaryOp, args: &[ValueId], ty: &Type) -> Option<ValueId> {
        let (x, y) = (args[0], args[1]);
        let is = |v, c| b.is_splat(v, c);
        match op {
            BinaryOp::Add if is(y, 0.0) => Some(x),
            BinaryOp::Add if is(x, 0.0) => Some(y),
            BinaryOp::Sub if is(y, 0.0) => Some(x),
            BinaryOp::Sub if is(x, 0.0) => Some(self.emit(b, Op::Unary(UnaryOp::Neg), vec![y], ty.clone())),
            BinaryOp::Mul if is(y, 1.0) => Some(x),
            BinaryOp::Mul if is(x, 1.0) => Some(y),
            BinaryOp::Mul if is(y, -1.0) => Some(self.emit(b, Op::Unary(UnaryOp::Neg), vec![x], ty.clone())),
            BinaryOp::Mul if is(x, -1.0) => Some(self.emit(b, Op::Unary(UnaryOp::Neg), vec![y], ty.clone())),
            BinaryOp::Div | BinaryOp::FloorDiv | BinaryOp::Pow if is(y, 1.0) && op != BinaryOp::FloorDiv => Some(x),
            BinaryOp::FloorDiv if is(y, 1.0) && !ty.is_float_tensor() => Some(x),
            BinaryOp::Pow if is(y, 2.0) => Some(self.emit(b, Op::Binary(BinaryOp::Mul), vec![x, x], ty.clone())),
            BinaryOp::And | BinaryOp::Or if x == y => Some(x),
            _ => None,
        }
    }
}
