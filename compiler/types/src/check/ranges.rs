//! The indices of comprehensions: what ranges they have, and which subscripts these prove.
//!
//! A bare subscript `a[i]` says the range of an index whose binder does not. What an index that is no bare one needs
//! (`x[i + j]`) is decided at the end of the outermost comprehension, when all ranges are known.

use rustc_hash::FxHashMap;
use tdl_source::{Diagnostic, Span, code};

use super::Checker;
use crate::ids::*;
use crate::size::{SizeExpr, SizeVar};
use crate::thir::{Expr, ExprKind};

/// Where the range of an index comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Origin {
    /// `for i < n`, `for k in a..b`.
    Stated(Span),
    /// The subscript that was first.
    Subscript(Span),
}

/// An index of a comprehension.
#[derive(Clone, Debug)]
pub(super) struct Index {
    pub local: LocalId,
    pub from: SizeExpr,
    /// None as long as no use has said it.
    pub extent: Option<(SizeExpr, Origin)>,
    /// How many variables and opened sizes there were before the comprehension: its range may depend on these alone.
    pub before: (usize, usize),
    /// A use has disagreed, and been reported.
    pub wrong: bool,
}

/// `index` lies in `0..size`, if the ranges of the indices around prove it.
#[derive(Clone)]
struct Obligation {
    span: Span,
    index: SizeExpr,
    size: SizeExpr,
    around: Vec<usize>,
}

/// All indices of a body.
#[derive(Clone, Default)]
pub(super) struct Ranges {
    pub indices: Vec<Index>,
    /// Those of the comprehensions around, by their place in `indices`.
    pub around: Vec<usize>,
    open: Vec<Obligation>,
    decided: FxHashMap<Span, bool>,
}

impl Ranges {
    /// Whether the subscript that stands there needs no check.
    pub fn proved(&self, span: Span) -> bool {
        self.decided.get(&span).copied().unwrap_or(false)
    }
}

impl Checker<'_> {
    /// A subscript on an axis of size `n`: whether it is an index alone whose range is, or becomes, `0..n`. `None`: it is not.
    pub(super) fn bare_subscript(&mut self, e: &Expr, n: &SizeExpr) -> Option<bool> {
        let ExprKind::Local(id) = &e.kind else { return None };
        let at = self.body.ranges.indices.iter().position(|i| i.local == *id)?;
        let index = self.body.ranges.indices[at].clone();
        let n = self.zonk_size(n);
        match index.extent {
            None if !index.wrong => {
                let mut inside = false;
                n.visit_vars(&mut |v| match v {
                    SizeVar::Local(l) => inside |= l.index() >= index.before.0,
                    SizeVar::Open(o) => inside |= o.index() >= index.before.1,
                    SizeVar::Param(_)
                    | SizeVar::Const(_)
                    | SizeVar::Bound(_)
                    | SizeVar::Infer(_)
                    | SizeVar::Quotient(_) => {}
                });
                if inside {
                    self.body.ranges.indices[at].wrong = true;
                    let name = self.body.locals[id.index()].name.clone();
                    let text = format!("the range of `{name}` would be {}", self.show().size(&n));
                    self.error(
                        Diagnostic::error(code::E0407, text, e.span, "a size that is known only inside")
                            .help(format!("say the range: `for {name} < …`")),
                    );
                    return Some(true);
                }
                self.assume_range(*id, &SizeExpr::default(), &n);
                self.body.ranges.indices[at].extent = Some((n, Origin::Subscript(e.span)));
                Some(true)
            }
            None => Some(true),
            Some((extent, Origin::Subscript(first))) => {
                if self.unify_size(&extent, &n).is_err() && !index.wrong {
                    self.body.ranges.indices[at].wrong = true;
                    self.ranges_differ(*id, (&extent, first), (&n, e.span));
                }
                Some(true)
            }
            // the range is the user's: each subscript is proved or checked
            Some((_, Origin::Stated(_))) => None,
        }
    }

    fn ranges_differ(&mut self, id: LocalId, a: (&SizeExpr, Span), b: (&SizeExpr, Span)) {
        let name = self.body.locals[id.index()].name.clone();
        let extent = self.zonk_size(a.0);
        let (x, y) = (self.show().size(&extent), self.show().size(b.0));
        let mut d = Diagnostic::error(
            code::E0407,
            format!("the range of `{name}` is {x} here and {y} there"),
            b.1,
            format!("this axis has size {y}"),
        )
        .label(a.1, format!("this axis has size {x}"));
        if self.facts.reduce(&extent.sub(b.0)).as_const().is_none() {
            d = d.note(format!("cannot show that {x} == {y}"));
        }
        self.error(d.help(format!("say which it is: `for {name} < {x}`")));
    }

    /// `from <= id < from + extent`.
    pub(super) fn assume_range(&mut self, id: LocalId, from: &SizeExpr, extent: &SizeExpr) {
        let own = SizeExpr::var(SizeVar::Local(id));
        self.facts.assume_le(from, &own);
        self.facts.assume_le(&own.add(&SizeExpr::constant(1)), &from.add(extent));
    }

    /// Keeps a subscript that is not proved yet until all ranges are known.
    pub(super) fn prove_later(&mut self, span: Span, index: SizeExpr, size: SizeExpr) {
        if !self.body.ranges.around.is_empty() {
            let around = self.body.ranges.around.clone();
            self.body.ranges.open.push(Obligation { span, index, size, around });
        }
    }

    /// At the end of the outermost comprehension.
    pub(super) fn decide_subscripts(&mut self) {
        for o in std::mem::take(&mut self.body.ranges.open) {
            let facts = self.facts.mark();
            for at in &o.around {
                let index = self.body.ranges.indices[*at].clone();
                if let Some((extent, _)) = index.extent {
                    let extent = self.zonk_size(&extent);
                    self.assume_range(index.local, &index.from, &extent);
                }
            }
            let size = self.zonk_size(&o.size);
            let inside = self.facts.nonneg(&o.index) && self.facts.le(&o.index.add(&SizeExpr::constant(1)), &size);
            self.facts.reset(facts);
            let all = self.body.ranges.decided.entry(o.span).or_insert(true);
            *all &= inside;
        }
    }
}
