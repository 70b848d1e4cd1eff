//! Reads at positions that depend on the iteration.

use tdl_ir::{BinaryOp, Dim, Inst, Op, Type, ValueId};

use super::batch::{Batch, Lifted};

/// One axis of what is read.
struct Axis {
    start: Start,
    extent: Dim,
    step: i64,
}

enum Start {
    Same(ValueId),
    /// For each iteration.
    Each(ValueId),
}

impl Batch<'_> {
    pub fn slice(&mut self, i: &Inst, steps: &[i64]) -> Option<()> {
        let ty = self.ty(i.results[0])?;
        let starts: Vec<Lifted> = i.args[1..].iter().map(|s| self.get(*s)).collect();
        let v = match (self.same(i.args[0]), self.one_affine(&starts, ty.dims())) {
            (Some(x), Some(axis)) => self.strided(x, axis, &starts, steps, &ty),
            (x, _) => {
                let (x, batched) = match x {
                    Some(x) => (x, false),
                    None => (self.lift(i.args[0]), true),
                };
                let mut axes = Vec::with_capacity(steps.len() + 1);
                let moves = starts.iter().any(|s| !matches!(s, Lifted::Same(_)));
                if batched {
                    let zero = self.b.const_i64(0);
                    let own = if moves { Start::Each(self.iota(self.n)) } else { Start::Same(zero) };
                    let extent = if moves { Dim::Const(1) } else { self.n };
                    axes.push(Axis { start: own, extent, step: 1 });
                }
                for (k, s) in i.args[1..].iter().enumerate() {
                    let start = match starts[k] {
                        Lifted::Same(v) => Start::Same(v),
                        Lifted::Each(_) | Lifted::Affine { .. } => Start::Each(self.lift(*s)),
                    };
                    axes.push(Axis { start, extent: ty.dims()[k], step: steps[k] });
                }
                if moves { self.windows(x, &axes, &ty) } else { self.region_of(x, &axes) }
            }
        };
        self.set(i.results[0], Lifted::Each(v));
        Some(())
    }

    /// The only axis whose start is not the same in each iteration, if it is `base + stride * i` with a stride of at least 1 and
    /// one element is read.
    fn one_affine(&self, starts: &[Lifted], dims: &[Dim]) -> Option<usize> {
        let mut moving = (0..starts.len()).filter(|k| !matches!(starts[*k], Lifted::Same(_)));
        let axis = moving.next()?;
        let affine = matches!(starts[axis], Lifted::Affine { stride: 1.., .. });
        (affine && moving.next().is_none() && dims[axis] == Dim::Const(1)).then_some(axis)
    }

    /// `x[…, base + stride * i, …]` for all `i` is a slice with that stride.
    fn strided(&mut self, x: ValueId, axis: usize, starts: &[Lifted], steps: &[i64], ty: &Type) -> ValueId {
        let mut dims = ty.dims().to_vec();
        dims[axis] = self.n;
        let mut steps = steps.to_vec();
        let mut args = vec![x];
        for (k, s) in starts.iter().enumerate() {
            match s {
                Lifted::Same(v) | Lifted::Each(v) => args.push(*v),
                Lifted::Affine { base, stride } => {
                    args.push(*base);
                    steps[k] = *stride;
                }
            }
        }
        let dtype = self.b.dtype(x);
        let v = self.b.inst1(Op::Slice { steps }, args, Type::tensor(dtype, dims));
        let perm = std::iter::once(axis).chain((0..ty.rank()).filter(|k| *k != axis)).collect();
        let v = self.b.permute(v, perm);
        let dims = self.front(ty.dims());
        self.b.reshape(v, &dims)
    }

    /// A slice with one start for all iterations.
    fn region_of(&mut self, x: ValueId, axes: &[Axis]) -> ValueId {
        let mut args = vec![x];
        for a in axes {
            match a.start {
                Start::Same(v) | Start::Each(v) => args.push(v),
            }
        }
        let dims: Vec<Dim> = axes.iter().map(|a| a.extent).collect();
        let ty = Type::tensor(self.b.dtype(x), dims);
        self.b.inst1(Op::Slice { steps: axes.iter().map(|a| a.step).collect() }, args, ty)
    }

    /// One gather of rows: the axes with starts of their own in front, as one; `ty` is what an iteration reads.
    fn windows(&mut self, x: ValueId, axes: &[Axis], ty: &Type) -> ValueId {
        let each = |k: &usize| matches!(axes[*k].start, Start::Each(_));
        let indexed: Vec<usize> = (0..axes.len()).filter(each).collect();
        let others: Vec<usize> = (0..axes.len()).filter(|k| !each(k)).collect();
        // what is one region for all, first
        let whole = self.b.dims(x);
        let zero = self.b.const_i64(0);
        let part: Vec<Axis> = (0..axes.len())
            .map(|k| match axes[k].start {
                Start::Same(v) => Axis { start: Start::Same(v), extent: axes[k].extent, step: axes[k].step },
                Start::Each(_) => Axis { start: Start::Same(zero), extent: whole[k], step: 1 },
            })
            .collect();
        let x = self.region_of(x, &part);
        let x = self.b.permute(x, indexed.iter().chain(&others).copied().collect());
        let other_dims: Vec<Dim> = others.iter().map(|k| axes[*k].extent).collect();
        let front: Vec<Dim> = indexed.iter().map(|k| whole[*k]).collect();
        let mut rows = x;
        if front.len() > 1 {
            let n = self.b.numel(&front);
            let mut dims = vec![self.b.dim(n)];
            dims.extend(&other_dims);
            rows = self.b.reshape(x, &dims);
        }
        // the positions: [n, extents that are not 1…]
        let mut ids: Option<ValueId> = None;
        let mut id_dims = vec![self.n];
        for (at, k) in indexed.iter().enumerate() {
            let scale = self.b.numel(&front[at + 1..]);
            let Start::Each(start) = axes[*k].start else { continue };
            let mut here = self.scaled(start, scale);
            here = self.widen(here, &[self.n], 0, &id_dims);
            ids = Some(match ids {
                Some(ids) => self.b.add(ids, here),
                None => here,
            });
            let extent = axes[*k].extent;
            if extent == Dim::Const(1) {
                continue;
            }
            let step = self.b.const_i64(axes[*k].step);
            let factor = self.b.size_binary(BinaryOp::Mul, step, scale);
            let along = self.iota(extent);
            let along = self.scaled(along, factor);
            let last = id_dims.len();
            id_dims.push(extent);
            if let Some(old) = ids {
                let old = self.widen(old, &id_dims[..last], 0, &id_dims);
                let along = self.widen(along, &[extent], last, &id_dims);
                ids = Some(self.b.add(old, along));
            }
        }
        let Some(ids) = ids else { return rows };
        let dims: Vec<Dim> = id_dims.iter().chain(&other_dims).copied().collect();
        let dtype = self.b.dtype(rows);
        let v = self.b.inst1(Op::Gather, vec![rows, ids], Type::tensor(dtype, dims));
        // back to the order of the axes
        let mut order: Vec<(usize, usize)> = Vec::new();
        let wide = indexed.iter().filter(|k| axes[**k].extent != Dim::Const(1));
        order.extend(wide.enumerate().map(|(at, k)| (*k, at + 1)));
        order.extend(others.iter().enumerate().map(|(at, k)| (*k, id_dims.len() + at)));
        order.sort_unstable();
        let perm = std::iter::once(0).chain(order.into_iter().map(|(_, at)| at)).collect();
        let v = self.b.permute(v, perm);
        let dims = self.front(ty.dims());
        self.b.reshape(v, &dims)
    }

    fn scaled(&mut self, x: ValueId, factor: ValueId) -> ValueId {
        if self.b.as_i64(factor) == Some(1) {
            return x;
        }
        let dims = self.b.dims(x);
        let factor = self.b.splat(factor, &dims);
        self.b.mul(x, factor)
    }

    /// Stretches a tensor, whose axes stand at `at` in `dims`.
    fn widen(&mut self, x: ValueId, own: &[Dim], at: usize, dims: &[Dim]) -> ValueId {
        let axes = (0..dims.len()).filter(|k| *k < at || *k >= at + own.len()).collect();
        self.b.expand(x, axes, dims)
    }

    pub fn gather(&mut self, i: &Inst) -> Option<()> {
        let (x, ids) = (i.args[0], i.args[1]);
        let ids_rank = self.from.ty(ids).rank();
        let ty = self.ty(i.results[0])?;
        let full = self.front(ty.dims());
        let dtype = ty.dtype()?;
        let v = match (self.same(x), self.same(ids)) {
            (Some(x), _) => {
                let ids = self.lift(ids);
                self.b.inst1(Op::Gather, vec![x, ids], Type::tensor(dtype, full))
            }
            (None, Some(ids)) => {
                let x = self.lift(x);
                let rank = self.b.rank(x);
                let perm: Vec<usize> = [1, 0].into_iter().chain(2..rank).collect();
                let x = self.b.permute(x, perm);
                let mut dims = self.b.dims(ids);
                dims.extend(&self.b.dims(x)[1..]);
                let v = self.b.inst1(Op::Gather, vec![x, ids], Type::tensor(dtype, dims));
                let all = self.b.rank(v);
                let perm = std::iter::once(ids_rank).chain((0..all).filter(|k| *k != ids_rank)).collect();
                self.b.permute(v, perm)
            }
            (None, None) => {
                let (x, ids) = (self.lift(x), self.lift(ids));
                let dims = self.b.dims(x);
                let n = self.b.dim_value(dims[1]);
                let own = self.iota(self.n);
                let own = self.scaled(own, n);
                let id_dims = self.b.dims(ids);
                let own = self.widen(own, &[self.n], 0, &id_dims);
                let ids = self.b.add(own, ids);
                let total = self.b.numel(&dims[..2]);
                let flat: Vec<Dim> = std::iter::once(self.b.dim(total)).chain(dims[2..].iter().copied()).collect();
                let x = self.b.reshape(x, &flat);
                self.b.inst1(Op::Gather, vec![x, ids], Type::tensor(dtype, full))
            }
        };
        self.set(i.results[0], Lifted::Each(v));
        Some(())
    }
}
