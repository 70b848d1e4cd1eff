//! Arithmetic on normal forms.
//!
//! `(m*a + b) // m = a + b // m`: every multiple of the divisor leaves the division. The rule needs `m != 0`; where `m` is
//! 0 the division traps when it is computed, and the checker asks for `1 <= m` where a type divides by it.

use super::{Atom, Monomial, SizeExpr};

pub(super) fn floor_div(a: i64, b: i64) -> Option<i64> {
    if b == 0 {
        return None;
    }
    let q = a.wrapping_div(b);
    Some(if a.wrapping_rem(b) != 0 && ((a < 0) != (b < 0)) { q - 1 } else { q })
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1)
}

impl Monomial {
    pub(super) fn mul(&self, other: &Monomial) -> Monomial {
        let mut atoms = self.0.clone();
        for (atom, power) in &other.0 {
            match atoms.iter_mut().find(|(a, _)| a == atom) {
                Some((_, p)) => *p += power,
                None => atoms.push((atom.clone(), *power)),
            }
        }
        atoms.sort();
        Monomial(atoms)
    }

    /// `self / other` where `other` divides.
    pub(super) fn div(&self, other: &Monomial) -> Option<Monomial> {
        let mut atoms = self.0.clone();
        for (atom, power) in &other.0 {
            let (_, p) = atoms.iter_mut().find(|(a, _)| a == atom)?;
            *p = p.checked_sub(*power)?;
        }
        atoms.retain(|(_, p)| *p > 0);
        Some(Monomial(atoms))
    }

    fn common(&self, other: &Monomial) -> Monomial {
        let shared = |(atom, p): &(Atom, u32)| {
            let (_, q) = other.0.iter().find(|(a, _)| a == atom)?;
            Some((atom.clone(), (*p).min(*q)))
        };
        Monomial(self.0.iter().filter_map(shared).collect())
    }

    pub(super) fn degree(&self) -> u32 {
        self.0.iter().map(|(_, p)| *p).sum()
    }
}

impl SizeExpr {
    pub fn add(&self, other: &SizeExpr) -> SizeExpr {
        SizeExpr::from_terms(self.terms.iter().chain(&other.terms).cloned().collect())
    }

    pub fn neg(&self) -> SizeExpr {
        self.scale(-1)
    }

    pub fn sub(&self, other: &SizeExpr) -> SizeExpr {
        self.add(&other.neg())
    }

    pub fn scale(&self, by: i64) -> SizeExpr {
        SizeExpr::from_terms(self.terms.iter().map(|(m, c)| (m.clone(), c.wrapping_mul(by))).collect())
    }

    pub(super) fn times(&self, monomial: &Monomial, by: i64) -> SizeExpr {
        SizeExpr::from_terms(self.terms.iter().map(|(m, c)| (m.mul(monomial), c.wrapping_mul(by))).collect())
    }

    pub fn mul(&self, other: &SizeExpr) -> SizeExpr {
        let product = |(m, c): &(Monomial, i64)| self.times(m, *c).terms;
        SizeExpr::from_terms(other.terms.iter().flat_map(product).collect())
    }

    /// `self % m` with the sign of `m`.
    pub fn modulo(&self, m: &SizeExpr) -> SizeExpr {
        self.sub(&m.mul(&self.floor_div(m)))
    }

    /// `floor(self / m)`.
    pub fn floor_div(&self, m: &SizeExpr) -> SizeExpr {
        if let (Some(a), Some(b)) = (self.as_const(), m.as_const())
            && let Some(q) = floor_div(a, b)
        {
            return SizeExpr::constant(q);
        }
        if m.is_zero() {
            return SizeExpr::atom(Atom::Div(Box::new(self.clone()), Box::new(m.clone())));
        }
        if self.is_zero() {
            return SizeExpr::default();
        }
        // a // -m = -a // m: the divisor's leading coefficient is positive
        let lead = m.leading();
        if lead.1 < 0 && lead.1 != i64::MIN {
            return self.neg().floor_div(&m.neg());
        }
        let (quotient, rest) = self.divide_out(m);
        quotient.add(&rest_div(&rest, m))
    }

    /// Whether `m` divides every term: the exact quotient.
    pub fn exact_div(&self, m: &SizeExpr) -> Option<SizeExpr> {
        if m.is_zero() {
            return None;
        }
        let (quotient, rest) = self.divide_out(m);
        rest.is_zero().then_some(quotient)
    }

    /// The term of highest degree (the last of those in order), which division works on.
    fn leading(&self) -> &(Monomial, i64) {
        let best = self.terms.iter().max_by(|a, b| (a.0.degree(), &a.0).cmp(&(b.0.degree(), &b.0)));
        best.expect("not zero")
    }

    /// `(q, r)` with `self = m*q + r`: polynomial long division with Euclidean coefficients.
    fn divide_out(&self, m: &SizeExpr) -> (SizeExpr, SizeExpr) {
        let (lead, by) = m.leading().clone();
        let (mut quotient, mut rest) = (SizeExpr::default(), self.clone());
        let mut fuel = 64;
        'again: while fuel > 0 {
            fuel -= 1;
            for (monomial, c) in rest.terms.iter().rev() {
                let Some(factor) = monomial.div(&lead) else { continue };
                // a divisor of several terms must divide exactly, or the remainder would not be unique
                let q = if m.terms.len() == 1 { c.wrapping_div_euclid(by) } else { c.wrapping_div(by) };
                if q == 0 || (m.terms.len() > 1 && c.wrapping_rem(by) != 0) {
                    continue;
                }
                quotient = quotient.add(&SizeExpr::from_terms(vec![(factor.clone(), q)]));
                rest = rest.sub(&m.times(&factor, q));
                continue 'again;
            }
            break;
        }
        if fuel == 0 {
            return (SizeExpr::default(), self.clone());
        }
        (quotient, rest)
    }
}

/// `rest // m` where nothing leaves the division as a whole any more.
fn rest_div(rest: &SizeExpr, m: &SizeExpr) -> SizeExpr {
    if rest.is_zero() {
        return SizeExpr::default();
    }
    let (mut rest, mut m) = (rest.clone(), m.clone());
    // common factors: (a*b) // (a*c) = b // c
    let shared = rest.terms.iter().chain(&m.terms).map(|(x, _)| x.clone()).reduce(|a, b| a.common(&b));
    if let Some(shared) = shared.filter(|s| !s.0.is_empty()) {
        let cancel = |e: &SizeExpr| {
            SizeExpr::from_terms(e.terms.iter().filter_map(|(x, c)| Some((x.div(&shared)?, *c))).collect())
        };
        return cancel(&rest).floor_div(&cancel(&m));
    }
    if let Some(d) = m.as_const() {
        if let Some(c) = rest.as_const() {
            return SizeExpr::constant(floor_div(c, d).unwrap_or(0));
        }
        // (g*r + c) // (g*d) = (r + c // g) // d
        let g = rest.terms.iter().filter(|(x, _)| !x.0.is_empty()).fold(d, |g, (_, c)| gcd(g, *c));
        if g > 1 {
            let divide = |(x, c): &(Monomial, i64)| (x.clone(), c.div_euclid(g));
            rest = SizeExpr::from_terms(rest.terms.iter().map(divide).collect());
            return rest.floor_div(&SizeExpr::constant(d / g));
        }
        // (a // b + c) // d = (a + b*c) // (b*d) for b, d ≥ 1
        if let [(x, 1)] = rest.terms.as_slice()
            && let [(Atom::Div(a, b), 1)] = x.0.as_slice()
            && let Some(inner) = b.as_const()
            && inner > 0
            && let Some(product) = inner.checked_mul(d)
        {
            return a.floor_div(&SizeExpr::constant(product));
        }
    } else if m.terms.len() > 1 || m.terms[0].1 != 1 {
        let g = rest.terms.iter().chain(&m.terms).fold(0, |g, (_, c)| gcd(g, *c));
        if g > 1 {
            let divide = |e: &SizeExpr| {
                SizeExpr::from_terms(e.terms.iter().map(|(x, c)| (x.clone(), c.wrapping_div(g))).collect())
            };
            (rest, m) = (divide(&rest), divide(&m));
            return rest.floor_div(&m);
        }
    }
    SizeExpr::atom(Atom::Div(Box::new(rest), Box::new(m)))
}
