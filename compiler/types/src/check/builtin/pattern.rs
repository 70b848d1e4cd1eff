//! Patterns of `einsum`, `rearrange`, `reduce` and `repeat` as data: `b t (h e) -> b h t e`.

use tdl_source::Span;

/// An axis by name, or a size as written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Atom {
    Name(String),
    Size(i64),
}

/// One entry of a side.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub kind: ItemKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(super) enum ItemKind {
    Atom(Atom),
    /// `(h e)`; `()` is an axis of size 1.
    Group(Vec<(Atom, Span)>),
    /// `...`
    Rest,
}

/// The operands left of `->`, separated by commas, and the result.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub operands: Vec<Side>,
    pub result: Side,
}

#[derive(Clone, Debug)]
pub(super) struct Side {
    pub items: Vec<Item>,
    pub span: Span,
}

/// What is wrong with a pattern, and where.
pub(super) struct Wrong {
    pub span: Span,
    pub text: String,
    pub label: &'static str,
}

impl Side {
    /// Names and sizes with their places, groups opened.
    pub fn atoms(&self) -> Vec<(Atom, Span)> {
        let mut out = Vec::new();
        for i in &self.items {
            match &i.kind {
                ItemKind::Atom(a) => out.push((a.clone(), i.span)),
                ItemKind::Group(atoms) => out.extend(atoms.iter().cloned()),
                ItemKind::Rest => {}
            }
        }
        out
    }

    pub fn has(&self, name: &str) -> bool {
        self.atoms().iter().any(|(a, _)| matches!(a, Atom::Name(n) if n == name))
    }

    /// A name that stands twice, which only an operand of `einsum` may have.
    pub fn twice(&self) -> Option<Wrong> {
        let atoms = self.atoms();
        atoms.iter().enumerate().find_map(|(i, (a, span))| match a {
            Atom::Name(name) if atoms[..i].iter().any(|(b, _)| b == a) => {
                let text = format!("`{name}` stands twice on one side");
                Some(Wrong { span: *span, text, label: "a second time" })
            }
            Atom::Name(_) | Atom::Size(_) => None,
        })
    }

    pub fn rest(&self) -> Option<usize> {
        self.items.iter().position(|i| matches!(i.kind, ItemKind::Rest))
    }
}

/// Reads a pattern; `at` is the place of its first byte.
pub(super) fn parse(text: &str, whole: Span, at: u32) -> Result<Pattern, Wrong> {
    let place = |from: usize, to: usize| Span { start: at + from as u32, end: at + to as u32, ..whole };
    let Some(arrow) = text.find("->") else {
        return Err(Wrong { span: whole, text: "a pattern has `->` between its sides".into(), label: "no `->`" });
    };
    if let Some(more) = text[arrow + 2..].find("->") {
        let span = place(arrow + 2 + more, arrow + 4 + more);
        return Err(Wrong { span, text: "a pattern has one `->`".into(), label: "a second one" });
    }
    let mut operands = Vec::new();
    let mut from = 0;
    for part in text[..arrow].split(',') {
        operands.push(side(part, from, &place)?);
        from += part.len() + 1;
    }
    let result = side(&text[arrow + 2..], arrow + 2, &place)?;
    Ok(Pattern { operands, result })
}

fn side(text: &str, from: usize, place: &dyn Fn(usize, usize) -> Span) -> Result<Side, Wrong> {
    let mut items = Vec::new();
    let mut group: Option<(usize, Vec<(Atom, Span)>)> = None;
    let bytes = text.as_bytes();
    let mut k = 0;
    let wrong = |a: usize, b: usize, text: String, label| Err(Wrong { span: place(from + a, from + b), text, label });
    while k < bytes.len() {
        let start = k;
        match bytes[k] {
            b' ' => k += 1,
            b'(' => {
                if group.is_some() {
                    return wrong(k, k + 1, "groups do not nest".into(), "a group inside a group");
                }
                group = Some((k, Vec::new()));
                k += 1;
            }
            b')' => {
                let Some((open, atoms)) = group.take() else {
                    return wrong(k, k + 1, "`)` without `(`".into(), "nothing to close");
                };
                k += 1;
                items.push(Item { kind: ItemKind::Group(atoms), span: place(from + open, from + k) });
            }
            b'.' if text[k..].starts_with("...") => {
                k += 3;
                if group.is_some() || items.iter().any(|i: &Item| matches!(i.kind, ItemKind::Rest)) {
                    return wrong(start, k, "`...` stands once on each side, outside of groups".into(), "not here");
                }
                items.push(Item { kind: ItemKind::Rest, span: place(from + start, from + k) });
            }
            c if c.is_ascii_alphanumeric() || c == b'_' => {
                while k < bytes.len() && (bytes[k].is_ascii_alphanumeric() || bytes[k] == b'_') {
                    k += 1;
                }
                let word = &text[start..k];
                let atom = if c.is_ascii_digit() {
                    match word.parse::<i64>() {
                        Ok(n) if n >= 1 => Atom::Size(n),
                        Ok(_) | Err(_) => {
                            return wrong(
                                start,
                                k,
                                format!("`{word}` is no size"),
                                "a name, or a number of at least 1",
                            );
                        }
                    }
                } else {
                    Atom::Name(word.to_string())
                };
                let span = place(from + start, from + k);
                match &mut group {
                    Some((_, atoms)) => atoms.push((atom, span)),
                    None => items.push(Item { kind: ItemKind::Atom(atom), span }),
                }
            }
            _ => {
                let c = text[k..].chars().next().unwrap_or(' ');
                let text = format!("`{c}` means nothing in a pattern");
                return wrong(k, k + c.len_utf8(), text, "names, numbers, `( )` and `...` stand here");
            }
        }
    }
    if let Some((open, _)) = group {
        return wrong(open, open + 1, "`(` without `)`".into(), "not closed");
    }
    let trimmed = text.trim();
    let lead = text.len() - text.trim_start().len();
    Ok(Side { items, span: place(from + lead, from + lead + trimmed.len().max(1)) })
}
