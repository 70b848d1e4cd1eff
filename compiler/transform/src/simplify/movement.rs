//! Chains of ops that only say where elements stand. Permutations move inwards, expansions outwards.

use tdl_ir::{BinaryOp, Builder, Dim, Op, Type, Update, ValueId};

use super::Simplifier;

impl Simplifier {
    pub(super) fn movement(&mut self, b: &mut Builder, op: &Op, args: &[ValueId], ty: &Type) -> Option<ValueId> {
        let x = args[0];
        match op {
            Op::Expand { axes } => {
                if axes.is_empty() {
                    return Some(x);
                }
                let (inner, x) = match self.def(x) {
                    Some((Op::Expand { axes: inner }, x)) => (inner.clone(), x[0]),
                    _ => return None,
                };
                // axes of the inner result, renumbered past the outer ones
                let mut all = axes.clone();
                let kept: Vec<usize> = (0..ty.rank()).filter(|k| !axes.contains(k)).collect();
                all.extend(inner.iter().map(|k| kept[*k]));
                all.sort_unstable();
                Some(self.emit(b, Op::Expand { axes: all }, vec![x], ty.clone()))
            }
            Op::Reshape => self.reshape(b, x, ty),
            Op::Permute { perm } => self.permute(b, perm, x, ty),
            Op::Slice { steps } => {
                let unit = steps.iter().all(|s| *s == 1);
                if unit && args[1..].iter().all(|s| b.as_i64(*s) == Some(0)) && same_dims(b, x, ty.dims()) {
                    return Some(x);
                }
                if let Some(c) = b.as_splat(x) {
                    return self.constant(b, c, ty);
                }
                match self.def(x) {
                    Some((Op::Slice { steps: inner }, from)) if unit && inner.iter().all(|s| *s == 1) => {
                        let from = from.to_vec();
                        let mut new = vec![from[0]];
                        for (p, q) in from[1..].iter().zip(&args[1..]) {
                            new.push(b.size_binary(BinaryOp::Add, *p, *q));
                        }
                        Some(self.emit(b, op.clone(), new, ty.clone()))
                    }
                    _ => None,
                }
            }
            Op::UpdateSlice { steps, mode } => self.update(b, steps, *mode, args, ty),
            Op::Flip { axes } => match self.def(x) {
                _ if b.as_splat(x).is_some() => Some(x),
                Some((Op::Flip { axes: inner }, from)) if inner == axes => Some(from[0]),
                _ => None,
            },
            Op::Concat { .. } => (args.len() == 1).then_some(x),
            _ => None,
        }
    }

    fn update(&mut self, b: &mut Builder, steps: &[i64], mode: Update, args: &[ValueId], ty: &Type) -> Option<ValueId> {
        let unit = steps.iter().all(|s| *s == 1);
        if unit && args[2..].iter().all(|s| b.as_i64(*s) == Some(0)) && b.ty(args[1]) == ty {
            return match mode {
                Update::Set => Some(args[1]),
                Update::Add => Some(self.emit(b, Op::Binary(BinaryOp::Add), args[..2].to_vec(), ty.clone())),
            };
        }
        if mode == Update::Set {
            return if unit { self.parts(b, args, ty) } else { None };
        }
        // adding to what is still zero there
        let mine = region(b, args);
        let mut base = args[0];
        loop {
            if b.is_splat(base, 0.0) {
                let set = Op::UpdateSlice { steps: steps.to_vec(), mode: Update::Set };
                return Some(self.emit(b, set, args.to_vec(), ty.clone()));
            }
            match self.def(base)? {
                (Op::UpdateSlice { steps: other, .. }, inner) if other.iter().all(|s| *s == 1) && unit => {
                    if !disjoint(mine.as_ref()?, &region(b, inner)?) {
                        return None;
                    }
                    base = inner[0];
                }
                _ => return None,
            }
        }
    }

    /// Parts that are set one after the other and fill everything along one axis are a concatenation.
    fn parts(&mut self, b: &mut Builder, args: &[ValueId], ty: &Type) -> Option<ValueId> {
        let mut found = vec![(region(b, args)?, args[1])];
        let mut base = args[0];
        while let Some((Op::UpdateSlice { steps, mode: Update::Set }, inner)) = self.def(base) {
            if !steps.iter().all(|s| *s == 1) || found.len() > 16 {
                return None;
            }
            found.push((region(b, inner)?, inner[1]));
            base = inner[0];
        }
        let whole: Vec<(i64, i64)> = ty.dims().iter().map(|d| Some((0, constant(*d)?))).collect::<Option<_>>()?;
        let axis = (0..whole.len()).find(|k| found[0].0[*k] != whole[*k])?;
        let slabs = found.iter().all(|(r, _)| (0..whole.len()).all(|k| k == axis || r[k] == whole[k]));
        found.sort_by_key(|(r, _)| r[axis].0);
        let mut at = 0;
        for (r, _) in &found {
            if r[axis].0 != at {
                return None;
            }
            at = r[axis].1;
        }
        (slabs && at == whole[axis].1 && found.len() > 1).then(|| {
            let parts = found.iter().map(|(_, v)| *v).collect();
            self.emit(b, Op::Concat { axis }, parts, ty.clone())
        })
    }

    fn reshape(&mut self, b: &mut Builder, x: ValueId, ty: &Type) -> Option<ValueId> {
        if same_dims(b, x, ty.dims()) {
            return Some(x);
        }
        if let Some(c) = b.as_splat(x) {
            return self.constant(b, c, ty);
        }
        match self.def(x) {
            Some((Op::Reshape, from)) => {
                let from = from[0];
                Some(self.emit(b, Op::Reshape, vec![from], ty.clone()))
            }
            Some((Op::Expand { .. }, from)) if b.ty(from[0]).is_scalar() && ty.rank() > 0 => {
                let from = from[0];
                Some(self.emit(b, Op::Expand { axes: (0..ty.rank()).collect() }, vec![from], ty.clone()))
            }
            _ => None,
        }
    }

    fn permute(&mut self, b: &mut Builder, perm: &[usize], x: ValueId, ty: &Type) -> Option<ValueId> {
        if perm.iter().enumerate().all(|(k, p)| k == *p) {
            return Some(x);
        }
        // where axes of extent 1 stand does not matter
        let dims = b.dims(x);
        let wide: Vec<usize> = perm.iter().copied().filter(|p| dims[*p] != Dim::Const(1)).collect();
        if wide.is_sorted() {
            return Some(self.emit(b, Op::Reshape, vec![x], ty.clone()));
        }
        match self.def(x)? {
            (Op::Permute { perm: inner }, from) => {
                let (both, from) = (perm.iter().map(|p| inner[*p]).collect(), from[0]);
                Some(self.emit(b, Op::Permute { perm: both }, vec![from], ty.clone()))
            }
            (Op::Expand { axes }, from) => {
                let (axes, from) = (axes.clone(), from[0]);
                // result axis k shows axis perm[k] of the expansion
                let kept: Vec<usize> = (0..ty.rank()).filter(|k| !axes.contains(k)).collect();
                let order: Vec<usize> = perm.iter().filter_map(|p| kept.iter().position(|k| k == p)).collect();
                let outer: Vec<usize> = (0..ty.rank()).filter(|k| axes.contains(&perm[*k])).collect();
                let dims: Vec<Dim> = (0..ty.rank()).filter(|k| !outer.contains(k)).map(|k| ty.dims()[k]).collect();
                let small = Type::tensor(ty.dtype()?, dims);
                let moved = self.emit(b, Op::Permute { perm: order }, vec![from], small);
                Some(self.emit(b, Op::Expand { axes: outer }, vec![moved], ty.clone()))
            }
            (Op::Contract { lhs, rhs, out }, from) => {
                let out = perm.iter().map(|p| out[*p]).collect();
                let (op, from) = (Op::Contract { lhs: lhs.clone(), rhs: rhs.clone(), out }, from.to_vec());
                Some(self.emit(b, op, from, ty.clone()))
            }
            _ => None,
        }
    }
}

fn same_dims(b: &Builder, v: ValueId, dims: &[Dim]) -> bool {
    b.ty(v).dims() == dims
}

fn constant(d: Dim) -> Option<i64> {
    match d {
        Dim::Const(c) => Some(c),
        Dim::Val(_) => None,
    }
}

/// Begin and end along each axis of what a unit-step update writes.
fn region(b: &Builder, args: &[ValueId]) -> Option<Vec<(i64, i64)>> {
    let starts = args[2..].iter().map(|s| b.as_i64(*s));
    starts.zip(b.ty(args[1]).dims()).map(|(s, d)| s.and_then(|s| Some((s, s + constant(*d)?)))).collect()
}

fn disjoint(a: &[(i64, i64)], b: &[(i64, i64)]) -> bool {
    a.iter().zip(b).any(|(p, q)| p.1 <= q.0 || q.1 <= p.0)
}
