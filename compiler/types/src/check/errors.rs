//! Diagnostics that several files share.

use tdl_source::{Diagnostic, Span, code};

use super::Checker;
use super::store::Mismatch;
use crate::show::Show;
use crate::size::{SizeExpr, SizeVar};
use crate::thir::{Expr, ExprKind};
use crate::ty::{Dim, Elem, Ty};

pub(super) fn mk(kind: ExprKind, ty: Ty, span: Span) -> Expr {
    Expr { kind, ty, span }
}

pub(super) fn error_expr(span: Span) -> Expr {
    mk(ExprKind::Error, Ty::Error, span)
}

impl Checker<'_> {
    pub(super) fn show(&self) -> Show<'_> {
        Show { program: &self.program, locals: &self.body.locals, opens: &self.body.opens }
    }

    pub(super) fn show_ty(&self, t: &Ty) -> String {
        let t = self.zonk(t);
        match &t {
            // an unknown dtype is a literal's
            Ty::Tensor(e @ Elem::Infer(_), dims) => {
                let int = self.elem_within(*e, crate::ty::DtypeBound::Float);
                let name = if int { "a float" } else { "a number" };
                if dims.is_empty() { name.into() } else { format!("{name} {}", self.show().shape(dims)) }
            }
            other => self.show().ty(other),
        }
    }

    pub(super) fn error(&mut self, d: Diagnostic) {
        self.errors.push(d);
    }

    /// The feature is in the language's reference, and later work.
    pub(super) fn not_yet(&mut self, feature: &str, span: Span) {
        self.errors.push(Diagnostic::error(
            code::E0390,
            format!("not implemented yet: {feature}"),
            span,
            "this version cannot do it",
        ));
    }

    /// Two types that should be one. `what` says whose type it is: "argument `x` of `f`".
    pub(super) fn mismatch(&mut self, expected: &Ty, found: &Ty, why: &Mismatch, span: Span, what: &str) {
        let (e, f) = (self.zonk(expected), self.zonk(found));
        if has_error(&e) || has_error(&f) {
            return;
        }
        let (e_text, f_text) = (self.show_ty(&e), self.show_ty(&f));
        let lead = if what.is_empty() { String::new() } else { format!("{what}: ") };
        let d = match why {
            Mismatch::Dtype { expected, found } => {
                let (to, from) = (self.zonk_elem(*expected), self.zonk_elem(*found));
                let (to_text, from_text) = (self.elem_text(to), self.elem_text(from));
                let d = Diagnostic::error(
                    code::E0302,
                    format!("{lead}expected {e_text}, got {f_text}"),
                    span,
                    format!("this is {f_text}"),
                );
                if matches!(to, Elem::Infer(_)) || matches!(from, Elem::Infer(_)) {
                    d.note(format!("{from_text} cannot become {to_text} by itself"))
                } else {
                    d.help(format!("dtypes are never converted by themselves: write `{to_text}(…)`"))
                }
            }
            Mismatch::Size { expected, found } => {
                let (a, b) = (self.zonk_size(expected), self.zonk_size(found));
                let d = Diagnostic::error(
                    code::E0401,
                    format!("{lead}expected {e_text}, got {f_text}"),
                    span,
                    format!("this is {f_text}"),
                );
                self.undecided(d, &a, &b, &e, &f)
            }
            Mismatch::Rank => {
                let mut d = Diagnostic::error(
                    code::E0401,
                    format!("{lead}expected {e_text}, got {f_text}"),
                    span,
                    format!("this is {f_text}"),
                );
                if let (Ty::Tensor(_, want), Ty::Tensor(_, have)) = (&e, &f)
                    && let Some(help) = self.flatten_help(want, have, "x")
                {
                    d = d.help(help);
                }
                d
            }
            Mismatch::Kind => {
                let mut d = Diagnostic::error(
                    code::E0301,
                    format!("{lead}expected {e_text}, got {f_text}"),
                    span,
                    format!("this is {f_text}"),
                );
                if let (Ty::Tensor(_, want), true) = (&e, f.is_unit()) {
                    let _ = want;
                    d = d.help("a block's value is its last expression; a statement there gives ()");
                }
                d
            }
        };
        self.errors.push(d);
    }

    fn elem_text(&self, e: Elem) -> String {
        match e {
            Elem::Infer(_) => {
                if self.elem_within(e, crate::ty::DtypeBound::Float) {
                    "a float literal".into()
                } else {
                    "a number".into()
                }
            }
            Elem::Dtype(_) | Elem::Param(_) => self.show().elem(e),
        }
    }

    /// Adds to a size error what could be written where the sizes are not plainly different.
    fn undecided(&self, d: Diagnostic, a: &SizeExpr, b: &SizeExpr, expected: &Ty, found: &Ty) -> Diagnostic {
        let difference = self.facts.reduce(&a.sub(b));
        let (a_text, b_text) = (self.show().size(a), self.show().size(b));
        if difference.as_const().is_some() {
            if let (Ty::Tensor(_, want), Ty::Tensor(_, have)) = (expected, found) {
                if let Some(help) = self.flatten_help(want, have, "x") {
                    return d.help(help);
                }
                if want.len() == 2 && have.len() == 2 && want[0] == have[1] && want[1] == have[0] {
                    return d.help("did you mean `x.T`?");
                }
            }
            return d.note(format!("{a_text} and {b_text} are different"));
        }
        let mut local = false;
        difference.visit_vars(&mut |v| local |= matches!(v, SizeVar::Local(_) | SizeVar::Open(_)));
        let d = d.note(format!("cannot show that {a_text} == {b_text}"));
        let as_text = self.show().ty(expected);
        if local {
            match (writable(&format!("{b_text} == {a_text}")), writable(&as_text)) {
                (Some(fact), Some(ty)) => {
                    d.help(format!("check it at run time: `assert {fact}` before, or `… as {ty}`"))
                }
                (Some(fact), None) => d.help(format!("check it at run time: `assert {fact}` before")),
                (None, _) => d.help("bind the values with `let`, and check it at run time: `assert len(a) == len(b)`"),
            }
        } else {
            d.help(format!("add `where {a_text} == {b_text}` to the function, or check at run time: `… as {as_text}`"))
        }
    }

    /// "28 * 28 = 784: rearrange(x, "n a b -> n (a b)")": the last axis of one is the product of the other's last axes.
    pub(super) fn flatten_help(&self, want: &[Dim], have: &[Dim], name: &str) -> Option<String> {
        const TAIL: [&str; 4] = ["a", "b", "c", "d"];
        let size = |d: &Dim| match d {
            Dim::Size(e) => Some(e.clone()),
            Dim::Spread(_) => None,
        };
        let last = size(want.last()?)?;
        for k in 2..=have.len().min(TAIL.len()) {
            let tail: Option<Vec<SizeExpr>> = have[have.len() - k..].iter().map(size).collect();
            let Some(tail) = tail else { break };
            let product = tail.iter().fold(SizeExpr::constant(1), |p, e| p.mul(e));
            if self.facts.equal(&product, &last) {
                let texts: Vec<String> = tail.iter().map(|e| self.show().size(e)).collect();
                let head = match &have[..have.len() - k] {
                    [] => "",
                    [Dim::Size(_)] => "n ",
                    [Dim::Size(_), Dim::Size(_)] => "n m ",
                    [..] => "... ",
                };
                let axes = TAIL[..k].join(" ");
                return Some(format!(
                    "{} = {}: rearrange({name}, \"{head}{axes} -> {head}({axes})\")",
                    texts.join(" * "),
                    self.show().size(&last)
                ));
            }
        }
        None
    }
}

/// A text about sizes as code: the length of a variable is `len(x)`; `None` if a size in it has no name to write.
pub(super) fn writable(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("<length of `") {
        out += &rest[..at];
        let (name, tail) = rest[at + "<length of `".len()..].split_once("`>")?;
        out += &format!("len({name})");
        rest = tail;
    }
    out += rest;
    let bytes = out.as_bytes();
    let word = |i: usize| bytes.get(i).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let unnamed = (0..bytes.len()).any(|i| match bytes[i] {
        b'<' => word(i + 1),
        b'_' => !word(i + 1) && (i == 0 || !word(i - 1)),
        _ => false,
    });
    (!unnamed).then_some(out)
}

pub(super) fn has_error(t: &Ty) -> bool {
    match t {
        Ty::Error => true,
        Ty::Tuple(items) => items.iter().any(has_error),
        Ty::Stack(_, t) | Ty::Exists(_, t) => has_error(t),
        Ty::Fn(f) => has_error(&f.result) || f.params.iter().any(|p| has_error(&p.ty)),
        Ty::Struct(_, args) => args.iter().any(|a| matches!(a, crate::ty::GenericArg::Ty(t) if has_error(t))),
        Ty::Never | Ty::Tensor(..) | Ty::Param(_) | Ty::Str | Ty::Rng | Ty::Infer(_) => false,
    }
}
