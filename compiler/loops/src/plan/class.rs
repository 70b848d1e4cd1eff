//! What kind of work an operation is.

use rustc_hash::FxHashSet;
use tdl_ir::{BinaryOp, Inst, Op, UnaryOp, ValueId};

use crate::values::{Role, Values};

/// An operation that can be computed element by element where it is used.
pub fn inlinable(op: &Op) -> bool {
    matches!(
        op,
        Op::Iota
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
            | Op::Gather
    )
}

/// An inlinable operation that only says where elements stand.
pub fn movement(op: &Op) -> bool {
    matches!(
        op,
        Op::Iota
            | Op::Expand { .. }
            | Op::Reshape
            | Op::Permute { .. }
            | Op::Slice { .. }
            | Op::Flip { .. }
            | Op::StopGrad
            | Op::Barrier
    )
}

pub fn op_cost(op: &Op) -> u32 {
    match op {
        Op::Unary(u) => match u {
            UnaryOp::Neg
            | UnaryOp::Not
            | UnaryOp::Abs
            | UnaryOp::Sign
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Round
            | UnaryOp::Trunc
            | UnaryOp::IsNan
            | UnaryOp::IsFinite => 1,
            UnaryOp::Sqrt | UnaryOp::Rsqrt => 4,
            _ => 12,
        },
        Op::Binary(b) => match b {
            BinaryOp::Div => 4,
            BinaryOp::FloorDiv | BinaryOp::Rem => 6,
            BinaryOp::Pow | BinaryOp::Atan2 => 24,
            BinaryOp::Polygamma => 400,
            _ => 1,
        },
        Op::Compare(_) | Op::Select | Op::Convert => 1,
        Op::Gather | Op::Shear { .. } => 2,
        _ => 0,
    }
}

/// Operations on each element, as a profile counts them: one, but for functions that are series of operations themselves (exp,
/// sin, pow …), which count what they cost.
pub fn flops(op: &Op) -> u32 {
    match op {
        Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Convert => match op_cost(op) {
            0..12 => 1,
            series => series,
        },
        _ => 0,
    }
}

/// True if the instruction or its regions do something that must happen.
pub fn effectful(inst: &Inst) -> bool {
    inst.op.has_effect() || inst.regions.iter().any(|r| r.insts.iter().any(effectful))
}

/// True if the instruction has to run although nobody needs its results: it has an effect, or may not end. (A `while` that
/// surely ends and that nobody needs has been dropped before.)
pub fn must_run(inst: &Inst) -> bool {
    inst.op == Op::While || inst.op.has_effect() || inst.regions.iter().any(|r| r.insts.iter().any(must_run))
}

/// Operations per element of `v`, everything virtual included.
pub fn tree_cost(values: &Values<'_>, v: ValueId) -> u32 {
    let mut seen = FxHashSet::default();
    let mut todo = vec![v];
    let mut cost = 0;
    while let Some(v) = todo.pop() {
        let Some((inst, _)) = values.graph.inst(v) else { continue };
        if !seen.insert(v) {
            continue;
        }
        cost += op_cost(&inst.op).max(u32::from(!movement(&inst.op)));
        for a in &inst.args {
            if values.role(*a) == Role::Virtual {
                todo.push(*a);
            }
        }
    }
    cost
}
