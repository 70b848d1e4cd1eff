//! The two sides of an assignment.

use tdl_source::{Diagnostic, code};
use tdl_syntax::ast::{self, ExprKind as A};

use super::Checker;
use super::errors::{error_expr, mk};
use crate::size::SizeVar;
use crate::thir::{Builtin, Expr, ExprKind, Target};
use crate::ty::{Dim, Ty};

impl Checker<'_> {
    /// The left side of an assignment and the type of what it takes.
    pub(super) fn target(&mut self, e: &ast::Expr) -> Option<(Target, Ty)> {
        match &e.kind {
            A::Tuple(items) => {
                let mut targets = Vec::new();
                let mut types = Vec::new();
                for item in items {
                    let (t, ty) = self.target(item)?;
                    targets.push(t);
                    types.push(ty);
                }
                let places: Vec<_> = targets
                    .iter()
                    .filter_map(|t| match t {
                        Target::Place(p) => Some(p.clone()),
                        Target::Tuple(_) | Target::Ignore => None,
                    })
                    .collect();
                self.same_targets(&places);
                Some((Target::Tuple(targets), Ty::tuple(types)))
            }
            A::Placeholder => {
                let t = self.body.store.new_ty();
                Some((Target::Ignore, t))
            }
            _ => {
                let place = self.assignable(e)?;
                let ty = place.ty.clone();
                Some((Target::Place(place), ty))
            }
        }
    }

    /// A value for what a mask selects, `k` of them: one for each (how many there are is checked at run time), or one for all.
    fn fill_selected(&mut self, v: Expr, place: &Ty, k: SizeVar) -> Expr {
        let v = match &v.ty {
            Ty::Exists(..) => self.open(v, "the value assigned"),
            _ => v,
        };
        let t = self.zonk(&v.ty);
        let is_selected = |d: &Dim| matches!(d, Dim::Size(s) if s.as_var() == Some(k));
        match (place, &t) {
            (Ty::Tensor(e, want), Ty::Tensor(f, have)) if have.len() <= want.len() => {
                let mut fits = self.unify_elem(*e, *f).is_ok();
                for (w, h) in want[want.len() - have.len()..].iter().zip(have) {
                    let stretches = matches!(h, Dim::Size(s) if s.as_const() == Some(1));
                    fits = fits
                        && (is_selected(w)
                            || stretches
                            || self.unify_shape(std::slice::from_ref(w), std::slice::from_ref(h)).is_ok());
                }
                if fits {
                    return v;
                }
            }
            (Ty::Stack(want, elem), Ty::Stack(have, other)) if have.len() == want.len() => {
                let mut fits = self.unify(elem, other).is_ok();
                for (w, h) in want.iter().zip(have) {
                    fits = fits
                        && (is_selected(w)
                            || self.unify_shape(std::slice::from_ref(w), std::slice::from_ref(h)).is_ok());
                }
                if fits {
                    return v;
                }
            }
            (Ty::Stack(_, elem), Ty::Struct(..) | Ty::Tuple(_) | Ty::Str) => {
                let elem = (**elem).clone();
                return self.coerce(v, &elem, "the value assigned");
            }
            (_, Ty::Error | Ty::Never) => return v,
            _ => {}
        }
        let (want, have) = (self.show_ty(&Ty::Exists(vec![k], place.clone().into())), self.show_ty(&t));
        let text = format!("the mask selects {want}, the value is {have}");
        self.error(
            Diagnostic::error(code::E0401, text, v.span, format!("this is {have}"))
                .help("write one value for each that is selected, or one for all"),
        );
        error_expr(v.span)
    }

    /// A value that `op=` combines with what a mask selects, in the sizes of `old`, the selected part: whether there is one for each
    /// is checked where it runs.
    pub(super) fn fill_updated(&mut self, v: Expr, place: &Ty, old: &Ty) -> Expr {
        let (Ty::Exists(vars, inner), Ty::Tensor(..) | Ty::Stack(..)) = (place, self.value_type(&v)) else { return v };
        let ([k], false) = (vars.as_slice(), v.ty.as_scalar().is_some()) else { return v };
        let mut v = self.fill_selected(v, inner, *k);
        let (Ty::Tensor(_, part) | Ty::Stack(part, _), Ty::Tensor(_, want) | Ty::Stack(want, _)) = (old, &**inner)
        else {
            return v;
        };
        if let Ty::Tensor(_, have) | Ty::Stack(have, _) = &mut v.ty
            && let Some(lead) = want.len().checked_sub(have.len())
        {
            for (d, (w, p)) in have.iter_mut().zip(want.iter().zip(part).skip(lead)) {
                let stretches = matches!(d, Dim::Size(s) if s.as_const() == Some(1));
                if !stretches && matches!(w, Dim::Size(s) if s.as_var() == Some(*k)) {
                    *d = p.clone();
                }
            }
        }
        v
    }

    /// The type of a value, of unknown size or not.
    fn value_type(&self, v: &Expr) -> Ty {
        match self.zonk(&v.ty) {
            Ty::Exists(_, inner) => (*inner).clone(),
            t => t,
        }
    }

    /// A value for an indexed place: of its type, or broadcast to it.
    pub(super) fn fill(&mut self, v: Expr, place: &Ty) -> Expr {
        if let Ty::Exists(vars, inner) = place
            && let [k] = vars.as_slice()
        {
            return self.fill_selected(v, inner, *k);
        }
        let t = self.zonk(&v.ty);
        if let (Ty::Tensor(e, want), Ty::Tensor(f, have)) = (place, &t)
            && have.len() < want.len()
            && self.unify_elem(*e, *f).is_ok()
        {
            let shape = self.broadcast_shapes(want, have);
            if let Ok(shape) = shape
                && self.unify_shape(want, &shape).is_ok()
            {
                let span = v.span;
                return mk(ExprKind::Builtin { op: Builtin::BroadcastTo, args: vec![v] }, place.clone(), span);
            }
        }
        self.coerce(v, place, "the value assigned")
    }
}
