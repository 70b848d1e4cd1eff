//! Parameters in brackets that a call does not give, from the types of its arguments. An interface knows a method by its
//! signature; the struct's method may have parameters of its own beyond those.

use rustc_hash::FxHashMap;
use tdl_types::thir::{Dim, Elem, FnId, GenericArg, GenericId, SizeVar, Spread, Ty};

use crate::elab::Elab;
use crate::rty::{RArg, RDim, RTy};
use crate::{R, internal};

type Found<'p> = FxHashMap<GenericId, RArg<'p>>;

impl<'p> Elab<'p> {
    /// The parameters of a function from position `skip` on. `types` are those of the arguments, by position.
    pub fn inferred_generics(&mut self, id: FnId, skip: usize, types: &[Option<RTy<'p>>]) -> R<Vec<RArg<'p>>> {
        let def = &self.program.fns[id.index()];
        let mut found = Found::default();
        for (p, t) in def.params.iter().zip(types) {
            if let Some(t) = t {
                match_ty(&p.ty, t, &mut found);
            }
        }
        let own = def.generics.get(skip..).unwrap_or_default();
        let one = |g: &GenericId| {
            let name = &self.program.generics[g.index()].name;
            found.remove(g).ok_or_else(|| internal(format!("`{name}` of `{}` is not known", def.name)))
        };
        own.iter().map(one).collect()
    }
}

/// Notes what the parameters that `ty` mentions stand for, when it is `known`.
fn match_ty<'p>(ty: &Ty, known: &RTy<'p>, found: &mut Found<'p>) {
    match (ty, known) {
        (Ty::Param(g), known) => {
            found.entry(*g).or_insert_with(|| RArg::Ty(known.clone()));
        }
        (Ty::Tensor(elem, shape), RTy::Tensor(d, dims)) => {
            if let Elem::Param(g) = elem {
                found.entry(*g).or_insert(RArg::Dtype(*d));
            }
            match_shape(shape, dims, found);
        }
        (Ty::Tuple(tys), RTy::Tuple(known)) => {
            for (t, k) in tys.iter().zip(known) {
                match_ty(t, k, found);
            }
        }
        (Ty::Struct(_, args), RTy::Struct(_, known)) => {
            for (a, k) in args.iter().zip(known) {
                match_arg(a, k, found);
            }
        }
        (Ty::Stack(shape, elem), RTy::Stack(dims, known)) => {
            match_shape(shape, dims, found);
            if shape.len() <= dims.len() {
                let rest = dims[shape.len()..].to_vec();
                let inner = if rest.is_empty() { (**known).clone() } else { RTy::Stack(rest, known.clone()) };
                match_ty(elem, &inner, found);
            }
        }
        (Ty::Stack(shape, elem), RTy::Tensor(d, dims)) => {
            match_shape(shape, dims, found);
            if shape.len() <= dims.len() {
                match_ty(elem, &RTy::Tensor(*d, dims[shape.len()..].to_vec()), found);
            }
        }
        (Ty::Exists(_, t), RTy::Exists(_, known)) => match_ty(t, known, found),
        (
            Ty::Error
            | Ty::Never
            | Ty::Tensor(..)
            | Ty::Tuple(_)
            | Ty::Struct(..)
            | Ty::Stack(..)
            | Ty::Fn(_)
            | Ty::Str
            | Ty::Rng
            | Ty::Exists(..)
            | Ty::Infer(_),
            _,
        ) => {}
    }
}

fn match_arg<'p>(arg: &GenericArg, known: &RArg<'p>, found: &mut Found<'p>) {
    let mut bind = |g: GenericId| {
        found.entry(g).or_insert_with(|| known.clone());
    };
    match (arg, known) {
        (GenericArg::Size(s), RArg::Size(_)) => {
            if let Some(SizeVar::Param(g)) = s.as_var() {
                bind(g);
            }
        }
        (GenericArg::Dtype(Elem::Param(g)), RArg::Dtype(_)) => bind(*g),
        (GenericArg::Shape(s), RArg::Shape(dims)) => match_shape(s, dims, found),
        (GenericArg::Ty(t), RArg::Ty(known)) => match_ty(t, known, found),
        (
            GenericArg::Size(_) | GenericArg::Dtype(_) | GenericArg::Shape(_) | GenericArg::Ty(_) | GenericArg::Fn(_),
            _,
        ) => {}
    }
}

/// The front of `dims` is what `shape` describes.
fn match_shape<'p>(shape: &[Dim], dims: &[RDim], found: &mut Found<'p>) {
    let fixed = shape.iter().filter(|d| matches!(d, Dim::Size(_))).count();
    let mut dims = dims.iter().cloned();
    for d in shape {
        match d {
            Dim::Size(s) => {
                let Some(known) = dims.next() else { return };
                if let Some(SizeVar::Param(g)) = s.as_var() {
                    found.entry(g).or_insert(RArg::Size(known));
                }
            }
            Dim::Spread(Spread::Param(g)) => {
                let n = dims.len().saturating_sub(fixed);
                let all = dims.by_ref().take(n).collect();
                found.entry(*g).or_insert(RArg::Shape(all));
            }
            Dim::Spread(Spread::Infer(_)) => {}
        }
    }
}
