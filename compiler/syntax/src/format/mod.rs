//! The formatter (`tdl fmt`). It works on tokens: it decides spaces, indentation, blank lines and where lines that are too
//! long break. Line breaks that are there stay, comments stay, no token is added or removed, so the tree cannot change. A block
//! whose statements stand on several lines has its braces on lines of their own; a list that must break is filled anew.
//!
//! [`layout`] is a function of the tokens and of which of them begin a line; a line that comes out too long gets a break
//! ([`wrap`]), and everything is laid out anew. What comes out has its breaks already, hence formats to itself.

mod layout;
mod spaces;
mod wrap;

use std::ops::Range;

use tdl_source::{Diagnostic, FileId};

use crate::tokens::{self, Token};

/// Longest line.
const WIDTH: usize = 100;

/// A token with what the formatter knows of it.
struct Tok<'a> {
    kind: Token,
    text: &'a str,
    role: Role,
    /// Newlines before it: 0, 1, or 2 for an empty line.
    breaks: u8,
    /// Whether blanks stand before it in the source.
    spaced: bool,
    /// Index of the bracket that it is inside of.
    inside: Option<usize>,
    /// The partner of a bracket.
    partner: usize,
}

/// What a token is, where its spelling does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Plain,
    /// `-x`
    Negation,
    /// `@` before an item or statement.
    Annotation,
    LambdaOpen,
    LambdaClose,
    /// The braces of `import nn.{a, b}`.
    ImportBrace,
    /// `some k. T`
    SomeDot,
    /// A comment behind code.
    Trailing,
}

/// The text in the one style, or the syntax errors that prevent it.
pub fn format(file: FileId, text: &str) -> Result<String, Vec<Diagnostic>> {
    let parsed = crate::parse(file, text);
    if !parsed.errors.is_empty() {
        return Err(parsed.errors);
    }
    let mut toks = read(text);
    loop {
        open_blocks(&mut toks);
        let lines = layout::lines(&toks);
        let mut changed = false;
        for line in lines.iter().filter(|l| l.width > WIDTH) {
            changed |= wrap::wrap(&mut toks, line);
        }
        if !changed {
            return Ok(layout::render(&toks, &lines));
        }
    }
}

/// The tokens of a text that parses.
fn read(text: &str) -> Vec<Tok<'_>> {
    let mut toks: Vec<Tok<'_>> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut breaks = 0;
    let mut end = 0;
    for (kind, range) in tokens::tokens(text) {
        let Ok(kind) = kind else { continue };
        if kind == Token::Newline {
            breaks += 1;
            continue;
        }
        let i = toks.len();
        let (inside, partner) = match kind {
            Token::Open => {
                open.push(i);
                (open.len().checked_sub(2).map(|k| open[k]), i)
            }
            Token::Close => {
                let partner = open.pop().unwrap_or(i);
                if partner < i {
                    toks[partner].partner = i;
                }
                (open.last().copied(), partner)
            }
            _ => (open.last().copied(), i),
        };
        let spaced = range.start > end;
        end = range.end;
        let text = text[Range { ..range }].trim_end();
        toks.push(Tok { kind, text, role: Role::Plain, breaks: breaks.min(2), spaced, inside, partner });
        breaks = 0;
    }
    spaces::roles(&mut toks);
    empty_lines(&mut toks);
    toks
}

fn is_comment(t: &Tok<'_>) -> bool {
    matches!(t.kind, Token::Comment | Token::Doc)
}

/// Does this brace hold statements, not fields?
fn is_block(toks: &[Tok<'_>], brace: usize) -> bool {
    let mut inside = toks[brace + 1..].iter().filter(|t| !is_comment(t));
    let first = inside.next();
    let colon = if first.is_some_and(|t| t.text == "mut") { inside.nth(1) } else { inside.next() };
    let fields = colon.is_some_and(|t| t.text == ":") && first.is_some_and(|t| t.kind == Token::Word);
    toks[brace].kind == Token::Open && toks[brace].text == "{" && toks[brace].role == Role::Plain && !fields
}

/// Does a clause begin here? `where n == m` is one, `where(c, a, b)` a call.
fn is_clause(toks: &[Tok<'_>], k: usize) -> bool {
    let called = toks.get(k + 1).is_some_and(|t| t.text == "(" && !t.spaced);
    toks[k].kind == Token::Word && toks[k].text == "where" && !called
}

/// Are these the fields of a struct's declaration?
fn declares_fields(toks: &[Tok<'_>], brace: usize) -> bool {
    let inside = toks[brace].inside;
    let mut head = toks[..brace].iter().rev().filter(|t| t.inside == inside && !is_comment(t));
    let end = head.find(|t| t.text == "struct" || t.text == "}" || matches!(t.kind, Token::Assign | Token::Open));
    end.is_some_and(|t| t.text == "struct" && t.kind == Token::Word)
}

/// A block, or a declaration of fields, over several lines begins and ends on lines of its own.
fn open_blocks(toks: &mut [Tok<'_>]) {
    for i in 0..toks.len() {
        let close = toks[i].partner;
        if toks[i].text != "{" || close <= i + 1 {
            continue;
        }
        let fields = declares_fields(toks, i);
        if !is_block(toks, i) && !fields {
            continue;
        }
        if (i + 1..close).any(|k| toks[k].breaks > 0 && begins(toks, k, i, fields)) {
            let first = (i + 1..close).find(|k| toks[*k].role != Role::Trailing).unwrap_or(close);
            for k in [first, close] {
                toks[k].breaks = toks[k].breaks.max(1);
            }
        }
    }
}

/// Does token `k`, which begins a line, begin a statement of this block or of one inside of it, or a field?
fn begins(toks: &[Tok<'_>], k: usize, brace: usize, fields: bool) -> bool {
    let Some(own) = toks[k].inside else { return false };
    let statement = || is_block(toks, own) && !layout::goes_on(toks, k, true);
    if fields { own == brace } else { toks[own].text == "{" && statement() }
}

/// No empty lines at the ends of blocks and of the file; `} else` on one line.
fn empty_lines(toks: &mut [Tok<'_>]) {
    for i in 0..toks.len() {
        if i == 0 {
            toks[0].breaks = 0;
        } else if toks[i].breaks == 2 && (toks[i - 1].kind == Token::Open || toks[i].kind == Token::Close) {
            toks[i].breaks = 1;
        } else if toks[i].text == "else" && toks[i].kind == Token::Word && toks[i - 1].text == "}" {
            toks[i].breaks = 0;
        }
    }
}
