//! Goes through the expressions of a typed tree.

use tdl_source::Span;

use crate::thir::*;

/// Calls `f` with an expression and all below it, outside of lambdas.
pub(crate) fn visit(e: &Expr, f: &mut dyn FnMut(&Expr)) {
    f(e);
    children(e, &mut |c| visit(c, f));
}

fn block_children(b: &Block, f: &mut dyn FnMut(&Expr)) {
    for s in &b.stmts {
        stmt_children(s, f);
        if let StmtKind::For { body, .. } | StmtKind::While { body, .. } = &s.kind {
            block_children(body, f);
        }
    }
    if let Some(e) = &b.result {
        f(e);
    }
}

/// The expressions of a statement, but for the body of a loop.
fn stmt_children(s: &Stmt, f: &mut dyn FnMut(&Expr)) {
    match &s.kind {
        StmtKind::Let { value, .. } => f(value),
        StmtKind::Assign { target, value } => {
            f(value);
            target_children(target, f);
        }
        StmtKind::Update { place, value, .. } => {
            place_children(place, f);
            f(value);
        }
        StmtKind::For { from, to, .. } => {
            f(from);
            f(to);
        }
        StmtKind::While { cond, .. } => f(cond),
        StmtKind::Assert { cond, message } => {
            f(cond);
            text_children(message, f);
        }
        StmtKind::Expr(e) => f(e),
    }
}

fn text_children(pieces: &[TextPiece], f: &mut dyn FnMut(&Expr)) {
    for p in pieces {
        match p {
            TextPiece::Text(_) => {}
            TextPiece::Value { value, .. } => f(value),
        }
    }
}

fn target_children(t: &Target, f: &mut dyn FnMut(&Expr)) {
    match t {
        Target::Place(p) => place_children(p, f),
        Target::Tuple(items) => items.iter().for_each(|t| target_children(t, f)),
        Target::Ignore => {}
    }
}

fn place_children(p: &Place, f: &mut dyn FnMut(&Expr)) {
    for step in &p.path {
        match step {
            Projection::Field(_) | Projection::TupleField(_) => {}
            Projection::Index(subs) => subs.iter().for_each(|s| subscript_children(s, f)),
        }
    }
}

fn subscript_children(s: &Subscript, f: &mut dyn FnMut(&Expr)) {
    match s {
        Subscript::Index { index, .. } => f(index),
        Subscript::Gather { ids, .. } => f(ids),
        Subscript::Mask { mask } => f(mask),
        Subscript::Slice { .. } | Subscript::Full | Subscript::New | Subscript::Rest | Subscript::Apart => {}
    }
}

fn arg_children(a: &Arg, f: &mut dyn FnMut(&Expr)) {
    match a {
        Arg::Value(e) => f(e),
        Arg::Place(p) => place_children(p, f),
        Arg::Default => {}
    }
}

/// Calls `f` with the expressions directly below.
pub(crate) fn children(e: &Expr, f: &mut dyn FnMut(&Expr)) {
    match &e.kind {
        ExprKind::Int(_)
        | ExprKind::Float(_)
        | ExprKind::Bool(_)
        | ExprKind::Local(_)
        | ExprKind::Const(_)
        | ExprKind::Size(_)
        | ExprKind::Fn { .. }
        | ExprKind::BuiltinFn(_)
        | ExprKind::FnParam(_)
        | ExprKind::Lambda(_)
        | ExprKind::Break
        | ExprKind::Continue
        | ExprKind::Error => {}
        ExprKind::Text(pieces) => text_children(pieces, f),
        ExprKind::Bound { receiver, .. } => f(receiver),
        ExprKind::Tuple(items) | ExprKind::Array(items) => items.iter().for_each(f),
        ExprKind::Struct { fields, .. } | ExprKind::StructStack { fields } => fields.iter().for_each(f),
        ExprKind::Field { base, .. } | ExprKind::TupleField { base, .. } => f(base),
        ExprKind::Unary { operand, .. } | ExprKind::TreeUnary { operand, .. } => f(operand),
        ExprKind::Binary { left, right, .. }
        | ExprKind::Compare { left, right, .. }
        | ExprKind::Logic { left, right, .. }
        | ExprKind::MatMul { left, right }
        | ExprKind::TreeBinary { left, right, .. } => {
            f(left);
            f(right);
        }
        ExprKind::Index { base, subscripts } => {
            f(base);
            subscripts.iter().for_each(|s| subscript_children(s, f));
        }
        ExprKind::Comprehension { value, .. } => f(value),
        ExprKind::Call { args, .. } => args.iter().for_each(|a| arg_children(a, f)),
        ExprKind::CallValue { callee, args, .. } => {
            f(callee);
            args.iter().for_each(|a| arg_children(a, f));
        }
        ExprKind::Builtin { args, .. } => args.iter().for_each(f),
        ExprKind::Random { rng, args, .. } => {
            arg_children(rng, f);
            args.iter().for_each(f);
        }
        ExprKind::Convert(inner) => f(inner),
        ExprKind::As { value, .. }
        | ExprKind::CheckSizes { value, .. }
        | ExprKind::Pack { value, .. }
        | ExprKind::Open { value, .. } => f(value),
        ExprKind::If { cond, then, els } => {
            f(cond);
            block_children(then, f);
            if let Some(b) = els {
                block_children(b, f);
            }
        }
        ExprKind::Block(b) => block_children(b, f),
        ExprKind::Derivative(d) => f(&d.func),
        ExprKind::Vmap(v) => f(&v.func),
        ExprKind::Vjp { func, args, .. } => {
            f(func);
            args.iter().for_each(f);
        }
        ExprKind::Jvp { func, args, tangents, .. } => {
            f(func);
            args.iter().chain(tangents).for_each(f);
        }
        ExprKind::Return(value) => {
            if let Some(v) = value {
                f(v);
            }
        }
    }
}

fn subscripts_mut(subs: &mut [Subscript], f: &mut dyn FnMut(&mut Expr)) {
    for s in subs {
        match s {
            Subscript::Index { index, .. } => f(index),
            Subscript::Gather { ids, .. } => f(ids),
            Subscript::Mask { mask } => f(mask),
            Subscript::Slice { .. } | Subscript::Full | Subscript::New | Subscript::Rest | Subscript::Apart => {}
        }
    }
}

fn arg_mut(a: &mut Arg, f: &mut dyn FnMut(&mut Expr)) {
    match a {
        Arg::Value(e) => f(e),
        Arg::Place(p) => {
            for step in &mut p.path {
                match step {
                    Projection::Field(_) | Projection::TupleField(_) => {}
                    Projection::Index(subs) => subscripts_mut(subs, f),
                }
            }
        }
        Arg::Default => {}
    }
}

/// Calls `f` with the expressions directly below that are evaluated once whenever `e` is.
pub(crate) fn operands_mut(e: &mut Expr, f: &mut dyn FnMut(&mut Expr)) {
    match &mut e.kind {
        ExprKind::Int(_)
        | ExprKind::Float(_)
        | ExprKind::Bool(_)
        | ExprKind::Local(_)
        | ExprKind::Const(_)
        | ExprKind::Size(_)
        | ExprKind::Fn { .. }
        | ExprKind::BuiltinFn(_)
        | ExprKind::FnParam(_)
        | ExprKind::Lambda(_)
        | ExprKind::Comprehension { .. }
        | ExprKind::Block(_)
        | ExprKind::Return(_)
        | ExprKind::Break
        | ExprKind::Continue
        | ExprKind::Error => {}
        ExprKind::Text(pieces) => {
            for p in pieces {
                match p {
                    TextPiece::Text(_) => {}
                    TextPiece::Value { value, .. } => f(value),
                }
            }
        }
        ExprKind::Bound { receiver: e, .. }
        | ExprKind::Field { base: e, .. }
        | ExprKind::TupleField { base: e, .. }
        | ExprKind::Unary { operand: e, .. }
        | ExprKind::TreeUnary { operand: e, .. }
        | ExprKind::Logic { left: e, .. }
        | ExprKind::If { cond: e, .. }
        | ExprKind::Convert(e)
        | ExprKind::As { value: e, .. }
        | ExprKind::CheckSizes { value: e, .. }
        | ExprKind::Pack { value: e, .. }
        | ExprKind::Open { value: e, .. } => f(e),
        ExprKind::Derivative(d) => f(&mut d.func),
        ExprKind::Vmap(v) => f(&mut v.func),
        ExprKind::Tuple(items)
        | ExprKind::Array(items)
        | ExprKind::Struct { fields: items, .. }
        | ExprKind::StructStack { fields: items }
        | ExprKind::Builtin { args: items, .. } => items.iter_mut().for_each(f),
        ExprKind::Binary { left, right, .. }
        | ExprKind::Compare { left, right, .. }
        | ExprKind::MatMul { left, right }
        | ExprKind::TreeBinary { left, right, .. } => {
            f(left);
            f(right);
        }
        ExprKind::Index { base, subscripts } => {
            f(base);
            subscripts_mut(subscripts, f);
        }
        ExprKind::Call { args, .. } => args.iter_mut().for_each(|a| arg_mut(a, f)),
        ExprKind::CallValue { callee, args } => {
            f(callee);
            args.iter_mut().for_each(|a| arg_mut(a, f));
        }
        ExprKind::Random { rng, args, .. } => {
            arg_mut(rng, f);
            args.iter_mut().for_each(f);
        }
        ExprKind::Vjp { func, args, .. } => {
            f(func);
            args.iter_mut().for_each(f);
        }
        ExprKind::Jvp { func, args, tangents, .. } => {
            f(func);
            args.iter_mut().chain(tangents).for_each(f);
        }
    }
}

/// Calls `f` with every expression of a body, those of its lambdas too.
pub fn visit_body(body: &Body, f: &mut dyn FnMut(&Expr)) {
    for root in std::iter::once(&body.value).chain(body.lambdas.iter().map(|l| &l.body)) {
        visit(root, f);
    }
}

/// Calls `f` with every body of a program: of functions, defaults, constants and tests.
pub fn visit_bodies<'p>(program: &'p Program, f: &mut dyn FnMut(&'p Body)) {
    for def in &program.fns {
        def.params.iter().filter_map(|p| p.default.as_deref()).for_each(&mut *f);
        def.body.iter().for_each(&mut *f);
    }
    program.consts.iter().filter_map(|c| c.value.as_ref()).for_each(&mut *f);
    program.tests.iter().filter_map(|t| t.body.as_ref()).for_each(&mut *f);
}

/// Does a `while` go on until the function returns? Its condition is `true`, and nothing leaves it.
pub fn is_endless(cond: &Expr, body: &Block) -> bool {
    let mut breaks = false;
    block_jumps(body, 0, &mut |e, depth| breaks |= depth == 0 && matches!(e.kind, ExprKind::Break));
    matches!(cond.kind, ExprKind::Bool(true)) && !breaks
}

/// The first `return`, `break` or `continue` by which the expression may be left.
pub(crate) fn way_out(e: &Expr) -> Option<Span> {
    let mut first = None;
    jumps(e, 0, &mut |e, depth| {
        if depth == 0 || matches!(e.kind, ExprKind::Return(_)) {
            first.get_or_insert(e.span);
        }
    });
    first
}

/// Calls `f` with every `return`, `break` and `continue` of an expression, and how many of the loops around it are inside of that.
fn jumps(e: &Expr, depth: u32, f: &mut dyn FnMut(&Expr, u32)) {
    match &e.kind {
        ExprKind::Break | ExprKind::Continue => f(e, depth),
        ExprKind::Return(value) => {
            f(e, depth);
            value.iter().for_each(|v| jumps(v, depth, f));
        }
        ExprKind::If { cond, then, els } => {
            jumps(cond, depth, f);
            block_jumps(then, depth, f);
            els.iter().for_each(|b| block_jumps(b, depth, f));
        }
        ExprKind::Block(b) => block_jumps(b, depth, f),
        _ => children(e, &mut |c| jumps(c, depth, f)),
    }
}

fn block_jumps(b: &Block, depth: u32, f: &mut dyn FnMut(&Expr, u32)) {
    for s in &b.stmts {
        stmt_children(s, &mut |e| jumps(e, depth, f));
        if let StmtKind::For { body, .. } | StmtKind::While { body, .. } = &s.kind {
            block_jumps(body, depth + 1, f);
        }
    }
    if let Some(e) = &b.result {
        jumps(e, depth, f);
    }
}
