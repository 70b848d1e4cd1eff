//! Reductions that keep the last axis: rows are added up into a block of columns that stays in cache.

use tdl_ir::{BinaryOp, ReduceOp};

use crate::code::Idx;
use crate::eval::BufStore;
use crate::ir::*;
use crate::kernel::Work;
use crate::lower::Lower;
use crate::nest::{Fold, collapse, extents, place_runs};
use crate::plan::{Group, Part};
use crate::size::Size;
use crate::values::Leaf;

/// Columns that are reduced together.
const COLUMNS: i64 = 256;
const NARROW: i64 = 64;
/// Rows that are combined in the narrow dtype.
const ROWS: i64 = 256;

/// The elementwise operation of a reduction. `Max` and `Min` propagate NaN in both.
pub fn combine(op: ReduceOp) -> BinaryOp {
    match op {
        ReduceOp::Sum => BinaryOp::Add,
        ReduceOp::Prod => BinaryOp::Mul,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
        ReduceOp::Any => BinaryOp::Or,
        ReduceOp::All => BinaryOp::And,
    }
}

struct Column {
    fold: Fold,
    /// Accumulators of some rows, and of all.
    block: Reg,
    total: Option<Reg>,
}

impl<'l> Lower<'l> {
    pub fn cols(&mut self, g: &Group, leaves: &[Leaf]) {
        let rank = g.outer.len();
        let kept: Vec<usize> = (0..rank).filter(|a| !g.axes.contains(a)).collect();
        let last_reduced = *g.axes.last().expect("a reduction has axes");
        let mut leaves = leaves.to_vec();
        for m in &g.members {
            // The result is written at the kept axes.
            let ax = kept.iter().map(|a| crate::values::Ax::Axis(*a)).collect();
            leaves.push(Leaf { storage: Some(m.value), dims: self.sizes_of(m.value), ax });
        }
        let before: Vec<usize> = kept.iter().copied().filter(|a| *a < last_reduced).collect();
        let after: Vec<usize> = (last_reduced + 1..rank).collect();
        let mut outer = collapse(&before, &g.outer, &leaves);
        // Neighbours in `before` and in the reduced axes may have the other kind in between.
        outer = outer.into_iter().flat_map(|r| split(r, &g.outer)).collect();
        let reduced: Vec<_> =
            collapse(&g.axes, &g.outer, &leaves).into_iter().flat_map(|r| split(r, &g.outer)).collect();
        let mut columns = collapse(&after, &g.outer, &leaves);
        if self.on_gpu() {
            outer.extend(columns);
            return self.cols_of_threads(g, &outer, &reduced);
        }
        let column = columns.pop();
        outer.extend(columns);
        let width = column.as_ref().map_or(Size::ONE, |c| c.extent.clone());
        let (outer_extents, reduced_extents) = (extents(&outer), extents(&reduced));
        let height = Size::product(&reduced_extents);
        let long = height.as_const().is_none_or(|h| h > 2 * ROWS);

        // few columns still give every thread some
        let columns = if width.as_const().is_some_and(|w| w <= 4 * COLUMNS) { NARROW } else { COLUMNS };
        let w = self.size(&width);
        let blocks = self.host.add(w, Operand::i64(columns - 1));
        let blocks = self.host.div(blocks, Operand::i64(columns));
        let outer_count = self.size(&Size::product(&outer_extents));
        let range = self.host.mul(outer_count, blocks);
        let cost = self.cost(g);
        let lanes = width.as_const().map_or(columns, |w| w.min(columns));
        let grain = self.grain(&Work { elements: height.scale(lanes), cost });
        self.launch_over("cols", range, grain, |l, lo, hi| {
            let folds: Vec<Fold> = g
                .members
                .iter()
                .filter_map(|m| match m.part {
                    Part::Reduce(op) => Some(Fold { op, dtype: l.dtype(m.value) }),
                    Part::Element | Part::Row => None,
                })
                .collect();
            let two = long && folds.iter().any(|f| f.wide() != f.narrow());
            let cols: Vec<Column> = folds
                .into_iter()
                .map(|fold| {
                    let mut local = |dtype| {
                        let dst = l.code().reg(RegTy::Ptr);
                        l.code().push(Stmt::Local { dst, dtype, len: columns as usize });
                        dst
                    };
                    let block = local(fold.narrow());
                    let total = two.then(|| local(fold.wide()));
                    Column { fold, block, total }
                })
                .collect();
            let step = l.code().begin_loop(lo, hi, LoopKind::Serial);
            let blocks = l.outer(blocks);
            let (at, block_no) = if blocks.as_i64() == Some(1) {
                (step.var.into(), Operand::i64(0))
            } else {
                (l.code().div(step.var.into(), blocks), l.code().rem(step.var.into(), blocks))
            };
            let outer_at = l.decompose(at, &outer_extents);
            let first = l.code().mul(block_no, Operand::i64(columns));
            let w = l.outer_size(&width);
            let rest = match first.as_i64() {
                Some(0) => w,
                _ => l.code().binary(BinaryOp::Sub, tdl_ir::Dtype::I64, w, first),
            };
            let len = l.code().min(rest, Operand::i64(columns));
            let mut base = vec![Idx::ZERO; rank];
            place_runs(&mut base, &outer, &outer_at);

            let height = l.outer_size(&height);
            if two {
                l.lane_fill(&cols, len, true);
                let var = l.code().i64();
                l.code().begin();
                let end = l.code().add(var.into(), Operand::i64(ROWS));
                let end = l.code().min(end, height);
                l.lane_fill(&cols, len, false);
                l.add_rows(g, &cols, var.into(), end, &reduced, &reduced_extents, &base, column.as_ref(), first, len);
                let head = l.code().begin_loop(Operand::i64(0), len, LoopKind::Vector);
                for c in &cols {
                    let Some(total) = c.total else { continue };
                    let (narrow, wide) = (c.fold.narrow(), c.fold.wide());
                    let part = l.lane_load(c.block, narrow, head.var);
                    let part = l.code().convert(narrow, wide, part);
                    let old = l.lane_load(total, wide, head.var);
                    let new = l.code().binary(combine(c.fold.op), wide, old, part);
                    l.lane_store(total, wide, head.var, new);
                }
                l.code().end_loop(head, vec![], vec![]);
                let body = l.code().end();
                l.code().push(Stmt::For(For {
                    var,
                    lo: Operand::i64(0),
                    hi: height,
                    step: Operand::i64(ROWS),
                    kind: LoopKind::Serial,
                    carried: vec![],
                    reductions: vec![],
                    body,
                }));
            } else {
                l.lane_fill(&cols, len, false);
                let lo = Operand::i64(0);
                l.add_rows(g, &cols, lo, height, &reduced, &reduced_extents, &base, column.as_ref(), first, len);
            }

            let head = l.code().begin_loop(Operand::i64(0), len, LoopKind::Vector);
            let mut idx = base.clone();
            if let Some(c) = &column {
                place_runs(&mut idx, std::slice::from_ref(c), &[Idx::operand(first).add(&Idx::reg(head.var))]);
            }
            let idx: Vec<Idx> = kept.iter().map(|a| idx[*a].clone()).collect();
            for (m, c) in g.members.iter().zip(&cols) {
                let (from, dtype) = match c.total {
                    Some(t) => (t, c.fold.wide()),
                    None => (c.block, c.fold.narrow()),
                };
                let x = l.lane_load(from, dtype, head.var);
                let x = l.code().convert(dtype, c.fold.dtype, x);
                let dims = l.sizes_of(m.value);
                let to = BufStore { id: l.home[&m.value], dtype: c.fold.dtype, dims: &dims };
                l.store(to, &idx, x);
            }
            l.code().end_loop(head, vec![], vec![]);
            l.code().end_loop(step, vec![], vec![]);
        });
    }

    /// Sets accumulators to what nothing reduces to.
    fn lane_fill(&mut self, cols: &[Column], len: Operand, totals: bool) {
        let head = self.code().begin_loop(Operand::i64(0), len, LoopKind::Vector);
        for c in cols {
            match (totals, c.total) {
                (true, None) => {}
                (true, Some(t)) => {
                    let dtype = c.fold.wide();
                    self.lane_store(t, dtype, head.var, c.fold.identity(dtype));
                }
                // Without a total, the block is the total: it is filled once.
                (false, _) => {
                    let dtype = c.fold.narrow();
                    self.lane_store(c.block, dtype, head.var, c.fold.identity(dtype));
                }
            }
        }
        self.code().end_loop(head, vec![], vec![]);
    }

    fn add_rows(
        &mut self,
        g: &Group,
        cols: &[Column],
        lo: Operand,
        hi: Operand,
        reduced: &[crate::nest::Run],
        reduced_extents: &[Size],
        base: &[Idx],
        column: Option<&crate::nest::Run>,
        first: Operand,
        len: Operand,
    ) {
        let row = self.code().begin_loop(lo, hi, LoopKind::Serial);
        let at = self.decompose(row.var.into(), reduced_extents);
        let mut idx = base.to_vec();
        place_runs(&mut idx, reduced, &at);
        let head = self.code().begin_loop(Operand::i64(0), len, LoopKind::Vector);
        if let Some(c) = column {
            place_runs(&mut idx, std::slice::from_ref(c), &[Idx::operand(first).add(&Idx::reg(head.var))]);
        }
        for (m, c) in g.members.iter().zip(cols) {
            let (inst, _) = self.values.graph.inst(m.value).expect("a reduction");
            let x = self.eval(inst.args[0], &idx);
            let dtype = c.fold.narrow();
            let x = self.code().convert(c.fold.dtype, dtype, x);
            let old = self.lane_load(c.block, dtype, head.var);
            let new = self.code().binary(combine(c.fold.op), dtype, old, x);
            self.lane_store(c.block, dtype, head.var, new);
        }
        self.code().end_loop(head, vec![], vec![]);
        self.code().end_loop(row, vec![], vec![]);
    }

    fn lane_load(&mut self, ptr: Reg, dtype: tdl_ir::Dtype, at: Reg) -> Operand {
        let index = Index { offset: 0, terms: vec![Term { reg: at, stride: Operand::i64(1) }] };
        self.code().scalar(dtype, Expr::Load { ptr, dtype, index })
    }

    fn lane_store(&mut self, ptr: Reg, dtype: tdl_ir::Dtype, at: Reg, value: Operand) {
        let index = Index { offset: 0, terms: vec![Term { reg: at, stride: Operand::i64(1) }] };
        self.code().push(Stmt::Store { ptr, dtype, index, value });
    }
}

/// Takes a run apart where its axes are not neighbours.
fn split(run: crate::nest::Run, dims: &[Size]) -> Vec<crate::nest::Run> {
    let mut out: Vec<crate::nest::Run> = Vec::new();
    for a in run.axes {
        match out.last_mut() {
            Some(r) if *r.axes.last().expect("a run has axes") + 1 == a => {
                r.axes.push(a);
                r.extent = r.extent.mul(&dims[a]);
            }
            _ => out.push(crate::nest::Run { axes: vec![a], extent: dims[a].clone() }),
        }
    }
    out
}
