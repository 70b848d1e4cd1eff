//! Forwards through a block: nodes in order, and which computations join a group.

use rustc_hash::FxHashMap;
use tdl_ir::{Block, Inst, Op, ReduceOp, ValueId};

use super::class::{effectful, inlinable, must_run, tree_cost};
use super::{Group, GroupKind, Member, Node, Part, Planner};
use crate::size::Size;
use crate::values::{Leaf, Role, Values, identity};

impl<'a> Planner<'_, 'a> {
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

    pub(super) fn forwards(&mut self, block: &'a Block) {
        for inst in &block.insts {
            let first = inst.results.first().copied();
            let role = first.map(|r| self.values.role(r));
            if !must_run(inst) && inst.results.iter().all(|r| self.values.role(*r) == Role::Dead) {
                continue;
            }
            if matches!(role, Some(Role::Virtual | Role::Lazy)) && !effectful(inst) {
                let n = self.deps(inst);
                self.num.insert(inst.results[0], n);
                continue;
            }
            match &inst.op {
                op if inlinable(op)
                    && role == Some(Role::Stored)
                    && !self.accumulators.contains_key(&inst.results[0]) =>
                {
                    self.join(inst, inst.results[0]);
                }
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
        let later = self.values.graph.is_scalar(r) || self.ends.contains(&r);
        self.num.insert(r, if later { 2 * n + 2 } else { 2 * n + 1 });
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
    pub(super) fn drop_stores(&mut self) {
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
