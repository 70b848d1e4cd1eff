//! The parser: pest finds the structure of each item, this builds the tree. One bad item gives one error and does not
//! hide the next.

mod error;
mod expr;
mod item;
mod salvage;
mod stmt;
mod ty;

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;

use pest::Parser;
use pest::iterators::{Pair, Pairs};
use tdl_source::{Diagnostic, FileId, Span, code};

use crate::ast::{Expr, ExprKind, Ident, Item, Module, Source, Stmt, StmtKind};
use crate::lines::{Origin, Prepared, pieces, prepare};
use crate::tokens::{Token, tokens};

#[derive(pest_derive::Parser)]
#[grammar = "tdl.pest"]
pub(crate) struct Grammar;

/// A tree and what is wrong with the text; items with errors are missing from the tree.
#[derive(Debug)]
pub struct Parsed {
    pub module: Module,
    pub errors: Vec<Diagnostic>,
}

/// What was typed at the REPL: items and statements in order; the last may be a bare expression.
#[derive(Debug)]
pub struct ParsedEntry {
    pub stmts: Vec<Stmt>,
    pub errors: Vec<Diagnostic>,
}

/// What a piece of a file holds; see [`pieces`].
#[derive(Debug, Default)]
pub struct Piece {
    /// One, or none if it has errors.
    pub items: Vec<Arc<Item>>,
    pub broken: Vec<Arc<str>>,
    /// The file's own comment, which stands in its first piece.
    pub doc: Option<Arc<str>>,
    pub errors: Vec<Diagnostic>,
}

/// Parses a file. The text's size is below 4 GiB.
pub fn parse(file: FileId, text: &str) -> Parsed {
    let source = Source { file, whole: file, text: text.into(), line: 0 };
    let mut module = Module { sources: vec![source], ..Module::default() };
    let mut errors = Vec::new();
    let read = |range: &Range<usize>| {
        parse_piece_at(Origin::within(file, range.start), &text[range.clone()], range.start == 0)
    };
    for piece in in_parallel(text.len(), &pieces(text), read) {
        module.doc = module.doc.or(piece.doc);
        module.items.extend(piece.items);
        module.broken.extend(piece.broken);
        errors.extend(piece.errors);
    }
    Parsed { module, errors }
}

/// Parses a piece of a file as a text of its own: spans count from its first token, which is at `lead`, so that comments
/// before it move none. `first`: it is the first of its file.
pub fn parse_piece(file: FileId, text: &str, lead: usize, first: bool) -> Piece {
    parse_piece_at(Origin::own(file, lead), text, first)
}

/// Texts below this are read by one thread.
const SMALL: usize = 64 << 10;

/// Parts of a text are read independently: those of a large one by several threads. The results are in order.
pub fn in_parallel<P: Sync, T: Send>(size: usize, parts: &[P], read: impl Fn(&P) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
    if size < SMALL || threads == 1 {
        return parts.iter().map(read).collect();
    }
    let all = |parts: &[P]| parts.iter().map(&read).collect::<Vec<T>>();
    std::thread::scope(|scope| {
        let chunks = parts.chunks(parts.len().div_ceil(threads).max(1));
        let handles: Vec<_> = chunks
            .map(|part| {
                let all = &all;
                // as deep as the thread that calls
                let thread = std::thread::Builder::new().stack_size(256 << 20);
                (part, thread.spawn_scoped(scope, move || all(part)))
            })
            .collect();
        handles
            .into_iter()
            .flat_map(|(part, handle)| match handle.map(|h| h.join()) {
                Ok(Ok(out)) => out,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // no thread to be had
                Err(_) => all(part),
            })
            .collect()
    })
}

fn parse_piece_at(origin: Origin, text: &str, first: bool) -> Piece {
    let mut out = read(origin, text, first);
    if out.items.is_empty() && !out.errors.is_empty() {
        salvage::salvage(origin, text, first, &mut out);
        out.errors.sort_by_key(|e| e.primary.span.start);
    }
    out
}

fn read(origin: Origin, text: &str, first: bool) -> Piece {
    let mut prepared = prepare(origin, text, first);
    let early = std::mem::take(&mut prepared.errors);
    let mut out = Piece { doc: prepared.module_doc.take(), ..Piece::default() };
    let unended = early.iter().any(|e| e.code == code::E0106);
    if !prepared.sound || !prepared.spoiled.is_empty() || unended {
        out.broken.extend(item_name(text));
        out.errors = early;
    } else if prepared.text.trim().is_empty() {
        out.errors = early;
    } else {
        let cx = Cx::new(origin, text, &prepared);
        match Grammar::parse(Rule::file_item, &prepared.text) {
            Ok(pairs) => {
                for pair in pairs.flat_map(Pair::into_inner) {
                    if pair.as_rule() == Rule::item {
                        out.items.push(Arc::new(cx.item(pair)));
                    }
                }
                out.errors = early;
                out.errors.extend(cx.errors.into_inner());
            }
            Err(e) => {
                // a slip that was reported and patched can leave an item unreadable; that is no second error
                let silent = !early.is_empty();
                out.errors = early;
                if !silent {
                    out.errors.push(error::diagnose(&cx, Rule::file_item, &(0..text.len()), &e));
                }
                out.broken.extend(item_name(text));
            }
        }
    }
    out.errors.sort_by_key(|e| e.primary.span.start);
    out
}

/// What a name follows that an item defines, here or in other languages.
const ITEM_WORDS: &[&str] = &[
    "fn",
    "struct",
    "impl",
    "interface",
    "const",
    "type",
    "let",
    "mut",
    "var",
    "def",
    "func",
    "function",
    "class",
    "enum",
];

/// The name that an item would have defined; of an `impl`, the struct's.
fn item_name(text: &str) -> Option<Arc<str>> {
    let mut words = tokens(text).filter_map(|(t, r)| matches!(t, Ok(Token::Word)).then(|| &text[r]));
    words.by_ref().find(|w| ITEM_WORDS.contains(w))?;
    words.find(|w| !ITEM_WORDS.contains(w)).map(Arc::from)
}

/// Parses an entry of the REPL.
pub fn parse_entry(file: FileId, text: &str) -> ParsedEntry {
    let origin = Origin::within(file, 0);
    let mut prepared = prepare(origin, text, true);
    let mut errors = std::mem::take(&mut prepared.errors);
    let mut stmts = Vec::new();
    if prepared.sound && !prepared.text.trim().is_empty() {
        let cx = Cx::new(origin, text, &prepared);
        match Grammar::parse(Rule::repl, &prepared.text) {
            Ok(pairs) => {
                for pair in pairs.flat_map(Pair::into_inner) {
                    if pair.as_rule() == Rule::stmt {
                        stmts.push(cx.stmt(pair));
                    }
                }
                errors.extend(cx.errors.into_inner());
            }
            Err(_) if !errors.is_empty() => {}
            Err(e) => errors.push(error::diagnose(&cx, Rule::repl, &(0..text.len()), &e)),
        }
    }
    ParsedEntry { stmts, errors }
}

/// What building the tree needs.
pub(crate) struct Cx<'a> {
    origin: Origin,
    /// Offset of the parsed text in the piece.
    base: usize,
    /// The piece's text.
    source: &'a str,
    prepared: &'a Prepared,
    errors: RefCell<Vec<Diagnostic>>,
    /// How many expressions and types enclose what is being built.
    depth: Cell<usize>,
}

/// Deepest nesting that needs no brackets (`else if`, lambdas), and longest chain of operators.
const MAX_NESTING: usize = 1000;
const MAX_CHAIN: usize = 10_000;

type P<'i> = Pair<'i, Rule>;

impl<'a> Cx<'a> {
    fn new(origin: Origin, source: &'a str, prepared: &'a Prepared) -> Cx<'a> {
        Cx { origin, base: 0, source, prepared, errors: RefCell::default(), depth: Cell::new(0) }
    }

    /// For a text in braces that begins at this offset of the piece.
    fn inside(&self, base: usize) -> Cx<'a> {
        Cx { base, depth: Cell::new(self.depth.get()), ..Cx::new(self.origin, self.source, self.prepared) }
    }

    /// Offset in the piece of where a span begins.
    fn local(&self, span: Span) -> usize {
        self.origin.local(span)
    }

    fn span(&self, pair: &P<'_>) -> Span {
        let s = pair.as_span();
        // a rule that ends in an optional part may have eaten blanks
        let text = s.as_str().trim_end();
        self.origin.span(self.base + s.start()..self.base + s.start() + text.len())
    }

    fn error(&self, d: Diagnostic) {
        self.errors.borrow_mut().push(d);
    }

    fn ident(&self, pair: &P<'_>) -> Ident {
        Ident { name: pair.as_str().trim().into(), span: self.span(pair) }
    }

    fn doc(&self, span: Span) -> Option<Arc<str>> {
        let docs = &self.prepared.docs;
        let i = docs.binary_search_by_key(&self.local(span), |(at, _)| *at).ok()?;
        Some(Arc::clone(&docs[i].1))
    }

    /// Builds what may contain itself, unless it is nested too deep.
    fn nested<T>(&self, span: Span, build: impl FnOnce() -> T) -> Option<T> {
        if self.depth.get() >= MAX_NESTING {
            self.too_large(format!("this is nested deeper than {MAX_NESTING}"), span);
            return None;
        }
        self.depth.set(self.depth.get() + 1);
        let out = build();
        self.depth.set(self.depth.get() - 1);
        Some(out)
    }

    /// One error for each item.
    fn too_large(&self, message: String, span: Span) {
        let mut errors = self.errors.borrow_mut();
        if !errors.iter().any(|e| e.code == code::E0105) {
            let span = Span { end: span.end.min(span.start + 1), ..span };
            errors.push(
                Diagnostic::error(code::E0105, message, span, "too much for one expression")
                    .help("name parts of it with `let`"),
            );
        }
    }

    fn stmt_item(&self, item: Item) -> Stmt {
        Stmt { span: item.span, kind: StmtKind::Item(Box::new(item)) }
    }

    fn bad(&self, span: Span) -> Expr {
        Expr { kind: ExprKind::Error, span }
    }
}

/// Removes and returns the next pair if it is of this rule.
fn take<'i>(pairs: &mut std::iter::Peekable<Pairs<'i, Rule>>, rule: Rule) -> Option<P<'i>> {
    pairs.next_if(|p| p.as_rule() == rule)
}

/// The parts of a pair, to be consumed one after the other.
fn inner(pair: P<'_>) -> std::iter::Peekable<Pairs<'_, Rule>> {
    pair.into_inner().peekable()
}

/// The only or next part that the grammar guarantees.
fn next<'i>(pairs: &mut std::iter::Peekable<Pairs<'i, Rule>>) -> P<'i> {
    pairs.next().expect("the grammar guarantees this part")
}
