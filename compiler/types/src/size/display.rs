//! Sizes as the user writes them: `n`, `3*m + 1`, `n // 64`, `n % 64`.

use super::{Atom, Monomial, SizeExpr, SizeVar};

/// Says what variables are called.
pub trait SizeNames {
    fn size_name(&self, var: SizeVar) -> String;
}

impl SizeExpr {
    /// The size in user syntax.
    pub fn show(&self, names: &dyn SizeNames) -> String {
        self.show_terms(names).0
    }

    /// Text, and whether it needs parentheses as a factor.
    fn show_terms(&self, names: &dyn SizeNames) -> (String, bool) {
        let (mut rest, mut parts) = (self.clone(), Vec::new());
        while let Some((a, m, c, smaller)) = rest.take_remainder() {
            let text = format!("{} % {}", factor(&a, names), factor(&m, names));
            parts.push(if c.abs() == 1 { (c, text) } else { (c, format!("{}*({text})", c.abs())) });
            rest = smaller;
        }
        // highest degree first, the constant last
        let mut terms: Vec<&(Monomial, i64)> = rest.terms().iter().collect();
        terms.sort_by_key(|(m, c)| (*c < 0, std::cmp::Reverse(m.degree())));
        let shown: Vec<(i64, String)> = terms.into_iter().map(|(m, c)| (*c, show_term(m, *c, names))).collect();
        let constant_last = |(_, s): &(i64, String)| s.bytes().all(|b| b.is_ascii_digit());
        let (numbers, symbols): (Vec<_>, Vec<_>) = shown.into_iter().partition(constant_last);
        let negative_first = symbols.first().is_none_or(|(c, _)| *c < 0) && numbers.iter().any(|(c, _)| *c > 0);
        let (first, last) = if negative_first { (numbers, symbols) } else { (symbols, numbers) };
        parts.splice(0..0, first);
        parts.extend(last);
        let mut out = String::new();
        for (i, (c, text)) in parts.iter().enumerate() {
            match (i, *c < 0) {
                (0, false) => {}
                (0, true) => out.push('-'),
                (_, false) => out.push_str(" + "),
                (_, true) => out.push_str(" - "),
            }
            out.push_str(text);
        }
        if out.is_empty() {
            out.push('0');
        }
        let compound = parts.len() > 1 || out.starts_with('-') || out.contains(' ');
        (out, compound)
    }

    /// Splits off `c * (a % m)`: finds `c*a - c*m*(a // m)`.
    fn take_remainder(&self) -> Option<(SizeExpr, SizeExpr, i64, SizeExpr)> {
        for (monomial, coefficient) in self.terms() {
            for (atom, power) in &monomial.0 {
                let Atom::Div(a, m) = atom else { continue };
                if *power != 1 {
                    continue;
                }
                let quotient = SizeExpr::atom(atom.clone());
                for c in [1, -1] {
                    let remainder = a.sub(&m.mul(&quotient)).scale(c);
                    // how often it fits
                    let times = |t: &(Monomial, i64)| {
                        let same = self.terms().iter().find(|(x, k)| *x == t.0 && (*k > 0) == (t.1 > 0));
                        same.map_or(0, |(_, k)| k.unsigned_abs() / t.1.unsigned_abs())
                    };
                    let times = remainder.terms().iter().map(times).min().unwrap_or(0);
                    if let Ok(times) = i64::try_from(times)
                        && times > 0
                        && (*coefficient > 0) == (c < 0)
                    {
                        return Some(((**a).clone(), (**m).clone(), c * times, self.sub(&remainder.scale(times))));
                    }
                }
            }
        }
        None
    }
}

fn factor(e: &SizeExpr, names: &dyn SizeNames) -> String {
    match e.show_terms(names) {
        (text, true) => format!("({text})"),
        (text, false) => text,
    }
}

/// A term without its sign.
fn show_term(m: &Monomial, c: i64, names: &dyn SizeNames) -> String {
    let mut factors = Vec::new();
    if c.unsigned_abs() != 1 || m.0.is_empty() {
        factors.push(c.unsigned_abs().to_string());
    }
    let alone = m.0.len() == 1 && factors.is_empty();
    for (atom, power) in &m.0 {
        let text = match atom {
            Atom::Var(v) => names.size_name(*v),
            Atom::Div(a, b) => {
                let text = format!("{} // {}", factor(a, names), factor(b, names));
                if alone && *power == 1 && c > 0 { text } else { format!("({text})") }
            }
        };
        for _ in 0..*power {
            factors.push(text.clone());
        }
    }
    factors.join("*")
}
