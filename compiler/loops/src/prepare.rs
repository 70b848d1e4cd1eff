//! Rewrites a function into the subset that the planner knows: no calls, reductions and sorts over trailing axes where
//! memory order asks for it, products that `gemm` can't do well spelt as multiply and sum.

use rustc_hash::FxHashMap;
use tdl_ir::{Block, Builder, Dim, Dtype, Function, Inst, Module, Op, ReduceOp, Type, ValueId, attention};

use crate::ir::Target;

/// `func` with every call inlined and its operations normalised.
pub fn prepare(module: &Module, func: &Function, target: Target) -> Function {
    let mut spells = false;
    for f in module.funcs.iter().chain([func]) {
        f.body.visit_insts(&mut |i| spells |= attends(&i.op));
    }
    if spells {
        let spelt = copy(module, func, target, true);
        return copy(module, &spelt, target, false);
    }
    copy(module, func, target, false)
}

fn attends(op: &Op) -> bool {
    matches!(op, Op::Attention | Op::AttentionGrad)
}

/// Is there no kernel for attention in this dtype?
fn is_spelt(target: Target, dtype: Dtype) -> bool {
    target == Target::Cpu || !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16)
}

/// Once to spell out what has no kernel, once to normalise.
fn copy(module: &Module, func: &Function, target: Target, spells: bool) -> Function {
    let mut p = Preparer { module, target, spells, b: Builder::new(func.name.clone(), func.span) };
    let mut map = FxHashMap::default();
    for v in func.params() {
        let data = func.value(*v);
        p.b.span = data.span;
        let ty = p.ty(&data.ty, &map);
        let new = p.b.param(ty);
        p.b.copy_name(data, new);
        map.insert(*v, new);
    }
    p.insts(func, &func.body, &mut map);
    let results = func.results().iter().map(|v| map[v]).collect();
    p.b.finish(results)
}

type Map = FxHashMap<ValueId, ValueId>;

pub struct Preparer<'a> {
    module: &'a Module,
    pub target: Target,
    spells: bool,
    pub b: Builder,
}

impl Preparer<'_> {
    fn ty(&self, ty: &Type, map: &Map) -> Type {
        ty.map_dims(|d| match d {
            Dim::Const(c) => Dim::Const(c),
            Dim::Val(v) => self.b.dim(map[&v]),
        })
    }

    fn insts(&mut self, func: &Function, block: &Block, map: &mut Map) {
        for inst in &block.insts {
            self.b.span = inst.span;
            self.inst(func, inst, map);
            for r in &inst.results {
                self.b.copy_name(func.value(*r), map[r]);
            }
        }
    }

    fn region(&mut self, func: &Function, block: &Block, map: &mut Map) -> Block {
        self.b.begin_region();
        for p in &block.params {
            let ty = self.ty(func.ty(*p), map);
            let new = self.b.param(ty);
            self.b.copy_name(func.value(*p), new);
            map.insert(*p, new);
        }
        self.insts(func, block, map);
        let results = block.results.iter().map(|v| map[v]).collect();
        self.b.end_region(results)
    }

    fn inst(&mut self, func: &Function, inst: &Inst, map: &mut Map) {
        let args: Vec<ValueId> = inst.args.iter().map(|a| map[a]).collect();
        if let Op::Call { func: callee } = &inst.op {
            let callee = self.module.func(*callee);
            let mut inner: Map = callee.params().iter().copied().zip(args).collect();
            self.insts(callee, &callee.body, &mut inner);
            for (r, c) in inst.results.iter().zip(callee.results()) {
                map.insert(*r, inner[c]);
            }
            return;
        }
        let regions: Vec<Block> = inst.regions.iter().map(|r| self.region(func, r, map)).collect();
        self.b.span = inst.span;
        if self.spells && attends(&inst.op) && is_spelt(self.target, self.b.dtype(args[0])) {
            let results = attention::expand(&mut self.b, &inst.op, &args).expect("an attention op");
            map.extend(inst.results.iter().copied().zip(results));
            return;
        }
        if let [r] = inst.results.as_slice()
            && !self.spells
        {
            let ty = self.ty(func.ty(*r), map);
            if let Some(new) = self.rewrite(&inst.op, &args, &ty) {
                map.insert(*r, new);
                return;
            }
        }
        if let Op::Sort { axis, descending } = &inst.op
            && axis + 1 != self.b.rank(args[0])
            && !self.spells
        {
            let rank = self.b.rank(args[0]);
            let perm = last(rank, *axis);
            let x = self.b.permute(args[0], perm.clone());
            let (vt, it) = (self.b.ty(x).clone(), self.b.ty(x).with_dtype(Dtype::I64));
            let op = Op::Sort { axis: rank - 1, descending: *descending };
            let sorted = self.b.inst(op, vec![x], vec![vt, it], vec![]);
            for (r, s) in inst.results.iter().zip(sorted) {
                map.insert(*r, self.b.permute(s, inverse(&perm)));
            }
            return;
        }
        let mut types = Vec::new();
        let mut local = Map::default();
        for (k, r) in inst.results.iter().enumerate() {
            // A result's extents may be results before it.
            let ty = func.ty(*r).map_dims(|d| match d {
                Dim::Const(c) => Dim::Const(c),
                Dim::Val(v) => match local.get(&v) {
                    Some(new) => Dim::Val(*new),
                    None => self.b.dim(map[&v]),
                },
            });
            local.insert(*r, self.b.next_value(k));
            types.push(ty);
        }
        let results = self.b.inst(inst.op.clone(), args, types, regions);
        map.extend(inst.results.iter().copied().zip(results));
    }

    /// Another spelling of an instruction with one result.
    fn rewrite(&mut self, op: &Op, args: &[ValueId], ty: &Type) -> Option<ValueId> {
        match op {
            Op::StopGrad | Op::Barrier => Some(args[0]),
            Op::Convert if self.b.ty(args[0]).dtype() == ty.dtype() => Some(args[0]),
            Op::Reshape if self.b.ty(args[0]) == ty => Some(args[0]),
            Op::Expand { axes } if axes.is_empty() => Some(args[0]),
            Op::Permute { perm } if perm.iter().enumerate().all(|(i, p)| i == *p) => Some(args[0]),
            Op::Concat { .. } if args.len() == 1 => Some(args[0]),
            Op::Reduce { op, axes } => self.reduce(*op, args[0], axes),
            Op::ArgReduce { max, axis } => {
                let rank = self.b.rank(args[0]);
                if axis + 1 == rank {
                    return None;
                }
                let x = self.b.permute(args[0], last(rank, *axis));
                Some(self.b.inst1(Op::ArgReduce { max: *max, axis: rank - 1 }, vec![x], ty.clone()))
            }
            Op::Contract { lhs, rhs, out } => self.contract(args[0], args[1], lhs, rhs, out),
            Op::Window { lhs, rhs, out, windows } => Some(self.window([lhs, rhs, out], windows, args, ty)),
            _ => None,
        }
    }

    /// Where the last axis is reduced, the reduced axes come last.
    fn reduce(&mut self, op: ReduceOp, x: ValueId, axes: &[usize]) -> Option<ValueId> {
        if axes.is_empty() {
            return Some(x);
        }
        let rank = self.b.rank(x);
        if let Some(v) = self.few(op, x, axes) {
            return Some(v);
        }
        let trailing = axes.iter().enumerate().all(|(i, a)| *a == rank - axes.len() + i);
        if trailing || !axes.contains(&(rank - 1)) {
            return None;
        }
        let perm: Vec<usize> = (0..rank).filter(|a| !axes.contains(a)).chain(axes.iter().copied()).collect();
        let x = self.b.permute(x, perm);
        let axes = (rank - axes.len()..rank).collect();
        Some(self.b.reduce(op, x, axes))
    }

    /// A reduction over a few elements that keeps the last axis: they are combined one by one, in the loops of whoever reads the
    /// result.
    fn few(&mut self, op: ReduceOp, x: ValueId, axes: &[usize]) -> Option<ValueId> {
        const MOST: i64 = 9;
        let (dims, dtype) = (self.b.dims(x), self.b.dtype(x));
        let extents = axes.iter().map(|a| match dims[*a] {
            Dim::Const(n) => Some(n),
            Dim::Val(_) => None,
        });
        let extents: Vec<i64> = extents.collect::<Option<_>>()?;
        let count: i64 = extents.iter().fold(1, |n, e| n.saturating_mul(*e));
        // sums of the narrow floats are rounded once
        let narrow = matches!(dtype, Dtype::F16 | Dtype::Bf16);
        if !(2..=MOST).contains(&count) || axes.contains(&(dims.len() - 1)) || narrow {
            return None;
        }
        let kept: Vec<Dim> = (0..dims.len()).filter(|k| !axes.contains(k)).map(|k| dims[k]).collect();
        let mut part = dims;
        axes.iter().for_each(|a| part[*a] = Dim::Const(1));
        let zero = self.b.const_i64(0);
        let mut acc = None;
        for k in 0..count {
            let (mut rest, mut starts) = (k, vec![zero; part.len()]);
            for (a, e) in axes.iter().zip(&extents).rev() {
                starts[*a] = self.b.const_i64(rest % e);
                rest /= e;
            }
            let one = self.b.slice(x, starts, &part);
            let one = self.b.reshape(one, &kept);
            acc = Some(match acc {
                None => one,
                Some(sum) => self.b.binary(crate::cols::combine(op), sum, one),
            });
        }
        acc
    }

    /// Products without a matrix in them: elementwise, dot, matrix × vector, integers.
    pub fn contract(&mut self, a: ValueId, b: ValueId, lhs: &[u8], rhs: &[u8], out: &[u8]) -> Option<ValueId> {
        let (da, db) = (self.b.dims(a), self.b.dims(b));
        let extent = |l: &u8| match lhs.iter().position(|x| x == l) {
            Some(i) => da[i],
            None => db[rhs.iter().position(|x| x == l).expect("a label of an operand")],
        };
        let one = |l: &&u8| extent(l) != Dim::Const(1);
        let both = |l: &&u8| lhs.contains(l) && rhs.contains(l);
        let m = out.iter().filter(|l| !rhs.contains(l)).filter(one).count();
        let n = out.iter().filter(|l| !lhs.contains(l)).filter(one).count();
        let k = lhs.iter().filter(both).filter(|l| !out.contains(l)).filter(one).count();
        let alone = lhs.iter().chain(rhs).any(|l| !(both(&l) || out.contains(l)));
        if self.b.dtype(a).is_float() && m > 0 && n > 0 && k > 0 && !alone {
            return None;
        }
        let summed: Vec<u8> =
            lhs.iter().chain(rhs.iter().filter(|l| !lhs.contains(l))).filter(|l| !out.contains(l)).copied().collect();
        // The summed labels come last where they are last in memory, else first: then rows are added up.
        let last_in_memory = |labels: &[u8]| labels.last().is_none_or(|l| summed.contains(l));
        let mut space: Vec<u8> = Vec::new();
        let sum_first = !(last_in_memory(lhs) || last_in_memory(rhs) || out.is_empty())
            || (lhs.len() >= 2 && !last_in_memory(lhs) && rhs.len() < 2)
            || (rhs.len() >= 2 && !last_in_memory(rhs) && lhs.len() < 2);
        if sum_first {
            space.extend(&summed);
            space.extend(out);
        } else {
            space.extend(out);
            space.extend(&summed);
        }
        let dims: Vec<Dim> = space.iter().map(extent).collect();
        let acc = self.b.dtype(a);
        let wide = if matches!(acc, Dtype::F16 | Dtype::Bf16) { Dtype::F32 } else { acc };
        let a = self.spread(a, lhs, &space, &dims, wide);
        let b = self.spread(b, rhs, &space, &dims, wide);
        let product = self.b.mul(a, b);
        let axes: Vec<usize> =
            if sum_first { (0..summed.len()).collect() } else { (out.len()..out.len() + summed.len()).collect() };
        let sum = self.b.sum(product, axes);
        Some(self.b.convert(sum, acc))
    }

    /// `x` with axes `labels` as a tensor with axes `space`.
    fn spread(&mut self, x: ValueId, labels: &[u8], space: &[u8], dims: &[Dim], dtype: Dtype) -> ValueId {
        let x = self.b.convert(x, dtype);
        let perm: Vec<usize> = space.iter().filter_map(|l| labels.iter().position(|x| x == l)).collect();
        let x = self.b.permute(x, perm);
        let axes = (0..space.len()).filter(|i| !labels.contains(&space[*i])).collect();
        self.b.expand(x, axes, dims)
    }
}

/// The permutation that brings `axis` to the end.
fn last(rank: usize, axis: usize) -> Vec<usize> {
    (0..rank).filter(|a| *a != axis).chain([axis]).collect()
}

fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut inv = vec![0; perm.len()];
    for (i, p) in perm.iter().enumerate() {
        inv[*p] = i;
    }
    inv
}
