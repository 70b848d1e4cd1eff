//! Growable stacks, which a first differentiation left behind, differentiated again in reverse mode: the tangent of a
//! stack is the tensor of all its rows, so each push needs the position it writes to.

use tdl_ir::{BinaryOp, Block, Dim, Inst, Op, Type, ValueId};

use super::linearize::Linearizer;
use super::tape::Kind;

/// What is known of a stack while linearising.
#[derive(Clone, Copy, Debug)]
pub(super) struct StackInfo {
    /// Primal: how many elements it has now.
    pub len: ValueId,
    /// Stands in the types of tangents for how many it will have, until that is known.
    pub total: ValueId,
}

impl Linearizer<'_> {
    /// The type of a value's tangent; a stack's is the tensor of its rows.
    pub(super) fn tangent_type(&self, from: ValueId) -> Type {
        let ty = self.b.ty(self.map.get(from)).clone();
        match (ty, self.stacks.get(&from)) {
            (Type::Stack { dtype, dims }, Some(info)) => {
                let mut all = vec![Dim::Val(info.total)];
                all.extend(dims);
                Type::Tensor { dtype, dims: all }
            }
            (ty, _) => ty,
        }
    }

    /// What is known of a stack; one that had no tangent so far starts here.
    pub(super) fn stack_info(&mut self, stack: ValueId) -> StackInfo {
        if let Some(info) = self.stacks.get(&stack) {
            return *info;
        }
        let (len, total) = (self.b.const_i64(0), self.b.const_i64(0));
        let info = StackInfo { len, total };
        self.stacks.insert(stack, info);
        info
    }

    pub(super) fn stack_reverse(&mut self, i: &Inst) {
        let info = self.stack_info(i.args[0]);
        match i.op {
            Op::StackPush => {
                let x = self.map.get(i.args[1]);
                let rows = self.b.rank(x) > self.from.ty(i.args[0]).rank();
                let more = if rows { self.b.dims(x)[0] } else { Dim::Const(1) };
                let more = self.b.dim_value(more);
                let len = self.b.size_binary(BinaryOp::Add, info.len, more);
                self.stacks.insert(i.results[0], StackInfo { len, ..info });
                let ins = vec![self.tan(i.args[0]), self.tan(i.args[1])];
                let ty = self.tangent_type(i.results[0]);
                let t = self.between(Kind::Push { at: info.len, rows }, ins, ty);
                self.set_tan(i.results[0], t);
            }
            Op::StackTensor => {
                let total = self.map.get(i.results[0]);
                self.top().tape.visit(&mut |v| {
                    if *v == info.total {
                        *v = total;
                    }
                });
                if let Some(t) = self.tan(i.args[0]) {
                    self.set_tan(i.results[1], t);
                }
            }
            _ => unreachable!("only stack ops come here"),
        }
    }
}

/// The loop pushes one element on the carried stack in each iteration and does nothing else with it.
pub(super) fn grows_by_one(body: &Block, param: ValueId, result: ValueId, rank: impl Fn(ValueId) -> usize) -> bool {
    body.insts.iter().any(|i| {
        matches!(i.op, Op::StackPush)
            && i.results[0] == result
            && i.args[0] == param
            && rank(i.args[1]) == rank(i.args[0])
    })
}
