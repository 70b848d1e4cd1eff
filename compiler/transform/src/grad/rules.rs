//! Linear parts of the structural ops. Elementwise ops take their coefficients from the op tables.

use tdl_ir::op::{Derivative, ReduceDerivative};
use tdl_ir::{BinaryOp, CompareOp, Dtype, Inst, Op, ReduceOp, ScanOp, Type, UnaryOp, Update, ValueId};

use super::linearize::{Linearizer, Mode};
use super::tape::{Kind, Step, Tan};

impl Linearizer<'_> {
    /// Records the linear part of an instruction with an active operand; the primal has been emitted.
    pub(super) fn rule(&mut self, i: &Inst) {
        let ins: Vec<Option<Tan>> = i.args.iter().map(|a| self.tan(*a)).collect();
        let args = self.map.all(&i.args);
        let Some(out) = i.results.first().copied() else { return };
        let first = || vec![ins[0]];
        match &i.op {
            Op::Unary(UnaryOp::Neg) => self.record(Kind::Neg, first(), out),
            Op::Unary(op) => match &op.def().derivative {
                Derivative::Rule(rule) => {
                    let y = self.map.get(out);
                    let coef = rule(self.b, args[0], y);
                    self.record(Kind::Scale(coef), first(), out);
                }
                Derivative::Zero => {}
                Derivative::NotDifferentiable(reason) => self.refuse(i, *reason),
            },
            Op::Binary(BinaryOp::Add) => self.record(Kind::Add, ins, out),
            Op::Binary(BinaryOp::Sub) => self.record(Kind::Sub, ins, out),
            Op::Binary(op) => self.binary(*op, i, &ins, &args, out),
            Op::Select => self.record(Kind::Select(args[0]), vec![ins[1], ins[2]], out),
            Op::Convert if self.from.ty(i.args[0]).is_float_tensor() => self.record(Kind::Convert, first(), out),
            Op::Convert => {
                let text = "a float converted from an integer or bool that depends on the parameter has no derivative";
                self.refuse(i, text);
            }
            Op::Expand { axes } => self.record(Kind::Expand(axes.clone()), first(), out),
            Op::Reshape | Op::Barrier => self.record(Kind::Reshape, first(), out),
            Op::Permute { perm } => self.record(Kind::Permute(perm.clone()), first(), out),
            Op::Flip { axes } => self.record(Kind::Flip(axes.clone()), first(), out),
            Op::Slice { steps } => {
                self.record(Kind::Slice { steps: steps.clone(), starts: args[1..].to_vec() }, first(), out);
            }
            Op::UpdateSlice { steps, mode } => {
                let update = self.b.ty(args[1]).clone();
                let kind = Kind::UpdateSlice { steps: steps.clone(), starts: args[2..].to_vec(), mode: *mode, update };
                self.record(kind, vec![ins[0], ins[1]], out);
            }
            Op::Concat { axis } => {
                let types = args.iter().map(|a| self.b.ty(*a).clone()).collect();
                self.record(Kind::Concat(*axis, types), ins, out);
            }
            Op::Reduce { op, axes } => self.reduce(*op, axes, &args, &ins, out),
            Op::Scan { op: ScanOp::Sum, axis, reverse } => {
                self.record(Kind::CumSum { axis: *axis, reverse: *reverse }, first(), out);
            }
            // rewritten by `prepare`
            Op::AttentionGrad | Op::Scan { op: ScanOp::Prod | ScanOp::Max | ScanOp::Min, .. } => {}
            Op::Sort { axis, .. } => self.sort(*axis, &ins, i),
            Op::Contract { lhs, rhs, out: labels } => {
                self.bilinear(&ins, &args, [lhs, rhs], out, |other, lhs, rhs| Kind::Contract {
                    other,
                    lhs,
                    rhs,
                    out: labels.clone(),
                });
            }
            Op::Window { lhs, rhs, out: labels, windows } => {
                let steps = args[2..].to_vec();
                self.bilinear(&ins, &args, [lhs, rhs], out, |other, lhs, rhs| {
                    let (out, windows, steps) = (labels.clone(), windows.clone(), steps.clone());
                    Kind::Window { other, lhs, rhs, out, windows, steps }
                });
            }
            Op::Attention => self.attention(i, ins, args),
            Op::Shear { axis, spread } => {
                let kind = Kind::Shear { axis: *axis, spread: *spread, steps: args[1..].to_vec() };
                self.record(kind, first(), out);
            }
            Op::Gather => self.record(Kind::Gather(args[1]), first(), out),
            Op::Scatter { mode } => {
                let winners = (*mode == Update::Set).then(|| self.winners(args[1], args[0]));
                self.record(Kind::Scatter { ids: args[1], mode: *mode, winners }, vec![ins[0], ins[2]], out);
            }
            Op::StackPush | Op::StackTensor => match self.mode {
                Mode::Forward => self.stack_forward(i),
                Mode::Reverse => self.stack_reverse(i),
            },
            // no derivative, or results that are no floats
            Op::Const(_)
            | Op::Dense(_)
            | Op::Text(_)
            | Op::Iota
            | Op::Compare(_)
            | Op::StopGrad
            | Op::ArgReduce { .. }
            | Op::Nonzero
            | Op::Random { .. }
            | Op::StackNew
            | Op::Print { .. }
            | Op::Assert { .. }
            | Op::Checkpoint { .. }
            | Op::Format { .. }
            | Op::Io(_)
            | Op::Debug { .. }
            | Op::Host(_) => {}
            // handled before, or gone
            Op::If | Op::For | Op::While | Op::Call { .. } | Op::Vjp { .. } | Op::Jvp { .. } | Op::Vmap { .. } => {}
        }
    }

    /// A product: linear in each operand with the other. `kind` makes the step of the other operand, the tangent's labels and the
    /// other's.
    fn bilinear(
        &mut self,
        ins: &[Option<Tan>],
        args: &[ValueId],
        labels: [&Vec<u8>; 2],
        out: ValueId,
        kind: impl Fn(ValueId, Vec<u8>, Vec<u8>) -> Kind,
    ) {
        let ty = self.b.ty(self.map.get(out)).clone();
        let mut sum = None;
        for k in 0..2 {
            if ins[k].is_none() {
                continue;
            }
            let step = kind(args[1 - k], labels[k].clone(), labels[1 - k].clone());
            let t = self.between(step, vec![ins[k]], ty.clone());
            sum = Some(match sum {
                Some(s) => self.between(Kind::Add, vec![Some(s), Some(t)], ty.clone()),
                None => t,
            });
        }
        if let Some(t) = sum {
            self.set_tan(out, t);
        }
    }

    /// Reverse mode alone: forward mode has it spelt out.
    fn attention(&mut self, i: &Inst, mut ins: Vec<Option<Tan>>, args: Vec<ValueId>) {
        ins.truncate(3);
        let results = self.map.all(&i.results);
        let mut outs = Vec::with_capacity(2);
        for (r, new) in i.results.iter().zip(&results) {
            let ty = self.b.ty(*new).clone();
            outs.push(self.is_active(*r).then(|| {
                let t = self.top().tape.tangent(ty);
                self.set_tan(*r, t);
                t
            }));
        }
        let kind = Kind::Attention { args, results };
        self.top().tape.steps.push(Step { kind, ins, outs, span: i.span });
    }

    fn binary(&mut self, op: BinaryOp, i: &Inst, ins: &[Option<Tan>], args: &[ValueId], out: ValueId) {
        let y = self.map.get(out);
        let ty = self.b.ty(y).clone();
        let mut sum: Option<Tan> = None;
        for (k, derivative) in op.def().derivative.iter().enumerate() {
            if ins[k].is_none() {
                continue;
            }
            match derivative {
                Derivative::Rule(rule) => {
                    let coef = rule(self.b, args[0], args[1], y);
                    let t = self.between(Kind::Scale(coef), vec![ins[k]], ty.clone());
                    sum = Some(match sum {
                        Some(s) => self.between(Kind::Add, vec![Some(s), Some(t)], ty.clone()),
                        None => t,
                    });
                }
                Derivative::Zero => {}
                Derivative::NotDifferentiable(reason) => return self.refuse(i, *reason),
            }
        }
        if let Some(t) = sum {
            self.set_tan(out, t);
        }
    }

    fn reduce(&mut self, op: ReduceOp, axes: &[usize], args: &[ValueId], ins: &[Option<Tan>], out: ValueId) {
        let x = args[0];
        match op.def().derivative {
            ReduceDerivative::Linear => self.record(Kind::Sum(axes.to_vec()), vec![ins[0]], out),
            ReduceDerivative::Coefficient(rule) => {
                let y = self.map.get(out);
                let coef = rule(self.b, x, y, axes);
                let ty = self.b.ty(x).clone();
                let t = self.between(Kind::Scale(coef), vec![ins[0]], ty);
                self.record(Kind::Sum(axes.to_vec()), vec![Some(t)], out);
            }
            ReduceDerivative::Zero => {}
        }
    }

    /// Sorted values are a gather of the flattened operand.
    fn sort(&mut self, axis: usize, ins: &[Option<Tan>], i: &Inst) {
        let Some(dx) = ins[0] else { return };
        let (values, indices) = (i.results[0], self.map.get(i.results[1]));
        let ty = self.b.ty(self.map.get(values)).clone();
        let b = &mut *self.b;
        let dims = b.dims(indices);
        // row-major position of (…, indices, …)
        let mut flat = None;
        let mut stride = b.const_i64(1);
        for k in (0..dims.len()).rev() {
            let coordinate = if k == axis {
                indices
            } else {
                let iota = b.inst1(Op::Iota, vec![], Type::tensor(Dtype::I64, vec![dims[k]]));
                let others = (0..dims.len()).filter(|a| *a != k).collect();
                b.expand(iota, others, &dims)
            };
            let wide = b.splat(stride, &dims);
            let part = b.mul(coordinate, wide);
            flat = Some(match flat {
                Some(f) => b.add(f, part),
                None => part,
            });
            let d = b.dim_value(dims[k]);
            stride = b.size_binary(BinaryOp::Mul, stride, d);
        }
        let line = vec![b.dim(stride)];
        let ids = flat.map(|f| b.reshape(f, &line));
        let Some(ids) = ids else { return };
        let line = Type::tensor(ty.dtype().unwrap_or(Dtype::F32), line);
        let t = self.between(Kind::Reshape, vec![Some(dx)], line.clone());
        let t = self.between(Kind::Gather(ids), vec![Some(t)], line);
        self.record(Kind::Reshape, vec![Some(t)], values);
    }

    /// Which rows of a scatter that replaces survive: the last of each index.
    fn winners(&mut self, ids: ValueId, x: ValueId) -> ValueId {
        let b = &mut *self.b;
        let dims = b.dims(ids);
        let n = b.dims(x)[0];
        let count = b.numel(&dims);
        let line = vec![b.dim(count)];
        let order = b.inst1(Op::Iota, vec![], Type::tensor(Dtype::I64, line));
        let order = b.reshape(order, &dims);
        let none = b.full(-1.0, Dtype::I64, &[n]);
        let last =
            b.inst1(Op::Scatter { mode: Update::Set }, vec![none, ids, order], Type::tensor(Dtype::I64, vec![n]));
        let ty = b.ty(order).clone();
        let seen = b.inst1(Op::Gather, vec![last, ids], ty);
        b.compare(CompareOp::Eq, seen, order)
    }
}
