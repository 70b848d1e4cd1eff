//! `for` and `while`: the primal loop keeps, per iteration, what the linear loop needs: rows of a `[trips, …]` tensor
//! where the number of trips is known, growable stacks otherwise. What is cheap to compute from outside is not kept.

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{BinaryOp, Block, Dim, Dtype, Inst, Op, Type, Update, ValueId};
use tdl_source::{Diagnostic, code};

use super::control::defined;
use super::linearize::{Linearizer, Scope};
use super::tape::{Kind, Loop, Repeat, Step, Tan, Tape};
use crate::Error;
use crate::clone::{self, Map};

/// Longest chain of instructions that is repeated instead of stored.
const MAX_REPEAT: usize = 12;

impl Linearizer<'_> {
    pub(super) fn repeat(&mut self, i: &Inst) -> Result<(), Error> {
        let is_for = matches!(i.op, Op::For);
        let (inits, body) = if is_for { (&i.args[1..], &i.regions[0]) } else { (&i.args[..], &i.regions[1]) };
        let params = if is_for { &body.params[1..] } else { &body.params[..] };
        let active = self.active_carried(inits, params, body);
        let mut captures_active = false;
        body.visit_uses(&mut |v| captures_active |= self.is_active(v));
        if active.is_empty() && !captures_active {
            clone::inst(self.b, self.from, i, &mut self.map);
            return Ok(());
        }
        self.b.span = i.span;
        // stands for the number of trips in the types of tangent stacks until it is known
        let trips_name = self.b.const_i64(0);
        let trips = if is_for { Some(self.map.get(i.args[0])) } else { None };

        self.b.begin_region();
        let mut counter = None;
        if is_for {
            counter = Some(self.b.param(Type::scalar(Dtype::I64)));
            self.map.set(body.params[0], counter.unwrap_or(trips_name));
        }
        for p in params {
            let ty = self.map.ty(self.b, self.from.ty(*p));
            let new = self.b.param(ty);
            self.b.copy_name(self.from.value(*p), new);
            self.map.set(*p, new);
        }
        let index = match counter {
            Some(c) => c,
            None => self.b.param(Type::scalar(Dtype::I64)),
        };
        let mut scope = Scope::default();
        for k in &active {
            let ty = self.tangent_type(self.map.get(params[*k]), trips_name);
            let t = scope.tape.input(ty);
            scope.tans.insert(params[*k], t);
        }
        self.scopes.push(scope);
        self.counters.push(index);
        for inst in &body.insts {
            self.inst(inst)?;
        }
        self.counters.pop();
        let outputs = active.iter().map(|k| self.tan(body.results[*k])).collect();
        self.top().tape.outputs = outputs;
        let mut next = self.map.all(&body.results);
        self.b.span = i.span;
        if !is_for {
            let one = self.b.const_i64(1);
            next.push(self.b.binary(BinaryOp::Add, index, one));
        }
        let mut block = self.b.end_region(next);
        let mut scope = self.scopes.pop().unwrap_or_default();
        scope.tape.prune();

        let plan = self.plan(&block, index, &mut scope.tape, i)?;
        let (results, trips, rows) = if is_for {
            self.emit_for(i, block, &plan, trips.unwrap_or(trips_name))
        } else {
            self.extend_while(&mut block, &plan);
            self.emit_while(i, block, &plan)
        };
        for (old, new) in i.results.iter().zip(&results) {
            self.map.set(*old, *new);
            self.b.copy_name(self.from.value(*old), *new);
        }
        scope.tape.visit(&mut |v| {
            if *v == trips_name {
                *v = trips;
            }
        });
        self.record_loop(i, &active, inits, scope, index, trips, rows, plan.repeat);
        Ok(())
    }

    /// Carried values that have a tangent: a fixed point over the body.
    fn active_carried(&mut self, inits: &[ValueId], params: &[ValueId], body: &Block) -> Vec<usize> {
        let has_tangent = |ty: &Type| ty.dtype().is_some_and(Dtype::is_float) && !matches!(ty, Type::Str);
        let mut active: Vec<usize> =
            (0..inits.len()).filter(|k| has_tangent(self.from.ty(params[*k])) && self.is_active(inits[*k])).collect();
        loop {
            let mut set: FxHashSet<ValueId> = active.iter().map(|k| params[*k]).collect();
            self.spread(body, &mut set);
            let next: Vec<usize> = (0..inits.len())
                .filter(|k| {
                    let r = body.results[*k];
                    has_tangent(self.from.ty(params[*k]))
                        && (active.contains(k) || set.contains(&r) || self.is_active(r))
                })
                .collect();
            if next == active {
                return active;
            }
            active = next;
        }
    }

    /// Adds to `set` every float value of the block that depends on it (generously).
    fn spread(&self, block: &Block, set: &mut FxHashSet<ValueId>) {
        for i in &block.insts {
            if matches!(i.op, Op::StopGrad) {
                continue;
            }
            let mut hit = false;
            i.visit_uses(&mut |v| hit |= set.contains(&v) || self.is_active(v));
            if hit {
                for r in &i.results {
                    if self.from.ty(*r).dtype().is_some_and(Dtype::is_float) {
                        set.insert(*r);
                    }
                }
            }
        }
    }

    /// The type of a value's tangent; a stack's is the tensor of its rows.
    fn tangent_type(&self, v: ValueId, trips: ValueId) -> Type {
        match self.b.ty(v).clone() {
            Type::Stack { dtype, dims } => {
                let mut all = vec![Dim::Val(trips)];
                all.extend(dims);
                Type::Tensor { dtype, dims: all }
            }
            other => other,
        }
    }

    /// The number of the iteration in which a stack grows.
    pub(super) fn stack_index(&self) -> ValueId {
        *self.counters.last().expect("a stack grows in a loop")
    }

    /// Records the growth of a stack's tangent.
    pub(super) fn record_stack(&mut self, kind: Kind, ins: Vec<Option<Tan>>, out: ValueId, stack: ValueId) {
        let ty = match ins[0] {
            Some(t) => self.top().tape.types[t.0].clone(),
            None => self.b.ty(self.map.get(stack)).clone(),
        };
        let t = self.top().tape.step(kind, ins, ty);
        self.set_tan(out, t);
    }

    /// Which of the body's values are kept, and which instructions are repeated.
    fn plan(&mut self, block: &Block, index: ValueId, tape: &mut Tape, i: &Inst) -> Result<Plan, Error> {
        let mut planner = Planner {
            region: defined(block),
            defs: block
                .insts
                .iter()
                .filter(|i| i.regions.is_empty() && i.results.len() == 1 && !i.op.has_effect())
                .map(|i| (i.results[0], i))
                .collect(),
            types: block.insts.iter().flat_map(|i| &i.results).map(|r| (*r, self.b.ty(*r).clone())).collect(),
            index,
            plan: Plan::default(),
            done: FxHashSet::default(),
        };
        for p in &block.params {
            planner.types.insert(*p, self.b.ty(*p).clone());
        }
        let mut mentioned = Vec::new();
        tape.visit(&mut |v| mentioned.push(*v));
        for v in mentioned {
            planner.need(v);
        }
        let plan = planner.plan;
        let region = defined(block);
        for v in &plan.keep {
            let inside = |d: &Dim| matches!(d, Dim::Val(v) if region.contains(v));
            if self.b.dims(*v).iter().any(inside) {
                let d = Diagnostic::error(
                    code::E0505,
                    "the gradient of this loop would keep a tensor whose size changes from iteration to iteration",
                    i.span,
                    "this loop",
                )
                .label(self.b.value(*v).span, "its size is computed inside the loop")
                .help("give the tensor a size that is known before the loop");
                return Err(Error::Program(vec![d]));
            }
        }
        Ok(plan)
    }

    /// The loop with a `[trips, …]` tensor for each kept value.
    fn emit_for(
        &mut self,
        i: &Inst,
        mut block: Block,
        plan: &Plan,
        trips: ValueId,
    ) -> (Vec<ValueId>, ValueId, Vec<(ValueId, ValueId)>) {
        let index = block.params[0];
        let mut args = self.map.all(&i.args);
        let mut types: Vec<Type> = Vec::new();
        let outer = self.b.dim(trips);
        let mut row_types = Vec::new();
        for v in &plan.keep {
            let mut dims = vec![outer];
            dims.extend(self.b.dims(*v));
            let ty = Type::tensor(self.b.dtype(*v), dims);
            args.push(super::control::zeros(self.b, &ty));
            row_types.push(ty);
        }
        self.b.begin_region();
        let mut updated = Vec::new();
        for (v, ty) in plan.keep.iter().zip(&row_types) {
            let rows = self.b.param(ty.clone());
            updated.push(self.b.update0(rows, index, *v, Update::Set));
        }
        let extra = self.b.end_region(updated);
        block.params.extend(extra.params);
        block.insts.extend(extra.insts);
        block.results.extend(extra.results);
        for (k, r) in i.results.iter().enumerate() {
            self.map.set(*r, self.b.next_value(k));
        }
        types.extend(i.results.iter().map(|r| self.map.ty(self.b, self.from.ty(*r))));
        types.extend(row_types);
        let all = self.b.inst(Op::For, args, types, vec![block]);
        let (results, rows) = all.split_at(i.results.len());
        (results.to_vec(), trips, plan.keep.iter().copied().zip(rows.iter().copied()).collect())
    }

    /// Adds a growing stack for each kept value to the body of a `while`.
    fn extend_while(&mut self, block: &mut Block, plan: &Plan) {
        self.b.begin_region();
        let mut pushed = Vec::new();
        for v in &plan.keep {
            let ty = Type::Stack { dtype: self.b.dtype(*v), dims: self.b.dims(*v) };
            let stack = self.b.param(ty.clone());
            pushed.push(self.b.inst1(Op::StackPush, vec![stack, *v], ty));
        }
        let extra = self.b.end_region(pushed);
        block.params.extend(extra.params);
        block.insts.extend(extra.insts);
        block.results.extend(extra.results);
    }

    fn emit_while(&mut self, i: &Inst, block: Block, plan: &Plan) -> (Vec<ValueId>, ValueId, Vec<(ValueId, ValueId)>) {
        let mut args = self.map.all(&i.args);
        args.push(self.b.const_i64(0));
        let stack_types: Vec<Type> =
            plan.keep.iter().map(|v| Type::Stack { dtype: self.b.dtype(*v), dims: self.b.dims(*v) }).collect();
        for ty in &stack_types {
            args.push(self.b.inst1(Op::StackNew, vec![], ty.clone()));
        }
        let mut map = self.map.clone();
        let mut cond = clone::region(self.b, self.from, &i.regions[0], &mut map);
        self.b.begin_region();
        self.b.param(Type::scalar(Dtype::I64));
        for ty in &stack_types {
            self.b.param(ty.clone());
        }
        cond.params.extend(self.b.end_region(Vec::new()).params);
        for (k, r) in i.results.iter().enumerate() {
            self.map.set(*r, self.b.next_value(k));
        }
        let mut types: Vec<Type> = i.results.iter().map(|r| self.map.ty(self.b, self.from.ty(*r))).collect();
        types.push(Type::scalar(Dtype::I64));
        types.extend(stack_types.iter().cloned());
        let all = self.b.inst(Op::While, args, types, vec![cond, block]);
        let n = i.results.len();
        let trips = all[n];
        let mut rows = Vec::new();
        for ((v, stack), ty) in plan.keep.iter().zip(&all[n + 1..]).zip(stack_types) {
            let mut dims = vec![Dim::Val(trips)];
            dims.extend_from_slice(ty.dims());
            let tensor = Type::tensor(ty.dtype().unwrap_or(Dtype::F32), dims);
            let out = self.b.inst(Op::StackTensor, vec![*stack], vec![Type::scalar(Dtype::I64), tensor], Vec::new());
            rows.push((*v, out[1]));
        }
        (all[..n].to_vec(), trips, rows)
    }

    fn record_loop(
        &mut self,
        i: &Inst,
        active: &[usize],
        inits: &[ValueId],
        scope: Scope,
        index: ValueId,
        trips: ValueId,
        rows: Vec<(ValueId, ValueId)>,
        repeat: Vec<Repeat>,
    ) {
        let mut ins: Vec<Option<Tan>> = active.iter().map(|k| self.tan(inits[*k])).collect();
        ins.extend(scope.captures.iter().map(|v| self.tan(*v)).collect::<Vec<_>>());
        let outs = active
            .iter()
            .map(|k| {
                let ty = self.tangent_type(self.map.get(i.results[*k]), trips);
                let t = self.top().tape.tangent(ty);
                self.set_tan(i.results[*k], t);
                Some(t)
            })
            .collect();
        let kind = Kind::For(Box::new(Loop { trips, index, carried: active.len(), body: scope.tape, rows, repeat }));
        self.top().tape.steps.push(Step { kind, ins, outs });
    }
}

/// What a loop keeps and repeats.
#[derive(Default)]
struct Plan {
    keep: Vec<ValueId>,
    repeat: Vec<Repeat>,
}

struct Planner<'a> {
    region: FxHashSet<ValueId>,
    defs: FxHashMap<ValueId, &'a Inst>,
    types: FxHashMap<ValueId, Type>,
    index: ValueId,
    plan: Plan,
    done: FxHashSet<ValueId>,
}

impl Planner<'_> {
    /// Makes a value available to the linear loop.
    fn need(&mut self, v: ValueId) {
        if !self.region.contains(&v) || v == self.index || !self.done.insert(v) {
            return;
        }
        let ty = self.types[&v].clone();
        for d in ty.dims() {
            if let Dim::Val(d) = d {
                self.need(*d);
            }
        }
        let repeated = self.defs.get(&v).copied().filter(|i| {
            let widening = matches!(i.op, Op::Const(_) | Op::Dense(_) | Op::Iota | Op::Expand { .. });
            widening || self.cost(v).is_some_and(|c| c <= MAX_REPEAT)
        });
        match repeated {
            Some(i) => {
                for a in &i.args {
                    self.need(*a);
                }
                self.plan.repeat.push(Repeat { op: i.op.clone(), args: i.args.clone(), result: v, ty });
            }
            None => self.plan.keep.push(v),
        }
    }

    /// Number of instructions that compute `v` from the outside and the iteration number; `None` if carried values or
    /// costly ops are among them.
    fn cost(&self, v: ValueId) -> Option<usize> {
        if !self.region.contains(&v) || v == self.index {
            return Some(0);
        }
        let i = self.defs.get(&v)?;
        if !is_cheap(&i.op) {
            return None;
        }
        let mut sum = 1;
        for d in self.types[&v].dims() {
            if let Dim::Val(d) = d {
                sum += self.cost(*d)?;
            }
        }
        for a in &i.args {
            sum += self.cost(*a)?;
            if sum > MAX_REPEAT {
                return None;
            }
        }
        Some(sum)
    }
}

/// Cheaper to compute again than to store and load.
fn is_cheap(op: &Op) -> bool {
    match op {
        Op::Const(_)
        | Op::Dense(_)
        | Op::Iota
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Convert
        | Op::StopGrad
        | Op::Expand { .. }
        | Op::Reshape
        | Op::Permute { .. }
        | Op::Slice { .. }
        | Op::Flip { .. }
        | Op::Gather => true,
        Op::Text(_)
        | Op::UpdateSlice { .. }
        | Op::Concat { .. }
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Scan { .. }
        | Op::Sort { .. }
        | Op::Nonzero
        | Op::Contract { .. }
        | Op::Scatter { .. }
        | Op::Random { .. }
        | Op::If
        | Op::For
        | Op::While
        | Op::Call { .. }
        | Op::Vjp { .. }
        | Op::Jvp { .. }
        | Op::StackNew
        | Op::StackPush
        | Op::StackTensor
        | Op::Print { .. }
        | Op::Assert { .. }
        | Op::Format { .. }
        | Op::Io(_) => false,
    }
}

/// The names that a linear loop's body uses, defined for iteration `i`.
pub(super) fn names(b: &mut tdl_ir::Builder, l: &Loop, i: ValueId) -> Map {
    let mut names = Map::default();
    names.set(l.index, i);
    for (v, tensor) in &l.rows {
        let row = b.index0(*tensor, i);
        names.set(*v, row);
    }
    for r in &l.repeat {
        super::control::again(b, r, &mut names);
    }
    names
}
