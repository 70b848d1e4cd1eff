//! Products of two tensors over shared axes.

use super::movement::permute;
use super::tensor::bytes_of;
use super::{Eval, Tensor, internal};

/// Einsum of two operands, as a batch of `[m, k] x [k, n]` products.
pub fn contract(a: &Tensor, b: &Tensor, lhs: &[u8], rhs: &[u8], out: &[u8]) -> Eval<Tensor> {
    let pick = |labels: &[u8], in_other: bool, other: &[u8], in_out: bool| -> Vec<u8> {
        labels.iter().copied().filter(|l| other.contains(l) == in_other && out.contains(l) == in_out).collect()
    };
    let (batch, summed) = (pick(lhs, true, rhs, true), pick(lhs, true, rhs, false));
    let (rows, cols) = (pick(lhs, false, rhs, true), pick(rhs, false, lhs, true));
    let at = |labels: &[u8], l: u8| labels.iter().position(|x| *x == l).unwrap_or(0);
    let order = |labels: &[u8], groups: [&[u8]; 3]| -> Vec<usize> {
        groups.iter().flat_map(|g| g.iter()).map(|l| at(labels, *l)).collect()
    };
    let (pa, pb) = (order(lhs, [&batch, &rows, &summed]), order(rhs, [&batch, &summed, &cols]));
    if pa.len() != lhs.len() || pb.len() != rhs.len() {
        return internal("a label of `contract` stands in one operand only");
    }
    let (pa, pb) = (permute(a, &pa), permute(b, &pb));
    let extent = |labels: &[u8], from: &[u8], t: &Tensor| -> Vec<usize> {
        labels.iter().map(|l| t.shape[at(from, *l)]).collect()
    };
    let (sb, sm, sk, sn) =
        (extent(&batch, lhs, a), extent(&rows, lhs, a), extent(&summed, lhs, a), extent(&cols, rhs, b));
    if extent(&summed, rhs, b) != sk || extent(&batch, rhs, b) != sb {
        return internal(format!("contract {:?} with {:?}", a.shape, b.shape));
    }
    let size = |s: &[usize]| s.iter().product::<usize>();
    let (nb, m, k, n) = (size(&sb), size(&sm), size(&sk), size(&sn));
    let shape: Vec<usize> = sb.iter().chain(&sm).chain(&sn).copied().collect();
    bytes_of(a.dtype, &shape)?;
    let y = if a.dtype.is_float() {
        let data = floats(&pa.floats(), &pb.floats(), nb, m, k, n);
        Tensor::from_floats(a.dtype, shape, data)
    } else {
        let (x, w) = (pa.ints(), pb.ints());
        let mut data = vec![0_i64; nb * m * n];
        for (row, y) in data.chunks_exact_mut(n.max(1)).enumerate() {
            let first = row / m.max(1) * k * n;
            for l in 0..k {
                let s = x[row * k + l];
                for (y, w) in y.iter_mut().zip(&w[first + l * n..]) {
                    *y = y.wrapping_add(s.wrapping_mul(*w));
                }
            }
        }
        Tensor::from_ints(a.dtype, shape, data)
    };
    let have: Vec<u8> = batch.iter().chain(&rows).chain(&cols).copied().collect();
    let back: Vec<usize> = out.iter().map(|l| at(&have, *l)).collect();
    Ok(permute(&y, &back))
}

/// Sums over runs of 64 first, so that long sums stay accurate.
fn floats(x: &[f64], w: &[f64], nb: usize, m: usize, k: usize, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; nb * m * n];
    if n == 0 {
        return out;
    }
    let mut run = vec![0.0; n];
    for (row, y) in out.chunks_exact_mut(n).enumerate() {
        let first = row / m.max(1) * k * n;
        for start in (0..k).step_by(64) {
            run.fill(0.0);
            for l in start..(start + 64).min(k) {
                let s = x[row * k + l];
                let w = &w[first + l * n..first + (l + 1) * n];
                run.iter_mut().zip(w).for_each(|(y, w)| *y += s * w);
            }
            y.iter_mut().zip(&run).for_each(|(y, r)| *y += r);
        }
    }
    out
}
