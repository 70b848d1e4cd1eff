//! Counted loops whose iterations are independent become whole tensor operations: what comprehensions compile to.
//!
//! before: for %i < %n, %out = zeros { %x = slice %a %i   %y = exp %x   %out' = update_slice %out %y %i   yield %out' }
//! after:  %y = exp %a
//!
//! A loop qualifies if each carried tensor is written once in each iteration, row `i` of its `n` rows, and read nowhere. Its
//! instructions then get the loop as a first axis ([`batch`]). One that cannot have it (an effect, a size that depends on the index, a
//! draw) keeps the loop as it is. Loops inside others go first.

mod batch;
mod index;

use rustc_hash::FxHashMap;
use tdl_ir::{Block, Builder, Dim, Function, Inst, Op, Scalar, Update, ValueId};

use crate::clone::{self, Map};

/// With `masks`, iterations may compute what is then thrown away.
pub fn function(f: &mut Function, masks: bool) {
    let mut loops = false;
    f.body.visit_insts(&mut |i| loops |= matches!(i.op, Op::For));
    while loops {
        let from = std::mem::replace(f, Builder::new("", f.span).finish(Vec::new()));
        let mut v = Vectorizer { constants: FxHashMap::default(), masks, changed: false };
        from.body.visit_insts(&mut |i| {
            if let (Op::Const(c), [r]) = (&i.op, i.results.as_slice()) {
                v.constants.insert(*r, *c);
            }
        });
        *f = clone::function(&from, &mut |b, i, map| v.inst(b, &from, i, map));
        loops = v.changed;
    }
}

struct Vectorizer {
    constants: FxHashMap<ValueId, Scalar>,
    masks: bool,
    changed: bool,
}

impl Vectorizer {
    fn inst(&mut self, b: &mut Builder, from: &Function, i: &Inst, map: &mut Map) {
        if matches!(i.op, Op::For)
            && let Some(results) = self.tensors(b, from, i, map)
        {
            self.changed = true;
            for (old, new) in i.results.iter().zip(results) {
                b.copy_name(from.value(*old), new);
                map.set(*old, new);
            }
            return;
        }
        let mut regions = Vec::with_capacity(i.regions.len());
        for r in &i.regions {
            regions.push(clone::region_with(b, from, r, map, &mut |b, i, map| self.inst(b, from, i, map)));
        }
        clone::inst_with(b, from, i, regions, map);
    }

    /// The results of a loop without the loop.
    fn tensors(&self, b: &mut Builder, from: &Function, i: &Inst, map: &Map) -> Option<Vec<ValueId>> {
        let [region] = i.regions.as_slice() else { return None };
        let rows = self.rows(from, i, region)?;
        // loops inside go first
        let mut inside = false;
        region.visit_insts(&mut |i| inside |= matches!(i.op, Op::For) && self.rows(from, i, &i.regions[0]).is_some());
        if inside {
            return None;
        }
        let n = b.dim(map.get(i.args[0]));
        let outer = b.span;
        b.begin_region();
        let results = batch::rows(b, from, region, n, map, &rows, self.masks);
        let done = b.end_region(Vec::new());
        b.span = outer;
        let results = results?;
        b.splice(done);
        Some(results)
    }

    /// What each iteration writes into the carried tensors, if that is all it does with them.
    fn rows(&self, from: &Function, i: &Inst, region: &Block) -> Option<Vec<ValueId>> {
        let (index, carried) = region.params.split_first()?;
        if carried.is_empty() {
            return None;
        }
        let mut uses: FxHashMap<ValueId, usize> = FxHashMap::default();
        region.visit_uses(&mut |v| *uses.entry(v).or_default() += 1);
        let mut rows = Vec::with_capacity(carried.len());
        for (acc, result) in carried.iter().zip(&region.results) {
            let write = region.insts.iter().find(|w| w.results.first() == Some(result))?;
            let Op::UpdateSlice { steps, mode: Update::Set } = &write.op else { return None };
            let (dims, row) = (from.ty(*acc).dims(), from.ty(write.args[1]).dims());
            let (first, rest) = write.args[2..].split_first()?;
            let whole = write.args[0] == *acc
                && steps.iter().all(|s| *s == 1)
                && first == index
                && rest.iter().all(|s| self.constants.get(s) == Some(&Scalar::Int(0)))
                && row[0] == Dim::Const(1)
                && row[1..] == dims[1..]
                && self.is(i.args[0], dims[0]);
            if !whole || uses.get(acc) != Some(&1) || uses.get(result) != Some(&1) {
                return None;
            }
            rows.push(write.args[1]);
        }
        Some(rows)
    }

    /// Whether a number is an extent.
    fn is(&self, n: ValueId, d: Dim) -> bool {
        match d {
            Dim::Val(v) => v == n,
            Dim::Const(c) => self.constants.get(&n) == Some(&Scalar::Int(c)),
        }
    }
}
