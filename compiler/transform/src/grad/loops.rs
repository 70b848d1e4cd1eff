//! `for` and `while` in reverse mode: the primal loop keeps, per iteration, what the linear loop needs: rows of a
//! `[trips, …]` tensor where the number of trips is known, growable stacks otherwise.
//!
//! A value whose size changes from iteration to iteration (such as what an inner `while` kept) goes row by row onto one
//! stack; the position where each iteration begins is kept.

use tdl_ir::{BinaryOp, Block, Dim, Dtype, Inst, Op, Type, Update, ValueId};

use super::control::zeros;
use super::linearize::{Linearizer, Scope};
use super::price;
use super::residuals::{Item, Plan, Site, defined, plan};
use super::stacks::{StackInfo, grows_by_one};
use super::tape::{Kind, Loop, Replay, Step, Tan};
use crate::clone;

/// A carried value that linearisation adds: before the loop, in its body, and for the next iteration.
struct Extra {
    init: ValueId,
    param: ValueId,
    next: ValueId,
}

/// How a kept value leaves the loop: the place of its [`Extra`], and how it is read back.
enum Exit {
    Rows,
    Stack,
    /// With the base, which is the extra before.
    Ragged {
        base: ValueId,
        lead: usize,
        ty: Type,
    },
    None,
}

impl Linearizer<'_> {
    pub(super) fn repeat(&mut self, i: &Inst) {
        let is_for = matches!(i.op, Op::For);
        let skip = usize::from(is_for);
        let (inits, body) = (&i.args[skip..], &i.regions[i.regions.len() - 1]);
        let params = &body.params[skip..];
        let active: Vec<usize> = (0..i.results.len()).filter(|k| self.is_active(i.results[*k])).collect();
        self.b.span = i.span;
        let zero = self.b.const_i64(0);
        for k in &active {
            if matches!(self.from.ty(inits[*k]), Type::Stack { .. }) {
                self.stack_info(inits[*k]);
            }
        }

        let outermost = self.floor.is_none();
        self.floor.get_or_insert(self.b.next_value(0).0);
        self.b.begin_region();
        let outer = clone::params(self.b, self.from, body, &mut self.map);
        let mut extras = Vec::new();
        let index = match is_for {
            true => outer[0],
            false => {
                let param = self.b.param(Type::scalar(Dtype::I64));
                extras.push(Extra { init: zero, param, next: param });
                param
            }
        };
        let counted = self.open_stacks(body, &active, skip, inits, index, &mut extras);
        self.open_scope();
        for k in &active {
            let ty = self.tangent_type(params[*k]);
            self.input(params[*k], ty);
        }
        self.insts(body);
        let outputs = active.iter().map(|k| self.tan(body.results[*k])).collect();
        self.top().tape.outputs = outputs;
        self.b.span = i.span;
        if !is_for {
            let one = self.b.const_i64(1);
            extras[0].next = self.b.binary(BinaryOp::Add, index, one);
        }
        for (k, extra) in counted.iter().filter_map(|(k, extra)| extra.map(|e| (*k, e))) {
            extras[extra].next = self.stack_info(body.results[k]).len;
        }
        let next = self.map.all(&body.results);
        let mut block = self.b.end_region(next);
        let mut scope = self.close_scope();
        let trips = is_for.then(|| self.map.get(i.args[0]));
        let times = trips.and_then(|t| self.b.as_i64(t)).map_or(price::ITERATIONS, |n| n.max(1) as u64);
        if outermost {
            self.floor = None;
        }
        // what a loop inside keeps is computed again with all of it, and what a `@remat` chunk keeps is little
        let again = outermost && !self.from.attrs.remat;
        let site = Site { index: Some(index), typed: false, times, floor: self.floor, again };
        let plan = plan(self.b, &block, &site, &mut scope.tape);
        let opened = extras.len();
        let exits = self.keep(&mut block, &plan, index, trips, &mut extras);
        block.params.extend(extras[opened..].iter().map(|e| e.param));
        block.results.extend(extras.iter().map(|e| e.next));
        let added = self.emit_loop(i, block, &extras);
        let trips = trips.unwrap_or_else(|| added[0]);
        for (k, extra) in counted {
            let before = self.stack_info(inits[k]);
            let len = match extra {
                Some(e) => added[e],
                None => self.b.size_binary(BinaryOp::Add, before.len, trips),
            };
            self.stacks.insert(i.results[k], StackInfo { len, ..before });
        }
        let replay = self.read_back(plan, exits, trips, &added);
        self.record_loop(i, &active, inits, scope, index, trips, replay);
    }

    /// Counts the active stacks that the loop carries: by the iteration number where each iteration pushes once, else by
    /// a carried number, whose place among the extras is returned.
    fn open_stacks(
        &mut self,
        body: &Block,
        active: &[usize],
        skip: usize,
        inits: &[ValueId],
        index: ValueId,
        extras: &mut Vec<Extra>,
    ) -> Vec<(usize, Option<usize>)> {
        let mut counted = Vec::new();
        for k in active {
            let param = body.params[skip + k];
            if !matches!(self.from.ty(param), Type::Stack { .. }) {
                continue;
            }
            let before = self.stack_info(inits[*k]);
            let from = self.from;
            if self.b.as_i64(before.len) == Some(0)
                && grows_by_one(body, param, body.results[*k], |v| from.ty(v).rank())
            {
                self.stacks.insert(param, StackInfo { len: index, ..before });
                counted.push((*k, None));
            } else {
                let len = self.b.param(Type::scalar(Dtype::I64));
                extras.push(Extra { init: before.len, param: len, next: len });
                self.stacks.insert(param, StackInfo { len, ..before });
                counted.push((*k, Some(extras.len() - 1)));
            }
        }
        counted
    }

    /// Adds to the body what carries the kept values out.
    fn keep(
        &mut self,
        block: &mut Block,
        plan: &Plan,
        index: ValueId,
        trips: Option<ValueId>,
        extras: &mut Vec<Extra>,
    ) -> Vec<Exit> {
        let region = defined(block);
        let mut exits = Vec::new();
        self.b.begin_region();
        let mut inits = Vec::new();
        for v in plan.items.iter().map(|i| if let Item::Keep(v) = i { Some(*v) } else { None }) {
            let Some(v) = v else {
                exits.push(Exit::None);
                continue;
            };
            let ty = self.b.ty(v).clone();
            let lead =
                ty.dims().iter().rposition(|d| matches!(d, Dim::Val(v) if region.contains(v))).map_or(0, |k| k + 1);
            let first = extras.len();
            if lead > 0 {
                let base = self.keep_ragged(v, &ty, lead, extras, &mut inits);
                self.keep_row(base, index, trips, extras, &mut inits);
                exits.push(Exit::Ragged { base, lead, ty });
            } else {
                self.keep_row(v, index, trips, extras, &mut inits);
                exits.push(if trips.is_some() { Exit::Rows } else { Exit::Stack });
            }
            for extra in &extras[first..] {
                self.b.name_value(extra.param, plan.name(v));
            }
        }
        let added = self.b.end_region(Vec::new());
        block.insts.extend(added.insts);
        let first = extras.len() - inits.len();
        for (extra, ty) in extras[first..].iter_mut().zip(inits) {
            extra.init = match ty {
                Type::Stack { .. } => self.b.inst1(Op::StackNew, vec![], ty),
                Type::Tensor { .. } | Type::Str => zeros(self.b, &ty),
            };
        }
        exits
    }

    /// A value with the same size in each iteration.
    fn keep_row(
        &mut self,
        v: ValueId,
        index: ValueId,
        trips: Option<ValueId>,
        extras: &mut Vec<Extra>,
        inits: &mut Vec<Type>,
    ) {
        let (dtype, dims) = (self.b.dtype(v), self.b.dims(v));
        let (param, next);
        match trips {
            Some(trips) => {
                let mut all = vec![self.b.dim(trips)];
                all.extend(dims);
                let ty = Type::tensor(dtype, all);
                param = self.b.param(ty.clone());
                next = self.b.update0(param, index, v, Update::Set);
                inits.push(ty);
            }
            None => {
                let ty = Type::Stack { dtype, dims };
                param = self.b.param(ty.clone());
                next = self.b.inst1(Op::StackPush, vec![param, v], ty.clone());
                inits.push(ty);
            }
        }
        extras.push(Extra { init: param, param, next });
    }

    /// A value whose first `lead` extents belong to the iteration: its rows go onto a stack. Returns where they begin.
    fn keep_ragged(
        &mut self,
        v: ValueId,
        ty: &Type,
        lead: usize,
        extras: &mut Vec<Extra>,
        inits: &mut Vec<Type>,
    ) -> ValueId {
        let dtype = self.b.dtype(v);
        let element = ty.dims()[lead..].to_vec();
        let base = self.b.param(Type::scalar(Dtype::I64));
        let stack_ty = Type::Stack { dtype, dims: element.clone() };
        let stack = self.b.param(stack_ty.clone());
        let count = self.b.numel(&ty.dims()[..lead]);
        let mut dims = vec![self.b.dim(count)];
        dims.extend(element);
        let rows = self.b.reshape(v, &dims);
        let pushed = self.b.inst1(Op::StackPush, vec![stack, rows], stack_ty.clone());
        let end = self.b.size_binary(BinaryOp::Add, base, count);
        extras.push(Extra { init: base, param: base, next: end });
        inits.push(Type::scalar(Dtype::I64));
        extras.push(Extra { init: stack, param: stack, next: pushed });
        inits.push(stack_ty);
        base
    }

    /// The loop itself; returns the final values of the extras.
    fn emit_loop(&mut self, i: &Inst, block: Block, extras: &[Extra]) -> Vec<ValueId> {
        let mut args = self.map.all(&i.args);
        args.extend(extras.iter().map(|e| e.init));
        let extra_types: Vec<Type> = extras.iter().map(|e| self.b.ty(e.param).clone()).collect();
        let mut regions = Vec::new();
        if let Op::While = i.op {
            let mut map = self.map.clone();
            let mut cond = clone::region(self.b, self.from, &i.regions[0], &mut map);
            self.b.begin_region();
            for ty in &extra_types {
                self.b.param(ty.clone());
            }
            cond.params.extend(self.b.end_region(Vec::new()).params);
            regions.push(cond);
        }
        regions.push(block);
        for (k, r) in i.results.iter().enumerate() {
            self.map.set(*r, self.b.next_value(k));
        }
        let mut types: Vec<Type> = i.results.iter().map(|r| self.map.ty(self.b, self.from.ty(*r))).collect();
        types.extend(extra_types);
        self.b.span = i.span;
        let mut results = self.b.inst(i.op.clone(), args, types, regions);
        for (old, new) in i.results.iter().zip(&results) {
            self.b.copy_name(self.from.value(*old), *new);
        }
        let added = results.split_off(i.results.len());
        for (extra, v) in extras.iter().zip(&added) {
            let data = self.b.value(extra.param).clone();
            self.b.copy_name(&data, *v);
        }
        added
    }

    /// How the linear loop gets at what was kept. `added` are the final values of all extras.
    fn read_back(&mut self, plan: Plan, exits: Vec<Exit>, trips: ValueId, added: &[ValueId]) -> Vec<Replay> {
        let kept: usize = exits
            .iter()
            .map(|e| match e {
                Exit::None => 0,
                Exit::Rows | Exit::Stack => 1,
                Exit::Ragged { .. } => 3,
            })
            .sum();
        let mut at = added[added.len() - kept..].iter().copied();
        let mut out = Vec::new();
        for (item, exit) in plan.items.into_iter().zip(exits) {
            match (item, exit) {
                (Item::Compute(r), _) => out.push(r),
                (Item::Keep(name), Exit::Rows) => {
                    out.extend(at.next().map(|tensor| Replay::Row { name, tensor }));
                }
                (Item::Keep(name), Exit::Stack) => {
                    out.extend(at.next().map(|stack| Replay::Row { name, tensor: self.contents(stack, trips) }));
                }
                (Item::Keep(name), Exit::Ragged { base, lead, ty }) => {
                    let (Some(end), Some(stack), Some(bases)) = (at.next(), at.next(), at.next()) else { continue };
                    let flat = self.contents(stack, end);
                    let bases = match self.b.ty(bases) {
                        Type::Stack { .. } => self.contents(bases, trips),
                        Type::Tensor { .. } | Type::Str => bases,
                    };
                    out.push(Replay::Row { name: base, tensor: bases });
                    out.push(Replay::Ragged { name, flat, base, lead, ty });
                }
                (Item::Keep(_), Exit::None) => {}
            }
        }
        out
    }

    fn contents(&mut self, stack: ValueId, count: ValueId) -> ValueId {
        let ty = self.b.ty(stack).clone();
        let mut dims = vec![self.b.dim(count)];
        dims.extend_from_slice(ty.dims());
        let tensor = Type::tensor(ty.dtype().unwrap_or(Dtype::F32), dims);
        self.b.inst(Op::StackTensor, vec![stack], vec![Type::scalar(Dtype::I64), tensor], Vec::new())[1]
    }

    fn record_loop(
        &mut self,
        i: &Inst,
        active: &[usize],
        inits: &[ValueId],
        scope: Scope,
        index: ValueId,
        trips: ValueId,
        replay: Vec<Replay>,
    ) {
        let mut ins: Vec<Option<Tan>> = active.iter().map(|k| self.tan(inits[*k])).collect();
        ins.extend(scope.captures.iter().map(|v| self.tan(*v)).collect::<Vec<_>>());
        let outs = active
            .iter()
            .map(|k| {
                let ty = self.tangent_type(i.results[*k]);
                let t = self.top().tape.tangent(ty);
                self.set_tan(i.results[*k], t);
                Some(t)
            })
            .collect();
        let kind = Kind::For(Box::new(Loop { trips, index, carried: active.len(), body: scope.tape, replay }));
        self.top().tape.steps.push(Step { kind, ins, outs, span: i.span });
    }
}
