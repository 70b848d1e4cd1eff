//! Tokens of the text form.

use super::parse::ParseError;

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// `%name` (`nth` 1), `%name#2`, or `%7` (`nth` 0), quotes resolved.
    Value {
        name: String,
        nth: usize,
    },
    /// `@name`
    Func(String),
    Word(String),
    /// Also `-inf`.
    Number(String),
    /// The inside of a literal, escapes unresolved.
    Text(String),
    Punct(char),
    /// `..`, in spans.
    Dots,
    End,
}

#[derive(Clone, Debug)]
pub struct Spanned {
    pub token: Token,
    pub line: u32,
    pub col: u32,
}

struct Lexer<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    line: u32,
    col: u32,
}

pub fn lex(text: &str) -> Result<Vec<Spanned>, ParseError> {
    let mut lexer = Lexer { chars: text.chars().peekable(), line: 1, col: 1 };
    let mut out = Vec::new();
    loop {
        lexer.skip_blank()?;
        let (line, col) = (lexer.line, lexer.col);
        let token = lexer.token()?;
        let done = token == Token::End;
        out.push(Spanned { token, line, col });
        if done {
            return Ok(out);
        }
    }
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        if c == '\n' {
            self.line += 1;
            self.col = 1;
        } else {
            self.col += 1;
        }
        Some(c)
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().copied()
    }

    fn error(&self, message: &str) -> ParseError {
        ParseError { line: self.line, col: self.col, message: message.into() }
    }

    fn take_while(&mut self, out: &mut String, f: impl Fn(char) -> bool) {
        while let Some(c) = self.peek() {
            if !f(c) {
                break;
            }
            out.push(c);
            self.next();
        }
    }

    fn skip_blank(&mut self) -> Result<(), ParseError> {
        loop {
            match self.peek() {
                Some(c) if c.is_whitespace() => {
                    self.next();
                }
                Some('/') => {
                    self.next();
                    if self.peek() != Some('/') {
                        return Err(self.error("a comment begins with `//`"));
                    }
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.next();
                    }
                }
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn token(&mut self) -> Result<Token, ParseError> {
        let Some(c) = self.peek() else {
            return Ok(Token::End);
        };
        if c.is_alphabetic() || c == '_' {
            let mut word = String::new();
            self.take_while(&mut word, |c| c.is_alphanumeric() || c == '_');
            if word == "nan" && self.peek() == Some('(') {
                self.take_while(&mut word, |c| c.is_ascii_alphanumeric() || c == '(');
                if self.next() != Some(')') {
                    return Err(self.error("expected `)` after the bits of a nan"));
                }
                word.push(')');
            }
            return Ok(Token::Word(word));
        }
        if c.is_ascii_digit() || c == '-' {
            return self.number();
        }
        self.next();
        match c {
            '%' => {
                let numbered = self.peek().is_some_and(|c| c.is_ascii_digit());
                let name = self.name()?;
                let mut nth = String::new();
                if self.peek() == Some('#') {
                    self.next();
                    self.take_while(&mut nth, |c| c.is_ascii_digit());
                    return match nth.parse() {
                        Ok(nth) if nth > 0 && !numbered => Ok(Token::Value { name, nth }),
                        Ok(_) | Err(_) => Err(self.error("expected a number from 1 after `#`")),
                    };
                }
                Ok(Token::Value { name, nth: usize::from(!numbered) })
            }
            '@' => Ok(Token::Func(self.name()?)),
            '"' => Ok(Token::Text(self.literal()?)),
            '.' => {
                if self.next() == Some('.') {
                    Ok(Token::Dots)
                } else {
                    Err(self.error("expected `..`"))
                }
            }
            '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | ',' | ':' | '=' => Ok(Token::Punct(c)),
            c => Err(self.error(&format!("unexpected character `{c}`"))),
        }
    }

    fn number(&mut self) -> Result<Token, ParseError> {
        let mut text = String::new();
        if self.peek() == Some('-') {
            text.push('-');
            self.next();
        }
        let digits = |c: char| c.is_ascii_digit();
        let before = text.len();
        self.take_while(&mut text, digits);
        if text.len() == before {
            self.take_while(&mut text, |c| c.is_ascii_alphabetic());
            if text == "-inf" {
                return Ok(Token::Number(text));
            }
            return Err(self.error("expected a number"));
        }
        // A dot belongs to the number if a digit follows: `0..5` is a range.
        let mut ahead = self.chars.clone();
        if ahead.next() == Some('.') && ahead.next().is_some_and(digits) {
            text.push('.');
            self.next();
            self.take_while(&mut text, digits);
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            text.push('e');
            self.next();
            if let Some(sign @ ('+' | '-')) = self.peek() {
                text.push(sign);
                self.next();
            }
            self.take_while(&mut text, digits);
        }
        if self.peek() == Some('d') {
            text.push('d');
            self.next();
        }
        Ok(Token::Number(text))
    }

    /// A name after `%` or `@`: a word with dots, a number, or a literal.
    fn name(&mut self) -> Result<String, ParseError> {
        if self.peek() == Some('"') {
            self.next();
            let raw = self.literal()?;
            return super::parse::resolve(&raw).ok_or_else(|| self.error("bad escape in a name"));
        }
        let mut name = String::new();
        if self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.take_while(&mut name, |c| c.is_ascii_digit());
        } else {
            self.take_while(&mut name, |c| c.is_alphanumeric() || c == '_' || c == '.');
        }
        if name.is_empty() { Err(self.error("expected a name")) } else { Ok(name) }
    }

    /// The rest of a literal after its first quote, escapes unresolved.
    fn literal(&mut self) -> Result<String, ParseError> {
        let mut raw = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(raw),
                Some('\\') => {
                    raw.push('\\');
                    raw.push(self.next().ok_or_else(|| self.error("text without an end"))?);
                }
                Some(c) => raw.push(c),
                None => return Err(self.error("text without an end")),
            }
        }
    }
}
