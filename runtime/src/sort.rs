//! Stable sorting of rows, NaN last.

use std::cmp::Ordering;

use half::{bf16, f16};

use crate::abi::Dtype;

/// Sorts `rows` rows of `len` elements: values, and the `i64` positions they came from.
///
/// # Safety
/// `src` and `values` hold `rows * len` elements of `dtype`, `indices` as many `i64`.
pub unsafe fn rows(
    dtype: Dtype,
    src: *const u8,
    values: *mut u8,
    indices: *mut i64,
    rows: usize,
    len: usize,
    descending: bool,
) {
    // SAFETY: passed on
    unsafe {
        match dtype {
            Dtype::F16 => {
                typed::<f16>(src, values, indices, rows, len, descending, |a, b| float(a.to_f64(), b.to_f64()))
            }
            Dtype::Bf16 => {
                typed::<bf16>(src, values, indices, rows, len, descending, |a, b| float(a.to_f64(), b.to_f64()))
            }
            Dtype::F32 => {
                typed::<f32>(src, values, indices, rows, len, descending, |a, b| float((*a).into(), (*b).into()))
            }
            Dtype::F64 => typed::<f64>(src, values, indices, rows, len, descending, |a, b| float(*a, *b)),
            Dtype::I8 => typed::<i8>(src, values, indices, rows, len, descending, |a, b| Some(a.cmp(b))),
            Dtype::I16 => typed::<i16>(src, values, indices, rows, len, descending, |a, b| Some(a.cmp(b))),
            Dtype::I32 => typed::<i32>(src, values, indices, rows, len, descending, |a, b| Some(a.cmp(b))),
            Dtype::I64 => typed::<i64>(src, values, indices, rows, len, descending, |a, b| Some(a.cmp(b))),
            Dtype::U8 | Dtype::Bool => typed::<u8>(src, values, indices, rows, len, descending, |a, b| Some(a.cmp(b))),
            Dtype::U32 => typed::<u32>(src, values, indices, rows, len, descending, |a, b| Some(a.cmp(b))),
            Dtype::U64 => typed::<u64>(src, values, indices, rows, len, descending, |a, b| Some(a.cmp(b))),
        }
    }
}

/// `None`: both or one is NaN; see `order`.
fn float(a: f64, b: f64) -> Option<Ordering> {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(&b),
        _ => None,
    }
}

unsafe fn typed<T: Copy>(
    src: *const u8,
    values: *mut u8,
    indices: *mut i64,
    rows: usize,
    len: usize,
    descending: bool,
    compare: fn(&T, &T) -> Option<Ordering>,
) {
    if rows == 0 || len == 0 {
        return;
    }
    // SAFETY: by contract of `rows`
    let (src, values, indices) = unsafe {
        let n = rows * len;
        (
            std::slice::from_raw_parts(src.cast::<T>(), n),
            std::slice::from_raw_parts_mut(values.cast::<T>(), n),
            std::slice::from_raw_parts_mut(indices, n),
        )
    };
    let is_nan = |x: &T| compare(x, x).is_none();
    for row in 0..rows {
        let from = &src[row * len..][..len];
        let order = &mut indices[row * len..][..len];
        for (i, o) in order.iter_mut().enumerate() {
            *o = i as i64;
        }
        order.sort_by(|a, b| {
            let (x, y) = (&from[*a as usize], &from[*b as usize]);
            match compare(x, y) {
                Some(o) if descending => o.reverse(),
                Some(o) => o,
                None => is_nan(x).cmp(&is_nan(y)),
            }
        });
        for (v, o) in values[row * len..][..len].iter_mut().zip(order.iter()) {
            *v = from[*o as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_with_nan_last() {
        let src = [2.0f32, f32::NAN, 1.0, 2.0, -1.0, 0.0, 5.0, f32::NAN];
        let (mut values, mut indices) = ([0.0f32; 8], [0i64; 8]);
        // SAFETY: two rows of four elements
        unsafe { rows(Dtype::F32, src.as_ptr().cast(), values.as_mut_ptr().cast(), indices.as_mut_ptr(), 2, 4, false) };
        assert_eq!(indices, [2, 0, 3, 1, 0, 1, 2, 3]);
        // SAFETY: as above
        unsafe { rows(Dtype::F32, src.as_ptr().cast(), values.as_mut_ptr().cast(), indices.as_mut_ptr(), 2, 4, true) };
        assert_eq!(indices, [0, 3, 2, 1, 2, 1, 0, 3]);
    }
}
