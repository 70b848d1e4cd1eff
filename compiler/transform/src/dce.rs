//! Removes pure values nobody uses, with the carried values and results of loops and branches that only feed themselves.
//!
//! before: %1 = exp %0   %2 = add %0 %0   return %2
//! after:                %2 = add %0 %0   return %2

use rustc_hash::FxHashSet;
use tdl_ir::{Block, Dim, Function, Inst, Op, ValueData, ValueId};

pub fn function(f: &mut Function) {
    let mut live = Live { values: &f.values, set: FxHashSet::default() };
    let results = f.body.results.clone();
    results.iter().for_each(|r| live.add(*r));
    for p in &f.body.params {
        live.add_dims(*p);
    }
    live.block(&mut f.body);
}

struct Live<'a> {
    values: &'a [ValueData],
    set: FxHashSet<ValueId>,
}

impl Live<'_> {
    fn add(&mut self, v: ValueId) {
        if self.set.insert(v) {
            self.add_dims(v);
        }
    }

    fn add_dims(&mut self, v: ValueId) {
        for d in self.values[v.0 as usize].ty.dims() {
            if let Dim::Val(d) = d {
                self.add(*d);
            }
        }
    }

    fn has(&self, v: ValueId) -> bool {
        self.set.contains(&v)
    }

    fn block(&mut self, block: &mut Block) {
        let mut kept = Vec::with_capacity(block.insts.len());
        for mut i in std::mem::take(&mut block.insts).into_iter().rev() {
            if has_effect(&i) || i.results.iter().any(|r| self.has(*r)) {
                self.inst(&mut i);
                kept.push(i);
            }
        }
        kept.reverse();
        block.insts = kept;
    }

    fn inst(&mut self, i: &mut Inst) {
        match i.op {
            Op::If => {
                let keep: Vec<bool> = i.results.iter().map(|r| self.has(*r)).collect();
                retain(&mut i.results, &keep);
                for region in &mut i.regions {
                    retain(&mut region.results, &keep);
                    region.results.clone().iter().for_each(|r| self.add(*r));
                    self.block(region);
                }
            }
            Op::For | Op::While => self.carried(i),
            _ => {
                for region in &mut i.regions {
                    region.results.clone().iter().for_each(|r| self.add(*r));
                    self.block(region);
                }
            }
        }
        i.args.clone().iter().for_each(|a| self.add(*a));
        i.results.clone().iter().for_each(|r| self.add_dims(*r));
        for region in &i.regions {
            region.params.iter().for_each(|p| {
                for d in self.values[p.0 as usize].ty.dims() {
                    if let Dim::Val(d) = d {
                        self.set.insert(*d);
                    }
                }
            });
        }
    }

    /// Keeps the carried values whose result is used or that feed a kept one, the condition, or an effect.
    fn carried(&mut self, i: &mut Inst) {
        let is_for = matches!(i.op, Op::For);
        let skip = usize::from(is_for);
        let n = i.results.len();
        let body = i.regions.len() - 1;
        let mut keep: Vec<bool> = i.results.iter().map(|r| self.has(*r)).collect();
        loop {
            // a trial on copies: what does the body need for the values kept so far?
            let mut trial = Live { values: self.values, set: self.set.clone() };
            let mut regions = i.regions.clone();
            if !is_for {
                regions[0].results.clone().iter().for_each(|r| trial.add(*r));
                trial.block(&mut regions[0]);
            }
            for k in (0..n).filter(|k| keep[*k]) {
                trial.add(i.regions[body].results[k]);
                trial.add_dims(i.results[k]);
            }
            trial.block(&mut regions[body]);
            let next: Vec<bool> = (0..n)
                .map(|k| {
                    keep[k]
                        || trial.has(i.regions[body].params[k + skip])
                        || trial.has(i.results[k])
                        || (!is_for && trial.has(i.regions[0].params[k]))
                })
                .collect();
            if next == keep {
                self.set = trial.set;
                let all: Vec<bool> = std::iter::repeat_n(true, skip).chain(keep.iter().copied()).collect();
                retain(&mut i.args, &all);
                retain(&mut i.results, &keep);
                i.regions = regions;
                if !is_for {
                    retain(&mut i.regions[0].params, &keep);
                }
                retain(&mut i.regions[body].params, &all);
                retain(&mut i.regions[body].results, &keep);
                return;
            }
            keep = next;
        }
    }
}

fn retain(list: &mut Vec<ValueId>, keep: &[bool]) {
    let mut k = 0;
    list.retain(|_| {
        k += 1;
        keep[k - 1]
    });
}

/// The instruction or anything inside it prints, asserts, reads or writes. A `while` may also not end, but that is no effect.
pub fn has_effect(i: &Inst) -> bool {
    i.op.has_effect()
        || matches!(i.op, Op::Call { .. } | Op::Vjp { .. } | Op::Jvp { .. })
        || i.regions.iter().any(|r| r.insts.iter().any(has_effect))
}
