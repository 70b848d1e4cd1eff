//! Sizes that reads of one variable share. A variable declared `some n. …` keeps its sizes until it is assigned, so all
//! reads up to then open the same sizes: `s + s` is well typed.
//!
//! What a branch, a loop body or a lambda opens is known only there, and what it assigns changes what is known after it.

use rustc_hash::FxHashMap;

use super::Checker;
use crate::ids::{LocalId, OpenId};
use crate::thir::{Expr, ExprKind, Target};

/// A variable and the fields on the way to a part of it.
type Part = (LocalId, Vec<usize>);

#[derive(Clone, Default)]
pub(super) struct Opened {
    sizes: FxHashMap<Part, Vec<OpenId>>,
    /// Variables that the statement being checked changes, in order.
    changed: Vec<LocalId>,
}

impl Opened {
    pub fn get(&self, e: &Expr) -> Option<Vec<OpenId>> {
        self.sizes.get(&part(e)?).cloned()
    }

    pub fn insert(&mut self, e: &Expr, ids: &[OpenId]) {
        if let Some(part) = part(e) {
            self.sizes.insert(part, ids.to_vec());
        }
    }

    /// From now on reads of the variable open new sizes; so do those after the statement, whose other parts may read it.
    pub fn changes(&mut self, root: LocalId) {
        self.forget(root);
        self.changed.push(root);
    }

    pub fn assigned(&mut self, target: &Target) {
        match target {
            Target::Place(p) => self.forget(p.root),
            Target::Tuple(items) => items.iter().for_each(|t| self.assigned(t)),
            Target::Ignore => {}
        }
    }

    fn forget(&mut self, root: LocalId) {
        self.sizes.retain(|(r, _), _| *r != root);
    }

    pub fn start_statement(&self) -> usize {
        self.changed.len()
    }

    pub fn end_statement(&mut self, start: usize) {
        for root in self.changed.split_off(start.min(self.changed.len())) {
            self.forget(root);
        }
    }

    /// Only what both know.
    fn meet(&mut self, other: &Opened) {
        self.sizes.retain(|part, ids| other.sizes.get(part) == Some(ids));
    }
}

fn part(e: &Expr) -> Option<Part> {
    match &e.kind {
        ExprKind::Local(id) => Some((*id, Vec::new())),
        ExprKind::Field { base, index } | ExprKind::TupleField { base, index } => {
            let (root, mut path) = part(base)?;
            path.push(*index);
            Some((root, path))
        }
        ExprKind::Open { value, .. } => part(value),
        _ => None,
    }
}

impl Checker<'_> {
    /// Runs `f` on what may not be evaluated: a branch.
    pub(super) fn apart<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.body.opened.clone();
        let out = f(self);
        self.body.opened.meet(&before);
        out
    }

    /// Runs `f` on one of two branches that both start from `before`.
    pub(super) fn branch<T>(&mut self, before: &Opened, f: impl FnOnce(&mut Self) -> T) -> T {
        let other = std::mem::replace(&mut self.body.opened, before.clone());
        let out = f(self);
        self.body.opened.meet(before);
        self.body.opened.meet(&other);
        out
    }

    /// Runs `f` on what is evaluated any number of times.
    pub(super) fn repeated<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        self.body.opened.sizes.clear();
        let out = f(self);
        self.body.opened.sizes.clear();
        out
    }
}
