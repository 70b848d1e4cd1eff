//! Types of `grad`, `value_and_grad`, `vjp`, `jvp`, `jacobian`, `hessian`, `hvp`.

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A};

use super::call::{ArgValue, Args, CallArg};
use super::errors::{error_expr, mk};
use super::{Checker, Later};
use crate::thir::{Derivative, DerivativeKind, Expr, ExprKind};
use crate::ty::{Dim, DtypeBound, FnParam, FnTy, Ty};

/// The function to differentiate, and by what.
struct Func {
    value: Expr,
    ty: FnTy,
    wrt: Vec<usize>,
    tuple: bool,
    aux: bool,
}

impl Checker<'_> {
    /// `grad(f)`, `value_and_grad(f, wrt: (a, b), aux: true)` and the like: function values.
    pub(super) fn derivative(&mut self, kind: DerivativeKind, args: Args<'_>, span: Span) -> Expr {
        let Some((f, rest)) = self.differentiable(args, span) else { return error_expr(span) };
        if let Some(extra) = rest.first() {
            self.error(
                Diagnostic::error(code::E0303, "this takes the function alone", extra.span(), "too many")
                    .help("apply the result: `grad(f)(x)`"),
            );
            return error_expr(span);
        }
        let Func { value, ty, wrt, tuple, aux } = f;
        let target = self.wrt_type(&ty, &wrt, tuple);
        let result = ty.result.clone();
        let (loss, extra) = if aux {
            let (a, b) = (self.body.store.new_ty(), self.body.store.new_ty());
            (a, Some(b))
        } else {
            (result.clone(), None)
        };
        let out = match kind {
            DerivativeKind::Grad | DerivativeKind::ValueAndGrad => {
                if let Some(extra) = &extra {
                    let pair = Ty::tuple(vec![loss.clone(), extra.clone()]);
                    if !matches!(self.zonk(&result), Ty::Infer(_))
                        && let Err(why) = self.unify(&pair, &result)
                    {
                        self.mismatch(
                            &pair,
                            &result,
                            &why,
                            value.span,
                            "with `aux: true` the function gives `(loss, extra)`",
                        );
                        return error_expr(span);
                    }
                    let _ = self.unify(&pair, &result);
                }
                self.body.later.push(Later::Loss {
                    result: result.clone(),
                    loss: loss.clone(),
                    extra: extra.clone(),
                    span,
                    func: value.span,
                });
                match (kind, extra) {
                    (DerivativeKind::Grad, None) => target,
                    (DerivativeKind::Grad, Some(extra)) => Ty::tuple(vec![target, extra]),
                    (_, None) => Ty::tuple(vec![loss, target]),
                    (_, Some(extra)) => Ty::tuple(vec![Ty::tuple(vec![loss, extra]), target]),
                }
            }
            DerivativeKind::Jacobian | DerivativeKind::Hessian => {
                let hessian = kind == DerivativeKind::Hessian;
                if aux {
                    let text = "`jacobian` and `hessian` have no `aux`";
                    self.error(Diagnostic::error(code::E0303, text, span, "unknown option"));
                    return error_expr(span);
                }
                if hessian {
                    self.body.later.push(Later::Loss {
                        result: result.clone(),
                        loss: result.clone(),
                        extra: None,
                        span,
                        func: value.span,
                    });
                }
                let out = self.body.store.new_ty();
                let func = value.span;
                self.body.later.push(Later::Matrix { hessian, param: target, result, out: out.clone(), func });
                out
            }
        };
        let params = ty.params.clone();
        let fn_ty = FnTy { generics: Vec::new(), params, result: out, io: false };
        let d = Derivative { kind, func: Box::new(value), wrt, wrt_tuple: tuple, aux };
        let e = mk(ExprKind::Derivative(d), Ty::Fn(fn_ty.into()), span);
        self.run_pending();
        e
    }

    /// Takes the function and the options from the arguments; what is left are values.
    fn differentiable<'e>(&mut self, args: Args<'e>, span: Span) -> Option<(Func, Args<'e>)> {
        let mut rest: Args<'e> = Vec::new();
        let (mut func, mut wrt_ast, mut aux) = (None, None, false);
        for a in args {
            match (a.label.map(|l| l.name.to_string()).as_deref(), a.value) {
                (Some("wrt"), ArgValue::Ast(e)) => wrt_ast = Some(e),
                (Some("aux"), ArgValue::Ast(e)) => match &e.kind {
                    A::Bool(b) => aux = *b,
                    _ => self.error(Diagnostic::error(
                        code::E0303,
                        "`aux` is `true` or `false`",
                        e.span,
                        "a literal is needed",
                    )),
                },
                (Some("f"), value) | (None, value) if func.is_none() => func = Some(value),
                (None, value) => rest.push(CallArg { label: None, value }),
                (Some(other), value) => {
                    let at = CallArg { label: None, value }.span();
                    let text = format!("there is no option `{other}` here");
                    self.error(
                        Diagnostic::error(code::E0303, text, at, "unknown label")
                            .help("the options are `wrt` and `aux`"),
                    );
                    return None;
                }
            }
        }
        let Some(func) = func else {
            self.error(Diagnostic::error(
                code::E0303,
                "the function to differentiate is missing",
                span,
                "takes a function",
            ));
            return None;
        };
        let value = match func {
            ArgValue::Ast(e) => self.expr(e, None),
            ArgValue::Ready(e) => *e,
        };
        let value = self.as_function(value, None);
        let t = self.zonk(&value.ty);
        let Ty::Fn(ft) = &t else {
            if !super::errors::has_error(&t) {
                let text = format!("only functions are differentiated, got {}", self.show_ty(&t));
                self.error(
                    Diagnostic::error(code::E0501, text, value.span, format!("this is {}", self.show_ty(&t)))
                        .help("write a function of what to differentiate by: `grad(|w| loss(w, x))(w)`"),
                );
            }
            return None;
        };
        let ft = (**ft).clone();
        if ft.io {
            self.error(
                Diagnostic::error(
                    code::E0503,
                    "an `io` function cannot be differentiated",
                    span,
                    "differentiated here",
                )
                .label(value.span, "touches files, the clock or the network"),
            );
            return None;
        }
        if ft.params.is_empty() {
            self.error(
                Diagnostic::error(
                    code::E0502,
                    "a function without parameters has no derivative",
                    span,
                    "differentiated here",
                )
                .label(value.span, "takes nothing"),
            );
            return None;
        }
        let (wrt, tuple) = match wrt_ast {
            None => (vec![0], false),
            Some(e) => match &e.kind {
                A::Tuple(items) => (items.iter().map(|i| self.wrt_param(i, &ft)).collect::<Option<Vec<_>>>()?, true),
                _ => (vec![self.wrt_param(e, &ft)?], false),
            },
        };
        for i in &wrt {
            let p = &ft.params[*i];
            let name = p.name.as_deref().unwrap_or("the parameter").to_string();
            self.body.later.push(Later::Floats { ty: p.ty.clone(), span, func: value.span, name });
        }
        Some((Func { value, ty: ft, wrt, tuple, aux }, rest))
    }

    fn wrt_param(&mut self, e: &ast::Expr, ft: &FnTy) -> Option<usize> {
        let found = match &e.kind {
            A::Name(n) => ft.params.iter().position(|p| p.name.as_deref() == Some(&*n.name)),
            A::Int(v) => usize::try_from(*v).ok().filter(|i| *i < ft.params.len()),
            _ => None,
        };
        if found.is_none() {
            let names: Vec<&str> = ft.params.iter().filter_map(|p| p.name.as_deref()).collect();
            self.error(
                Diagnostic::error(code::E0506, "`wrt` names parameters of the function", e.span, "not one of them")
                    .help(format!("its parameters are {}", super::expr::quoted(&names))),
            );
        }
        found
    }

    fn wrt_type(&self, ft: &FnTy, wrt: &[usize], tuple: bool) -> Ty {
        if tuple {
            Ty::tuple(wrt.iter().map(|i| ft.params[*i].ty.clone()).collect())
        } else {
            ft.params[wrt[0]].ty.clone()
        }
    }

    pub(super) fn check_loss(&mut self, result: &Ty, loss: &Ty, extra: Option<&Ty>, span: Span, func: Span) {
        if let Some(extra) = extra {
            let pair = Ty::tuple(vec![loss.clone(), extra.clone()]);
            if let Err(why) = self.unify(&pair, result) {
                self.mismatch(&pair, result, &why, func, "with `aux: true` the function gives `(loss, extra)`");
                return;
            }
        }
        let loss = self.zonk(loss);
        if super::errors::has_error(&loss) || matches!(loss, Ty::Infer(_) | Ty::Never) {
            return;
        }
        let shown = self.show_ty(&loss);
        // that of integers was reported as such
        let told = self.errors.iter().any(|d| d.code == code::E0502 && d.primary.span == span);
        match loss.as_scalar() {
            Some(e) if told || self.elem_within(e, DtypeBound::Float) => {}
            Some(_) => self.error(
                Diagnostic::error(
                    code::E0502,
                    format!("a gradient needs a float output, got {shown}"),
                    span,
                    "differentiated here",
                )
                .label(func, format!("gives {shown}")),
            ),
            None => {
                let mut d = Diagnostic::error(
                    code::E0501,
                    format!("a gradient needs a scalar output, got {shown}"),
                    span,
                    "differentiated here",
                )
                .label(func, format!("gives {shown}"));
                d = match &loss {
                    Ty::Tensor(..) => {
                        d.help("reduce it: `sum(…)` or `mean(…)`; for all derivatives use `jacobian` or `vjp`")
                    }
                    Ty::Tuple(_) => d.help("for `(loss, extra)` say `aux: true`"),
                    _ => d,
                };
                self.error(d);
            }
        }
    }

    pub(super) fn check_floats(&mut self, t: &Ty, span: Span, func: Span, name: &str) {
        if super::errors::has_error(t) || matches!(t, Ty::Param(_) | Ty::Never) {
            return;
        }
        let mut elems = Vec::new();
        self.float_elems(t, &mut elems);
        if elems.is_empty() && !has_param(t) {
            let shown = self.show_ty(t);
            let text = format!("`{name}` has no floats to differentiate by: {shown}");
            self.error(
                Diagnostic::error(code::E0502, text, span, "differentiated here")
                    .label(func, format!("takes {shown}"))
                    .help("choose another parameter: `grad(f, wrt: w)`"),
            );
        }
    }

    /// The type of a Jacobian or Hessian, now that both ends are known.
    pub(super) fn matrix(&mut self, hessian: bool, param: &Ty, result: &Ty, out: &Ty, func: Span) {
        let (x, y) = (self.zonk(param), self.zonk(result));
        let front = if hessian { &x } else { &y };
        let ty = match self.under(front, &x) {
            Some(ty) => ty,
            None => {
                if !super::errors::has_error(&x) && !super::errors::has_error(&y) {
                    let (what, help) = match hessian {
                        true => (
                            format!("`hessian` is by tensors and tuples of tensors, not by {}", self.show_ty(&x)),
                            "pass the parts: `hessian(|a, b| loss(S { a: a, b: b }), wrt: (a, b))`, or use `hvp`",
                        ),
                        false => (
                            format!("`jacobian` is of float tensors and tuples of them, not of {}", self.show_ty(&y)),
                            "give the parts as a tuple: `jacobian(|x| (f(x).a, f(x).b))`, or use `vjp` or `jvp`",
                        ),
                    };
                    self.error(Diagnostic::error(code::E0501, what, func, "differentiated here").help(help));
                }
                Ty::Error
            }
        };
        let _ = self.unify(out, &ty);
    }

    /// The tree `x` under each leaf of `y`.
    fn under(&self, y: &Ty, x: &Ty) -> Option<Ty> {
        match y {
            Ty::Tensor(e, dims) if self.elem_within(*e, DtypeBound::Float) => with_front(dims, x),
            Ty::Tuple(items) => items.iter().map(|y| self.under(y, x)).collect::<Option<_>>().map(Ty::Tuple),
            Ty::Error
            | Ty::Never
            | Ty::Tensor(..)
            | Ty::Struct(..)
            | Ty::Stack(..)
            | Ty::Param(_)
            | Ty::Fn(_)
            | Ty::Str
            | Ty::Rng
            | Ty::Exists(..)
            | Ty::Infer(_) => None,
        }
    }

    /// `hvp(f, x, v)`: the Hessian times a vector, forward over reverse; the arguments, then a direction for each parameter
    /// in `wrt`.
    pub(super) fn hvp(&mut self, args: Args<'_>, span: Span) -> Expr {
        let Some((f, mut rest)) = self.differentiable(args, span) else { return error_expr(span) };
        if f.aux {
            self.error(Diagnostic::error(code::E0303, "`hvp` has no `aux`", span, "unknown option"));
            return error_expr(span);
        }
        let (result, func) = (f.ty.result.clone(), f.value.span);
        self.body.later.push(Later::Loss { result: result.clone(), loss: result, extra: None, span, func });
        let target = self.wrt_type(&f.ty, &f.wrt, f.tuple);
        let Some(tangents) = self.tangents("hvp", &f, &mut rest, span) else { return error_expr(span) };
        let Some(values) = self.operands(&f, rest, span) else { return error_expr(span) };
        let tangents = self.tangent_values(&f, tangents);
        let Func { value, ty, wrt, tuple, aux } = f;
        let fn_ty = FnTy { generics: Vec::new(), params: ty.params, result: target.clone(), io: false };
        let d =
            Derivative { kind: DerivativeKind::Grad, func: Box::new(value), wrt: wrt.clone(), wrt_tuple: tuple, aux };
        let g = mk(ExprKind::Derivative(d), Ty::Fn(fn_ty.into()), span);
        let pair = Ty::tuple(vec![target.clone(), target.clone()]);
        let both = mk(ExprKind::Jvp { func: Box::new(g), args: values, tangents, wrt }, pair, span);
        mk(ExprKind::TupleField { base: Box::new(both), index: 1 }, target, span)
    }

    /// `vjp(f, x…)`: `(y, pull)`.
    pub(super) fn vjp(&mut self, args: Args<'_>, span: Span) -> Expr {
        let Some((f, rest)) = self.differentiable(args, span) else { return error_expr(span) };
        let Some(values) = self.operands(&f, rest, span) else { return error_expr(span) };
        let y = self.zonk(&f.ty.result);
        let target = self.wrt_type(&f.ty, &f.wrt, f.tuple);
        let pull = FnTy {
            generics: Vec::new(),
            params: vec![FnParam { name: Some("dy".into()), ty: y.clone(), mutable: false }],
            result: target,
            io: false,
        };
        let ty = Ty::Tuple(vec![y, Ty::Fn(pull.into())]);
        mk(ExprKind::Vjp { func: Box::new(f.value), args: values, wrt: f.wrt }, ty, span)
    }

    /// `jvp(f, x, dx)`: `(y, dy)`; the arguments, then one tangent for each parameter in `wrt`.
    pub(super) fn jvp(&mut self, args: Args<'_>, span: Span) -> Expr {
        let Some((f, mut rest)) = self.differentiable(args, span) else { return error_expr(span) };
        let Some(tangents) = self.tangents("jvp", &f, &mut rest, span) else { return error_expr(span) };
        let Some(values) = self.operands(&f, rest, span) else { return error_expr(span) };
        let ts = self.tangent_values(&f, tangents);
        let y = self.zonk(&f.ty.result);
        let ty = Ty::tuple(vec![y.clone(), y]);
        mk(ExprKind::Jvp { func: Box::new(f.value), args: values, tangents: ts, wrt: f.wrt }, ty, span)
    }

    /// The arguments behind the function's own.
    fn tangents<'e>(&mut self, name: &str, f: &Func, rest: &mut Args<'e>, span: Span) -> Option<Args<'e>> {
        let n = f.ty.params.len();
        if rest.len() != n + f.wrt.len() {
            let text = format!(
                "`{name}` takes the function, its {} and a tangent for each in `wrt`",
                super::lower::count(n, "argument")
            );
            let label = format!("{} given", super::lower::count(rest.len(), "value"));
            self.error(Diagnostic::error(code::E0303, text, span, label));
            return None;
        }
        Some(rest.split_off(n))
    }

    fn tangent_values(&mut self, f: &Func, tangents: Args<'_>) -> Vec<Expr> {
        let mut out = Vec::with_capacity(tangents.len());
        for (i, t) in f.wrt.iter().zip(tangents) {
            let want = f.ty.params[*i].ty.clone();
            out.push(match t.value {
                ArgValue::Ast(e) => self.check_as(e, &want, "a tangent has the type of its parameter"),
                ArgValue::Ready(e) => self.coerce(*e, &want, "a tangent has the type of its parameter"),
            });
        }
        out
    }

    fn operands(&mut self, f: &Func, args: Args<'_>, span: Span) -> Option<Vec<Expr>> {
        if args.len() != f.ty.params.len() {
            let text = format!(
                "the function takes {}, got {}",
                super::lower::count(f.ty.params.len(), "argument"),
                args.len()
            );
            self.error(Diagnostic::error(code::E0303, text, span, "its arguments follow it"));
            return None;
        }
        let mut out = Vec::new();
        for (p, a) in f.ty.params.iter().zip(args) {
            let e = match a.value {
                ArgValue::Ast(e) => {
                    let hint = self.zonk(&p.ty);
                    let e = self.expr(e, Some(&hint));
                    self.coerce(e, &p.ty, "an argument of the function")
                }
                ArgValue::Ready(e) => self.coerce(*e, &p.ty, "an argument of the function"),
            };
            if e.ty.is_error() {
                return None;
            }
            out.push(e);
        }
        self.run_pending();
        Some(out)
    }
}

/// Every leaf of `x` with axes in front.
fn with_front(dims: &[Dim], x: &Ty) -> Option<Ty> {
    match x {
        Ty::Tuple(items) => items.iter().map(|t| with_front(dims, t)).collect::<Option<_>>().map(Ty::Tuple),
        Ty::Tensor(..) | Ty::Struct(..) | Ty::Stack(..) | Ty::Param(_) => Some(Ty::stack(dims.to_vec(), x.clone())),
        Ty::Error | Ty::Never | Ty::Fn(_) | Ty::Str | Ty::Rng | Ty::Exists(..) | Ty::Infer(_) => None,
    }
}

pub(super) fn has_param(t: &Ty) -> bool {
    match t {
        Ty::Param(_) => true,
        Ty::Tuple(items) => items.iter().any(has_param),
        Ty::Stack(_, t) | Ty::Exists(_, t) => has_param(t),
        Ty::Struct(_, args) => args.iter().any(|a| matches!(a, crate::ty::GenericArg::Ty(t) if has_param(t))),
        Ty::Error | Ty::Never | Ty::Tensor(..) | Ty::Fn(_) | Ty::Str | Ty::Rng | Ty::Infer(_) => false,
    }
}
