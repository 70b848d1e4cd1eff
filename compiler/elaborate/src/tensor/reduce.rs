//! Reductions and what composes from them.

use tdl_ir::{BinaryOp, Builder, CompareOp, Dim, Dtype, Op, ReduceOp, ScanOp, Type, UnaryOp, ValueId};

use super::broadcast;

/// Which axes go, and whether a literal 1 stays in their place.
#[derive(Clone, Debug)]
pub struct Axes {
    /// Ascending.
    pub axes: Vec<usize>,
    pub keepdims: bool,
}

impl Axes {
    pub fn all(rank: usize) -> Axes {
        Axes { axes: (0..rank).collect(), keepdims: false }
    }
}

fn restore(b: &mut Builder, reduced: ValueId, dims: &[Dim], axes: &Axes) -> ValueId {
    if !axes.keepdims {
        return reduced;
    }
    let kept: Vec<Dim> =
        dims.iter().enumerate().map(|(i, d)| if axes.axes.contains(&i) { Dim::Const(1) } else { *d }).collect();
    b.reshape(reduced, &kept)
}

pub fn reduce(b: &mut Builder, op: ReduceOp, x: ValueId, axes: &Axes) -> ValueId {
    let dims = b.dims(x);
    let y = b.reduce(op, x, axes.axes.clone());
    restore(b, y, &dims, axes)
}

/// Number of elements under the reduced axes, in the dtype of `x`.
fn count(b: &mut Builder, x: ValueId, axes: &Axes) -> ValueId {
    let dims: Vec<Dim> = axes.axes.iter().map(|a| b.ty(x).dims()[*a]).collect();
    let dtype = b.dtype(x);
    if let Some(n) = dims.iter().try_fold(1_i64, |n, d| match d {
        Dim::Const(c) => n.checked_mul(*c),
        Dim::Val(_) => None,
    }) {
        return b.const_num(n as f64, dtype);
    }
    let n = b.numel(&dims);
    b.convert(n, dtype)
}

/// In f32 for narrow floats: it is one operation, and neither the sum nor the number of elements need fit them.
pub fn mean(b: &mut Builder, x: ValueId, axes: &Axes) -> ValueId {
    let dtype = b.dtype(x);
    if matches!(dtype, Dtype::F16 | Dtype::Bf16) {
        let wide = b.convert(x, Dtype::F32);
        let mean = mean(b, wide, axes);
        return b.convert(mean, dtype);
    }
    let n = count(b, x, axes);
    let total = reduce(b, ReduceOp::Sum, x, axes);
    let (total, n) = broadcast::pair(b, total, n);
    b.div(total, n)
}

/// `sqrt(x)` with derivative 0 where `x` is 0: the root is taken of 1 there.
pub fn safe_sqrt(b: &mut Builder, x: ValueId) -> ValueId {
    let (zero, one) = (b.full_like(0.0, x), b.full_like(1.0, x));
    let positive = b.compare(CompareOp::Ne, x, zero);
    let inner = b.select(positive, x, one);
    let root = b.unary(UnaryOp::Sqrt, inner);
    b.select(positive, root, zero)
}

pub fn arg(b: &mut Builder, x: ValueId, max: bool, axis: usize, keepdims: bool) -> ValueId {
    let dims = b.dims(x);
    let kept: Vec<Dim> = (0..dims.len()).filter(|i| *i != axis).map(|i| dims[i]).collect();
    let y = b.inst1(Op::ArgReduce { max, axis }, vec![x], Type::tensor(Dtype::I64, kept));
    restore(b, y, &dims, &Axes { axes: vec![axis], keepdims })
}

/// `arg` over all elements in row-major order.
pub fn arg_all(b: &mut Builder, x: ValueId, max: bool) -> ValueId {
    let flat = flatten(b, x);
    arg(b, flat, max, 0, false)
}

/// All elements in one row.
pub fn flatten(b: &mut Builder, x: ValueId) -> ValueId {
    let dims = b.dims(x);
    if dims.len() == 1 {
        return x;
    }
    let n = b.numel(&dims);
    let n = b.dim(n);
    b.reshape(x, &[n])
}

pub fn scan(b: &mut Builder, op: ScanOp, x: ValueId, axis: usize, reverse: bool) -> ValueId {
    let ty = b.ty(x).clone();
    b.inst1(Op::Scan { op, axis, reverse }, vec![x], ty)
}

/// `(sorted, indices)` along `axis`.
pub fn sort(b: &mut Builder, x: ValueId, axis: usize, descending: bool) -> (ValueId, ValueId) {
    let ty = b.ty(x).clone();
    let ids = ty.with_dtype(Dtype::I64);
    let r = b.inst(Op::Sort { axis, descending }, vec![x], vec![ty, ids], Vec::new());
    (r[0], r[1])
}

/// Whether all elements of both (of one shape) differ by at most `atol + rtol * |y|`; false where a NaN is.
pub fn allclose(b: &mut Builder, x: ValueId, y: ValueId, rtol: ValueId, atol: ValueId) -> ValueId {
    let (x, y) = broadcast::pair(b, x, y);
    let same = b.compare(CompareOp::Eq, x, y);
    let d = b.sub(x, y);
    let d = b.unary(UnaryOp::Abs, d);
    let size = b.unary(UnaryOp::Abs, y);
    let (size, rtol) = broadcast::pair(b, size, rtol);
    let bound = b.mul(rtol, size);
    let (bound, atol) = broadcast::pair(b, bound, atol);
    let bound = b.add(bound, atol);
    let near = b.compare(CompareOp::Le, d, bound);
    // an infinite bound proves nothing: infinities are close to themselves alone
    let finite = b.unary(UnaryOp::IsFinite, y);
    let near = b.binary(BinaryOp::And, near, finite);
    let ok = b.binary(BinaryOp::Or, same, near);
    let axes = (0..b.rank(ok)).collect();
    b.reduce(ReduceOp::All, ok, axes)
}
