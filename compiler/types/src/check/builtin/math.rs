//! Elementwise functions, reductions, scans, order, choice.

use tdl_ir::op::{BinaryOp, DtypeRule, ResultDtype, ScanOp, UnaryOp};
use tdl_source::{Diagnostic, code};
use tdl_syntax::ast::{self, ExprKind as A};

use super::{Call, bound_of, without};
use crate::check::Checker;
use crate::check::call::ArgValue;
use crate::check::comprehension::Use;
use crate::check::errors::{error_expr, mk};
use crate::check::ops::{is_tree, texts};
use crate::thir::{Axis, Builtin, Expr, ExprKind, Reduction};
use crate::ty::{Dim, Dtype, DtypeBound, Elem, Ty};

pub(super) fn unary_result(op: UnaryOp, t: &Ty) -> Ty {
    match (op.def().result, t) {
        (ResultDtype::Bool, Ty::Tensor(_, shape)) => Ty::Tensor(Elem::Dtype(Dtype::Bool), shape.clone()),
        (ResultDtype::Same | ResultDtype::Bool, _) => t.clone(),
    }
}

pub(super) fn reduction(name: &str) -> Option<Reduction> {
    Some(match name {
        "sum" => Reduction::Sum,
        "prod" => Reduction::Prod,
        "max" => Reduction::Max,
        "min" => Reduction::Min,
        "mean" => Reduction::Mean,
        "any" => Reduction::Any,
        "all" => Reduction::All,
        _ => return None,
    })
}

fn last_axis(shape: &[Dim]) -> Option<Axis> {
    match shape.last() {
        Some(Dim::Size(_)) if shape.iter().any(|d| matches!(d, Dim::Spread(_))) => Some(Axis::FromEnd(1)),
        Some(Dim::Size(_)) => Some(Axis::FromStart(shape.len() - 1)),
        Some(Dim::Spread(_)) | None => None,
    }
}

fn builtin(op: Builtin, args: Vec<Expr>, ty: Ty, call: &Call<'_>) -> Expr {
    mk(ExprKind::Builtin { op, args }, ty, call.span)
}

impl Checker<'_> {
    /// What a table's dtype rule says of an operand; reports.
    fn dtype_rule(&mut self, rule: DtypeRule, elem: Elem, name: &str, e: &Expr) -> bool {
        let ok = match rule {
            DtypeRule::Float | DtypeRule::Num | DtypeRule::Int | DtypeRule::Any => return true,
            DtypeRule::Bool => self.unify_elem(Elem::Dtype(Dtype::Bool), elem).is_ok(),
            DtypeRule::IntOrBool => {
                self.zonk_elem(elem) == Elem::Dtype(Dtype::Bool) || self.require_elem(elem, DtypeBound::Int)
            }
        };
        if !ok {
            let text = format!("`{name}` takes {}, got {}", rule.describe(), self.show_ty(&e.ty));
            self.error(Diagnostic::error(code::E0302, text, e.span, "another dtype"));
        }
        ok
    }

    pub(in crate::check) fn elementwise1(&mut self, op: UnaryOp, mut call: Call<'_>) -> Expr {
        let Some(x) = call.args[0].take() else { return error_expr(call.span) };
        let hint = call.hint.take().filter(|_| op.def().result == ResultDtype::Same);
        let x = self.arg_value(x, hint.as_ref());
        let rule = op.def().dtype;
        let Some((elem, _)) = self.tensor_arg(&x, call.name, bound_of(rule)) else { return error_expr(call.span) };
        if !self.dtype_rule(rule, elem, call.name, &x) {
            return error_expr(call.span);
        }
        let ty = unary_result(op, &self.zonk(&x.ty));
        builtin(Builtin::Elementwise1(op), vec![x], ty, &call)
    }

    pub(in crate::check) fn elementwise2(&mut self, op: BinaryOp, mut call: Call<'_>) -> Expr {
        let (Some(x), Some(y)) = (call.args[0].take(), call.args[1].take()) else { return error_expr(call.span) };
        let hint = call.hint.take();
        let x = self.arg_value(x, hint.as_ref());
        let y = self.arg_value(y, hint.as_ref());
        let bound = bound_of(op.def().dtype);
        let (Some((e, s)), Some((f, t))) =
            (self.tensor_arg(&x, call.name, bound), self.tensor_arg(&y, call.name, bound))
        else {
            return error_expr(call.span);
        };
        if !self.same_dtype(call.name, e, f, &x, &y, call.span) || !self.dtype_rule(op.def().dtype, e, call.name, &x) {
            return error_expr(call.span);
        }
        let Some(shape) = self.broadcast(&s, &t, &x, &y, call.name, call.span) else { return error_expr(call.span) };
        builtin(Builtin::Elementwise2(op), vec![x, y], Ty::Tensor(e, shape), &call)
    }
}

pub(super) fn reduce(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(op) = reduction(call.name) else { return error_expr(call.span) };
    if let Some(e) = over_comprehension(cx, &mut call) {
        return e;
    }
    let Some(x) = call.args[0].take() else { return error_expr(call.span) };
    let mut x = cx.arg_value(x, None);
    if let (Reduction::Sum, Ty::Tensor(Elem::Dtype(Dtype::Bool), shape)) = (op, cx.zonk(&x.ty)) {
        // how many are true
        let span = x.span;
        x = mk(ExprKind::Convert(Box::new(x)), Ty::Tensor(Elem::Dtype(Dtype::I64), shape), span);
    }
    let whole = call.args[1..].iter().all(Option::is_none);
    if op == Reduction::Sum && whole && is_tree(&cx.zonk(&x.ty)) {
        call.args[0] = Some(ArgValue::Ready(Box::new(x)));
        return super::tree::total(cx, call);
    }
    let Some((elem, shape)) = reduced(cx, op, &x, call.name) else { return error_expr(call.span) };
    let axes = match call.args[1].take() {
        Some(a) => match cx.axes_arg(a, &shape, call.name) {
            Some(axes) => Some(axes),
            None => return error_expr(call.span),
        },
        None => None,
    };
    let keepdims = cx.flag_arg(call.args[2].take(), "keepdims");
    let shape = match &axes {
        Some(axes) => without(&shape, axes, keepdims),
        None if keepdims => match all_axes(&shape) {
            Some(axes) => without(&shape, &axes, true),
            None => {
                cx.error(Diagnostic::error(
                    code::E0406,
                    "`keepdims` needs an axis here",
                    call.span,
                    "the rank is not known",
                ));
                return error_expr(call.span);
            }
        },
        None => Vec::new(),
    };
    builtin(Builtin::Reduce { op, axes, keepdims }, vec![x], Ty::Tensor(elem, shape), &call)
}

/// The element type and shape of what is reduced, or a report.
fn reduced(cx: &mut Checker<'_>, op: Reduction, x: &Expr, name: &str) -> Option<(Elem, Vec<Dim>)> {
    let bound = match op {
        Reduction::Mean => DtypeBound::Float,
        Reduction::Sum | Reduction::Prod | Reduction::Max | Reduction::Min => DtypeBound::Num,
        Reduction::Any | Reduction::All => DtypeBound::Any,
    };
    let t = cx.zonk(&x.ty);
    if is_tree(&t) && matches!(op, Reduction::Sum) && crate::check::ops::texts(&t).is_none() {
        let text = format!("`sum` takes a tensor, got {}", cx.show_ty(&t));
        let d = Diagnostic::error(code::E0301, text, x.span, "a tree");
        cx.error(d.help("over all leaves, without an axis or an index: `sum(t)`"));
        return None;
    }
    let (elem, shape) = cx.tensor_arg(x, name, bound)?;
    (bound != DtypeBound::Any || cx.dtype_rule(DtypeRule::Bool, elem, name, x)).then_some((elem, shape))
}

/// `sum(e for i)`: the elements for all indices reduced; their own axes stay. None: the argument is something else.
fn over_comprehension(cx: &mut Checker<'_>, call: &mut Call<'_>) -> Option<Expr> {
    let e = bare_comprehension(call)?;
    let op = reduction(call.name)?;
    let nests = !matches!(op, Reduction::Mean);
    let (name, span) = (call.name, call.span);
    let mut wrap = |cx: &mut Checker<'_>, x: Expr, n: usize| {
        let Some((elem, shape)) = reduced(cx, op, &x, name) else { return error_expr(span) };
        let axes = Some((0..n).map(Axis::FromStart).collect());
        let ty = Ty::Tensor(elem, shape[n..].to_vec());
        mk(ExprKind::Builtin { op: Builtin::Reduce { op, axes, keepdims: false }, args: vec![x] }, ty, span)
    };
    Some(cx.reduction_of(e, Use::Reduction { wrap: &mut wrap, nests, name }))
}

/// `argmax(e for i)`: the position, counted from 0, among all indices in row-major order.
fn arg_over_comprehension(cx: &mut Checker<'_>, call: &mut Call<'_>) -> Option<Expr> {
    let e = bare_comprehension(call)?;
    let (name, span) = (call.name, call.span);
    let mut wrap = |cx: &mut Checker<'_>, x: Expr, n: usize| {
        let Some((_, shape)) = cx.tensor_arg(&x, name, DtypeBound::Num) else { return error_expr(span) };
        if n > 1 && shape.len() > n {
            let text = format!("`{name}` over several indices takes numbers, got {}", cx.show_ty(&x.ty));
            cx.error(Diagnostic::error(code::E0406, text, x.span, "elements with axes of their own"));
            return error_expr(span);
        }
        let axis = (n == 1).then_some(Axis::FromStart(0));
        let op = Builtin::ArgReduce { max: name == "argmax", axis, keepdims: false };
        mk(ExprKind::Builtin { op, args: vec![x] }, Ty::Tensor(Elem::Dtype(Dtype::I64), shape[n..].to_vec()), span)
    };
    Some(cx.reduction_of(e, Use::Reduction { wrap: &mut wrap, nests: false, name }))
}

/// The argument, if it is a comprehension without brackets and the only one.
fn bare_comprehension<'e>(call: &mut Call<'e>) -> Option<&'e ast::Expr> {
    let Some(ArgValue::Ast(e)) = &call.args[0] else { return None };
    let alone = call.args[1..].iter().all(Option::is_none);
    (alone && matches!(e.kind, A::Comprehension { bare: true, .. })).then_some(*e)
}

fn all_axes(shape: &[Dim]) -> Option<Vec<Axis>> {
    let known = shape.iter().all(|d| matches!(d, Dim::Size(_)));
    known.then(|| (0..shape.len()).map(Axis::FromStart).collect())
}

pub(super) fn arg_reduce(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    if let Some(e) = arg_over_comprehension(cx, &mut call) {
        return e;
    }
    let Some(x) = call.args[0].take() else { return error_expr(call.span) };
    let x = cx.arg_value(x, None);
    let Some((_, shape)) = cx.tensor_arg(&x, call.name, DtypeBound::Num) else { return error_expr(call.span) };
    let axis = match call.args[1].take() {
        Some(a) => match cx.axis_arg(a, &shape, call.name) {
            Some(axis) => Some(axis),
            None => return error_expr(call.span),
        },
        None => None,
    };
    let keepdims = cx.flag_arg(call.args[2].take(), "keepdims") && axis.is_some();
    let shape = axis.map(|a| without(&shape, &[a], keepdims)).unwrap_or_default();
    let op = Builtin::ArgReduce { max: call.name == "argmax", axis, keepdims };
    builtin(op, vec![x], Ty::Tensor(Elem::Dtype(Dtype::I64), shape), &call)
}

/// The axis given, or the last.
fn axis_or_last(cx: &mut Checker<'_>, a: Option<ArgValue<'_>>, shape: &[Dim], call: &Call<'_>) -> Option<Axis> {
    match a {
        Some(a) => cx.axis_arg(a, shape, call.name),
        None => {
            let axis = last_axis(shape);
            if axis.is_none() {
                let text = format!("`{}` works along an axis, a scalar has none", call.name);
                cx.error(Diagnostic::error(code::E0406, text, call.span, "no last axis"));
            }
            axis
        }
    }
}

pub(super) fn scan(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(x) = call.args[0].take() else { return error_expr(call.span) };
    let hint = call.hint.take();
    let x = cx.arg_value(x, hint.as_ref());
    let Some((_, shape)) = cx.tensor_arg(&x, call.name, DtypeBound::Num) else { return error_expr(call.span) };
    let given = call.args[1].take();
    let Some(axis) = axis_or_last(cx, given, &shape, &call) else { return error_expr(call.span) };
    let reverse = cx.flag_arg(call.args[2].take(), "reverse");
    let Some(op) = ScanOp::ALL.iter().copied().find(|op| op.def().name == call.name) else {
        cx.not_yet(&format!("`{}`", call.name), call.span);
        return error_expr(call.span);
    };
    let ty = cx.zonk(&x.ty);
    builtin(Builtin::Scan { op, axis, reverse }, vec![x], ty, &call)
}

pub(super) fn sort(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(x) = call.args[0].take() else { return error_expr(call.span) };
    let x = cx.arg_value(x, None);
    let t = cx.zonk(&x.ty);
    // elements of any dtype, or text
    let (same, shape) = match texts(&t) {
        Some(shape) => (t.clone(), shape.to_vec()),
        None => match cx.tensor_arg(&x, call.name, DtypeBound::Any) {
            Some((elem, shape)) => (Ty::Tensor(elem, shape.clone()), shape),
            None => return error_expr(call.span),
        },
    };
    let given = call.args[1].take();
    let Some(axis) = axis_or_last(cx, given, &shape, &call) else { return error_expr(call.span) };
    let descending = cx.flag_arg(call.args[2].take(), "descending");
    if call.name == "sort" {
        builtin(Builtin::Sort { axis, descending }, vec![x], same, &call)
    } else {
        builtin(Builtin::Argsort { axis, descending }, vec![x], Ty::Tensor(Elem::Dtype(Dtype::I64), shape), &call)
    }
}

pub(super) fn choose(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let (Some(c), Some(a), Some(b)) = (call.args[0].take(), call.args[1].take(), call.args[2].take()) else {
        return error_expr(call.span);
    };
    let hint = call.hint.take();
    let c = cx.arg_value(c, None);
    let a = cx.arg_value(a, hint.as_ref());
    let b = cx.arg_value(b, hint.as_ref());
    let Some((mask, cs)) = cx.tensor_arg(&c, "where", DtypeBound::Any) else { return error_expr(call.span) };
    if !cx.dtype_rule(DtypeRule::Bool, mask, "where", &c) {
        return error_expr(call.span);
    }
    let (at, bt) = (cx.zonk(&a.ty), cx.zonk(&b.ty));
    if at.is_error() || bt.is_error() {
        return error_expr(call.span);
    }
    if is_tree(&at) || is_tree(&bt) || matches!((&at, &bt), (Ty::Str, Ty::Str)) {
        if let Err(why) = cx.unify(&at, &bt) {
            cx.mismatch(&at, &bt, &why, b.span, "both choices of `where` have one type");
            return error_expr(call.span);
        }
        let fits = match &at {
            _ if cs.is_empty() => true,
            Ty::Stack(dims, _) => cx.unify_shape(dims, &cs).is_ok(),
            _ => false,
        };
        if !fits {
            let text = format!("`where` of trees takes a scalar condition, got {}", cx.show_ty(&c.ty));
            cx.error(Diagnostic::error(code::E0401, text, c.span, "does not fit the trees"));
            return error_expr(call.span);
        }
        return builtin(Builtin::Where, vec![c, a, b], at, &call);
    }
    let any = DtypeBound::Any;
    let (Some((e, s)), Some((f, t))) = (cx.tensor_arg(&a, "where", any), cx.tensor_arg(&b, "where", any)) else {
        return error_expr(call.span);
    };
    if !cx.same_dtype("where", e, f, &a, &b, call.span) {
        return error_expr(call.span);
    }
    let Some(shape) = cx.broadcast(&s, &t, &a, &b, "where", call.span) else { return error_expr(call.span) };
    let Some(shape) = cx.broadcast(&shape, &cs, &a, &c, "where", call.span) else { return error_expr(call.span) };
    builtin(Builtin::Where, vec![c, a, b], Ty::Tensor(e, shape), &call)
}

pub(super) fn allclose(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let (Some(a), Some(b)) = (call.args[0].take(), call.args[1].take()) else { return error_expr(call.span) };
    let a = cx.arg_value(a, None);
    let hint = a.ty.clone();
    let b = cx.arg_value(b, Some(&hint));
    let mut tolerance = |cx: &mut Checker<'_>, i: usize, default: f64| match call.args[i].take() {
        Some(v) => cx.arg_of(v, &Ty::F64, "a tolerance"),
        None => mk(ExprKind::Float(default), Ty::F64, call.span),
    };
    let (rtol, atol) = (tolerance(cx, 2, 1e-5), tolerance(cx, 3, 1e-8));
    let (at, bt) = (cx.zonk(&a.ty), cx.zonk(&b.ty));
    if at.is_error() || bt.is_error() {
        return error_expr(call.span);
    }
    if let (Ty::Tensor(e, s), Ty::Tensor(f, t)) = (&at, &bt) {
        if !cx.same_dtype("allclose", *e, *f, &a, &b, call.span)
            || cx.broadcast(s, t, &a, &b, "allclose", call.span).is_none()
        {
            return error_expr(call.span);
        }
    } else if let Err(why) = cx.unify(&at, &bt) {
        cx.mismatch(&at, &bt, &why, b.span, "both sides of `allclose` have one type");
        return error_expr(call.span);
    }
    builtin(Builtin::Allclose, vec![a, b, rtol, atol], Ty::BOOL, &call)
}

pub(super) fn stop_grad(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(x) = call.args[0].take() else { return error_expr(call.span) };
    let hint = call.hint.take();
    let x = cx.arg_value(x, hint.as_ref());
    let ty = cx.zonk(&x.ty);
    if ty.is_error() {
        return x;
    }
    builtin(Builtin::StopGrad, vec![x], ty, &call)
}
