//! Runs a tape backward: cotangents of the outputs to cotangents of the inputs.
//!
//! The adjoint of a slice or gather adds into the cotangent that is there already, so that a loop over rows adds rows to
//! one buffer. Where a value goes on into an untaken branch of a `select`, its cotangent is zero but its coefficient may be
//! infinite: there `0 * inf` counts as 0.

use tdl_ir::{BinaryOp, Builder, CompareOp, Dtype, Op, Scalar, Type, Update, ValueId};

use super::control::zeros;
use super::residuals::replay;
use super::tape::{Branch, Kind, Loop, Step, Tan, Tape};

/// Emits the transposed program; `None` is zero. `start` holds cotangents that the inputs already have.
pub fn transpose(
    b: &mut Builder,
    tape: &Tape,
    outputs: &[Option<ValueId>],
    start: &[Option<ValueId>],
) -> Vec<Option<ValueId>> {
    run(b, tape, outputs, start, &vec![false; outputs.len()])
}

fn run(
    b: &mut Builder,
    tape: &Tape,
    outputs: &[Option<ValueId>],
    start: &[Option<ValueId>],
    guarded_outputs: &[bool],
) -> Vec<Option<ValueId>> {
    let guarded = guarded(tape, guarded_outputs);
    let mut t = Transpose { b, tape, cts: vec![None; tape.types.len()], guarded };
    for (input, v) in tape.inputs.iter().zip(start) {
        t.cts[input.0] = *v;
    }
    for (out, ct) in tape.outputs.iter().zip(outputs) {
        if let (Some(out), Some(ct)) = (out, ct) {
            t.add(*out, *ct);
        }
    }
    let asked = t.b.span;
    for step in tape.steps.iter().rev() {
        // what goes wrong in the derivative of an expression is shown there
        t.b.span = step.span;
        t.step(step);
    }
    t.b.span = asked;
    tape.inputs.iter().map(|i| t.cts[i.0]).collect()
}

/// Tangents that go on into a `select`.
fn guarded(tape: &Tape, outputs: &[bool]) -> Vec<bool> {
    let mut out = vec![false; tape.types.len()];
    for (t, g) in tape.outputs.iter().zip(outputs) {
        if let Some(t) = t {
            out[t.0] |= g;
        }
    }
    for step in tape.steps.iter().rev() {
        let outs: Vec<bool> = step.outs.iter().map(|t| t.is_some_and(|t| out[t.0])).collect();
        let ins = match &step.kind {
            Kind::Select(_) => vec![true; step.ins.len()],
            Kind::If { then, els, .. } => {
                let sides = [then, els].map(|side| inputs(&side.tape, &guarded(&side.tape, &outs)));
                sides[0].iter().zip(&sides[1]).map(|(a, b)| *a || *b).collect()
            }
            Kind::For(l) => inputs(&l.body, &guarded(&l.body, &loop_guards(l, outs))),
            _ => vec![outs.contains(&true); step.ins.len()],
        };
        for (t, g) in step.ins.iter().zip(ins) {
            if let Some(t) = t {
                out[t.0] |= g;
            }
        }
    }
    out
}

fn inputs(tape: &Tape, guarded: &[bool]) -> Vec<bool> {
    tape.inputs.iter().map(|t| guarded[t.0]).collect()
}

/// Which outputs of a loop's body go on into a `select`, in this iteration or a later one.
fn loop_guards(l: &Loop, mut outputs: Vec<bool>) -> Vec<bool> {
    loop {
        let ins = inputs(&l.body, &guarded(&l.body, &outputs));
        let next: Vec<bool> = outputs.iter().zip(&ins).map(|(a, b)| *a || *b).collect();
        if next == outputs {
            return outputs;
        }
        outputs = next;
    }
}

struct Transpose<'a> {
    b: &'a mut Builder,
    tape: &'a Tape,
    cts: Vec<Option<ValueId>>,
    guarded: Vec<bool>,
}

impl Transpose<'_> {
    fn ty(&self, t: Tan) -> Type {
        self.tape.types[t.0].clone()
    }

    fn add(&mut self, t: Tan, v: ValueId) {
        self.cts[t.0] = Some(match self.cts[t.0] {
            Some(old) => self.b.add(old, v),
            None => v,
        });
    }

    fn add_to(&mut self, t: Option<Tan>, v: impl FnOnce(&mut Builder, &Type) -> ValueId) {
        if let Some(t) = t {
            let ty = self.ty(t);
            let v = v(self.b, &ty);
            self.add(t, v);
        }
    }

    /// What has been added up for a tangent so far.
    fn sum_so_far(&mut self, t: Tan) -> ValueId {
        match self.cts[t.0] {
            Some(v) => v,
            None => {
                let ty = self.ty(t);
                zeros(self.b, &ty)
            }
        }
    }

    /// The same for a step that goes on with it and gives it back.
    fn take_sum(&mut self, t: Tan) -> ValueId {
        let sum = self.sum_so_far(t);
        self.cts[t.0] = None;
        sum
    }

    fn step(&mut self, step: &Step) {
        match &step.kind {
            Kind::If { cond, then, els } => return self.branch(*cond, then, els, step),
            Kind::For(l) => return self.repeat(l, step),
            Kind::Custom { .. } | Kind::Remat { .. } => return self.call(step),
            Kind::Attention { args, results } => return self.attention(args, results, step),
            _ => {}
        }
        let Some(Some(out)) = step.outs.first().copied() else { return };
        let Some(ct) = self.cts[out.0] else { return };
        let guard = self.guarded[out.0];
        let first = step.ins[0];
        match &step.kind {
            Kind::Add => step.ins.iter().for_each(|t| self.add_to(*t, |_, _| ct)),
            Kind::Sub => {
                self.add_to(first, |_, _| ct);
                self.add_to(step.ins[1], |b, _| b.neg(ct));
            }
            Kind::Neg => self.add_to(first, |b, _| b.neg(ct)),
            Kind::Scale(coef) => self.add_to(first, |b, _| {
                let product = b.mul(ct, *coef);
                let finite = matches!(b.as_splat(*coef), Some(Scalar::Float(x)) if f64::from_bits(x).is_finite());
                if !guard || finite {
                    return product;
                }
                let zero = b.full_like(0.0, ct);
                let none = b.compare(CompareOp::Eq, ct, zero);
                b.select(none, zero, product)
            }),
            Kind::Select(cond) => {
                let zero = self.b.full_like(0.0, ct);
                self.add_to(first, |b, _| b.select(*cond, ct, zero));
                self.add_to(step.ins[1], |b, _| b.select(*cond, zero, ct));
            }
            Kind::Convert => self.add_to(first, |b, ty| b.convert(ct, dtype(ty))),
            Kind::Expand(axes) => self.add_to(first, |b, _| b.sum(ct, axes.clone())),
            Kind::Reshape => self.add_to(first, |b, ty| b.reshape(ct, ty.dims())),
            Kind::Permute(perm) => self.add_to(first, |b, _| {
                let mut back = vec![0; perm.len()];
                for (k, p) in perm.iter().enumerate() {
                    back[*p] = k;
                }
                b.permute(ct, back)
            }),
            Kind::Flip(axes) => {
                self.add_to(first, |b, ty| b.inst1(Op::Flip { axes: axes.clone() }, vec![ct], ty.clone()));
            }
            Kind::Slice { steps, starts } => {
                let Some(t) = first else { return };
                let sum = self.sum_so_far(t);
                let mut args = vec![sum, ct];
                args.extend(starts);
                let op = Op::UpdateSlice { steps: steps.clone(), mode: Update::Add };
                self.cts[t.0] = Some(self.b.inst1(op, args, self.tape.types[t.0].clone()));
            }
            Kind::UpdateSlice { steps, starts, mode, update } => {
                self.add_to(step.ins[1], |b, ty| {
                    let mut args = vec![ct];
                    args.extend(starts);
                    b.inst1(Op::Slice { steps: steps.clone() }, args, ty.clone())
                });
                self.add_to(first, |b, ty| match mode {
                    Update::Add => ct,
                    Update::Set => {
                        let mut args = vec![ct, zeros(b, update)];
                        args.extend(starts);
                        b.inst1(Op::UpdateSlice { steps: steps.clone(), mode: Update::Set }, args, ty.clone())
                    }
                });
            }
            Kind::Concat(axis, types) => self.concat(*axis, types, step, ct),
            Kind::Sum(axes) => self.add_to(first, |b, ty| b.expand(ct, axes.clone(), ty.dims())),
            Kind::CumSum { axis, reverse } => self.add_to(first, |b, ty| {
                let op = Op::Scan { op: tdl_ir::ScanOp::Sum, axis: *axis, reverse: !*reverse };
                b.inst1(op, vec![ct], ty.clone())
            }),
            Kind::Contract { other, lhs, rhs, out } => {
                self.add_to(first, |b, ty| contract_adjoint(b, ct, *other, lhs, rhs, out, ty));
            }
            Kind::Shear { axis, spread, steps } => self.add_to(first, |b, ty| {
                let args = [ct].into_iter().chain(steps.iter().copied()).collect();
                b.inst1(Op::Shear { axis: *axis, spread: !*spread }, args, ty.clone())
            }),
            // the same product with the tensors in other roles
            Kind::Window { other, lhs, rhs, out, windows, steps } => self.add_to(first, |b, ty| {
                let args = [ct, *other].into_iter().chain(steps.iter().copied()).collect();
                let op = Op::Window { lhs: out.clone(), rhs: rhs.clone(), out: lhs.clone(), windows: windows.clone() };
                b.inst1(op, args, ty.clone())
            }),
            Kind::Gather(ids) => {
                let Some(t) = first else { return };
                let sum = self.sum_so_far(t);
                let op = Op::Scatter { mode: Update::Add };
                self.cts[t.0] = Some(self.b.inst1(op, vec![sum, *ids, ct], self.tape.types[t.0].clone()));
            }
            Kind::Scatter { ids, mode, winners } => {
                self.add_to(step.ins[1], |b, ty| {
                    let rows = b.inst1(Op::Gather, vec![ct, *ids], ty.clone());
                    let Some(w) = winners else { return rows };
                    let axes: Vec<usize> = (b.rank(*w)..ty.rank()).collect();
                    let wide = b.expand(*w, axes, ty.dims());
                    let zero = b.full_like(0.0, rows);
                    b.select(wide, rows, zero)
                });
                self.add_to(first, |b, ty| match mode {
                    Update::Add => ct,
                    Update::Set => {
                        let mut dims = b.dims(*ids);
                        dims.extend_from_slice(&ty.dims()[1..]);
                        let none = b.full(0.0, dtype(ty), &dims);
                        b.inst1(Op::Scatter { mode: Update::Set }, vec![ct, *ids, none], ty.clone())
                    }
                });
            }
            Kind::Push { at, rows } => {
                self.add_to(step.ins[1], |b, ty| {
                    if !*rows {
                        return b.index0(ct, *at);
                    }
                    let zero = b.const_i64(0);
                    let mut starts = vec![zero; ty.rank()];
                    starts[0] = *at;
                    b.slice(ct, starts, ty.dims())
                });
                // no earlier push reads these rows
                self.add_to(first, |_, _| ct);
            }
            Kind::If { .. } | Kind::For(_) | Kind::Custom { .. } | Kind::Remat { .. } | Kind::Attention { .. } => {}
        }
    }

    fn concat(&mut self, axis: usize, types: &[Type], step: &Step, ct: ValueId) {
        let zero = self.b.const_i64(0);
        let mut at = zero;
        for (t, ty) in step.ins.iter().zip(types) {
            let mut starts = vec![zero; ty.rank()];
            starts[axis] = at;
            self.add_to(*t, |b, _| b.slice(ct, starts, ty.dims()));
            let d = self.b.dim_value(ty.dims()[axis]);
            at = self.b.size_binary(BinaryOp::Add, at, d);
        }
    }

    fn branch(&mut self, cond: ValueId, then: &Branch, els: &Branch, step: &Step) {
        let outs: Vec<Option<ValueId>> = step.outs.iter().map(|t| t.and_then(|t| self.cts[t.0])).collect();
        if outs.iter().all(Option::is_none) {
            return;
        }
        let wanted: Vec<(usize, Tan)> = step.ins.iter().enumerate().filter_map(|(k, t)| t.map(|t| (k, t))).collect();
        let guards = self.guards(step);
        let mut start = vec![None; step.ins.len()];
        let mut sums = Vec::with_capacity(wanted.len());
        for (k, t) in &wanted {
            start[*k] = self.cts[t.0];
            sums.push(self.take_sum(*t));
        }
        let mut regions = Vec::new();
        for side in [then, els] {
            self.b.begin_region();
            let names = replay(self.b, &side.replay, None);
            let mut tape = side.tape.clone();
            tape.visit(&mut |v| *v = names.get(*v));
            let cts = run(self.b, &tape, &outs, &start, &guards);
            let results = wanted.iter().zip(&sums).map(|((k, _), sum)| cts[*k].unwrap_or(*sum)).collect();
            regions.push(self.b.end_region(results));
        }
        let types = sums.iter().map(|v| self.b.ty(*v).clone()).collect();
        let results = self.b.inst(Op::If, vec![cond], types, regions);
        for ((_, t), v) in wanted.iter().zip(results) {
            self.add(*t, v);
        }
    }

    fn guards(&self, step: &Step) -> Vec<bool> {
        step.outs.iter().map(|t| t.is_some_and(|t| self.guarded[t.0])).collect()
    }

    fn repeat(&mut self, l: &Loop, step: &Step) {
        let outs: Vec<Option<ValueId>> = step.outs.iter().map(|t| t.and_then(|t| self.cts[t.0])).collect();
        if outs.iter().all(Option::is_none) {
            return;
        }
        let mut inits = Vec::new();
        for (k, ct) in outs.iter().enumerate() {
            let ty = step.outs[k].map(|t| self.ty(t));
            inits.push(match (ct, ty) {
                (Some(ct), _) => *ct,
                (None, Some(ty)) => zeros(self.b, &ty),
                (None, None) => unreachable!("every carried tangent has a result"),
            });
        }
        // what the loop captures goes on summing where it stands, so that a loop over rows adds rows to one buffer
        let captured: Vec<Tan> = step.ins[l.carried..].iter().map(|t| t.expect("a capture has a tangent")).collect();
        for t in &captured {
            let sum = self.take_sum(*t);
            inits.push(sum);
        }
        let trips = l.trips;
        let guards = loop_guards(l, self.guards(step));
        let results = self.b.for_loop(trips, inits, |b, k, params| {
            let one = b.const_i64(1);
            let last = b.binary(BinaryOp::Sub, trips, one);
            let i = b.binary(BinaryOp::Sub, last, k);
            let names = replay(b, &l.replay, Some((l.index, i)));
            let mut body = l.body.clone();
            body.visit(&mut |v| *v = names.get(*v));
            let (cts, sums) = params.split_at(l.carried);
            let out_cts: Vec<Option<ValueId>> = cts.iter().map(|v| Some(*v)).collect();
            let mut start: Vec<Option<ValueId>> = vec![None; l.carried];
            start.extend(sums.iter().map(|v| Some(*v)));
            let back = run(b, &body, &out_cts, &start, &guards);
            back.iter().zip(params).map(|(ct, p)| ct.unwrap_or_else(|| b.full_like(0.0, *p))).collect()
        });
        for (t, v) in step.ins[..l.carried].iter().zip(&results) {
            if let Some(t) = t {
                self.add(*t, *v);
            }
        }
        for (t, v) in captured.iter().zip(&results[l.carried..]) {
            self.add(*t, *v);
        }
    }

    fn attention(&mut self, args: &[ValueId], results: &[ValueId], step: &Step) {
        let cts: Vec<Option<ValueId>> = step.outs.iter().map(|t| t.and_then(|t| self.cts[t.0])).collect();
        if cts.iter().all(Option::is_none) {
            return;
        }
        let b = &mut *self.b;
        let (&[q, k, v, reach], &[y, sums]) = (args, results) else { unreachable!("operands of attention") };
        let dy = cts[0].unwrap_or_else(|| b.full_like(0.0, y));
        let dtype = b.dtype(sums);
        let (wide_dy, wide_y) = (b.convert(dy, dtype), b.convert(y, dtype));
        let each = b.mul(wide_dy, wide_y);
        let last = b.rank(each) - 1;
        let mut delta = b.sum(each, vec![last]);
        if let Some(ct) = cts[1] {
            delta = b.sub(delta, ct);
        }
        let types = args[..3].iter().map(|x| b.ty(*x).clone()).collect();
        let back = b.inst(Op::AttentionGrad, vec![q, k, v, dy, sums, delta, reach], types, Vec::new());
        for (t, v) in step.ins.iter().zip(back) {
            if let Some(t) = t {
                self.add(*t, v);
            }
        }
    }

    fn call(&mut self, step: &Step) {
        let outs: Vec<Option<ValueId>> = step.outs.iter().map(|t| t.and_then(|t| self.cts[t.0])).collect();
        if outs.iter().all(Option::is_none) {
            return;
        }
        let mut cts = Vec::new();
        for (t, ct) in step.outs.iter().zip(&outs) {
            if let Some(t) = t {
                let ty = self.ty(*t);
                cts.push(ct.unwrap_or_else(|| zeros(self.b, &ty)));
            }
        }
        match &step.kind {
            Kind::Custom { rule, lanes, args, results } => {
                for (k, v) in super::calls::backward(self.b, *rule, lanes.as_ref(), args, results, &cts) {
                    if let Some(t) = step.ins[k] {
                        self.add(t, v);
                    }
                }
            }
            Kind::Remat { func, wrt, args, results } => {
                // what is computed again must not be found to be at hand
                let mut all: Vec<ValueId> = Vec::new();
                for a in args {
                    let ty = self.b.ty(*a).clone();
                    all.push(if ty.is_float_tensor() { self.b.inst1(Op::Barrier, vec![*a], ty) } else { *a });
                }
                all.extend(cts);
                let primal = results.iter().chain(wrt.iter().map(|k| &args[*k]));
                let types = primal.map(|v| self.b.ty(*v).clone()).collect();
                let back = self.b.inst(Op::Vjp { func: *func, wrt: wrt.clone() }, all, types, Vec::new());
                for (k, v) in wrt.iter().zip(&back[results.len()..]) {
                    if let Some(t) = step.ins[*k] {
                        self.add(t, *v);
                    }
                }
            }
            _ => unreachable!("only calls come here"),
        }
    }
}

fn dtype(ty: &Type) -> Dtype {
    ty.dtype().unwrap_or(Dtype::F32)
}

/// `ct` contracted with the other operand, in the tangent's axes. A label that stands in the tangent alone was summed over
/// nothing else, so its cotangent is constant along it.
fn contract_adjoint(
    b: &mut Builder,
    ct: ValueId,
    other: ValueId,
    lhs: &[u8],
    rhs: &[u8],
    out: &[u8],
    ty: &Type,
) -> ValueId {
    let known: Vec<u8> = lhs.iter().filter(|l| rhs.contains(l) || out.contains(l)).copied().collect();
    let part = b.contract(ct, other, out, rhs, &known);
    let missing: Vec<usize> = (0..lhs.len()).filter(|k| !known.contains(&lhs[*k])).collect();
    b.expand(part, missing, ty.dims())
}
