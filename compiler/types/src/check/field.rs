//! Fields of structs, stacks and tuples.

use std::rc::Rc;

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A};

use super::errors::{error_expr, mk};
use super::lower::Omitted;
use super::{Checker, Def, Node};
use crate::ids::*;
use crate::subst::Bindings;
use crate::thir::{Builtin, Expr, ExprKind, FieldDef};
use crate::ty::{Dim, GenericArg, Ty};

/// What stands before a dot.
pub(super) enum Base {
    Module(ModuleId),
    /// `Mlp`, `Mlp[128]`: the struct with its (perhaps unknown) arguments.
    Struct(StructId, Vec<GenericArg>),
    /// The namespace of tree functions.
    Tree,
    Value,
    /// Reported.
    Error,
}

impl Checker<'_> {
    /// Decides what stands before a dot, without checking it as a value.
    pub(super) fn base_of(&mut self, e: &ast::Expr) -> Base {
        let Some(root) = root_name(e) else { return Base::Value };
        if self.entry_of(&root.name).is_some() {
            return Base::Value;
        }
        match (&e.kind, self.def_of(&root.name)) {
            (A::Name(_), Some(Def::Module(m))) => Base::Module(m),
            (A::Name(n), None) if &*n.name == "tree" => Base::Tree,
            (A::Field { name, .. }, Some(Def::Module(m))) => match self.member(m, name) {
                Some(Def::Module(inner)) => Base::Module(inner),
                Some(Def::Struct(_)) => self.struct_base(e),
                Some(Def::Fn(_) | Def::Const(_)) => Base::Value,
                Some(Def::Alias(_) | Def::Interface(_)) | None => Base::Error,
            },
            (A::Name(_) | A::Index { .. }, Some(Def::Struct(_) | Def::Alias(_))) => self.struct_base(e),
            (A::Index { base, .. }, Some(Def::Module(_))) if matches!(base.kind, A::Field { .. }) => {
                match self.base_of(base) {
                    Base::Struct(..) => self.struct_base(e),
                    other => other,
                }
            }
            _ => Base::Value,
        }
    }

    fn struct_base(&mut self, e: &ast::Expr) -> Base {
        let Some(t) = super::lower::expr_to_type(e) else { return Base::Value };
        match self.lower_with(&t, Omitted::Infer) {
            Ty::Struct(id, args) => Base::Struct(id, args),
            Ty::Error => Base::Error,
            other => {
                let text = format!("{} has no functions of its own", self.show_ty(&other));
                self.error(Diagnostic::error(code::E0203, text, e.span, "not a struct"));
                Base::Error
            }
        }
    }

    pub(super) fn field(&mut self, base: &ast::Expr, name: &ast::Ident, span: Span) -> Expr {
        match self.base_of(base) {
            Base::Module(m) => match self.member(m, name) {
                Some(def) => self.def_value(def, &name.name, span),
                None => error_expr(span),
            },
            Base::Struct(id, args) => match self.method_of(id, &name.name) {
                Some(func) => {
                    let inst = self.instantiate(func, Some(&args));
                    self.body.calls.push((Node::Fn(func), span));
                    let io = self.program.fns[func.index()].io;
                    let ty = crate::ty::FnTy { generics: Vec::new(), params: inst.params, result: inst.result, io };
                    mk(ExprKind::Fn { func, generics: inst.args }, Ty::Fn(ty.into()), span)
                }
                None => {
                    self.unknown_method(id, name);
                    error_expr(span)
                }
            },
            Base::Tree => {
                let full = format!("tree.{}", name.name);
                if let Some(lambda) = super::builtin::as_lambda(&full, span) {
                    return self.lambda(&lambda, None);
                }
                self.error(
                    Diagnostic::error(
                        code::E0308,
                        format!("`{full}` is called, it is no value"),
                        span,
                        "without arguments",
                    )
                    .help(format!("write a lambda: `|t| {full}(…)`")),
                );
                error_expr(span)
            }
            Base::Error => error_expr(span),
            Base::Value => {
                let base = self.expr(base, None);
                self.field_of(base, name, span)
            }
        }
    }

    pub(super) fn method_of(&self, id: StructId, name: &str) -> Option<FnId> {
        self.program.structs[id.index()].methods.iter().find(|(n, _)| **n == *name).map(|(_, f)| *f)
    }

    /// Position and type of a struct's field.
    pub(super) fn field_type(&self, id: StructId, args: &[GenericArg], name: &str) -> Option<(usize, Ty)> {
        let def = &self.program.structs[id.index()];
        let at = def.fields.iter().position(|f| *f.name == *name)?;
        Some((at, def.fields[at].ty.subst(&Bindings::new(&def.generics, args))))
    }

    pub(super) fn field_of(&mut self, base: Expr, name: &ast::Ident, span: Span) -> Expr {
        let t = self.zonk(&base.ty);
        match &t {
            Ty::Error | Ty::Never => error_expr(span),
            Ty::Struct(id, args) => match self.field_type(*id, args, &name.name) {
                Some((index, ty)) => {
                    let e = mk(ExprKind::Field { base: Box::new(base), index }, ty, span);
                    self.open(e, &format!("`{}`", name.name))
                }
                None => {
                    if let Some(func) = self.method_of(*id, &name.name) {
                        let text = format!("`{}` is a method: call it", name.name);
                        let at = self.program.fns[func.index()].name_span;
                        self.error(
                            Diagnostic::error(code::E0203, text, name.span, "not a field")
                                .label(at, "the method")
                                .help(format!("write `.{}(…)`, or pass `|x| s.{}(x)`", name.name, name.name)),
                        );
                    } else {
                        let def = self.program.structs[id.index()].clone();
                        self.unknown_field(&def.fields, &def.name, name);
                    }
                    error_expr(span)
                }
            },
            Ty::Stack(dims, elem) => match &**elem {
                Ty::Struct(id, args) => match self.field_type(*id, args, &name.name) {
                    Some((index, ty)) => {
                        let ty = Ty::stack(dims.clone(), ty);
                        mk(ExprKind::Field { base: Box::new(base), index }, ty, span)
                    }
                    None => {
                        let def = self.program.structs[id.index()].clone();
                        self.unknown_field(&def.fields, &def.name, name);
                        error_expr(span)
                    }
                },
                _ => self.no_field(&t, name, span),
            },
            Ty::Tensor(e, dims) if &*name.name == "T" => {
                let n = dims.len();
                if n < 2 || matches!(dims[n - 1], Dim::Spread(_)) || matches!(dims[n - 2], Dim::Spread(_)) {
                    let text = format!("`.T` swaps the last two axes, {} has not two", self.show_ty(&t));
                    self.error(Diagnostic::error(code::E0406, text, span, format!("this is {}", self.show_ty(&t))));
                    return error_expr(span);
                }
                let mut dims = dims.clone();
                dims.swap(n - 1, n - 2);
                let ty = Ty::Tensor(*e, dims);
                mk(ExprKind::Builtin { op: Builtin::Transpose, args: vec![base] }, ty, span)
            }
            Ty::Tensor(..) | Ty::Tuple(_) | Ty::Param(_) | Ty::Fn(_) | Ty::Str | Ty::Rng | Ty::Exists(..) => {
                self.no_field(&t, name, span)
            }
            Ty::Infer(_) => {
                self.error(
                    Diagnostic::error(code::E0309, "the type of this value is not known yet", span, "a field of what?")
                        .help("annotate the lambda's parameter: `|m: Mlp[128]| …`"),
                );
                error_expr(span)
            }
        }
    }

    fn no_field(&mut self, t: &Ty, name: &ast::Ident, span: Span) -> Expr {
        let text = format!("{} has no field `{}`", self.show_ty(t), name.name);
        let mut d = Diagnostic::error(code::E0203, text, name.span, "no such field");
        let tensor = matches!(t, Ty::Tensor(..));
        let elsewhere = super::hints::tensor_field(&name.name).filter(|_| tensor);
        d = match t {
            _ if elsewhere.is_some() => d.help(elsewhere.unwrap_or_default()),
            Ty::Tensor(..) if super::builtin::names().any(|n| n == &*name.name) => {
                d.help(format!("it is a function: `{}(x)`", name.name))
            }
            Ty::Tuple(_) => d.help("fields of tuples are numbered: `t.0`"),
            _ => d,
        };
        self.error(d);
        error_expr(span)
    }

    pub(super) fn unknown_field(&mut self, fields: &[FieldDef], owner: &str, name: &ast::Ident) {
        let text = format!("`{owner}` has no field `{}`", name.name);
        let mut d = Diagnostic::error(code::E0203, text, name.span, "no such field");
        if let Some(near) = super::names::nearest(&name.name, fields.iter().map(|f| &*f.name)) {
            d = d.fix(format!("did you mean `{near}`?"), name.span, near);
        } else if !fields.is_empty() {
            let names: Vec<&str> = fields.iter().map(|f| &*f.name).collect();
            d = d.help(format!("its fields are {}", super::expr::quoted(&names)));
        }
        self.error(d);
    }

    pub(super) fn unknown_method(&mut self, id: StructId, name: &ast::Ident) {
        let def = &self.program.structs[id.index()];
        if self.broken.contains(&(def.module, Rc::clone(&def.name))) {
            return;
        }
        let text = format!("`{}` has no method `{}`", def.name, name.name);
        let mut d = Diagnostic::error(code::E0203, text, name.span, "no such method");
        let known = def.methods.iter().map(|(n, _)| &**n).chain(def.fields.iter().map(|f| &*f.name));
        if let Some(near) = super::names::nearest(&name.name, known) {
            d = d.fix(format!("did you mean `{near}`?"), name.span, near);
        } else if !def.methods.is_empty() {
            let names: Vec<&str> = def.methods.iter().map(|(n, _)| &**n).collect();
            d = d.help(format!("its methods are {}", super::expr::quoted(&names)));
        }
        self.error(d);
    }

    pub(super) fn tuple_field(&mut self, base: Expr, index: usize, index_span: Span, span: Span) -> Expr {
        let t = self.zonk(&base.ty);
        match &t {
            Ty::Error | Ty::Never => error_expr(span),
            Ty::Tuple(items) => match items.get(index) {
                Some(ty) => {
                    let ty = ty.clone();
                    mk(ExprKind::TupleField { base: Box::new(base), index }, ty, span)
                }
                None => {
                    let text = format!("a tuple of {} has no field {index}", items.len());
                    self.error(
                        Diagnostic::error(code::E0203, text, index_span, "counted from 0")
                            .label(base.span, self.show_ty(&t)),
                    );
                    error_expr(span)
                }
            },
            other => {
                let text = format!("{} is not a tuple", self.show_ty(other));
                self.error(Diagnostic::error(code::E0203, text, base.span, "has no numbered fields"));
                error_expr(span)
            }
        }
    }
}

fn root_name(e: &ast::Expr) -> Option<&ast::Ident> {
    match &e.kind {
        A::Name(n) => Some(n),
        A::Field { base, .. } => match &base.kind {
            A::Name(n) => Some(n),
            _ => None,
        },
        A::Index { base, .. } => root_name(base),
        _ => None,
    }
}
