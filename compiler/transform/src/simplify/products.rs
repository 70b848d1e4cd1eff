//! Reductions and contractions: permuted operands, sums of stretched values, products that are written as a sum.

use tdl_ir::{BinaryOp, Builder, Dim, Dtype, Op, ReduceOp, Scalar, Type, UnaryOp, ValueId};

use super::Simplifier;

impl Simplifier {
    pub(super) fn reduce(
        &mut self,
        b: &mut Builder,
        op: ReduceOp,
        axes: &[usize],
        x: ValueId,
        ty: &Type,
    ) -> Option<ValueId> {
        if axes.is_empty() {
            return Some(x);
        }
        let dims = b.dims(x);
        if axes.iter().all(|a| dims[*a] == Dim::Const(1)) {
            return Some(self.emit(b, Op::Reshape, vec![x], ty.clone()));
        }
        // nothing is added up, whatever the rules below would multiply by 0
        if op == ReduceOp::Sum && axes.iter().any(|a| dims[*a] == Dim::Const(0)) {
            return self.constant(b, zero(ty)?, ty);
        }
        if op == ReduceOp::Sum
            && let Some(v) = self.sum_of_windows(b, axes, x, ty)
        {
            return Some(v);
        }
        match self.def(x)? {
            // one reduction over all axes
            (Op::Reduce { op: inner, axes: first }, from) if *inner == op => {
                let (first, from) = (first.clone(), from[0]);
                let rank = b.rank(from);
                let kept: Vec<usize> = (0..rank).filter(|k| !first.contains(k)).collect();
                let mut all: Vec<usize> = axes.iter().map(|a| kept[*a]).chain(first).collect();
                all.sort_unstable();
                Some(self.emit(b, Op::Reduce { op, axes: all }, vec![from], ty.clone()))
            }
            // everything, in whatever order
            (Op::Permute { .. } | Op::Reshape, from) if ty.is_scalar() => {
                let from = from[0];
                let axes: Vec<usize> = (0..b.rank(from)).collect();
                Some(self.emit(b, Op::Reduce { op, axes }, vec![from], ty.clone()))
            }
            (Op::Expand { axes: stretched }, from) => {
                let (stretched, from) = (stretched.clone(), from[0]);
                self.reduce_stretched(b, op, axes, &stretched, from, &dims, ty)
            }
            (Op::Binary(BinaryOp::Mul), from) if op == ReduceOp::Sum => {
                let (p, q) = (from[0], from[1]);
                self.product_sum(b, axes, p, q, &dims, ty)
            }
            (Op::Unary(UnaryOp::Neg), from) if op == ReduceOp::Sum => {
                let from = from[0];
                let v = self.emit(b, Op::Reduce { op, axes: axes.to_vec() }, vec![from], ty.clone());
                Some(self.emit(b, Op::Unary(UnaryOp::Neg), vec![v], ty.clone()))
            }
            (Op::Contract { lhs, rhs, out }, from)
                if op == ReduceOp::Sum && matches!(ty.dtype(), Some(Dtype::F32 | Dtype::F64)) =>
            {
                let labels = [lhs.clone(), rhs.clone()];
                let (from, out) = ([from[0], from[1]], out.clone());
                let summed: Vec<u8> = axes.iter().map(|a| out[*a]).collect();
                self.contract_sum(b, labels, from, &out, &summed, ty)
            }
            _ => None,
        }
    }

    /// `sum(x @ y)` along axes of the product: the operands are summed along their own axes first.
    fn contract_sum(
        &mut self,
        b: &mut Builder,
        mut labels: [Vec<u8>; 2],
        mut from: [ValueId; 2],
        out: &[u8],
        summed: &[u8],
        ty: &Type,
    ) -> Option<ValueId> {
        // an axis of both would be summed by the product itself, which is no cheaper
        if summed.iter().any(|l| labels[0].contains(l) == labels[1].contains(l)) {
            return None;
        }
        for (labels, x) in labels.iter_mut().zip(&mut from) {
            let axes: Vec<usize> = (0..labels.len()).filter(|k| summed.contains(&labels[*k])).collect();
            if axes.is_empty() {
                continue;
            }
            let dims = b.dims(*x);
            let kept: Vec<Dim> = (0..dims.len()).filter(|k| !axes.contains(k)).map(|k| dims[k]).collect();
            let narrow = Type::tensor(ty.dtype()?, kept);
            *x = self.emit(b, Op::Reduce { op: ReduceOp::Sum, axes }, vec![*x], narrow);
            labels.retain(|l| !summed.contains(l));
        }
        let out = out.iter().copied().filter(|l| !summed.contains(l)).collect();
        let [lhs, rhs] = labels;
        Some(self.emit(b, Op::Contract { lhs, rhs, out }, from.to_vec(), ty.clone()))
    }

    /// A reduction along axes in which the operand is constant: each is a multiplication, or nothing.
    fn reduce_stretched(
        &mut self,
        b: &mut Builder,
        op: ReduceOp,
        axes: &[usize],
        stretched: &[usize],
        from: ValueId,
        dims: &[Dim],
        ty: &Type,
    ) -> Option<ValueId> {
        let both: Vec<usize> = axes.iter().copied().filter(|a| stretched.contains(a)).collect();
        if both.is_empty() {
            return None;
        }
        let dtype = ty.dtype()?;
        match op {
            ReduceOp::Sum if dtype.is_int() || matches!(dtype, Dtype::F32 | Dtype::F64) => {}
            ReduceOp::Max | ReduceOp::Min | ReduceOp::Any | ReduceOp::All
                if both.iter().all(|a| matches!(dims[*a], Dim::Const(1..))) => {}
            ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min | ReduceOp::Any | ReduceOp::All => {
                return None;
            }
        }
        // the operand stretched along the other axes alone, and what is left of the reduction
        let left: Vec<usize> = (0..dims.len()).filter(|k| !both.contains(k)).collect();
        let place = |k: &usize| left.iter().position(|l| l == k);
        let outer: Vec<usize> = stretched.iter().filter_map(place).collect();
        let inner_axes: Vec<usize> = axes.iter().filter_map(place).collect();
        let inner_dims: Vec<Dim> = left.iter().map(|k| dims[*k]).collect();
        let mut v = from;
        if !outer.is_empty() {
            v = self.emit(b, Op::Expand { axes: outer }, vec![v], Type::tensor(dtype, inner_dims));
        }
        if !inner_axes.is_empty() {
            v = self.emit(b, Op::Reduce { op, axes: inner_axes }, vec![v], ty.clone());
        }
        if op != ReduceOp::Sum {
            return Some(v);
        }
        let extents: Vec<Dim> = both.iter().map(|k| dims[*k]).collect();
        let count = b.numel(&extents);
        let count = match b.as_i64(count) {
            Some(n) => b.const_num(n as f64, dtype),
            None => b.convert(count, dtype),
        };
        let wide = b.splat(count, ty.dims());
        Some(self.emit(b, Op::Binary(BinaryOp::Mul), vec![v, wide], ty.clone()))
    }

    /// `sum(p[i, k] * q[k, j] for k)` of two stretched operands is a contraction, if each has an axis of its own.
    fn product_sum(
        &mut self,
        b: &mut Builder,
        axes: &[usize],
        p: ValueId,
        q: ValueId,
        dims: &[Dim],
        ty: &Type,
    ) -> Option<ValueId> {
        let side = |s: &Self, v: ValueId| match s.def(v) {
            Some((Op::Expand { axes }, x)) => Some((axes.clone(), x[0])),
            _ => None,
        };
        let (missing_p, x) = side(self, p)?;
        let (missing_q, y) = side(self, q)?;
        let labels = |missing: &[usize]| -> Vec<u8> {
            (0..dims.len()).filter(|k| !missing.contains(k)).map(|k| k as u8).collect()
        };
        let (lhs, rhs) = (labels(&missing_p), labels(&missing_q));
        let out: Vec<u8> = (0..dims.len()).filter(|k| !axes.contains(k)).map(|k| k as u8).collect();
        let has = |list: &[u8], k: &u8| list.contains(k);
        let summed = axes.iter().all(|a| has(&lhs, &(*a as u8)) && has(&rhs, &(*a as u8)));
        let covered = out.iter().all(|k| has(&lhs, k) || has(&rhs, k));
        let own_p = out.iter().any(|k| has(&lhs, k) && !has(&rhs, k));
        let own_q = out.iter().any(|k| has(&rhs, k) && !has(&lhs, k));
        (summed && covered && own_p && own_q)
            .then(|| self.emit(b, Op::Contract { lhs, rhs, out }, vec![x, y], ty.clone()))
    }

    pub(super) fn contract(
        &mut self,
        b: &mut Builder,
        lhs: &[u8],
        rhs: &[u8],
        out: &[u8],
        args: &[ValueId],
        ty: &Type,
    ) -> Option<ValueId> {
        let dims = b.dims(args[0]);
        if lhs.iter().zip(&dims).any(|(l, d)| !out.contains(l) && *d == Dim::Const(0)) {
            return self.constant(b, zero(ty)?, ty);
        }
        let mut labels = [lhs.to_vec(), rhs.to_vec()];
        let mut new = args.to_vec();
        let mut changed = false;
        for k in 0..2 {
            if let Some((Op::Permute { perm }, x)) = self.def(new[k]) {
                let x = x[0];
                let mut old = vec![0; perm.len()];
                for (to, from) in perm.iter().enumerate() {
                    old[*from] = labels[k][to];
                }
                labels[k] = old;
                new[k] = x;
                changed = true;
            }
        }
        let [lhs, rhs] = labels;
        if changed {
            return Some(self.emit(b, Op::Contract { lhs, rhs, out: out.to_vec() }, new, ty.clone()));
        }
        for k in 0..2 {
            if let Some((Op::Expand { axes }, x)) = self.def(new[k]) {
                let (stretched, x, other) = (axes.clone(), x[0], new[1 - k]);
                let (mine, others) = if k == 0 { (&lhs, &rhs) } else { (&rhs, &lhs) };
                return self.contract_stretched(b, &stretched, x, mine, other, others, out, ty);
            }
        }
        for k in 0..2 {
            let (mine, others) = if k == 0 { (&lhs, &rhs) } else { (&rhs, &lhs) };
            if let Some(v) = self.unit_contract(b, [mine, others], out, [new[k], new[1 - k]], ty) {
                return Some(v);
            }
        }
        // no axis is summed: a product of stretched operands
        if lhs.iter().chain(&rhs).all(|l| out.contains(l)) {
            let mut wide = Vec::new();
            for (labels, x) in [(&lhs, new[0]), (&rhs, new[1])] {
                wide.push(self.stretch_to(b, labels, out, x, ty));
            }
            return Some(self.emit(b, Op::Binary(BinaryOp::Mul), wide, ty.clone()));
        }
        None
    }

    /// A contraction with `x` stretched along `axes`: the other operand is summed there, or the result stretched.
    fn contract_stretched(
        &mut self,
        b: &mut Builder,
        axes: &[usize],
        x: ValueId,
        mine: &[u8],
        other: ValueId,
        others: &[u8],
        out: &[u8],
        ty: &Type,
    ) -> Option<ValueId> {
        let dtype = ty.dtype()?;
        let gone: Vec<u8> = axes.iter().map(|a| mine[*a]).collect();
        let lhs: Vec<u8> = mine.iter().copied().filter(|l| !gone.contains(l)).collect();
        // labels that are summed, and labels of `x` and the result alone
        let summed: Vec<usize> =
            (0..others.len()).filter(|k| gone.contains(&others[*k]) && !out.contains(&others[*k])).collect();
        let wide: Vec<usize> =
            (0..out.len()).filter(|k| gone.contains(&out[*k]) && !others.contains(&out[*k])).collect();
        let rhs: Vec<u8> = (0..others.len()).filter(|k| !summed.contains(k)).map(|k| others[k]).collect();
        let dims = b.dims(other);
        let kept: Vec<Dim> = (0..dims.len()).filter(|k| !summed.contains(k)).map(|k| dims[k]).collect();
        let mut y = other;
        if !summed.is_empty() {
            let op = Op::Reduce { op: ReduceOp::Sum, axes: summed };
            y = self.emit(b, op, vec![other], Type::tensor(dtype, kept));
        }
        let narrow: Vec<usize> = (0..out.len()).filter(|k| !wide.contains(k)).collect();
        let small = Type::tensor(dtype, narrow.iter().map(|k| ty.dims()[*k]).collect::<Vec<_>>());
        let op = Op::Contract { lhs, rhs, out: narrow.iter().map(|k| out[*k]).collect() };
        let v = self.emit(b, op, vec![x, y], small);
        if wide.is_empty() {
            return Some(v);
        }
        Some(self.emit(b, Op::Expand { axes: wide }, vec![v], ty.clone()))
    }

    /// `x`, whose axes are called `labels`, in the shape `ty` with the axes `out`.
    pub(super) fn stretch_to(&mut self, b: &mut Builder, labels: &[u8], out: &[u8], x: ValueId, ty: &Type) -> ValueId {
        let order: Vec<usize> = out.iter().filter_map(|l| labels.iter().position(|k| k == l)).collect();
        let dims = b.dims(x);
        let moved = Type::tensor(b.dtype(x), order.iter().map(|k| dims[*k]).collect::<Vec<_>>());
        let x = self.emit(b, Op::Permute { perm: order }, vec![x], moved);
        let axes: Vec<usize> = (0..out.len()).filter(|k| !labels.contains(&out[*k])).collect();
        self.emit(b, Op::Expand { axes }, vec![x], ty.clone())
    }
}

fn zero(ty: &Type) -> Option<Scalar> {
    let dtype = ty.dtype()?;
    (dtype != Dtype::Bool).then(|| if dtype.is_float() { Scalar::float(0.0) } else { Scalar::Int(0) })
}
