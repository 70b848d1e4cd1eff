//! `tree.map`, `tree.dot` and their kin.

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::ExprKind as A;

use super::Call;
use crate::check::Checker;
use crate::check::call::{ArgValue, Args};
use crate::check::errors::{error_expr, has_error, mk};
use crate::check::ops::is_tree;
use crate::ids::{FnId, GenericId};
use crate::thir::{Builtin, Expr, ExprKind, GenericDef};
use crate::ty::{Dim, Dtype, DtypeBound, Elem, FnParam, FnTy, Kind, Spread, Ty};

/// A tree as an argument: anything with leaves.
fn tree_arg(cx: &mut Checker<'_>, a: ArgValue<'_>, name: &str) -> Option<Expr> {
    let e = cx.arg_value(a, None);
    let t = cx.zonk(&e.ty);
    match &t {
        Ty::Tensor(..) | Ty::Struct(..) | Ty::Tuple(_) | Ty::Stack(..) | Ty::Param(_) => Some(e),
        Ty::Error | Ty::Never => None,
        Ty::Fn(_) | Ty::Str | Ty::Rng | Ty::Exists(..) | Ty::Infer(_) => {
            if !has_error(&t) {
                let text = format!("`{name}` takes a struct, tuple or tensor, got {}", cx.show_ty(&t));
                cx.error(Diagnostic::error(code::E0301, text, e.span, "not a tree"));
            }
            None
        }
    }
}

/// The dtype of a number about a tree: that of its floats if they have one, otherwise `f64`.
fn dtype_of(cx: &Checker<'_>, t: &Ty) -> Elem {
    let mut elems = Vec::new();
    cx.float_elems(&cx.zonk(t), &mut elems);
    match elems.as_slice() {
        [one] => *one,
        [] | [_, ..] => Elem::Dtype(Dtype::F64),
    }
}

fn same(cx: &mut Checker<'_>, a: &Expr, b: &Expr, name: &str) -> bool {
    let (at, bt) = (cx.zonk(&a.ty), cx.zonk(&b.ty));
    match cx.unify(&at, &bt) {
        Ok(()) => true,
        Err(why) => {
            cx.mismatch(&at, &bt, &why, b.span, &format!("trees in `{name}` have one type"));
            false
        }
    }
}

pub(super) fn map(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let span = call.span;
    let (Some(f), Some(first)) = (call.args[0].take(), call.args[1].take()) else { return error_expr(span) };
    let Some(first) = tree_arg(cx, first, "tree.map") else { return error_expr(span) };
    let mut trees = vec![first];
    for a in std::mem::take(&mut call.rest) {
        let Some(t) = tree_arg(cx, a, "tree.map") else { return error_expr(span) };
        if !same(cx, &trees[0], &t, "tree.map") {
            return error_expr(span);
        }
        trees.push(t);
    }
    // the function works on every float leaf: of any shape, and of any dtype if there are several
    let new = |cx: &mut Checker<'_>, name: &str, kind: Kind| {
        cx.program.generics.push(GenericDef { name: name.into(), kind, span });
        GenericId(cx.program.generics.len() as u32 - 1)
    };
    let shape = new(cx, "leaf", Kind::Shape);
    let mut generics = vec![shape];
    let mut elems = Vec::new();
    let ty = cx.zonk(&trees[0].ty);
    cx.float_elems(&ty, &mut elems);
    let elem = match elems.as_slice() {
        [one] => *one,
        [] | [_, ..] => {
            let g = new(cx, "dtype", Kind::Dtype(DtypeBound::Float));
            generics.push(g);
            Elem::Param(g)
        }
    };
    let leaf = Ty::Tensor(elem, vec![Dim::Spread(Spread::Param(shape))]);
    let params = trees.iter().map(|_| FnParam { name: None, ty: leaf.clone(), mutable: false }).collect();
    let sig = FnTy { generics, params, result: leaf, io: false };
    let f = match f {
        ArgValue::Ast(e) if matches!(e.kind, A::Lambda { .. }) => cx.check_lambda(e, &sig),
        other => {
            let plain = Ty::Fn(FnTy { generics: Vec::new(), ..sig.clone() }.into());
            let hint = Ty::Fn(sig.clone().into());
            let e = cx.arg_value(other, Some(&hint));
            let mut e = cx.as_function(e, Some(&sig));
            let found = cx.zonk(&e.ty);
            if let Err(why) = cx.unify(&plain, &found) {
                cx.mismatch(&plain, &found, &why, e.span, "the function of `tree.map`");
                return error_expr(span);
            }
            // what it is instantiated with is bound at each leaf
            e.ty = hint;
            e
        }
    };
    if f.ty.is_error() {
        return error_expr(span);
    }
    let mut args = vec![f];
    args.extend(trees);
    mk(ExprKind::Builtin { op: Builtin::TreeMap, args }, ty, span)
}

pub(super) fn dot(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let (Some(a), Some(b)) = (call.args[0].take(), call.args[1].take()) else { return error_expr(call.span) };
    let (Some(a), Some(b)) = (tree_arg(cx, a, "tree.dot"), tree_arg(cx, b, "tree.dot")) else {
        return error_expr(call.span);
    };
    if !same(cx, &a, &b, "tree.dot") {
        return error_expr(call.span);
    }
    let ty = Ty::scalar(dtype_of(cx, &a.ty));
    mk(ExprKind::Builtin { op: Builtin::TreeDot, args: vec![a, b] }, ty, call.span)
}

pub(super) fn total(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(t) = call.args[0].take().and_then(|a| tree_arg(cx, a, call.name)) else { return error_expr(call.span) };
    let float = Ty::scalar(dtype_of(cx, &t.ty));
    let (op, ty) = match call.name {
        "sum" | "tree.sum" => (Builtin::TreeSum, float),
        "tree.norm" => (Builtin::TreeNorm, float),
        _ => (Builtin::TreeCount, Ty::I64),
    };
    mk(ExprKind::Builtin { op, args: vec![t] }, ty, call.span)
}

impl Checker<'_> {
    /// `norm(t)`, `dot(a, b)`, `clip(t, limit)` and `count(t)` of trees: the prelude's functions of these names take tensors. `None` is any other
    /// call; its first argument may have been checked.
    pub(in crate::check) fn of_tree(
        &mut self,
        id: FnId,
        args: &mut Args<'_>,
        hint: Option<&Ty>,
        span: Span,
    ) -> Option<Expr> {
        let def = &self.program.fns[id.index()];
        let name = match &*def.name {
            "norm" => "tree.norm",
            "dot" => "tree.dot",
            "clip" => "tree.clip",
            "count" => "tree.count",
            _ => return None,
        };
        if Some(def.module) != self.prelude() {
            return None;
        }
        let first = args.first_mut().filter(|a| a.label.is_none() && !a.is_lambda())?;
        if let ArgValue::Ast(e) = first.value {
            first.value = ArgValue::Ready(Box::new(self.expr(e, None)));
        }
        let ArgValue::Ready(e) = &first.value else { return None };
        if !is_tree(&self.zonk(&e.ty)) {
            return None;
        }
        let row = super::find(name)?;
        Some(self.call_builtin(row, std::mem::take(args), hint, span))
    }
}

pub(super) fn clip(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let (Some(t), Some(limit)) = (call.args[0].take(), call.args[1].take()) else { return error_expr(call.span) };
    let Some(t) = tree_arg(cx, t, "tree.clip") else { return error_expr(call.span) };
    let limit = cx.arg_of(limit, &Ty::scalar(dtype_of(cx, &t.ty)), "the largest norm");
    let ty = cx.zonk(&t.ty);
    mk(ExprKind::Builtin { op: Builtin::TreeClip, args: vec![t, limit] }, ty, call.span)
}
