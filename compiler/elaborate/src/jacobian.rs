//! Whole matrices of derivatives, row by row.

use std::rc::Rc;

use tdl_ir::{CompareOp, Dim, Dtype, Op, Type, Update, ValueId};
use tdl_types::thir::DerivativeKind;

use crate::call::Outcome;
use crate::elab::Elab;
use crate::val::{Argument, Closure, Val};
use crate::{R, internal};

impl<'p> Elab<'p> {
    /// `dims` ones-and-zeros: one at the row-major position `i`.
    fn one_hot(&mut self, i: ValueId, n: Dim, dtype: Dtype, dims: &[Dim]) -> ValueId {
        let iota = self.b.inst1(Op::Iota, Vec::new(), Type::tensor(Dtype::I64, [n]));
        let i = self.b.splat(i, &[n]);
        let hit = self.b.compare(CompareOp::Eq, iota, i);
        let hot = self.b.convert(hit, dtype);
        self.b.reshape(hot, dims)
    }

    /// For each of `n` rows the tensors of the types `rows` that `body(i)` gives.
    fn rows(
        &mut self,
        n: Dim,
        rows: &[Type],
        body: impl FnOnce(&mut Self, ValueId) -> R<Vec<ValueId>>,
    ) -> R<Vec<ValueId>> {
        let mut args = vec![self.b.dim_value(n)];
        let mut types = Vec::with_capacity(rows.len());
        for row in rows {
            let dims: Vec<Dim> = std::iter::once(n).chain(row.dims().iter().copied()).collect();
            let init = self.b.full(0.0, row.dtype().unwrap_or(Dtype::F32), &dims);
            types.push(self.b.ty(init).clone());
            args.push(init);
        }
        self.open_region();
        let i = self.b.param(Type::scalar(Dtype::I64));
        let carried: Vec<ValueId> = types.iter().map(|t| self.b.param(t.clone())).collect();
        let new = body(self, i)?;
        if new.len() != carried.len() {
            return Err(internal("a row of another number of derivatives"));
        }
        let next = carried.into_iter().zip(new).map(|(m, r)| self.b.update0(m, i, r, Update::Set)).collect();
        let region = self.close_region(next);
        Ok(self.b.inst(Op::For, args, types, vec![region]))
    }

    /// The arguments `wrt` as trees whose active leaves are the given ones, with `front` in front of every leaf.
    fn matrices(
        &mut self,
        args: &[Argument<'p>],
        wrt: &[usize],
        tuple: bool,
        front: &[Dim],
        found: Vec<ValueId>,
    ) -> R<Val<'p>> {
        let mut found = found.into_iter();
        let mut out = Vec::with_capacity(wrt.len());
        for w in wrt {
            let arg = args.get(*w).ok_or_else(|| internal("a derivative by an argument that is not there"))?;
            let mut leaves = Vec::new();
            for (k, v) in arg.val.leaves().into_iter().enumerate() {
                let ty = self.b.ty(v).clone();
                let dims: Vec<Dim> = front.iter().chain(ty.dims()).copied().collect();
                leaves.push(if arg.active.get(k).copied().unwrap_or(false) {
                    let m = found.next().ok_or_else(|| internal("too few derivatives"))?;
                    self.b.reshape(m, &dims)
                } else {
                    self.b.full(0.0, ty.dtype().unwrap_or(Dtype::F32), &dims)
                });
            }
            out.push(arg.val.rebuild(&mut leaves.into_iter())?);
        }
        match (tuple, out.len()) {
            (false, 1) => Ok(out.remove(0)),
            (_, _) => Ok(Val::Tree(out)),
        }
    }

    /// For each leaf of the result, one pullback for each of its elements.
    pub fn jacobian(
        &mut self,
        func: &Rc<Closure<'p>>,
        wrt: &[usize],
        tuple: bool,
        args: &[Argument<'p>],
    ) -> R<Outcome<'p>> {
        let f = self.lift(func, args)?;
        let params = f.active_params(args, wrt);
        let (results, types) = self.emit_call(&f)?;
        let floats: Vec<Type> = types.into_iter().filter(Type::is_float_tensor).collect();
        let grad_types = self.param_types(&f, &params);
        let mut k = 0;
        let val = self.each_leaf(&results.result, &mut |this, y| {
            let place = k;
            k += 1;
            let (dtype, ydims) = (this.b.dtype(y), this.b.dims(y));
            let n = this.b.numel(&ydims);
            let n = this.b.dim(n);
            let found = this.rows(n, &grad_types, |this, i| {
                let mut cotangents = Vec::with_capacity(floats.len());
                for (at, t) in floats.iter().enumerate() {
                    cotangents.push(match at == place {
                        true => this.one_hot(i, n, dtype, &ydims),
                        false => this.b.full(0.0, t.dtype().unwrap_or(dtype), t.dims()),
                    });
                }
                let op = Op::Vjp { func: f.func, wrt: params.clone() };
                let extra = grad_types.clone();
                Ok(this.emit(op, &f, cotangents, |_| extra)?.extra)
            })?;
            this.matrices(args, wrt, tuple, &ydims, found)
        })?;
        Ok((val, results.muts))
    }

    /// The tree of `y` with each leaf replaced by a tree.
    fn each_leaf(&mut self, y: &Val<'p>, f: &mut dyn FnMut(&mut Self, ValueId) -> R<Val<'p>>) -> R<Val<'p>> {
        match y {
            Val::Leaf(v) => f(self, *v),
            Val::Tree(items) => {
                let mut out = Vec::with_capacity(items.len());
                for v in items {
                    out.push(self.each_leaf(v, f)?);
                }
                Ok(Val::Tree(out))
            }
            Val::Pack(..) | Val::Fn(_) | Val::Never => Err(internal("a Jacobian of what is no tensor")),
        }
    }

    /// For each element of the parameters the derivative of the gradient in its direction. It is symmetric: what is found for
    /// a leaf in the direction of another stands at either place.
    pub fn hessian(
        &mut self,
        func: &Rc<Closure<'p>>,
        wrt: &[usize],
        tuple: bool,
        args: &[Argument<'p>],
    ) -> R<Outcome<'p>> {
        let g = Closure::Derivative {
            kind: DerivativeKind::Grad,
            func: Rc::clone(func),
            wrt: wrt.to_vec(),
            wrt_tuple: tuple,
            aux: false,
            at: None,
        };
        let f = self.lift(&Rc::new(g), args)?;
        let params = f.active_params(args, wrt);
        let xs: Vec<ValueId> = params.iter().map(|p| f.operands[*p]).collect();
        let tangent_types = self.param_types(&f, &params);
        let mut k = 0;
        let mut out = Vec::with_capacity(wrt.len());
        for w in wrt {
            let arg = args.get(*w).ok_or_else(|| internal("a derivative by an argument that is not there"))?;
            let rows = self.each_leaf(&arg.val, &mut |this, x| {
                let place = k;
                k += 1;
                let (dtype, xdims) = (this.b.dtype(x), this.b.dims(x));
                let n = this.b.numel(&xdims);
                let n = this.b.dim(n);
                let found = this.rows(n, &tangent_types, |this, i| {
                    let mut tangents = Vec::with_capacity(xs.len());
                    for (at, x) in xs.iter().enumerate() {
                        tangents.push(match at == place {
                            true => this.one_hot(i, n, dtype, &xdims),
                            false => this.b.full_like(0.0, *x),
                        });
                    }
                    let op = Op::Jvp { func: f.func, wrt: params.clone() };
                    let floats = |types: &[Type]| types.iter().filter(|t| t.is_float_tensor()).cloned().collect();
                    let out = this.emit(op, &f, tangents, floats)?;
                    Ok(out.extra.into_iter().take(xs.len()).collect())
                })?;
                this.matrices(args, wrt, tuple, &xdims, found)
            })?;
            out.push(rows);
        }
        match (tuple, out.len()) {
            (false, 1) => Ok((out.remove(0), Vec::new())),
            (_, _) => Ok((Val::Tree(out), Vec::new())),
        }
    }
}
