//! What a profile is told of each launch and call: its name and place, and how much it computes and moves.
//!
//! Counted is what has to be done, not how: each operation once for each element that is needed, a product `2 m n k`, each
//! input read once, each output written once. So the rates say how well the code does, whatever it does besides.

use rustc_hash::FxHashSet;
use tdl_ir::{Dtype, ValueId};
use tdl_source::Span;

use crate::ir::*;
use crate::lower::Lower;
use crate::plan::{Group, Part, flops, member_leaves, op_cost};
use crate::size::Size;
use crate::values::{Leaf, Role, identity, mask};

/// What a launch or call does.
#[derive(Clone, Debug)]
pub struct Tally {
    span: Span,
    flops: Operand,
    bytes: Operand,
    dims: Vec<Operand>,
    double: bool,
}

/// A value that is computed for so many elements.
struct Root {
    value: ValueId,
    elements: Size,
    /// Computed here even if it is stored: it is a result.
    own: bool,
    /// Operations per element besides those of its tree.
    extra: i64,
}

const NONE: Operand = Operand::i64(0);
/// Extents that are recorded at most.
const MAX_DIMS: usize = 12;

impl Lower<'_> {
    fn profiles(&self) -> bool {
        self.shared.program.tasks.is_some()
    }

    /// Adds a statement that takes time; a profiled program looks at the clock before and after it.
    pub fn perform(&mut self, s: Stmt) {
        let timed = self.timed(s);
        self.host.blocks.last_mut().expect("a block is open").extend(timed);
    }

    /// A statement with what records its time. Counts of an allocation stand where its size does.
    pub fn timed(&mut self, s: Stmt) -> Vec<Stmt> {
        if !self.profiles() {
            return vec![s];
        }
        let Some((name, kind, tally)) = self.describe(&s) else { return vec![s] };
        let Tally { span, flops, bytes, mut dims, double } = tally;
        dims.truncate(MAX_DIMS);
        let site = self.shared.site(span);
        let tasks = self.shared.program.tasks.get_or_insert_default();
        let task = TaskId(tasks.len() as u32);
        tasks.push(Task { name, kind, site, double });
        let since = self.host.i64();
        vec![Stmt::Tick { dst: since }, s, Stmt::Tock(Box::new(Tock { task, since, flops, bytes, dims }))]
    }

    /// What takes time, and what it does.
    fn describe(&mut self, s: &Stmt) -> Option<(String, TaskKind, Tally)> {
        let one = |name: &str, kind, tally| Some((name.to_owned(), kind, tally));
        match s {
            Stmt::Launch { kernel, .. } => {
                let tally = self.tally.take().unwrap_or_else(|| self.moves(NONE));
                let name = self.shared.program.kernels[kernel.0 as usize].name.clone();
                Some((name, TaskKind::Kernel, tally))
            }
            Stmt::Gemm(g) => one("gemm", TaskKind::Kernel, self.product(g)),
            Stmt::CopyBytes { bytes, .. } => {
                let both = self.host.mul(*bytes, Operand::i64(2));
                one("copy", TaskKind::Kernel, self.moves(both))
            }
            Stmt::ZeroBytes { bytes, .. } => one("clear", TaskKind::Kernel, self.moves(*bytes)),
            Stmt::Alloc { bytes, .. } => one("allocate", TaskKind::Allocation, self.moves(*bytes)),
            Stmt::Free { .. } => one("free", TaskKind::Allocation, self.moves(NONE)),
            Stmt::Print { .. } => one("print", TaskKind::Printing, self.moves(NONE)),
            Stmt::Format { .. } => one("format", TaskKind::Printing, self.moves(NONE)),
            Stmt::Runtime { call, .. } => self.describe_call(call),
            Stmt::Let { .. }
            | Stmt::Store { .. }
            | Stmt::For(_)
            | Stmt::If(_)
            | Stmt::While(_)
            | Stmt::Stream { .. }
            | Stmt::Prefetch { .. }
            | Stmt::Local { .. }
            | Stmt::Shared { .. }
            | Stmt::Barrier(_)
            | Stmt::Device(_)
            | Stmt::Bands(_)
            | Stmt::Need { .. }
            | Stmt::Assert { .. }
            | Stmt::Safepoint
            | Stmt::Tick { .. }
            | Stmt::Tock(_)
            | Stmt::Debug { .. }
            | Stmt::Return { .. } => None,
        }
    }

    fn describe_call(&mut self, call: &RuntimeCall) -> Option<(String, TaskKind, Tally)> {
        let (name, kind, tally) = match call {
            RuntimeCall::Sort { dtype, rows, len, .. } => {
                let count = self.host.mul(*rows, *len);
                let bytes = self.host.mul(count, Operand::i64(2 * dtype.size() as i64 + 8));
                ("sort", TaskKind::Kernel, Tally { dims: vec![*rows, *len], ..self.moves(bytes) })
            }
            RuntimeCall::CountTrue { len, .. } | RuntimeCall::Positions { len, .. } => {
                ("nonzero", TaskKind::Kernel, Tally { dims: vec![*len], ..self.moves(*len) })
            }
            RuntimeCall::Random { dtype, len, .. } => {
                self.tally_draw(*dtype, *len);
                ("random", TaskKind::Kernel, self.tally.take()?)
            }
            RuntimeCall::Windows(w) => ("convolution", TaskKind::Kernel, self.windows_tally(w)),
            RuntimeCall::StackGrow { bytes, .. } => ("keep for backward", TaskKind::Allocation, self.moves(*bytes)),
            RuntimeCall::StackFree { .. } => ("free", TaskKind::Allocation, self.moves(NONE)),
            RuntimeCall::Save { .. } => ("save", TaskKind::Files, self.moves(NONE)),
            RuntimeCall::Load { .. } => ("load", TaskKind::Files, self.moves(NONE)),
            RuntimeCall::Exists { .. } => ("exists", TaskKind::Files, self.moves(NONE)),
            RuntimeCall::Host { func, .. } => (func.def().name, TaskKind::Files, self.moves(NONE)),
            RuntimeCall::StackNew { .. }
            | RuntimeCall::StackContents { .. }
            | RuntimeCall::Clock { .. }
            | RuntimeCall::Progress { .. }
            | RuntimeCall::Segment { .. } => return None,
        };
        Some((name.to_owned(), kind, tally))
    }

    /// Bytes alone.
    fn moves(&self, bytes: Operand) -> Tally {
        Tally { span: self.span, flops: NONE, bytes, dims: Vec::new(), double: false }
    }

    // --- what the next launch does

    /// A group of operations in one kernel.
    pub fn tally_group(&mut self, g: &Group) {
        if !self.profiles() {
            return;
        }
        let space: Vec<Size> = g.outer.iter().chain(&g.inner).cloned().collect();
        let all = Size::product(&space);
        let rows = Size::product(&g.outer);
        let mut roots = Vec::new();
        let mut leaves = Vec::new();
        let mut written = NONE;
        for m in &g.members {
            let Some((inst, _)) = self.values.graph.inst(m.value) else { continue };
            roots.push(match m.part {
                Part::Element => Root { value: m.value, elements: all.clone(), own: true, extra: 0 },
                Part::Row => Root { value: m.value, elements: rows.clone(), own: true, extra: 0 },
                Part::Reduce(_) => Root { value: inst.args[0], elements: all.clone(), own: false, extra: 1 },
            });
            leaves.extend(member_leaves(&self.values, g, m));
            if m.store && m.scratch.is_none() && !self.is_scalar(m.value) {
                let bytes = self.bytes(m.value);
                let bytes = self.size(&bytes);
                written = self.host.add(written, bytes);
            }
        }
        let own = |v: ValueId| g.members.iter().any(|m| m.value == v);
        leaves.retain(|l| !l.storage.is_some_and(own));
        self.tally = Some(self.computing(&roots, &leaves, &space, written));
    }

    /// Values of one shape, written to regions of a tensor or added to what is there. `leaves`: what computing them reads, by
    /// their axes.
    pub fn tally_region(&mut self, values: &[ValueId], leaves: &[Leaf], adds: bool) {
        if !self.profiles() {
            return;
        }
        let space = self.sizes_of(values[0]);
        let bytes = self.bytes(values[0]).scale((1 + i64::from(adds)) * values.len() as i64);
        let written = self.size(&bytes);
        let root =
            |u: &ValueId| Root { value: *u, elements: Size::product(&space), own: false, extra: i64::from(adds) };
        let roots: Vec<Root> = values.iter().map(root).collect();
        self.tally = Some(self.computing(&roots, leaves, &space, written));
    }

    /// An operation that goes along an axis of `x`, one step an element, with the result `r`.
    pub fn tally_along(&mut self, x: ValueId, r: ValueId) {
        if !self.profiles() {
            return;
        }
        let space = self.sizes_of(x);
        let mut leaves = Vec::new();
        self.values.trace(x, identity(space.len()), &mut leaves);
        let bytes = self.bytes(r);
        let written = self.size(&bytes);
        let root = Root { value: x, elements: Size::product(&space), own: false, extra: 1 };
        self.tally = Some(self.computing(&[root], &leaves, &space, written));
    }

    /// Random numbers: their arithmetic is not counted.
    pub fn tally_draw(&mut self, dtype: Dtype, len: Operand) {
        if self.profiles() {
            let bytes = self.host.mul(len, Operand::i64(dtype.size() as i64));
            self.tally = Some(Tally { dims: vec![len], ..self.moves(bytes) });
        }
    }

    /// Results of parts that are put together: so many numbers of so many bytes.
    pub fn tally_parts(&mut self, count: Operand, size: usize) {
        if self.profiles() {
            let bytes = self.host.mul(count, Operand::i64(size as i64));
            self.tally = Some(Tally { flops: count, ..self.moves(bytes) });
        }
    }

    /// A product that is a kernel.
    pub fn tally_product(&mut self, g: &Gemm) {
        if self.profiles() {
            self.tally = Some(self.product(g));
        }
    }

    /// Attention, or a part of its derivative: so many products of every pair of a query and a key. Scores that are masked count too.
    pub fn tally_attention(&mut self, batch: &[Operand], [n, m, d, e]: [Operand; 4], products: i64, dtype: Dtype) {
        if !self.profiles() {
            return;
        }
        let width = self.host.add(d, e);
        let (down, across) = (self.host.add(n, m), self.host.mul(n, m));
        let mut bytes = self.host.mul(down, width);
        let mut flops = self.host.mul(across, width);
        for x in batch {
            bytes = self.host.mul(bytes, *x);
            flops = self.host.mul(flops, *x);
        }
        let bytes = self.host.mul(bytes, Operand::i64(dtype.size() as i64));
        let flops = self.host.mul(flops, Operand::i64(products));
        let dims = batch.iter().copied().chain([n, m, d, e]).collect();
        self.tally = Some(Tally { flops, dims, ..self.moves(bytes) });
    }

    fn product(&mut self, g: &Gemm) -> Tally {
        let mut flops = Operand::i64(2);
        for x in [g.m, g.n, g.k].iter().chain(&g.batch) {
            flops = self.host.mul(flops, *x);
        }
        let mut bytes = NONE;
        for (matrix, [rows, cols], times) in
            [(&g.a, [g.m, g.k], 1), (&g.b, [g.k, g.n], 1), (&g.c, [g.m, g.n], 1 + i64::from(g.accumulate))]
        {
            let mut all = self.host.mul(rows, cols);
            for (extent, stride) in g.batch.iter().zip(&matrix.batch_strides) {
                // the same matrix for the whole axis is read once
                if stride.as_i64() != Some(0) {
                    all = self.host.mul(all, *extent);
                }
            }
            let all = self.host.mul(all, Operand::i64(times * g.dtype.size() as i64));
            bytes = self.host.add(bytes, all);
        }
        let dims = g.batch.iter().copied().chain([g.m, g.n, g.k]).collect();
        Tally { flops, dims, double: g.dtype == Dtype::F64, ..self.moves(bytes) }
    }

    /// Every tap of every window counts, those that lie outside too.
    fn windows_tally(&mut self, w: &Windows) -> Tally {
        let [n, g, c, o] = w.counts;
        let mut flops = Operand::i64(2);
        let mut dims = vec![n];
        let (mut x, mut weights, mut y) = (n, g, n);
        for s in w.steps.iter().filter(|s| s.whole.as_i64() != Some(1)) {
            dims.push(s.place);
            x = self.host.mul(x, s.whole);
            y = self.host.mul(y, s.place);
        }
        for s in w.steps.iter().filter(|s| s.whole.as_i64() != Some(1)) {
            dims.push(s.tap);
            weights = self.host.mul(weights, s.tap);
            flops = self.host.mul(flops, s.tap);
        }
        dims.extend([g, c, o]);
        for extent in [g, c] {
            x = self.host.mul(x, extent);
        }
        for extent in [c, o] {
            weights = self.host.mul(weights, extent);
        }
        for extent in [g, o] {
            y = self.host.mul(y, extent);
        }
        for extent in [y, c] {
            flops = self.host.mul(flops, extent);
        }
        let bytes = self.host.add(x, weights);
        let bytes = self.host.add(bytes, y);
        let bytes = self.host.mul(bytes, Operand::i64(w.dtype.size() as i64));
        Tally { flops, dims, double: w.dtype == Dtype::F64, ..self.moves(bytes) }
    }

    // --- counting

    fn computing(&mut self, roots: &[Root], leaves: &[Leaf], space: &[Size], written: Operand) -> Tally {
        let (flops, span) = self.arithmetic(roots);
        let read = self.reads(leaves, space);
        let bytes = self.host.add(read, written);
        let double = roots.iter().any(|r| self.dtype(r.value) == Dtype::F64);
        let dims = space.iter().map(|s| self.size(s)).collect();
        Tally { span, flops, bytes, dims, double }
    }

    /// Operations of some trees, each value once, and where the heaviest one is written.
    fn arithmetic(&mut self, roots: &[Root]) -> (Operand, Span) {
        let mut seen = FxHashSet::default();
        // elements that a value has, that are needed; operations on each
        let mut counts: Vec<(Size, Size, i64)> = Vec::new();
        let mut add = |own: Size, needed: &Size, n: i64| match counts.iter_mut().find(|c| c.0 == own && c.1 == *needed)
        {
            Some(c) => c.2 += n,
            None => counts.push((own, needed.clone(), n)),
        };
        let mut main = (0, self.span);
        for root in roots {
            if root.extra > 0 {
                add(root.elements.clone(), &root.elements, root.extra);
            }
            let mut todo = vec![root.value];
            while let Some(v) = todo.pop() {
                let Some((inst, _)) = self.values.graph.inst(v) else { continue };
                let here = self.values.role(v) == Role::Virtual || root.own && v == root.value;
                if !here || !seen.insert(v) {
                    continue;
                }
                let n = flops(&inst.op);
                if n > 0 {
                    add(Size::product(&self.values.sizes(v)), &root.elements, i64::from(n));
                }
                let weight = op_cost(&inst.op) + 1;
                if weight > main.0 {
                    main = (weight, inst.span);
                }
                todo.extend(inst.args.iter().rev());
            }
        }
        let mut total = NONE;
        for (own, needed, n) in counts {
            let elements = self.least(&own, &needed);
            let all = self.host.mul(elements, Operand::i64(n));
            total = self.host.add(total, all);
        }
        (total, main.1)
    }

    /// Bytes that are read of tensors in memory, each element once. `space`: the extents that the leaves' axes have.
    fn reads(&mut self, leaves: &[Leaf], space: &[Size]) -> Operand {
        let mut total = NONE;
        let mut done: Vec<ValueId> = Vec::new();
        for storage in leaves.iter().filter_map(|l| l.storage) {
            if done.contains(&storage) {
                continue;
            }
            done.push(storage);
            let mut ways: Vec<&Leaf> = Vec::new();
            for l in leaves.iter().filter(|l| l.storage == Some(storage)) {
                if !ways.iter().any(|w| w.ax == l.ax && w.dims == l.dims) {
                    ways.push(l);
                }
            }
            let touched: Vec<Size> = ways
                .iter()
                .map(|l| {
                    let axes = l.ax.iter().map(mask).fold(0, |a, b| a | b);
                    Size::product(space.iter().enumerate().filter(|(i, _)| axes >> i & 1 == 1).map(|(_, s)| s))
                })
                .collect();
            let whole = Size::product(&self.sizes_of(storage));
            let elements = match touched.as_slice() {
                [one] => self.least(one, &whole),
                many => {
                    let mut sum = NONE;
                    for t in many {
                        let t = self.size(t);
                        sum = self.host.add(sum, t);
                    }
                    let whole = self.size(&whole);
                    self.host.min(sum, whole)
                }
            };
            let bytes = self.host.mul(elements, Operand::i64(self.dtype(storage).size() as i64));
            total = self.host.add(total, bytes);
        }
        total
    }

    fn least(&mut self, a: &Size, b: &Size) -> Operand {
        let x = self.size(a);
        if a == b {
            return x;
        }
        let y = self.size(b);
        self.host.min(x, y)
    }
}
