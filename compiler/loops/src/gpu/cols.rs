//! Reductions that keep the last axis: a thread adds up a column, or, where there are few columns, a part of one. Neighbouring threads
//! have neighbouring columns, so what they read together is contiguous. The parts are added in order by a second kernel.

use crate::buffers::BufId;
use crate::code::Idx;
use crate::eval::BufStore;
use crate::ir::*;
use crate::kernel::Work;
use crate::lower::Lower;
use crate::nest::{Fold, Run, extents, place_runs};
use crate::plan::{Group, Part};
use crate::size::Size;

/// So many threads keep a GPU busy.
const BUSY: i64 = 1 << 17;
/// Parts of a column, at most: where the number of columns is known, and where it is not.
const PARTS: i64 = 256;
const PARTS_OF_MANY: i64 = 16;
/// Rows of a part, at least.
const PART: i64 = 32;
/// Rows that are combined in the narrow dtype.
const ROWS: i64 = 256;

impl<'l> Lower<'l> {
    /// `kept` and `reduced` are runs of the group's axes, outermost first.
    pub fn cols_of_threads(&mut self, g: &Group, kept: &[Run], reduced: &[Run]) {
        let rank = g.outer.len();
        let (kept_extents, reduced_extents) = (extents(kept), extents(reduced));
        let (width, height) = (Size::product(&kept_extents), Size::product(&reduced_extents));
        let folds: Vec<Fold> = g
            .members
            .iter()
            .filter_map(|m| match m.part {
                Part::Reduce(op) => Some(Fold { op, dtype: self.dtype(m.value) }),
                Part::Element | Part::Row => None,
            })
            .collect();
        let most = width.as_const().map_or(PARTS_OF_MANY, |w| (BUSY / w.max(1)).clamp(1, PARTS));
        let most = height.as_const().map_or(most, |h| most.min((h / PART).max(1)));
        let (columns, rows) = (self.size(&width), self.size(&height));
        let parts = self.host.div(rows, Operand::i64(PART));
        let parts = self.host.max(parts, Operand::i64(1));
        let parts = self.host.min(parts, Operand::i64(most));
        let up = self.host.add(parts, Operand::i64(-1));
        let up = self.host.add(rows, up);
        let each = self.host.div(up, parts);
        let single = most == 1;
        let partials: Vec<BufId> = match single {
            true => Vec::new(),
            false => folds.iter().map(|f| self.alloc(&width.scale(most * f.wide().size() as i64), None)).collect(),
        };
        let cost = self.cost(g);
        let grain = self.grain(&Work { elements: height.clone(), cost });

        let range = self.host.mul(parts, columns);
        self.launch_over("cols", range, grain, |l, lo, hi| {
            let head = l.code().begin_loop(lo, hi, LoopKind::Vector);
            let (columns, rows, each) = (l.outer(columns), l.outer(rows), l.outer(each));
            let (at, start, end) = if single {
                (head.var.into(), Operand::i64(0), rows)
            } else {
                let at = l.code().rem(head.var.into(), columns);
                let part = l.code().div(head.var.into(), columns);
                let start = l.code().mul(part, each);
                let end = l.code().add(start, each);
                (at, start, l.code().min(end, rows))
            };
            let mut idx = vec![Idx::ZERO; rank];
            let place = l.decompose(at, &kept_extents);
            place_runs(&mut idx, kept, &place);
            let sums = l.column(g, &folds, (start, end), reduced, &reduced_extents, &idx);
            if single {
                l.finish_column(g, &folds, &idx, &sums);
            } else {
                for ((buf, f), value) in partials.iter().zip(&folds).zip(sums) {
                    let to = BufStore { id: *buf, dtype: f.wide(), dims: &[Size::ONE] };
                    l.store(to, &[Idx::reg(head.var)], value);
                }
            }
            l.code().end_loop(head, vec![], vec![]);
        });
        if single {
            return;
        }
        let read: usize = folds.iter().map(|f| f.wide().size()).sum();
        self.tally_parts(range, read);
        self.launch_over("parts", columns, Operand::i64(1), |l, lo, hi| {
            let head = l.code().begin_loop(lo, hi, LoopKind::Vector);
            let (columns, parts) = (l.outer(columns), l.outer(parts));
            let part = l.code().begin_loop(Operand::i64(0), parts, LoopKind::Serial);
            let mut values = Vec::new();
            for (buf, f) in partials.iter().zip(&folds) {
                let (ptr, dtype) = (l.pointer(*buf, Access::Read), f.wide());
                let terms =
                    vec![Term { reg: part.var, stride: columns }, Term { reg: head.var, stride: Operand::i64(1) }];
                let value = l.code().scalar(dtype, Expr::Load { ptr, dtype, index: Index { offset: 0, terms } });
                values.push((value, dtype));
            }
            let sums = l.end_fold(part, &folds, values).into_iter().map(|(o, _)| o).collect::<Vec<_>>();
            let mut idx = vec![Idx::ZERO; rank];
            let place = l.decompose(head.var.into(), &kept_extents);
            place_runs(&mut idx, kept, &place);
            l.finish_column(g, &folds, &idx, &sums);
            l.code().end_loop(head, vec![], vec![]);
        });
        partials.into_iter().for_each(|b| self.release(b));
    }

    /// The sums of some rows of a column, in the wide dtypes.
    fn column(
        &mut self,
        g: &Group,
        folds: &[Fold],
        (start, end): (Operand, Operand),
        reduced: &[Run],
        reduced_extents: &[Size],
        idx: &[Idx],
    ) -> Vec<Operand> {
        let block = self.code().i64();
        self.code().begin();
        let last = self.code().add(block.into(), Operand::i64(ROWS));
        let last = self.code().min(last, end);
        let row = self.code().begin_loop(block.into(), last, LoopKind::Serial);
        let at = self.decompose(row.var.into(), reduced_extents);
        let mut idx = idx.to_vec();
        place_runs(&mut idx, reduced, &at);
        let mut reductions = Vec::new();
        for (m, f) in g.members.iter().zip(folds) {
            let (inst, _) = self.values.graph.inst(m.value).expect("a reduction");
            let x = self.eval(inst.args[0], &idx);
            let dtype = f.narrow();
            let value = self.code().convert(f.dtype, dtype, x);
            let result = self.code().reg(RegTy::Scalar(dtype));
            reductions.push(Reduction { op: f.op, dtype, init: f.identity(dtype), value, result });
        }
        let values = reductions.iter().map(|r| (r.result.into(), r.dtype)).collect();
        self.code().end_loop(row, vec![], reductions);
        let head = crate::code::LoopHead { var: block, lo: start, hi: end, kind: LoopKind::Serial };
        let sums = self.end_fold(head, folds, values);
        if let Some(Stmt::For(f)) = self.code().blocks.last_mut().expect("a block is open").last_mut() {
            f.step = Operand::i64(ROWS);
        }
        sums.into_iter().map(|(o, _)| o).collect()
    }

    fn finish_column(&mut self, g: &Group, folds: &[Fold], idx: &[Idx], sums: &[Operand]) {
        let kept: Vec<Idx> = (0..g.outer.len()).filter(|a| !g.axes.contains(a)).map(|a| idx[a].clone()).collect();
        for ((m, f), sum) in g.members.iter().zip(folds).zip(sums) {
            let value = self.code().convert(f.wide(), f.dtype, *sum);
            let dims = self.sizes_of(m.value);
            let to = BufStore { id: self.home[&m.value], dtype: f.dtype, dims: &dims };
            self.store(to, &kept, value);
        }
    }
}
