//! `a @ b` in all rank combinations of NumPy, as one contraction.

use tdl_ir::{Builder, Dim, ValueId};

use super::broadcast;

/// Matrix product: vectors as in NumPy, leading batch axes broadcast by the suffix rule.
pub fn matmul(b: &mut Builder, x: ValueId, y: ValueId) -> ValueId {
    let (rx, ry) = (b.rank(x), b.rank(y));
    let (batch_x, batch_y) = (rx.saturating_sub(2), ry.saturating_sub(2));
    let (x, y) = stretch_batches(b, x, y, batch_x, batch_y);
    let batch = batch_x.max(batch_y) as u8;
    // labels: 0.. batch axes, then i (rows), k (summed), j (columns)
    let (i, k, j) = (batch, batch + 1, batch + 2);
    let batch_labels = |n: usize| (batch - n as u8..batch).collect::<Vec<u8>>();
    let mut lhs = batch_labels(batch_x);
    let mut rhs = batch_labels(batch_y);
    let mut out = batch_labels(batch as usize);
    if rx > 1 {
        lhs.push(i);
        out.push(i);
    }
    lhs.push(k);
    rhs.push(k);
    if ry > 1 {
        rhs.push(j);
        out.push(j);
    }
    b.contract(x, y, &lhs, &rhs, &out)
}

/// Stretches literal-1 batch axes; axes that only one operand has need no copy: the contraction shares labels.
fn stretch_batches(b: &mut Builder, x: ValueId, y: ValueId, bx: usize, by: usize) -> (ValueId, ValueId) {
    let (dx, dy) = (b.dims(x), b.dims(y));
    let common = broadcast::shape(&dx[..bx], &dy[..by]);
    let stretch = |b: &mut Builder, v: ValueId, dims: &[Dim], batch: usize| {
        let mut want = common[common.len() - batch..].to_vec();
        want.extend(&dims[batch..]);
        broadcast::to(b, v, &want)
    };
    let x = stretch(b, x, &dx, bx);
    let y = stretch(b, y, &dy, by);
    (x, y)
}
