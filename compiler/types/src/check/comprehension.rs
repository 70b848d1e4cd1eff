//! Comprehensions and reductions over them.

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, BinderRange, ExprKind as A};

use super::call::{ArgValue, Args, CallArg};
use super::errors::{error_expr, has_error, mk};
use super::ranges::{Index, Origin};
use super::{Checker, Entry};
use crate::ids::FnId;
use crate::size::{SizeExpr, SizeVar};
use crate::thir::{Axis, Binder, Builtin, Expr, ExprKind, Stmt};
use crate::ty::{Dim, Shape, Ty};

/// Makes the reduction of an array over its first axes, as many as the number says.
pub(super) type Wrap<'w> = &'w mut dyn FnMut(&mut Checker<'_>, Expr, usize) -> Expr;

/// What becomes of the elements.
pub(super) enum Use<'w> {
    Array,
    /// A reduction; `nests` says that it may be done axis by axis, so that a range may depend on an index before it.
    Reduction {
        wrap: Wrap<'w>,
        nests: bool,
        name: &'w str,
    },
}

/// A range as written: the first index, how many, and what computes them.
struct Range {
    from: SizeExpr,
    extent: SizeExpr,
    origin: Origin,
}

impl Checker<'_> {
    pub(super) fn comprehension(
        &mut self,
        body: &ast::Expr,
        binders: &[ast::Binder],
        hint: Option<&Ty>,
        span: Span,
    ) -> Expr {
        let hint = hint.map(|h| self.zonk(h)).and_then(|h| element_hint(&h, binders.len()));
        self.over(body, binders, hint.as_ref(), Use::Array, span)
    }

    /// The elements for all indices, as an array or reduced.
    pub(super) fn over(
        &mut self,
        body: &ast::Expr,
        binders: &[ast::Binder],
        hint: Option<&Ty>,
        mut usage: Use<'_>,
        span: Span,
    ) -> Expr {
        if let Some(at) = binders.iter().position(goes_over_rows) {
            return self.over_rows(body, binders, at, hint, usage, span);
        }
        let outermost = self.body.ranges.around.is_empty();
        let before = (self.body.locals.len(), self.body.opens.len());
        let around = self.body.ranges.around.len();
        let facts = self.facts.mark();
        self.push_names();
        let errors = self.errors.len();
        let mut group = 0;
        let mut split = false;
        for b in binders {
            let temps = self.body.temps.len();
            let range = match &b.range {
                BinderRange::Inferred => None,
                BinderRange::Below(e) => self.range_below(e, b.span),
                BinderRange::In(e) => self.range_in(e, b.span),
            };
            if range.is_none() && !matches!(b.range, BinderRange::Inferred) {
                self.bind_index(b, None, before, true);
                group += 1;
                continue;
            }
            if group > 0 && range.as_ref().is_some_and(|r| self.depends(r, temps, &around)) {
                self.body.temps.truncate(temps);
                split = true;
                break;
            }
            self.bind_index(b, range, before, false);
            group += 1;
        }
        let outer_flow = (self.body.result.take(), std::mem::replace(&mut self.body.in_loop, false));
        self.body.depth += 1;
        let piped = std::mem::take(&mut self.body.piped);
        let opened = self.body.opened.clone();
        let value = self.with_temps(|cx| {
            if !split {
                return cx.expr(body, hint);
            }
            let rest = &binders[group..];
            match &mut usage {
                Use::Reduction { wrap, nests: true, name } => {
                    let inner = Use::Reduction { wrap: &mut **wrap, nests: true, name };
                    cx.over(body, rest, hint, inner, span)
                }
                Use::Reduction { nests: false, .. } | Use::Array => {
                    cx.ragged(&rest[0], &usage);
                    error_expr(span)
                }
            }
        });
        // what the elements open is not known outside
        self.body.opened = opened;
        self.body.depth -= 1;
        self.body.piped = piped;
        (self.body.result, self.body.in_loop) = outer_flow;
        self.pop_names();
        self.facts.reset(facts);
        let mine: Vec<usize> = self.body.ranges.around.split_off(around);
        let quiet = self.errors.len() > errors;
        let binders = self.ranges_of(&binders[..group], &mine, span, quiet);
        if outermost {
            self.decide_subscripts();
        }
        let Some(binders) = binders.filter(|_| self.errors.len() == errors || !has_error(&value.ty)) else {
            return error_expr(span);
        };
        let Some(ty) = self.array_type(&value, &binders, before, &usage) else { return error_expr(span) };
        // the size of an axis is never negative; a stated range may be
        let stated = |at: &&usize| matches!(self.body.ranges.indices[**at].extent, Some((_, Origin::Stated(_))));
        let extents: Vec<SizeExpr> = mine
            .iter()
            .filter(stated)
            .filter_map(|at| self.body.ranges.indices[*at].extent.as_ref().map(|(n, _)| self.zonk_size(n)))
            .collect();
        let n = binders.len();
        let e = mk(ExprKind::Comprehension { binders, value: Box::new(value) }, ty, span);
        let e = self.guard_sizes(e, &extents, span);
        match usage {
            Use::Array => e,
            Use::Reduction { wrap, .. } if !e.ty.is_error() => wrap(self, e, n),
            Use::Reduction { .. } => e,
        }
    }

    /// `f(x) for x in xs`: `f(xs[i]) for i`. What it goes over is computed once, before the elements.
    fn over_rows(
        &mut self,
        body: &ast::Expr,
        binders: &[ast::Binder],
        at: usize,
        hint: Option<&Ty>,
        usage: Use<'_>,
        span: Span,
    ) -> Expr {
        let b = &binders[at];
        let BinderRange::In(e) = &b.range else { return error_expr(span) };
        let rows = self.expr(e, None);
        let t = self.zonk(&rows.ty);
        let elements = match &t {
            Ty::Tensor(_, dims) | Ty::Stack(dims, _) if matches!(dims.first(), Some(Dim::Size(_))) => true,
            Ty::Error | Ty::Never => return error_expr(span),
            _ => false,
        };
        if !elements {
            let text = format!("a comprehension goes over a range, or over rows, not over {}", self.show_ty(&t));
            self.error(
                Diagnostic::error(code::E0309, text, e.span, format!("this is {}", self.show_ty(&t)))
                    .help("write `for i < n` or `for i in a..b`"),
            );
            return error_expr(span);
        }
        // generators are drawn from
        let mutable = matches!(&t, Ty::Stack(_, elem) if **elem == Ty::Rng);
        let local = self.temp(rows);
        self.body.locals[local.index()].mutable = mutable;
        let ident = |name: String| ast::Ident { name: name.into(), span: b.name.span };
        let (rows, index) = (ident(format!("<rows of {}>", b.name.name)), ident(format!("<place of {}>", b.name.name)));
        let name = |n: &ast::Ident| ast::Expr { kind: A::Name(n.clone()), span: n.span };
        let items = vec![ast::IndexItem::Expr(name(&index))];
        let row = A::Index { base: Box::new(name(&rows)), items, items_span: b.name.span };
        let row = ast::Expr { kind: row, span: b.name.span };
        let body = with_row(&b.name, mutable, row, body);
        let mut binders = binders.to_vec();
        binders[at] = ast::Binder { name: index, range: BinderRange::Inferred, span: b.span };
        self.push_names();
        self.bind_name(&rows.name, Entry::Local(local));
        let e = self.over(&body, &binders, hint, usage, span);
        self.pop_names();
        e
    }

    /// A reduction over a comprehension without brackets.
    pub(super) fn reduction_of(&mut self, e: &ast::Expr, usage: Use<'_>) -> Expr {
        let A::Comprehension { body, binders, .. } = &e.kind else { return error_expr(e.span) };
        self.over(body, binders, None, usage, e.span)
    }

    /// `logsumexp(e for i)`, a function of the standard library, over all indices.
    pub(super) fn logsumexp_of(&mut self, id: FnId, args: &Args<'_>, span: Span, callee: Span) -> Option<Expr> {
        let [CallArg { label: None, value: ArgValue::Ast(e) }] = args.as_slice() else { return None };
        let def = &self.program.fns[id.index()];
        if &*def.name != "logsumexp" || Some(def.module) != self.prelude() {
            return None;
        }
        let A::Comprehension { bare: true, .. } = e.kind else { return None };
        let mut wrap = |cx: &mut Checker<'_>, x: Expr, n: usize| {
            let Ty::Tensor(elem, dims) = cx.zonk(&x.ty) else {
                let text = format!("`logsumexp` takes a tensor, got {}", cx.show_ty(&x.ty));
                cx.error(Diagnostic::error(code::E0301, text, x.span, "not numbers"));
                return error_expr(span);
            };
            // the axes of the indices last, and as one
            let perm: Vec<Axis> = (n..dims.len()).chain(0..n).map(Axis::FromStart).collect();
            let mut moved: Shape = dims[n..].to_vec();
            moved.extend(dims[..n].iter().cloned());
            let mut flat: Shape = dims[n..].to_vec();
            let sizes = dims[..n].iter().filter_map(|d| match d {
                Dim::Size(e) => Some(e.clone()),
                Dim::Spread(_) => None,
            });
            flat.push(Dim::Size(sizes.fold(SizeExpr::constant(1), |p, e| p.mul(&e))));
            let at = x.span;
            let builtin = |op, x, dims| mk(ExprKind::Builtin { op, args: vec![x] }, Ty::Tensor(elem, dims), at);
            let mut x = x;
            if n < dims.len() {
                x = builtin(Builtin::Permute { perm }, x, moved);
            }
            if n > 1 {
                x = builtin(Builtin::Reshape, x, flat);
            }
            let args = vec![CallArg { label: None, value: ArgValue::Ready(Box::new(x)) }];
            cx.call_fn(id, None, None, args, None, span, callee)
        };
        let usage = Use::Reduction { wrap: &mut wrap, nests: false, name: "logsumexp" };
        Some(self.reduction_of(e, usage))
    }

    fn bind_index(&mut self, b: &ast::Binder, range: Option<Range>, before: (usize, usize), wrong: bool) {
        self.body.depth += 1;
        let local = self.new_local(&b.name.name, Ty::I64, false, b.name.span);
        self.body.depth -= 1;
        self.bind_name(&b.name.name, Entry::Local(local));
        let from = range.as_ref().map(|r| r.from.clone()).unwrap_or_default();
        let extent = range.map(|r| (r.extent, r.origin));
        match &extent {
            Some((n, _)) => self.assume_range(local, &from, n),
            None => self.facts.assume_le(&SizeExpr::default(), &SizeExpr::var(SizeVar::Local(local))),
        }
        let at = self.body.ranges.indices.len();
        self.body.ranges.indices.push(Index { local, from, extent, before, wrong });
        self.body.ranges.around.push(at);
    }

    /// `i < n`.
    fn range_below(&mut self, e: &ast::Expr, span: Span) -> Option<Range> {
        let extent = self.bound_of_range(e)?;
        Some(Range { from: SizeExpr::default(), extent, origin: Origin::Stated(span) })
    }

    /// `k in a..b`.
    fn range_in(&mut self, e: &ast::Expr, span: Span) -> Option<Range> {
        let A::Range { from, to } = &e.kind else { return None };
        let (from, to) = (self.bound_of_range(from)?, self.bound_of_range(to)?);
        let extent = to.sub(&from);
        Some(Range { from, extent, origin: Origin::Stated(span) })
    }

    fn bound_of_range(&mut self, e: &ast::Expr) -> Option<SizeExpr> {
        let v = self.check_as(e, &Ty::I64, "the bound of a range");
        if v.ty.is_error() {
            return None;
        }
        Some(self.size_or_temp(v))
    }

    /// Whether a range depends on an index of the same comprehension.
    fn depends(&self, r: &Range, temps: usize, around: &usize) -> bool {
        let own: Vec<_> =
            self.body.ranges.around[*around..].iter().map(|i| self.body.ranges.indices[*i].local).collect();
        let mut found = false;
        for e in [&r.from, &r.extent] {
            e.visit_vars(&mut |v| found |= matches!(v, SizeVar::Local(l) if own.contains(&l)));
        }
        let mut visit = |e: &Expr| match &e.kind {
            ExprKind::Local(l) => found |= own.contains(l),
            ExprKind::Size(s) => s.visit_vars(&mut |v| found |= matches!(v, SizeVar::Local(l) if own.contains(&l))),
            _ => {}
        };
        for Stmt { kind, .. } in &self.body.temps[temps..] {
            if let crate::thir::StmtKind::Let { value, .. } = kind {
                crate::visit::visit(value, &mut visit);
            }
        }
        found
    }

    /// A range that depends on an index where every row must have one length.
    fn ragged(&mut self, b: &ast::Binder, usage: &Use<'_>) {
        let name = &b.name.name;
        let text = format!("the range of `{name}` depends on another index");
        let d = Diagnostic::error(code::E0407, text, b.span, "of another length for each index");
        self.error(match usage {
            Use::Array => d.help(format!(
                "rows of an array have one length: reduce over `{name}`, `[sum(… for {name} in …) for …]`"
            )),
            Use::Reduction { name: op, .. } => {
                d.help(format!("`{op}` needs all elements at once: mask them, or reduce with `sum`, `max` or the like"))
            }
        });
    }

    /// The binders with their ranges; reports those that have none, unless an error inside may be why.
    fn ranges_of(&mut self, asts: &[ast::Binder], mine: &[usize], span: Span, quiet: bool) -> Option<Vec<Binder>> {
        let mut out = Vec::new();
        let mut failed = false;
        for (b, at) in asts.iter().zip(mine) {
            let index = self.body.ranges.indices[*at].clone();
            let (local, from) = (index.local, index.from);
            match index.extent {
                Some((extent, _)) if !index.wrong => {
                    out.push(Binder { index: local, from, extent: self.zonk_size(&extent) });
                }
                Some(_) => failed = true,
                None if index.wrong || quiet => failed = true,
                None => {
                    failed = true;
                    let name = &b.name.name;
                    let text = format!("the range of `{name}` is not known");
                    self.error(
                        Diagnostic::error(code::E0407, text, b.span, "from where to where?")
                            .label(span, format!("no subscript here is `{name}` alone"))
                            .help(format!("say it: `for {name} < n` or `for {name} in a..b`")),
                    );
                }
            }
        }
        (!failed).then_some(out)
    }

    /// The type of all elements together; reports elements that cannot be together.
    fn array_type(&mut self, value: &Expr, binders: &[Binder], before: (usize, usize), usage: &Use<'_>) -> Option<Ty> {
        let elem = self.zonk(&value.ty);
        if has_error(&elem) {
            return None;
        }
        let span = value.span;
        if elem.is_unit() || matches!(elem, Ty::Never) {
            self.error(
                Diagnostic::error(code::E0301, "an element of a comprehension has no value", span, "gives ()")
                    .help("to do something for each index write a loop: `for i in 0..n { … }`"),
            );
            return None;
        }
        if !holds_values(&elem) {
            let text = format!("an array of {} cannot be", self.show_ty(&elem));
            self.error(Diagnostic::error(
                code::E0301,
                text,
                span,
                "elements are tensors, texts, structs and tuples of these",
            ));
            return None;
        }
        let mut inside = None;
        elem.visit_sizes(&mut |v| match v {
            SizeVar::Local(l) if l.index() >= before.0 => inside = Some(v),
            SizeVar::Open(o) if o.index() >= before.1 => inside = Some(v),
            SizeVar::Local(_)
            | SizeVar::Open(_)
            | SizeVar::Param(_)
            | SizeVar::Const(_)
            | SizeVar::Bound(_)
            | SizeVar::Infer(_)
            | SizeVar::Quotient(_) => {}
        });
        if let Some(v) = inside {
            let shown = self.show_ty(&elem);
            let why = match v {
                SizeVar::Open(_) => "its size is known only when it has been computed",
                _ => "its size depends on an index",
            };
            let what = match usage {
                Use::Array => "the elements of a comprehension have one size",
                Use::Reduction { .. } => "what is reduced has one size",
            };
            self.error(
                Diagnostic::error(code::E0407, format!("{what}, this is {shown}"), span, why).help(
                    "pad it to one size, reduce it (`sum`, `max`, …), or keep the parts in one tensor with offsets",
                ),
            );
            return None;
        }
        let dims: Shape = binders.iter().map(|b| Dim::Size(b.extent.clone())).collect();
        Some(together(dims, elem))
    }

    /// A comprehension without brackets where no reduction takes it.
    pub(super) fn bare_comprehension(&mut self, span: Span) {
        self.error(
            Diagnostic::error(
                code::E0303,
                "only a reduction takes a comprehension without brackets",
                span,
                "stands for many values",
            )
            .note(
                "reductions are `sum prod max min mean any all argmax argmin logsumexp`, and take nothing else with it",
            )
            .help("for an array write `[… for …]`"),
        );
    }
}

/// `elem` with axes in front; a tuple part by part.
fn together(dims: Shape, elem: Ty) -> Ty {
    match elem {
        Ty::Tuple(items) => Ty::Tuple(items.into_iter().map(|t| together(dims.clone(), t)).collect()),
        other => Ty::stack(dims, other),
    }
}

fn holds_values(t: &Ty) -> bool {
    match t {
        Ty::Tuple(items) => items.iter().all(holds_values),
        Ty::Fn(_) | Ty::Rng | Ty::Exists(..) => false,
        Ty::Stack(_, t) => holds_values(t),
        Ty::Error | Ty::Never | Ty::Tensor(..) | Ty::Str | Ty::Struct(..) | Ty::Param(_) | Ty::Infer(_) => true,
    }
}

/// `x in xs`, where `xs` is no range.
fn goes_over_rows(b: &ast::Binder) -> bool {
    matches!(&b.range, BinderRange::In(e) if !matches!(e.kind, A::Range { .. }))
}

/// `{ let x = row; body }`.
fn with_row(name: &ast::Ident, mutable: bool, row: ast::Expr, body: &ast::Expr) -> ast::Expr {
    let kind = ast::PatternKind::Name { mutable, name: name.clone() };
    let pattern = ast::Pattern { kind, span: name.span };
    let kind = ast::StmtKind::Let { sizes: Vec::new(), mutable, pattern, ty: None, value: row };
    let stmts = vec![ast::Stmt { kind, span: name.span }];
    let block = ast::Block { stmts, result: Some(Box::new(body.clone())), span: body.span };
    ast::Expr { kind: A::Block(block), span: body.span }
}

/// What an array of this type has as elements behind its first `n` axes.
fn element_hint(t: &Ty, n: usize) -> Option<Ty> {
    let sizes = |dims: &Shape| dims.len() >= n && dims[..n].iter().all(|d| matches!(d, Dim::Size(_)));
    match t {
        Ty::Tensor(e, dims) if sizes(dims) => Some(Ty::Tensor(*e, dims[n..].to_vec())),
        Ty::Stack(dims, elem) if sizes(dims) => Some(Ty::stack(dims[n..].to_vec(), (**elem).clone())),
        Ty::Tuple(items) => Some(Ty::Tuple(items.iter().map(|t| element_hint(t, n)).collect::<Option<_>>()?)),
        Ty::Tensor(..)
        | Ty::Stack(..)
        | Ty::Error
        | Ty::Never
        | Ty::Struct(..)
        | Ty::Param(_)
        | Ty::Fn(_)
        | Ty::Str
        | Ty::Rng
        | Ty::Exists(..)
        | Ty::Infer(_) => None,
    }
}
