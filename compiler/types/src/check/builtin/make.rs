//! Values from types: `zeros(T)` and the like.

use tdl_source::{Diagnostic, code};

use super::Call;
use crate::check::Checker;
use crate::check::errors::{error_expr, mk};
use crate::size::SizeExpr;
use crate::thir::{Builtin, Expr, ExprKind};
use crate::ty::{Dim, DtypeBound, Elem, Shape, Ty};

/// Every size in front of a value of the type.
pub(super) fn sizes(t: &Ty) -> Vec<SizeExpr> {
    let of = |s: &[Dim]| {
        s.iter()
            .filter_map(|d| match d {
                Dim::Size(e) => Some(e.clone()),
                Dim::Spread(_) => None,
            })
            .collect()
    };
    match t {
        Ty::Tensor(_, s) | Ty::Stack(s, _) => of(s),
        _ => Vec::new(),
    }
}

fn made(cx: &mut Checker<'_>, op: Builtin, args: Vec<Expr>, ty: Ty, call: &Call<'_>) -> Expr {
    let guarded = sizes(&ty);
    let e = mk(ExprKind::Builtin { op, args }, ty, call.span);
    cx.guard_sizes(e, &guarded, call.span)
}

fn tensor_type(cx: &mut Checker<'_>, call: &mut Call<'_>, rank: usize, need: DtypeBound) -> Option<(Elem, Shape)> {
    let ty = cx.type_arg(call.args[0].take()?, call.name)?;
    match &ty {
        Ty::Tensor(e, s)
            if s.len() == rank && s.iter().all(|d| matches!(d, Dim::Size(_))) && cx.elem_within(*e, need) =>
        {
            Some((*e, s.clone()))
        }
        _ => {
            let text = format!("`{}` takes a tensor type with {}, got {}", call.name, axes(rank), cx.show_ty(&ty));
            cx.error(Diagnostic::error(code::E0301, text, call.span, "another type"));
            None
        }
    }
}

fn axes(n: usize) -> &'static str {
    if n == 1 { "one axis" } else { "two axes" }
}

pub(super) fn filled(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let ty = call.args[0].take().and_then(|a| cx.type_arg(a, call.name));
    let Some(ty) = ty else { return error_expr(call.span) };
    if matches!(ty, Ty::Fn(_) | Ty::Str | Ty::Rng | Ty::Exists(..)) {
        let text = format!("there is no {} of type {}", call.name, cx.show_ty(&ty));
        cx.error(Diagnostic::error(code::E0301, text, call.span, "a tensor or a struct of tensors is needed"));
        return error_expr(call.span);
    }
    let op = if call.name == "zeros" { Builtin::Zeros } else { Builtin::Ones };
    made(cx, op, Vec::new(), ty, &call)
}

pub(super) fn full(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let ty = call.args[0].take().and_then(|a| cx.type_arg(a, call.name));
    let (Some(ty), Some(v)) = (ty, call.args[1].take()) else { return error_expr(call.span) };
    let Ty::Tensor(e, _) = &ty else {
        let text = format!("`full` takes a tensor type, got {}", cx.show_ty(&ty));
        cx.error(Diagnostic::error(code::E0301, text, call.span, "another type"));
        return error_expr(call.span);
    };
    let v = cx.arg_of(v, &Ty::scalar(*e), "the value of `full`");
    if v.ty.is_error() {
        return error_expr(call.span);
    }
    made(cx, Builtin::Full, vec![v], ty, &call)
}

pub(super) fn eye(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let ty = call.args[0].take().and_then(|a| cx.type_arg(a, call.name));
    let (e, dims) = match ty {
        // `eye(f32[n])` and `eye(f32[n, n])`
        Some(Ty::Tensor(e, s)) if s.len() == 1 => (e, vec![s[0].clone(), s[0].clone()]),
        Some(Ty::Tensor(e, s)) if s.len() == 2 => (e, s),
        Some(other) => {
            let text = format!("`eye` takes a matrix type, got {}", cx.show_ty(&other));
            cx.error(Diagnostic::error(code::E0301, text, call.span, "another type"));
            return error_expr(call.span);
        }
        None => return error_expr(call.span),
    };
    made(cx, Builtin::Eye, Vec::new(), Ty::Tensor(e, dims), &call)
}

pub(super) fn arange(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some((e, s)) = tensor_type(cx, &mut call, 1, DtypeBound::Num) else { return error_expr(call.span) };
    let mut args = Vec::new();
    match (call.args[1].take(), call.args[2].take()) {
        (None, None) => {}
        (start, step) => {
            for (a, default) in [(start, 0), (step, 1)] {
                args.push(match a {
                    Some(a) => cx.arg_of(a, &Ty::scalar(e), "an argument of `arange`"),
                    None => mk(ExprKind::Int(default), Ty::scalar(e), call.span),
                });
            }
        }
    }
    made(cx, Builtin::Arange, args, Ty::Tensor(e, s), &call)
}

pub(super) fn linspace(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some((e, s)) = tensor_type(cx, &mut call, 1, DtypeBound::Float) else { return error_expr(call.span) };
    let (Some(a), Some(b)) = (call.args[1].take(), call.args[2].take()) else { return error_expr(call.span) };
    let args = vec![
        cx.arg_of(a, &Ty::scalar(e), "the first value of `linspace`"),
        cx.arg_of(b, &Ty::scalar(e), "the last value of `linspace`"),
    ];
    made(cx, Builtin::Linspace, args, Ty::Tensor(e, s), &call)
}

pub(super) fn generator(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(seed) = call.args[0].take() else { return error_expr(call.span) };
    let seed = cx.arg_of(seed, &Ty::I64, "the seed of `Rng`");
    mk(ExprKind::Builtin { op: Builtin::RngNew, args: vec![seed] }, Ty::Rng, call.span)
}
