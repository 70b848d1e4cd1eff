//! What is known about sizes, and what follows from it.
//!
//! An equation becomes a rule `variable = size` that is applied everywhere (`d % h == 0` gives `d = h * q`); an inequality
//! is kept as a polynomial that is not negative. [`Facts::nonneg`] looks for a sum of products of such polynomials with
//! monomials that gives the goal. It is incomplete, and answers quickly.

use super::{Atom, Monomial, SizeExpr, SizeVar};

/// A condition on sizes.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    Eq(SizeExpr, SizeExpr),
    Le(SizeExpr, SizeExpr),
    /// `1 % 0 == 0`: the first divides the second.
    Divides(SizeExpr, SizeExpr),
}

impl Fact {
    pub fn map(&self, f: &dyn Fn(&SizeExpr) -> SizeExpr) -> Fact {
        match self {
            Fact::Eq(a, b) => Fact::Eq(f(a), f(b)),
            Fact::Le(a, b) => Fact::Le(f(a), f(b)),
            Fact::Divides(m, a) => Fact::Divides(f(m), f(a)),
        }
    }

    /// Whether it is so under an assignment; `None` on a missing variable or a division by zero.
    pub fn eval(&self, f: &impl Fn(SizeVar) -> Option<i64>) -> Option<bool> {
        let (Fact::Eq(a, b) | Fact::Le(a, b) | Fact::Divides(a, b)) = self;
        let (a, b) = (a.eval(f)?, b.eval(f)?);
        match self {
            Fact::Eq(..) => Some(a == b),
            Fact::Le(..) => Some(a <= b),
            Fact::Divides(..) => b.checked_rem(a).map(|rest| rest == 0),
        }
    }

    pub fn visit_vars(&self, f: &mut impl FnMut(SizeVar)) {
        let (Fact::Eq(a, b) | Fact::Le(a, b) | Fact::Divides(a, b)) = self;
        a.visit_vars(f);
        b.visit_vars(f);
    }
}

/// Facts of the current scope, innermost last.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    rules: Vec<(SizeVar, SizeExpr)>,
    /// Equal to zero, where no variable could be eliminated.
    zeros: Vec<SizeExpr>,
    /// Not negative.
    nonneg: Vec<SizeExpr>,
    /// Not zero, of either sign: something was divided by it.
    divisors: Vec<SizeExpr>,
    quotients: u32,
}

/// A state to return to at the end of a block.
#[derive(Clone, Debug)]
pub struct Mark(Facts);

const DEPTH: u32 = 6;
const FUEL: u32 = 3000;

impl Facts {
    pub fn mark(&self) -> Mark {
        Mark(self.clone())
    }

    pub fn reset(&mut self, mark: Mark) {
        let quotients = self.quotients;
        *self = mark.0;
        self.quotients = quotients;
    }

    /// `a == b`.
    pub fn assume_eq(&mut self, a: &SizeExpr, b: &SizeExpr) {
        let zero = self.reduce(&a.sub(b));
        if zero.is_zero() {
            return;
        }
        for (monomial, c) in zero.terms() {
            let [(Atom::Var(var), 1)] = monomial.0.as_slice() else { continue };
            if c.unsigned_abs() != 1 {
                continue;
            }
            let value = SizeExpr::var(*var).sub(&zero.scale(*c));
            if value.mentions(*var) {
                continue;
            }
            let var = *var;
            if never_negative(var) {
                self.nonneg.push(value.clone());
            }
            let replace = |v: SizeVar| (v == var).then(|| value.clone());
            for (_, old) in &mut self.rules {
                *old = old.subst(&replace);
            }
            for known in self.nonneg.iter_mut().chain(&mut self.zeros) {
                *known = known.subst(&replace);
            }
            self.rules.push((var, value));
            return;
        }
        self.zeros.push(zero);
    }

    /// `a <= b`.
    pub fn assume_le(&mut self, a: &SizeExpr, b: &SizeExpr) {
        let difference = self.reduce(&b.sub(a));
        if difference.as_const().is_none() {
            self.nonneg.push(difference);
        }
    }

    /// `a % m == 0`.
    pub fn assume_divides(&mut self, m: &SizeExpr, a: &SizeExpr) {
        self.divisors.push(m.clone());
        if let Some(c) = self.reduce(a).as_const() {
            // no variable to replace: `m * (c // m)` is `c`
            let c = SizeExpr::constant(c);
            if self.nonneg(m) {
                self.assume_le(&SizeExpr::constant(1), m);
                if self.at_least(&c, 1) {
                    self.assume_le(m, &c);
                    self.nonneg.push(c.floor_div(m));
                }
            }
            self.assume_eq(&c, &m.mul(&c.floor_div(m)));
            return;
        }
        let quotient = SizeExpr::var(SizeVar::Quotient(self.quotients));
        self.quotients += 1;
        if self.nonneg(m) {
            // the remainder was computed, so m is not 0
            self.assume_le(&SizeExpr::constant(1), m);
            if self.nonneg(a) {
                self.nonneg.push(quotient.clone());
            }
        }
        self.assume_eq(a, &m.mul(&quotient));
    }

    /// The size with all rules applied.
    pub fn reduce(&self, e: &SizeExpr) -> SizeExpr {
        if self.rules.is_empty() {
            return e.clone();
        }
        e.subst(&|v| self.rules.iter().find(|(r, _)| *r == v).map(|(_, value)| value.clone()))
    }

    pub fn equal(&self, a: &SizeExpr, b: &SizeExpr) -> bool {
        if a == b {
            return true;
        }
        let difference = self.reduce(&a.sub(b));
        if difference.is_zero() {
            return true;
        }
        if difference.as_const().is_some() {
            return false;
        }
        self.zeros.iter().any(|z| difference.exact_div(&self.reduce(z)).is_some())
            || (self.prove(&difference) && self.prove(&difference.neg()))
    }

    pub fn nonneg(&self, e: &SizeExpr) -> bool {
        self.prove(&self.reduce(e))
    }

    /// At least 1, or of either sign with a remainder that is known.
    pub fn nonzero(&self, e: &SizeExpr) -> bool {
        self.at_least(e, 1) || self.divisors.iter().any(|d| self.reduce(d) == self.reduce(e))
    }

    pub fn at_least(&self, e: &SizeExpr, least: i64) -> bool {
        self.nonneg(&e.sub(&SizeExpr::constant(least)))
    }

    pub fn le(&self, a: &SizeExpr, b: &SizeExpr) -> bool {
        self.nonneg(&b.sub(a))
    }

    /// `a % m == 0`.
    pub fn divides(&self, m: &SizeExpr, a: &SizeExpr) -> bool {
        let remainder = self.reduce(a).modulo(&self.reduce(m));
        remainder.is_zero() || self.equal(&remainder, &SizeExpr::default())
    }

    fn prove(&self, e: &SizeExpr) -> bool {
        if let Some(c) = e.as_const() {
            return c >= 0;
        }
        let mut facts = self.nonneg.clone();
        let mut divisions = Vec::new();
        for known in std::iter::once(e).chain(&self.nonneg) {
            collect_divisions(known, &mut divisions);
        }
        for atom in divisions {
            let Atom::Div(a, b) = &atom else { continue };
            if !self.positive(b) {
                continue;
            }
            // b * (a // b) <= a < b * (a // b) + b
            let rest = a.sub(&b.mul(&SizeExpr::atom(atom.clone())));
            facts.push(b.sub(&rest).sub(&SizeExpr::constant(1)));
            facts.push(rest);
        }
        facts.retain(|f| f.as_const().is_none());
        let mut fuel = FUEL;
        self.search(e, &facts, DEPTH, &mut fuel) || self.prove_quotient(e)
    }

    /// `a // b + c`: the quotient is at least 0 if `a` is, and at least -1 if `a + b` is.
    fn prove_quotient(&self, e: &SizeExpr) -> bool {
        e.terms().iter().any(|(m, c)| {
            let ([(atom @ Atom::Div(a, b), 1)], 1) = (m.0.as_slice(), *c) else { return false };
            let rest = e.sub(&SizeExpr::atom(atom.clone()));
            if !self.positive(b) {
                return false;
            }
            (self.prove(a) && self.prove(&rest))
                || (self.prove(&a.add(b)) && self.prove(&rest.sub(&SizeExpr::constant(1))))
        })
    }

    fn positive(&self, e: &SizeExpr) -> bool {
        match e.as_const() {
            Some(c) => c > 0,
            None => {
                let mut fuel = FUEL / 8;
                self.search(&e.sub(&SizeExpr::constant(1)), &self.nonneg, 2, &mut fuel)
            }
        }
    }

    /// Cancels the first term that may be negative with a fact that has it too, and goes on.
    fn search(&self, goal: &SizeExpr, facts: &[SizeExpr], depth: u32, fuel: &mut u32) -> bool {
        let bad = |(m, c): &&(Monomial, i64)| *c < 0 || !self.monomial_nonneg(m);
        let worst = goal.terms().iter().filter(bad).max_by_key(|(m, _)| m.degree());
        let Some((monomial, c)) = worst else { return true };
        if depth == 0 || *fuel == 0 {
            return false;
        }
        *fuel -= 1;
        for fact in facts {
            for (term, k) in fact.terms() {
                if (*k < 0) != (*c < 0) {
                    continue;
                }
                let Some(factor) = monomial.div(term) else { continue };
                if !self.monomial_nonneg(&factor) || (term.0.is_empty() && !monomial.0.is_empty()) {
                    continue;
                }
                let (Ok(by), Ok(times)) = (i64::try_from(k.unsigned_abs()), i64::try_from(c.unsigned_abs())) else {
                    continue;
                };
                if by.checked_mul(times).is_none_or(|p| p > 1 << 40) {
                    continue;
                }
                let next = goal.scale(by).sub(&fact.times(&factor, times));
                if self.search(&next, facts, depth - 1, fuel) {
                    return true;
                }
            }
        }
        false
    }

    fn monomial_nonneg(&self, m: &Monomial) -> bool {
        m.0.iter().all(|(atom, power)| power % 2 == 0 || self.atom_nonneg(atom))
    }

    fn atom_nonneg(&self, atom: &Atom) -> bool {
        match atom {
            Atom::Var(v) => {
                never_negative(*v) || {
                    let var = SizeExpr::var(*v);
                    self.nonneg.iter().any(|f| f.sub(&var).as_const().is_some_and(|c| c <= 0))
                }
            }
            Atom::Div(a, b) => {
                let simple = |e: &SizeExpr| e.terms().iter().all(|(m, c)| *c >= 0 && self.monomial_nonneg(m));
                simple(a) && self.positive(b)
            }
        }
    }
}

/// Sizes of axes are never negative; numbers may be.
fn never_negative(v: SizeVar) -> bool {
    match v {
        SizeVar::Param(_) | SizeVar::Open(_) | SizeVar::Bound(_) => true,
        SizeVar::Local(_) | SizeVar::Const(_) | SizeVar::Infer(_) | SizeVar::Quotient(_) => false,
    }
}

fn collect_divisions(e: &SizeExpr, out: &mut Vec<Atom>) {
    for (m, _) in e.terms() {
        for (atom, _) in &m.0 {
            if let Atom::Div(a, b) = atom
                && !out.contains(atom)
            {
                out.push(atom.clone());
                collect_divisions(a, out);
                collect_divisions(b, out);
            }
        }
    }
}
