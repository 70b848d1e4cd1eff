//! Statements and blocks.

use super::{Cx, P, Rule, inner, next, take};
use crate::ast::*;

impl Cx<'_> {
    pub(super) fn block(&self, pair: P<'_>) -> Block {
        let span = self.span(&pair);
        let mut stmts: Vec<Stmt> = pair.into_inner().map(|s| self.stmt(s)).collect();
        let result = match stmts.pop() {
            Some(Stmt { kind: StmtKind::Expr(e), .. }) => Some(Box::new(e)),
            Some(other) => {
                stmts.push(other);
                None
            }
            None => None,
        };
        Block { stmts, result, span }
    }

    pub(super) fn stmt(&self, pair: P<'_>) -> Stmt {
        let span = self.span(&pair);
        let pair = next(&mut inner(pair));
        let rule = pair.as_rule();
        let mut parts = inner(pair);
        let kind = match rule {
            Rule::let_stmt => {
                take(&mut parts, Rule::k_let);
                let sizes = take(&mut parts, Rule::sizes)
                    .map(|s| s.into_inner().map(|i| self.ident(&i)).collect())
                    .unwrap_or_default();
                let mut whole = inner(next(&mut parts));
                let all = take(&mut whole, Rule::k_mut).is_some();
                let pattern = self.pattern(next(&mut whole));
                let ty = take(&mut parts, Rule::ty).map(|t| self.ty(t));
                let mutable = all || matches!(pattern.kind, PatternKind::Name { mutable: true, .. });
                StmtKind::Let { sizes, mutable, pattern, ty, value: self.expr(next(&mut parts)) }
            }
            Rule::for_stmt => {
                let annotations = self.annotations(&mut parts);
                take(&mut parts, Rule::k_for);
                let pattern = self.pattern(next(&mut parts));
                take(&mut parts, Rule::k_in);
                let iter = self.expr(next(&mut parts));
                StmtKind::For { annotations, pattern, iter, body: self.block(next(&mut parts)) }
            }
            Rule::while_stmt => {
                let annotations = self.annotations(&mut parts);
                take(&mut parts, Rule::k_while);
                let cond = self.expr(next(&mut parts));
                StmtKind::While { annotations, cond, body: self.block(next(&mut parts)) }
            }
            Rule::assert_stmt => {
                take(&mut parts, Rule::k_assert);
                let cond = self.expr(next(&mut parts));
                StmtKind::Assert { cond, message: parts.next().map(|m| self.expr(m)) }
            }
            Rule::inner_item => return self.stmt_item(self.item(next(&mut parts))),
            Rule::assign => {
                let target = self.expr(next(&mut parts));
                match parts.next() {
                    None => StmtKind::Expr(target),
                    Some(op) => {
                        let op_span = self.span(&op);
                        let value = self.expr(next(&mut parts));
                        match update(op.as_str().trim()) {
                            None => StmtKind::Assign { target, value },
                            Some(op) => StmtKind::Update { target, op, op_span, value },
                        }
                    }
                }
            }
            other => unreachable!("{other:?} is no statement"),
        };
        Stmt { kind, span }
    }

    pub(super) fn pattern(&self, pair: P<'_>) -> Pattern {
        let span = self.span(&pair);
        let pair = if pair.as_rule() == Rule::pattern { next(&mut inner(pair)) } else { pair };
        let kind = match pair.as_rule() {
            Rule::tuple_pat => PatternKind::Tuple(pair.into_inner().map(|p| self.pattern(p)).collect()),
            _ => {
                let mut parts = inner(pair);
                let mutable = take(&mut parts, Rule::k_mut).is_some();
                let name = self.ident(&next(&mut parts));
                if &*name.name == "_" { PatternKind::Ignore } else { PatternKind::Name { mutable, name } }
            }
        };
        Pattern { kind, span }
    }
}

fn update(op: &str) -> Option<BinaryOp> {
    match op {
        "+=" => Some(BinaryOp::Add),
        "-=" => Some(BinaryOp::Sub),
        "*=" => Some(BinaryOp::Mul),
        "/=" => Some(BinaryOp::Div),
        _ => None,
    }
}
