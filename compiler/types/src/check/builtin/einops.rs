//! `rearrange`, `reduce` and `repeat`: patterns against shapes. They become reshapes, permutations, reductions and
//! broadcasts.

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{ExprKind as A, StrPiece};

use super::math::reduction;
use super::pattern::{self, Atom, ItemKind, Pattern, Side};
use crate::check::Checker;
use crate::check::call::{ArgValue, Args, CallArg};
use crate::check::errors::{error_expr, fact_help, mk};
use crate::check::lower::count;
use crate::size::SizeExpr;
use crate::thir::{Axis, Builtin, Expr, ExprKind, Reduction};
use crate::ty::{Dim, DtypeBound, Elem, Shape, Ty};

/// A size by its name in the pattern, and where it comes from.
pub(super) struct Known {
    pub name: String,
    pub size: SizeExpr,
    pub span: Span,
}

/// An axis between the reshapes.
#[derive(Clone, PartialEq)]
enum Part {
    Name(String),
    /// An axis without a name on the left: the k-th.
    Anonymous(usize),
    /// An axis that `...` stands for.
    Rest(usize),
    /// A written size on the right: the k-th.
    New(usize),
}

impl Checker<'_> {
    pub(super) fn wrong_pattern(&mut self, text: String, span: Span, label: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code::E0408, text, span, label)
    }

    /// The written pattern.
    pub(super) fn written_pattern(
        &mut self,
        arg: Option<CallArg<'_>>,
        name: &str,
        example: &str,
        span: Span,
    ) -> Option<(Pattern, Span)> {
        let at = arg.as_ref().map_or(span, CallArg::span);
        let text = match arg.map(|a| a.value) {
            Some(ArgValue::Ast(e)) => match &e.kind {
                A::Str(pieces) => match pieces.as_slice() {
                    [] => Some(""),
                    [StrPiece::Text(t)] => Some(&**t),
                    _ => None,
                },
                _ => None,
            },
            Some(ArgValue::Ready(_)) | None => None,
        };
        let Some(text) = text else {
            self.error(
                Diagnostic::error(code::E0303, format!("`{name}` takes a written pattern"), at, "not a pattern")
                    .help(format!("for example {example}")),
            );
            return None;
        };
        let diagonals = name == "einsum";
        let read = pattern::parse(text, at, at.start + 1).and_then(|p| {
            let wrong = p.operands.iter().filter(|_| !diagonals).chain([&p.result]).find_map(Side::twice);
            match wrong {
                Some(w) => Err(w),
                None => Ok(p),
            }
        });
        match read {
            Ok(p) => Some((p, at)),
            Err(w) => {
                let d = self.wrong_pattern(format!("`{name}`: {}", w.text), w.span, w.label);
                self.error(d.help(format!("for example {example}")));
                None
            }
        }
    }

    /// `rearrange(x, "…", h: 8)`, `reduce(x, "…", mean)`, `repeat(x, "…", c: 3)`.
    pub(in crate::check) fn einops(&mut self, name: &'static str, args: Args<'_>, span: Span) -> Expr {
        self.einops_checked(name, args, span).unwrap_or_else(|| error_expr(span))
    }

    fn einops_checked(&mut self, name: &'static str, args: Args<'_>, span: Span) -> Option<Expr> {
        let (labelled, plain): (Vec<_>, Vec<_>) = args.into_iter().partition(|a| a.label.is_some());
        let mut plain = plain.into_iter();
        let example = match name {
            "rearrange" => "`rearrange(x, \"b t (h e) -> b h t e\", h: 8)`",
            "reduce" => "`reduce(x, \"b t d -> b d\", mean)`",
            _ => "`repeat(x, \"h w -> h w c\", c: 3)`",
        };
        let Some(x) = plain.next() else {
            self.error(
                Diagnostic::error(code::E0303, format!("`{name}` lacks its operand"), span, "no arguments")
                    .help(format!("for example {example}")),
            );
            return None;
        };
        let x = self.arg_value(x.value, None);
        let (pattern, at) = self.written_pattern(plain.next(), name, example, span)?;
        let op = if name == "reduce" { Some(self.reduction_arg(plain.next(), span)?) } else { None };
        if let Some(more) = plain.next() {
            let text =
                format!("`{name}` takes {} without a label", count(if op.is_some() { 3 } else { 2 }, "argument"));
            self.error(Diagnostic::error(code::E0303, text, more.span(), "too many"));
            return None;
        }
        let need = match op {
            None => DtypeBound::Any,
            Some(Reduction::Mean) => DtypeBound::Float,
            Some(Reduction::Sum | Reduction::Prod | Reduction::Max | Reduction::Min) => DtypeBound::Num,
            Some(Reduction::Any | Reduction::All) => DtypeBound::Any,
        };
        let (elem, shape) = self.tensor_arg(&x, name, need)?;
        let [left] = pattern.operands.as_slice() else {
            let d = self.wrong_pattern(format!("`{name}` has one operand"), at, "a pattern of several");
            self.error(d.help("several operands are multiplied by `einsum`"));
            return None;
        };
        let right = &pattern.result;
        let mut known = self.given_sizes(name, labelled, left, right)?;
        let axes = self.axes_of_pattern(name, left, &shape, &x)?;
        let parts = self.split(name, left, &axes, &mut known, op.is_none())?;
        self.same_names(name, left, right, op.is_some(), &known)?;
        let plan = Plan { name, elem, at: span };
        self.carry_out(&plan, x, shape, parts, right, op, &known)
    }

    fn reduction_arg(&mut self, arg: Option<CallArg<'_>>, span: Span) -> Option<Reduction> {
        let at = arg.as_ref().map_or(span, CallArg::span);
        let op = match arg.map(|a| a.value) {
            Some(ArgValue::Ast(e)) => match &e.kind {
                A::Name(n) if self.entry_of(&n.name).is_none() && self.def_of(&n.name).is_none() => reduction(&n.name),
                _ => None,
            },
            Some(ArgValue::Ready(_)) | None => None,
        };
        if op.is_none() {
            self.error(
                Diagnostic::error(code::E0303, "`reduce` takes a reduction after the pattern", at, "not one")
                    .help("one of `sum mean max min prod any all`"),
            );
        }
        op
    }

    /// `h: 8`.
    fn given_sizes(&mut self, name: &str, args: Args<'_>, left: &Side, right: &Side) -> Option<Vec<Known>> {
        let mut out: Vec<Known> = Vec::new();
        for a in args {
            let at = a.span();
            let Some(label) = a.label else { continue };
            if !left.has(&label.name) && !right.has(&label.name) {
                let names: Vec<String> = left
                    .atoms()
                    .into_iter()
                    .chain(right.atoms())
                    .filter_map(|(a, _)| match a {
                        Atom::Name(n) => Some(n),
                        Atom::Size(_) => None,
                    })
                    .collect();
                let text = format!("`{name}`: the pattern has no axis `{}`", label.name);
                let mut d = self.wrong_pattern(text, label.span, "not in the pattern");
                if let Some(near) = crate::check::names::nearest(&label.name, names.iter().map(String::as_str)) {
                    d = d.help(format!("did you mean `{near}`?"));
                }
                self.error(d);
                return None;
            }
            let v = self.arg_of(a.value, &Ty::I64, &format!("the size of `{}`", label.name));
            if v.ty.is_error() {
                return None;
            }
            let size = self.size_or_temp(v);
            out.push(Known { name: label.name.to_string(), size, span: at });
        }
        Some(out)
    }

    /// The axes of the operand that each entry of the left side stands for.
    pub(super) fn axes_of_pattern(&mut self, name: &str, left: &Side, shape: &Shape, x: &Expr) -> Option<Vec<Shape>> {
        let items = left.items.len();
        let rest = left.rest();
        let named = items - usize::from(rest.is_some());
        let spread = shape.iter().position(|d| matches!(d, Dim::Spread(_)));
        let after = rest.map_or(0, |r| items - r - 1);
        let hidden = spread.is_some_and(|s| rest.is_none_or(|r| s < r || shape.len() - s - 1 < after));
        let fits = if rest.is_some() { named <= shape.len() } else { named == shape.len() };
        if !fits || hidden {
            let shown = self.show_ty(&x.ty);
            let text = format!("`{name}`: the pattern names {}, and {shown} has {}", axes_text(named), shape.len());
            let d = self.wrong_pattern(text, left.span, format!("{} here", axes_text(named)));
            let d = d.label(x.span, format!("this is {shown}"));
            self.error(if spread.is_some() {
                d.help("`...` stands for axes that are not known")
            } else if named < shape.len() {
                d.help("name every axis, or write `...` for those that stay")
            } else {
                d
            });
            return None;
        }
        let mut out = Vec::with_capacity(items);
        for k in 0..items {
            out.push(match rest {
                Some(r) if k == r => shape[r..shape.len() - after].to_vec(),
                Some(r) if k > r => vec![shape[shape.len() - (items - k)].clone()],
                Some(_) | None => vec![shape[k].clone()],
            });
        }
        Some(out)
    }

    /// Splits the operand's axes into the parts that the left side names, and finds out their sizes.
    fn split(
        &mut self,
        name: &str,
        left: &Side,
        axes: &[Shape],
        known: &mut Vec<Known>,
        only_units: bool,
    ) -> Option<Vec<(Part, Dim)>> {
        let mut out = Vec::new();
        let mut anonymous = 0;
        for (item, dims) in left.items.iter().zip(axes) {
            let atoms: Vec<(Atom, Span)> = match &item.kind {
                ItemKind::Rest => {
                    out.extend(dims.iter().enumerate().map(|(k, d)| (Part::Rest(k), d.clone())));
                    continue;
                }
                ItemKind::Atom(a) => vec![(a.clone(), item.span)],
                ItemKind::Group(atoms) => atoms.clone(),
            };
            let Some(Dim::Size(n)) = dims.first() else { return None };
            let n = self.zonk_size(n);
            let mut product = SizeExpr::constant(1);
            let mut unknown: Vec<(String, Span)> = Vec::new();
            for (a, span) in &atoms {
                match a {
                    Atom::Size(c) => {
                        if only_units && *c != 1 {
                            let d = self.wrong_pattern(
                                format!("`{name}`: an axis of size {c} would have no place on the right"),
                                *span,
                                "a size without a name",
                            );
                            self.error(d.help("give it a name; `reduce` and `repeat` take written sizes"));
                            return None;
                        }
                        product = product.mul(&SizeExpr::constant(*c));
                    }
                    Atom::Name(a) => match known.iter().find(|k| k.name == *a) {
                        Some(k) => product = product.mul(&k.size),
                        None => unknown.push((a.clone(), *span)),
                    },
                }
            }
            match unknown.as_slice() {
                [] => {
                    if self.unify_size(&product, &n).is_err() {
                        self.size_differs(name, item.span, &product, &n, &atoms, known);
                        return None;
                    }
                }
                [(one, span)] => {
                    let size = match n.exact_div(&product) {
                        Some(s) => s,
                        None if self.facts.divides(&product, &n) => n.floor_div(&product),
                        None => {
                            self.not_a_multiple(name, item.span, one, &product, &n);
                            return None;
                        }
                    };
                    known.push(Known { name: one.clone(), size, span: *span });
                }
                [(one, span), (two, _), ..] => {
                    let text = format!("`{name}`: the sizes of `{one}` and `{two}` are not known");
                    let shown = self.show().size(&n);
                    let d = self.wrong_pattern(text, item.span, format!("their product is {shown}"));
                    let _ = span;
                    self.error(d.help(format!("say one of them: `{name}(…, {one}: …)`")));
                    return None;
                }
            }
            for (a, _) in &atoms {
                match a {
                    Atom::Size(1) => {}
                    Atom::Size(c) => {
                        out.push((Part::Anonymous(anonymous), Dim::Size(SizeExpr::constant(*c))));
                        anonymous += 1;
                    }
                    Atom::Name(a) => {
                        let size = known.iter().find(|k| k.name == *a).map(|k| k.size.clone())?;
                        out.push((Part::Name(a.clone()), Dim::Size(size)));
                    }
                }
            }
        }
        Some(out)
    }

    fn size_differs(
        &mut self,
        name: &str,
        at: Span,
        want: &SizeExpr,
        have: &SizeExpr,
        atoms: &[(Atom, Span)],
        known: &[Known],
    ) {
        let (w, h) = (self.show().size(want), self.show().size(have));
        let text = format!("`{name}`: this axis has size {h}, and the pattern says {w}");
        let mut d = self.wrong_pattern(text, at, format!("the axis has size {h}"));
        for (a, _) in atoms {
            if let Atom::Name(a) = a
                && let Some(k) = known.iter().find(|k| k.name == *a)
            {
                d = d.label(k.span, format!("`{a}` is {}", self.show().size(&k.size)));
            }
        }
        if self.facts.reduce(&want.sub(have)).as_const().is_none() {
            d = d.note(format!("cannot show that {h} == {w}")).help(fact_help(&format!("{h} == {w}")));
        }
        self.error(d);
    }

    fn not_a_multiple(&mut self, name: &str, at: Span, one: &str, by: &SizeExpr, n: &SizeExpr) {
        let simple = by.as_var().is_some() || by.as_const().is_some();
        let (b, n_text) = (self.show().size(by), self.show().size(n));
        let b = if simple { b } else { format!("({b})") };
        let decided = n.as_const().is_some() && by.as_const().is_some();
        let text = if decided {
            format!("`{name}`: {n_text} is not a multiple of {b}, so `{one}` has no size")
        } else {
            format!("`{name}`: cannot show that {n_text} is a multiple of {b}, so `{one}` has no size")
        };
        let d = self.wrong_pattern(text, at, format!("the axis has size {n_text}"));
        self.error(if decided { d } else { d.help(fact_help(&format!("{n_text} % {b} == 0"))) });
    }

    /// Which names may stand on one side alone.
    fn same_names(&mut self, name: &str, left: &Side, right: &Side, reduces: bool, known: &[Known]) -> Option<()> {
        for (a, span) in left.atoms() {
            if let Atom::Name(a) = a
                && !right.has(&a)
                && !reduces
            {
                let d = self.wrong_pattern(format!("`{name}`: `{a}` is not in the result"), span, "only on the left");
                self.error(d.help("to sum over it (or the like) write `reduce(x, \"…\", sum)`"));
                return None;
            }
        }
        for (a, span) in right.atoms() {
            match a {
                Atom::Name(a) if !left.has(&a) => {
                    if name != "repeat" {
                        let d = self.wrong_pattern(
                            format!("`{name}`: `{a}` is no axis of the operand"),
                            span,
                            "only on the right",
                        );
                        self.error(d.help("to repeat along a new axis write `repeat(x, \"…\", n: 3)`"));
                        return None;
                    }
                    if !known.iter().any(|k| k.name == a) {
                        let d = self.wrong_pattern(
                            format!("`repeat`: the size of the new axis `{a}` is not known"),
                            span,
                            "how often?",
                        );
                        self.error(d.help(format!("say it: `repeat(…, {a}: 3)`")));
                        return None;
                    }
                }
                Atom::Size(c) if c != 1 && name != "repeat" => {
                    let d = self.wrong_pattern(format!("`{name}` makes no axis of size {c}"), span, "a new axis");
                    self.error(d.help("to repeat along a new axis write `repeat`"));
                    return None;
                }
                Atom::Name(_) | Atom::Size(_) => {}
            }
        }
        if left.rest().is_none() && right.rest().is_some() {
            let d = self.wrong_pattern(
                format!("`{name}`: `...` stands for no axes of the operand"),
                right.span,
                "only on the right",
            );
            self.error(d);
            return None;
        }
        if left.rest().is_some() && right.rest().is_none() && !reduces {
            let d = self.wrong_pattern(
                format!("`{name}`: the axes of `...` are not in the result"),
                left.span,
                "only on the left",
            );
            self.error(d);
            return None;
        }
        Some(())
    }

    #[allow(clippy::too_many_arguments)]
    fn carry_out(
        &mut self,
        plan: &Plan,
        x: Expr,
        shape: Shape,
        parts: Vec<(Part, Dim)>,
        right: &Side,
        op: Option<Reduction>,
        known: &[Known],
    ) -> Option<Expr> {
        // the parts of the result, and how they are grouped
        let mut order: Vec<(Part, Dim)> = Vec::new();
        let mut result: Shape = Vec::new();
        let mut new = 0;
        for item in &right.items {
            let atoms: Vec<Atom> = match &item.kind {
                ItemKind::Rest => {
                    for (p, d) in parts.iter().filter(|(p, _)| matches!(p, Part::Rest(_))) {
                        order.push((p.clone(), d.clone()));
                        result.push(d.clone());
                    }
                    continue;
                }
                ItemKind::Atom(a) => vec![a.clone()],
                ItemKind::Group(atoms) => atoms.iter().map(|(a, _)| a.clone()).collect(),
            };
            let mut product = SizeExpr::constant(1);
            for a in atoms {
                let (part, size) = match a {
                    Atom::Size(1) => continue,
                    Atom::Size(c) => {
                        new += 1;
                        (Part::New(new), SizeExpr::constant(c))
                    }
                    Atom::Name(a) => {
                        let size = known.iter().find(|k| k.name == a).map(|k| k.size.clone())?;
                        (Part::Name(a), size)
                    }
                };
                if let (Some(a), Some(b)) = (product.as_const(), size.as_const())
                    && a.checked_mul(b).is_none()
                {
                    let text = format!("an axis of {a} * {b} elements is larger than any memory");
                    self.error(Diagnostic::error(code::E0404, text, item.span, "more than 2^63 - 1"));
                    return None;
                }
                product = product.mul(&size);
                order.push((part, Dim::Size(size)));
            }
            result.push(Dim::Size(product));
        }
        let dims = |parts: &[(Part, Dim)]| parts.iter().map(|(_, d)| d.clone()).collect::<Shape>();
        let mut x = plan.reshape(x, &shape, &dims(&parts));
        let mut left = parts;
        if let Some(op) = op {
            let gone: Vec<Axis> =
                (0..left.len()).filter(|k| !order.iter().any(|(p, _)| *p == left[*k].0)).map(Axis::FromStart).collect();
            if left.iter().any(|(_, d)| matches!(d, Dim::Spread(_))) && !gone.is_empty() {
                return self.unknown_rank(plan, right);
            }
            left.retain(|(p, _)| order.iter().any(|(q, _)| p == q));
            if !gone.is_empty() {
                let kind =
                    ExprKind::Builtin { op: Builtin::Reduce { op, axes: Some(gone), keepdims: false }, args: vec![x] };
                x = mk(kind, Ty::Tensor(plan.elem, dims(&left)), plan.at);
            }
        }
        let stays: Vec<&(Part, Dim)> = order.iter().filter(|(p, _)| left.iter().any(|(q, _)| p == q)).collect();
        let perm: Vec<usize> = stays.iter().filter_map(|(p, _)| left.iter().position(|(q, _)| p == q)).collect();
        if perm.iter().enumerate().any(|(k, p)| k != *p) {
            if left.iter().any(|(_, d)| matches!(d, Dim::Spread(_))) {
                return self.unknown_rank(plan, right);
            }
            let moved: Shape = perm.iter().map(|p| left[*p].1.clone()).collect();
            let perm = perm.into_iter().map(Axis::FromStart).collect();
            x = mk(
                ExprKind::Builtin { op: Builtin::Permute { perm }, args: vec![x] },
                Ty::Tensor(plan.elem, moved),
                plan.at,
            );
        }
        let now: Shape = stays.iter().map(|(_, d)| d.clone()).collect();
        let wide = dims(&order);
        if order.len() > now.len() {
            let is_new = |p: &Part| !left.iter().any(|(q, _)| p == q);
            let units: Shape = order
                .iter()
                .map(|(p, d)| if is_new(p) { Dim::Size(SizeExpr::constant(1)) } else { d.clone() })
                .collect();
            x = plan.reshape(x, &now, &units);
            x = mk(
                ExprKind::Builtin { op: Builtin::BroadcastTo, args: vec![x] },
                Ty::Tensor(plan.elem, wide.clone()),
                plan.at,
            );
        }
        let x = plan.reshape(x, &wide, &result);
        let sizes: Vec<SizeExpr> = known.iter().map(|k| k.size.clone()).collect();
        Some(self.guard_sizes(x, &sizes, plan.at))
    }

    fn unknown_rank(&mut self, plan: &Plan, right: &Side) -> Option<Expr> {
        let d = self.wrong_pattern(
            format!("`{}`: the axes of `...` cannot move, their number is not known", plan.name),
            right.span,
            "in another order",
        );
        self.error(d.help("keep `...` in front, and what is reduced or moved behind it in order"));
        None
    }
}

/// What the steps share.
struct Plan {
    name: &'static str,
    elem: Elem,
    at: Span,
}

impl Plan {
    fn reshape(&self, x: Expr, from: &Shape, to: &Shape) -> Expr {
        if from == to {
            return x;
        }
        mk(ExprKind::Builtin { op: Builtin::Reshape, args: vec![x] }, Ty::Tensor(self.elem, to.clone()), self.at)
    }
}

fn axes_text(n: usize) -> String {
    if n == 1 { "one axis".into() } else { format!("{n} axes") }
}
