//! Plans one block: which values get memory, and which computations share a kernel.
//!
//! Backwards, each value learns who needs it and becomes virtual (recomputed in its one user, or cheap), stored, or dead.
//! Forwards, stored results and reductions over one iteration space join into groups, each of which becomes one kernel. Nodes run in the order
//! of the list; a computation may join an earlier group if everything it needs comes before that group.

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{BinaryOp, Block, Inst, Op, ReduceOp, UnaryOp, ValueId};

use crate::graph::captures;
use crate::size::Size;
use crate::values::{Ax, Leaf, Role, Values, identity};

/// The nodes of a block in order.
pub struct Plan<'a> {
    pub nodes: Vec<Node<'a>>,
    /// For each stored value of the block: the last node that reads it.
    pub last_read: FxHashMap<ValueId, usize>,
}

pub enum Node<'a> {
    Group(Group),
    Inst(&'a Inst),
}

/// A kernel to be.
#[derive(Debug)]
pub struct Group {
    pub kind: GroupKind,
    /// Extents of the rows; of the whole space for `Flat` and `Cols`.
    pub outer: Vec<Size>,
    /// Extents within a row.
    pub inner: Vec<Size>,
    /// The reduced axes of `Cols`.
    pub axes: Vec<usize>,
    pub members: Vec<Member>,
    storages: FxHashSet<ValueId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// Elementwise.
    Flat,
    /// Reductions of rows and what uses them; with no `outer` axes, reductions of everything.
    Rows,
    /// Reductions that keep the last axis.
    Cols,
}

#[derive(Clone, Debug)]
pub struct Member {
    pub value: ValueId,
    pub part: Part,
    /// Which pass over the row computes it (`Row`: before which pass it is computed).
    pub stage: usize,
    /// Goes to memory (or, for a scalar, to the host).
    pub store: bool,
    /// Stored for later passes in the row of this member, which is written last.
    pub scratch: Option<ValueId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One value per element of the space.
    Element,
    /// One value per row, from other values per row.
    Row,
    Reduce(ReduceOp),
}

#[derive(Clone, Default)]
struct Demand {
    roots: FxHashSet<ValueId>,
    /// Must be dense in memory.
    buffer: bool,
    /// Must be addressable with strides.
    view: bool,
    /// Used inside a region.
    capture: bool,
    /// Read more often than it has elements.
    amplified: bool,
}

impl Demand {
    fn any(&self) -> bool {
        !self.roots.is_empty() || self.buffer || self.view || self.capture
    }
}

/// An operation that can be computed element by element where it is used.
pub fn inlinable(op: &Op) -> bool {
    matches!(
        op,
        Op::Iota
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Select
            | Op::Convert
            | Op::StopGrad
            | Op::Expand { .. }
            | Op::Reshape
            | Op::Permute { .. }
            | Op::Slice { .. }
            | Op::Flip { .. }
            | Op::Gather
    )
}

/// An inlinable operation that only says where elements stand.
pub fn movement(op: &Op) -> bool {
    matches!(
        op,
        Op::Iota
            | Op::Expand { .. }
            | Op::Reshape
            | Op::Permute { .. }
            | Op::Slice { .. }
            | Op::Flip { .. }
            | Op::StopGrad
    )
}

fn op_cost(op: &Op) -> u32 {
    match op {
        Op::Unary(u) => match u {
            UnaryOp::Neg
            | UnaryOp::Not
            | UnaryOp::Abs
            | UnaryOp::Sign
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Round
            | UnaryOp::Trunc
            | UnaryOp::IsNan
            | UnaryOp::IsFinite => 1,
            UnaryOp::Sqrt | UnaryOp::Rsqrt => 4,
            _ => 12,
        },
        Op::Binary(b) => match b {
            BinaryOp::Div => 4,
            BinaryOp::FloorDiv | BinaryOp::Rem => 6,
            BinaryOp::Pow | BinaryOp::Atan2 => 24,
            _ => 1,
        },
        Op::Compare(_) | Op::Select | Op::Convert => 1,
        Op::Gather => 2,
        _ => 0,
    }
}

/// True if the instruction or its regions do something that must happen.
pub fn effectful(inst: &Inst) -> bool {
    inst.op.has_effect() || inst.regions.iter().any(|r| r.insts.iter().any(effectful))
}

/// Plans `block`, setting the roles of its values. Its parameters have theirs.
pub fn plan<'a>(values: &mut Values<'a>, block: &'a Block) -> Plan<'a> {
    let mut p = Planner {
        values,
        demand: FxHashMap::default(),
        cost: FxHashMap::default(),
        nodes: Vec::new(),
        num: FxHashMap::default(),
        barrier: 0,
    };
    for v in &block.params {
        let role = match p.values.graph.func.ty(*v) {
            t if t.is_scalar() => Role::Given,
            tdl_ir::Type::Tensor { .. } => Role::Stored,
            tdl_ir::Type::Str | tdl_ir::Type::Stack { .. } => Role::Given,
        };
        p.values.set(*v, role);
    }
    p.costs(block);
    p.backwards(block);
    p.forwards(block);
    p.drop_stores();
    p.finish()
}

struct Planner<'v, 'a> {
    values: &'v mut Values<'a>,
    demand: FxHashMap<ValueId, Demand>,
    /// Estimated operations per element and reads of memory, with everything inlined.
    cost: FxHashMap<ValueId, (u32, u32)>,
    nodes: Vec<Node<'a>>,
    /// `2 * node + 1`: available to members of that node and later ones; `2 * node + 2`: to later nodes.
    num: FxHashMap<ValueId, usize>,
    barrier: usize,
}

impl<'a> Planner<'_, 'a> {
    fn is_tensor(&self, v: ValueId) -> bool {
        matches!(self.values.graph.func.ty(v), tdl_ir::Type::Tensor { dims, .. } if !dims.is_empty())
    }

    fn costs(&mut self, block: &'a Block) {
        for inst in &block.insts {
            let [r] = inst.results.as_slice() else { continue };
            if !inlinable(&inst.op) || !self.is_tensor(*r) {
                continue;
            }
            let mut cost = op_cost(&inst.op);
            let mut loads = 0;
            for a in &inst.args {
                if self.is_tensor(*a) {
                    let (c, l) = self.cost.get(a).copied().unwrap_or((0, 1));
                    cost += c;
                    loads += l;
                }
            }
            self.cost.insert(*r, (cost.min(1000), loads.min(1000)));
        }
    }

    // --- who needs what

    fn need(&mut self, v: ValueId) -> &mut Demand {
        self.demand.entry(v).or_default()
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
                Op::Reshape | Op::StopGrad => self.can_be_stored(inst.args[0]),
                op => !movement(op) || *op == Op::Iota,
            },
        }
    }

    fn backwards(&mut self, block: &'a Block) {
        for v in &block.results {
            self.need_buffer(*v);
        }
        for inst in block.insts.iter().rev() {
            if let [r] = inst.results.as_slice()
                && inlinable(&inst.op)
                && self.is_tensor(*r)
            {
                self.inline_op(inst, *r);
                continue;
            }
            let alive = effectful(inst) || inst.results.iter().any(|r| self.demand.contains_key(r));
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
        }
    }

    /// A scalar that needs no memory: pure arithmetic on registers.
    fn is_lazy(&self, inst: &Inst) -> bool {
        match &inst.op {
            Op::Const(_) | Op::Text(_) => true,
            Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Convert | Op::StopGrad => true,
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
            | Op::StackNew
            | Op::StackPush
            | Op::StackTensor
            | Op::Print { .. }
            | Op::Assert { .. }
            | Op::Format { .. }
            | Op::Io(_) => false,
        }
    }

    /// What an instruction that is not inlined asks of its operands.
    fn operands(&mut self, inst: &'a Inst) {
        let own: FxHashSet<ValueId> = inst.results.first().copied().into_iter().collect();
        match &inst.op {
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
                for a in &inst.args {
                    self.need_buffer(*a);
                }
                for region in &inst.regions {
                    for v in captures(self.values.graph.func, region) {
                        self.need(v).capture = true;
                    }
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
            self.need(inst.args[0]).buffer = true;
            self.need_inline(inst.args[0], &d.roots);
            return;
        }
        let stored = if d.buffer {
            true
        } else if movement(&inst.op) {
            let through = match &inst.op {
                Op::Permute { .. } | Op::Slice { .. } => true,
                Op::Expand { .. } => self.is_tensor(inst.args[0]),
                _ => false,
            };
            d.view && !through
        } else {
            d.view
                || d.capture && (cost > 0 || loads > 0)
                || d.roots.len() > 1 && (cost > 3 || loads > 1)
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
                if self.is_tensor(*a) && d.amplified {
                    self.need(*a).amplified = true;
                }
            }
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

    // --- nodes

    fn num(&self, v: ValueId) -> usize {
        self.num.get(&v).copied().unwrap_or(0)
    }

    fn deps(&self, inst: &Inst) -> usize {
        let mut n = 0;
        for a in &inst.args {
            n = n.max(self.num(*a));
        }
        for r in &inst.results {
            for d in self.values.graph.func.ty(*r).dims() {
                if let tdl_ir::Dim::Val(d) = d {
                    n = n.max(self.num(*d));
                }
            }
        }
        n
    }

    fn forwards(&mut self, block: &'a Block) {
        for inst in &block.insts {
            let first = inst.results.first().copied();
            let role = first.map(|r| self.values.role(r));
            if !effectful(inst) && inst.results.iter().all(|r| self.values.role(*r) == Role::Dead) {
                continue;
            }
            if matches!(role, Some(Role::Virtual | Role::Lazy)) && !effectful(inst) {
                let n = self.deps(inst);
                self.num.insert(inst.results[0], n);
                continue;
            }
            match &inst.op {
                op if inlinable(op) && role == Some(Role::Stored) => self.join(inst, inst.results[0]),
                Op::Reduce { .. } => self.join(inst, inst.results[0]),
                _ => {
                    self.nodes.push(Node::Inst(inst));
                    let n = self.nodes.len() - 1;
                    for r in &inst.results {
                        self.num.insert(*r, 2 * n + 2);
                    }
                    if matches!(inst.op, Op::Assert { .. }) || (!inst.regions.is_empty() && effectful(inst)) {
                        self.barrier = 2 * n + 2;
                    }
                }
            }
        }
    }

    /// Puts a stored elementwise value or a reduction into a group.
    fn join(&mut self, inst: &'a Inst, r: ValueId) {
        let deps = self.deps(inst).max(self.barrier);
        let cand = self.candidate(inst, r);
        let first = deps.saturating_sub(1) / 2;
        for n in (first..self.nodes.len()).rev().take(24) {
            let Node::Group(g) = &self.nodes[n] else { continue };
            if deps > 2 * n + 1 {
                continue;
            }
            if let Some((kind, outer, inner, member)) = fits(g, &cand) {
                let Node::Group(g) = &mut self.nodes[n] else { continue };
                g.kind = kind;
                g.outer = outer;
                g.inner = inner;
                g.members.push(member);
                g.storages.extend(cand.leaves.iter().filter_map(|l| l.storage));
                self.number(n, r);
                return;
            }
        }
        let (kind, outer, inner, part) = match cand.reduce {
            None => (GroupKind::Flat, cand.dims.clone(), vec![], Part::Element),
            Some((op, ref axes)) => {
                if axes.contains(&(cand.dims.len() - 1)) {
                    let kept = cand.dims.len() - axes.len();
                    (GroupKind::Rows, cand.dims[..kept].to_vec(), cand.dims[kept..].to_vec(), Part::Reduce(op))
                } else {
                    (GroupKind::Cols, cand.dims.clone(), vec![], Part::Reduce(op))
                }
            }
        };
        let axes = cand.reduce.map(|(_, a)| a).unwrap_or_default();
        let member = Member { value: r, part, stage: 0, store: true, scratch: None };
        let storages = cand.leaves.iter().filter_map(|l| l.storage).collect();
        self.nodes.push(Node::Group(Group { kind, outer, inner, axes, members: vec![member], storages }));
        self.number(self.nodes.len() - 1, r);
    }

    fn number(&mut self, n: usize, r: ValueId) {
        let scalar = self.values.graph.is_scalar(r);
        self.num.insert(r, if scalar { 2 * n + 2 } else { 2 * n + 1 });
    }

    fn candidate(&self, inst: &Inst, r: ValueId) -> Candidate {
        let (dims, reduce) = match &inst.op {
            Op::Reduce { op, axes } => (self.values.sizes(inst.args[0]), Some((*op, axes.clone()))),
            _ => (self.values.sizes(r), None),
        };
        let mut leaves = Vec::new();
        if reduce.is_some() {
            self.values.trace(inst.args[0], identity(dims.len()), &mut leaves);
        } else {
            self.values.trace_op(r, identity(dims.len()), &mut leaves);
        }
        Candidate { value: r, dims, reduce, leaves }
    }

    /// Members that only their own group reads need no memory.
    fn drop_stores(&mut self) {
        let mut home: FxHashMap<ValueId, usize> = FxHashMap::default();
        for (n, node) in self.nodes.iter().enumerate() {
            if let Node::Group(g) = node {
                home.extend(g.members.iter().map(|m| (m.value, n)));
            }
        }
        for (n, node) in self.nodes.iter_mut().enumerate() {
            let Node::Group(g) = node else { continue };
            let Group { members, outer, inner, kind, .. } = g;
            for m in members.iter_mut() {
                let d = self.demand.get(&m.value).cloned().unwrap_or_default();
                let scalar = self.values.graph.is_scalar(m.value);
                m.store = scalar || d.buffer || d.view || d.capture || d.roots.iter().any(|r| home.get(r) != Some(&n));
                if !m.store {
                    let role = if matches!(m.part, Part::Reduce(_)) { Role::RowReg } else { Role::Virtual };
                    self.values.set(m.value, role);
                }
            }
            if *kind == GroupKind::Rows {
                keep_in_rows(self.values, members, outer, inner);
            }
            g.members.retain(|m| m.store || m.part != Part::Element);
        }
    }

    fn finish(self) -> Plan<'a> {
        let mut last_read = FxHashMap::default();
        for (n, node) in self.nodes.iter().enumerate() {
            for v in reads(self.values, node) {
                last_read.insert(v, n);
            }
        }
        Plan { nodes: self.nodes, last_read }
    }
}

/// An expensive value that a later pass over the row needs again waits in the row of a result that is written in that pass
/// or after it (softmax: the exponentials stand where the quotients will).
fn keep_in_rows(values: &mut Values<'_>, members: &mut [Member], outer: &[Size], inner: &[Size]) {
    let space: Vec<Size> = outer.iter().chain(inner).cloned().collect();
    for i in 0..members.len() {
        let v = members[i].value;
        if members[i].store || members[i].part != Part::Element || tree_cost(values, v) < 8 {
            continue;
        }
        values.set(v, Role::Stored);
        let last = members
            .iter()
            .filter(|m| {
                m.value != v && member_leaves_in(values, &space, outer.len(), m).iter().any(|l| l.storage == Some(v))
            })
            .map(|m| m.stage)
            .max();
        let host = members.iter().find(|m| {
            m.store
                && m.scratch.is_none()
                && m.part == Part::Element
                && last.is_some_and(|l| l <= m.stage)
                && m.stage > members[i].stage
                && values.graph.dtype(m.value) == values.graph.dtype(v)
                && members.iter().all(|o| o.scratch != Some(m.value))
        });
        match host {
            Some(h) => {
                members[i].scratch = Some(h.value);
                members[i].store = true;
            }
            None => values.set(v, Role::Virtual),
        }
    }
}

struct Candidate {
    value: ValueId,
    dims: Vec<Size>,
    reduce: Option<(ReduceOp, Vec<usize>)>,
    leaves: Vec<Leaf>,
}

type Fit = (GroupKind, Vec<Size>, Vec<Size>, Member);

/// Whether a candidate can be computed in the loops of a group, and how.
fn fits(g: &Group, c: &Candidate) -> Option<Fit> {
    if g.members.len() >= 12 {
        return None;
    }
    let member = |v: ValueId| g.members.iter().find(|m| m.value == v);
    let inside: Vec<(&Leaf, &Member)> =
        c.leaves.iter().filter_map(|l| l.storage.and_then(member).map(|m| (l, m))).collect();
    let shares = !inside.is_empty() || c.leaves.iter().any(|l| l.storage.is_some_and(|s| g.storages.contains(&s)));
    if !shares {
        return None;
    }
    let new = |part, stage| Member { value: c.value, part, stage, store: true, scratch: None };
    if g.kind == GroupKind::Cols {
        let (op, axes) = c.reduce.as_ref()?;
        let fits = inside.is_empty() && *axes == g.axes && c.dims == g.outer;
        return fits.then(|| (GroupKind::Cols, g.outer.clone(), vec![], new(Part::Reduce(*op), 0)));
    }
    let space: Vec<Size> = g.outer.iter().chain(&g.inner).cloned().collect();
    let rank = g.outer.len();
    // What is read from the group itself must be this row's or this element's.
    let mut stage = 0;
    for (leaf, m) in &inside {
        let aligned = match m.part {
            Part::Element => leaf.is_identity(space.len()) && c.dims == space,
            Part::Row | Part::Reduce(_) => leaf.is_identity(rank),
        };
        if !aligned {
            return None;
        }
        stage = stage.max(match m.part {
            Part::Element | Part::Row => m.stage,
            Part::Reduce(_) => m.stage + 1,
        });
    }
    match &c.reduce {
        None if g.kind == GroupKind::Flat => {
            (c.dims == g.outer).then(|| (GroupKind::Flat, g.outer.clone(), vec![], new(Part::Element, 0)))
        }
        None if c.dims == space => Some((GroupKind::Rows, g.outer.clone(), g.inner.clone(), new(Part::Element, stage))),
        None => (rank > 0 && c.dims == g.outer)
            .then(|| (GroupKind::Rows, g.outer.clone(), g.inner.clone(), new(Part::Row, stage))),
        Some((op, axes)) => {
            let kept = c.dims.len() - axes.len();
            if !axes.contains(&(c.dims.len() - 1)) || c.dims != space {
                return None;
            }
            if g.kind == GroupKind::Rows && kept != rank {
                return None;
            }
            Some((GroupKind::Rows, c.dims[..kept].to_vec(), c.dims[kept..].to_vec(), new(Part::Reduce(*op), stage)))
        }
    }
}

/// The leaves of one member over its group's space (of its rows for `Part::Row`).
pub fn member_leaves(values: &Values<'_>, g: &Group, m: &Member) -> Vec<Leaf> {
    let space: Vec<Size> = g.outer.iter().chain(&g.inner).cloned().collect();
    member_leaves_in(values, &space, g.outer.len(), m)
}

fn member_leaves_in(values: &Values<'_>, space: &[Size], rows: usize, m: &Member) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    let Some((inst, _)) = values.graph.inst(m.value) else { return leaves };
    match m.part {
        Part::Element => values.trace_op(m.value, identity(space.len()), &mut leaves),
        Part::Row => values.trace_op(m.value, identity(rows), &mut leaves),
        Part::Reduce(_) => values.trace(inst.args[0], identity(space.len()), &mut leaves),
    }
    leaves
}

/// The stored values that a node reads.
pub fn reads(values: &Values<'_>, node: &Node<'_>) -> FxHashSet<ValueId> {
    let mut out = FxHashSet::default();
    match node {
        Node::Group(g) => {
            for m in &g.members {
                out.extend(member_leaves(values, g, m).into_iter().filter_map(|l| l.storage));
            }
        }
        Node::Inst(inst) => {
            let mut leaves = Vec::new();
            let mut used = inst.args.clone();
            for region in &inst.regions {
                used.extend(captures(values.graph.func, region));
            }
            for v in used {
                let rank = values.graph.func.ty(v).rank();
                match values.storage(v) {
                    Some(s) => _ = out.insert(s),
                    None if rank > 0 => values.trace(v, vec![Ax::Mixed(0); rank], &mut leaves),
                    None => {}
                }
            }
            out.extend(leaves.into_iter().filter_map(|l| l.storage));
        }
    }
    out
}

/// Operations per element of `v`, everything virtual included.
pub fn tree_cost(values: &Values<'_>, v: ValueId) -> u32 {
    let mut seen = FxHashSet::default();
    let mut todo = vec![v];
    let mut cost = 0;
    while let Some(v) = todo.pop() {
        let Some((inst, _)) = values.graph.inst(v) else { continue };
        if !seen.insert(v) {
            continue;
        }
        cost += op_cost(&inst.op).max(u32::from(!movement(&inst.op)));
        for a in &inst.args {
            if values.role(*a) == Role::Virtual {
                todo.push(*a);
            }
        }
    }
    cost
}
