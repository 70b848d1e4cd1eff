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
    /// `B(2k) / (2k (2k-1))`, k = 1…
    const SERIES: [f64; 8] = [
        1.0 / 12.0,
        -1.0 / 360.0,
        1.0 / 1260.0,
        -1.0 / 1680.0,
        1.0 / 1188.0,
        -691.0 / 360_360.0,
        1.0 / 156.0,
        -3617.0 / 122_400.0,
    ];
    let r = 1.0 / (z * z);
    let tail = SERIES.iter().rev().fold(0.0, |acc, c| acc * r + c) / z;
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
    /// `B(2k) / 2k`, k = 1…
    const SERIES: [f64; 8] = [
        1.0 / 12.0,
        -1.0 / 120.0,
        1.0 / 252.0,
        -1.0 / 240.0,
        1.0 / 132.0,
        -691.0 / 32_760.0,
        1.0 / 12.0,
        -3617.0 / 8160.0,
    ];
    let r = 1.0 / (z * z);
    let tail = SERIES.iter().rev().fold(0.0, |acc, c| acc * r + c) * r;
    z.ln() - 0.5 / z - tail - shift
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

    #[test]
    fn sigmoid_does_not_overflow() {
        assert_eq!(sigmoid(-1000.0), 0.0);
        assert_eq!(sigmoid(1000.0), 1.0);
        close(sigmoid(-40.0), 4.248_354_255_291_589e-18);
    }
}
