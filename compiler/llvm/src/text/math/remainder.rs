//! Division that rounds down, and its remainder, as NumPy has them: the remainder of truncated division is exact at any
//! quotient, then takes the sign of the divisor.

use tdl_ir::Dtype;

use super::Fp;

/// Steps that bring any quotient of two f32 (below 2^277) to one that is off by less than one: each takes 51 bits off.
const STEPS: usize = 6;

/// The remainder of two f64 that are not negative: NaN for an infinite dividend and for the divisor 0. The significands
/// are divided as integers; after the first 11 bits of the exponents' distance, as many a step.
pub const FMOD: &str = "define internal double @tdl.fmod(double %a, double %b) #0 {
entry:
  %finite = fcmp olt double %a, 0x7FF0000000000000
  %positive = fcmp ogt double %b, 0.0
  %fine = and i1 %finite, %positive
  br i1 %fine, label %compare, label %none
compare:
  %less = fcmp olt double %a, %b
  br i1 %less, label %same, label %split
split:
  %x = bitcast double %a to i64
  %y = bitcast double %b to i64
  %xf = lshr i64 %x, 52
  %yf = lshr i64 %y, 52
  %xn = icmp ne i64 %xf, 0
  %yn = icmp ne i64 %yf, 0
  %xl = select i1 %xn, i64 4503599627370496, i64 0
  %yl = select i1 %yn, i64 4503599627370496, i64 0
  %xm = and i64 %x, 4503599627370495
  %ym = and i64 %y, 4503599627370495
  %m = or i64 %xm, %xl
  %d = or i64 %ym, %yl
  %xe = select i1 %xn, i64 %xf, i64 1
  %ye = select i1 %yn, i64 %yf, i64 1
  %apart = sub i64 %xe, %ye
  br label %step
step:
  %r = phi i64 [%m, %split], [%rest, %step]
  %left = phi i64 [%apart, %split], [%after, %step]
  %many = icmp ugt i64 %left, 11
  %k = select i1 %many, i64 11, i64 %left
  %after = sub i64 %left, %k
  %wide = shl i64 %r, %k
  %rest = urem i64 %wide, %d
  %more = icmp ne i64 %after, 0
  br i1 %more, label %step, label %done
done:
  %least = bitcast i64 %rest to double
  %e = sub i64 %ye, 1
  %e1 = lshr i64 %e, 1
  %e2 = sub i64 %e, %e1
  %b1 = add i64 %e1, 1023
  %b2 = add i64 %e2, 1023
  %s1 = shl i64 %b1, 52
  %s2 = shl i64 %b2, 52
  %p1 = bitcast i64 %s1 to double
  %p2 = bitcast i64 %s2 to double
  %h = fmul double %least, %p1
  %result = fmul double %h, %p2
  ret double %result
same:
  ret double %a
none:
  ret double 0x7FF8000000000000
}
";

impl Fp<'_, '_> {
    /// `(a // b, a % b)`. Two f32 are divided in f64, without a branch, so that loops stay vector code.
    pub fn floor_div(&mut self, a: &str, b: &str) -> (String, String) {
        if self.double() {
            return self.floor_div_wide(a, b, true);
        }
        let a = self.e.tmp("fpext float ", &format!("{a} to double"));
        let b = self.e.tmp("fpext float ", &format!("{b} to double"));
        let (q, r) = Fp::new(self.e, Dtype::F64).floor_div_wide(&a, &b, false);
        let mut narrow = |x: String| self.e.tmp("fptrunc double ", &format!("{x} to float"));
        (narrow(q), narrow(r))
    }

    /// In f64; `full` if the operands have more digits than those of f32.
    fn floor_div_wide(&mut self, a: &str, b: &str, full: bool) -> (String, String) {
        let (zero, size, by) = (self.num(0.0), self.call("fabs", &[a]), self.call("fabs", &[b]));
        let rest = if full {
            self.e.tmp("call double @tdl.fmod(double ", &format!("{size}, double {by})"))
        } else {
            self.short_fmod(&size, &by)
        };
        let rest = self.call("copysign", &[&rest, a]);
        let (below, down) = (self.cmp("olt", &rest, &zero), self.cmp("olt", b, &zero));
        let some = self.cmp("one", &rest, &zero);
        let apart = self.e.tmp("xor i1 ", &format!("{below}, {down}"));
        let apart = self.e.tmp("and i1 ", &format!("{apart}, {some}"));
        let (moved, nothing) = (self.add(&rest, b), self.call("copysign", &[&zero, b]));
        let none = self.cmp("oeq", &rest, &zero);
        let r = self.select(&none, &nothing, &rest);
        let r = self.select(&apart, &moved, &r);

        let whole = self.sub(a, &rest);
        let q = self.div(&whole, b);
        let less = self.plus(&q, -1.0);
        let q = self.select(&apart, &less, &q);
        // all but an integer already: what is off is rounding
        let floor = self.call("floor", &[&q]);
        let (off, next) = (self.sub(&q, &floor), self.plus(&floor, 1.0));
        let up = self.cmp_num("ogt", &off, 0.5);
        let floor = self.select(&up, &next, &floor);
        let ratio = self.div(a, b);
        let (signed, null) = (self.call("copysign", &[&zero, &ratio]), self.cmp("oeq", &q, &zero));
        let q = self.select(&null, &signed, &floor);
        let by_zero = self.cmp("oeq", b, &zero);
        (self.select(&by_zero, &ratio, &q), r)
    }

    /// The remainder of two numbers that an f32 can hold, not negative. Every step is exact: what is left of the dividend is a
    /// multiple of the last digits' product, and at most 2^27 of them.
    fn short_fmod(&mut self, a: &str, b: &str) -> String {
        let one = self.num(1.0);
        let inverse = self.div(&one, b);
        let mut rest = a.to_owned();
        for _ in 0..STEPS {
            let q = self.mul(&rest, &inverse);
            let q = self.call("rint", &[&q]);
            let q = self.neg(&q);
            rest = self.fma(&q, b, &rest);
        }
        let (low, more) = (self.cmp_num("olt", &rest, 0.0), self.add(&rest, b));
        let rest = self.select(&low, &more, &rest);
        let (high, less) = (self.cmp("oge", &rest, b), self.sub(&rest, b));
        let rest = self.select(&high, &less, &rest);
        // a finite number is what is left of itself by infinity; infinity leaves none
        let inf = self.num(f64::INFINITY);
        let infinite = self.cmp("oeq", b, &inf);
        let none = self.sub(a, a);
        let whole = self.add(a, &none);
        self.select(&infinite, &whole, &rest)
    }
}
