//! Few contiguous rows times a matrix with contiguous columns: inner products, four columns at a time, so that several streams
//! come from memory at once.

use super::Block;

#[cfg(target_arch = "x86_64")]
pub use crate::simd::avx2 as fast;

#[cfg(not(target_arch = "x86_64"))]
pub fn fast() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
macro_rules! dots {
    ($ty:ident, $vector:ident, $lanes:literal, $zero:ident, $load:ident, $fma:ident, $add:ident, $store:ident) => {
        /// Needs [`fast`]; rows of `a` and columns of `b` are contiguous.
        #[target_feature(enable = "avx2,fma")]
        pub unsafe fn $ty(p: &Block<$ty>) {
            use std::arch::x86_64::*;

            /// The inner products of row `i` with `N` columns; each is the same whatever `N` is.
            #[target_feature(enable = "avx2,fma")]
            unsafe fn some<const N: usize>(p: &Block<$ty>, i: usize, j: usize) {
                const STEP: usize = 2 * $lanes;
                // SAFETY: all indices are inside the block
                unsafe {
                    let x: *const $ty = p.a.at(i, 0);
                    let y: [*const $ty; N] = std::array::from_fn(|u| p.b.at(0, j + u).cast_const());
                    let mut sums: [[$vector; 2]; N] = [[$zero(); 2]; N];
                    let whole = p.k / STEP * STEP;
                    let mut l = 0;
                    while l < whole {
                        let (low, high) = ($load(x.add(l)), $load(x.add(l + $lanes)));
                        for u in 0..N {
                            sums[u][0] = $fma(low, $load(y[u].add(l)), sums[u][0]);
                            sums[u][1] = $fma(high, $load(y[u].add(l + $lanes)), sums[u][1]);
                        }
                        l += STEP;
                    }
                    for u in 0..N {
                        let mut lanes: [$ty; $lanes] = [0.0; $lanes];
                        $store(lanes.as_mut_ptr(), $add(sums[u][0], sums[u][1]));
                        let mut half = $lanes / 2;
                        while half > 0 {
                            for v in 0..half {
                                lanes[v] += lanes[v + half];
                            }
                            half /= 2;
                        }
                        let mut sum = lanes[0];
                        for l in whole..p.k {
                            sum = (*x.add(l)).mul_add(*y[u].add(l), sum);
                        }
                        let c = p.c.at(i, j + u);
                        *c = if p.accumulate { *c + sum } else { sum };
                    }
                }
            }

            // SAFETY: all indices are inside the block
            unsafe {
                let whole = p.n / 4 * 4;
                for j in (0..whole).step_by(4) {
                    for i in 0..p.m {
                        some::<4>(p, i, j);
                    }
                }
                for j in whole..p.n {
                    for i in 0..p.m {
                        some::<1>(p, i, j);
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
dots!(f32, __m256, 8, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_fmadd_ps, _mm256_add_ps, _mm256_storeu_ps);
#[cfg(target_arch = "x86_64")]
dots!(f64, __m256d, 4, _mm256_setzero_pd, _mm256_loadu_pd, _mm256_fmadd_pd, _mm256_add_pd, _mm256_storeu_pd);

#[cfg(not(target_arch = "x86_64"))]
pub unsafe fn f32(_: &Block<f32>) {
    unreachable!("`fast` is false")
}

#[cfg(not(target_arch = "x86_64"))]
pub unsafe fn f64(_: &Block<f64>) {
    unreachable!("`fast` is false")
}
