//! Tokens, by logos: what highlighting, the completeness test of the REPL, and the splitting into items and lines need.
//! The grammar proper is pest's.

use std::ops::Range;

use logos::{Lexer, Logos};

/// A token. Comments and newlines are tokens too; blanks are not.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(skip r"[ \t\r]+")]
pub enum Token {
    #[token("\n")]
    Newline,
    #[regex(r"##[^\n]*", allow_greedy = true)]
    Doc,
    #[regex(r"#[^\n]*", allow_greedy = true)]
    Comment,
    #[token("\"", string)]
    Str,
    #[regex(r"[0-9][0-9_]*(\.[0-9][0-9_]*)?([eE][+-]?[0-9]+)?")]
    #[regex(r"0x[0-9a-fA-F_]+")]
    Number,
    #[regex(r"[\p{Alphabetic}_][\p{Alphabetic}0-9_]*")]
    Word,
    #[regex(r"[(\[{]")]
    Open,
    #[regex(r"[)\]}]")]
    Close,
    #[token(",")]
    Comma,
    #[token("=")]
    Assign,
    #[token("->")]
    Arrow,
    #[token("|>")]
    Pipe,
    #[token(".")]
    Dot,
    #[token("..")]
    #[token("...")]
    Dots,
    #[regex(r"[-+*/%^<>@]|//|==|!=|<=|>=|\+=|-=|\*=|/=")]
    Operator,
    #[regex(r"[|:!;&?$'`~\\]")]
    Other,
}

/// Words that are never names.
pub const KEYWORDS: &[&str] = &[
    "fn",
    "let",
    "mut",
    "struct",
    "impl",
    "interface",
    "import",
    "const",
    "type",
    "if",
    "else",
    "for",
    "while",
    "in",
    "break",
    "continue",
    "return",
    "and",
    "or",
    "not",
    "as",
    "self",
    "true",
    "false",
];

/// Reads a string from after its opening quote: braces hold expressions, in which strings may nest.
fn string(lexer: &mut Lexer<'_, Token>) -> bool {
    match string_end(lexer.remainder()) {
        Some(end) => {
            lexer.bump(end);
            true
        }
        None => {
            let line = lexer.remainder().find('\n').unwrap_or(lexer.remainder().len());
            lexer.bump(line);
            false
        }
    }
}

/// Offset behind the closing quote, if the string ends on its line.
pub fn string_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut i, mut depth) = (0, 0usize);
    while i < bytes.len() {
        match bytes[i] {
            b'\n' => return None,
            b'\\' => i += 1,
            b'{' if depth == 0 && bytes.get(i + 1) == Some(&b'{') => i += 1,
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b'"' if depth == 0 => return Some(i + 1),
            b'"' => i += string_end(&text[i + 1..])?,
            _ => {}
        }
        i += 1;
    }
    None
}

/// All tokens with their byte ranges; what is no token is `Err`.
pub fn tokens(text: &str) -> impl Iterator<Item = (Result<Token, ()>, Range<usize>)> + '_ {
    Token::lexer(text).spanned()
}

/// Classes for highlighting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Keyword,
    Type,
    Name,
    Number,
    Text,
    Comment,
    Operator,
    Bracket,
    Error,
}

/// Ranges of the text with their classes, in order.
pub fn highlight(text: &str) -> Vec<(Range<usize>, Class)> {
    let class = |token, range: &Range<usize>| match token {
        Err(()) => Some(Class::Error),
        Ok(Token::Newline) => None,
        Ok(Token::Doc | Token::Comment) => Some(Class::Comment),
        Ok(Token::Str) => Some(Class::Text),
        Ok(Token::Number) => Some(Class::Number),
        Ok(Token::Word) => Some(word_class(&text[range.clone()])),
        Ok(Token::Open | Token::Close) => Some(Class::Bracket),
        Ok(
            Token::Comma
            | Token::Assign
            | Token::Arrow
            | Token::Pipe
            | Token::Dot
            | Token::Dots
            | Token::Operator
            | Token::Other,
        ) => Some(Class::Operator),
    };
    tokens(text).filter_map(|(token, range)| class(token, &range).map(|c| (range, c))).collect()
}

fn word_class(word: &str) -> Class {
    const TYPES: &[&str] =
        &["f16", "bf16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u32", "u64", "bool", "str", "Self"];
    if KEYWORDS.contains(&word) {
        Class::Keyword
    } else if TYPES.contains(&word) || word.starts_with(char::is_uppercase) {
        Class::Type
    } else {
        Class::Name
    }
}

/// A line that ends in this token goes on.
pub(crate) fn continues(token: Token, word: &str) -> bool {
    match token {
        Token::Operator | Token::Assign | Token::Arrow | Token::Comma | Token::Pipe | Token::Dots | Token::Dot => true,
        Token::Open => true,
        Token::Word => matches!(word, "and" | "or" | "not" | "as" | "in" | "where" | "else"),
        Token::Newline | Token::Doc | Token::Comment | Token::Str | Token::Number | Token::Close | Token::Other => {
            false
        }
    }
}

/// False while an entry of the REPL needs more lines: a bracket is open, or the last line ends in what must go on.
pub fn is_complete(text: &str) -> bool {
    let mut depth = 0i64;
    let mut last = None;
    for (token, range) in tokens(text) {
        match token {
            Ok(Token::Open) => depth += 1,
            Ok(Token::Close) => depth -= 1,
            Ok(Token::Newline | Token::Comment) => continue,
            _ => {}
        }
        last = Some((token, range));
    }
    if depth > 0 {
        // a blank last line gives up, so that nobody is caught in an unclosed bracket
        return text.ends_with("\n\n\n");
    }
    match last {
        Some((Ok(Token::Doc), _)) => text.ends_with("\n\n"),
        Some((Ok(token), range)) => !continues(token, &text[range]),
        Some((Err(()), _)) | None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_brackets_and_trailing_operators_are_incomplete() {
        for text in ["fn f() {", "f(1,", "let x =", "1 +", "x |>", "[[1, 2],", "a and", "fn f() ->", "{ \"}\""] {
            assert!(!is_complete(text), "{text}");
        }
        for text in ["", "1 + 2", "fn f() { 1 }", "let x = 3 # (", "\"(\"", ")", "x.T"] {
            assert!(is_complete(text), "{text}");
        }
    }

    #[test]
    fn strings_nest_in_interpolations() {
        let text = r#""a {f("x {y}")} {{" + 1"#;
        let all: Vec<_> = tokens(text).map(|(t, r)| (t, &text[r])).collect();
        assert_eq!(all[0], (Ok(Token::Str), r#""a {f("x {y}")} {{""#));
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn classes() {
        let found: Vec<Class> = highlight("let x: f32 = 1.5 # c").into_iter().map(|(_, c)| c).collect();
        use Class::*;
        assert_eq!(found, [Keyword, Name, Operator, Type, Operator, Number, Comment]);
    }
}
