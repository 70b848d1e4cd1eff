//! Attention in terms of other ops: what [`Op::Attention`] and [`Op::AttentionGrad`] compute, for whoever has no kernel for them.

use crate::{BinaryOp, Builder, CompareOp, Dim, Dtype, Op, ReduceOp, Type, UnaryOp, ValueId};

/// The dtype that attention is computed in, which that of the logarithms of its sums is.
pub fn sum_dtype(dtype: Dtype) -> Dtype {
    if matches!(dtype, Dtype::F16 | Dtype::Bf16) { Dtype::F32 } else { dtype }
}

/// The type of the logarithms of the sums of attention with these queries.
pub fn sums_type(queries: &Type) -> Type {
    let dims = queries.dims();
    Type::tensor(sum_dtype(queries.dtype().unwrap_or(Dtype::F32)), &dims[..dims.len().saturating_sub(1)])
}

/// Emits the results of an attention op; none for other ops.
pub fn expand(b: &mut Builder, op: &Op, args: &[ValueId]) -> Option<Vec<ValueId>> {
    match (op, args) {
        (Op::Attention, [q, k, v, reach]) => Some(forward(b, [*q, *k, *v], *reach)),
        (Op::AttentionGrad, [q, k, v, dy, sums, delta, reach]) => {
            Some(backward(b, [*q, *k, *v, *dy], [*sums, *delta], *reach))
        }
        _ => None,
    }
}

/// Scores of all pairs, with their factor and their masks.
struct Scores {
    value: ValueId,
    /// The key counts for the query.
    seen: ValueId,
    /// It counts, or none does.
    weighs: ValueId,
    scale: ValueId,
    dims: Vec<Dim>,
}

/// Labels: leading axes, then those of the name.
fn labels(lead: usize, own: &[u8; 2]) -> Vec<u8> {
    (0..lead).map(|k| k as u8).chain(own.iter().copied()).collect()
}

/// Labels of queries, keys, features of keys and of values.
const QD: &[u8; 2] = b"qd";
const KD: &[u8; 2] = b"kd";
const KE: &[u8; 2] = b"ke";
const QE: &[u8; 2] = b"qe";
const QK: &[u8; 2] = b"qk";

fn product(b: &mut Builder, x: ValueId, y: ValueId, own: [&[u8; 2]; 3]) -> ValueId {
    let lead = b.rank(x) - 2;
    let [x_labels, y_labels, out] = own.map(|own| labels(lead, own));
    b.contract(x, y, &x_labels, &y_labels, &out)
}

fn scores(b: &mut Builder, q: ValueId, k: ValueId, reach: ValueId) -> Scores {
    let products = product(b, q, k, [QD, KD, QK]);
    let (dims, dtype) = (b.dims(products), b.dtype(products));
    let lead = dims.len() - 2;
    let depth = b.dims(q)[lead + 1];
    let depth = b.dim_value(depth);
    let depth = b.convert(depth, dtype);
    let scale = b.unary(UnaryOp::Rsqrt, depth);
    let wide = b.splat(scale, &dims);
    let scaled = b.mul(products, wide);

    let pairs = &dims[lead..];
    let iota = |b: &mut Builder, axis: usize| {
        let line = b.inst1(Op::Iota, vec![], Type::tensor(Dtype::I64, vec![pairs[axis]]));
        b.expand(line, vec![1 - axis], pairs)
    };
    let (row, col) = (iota(b, 0), iota(b, 1));
    let reach = b.splat(reach, pairs);
    let last = b.add(row, reach);
    let none = b.full_like(0.0, last);
    let seen = b.compare(CompareOp::Le, col, last);
    let alone = b.compare(CompareOp::Lt, last, none);
    let weighs = b.binary(BinaryOp::Or, seen, alone);
    let all = |b: &mut Builder, x| b.expand(x, (0..lead).collect(), &dims);
    let (seen, weighs) = (all(b, seen), all(b, weighs));
    let zero = b.full_like(0.0, scaled);
    let lowest = b.full_like(-1e30, scaled);
    let value = b.select(seen, scaled, zero);
    let value = b.select(weighs, value, lowest);
    Scores { value, seen, weighs, scale, dims }
}

/// A value for each query, for all pairs.
fn along_keys(b: &mut Builder, x: ValueId, dims: &[Dim]) -> ValueId {
    b.expand(x, vec![dims.len() - 1], dims)
}

fn forward(b: &mut Builder, operands: [ValueId; 3], reach: ValueId) -> Vec<ValueId> {
    let dtype = b.dtype(operands[0]);
    let [q, k, v] = operands.map(|x| b.convert(x, sum_dtype(dtype)));
    let s = scores(b, q, k, reach);
    let last = s.dims.len() - 1;
    let most = b.reduce(ReduceOp::Max, s.value, vec![last]);
    let ty = b.ty(most).clone();
    let most = b.inst1(Op::StopGrad, vec![most], ty);
    let wide = along_keys(b, most, &s.dims);
    let shifted = b.sub(s.value, wide);
    let weights = b.unary(UnaryOp::Exp, shifted);
    let total = b.sum(weights, vec![last]);
    let wide = along_keys(b, total, &s.dims);
    let weights = b.div(weights, wide);
    let y = product(b, weights, v, [QK, KE, QE]);
    let log = b.unary(UnaryOp::Log, total);
    let sums = b.add(most, log);
    vec![b.convert(y, dtype), sums]
}

fn backward(b: &mut Builder, operands: [ValueId; 4], [sums, delta]: [ValueId; 2], reach: ValueId) -> Vec<ValueId> {
    let dtype = b.dtype(operands[0]);
    let [q, k, v, dy] = operands.map(|x| b.convert(x, sum_dtype(dtype)));
    let s = scores(b, q, k, reach);
    let zero = b.full_like(0.0, s.value);
    let wide = along_keys(b, sums, &s.dims);
    let shifted = b.sub(s.value, wide);
    let shifted = b.select(s.weighs, shifted, zero);
    let weights = b.unary(UnaryOp::Exp, shifted);
    let weights = b.select(s.weighs, weights, zero);
    let dv = product(b, weights, dy, [QK, QE, KE]);
    let dw = product(b, dy, v, [QE, KE, QK]);
    let wide = along_keys(b, delta, &s.dims);
    let less = b.sub(dw, wide);
    let ds = b.mul(weights, less);
    let scale = b.splat(s.scale, &s.dims);
    let ds = b.mul(ds, scale);
    let ds = b.select(s.seen, ds, zero);
    let dq = product(b, ds, k, [QK, KD, QD]);
    let dk = product(b, ds, q, [QK, QD, KD]);
    [dq, dk, dv].map(|x| b.convert(x, dtype)).to_vec()
}
