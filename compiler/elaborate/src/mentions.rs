//! What a lambda needs of its surroundings.

use std::collections::BTreeSet;

use tdl_types::thir::{
    Body, Dim, Elem, Expr, ExprKind, FnArg, FnTy, GenericArg, GenericId, LocalId, OpenId, Place, Shape, SizeExpr,
    SizeVar, Spread, Ty,
};

use crate::env::{Env, Slot};
use crate::walk::{Visit, walk_expr, walk_place};

/// Everything that a piece of code mentions, inner lambdas included.
pub struct Mentions<'a> {
    body: &'a Body,
    pub locals: BTreeSet<LocalId>,
    pub opens: BTreeSet<OpenId>,
    pub generics: BTreeSet<GenericId>,
}

impl<'a> Mentions<'a> {
    pub fn of(body: &'a Body, e: &Expr, params: &[LocalId]) -> Mentions<'a> {
        let mut m = Mentions { body, locals: BTreeSet::new(), opens: BTreeSet::new(), generics: BTreeSet::new() };
        for p in params {
            m.ty(&body.locals[p.index()].ty);
        }
        m.expr(e);
        m
    }

    /// Of generic arguments and a function type.
    pub fn of_generics(body: &'a Body, args: &[GenericArg], sig: Option<&FnTy>) -> Mentions<'a> {
        let mut m = Mentions { body, locals: BTreeSet::new(), opens: BTreeSet::new(), generics: BTreeSet::new() };
        args.iter().for_each(|a| m.generic(a));
        if let Some(sig) = sig {
            sig.params.iter().for_each(|p| m.ty(&p.ty));
            m.ty(&sig.result);
        }
        m
    }

    /// The part of an environment that is mentioned.
    pub fn part_of<'p>(&self, env: &Env<'p>) -> Env<'p> {
        let mut part = Env::empty(env.body);
        let locals = self.locals.iter().map(|l| Slot::Local(*l));
        part.vars.extend(locals.filter_map(|s| Some((s, env.vars.get(&s)?.clone()))));
        part.opens.extend(self.opens.iter().filter_map(|o| Some((*o, *env.opens.get(o)?))));
        part.generics.extend(self.generics.iter().filter_map(|g| Some((*g, env.generics.get(g)?.clone()))));
        part
    }

    fn shape(&mut self, shape: &Shape) {
        for d in shape {
            match d {
                Dim::Size(s) => self.size(s),
                Dim::Spread(Spread::Param(g)) => {
                    self.generics.insert(*g);
                }
                Dim::Spread(Spread::Infer(_)) => {}
            }
        }
    }

    fn elem(&mut self, e: Elem) {
        match e {
            Elem::Param(g) => {
                self.generics.insert(g);
            }
            Elem::Dtype(_) | Elem::Infer(_) => {}
        }
    }

    fn local(&mut self, l: LocalId) {
        if self.locals.insert(l)
            && let Some(def) = self.body.locals.get(l.index())
        {
            self.ty(&def.ty);
        }
    }
}

impl Visit for Mentions<'_> {
    fn expr(&mut self, e: &Expr) {
        match &e.kind {
            ExprKind::Local(l) => self.local(*l),
            ExprKind::FnParam(g) => {
                self.generics.insert(*g);
            }
            ExprKind::Lambda(id) => {
                let body = self.body;
                let lambda = &body.lambdas[id.index()];
                lambda.params.iter().for_each(|p| self.local(*p));
                self.expr(&lambda.body);
            }
            _ => {}
        }
        walk_expr(self, e);
    }

    fn size(&mut self, s: &SizeExpr) {
        s.visit_vars(&mut |v| match v {
            SizeVar::Local(l) => {
                self.locals.insert(l);
            }
            SizeVar::Open(o) => {
                self.opens.insert(o);
            }
            SizeVar::Param(g) => {
                self.generics.insert(g);
            }
            SizeVar::Const(_) | SizeVar::Bound(_) | SizeVar::Infer(_) | SizeVar::Quotient(_) => {}
        });
    }

    fn ty(&mut self, t: &Ty) {
        match t {
            Ty::Tensor(e, shape) => {
                self.elem(*e);
                self.shape(shape);
            }
            Ty::Tuple(items) => items.iter().for_each(|t| self.ty(t)),
            Ty::Struct(_, args) => args.iter().for_each(|a| self.generic(a)),
            Ty::Stack(shape, t) => {
                self.shape(shape);
                self.ty(t);
            }
            Ty::Param(g) => {
                self.generics.insert(*g);
            }
            Ty::Fn(f) => {
                f.params.iter().for_each(|p| self.ty(&p.ty));
                self.ty(&f.result);
            }
            Ty::Exists(_, t) => self.ty(t),
            Ty::Error | Ty::Never | Ty::Str | Ty::Rng | Ty::Infer(_) => {}
        }
    }

    fn generic(&mut self, a: &GenericArg) {
        match a {
            GenericArg::Size(s) => self.size(s),
            GenericArg::Shape(s) => self.shape(s),
            GenericArg::Dtype(e) => self.elem(*e),
            GenericArg::Ty(t) => self.ty(t),
            GenericArg::Fn(f) => match &**f {
                FnArg::Item(_) | FnArg::Elementwise(_) | FnArg::Infer(_) => {}
                FnArg::Param(g) => {
                    self.generics.insert(*g);
                }
            },
        }
    }

    fn place(&mut self, p: &Place) {
        self.local(p.root);
        walk_place(self, p);
    }
}
