//! Broadcasting: equal shapes, suffixes, and literal 1 that stretches.

use tdl_ir::{Builder, Dim, ValueId};

/// The shape of an elementwise operation on `a` and `b`.
pub fn shape(a: &[Dim], b: &[Dim]) -> Vec<Dim> {
    let (long, short) = if b.len() > a.len() { (b, a) } else { (a, b) };
    let offset = long.len() - short.len();
    let mut out = long.to_vec();
    for (i, d) in short.iter().enumerate() {
        out[offset + i] = pick(out[offset + i], *d);
    }
    out
}

/// Of two extents that are equal or of which one stretches: the one that tells more.
fn pick(a: Dim, b: Dim) -> Dim {
    match (a, b) {
        (Dim::Const(1), other) => other,
        (Dim::Val(_), Dim::Const(c)) if c != 1 => b,
        (Dim::Const(_) | Dim::Val(_), _) => a,
    }
}

/// `x` stretched to `dims`, whose suffix fits the shape of `x`.
pub fn to(b: &mut Builder, x: ValueId, dims: &[Dim]) -> ValueId {
    let own = b.dims(x);
    let offset = dims.len() - own.len();
    let stretched = |i: usize| own[i] == Dim::Const(1) && dims[offset + i] != Dim::Const(1);
    let kept: Vec<Dim> = (0..own.len()).filter(|i| !stretched(*i)).map(|i| own[i]).collect();
    let axes: Vec<usize> = (0..dims.len()).filter(|i| *i < offset || stretched(i - offset)).collect();
    if axes.is_empty() {
        return x;
    }
    let x = b.reshape(x, &kept);
    b.expand(x, axes, dims)
}

/// Both operands in their common shape.
pub fn pair(b: &mut Builder, x: ValueId, y: ValueId) -> (ValueId, ValueId) {
    let dims = shape(b.ty(x).dims(), b.ty(y).dims());
    (to(b, x, &dims), to(b, y, &dims))
}

/// All operands in their common shape.
pub fn all(b: &mut Builder, xs: &[ValueId]) -> Vec<ValueId> {
    let dims = xs.iter().fold(Vec::new(), |acc, x| shape(&acc, b.ty(*x).dims()));
    xs.iter().map(|x| to(b, *x, &dims)).collect()
}
