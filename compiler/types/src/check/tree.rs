//! Arithmetic on structs, tuples and stacks, leaf by leaf.

use tdl_ir::op::BinaryOp;
use tdl_source::{Diagnostic, Span, code};

use super::Checker;
use super::errors::{error_expr, mk};
use super::ops::is_tree;
use crate::thir::{Expr, ExprKind};
use crate::ty::{Dtype, DtypeBound, Elem, Ty};

impl Checker<'_> {
    pub(super) fn tree_binary(
        &mut self,
        op: tdl_syntax::ast::BinaryOp,
        ir: BinaryOp,
        op_span: Span,
        l: Expr,
        r: Expr,
        span: Span,
    ) -> Expr {
        let (lt, rt) = (self.zonk(&l.ty), self.zonk(&r.ty));
        let name = super::ops::symbol(op);
        let additive = matches!(ir, BinaryOp::Add | BinaryOp::Sub);
        let scaling = matches!(ir, BinaryOp::Mul | BinaryOp::Div);
        match (is_tree(&lt), is_tree(&rt)) {
            (true, true) if additive => {
                if let Err(why) = self.unify(&lt, &rt) {
                    self.mismatch(&lt, &rt, &why, r.span, &format!("both sides of `{name}` have one type"));
                    return error_expr(span);
                }
                return mk(ExprKind::TreeBinary { op: ir, left: Box::new(l), right: Box::new(r) }, lt, span);
            }
            (true, true) => {
                let text = format!("`{name}` is not defined between two trees");
                self.error(
                    Diagnostic::error(code::E0308, text, op_span, "only `+` and `-` work between trees")
                        .label(l.span, self.show_ty(&lt))
                        .label(r.span, self.show_ty(&rt))
                        .help(format!("leaf by leaf: `tree.map(|a, b| a {name} b, x, y)`")),
                );
                return error_expr(span);
            }
            (true, false) if (additive || scaling) && rt.as_scalar().is_some() => {
                self.scalar_of_tree(&rt, &lt);
                let rt = self.zonk(&rt);
                if !self.scalar_fits(&rt) {
                    return self.no_operator(name, &lt, &rt, op_span, &l, &r, span);
                }
                return mk(ExprKind::TreeBinary { op: ir, left: Box::new(l), right: Box::new(r) }, lt, span);
            }
            (false, true) if (additive || ir == BinaryOp::Mul) && lt.as_scalar().is_some() => {
                self.scalar_of_tree(&lt, &rt);
                let lt = self.zonk(&lt);
                if !self.scalar_fits(&lt) {
                    return self.no_operator(name, &lt, &rt, op_span, &l, &r, span);
                }
                return mk(ExprKind::TreeBinary { op: ir, left: Box::new(l), right: Box::new(r) }, rt, span);
            }
            (true | false, true | false) => {}
        }
        self.no_operator(name, &lt, &rt, op_span, &l, &r, span)
    }

    fn scalar_fits(&self, t: &Ty) -> bool {
        t.as_scalar().is_some_and(|e| self.elem_within(e, DtypeBound::Num) || matches!(e, Elem::Infer(_)))
    }

    /// A literal beside a tree takes the dtype of the tree's floats; `f64` if they are not one.
    fn scalar_of_tree(&mut self, scalar: &Ty, tree: &Ty) {
        let Some(e @ Elem::Infer(_)) = scalar.as_scalar().map(|e| self.zonk_elem(e)) else { return };
        let mut elems = Vec::new();
        self.float_elems(tree, &mut elems);
        let to = match elems.as_slice() {
            [one] => *one,
            _ => Elem::Dtype(Dtype::F64),
        };
        let _ = self.unify_elem(to, e);
    }

    fn no_operator(&mut self, name: &str, lt: &Ty, rt: &Ty, op_span: Span, l: &Expr, r: &Expr, span: Span) -> Expr {
        if super::errors::has_error(lt)
            || super::errors::has_error(rt)
            || matches!(lt, Ty::Never)
            || matches!(rt, Ty::Never)
        {
            return error_expr(span);
        }
        let text = format!("`{name}` cannot be applied to {} and {}", self.show_ty(lt), self.show_ty(rt));
        let mut d = Diagnostic::error(code::E0308, text, op_span, "not defined for these")
            .label(l.span, self.show_ty(lt))
            .label(r.span, self.show_ty(rt));
        if matches!((lt, rt), (Ty::Str, _) | (_, Ty::Str)) {
            d = d.help("put text together by interpolation: `\"{a}{b}\"`");
        } else if matches!(lt, Ty::Infer(_)) || matches!(rt, Ty::Infer(_)) {
            d = d.help("a type here is not known yet: annotate it, `|x: f32[3]| …`");
        }
        self.error(d);
        error_expr(span)
    }
}
