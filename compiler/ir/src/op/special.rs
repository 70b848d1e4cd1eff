//! Special functions in `f64` that the Rust standard library lacks.
//!
//! Errors stay below 1e-13 relative, absolute near a zero of the function.

use std::f64::consts::PI;

/// Logistic function without overflow.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// -1, 0 or 1; NaN stays.
pub fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else if x == 0.0 {
        0.0
    } else {
        x
    }
}

/// Error function by `2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!`, whose terms are all of one sign
/// (Abramowitz & Stegun 7.1.6).
pub fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let a = x.abs();
    if a >= 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (a, a, 0.0);
    while term > sum * 1e-18 {
        n += 1.0;
        term *= 2.0 * a * a / (2.0 * n + 1.0);
        sum += term;
    }
    (std::f64::consts::FRAC_2_SQRT_PI * (-a * a).exp() * sum).min(1.0).copysign(x)
}

/// `sin(pi x)`, exact at integers.
fn sin_pi(x: f64) -> f64 {
    let r = x - 2.0 * (x / 2.0).round();
    // r in [-1, 1]
    if r.abs() <= 0.25 {
        (PI * r).sin()
    } else if r.abs() <= 0.75 {
        (PI * (0.5 - r.abs())).cos().copysign(r)
    } else {
        (PI * (1.0 - r.abs())).sin().copysign(r)
    }
}

/// Stirling's series of `lgamma`: `B(2k) / (2k (2k-1))`, k = 1…
pub const LGAMMA_SERIES: [f64; 8] = [
    1.0 / 12.0,
    -1.0 / 360.0,
    1.0 / 1260.0,
    -1.0 / 1680.0,
    1.0 / 1188.0,
    -691.0 / 360_360.0,
    1.0 / 156.0,
    -3617.0 / 122_400.0,
];

/// That of `digamma`: `B(2k) / 2k`, k = 1…
pub const DIGAMMA_SERIES: [f64; 8] =
    [1.0 / 12.0, -1.0 / 120.0, 1.0 / 252.0, -1.0 / 240.0, 1.0 / 132.0, -691.0 / 32_760.0, 1.0 / 12.0, -3617.0 / 8160.0];

/// Euler and Maclaurin's for `polygamma`: `B(2k) / (2k)!`, k = 1…
pub const POLYGAMMA_SERIES: [f64; 10] = [
    1.0 / 12.0,
    -1.0 / 720.0,
    1.0 / 30_240.0,
    -1.0 / 1_209_600.0,
    1.0 / 47_900_160.0,
    -691.0 / 1_307_674_368_000.0,
    1.0 / 74_724_249_600.0,
    -3617.0 / 10_670_622_842_880_000.0,
    43_867.0 / 5_109_094_217_170_944_000.0,
    -174_611.0 / 802_857_662_698_291_200_000.0,
];

/// Logarithm of `|gamma(x)|`: recurrence up to 12, then Stirling's series (A&S 6.1.41); reflection (6.1.17) below 0.
pub fn lgamma(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return f64::INFINITY;
    }
    if x <= 0.0 {
        if x == x.floor() {
            return f64::INFINITY;
        }
        return (PI / sin_pi(x).abs()).ln() - lgamma(1.0 - x);
    }
    let (mut z, mut product) = (x, 1.0);
    while z < 12.0 {
        product *= z;
        z += 1.0;
    }
    let r = 1.0 / (z * z);
    let tail = LGAMMA_SERIES.iter().rev().fold(0.0, |acc, c| acc * r + c) / z;
    let ln_sqrt_2pi = 0.918_938_533_204_672_8;
    (z - 0.5) * z.ln() - z + ln_sqrt_2pi + tail - product.ln()
}

/// Derivative of [`lgamma`]: recurrence up to 12, then the asymptotic series (A&S 6.3.18); reflection (6.3.7) below 0.
pub fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::INFINITY.copysign(-x);
    }
    if x < 0.0 {
        if x == x.floor() {
            return f64::NAN;
        }
        let r = x - x.round();
        return digamma(1.0 - x) - PI / (PI * r).tan();
    }
    let (mut z, mut shift) = (x, 0.0);
    while z < 12.0 {
        shift += 1.0 / z;
        z += 1.0;
    }
    if z.is_infinite() {
        return z;
    }
    let r = 1.0 / (z * z);
    let tail = DIGAMMA_SERIES.iter().rev().fold(0.0, |acc, c| acc * r + c) * r;
    z.ln() - 0.5 / z - tail - shift
}

/// `n`-th derivative of [`digamma`] for a whole `n >= 0`; NaN for any other. From `n = 1` on it is `(-1)^(n+1) n!` times
/// the sum of `(x + k)^-(n+1)` over all `k >= 0` (A&S 6.4.10). Below 0 that is the sum over all whole numbers, which has period
/// 1, less that over the numbers below.
pub fn polygamma(n: f64, x: f64) -> f64 {
    if n == 0.0 {
        return digamma(x);
    }
    if x.is_nan() || n.is_nan() || n < 0.0 || n != n.floor() || n.is_infinite() || x == f64::NEG_INFINITY {
        return f64::NAN;
    }
    // of both sums below 0, and of the result
    let sign = if n % 2.0 == 1.0 { 1.0 } else { -1.0 };
    if x > 0.0 {
        return sign * powers(n, x);
    }
    let r = x - x.round_ties_even();
    if r == 0.0 {
        // the two sides of a pole of odd order differ
        return if sign > 0.0 || x == 0.0 { sign * f64::INFINITY } else { f64::NAN };
    }
    let (above, below) = if r > 0.0 { (r, 1.0 - r) } else { (1.0 + r, -r) };
    sign * (powers(n, above) + sign * (powers(n, below) - powers(n, 1.0 - x)))
}

/// `n!` times the sum of `(q + k)^-(n+1)` over all `k >= 0`, for `q > 0`, by Euler and Maclaurin (A&S 23.1.30). The factorial
/// goes into each power, so that neither leaves the range before the product does.
fn powers(n: f64, q: f64) -> f64 {
    let s = n + 1.0;
    let scale = (lgamma(s) / s).exp();
    let (mut z, mut sum) = (q, 0.0);
    while z < 12.0 + s {
        let term = (scale / z).powf(s);
        sum += term;
        z += 1.0;
        if term <= sum * 1e-18 {
            return sum;
        }
    }
    if z.is_infinite() {
        return 0.0;
    }
    let (mut tail, mut factor) = (z / n + 0.5, s / z);
    for (k, c) in POLYGAMMA_SERIES.iter().enumerate() {
        tail += c * factor;
        let at = s + 2.0 * k as f64;
        factor *= (at + 1.0) * (at + 2.0) / (z * z);
    }
    sum + (scale / z).powf(s) * tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(got: f64, want: f64) {
        let error = (got - want).abs() / want.abs().max(1e-300);
        assert!(error < 1e-12, "{got} is not {want} (error {error:e})");
    }

    #[test]
    fn erf_agrees_with_tabulated_values() {
        for (x, y) in [
            (1e-300, 1.128_379_167_095_512_6e-300),
            (0.1, 0.112_462_916_018_284_9),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.5, 0.999_999_256_901_627_7),
        ] {
            close(erf(x), y);
            close(erf(-x), -y);
        }
        assert_eq!(erf(7.0), 1.0);
        assert_eq!(erf(f64::NEG_INFINITY), -1.0);
        assert!(erf(f64::NAN).is_nan());
    }

    #[test]
    fn lgamma_agrees_with_factorials_and_reflection() {
        let mut factorial = 1.0_f64;
        for n in 3..60 {
            factorial *= f64::from(n - 1);
            close(lgamma(f64::from(n)), factorial.ln());
        }
        close(lgamma(0.5), PI.sqrt().ln());
        close(lgamma(-0.5), (2.0 * PI.sqrt()).ln());
        close(lgamma(-2.5), -0.056_243_716_497_674_05);
        close(lgamma(1e-10), 23.025_850_929_882_736);
        close(lgamma(1e300), 1e300 * (1e300_f64.ln() - 1.0));
        assert!(lgamma(1.0).abs() < 1e-14 && lgamma(2.0).abs() < 1e-14);
        assert_eq!(lgamma(-3.0), f64::INFINITY);
    }

    #[test]
    fn digamma_agrees_with_tabulated_values() {
        close(digamma(1.0), -0.577_215_664_901_532_9);
        close(digamma(0.5), -1.963_510_026_021_423_5);
        close(digamma(10.0), 2.251_752_589_066_721);
        close(digamma(-0.5), 0.036_489_973_978_576_52);
        close(digamma(100.0), 4.600_161_852_738_087);
        assert!(digamma(-2.0).is_nan());
    }

    /// Values of mpmath 1.3 at 40 digits (`zeta(n + 1, x)`, `psi(n, x)`).
    #[test]
    fn polygamma_agrees_with_computed_values() {
        for (n, x, y) in [
            (1.0, 1.0, 1.644_934_066_848_226_4),
            (1.0, 0.5, 4.934_802_200_544_679),
            (1.0, 1.0e-8, 1.000_000_000_000_000_2e16),
            (1.0, 12.0, 0.086_901_872_871_768_38),
            (1.0, 123.25, 0.008_146_594_456_080_266),
            (1.0, 10_000_000_000.0, 1.000_000_000_05e-10),
            (2.0, 1.0, -2.404_113_806_319_188_5),
            (2.0, 0.75, -5.302_633_216_337_639_5),
            (2.0, 20.0, -0.002_628_122_402_314_654_8),
            (3.0, 2.5, 0.223_905_848_817_252_06),
            (4.0, 0.1, -2_400_015.607_203_195_3),
            (5.0, 13.0, 7.802_053_330_916_883e-5),
            (8.0, 30.0, -8.757_097_753_984_775e-9),
            (10.0, 1.5, -42_108.858_768_975_49),
            (20.0, 12.0, -6.547_211_936_716_01e-5),
            (20.0, 33.0, -6.922_650_885_618_965e-14),
            (40.0, 1_000_000.0, -2.039_829_004_162_677_8e-194),
            (100.0, 2000.0, -7.547_742_835_794_974e-175),
            (1.0, -0.5, 8.934_802_200_544_679),
            (1.0, -0.3, 13.945_160_267_805_722),
            (2.0, -0.3, 67.639_081_199_883_17),
            (2.0, -3.7, -68.893_454_688_673_54),
            (3.0, -2.25, 1_558.455_023_188_714_4),
            (1.0, -1_000_000.25, 19.739_207_802_179_468),
            (4.0, -12.3, 9_738.760_079_464_893),
            (1.0, -1.0e-9, 9.999_999_999_999_999e17),
        ] {
            close(polygamma(n, x), y);
        }
        assert_eq!(polygamma(0.0, 2.5), digamma(2.5));
        assert_eq!(polygamma(1.0, 0.0), f64::INFINITY);
        assert_eq!(polygamma(2.0, 0.0), f64::NEG_INFINITY);
        assert_eq!(polygamma(3.0, -4.0), f64::INFINITY);
        assert!(polygamma(2.0, -4.0).is_nan());
        assert_eq!(polygamma(1.0, f64::INFINITY), 0.0);
        for (n, x) in [(1.0, f64::NAN), (1.0, f64::NEG_INFINITY), (-1.0, 2.0), (1.5, 2.0), (f64::NAN, 2.0)] {
            assert!(polygamma(n, x).is_nan(), "{n} {x}");
        }
        // far orders end, too
        assert_eq!(polygamma(1e15, 3.0), f64::NEG_INFINITY);
        assert!(polygamma(1e15, 1e300).is_finite());
    }

    #[test]
    fn sigmoid_does_not_overflow() {
        assert_eq!(sigmoid(-1000.0), 0.0);
        assert_eq!(sigmoid(1000.0), 1.0);
        close(sigmoid(-40.0), 4.248_354_255_291_589e-18);
    }
}
