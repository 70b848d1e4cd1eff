//! Parameters in brackets found from the types of arguments.

use tdl_types::thir::{Arg, Elem, FnId, GenericArg, GenericId, Spread, Ty};
use tdl_types::{SizeVar, thir};

use crate::elab::Elab;
use crate::env::Env;
use crate::rty::{RArg, RDim, RTy};
use crate::{R, internal};

type Found<'p> = Vec<(GenericId, RArg<'p>)>;

impl<'p> Elab<'p> {
    /// Completes `known`, the arguments of a function's first parameters in brackets, from the arguments of a call.
    pub fn own_generics(&mut self, env: &Env<'p>, id: FnId, known: &mut Vec<RArg<'p>>, args: &'p [Arg]) -> R<()> {
        let def = &self.program.fns[id.index()];
        let mut found: Found<'p> = def.generics.iter().copied().zip(known.iter().cloned()).collect();
        for (param, arg) in def.params.iter().zip(args) {
            let ty = match arg {
                Arg::Value(e) => &e.ty,
                Arg::Place(p) => &p.ty,
                Arg::Default => continue,
            };
            let ty = self.ty(env, ty)?;
            match_ty(&param.ty, &ty, &mut found);
        }
        for g in &def.generics[known.len()..] {
            match found.iter().find(|(h, _)| h == g) {
                Some((_, a)) => known.push(a.clone()),
                None => {
                    let name = &self.program.generics[g.index()].name;
                    return Err(internal(format!("`{name}` of `{}` does not follow from the arguments", def.name)));
                }
            }
        }
        Ok(())
    }
}

fn bind<'p>(found: &mut Found<'p>, g: GenericId, a: RArg<'p>) {
    if !found.iter().any(|(h, _)| *h == g) {
        found.push((g, a));
    }
}

fn match_ty<'p>(ty: &Ty, known: &RTy<'p>, found: &mut Found<'p>) {
    match (ty, known) {
        (Ty::Param(g), known) => bind(found, *g, RArg::Ty(known.clone())),
        (Ty::Tensor(elem, shape), RTy::Tensor(d, dims)) => {
            if let Elem::Param(g) = elem {
                bind(found, *g, RArg::Dtype(*d));
            }
            match_shape(shape, dims, found);
        }
        (Ty::Tuple(items), RTy::Tuple(known)) => items.iter().zip(known).for_each(|(t, k)| match_ty(t, k, found)),
        (Ty::Stack(shape, elem), RTy::Stack(dims, known)) => {
            match_shape(shape, dims, found);
            match_ty(elem, known, found);
        }
        (Ty::Struct(_, args), RTy::Struct(_, known)) => {
            for pair in args.iter().zip(known) {
                match pair {
                    (GenericArg::Size(s), RArg::Size(d)) => {
                        if let Some(SizeVar::Param(g)) = s.as_var() {
                            bind(found, g, RArg::Size(d.clone()));
                        }
                    }
                    (GenericArg::Shape(s), RArg::Shape(dims)) => match_shape(s, dims, found),
                    (GenericArg::Dtype(Elem::Param(g)), RArg::Dtype(d)) => bind(found, *g, RArg::Dtype(*d)),
                    (GenericArg::Ty(t), RArg::Ty(k)) => match_ty(t, k, found),
                    _ => {}
                }
            }
        }
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

fn match_shape<'p>(shape: &[thir::Dim], dims: &[RDim], found: &mut Found<'p>) {
    let fixed = shape.iter().filter(|d| matches!(d, thir::Dim::Size(_))).count();
    let mut dims = dims.iter().cloned();
    for d in shape {
        match d {
            thir::Dim::Size(s) => {
                let known = dims.next();
                if let (Some(SizeVar::Param(g)), Some(d)) = (s.as_var(), known) {
                    bind(found, g, RArg::Size(d));
                }
            }
            thir::Dim::Spread(Spread::Param(g)) => {
                let n = dims.len().saturating_sub(fixed);
                let own = dims.by_ref().take(n).collect();
                bind(found, *g, RArg::Shape(own));
            }
            thir::Dim::Spread(Spread::Infer(_)) => {}
        }
    }
}
