//! Types and sizes of the syntax tree become [`Ty`] and [`SizeExpr`].

use std::rc::Rc;

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind, Ident, IndexItem, TypeArg, TypeKind};

use super::{Checker, Def, Entry};
use crate::ids::*;
use crate::size::{SizeExpr, SizeVar};
use crate::subst::Bindings;
use crate::ty::{Dtype, DtypeBound, Elem, FnParam, FnTy, GenericArg, Kind, Ty};

/// What happens to parameters of structs that are left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Omitted {
    /// They take their defaults.
    Default,
    /// They are found by inference: before `.init(…)` or `{ … }`.
    Infer,
}

impl Checker<'_> {
    pub(super) fn lower(&mut self, t: &ast::Type) -> Ty {
        self.lower_with(t, Omitted::Default)
    }

    pub(super) fn lower_with(&mut self, t: &ast::Type, omitted: Omitted) -> Ty {
        match &t.kind {
            TypeKind::Path { path, args } => self.lower_path(path, args, t.span, omitted),
            TypeKind::Tuple(items) => Ty::tuple(items.iter().map(|t| self.lower(t)).collect()),
            TypeKind::Fn(f) => self.lower_fn(f),
            TypeKind::Some { vars, body } => {
                self.push_names();
                let mut bound = Vec::new();
                for v in vars {
                    self.program.bound_names.push(v.name.as_ref().into());
                    let var = SizeVar::Bound(self.program.bound_names.len() as u32 - 1);
                    bound.push(var);
                    self.bind_name(&v.name, Entry::Size(SizeExpr::var(var)));
                }
                let body = self.lower(body);
                self.pop_names();
                for (v, var) in vars.iter().zip(&bound) {
                    let mut used = super::errors::has_error(&body);
                    body.visit_sizes(&mut |w| used |= w == *var);
                    if !used {
                        let text = format!("the type after `some {}` does not mention it", v.name);
                        self.errors.push(Diagnostic::error(code::E0309, text, v.span, "a size of what?"));
                        return Ty::Error;
                    }
                }
                Ty::exists(bound, body)
            }
            TypeKind::Infer if self.body.open => self.body.store.new_ty(),
            TypeKind::Infer => {
                self.errors.push(
                    Diagnostic::error(code::E0309, "`_` is no type here", t.span, "left open").help(
                        "signatures, fields and constants say their types; inside of a function `_` is found out",
                    ),
                );
                Ty::Error
            }
        }
    }

    fn lower_fn(&mut self, f: &ast::FnType) -> Ty {
        self.push_names();
        let generics = self.declare_generics(&f.generics);
        let params = f
            .params
            .iter()
            .map(|p| FnParam {
                name: p.name.as_ref().map(|n| n.name.as_ref().into()),
                ty: self.lower(&p.ty),
                mutable: p.mutable,
            })
            .collect();
        let result = self.lower(&f.result);
        self.pop_names();
        Ty::Fn(Rc::new(FnTy { generics, params, result, io: false }))
    }

    fn lower_path(&mut self, path: &[Ident], args: &[Vec<TypeArg>], span: Span, omitted: Omitted) -> Ty {
        let Some(name) = path.last() else { return Ty::Error };
        if let [only] = path {
            match self.entry_of(&only.name) {
                Some(Entry::Generic(id)) if self.kindless.contains(&id) => return Ty::Error,
                Some(Entry::Generic(id)) => return self.lower_param(id, args, span),
                Some(Entry::Local(_) | Entry::Size(_)) => {
                    self.errors.push(Diagnostic::error(
                        code::E0309,
                        format!("`{}` is a value, not a type", only.name),
                        span,
                        "a type is needed here",
                    ));
                    return Ty::Error;
                }
                None => {}
            }
            if let Some(d) = Dtype::from_name(&only.name)
                && self.def_of(&only.name).is_none()
            {
                let dims = self.lower_dim_groups(args);
                return dims.map_or(Ty::Error, |dims| Ty::Tensor(Elem::Dtype(d), dims));
            }
            let plain = match &*only.name {
                "str" => Some(Ty::Str),
                "Rng" => Some(Ty::Rng),
                _ => None,
            };
            if let Some(t) = plain.filter(|_| self.def_of(&only.name).is_none()) {
                return self.lower_dim_groups(args).map_or(Ty::Error, |dims| Ty::stack(dims, t));
            }
        }
        let errors = self.errors.len();
        match self.resolve_path(path) {
            Some(Def::Struct(id)) => {
                let none = self.program.structs[id.index()].generics.is_empty();
                let (own, rest) = match args.split_first() {
                    Some((first, rest)) if !none || first.is_empty() => (first.as_slice(), rest),
                    Some(_) | None => (&[][..], args),
                };
                let Some(own) = self.struct_args(id, own, span, omitted) else { return Ty::Error };
                let Some(dims) = self.lower_dim_groups(rest) else { return Ty::Error };
                Ty::stack(dims, Ty::Struct(id, own))
            }
            Some(Def::Alias(i)) => self.lower_alias(i, args, span),
            Some(Def::Interface(_)) => {
                self.errors.push(
                    Diagnostic::error(
                        code::E0309,
                        format!("`{}` is an interface, not a type", name.name),
                        span,
                        "a type is needed here",
                    )
                    .help(format!("take a type parameter that has it: `fn f[T: {}](x: T)`", name.name)),
                );
                Ty::Error
            }
            Some(Def::Fn(_) | Def::Const(_) | Def::Module(_)) => {
                self.errors.push(Diagnostic::error(
                    code::E0309,
                    format!("`{}` is not a type", name.name),
                    span,
                    "a type is needed here",
                ));
                Ty::Error
            }
            None => {
                let common = super::hints::type_name(&name.name);
                match common {
                    Some(c) => self.errors.push(
                        Diagnostic::error(
                            code::E0201,
                            format!("unknown type `{}`", name.name),
                            name.span,
                            "not a type",
                        )
                        .fix(format!("write `{c}`"), name.span, c),
                    ),
                    None if path.len() == 1 => self.unknown_name(name, "type"),
                    None if self.errors.len() > errors => {}
                    None if self.entry_of(&path[0].name).is_none() && self.def_of(&path[0].name).is_none() => {
                        self.unknown_name(&path[0], "module");
                    }
                    None => {
                        let text = format!("`{}` is not a module", path[0].name);
                        self.errors.push(Diagnostic::error(code::E0309, text, path[0].span, "a type is needed here"));
                    }
                }
                Ty::Error
            }
        }
    }

    /// A dotted path of items; reports what is missing after a module.
    pub(super) fn resolve_path(&mut self, path: &[Ident]) -> Option<Def> {
        let (first, rest) = path.split_first()?;
        let mut def = self.def_of(&first.name)?;
        for part in rest {
            let Def::Module(m) = def else { return None };
            def = self.member(m, part)?;
        }
        Some(def)
    }

    pub(super) fn member(&mut self, module: ModuleId, name: &Ident) -> Option<Def> {
        let found = self.scopes[module.index()].get(&*name.name).copied();
        if found.is_none() && !self.broken.contains(&(module, name.name.as_ref().into())) {
            let text = format!("module `{}` has no `{}`", self.asts[module.index()].name, name.name);
            let mut d = Diagnostic::error(code::E0204, text, name.span, "not found");
            let known: Vec<Rc<str>> = self.scopes[module.index()].keys().cloned().collect();
            if let Some(ours) = self.of_library(&name.name) {
                d = d.help(ours);
            } else if let Some(near) = super::names::nearest(&name.name, known.iter().map(|n| &**n)) {
                d = d.fix(format!("did you mean `{near}`?"), name.span, near);
            } else if let Some(help) = self.elsewhere(module, name) {
                d = d.help(help);
            }
            self.errors.push(d);
        }
        found
    }

    fn lower_param(&mut self, id: GenericId, args: &[Vec<TypeArg>], span: Span) -> Ty {
        let Some(dims) = self.lower_dim_groups(args) else { return Ty::Error };
        match self.program.generics[id.index()].kind {
            Kind::Dtype(_) => Ty::Tensor(Elem::Param(id), dims),
            Kind::Tree(_) | Kind::Interface(..) => Ty::stack(dims, Ty::Param(id)),
            Kind::Size | Kind::Shape | Kind::Fn(_) => {
                let name = self.program.generics[id.index()].name.clone();
                self.errors.push(
                    Diagnostic::error(
                        code::E0309,
                        format!("`{name}` is a size, not a type"),
                        span,
                        "a type is needed here",
                    )
                    .help(format!("for a dtype write `[{name}: float]`, for a struct `[{name}: tree]`")),
                );
                Ty::Error
            }
        }
    }

    fn lower_alias(&mut self, i: usize, args: &[Vec<TypeArg>], span: Span) -> Ty {
        let alias = &mut self.aliases[i];
        let (module, ast) = (alias.module, alias.ast);
        if std::mem::replace(&mut alias.active, true) {
            if !alias.cyclic {
                let text = format!("type `{}` refers to itself", ast.name.name);
                let mut d = Diagnostic::error(code::E0307, text, span, "part of the cycle");
                if !(ast.ty.span.start..ast.ty.span.end).contains(&span.start) {
                    d = d.label(ast.ty.span, "this comes back to it");
                }
                self.errors.push(d);
            }
            self.aliases.iter_mut().filter(|a| a.active).for_each(|a| a.cyclic = true);
            return Ty::Error;
        }
        let home = std::mem::replace(&mut self.module, module);
        let names = std::mem::take(&mut self.body.names);
        self.push_names();
        let generics = self.declare_generics(&ast.generics);
        let body = self.lower(&ast.ty);
        self.body.names = names;
        self.module = home;
        self.aliases[i].active = false;
        let (own, rest) = match args.split_first() {
            Some((first, rest)) if !generics.is_empty() => (first.as_slice(), rest),
            Some(_) | None => (&[][..], args),
        };
        let defaults = vec![None; generics.len()];
        let what = ast.name.name.clone();
        // outside of bodies nothing could be found out
        let omitted = if self.body.open { Omitted::Infer } else { Omitted::Default };
        let Some(own) = self.generic_args(&generics, &defaults, own, &what, span, omitted) else {
            return Ty::Error;
        };
        let body = body.subst(&Bindings::new(&generics, &own));
        self.lower_dim_groups(rest).map_or(Ty::Error, |dims| Ty::stack(dims, body))
    }

    fn struct_args(&mut self, id: StructId, args: &[TypeArg], span: Span, omitted: Omitted) -> Option<Vec<GenericArg>> {
        let generics = self.program.structs[id.index()].generics.clone();
        let defaults = self.struct_infos[id.index()].defaults.clone();
        let name: Rc<str> = self.program.structs[id.index()].name.clone();
        let out = self.generic_args(&generics, &defaults, args, &name, span, omitted)?;
        let clauses = self.struct_infos[id.index()].clauses.clone();
        if omitted == Omitted::Default && !clauses.is_empty() {
            self.prove_clauses(&clauses, &Bindings::new(&generics, &out), &name, span);
        }
        Some(out)
    }

    /// Arguments in brackets for parameters, positional and then named.
    pub(super) fn generic_args(
        &mut self,
        generics: &[GenericId],
        defaults: &[Option<GenericArg>],
        args: &[TypeArg],
        name: &str,
        span: Span,
        omitted: Omitted,
    ) -> Option<Vec<GenericArg>> {
        let mut given: Vec<Option<GenericArg>> = vec![None; generics.len()];
        let mut places = vec![span; generics.len()];
        let mut next = 0;
        for arg in args {
            let (slot, arg) = match arg {
                TypeArg::Named(label, inner) => {
                    let at = generics.iter().position(|g| *self.program.generics[g.index()].name == *label.name);
                    let Some(at) = at else {
                        let names = generics.iter().map(|g| self.program.generics[g.index()].name.to_string());
                        let names: Vec<String> = names.collect();
                        self.errors.push(
                            Diagnostic::error(
                                code::E0303,
                                format!("`{name}` has no parameter `{}`", label.name),
                                label.span,
                                "unknown label",
                            )
                            .help(format!("its parameters are: {}", names.join(", "))),
                        );
                        return None;
                    };
                    (at, &**inner)
                }
                TypeArg::Expr(_) | TypeArg::Type(_) | TypeArg::Spread(..) => (next, arg),
            };
            next = slot + 1;
            if slot >= generics.len() {
                let text = format!("`{name}` takes {}, got {}", count(generics.len(), "parameter"), args.len());
                self.errors.push(Diagnostic::error(code::E0303, text, span, "too many in brackets"));
                return None;
            }
            let kind = self.program.generics[generics[slot].index()].kind.clone();
            given[slot] = Some(self.lower_arg(arg, &kind)?);
            places[slot] = arg_span(arg);
        }
        let mut out: Vec<GenericArg> = Vec::new();
        let mut open = Vec::new();
        for (i, slot) in given.into_iter().enumerate() {
            let id = generics[i];
            let default = defaults.get(i).cloned().flatten();
            let value = match (slot, default) {
                (Some(v), _) => v,
                (None, Some(d)) if omitted == Omitted::Default => d.subst(&Bindings::new(&generics[..i], &out)),
                (None, default) if omitted == Omitted::Infer => {
                    let unknown = self.body.store.new_arg(&self.program.generics[id.index()].kind.clone());
                    if let Some(d) = default {
                        open.push((unknown.clone(), d));
                    }
                    unknown
                }
                (None, _) => {
                    let missing = self.program.generics[id.index()].name.clone();
                    self.errors.push(
                        Diagnostic::error(
                            code::E0303,
                            format!("`{name}` needs its parameter `{missing}` here"),
                            span,
                            "incomplete type",
                        )
                        .help(format!("write `{name}[{}]`", self.generic_names(generics))),
                    );
                    return None;
                }
            };
            out.push(value);
        }
        let bindings = Bindings::new(generics, &out);
        for ((g, arg), at) in generics.iter().zip(&out).zip(places) {
            if let (Kind::Fn(sig), GenericArg::Fn(f)) = (self.program.generics[g.index()].kind.clone(), arg) {
                self.fn_arg_fits(f, &sig.subst(&bindings), at);
            }
        }
        for (unknown, d) in open {
            self.body.store.defaults.push((unknown, d.subst(&bindings)));
        }
        Some(out)
    }

    fn generic_names(&self, generics: &[GenericId]) -> String {
        let names: Vec<&str> = generics.iter().map(|g| &*self.program.generics[g.index()].name).collect();
        names.join(", ")
    }

    fn lower_arg(&mut self, arg: &TypeArg, kind: &Kind) -> Option<GenericArg> {
        match kind {
            Kind::Size => match arg {
                TypeArg::Expr(e) => self.lower_size(e).map(GenericArg::Size),
                TypeArg::Type(t) => {
                    self.not_a_size(t.span);
                    None
                }
                TypeArg::Spread(_, span) => {
                    self.not_a_size(*span);
                    None
                }
                TypeArg::Named(_, inner) => self.lower_arg(inner, kind),
            },
            Kind::Shape => self.lower_dims(std::slice::from_ref(arg)).map(GenericArg::Shape),
            Kind::Dtype(bound) => {
                let t = self.lower_type_arg(arg)?;
                match t {
                    Ty::Tensor(e, dims) if dims.is_empty() => {
                        if !self.elem_within(e, *bound) && !matches!(e, Elem::Infer(_)) {
                            let text = format!("{} is no {}", self.show().elem(e), bound.name());
                            self.errors.push(Diagnostic::error(code::E0302, text, arg_span(arg), "not allowed here"));
                            return None;
                        }
                        Some(GenericArg::Dtype(e))
                    }
                    Ty::Error => None,
                    other => {
                        let text = format!("a dtype is needed here, got {}", self.show().ty(&other));
                        self.errors.push(Diagnostic::error(code::E0309, text, arg_span(arg), "not a dtype"));
                        None
                    }
                }
            }
            Kind::Tree(_) | Kind::Interface(..) => self.lower_type_arg(arg).map(GenericArg::Ty),
            Kind::Fn(_) => match arg {
                TypeArg::Expr(e) => self.lower_fn_arg(e).map(GenericArg::Fn),
                TypeArg::Named(_, inner) => self.lower_arg(inner, kind),
                TypeArg::Type(_) | TypeArg::Spread(..) => {
                    self.no_function(arg_span(arg));
                    None
                }
            },
        }
    }

    fn lower_type_arg(&mut self, arg: &TypeArg) -> Option<Ty> {
        let t = match arg {
            TypeArg::Expr(e) => match expr_to_type(e) {
                Some(t) => self.lower(&t),
                None => {
                    self.errors.push(Diagnostic::error(code::E0309, "a type is needed here", e.span, "not a type"));
                    Ty::Error
                }
            },
            TypeArg::Type(t) => self.lower(t),
            TypeArg::Named(_, inner) => return self.lower_type_arg(inner),
            TypeArg::Spread(_, span) => {
                self.errors.push(Diagnostic::error(code::E0309, "a type is needed here", *span, "a shape"));
                Ty::Error
            }
        };
        (!t.is_error()).then_some(t)
    }

    /// Enters parameters in brackets into the innermost scope.
    pub(super) fn declare_generics(&mut self, generics: &[ast::Generic]) -> Vec<GenericId> {
        let mut ids = Vec::new();
        for g in generics {
            let id = GenericId(self.program.generics.len() as u32);
            let kind = if g.variadic { Kind::Shape } else { Kind::Size };
            self.program.generics.push(crate::thir::GenericDef {
                name: g.name.name.as_ref().into(),
                kind,
                span: g.span,
            });
            self.bind_name(&g.name.name, Entry::Generic(id));
            ids.push(id);
        }
        // dtypes first: `M: tree[F], F: float`
        for trees in [false, true] {
            for (g, id) in generics.iter().zip(&ids) {
                let Some(kind) = &g.kind else { continue };
                let dtype = dtype_bound(kind);
                if let Some(bound) = dtype.filter(|_| !trees) {
                    self.program.generics[id.index()].kind = Kind::Dtype(bound);
                } else if dtype.is_none() && trees {
                    let errors = self.errors.len();
                    let kind = self.lower_kind(kind);
                    if self.errors.len() > errors {
                        self.kindless.insert(*id);
                    }
                    self.program.generics[id.index()].kind = kind;
                }
            }
        }
        ids
    }

    fn lower_kind(&mut self, kind: &ast::Type) -> Kind {
        match &kind.kind {
            TypeKind::Path { path, args } => {
                let flat: Vec<&TypeArg> = args.iter().flatten().collect();
                if let [name] = path.as_slice()
                    && &*name.name == "tree"
                {
                    let elem = match flat.first() {
                        Some(arg) => match self.lower_arg(arg, &Kind::Dtype(DtypeBound::Any)) {
                            Some(GenericArg::Dtype(e)) => Some(e),
                            _ => None,
                        },
                        None => None,
                    };
                    return Kind::Tree(elem);
                }
                match self.resolve_path(path) {
                    Some(Def::Interface(id)) => {
                        let generics = self.program.interfaces[id.index()].generics.clone();
                        let mut given = Vec::new();
                        for (g, arg) in generics.iter().zip(&flat) {
                            let kind = self.program.generics[g.index()].kind.clone();
                            // an interface's bare parameter may be a type: `interface Optimizer[M]`
                            let Some(value) = self.lower_arg(arg, &kind) else { return Kind::Tree(None) };
                            given.push(value);
                        }
                        if given.len() != generics.len() || flat.len() != generics.len() {
                            let text = format!(
                                "interface `{}` takes {}, got {}",
                                self.program.interfaces[id.index()].name,
                                count(generics.len(), "parameter"),
                                flat.len()
                            );
                            self.errors.push(Diagnostic::error(code::E0303, text, kind.span, "here"));
                        }
                        Kind::Interface(id, given)
                    }
                    Some(_) | None => {
                        if let Some(name) = path.last() {
                            let mut d = Diagnostic::error(
                                code::E0201,
                                format!("unknown kind `{}`", name.name),
                                kind.span,
                                "neither a kind nor an interface",
                            );
                            let kinds = ["float", "int", "num", "dtype", "tree"];
                            let scope = &self.scopes[self.module.index()];
                            let interfaces = scope.iter().filter(|(_, d)| matches!(d, Def::Interface(_)));
                            let known = kinds.into_iter().chain(interfaces.map(|(n, _)| &**n));
                            d = match super::names::nearest(&name.name, known) {
                                Some(near) => d.help(format!("did you mean `{near}`?")),
                                None => d.help("kinds are: float, int, num, dtype, tree, and interfaces"),
                            };
                            self.errors.push(d);
                        }
                        Kind::Tree(None)
                    }
                }
            }
            TypeKind::Fn(f) => match self.lower_fn(f) {
                Ty::Fn(f) => Kind::Fn(f),
                _ => Kind::Tree(None),
            },
            TypeKind::Tuple(_) | TypeKind::Some { .. } | TypeKind::Infer => {
                self.errors.push(Diagnostic::error(code::E0309, "a kind is needed here", kind.span, "not a kind"));
                Kind::Tree(None)
            }
        }
    }
}

fn dtype_bound(kind: &ast::Type) -> Option<DtypeBound> {
    let TypeKind::Path { path, args } = &kind.kind else { return None };
    let ([name], true) = (path.as_slice(), args.is_empty()) else { return None };
    Some(match &*name.name {
        "float" => DtypeBound::Float,
        "int" => DtypeBound::Int,
        "num" => DtypeBound::Num,
        "dtype" => DtypeBound::Any,
        _ => return None,
    })
}

pub(super) fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// As [`count`], for a word with a plural of its own.
pub(super) fn count_of(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

pub(super) fn arg_span(arg: &TypeArg) -> Span {
    match arg {
        TypeArg::Expr(e) => e.span,
        TypeArg::Type(t) => t.span,
        TypeArg::Spread(_, span) => *span,
        TypeArg::Named(name, inner) => name.span.to(arg_span(inner)),
    }
}

/// Reads an expression as a type, if it has the form of one.
pub(super) fn expr_to_type(e: &ast::Expr) -> Option<ast::Type> {
    let path = |path: Vec<Ident>, args| TypeKind::Path { path, args };
    let kind = match &e.kind {
        ExprKind::Type(t) => return Some(t.clone()),
        ExprKind::Name(name) => path(vec![name.clone()], Vec::new()),
        ExprKind::Field { base, name } => {
            let TypeKind::Path { path: mut names, args } = expr_to_type(base)?.kind else { return None };
            if !args.is_empty() {
                return None;
            }
            names.push(name.clone());
            path(names, args)
        }
        ExprKind::Index { base, items, .. } => {
            let TypeKind::Path { path: names, mut args } = expr_to_type(base)?.kind else { return None };
            let group = items.iter().map(|item| match item {
                IndexItem::Expr(e) => Some(TypeArg::Expr(e.clone())),
                IndexItem::Spread(name, span) => Some(TypeArg::Spread(name.clone(), *span)),
                // `d: 64` names a parameter
                IndexItem::Slice {
                    from: Some(ast::Expr { kind: ExprKind::Name(name), .. }),
                    to: Some(to),
                    step: None,
                    ..
                } => Some(TypeArg::Named(name.clone(), Box::new(TypeArg::Expr(to.clone())))),
                IndexItem::Slice { .. } | IndexItem::Ellipsis(_) | IndexItem::New(_) => None,
            });
            args.push(group.collect::<Option<Vec<_>>>()?);
            path(names, args)
        }
        ExprKind::Tuple(items) => TypeKind::Tuple(items.iter().map(expr_to_type).collect::<Option<Vec<_>>>()?),
        _ => return None,
    };
    Some(ast::Type { kind, span: e.span })
}
