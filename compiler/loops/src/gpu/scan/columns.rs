//! Scans along another axis than the last.

use tdl_ir::{BinaryOp, Dtype};

use super::{PARTS_OF_MANY, Parts, Scan};
use crate::code::Idx;
use crate::eval::BufStore;
use crate::ir::*;
use crate::lower::Lower;
use crate::size::Size;

/// So many threads keep a GPU busy.
const BUSY: i64 = 1 << 16;
/// Elements of a part, at least.
const PART: i64 = 64;
/// Parts of a known number of columns, at most.
const PARTS: i64 = 64;

impl Lower<'_> {
    pub(super) fn scan_columns(&mut self, s: &Scan) {
        let columns = Size::product(&s.others());
        let most = columns.as_const().map_or(PARTS_OF_MANY, |c| (BUSY / c.max(1)).clamp(1, PARTS));
        let len = self.size(&s.dims[s.axis]);
        let most = len.as_i64().map_or(most, |n| most.min((n / PART).max(1)));
        let parts = self.cut(s, len, (PART, most, 1), &columns);
        let count = self.size(&columns);
        let range = self.host.mul(count, parts.count);
        if let Some(totals) = parts.totals {
            self.if_cut(parts, |l| {
                l.tally_parts(range, s.combine.acc.size());
                l.launch_over("scan.parts", range, Operand::i64(1), |l, lo, hi| {
                    let head = l.code().begin_loop(lo, hi, LoopKind::Vector);
                    let (others, start, end, _, _) = l.part_of_column(s, head.var.into(), count, parts);
                    let inner = l.code().begin_loop(start, end, LoopKind::Serial);
                    let x = l.eval(s.x, &s.at(&others, Idx::reg(inner.var)));
                    let value = l.code().convert(s.dtype, s.combine.acc, x);
                    let result = l.code().reg(RegTy::Scalar(s.combine.acc));
                    let sum =
                        Reduction { op: s.combine.reduce, dtype: s.combine.acc, init: s.combine.none(), value, result };
                    l.code().end_loop(inner, vec![], vec![sum]);
                    let to = BufStore { id: totals, dtype: s.combine.acc, dims: &[Size::ONE] };
                    l.store(to, &[Idx::reg(head.var)], result.into());
                    l.code().end_loop(head, vec![], vec![]);
                });
            });
        }
        self.tally_along(s.x, s.result);
        self.launch_over("scan", range, Operand::i64(1), |l, lo, hi| {
            let head = l.code().begin_loop(lo, hi, LoopKind::Vector);
            let (others, start, end, part, column) = l.part_of_column(s, head.var.into(), count, parts);
            let init = l.column_parts_before(s, parts, part, column, count);
            let (param, result) =
                (l.code().reg(RegTy::Scalar(s.combine.acc)), l.code().reg(RegTy::Scalar(s.combine.acc)));
            let inner = l.code().begin_loop(start, end, LoopKind::Serial);
            let mut at: Operand = inner.var.into();
            if s.combine.reverse {
                let last = l.code().add(start, end);
                let last = l.code().add(last, Operand::i64(-1));
                at = l.code().binary(BinaryOp::Sub, Dtype::I64, last, at);
            }
            let idx = s.at(&others, Idx::operand(at));
            let x = l.eval(s.x, &idx);
            let x = l.code().convert(s.dtype, s.combine.acc, x);
            let next = l.code().binary(s.combine.op, s.combine.acc, param.into(), x);
            let out = l.code().convert(s.combine.acc, s.dtype, next);
            if let Some(id) = s.to {
                l.store(BufStore { id, dtype: s.dtype, dims: &s.dims }, &idx, out);
            }
            l.code().end_loop(inner, vec![Carried { param, init, next, result }], vec![]);
            l.code().end_loop(head, vec![], vec![]);
        });
        parts.totals.into_iter().for_each(|b| self.release(b));
    }

    /// The other axes' indices of a column, the bounds of its part, the part's number and the column's.
    fn part_of_column(
        &mut self,
        s: &Scan,
        number: Operand,
        columns: Operand,
        p: Parts,
    ) -> (Vec<Idx>, Operand, Operand, Operand, Operand) {
        let (columns, each, len) = (self.outer(columns), self.outer(p.each), self.outer_size(&s.dims[s.axis]));
        if p.totals.is_none() {
            let others = self.decompose(number, &s.others());
            return (others, Operand::i64(0), len, Operand::i64(0), number);
        }
        let (part, column) = (self.code().div(number, columns), self.code().rem(number, columns));
        let others = self.decompose(column, &s.others());
        let start = self.code().mul(part, each);
        let end = self.code().add(start, each);
        (others, start, self.code().min(end, len), part, column)
    }

    fn column_parts_before(&mut self, s: &Scan, p: Parts, part: Operand, column: Operand, columns: Operand) -> Operand {
        let Some(totals) = p.totals else { return s.combine.none() };
        let (count, columns) = (self.outer(p.count), self.outer(columns));
        let (lo, hi) = match s.combine.reverse {
            false => (Operand::i64(0), part),
            true => (self.code().add(part, Operand::i64(1)), count),
        };
        let head = self.code().begin_loop(lo, hi, LoopKind::Serial);
        let at = self.code().mul(head.var.into(), columns);
        let at = self.code().add(at, column);
        let value = self.load_at(totals, s.combine.acc, &[Size::ONE], &[Idx::operand(at)]);
        let result = self.code().reg(RegTy::Scalar(s.combine.acc));
        let sum = Reduction { op: s.combine.reduce, dtype: s.combine.acc, init: s.combine.none(), value, result };
        self.code().end_loop(head, vec![], vec![sum]);
        result.into()
    }
}
