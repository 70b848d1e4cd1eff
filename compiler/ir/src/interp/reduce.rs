//! Reductions, scans and order along axes.

use std::cmp::Ordering;

use super::movement::permute;
use super::{Eval, Tensor, internal};
use crate::{Dtype, DtypeClass, ReduceOp, Scalar, ScanOp};

/// Sum with an error that grows with the logarithm of the length.
pub fn pairwise(x: &[f64]) -> f64 {
    if x.len() <= 16 {
        return x.iter().fold(0.0, |a, b| a + b);
    }
    let (a, b) = x.split_at(x.len() / 2);
    pairwise(a) + pairwise(b)
}

/// The kept axes in order, then `axes`.
fn axes_last(rank: usize, axes: &[usize]) -> Vec<usize> {
    (0..rank).filter(|i| !axes.contains(i)).chain(axes.iter().copied()).collect()
}

fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut out = vec![0; perm.len()];
    for (i, p) in perm.iter().enumerate() {
        out[*p] = i;
    }
    out
}

pub fn reduce(op: ReduceOp, x: &Tensor, axes: &[usize]) -> Eval<Tensor> {
    let (dtype, def) = (x.dtype, op.def());
    let shape: Vec<usize> = (0..x.shape.len()).filter(|i| !axes.contains(i)).map(|i| x.shape[i]).collect();
    let n: usize = axes.iter().map(|a| x.shape[*a]).product();
    let rows: usize = shape.iter().product();
    let x = permute(x, &axes_last(x.shape.len(), axes));
    if dtype.is_float() {
        let data = x.floats();
        let row = |i: usize| &data[i * n..(i + 1) * n];
        let value = |i: usize| match (op, n) {
            (ReduceOp::Sum, _) => pairwise(row(i)),
            (_, 0) => as_float((def.identity)(dtype)),
            (_, _) => row(i)[1..].iter().fold(row(i)[0], |a, b| def.combine.def().eval_f64(a, *b)),
        };
        return Ok(Tensor::from_floats(dtype, shape, (0..rows).map(value)));
    }
    let mut out = Tensor::new(dtype, vec![0], Vec::new());
    let data = std::sync::Arc::make_mut(&mut out.data);
    for i in 0..rows {
        let mut acc = (def.identity)(dtype);
        for k in 0..n {
            match def.combine.def().eval(acc, x.get(i * n + k), dtype) {
                Some(y) => acc = y,
                None => return internal(format!("`{}` of {dtype}", def.name)),
            }
        }
        crate::element::write(data, acc, dtype);
    }
    Ok(Tensor { shape, ..out })
}

fn as_float(x: Scalar) -> f64 {
    match x {
        Scalar::Float(bits) => f64::from_bits(bits),
        Scalar::Int(i) => i as f64,
        Scalar::Bool(b) => f64::from(u8::from(b)),
    }
}

/// Total order of elements without NaN.
fn order(a: Scalar, b: Scalar, dtype: Dtype) -> Ordering {
    match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => {
            f64::from_bits(a).partial_cmp(&f64::from_bits(b)).unwrap_or(Ordering::Equal)
        }
        (Scalar::Int(a), Scalar::Int(b)) if dtype.class() == DtypeClass::Unsigned => (a as u64).cmp(&(b as u64)),
        (Scalar::Int(a), Scalar::Int(b)) => a.cmp(&b),
        (Scalar::Bool(a), Scalar::Bool(b)) => a.cmp(&b),
        (Scalar::Float(_) | Scalar::Int(_) | Scalar::Bool(_), _) => Ordering::Equal,
    }
}

fn is_nan(x: Scalar) -> bool {
    matches!(x, Scalar::Float(bits) if f64::from_bits(bits).is_nan())
}

pub fn arg_reduce(max: bool, x: &Tensor, axis: usize) -> Tensor {
    let dtype = x.dtype;
    let n = x.shape[axis];
    let shape: Vec<usize> = (0..x.shape.len()).filter(|i| *i != axis).map(|i| x.shape[i]).collect();
    let rows: usize = shape.iter().product();
    let x = permute(x, &axes_last(x.shape.len(), &[axis]));
    let best = |i: usize| {
        let mut best = 0;
        for k in 1..n {
            let (a, b) = (x.get(i * n + best), x.get(i * n + k));
            let better = if max { Ordering::Greater } else { Ordering::Less };
            if !is_nan(a) && (is_nan(b) || order(b, a, dtype) == better) {
                best = k;
            }
        }
        best as i64
    };
    Tensor::from_ints(Dtype::I64, shape, (0..rows).map(best))
}

pub fn scan(op: ScanOp, x: &Tensor, axis: usize, reverse: bool) -> Eval<Tensor> {
    let (dtype, def) = (x.dtype, op.def());
    let perm = axes_last(x.shape.len(), &[axis]);
    let y = permute(x, &perm);
    let n = x.shape[axis];
    let total = y.numel();
    let rows = total.checked_div(n).unwrap_or(0);
    let at = |i: usize, k: usize| i * n + if reverse { n - 1 - k } else { k };
    let y = if dtype.is_float() {
        let mut data = y.floats();
        for i in 0..rows {
            for k in 1..n {
                data[at(i, k)] = def.combine.def().eval_f64(data[at(i, k - 1)], data[at(i, k)]);
            }
        }
        Tensor::from_floats(dtype, y.shape.clone(), data)
    } else {
        let mut data: Vec<Scalar> = y.elements().collect();
        for i in 0..rows {
            for k in 1..n {
                match def.combine.def().eval(data[at(i, k - 1)], data[at(i, k)], dtype) {
                    Some(s) => data[at(i, k)] = s,
                    None => return internal(format!("`{}` of {dtype}", def.name)),
                }
            }
        }
        let mut bytes = Vec::new();
        data.into_iter().for_each(|s| crate::element::write(&mut bytes, s, dtype));
        Tensor::new(dtype, y.shape.clone(), bytes)
    };
    Ok(permute(&y, &inverse(&perm)))
}

pub fn sort(x: &Tensor, axis: usize, descending: bool) -> (Tensor, Tensor) {
    let dtype = x.dtype;
    let perm = axes_last(x.shape.len(), &[axis]);
    let y = permute(x, &perm);
    let n = x.shape[axis];
    let rows = y.numel().checked_div(n).unwrap_or(0);
    let mut index: Vec<i64> = Vec::with_capacity(y.numel());
    let mut offsets = Vec::with_capacity(y.numel());
    for i in 0..rows {
        let mut ids: Vec<usize> = (0..n).collect();
        ids.sort_by(|a, b| {
            let (a, b) = (y.get(i * n + a), y.get(i * n + b));
            let by_nan = is_nan(a).cmp(&is_nan(b));
            let by_value = order(a, b, dtype);
            by_nan.then(if descending { by_value.reverse() } else { by_value })
        });
        index.extend(ids.iter().map(|k| *k as i64));
        offsets.extend(ids.iter().map(|k| i * n + k));
    }
    let back = inverse(&perm);
    let sorted = super::movement::pick(&y, y.shape.clone(), &offsets);
    let index = Tensor::from_ints(Dtype::I64, y.shape.clone(), index);
    (permute(&sorted, &back), permute(&index, &back))
}

pub fn nonzero(mask: &Tensor) -> Tensor {
    let hits: Vec<i64> = (0..).zip(mask.bools()).filter(|(_, b)| *b).map(|(i, _)| i).collect();
    Tensor::from_ints(Dtype::I64, vec![hits.len()], hits)
}
