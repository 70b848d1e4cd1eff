//! Runs a tape forward: tangents of the inputs to tangents of the outputs.

use tdl_ir::{Builder, Op, Type, Update, ValueId};

use super::control::zeros;
use super::loops;
use super::tape::{Kind, Loop, Step, Tan, Tape};

/// Emits the linear program; `None` is zero.
pub fn forward(b: &mut Builder, tape: &Tape, inputs: &[Option<ValueId>]) -> Vec<Option<ValueId>> {
    let mut f = Forward { b, tape, values: vec![None; tape.types.len()] };
    for (t, v) in tape.inputs.iter().zip(inputs) {
        f.values[t.0] = *v;
    }
    for step in &tape.steps {
        f.step(step);
    }
    tape.outputs.iter().map(|t| t.and_then(|t| f.values[t.0])).collect()
}

struct Forward<'a> {
    b: &'a mut Builder,
    tape: &'a Tape,
    values: Vec<Option<ValueId>>,
}

impl Forward<'_> {
    fn ty(&self, t: Tan) -> Type {
        self.tape.types[t.0].clone()
    }

    fn get(&self, t: Option<Tan>) -> Option<ValueId> {
        t.and_then(|t| self.values[t.0])
    }

    fn get_or_zero(&mut self, t: Option<Tan>, ty: &Type) -> ValueId {
        self.get(t).unwrap_or_else(|| zeros(self.b, ty))
    }

    fn step(&mut self, step: &Step) {
        let ins: Vec<Option<ValueId>> = step.ins.iter().map(|t| self.get(*t)).collect();
        if ins.iter().all(Option::is_none) {
            return;
        }
        let Some(Some(out)) = step.outs.iter().find(|o| o.is_some()).copied() else { return };
        let ty = self.ty(out);
        let value = match &step.kind {
            Kind::Add => match (ins[0], ins[1]) {
                (Some(x), Some(y)) => self.b.add(x, y),
                (Some(x), None) | (None, Some(x)) => x,
                (None, None) => return,
            },
            Kind::Sub => match (ins[0], ins[1]) {
                (Some(x), Some(y)) => self.b.sub(x, y),
                (Some(x), None) => x,
                (None, Some(y)) => self.b.neg(y),
                (None, None) => return,
            },
            Kind::If { cond, then, els } => return self.branch(*cond, then, els, &ins, step),
            Kind::For(l) => return self.repeat(l, step),
            Kind::Remat { func, wrt, args, result_count } => {
                let mut all = args.clone();
                for k in wrt {
                    let ty = self.b.ty(args[*k]).clone();
                    all.push(self.get_or_zero(step.ins[*k], &ty));
                }
                let mut types: Vec<Type> = Vec::new();
                for t in &step.outs {
                    types.push(t.map_or(Type::scalar(tdl_ir::Dtype::I64), |t| self.ty(t)));
                }
                let tangents: Vec<Tan> = step.outs.iter().flatten().copied().collect();
                types.extend(tangents.iter().map(|t| self.tape.types[t.0].clone()));
                let results = self.b.inst(Op::Jvp { func: *func, wrt: wrt.clone() }, all, types, Vec::new());
                for (t, v) in tangents.iter().zip(&results[*result_count..]) {
                    self.values[t.0] = Some(*v);
                }
                return;
            }
            Kind::Custom { .. } => return,
            Kind::Neg => self.b.neg(one(&ins)),
            Kind::Scale(coef) => self.b.mul(one(&ins), *coef),
            Kind::Select(cond) => {
                let x = self.get_or_zero(step.ins[0], &ty);
                let y = self.get_or_zero(step.ins[1], &ty);
                self.b.select(*cond, x, y)
            }
            Kind::Convert => self.b.convert(one(&ins), ty.dtype().unwrap_or(tdl_ir::Dtype::F32)),
            Kind::Expand(axes) => self.b.expand(one(&ins), axes.clone(), ty.dims()),
            Kind::Reshape => self.b.reshape(one(&ins), ty.dims()),
            Kind::Permute(perm) => self.b.permute(one(&ins), perm.clone()),
            Kind::Flip(axes) => self.b.inst1(Op::Flip { axes: axes.clone() }, vec![one(&ins)], ty),
            Kind::Slice { steps, starts } => {
                let mut args = vec![one(&ins)];
                args.extend(starts);
                self.b.inst1(Op::Slice { steps: steps.clone() }, args, ty)
            }
            Kind::UpdateSlice { steps, starts, mode, update } => {
                let x = self.get_or_zero(step.ins[0], &ty);
                let Some(u) = ins[1].or_else(|| (*mode == Update::Set).then(|| zeros(self.b, update))) else {
                    self.values[out.0] = Some(x);
                    return;
                };
                let mut args = vec![x, u];
                args.extend(starts);
                self.b.inst1(Op::UpdateSlice { steps: steps.clone(), mode: *mode }, args, ty)
            }
            Kind::Concat(axis, types) => {
                let parts = step.ins.iter().zip(types).map(|(t, ty)| self.get_or_zero(*t, ty)).collect();
                self.b.inst1(Op::Concat { axis: *axis }, parts, ty)
            }
            Kind::Sum(axes) => self.b.sum(one(&ins), axes.clone()),
            Kind::CumSum { axis, reverse } => {
                let op = Op::Scan { op: tdl_ir::ScanOp::Sum, axis: *axis, reverse: *reverse };
                self.b.inst1(op, vec![one(&ins)], ty)
            }
            Kind::Contract { other, lhs, rhs, out } => self.b.contract(one(&ins), *other, lhs, rhs, out),
            Kind::Gather(ids) => self.b.inst1(Op::Gather, vec![one(&ins), *ids], ty),
            Kind::Scatter { ids, mode, .. } => {
                let x = self.get_or_zero(step.ins[0], &ty);
                let u = match (step.ins[1], ins[1]) {
                    (_, Some(u)) => u,
                    (Some(t), None) => {
                        let ty = self.ty(t);
                        zeros(self.b, &ty)
                    }
                    (None, None) => {
                        let mut dims = self.b.dims(*ids);
                        dims.extend_from_slice(&ty.dims()[1..]);
                        zeros(self.b, &Type::tensor(ty.dtype().unwrap_or(tdl_ir::Dtype::F32), dims))
                    }
                };
                self.b.inst1(Op::Scatter { mode: *mode }, vec![x, *ids, u], ty)
            }
            Kind::Push(index) => {
                let x = self.get_or_zero(step.ins[0], &ty);
                let row = Type::tensor(ty.dtype().unwrap_or(tdl_ir::Dtype::F32), ty.dims()[1..].to_vec());
                let u = self.get_or_zero(step.ins[1], &row);
                self.b.update0(x, *index, u, Update::Set)
            }
            Kind::Poison(_) => return,
        };
        self.values[out.0] = Some(value);
    }

    fn branch(&mut self, cond: ValueId, then: &Tape, els: &Tape, ins: &[Option<ValueId>], step: &Step) {
        let wanted: Vec<(usize, Tan)> = step.outs.iter().enumerate().filter_map(|(k, t)| t.map(|t| (k, t))).collect();
        let types: Vec<Type> = wanted.iter().map(|(_, t)| self.ty(*t)).collect();
        let mut regions = Vec::new();
        for tape in [then, els] {
            self.b.begin_region();
            let outs = forward(self.b, tape, ins);
            let results =
                wanted.iter().zip(&types).map(|((k, _), ty)| outs[*k].unwrap_or_else(|| zeros(self.b, ty))).collect();
            regions.push(self.b.end_region(results));
        }
        let results = self.b.inst(Op::If, vec![cond], types, regions);
        for ((_, t), v) in wanted.iter().zip(results) {
            self.values[t.0] = Some(v);
        }
    }

    fn repeat(&mut self, l: &Loop, step: &Step) {
        let out_types: Vec<Type> = step.outs.iter().flatten().map(|t| self.ty(*t)).collect();
        let inits: Vec<ValueId> = (0..l.carried).map(|k| self.get_or_zero(step.ins[k], &out_types[k])).collect();
        let captured: Vec<Option<ValueId>> = step.ins[l.carried..].iter().map(|t| self.get(*t)).collect();
        let results = self.b.for_loop(l.trips, inits, |b, i, carried| {
            let names = loops::names(b, l, i);
            let mut body = l.body.clone();
            body.visit(&mut |v| *v = names.get(*v));
            let mut inputs: Vec<Option<ValueId>> = carried.iter().map(|v| Some(*v)).collect();
            inputs.extend(captured);
            let outs = forward(b, &body, &inputs);
            outs.iter().zip(carried).map(|(o, c)| o.unwrap_or_else(|| b.full_like(0.0, *c))).collect()
        });
        for (t, v) in step.outs.iter().flatten().zip(results) {
            self.values[t.0] = Some(v);
        }
    }
}

fn one(ins: &[Option<ValueId>]) -> ValueId {
    ins[0].expect("a linear step has an operand")
}
