//! Scans by teams of threads.
//!
//! Along the last axis, each thread of a team has some neighbouring elements of a tile: it combines them, the team's threads
//! find by shuffles what those before them have (`before`), and each goes over its elements again, from there. What all have is carried to the
//! next tile. Along another axis a thread has a column, and neighbouring threads have neighbouring columns.
//!
//! Where there are fewer rows or columns than keep a GPU busy, they are cut into parts: a first kernel combines each part, and what scans a part begins
//! with what the parts before it have.
//!
//! All of it goes the other way round in a reverse scan, except that neighbours are loaded as neighbours.

mod columns;
mod nonzero;
mod rows;

use tdl_ir::{BinaryOp, Dtype, ReduceOp, ValueId};

use super::teams::Step;
use super::together::Team;
use super::{WARP_LOOP, WARPS, index};
use crate::buffers::BufId;
use crate::code::Idx;
use crate::ir::*;
use crate::lower::Lower;
use crate::nest::{Fold, identity};
use crate::size::Size;

/// Rows that one thread scans alone have at most so many elements.
const ALONE: i64 = 32;
/// Parts of an unknown number of rows or columns, at most.
const PARTS_OF_MANY: i64 = 16;

/// A scan of `x` along an axis, to a buffer of the same extents.
pub struct Scan {
    pub x: ValueId,
    pub result: ValueId,
    /// None: the sums are only used on the way.
    pub to: Option<BufId>,
    pub dims: Vec<Size>,
    pub axis: usize,
    pub dtype: Dtype,
    pub combine: Combine,
}

/// How elements are combined.
#[derive(Clone, Copy)]
pub struct Combine {
    pub op: BinaryOp,
    pub reduce: ReduceOp,
    pub acc: Dtype,
    /// From the last one on.
    pub reverse: bool,
}

impl Combine {
    pub fn none(&self) -> Operand {
        identity(self.reduce, self.acc)
    }

    fn order(&self, count: usize) -> impl Iterator<Item = usize> {
        let reverse = self.reverse;
        (0..count).map(move |i| if reverse { count - 1 - i } else { i })
    }
}

/// How an axis is cut: so many parts of so many elements, the last of which may be shorter; and what each has, part after part of a row, or
/// of all columns.
#[derive(Clone, Copy)]
struct Parts {
    count: Operand,
    each: Operand,
    totals: Option<BufId>,
}

impl Scan {
    fn fold(&self) -> Fold {
        let dtype = if self.dtype == Dtype::Bool { self.combine.acc } else { self.dtype };
        Fold { op: self.combine.reduce, dtype }
    }

    /// All extents but the axis's.
    fn others(&self) -> Vec<Size> {
        self.dims.iter().enumerate().filter(|(a, _)| *a != self.axis).map(|(_, d)| d.clone()).collect()
    }

    fn at(&self, others: &[Idx], along: Idx) -> Vec<Idx> {
        let mut idx = others.to_vec();
        idx.insert(self.axis, along);
        idx
    }

    /// Are the axis's elements neighbours in memory?
    pub fn is_of_rows(&self) -> bool {
        Size::product(&self.dims[self.axis + 1..]).is(1)
    }

    /// Would one thread do a whole row?
    pub fn is_short(&self) -> bool {
        self.is_of_rows() && self.dims[self.axis].as_const().is_some_and(|n| n <= ALONE)
    }
}

impl Lower<'_> {
    /// A scan that is not short.
    pub fn scan_of_threads(&mut self, s: &Scan) {
        if !s.is_of_rows() {
            return self.scan_columns(s);
        }
        let len = self.size(&s.dims[s.axis]);
        let warps = Team { threads: WARP, block: WARPS };
        match len.as_i64() {
            Some(n) if n <= WARP_LOOP => self.scan_rows(s, warps, None),
            Some(_) => self.scan_long_rows(s),
            None => {
                let (op, dtype, b) = (tdl_ir::CompareOp::Le, Dtype::I64, Operand::i64(WARP_LOOP));
                let cond = self.host.scalar(Dtype::Bool, Expr::Compare { op, dtype, a: len, b });
                self.host_when(cond, |l| l.scan_rows(s, warps, None), |l| l.scan_long_rows(s));
            }
        }
    }

    /// Cuts `len` elements into at most `most` parts of at least `least`; parts are multiples of `of`.
    fn cut(&mut self, s: &Scan, len: Operand, (least, most, of): (i64, i64, i64), rows: &Size) -> Parts {
        let h = &mut self.host;
        let up = |h: &mut crate::code::Code, a: Operand, b: Operand| {
            let less = h.binary(BinaryOp::Sub, Dtype::I64, b, Operand::i64(1));
            let sum = h.add(a, less);
            h.div(sum, b)
        };
        let parts = h.div(len, Operand::i64(least));
        let parts = h.min(parts, Operand::i64(most));
        let parts = h.max(parts, Operand::i64(1));
        let each = up(h, len, parts);
        let each = up(h, each, Operand::i64(of));
        let each = h.mul(each, Operand::i64(of));
        let each = h.max(each, Operand::i64(of));
        let count = up(h, len, each);
        let totals = (most > 1).then(|| self.alloc(&rows.scale(most * s.combine.acc.size() as i64), None));
        Parts { count, each, totals }
    }

    /// Does `then` if there is more than one part.
    fn if_cut(&mut self, parts: Parts, then: impl FnOnce(&mut Self)) {
        let (op, dtype, b) = (tdl_ir::CompareOp::Gt, Dtype::I64, Operand::i64(1));
        let cond = self.host.scalar(Dtype::Bool, Expr::Compare { op, dtype, a: parts.count, b });
        self.host_when(cond, then, |_| {});
    }

    /// Of a value of each thread: what the threads before this one have, and what all have. `slot` is which of the arrays of one value a
    /// warp is used.
    pub fn before(&mut self, s: &Combine, step: &Step, team: Team, x: Operand, slot: Operand) -> (Operand, Operand) {
        let (mut before, mut all) = (s.none(), x);
        let in_warp = self.code().rem(step.lane, Operand::i64(WARP as i64));
        let mut bit = 1;
        while bit < WARP.min(team.threads) {
            let other = self.shuffle(s.acc, all, bit as u32);
            let mine = self.code().binary(BinaryOp::And, Dtype::I64, in_warp, Operand::i64(bit as i64));
            // the neighbour is before this thread
            let op = if s.reverse { tdl_ir::CompareOp::Eq } else { tdl_ir::CompareOp::Ne };
            let (dtype, b) = (Dtype::I64, Operand::i64(0));
            let after = self.code().scalar(Dtype::Bool, Expr::Compare { op, dtype, a: mine, b });
            let more = self.code().binary(s.op, s.acc, other, before);
            before = self.choose(s.acc, after, more, before);
            all = self.code().binary(s.op, s.acc, all, other);
            bit *= 2;
        }
        let warps = (team.threads / WARP) as i64;
        if warps <= 1 {
            return (before, all);
        }
        let array = step.shared[0];
        let warp = self.code().div(step.lane, Operand::i64(WARP as i64));
        let at = self.code().mul(slot, Operand::i64(warps));
        let place = self.code().add(at, warp);
        let first = self.below(in_warp, Operand::i64(1));
        let Operand::Reg(place) = place else { unreachable!("the number of a warp is in a register") };
        let to = index(0, &[(place, 1)]);
        self.when(first, |l| l.code().push(Stmt::Store { ptr: array, dtype: s.acc, index: to, value: all }));
        self.code().push(Stmt::Barrier(Per::Block));
        let (mut warps_before, mut sum) = (s.none(), s.none());
        for n in 0..warps {
            let w = if s.reverse { warps - 1 - n } else { n };
            let index = match at {
                Operand::Reg(at) => index(w, &[(at, 1)]),
                Operand::Const(..) => Index { offset: at.as_i64().unwrap_or(0) + w, terms: vec![] },
            };
            let x = self.code().scalar(s.acc, Expr::Load { ptr: array, dtype: s.acc, index });
            let is_before = match s.reverse {
                false => self.below(Operand::i64(w), warp),
                true => self.below(warp, Operand::i64(w)),
            };
            let more = self.code().binary(s.op, s.acc, warps_before, x);
            warps_before = self.choose(s.acc, is_before, more, warps_before);
            sum = self.code().binary(s.op, s.acc, sum, x);
        }
        (self.code().binary(s.op, s.acc, warps_before, before), sum)
    }
}
