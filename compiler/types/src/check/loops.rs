//! Loops: over ranges, tensors, stacks, and structs with `len` and `at`.

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A, PatternKind};

use super::errors::mk;
use super::{Checker, Node};
use crate::ids::*;
use crate::size::{SizeExpr, SizeVar};
use crate::thir::{Block, Callee, ExprKind, Pattern, Stmt, StmtKind, Subscript};
use crate::ty::{Dim, Ty};

impl Checker<'_> {
    pub(super) fn remat(&mut self, annotations: &[ast::Annotation]) -> Option<u64> {
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

    pub(super) fn for_stmt(
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
                self.body.calls.extend([(Node::Fn(len_fn), iter.span), (Node::Fn(at_fn), iter.span)]);
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
        for i in first..self.body.locals.len() {
            // the round owns its generator, so it draws from it
            self.body.locals[i].mutable |= self.body.locals[i].ty == Ty::Rng;
            self.body.loop_vars.push(LocalId(i as u32));
        }
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

    pub(super) fn loop_body(&mut self, b: &ast::Block) -> Block {
        let outer = std::mem::replace(&mut self.body.in_loop, true);
        let block = self.repeated(|cx| cx.unit_block(b));
        self.body.in_loop = outer;
        block
    }
}
