//! Blocks, loops and branches: what they carry stays in its buffer wherever it can.
//!
//! A carried tensor has one buffer; the body writes the next value over it when nothing reads the old one any more. Where the body still
//! reads it, two buffers swap; extents that change from one iteration to the next get fresh memory.

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{Block as IrBlock, Dim, Inst, Op, Type, ValueId};

use crate::buffers::{Block, Buf, BufId};
use crate::graph::captures;
use crate::ir::*;
use crate::lower::Lower;
use crate::plan::{Group, Node, Part, Plan, member_leaves, plan};
use crate::size::Size;
use crate::tapes::covered;
use crate::values::{Ax, Role, Values};

/// How a loop hands a value on.
enum Carry {
    /// A scalar, text or stack: a register.
    Reg { param: Reg, init: Operand, result: Reg },
    /// One buffer for all iterations.
    Fixed { buf: BufId },
    /// Two buffers whose addresses change places.
    Swap { old: Buf, spare: Buf, params: [Reg; 2], bufs: [BufId; 2], results: [Reg; 2] },
    /// Fresh memory in each iteration.
    Fresh { param: Reg, init: Reg, result: Reg, buf: BufId },
}

impl<'a> Lower<'a> {
    /// Lowers a planned block into the host's innermost block. Results with a destination end up there.
    pub fn body(
        &mut self,
        block: &'a IrBlock,
        plan: Plan<'a>,
        dests: &[Option<BufId>],
        alive: impl IntoIterator<Item = ValueId>,
    ) {
        let mut ctx = Block {
            last_read: plan.last_read,
            prefer: FxHashMap::default(),
            alive: alive.into_iter().collect(),
            yields: FxHashSet::default(),
            reserved: dests.iter().flatten().copied().collect(),
        };
        ctx.reserved.extend(ctx.alive.iter().map(|v| self.home[v]));
        for (k, v) in block.results.iter().enumerate() {
            let Some(s) = self.values.storage(*v).filter(|_| self.is_tensor(*v)) else { continue };
            ctx.yields.insert(s);
            if let Some(buf) = dests[k] {
                self.prefer(&mut ctx.prefer, s, buf);
            }
        }
        self.prefer_slots(block, dests, &mut ctx);
        self.blocks.push(ctx);
        let mut done = false;
        for (n, node) in plan.nodes.iter().enumerate() {
            match node {
                Node::Group(_) if std::mem::take(&mut done) => {}
                Node::Group(g) => self.group(g, n),
                Node::Inst(inst) => {
                    self.span = inst.span;
                    match self.follows(inst, n, plan.nodes.get(n + 1)) {
                        Some(g) => done = self.contract_and(inst, g, n),
                        None => self.inst(inst, n),
                    }
                    for r in &inst.results {
                        if self.is_tensor(*r) && self.home.contains_key(r) {
                            self.block().alive.insert(*r);
                        }
                    }
                }
            }
            for t in std::mem::take(self.temporaries()) {
                self.release(t);
            }
            self.bury(n);
        }
        self.deliver(block, dests);
        self.blocks.pop();
    }

    /// `s` should be written to `buf`; so should the values that it updates in place.
    fn prefer(&self, prefer: &mut FxHashMap<ValueId, BufId>, mut s: ValueId, buf: BufId) {
        loop {
            if prefer.contains_key(&s) || self.home.contains_key(&s) || self.values.graph.inst(s).is_none() {
                return;
            }
            prefer.insert(s, buf);
            match self.values.graph.updates(s).and_then(|before| self.values.storage(before)) {
                Some(x) if self.values.graph.depth(x) == self.values.graph.depth(s) => s = x,
                _ => return,
            }
        }
    }

    /// Copies results that are elsewhere to their destinations, all at once.
    fn deliver(&mut self, block: &IrBlock, dests: &[Option<BufId>]) {
        let mut copies: Vec<(Reg, BufId, Size)> = Vec::new();
        for (v, dest) in block.results.iter().zip(dests) {
            let Some(dest) = *dest else { continue };
            let src = self.dense(*v);
            if src != dest {
                let bytes = self.bytes(*v);
                copies.push((self.buf(src).ptr, dest, bytes));
            }
        }
        // A source that is somebody's destination moves to a temporary first.
        let targets: FxHashSet<Reg> = copies.iter().map(|(_, d, _)| self.buf(*d).ptr).collect();
        let mut moved: FxHashMap<Reg, Reg> = FxHashMap::default();
        for (src, _, bytes) in &mut copies {
            if !targets.contains(src) {
                continue;
            }
            let temp = match moved.get(src) {
                Some(t) => *t,
                None => {
                    let t = self.alloc(bytes, None);
                    let ptr = self.buf(t).ptr;
                    self.copy_bytes(ptr, *src, bytes);
                    self.temporaries().push(t);
                    moved.insert(*src, ptr);
                    ptr
                }
            };
            *src = temp;
        }
        for (src, dest, bytes) in copies {
            let dst = self.buf(dest).ptr;
            self.copy_bytes(dst, src, &bytes);
        }
        for t in std::mem::take(self.temporaries()) {
            self.release(t);
        }
    }

    // --- loops

    fn dynamic(&self, v: ValueId, of: &[ValueId]) -> bool {
        self.ty(v).dims().iter().any(|d| matches!(d, Dim::Val(d) if of.contains(d)))
    }

    /// Memory that the regions read beside what they are handed.
    fn captured(&self, inst: &Inst) -> FxHashSet<ValueId> {
        let mut leaves = Vec::new();
        let mut out = FxHashSet::default();
        for region in &inst.regions {
            for v in captures(self.values.graph.func, region) {
                match self.values.storage(v) {
                    Some(s) => _ = out.insert(s),
                    None => {
                        let rank = self.ty(v).rank();
                        self.values.trace(v, vec![Ax::Mixed(0); rank], &mut leaves);
                    }
                }
            }
        }
        out.extend(leaves.into_iter().filter_map(|l| l.storage));
        out
    }

    fn carry(
        &mut self,
        inst: &'a Inst,
        inits: &[ValueId],
        params: &[ValueId],
        plan: &Plan<'a>,
        n: usize,
    ) -> Vec<Carry> {
        let body = inst.regions.last().expect("a loop has a body");
        let captured = self.captured(inst);
        let mut taken: FxHashSet<ValueId> = FxHashSet::default();
        let mut carries = Vec::new();
        for (k, (init, param)) in inits.iter().zip(params).enumerate() {
            let r = inst.results[k];
            if !self.is_tensor(*init) {
                let init = self.scalar(*init);
                let name = self.values.graph.func.value(*param).name.clone();
                let (param, result) =
                    (self.host.named(self.reg_ty(r), name.clone()), self.host.named(self.reg_ty(r), name));
                carries.push(Carry::Reg { param, init, result });
                continue;
            }
            if self.dynamic(*param, params) {
                let src = self.dense(*init);
                let src = self.buf(src).ptr;
                let bytes = self.bytes(*init);
                let copy = self.alloc_unowned(&bytes);
                self.copy_bytes(copy, src, &bytes);
                let (reg, result) = (self.host.reg(RegTy::Ptr), self.host.reg(RegTy::Ptr));
                let bytes = self.bytes(*param);
                let buf = Buf { ptr: reg, bytes, slot: None, mutable: false, occupant: Some(*param) };
                let buf = self.new_buf(buf);
                carries.push(Carry::Fresh { param: reg, init: copy, result, buf });
                continue;
            }
            let covers = inst.op == Op::For && covered(&self.values, inst, k);
            if covers {
                self.written_once.insert(body.results[k]);
            }
            let own = self.values.storage(*init).filter(|s| {
                self.dies_at(*s, n)
                    && !captured.contains(s)
                    && !taken.contains(s)
                    && self.buf(self.home[s]).bytes == self.bytes(r)
            });
            let buf = match own {
                Some(s) => {
                    taken.insert(s);
                    self.settle(r, self.home[&s])
                }
                None if covers => self.place(r, n),
                None => {
                    let src = self.dense(*init);
                    let buf = self.place(r, n);
                    let (dst, src) = (self.buf(buf).ptr, self.buf(src).ptr);
                    let bytes = self.bytes(r);
                    self.copy_bytes(dst, src, &bytes);
                    buf
                }
            };
            if overwrites(&self.values, plan, body, k, *param) {
                carries.push(Carry::Fixed { buf });
                continue;
            }
            let bytes = self.bytes(r);
            let spare = self.alloc(&bytes, None);
            self.pin(buf);
            self.pin(spare);
            let mut ptr = || self.host.reg(RegTy::Ptr);
            let (params, results) = ([ptr(), ptr()], [ptr(), ptr()]);
            let bufs = [0, 1].map(|i| {
                let occupant = (i == 0).then_some(*param);
                self.new_buf(Buf { ptr: params[i], bytes: bytes.clone(), slot: None, mutable: true, occupant })
            });
            // Nobody may write to the original while it may hold the result.
            self.bufs[buf.0].occupant = Some(*param);
            let (old, spare) = (self.buf(buf).clone(), self.buf(spare).clone());
            carries.push(Carry::Swap { old, spare, params, bufs, results });
        }
        carries
    }

    /// Makes the carried values known under the names that a region has for them.
    fn enter(&mut self, carries: &[Carry], params: &[ValueId]) {
        for (c, p) in carries.iter().zip(params) {
            match c {
                Carry::Reg { param, .. } => _ = self.scalars.insert(*p, (*param).into()),
                Carry::Fixed { buf } | Carry::Fresh { buf, .. } => _ = self.settle(*p, *buf),
                Carry::Swap { bufs, .. } => _ = self.settle(*p, bufs[0]),
            }
        }
    }

    /// Lowers a loop's body in the open block and gives what it hands on.
    fn iterate(&mut self, inst: &'a Inst, carries: &[Carry], params: &[ValueId], plan: Plan<'a>) -> Vec<Carried> {
        let body = inst.regions.last().expect("a loop has a body");
        let dests: Vec<Option<BufId>> = carries
            .iter()
            .map(|c| match c {
                Carry::Fixed { buf } => Some(*buf),
                Carry::Swap { bufs, .. } => Some(bufs[1]),
                Carry::Reg { .. } | Carry::Fresh { .. } => None,
            })
            .collect();
        let alive: Vec<ValueId> = params.iter().copied().filter(|p| self.is_tensor(*p)).collect();
        self.host.push(Stmt::Safepoint);
        self.body(body, plan, &dests, alive);
        let mut carried = Vec::new();
        for (c, y) in carries.iter().zip(&body.results) {
            match c {
                Carry::Reg { param, init, result } => {
                    let next = self.scalar(*y);
                    carried.push(Carried { param: *param, init: *init, next, result: *result });
                }
                Carry::Fixed { .. } => {}
                Carry::Swap { old, spare, params, results, .. } => {
                    for (i, init) in [old.ptr, spare.ptr].into_iter().enumerate() {
                        let next = params[1 - i].into();
                        carried.push(Carried { param: params[i], init: init.into(), next, result: results[i] });
                    }
                }
                Carry::Fresh { param, init, result, .. } => {
                    let src = self.dense(*y);
                    let src = self.buf(src).ptr;
                    let bytes = self.bytes(*y);
                    let next = self.alloc_unowned(&bytes);
                    self.copy_bytes(next, src, &bytes);
                    self.perform(Stmt::Free { ptr: *param });
                    carried.push(Carried { param: *param, init: (*init).into(), next: next.into(), result: *result });
                }
            }
        }
        for t in std::mem::take(self.temporaries()) {
            self.release(t);
        }
        carried
    }

    /// After the loop: its results are where the last iteration left them.
    fn leave(&mut self, carries: Vec<Carry>, results: &[ValueId]) {
        for (c, r) in carries.iter().zip(results) {
            if let Carry::Reg { result, .. } = c {
                self.scalars.insert(*r, (*result).into());
            }
        }
        for (c, r) in carries.into_iter().zip(results) {
            match c {
                Carry::Reg { .. } => {}
                Carry::Fixed { buf } => _ = self.settle(*r, buf),
                Carry::Swap { old, results, .. } => {
                    let buf = Buf { ptr: results[0], slot: None, occupant: Some(*r), ..old };
                    let buf = self.new_buf(buf);
                    self.home.insert(*r, buf);
                }
                Carry::Fresh { result, .. } => {
                    let bytes = self.bytes(*r);
                    self.adopted(result, bytes, *r);
                }
            }
        }
    }

    pub fn for_loop(&mut self, inst: &'a Inst, n: usize) {
        let region = &inst.regions[0];
        let plan = plan(&mut self.values, region);
        let (i, params) = region.params.split_first().expect("a `for` has a variable");
        let hi = self.scalar(inst.args[0]);
        let carries = self.carry(inst, &inst.args[1..], params, &plan, n);
        let var = self.host.named(RegTy::Scalar(tdl_ir::Dtype::I64), self.values.graph.func.value(*i).name.clone());
        self.scalars.insert(*i, var.into());
        self.host.begin();
        self.open_scope(true);
        self.enter(&carries, params);
        let carried = self.iterate(inst, &carries, params, plan);
        self.close_scope();
        let body = self.host.end();
        self.host.push(Stmt::For(For {
            var,
            lo: Operand::i64(0),
            hi,
            step: Operand::i64(1),
            kind: LoopKind::Serial,
            carried,
            reductions: vec![],
            body,
        }));
        self.leave(carries, &inst.results);
    }

    pub fn while_loop(&mut self, inst: &'a Inst, n: usize) {
        let (cond, region) = (&inst.regions[0], &inst.regions[1]);
        let cond_plan = plan(&mut self.values, cond);
        let plan = plan(&mut self.values, region);
        let carries = self.carry(inst, &inst.args, &region.params, &plan, n);
        self.host.begin();
        self.open_scope(true);
        self.enter(&carries, &cond.params);
        self.body(cond, cond_plan, &[None], []);
        let go = self.scalar(cond.results[0]);
        self.close_scope();
        let cond_body = self.host.end();

        self.host.begin();
        self.open_scope(true);
        self.enter(&carries, &region.params);
        let carried = self.iterate(inst, &carries, &region.params, plan);
        self.close_scope();
        let body = self.host.end();
        self.host.push(Stmt::While(While { carried, cond_body, cond: go, body }));
        self.leave(carries, &inst.results);
    }

    // --- branches

    pub fn if_else(&mut self, inst: &'a Inst, n: usize) {
        let cond = self.scalar(inst.args[0]);
        let plans: Vec<Plan<'a>> = inst.regions.iter().map(|r| plan(&mut self.values, r)).collect();
        let depth = self.scopes.len();
        let mut donated: FxHashSet<ValueId> = FxHashSet::default();
        let mut dests: Vec<Option<BufId>> = Vec::new();
        for (k, r) in inst.results.iter().enumerate() {
            if !self.is_tensor(*r) || self.dynamic(*r, &inst.results) {
                dests.push(None);
                continue;
            }
            // A value from outside that a branch hands on, or updates, and that nobody needs afterwards.
            let bytes = self.bytes(*r);
            let mut roots = Vec::new();
            inst.regions.iter().for_each(|b| self.values.graph.roots(b.results[k], depth, &mut roots));
            let outside = roots
                .into_iter()
                .find(|s| self.dies_at(*s, n) && !donated.contains(s) && self.buf(self.home[s]).bytes == bytes);
            let buf = match outside {
                Some(s) => {
                    donated.insert(s);
                    self.home[&s]
                }
                None => self.place(*r, n),
            };
            dests.push(Some(buf));
        }
        let mut blocks = Vec::new();
        let mut yields = Vec::new();
        for (region, plan) in inst.regions.iter().zip(plans) {
            self.host.begin();
            self.open_scope(false);
            for buf in dests.iter().flatten() {
                self.bufs[buf.0].occupant = None;
            }
            for (s, buf) in donated.iter().map(|s| (*s, self.home[s])).collect::<Vec<_>>() {
                self.settle(s, buf);
            }
            self.body(region, plan, &dests, donated.iter().copied());
            let mut results = Vec::new();
            for (y, dest) in region.results.iter().zip(&dests) {
                if dest.is_some() {
                    results.push(None);
                } else if self.is_tensor(*y) {
                    let src = self.dense(*y);
                    let src = self.buf(src).ptr;
                    let bytes = self.bytes(*y);
                    let copy = self.alloc_unowned(&bytes);
                    self.copy_bytes(copy, src, &bytes);
                    results.push(Some(copy.into()));
                } else {
                    let o = self.scalar(*y);
                    if let (Operand::Reg(r), Type::Stack { .. }) = (o, self.ty(*y)) {
                        self.scopes.last_mut().expect("a scope").stacks.retain(|s| *s != r);
                    }
                    results.push(Some(o));
                }
            }
            for t in std::mem::take(self.temporaries()) {
                self.release(t);
            }
            self.close_scope();
            blocks.push(self.host.end());
            yields.push(results);
        }
        let (els, then) = (blocks.pop().expect("else"), blocks.pop().expect("then"));
        let mut results = Vec::new();
        let mut adopt = Vec::new();
        for (k, r) in inst.results.iter().enumerate() {
            if let Some(buf) = dests[k] {
                self.settle(*r, buf);
                continue;
            }
            let (Some(t), Some(e)) = (yields[0][k], yields[1][k]) else { continue };
            let name = self.values.graph.func.value(*r).name.clone();
            let result = self.host.named(self.reg_ty(*r), name);
            results.push(IfResult { result, then: t, els: e });
            if self.is_tensor(*r) {
                adopt.push((*r, result));
                continue;
            }
            // Both branches may hand on the same stack from outside, which has its owner.
            if matches!(self.ty(*r), Type::Stack { .. }) && t != e {
                self.scopes.last_mut().expect("a scope").stacks.push(result);
            }
            self.scalars.insert(*r, result.into());
        }
        self.host.push(Stmt::If(If { cond, then, els, results }));
        for (r, ptr) in adopt {
            let bytes = self.bytes(r);
            self.adopted(ptr, bytes, r);
        }
    }
}

/// Whether the body's `k`-th result may be written over the carried `param`: nothing reads that later or elsewhere.
fn overwrites(values: &Values<'_>, plan: &Plan<'_>, body: &IrBlock, k: usize, param: ValueId) -> bool {
    let Some(y) = values.storage(body.results[k]) else { return true };
    if y == param {
        return true;
    }
    // Handed on from elsewhere: copied at the end in any case.
    let Some((inst, _)) = values.graph.inst(y) else { return true };
    if values.graph.depth(y) != values.graph.depth(param) {
        return true;
    }
    if body.results.iter().any(|r| values.storage(*r) == Some(param)) {
        return false;
    }
    let Some(last) = plan.last_read.get(&param).copied() else { return true };
    let at = plan.nodes.iter().position(|node| match node {
        Node::Group(g) => g.members.iter().any(|m| m.value == y),
        Node::Inst(i) => i.results.contains(&y),
    });
    let Some(at) = at else { return true };
    if last != at {
        return last < at;
    }
    match &plan.nodes[at] {
        Node::Group(g) => aligned(values, g, y, param),
        Node::Inst(_) => matches!(
            inst.op,
            Op::UpdateSlice { .. } | Op::Scatter { .. } | Op::Binary(_) | Op::For | Op::While | Op::If
        ),
    }
}

fn aligned(values: &Values<'_>, g: &Group, y: ValueId, x: ValueId) -> bool {
    let Some(m) = g.members.iter().find(|m| m.value == y) else { return false };
    let rank = g.outer.len() + g.inner.len();
    values.graph.dtype(x).size() == values.graph.dtype(y).size()
        && m.part == Part::Element
        && g.members.iter().all(|other| {
            member_leaves(values, g, other).iter().filter(|l| l.storage == Some(x)).all(|l| {
                other.part != Part::Row
                    && other.stage <= m.stage
                    && l.is_identity(rank)
                    && l.dims.iter().eq(g.outer.iter().chain(&g.inner))
            })
        })
        && values.role(x) == Role::Stored
}
