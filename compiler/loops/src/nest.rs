//! Loop nests: which axes run as one, and loops with reductions in a fixed, accurate order.

use tdl_ir::{Dtype, ReduceOp, Scalar};

use crate::code::Idx;
use crate::ir::*;
use crate::lower::Lower;
use crate::size::Size;
use crate::values::{Ax, Leaf};

/// Axes that run as one loop, in order.
#[derive(Clone, Debug)]
pub struct Run {
    pub axes: Vec<usize>,
    pub extent: Size,
}

/// Merges neighbouring `axes` of a space wherever all reads and writes see them as one contiguous axis. Axes of extent 1 vanish.
pub fn collapse(axes: &[usize], dims: &[Size], leaves: &[Leaf]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for &a in axes {
        if dims[a].is(1) {
            continue;
        }
        if let Some(run) = runs.last_mut() {
            let k = *run.axes.last().expect("a run has axes");
            if leaves.iter().all(|l| mergeable(l, k, a, &dims[a])) {
                run.axes.push(a);
                run.extent = run.extent.mul(&dims[a]);
                continue;
            }
        }
        runs.push(Run { axes: vec![a], extent: dims[a].clone() });
    }
    runs
}

fn touches(ax: &Ax, i: usize) -> bool {
    match ax {
        Ax::Zero => false,
        Ax::Axis(a) => *a == i,
        Ax::Shift { axis, .. } => *axis == Some(i),
        Ax::Mixed(m) => m & (1 << i) != 0,
    }
}

fn mergeable(leaf: &Leaf, k: usize, l: usize, extent: &Size) -> bool {
    let at = |i: usize| -> Vec<usize> { (0..leaf.ax.len()).filter(|p| touches(&leaf.ax[*p], i)).collect() };
    match (at(k).as_slice(), at(l).as_slice()) {
        ([], []) => true,
        ([p], [q]) => {
            let first = match leaf.ax[*p] {
                Ax::Axis(_) => true,
                Ax::Shift { step, .. } => step == 1,
                Ax::Zero | Ax::Mixed(_) => false,
            };
            first
                && p < q
                && leaf.ax[*q] == Ax::Axis(l)
                && leaf.dims[*q] == *extent
                && leaf.dims[p + 1..*q].iter().all(|d| d.is(1))
        }
        _ => false,
    }
}

/// Sets the index of each run's last axis; the run's other axes stay 0.
pub fn place_runs(idx: &mut [Idx], runs: &[Run], at: &[Idx]) {
    for (run, i) in runs.iter().zip(at) {
        idx[*run.axes.last().expect("a run has axes")] = i.clone();
    }
}

pub fn extents(runs: &[Run]) -> Vec<Size> {
    runs.iter().map(|r| r.extent.clone()).collect()
}

/// A reduction that a nest computes; `dtype` is that of the values.
#[derive(Clone, Copy, Debug)]
pub struct Fold {
    pub op: ReduceOp,
    pub dtype: Dtype,
}

impl Fold {
    /// In which dtype values are combined within a block.
    pub fn narrow(&self) -> Dtype {
        match (self.op, self.dtype) {
            (ReduceOp::Sum | ReduceOp::Prod, Dtype::F16 | Dtype::Bf16) => Dtype::F32,
            (_, d) => d,
        }
    }

    /// In which dtype blocks are combined.
    pub fn wide(&self) -> Dtype {
        match self.op {
            ReduceOp::Sum | ReduceOp::Prod if self.dtype.is_float() => Dtype::F64,
            _ => self.dtype,
        }
    }

    pub fn identity(&self, dtype: Dtype) -> Operand {
        identity(self.op, dtype)
    }
}

/// What a reduction of nothing gives.
pub fn identity(op: ReduceOp, dtype: Dtype) -> Operand {
    let limits = |max: bool| -> i64 {
        match (dtype, max) {
            (Dtype::I8, true) => i64::from(i8::MAX),
            (Dtype::I8, false) => i64::from(i8::MIN),
            (Dtype::I16, true) => i64::from(i16::MAX),
            (Dtype::I16, false) => i64::from(i16::MIN),
            (Dtype::I32, true) => i64::from(i32::MAX),
            (Dtype::I32, false) => i64::from(i32::MIN),
            (Dtype::U8, true) => i64::from(u8::MAX),
            (Dtype::U32, true) => i64::from(u32::MAX),
            (Dtype::U64, true) => -1,
            (Dtype::U8 | Dtype::U32 | Dtype::U64, false) => 0,
            (_, true) => i64::MAX,
            (_, false) => i64::MIN,
        }
    };
    let number = |x: f64, i: i64| match dtype {
        d if d.is_float() => Operand::Const(Scalar::float(x), d),
        Dtype::Bool => Operand::bool(i > 0),
        d => Operand::Const(Scalar::Int(i), d),
    };
    match op {
        ReduceOp::Sum => number(0.0, 0),
        ReduceOp::Prod => number(1.0, 1),
        ReduceOp::Max => number(f64::NEG_INFINITY, limits(false)),
        ReduceOp::Min => number(f64::INFINITY, limits(true)),
        ReduceOp::Any => Operand::bool(false),
        ReduceOp::All => Operand::bool(true),
    }
}

/// Elements that are added up in vector lanes before the sum moves to a wider accumulator.
pub const BLOCK: i64 = 1024;

/// On a GPU each of a block's threads adds up as much of this as it takes at a time, and the rest in the wider accumulator.
const GPU_BLOCK: i64 = 8 * BLOCK;

/// Elements that are written past the caches, or read ahead, at a time: few, so that memory has no rest.
pub const STREAM_BLOCK: i64 = 256;

/// The same where whole blocks alone occur: the loop over one is unrolled, so that it may be small.
pub const WHOLE_BLOCK: i64 = 64;

/// Is a loop over so many elements a block itself?
fn one_block(n: i64) -> bool {
    n <= WHOLE_BLOCK || n <= STREAM_BLOCK && n % WHOLE_BLOCK != 0
}

/// The innermost work: gets the indices of all runs and gives the values to reduce.
pub type Inner<'f, 'l> = &'f mut dyn FnMut(&mut Lower<'l>, &[Idx]) -> Vec<Operand>;

impl<'l> Lower<'l> {
    /// Vector loops are for kernels; the few elements that host code computes go one by one.
    pub fn vector(&self) -> LoopKind {
        if self.kernel.is_some() { LoopKind::Vector } else { LoopKind::Serial }
    }

    /// Loops over `extents`, the last one vectorised, and folds what `inner` gives. Results have the folds' dtypes.
    pub fn nest(&mut self, extents: &[Size], folds: &[Fold], inner: Inner<'_, 'l>) -> Vec<Operand> {
        let results = self.level(extents, &mut Vec::new(), folds, inner);
        self.narrow(folds, results)
    }

    fn narrow(&mut self, folds: &[Fold], results: Vec<(Operand, Dtype)>) -> Vec<Operand> {
        let folds = folds.iter().zip(results);
        folds.map(|(f, (o, d))| self.code().convert(d, f.dtype, o)).collect()
    }

    fn level(
        &mut self,
        extents: &[Size],
        at: &mut Vec<Idx>,
        folds: &[Fold],
        inner: Inner<'_, 'l>,
    ) -> Vec<(Operand, Dtype)> {
        match extents {
            [] => {
                let values = inner(self, at);
                folds.iter().zip(values).map(|(f, v)| (v, f.dtype)).collect()
            }
            [last] => {
                let hi = self.outer_size(last);
                let block = self.fold_block();
                let sums = folds.iter().any(|f| f.wide() != f.narrow());
                let limit = if !self.ahead.is_empty() && !last.as_const().is_some_and(one_block) {
                    WHOLE_BLOCK
                } else if !self.streams.is_empty() {
                    block
                } else if sums {
                    2 * block
                } else {
                    i64::MAX
                };
                if limit < i64::MAX && last.as_const().is_none_or(|n| n > limit) {
                    let whole = last.as_const().is_some_and(|n| n % WHOLE_BLOCK == 0);
                    self.blocked(Operand::i64(0), hi, whole, at, folds, inner)
                } else {
                    self.lanes(Operand::i64(0), hi, at, folds, inner)
                }
            }
            [first, rest @ ..] => {
                let hi = self.outer_size(first);
                let head = self.code().begin_loop(Operand::i64(0), hi, LoopKind::Serial);
                at.push(Idx::reg(head.var));
                let values = self.level(rest, at, folds, inner);
                at.pop();
                self.end_fold(head, folds, values)
            }
        }
    }

    /// Closes a serial loop that folds `values` in the wide dtype.
    pub fn end_fold(
        &mut self,
        head: crate::code::LoopHead,
        folds: &[Fold],
        values: Vec<(Operand, Dtype)>,
    ) -> Vec<(Operand, Dtype)> {
        let mut reductions = Vec::new();
        for (f, (v, d)) in folds.iter().zip(values) {
            let dtype = f.wide();
            let value = self.code().convert(d, dtype, v);
            let result = self.code().reg(RegTy::Scalar(dtype));
            reductions.push(Reduction { op: f.op, dtype, init: f.identity(dtype), value, result });
        }
        let results = reductions.iter().map(|r| (r.result.into(), r.dtype)).collect();
        self.code().end_loop(head, vec![], reductions);
        results
    }

    /// One vector loop that reduces nothing, in blocks if its results are written past the caches.
    pub fn line(&mut self, lo: Operand, hi: Operand, whole: bool, at: &mut Vec<Idx>, inner: Inner<'_, 'l>) {
        let short = matches!((lo.as_i64(), hi.as_i64()), (Some(0), Some(n)) if one_block(n));
        if short || self.streams.is_empty() && self.ahead.is_empty() {
            self.lanes(lo, hi, at, &[], inner);
        } else {
            self.blocked(lo, hi, whole, at, &[], inner);
        }
    }

    /// `lo..hi` in vector loops of at most [`BLOCK`] elements, whose results are folded in the wide dtype. `whole`: both are
    /// multiples of [`WHOLE_BLOCK`].
    pub fn blocked(
        &mut self,
        lo: Operand,
        hi: Operand,
        whole: bool,
        at: &mut Vec<Idx>,
        folds: &[Fold],
        inner: Inner<'_, 'l>,
    ) -> Vec<(Operand, Dtype)> {
        let var = self.code().i64();
        self.code().begin();
        let small = folds.is_empty() || !self.ahead.is_empty();
        let step = match (small, whole) {
            (true, true) => WHOLE_BLOCK,
            (true, false) => STREAM_BLOCK,
            (false, _) => self.fold_block(),
        };
        let mut end = self.code().add(var.into(), Operand::i64(step));
        if step != WHOLE_BLOCK {
            end = self.code().min(end, hi);
        }
        self.step = step;
        let values = self.lanes(var.into(), end, at, folds, inner);
        let head = crate::code::LoopHead { var, lo, hi, kind: LoopKind::Serial };
        let results = self.end_fold(head, folds, values);
        let block = self.code().blocks.last_mut().expect("a block is open");
        if let Some(Stmt::For(l)) = block.last_mut() {
            l.step = Operand::i64(step);
        }
        results
    }

    /// Elements that are added up before the sum moves to a wider accumulator.
    fn fold_block(&self) -> i64 {
        if self.on_gpu() { GPU_BLOCK } else { BLOCK }
    }

    /// One vector loop.
    pub fn lanes(
        &mut self,
        lo: Operand,
        hi: Operand,
        at: &mut Vec<Idx>,
        folds: &[Fold],
        inner: Inner<'_, 'l>,
    ) -> Vec<(Operand, Dtype)> {
        let kind = self.vector();
        let head = self.code().begin_loop(lo, hi, kind);
        self.enter_streams(head.var, lo);
        at.push(Idx::reg(head.var));
        let values = inner(self, at);
        at.pop();
        let mut reductions = Vec::new();
        for (f, v) in folds.iter().zip(values) {
            let dtype = f.narrow();
            let value = self.code().convert(f.dtype, dtype, v);
            let result = self.code().reg(RegTy::Scalar(dtype));
            reductions.push(Reduction { op: f.op, dtype, init: f.identity(dtype), value, result });
        }
        let results = reductions.iter().map(|r| (r.result.into(), r.dtype)).collect();
        let var = head.var;
        self.code().end_loop(head, vec![], reductions);
        self.fetch_ahead(var, lo);
        self.leave_streams(hi);
        results
    }

    /// The indices of a position in row-major order over `extents`.
    pub fn decompose(&mut self, position: Operand, extents: &[Size]) -> Vec<Idx> {
        let mut rest = position;
        let mut idx = vec![Idx::ZERO; extents.len()];
        for k in (0..extents.len()).rev() {
            if k == 0 {
                idx[0] = Idx::operand(rest);
            } else {
                let d = self.outer_size(&extents[k]);
                let at = self.code().rem(rest, d);
                idx[k] = Idx::operand(at);
                rest = self.code().div(rest, d);
            }
        }
        idx
    }
}
