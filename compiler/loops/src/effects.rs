//! Text, output, failure, files.

use std::sync::Arc;

use tdl_ir::{Dtype, HostFn, Inst, IoOp, Op, Type, ValueId};

use crate::ir::*;
use crate::lower::Lower;
use crate::size::Size;
use crate::values::Role;

impl<'a> Lower<'a> {
    fn arg(&mut self, v: ValueId) -> Arg {
        match self.ty(v) {
            Type::Str => Arg::Str(self.handle(v)),
            Type::Tensor { dtype, dims } if dims.is_empty() => Arg::Scalar { value: self.scalar(v), dtype: *dtype },
            Type::Tensor { dtype, .. } | Type::Stack { dtype, .. } => {
                let buf = self.dense(v);
                let dims = self.dims(v);
                Arg::Tensor { ptr: self.buf(buf).ptr, dtype: *dtype, dims }
            }
        }
    }

    fn args(&mut self, vs: &[ValueId]) -> Vec<Arg> {
        vs.iter().map(|v| self.arg(*v)).collect()
    }

    /// The register of a text.
    fn handle(&mut self, v: ValueId) -> Reg {
        match self.scalar(v) {
            Operand::Reg(r) => r,
            Operand::Const(..) => unreachable!("texts are in registers"),
        }
    }

    /// Lowers one instruction that is a node of its own.
    pub fn inst(&mut self, inst: &'a Inst, n: usize) {
        match &inst.op {
            Op::Dense(bytes) => self.constant_tensor(inst, bytes),
            Op::Concat { axis } => self.concat(inst, *axis, n),
            Op::UpdateSlice { steps, mode: _ } => self.update_slice(inst, steps, n),
            Op::Scatter { mode } => self.scatter(inst, *mode, n),
            Op::ArgReduce { max, axis: _ } => self.arg_reduce(inst, *max, n),
            Op::Scan { op, axis, reverse } => self.scan(inst, *op, *axis, *reverse, n),
            Op::Sort { axis: _, descending } => self.sort(inst, *descending, n),
            Op::Nonzero => self.nonzero(inst, n),
            Op::Contract { lhs, rhs, out } => self.contract(inst, lhs, rhs, out, n),
            Op::Window { lhs, rhs, out, windows } => self.window(inst, [lhs, rhs, out], windows, n),
            Op::Attention | Op::AttentionGrad => self.attention(inst, n),
            Op::Random { dist } => self.random(inst, *dist, n),
            Op::If => self.if_else(inst, n),
            Op::For => self.for_loop(inst, n),
            Op::While => self.while_loop(inst, n),
            Op::StackNew | Op::StackPush | Op::StackTensor => self.stack_op(inst, n),
            Op::Print { pieces, end } => {
                let args = self.args(&inst.args);
                self.perform(Stmt::Print { pieces: pieces.clone(), args, end: end.clone() });
            }
            Op::Assert { kind, pieces } => {
                let ok = self.scalar(inst.args[0]);
                if ok == Operand::bool(true) {
                    return;
                }
                let args = self.args(&inst.args[1..]);
                let site = self.site();
                self.host.push(Stmt::Assert { ok, kind: *kind, pieces: pieces.clone(), args, site });
            }
            Op::Format { pieces } => {
                let args = self.args(&inst.args);
                let dst = self.host.named(RegTy::Str, None);
                self.perform(Stmt::Format { dst, pieces: pieces.clone(), args });
                self.scalars.insert(inst.results[0], dst.into());
            }
            Op::Debug { func, variable } => {
                let variable = match variable {
                    Some(name) => inst.args.first().map(|v| (Arc::clone(name), self.arg(*v))),
                    None => None,
                };
                let site = self.site();
                self.host.push(Stmt::Debug { site, func: Arc::clone(func), variable });
            }
            Op::Io(io) => self.io(inst, io, n),
            Op::Host(func) => self.host_call(inst, *func),
            Op::Binary(_) if self.is_tensor(inst.results[0]) => self.accumulate(inst, n),
            // Scalars that come from elements of tensors.
            Op::Const(_)
            | Op::Text(_)
            | Op::Iota
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Select
            | Op::Convert
            | Op::StopGrad
            | Op::Barrier
            | Op::Expand { .. }
            | Op::Reshape
            | Op::Permute { .. }
            | Op::Slice { .. }
            | Op::Flip { .. }
            | Op::Shear { .. }
            | Op::Gather => self.point(inst),
            Op::Reduce { .. } => unreachable!("reductions are in groups"),
            Op::Call { .. } => unreachable!("calls have been inlined"),
            Op::Vjp { .. } | Op::Jvp { .. } | Op::Vmap { .. } | Op::Checkpoint { .. } => {
                unreachable!("`lower` refuses derivatives")
            }
        }
    }

    fn new_scalar(&mut self, v: ValueId, dtype: Dtype) -> Reg {
        let dst = self.host.named(RegTy::Scalar(dtype), self.values.graph.func.value(v).name.clone());
        self.scalars.insert(v, dst.into());
        dst
    }

    /// A tensor that the runtime allocates, with its sizes known by now.
    fn adopt(&mut self, v: ValueId, ptr: Reg) {
        let bytes = self.bytes(v);
        self.adopted(ptr, bytes, v);
    }

    /// Results stand in registers of their types; a tensor's is its address, and its extents are known by the end of the call.
    fn host_call(&mut self, inst: &Inst, func: HostFn) {
        let args = self.args(&inst.args);
        let mut registers = Vec::with_capacity(inst.results.len());
        let mut tensors = Vec::new();
        for r in &inst.results {
            registers.push(match self.ty(*r) {
                Type::Str => {
                    let dst = self.host.named(RegTy::Str, None);
                    self.scalars.insert(*r, dst.into());
                    dst
                }
                Type::Tensor { dtype, dims } if dims.is_empty() => self.new_scalar(*r, *dtype),
                Type::Tensor { .. } | Type::Stack { .. } => {
                    let data = self.host.named(RegTy::Ptr, None);
                    tensors.push((*r, data));
                    data
                }
            });
        }
        self.runtime(RuntimeCall::Host { func, args, results: registers });
        for (r, data) in tensors {
            self.adopt(r, data);
        }
    }

    fn io(&mut self, inst: &Inst, io: &IoOp, n: usize) {
        let path = |l: &mut Self| l.handle(inst.args[0]);
        let results = &inst.results;
        match io {
            IoOp::Save { names } => {
                let path = path(self);
                let entries = names
                    .iter()
                    .zip(&inst.args[1..])
                    .map(|(name, v)| SaveEntry { name: Arc::clone(name), value: self.arg(*v) })
                    .collect();
                self.runtime(RuntimeCall::Save { path, entries });
            }
            IoOp::Load { names, extra } => {
                let path = path(self);
                let renamed = inst.args.get(1).map(|v| self.arg(*v));
                let mut scalars = Vec::new();
                let mut entries = Vec::new();
                for (name, r) in names.iter().zip(results) {
                    let dtype = self.dtype(*r);
                    let buf = if self.is_scalar(*r) {
                        let buf = self.alloc(&Size::constant(8), None);
                        scalars.push((*r, buf, dtype));
                        buf
                    } else if self.values.role(*r) == Role::Dead {
                        let bytes = self.bytes(*r);
                        let buf = self.alloc(&bytes, None);
                        self.temporaries().push(buf);
                        buf
                    } else {
                        self.place(*r, n)
                    };
                    let dims = self.dims(*r);
                    entries.push(LoadEntry { name: Arc::clone(name), dst: self.buf(buf).ptr, dtype, dims });
                }
                self.runtime(RuntimeCall::Load { path, entries, renamed, extra: *extra });
                for (r, buf, dtype) in scalars {
                    self.load_scalar(r, buf, dtype);
                    self.release(buf);
                }
            }
            IoOp::Exists => {
                let path = path(self);
                let dst = self.new_scalar(results[0], Dtype::Bool);
                self.runtime(RuntimeCall::Exists { dst, path });
            }
            IoOp::Clock => {
                let dst = self.new_scalar(results[0], Dtype::F64);
                self.runtime(RuntimeCall::Clock { dst });
            }
            IoOp::Progress => {
                let (i, n) = (self.scalar(inst.args[0]), self.scalar(inst.args[1]));
                self.runtime(RuntimeCall::Progress { i, n });
            }
        }
    }
}
