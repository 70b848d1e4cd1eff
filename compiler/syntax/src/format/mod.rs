//! The formatter (`tdl fmt`). It works on tokens: it decides spaces, indentation, blank lines and where lines that are too
//! long break. Line breaks that are there stay, comments stay, no token is added or removed, so the tree cannot change.
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
