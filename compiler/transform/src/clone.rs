//! Copies instructions from one function into the builder of another, renaming values in operands and in types.

use rustc_hash::FxHashMap;
use tdl_ir::{Block, Builder, Dim, Function, Inst, Op, Type, ValueId};

/// Old value to new value. Values that are missing map to themselves, which is right when both belong to one function.
#[derive(Clone, Debug, Default)]
pub struct Map(FxHashMap<ValueId, ValueId>);

impl Map {
    pub fn get(&self, v: ValueId) -> ValueId {
        self.0.get(&v).copied().unwrap_or(v)
    }

    pub fn set(&mut self, old: ValueId, new: ValueId) {
        self.0.insert(old, new);
    }

    pub fn all(&self, vs: &[ValueId]) -> Vec<ValueId> {
        vs.iter().map(|v| self.get(*v)).collect()
    }

    /// A type with its extents renamed; extents that became constants are constants.
    pub fn ty(&self, b: &Builder, ty: &Type) -> Type {
        ty.map_dims(|d| self.dim(b, d))
    }

    pub fn dim(&self, b: &Builder, d: Dim) -> Dim {
        match d {
            Dim::Const(_) => d,
            Dim::Val(v) => b.dim(self.get(v)),
        }
    }
}

/// Copies a block's parameters (as parameters of the innermost open block) and returns them.
pub fn params(b: &mut Builder, from: &Function, block: &Block, map: &mut Map) -> Vec<ValueId> {
    block.params.iter().map(|p| param(b, from, *p, map)).collect()
}

fn param(b: &mut Builder, from: &Function, p: ValueId, map: &mut Map) -> ValueId {
    let data = from.value(p);
    let ty = map.ty(b, &data.ty);
    let at = std::mem::replace(&mut b.span, data.span);
    let new = b.param(ty);
    b.span = at;
    b.copy_name(data, new);
    map.set(p, new);
    new
}

/// Copies an instruction with given new regions.
pub fn inst_with(b: &mut Builder, from: &Function, inst: &Inst, regions: Vec<Block>, map: &mut Map) -> Vec<ValueId> {
    if let Some(unreachable) = contradiction(b, from, inst, map) {
        map.set(inst.results[0], unreachable);
        return vec![unreachable];
    }
    for (k, r) in inst.results.iter().enumerate() {
        map.set(*r, b.next_value(k));
    }
    let types = inst.results.iter().map(|r| map.ty(b, from.ty(*r))).collect();
    b.span = inst.span;
    let results = b.inst(inst.op.clone(), map.all(&inst.args), types, regions);
    for (old, new) in inst.results.iter().zip(&results) {
        b.copy_name(from.value(*old), *new);
    }
    results
}

/// An operation on constant sizes that do not fit together stands behind a check that fails: any value of its type will do.
fn contradiction(b: &mut Builder, from: &Function, inst: &Inst, map: &Map) -> Option<ValueId> {
    let [result] = inst.results[..] else { return None };
    let reshapes = matches!(inst.op, Op::Reshape);
    if !reshapes && !matches!(inst.op, Op::Binary(_) | Op::Compare(_) | Op::Select) {
        return None;
    }
    let new = map.ty(b, from.ty(result));
    let numel = |ty: &Type| {
        ty.dims().iter().try_fold(1i64, |n, d| match d {
            Dim::Const(c) => Some(n.saturating_mul(*c)),
            Dim::Val(_) => None,
        })
    };
    let differs = |x: &ValueId| {
        let old = b.ty(map.get(*x));
        if reshapes {
            return numel(old).zip(numel(&new)).is_some_and(|(x, y)| x != y);
        }
        new.dims().iter().zip(old.dims()).any(|d| matches!(d, (Dim::Const(x), Dim::Const(y)) if x != y))
    };
    if !inst.args.iter().any(differs) {
        return None;
    }
    b.span = inst.span;
    Some(b.full(0.0, new.dtype()?, new.dims()))
}

/// Copies a region, handing each instruction to `f`.
pub fn region_with(
    b: &mut Builder,
    from: &Function,
    block: &Block,
    map: &mut Map,
    f: &mut dyn FnMut(&mut Builder, &Inst, &mut Map),
) -> Block {
    b.begin_region();
    params(b, from, block, map);
    for inst in &block.insts {
        f(b, inst, map);
    }
    let results = map.all(&block.results);
    b.end_region(results)
}

/// Copies an instruction with its regions as they are.
pub fn inst(b: &mut Builder, from: &Function, i: &Inst, map: &mut Map) {
    let regions = i.regions.iter().map(|r| region(b, from, r, map)).collect();
    inst_with(b, from, i, regions, map);
}

pub fn region(b: &mut Builder, from: &Function, block: &Block, map: &mut Map) -> Block {
    region_with(b, from, block, map, &mut |b, i, map| inst(b, from, i, map))
}

/// Rebuilds a function: `f` sees every top-level instruction in order and emits what stands for it (recursing itself).
pub fn function(from: &Function, f: &mut dyn FnMut(&mut Builder, &Inst, &mut Map)) -> Function {
    let mut b = Builder::new(from.name.clone(), from.span);
    *b.attrs() = from.attrs.clone();
    let mut map = Map::default();
    params(&mut b, from, &from.body, &mut map);
    for i in &from.body.insts {
        f(&mut b, i, &mut map);
    }
    let results = map.all(from.results());
    b.finish(results)
}
