//! Vectors of the processor behind one interface. What uses them is compiled once for each instruction set, see [`super::Element`].

/// A register of some elements.
///
/// Safety of all functions: the processor has the instructions; pointers have room for [`Vector::LANES`] elements.
#[allow(clippy::missing_safety_doc)]
pub trait Vector: Copy {
    type Elem: Copy + Default;
    const LANES: usize;
    /// Registers that sums may take.
    const SUMS: usize;

    unsafe fn splat(x: Self::Elem) -> Self;
    unsafe fn load(from: *const Self::Elem) -> Self;
    unsafe fn store(self, to: *mut Self::Elem);
    /// `self + a * b`.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
}

macro_rules! vector {
    ($vector:ty, $elem:ty, $lanes:literal, $sums:literal, $splat:path, $load:path, $store:path, $fma:path) => {
        impl Vector for $vector {
            type Elem = $elem;
            const LANES: usize = $lanes;
            const SUMS: usize = $sums;

            #[inline(always)]
            unsafe fn splat(x: $elem) -> Self {
                // SAFETY: the caller's contract
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn load(from: *const $elem) -> Self {
                // SAFETY: the caller's contract
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $elem) {
                // SAFETY: the caller's contract
                unsafe { $store(to, self) }
            }
            #[inline(always)]
            unsafe fn add_product(self, a: Self, b: Self) -> Self {
                // SAFETY: the caller's contract
                unsafe { $fma(a, b, self) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    vector!(__m512, f32, 16, 28, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps);
    vector!(__m512d, f64, 8, 28, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_fmadd_pd);
    vector!(__m256, f32, 8, 12, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps);
    vector!(__m256d, f64, 4, 12, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd);
}

/// Any processor: LLVM makes of it what there is.
#[derive(Clone, Copy)]
pub struct Plain<T>([T; 4]);

macro_rules! plain {
    ($elem:ty) => {
        impl Vector for Plain<$elem> {
            type Elem = $elem;
            const LANES: usize = 4;
            const SUMS: usize = 8;

            #[inline(always)]
            unsafe fn splat(x: $elem) -> Self {
                Plain([x; 4])
            }
            #[inline(always)]
            unsafe fn load(from: *const $elem) -> Self {
                // SAFETY: the caller's contract
                Plain(unsafe { from.cast::<[$elem; 4]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $elem) {
                // SAFETY: the caller's contract
                unsafe { to.cast::<[$elem; 4]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn add_product(self, a: Self, b: Self) -> Self {
                let mut sum = self.0;
                for k in 0..4 {
                    sum[k] += a.0[k] * b.0[k];
                }
                Plain(sum)
            }
        }
    };
}

plain!(f32);
plain!(f64);
