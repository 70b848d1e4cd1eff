//! Derivatives: `grad`, `vjp`, `jvp` and their kin become the IR's `vjp` and `jvp` of a lifted function.

use std::rc::Rc;

use tdl_ir::{BinaryOp, Dim, Dtype, Op, Type, ValueId};
use tdl_types::thir::{DerivativeKind, Expr};

use crate::call::{Outcome, seen_at};
use crate::elab::Elab;
use crate::env::Env;
use crate::expr::closure;
use crate::lift::Lifted;
use crate::rty::known_all;
use crate::val::{Argument, Closure, Pull, Val};
use crate::{R, internal};

impl<'p> Elab<'p> {
    /// Applies the function value `grad(func)` and the like.
    pub fn derivative(
        &mut self,
        kind: DerivativeKind,
        func: &Rc<Closure<'p>>,
        wrt: &[usize],
        wrt_tuple: bool,
        aux: bool,
        args: Vec<Argument<'p>>,
    ) -> R<Outcome<'p>> {
        match kind {
            DerivativeKind::Grad | DerivativeKind::ValueAndGrad => {}
            DerivativeKind::Jacobian => return self.jacobian(func, wrt, wrt_tuple, &args),
            DerivativeKind::Hessian => return self.hessian(func, wrt, wrt_tuple, &args),
        }
        let f = self.lift(func, &args)?;
        let types = self.known_types(&f)?;
        let mut cotangents = Vec::new();
        for ty in types.iter().filter(|t| t.is_float_tensor()) {
            let seed = if cotangents.is_empty() { 1.0 } else { 0.0 };
            cotangents.push(self.b.full(seed, ty.dtype().unwrap_or(Dtype::F32), ty.dims()));
        }
        let params = f.active_params(&args, wrt);
        let grad_types = self.param_types(&f, &params);
        let op = Op::Vjp { func: f.func, wrt: params };
        let out = self.emit(op, &f, cotangents, |_| grad_types)?;
        let g = self.gradients(&args, wrt, wrt_tuple, out.extra)?;
        let result = match (kind, aux) {
            (DerivativeKind::ValueAndGrad, _) => Val::Tree(vec![out.result, g]),
            (_, false) => g,
            (_, true) => match out.result.unpacked() {
                Val::Tree(items) if items.len() == 2 => Val::Tree(vec![g, items[1].clone()]),
                Val::Leaf(_) | Val::Tree(_) | Val::Pack(..) | Val::Fn(_) | Val::Never => {
                    return Err(internal("with `aux` a function gives a pair"));
                }
            },
        };
        Ok((result, out.muts))
    }

    pub fn param_types(&self, f: &Lifted<'p>, params: &[usize]) -> Vec<Type> {
        params.iter().map(|p| self.b.ty(f.operands[*p]).clone()).collect()
    }

    fn gradients(&mut self, args: &[Argument<'p>], wrt: &[usize], tuple: bool, values: Vec<ValueId>) -> R<Val<'p>> {
        let mut values = values.into_iter();
        let mut out = Vec::with_capacity(wrt.len());
        for w in wrt {
            let arg = args.get(*w).ok_or_else(|| internal("a gradient by an argument that is not there"))?;
            out.push(self.gradient(arg, &mut values)?);
        }
        match (tuple, out.len()) {
            (false, 1) => Ok(out.remove(0)),
            (_, _) => Ok(Val::Tree(out)),
        }
    }

    // --- vjp and jvp with arguments

    pub fn vjp(&mut self, env: &mut Env<'p>, func: &'p Expr, args: &'p [Expr], wrt: &[usize]) -> R<Val<'p>> {
        let func = self.expr(env, func)?.function()?;
        let args = args.iter().map(|e| self.argument(env, e)).collect::<R<Vec<_>>>()?;
        let f = self.lift(&seen_at(&func, env), &args)?;
        let (results, types) = self.emit_call(&f)?;
        let params = f.active_params(&args, wrt);
        let wrt = wrt.iter().filter_map(|w| args.get(*w).cloned()).collect();
        let float_results = results.result.leaves().iter().filter(|v| self.b.ty(**v).is_float_tensor()).count();
        let pull = Pull { func: f.func, args: f.operands, wrt, params, types, float_results };
        Ok(Val::Tree(vec![results.result, closure(Closure::Pull(pull))]))
    }

    /// Applies what `vjp` gave to a cotangent of the result.
    pub fn pull(&mut self, pull: &Pull<'p>, args: Vec<Argument<'p>>) -> R<Val<'p>> {
        let [cotangent] = args.as_slice() else { return Err(internal("a pullback takes one cotangent")) };
        let mut cotangents: Vec<ValueId> =
            cotangent.val.leaves().into_iter().filter(|v| self.b.ty(*v).is_float_tensor()).collect();
        if cotangents.len() != pull.float_results {
            return Err(internal("a cotangent of another shape than the result"));
        }
        let floats: Vec<&Type> = pull.types.iter().filter(|t| t.is_float_tensor()).collect();
        for t in &floats[cotangents.len()..] {
            cotangents.push(self.b.full(0.0, t.dtype().unwrap_or(Dtype::F32), t.dims()));
        }
        let mut types = pull.types.clone();
        types.extend(pull.params.iter().map(|p| self.b.ty(pull.args[*p]).clone()));
        let mut operands = pull.args.clone();
        operands.extend(cotangents);
        let op = Op::Vjp { func: pull.func, wrt: pull.params.clone() };
        let results = self.b.inst(op, operands, types, Vec::new());
        let values = results[pull.types.len()..].to_vec();
        let all: Vec<usize> = (0..pull.wrt.len()).collect();
        self.gradients(&pull.wrt, &all, pull.wrt.len() != 1, values)
    }

    pub fn jvp(
        &mut self,
        env: &mut Env<'p>,
        func: &'p Expr,
        args: &'p [Expr],
        tangents: &'p [Expr],
        wrt: &[usize],
    ) -> R<Val<'p>> {
        let func = self.expr(env, func)?.function()?;
        let args = args.iter().map(|e| self.argument(env, e)).collect::<R<Vec<_>>>()?;
        let tangents = tangents.iter().map(|e| self.argument(env, e)).collect::<R<Vec<_>>>()?;
        let f = self.lift(&seen_at(&func, env), &args)?;
        let params = f.active_params(&args, wrt);
        let mut directions = Vec::with_capacity(params.len());
        for (w, t) in wrt.iter().zip(&tangents) {
            let active = args.get(*w).map_or(&[][..], |a| &a.active);
            directions.extend(t.val.leaves().into_iter().zip(active).filter(|(_, a)| **a).map(|(v, _)| v));
        }
        if directions.len() != params.len() {
            return Err(internal("tangents of another shape than the arguments"));
        }
        let op = Op::Jvp { func: f.func, wrt: params };
        let floats = |types: &[Type]| types.iter().filter(|t| t.is_float_tensor()).cloned().collect();
        let out = self.emit(op, &f, directions, floats)?;
        let active = out.result.leaves().iter().map(|v| self.b.ty(*v).is_float_tensor()).collect();
        let like = Argument { val: out.result.clone(), active };
        let dy = self.gradient(&like, &mut out.extra.into_iter())?;
        Ok(Val::Tree(vec![out.result, dy]))
    }

    // --- trees by a function

    /// `tree.map(f, tree…)`: `f` on each active leaf; the others come from the first tree.
    pub fn tree_map(&mut self, func: &Rc<Closure<'p>>, trees: &[Argument<'p>]) -> R<Val<'p>> {
        let Some(first) = trees.first() else { return Err(internal("`tree.map` without a tree")) };
        let columns: Vec<Vec<ValueId>> = trees.iter().map(|t| t.val.leaves()).collect();
        let mut out = Vec::new();
        for (i, v) in first.val.leaves().into_iter().enumerate() {
            if !first.active.get(i).copied().unwrap_or(false) {
                out.push(v);
                continue;
            }
            let mut args = Vec::with_capacity(trees.len());
            for c in &columns {
                let v = *c.get(i).ok_or_else(|| internal("trees of different shapes"))?;
                args.push(Argument { val: Val::Leaf(v), active: Rc::from([true]) });
            }
            let (r, _) = self.apply(func, args)?;
            out.push(r.leaf()?);
        }
        first.val.rebuild(&mut out.into_iter())
    }

    /// Zeros or ones of a whole type, a tensor with this scalar.
    pub fn full(&mut self, ty: &crate::rty::RTy<'p>, x: ValueId) -> R<Val<'p>> {
        let leaves = self.leaves(ty)?;
        let mut ids = Vec::with_capacity(leaves.len());
        for leaf in &leaves {
            let dims = known_all(&leaf.dims)?;
            let x = self.convert_value(x, leaf.dtype);
            ids.push(self.b.splat(x, &dims));
        }
        self.unflatten(ty, &mut ids.into_iter())
    }

    /// `floor(a / b)` and `a - b * floor(a / b)` of `i64` tensors by a size that is at least 1.
    pub fn div_rem(&mut self, a: ValueId, by: Dim) -> (ValueId, ValueId) {
        let by = self.b.dim_value(by);
        let dims = self.b.dims(a);
        let by = self.b.splat(by, &dims);
        (self.b.binary(BinaryOp::FloorDiv, a, by), self.b.binary(BinaryOp::Rem, a, by))
    }
}
