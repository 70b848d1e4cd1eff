//! Draws from generators, and conversions of dtypes.

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast;

use super::make::sizes;
use crate::check::Checker;
use crate::check::call::Args;
use crate::check::errors::{error_expr, has_error, mk};
use crate::check::store::{Class, ElemState};
use crate::size::SizeExpr;
use crate::thir::{Arg, Expr, ExprKind, Place, RngOp};
use crate::ty::{Dim, Dtype, DtypeBound, Elem, GenericArg, Ty};

const METHODS: &[(&str, RngOp, &[&str], usize)] = &[
    ("normal", RngOp::Normal, &["T"], 1),
    ("uniform", RngOp::Uniform, &["T"], 1),
    ("bernoulli", RngOp::Bernoulli, &["T", "p"], 2),
    ("randint", RngOp::Randint, &["T", "low", "high"], 3),
    ("permutation", RngOp::Permutation, &["n"], 1),
    ("shuffle", RngOp::Shuffle, &["x"], 1),
    ("choice", RngOp::Choice, &["x"], 1),
    ("categorical", RngOp::Categorical, &["logits"], 1),
    ("split", RngOp::Split, &["n"], 0),
];

impl Checker<'_> {
    /// `rng.normal(T)` and the like; the generator is a place, or a temporary.
    pub(in crate::check) fn rng_method(
        &mut self,
        at: Option<Place>,
        value: Option<Expr>,
        name: &ast::Ident,
        args: Args<'_>,
        span: Span,
    ) -> Expr {
        let Some((label, op, params, required)) = METHODS.iter().copied().find(|m| m.0 == &*name.name) else {
            let d =
                Diagnostic::error(code::E0203, format!("a generator has no `{}`", name.name), name.span, "not known");
            self.error(match crate::check::names::nearest(&name.name, METHODS.iter().map(|m| m.0)) {
                Some(near) => d.fix(format!("did you mean `{near}`?"), name.span, near),
                None => d,
            });
            self.check_loosely(args);
            return error_expr(span);
        };
        let rng = match (at, value) {
            (Some(p), _) => {
                if !self.require_mutable(&p) {
                    return error_expr(span);
                }
                Arg::Place(p)
            }
            (None, Some(v)) => Arg::Value(v),
            (None, None) => return error_expr(span),
        };
        let Some(mut call) = self.slots(label, params, required, false, args, None, span) else {
            return error_expr(span);
        };
        let mut values = Vec::new();
        let i64s = Elem::Dtype(Dtype::I64);
        let (op, ty) = match op {
            RngOp::Normal | RngOp::Uniform | RngOp::Bernoulli | RngOp::Randint => {
                let Some(ty) = call.args[0].take().and_then(|a| self.type_arg(a, label)) else {
                    return error_expr(span);
                };
                let elem = match &ty {
                    Ty::Tensor(e, _) => *e,
                    other => {
                        let text = format!("`{label}` takes a tensor type, got {}", self.show_ty(other));
                        self.error(Diagnostic::error(code::E0301, text, span, "another type"));
                        return error_expr(span);
                    }
                };
                let fits = match op {
                    RngOp::Bernoulli => elem == Elem::Dtype(Dtype::Bool),
                    RngOp::Randint => self.elem_within(elem, DtypeBound::Int),
                    _ => self.elem_within(elem, DtypeBound::Float),
                };
                if !fits {
                    let what = match op {
                        RngOp::Bernoulli => "bools",
                        RngOp::Randint => "integers",
                        _ => "floats",
                    };
                    let text = format!("`{label}` draws {what}, not {}", self.show_ty(&ty));
                    self.error(Diagnostic::error(code::E0302, text, span, "another dtype"));
                    return error_expr(span);
                }
                match op {
                    RngOp::Bernoulli => {
                        let Some(p) = call.args[1].take() else { return error_expr(span) };
                        let p = self.arg_value(p, None);
                        let Some((_, s)) = self.tensor_arg(&p, label, DtypeBound::Float) else {
                            return error_expr(span);
                        };
                        let Ty::Tensor(_, want) = &ty else { return error_expr(span) };
                        let shape = self.broadcast(want, &s, &p, &p, label, span);
                        if shape.is_none_or(|shape| self.unify_shape(want, &shape).is_err()) {
                            return error_expr(span);
                        }
                        values.push(p);
                    }
                    RngOp::Randint => {
                        for i in [1, 2] {
                            let Some(a) = call.args[i].take() else { return error_expr(span) };
                            values.push(self.arg_of(a, &Ty::I64, "a bound of `randint`"));
                        }
                    }
                    _ => {}
                }
                (op, ty)
            }
            RngOp::Permutation => {
                let Some(n) = call.args[0].take() else { return error_expr(span) };
                let n = self.arg_of(n, &Ty::I64, "the number of `permutation`");
                if n.ty.is_error() {
                    return n;
                }
                let at = n.span;
                let size = self.size_or_temp(n);
                values.push(mk(ExprKind::Size(size.clone()), Ty::I64, at));
                (op, Ty::tensor(i64s, [size]))
            }
            RngOp::Shuffle | RngOp::Choice => {
                let Some(x) = call.args[0].take() else { return error_expr(span) };
                let x = self.arg_value(x, None);
                let t = self.zonk(&x.ty);
                let rows = match &t {
                    Ty::Tensor(_, s) | Ty::Stack(s, _) if matches!(s.first(), Some(Dim::Size(_))) => s.clone(),
                    other => {
                        if !has_error(other) {
                            let text =
                                format!("`{label}` takes a tensor or a stack with rows, got {}", self.show_ty(other));
                            self.error(Diagnostic::error(code::E0301, text, x.span, "has no rows"));
                        }
                        return error_expr(span);
                    }
                };
                values.push(x);
                let ty = match (op, &t) {
                    (RngOp::Shuffle, _) => t,
                    (_, Ty::Tensor(e, _)) => Ty::Tensor(*e, rows[1..].to_vec()),
                    (_, Ty::Stack(_, elem)) => Ty::stack(rows[1..].to_vec(), (**elem).clone()),
                    (_, other) => other.clone(),
                };
                (op, ty)
            }
            RngOp::Categorical => {
                let Some(x) = call.args[0].take() else { return error_expr(span) };
                let x = self.arg_value(x, None);
                let Some((_, s)) = self.tensor_arg(&x, label, DtypeBound::Float) else { return error_expr(span) };
                let Some((Dim::Size(_), front)) = s.split_last() else {
                    self.error(Diagnostic::error(
                        code::E0406,
                        "`categorical` needs a last axis of choices",
                        x.span,
                        "has none",
                    ));
                    return error_expr(span);
                };
                values.push(x);
                (op, Ty::Tensor(i64s, front.to_vec()))
            }
            RngOp::Split | RngOp::SplitN => match call.args[0].take() {
                None => (RngOp::Split, Ty::Rng),
                Some(n) => {
                    let n = self.arg_of(n, &Ty::I64, "the number of generators");
                    if n.ty.is_error() {
                        return n;
                    }
                    let at = n.span;
                    let size = self.size_or_temp(n);
                    values.push(mk(ExprKind::Size(size.clone()), Ty::I64, at));
                    (RngOp::SplitN, Ty::stack(vec![Dim::Size(size)], Ty::Rng))
                }
            },
        };
        if values.iter().any(|v| v.ty.is_error()) {
            return error_expr(span);
        }
        let guarded: Vec<SizeExpr> = sizes(&ty);
        let e = mk(ExprKind::Random { op, rng: Box::new(rng), args: values }, ty, span);
        self.guard_sizes(e, &guarded, span)
    }

    /// `f32(x)`: to another dtype; a struct's float dtype parameters follow.
    pub(in crate::check) fn conversion(&mut self, elem: Elem, args: Args<'_>, span: Span) -> Expr {
        let Some(mut call) = self.slots("a conversion", &["x"], 1, false, args, None, span) else {
            return error_expr(span);
        };
        let Some(x) = call.args[0].take() else { return error_expr(span) };
        let x = self.arg_value(x, None);
        let t = self.zonk(&x.ty);
        match &t {
            Ty::Tensor(from, shape) => {
                // a literal takes the dtype right away, exactly; a narrow integer is cut from 64 bits, as any other value
                let small = matches!(x.kind, ExprKind::Int(v) if i64::try_from(v).is_ok());
                let narrow = match elem {
                    Elem::Dtype(Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::U8 | Dtype::U32) => true,
                    Elem::Dtype(Dtype::U64) => small,
                    _ => false,
                };
                if let Elem::Infer(i) = self.zonk_elem(*from) {
                    let class = match &self.body.store.elems[i as usize] {
                        ElemState::Open(class) => Some(*class),
                        ElemState::Is(_) => None,
                    };
                    let direct = match class {
                        Some(Class::IntLit) => !narrow && self.elem_within(elem, DtypeBound::Num),
                        Some(Class::FloatLit) => self.elem_within(elem, DtypeBound::Float),
                        Some(Class::Bound(..)) | None => false,
                    };
                    if direct && self.unify_elem(elem, *from).is_ok() {
                        return Expr { span, ..x };
                    }
                    if matches!(class, Some(Class::FloatLit)) {
                        let _ = self.unify_elem(Elem::Dtype(Dtype::F64), *from);
                    }
                }
                let ty = Ty::Tensor(elem, shape.clone());
                mk(ExprKind::Convert(Box::new(x)), ty, span)
            }
            Ty::Struct(..) | Ty::Tuple(_) | Ty::Stack(..) if self.elem_within(elem, DtypeBound::Float) => {
                let ty = self.with_floats(&t, elem);
                mk(ExprKind::Convert(Box::new(x)), ty, span)
            }
            Ty::Error | Ty::Never => error_expr(span),
            other => {
                if !has_error(other) {
                    let text = format!("{} has no dtype to convert", self.show_ty(other));
                    self.error(Diagnostic::error(
                        code::E0301,
                        text,
                        x.span,
                        format!("this is {}", self.show_ty(other)),
                    ));
                }
                error_expr(span)
            }
        }
    }

    /// The type with its float dtypes, also those that are arguments of structs, replaced.
    fn with_floats(&self, t: &Ty, to: Elem) -> Ty {
        match t {
            Ty::Tensor(e, s) if self.elem_within(*e, DtypeBound::Float) => Ty::Tensor(to, s.clone()),
            Ty::Tuple(items) => Ty::Tuple(items.iter().map(|t| self.with_floats(t, to)).collect()),
            Ty::Stack(s, e) => Ty::stack(s.clone(), self.with_floats(e, to)),
            Ty::Struct(id, args) => {
                let arg = |a: &GenericArg| match a {
                    GenericArg::Dtype(e) if self.elem_within(*e, DtypeBound::Float) => GenericArg::Dtype(to),
                    GenericArg::Ty(t) => GenericArg::Ty(self.with_floats(t, to)),
                    other => other.clone(),
                };
                Ty::Struct(*id, args.iter().map(arg).collect())
            }
            other => other.clone(),
        }
    }
}
