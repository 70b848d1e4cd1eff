//! `@remat(every: k)`: a loop of `n` iterations becomes a loop over chunks of `k`, each a function that reverse mode computes
//! again. So a derivative keeps what the loop carries at the beginning of each chunk, and what happens inside one chunk at a
//! time: `n / k + k` instead of `n` (Griewank and Walther 2008, chapter 12, with one level).
//!
//! before: %y = for %i < %n, %c = %x { checkpoint every: [k]  …  yield %d }
//! after:  %y = for %j < %chunks, %c = %x { %d = call @chunk(…, %j * k, min(k, %n - %j * k), %c)  yield %d }

use std::borrow::Cow;

use rustc_hash::FxHashSet;
use tdl_ir::{BinaryOp, Block, Builder, CompareOp, Dim, Dtype, FuncId, Function, Inst, Module, Op, Type, ValueId};

use crate::clone::{self, Map};

/// The module without `checkpoint`s.
pub fn outline(module: &Module) -> Cow<'_, Module> {
    let marked = |f: &Function| {
        let mut found = false;
        f.body.visit_insts(&mut |i| found |= matches!(i.op, Op::Checkpoint { .. }));
        found
    };
    if !module.funcs.iter().any(marked) {
        return Cow::Borrowed(module);
    }
    let mut out = module.clone();
    // chunks are new functions at the end, which may have such loops inside
    let mut at = 0;
    while at < out.funcs.len() {
        if marked(&out.funcs[at]) {
            let from = out.funcs[at].clone();
            let new = clone::function(&from, &mut |b, i, map| inst(&mut out, b, &from, i, map));
            out.funcs[at] = new;
        }
        at += 1;
    }
    Cow::Owned(out)
}

fn inst(out: &mut Module, b: &mut Builder, from: &Function, i: &Inst, map: &mut Map) {
    let every = i.regions.last().and_then(|body| {
        body.insts.iter().find_map(|i| if let Op::Checkpoint { every } = i.op { Some(every) } else { None })
    });
    match (&i.op, every) {
        (Op::For, Some(every)) => counted(out, b, from, i, every, map),
        (Op::While, Some(every)) => conditional(out, b, from, i, every, map),
        (_, _) => {
            let mut regions = Vec::with_capacity(i.regions.len());
            for r in &i.regions {
                regions.push(clone::region_with(b, from, r, map, &mut |b, i, map| inst(out, b, from, i, map)));
            }
            clone::inst_with(b, from, i, regions, map);
        }
    }
}

/// A function under construction for a chunk of a loop.
struct Chunk {
    b: Builder,
    map: Map,
    /// What the loop reads from around it: the function's first parameters.
    free: Vec<ValueId>,
}

impl Chunk {
    fn new(out: &Module, from: &Function, i: &Inst) -> Chunk {
        let mut name = format!("{}.chunk", from.name);
        while out.find(&name).is_some() {
            name.push('_');
        }
        let mut b = Builder::new(name, i.span);
        b.span = i.span;
        b.attrs().remat = true;
        b.attrs().effects = from.attrs.effects;
        let free = free(from, i);
        let mut map = Map::default();
        for v in &free {
            let ty = map.ty(&b, from.ty(*v));
            let p = b.param(ty);
            b.copy_name(from.value(*v), p);
            map.set(*v, p);
        }
        Chunk { b, map, free }
    }

    fn param(&mut self, ty: &Type) -> ValueId {
        let ty = self.map.ty(&self.b, ty);
        self.b.param(ty)
    }

    fn insts(&mut self, from: &Function, block: &Block) {
        for i in &block.insts {
            if !matches!(i.op, Op::Checkpoint { .. }) {
                clone::inst(&mut self.b, from, i, &mut self.map);
            }
        }
    }
}

fn counted(out: &mut Module, b: &mut Builder, from: &Function, i: &Inst, every: u64, map: &mut Map) {
    let body = &i.regions[0];
    let types: Vec<Type> = i.results.iter().map(|r| from.ty(*r).clone()).collect();
    let mut chunk = Chunk::new(out, from, i);
    let index = Type::scalar(Dtype::I64);
    let (start, count) = (chunk.param(&index), chunk.param(&index));
    let mut args = vec![count];
    args.extend(types.iter().map(|t| chunk.param(t)).collect::<Vec<_>>());
    chunk.b.begin_region();
    let k = chunk.b.param(index);
    for p in &body.params[1..] {
        let new = chunk.param(from.ty(*p));
        chunk.b.copy_name(from.value(*p), new);
        chunk.map.set(*p, new);
    }
    let at = chunk.b.size_binary(BinaryOp::Add, start, k);
    chunk.map.set(body.params[0], at);
    chunk.insts(from, body);
    let next = chunk.map.all(&body.results);
    let region = chunk.b.end_region(next);
    let own = types.iter().map(|t| chunk.map.ty(&chunk.b, t)).collect();
    let results = chunk.b.inst(Op::For, args, own, vec![region]);
    let (free, func) = (chunk.free, out.add(chunk.b.finish(results)));

    b.span = i.span;
    let n = map.get(i.args[0]);
    let size = b.const_i64(i64::try_from(every).unwrap_or(i64::MAX));
    let chunks = chunks(b, n, every);
    let inits = map.all(&i.args[1..]);
    let results = b.for_loop(chunks, inits, |b, j, carried| {
        let start = b.size_binary(BinaryOp::Mul, j, size);
        let rest = b.size_binary(BinaryOp::Sub, n, start);
        let count = b.binary(BinaryOp::Min, size, rest);
        call(b, func, map, &free, &[start, count], carried)
    });
    finish(b, from, i, &results, map);
}

/// `n / every`, rounded up.
fn chunks(b: &mut Builder, n: ValueId, every: u64) -> ValueId {
    let every = i64::try_from(every).unwrap_or(i64::MAX);
    let (size, less) = (b.const_i64(every), b.const_i64(every - 1));
    let sum = b.size_binary(BinaryOp::Add, n, less);
    b.size_binary(BinaryOp::FloorDiv, sum, size)
}

fn conditional(out: &mut Module, b: &mut Builder, from: &Function, i: &Inst, every: u64, map: &mut Map) {
    let (cond, body) = (&i.regions[0], &i.regions[1]);
    let types: Vec<Type> = i.results.iter().map(|r| from.ty(*r).clone()).collect();
    let mut chunk = Chunk::new(out, from, i);
    let index = Type::scalar(Dtype::I64);
    let carried: Vec<ValueId> = types.iter().map(|t| chunk.param(t)).collect();
    let mut args = vec![chunk.b.const_i64(0)];
    args.extend(carried);
    let mut regions = Vec::with_capacity(2);
    for region in [cond, body] {
        chunk.b.begin_region();
        let k = chunk.b.param(index.clone());
        for p in &region.params {
            let new = chunk.param(from.ty(*p));
            chunk.b.copy_name(from.value(*p), new);
            chunk.map.set(*p, new);
        }
        chunk.insts(from, region);
        let mut results = chunk.map.all(&region.results);
        if regions.is_empty() {
            let size = chunk.b.const_i64(i64::try_from(every).unwrap_or(i64::MAX));
            let more = chunk.b.compare(CompareOp::Lt, k, size);
            results = vec![chunk.b.binary(BinaryOp::And, results[0], more)];
        } else {
            let one = chunk.b.const_i64(1);
            results.insert(0, chunk.b.add(k, one));
        }
        regions.push(chunk.b.end_region(results));
    }
    let mut own = vec![index];
    own.extend(types.iter().map(|t| chunk.map.ty(&chunk.b, t)).collect::<Vec<_>>());
    let results = chunk.b.inst(Op::While, args, own, regions).split_off(1);
    let (free, func) = (chunk.free, out.add(chunk.b.finish(results)));

    b.span = i.span;
    let inits = map.all(&i.args);
    let types: Vec<Type> = inits.iter().map(|v| b.ty(*v).clone()).collect();
    let mut inner = map.clone();
    let test = clone::region_with(b, from, cond, &mut inner, &mut |b, i, map| inst(out, b, from, i, map));
    b.begin_region();
    let carried: Vec<ValueId> = types.iter().map(|t| b.param(t.clone())).collect();
    let next = call(b, func, map, &free, &[], &carried);
    let step = b.end_region(next);
    let results = b.inst(Op::While, inits, types, vec![test, step]);
    finish(b, from, i, &results, map);
}

fn call(
    b: &mut Builder,
    func: FuncId,
    map: &Map,
    free: &[ValueId],
    more: &[ValueId],
    carried: &[ValueId],
) -> Vec<ValueId> {
    let mut args = map.all(free);
    args.extend(more);
    args.extend(carried);
    let types = carried.iter().map(|v| b.ty(*v).clone()).collect();
    b.call(func, args, types)
}

fn finish(b: &mut Builder, from: &Function, i: &Inst, results: &[ValueId], map: &mut Map) {
    for (old, new) in i.results.iter().zip(results) {
        b.copy_name(from.value(*old), *new);
        map.set(*old, *new);
    }
}

/// The values that a loop reads, in operands or extents, and does not define: in the order of their definition.
fn free(from: &Function, i: &Inst) -> Vec<ValueId> {
    let mut own: FxHashSet<ValueId> = FxHashSet::default();
    let mut used: FxHashSet<ValueId> = FxHashSet::default();
    let mut defined = |v: ValueId| _ = own.insert(v);
    for region in &i.regions {
        region.params.iter().for_each(|p| defined(*p));
        region.visit_insts(&mut |i| {
            i.results.iter().for_each(|r| defined(*r));
            i.regions.iter().flat_map(|r| &r.params).for_each(|p| defined(*p));
        });
        region.visit_uses(&mut |v| _ = used.insert(v));
    }
    let mut work: Vec<ValueId> = own.iter().chain(&used).chain(&i.results).copied().collect();
    while let Some(v) = work.pop() {
        for d in from.ty(v).dims() {
            if let Dim::Val(d) = d
                && used.insert(*d)
            {
                work.push(*d);
            }
        }
    }
    let mut out: Vec<ValueId> = used.into_iter().filter(|v| !own.contains(v)).collect();
    out.sort_unstable();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_becomes_chunks() {
        let text = "func @f(%n: i64, %x: f64) {\n  %y: f64 = for %i < %n, %c: f64 = %x {\n    checkpoint every: [4]\n    \
                    %d: f64 = mul %c, %x\n    yield %d\n  }\n  return %y\n}";
        let module = match tdl_ir::parse(text) {
            Ok(module) => module,
            Err(e) => panic!("{e:?}"),
        };
        let out = outline(&module);
        tdl_ir::verify(&out).expect("well formed");
        assert_eq!(out.funcs.len(), 2);
        assert!(out.funcs[1].attrs.remat);
        assert!(!tdl_ir::print(&out).contains("checkpoint"));
    }
}
