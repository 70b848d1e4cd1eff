//! Symbolic sizes: integer expressions over size names, kept in a normal form so that equality of normal forms is
//! equality of sizes.
//!
//! A size is a polynomial with integer coefficients over atoms; an atom is a variable or a floor division that does not
//! simplify. `a % m` is `a - m * (a // m)`, so the remainder needs no atom of its own. Arithmetic wraps, as in programs.
//!
//! What depends on facts (`where d % h == 0`, `assert n <= m`) is decided in [`facts`]; this module knows none.

mod arith;
mod display;
pub mod facts;
#[cfg(test)]
mod tests;

use crate::ids::{ConstId, GenericId, LocalId, OpenId};

pub use display::SizeNames;
pub use facts::{Fact, Facts, Mark};

/// What a size may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SizeVar {
    /// A size parameter of a function, struct, impl, interface or function type. Never negative.
    Param(GenericId),
    /// An immutable `i64` of the body: let, parameter, loop variable, or a temporary the checker made.
    Local(LocalId),
    /// An `i64` constant whose value the checker does not know.
    Const(ConstId),
    /// The witness of an opened existential of the body. Never negative.
    Open(OpenId),
    /// A size bound by the enclosing [`crate::Ty::Exists`]; the number is unique in the program.
    Bound(u32),
    /// An unknown of inference; none is left in a checked program.
    Infer(u32),
    /// The quotient that a fact `a % m == 0` introduces; lives inside [`facts`] alone.
    Quotient(u32),
}

/// An indivisible part of a size.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Atom {
    Var(SizeVar),
    /// `a // b` (floor) that does not simplify. A zero divisor traps where the size is computed.
    Div(Box<SizeExpr>, Box<SizeExpr>),
}

/// A product of atoms with exponents ≥ 1, sorted; empty for the constant term.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Monomial(pub Vec<(Atom, u32)>);

/// A size in normal form: terms sorted by monomial, no zero coefficients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SizeExpr {
    terms: Vec<(Monomial, i64)>,
}

impl SizeExpr {
    pub fn constant(value: i64) -> SizeExpr {
        SizeExpr::from_terms(vec![(Monomial::default(), value)])
    }

    pub fn var(var: SizeVar) -> SizeExpr {
        SizeExpr { terms: vec![(Monomial(vec![(Atom::Var(var), 1)]), 1)] }
    }

    pub(crate) fn atom(atom: Atom) -> SizeExpr {
        SizeExpr { terms: vec![(Monomial(vec![(atom, 1)]), 1)] }
    }

    /// Sorts, merges and drops zeros.
    pub(crate) fn from_terms(mut terms: Vec<(Monomial, i64)>) -> SizeExpr {
        terms.sort_by(|a, b| a.0.cmp(&b.0));
        let mut out: Vec<(Monomial, i64)> = Vec::with_capacity(terms.len());
        for (m, c) in terms {
            match out.last_mut() {
                Some((last, sum)) if *last == m => *sum = sum.wrapping_add(c),
                Some(_) | None => out.push((m, c)),
            }
        }
        out.retain(|(_, c)| *c != 0);
        SizeExpr { terms: out }
    }

    /// Monomials with their coefficients; the value is the sum of the products.
    pub fn terms(&self) -> &[(Monomial, i64)] {
        &self.terms
    }

    /// The value, when it depends on nothing.
    pub fn as_const(&self) -> Option<i64> {
        match self.terms.as_slice() {
            [] => Some(0),
            [(m, c)] if m.0.is_empty() => Some(*c),
            _ => None,
        }
    }

    /// The variable, when the size is exactly one.
    pub fn as_var(&self) -> Option<SizeVar> {
        match self.terms.as_slice() {
            [(Monomial(atoms), 1)] => match atoms.as_slice() {
                [(Atom::Var(v), 1)] => Some(*v),
                _ => None,
            },
            _ => None,
        }
    }

    pub fn is_zero(&self) -> bool {
        self.terms.is_empty()
    }

    /// Calls `f` with every variable, inside divisions too.
    pub fn visit_vars(&self, f: &mut impl FnMut(SizeVar)) {
        for (m, _) in &self.terms {
            for (atom, _) in &m.0 {
                match atom {
                    Atom::Var(v) => f(*v),
                    Atom::Div(a, b) => {
                        a.visit_vars(f);
                        b.visit_vars(f);
                    }
                }
            }
        }
    }

    pub fn mentions(&self, var: SizeVar) -> bool {
        let mut found = false;
        self.visit_vars(&mut |v| found |= v == var);
        found
    }

    /// Replaces variables (those for which `f` answers) and normalises again.
    pub fn subst(&self, f: &impl Fn(SizeVar) -> Option<SizeExpr>) -> SizeExpr {
        let mut hit = false;
        self.visit_vars(&mut |v| hit |= f(v).is_some());
        if !hit {
            return self.clone();
        }
        let mut sum = SizeExpr::default();
        for (m, c) in &self.terms {
            let mut product = SizeExpr::constant(*c);
            for (atom, power) in &m.0 {
                let value = match atom {
                    Atom::Var(v) => f(*v).unwrap_or_else(|| SizeExpr::var(*v)),
                    Atom::Div(a, b) => a.subst(f).floor_div(&b.subst(f)),
                };
                for _ in 0..*power {
                    product = product.mul(&value);
                }
            }
            sum = sum.add(&product);
        }
        sum
    }

    /// The value under an assignment; `None` on a missing variable or a division by zero.
    pub fn eval(&self, f: &impl Fn(SizeVar) -> Option<i64>) -> Option<i64> {
        let mut sum = 0i64;
        for (m, c) in &self.terms {
            let mut product = *c;
            for (atom, power) in &m.0 {
                let value = match atom {
                    Atom::Var(v) => f(*v)?,
                    Atom::Div(a, b) => {
                        let (a, b) = (a.eval(f)?, b.eval(f)?);
                        arith::floor_div(a, b)?
                    }
                };
                product = product.wrapping_mul(value.wrapping_pow(*power));
            }
            sum = sum.wrapping_add(product);
        }
        Some(sum)
    }
}

impl From<i64> for SizeExpr {
    fn from(value: i64) -> SizeExpr {
        SizeExpr::constant(value)
    }
}
