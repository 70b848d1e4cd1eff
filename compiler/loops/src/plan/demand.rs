//! Backwards through a block: who needs each value, and what becomes of it.

use rustc_hash::FxHashSet;
use tdl_ir::{Block, Inst, Op, ValueId};

use super::Planner;
use super::class::{inlinable, movement, must_run, op_cost};
use crate::graph::captures;
use crate::tapes::covered;
use crate::values::Role;

/// The longest chain of operations in one kernel, in their costs: LLVM's time grows faster than its length.
const LONGEST: u32 = 4096;

#[derive(Clone, Default)]
pub struct Demand {
    pub roots: FxHashSet<ValueId>,
    /// Must be dense in memory.
    pub buffer: bool,
    /// Must be addressable with strides.
    pub view: bool,
    /// Used inside a region.
    pub capture: bool,
    /// Read more often than it has elements.
    amplified: bool,
    /// The last instruction of the block that reads it, directly or through virtual values.
    latest: usize,
}

impl Demand {
    fn any(&self) -> bool {
        !self.roots.is_empty() || self.buffer || self.view || self.capture
    }
}

impl<'a> Planner<'_, 'a> {
    pub(super) fn costs(&mut self, block: &'a Block) {
        for inst in &block.insts {
            let [r] = inst.results.as_slice() else { continue };
            if !inlinable(&inst.op) || !self.is_tensor(*r) {
                continue;
            }
            let own = op_cost(&inst.op);
            let mut cost = own;
            let mut loads = 0;
            let mut behind = 0;
            for a in &inst.args {
                if self.is_tensor(*a) {
                    let (c, l) = self.cost.get(a).copied().unwrap_or((0, 1));
                    cost += c;
                    loads += l;
                    behind = behind.max(self.behind.get(a).copied().unwrap_or(0));
                }
            }
            self.cost.insert(*r, (cost.min(1000), loads.min(1000)));
            if behind + own >= LONGEST && !movement(&inst.op) {
                self.ends.insert(*r);
            } else {
                self.behind.insert(*r, behind + own);
            }
        }
    }

    pub(super) fn need(&mut self, v: ValueId) -> &mut Demand {
        let at = self.at;
        let demand = self.demand.entry(v).or_default();
        demand.latest = demand.latest.max(at);
        demand
    }

    /// `v` and the extents in its type are needed as registers.
    fn need_scalar(&mut self, v: ValueId) {
        self.need(v).capture = true;
    }

    fn need_buffer(&mut self, v: ValueId) {
        if self.is_tensor(v) {
            self.need(v).buffer = true;
        } else {
            self.need_scalar(v);
        }
    }

    fn need_inline(&mut self, v: ValueId, roots: &FxHashSet<ValueId>) {
        if self.is_tensor(v) {
            self.need(v).roots.extend(roots.iter().copied());
        } else {
            self.need_scalar(v);
        }
    }

    fn need_dims(&mut self, v: ValueId) {
        for d in self.values.graph.func.ty(v).dims().to_vec() {
            if let tdl_ir::Dim::Val(d) = d {
                self.need_scalar(d);
            }
        }
    }

    /// Could be dense in memory without a copy of its own.
    fn can_be_stored(&self, v: ValueId) -> bool {
        if !self.is_tensor(v) {
            return false;
        }
        // Values of this block are not decided yet; those of outer blocks are.
        if self.values.role(v) == Role::Stored {
            return true;
        }
        match self.values.graph.inst(v) {
            None => true,
            Some((inst, _)) => match &inst.op {
                Op::Reshape | Op::StopGrad | Op::Barrier => self.can_be_stored(inst.args[0]),
                op => !movement(op) || *op == Op::Iota,
            },
        }
    }

    pub(super) fn backwards(&mut self, block: &'a Block) {
        self.at = block.insts.len();
        for v in &block.results {
            self.need_buffer(*v);
        }
        for (at, inst) in block.insts.iter().enumerate().rev() {
            self.at = at;
            if let [r] = inst.results.as_slice()
                && inlinable(&inst.op)
                && self.is_tensor(*r)
                && !self.accumulators.contains_key(r)
            {
                self.inline_op(inst, *r);
                continue;
            }
            let alive = must_run(inst) || inst.results.iter().any(|r| self.demand.contains_key(r));
            if !alive {
                for r in &inst.results {
                    self.values.set(*r, Role::Dead);
                }
                continue;
            }
            for r in &inst.results {
                let role = if self.is_tensor(*r) {
                    Role::Stored
                } else if self.is_lazy(inst) {
                    Role::Lazy
                } else {
                    Role::Given
                };
                self.values.set(*r, role);
                self.need_dims(*r);
            }
            self.operands(inst);
            self.overwrites(inst);
        }
    }

    /// Notes whose memory the instruction may write to.
    fn overwrites(&mut self, inst: &Inst) {
        let graph = &self.values.graph;
        let Some(depth) = inst.results.first().map(|r| graph.depth(*r)) else { return };
        let mut old = Vec::new();
        for (k, r) in inst.results.iter().enumerate().filter(|(_, r)| self.is_tensor(**r)) {
            match &inst.op {
                Op::If => inst.regions.iter().for_each(|region| graph.roots(region.results[k], depth + 1, &mut old)),
                _ => old.extend(graph.updates(*r).map(|x| graph.base(x))),
            }
        }
        for x in old {
            if self.demand.get(&x).is_none_or(|d| d.latest <= self.at) {
                self.overwritten.insert(x, (self.at, !inst.regions.is_empty()));
            }
        }
    }

    /// A part of a tensor that is overwritten before the part is last read: it must be read before, or the tensor copied.
    fn read_too_late(&self, inst: &Inst, demand: &Demand) -> bool {
        matches!(inst.op, Op::Slice { .. } | Op::Gather)
            && self
                .overwritten
                .get(&self.values.graph.base(inst.args[0]))
                .is_some_and(|(at, region)| demand.latest > *at || demand.latest == *at && *region)
    }

    /// A scalar that needs no memory: pure arithmetic on registers.
    fn is_lazy(&self, inst: &Inst) -> bool {
        match &inst.op {
            Op::Const(_) | Op::Text(_) => true,
            Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Convert | Op::StopGrad | Op::Barrier => {
                true
            }
            Op::Reshape => !self.is_tensor(inst.args[0]),
            Op::Iota | Op::Expand { .. } | Op::Permute { .. } | Op::Slice { .. } | Op::Flip { .. } => false,
            Op::Dense(_)
            | Op::UpdateSlice { .. }
            | Op::Concat { .. }
            | Op::Reduce { .. }
            | Op::ArgReduce { .. }
            | Op::Scan { .. }
            | Op::Sort { .. }
            | Op::Nonzero
            | Op::Shear { .. }
            | Op::Window { .. }
            | Op::Attention
            | Op::AttentionGrad
            | Op::Contract { .. }
            | Op::Gather
            | Op::Scatter { .. }
            | Op::Random { .. }
            | Op::If
            | Op::For
            | Op::While
            | Op::Call { .. }
            | Op::Vjp { .. }
            | Op::Jvp { .. }
            | Op::Checkpoint { .. }
            | Op::Vmap { .. }
            | Op::StackNew
            | Op::StackPush
            | Op::StackTensor
            | Op::Print { .. }
            | Op::Assert { .. }
            | Op::Format { .. }
            | Op::Io(_)
            | Op::Debug { .. }
            | Op::Host(_) => false,
        }
    }

    /// What an instruction that is not inlined asks of its operands.
    fn operands(&mut self, inst: &'a Inst) {
        let own: FxHashSet<ValueId> = inst.results.first().copied().into_iter().collect();
        match &inst.op {
            Op::Attention | Op::AttentionGrad => {
                for (k, a) in inst.args.iter().enumerate() {
                    // what has a value for each query is read as it lies
                    if self.is_tensor(*a) && !matches!(k, 4 | 5) {
                        self.need(*a).view = true;
                    } else {
                        self.need_buffer(*a);
                    }
                }
            }
            Op::Contract { .. } => {
                for a in &inst.args {
                    self.need(*a).view = true;
                }
            }
            Op::Reduce { .. } | Op::ArgReduce { .. } | Op::Scan { .. } | Op::Concat { .. } | Op::Gather => {
                for a in &inst.args {
                    self.need_inline(*a, &own);
                }
            }
            Op::UpdateSlice { .. } | Op::Scatter { .. } => {
                self.need_buffer(inst.args[0]);
                for a in &inst.args[1..] {
                    self.need_inline(*a, &own);
                }
            }
            Op::If | Op::For | Op::While => {
                for (k, a) in inst.args.iter().enumerate() {
                    let unread = inst.op == Op::For && k > 0 && covered(self.values, inst, k - 1);
                    if !unread {
                        self.need_buffer(*a);
                    }
                }
                for region in &inst.regions {
                    for v in captures(self.values.graph.func, region) {
                        self.need(v).capture = true;
                    }
                }
            }
            Op::Binary(_) if self.is_tensor(inst.results[0]) => {
                // An accumulator: the product is computed by the sum.
                let product = self.accumulators[&inst.results[0]];
                for a in inst.args.iter().filter(|a| **a != product) {
                    self.need_buffer(*a);
                }
                if let Some((product, _)) = self.values.graph.inst(product) {
                    self.operands(product);
                }
            }
            // A scalar from a tensor: computed at that point.
            op if inlinable(op) => {
                for a in &inst.args {
                    self.need_inline(*a, &own);
                }
            }
            _ => {
                for a in &inst.args {
                    self.need_buffer(*a);
                }
            }
        }
    }

    fn inline_op(&mut self, inst: &'a Inst, r: ValueId) {
        let d = self.demand.get(&r).cloned().unwrap_or_default();
        if !d.any() {
            self.values.set(r, Role::Dead);
            return;
        }
        self.need_dims(r);
        let (cost, loads) = self.cost.get(&r).copied().unwrap_or((0, 0));
        let addressed = d.buffer || d.view || d.capture;
        if inst.op == Op::Reshape && addressed && self.can_be_stored(inst.args[0]) {
            // The same memory under other extents.
            self.values.set(r, Role::Virtual);
            self.need_inline(inst.args[0], &d.roots);
            let operand = self.need(inst.args[0]);
            operand.buffer = true;
            operand.latest = operand.latest.max(d.latest);
            return;
        }
        let stored = if d.buffer || self.ends.contains(&r) || self.read_too_late(inst, &d) {
            true
        } else if movement(&inst.op) {
            let through = match &inst.op {
                Op::Permute { .. } | Op::Slice { .. } => true,
                // Axes of extent 1 come and go.
                Op::Reshape => {
                    let (from, to) = (self.values.sizes(inst.args[0]), self.values.sizes(r));
                    crate::values::simple_reshape(&from, &to).is_some()
                }
                Op::Expand { .. } => self.is_tensor(inst.args[0]),
                _ => false,
            };
            d.view && !through
        } else {
            d.view
                || d.capture && (cost > 0 || loads > 0)
                || d.roots.len() > 1 && (cost > 3 || loads > 1) && !self.flags(inst)
                || d.amplified && cost > 3
        };
        if stored {
            self.values.set(r, Role::Stored);
            let own: FxHashSet<ValueId> = [r].into_iter().collect();
            for a in &inst.args {
                self.pass_on(inst, *a, &own, false, false);
            }
        } else {
            self.values.set(r, Role::Virtual);
            for a in &inst.args {
                self.pass_on(inst, *a, &d.roots, d.view, d.capture);
                let operand = self.need(*a);
                operand.latest = operand.latest.max(d.latest);
                if self.is_tensor(*a) && d.amplified {
                    self.need(*a).amplified = true;
                }
            }
        }
    }

    /// A choice between two constants: what it depends on is smaller to keep.
    fn flags(&self, inst: &Inst) -> bool {
        let constant = |v: &ValueId| {
            let mut v = *v;
            while let Some((inst, _)) = self.values.graph.inst(v) {
                match &inst.op {
                    Op::Const(_) => return true,
                    Op::Expand { .. } => v = inst.args[0],
                    _ => return false,
                }
            }
            false
        };
        match &inst.op {
            Op::Select => inst.args[1..].iter().all(constant),
            Op::Convert => self.values.graph.dtype(inst.args[0]) == tdl_ir::Dtype::Bool,
            _ => false,
        }
    }

    /// A virtual or stored value hands its needs to an operand.
    fn pass_on(&mut self, inst: &Inst, a: ValueId, roots: &FxHashSet<ValueId>, view: bool, capture: bool) {
        self.need_inline(a, roots);
        if !self.is_tensor(a) {
            return;
        }
        self.need(a).view |= view;
        self.need(a).capture |= capture;
        match &inst.op {
            Op::Expand { .. } => self.need(a).amplified = true,
            Op::Gather if a == inst.args[0] => {
                let d = self.need(a);
                d.amplified = true;
                d.capture = true;
            }
            Op::Reshape => {
                let (from, to) = (self.values.sizes(a), self.values.sizes(inst.results[0]));
                if crate::values::simple_reshape(&from, &to).is_none() && self.can_be_stored(a) {
                    let (cost, loads) = self.cost.get(&a).copied().unwrap_or((0, 0));
                    if cost > 0 || loads > 0 {
                        self.need(a).buffer = true;
                    }
                }
            }
            _ => {}
        }
    }
}
