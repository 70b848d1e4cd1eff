//! Printing, the clock, whether a file exists.

use tdl_source::{Diagnostic, code};
use tdl_syntax::ast::{self, ExprKind as A, StrPiece};

use super::files::path;
use super::{ArgValue, Call};
use crate::check::Checker;
use crate::check::errors::{error_expr, mk};
use crate::thir::{Builtin, Expr, ExprKind};
use crate::ty::Ty;

pub(super) fn print(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let end = match call.args[0].take() {
        None => "\n".into(),
        Some(ArgValue::Ast(e)) => match literal_text(e) {
            Some(t) => t,
            None => {
                cx.error(Diagnostic::error(code::E0303, "`end` is a written text", e.span, "a literal is needed"));
                return error_expr(call.span);
            }
        },
        Some(ArgValue::Ready(_)) => return error_expr(call.span),
    };
    let mut args = Vec::new();
    for a in std::mem::take(&mut call.rest) {
        let e = cx.arg_value(a, None);
        if e.ty.is_error() {
            return error_expr(call.span);
        }
        args.push(e);
    }
    mk(ExprKind::Builtin { op: Builtin::Print { end }, args }, Ty::unit(), call.span)
}

fn literal_text(e: &ast::Expr) -> Option<std::sync::Arc<str>> {
    match &e.kind {
        A::Str(pieces) => match pieces.as_slice() {
            [] => Some("".into()),
            [StrPiece::Text(t)] => Some(t.clone()),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn exists(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(p) = path(cx, &mut call) else { return error_expr(call.span) };
    mk(ExprKind::Builtin { op: Builtin::Exists, args: vec![p] }, Ty::BOOL, call.span)
}

pub(super) fn clock(cx: &mut Checker<'_>, call: Call<'_>) -> Expr {
    cx.require_io("clock", call.span);
    mk(ExprKind::Builtin { op: Builtin::Clock, args: Vec::new() }, Ty::F64, call.span)
}
