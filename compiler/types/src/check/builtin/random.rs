//! Draws from generators, and conversions of dtypes.

use tdl_ir::op::BinaryOp;
use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A};

use super::Call;
use super::make::sizes;
use crate::check::call::{ArgValue, Args};
use crate::check::errors::{error_expr, has_error, mk};
use crate::check::store::{Class, ElemState};
use crate::check::{Checker, Def, Entry};
use crate::size::SizeExpr;
use crate::thir::{Arg, Expr, ExprKind, Place, RngOp, Subscript};
use crate::ty::{Dim, Dtype, DtypeBound, Elem, GenericArg, Kind, Ty};

const METHODS: &[(&str, RngOp, &[&str], usize)] = &[
    ("normal", RngOp::Normal, &["T"], 1),
    ("uniform", RngOp::Uniform, &["T", "low", "high"], 1),
    ("bernoulli", RngOp::Bernoulli, &["T", "p"], 0),
    ("randint", RngOp::Randint, &["T", "low", "high"], 3),
    ("permutation", RngOp::Permutation, &["n"], 1),
    ("shuffle", RngOp::Shuffle, &["x"], 1),
    ("choice", RngOp::Choice, &["x", "n"], 1),
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
            RngOp::Bernoulli => return self.bernoulli(rng, call),
            RngOp::Normal | RngOp::Uniform | RngOp::Randint => {
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
                    RngOp::Randint => self.elem_within(elem, DtypeBound::Int),
                    _ => self.elem_within(elem, DtypeBound::Float),
                };
                if !fits {
                    let what = match op {
                        RngOp::Randint => "integers",
                        _ => "floats",
                    };
                    let text = format!("`{label}` draws {what}, not {}", self.show_ty(&ty));
                    self.error(Diagnostic::error(code::E0302, text, span, "another dtype"));
                    return error_expr(span);
                }
                if op == RngOp::Randint {
                    for i in [1, 2] {
                        let Some(a) = call.args[i].take() else { return error_expr(span) };
                        values.push(self.arg_of(a, &Ty::I64, "a bound of `randint`"));
                    }
                }
                if op == RngOp::Uniform && call.args[1..].iter().any(Option::is_some) {
                    return self.uniform_between(rng, call, ty, elem);
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
                if let (RngOp::Choice, Some(n)) = (op, call.args.get_mut(1).and_then(Option::take)) {
                    return self.choices(rng, x, &rows, n, span);
                }
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
        self.drawn(op, rng, values, ty, span)
    }

    fn drawn(&mut self, op: RngOp, rng: Arg, args: Vec<Expr>, ty: Ty, span: Span) -> Expr {
        if args.iter().any(|v| v.ty.is_error()) {
            return error_expr(span);
        }
        let guarded: Vec<SizeExpr> = sizes(&ty);
        let e = mk(ExprKind::Random { op, rng: Box::new(rng), args }, ty, span);
        self.guard_sizes(e, &guarded, span)
    }

    /// `bernoulli(T, p)`: true, or 1, with probability `p`; `bernoulli(p)` is a bool for each probability.
    fn bernoulli(&mut self, rng: Arg, mut call: Call<'_>) -> Expr {
        let span = call.span;
        let (ty, p) = match (call.args[0].take(), call.args[1].take()) {
            (Some(ty), Some(p)) => (Some(ty), p),
            (None, Some(p)) => (None, p),
            (Some(ArgValue::Ast(e)), None) if self.names_type(e) => {
                let d = Diagnostic::error(code::E0303, "`bernoulli` lacks `p`", span, "how probable is true?");
                self.error(d.help("write `rng.bernoulli(bool[3], 0.5)`"));
                return error_expr(span);
            }
            (Some(p), None) => (None, p),
            (None, None) => {
                let d = Diagnostic::error(code::E0303, "`bernoulli` lacks `p`", span, "got no argument");
                self.error(d.help("its parameters are `T`, `p`"));
                return error_expr(span);
            }
        };
        let want = match ty {
            None => None,
            Some(a) => match self.type_arg(a, "bernoulli") {
                Some(Ty::Tensor(elem, shape)) => Some((elem, shape)),
                Some(other) => {
                    let text = format!("`bernoulli` takes a tensor type, got {}", self.show_ty(&other));
                    self.error(Diagnostic::error(code::E0301, text, span, "another type"));
                    return error_expr(span);
                }
                None => return error_expr(span),
            },
        };
        let p = self.arg_value(p, None);
        let Some((_, given)) = self.tensor_arg(&p, "bernoulli", DtypeBound::Float) else { return error_expr(span) };
        let bools = Elem::Dtype(Dtype::Bool);
        let Some((elem, shape)) = want else {
            return self.drawn(RngOp::Bernoulli, rng, vec![p], Ty::Tensor(bools, given), span);
        };
        let fits = match self.broadcast_shapes(&shape, &given) {
            Ok(both) => self.unify_shape(&shape, &both).is_ok(),
            Err(_) => false,
        };
        if !fits {
            let (have, want) = (self.show_ty(&p.ty), self.show_ty(&Ty::Tensor(elem, shape)));
            let text = format!("the probabilities do not broadcast to {want}: {have}");
            self.error(Diagnostic::error(code::E0402, text, p.span, format!("this is {have}")));
            return error_expr(span);
        }
        let e = self.drawn(RngOp::Bernoulli, rng, vec![p], Ty::Tensor(bools, shape.clone()), span);
        if elem == bools || e.ty.is_error() {
            return e;
        }
        mk(ExprKind::Convert(Box::new(e)), Ty::Tensor(elem, shape), span)
    }

    /// `uniform(T, low, high)`: from `low`, below `high`.
    fn uniform_between(&mut self, rng: Arg, mut call: Call<'_>, ty: Ty, elem: Elem) -> Expr {
        let span = call.span;
        let (Some(low), Some(high)) = (call.args[1].take(), call.args[2].take()) else {
            let d = Diagnostic::error(code::E0303, "`uniform` takes both bounds or none", span, "one of them");
            self.error(d.help("write `rng.uniform(f32[3], -1.0, 1.0)`"));
            return error_expr(span);
        };
        let scalar = Ty::scalar(elem);
        let low = self.arg_of(low, &scalar, "the lower bound of `uniform`");
        let high = self.arg_of(high, &scalar, "the upper bound of `uniform`");
        if low.ty.is_error() || high.ty.is_error() {
            return error_expr(span);
        }
        let low = self.temp(low);
        let low = || Box::new(mk(ExprKind::Local(low), scalar.clone(), span));
        let draw = self.drawn(RngOp::Uniform, rng, Vec::new(), ty.clone(), span);
        let binary = |op, left, right, ty| mk(ExprKind::Binary { op, left, right }, ty, span);
        let width = binary(BinaryOp::Sub, Box::new(high), low(), scalar.clone());
        let scaled = binary(BinaryOp::Mul, Box::new(draw), Box::new(width), ty.clone());
        binary(BinaryOp::Add, Box::new(scaled), low(), ty)
    }

    /// `choice(x, n)`: `n` rows, each drawn from all.
    fn choices(&mut self, rng: Arg, x: Expr, rows: &[Dim], n: ArgValue<'_>, span: Span) -> Expr {
        let n = self.arg_of(n, &Ty::I64, "the number of rows");
        let Some(Dim::Size(all)) = rows.first().cloned() else { return error_expr(span) };
        if n.ty.is_error() {
            return n;
        }
        let size = Dim::Size(self.size_or_temp(n));
        let t = self.zonk(&x.ty);
        let base = self.temp(x);
        let number = |kind| mk(kind, Ty::I64, span);
        let bounds = vec![number(ExprKind::Int(0)), number(ExprKind::Size(all))];
        let ids = Ty::Tensor(Elem::Dtype(Dtype::I64), vec![size.clone()]);
        let ids = self.drawn(RngOp::Randint, rng, bounds, ids, span);
        let mut dims = vec![size];
        dims.extend(rows[1..].iter().cloned());
        let ty = match &t {
            Ty::Stack(_, elem) => Ty::stack(dims, (**elem).clone()),
            Ty::Tensor(e, _) => Ty::Tensor(*e, dims),
            _ => return error_expr(span),
        };
        let base = Box::new(mk(ExprKind::Local(base), t, span));
        let subscripts = vec![Subscript::Gather { ids, proved: true }];
        mk(ExprKind::Index { base, subscripts }, ty, span)
    }

    /// Whether an argument is a type by what its name means.
    fn names_type(&self, e: &ast::Expr) -> bool {
        match &e.kind {
            A::Type(_) => true,
            A::Index { base, .. } | A::Field { base, .. } => self.names_type(base),
            A::Name(n) => match (self.entry_of(&n.name), self.def_of(&n.name)) {
                (Some(Entry::Generic(g)), _) => {
                    matches!(self.program.generics[g.index()].kind, Kind::Dtype(_) | Kind::Tree(_))
                }
                (Some(Entry::Local(_) | Entry::Size(_)), _) => false,
                (None, Some(def)) => matches!(def, Def::Struct(_) | Def::Alias(_)),
                (None, None) => Dtype::from_name(&n.name).is_some(),
            },
            _ => false,
        }
    }

    /// `f32(x)`: to another dtype; a struct's float dtype parameters follow.
    pub(in crate::check) fn conversion(&mut self, elem: Elem, args: Args<'_>, span: Span) -> Expr {
        let name = match elem {
            Elem::Dtype(d) => d.name(),
            Elem::Param(_) | Elem::Infer(_) => "conversion",
        };
        let Some(mut call) = self.slots(name, &["x"], 1, false, args, None, span) else {
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
