//! Spaces between the tokens of a line.

use super::{Role, Tok, is_comment};
use crate::tokens::{KEYWORDS, Token};

/// Words that are names, but here are followed by an operand: what follows is no call and no index.
const OPERAND_FOLLOWS: &[&str] = &["where", "assert", "some", "io"];

/// Can a value end in this token? Then a bracket behind it is a call or an index, and `-` is a subtraction.
fn ends_value(t: &Tok<'_>) -> bool {
    match t.kind {
        Token::Word => !KEYWORDS.contains(&t.text) || matches!(t.text, "self" | "true" | "false"),
        Token::Number | Token::Str | Token::Close => true,
        Token::Newline
        | Token::Doc
        | Token::Comment
        | Token::Open
        | Token::Comma
        | Token::Assign
        | Token::Arrow
        | Token::Pipe
        | Token::Dot
        | Token::Dots
        | Token::Operator
        | Token::Other => false,
    }
}

/// Finds out what the ambiguous tokens are.
pub(super) fn roles(toks: &mut [Tok<'_>]) {
    // per bracket, whether the parameters of a lambda are open in it
    let mut lambdas = vec![false];
    for i in 0..toks.len() {
        let before = toks[..i].iter().rposition(|t| !is_comment(t));
        let round = toks[i].inside.is_some_and(|b| toks[b].text != "{");
        let value = before.is_some_and(|b| (round || toks[i].breaks == 0) && ends_value(&toks[b]));
        toks[i].role = match (toks[i].kind, toks[i].text) {
            (Token::Comment | Token::Doc, _) if i > 0 && toks[i].breaks == 0 => Role::Trailing,
            (Token::Operator, "-") if !value => Role::Negation,
            (Token::Operator, "@") if !value => Role::Annotation,
            (Token::Other, "|") => {
                let open = lambdas.last_mut().map(|l| std::mem::replace(l, !*l));
                if open == Some(true) { Role::LambdaClose } else { Role::LambdaOpen }
            }
            (Token::Open, "{") if before.is_some_and(|b| toks[b].kind == Token::Dot) => Role::ImportBrace,
            (Token::Close, "}") if toks[toks[i].partner].role == Role::ImportBrace => Role::ImportBrace,
            (Token::Dot, _) if ends_some(&toks[..i]) => Role::SomeDot,
            _ => Role::Plain,
        };
        match toks[i].kind {
            Token::Open => lambdas.push(false),
            Token::Close => drop(lambdas.pop()),
            _ => {}
        }
    }
}

/// Do these tokens end in `some a, b`?
fn ends_some(before: &[Tok<'_>]) -> bool {
    let mut words = before.iter().rev().filter(|t| !is_comment(t));
    loop {
        match (words.next(), words.next()) {
            (Some(name), Some(next)) if name.kind == Token::Word => match next.kind {
                Token::Word if next.text == "some" => return true,
                Token::Comma => {}
                _ => return false,
            },
            _ => return false,
        }
    }
}

/// Is there a space between token `i - 1` and token `i`, if they stand on one line?
pub(super) fn space(toks: &[Tok<'_>], i: usize) -> bool {
    let (a, b) = (&toks[i - 1], &toks[i]);
    // tight after
    match (a.kind, a.role) {
        (_, Role::Negation | Role::Annotation | Role::LambdaOpen) => return false,
        (_, Role::SomeDot) => return true,
        (Token::Open, _) if a.text != "{" || a.role == Role::ImportBrace => return false,
        (Token::Open, _) => return b.text != "}" || a.partner != i,
        (Token::Dot, _) => return false,
        (Token::Dots, _) => return false,
        (Token::Other, _) if a.text == ":" => return colon_space(toks, i - 1, true),
        _ => {}
    }
    // tight before
    match (b.kind, b.role) {
        (_, Role::LambdaClose | Role::SomeDot) => false,
        (Token::Comma | Token::Dot, _) => false,
        (Token::Close, _) => b.text == "}" && b.role != Role::ImportBrace,
        (Token::Dots, _) => !ends_value(a),
        (Token::Other, _) if b.text == ":" => colon_space(toks, i, false),
        (Token::Open, _) if b.text != "{" => opens_apart(a, b),
        (Token::Open, _) => b.role != Role::ImportBrace,
        _ => true,
    }
}

/// Does a round or square bracket stand apart from what is before it?
fn opens_apart(a: &Tok<'_>, b: &Tok<'_>) -> bool {
    if a.text == "fn" {
        return false;
    }
    // prop "title" (x: f32)
    if a.kind == Token::Str && b.text == "(" {
        return true;
    }
    if a.kind == Token::Word && OPERAND_FOLLOWS.contains(&a.text) {
        // `where (a) <= b` is a clause, `where(a, b, c)` a call
        return b.spaced;
    }
    !ends_value(a)
}

/// The space before or behind a colon. In square brackets it may belong to a slice, `x[a:b]` or `x[a : a + n]`, or be a
/// label: there the spelling stays.
fn colon_space(toks: &[Tok<'_>], i: usize, behind: bool) -> bool {
    let square = toks[i].inside.is_some_and(|b| toks[b].text == "[" && !declares(toks, b));
    let after = toks.get(i + 1);
    if !square {
        return behind;
    }
    let (before_spaced, after_spaced) = (toks[i].spaced, after.is_some_and(|t| t.spaced || t.breaks > 0));
    // an open end, as in `x[:, 1:]`, is tight
    let open_end = |t: &Tok<'_>| matches!(t.kind, Token::Open | Token::Comma | Token::Close) || t.text == ":";
    if i > 0 && open_end(&toks[i - 1]) {
        return !behind && toks[i - 1].kind == Token::Comma;
    }
    if after.is_none_or(open_end) {
        return false;
    }
    if behind { after_spaced } else { before_spaced && after_spaced }
}

/// Are these the parameters in brackets of a function, struct, …?
fn declares(toks: &[Tok<'_>], bracket: usize) -> bool {
    let mut before = toks[..bracket].iter().rev().filter(|t| !is_comment(t));
    let head = |t: Option<&Tok<'_>>| {
        t.is_some_and(|t| matches!(t.text, "fn" | "struct" | "impl" | "interface" | "type") && t.kind == Token::Word)
    };
    let name = before.next();
    head(name) || (name.is_some_and(|t| t.kind == Token::Word) && head(before.next()))
}
