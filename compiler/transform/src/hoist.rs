//! Moves what is the same in every iteration in front of the loop.
//!
//! before: for %i < %n { %1 = exp %x  … }     after: %1 = exp %x   for %i < %n { … }
//!
//! Only what cannot fail moves: no reads at positions that a check in the loop may guard, no integer division. What costs
//! nothing (constants, stretched and permuted views) stays, unless something that moves needs it.

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{BinaryOp, Block, Dim, Function, Inst, Op, Scalar, ValueData, ValueId};

pub fn function(f: &mut Function) {
    let mut h = Hoister { values: &f.values, constants: FxHashMap::default() };
    h.block(&mut f.body);
}

struct Hoister<'a> {
    values: &'a [ValueData],
    constants: FxHashMap<ValueId, Scalar>,
}

/// Whether an instruction may move, and whether it is worth it.
#[derive(PartialEq)]
enum Motion {
    Never,
    /// As an operand of something else.
    Along,
    Always,
}

impl Hoister<'_> {
    fn block(&mut self, block: &mut Block) {
        let mut out = Vec::with_capacity(block.insts.len());
        for mut i in std::mem::take(&mut block.insts) {
            if let (Op::Const(c), [r]) = (&i.op, i.results.as_slice()) {
                self.constants.insert(*r, *c);
            }
            i.regions.iter_mut().for_each(|r| self.block(r));
            if matches!(i.op, Op::For | Op::While) {
                for r in &mut i.regions {
                    self.hoist(r, &mut out);
                }
            }
            out.push(i);
        }
        block.insts = out;
    }

    fn hoist(&self, region: &mut Block, out: &mut Vec<Inst>) {
        let mut inside: FxHashSet<ValueId> = region.params.iter().copied().collect();
        // instructions that could move, by their results
        let mut free: FxHashMap<ValueId, usize> = FxHashMap::default();
        let mut moves = vec![false; region.insts.len()];
        for (k, i) in region.insts.iter().enumerate() {
            let motion = self.motion(i);
            let fixed = motion == Motion::Never || self.operands(i).any(|v| inside.contains(&v));
            if fixed {
                inside.extend(&i.results);
                continue;
            }
            free.extend(i.results.iter().map(|r| (*r, k)));
            if motion == Motion::Always {
                let mut todo = vec![k];
                while let Some(k) = todo.pop() {
                    if !std::mem::replace(&mut moves[k], true) {
                        todo.extend(self.operands(&region.insts[k]).filter_map(|v| free.get(&v)));
                    }
                }
            }
        }
        if !moves.contains(&true) {
            return;
        }
        for (i, moves) in std::mem::take(&mut region.insts).into_iter().zip(moves) {
            if moves { out.push(i) } else { region.insts.push(i) }
        }
    }

    /// Operands and the extents of the results.
    fn operands<'i>(&'i self, i: &'i Inst) -> impl Iterator<Item = ValueId> + 'i {
        let extents = i.results.iter().flat_map(|r| self.values[r.0 as usize].ty.dims());
        let extents = extents.filter_map(|d| match d {
            Dim::Val(v) => Some(*v),
            Dim::Const(_) => None,
        });
        i.args.iter().copied().chain(extents.filter(|v| !i.results.contains(v)))
    }

    fn motion(&self, i: &Inst) -> Motion {
        match &i.op {
            Op::Const(_)
            | Op::Dense(_)
            | Op::Iota
            | Op::StopGrad
            | Op::Expand { .. }
            | Op::Reshape
            | Op::Permute { .. }
            | Op::Flip { .. } => Motion::Along,
            // a stride may be checked only inside of the loop
            Op::Shear { .. } | Op::Window { .. } => Motion::Never,
            Op::Binary(BinaryOp::FloorDiv | BinaryOp::Rem) => {
                let float = self.values[i.results[0].0 as usize].ty.dtype().is_some_and(tdl_ir::Dtype::is_float);
                let divisor = self.constants.get(&i.args[1]);
                match divisor {
                    Some(Scalar::Int(1..)) => Motion::Always,
                    _ if float => Motion::Always,
                    _ => Motion::Never,
                }
            }
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Select
            | Op::Convert
            | Op::Concat { .. }
            | Op::Reduce { .. }
            | Op::ArgReduce { .. }
            | Op::Scan { .. }
            | Op::Sort { .. }
            | Op::Contract { .. }
            | Op::Attention
            | Op::AttentionGrad
            | Op::Random { .. } => Motion::Always,
            Op::Barrier
            | Op::Text(_)
            | Op::Slice { .. }
            | Op::UpdateSlice { .. }
            | Op::Nonzero
            | Op::Gather
            | Op::Scatter { .. }
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
            | Op::Host(_) => Motion::Never,
        }
    }
}
