//! Substitution in types: what generics, locals, bound sizes and unknowns stand for.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::ids::GenericId;
use crate::size::{SizeExpr, SizeVar};
use crate::ty::{Dim, Elem, FnArg, FnParam, FnTy, GenericArg, Shape, Spread, Ty};

/// Says what the parts of a type become; `None` leaves a part as it is.
pub trait Subst {
    fn size(&self, _var: SizeVar) -> Option<SizeExpr> {
        None
    }
    fn elem(&self, _elem: Elem) -> Option<Elem> {
        None
    }
    fn spread(&self, _spread: Spread) -> Option<Shape> {
        None
    }
    /// Of [`Ty::Param`].
    fn param(&self, _id: GenericId) -> Option<Ty> {
        None
    }
    /// Of [`Ty::Infer`].
    fn unknown(&self, _id: u32) -> Option<Ty> {
        None
    }
    /// Of [`FnArg::Param`] and [`FnArg::Infer`].
    fn function(&self, _f: &FnArg) -> Option<Rc<FnArg>> {
        None
    }
}

impl Ty {
    pub fn subst(&self, s: &impl Subst) -> Ty {
        match self {
            Ty::Error | Ty::Never | Ty::Str | Ty::Rng => self.clone(),
            Ty::Tensor(e, shape) => Ty::Tensor(subst_elem(*e, s), subst_shape(shape, s)),
            Ty::Tuple(items) => Ty::tuple(items.iter().map(|t| t.subst(s)).collect()),
            Ty::Struct(id, args) => Ty::Struct(*id, args.iter().map(|a| a.subst(s)).collect()),
            Ty::Stack(dims, elem) => Ty::stack(subst_shape(dims, s), elem.subst(s)),
            Ty::Param(id) => s.param(*id).unwrap_or_else(|| self.clone()),
            Ty::Fn(f) => Ty::Fn(Rc::new(f.subst(s))),
            Ty::Exists(vars, inner) => Ty::exists(vars.clone(), inner.subst(s)),
            Ty::Infer(id) => s.unknown(*id).unwrap_or_else(|| self.clone()),
        }
    }

    /// Calls `f` with every size variable.
    pub fn visit_sizes(&self, f: &mut impl FnMut(SizeVar)) {
        match self {
            Ty::Error | Ty::Never | Ty::Str | Ty::Rng | Ty::Param(_) | Ty::Infer(_) => {}
            Ty::Tensor(_, shape) => visit_shape(shape, f),
            Ty::Tuple(items) => items.iter().for_each(|t| t.visit_sizes(f)),
            Ty::Struct(_, args) => args.iter().for_each(|a| a.visit_sizes(f)),
            Ty::Stack(dims, elem) => {
                visit_shape(dims, f);
                elem.visit_sizes(f);
            }
            Ty::Fn(t) => {
                t.params.iter().for_each(|p| p.ty.visit_sizes(f));
                t.result.visit_sizes(f);
            }
            Ty::Exists(_, inner) => inner.visit_sizes(f),
        }
    }
}

fn visit_shape(shape: &[Dim], f: &mut impl FnMut(SizeVar)) {
    for dim in shape {
        match dim {
            Dim::Size(e) => e.visit_vars(f),
            Dim::Spread(_) => {}
        }
    }
}

pub(crate) fn subst_elem(e: Elem, s: &impl Subst) -> Elem {
    s.elem(e).unwrap_or(e)
}

pub(crate) fn subst_shape(shape: &[Dim], s: &impl Subst) -> Shape {
    let mut out = Vec::with_capacity(shape.len());
    for dim in shape {
        match dim {
            Dim::Size(e) => out.push(Dim::Size(e.subst(&|v| s.size(v)))),
            Dim::Spread(x) => match s.spread(*x) {
                Some(dims) => out.extend(dims),
                None => out.push(dim.clone()),
            },
        }
    }
    out
}

impl FnTy {
    pub fn subst(&self, s: &impl Subst) -> FnTy {
        let param = |p: &FnParam| FnParam { name: p.name.clone(), ty: p.ty.subst(s), mutable: p.mutable };
        FnTy {
            generics: self.generics.clone(),
            params: self.params.iter().map(param).collect(),
            result: self.result.subst(s),
            io: self.io,
        }
    }
}

impl GenericArg {
    pub fn subst(&self, s: &impl Subst) -> GenericArg {
        match self {
            GenericArg::Size(e) => GenericArg::Size(e.subst(&|v| s.size(v))),
            GenericArg::Shape(shape) => GenericArg::Shape(subst_shape(shape, s)),
            GenericArg::Dtype(e) => GenericArg::Dtype(subst_elem(*e, s)),
            GenericArg::Ty(t) => GenericArg::Ty(t.subst(s)),
            GenericArg::Fn(f) => GenericArg::Fn(s.function(f).unwrap_or_else(|| f.clone())),
        }
    }

    fn visit_sizes(&self, f: &mut impl FnMut(SizeVar)) {
        match self {
            GenericArg::Size(e) => e.visit_vars(f),
            GenericArg::Shape(shape) => visit_shape(shape, f),
            GenericArg::Ty(t) => t.visit_sizes(f),
            GenericArg::Dtype(_) | GenericArg::Fn(_) => {}
        }
    }
}

/// Generics, and size variables one by one.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    pub generics: FxHashMap<GenericId, GenericArg>,
    pub sizes: FxHashMap<SizeVar, SizeExpr>,
}

impl Bindings {
    pub fn new(ids: &[GenericId], args: &[GenericArg]) -> Bindings {
        Bindings { generics: ids.iter().copied().zip(args.iter().cloned()).collect(), sizes: FxHashMap::default() }
    }

    pub fn sizes(pairs: impl IntoIterator<Item = (SizeVar, SizeExpr)>) -> Bindings {
        Bindings { generics: FxHashMap::default(), sizes: pairs.into_iter().collect() }
    }
}

impl Subst for Bindings {
    fn size(&self, var: SizeVar) -> Option<SizeExpr> {
        if let SizeVar::Param(id) = var
            && let Some(GenericArg::Size(e)) = self.generics.get(&id)
        {
            return Some(e.clone());
        }
        self.sizes.get(&var).cloned()
    }

    fn elem(&self, elem: Elem) -> Option<Elem> {
        match elem {
            Elem::Param(id) => match self.generics.get(&id)? {
                GenericArg::Dtype(e) => Some(*e),
                _ => None,
            },
            Elem::Dtype(_) | Elem::Infer(_) => None,
        }
    }

    fn spread(&self, spread: Spread) -> Option<Shape> {
        match spread {
            Spread::Param(id) => match self.generics.get(&id)? {
                GenericArg::Shape(s) => Some(s.clone()),
                _ => None,
            },
            Spread::Infer(_) => None,
        }
    }

    fn function(&self, f: &FnArg) -> Option<Rc<FnArg>> {
        match f {
            FnArg::Param(id) => match self.generics.get(id)? {
                GenericArg::Fn(f) => Some(f.clone()),
                _ => None,
            },
            FnArg::Item(_) | FnArg::Elementwise(_) | FnArg::Infer(_) => None,
        }
    }

    fn param(&self, id: GenericId) -> Option<Ty> {
        match self.generics.get(&id)? {
            GenericArg::Ty(t) => Some(t.clone()),
            _ => None,
        }
    }
}
