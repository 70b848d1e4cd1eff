//! Printing, files, the clock.

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A, StrPiece};

use super::{ArgValue, Call};
use crate::check::Checker;
use crate::check::call::CallArg;
use crate::check::errors::{error_expr, mk};
use crate::check::store::Class;
use crate::size::SizeExpr;
use crate::subst::Bindings;
use crate::thir::{Builtin, Expr, ExprKind};
use crate::ty::{Dim, Dtype, DtypeBound, Elem, FnParam, FnTy, Ty};

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

/// The path, and that files may be touched here.
fn path(cx: &mut Checker<'_>, call: &mut Call<'_>) -> Option<Expr> {
    cx.require_io(call.name, call.span);
    let p = cx.arg_of(call.args[0].take()?, &Ty::Str, "the path");
    (!p.ty.is_error()).then_some(p)
}

pub(super) fn save(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(p) = path(cx, &mut call) else { return error_expr(call.span) };
    let Some(v) = call.args[1].take() else { return error_expr(call.span) };
    let v = cx.arg_value(v, None);
    let t = cx.zonk(&v.ty);
    if matches!(t, Ty::Fn(_) | Ty::Str) {
        let text = format!("{} cannot be saved", cx.show_ty(&t));
        cx.error(Diagnostic::error(code::E0301, text, v.span, "a tree of tensors is needed"));
    }
    if v.ty.is_error() {
        return error_expr(call.span);
    }
    if !matches!(t, Ty::Str) && cx.holds_text(&t) {
        let text = format!("{} holds text, which files of tensors have not", cx.show_ty(&t));
        cx.error(Diagnostic::error(code::E0301, text, v.span, "text in it").help("save the bytes instead: `utf8(s)`"));
        return error_expr(call.span);
    }
    mk(ExprKind::Builtin { op: Builtin::Save, args: vec![p, v] }, Ty::unit(), call.span)
}

/// `load(path)` whose type nobody says.
pub(super) fn load(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let hint = call.hint.take().map(|t| cx.zonk(&t));
    let Some(p) = path(cx, &mut call) else { return error_expr(call.span) };
    let mut args = vec![p];
    let rename = match call.args[1].take() {
        Some(ArgValue::Ast(e)) => {
            let param = FnParam { name: None, ty: Ty::Str, mutable: false };
            let sig = FnTy { generics: Vec::new(), params: vec![param], result: Ty::Str, io: false };
            let hint = Ty::Fn(sig.into());
            let f = cx.arg_of(ArgValue::Ast(e), &hint, "`rename`");
            if f.ty.is_error() {
                return error_expr(call.span);
            }
            args.push(f);
            true
        }
        Some(ArgValue::Ready(_)) | None => false,
    };
    let given = call.args[2].take();
    let extra = cx.flag_arg(given, "extra");
    let fits =
        |t: &Ty| matches!(t, Ty::Struct(..) | Ty::Tuple(_) | Ty::Tensor(..) | Ty::Stack(..) | Ty::Param(_) | Ty::Rng);
    match hint {
        Some(t) if fits(&t) || matches!(&t, Ty::Exists(_, inner) if fits(inner)) => {
            if cx.holds_text(&t) {
                let text = format!("{} holds text, which files of tensors have not", cx.show_ty(&t));
                cx.error(Diagnostic::error(code::E0301, text, call.span, "text in it"));
                return error_expr(call.span);
            }
            mk(ExprKind::Builtin { op: Builtin::Load { rename, extra }, args }, t, call.span)
        }
        _ => {
            cx.error(
                Diagnostic::error(code::E0309, "`load` needs the type of what it reads", call.span, "of what type?")
                    .help("say it: `load(path) as Mlp[128]`"),
            );
            error_expr(call.span)
        }
    }
}

pub(super) fn read(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let hint = call.hint.take().map(|t| cx.zonk(&t));
    let Some(p) = path(cx, &mut call) else { return error_expr(call.span) };
    if call.name == "read_text" {
        return mk(ExprKind::Builtin { op: Builtin::ReadText, args: vec![p] }, Ty::Str, call.span);
    }
    let inner = match hint {
        Some(Ty::Exists(_, t)) => Some((*t).clone()),
        other => other,
    };
    let (elem, rank) = match &inner {
        Some(Ty::Tensor(e, s)) => (Some(*e), Some(s.len())),
        _ => (None, None),
    };
    let elem =
        elem.unwrap_or_else(|| cx.body.store.new_elem(Class::Bound(DtypeBound::Num, Some(Elem::Dtype(Dtype::F32)))));
    let (op, rank) = if call.name == "read_csv" {
        let header = match call.args.get_mut(1).and_then(Option::take) {
            None => Some(0),
            Some(ArgValue::Ast(ast::Expr { kind: A::Int(n), .. })) => usize::try_from(*n).ok(),
            Some(_) => None,
        };
        let Some(header) = header else {
            cx.error(Diagnostic::error(
                code::E0303,
                "`header` is a written number of lines",
                call.span,
                "a literal is needed",
            ));
            return error_expr(call.span);
        };
        (Builtin::ReadCsv { header }, Some(2))
    } else {
        (Builtin::ReadNpy, rank)
    };
    let Some(rank) = rank else {
        cx.error(
            Diagnostic::error(
                code::E0309,
                "`read_npy` needs a type: its rank is known only to the file",
                call.span,
                "of what rank?",
            )
            .help("say it: `read_npy(path) as some n. f32[n]`"),
        );
        return error_expr(call.span);
    };
    let vars: Vec<_> = (0..rank).map(|i| cx.new_bound(["n", "m", "k"].get(i).copied().unwrap_or("size"))).collect();
    let dims = vars.iter().map(|v| Dim::Size(SizeExpr::var(*v))).collect();
    let ty = Ty::exists(vars, Ty::Tensor(elem, dims));
    mk(ExprKind::Builtin { op, args: vec![p] }, ty, call.span)
}

pub(super) fn write(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(p) = path(cx, &mut call) else { return error_expr(call.span) };
    let Some(x) = call.args[1].take() else { return error_expr(call.span) };
    let x = cx.arg_value(x, None);
    if cx.tensor_arg(&x, "write_npy", DtypeBound::Any).is_none() {
        return error_expr(call.span);
    }
    mk(ExprKind::Builtin { op: Builtin::WriteNpy, args: vec![p, x] }, Ty::unit(), call.span)
}

pub(super) fn exists(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(p) = path(cx, &mut call) else { return error_expr(call.span) };
    mk(ExprKind::Builtin { op: Builtin::Exists, args: vec![p] }, Ty::BOOL, call.span)
}

pub(super) fn clock(cx: &mut Checker<'_>, call: Call<'_>) -> Expr {
    cx.require_io("clock", call.span);
    mk(ExprKind::Builtin { op: Builtin::Clock, args: Vec::new() }, Ty::F64, call.span)
}

impl Checker<'_> {
    /// Whether a leaf of the type is text.
    fn holds_text(&self, t: &Ty) -> bool {
        match t {
            Ty::Str => true,
            Ty::Tuple(items) => items.iter().any(|t| self.holds_text(t)),
            Ty::Stack(_, t) | Ty::Exists(_, t) => self.holds_text(t),
            Ty::Struct(id, args) => {
                let def = &self.program.structs[id.index()];
                let bindings = Bindings::new(&def.generics, args);
                def.fields.iter().any(|f| self.holds_text(&f.ty.subst(&bindings)))
            }
            Ty::Error | Ty::Never | Ty::Tensor(..) | Ty::Param(_) | Ty::Fn(_) | Ty::Rng | Ty::Infer(_) => false,
        }
    }

    /// `load(path) as T`: the file is checked against the type while it is read.
    pub(in crate::check) fn loading(&mut self, value: &ast::Expr, target: &Ty, span: Span) -> Option<Expr> {
        let A::Call { callee, args, .. } = &value.kind else { return None };
        let A::Name(name) = &callee.kind else { return None };
        if &*name.name != "load" || self.entry_of("load").is_some() || self.def_of("load").is_some() {
            return None;
        }
        let args = args.iter().map(CallArg::from_ast).collect();
        let call = self.slots("load", &["path", "rename", "extra"], 1, false, args, Some(target), span)?;
        Some(load(self, call))
    }
}
