//! Operators: dtypes are never converted, shapes broadcast by the rules of the reference's section 2.

use tdl_ir::op;
use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, BinaryOp, CompareOp, UnaryOp};

use super::Checker;
use super::errors::{error_expr, fact_help, mk};
use crate::size::SizeExpr;
use crate::thir::{Block, Expr, ExprKind, Stmt, StmtKind};
use crate::ty::{Dim, Dtype, DtypeBound, Elem, Shape, Ty};

pub(super) fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::FloorDiv => "//",
        BinaryOp::Rem => "%",
        BinaryOp::Pow => "^",
        BinaryOp::MatMul => "@",
    }
}

pub(super) fn ir_binary(op: BinaryOp) -> Option<op::BinaryOp> {
    Some(match op {
        BinaryOp::Add => op::BinaryOp::Add,
        BinaryOp::Sub => op::BinaryOp::Sub,
        BinaryOp::Mul => op::BinaryOp::Mul,
        BinaryOp::Div => op::BinaryOp::Div,
        BinaryOp::FloorDiv => op::BinaryOp::FloorDiv,
        BinaryOp::Rem => op::BinaryOp::Rem,
        BinaryOp::Pow => op::BinaryOp::Pow,
        BinaryOp::MatMul => return None,
    })
}

fn ir_compare(op: CompareOp) -> op::CompareOp {
    match op {
        CompareOp::Eq => op::CompareOp::Eq,
        CompareOp::Ne => op::CompareOp::Ne,
        CompareOp::Lt => op::CompareOp::Lt,
        CompareOp::Le => op::CompareOp::Le,
        CompareOp::Gt => op::CompareOp::Gt,
        CompareOp::Ge => op::CompareOp::Ge,
    }
}

/// The shape of a text or an array of text.
pub(super) fn texts(t: &Ty) -> Option<&[Dim]> {
    match t {
        Ty::Str => Some(&[]),
        Ty::Stack(shape, elem) if matches!(**elem, Ty::Str) => Some(shape),
        _ => None,
    }
}

pub(super) fn is_tree(t: &Ty) -> bool {
    matches!(t, Ty::Struct(..) | Ty::Tuple(_) | Ty::Stack(..) | Ty::Param(_))
}

impl Checker<'_> {
    pub(super) fn unary(&mut self, op: UnaryOp, operand: &ast::Expr, hint: Option<&Ty>, span: Span) -> Expr {
        let e = self.expr(operand, hint);
        let t = self.zonk(&e.ty);
        match (op, &t) {
            (_, Ty::Error | Ty::Never) => self.no_operation(vec![e], span),
            (UnaryOp::Neg, Ty::Tensor(elem, _)) => {
                // a negative literal is a literal
                match &e.kind {
                    ExprKind::Int(v) => return mk(ExprKind::Int(-v), e.ty, span),
                    ExprKind::Float(v) => return mk(ExprKind::Float(-v), e.ty, span),
                    _ => {}
                }
                if !self.require_elem(*elem, DtypeBound::Num) {
                    let text = format!("`-` needs numbers, got {}", self.show_ty(&t));
                    self.error(Diagnostic::error(code::E0302, text, operand.span, "not a number"));
                    return error_expr(span);
                }
                mk(ExprKind::Unary { op: op::UnaryOp::Neg, operand: Box::new(e) }, t, span)
            }
            (UnaryOp::Not, Ty::Tensor(Elem::Dtype(Dtype::Bool), _)) => {
                mk(ExprKind::Unary { op: op::UnaryOp::Not, operand: Box::new(e) }, t, span)
            }
            (UnaryOp::Neg, t) if is_tree(t) => {
                let t = t.clone();
                mk(ExprKind::TreeUnary { op: op::UnaryOp::Neg, operand: Box::new(e) }, t, span)
            }
            (UnaryOp::Neg | UnaryOp::Not, t) => {
                let name = if op == UnaryOp::Neg { "-" } else { "not" };
                let text = format!("`{name}` cannot be applied to {}", self.show_ty(t));
                self.error(Diagnostic::error(code::E0308, text, operand.span, format!("this is {}", self.show_ty(t))));
                error_expr(span)
            }
        }
    }

    pub(super) fn binary(
        &mut self,
        op: BinaryOp,
        op_span: Span,
        left: &ast::Expr,
        right: &ast::Expr,
        hint: Option<&Ty>,
        span: Span,
    ) -> Expr {
        // a hint reaches an operand only as far as the dtype of scalars goes; trees pass it on whole
        let hint = hint.map(|h| self.zonk(h)).filter(is_tree);
        let l = self.expr(left, hint.as_ref());
        let r = self.expr(right, hint.as_ref());
        self.binary_typed(op, op_span, l, r, span)
    }

    pub(super) fn binary_typed(&mut self, op: BinaryOp, op_span: Span, l: Expr, r: Expr, span: Span) -> Expr {
        let (lt, rt) = (self.zonk(&l.ty), self.zonk(&r.ty));
        if super::errors::has_error(&lt) || super::errors::has_error(&rt) {
            return error_expr(span);
        }
        if matches!(lt, Ty::Never) || matches!(rt, Ty::Never) {
            return self.no_operation(vec![l, r], span);
        }
        let Some(ir) = ir_binary(op) else { return self.matmul(l, r, op_span, span) };
        match (&lt, &rt) {
            (Ty::Tensor(le, ls), Ty::Tensor(re, rs)) => {
                if !self.same_dtype(symbol(op), *le, *re, &l, &r, op_span) {
                    return error_expr(span);
                }
                let elem = self.zonk_elem(*le);
                let need = match op {
                    BinaryOp::Div => DtypeBound::Float,
                    BinaryOp::Add
                    | BinaryOp::Sub
                    | BinaryOp::Mul
                    | BinaryOp::FloorDiv
                    | BinaryOp::Rem
                    | BinaryOp::Pow => DtypeBound::Num,
                    BinaryOp::MatMul => DtypeBound::Num,
                };
                // two integer literals: `1 / 2` is no float division in disguise
                let lits = matches!((&l.kind, &r.kind), (ExprKind::Int(_), ExprKind::Int(_)));
                if !self.elem_ok(elem, need, lits) {
                    self.wrong_dtype(op, elem, &lt, &rt, op_span, &l, &r);
                    return error_expr(span);
                }
                let Some(shape) = self.broadcast(ls, rs, &l, &r, symbol(op), op_span) else { return error_expr(span) };
                let ty = Ty::Tensor(*le, shape);
                mk(ExprKind::Binary { op: ir, left: Box::new(l), right: Box::new(r) }, ty, span)
            }
            _ => self.tree_binary(op, ir, op_span, l, r, span),
        }
    }

    fn elem_ok(&mut self, elem: Elem, need: DtypeBound, lits: bool) -> bool {
        if lits && need == DtypeBound::Float && matches!(self.zonk_elem(elem), Elem::Infer(_)) {
            return false;
        }
        self.require_elem(elem, need)
    }

    fn wrong_dtype(&mut self, op: BinaryOp, elem: Elem, lt: &Ty, rt: &Ty, op_span: Span, l: &Expr, r: &Expr) {
        let text = format!("`{}` cannot be applied to {} and {}", symbol(op), self.show_ty(lt), self.show_ty(rt));
        let d = Diagnostic::error(code::E0302, text, op_span, "not defined for this dtype")
            .label(l.span, self.show_ty(lt))
            .label(r.span, self.show_ty(rt));
        let d = if op == BinaryOp::Div && !matches!(elem, Elem::Dtype(Dtype::Bool)) {
            let (a, b) = (self.quoted(l.span, false), self.quoted(r.span, false));
            d.help(format!(
                "integers divide by `//`, which rounds down: `{} // {}`",
                self.quoted(l.span, true),
                self.quoted(r.span, true)
            ))
            .help(format!("for a float convert first: `f64({a}) / f64({b})`"))
        } else {
            d.help("convert a bool first: `f32(…)` or `i64(…)`")
        };
        self.error(d);
    }

    /// Both operands have one dtype; reports if not.
    pub(super) fn same_dtype(&mut self, name: &str, le: Elem, re: Elem, l: &Expr, r: &Expr, op_span: Span) -> bool {
        if self.unify_elem(le, re).is_ok() {
            return true;
        }
        let (lt, rt) = (self.show_ty(&l.ty), self.show_ty(&r.ty));
        let (a, b) = (self.zonk_elem(le), self.zonk_elem(re));
        let text = format!("`{name}` needs one dtype, got {lt} and {rt}");
        let d = Diagnostic::error(code::E0302, text, op_span, "dtypes differ").label(l.span, &*lt).label(r.span, &*rt);
        let wider = |a: Elem, b: Elem| match (a, b) {
            (Elem::Dtype(x), Elem::Dtype(y)) => (x.is_float(), x.size()) >= (y.is_float(), y.size()),
            _ => true,
        };
        let d = match (a, b) {
            (Elem::Infer(_), _) | (_, Elem::Infer(_)) => {
                let known = if matches!(a, Elem::Infer(_)) { b } else { a };
                let known_text = self.show().elem(known);
                let other = if matches!(a, Elem::Infer(_)) { r.span } else { l.span };
                let open = if matches!(a, Elem::Infer(_)) { a } else { b };
                let (what, to) = if self.is_int_literal(open) { ("an integer", "i64") } else { ("a float", "f32") };
                d.note(format!("{what} literal never becomes {known_text}"))
                    .help(format!("convert the other side: `{to}({})`", self.quoted(other, false)))
            }
            _ => {
                let to = if wider(a, b) { a } else { b };
                let which = if wider(a, b) { "the right side" } else { "the left side" };
                let to_text = self.show().elem(to);
                let other = if wider(a, b) { r.span } else { l.span };
                d.help(format!("convert {which}: `{to_text}({})`", self.quoted(other, false)))
            }
        };
        self.error(d);
        false
    }

    pub(super) fn compare(
        &mut self,
        op: CompareOp,
        op_span: Span,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
    ) -> Expr {
        // a < b < c
        if let ast::ExprKind::Compare { right: middle, .. } = &left.kind {
            let first = self.expr(left, None);
            let second = self.compare(op, op_span, middle, right, span);
            return self.logic_typed(true, first, second, span);
        }
        let (l, r) = (self.expr(left, None), self.expr(right, None));
        let (lt, rt) = (self.zonk(&l.ty), self.zonk(&r.ty));
        let ir = ir_compare(op);
        match (&lt, &rt) {
            (Ty::Error | Ty::Never, _) | (_, Ty::Error | Ty::Never) => self.no_operation(vec![l, r], span),
            (Ty::Tensor(le, ls), Ty::Tensor(re, rs)) => {
                let name = ir.def().symbol;
                if !self.same_dtype(name, *le, *re, &l, &r, op_span) {
                    return error_expr(span);
                }
                let Some(shape) = self.broadcast(ls, rs, &l, &r, name, op_span) else { return error_expr(span) };
                let ty = Ty::Tensor(Elem::Dtype(Dtype::Bool), shape);
                mk(ExprKind::Compare { op: ir, left: Box::new(l), right: Box::new(r) }, ty, span)
            }
            _ if texts(&lt).is_some() && texts(&rt).is_some() => {
                let (ls, rs) = (texts(&lt).unwrap_or_default(), texts(&rt).unwrap_or_default());
                let Some(shape) = self.broadcast(ls, rs, &l, &r, ir.def().symbol, op_span) else {
                    return error_expr(span);
                };
                let ty = Ty::Tensor(Elem::Dtype(Dtype::Bool), shape);
                mk(ExprKind::Compare { op: ir, left: Box::new(l), right: Box::new(r) }, ty, span)
            }
            _ => {
                let text = format!("{} and {} cannot be compared", self.show_ty(&lt), self.show_ty(&rt));
                let mut d = Diagnostic::error(code::E0308, text, op_span, "only tensors of one dtype are compared")
                    .label(l.span, self.show_ty(&lt))
                    .label(r.span, self.show_ty(&rt));
                if is_tree(&lt) && lt == rt {
                    d = d.help("for trees write `allclose(a, b)`");
                }
                self.error(d);
                error_expr(span)
            }
        }
    }

    pub(super) fn logic(&mut self, and: bool, a: &ast::Expr, b: &ast::Expr, span: Span) -> Expr {
        let l = self.expr(a, None);
        let r = self.apart(|cx| cx.with_temps(|cx| cx.expr(b, None)));
        let e = self.logic_typed(and, l, r, span);
        self.settled(e)
    }

    /// What an operation is whose operands have errors; where one always leaves, the operands are all that is done.
    pub(super) fn no_operation(&mut self, operands: Vec<Expr>, span: Span) -> Expr {
        let error = |e: &Expr| super::errors::has_error(&self.zonk(&e.ty));
        let leaves = |e: &Expr| matches!(self.zonk(&e.ty), Ty::Never);
        if operands.iter().any(error) || !operands.iter().any(leaves) {
            return error_expr(span);
        }
        let statement = |e: Expr| Stmt { span: e.span, kind: StmtKind::Expr(e) };
        let block = Block { stmts: operands.into_iter().map(statement).collect(), result: None, span };
        mk(ExprKind::Block(block), Ty::Never, span)
    }

    /// One of the operands has an error, or always leaves where that is one.
    fn no_value(&mut self, operands: &[&Expr], span: Span) -> Expr {
        for e in operands {
            if matches!(self.zonk(&e.ty), Ty::Never) {
                self.leaves(e.span);
            }
        }
        error_expr(span)
    }

    /// Reports what leaves where a value is needed.
    pub(super) fn leaves(&mut self, span: Span) {
        let text = "this gives no value: it always leaves";
        self.error(Diagnostic::error(code::E0301, text, span, "a value is needed here"));
    }

    fn logic_typed(&mut self, and: bool, l: Expr, r: Expr, span: Span) -> Expr {
        let (lt, rt) = (self.zonk(&l.ty), self.zonk(&r.ty));
        let name = if and { "and" } else { "or" };
        if [&lt, &rt].iter().any(|t| matches!(t, Ty::Error | Ty::Never)) {
            // the right side may not be reached
            return if matches!(lt, Ty::Never) { l } else { self.no_value(&[&l, &r], span) };
        }
        for (t, e) in [(&lt, &l), (&rt, &r)] {
            match t {
                Ty::Error | Ty::Never => return error_expr(span),
                Ty::Tensor(Elem::Dtype(Dtype::Bool), _) => {}
                other => {
                    let text = format!("`{name}` needs bools, got {}", self.show_ty(other));
                    self.error(Diagnostic::error(
                        code::E0302,
                        text,
                        e.span,
                        format!("this is {}", self.show_ty(other)),
                    ));
                    return error_expr(span);
                }
            }
        }
        let (Ty::Tensor(e, ls), Ty::Tensor(_, rs)) = (&lt, &rt) else { return error_expr(span) };
        let Some(shape) = self.broadcast(ls, rs, &l, &r, name, span) else { return error_expr(span) };
        mk(ExprKind::Logic { and, left: Box::new(l), right: Box::new(r) }, Ty::Tensor(*e, shape), span)
    }

    /// The shape of an elementwise result, or a report.
    pub(super) fn broadcast(
        &mut self,
        a: &[Dim],
        b: &[Dim],
        l: &Expr,
        r: &Expr,
        name: &str,
        span: Span,
    ) -> Option<Shape> {
        let shape_of = |cx: &Self, s: &[Dim]| crate::subst::subst_shape(s, &cx.body.store);
        let (a, b) = (shape_of(self, a), shape_of(self, b));
        match self.broadcast_shapes(&a, &b) {
            Ok(shape) => Some(shape),
            Err(trap) => {
                let (lt, rt) = (self.show_ty(&l.ty), self.show_ty(&r.ty));
                let text = format!("`{name}` of {lt} and {rt}: the shapes do not broadcast");
                let d =
                    Diagnostic::error(code::E0402, text, span, "shapes differ").label(l.span, &*lt).label(r.span, &*rt);
                self.error(match trap {
                    Trap::OuterProduct => {
                        let (long, short) = if a.len() >= b.len() { (l, r) } else { (r, l) };
                        let (long, short) = (self.quoted(long.span, true), self.quoted(short.span, true));
                        d.note("a 1 does not stretch in the longer operand: NumPy would silently make a matrix of this")
                            .help(format!(
                                "for a vector drop the axis: `{long}[:, 0]`; for a matrix say so: `{short}[new, :]`"
                            ))
                    }
                    Trap::Sizes(x, y) => {
                        let known = self.facts.reduce(&x.sub(&y)).as_const().is_some();
                        let d = self.size_origins(d, &[&x, &y], span);
                        let swapped = matches!((&a[..], &b[..]), ([p, q], [r, s]) if p == s && q == r);
                        let (x, y) = (self.show().size(&x), self.show().size(&y));
                        if swapped {
                            d.help(format!("the axes are the other way round: `{}.T`", self.quoted(r.span, true)))
                        } else if known {
                            d.note(format!("shapes are compared from the last axis: {x} and {y} differ"))
                        } else {
                            let fact = format!("{x} == {y}");
                            d.note(format!("cannot show that {fact}")).help(fact_help(&fact))
                        }
                    }
                    Trap::Spread => d.help("shapes with `..` must agree in it; give the other operand the same `..`"),
                });
                None
            }
        }
    }

    pub(super) fn broadcast_shapes(&mut self, a: &[Dim], b: &[Dim]) -> Result<Shape, Trap> {
        let swapped = self.longer(b, a);
        let (long, short) = if swapped { (b, a) } else { (a, b) };
        if short.is_empty() {
            return Ok(long.to_vec());
        }
        let spread = |s: &[Dim]| s.iter().position(|d| matches!(d, Dim::Spread(_)));
        match (spread(long), spread(short)) {
            (Some(i), Some(j)) => {
                // the part from the spread on must line up
                if long[i] != short[j] || long.len() - i != short.len() - j || j > i {
                    return Err(Trap::Spread);
                }
                let tail = self.broadcast_tail(&long[i + 1..], &short[j + 1..], true)?;
                let head = self.broadcast_tail(&long[i - j..i], &short[..j], true)?;
                let mut out = long[..i - j].to_vec();
                out.extend(head);
                out.push(long[i].clone());
                out.extend(tail);
                Ok(out)
            }
            (Some(i), None) => {
                if short.len() > long.len() - i - 1 {
                    return Err(Trap::Spread);
                }
                let at = long.len() - short.len();
                let tail = self.broadcast_tail(&long[at..], short, false)?;
                Ok(long[..at].iter().cloned().chain(tail).collect())
            }
            (None, Some(_)) => Err(Trap::Spread),
            (None, None) => {
                let at = long.len() - short.len();
                let tail = self.broadcast_tail(&long[at..], short, at == 0)?;
                Ok(long[..at].iter().cloned().chain(tail).collect())
            }
        }
    }

    /// Whether `a` is the longer shape; a `..s` counts as more than nothing.
    fn longer(&self, a: &[Dim], b: &[Dim]) -> bool {
        let key = |s: &[Dim]| (super::store::has_spread(s), s.len());
        key(a) > key(b)
    }

    /// Equal extents, or a literal 1 in `short`; in `long` too if both have one length.
    fn broadcast_tail(&mut self, long: &[Dim], short: &[Dim], same_length: bool) -> Result<Shape, Trap> {
        let mut out = Vec::new();
        for (x, y) in long.iter().zip(short) {
            let (Dim::Size(x), Dim::Size(y)) = (x, y) else { return Err(Trap::Spread) };
            if y.as_const() == Some(1) || self.unify_size(x, y).is_ok() {
                out.push(Dim::Size(x.clone()));
            } else if x.as_const() == Some(1) {
                if !same_length {
                    return Err(Trap::OuterProduct);
                }
                out.push(Dim::Size(y.clone()));
            } else {
                // [n, 1] and [n]: the 1 would have to meet the n
                let one = long.iter().any(|d| matches!(d, Dim::Size(e) if e.as_const() == Some(1)));
                if one && !same_length {
                    return Err(Trap::OuterProduct);
                }
                return Err(Trap::Sizes(x.clone(), y.clone()));
            }
        }
        Ok(out)
    }

    fn matmul(&mut self, l: Expr, r: Expr, op_span: Span, span: Span) -> Expr {
        let (lt, rt) = (self.zonk(&l.ty), self.zonk(&r.ty));
        let (Ty::Tensor(le, ls), Ty::Tensor(re, rs)) = (&lt, &rt) else {
            let text = format!("`@` cannot be applied to {} and {}", self.show_ty(&lt), self.show_ty(&rt));
            self.error(
                Diagnostic::error(code::E0308, text, op_span, "needs two tensors")
                    .label(l.span, self.show_ty(&lt))
                    .label(r.span, self.show_ty(&rt)),
            );
            return error_expr(span);
        };
        if !self.same_dtype("@", *le, *re, &l, &r, op_span) {
            return error_expr(span);
        }
        if !self.require_elem(*le, DtypeBound::Num) {
            self.wrong_dtype(BinaryOp::MatMul, *le, &lt, &rt, op_span, &l, &r);
            return error_expr(span);
        }
        if ls.is_empty() || rs.is_empty() {
            let text = format!(
                "`@` needs at least one axis on each side, got {} and {}",
                self.show_ty(&lt),
                self.show_ty(&rt)
            );
            self.error(Diagnostic::error(code::E0406, text, op_span, "a scalar here").help("scalars multiply by `*`"));
            return error_expr(span);
        }
        // the axes that meet: last of the left, last but one of the right
        let right_axis = if rs.len() == 1 { 0 } else { rs.len() - 2 };
        let (Dim::Size(x), Dim::Size(y)) = (&ls[ls.len() - 1], &rs[right_axis]) else {
            let text =
                format!("`@` needs to know the axes it sums over: {} and {}", self.show_ty(&lt), self.show_ty(&rt));
            self.error(Diagnostic::error(code::E0406, text, op_span, "hidden in `..`"));
            return error_expr(span);
        };
        if self.unify_size(x, y).is_err() {
            self.matmul_mismatch(&l, &r, (ls, rs), (x, y), op_span);
            return error_expr(span);
        }
        let batch_left = if ls.len() >= 2 { &ls[..ls.len() - 2] } else { &[] };
        let batch_right = if rs.len() >= 2 { &rs[..rs.len() - 2] } else { &[] };
        // `[..s, i] @ [i, o]`: the left's leading axes are all batch axes or rows
        if super::store::has_spread(ls) && batch_right.is_empty() {
            let mut out = ls[..ls.len() - 1].to_vec();
            if rs.len() >= 2 {
                out.push(rs[rs.len() - 1].clone());
            }
            let ty = Ty::Tensor(*le, out);
            return mk(ExprKind::MatMul { left: Box::new(l), right: Box::new(r) }, ty, span);
        }
        let Some(mut out) = self.broadcast(batch_left, batch_right, &l, &r, "@", op_span) else {
            return error_expr(span);
        };
        if ls.len() >= 2 {
            out.push(ls[ls.len() - 2].clone());
        }
        if rs.len() >= 2 {
            out.push(rs[rs.len() - 1].clone());
        }
        let ty = Ty::Tensor(*le, out);
        mk(ExprKind::MatMul { left: Box::new(l), right: Box::new(r) }, ty, span)
    }

    fn matmul_mismatch(
        &mut self,
        l: &Expr,
        r: &Expr,
        shapes: (&[Dim], &[Dim]),
        sizes: (&SizeExpr, &SizeExpr),
        span: Span,
    ) {
        let (x, y) = (self.zonk_size(sizes.0), self.zonk_size(sizes.1));
        let (x_text, y_text) = (self.show().size(&x), self.show().size(&y));
        let (lt, rt) = (self.show_ty(&l.ty), self.show_ty(&r.ty));
        let text = format!("`@` sums over axes of {x_text} and {y_text}, which are not equal");
        let mut d =
            Diagnostic::error(code::E0401, text, span, "inner sizes differ").label(l.span, &*lt).label(r.span, &*rt);
        let size = |dims: &[Dim], back: usize| match dims.len().checked_sub(back).and_then(|i| dims.get(i)) {
            Some(Dim::Size(e)) => Some(e.clone()),
            Some(Dim::Spread(_)) | None => None,
        };
        let fits = |cx: &Self, a: Option<SizeExpr>, b: Option<SizeExpr>| matches!((a, b), (Some(a), Some(b)) if cx.facts.equal(&a, &b));
        let (ls, rs) = shapes;
        d = self.size_origins(d, &[&x, &y], span);
        if ls.len() >= 2 && rs.len() >= 2 && fits(self, size(rs, 1), size(ls, 2)) {
            let (a, b) = (self.quoted(l.span, true), self.quoted(r.span, true));
            d = d.help(format!("the other way round it fits: `{b} @ {a}`"));
        } else if let Some(help) = self.flatten_help(&[Dim::Size(y.clone())], ls, l.span) {
            d = d.help(help);
        } else if rs.len() >= 2 && fits(self, size(ls, 1), size(rs, 1)) {
            let (a, b) = (self.quoted(l.span, true), self.quoted(r.span, true));
            d = d.help(format!("the right side is transposed: `{a} @ {b}.T` fits"));
        } else if ls.len() >= 2 && fits(self, size(ls, 2), size(rs, if rs.len() == 1 { 1 } else { 2 })) {
            let (a, b) = (self.quoted(l.span, true), self.quoted(r.span, true));
            d = d.help(format!("the left side is transposed: `{a}.T @ {b}` fits"));
        } else if self.facts.reduce(&x.sub(&y)).as_const().is_none() {
            d = d.help(fact_help(&format!("{x_text} == {y_text}")));
        }
        self.error(d);
    }
}

/// Why two shapes do not broadcast.
pub(super) enum Trap {
    OuterProduct,
    Sizes(SizeExpr, SizeExpr),
    Spread,
}
