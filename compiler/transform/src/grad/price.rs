//! What it costs to keep a value of a loop's iteration for the backward loop, and what to compute it again.
//!
//! The unit is about the time of one element's arithmetic in a loop over vectors. A byte that is kept is written to memory that
//! the forward loop has not touched yet, and read when it has left the cache; and the memory itself has a price, because it
//! grows with the number of iterations. Extents that are not known are guessed.

use tdl_ir::{BinaryOp, Block, Builder, Dim, Inst, Op, Type, UnaryOp, ValueId};

/// For a byte that is kept.
const BYTE: u64 = 5;
/// Bytes that an access costs however few it reads.
const ACCESS: u64 = 8;
/// Elements that are done at once: fewer cost as much.
const VECTOR: u64 = 8;
/// Iterations of a loop whose number is not known; also an extent.
pub(super) const ITERATIONS: u64 = 64;
/// The inner extent of a product, where it is not known.
const INNER: u64 = 32;
/// Terms of a product's element that cost as much as a byte of it that goes by.
const TERMS: u64 = 16;
/// For an element of a function that is a polynomial or more.
const FUNCTION: u64 = 24;

/// The price of keeping a value; `None` for what cannot be kept.
pub(super) fn keep(ty: &Type) -> Option<u64> {
    match ty {
        Type::Tensor { .. } => Some(numel(ty).saturating_mul(size(ty)).saturating_add(ACCESS).saturating_mul(BYTE)),
        Type::Stack { .. } | Type::Str => None,
    }
}

/// The price of computing an instruction's results again in the backward loop: nothing for what is done on the way, while a
/// kernel reads its operands; `None` for what is never done twice.
pub(super) fn again(b: &Builder, i: &Inst) -> Option<u64> {
    if i.results.is_empty() || i.results.iter().any(|r| matches!(b.ty(*r), Type::Str)) {
        return None;
    }
    match &i.op {
        op if is_free(op) => Some(0),
        // the whole of what it is written into is copied
        Op::UpdateSlice { .. } => Some(2 * elements(b, i.results[0])),
        _ => inside(b, i),
    }
}

/// The price of an instruction in a loop or branch that is computed again.
fn inside(b: &Builder, i: &Inst) -> Option<u64> {
    let result = || elements(b, i.results[0]);
    let operand = || elements(b, i.args[0]);
    match &i.op {
        Op::Const(_)
        | Op::Dense(_)
        | Op::Iota
        | Op::StopGrad
        | Op::Expand { .. }
        | Op::Reshape
        | Op::Permute { .. }
        | Op::Slice { .. }
        | Op::Flip { .. }
        | Op::Shear { .. }
        | Op::StackNew
        | Op::Assert { .. } => Some(0),
        Op::Unary(op) if is_arithmetic(*op) => Some(result()),
        Op::Unary(_) | Op::Binary(BinaryOp::Pow | BinaryOp::Atan2) => Some(FUNCTION.saturating_mul(result())),
        Op::Binary(BinaryOp::Polygamma) => None,
        Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Convert | Op::Concat { .. } | Op::Gather => Some(result()),
        Op::UpdateSlice { .. } | Op::StackPush => Some(elements(b, i.args[1])),
        Op::StackTensor => Some(elements(b, i.results[1])),
        Op::Reduce { .. } | Op::ArgReduce { .. } => Some(operand()),
        Op::Scan { .. } => Some(2 * operand()),
        Op::Contract { lhs, rhs, out } => {
            let sides = [(lhs, i.args[0]), (rhs, i.args[1])];
            let axes = sides.iter().flat_map(|(labels, v)| labels.iter().zip(b.ty(*v).dims()));
            let mut summed: Vec<(u8, u64)> =
                axes.filter(|(l, _)| !out.contains(l)).map(|(l, d)| (*l, extent(d, INNER))).collect();
            summed.sort_unstable();
            summed.dedup_by_key(|(l, _)| *l);
            let terms = summed.iter().fold(1_u64, |n, (_, d)| n.saturating_mul(*d));
            let bytes = size(b.ty(i.results[0])).saturating_mul(result());
            Some(bytes.saturating_mul(2).saturating_add(bytes.saturating_mul(terms) / TERMS))
        }
        Op::If => {
            let sides: Option<Vec<u64>> = i.regions.iter().map(|r| block(b, r)).collect();
            sides.and_then(|s| s.into_iter().max())
        }
        Op::For => {
            let times = b.as_i64(i.args[0]).map_or(ITERATIONS, |n| n.max(1) as u64);
            block(b, &i.regions[0]).map(|p| p.saturating_mul(times))
        }
        Op::While => {
            let sides: Option<Vec<u64>> = i.regions.iter().map(|r| block(b, r)).collect();
            sides.map(|s| s.into_iter().fold(0, u64::saturating_add).saturating_mul(ITERATIONS))
        }
        Op::Barrier
        | Op::Text(_)
        | Op::Sort { .. }
        | Op::Nonzero
        | Op::Window { .. }
        | Op::Attention
        | Op::AttentionGrad
        | Op::Scatter { .. }
        | Op::Random { .. }
        | Op::Call { .. }
        | Op::Vjp { .. }
        | Op::Jvp { .. }
        | Op::Checkpoint { .. }
        | Op::Vmap { .. }
        | Op::Print { .. }
        | Op::Format { .. }
        | Op::Io(_)
        | Op::Debug { .. }
        | Op::Host(_) => None,
    }
}

fn block(b: &Builder, block: &Block) -> Option<u64> {
    let prices: Option<Vec<u64>> = block.insts.iter().map(|i| inside(b, i)).collect();
    prices.map(|p| p.into_iter().fold(VECTOR, u64::saturating_add))
}

/// Elements of a value, rounded up.
fn elements(b: &Builder, v: ValueId) -> u64 {
    numel(b.ty(v)).max(VECTOR)
}

fn numel(ty: &Type) -> u64 {
    ty.dims().iter().fold(1, |n: u64, d| n.saturating_mul(extent(d, ITERATIONS)))
}

fn extent(d: &Dim, guess: u64) -> u64 {
    match d {
        Dim::Const(c) => (*c).max(1) as u64,
        Dim::Val(_) => guess,
    }
}

fn size(ty: &Type) -> u64 {
    ty.dtype().map_or(8, tdl_ir::Dtype::size) as u64
}

/// Done on the way, by the kernel that reads the result.
fn is_free(op: &Op) -> bool {
    match op {
        Op::Const(_)
        | Op::Dense(_)
        | Op::Iota
        | Op::Compare(_)
        | Op::Select
        | Op::Convert
        | Op::StopGrad
        | Op::Expand { .. }
        | Op::Reshape
        | Op::Permute { .. }
        | Op::Slice { .. }
        | Op::Flip { .. }
        | Op::Shear { .. }
        | Op::Gather => true,
        Op::Unary(op) => is_arithmetic(*op),
        Op::Binary(op) => !matches!(op, BinaryOp::Pow | BinaryOp::Atan2 | BinaryOp::Polygamma),
        Op::Barrier
        | Op::Text(_)
        | Op::UpdateSlice { .. }
        | Op::Concat { .. }
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Scan { .. }
        | Op::Sort { .. }
        | Op::Nonzero
        | Op::Contract { .. }
        | Op::Window { .. }
        | Op::Attention
        | Op::AttentionGrad
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
        | Op::Io(_)
        | Op::Debug { .. }
        | Op::Host(_) => false,
    }
}

/// A few instructions of the machine.
fn is_arithmetic(op: UnaryOp) -> bool {
    match op {
        UnaryOp::Neg
        | UnaryOp::Not
        | UnaryOp::Abs
        | UnaryOp::Sign
        | UnaryOp::Floor
        | UnaryOp::Ceil
        | UnaryOp::Round
        | UnaryOp::Trunc
        | UnaryOp::Sqrt
        | UnaryOp::Rsqrt
        | UnaryOp::IsNan
        | UnaryOp::IsFinite => true,
        UnaryOp::Exp
        | UnaryOp::Exp2
        | UnaryOp::Expm1
        | UnaryOp::Log
        | UnaryOp::Log2
        | UnaryOp::Log10
        | UnaryOp::Log1p
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tan
        | UnaryOp::Asin
        | UnaryOp::Acos
        | UnaryOp::Atan
        | UnaryOp::Sinh
        | UnaryOp::Cosh
        | UnaryOp::Tanh
        | UnaryOp::Sigmoid
        | UnaryOp::Erf
        | UnaryOp::Lgamma
        | UnaryOp::Digamma => false,
    }
}
