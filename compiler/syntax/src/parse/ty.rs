//! Types.

use tdl_source::{Diagnostic, code};

use super::{Cx, P, Rule, inner, next, take};
use crate::ast::*;

impl Cx<'_> {
    /// A pair of the rule `ty`, or of one of its alternatives.
    pub(super) fn ty(&self, pair: P<'_>) -> Type {
        let span = self.span(&pair);
        self.nested(span, || self.ty_inner(pair)).unwrap_or(Type { kind: TypeKind::Infer, span })
    }

    fn ty_inner(&self, pair: P<'_>) -> Type {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::ty => return self.ty(next(&mut inner(pair))),
            Rule::some_ty => {
                let mut parts = inner(pair);
                take(&mut parts, Rule::k_some);
                let mut vars = Vec::new();
                while let Some(v) = take(&mut parts, Rule::ident) {
                    vars.push(self.ident(&v));
                }
                TypeKind::Some { vars, body: Box::new(self.ty(next(&mut parts))) }
            }
            Rule::fn_ty => {
                let mut parts = inner(pair);
                take(&mut parts, Rule::k_fn);
                let generics = take(&mut parts, Rule::generics).map(|g| self.generics(g)).unwrap_or_default();
                let mut params = Vec::new();
                while let Some(p) = take(&mut parts, Rule::fn_ty_param) {
                    let mut inside = inner(p);
                    let name = take(&mut inside, Rule::word).map(|w| self.ident(&w));
                    let (mutable, ty) = self.param_ty(next(&mut inside));
                    params.push(FnTypeParam { mutable, name, ty });
                }
                TypeKind::Fn(Box::new(FnType { generics, params, result: self.ty(next(&mut parts)) }))
            }
            Rule::tuple_ty => {
                let trailing = pair.as_str().trim_end().trim_end_matches(')').trim_end().ends_with(',');
                let mut types: Vec<Type> = pair.into_inner().map(|t| self.ty(t)).collect();
                if types.len() == 1 && !trailing {
                    return Type { span, ..types.remove(0) };
                }
                TypeKind::Tuple(types)
            }
            Rule::path_ty => {
                let mut path = Vec::new();
                let mut args = Vec::new();
                for part in pair.into_inner() {
                    if part.as_rule() == Rule::path {
                        path = part.into_inner().map(|p| self.ident(&p)).collect();
                    } else {
                        args.push(part.into_inner().map(|a| self.ty_arg(a)).collect());
                    }
                }
                if path.len() == 1 && &*path[0].name == "_" && args.is_empty() {
                    TypeKind::Infer
                } else {
                    TypeKind::Path { path, args }
                }
            }
            other => unreachable!("{other:?} is no type"),
        };
        Type { kind, span }
    }

    fn ty_arg(&self, pair: P<'_>) -> TypeArg {
        let arg = next(&mut inner(pair));
        match arg.as_rule() {
            Rule::spread => {
                let span = self.span(&arg);
                TypeArg::Spread(self.ident(&next(&mut inner(arg))), span)
            }
            Rule::named_ty_arg => {
                let mut parts = inner(arg);
                let name = self.ident(&next(&mut parts));
                TypeArg::Named(name, Box::new(self.ty_arg(next(&mut parts))))
            }
            _ => expr_arg(self.expr(arg)),
        }
    }

    /// Reads an expression as the type of a struct literal: `S`, `m.S`, `S[d][L]`.
    pub(super) fn expr_as_type(&self, e: Expr) -> Type {
        let span = e.span;
        match as_path(e) {
            Some((path, args)) => Type { kind: TypeKind::Path { path, args }, span },
            None => {
                self.error(
                    Diagnostic::error(code::E0103, "fields stand after the name of a struct", span, "this is no type")
                        .help("a block cannot follow an expression on its line"),
                );
                Type { kind: TypeKind::Infer, span }
            }
        }
    }
}

fn expr_arg(e: Expr) -> TypeArg {
    match e.kind {
        ExprKind::Type(t) => TypeArg::Type(t),
        _ => TypeArg::Expr(e),
    }
}

fn as_path(e: Expr) -> Option<(Vec<Ident>, Vec<Vec<TypeArg>>)> {
    match e.kind {
        ExprKind::Name(name) => Some((vec![name], Vec::new())),
        ExprKind::Field { base, name } => {
            let (mut path, args) = as_path(*base)?;
            path.push(name);
            args.is_empty().then_some((path, args))
        }
        ExprKind::Index { base, items, .. } => {
            let (path, mut args) = as_path(*base)?;
            args.push(items.into_iter().map(index_as_arg).collect::<Option<_>>()?);
            Some((path, args))
        }
        _ => None,
    }
}

fn index_as_arg(item: IndexItem) -> Option<TypeArg> {
    match item {
        IndexItem::Expr(e) => Some(expr_arg(e)),
        IndexItem::Spread(name, span) => Some(TypeArg::Spread(name, span)),
        IndexItem::Slice { from: Some(Expr { kind: ExprKind::Name(name), .. }), to: Some(to), step: None, .. } => {
            Some(TypeArg::Named(name, Box::new(expr_arg(to))))
        }
        IndexItem::Slice { .. } | IndexItem::Ellipsis(_) | IndexItem::New(_) => None,
    }
}
