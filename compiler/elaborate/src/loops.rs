//! `for` and `while`. A loop with `break` or `return` in it tests their flags before each iteration.

use tdl_ir::{BinaryOp, CompareOp, Dtype, IoOp, Op, Scalar, UnaryOp, ValueId};
use tdl_types::thir::{Block, Expr, LocalId};

use crate::R;
use crate::effects::Effects;
use crate::elab::Elab;
use crate::env::{Env, Slot};
use crate::rty::RTy;
use crate::val::Val;

impl<'p> Elab<'p> {
    pub fn for_stmt(
        &mut self,
        env: &mut Env<'p>,
        index: LocalId,
        (from, to): (ValueId, ValueId),
        body: &'p Block,
        remat: Option<u64>,
    ) -> R<()> {
        let n = self.b.size_binary(BinaryOp::Sub, to, from);
        let n = match self.b.as_i64(n) {
            Some(c) => self.b.const_i64(c.max(0)),
            None => {
                let zero = self.b.const_i64(0);
                self.b.binary(BinaryOp::Max, n, zero)
            }
        };
        let progress = self.at_top_of_main && self.b.as_i64(n).is_none_or(|n| n > 2);
        let effects = Effects::of_block(body);
        let slots = loop_slots(&effects, env.depth + 1);
        let enter = move |this: &mut Self, env: &mut Env<'p>, i: ValueId| {
            this.checkpoint(remat);
            env.depth += 1;
            if effects.continues {
                let no = this.b.const_bool(false);
                env.vars.insert(Slot::Continued(env.depth), Val::Leaf(no));
            }
            let value = this.b.size_binary(BinaryOp::Add, from, i);
            this.b.name_value(value, &env.body.locals[index.index()].name);
            env.set(index, Val::Leaf(value));
            this.debug_variable(env, index, body.span);
            this.block(env, body, 0, &RTy::Tuple(Vec::new()), false)?;
            if progress {
                this.b.inst(Op::Io(IoOp::Progress), vec![i, n], Vec::new(), Vec::new());
            }
            env.depth -= 1;
            Ok(())
        };
        let effects = Effects::of_block(body);
        if !effects.breaks && !effects.returns {
            return self.count(env, n, slots, enter);
        }
        // with `break` or `return`: a `while` over the number of the iteration, kept in the loop variable's own slot
        let no = self.b.const_bool(false);
        if effects.breaks {
            env.vars.insert(Slot::Broken(env.depth + 1), Val::Leaf(no));
        }
        let start = self.b.const_i64(0);
        let counter = Slot::Local(index);
        env.vars.insert(counter, Val::Leaf(start));
        let mut slots = slots;
        slots.insert(0, counter);
        let depth = env.depth + 1;
        let out = effects.clone();
        self.repeat(
            env,
            slots,
            |this, env| {
                let i = this.flag(env, counter)?;
                let more = this.b.compare(CompareOp::Lt, i, n);
                let stop = this.stopped(env, &effects, depth)?;
                let go = this.not(stop);
                Ok(this.both(more, go))
            },
            |this, env| {
                let i = this.flag(env, counter)?;
                enter(this, env, i)?;
                let one = this.b.const_i64(1);
                let next = this.b.add(i, one);
                env.vars.insert(counter, Val::Leaf(next));
                Ok(())
            },
        )?;
        if out.breaks {
            env.vars.remove(&Slot::Broken(depth));
        }
        Ok(())
    }

    /// Marks the loop whose body has been opened.
    fn checkpoint(&mut self, every: Option<u64>) {
        if let Some(every) = every {
            self.b.inst(Op::Checkpoint { every }, Vec::new(), Vec::new(), Vec::new());
        }
    }

    pub fn while_stmt(&mut self, env: &mut Env<'p>, cond: &'p Expr, body: &'p Block, remat: Option<u64>) -> R<()> {
        let mut effects = Effects::of_block(body);
        let in_cond = Effects::of_expr(cond);
        let depth = env.depth + 1;
        if effects.breaks {
            let no = self.b.const_bool(false);
            env.vars.insert(Slot::Broken(depth), Val::Leaf(no));
        }
        let run = |this: &mut Self, env: &mut Env<'p>, effects: &Effects| {
            this.checkpoint(remat);
            env.depth += 1;
            if effects.continues {
                let no = this.b.const_bool(false);
                env.vars.insert(Slot::Continued(env.depth), Val::Leaf(no));
            }
            this.block(env, body, 0, &RTy::Tuple(Vec::new()), false)?;
            env.depth -= 1;
            Ok(())
        };
        let bool_ty = Self::scalar_ty(Dtype::Bool);
        if in_cond.assigned.is_empty() {
            let slots = loop_slots(&effects, depth);
            self.repeat(
                env,
                slots,
                |this, env| {
                    let stop = this.stopped(env, &effects, depth)?;
                    let no = this.b.const_bool(false);
                    let go = this.choose(
                        env,
                        stop,
                        Vec::new(),
                        &bool_ty,
                        |_, _| Ok(Val::Leaf(no)),
                        |this, env| this.expr(env, cond),
                    )?;
                    go.leaf()
                },
                |this, env| run(this, env, &effects),
            )?;
        } else {
            // the condition changes variables: it runs before the loop and at the end of each iteration
            effects.merge(&in_cond);
            let go = Slot::Continued(depth + 1_000_000);
            let first = self.expr(env, cond)?;
            env.vars.insert(go, first);
            let mut slots = loop_slots(&effects, depth);
            slots.push(go);
            self.repeat(
                env,
                slots,
                |this, env| this.flag(env, go),
                |this, env| {
                    run(this, env, &effects)?;
                    let stop = this.stopped(env, &effects, depth)?;
                    let no = this.b.const_bool(false);
                    let changed = in_cond.assigned.iter().map(|l| Slot::Local(*l)).collect();
                    let next = this.choose(
                        env,
                        stop,
                        changed,
                        &bool_ty,
                        |_, _| Ok(Val::Leaf(no)),
                        |this, env| this.expr(env, cond),
                    )?;
                    env.vars.insert(go, next);
                    Ok(())
                },
            )?;
            env.vars.remove(&go);
        }
        env.vars.remove(&Slot::Broken(depth));
        Ok(())
    }

    fn stopped(&mut self, env: &Env<'p>, effects: &Effects, depth: u32) -> R<ValueId> {
        let mut stop = self.b.const_bool(false);
        if effects.breaks {
            let f = self.flag(env, Slot::Broken(depth))?;
            stop = self.either(stop, f);
        }
        if effects.returns {
            let f = self.flag(env, Slot::Returned)?;
            stop = self.either(stop, f);
        }
        Ok(stop)
    }

    /// Logical negation; folds constants.
    pub fn not(&mut self, c: ValueId) -> ValueId {
        match self.b.as_const(c) {
            Some(Scalar::Bool(x)) => self.b.const_bool(!x),
            Some(Scalar::Int(_) | Scalar::Float(_)) | None => self.b.unary(UnaryOp::Not, c),
        }
    }
}

/// What a loop carries: `continue` is over with each iteration.
fn loop_slots(effects: &Effects, depth: u32) -> Vec<Slot> {
    let mut over = effects.clone();
    over.continues = false;
    over.slots(depth)
}
