//! From text to what the grammar reads: a file is cut into pieces of one item each ([`pieces`]); in a piece, comments and
//! the newlines that end nothing are blanked out (lengths stay, so spans stay), doc comments are set aside, and slips that
//! would confuse the grammar (`;`, `&&`, an unclosed bracket) are reported here, once each ([`prepare`]).
//!
//! What a piece means depends on its own text alone, so an editor reads again only those that have changed.

use std::ops::Range;
use std::sync::Arc;

use tdl_source::{Diagnostic, FileId, Span, code};

use crate::tokens::{self, Token, continues};

/// Deepest nesting of brackets.
const MAX_DEPTH: usize = 200;

/// A piece of a file, or an entry of the REPL, ready for the grammar. Offsets are those in its own text.
pub struct Prepared {
    /// As long as the source text.
    pub text: String,
    /// Whether its brackets are sound.
    pub sound: bool,
    /// Doc comments by the offset of the token behind them.
    pub docs: Vec<(usize, Arc<str>)>,
    pub module_doc: Option<Arc<str>>,
    pub errors: Vec<Diagnostic>,
    /// Where the text was patched with something of another meaning: such an item is read no further.
    pub spoiled: Vec<usize>,
}

type Tok = (Token, Range<usize>);

/// What the spans of a piece are counted in.
#[derive(Clone, Copy)]
pub struct Origin {
    file: FileId,
    /// Where the piece begins: behind the file's start, or, if spans count from its first token, before it.
    offset: i64,
}

impl Origin {
    /// The piece is part of a file, and begins there.
    pub fn within(file: FileId, offset: usize) -> Origin {
        Origin { file, offset: offset as i64 }
    }

    /// Spans of the piece count from this offset of it.
    pub fn own(file: FileId, lead: usize) -> Origin {
        Origin { file, offset: -(lead as i64) }
    }

    pub fn span(self, range: Range<usize>) -> Span {
        let at = |i: usize| usize::try_from(i as i64 + self.offset).unwrap_or(0);
        Span::new(self.file, at(range.start), at(range.end))
    }

    /// Offset in the piece of where a span begins.
    pub fn local(self, span: Span) -> usize {
        usize::try_from(i64::from(span.start) - self.offset).unwrap_or(0)
    }
}

/// Prepares a piece. `first`: it is the first of its file, where the file's own comment stands.
pub fn prepare(origin: Origin, text: &str, first: bool) -> Prepared {
    let mut p = Prepared {
        text: String::new(),
        sound: true,
        docs: Vec::new(),
        module_doc: None,
        errors: Vec::new(),
        spoiled: Vec::new(),
    };
    let mut bytes = text.as_bytes().to_vec();
    let all = lex(origin, text, &mut bytes, &mut p.errors);
    slips(origin, text, &all, &mut bytes, &mut p);
    newlines(text, &all, &mut bytes, &mut p, first);
    p.sound = brackets(origin, text, all.iter().filter(|t| is_code(t.0)), &mut p.errors);
    p.text = String::from_utf8(bytes).unwrap_or_else(|_| " ".repeat(text.len()));
    p
}

/// Whether a token means something.
pub fn is_code(token: Token) -> bool {
    !matches!(token, Token::Newline | Token::Doc | Token::Comment)
}

fn blank(bytes: &mut [u8], range: Range<usize>) {
    bytes[range].fill(b' ');
}

fn lex(origin: Origin, text: &str, bytes: &mut [u8], errors: &mut Vec<Diagnostic>) -> Vec<Tok> {
    let mut all = Vec::new();
    for (token, range) in tokens::tokens(text) {
        match token {
            Ok(token) => all.push((token, range)),
            Err(()) => {
                let span = origin.span(range.clone());
                if text[range.clone()].starts_with('"') {
                    errors.push(
                        Diagnostic::error(code::E0106, "this text has no closing `\"`", span, "opened here")
                            .help("a text ends on its line; write `\\n` for a line break inside it"),
                    );
                    // keeps the grammar going
                    blank(bytes, range.clone());
                    bytes[range.start] = b'0';
                    all.push((Token::Number, range));
                } else {
                    let what = &text[range.clone()];
                    errors.push(Diagnostic::error(
                        code::E0101,
                        format!("`{}` is no part of the language", what.escape_debug()),
                        span,
                        "unknown character",
                    ));
                    blank(bytes, range);
                }
            }
        }
    }
    all
}

/// Habits from other languages: one clear message each; the text is patched so that parsing goes on.
fn slips(origin: Origin, text: &str, all: &[Tok], bytes: &mut [u8], p: &mut Prepared) {
    let errors = &mut p.errors;
    let at = |i: usize| all.get(i).map(|(t, r)| (*t, &text[r.clone()]));
    let ends_value = |i: Option<usize>| {
        i.and_then(at).is_some_and(|(t, w)| match t {
            Token::Word => !tokens::KEYWORDS.contains(&w) || matches!(w, "self" | "true" | "false"),
            Token::Number | Token::Str | Token::Close => true,
            _ => false,
        })
    };
    let adjacent = |i: usize| i + 1 < all.len() && all[i].1.end == all[i + 1].1.start;
    // a line may begin with the `.` of a field
    let code_before =
        |i: usize| (0..i).rev().find(|k| !matches!(all[*k].0, Token::Newline | Token::Comment | Token::Doc));
    let mut i = 0;
    while i < all.len() {
        let range = all[i].1.clone();
        let before = i.checked_sub(1);
        let pair = adjacent(i).then(|| &text[range.start..all[i + 1].1.end]);
        let (width, message, help, patch): (usize, &str, &str, &[u8]) = match (at(i), pair) {
            (Some((Token::Other, ";")), _)
                if i >= 2
                    && at(i - 2).is_some_and(|t| t.1 == "[")
                    && matches!(at(i + 1), Some((Token::Number | Token::Word, _))) =>
            {
                let value = matches!(at(i - 1), Some((Token::Number, _)));
                let help = match value {
                    true => "one value everywhere is `full(f32[3], 0.5)`, or `zeros(f32[3])`",
                    false => "a tensor's type is its dtype with the sizes in brackets: `f32[3]`",
                };
                if value {
                    p.spoiled.push(all[i - 2].1.start);
                }
                (1, "there is no `;` in tdl", help, b",")
            }
            (Some((Token::Other, ";")), _) => {
                (1, "there is no `;` in tdl", "a newline ends a statement: remove the `;`", b"\n")
            }
            (Some((Token::Other, "&")), Some("&&")) => (2, "there is no `&&` in tdl", "write `and`", b"//"),
            (Some((Token::Other, "|")), Some("||")) if ends_value(before) => {
                (2, "there is no `||` in tdl", "write `or`", b"//")
            }
            (Some((Token::Other, "!")), _) => (1, "there is no `!` in tdl", "write `not`", b"-"),
            (Some((Token::Operator, "*")), Some("**")) => (2, "there is no `**` in tdl", "a power is `x ^ 2`", b"^ "),
            (Some((Token::Operator, "+")), Some("++")) if ends_value(before) && !ends_value(Some(i + 2)) => {
                (2, "there is no `++` in tdl", "write `x += 1`", b"  ")
            }
            (Some((Token::Operator, "-")), Some("--")) if ends_value(before) && !ends_value(Some(i + 2)) => {
                (2, "there is no `--` in tdl", "write `x -= 1`", b"  ")
            }
            (Some((Token::Word, "f" | "r" | "b" | "u" | "rb")), Some(_))
                if matches!(at(i + 1), Some((Token::Str, _))) =>
            {
                let word = range.len();
                (
                    word,
                    "a text has no letter before it",
                    "values stand in braces in any text: `\"{x:.3}\"`",
                    &b"  "[..word],
                )
            }
            (Some((Token::Other, "'")), _) => {
                let end = text[range.end..].find(['\'', '\n']).map_or(text.len(), |k| range.end + k + 1);
                let closed = text[..end].ends_with('\'');
                errors.push(
                    Diagnostic::error(
                        code::E0101,
                        "text stands in double quotes",
                        origin.span(range.start..if closed { end } else { range.end }),
                        "single quote",
                    )
                    .help("write \"text\""),
                );
                p.spoiled.push(range.start);
                let stop = if closed { end } else { range.end };
                blank(bytes, range.start..stop);
                bytes[range.start] = b'0';
                while i < all.len() && all[i].1.start < stop {
                    i += 1;
                }
                continue;
            }
            (Some((Token::Number, number)), Some(_))
                if at(i + 1) == Some((Token::Dot, "."))
                    && !number.contains('.')
                    && before.and_then(at) != Some((Token::Dot, "."))
                    && !(adjacent(i + 1) && matches!(at(i + 2), Some((Token::Word | Token::Number, _)))) =>
            {
                (number.len() + 1, "a float has digits on both sides of the dot", "write a zero: `1.0`", b"")
            }
            (Some((Token::Dot, ".")), Some(_))
                if !ends_value(code_before(i)) && matches!(at(i + 1), Some((Token::Number, _))) =>
            {
                (1, "a float has digits on both sides of the dot", "write a zero: `0.5`", b" ")
            }
            _ => {
                i += 1;
                continue;
            }
        };
        let span = origin.span(range.start..range.start + width);
        let label = if message.starts_with("there is no") { "of another language" } else { "here" };
        errors.push(Diagnostic::error(code::E0102, message, span, label).help(help));
        if matches!(patch, b"//" | b"-") {
            p.spoiled.push(range.start);
        }
        if patch.is_empty() {
            bytes[range.start + width - 1] = b' ';
        } else {
            bytes[range.start..range.start + patch.len()].copy_from_slice(patch);
        }
        i += if width == 2 { 2 } else { 1 };
    }
}

/// Blanks comments and newlines that end no statement; collects doc comments.
fn newlines(text: &str, all: &[Tok], bytes: &mut [u8], p: &mut Prepared, first: bool) {
    let mut open: Vec<u8> = Vec::new();
    let mut last: Option<&Tok> = None;
    let mut doc: Vec<&str> = Vec::new();
    let mut doc_breaks = 0;
    // from the back: the next token of code
    let mut next_code = vec![None; all.len()];
    let mut next = None;
    for (i, (token, range)) in all.iter().enumerate().rev() {
        next_code[i] = next;
        if !matches!(token, Token::Newline | Token::Comment | Token::Doc) {
            next = Some((*token, &text[range.clone()], text[range.end..].starts_with('(')));
        }
    }
    for (i, tok) in all.iter().enumerate() {
        let (token, range) = (tok.0, tok.1.clone());
        let word = &text[range.clone()];
        match token {
            Token::Comment => blank(bytes, range),
            Token::Doc => {
                if doc_breaks > 1 {
                    if first && p.module_doc.is_none() && last.is_none() {
                        p.module_doc = Some(doc.join("\n").into());
                    }
                    doc.clear();
                }
                doc_breaks = 0;
                let line = word.trim_start_matches('#');
                doc.push(line.strip_prefix(' ').unwrap_or(line).trim_end());
                blank(bytes, range);
            }
            Token::Newline => {
                doc_breaks += 1;
                // `where(c, a, b)` is a call, `where n == m` a clause
                let goes_on = matches!(
                    next_code[i],
                    Some(
                        (Token::Pipe | Token::Dot, ..)
                            | (Token::Close, "}", _)
                            | (Token::Word, "else", _)
                            | (Token::Word, "where", false)
                    )
                );
                let inside = open.last().is_some_and(|b| *b != b'{');
                let before = last.is_none_or(|t| continues(t.0, &text[t.1.clone()]));
                if inside || before || goes_on {
                    blank(bytes, range);
                }
            }
            _ => {
                if !doc.is_empty() {
                    let joined: Arc<str> = doc.join("\n").into();
                    if first && doc_breaks > 1 && last.is_none() {
                        p.module_doc.get_or_insert(joined);
                    } else {
                        p.docs.push((range.start, joined));
                    }
                    doc.clear();
                }
                if token == Token::Open {
                    open.push(word.as_bytes()[0]);
                } else if token == Token::Close {
                    open.pop();
                }
                last = Some(tok);
                doc_breaks = 0;
            }
        }
    }
    if first && !doc.is_empty() && last.is_none() {
        p.module_doc = Some(doc.join("\n").into());
    }
}

/// A file in pieces, which are all of it: each holds an item with the comments above it; what stands before the first item
/// and is none has a piece of its own.
pub fn pieces(text: &str) -> Vec<Range<usize>> {
    let all: Vec<Tok> = tokens::tokens(text).filter_map(|(t, r)| Some((t.ok()?, r))).collect();
    let code: Vec<&Tok> = all.iter().filter(|t| is_code(t.0)).collect();
    let mut cuts = vec![0];
    for at in item_starts(text, &code) {
        // comments on lines of their own belong to what is below them
        let before = code.partition_point(|t| t.1.start < at);
        let Some(last) = before.checked_sub(1).map(|i| code[i].1.end) else { continue };
        cuts.push(text[last..at].find('\n').map_or(at, |i| last + i + 1));
    }
    cuts.push(text.len());
    cuts.windows(2).map(|w| w[0]..w[1]).collect()
}

/// How long the comments and blanks are that a piece begins with.
pub fn lead(piece: &str) -> usize {
    let mut all = tokens::tokens(piece);
    all.find(|(t, _)| t.is_err() || t.is_ok_and(is_code)).map_or(piece.len(), |(_, r)| r.start)
}

/// Where the items of a file begin.
fn item_starts(text: &str, code: &[&Tok]) -> Vec<usize> {
    let balanced = code.iter().try_fold(0i64, |d, t| match t.0 {
        Token::Open => Some(d + 1),
        Token::Close => (d > 0).then_some(d - 1),
        _ => Some(d),
    }) == Some(0);
    let mut starts = Vec::new();
    let (mut depth, mut annotated) = (0i64, false);
    let mut last_end = 0;
    for (i, tok) in code.iter().enumerate() {
        let start = tok.1.start;
        // only blanks and comments stand between two tokens
        let line = text[last_end..start].rfind('\n').map(|k| last_end + k + 1).or((i == 0).then_some(0));
        last_end = tok.1.end;
        let first_on_line = line.is_some_and(|l| text[l..start].trim().is_empty());
        let line = line.unwrap_or(usize::MAX);
        let at_depth_of_items = !balanced || depth == 0;
        let at_top = if balanced { depth == 0 } else { start == line };
        let annotation = text[tok.1.clone()] == *"@";
        if first_on_line && at_top && starts_item(text, code, i) {
            if !annotated {
                starts.push(start);
            }
            annotated = annotation;
        } else if annotated && !annotation && at_depth_of_items && starts_item(text, code, i) {
            // `@remat fn f…` on one line: the item has begun
            annotated = false;
        }
        match tok.0 {
            Token::Open => depth += 1,
            Token::Close => depth -= 1,
            _ => {}
        }
    }
    starts
}

fn starts_item(text: &str, code: &[&Tok], i: usize) -> bool {
    let next = code.get(i + 1).map(|t| t.0);
    match (code[i].0, &text[code[i].1.clone()]) {
        (Token::Operator, "@") => true,
        (Token::Word, "fn" | "struct" | "impl" | "interface" | "import" | "const" | "type") => true,
        (Token::Word, "test" | "bench" | "prop") => next == Some(Token::Str),
        (Token::Word, "io") => next == Some(Token::Word),
        _ => false,
    }
}

/// Reports brackets that do not fit; true if all do.
fn brackets<'a>(
    origin: Origin,
    text: &str,
    inside: impl Iterator<Item = &'a Tok>,
    errors: &mut Vec<Diagnostic>,
) -> bool {
    let span = |r: &Range<usize>| origin.span(r.clone());
    let mut open: Vec<&Range<usize>> = Vec::new();
    for tok in inside {
        match tok.0 {
            Token::Open => {
                open.push(&tok.1);
                if open.len() > MAX_DEPTH {
                    errors.push(
                        Diagnostic::error(
                            code::E0105,
                            format!("brackets are nested deeper than {MAX_DEPTH}"),
                            span(&tok.1),
                            "this one is too deep",
                        )
                        .help("name parts of it with `let`"),
                    );
                    return false;
                }
            }
            Token::Close => {
                let closing = &text[tok.1.clone()];
                let Some(opened) = open.pop() else {
                    errors.push(Diagnostic::error(
                        code::E0104,
                        format!("`{closing}` closes nothing"),
                        span(&tok.1),
                        "no bracket is open here",
                    ));
                    return false;
                };
                let expected = closer(&text[opened.clone()]);
                if expected != closing {
                    errors.push(
                        Diagnostic::error(
                            code::E0104,
                            format!("`{}` is closed by `{closing}`", &text[opened.clone()]),
                            span(&tok.1),
                            format!("expected `{expected}`"),
                        )
                        .label(span(opened), "opened here"),
                    );
                    return false;
                }
            }
            _ => {}
        }
    }
    let Some(opened) = open.last() else { return true };
    // a text without an end has swallowed the bracket
    if errors.iter().any(|e| e.code == code::E0106 && e.primary.span.start > span(opened).start) {
        return false;
    }
    errors.push(
        Diagnostic::error(
            code::E0104,
            format!("`{}` is never closed", &text[(*opened).clone()]),
            span(opened),
            "opened here",
        )
        .help(format!("add the `{}`", closer(&text[(*opened).clone()]))),
    );
    false
}

fn closer(open: &str) -> &'static str {
    match open {
        "(" => ")",
        "[" => "]",
        _ => "}",
    }
}
