//! Shapes: `reshape`, `concat` and their kin, on tensors and stacks.

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A};

use super::{Call, place};
use crate::check::Checker;
use crate::check::call::ArgValue;
use crate::check::errors::{error_expr, has_error, mk};
use crate::size::{Atom, SizeExpr, SizeVar};
use crate::thir::{Axis, Builtin, Expr, ExprKind};
use crate::ty::{Dim, Dtype, Elem, Shape, Ty};

/// The axes that indexing works on, and the type with others in their place.
fn axes_of(t: &Ty) -> Option<Shape> {
    match t {
        Ty::Tensor(_, s) | Ty::Stack(s, _) => Some(s.clone()),
        _ => None,
    }
}

fn with_axes(t: &Ty, dims: Shape) -> Ty {
    match t {
        Ty::Tensor(e, _) => Ty::Tensor(*e, dims),
        Ty::Stack(_, elem) => Ty::stack(dims, (**elem).clone()),
        other => other.clone(),
    }
}

/// The axes of an argument, or a report.
fn axes_arg(cx: &mut Checker<'_>, e: &Expr, name: &str) -> Option<(Ty, Shape)> {
    let t = cx.zonk(&e.ty);
    match axes_of(&t) {
        Some(s) => Some((t, s)),
        None => {
            if !has_error(&t) && !matches!(t, Ty::Never) {
                let text = format!("`{name}` takes a tensor or a stack, got {}", cx.show_ty(&t));
                cx.error(Diagnostic::error(code::E0301, text, e.span, format!("this is {}", cx.show_ty(&t))));
            }
            None
        }
    }
}

pub(super) fn len(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(x) = call.args[0].take() else { return error_expr(call.span) };
    let x = cx.arg_value(x, None);
    let t = cx.zonk(&x.ty);
    if let Ty::Struct(id, sargs) = &t
        && let Some(func) = cx.method_of(*id, "len")
    {
        let receiver = Some(crate::thir::Arg::Value(x));
        return cx.call_fn(func, Some(sargs), receiver, Vec::new(), None, call.span, call.span);
    }
    if matches!(t, Ty::Str) {
        let op = Builtin::Host(tdl_ir::op::HostFn::TextLen);
        return mk(ExprKind::Builtin { op, args: vec![x] }, Ty::I64, call.span);
    }
    match axes_arg(cx, &x, "len").and_then(|(_, s)| s.first().cloned()) {
        Some(Dim::Size(n)) => {
            // the size may be known only once the value is, and computing it may print
            if !matches!(x.kind, ExprKind::Local(_)) {
                cx.temp(x);
            }
            mk(ExprKind::Size(n), Ty::I64, call.span)
        }
        Some(Dim::Spread(_)) | None => {
            if axes_of(&t).is_some() {
                let text = format!("`len` is the size of the first axis, {} has none that is known", cx.show_ty(&t));
                cx.error(Diagnostic::error(code::E0406, text, x.span, "no first axis"));
            }
            error_expr(call.span)
        }
    }
}

/// `[2, n, 3 * m]`: a list of sizes.
fn size_list(cx: &mut Checker<'_>, a: ArgValue<'_>, name: &str) -> Option<Vec<SizeExpr>> {
    sizes_of(cx, a, name)?.iter().map(|i| cx.lower_size(i)).collect()
}

/// The entries of a list of sizes.
fn sizes_of<'e>(cx: &mut Checker<'_>, a: ArgValue<'e>, name: &str) -> Option<&'e [ast::Expr]> {
    let ArgValue::Ast(e) = a else { return None };
    let (A::Array(items) | A::Tuple(items)) = &e.kind else {
        cx.error(
            Diagnostic::error(code::E0303, format!("`{name}` takes a list of sizes"), e.span, "not a list")
                .help(format!("for example `{name}(x, [2, 5])`")),
        );
        return None;
    };
    Some(items)
}

/// The sizes of `reshape(x, [2, -1])`: the entry -1 is what the number of elements leaves.
fn reshaped(cx: &mut Checker<'_>, list: ArgValue<'_>) -> Option<Vec<SizeExpr>> {
    let items = sizes_of(cx, list, "reshape")?;
    let mut inferred: Option<Span> = None;
    let mut others = SizeExpr::constant(1);
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        if crate::check::index::literal_int(item) != Some(-1) {
            let size = cx.lower_size(item)?;
            others = others.mul(&size);
            out.push(size);
            continue;
        }
        if let Some(first) = inferred {
            let d = Diagnostic::error(code::E0401, "`reshape` infers one size", item.span, "a second -1");
            cx.error(d.label(first, "the first"));
            return None;
        }
        inferred = Some(item.span);
        out.push(cx.body.store.new_size());
    }
    if let Some(at) = inferred.filter(|_| others.is_zero()) {
        let text = "beside a size of 0 every size gives as many elements";
        cx.error(Diagnostic::error(code::E0401, text, at, "which one?").help("write the size"));
        return None;
    }
    Some(out)
}

fn product(dims: &[Dim]) -> Option<SizeExpr> {
    dims.iter().try_fold(SizeExpr::constant(1), |p, d| match d {
        Dim::Size(e) => Some(p.mul(e)),
        Dim::Spread(_) => None,
    })
}

pub(super) fn reshape(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let (Some(x), Some(list)) = (call.args[0].take(), call.args[1].take()) else { return error_expr(call.span) };
    let x = cx.arg_value(x, None);
    let Some(sizes) = reshaped(cx, list) else { return error_expr(call.span) };
    let Some((t, old)) = axes_arg(cx, &x, "reshape") else { return error_expr(call.span) };
    let new: Shape = sizes.iter().cloned().map(Dim::Size).collect();
    let (have, want) = (product(&old), product(&new));
    let fits = match (&have, &want) {
        (Some(a), Some(b)) => cx.unify_size(a, b).is_ok(),
        (None, _) | (_, None) => false,
    };
    if !fits && sizes.iter().any(|s| matches!(s.as_var(), Some(SizeVar::Infer(_)))) {
        let known = new.iter().filter(|d| !matches!(d, Dim::Size(s) if matches!(s.as_var(), Some(SizeVar::Infer(_)))));
        let known: Shape = known.cloned().collect();
        cx.not_divided(&t, have.as_ref(), product(&known).as_ref(), &x, call.span);
        return error_expr(call.span);
    }
    if !fits {
        let text = match (&have, &want) {
            (Some(a), Some(b)) => {
                let (a, b) = (cx.zonk_size(a), cx.zonk_size(b));
                format!("{} has {} elements, the new shape {}", cx.show_ty(&t), cx.show().size(&a), cx.show().size(&b))
            }
            (None, _) | (_, None) => format!("the number of elements of {} is not known", cx.show_ty(&t)),
        };
        let known = |s: &Option<SizeExpr>| s.as_ref().is_some_and(|s| cx.zonk_size(s).as_const().is_some());
        let undecided = !(known(&have) && known(&want));
        let mut d =
            Diagnostic::error(code::E0401, text, call.span, "another number of elements").label(x.span, cx.show_ty(&t));
        if let (true, Some(a), Some(b)) = (undecided, &have, &want) {
            d = d.help(crate::check::errors::fact_help(&cx.same_count(a, b)));
        }
        cx.error(d);
        return error_expr(call.span);
    }
    let e = mk(ExprKind::Builtin { op: Builtin::Reshape, args: vec![x] }, with_axes(&t, new), call.span);
    cx.guard_sizes(e, &sizes, call.span)
}

pub(super) fn broadcast_to(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let (Some(x), Some(list)) = (call.args[0].take(), call.args[1].take()) else { return error_expr(call.span) };
    let x = cx.arg_value(x, None);
    let Some(sizes) = size_list(cx, list, "broadcast_to") else { return error_expr(call.span) };
    let Some((elem, old)) = cx.tensor_arg(&x, "broadcast_to", crate::ty::DtypeBound::Any) else {
        return error_expr(call.span);
    };
    let new: Shape = sizes.iter().cloned().map(Dim::Size).collect();
    let fits = match cx.broadcast_shapes(&new, &old) {
        Ok(shape) => cx.unify_shape(&new, &shape).is_ok(),
        Err(_) => false,
    };
    let ty = Ty::Tensor(elem, new);
    if !fits {
        let text = format!("{} does not broadcast to {}", cx.show_ty(&x.ty), cx.show_ty(&ty));
        cx.error(
            Diagnostic::error(code::E0402, text, call.span, "the shapes do not fit").label(x.span, cx.show_ty(&x.ty)),
        );
        return error_expr(call.span);
    }
    let e = mk(ExprKind::Builtin { op: Builtin::BroadcastTo, args: vec![x] }, ty, call.span);
    cx.guard_sizes(e, &sizes, call.span)
}

pub(super) fn permute(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let (Some(x), Some(list)) = (call.args[0].take(), call.args[1].take()) else { return error_expr(call.span) };
    let x = cx.arg_value(x, None);
    let Some((t, old)) = axes_arg(cx, &x, "permute") else { return error_expr(call.span) };
    let Some(perm) = cx.axes_arg(list, &old, "permute") else { return error_expr(call.span) };
    if perm.len() != old.len() || crate::check::store::has_spread(&old) {
        let text = format!("`permute` of {} names each of its axes once", cx.show_ty(&t));
        cx.error(Diagnostic::error(code::E0406, text, call.span, "other axes"));
        return error_expr(call.span);
    }
    let dims = perm.iter().map(|a| old[place(*a, &old)].clone()).collect();
    mk(ExprKind::Builtin { op: Builtin::Permute { perm }, args: vec![x] }, with_axes(&t, dims), call.span)
}

pub(super) fn flip(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(x) = call.args[0].take() else { return error_expr(call.span) };
    let x = cx.arg_value(x, None);
    let Some((t, dims)) = axes_arg(cx, &x, "flip") else { return error_expr(call.span) };
    let axes = match call.args[1].take() {
        Some(a) => cx.axes_arg(a, &dims, "flip"),
        None if crate::check::store::has_spread(&dims) => Some(vec![Axis::FromEnd(1)]),
        None => Some((0..dims.len()).map(Axis::FromStart).collect()),
    };
    let Some(axes) = axes else { return error_expr(call.span) };
    mk(ExprKind::Builtin { op: Builtin::Flip { axes }, args: vec![x] }, t, call.span)
}

/// The parts of `concat((a, b))`.
fn parts(cx: &mut Checker<'_>, call: &mut Call<'_>) -> Option<Vec<Expr>> {
    let name = call.name;
    let hint = call.hint.take();
    let ArgValue::Ast(e) = call.args[0].take()? else { return None };
    let (A::Tuple(items) | A::Array(items)) = &e.kind else {
        cx.error(
            Diagnostic::error(code::E0303, format!("`{name}` takes its parts in parentheses"), e.span, "not a tuple")
                .help(format!("for example `{name}((a, b), axis: 0)`")),
        );
        return None;
    };
    if items.is_empty() {
        cx.error(Diagnostic::error(code::E0303, format!("`{name}` needs at least one part"), e.span, "empty"));
        return None;
    }
    // only the dtype of the result says something of the parts
    let hint = match hint.map(|t| cx.zonk(&t)) {
        Some(Ty::Tensor(e, s)) => {
            let any = |_: &Dim| Dim::Size(cx.body.store.new_size());
            Some(Ty::Tensor(e, s.iter().map(any).collect()))
        }
        _ => None,
    };
    let mut out = Vec::new();
    for item in items {
        let hint = match (name, &hint) {
            ("concat", Some(t)) => Some(t.clone()),
            _ => None,
        };
        let e = cx.expr(item, hint.as_ref());
        if e.ty.is_error() {
            return None;
        }
        out.push(e);
    }
    Some(out)
}

pub(super) fn concat(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(parts) = parts(cx, &mut call) else { return error_expr(call.span) };
    let Some((t, first)) = axes_arg(cx, &parts[0], "concat") else { return error_expr(call.span) };
    let axis = match call.args[1].take() {
        Some(a) => cx.axis_arg(a, &first, "concat"),
        None => match first.first() {
            Some(Dim::Size(_)) => Some(Axis::FromStart(0)),
            Some(Dim::Spread(_)) | None => {
                let text = format!("`concat` of {} has no axis to go along", cx.show_ty(&t));
                cx.error(Diagnostic::error(code::E0406, text, parts[0].span, "no first axis"));
                None
            }
        },
    };
    let Some(axis) = axis else { return error_expr(call.span) };
    let at = place(axis, &first);
    let mut total = SizeExpr::default();
    for p in &parts {
        let Some((u, s)) = axes_arg(cx, p, "concat") else { return error_expr(call.span) };
        let Some(Dim::Size(n)) = s.get(at).cloned().filter(|_| s.len() == first.len()) else {
            let text = format!("parts of `concat` have one rank: {} and {}", cx.show_ty(&t), cx.show_ty(&u));
            cx.error(Diagnostic::error(code::E0401, text, p.span, "another rank").label(parts[0].span, cx.show_ty(&t)));
            return error_expr(call.span);
        };
        // all but that axis are equal
        let mut like = first.clone();
        like[at] = Dim::Size(n.clone());
        let want = with_axes(&t, like);
        if let Err(why) = cx.unify(&want, &u) {
            cx.mismatch(&want, &u, &why, p.span, "the parts of `concat` agree in the other axes");
            return error_expr(call.span);
        }
        total = total.add(&cx.zonk_size(&n));
    }
    let mut dims = first;
    dims[at] = Dim::Size(total);
    let ty = with_axes(&cx.zonk(&t), dims);
    mk(ExprKind::Builtin { op: Builtin::Concat { axis }, args: parts }, ty, call.span)
}

pub(super) fn stack(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(parts) = parts(cx, &mut call) else { return error_expr(call.span) };
    let first = cx.zonk(&parts[0].ty);
    for p in &parts[1..] {
        let u = cx.zonk(&p.ty);
        if let Err(why) = cx.unify(&first, &u) {
            cx.mismatch(&first, &u, &why, p.span, "the parts of `stack` have one type");
            return error_expr(call.span);
        }
    }
    let n = Dim::Size(SizeExpr::constant(parts.len() as i64));
    let mut dims = axes_of(&first).unwrap_or_default();
    let axis = match call.args[1].take() {
        Some(a) => {
            // counted in the result
            let mut longer = dims.clone();
            longer.push(n.clone());
            cx.axis_arg(a, &longer, "stack")
        }
        None => Some(Axis::FromStart(0)),
    };
    let Some(axis) = axis else { return error_expr(call.span) };
    let at = match axis {
        Axis::FromStart(i) => i,
        Axis::FromEnd(k) => dims.len() + 1 - k,
    };
    dims.insert(at, n);
    let ty = match cx.zonk(&first) {
        t @ (Ty::Tensor(..) | Ty::Stack(..)) => with_axes(&t, dims),
        t => Ty::stack(dims, t),
    };
    mk(ExprKind::Builtin { op: Builtin::Stack { axis }, args: parts }, ty, call.span)
}

pub(super) fn nonzero(cx: &mut Checker<'_>, mut call: Call<'_>) -> Expr {
    let Some(x) = call.args[0].take() else { return error_expr(call.span) };
    let x = cx.arg_value(x, None);
    let Some((elem, shape)) = cx.tensor_arg(&x, "nonzero", crate::ty::DtypeBound::Any) else {
        return error_expr(call.span);
    };
    // numbers count where they are not 0
    let x = if cx.zonk_elem(elem) == Elem::Dtype(Dtype::Bool) {
        x
    } else {
        let ty = Ty::Tensor(Elem::Dtype(Dtype::Bool), shape.clone());
        let span = x.span;
        mk(ExprKind::Convert(Box::new(x)), ty, span)
    };
    if shape.is_empty() || crate::check::store::has_spread(&shape) {
        let text = format!("`nonzero` takes a tensor of known rank, got {}", cx.show_ty(&x.ty));
        cx.error(Diagnostic::error(code::E0406, text, x.span, "no axes to search"));
        return error_expr(call.span);
    }
    let k = cx.new_bound("k");
    let mut dims = vec![Dim::Size(SizeExpr::var(k))];
    if shape.len() > 1 {
        dims.push(Dim::Size(SizeExpr::constant(shape.len() as i64)));
    }
    let ty = Ty::exists(vec![k], Ty::Tensor(Elem::Dtype(Dtype::I64), dims));
    mk(ExprKind::Builtin { op: Builtin::Nonzero, args: vec![x] }, ty, call.span)
}

impl Checker<'_> {
    /// `reshape(x, [4, -1])` where 4 does not divide the number of elements, or nobody knows.
    fn not_divided(&mut self, t: &Ty, have: Option<&SizeExpr>, by: Option<&SizeExpr>, x: &Expr, span: Span) {
        let (Some(have), Some(by)) = (have, by) else {
            let text = format!("the number of elements of {} is not known", self.show_ty(t));
            self.error(Diagnostic::error(code::E0401, text, span, "no size can be inferred"));
            return;
        };
        let (have, by) = (self.zonk_size(have), self.zonk_size(by));
        let (n, m) = (self.show().size(&have), self.show().size(&by));
        let shown = self.show_ty(t);
        let d = if have.as_const().is_some() && by.as_const().is_some() {
            Diagnostic::error(
                code::E0401,
                format!("{shown} has {n} elements, which {m} does not divide"),
                span,
                "no size fits",
            )
        } else {
            let rest = |s: &str| if s.contains(' ') { format!("({s})") } else { s.to_owned() };
            let fact = format!("{} % {} == 0", rest(&n), rest(&m));
            Diagnostic::error(
                code::E0401,
                format!("{shown} has {n} elements; cannot show that {m} divides them"),
                span,
                "no size can be inferred",
            )
            .help(crate::check::errors::fact_help(&fact))
        };
        self.error(d.label(x.span, shown));
    }

    /// What must be known for two numbers of elements to be equal: `d % h == 0` for d and h * (d // h).
    fn same_count(&self, have: &SizeExpr, want: &SizeExpr) -> String {
        let (have, want) = (self.zonk_size(have), self.zonk_size(want));
        let (a, b) = (self.show().size(&have), self.show().size(&want));
        let rest = have.sub(&want);
        for (monomial, _) in want.terms() {
            for (atom, _) in &monomial.0 {
                if let Atom::Div(n, m) = atom
                    && n.modulo(m) == rest
                {
                    let shown = |s: &SizeExpr| match self.show().size(s) {
                        s if s.contains(' ') || s.contains('*') => format!("({s})"),
                        s => s,
                    };
                    return format!("{} % {} == 0", shown(n), shown(m));
                }
            }
        }
        format!("{a} == {b}")
    }

    /// A new size for an existential type.
    pub(super) fn new_bound(&mut self, name: &str) -> SizeVar {
        self.program.bound_names.push(name.into());
        SizeVar::Bound(self.program.bound_names.len() as u32 - 1)
    }
}
