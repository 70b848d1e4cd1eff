//! Plans one block: which values get memory, and which computations share a kernel.
//!
//! Backwards, each value learns who needs it and becomes virtual (recomputed in its one user, or cheap), stored, or dead.
//! Forwards, stored results and reductions over one iteration space join into groups, each of which becomes one kernel. Nodes run in the order
//! of the list; a computation may join an earlier group if everything it needs comes before that group.

mod class;
mod demand;
mod group;

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{Block, Inst, Op, ReduceOp, ValueId};

pub use class::{flops, op_cost, tree_cost};
use demand::Demand;
pub use group::member_leaves;

use crate::graph::captures;
use crate::size::Size;
use crate::values::{Ax, Role, Values};

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

/// Plans `block`, setting the roles of its values. Its parameters have theirs.
pub fn plan<'a>(values: &mut Values<'a>, block: &'a Block) -> Plan<'a> {
    let accumulators = accumulators(values, block);
    let mut p = Planner {
        values,
        demand: FxHashMap::default(),
        cost: FxHashMap::default(),
        behind: FxHashMap::default(),
        ends: FxHashSet::default(),
        nodes: Vec::new(),
        num: FxHashMap::default(),
        barrier: 0,
        accumulators,
        at: 0,
        overwritten: FxHashMap::default(),
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

/// `next = carried + product` where nothing else reads the three: gradients of what a loop uses again and again.
fn accumulators(values: &Values<'_>, block: &Block) -> FxHashMap<ValueId, ValueId> {
    let graph = &values.graph;
    let once = |v: ValueId| graph.uses(v) == 1;
    let mut out = FxHashMap::default();
    for z in &block.results {
        let Some((inst, _)) = graph.inst(*z).filter(|_| once(*z)) else { continue };
        let [a, b] = inst.args.as_slice() else { continue };
        let float = matches!(graph.func.ty(*z).dtype(), Some(tdl_ir::Dtype::F32 | tdl_ir::Dtype::F64));
        if inst.op != Op::Binary(tdl_ir::BinaryOp::Add) || !float || graph.is_scalar(*z) {
            continue;
        }
        let found = [(*a, *b), (*b, *a)].into_iter().find(|(old, product)| {
            block.params.contains(old)
                && once(*old)
                && once(*product)
                && graph.depth(*product) == graph.depth(*z)
                && matches!(graph.op(*product), Some(Op::Contract { .. }))
        });
        if let Some((_, product)) = found {
            out.insert(*z, product);
        }
    }
    out
}

struct Planner<'v, 'a> {
    values: &'v mut Values<'a>,
    demand: FxHashMap<ValueId, Demand>,
    /// Estimated operations per element and reads of memory, with everything inlined.
    cost: FxHashMap<ValueId, (u32, u32)>,
    /// The cost of the longest chain of operations up to there, since one was long enough; and the ends of those, which are stored.
    behind: FxHashMap<ValueId, u32>,
    ends: FxHashSet<ValueId>,
    nodes: Vec<Node<'a>>,
    /// `2 * node + 1`: available to members of that node and later ones; `2 * node + 2`: to later nodes.
    num: FxHashMap<ValueId, usize>,
    barrier: usize,
    /// Sums of a carried tensor and a product that nobody else uses, with the product.
    accumulators: FxHashMap<ValueId, ValueId>,
    /// Backwards: the number of the instruction at which the walk is.
    at: usize,
    /// Tensors that nobody reads after the instruction that may write over them, which may do so in a region.
    overwritten: FxHashMap<ValueId, (usize, bool)>,
}

impl<'a> Planner<'_, 'a> {
    pub(super) fn is_tensor(&self, v: ValueId) -> bool {
        matches!(self.values.graph.func.ty(v), tdl_ir::Type::Tensor { dims, .. } if !dims.is_empty())
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

/// A product that is computed by the sum which adds it to an accumulator.
pub fn folded(values: &Values<'_>, inst: &Inst) -> bool {
    matches!(inst.op, Op::Contract { .. }) && values.role(inst.results[0]) == Role::Dead
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
            for (product, _) in inst.args.iter().filter_map(|a| values.graph.inst(*a)) {
                if folded(values, product) {
                    used.extend(&product.args);
                }
            }
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
