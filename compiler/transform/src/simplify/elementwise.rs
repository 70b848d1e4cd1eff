//! Identities of elementwise ops.

use tdl_ir::{BinaryOp, Builder, CompareOp, Dim, Dtype, Op, Scalar, Type, UnaryOp, ValueId};

use super::Simplifier;

impl Simplifier {
    pub(super) fn elementwise(&mut self, b: &mut Builder, op: &Op, args: &[ValueId], ty: &Type) -> Option<ValueId> {
        match op {
            Op::Unary(op) => self.unary(b, *op, args[0], ty),
            Op::Binary(op) => self.binary(b, *op, args[0], args[1], ty),
            Op::Select => self.select(b, args, ty),
            Op::Convert => self.convert(b, args[0], ty),
            Op::Compare(CompareOp::Eq | CompareOp::Le | CompareOp::Ge)
                if args[0] == args[1] && !b.ty(args[0]).is_float_tensor() =>
            {
                self.constant(b, Scalar::Bool(true), ty)
            }
            _ => None,
        }
    }

    /// The operand of a value's defining `neg`.
    fn negated(&self, v: ValueId) -> Option<ValueId> {
        match self.def(v) {
            Some((Op::Unary(UnaryOp::Neg), x)) => Some(x[0]),
            _ => None,
        }
    }

    fn neg(&mut self, b: &mut Builder, x: ValueId, ty: &Type) -> ValueId {
        self.emit(b, Op::Unary(UnaryOp::Neg), vec![x], ty.clone())
    }

    fn make(&mut self, b: &mut Builder, op: BinaryOp, x: ValueId, y: ValueId, ty: &Type) -> Option<ValueId> {
        Some(self.emit(b, Op::Binary(op), vec![x, y], ty.clone()))
    }

    fn unary(&mut self, b: &mut Builder, op: UnaryOp, x: ValueId, ty: &Type) -> Option<ValueId> {
        match (op, self.def(x)) {
            (UnaryOp::Neg, Some((Op::Unary(UnaryOp::Neg), inner)))
            | (UnaryOp::Not, Some((Op::Unary(UnaryOp::Not), inner))) => Some(inner[0]),
            (UnaryOp::Neg, Some((Op::Binary(BinaryOp::Sub), inner))) => {
                let (p, q) = (inner[0], inner[1]);
                self.make(b, BinaryOp::Sub, q, p, ty)
            }
            (UnaryOp::Not, Some((Op::Compare(op @ (CompareOp::Eq | CompareOp::Ne)), inner))) => {
                let flipped = if *op == CompareOp::Eq { CompareOp::Ne } else { CompareOp::Eq };
                let inner = inner.to_vec();
                Some(self.emit(b, Op::Compare(flipped), inner, ty.clone()))
            }
            (UnaryOp::Abs, Some((Op::Unary(UnaryOp::Abs), _))) => Some(x),
            (UnaryOp::Abs, Some((Op::Unary(UnaryOp::Neg), inner))) => {
                let inner = inner[0];
                Some(self.emit(b, Op::Unary(UnaryOp::Abs), vec![inner], ty.clone()))
            }
            _ => None,
        }
    }

    fn binary(&mut self, b: &mut Builder, op: BinaryOp, x: ValueId, y: ValueId, ty: &Type) -> Option<ValueId> {
        let is = |v, c| b.is_splat(v, c);
        let float = ty.is_float_tensor();
        match op {
            BinaryOp::Add if is(y, 0.0) => Some(x),
            BinaryOp::Add if is(x, 0.0) => Some(y),
            BinaryOp::Sub if is(y, 0.0) => Some(x),
            BinaryOp::Sub if is(x, 0.0) => Some(self.neg(b, y, ty)),
            BinaryOp::Sub if x == y && !float => self.constant(b, Scalar::Int(0), ty),
            BinaryOp::Mul if is(y, 1.0) => Some(x),
            BinaryOp::Mul if is(x, 1.0) => Some(y),
            BinaryOp::Mul if is(y, -1.0) => Some(self.neg(b, x, ty)),
            BinaryOp::Mul if is(x, -1.0) => Some(self.neg(b, y, ty)),
            BinaryOp::Mul if is(y, 0.0) && !float => Some(y),
            BinaryOp::Mul if is(x, 0.0) && !float => Some(x),
            BinaryOp::Div if is(y, 1.0) => Some(x),
            BinaryOp::FloorDiv if is(y, 1.0) && !float => Some(x),
            BinaryOp::Rem if is(y, 1.0) && !float => self.constant(b, Scalar::Int(0), ty),
            BinaryOp::Pow if is(y, 1.0) => Some(x),
            BinaryOp::Pow if is(y, 2.0) => self.make(b, BinaryOp::Mul, x, x, ty),
            BinaryOp::Pow if is(y, 3.0) => {
                let square = self.make(b, BinaryOp::Mul, x, x, ty)?;
                self.make(b, BinaryOp::Mul, square, x, ty)
            }
            BinaryOp::Pow if is(y, -1.0) && float => {
                let one = self.constant(b, Scalar::float(1.0), ty)?;
                self.make(b, BinaryOp::Div, one, x, ty)
            }
            BinaryOp::Min | BinaryOp::Max | BinaryOp::And | BinaryOp::Or if x == y => Some(x),
            BinaryOp::And | BinaryOp::Or if ty.dtype() == Some(Dtype::Bool) => {
                let absorbing = op == BinaryOp::Or;
                match (b.as_splat(x), b.as_splat(y)) {
                    (Some(Scalar::Bool(c)), _) => Some(if c == absorbing { x } else { y }),
                    (_, Some(Scalar::Bool(c))) => Some(if c == absorbing { y } else { x }),
                    (_, _) => None,
                }
            }
            BinaryOp::Add => {
                if let Some(y) = self.negated(y) {
                    return self.make(b, BinaryOp::Sub, x, y, ty);
                }
                let x = self.negated(x)?;
                self.make(b, BinaryOp::Sub, y, x, ty)
            }
            BinaryOp::Sub => {
                let y = self.negated(y)?;
                self.make(b, BinaryOp::Add, x, y, ty)
            }
            BinaryOp::Mul => match (self.negated(x), self.negated(y)) {
                (Some(p), Some(q)) => self.make(b, BinaryOp::Mul, p, q, ty),
                (Some(p), None) => self.negative_factor(b, p, y, ty),
                (None, Some(q)) => self.negative_factor(b, q, x, ty),
                (None, None) => None,
            },
            _ => None,
        }
    }

    /// `-x * c` as `x * -c` for a constant `c`.
    fn negative_factor(&mut self, b: &mut Builder, x: ValueId, c: ValueId, ty: &Type) -> Option<ValueId> {
        let Some(Scalar::Float(bits)) = b.as_splat(c) else { return None };
        let c = self.constant(b, Scalar::float(-f64::from_bits(bits)), ty)?;
        self.make(b, BinaryOp::Mul, x, c, ty)
    }

    fn select(&mut self, b: &mut Builder, args: &[ValueId], ty: &Type) -> Option<ValueId> {
        let (c, x, y) = (args[0], args[1], args[2]);
        match b.as_splat(c) {
            Some(Scalar::Bool(true)) => return Some(x),
            Some(Scalar::Bool(false)) => return Some(y),
            Some(Scalar::Int(_) | Scalar::Float(_)) | None => {}
        }
        if x == y {
            return Some(x);
        }
        if let (Some(Scalar::Bool(true)), Some(Scalar::Bool(false))) = (b.as_splat(x), b.as_splat(y)) {
            return Some(c);
        }
        match self.def(c) {
            Some((Op::Unary(UnaryOp::Not), inner)) => {
                let c = inner[0];
                Some(self.emit(b, Op::Select, vec![c, y, x], ty.clone()))
            }
            _ => None,
        }
    }

    fn convert(&mut self, b: &mut Builder, x: ValueId, ty: &Type) -> Option<ValueId> {
        let from = b.ty(x).dtype()?;
        if Some(from) == ty.dtype() {
            return Some(x);
        }
        match self.def(x) {
            // there and back through a dtype that holds every value
            Some((Op::Convert, inner)) => {
                let origin = inner[0];
                let first = b.ty(origin).dtype()?;
                (Some(first) == ty.dtype() && holds(from, first)).then_some(origin)
            }
            _ => None,
        }
    }

    /// An op on operands that are all stretched along the same axes happens before the stretching.
    pub(super) fn narrow(&mut self, b: &mut Builder, op: &Op, args: &[ValueId], ty: &Type) -> Option<ValueId> {
        let mut axes: Option<Vec<usize>> = None;
        for a in args {
            if b.as_splat(*a).is_some() {
                continue;
            }
            match (self.def(*a), &axes) {
                (Some((Op::Expand { axes: own }, _)), None) => axes = Some(own.clone()),
                (Some((Op::Expand { axes: own }, _)), Some(known)) if own == known => {}
                (_, _) => return None,
            }
        }
        let axes = axes?;
        let dims: Vec<_> = (0..ty.rank()).filter(|k| !axes.contains(k)).map(|k| ty.dims()[k]).collect();
        let mut inner = Vec::with_capacity(args.len());
        for a in args {
            inner.push(match b.as_splat(*a) {
                Some(c) => {
                    let ty = Type::tensor(b.dtype(*a), dims.clone());
                    self.constant(b, c, &ty)?
                }
                None => self.def(*a)?.1[0],
            });
        }
        let small = self.emit(b, op.clone(), inner, Type::tensor(ty.dtype()?, dims));
        Some(self.emit(b, Op::Expand { axes }, vec![small], ty.clone()))
    }
}

impl Simplifier {
    /// An op on operands that only gained or lost axes of extent 1 happens before.
    pub(super) fn before_units(&mut self, b: &mut Builder, op: &Op, args: &[ValueId], ty: &Type) -> Option<ValueId> {
        let mut dims: Option<Vec<Dim>> = None;
        for a in args {
            if b.as_splat(*a).is_some() {
                continue;
            }
            let Some((Op::Reshape, x)) = self.def(*a) else { return None };
            let own = b.ty(x[0]).dims();
            match &dims {
                None if units_apart(own, ty.dims()) => dims = Some(own.to_vec()),
                Some(known) if known == own => {}
                Some(_) | None => return None,
            }
        }
        let dims = dims?;
        let mut inner = Vec::with_capacity(args.len());
        for a in args {
            inner.push(match b.as_splat(*a) {
                Some(c) => {
                    let ty = Type::tensor(b.dtype(*a), dims.clone());
                    self.constant(b, c, &ty)?
                }
                None => self.def(*a)?.1[0],
            });
        }
        let v = self.emit(b, op.clone(), inner, Type::tensor(ty.dtype()?, dims));
        Some(self.emit(b, Op::Reshape, vec![v], ty.clone()))
    }
}

/// Equal but for axes of extent 1.
fn units_apart(a: &[Dim], b: &[Dim]) -> bool {
    let proper = |dims: &[Dim]| -> Vec<Dim> { dims.iter().copied().filter(|d| *d != Dim::Const(1)).collect() };
    proper(a) == proper(b)
}

/// Each value of `small` is one of `wide`, and comes back unchanged.
fn holds(wide: Dtype, small: Dtype) -> bool {
    matches!(
        (wide, small),
        (Dtype::F64, Dtype::F32 | Dtype::F16 | Dtype::Bf16)
            | (Dtype::F32, Dtype::F16 | Dtype::Bf16)
            | (Dtype::I64, Dtype::I32 | Dtype::I16 | Dtype::I8 | Dtype::U8 | Dtype::U32)
            | (Dtype::F64, Dtype::I32 | Dtype::U32 | Dtype::I16 | Dtype::I8 | Dtype::U8)
    )
}
