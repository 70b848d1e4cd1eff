//! Which variables a piece of code assigns, and how it can be left.

use std::collections::BTreeSet;

use tdl_types::is_endless;
use tdl_types::thir::{Block, Expr, ExprKind, LocalId, Place, Stmt, StmtKind};

use crate::env::Slot;
use crate::walk::{Visit, walk_block, walk_expr, walk_place, walk_stmt};

/// What running a piece of code may change and how it may be left.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    pub assigned: BTreeSet<LocalId>,
    pub returns: bool,
    /// `break` or `continue` of the loop around the code.
    pub breaks: bool,
    pub continues: bool,
    depth: usize,
}

impl Effects {
    pub fn exits(&self) -> bool {
        self.returns || self.breaks || self.continues
    }

    pub fn of_block(b: &Block) -> Effects {
        let mut e = Effects::default();
        walk_block(&mut e, b);
        e
    }

    /// Of the statements from `from` on, and the result.
    pub fn of_rest(b: &Block, from: usize) -> Effects {
        let mut e = Effects::default();
        b.stmts[from..].iter().for_each(|s| e.stmt(s));
        b.result.iter().for_each(|r| e.expr(r));
        e
    }

    pub fn of_stmt(s: &Stmt) -> Effects {
        let mut e = Effects::default();
        e.stmt(s);
        e
    }

    pub fn of_expr(x: &Expr) -> Effects {
        let mut e = Effects::default();
        e.expr(x);
        e
    }

    pub fn merge(&mut self, other: &Effects) {
        self.assigned.extend(&other.assigned);
        self.returns |= other.returns;
        self.breaks |= other.breaks;
        self.continues |= other.continues;
    }

    /// The variables to carry through a region, flags included; `depth` is the number of loops around the code.
    pub fn slots(&self, depth: u32) -> Vec<Slot> {
        let mut out: Vec<Slot> = self.assigned.iter().map(|l| Slot::Local(*l)).collect();
        if self.returns {
            out.extend([Slot::Returned, Slot::Result]);
        }
        if self.breaks {
            out.push(Slot::Broken(depth));
        }
        if self.continues {
            out.push(Slot::Continued(depth));
        }
        out
    }
}

impl Visit for Effects {
    fn expr(&mut self, e: &Expr) {
        match &e.kind {
            ExprKind::Return(_) => self.returns = true,
            ExprKind::Break => self.breaks |= self.depth == 0,
            ExprKind::Continue => self.continues |= self.depth == 0,
            _ => {}
        }
        walk_expr(self, e);
    }

    fn stmt(&mut self, s: &Stmt) {
        match &s.kind {
            StmtKind::For { from, to, body, .. } => {
                self.expr(from);
                self.expr(to);
                self.depth += 1;
                walk_block(self, body);
                self.depth -= 1;
            }
            StmtKind::While { cond, body, .. } => {
                self.depth += 1;
                self.expr(cond);
                walk_block(self, body);
                self.depth -= 1;
            }
            StmtKind::Let { .. }
            | StmtKind::Assign { .. }
            | StmtKind::Update { .. }
            | StmtKind::Assert { .. }
            | StmtKind::Expr(_) => walk_stmt(self, s),
        }
    }

    fn place(&mut self, p: &Place) {
        self.assigned.insert(p.root);
        walk_place(self, p);
    }
}

/// Whether the block always leaves by `return`, `break` or `continue`.
pub fn diverges(b: &Block) -> bool {
    b.stmts.iter().any(stmt_diverges) || b.result.as_ref().is_some_and(|e| expr_diverges(e))
}

pub fn stmt_diverges(s: &Stmt) -> bool {
    match &s.kind {
        StmtKind::Expr(e) | StmtKind::Let { value: e, .. } => expr_diverges(e),
        StmtKind::While { cond, body, .. } => is_endless(cond, body),
        StmtKind::Assign { .. } | StmtKind::Update { .. } | StmtKind::For { .. } | StmtKind::Assert { .. } => false,
    }
}

fn expr_diverges(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Return(_) | ExprKind::Break | ExprKind::Continue => true,
        ExprKind::If { then, els: Some(els), .. } => diverges(then) && diverges(els),
        ExprKind::Block(b) => diverges(b),
        _ => false,
    }
}

/// Whether every `return` in `e` stands where the function ends anyway, so that no flag is needed.
pub fn returns_at_ends(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Return(value) => value.as_ref().is_none_or(|v| !Effects::of_expr(v).returns),
        ExprKind::Block(b) => block_returns_at_ends(b),
        ExprKind::If { cond, then, els } => {
            !Effects::of_expr(cond).returns
                && block_returns_at_ends(then)
                && els.as_ref().is_none_or(block_returns_at_ends)
        }
        _ => !Effects::of_expr(e).returns,
    }
}

fn block_returns_at_ends(b: &Block) -> bool {
    rest_returns_at_ends(b, 0)
}

fn rest_returns_at_ends(b: &Block, from: usize) -> bool {
    for (i, s) in b.stmts.iter().enumerate().skip(from) {
        if !Effects::of_stmt(s).returns {
            continue;
        }
        return match early_exit(s) {
            Some((cond, then)) => {
                !Effects::of_expr(cond).returns && block_returns_at_ends(then) && rest_returns_at_ends(b, i + 1)
            }
            None => match &s.kind {
                StmtKind::Expr(e) if stmt_diverges(s) => returns_at_ends(e),
                StmtKind::Expr(_)
                | StmtKind::Let { .. }
                | StmtKind::Assign { .. }
                | StmtKind::Update { .. }
                | StmtKind::For { .. }
                | StmtKind::While { .. }
                | StmtKind::Assert { .. } => false,
            },
        };
    }
    b.result.as_ref().is_none_or(|e| returns_at_ends(e))
}

/// `if cond { … return }` without `else`: what follows is the other branch.
pub fn early_exit(s: &Stmt) -> Option<(&Expr, &Block)> {
    match &s.kind {
        StmtKind::Expr(Expr { kind: ExprKind::If { cond, then, els: None }, .. })
            if diverges(then) && !Effects::of_expr(cond).exits() =>
        {
            Some((cond, then))
        }
        StmtKind::Expr(_)
        | StmtKind::Let { .. }
        | StmtKind::Assign { .. }
        | StmtKind::Update { .. }
        | StmtKind::For { .. }
        | StmtKind::While { .. }
        | StmtKind::Assert { .. } => None,
    }
}
