//! Random draws. A generator is a pair of `i64` scalars, key and counter; a draw of `k` elements advances the counter by `k`.

use tdl_ir::{BinaryOp, Builder, CompareOp, Dim, Dist, Dtype, Op, Type, UnaryOp, ValueId};

use super::{broadcast, reduce};

/// A generator's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub key: ValueId,
    pub counter: ValueId,
}

/// Raw draw in a dtype that the op supports.
fn draw(b: &mut Builder, rng: &mut State, dist: Dist, dtype: Dtype, dims: &[Dim]) -> ValueId {
    let x = b.inst1(Op::Random { dist }, vec![rng.key, rng.counter], Type::tensor(dtype, dims));
    let n = b.numel(dims);
    rng.counter = b.add(rng.counter, n);
    x
}

/// A generator for a seed.
pub fn seeded(b: &mut Builder, seed: ValueId) -> State {
    let counter = b.const_i64(0);
    State { key: seed, counter }
}

/// One independent child: its key is a draw from the parent.
pub fn split(b: &mut Builder, rng: &mut State) -> State {
    let key = draw(b, rng, Dist::Bits, Dtype::I64, &[]);
    let counter = b.const_i64(0);
    State { key, counter }
}

/// A stack of independent children: keys and counters.
pub fn split_many(b: &mut Builder, rng: &mut State, dims: &[Dim]) -> (ValueId, ValueId) {
    let keys = draw(b, rng, Dist::Bits, Dtype::I64, dims);
    let counters = b.full(0.0, Dtype::I64, dims);
    (keys, counters)
}

fn float(b: &mut Builder, rng: &mut State, dist: Dist, dtype: Dtype, dims: &[Dim]) -> ValueId {
    let wide = if dtype == Dtype::F64 { Dtype::F64 } else { Dtype::F32 };
    let x = draw(b, rng, dist, wide, dims);
    b.convert(x, dtype)
}

pub fn normal(b: &mut Builder, rng: &mut State, dtype: Dtype, dims: &[Dim]) -> ValueId {
    float(b, rng, Dist::Normal, dtype, dims)
}

pub fn uniform(b: &mut Builder, rng: &mut State, dtype: Dtype, dims: &[Dim]) -> ValueId {
    let x = float(b, rng, Dist::Uniform, dtype, dims);
    // the largest number below 1, which rounding could reach
    let below = match dtype {
        Dtype::F16 => 1.0 - 1.0 / 2048.0,
        Dtype::Bf16 => 1.0 - 1.0 / 256.0,
        _ => return x,
    };
    let below = b.full_like(below, x);
    b.binary(BinaryOp::Min, x, below)
}

/// Uniform integers in `low..high` (scalars of the drawn dtype, `low < high` asserted before).
pub fn randint(b: &mut Builder, rng: &mut State, dtype: Dtype, dims: &[Dim], low: ValueId, high: ValueId) -> ValueId {
    let bits = draw(b, rng, Dist::Bits, Dtype::U64, dims);
    let range = b.sub(high, low);
    let range = b.convert(range, Dtype::U64);
    let (bits, range) = broadcast::pair(b, bits, range);
    let offset = b.binary(BinaryOp::Rem, bits, range);
    let offset = b.convert(offset, dtype);
    let (offset, low) = broadcast::pair(b, offset, low);
    b.add(offset, low)
}

/// `0..n` in random order.
pub fn permutation(b: &mut Builder, rng: &mut State, n: Dim) -> ValueId {
    let bits = draw(b, rng, Dist::Bits, Dtype::I64, &[n]);
    reduce::sort(b, bits, 0, false).1
}

/// True with probability `p` (in the shape of the draw).
pub fn bernoulli(b: &mut Builder, rng: &mut State, p: ValueId, dims: &[Dim]) -> ValueId {
    let dtype = b.dtype(p);
    let u = uniform(b, rng, dtype, dims);
    let p = broadcast::to(b, p, dims);
    b.compare(CompareOp::Lt, u, p)
}

/// Indices along the last axis of `logits`, drawn by the Gumbel trick.
pub fn categorical(b: &mut Builder, rng: &mut State, logits: ValueId) -> ValueId {
    let (dtype, dims) = (b.dtype(logits), b.dims(logits));
    let u = uniform(b, rng, dtype, &dims);
    let log = b.unary(UnaryOp::Log, u);
    let positive = b.neg(log);
    let log = b.unary(UnaryOp::Log, positive);
    let score = b.sub(logits, log);
    let axis = dims.len().saturating_sub(1);
    reduce::arg(b, score, true, axis, false)
}
