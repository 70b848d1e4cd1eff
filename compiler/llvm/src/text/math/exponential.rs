//! Exponentials and what is made of them. Sources: W. J. Cody and W. Waite, *Software Manual for the Elementary Functions*,
//! 1980, for range reduction; the f32 forms of `exp`, `tanh` and `erf` are minimax fits of relative error (iterated least squares),
//! the last two rational in `x²`, in the manner of Eigen; the f64 tail of `erf` is a polynomial fit of
//! `log(erfcx(z) / t)`, `t = 2 / (2 + z)`, in the manner of *Numerical Recipes*, 3rd ed., section 6.2.2.

use std::f64::consts::{FRAC_2_SQRT_PI, LN_2, LOG2_E};

use super::{Fp, inverse_factorial};

impl Fp<'_, '_> {
    /// `2 e^r` for `|r| <= ln 2 / 2`; exactly 2 at 0.
    fn twice_exp_small(&mut self, r: &str) -> String {
        let c: Vec<f64> = if self.double() {
            (0..14).map(|k| 2.0 * inverse_factorial(k)).collect()
        } else {
            std::iter::once(1.0).chain(EXP_F32.iter().copied()).map(|c| 2.0 * c).collect()
        };
        self.poly(r, &c)
    }

    /// The nearest integer to `x * factor`, as a float and as the low bits of the other.
    fn nearest(&mut self, x: &str, factor: f64) -> (String, String) {
        let magic = if self.double() { 6_755_399_441_055_744.0 } else { 12_582_912.0 };
        let magic = self.num(magic);
        let shifted = self.fma_num(x, factor, &magic);
        (self.sub(&shifted, &magic), shifted)
    }

    /// The `n` whose power [`Fp::scale`] makes an exact 0: a result that is less than the least number is not rounded to 0 by a
    /// multiplication, which takes a processor a hundred cycles. A masked softmax is full of them.
    fn least_power(&self) -> f64 {
        if self.double() { -1086.0 } else { -190.0 }
    }

    /// `y * 2^(n - 1)`, where `shifted` has `n` in its low bits and `low` says that the result may be denormal.
    fn scale(&mut self, y: &str, shifted: &str, low: &str) -> String {
        let (ty, int) = (self.ty(), self.int());
        let (shift, normal, lifted) = if self.double() {
            ("52", 1022i64 << 52, (1022i64 + 64) << 52)
        } else {
            ("23", 126i64 << 23, (126i64 + 64) << 23)
        };
        let bits = self.e.tmp(&format!("bitcast {ty} {shifted} to "), int);
        let n = self.ibin("shl", &bits, shift);
        let bias = self.e.tmp("select i1 ", &format!("{low}, {int} {lifted}, {int} {normal}"));
        let power = self.ibin("add", &n, &bias);
        let power = self.e.tmp(&format!("bitcast {int} {power} to "), ty);
        let y = self.mul(y, &power);
        let (down, one) = (self.num(2f64.powi(-64)), self.num(1.0));
        let rest = self.select(low, &down, &one);
        self.mul(&y, &rest)
    }

    pub fn exp(&mut self, x: &str) -> String {
        // beyond the limits the result is 0 or infinite; below the third number it has fewer bits
        let (hi, low) = if self.double() { (710.0, -707.0) } else { (89.0, -86.0) };
        let lo = self.least_power() * LN_2;
        let y = self.limit(x, lo, hi);
        let (n, shifted) = self.nearest(&y, LOG2_E);
        let r = self.minus_n_ln2(&y, &n);
        let p = self.twice_exp_small(&r);
        let low = self.cmp_num("olt", x, low);
        self.scale(&p, &shifted, &low)
    }

    /// `y - n ln 2`, ln 2 in two parts.
    fn minus_n_ln2(&mut self, y: &str, n: &str) -> String {
        let (hi, lo) = if self.double() {
            (6.931_471_803_691_238e-1, 1.908_214_929_270_588e-10)
        } else {
            (0.693_359_375, -2.121_944_4e-4)
        };
        let r = self.fma_num(n, -hi, y);
        self.fma_num(n, -lo, &r)
    }

    pub fn exp2(&mut self, x: &str) -> String {
        let (hi, low) = if self.double() { (1024.5, -1020.0) } else { (128.5, -124.0) };
        let lo = self.least_power();
        let y = self.limit(x, lo, hi);
        let (n, shifted) = self.nearest(&y, 1.0);
        let f = self.sub(&y, &n);
        let r = self.times(&f, LN_2);
        let p = self.twice_exp_small(&r);
        let low = self.cmp_num("olt", x, low);
        self.scale(&p, &shifted, &low)
    }

    pub fn expm1(&mut self, x: &str) -> String {
        let terms = if self.double() { 18 } else { 10 };
        // (e^x - 1) / x on [-1/2, 1/2]
        let c: Vec<f64> = (1..terms).map(inverse_factorial).collect();
        let p = self.poly(x, &c);
        let small = self.mul(x, &p);
        let e = self.exp(x);
        let large = self.plus(&e, -1.0);
        let a = self.call("fabs", &[x]);
        let c = self.cmp_num("olt", &a, 0.5);
        self.select(&c, &small, &large)
    }

    /// `x P(x²) / Q(x²)` of a function that is ±1 to the last bit beyond `limit`.
    fn odd_rational(&mut self, x: &str, limit: f64, p: &[f64], q: &[f64]) -> String {
        let y = self.limit(x, -limit, limit);
        let z = self.mul(&y, &y);
        let p = self.poly(&z, p);
        let p = self.mul(&y, &p);
        let q = self.poly(&z, q);
        let y = self.div(&p, &q);
        let y = self.limit(&y, -1.0, 1.0);
        let size = self.call("fabs", &[x]);
        let beyond = self.cmp_num("oge", &size, limit);
        let one = self.num(1.0);
        let one = self.call("copysign", &[&one, x]);
        self.select(&beyond, &one, &y)
    }

    pub fn tanh(&mut self, x: &str) -> String {
        if !self.double() {
            return self.odd_rational(x, 9.02, TANH_P, TANH_Q);
        }
        let a = self.call("fabs", &[x]);
        let limited = self.clamp(&a, 0.0, 22.0);
        let twice = self.add(&limited, &limited);
        let t = self.expm1(&twice);
        let d = self.plus(&t, 2.0);
        let y = self.div(&t, &d);
        let y = self.call("copysign", &[&y, x]);
        self.keep_nan(x, &y)
    }

    pub fn sigmoid(&mut self, x: &str) -> String {
        let a = self.call("fabs", &[x]);
        let n = self.neg(&a);
        let e = self.exp(&n);
        let d = self.plus(&e, 1.0);
        let one = self.num(1.0);
        let r = self.div(&one, &d);
        let l = self.mul(&e, &r);
        let negative = self.cmp_num("olt", x, 0.0);
        self.select(&negative, &l, &r)
    }

    /// `e^|x| / 2` without early overflow.
    fn half_exp(&mut self, a: &str) -> String {
        let shifted = self.plus(a, -LN_2);
        self.exp(&shifted)
    }

    pub fn sinh(&mut self, x: &str) -> String {
        let a = self.call("fabs", &[x]);
        let t = self.expm1(&a);
        let d = self.plus(&t, 1.0);
        let q = self.div(&t, &d);
        let s = self.add(&t, &q);
        let small = self.times(&s, 0.5);
        let large = self.half_exp(&a);
        let c = self.cmp_num("olt", &a, 30.0);
        let y = self.select(&c, &small, &large);
        let y = self.call("copysign", &[&y, x]);
        self.keep_nan(x, &y)
    }

    pub fn cosh(&mut self, x: &str) -> String {
        let a = self.call("fabs", &[x]);
        let half = self.half_exp(&a);
        let quarter = self.num(0.25);
        let q = self.div(&quarter, &half);
        self.add(&half, &q)
    }

    pub fn erf(&mut self, x: &str) -> String {
        if !self.double() {
            return self.odd_rational(x, 3.93, ERF_P, ERF_Q);
        }
        let a = self.call("fabs", &[x]);
        // series below 1
        let z = self.mul(x, x);
        let series: Vec<f64> = (0..20)
            .map(|n| {
                let sign = if n % 2 == 0 { 1.0 } else { -1.0 };
                FRAC_2_SQRT_PI * sign * inverse_factorial(n) / f64::from(2 * n + 1)
            })
            .collect();
        let p = self.poly(&z, &series);
        let small = self.mul(x, &p);
        // 1 - t exp(-a^2 + P(v)) above
        let b = self.clamp(&a, 0.8, 6.2);
        let d = self.plus(&b, 2.0);
        let two = self.num(2.0);
        let t = self.div(&two, &d);
        let v = self.plus(&t, -0.479_094_076_655_052_27);
        let v = self.times(&v, 4.251_851_851_851_851_8);
        let p = self.poly(&v, ERFC_F64);
        let nb = self.neg(&b);
        let exponent = self.fma(&nb, &b, &p);
        let e = self.exp(&exponent);
        let e = self.mul(&t, &e);
        let one = self.num(1.0);
        let large = self.sub(&one, &e);
        let large = self.call("copysign", &[&large, x]);
        let c = self.cmp_num("olt", &a, 1.0);
        let y = self.select(&c, &small, &large);
        self.keep_nan(x, &y)
    }
}

/// `(e^r - 1) / r`.
const EXP_F32: &[f64] =
    &[1.0, 0.4999999403953552, 0.16666430234909058, 0.04166800528764725, 0.008374185301363468, 0.0013843618799000978];

const TANH_P: &[f64] = &[
    0.9999999403953552,
    0.12917999923229218,
    0.002919440856203437,
    9.255375516659115e-06,
    -1.274446415067132e-08,
    1.81638523666372e-11,
];
const TANH_Q: &[f64] = &[1.0, 0.4625128209590912, 0.02375776134431362, 0.00022791764058638364];

const ERF_P: &[f64] = &[
    1.1283791065216064,
    0.19078201055526733,
    0.05278993025422096,
    0.003779494436457753,
    0.0002847998111974448,
    2.0419067823240766e-06,
];
const ERF_Q: &[f64] =
    &[1.0, 0.5024088621139526, 0.11425666511058807, 0.014997219666838646, 0.0011651729000732303, 3.800294507527724e-05];

const ERFC_F64: &[f64] = &[
    -0.6998323757758115,
    0.3144235933660129,
    0.011752415838536553,
    -0.004693150171409175,
    -0.0005711002128178651,
    0.0001910972166370721,
    2.6367064069052987e-05,
    -1.1483891026105322e-05,
    -9.704878656310819e-07,
    7.835648447724098e-07,
    -3.231658340469621e-09,
    -5.1135620554851056e-08,
    5.797737419201952e-09,
    2.715173709944839e-09,
    -7.309252201141464e-10,
    -8.454919539803214e-11,
    5.121879649587923e-11,
];
