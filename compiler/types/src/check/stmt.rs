//! Blocks and statements.

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A, PatternKind, StmtKind as S};

use super::errors::mk;
use super::{Checker, Entry};
use crate::size::{SizeExpr, SizeVar};
use crate::thir::{Block, Expr, ExprKind, Pattern, Projection, Stmt, StmtKind, Target, TextPiece};
use crate::ty::Ty;

const ASSIGNED: &str = "the value assigned";

impl Checker<'_> {
    /// A block in a scope of its own; `expected` is for its value.
    pub(super) fn block(&mut self, b: &ast::Block, expected: Option<&Ty>, what: &str) -> Block {
        self.push_names();
        let facts = self.facts.mark();
        let stmts = self.stmts(&b.stmts);
        let ends = stmts.last().is_some_and(never_ends);
        let result = b.result.as_ref().map(|e| self.tail(e, expected, what));
        if result.is_none()
            && !ends
            && let Some(t) = expected
        {
            let t = self.zonk(t);
            if let Err(why) = self.unify(&t, &Ty::unit()) {
                let span = Span { start: b.span.end.saturating_sub(1), ..b.span };
                self.mismatch(&t, &Ty::unit(), &why, span, what);
            }
        }
        self.facts.reset(facts);
        self.pop_names();
        Block { stmts, result: result.map(Box::new), span: b.span }
    }

    /// The last expression of a block: may be `return` and the like.
    fn tail(&mut self, e: &ast::Expr, expected: Option<&Ty>, what: &str) -> Expr {
        if matches!(e.kind, A::Return(_) | A::Break | A::Continue) {
            return self.flow(e);
        }
        match expected {
            Some(t) => self.statement(|cx| cx.check_as(e, t, what)),
            // its literals belong to the statement around: `if c { 0.0 } else { x }`
            None => self.open_statement(|cx| cx.expr(e, None)),
        }
    }

    /// Runs what belongs to one statement: its temporaries go before it, its literals get their dtypes after it.
    pub(super) fn statement(&mut self, f: impl FnOnce(&mut Self) -> Expr) -> Expr {
        let (elems, defaults) = (self.body.store.elems.len(), self.body.store.defaults.len());
        let e = self.open_statement(f);
        self.default_unknowns(elems, defaults);
        self.run_later(false);
        e
    }

    /// As [`Self::statement`], but its literals get their dtypes from what stands around it.
    fn open_statement(&mut self, f: impl FnOnce(&mut Self) -> Expr) -> Expr {
        let start = self.body.opened.start_statement();
        let e = self.with_temps(f);
        self.body.opened.end_statement(start);
        self.run_pending();
        if self.body.depth == 0
            && let Err(why) = self.solve_pending()
        {
            let t = e.ty.clone();
            self.mismatch(&t, &t, &why, e.span, "sizes");
        }
        e
    }

    /// The type of a block's value; `fallback` where it has none and ends.
    pub(super) fn block_type(&self, b: &Block, fallback: &Ty) -> Ty {
        match &b.result {
            Some(e) => self.zonk(&e.ty),
            None => match b.stmts.last() {
                Some(s) if never_ends(s) => Ty::Never,
                Some(_) | None => {
                    if fallback.is_unit() {
                        Ty::unit()
                    } else {
                        fallback.clone()
                    }
                }
            },
        }
    }

    pub(super) fn stmts(&mut self, stmts: &[ast::Stmt]) -> Vec<Stmt> {
        let mut out = Vec::new();
        for s in stmts {
            self.stmt(s, &mut out);
        }
        out
    }

    fn stmt(&mut self, s: &ast::Stmt, out: &mut Vec<Stmt>) {
        let span = s.span;
        match &s.kind {
            S::Let { sizes, mutable, pattern, ty, value } => {
                let (pattern, value) = self.let_stmt(sizes, *mutable, pattern, ty.as_ref(), value);
                out.push(Stmt { kind: StmtKind::Let { pattern, value }, span });
            }
            S::Assign { target, value } => {
                let errors = self.errors.len();
                let Some((target, ty)) = self.before(out, |cx| cx.target(target)) else {
                    self.statement(|cx| cx.expr(value, None));
                    return;
                };
                let indexed =
                    matches!(&target, Target::Place(p) if matches!(p.path.last(), Some(Projection::Index(_))));
                let value = self.statement(|cx| {
                    if indexed && errors == cx.errors.len() {
                        // a hint gives numbers their dtype
                        let hint = match &ty {
                            Ty::Exists(_, inner) => match &**inner {
                                Ty::Tensor(e, _) => Ty::scalar(*e),
                                other => other.clone(),
                            },
                            other => other.clone(),
                        };
                        let v = cx.expr(value, Some(&hint));
                        cx.fill(v, &ty)
                    } else {
                        let end = match &target {
                            Target::Place(p) => Some(cx.body.locals[p.root.index()].span),
                            Target::Tuple(_) | Target::Ignore => None,
                        };
                        if let Some(at) = end {
                            let text = format!("keeps its type: {}", cx.show_ty(&ty));
                            cx.body.ends.push((ASSIGNED.into(), at, text));
                        }
                        let value = cx.check_as(value, &ty, ASSIGNED);
                        if end.is_some() {
                            cx.body.ends.pop();
                        }
                        value
                    }
                });
                self.body.opened.assigned(&target);
                out.push(Stmt { kind: StmtKind::Assign { target, value }, span });
            }
            S::Update { target, op, op_span, value } => {
                let Some(place) = self.before(out, |cx| cx.assignable(target)) else {
                    self.statement(|cx| cx.expr(value, None));
                    return;
                };
                let Some(ir) = super::ops::ir_binary(*op) else { return };
                let kind = if place.path.is_empty() { ExprKind::Local(place.root) } else { ExprKind::Error };
                let old = mk(kind, place.ty.clone(), target.span);
                let old = match &old.ty {
                    Ty::Exists(..) => self.open(old, "the place"),
                    _ => old,
                };
                let want = old.ty.clone();
                // what a mask selects
                let selected = match place.path.last() {
                    Some(Projection::Index(_)) => self.zonk(&place.ty),
                    Some(_) | None => want.clone(),
                };
                // the value with what it needs before it; the sum is made for its errors
                let mut kept = false;
                let value = self.statement(|cx| {
                    let v = cx.expr(value, Some(&want));
                    let seen = cx.fill_updated(v.clone(), &selected, &want);
                    if seen.ty.is_error() {
                        return seen;
                    }
                    let sum = cx.binary_typed(*op, *op_span, old.clone(), seen.clone(), span);
                    if !sum.ty.is_error()
                        && let Err(why) = cx.unify(&want, &sum.ty)
                    {
                        let have = sum.ty.clone();
                        cx.mismatch(&want, &have, &why, span, "the variable keeps its type");
                    }
                    kept = true;
                    v
                });
                match kept.then_some(value) {
                    // `x += { break }` leaves before
                    Some(value) if matches!(self.zonk(&value.ty), Ty::Never) => {
                        out.push(Stmt { kind: StmtKind::Expr(value), span });
                    }
                    Some(value) => out.push(Stmt { kind: StmtKind::Update { place, op: ir, value }, span }),
                    None => {}
                }
            }
            S::For { annotations, pattern, iter, body } => self.for_stmt(annotations, pattern, iter, body, span, out),
            S::While { annotations, cond, body } => {
                let remat = self.remat(annotations);
                let cond = self.repeated(|cx| cx.statement(|cx| cx.condition(cond)));
                if let Some(at) = crate::visit::way_out(&cond) {
                    let d =
                        Diagnostic::error(code::E0310, "the condition of a loop cannot leave", at, "in a condition");
                    self.error(d.help("write `while true`, and what leaves into the body"));
                }
                let body = self.loop_body(body);
                out.push(Stmt { kind: StmtKind::While { cond, body, remat }, span });
            }
            S::Assert { cond, message } => {
                let mut facts = Vec::new();
                let checked = self.statement(|cx| cx.condition(cond));
                let errors = self.errors.len();
                if !checked.ty.is_error() {
                    self.collect_facts(cond, &mut facts);
                }
                self.errors.truncate(errors);
                let mut pieces = Vec::new();
                if let Some(m) = message {
                    let e = self.statement(|cx| cx.check_as(m, &Ty::Str, "the message"));
                    pieces = match e.kind {
                        ExprKind::Text(pieces) => pieces,
                        _ => vec![TextPiece::Value { value: e, format: "".into() }],
                    };
                } else {
                    let what = self.quoted(cond.span, false);
                    let text =
                        if what == "…" { "this does not hold".into() } else { format!("`{what}` does not hold") };
                    pieces.push(TextPiece::Text(text.into()));
                }
                for clause in &facts {
                    self.assume(&clause.fact);
                }
                out.push(Stmt { kind: StmtKind::Assert { cond: checked, message: pieces }, span });
            }
            S::Expr(e) => {
                let value = match &e.kind {
                    A::Return(_) | A::Break | A::Continue => self.flow(e),
                    A::If { cond, then, els } => self.if_stmt(cond, then, els.as_deref(), span),
                    _ => self.statement(|cx| cx.expr(e, None)),
                };
                let t = self.zonk(&value.ty);
                if !t.is_unit() && !matches!(t, Ty::Error | Ty::Never) {
                    self.unused(&t, e.span);
                }
                out.push(Stmt { kind: StmtKind::Expr(value), span });
            }
            S::Item(item) => {
                self.error(
                    Diagnostic::error(
                        code::E0310,
                        "items stand at the top of a file",
                        item.span,
                        "inside of a function",
                    )
                    .help("move it out; for a local function write a lambda: `let f = |x| …`"),
                );
                if let ast::ItemKind::Fn(f) = &item.kind {
                    self.hush(&f.name);
                }
            }
        }
    }

    /// What the parts of a place need goes before its statement.
    fn before<T>(&mut self, out: &mut Vec<Stmt>, f: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::take(&mut self.body.temps);
        let value = f(self);
        out.append(&mut std::mem::replace(&mut self.body.temps, outer));
        value
    }

    pub(super) fn unused(&mut self, t: &Ty, span: Span) {
        if super::errors::has_error(t) {
            return;
        }
        let text = format!("this value of type {} is not used", self.show_ty(t));
        let d = Diagnostic::error(code::E0305, text, span, "computed, and dropped");
        if self.quote(span).is_some_and(|t| t.starts_with('-')) {
            self.error(
                d.help("a line that begins with `-` is a statement of its own: to go on, end the line before with it"),
            );
            return;
        }
        self.error(
            d.help("bind it (`let y = …`), drop it on purpose (`let _ = …`), or give the function a result type"),
        );
    }

    fn if_stmt(&mut self, cond: &ast::Expr, then: &ast::Block, els: Option<&ast::Expr>, span: Span) -> Expr {
        let cond = self.statement(|cx| cx.condition(cond));
        let opened = self.body.opened.clone();
        let then = self.apart(|cx| cx.unit_block(then));
        let els = els.map(|e| {
            self.branch(&opened, |cx| match &e.kind {
                A::Block(b) => cx.unit_block(b),
                A::If { cond, then, els } => {
                    let inner = cx.if_stmt(cond, then, els.as_deref(), e.span);
                    Block { stmts: Vec::new(), result: Some(Box::new(inner)), span: e.span }
                }
                _ => Block { stmts: Vec::new(), result: None, span: e.span },
            })
        });
        let never = |b: &Block| matches!(self.block_type(b, &Ty::unit()), Ty::Never);
        let ty = if never(&then) && els.as_ref().is_some_and(never) { Ty::Never } else { Ty::unit() };
        mk(ExprKind::If { cond: Box::new(cond), then, els }, ty, span)
    }

    /// A block whose value is not used.
    pub(super) fn unit_block(&mut self, b: &ast::Block) -> Block {
        let mut block = match b.result.as_deref() {
            Some(ast::Expr { kind: A::If { cond, then, els }, span }) => {
                // the last `if` is a statement
                let (cond, then, els) = (cond.clone(), then.clone(), els.clone());
                let head = ast::Block { stmts: b.stmts.clone(), result: None, span: b.span };
                self.push_names();
                let facts = self.facts.mark();
                let stmts = self.stmts(&head.stmts);
                let inner = self.if_stmt(&cond, &then, els.as_deref(), *span);
                self.facts.reset(facts);
                self.pop_names();
                return Block { stmts, result: Some(Box::new(inner)), span: b.span };
            }
            _ => self.block(b, None, ""),
        };
        if let Some(e) = &mut block.result {
            let t = self.zonk(&e.ty);
            if !t.is_unit() && !matches!(t, Ty::Never | Ty::Error) {
                let span = e.span;
                self.unused(&t, span);
            }
        }
        block
    }

    fn let_stmt(
        &mut self,
        sizes: &[ast::Ident],
        mutable: bool,
        pattern: &ast::Pattern,
        ty: Option<&ast::Type>,
        value: &ast::Expr,
    ) -> (Pattern, Expr) {
        let annotation = ty.map(|t| self.lower(t));
        let mut named = Vec::new();
        let origin = match &pattern.kind {
            PatternKind::Name { name, .. } => name.name.to_string(),
            PatternKind::Tuple(_) | PatternKind::Ignore => String::new(),
        };
        let value = self.statement(|cx| {
            let opens = cx.body.opens.len();
            let v = match &annotation {
                Some(t) => {
                    let what = format!("`{origin}`");
                    if let Some(at) = ty.map(|t| t.span) {
                        cx.body.ends.push((what.clone(), at, "declared here".into()));
                    }
                    let v = cx.check_as(value, t, &what);
                    cx.body.ends.pop();
                    v
                }
                None => cx.expr(value, None),
            };
            // `let y = nonzero(x)`: call the size after `y`
            if let ExprKind::Open { vars, .. } = &v.kind {
                for (i, id) in vars.iter().enumerate() {
                    if id.index() >= opens && sizes.is_empty() && !origin.is_empty() {
                        let n = if vars.len() > 1 {
                            format!("<size {} of `{origin}`>", i + 1)
                        } else {
                            format!("len({origin})")
                        };
                        cx.body.opens[id.index()].name = n.into();
                    }
                }
                named = vars.clone();
            }
            v
        });
        if !sizes.is_empty() {
            if matches!(value.kind, ExprKind::Open { .. }) || !value.ty.is_error() {
                if named.len() == sizes.len() {
                    for (name, id) in sizes.iter().zip(&named) {
                        self.body.opens[id.index()].name = name.name.as_ref().into();
                        self.bind_name(&name.name, Entry::Size(SizeExpr::var(SizeVar::Open(*id))));
                    }
                } else {
                    self.size_names(sizes, &value, named.len());
                }
            }
            for name in sizes {
                if self.entry_of(&name.name).is_none() {
                    // reported; keep what follows quiet
                    let id = self.new_local(&name.name, Ty::I64, false, name.span);
                    self.bind_name(&name.name, Entry::Local(id));
                }
            }
        }
        let t = self.zonk(&value.ty);
        let t = match (&annotation, mutable) {
            (Some(a @ Ty::Exists(..)), _) => a.clone(),
            _ => t,
        };
        if mutable && super::errors::has_fn(&t) {
            self.error(
                Diagnostic::error(
                    code::E0308,
                    "a variable that changes holds no function",
                    pattern.span,
                    self.show_ty(&t),
                )
                .help("bind it with `let`; functions are known at compile time"),
            );
        }
        let size = if mutable { None } else { self.size_value(&value) };
        let pattern = self.pattern(pattern, &t, mutable, size);
        (pattern, value)
    }

    /// `let [n, m] x = …` where the value is an `as` or a load: the sizes of its type, in order.
    fn size_names(&mut self, sizes: &[ast::Ident], value: &Expr, found: usize) {
        let t = self.zonk(&value.ty);
        let mut vars: Vec<SizeExpr> = Vec::new();
        t.visit_sizes(&mut |v| {
            let e = SizeExpr::var(v);
            if matches!(v, SizeVar::Open(_)) && !vars.contains(&e) {
                vars.push(e);
            }
        });
        if vars.len() == sizes.len() {
            for (name, e) in sizes.iter().zip(vars) {
                if let Some(SizeVar::Open(id)) = e.as_var() {
                    self.body.opens[id.index()].name = name.name.as_ref().into();
                }
                self.bind_name(&name.name, Entry::Size(e));
            }
            return;
        }
        let span = sizes[0].span.to(sizes[sizes.len() - 1].span);
        let text = format!(
            "{} named, but the value has {} unknown",
            super::lower::count(sizes.len(), "size"),
            found.max(vars.len())
        );
        self.error(Diagnostic::error(code::E0303, text, span, "named here").label(value.span, self.show_ty(&t)));
    }

    pub(super) fn pattern(&mut self, p: &ast::Pattern, t: &Ty, mutable: bool, size: Option<SizeExpr>) -> Pattern {
        match &p.kind {
            PatternKind::Ignore => Pattern::Ignore,
            PatternKind::Name { mutable: own, name } => {
                let mutable = mutable || *own;
                // a generator is drawn from, so it is a variable only with `mut`
                let id = self.bind_local(name, t.clone(), mutable);
                if !mutable {
                    self.body.local_sizes[id.index()] = size;
                }
                Pattern::Local(id)
            }
            PatternKind::Tuple(items) => match t {
                Ty::Tuple(ts) if ts.len() == items.len() => {
                    Pattern::Tuple(items.iter().zip(ts).map(|(p, t)| self.pattern(p, t, mutable, None)).collect())
                }
                Ty::Error | Ty::Never => {
                    Pattern::Tuple(items.iter().map(|p| self.pattern(p, &Ty::Error, mutable, None)).collect())
                }
                other => {
                    let text = format!(
                        "{} does not fit a pattern of {}",
                        self.show_ty(other),
                        super::lower::count(items.len(), "part")
                    );
                    self.error(Diagnostic::error(code::E0301, text, p.span, "taken apart here"));
                    Pattern::Tuple(items.iter().map(|p| self.pattern(p, &Ty::Error, mutable, None)).collect())
                }
            },
        }
    }
}

/// Nothing comes after this statement: it leaves, or loops for ever.
fn never_ends(s: &Stmt) -> bool {
    match &s.kind {
        StmtKind::Expr(e) => matches!(e.ty, Ty::Never),
        StmtKind::While { cond, body, .. } => crate::visit::is_endless(cond, body),
        StmtKind::Let { .. }
        | StmtKind::Assign { .. }
        | StmtKind::Update { .. }
        | StmtKind::For { .. }
        | StmtKind::Assert { .. } => false,
    }
}
