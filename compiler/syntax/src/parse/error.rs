//! What pest could not read, in words: what was expected, what stood there, and what to write instead.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use pest::Parser;
use pest::error::{Error, ErrorVariant, InputLocation};
use tdl_source::{Diagnostic, Span, code};

use super::{Cx, Grammar, Rule};
use crate::tokens::{self, Token};

/// The diagnostic for a text (the range of the piece that was parsed as `rule`) that the grammar refuses.
pub(super) fn diagnose(cx: &Cx<'_>, rule: Rule, range: &Range<usize>, e: &Error<Rule>) -> Diagnostic {
    let offset = match e.location {
        InputLocation::Pos(p) | InputLocation::Span((p, _)) => p,
    };
    let text = cx.prepared.text.get(range.clone()).unwrap_or(&cx.source[range.clone()]);
    let (found, span) = found(cx, text, range.start, offset);
    let mut expected = expected_rules(e);
    expected.extend(expected_literals(rule, text));
    let before = word_before(text, offset);
    if ["`(`", "`{`"].iter().all(|p| expected.contains(p)) && ends_value(&before) {
        // what may follow any value is no advice
        ["`(`", "`{`", "`=`"].iter().for_each(|p| {
            expected.remove(p);
        });
    }
    let expected = summarize(expected);
    let foreign = found.as_deref().filter(|f| matches!(*f, "$" | "?" | "\\" | "`" | "~" | "&"));
    let message = match (&found, expected.as_str()) {
        (None, "") => "the text ends too early".to_owned(),
        (Some(f), "") => format!("`{f}` does not fit here"),
        (None, x) => format!("expected {x}"),
        (Some(f), x) => format!("expected {x}, found `{f}`"),
    };
    let after = if before.is_empty() { "at the top of a file".to_owned() } else { format!("after `{before}`") };
    let (code, message) = match foreign {
        Some(f) => (code::E0101, format!("`{f}` is no part of the language")),
        None => (code::E0103, message),
    };
    let d = Diagnostic::error(code, message, span, after);
    match hint(&before, found.as_deref(), text, offset.min(text.len())) {
        Some(help) => d.help(help),
        None => d,
    }
}

/// The token at the place where reading stopped.
fn found(cx: &Cx<'_>, text: &str, base: usize, offset: usize) -> (Option<String>, Span) {
    let rest = &text[offset.min(text.len())..];
    let skipped = rest.len() - rest.trim_start_matches([' ', '\t', '\r']).len();
    let at = offset + skipped;
    match tokens::tokens(&text[at.min(text.len())..]).next() {
        Some((Ok(Token::Newline), _)) | None => {
            let end = base + text[..at.min(text.len())].trim_end().len();
            (None, cx.origin.span(end..end))
        }
        Some((_, r)) => {
            let word = &text[at..at + r.end];
            (Some(word.lines().next().unwrap_or("").to_owned()), cx.origin.span(base + at..base + at + r.end))
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
    // the mode is the process's
    static DETAIL: Mutex<()> = Mutex::new(());
    let _only_one = DETAIL.lock().unwrap_or_else(PoisonError::into_inner);
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
        Rule::ident
        | Rule::word
        | Rule::fn_name
        | Rule::name_pat
        | Rule::pattern
        | Rule::let_pattern
        | Rule::field
        | Rule::param => Some("a name"),
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

/// Does a value end with this token?
fn ends_value(word: &str) -> bool {
    let keyword = tokens::KEYWORDS.contains(&word) && !matches!(word, "self" | "true" | "false");
    word.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ')' | ']' | '}' | '"')) && !keyword
}

const BARE_LITERAL: &str =
    "a bare struct literal cannot stand in the head of `if`, `while` or `for`: put it in parentheses";

/// What people who come from other languages write here.
fn hint(before: &str, found: Option<&str>, text: &str, offset: usize) -> Option<String> {
    let word = found.unwrap_or("");
    let (head, rest) = text.split_at(offset);
    let line = &text[head.trim_end().rfind('\n').map_or(0, |i| i + 1)..];
    let line = line.lines().next().unwrap_or("").trim_start();
    let rest = rest.trim_start_matches([' ', '\t', '\r']);
    let text = |s: &str| Some(s.to_owned());
    match (before, word) {
        (_, "def" | "func" | "function" | "pub" | "proc") if before.is_empty() => text("a function begins with `fn`"),
        ("", "class") => text("write `struct` for the fields and `impl` for the methods"),
        ("", "enum" | "union") => text("there are no enums; a struct or an integer does their work"),
        ("", "from" | "use" | "include" | "require") => text("write `import nn.{Linear, relu}`"),
        ("", "let" | "var" | "val" | "static") => text("at the top of a file stands `const NAME: T = …`"),
        ("", "if" | "for" | "while" | "return" | "assert") => text("statements stand in a function: `fn main() { … }`"),
        ("", w) if w.starts_with(char::is_alphabetic) => text("statements stand in a function: `fn main() { … }`"),
        ("print", _) if ends_value(word) => text("`print` is a function: `print(x)`"),
        ("lambda", _) => text("a function without a name is `|x| x + 1`"),
        ("match" | "switch", _) => text("there is no `match`: write `if … { } else if … { } else { }`"),
        ("try" | "catch" | "except" | "raise" | "throw", _) => {
            text("there are no exceptions; `assert c, \"message\"` stops")
        }
        ("def" | "func" | "function", _) => text("a function begins with `fn`"),
        ("del" | "delete" | "async" | "await" | "yield" | "with" | "global", _) => text("there is no such statement"),
        (_, "elif" | "elsif" | "elseif") => text("write `else if`"),
        ("let", "mut") => None,
        ("var" | "val" | "auto" | "int" | "float" | "double" | "const", _) if ends_value(word) => {
            text("a variable begins with `let` or `let mut`")
        }
        (_, "if") if ends_value(before) => text("write `if c { a } else { b }`"),
        (_, "is") => text("write `==`; there is no `None`"),
        (_, "in") if ends_value(before) => text("write `any(xs == x)`"),
        (_, "=") if ["if ", "while ", "assert "].iter().any(|k| line.contains(k)) => {
            text("a comparison is `==`, an assignment `=`")
        }
        ("(" | ",", "mut") if open_paren(head) && !line.contains("fn ") => {
            text("`mut` stands at the parameter; what is passed is the variable itself: `f(x)`")
        }
        ("//" | "%" | "^" | "@", "=") => Some(format!("only `+= -= *= /=` update: write `x = x {before} …`")),
        (_, "=") if open_paren(head) => Some(format!("an argument is labelled with `:`, as in `{before}: …`")),
        (_, "=") if before == "=" => text("a comparison is `==`, an assignment `=`"),
        (_, ":") if rest.starts_with("::") => text("a path is written with dots: `nn.relu`"),
        (_, ":") if line.contains('?') => text("write `if c { a } else { b }`"),
        (_, ":") if literal_in_head(head, line) => text(BARE_LITERAL),
        (_, ":") if open_paren(head) && line.contains(" for ") => {
            text("a comprehension is the only argument of its reduction; over an axis: `[sum(x[i, j] for j) for i]`")
        }
        (_, ":") => text("a block stands in braces: `if c { … }`"),
        (_, "{")
            if rest[1..].trim_start().contains('=')
                && !rest[1..].contains(':')
                && before.starts_with(char::is_uppercase) =>
        {
            text("a field is given with `:`, as in `P { x: 1.0 }`")
        }
        (_, "{") => text(BARE_LITERAL),
        (_, "?") => text("write `if c { a } else { b }`"),
        (_, "&") => text("there are no references: values are passed, and `mut` parameters are written back"),
        (_, "<") if line.contains("fn ") || line.contains("struct ") => {
            text("parameters stand in brackets: `fn f[T: float](x: T)`")
        }
        (")", w) if line.contains("fn ") && ends_value(w) => Some(format!("a result is written `-> {w}`")),
        (_, w) if tokens::KEYWORDS.contains(&w) => Some(format!("`{w}` is a keyword, not a name")),
        (b, w) if b.starts_with(|c: char| c.is_ascii_digit()) && w.starts_with(char::is_alphabetic) => {
            text("a literal has no suffix; it is converted by `f64(1.0)`, or takes its dtype from its context")
        }
        _ if line.get(..line.len().min(offset)).unwrap_or(line).contains("//")
            && ends_value(before)
            && ends_value(word) =>
        {
            text("a comment begins with `#`; `//` divides integers")
        }
        (_, "*" | "/" | "//" | "+" | "%" | "^" | "@" | "==" | "<=" | ">=" | "and" | "or" | "|>")
            if head.trim_end_matches([' ', '\t', '\r']).ends_with('\n') =>
        {
            text("a binary operator stands at the end of the line before")
        }
        (_, "") if line.starts_with("let ") && !line.contains('=') => {
            text("a variable has a value from the start: `let x: f32 = 0.0`")
        }
        (_, w) if head.trim_start().starts_with("struct") && ends_value(w) => {
            text("fields are separated by commas or line ends")
        }
        _ => None,
    }
}

/// Is a `(` open at the end of this text?
fn open_paren(head: &str) -> bool {
    last_open(head).is_some_and(|at| head[at..].starts_with('('))
}

/// Is this `if P { x:`, a field after the name of a struct?
fn literal_in_head(head: &str, line: &str) -> bool {
    let keyword = ["if ", "while ", "for "].iter().any(|k| line.starts_with(k) || line.contains(&format!(" {k}")));
    let Some(at) = last_open(head).filter(|at| keyword && head[*at..].starts_with('{')) else { return false };
    let before = head[..at].trim_end().trim_end_matches(']');
    let name = before.rsplit(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '[' | ',')).next().unwrap_or("");
    name.starts_with(char::is_uppercase)
}

/// Where the bracket that is open at the end stands.
fn last_open(head: &str) -> Option<usize> {
    let mut open = Vec::new();
    for (token, r) in tokens::tokens(head) {
        match token {
            Ok(Token::Open) => open.push(r.start),
            Ok(Token::Close) => drop(open.pop()),
            _ => {}
        }
    }
    open.pop()
}
