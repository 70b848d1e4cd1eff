//! Ops that move elements without looking at them.

use std::sync::Arc;

use super::tensor::{bytes_of, strides};
use super::{Eval, Tensor, internal};
use crate::{Update, element};

/// The element offsets of a strided box, row-major.
pub fn offsets(shape: &[usize], strides: &[isize], base: isize) -> Vec<usize> {
    let mut out = Vec::with_capacity(shape.iter().product());
    fn walk(shape: &[usize], strides: &[isize], base: isize, out: &mut Vec<usize>) {
        match (shape, strides) {
            ([n], [s]) => out.extend((0..*n as isize).map(|i| (base + i * s) as usize)),
            ([n, shape @ ..], [s, strides @ ..]) => {
                for i in 0..*n as isize {
                    walk(shape, strides, base + i * s, out);
                }
            }
            ([], _) | (_, []) => out.push(base as usize),
        }
    }
    walk(shape, strides, base, &mut out);
    out
}

/// A tensor of the elements at these offsets.
pub fn pick(x: &Tensor, shape: Vec<usize>, offsets: &[usize]) -> Tensor {
    let data = match x.dtype.size() {
        1 => offsets.iter().map(|o| x.data[*o]).collect(),
        4 => sized::<4>(x, offsets),
        8 => sized::<8>(x, offsets),
        _ => sized::<2>(x, offsets),
    };
    Tensor::new(x.dtype, shape, data)
}

fn sized<const N: usize>(x: &Tensor, offsets: &[usize]) -> Vec<u8> {
    let mut data = Vec::with_capacity(offsets.len() * N);
    for o in offsets {
        data.extend_from_slice(&x.data[o * N..(o + 1) * N]);
    }
    data
}

pub fn expand(x: &Tensor, axes: &[usize], shape: Vec<usize>) -> Eval<Tensor> {
    bytes_of(x.dtype, &shape)?;
    let kept: Vec<usize> = (0..shape.len()).filter(|i| !axes.contains(i)).collect();
    if !kept.iter().map(|i| shape[*i]).eq(x.shape.iter().copied()) {
        return internal(format!("expand {:?} to {shape:?} by {axes:?}", x.shape));
    }
    let mut steps = vec![0; shape.len()];
    for (i, s) in kept.iter().zip(x.strides()) {
        steps[*i] = s;
    }
    let o = offsets(&shape, &steps, 0);
    Ok(pick(x, shape, &o))
}

pub fn reshape(x: Tensor, shape: Vec<usize>) -> Eval<Tensor> {
    if bytes_of(x.dtype, &shape)? != x.data.len() {
        return internal(format!("reshape {:?} to {shape:?}", x.shape));
    }
    Ok(Tensor { shape, ..x })
}

pub fn permute(x: &Tensor, perm: &[usize]) -> Tensor {
    let s = x.strides();
    let shape: Vec<usize> = perm.iter().map(|p| x.shape[*p]).collect();
    let steps: Vec<isize> = perm.iter().map(|p| s[*p]).collect();
    let o = offsets(&shape, &steps, 0);
    pick(x, shape, &o)
}

/// Offsets of the box of `shape` at `starts` in `whole`; every element must lie inside.
fn boxed(whole: &[usize], shape: &[usize], starts: &[i64], steps: &[i64]) -> Eval<Vec<usize>> {
    let inside = shape.iter().enumerate().all(|(i, n)| {
        let last = starts[i] + steps[i] * (*n as i64 - 1);
        *n == 0 || (starts[i] >= 0 && last < whole[i] as i64)
    });
    if !inside && !shape.contains(&0) {
        return internal(format!("box {shape:?} at {starts:?} by {steps:?} outside {whole:?}"));
    }
    if shape.contains(&0) {
        return Ok(Vec::new());
    }
    let s = strides(whole);
    let base = s.iter().zip(starts).map(|(s, a)| s * *a as isize).sum();
    let steps: Vec<isize> = s.iter().zip(steps).map(|(s, k)| s * *k as isize).collect();
    Ok(offsets(shape, &steps, base))
}

pub fn slice(x: &Tensor, starts: &[i64], steps: &[i64], shape: Vec<usize>) -> Eval<Tensor> {
    let o = boxed(&x.shape, &shape, starts, steps)?;
    Ok(pick(x, shape, &o))
}

pub fn update_slice(mut x: Tensor, u: &Tensor, starts: &[i64], steps: &[i64], mode: Update) -> Eval<Tensor> {
    let o = boxed(&x.shape, &u.shape, starts, steps)?;
    let dtype = x.dtype;
    let data = Arc::make_mut(&mut x.data);
    for (i, o) in o.iter().enumerate() {
        put(data, *o, u, i, dtype, mode);
    }
    Ok(x)
}

/// Sets element `o` to element `i` of `u`, or adds it.
pub fn put(data: &mut [u8], o: usize, u: &Tensor, i: usize, dtype: crate::Dtype, mode: Update) {
    let size = dtype.size();
    match mode {
        Update::Set => data[o * size..(o + 1) * size].copy_from_slice(&u.data[i * size..(i + 1) * size]),
        Update::Add => {
            let mut sum = Vec::with_capacity(size);
            if dtype.is_float() {
                let s = element::read_float(data, o, dtype) + element::read_float(&u.data, i, dtype);
                element::write_float(&mut sum, s, dtype);
            } else {
                let s = element::read_int(data, o, dtype).wrapping_add(element::read_int(&u.data, i, dtype));
                element::write_int(&mut sum, s, dtype);
            }
            data[o * size..(o + 1) * size].copy_from_slice(&sum);
        }
    }
}

pub fn flip(x: &Tensor, axes: &[usize]) -> Tensor {
    if x.numel() == 0 {
        return x.clone();
    }
    let mut s = x.strides();
    let mut base = 0;
    for a in axes {
        base += s[*a] * (x.shape[*a] as isize - 1);
        s[*a] = -s[*a];
    }
    let o = offsets(&x.shape, &s, base);
    pick(x, x.shape.clone(), &o)
}

pub fn concat(parts: &[&Tensor], axis: usize) -> Eval<Tensor> {
    let first = parts[0];
    let mut shape = first.shape.clone();
    shape[axis] = parts.iter().map(|p| p.shape[axis]).sum();
    let mut data = Vec::with_capacity(bytes_of(first.dtype, &shape)?);
    let outer: usize = shape[..axis].iter().product();
    for i in 0..outer {
        for p in parts {
            let run = p.data.len() / outer;
            data.extend_from_slice(&p.data[i * run..(i + 1) * run]);
        }
    }
    if data.len() != bytes_of(first.dtype, &shape)? {
        return internal("concat of tensors that do not fit".to_string());
    }
    Ok(Tensor::new(first.dtype, shape, data))
}
