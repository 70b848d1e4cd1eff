//! The order of what a statement does, where parts of it become variables in front of it.
//!
//! before: { let n = { if c { return 1 }; 2 }; f(x) + n }        from `f(x) + { if c { return 1 }; 2 }`
//! after:  { let a = f(x); let n = { if c { return 1 }; 2 }; a + n }
//!
//! A size that must be computed, and a value that may be left, are bound before the statement. What stands before them in the
//! program's text is then bound before them.

use std::mem;

use tdl_source::Span;

use super::Checker;
use super::errors::mk;
use crate::thir::{Expr, ExprKind, LocalId, Pattern, Stmt, StmtKind};
use crate::ty::Ty;
use crate::visit::{operands_mut, visit};

/// What a variable is called that holds an operand.
const OPERAND: &str = "<operand>";

impl Checker<'_> {
    /// The variables in front of `e`, with those parts of `e` and of each other that come before them.
    pub(super) fn in_order(&mut self, temps: Vec<Stmt>, e: &mut Expr) -> Vec<Stmt> {
        if !temps.iter().any(|s| matches!(&s.kind, StmtKind::Let { value, .. } if acts(value))) {
            return temps;
        }
        let mut rest: Vec<Stmt> = Vec::new();
        for temp in temps.into_iter().rev() {
            let mut before = Vec::new();
            if let StmtKind::Let { .. } = &temp.kind {
                let mut kept = Vec::new();
                for mut s in mem::take(&mut rest) {
                    if self.is_operand(&s) && precedes(s.span, temp.span) {
                        before.push(s);
                        continue;
                    }
                    if let StmtKind::Let { value, .. } = &mut s.kind {
                        self.take_before(value, temp.span, &mut before);
                    }
                    kept.push(s);
                }
                rest = kept;
                self.take_before(e, temp.span, &mut before);
                before.sort_by_key(|s| s.span.start);
            }
            before.push(temp);
            before.append(&mut rest);
            rest = before;
        }
        rest
    }

    fn is_operand(&self, s: &Stmt) -> bool {
        matches!(&s.kind, StmtKind::Let { pattern: Pattern::Local(l), .. } if *self.body.locals[l.index()].name == *OPERAND)
    }

    /// Puts the parts of `e` that come before a place into variables.
    fn take_before(&mut self, e: &mut Expr, place: Span, out: &mut Vec<Stmt>) {
        if e.span.file != place.file || e.span.start >= place.start {
            return;
        }
        if !precedes(e.span, place) {
            operands_mut(e, &mut |part| self.take_before(part, place, out));
            return;
        }
        if self.is_fixed(e) {
            return;
        }
        let (ty, span) = (e.ty.clone(), e.span);
        let local = self.new_local(OPERAND, ty.clone(), false, span);
        let value = mem::replace(e, mk(ExprKind::Local(local), ty, span));
        out.push(Stmt { kind: StmtKind::Let { pattern: Pattern::Local(local), value }, span });
    }

    /// Whether it is the same whenever it is evaluated.
    fn is_fixed(&self, e: &Expr) -> bool {
        let mutable = |l: &LocalId| self.body.locals[l.index()].mutable;
        match &e.kind {
            ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Const(_)
            | ExprKind::Size(_)
            | ExprKind::Fn { .. }
            | ExprKind::BuiltinFn(_)
            | ExprKind::FnParam(_)
            | ExprKind::Lambda(_)
            | ExprKind::Error => true,
            ExprKind::Local(l) => !mutable(l),
            ExprKind::Field { base, .. } | ExprKind::TupleField { base, .. } => self.is_fixed(base),
            ExprKind::Text(_)
            | ExprKind::Bound { .. }
            | ExprKind::Tuple(_)
            | ExprKind::Array(_)
            | ExprKind::Struct { .. }
            | ExprKind::StructStack { .. }
            | ExprKind::Unary { .. }
            | ExprKind::TreeUnary { .. }
            | ExprKind::Binary { .. }
            | ExprKind::Compare { .. }
            | ExprKind::Logic { .. }
            | ExprKind::MatMul { .. }
            | ExprKind::TreeBinary { .. }
            | ExprKind::Index { .. }
            | ExprKind::Comprehension { .. }
            | ExprKind::Call { .. }
            | ExprKind::CallValue { .. }
            | ExprKind::Builtin { .. }
            | ExprKind::Random { .. }
            | ExprKind::Convert(_)
            | ExprKind::As { .. }
            | ExprKind::CheckSizes { .. }
            | ExprKind::Pack { .. }
            | ExprKind::Open { .. }
            | ExprKind::If { .. }
            | ExprKind::Block(_)
            | ExprKind::Derivative(_)
            | ExprKind::Vmap(_)
            | ExprKind::Vjp { .. }
            | ExprKind::Jvp { .. }
            | ExprKind::Break
            | ExprKind::Continue
            | ExprKind::Return(_) => matches!(e.ty, Ty::Fn(_) | Ty::Never),
        }
    }
}

fn precedes(a: Span, b: Span) -> bool {
    a.file == b.file && a.end <= b.start
}

/// Whether evaluating it may do something: print, draw, assign, leave.
fn acts(e: &Expr) -> bool {
    let mut found = false;
    visit(e, &mut |e| {
        found |= matches!(
            e.kind,
            ExprKind::Call { .. }
                | ExprKind::CallValue { .. }
                | ExprKind::Random { .. }
                | ExprKind::Block(_)
                | ExprKind::If { .. }
                | ExprKind::Builtin { .. }
        );
    });
    found
}
