//! Computes equal pure values once.
//!
//! before: %1 = exp %0   %2 = exp %0   return %1 %2
//! after:  %1 = exp %0   return %1 %1

use rustc_hash::FxHashMap;
use tdl_ir::{BinaryOp, Block, CompareOp, Dim, Function, Inst, Op, Type, ValueData, ValueId};

pub fn function(f: &mut Function) {
    let mut cx =
        Cse { values: &mut f.values, seen: FxHashMap::default(), trail: Vec::new(), same: FxHashMap::default() };
    cx.block(&mut f.body);
}

type Key = (Op, Vec<ValueId>, Vec<Type>);

struct Cse<'a> {
    values: &'a mut Vec<ValueData>,
    seen: FxHashMap<Key, Vec<ValueId>>,
    /// Keys in the order they were added; a region removes its own at its end.
    trail: Vec<Key>,
    same: FxHashMap<ValueId, ValueId>,
}

impl Cse<'_> {
    fn rename(&self, v: ValueId) -> ValueId {
        self.same.get(&v).copied().unwrap_or(v)
    }

    fn retype(&mut self, v: ValueId) {
        let ty = self.values[v.0 as usize].ty.map_dims(|d| match d {
            Dim::Const(_) => d,
            Dim::Val(v) => Dim::Val(self.rename(v)),
        });
        self.values[v.0 as usize].ty = ty;
    }

    fn block(&mut self, block: &mut Block) {
        let mark = self.trail.len();
        block.params.clone().into_iter().for_each(|p| self.retype(p));
        for mut i in std::mem::take(&mut block.insts) {
            for a in &mut i.args {
                *a = self.rename(*a);
            }
            i.results.clone().into_iter().for_each(|r| self.retype(r));
            for region in &mut i.regions {
                self.block(region);
            }
            if self.keep(&i) {
                block.insts.push(i);
            }
        }
        for r in &mut block.results {
            *r = self.rename(*r);
        }
        for key in self.trail.drain(mark..) {
            self.seen.remove(&key);
        }
    }

    /// False if an equal instruction stands before; its results take over.
    fn keep(&mut self, i: &Inst) -> bool {
        let shared = i.regions.is_empty()
            && !i.op.has_effect()
            && !matches!(
                i.op,
                Op::Call { .. }
                    | Op::Vjp { .. }
                    | Op::Jvp { .. }
                    | Op::Vmap { .. }
                    | Op::StackNew
                    | Op::StackPush
                    | Op::StackTensor
            );
        if !shared {
            return true;
        }
        let own = |d: &Dim| matches!(d, Dim::Val(v) if i.results.contains(v));
        let types: Vec<Type> = i
            .results
            .iter()
            .map(|r| {
                // an extent that is a result itself is told by its position
                self.values[r.0 as usize].ty.map_dims(|d| if own(&d) { Dim::Const(-1) } else { d })
            })
            .collect();
        let mut args = i.args.clone();
        if commutes(&i.op) {
            args.sort_unstable();
        }
        let key = (i.op.clone(), args, types);
        if let Some(old) = self.seen.get(&key) {
            for (new, old) in i.results.iter().zip(old) {
                self.same.insert(*new, *old);
            }
            return false;
        }
        self.seen.insert(key.clone(), i.results.clone());
        self.trail.push(key);
        true
    }
}

fn commutes(op: &Op) -> bool {
    use BinaryOp::{Add, And, Max, Min, Mul, Or, Xor};
    matches!(op, Op::Binary(Add | Mul | Min | Max | And | Or | Xor) | Op::Compare(CompareOp::Eq | CompareOp::Ne))
}
