//! Properties and benchmarks are functions in another spelling: `prop "…" (x: f32[n]) where … { … }` is a function with the size
//! parameter `n`, those clauses and a bool result, `bench "…" for n in [256, 512] { … }` a function of `n: i64` with whatever result.

use std::sync::Arc;

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, BinaryOp, ExprKind, Ident, IndexItem, ItemKind, TypeArg, TypeKind};

use super::{Checker, Module};
use crate::ids::*;
use crate::thir::{BenchDef, PropDef};
use crate::ty::Ty;

/// A function that an item stands for.
pub(super) struct Generated<'a> {
    module: ModuleId,
    title: Arc<str>,
    func: ast::Fn,
    item: &'a Arc<ast::Item>,
    kind: Kind<'a>,
    span: Span,
}

enum Kind<'a> {
    Prop,
    Bench(Option<&'a ast::Expr>),
}

/// The functions of all properties and benchmarks.
pub(super) fn generate<'a>(modules: &[Module<'a>]) -> Vec<Generated<'a>> {
    let mut out = Vec::new();
    for (i, m) in modules.iter().enumerate() {
        for item in &m.ast.items {
            let (title, func, kind, span) = match &item.kind {
                ItemKind::Prop(p) => (&p.name, property(p, m.ast), Kind::Prop, p.name_span),
                ItemKind::Bench(b) => {
                    (&b.name, benchmark(b), Kind::Bench(b.over.as_ref().map(|(_, e)| e)), b.name_span)
                }
                ItemKind::Import(_)
                | ItemKind::Const(_)
                | ItemKind::TypeAlias(_)
                | ItemKind::Struct(_)
                | ItemKind::Impl(_)
                | ItemKind::Interface(_)
                | ItemKind::Fn(_)
                | ItemKind::Test(_) => continue,
            };
            out.push(Generated { module: ModuleId(i as u32), title: Arc::clone(title), func, item, kind, span });
        }
    }
    out
}

fn scalar(name: &str, span: Span) -> ast::Type {
    let path = vec![Ident { name: name.into(), span }];
    ast::Type { kind: TypeKind::Path { path, args: Vec::new() }, span }
}

fn property(p: &ast::Prop, module: &ast::Module) -> ast::Fn {
    let mut sizes = Sizes { taken: names_of(module), found: Vec::new() };
    sizes.taken.extend(p.params.iter().map(|q| Arc::clone(&q.name.name)));
    p.params.iter().filter_map(|q| q.ty.as_ref()).for_each(|t| sizes.ty(t));
    let mut block = p.body.clone();
    // a body of assertions alone
    if block.result.is_none() {
        block.result = Some(Box::new(ast::Expr { kind: ExprKind::Bool(true), span: p.body.span }));
    }
    ast::Fn {
        io: true,
        name: Ident { name: format!("prop {}", p.name).into(), span: p.name_span },
        generics: sizes.found,
        params: p.params.clone(),
        result: Some(scalar("bool", p.name_span)),
        facts: p.facts.clone(),
        body: Some(ast::Expr { kind: ExprKind::Block(block), span: p.body.span }),
    }
}

fn benchmark(b: &ast::Bench) -> ast::Fn {
    let param = b.over.as_ref().map(|(name, _)| ast::Param {
        mutable: false,
        name: name.clone(),
        ty: Some(scalar("i64", name.span)),
        default: None,
        span: name.span,
    });
    ast::Fn {
        io: true,
        name: Ident { name: format!("bench {}", b.name).into(), span: b.name_span },
        generics: Vec::new(),
        params: param.into_iter().collect(),
        result: None,
        facts: Vec::new(),
        body: Some(ast::Expr { kind: ExprKind::Block(b.body.clone()), span: b.body.span }),
    }
}

/// What a module's items and imports are called.
fn names_of(module: &ast::Module) -> Vec<Arc<str>> {
    let mut out = Vec::new();
    for item in &module.items {
        match &item.kind {
            ItemKind::Import(i) => match (&i.names, &i.alias, i.path.last()) {
                (Some(names), ..) => {
                    out.extend(names.iter().map(|n| Arc::clone(&n.alias.as_ref().unwrap_or(&n.name).name)));
                }
                (None, Some(name), _) | (None, None, Some(name)) => out.push(Arc::clone(&name.name)),
                (None, None, None) => {}
            },
            ItemKind::Const(c) => out.push(Arc::clone(&c.name.name)),
            ItemKind::TypeAlias(t) => out.push(Arc::clone(&t.name.name)),
            ItemKind::Struct(s) => out.push(Arc::clone(&s.name.name)),
            ItemKind::Interface(s) => out.push(Arc::clone(&s.name.name)),
            ItemKind::Fn(f) => out.push(Arc::clone(&f.name.name)),
            ItemKind::Impl(_) | ItemKind::Test(_) | ItemKind::Prop(_) | ItemKind::Bench(_) => {}
        }
    }
    out
}

/// The size names of parameter types: what stands in brackets and means nothing else.
struct Sizes {
    taken: Vec<Arc<str>>,
    found: Vec<ast::Generic>,
}

impl Sizes {
    fn add(&mut self, name: &Ident, variadic: bool) {
        let builtin = tdl_ir::Dtype::from_name(&name.name).is_some() || matches!(&*name.name, "str" | "Rng" | "Self");
        let known = self.taken.contains(&name.name) || self.found.iter().any(|g| g.name.name == name.name);
        if !builtin && !known {
            let generic = ast::Generic { variadic, name: name.clone(), kind: None, default: None, span: name.span };
            self.found.push(generic);
        }
    }

    fn ty(&mut self, t: &ast::Type) {
        match &t.kind {
            TypeKind::Path { args, .. } => args.iter().flatten().for_each(|a| self.arg(a)),
            TypeKind::Tuple(items) => items.iter().for_each(|t| self.ty(t)),
            TypeKind::Fn(f) => {
                f.params.iter().for_each(|p| self.ty(&p.ty));
                self.ty(&f.result);
            }
            TypeKind::Some { vars, body } => {
                let before = self.taken.len();
                self.taken.extend(vars.iter().map(|v| Arc::clone(&v.name)));
                self.ty(body);
                self.taken.truncate(before);
            }
            TypeKind::Infer => {}
        }
    }

    fn arg(&mut self, a: &TypeArg) {
        match a {
            TypeArg::Expr(e) => self.expr(e),
            TypeArg::Type(t) => self.ty(t),
            TypeArg::Spread(name, _) => self.add(name, true),
            TypeArg::Named(_, inner) => self.arg(inner),
        }
    }

    fn expr(&mut self, e: &ast::Expr) {
        match &e.kind {
            ExprKind::Name(name) => self.add(name, false),
            ExprKind::Binary {
                op:
                    BinaryOp::Add
                    | BinaryOp::Sub
                    | BinaryOp::Mul
                    | BinaryOp::Div
                    | BinaryOp::FloorDiv
                    | BinaryOp::Rem
                    | BinaryOp::Pow
                    | BinaryOp::MatMul,
                left,
                right,
                ..
            } => {
                self.expr(left);
                self.expr(right);
            }
            ExprKind::Unary { operand, .. } => self.expr(operand),
            ExprKind::Tuple(items) => items.iter().for_each(|e| self.expr(e)),
            ExprKind::Index { items, .. } => {
                for item in items {
                    match item {
                        IndexItem::Expr(e) => self.expr(e),
                        IndexItem::Spread(name, _) => self.add(name, true),
                        // `d: 64`
                        IndexItem::Slice { to, .. } => to.iter().for_each(|e| self.expr(e)),
                        IndexItem::Ellipsis(_) | IndexItem::New(_) => {}
                    }
                }
            }
            ExprKind::Type(t) => self.ty(t),
            // no part of a size: the checker says so
            _ => {}
        }
    }
}

impl<'a> Checker<'a> {
    /// Enters the functions of properties and benchmarks, after everything that they may name.
    pub(super) fn enter_generated(&mut self, all: &'a [Generated<'a>]) {
        for g in all {
            self.module = g.module;
            let name = g.func.name.name.as_ref().into();
            let func = self.new_fn(g.module, name, Some(&g.func), None, g.span, g.span);
            self.origins[func.index()] = Some((g.item, 0));
            self.fresh_body();
            self.signature(func, &g.func, &[]);
            match g.kind {
                Kind::Prop => {
                    self.no_functions(func);
                    let facts = self.sigs[func.index()].clauses.iter().map(|c| c.fact.clone()).collect();
                    self.program.props.push(PropDef { name: Arc::clone(&g.title), func, facts });
                }
                Kind::Bench(over) => {
                    let over = over.map(|e| self.bench_sizes(e)).unwrap_or_default();
                    self.program.benches.push(BenchDef { name: Arc::clone(&g.title), func, over });
                }
            }
        }
    }

    pub(super) fn is_bench(&self, id: FnId) -> bool {
        self.program.benches.iter().any(|b| b.func == id)
    }

    /// The values of a property's parameters are made up: that works for everything but functions.
    fn no_functions(&mut self, id: FnId) {
        for p in self.program.fns[id.index()].params.clone() {
            if matches!(p.ty, Ty::Fn(_)) {
                self.error(
                    Diagnostic::error(code::E0303, "a property cannot make up a function", p.span, "this parameter")
                        .help("call the function you mean in the property's body"),
                );
            }
        }
    }

    /// The numbers behind `in` of a benchmark.
    fn bench_sizes(&mut self, e: &'a ast::Expr) -> Vec<i64> {
        let mut number = |e: &'a ast::Expr| {
            let value = self.lower_size(e).and_then(|s| s.as_const());
            if value.is_none() {
                self.error(
                    Diagnostic::error(
                        code::E0303,
                        "a benchmark's sizes are known before it runs",
                        e.span,
                        "no constant",
                    )
                    .help("write a list of integers: `for n in [256, 512]`"),
                );
            }
            value
        };
        match &e.kind {
            ExprKind::Array(items) => items.iter().filter_map(number).collect(),
            ExprKind::Range { from, to } => match (number(from), number(to)) {
                (Some(a), Some(b)) => (a..b.min(a.saturating_add(1000))).collect(),
                (None, _) | (_, None) => Vec::new(),
            },
            _ => {
                self.error(
                    Diagnostic::error(code::E0303, "a benchmark goes over a list of integers", e.span, "no list")
                        .help("write `for n in [256, 512]`"),
                );
                Vec::new()
            }
        }
    }
}
