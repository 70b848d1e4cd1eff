//! `if`: the branch that ran also yields what its linear part needs; the linear part is an `if` on the same condition.

use rustc_hash::FxHashSet;
use tdl_ir::{Block, Builder, Dim, Dtype, Inst, Op, Type, ValueId};

use super::linearize::{Linearizer, Scope};
use super::tape::{Kind, Step, Tan, Tape};
use crate::Error;
use crate::clone::Map;

impl Linearizer<'_> {
    pub(super) fn branch(&mut self, i: &Inst) -> Result<(), Error> {
        let cond = self.map.get(i.args[0]);
        let mut blocks = Vec::new();
        let mut scopes = Vec::new();
        for region in &i.regions {
            self.b.begin_region();
            self.scopes.push(Scope::default());
            for inst in &region.insts {
                self.inst(inst)?;
            }
            let outputs = region.results.iter().map(|r| self.tan(*r)).collect();
            self.top().tape.outputs = outputs;
            let results = self.map.all(&region.results);
            blocks.push(self.b.end_region(results));
            let mut scope = self.scopes.pop().unwrap_or_default();
            scope.tape.prune();
            scopes.push(scope);
        }
        let residuals: Vec<Vec<ValueId>> =
            blocks.iter().zip(&mut scopes).map(|(b, s)| residuals(self.b, &defined(b), &mut s.tape)).collect();
        self.b.span = i.span;
        // both branches yield: results, residuals of `then`, residuals of `else`
        for side in 0..2 {
            let mine: Vec<(ValueId, Type)> = residuals[side].iter().map(|v| (*v, self.b.ty(*v).clone())).collect();
            blocks[side].results.extend(mine.iter().map(|(v, _)| *v));
            // the other branch yields empty or zero placeholders
            self.b.begin_region();
            let mut empty = Map::default();
            let mut placeholders = Vec::new();
            for (v, ty) in &mine {
                let p = placeholder(self.b, &empty.ty(self.b, ty));
                empty.set(*v, p);
                placeholders.push(p);
            }
            let extra = self.b.end_region(placeholders);
            let other = &mut blocks[1 - side];
            other.insts.extend(extra.insts);
            other.results.extend(extra.results);
        }
        let n = i.results.len();
        let mut names = Map::default();
        for (k, r) in i.results.iter().enumerate() {
            self.map.set(*r, self.b.next_value(k));
        }
        let all: Vec<ValueId> = residuals.concat();
        for (k, v) in all.iter().enumerate() {
            names.set(*v, self.b.next_value(n + k));
        }
        let mut types: Vec<Type> = i.results.iter().map(|r| self.map.ty(self.b, self.from.ty(*r))).collect();
        types.extend(all.iter().map(|v| names.ty(self.b, self.b.ty(*v))));
        let results = self.b.inst(Op::If, vec![cond], types, blocks);
        for (old, new) in i.results.iter().zip(&results) {
            self.b.copy_name(self.from.value(*old), *new);
        }
        for scope in &mut scopes {
            scope.tape.visit(&mut |v| *v = names.get(*v));
        }
        self.record_branch(cond, i, scopes);
        Ok(())
    }

    fn record_branch(&mut self, cond: ValueId, i: &Inst, scopes: Vec<Scope>) {
        let mut captured: Vec<ValueId> = Vec::new();
        for scope in &scopes {
            captured.extend(scope.captures.iter().filter(|v| !captured.contains(v)).copied().collect::<Vec<_>>());
        }
        let ins: Vec<Option<Tan>> = captured.iter().map(|v| self.tan(*v)).collect();
        let mut tapes = Vec::new();
        for mut scope in scopes {
            let own: Vec<Tan> = scope.tape.inputs.clone();
            let mut inputs = Vec::new();
            for (v, outer) in captured.iter().zip(&ins) {
                inputs.push(match scope.captures.iter().position(|c| c == v) {
                    Some(k) => own[k],
                    None => {
                        let ty = outer.map(|t| self.top().tape.types[t.0].clone());
                        scope.tape.tangent(ty.unwrap_or(Type::scalar(Dtype::F32)))
                    }
                });
            }
            scope.tape.inputs = inputs;
            tapes.push(scope.tape);
        }
        let (els, then) = (tapes.pop().unwrap_or_default(), tapes.pop().unwrap_or_default());
        let outs: Vec<Option<Tan>> = (0..i.results.len())
            .map(|k| {
                (then.outputs[k].is_some() || els.outputs[k].is_some()).then(|| {
                    let ty = self.b.ty(self.map.get(i.results[k])).clone();
                    let t = self.top().tape.tangent(ty);
                    self.set_tan(i.results[k], t);
                    t
                })
            })
            .collect();
        if outs.iter().any(Option::is_some) {
            let kind = Kind::If { cond, then: Box::new(then), els: Box::new(els) };
            self.top().tape.steps.push(Step { kind, ins, outs });
        }
    }
}

/// What a block defines at its top level.
pub(super) fn defined(block: &Block) -> FxHashSet<ValueId> {
    let results = block.insts.iter().flat_map(|i| i.results.iter());
    block.params.iter().chain(results).copied().collect()
}

/// Values of a region that its tape mentions, and the extents in their types, extents first.
pub(super) fn residuals(b: &Builder, region: &FxHashSet<ValueId>, tape: &mut Tape) -> Vec<ValueId> {
    let mut out = Vec::new();
    let mut mentioned = Vec::new();
    tape.visit(&mut |v| mentioned.push(*v));
    for v in mentioned {
        need(b, region, v, &mut out);
    }
    out
}

fn need(b: &Builder, region: &FxHashSet<ValueId>, v: ValueId, out: &mut Vec<ValueId>) {
    if !region.contains(&v) || out.contains(&v) {
        return;
    }
    for d in b.dims(v) {
        if let Dim::Val(d) = d {
            need(b, region, d, out);
        }
    }
    out.push(v);
}

/// A value of the type that costs nothing: zero, and empty where an extent is a placeholder itself.
fn placeholder(b: &mut Builder, ty: &Type) -> ValueId {
    match ty {
        Type::Tensor { dtype, dims } => b.full(0.0, *dtype, dims),
        Type::Str => b.text(""),
        Type::Stack { .. } => b.inst1(Op::StackNew, vec![], ty.clone()),
    }
}

/// A zero of a tangent's type.
pub(super) fn zeros(b: &mut Builder, ty: &Type) -> ValueId {
    b.full(0.0, ty.dtype().unwrap_or(Dtype::F32), ty.dims())
}

/// Copies one pure instruction under other names.
pub(super) fn again(b: &mut Builder, r: &super::tape::Repeat, names: &mut Map) {
    let ty = names.ty(b, &r.ty);
    let args = names.all(&r.args);
    let new = b.inst1(r.op.clone(), args, ty);
    names.set(r.result, new);
}
