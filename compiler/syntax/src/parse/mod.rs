//! The parser: pest finds the structure of each item, this builds the tree. One bad item gives one error and does not
//! hide the next.

mod error;
mod expr;
mod item;
mod stmt;
mod ty;

use std::cell::RefCell;
use std::sync::Arc;

use pest::Parser;
use pest::iterators::{Pair, Pairs};
use tdl_source::{Diagnostic, FileId, Span};

use crate::ast::{Expr, ExprKind, Ident, Item, Module, Stmt, StmtKind};
use crate::lines::{Prepared, prepare};

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
    let mut module = Module { doc: prepared.module_doc.clone(), items: Vec::new() };
    let mut errors = std::mem::take(&mut prepared.errors);
    let items = std::mem::take(&mut prepared.items);
    for (range, sound) in items {
        if !sound || prepared.text[range.clone()].trim().is_empty() {
            continue;
        }
        let cx = Cx { file, base: range.start, source: text, prepared: &prepared, errors: RefCell::default() };
        match Grammar::parse(Rule::file_item, &prepared.text[range.clone()]) {
            Ok(pairs) => {
                for pair in pairs.flat_map(Pair::into_inner) {
                    if pair.as_rule() == Rule::item {
                        module.items.push(cx.item(pair));
                    }
                }
                errors.extend(cx.errors.into_inner());
            }
            Err(_) if has_error_in(&errors, range.start, range.end) => {}
            Err(e) => errors.push(error::diagnose(&cx, Rule::file_item, &range, &e)),
        }
    }
    errors.sort_by_key(|e| e.primary.span.start);
    Parsed { module, errors }
}

/// Parses an entry of the REPL.
pub fn parse_entry(file: FileId, text: &str) -> ParsedEntry {
    let mut prepared = prepare(file, text, true);
    let mut errors = std::mem::take(&mut prepared.errors);
    let mut stmts = Vec::new();
    if prepared.items.iter().all(|(_, sound)| *sound) && !prepared.text.trim().is_empty() {
        let cx = Cx { file, base: 0, source: text, prepared: &prepared, errors: RefCell::default() };
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
}

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
