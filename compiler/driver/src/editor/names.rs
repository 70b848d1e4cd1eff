//! What each name of a syntax tree means, by scopes alone: this works in text whose types are wrong or not known yet.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tdl_source::Span;
use tdl_syntax::ast::*;

use crate::session::Parsed;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// By the place of the name where it is defined: a variable, a size, an item, a method, a field.
    Place(Span),
    /// A module of the program, by index.
    Module(usize),
}

/// A variable or a size inside an item.
#[derive(Clone, Debug)]
pub struct Local {
    pub name: Arc<str>,
    pub span: Span,
    pub visible: Span,
    /// A function's parameter: labels of calls mention it too.
    pub param: bool,
}

/// A call as written.
#[derive(Clone, Debug)]
pub struct Call {
    pub span: Span,
    /// The last name of what is called.
    pub callee: Option<Span>,
    pub labels: Vec<Ident>,
}

/// `base.name` where only types say what `name` is.
#[derive(Clone, Debug)]
pub struct Member {
    pub expr: Span,
    pub name: Span,
}

/// Items with what belongs to them.
#[derive(Debug, Default)]
pub struct Names {
    pub uses: Vec<(Span, Target)>,
    pub locals: Vec<Local>,
    pub calls: Vec<Call>,
    pub members: Vec<Member>,
    /// Where the names of parameters in brackets stand.
    pub generics: HashSet<Span>,
    /// `let`s without a type: where the name stands.
    pub untyped: Vec<Span>,
    /// For each module what its items and imports are called.
    pub scopes: Vec<HashMap<Arc<str>, Target>>,
    /// Fields and methods by the place of the struct's name.
    pub parts: HashMap<Span, Vec<(Arc<str>, Span)>>,
}

pub fn names(modules: &[Parsed]) -> Names {
    let mut out = Names { scopes: vec![HashMap::new(); modules.len()], ..Names::default() };
    for (m, module) in modules.iter().enumerate() {
        for name in module.ast.items.iter().filter_map(|i| item_name(i)) {
            out.scopes[m].entry(Arc::clone(&name.name)).or_insert(Target::Place(name.span));
        }
    }
    let index = |path: &[Ident]| {
        let dotted = path.iter().map(|p| &*p.name).collect::<Vec<_>>().join(".");
        modules.iter().position(|m| m.name == dotted)
    };
    for (m, module) in modules.iter().enumerate() {
        for item in &module.ast.items {
            let ItemKind::Import(import) = &item.kind else { continue };
            out.import(m, import, &index);
        }
    }
    for (m, module) in modules.iter().enumerate() {
        for item in &module.ast.items {
            match &item.kind {
                ItemKind::Struct(s) => {
                    let fields = s.fields.iter().map(|f| (Arc::clone(&f.name.name), f.name.span));
                    out.parts.entry(s.name.span).or_default().extend(fields);
                }
                ItemKind::Impl(i) => {
                    let Some(Target::Place(owner)) = out.scopes[m].get(&i.name.name).copied() else { continue };
                    let methods = i.items.iter().filter_map(item_name).map(|n| (Arc::clone(&n.name), n.span));
                    out.parts.entry(owner).or_default().extend(methods);
                }
                _ => {}
            }
        }
    }
    let prelude = modules.iter().position(|m| m.name == "prelude");
    for (m, module) in modules.iter().enumerate() {
        let mut walk = Walk { out: &mut out, module: m, prelude, frames: Vec::new() };
        for item in &module.ast.items {
            walk.item(item);
        }
    }
    out
}

/// The name that an item defines.
pub fn item_name(item: &Item) -> Option<&Ident> {
    match &item.kind {
        ItemKind::Const(c) => Some(&c.name),
        ItemKind::TypeAlias(t) => Some(&t.name),
        ItemKind::Struct(s) => Some(&s.name),
        ItemKind::Interface(i) => Some(&i.name),
        ItemKind::Fn(f) => Some(&f.name),
        ItemKind::Import(_) | ItemKind::Impl(_) | ItemKind::Test(_) | ItemKind::Prop(_) | ItemKind::Bench(_) => None,
    }
}

impl Names {
    fn import(&mut self, m: usize, import: &Import, index: &dyn std::ops::Fn(&[Ident]) -> Option<usize>) {
        let Some((last, before)) = import.path.split_last() else { return };
        if let Some(target) = index(&import.path) {
            self.uses.push((last.span, Target::Module(target)));
            match &import.names {
                None => {
                    let own = import.alias.as_ref().unwrap_or(last);
                    self.scopes[m].entry(Arc::clone(&own.name)).or_insert(Target::Module(target));
                }
                Some(names) => {
                    for n in names {
                        self.import_item(m, target, &n.name, n.alias.as_ref());
                    }
                }
            }
        } else if let Some(target) = index(before) {
            self.import_item(m, target, last, import.alias.as_ref());
        }
    }

    fn import_item(&mut self, m: usize, from: usize, name: &Ident, alias: Option<&Ident>) {
        let Some(target) = self.scopes[from].get(&name.name).copied() else { return };
        self.uses.push((name.span, target));
        self.scopes[m].entry(Arc::clone(&alias.unwrap_or(name).name)).or_insert(target);
    }
}

struct Walk<'a> {
    out: &'a mut Names,
    module: usize,
    prelude: Option<usize>,
    frames: Vec<Vec<(Arc<str>, Span)>>,
}

impl Walk<'_> {
    fn define(&mut self, name: &Ident, visible: Span, param: bool) {
        let local = Local { name: Arc::clone(&name.name), span: name.span, visible, param };
        self.out.uses.push((name.span, Target::Place(name.span)));
        self.out.locals.push(local);
        if let Some(frame) = self.frames.last_mut() {
            frame.push((Arc::clone(&name.name), name.span));
        }
    }

    fn lookup(&self, name: &str) -> Option<Target> {
        let local = self.frames.iter().rev().flat_map(|f| f.iter().rev()).find(|(n, _)| **n == *name);
        if let Some((_, span)) = local {
            return Some(Target::Place(*span));
        }
        let in_module = |m: usize| self.out.scopes[m].get(name).copied();
        in_module(self.module).or_else(|| self.prelude.and_then(in_module))
    }

    fn name(&mut self, name: &Ident) -> Option<Target> {
        let target = self.lookup(&name.name)?;
        self.out.uses.push((name.span, target));
        Some(target)
    }

    /// `name` of a module or of a struct.
    fn part(&mut self, of: Target, name: &Ident) -> Option<Target> {
        let target = match of {
            Target::Module(m) => self.out.scopes[m].get(&name.name).copied(),
            Target::Place(owner) => {
                let parts = self.out.parts.get(&owner)?;
                parts.iter().find(|(n, _)| *n == name.name).map(|(_, s)| Target::Place(*s))
            }
        }?;
        self.out.uses.push((name.span, target));
        Some(target)
    }

    fn own(&mut self, name: &Ident) {
        self.out.uses.push((name.span, Target::Place(name.span)));
    }

    fn item(&mut self, item: &Item) {
        for a in &item.annotations {
            a.args.iter().for_each(|a| self.expr(&a.value));
        }
        if let Some(name) = item_name(item) {
            self.own(&name.clone());
        }
        self.frames.push(Vec::new());
        match &item.kind {
            ItemKind::Import(_) => {}
            ItemKind::Const(c) => {
                c.ty.iter().for_each(|t| self.ty(t));
                self.expr(&c.value);
            }
            ItemKind::TypeAlias(t) => {
                self.generics(&t.generics, item.span);
                self.ty(&t.ty);
            }
            ItemKind::Struct(s) => {
                self.generics(&s.generics, item.span);
                s.facts.iter().for_each(|e| self.expr(e));
                for f in &s.fields {
                    self.own(&f.name);
                    self.ty(&f.ty);
                }
            }
            ItemKind::Impl(i) => {
                self.name(&i.name);
                self.generics(&i.generics, item.span);
                i.facts.iter().for_each(|e| self.expr(e));
                i.items.iter().for_each(|m| self.item(m));
            }
            ItemKind::Interface(i) => {
                self.generics(&i.generics, item.span);
                i.items.iter().for_each(|m| self.item(m));
            }
            ItemKind::Fn(f) => {
                self.generics(&f.generics, item.span);
                self.params(&f.params, item.span, true);
                f.result.iter().for_each(|t| self.ty(t));
                f.facts.iter().for_each(|e| self.expr(e));
                f.body.iter().for_each(|e| self.expr(e));
            }
            ItemKind::Test(t) => self.block(&t.body),
            ItemKind::Prop(p) => {
                self.params(&p.params, item.span, false);
                self.block(&p.body);
            }
            ItemKind::Bench(b) => {
                if let Some((name, over)) = &b.over {
                    self.expr(over);
                    self.define(name, item.span, false);
                }
                self.block(&b.body);
            }
        }
        self.frames.pop();
    }

    fn generics(&mut self, generics: &[Generic], visible: Span) {
        for g in generics {
            self.define(&g.name, visible, false);
            self.out.generics.insert(g.name.span);
        }
        for g in generics {
            g.kind.iter().for_each(|t| self.ty(t));
            g.default.iter().for_each(|e| self.expr(e));
        }
    }

    fn params(&mut self, params: &[Param], visible: Span, param: bool) {
        for p in params {
            p.ty.iter().for_each(|t| self.ty(t));
            p.default.iter().for_each(|e| self.expr(e));
        }
        for p in params {
            self.define(&p.name, visible, param);
        }
    }

    fn ty(&mut self, t: &Type) {
        match &t.kind {
            TypeKind::Path { path, args } => {
                self.path(path);
                args.iter().flatten().for_each(|a| self.type_arg(a));
            }
            TypeKind::Tuple(items) => items.iter().for_each(|t| self.ty(t)),
            TypeKind::Fn(f) => {
                self.frames.push(Vec::new());
                self.generics(&f.generics, t.span);
                f.params.iter().for_each(|p| self.ty(&p.ty));
                self.ty(&f.result);
                self.frames.pop();
            }
            TypeKind::Some { vars, body } => {
                self.frames.push(Vec::new());
                vars.iter().for_each(|v| self.define(v, t.span, false));
                self.ty(body);
                self.frames.pop();
            }
            TypeKind::Infer => {}
        }
    }

    fn path(&mut self, path: &[Ident]) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let mut target = self.name(first);
        for part in rest {
            target = target.and_then(|t| self.part(t, part));
        }
        target
    }

    fn type_arg(&mut self, a: &TypeArg) {
        match a {
            TypeArg::Expr(e) => self.expr(e),
            TypeArg::Type(t) => self.ty(t),
            TypeArg::Spread(name, _) => {
                self.name(name);
            }
            TypeArg::Named(_, inner) => self.type_arg(inner),
        }
    }

    fn block(&mut self, b: &Block) {
        self.frames.push(Vec::new());
        for s in &b.stmts {
            self.stmt(s, b.span);
        }
        b.result.iter().for_each(|e| self.expr(e));
        self.frames.pop();
    }

    fn stmt(&mut self, s: &Stmt, block: Span) {
        match &s.kind {
            StmtKind::Let { sizes, pattern, ty, value, .. } => {
                self.expr(value);
                let visible = Span { start: s.span.end, ..block };
                sizes.iter().for_each(|n| self.define(n, visible, false));
                ty.iter().for_each(|t| self.ty(t));
                self.pattern(pattern, visible, ty.is_none());
            }
            StmtKind::Assign { target, value } | StmtKind::Update { target, value, .. } => {
                self.expr(value);
                self.expr(target);
            }
            StmtKind::For { annotations, pattern, iter, body } => {
                annotations.iter().flat_map(|a| &a.args).for_each(|a| self.expr(&a.value));
                self.expr(iter);
                self.frames.push(Vec::new());
                self.pattern(pattern, body.span, false);
                self.block(body);
                self.frames.pop();
            }
            StmtKind::While { annotations, cond, body } => {
                annotations.iter().flat_map(|a| &a.args).for_each(|a| self.expr(&a.value));
                self.expr(cond);
                self.block(body);
            }
            StmtKind::Assert { cond, message } => {
                self.expr(cond);
                message.iter().for_each(|e| self.expr(e));
            }
            StmtKind::Expr(e) => self.expr(e),
            StmtKind::Item(i) => self.item(i),
        }
    }

    fn pattern(&mut self, p: &Pattern, visible: Span, untyped: bool) {
        match &p.kind {
            PatternKind::Name { name, .. } => {
                self.define(name, visible, false);
                if untyped {
                    self.out.untyped.push(name.span);
                }
            }
            PatternKind::Tuple(items) => items.iter().for_each(|p| self.pattern(p, visible, untyped)),
            PatternKind::Ignore => {}
        }
    }

    /// The target of an expression that is a path, without recording anything.
    fn peek(&self, e: &Expr) -> Option<Target> {
        match &e.kind {
            ExprKind::Name(n) => self.lookup(&n.name),
            ExprKind::Index { base, .. } => self.peek(base),
            ExprKind::Field { base, name } => match self.peek(base)? {
                Target::Module(m) => self.out.scopes[m].get(&name.name).copied(),
                Target::Place(_) => None,
            },
            _ => None,
        }
    }

    fn expr(&mut self, e: &Expr) {
        match &e.kind {
            ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Break
            | ExprKind::Continue
            | ExprKind::Placeholder
            | ExprKind::Error => {}
            ExprKind::Str(pieces) => {
                for p in pieces {
                    if let StrPiece::Value { expr, .. } = p {
                        self.expr(expr);
                    }
                }
            }
            ExprKind::Name(n) => {
                self.name(n);
            }
            ExprKind::Array(items) | ExprKind::Tuple(items) => items.iter().for_each(|e| self.expr(e)),
            ExprKind::Comprehension { body, binders, .. } => {
                self.frames.push(Vec::new());
                for b in binders {
                    match &b.range {
                        BinderRange::Inferred => {}
                        BinderRange::Below(e) | BinderRange::In(e) => self.expr(e),
                    }
                    self.define(&b.name, e.span, false);
                }
                self.expr(body);
                self.frames.pop();
            }
            ExprKind::Struct { ty, fields } => {
                let target = match &ty.kind {
                    TypeKind::Path { path, args } => {
                        let target = self.path(path);
                        args.iter().flatten().for_each(|a| self.type_arg(a));
                        target
                    }
                    _ => None,
                };
                for (name, value) in fields {
                    if let Some(t) = target {
                        self.part(t, name);
                    }
                    self.expr(value);
                }
            }
            ExprKind::Unary { operand, .. } => self.expr(operand),
            ExprKind::Binary { left, right, .. }
            | ExprKind::Compare { left, right, .. }
            | ExprKind::And(left, right)
            | ExprKind::Or(left, right)
            | ExprKind::Pipe { value: left, target: right, .. }
            | ExprKind::Range { from: left, to: right } => {
                self.expr(left);
                self.expr(right);
            }
            ExprKind::As { value, ty } => {
                self.expr(value);
                self.ty(ty);
            }
            ExprKind::Call { callee, args, .. } => {
                self.expr(callee);
                args.iter().for_each(|a| self.expr(&a.value));
                let labels = args.iter().filter_map(|a| a.label.clone()).collect();
                self.out.calls.push(Call { span: e.span, callee: last_name(callee), labels });
            }
            ExprKind::Index { base, items, .. } => {
                self.expr(base);
                for item in items {
                    match item {
                        IndexItem::Expr(e) => self.expr(e),
                        IndexItem::Slice { from, to, step, .. } => {
                            [from, to, step].into_iter().flatten().for_each(|e| self.expr(e));
                        }
                        IndexItem::Spread(name, _) => {
                            self.name(name);
                        }
                        IndexItem::Ellipsis(_) | IndexItem::New(_) => {}
                    }
                }
            }
            ExprKind::Field { base, name } => {
                self.expr(base);
                let found = self.peek(base).and_then(|t| self.part(t, name));
                if found.is_none() {
                    self.out.members.push(Member { expr: e.span, name: name.span });
                }
            }
            ExprKind::TupleField { base, .. } => self.expr(base),
            ExprKind::Lambda { params, result, body } => {
                self.frames.push(Vec::new());
                self.params(params, e.span, false);
                result.iter().for_each(|t| self.ty(t));
                self.expr(body);
                self.frames.pop();
            }
            ExprKind::If { cond, then, els } => {
                self.expr(cond);
                self.block(then);
                els.iter().for_each(|e| self.expr(e));
            }
            ExprKind::Block(b) => self.block(b),
            ExprKind::Return(value) => value.iter().for_each(|e| self.expr(e)),
            ExprKind::Type(t) => self.ty(t),
        }
    }
}

fn last_name(e: &Expr) -> Option<Span> {
    match &e.kind {
        ExprKind::Name(n) => Some(n.span),
        ExprKind::Field { name, .. } => Some(name.span),
        ExprKind::Index { base, .. } => last_name(base),
        _ => None,
    }
}
