//! Float functions of f32 and f64: own polynomials, emitted as straight-line code that vectorises. No C library is called.
//!
//! Errors: f32 below 1e-6 relative, f64 below 1e-12, over the whole range, except that `sin`, `cos` and `tan` reduce their
//! argument by pi/2 in three parts, which is good up to about 1e8.

use tdl_ir::{BinaryOp, Dtype, ReduceOp, UnaryOp};

use super::func::Emit;
use super::llty;
use super::math::Fp;

/// Integers as wide as a float.
pub(super) fn int_of(d: Dtype) -> &'static str {
    if d == Dtype::F64 { "i64" } else { "i32" }
}

impl Emit<'_> {
    /// An LLVM intrinsic on floats: `fma`, `floor`, `maximum`.
    pub(super) fn float_call(&mut self, name: &str, d: Dtype, args: &[&str]) -> String {
        let ty = llty(d);
        let suffix = if d == Dtype::F64 { "f64" } else { "f32" };
        let list = args.iter().map(|a| format!("{ty} {a}")).collect::<Vec<_>>().join(", ");
        self.tmp(&format!("call {ty} @llvm.{name}.{suffix}("), &format!("{list})"))
    }

    /// An integer that is ordered as floats are by `max` or `min`, so that a loop finds the largest or least float by one short
    /// instruction each: -0 is less than 0, and NaN comes out of either.
    pub(super) fn ordered(&mut self, op: ReduceOp, d: Dtype, x: &str) -> String {
        let int = int_of(d);
        let nan = match (d, op) {
            (Dtype::F64, ReduceOp::Min) => i64::MIN,
            (Dtype::F64, _) => i64::MAX,
            (_, ReduceOp::Min) => i64::from(i32::MIN),
            _ => i64::from(i32::MAX),
        };
        let bits = self.tmp(&format!("bitcast {} {x} to ", llty(d)), int);
        let key = self.turn_negative(int, &bits);
        let unordered = self.tmp(&format!("fcmp uno {} ", llty(d)), &format!("{x}, {x}"));
        self.tmp("select i1 ", &format!("{unordered}, {int} {nan}, {int} {key}"))
    }

    /// The float of such an integer.
    pub(super) fn unordered(&mut self, d: Dtype, key: &str) -> String {
        let int = int_of(d);
        let bits = self.turn_negative(int, key);
        self.tmp(&format!("bitcast {int} {bits} to "), llty(d))
    }

    /// All bits but the sign's are turned if that is set.
    fn turn_negative(&mut self, int: &str, bits: &str) -> String {
        let (shift, all) = if int == "i64" { (63, i64::MAX) } else { (31, i64::from(i32::MAX)) };
        let sign = self.tmp(&format!("ashr {int} "), &format!("{bits}, {shift}"));
        let mask = self.tmp(&format!("and {int} "), &format!("{sign}, {all}"));
        self.tmp(&format!("xor {int} "), &format!("{bits}, {mask}"))
    }

    pub(super) fn float_unary(&mut self, op: UnaryOp, d: Dtype, x: &str) -> String {
        let ty = llty(d);
        let mut m = Fp::new(self, d);
        match op {
            UnaryOp::Neg => m.e.tmp(&format!("fneg {ty} "), x),
            UnaryOp::Abs => m.call("fabs", &[x]),
            UnaryOp::Sign => {
                let one = m.num(1.0);
                let s = m.call("copysign", &[&one, x]);
                let zero = m.num(0.0);
                // 0 and NaN stay
                let c = m.cmp("one", x, &zero);
                m.select(&c, &s, x)
            }
            UnaryOp::Floor => m.call("floor", &[x]),
            UnaryOp::Ceil => m.call("ceil", &[x]),
            UnaryOp::Round => m.call("roundeven", &[x]),
            UnaryOp::Trunc => m.call("trunc", &[x]),
            UnaryOp::Sqrt => m.call("sqrt", &[x]),
            UnaryOp::Rsqrt => {
                let s = m.call("sqrt", &[x]);
                let one = m.num(1.0);
                m.div(&one, &s)
            }
            UnaryOp::Exp => m.exp(x),
            UnaryOp::Exp2 => m.exp2(x),
            UnaryOp::Expm1 => m.expm1(x),
            UnaryOp::Log => m.log(x),
            UnaryOp::Log2 => m.log2(x),
            UnaryOp::Log10 => m.log10(x),
            UnaryOp::Log1p => m.log1p(x),
            UnaryOp::Sin => m.sin_cos(x).0,
            UnaryOp::Cos => m.sin_cos(x).1,
            UnaryOp::Tan => {
                let (s, c) = m.sin_cos(x);
                m.div(&s, &c)
            }
            UnaryOp::Asin => m.asin(x),
            UnaryOp::Acos => m.acos(x),
            UnaryOp::Atan => m.atan(x),
            UnaryOp::Sinh => m.sinh(x),
            UnaryOp::Cosh => m.cosh(x),
            UnaryOp::Tanh => m.tanh(x),
            UnaryOp::Sigmoid => m.sigmoid(x),
            UnaryOp::Erf => m.erf(x),
            UnaryOp::Lgamma => m.library("lgamma", &[x]),
            UnaryOp::Digamma => m.library("digamma", &[x]),
            UnaryOp::IsNan => m.cmp("uno", x, x),
            UnaryOp::IsFinite => {
                let a = m.call("fabs", &[x]);
                let inf = m.num(f64::INFINITY);
                m.cmp("olt", &a, &inf)
            }
            UnaryOp::Not => x.to_owned(),
        }
    }

    pub(super) fn float_binary(&mut self, op: BinaryOp, d: Dtype, a: &str, b: &str) -> String {
        let mut m = Fp::new(self, d);
        match op {
            BinaryOp::Add => m.add(a, b),
            BinaryOp::Sub => m.sub(a, b),
            BinaryOp::Mul => m.mul(a, b),
            BinaryOp::Div => m.div(a, b),
            BinaryOp::Min => m.call("minimum", &[a, b]),
            BinaryOp::Max => m.call("maximum", &[a, b]),
            BinaryOp::FloorDiv => m.floor_div(a, b).0,
            BinaryOp::Rem => m.floor_div(a, b).1,
            BinaryOp::Pow => m.pow(a, b),
            BinaryOp::Atan2 => m.atan2(a, b),
            BinaryOp::Polygamma => m.library("polygamma", &[a, b]),
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr => a.to_owned(),
        }
    }
}
