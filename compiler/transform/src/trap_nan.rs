//! Stops the program where a NaN first appears, for `--trap-nan`. Runs before values are fused or shared, so that each operation
//! is still that of one expression.
//!
//! before: %y = log %x
//! after:  %y = log %x   (bad = a NaN in %y and none in %x)   assert (not bad), nan

use tdl_ir::{AssertKind, BinaryOp, Builder, Dtype, Function, Inst, Op, Piece, ReduceOp, Type, UnaryOp, ValueId};

use crate::clone::{self, Map};

pub const PASS: crate::Pass = crate::Pass { name: "trap_nan", about: "stop where a NaN first appears", run: function };

fn function(f: &mut Function) {
    *f = clone::function(f, &mut |b, i, map| visit(b, f, i, map));
}

fn visit(b: &mut Builder, from: &Function, inst: &Inst, map: &mut Map) {
    let regions = inst
        .regions
        .iter()
        .map(|r| clone::region_with(b, from, r, map, &mut |b, i, map| visit(b, from, i, map)))
        .collect();
    let results = clone::inst_with(b, from, inst, regions, map);
    if !makes(&inst.op) {
        return;
    }
    for r in results {
        if !b.ty(r).is_float_tensor() {
            continue;
        }
        let mut bad = any_nan(b, r);
        for a in map.all(&inst.args) {
            if b.ty(a).is_float_tensor() {
                let had = any_nan(b, a);
                let had = b.unary(UnaryOp::Not, had);
                bad = b.binary(BinaryOp::And, bad, had);
            }
        }
        let ok = b.unary(UnaryOp::Not, bad);
        let text = format!("`{}` gives NaN here, and none of its operands is NaN", inst.op.name());
        let pieces = vec![Piece::Text(text.into())];
        b.inst(Op::Assert { kind: AssertKind::Nan, pieces }, vec![ok], Vec::new(), Vec::new());
    }
}

fn any_nan(b: &mut Builder, x: ValueId) -> ValueId {
    let ty = b.ty(x).with_dtype(Dtype::Bool);
    let nan = b.inst1(Op::Unary(UnaryOp::IsNan), vec![x], ty);
    let rank = b.rank(nan);
    if rank == 0 {
        return nan;
    }
    b.inst1(Op::Reduce { op: ReduceOp::Any, axes: (0..rank).collect() }, vec![nan], Type::scalar(Dtype::Bool))
}

/// Whether the operation computes floats; the others hand on what they are given.
fn makes(op: &Op) -> bool {
    match op {
        Op::Unary(_) | Op::Binary(_) | Op::Reduce { .. } | Op::Scan { .. } | Op::Contract { .. } | Op::Convert => true,
        Op::Window { .. } | Op::Attention | Op::AttentionGrad => true,
        Op::Scatter { mode } | Op::UpdateSlice { mode, .. } => *mode == tdl_ir::Update::Add,
        Op::Const(_)
        | Op::Dense(_)
        | Op::Text(_)
        | Op::Iota
        | Op::Compare(_)
        | Op::Select
        | Op::StopGrad
        | Op::Barrier
        | Op::Expand { .. }
        | Op::Reshape
        | Op::Permute { .. }
        | Op::Slice { .. }
        | Op::Flip { .. }
        | Op::Shear { .. }
        | Op::Concat { .. }
        | Op::ArgReduce { .. }
        | Op::Sort { .. }
        | Op::Nonzero
        | Op::Gather
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
        | Op::Io(_)
        | Op::Host(_)
        | Op::Debug { .. } => false,
    }
}
