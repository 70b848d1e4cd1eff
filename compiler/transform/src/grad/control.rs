//! `if` in reverse mode: the branch that ran also yields what its linear part needs; the linear part is an `if` on the same
//! condition.

use tdl_ir::{Builder, Dtype, Inst, Op, Type, ValueId};

use super::linearize::{Linearizer, Scope};
use super::residuals::{Item, Plan, Site, plan};
use super::tape::{Branch, Kind, Replay, Step, Tan};
use crate::clone::Map;

impl Linearizer<'_> {
    pub(super) fn branch(&mut self, i: &Inst) {
        let cond = self.map.get(i.args[0]);
        let mut blocks = Vec::new();
        let mut scopes = Vec::new();
        for region in &i.regions {
            self.b.begin_region();
            self.open_scope();
            self.insts(region);
            let outputs = region.results.iter().zip(&i.results);
            let outputs = outputs.map(|(y, r)| if self.is_active(*r) { self.tan(*y) } else { None }).collect();
            self.top().tape.outputs = outputs;
            let results = self.map.all(&region.results);
            blocks.push(self.b.end_region(results));
            scopes.push(self.close_scope());
        }
        let site = Site { index: None, typed: true, times: 1, floor: self.floor, again: false };
        let plans: Vec<Plan> =
            blocks.iter().zip(&mut scopes).map(|(b, s)| plan(self.b, b, &site, &mut s.tape)).collect();
        self.b.span = i.span;
        // both branches yield: results, what `then` keeps, what `else` keeps
        for (side, plan) in plans.iter().enumerate() {
            let mine: Vec<(ValueId, Type)> = plan.kept().map(|v| (v, self.b.ty(v).clone())).collect();
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
        let all: Vec<ValueId> = plans.iter().flat_map(Plan::kept).collect();
        for (k, v) in all.iter().enumerate() {
            names.set(*v, self.b.next_value(n + k));
        }
        let mut types: Vec<Type> = i.results.iter().map(|r| self.map.ty(self.b, self.from.ty(*r))).collect();
        types.extend(all.iter().map(|v| names.ty(self.b, self.b.ty(*v))));
        let results = self.b.inst(Op::If, vec![cond], types, blocks);
        for (old, new) in i.results.iter().zip(&results) {
            self.b.copy_name(self.from.value(*old), *new);
        }
        let kept = plans.iter().flat_map(|plan| plan.kept().map(|v| plan.name(v)));
        for (name, v) in kept.zip(&results[n..]) {
            self.b.name_value(*v, name);
        }
        let mut sides = Vec::new();
        for (mut scope, plan) in scopes.into_iter().zip(plans) {
            scope.tape.visit(&mut |v| *v = names.get(*v));
            let mut replay = Vec::new();
            for item in plan.items {
                if let Item::Compute(mut r) = item {
                    r.visit(&mut |v| *v = names.get(*v));
                    replay.push(r);
                }
            }
            sides.push((scope, replay));
        }
        self.record_branch(cond, i, sides);
    }

    fn record_branch(&mut self, cond: ValueId, i: &Inst, sides: Vec<(Scope, Vec<Replay>)>) {
        let mut captured: Vec<ValueId> = Vec::new();
        for (scope, _) in &sides {
            captured.extend(scope.captures.iter().filter(|v| !captured.contains(v)).copied().collect::<Vec<_>>());
        }
        let ins: Vec<Option<Tan>> = captured.iter().map(|v| self.tan(*v)).collect();
        let mut branches = Vec::new();
        for (mut scope, replay) in sides {
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
            branches.push(Branch { tape: scope.tape, replay });
        }
        let (els, then) = (branches.pop().unwrap_or_default(), branches.pop().unwrap_or_default());
        let outs: Vec<Option<Tan>> = (0..i.results.len())
            .map(|k| {
                (then.tape.outputs[k].is_some() || els.tape.outputs[k].is_some()).then(|| {
                    let ty = self.tangent_type(i.results[k]);
                    let t = self.top().tape.tangent(ty);
                    self.set_tan(i.results[k], t);
                    t
                })
            })
            .collect();
        if outs.iter().any(Option::is_some) {
            let kind = Kind::If { cond, then: Box::new(then), els: Box::new(els) };
            self.top().tape.steps.push(Step { kind, ins, outs, span: i.span });
        }
    }
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
