//! Expressions: precedence by a Pratt parser over the flat sequence that the grammar gives.
//!
//! From loose to tight: `|>` · `..` · `or` · `and` · `not` · comparisons · `+ -` · `* / // % @` · `as` · unary `-` · `^` ·
//! calls, indices, fields.

use std::sync::{Arc, LazyLock};

use pest::Parser;
use pest::iterators::Pair;
use pest::pratt_parser::{Assoc, Op, PrattParser};
use tdl_source::{Diagnostic, Span, code};

use super::{Cx, Grammar, MAX_CHAIN, P, Rule, error, inner, next, take};
use crate::ast::*;

static PRATT: LazyLock<PrattParser<Rule>> = LazyLock::new(|| {
    let left = |r| Op::infix(r, Assoc::Left);
    PrattParser::new()
        .op(left(Rule::pipe))
        .op(left(Rule::range))
        .op(left(Rule::or))
        .op(left(Rule::and))
        .op(Op::prefix(Rule::not))
        .op(left(Rule::eq) | left(Rule::ne) | left(Rule::lt) | left(Rule::le) | left(Rule::gt) | left(Rule::ge))
        .op(left(Rule::add) | left(Rule::sub))
        .op(left(Rule::mul) | left(Rule::div) | left(Rule::floor_div) | left(Rule::rem) | left(Rule::matmul))
        .op(Op::postfix(Rule::cast))
        .op(Op::prefix(Rule::neg))
        .op(Op::infix(Rule::pow, Assoc::Right))
        .op(Op::postfix(Rule::call)
            | Op::postfix(Rule::index)
            | Op::postfix(Rule::tuple_field)
            | Op::postfix(Rule::field_access)
            | Op::postfix(Rule::struct_body))
});

impl Cx<'_> {
    /// A pair of the rules `expr` or `head_expr`, or a primary.
    pub(super) fn expr(&self, pair: P<'_>) -> Expr {
        let span = self.span(&pair);
        let whole = matches!(pair.as_rule(), Rule::expr | Rule::head_expr);
        if whole && pair.clone().into_inner().count() > MAX_CHAIN {
            self.too_large(format!("more than {MAX_CHAIN} operators in a row"), span);
            return self.bad(span);
        }
        let built = self.nested(span, || {
            if !whole {
                return self.primary(pair);
            }
            PRATT
                .map_primary(|p| self.primary(p))
                .map_prefix(|op, x| self.prefix(op, x))
                .map_postfix(|x, op| self.postfix(x, op))
                .map_infix(|a, op, b| self.infix(a, op, b))
                .parse(pair.into_inner())
        });
        built.unwrap_or_else(|| self.bad(span))
    }

    fn prefix(&self, op: P<'_>, operand: Expr) -> Expr {
        let op_span = self.span(&op);
        let span = op_span.to(operand.span);
        let op = if op.as_rule() == Rule::neg { UnaryOp::Neg } else { UnaryOp::Not };
        Expr { kind: ExprKind::Unary { op, op_span, operand: Box::new(operand) }, span }
    }

    fn infix(&self, left: Expr, op: P<'_>, right: Expr) -> Expr {
        let op_span = self.span(&op);
        let span = left.span.to(right.span);
        let (left, right) = (Box::new(left), Box::new(right));
        let kind = match op.as_rule() {
            Rule::pipe => ExprKind::Pipe { value: left, op_span, target: right },
            Rule::range => ExprKind::Range { from: left, to: right },
            Rule::or => ExprKind::Or(left, right),
            Rule::and => ExprKind::And(left, right),
            rule => match (compare_op(rule), binary_op(rule)) {
                (Some(op), _) => ExprKind::Compare { op, op_span, left, right },
                (None, Some(op)) => ExprKind::Binary { op, op_span, left, right },
                (None, None) => unreachable!("{rule:?} is no operator"),
            },
        };
        Expr { kind, span }
    }

    fn postfix(&self, base: Expr, op: P<'_>) -> Expr {
        let op_span = self.span(&op);
        let span = base.span.to(op_span);
        let kind = match op.as_rule() {
            Rule::call => {
                let args = self.args(next(&mut inner(op)));
                ExprKind::Call { callee: Box::new(base), args, args_span: op_span }
            }
            Rule::index => {
                let items = op.into_inner().map(|i| self.index_item(i)).collect();
                ExprKind::Index { base: Box::new(base), items, items_span: op_span }
            }
            Rule::tuple_field => {
                let digits = next(&mut inner(op));
                let index_span = self.span(&digits);
                ExprKind::TupleField {
                    base: Box::new(base),
                    index: digits.as_str().trim().parse().unwrap_or(usize::MAX),
                    index_span,
                }
            }
            Rule::field_access => ExprKind::Field { base: Box::new(base), name: self.ident(&next(&mut inner(op))) },
            Rule::cast => {
                let mut parts = inner(op);
                take(&mut parts, Rule::k_as);
                ExprKind::As { value: Box::new(base), ty: self.ty(next(&mut parts)) }
            }
            Rule::struct_body => {
                let fields = op
                    .into_inner()
                    .filter(|p| p.as_rule() == Rule::field_init)
                    .map(|f| {
                        let mut parts = inner(f);
                        let name = self.ident(&next(&mut parts));
                        (name, self.expr(next(&mut parts)))
                    })
                    .collect();
                ExprKind::Struct { ty: self.expr_as_type(base), fields }
            }
            other => unreachable!("{other:?} is no postfix"),
        };
        Expr { kind, span }
    }

    fn index_item(&self, pair: P<'_>) -> IndexItem {
        let item = next(&mut inner(pair));
        let span = self.span(&item);
        match item.as_rule() {
            Rule::ellipsis => IndexItem::Ellipsis(span),
            Rule::new_axis => IndexItem::New(span),
            Rule::spread => IndexItem::Spread(self.ident(&next(&mut inner(item))), span),
            Rule::slice_from => {
                let mut parts = inner(item);
                let from = self.expr(next(&mut parts));
                match parts.next() {
                    None => IndexItem::Expr(from),
                    Some(rest) => self.slice(Some(from), rest, span),
                }
            }
            _ => self.slice(None, next(&mut inner(item)), span),
        }
    }

    fn slice(&self, from: Option<Expr>, rest: P<'_>, span: Span) -> IndexItem {
        let (mut to, mut step) = (None, None);
        for part in rest.into_inner() {
            let rule = part.as_rule();
            let e = Some(self.expr(next(&mut inner(part))));
            if rule == Rule::slice_to { to = e } else { step = e }
        }
        IndexItem::Slice { from, to, step, span }
    }

    pub(super) fn args(&self, pair: P<'_>) -> Vec<Arg> {
        pair.into_inner()
            .map(|arg| {
                let mut parts = inner(arg);
                let label = take(&mut parts, Rule::label).map(|l| self.ident(&next(&mut inner(l))));
                let value = self.expr(next(&mut parts));
                Arg { label, value: self.comprehension(value, parts.next(), true) }
            })
            .collect()
    }

    fn comprehension(&self, body: Expr, binders: Option<P<'_>>, bare: bool) -> Expr {
        let Some(pair) = binders else { return body };
        let span = body.span.to(self.span(&pair));
        let binders = pair.into_inner().filter(|b| b.as_rule() == Rule::binder).map(|b| self.binder(b)).collect();
        Expr { kind: ExprKind::Comprehension { body: Box::new(body), binders, bare }, span }
    }

    fn binder(&self, pair: P<'_>) -> Binder {
        let span = self.span(&pair);
        let mut parts = inner(pair);
        let name = self.ident(&next(&mut parts));
        let range = match parts.next() {
            None => BinderRange::Inferred,
            Some(r) => {
                let below = r.as_rule() == Rule::binder_below;
                let e = self.expr(r.into_inner().last().expect("an expression"));
                if below { BinderRange::Below(e) } else { BinderRange::In(e) }
            }
        };
        Binder { name, range, span }
    }

    fn primary(&self, pair: P<'_>) -> Expr {
        let span = self.span(&pair);
        let text = pair.as_str().trim();
        let kind = match pair.as_rule() {
            Rule::expr | Rule::head_expr => return self.expr(pair),
            Rule::integer => self.integer(text, span),
            Rule::float => ExprKind::Float(text.replace('_', "").parse().unwrap_or(f64::NAN)),
            Rule::string => ExprKind::Str(self.pieces(text, span)),
            Rule::boolean => ExprKind::Bool(text == "true"),
            Rule::if_expr => {
                let mut parts = inner(pair);
                take(&mut parts, Rule::k_if);
                let cond = Box::new(self.expr(next(&mut parts)));
                let then = self.block(next(&mut parts));
                take(&mut parts, Rule::k_else);
                let els = parts.next().map(|e| Box::new(self.expr(e)));
                ExprKind::If { cond, then, els }
            }
            Rule::lambda => {
                let mut parts = inner(pair);
                let mut params = Vec::new();
                while let Some(p) = take(&mut parts, Rule::lambda_param) {
                    params.push(self.param(p));
                }
                let result = take(&mut parts, Rule::ty).map(|t| self.ty(t));
                ExprKind::Lambda { params, result, body: Box::new(self.expr(next(&mut parts))) }
            }
            Rule::paren => {
                let mut parts: Vec<P<'_>> = pair.into_inner().collect();
                let trailing = parts.pop_if(|p| p.as_rule() == Rule::trailing).is_some();
                let mut items: Vec<Expr> = parts.into_iter().map(|p| self.expr(p)).collect();
                if items.len() == 1 && !trailing {
                    return Expr { span, ..items.remove(0) };
                }
                ExprKind::Tuple(items)
            }
            Rule::array => {
                let mut items = Vec::new();
                for part in pair.into_inner() {
                    if part.as_rule() == Rule::binders {
                        let body = items.pop().expect("an expression stands before `for`");
                        let Expr { kind, .. } = self.comprehension(body, Some(part), false);
                        return Expr { kind, span };
                    }
                    items.push(self.expr(part));
                }
                ExprKind::Array(items)
            }
            Rule::block => ExprKind::Block(self.block(pair)),
            Rule::return_expr => {
                let value = pair.into_inner().find(|p| p.as_rule() == Rule::expr).map(|e| Box::new(self.expr(e)));
                ExprKind::Return(value)
            }
            Rule::break_expr => ExprKind::Break,
            Rule::continue_expr => ExprKind::Continue,
            Rule::fn_ty | Rule::some_ty => ExprKind::Type(self.ty(pair)),
            Rule::hole => ExprKind::Placeholder,
            Rule::name | Rule::self_name => ExprKind::Name(Ident { name: text.into(), span }),
            other => unreachable!("{other:?} is no expression"),
        };
        Expr { kind, span }
    }

    fn integer(&self, text: &str, span: Span) -> ExprKind {
        let clean = text.replace('_', "");
        let value = match clean.strip_prefix("0x") {
            Some(hex) => i128::from_str_radix(hex, 16),
            None => clean.parse(),
        };
        match value {
            Ok(v) if v <= i128::from(u64::MAX) => ExprKind::Int(v),
            Ok(_) | Err(_) => {
                self.error(
                    Diagnostic::error(code::E0107, "this integer is too large", span, "above 2^64 - 1")
                        .help("write a float, as in `1e30`"),
                );
                ExprKind::Error
            }
        }
    }

    /// The pieces of a text literal; `literal` has its quotes.
    fn pieces(&self, literal: &str, span: Span) -> Vec<StrPiece> {
        let body = &literal[1..literal.len().saturating_sub(1).max(1)];
        let start = self.local(span) + 1;
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut chars = body.char_indices().peekable();
        while let Some((i, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, '0')) => text.push('\0'),
                    Some((_, e @ ('"' | '\\' | '{' | '}'))) => text.push(e),
                    Some((k, 'u')) if unicode(&body[k + 1..]).is_some() => {
                        let (c, len) = unicode(&body[k + 1..]).unwrap_or_default();
                        text.push(c);
                        while chars.next_if(|(j, _)| *j <= k + len).is_some() {}
                    }
                    other => {
                        let len = 1 + other.map_or(0, |(_, c)| c.len_utf8());
                        self.error(
                            Diagnostic::error(
                                code::E0106,
                                "unknown escape in a text",
                                self.origin.span(start + i..start + i + len),
                                "not an escape",
                            )
                            .help("the escapes are \\n \\t \\r \\0 \\\" \\\\ \\u{e9}; a brace is written twice: {{"),
                        );
                    }
                },
                '{' if chars.next_if(|(_, c)| *c == '{').is_some() => text.push('{'),
                '}' => {
                    chars.next_if(|(_, c)| *c == '}');
                    text.push('}');
                }
                '{' => {
                    let len = interpolation_end(&body[i + 1..]);
                    let inside = &body[i + 1..i + 1 + len];
                    while chars.next_if(|(k, _)| *k <= i + 1 + len).is_some() {}
                    if !text.is_empty() {
                        pieces.push(StrPiece::Text(std::mem::take(&mut text).into()));
                    }
                    pieces.push(self.interpolation(inside, start + i + 1));
                }
                _ => text.push(c),
            }
        }
        if !text.is_empty() {
            pieces.push(StrPiece::Text(text.into()));
        }
        pieces
    }

    fn interpolation(&self, inside: &str, start: usize) -> StrPiece {
        let cut = format_start(inside);
        let (source, format) = (&inside[..cut], inside[cut..].strip_prefix(':').unwrap_or(""));
        let span = self.origin.span(start..start + source.len());
        let cx = self.inside(start);
        let expr = match Grammar::parse(Rule::piece, source) {
            Ok(pairs) => {
                let root = pairs.into_iter().flat_map(Pair::into_inner).find(|p| p.as_rule() == Rule::expr);
                root.map_or_else(|| self.bad(span), |e| cx.expr(e))
            }
            Err(e) => {
                cx.error(error::diagnose(&cx, Rule::piece, &(start..start + source.len()), &e));
                self.bad(span)
            }
        };
        self.errors.borrow_mut().extend(cx.errors.into_inner());
        StrPiece::Value { expr, format: Arc::from(format) }
    }
}

/// Length of the text up to the brace that closes an interpolation.
fn interpolation_end(text: &str) -> usize {
    let mut depth = 0usize;
    let mut i = 0;
    let bytes = text.as_bytes();
    while i < bytes.len() {
        match bytes[i] {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' if depth == 0 => return i,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            b'"' => i += crate::tokens::string_end(&text[i + 1..]).unwrap_or(0),
            _ => {}
        }
        i += 1;
    }
    text.len()
}

/// Where `:format` begins: the first colon outside brackets and texts.
fn format_start(text: &str) -> usize {
    let mut depth = 0usize;
    let mut i = 0;
    let bytes = text.as_bytes();
    while i < bytes.len() {
        match bytes[i] {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 0 => return i,
            b'"' => i += crate::tokens::string_end(&text[i + 1..]).unwrap_or(0),
            _ => {}
        }
        i += 1;
    }
    text.len()
}

fn compare_op(rule: Rule) -> Option<CompareOp> {
    match rule {
        Rule::eq => Some(CompareOp::Eq),
        Rule::ne => Some(CompareOp::Ne),
        Rule::lt => Some(CompareOp::Lt),
        Rule::le => Some(CompareOp::Le),
        Rule::gt => Some(CompareOp::Gt),
        Rule::ge => Some(CompareOp::Ge),
        _ => None,
    }
}

fn binary_op(rule: Rule) -> Option<BinaryOp> {
    match rule {
        Rule::add => Some(BinaryOp::Add),
        Rule::sub => Some(BinaryOp::Sub),
        Rule::mul => Some(BinaryOp::Mul),
        Rule::div => Some(BinaryOp::Div),
        Rule::floor_div => Some(BinaryOp::FloorDiv),
        Rule::rem => Some(BinaryOp::Rem),
        Rule::matmul => Some(BinaryOp::MatMul),
        Rule::pow => Some(BinaryOp::Pow),
        _ => None,
    }
}

/// `{e9}`: the character of this number, and how many bytes say so.
fn unicode(text: &str) -> Option<(char, usize)> {
    let digits = text.strip_prefix('{')?.split_once('}')?.0;
    let hex = (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let number = hex.then(|| u32::from_str_radix(digits, 16).ok())??;
    Some((char::from_u32(number)?, digits.len() + 2))
}
