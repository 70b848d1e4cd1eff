//! Facts about sizes as the source writes them: `where` clauses and `assert`s.

use std::rc::Rc;

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, CompareOp, ExprKind};

use super::Checker;
use crate::size::{Fact, SizeExpr};
use crate::subst::{Bindings, Subst};

/// One condition on sizes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Clause {
    pub fact: Fact,
    /// As it was written, with the names of where it stands.
    pub text: Rc<str>,
    pub span: Span,
}

impl Checker<'_> {
    pub(super) fn assume(&mut self, fact: &Fact) {
        match fact {
            Fact::Eq(a, b) => self.facts.assume_eq(a, b),
            Fact::Le(a, b) => self.facts.assume_le(a, b),
            Fact::Divides(m, a) => self.facts.assume_divides(m, a),
        }
    }

    pub(super) fn holds(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Eq(a, b) => self.facts.equal(a, b),
            Fact::Le(a, b) => self.facts.le(a, b),
            Fact::Divides(m, a) => self.facts.divides(m, a),
        }
    }

    pub(super) fn show_fact(&self, fact: &Fact) -> String {
        let show = self.show();
        match fact {
            Fact::Eq(a, b) => format!("{} == {}", show.size(a), show.size(b)),
            Fact::Le(a, b) => format!("{} <= {}", show.size(a), show.size(b)),
            Fact::Divides(m, a) => format!("{} % {} == 0", paren(show.size(a)), paren(show.size(m))),
        }
    }

    /// The clauses after `where`; each must be about sizes.
    pub(super) fn where_clauses(&mut self, facts: &[ast::Expr]) -> Vec<Clause> {
        let mut out = Vec::new();
        for e in facts {
            if !self.collect_facts(e, &mut out) {
                self.errors.push(
                    Diagnostic::error(
                        code::E0309,
                        "a `where` clause compares sizes",
                        e.span,
                        "not an equation, a divisibility or a `<=` between sizes",
                    )
                    .help("write `d % h == 0`, `n == 2*m` or `k <= n`"),
                );
            }
        }
        out
    }

    /// Facts that an expression states, as far as it is about sizes; says whether it is so wholly.
    pub(super) fn collect_facts(&mut self, e: &ast::Expr, out: &mut Vec<Clause>) -> bool {
        match &e.kind {
            ExprKind::And(a, b) => {
                let left = self.collect_facts(a, out);
                self.collect_facts(b, out) && left
            }
            ExprKind::Compare { op, left, right, .. } => {
                if let ExprKind::Compare { right: middle, .. } = &left.kind {
                    // a <= b <= c
                    let first = self.collect_facts(left, out);
                    return self.compare_fact(*op, middle, right, e.span, out) && first;
                }
                self.compare_fact(*op, left, right, e.span, out)
            }
            _ => false,
        }
    }

    fn compare_fact(
        &mut self,
        op: CompareOp,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
        out: &mut Vec<Clause>,
    ) -> bool {
        let one = SizeExpr::constant(1);
        if op == CompareOp::Eq {
            for (x, y) in [(left, right), (right, left)] {
                if let ExprKind::Binary { op: ast::BinaryOp::Rem, left: a, right: m, .. } = &x.kind
                    && let (Some(a), Some(m), Some(rest)) = (self.pure_size(a), self.pure_size(m), self.pure_size(y))
                {
                    out.push(self.clause(Fact::Divides(m, a.sub(&rest)), span));
                    return true;
                }
            }
        }
        let (Some(a), Some(b)) = (self.pure_size(left), self.pure_size(right)) else { return false };
        let fact = match op {
            CompareOp::Eq => Fact::Eq(a, b),
            CompareOp::Le => Fact::Le(a, b),
            CompareOp::Lt => Fact::Le(a.add(&one), b),
            CompareOp::Ge => Fact::Le(b, a),
            CompareOp::Gt => Fact::Le(b.add(&one), a),
            CompareOp::Ne => return false,
        };
        out.push(self.clause(fact, span));
        true
    }

    fn clause(&self, fact: Fact, span: Span) -> Clause {
        let text = self.show_fact(&fact).into();
        Clause { fact, text, span }
    }

    /// Proves the clauses of something that is instantiated; a violated one is the caller's error.
    pub(super) fn prove_clauses(&mut self, clauses: &[Clause], bindings: &Bindings, name: &str, span: Span) {
        for clause in clauses {
            let fact = clause.fact.map(&|e| self.zonk_size(&e.subst(&|v| bindings.size(v))));
            if self.holds(&fact) {
                continue;
            }
            let (stated, needed) = (&clause.text, self.show_fact(&fact));
            let here = if **stated == *needed { String::new() } else { format!(", which is {needed} here") };
            let message = format!("`{name}` needs {stated}{here}");
            let known = match &fact {
                Fact::Eq(a, b) | Fact::Le(a, b) | Fact::Divides(a, b) => {
                    a.as_const().is_some() && b.as_const().is_some()
                }
            };
            let mut d = Diagnostic::error(
                code::E0403,
                message,
                span,
                if known { "does not hold".to_string() } else { format!("cannot show that {needed}") },
            )
            .label(clause.span, "required here");
            if !known {
                d = d.help(match super::errors::writable(&needed) {
                    Some(code) => format!("add `where {code}` to the function, or `assert {code}` before the call"),
                    None => {
                        format!("name the number (`let k = …`) and `assert` before the call what {stated} says of it")
                    }
                });
            }
            self.errors.push(d);
        }
    }
}

fn paren(s: String) -> String {
    if s.contains(' ') { format!("({s})") } else { s }
}
