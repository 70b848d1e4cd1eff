//! Slices, gathers and scatters. Where the lanes read different places, lane and place together number the rows of one
//! tensor, from which they are gathered.

use tdl_ir::{BinaryOp, Builder, Dim, Dtype, Inst, Op, Type, Update, ValueId};

use super::Batcher;

/// Rows of a tensor: the axes in front are one, the others are the row.
struct Rows {
    /// `i64[lanes, …]`.
    ids: ValueId,
    /// The number of rows, over all lanes if the tensor differs.
    count: Dim,
    row: Vec<Dim>,
}

impl Batcher<'_> {
    pub(super) fn slice(&mut self, i: &Inst, steps: &[i64]) {
        if i.args[1..].iter().all(|s| !self.lanes.differs(*s)) {
            let (op, args) = self.with_lane_axis(i, 1, steps);
            return self.emit(i, Op::Slice { steps: op }, args);
        }
        let x = i.args[0];
        let out = self.dims(i.results[0]);
        let rows = self.rows(x, &i.args[1..], steps, &out);
        let flat = self.flat(x, &rows);
        self.emit(i, Op::Gather, vec![flat, rows.ids]);
    }

    pub(super) fn update_slice(&mut self, i: &Inst, steps: &[i64], mode: Update) {
        if i.args[2..].iter().all(|s| !self.lanes.differs(*s)) {
            let (steps, mut args) = self.with_lane_axis(i, 2, steps);
            let starts = args[2..].to_vec();
            args[1] = self.update_where_live(args[1], mode, |b, u| {
                let ty = b.ty(u).clone();
                let all = [args[0]].into_iter().chain(starts).collect();
                b.inst1(Op::Slice { steps: steps.clone() }, all, ty)
            });
            let x = args[0];
            self.emit(i, Op::UpdateSlice { steps, mode }, args);
            return self.updated(i, x);
        }
        let part = self.dims(i.args[1]);
        let mut rows = self.rows(i.args[0], &i.args[2..], steps, &part);
        if !self.lanes.differs(i.args[0]) {
            self.add_lanes(&mut rows);
        }
        let (x, u) = (self.laned(i.args[0]), self.laned(i.args[1]));
        self.scatter_rows(i, x, u, &rows, mode);
    }

    pub(super) fn gather(&mut self, i: &Inst) {
        let (x, ids) = (i.args[0], i.args[1]);
        if !self.lanes.differs(x) {
            let args = vec![self.map.get(x), self.position(ids)];
            return self.emit(i, Op::Gather, args);
        }
        let rows = self.indexed(x, ids);
        let flat = self.flat(x, &rows);
        self.emit(i, Op::Gather, vec![flat, rows.ids]);
    }

    pub(super) fn scatter(&mut self, i: &Inst, mode: Update) {
        let rows = self.indexed(i.args[0], i.args[1]);
        let (x, u) = (self.laned(i.args[0]), self.laned(i.args[2]));
        self.scatter_rows(i, x, u, &rows, mode);
    }

    /// A box at the same place in all lanes.
    fn with_lane_axis(&mut self, i: &Inst, tensors: usize, steps: &[i64]) -> (Vec<i64>, Vec<ValueId>) {
        let mut args: Vec<ValueId> = i.args[..tensors].iter().map(|a| self.laned(*a)).collect();
        args.push(self.b.const_i64(0));
        args.extend(self.map.all(&i.args[tensors..]));
        (std::iter::once(1).chain(steps.iter().copied()).collect(), args)
    }

    /// `x: [lanes, m, r…]` (all lanes, whether they differ or not) by `ids: [s…]`, rows numbered over all lanes.
    fn indexed(&mut self, x: ValueId, ids: ValueId) -> Rows {
        let dims = self.dims(x);
        let ids = self.position(ids);
        let mut rows = Rows { ids, count: dims[0], row: dims[1..].to_vec() };
        self.add_lanes(&mut rows);
        rows
    }

    /// Numbers rows of one lane over all lanes.
    fn add_lanes(&mut self, rows: &mut Rows) {
        let shape = self.b.dims(rows.ids);
        let per_lane = self.b.dim_value(rows.count);
        let lane = self.b.inst1(Op::Iota, Vec::new(), Type::tensor(Dtype::I64, [self.lane]));
        let wide = self.b.splat(per_lane, &[self.lane]);
        let base = self.b.mul(lane, wide);
        let base = self.b.expand(base, (1..shape.len()).collect(), &shape);
        rows.ids = self.b.add(rows.ids, base);
        let all = self.b.size_binary(BinaryOp::Mul, self.n, per_lane);
        rows.count = self.b.dim(all);
    }

    /// The box of shape `out` at `starts` as rows of `x`: of one lane, or of all if `x` differs.
    fn rows(&mut self, x: ValueId, starts: &[ValueId], steps: &[i64], out: &[Dim]) -> Rows {
        let dims = self.dims(x);
        let whole = |this: &Self, k: usize| {
            let fixed = !this.lanes.differs(starts[k]) && this.b.as_i64(this.map.get(starts[k])) == Some(0);
            fixed && steps[k] == 1 && dims[k] == out[k]
        };
        let last = (0..dims.len()).rev().find(|k| !whole(self, *k)).map_or(0, |k| k + 1);
        let mut shape = vec![self.lane];
        shape.extend(&out[..last]);
        let mut stride = self.b.const_i64(1);
        let mut ids: Option<ValueId> = None;
        for k in (0..last).rev() {
            let iota = self.b.inst1(Op::Iota, Vec::new(), Type::tensor(Dtype::I64, [out[k]]));
            let step = self.b.const_i64(steps[k]);
            let step = self.b.splat(step, &[out[k]]);
            let offset = self.b.mul(iota, step);
            let others = (0..shape.len()).filter(|a| *a != k + 1).collect();
            let offset = self.b.expand(offset, others, &shape);
            let start = self.position(starts[k]);
            let start = self.b.expand(start, (1..shape.len()).collect(), &shape);
            let at = self.b.add(start, offset);
            let wide = self.b.splat(stride, &shape);
            let part = self.b.mul(at, wide);
            ids = Some(match ids {
                Some(sum) => self.b.add(sum, part),
                None => part,
            });
            let d = self.b.dim_value(dims[k]);
            stride = self.b.size_binary(BinaryOp::Mul, stride, d);
        }
        let ids = ids.unwrap_or_else(|| self.b.full(0.0, Dtype::I64, &[self.lane]));
        let mut rows = Rows { ids, count: self.b.dim(stride), row: dims[last..].to_vec() };
        if self.lanes.differs(x) {
            self.add_lanes(&mut rows);
        }
        rows
    }

    /// The tensor as rows.
    fn flat(&mut self, x: ValueId, rows: &Rows) -> ValueId {
        let x = self.map.get(x);
        let mut dims = vec![rows.count];
        dims.extend(&rows.row);
        self.b.reshape(x, &dims)
    }

    fn scatter_rows(&mut self, i: &Inst, x: ValueId, u: ValueId, rows: &Rows, mode: Update) {
        let whole = self.b.dims(x);
        let mut dims = vec![rows.count];
        dims.extend(&rows.row);
        let flat = self.b.reshape(x, &dims);
        let ty = Type::tensor(self.b.dtype(x), dims);
        let mut shape = self.b.dims(rows.ids);
        shape.extend(&rows.row);
        let u = self.b.reshape(u, &shape);
        let u = self.update_where_live(u, mode, |b, u| {
            let ty = b.ty(u).clone();
            b.inst1(Op::Gather, vec![flat, rows.ids], ty)
        });
        let done = self.b.inst1(Op::Scatter { mode }, vec![flat, rows.ids, u], ty);
        let result = self.b.reshape(done, &whole);
        self.map.set(i.results[0], result);
        self.updated(i, x);
    }

    /// Where to read or write; lanes that are not live do it at the beginning, which exists if it does for any lane.
    fn position(&mut self, at: ValueId) -> ValueId {
        let x = self.laned(at);
        if self.lanes.differs(at) { self.harmless_where_dead(x) } else { x }
    }

    /// What to write: a lane that is not live keeps what it has, which `old` reads.
    fn update_where_live(
        &mut self,
        u: ValueId,
        mode: Update,
        old: impl FnOnce(&mut Builder, ValueId) -> ValueId,
    ) -> ValueId {
        let Some(live) = self.live else { return u };
        let old = match mode {
            Update::Set => old(self.b, u),
            Update::Add if self.b.dtype(u).is_float() => self.b.full_like(-0.0, u),
            Update::Add => self.b.full_like(0.0, u),
        };
        self.pick(live, u, old)
    }

    /// The result of an update of `x`, which a lane that is not live keeps.
    fn updated(&mut self, i: &Inst, x: ValueId) {
        let held = self.live.map(|_| self.root(x));
        self.hold(i, vec![held]);
    }
}
