//! Expressions: literals, names, tuples, arrays, struct literals, `if`, `as`; the rest is in the files beside this one.

use std::sync::Arc;

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A, StrPiece};

use super::contents::MAX_PARTS;
use super::errors::{error_expr, mk};
use super::lower::Omitted;
use super::store::Class;
use super::{Checker, Def, Entry, Node};
use crate::size::SizeExpr;
use crate::subst::Bindings;
use crate::thir::{Expr, ExprKind, SizeCheck, TextPiece};
use crate::ty::{Dim, GenericArg, Kind, Ty};

impl Checker<'_> {
    /// An expression whose type is found from inside; `hint` may settle what is open. Unknown sizes are opened.
    pub(super) fn expr(&mut self, e: &ast::Expr, hint: Option<&Ty>) -> Expr {
        let out = self.expr_inner(e, hint);
        self.open(out, "")
    }

    pub(super) fn expr_inner(&mut self, e: &ast::Expr, hint: Option<&Ty>) -> Expr {
        let errors = self.errors.len();
        let out = self.expr_kind(e, hint);
        if matches!(out.kind, ExprKind::Error) && self.errors.len() == errors {
            self.blame_leaving(e);
        }
        out
    }

    /// What leaves where a value is needed, if that may be why an expression has no type.
    fn blame_leaving(&mut self, e: &ast::Expr) {
        let mut parts: Vec<&ast::Expr> = Vec::new();
        match &e.kind {
            A::Call { args, .. } => parts.extend(args.iter().map(|a| &a.value)),
            A::Index { base, items, .. } => {
                parts.push(base);
                parts.extend(items.iter().filter_map(|i| match i {
                    ast::IndexItem::Expr(e) => Some(e),
                    _ => None,
                }));
            }
            A::Field { base, .. } | A::TupleField { base, .. } => parts.push(base),
            A::Pipe { value, .. } | A::As { value, .. } => parts.push(value),
            _ => {}
        }
        if let Some(part) = parts.into_iter().find(|p| always_leaves(p)) {
            self.leaves(part.span);
        }
    }

    /// An expression that must have a type.
    pub(super) fn check(&mut self, e: &ast::Expr, expected: &Ty) -> Expr {
        self.check_as(e, expected, "")
    }

    /// As [`Self::check`]; `what` says whose type it is.
    pub(super) fn check_as(&mut self, e: &ast::Expr, expected: &Ty, what: &str) -> Expr {
        let expected = self.zonk(expected);
        match &e.kind {
            A::Lambda { .. } => {
                if let Ty::Fn(f) = &expected {
                    return self.check_lambda(e, f);
                }
            }
            A::If { cond, then, els } => {
                return self.if_expr(cond, then, els.as_deref(), Some(&expected), what, e.span);
            }
            A::Block(b) => {
                let block = self.block(b, Some(&expected), what);
                let ty = self.block_type(&block, &expected);
                return self.settled(mk(ExprKind::Block(block), ty, e.span));
            }
            _ => {}
        }
        let hint = self.hint_of(&expected);
        let out = self.expr_inner(e, Some(&hint));
        self.coerce(out, &expected, what)
    }

    /// The type with unknowns for its existential sizes.
    pub(super) fn hint_of(&mut self, expected: &Ty) -> Ty {
        match expected {
            Ty::Exists(vars, inner) => {
                let fresh: Vec<(_, SizeExpr)> = vars.iter().map(|v| (*v, self.body.store.new_size())).collect();
                inner.subst(&Bindings::sizes(fresh))
            }
            other => other.clone(),
        }
    }

    fn expr_kind(&mut self, e: &ast::Expr, hint: Option<&Ty>) -> Expr {
        let span = e.span;
        match &e.kind {
            A::Int(v) => {
                let elem = self.body.store.new_elem(Class::IntLit);
                mk(ExprKind::Int(*v), Ty::scalar(elem), span)
            }
            A::Float(v) => {
                let elem = self.body.store.new_elem(Class::FloatLit);
                mk(ExprKind::Float(*v), Ty::scalar(elem), span)
            }
            A::Bool(b) => mk(ExprKind::Bool(*b), Ty::BOOL, span),
            A::Str(pieces) => mk(ExprKind::Text(self.text(pieces)), Ty::Str, span),
            A::Name(name) => self.name(name, hint),
            A::Array(items) => self.array(items, hint, span),
            A::Comprehension { bare: true, .. } => {
                self.bare_comprehension(span);
                error_expr(span)
            }
            A::Comprehension { body, binders, bare: false } => self.comprehension(body, binders, hint, span),
            A::Tuple(items) => {
                let hints: Vec<Option<Ty>> = match hint.map(|h| self.zonk(h)) {
                    Some(Ty::Tuple(ts)) if ts.len() == items.len() => ts.into_iter().map(Some).collect(),
                    _ => vec![None; items.len()],
                };
                let mut out = Vec::new();
                for (item, h) in items.iter().zip(hints) {
                    out.push(match h {
                        Some(h) if matches!(item.kind, A::Lambda { .. } | A::If { .. } | A::Block(_)) => {
                            self.check(item, &h)
                        }
                        h => self.expr(item, h.as_ref()),
                    });
                }
                let ty = Ty::tuple(out.iter().map(|e| e.ty.clone()).collect());
                if ty.is_larger(MAX_PARTS) {
                    let text = format!("a tuple of more than {MAX_PARTS} parts, those of its parts counted");
                    self.error(
                        Diagnostic::error(code::E0603, text, span, "here").help("put what is alike into one array"),
                    );
                    return error_expr(span);
                }
                mk(ExprKind::Tuple(out), ty, span)
            }
            A::Struct { ty, fields } => self.struct_literal(ty, fields, hint, span),
            A::Unary { op, operand, .. } => self.unary(*op, operand, hint, span),
            A::Binary { op, op_span, left, right } => self.binary(*op, *op_span, left, right, hint, span),
            A::Compare { op, op_span, left, right } => self.compare(*op, *op_span, left, right, span),
            A::And(a, b) => self.logic(true, a, b, span),
            A::Or(a, b) => self.logic(false, a, b, span),
            A::Pipe { value, target, .. } => self.pipe(value, target, hint, span),
            A::As { value, ty } => self.as_expr(value, ty, span),
            A::Range { .. } => {
                self.error(
                    Diagnostic::error(code::E0309, "a range is no value", span, "ranges stand after `in`")
                        .help("for a tensor of numbers write `arange(i64[n])`"),
                );
                error_expr(span)
            }
            A::Call { callee, args, .. } => {
                let Some(args) = self.written_args(args) else { return error_expr(span) };
                self.call(callee, args, hint, span)
            }
            A::Index { base, items, .. } => self.index(base, items, span),
            A::Field { base, name } => self.field(base, name, span),
            A::TupleField { base, index, index_span } => {
                let base = self.expr(base, None);
                self.tuple_field(base, *index, *index_span, span)
            }
            A::Lambda { .. } => self.lambda(e, hint),
            A::If { cond, then, els } => self.if_expr(cond, then, els.as_deref(), None, "", span),
            A::Block(b) => {
                let block = self.block(b, None, "");
                let ty = self.block_type(&block, &Ty::unit());
                self.settled(mk(ExprKind::Block(block), ty, span))
            }
            A::Break | A::Continue | A::Return(_) => {
                self.error(
                    Diagnostic::error(
                        code::E0310,
                        "`return`, `break` and `continue` stand as statements",
                        span,
                        "inside of an expression",
                    )
                    .help("put it on a line of its own, in an `if … { }` if need be"),
                );
                error_expr(span)
            }
            A::Type(_) => {
                self.error(Diagnostic::error(code::E0301, "a type is no value", span, "a value is needed here"));
                error_expr(span)
            }
            A::Placeholder => match self.body.piped.last_mut().map(Option::take) {
                Some(Some(value)) => value,
                Some(None) => {
                    self.error(Diagnostic::error(
                        code::E0303,
                        "`_` stands once in a pipe's target",
                        span,
                        "a second time",
                    ));
                    error_expr(span)
                }
                None => {
                    self.error(
                        Diagnostic::error(code::E0201, "`_` stands for a piped value", span, "nothing is piped here")
                            .help("write `x |> f(_, 3)`"),
                    );
                    error_expr(span)
                }
            },
            A::Error => error_expr(span),
        }
    }

    pub(super) fn text(&mut self, pieces: &[StrPiece]) -> Vec<TextPiece> {
        let mut out = Vec::new();
        for piece in pieces {
            out.push(match piece {
                StrPiece::Text(t) => TextPiece::Text(t.clone()),
                StrPiece::Value { expr, format } => {
                    let value = self.expr(expr, None);
                    self.check_format(format, expr.span);
                    TextPiece::Value { value, format: Arc::clone(format) }
                }
            });
        }
        out
    }

    fn check_format(&mut self, format: &str, span: Span) {
        let (width, rest) = match format.split_once('.') {
            Some((w, p)) => (w, p),
            None => {
                (format.trim_end_matches(['e', 'f', 'd']), &format[format.trim_end_matches(['e', 'f', 'd']).len()..])
            }
        };
        let digits = rest.trim_end_matches(['e', 'f', 'd']);
        let sound = width.trim_start_matches(['<', '>', '^', '+', '0']).bytes().all(|b| b.is_ascii_digit())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && rest.len() - digits.len() <= 1;
        if !sound {
            self.error(
                Diagnostic::error(code::E0316, format!("unknown format `{format}`"), span, "formatted so")
                    .help("formats are a width and a precision: `{x:.4}`, `{x:8}`, `{x:8.3}`, `{x:.3e}`"),
            );
        }
    }

    fn name(&mut self, name: &ast::Ident, hint: Option<&Ty>) -> Expr {
        let span = name.span;
        match self.entry_of(&name.name) {
            Some(Entry::Local(id)) => {
                let ty = self.body.locals[id.index()].ty.clone();
                let e = mk(ExprKind::Local(id), ty, span);
                return self.open(e, &format!("`{}`", name.name));
            }
            Some(Entry::Size(size)) => return mk(ExprKind::Size(size), Ty::I64, span),
            Some(Entry::Generic(id)) => {
                if self.program.generics[id.index()].kind == Kind::Size {
                    return mk(ExprKind::Size(SizeExpr::var(crate::SizeVar::Param(id))), Ty::I64, span);
                }
                if let Kind::Fn(sig) = self.program.generics[id.index()].kind.clone() {
                    return mk(ExprKind::FnParam(id), Ty::Fn(sig), span);
                }
                self.error(Diagnostic::error(
                    code::E0301,
                    format!("`{}` is a type, not a value", name.name),
                    span,
                    "a value is needed here",
                ));
                return error_expr(span);
            }
            None => {}
        }
        match self.def_of(&name.name) {
            Some(def) => self.def_value(def, &name.name, span),
            None => match &*name.name {
                "inf" | "nan" => {
                    let elem = self.body.store.new_elem(Class::FloatLit);
                    let v = if &*name.name == "inf" { f64::INFINITY } else { f64::NAN };
                    mk(ExprKind::Float(v), Ty::scalar(elem), span)
                }
                other => {
                    if let Some(value) = self.builtin_value(other, hint, span) {
                        return value;
                    }
                    if let Some(lambda) = super::builtin::as_lambda(other, span) {
                        return self.lambda(&lambda, hint);
                    }
                    if super::builtin::find(other).is_some() {
                        let text = format!("the built-in `{other}` is called, it is no value");
                        self.error(
                            Diagnostic::error(code::E0308, text, span, "without arguments")
                                .help(format!("write a lambda: `|x| {other}(x)`")),
                        );
                        return error_expr(span);
                    }
                    self.unknown_name(name, "name");
                    self.hush(name);
                    error_expr(span)
                }
            },
        }
    }

    pub(super) fn def_value(&mut self, def: Def, name: &str, span: Span) -> Expr {
        match def {
            Def::Fn(func) => {
                let (generics, ty) = self.fn_value_type(func);
                self.body.calls.push((Node::Fn(func), span));
                mk(ExprKind::Fn { func, generics }, ty, span)
            }
            Def::Const(id) => {
                self.body.calls.push((Node::Const(id), span));
                let ty = self.const_type_of(id, span);
                mk(ExprKind::Const(id), ty, span)
            }
            Def::Struct(_) | Def::Alias(_) | Def::Interface(_) | Def::Module(_) => {
                let what = match def {
                    Def::Struct(_) => "a struct",
                    Def::Module(_) => "a module",
                    Def::Interface(_) => "an interface",
                    Def::Alias(_) | Def::Fn(_) | Def::Const(_) => "a type",
                };
                let mut d = Diagnostic::error(
                    code::E0301,
                    format!("`{name}` is {what}, not a value"),
                    span,
                    "a value is needed here",
                );
                if let Def::Struct(id) = def {
                    let fields = self.program.structs[id.index()].fields.iter().map(|f| format!("{}: …", f.name));
                    d = d.help(format!("write `{name} {{ {} }}`", fields.collect::<Vec<_>>().join(", ")));
                }
                self.error(d);
                error_expr(span)
            }
        }
    }

    fn array(&mut self, items: &[ast::Expr], hint: Option<&Ty>, span: Span) -> Expr {
        let item_hint = match hint.map(|h| self.zonk(h)) {
            Some(Ty::Tensor(e, dims)) if !dims.is_empty() && matches!(dims[0], Dim::Size(_)) => {
                Some(Ty::Tensor(e, dims[1..].to_vec()))
            }
            Some(Ty::Stack(dims, elem)) if matches!(dims[0], Dim::Size(_)) => {
                Some(Ty::stack(dims[1..].to_vec(), (*elem).clone()))
            }
            _ => None,
        };
        if items.is_empty() {
            return match item_hint {
                Some(t) => {
                    let ty = Ty::stack(vec![Dim::Size(SizeExpr::constant(0))], t);
                    mk(ExprKind::Array(Vec::new()), ty, span)
                }
                None => {
                    self.error(
                        Diagnostic::error(code::E0309, "an empty array needs a type", span, "of what?")
                            .help("write `zeros(f32[0])`, for instance"),
                    );
                    error_expr(span)
                }
            };
        }
        let mut out: Vec<Expr> = Vec::new();
        for item in items {
            let e = self.expr(item, item_hint.as_ref());
            match out.first().map(|f| f.ty.clone()) {
                None => out.push(e),
                Some(first) => {
                    self.body.ends.push((ELEMENTS.into(), out[0].span, self.show_ty(&first)));
                    let e = self.coerce(e, &first, ELEMENTS);
                    self.body.ends.pop();
                    out.push(e);
                }
            }
        }
        let elem = self.zonk(&out[0].ty);
        if elem.is_error() || out.iter().any(|e| e.ty.is_error()) {
            return error_expr(span);
        }
        if out.iter().any(|e| matches!(e.ty, Ty::Never)) {
            return self.no_operation(out, span);
        }
        if matches!(elem, Ty::Fn(_) | Ty::Infer(_)) {
            let text = format!("an array of {} cannot be", self.show_ty(&elem));
            self.error(Diagnostic::error(code::E0301, text, span, "elements are tensors or trees"));
            return error_expr(span);
        }
        let ty = Ty::stack(vec![Dim::Size(SizeExpr::constant(out.len() as i64))], elem);
        mk(ExprKind::Array(out), ty, span)
    }

    fn struct_literal(
        &mut self,
        ty: &ast::Type,
        fields: &[(ast::Ident, ast::Expr)],
        hint: Option<&Ty>,
        span: Span,
    ) -> Expr {
        let lowered = self.lower_with(ty, Omitted::Infer);
        let (dims, id, args) = match self.zonk(&lowered) {
            Ty::Struct(id, args) => (Vec::new(), id, args),
            Ty::Stack(dims, elem) => match &*elem {
                Ty::Struct(id, args) => (dims, *id, args.clone()),
                other => {
                    let text = format!("{} has no fields", self.show_ty(other));
                    self.error(Diagnostic::error(code::E0301, text, ty.span, "not a struct"));
                    return error_expr(span);
                }
            },
            Ty::Error => {
                for (_, value) in fields {
                    self.expr(value, None);
                }
                return error_expr(span);
            }
            other => {
                let text = format!("{} is not a struct", self.show_ty(&other));
                self.error(Diagnostic::error(code::E0301, text, ty.span, "not a struct"));
                return error_expr(span);
            }
        };
        if let Some(h) = hint {
            let _ = self.try_unify(h, &lowered);
        }
        let def = self.program.structs[id.index()].clone();
        let bindings = Bindings::new(&def.generics, &args);
        let mut values: Vec<Option<Expr>> = vec![None; def.fields.len()];
        let mut failed = false;
        for (name, value) in fields {
            let Some(at) = def.fields.iter().position(|f| *f.name == *name.name) else {
                self.unknown_field(&def.fields, &def.name, name);
                self.expr(value, None);
                failed = true;
                continue;
            };
            if values[at].is_some() {
                self.duplicate(name, "field", values[at].as_ref().map(|e| e.span));
                continue;
            }
            let want = Ty::stack(dims.clone(), def.fields[at].ty.subst(&bindings));
            let what = format!("field `{}` of `{}`", name.name, def.name);
            self.body.ends.push((what.clone(), def.fields[at].span, "the field".into()));
            let e = self.check_as(value, &want, &what);
            self.body.ends.pop();
            failed |= e.ty.is_error();
            values[at] = Some(e);
        }
        let missing: Vec<&str> =
            def.fields.iter().zip(&values).filter(|(_, v)| v.is_none()).map(|(f, _)| &*f.name).collect();
        if !missing.is_empty() {
            if !failed {
                let text = format!("`{}` lacks {}", def.name, quoted(&missing));
                let more: Vec<String> = missing.iter().map(|m| format!("{m}: …")).collect();
                let mut d =
                    Diagnostic::error(code::E0303, text, span, "incomplete").help(format!("add `{}`", more.join(", ")));
                if let Some(f) = def.fields.iter().find(|f| *f.name == *missing[0]) {
                    d = d.label(f.span, "this field");
                }
                self.error(d);
            }
            return error_expr(span);
        }
        if failed {
            // the type is still of use to what follows
            let t = self.zonk(&lowered);
            return mk(ExprKind::Error, if super::errors::has_error(&t) { Ty::Error } else { t }, span);
        }
        self.check_kinds(&def.generics, &args, &bindings, span);
        let clauses = self.struct_infos[id.index()].clauses.clone();
        self.prove_clauses(&clauses, &bindings, &def.name, span);
        let fields: Vec<Expr> = values.into_iter().flatten().collect();
        if dims.is_empty() {
            return mk(ExprKind::Struct { id, generics: args, fields }, lowered, span);
        }
        mk(ExprKind::StructStack { fields }, lowered, span)
    }

    /// A scalar bool.
    pub(super) fn condition(&mut self, e: &ast::Expr) -> Expr {
        let out = self.with_temps(|cx| cx.expr(e, None));
        let t = self.zonk(&out.ty);
        match &t {
            Ty::Error | Ty::Never => {}
            t if *t == Ty::BOOL => {}
            Ty::Tensor(elem, dims) if *elem == crate::ty::Elem::Dtype(crate::ty::Dtype::Bool) && !dims.is_empty() => {
                let text = format!("a condition is one bool, got {}", self.show_ty(&t));
                let x = self.quoted(e.span, false);
                self.error(
                    Diagnostic::error(code::E0301, text, e.span, format!("this is {}", self.show_ty(&t)))
                        .help(format!("write `all({x})` or `any({x})`")),
                );
            }
            _ => {
                let text = format!("a condition is a bool, got {}", self.show_ty(&t));
                let mut d = Diagnostic::error(code::E0301, text, e.span, format!("this is {}", self.show_ty(&t)));
                if let Ty::Tensor(_, dims) = &t {
                    let test = format!("{} != 0", self.quoted(e.span, true));
                    d = d.help(match dims.is_empty() {
                        true => format!("compare it: `{test}`"),
                        false => format!("compare it: `any({test})` or `all({test})`"),
                    });
                }
                self.error(d);
            }
        }
        out
    }

    fn as_expr(&mut self, value: &ast::Expr, ty: &ast::Type, span: Span) -> Expr {
        let target = self.lower(ty);
        if target.is_error() {
            self.expr(value, None);
            return error_expr(span);
        }
        // what a file holds is known only through the type it is loaded as
        let hint = self.hint_of(&target);
        if let Some(e) = self.loading(value, &target, span) {
            return e;
        }
        let e = self.expr(value, Some(&hint));
        let found = self.zonk(&e.ty);
        if found.is_error() {
            return error_expr(span);
        }
        let mut checks = Vec::new();
        if let Err(why) = self.view_as(&hint, &found, &mut checks) {
            self.as_mismatch(&hint, &found, &why, (value.span, span));
            return error_expr(span);
        }
        let result = self.zonk(&hint);
        if checks.is_empty() {
            return mk(ExprKind::As { value: Box::new(e), checks }, result, span);
        }
        mk(ExprKind::As { value: Box::new(e), checks }, result, span)
    }

    /// Unifies all but known sizes, whose equality is checked at run time.
    fn view_as(&mut self, target: &Ty, found: &Ty, checks: &mut Vec<SizeCheck>) -> super::store::Unified {
        use super::store::Mismatch;
        match (self.zonk(target), self.zonk(found)) {
            (Ty::Tensor(e, want), Ty::Tensor(f, have)) => {
                self.unify_elem(e, f)?;
                self.view_dims(&want, &have, checks)
            }
            (Ty::Stack(want, x), Ty::Stack(have, y)) => {
                self.view_dims(&want, &have, checks)?;
                self.unify(&x, &y)
            }
            (Ty::Struct(i, xs), Ty::Struct(j, ys)) if i == j => {
                for (x, y) in xs.iter().zip(&ys) {
                    match (x, y) {
                        (GenericArg::Size(x), GenericArg::Size(y)) => self.view_size(x, y, 0, checks)?,
                        _ => self.unify_arg(x, y)?,
                    }
                }
                Ok(())
            }
            (Ty::Tuple(xs), Ty::Tuple(ys)) if xs.len() == ys.len() => {
                xs.iter().zip(&ys).try_for_each(|(x, y)| self.view_as(x, y, checks))
            }
            (a, b) => {
                self.unify(&a, &b)?;
                Ok::<(), Mismatch>(())
            }
        }
    }

    fn view_dims(&mut self, want: &[Dim], have: &[Dim], checks: &mut Vec<SizeCheck>) -> super::store::Unified {
        if want.len() != have.len() || super::store::has_spread(want) || super::store::has_spread(have) {
            return self.unify_shape(want, have);
        }
        for (axis, (w, h)) in want.iter().zip(have).enumerate() {
            if let (Dim::Size(w), Dim::Size(h)) = (w, h) {
                self.view_size(w, h, axis, checks)?;
            }
        }
        Ok(())
    }

    fn view_size(
        &mut self,
        want: &SizeExpr,
        have: &SizeExpr,
        axis: usize,
        checks: &mut Vec<SizeCheck>,
    ) -> super::store::Unified {
        match self.unify_size(want, have) {
            Ok(()) => Ok(()),
            Err(why) => {
                let (want, have) = (self.zonk_size(want), self.zonk_size(have));
                if self.facts.reduce(&want.sub(&have)).as_const().is_some() {
                    return Err(why);
                }
                checks.push(SizeCheck { actual: have, expected: want, axis });
                Ok(())
            }
        }
    }
}

/// Whether it ends in `return`, `break` or `continue`, whatever happens.
fn always_leaves(e: &ast::Expr) -> bool {
    let block = |b: &ast::Block| {
        let last = b.stmts.last().is_some_and(|s| matches!(&s.kind, ast::StmtKind::Expr(e) if always_leaves(e)));
        b.result.as_ref().map_or(last, |e| always_leaves(e))
    };
    match &e.kind {
        A::Return(_) | A::Break | A::Continue => true,
        A::Block(b) => block(b),
        A::If { then, els: Some(els), .. } => block(then) && always_leaves(els),
        _ => false,
    }
}

const ELEMENTS: &str = "elements of an array have one type";

pub(super) fn quoted(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}
