//! Builtin functions: their names and parameters, and how a call of one is checked.
//!
//! Elementwise functions come from the op tables; every other builtin is a row of [`ROWS`] with a rule in a file beside this one.

mod einops;
mod einsum;
mod files;
mod make;
mod math;
mod pattern;
mod random;
mod shape;
mod text;
mod tree;
mod window;
mod world;

use tdl_ir::op::{BinaryOp, DtypeRule, UnaryOp};
use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A, Ident};

use super::Checker;
use super::call::{ArgValue, Args};
use super::errors::{error_expr, has_error, mk};
use super::lower::count;
use crate::thir::{Axis, Builtin, Expr, ExprKind};
use crate::ty::{Dim, Dtype, DtypeBound, Elem, FnParam, FnTy, Shape, Ty};

/// What a name without a declaration is.
#[derive(Clone, Copy)]
pub(super) enum Row {
    Unary(UnaryOp),
    Binary(BinaryOp),
    Named(&'static Named),
}

/// A builtin with a rule of its own.
pub(super) struct Named {
    name: &'static str,
    params: &'static [&'static str],
    /// How many of them must be given.
    required: usize,
    /// Further arguments without label are taken too.
    rest: bool,
    rule: for<'c, 'a, 'b> fn(&'c mut Checker<'a>, Call<'b>) -> Expr,
}

/// A call with its arguments in the order of the parameters.
pub(super) struct Call<'e> {
    name: &'static str,
    args: Vec<Option<ArgValue<'e>>>,
    rest: Vec<ArgValue<'e>>,
    hint: Option<Ty>,
    span: Span,
}

macro_rules! rows {
    ($($name:literal ($($param:literal),*) $required:literal $rest:literal $rule:path;)*) => {
        &[$(Named { name: $name, params: &[$($param),*], required: $required, rest: $rest, rule: $rule }),*]
    };
}

const ROWS: &[Named] = rows! {
    "sum" ("x", "axis", "keepdims") 1 false math::reduce;
    "prod" ("x", "axis", "keepdims") 1 false math::reduce;
    "max" ("x", "axis", "keepdims") 1 false math::reduce;
    "min" ("x", "axis", "keepdims") 1 false math::reduce;
    "mean" ("x", "axis", "keepdims") 1 false math::reduce;
    "any" ("x", "axis", "keepdims") 1 false math::reduce;
    "all" ("x", "axis", "keepdims") 1 false math::reduce;
    "argmax" ("x", "axis", "keepdims") 1 false math::arg_reduce;
    "argmin" ("x", "axis", "keepdims") 1 false math::arg_reduce;
    "cumsum" ("x", "axis", "reverse") 1 false math::scan;
    "cumprod" ("x", "axis", "reverse") 1 false math::scan;
    "cummax" ("x", "axis", "reverse") 1 false math::scan;
    "cummin" ("x", "axis", "reverse") 1 false math::scan;
    "sort" ("x", "axis", "descending") 1 false math::sort;
    "argsort" ("x", "axis", "descending") 1 false math::sort;
    "where" ("c", "a", "b") 3 false math::choose;
    "allclose" ("a", "b", "rtol", "atol") 2 false math::allclose;
    "stop_grad" ("x") 1 false math::stop_grad;
    "zeros" ("T") 1 false make::filled;
    "ones" ("T") 1 false make::filled;
    "full" ("T", "value") 2 false make::full;
    "eye" ("T") 1 false make::eye;
    "arange" ("T", "start", "step") 1 false make::arange;
    "linspace" ("T", "first", "last") 3 false make::linspace;
    "Rng" ("seed") 1 false make::generator;
    "len" ("x") 1 false shape::len;
    "reshape" ("x", "sizes") 2 false shape::reshape;
    "broadcast_to" ("x", "sizes") 2 false shape::broadcast_to;
    "permute" ("x", "axes") 2 false shape::permute;
    "flip" ("x", "axis") 1 false shape::flip;
    "concat" ("parts", "axis") 1 false shape::concat;
    "stack" ("parts", "axis") 1 false shape::stack;
    "nonzero" ("x") 1 false shape::nonzero;
    "tree.map" ("f", "tree") 2 true tree::map;
    "tree.dot" ("a", "b") 2 false tree::dot;
    "tree.sum" ("tree") 1 false tree::total;
    "tree.norm" ("tree") 1 false tree::total;
    "tree.clip" ("tree", "norm") 2 false tree::clip;
    "tree.count" ("tree") 1 false tree::total;
    "print" ("end") 0 true world::print;
    "save" ("path", "value") 2 false files::save;
    "load" ("path", "rename", "extra") 1 false files::load;
    "read_csv" ("path", "header") 1 false files::read;
    "read_npy" ("path") 1 false files::read;
    "read_npz" ("path", "entry") 1 false files::read;
    "read_idx" ("path") 1 false files::read;
    "read_image" ("path") 1 false files::read;
    "write_csv" ("path", "x", "header") 2 false files::write;
    "write_npy" ("path", "x") 2 false files::write;
    "write_npz" ("path", "value") 2 false files::save;
    "write_idx" ("path", "x") 2 false files::write;
    "write_image" ("path", "x") 2 false files::write;
    "exists" ("path") 1 false world::exists;
    "clock" () 0 false world::clock;
    "grad" ("f", "wrt", "aux") 1 true later;
    "value_and_grad" ("f", "wrt", "aux") 1 true later;
    "jacobian" ("f", "wrt", "aux") 1 true later;
    "hessian" ("f", "wrt", "aux") 1 true later;
    "vjp" ("f", "wrt", "aux") 1 true later;
    "jvp" ("f", "wrt", "aux") 1 true later;
    "hvp" ("f", "wrt") 1 true later;
    "vmap" ("f", "in", "out") 1 true later;
    "einsum" ("pattern") 0 true later;
    "window" ("T", "pattern") 0 true later;
    "rearrange" ("x") 0 true later;
    "reduce" ("x") 0 true later;
    "repeat" ("x") 0 true later;
    "unique" ("x") 1 false text::unique;
    "searchsorted" ("sorted", "x", "right") 2 false text::search;
    "list_dir" ("path") 1 false text::host;
    "lines" ("text") 1 false text::host;
    "split" ("text", "by") 1 false text::host;
    "utf8" ("text") 1 false text::host;
    "text" ("bytes") 1 false text::host;
    "env" ("name", "default") 1 false text::host;
    "read_text" ("path") 1 false text::host;
    "write_text" ("path", "text") 2 false text::host;
};

/// Reached only by what has no rule yet: derivatives are dispatched before.
fn later(cx: &mut Checker<'_>, call: Call<'_>) -> Expr {
    cx.not_yet(&format!("`{}`", call.name), call.span);
    error_expr(call.span)
}

pub(super) fn find(name: &str) -> Option<Row> {
    if let Some(row) = ROWS.iter().find(|r| r.name == name) {
        return Some(Row::Named(row));
    }
    if let Some(op) = UnaryOp::from_name(name).filter(|op| is_called(*op)) {
        return Some(Row::Unary(op));
    }
    BinaryOp::from_name(name).filter(|op| op.def().symbol.is_none()).map(Row::Binary)
}

/// Written as an operator, not by its name.
fn is_called(op: UnaryOp) -> bool {
    !matches!(op, UnaryOp::Neg | UnaryOp::Not)
}

/// What a reader needs to know about a builtin function.
#[derive(Clone, Debug)]
pub struct BuiltinHelp {
    pub params: Vec<&'static str>,
    /// How many of them must be given.
    pub required: usize,
    /// Further arguments are taken.
    pub rest: bool,
    pub doc: Option<&'static str>,
}

/// The builtin function of this name.
pub fn builtin_help(name: &str) -> Option<BuiltinHelp> {
    Some(match find(name)? {
        Row::Unary(op) => BuiltinHelp { params: vec!["x"], required: 1, rest: false, doc: Some(op.def().doc) },
        Row::Binary(op) => BuiltinHelp { params: vec!["a", "b"], required: 2, rest: false, doc: Some(op.def().doc) },
        Row::Named(row) => {
            BuiltinHelp { params: row.params.to_vec(), required: row.required, rest: row.rest, doc: None }
        }
    })
}

/// All builtin functions, those with a dot in the name too.
pub fn names() -> impl Iterator<Item = &'static str> {
    let unary = UnaryOp::ALL.iter().filter(|op| is_called(**op)).map(|op| op.def().name);
    let binary = BinaryOp::ALL.iter().filter(|op| op.def().symbol.is_none()).map(|op| op.def().name);
    ROWS.iter().map(|r| r.name).chain(unary).chain(binary)
}

impl Checker<'_> {
    pub(super) fn call_builtin(&mut self, row: Row, args: Args<'_>, hint: Option<&Ty>, span: Span) -> Expr {
        match row {
            Row::Unary(op) => {
                let Some(call) = self.slots(op.def().name, &["x"], 1, false, args, hint, span) else {
                    return error_expr(span);
                };
                self.elementwise1(op, call)
            }
            Row::Binary(op) => {
                let Some(call) = self.slots(op.def().name, &["a", "b"], 2, false, args, hint, span) else {
                    return error_expr(span);
                };
                self.elementwise2(op, call)
            }
            Row::Named(row) => {
                use crate::thir::DerivativeKind as K;
                match row.name {
                    "grad" => return self.derivative(K::Grad, args, span),
                    "value_and_grad" => return self.derivative(K::ValueAndGrad, args, span),
                    "jacobian" => return self.derivative(K::Jacobian, args, span),
                    "hessian" => return self.derivative(K::Hessian, args, span),
                    "vjp" => return self.vjp(args, span),
                    "jvp" => return self.jvp(args, span),
                    "einsum" => return self.einsum(args, span),
                    "window" => return self.window(args, span),
                    "rearrange" | "reduce" | "repeat" => return self.einops(row.name, args, span),
                    "hvp" => return self.hvp(args, span),
                    "vmap" => return self.vmap(args, span),
                    _ => {}
                }
                match self.slots(row.name, row.params, row.required, row.rest, args, hint, span) {
                    Some(call) => (row.rule)(self, call),
                    None => error_expr(span),
                }
            }
        }
    }

    /// Sorts arguments by parameters, or reports.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn slots<'e>(
        &mut self,
        name: &'static str,
        params: &[&'static str],
        required: usize,
        rest: bool,
        args: Args<'e>,
        hint: Option<&Ty>,
        span: Span,
    ) -> Option<Call<'e>> {
        let mut call =
            Call { name, args: params.iter().map(|_| None).collect(), rest: Vec::new(), hint: hint.cloned(), span };
        let (mut next, total) = (0, args.len());
        // a function that takes any number of values has its options by label alone
        let positional = if rest { required } else { params.len() };
        for a in args {
            let at = a.span();
            let i = match a.label {
                Some(label) => match params.iter().position(|p| *p == &*label.name) {
                    Some(i) => i,
                    None => {
                        let d = Diagnostic::error(
                            code::E0303,
                            format!("`{name}` has no parameter `{}`", label.name),
                            label.span,
                            "unknown label",
                        );
                        self.error(if params.is_empty() {
                            d
                        } else if let Some(near) = super::hints::label(&label.name, params) {
                            d.fix(format!("did you mean `{near}`?"), label.span, near)
                        } else {
                            d.help(format!("its parameters are {}", super::expr::quoted(params)))
                        });
                        return None;
                    }
                },
                None if next < positional => {
                    next += 1;
                    next - 1
                }
                None if rest => {
                    call.rest.push(a.value);
                    continue;
                }
                None => {
                    let text = format!("`{name}` takes {}, got {total}", count(params.len(), "argument"));
                    self.error(Diagnostic::error(code::E0303, text, at, "too many"));
                    return None;
                }
            };
            if call.args[i].is_some() {
                let text = format!("parameter `{}` of `{name}` is given twice", params[i]);
                self.error(Diagnostic::error(code::E0303, text, at, "a second time"));
                return None;
            }
            call.args[i] = Some(a.value);
        }
        let missing: Vec<&str> =
            (0..required.min(params.len())).filter(|i| call.args[*i].is_none()).map(|i| params[i]).collect();
        if !missing.is_empty() {
            let text = format!("`{name}` lacks {}", super::expr::quoted(&missing));
            self.error(
                Diagnostic::error(code::E0303, text, span, format!("got {}", count(total, "argument")))
                    .help(format!("its parameters are {}", super::expr::quoted(params))),
            );
            return None;
        }
        Some(call)
    }

    /// An argument as a value.
    pub(super) fn arg_value(&mut self, a: ArgValue<'_>, hint: Option<&Ty>) -> Expr {
        match a {
            ArgValue::Ast(e) => self.expr(e, hint),
            ArgValue::Ready(e) => self.open(*e, ""),
        }
    }

    /// An argument of a given type.
    pub(super) fn arg_of(&mut self, a: ArgValue<'_>, ty: &Ty, what: &str) -> Expr {
        match a {
            ArgValue::Ast(e) => self.check_as(e, ty, what),
            ArgValue::Ready(e) => self.coerce(*e, ty, what),
        }
    }

    /// The element type and shape of a tensor that a builtin takes, or a report.
    pub(super) fn tensor_arg(&mut self, e: &Expr, name: &str, need: DtypeBound) -> Option<(Elem, Shape)> {
        let t = self.zonk(&e.ty);
        match &t {
            Ty::Tensor(elem, shape) => {
                if !self.require_elem(*elem, need) {
                    let text = format!("`{name}` takes {}, got {}", bound_text(need), self.show_ty(&t));
                    let mut d = Diagnostic::error(code::E0302, text, e.span, format!("this is {}", self.show_ty(&t)));
                    let bools = self.zonk_elem(*elem) == Elem::Dtype(Dtype::Bool);
                    if need == DtypeBound::Float {
                        d = d.help("convert it: `f32(x)`");
                    } else if bools && matches!(need, DtypeBound::Num | DtypeBound::Int) {
                        d = d.help(format!("convert it: `i64({})`", self.quoted(e.span, false)));
                    }
                    self.error(d);
                    return None;
                }
                Some((self.zonk_elem(*elem), shape.clone()))
            }
            Ty::Error | Ty::Never => None,
            other => {
                if !has_error(other) {
                    let text = format!("`{name}` takes a tensor, got {}", self.show_ty(other));
                    let mut d =
                        Diagnostic::error(code::E0301, text, e.span, format!("this is {}", self.show_ty(other)));
                    d = match other {
                        Ty::Infer(_) => d.help("its type is not known yet: annotate it, `|x: f32[3]| …`"),
                        _ if super::ops::texts(other).is_some() => d,
                        Ty::Struct(..) | Ty::Tuple(_) | Ty::Stack(..) | Ty::Param(_) => {
                            d.help(format!("for each leaf: `tree.map(|x| {name}(x), t)`"))
                        }
                        _ => d,
                    };
                    self.error(d);
                }
                None
            }
        }
    }

    /// A type as an argument.
    pub(super) fn type_arg(&mut self, a: ArgValue<'_>, name: &str) -> Option<Ty> {
        let (ty, span) = match a {
            ArgValue::Ast(e) => (super::lower::expr_to_type(e), e.span),
            ArgValue::Ready(e) => (None, e.span),
        };
        let Some(ty) = ty else {
            let example = if name == "arange" { "i64[5]" } else { "f32[2, 3]" };
            self.error(
                Diagnostic::error(code::E0309, format!("`{name}` takes a type"), span, "not a type")
                    .help(format!("for example `{name}({example})`")),
            );
            return None;
        };
        let t = self.lower(&ty);
        (!has_error(&t)).then_some(t)
    }

    /// `true` or `false`, written.
    pub(super) fn flag_arg(&mut self, a: Option<ArgValue<'_>>, name: &str) -> bool {
        match a {
            None => false,
            Some(ArgValue::Ast(ast::Expr { kind: A::Bool(b), .. })) => *b,
            Some(other) => {
                let at = super::call::CallArg { label: None, value: other }.span();
                let text = format!("`{name}` is `true` or `false`");
                self.error(Diagnostic::error(code::E0303, text, at, "a literal is needed"));
                false
            }
        }
    }

    /// Axes as written: an integer or a tuple of them.
    pub(super) fn axes_arg(&mut self, a: ArgValue<'_>, shape: &[Dim], name: &str) -> Option<Vec<Axis>> {
        let ArgValue::Ast(e) = a else { return None };
        let items: Vec<&ast::Expr> = match &e.kind {
            A::Tuple(items) => items.iter().collect(),
            _ => vec![e],
        };
        let mut out = Vec::new();
        for item in items {
            let axis = self.axis(item, shape, name)?;
            if out.contains(&axis) {
                self.error(Diagnostic::error(code::E0406, "an axis stands twice", item.span, "again"));
                return None;
            }
            out.push(axis);
        }
        Some(out)
    }

    pub(super) fn axis_arg(&mut self, a: ArgValue<'_>, shape: &[Dim], name: &str) -> Option<Axis> {
        match self.axes_arg(a, shape, name)?.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    fn axis(&mut self, e: &ast::Expr, shape: &[Dim], name: &str) -> Option<Axis> {
        let value = match &e.kind {
            A::Int(v) => i64::try_from(*v).ok(),
            A::Unary { op: ast::UnaryOp::Neg, operand, .. } => match &operand.kind {
                A::Int(v) => i64::try_from(-*v).ok(),
                _ => None,
            },
            _ => None,
        };
        let Some(k) = value else {
            let help = match name {
                "max" => "the larger one of two values is `maximum(a, b)`; an axis is for example `axis: -1`",
                "min" => "the smaller one of two values is `minimum(a, b)`; an axis is for example `axis: -1`",
                "concat" | "stack" => "the parts are one argument: `concat((a, b), axis: 0)`",
                _ => "for example `axis: -1`, or `axis: (0, 1)`",
            };
            self.error(
                Diagnostic::error(code::E0406, "an axis is a written number", e.span, "not a literal").help(help),
            );
            return None;
        };
        let spread = shape.iter().position(|d| matches!(d, Dim::Spread(_)));
        let n = shape.len() as i64;
        let axis = match spread {
            None if (0..n).contains(&k) => Some(Axis::FromStart(k as usize)),
            None if (-n..0).contains(&k) => Some(Axis::FromStart((n + k) as usize)),
            Some(p) if k >= 0 && k < p as i64 => Some(Axis::FromStart(k as usize)),
            Some(p) if k < 0 && -k < n - p as i64 => Some(Axis::FromEnd(-k as usize)),
            None | Some(_) => None,
        };
        if axis.is_none() {
            let shown = self.show_ty(&Ty::Tensor(Elem::Dtype(Dtype::F32), shape.to_vec()));
            let shape_text = shown.strip_prefix("f32").unwrap_or(&shown).to_string();
            let d = Diagnostic::error(
                code::E0406,
                format!("`{name}`: there is no axis {k}"),
                e.span,
                format!("the shape is {}", if shape_text.is_empty() { "[]" } else { &shape_text }),
            );
            self.error(match spread {
                Some(_) => d.help("axes behind a `..s` count from the end: `axis: -1`"),
                None => d,
            });
        }
        axis
    }

    /// An elementwise builtin as a function value; for others see [`as_lambda`].
    pub(super) fn builtin_value(&mut self, name: &str, hint: Option<&Ty>, span: Span) -> Option<Expr> {
        let row = find(name)?;
        let hint = hint.map(|t| self.zonk(t));
        let given = match &hint {
            Some(Ty::Fn(f)) => Some((**f).clone()),
            _ => None,
        };
        let param = |t: Ty| FnParam { name: None, ty: t, mutable: false };
        let of_hint = |i: usize| match given.as_ref().and_then(|f| f.params.get(i)).map(|p| p.ty.clone()) {
            Some(t @ Ty::Tensor(..)) => Some(t),
            _ => None,
        };
        let generics = given.as_ref().map(|f| f.generics.clone()).unwrap_or_default();
        let (op, params, result) = match row {
            Row::Unary(op) => {
                let bound = bound_of(op.def().dtype);
                let t = match of_hint(0) {
                    Some(t) => t,
                    None => {
                        let elem = self.elem_bound(bound);
                        Ty::Tensor(elem, vec![Dim::Spread(self.body.store.new_spread())])
                    }
                };
                let result = math::unary_result(op, &t);
                (Builtin::Elementwise1(op), vec![param(t)], result)
            }
            Row::Binary(op) => {
                let t = match of_hint(0) {
                    Some(t) => t,
                    None => {
                        let elem = self.elem_bound(bound_of(op.def().dtype));
                        Ty::Tensor(elem, vec![Dim::Spread(self.body.store.new_spread())])
                    }
                };
                (Builtin::Elementwise2(op), vec![param(t.clone()), param(t.clone())], t)
            }
            Row::Named(_) => return None,
        };
        let ty = Ty::Fn(FnTy { generics, params, result, io: false }.into());
        Some(mk(ExprKind::BuiltinFn(op), ty, span))
    }
}

/// The lambda that a builtin with a rule of its own is as a value: `sum` is `|x| sum(x)`. None for those that take more than
/// values: a type, a function, a pattern, several parts.
pub(super) fn as_lambda(name: &str, span: Span) -> Option<ast::Expr> {
    let Row::Named(row) = find(name)? else { return None };
    let names = &row.params[..row.required];
    if names.is_empty() || row.rest || !names.iter().all(|p| VALUES.contains(p)) {
        return None;
    }
    let ident = |p: &str| Ident { name: p.into(), span };
    let value = |p: &str| ast::Expr { kind: A::Name(ident(p)), span };
    // a parameter may not hide what is called
    let names: Vec<&str> = names.iter().map(|p| if *p == "tree" { "t" } else { p }).collect();
    let callee = match name.split_once('.') {
        Some((base, field)) => ast::Expr { kind: A::Field { base: Box::new(value(base)), name: ident(field) }, span },
        None => value(name),
    };
    let args = names.iter().map(|p| ast::Arg { label: None, value: value(p) }).collect();
    let body = ast::Expr { kind: A::Call { callee: Box::new(callee), args, args_span: span }, span };
    let param = |p: &&str| ast::Param { mutable: false, name: ident(p), ty: None, default: None, span };
    let params = names.iter().map(param).collect();
    Some(ast::Expr { kind: A::Lambda { params, result: None, body: Box::new(body) }, span })
}

/// Parameters of builtins that any value may stand for.
const VALUES: &[&str] = &["x", "a", "b", "c", "tree", "text", "bytes", "sorted"];

/// What a dtype rule asks of an unknown dtype.
pub(super) fn bound_of(rule: DtypeRule) -> DtypeBound {
    match rule {
        DtypeRule::Float => DtypeBound::Float,
        DtypeRule::Num => DtypeBound::Num,
        DtypeRule::Int => DtypeBound::Int,
        DtypeRule::Bool | DtypeRule::IntOrBool | DtypeRule::Any => DtypeBound::Any,
    }
}

fn bound_text(b: DtypeBound) -> &'static str {
    match b {
        DtypeBound::Float => "floats",
        DtypeBound::Int => "integers",
        DtypeBound::Num => "numbers",
        DtypeBound::Any => "a tensor",
    }
}

/// The shape without `axes`, or with 1 in their place.
pub(super) fn without(shape: &[Dim], axes: &[Axis], keepdims: bool) -> Shape {
    let gone: Vec<usize> = axes.iter().map(|a| place(*a, shape)).collect();
    let mut out = Vec::new();
    for (i, d) in shape.iter().enumerate() {
        if !gone.contains(&i) {
            out.push(d.clone());
        } else if keepdims {
            out.push(Dim::Size(crate::SizeExpr::constant(1)));
        }
    }
    out
}

/// Where an axis stands among the entries of a shape.
pub(super) fn place(axis: Axis, shape: &[Dim]) -> usize {
    match axis {
        Axis::FromStart(i) => i,
        Axis::FromEnd(k) => shape.len() - k,
    }
}
