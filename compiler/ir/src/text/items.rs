//! Operand lists: `%a, %b, "text", 1.5, [1, 2], axis: 1, reverse`.

use super::lex::Token;
use super::parse::{ParseError, Parser};
use crate::{FuncId, ValueId};

/// What a list holds.
#[derive(Default)]
pub struct Items {
    pub args: Vec<ValueId>,
    pub texts: Vec<String>,
    /// Numbers and words in order: constants, flags.
    pub words: Vec<String>,
    pub list: Option<Vec<Element>>,
    pub labels: Vec<(String, Label)>,
}

pub enum Element {
    Plain(String),
    Text(String),
}

pub enum Label {
    Word(String),
    Text(String),
    Func(FuncId),
    List(Vec<Element>),
}

impl Parser {
    /// Items up to the end of the list; texts stay unresolved in `texts`, where messages stand.
    pub fn items(&mut self) -> Result<Items, ParseError> {
        let mut items = Items::default();
        loop {
            match self.peek().clone() {
                Token::Value { .. } => items.args.push(self.used()?),
                Token::Text(raw) => {
                    self.next();
                    items.texts.push(raw);
                }
                Token::Number(n) => {
                    self.next();
                    items.words.push(n);
                }
                Token::Word(w) if w == "loc" && self.peek2() == &Token::Punct('(') => return Ok(items),
                Token::Word(w) => {
                    self.next();
                    if self.eat(':') {
                        let label = self.label()?;
                        items.labels.push((w, label));
                    } else if w == "hex" {
                        items.words.push(w);
                        continue;
                    } else {
                        items.words.push(w);
                    }
                }
                Token::Punct('[') => items.list = Some(self.list()?),
                Token::Punct(_) | Token::Func(_) | Token::Dots | Token::End => return Ok(items),
            }
            if !self.eat(',') {
                return Ok(items);
            }
        }
    }

    fn label(&mut self) -> Result<Label, ParseError> {
        match self.peek().clone() {
            Token::Word(w) | Token::Number(w) => {
                self.next();
                Ok(Label::Word(w))
            }
            Token::Text(raw) => {
                self.next();
                Ok(Label::Text(self.text(&raw)?))
            }
            Token::Func(_) => Ok(Label::Func(self.callee()?)),
            Token::Punct('[') => Ok(Label::List(self.list()?)),
            Token::Punct(_) | Token::Value { .. } | Token::Dots | Token::End => self.error("expected a value"),
        }
    }

    fn list(&mut self) -> Result<Vec<Element>, ParseError> {
        self.expect('[')?;
        let mut list = Vec::new();
        while !self.is(']') {
            match self.next() {
                Token::Word(w) | Token::Number(w) => list.push(Element::Plain(w)),
                Token::Text(raw) => list.push(Element::Text(self.text(&raw)?)),
                Token::Punct(_) | Token::Func(_) | Token::Value { .. } | Token::Dots | Token::End => {
                    return self.error("expected a constant");
                }
            }
            if !self.eat(',') {
                break;
            }
        }
        self.expect(']')?;
        Ok(list)
    }
}
