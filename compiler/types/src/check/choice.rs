//! `if` as an expression: both branches have one type. Where they differ in sizes that only the run knows, the result's
//! sizes are existential: each branch packs its own.

use std::rc::Rc;

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A};

use super::Checker;
use super::errors::mk;
use crate::size::{SizeExpr, SizeVar};
use crate::thir::{Block, Expr, ExprKind};
use crate::ty::{Dim, GenericArg, Ty};

const BRANCHES: &str = "both branches of an `if` have one type";

/// What was there before the branches: a size made later does not outlive its branch.
#[derive(Clone, Copy)]
struct Before {
    opens: usize,
    locals: usize,
}

/// The sizes of two types that are one up to sizes.
#[derive(Default)]
struct Join {
    /// Both sizes and what stands for them.
    packed: Vec<(SizeExpr, SizeExpr, SizeVar)>,
}

impl Checker<'_> {
    pub(super) fn if_expr(
        &mut self,
        cond: &ast::Expr,
        then: &ast::Block,
        els: Option<&ast::Expr>,
        expected: Option<&Ty>,
        what: &str,
        span: Span,
    ) -> Expr {
        if let Some(t) = expected
            && matches!(self.zonk(t), Ty::Infer(_))
        {
            let e = self.if_expr(cond, then, els, None, what, span);
            return self.coerce(e, t, what);
        }
        let cond = self.condition(cond);
        let before = Before { opens: self.body.opens.len(), locals: self.body.locals.len() };
        let facts = self.facts.mark();
        let opened = self.body.opened.clone();
        let literals = (self.body.store.elems.len(), self.body.store.defaults.len());
        let then_block = self.apart(|cx| cx.block(then, if els.is_some() { expected } else { None }, what));
        if els.is_none() {
            // nothing more is known of a value that nobody takes
            self.default_unknowns(literals.0, literals.1);
        }
        self.facts.reset(facts.clone());
        let Some(els) = els else {
            let ty = self.block_type(&then_block, &Ty::unit());
            let value = !ty.is_unit() && !matches!(ty, Ty::Never | Ty::Error);
            if let Some(t) = expected.map(|t| self.zonk(t))
                && !t.is_unit()
                && !matches!(t, Ty::Error | Ty::Infer(_))
            {
                let text = format!("an `if` without `else` has no value; {} is needed here", self.show_ty(&t));
                let at = if value { then_block.result.as_ref().map_or(span, |r| r.span) } else { span };
                self.error(
                    Diagnostic::error(code::E0301, text, at, "and if the condition does not hold?")
                        .help("add `else { … }`"),
                );
                return super::errors::error_expr(span);
            }
            if value {
                self.unused(&ty, then_block.result.as_ref().map_or(span, |r| r.span));
            }
            return mk(ExprKind::If { cond: Box::new(cond), then: then_block, els: None }, Ty::unit(), span);
        };
        let then_ty = self.block_type(&then_block, &Ty::unit());
        if let Some(r) = &then_block.result {
            self.body.ends.push((BRANCHES.into(), r.span, self.show_ty(&then_ty)));
        }
        let els_block = self.branch(&opened, |cx| match expected {
            Some(t) => cx.else_block(els, Some(t)),
            None if matches!(then_ty, Ty::Never | Ty::Error) => cx.else_block(els, None),
            None => cx.else_like(els, &then_ty, before),
        });
        if then_block.result.is_some() {
            self.body.ends.pop();
        }
        self.facts.reset(facts);
        let els_ty = self.block_type(&els_block, &Ty::unit());
        let (mut then_block, mut els_block) = (then_block, els_block);
        let ty = match (expected, &then_ty, &els_ty) {
            (_, Ty::Never, Ty::Never) => Ty::Never,
            (Some(t), ..) => self.zonk(t),
            (None, Ty::Never, known) | (None, known, Ty::Never) => self.join(known, known, before).map_or_else(
                || known.clone(),
                |(ty, join)| {
                    pack(&mut then_block, &ty, join.packed.iter().map(|p| p.0.clone()));
                    pack(&mut els_block, &ty, join.packed.iter().map(|p| p.0.clone()));
                    ty
                },
            ),
            (None, ..) => self.join(&then_ty, &els_ty, before).map_or_else(
                || then_ty.clone(),
                |(ty, join)| {
                    pack(&mut then_block, &ty, join.packed.iter().map(|p| p.0.clone()));
                    pack(&mut els_block, &ty, join.packed.iter().map(|p| p.1.clone()));
                    ty
                },
            ),
        };
        if holds_function(&ty) && !super::errors::has_error(&ty) {
            let text = "a function cannot be chosen at run time";
            let d = Diagnostic::error(code::E0308, text, span, format!("this is {}", self.show_ty(&ty)))
                .label(cond.span, "known at run time only")
                .help("choose between the results: `if c { f(x) } else { g(x) }`");
            self.error(d);
            return super::errors::error_expr(span);
        }
        let e = mk(ExprKind::If { cond: Box::new(cond), then: then_block, els: Some(els_block) }, ty, span);
        let e = if expected.is_some() { e } else { self.open(e, "") };
        self.settled(e)
    }

    fn else_block(&mut self, els: &ast::Expr, expected: Option<&Ty>) -> Block {
        if let A::Block(b) = &els.kind {
            return self.block(b, expected, BRANCHES);
        }
        let e = match expected {
            Some(t) => self.check_as(els, t, BRANCHES),
            None => self.expr(els, None),
        };
        let span = e.span;
        Block { stmts: Vec::new(), result: Some(Box::new(e)), span }
    }

    /// The second branch, like the first: of its type if it can be, else of one that differs in unknown sizes.
    fn else_like(&mut self, els: &ast::Expr, first: &Ty, before: Before) -> Block {
        let first = self.zonk(first);
        let loose = self.loosened(&first);
        if loose == first {
            return self.else_block(els, Some(&first));
        }
        let (errors, body) = (self.errors.len(), self.body.clone());
        let block = self.else_block(els, Some(&first));
        if self.errors.len() == errors {
            return block;
        }
        let found = self.errors.split_off(errors);
        let failed = std::mem::replace(&mut self.body, body);
        // a chain finds what its own branches share
        let again = self.else_block(els, if matches!(els.kind, A::If { .. }) { None } else { Some(&loose) });
        let ty = self.block_type(&again, &first);
        if self.errors.len() == errors && self.join(&first, &ty, before).is_some() {
            return again;
        }
        self.errors.truncate(errors);
        self.errors.extend(found);
        self.body = failed;
        block
    }

    /// The type with an unknown for each size.
    fn loosened(&mut self, t: &Ty) -> Ty {
        let store = &mut self.body.store;
        zip(t, t, &mut |_, _| Some(store.new_size())).unwrap_or_else(|| t.clone())
    }

    /// The type that two branches have, with their sizes packed where they differ or end with their branch; `None` if
    /// nothing is packed or they do not fit.
    fn join(&mut self, a: &Ty, b: &Ty, before: Before) -> Option<(Ty, Join)> {
        let (a, b) = (self.zonk(a), self.zonk(b));
        let mut join = Join::default();
        let inner = zip(&a, &b, &mut |x, y| {
            let (x, y) = (self.zonk_size(x), self.zonk_size(y));
            let (mut open, mut ends) = (false, false);
            for size in [&x, &y] {
                size.visit_vars(&mut |v| match v {
                    SizeVar::Open(id) => {
                        open = true;
                        ends |= id.index() >= before.opens;
                    }
                    SizeVar::Local(id) => ends |= id.index() >= before.locals,
                    SizeVar::Param(_)
                    | SizeVar::Const(_)
                    | SizeVar::Bound(_)
                    | SizeVar::Infer(_)
                    | SizeVar::Quotient(_) => {}
                });
            }
            if !ends && self.unify_size(&x, &y).is_ok() {
                return Some(self.zonk_size(&x));
            }
            if !open && !ends {
                return None;
            }
            if let Some((.., v)) = join.packed.iter().find(|(p, q, _)| *p == x && *q == y) {
                return Some(SizeExpr::var(*v));
            }
            self.program.bound_names.push("n".into());
            let v = SizeVar::Bound(self.program.bound_names.len() as u32 - 1);
            join.packed.push((x, y, v));
            Some(SizeExpr::var(v))
        })?;
        if join.packed.is_empty() {
            return None;
        }
        Some((Ty::exists(join.packed.iter().map(|p| p.2).collect(), inner), join))
    }
}

fn pack(block: &mut Block, ty: &Ty, witnesses: impl Iterator<Item = SizeExpr>) {
    let Some(value) = block.result.take_if(|e| !matches!(e.ty, Ty::Never)) else { return };
    let span = value.span;
    let witnesses = witnesses.collect();
    block.result = Some(Box::new(mk(ExprKind::Pack { value, witnesses }, ty.clone(), span)));
}

fn holds_function(t: &Ty) -> bool {
    match t {
        Ty::Fn(_) => true,
        Ty::Tuple(items) => items.iter().any(holds_function),
        Ty::Stack(_, t) | Ty::Exists(_, t) => holds_function(t),
        Ty::Error | Ty::Never | Ty::Tensor(..) | Ty::Struct(..) | Ty::Param(_) | Ty::Str | Ty::Rng | Ty::Infer(_) => {
            false
        }
    }
}

type Pair<'f> = &'f mut dyn FnMut(&SizeExpr, &SizeExpr) -> Option<SizeExpr>;

/// Rebuilds two types that are one up to sizes, from what `f` makes of each pair of these.
fn zip(a: &Ty, b: &Ty, f: Pair<'_>) -> Option<Ty> {
    match (a, b) {
        (Ty::Tensor(e, s), Ty::Tensor(d, t)) if e == d => Some(Ty::Tensor(*e, zip_dims(s, t, f)?)),
        (Ty::Tuple(xs), Ty::Tuple(ys)) if xs.len() == ys.len() => {
            Some(Ty::Tuple(xs.iter().zip(ys).map(|(x, y)| zip(x, y, f)).collect::<Option<_>>()?))
        }
        (Ty::Struct(i, xs), Ty::Struct(j, ys)) if i == j => {
            let args = xs.iter().zip(ys).map(|(x, y)| zip_arg(x, y, f)).collect::<Option<_>>()?;
            Some(Ty::Struct(*i, args))
        }
        (Ty::Stack(s, x), Ty::Stack(t, y)) => {
            let dims = zip_dims(s, t, f)?;
            Some(Ty::Stack(dims, Rc::new(zip(x, y, f)?)))
        }
        (x, y) => (x == y).then(|| x.clone()),
    }
}

fn zip_dims(a: &[Dim], b: &[Dim], f: Pair<'_>) -> Option<Vec<Dim>> {
    if a.len() != b.len() {
        return None;
    }
    let one = |(x, y): (&Dim, &Dim)| match (x, y) {
        (Dim::Size(x), Dim::Size(y)) => Some(Dim::Size(f(x, y)?)),
        (Dim::Spread(x), Dim::Spread(y)) => (x == y).then_some(Dim::Spread(*x)),
        (Dim::Size(_) | Dim::Spread(_), _) => None,
    };
    a.iter().zip(b).map(one).collect()
}

fn zip_arg(a: &GenericArg, b: &GenericArg, f: Pair<'_>) -> Option<GenericArg> {
    match (a, b) {
        (GenericArg::Size(x), GenericArg::Size(y)) => Some(GenericArg::Size(f(x, y)?)),
        (GenericArg::Ty(x), GenericArg::Ty(y)) => Some(GenericArg::Ty(zip(x, y, f)?)),
        (GenericArg::Shape(x), GenericArg::Shape(y)) => Some(GenericArg::Shape(zip_dims(x, y, f)?)),
        (x, y) => (x == y).then(|| x.clone()),
    }
}
