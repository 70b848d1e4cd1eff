//! The numbers that `Op::Random` draws: bit for bit the same on every back end.
//!
//! Element `i` of a draw belongs to the index `j = counter + i` (wrapping). Words come from Philox4x32-10 (Salmon et al.,
//! "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with the two halves of `key` as its key:
//! - a 32-bit word is lane `j % 4` of the block `[lo(j / 4), hi(j / 4), 0, 0]`;
//! - a 64-bit word is the lanes `2 (j % 2)` (low) and `2 (j % 2) + 1` (high) of the block `[lo(j / 2), hi(j / 2), 1, 0]`.
//!
//! `f32` uses 32-bit words, `f64` 64-bit words. Everything below is IEEE arithmetic in the written order, with fused
//! multiply-add exactly where `mul_add` stands, and correctly rounded division and square root.

/// Philox4x32 with ten rounds.
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut a, mut b, mut c, mut d], [mut k0, mut k1]) = (counter, key);
    for _ in 0..10 {
        let p = u64::from(a) * 0xD251_1F53;
        let q = u64::from(c) * 0xCD9E_8D57;
        [a, b, c, d] = [(q >> 32) as u32 ^ b ^ k0, q as u32, (p >> 32) as u32 ^ d ^ k1, p as u32];
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [a, b, c, d]
}

fn block(key: i64, index: u64, domain: u32) -> [u32; 4] {
    philox([index as u32, (index >> 32) as u32, domain, 0], [key as u32, (key as u64 >> 32) as u32])
}

/// The 32-bit word of index `j`.
pub fn word32(key: i64, j: i64) -> u32 {
    let j = j as u64;
    block(key, j / 4, 0)[(j % 4) as usize]
}

/// The 64-bit word of index `j`.
pub fn word64(key: i64, j: i64) -> u64 {
    let j = j as u64;
    let lanes = block(key, j / 2, 1);
    let at = 2 * (j % 2) as usize;
    u64::from(lanes[at]) | u64::from(lanes[at + 1]) << 32
}

/// In `[0, 1)`: a multiple of 2^-24.
pub fn uniform_f32(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// In `[0, 1)`: a multiple of 2^-53.
pub fn uniform_f64(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// Standard normal by the inverse error function of M. Giles ("Approximating the erfinv function", GPU Computing Gems,
/// 2011, single precision). The word's sign bit is the sign; the magnitude is exact in the middle and in the tail.
pub fn normal_f32(word: u32) -> f32 {
    const SCALE: f32 = 1.0 / 4_294_967_296.0;
    let v = word as i32;
    let a = (v ^ (v >> 31)) as u32;
    // |x| = (2a + 1) / 2^32 and 1 - |x|
    let x = (2 * a + 1) as f32 * SCALE;
    let rest = (u32::MAX - 2 * a) as f32 * SCALE;
    let w = -log_f32(rest * (1.0 + x));
    let p = if w < 5.0 { chain32(w - 2.5, &NEAR_F32) } else { chain32(w.sqrt() - 3.0, &FAR_F32) };
    let z = p * x * std::f32::consts::SQRT_2;
    if v < 0 { -z } else { z }
}

/// `c[0]`, then `· x + c[i]`.
#[inline(always)]
fn chain32(x: f32, c: &[f32]) -> f32 {
    c[1..].iter().fold(c[0], |p, c| p.mul_add(x, *c))
}

/// Natural logarithm of a positive normal number: `2 artanh s` with `s = (m - 1) / (m + 1)`, `m` in `[sqrt 1/2, sqrt 2)`.
fn log_f32(t: f32) -> f32 {
    let bits = t.to_bits();
    let e = (bits.wrapping_sub(0x3F35_04F3) as i32) >> 23;
    let m = f32::from_bits(bits.wrapping_sub((e as u32) << 23));
    let s = (m - 1.0) / (m + 1.0);
    let s2 = s * s;
    let p = chain32(s2, &LOG_F32);
    (e as f32).mul_add(std::f32::consts::LN_2, s * p)
}

/// Standard normal by the inverse distribution of M. J. Wichura (Algorithm AS 241, PPND16, Applied Statistics 37, 1988).
pub fn normal_f64(word: u64) -> f64 {
    const SCALE: f64 = 1.0 / 36_893_488_147_419_103_232.0;
    let v = word as i64;
    let a = (v ^ (v >> 63)) as u64;
    // q = |p - 1/2| = (2a + 1) / 2^65, and the tail 1/2 - q
    let q = (2 * a + 1) as f64 * SCALE;
    let z = if q <= 0.425 {
        let r = (-q).mul_add(q, 0.180625);
        q * (horner(r, &A) / horner(r, &B))
    } else {
        let tail = (u64::MAX - 2 * a) as f64 * SCALE;
        let r = (-log_f64(tail)).sqrt();
        if r <= 5.0 { horner(r - 1.6, &C) / horner(r - 1.6, &D) } else { horner(r - 5.0, &E) / horner(r - 5.0, &F) }
    };
    if v < 0 { -z } else { z }
}

fn horner(r: f64, c: &[f64; 8]) -> f64 {
    let p = c[7].mul_add(r, c[6]);
    let p = p.mul_add(r, c[5]);
    let p = p.mul_add(r, c[4]);
    let p = p.mul_add(r, c[3]);
    let p = p.mul_add(r, c[2]);
    let p = p.mul_add(r, c[1]);
    p.mul_add(r, c[0])
}

/// As [`log_f32`].
fn log_f64(t: f64) -> f64 {
    let bits = t.to_bits();
    let e = (bits.wrapping_sub(0x3FE6_A09E_667F_3BCD) as i64) >> 52;
    let m = f64::from_bits(bits.wrapping_sub((e as u64) << 52));
    let s = (m - 1.0) / (m + 1.0);
    let s2 = s * s;
    let p = LOG_F64[1..].iter().fold(LOG_F64[0], |p, c| p.mul_add(s2, *c));
    (e as f64).mul_add(std::f64::consts::LN_2, s * p)
}

/// Coefficients of [`normal_f32`], highest power first: in the middle, and in the tails.
#[expect(clippy::excessive_precision, reason = "coefficients as published")]
pub const NEAR_F32: [f32; 9] = [
    2.810_226_4e-8,
    3.432_739_4e-7,
    -3.523_387_7e-6,
    -4.391_506_5e-6,
    2.185_808_7e-4,
    -1.253_725_03e-3,
    -4.177_681_64e-3,
    0.246_640_727,
    1.501_409_41,
];
#[expect(clippy::excessive_precision, reason = "coefficients as published")]
pub const FAR_F32: [f32; 9] = [
    -2.002_142_57e-4,
    1.009_505_58e-4,
    1.349_343_22e-3,
    -3.673_428_44e-3,
    5.739_507_73e-3,
    -7.622_461_3e-3,
    9.438_870_47e-3,
    1.001_674_06,
    2.832_976_82,
];
/// `2 artanh(s) / s` in powers of `s * s`, highest first.
pub const LOG_F32: [f32; 5] = [2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0, 2.0];
pub const LOG_F64: [f64; 12] = [
    2.0 / 23.0,
    2.0 / 21.0,
    2.0 / 19.0,
    2.0 / 17.0,
    2.0 / 15.0,
    2.0 / 13.0,
    2.0 / 11.0,
    2.0 / 9.0,
    2.0 / 7.0,
    2.0 / 5.0,
    2.0 / 3.0,
    2.0,
];
/// Coefficients of [`normal_f64`] above and below the line, lowest power first: in the middle, and in the tails up to 5 and
/// beyond.
pub const TABLES_F64: [[&[f64; 8]; 2]; 3] = [[&A, &B], [&C, &D], [&E, &F]];

const A: [f64; 8] = [
    3.387_132_872_796_366_5,
    133.141_667_891_784_38,
    1_971.590_950_306_551_3,
    13_731.693_765_509_46,
    45_921.953_931_549_87,
    67_265.770_927_008_7,
    33_430.575_583_588_13,
    2_509.080_928_730_122_7,
];
const B: [f64; 8] = [
    1.0,
    42.313_330_701_600_91,
    687.187_007_492_057_9,
    5_394.196_021_424_751,
    21_213.794_301_586_597,
    39_307.895_800_092_71,
    28_729.085_735_721_943,
    5_226.495_278_852_854,
];
const C: [f64; 8] = [
    1.423_437_110_749_683_5,
    4.630_337_846_156_546,
    5.769_497_221_460_691,
    3.647_848_324_763_204_5,
    1.270_458_252_452_368_4,
    0.241_780_725_177_450_6,
    0.022_723_844_989_269_184,
    7.745_450_142_783_414e-4,
];
const D: [f64; 8] = [
    1.0,
    2.053_191_626_637_759,
    1.676_384_830_183_803_8,
    0.689_767_334_985_1,
    0.148_103_976_427_480_08,
    0.015_198_666_563_616_457,
    5.475_938_084_995_345e-4,
    1.050_750_071_644_416_9e-9,
];
const E: [f64; 8] = [
    6.657_904_643_501_103,
    5.463_784_911_164_114,
    1.784_826_539_917_291_3,
    0.296_560_571_828_504_87,
    0.026_532_189_526_576_124,
    0.001_242_660_947_388_078_4,
    2.711_555_568_743_487_6e-5,
    2.010_334_399_292_288_1e-7,
];
const F: [f64; 8] = [
    1.0,
    0.599_832_206_555_888,
    0.136_929_880_922_735_8,
    0.014_875_361_290_850_615,
    7.868_691_311_456_133e-4,
    1.846_318_317_510_054_7e-5,
    1.421_511_758_316_446e-7,
    2.044_263_103_389_939_8e-15,
];
