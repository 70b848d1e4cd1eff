//! Formats of interpolated values: `[[fill]align][+][width][,][.precision][kind]`, a subset of Python's. Unlike there, a
//! precision alone is digits after the point.

/// How a value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    pub fill: Option<char>,
    pub align: Option<Align>,
    pub plus: bool,
    pub width: usize,
    pub thousands: bool,
    pub precision: Option<usize>,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Center,
    Right,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Default,
    Fixed,
    Exponent,
    Percent,
    Hex,
}

/// Reads a format; `Err` says what is wrong with it.
pub fn parse(text: &str) -> Result<Spec, String> {
    let mut spec = Spec::default();
    let mut chars: Vec<char> = text.trim().chars().collect();
    let align = |c: char| match c {
        '<' => Some(Align::Left),
        '^' => Some(Align::Center),
        '>' => Some(Align::Right),
        _ => None,
    };
    if chars.len() >= 2 && align(chars[1]).is_some() {
        spec.fill = Some(chars[0]);
        spec.align = align(chars[1]);
        chars.drain(..2);
    } else if let Some(a) = chars.first().copied().and_then(align) {
        spec.align = Some(a);
        chars.remove(0);
    }
    let mut rest = chars.into_iter().peekable();
    spec.plus = rest.next_if_eq(&'+').is_some();
    let number = |rest: &mut std::iter::Peekable<std::vec::IntoIter<char>>| {
        let mut n = None;
        while let Some(d) = rest.peek().and_then(|c| c.to_digit(10)) {
            n = Some((n.unwrap_or(0) * 10 + d as usize).min(1000));
            rest.next();
        }
        n
    };
    if rest.peek() == Some(&'0') {
        spec.fill.get_or_insert('0');
    }
    spec.width = number(&mut rest).unwrap_or(0);
    spec.thousands = rest.next_if_eq(&',').is_some();
    if rest.next_if_eq(&'.').is_some() {
        spec.precision = Some(number(&mut rest).ok_or("digits must follow the `.`")?);
    }
    spec.kind = match rest.next() {
        None => Kind::Default,
        Some('f') => Kind::Fixed,
        Some('e') => Kind::Exponent,
        Some('%') => Kind::Percent,
        Some('x') => Kind::Hex,
        Some('d' | 'g' | 's') => Kind::Default,
        Some(c) => return Err(format!("`{c}` is no part of a format")),
    };
    match rest.next() {
        None => Ok(spec),
        Some(c) => Err(format!("`{c}` is no part of a format")),
    }
}

impl Spec {
    /// Fills to the width; numbers stand on the right unless said otherwise.
    pub fn pad(&self, text: &str) -> String {
        let len = text.chars().count();
        if len >= self.width {
            return text.to_owned();
        }
        let fill = self.fill.unwrap_or(' ');
        let missing = self.width - len;
        let number =
            text.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)) || ["nan", "inf"].contains(&text);
        let align = self.align.unwrap_or(if number { Align::Right } else { Align::Left });
        let (left, right) = match align {
            Align::Left => (0, missing),
            Align::Right => (missing, 0),
            Align::Center => (missing / 2, missing - missing / 2),
        };
        let side = |n: usize| std::iter::repeat_n(fill, n).collect::<String>();
        if fill == '0' && left > 0 && text.starts_with(['-', '+']) {
            return format!("{}{}{}", &text[..1], side(left), &text[1..]);
        }
        format!("{}{text}{}", side(left), side(right))
    }
}
