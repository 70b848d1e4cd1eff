//! One function body for several instruction sets: the staticlib is compiled for any x86-64, the fast loops are not.

/// Defines a function whose body is also compiled with AVX-512 and with AVX2 and FMA; a call picks what the processor has. The
/// body is ordinary Rust, whose loops LLVM vectorises, and gives the same bits in every version (only `mul_add` is fused).
macro_rules! versions {
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        crate::simd::versions! { $(#[$meta])* $vis unsafe fn $name($($arg: $ty),*) $body else {
            // SAFETY: the caller's contract
            unsafe { body($($arg),*) }
        } }
    };
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident($($arg:ident: $ty:ty),*) $body:block else $plain:block) => {
        $(#[$meta])*
        #[allow(clippy::missing_safety_doc)]
        $vis unsafe fn $name($($arg: $ty),*) {
            #[inline(always)]
            unsafe fn body($($arg: $ty),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
                unsafe fn avx512($($arg: $ty),*) {
                    // SAFETY: the caller's contract
                    unsafe { body($($arg),*) }
                }
                #[target_feature(enable = "avx2,fma,bmi2")]
                unsafe fn avx2($($arg: $ty),*) {
                    // SAFETY: the caller's contract
                    unsafe { body($($arg),*) }
                }
                if crate::simd::avx512() {
                    // SAFETY: the processor has these instructions; else the caller's contract
                    return unsafe { avx512($($arg),*) };
                }
                if crate::simd::avx2() {
                    // SAFETY: the processor has these instructions; else the caller's contract
                    return unsafe { avx2($($arg),*) };
                }
            }
            $plain
        }
    };
}

pub(crate) use versions;

#[cfg(target_arch = "x86_64")]
pub fn avx512() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") && avx2()
}

#[cfg(target_arch = "x86_64")]
pub fn avx2() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2") && has!("fma") && has!("bmi2")
}
