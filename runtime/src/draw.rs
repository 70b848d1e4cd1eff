//! Buffers of random numbers: the functions of [`random`](crate::random), many at a time and on all threads. Element `i`
//! depends on the key and `counter + i` alone, so neither threads nor vectors change a bit.

use crate::abi::Dtype;
use crate::pool::Pool;
use crate::random as r;
use crate::simd::versions;

/// Philox blocks that are computed side by side.
const LANES: usize = 16;
/// Elements that one thread takes at a time.
const CHUNK: i64 = 1 << 14;

/// What is drawn; the numbers are those of the compiler's `Dist`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dist {
    /// Words of 32 or 64 bits.
    Bits = 0,
    /// In `[0, 1)`.
    Uniform = 1,
    /// Standard normal.
    Normal = 2,
}

impl Dist {
    pub fn from_code(code: u32) -> Option<Dist> {
        [Dist::Bits, Dist::Uniform, Dist::Normal].get(code as usize).copied()
    }
}

/// Fills `dst` with `len` numbers of `dtype`: u32, u64 and i64 for bits, f32 and f64 for the others.
///
/// # Safety
/// `dst` has room for them.
pub unsafe fn fill(pool: &Pool, dst: *mut u8, dist: Dist, dtype: Dtype, key: i64, counter: i64, len: i64) {
    let base = dst as usize;
    pool.chunks(len, CHUNK, &|lo, hi| {
        let first = counter.wrapping_add(lo);
        let (from, n) = (lo as usize, (hi - lo) as usize);
        // SAFETY: `lo..hi` is a part of the buffer that nobody else writes
        unsafe {
            match (dist, dtype) {
                (Dist::Bits, d) if d.size() == 4 => bits32((base as *mut u32).add(from), n, key, first),
                (Dist::Bits, _) => bits64((base as *mut u64).add(from), n, key, first),
                (Dist::Uniform, Dtype::F64) => uniform64((base as *mut f64).add(from), n, key, first),
                (Dist::Uniform, _) => uniform32((base as *mut f32).add(from), n, key, first),
                (Dist::Normal, Dtype::F64) => normal64((base as *mut f64).add(from), n, key, first),
                (Dist::Normal, _) => normal32((base as *mut f32).add(from), n, key, first),
            }
        }
    });
}

/// The blocks `first`, `first + 1`, …, by lane.
#[inline(always)]
fn blocks(key: i64, first: u64, domain: u32) -> [[u32; LANES]; 4] {
    let mut a: [u32; LANES] = std::array::from_fn(|i| first.wrapping_add(i as u64) as u32);
    let mut b: [u32; LANES] = std::array::from_fn(|i| (first.wrapping_add(i as u64) >> 32) as u32);
    let (mut c, mut d) = ([domain; LANES], [0u32; LANES]);
    let (mut k0, mut k1) = (key as u32, (key as u64 >> 32) as u32);
    for _ in 0..10 {
        for i in 0..LANES {
            let p = u64::from(a[i]) * 0xD251_1F53;
            let q = u64::from(c[i]) * 0xCD9E_8D57;
            (a[i], b[i]) = ((q >> 32) as u32 ^ b[i] ^ k0, q as u32);
            (c[i], d[i]) = ((p >> 32) as u32 ^ d[i] ^ k1, p as u32);
        }
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [a, b, c, d]
}

/// Words of 32 bits, four to a block.
#[inline(always)]
fn words32(key: i64, j: u64) -> [u32; 4 * LANES] {
    let lanes = blocks(key, j / 4, 0);
    let mut words = [0; 4 * LANES];
    for i in 0..LANES {
        for (l, lane) in lanes.iter().enumerate() {
            words[4 * i + l] = lane[i];
        }
    }
    words
}

/// Words of 64 bits, two to a block.
#[inline(always)]
fn words64(key: i64, j: u64) -> [u64; 2 * LANES] {
    let lanes = blocks(key, j / 2, 1);
    let mut words = [0; 2 * LANES];
    for i in 0..LANES {
        words[2 * i] = u64::from(lanes[0][i]) | u64::from(lanes[1][i]) << 32;
        words[2 * i + 1] = u64::from(lanes[2][i]) | u64::from(lanes[3][i]) << 32;
    }
    words
}

macro_rules! fill {
    ($name:ident, $ty:ty, $words:ident, $word:path, $per_block:literal, $value:expr) => {
        versions! {
            unsafe fn $name(out: *mut $ty, n: usize, key: i64, first: i64) {
                const GROUP: usize = $per_block * LANES;
                let value = $value;
                // SAFETY: `out` has room for `n` numbers
                let out = unsafe { std::slice::from_raw_parts_mut(out, n) };
                let mut i = 0;
                while i < n {
                    let j = (first as u64).wrapping_add(i as u64);
                    if j % $per_block == 0 && i + GROUP <= n && j <= u64::MAX - GROUP as u64 {
                        let words = $words(key, j);
                        for (o, w) in out[i..i + GROUP].iter_mut().zip(words) {
                            *o = value(w);
                        }
                        i += GROUP;
                    } else {
                        out[i] = value($word(key, j as i64));
                        i += 1;
                    }
                }
            } else {
                for i in 0..n {
                    let value = $value;
                    // SAFETY: `out` has room for `n` numbers
                    unsafe { *out.add(i) = value($word(key, first.wrapping_add(i as i64))) };
                }
            }
        }
    };
}

fill!(bits32, u32, words32, r::word32, 4, |w: u32| w);
fill!(bits64, u64, words64, r::word64, 2, |w: u64| w);
fill!(uniform32, f32, words32, r::word32, 4, r::uniform_f32);
fill!(uniform64, f64, words64, r::word64, 2, r::uniform_f64);
fill!(normal32, f32, words32, r::word32, 4, r::normal_f32);
fill!(normal64, f64, words64, r::word64, 2, r::normal_f64);

#[cfg(test)]
mod tests {
    use super::*;

    /// What Random123 publishes for philox4x32-10 (kat_vectors).
    #[test]
    fn philox_gives_the_published_numbers() {
        let all = u32::MAX;
        for (counter, key, want) in [
            ([0; 4], [0; 2], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
            ([all; 4], [all; 2], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
            (
                [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
                [0xa4093822, 0x299f31d0],
                [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
            ),
        ] {
            assert_eq!(r::philox(counter, key), want);
        }
    }

    fn draw<T: Copy + Default>(dist: Dist, dtype: Dtype, counter: i64, n: usize, threads: usize) -> Vec<T> {
        let mut out = vec![T::default(); n];
        // SAFETY: room for `n` numbers
        unsafe { fill(&Pool::new(threads), out.as_mut_ptr().cast(), dist, dtype, -3, counter, n as i64) };
        out
    }

    #[test]
    fn every_element_depends_on_its_index_alone() {
        for counter in [0, 1, 2, 3, 1 << 40, -70, i64::MAX - 100] {
            let n = 40_000;
            let at = |i: usize| counter.wrapping_add(i as i64);
            let all = |f: &dyn Fn(i64) -> u64| (0..n).map(|i| f(at(i))).collect::<Vec<u64>>();
            let f32s = |v: Vec<f32>| v.into_iter().map(|x| u64::from(x.to_bits())).collect::<Vec<_>>();
            let f64s = |v: Vec<f64>| v.into_iter().map(f64::to_bits).collect::<Vec<_>>();
            let word32 = |j| r::word32(-3, j);
            let word64 = |j| r::word64(-3, j);
            let bits: Vec<u32> = draw(Dist::Bits, Dtype::U32, counter, n, 2);
            assert_eq!(bits.into_iter().map(u64::from).collect::<Vec<_>>(), all(&|j| word32(j).into()));
            assert_eq!(draw::<u64>(Dist::Bits, Dtype::I64, counter, n, 2), all(&word64));
            let got = f32s(draw(Dist::Uniform, Dtype::F32, counter, n, 2));
            assert_eq!(got, all(&|j| r::uniform_f32(word32(j)).to_bits().into()));
            let got = f64s(draw(Dist::Uniform, Dtype::F64, counter, n, 2));
            assert_eq!(got, all(&|j| r::uniform_f64(word64(j)).to_bits()));
            let got = f32s(draw(Dist::Normal, Dtype::F32, counter, n, 2));
            assert_eq!(got, all(&|j| r::normal_f32(word32(j)).to_bits().into()));
            let got = f64s(draw(Dist::Normal, Dtype::F64, counter, n, 1));
            assert_eq!(got, all(&|j| r::normal_f64(word64(j)).to_bits()));
        }
    }

    #[test]
    fn moments_of_the_normal() {
        let x: Vec<f64> = draw(Dist::Normal, Dtype::F64, 0, 1_000_000, 2);
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let moment = |k: i32| x.iter().map(|v| (v - mean).powi(k)).sum::<f64>() / n;
        assert!(mean.abs() < 4e-3, "{mean}");
        assert!((moment(2) - 1.0).abs() < 6e-3, "{}", moment(2));
        assert!(moment(3).abs() < 1e-2, "{}", moment(3));
        assert!((moment(4) - 3.0).abs() < 4e-2, "{}", moment(4));
    }
}
