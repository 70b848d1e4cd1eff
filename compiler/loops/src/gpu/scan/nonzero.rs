//! Where a mask is true: a scan that counts, and writes where the count changes.

use tdl_ir::{BinaryOp, Dtype, Inst, ReduceOp};

use super::rows::{PART, PARTS, TILE};
use super::{Combine, Scan};
use crate::code::Idx;
use crate::eval::BufStore;
use crate::gpu::THREADS;
use crate::gpu::together::Team;
use crate::ir::*;
use crate::lower::Lower;
use crate::nest::Fold;
use crate::size::Size;
use crate::values::Role;

const ONE: Operand = Operand::i64(1);

impl Lower<'_> {
    /// Counts the parts' true elements; the host reads how many there are, and makes room for their places.
    pub fn nonzero_of_threads(&mut self, inst: &Inst, n: usize) {
        let (x, r) = (inst.args[0], inst.results[1]);
        let dims = self.sizes_of(x);
        let len = self.size(&dims[0]);
        let acc = Dtype::I64;
        let combine = Combine { op: BinaryOp::Add, reduce: ReduceOp::Sum, acc, reverse: false };
        let s = Scan { x, result: r, to: None, dims, axis: 0, dtype: Dtype::Bool, combine };
        let parts = self.cut(&s, len, (PART, PARTS, TILE), &Size::ONE);
        self.combine_parts(&s, parts, &Size::ONE);
        let Some(totals) = parts.totals else { unreachable!("there may be several parts") };
        let sum = self.alloc(&Size::constant(acc.size() as i64), None);
        self.tally_parts(parts.count, acc.size());
        self.launch_over("nonzero", ONE, ONE, |l, lo, hi| {
            let head = l.code().begin_loop(lo, hi, LoopKind::Serial);
            let count = l.outer(parts.count);
            let fold = Fold { op: ReduceOp::Sum, dtype: acc };
            let sums = l.lanes(Operand::i64(0), count, &mut vec![], &[fold], &mut |l, at| {
                vec![l.load_at(totals, acc, &[Size::ONE], at)]
            });
            l.store(BufStore { id: sum, dtype: acc, dims: &[Size::ONE] }, &[Idx::reg(head.var)], sums[0].0);
            l.code().end_loop(head, vec![], vec![]);
        });
        self.load_scalar(inst.results[0], sum, acc);
        self.release(sum);
        if self.values.role(r) != Role::Dead {
            let to = self.place(r, n);
            let team = Team { threads: THREADS, block: THREADS };
            self.tally_along(x, r);
            self.launch_teams("nonzero.places", parts.count, team, &[(acc, 3 * THREADS / WARP)], |l, step| {
                let (others, start, end, part) = l.part_of_row(&s, step.number, parts);
                let carry = l.parts_before(&s, step, team, parts, part);
                l.over_tiles(&s, step, team, &others, (start, end), carry, |l, tile| {
                    let mut at = tile.before;
                    for (k, value) in tile.values.iter().enumerate() {
                        let (dtype, a, b) = (acc, *value, Operand::i64(0));
                        let op = tdl_ir::CompareOp::Ne;
                        let is = l.code().scalar(Dtype::Bool, Expr::Compare { op, dtype, a, b });
                        l.when(is, |l| {
                            let here = l.code().add(tile.base, Operand::i64(k as i64));
                            let to = BufStore { id: to, dtype: acc, dims: &[Size::ONE] };
                            l.store(to, &[Idx::operand(at)], here);
                        });
                        at = l.code().binary(BinaryOp::Add, acc, at, *value);
                    }
                });
                // the next step has the same memory
                l.code().push(Stmt::Barrier(Per::Block));
            });
        }
        self.release(totals);
    }
}
