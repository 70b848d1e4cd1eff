//! Text, arrays of text, and what works on them as on numbers: `unique`, `searchsorted`.

use tdl_ir::op::HostFn;
use tdl_source::{Diagnostic, Span, code};

use super::Call;
use crate::check::Checker;
use crate::check::call::ArgValue;
use crate::check::errors::{error_expr, has_error, mk};
use crate::check::ops::texts;
use crate::size::SizeExpr;
use crate::thir::{Builtin, Expr, ExprKind, TextPiece};
use crate::ty::{Dim, Dtype, DtypeBound, Elem, Ty};

/// `some n. T[n]` for an element type.
fn list(cx: &mut Checker<'_>, elem: Ty) -> Ty {
    let n = cx.new_bound("n");
    Ty::exists(vec![n], Ty::stack(vec![Dim::Size(SizeExpr::var(n))], elem))
}

/// The functions whose arguments are text, with the result's type.
pub(super) fn host(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let (func, io) = match call.name {
        "list_dir" => (HostFn::ListDir, true),
        "lines" => (HostFn::Lines, false),
        "split" => (HostFn::SplitText, false),
        "utf8" => (HostFn::Utf8, false),
        "text" => (HostFn::TextFromUtf8, false),
        "env" => (HostFn::Env, true),
        "read_text" => (HostFn::ReadText, true),
        _ => (HostFn::WriteText, true),
    };
    if io {
        cx.require_io(call.name, call.span);
    }
    let mut args = Vec::new();
    for (i, a) in std::mem::take(&mut call.args).into_iter().enumerate() {
        args.push(match a {
            Some(a) if func == HostFn::TextFromUtf8 => {
                let e = cx.arg_value(a, None);
                let Some((elem, shape)) = cx.tensor_arg(&e, "text", DtypeBound::Int) else {
                    return error_expr(call.span);
                };
                if shape.len() != 1 || cx.unify_elem(Elem::Dtype(Dtype::U8), elem).is_err() {
                    let text = format!("`text` takes the bytes of a text, u8[n], got {}", cx.show_ty(&e.ty));
                    cx.error(Diagnostic::error(code::E0301, text, e.span, "no bytes"));
                    return error_expr(call.span);
                }
                e
            }
            Some(a) => cx.arg_of(a, &Ty::Str, &format!("argument {} of `{}`", i + 1, call.name)),
            None => literal(call.span),
        });
    }
    if args.iter().any(|a| a.ty.is_error()) {
        return error_expr(call.span);
    }
    let ty = match func {
        HostFn::Utf8 => list(cx, Ty::scalar(Elem::Dtype(Dtype::U8))),
        HostFn::TextFromUtf8 | HostFn::Env | HostFn::ReadText => Ty::Str,
        HostFn::WriteText => Ty::unit(),
        _ => list(cx, Ty::Str),
    };
    mk(ExprKind::Builtin { op: Builtin::Host(func), args }, ty, call.span)
}

/// The empty text.
fn literal(span: Span) -> Expr {
    mk(ExprKind::Text(Vec::<TextPiece>::new()), Ty::Str, span)
}

/// The element type of a vector of text, or of what `need` allows, and its size.
fn vector(cx: &mut Checker<'_>, a: ArgValue<'_>, name: &str, need: DtypeBound) -> Option<(Expr, Ty, Dim)> {
    let e = cx.arg_value(a, None);
    let t = cx.zonk(&e.ty);
    if let Some([Dim::Size(n)]) = texts(&t) {
        let n = n.clone();
        return Some((e, Ty::Str, Dim::Size(n)));
    }
    if texts(&t).is_none() {
        let (elem, shape) = cx.tensor_arg(&e, name, need)?;
        if let [Dim::Size(n)] = shape.as_slice() {
            return Some((e, Ty::scalar(elem), Dim::Size(n.clone())));
        }
    }
    if !has_error(&t) {
        let text = format!("`{name}` takes a vector of numbers or text, got {}", cx.show_ty(&t));
        cx.error(Diagnostic::error(code::E0406, text, e.span, "more or less than one axis"));
    }
    None
}

pub(super) fn unique(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(a) = call.args[0].take() else { return error_expr(call.span) };
    let Some((x, elem, _)) = vector(cx, a, "unique", DtypeBound::Any) else { return error_expr(call.span) };
    let ty = list(cx, elem);
    mk(ExprKind::Builtin { op: Builtin::Unique, args: vec![x] }, ty, call.span)
}

/// `searchsorted(sorted, x)`: how many of `sorted` stand before each of `x`.
pub(super) fn search(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let (Some(a), Some(x)) = (call.args[0].take(), call.args[1].take()) else { return error_expr(call.span) };
    let Some((sorted, elem, _)) = vector(cx, a, "searchsorted", DtypeBound::Num) else { return error_expr(call.span) };
    let right = cx.flag_arg(call.args[2].take(), "right");
    let x = cx.arg_value(x, Some(&elem));
    let t = cx.zonk(&x.ty);
    let shape = match (&elem, texts(&t)) {
        (Ty::Str, Some(shape)) => shape.to_vec(),
        (Ty::Tensor(e, _), None) => {
            let Some((f, shape)) = cx.tensor_arg(&x, "searchsorted", DtypeBound::Num) else {
                return error_expr(call.span);
            };
            if !cx.same_dtype("searchsorted", *e, f, &sorted, &x, call.span) {
                return error_expr(call.span);
            }
            shape
        }
        _ => {
            if !has_error(&t) {
                let text = format!("`searchsorted` looks for {}, got {}", cx.show_ty(&elem), cx.show_ty(&t));
                cx.error(Diagnostic::error(code::E0301, text, x.span, "of another type"));
            }
            return error_expr(call.span);
        }
    };
    let ty = Ty::Tensor(Elem::Dtype(Dtype::I64), shape);
    mk(ExprKind::Builtin { op: Builtin::SearchSorted { right }, args: vec![sorted, x] }, ty, call.span)
}
