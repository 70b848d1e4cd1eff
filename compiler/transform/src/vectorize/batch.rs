//! Instructions with the loop as a first axis.

use rustc_hash::FxHashMap;
use tdl_ir::{BinaryOp, Block, Builder, Dim, Dtype, Function, Inst, Op, ReduceOp, Type, UnaryOp, ValueId};

use crate::batch::rules::{self, MOST_IN_VAIN, with_axis, with_label};
use crate::clone::{self, Map};

/// What a value of the loop's body is for all iterations at once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lifted {
    /// The same in each.
    Same(ValueId),
    /// Row `i` belongs to iteration `i`.
    Each(ValueId),
    /// An `i64` scalar: `base + stride * i`.
    Affine { base: ValueId, stride: i64 },
}

pub(super) struct Batch<'a> {
    pub b: &'a mut Builder,
    pub from: &'a Function,
    /// Number of iterations.
    pub n: Dim,
    outer: &'a Map,
    masks: bool,
    inner: FxHashMap<ValueId, Lifted>,
}

/// The rows of all iterations, as tensors with the loop in front. None: they cannot be had without the loop; what has been
/// emitted until then is to be thrown away.
pub(super) fn rows(
    b: &mut Builder,
    from: &Function,
    region: &Block,
    n: Dim,
    outer: &Map,
    rows: &[ValueId],
    masks: bool,
) -> Option<Vec<ValueId>> {
    let zero = b.const_i64(0);
    let mut x = Batch { b, from, n, outer, masks, inner: FxHashMap::default() };
    x.inner.insert(region.params[0], Lifted::Affine { base: zero, stride: 1 });
    let writes = |i: &&Inst| i.results.first().is_some_and(|r| region.results.contains(r));
    for i in region.insts.iter().filter(|i| !writes(i)) {
        x.inst(i)?;
    }
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        let v = x.lift(*row);
        // an update writes rows of extent 1
        let dims = x.b.dims(v);
        let dims: Vec<Dim> = dims[..1].iter().chain(&dims[2..]).copied().collect();
        out.push(x.b.reshape(v, &dims));
    }
    Some(out)
}

impl Batch<'_> {
    pub fn get(&self, v: ValueId) -> Lifted {
        self.inner.get(&v).copied().unwrap_or(Lifted::Same(self.outer.get(v)))
    }

    /// The value, if it is the same in each iteration.
    pub fn same(&self, v: ValueId) -> Option<ValueId> {
        match self.get(v) {
            Lifted::Same(v) => Some(v),
            Lifted::Each(_) | Lifted::Affine { .. } => None,
        }
    }

    /// With the loop as the first axis.
    pub fn lift(&mut self, v: ValueId) -> ValueId {
        match self.get(v) {
            Lifted::Each(v) => v,
            Lifted::Same(v) => {
                let dims = self.front(&self.b.dims(v));
                self.b.expand(v, vec![0], &dims)
            }
            Lifted::Affine { base, stride } => {
                let mut x = self.iota(self.n);
                if stride != 1 {
                    let s = self.b.const_i64(stride);
                    let s = self.b.splat(s, &[self.n]);
                    x = self.b.mul(x, s);
                }
                if self.b.as_i64(base) != Some(0) {
                    let base = self.b.splat(base, &[self.n]);
                    x = self.b.add(x, base);
                }
                x
            }
        }
    }

    pub fn iota(&mut self, n: Dim) -> ValueId {
        self.b.inst1(Op::Iota, Vec::new(), Type::tensor(Dtype::I64, [n]))
    }

    pub fn front(&self, dims: &[Dim]) -> Vec<Dim> {
        std::iter::once(self.n).chain(dims.iter().copied()).collect()
    }

    /// A type as it is in each iteration; none if its extents differ.
    pub fn ty(&self, v: ValueId) -> Option<Type> {
        let ty = self.from.ty(v);
        for d in ty.dims() {
            if let Dim::Val(d) = d {
                self.same(*d)?;
            }
        }
        Some(ty.map_dims(|d| match d {
            Dim::Const(_) => d,
            Dim::Val(v) => self.same(v).map_or(d, |v| self.b.dim(v)),
        }))
    }

    /// The type with the loop in front.
    fn lifted_ty(&self, v: ValueId) -> Option<Type> {
        let ty = self.ty(v)?;
        Some(Type::tensor(ty.dtype()?, self.front(ty.dims())))
    }

    pub fn set(&mut self, old: ValueId, new: Lifted) {
        if let Lifted::Same(v) | Lifted::Each(v) = new {
            self.b.copy_name(self.from.value(old), v);
        }
        self.inner.insert(old, new);
    }

    /// Whether everything an instruction needs is the same in each iteration.
    fn is_invariant(&self, i: &Inst) -> bool {
        let mut same = true;
        i.visit_uses(&mut |v| same &= self.same(v).is_some());
        same && i.results.iter().all(|r| {
            self.from.ty(*r).dims().iter().all(|d| match d {
                Dim::Const(_) => true,
                Dim::Val(v) => i.results.contains(v) || self.same(*v).is_some(),
            })
        })
    }

    pub fn inst(&mut self, i: &Inst) -> Option<()> {
        self.b.span = i.span;
        if self.is_invariant(i) {
            // what happens once in each iteration would happen once
            let mut effects = false;
            let mut check = |i: &Inst| effects |= i.op.has_effect() && !matches!(i.op, Op::Assert { .. });
            check(i);
            i.regions.iter().for_each(|r| r.visit_insts(&mut |i| check(i)));
            if effects || matches!(i.op, Op::Call { .. } | Op::Vjp { .. } | Op::Jvp { .. } | Op::Vmap { .. }) {
                return None;
            }
            let mut map = self.outer.clone();
            for (old, new) in &self.inner {
                if let Lifted::Same(v) = new {
                    map.set(*old, *v);
                }
            }
            clone::inst(self.b, self.from, i, &mut map);
            for r in &i.results {
                self.inner.insert(*r, Lifted::Same(map.get(*r)));
            }
            return Some(());
        }
        match &i.op {
            Op::Binary(op) if self.affine(*op, i).is_some() => Some(()),
            Op::Slice { steps } => self.slice(i, steps),
            Op::Gather => self.gather(i),
            Op::Contract { .. } | Op::Window { .. } => self.product(i),
            Op::Assert { .. } => self.assert(i),
            Op::If => self.choose(i),
            Op::For => self.counted(i),
            Op::UpdateSlice { .. } => {
                let mut args = vec![self.lift(i.args[0]), self.lift(i.args[1]), self.b.const_i64(0)];
                for s in &i.args[2..] {
                    args.push(self.same(*s)?);
                }
                self.emit(i, with_axis(&i.op)?, args)
            }
            Op::Attention | Op::AttentionGrad => {
                let (reach, tensors) = i.args.split_last()?;
                let mut args: Vec<ValueId> = tensors.iter().map(|x| self.lift(*x)).collect();
                args.push(self.same(*reach)?);
                self.emit(i, i.op.clone(), args)
            }
            Op::Shear { .. } => {
                let mut args = vec![self.lift(i.args[0])];
                for s in &i.args[1..] {
                    args.push(self.same(*s)?);
                }
                self.emit(i, with_axis(&i.op)?, args)
            }
            op => {
                let op = with_axis(op)?;
                let args = i.args.iter().map(|a| self.lift(*a)).collect();
                self.emit(i, op, args)
            }
        }
    }

    /// Emits an op on lifted operands; its results get the loop in front.
    fn emit(&mut self, i: &Inst, op: Op, args: Vec<ValueId>) -> Option<()> {
        let types = i.results.iter().map(|r| self.lifted_ty(*r)).collect::<Option<Vec<_>>>()?;
        let results = self.b.inst(op, args, types, Vec::new());
        for (old, new) in i.results.iter().zip(results) {
            self.set(*old, Lifted::Each(new));
        }
        Some(())
    }

    /// Arithmetic on indices stays arithmetic on indices.
    fn affine(&mut self, op: BinaryOp, i: &Inst) -> Option<()> {
        let ty = self.from.ty(i.results[0]);
        if !ty.is_scalar() || ty.dtype() != Some(Dtype::I64) {
            return None;
        }
        let part = |v: Lifted| match v {
            Lifted::Same(v) => Some((v, 0)),
            Lifted::Affine { base, stride } => Some((base, stride)),
            Lifted::Each(_) => None,
        };
        let ((x, s), (y, t)) = (part(self.get(i.args[0]))?, part(self.get(i.args[1]))?);
        let stride = match op {
            BinaryOp::Add => s.checked_add(t)?,
            BinaryOp::Sub => s.checked_sub(t)?,
            BinaryOp::Mul => match (self.b.as_i64(x), self.b.as_i64(y)) {
                (_, Some(c)) if t == 0 => s.checked_mul(c)?,
                (Some(c), _) if s == 0 => t.checked_mul(c)?,
                (_, _) => return None,
            },
            _ => return None,
        };
        let base = self.b.size_binary(op, x, y);
        let new = if stride == 0 { Lifted::Same(base) } else { Lifted::Affine { base, stride } };
        self.inner.insert(i.results[0], new);
        Some(())
    }

    fn product(&mut self, i: &Inst) -> Option<()> {
        let has = [0, 1].map(|k| self.same(i.args[k]).is_none());
        let mut args: Vec<ValueId> =
            i.args[..2].iter().map(|v| self.same(*v).unwrap_or_else(|| self.lift(*v))).collect();
        for s in &i.args[2..] {
            args.push(self.same(*s)?);
        }
        self.emit(i, with_label(&i.op, has)?, args)
    }

    /// All iterations are checked at once; the message is that of the first that fails.
    fn assert(&mut self, i: &Inst) -> Option<()> {
        if i.args[1..].iter().any(|v| self.from.ty(*v).dtype().is_none()) {
            return None;
        }
        let ok = self.lift(i.args[0]);
        let all = self.b.reduce(ReduceOp::All, ok, vec![0]);
        let values: Vec<ValueId> = i.args[1..].iter().map(|v| self.lift(*v)).collect();
        let then = self.b.region(|_| Vec::new());
        self.b.begin_region();
        let wrong = self.b.unary(UnaryOp::Not, ok);
        let wrong = self.b.convert(wrong, Dtype::I64);
        let first = self.b.inst1(Op::ArgReduce { max: true, axis: 0 }, vec![wrong], Type::scalar(Dtype::I64));
        let mut args = vec![self.b.index0(ok, first)];
        for v in values {
            args.push(self.b.index0(v, first));
        }
        self.b.inst(i.op.clone(), args, Vec::new(), Vec::new());
        let els = self.b.end_region(Vec::new());
        self.b.inst(Op::If, vec![all], Vec::new(), vec![then, els]);
        Some(())
    }

    /// A condition that is the same in each iteration chooses for all; any other one by elements, where both ways are harmless.
    fn choose(&mut self, i: &Inst) -> Option<()> {
        let types = i.results.iter().map(|r| self.lifted_ty(*r)).collect::<Option<Vec<_>>>()?;
        if let Some(cond) = self.same(i.args[0]) {
            let mut regions = Vec::new();
            for r in &i.regions {
                regions.push(self.region(r, |_| Some(()))?);
            }
            let results = self.b.inst(Op::If, vec![cond], types, regions);
            for (old, new) in i.results.iter().zip(results) {
                self.set(*old, Lifted::Each(new));
            }
            return Some(());
        }
        if !self.masks || !i.regions.iter().all(harmless) {
            return None;
        }
        let cond = self.lift(i.args[0]);
        for r in &i.regions {
            r.insts.iter().try_for_each(|i| self.inst(i))?;
        }
        for (k, ty) in types.iter().enumerate() {
            let (x, y) = (self.lift(i.regions[0].results[k]), self.lift(i.regions[1].results[k]));
            let wide = self.b.expand(cond, (1..ty.rank()).collect(), ty.dims());
            let v = self.b.select(wide, x, y);
            self.set(i.results[k], Lifted::Each(v));
        }
        Some(())
    }

    /// A loop inside, whose iterations depend on each other, runs once for all.
    fn counted(&mut self, i: &Inst) -> Option<()> {
        let n = self.same(i.args[0])?;
        let types = i.results.iter().map(|r| self.lifted_ty(*r)).collect::<Option<Vec<_>>>()?;
        let mut args = vec![n];
        args.extend(i.args[1..].iter().map(|v| self.lift(*v)).collect::<Vec<_>>());
        let region = &i.regions[0];
        let region = self.region(region, |x| {
            let (index, carried) = region.params.split_first()?;
            let p = x.b.param(Type::scalar(Dtype::I64));
            x.set(*index, Lifted::Same(p));
            for (old, ty) in carried.iter().zip(&types) {
                let p = x.b.param(ty.clone());
                x.set(*old, Lifted::Each(p));
            }
            Some(())
        })?;
        let results = self.b.inst(Op::For, args, types, vec![region]);
        for (old, new) in i.results.iter().zip(results) {
            self.set(*old, Lifted::Each(new));
        }
        Some(())
    }

    /// A region with lifted results; `enter` makes its parameters.
    fn region(&mut self, r: &Block, enter: impl FnOnce(&mut Self) -> Option<()>) -> Option<Block> {
        self.b.begin_region();
        let done = enter(self).and_then(|()| r.insts.iter().try_for_each(|i| self.inst(i)));
        let results = if done.is_some() { r.results.iter().map(|v| self.lift(*v)).collect() } else { Vec::new() };
        let block = self.b.end_region(results);
        done.map(|()| block)
    }
}

/// May run although its result is not used. What it reads at an index is checked before, or proved.
fn harmless(block: &Block) -> bool {
    block.insts.len() <= MOST_IN_VAIN
        && block.insts.iter().all(|i| match &i.op {
            Op::Slice { .. } | Op::Gather => true,
            op => rules::harmless(op) && i.regions.iter().all(harmless),
        })
}
