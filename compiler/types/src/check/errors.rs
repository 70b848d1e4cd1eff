//! Diagnostics that several files share.

use tdl_source::{Diagnostic, Span, code};

use super::Checker;
use super::store::{Class, ElemState, Mismatch, Store};
use crate::show::Show;
use crate::size::{SizeExpr, SizeVar};
use crate::subst::Subst;
use crate::thir::{Expr, ExprKind};
use crate::ty::{Dim, Dtype, Elem, Ty};

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
                if dims.is_empty() {
                    if int { "a float".into() } else { "a number".into() }
                } else {
                    format!("{} {}", if int { "floats" } else { "numbers" }, self.show().shape(dims))
                }
            }
            other => self.show().ty(&other.subst(&Literals(&self.body.store))),
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
        let code = match why {
            Mismatch::Dtype { .. } => code::E0302,
            Mismatch::Size { .. } | Mismatch::Rank => code::E0401,
            Mismatch::Kind => code::E0301,
        };
        let mut d = Diagnostic::error(
            code,
            format!("{lead}expected {e_text}, got {f_text}"),
            span,
            format!("this is {f_text}"),
        );
        if let Some((_, at, text)) = self.body.ends.iter().rev().find(|(w, ..)| w == what) {
            d = d.label(*at, text);
        }
        d = match why {
            Mismatch::Dtype { expected, found } => {
                let (to, from) = (self.zonk_elem(*expected), self.zonk_elem(*found));
                let (to_text, from_text) = (self.elem_text(to), self.elem_text(from));
                let one_shape = matches!((&e, &f), (Ty::Tensor(_, a), Ty::Tensor(_, b)) if a == b);
                if matches!(to, Elem::Infer(_)) || matches!(from, Elem::Infer(_)) {
                    d.note(format!("{from_text} cannot become {to_text} by itself"))
                } else if one_shape || !matches!((&e, &f), (Ty::Tensor(..), Ty::Tensor(..))) {
                    d.help(format!(
                        "dtypes are never converted by themselves: write `{to_text}({})`",
                        self.quoted(span, false)
                    ))
                } else {
                    d
                }
            }
            Mismatch::Size { expected, found } => {
                let (a, b) = (self.zonk_size(expected), self.zonk_size(found));
                let d = self.size_origins(d, &[&a, &b], span);
                self.undecided(d, &a, &b, &e, &f, span)
            }
            Mismatch::Rank => match (&e, &f) {
                (Ty::Tensor(_, want), Ty::Tensor(_, have)) => match self.flatten_help(want, have, span) {
                    Some(help) => d.help(help),
                    None => d,
                },
                _ => d,
            },
            Mismatch::Kind if f.is_unit() && !matches!(e, Ty::Fn(_)) => {
                d.help("a block's value is its last expression; a statement there gives ()")
            }
            Mismatch::Kind => d,
        };
        self.errors.push(d);
    }

    /// `x as T` where no check at run time could make it true.
    pub(super) fn as_mismatch(&mut self, target: &Ty, found: &Ty, why: &Mismatch, (value, span): (Span, Span)) {
        let (t, f) = (self.zonk(target), self.zonk(found));
        if has_error(&t) || has_error(&f) {
            return;
        }
        let (t_text, f_text) = (self.show_ty(&t), self.show_ty(&f));
        let code = match why {
            Mismatch::Dtype { .. } => code::E0302,
            Mismatch::Size { .. } | Mismatch::Rank => code::E0401,
            Mismatch::Kind => code::E0301,
        };
        let text = format!("{f_text} can never be {t_text}: `as` checks sizes, it changes nothing");
        let mut d = Diagnostic::error(code, text, span, format!("to {t_text}")).label(value, f_text);
        if let Mismatch::Dtype { expected, .. } = why {
            let to = self.elem_text(self.zonk_elem(*expected));
            d = d.help(format!("to convert write `{to}({})`", self.quoted(value, false)));
        } else if let (Ty::Tensor(_, want), Ty::Tensor(_, have)) = (&t, &f)
            && let Some(help) = self.flatten_help(want, have, value)
        {
            d = d.help(help);
        }
        self.errors.push(d);
    }

    /// Labels where sizes come from that are known at run time only.
    pub(super) fn size_origins(&self, mut d: Diagnostic, sizes: &[&SizeExpr], span: Span) -> Diagnostic {
        let mut seen = Vec::new();
        for size in sizes {
            size.visit_vars(&mut |v| {
                if let SizeVar::Open(id) = v
                    && !seen.contains(&id)
                {
                    seen.push(id);
                }
            });
        }
        for id in seen {
            let open = &self.body.opens[id.index()];
            if open.span != span && !open.name.is_empty() {
                d = d.label(open.span, format!("`{}` is known at run time only", open.name));
            }
        }
        d
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

    /// Adds to a size error what could be written.
    fn undecided(
        &self,
        d: Diagnostic,
        a: &SizeExpr,
        b: &SizeExpr,
        expected: &Ty,
        found: &Ty,
        span: Span,
    ) -> Diagnostic {
        let difference = self.facts.reduce(&a.sub(b));
        let (a_text, b_text) = (self.show().size(a), self.show().size(b));
        let x = self.quoted(span, true);
        if let (Ty::Tensor(_, want), Ty::Tensor(_, have)) = (expected, found) {
            if let Some(help) = self.flatten_help(want, have, span) {
                return d.help(help);
            }
            if want.len() == 2 && have.len() == 2 && want[0] == have[1] && want[1] == have[0] {
                return d.help(format!("the axes are the other way round: `{x}.T`"));
            }
            if difference.as_const().is_some() {
                return d;
            }
        }
        if difference.as_const().is_some() {
            return d.note(format!("{a_text} and {b_text} are different"));
        }
        let (mut local, mut open) = (false, false);
        difference.visit_vars(&mut |v| {
            local |= matches!(v, SizeVar::Local(_) | SizeVar::Open(_));
            open |= matches!(v, SizeVar::Infer(_));
        });
        if open {
            return d.note("no size makes the two equal");
        }
        let d = d.note(format!("cannot show that {a_text} == {b_text}"));
        let as_text = self.show().ty(expected);
        if local {
            match (writable(&format!("{b_text} == {a_text}")), writable(&as_text)) {
                (Some(fact), Some(ty)) => {
                    d.help(format!("check it at run time: `assert {fact}` before, or `{x} as {ty}`"))
                }
                (Some(fact), None) => d.help(format!("check it at run time: `assert {fact}` before")),
                (None, Some(ty)) => d.help(format!("check it at run time: `{x} as {ty}`")),
                (None, None) => {
                    d.help("bind the values with `let`, and check it at run time: `assert len(a) == len(b)`")
                }
            }
        } else {
            d.help(format!(
                "add `where {a_text} == {b_text}` to the function, or check at run time: `{x} as {as_text}`"
            ))
        }
    }

    /// "28 * 28 = 784": the last axes of one are the product of the other's.
    pub(super) fn flatten_help(&self, want: &[Dim], have: &[Dim], span: Span) -> Option<String> {
        let size = |d: &Dim| match d {
            Dim::Size(e) => Some(e.clone()),
            Dim::Spread(_) => None,
        };
        let last = size(want.last()?)?;
        for k in 2..=have.len().min(4) {
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
                let axes = ["a", "b", "c", "d"][..k].join(" ");
                return Some(format!(
                    "{} = {}: rearrange({}, \"{head}{axes} -> {head}({axes})\")",
                    texts.join(" * "),
                    self.show().size(&last),
                    self.quoted(span, false),
                ));
            }
        }
        None
    }
}

/// Unknown dtypes of literals as what they are if nothing else says.
struct Literals<'s>(&'s Store);

impl Subst for Literals<'_> {
    fn elem(&self, elem: Elem) -> Option<Elem> {
        let Elem::Infer(i) = elem else { return None };
        match self.0.elems[i as usize] {
            ElemState::Open(Class::IntLit) => Some(Elem::Dtype(Dtype::I64)),
            ElemState::Open(Class::FloatLit) => Some(Elem::Dtype(Dtype::F32)),
            ElemState::Open(Class::Bound(..)) | ElemState::Is(_) => None,
        }
    }
}

/// A function is in it: what is known at compile time alone.
pub(super) fn has_fn(t: &Ty) -> bool {
    match t {
        Ty::Fn(_) => true,
        Ty::Tuple(items) => items.iter().any(has_fn),
        Ty::Stack(_, t) | Ty::Exists(_, t) => has_fn(t),
        Ty::Struct(_, args) => args.iter().any(|a| matches!(a, crate::ty::GenericArg::Ty(t) if has_fn(t))),
        Ty::Error | Ty::Never | Ty::Tensor(..) | Ty::Param(_) | Ty::Str | Ty::Rng | Ty::Infer(_) => false,
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

/// How to say a fact about sizes that the compiler cannot show.
pub(super) fn fact_help(fact: &str) -> String {
    match writable(fact) {
        Some(fact) => format!("add `where {fact}` to the function, or `assert {fact}` before"),
        None => "name the sizes where the value is made: `let [n, k] x = …`, then `assert` it; or say its type there: \
                 `… as some n. f32[n, 2]`"
            .into(),
    }
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
