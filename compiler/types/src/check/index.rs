//! Indexing: integers, slices, gathers, masks, `...` and `new`.

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A, IndexItem};

use super::Checker;
use super::errors::{error_expr, mk};
use crate::size::{SizeExpr, SizeVar};
use crate::thir::{Expr, ExprKind, Subscript};
use crate::ty::{Dim, Dtype, DtypeBound, Elem, Shape, Ty};

/// An entry after looking at its type.
enum Item {
    Index(Expr, Option<i64>),
    Slice { from: Option<Expr>, to: Option<Expr>, step: i64, span: Span },
    Rest,
    New,
    Gather(Expr, Shape),
    Mask(Expr, Shape),
}

impl Checker<'_> {
    pub(super) fn index(&mut self, base: &ast::Expr, items: &[IndexItem], span: Span) -> Expr {
        let base_span = base.span;
        let base = self.expr(base, None);
        let t = self.zonk(&base.ty);
        match &t {
            Ty::Error => return error_expr(span),
            Ty::Never => return base,
            Ty::Tensor(..) | Ty::Stack(..) => {}
            other => {
                let text = format!("{} cannot be indexed", self.show_ty(other));
                let mut d = Diagnostic::error(code::E0308, text, base_span, format!("this is {}", self.show_ty(other)));
                match other {
                    Ty::Tuple(_) => d = d.help("fields of a tuple are `t.0`, `t.1`"),
                    Ty::Str => d = d.help("`utf8(s)` gives its bytes, `split(s, \" \")` its words"),
                    _ => {}
                }
                self.error(d);
                return error_expr(span);
            }
        }
        let errors = self.errors.len();
        let Some((subscripts, ty)) = self.subscripts(&t, items, span) else {
            let text = self.show_ty(&t);
            if let [d] = &mut self.errors[errors..]
                && matches!(d.code, code::E0405 | code::E0406)
            {
                d.secondary.push(tdl_source::Label { span: base_span, text });
            }
            return error_expr(span);
        };
        let e = mk(ExprKind::Index { base: Box::new(base), subscripts }, ty, span);
        self.open(e, "the mask")
    }

    /// The subscripts of a tensor or stack and the type they give.
    pub(super) fn subscripts(&mut self, t: &Ty, items: &[IndexItem], span: Span) -> Option<(Vec<Subscript>, Ty)> {
        let (dims, rebuild): (Shape, Box<dyn Fn(Shape) -> Ty>) = match t {
            Ty::Tensor(e, dims) => {
                let e = *e;
                (dims.clone(), Box::new(move |dims| Ty::Tensor(e, dims)))
            }
            Ty::Stack(dims, elem) => {
                let elem = elem.clone();
                (dims.clone(), Box::new(move |dims| Ty::stack(dims, (*elem).clone())))
            }
            _ => return None,
        };
        let mut parsed = Vec::new();
        for item in items {
            parsed.push(self.index_item(item)?);
        }
        let uses = |i: &Item| match i {
            Item::Index(..) | Item::Slice { .. } | Item::Gather(..) => 1,
            Item::Mask(_, shape) => shape.len(),
            Item::Rest | Item::New => 0,
        };
        let used: usize = parsed.iter().map(uses).sum();
        let spread = dims.iter().position(|d| matches!(d, Dim::Spread(_)));
        let known = dims.len() - usize::from(spread.is_some());
        if used > known {
            let axes = super::lower::count_of(known, "axis", "axes");
            let text = format!("{} has {axes}, and {used} are indexed", self.show_ty(t));
            let at = items.get(known).map_or(span, |i| item_span(i, span));
            let mut d = Diagnostic::error(code::E0406, text, at, "one too many");
            if spread.is_some() {
                d = d.note("axes hidden in `..` cannot be indexed");
            }
            self.error(d);
            return None;
        }
        let rest_at = parsed.iter().position(|i| matches!(i, Item::Rest));
        if parsed.iter().filter(|i| matches!(i, Item::Rest)).count() > 1 {
            self.error(Diagnostic::error(code::E0406, "`...` stands once", span, "a second one here"));
            return None;
        }
        let before: usize = parsed[..rest_at.unwrap_or(parsed.len())].iter().map(uses).sum();
        let after = used - before;
        if let Some(at) = spread
            && (before > at || after > dims.len() - at - 1)
        {
            let text = format!("the first axes of {} are hidden in `..`", self.show_ty(t));
            self.error(
                Diagnostic::error(code::E0406, text, span, "cannot be indexed").help("index from the end: `x[..., i]`"),
            );
            return None;
        }
        let mut axis = 0;
        let mut out_dims: Shape = Vec::new();
        let mut subs = Vec::new();
        let mut gather: Option<Shape> = None;
        let mut mask_var = None;
        let apart = apart(&parsed);
        if apart {
            subs.push(Subscript::Apart);
        }
        for item in parsed {
            match item {
                Item::New => {
                    out_dims.push(Dim::Size(SizeExpr::constant(1)));
                    subs.push(Subscript::New);
                }
                Item::Rest => {
                    let end = dims.len() - after;
                    out_dims.extend(dims[axis..end].iter().cloned());
                    axis = end;
                    subs.push(Subscript::Rest);
                }
                Item::Index(e, literal) => {
                    let n = dim_size(&dims[axis])?;
                    subs.push(self.integer_subscript(e, literal, &n)?);
                    axis += 1;
                }
                Item::Slice { from: None, to: None, step: 1, .. } => {
                    out_dims.push(dims[axis].clone());
                    subs.push(Subscript::Full);
                    axis += 1;
                }
                Item::Slice { from, to, step, span } => {
                    let n = dim_size(&dims[axis])?;
                    let (sub, len) = self.slice_subscript(from, to, step, &n, span)?;
                    out_dims.push(Dim::Size(len));
                    subs.push(sub);
                    axis += 1;
                }
                Item::Gather(ids, shape) => {
                    match &gather {
                        None if mask_var.is_some() => {
                            self.error(
                                Diagnostic::error(
                                    code::E0406,
                                    "a mask is the only tensor in its index",
                                    ids.span,
                                    "beside a mask",
                                )
                                .help("take its positions, which pair with those of others: `nonzero(mask)`"),
                            );
                            return None;
                        }
                        None => {
                            gather = Some(shape.clone());
                            let at = if apart { 0 } else { out_dims.len() };
                            out_dims.splice(at..at, shape);
                        }
                        Some(first) => {
                            let first = first.clone();
                            if let Err(why) = self.unify_shape(&first, &shape) {
                                let (a, b) = (Ty::Tensor(Elem::Dtype(Dtype::I64), first), ids.ty.clone());
                                self.mismatch(&a, &b, &why, ids.span, "index tensors pair elementwise");
                                return None;
                            }
                        }
                    }
                    subs.push(Subscript::Gather { ids, proved: false });
                    axis += 1;
                }
                Item::Mask(mask, shape) => {
                    let here = dims[axis..axis + shape.len()].to_vec();
                    if let Err(why) = self.unify_shape(&here, &shape) {
                        let want = Ty::Tensor(Elem::Dtype(Dtype::Bool), here);
                        let have = mask.ty.clone();
                        self.mismatch(&want, &have, &why, mask.span, "a mask covers its axes");
                        return None;
                    }
                    if mask_var.is_some() || gather.is_some() {
                        self.error(
                            Diagnostic::error(
                                code::E0406,
                                "a mask is the only tensor in its index",
                                mask.span,
                                "beside another one",
                            )
                            .help("take its positions, which pair with those of others: `nonzero(mask)`"),
                        );
                        return None;
                    }
                    self.program.bound_names.push("k".into());
                    let var = SizeVar::Bound(self.program.bound_names.len() as u32 - 1);
                    mask_var = Some(var);
                    out_dims.insert(if apart { 0 } else { out_dims.len() }, Dim::Size(SizeExpr::var(var)));
                    axis += shape.len();
                    subs.push(Subscript::Mask { mask });
                }
            }
        }
        out_dims.extend(dims[axis..].iter().cloned());
        let ty = rebuild(out_dims);
        Some((subs, Ty::exists(mask_var.into_iter().collect(), ty)))
    }

    fn index_item(&mut self, item: &IndexItem) -> Option<Item> {
        match item {
            IndexItem::Ellipsis(_) => Some(Item::Rest),
            IndexItem::New(_) => Some(Item::New),
            IndexItem::Spread(_, span) => {
                self.error(Diagnostic::error(code::E0301, "`..s` stands in types only", *span, "not an index"));
                None
            }
            IndexItem::Slice { from, to, step, span } => {
                let step =
                    match step.as_ref().map(|s| literal_int(s).unwrap_or(0)) {
                        None => 1,
                        Some(v) if (-i64::MAX..i64::MAX).contains(&v) && v != 0 => v,
                        Some(_) => {
                            let at = step.as_ref().map_or(*span, |s| s.span);
                            let text = "a slice's step is a literal other than 0";
                            self.error(Diagnostic::error(code::E0405, text, at, "no such literal").help(
                                "for a step that is computed, index with its places: `x[arange(i64[n], step: k)]`",
                            ));
                            return None;
                        }
                    };
                let from = match from {
                    Some(e) => Some(self.bound(e)?),
                    None => None,
                };
                let to = match to {
                    Some(e) => Some(self.bound(e)?),
                    None => None,
                };
                Some(Item::Slice { from, to, step, span: *span })
            }
            IndexItem::Expr(e) => {
                let literal = literal_int(e);
                let value = self.expr(e, None);
                let t = self.zonk(&value.ty);
                match &t {
                    Ty::Error | Ty::Never => None,
                    Ty::Tensor(Elem::Dtype(Dtype::Bool), shape) => {
                        if shape.is_empty() {
                            self.error(Diagnostic::error(code::E0308, "a single bool is no index", e.span, "a bool"));
                            return None;
                        }
                        let shape = shape.clone();
                        Some(Item::Mask(value, shape))
                    }
                    Ty::Tensor(elem, shape) => {
                        if matches!(elem, Elem::Infer(_)) {
                            let _ = self.unify_elem(Elem::Dtype(Dtype::I64), *elem);
                        }
                        if !self.elem_within(*elem, DtypeBound::Int) {
                            let text = format!("an index is an integer, got {}", self.show_ty(&t));
                            self.error(
                                Diagnostic::error(code::E0302, text, e.span, format!("this is {}", self.show_ty(&t)))
                                    .help(format!("convert it: `i64({})`", self.quoted(e.span, false))),
                            );
                            return None;
                        }
                        let shape = shape.clone();
                        if shape.is_empty() {
                            Some(Item::Index(value, literal))
                        } else {
                            Some(Item::Gather(value, shape))
                        }
                    }
                    other => {
                        let text = format!("an index is an integer, got {}", self.show_ty(other));
                        self.error(Diagnostic::error(code::E0308, text, e.span, "not an index"));
                        None
                    }
                }
            }
        }
    }

    fn bound(&mut self, e: &ast::Expr) -> Option<Expr> {
        let out = self.check_as(e, &Ty::I64, "the bound of a slice");
        (!out.ty.is_error()).then_some(out)
    }

    fn integer_subscript(&mut self, e: Expr, literal: Option<i64>, n: &SizeExpr) -> Option<Subscript> {
        let span = e.span;
        if let Some(v) = literal {
            let index = if v < 0 { n.add(&SizeExpr::constant(v)) } else { SizeExpr::constant(v) };
            let inside = self.facts.nonneg(&index) && self.facts.le(&index.add(&SizeExpr::constant(1)), n);
            let reduced = self.facts.reduce(n);
            if !inside && reduced.as_const().is_some() {
                let text = format!("index {v} is outside of an axis of size {}", self.show().size(&reduced));
                self.error(
                    Diagnostic::error(code::E0405, text, span, "out of range")
                        .note(format!("indices go from 0 to {}", reduced.as_const().unwrap_or(1) - 1)),
                );
                return None;
            }
            let index = mk(ExprKind::Size(index), Ty::I64, span);
            let index = if v >= 0 { Expr { kind: ExprKind::Int(v.into()), ..index } } else { index };
            return Some(Subscript::Index { index, proved: inside });
        }
        if let Some(proved) = self.bare_subscript(&e, n) {
            return Some(Subscript::Index { index: e, proved });
        }
        let Some(i) = self.size_value(&e) else { return Some(Subscript::Index { index: e, proved: false }) };
        let proved = self.facts.nonneg(&i) && self.facts.le(&i.add(&SizeExpr::constant(1)), n);
        if !proved {
            self.prove_later(span, i, n.clone());
        }
        Some(Subscript::Index { index: e, proved })
    }

    fn slice_subscript(
        &mut self,
        from: Option<Expr>,
        to: Option<Expr>,
        step: i64,
        n: &SizeExpr,
        span: Span,
    ) -> Option<(Subscript, SizeExpr)> {
        let end = |cx: &mut Self, e: Option<Expr>, default: SizeExpr| match e {
            None => default,
            Some(e) => {
                let literal = match e.kind {
                    ExprKind::Int(v) => i64::try_from(v).ok(),
                    _ => None,
                };
                match literal {
                    Some(v) if v < 0 => n.add(&SizeExpr::constant(v)),
                    Some(v) => SizeExpr::constant(v),
                    None => cx.size_or_temp(e),
                }
            }
        };
        if step < 0 {
            let one = SizeExpr::constant(1);
            let from = end(self, from, n.sub(&one));
            let to = end(self, to, SizeExpr::constant(-1));
            return self.backward(from, to, step, n, span);
        }
        let from = end(self, from, SizeExpr::default());
        let to = end(self, to, n.clone());
        let len = to.sub(&from);
        let proved = self.facts.nonneg(&from) && self.facts.le(&from, &to) && self.facts.le(&to, n);
        if !proved {
            // known to be wrong?
            let one = SizeExpr::constant(1);
            let wrong = if self.facts.le(&from.add(&one), &SizeExpr::default()) {
                Some(format!("it starts at {}", self.show().size(&from)))
            } else if self.facts.le(&to.add(&one), &from) {
                Some(format!("it starts at {}, after its end at {}", self.show().size(&from), self.show().size(&to)))
            } else if self.facts.le(&n.add(&one), &to) {
                Some(format!("it ends at {}", self.show().size(&to)))
            } else {
                None
            };
            if let Some(why) = wrong {
                let text = format!("this slice leaves an axis of size {}: {why}", self.show().size(n));
                self.error(
                    Diagnostic::error(code::E0405, text, span, "out of range")
                        .note("slices are not clamped, as they are in NumPy"),
                );
                return None;
            }
        }
        let count =
            if step == 1 { len } else { len.add(&SizeExpr::constant(step - 1)).floor_div(&SizeExpr::constant(step)) };
        Some((Subscript::Slice { from, to, step, len: count.clone(), proved }, count))
    }

    /// `x[from:to:step]` with a negative step: from `from` down to the one after `to`.
    fn backward(
        &mut self,
        from: SizeExpr,
        to: SizeExpr,
        step: i64,
        n: &SizeExpr,
        span: Span,
    ) -> Option<(Subscript, SizeExpr)> {
        let one = SizeExpr::constant(1);
        let (after, above) = (from.add(&one), to.add(&one));
        let proved = self.facts.nonneg(&above) && self.facts.le(&to, &from) && self.facts.le(&after, n);
        if !proved {
            let wrong = if self.facts.le(&n.add(&one), &after) {
                Some(format!("it starts at {}", self.show().size(&from)))
            } else if self.facts.le(&after, &to) {
                Some(format!("it starts at {}, below its end at {}", self.show().size(&from), self.show().size(&to)))
            } else {
                None
            };
            if let Some(why) = wrong {
                let text = format!("this slice leaves an axis of size {}: {why}", self.show().size(n));
                self.error(
                    Diagnostic::error(code::E0405, text, span, "out of range")
                        .note("with a negative step a slice goes down: `x[3:0:-1]` is x[3], x[2], x[1]"),
                );
                return None;
            }
        }
        let width = SizeExpr::constant(step.saturating_neg());
        let len = from.sub(&to);
        let count = if step == -1 { len } else { len.add(&width).sub(&one).floor_div(&width) };
        Some((Subscript::Slice { from, to, step, len: count.clone(), proved }, count))
    }
}

/// Whether index tensors, a mask and the positions beside them have other entries between them.
fn apart(items: &[Item]) -> bool {
    let tensor = |i: &Item| matches!(i, Item::Gather(..) | Item::Mask(..));
    let indexes = |i: &Item| tensor(i) || matches!(i, Item::Index(..));
    let (Some(first), Some(last)) = (items.iter().position(indexes), items.iter().rposition(indexes)) else {
        return false;
    };
    items.iter().any(tensor) && !items[first..=last].iter().all(indexes)
}

fn item_span(item: &IndexItem, whole: Span) -> Span {
    match item {
        IndexItem::Expr(e) => e.span,
        IndexItem::Slice { span, .. }
        | IndexItem::Spread(_, span)
        | IndexItem::Ellipsis(span)
        | IndexItem::New(span) => {
            if span.file == whole.file {
                *span
            } else {
                whole
            }
        }
    }
}

fn dim_size(d: &Dim) -> Option<SizeExpr> {
    match d {
        Dim::Size(e) => Some(e.clone()),
        Dim::Spread(_) => None,
    }
}

pub(super) fn literal_int(e: &ast::Expr) -> Option<i64> {
    match &e.kind {
        A::Int(v) => i64::try_from(*v).ok(),
        A::Unary { op: ast::UnaryOp::Neg, operand, .. } => literal_int(operand).map(|v| -v),
        _ => None,
    }
}
