//! `vmap`: a function on many lanes at once. Every value that differs from lane to lane gets the lanes as its first axis,
//! and each op becomes the same op with one axis more (indices that differ become gathers and scatters).
//!
//! before: %y = vmap @f(%n, %x), mapped: [0]     where f(%x: f32[3]) = sum %x, axes: [0]
//! after:  %y: f32[%n] = sum %x, axes: [1]
//!
//! What takes another way in each lane (an `if` on a lane's value, a `while` that ends at different times) is done for all lanes
//! under a mask ([`masked`]). What has another size in each, draws, or prints, goes lane by lane in a `for`; the rest of the
//! function does not.
//!
//! Never sees calls but those to functions with a derivative rule, nor derivatives but those that are taken afterwards ([`pulled`]).

mod indexing;
mod lanes;
mod masked;
mod ops;
mod pulled;
pub mod rules;

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{Block, Builder, Dim, Dtype, FuncId, Function, Inst, Op, Scalar, Type, Update, ValueId};
use tdl_source::{Diagnostic, Span, code};

use crate::Error;
use crate::clone::{self, Map};
use lanes::Lanes;
pub use pulled::{function as on_lanes, goes_by_lane, is_even, is_function};

/// Emits `f` on `n` lanes and returns its results: the first `uniform` are the same in all lanes, the others have the lanes
/// as their first axis. `f` is flat, but for derivatives of functions, which `on_lanes` maps. With `masks`, lanes may compute what is
/// then thrown away.
pub fn batch(
    b: &mut Builder,
    f: &Function,
    n: ValueId,
    (mapped, uniform): (&[usize], usize),
    args: &[ValueId],
    (masks, on_lanes): (bool, OnLanes<'_>),
    span: Span,
) -> Result<Vec<ValueId>, Error> {
    let mut map = Map::default();
    for (p, a) in f.params().iter().zip(args) {
        map.set(*p, *a);
    }
    let lanes = Lanes::new(f, mapped, masks);
    if let Some(v) =
        f.results().iter().enumerate().find(|(k, v)| (*k < uniform && lanes.differs(**v)) || lanes.ragged(**v))
    {
        let at = f.value(*v.1).span;
        let d = Diagnostic::error(code::E0507, "the results of the lanes differ in size", span, "mapped here")
            .label(at, "its size depends on the lane")
            .help("give every lane one size: pad, or reduce inside the function");
        return Err(Error::Program(vec![d]));
    }
    let lane = b.dim(n);
    let (constants, held) = (masked::constants(f), FxHashMap::default());
    let mut batcher = Batcher { b, f, constants, lanes, on_lanes, map, n, lane, live: None, held };
    batcher.block(&f.body);
    let results = f.results().iter().enumerate();
    Ok(results.map(|(k, r)| if k < uniform { batcher.map.get(*r) } else { batcher.laned(*r) }).collect())
}

/// A function on lanes, with the parameters that have them, and the number of parameters that it has without.
pub type OnLanes<'a> = &'a mut dyn FnMut(FuncId, &[usize]) -> (FuncId, usize);

struct Batcher<'a> {
    b: &'a mut Builder,
    f: &'a Function,
    constants: FxHashMap<ValueId, Scalar>,
    lanes: Lanes<'a>,
    on_lanes: OnLanes<'a>,
    /// Values of `f` to those here; those that differ have the lanes in front.
    map: Map,
    n: ValueId,
    lane: Dim,
    /// The lanes that get here, if not all do: at least one of them does.
    live: Option<ValueId>,
    /// Values that in all lanes but the live ones are what another value is.
    held: FxHashMap<ValueId, ValueId>,
}

impl Batcher<'_> {
    /// A value with the lanes in front.
    fn laned(&mut self, v: ValueId) -> ValueId {
        let x = self.map.get(v);
        if self.lanes.differs(v) {
            return x;
        }
        let mut dims = vec![self.lane];
        dims.extend(self.b.dims(x));
        self.b.expand(x, vec![0], &dims)
    }

    /// The type of a value that differs.
    fn ty(&self, v: ValueId) -> Type {
        let ty = self.map.ty(self.b, self.f.ty(v));
        let mut dims = vec![self.lane];
        dims.extend(ty.dims());
        Type::tensor(ty.dtype().unwrap_or(Dtype::F32), dims)
    }

    fn dims(&self, v: ValueId) -> Vec<Dim> {
        self.f.ty(v).dims().iter().map(|d| self.map.dim(self.b, *d)).collect()
    }

    fn block(&mut self, block: &Block) {
        let by_lane = self.ranges(block);
        let mut at = 0;
        for (from, to) in by_lane {
            block.insts[at..from].iter().for_each(|i| self.inst(i));
            self.by_lane(block, from, to);
            at = to;
        }
        block.insts[at..].iter().for_each(|i| self.inst(i));
    }

    /// Which instructions of a block go lane by lane: a value of another size in each lane lives in one such range.
    fn ranges(&self, block: &Block) -> Vec<(usize, usize)> {
        let mut last_use: FxHashMap<ValueId, usize> = FxHashMap::default();
        for (k, i) in block.insts.iter().enumerate() {
            i.visit_uses(&mut |v| {
                if self.lanes.ragged(v) {
                    last_use.insert(v, k);
                }
            });
        }
        let mut out: Vec<(usize, usize)> = Vec::new();
        for (k, i) in block.insts.iter().enumerate() {
            if !self.lanes.by_lane(i) {
                continue;
            }
            let end = i.results.iter().filter_map(|r| last_use.get(r)).fold(k, |a, u| a.max(*u)) + 1;
            match out.last_mut() {
                Some((_, to)) if k < *to => *to = (*to).max(end),
                Some(_) | None => out.push((k, end)),
            }
        }
        out
    }

    /// Instructions in a loop over the lanes. What does not differ is computed before it.
    fn by_lane(&mut self, block: &Block, from: usize, to: usize) {
        let mut inside: Vec<&Inst> = Vec::new();
        let mut own: FxHashSet<ValueId> = FxHashSet::default();
        for i in &block.insts[from..to] {
            // a result that is the same in all lanes may come from an instruction that has others too
            let mut belongs = self.lanes.touches(i) || i.results.iter().any(|r| self.lanes.ragged(*r));
            self.mentioned(i, &mut |v| belongs |= own.contains(&v));
            if belongs {
                inside.push(i);
                defined(i, &mut |v| _ = own.insert(v));
            } else {
                clone::inst(self.b, self.f, i, &mut self.map);
            }
        }
        let Some(first) = inside.first() else { return };
        self.b.span = first.span;
        let mut used: Vec<ValueId> = Vec::new();
        for i in &inside {
            self.mentioned(i, &mut |v| {
                if self.lanes.differs(v) && !own.contains(&v) && !used.contains(&v) {
                    used.push(v);
                }
            });
        }
        // what is read later
        let mut outs: Vec<ValueId> = Vec::new();
        {
            let mut note = |v: ValueId| {
                if inside.iter().any(|i| i.results.contains(&v)) && !outs.contains(&v) {
                    outs.push(v);
                }
            };
            for i in &block.insts[to..] {
                self.mentioned(i, &mut note);
            }
            block.results.iter().for_each(|r| note(*r));
        }
        let mut inits = Vec::with_capacity(outs.len());
        let mut types = Vec::with_capacity(outs.len());
        for v in &outs {
            types.push(self.map.ty(self.b, self.f.ty(*v)));
            let ty = if self.lanes.differs(*v) { self.ty(*v) } else { types[types.len() - 1].clone() };
            inits.push(zeros(self.b, &ty));
        }
        let (f, outer, lanes, live) = (self.f, &self.map, &self.lanes, self.live);
        let results = self.b.for_loop(self.n, inits, |b, lane, carried| {
            let body = |b: &mut Builder| {
                let mut map = outer.clone();
                for v in &used {
                    let row = b.index0(outer.get(*v), lane);
                    map.set(*v, row);
                }
                for i in &inside {
                    clone::inst(b, f, i, &mut map);
                }
                map.all(&outs)
            };
            let rows = match live {
                None => body(b),
                Some(live) => {
                    let live = b.index0(live, lane);
                    b.if_else(live, types.clone(), body, |b| {
                        let dead = outs.iter().zip(carried).zip(&types);
                        dead.map(|((v, old), ty)| if lanes.differs(*v) { zeros(b, ty) } else { *old }).collect()
                    })
                }
            };
            let mut next = Vec::with_capacity(carried.len());
            for ((all, v), row) in carried.iter().zip(&outs).zip(rows) {
                // one that is the same in all lanes, only that the instruction has others too
                next.push(if lanes.differs(*v) { b.update0(*all, lane, row, Update::Set) } else { row });
            }
            next
        });
        for (v, r) in outs.iter().zip(results) {
            self.map.set(*v, r);
        }
    }

    /// Every value that an instruction reads, extents included, and those of its regions.
    fn mentioned(&self, i: &Inst, see: &mut impl FnMut(ValueId)) {
        i.visit_uses(see);
        let mut dims = |v: ValueId| {
            for d in self.f.ty(v).dims() {
                if let Dim::Val(d) = d {
                    see(*d);
                }
            }
        };
        defined(i, &mut dims);
    }

    fn inst(&mut self, i: &Inst) {
        if !self.lanes.touches(i) {
            return clone::inst(self.b, self.f, i, &mut self.map);
        }
        self.b.span = i.span;
        match &i.op {
            Op::If if self.lanes.parts(i) => self.choose(i),
            Op::For | Op::While if self.lanes.parts(i) => self.repeat_masked(i),
            Op::If => self.branch(i),
            Op::For | Op::While => self.repeat(i),
            _ => self.op(i),
        }
    }

    fn branch(&mut self, i: &Inst) {
        let cond = self.map.get(i.args[0]);
        let mut blocks = Vec::with_capacity(2);
        for region in &i.regions {
            self.b.begin_region();
            self.block(region);
            let results = region.results.iter().zip(&i.results);
            let results = results.map(|(v, r)| self.yielded(*v, *r)).collect();
            blocks.push(self.b.end_region(results));
        }
        let held: Vec<Option<ValueId>> = (0..i.results.len())
            .map(|k| {
                let [x, y] = [0, 1].map(|side| self.root(blocks[side].results[k]));
                (x == y).then_some(x)
            })
            .collect();
        self.finish(i, vec![cond], blocks);
        self.hold(i, held);
    }

    fn repeat(&mut self, i: &Inst) {
        let skip = usize::from(matches!(i.op, Op::For));
        let mut args = self.map.all(&i.args[..skip]);
        for (a, r) in i.args[skip..].iter().zip(&i.results) {
            args.push(self.yielded(*a, *r));
        }
        let mut blocks = Vec::with_capacity(i.regions.len());
        for (k, region) in i.regions.iter().enumerate() {
            self.b.begin_region();
            for p in &region.params {
                let ty = if self.lanes.differs(*p) { self.ty(*p) } else { self.map.ty(self.b, self.f.ty(*p)) };
                let new = self.b.param(ty);
                self.b.copy_name(self.f.value(*p), new);
                self.map.set(*p, new);
            }
            self.block(region);
            let results = match k + 1 == i.regions.len() {
                true => region.results.iter().zip(&i.results).map(|(v, r)| self.yielded(*v, *r)).collect(),
                false => self.map.all(&region.results),
            };
            blocks.push(self.b.end_region(results));
        }
        let body = &blocks[blocks.len() - 1];
        let held = (0..i.results.len())
            .map(|k| (self.root(body.results[k]) == body.params[skip + k]).then(|| self.root(args[skip + k])))
            .collect();
        self.finish(i, args, blocks);
        self.hold(i, held);
    }

    /// `v` as what becomes of `result`.
    fn yielded(&mut self, v: ValueId, result: ValueId) -> ValueId {
        if self.lanes.differs(result) { self.laned(v) } else { self.map.get(v) }
    }

    fn finish(&mut self, i: &Inst, args: Vec<ValueId>, blocks: Vec<Block>) {
        self.b.span = i.span;
        for (k, r) in i.results.iter().enumerate() {
            self.map.set(*r, self.b.next_value(k));
        }
        let types = i.results.iter().map(|r| match self.lanes.differs(*r) {
            true => self.ty(*r),
            false => self.map.ty(self.b, self.f.ty(*r)),
        });
        let types: Vec<Type> = types.collect();
        let results = self.b.inst(i.op.clone(), args, types, blocks);
        for (old, new) in i.results.iter().zip(&results) {
            self.b.copy_name(self.f.value(*old), *new);
        }
    }
}

fn zeros(b: &mut Builder, ty: &Type) -> ValueId {
    b.full(0.0, ty.dtype().unwrap_or(Dtype::F32), ty.dims())
}

/// Calls `see` on every value that an instruction or its regions define.
fn defined(i: &Inst, see: &mut impl FnMut(ValueId)) {
    i.results.iter().for_each(|r| see(*r));
    for region in &i.regions {
        region.params.iter().for_each(|p| see(*p));
        region.insts.iter().for_each(|i| defined(i, see));
    }
}
