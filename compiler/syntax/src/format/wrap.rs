//! Where a line that is too long breaks: at the loosest place, so that what belongs together stays together.

use std::ops::Range;

use super::layout::Line;
use super::{Role, Tok, WIDTH, declares_fields, is_block, is_clause, is_comment};
use crate::tokens::{Token, continues};

/// Contents that would begin to the right of this column begin on a line of their own.
const FAR: usize = 60;

/// Gives a line at least one more break; false if it has no place for one.
pub(super) fn wrap(toks: &mut [Tok<'_>], line: &Line) -> bool {
    let code = line.toks.clone().filter(|k| toks[*k].role != Role::Trailing).max();
    let Some(last) = code else { return false };
    let breaks = choose(toks, line, line.toks.start..last + 1).unwrap_or_default();
    for k in &breaks {
        toks[*k].breaks = 1;
    }
    if let [k] = breaks.as_slice() {
        fill(toks, *k, last);
    }
    !breaks.is_empty()
}

/// After a new break behind a comma at token `k`, what is left of the line goes on with the next line of the list.
fn fill(toks: &mut [Tok<'_>], k: usize, last: usize) {
    let inside = toks[k].inside;
    let next = last + 1;
    let joins = toks[k - 1].kind == Token::Comma
        && toks[last].kind == Token::Comma
        && toks[last].inside == inside
        && toks.get(next).is_some_and(|t| t.breaks == 1 && t.inside == inside && !is_comment(t));
    if joins {
        toks[next].breaks = 0;
    }
}

/// The tokens that shall begin a line.
fn choose(toks: &[Tok<'_>], line: &Line, range: Range<usize>) -> Option<Vec<usize>> {
    let column = |k: usize| line.columns[k - line.toks.start];
    let level = outermost(toks, &range);
    let legal = |k: &usize| *k > range.start && *k > line.toks.start && may_begin(toks, *k);
    // a token that ends within the width; a break may stand behind it
    let fits = |k: usize| column(k) + toks[k].text.chars().count() <= WIDTH;

    let word = |k: usize, w: &str| toks[k].kind == Token::Word && toks[k].text == w;
    // the body of a function; the value of a `let` only if it then fits on its line
    let header =
        toks[range.start].kind == Token::Word && matches!(toks[range.start].text, "fn" | "io" | "const" | "type");
    let assign = level.iter().copied().rfind(|k| toks[*k].kind == Token::Assign && fits(*k));
    // the default of a parameter stays beside its name
    let among = toks[range.start].inside.is_none_or(|b| is_block(toks, b));
    let whole = range.start == line.toks.start && among;
    if let Some(k) = assign.map(|k| k + 1).filter(|k| whole && *k < range.end).filter(legal) {
        let rest = line.width - column(k) + line.indent + 2;
        let block = is_block(toks, range.end - 1);
        if !block && (header || rest <= WIDTH) {
            return Some(vec![k]);
        }
    }
    // a pipeline: every step on its line; among other elements of a list it breaks after them
    let pipes: Vec<usize> = level.iter().copied().filter(|k| toks[*k].kind == Token::Pipe).filter(legal).collect();
    let listed = level.iter().any(|k| toks[*k].kind == Token::Comma);
    if !pipes.is_empty() && !listed {
        return Some(pipes);
    }
    // a clause, if it is not called
    let mut clause = level.iter().copied().filter(|k| is_clause(toks, *k));
    if let Some(k) = clause.rfind(legal) {
        return Some(vec![k]);
    }
    // the parameters of a function on lines of their own
    if whole && word(range.start, "fn") | word(range.start, "io") {
        let params = level.iter().copied().find(|k| toks[*k].text == "(" && toks[*k].partner < range.end);
        if let Some(k) = params.filter(|k| toks[*k].partner > *k + 1 && toks[*k + 1].breaks == 0) {
            return Some(vec![k + 1, toks[k].partner]);
        }
    }
    // blocks open up before their heads break
    let opens = |k: &usize| is_block(toks, *k) || toks[*k].text == "{" && declares_fields(toks, *k);
    let blocks = level.iter().copied().filter(|k| opens(k) && *k + 1 < range.end && toks[*k].partner > *k + 1);
    let edges = blocks.flat_map(|k| [k + 1, toks[k].partner]).filter(|k| *k < range.end);
    let edges: Vec<usize> = edges.filter(legal).collect();
    if !edges.is_empty() {
        return Some(edges);
    }
    let mut binders = level.iter().copied().filter(|k| word(*k, "for") && toks[*k].inside.is_some());
    if let Some(k) = binders.rfind(legal) {
        return Some(vec![k]);
    }
    // commas, then operators from loose to tight: behind the last one that fits
    let behind = |test: &dyn Fn(&Tok<'_>) -> bool| {
        let found = level.iter().copied().filter(|k| test(&toks[*k]) && fits(*k)).map(|k| k + 1);
        found.filter(|k| *k < range.end).rfind(legal)
    };
    let operator = |words: &'static [&'static str]| {
        move |t: &Tok<'_>| t.role == Role::Plain && t.kind != Token::Str && words.contains(&t.text)
    };
    let tests: [&dyn Fn(&Tok<'_>) -> bool; 6] = [
        &|t| t.kind == Token::Comma,
        &operator(&["or"]),
        &operator(&["and"]),
        &operator(&["==", "!=", "<", "<=", ">", ">="]),
        &operator(&["+", "-"]),
        &operator(&["*", "/", "//", "%", "@"]),
    ];
    if let Some(k) = tests.into_iter().find_map(behind) {
        return Some(vec![k]);
    }
    // inside the widest bracket
    let mut groups: Vec<Range<usize>> = level
        .iter()
        .copied()
        .filter(|k| toks[*k].kind == Token::Open)
        .map(|k| k..toks[k].partner.min(range.end))
        .filter(|g| g.len() > 1)
        .collect();
    groups.sort_by_key(|g| std::cmp::Reverse(column(g.end.min(range.end - 1)) - column(g.start)));
    groups.into_iter().find_map(|g| group(toks, line, g))
}

/// Breaks inside a bracket, between its elements or before the first.
fn group(toks: &[Tok<'_>], line: &Line, group: Range<usize>) -> Option<Vec<usize>> {
    let first = group.start + 1;
    let column = line.columns[first - line.toks.start];
    match choose(toks, line, first..group.end) {
        Some(breaks) if column <= FAR => Some(breaks),
        _ if column > line.indent + 2 => Some(vec![first]),
        other => other,
    }
}

/// The tokens of a range that are in no bracket of it; brackets themselves included.
fn outermost(toks: &[Tok<'_>], range: &Range<usize>) -> Vec<usize> {
    let mut out = Vec::new();
    let mut k = range.start;
    while k < range.end {
        out.push(k);
        k = if toks[k].kind == Token::Open && toks[k].partner < range.end && toks[k].partner > k {
            toks[k].partner
        } else if toks[k].kind == Token::Open {
            range.end
        } else {
            k + 1
        };
    }
    out
}

/// May a line begin with token `k` without ending the statement before it?
fn may_begin(toks: &[Tok<'_>], k: usize) -> bool {
    let round = toks[k].inside.is_some_and(|b| toks[b].text != "{");
    let (before, this) = (&toks[k - 1], &toks[k]);
    let tight = matches!(before.role, Role::Negation | Role::Annotation | Role::LambdaOpen)
        || matches!(before.kind, Token::Dot | Token::Dots)
        || matches!(this.kind, Token::Comma | Token::Dots);
    let starts = matches!(this.kind, Token::Pipe | Token::Dot)
        || this.text == "}"
        || (this.kind == Token::Word && this.text == "else")
        || is_clause(toks, k);
    !tight && (round || starts || continues(before.kind, before.text))
}
