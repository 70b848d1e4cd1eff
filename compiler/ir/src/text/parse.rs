//! Text to module: functions, blocks, types.

use std::collections::HashMap;
use std::fmt;

use tdl_source::{FileId, Span};

use super::items::{Items, Label};
use super::lex::{Spanned, Token, lex};
use super::number::unescape;
use super::parse_op;
use crate::{Attrs, Block, Dim, Dtype, FuncId, Function, Inst, Module, Op, Type, ValueId};

/// Where the text stops making sense; both count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    pub line: u32,
    pub col: u32,
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.col, self.message)
    }
}

impl std::error::Error for ParseError {}

/// Deeper nesting of regions is an error.
const MAX_DEPTH: usize = 200;

/// Reads a module. The result is well formed as a text; [`crate::verify`] decides whether it makes sense.
pub fn parse(text: &str) -> Result<Module, ParseError> {
    let tokens = lex(text)?;
    let mut funcs = HashMap::new();
    for pair in tokens.windows(2) {
        if let (Token::Word(word), Token::Func(name)) = (&pair[0].token, &pair[1].token)
            && word == "func"
            && funcs.insert(name.clone(), FuncId(funcs.len() as u32)).is_some()
        {
            let (line, col) = (pair[1].line, pair[1].col);
            return Err(ParseError { line, col, message: format!("a second function `{name}`") });
        }
    }
    let (values, awaited) = (HashMap::new(), HashMap::new());
    let mut p = Parser { tokens, at: 0, funcs, values, awaited, func: empty(), depth: 0 };
    let mut module = Module::default();
    while p.peek() != &Token::End {
        let (func, entry) = p.function()?;
        let id = module.add(func);
        if entry {
            module.entry = Some(id);
        }
    }
    Ok(module)
}

/// A literal with its escapes resolved; `None` for a bad one.
pub fn resolve(raw: &str) -> Option<String> {
    let mut chars = raw.chars().peekable();
    let mut out = String::new();
    while chars.peek().is_some() {
        out.push(unescape(&mut chars)?.0);
    }
    Some(out)
}

fn empty() -> Function {
    Function {
        name: String::new(),
        span: Span::default(),
        values: Vec::new(),
        body: Block::default(),
        attrs: Attrs::default(),
    }
}

pub(super) struct Parser {
    tokens: Vec<Spanned>,
    at: usize,
    funcs: HashMap<String, FuncId>,
    values: HashMap<(String, usize), ValueId>,
    /// Extents of parameters that the function's block has yet to compute, with the token that names them.
    awaited: HashMap<(String, usize), (ValueId, usize)>,
    func: Function,
    depth: usize,
}

impl Parser {
    pub fn peek(&self) -> &Token {
        &self.tokens[self.at].token
    }

    pub fn peek2(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].token
    }

    pub fn next(&mut self) -> Token {
        let token = self.tokens[self.at].token.clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    pub fn error<T>(&self, message: impl Into<String>) -> Result<T, ParseError> {
        let t = &self.tokens[self.at];
        Err(ParseError { line: t.line, col: t.col, message: message.into() })
    }

    pub fn is(&self, c: char) -> bool {
        self.peek() == &Token::Punct(c)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(w) if w == word)
    }

    pub fn eat(&mut self, c: char) -> bool {
        let yes = self.is(c);
        if yes {
            self.next();
        }
        yes
    }

    pub fn expect(&mut self, c: char) -> Result<(), ParseError> {
        if self.eat(c) { Ok(()) } else { self.error(format!("expected `{c}`")) }
    }

    fn expect_word(&mut self, word: &str) -> Result<(), ParseError> {
        if !self.is_word(word) {
            return self.error(format!("expected `{word}`"));
        }
        self.next();
        Ok(())
    }

    /// A value that the text has defined before.
    pub fn used(&mut self) -> Result<ValueId, ParseError> {
        let Token::Value { name, nth } = self.peek().clone() else {
            return self.error("expected a value");
        };
        match self.values.get(&(name, nth)) {
            Some(v) => {
                let v = *v;
                self.next();
                Ok(v)
            }
            None => self.error("this value is not defined before"),
        }
    }

    /// `%name`, then what `ty` reads: a new value.
    fn define(&mut self, ty: impl FnOnce(&mut Parser) -> Result<Type, ParseError>) -> Result<ValueId, ParseError> {
        let Token::Value { name, nth } = self.peek().clone() else {
            return self.error("expected a new value");
        };
        if self.values.contains_key(&(name.clone(), nth)) {
            return self.error("this value is defined before");
        }
        self.next();
        let ty = ty(self)?;
        let v = match self.awaited.remove(&(name.clone(), nth)) {
            Some((v, _)) => {
                self.func.values[v.0 as usize].ty = ty;
                v
            }
            None => self.func.new_value(ty, Span::default()),
        };
        if nth > 0 {
            self.func.values[v.0 as usize].name = Some(name.as_str().into());
        }
        self.values.insert((name, nth), v);
        Ok(v)
    }

    fn typed(&mut self) -> Result<ValueId, ParseError> {
        self.define(|p| {
            p.expect(':')?;
            p.ty(Parser::used)
        })
    }

    /// A parameter; its extents may be values that the function's block computes.
    fn param(&mut self) -> Result<ValueId, ParseError> {
        self.define(|p| {
            p.expect(':')?;
            p.ty(|p| {
                let Token::Value { name, nth } = p.peek().clone() else {
                    return p.used();
                };
                let key = (name, nth);
                if p.values.contains_key(&key) {
                    return p.used();
                }
                let at = p.at;
                p.next();
                if let Some((v, _)) = p.awaited.get(&key) {
                    return Ok(*v);
                }
                let v = p.func.new_value(Type::scalar(Dtype::I64), Span::default());
                p.awaited.insert(key, (v, at));
                Ok(v)
            })
        })
    }

    fn ty(&mut self, extent: impl Fn(&mut Parser) -> Result<ValueId, ParseError>) -> Result<Type, ParseError> {
        let Token::Word(word) = self.peek().clone() else {
            return self.error("expected a type");
        };
        if word == "stack" {
            self.next();
            self.expect('<')?;
            let inner = self.ty(extent)?;
            self.expect('>')?;
            return match inner {
                Type::Tensor { dtype, dims } => Ok(Type::Stack { dtype, dims }),
                Type::Str | Type::Stack { .. } => self.error("a stack holds tensors"),
            };
        }
        if word == "str" {
            self.next();
            return Ok(Type::Str);
        }
        let Some(dtype) = Dtype::from_name(&word) else {
            return self.error(format!("`{word}` is no type"));
        };
        self.next();
        let mut dims = Vec::new();
        if self.eat('[') {
            while !self.is(']') {
                if let Token::Number(n) = self.peek() {
                    let Ok(n) = n.parse() else {
                        return self.error("an extent is an integer");
                    };
                    self.next();
                    dims.push(Dim::Const(n));
                } else {
                    dims.push(Dim::Val(extent(self)?));
                }
                if !self.eat(',') {
                    break;
                }
            }
            self.expect(']')?;
        }
        Ok(Type::Tensor { dtype, dims })
    }

    fn function(&mut self) -> Result<(Function, bool), ParseError> {
        self.func = empty();
        self.values.clear();
        self.expect_word("func")?;
        let Token::Func(name) = self.peek().clone() else {
            return self.error("expected `@name`");
        };
        self.next();
        self.func.name = name;
        self.expect('(')?;
        let mut params = Vec::new();
        while !self.is(')') {
            params.push(self.param()?);
            if !self.eat(',') {
                break;
            }
        }
        self.expect(')')?;
        let items = self.items()?;
        let mut entry = false;
        for word in &items.words {
            match word.as_str() {
                "remat" => self.func.attrs.remat = true,
                "effects" => self.func.attrs.effects = true,
                "entry" => entry = true,
                word => return self.error(format!("`{word}` is no property of a function")),
            }
        }
        for (label, value) in items.labels {
            match (label.as_str(), value) {
                ("composite", Label::Text(name)) => self.func.attrs.composite = Some(name.into()),
                ("custom_vjp", Label::Func(id)) => self.func.attrs.custom_vjp = Some(id),
                (label, _) => return self.error(format!("`{label}` is no property of a function")),
            }
        }
        let span = self.loc()?;
        self.func.span = span;
        for p in &params {
            self.func.values[p.0 as usize].span = span;
        }
        let mut body = self.block("return")?;
        if let Some(at) = self.awaited.values().map(|(_, at)| *at).min() {
            self.at = at;
            return self.error("this value is not defined");
        }
        body.params = params;
        let mut func = std::mem::replace(&mut self.func, empty());
        func.body = body;
        Ok((func, entry))
    }

    /// `{ insts… [end values] }`
    fn block(&mut self, end: &str) -> Result<Block, ParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error("regions are nested too deeply");
        }
        self.expect('{')?;
        let mut block = Block::default();
        while !self.is('}') {
            if self.is_word(end) {
                self.next();
                block.results.push(self.used()?);
                while self.eat(',') {
                    block.results.push(self.used()?);
                }
                break;
            }
            block.insts.push(self.inst()?);
        }
        self.expect('}')?;
        self.depth -= 1;
        Ok(block)
    }

    fn inst(&mut self) -> Result<Inst, ParseError> {
        let mut results = Vec::new();
        if matches!(self.peek(), Token::Value { .. }) {
            results.push(self.typed()?);
            while self.eat(',') {
                results.push(self.typed()?);
            }
            self.expect('=')?;
        }
        let Token::Word(name) = self.peek().clone() else {
            return self.error("expected an op");
        };
        let dtype = results.first().and_then(|r| self.func.ty(*r).dtype());
        let (op, args, regions) = match name.as_str() {
            "if" => {
                self.next();
                let cond = self.used()?;
                let mut regions = vec![self.block("yield")?];
                if self.is_word("else") {
                    self.next();
                    regions.push(self.block("yield")?);
                }
                (Op::If, vec![cond], regions)
            }
            "for" => {
                self.next();
                let i = self.define(|_| Ok(Type::scalar(Dtype::I64)))?;
                self.expect('<')?;
                let mut args = vec![self.used()?];
                let mut params = vec![i];
                while self.eat(',') {
                    self.carried(&mut params, &mut args)?;
                }
                let mut body = self.block("yield")?;
                body.params = params;
                (Op::For, args, vec![body])
            }
            "while" => {
                self.next();
                let (mut params, mut args) = (Vec::new(), Vec::new());
                if !self.is('{') {
                    self.carried(&mut params, &mut args)?;
                    while self.eat(',') {
                        self.carried(&mut params, &mut args)?;
                    }
                }
                let mut cond = self.block("yield")?;
                cond.params = params;
                self.expect_word("do")?;
                let mut params = Vec::new();
                while !self.is('{') {
                    params.push(self.typed()?);
                    if !self.eat(',') {
                        break;
                    }
                }
                let mut body = self.block("yield")?;
                body.params = params;
                (Op::While, args, vec![cond, body])
            }
            "call" | "vjp" | "jvp" | "vmap" => {
                self.next();
                let func = self.callee()?;
                self.expect('(')?;
                let mut args = Vec::new();
                while !self.is(')') {
                    args.push(self.used()?);
                    if !self.eat(',') {
                        break;
                    }
                }
                self.expect(')')?;
                let items = if self.eat(',') { self.items()? } else { Items::default() };
                let op = match name.as_str() {
                    "call" => Op::Call { func },
                    "vjp" => Op::Vjp { func, wrt: parse_op::numbers(self, &items, "wrt")? },
                    "vmap" => {
                        let uniform = parse_op::numbers(self, &items, "uniform")?.first().copied().unwrap_or(0);
                        Op::Vmap { func, mapped: parse_op::numbers(self, &items, "mapped")?, uniform }
                    }
                    _ => Op::Jvp { func, wrt: parse_op::numbers(self, &items, "wrt")? },
                };
                (op, args, Vec::new())
            }
            _ => {
                let line = self.tokens[self.at].line;
                let at = self.at;
                self.next();
                let items = if self.tokens[self.at].line == line { self.items()? } else { Items::default() };
                let after = std::mem::replace(&mut self.at, at);
                let (op, args) = parse_op::op(self, &name, items, dtype)?;
                self.at = after;
                (op, args, Vec::new())
            }
        };
        let span = self.loc()?;
        for r in &results {
            self.func.values[r.0 as usize].span = span;
        }
        Ok(Inst { op, args, results, regions, span })
    }

    /// `%acc: f32 = %init`
    fn carried(&mut self, params: &mut Vec<ValueId>, args: &mut Vec<ValueId>) -> Result<(), ParseError> {
        params.push(self.typed()?);
        self.expect('=')?;
        args.push(self.used()?);
        Ok(())
    }

    pub fn callee(&mut self) -> Result<FuncId, ParseError> {
        if let Token::Func(name) = self.peek() {
            let Some(id) = self.funcs.get(name).copied() else {
                return self.error(format!("there is no function `{name}`"));
            };
            self.next();
            return Ok(id);
        }
        self.error("expected `@name`")
    }

    fn loc(&mut self) -> Result<Span, ParseError> {
        if !self.is_word("loc") {
            return Ok(Span::default());
        }
        self.next();
        self.expect('(')?;
        let file = self.number()?;
        self.expect(':')?;
        let start = self.number()?;
        if self.next() != Token::Dots {
            return self.error("expected `..`");
        }
        let end = self.number()?;
        self.expect(')')?;
        Ok(Span { file: FileId(file), start, end, via: 0 })
    }

    fn number(&mut self) -> Result<u32, ParseError> {
        if let Token::Number(n) = self.peek()
            && let Ok(n) = n.parse()
        {
            self.next();
            return Ok(n);
        }
        self.error("expected a number")
    }

    pub fn text(&mut self, raw: &str) -> Result<String, ParseError> {
        match resolve(raw) {
            Some(s) => Ok(s),
            None => self.error("bad escape"),
        }
    }
}
