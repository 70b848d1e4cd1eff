//! Sizes as they are written: extents of tensors, expressions over size names, what divides.

use super::lower::arg_span;
use super::{Checker, Def, Entry};
use crate::ids::*;
use crate::size::{SizeExpr, SizeVar};
use crate::ty::{Dim, Kind, Shape, Spread, Ty};
use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind, TypeArg};

impl Checker<'_> {
    pub(super) fn lower_dim_groups(&mut self, groups: &[Vec<TypeArg>]) -> Option<Shape> {
        let mut dims = Vec::new();
        for group in groups {
            dims.extend(self.lower_dims(group)?);
        }
        if dims.iter().filter(|d| matches!(d, Dim::Spread(_))).count() > 1 {
            return None;
        }
        Some(dims)
    }

    pub(super) fn lower_dims(&mut self, args: &[TypeArg]) -> Option<Shape> {
        let mut dims = Vec::new();
        for arg in args {
            match arg {
                TypeArg::Expr(e) => dims.push(Dim::Size(self.lower_size(e)?)),
                TypeArg::Spread(name, span) => match self.entry_of(&name.name) {
                    Some(Entry::Generic(id)) if self.program.generics[id.index()].kind == Kind::Shape => {
                        dims.push(Dim::Spread(Spread::Param(id)));
                    }
                    Some(Entry::Generic(_) | Entry::Local(_) | Entry::Size(_)) | None => {
                        self.errors.push(
                            Diagnostic::error(
                                code::E0201,
                                format!("unknown shape `..{}`", name.name),
                                *span,
                                "not defined here",
                            )
                            .help(format!("declare it: `fn f[..{}](…)`", name.name)),
                        );
                        return None;
                    }
                },
                TypeArg::Type(t) => {
                    self.not_a_size(t.span);
                    return None;
                }
                TypeArg::Named(_, inner) => {
                    self.not_a_size(arg_span(inner));
                    return None;
                }
            }
        }
        Some(dims)
    }

    pub(super) fn not_a_size(&mut self, span: Span) {
        self.errors.push(
            Diagnostic::error(code::E0309, "a size is needed here", span, "not a size")
                .help("sizes are integers, size parameters, immutable `i64`s and `+ - * // %` of them"),
        );
    }

    /// A size in a type. In a body any `i64` expression may stand there; its value gets a name.
    pub(super) fn lower_size(&mut self, e: &ast::Expr) -> Option<SizeExpr> {
        if let Some(size) = self.pure_size(e) {
            self.divisors(e);
            return Some(size);
        }
        if let ExprKind::Name(name) = &e.kind {
            match self.entry_of(&name.name) {
                Some(Entry::Local(id)) => {
                    let local = self.body.locals[id.index()].clone();
                    if local.ty.is_error() {
                        return None;
                    }
                    if local.mutable && self.zonk(&local.ty) == Ty::I64 {
                        self.errors.push(
                            Diagnostic::error(
                                code::E0309,
                                format!("`{}` may change, so it is no size", name.name),
                                name.span,
                                "a mutable variable",
                            )
                            .label(local.span, "declared with `mut` here")
                            .help(format!("fix its value first: `let k = {}`", name.name)),
                        );
                        return None;
                    }
                }
                Some(Entry::Generic(_)) => {
                    self.not_a_size(e.span);
                    return None;
                }
                Some(Entry::Size(_)) => {}
                None => match self.def_of(&name.name) {
                    None => {
                        self.unknown_name(name, "size");
                        self.hush(name);
                        return None;
                    }
                    Some(Def::Const(_)) => {}
                    Some(Def::Fn(_) | Def::Struct(_) | Def::Interface(_) | Def::Alias(_) | Def::Module(_)) => {
                        self.not_a_size(e.span);
                        return None;
                    }
                },
            }
        }
        if self.body.result.is_none() && self.body.depth == 0 && self.body.locals.is_empty() {
            self.not_a_size(e.span);
            return None;
        }
        let errors = self.errors.len();
        let value = self.check(e, &Ty::I64);
        if value.ty.is_error() {
            // the types of functions are not known in a signature
            if !self.body.open && self.errors.len() == errors {
                self.not_a_size(e.span);
            }
            return None;
        }
        Some(self.size_or_temp(value))
    }

    /// The size an expression is, if it is one by its form; reports nothing.
    pub(super) fn pure_size(&mut self, e: &ast::Expr) -> Option<SizeExpr> {
        match &e.kind {
            ExprKind::Int(v) => i64::try_from(*v).ok().map(SizeExpr::constant),
            ExprKind::Name(name) => match self.entry_of(&name.name) {
                Some(Entry::Size(e)) => Some(e),
                Some(Entry::Generic(id)) if self.program.generics[id.index()].kind == Kind::Size => {
                    Some(SizeExpr::var(SizeVar::Param(id)))
                }
                Some(Entry::Local(id)) => self.local_size(id),
                Some(Entry::Generic(_)) => None,
                None => match self.def_of(&name.name) {
                    Some(Def::Const(id)) => self.const_size(id),
                    _ => None,
                },
            },
            ExprKind::Unary { op: ast::UnaryOp::Neg, operand, .. } => Some(self.pure_size(operand)?.neg()),
            ExprKind::Binary { op, left, right, .. } => {
                let (a, b) = (self.pure_size(left)?, self.pure_size(right)?);
                match op {
                    ast::BinaryOp::Add => Some(a.add(&b)),
                    ast::BinaryOp::Sub => Some(a.sub(&b)),
                    ast::BinaryOp::Mul => Some(a.mul(&b)),
                    ast::BinaryOp::FloorDiv => Some(a.floor_div(&b)),
                    ast::BinaryOp::Rem => Some(a.modulo(&b)),
                    ast::BinaryOp::Pow => {
                        let times = u32::try_from(b.as_const()?).ok().filter(|t| *t <= 8)?;
                        Some((0..times).fold(SizeExpr::constant(1), |p, _| p.mul(&a)))
                    }
                    ast::BinaryOp::Div | ast::BinaryOp::MatMul => None,
                }
            }
            ExprKind::Call { callee, args, .. } => {
                // len(x) of a variable
                let (ExprKind::Name(f), [arg]) = (&callee.kind, args.as_slice()) else { return None };
                let ExprKind::Name(x) = &arg.value.kind else { return None };
                if &*f.name != "len" || self.entry_of("len").is_some() || self.def_of("len").is_some() {
                    return None;
                }
                let Some(Entry::Local(id)) = self.entry_of(&x.name) else { return None };
                match self.zonk(&self.body.locals[id.index()].ty.clone()) {
                    Ty::Tensor(_, dims) | Ty::Stack(dims, _) => match dims.first() {
                        Some(Dim::Size(e)) => Some(e.clone()),
                        Some(Dim::Spread(_)) | None => None,
                    },
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// A type divides only by what is known not to be 0.
    fn divisors(&mut self, e: &ast::Expr) {
        let ExprKind::Binary { op, left, right, .. } = &e.kind else { return };
        self.divisors(left);
        self.divisors(right);
        if matches!(op, ast::BinaryOp::FloorDiv | ast::BinaryOp::Rem)
            && let Some(m) = self.pure_size(right)
            && !self.facts.nonzero(&m)
            && !self.divisors.contains(&m)
        {
            // a size's name is its own: once for each item
            self.divisors.push(m.clone());
            let text = self.show().size(&m);
            self.errors.push(
                Diagnostic::error(
                    code::E0404,
                    format!("a type divides by {text}, which may be 0"),
                    right.span,
                    "may be 0",
                )
                .help(format!("add `where 1 <= {text}` to the item")),
            );
        }
    }

    /// An immutable `i64` variable as a size.
    pub(super) fn local_size(&self, id: LocalId) -> Option<SizeExpr> {
        let local = &self.body.locals[id.index()];
        if local.mutable || self.zonk(&local.ty) != Ty::I64 {
            return None;
        }
        Some(self.body.local_sizes[id.index()].clone().unwrap_or_else(|| SizeExpr::var(SizeVar::Local(id))))
    }

    pub(super) fn const_size(&self, id: ConstId) -> Option<SizeExpr> {
        if let Some(e) = &self.const_sizes[id.index()] {
            return Some(e.clone());
        }
        (self.program.consts[id.index()].ty == Ty::I64).then(|| SizeExpr::var(SizeVar::Const(id)))
    }
}
