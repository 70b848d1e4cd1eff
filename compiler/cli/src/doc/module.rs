//! What a page says of a module: its items with their signatures, as written.

use tdl_source::Span;
use tdl_syntax::ast::{self, ItemKind};

/// A module's documentation.
pub struct Module {
    pub name: String,
    pub doc: String,
    pub entries: Vec<Entry>,
}

/// A function, struct, … or a method.
pub struct Entry {
    pub kind: Kind,
    /// `Linear`; `Linear.init` for a method.
    pub name: String,
    /// Without the body.
    pub signature: String,
    pub doc: String,
    /// Names with sizes or types in brackets: no links to items of these names.
    pub generics: Vec<String>,
    /// Methods of a struct, in order; what an interface asks for.
    pub members: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Struct,
    Interface,
    Fn,
    Method,
    Const,
    Type,
}

impl Kind {
    pub const ALL: [Kind; 6] = [Kind::Struct, Kind::Interface, Kind::Fn, Kind::Method, Kind::Type, Kind::Const];

    pub fn title(self) -> &'static str {
        match self {
            Kind::Struct => "Structs",
            Kind::Interface => "Interfaces",
            Kind::Fn => "Functions",
            Kind::Method => "Methods",
            Kind::Const => "Constants",
            Kind::Type => "Types",
        }
    }
}

impl Module {
    pub fn new(name: &str, text: &str, ast: &ast::Module) -> Module {
        let mut entries: Vec<Entry> = Vec::new();
        for item in &ast.items {
            if let Some(entry) = entry(text, item, None) {
                entries.push(entry);
            }
        }
        for item in &ast.items {
            let ItemKind::Impl(i) = &item.kind else { continue };
            let methods = i.items.iter().filter_map(|m| entry(text, m, Some(&i.name.name)));
            match entries.iter_mut().find(|e| e.kind == Kind::Struct && e.name == *i.name.name) {
                Some(owner) => owner.members.extend(methods),
                None => entries.extend(methods),
            }
        }
        Module { name: name.to_owned(), doc: ast.doc.as_deref().unwrap_or("").to_owned(), entries }
    }
}

fn entry(text: &str, item: &ast::Item, owner: Option<&str>) -> Option<Entry> {
    let slice = |span: Span| text.get(span.start as usize..span.end as usize).unwrap_or("").trim_end().to_owned();
    let names = |g: &[ast::Generic]| g.iter().map(|g| g.name.name.to_string()).collect();
    let (kind, name, signature, generics, members) = match &item.kind {
        ItemKind::Fn(f) => {
            let end = f.body.as_ref().map_or(item.span.end, |b| b.span.start);
            let head = slice(Span { end, ..item.span });
            let head = head.strip_suffix('=').unwrap_or(&head).trim_end().to_owned();
            let kind = if owner.is_some() { Kind::Method } else { Kind::Fn };
            (kind, &f.name, head, names(&f.generics), Vec::new())
        }
        ItemKind::Struct(s) => (Kind::Struct, &s.name, slice(item.span), names(&s.generics), Vec::new()),
        ItemKind::Interface(s) => {
            let members = s.items.iter().filter_map(|m| entry(text, m, Some(&s.name.name))).collect();
            let first = s.items.first().map_or(item.span.end, |m| m.span.start);
            let head = slice(Span { end: first, ..item.span });
            let head = head.split('{').next().unwrap_or("").trim_end().to_owned();
            (Kind::Interface, &s.name, head, names(&s.generics), members)
        }
        ItemKind::Const(c) => (Kind::Const, &c.name, slice(item.span), Vec::new(), Vec::new()),
        ItemKind::TypeAlias(a) => (Kind::Type, &a.name, slice(item.span), names(&a.generics), Vec::new()),
        ItemKind::Import(_) | ItemKind::Impl(_) | ItemKind::Test(_) | ItemKind::Prop(_) | ItemKind::Bench(_) => {
            return None;
        }
    };
    let name = owner.map_or_else(|| name.name.to_string(), |o| format!("{o}.{}", name.name));
    let doc = item.doc.as_deref().unwrap_or("").to_owned();
    Some(Entry { kind, name, signature: dedent(&signature), doc, generics, members })
}

/// Lines behind the first without the indentation that all of them have.
fn dedent(text: &str) -> String {
    let indent = |l: &str| l.len() - l.trim_start().len();
    let shared = text.lines().skip(1).filter(|l| !l.trim().is_empty()).map(indent).min().unwrap_or(0);
    let kept = shared.saturating_sub(2);
    let lines = text.lines().enumerate().map(|(i, l)| if i == 0 { l } else { l.get(kept..).unwrap_or(l.trim_start()) });
    lines.collect::<Vec<_>>().join("\n")
}
