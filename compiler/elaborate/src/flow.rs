//! Control flow: blocks, `if`, loops, and the flags that `return`, `break` and `continue` become.
//!
//! A region carries the variables that its code assigns. A `return` that stands where the function ends is the value
//! there; any other sets a flag, and what follows it runs under `if not flag`.

use std::rc::Rc;

use tdl_ir::{Dtype, Op, ValueId};
use tdl_types::thir::{Block, Expr, ExprKind, LocalId, Pattern, Stmt, StmtKind};

use crate::effects::{Effects, diverges, early_exit, returns_at_ends, stmt_diverges};
use crate::elab::Elab;
use crate::env::{Env, Slot};
use crate::rty::{Leaf, RTy};
use crate::val::Val;
use crate::{R, internal};

impl<'p> Elab<'p> {
    /// The value of a function's or lambda's body.
    pub fn body(&mut self, env: &mut Env<'p>, value: &'p Expr, ty: &RTy<'p>) -> R<Val<'p>> {
        env.depth = 0;
        self.debug_parameters(env, value.span);
        env.flags = !returns_at_ends(value);
        if !env.flags {
            return match self.tail(env, value, ty)? {
                // an endless loop is behind it
                Val::Never if !matches!(ty, RTy::Never) => self.placeholder(ty),
                value => Ok(value),
            };
        }
        env.result = Some(Rc::new(ty.clone()));
        let (no, nothing) = (self.b.const_bool(false), self.placeholder(ty)?);
        env.vars.insert(Slot::Returned, Val::Leaf(no));
        env.vars.insert(Slot::Result, nothing);
        let value = self.expr(env, value)?;
        let returned = self.flag(env, Slot::Returned)?;
        let early = env.vars.get(&Slot::Result).cloned().unwrap_or(Val::Never);
        if matches!(value, Val::Never) {
            return Ok(early);
        }
        self.choose(env, returned, Vec::new(), ty, |_, _| Ok(early), |_, _| Ok(value))
    }

    /// An expression where the function ends: a `return` in it is its value.
    fn tail(&mut self, env: &mut Env<'p>, e: &'p Expr, ty: &RTy<'p>) -> R<Val<'p>> {
        if !Effects::of_expr(e).returns {
            return self.expr(env, e);
        }
        match &e.kind {
            ExprKind::Return(None) => Ok(Val::unit()),
            ExprKind::Return(Some(value)) => self.expr(env, value),
            ExprKind::Block(b) => self.block(env, b, 0, ty, true),
            ExprKind::If { cond, then, els } => {
                let mut effects = Effects::of_block(then);
                effects.merge(&els.as_ref().map_or_else(Effects::default, Effects::of_block));
                let cond = self.expr(env, cond)?.leaf()?;
                let slots = effects.slots(env.depth);
                self.choose(
                    env,
                    cond,
                    slots,
                    ty,
                    |this, env| this.block(env, then, 0, ty, true),
                    |this, env| match els {
                        Some(b) => this.block(env, b, 0, ty, true),
                        None => Ok(Val::unit()),
                    },
                )
            }
            _ => Err(internal("a `return` inside an expression")),
        }
    }

    /// Statements from `from` on, and the result, which has type `ty`.
    pub fn block(&mut self, env: &mut Env<'p>, b: &'p Block, from: usize, ty: &RTy<'p>, tail: bool) -> R<Val<'p>> {
        for (i, s) in b.stmts.iter().enumerate().skip(from) {
            self.debug_place(s.span);
            let effects = Effects::of_stmt(s);
            if !effects.exits() {
                self.stmt(env, s, &effects)?;
                self.debug_assigned(env, s, &effects);
                continue;
            }
            if let Some((cond, then)) = early_exit(s) {
                let mut both = Effects::of_block(then);
                both.merge(&Effects::of_rest(b, i + 1));
                let cond = self.expr(env, cond)?.leaf()?;
                let slots = both.slots(env.depth);
                return self.choose(
                    env,
                    cond,
                    slots,
                    ty,
                    |this, env| this.block(env, then, 0, ty, tail),
                    |this, env| this.block(env, b, i + 1, ty, tail),
                );
            }
            if tail && let StmtKind::Expr(e) = &s.kind {
                return self.tail(env, e, ty);
            }
            self.stmt(env, s, &effects)?;
            if stmt_diverges(s) {
                return Ok(Val::Never);
            }
            if i + 1 == b.stmts.len() && b.result.is_none() {
                return Ok(Val::unit());
            }
            let gone = self.gone(env, &effects)?;
            let slots = Effects::of_rest(b, i + 1).slots(env.depth);
            return self.choose(
                env,
                gone,
                slots,
                ty,
                |_, _| Ok(Val::Never),
                |this, env| this.block(env, b, i + 1, ty, tail),
            );
        }
        if let Some(e) = &b.result {
            self.debug_place(e.span);
        }
        match &b.result {
            Some(e) if tail => self.tail(env, e, ty),
            Some(e) => self.expr(env, e),
            None if diverges(b) => Ok(Val::Never),
            None => Ok(Val::unit()),
        }
    }

    /// Whether one of the ways out has been taken.
    fn gone(&mut self, env: &Env<'p>, effects: &Effects) -> R<ValueId> {
        let mut flags = Vec::new();
        if effects.returns {
            flags.push(self.flag(env, Slot::Returned)?);
        }
        if effects.breaks {
            flags.push(self.flag(env, Slot::Broken(env.depth))?);
        }
        if effects.continues {
            flags.push(self.flag(env, Slot::Continued(env.depth))?);
        }
        let mut all = self.b.const_bool(false);
        for f in flags {
            all = self.either(all, f);
        }
        Ok(all)
    }

    /// Does `f` with what was made of `values`, but not if one of them has been left. `whole`: the effects of both.
    pub fn unless_gone(
        &mut self,
        env: &mut Env<'p>,
        values: &[&'p Expr],
        whole: &Effects,
        ty: &RTy<'p>,
        f: impl FnOnce(&mut Self, &mut Env<'p>) -> R<Val<'p>>,
    ) -> R<Val<'p>> {
        let mut effects = Effects::default();
        if whole.exits() {
            values.iter().for_each(|e| effects.merge(&Effects::of_expr(e)));
        }
        if !effects.exits() {
            return f(self, env);
        }
        let gone = self.gone(env, &effects)?;
        let slots = whole.slots(env.depth);
        self.choose(env, gone, slots, ty, |_, _| Ok(Val::Never), f)
    }

    /// The same for a statement, which has no value.
    fn proceed(
        &mut self,
        env: &mut Env<'p>,
        values: &[&'p Expr],
        whole: &Effects,
        f: impl FnOnce(&mut Self, &mut Env<'p>) -> R<()>,
    ) -> R<()> {
        let unit = RTy::Tuple(Vec::new());
        self.unless_gone(env, values, whole, &unit, |this, env| f(this, env).map(|()| Val::unit())).map(|_| ())
    }

    pub fn flag(&mut self, env: &Env<'p>, slot: Slot) -> R<ValueId> {
        match env.vars.get(&slot) {
            Some(v) => v.leaf(),
            None => Err(internal(format!("no flag {slot:?}"))),
        }
    }

    pub fn raise(&mut self, env: &mut Env<'p>, slot: Slot) -> Val<'p> {
        let yes = self.b.const_bool(true);
        env.vars.insert(slot, Val::Leaf(yes));
        Val::Never
    }

    /// `return value`, not at the end.
    pub fn early_return(&mut self, env: &mut Env<'p>, value: Option<&'p Expr>) -> R<Val<'p>> {
        if !env.flags {
            return Err(internal("a `return` without flags"));
        }
        let Some(e) = value else {
            env.vars.insert(Slot::Result, Val::unit());
            return Ok(self.raise(env, Slot::Returned));
        };
        let value = self.expr(env, e)?;
        let mut whole = Effects::of_expr(e);
        whole.returns = true;
        self.unless_gone(env, &[e], &whole, &RTy::Never, |this, env| {
            env.vars.insert(Slot::Result, value);
            Ok(this.raise(env, Slot::Returned))
        })
    }

    // --- regions

    /// Of the variables that a region's code may assign, those that exist outside, with their types.
    fn carried(&mut self, env: &Env<'p>, slots: Vec<Slot>) -> R<Vec<(Slot, RTy<'p>)>> {
        let mut out = Vec::new();
        for slot in slots {
            if !env.vars.contains_key(&slot) || out.iter().any(|(s, _)| *s == slot) {
                continue;
            }
            let ty = match slot {
                Slot::Local(l) => self.ty(env, &env.body.locals[l.index()].ty)?,
                Slot::Result => match &env.result {
                    Some(t) => (**t).clone(),
                    None => return Err(internal("no result type")),
                },
                Slot::Returned | Slot::Broken(_) | Slot::Continued(_) => Self::scalar_ty(Dtype::Bool),
            };
            out.push((slot, ty));
        }
        Ok(out)
    }

    fn carried_values(&self, env: &Env<'p>, carried: &[(Slot, RTy<'p>)]) -> Vec<ValueId> {
        carried.iter().filter_map(|(s, _)| env.vars.get(s)).flat_map(Val::leaves).collect()
    }

    fn rebind(
        &mut self,
        env: &mut Env<'p>,
        carried: &[(Slot, RTy<'p>)],
        values: &mut impl Iterator<Item = ValueId>,
    ) -> R<()> {
        for (slot, ty) in carried {
            let val = self.unflatten(ty, values)?;
            self.name_slot(env, *slot, &val);
            env.vars.insert(*slot, val);
        }
        Ok(())
    }

    fn name_slot(&mut self, env: &Env<'p>, slot: Slot, val: &Val<'p>) {
        match slot {
            Slot::Local(l) => self.name_local(env, l, val),
            Slot::Returned | Slot::Result | Slot::Broken(_) | Slot::Continued(_) => {}
        }
    }

    pub fn name_local(&mut self, env: &Env<'p>, l: LocalId, val: &Val<'p>) {
        if let (Val::Leaf(v), Some(def)) = (val, env.body.locals.get(l.index())) {
            self.b.name_value(*v, &def.name);
        }
    }

    fn all_leaves(&mut self, carried: &[(Slot, RTy<'p>)]) -> R<Vec<Leaf>> {
        let mut all = Vec::new();
        for (_, ty) in carried {
            all.extend(self.leaves(ty)?);
        }
        Ok(all)
    }

    /// `if`: both ways yield the variables of `slots` and a value of type `ty`.
    pub fn choose(
        &mut self,
        env: &mut Env<'p>,
        cond: ValueId,
        slots: Vec<Slot>,
        ty: &RTy<'p>,
        then: impl FnOnce(&mut Self, &mut Env<'p>) -> R<Val<'p>>,
        els: impl FnOnce(&mut Self, &mut Env<'p>) -> R<Val<'p>>,
    ) -> R<Val<'p>> {
        match self.constant_bool(cond) {
            Some(true) => return then(self, env),
            Some(false) => return els(self, env),
            None => {}
        }
        let top = std::mem::replace(&mut self.at_top_of_main, false);
        let carried = self.carried(env, slots)?;
        let mut leaves = self.all_leaves(&carried)?;
        leaves.extend(self.leaves(ty)?);
        let mut regions = Vec::with_capacity(2);
        let mut never = 0;
        let branches: [Box<dyn FnOnce(&mut Self, &mut Env<'p>) -> R<Val<'p>> + '_>; 2] =
            [Box::new(then), Box::new(els)];
        for branch in branches {
            self.open_region();
            let mut inner = env.clone();
            let value = branch(self, &mut inner)?;
            let value = match value {
                Val::Never => {
                    never += 1;
                    self.placeholder(ty)?
                }
                other @ (Val::Leaf(_) | Val::Tree(_) | Val::Pack(..) | Val::Fn(_)) => other,
            };
            let mut yields = self.carried_values(&inner, &carried);
            yields.extend(value.leaves());
            if yields.len() != leaves.len() {
                return Err(internal(format!("a branch yields {} values, not {}", yields.len(), leaves.len())));
            }
            regions.push(self.close_region(yields));
        }
        self.at_top_of_main = top;
        let first = self.b.next_value(0);
        let types = self.types(&leaves, |k| ValueId(first.0 + k as u32))?;
        let mut results = self.b.inst(Op::If, vec![cond], types, regions).into_iter();
        self.rebind(env, &carried, &mut results)?;
        if never == 2 {
            return Ok(Val::Never);
        }
        self.unflatten(ty, &mut results)
    }

    /// `while`: `cond` and `body` see the variables of `slots` as they are in each iteration.
    pub fn repeat(
        &mut self,
        env: &mut Env<'p>,
        slots: Vec<Slot>,
        cond: impl FnOnce(&mut Self, &mut Env<'p>) -> R<ValueId>,
        body: impl FnOnce(&mut Self, &mut Env<'p>) -> R<()>,
    ) -> R<()> {
        let top = std::mem::replace(&mut self.at_top_of_main, false);
        let carried = self.carried(env, slots)?;
        let leaves = self.all_leaves(&carried)?;
        let inits = self.carried_values(env, &carried);
        let parts: [Box<dyn FnOnce(&mut Self, &mut Env<'p>) -> R<Vec<ValueId>> + '_>; 2] = [
            Box::new(|this, env| Ok(vec![cond(this, env)?])),
            Box::new(|this, env| {
                body(this, env)?;
                Ok(this.carried_values(env, &carried))
            }),
        ];
        let mut regions = Vec::with_capacity(2);
        for part in parts {
            self.open_region();
            let mut inner = env.clone();
            self.carried_params(&mut inner, &carried)?;
            let yields = part(self, &mut inner)?;
            regions.push(self.close_region(yields));
        }
        self.at_top_of_main = top;
        let first = self.b.next_value(0);
        let types = self.types(&leaves, |k| ValueId(first.0 + k as u32))?;
        let mut results = self.b.inst(Op::While, inits, types, regions).into_iter();
        self.rebind(env, &carried, &mut results)
    }

    fn carried_params(&mut self, env: &mut Env<'p>, carried: &[(Slot, RTy<'p>)]) -> R<()> {
        for (slot, ty) in carried {
            let val = self.params(ty)?;
            self.name_slot(env, *slot, &val);
            env.vars.insert(*slot, val);
        }
        Ok(())
    }

    /// `for` with `n` iterations: `body` sees the iteration's number.
    pub fn count(
        &mut self,
        env: &mut Env<'p>,
        n: ValueId,
        slots: Vec<Slot>,
        body: impl FnOnce(&mut Self, &mut Env<'p>, ValueId) -> R<()>,
    ) -> R<()> {
        let top = std::mem::replace(&mut self.at_top_of_main, false);
        let carried = self.carried(env, slots)?;
        let leaves = self.all_leaves(&carried)?;
        let mut args = vec![n];
        args.extend(self.carried_values(env, &carried));
        self.open_region();
        let mut inner = env.clone();
        let i = self.b.param(tdl_ir::Type::scalar(Dtype::I64));
        self.carried_params(&mut inner, &carried)?;
        body(self, &mut inner, i)?;
        let yields = self.carried_values(&inner, &carried);
        let region = self.close_region(yields);
        self.at_top_of_main = top;
        let first = self.b.next_value(0);
        let types = self.types(&leaves, |k| ValueId(first.0 + k as u32))?;
        let mut results = self.b.inst(Op::For, args, types, vec![region]).into_iter();
        self.rebind(env, &carried, &mut results)
    }

    // --- statements

    fn stmt(&mut self, env: &mut Env<'p>, s: &'p Stmt, effects: &Effects) -> R<()> {
        let outer = std::mem::replace(&mut self.b.span, s.span);
        let done = self.stmt_kind(env, s, effects);
        self.b.span = outer;
        done
    }

    fn stmt_kind(&mut self, env: &mut Env<'p>, s: &'p Stmt, effects: &Effects) -> R<()> {
        match &s.kind {
            StmtKind::Let { pattern, value } => {
                let value = self.expr(env, value)?;
                self.bind(env, pattern, value)
            }
            StmtKind::Assign { target, value } => {
                let new = self.expr(env, value)?;
                self.proceed(env, &[value], effects, |this, env| this.assign(env, target, new))
            }
            StmtKind::Update { place, op, value } => {
                let rhs = self.argument(env, value)?;
                self.proceed(env, &[value], effects, |this, env| {
                    this.update(env, place, *op, rhs, value.ty.as_scalar().is_some())
                })
            }
            StmtKind::For { index, from, to, body, remat } => {
                let (first, end) = (self.expr(env, from)?, self.expr(env, to)?);
                self.proceed(env, &[from, to], effects, |this, env| {
                    this.for_stmt(env, *index, (first.leaf()?, end.leaf()?), body, *remat)
                })
            }
            StmtKind::While { cond, body, remat } => self.while_stmt(env, cond, body, *remat),
            StmtKind::Assert { cond, message } => {
                let ok = self.expr(env, cond)?;
                self.proceed(env, &[cond], effects, |this, env| this.assert_stmt(env, ok.leaf()?, message))
            }
            StmtKind::Expr(e) => self.expr(env, e).map(|_| ()),
        }
    }

    pub fn bind(&mut self, env: &mut Env<'p>, pattern: &'p Pattern, value: Val<'p>) -> R<()> {
        match (pattern, value) {
            (_, Val::Never) => Ok(()),
            (Pattern::Ignore, _) => Ok(()),
            (Pattern::Local(l), value) => {
                self.name_local(env, *l, &value);
                env.set(*l, value);
                Ok(())
            }
            (Pattern::Tuple(items), Val::Tree(values)) if items.len() == values.len() => {
                items.iter().zip(values).try_for_each(|(p, v)| self.bind(env, p, v))
            }
            (Pattern::Tuple(_), Val::Leaf(_) | Val::Tree(_) | Val::Pack(..) | Val::Fn(_)) => {
                Err(internal("a tuple pattern meets something else"))
            }
        }
    }
}
