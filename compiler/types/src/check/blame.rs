//! An argument that does not fit: what the parameter takes, and which other argument settled the sizes in it.

use tdl_source::{Label, Span};

use super::Checker;
use super::call::Target;
use super::store::{Mismatch, has_spread};
use crate::ids::{FnId, StructId};
use crate::size::SizeVar;
use crate::subst::Bindings;
use crate::thir::{Expr, ExprKind};
use crate::ty::{Dim, Ty};

impl Checker<'_> {
    pub(super) fn argument_mismatch(
        &mut self,
        target: &Target<'_>,
        i: usize,
        (expected, found): (&Ty, &Ty),
        why: &Mismatch,
        span: Span,
        pname: &str,
    ) {
        let before = self.errors.len();
        let (expected, found) = (self.zonk(expected), self.zonk(found));
        self.mismatch(&expected, &found, why, span, &format!("argument `{pname}` of `{}`", target.name));
        if self.errors.len() == before {
            return;
        }
        let takes = target.func.and_then(|f| self.takes(f, i)).unwrap_or_else(|| self.show_ty(&expected));
        let headline = self.headline(target, i, &expected, &found, why);
        let settled = target.func.map(|f| self.settled_by(f, target, i)).unwrap_or_default();
        let here = target.spans[i].filter(|at| self.one_file(*at, span));
        let found = self.show_ty(&found);
        let more = target.field.map_or(String::new(), |(id, index)| self.field_text(id, index));
        let Some(d) = self.errors.last_mut() else { return };
        if let Some(text) = headline {
            d.message = text;
            d.primary.text = found;
        } else if takes.contains('[') {
            // the declared type says more than one with unknowns in it
            d.message = format!("argument `{pname}` of `{}`: expected {takes}, got {found}", target.name);
        }
        // where the user can read the declaration it is shown, else what is called says it
        d.secondary.push(match (here, target.callee) {
            (Some(at), _) => Label { span: at, text: format!("takes {takes}") },
            (None, Some(at)) => Label { span: at, text: format!("takes {takes}{more}") },
            (None, None) => return,
        });
        d.secondary.extend(settled);
    }

    /// "`Linear.call` needs the last axis to be 784, got 28"
    fn headline(&self, target: &Target<'_>, i: usize, expected: &Ty, found: &Ty, why: &Mismatch) -> Option<String> {
        let (Ty::Tensor(_, want), Ty::Tensor(_, have), Mismatch::Size { expected: x, found: y }) =
            (expected, found, why)
        else {
            return None;
        };
        if want.len() != have.len() && !has_spread(want) {
            return None;
        }
        let k = (1..=want.len().min(have.len())).find(|k| {
            matches!((&want[want.len() - k], &have[have.len() - k]), (Dim::Size(a), Dim::Size(b))
                if !self.facts.equal(a, b) && (a == x || b == y))
        })?;
        let axis = match (k, have.len()) {
            (1, 1) => "the length".to_string(),
            (1, _) => "the last axis".to_string(),
            (k, rank) => format!("axis {}", rank - k),
        };
        let needed = self.zonk_size(x);
        let mut open = false;
        needed.visit_vars(&mut |v| open |= matches!(v, SizeVar::Infer(_)));
        let declared = target.func.map(|f| &self.program.fns[f.index()].params[i].ty);
        let text = match declared {
            Some(Ty::Tensor(_, dims)) if open && dims.len() >= k => match &dims[dims.len() - k] {
                Dim::Size(e) => self.show().size(e),
                Dim::Spread(_) => return None,
            },
            Some(_) | None => self.show().size(&needed),
        };
        Some(format!("`{}` needs {axis} to be {text}, got {}", target.name, self.show().size(&self.zonk_size(y))))
    }

    /// The parameter's type as declared, with what the receiver's type settles put in: `f32[..s, 784]`.
    fn takes(&self, f: FnId, i: usize) -> Option<String> {
        let def = &self.program.fns[f.index()];
        let args = &self.body.call_args.iter().rev().find(|(id, _)| *id == f)?.1;
        let own = def.self_generics.min(args.len());
        let known = Bindings::new(&def.generics[..own], &args[..own]);
        let t = self.zonk(&def.params.get(i)?.ty.subst(&known));
        Some(self.show_ty(&t))
    }

    /// Which arguments before this one fixed the sizes in its type: a label at each.
    fn settled_by(&self, f: FnId, target: &Target<'_>, i: usize) -> Vec<Label> {
        let def = &self.program.fns[f.index()];
        let given = target.given.borrow();
        let mut out: Vec<Label> = Vec::new();
        let mut sizes = Vec::new();
        def.params[i].ty.visit_sizes(&mut |v| {
            if matches!(v, SizeVar::Param(_)) && !sizes.contains(&v) {
                sizes.push(v);
            }
        });
        let Some((_, args)) = self.body.call_args.iter().rev().find(|(id, _)| *id == f) else { return out };
        let bindings = Bindings::new(&def.generics, args);
        for v in sizes {
            let mentions = |t: &Ty| {
                let mut found = false;
                t.visit_sizes(&mut |w| found |= w == v);
                found
            };
            let by = (0..i).find(|j| given.get(*j).is_some_and(Option::is_some) && mentions(&def.params[*j].ty));
            let Some((j, at)) = by.and_then(|j| given[j].map(|at| (j, at))) else { continue };
            let value = self.zonk_size(&crate::SizeExpr::var(v).subst(&|w| crate::subst::Subst::size(&bindings, w)));
            let (name, value) = (self.show().size(&crate::SizeExpr::var(v)), self.show().size(&value));
            let text = format!("gives {name} = {value}");
            match out.iter_mut().find(|l| l.span == at) {
                Some(label) => label.text.push_str(&format!(", {name} = {value}")),
                None => {
                    let t = self.show_ty(&target.params[j].ty);
                    out.push(Label { span: at, text: format!("{t} {text}") });
                }
            }
        }
        out
    }

    /// The field that a callee is.
    pub(super) fn field_called(&self, callee: &Expr) -> Option<(StructId, usize)> {
        let ExprKind::Field { base, index } = &callee.kind else { return None };
        let Ty::Struct(id, _) = self.zonk(&base.ty) else { return None };
        Some((id, *index))
    }

    /// " (l1: Linear[784, h], line 4)"
    fn field_text(&self, id: StructId, index: usize) -> String {
        let field = &self.program.structs[id.index()].fields[index];
        let line = self.line(field.span).map_or(String::new(), |n| format!(", line {n}"));
        format!(" ({}: {}{line})", field.name, self.show_ty(&field.ty))
    }
}
