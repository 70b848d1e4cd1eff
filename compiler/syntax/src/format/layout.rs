//! Lines and their indentation.
//!
//! Behind a bracket that ends its line the contents are indented by two; otherwise they stand under the first of them. A
//! line that goes on with a statement is indented by two more.

use std::ops::Range;

use super::spaces::space;
use super::{Role, Tok, WIDTH, is_block, is_clause, is_comment};
use crate::tokens::{Token, continues};

/// One line of the output.
pub(super) struct Line {
    pub toks: Range<usize>,
    pub indent: usize,
    /// Of the code, without a comment behind it.
    pub width: usize,
    /// Column of each token.
    pub columns: Vec<usize>,
}

/// An open bracket.
struct Open {
    /// Indentation of the line that it stands on.
    base: usize,
    /// Where its contents begin.
    contents: usize,
    /// Whether statements are inside; else elements or fields with commas.
    block: bool,
    /// Whether it ends its line.
    hanging: bool,
    /// The first token of the statement inside that was begun last, and its column.
    head: (usize, usize),
}

/// Lays out all tokens.
pub(super) fn lines(toks: &[Tok<'_>]) -> Vec<Line> {
    let mut out: Vec<Line> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    // that of the item, as `Open::head`
    let mut item = (0, 0);
    let mut i = 0;
    while i < toks.len() {
        let end = (i + 1..toks.len()).find(|k| toks[*k].breaks > 0).unwrap_or(toks.len());
        let indent = indent(toks, i, &open);
        if let Some(level) = begun(toks, i, &open) {
            *open[..level].last_mut().map_or(&mut item, |o| &mut o.head) = (i, indent);
        }
        let mut line = Line { toks: i..end, indent, width: indent, columns: Vec::with_capacity(end - i) };
        let mut column = indent;
        for k in i..end {
            if k > i && space(toks, k) {
                column += 1;
            }
            line.columns.push(column);
            if toks[k].kind == Token::Close {
                open.pop();
            }
            column += width(&toks[k]);
            if toks[k].role != Role::Trailing {
                line.width = column;
            }
            if toks[k].kind == Token::Open {
                let rest = toks[k + 1..end].iter().any(|t| !is_comment(t));
                let contents = match rest {
                    true => column + usize::from(space(toks, k + 1)),
                    false => indent + 2,
                };
                let block = is_block(toks, k);
                // the block of an `if` or `fn` whose head goes over several lines
                let among = open.last().is_none_or(|o| o.block);
                let head = open.last().map_or(item, |o| o.head);
                let own = among && head.0 < i && !rest && headed(toks, head.0) && !assigned(toks, i);
                let (base, contents) = if own { (head.1, head.1 + 2) } else { (indent, contents) };
                open.push(Open { base, contents, block, hanging: !rest, head: (k + 1, contents) });
            }
        }
        out.push(line);
        i = end;
    }
    out
}

/// How many brackets are around the statement or item that begins with token `i`, if one does. What follows a block that
/// a line closes (`} else if …`) counts as one.
fn begun(toks: &[Tok<'_>], i: usize, open: &[Open]) -> Option<usize> {
    let closes = toks[i].kind == Token::Close;
    let level = open.len() - usize::from(closes && !open.is_empty());
    let among = open[..level].last().is_none_or(|o| o.block);
    let begins = if closes { open.last().is_some_and(|o| o.block) } else { !goes_on(toks, i, among) };
    (among && begins).then_some(level)
}

/// Statements and items that end in a block.
fn headed(toks: &[Tok<'_>], head: usize) -> bool {
    let words = ["if", "while", "for", "fn", "io", "impl", "struct", "interface", "test", "prop", "bench", "}"];
    words.contains(&toks[head].text) || toks[head].role == Role::Annotation
}

/// Does the line that begins with token `i` hold the value behind a `=`?
fn assigned(toks: &[Tok<'_>], i: usize) -> bool {
    let before = toks[..i].iter().rev().find(|t| !is_comment(t));
    before.is_some_and(|t| t.kind == Token::Assign) || toks[i].kind == Token::Pipe
}

fn width(t: &Tok<'_>) -> usize {
    t.text.chars().count()
}

/// Indentation of the line that begins with token `i`.
fn indent(toks: &[Tok<'_>], i: usize, open: &[Open]) -> usize {
    let goes_on = goes_on(toks, i, open.last().is_none_or(|o| o.block));
    let Some(top) = open.last() else { return if goes_on { 2 + in_clause(toks, i) } else { 0 } };
    if toks[i].kind == Token::Close {
        return top.base;
    }
    let more = goes_on && (top.block || top.hanging);
    top.contents + if more { 2 + in_clause(toks, i) } else { 0 }
}

/// How much deeper the further lines of a `where` clause stand than its first.
fn in_clause(toks: &[Tok<'_>], i: usize) -> usize {
    let before = toks[..i].iter().rposition(|t| !is_comment(t));
    let Some(comma) = before.filter(|b| toks[*b].kind == Token::Comma) else { return 0 };
    let inside = toks[comma].inside;
    if inside.is_some_and(|b| toks[b].text != "{") {
        return 0;
    }
    // back to the item before
    let mut back = (inside.map_or(0, |b| b + 1)..comma).rev().filter(|k| toks[*k].inside == inside);
    let found = back.find(|k| is_clause(toks, *k) || toks[*k].text == "}" || toks[*k].kind == Token::Assign);
    if found.is_some_and(|k| is_clause(toks, k)) { 2 } else { 0 }
}

/// Does the line that begins with token `i` go on with the statement or element of the line before?
pub(super) fn goes_on(toks: &[Tok<'_>], i: usize, block: bool) -> bool {
    let starts = |k: usize| {
        let t = &toks[k];
        matches!(t.kind, Token::Pipe | Token::Dot) || (t.kind == Token::Word && t.text == "else") || is_clause(toks, k)
    };
    // a comment belongs to what follows
    let next = (i..toks.len()).find(|k| !is_comment(&toks[*k]));
    let before = toks[..i].iter().rev().find(|t| !is_comment(t));
    match before {
        None => false,
        Some(t) if t.kind == Token::Open => false,
        Some(t) if t.kind == Token::Comma => block,
        Some(t) if block => next.is_some_and(starts) || continues(t.kind, t.text),
        Some(_) => toks[i].text != "}" && !is_comment(&toks[i]),
    }
}

/// The text.
pub(super) fn render(toks: &[Tok<'_>], lines: &[Line]) -> String {
    let comments = comment_columns(toks, lines);
    let mut out = String::new();
    for (line, comment) in lines.iter().zip(comments) {
        if toks[line.toks.start].breaks == 2 {
            out.push('\n');
        }
        let mut column = 0;
        for (k, at) in line.toks.clone().zip(&line.columns) {
            let at = if toks[k].role == Role::Trailing { comment } else { *at };
            out.push_str(&" ".repeat(at - column));
            let text = comment_text(&toks[k]);
            column = at + text.chars().count();
            out.push_str(&text);
        }
        out.push('\n');
    }
    out
}

/// `#x` becomes `# x`; marks such as `#~` and `#!` stay.
fn comment_text<'a>(t: &Tok<'a>) -> std::borrow::Cow<'a, str> {
    let hashes = match t.kind {
        Token::Comment => 1,
        Token::Doc => 2,
        _ => return t.text.into(),
    };
    let (mark, text) = t.text.split_at(hashes);
    if text.starts_with(char::is_alphanumeric) { format!("{mark} {text}").into() } else { t.text.into() }
}

/// Where the comments behind code stand: two blanks behind it, in one column on lines that follow each other.
fn comment_columns(toks: &[Tok<'_>], lines: &[Line]) -> Vec<usize> {
    let trailing = |l: &Line| l.toks.clone().any(|k| toks[k].role == Role::Trailing);
    let mut out = vec![0; lines.len()];
    let mut i = 0;
    while i < lines.len() {
        if !trailing(&lines[i]) {
            i += 1;
            continue;
        }
        let mut end = i + 1;
        while end < lines.len() && trailing(&lines[end]) && toks[lines[end].toks.start].breaks < 2 {
            end += 1;
        }
        let widest = lines[i..end].iter().map(|l| l.width).max().unwrap_or(0);
        for k in i..end {
            // far apart, one column would push comments away from what they are about
            let column = if widest > lines[k].width + 40 || widest > WIDTH { lines[k].width } else { widest };
            out[k] = column + 2;
        }
        i = end;
    }
    out
}
