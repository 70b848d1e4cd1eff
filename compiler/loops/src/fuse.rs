//! Kernels of groups: elementwise spaces, rows with their reductions, reductions of everything.

use rustc_hash::FxHashSet;
use tdl_ir::{Dtype, Op, Scalar, ValueId};

use crate::buffers::BufId;
use crate::code::Idx;
use crate::eval::{BufStore, flat};
use crate::ir::*;
use crate::kernel::{MEMORY_COST, Work};
use crate::lower::Lower;
use crate::nest::{Fold, Run, WHOLE_BLOCK, collapse, extents, place_runs};
use crate::plan::{Group, GroupKind, Member, Part, member_leaves, tree_cost};
use crate::size::Size;
use crate::tiles::crossing;
use crate::values::{Leaf, identity};

/// Elements per partial result of a reduction of everything, at least.
const CHUNK: i64 = 1 << 16;
/// Partial results of a reduction of everything, at most.
const PARTIALS: i64 = 64;
/// On a GPU: a partial result is a block's, and begins where 16 bytes do.
const GPU_CHUNK: i64 = 1 << 13;
const GPU_PARTIALS: i64 = 1024;
const GPU_UNIT: i64 = 8;

impl<'l> Lower<'l> {
    /// Emits the kernel of node `n`.
    pub fn group(&mut self, g: &Group, n: usize) {
        if let Some((inst, _)) = g.members.first().and_then(|m| self.values.graph.inst(m.value)) {
            self.span = inst.span;
        }
        let leaves = self.group_leaves(g);
        let mut taken = FxHashSet::default();
        for m in &g.members {
            if !m.store || m.scratch.is_some() || self.is_scalar(m.value) {
                continue;
            }
            // What waits in the member's row is written there before the member is.
            let waits = g.members.iter().find(|o| o.scratch == Some(m.value));
            let mut first = m.clone();
            first.stage = waits.map_or(m.stage, |w| w.stage.min(m.stage));
            let buf = self.place_member(g, &first, n, &taken);
            taken.insert(buf);
            self.block().alive.insert(m.value);
            if let Some(w) = waits {
                self.home.insert(w.value, buf);
            }
            self.stream_member(g, m, waits, buf, &leaves);
        }
        if self.zeros(g) {
            self.streams.clear();
            self.rows.clear();
            return;
        }
        self.tally_group(g);
        match g.kind {
            GroupKind::Flat => self.flat(g, &leaves),
            GroupKind::Rows if g.outer.is_empty() => self.full(g, &leaves),
            GroupKind::Rows => self.rows(g, &leaves),
            GroupKind::Cols => self.cols(g, &leaves),
        }
        self.streams.clear();
        self.rows.clear();
        self.ahead.clear();
        self.tally = None;
    }

    /// A single tensor of zeros is cleared memory.
    fn zeros(&mut self, g: &Group) -> bool {
        let [m] = g.members.as_slice() else { return false };
        let v = m.value;
        let Some((inst, _)) = self.values.graph.inst(v) else { return false };
        let zero = match (&inst.op, self.values.graph.op(inst.args.first().copied().unwrap_or(v))) {
            (Op::Expand { .. }, Some(Op::Const(c))) => {
                matches!(c, Scalar::Float(0) | Scalar::Int(0) | Scalar::Bool(false))
            }
            _ => false,
        };
        if zero {
            let dst = self.buf(self.home[&v]).ptr;
            let bytes = self.size(&self.bytes(v));
            self.perform(Stmt::ZeroBytes { dst, bytes });
        }
        zero
    }

    /// Everything that the group reads and writes.
    pub fn group_leaves(&self, g: &Group) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        for m in &g.members {
            leaves.extend(member_leaves(&self.values, g, m));
            if m.store && !self.is_scalar(m.value) && g.kind != GroupKind::Cols {
                let dims = self.sizes_of(m.value);
                leaves.push(Leaf { storage: Some(m.value), ax: identity(dims.len()), dims });
            }
        }
        leaves
    }

    /// Work per element of a group: arithmetic and memory.
    pub fn cost(&self, g: &Group) -> i64 {
        let members = g.members.iter();
        members
            .map(|m| {
                let reads = member_leaves(&self.values, g, m).len() as i64;
                i64::from(tree_cost(&self.values, m.value)) + MEMORY_COST * (reads + i64::from(m.store))
            })
            .sum()
    }

    fn buf_store<'d>(&self, v: ValueId, dims: &'d [Size]) -> BufStore<'d> {
        BufStore { id: self.home[&v], dtype: self.dtype(v), dims }
    }

    /// Computes members at one element: values first, then stores, so that memory may be overwritten in place. Gives the values to reduce.
    pub fn element(&mut self, g: &Group, members: &[&Member], idx: &[Idx]) -> Vec<Operand> {
        let space: Vec<Size> = g.outer.iter().chain(&g.inner).cloned().collect();
        let mut values = Vec::new();
        for m in members {
            let value = match m.part {
                Part::Element | Part::Row => {
                    let o = self.eval_op(m.value, idx);
                    self.code().remember(m.value, idx, o);
                    // by its place too: another member may see it in another shape
                    self.code().remember(m.value, &[flat(idx, &space)], o);
                    o
                }
                Part::Reduce(_) => {
                    let (inst, _) = self.values.graph.inst(m.value).expect("a reduction");
                    self.eval(inst.args[0], idx)
                }
            };
            values.push(value);
        }
        let mut folded = Vec::new();
        for (m, value) in members.iter().zip(values) {
            match m.part {
                Part::Element => {
                    let to = self.buf_store(m.value, &space);
                    self.store(to, idx, value);
                }
                Part::Reduce(_) => folded.push(value),
                Part::Row => {}
            }
        }
        folded
    }

    fn flat(&mut self, g: &Group, leaves: &[Leaf]) {
        let axes: Vec<usize> = (0..g.outer.len()).collect();
        let runs = collapse(&axes, &g.outer, leaves);
        let members: Vec<&Member> = g.members.iter().collect();
        let (rank, cost) = (g.outer.len(), self.cost(g));
        self.look_ahead(g, &members, leaves);
        let mut body = |l: &mut Self, idx: &[Idx]| _ = l.element(g, &members, idx);
        match crossing(&runs, leaves).filter(|_| !self.on_gpu()) {
            Some(across) => self.tiled(&runs, across, rank, cost, &mut body),
            None => self.over("map", &runs, rank, cost, &mut body),
        }
    }

    /// A kernel over all runs: outer ones in parallel, the last one vectorised. `body` gets the index on each of `rank` axes.
    pub fn over(&mut self, kind: &str, runs: &[Run], rank: usize, cost: i64, body: &mut dyn FnMut(&mut Self, &[Idx])) {
        let Some((last, outer)) = runs.split_last() else {
            self.launch(kind, &Size::ONE, Work { elements: Size::ONE, cost }, |l, lo, hi| {
                let head = l.code().begin_loop(lo, hi, LoopKind::Serial);
                body(l, &vec![Idx::ZERO; rank]);
                l.code().end_loop(head, vec![], vec![]);
            });
            return;
        };
        if self.on_gpu() {
            // one step for each element: neighbours go to neighbouring threads
            let all = extents(runs);
            self.launch(kind, &Size::product(&all), Work { elements: Size::ONE, cost }, |l, lo, hi| {
                let head = l.code().begin_loop(lo, hi, LoopKind::Vector);
                let at = l.decompose(head.var.into(), &all);
                let mut idx = vec![Idx::ZERO; rank];
                place_runs(&mut idx, runs, &at);
                body(l, &idx);
                l.code().end_loop(head, vec![], vec![]);
            });
            return;
        }
        if outer.is_empty() {
            self.launch(kind, &last.extent, Work { elements: Size::ONE, cost }, |l, lo, hi| {
                let whole = l.whole_chunks(&last.extent, cost);
                l.line(lo, hi, whole, &mut Vec::new(), &mut |l, at| {
                    let mut idx = vec![Idx::ZERO; rank];
                    place_runs(&mut idx, runs, at);
                    body(l, &idx);
                    vec![]
                });
            });
            return;
        }
        let outer_extents = extents(outer);
        let range = Size::product(&outer_extents);
        self.launch(kind, &range, Work { elements: last.extent.clone(), cost }, |l, lo, hi| {
            let rows = l.code().begin_loop(lo, hi, LoopKind::Serial);
            let mut at = l.decompose(rows.var.into(), &outer_extents);
            let hi = l.outer_size(&last.extent);
            let whole = last.extent.as_const().is_some_and(|n| n % WHOLE_BLOCK == 0);
            l.line(Operand::i64(0), hi, whole, &mut at, &mut |l, at| {
                let mut idx = vec![Idx::ZERO; rank];
                place_runs(&mut idx, runs, at);
                body(l, &idx);
                vec![]
            });
            l.code().end_loop(rows, vec![], vec![]);
        });
    }

    fn fold(&self, m: &Member) -> Option<Fold> {
        match m.part {
            Part::Reduce(op) => Some(Fold { op, dtype: self.dtype(m.value) }),
            Part::Element | Part::Row => None,
        }
    }

    /// Several passes over each row, with the row in cache and its results in registers.
    fn rows(&mut self, g: &Group, leaves: &[Leaf]) {
        let rank = g.outer.len();
        let dims: Vec<Size> = g.outer.iter().chain(&g.inner).cloned().collect();
        let outer = collapse(&(0..rank).collect::<Vec<_>>(), &dims, leaves);
        let inner = collapse(&(rank..dims.len()).collect::<Vec<_>>(), &dims, leaves);
        let outer_extents = extents(&outer);
        let range = Size::product(&outer_extents);
        let work = Work { elements: Size::product(&g.inner), cost: self.cost(g) };
        let inner_extents = extents(&inner);
        self.launch("rows", &range, work, |l, lo, hi| {
            let head = l.code().begin_loop(lo, hi, LoopKind::Serial);
            let at = l.decompose(head.var.into(), &outer_extents);
            let mut row = vec![Idx::ZERO; dims.len()];
            place_runs(&mut row, &outer, &at);
            let stages = g.members.iter().map(|m| m.stage).max().unwrap_or(0);
            for stage in 0..=stages {
                for m in g.members.iter().filter(|m| m.stage == stage && m.part == Part::Row) {
                    let o = l.eval_op(m.value, &row[..rank]);
                    l.finish_row(g, m, &row[..rank], o);
                }
                let pass: Vec<&Member> = g.members.iter().filter(|m| m.stage == stage && m.part != Part::Row).collect();
                if pass.is_empty() {
                    continue;
                }
                let folds: Vec<Fold> = pass.iter().filter_map(|m| l.fold(m)).collect();
                l.look_ahead(g, &pass, leaves);
                let results = l.nest(&inner_extents, &folds, &mut |l, at| {
                    let mut idx = row.clone();
                    place_runs(&mut idx, &inner, at);
                    l.element(g, &pass, &idx)
                });
                let reduced = pass.iter().filter(|m| matches!(m.part, Part::Reduce(_)));
                for (m, o) in reduced.zip(results) {
                    l.finish_row(g, m, &row[..rank], o);
                }
            }
            l.row_regs.clear();
            l.code().end_loop(head, vec![], vec![]);
        });
    }

    /// A value per row is known.
    fn finish_row(&mut self, g: &Group, m: &Member, row: &[Idx], value: Operand) {
        self.row_regs.insert(m.value, value);
        if m.store {
            let to = self.buf_store(m.value, &g.outer);
            self.store(to, row, value);
        }
    }

    /// Reductions to scalars: partial results of fixed chunks, which the host combines in order.
    fn full(&mut self, g: &Group, leaves: &[Leaf]) {
        let runs = collapse(&(0..g.inner.len()).collect::<Vec<_>>(), &g.inner, leaves);
        let members: Vec<&Member> = g.members.iter().collect();
        let folds: Vec<Fold> = members.iter().filter_map(|m| self.fold(m)).collect();
        let reduced: Vec<ValueId> =
            members.iter().filter(|m| matches!(m.part, Part::Reduce(_))).map(|m| m.value).collect();
        let rank = g.inner.len();
        let total = Size::product(&g.inner);
        if total.as_const().is_some_and(|t| t <= 16) && !self.on_gpu() {
            self.host.begin_memo();
            let results = self.nest(&extents(&runs), &folds, &mut |l, at| {
                let mut idx = vec![Idx::ZERO; rank];
                place_runs(&mut idx, &runs, at);
                l.element(g, &members, &idx)
            });
            self.host.end_memo();
            self.scalars.extend(reduced.into_iter().zip(results));
            return;
        }
        let most = if self.on_gpu() { GPU_PARTIALS } else { PARTIALS };
        let partials: Vec<(BufId, Dtype)> = folds
            .iter()
            .map(|f| (self.alloc(&Size::constant(most * f.wide().size() as i64), None), f.wide()))
            .collect();
        // With one run, steps are elements; else they are rows of the last run. One element is a kernel too where memory is the GPU's.
        let one = Run { axes: Vec::new(), extent: Size::ONE };
        let (last, outer) = runs.split_last().unwrap_or((&one, &[]));
        let rows = if outer.is_empty() { last.extent.clone() } else { Size::product(&extents(outer)) };
        let row_len = if outer.is_empty() { Size::ONE } else { last.extent.clone() };
        let steps = self.size(&rows);
        let chunk = self.chunk(&rows, &row_len);
        let rounded = {
            let less = self.host.add(chunk, Operand::i64(-1));
            self.host.add(steps, less)
        };
        let count = self.host.div(rounded, chunk);
        let outer_extents = extents(outer);
        self.look_ahead(g, &members, leaves);
        self.launch_over("total", count, Operand::i64(1), |l, lo, hi| {
            let head = l.code().begin_loop(lo, hi, LoopKind::Serial);
            let (inner_chunk, steps) = (l.outer(chunk), l.outer(steps));
            let start = l.code().mul(head.var.into(), inner_chunk);
            let end = l.code().add(start, inner_chunk);
            let end = l.code().min(end, steps);
            let results = if outer.is_empty() {
                let whole = [chunk.as_i64(), rows.as_const()].iter().all(|n| n.is_some_and(|n| n % WHOLE_BLOCK == 0));
                l.blocked(start, end, whole, &mut Vec::new(), &folds, &mut |l, at| {
                    let mut idx = vec![Idx::ZERO; rank];
                    place_runs(&mut idx, &runs, at);
                    l.element(g, &members, &idx)
                })
            } else {
                let row = l.code().begin_loop(start, end, LoopKind::Serial);
                let outer_at = l.decompose(row.var.into(), &outer_extents);
                let results = l.nest(std::slice::from_ref(&last.extent), &folds, &mut |l, at| {
                    let mut idx = vec![Idx::ZERO; rank];
                    let at: Vec<Idx> = outer_at.iter().chain(at).cloned().collect();
                    place_runs(&mut idx, &runs, &at);
                    l.element(g, &members, &idx)
                });
                let results = folds.iter().zip(results).map(|(f, o)| (o, f.dtype)).collect();
                l.end_fold(row, &folds, results)
            };
            for ((buf, dtype), (o, d)) in partials.iter().zip(results) {
                let value = l.code().convert(d, *dtype, o);
                let to = BufStore { id: *buf, dtype: *dtype, dims: &[Size::constant(most)] };
                l.store(to, &[Idx::reg(head.var)], value);
            }
            l.code().end_loop(head, vec![], vec![]);
        });
        if self.on_gpu() {
            self.finish(&partials, &folds, count);
        }
        for (((buf, dtype), f), v) in partials.iter().zip(&folds).zip(reduced) {
            let ptr = self.buf(*buf).ptr;
            let o = if count.as_i64() == Some(1) || self.on_gpu() {
                self.host.scalar(*dtype, Expr::Load { ptr, dtype: *dtype, index: Index::default() })
            } else {
                let head = self.host.begin_loop(Operand::i64(0), count, LoopKind::Serial);
                let index = Index { offset: 0, terms: vec![Term { reg: head.var, stride: Operand::i64(1) }] };
                let value = self.host.scalar(*dtype, Expr::Load { ptr, dtype: *dtype, index });
                let result = self.host.reg(RegTy::Scalar(*dtype));
                let init = f.identity(*dtype);
                let reduction = Reduction { op: f.op, dtype: *dtype, init, value, result };
                self.host.end_loop(head, vec![], vec![reduction]);
                result.into()
            };
            let o = self.host.convert(*dtype, f.dtype, o);
            self.scalars.insert(v, o);
            self.release(*buf);
        }
    }

    /// Combines `count` partial results in their first element.
    fn finish(&mut self, partials: &[(BufId, Dtype)], folds: &[Fold], count: Operand) {
        if count.as_i64() == Some(1) {
            return;
        }
        self.launch_over("finish", Operand::i64(1), Operand::i64(1), |l, _, _| {
            let count = l.outer(count);
            let head = l.code().begin_loop(Operand::i64(0), count, LoopKind::Vector);
            let ptrs: Vec<Reg> = partials.iter().map(|(buf, _)| l.pointer(*buf, Access::ReadWrite)).collect();
            let mut reductions = Vec::new();
            for ((ptr, (_, dtype)), f) in ptrs.iter().zip(partials).zip(folds) {
                let index = Index { offset: 0, terms: vec![Term { reg: head.var, stride: Operand::i64(1) }] };
                let value = l.code().scalar(*dtype, Expr::Load { ptr: *ptr, dtype: *dtype, index });
                let result = l.code().reg(RegTy::Scalar(*dtype));
                reductions.push(Reduction { op: f.op, dtype: *dtype, init: f.identity(*dtype), value, result });
            }
            let results: Vec<Reg> = reductions.iter().map(|r| r.result).collect();
            l.code().end_loop(head, vec![], reductions);
            for ((ptr, (_, dtype)), result) in ptrs.iter().zip(partials).zip(results) {
                let (ptr, dtype, index) = (*ptr, *dtype, Index::default());
                l.code().push(Stmt::Store { ptr, dtype, index, value: result.into() });
            }
        });
    }

    /// Steps per partial result: at least [`CHUNK`] elements, at most [`PARTIALS`] chunks.
    fn chunk(&mut self, rows: &Size, row_len: &Size) -> Operand {
        let (chunk, partials) = if self.on_gpu() { (GPU_CHUNK, GPU_PARTIALS) } else { (CHUNK, PARTIALS) };
        let len = self.size(row_len);
        let len = self.host.max(len, Operand::i64(1));
        let least = self.host.div(Operand::i64(chunk), len);
        let least = self.host.max(least, Operand::i64(1));
        let rows = self.size(rows);
        let share = self.host.add(rows, Operand::i64(partials - 1));
        let mut share = self.host.div(share, Operand::i64(partials));
        if self.on_gpu() && row_len.is(1) {
            share = self.host.add(share, Operand::i64(GPU_UNIT - 1));
            share = self.host.div(share, Operand::i64(GPU_UNIT));
            share = self.host.mul(share, Operand::i64(GPU_UNIT));
        }
        self.host.max(share, least)
    }
}
