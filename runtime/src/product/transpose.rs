//! Transposed copies, in tiles of whole vectors: a column-wise walk of a matrix whose rows are a power of two apart misses the
//! cache at every step.

macro_rules! transposed {
    ($ty:ident, $n:literal, $tile:path) => {
        /// `dst[j, i] = src[i, j]` for `rows × cols` elements of `src`, whose rows are `stride` apart; `dst` is dense.
        pub unsafe fn $ty(dst: *mut $ty, src: *const $ty, rows: usize, cols: usize, stride: isize) {
            let one = |i: usize, j: usize| {
                // SAFETY: inside both matrices
                unsafe { *dst.add(j * rows + i) = *src.offset(i as isize * stride).add(j) }
            };
            #[cfg(target_arch = "x86_64")]
            let fast = std::arch::is_x86_feature_detected!("avx");
            #[cfg(not(target_arch = "x86_64"))]
            let fast = false;
            let (whole_rows, whole_cols) = if fast { (rows / $n * $n, cols / $n * $n) } else { (0, 0) };
            // bands of columns: their lines of `dst` stay in the cache while the rows go by
            for band in (0..whole_cols).step_by(4 * $n) {
                for i in (0..whole_rows).step_by($n) {
                    for j in (band..whole_cols.min(band + 4 * $n)).step_by($n) {
                        #[cfg(target_arch = "x86_64")]
                        // SAFETY: a whole tile inside both matrices; the processor has AVX
                        unsafe {
                            $tile(dst.add(j * rows + i), rows, src.offset(i as isize * stride).add(j), stride)
                        };
                    }
                }
            }
            for i in 0..rows {
                let from = if i < whole_rows { whole_cols } else { 0 };
                for j in from..cols {
                    one(i, j);
                }
            }
        }
    };
}

transposed!(f32, 8, x86::tile_f32);
transposed!(f64, 4, x86::tile_f64);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Eight by eight.
    #[target_feature(enable = "avx")]
    pub unsafe fn tile_f32(dst: *mut f32, dst_stride: usize, src: *const f32, stride: isize) {
        // SAFETY: the caller's tile
        unsafe {
            let r: [__m256; 8] = std::array::from_fn(|i| _mm256_loadu_ps(src.offset(i as isize * stride)));
            let t: [__m256; 8] = std::array::from_fn(|i| {
                let (a, b) = (r[i / 2 * 2], r[i / 2 * 2 + 1]);
                if i % 2 == 0 { _mm256_unpacklo_ps(a, b) } else { _mm256_unpackhi_ps(a, b) }
            });
            // t: 01lo 01hi 23lo 23hi 45lo 45hi 67lo 67hi
            let quad = |a, b| [_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xEE>(a, b)];
            let ([s0, s1], [s2, s3]) = (quad(t[0], t[2]), quad(t[1], t[3]));
            let ([s4, s5], [s6, s7]) = (quad(t[4], t[6]), quad(t[5], t[7]));
            let out = [(s0, s4), (s1, s5), (s2, s6), (s3, s7)];
            for (j, (a, b)) in out.into_iter().enumerate() {
                _mm256_storeu_ps(dst.add(j * dst_stride), _mm256_permute2f128_ps::<0x20>(a, b));
                _mm256_storeu_ps(dst.add((j + 4) * dst_stride), _mm256_permute2f128_ps::<0x31>(a, b));
            }
        }
    }

    /// Four by four.
    #[target_feature(enable = "avx")]
    pub unsafe fn tile_f64(dst: *mut f64, dst_stride: usize, src: *const f64, stride: isize) {
        // SAFETY: the caller's tile
        unsafe {
            let r: [__m256d; 4] = std::array::from_fn(|i| _mm256_loadu_pd(src.offset(i as isize * stride)));
            let (a, b) = (_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpackhi_pd(r[0], r[1]));
            let (c, d) = (_mm256_unpacklo_pd(r[2], r[3]), _mm256_unpackhi_pd(r[2], r[3]));
            _mm256_storeu_pd(dst, _mm256_permute2f128_pd::<0x20>(a, c));
            _mm256_storeu_pd(dst.add(dst_stride), _mm256_permute2f128_pd::<0x20>(b, d));
            _mm256_storeu_pd(dst.add(2 * dst_stride), _mm256_permute2f128_pd::<0x31>(a, c));
            _mm256_storeu_pd(dst.add(3 * dst_stride), _mm256_permute2f128_pd::<0x31>(b, d));
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_element_moves() {
        for (rows, cols) in [(1, 1), (8, 8), (16, 24), (13, 37), (40, 3), (4, 100)] {
            let stride = cols + 3;
            let src: Vec<f32> = (0..rows * stride).map(|i| i as f32).collect();
            let wide: Vec<f64> = src.iter().map(|x| f64::from(*x)).collect();
            let (mut dst, mut out) = (vec![0.0f32; rows * cols], vec![0.0f64; rows * cols]);
            // SAFETY: the buffers have these shapes
            unsafe {
                super::f32(dst.as_mut_ptr(), src.as_ptr(), rows, cols, stride as isize);
                super::f64(out.as_mut_ptr(), wide.as_ptr(), rows, cols, stride as isize);
            }
            for i in 0..rows {
                for j in 0..cols {
                    assert_eq!(dst[j * rows + i], src[i * stride + j]);
                    assert_eq!(out[j * rows + i], wide[i * stride + j]);
                }
            }
        }
    }
}
