//! `einsum`: one size for each name, over all operands. A name that stands twice in one takes the diagonal.

use tdl_source::{Diagnostic, Span, code};

use super::einops::Known;
use super::pattern::{self, Atom, ItemKind, Side};
use crate::check::Checker;
use crate::check::call::Args;
use crate::check::errors::{error_expr, mk};
use crate::check::lower::count;
use crate::thir::{Builtin, EinsumAxis, Expr, ExprKind};
use crate::ty::{Dim, DtypeBound, Elem, Shape, Ty};

impl Checker<'_> {
    /// `einsum("b i j, b j k -> b i k", x, y)`.
    pub(in crate::check) fn einsum(&mut self, args: Args<'_>, span: Span) -> Expr {
        self.einsum_checked(args, span).unwrap_or_else(|| error_expr(span))
    }

    fn einsum_checked(&mut self, args: Args<'_>, span: Span) -> Option<Expr> {
        const EXAMPLE: &str = "`einsum(\"b i j, b j k -> b i k\", x, y)`";
        if let Some(l) = args.iter().find_map(|a| a.label) {
            self.error(Diagnostic::error(
                code::E0303,
                format!("`einsum` has no parameter `{}`", l.name),
                l.span,
                "unknown label",
            ));
            return None;
        }
        let mut args = args.into_iter();
        let (pattern, at) = self.written_pattern(args.next(), "einsum", EXAMPLE, span)?;
        let operands: Vec<Expr> = args.map(|a| self.arg_value(a.value, None)).collect();
        if operands.len() != pattern.operands.len() {
            let text = format!(
                "`einsum`: the pattern has {}, and {} given",
                count(pattern.operands.len(), "operand"),
                if operands.len() == 1 { "one is".into() } else { format!("{} are", operands.len()) }
            );
            let d = self.wrong_pattern(text, at, "operands are separated by commas");
            self.error(d.help(format!("for example {EXAMPLE}")));
            return None;
        }
        for side in pattern.operands.iter().chain([&pattern.result]) {
            for i in &side.items {
                if !matches!(i.kind, ItemKind::Atom(Atom::Name(_)) | ItemKind::Rest) {
                    let d = self.wrong_pattern("`einsum` takes names and `...` alone".into(), i.span, "neither");
                    self.error(d.help("split and merge axes with `rearrange`"));
                    return None;
                }
            }
        }
        let mut elem: Option<(Elem, Span)> = None;
        let mut sizes: Vec<Known> = Vec::new();
        let mut rest: Option<(Shape, Span)> = None;
        for (side, x) in pattern.operands.iter().zip(&operands) {
            let (e, shape) = self.tensor_arg(x, "einsum", DtypeBound::Num)?;
            match elem {
                None => elem = Some((e, x.span)),
                Some((first, at)) => {
                    if self.unify_elem(first, e).is_err() {
                        let text = format!(
                            "`einsum` needs one dtype, got {} and {}",
                            self.show().elem(self.zonk_elem(first)),
                            self.show().elem(e)
                        );
                        self.error(
                            Diagnostic::error(code::E0302, text, x.span, "another dtype").label(at, "the first"),
                        );
                        return None;
                    }
                }
            }
            self.axis_sizes("einsum", side, &shape, x, &mut sizes, &mut rest)?;
        }
        let mut dims: Shape = Vec::new();
        for item in &pattern.result.items {
            match &item.kind {
                ItemKind::Rest => match &rest {
                    Some((d, _)) => dims.extend(d.iter().cloned()),
                    None => {
                        let d = self.wrong_pattern(
                            "`einsum`: `...` stands in no operand".into(),
                            item.span,
                            "only on the right",
                        );
                        self.error(d);
                        return None;
                    }
                },
                ItemKind::Atom(Atom::Name(a)) => match sizes.iter().find(|k| k.name == *a) {
                    Some(k) => dims.push(Dim::Size(self.zonk_size(&k.size))),
                    None => {
                        let d = self.wrong_pattern(
                            format!("`einsum`: `{a}` stands in no operand"),
                            item.span,
                            "only on the right",
                        );
                        self.error(d);
                        return None;
                    }
                },
                ItemKind::Atom(Atom::Size(_)) | ItemKind::Group(_) => return None,
            }
        }
        let label = |i: &pattern::Item| match &i.kind {
            ItemKind::Atom(Atom::Name(a)) => {
                sizes.iter().position(|k| k.name == *a).map(|k| EinsumAxis::Label(k as u8))
            }
            ItemKind::Atom(Atom::Size(_)) | ItemKind::Group(_) | ItemKind::Rest => Some(EinsumAxis::Rest),
        };
        let labels = |s: &Side| s.items.iter().filter_map(label).collect::<Vec<_>>();
        let op = Builtin::Einsum {
            operands: pattern.operands.iter().map(labels).collect(),
            result: labels(&pattern.result),
        };
        if sizes.len() > 64 {
            let d = self.wrong_pattern("`einsum` takes up to 64 names".into(), at, "more");
            self.error(d);
            return None;
        }
        let (elem, _) = elem?;
        Some(mk(ExprKind::Builtin { op, args: operands }, Ty::Tensor(self.zonk_elem(elem), dims), span))
    }

    /// Compares the sizes of a tensor's axes with those of the same names before it, and adds the new ones.
    pub(super) fn axis_sizes(
        &mut self,
        name: &str,
        side: &Side,
        shape: &Shape,
        x: &Expr,
        sizes: &mut Vec<Known>,
        rest: &mut Option<(Shape, Span)>,
    ) -> Option<()> {
        let axes = self.axes_of_pattern(name, side, shape, x)?;
        for (item, dims) in side.items.iter().zip(axes) {
            match &item.kind {
                ItemKind::Rest => match rest {
                    None => *rest = Some((dims, item.span)),
                    Some((first, at)) => {
                        let (first, at) = (first.clone(), *at);
                        if self.unify_shape(&first, &dims).is_err() {
                            let (a, b) = (self.show().shape(&first), self.show().shape(&dims));
                            let d = self.wrong_pattern(
                                format!("`{name}`: `...` is {a} here and {b} there"),
                                item.span,
                                format!("stands for {b}"),
                            );
                            self.error(d.label(at, format!("stands for {a}")));
                            return None;
                        }
                    }
                },
                ItemKind::Atom(Atom::Name(a)) => {
                    let Some(Dim::Size(n)) = dims.first() else { return None };
                    let n = self.zonk_size(n);
                    match sizes.iter().find(|k| k.name == *a).map(|k| (k.size.clone(), k.span)) {
                        None => sizes.push(Known { name: a.clone(), size: n, span: item.span }),
                        Some((size, at)) => {
                            if self.unify_size(&size, &n).is_err() {
                                let (p, q) = (self.show().size(&size), self.show().size(&n));
                                let diagonal = (side.span.start..side.span.end).contains(&at.start);
                                let text = if diagonal {
                                    format!("`{name}`: the diagonal `{a}` takes axes of one size, got {p} and {q}")
                                } else {
                                    format!("`{name}`: axis `{a}` has size {p} in one operand and {q} in another")
                                };
                                let mut d = self.wrong_pattern(text, item.span, format!("`{a}` is {q}"));
                                d = d
                                    .label(at, format!("`{a}` is {p}"))
                                    .label(x.span, format!("this is {}", self.show_ty(&x.ty)));
                                if self.facts.reduce(&size.sub(&n)).as_const().is_none() {
                                    d = d.note(format!("cannot show that {p} == {q}"));
                                    d = d.help(format!(
                                        "add `where {p} == {q}` to the function, or `assert {p} == {q}` before"
                                    ));
                                }
                                self.error(d);
                                return None;
                            }
                        }
                    }
                }
                // what a window moves over has a size of its own
                ItemKind::Atom(Atom::Size(_)) | ItemKind::Group(_) => {}
            }
        }
        Some(())
    }
}
