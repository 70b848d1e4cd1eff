//! Calls: of functions, methods, function values, callable structs; pipes.

use std::cell::RefCell;

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A, Ident};

use super::arguments::mentions_infer;
use super::errors::{error_expr, mk};
use super::field::Base;
use super::{Checker, Def, Entry, Node};
use crate::ids::*;
use crate::subst::Bindings;
use crate::thir::{Arg, Callee, Expr, ExprKind};
use crate::ty::{Dim, Dtype, Elem, FnParam, FnTy, GenericArg, Kind, Ty};

/// An argument: still to be checked, or a piped value.
pub(super) struct CallArg<'e> {
    pub label: Option<&'e Ident>,
    pub value: ArgValue<'e>,
}

pub(super) enum ArgValue<'e> {
    Ast(&'e ast::Expr),
    Ready(Box<Expr>),
}

impl<'e> CallArg<'e> {
    fn from_ast(arg: &'e ast::Arg) -> CallArg<'e> {
        CallArg { label: arg.label.as_ref(), value: ArgValue::Ast(&arg.value) }
    }

    pub fn span(&self) -> Span {
        match &self.value {
            ArgValue::Ast(e) => e.span,
            ArgValue::Ready(e) => e.span,
        }
    }

    pub fn is_lambda(&self) -> bool {
        matches!(&self.value, ArgValue::Ast(e) if matches!(e.kind, A::Lambda { .. }))
    }
}

pub(super) type Args<'e> = Vec<CallArg<'e>>;

/// What a call is made to, for messages.
pub(super) struct Target<'t> {
    pub name: &'t str,
    pub params: &'t [FnParam],
    /// Places of the parameters' declarations.
    pub spans: Vec<Option<Span>>,
    pub defaults: Vec<bool>,
    pub size_params: Vec<Option<crate::SizeExpr>>,
    pub func: Option<FnId>,
    /// Where the callee is declared.
    pub declared: Option<Span>,
    /// What is called, and what to say of it.
    pub callee: Option<Span>,
    /// The field that is called, if it is one.
    pub field: Option<(StructId, usize)>,
    /// Places of the arguments seen so far.
    pub given: RefCell<Vec<Option<Span>>>,
}

impl Checker<'_> {
    /// Arguments as written: those with a label come last, else it is reported.
    pub(super) fn written_args<'e>(&mut self, args: &'e [ast::Arg]) -> Option<Args<'e>> {
        let label = args.iter().find_map(|a| a.label.as_ref());
        let late = args.iter().skip_while(|a| a.label.is_none()).find(|a| a.label.is_none());
        if let (Some(label), Some(late)) = (label, late) {
            let text = "an argument without a label stands before those with one".to_owned();
            let d = Diagnostic::error(code::E0303, text, late.value.span, "no label");
            self.error(d.label(label.span, "the first label"));
            return None;
        }
        Some(args.iter().map(CallArg::from_ast).collect())
    }

    pub(super) fn pipe(&mut self, value: &ast::Expr, target: &ast::Expr, hint: Option<&Ty>, span: Span) -> Expr {
        let v = self.expr(value, None);
        if let A::Call { callee, args, .. } = &target.kind
            && args.iter().any(|a| matches!(a.value.kind, A::Placeholder))
        {
            let Some(args) = self.written_args(args) else { return error_expr(span) };
            self.body.piped.push(Some(v));
            let e = self.call(callee, args, hint, span);
            self.body.piped.pop();
            return e;
        }
        if let A::Call { args, .. } = &target.kind
            && let Some(at) = args.iter().find_map(|a| hole_in(&a.value))
        {
            self.error(
                Diagnostic::error(code::E0303, "`_` stands for a whole argument only", at, "a part of one")
                    .help("name the value: `x |> (|v| f(v + 1, 3))`, or bind it with `let` before"),
            );
            return error_expr(span);
        }
        self.call(target, vec![CallArg { label: None, value: ArgValue::Ready(Box::new(v)) }], hint, span)
    }

    pub(super) fn call(&mut self, callee: &ast::Expr, args: Args<'_>, hint: Option<&Ty>, span: Span) -> Expr {
        if self.call_changes(callee) {
            let name = Ident { name: "call".into(), span: callee.span };
            return self.method_call(callee, &name, args, hint, span);
        }
        match &callee.kind {
            A::Name(name) => match self.entry_of(&name.name) {
                Some(Entry::Generic(id)) => {
                    if let Kind::Dtype(_) = self.program.generics[id.index()].kind {
                        return self.conversion(Elem::Param(id), args, span);
                    }
                    let f = self.expr(callee, None);
                    self.apply(f, args, hint, span)
                }
                Some(Entry::Local(_) | Entry::Size(_)) => {
                    let f = self.expr(callee, None);
                    self.apply(f, args, hint, span)
                }
                None => match self.def_of(&name.name) {
                    Some(Def::Fn(id)) => {
                        if let Some(e) = self.logsumexp_of(id, &args, span, callee.span) {
                            return e;
                        }
                        let mut args = args;
                        if let Some(e) = self.of_tree(id, &mut args, hint, span) {
                            return e;
                        }
                        match self.along_axis(id, &mut args, span, callee.span) {
                            Some(e) => e,
                            None => self.call_fn(id, None, None, args, hint, span, callee.span),
                        }
                    }
                    Some(_) => {
                        let f = self.expr(callee, None);
                        self.apply(f, args, hint, span)
                    }
                    None => {
                        if let Some(d) = Dtype::from_name(&name.name) {
                            return self.conversion(Elem::Dtype(d), args, span);
                        }
                        if let Some(row) = super::builtin::find(&name.name) {
                            return self.call_builtin(row, args, hint, span);
                        }
                        self.unknown_name(name, "function");
                        self.hush(name);
                        self.check_loosely(args);
                        error_expr(span)
                    }
                },
            },
            A::Field { base, name } => match self.base_of(base) {
                Base::Module(m) => match self.member(m, name) {
                    Some(Def::Fn(id)) => self.call_fn(id, None, None, args, hint, span, callee.span),
                    Some(def) => {
                        let f = self.def_value(def, &name.name, callee.span);
                        self.apply(f, args, hint, span)
                    }
                    None => {
                        self.check_loosely(args);
                        error_expr(span)
                    }
                },
                Base::Struct(id, sargs) => match self.method_of(id, &name.name) {
                    Some(func) => self.call_fn(func, Some(&sargs), None, args, hint, span, callee.span),
                    None => {
                        self.unknown_method(id, name);
                        self.check_loosely(args);
                        error_expr(span)
                    }
                },
                Base::Tree => {
                    let full = format!("tree.{}", name.name);
                    match super::builtin::find(&full) {
                        Some(row) => self.call_builtin(row, args, hint, span),
                        None => {
                            let mut d =
                                Diagnostic::error(code::E0203, format!("there is no `{full}`"), name.span, "not known");
                            let all = super::builtin::names().filter_map(|n| n.strip_prefix("tree."));
                            if let Some(near) = super::names::nearest(&name.name, all) {
                                d = d.fix(format!("did you mean `{near}`?"), name.span, near);
                            }
                            self.error(d);
                            error_expr(span)
                        }
                    }
                }
                Base::Error => {
                    self.check_loosely(args);
                    error_expr(span)
                }
                Base::Value => self.method_call(base, name, args, hint, span),
            },
            A::Index { base, items, .. } => {
                // explicit arguments: `blank[Mlp[128]]()`
                if let A::Name(n) = &base.kind
                    && self.entry_of(&n.name).is_none()
                    && let Some(Def::Fn(id)) = self.def_of(&n.name)
                {
                    let as_type = ast::Expr { kind: callee.kind.clone(), span: callee.span };
                    let _ = items;
                    let generics = self.program.fns[id.index()].generics.clone();
                    if let Some(t) = super::lower::expr_to_type(&as_type)
                        && let ast::TypeKind::Path { args: groups, .. } = &t.kind
                        && let Some(group) = groups.first()
                    {
                        let defaults = vec![None; generics.len()];
                        let given = self.generic_args(
                            &generics,
                            &defaults,
                            group,
                            &n.name,
                            callee.span,
                            super::lower::Omitted::Infer,
                        );
                        return match given {
                            Some(given) => self.call_fn(id, Some(&given), None, args, hint, span, callee.span),
                            None => {
                                self.check_loosely(args);
                                error_expr(span)
                            }
                        };
                    }
                }
                let f = self.expr(callee, None);
                self.apply(f, args, hint, span)
            }
            _ => {
                let f = self.expr(callee, None);
                self.apply(f, args, hint, span)
            }
        }
    }

    /// For the errors in them alone.
    pub(super) fn check_loosely(&mut self, args: Args<'_>) {
        for a in args {
            let ArgValue::Ast(e) = a.value else { continue };
            let lambda = matches!(e.kind, A::Lambda { .. });
            // a type where nobody knows whether one is taken
            if !lambda && !self.looks_like_type(e) {
                self.expr(e, None);
            }
        }
    }

    fn looks_like_type(&self, e: &ast::Expr) -> bool {
        match &e.kind {
            A::Type(_) => true,
            A::Name(n) => match self.entry_of(&n.name) {
                Some(Entry::Generic(id)) => self.program.generics[id.index()].kind != Kind::Size,
                Some(Entry::Local(_) | Entry::Size(_)) => false,
                None => {
                    Dtype::from_name(&n.name).is_some()
                        || matches!(self.def_of(&n.name), Some(Def::Struct(_) | Def::Alias(_)))
                }
            },
            A::Index { base, .. } => self.looks_like_type(base),
            _ => false,
        }
    }

    /// Applies a value: a function, or a struct with a method `call`.
    pub(super) fn apply(&mut self, f: Expr, args: Args<'_>, hint: Option<&Ty>, span: Span) -> Expr {
        let t = self.zonk(&f.ty);
        match &t {
            Ty::Error | Ty::Never => {
                self.check_loosely(args);
                error_expr(span)
            }
            Ty::Fn(ft) => {
                if let ExprKind::Fn { func, generics } = &f.kind {
                    // a function item that was piped to, or named through a module
                    let (func, generics) = (*func, generics.clone());
                    return self.call_fn(func, Some(&generics), None, args, hint, span, f.span);
                }
                self.call_value(f, &ft.clone(), args, hint, span)
            }
            Ty::Struct(id, sargs) => match self.method_of(*id, "call") {
                Some(func) if self.takes_mut_self(func) => {
                    self.fixed_receiver("call", f.span);
                    self.check_loosely(args);
                    error_expr(span)
                }
                Some(func) => {
                    let sargs = sargs.clone();
                    let at = f.span;
                    self.call_fn(func, Some(&sargs), Some(Arg::Value(f)), args, hint, span, at)
                }
                None => {
                    let name = self.program.structs[id.index()].name.clone();
                    let def = &self.program.structs[id.index()];
                    if !self.broken.contains(&(def.module, name.clone())) {
                        let text = format!("`{name}` cannot be called: it has no method `call`");
                        let label = format!("this is {}", self.show_ty(&t));
                        self.error(
                            Diagnostic::error(code::E0304, text, f.span, label)
                                .label(self.program.structs[id.index()].span, "defined here")
                                .help(format!("give it one: `impl {name} {{ fn call(self, x: …) -> … = … }}`")),
                        );
                    }
                    self.check_loosely(args);
                    error_expr(span)
                }
            },
            Ty::Param(id) => {
                let name = Ident { name: "call".into(), span: f.span };
                self.interface_call(*id, Arg::Value(f), t.clone(), &name, args, hint, span)
            }
            Ty::Infer(i) => {
                // a value whose type is not known, applied: a function of these arguments
                let mut values = Vec::new();
                for a in args {
                    match a.value {
                        ArgValue::Ast(e) => values.push(self.expr(e, None)),
                        ArgValue::Ready(e) => values.push(*e),
                    }
                }
                let params = values.iter().map(|v| FnParam { name: None, ty: v.ty.clone(), mutable: false }).collect();
                let result = self.body.store.new_ty();
                let ft = Ty::Fn(FnTy { generics: Vec::new(), params, result: result.clone(), io: false }.into());
                self.body.store.tys[*i as usize] = Some(ft);
                let args = values.into_iter().map(Arg::Value).collect();
                mk(ExprKind::CallValue { callee: Box::new(f), args }, result, span)
            }
            Ty::Tensor(..) | Ty::Tuple(_) | Ty::Stack(..) | Ty::Str | Ty::Rng | Ty::Exists(..) => {
                let text = format!("{} cannot be called", self.show_ty(&t));
                let mut d = Diagnostic::error(code::E0304, text, f.span, "not a function");
                if matches!(t, Ty::Tensor(..)) {
                    d = d.help("to index write `x[i]`, to multiply write `*`");
                }
                self.error(d);
                self.check_loosely(args);
                error_expr(span)
            }
        }
    }

    fn call_value(&mut self, f: Expr, ft: &FnTy, args: Args<'_>, hint: Option<&Ty>, span: Span) -> Expr {
        let generics = self.fresh_args(&ft.generics);
        let ft = ft.subst(&Bindings::new(&ft.generics, &generics));
        let name = match &f.kind {
            ExprKind::Local(id) => self.body.locals[id.index()].name.to_string(),
            _ => "this function".into(),
        };
        let n = ft.params.len();
        let target = Target {
            name: &name,
            params: &ft.params,
            spans: vec![None; n],
            defaults: vec![false; n],
            size_params: vec![None; n],
            func: None,
            declared: None,
            callee: Some(f.span),
            field: None,
            given: RefCell::new(vec![None; n]),
        };
        let result = ft.result.clone();
        let Some(args) = self.arguments(&target, 0, Vec::new(), args, span, Some((&result, hint))) else {
            return error_expr(span);
        };
        self.run_pending();
        let ty = self.zonk(&result);
        self.call_io(ft.io, &name, span);
        let e = mk(ExprKind::CallValue { callee: Box::new(f), args }, ty, span);
        self.open(e, &format!("`{name}`"))
    }

    pub(super) fn call_io(&mut self, io: bool, name: &str, span: Span) {
        if io && !self.body.io {
            let text = format!("`{name}` touches files, the clock or the network, so only an `io fn` may call it");
            let mut d = Diagnostic::error(code::E0313, text, span, "called from a pure function");
            if let Some((own, at)) = &self.body.own {
                d = d.label(*at, format!("`{own}` is no `io fn`"));
            }
            self.error(d.help("declare the calling function `io fn`, or call it in `main` and pass the value on"));
        }
    }

    pub(super) fn require_io(&mut self, name: &str, span: Span) {
        self.call_io(true, name, span);
    }

    /// Calls a function item. `given`: known arguments in brackets; `receiver`: the value of `self`.
    pub(super) fn call_fn(
        &mut self,
        id: FnId,
        given: Option<&[GenericArg]>,
        receiver: Option<Arg>,
        args: Args<'_>,
        hint: Option<&Ty>,
        span: Span,
        callee_span: Span,
    ) -> Expr {
        self.body.calls.push((Node::Fn(id), span));
        let inst = self.instantiate(id, given);
        if self.program.fns[id.index()].self_struct.is_none()
            && let Some(given) = given
        {
            for (own, known) in inst.args.iter().zip(given) {
                let _ = self.unify_arg(own, known);
            }
        }
        let def = &self.program.fns[id.index()];
        let (name, io) = (def.name.clone(), def.io);
        let generics = def.generics.clone();
        let is_method = def.params.first().is_some_and(|p| &*p.name == "self");
        let spans = def.params.iter().map(|p| Some(p.span)).collect();
        let asts = self.sigs[id.index()].ast;
        let has_default = |i: usize| asts.is_some_and(|f| f.params.get(i).is_some_and(|p| p.default.is_some()));
        let defaults = (0..inst.params.len()).map(has_default).collect();
        if receiver.is_some() && !is_method {
            let text = format!("`{name}` takes no `self`: call it on the struct");
            let short = name.split('.').next().unwrap_or("S").to_string();
            self.error(
                Diagnostic::error(code::E0303, text, callee_span, "called on a value")
                    .help(format!("write `{short}.{}(…)`", name.rsplit('.').next().unwrap_or(""))),
            );
            return error_expr(span);
        }
        let field = match &receiver {
            Some(Arg::Value(f)) if f.span == callee_span => self.field_called(f),
            Some(_) | None => None,
        };
        let mut done = Vec::new();
        if let Some(r) = receiver {
            if let Arg::Value(v) = &r
                && let Err(why) = self.unify(&inst.params[0].ty, &v.ty)
            {
                self.mismatch(&inst.params[0].ty.clone(), &v.ty.clone(), &why, v.span, "`self`");
            }
            done.push(r);
        }
        // `i64` parameters that are sizes, and their defaults
        let target = Target {
            name: &name,
            params: &inst.params,
            spans,
            defaults,
            size_params: inst.size_params.clone(),
            func: Some(id),
            declared: Some(self.program.fns[id.index()].name_span).filter(|at| self.one_file(*at, span)),
            callee: Some(callee_span),
            field,
            given: RefCell::new(vec![None; inst.params.len()]),
        };
        let skip = done.len();
        let type_params = self.sigs[id.index()].type_params.clone();
        let args = if type_params.is_empty() { args } else { self.type_arguments(&type_params, &inst, skip, args) };
        self.body.call_args.push((id, inst.args.clone()));
        let checked = self.arguments(&target, skip, done, args, span, Some((&inst.result, hint)));
        self.body.call_args.pop();
        let Some(args) = checked else {
            // the result is still of use if it does not depend on what failed
            let own = self.program.fns[id.index()].self_generics;
            let again = self.instantiate(id, Some(&inst.args[..own]).filter(|_| own > 0));
            let t = self.zonk(&again.result);
            let known = !super::errors::has_error(&t) && !mentions_infer(&t) && !matches!(t, Ty::Exists(..));
            return mk(ExprKind::Error, if known { t } else { Ty::Error }, span);
        };
        for (i, arg) in args.iter().enumerate() {
            if let (Arg::Default, Some(size)) = (arg, &inst.size_params[i])
                && let Some(value) = asts.and_then(|f| f.params[i].default.as_ref())
                && let Some(known) = self.pure_size(value)
            {
                let _ = self.unify_size(size, &known);
            }
        }
        self.check_kinds(&generics, &inst.args, &inst.bindings, span);
        if let Some(h) = hint {
            let _ = self.try_unify(h, &inst.result);
        }
        self.run_pending();
        if let Err(why) = self.solve_pending() {
            let t = self.zonk(&inst.result);
            self.mismatch(&t, &t, &why, span, &format!("sizes of `{name}`"));
        }
        let clauses = self.sigs[id.index()].clauses.clone();
        let errors = self.errors.len();
        self.prove_clauses(&clauses, &inst.bindings, &name, span);
        self.call_io(io, &name, span);
        if self.errors.len() > errors {
            return error_expr(span);
        }
        let ty = self.zonk(&inst.result);
        // a signature with an error says too little to find out the rest
        if inst.params.iter().any(|p| super::errors::has_error(&p.ty)) {
            let known = !super::errors::has_error(&ty) && !mentions_infer(&ty) && !matches!(ty, Ty::Exists(..));
            return mk(ExprKind::Error, if known { ty } else { Ty::Error }, span);
        }
        let sizes: Vec<crate::SizeExpr> = inst
            .args
            .iter()
            .filter_map(|a| match a {
                GenericArg::Size(e) => Some(e.clone()),
                GenericArg::Shape(_) | GenericArg::Dtype(_) | GenericArg::Ty(_) | GenericArg::Fn(_) => None,
            })
            .collect();
        let mut result_sizes = sizes;
        if let Ty::Tensor(_, dims) | Ty::Stack(dims, _) = &ty {
            result_sizes.extend(dims.iter().filter_map(|d| match d {
                Dim::Size(e) => Some(e.clone()),
                Dim::Spread(_) => None,
            }));
        }
        result_sizes.dedup();
        let e = mk(ExprKind::Call { callee: Callee::Fn(id), generics: inst.args, args }, ty, span);
        let e = self.guard_sizes(e, &result_sizes, span);
        self.open(e, &format!("`{name}`"))
    }
}

/// Where `_` stands inside of an expression that is computed with it.
fn hole_in(e: &ast::Expr) -> Option<Span> {
    match &e.kind {
        A::Placeholder => Some(e.span),
        A::Unary { operand: e, .. }
        | A::As { value: e, .. }
        | A::Field { base: e, .. }
        | A::TupleField { base: e, .. } => hole_in(e),
        A::Binary { left, right, .. } | A::Compare { left, right, .. } | A::And(left, right) | A::Or(left, right) => {
            hole_in(left).or_else(|| hole_in(right))
        }
        A::Array(items) | A::Tuple(items) => items.iter().find_map(hole_in),
        A::Call { callee, args, .. } => hole_in(callee).or_else(|| args.iter().find_map(|a| hole_in(&a.value))),
        A::Index { base, items, .. } => hole_in(base).or_else(|| {
            items.iter().find_map(|i| match i {
                ast::IndexItem::Expr(e) => hole_in(e),
                _ => None,
            })
        }),
        _ => None,
    }
}
