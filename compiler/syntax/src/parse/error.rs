//! What pest could not read, in words: what was expected, what stood there, and what to write instead.

use std::collections::BTreeSet;
use std::ops::Range;

use pest::Parser;
use pest::error::{Error, ErrorVariant, InputLocation};
use tdl_source::{Diagnostic, Span, code};

use super::{Cx, Grammar, Rule};
use crate::tokens::{self, Token};

/// The diagnostic for a text (the range of the file that was parsed as `rule`) that the grammar refuses.
pub(super) fn diagnose(cx: &Cx<'_>, rule: Rule, range: &Range<usize>, e: &Error<Rule>) -> Diagnostic {
    let offset = match e.location {
        InputLocation::Pos(p) | InputLocation::Span((p, _)) => p,
    };
    let text = cx.prepared.text.get(range.clone()).unwrap_or(&cx.source[range.clone()]);
    let (found, span) = found(cx, text, range.start, offset);
    let mut expected = expected_rules(e);
    expected.extend(expected_literals(rule, text));
    let expected = summarize(expected);
    let before = word_before(text, offset);
    let message = match (&found, expected.as_str()) {
        (None, "") => "the text ends too early".to_owned(),
        (Some(f), "") => format!("`{f}` does not fit here"),
        (None, x) => format!("expected {x}"),
        (Some(f), x) => format!("expected {x}, found `{f}`"),
    };
    let after = if before.is_empty() { String::new() } else { format!("after `{before}`") };
    let mut d = Diagnostic::error(code::E0103, message, span, after);
    if let Some(help) = hint(&before, found.as_deref(), &text[offset.min(text.len())..]) {
        d = d.help(help);
    }
    d
}

/// The token at the place where reading stopped.
fn found(cx: &Cx<'_>, text: &str, base: usize, offset: usize) -> (Option<String>, Span) {
    let rest = &text[offset.min(text.len())..];
    let skipped = rest.len() - rest.trim_start_matches([' ', '\t', '\r']).len();
    let at = offset + skipped;
    match tokens::tokens(&text[at.min(text.len())..]).next() {
        Some((Ok(Token::Newline), _)) | None => {
            let end = base + text[..at.min(text.len())].trim_end().len();
            (None, Span::new(cx.file, end, end))
        }
        Some((_, r)) => {
            let word = &text[at..at + r.end];
            (Some(word.lines().next().unwrap_or("").to_owned()), Span::new(cx.file, base + at, base + at + r.end))
        }
    }
}

fn word_before(text: &str, offset: usize) -> String {
    let head = text[..offset.min(text.len())].trim_end();
    let line = head.rfind('\n').map_or(0, |i| i + 1);
    tokens::tokens(&head[line..]).last().map_or(String::new(), |(_, r)| head[line..][r].to_owned())
}

fn expected_rules(e: &Error<Rule>) -> BTreeSet<&'static str> {
    match &e.variant {
        ErrorVariant::ParsingError { positives, .. } => positives.iter().filter_map(|r| describe(*r)).collect(),
        ErrorVariant::CustomError { .. } => BTreeSet::new(),
    }
}

/// Punctuation that was possible: pest tells it in its detailed mode alone, so the text is read once more.
fn expected_literals(rule: Rule, text: &str) -> BTreeSet<&'static str> {
    const MARKS: &[(&str, &str)] = &[
        (")", "`)`"),
        ("]", "`]`"),
        ("}", "`}`"),
        ("=", "`=`"),
        ("{", "`{`"),
        ("(", "`(`"),
        (":", "`:`"),
        ("->", "`->`"),
    ];
    pest::set_error_detail(true);
    let result = Grammar::parse(rule, text);
    pest::set_error_detail(false);
    let Err(e) = result else { return BTreeSet::new() };
    let Some(attempts) = e.parse_attempts() else { return BTreeSet::new() };
    let tokens = attempts.expected_tokens();
    MARKS.iter().filter(|(m, _)| tokens.iter().any(|t| t.to_string() == *m)).map(|(_, s)| *s).collect()
}

/// At most three alternatives, the most telling first.
fn summarize(all: BTreeSet<&'static str>) -> String {
    let order = ["an expression", "a type", "a name", "an item"];
    if all.contains("an expression") {
        return "an expression".into();
    }
    let mut list: Vec<&str> = order.iter().copied().filter(|o| all.contains(o)).collect();
    list.extend(all.iter().copied().filter(|a| !order.contains(a) && *a != "the end of the line"));
    list.truncate(3);
    if list.is_empty() && all.contains("the end of the line") {
        return "the end of the line".into();
    }
    match list.as_slice() {
        [] => String::new(),
        [one] => (*one).into(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn describe(rule: Rule) -> Option<&'static str> {
    match rule {
        Rule::expr
        | Rule::head_expr
        | Rule::neg
        | Rule::not
        | Rule::float
        | Rule::integer
        | Rule::array
        | Rule::lambda
        | Rule::paren
        | Rule::if_expr
        | Rule::return_expr
        | Rule::name
        | Rule::hole
        | Rule::boolean => Some("an expression"),
        Rule::string => Some("a text"),
        Rule::ty | Rule::path_ty | Rule::tuple_ty | Rule::fn_ty | Rule::some_ty | Rule::path => Some("a type"),
        Rule::ident | Rule::word | Rule::fn_name | Rule::name_pat | Rule::pattern | Rule::field | Rule::param => {
            Some("a name")
        }
        Rule::item | Rule::function | Rule::import | Rule::structure => Some("an item"),
        Rule::block => Some("`{`"),
        Rule::params => Some("`(`"),
        Rule::fn_expr => Some("`=`"),
        Rule::k_in => Some("`in`"),
        Rule::assign_op => Some("`=`"),
        Rule::EOI => Some("the end of the line"),
        _ => None,
    }
}

/// What people who come from other languages write here.
fn hint(before: &str, found: Option<&str>, rest: &str) -> Option<String> {
    let word = found.unwrap_or("");
    match (before, word) {
        ("", "def" | "func" | "function" | "pub") => Some("a function begins with `fn`".into()),
        ("", "class") => Some("write `struct` for the fields and `impl` for the methods".into()),
        ("", "from") => Some("write `import nn.{Linear, relu}`".into()),
        ("", _) if rest.trim_start().starts_with("let ") => {
            Some("at the top of a file stands `const NAME: T = …`".into())
        }
        ("" | "}", "elif") => Some("write `else if`".into()),
        (_, "elif") => Some("write `else if`".into()),
        ("let", "mut") => None,
        ("=", _) if word == "=" => Some("a comparison is `==`, an assignment `=`".into()),
        ("var" | "val" | "auto" | "int" | "float", _) => Some("a variable begins with `let` or `let mut`".into()),
        (_, ":") => Some("a block stands in braces: `if c { … }`".into()),
        (_, "{") => Some(
            "a bare struct literal cannot stand in the head of `if`, `while` or `for`: put it in parentheses".into(),
        ),
        (_, "?") => Some("write `if c { a } else { b }`".into()),
        (_, w) if tokens::KEYWORDS.contains(&w) => Some(format!("`{w}` is a keyword, not a name")),
        _ => None,
    }
}
