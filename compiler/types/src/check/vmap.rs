//! Types of `vmap(f, in: 0, out: 0)`: the parameters and the result of `f` with an axis more. What the function is given is
//! often known later than the function, so the axes are put in, or taken away, when one side becomes known.

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A};

use super::call::{ArgValue, Args, CallArg};
use super::errors::{error_expr, has_error, mk};
use super::{Checker, Later};
use crate::size::SizeExpr;
use crate::subst::Bindings;
use crate::thir::{Axis, Expr, ExprKind, Vmap};
use crate::ty::{Dim, FnParam, FnTy, Ty};

/// A `vmap` whose types are not all known.
#[derive(Clone)]
pub(super) struct Mapping {
    params: Vec<Param>,
    /// Of the function, and of the mapped one.
    result: (Ty, Ty),
    out: Axis,
    lanes: SizeExpr,
    span: Span,
    func: Span,
}

#[derive(Clone)]
struct Param {
    name: String,
    inner: Ty,
    outer: Ty,
    /// None: not mapped.
    axis: Option<Axis>,
    done: bool,
}

impl Checker<'_> {
    pub(super) fn vmap(&mut self, args: Args<'_>, span: Span) -> Expr {
        let (mut func, mut ins, mut out) = (None, None, Axis::FromStart(0));
        for a in args {
            let at = a.span();
            match (a.label.map(|l| l.name.to_string()).as_deref(), a.value) {
                (Some("in"), ArgValue::Ast(e)) => ins = Some(e),
                (Some("out"), ArgValue::Ast(e)) => match self.lane_axis(e) {
                    Some(Some(axis)) => out = axis,
                    Some(None) => {
                        let d = Diagnostic::error(code::E0406, "every result of `vmap` has the lanes", at, "no axis");
                        self.error(d.help("say where: `out: 0`"));
                        return error_expr(span);
                    }
                    None => return error_expr(span),
                },
                (None | Some("f"), value) if func.is_none() => func = Some(value),
                (label, value) => {
                    let text = match label {
                        Some(label) => format!("there is no option `{label}` here"),
                        None => "`vmap` takes the function alone".to_string(),
                    };
                    let at = CallArg { label: None, value }.span();
                    self.error(
                        Diagnostic::error(code::E0303, text, at, "too many")
                            .help("the options are `in` and `out`; apply the result: `vmap(f)(xs)`"),
                    );
                    return error_expr(span);
                }
            }
        }
        let Some(func) = func else {
            self.error(Diagnostic::error(code::E0303, "the function to map is missing", span, "takes a function"));
            return error_expr(span);
        };
        let value = match func {
            ArgValue::Ast(e) => self.expr(e, None),
            ArgValue::Ready(e) => *e,
        };
        let value = self.as_function(value, None);
        let t = self.zonk(&value.ty);
        let Ty::Fn(ft) = &t else {
            if !has_error(&t) {
                let text = format!("`vmap` maps a function, got {}", self.show_ty(&t));
                self.error(
                    Diagnostic::error(code::E0304, text, value.span, "not a function")
                        .help("write a function of what is mapped: `vmap(|x| f(x))(xs)`"),
                );
            }
            return error_expr(span);
        };
        let generics = self.fresh_args(&ft.generics);
        let ft = ft.subst(&Bindings::new(&ft.generics, &generics));
        if ft.io {
            let text = "an `io` function cannot be mapped";
            let label = "touches files, the clock or the network";
            self.error(Diagnostic::error(code::E0503, text, value.span, label));
            return error_expr(span);
        }
        let Some(axes) = self.lane_axes(ins, &ft, span, value.span) else { return error_expr(span) };
        self.finish_vmap(value, &ft, axes, out, span)
    }

    fn finish_vmap(&mut self, value: Expr, ft: &FnTy, axes: Vec<Option<Axis>>, out: Axis, span: Span) -> Expr {
        let mut params = Vec::with_capacity(axes.len());
        let mut outer_params = Vec::with_capacity(axes.len());
        for (i, (p, axis)) in ft.params.iter().zip(&axes).enumerate() {
            if p.mutable && !matches!(self.zonk(&p.ty), Ty::Rng) {
                let text = "a `mut` parameter cannot be mapped: its lanes have no place to be written back to";
                self.error(Diagnostic::error(code::E0303, text, value.span, "changes its argument"));
                return error_expr(span);
            }
            let outer = if axis.is_some() { self.body.store.new_ty() } else { p.ty.clone() };
            let name = p.name.as_deref().map_or(format!("#{}", i + 1), str::to_string);
            outer_params.push(FnParam { name: p.name.clone(), ty: outer.clone(), mutable: false });
            params.push(Param { name, inner: p.ty.clone(), outer, axis: *axis, done: axis.is_none() });
        }
        if let ExprKind::Lambda(id) = value.kind {
            self.body.mapped.push(id);
        }
        let result = self.body.store.new_ty();
        let lanes = self.body.store.new_size();
        let (func, inner) = (value.span, ft.result.clone());
        let m = Mapping { params, result: (inner, result.clone()), out, lanes, span, func };
        self.body.later.push(Later::Mapping(Box::new(m)));
        let ty = Ty::Fn(FnTy { generics: Vec::new(), params: outer_params, result, io: false }.into());
        let e = mk(ExprKind::Vmap(Vmap { func: Box::new(value), axes, out }), ty, span);
        self.run_pending();
        e
    }

    /// One axis for every parameter, or one each.
    fn lane_axes(&mut self, ins: Option<&ast::Expr>, ft: &FnTy, span: Span, func: Span) -> Option<Vec<Option<Axis>>> {
        let n = ft.params.len();
        let axes = match ins.map(|e| (&e.kind, e)) {
            None => vec![Some(Axis::FromStart(0)); n],
            Some((A::Tuple(items), e)) => {
                if items.len() != n {
                    let axes = if items.len() == 1 { "1 axis".to_string() } else { format!("{} axes", items.len()) };
                    let text = format!("`in` has {axes}, the function {}", super::lower::count(n, "parameter"));
                    self.error(
                        Diagnostic::error(code::E0406, text, e.span, "one for each").label(func, "this function"),
                    );
                    return None;
                }
                items.iter().map(|e| self.lane_axis(e)).collect::<Option<Vec<_>>>()?
            }
            Some((_, e)) => vec![self.lane_axis(e)?; n],
        };
        // functions are not mapped
        let is_fn = |cx: &Self, p: &FnParam| matches!(cx.zonk(&p.ty), Ty::Fn(_));
        let axes: Vec<Option<Axis>> =
            axes.into_iter().zip(&ft.params).map(|(a, p)| a.filter(|_| !is_fn(self, p))).collect();
        if axes.iter().all(Option::is_none) {
            let at = ins.map_or(span, |e| e.span);
            self.error(
                Diagnostic::error(code::E0406, "`vmap` maps at least one argument", at, "none is mapped")
                    .help("the axis of each argument: `in: (0, none)`"),
            );
            return None;
        }
        Some(axes)
    }

    /// A written axis, or `none`.
    #[allow(clippy::option_option)]
    fn lane_axis(&mut self, e: &ast::Expr) -> Option<Option<Axis>> {
        if matches!(&e.kind, A::Name(n) if &*n.name == "none") {
            return Some(None);
        }
        match super::index::literal_int(e) {
            Some(k) if k >= 0 => Some(Some(Axis::FromStart(k as usize))),
            Some(k) => Some(Some(Axis::FromEnd(k.unsigned_abs() as usize))),
            None => {
                self.error(
                    Diagnostic::error(code::E0406, "an axis is a written number", e.span, "not a literal").help(
                        "for example `in: 0`, or `in: (0, none)` where the second argument is the same in all lanes",
                    ),
                );
                None
            }
        }
    }

    /// Goes on with a `vmap`; gives it back if something is still unknown.
    pub(super) fn run_mapping(&mut self, mut m: Box<Mapping>, last: bool) -> Option<Box<Mapping>> {
        for k in 0..m.params.len() {
            if m.params[k].done {
                continue;
            }
            let p = &m.params[k];
            let axis = p.axis.unwrap_or(Axis::FromStart(0));
            let (inner, outer) = (self.zonk(&p.inner), self.zonk(&p.outer));
            if has_error(&inner) || has_error(&outer) {
                let _ = self.unify(&m.result.1, &Ty::Error);
                return None;
            }
            let known = !matches!(outer, Ty::Infer(_));
            if !known && (!last || matches!(inner, Ty::Infer(_))) {
                continue;
            }
            m.params[k].done = true;
            let fits = if known {
                self.take_lanes(&m, k, &outer, axis).is_some_and(|taken| match self.unify(&inner, &taken) {
                    Ok(()) => true,
                    Err(why) => {
                        let what = format!("one lane of argument `{}`", m.params[k].name);
                        let before = self.errors.len();
                        self.mismatch(&inner, &taken, &why, m.func, &what);
                        if before < self.errors.len()
                            && let Some(d) = self.errors.pop()
                        {
                            let d = self.axes_of(&m).into_iter().fold(d, Diagnostic::note);
                            self.errors.push(d);
                        }
                        false
                    }
                })
            } else {
                match self.put_lanes(&inner, axis, &m.lanes) {
                    Ok(with) => self.unify(&outer, &with).is_ok(),
                    Err(why) => {
                        self.error(Diagnostic::error(code::E0406, why, m.span, "mapped here"));
                        false
                    }
                }
            };
            if !fits {
                let _ = self.unify(&m.result.1, &Ty::Error);
                return None;
            }
            self.run_pending();
        }
        let result = self.zonk(&m.result.0);
        if m.params.iter().any(|p| !p.done) || matches!(result, Ty::Infer(_)) {
            return Some(m);
        }
        let with = self.put_lanes(&result, m.out, &m.lanes).unwrap_or_else(|why| {
            let text = format!("the result of a lane has no place in the result of all: {why}");
            self.error(Diagnostic::error(code::E0507, text, m.span, "mapped here").label(m.func, "gives it"));
            Ty::Error
        });
        let _ = self.unify(&m.result.1, &with);
        None
    }

    /// The type of one lane; the axis has the size of all the others.
    fn take_lanes(&mut self, m: &Mapping, k: usize, outer: &Ty, axis: Axis) -> Option<Ty> {
        let mut sizes = Vec::new();
        let taken = match self.without_axis(outer, axis, &mut sizes) {
            Ok(t) => t,
            Err(why) => {
                let text = format!("argument `{}` of the mapped function: {why}", m.params[k].name);
                self.error(
                    Diagnostic::error(code::E0406, text, m.span, "mapped here")
                        .help("`none` leaves an argument the same in all lanes: `in: (0, none)`"),
                );
                return None;
            }
        };
        for s in sizes {
            if self.unify_size(&m.lanes, &s).is_err() {
                let text = "the arguments of `vmap` have different numbers of lanes";
                let d = Diagnostic::error(code::E0401, text, m.span, "mapped here");
                let d = self.axes_of(m).into_iter().fold(d, Diagnostic::note);
                self.error(d);
                return None;
            }
        }
        Some(taken)
    }

    /// Each argument's axis and its size, for messages.
    fn axes_of(&self, m: &Mapping) -> Vec<String> {
        let line = |p: &Param| {
            let t = self.zonk(&p.outer);
            let shown = self.show_ty(&t);
            let Some(axis) = p.axis else { return format!("`{}`: {shown}, not mapped", p.name) };
            let mut own = Vec::new();
            match self.without_axis(&t, axis, &mut own) {
                Ok(_) => {
                    let size = own.first().map(|s| self.show().size(&self.zonk_size(s))).unwrap_or_default();
                    format!("`{}`: axis {} of {shown} is {size}", p.name, axis_name(axis))
                }
                Err(_) => format!("`{}`: {shown}", p.name),
            }
        };
        let known = |p: &&Param| !matches!(self.zonk(&p.outer), Ty::Infer(_));
        m.params.iter().filter(known).map(line).collect()
    }

    fn without_axis(&self, t: &Ty, axis: Axis, sizes: &mut Vec<SizeExpr>) -> Result<Ty, String> {
        let cut = |dims: &[Dim], sizes: &mut Vec<SizeExpr>| {
            let at = match axis {
                Axis::FromStart(k) => Some(k),
                Axis::FromEnd(k) => dims.len().checked_sub(k),
            };
            let known = |i: usize| match axis {
                Axis::FromStart(_) => dims.get(..=i).is_some_and(|d| d.iter().all(is_size)),
                Axis::FromEnd(_) => dims.get(i..).is_some_and(|d| d.iter().all(is_size)),
            };
            let at = at.filter(|i| known(*i))?;
            if let Dim::Size(s) = &dims[at] {
                sizes.push(s.clone());
            }
            let mut rest = dims.to_vec();
            rest.remove(at);
            Some(rest)
        };
        let none = || format!("{} has no axis {}", self.show_ty(t), axis_name(axis));
        match t {
            Ty::Tensor(e, dims) => cut(dims, sizes).map(|rest| Ty::Tensor(*e, rest)).ok_or_else(none),
            Ty::Stack(dims, elem) if matches!(axis, Axis::FromStart(_)) => {
                cut(dims, sizes).map(|rest| Ty::stack(rest, (**elem).clone())).ok_or_else(none)
            }
            Ty::Stack(..) => Err("the axes of a stack are counted from the front".into()),
            Ty::Tuple(items) => {
                items.iter().map(|t| self.without_axis(t, axis, sizes)).collect::<Result<_, _>>().map(Ty::Tuple)
            }
            Ty::Rng => Err("a generator has no lanes; `rng.split(n)` gives a stack of `n`".into()),
            Ty::Error
            | Ty::Never
            | Ty::Struct(..)
            | Ty::Param(_)
            | Ty::Fn(_)
            | Ty::Str
            | Ty::Exists(..)
            | Ty::Infer(_) => Err(none()),
        }
    }

    fn put_lanes(&self, t: &Ty, axis: Axis, lanes: &SizeExpr) -> Result<Ty, String> {
        let put = |dims: &[Dim]| {
            let at = match axis {
                Axis::FromStart(k) => Some(k).filter(|k| dims.get(..*k).is_some_and(|d| d.iter().all(is_size))),
                Axis::FromEnd(k) => (dims.len() + 1).checked_sub(k).filter(|i| dims[*i..].iter().all(is_size)),
            };
            at.map(|at| {
                let mut all = dims.to_vec();
                all.insert(at, Dim::Size(lanes.clone()));
                all
            })
        };
        let none = || format!("{} has no place for axis {}", self.show_ty(t), axis_name(axis));
        match t {
            Ty::Tensor(e, dims) => put(dims).map(|all| Ty::Tensor(*e, all)).ok_or_else(none),
            Ty::Stack(dims, elem) if matches!(axis, Axis::FromStart(_)) => {
                put(dims).map(|all| Ty::stack(all, (**elem).clone())).ok_or_else(none)
            }
            Ty::Tuple(items) => {
                items.iter().map(|t| self.put_lanes(t, axis, lanes)).collect::<Result<_, _>>().map(Ty::Tuple)
            }
            Ty::Struct(..) | Ty::Param(_) | Ty::Rng if axis == Axis::FromStart(0) => {
                Ok(Ty::stack(vec![Dim::Size(lanes.clone())], t.clone()))
            }
            Ty::Never | Ty::Error => Ok(t.clone()),
            Ty::Exists(..) => Err(format!("{} may have another size in each lane", self.show_ty(t))),
            Ty::Stack(..) | Ty::Struct(..) | Ty::Param(_) | Ty::Rng | Ty::Fn(_) | Ty::Str | Ty::Infer(_) => Err(none()),
        }
    }
}

fn is_size(d: &Dim) -> bool {
    matches!(d, Dim::Size(_))
}

fn axis_name(axis: Axis) -> String {
    match axis {
        Axis::FromStart(k) => k.to_string(),
        Axis::FromEnd(k) => format!("-{k}"),
    }
}
