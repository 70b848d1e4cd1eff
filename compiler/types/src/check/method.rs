//! Calls of methods, of those that an interface promises, and arguments that are types.

use std::cell::RefCell;

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, Ident};

use super::Checker;
use super::call::{ArgValue, Args, CallArg, Target};
use super::errors::{error_expr, mk};
use crate::ids::*;
use crate::subst::Bindings;
use crate::thir::{Arg, Callee, Expr, ExprKind, Method};
use crate::ty::{FnParam, GenericArg, Kind, Ty};

impl Checker<'_> {
    pub(super) fn method_call(
        &mut self,
        base: &ast::Expr,
        name: &Ident,
        args: Args<'_>,
        hint: Option<&Ty>,
        span: Span,
    ) -> Expr {
        // a place first, so that `mut self` and generators can be written back
        let place = self.try_place(base);
        let t = match &place {
            Some(p) => self.zonk(&p.ty),
            None => Ty::Error,
        };
        if place.is_some() && t == Ty::Rng {
            return self.rng_method(place, None, name, args, span);
        }
        if let (Some(p), Ty::Struct(id, sargs)) = (&place, &t)
            && let Some(func) = self.method_of(*id, &name.name)
            && self.takes_mut_self(func)
        {
            let (p, sargs) = (p.clone(), sargs.clone());
            if !self.require_mutable(&p) {
                return error_expr(span);
            }
            self.body.opened.changes(p.root);
            return self.call_fn(func, Some(&sargs), Some(Arg::Place(p)), args, hint, span, name.span);
        }
        if let (Some(p), Ty::Param(id)) = (&place, &t)
            && self.changes_receiver(*id, &name.name)
        {
            if !self.require_mutable(p) {
                return error_expr(span);
            }
            self.body.opened.changes(p.root);
            return self.interface_call(*id, Arg::Place(p.clone()), t.clone(), name, args, hint, span);
        }
        let value = self.expr(base, None);
        let t = self.zonk(&value.ty);
        match &t {
            Ty::Error | Ty::Never => {
                self.check_loosely(args);
                error_expr(span)
            }
            Ty::Rng => self.rng_method(None, Some(value), name, args, span),
            Ty::Struct(id, sargs) => {
                if let Some(func) = self.method_of(*id, &name.name) {
                    if self.takes_mut_self(func) {
                        self.fixed_receiver(&name.name, base.span);
                        return error_expr(span);
                    }
                    let sargs = sargs.clone();
                    return self.call_fn(func, Some(&sargs), Some(Arg::Value(value)), args, hint, span, name.span);
                }
                if self.field_type(*id, sargs, &name.name).is_some() {
                    let f = self.field_of(value, name, base.span.to(name.span));
                    return self.apply(f, args, hint, span);
                }
                self.unknown_method(*id, name);
                self.check_loosely(args);
                error_expr(span)
            }
            Ty::Param(id) => {
                if self.changes_receiver(*id, &name.name) {
                    self.fixed_receiver(&name.name, base.span);
                    return error_expr(span);
                }
                self.interface_call(*id, Arg::Value(value), t.clone(), name, args, hint, span)
            }
            Ty::Stack(..) => {
                let f = self.field_of(value, name, base.span.to(name.span));
                self.apply(f, args, hint, span)
            }
            Ty::Tensor(..) | Ty::Tuple(_) | Ty::Fn(_) | Ty::Str | Ty::Exists(..) | Ty::Infer(_) => {
                let text = if let Ty::Infer(_) = t {
                    "the type of this value is not known yet".to_string()
                } else {
                    format!("{} has no methods", self.show_ty(&t))
                };
                let mut d = Diagnostic::error(code::E0203, text, name.span, "no such method")
                    .label(base.span, self.show_ty(&t));
                let x = super::hints::receiver(base);
                let elsewhere = super::hints::tensor_method(&name.name, x).filter(|_| matches!(t, Ty::Tensor(..)));
                if let Some(help) = elsewhere {
                    d = d.help(help);
                } else if super::builtin::find(&name.name).is_some() || self.def_of(&name.name).is_some() {
                    let more = if args.is_empty() { "" } else { ", …" };
                    d = d.help(format!("it is a function: `{}({x}{more})`", name.name));
                } else if let Ty::Infer(_) = t {
                    d = d.help("annotate the lambda's parameter: `|m: Mlp[128]| …`");
                }
                self.error(d);
                self.check_loosely(args);
                error_expr(span)
            }
        }
    }

    /// Arguments that are types say what parameters in brackets are; as values they are `()`.
    pub(super) fn type_arguments<'e>(
        &mut self,
        type_params: &[Option<GenericId>],
        inst: &super::instantiate::Instance,
        skip: usize,
        args: Args<'e>,
    ) -> Args<'e> {
        let mut next = skip;
        let one = |a: CallArg<'e>| {
            let at = match a.label {
                Some(label) => inst.params.iter().position(|p| p.name.as_deref() == Some(&*label.name)),
                None => {
                    next += 1;
                    Some(next - 1)
                }
            };
            let Some(g) = at.and_then(|i| type_params.get(i).copied().flatten()) else { return a };
            let span = a.span();
            let ty = match &a.value {
                ArgValue::Ast(e) => super::lower::expr_to_type(e).map(|t| self.lower(&t)),
                ArgValue::Ready(_) => None,
            };
            let Some(ty) = ty else {
                self.error(Diagnostic::error(code::E0301, "a type is needed here", span, "not a type"));
                return CallArg { label: a.label, value: ArgValue::Ready(Box::new(error_expr(span))) };
            };
            if let Some(GenericArg::Ty(own)) = inst.bindings.generics.get(&g).cloned()
                && let Err(why) = self.unify(&own, &ty)
            {
                self.mismatch(&own, &ty, &why, span, "the type given");
            }
            let unit = mk(ExprKind::Tuple(Vec::new()), Ty::unit(), span);
            CallArg { label: a.label, value: ArgValue::Ready(Box::new(unit)) }
        };
        args.into_iter().map(one).collect()
    }

    pub(super) fn takes_mut_self(&self, func: FnId) -> bool {
        self.program.fns[func.index()].params.first().is_some_and(|p| p.mutable)
    }

    /// Whether calling this place calls a method `call` that takes `mut self`: the place must be written back then.
    pub(super) fn call_changes(&mut self, callee: &ast::Expr) -> bool {
        let Some(place) = self.try_place(callee) else { return false };
        match self.zonk(&place.ty) {
            Ty::Struct(id, _) => self.method_of(id, "call").is_some_and(|func| self.takes_mut_self(func)),
            Ty::Param(id) => self.changes_receiver(id, "call"),
            _ => false,
        }
    }

    pub(super) fn fixed_receiver(&mut self, name: &str, span: Span) {
        let text = format!("`{name}` changes its receiver, which must be a mutable variable");
        self.error(
            Diagnostic::error(code::E0306, text, span, "not a variable that may change")
                .help("bind it first: `let mut s = …`"),
        );
    }

    /// Whether a method of the type parameter's interface takes `mut self`.
    fn changes_receiver(&self, param: GenericId, name: &str) -> bool {
        let Kind::Interface(id, _) = &self.program.generics[param.index()].kind else { return false };
        let method = self.program.interfaces[id.index()].methods.iter().find(|m| *m.name == *name);
        method.and_then(|m| m.params.first()).is_some_and(|p| p.mutable)
    }

    pub(super) fn interface_call(
        &mut self,
        param: GenericId,
        own: Arg,
        receiver: Ty,
        name: &Ident,
        args: Args<'_>,
        hint: Option<&Ty>,
        span: Span,
    ) -> Expr {
        let Kind::Interface(id, iargs) = self.program.generics[param.index()].kind.clone() else {
            let text = format!("nothing is known about the methods of `{}`", self.program.generics[param.index()].name);
            self.error(
                Diagnostic::error(code::E0203, text, name.span, "a type parameter")
                    .help("give it an interface: `[O: Optimizer[M]]`"),
            );
            self.check_loosely(args);
            return error_expr(span);
        };
        let def = self.program.interfaces[id.index()].clone();
        let Some(index) = def.methods.iter().position(|m| *m.name == *name.name) else {
            let text = format!("interface `{}` has no method `{}`", def.name, name.name);
            let mut d = Diagnostic::error(code::E0203, text, name.span, "no such method");
            if let Some(near) = super::names::nearest(&name.name, def.methods.iter().map(|m| &*m.name)) {
                d = d.fix(format!("did you mean `{near}`?"), name.span, near);
            }
            self.error(d);
            self.check_loosely(args);
            return error_expr(span);
        };
        let sig = &def.methods[index];
        let generics = self.fresh_args(&sig.generics);
        let mut bindings = Bindings::new(&def.generics, &iargs);
        bindings.generics.insert(def.self_generic, GenericArg::Ty(receiver.clone()));
        bindings.generics.extend(sig.generics.iter().copied().zip(generics.iter().cloned()));
        let params: Vec<FnParam> = sig
            .params
            .iter()
            .map(|p| FnParam { name: p.name.clone(), ty: p.ty.subst(&bindings), mutable: p.mutable })
            .collect();
        let result = sig.result.subst(&bindings);
        let n = params.len();
        let full = format!("{}.{}", def.name, name.name);
        let target = Target {
            name: &full,
            params: &params,
            spans: vec![Some(sig.span); n],
            defaults: vec![false; n],
            size_params: vec![None; n],
            func: None,
            declared: Some(sig.span),
            callee: None,
            field: None,
            given: RefCell::new(vec![None; n]),
        };
        let checked = self.arguments(&target, 1, vec![own], args, span, Some((&result, hint)));
        let Some(args) = checked else { return error_expr(span) };
        self.call_io(sig.io, &full, span);
        let ty = self.zonk(&result);
        let callee = Callee::Method(Method { interface: id, index, receiver });
        let e = mk(ExprKind::Call { callee, generics, args }, ty, span);
        self.open(e, &format!("`{full}`"))
    }
}
