//! Chooses what a region keeps for its linear part: the set of values from which the rest is computed again, at the least
//! price of both together (a minimum cut of the region's data flow; the prices stand in [`super::price`]).

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{Block, Builder, Dim, Inst, Op, ValueId};

use super::mincut::{Graph, UNLIMITED};
use super::price;
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
    /// What has a price is computed again too, where that is less than keeping it.
    pub again: bool,
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
    let defs = definitions(b, block, site);
    let mut p = Planner {
        b,
        site,
        region,
        defs,
        stored: FxHashSet::default(),
        done: FxHashSet::default(),
        repeated: FxHashSet::default(),
    };
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
        p.repeated.clear();
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

/// An instruction that may be repeated.
#[derive(Clone, Copy)]
struct Repeated<'a> {
    inst: &'a Inst,
    /// For one time.
    price: u64,
}

/// Instructions that may be repeated, by their results.
fn definitions<'a>(b: &Builder, block: &'a Block, site: &Site) -> FxHashMap<ValueId, Repeated<'a>> {
    let mut out = FxHashMap::default();
    for inst in &block.insts {
        if let Some(price) = price::again(b, inst).filter(|p| *p == 0 || site.again) {
            out.extend(inst.results.iter().map(|r| (*r, Repeated { inst, price })));
        }
    }
    out
}

/// What an instruction reads, in regions and in extents too, and does not define: in the order of definition.
fn reads(b: &Builder, i: &Inst) -> Vec<ValueId> {
    let mut own: Vec<ValueId> = i.results.clone();
    for region in &i.regions {
        own.extend(&region.params);
        region.visit_insts(&mut |i| {
            own.extend(&i.results);
            own.extend(i.regions.iter().flat_map(|r| &r.params));
        });
    }
    let mut out: Vec<ValueId> = Vec::with_capacity(i.args.len());
    i.visit_uses(&mut |v| out.push(v));
    for v in &own {
        out.extend(b.ty(*v).dims().iter().filter_map(|d| match d {
            Dim::Val(v) => Some(*v),
            Dim::Const(_) => None,
        }));
    }
    own.sort_unstable();
    out.retain(|v| own.binary_search(v).is_err());
    out.sort_unstable();
    out.dedup();
    out
}

struct Planner<'a> {
    b: &'a Builder,
    site: &'a Site,
    region: FxHashSet<ValueId>,
    defs: FxHashMap<ValueId, Repeated<'a>>,
    stored: FxHashSet<ValueId>,
    done: FxHashSet<ValueId>,
    /// The instructions that are repeated, by their first result.
    repeated: FxHashSet<ValueId>,
}

impl Planner<'_> {
    /// Belongs to a loop around, and is no trifle.
    fn surrounds(&self, v: ValueId) -> bool {
        self.site.floor.is_some_and(|floor| v.0 >= floor)
            && Some(v) != self.site.index
            && self.b.rank(v) > 0
            && self.b.as_splat(v).is_none()
    }

    /// What an instruction that may be repeated reads here.
    fn sources(&self, i: &Inst) -> Vec<ValueId> {
        let mut out = reads(self.b, i);
        out.retain(|v| self.region.contains(v) || self.surrounds(*v));
        out
    }

    fn cut(&self, needed: &[ValueId]) -> FxHashSet<ValueId> {
        // number what is upstream of the needed values, and the instructions, by their first result
        let mut number: FxHashMap<ValueId, usize> = FxHashMap::default();
        let mut order = Vec::new();
        let mut insts: FxHashMap<ValueId, usize> = FxHashMap::default();
        let mut repeated = Vec::new();
        let mut todo = needed.to_vec();
        while let Some(v) = todo.pop() {
            if number.contains_key(&v) {
                continue;
            }
            number.insert(v, order.len());
            order.push(v);
            if let Some(r) = self.defs.get(&v)
                && !insts.contains_key(&r.inst.results[0])
            {
                insts.insert(r.inst.results[0], repeated.len());
                let sources = self.sources(r.inst);
                todo.extend(&sources);
                repeated.push((v, r.price, sources));
            }
        }
        // on the sink's side are: what is at hand afterwards (odd), what of it is computed again (even), by which instructions
        let (first, source) = (2 * order.len(), 2 * order.len() + repeated.len());
        let sink = source + 1;
        let mut g = Graph::new(sink + 1);
        let many = |price: u64, v: ValueId| {
            let times = if self.region.contains(&v) { self.site.times } else { 1 };
            price.saturating_mul(times).min(UNLIMITED / 1024)
        };
        for (k, v) in order.iter().enumerate() {
            g.edge(2 * k, 2 * k + 1, price::keep(self.b.ty(*v)).map_or(UNLIMITED, |p| many(p, *v)));
            match self.defs.get(v) {
                Some(r) => g.edge(first + insts[&r.inst.results[0]], 2 * k, UNLIMITED),
                None => g.edge(source, 2 * k, UNLIMITED),
            }
        }
        for (k, (v, price, sources)) in repeated.iter().enumerate() {
            sources.iter().for_each(|a| g.edge(2 * number[a] + 1, first + k, UNLIMITED));
            if *price > 0 {
                g.edge(source, first + k, many(*price, *v));
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
        let Some(Repeated { inst, .. }) = self.defs.get(&v).copied().filter(|_| !self.stored.contains(&v)) else {
            return items.push(Item::Keep(v));
        };
        let free = reads(self.b, inst);
        free.iter().for_each(|a| self.need(*a, items));
        // an extent of it may have brought it
        if self.repeated.insert(inst.results[0]) {
            let free = free.into_iter().map(|v| (v, v)).collect();
            items.push(Item::Compute(Replay::Again { inst: Box::new(inst.clone()), free }));
        }
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
            Replay::Again { inst, free } => {
                let mut map = crate::clone::Map::default();
                free.iter().for_each(|(old, now)| map.set(*old, names.get(*now)));
                again(b, inst, &mut map);
                inst.results.iter().for_each(|r| names.set(*r, map.get(*r)));
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

/// Repeats an instruction of the same function, with its regions. What was checked there needs no check here.
fn again(b: &mut Builder, i: &Inst, map: &mut crate::clone::Map) {
    let mut regions = Vec::with_capacity(i.regions.len());
    for r in &i.regions {
        b.begin_region();
        for p in &r.params {
            let data = b.value(*p).clone();
            let ty = map.ty(b, &data.ty);
            let new = b.param(ty);
            b.copy_name(&data, new);
            map.set(*p, new);
        }
        r.insts.iter().filter(|i| !matches!(i.op, Op::Assert { .. })).for_each(|i| again(b, i, map));
        let results = map.all(&r.results);
        regions.push(b.end_region(results));
    }
    for (k, r) in i.results.iter().enumerate() {
        map.set(*r, b.next_value(k));
    }
    let types = i.results.iter().map(|r| map.ty(b, b.ty(*r))).collect();
    let results = b.inst(i.op.clone(), map.all(&i.args), types, regions);
    for (old, new) in i.results.iter().zip(results) {
        let name = b.value(*old).name.clone();
        if let Some(name) = name {
            let again = if name.ends_with(".again") { name.to_string() } else { format!("{name}.again") };
            b.name_value(new, &again);
        }
    }
}
