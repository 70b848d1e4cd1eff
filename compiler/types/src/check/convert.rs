//! Fitting a value to the type its place expects: packing and opening of unknown sizes, sizes of values.

use tdl_source::{Diagnostic, Span, code};

use super::Checker;
use super::errors::{error_expr, fact_help, mk};
use crate::ids::*;
use crate::size::{SizeExpr, SizeVar};
use crate::subst::Bindings;
use crate::thir::{Block, Expr, ExprKind, OpenDef, Pattern, SizeCheck, Stmt, StmtKind};
use crate::ty::Ty;
use tdl_ir::op::{BinaryOp, UnaryOp};

/// A variable for a value that may be left.
const SETTLED: &str = "<settled>";

impl Checker<'_> {
    /// Gives names to the unknown sizes of a value. `origin` says where they come from.
    pub(super) fn open(&mut self, e: Expr, origin: &str) -> Expr {
        let Ty::Exists(vars, inner) = self.zonk(&e.ty) else { return e };
        let known = self.body.opened.get(&e).filter(|ids| ids.len() == vars.len());
        let ids = known.unwrap_or_else(|| {
            let fresh = |v: &SizeVar| {
                let id = OpenId(self.body.opens.len() as u32);
                let bound = match v {
                    SizeVar::Bound(b) => self.program.bound_names[*b as usize].to_string(),
                    _ => String::new(),
                };
                let name = if origin.is_empty() { bound } else { format!("<{bound} of {origin}>") };
                self.body.opens.push(OpenDef { name: name.into(), span: e.span });
                id
            };
            vars.iter().map(fresh).collect()
        });
        self.body.opened.insert(&e, &ids);
        let bind = vars.iter().zip(&ids).map(|(v, id)| (*v, SizeExpr::var(SizeVar::Open(*id))));
        let ty = inner.subst(&Bindings::sizes(bind));
        let span = e.span;
        mk(ExprKind::Open { value: Box::new(e), vars: ids }, ty, span)
    }

    /// Makes the value fit the type, or reports.
    pub(super) fn coerce(&mut self, e: Expr, expected: &Ty, what: &str) -> Expr {
        let expected = self.zonk(expected);
        let found = self.zonk(&e.ty);
        if let Ty::Exists(vars, inner) = &expected {
            if let Ty::Exists(..) = found {
                if self.try_unify(&expected, &found).is_ok() {
                    return e;
                }
                let opened = self.open(e, "");
                return self.coerce(opened, &expected, what);
            }
            if matches!(found, Ty::Never | Ty::Error) {
                return e;
            }
            let fresh: Vec<SizeExpr> = vars.iter().map(|_| self.body.store.new_size()).collect();
            let open = inner.subst(&Bindings::sizes(vars.iter().copied().zip(fresh.iter().cloned())));
            if let Err(why) = self.unify(&open, &found) {
                self.mismatch(&expected, &found, &why, e.span, what);
                return error_expr(e.span);
            }
            let span = e.span;
            return mk(ExprKind::Pack { value: Box::new(e), witnesses: fresh }, expected, span);
        }
        let mut e = self.open(e, "");
        if let Ty::Fn(want) = &expected {
            e = self.as_function(e, Some(want));
        }
        let found = self.zonk(&e.ty);
        match self.unify(&expected, &found) {
            Ok(()) => e,
            Err(why) => {
                self.mismatch(&expected, &found, &why, e.span, what);
                error_expr(e.span)
            }
        }
    }

    /// The size that an `i64` scalar value is, if it is one by its form.
    pub(super) fn size_value(&self, e: &Expr) -> Option<SizeExpr> {
        if self.zonk(&e.ty) != Ty::I64 && !matches!(e.kind, ExprKind::Int(_)) {
            return None;
        }
        match &e.kind {
            ExprKind::Int(v) => i64::try_from(*v).ok().map(SizeExpr::constant),
            ExprKind::Size(s) => Some(self.zonk_size(s)),
            ExprKind::Local(id) => self.local_size(*id),
            ExprKind::Const(id) => self.const_size(*id),
            ExprKind::Unary { op: UnaryOp::Neg, operand } => Some(self.size_value(operand)?.neg()),
            ExprKind::Binary { op, left, right } => {
                let (a, b) = (self.size_value(left)?, self.size_value(right)?);
                match op {
                    BinaryOp::Add => Some(a.add(&b)),
                    BinaryOp::Sub => Some(a.sub(&b)),
                    BinaryOp::Mul => Some(a.mul(&b)),
                    BinaryOp::FloorDiv => Some(a.floor_div(&b)),
                    BinaryOp::Rem => Some(a.modulo(&b)),
                    BinaryOp::Div
                    | BinaryOp::Pow
                    | BinaryOp::Min
                    | BinaryOp::Max
                    | BinaryOp::Atan2
                    | BinaryOp::Polygamma
                    | BinaryOp::And
                    | BinaryOp::Or
                    | BinaryOp::Xor
                    | BinaryOp::Shl
                    | BinaryOp::Shr => None,
                }
            }
            ExprKind::Block(b) if b.stmts.is_empty() => self.size_value(b.result.as_deref()?),
            _ => None,
        }
    }

    /// The size of an `i64` value; one that is no size by its form is put into a variable first.
    pub(super) fn size_or_temp(&mut self, e: Expr) -> SizeExpr {
        if let Some(size) = self.size_value(&e) {
            return size;
        }
        SizeExpr::var(SizeVar::Local(self.temp(e)))
    }

    /// A variable, bound before the statement, that holds the value.
    pub(super) fn temp(&mut self, e: Expr) -> LocalId {
        self.temp_named("<number>", e)
    }

    fn temp_named(&mut self, name: &str, e: Expr) -> LocalId {
        let span = e.span;
        let id = self.new_local(name, e.ty.clone(), false, span);
        self.body.temps.push(Stmt { kind: StmtKind::Let { pattern: Pattern::Local(id), value: e }, span });
        id
    }

    /// A value that may be left by `break` and the like, as a variable: what is around it comes after, if at all.
    pub(super) fn settled(&mut self, e: Expr) -> Expr {
        if e.ty.is_unit() || matches!(e.ty, Ty::Never | Ty::Error) || crate::visit::way_out(&e).is_none() {
            return e;
        }
        let (ty, span) = (e.ty.clone(), e.span);
        let local = self.temp_named(SETTLED, e);
        mk(ExprKind::Local(local), ty, span)
    }

    /// The value itself where nothing is around it.
    fn unsettled(&mut self, e: Expr) -> Expr {
        let ExprKind::Local(local) = e.kind else { return e };
        let last = self.body.temps.last().map(|s| &s.kind);
        if *self.body.locals[local.index()].name != *SETTLED
            || !matches!(last, Some(StmtKind::Let { pattern: Pattern::Local(l), .. }) if *l == local)
        {
            return e;
        }
        match self.body.temps.pop().map(|s| s.kind) {
            Some(StmtKind::Let { value, .. }) => value,
            _ => e,
        }
    }

    /// Runs `f` and puts the variables it needed before its result.
    pub(super) fn with_temps(&mut self, f: impl FnOnce(&mut Self) -> Expr) -> Expr {
        let outer = std::mem::take(&mut self.body.temps);
        let e = f(self);
        let e = self.unsettled(e);
        for (a, b) in std::mem::take(&mut self.body.store.checked) {
            let check = SizeCheck { actual: b, expected: a, axis: 0 };
            let nothing = Box::new(mk(ExprKind::Tuple(Vec::new()), Ty::unit(), e.span));
            let checked = mk(ExprKind::As { value: nothing, checks: vec![check] }, Ty::unit(), e.span);
            self.body.temps.push(Stmt { kind: StmtKind::Expr(checked), span: e.span });
        }
        let temps = std::mem::replace(&mut self.body.temps, outer);
        if temps.is_empty() {
            return e;
        }
        let mut e = e;
        let temps = self.in_order(temps, &mut e);
        let (ty, span) = (e.ty.clone(), e.span);
        mk(ExprKind::Block(Block { stmts: temps, result: Some(Box::new(e)), span }), ty, span)
    }

    /// Guards a value whose type has sizes that could be negative: proved, checked at run time, or an error.
    pub(super) fn guard_sizes(&mut self, e: Expr, sizes: &[SizeExpr], span: Span) -> Expr {
        let mut checks = Vec::new();
        for size in sizes {
            let size = self.zonk_size(size);
            let (mut unknown, mut run_time) = (false, false);
            size.visit_vars(&mut |v| match v {
                SizeVar::Infer(_) => unknown = true,
                SizeVar::Local(_) | SizeVar::Const(_) => run_time = true,
                SizeVar::Param(_) | SizeVar::Open(_) | SizeVar::Bound(_) | SizeVar::Quotient(_) => {}
            });
            if unknown || self.facts.nonneg(&size) {
                continue;
            }
            if run_time {
                checks.push(size);
                continue;
            }
            let text = self.show().size(&size);
            let d = if size.as_const().is_some() {
                Diagnostic::error(
                    code::E0404,
                    format!("a size cannot be negative: {text}"),
                    span,
                    "a size here is negative",
                )
            } else {
                Diagnostic::error(
                    code::E0404,
                    format!("the size {text} may be negative"),
                    span,
                    "not shown to be at least 0",
                )
                .help(fact_help(&format!("0 <= {text}")))
            };
            self.errors.push(d);
        }
        if checks.is_empty() {
            return e;
        }
        let (ty, span) = (e.ty.clone(), e.span);
        mk(ExprKind::CheckSizes { sizes: checks, value: Box::new(e) }, ty, span)
    }
}
