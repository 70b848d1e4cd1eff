//! `axis` and `keepdims` of functions of the standard library that are written for the last axis, or for all elements: the axes are moved to
//! the end and made one, and the result's go back.

use tdl_source::{Diagnostic, Span, code};

use super::Checker;
use super::call::{ArgValue, Args, CallArg};
use super::errors::{error_expr, mk};
use super::expr::quoted;
use crate::size::SizeExpr;
use crate::thir::{Axis, Builtin, Expr, ExprKind, FnId};
use crate::ty::{Dim, DtypeBound, Shape, Ty};

/// What the function makes of the axis.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shaped {
    Kept,
    Reduced,
}

/// Functions with an axis, the one that works along the last axis, and the dtypes that they take.
const ALONG: &[(&str, &str, Shaped, DtypeBound)] = &[
    ("softmax", "softmax", Shaped::Kept, DtypeBound::Float),
    ("log_softmax", "log_softmax", Shaped::Kept, DtypeBound::Float),
    ("logsumexp", "logsumexp", Shaped::Reduced, DtypeBound::Float),
    ("norm", "norm_last", Shaped::Reduced, DtypeBound::Float),
    ("var", "var_last", Shaped::Reduced, DtypeBound::Float),
    ("std", "std_last", Shaped::Reduced, DtypeBound::Float),
    ("median", "median_last", Shaped::Reduced, DtypeBound::Float),
    ("quantile", "quantile_last", Shaped::Reduced, DtypeBound::Float),
    ("roll", "roll_last", Shaped::Kept, DtypeBound::Any),
    ("diff", "diff_last", Shaped::Kept, DtypeBound::Num),
];

impl Checker<'_> {
    /// The call of such a function with an axis; `None` is any other call.
    pub(super) fn along_axis(&mut self, id: FnId, args: &mut Args<'_>, span: Span, callee: Span) -> Option<Expr> {
        let def = &self.program.fns[id.index()];
        let prelude = self.prelude();
        let (name, last, shaped, bound) =
            *ALONG.iter().find(|(name, ..)| *name == &*def.name && Some(def.module) == prelude)?;
        let labelled = |a: &CallArg<'_>| a.label.is_some_and(|l| matches!(&*l.name, "axis" | "keepdims"));
        if !args.iter().any(labelled) {
            return None;
        }
        let last = self.program.fns.iter().position(|f| &*f.name == last && Some(f.module) == prelude)?;
        let last = FnId(last as u32);
        // what the function takes beside the tensor goes on to it
        let own = self.program.fns[last.index()].params.iter().map(|p| p.name.to_string());
        let further = if shaped == Shaped::Kept { &["axis"][..] } else { &["axis", "keepdims"] };
        let params: Vec<String> = own.chain(further.iter().map(|p| (*p).to_owned())).collect();
        let args = std::mem::take(args);
        let [mut x, mut axis, mut keepdims] = [None, None, None];
        let mut rest: Args<'_> = Vec::new();
        for a in args {
            let slot = match a.label {
                None if x.is_none() => &mut x,
                Some(l) if &*l.name == "x" && x.is_none() => &mut x,
                Some(l) if &*l.name == "axis" && axis.is_none() => &mut axis,
                Some(l) if &*l.name == "keepdims" && shaped == Shaped::Reduced && keepdims.is_none() => &mut keepdims,
                Some(l) if !params.iter().any(|p| *p == *l.name) => {
                    let text = format!("`{name}` has no further parameter `{}`", l.name);
                    let names: Vec<&str> = params.iter().map(String::as_str).collect();
                    self.error(
                        Diagnostic::error(code::E0303, text, a.span(), "too much")
                            .help(format!("its parameters are {}", quoted(&names))),
                    );
                    return Some(error_expr(span));
                }
                Some(_) | None => {
                    rest.push(a);
                    continue;
                }
            };
            *slot = Some(a.value);
        }
        let Some(x) = x else {
            self.error(Diagnostic::error(
                code::E0303,
                format!("`{name}` needs a tensor"),
                span,
                "parameter `x` is not given",
            ));
            return Some(error_expr(span));
        };
        let x = self.arg_value(x, None);
        let keepdims = self.flag_arg(keepdims, "keepdims");
        let Some((elem, dims)) = self.tensor_arg(&x, name, bound) else {
            return Some(error_expr(span));
        };
        let axes = match axis {
            Some(a) => match self.axes_arg(a, &dims, name) {
                Some(axes) => axes,
                None => return Some(error_expr(span)),
            },
            None => (0..dims.len()).map(Axis::FromStart).collect(),
        };
        let place = |a: &Axis| match *a {
            Axis::FromStart(k) => k,
            Axis::FromEnd(k) => dims.len() - k,
        };
        let mut moved: Vec<usize> = axes.iter().map(place).collect();
        if dims.iter().any(|d| matches!(d, Dim::Spread(_))) && moved != [dims.len() - 1] {
            let text = format!("`{name}` of {} works along its last axis alone", self.show_ty(&x.ty));
            self.error(Diagnostic::error(code::E0406, text, span, "some axes are hidden in `..`"));
            return Some(error_expr(span));
        }
        if shaped == Shaped::Kept && moved.len() != 1 {
            self.error(Diagnostic::error(code::E0406, format!("`{name}` takes one axis"), span, "not one"));
            return Some(error_expr(span));
        }
        moved.sort_unstable();
        let others: Vec<usize> = (0..dims.len()).filter(|i| !moved.contains(i)).collect();
        let perm: Vec<usize> = others.iter().chain(&moved).copied().collect();
        let shape = |places: &[usize]| -> Shape { places.iter().map(|i| dims[*i].clone()).collect() };
        let builtin =
            |op, x: Expr, dims: Shape| mk(ExprKind::Builtin { op, args: vec![x] }, Ty::Tensor(elem, dims), span);
        let in_place = perm.iter().enumerate().all(|(i, p)| i == *p);
        let mut y = x;
        if !in_place {
            y = builtin(
                Builtin::Permute { perm: perm.iter().copied().map(Axis::FromStart).collect() },
                y,
                shape(&perm),
            );
        }
        if moved.len() != 1 {
            let sizes = moved.iter().filter_map(|i| match &dims[*i] {
                Dim::Size(e) => Some(e.clone()),
                Dim::Spread(_) => None,
            });
            let mut flat = shape(&others);
            flat.push(Dim::Size(sizes.fold(SizeExpr::constant(1), |p, e| p.mul(&e))));
            y = builtin(Builtin::Reshape, y, flat);
        }
        let mut args = vec![CallArg { label: None, value: ArgValue::Ready(Box::new(y)) }];
        args.append(&mut rest);
        let y = self.call_fn(last, None, None, args, None, span, callee);
        let Ty::Tensor(_, result) = self.zonk(&y.ty) else { return Some(y) };
        Some(match shaped {
            Shaped::Kept if !in_place => {
                let mut back = vec![Axis::FromStart(0); perm.len()];
                let mut shape = result.clone();
                for (i, p) in perm.iter().enumerate() {
                    back[*p] = Axis::FromStart(i);
                    shape[*p] = result[i].clone();
                }
                builtin(Builtin::Permute { perm: back }, y, shape)
            }
            Shaped::Reduced if keepdims => {
                let one =
                    |i: usize| if moved.contains(&i) { Dim::Size(SizeExpr::constant(1)) } else { dims[i].clone() };
                builtin(Builtin::Reshape, y, (0..dims.len()).map(one).collect())
            }
            Shaped::Kept | Shaped::Reduced => y,
        })
    }
}
