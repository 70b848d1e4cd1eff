//! Arguments of a call: matched with parameters, fitted to their types; places for `mut` parameters.

use std::rc::Rc;

use super::Checker;
use super::call::{ArgValue, Args, CallArg, Target};
use super::errors::{error_expr, mk};
use super::lower::count;
use crate::thir::{Arg, Expr, ExprKind};
use crate::ty::{Dim, Elem, FnTy, GenericArg, Ty};
use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::ExprKind as A;

impl Checker<'_> {
    /// Matches arguments with parameters from `skip` on and checks them; lambdas last, when the rest has settled types.
    pub(super) fn arguments(
        &mut self,
        target: &Target<'_>,
        skip: usize,
        mut done: Vec<Arg>,
        args: Args<'_>,
        span: Span,
        result: Option<(&Ty, Option<&Ty>)>,
    ) -> Option<Vec<Arg>> {
        let n = target.params.len();
        let mut slots: Vec<Option<CallArg<'_>>> = (0..n).map(|_| None).collect();
        let (mut next, mut failed) = (skip, false);
        let total = args.len();
        for a in args {
            let at = match a.label {
                Some(label) => {
                    let found = target.params.iter().position(|p| p.name.as_deref() == Some(&*label.name));
                    match found.filter(|i| *i >= skip) {
                        Some(i) => i,
                        None => {
                            let text = format!("`{}` has no parameter `{}`", target.name, label.name);
                            let mut d = Diagnostic::error(code::E0303, text, label.span, "unknown label");
                            let names: Vec<&str> =
                                target.params[skip..].iter().filter_map(|p| p.name.as_deref()).collect();
                            if let Some(near) = super::hints::label(&label.name, &names) {
                                d = d.fix(format!("did you mean `{near}`?"), label.span, near);
                            } else if !names.is_empty() {
                                d = d.help(format!("its parameters are {}", super::expr::quoted(&names)));
                            }
                            self.error(d);
                            failed = true;
                            continue;
                        }
                    }
                }
                None => {
                    next += 1;
                    next - 1
                }
            };
            if at >= n {
                let text = format!("`{}` takes {}, got {total}", target.name, count(n - skip, "argument"));
                let mut d = Diagnostic::error(code::E0303, text, a.span(), "too many");
                if let Some(at) = target.declared {
                    d = d.label(at, "declared here");
                }
                self.error(d);
                return None;
            }
            if slots[at].is_some() {
                let pname = target.params[at].name.clone().unwrap_or_else(|| "?".into());
                let text = format!("parameter `{pname}` of `{}` is given twice", target.name);
                let mut d = Diagnostic::error(code::E0303, text, a.span(), "a second time");
                if let Some(first) = &slots[at] {
                    d = d.label(first.span(), "given here");
                }
                self.error(d);
                failed = true;
                continue;
            }
            slots[at] = Some(a);
        }
        let missing: Vec<String> = (skip..n)
            .filter(|i| slots[*i].is_none() && !target.defaults[*i])
            .map(|i| target.params[i].name.as_deref().unwrap_or("?").to_string())
            .collect();
        if !missing.is_empty() && !failed {
            let names: Vec<&str> = missing.iter().map(|s| &**s).collect();
            let text = format!("`{}` lacks {}", target.name, super::expr::quoted(&names));
            let first = (skip..n).find(|i| slots[*i].is_none() && !target.defaults[*i]);
            let mut d = Diagnostic::error(
                code::E0303,
                text,
                span,
                format!("takes {}, got {total}", count(n - skip, "argument")),
            );
            if let Some(Some(at)) = first.map(|i| target.spans[i]) {
                d = d.label(at, "this parameter");
            }
            self.error(d);
            failed = true;
        }
        let mut out: Vec<Option<Arg>> = (0..n).map(|_| None).collect();
        let mut lambdas = Vec::new();
        let mut places: Vec<crate::thir::Place> = Vec::new();
        // as they are written, which is how they are evaluated
        let mut given: Vec<(usize, Option<CallArg<'_>>)> = slots.into_iter().enumerate().skip(skip).collect();
        given.sort_by_key(|(_, slot)| slot.as_ref().map(|a| a.span().start));
        for (i, slot) in given {
            let Some(a) = slot else {
                out[i] = Some(Arg::Default);
                continue;
            };
            if a.is_lambda() {
                lambdas.push((i, a));
                continue;
            }
            target.given.borrow_mut()[i] = Some(a.span());
            match self.argument(target, i, a) {
                Some(arg) => {
                    if let Arg::Place(p) = &arg {
                        places.push(p.clone());
                    }
                    out[i] = Some(arg);
                }
                None => failed = true,
            }
        }
        for d in &done {
            if let Arg::Place(p) = d {
                places.insert(0, p.clone());
            }
        }
        self.overlaps(&places);
        if let Some((result, Some(hint))) = result {
            let _ = self.try_unify(hint, result);
        }
        for (i, a) in lambdas {
            if failed {
                break;
            }
            match self.argument(target, i, a) {
                Some(arg) => out[i] = Some(arg),
                None => failed = true,
            }
        }
        if failed || missing.len() + done.len() > n && !missing.is_empty() {
            return None;
        }
        done.extend(out.into_iter().skip(skip).flatten());
        Some(done)
    }

    pub(super) fn argument(&mut self, target: &Target<'_>, i: usize, a: CallArg<'_>) -> Option<Arg> {
        let param = &target.params[i];
        let pname = param.name.clone().unwrap_or_else(|| format!("#{}", i + 1).into());
        if param.mutable {
            return self.mut_argument(&param.ty, &pname, target.name, a);
        }
        let span = a.span();
        let errors = self.errors.len();
        let e = match a.value {
            ArgValue::Ast(e) => {
                let expected = self.zonk(&param.ty);
                let special = matches!(e.kind, A::Lambda { .. } | A::If { .. } | A::Block(_));
                if special || matches!(expected, Ty::Exists(..)) {
                    self.check_as(e, &expected, &format!("argument `{pname}` of `{}`", target.name))
                } else {
                    let e = self.expr(e, Some(&expected));
                    self.fit_argument(target, i, e, &pname)
                }
            }
            ArgValue::Ready(e) => self.fit_argument(target, i, *e, &pname),
        };
        if self.errors.len() > errors || e.ty.is_error() {
            let _ = span;
            return None;
        }
        if let Some(size) = &target.size_params[i] {
            let e = self.size_argument(e, size);
            return Some(Arg::Value(e));
        }
        Some(Arg::Value(e))
    }

    /// An `i64` that occurs in the call's types: its value gets a name if it is no size by its form.
    pub(super) fn size_argument(&mut self, e: Expr, size: &crate::SizeExpr) -> Expr {
        let span = e.span;
        let value = match self.size_value(&e) {
            Some(v) => v,
            None => {
                let id = self.temp(e);
                let v = crate::SizeExpr::var(crate::SizeVar::Local(id));
                let _ = self.unify_size(size, &v);
                return mk(ExprKind::Local(id), Ty::I64, span);
            }
        };
        if let Err(why) = self.unify_size(size, &value) {
            self.mismatch(&Ty::I64, &Ty::I64, &why, span, "a number that is also a size");
        }
        e
    }

    pub(super) fn fit_argument(&mut self, target: &Target<'_>, i: usize, e: Expr, pname: &str) -> Expr {
        let expected = self.zonk(&target.params[i].ty);
        if matches!(expected, Ty::Exists(..)) {
            return self.coerce(e, &expected, &format!("argument `{pname}` of `{}`", target.name));
        }
        let e = match &expected {
            Ty::Fn(want) => self.as_function(e, Some(want)),
            _ => e,
        };
        let found = self.zonk(&e.ty);
        if let (Ty::Fn(want), Ty::Fn(_)) = (&expected, &found)
            && !want.generics.is_empty()
        {
            // checked for all: the type's own parameters are rigid here
            let plain = Ty::Fn(FnTy { generics: Vec::new(), ..(**want).clone() }.into());
            let want = Rc::clone(want);
            return match self.unify(&plain, &found) {
                Ok(()) => self.expanded(e, &want),
                Err(why) => {
                    self.mismatch(&expected, &found, &why, e.span, &format!("argument `{pname}` of `{}`", target.name));
                    error_expr(e.span)
                }
            };
        }
        match self.unify(&expected, &found) {
            Ok(()) => {
                self.run_pending();
                e
            }
            Err(why) => {
                self.argument_mismatch(target, i, (&expected, &found), &why, e.span, pname);
                error_expr(e.span)
            }
        }
    }

    pub(super) fn mut_argument(&mut self, ty: &Ty, pname: &str, callee: &str, a: CallArg<'_>) -> Option<Arg> {
        let span = a.span();
        let what = format!("argument `{pname}` of `{callee}`");
        let e = match a.value {
            ArgValue::Ast(e) => {
                if let Some(place) = self.try_place(e) {
                    if !self.require_mutable(&place) {
                        return None;
                    }
                    let found = place.ty.clone();
                    if let Err(why) = self.unify(ty, &found) {
                        self.mismatch(ty, &found, &why, span, &what);
                        return None;
                    }
                    self.body.opened.changes(place.root);
                    return Some(Arg::Place(place));
                }
                let v = self.expr(e, Some(ty));
                self.coerce(v, ty, &what)
            }
            ArgValue::Ready(e) => self.coerce(*e, ty, &what),
        };
        if e.ty.is_error() {
            return None;
        }
        if self.zonk(&e.ty) == Ty::Rng {
            return Some(Arg::Value(e));
        }
        let text = format!("{what} is changed by the call, so it must be a variable");
        self.error(
            Diagnostic::error(code::E0306, text, span, "a temporary value").help("bind it first: `let mut x = …`"),
        );
        None
    }
}

pub(super) fn mentions_infer(t: &Ty) -> bool {
    match t {
        Ty::Infer(_) => true,
        Ty::Tensor(e, dims) => {
            let mut found = matches!(e, Elem::Infer(_));
            for d in dims {
                match d {
                    Dim::Size(s) => s.visit_vars(&mut |v| found |= matches!(v, crate::SizeVar::Infer(_))),
                    Dim::Spread(crate::ty::Spread::Infer(_)) => found = true,
                    Dim::Spread(crate::ty::Spread::Param(_)) => {}
                }
            }
            found
        }
        Ty::Tuple(items) => items.iter().any(mentions_infer),
        Ty::Struct(_, args) => args.iter().any(|a| match a {
            GenericArg::Ty(t) => mentions_infer(t),
            GenericArg::Dtype(e) => matches!(e, Elem::Infer(_)),
            GenericArg::Size(s) => {
                let mut found = false;
                s.visit_vars(&mut |v| found |= matches!(v, crate::SizeVar::Infer(_)));
                found
            }
            GenericArg::Shape(_) | GenericArg::Fn(_) => true,
        }),
        Ty::Stack(_, t) | Ty::Exists(_, t) => mentions_infer(t),
        Ty::Fn(_) => true,
        Ty::Error | Ty::Never | Ty::Param(_) | Ty::Str | Ty::Rng => false,
    }
}
