//! Expressions.

use std::rc::Rc;

use tdl_ir::{AssertKind, BinaryOp, CompareOp, Dim, Dtype, HostFn, Op, Scalar, Type, UnaryOp, ValueId};
use tdl_types::thir::{Expr, ExprKind, LocalId, SizeCheck, SizeExpr, Ty};

use crate::call::written;
use crate::effects::Effects;
use crate::elab::Elab;
use crate::env::{Env, Slot};
use crate::literal;
use crate::mentions::Mentions;
use crate::rty::{RArg, RTy};
use crate::tensor::{broadcast, matmul};
use crate::val::{Argument, Closure, Val};

use crate::{R, internal};

impl<'p> Elab<'p> {
    pub fn expr(&mut self, env: &mut Env<'p>, e: &'p Expr) -> R<Val<'p>> {
        let outer = std::mem::replace(&mut self.b.span, e.span);
        let val = self.expr_kind(env, e);
        self.b.span = outer;
        val
    }

    pub fn value(&mut self, env: &mut Env<'p>, e: &'p Expr) -> R<ValueId> {
        self.expr(env, e)?.leaf()
    }

    pub fn exprs(&mut self, env: &mut Env<'p>, items: &'p [Expr]) -> R<Vec<Val<'p>>> {
        items.iter().map(|e| self.expr(env, e)).collect()
    }

    pub fn argument(&mut self, env: &mut Env<'p>, e: &'p Expr) -> R<Argument<'p>> {
        let val = self.expr(env, e)?;
        let active = self.active(env, &e.ty)?;
        Ok(Argument { val, active })
    }

    /// Which leaves of a type are floats and not state.
    pub fn active(&mut self, env: &Env<'p>, ty: &Ty) -> R<Rc<[bool]>> {
        if matches!(ty, Ty::Fn(_)) {
            return Ok(Rc::from([]));
        }
        let ty = self.ty(env, ty)?;
        Ok(self.leaves(&ty)?.iter().map(|l| l.active).collect())
    }

    fn expr_kind(&mut self, env: &mut Env<'p>, e: &'p Expr) -> R<Val<'p>> {
        match &e.kind {
            ExprKind::Int(x) => {
                let dtype = self.scalar_dtype(env, &e.ty)?;
                Ok(Val::Leaf(self.b.constant(literal::int(*x, dtype), dtype)))
            }
            ExprKind::Float(x) => {
                let dtype = self.scalar_dtype(env, &e.ty)?;
                Ok(Val::Leaf(self.b.constant(Scalar::float(*x), dtype)))
            }
            ExprKind::Bool(x) => Ok(Val::Leaf(self.b.const_bool(*x))),
            ExprKind::Text(pieces) => self.text(env, pieces),
            ExprKind::Local(l) => self.local(env, *l),
            ExprKind::Const(id) => self.constant(*id),
            ExprKind::Size(s) => Ok(Val::Leaf(self.size_value(env, s)?)),
            ExprKind::Fn { func, generics } => {
                let sig = sig(e);
                let env = Mentions::of_generics(env.body, generics, sig.as_deref()).part_of(env);
                Ok(closure(Closure::Fn { func: *func, generics: generics.clone(), env: Rc::new(env), sig }))
            }
            ExprKind::FnParam(id) => match env.generics.get(id) {
                Some(RArg::Fn(f)) => Ok(Val::Fn(Rc::clone(f))),
                Some(RArg::Size(_) | RArg::Shape(_) | RArg::Dtype(_) | RArg::Ty(_)) | None => {
                    Err(internal("a function parameter has no function"))
                }
            },
            ExprKind::BuiltinFn(op) => match sig(e) {
                Some(sig) => {
                    let env = Mentions::of_generics(env.body, &[], Some(&sig)).part_of(env);
                    Ok(closure(Closure::Builtin { op: Rc::new(op.clone()), env: Rc::new(env), sig }))
                }
                None => Err(internal("a builtin as a value has no function type")),
            },
            ExprKind::Bound { method, generics, receiver } => self.bound(env, e, method, generics, receiver),
            ExprKind::Lambda(id) => {
                let lambda = &env.body.lambdas[id.index()];
                let m = Mentions::of(env.body, &lambda.body, &lambda.params);
                let inner = m.part_of(env);
                Ok(closure(Closure::Lambda { lambda, env: Rc::new(inner) }))
            }
            ExprKind::Tuple(items) => {
                let items = self.exprs(env, items)?;
                Ok(tuple(items))
            }
            ExprKind::Array(items) => self.array(env, items, &e.ty),
            ExprKind::Struct { fields, .. } | ExprKind::StructStack { fields } => {
                let mut values = vec![Val::Never; fields.len()];
                for i in written(fields.iter().map(|f| Some(f.span))) {
                    values[i] = self.expr(env, &fields[i])?;
                }
                Ok(Val::Tree(values))
            }
            ExprKind::Field { base, index } | ExprKind::TupleField { base, index } => {
                let base = self.expr(env, base)?.unpacked();
                let items = base.tree()?;
                items.get(*index).cloned().ok_or_else(|| internal("no such field"))
            }
            ExprKind::Unary { op, operand } => {
                let x = self.value(env, operand)?;
                Ok(Val::Leaf(self.unary(*op, x)))
            }
            ExprKind::Binary { op, left, right } => {
                let (x, y) = (self.value(env, left)?, self.value(env, right)?);
                Ok(Val::Leaf(self.binary(*op, x, y)?))
            }
            ExprKind::Compare { op, left, right } => self.comparison(env, *op, left, right),
            ExprKind::Logic { and, left, right } => self.logic(env, *and, left, right),
            ExprKind::MatMul { left, right } => {
                let (x, y) = (self.value(env, left)?, self.value(env, right)?);
                Ok(Val::Leaf(matmul::matmul(&mut self.b, x, y)))
            }
            ExprKind::TreeUnary { op, operand } => {
                let active = self.active(env, &operand.ty)?;
                let x = self.expr(env, operand)?;
                self.tree_unary(*op, &x, &active)
            }
            ExprKind::TreeBinary { op, left, right } => {
                let (x, y) = (self.argument(env, left)?, self.argument(env, right)?);
                let scalar = |t: &Ty| t.as_scalar().is_some();
                self.tree_binary(*op, (&x, scalar(&left.ty)), (&y, scalar(&right.ty)))
            }
            ExprKind::Index { base, subscripts } => self.index(env, base, subscripts, &e.ty),
            ExprKind::Comprehension { binders, value } => self.comprehension(env, binders, value, &e.ty),
            ExprKind::Call { callee, generics, args } => self.call(env, callee, generics, args),
            ExprKind::CallValue { callee, args } => self.call_value(env, callee, args),
            ExprKind::Builtin { op, args } => self.builtin_expr(env, op, args, &e.ty),
            ExprKind::Random { op, rng, args } => self.random(env, *op, rng, args, &e.ty),
            ExprKind::Convert(inner) => {
                let x = self.expr(env, inner)?;
                let ty = self.ty(env, &e.ty)?;
                self.convert(&x, &ty)
            }
            ExprKind::As { value, checks } => {
                let x = self.expr(env, value)?;
                self.check_sizes(env, &x, checks)?;
                let ty = self.ty(env, &e.ty)?;
                self.retyped(x, &ty)
            }
            ExprKind::CheckSizes { sizes, value } => {
                for s in sizes {
                    self.check_not_negative(env, s)?;
                }
                self.expr(env, value)
            }
            ExprKind::If { cond, then, els } => {
                let mut effects = Effects::of_block(then);
                effects.merge(&els.as_ref().map_or_else(Effects::default, Effects::of_block));
                let chosen = self.expr(env, cond)?;
                let ty = self.ty(env, &e.ty)?;
                let slots = effects.slots(env.depth);
                effects.merge(&Effects::of_expr(cond));
                self.unless_gone(env, &[cond], &effects, &ty, |this, env| {
                    this.choose(
                        env,
                        chosen.leaf()?,
                        slots,
                        &ty,
                        |this, env| this.block(env, then, 0, &ty, false),
                        |this, env| match els {
                            Some(b) => this.block(env, b, 0, &ty, false),
                            None => Ok(Val::unit()),
                        },
                    )
                })
            }
            ExprKind::Block(b) => {
                let exits = Effects::of_block(b).exits();
                let ty = if exits { self.ty(env, &e.ty)? } else { RTy::Never };
                self.block(env, b, 0, &ty, false)
            }
            ExprKind::Derivative(d) => {
                let func = self.expr(env, &d.func)?.function()?;
                let (kind, wrt, at) = (d.kind, d.wrt.clone(), self.passed(&d.func));
                Ok(closure(Closure::Derivative { kind, func, wrt, wrt_tuple: d.wrt_tuple, aux: d.aux, at }))
            }
            ExprKind::Vmap(m) => {
                let func = self.expr(env, &m.func)?.function()?;
                Ok(closure(Closure::Vmap { func, axes: m.axes.clone(), out: m.out }))
            }
            ExprKind::Vjp { func, args, wrt } => {
                self.b.span = self.passed(func).unwrap_or(self.b.span);
                self.vjp(env, func, args, wrt)
            }
            ExprKind::Jvp { func, args, tangents, wrt } => {
                self.b.span = self.passed(func).unwrap_or(self.b.span);
                self.jvp(env, func, args, tangents, wrt)
            }
            ExprKind::Pack { value, witnesses } => {
                let x = self.expr(env, value)?;
                let witnesses = witnesses.iter().map(|s| self.size_value(env, s)).collect::<R<Vec<_>>>()?;
                self.pack(env, x, witnesses, &e.ty)
            }
            ExprKind::Open { value, vars } => match self.expr(env, value)? {
                Val::Pack(slots, body) => {
                    for (var, slot) in vars.iter().zip(&slots) {
                        if let Some(def) = env.body.opens.get(var.index()) {
                            self.b.name_value(*slot, &def.name);
                        }
                        let d = self.b.dim(*slot);
                        env.opens.insert(*var, d);
                    }
                    Ok(*body)
                }
                Val::Leaf(_) | Val::Tree(_) | Val::Fn(_) | Val::Never => {
                    Err(internal("what is opened has no sizes of its own"))
                }
            },
            ExprKind::Break => Ok(self.raise(env, Slot::Broken(env.depth))),
            ExprKind::Continue => Ok(self.raise(env, Slot::Continued(env.depth))),
            ExprKind::Return(value) => self.early_return(env, value.as_deref()),
            ExprKind::Error => Err(internal("an expression with errors")),
        }
    }

    fn scalar_dtype(&mut self, env: &Env<'p>, ty: &Ty) -> R<Dtype> {
        match ty.as_tensor() {
            Some((elem, _)) => self.elem(env, elem),
            None => Err(internal("a number has no dtype")),
        }
    }

    fn local(&mut self, env: &Env<'p>, l: LocalId) -> R<Val<'p>> {
        match env.local(l) {
            Some(v) => Ok(v.clone()),
            None => {
                let name = &env.body.locals[l.index()].name;
                Err(internal(format!("`{name}` has no value here")))
            }
        }
    }

    /// A value of an existential type with its witnesses: those given, then the sizes that depend on them.
    pub fn pack(&mut self, env: &Env<'p>, value: Val<'p>, witnesses: Vec<ValueId>, ty: &Ty) -> R<Val<'p>> {
        match self.ty(env, ty)? {
            RTy::Exists(slots, body) => self.pack_as(value, witnesses, &slots, &body),
            RTy::Never
            | RTy::Tensor(..)
            | RTy::Tuple(_)
            | RTy::Struct(..)
            | RTy::Stack(..)
            | RTy::Str
            | RTy::Rng
            | RTy::Fn => Err(internal("what is packed has no existential type")),
        }
    }

    pub fn pack_as(
        &mut self,
        value: Val<'p>,
        mut witnesses: Vec<ValueId>,
        slots: &[u32],
        body: &RTy<'p>,
    ) -> R<Val<'p>> {
        if slots.len() != witnesses.len() {
            return Err(internal("an existential with a wrong number of sizes"));
        }
        let hidden = self.hidden_sizes(slots, body, &witnesses)?;
        witnesses.extend(hidden);
        Ok(Val::Pack(witnesses, Box::new(value)))
    }

    // --- elementwise

    pub fn unary(&mut self, op: UnaryOp, x: ValueId) -> ValueId {
        match (op, self.b.as_const(x), self.b.dtype(x)) {
            (UnaryOp::Neg, Some(Scalar::Float(bits)), dtype) => {
                self.b.constant(Scalar::float(-f64::from_bits(bits)), dtype)
            }
            (UnaryOp::Neg, Some(Scalar::Int(c)), Dtype::I64) => self.b.const_i64(c.wrapping_neg()),
            (UnaryOp::Not, Some(Scalar::Bool(c)), _) => self.b.const_bool(!c),
            (_, _, _) => self.b.unary(op, x),
        }
    }

    pub fn binary(&mut self, op: BinaryOp, x: ValueId, y: ValueId) -> R<ValueId> {
        let dtype = self.b.dtype(x);
        if dtype.is_int() && matches!(op, BinaryOp::FloorDiv | BinaryOp::Rem) {
            self.guard_division(y)?;
        }
        if dtype.is_int() && op == BinaryOp::Pow {
            self.guard_power(y)?;
        }
        let scalars = self.b.rank(x) == 0 && self.b.rank(y) == 0;
        if dtype == Dtype::I64 && scalars {
            return Ok(self.b.size_binary(op, x, y));
        }
        if dtype == Dtype::Bool && scalars {
            match op {
                BinaryOp::And => return Ok(self.both(x, y)),
                BinaryOp::Or => return Ok(self.either(x, y)),
                _ => {}
            }
        }
        let (x, y) = broadcast::pair(&mut self.b, x, y);
        Ok(self.b.binary(op, x, y))
    }

    fn comparison(&mut self, env: &mut Env<'p>, op: CompareOp, left: &'p Expr, right: &'p Expr) -> R<Val<'p>> {
        let (x, y) = (self.value(env, left)?, self.value(env, right)?);
        if is_text(&left.ty) && !matches!(op, CompareOp::Eq | CompareOp::Ne) {
            let (x, y) = broadcast::pair(&mut self.b, x, y);
            let ty = self.b.ty(x).clone();
            let order = self.b.inst1(Op::Host(HostFn::TextOrder), vec![x, y], ty);
            let zero = self.b.full_like(0.0, order);
            return Ok(Val::Leaf(self.b.compare(op, order, zero)));
        }
        if self.b.rank(x) == 0 && self.b.rank(y) == 0 && self.b.dtype(x) == Dtype::I64 {
            return Ok(Val::Leaf(self.compare_sizes(op, x, y)));
        }
        let (x, y) = broadcast::pair(&mut self.b, x, y);
        Ok(Val::Leaf(self.b.compare(op, x, y)))
    }

    fn logic(&mut self, env: &mut Env<'p>, and: bool, left: &'p Expr, right: &'p Expr) -> R<Val<'p>> {
        let x = self.value(env, left)?;
        let effects = Effects::of_expr(right);
        let scalar = |this: &mut Self, e: &Expr| Ok(this.ty(env, &e.ty)?.axes() == 0);
        if !scalar(self, left)? || !scalar(self, right)? {
            let y = self.value(env, right)?;
            let op = if and { BinaryOp::And } else { BinaryOp::Or };
            return Ok(Val::Leaf(self.binary(op, x, y)?));
        }
        let slots = effects.slots(env.depth);
        let ty = Self::scalar_ty(Dtype::Bool);
        let known = self.b.const_bool(!and);
        let known = |_: &mut Self, _: &mut Env<'p>| Ok(Val::Leaf(known));
        let other = |this: &mut Self, env: &mut Env<'p>| this.expr(env, right);
        if and { self.choose(env, x, slots, &ty, other, known) } else { self.choose(env, x, slots, &ty, known, other) }
    }

    /// Float leaves of `ty`'s dtypes.
    fn convert(&mut self, x: &Val<'p>, ty: &RTy<'p>) -> R<Val<'p>> {
        if let Val::Leaf(v) = x
            && let RTy::Tensor(d, _) = ty
        {
            return Ok(Val::Leaf(self.convert_value(*v, *d)));
        }
        let mut leaves = self.leaves(ty)?.into_iter().filter(|l| l.slot.is_none());
        x.map(&mut |v| match leaves.next() {
            Some(l) => Ok(self.convert_value(v, l.dtype)),
            None => Ok(v),
        })
    }

    pub fn convert_value(&mut self, v: ValueId, dtype: Dtype) -> ValueId {
        match (self.b.as_const(v), dtype) {
            (Some(Scalar::Int(c)), Dtype::F32 | Dtype::F64)
                if c.unsigned_abs() < 1 << 24 && (c >= 0 || self.b.dtype(v) != Dtype::U64) =>
            {
                self.b.constant(Scalar::float(c as f64), dtype)
            }
            (Some(_), _) | (None, _) => self.b.convert(v, dtype),
        }
    }

    // --- checks of sizes

    fn check_not_negative(&mut self, env: &Env<'p>, size: &SizeExpr) -> R<()> {
        let v = self.size_value(env, size)?;
        let zero = self.b.const_i64(0);
        let ok = self.compare_sizes(CompareOp::Ge, v, zero);
        self.assert(ok, AssertKind::Shape, "a size cannot be negative, got {}", &[v]);
        Ok(())
    }

    fn check_sizes(&mut self, env: &Env<'p>, x: &Val<'p>, checks: &[SizeCheck]) -> R<()> {
        if checks.is_empty() {
            return Ok(());
        }
        let mut sizes = Vec::with_capacity(checks.len());
        let mut ok = self.b.const_bool(true);
        for c in checks {
            let (actual, expected) = (self.size_value(env, &c.actual)?, self.size_value(env, &c.expected)?);
            let same = self.compare_sizes(CompareOp::Eq, actual, expected);
            ok = self.both(ok, same);
            sizes.push((c.axis, expected));
        }
        // the whole shapes, where there is one tensor
        let (mut found, mut wanted) = (String::new(), String::new());
        let (mut have, mut want) = (Vec::new(), Vec::new());
        if let Val::Leaf(v) = x {
            let dims: Vec<Dim> = self.b.dims(*v);
            for (axis, d) in dims.iter().enumerate() {
                let comma = if axis > 0 { ", " } else { "" };
                found += &format!("{comma}{{}}");
                wanted += &format!("{comma}{{}}");
                let value = self.b.dim_value(*d);
                have.push(value);
                want.push(sizes.iter().find(|(a, _)| *a == axis).map_or(value, |(_, e)| *e));
            }
        }
        if have.is_empty() || sizes.iter().any(|(axis, _)| *axis >= have.len()) {
            for (k, c) in checks.iter().enumerate() {
                let comma = if k > 0 { ", " } else { "" };
                found += &format!("{comma}{{}}");
                wanted += &format!("{comma}{{}}");
                have.push(self.size_value(env, &c.actual)?);
                want.push(sizes[k].1);
            }
        }
        have.extend(want);
        self.assert(ok, AssertKind::Shape, &format!("the shape is [{found}], not [{wanted}]"), &have);
        Ok(())
    }

    // --- arrays

    fn array(&mut self, env: &mut Env<'p>, items: &'p [Expr], ty: &Ty) -> R<Val<'p>> {
        if let Some(dtype) = ty.as_tensor().map(|(e, _)| self.elem(env, e)).transpose()?
            && let Some((bytes, dims)) = literal::dense(items, dtype)
        {
            let dims: Vec<Dim> = dims.into_iter().map(Dim::Const).collect();
            return Ok(Val::Leaf(self.b.inst1(Op::Dense(bytes.into()), Vec::new(), Type::tensor(dtype, dims))));
        }
        let values = self.exprs(env, items)?;
        let ty = self.ty(env, ty)?;
        self.stack_values(&values, 0, &ty)
    }
}

pub fn closure(c: Closure<'_>) -> Val<'_> {
    Val::Fn(Rc::new(c))
}

/// A text or an array of text.
pub fn is_text(t: &Ty) -> bool {
    match t {
        Ty::Str => true,
        Ty::Stack(_, elem) => matches!(**elem, Ty::Str),
        _ => false,
    }
}

/// A tuple; existentials among the parts move outside, as in their types.
pub fn tuple(items: Vec<Val<'_>>) -> Val<'_> {
    let mut slots = Vec::new();
    let mut plain = Vec::with_capacity(items.len());
    let mut packed = false;
    for item in items {
        match item {
            Val::Pack(s, body) => {
                packed = true;
                slots.extend(s);
                plain.push(*body);
            }
            other @ (Val::Leaf(_) | Val::Tree(_) | Val::Fn(_) | Val::Never) => plain.push(other),
        }
    }
    if packed { Val::Pack(slots, Box::new(Val::Tree(plain))) } else { Val::Tree(plain) }
}

fn sig(e: &Expr) -> Option<Rc<tdl_types::thir::FnTy>> {
    match &e.ty {
        Ty::Fn(f) => Some(Rc::clone(f)),
        _ => None,
    }
}

/// Whether a function is among the arguments of a call.
pub fn has_function(generics: &[RArg<'_>]) -> bool {
    fn in_ty(t: &RTy<'_>) -> bool {
        match t {
            RTy::Fn => true,
            RTy::Tuple(items) => items.iter().any(in_ty),
            RTy::Struct(_, args) => has_function(args),
            RTy::Stack(_, t) | RTy::Exists(_, t) => in_ty(t),
            RTy::Never | RTy::Tensor(..) | RTy::Str | RTy::Rng => false,
        }
    }
    generics.iter().any(|g| match g {
        RArg::Fn(_) => true,
        RArg::Ty(t) => in_ty(t),
        RArg::Size(_) | RArg::Shape(_) | RArg::Dtype(_) => false,
    })
}
