//! Rows by index, ranges and random draws.

use std::sync::Arc;

use super::movement::put;
use super::tensor::bytes_of;
use super::{Eval, Tensor, internal};
use crate::op::Dist;
use crate::{Dtype, Update, random};

/// Row numbers of `x` after a check of their range.
fn rows_of(x: &Tensor, ids: &Tensor) -> Eval<Vec<usize>> {
    let n = x.shape.first().copied().unwrap_or(0) as i64;
    let ids = ids.ints();
    match ids.iter().find(|i| !(0..n).contains(*i)) {
        Some(i) => internal(format!("row {i} of {n}")),
        None => Ok(ids.into_iter().map(|i| i as usize).collect()),
    }
}

pub fn gather(x: &Tensor, ids: &Tensor) -> Eval<Tensor> {
    let rows = rows_of(x, ids)?;
    let shape: Vec<usize> = ids.shape.iter().chain(&x.shape[1..]).copied().collect();
    let mut data = Vec::with_capacity(bytes_of(x.dtype, &shape)?);
    let size = x.data.len() / x.shape[0].max(1);
    for r in rows {
        data.extend_from_slice(&x.data[r * size..(r + 1) * size]);
    }
    Ok(Tensor::new(x.dtype, shape, data))
}

pub fn scatter(mut x: Tensor, ids: &Tensor, u: &Tensor, mode: Update) -> Eval<Tensor> {
    let rows = rows_of(&x, ids)?;
    let width: usize = x.shape[1..].iter().product();
    if u.numel() != rows.len() * width {
        return internal(format!("scatter of {:?} into {:?}", u.shape, x.shape));
    }
    let dtype = x.dtype;
    let data = Arc::make_mut(&mut x.data);
    for (i, r) in rows.into_iter().enumerate() {
        for k in 0..width {
            put(data, r * width + k, u, i * width + k, dtype, mode);
        }
    }
    Ok(x)
}

pub fn iota(dtype: Dtype, shape: Vec<usize>) -> Eval<Tensor> {
    bytes_of(dtype, &shape)?;
    let n = shape.iter().product::<usize>() as i64;
    Ok(if dtype.is_float() {
        Tensor::from_floats(dtype, shape, (0..n).map(|i| i as f64))
    } else {
        Tensor::from_ints(dtype, shape, 0..n)
    })
}

pub fn draw(dist: Dist, key: i64, counter: i64, dtype: Dtype, shape: Vec<usize>) -> Eval<Tensor> {
    bytes_of(dtype, &shape)?;
    let n = shape.iter().product::<usize>() as i64;
    let j = (0..n).map(|i| counter.wrapping_add(i));
    Ok(match (dist, dtype) {
        (Dist::Bits, Dtype::U32) => Tensor::from_ints(dtype, shape, j.map(|j| i64::from(random::word32(key, j)))),
        (Dist::Bits, Dtype::U64 | Dtype::I64) => {
            Tensor::from_ints(dtype, shape, j.map(|j| random::word64(key, j) as i64))
        }
        (Dist::Uniform, Dtype::F32) => {
            Tensor::from_floats(dtype, shape, j.map(|j| f64::from(random::uniform_f32(random::word32(key, j)))))
        }
        (Dist::Uniform, Dtype::F64) => {
            Tensor::from_floats(dtype, shape, j.map(|j| random::uniform_f64(random::word64(key, j))))
        }
        (Dist::Normal, Dtype::F32) => {
            Tensor::from_floats(dtype, shape, j.map(|j| f64::from(random::normal_f32(random::word32(key, j)))))
        }
        (Dist::Normal, Dtype::F64) => {
            Tensor::from_floats(dtype, shape, j.map(|j| random::normal_f64(random::word64(key, j))))
        }
        (Dist::Bits | Dist::Uniform | Dist::Normal, dtype) => return internal(format!("a draw of {dtype}")),
    })
}
