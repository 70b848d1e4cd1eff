//! Lambdas: checked when their parameter types are known.

use std::rc::Rc;

use tdl_source::{Diagnostic, code};
use tdl_syntax::ast::{self, ExprKind as A};

use super::errors::{error_expr, mk};
use super::{Checker, Pending};
use crate::ids::*;
use crate::thir::{Arg, Callee, Expr, ExprKind, Lambda};
use crate::ty::{FnParam, FnTy, Ty};

impl Checker<'_> {
    /// A lambda where no function type is expected.
    pub(super) fn lambda(&mut self, e: &ast::Expr, hint: Option<&Ty>) -> Expr {
        let A::Lambda { params, .. } = &e.kind else { return error_expr(e.span) };
        if let Some(Ty::Fn(f)) = hint.map(|h| self.zonk(h)) {
            return self.check_lambda(e, &f);
        }
        let unknown = params.iter().map(|_| self.body.store.new_ty()).collect::<Vec<_>>();
        let result = self.body.store.new_ty();
        self.lambda_with(e, unknown, result, Vec::new())
    }

    /// A lambda that is passed for a function type.
    pub(super) fn check_lambda(&mut self, e: &ast::Expr, expected: &FnTy) -> Expr {
        let A::Lambda { params, .. } = &e.kind else { return error_expr(e.span) };
        if params.len() != expected.params.len() {
            let text = format!(
                "this lambda takes {}, but is given {}",
                super::lower::count(params.len(), "parameter"),
                expected.params.len()
            );
            let wanted = self.show_ty(&Ty::Fn(Rc::new(expected.clone())));
            self.error(Diagnostic::error(code::E0303, text, e.span, format!("expected {wanted}")));
            return error_expr(e.span);
        }
        let types = expected.params.iter().map(|p| p.ty.clone()).collect();
        self.lambda_with(e, types, expected.result.clone(), expected.generics.clone())
    }

    /// A function item for a polymorphic function type: the lambda that calls it, since only a lambda is bound anew at each
    /// call.
    pub(super) fn expanded(&mut self, e: Expr, expected: &FnTy) -> Expr {
        let ExprKind::Fn { func, generics } = e.kind else { return e };
        let span = e.span;
        let id = LambdaId(self.body.lambdas.len() as u32);
        self.body.lambdas.push(None);
        self.body.lambda_depth.push(self.body.depth);
        self.body.depth += 1;
        let (mut params, mut args) = (Vec::new(), Vec::new());
        for (i, p) in expected.params.iter().enumerate() {
            let name = p.name.clone().unwrap_or_else(|| format!("<argument {}>", i + 1).into());
            let local = self.new_local(&name, p.ty.clone(), false, span);
            params.push(local);
            args.push(Arg::Value(mk(ExprKind::Local(local), p.ty.clone(), span)));
        }
        self.body.depth -= 1;
        let call = ExprKind::Call { callee: Callee::Fn(func), generics, args };
        self.body.lambdas[id.index()] = Some(Lambda {
            generics: expected.generics.clone(),
            param_mutable: vec![false; params.len()],
            params,
            captures: Vec::new(),
            body: mk(call, expected.result.clone(), span),
            span,
        });
        mk(ExprKind::Lambda(id), Ty::Fn(Rc::new(expected.clone())), span)
    }

    fn lambda_with(&mut self, e: &ast::Expr, types: Vec<Ty>, result: Ty, generics: Vec<GenericId>) -> Expr {
        let A::Lambda { params, result: declared, .. } = &e.kind else { return error_expr(e.span) };
        for (p, t) in params.iter().zip(&types) {
            if let Some(ann) = &p.ty {
                let ann = self.lower(ann);
                if let Err(why) = self.unify(t, &ann) {
                    self.mismatch(t, &ann, &why, p.span, &format!("parameter `{}`", p.name.name));
                }
            }
        }
        if let Some(t) = declared {
            let t = self.lower(t);
            if let Err(why) = self.unify(&result, &t) {
                self.mismatch(&result, &t, &why, e.span, "the lambda's result");
            }
        }
        let id = LambdaId(self.body.lambdas.len() as u32);
        self.body.lambdas.push(None);
        self.body.lambda_depth.push(self.body.depth);
        self.body.pending.push(Pending {
            id,
            ast: Rc::new(e.clone()),
            params: types.clone(),
            result: result.clone(),
            names: self.body.names.clone(),
            depth: self.body.depth,
            generics: generics.clone(),
        });
        let fn_params = params
            .iter()
            .zip(types)
            .map(|(p, ty)| FnParam { name: Some(p.name.name.as_ref().into()), ty, mutable: false })
            .collect();
        let ty = Ty::Fn(Rc::new(FnTy { generics, params: fn_params, result, io: false }));
        self.run_pending();
        mk(ExprKind::Lambda(id), ty, e.span)
    }

    /// Checks the lambdas whose parameter types have become known.
    pub(super) fn run_pending(&mut self) {
        loop {
            let ready = (0..self.body.pending.len())
                .find(|i| self.body.pending[*i].params.iter().all(|t| !matches!(self.zonk(t), Ty::Infer(_))));
            let Some(i) = ready else { break };
            let p = self.body.pending.remove(i);
            self.run_lambda(p);
        }
        self.run_later(false);
    }

    fn run_lambda(&mut self, p: Pending) {
        let ast = p.ast;
        let A::Lambda { params, body, .. } = &ast.kind else { return };
        let names = std::mem::replace(&mut self.body.names, p.names);
        let outer_result = self.body.result.replace(p.result.clone());
        let in_loop = std::mem::replace(&mut self.body.in_loop, false);
        let depth = std::mem::replace(&mut self.body.depth, p.depth + 1);
        let piped = std::mem::take(&mut self.body.piped);
        let opened = std::mem::take(&mut self.body.opened);
        let facts = self.facts.mark();
        self.push_names();
        let mut locals = Vec::new();
        for (param, ty) in params.iter().zip(&p.params) {
            let ty = self.zonk(ty);
            // a generator that is passed is the lambda's own, so it draws from it
            let mutable = param.mutable || ty == Ty::Rng;
            locals.push(self.bind_local(&param.name, ty, mutable));
        }
        let result = self.zonk(&p.result);
        let value = self.with_temps(|cx| {
            if matches!(result, Ty::Infer(_)) {
                let opened = cx.body.opens.len();
                let e = cx.expr(body, None);
                let e = cx.pack_opened(e, opened);
                if let Err(why) = cx.unify(&p.result, &e.ty) {
                    let (want, have) = (p.result.clone(), e.ty.clone());
                    cx.mismatch(&want, &have, &why, e.span, "the lambda's result");
                }
                e
            } else {
                cx.check_as(body, &result, "the lambda's result")
            }
        });
        self.facts.reset(facts);
        self.body.names = names;
        self.body.result = outer_result;
        self.body.in_loop = in_loop;
        self.body.depth = depth;
        self.body.piped = piped;
        self.body.opened = opened;
        self.body.lambdas[p.id.index()] = Some(Lambda {
            generics: p.generics,
            param_mutable: params.iter().map(|p| p.mutable).collect(),
            params: locals,
            captures: Vec::new(),
            body: value,
            span: ast.span,
        });
    }
}
