//! A function whose body cannot be read still has its name and its signature: the body is replaced, and what can be read
//! with another counts. So uses of the function are checked, and while one types in a body all else stays what it was.

use std::sync::Arc;

use super::{Piece, read};
use crate::ast::{Expr, ExprKind, Item, ItemKind};
use crate::lines::{Origin, is_code};
use crate::tokens::{Token, tokens};

/// A function of a piece, by offsets.
struct Function {
    /// `fn`.
    start: usize,
    name: usize,
    /// After `=`, or at `{`.
    body: Option<usize>,
    /// Where it ends at the latest.
    end: usize,
}

/// Reads a piece again that could not be read because of what is in the bodies of functions.
pub(super) fn salvage(origin: Origin, text: &str, first: bool, out: &mut Piece) {
    let functions = functions(text);
    let mut source = text.to_owned();
    let mut lost: Vec<&Function> = Vec::new();
    let mut stopped = out.errors.first().map(|e| e.primary.span);
    while let Some(span) = stopped {
        let at = origin.local(span);
        let around = functions.iter().rfind(|f| f.start <= at);
        let Some(f) = around.filter(|f| at < f.end && lost.iter().all(|l| l.start != f.start)) else { return };
        let Some(body) = f.body.filter(|b| *b <= at) else { return };
        let stub = if source[body..].starts_with('{') { "{}" } else { " 0" };
        let Some(rest) = (f.end - body).checked_sub(stub.len() + 1) else { return };
        source.replace_range(body..f.end, &format!("{stub}{}\n", " ".repeat(rest)));
        lost.push(f);
        let again = read(origin, &source, first);
        if again.items.is_empty() {
            stopped = again.errors.first().map(|e| e.primary.span);
            continue;
        }
        out.items = again.items;
        out.broken = again.broken;
        for e in again.errors {
            if !out.errors.contains(&e) {
                out.errors.push(e);
            }
        }
        for item in &mut out.items {
            lost.iter().for_each(|f| lose(Arc::make_mut(item), f, origin));
        }
        return;
    }
}

/// Gives a function a body that has been reported.
fn lose(item: &mut Item, function: &Function, origin: Origin) {
    match &mut item.kind {
        ItemKind::Fn(f) if origin.local(f.name.span) == function.name => {
            let at = function.body.unwrap_or(function.end);
            f.body = Some(Expr { kind: ExprKind::Error, span: origin.span(at..function.end) });
        }
        ItemKind::Impl(i) => i.items.iter_mut().for_each(|m| lose(m, function, origin)),
        ItemKind::Import(_)
        | ItemKind::Const(_)
        | ItemKind::TypeAlias(_)
        | ItemKind::Struct(_)
        | ItemKind::Interface(_)
        | ItemKind::Fn(_)
        | ItemKind::Test(_)
        | ItemKind::Prop(_)
        | ItemKind::Bench(_) => {}
    }
}

/// The functions of a piece: one, or those of an `impl`, which stand one below the other.
fn functions(text: &str) -> Vec<Function> {
    let code: Vec<_> = tokens(text).filter_map(|(t, r)| Some((t.ok().filter(|t| is_code(*t))?, r))).collect();
    let word = |i: usize| code.get(i).filter(|t| t.0 == Token::Word).map_or("", |t| &text[t.1.clone()]);
    let items = ["fn", "impl", "struct", "interface", "import", "const", "type", "test", "prop", "bench"];
    let Some(first) = (0..code.len()).find(|i| items.contains(&word(*i))) else { return Vec::new() };
    let mut out: Vec<Function> = Vec::new();
    let mut indent = None;
    let inside = word(first) == "impl";
    let last = if inside { code.iter().rfind(|t| t.0 == Token::Close).map(|t| t.1.start) } else { Some(text.len()) };
    let (true, Some(last)) = (inside || word(first) == "fn", last) else { return out };
    for i in first..code.len() {
        let named = code.get(i + 1).filter(|t| word(i) == "fn" && t.0 == Token::Word);
        let Some((_, name)) = named else { continue };
        let start = code[i].1.start;
        let line = text[..start].rfind('\n').map_or(0, |k| k + 1);
        let own = text[line..].len() - text[line..].trim_start_matches([' ', '\t']).len();
        if inside && *indent.get_or_insert(own) != own {
            continue;
        }
        if let Some(before) = out.last_mut() {
            if !inside {
                break;
            }
            before.end = above(text, line);
        }
        out.push(Function { start, name: name.start, body: None, end: last });
    }
    for f in &mut out {
        let mut depth = 0usize;
        for (token, range) in code.iter().skip_while(|t| t.1.start <= f.name).take_while(|t| t.1.end <= f.end) {
            match (token, depth) {
                (Token::Open, 0) if text[range.clone()] == *"{" => f.body = Some(range.start),
                (Token::Assign, 0) => f.body = Some(range.end),
                (Token::Open, _) => depth += 1,
                (Token::Close, _) => depth = depth.saturating_sub(1),
                _ => {}
            }
            if f.body.is_some() {
                break;
            }
        }
    }
    out.retain(|f| f.body.is_none_or(|b| b < f.end));
    out
}

/// Where the comments and annotations above a line begin.
fn above(text: &str, line: usize) -> usize {
    let mut at = line;
    while at > 0 {
        let before = text[..at - 1].rfind('\n').map_or(0, |k| k + 1);
        if !text[before..at].trim_start().starts_with(['#', '@']) {
            break;
        }
        at = before;
    }
    at
}
