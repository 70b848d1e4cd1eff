//! `axis` and `keepdims` of functions of the standard library that are written for the last axis, or for all elements: the axes are moved to
//! the end and made one, and the result's go back.

use tdl_source::{Diagnostic, Span, code};

use super::Checker;
use super::call::{ArgValue, Args, CallArg};
use super::errors::{error_expr, mk};
use super::expr::quoted;
use crate::size::SizeExpr;
use crate::thir::{Axis, Builtin, Expr, ExprKind, FnId};
use crate::ty::{Dim, Shape, Ty};

/// What the function makes of the axis.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shaped {
    Kept,
    Reduced,
}

/// Functions with an axis, and the one that works along the last axis.
const ALONG: &[(&str, &str, Shaped)] = &[
    ("softmax", "softmax", Shaped::Kept),
    ("log_softmax", "log_softmax", Shaped::Kept),
    ("logsumexp", "logsumexp", Shaped::Reduced),
    ("norm", "norm_last", Shaped::Reduced),
    ("var", "var_last", Shaped::Reduced),
    ("std", "std_last", Shaped::Reduced),
    ("median", "median_last", Shaped::Reduced),
];

impl Checker<'_> {
    /// The call of such a function with an axis; `None` is any other call.
    pub(super) fn along_axis(&mut self, id: FnId, args: &mut Args<'_>, span: Span, callee: Span) -> Option<Expr> {
        let def = &self.program.fns[id.index()];
        let prelude = self.prelude();
        let (name, last, shaped) =
            *ALONG.iter().find(|(name, ..)| *name == &*def.name && Some(def.module) == prelude)?;
        let labelled = |a: &CallArg<'_>| a.label.is_some_and(|l| matches!(&*l.name, "axis" | "keepdims"));
        if !args.iter().any(labelled) {
            return None;
        }
        let last = self.program.fns.iter().position(|f| &*f.name == last && Some(f.module) == prelude)?;
        let params: &[&str] = if shaped == Shaped::Kept { &["x", "axis"] } else { &["x", "axis", "keepdims"] };
        let args = std::mem::take(args);
        let mut slots: [Option<ArgValue<'_>>; 3] = [None, None, None];
        for a in args {
            let at = match a.label {
                None if slots[0].is_none() => 0,
                None => usize::MAX,
                Some(l) => params.iter().position(|p| *p == &*l.name).unwrap_or(usize::MAX),
            };
            match slots.get_mut(at) {
                Some(slot) if slot.is_none() => *slot = Some(a.value),
                _ => {
                    let text = match a.label {
                        Some(l) => format!("`{name}` has no further parameter `{}`", l.name),
                        None => format!("`{name}` takes one tensor"),
                    };
                    self.error(
                        Diagnostic::error(code::E0303, text, a.span(), "too much")
                            .help(format!("its parameters are {}", quoted(params))),
                    );
                    return Some(error_expr(span));
                }
            }
        }
        let [x, axis, keepdims] = slots;
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
        let Some((elem, dims)) = self.tensor_arg(&x, name, crate::ty::DtypeBound::Float) else {
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
        let args = vec![CallArg { label: None, value: ArgValue::Ready(Box::new(y)) }];
        let y = self.call_fn(FnId(last as u32), None, None, args, None, span, callee);
        if y.ty.is_error() {
            return Some(y);
        }
        Some(match shaped {
            Shaped::Kept if !in_place => {
                let mut back = vec![Axis::FromStart(0); perm.len()];
                for (i, p) in perm.iter().enumerate() {
                    back[*p] = Axis::FromStart(i);
                }
                builtin(Builtin::Permute { perm: back }, y, dims.clone())
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
