//! Chooses what a region keeps for its linear part: the cheapest set of values from which the rest is computed again by
//! cheap instructions (a minimum cut of the region's data flow).

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{Block, Builder, Dim, Inst, Op, Type, ValueId};

use super::mincut::{Graph, UNLIMITED};
use super::tape::{Replay, Tape};

/// What is kept, and what else happens before the linear part, in order. Kept values stand as [`Item::Keep`].
pub(super) struct Plan {
    pub items: Vec<Item>,
    /// What the kept values are called where they are kept: `z.kept.product` is `z`, for the derivative of a product.
    names: FxHashMap<ValueId, String>,
}

pub(super) enum Item {
    Keep(ValueId),
    Compute(Replay),
}

impl Plan {
    pub fn name(&self, v: ValueId) -> &str {
        self.names.get(&v).map_or("kept", String::as_str)
    }

    pub fn kept(&self) -> impl Iterator<Item = ValueId> {
        self.items.iter().filter_map(|i| match i {
            Item::Keep(v) => Some(*v),
            Item::Compute(_) => None,
        })
    }
}

/// What a block defines at its top level.
pub(super) fn defined(block: &Block) -> FxHashSet<ValueId> {
    let results = block.insts.iter().flat_map(|i| i.results.iter());
    block.params.iter().chain(results).copied().collect()
}

/// What a plan is made for.
pub(super) struct Site {
    /// The iteration number, which is at hand anyway.
    pub index: Option<ValueId>,
    /// What is kept must have a type outside, so the extents in it are kept too.
    pub typed: bool,
    /// How often the region runs.
    pub times: u64,
    /// Values from this number on belong to a loop around the region: they must be kept there, if they are needed.
    pub floor: Option<u32>,
}

/// Values of the region that the tape mentions.
pub(super) fn plan(b: &Builder, block: &Block, site: &Site, tape: &mut Tape) -> Plan {
    let mut region = defined(block);
    if let Some(v) = site.index {
        region.remove(&v);
    }
    let mut needed = Vec::new();
    let mut seen = FxHashSet::default();
    tape.visit(&mut |v| {
        if region.contains(v) && seen.insert(*v) {
            needed.push(*v);
        }
    });
    let mut purposes = FxHashMap::default();
    tape.purposes(&mut purposes);
    let (stored, done) = (FxHashSet::default(), FxHashSet::default());
    let mut p = Planner { b, site, region, defs: definitions(block), stored, done };
    p.stored = p.cut(&needed);
    loop {
        let mut items = Vec::new();
        for v in &needed {
            p.need(*v, &mut items);
        }
        let mut plan = Plan { items, names: FxHashMap::default() };
        let kept: FxHashSet<ValueId> = plan.kept().collect();
        let extents = plan.kept().flat_map(|v| b.ty(v).dims()).filter_map(|d| match d {
            Dim::Val(v) => Some(*v),
            Dim::Const(_) => None,
        });
        let missing: Vec<ValueId> = extents.filter(|v| p.region.contains(v) && !kept.contains(v)).collect();
        if !site.typed || missing.is_empty() {
            plan.names = kept.iter().map(|v| (*v, name(b, block, *v, purposes.get(v).copied()))).collect();
            return plan;
        }
        p.stored.extend(missing);
        p.done.clear();
    }
}

/// What a kept value is and why: values without a name are called by their operation.
fn name(b: &Builder, block: &Block, v: ValueId, purpose: Option<&'static str>) -> String {
    let op = || block.insts.iter().find(|i| i.results.contains(&v)).map_or("value".into(), |i| i.op.name().to_string());
    let what = b.value(v).name.as_ref().map_or_else(op, |n| n.to_string());
    // kept by a loop inside already
    if what.contains(".kept.") {
        return what;
    }
    format!("{what}.kept.{}", purpose.unwrap_or("recomputing"))
}

/// Instructions that may be repeated, by their result.
fn definitions(block: &Block) -> FxHashMap<ValueId, &Inst> {
    block.insts.iter().filter(|i| is_cheap(&i.op)).map(|i| (i.results[0], i)).collect()
}

struct Planner<'a> {
    b: &'a Builder,
    site: &'a Site,
    region: FxHashSet<ValueId>,
    defs: FxHashMap<ValueId, &'a Inst>,
    stored: FxHashSet<ValueId>,
    done: FxHashSet<ValueId>,
}

impl Planner<'_> {
    /// Belongs to a loop around, and is no trifle.
    fn surrounds(&self, v: ValueId) -> bool {
        self.site.floor.is_some_and(|floor| v.0 >= floor)
            && Some(v) != self.site.index
            && self.b.rank(v) > 0
            && self.b.as_splat(v).is_none()
    }

    /// Operands and extents of an instruction that may be repeated.
    fn sources(&self, i: &Inst) -> Vec<ValueId> {
        let extents = self.b.ty(i.results[0]).dims().iter().filter_map(|d| match d {
            Dim::Val(v) => Some(*v),
            Dim::Const(_) => None,
        });
        i.args.iter().copied().chain(extents).filter(|v| self.region.contains(v) || self.surrounds(*v)).collect()
    }

    fn cut(&self, needed: &[ValueId]) -> FxHashSet<ValueId> {
        // number what is upstream of the needed values
        let mut number: FxHashMap<ValueId, usize> = FxHashMap::default();
        let mut order = Vec::new();
        let mut todo = needed.to_vec();
        while let Some(v) = todo.pop() {
            if number.contains_key(&v) {
                continue;
            }
            number.insert(v, order.len());
            order.push(v);
            if let Some(i) = self.defs.get(&v) {
                todo.extend(self.sources(i));
            }
        }
        let (source, sink) = (2 * order.len(), 2 * order.len() + 1);
        let mut g = Graph::new(sink + 1);
        for (k, v) in order.iter().enumerate() {
            let times = if self.region.contains(v) { self.site.times } else { 1 };
            g.edge(2 * k, 2 * k + 1, cost(self.b.ty(*v)).saturating_mul(times).min(UNLIMITED / 1024));
            match self.defs.get(v) {
                Some(i) => self.sources(i).iter().for_each(|a| g.edge(2 * number[a] + 1, 2 * k, UNLIMITED)),
                None => g.edge(source, 2 * k, UNLIMITED),
            }
        }
        for v in needed {
            g.edge(2 * number[v] + 1, sink, UNLIMITED);
        }
        let side = g.sink_side(source, sink);
        (0..order.len()).filter(|k| !side[2 * k] && side[2 * k + 1]).map(|k| order[k]).collect()
    }

    /// Makes a value available, after its extents.
    fn need(&mut self, v: ValueId, items: &mut Vec<Item>) {
        if !self.region.contains(&v) || !self.done.insert(v) {
            return;
        }
        let ty = self.b.ty(v).clone();
        for d in ty.dims() {
            if let Dim::Val(d) = d {
                self.need(*d, items);
            }
        }
        match self.defs.get(&v).copied().filter(|_| !self.stored.contains(&v)) {
            Some(i) => {
                for a in &i.args {
                    self.need(*a, items);
                }
                let (op, args) = (i.op.clone(), i.args.clone());
                items.push(Item::Compute(Replay::Compute { op, args, result: v, ty }));
            }
            None => items.push(Item::Keep(v)),
        }
    }
}

/// Bytes, with a guess for extents that are not known, and something for the access itself.
fn cost(ty: &Type) -> u64 {
    let size = ty.dtype().map_or(8, tdl_ir::Dtype::size) as u64;
    let numel = ty.dims().iter().fold(1_u64, |n, d| {
        n.saturating_mul(match d {
            Dim::Const(c) => (*c).max(1) as u64,
            Dim::Val(_) => 64,
        })
    });
    size.saturating_mul(numel).saturating_add(8).min(UNLIMITED / 1024)
}

/// Cheaper to compute again than to store and load.
fn is_cheap(op: &Op) -> bool {
    use tdl_ir::UnaryOp;
    match op {
        Op::Const(_)
        | Op::Dense(_)
        | Op::Iota
        | Op::Compare(_)
        | Op::Select
        | Op::Convert
        | Op::StopGrad
        | Op::Expand { .. }
        | Op::Reshape
        | Op::Permute { .. }
        | Op::Slice { .. }
        | Op::Flip { .. }
        | Op::Shear { .. }
        | Op::Gather => true,
        Op::Unary(op) => match op {
            UnaryOp::Neg
            | UnaryOp::Not
            | UnaryOp::Abs
            | UnaryOp::Sign
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Round
            | UnaryOp::Trunc
            | UnaryOp::Sqrt
            | UnaryOp::Rsqrt
            | UnaryOp::IsNan
            | UnaryOp::IsFinite => true,
            UnaryOp::Exp
            | UnaryOp::Exp2
            | UnaryOp::Expm1
            | UnaryOp::Log
            | UnaryOp::Log2
            | UnaryOp::Log10
            | UnaryOp::Log1p
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Tan
            | UnaryOp::Asin
            | UnaryOp::Acos
            | UnaryOp::Atan
            | UnaryOp::Sinh
            | UnaryOp::Cosh
            | UnaryOp::Tanh
            | UnaryOp::Sigmoid
            | UnaryOp::Erf
            | UnaryOp::Lgamma
            | UnaryOp::Digamma => false,
        },
        Op::Binary(op) => !matches!(op, tdl_ir::BinaryOp::Pow | tdl_ir::BinaryOp::Atan2 | tdl_ir::BinaryOp::Polygamma),
        Op::Barrier
        | Op::Text(_)
        | Op::UpdateSlice { .. }
        | Op::Concat { .. }
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Scan { .. }
        | Op::Sort { .. }
        | Op::Nonzero
        | Op::Contract { .. }
        | Op::Window { .. }
        | Op::Attention
        | Op::AttentionGrad
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

/// Emits what happens before a region's linear part and returns the names that it uses. `index` are the iteration number's
/// old and new names.
pub(super) fn replay(b: &mut Builder, items: &[Replay], index: Option<(ValueId, ValueId)>) -> crate::clone::Map {
    let mut names = crate::clone::Map::default();
    if let Some((old, new)) = index {
        names.set(old, new);
    }
    for item in items {
        match item {
            Replay::Compute { op, args, result, ty } => {
                let ty = names.ty(b, ty);
                let new = b.inst1(op.clone(), names.all(args), ty);
                names.set(*result, new);
            }
            Replay::Row { name, tensor } => {
                let (_, i) = index.expect("rows belong to a loop");
                let row = b.index0(*tensor, i);
                names.set(*name, row);
            }
            Replay::Ragged { name, flat, base, lead, ty } => {
                let ty = names.ty(b, ty);
                let base = names.get(*base);
                let count = b.numel(&ty.dims()[..*lead]);
                let mut dims = vec![b.dim(count)];
                dims.extend_from_slice(&ty.dims()[*lead..]);
                let zero = b.const_i64(0);
                let mut starts = vec![zero; dims.len()];
                starts[0] = base;
                let rows = b.slice(*flat, starts, &dims);
                let whole = b.reshape(rows, ty.dims());
                names.set(*name, whole);
            }
        }
    }
    names
}
