//! The polynomials. Sources: W. J. Cody and W. Waite, *Software Manual for the Elementary Functions*, 1980, for range
//! reduction; N. Higham, *Accuracy and Stability of Numerical Algorithms*, section 1.14.1, for `log1p`; the erf tail is a
//! polynomial fit of `log(erfcx(z) / t)`, `t = 2 / (2 + z)`, in the manner of *Numerical Recipes*, 3rd ed., section 6.2.2.

use std::f64::consts::{FRAC_1_SQRT_2, LOG2_E, LOG10_E, PI};

use tdl_ir::Dtype;

use super::func::Emit;
use super::{literal, llty};

mod exponential;
mod gamma;
mod polygamma;
mod remainder;

pub(super) use gamma::functions as gamma_functions;
pub(super) use remainder::FMOD;

/// Straight-line arithmetic in one float type.
pub(super) struct Fp<'e, 'a> {
    pub e: &'e mut Emit<'a>,
    d: Dtype,
}

impl<'e, 'a> Fp<'e, 'a> {
    pub fn new(e: &'e mut Emit<'a>, d: Dtype) -> Fp<'e, 'a> {
        Fp { e, d }
    }

    fn double(&self) -> bool {
        self.d == Dtype::F64
    }

    fn ty(&self) -> &'static str {
        llty(self.d)
    }

    /// Integer type of the same width.
    fn int(&self) -> &'static str {
        if self.double() { "i64" } else { "i32" }
    }

    pub fn num(&self, x: f64) -> String {
        literal(tdl_ir::Scalar::float(x), self.d)
    }

    fn op(&mut self, name: &str, a: &str, b: &str) -> String {
        let ty = self.ty();
        self.e.tmp(&format!("{name} {ty} {a}, "), b)
    }

    pub fn add(&mut self, a: &str, b: &str) -> String {
        self.op("fadd", a, b)
    }

    pub fn sub(&mut self, a: &str, b: &str) -> String {
        self.op("fsub", a, b)
    }

    pub fn mul(&mut self, a: &str, b: &str) -> String {
        self.op("fmul", a, b)
    }

    pub fn div(&mut self, a: &str, b: &str) -> String {
        self.op("fdiv", a, b)
    }

    fn times(&mut self, a: &str, x: f64) -> String {
        let x = self.num(x);
        self.mul(a, &x)
    }

    fn plus(&mut self, a: &str, x: f64) -> String {
        let x = self.num(x);
        self.add(a, &x)
    }

    pub fn call(&mut self, name: &str, args: &[&str]) -> String {
        self.e.float_call(name, self.d, args)
    }

    fn fma(&mut self, a: &str, b: &str, c: &str) -> String {
        self.call("fma", &[a, b, c])
    }

    /// `a * x + c` with a constant factor.
    fn fma_num(&mut self, a: &str, x: f64, c: &str) -> String {
        let x = self.num(x);
        self.fma(a, &x, c)
    }

    fn neg(&mut self, a: &str) -> String {
        let ty = self.ty();
        self.e.tmp(&format!("fneg {ty} "), a)
    }

    pub fn cmp(&mut self, name: &str, a: &str, b: &str) -> String {
        let ty = self.ty();
        self.e.tmp(&format!("fcmp {name} {ty} {a}, "), b)
    }

    fn cmp_num(&mut self, name: &str, a: &str, x: f64) -> String {
        let x = self.num(x);
        self.cmp(name, a, &x)
    }

    pub fn select(&mut self, c: &str, a: &str, b: &str) -> String {
        let ty = self.ty();
        self.e.tmp("select i1 ", &format!("{c}, {ty} {a}, {ty} {b}"))
    }

    /// Coefficients from the constant term up.
    fn poly(&mut self, x: &str, coefficients: &[f64]) -> String {
        let (last, rest) = coefficients.split_last().expect("a polynomial has terms");
        let mut sum = self.num(*last);
        for c in rest.iter().rev() {
            let c = self.num(*c);
            sum = self.fma(&sum, x, &c);
        }
        sum
    }

    fn ibin(&mut self, name: &str, a: &str, b: &str) -> String {
        let int = self.int();
        self.e.tmp(&format!("{name} {int} {a}, "), b)
    }

    /// Between limits; NaN goes to the lower one (callers put it back).
    fn clamp(&mut self, x: &str, lo: f64, hi: f64) -> String {
        let c = self.cmp_num("ogt", x, lo);
        let low = self.num(lo);
        let x = self.select(&c, x, &low);
        let c = self.cmp_num("olt", &x, hi);
        let high = self.num(hi);
        self.select(&c, &x, &high)
    }

    /// Between limits; NaN stays.
    fn limit(&mut self, x: &str, lo: f64, hi: f64) -> String {
        let c = self.cmp_num("olt", x, lo);
        let low = self.num(lo);
        let x = self.select(&c, &low, x);
        let c = self.cmp_num("ogt", &x, hi);
        let high = self.num(hi);
        self.select(&c, &high, &x)
    }

    /// `a / b`, correctly rounded but for quotients at the ends of the range, where `b` is the same all over a loop: its reciprocal
    /// is computed once and the quotient corrected by its remainder (P. Markstein, *Computation of elementary functions on
    /// the IBM RISC System/6000 processor*, 1990, theorem 8.3).
    pub fn div_by_invariant(&mut self, a: &str, b: &str) -> String {
        // `b` is brought near 1, so that its reciprocal is exact to half a unit
        let size = self.call("fabs", &[b]);
        let (up, down) = (self.num(2f64.powi(60)), self.num(2f64.powi(-60)));
        let (one, inf) = (self.num(1.0), self.num(f64::INFINITY));
        let tiny = self.cmp("olt", &size, &down);
        let huge = self.cmp("ogt", &size, &up);
        let factor = self.select(&huge, &down, &one);
        let factor = self.select(&tiny, &up, &factor);
        let b = self.mul(b, &factor);
        let r = self.div(&one, &b);
        let a = self.mul(a, &factor);
        let q = self.mul(&a, &r);
        let nq = self.neg(&q);
        let rest = self.fma(&nq, &b, &a);
        let better = self.fma(&rest, &r, &q);
        // infinities and NaN have no remainder
        let size = self.call("fabs", &[&better]);
        let finite = self.cmp("olt", &size, &inf);
        self.select(&finite, &better, &q)
    }

    /// `x` where the argument is NaN.
    fn keep_nan(&mut self, argument: &str, x: &str) -> String {
        let c = self.cmp("uno", argument, argument);
        self.select(&c, argument, x)
    }

    /// Exponent and `log` of the mantissa in `[sqrt(1/2), sqrt(2))`, for positive finite arguments.
    fn log_parts(&mut self, x: &str) -> (String, String) {
        let (ty, int) = (self.ty(), self.int());
        let (smallest, up, lift, bias, shift, mask, half) = if self.double() {
            (f64::MIN_POSITIVE, 2f64.powi(54), 54.0, "1022", "52", "4503599627370495", "4602678819172646912")
        } else {
            (f64::from(f32::MIN_POSITIVE), 2f64.powi(25), 25.0, "126", "23", "8388607", "1056964608")
        };
        // denormals are lifted into the normal range
        let tiny = self.cmp_num("olt", x, smallest);
        let lifted = self.times(x, up);
        let y = self.select(&tiny, &lifted, x);
        let bits = self.e.tmp(&format!("bitcast {ty} {y} to "), int);
        let exponent = self.ibin("lshr", &bits, shift);
        let exponent = self.ibin("sub", &exponent, bias);
        let mantissa = self.ibin("and", &bits, mask);
        let mantissa = self.ibin("or", &mantissa, half);
        let m = self.e.tmp(&format!("bitcast {int} {mantissa} to "), ty);
        let e = self.e.tmp(&format!("sitofp {int} {exponent} to "), ty);
        let less = self.plus(&e, -lift);
        let e = self.select(&tiny, &less, &e);
        // m in [1/2, 1): below sqrt(1/2) take 2m and e - 1
        let low = self.cmp_num("olt", &m, FRAC_1_SQRT_2);
        let twice = self.add(&m, &m);
        let m = self.select(&low, &twice, &m);
        let down = self.plus(&e, -1.0);
        let e = self.select(&low, &down, &e);
        let f = self.plus(&m, -1.0);
        // log(1 + f) = 2 atanh(s) with s = f / (2 + f), written f - s (f - R) so that f stays exact
        let g = self.plus(&f, 2.0);
        let s = self.div(&f, &g);
        let z = self.mul(&s, &s);
        let terms = if self.double() { 11 } else { 5 };
        let c: Vec<f64> = (1..=terms).map(|k| 2.0 / f64::from(2 * k + 1)).collect();
        let p = self.poly(&z, &c);
        let r = self.mul(&z, &p);
        let d = self.sub(&f, &r);
        let t = self.mul(&s, &d);
        (e, self.sub(&f, &t))
    }

    /// The cases that `log_parts` does not know: zero, negative, infinite, NaN.
    fn log_edges(&mut self, x: &str, y: &str) -> String {
        let inf = self.num(f64::INFINITY);
        let c = self.cmp("oeq", x, &inf);
        let y = self.select(&c, x, y);
        let c = self.cmp_num("oeq", x, 0.0);
        let minus = self.num(f64::NEG_INFINITY);
        let y = self.select(&c, &minus, &y);
        let c = self.cmp_num("ult", x, 0.0);
        let nan = self.num(f64::NAN);
        self.select(&c, &nan, &y)
    }

    pub fn log(&mut self, x: &str) -> String {
        let (e, m) = self.log_parts(x);
        let (hi, lo) = if self.double() {
            (6.931_471_803_691_238e-1, 1.908_214_929_270_588e-10)
        } else {
            (0.693_359_375, -2.121_944_4e-4)
        };
        let low = self.fma_num(&e, lo, &m);
        let y = self.fma_num(&e, hi, &low);
        self.log_edges(x, &y)
    }

    pub fn log2(&mut self, x: &str) -> String {
        let (e, m) = self.log_parts(x);
        let y = self.fma_num(&m, LOG2_E, &e);
        self.log_edges(x, &y)
    }

    pub fn log10(&mut self, x: &str) -> String {
        let (e, m) = self.log_parts(x);
        let m = self.times(&m, LOG10_E);
        let y = self.fma_num(&e, std::f64::consts::LOG10_2, &m);
        self.log_edges(x, &y)
    }

    pub fn log1p(&mut self, x: &str) -> String {
        let u = self.plus(x, 1.0);
        let log = self.log(&u);
        let d = self.plus(&u, -1.0);
        let ratio = self.div(x, &d);
        let y = self.mul(&log, &ratio);
        // 1 + x = 1: the result is x; infinity over infinity is not wanted
        let c = self.cmp_num("oeq", &u, 1.0);
        let y = self.select(&c, x, &y);
        let inf = self.num(f64::INFINITY);
        let c = self.cmp("oeq", x, &inf);
        let y = self.select(&c, x, &y);
        let c = self.cmp_num("oeq", &u, 0.0);
        self.select(&c, &log, &y)
    }

    pub fn sin_cos(&mut self, x: &str) -> (String, String) {
        if !self.double() {
            // f32 reduces and computes in f64
            let wide = self.e.tmp("fpext float ", &format!("{x} to double"));
            let (s, c) = Fp::new(self.e, Dtype::F64).sin_cos_terms(&wide, 6);
            let narrow = |f: &mut Self, v: &str| f.e.tmp("fptrunc double ", &format!("{v} to float"));
            return (narrow(self, &s), narrow(self, &c));
        }
        self.sin_cos_terms(x, 9)
    }

    fn sin_cos_terms(&mut self, x: &str, terms: i32) -> (String, String) {
        let n = self.times(x, 2.0 / PI);
        let n = self.call("rint", &[&n]);
        // pi/2 in three parts of 33 bits
        let r = self.fma_num(&n, -1.570_796_326_734_125_6, x);
        let r = self.fma_num(&n, -6.077_100_506_303_966e-11, &r);
        let r = self.fma_num(&n, -2.022_266_248_795_950_6e-21, &r);
        let z = self.mul(&r, &r);
        let sign = |k: i32| if k % 2 == 0 { 1.0 } else { -1.0 };
        let sin: Vec<f64> = (0..terms).map(|k| sign(k) * inverse_factorial(2 * k + 1)).collect();
        let cos: Vec<f64> = (0..=terms).map(|k| sign(k) * inverse_factorial(2 * k)).collect();
        let p = self.poly(&z, &sin);
        let s = self.mul(&r, &p);
        let c = self.poly(&z, &cos);
        // the quadrant from the low bits; arguments too large for it are NaN's business
        let big = self.clamp(&n, -1e15, 1e15);
        let q = self.e.tmp("fptosi double ", &format!("{big} to i64"));
        let odd = self.ibin("and", &q, "1");
        let odd = self.e.tmp("icmp ne i64 0, ", &odd);
        let two = self.ibin("and", &q, "2");
        let flip_sin = self.e.tmp("icmp ne i64 0, ", &two);
        let next = self.ibin("add", &q, "1");
        let next = self.ibin("and", &next, "2");
        let flip_cos = self.e.tmp("icmp ne i64 0, ", &next);
        let (s1, c1) = (self.select(&odd, &c, &s), self.select(&odd, &s, &c));
        let (ns, nc) = (self.neg(&s1), self.neg(&c1));
        let s = self.select(&flip_sin, &ns, &s1);
        let c = self.select(&flip_cos, &nc, &c1);
        (s, c)
    }

    /// `atan` of a value in `[0, inf]`.
    fn atan_positive(&mut self, a: &str) -> String {
        let over = self.cmp_num("ogt", a, 1.0);
        let one = self.num(1.0);
        let inverse = self.div(&one, a);
        let y = self.select(&over, &inverse, a);
        // above tan(pi/8): pi/4 + atan((y - 1) / (y + 1))
        let high = self.cmp_num("ogt", &y, 0.414_213_562_373_095_1);
        let (up, down) = (self.plus(&y, -1.0), self.plus(&y, 1.0));
        let q = self.div(&up, &down);
        let t = self.select(&high, &q, &y);
        let z = self.mul(&t, &t);
        let terms = if self.double() { 20 } else { 9 };
        let c: Vec<f64> = (0..terms).map(|k| (if k % 2 == 0 { 1.0 } else { -1.0 }) / f64::from(2 * k + 1)).collect();
        let p = self.poly(&z, &c);
        let r = self.mul(&t, &p);
        let shifted = self.plus(&r, PI / 4.0);
        let r = self.select(&high, &shifted, &r);
        let half = self.num(PI / 2.0);
        let rest = self.sub(&half, &r);
        self.select(&over, &rest, &r)
    }

    pub fn atan(&mut self, x: &str) -> String {
        let a = self.call("fabs", &[x]);
        let y = self.atan_positive(&a);
        self.call("copysign", &[&y, x])
    }

    pub fn asin(&mut self, x: &str) -> String {
        let a = self.call("fabs", &[x]);
        let one = self.num(1.0);
        let (less, more) = (self.sub(&one, &a), self.add(&one, &a));
        let product = self.mul(&less, &more);
        let root = self.call("sqrt", &[&product]);
        let ratio = self.div(&a, &root);
        let y = self.atan_positive(&ratio);
        self.call("copysign", &[&y, x])
    }

    pub fn acos(&mut self, x: &str) -> String {
        let one = self.num(1.0);
        let (less, more) = (self.sub(&one, x), self.add(&one, x));
        let ratio = self.div(&less, &more);
        let root = self.call("sqrt", &[&ratio]);
        let y = self.atan_positive(&root);
        self.add(&y, &y)
    }

    pub fn atan2(&mut self, y: &str, x: &str) -> String {
        let (ay, ax) = (self.call("fabs", &[y]), self.call("fabs", &[x]));
        let ratio = self.div(&ay, &ax);
        // 0/0 counts as 0, inf/inf as 1
        let none = self.cmp_num("oeq", &ay, 0.0);
        let zero = self.num(0.0);
        let ratio = self.select(&none, &zero, &ratio);
        let inf = self.num(f64::INFINITY);
        let same = self.cmp("oeq", &ay, &ax);
        let huge = self.cmp("oeq", &ay, &inf);
        let both = self.e.tmp("and i1 ", &format!("{same}, {huge}"));
        let one = self.num(1.0);
        let ratio = self.select(&both, &one, &ratio);
        let base = self.atan_positive(&ratio);
        let sign = self.call("copysign", &[&one, x]);
        let left = self.cmp_num("olt", &sign, 0.0);
        let pi = self.num(PI);
        let other = self.sub(&pi, &base);
        let angle = self.select(&left, &other, &base);
        let angle = self.call("copysign", &[&angle, y]);
        let angle = self.keep_nan(x, &angle);
        self.keep_nan(y, &angle)
    }

    pub fn pow(&mut self, a: &str, b: &str) -> String {
        if !self.double() {
            let wide = |f: &mut Self, v: &str| f.e.tmp("fpext float ", &format!("{v} to double"));
            let (x, y) = (wide(self, a), wide(self, b));
            let r = Fp::new(self.e, Dtype::F64).pow(&x, &y);
            return self.e.tmp("fptrunc double ", &format!("{r} to float"));
        }
        let x = self.call("fabs", &[a]);
        let (e, m) = self.log_parts(&x);
        // y log x with the rounding error of the product's large part carried along
        let hi = 6.931_471_803_691_238e-1;
        let lo = 1.908_214_929_270_588e-10;
        let head = self.times(&e, hi);
        let low = self.fma_num(&e, lo, &m);
        let log = self.add(&head, &low);
        let back = self.sub(&log, &head);
        let tail = self.sub(&low, &back);
        let p = self.mul(b, &log);
        let np = self.neg(&p);
        let error = self.fma(b, &log, &np);
        let error = self.fma(b, &tail, &error);
        let power = self.exp(&p);
        let limited = self.clamp(&error, -1.0, 1.0);
        let corrected = self.fma(&power, &limited, &power);
        let (zero, inf) = (self.num(0.0), self.num(f64::INFINITY));
        let finite = self.cmp("olt", &power, &inf);
        let r = self.select(&finite, &corrected, &power);
        let positive = self.cmp("ogt", b, &zero);
        let is_zero = self.cmp("oeq", &x, &zero);
        let at_zero = self.select(&positive, &zero, &inf);
        let r = self.select(&is_zero, &at_zero, &r);
        let is_inf = self.cmp("oeq", &x, &inf);
        let at_inf = self.select(&positive, &inf, &zero);
        let r = self.select(&is_inf, &at_inf, &r);
        // a finite base to an infinite power
        let ab = self.call("fabs", &[b]);
        let far = self.cmp("oeq", &ab, &inf);
        let grows = self.cmp_num("ogt", &x, 1.0);
        let same = self.e.tmp("xor i1 ", &format!("{grows}, {positive}"));
        let limit = self.select(&same, &zero, &inf);
        let one = self.num(1.0);
        let unit = self.cmp("oeq", &x, &one);
        let limit = self.select(&unit, &one, &limit);
        let r = self.select(&far, &limit, &r);
        // negative bases: integers alone, odd ones change the sign
        let whole = self.call("floor", &[b]);
        let integer = self.cmp("oeq", &whole, b);
        let half = self.times(b, 0.5);
        let half_floor = self.call("floor", &[&half]);
        let even = self.cmp("oeq", &half, &half_floor);
        let nr = self.neg(&r);
        let signed = self.select(&even, &r, &nr);
        let nan = self.num(f64::NAN);
        let no_integer = self.select(&is_inf, &r, &nan);
        let other = self.select(&integer, &signed, &no_integer);
        let negative = self.cmp("olt", a, &zero);
        let r = self.select(&negative, &other, &r);
        let r = self.keep_nan(a, &r);
        let r = self.keep_nan(b, &r);
        let base_one = self.cmp("oeq", a, &one);
        let power_zero = self.cmp("oeq", b, &zero);
        let unit = self.e.tmp("or i1 ", &format!("{base_one}, {power_zero}"));
        self.select(&unit, &one, &r)
    }
}

fn inverse_factorial(n: i32) -> f64 {
    1.0 / (1..=n).map(f64::from).product::<f64>()
}
