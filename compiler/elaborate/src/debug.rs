//! Marks for a debugger: the places of statements, and the values of variables after what assigns them.

use std::sync::Arc;

use tdl_ir::{Op, ValueId};
use tdl_source::Span;
use tdl_types::thir::{LocalId, Pattern, Stmt, StmtKind};

use crate::effects::Effects;
use crate::elab::Elab;
use crate::env::Env;
use crate::val::Val;

impl<'p> Elab<'p> {
    /// A place where the debugger may stop.
    pub fn debug_place(&mut self, span: Span) {
        if self.debug {
            self.mark(span, None, Vec::new());
        }
    }

    /// What a function is given.
    pub fn debug_parameters(&mut self, env: &Env<'p>, span: Span) {
        if !self.debug {
            return;
        }
        self.mark(span, None, Vec::new());
        for i in 0..env.body.locals.len() {
            self.debug_variable(env, LocalId(i as u32), span);
        }
    }

    /// The variables that a statement has assigned.
    pub fn debug_assigned(&mut self, env: &Env<'p>, s: &Stmt, effects: &Effects) {
        if !self.debug {
            return;
        }
        let mut locals: Vec<LocalId> = effects.assigned.iter().copied().collect();
        if let StmtKind::Let { pattern, .. } = &s.kind {
            bound(pattern, &mut locals);
        }
        locals.sort_by_key(|l| l.index());
        locals.dedup();
        for l in locals {
            self.debug_variable(env, l, s.span);
        }
    }

    /// A variable's leaves, if it has a value here: `x`, `model.weight`, `pair.0`.
    pub fn debug_variable(&mut self, env: &Env<'p>, local: LocalId, span: Span) {
        let (true, Some(def), Some(val)) = (self.debug, env.body.locals.get(local.index()), env.local(local)) else {
            return;
        };
        let leaves = match self.ty(env, &def.ty).and_then(|t| self.leaves(&t)) {
            Ok(leaves) => leaves,
            Err(_) => return,
        };
        let values: Vec<ValueId> = match val {
            Val::Never | Val::Fn(_) => return,
            Val::Leaf(_) | Val::Tree(_) | Val::Pack(..) => val.leaves(),
        };
        if leaves.len() != values.len() {
            return;
        }
        for (leaf, value) in leaves.iter().zip(values) {
            let name = leaf
                .path
                .iter()
                .filter(|p| &***p != "*")
                .fold(def.name.to_string(), |name, part| format!("{name}.{part}"));
            if !leaf.text && leaf.slot.is_none() {
                self.mark(span, Some(name.as_str().into()), vec![value]);
            }
        }
    }

    fn mark(&mut self, span: Span, variable: Option<Arc<str>>, args: Vec<ValueId>) {
        let func = self.b.name().into();
        let outer = std::mem::replace(&mut self.b.span, span);
        self.b.inst(Op::Debug { func, variable }, args, Vec::new(), Vec::new());
        self.b.span = outer;
    }
}

fn bound(pattern: &Pattern, out: &mut Vec<LocalId>) {
    match pattern {
        Pattern::Ignore => {}
        Pattern::Local(l) => out.push(*l),
        Pattern::Tuple(items) => items.iter().for_each(|p| bound(p, out)),
    }
}
