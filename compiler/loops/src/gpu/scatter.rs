//! Scatters: rows that are put into, or added to, rows of a tensor by their numbers.
//!
//! The numbers are sorted, with the places they come from. Where a row's number begins among them, a thread for each column adds what is to
//! be added, in the order of the places; where it ends, the last row is put. So nothing depends on which thread is first, and rows
//! that are met a few times get the sums that the processor gets. What is added to one row more often is cut at multiples of
//! [`CHUNK`]: the pieces of the chunks are added up side by side, and then one after another.

use tdl_ir::{BinaryOp, CompareOp, Dtype, ReduceOp, Update, ValueId};

use super::sort::Rows;
use crate::buffers::BufId;
use crate::code::Idx;
use crate::eval::BufStore;
use crate::ir::*;
use crate::lower::Lower;
use crate::nest::{Fold, Run, extents, place_runs};
use crate::size::Size;

/// Rows that are added one after another, at most, before their sums are.
const CHUNK: i64 = 256;
const ONE: Operand = Operand::i64(1);

/// A scatter to a buffer that already holds the old tensor.
pub struct Scatter<'s> {
    pub ids: ValueId,
    pub rows: ValueId,
    pub to: BufId,
    pub dims: &'s [Size],
    pub dtype: Dtype,
    pub mode: Update,
    /// The axes of a row, as `rows` has them, merged.
    pub runs: &'s [Run],
}

/// The numbers in order, and the places they come from.
struct Sorted {
    ids: BufId,
    places: BufId,
    count: Operand,
    width: Operand,
    chunks: Operand,
}

/// One element of a row.
struct Element {
    at: Vec<Idx>,
    /// Its number in the row.
    number: Operand,
}

impl Lower<'_> {
    pub fn scatter_of_threads(&mut self, s: &Scatter<'_>, tally: impl FnOnce(&mut Self)) {
        let all = Size::product(&self.sizes_of(s.ids));
        let width = Size::product(&extents(s.runs));
        let src = self.dense(s.ids);
        let [ids, places] = [0; 2].map(|_| self.alloc(&all.scale(8), None));
        let (rows, dtype) = (Size::ONE, Dtype::I64);
        self.sort_rows(&Rows { src, values: ids, indices: places, dtype, rows, len: all.clone(), descending: false });
        let (count, row) = (self.size(&all), self.size(&width));
        let up = self.host.add(count, Operand::i64(CHUNK - 1));
        let chunks = self.host.div(up, Operand::i64(CHUNK));
        let sorted = Sorted { ids, places, count, width: row, chunks };
        tally(self);
        match s.mode {
            Update::Set => self.put_sorted(s, &sorted),
            Update::Add => {
                let fold = Fold { op: ReduceOp::Sum, dtype: s.dtype };
                let pieces = self.host.mul(chunks, row);
                // of each chunk: what a row that began before has in it, what one has that goes on behind it
                let bytes = self.host.mul(pieces, Operand::i64(2 * fold.narrow().size() as i64));
                let sums = self.scratch(bytes);
                self.add_sorted(s, &sorted, sums);
                self.add_pieces(s, &sorted, sums, pieces);
                self.end_scratch(sums);
            }
        }
        self.release(ids);
        self.release(places);
    }

    fn sorted_at(&mut self, buf: BufId, at: Operand) -> Operand {
        self.load_at(buf, Dtype::I64, &[Size::ONE], &[Idx::operand(at)])
    }

    /// Element `number` of a row.
    fn column_of(&mut self, s: &Scatter<'_>, number: Operand) -> Element {
        let rank = self.sizes_of(s.ids).len();
        let mut at = vec![Idx::ZERO; self.sizes_of(s.rows).len()];
        let inner = self.decompose(number, &extents(s.runs));
        place_runs(&mut at, s.runs, &inner);
        Element { at: at.split_off(rank), number }
    }

    /// An element of the row that comes `at`-th in order.
    fn row_element(&mut self, s: &Scatter<'_>, sorted: &Sorted, at: Operand, e: &Element) -> Operand {
        let place = self.sorted_at(sorted.places, at);
        let ids_dims = self.sizes_of(s.ids);
        let mut idx = self.decompose(place, &ids_dims);
        idx.extend_from_slice(&e.at);
        self.eval(s.rows, &idx)
    }

    fn target(id: Operand, e: &Element) -> Vec<Idx> {
        let mut to = vec![Idx::operand(id)];
        to.extend_from_slice(&e.at);
        to
    }

    /// Is the `at`-th number another one than that `by` places away? So it is if there is none.
    fn differs(&mut self, sorted: &Sorted, at: Operand, by: i64, id: Operand) -> Operand {
        let other = self.code().add(at, Operand::i64(by));
        let count = self.outer(sorted.count);
        let low = self.below(Operand::i64(-1), other);
        let high = self.below(other, count);
        let there = self.both(low, high);
        let [differs] = self.either(
            [Dtype::Bool],
            there,
            |l| {
                let b = l.sorted_at(sorted.ids, other);
                let (op, dtype) = (CompareOp::Ne, Dtype::I64);
                [l.code().scalar(Dtype::Bool, Expr::Compare { op, dtype, a: id, b })]
            },
            |_| [Operand::bool(true)],
        );
        differs
    }

    /// The last of the rows with one number is put.
    fn put_sorted(&mut self, s: &Scatter<'_>, sorted: &Sorted) {
        let range = self.host.mul(sorted.count, sorted.width);
        self.launch_over("scatter", range, ONE, |l, lo, hi| {
            let head = l.code().begin_loop(lo, hi, LoopKind::Vector);
            let width = l.outer(sorted.width);
            let (at, number) = (l.code().div(head.var.into(), width), l.code().rem(head.var.into(), width));
            let id = l.sorted_at(sorted.ids, at);
            let last = l.differs(sorted, at, 1, id);
            l.when(last, |l| {
                let e = l.column_of(s, number);
                let value = l.row_element(s, sorted, at, &e);
                l.store(BufStore { id: s.to, dtype: s.dtype, dims: s.dims }, &Self::target(id, &e), value);
            });
            l.code().end_loop(head, vec![], vec![]);
        });
    }

    /// Adds up the rows from `lo` to `hi` in order, from `init` on.
    fn add_up(
        &mut self,
        s: &Scatter<'_>,
        sorted: &Sorted,
        (lo, hi): (Operand, Operand),
        e: &Element,
        (dtype, init): (Dtype, Operand),
    ) -> Operand {
        let (param, result) = (self.code().reg(RegTy::Scalar(dtype)), self.code().reg(RegTy::Scalar(dtype)));
        let head = self.code().begin_loop(lo, hi, LoopKind::Serial);
        let x = self.row_element(s, sorted, head.var.into(), e);
        let x = self.code().convert(s.dtype, dtype, x);
        let next = self.code().binary(BinaryOp::Add, dtype, param.into(), x);
        self.code().end_loop(head, vec![Carried { param, init, next, result }], vec![]);
        result.into()
    }

    /// The end of the rows with the number that the `at`-th has.
    fn run_end(&mut self, sorted: &Sorted, at: Operand, id: Operand) -> Operand {
        let count = self.outer(sorted.count);
        let all = (Operand::bool(false), count);
        self.bisect(sorted.ids, Dtype::I64, id, Operand::i64(0), (at, count), all)
    }

    /// Where a piece's sum is: of chunk `chunk`, what began in it and goes on, or what began before.
    fn piece(&mut self, sorted: &Sorted, goes_on: Operand, chunk: Operand, e: &Element) -> Idx {
        let (chunks, width) = (self.outer(sorted.chunks), self.outer(sorted.width));
        let half = self.choose(Dtype::I64, goes_on, chunks, Operand::i64(0));
        let at = self.code().add(half, chunk);
        let at = self.code().mul(at, width);
        Idx::operand(self.code().add(at, e.number))
    }

    fn add_sorted(&mut self, s: &Scatter<'_>, sorted: &Sorted, sums: BufId) {
        let range = self.host.mul(sorted.count, sorted.width);
        let narrow = Fold { op: ReduceOp::Sum, dtype: s.dtype }.narrow();
        self.launch_over("scatter", range, ONE, |l, lo, hi| {
            let head = l.code().begin_loop(lo, hi, LoopKind::Vector);
            let width = l.outer(sorted.width);
            let (at, number) = (l.code().div(head.var.into(), width), l.code().rem(head.var.into(), width));
            let id = l.sorted_at(sorted.ids, at);
            let begins = l.differs(sorted, at, -1, id);
            let (chunk, within) = (l.code().div(at, Operand::i64(CHUNK)), l.code().rem(at, Operand::i64(CHUNK)));
            let cut = l.below(within, ONE);
            let active = l.code().binary(BinaryOp::Or, Dtype::Bool, begins, cut);
            l.when(active, |l| {
                let e = l.column_of(s, number);
                let end = l.run_end(sorted, at, id);
                let next = l.code().mul(chunk, Operand::i64(CHUNK));
                let next = l.code().add(next, Operand::i64(CHUNK));
                let goes_on = l.below(next, end);
                let last = l.code().min(next, end);
                let inside = l.choose(Dtype::Bool, goes_on, Operand::bool(false), begins);
                l.when(inside, |l| {
                    let to = Self::target(id, &e);
                    let old = l.load_at(s.to, s.dtype, s.dims, &to);
                    let sum = l.add_up(s, sorted, (at, last), &e, (s.dtype, old));
                    l.store(BufStore { id: s.to, dtype: s.dtype, dims: s.dims }, &to, sum);
                });
                let outside = l.choose(Dtype::Bool, inside, Operand::bool(false), Operand::bool(true));
                l.when(outside, |l| {
                    let zero = crate::nest::identity(ReduceOp::Sum, narrow);
                    let value = l.add_up(s, sorted, (at, last), &e, (narrow, zero));
                    let at = l.piece(sorted, begins, chunk, &e);
                    l.store(BufStore { id: sums, dtype: narrow, dims: &[Size::ONE] }, &[at], value);
                });
            });
            l.code().end_loop(head, vec![], vec![]);
        });
    }

    /// What began in a chunk and goes on: its pieces are added up.
    fn add_pieces(&mut self, s: &Scatter<'_>, sorted: &Sorted, sums: BufId, range: Operand) {
        let narrow = Fold { op: ReduceOp::Sum, dtype: s.dtype }.narrow();
        self.tally_parts(range, narrow.size());
        self.launch_over("scatter.pieces", range, ONE, |l, lo, hi| {
            let head = l.code().begin_loop(lo, hi, LoopKind::Vector);
            let width = l.outer(sorted.width);
            let (chunk, number) = (l.code().div(head.var.into(), width), l.code().rem(head.var.into(), width));
            let first = l.code().mul(chunk, Operand::i64(CHUNK));
            let next = l.code().add(first, Operand::i64(CHUNK));
            let count = l.outer(sorted.count);
            let more = l.below(next, count);
            l.when(more, |l| {
                let id = l.sorted_at(sorted.ids, next);
                let last = l.code().add(next, Operand::i64(-1));
                let ends = l.differs(sorted, next, -1, id);
                let begins = l.differs(sorted, first, -1, id);
                let crosses = l.choose(Dtype::Bool, ends, Operand::bool(false), begins);
                l.when(crosses, |l| {
                    let e = l.column_of(s, number);
                    let end = l.run_end(sorted, last, id);
                    let up = l.code().add(end, Operand::i64(CHUNK - 1));
                    let last_chunk = l.code().div(up, Operand::i64(CHUNK));
                    let at = l.piece(sorted, Operand::bool(true), chunk, &e);
                    let to = Self::target(id, &e);
                    let old = l.load_at(s.to, s.dtype, s.dims, &to);
                    let old = l.code().convert(s.dtype, narrow, old);
                    let begun = l.load_at(sums, narrow, &[Size::ONE], &[at]);
                    let init = l.code().binary(BinaryOp::Add, narrow, old, begun);
                    let following = l.code().add(chunk, ONE);
                    let inner = l.code().begin_loop(following, last_chunk, LoopKind::Serial);
                    let at = l.piece(sorted, Operand::bool(false), inner.var.into(), &e);
                    let value = l.load_at(sums, narrow, &[Size::ONE], &[at]);
                    let result = l.code().reg(RegTy::Scalar(narrow));
                    let sum = Reduction { op: ReduceOp::Sum, dtype: narrow, init, value, result };
                    l.code().end_loop(inner, vec![], vec![sum]);
                    let value = l.code().convert(narrow, s.dtype, result.into());
                    l.store(BufStore { id: s.to, dtype: s.dtype, dims: s.dims }, &to, value);
                });
            });
            l.code().end_loop(head, vec![], vec![]);
        });
    }
}
