//! The parser: pest finds the structure of each item, this builds the tree. One bad item gives one error and does not
//! hide the next.

mod error;
mod expr;
mod item;
mod stmt;
mod ty;

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;

use pest::Parser;
use pest::iterators::{Pair, Pairs};
use tdl_source::{Diagnostic, FileId, Span, code};

use crate::ast::{Expr, ExprKind, Ident, Item, Module, Source, Stmt, StmtKind};
use crate::lines::{Prepared, prepare};
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

/// Parses a file. The text's size is below 4 GiB.
pub fn parse(file: FileId, text: &str) -> Parsed {
    let mut prepared = prepare(file, text, false);
    let source = Some(Source { file, text: text.into() });
    let mut module = Module { doc: prepared.module_doc.clone(), items: Vec::new(), broken: Vec::new(), source };
    let mut errors = std::mem::take(&mut prepared.errors);
    let items = std::mem::take(&mut prepared.items);
    let early = errors.clone();
    for part in in_parallel(text, &items, |part| parse_items(file, text, &prepared, &early, part)) {
        module.items.extend(part.items);
        module.broken.extend(part.broken);
        errors.extend(part.errors);
    }
    errors.sort_by_key(|e| e.primary.span.start);
    Parsed { module, errors }
}

/// Where an item stands, and whether its brackets are sound.
type Place = (Range<usize>, bool);

/// What some of the items gave.
#[derive(Default)]
struct Part {
    items: Vec<Item>,
    broken: Vec<Arc<str>>,
    errors: Vec<Diagnostic>,
}

/// Texts below this are read by one thread.
const SMALL: usize = 64 << 10;

/// Items are read independently: those of a large file by several threads. The results are in order.
fn in_parallel(text: &str, items: &[Place], read: impl Fn(&[Place]) -> Part + Sync) -> Vec<Part> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
    if text.len() < SMALL || threads == 1 {
        return vec![read(items)];
    }
    std::thread::scope(|scope| {
        let chunks = items.chunks(items.len().div_ceil(threads).max(1));
        let handles: Vec<_> = chunks
            .map(|part| {
                let read = &read;
                // as deep as the thread that calls
                let thread = std::thread::Builder::new().stack_size(256 << 20);
                (part, thread.spawn_scoped(scope, move || read(part)))
            })
            .collect();
        handles
            .into_iter()
            .map(|(part, handle)| match handle.map(|h| h.join()) {
                Ok(Ok(out)) => out,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // no thread to be had
                Err(_) => read(part),
            })
            .collect()
    })
}

fn parse_items(file: FileId, text: &str, prepared: &Prepared, early: &[Diagnostic], items: &[Place]) -> Part {
    let mut out = Part::default();
    for (range, sound) in items {
        let unended = |e: &Diagnostic| e.code == code::E0106 && range.contains(&(e.primary.span.start as usize));
        let spoiled = prepared.spoiled.iter().any(|at| range.contains(at)) || early.iter().any(unended);
        if !sound || spoiled {
            out.broken.extend(item_name(&text[range.clone()]));
            continue;
        }
        if prepared.text[range.clone()].trim().is_empty() {
            continue;
        }
        let cx =
            Cx { file, base: range.start, source: text, prepared, errors: RefCell::default(), depth: Cell::new(0) };
        match Grammar::parse(Rule::file_item, &prepared.text[range.clone()]) {
            Ok(pairs) => {
                for pair in pairs.flat_map(Pair::into_inner) {
                    if pair.as_rule() == Rule::item {
                        out.items.push(cx.item(pair));
                    }
                }
                out.errors.extend(cx.errors.into_inner());
            }
            Err(e) => {
                if !has_error_in(early, range.start, range.end) {
                    out.errors.push(error::diagnose(&cx, Rule::file_item, range, &e));
                }
                out.broken.extend(item_name(&text[range.clone()]));
            }
        }
    }
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
    let mut prepared = prepare(file, text, true);
    let mut errors = std::mem::take(&mut prepared.errors);
    let mut stmts = Vec::new();
    if prepared.items.iter().all(|(_, sound)| *sound) && !prepared.text.trim().is_empty() {
        let cx =
            Cx { file, base: 0, source: text, prepared: &prepared, errors: RefCell::default(), depth: Cell::new(0) };
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

/// A slip that was reported and patched can leave an item unreadable; that is no second error.
fn has_error_in(errors: &[Diagnostic], start: usize, end: usize) -> bool {
    errors.iter().any(|e| (start..end).contains(&(e.primary.span.start as usize)))
}

/// What building the tree needs.
pub(crate) struct Cx<'a> {
    file: FileId,
    /// Offset of the parsed text in the file.
    base: usize,
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

impl Cx<'_> {
    fn span(&self, pair: &P<'_>) -> Span {
        let s = pair.as_span();
        // a rule that ends in an optional part may have eaten blanks
        let text = s.as_str().trim_end();
        Span::new(self.file, self.base + s.start(), self.base + s.start() + text.len())
    }

    fn error(&self, d: Diagnostic) {
        self.errors.borrow_mut().push(d);
    }

    fn ident(&self, pair: &P<'_>) -> Ident {
        Ident { name: pair.as_str().trim().into(), span: self.span(pair) }
    }

    fn doc(&self, span: Span) -> Option<Arc<str>> {
        let docs = &self.prepared.docs;
        let i = docs.binary_search_by_key(&(span.start as usize), |(at, _)| *at).ok()?;
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
