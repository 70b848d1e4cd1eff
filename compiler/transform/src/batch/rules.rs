//! Ops on many lanes, or on all iterations of a loop: what each becomes when its operands have one axis more in front.

use tdl_ir::Op;

/// The op whose tensor operands all have the axis; none where that is no op of one kind.
pub fn with_axis(op: &Op) -> Option<Op> {
    let later = |axes: &[usize]| axes.iter().map(|a| a + 1).collect();
    Some(match op {
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Convert
        | Op::StopGrad
        | Op::Barrier
        | Op::Reshape => op.clone(),
        Op::Expand { axes } => Op::Expand { axes: later(axes) },
        Op::Permute { perm } => Op::Permute { perm: std::iter::once(0).chain(later(perm)).collect() },
        Op::Flip { axes } => Op::Flip { axes: later(axes) },
        Op::Shear { axis, spread } => Op::Shear { axis: axis + 1, spread: *spread },
        Op::Concat { axis } => Op::Concat { axis: axis + 1 },
        Op::Reduce { op, axes } => Op::Reduce { op: *op, axes: later(axes) },
        Op::ArgReduce { max, axis } => Op::ArgReduce { max: *max, axis: axis + 1 },
        Op::Scan { op, axis, reverse } => Op::Scan { op: *op, axis: axis + 1, reverse: *reverse },
        Op::Sort { axis, descending } => Op::Sort { axis: axis + 1, descending: *descending },
        // at the same place on all lanes
        Op::UpdateSlice { steps, mode } => {
            Op::UpdateSlice { steps: std::iter::once(1).chain(steps.iter().copied()).collect(), mode: *mode }
        }
        Op::Slice { steps } => Op::Slice { steps: std::iter::once(1).chain(steps.iter().copied()).collect() },
        Op::Const(_)
        | Op::Dense(_)
        | Op::Text(_)
        | Op::Iota
        | Op::Nonzero
        | Op::Contract { .. }
        | Op::Window { .. }
        | Op::Attention
        | Op::AttentionGrad
        | Op::Gather
        | Op::Scatter { .. }
        | Op::Random { .. }
        | Op::If
        | Op::For
        | Op::While
        | Op::Call { .. }
        | Op::Vjp { .. }
        | Op::Jvp { .. }
        | Op::Checkpoint { .. }
        | Op::Vmap { .. }
        | Op::StackNew
        | Op::StackPush
        | Op::StackTensor
        | Op::Print { .. }
        | Op::Assert { .. }
        | Op::Format { .. }
        | Op::Debug { .. }
        | Op::Io(_)
        | Op::Host(_) => return None,
    })
}

/// A product with one label more, on the operands that have the axis; none for other ops.
pub fn with_label(op: &Op, has: [bool; 2]) -> Option<Op> {
    let with = |lhs: &[u8], rhs: &[u8], out: &[u8]| {
        let taken = |l: &u8| lhs.contains(l) || rhs.contains(l) || out.contains(l);
        let label = (b'a'..=b'z').chain(0..=255).find(|l| !taken(l)).unwrap_or_default();
        [(lhs, has[0]), (rhs, has[1]), (out, true)].map(|(labels, has)| {
            let front = has.then_some(label);
            front.into_iter().chain(labels.iter().copied()).collect::<Vec<u8>>()
        })
    };
    match op {
        Op::Contract { lhs, rhs, out } => {
            let [lhs, rhs, out] = with(lhs, rhs, out);
            Some(Op::Contract { lhs, rhs, out })
        }
        Op::Window { lhs, rhs, out, windows } => {
            let [lhs, rhs, out] = with(lhs, rhs, out);
            Some(Op::Window { lhs, rhs, out, windows: windows.clone() })
        }
        _ => None,
    }
}

/// Computes alone, cannot fail, and costs little for each element: may run although its result is not used. (Reads at an index are
/// for the caller to judge.)
pub fn harmless(op: &Op) -> bool {
    match op {
        Op::Const(_)
        | Op::Dense(_)
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
        | Op::Flip { .. }
        | Op::Shear { .. }
        | Op::Concat { .. }
        | Op::Reduce { .. }
        | Op::If
        | Op::Debug { .. } => true,
        Op::Slice { .. }
        | Op::UpdateSlice { .. }
        | Op::ArgReduce { .. }
        | Op::Scan { .. }
        | Op::Sort { .. }
        | Op::Nonzero
        | Op::Contract { .. }
        | Op::Window { .. }
        | Op::Attention
        | Op::AttentionGrad
        | Op::Gather
        | Op::Scatter { .. }
        | Op::Random { .. }
        | Op::For
        | Op::While
        | Op::Call { .. }
        | Op::Vjp { .. }
        | Op::Jvp { .. }
        | Op::Checkpoint { .. }
        | Op::Vmap { .. }
        | Op::StackNew
        | Op::StackPush
        | Op::StackTensor
        | Op::Print { .. }
        | Op::Assert { .. }
        | Op::Format { .. }
        | Op::Io(_)
        | Op::Host(_) => false,
    }
}

/// More instructions than this in a branch are much work for those who do not take it.
pub const MOST_IN_VAIN: usize = 40;
