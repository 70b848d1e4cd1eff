//! The end of a body: every unknown is replaced by its solution, captures are found, what stayed open is an error.

use tdl_source::{Diagnostic, Span, code};

use super::{Checker, Later};
use crate::ids::*;
use crate::size::{SizeExpr, SizeVar};
use crate::thir::*;

/// What the walk finds.
#[derive(Default)]
struct Found {
    /// An expression whose type stayed open.
    open: Option<(Span, Ty)>,
    /// The parameter in brackets that stayed open there, and of which function.
    parameter: Option<(GenericId, FnId)>,
    error: bool,
    locals: Vec<LocalId>,
    /// Literals that their dtype cannot hold.
    too_large: Vec<(Span, i128, Dtype)>,
}

impl Checker<'_> {
    /// Ends a body. None if it has errors.
    pub(super) fn finish(&mut self, value: Expr) -> Option<Body> {
        self.run_pending();
        if let Err(why) = self.solve_pending() {
            self.mismatch(&Ty::I64, &Ty::I64, &why, value.span, "sizes");
        }
        self.default_unknowns(0, 0);
        self.run_pending();
        self.run_later(true);
        for p in std::mem::take(&mut self.body.pending) {
            self.error(
                Diagnostic::error(
                    code::E0309,
                    "the types of this lambda's parameters are not known",
                    p.ast.span,
                    "never applied",
                )
                .help("annotate them: `|x: f32[3]| …`"),
            );
        }
        let mut value = value;
        let mut found = Found::default();
        self.zonk_expr(&mut value, &mut found);
        let mut lambdas = Vec::new();
        for i in 0..self.body.lambdas.len() {
            let Some(mut lambda) = self.body.lambdas[i].clone() else {
                found.error = true;
                continue;
            };
            let mut inner = Found::default();
            self.zonk_expr(&mut lambda.body, &mut inner);
            found.error |= inner.error;
            if found.open.is_none() {
                (found.open, found.parameter) = (inner.open, inner.parameter);
            }
            found.too_large.extend(inner.too_large);
            lambda.captures = inner.locals;
            lambdas.push(lambda);
        }
        // a lambda inside a lambda captures through it
        for i in (0..lambdas.len()).rev() {
            let mut nested = Vec::new();
            mentioned_lambdas(&lambdas[i].body, &mut nested);
            for id in nested {
                if let Some(inner) = lambdas.get(id.index()) {
                    let more = inner.captures.clone();
                    lambdas[i].captures.extend(more);
                }
            }
            let depth = self.body.lambda_depth[i];
            let locals = std::mem::take(&mut lambdas[i].captures);
            for l in locals {
                if self.body.local_depth[l.index()] <= depth && !lambdas[i].captures.contains(&l) {
                    lambdas[i].captures.push(l);
                }
            }
        }
        for (span, value, dtype) in std::mem::take(&mut found.too_large) {
            let (low, high) = limits(dtype);
            let text = format!("{value} does not fit {}", dtype.name());
            let label = format!("{} holds {low} to {high}", dtype.name());
            self.error(Diagnostic::error(code::E0107, text, span, label));
            found.error = true;
        }
        for id in std::mem::take(&mut self.body.mapped) {
            let Some(lambda) = lambdas.get(id.index()) else { continue };
            let shared = lambda.captures.iter().find(|l| self.zonk(&self.body.locals[l.index()].ty) == Ty::Rng);
            if let Some(l) = shared {
                let name = self.body.locals[l.index()].name.clone();
                let text = format!("all lanes would draw the same numbers from `{name}`");
                self.error(
                    Diagnostic::error(code::E0311, text, lambda.span, "mapped over lanes")
                        .label(self.body.locals[l.index()].span, "the generator")
                        .help(format!("give every lane its own: `vmap(|x, k| …)(xs, {name}.split(n))`")),
                );
                found.error = true;
            }
        }
        if let (Some((span, _)), Some((generic, func)), false) = (&found.open, found.parameter, found.error) {
            let def = &self.program.fns[func.index()];
            let (name, parameter) = (def.name.clone(), &self.program.generics[generic.index()].name);
            let text = format!("`{parameter}` of `{name}` cannot be inferred from this call");
            let of_struct = def.generics.iter().position(|g| *g == generic).is_some_and(|i| i < def.self_generics);
            let help = match name.split_once('.').filter(|_| of_struct) {
                Some((owner, method)) => format!("give it in brackets: `{owner}[{parameter}: …].{method}(…)`"),
                None => "say the type of the result: `let x: T = …`".to_owned(),
            };
            self.error(Diagnostic::error(code::E0309, text, *span, "not known wholly").help(help));
            found.error = true;
        } else if let (Some((span, ty)), false) = (&found.open, found.error) {
            let text = format!("the type of this cannot be inferred: {}", self.show().ty(ty));
            self.error(
                Diagnostic::error(code::E0309, text, *span, "not known wholly")
                    .help("say the type: `let x: T = …`, or give the parameters in brackets"),
            );
            found.error = true;
        }
        for i in 0..self.body.locals.len() {
            let ty = self.zonk(&self.body.locals[i].ty.clone());
            self.body.locals[i].ty = ty;
        }
        let cx = self.take_body();
        let body = Body { locals: cx.locals, opens: cx.opens, lambdas, value };
        let errors = self.errors.len();
        if !found.error {
            super::moves::check(&body, &mut self.errors);
        }
        if found.error || self.errors.len() > errors {
            self.failed.push(std::rc::Rc::new(body));
            return None;
        }
        Some(body)
    }

    /// Checks conditions whose types have become known; `last`: what is still unknown is dropped.
    pub(super) fn run_later(&mut self, last: bool) {
        // one that has become known may make another known
        let mut before = usize::MAX;
        while self.body.later.len() < before {
            before = self.body.later.len();
            self.run_later_once(last);
        }
    }

    fn run_later_once(&mut self, last: bool) {
        let later = std::mem::take(&mut self.body.later);
        for l in later {
            match l {
                Later::Loss { result, loss, extra, span, func } => {
                    let r = self.zonk(&result);
                    // `grad(tanh)` has a shape once it is applied
                    let shapeless = matches!(&r, Ty::Tensor(_, dims)
                        if dims.iter().any(|d| matches!(d, Dim::Spread(Spread::Infer(_)))));
                    if matches!(r, Ty::Infer(_)) || shapeless && !last {
                        if !last {
                            self.body.later.push(Later::Loss { result, loss, extra, span, func });
                        }
                        continue;
                    }
                    self.check_loss(&r, &loss, extra.as_ref(), span, func);
                }
                Later::Floats { ty, span, func, name } => {
                    let t = self.zonk(&ty);
                    // `grad(abs)` has a dtype once it is applied
                    let open = match &t {
                        Ty::Tensor(e @ Elem::Infer(_), _) => !last && !self.elem_within(*e, DtypeBound::Float),
                        _ => false,
                    };
                    if matches!(t, Ty::Infer(_)) || open {
                        if !last {
                            self.body.later.push(Later::Floats { ty, span, func, name });
                        }
                        continue;
                    }
                    self.check_floats(&t, span, func, &name);
                }
                Later::Matrix { hessian, param, result, out, func } => {
                    if matches!(self.zonk(&param), Ty::Infer(_)) || matches!(self.zonk(&result), Ty::Infer(_)) {
                        if !last {
                            self.body.later.push(Later::Matrix { hessian, param, result, out, func });
                        }
                        continue;
                    }
                    self.matrix(hessian, &param, &result, &out, func);
                }
                Later::Mapping(m) => {
                    let rest = self.run_mapping(m, last);
                    self.body.later.extend(rest.map(Later::Mapping));
                }
            }
        }
    }

    fn zonk_final(&self, t: &Ty, span: Span, found: &mut Found) -> Ty {
        let t = self.zonk(t);
        if super::errors::has_error(&t) {
            found.error = true;
        } else if found.open.is_none() && stays_open(&t) {
            found.open = Some((span, t.clone()));
        }
        t.visit_sizes(&mut |v| {
            if let SizeVar::Local(l) = v {
                found.locals.push(l);
            }
        });
        t
    }

    fn zonk_sizes(&self, e: &mut SizeExpr, found: &mut Found) {
        *e = self.zonk_size(e);
        e.visit_vars(&mut |v| {
            if let SizeVar::Local(l) = v {
                found.locals.push(l);
            }
        });
    }

    fn zonk_args(&self, args: &mut [GenericArg], span: Span, found: &mut Found) {
        for a in args {
            *a = a.subst(&self.body.store);
            match a {
                GenericArg::Ty(t) => *t = self.zonk_final(t, span, found),
                GenericArg::Size(e) => {
                    self.zonk_sizes(e, found);
                    let mut open = false;
                    e.visit_vars(&mut |v| open |= matches!(v, SizeVar::Infer(_)));
                    if open && found.open.is_none() {
                        found.open = Some((span, Ty::Tensor(Elem::Dtype(Dtype::I64), vec![Dim::Size(e.clone())])));
                    }
                }
                GenericArg::Dtype(e) => {
                    if matches!(e, Elem::Infer(_)) && found.open.is_none() {
                        found.open = Some((span, Ty::scalar(*e)));
                    }
                }
                GenericArg::Shape(s) => {
                    if s.iter().any(|d| matches!(d, Dim::Spread(Spread::Infer(_)))) && found.open.is_none() {
                        found.open = Some((span, Ty::Tensor(Elem::Dtype(Dtype::F32), s.clone())));
                    }
                }
                GenericArg::Fn(f) => {
                    if matches!(**f, FnArg::Infer(_)) && found.open.is_none() {
                        found.open = Some((span, Ty::Infer(0)));
                    }
                }
            }
        }
    }

    fn zonk_block(&self, b: &mut Block, found: &mut Found) {
        for s in &mut b.stmts {
            self.zonk_stmt(s, found);
        }
        if let Some(e) = &mut b.result {
            self.zonk_expr(e, found);
        }
    }

    fn zonk_stmt(&self, s: &mut Stmt, found: &mut Found) {
        match &mut s.kind {
            StmtKind::Let { value, .. } => self.zonk_expr(value, found),
            StmtKind::Assign { target, value } => {
                self.zonk_target(target, found);
                self.zonk_expr(value, found);
            }
            StmtKind::Update { place, value, .. } => {
                self.zonk_place(place, found);
                self.zonk_expr(value, found);
            }
            StmtKind::For { from, to, body, .. } => {
                self.zonk_expr(from, found);
                self.zonk_expr(to, found);
                self.zonk_block(body, found);
            }
            StmtKind::While { cond, body, .. } => {
                self.zonk_expr(cond, found);
                self.zonk_block(body, found);
            }
            StmtKind::Assert { cond, message } => {
                self.zonk_expr(cond, found);
                self.zonk_text(message, found);
            }
            StmtKind::Expr(e) => self.zonk_expr(e, found),
        }
    }

    fn zonk_text(&self, pieces: &mut [TextPiece], found: &mut Found) {
        for p in pieces {
            match p {
                TextPiece::Text(_) => {}
                TextPiece::Value { value, .. } => self.zonk_expr(value, found),
            }
        }
    }

    fn zonk_target(&self, t: &mut Target, found: &mut Found) {
        match t {
            Target::Place(p) => self.zonk_place(p, found),
            Target::Tuple(items) => items.iter_mut().for_each(|t| self.zonk_target(t, found)),
            Target::Ignore => {}
        }
    }

    fn zonk_place(&self, p: &mut Place, found: &mut Found) {
        found.locals.push(p.root);
        p.ty = self.zonk_final(&p.ty, p.span, found);
        for step in &mut p.path {
            match step {
                Projection::Field(_) | Projection::TupleField(_) => {}
                Projection::Index(subs) => self.zonk_subscripts(subs, found),
            }
        }
    }

    fn zonk_subscripts(&self, subs: &mut [Subscript], found: &mut Found) {
        for s in subs {
            match s {
                Subscript::Index { index, proved } => {
                    *proved |= self.body.ranges.proved(index.span);
                    self.zonk_expr(index, found);
                }
                Subscript::Slice { from, to, len, .. } => {
                    self.zonk_sizes(from, found);
                    self.zonk_sizes(to, found);
                    self.zonk_sizes(len, found);
                }
                Subscript::Gather { ids, .. } => self.zonk_expr(ids, found),
                Subscript::Mask { mask } => self.zonk_expr(mask, found),
                Subscript::Full | Subscript::New | Subscript::Rest | Subscript::Apart => {}
            }
        }
    }

    fn zonk_arg(&self, a: &mut Arg, found: &mut Found) {
        match a {
            Arg::Value(e) => self.zonk_expr(e, found),
            Arg::Place(p) => self.zonk_place(p, found),
            Arg::Default => {}
        }
    }

    fn zonk_expr(&self, e: &mut Expr, found: &mut Found) {
        e.ty = self.zonk_final(&e.ty, e.span, found);
        let span = e.span;
        match &mut e.kind {
            ExprKind::Int(v) => {
                if let Ty::Tensor(Elem::Dtype(d), _) = &e.ty
                    && !holds(*d, *v)
                {
                    found.too_large.push((span, *v, *d));
                }
            }
            ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Const(_)
            | ExprKind::BuiltinFn(_)
            | ExprKind::FnParam(_)
            | ExprKind::Lambda(_)
            | ExprKind::Break
            | ExprKind::Continue => {}
            ExprKind::Text(pieces) => self.zonk_text(pieces, found),
            ExprKind::Local(id) => found.locals.push(*id),
            ExprKind::Size(s) => self.zonk_sizes(s, found),
            ExprKind::Fn { generics, .. } => self.zonk_args(generics, span, found),
            ExprKind::Bound { generics, receiver, method } => {
                self.zonk_args(generics, span, found);
                self.zonk_expr(receiver, found);
                method.receiver = self.zonk_final(&method.receiver, span, found);
            }
            ExprKind::Tuple(items) | ExprKind::Array(items) => items.iter_mut().for_each(|e| self.zonk_expr(e, found)),
            ExprKind::Struct { generics, fields, .. } => {
                self.zonk_args(generics, span, found);
                fields.iter_mut().for_each(|e| self.zonk_expr(e, found));
            }
            ExprKind::StructStack { fields } => fields.iter_mut().for_each(|e| self.zonk_expr(e, found)),
            ExprKind::Field { base, .. } | ExprKind::TupleField { base, .. } => self.zonk_expr(base, found),
            ExprKind::Unary { operand, .. } | ExprKind::TreeUnary { operand, .. } => self.zonk_expr(operand, found),
            ExprKind::Binary { left, right, .. }
            | ExprKind::Compare { left, right, .. }
            | ExprKind::Logic { left, right, .. }
            | ExprKind::MatMul { left, right }
            | ExprKind::TreeBinary { left, right, .. } => {
                self.zonk_expr(left, found);
                self.zonk_expr(right, found);
            }
            ExprKind::Index { base, subscripts } => {
                self.zonk_expr(base, found);
                self.zonk_subscripts(subscripts, found);
            }
            ExprKind::Comprehension { binders, value } => {
                for b in binders {
                    self.zonk_sizes(&mut b.from, found);
                    self.zonk_sizes(&mut b.extent, found);
                }
                self.zonk_expr(value, found);
            }
            ExprKind::Call { callee, generics, args } => {
                if let Callee::Method(m) = callee {
                    m.receiver = self.zonk_final(&m.receiver, span, found);
                }
                if let Callee::Fn(func) = callee {
                    for (i, arg) in generics.iter_mut().enumerate() {
                        let mut own = Found::default();
                        self.zonk_args(std::slice::from_mut(arg), span, &mut own);
                        // the result's type may have been seen before
                        let here = found.open.as_ref().is_none_or(|(at, _)| *at == span);
                        if own.open.is_some() && here && found.parameter.is_none() {
                            found.parameter = self.program.fns[func.index()].generics.get(i).map(|g| (*g, *func));
                        }
                        found.open = found.open.take().or(own.open);
                        found.error |= own.error;
                        found.locals.extend(own.locals);
                    }
                } else {
                    self.zonk_args(generics, span, found);
                }
                args.iter_mut().for_each(|a| self.zonk_arg(a, found));
            }
            ExprKind::CallValue { callee, args } => {
                self.zonk_expr(callee, found);
                args.iter_mut().for_each(|a| self.zonk_arg(a, found));
            }
            ExprKind::Builtin { args, .. } => args.iter_mut().for_each(|e| self.zonk_expr(e, found)),
            ExprKind::Random { rng, args, .. } => {
                self.zonk_arg(rng, found);
                args.iter_mut().for_each(|e| self.zonk_expr(e, found));
            }
            ExprKind::Convert(inner) => self.zonk_expr(inner, found),
            ExprKind::As { value, checks } => {
                self.zonk_expr(value, found);
                for c in checks {
                    self.zonk_sizes(&mut c.actual, found);
                    self.zonk_sizes(&mut c.expected, found);
                }
            }
            ExprKind::CheckSizes { sizes, value } => {
                sizes.iter_mut().for_each(|s| self.zonk_sizes(s, found));
                self.zonk_expr(value, found);
            }
            ExprKind::If { cond, then, els } => {
                self.zonk_expr(cond, found);
                self.zonk_block(then, found);
                if let Some(b) = els {
                    self.zonk_block(b, found);
                }
            }
            ExprKind::Block(b) => self.zonk_block(b, found),
            ExprKind::Derivative(d) => self.zonk_expr(&mut d.func, found),
            ExprKind::Vmap(v) => self.zonk_expr(&mut v.func, found),
            ExprKind::Vjp { func, args, .. } => {
                self.zonk_expr(func, found);
                args.iter_mut().for_each(|e| self.zonk_expr(e, found));
            }
            ExprKind::Jvp { func, args, tangents, .. } => {
                self.zonk_expr(func, found);
                args.iter_mut().chain(tangents).for_each(|e| self.zonk_expr(e, found));
            }
            ExprKind::Pack { value, witnesses } => {
                self.zonk_expr(value, found);
                witnesses.iter_mut().for_each(|s| self.zonk_sizes(s, found));
            }
            ExprKind::Open { value, .. } => self.zonk_expr(value, found),
            ExprKind::Return(value) => {
                if let Some(v) = value {
                    self.zonk_expr(v, found);
                }
            }
            ExprKind::Error => found.error = true,
        }
    }
}

/// The least and the greatest integer of a dtype.
fn limits(d: Dtype) -> (i128, i128) {
    let bits = 8 * d.size() as u32;
    match d {
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        Dtype::U8 | Dtype::U32 | Dtype::U64 => (0, (1 << bits) - 1),
        Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64 | Dtype::Bool => (i128::MIN, i128::MAX),
    }
}

fn holds(d: Dtype, v: i128) -> bool {
    let (low, high) = limits(d);
    (low..=high).contains(&v)
}

/// Something in a type was not found out.
pub(super) fn stays_open(t: &Ty) -> bool {
    let shape = |s: &[Dim]| {
        s.iter().any(|d| match d {
            Dim::Size(e) => {
                let mut open = false;
                e.visit_vars(&mut |v| open |= matches!(v, SizeVar::Infer(_)));
                open
            }
            Dim::Spread(s) => matches!(s, Spread::Infer(_)),
        })
    };
    match t {
        Ty::Infer(_) => true,
        Ty::Tensor(e, s) => matches!(e, Elem::Infer(_)) || shape(s),
        Ty::Tuple(items) => items.iter().any(stays_open),
        Ty::Struct(_, args) => args.iter().any(|a| match a {
            GenericArg::Ty(t) => stays_open(t),
            GenericArg::Size(e) => shape(&[Dim::Size(e.clone())]),
            GenericArg::Shape(s) => shape(s),
            GenericArg::Dtype(e) => matches!(e, Elem::Infer(_)),
            GenericArg::Fn(f) => matches!(**f, FnArg::Infer(_)),
        }),
        Ty::Stack(s, t) => shape(s) || stays_open(t),
        Ty::Exists(_, t) => stays_open(t),
        Ty::Fn(f) => f.params.iter().any(|p| stays_open(&p.ty)) || stays_open(&f.result),
        Ty::Error | Ty::Never | Ty::Param(_) | Ty::Str | Ty::Rng => false,
    }
}

fn mentioned_lambdas(e: &Expr, out: &mut Vec<LambdaId>) {
    crate::visit::visit(e, &mut |e| {
        if let ExprKind::Lambda(id) = &e.kind {
            out.push(*id);
        }
    });
}
