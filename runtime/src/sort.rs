//! Stable sorting of rows, NaN last.
//!
//! Elements of every dtype become `u64` keys that sort as they do, so there is one sort for all.

use half::{bf16, f16};

use crate::abi::Dtype;

/// A key and the position it came from.
pub type Pair = (u64, u64);

/// Sorts `rows` rows of `len` elements: values, and the `i64` positions they came from.
///
/// # Safety
/// `src` and `values` hold `rows * len` elements of `dtype`, `indices` as many `i64`; `pairs` has room for `len`.
pub unsafe fn rows(
    dtype: Dtype,
    src: *const u8,
    values: *mut u8,
    indices: *mut i64,
    pairs: *mut Pair,
    rows: usize,
    len: usize,
    descending: bool,
) {
    if rows == 0 || len == 0 {
        return;
    }
    // SAFETY: by contract; generated code aligns buffers
    let indices = unsafe { std::slice::from_raw_parts_mut(indices, rows * len) };
    for (row, order) in indices.chunks_exact_mut(len).enumerate() {
        for i in 0..len {
            // SAFETY: by contract
            let key = unsafe { key(dtype, src, row * len + i) };
            let key = match key {
                Some(k) if descending => !k,
                Some(k) => k,
                None => u64::MAX,
            };
            // SAFETY: there is room for `len`
            unsafe { pairs.add(i).write((key, i as u64)) };
        }
        // SAFETY: all of them have been written
        let pairs = unsafe { std::slice::from_raw_parts_mut(pairs, len) };
        // positions differ, so this is stable
        pairs.sort_unstable();
        for (o, (_, i)) in order.iter_mut().zip(&*pairs) {
            *o = *i as i64;
        }
        // SAFETY: by contract
        unsafe {
            match dtype.size() {
                1 => permute::<u8>(src, values, row * len, order),
                2 => permute::<u16>(src, values, row * len, order),
                4 => permute::<u32>(src, values, row * len, order),
                _ => permute::<u64>(src, values, row * len, order),
            }
        }
    }
}

unsafe fn permute<T: Copy>(src: *const u8, dst: *mut u8, start: usize, order: &[i64]) {
    for (i, o) in order.iter().enumerate() {
        // SAFETY: positions within the row
        unsafe { *dst.cast::<T>().add(start + i) = *src.cast::<T>().add(start + *o as usize) };
    }
}

/// A number that orders as element `i` does; `None` for NaN. No float has the key 0 or `u64::MAX`.
unsafe fn key(dtype: Dtype, src: *const u8, i: usize) -> Option<u64> {
    // SAFETY: by contract of `rows`
    unsafe {
        match dtype {
            Dtype::F16 => float((*src.cast::<f16>().add(i)).to_f64()),
            Dtype::Bf16 => float((*src.cast::<bf16>().add(i)).to_f64()),
            Dtype::F32 => float((*src.cast::<f32>().add(i)).into()),
            Dtype::F64 => float(*src.cast::<f64>().add(i)),
            Dtype::I8 => int((*src.cast::<i8>().add(i)).into()),
            Dtype::I16 => int((*src.cast::<i16>().add(i)).into()),
            Dtype::I32 => int((*src.cast::<i32>().add(i)).into()),
            Dtype::I64 => int(*src.cast::<i64>().add(i)),
            Dtype::U8 | Dtype::Bool => Some((*src.add(i)).into()),
            Dtype::U32 => Some((*src.cast::<u32>().add(i)).into()),
            Dtype::U64 => Some(*src.cast::<u64>().add(i)),
        }
    }
}

const SIGN: u64 = 1 << 63;

fn int(x: i64) -> Option<u64> {
    Some(x as u64 ^ SIGN)
}

/// The bits of a float order as integers do, backwards where it is negative; both zeros are equal.
fn float(x: f64) -> Option<u64> {
    let bits = (x + 0.0).to_bits();
    (!x.is_nan()).then_some(if bits & SIGN == 0 { bits | SIGN } else { !bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values and positions of one row.
    fn sorted<T: Copy + Default>(dtype: Dtype, x: &[T], row: usize, descending: bool) -> (Vec<T>, Vec<i64>) {
        let (mut values, mut indices) = (vec![T::default(); x.len()], vec![0; x.len()]);
        let (from, to) = (x.as_ptr().cast(), values.as_mut_ptr().cast());
        let mut pairs = vec![(0, 0); row];
        let pairs = pairs.as_mut_ptr();
        // SAFETY: the buffers have as many elements
        unsafe { rows(dtype, from, to, indices.as_mut_ptr(), pairs, x.len() / row, row, descending) };
        (values, indices)
    }

    #[test]
    fn stable_with_nan_last() {
        let src = [2.0f32, f32::NAN, 1.0, 2.0, -1.0, 0.0, 5.0, -f32::NAN];
        assert_eq!(sorted(Dtype::F32, &src, 4, false).1, [2, 0, 3, 1, 0, 1, 2, 3]);
        assert_eq!(sorted(Dtype::F32, &src, 4, true).1, [0, 3, 2, 1, 2, 1, 0, 3]);
        assert_eq!(sorted(Dtype::F64, &[0.0f64, -0.0, 0.0, -0.0], 4, false).1, [0, 1, 2, 3]);
    }

    #[test]
    fn extremes() {
        let x = [i64::MAX, 0, i64::MIN, -1, i64::MAX];
        assert_eq!(sorted(Dtype::I64, &x, 5, false), (vec![i64::MIN, -1, 0, i64::MAX, i64::MAX], vec![2, 3, 1, 0, 4]));
        assert_eq!(sorted(Dtype::I64, &x, 5, true).1, [0, 4, 1, 3, 2]);
        let x = [u64::MAX, 0, 1 << 63];
        assert_eq!(sorted(Dtype::U64, &x, 3, false).1, [1, 2, 0]);
        assert_eq!(sorted(Dtype::U64, &x, 3, true).1, [0, 2, 1]);
        let x = [f64::INFINITY, -5e-324, f64::NEG_INFINITY, f64::MAX, 5e-324, f64::NAN];
        assert_eq!(sorted(Dtype::F64, &x, 6, false).1, [2, 1, 4, 3, 0, 5]);
        assert_eq!(sorted(Dtype::F64, &x, 6, true).1, [0, 3, 4, 1, 2, 5]);
        assert_eq!(sorted(Dtype::I8, &[3i8, -4, 127, -128], 4, false).0, [-128, -4, 3, 127]);
        assert_eq!(sorted(Dtype::Bool, &[1u8, 0, 1, 0], 4, false).1, [1, 3, 0, 2]);
        let half = [f16::from_f32(1.5), f16::from_f32(-2.0), f16::NAN, f16::from_f32(6e-8)];
        assert_eq!(sorted(Dtype::F16, &half, 4, false).1, [1, 3, 0, 2]);
    }
}
