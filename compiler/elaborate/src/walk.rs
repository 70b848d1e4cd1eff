//! Goes through typed trees.

use tdl_types::thir::{
    Arg, Block, Callee, Expr, ExprKind, GenericArg, Place, Projection, SizeExpr, Stmt, StmtKind, Subscript, Target,
    TextPiece, Ty,
};

/// Visits a tree; the defaults go everywhere except into lambdas.
pub trait Visit {
    fn expr(&mut self, e: &Expr) {
        walk_expr(self, e);
    }
    fn stmt(&mut self, s: &Stmt) {
        walk_stmt(self, s);
    }
    fn size(&mut self, _: &SizeExpr) {}
    fn ty(&mut self, _: &Ty) {}
    fn generic(&mut self, _: &GenericArg) {}
    /// Assigned, updated, or passed for a `mut` parameter.
    fn place(&mut self, p: &Place) {
        walk_place(self, p);
    }
}

pub fn walk_block<V: Visit + ?Sized>(v: &mut V, b: &Block) {
    b.stmts.iter().for_each(|s| v.stmt(s));
    b.result.iter().for_each(|e| v.expr(e));
}

pub fn walk_place<V: Visit + ?Sized>(v: &mut V, p: &Place) {
    v.ty(&p.ty);
    for step in &p.path {
        match step {
            Projection::Index(items) => walk_subscripts(v, items),
            Projection::Field(_) | Projection::TupleField(_) => {}
        }
    }
}

fn walk_subscripts<V: Visit + ?Sized>(v: &mut V, items: &[Subscript]) {
    for item in items {
        match item {
            Subscript::Index { index, .. } => v.expr(index),
            Subscript::Slice { from, to, len, .. } => [from, to, len].into_iter().for_each(|s| v.size(s)),
            Subscript::Gather { ids, .. } => v.expr(ids),
            Subscript::Mask { mask } => v.expr(mask),
            Subscript::Full | Subscript::New | Subscript::Rest | Subscript::Apart => {}
        }
    }
}

fn walk_arg<V: Visit + ?Sized>(v: &mut V, a: &Arg) {
    match a {
        Arg::Value(e) => v.expr(e),
        Arg::Place(p) => v.place(p),
        Arg::Default => {}
    }
}

fn walk_target<V: Visit + ?Sized>(v: &mut V, t: &Target) {
    match t {
        Target::Place(p) => v.place(p),
        Target::Tuple(items) => items.iter().for_each(|t| walk_target(v, t)),
        Target::Ignore => {}
    }
}

fn walk_text<V: Visit + ?Sized>(v: &mut V, pieces: &[TextPiece]) {
    for p in pieces {
        match p {
            TextPiece::Text(_) => {}
            TextPiece::Value { value, .. } => v.expr(value),
        }
    }
}

pub fn walk_stmt<V: Visit + ?Sized>(v: &mut V, s: &Stmt) {
    match &s.kind {
        StmtKind::Let { value, .. } | StmtKind::Expr(value) => v.expr(value),
        StmtKind::Assign { target, value } => {
            v.expr(value);
            walk_target(v, target);
        }
        StmtKind::Update { place, value, .. } => {
            v.expr(value);
            v.place(place);
        }
        StmtKind::For { from, to, body, .. } => {
            v.expr(from);
            v.expr(to);
            walk_block(v, body);
        }
        StmtKind::While { cond, body, .. } => {
            v.expr(cond);
            walk_block(v, body);
        }
        StmtKind::Assert { cond, message } => {
            v.expr(cond);
            walk_text(v, message);
        }
    }
}

pub fn walk_expr<V: Visit + ?Sized>(v: &mut V, e: &Expr) {
    v.ty(&e.ty);
    match &e.kind {
        ExprKind::Int(_)
        | ExprKind::Float(_)
        | ExprKind::Bool(_)
        | ExprKind::Local(_)
        | ExprKind::Const(_)
        | ExprKind::BuiltinFn(_)
        | ExprKind::FnParam(_)
        | ExprKind::Lambda(_)
        | ExprKind::Break
        | ExprKind::Continue
        | ExprKind::Error => {}
        ExprKind::Text(pieces) => walk_text(v, pieces),
        ExprKind::Size(s) => v.size(s),
        ExprKind::Fn { generics, .. } => generics.iter().for_each(|g| v.generic(g)),
        ExprKind::Bound { generics, receiver, method } => {
            v.ty(&method.receiver);
            generics.iter().for_each(|g| v.generic(g));
            v.expr(receiver);
        }
        ExprKind::Tuple(items) | ExprKind::Array(items) | ExprKind::StructStack { fields: items } => {
            items.iter().for_each(|e| v.expr(e));
        }
        ExprKind::Struct { generics, fields, .. } => {
            generics.iter().for_each(|g| v.generic(g));
            fields.iter().for_each(|e| v.expr(e));
        }
        ExprKind::Field { base, .. } | ExprKind::TupleField { base, .. } => v.expr(base),
        ExprKind::Unary { operand, .. } | ExprKind::TreeUnary { operand, .. } => v.expr(operand),
        ExprKind::Binary { left, right, .. }
        | ExprKind::Compare { left, right, .. }
        | ExprKind::Logic { left, right, .. }
        | ExprKind::MatMul { left, right }
        | ExprKind::TreeBinary { left, right, .. } => {
            v.expr(left);
            v.expr(right);
        }
        ExprKind::Index { base, subscripts } => {
            v.expr(base);
            walk_subscripts(v, subscripts);
        }
        ExprKind::Comprehension { binders, value } => {
            for b in binders {
                v.size(&b.from);
                v.size(&b.extent);
            }
            v.expr(value);
        }
        ExprKind::Call { generics, args, callee } => {
            match callee {
                Callee::Fn(_) => {}
                Callee::Method(m) => v.ty(&m.receiver),
            }
            generics.iter().for_each(|g| v.generic(g));
            args.iter().for_each(|a| walk_arg(v, a));
        }
        ExprKind::CallValue { callee, args } => {
            v.expr(callee);
            args.iter().for_each(|a| walk_arg(v, a));
        }
        ExprKind::Builtin { args, .. } => args.iter().for_each(|e| v.expr(e)),
        ExprKind::Random { rng, args, .. } => {
            walk_arg(v, rng);
            args.iter().for_each(|e| v.expr(e));
        }
        ExprKind::Convert(inner) => v.expr(inner),
        ExprKind::As { value, checks } => {
            v.expr(value);
            for c in checks {
                v.size(&c.actual);
                v.size(&c.expected);
            }
        }
        ExprKind::CheckSizes { sizes, value } => {
            sizes.iter().for_each(|s| v.size(s));
            v.expr(value);
        }
        ExprKind::If { cond, then, els } => {
            v.expr(cond);
            walk_block(v, then);
            els.iter().for_each(|b| walk_block(v, b));
        }
        ExprKind::Block(b) => walk_block(v, b),
        ExprKind::Derivative(d) => v.expr(&d.func),
        ExprKind::Vmap(m) => v.expr(&m.func),
        ExprKind::Vjp { func, args, .. } => {
            v.expr(func);
            args.iter().for_each(|e| v.expr(e));
        }
        ExprKind::Jvp { func, args, tangents, .. } => {
            v.expr(func);
            args.iter().chain(tangents).for_each(|e| v.expr(e));
        }
        ExprKind::Pack { value, witnesses } => {
            v.expr(value);
            witnesses.iter().for_each(|s| v.size(s));
        }
        ExprKind::Open { value, .. } => v.expr(value),
        ExprKind::Return(value) => value.iter().for_each(|e| v.expr(e)),
    }
}
