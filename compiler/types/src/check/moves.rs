//! Generators move, never copy: after `let b = rng`, `rng` is gone. Runs on the finished body.

use rustc_hash::FxHashMap;
use tdl_source::{Diagnostic, Span, code};

use crate::thir::*;
use crate::visit::children;

/// Where each moved generator went.
type Moved = FxHashMap<LocalId, Move>;

#[derive(Clone, Copy)]
struct Move {
    span: Span,
    /// Into a lambda, which owns what it captures.
    captured: bool,
}

struct Moves<'a> {
    body: &'a Body,
    moved: Moved,
    errors: &'a mut Vec<Diagnostic>,
    reported: Vec<LocalId>,
    /// The indices of the comprehensions around, outermost first.
    around: Vec<Vec<LocalId>>,
}

pub(super) fn check(body: &Body, errors: &mut Vec<Diagnostic>) {
    if !body.locals.iter().any(|l| is_rng(&l.ty)) {
        return;
    }
    let mut cx = Moves { body, moved: Moved::default(), errors, reported: Vec::new(), around: Vec::new() };
    cx.expr(&body.value);
    for lambda in &body.lambdas {
        cx.moved = Moved::default();
        cx.expr(&lambda.body);
    }
}

fn is_rng(t: &Ty) -> bool {
    match t {
        Ty::Rng => true,
        Ty::Stack(_, e) => is_rng(e),
        Ty::Tuple(items) => items.iter().any(is_rng),
        Ty::Error
        | Ty::Never
        | Ty::Tensor(..)
        | Ty::Struct(..)
        | Ty::Param(_)
        | Ty::Fn(_)
        | Ty::Str
        | Ty::Exists(..)
        | Ty::Infer(_) => false,
    }
}

impl Moves<'_> {
    /// A use of a variable; a generator as a value is a move.
    fn used(&mut self, id: LocalId, span: Span, moves: bool) {
        let local = &self.body.locals[id.index()];
        if !is_rng(&local.ty) {
            return;
        }
        if self.levels_outside(id) > 0 {
            self.shared(id, span);
            return;
        }
        self.used_here(id, span, moves.then_some(Move { span, captured: false }));
    }

    /// How many comprehensions stand between a variable and its use: those whose indices are younger.
    fn levels_outside(&self, id: LocalId) -> usize {
        self.around.iter().filter(|indices| indices.first().is_some_and(|i| id < *i)).count()
    }

    /// A generator that every element would draw from.
    fn shared(&mut self, id: LocalId, span: Span) {
        if self.reported.contains(&id) {
            return;
        }
        self.reported.push(id);
        let local = &self.body.locals[id.index()];
        let name = &local.name;
        let text = format!("every element of the comprehension would use `{name}`");
        let d = Diagnostic::error(code::E0311, text, span, "used for each index").label(local.span, "outside of it");
        self.errors.push(if matches!(local.ty, Ty::Rng) {
            d.help(format!("give each element its own: `k.normal(f32) for k in {name}.split(n)`"))
        } else {
            d.help(format!("write `{name}[i]` with the index of the comprehension, once"))
        });
    }

    /// A lambda owns the generators that it captures.
    fn captured(&mut self, id: LocalId, span: Span) {
        let local = &self.body.locals[id.index()];
        if !is_rng(&local.ty) {
            return;
        }
        if self.levels_outside(id) > 0 {
            return self.shared(id, span);
        }
        self.used_here(id, span, Some(Move { span, captured: true }));
    }

    fn used_here(&mut self, id: LocalId, span: Span, moves: Option<Move>) {
        let local = &self.body.locals[id.index()];
        if let Some(at) = self.moved.get(&id) {
            if !self.reported.contains(&id) {
                self.reported.push(id);
                let text = format!("`{}` has moved", local.name);
                let mut d = Diagnostic::error(code::E0311, text, span, "used after it moved");
                d = if at.span == span {
                    d.note("the next round of the loop uses it again")
                } else if at.captured {
                    d.label(at.span, "moved into this function, which captures it")
                } else {
                    d.label(at.span, "moved here")
                };
                self.errors.push(d.help(format!("take an independent child instead: `{}.split()`", local.name)));
            }
            return;
        }
        if let Some(to) = moves {
            self.moved.insert(id, to);
        }
    }

    fn copied(&mut self, span: Span) {
        let text = "a generator cannot be taken out of a stack by its index: it would be there twice";
        self.errors.push(
            Diagnostic::error(code::E0311, text, span, "a copy")
                .help("go over the stack: `for mut k in rng.split(n) { … }`"),
        );
    }

    fn block(&mut self, b: &Block) {
        for s in &b.stmts {
            self.stmt(s);
        }
        if let Some(e) = &b.result {
            self.expr(e);
        }
    }

    fn stmt(&mut self, s: &Stmt) {
        match &s.kind {
            StmtKind::Let { pattern, value } => {
                self.expr(value);
                self.bound(pattern);
            }
            StmtKind::Assign { target, value } => {
                self.expr(value);
                self.target(target);
            }
            StmtKind::Update { place, value, .. } => {
                self.place(place, false);
                self.expr(value);
            }
            StmtKind::For { from, to, body, .. } => {
                self.expr(from);
                self.expr(to);
                self.twice(|cx| cx.block(body));
            }
            StmtKind::While { cond, body, .. } => self.twice(|cx| {
                cx.expr(cond);
                cx.block(body);
            }),
            StmtKind::Assert { cond, message } => {
                self.expr(cond);
                for p in message {
                    if let TextPiece::Value { value, .. } = p {
                        self.expr(value);
                    }
                }
            }
            StmtKind::Expr(e) => self.expr(e),
        }
    }

    /// A new variable, also in the next round of a loop.
    fn bound(&mut self, p: &Pattern) {
        match p {
            Pattern::Local(id) => {
                self.moved.remove(id);
            }
            Pattern::Tuple(items) => items.iter().for_each(|p| self.bound(p)),
            Pattern::Ignore => {}
        }
    }

    fn twice(&mut self, f: impl Fn(&mut Self)) {
        f(self);
        f(self);
    }

    fn target(&mut self, t: &Target) {
        match t {
            Target::Place(p) => {
                if p.path.is_empty() {
                    self.moved.remove(&p.root);
                } else {
                    self.place(p, false);
                }
            }
            Target::Tuple(items) => items.iter().for_each(|t| self.target(t)),
            Target::Ignore => {}
        }
    }

    fn place(&mut self, p: &Place, moves: bool) {
        match p.path.as_slice() {
            [Projection::Index(subs)] if self.is_own_key(p.root, subs) => {
                self.used_here(p.root, p.span, Some(Move { span: p.span, captured: false }));
            }
            _ => self.used(p.root, p.span, moves),
        }
        for step in &p.path {
            if let Projection::Index(subs) = step {
                subs.iter().for_each(|s| self.subscript(s));
            }
        }
    }

    fn subscript(&mut self, s: &Subscript) {
        match s {
            Subscript::Index { index, .. } => self.expr(index),
            Subscript::Gather { ids, .. } => self.expr(ids),
            Subscript::Mask { mask } => self.expr(mask),
            Subscript::Slice { .. } | Subscript::Full | Subscript::New | Subscript::Rest | Subscript::Apart => {}
        }
    }

    /// `keys[i]` of a stack of generators with the index of the one comprehension between.
    fn is_own_key(&self, id: LocalId, subscripts: &[Subscript]) -> bool {
        let ([Subscript::Index { index, .. }], Some(indices)) = (subscripts, self.around.last()) else { return false };
        matches!(self.body.locals[id.index()].ty, Ty::Stack(..))
            && is_rng(&self.body.locals[id.index()].ty)
            && self.levels_outside(id) == 1
            && indices.len() == 1
            && matches!(index.kind, ExprKind::Local(i) if i == indices[0])
    }

    fn arg(&mut self, a: &Arg) {
        match a {
            Arg::Value(e) => self.expr(e),
            Arg::Place(p) => self.place(p, false),
            Arg::Default => {}
        }
    }

    fn expr(&mut self, e: &Expr) {
        match &e.kind {
            ExprKind::Local(id) => self.used(*id, e.span, true),
            ExprKind::Lambda(id) => {
                let captures = &self.body.lambdas[id.index()].captures;
                captures.iter().for_each(|l| self.captured(*l, e.span));
            }
            // a part of a generator stack or of a tuple: the parts move one by one, which indices cannot tell
            ExprKind::Index { base, subscripts } => {
                match &base.kind {
                    // a comprehension consumes a stack of generators, one for each index
                    ExprKind::Local(id) if self.is_own_key(*id, subscripts) => {
                        self.used_here(*id, base.span, Some(Move { span: base.span, captured: false }));
                    }
                    ExprKind::Local(id) => {
                        self.used(*id, base.span, false);
                        // a name that the user cannot write stands for the sequence of a `for`
                        if is_rng(&e.ty) && !self.body.locals[id.index()].name.starts_with('<') {
                            self.copied(e.span);
                        }
                    }
                    _ => self.expr(base),
                }
                subscripts.iter().for_each(|s| self.subscript(s));
            }
            ExprKind::TupleField { base, .. } | ExprKind::Field { base, .. } => match &base.kind {
                ExprKind::Local(id) => self.used(*id, base.span, false),
                _ => self.expr(base),
            },
            ExprKind::If { cond, then, els } => {
                self.expr(cond);
                let before = self.moved.clone();
                self.block(then);
                let after = std::mem::replace(&mut self.moved, before);
                if let Some(b) = els {
                    self.block(b);
                }
                self.moved.extend(after);
            }
            ExprKind::Block(b) => self.block(b),
            ExprKind::Comprehension { binders, value } => {
                self.around.push(binders.iter().map(|b| b.index).collect());
                self.expr(value);
                self.around.pop();
            }
            ExprKind::Random { rng, args, .. } => {
                self.arg(rng);
                args.iter().for_each(|e| self.expr(e));
            }
            ExprKind::Call { args, .. } => args.iter().for_each(|a| self.arg(a)),
            ExprKind::CallValue { callee, args, .. } => {
                self.expr(callee);
                args.iter().for_each(|a| self.arg(a));
            }
            _ => children(e, &mut |c| self.expr(c)),
        }
    }
}
