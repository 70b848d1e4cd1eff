//! What a file defines: its outline.

use tdl_source::{FileId, Span};
use tdl_syntax::ast::{Item, ItemKind};

use super::Analysis;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolKind {
    Function,
    Method,
    Struct,
    Field,
    Interface,
    Constant,
    Type,
    Impl,
    Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    pub name: String,
    pub kind: SymbolKind,
    pub span: Span,
    pub name_span: Span,
    pub children: Vec<Symbol>,
}

impl Analysis {
    pub fn symbols(&self, file: FileId) -> Vec<Symbol> {
        let modules = self.modules.iter().find(|m| m.file == file);
        let mut out: Vec<Symbol> =
            modules.into_iter().flat_map(|m| &m.ast.items).filter_map(|i| symbol(i, false)).collect();
        self.place_symbols(&mut out);
        out
    }

    fn place_symbols(&self, symbols: &mut [Symbol]) {
        for s in symbols {
            (s.span, s.name_span) = (self.outer(s.span), self.outer(s.name_span));
            self.place_symbols(&mut s.children);
        }
    }
}

fn symbol(item: &Item, inner: bool) -> Option<Symbol> {
    let methods = |items: &[Item]| items.iter().filter_map(|i| symbol(i, true)).collect();
    let (name, name_span, kind, children) = match &item.kind {
        ItemKind::Import(_) => return None,
        ItemKind::Const(c) => (c.name.name.to_string(), c.name.span, SymbolKind::Constant, Vec::new()),
        ItemKind::TypeAlias(t) => (t.name.name.to_string(), t.name.span, SymbolKind::Type, Vec::new()),
        ItemKind::Struct(s) => {
            let field = |f: &tdl_syntax::ast::Field| Symbol {
                name: f.name.name.to_string(),
                kind: SymbolKind::Field,
                span: f.name.span.to(f.ty.span),
                name_span: f.name.span,
                children: Vec::new(),
            };
            (s.name.name.to_string(), s.name.span, SymbolKind::Struct, s.fields.iter().map(field).collect())
        }
        ItemKind::Impl(i) => (format!("impl {}", i.name.name), i.name.span, SymbolKind::Impl, methods(&i.items)),
        ItemKind::Interface(i) => (i.name.name.to_string(), i.name.span, SymbolKind::Interface, methods(&i.items)),
        ItemKind::Fn(f) => {
            let kind = if inner { SymbolKind::Method } else { SymbolKind::Function };
            (f.name.name.to_string(), f.name.span, kind, Vec::new())
        }
        ItemKind::Test(t) => (format!("test {}", t.name), t.name_span, SymbolKind::Test, Vec::new()),
        ItemKind::Prop(p) => (format!("prop {}", p.name), p.name_span, SymbolKind::Test, Vec::new()),
        ItemKind::Bench(b) => (format!("bench {}", b.name), b.name_span, SymbolKind::Test, Vec::new()),
    };
    Some(Symbol { name, kind, span: item.span.to(name_span), name_span, children })
}
