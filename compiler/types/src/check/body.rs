//! Bodies: functions, constants, defaults; entries of interactive sessions.

use std::rc::Rc;

use tdl_source::{Diagnostic, code};
use tdl_syntax::ast;

use super::again::Before;
use super::errors::mk;
use super::{Binding, BodyCx, Checker, Entry};
use crate::ids::*;
use crate::thir::{Expr, ExprKind, Param, Pattern, Stmt, StmtKind};
use crate::ty::{Dim, Elem, Ty};

impl<'a> Checker<'a> {
    /// Checks all bodies but those whose result is known from before.
    pub(super) fn check_bodies(&mut self, before: &mut Option<Before>) {
        for i in 0..self.program.consts.len() {
            if self.program.consts[i].value.is_none() {
                let expected = self.program.consts[i].ty.clone();
                self.check_const(ConstId(i as u32), Some(expected));
            }
        }
        self.check_fns(before);
        self.check_rules();
        self.check_tests(before);
        self.measure(before.as_ref());
        self.find_recursion();
    }

    pub(super) fn check_const(&mut self, id: ConstId, expected: Option<Ty>) {
        let c = self.const_asts[id.index()];
        self.module = self.program.consts[id.index()].module;
        self.fresh_body();
        self.body.open = true;
        self.consts_open.push(id);
        let value = self.statement(|cx| match &expected {
            Some(t) => cx.check_as(&c.value, t, &format!("`{}`", c.name.name)),
            None => cx.expr(&c.value, None),
        });
        let ty = self.zonk(&value.ty);
        if expected.is_none() {
            // what stays unknown is reported, and means nothing in other bodies
            self.program.consts[id.index()].ty = if super::finish::stays_open(&ty) { Ty::Error } else { ty };
        }
        self.consts_open.pop();
        self.const_graph[id.index()] = std::mem::take(&mut self.body.calls);
        self.program.consts[id.index()].value = self.finish(value);
    }

    /// Enters a function's generics and parameters into a fresh body.
    pub(super) fn enter_fn(&mut self, id: FnId) {
        let def = self.program.fns[id.index()].clone();
        self.module = def.module;
        self.fresh_body();
        for g in &def.generics {
            let name = self.program.generics[g.index()].name.clone();
            self.bind_name(&name, Entry::Generic(*g));
        }
        // parameters of the impl that its header leaves out are not in scope
        for (g, arg) in def.generics.iter().zip(&self.sigs[id.index()].self_args) {
            if *arg != self.generic_as_arg(*g) {
                let name = self.program.generics[g.index()].name.clone();
                if let Some(frame) = self.body.names.last_mut() {
                    frame.remove(&name);
                }
            }
        }
        self.body.io = def.io;
        self.body.open = true;
        self.body.own = Some((def.name.clone(), def.name_span));
        self.body.own_struct = def.self_struct.map(|s| (s, self.sigs[id.index()].self_args.clone()));
        for (i, p) in def.params.iter().enumerate() {
            let local = self.new_local(&p.name, p.ty.clone(), p.mutable, p.span);
            if self.sigs[id.index()].type_params.get(i).is_none_or(Option::is_none) {
                self.bind_name(&p.name, Entry::Local(local));
            }
            self.body.params.push(local);
        }
        for clause in self.sigs[id.index()].clauses.clone() {
            self.assume(&clause.fact);
        }
    }

    pub(super) fn check_fn(&mut self, id: FnId) {
        let Some(ast) = self.sigs[id.index()].ast else { return };
        // defaults first: they see generics and globals
        for (i, p) in ast.params.iter().enumerate() {
            let Some(default) = &p.default else { continue };
            let Some(param) = self.program.fns[id.index()].params.get(i).cloned() else { continue };
            self.enter_fn(id);
            for q in &self.program.fns[id.index()].params {
                if let Some(frame) = self.body.names.last_mut() {
                    frame.remove(&q.name);
                }
            }
            self.body.locals.clear();
            self.body.local_sizes.clear();
            self.body.local_depth.clear();
            let value =
                self.statement(|cx| cx.check_as(default, &param.ty, &format!("the default of `{}`", param.name)));
            let body = self.finish(value);
            self.program.fns[id.index()].params[i].default = body.map(Rc::new);
        }
        self.enter_fn(id);
        let result = self.program.fns[id.index()].result.clone();
        if self.program.modules.iter().any(|m| m.name.is_empty() && m.main == Some(id)) {
            self.check_flags(id);
        }
        // a second item of the name, which was reported, has no signature
        if self.program.fns[id.index()].params.len() != ast.params.len() {
            return;
        }
        // the parser has said that it is missing
        let Some(body) = &ast.body else { return };
        self.body.result = Some(result.clone());
        let what = format!("the result of `{}`", self.program.fns[id.index()].name);
        if let Some(t) = &ast.result {
            for what in [what.as_str(), RESULT] {
                self.body.ends.push((what.into(), t.span, "declared here".into()));
            }
        }
        let value = if self.is_bench(id) {
            self.bench_body(id, body)
        } else if result.is_unit() && ast.result.is_none() {
            self.unit_body(body)
        } else {
            self.statement(|cx| cx.check_as(body, &result, &what))
        };
        self.call_graph[id.index()] = std::mem::take(&mut self.body.calls);
        self.program.fns[id.index()].body = self.finish(value);
    }

    /// The parameters of `main` are flags of the command line.
    fn check_flags(&mut self, id: FnId) {
        for p in self.program.fns[id.index()].params.clone() {
            let flag = match &p.ty {
                Ty::Str | Ty::Error => true,
                Ty::Tensor(Elem::Dtype(_), shape) => shape.is_empty(),
                _ => false,
            };
            if !flag || p.mutable {
                let text = format!("parameter `{}` of `main` is no number, bool or text", p.name);
                self.error(
                    Diagnostic::error(code::E0309, text, p.span, "cannot be given on a command line")
                        .help("take a path, `path: str`, and load the value in `main`"),
                );
            }
        }
    }

    /// The body of a function without a result type.
    fn unit_body(&mut self, body: &ast::Expr) -> Expr {
        let value = self.statement(|cx| cx.expr(body, None));
        let t = self.zonk(&value.ty);
        if t.is_unit() || matches!(t, Ty::Never | Ty::Error) {
            return value;
        }
        let span = match &value.kind {
            ExprKind::Block(b) => b.result.as_ref().map_or(value.span, |r| r.span),
            _ => value.span,
        };
        self.unused(&t, span);
        value
    }

    /// The body of a benchmark: its value is the function's result, so that nothing of it counts as unused.
    fn bench_body(&mut self, id: FnId, body: &ast::Expr) -> Expr {
        let value = self.statement(|cx| cx.expr(body, None));
        let t = self.zonk(&value.ty);
        if matches!(t, Ty::Never | Ty::Error) {
            return value;
        }
        if matches!(t, Ty::Fn(_)) {
            self.unused(&t, value.span);
            return value;
        }
        let value = self.open(value, "");
        let value = self.pack_all(value);
        self.program.fns[id.index()].result = self.zonk(&value.ty);
        value
    }

    /// An entry of an interactive session as a function of the earlier bindings.
    pub(super) fn entry(
        &mut self,
        bindings: &[Binding],
        stmts: &[ast::Stmt],
    ) -> (Option<FnId>, Vec<Binding>, Option<Ty>) {
        let errors = self.errors.len();
        let module = ModuleId(self.asts.len().saturating_sub(1) as u32);
        let span = stmts.first().map_or_else(Default::default, |s| s.span);
        let func = self.new_fn(module, "<entry>".into(), None, None, span, span);
        self.module = module;
        self.fresh_body();
        self.body.io = true;
        self.body.open = true;
        let mut params = Vec::new();
        for b in bindings {
            let local = self.new_local(&b.name, b.ty.clone(), b.mutable, span);
            self.bind_name(&b.name, Entry::Local(local));
            self.body.params.push(local);
            self.body.local_sizes[local.index()] = b.value.map(crate::SizeExpr::constant);
            params.push(Param {
                local,
                name: b.name.clone(),
                ty: b.ty.clone(),
                mutable: b.mutable,
                default: None,
                span,
            });
        }
        let first_new = self.body.locals.len();
        let (last, head) = match stmts.split_last() {
            Some((ast::Stmt { kind: ast::StmtKind::Expr(e), .. }, head)) => (Some(e), head),
            Some(_) | None => (None, stmts),
        };
        let mut out: Vec<Stmt> = self.stmts(head);
        let last = last.map(|e| {
            if let ast::ExprKind::If { els: None, .. } = &e.kind {
                let before = self.stmts(&stmts[stmts.len() - 1..]);
                out.extend(before);
                return mk(ExprKind::Tuple(Vec::new()), Ty::unit(), e.span);
            }
            self.statement(|cx| cx.expr(e, None))
        });
        // names still in scope at the end, in the order they were bound
        let mut new: Vec<(Rc<str>, LocalId)> = Vec::new();
        for frame in &self.body.names {
            for (name, entry) in frame {
                if let Entry::Local(id) = entry
                    && id.index() >= first_new
                {
                    new.push((name.clone(), *id));
                }
            }
        }
        new.sort_by_key(|(_, id)| *id);
        let mut items = Vec::new();
        let mut made = Vec::new();
        for (name, id) in new {
            let local = self.body.locals[id.index()].clone();
            let ty = self.zonk(&local.ty);
            if matches!(ty, Ty::Fn(_)) {
                continue;
            }
            made.push(Binding { name, ty: ty.clone(), mutable: local.mutable, value: None });
            items.push(mk(ExprKind::Local(id), ty, local.span));
        }
        let mut value = None;
        if let Some(e) = last {
            let t = self.zonk(&e.ty);
            if t.is_unit() || matches!(t, Ty::Never | Ty::Fn(_)) {
                if t.is_unit() {
                    out.push(Stmt { span: e.span, kind: StmtKind::Expr(e) });
                } else {
                    value = Some(t);
                }
            } else {
                value = Some(t);
                items.push(e);
            }
        }
        let items = items.into_iter().map(|e| self.open(e, "")).collect::<Vec<_>>();
        let ty = Ty::tuple(items.iter().map(|e| self.zonk(&e.ty)).collect());
        let tuple = mk(ExprKind::Tuple(items), ty, span);
        let tuple = self.pack_all(tuple);
        let result = self.zonk(&tuple.ty);
        let block = crate::thir::Block { stmts: out, result: Some(Box::new(tuple)), span };
        let whole = mk(ExprKind::Block(block), result.clone(), span);
        self.call_graph[func.index()] = std::mem::take(&mut self.body.calls);
        let body = self.finish(whole);
        let def = &mut self.program.fns[func.index()];
        def.params = params;
        def.result = result;
        def.io = true;
        def.body = body;
        let _ = Pattern::Ignore;
        ((self.errors.len() == errors).then_some(func), made, value)
    }

    /// Packs every size of a type that is not a number: the type of what a session keeps.
    fn pack_all(&mut self, e: Expr) -> Expr {
        let t = self.zonk(&e.ty);
        let mut sizes: Vec<crate::SizeExpr> = Vec::new();
        collect_open_sizes(&t, &mut sizes);
        self.pack_sizes(e, &t, sizes)
    }

    /// Packs the sizes that were opened inside: from `first` on.
    pub(super) fn pack_opened(&mut self, e: Expr, first: usize) -> Expr {
        let t = self.zonk(&e.ty);
        let mut sizes: Vec<crate::SizeExpr> = Vec::new();
        collect_open_sizes(&t, &mut sizes);
        sizes.retain(|s| {
            let mut own = false;
            s.visit_vars(&mut |v| own |= matches!(v, crate::SizeVar::Open(o) if o.index() >= first));
            own
        });
        self.pack_sizes(e, &t, sizes)
    }

    fn pack_sizes(&mut self, e: Expr, t: &Ty, sizes: Vec<crate::SizeExpr>) -> Expr {
        if sizes.is_empty() {
            return e;
        }
        let mut vars = Vec::new();
        for _ in &sizes {
            self.program.bound_names.push("n".into());
            vars.push(crate::SizeVar::Bound(self.program.bound_names.len() as u32 - 1));
        }
        let inner = replace_sizes(t, &sizes, &vars);
        let span = e.span;
        mk(ExprKind::Pack { value: Box::new(e), witnesses: sizes }, Ty::exists(vars, inner), span)
    }

    pub(super) fn take_body(&mut self) -> BodyCx {
        std::mem::take(&mut self.body)
    }
}

/// What `return` gives.
pub(super) const RESULT: &str = "the result";

fn collect_open_sizes(t: &Ty, out: &mut Vec<crate::SizeExpr>) {
    let mut dims = |s: &[Dim]| {
        for d in s {
            if let Dim::Size(e) = d
                && e.as_const().is_none()
                && !out.contains(e)
            {
                out.push(e.clone());
            }
        }
    };
    match t {
        Ty::Tensor(_, s) => dims(s),
        Ty::Stack(s, elem) => {
            dims(s);
            collect_open_sizes(elem, out);
        }
        Ty::Tuple(items) => items.iter().for_each(|t| collect_open_sizes(t, out)),
        Ty::Struct(_, args) => {
            for a in args {
                match a {
                    crate::ty::GenericArg::Size(e) => {
                        if e.as_const().is_none() && !out.contains(e) {
                            out.push(e.clone());
                        }
                    }
                    crate::ty::GenericArg::Ty(t) => collect_open_sizes(t, out),
                    crate::ty::GenericArg::Shape(_)
                    | crate::ty::GenericArg::Dtype(_)
                    | crate::ty::GenericArg::Fn(_) => {}
                }
            }
        }
        Ty::Error | Ty::Never | Ty::Param(_) | Ty::Fn(_) | Ty::Str | Ty::Rng | Ty::Exists(..) | Ty::Infer(_) => {}
    }
}

fn replace_sizes(t: &Ty, sizes: &[crate::SizeExpr], vars: &[crate::SizeVar]) -> Ty {
    let size = |e: &crate::SizeExpr| match sizes.iter().position(|s| s == e) {
        Some(i) => crate::SizeExpr::var(vars[i]),
        None => e.clone(),
    };
    let dims = |s: &[Dim]| -> Vec<Dim> {
        s.iter()
            .map(|d| match d {
                Dim::Size(e) => Dim::Size(size(e)),
                Dim::Spread(_) => d.clone(),
            })
            .collect()
    };
    match t {
        Ty::Tensor(e, s) => Ty::Tensor(*e, dims(s)),
        Ty::Stack(s, elem) => Ty::stack(dims(s), replace_sizes(elem, sizes, vars)),
        Ty::Tuple(items) => Ty::Tuple(items.iter().map(|t| replace_sizes(t, sizes, vars)).collect()),
        Ty::Struct(id, args) => {
            let arg = |a: &crate::ty::GenericArg| match a {
                crate::ty::GenericArg::Size(e) => crate::ty::GenericArg::Size(size(e)),
                crate::ty::GenericArg::Ty(t) => crate::ty::GenericArg::Ty(replace_sizes(t, sizes, vars)),
                other => other.clone(),
            };
            Ty::Struct(*id, args.iter().map(arg).collect())
        }
        other => other.clone(),
    }
}
