//! Control flow that takes another way in each lane, for all lanes together.
//!
//! before: %y = if %c { %a = log %x  yield %a } else { yield %x }     where %c and %x differ from lane to lane
//! after:  %a = log %x   %y = select %c %a %x
//!
//! before: %y = while %a = %x { %c = lt %a %m  yield %c } { %b = mul %a %two  yield %b }
//! after:  %l = lt %x %m
//!         _, %y = while %live = %l, %a = %x { any %live } { %b = mul %a %two   %d = select %live %b %a   %m' = lt %d %m
//!                                                           yield (and %live %m'), %d }
//!
//! So a branch is computed by lanes that do not take it, and a body by lanes that are done. Their values are thrown away,
//! but they must not fail, nor spoil a derivative:
//!
//! - A branch that can fail, or costs much, is entered only if some lane takes it; a loop goes on while some lane does.
//! - A check counts in live lanes only. Lanes that are not live read and write at the beginning of an axis, and what they
//!   write is what was there.
//! - A function with a derivative rule gets the arguments of a live lane there.
//! - The derivative of `select` is zero where it does not choose, however infinite the factors are (`grad::transpose`).
//!
//! An update in such a body leaves the other lanes as they are, so no `select` has to copy the whole tensor afterwards
//! ([`Batcher::held`]).

use rustc_hash::FxHashMap;
use tdl_ir::{BinaryOp, Block, CompareOp, Dim, Dtype, Function, Inst, Op, ReduceOp, Scalar, Type, UnaryOp, ValueId};

use super::{Batcher, defined, rules, zeros};

/// A carried value of a loop that lanes leave at different times.
struct Slot {
    k: usize,
    /// The same in all lanes that go on, so that it is carried once for them, beside what each lane ends with.
    shared: bool,
}

/// What a branch yields, with the lanes in front.
struct Side {
    results: Vec<ValueId>,
    /// What the results are in lanes that do not take it, if that is known.
    roots: Vec<ValueId>,
}

impl Batcher<'_> {
    /// What a value is in lanes that are not live.
    pub(super) fn root(&self, v: ValueId) -> ValueId {
        self.held.get(&v).copied().unwrap_or(v)
    }

    /// Notes what results are in lanes that are not live.
    pub(super) fn hold(&mut self, i: &Inst, roots: Vec<Option<ValueId>>) {
        for (r, root) in i.results.iter().zip(roots) {
            if let Some(root) = root {
                self.held.insert(self.map.get(*r), root);
            }
        }
    }

    /// `cond ? x : y` in each lane.
    pub(super) fn pick(&mut self, cond: ValueId, x: ValueId, y: ValueId) -> ValueId {
        let dims = self.b.dims(x);
        let wide = self.b.expand(cond, (1..dims.len()).collect(), &dims);
        self.b.select(wide, x, y)
    }

    /// With zeros in lanes that are not live.
    pub(super) fn harmless_where_dead(&mut self, x: ValueId) -> ValueId {
        let Some(live) = self.live else { return x };
        let zero = self.b.full_like(0.0, x);
        self.pick(live, x, zero)
    }

    /// With the value of the first live lane in those that are not.
    pub(super) fn as_live(&mut self, x: ValueId) -> ValueId {
        let Some(live) = self.live else { return x };
        let number = self.b.convert(live, Dtype::I64);
        let first = self.b.inst1(Op::ArgReduce { max: true, axis: 0 }, vec![number], Type::scalar(Dtype::I64));
        let mut row = self.b.index0(x, first);
        if self.b.dtype(x).is_float() {
            let ty = self.b.ty(row).clone();
            row = self.b.inst1(Op::StopGrad, vec![row], ty);
        }
        let dims = self.b.dims(x);
        let wide = self.b.expand(row, vec![0], &dims);
        self.pick(live, x, wide)
    }

    /// Does `f` in lanes that are live and chosen; what it finds out about other lanes ends with it.
    fn within<T>(&mut self, chosen: ValueId, f: impl FnOnce(&mut Self, ValueId) -> T) -> T {
        let live = match self.live {
            Some(live) => self.b.binary(BinaryOp::And, live, chosen),
            None => chosen,
        };
        let outer = self.live.replace(live);
        let held = std::mem::take(&mut self.held);
        let out = f(self, live);
        self.live = outer;
        self.held = held;
        out
    }

    /// An `if` on a condition of each lane.
    pub(super) fn choose(&mut self, i: &Inst) {
        let cond = self.map.get(i.args[0]);
        let not = self.b.unary(UnaryOp::Not, cond);
        let then = self.side(i, &i.regions[0], cond);
        let els = self.side(i, &i.regions[1], not);
        self.b.span = i.span;
        for (k, r) in i.results.iter().enumerate() {
            let (x, y) = (then.results[k], els.results[k]);
            let (v, root) = match (then.roots[k], els.roots[k]) {
                // where the other way is taken, `x` is `y`
                (root, _) if root == y => (x, Some(y)),
                (_, root) if root == x => (y, Some(x)),
                (a, b) => (self.pick(cond, x, y), (a == b).then_some(a)),
            };
            let root = root.map(|v| self.root(v));
            self.b.copy_name(self.f.value(*r), v);
            self.map.set(*r, v);
            if let Some(root) = root {
                self.held.insert(v, root);
            }
        }
    }

    fn side(&mut self, i: &Inst, region: &Block, chosen: ValueId) -> Side {
        let before = self.b.next_value(0);
        self.within(chosen, |this, live| {
            if this.harmless(region) {
                this.block(region);
                let results: Vec<ValueId> = region.results.iter().map(|v| this.laned(*v)).collect();
                let roots = results.iter().map(|v| this.root(*v)).collect();
                return Side { results, roots };
            }
            let any = this.b.reduce(ReduceOp::Any, live, vec![0]);
            let types: Vec<Type> = i.results.iter().map(|r| this.ty(*r)).collect();
            this.b.begin_region();
            this.block(region);
            let yields: Vec<ValueId> = region.results.iter().map(|v| this.laned(*v)).collect();
            let then = this.b.end_region(yields);
            // what is from outside may stand for the result where no lane gets here
            let roots: Vec<ValueId> = then.results.iter().map(|v| this.root(*v)).collect();
            let known = |v: &ValueId| v.0 < before.0;
            this.b.begin_region();
            let others = roots.iter().zip(&types);
            let others = others.map(|(v, ty)| if known(v) { *v } else { zeros(this.b, ty) }).collect();
            let els = this.b.end_region(others);
            this.b.span = i.span;
            let results = this.b.inst(Op::If, vec![any], types, vec![then, els]);
            let roots = roots.iter().zip(&results).map(|(root, r)| if known(root) { *root } else { *r }).collect();
            Side { results, roots }
        })
    }

    /// A loop that each lane leaves at a time of its own: it goes on as long as any lane does.
    pub(super) fn repeat_masked(&mut self, i: &Inst) {
        let is_for = matches!(i.op, Op::For);
        let skip = usize::from(is_for);
        let body = &i.regions[i.regions.len() - 1];
        let mut slots = Vec::new();
        for k in 0..i.results.len() {
            let p = body.params[skip + k];
            if body.results[k] == p {
                let v = self.map.get(i.args[skip + k]);
                self.bind(i, k, v);
                self.map.set(i.results[k], v);
            } else {
                slots.push(Slot { k, shared: !self.lanes.differs(p) });
            }
        }
        let mut carried = Vec::new();
        for slot in &slots {
            let init = i.args[skip + slot.k];
            let all = self.laned(init);
            let shared = self.map.get(init);
            self.bind(i, slot.k, if slot.shared { shared } else { all });
            carried.extend(slot.shared.then_some(shared));
            carried.push(all);
        }
        // the number of iterations of each lane, or which lanes begin
        let first = if is_for { self.counts(i.args[0]) } else { self.goes_on(&i.regions[0]) };
        self.b.span = i.span;
        let begin = if is_for { self.most(first) } else { first };
        let args: Vec<ValueId> = std::iter::once(begin).chain(carried).collect();
        let types: Vec<Type> = args.iter().map(|a| self.b.ty(*a).clone()).collect();
        let mut regions = Vec::new();
        if !is_for {
            self.b.begin_region();
            let params: Vec<ValueId> = types.iter().map(|ty| self.b.param(ty.clone())).collect();
            let any = self.b.reduce(ReduceOp::Any, params[0], vec![0]);
            regions.push(self.b.end_region(vec![any]));
        }
        self.b.begin_region();
        let params: Vec<ValueId> = types.iter().map(|ty| self.b.param(ty.clone())).collect();
        let chosen = match is_for {
            false => params[0],
            true => {
                self.map.set(body.params[0], params[0]);
                let here = self.b.splat(params[0], &[self.lane]);
                self.b.compare(CompareOp::Lt, here, first)
            }
        };
        let outer = self.live;
        // the lanes that go on are live already
        self.live = None;
        let results = self.within(chosen, |this, live| this.iteration(i, &slots, &params[1..], live));
        self.live = outer;
        let results = if is_for { results[1..].to_vec() } else { results };
        regions.push(self.b.end_region(results));
        self.b.span = i.span;
        let results = self.b.inst(i.op.clone(), args.clone(), types[skip..].to_vec(), regions);
        let mut at = 1 - skip;
        for slot in &slots {
            at += usize::from(slot.shared);
            let (v, init) = (results[at], args[skip + at]);
            at += 1;
            self.b.copy_name(self.f.value(i.results[slot.k]), v);
            self.map.set(i.results[slot.k], v);
            self.held.insert(v, self.root(init));
        }
    }

    /// One iteration: which lanes go on, and the carried values.
    fn iteration(&mut self, i: &Inst, slots: &[Slot], params: &[ValueId], live: ValueId) -> Vec<ValueId> {
        let body = &i.regions[i.regions.len() - 1];
        let mut params = params.iter().copied();
        let mut before = Vec::with_capacity(slots.len());
        for slot in slots {
            let shared = if slot.shared { params.next() } else { None };
            let Some(all) = params.next() else { continue };
            self.bind(i, slot.k, shared.unwrap_or(all));
            self.b.copy_name(self.f.value(i.results[slot.k]), all);
            before.push(all);
        }
        self.block(body);
        self.b.span = i.span;
        let mut next = vec![live];
        let mut after = Vec::with_capacity(slots.len());
        for (slot, old) in slots.iter().zip(before) {
            let y = body.results[slot.k];
            let new = self.laned(y);
            let kept = if self.root(new) == old { new } else { self.pick(live, new, old) };
            after.push(if slot.shared { self.map.get(y) } else { kept });
            next.extend(slot.shared.then(|| self.map.get(y)));
            next.push(kept);
        }
        if matches!(i.op, Op::While) {
            for (slot, v) in slots.iter().zip(after) {
                self.bind(i, slot.k, v);
            }
            next[0] = self.goes_on(&i.regions[0]);
        }
        next
    }

    /// The parameters of all regions of a loop that stand for its `k`-th carried value.
    fn bind(&mut self, i: &Inst, k: usize, v: ValueId) {
        for region in &i.regions {
            self.map.set(region.params[region.params.len() - i.results.len() + k], v);
        }
    }

    /// The live lanes whose condition holds.
    fn goes_on(&mut self, cond: &Block) -> ValueId {
        self.block(cond);
        let more = self.laned(cond.results[0]);
        match self.live {
            Some(live) => self.b.binary(BinaryOp::And, live, more),
            None => more,
        }
    }

    /// How often each lane goes round.
    fn counts(&mut self, n: ValueId) -> ValueId {
        let counts = self.map.get(n);
        self.harmless_where_dead(counts)
    }

    fn most(&mut self, counts: ValueId) -> ValueId {
        let most = self.b.reduce(ReduceOp::Max, counts, vec![0]);
        let zero = self.b.const_i64(0);
        self.b.binary(BinaryOp::Max, most, zero)
    }

    /// Cannot fail, ends, and costs little: may be computed although no lane gets there.
    fn harmless(&self, region: &Block) -> bool {
        let mut inside = Vec::new();
        let mut count = 0;
        let mut harmless = true;
        region.insts.iter().for_each(|i| defined(i, &mut |v| inside.push(v)));
        region.visit_insts(&mut |i| {
            count += 1;
            harmless &= match &i.op {
                Op::Slice { steps } => self.inside(i, steps),
                // its strides may be right only where a lane gets here
                Op::Shear { .. } => false,
                op => rules::harmless(op),
            };
            // a size that is computed here may be right only where a lane gets here
            let mut dims = i.results.iter().flat_map(|r| self.f.ty(*r).dims());
            harmless &= !dims.any(|d| matches!(d, Dim::Val(v) if inside.contains(v)));
        });
        harmless && count <= rules::MOST_IN_VAIN
    }

    /// A slice of constant extents at a constant place is inside.
    fn inside(&self, i: &Inst, steps: &[i64]) -> bool {
        let (x, y) = (self.f.ty(i.args[0]).dims(), self.f.ty(i.results[0]).dims());
        (0..steps.len()).all(|k| match (x[k], y[k], self.constants.get(&i.args[1 + k])) {
            (Dim::Const(whole), Dim::Const(part), Some(Scalar::Int(at))) => {
                *at >= 0 && at.saturating_add(steps[k].saturating_mul((part - 1).max(0))) < whole.max(1)
            }
            (whole, part, Some(Scalar::Int(0))) => whole == part && steps[k] == 1,
            (_, _, _) => false,
        })
    }
}

/// The constants of a function.
pub(super) fn constants(f: &Function) -> FxHashMap<ValueId, Scalar> {
    let mut out = FxHashMap::default();
    f.body.visit_insts(&mut |i| {
        if let (Op::Const(c), [r]) = (&i.op, i.results.as_slice()) {
            out.insert(*r, *c);
        }
    });
    out
}
