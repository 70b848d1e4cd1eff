//! Comprehensions as counted loops that write one element after the other.
//!
//! `[f(i) for i < n]` becomes `for i < n, out = zeros { out[i] = f(i) }`, in the tensor IR. Which of these loops are whole
//! tensor operations is `transform`'s to find out: here every element is as good as any other.

use tdl_ir::{BinaryOp, Dim, Dtype, Op, Type, Update, ValueId};
use tdl_types::thir::{Binder, Expr, Ty};

use crate::elab::Elab;
use crate::env::Env;
use crate::rty::known_all;
use crate::val::Val;
use crate::{R, internal};

/// What all loops of a comprehension share.
struct Nest<'p> {
    binders: Vec<(&'p Binder, ValueId, Dim)>,
    value: &'p Expr,
    /// Of the leaves of an element.
    leaves: Vec<(Dtype, Vec<Dim>)>,
}

impl<'p> Elab<'p> {
    pub fn comprehension(&mut self, env: &Env<'p>, binders: &'p [Binder], value: &'p Expr, ty: &Ty) -> R<Val<'p>> {
        let mut all = Vec::with_capacity(binders.len());
        for b in binders {
            all.push((b, self.size_value(env, &b.from)?, self.known(env, &b.extent)?));
        }
        let elem = self.ty(env, &value.ty)?;
        let mut leaves = Vec::new();
        for leaf in self.leaves(&elem)? {
            let dtype = leaf.dtype;
            leaves.push((dtype, known_all(&leaf.dims)?));
        }
        let nest = Nest { binders: all, value, leaves };
        let top = std::mem::replace(&mut self.at_top_of_main, false);
        let arrays = self.nest(env, &nest, 0);
        self.at_top_of_main = top;
        let ty = self.ty(env, ty)?;
        self.unflatten(&ty, &mut arrays?.into_iter())
    }

    /// The elements for all indices from `level` on, one array for each leaf.
    fn nest(&mut self, env: &Env<'p>, nest: &Nest<'p>, level: usize) -> R<Vec<ValueId>> {
        let Some((binder, from, extent)) = nest.binders.get(level) else {
            let mut env = env.clone();
            let leaves = self.expr(&mut env, nest.value)?.leaves();
            if leaves.len() != nest.leaves.len() {
                return Err(internal("an element of a comprehension has other leaves than its type"));
            }
            return Ok(leaves.into_iter().zip(&nest.leaves).map(|(v, (_, dims))| self.b.reshape(v, dims)).collect());
        };
        let front: Vec<Dim> = nest.binders[level..].iter().map(|(_, _, d)| *d).collect();
        let types: Vec<Type> = nest
            .leaves
            .iter()
            .map(|(dtype, dims)| Type::tensor(*dtype, front.iter().chain(dims).copied().collect::<Vec<_>>()))
            .collect();
        let mut args = vec![self.b.dim_value(*extent)];
        for t in &types {
            args.push(self.b.full(0.0, t.dtype().unwrap_or(Dtype::F32), t.dims()));
        }
        self.open_region();
        let i = self.b.param(Type::scalar(Dtype::I64));
        let arrays: Vec<ValueId> = types.iter().map(|t| self.b.param(t.clone())).collect();
        let mut inner = env.clone();
        let index = self.b.size_binary(BinaryOp::Add, *from, i);
        self.b.name_value(index, &env.body.locals[binder.index.index()].name);
        inner.set(binder.index, Val::Leaf(index));
        let rows = self.nest(&inner, nest, level + 1)?;
        let next = arrays.into_iter().zip(rows).map(|(a, row)| self.b.update0(a, i, row, Update::Set)).collect();
        let region = self.close_region(next);
        Ok(self.b.inst(Op::For, args, types, vec![region]))
    }
}
