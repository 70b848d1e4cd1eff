//! Blocks and statements.

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A, PatternKind, StmtKind as S};

use super::errors::mk;
use super::{Checker, Entry};
use crate::ids::*;
use crate::size::{SizeExpr, SizeVar};
use crate::thir::{
    Block, Builtin, Callee, Expr, ExprKind, Pattern, Projection, Stmt, StmtKind, Subscript, Target, TextPiece,
};
use crate::ty::{Dim, Ty};

const ASSIGNED: &str = "the value assigned";

impl Checker<'_> {
    /// A block in a scope of its own; `expected` is for its value.
    pub(super) fn block(&mut self, b: &ast::Block, expected: Option<&Ty>, what: &str) -> Block {
        self.push_names();
        let facts = self.facts.mark();
        let stmts = self.stmts(&b.stmts);
        let ends = stmts.last().is_some_and(|s| matches!(&s.kind, StmtKind::Expr(e) if matches!(e.ty, Ty::Never)));
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
        self.statement(|cx| match expected {
            Some(t) => cx.check_as(e, t, what),
            None => cx.expr(e, None),
        })
    }

    /// Runs what belongs to one statement: its temporaries go before it, its literals get their dtypes after it.
    pub(super) fn statement(&mut self, f: impl FnOnce(&mut Self) -> Expr) -> Expr {
        let (elems, defaults) = (self.body.store.elems.len(), self.body.store.defaults.len());
        let e = self.with_temps(f);
        self.run_pending();
        if self.body.depth == 0
            && let Err(why) = self.solve_pending()
        {
            let t = e.ty.clone();
            self.mismatch(&t, &t, &why, e.span, "sizes");
        }
        self.default_unknowns(elems, defaults);
        self.run_later(false);
        e
    }

    /// The type of a block's value; `fallback` where it has none and ends.
    pub(super) fn block_type(&self, b: &Block, fallback: &Ty) -> Ty {
        match &b.result {
            Some(e) => self.zonk(&e.ty),
            None => match b.stmts.last().map(|s| &s.kind) {
                Some(StmtKind::Expr(e)) if matches!(e.ty, Ty::Never) => Ty::Never,
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
        let mut push = |kind| out.push(Stmt { kind, span });
        match &s.kind {
            S::Let { sizes, mutable, pattern, ty, value } => {
                let (pattern, value) = self.let_stmt(sizes, *mutable, pattern, ty.as_ref(), value);
                push(StmtKind::Let { pattern, value });
            }
            S::Assign { target, value } => {
                let errors = self.errors.len();
                let Some((target, ty)) = self.target(target) else {
                    self.statement(|cx| cx.expr(value, None));
                    return;
                };
                let indexed =
                    matches!(&target, Target::Place(p) if matches!(p.path.last(), Some(Projection::Index(_))));
                let value = self.statement(|cx| {
                    if indexed && errors == cx.errors.len() {
                        let v = cx.expr(value, Some(&ty));
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
                push(StmtKind::Assign { target, value });
            }
            S::Update { target, op, op_span, value } => {
                let Some(place) = self.assignable(target) else {
                    self.statement(|cx| cx.expr(value, None));
                    return;
                };
                let Some(ir) = super::ops::ir_binary(*op) else { return };
                let old = mk(ExprKind::Error, place.ty.clone(), target.span);
                let old = match &old.ty {
                    Ty::Exists(..) => self.open(old, "the place"),
                    _ => old,
                };
                let want = old.ty.clone();
                let mut kept = None;
                self.statement(|cx| {
                    let v = cx.expr(value, Some(&want));
                    let sum = cx.binary_typed(*op, *op_span, old.clone(), v.clone(), span);
                    if !sum.ty.is_error()
                        && let Err(why) = cx.unify(&want, &sum.ty)
                    {
                        let have = sum.ty.clone();
                        cx.mismatch(&want, &have, &why, span, "the variable keeps its type");
                    }
                    kept = Some(v);
                    sum
                });
                match kept {
                    // `x += { break }` leaves before
                    Some(value) if matches!(self.zonk(&value.ty), Ty::Never) => push(StmtKind::Expr(value)),
                    Some(value) => push(StmtKind::Update { place, op: ir, value }),
                    None => {}
                }
            }
            S::For { annotations, pattern, iter, body } => self.for_stmt(annotations, pattern, iter, body, span, out),
            S::While { annotations, cond, body } => {
                let remat = self.remat(annotations);
                let cond = self.statement(|cx| cx.condition(cond));
                let body = self.loop_body(body);
                push(StmtKind::While { cond, body, remat });
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
                }
                for clause in &facts {
                    self.assume(&clause.fact);
                }
                push(StmtKind::Assert { cond: checked, message: pieces });
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
                push(StmtKind::Expr(value));
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
        let then = self.unit_block(then);
        let els = els.map(|e| match &e.kind {
            A::Block(b) => self.unit_block(b),
            A::If { cond, then, els } => {
                let inner = self.if_stmt(cond, then, els.as_deref(), e.span);
                Block { stmts: Vec::new(), result: Some(Box::new(inner)), span: e.span }
            }
            _ => Block { stmts: Vec::new(), result: None, span: e.span },
        });
        let never = |b: &Block| matches!(self.block_type(b, &Ty::unit()), Ty::Never);
        let ty = if never(&then) && els.as_ref().is_some_and(never) { Ty::Never } else { Ty::unit() };
        mk(ExprKind::If { cond: Box::new(cond), then, els }, ty, span)
    }

    /// A block whose value is not used.
    fn unit_block(&mut self, b: &ast::Block) -> Block {
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

    fn loop_body(&mut self, b: &ast::Block) -> Block {
        let outer = std::mem::replace(&mut self.body.in_loop, true);
        let block = self.unit_block(b);
        self.body.in_loop = outer;
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

    /// The left side of an assignment and the type of what it takes.
    fn target(&mut self, e: &ast::Expr) -> Option<(Target, Ty)> {
        match &e.kind {
            A::Tuple(items) => {
                let mut targets = Vec::new();
                let mut types = Vec::new();
                for item in items {
                    let (t, ty) = self.target(item)?;
                    targets.push(t);
                    types.push(ty);
                }
                let places: Vec<_> = targets
                    .iter()
                    .filter_map(|t| match t {
                        Target::Place(p) => Some(p.clone()),
                        Target::Tuple(_) | Target::Ignore => None,
                    })
                    .collect();
                self.overlaps(&places);
                Some((Target::Tuple(targets), Ty::tuple(types)))
            }
            A::Placeholder => {
                let t = self.body.store.new_ty();
                Some((Target::Ignore, t))
            }
            _ => {
                let place = self.assignable(e)?;
                let mut ty = place.ty.clone();
                if let Some(Projection::Index(subs)) = place.path.last()
                    && subs.iter().any(|s| matches!(s, Subscript::Mask { .. }))
                {
                    // what a mask selects is filled with one value per row
                    if let Ty::Exists(_, inner) = &ty
                        && let Ty::Tensor(e, _) = &**inner
                    {
                        ty = Ty::scalar(*e);
                    }
                }
                Some((Target::Place(place), ty))
            }
        }
    }

    /// A value for an indexed place: of its type, or broadcast to it.
    fn fill(&mut self, v: Expr, place: &Ty) -> Expr {
        let t = self.zonk(&v.ty);
        if let (Ty::Tensor(e, want), Ty::Tensor(f, have)) = (place, &t)
            && have.len() < want.len()
            && self.unify_elem(*e, *f).is_ok()
        {
            let shape = self.broadcast_shapes(want, have);
            if let Ok(shape) = shape
                && self.unify_shape(want, &shape).is_ok()
            {
                let span = v.span;
                return mk(ExprKind::Builtin { op: Builtin::BroadcastTo, args: vec![v] }, place.clone(), span);
            }
        }
        self.coerce(v, place, "the value assigned")
    }

    fn remat(&mut self, annotations: &[ast::Annotation]) -> Option<u64> {
        let mut every = None;
        for a in annotations {
            match (&*a.name.name, a.args.first().map(|a| &a.value.kind)) {
                ("remat", Some(A::Int(v))) if *v >= 1 => every = u64::try_from(*v).ok(),
                ("remat", None) => every = Some(1),
                ("remat", Some(_)) => {
                    self.error(Diagnostic::error(code::E0303, "`every` is a literal of at least 1", a.span, "here"));
                }
                (other, _) => {
                    self.error(Diagnostic::error(
                        code::E0201,
                        format!("unknown annotation `@{other}`"),
                        a.span,
                        "not known",
                    ));
                }
            }
        }
        every
    }

    fn for_stmt(
        &mut self,
        annotations: &[ast::Annotation],
        pattern: &ast::Pattern,
        iter: &ast::Expr,
        body: &ast::Block,
        span: Span,
        out: &mut Vec<Stmt>,
    ) {
        let remat = self.remat(annotations);
        let facts = self.facts.mark();
        if let A::Range { from, to } = &iter.kind {
            let from = self.statement(|cx| cx.check_as(from, &Ty::I64, "the start of the range"));
            let to = self.statement(|cx| cx.check_as(to, &Ty::I64, "the end of the range"));
            self.push_names();
            let index = match &pattern.kind {
                PatternKind::Name { name, mutable } => {
                    let id = self.bind_local(name, Ty::I64, *mutable);
                    self.body.loop_vars.push(id);
                    if let (Some(a), false) = (self.size_value(&from), *mutable) {
                        self.facts.assume_le(&a, &SizeExpr::var(SizeVar::Local(id)));
                    }
                    if let (Some(b), false) = (self.size_value(&to), *mutable) {
                        self.facts.assume_le(&SizeExpr::var(SizeVar::Local(id)).add(&SizeExpr::constant(1)), &b);
                    }
                    id
                }
                PatternKind::Ignore => self.new_local("_", Ty::I64, false, pattern.span),
                PatternKind::Tuple(_) => {
                    self.error(Diagnostic::error(
                        code::E0301,
                        "a range gives numbers",
                        pattern.span,
                        "a tuple of them?",
                    ));
                    self.new_local("_", Ty::I64, false, pattern.span)
                }
            };
            let body = self.loop_body(body);
            self.pop_names();
            self.facts.reset(facts);
            out.push(Stmt { kind: StmtKind::For { index, from, to, body, remat }, span });
            return;
        }
        let value = self.statement(|cx| cx.expr(iter, None));
        let t = self.zonk(&value.ty);
        let seq = self.new_local("<sequence>", t.clone(), false, iter.span);
        let at = iter.span;
        let local = |id: LocalId, ty: Ty| mk(ExprKind::Local(id), ty, at);
        self.push_names();
        let index = self.new_local("<index>", Ty::I64, false, pattern.span);
        let i = SizeExpr::var(SizeVar::Local(index));
        let (len, item) = match &t {
            Ty::Tensor(_, dims) | Ty::Stack(dims, _) => {
                let Some(Dim::Size(n)) = dims.first() else {
                    let text = format!("{} has no leading axis to go over", self.show_ty(&t));
                    self.error(
                        Diagnostic::error(code::E0406, text, iter.span, format!("this is {}", self.show_ty(&t)))
                            .help("to count write `for i in 0..n`"),
                    );
                    self.for_nothing(pattern, body);
                    return;
                };
                let inner = match &t {
                    Ty::Tensor(e, dims) => Ty::Tensor(*e, dims[1..].to_vec()),
                    Ty::Stack(dims, elem) => Ty::stack(dims[1..].to_vec(), (**elem).clone()),
                    _ => Ty::Error,
                };
                self.facts.assume_le(&SizeExpr::default(), &i);
                self.facts.assume_le(&i.add(&SizeExpr::constant(1)), n);
                let sub = Subscript::Index { index: local(index, Ty::I64), proved: true };
                let base = Box::new(local(seq, t.clone()));
                let item = mk(ExprKind::Index { base, subscripts: vec![sub] }, inner, at);
                (mk(ExprKind::Size(n.clone()), Ty::I64, at), item)
            }
            Ty::Struct(id, sargs) => {
                let (id, sargs) = (*id, sargs.clone());
                let (Some(len_fn), Some(at_fn)) = (self.method_of(id, "len"), self.method_of(id, "at")) else {
                    let name = self.program.structs[id.index()].name.clone();
                    let text = format!("`for` cannot go over a `{name}`");
                    self.error(
                        Diagnostic::error(code::E0308, text, iter.span, "has not both `len` and `at`")
                            .help("give it `fn len(self) -> i64` and `fn at(self, i: i64) -> T`"),
                    );
                    self.for_nothing(pattern, body);
                    return;
                };
                let io = self.program.fns[len_fn.index()].io || self.program.fns[at_fn.index()].io;
                if io {
                    self.require_io("at", iter.span);
                }
                self.body.calls.extend([(len_fn, iter.span), (at_fn, iter.span)]);
                let a = self.instantiate(len_fn, Some(&sargs));
                let b = self.instantiate(at_fn, Some(&sargs));
                let me = || crate::thir::Arg::Value(local(seq, t.clone()));
                if b.params.len() != 2 || a.params.len() != 1 || self.unify(&a.result, &Ty::I64).is_err() {
                    self.error(Diagnostic::error(
                        code::E0308,
                        "`len` takes nothing and gives an i64, `at` takes an i64",
                        iter.span,
                        "cannot go over this",
                    ));
                    self.for_nothing(pattern, body);
                    return;
                }
                if let Some(size) = &b.size_params[1] {
                    let _ = self.unify_size(size, &i);
                }
                let len = ExprKind::Call { callee: Callee::Fn(len_fn), generics: a.args, args: vec![me()] };
                let args = vec![me(), crate::thir::Arg::Value(local(index, Ty::I64))];
                let ty = self.zonk(&b.result);
                let item = mk(ExprKind::Call { callee: Callee::Fn(at_fn), generics: b.args, args }, ty, at);
                let item = self.open(item, "the element");
                (mk(len, Ty::I64, at), item)
            }
            Ty::Error | Ty::Never => {
                self.for_nothing(pattern, body);
                return;
            }
            other => {
                let text = format!("`for` cannot go over {}", self.show_ty(other));
                self.error(
                    Diagnostic::error(code::E0308, text, iter.span, format!("this is {}", self.show_ty(other)))
                        .help("to count write `for i in 0..n`"),
                );
                self.for_nothing(pattern, body);
                return;
            }
        };
        let item_ty = self.zonk(&item.ty);
        let first = self.body.locals.len();
        let p = self.pattern(pattern, &item_ty, false, None);
        self.body.loop_vars.extend((first..self.body.locals.len()).map(|i| LocalId(i as u32)));
        let mut body = self.loop_body(body);
        body.stmts.insert(0, Stmt { kind: StmtKind::Let { pattern: p, value: item }, span: pattern.span });
        self.pop_names();
        self.facts.reset(facts);
        out.push(Stmt { kind: StmtKind::Let { pattern: Pattern::Local(seq), value }, span: iter.span });
        let from = mk(ExprKind::Int(0), Ty::I64, at);
        out.push(Stmt { kind: StmtKind::For { index, from, to: len, body, remat }, span });
    }

    /// After an error in the head: the body is checked with nothing known of the variable. Ends the scope.
    fn for_nothing(&mut self, pattern: &ast::Pattern, body: &ast::Block) {
        self.pattern(pattern, &Ty::Error, false, None);
        self.loop_body(body);
        self.pop_names();
    }
}
