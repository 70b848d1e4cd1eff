//! Elementwise functions of one operand.

use super::def::{Derivative, DtypeRule, ResultDtype, UnaryEval, UnaryRule};
use super::special;
use crate::{BinaryOp, Builder, ValueId};

/// See the table for each op's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnaryOp {
    Neg,
    Not,
    Abs,
    Sign,
    Floor,
    Ceil,
    Round,
    Trunc,
    Sqrt,
    Rsqrt,
    Exp,
    Exp2,
    Expm1,
    Log,
    Log2,
    Log10,
    Log1p,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Sigmoid,
    Erf,
    Lgamma,
    Digamma,
    IsNan,
    IsFinite,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct UnaryDef {
    /// As the user calls it.
    pub name: &'static str,
    pub doc: &'static str,
    pub dtype: DtypeRule,
    pub result: ResultDtype,
    pub eval: UnaryEval,
    pub derivative: Derivative<UnaryRule>,
}

const fn float(
    name: &'static str,
    doc: &'static str,
    eval: fn(f64) -> f64,
    derivative: Derivative<UnaryRule>,
) -> UnaryDef {
    UnaryDef { name, doc, dtype: DtypeRule::Float, result: ResultDtype::Same, eval: UnaryEval::Float(eval), derivative }
}

const fn predicate(name: &'static str, doc: &'static str, eval: fn(f64) -> bool) -> UnaryDef {
    UnaryDef {
        name,
        doc,
        dtype: DtypeRule::Float,
        result: ResultDtype::Bool,
        eval: UnaryEval::Predicate(eval),
        derivative: Derivative::Zero,
    }
}

impl UnaryOp {
    pub const ALL: &[UnaryOp] = &[
        UnaryOp::Neg,
        UnaryOp::Not,
        UnaryOp::Abs,
        UnaryOp::Sign,
        UnaryOp::Floor,
        UnaryOp::Ceil,
        UnaryOp::Round,
        UnaryOp::Trunc,
        UnaryOp::Sqrt,
        UnaryOp::Rsqrt,
        UnaryOp::Exp,
        UnaryOp::Exp2,
        UnaryOp::Expm1,
        UnaryOp::Log,
        UnaryOp::Log2,
        UnaryOp::Log10,
        UnaryOp::Log1p,
        UnaryOp::Sin,
        UnaryOp::Cos,
        UnaryOp::Tan,
        UnaryOp::Asin,
        UnaryOp::Acos,
        UnaryOp::Atan,
        UnaryOp::Sinh,
        UnaryOp::Cosh,
        UnaryOp::Tanh,
        UnaryOp::Sigmoid,
        UnaryOp::Erf,
        UnaryOp::Lgamma,
        UnaryOp::Digamma,
        UnaryOp::IsNan,
        UnaryOp::IsFinite,
    ];

    /// The op that the user calls by this name.
    pub fn from_name(name: &str) -> Option<UnaryOp> {
        UnaryOp::ALL.iter().copied().find(|op| op.def().name == name)
    }

    pub fn def(self) -> &'static UnaryDef {
        match self {
            UnaryOp::Neg => &UnaryDef {
                name: "neg",
                doc: "Negative; integers wrap.",
                dtype: DtypeRule::Num,
                result: ResultDtype::Same,
                eval: UnaryEval::Num { float: |x| -x, int: i64::wrapping_neg, uint: u64::wrapping_neg },
                derivative: Derivative::Rule(|b, x, _| b.full_like(-1.0, x)),
            },
            UnaryOp::Not => &UnaryDef {
                name: "not",
                doc: "Logical negation; integers negate each bit.",
                dtype: DtypeRule::IntOrBool,
                result: ResultDtype::Same,
                eval: UnaryEval::Bits { int: |x| !x, bool: |x| !x },
                derivative: Derivative::Zero,
            },
            UnaryOp::Abs => &UnaryDef {
                name: "abs",
                doc: "Absolute value; its derivative at 0 is 0.",
                dtype: DtypeRule::Num,
                result: ResultDtype::Same,
                eval: UnaryEval::Num { float: f64::abs, int: i64::wrapping_abs, uint: |x| x },
                derivative: Derivative::Rule(|b, x, _| b.unary(UnaryOp::Sign, x)),
            },
            UnaryOp::Sign => &UnaryDef {
                name: "sign",
                doc: "-1, 0 or 1; NaN stays NaN.",
                dtype: DtypeRule::Num,
                result: ResultDtype::Same,
                eval: UnaryEval::Num { float: special::sign, int: i64::signum, uint: |x| u64::from(x != 0) },
                derivative: Derivative::Zero,
            },
            UnaryOp::Floor => &const { float("floor", "Largest integer not above.", f64::floor, Derivative::Zero) },
            UnaryOp::Ceil => &const { float("ceil", "Smallest integer not below.", f64::ceil, Derivative::Zero) },
            UnaryOp::Round => {
                &const {
                    float(
                        "round",
                        "Nearest integer; halves go to the even one.",
                        f64::round_ties_even,
                        Derivative::Zero,
                    )
                }
            }
            UnaryOp::Trunc => &const { float("trunc", "Integer part, towards zero.", f64::trunc, Derivative::Zero) },
            UnaryOp::Sqrt => {
                &const {
                    float(
                        "sqrt",
                        "Square root; NaN below zero.",
                        f64::sqrt,
                        Derivative::Rule(|b, _, y| {
                            let half = b.full_like(0.5, y);
                            b.div(half, y)
                        }),
                    )
                }
            }
            UnaryOp::Rsqrt => {
                &const {
                    float(
                        "rsqrt",
                        "One over the square root; inf at zero, NaN below.",
                        |x| 1.0 / x.sqrt(),
                        Derivative::Rule(|b, x, y| {
                            let c = b.full_like(-0.5, x);
                            let q = b.div(y, x);
                            b.mul(c, q)
                        }),
                    )
                }
            }
            UnaryOp::Exp => &const { float("exp", "e to the power of x.", f64::exp, Derivative::Rule(|_, _, y| y)) },
            UnaryOp::Exp2 => {
                &const {
                    float(
                        "exp2",
                        "2 to the power of x.",
                        f64::exp2,
                        Derivative::Rule(|b, _, y| scaled(b, y, std::f64::consts::LN_2)),
                    )
                }
            }
            UnaryOp::Expm1 => {
                &const {
                    float(
                        "expm1",
                        "exp(x) - 1, exact near 0.",
                        f64::exp_m1,
                        Derivative::Rule(|b, x, _| b.unary(UnaryOp::Exp, x)),
                    )
                }
            }
            UnaryOp::Log => {
                &const {
                    float(
                        "log",
                        "Natural logarithm; -inf at zero, NaN below.",
                        f64::ln,
                        Derivative::Rule(|b, x, _| reciprocal(b, x)),
                    )
                }
            }
            UnaryOp::Log2 => {
                &const {
                    float(
                        "log2",
                        "Logarithm to base 2.",
                        f64::log2,
                        Derivative::Rule(|b, x, _| {
                            let d = scaled(b, x, std::f64::consts::LN_2);
                            reciprocal(b, d)
                        }),
                    )
                }
            }
            UnaryOp::Log10 => {
                &const {
                    float(
                        "log10",
                        "Logarithm to base 10.",
                        f64::log10,
                        Derivative::Rule(|b, x, _| {
                            let d = scaled(b, x, std::f64::consts::LN_10);
                            reciprocal(b, d)
                        }),
                    )
                }
            }
            UnaryOp::Log1p => {
                &const {
                    float(
                        "log1p",
                        "log(1 + x), exact near 0.",
                        f64::ln_1p,
                        Derivative::Rule(|b, x, _| {
                            let one = b.full_like(1.0, x);
                            let d = b.add(one, x);
                            b.div(one, d)
                        }),
                    )
                }
            }
            UnaryOp::Sin => {
                &const {
                    float(
                        "sin",
                        "Sine of an angle in radians.",
                        f64::sin,
                        Derivative::Rule(|b, x, _| b.unary(UnaryOp::Cos, x)),
                    )
                }
            }
            UnaryOp::Cos => {
                &const {
                    float(
                        "cos",
                        "Cosine of an angle in radians.",
                        f64::cos,
                        Derivative::Rule(|b, x, _| {
                            let s = b.unary(UnaryOp::Sin, x);
                            b.neg(s)
                        }),
                    )
                }
            }
            UnaryOp::Tan => {
                &const {
                    float(
                        "tan",
                        "Tangent of an angle in radians.",
                        f64::tan,
                        Derivative::Rule(|b, x, y| {
                            let one = b.full_like(1.0, x);
                            let y2 = b.mul(y, y);
                            b.add(one, y2)
                        }),
                    )
                }
            }
            UnaryOp::Asin => {
                &const {
                    float(
                        "asin",
                        "Angle in [-pi/2, pi/2] with the sine x; NaN outside [-1, 1].",
                        f64::asin,
                        Derivative::Rule(|b, x, _| {
                            let d = one_minus_square(b, x);
                            b.unary(UnaryOp::Rsqrt, d)
                        }),
                    )
                }
            }
            UnaryOp::Acos => {
                &const {
                    float(
                        "acos",
                        "Angle in [0, pi] with the cosine x; NaN outside [-1, 1].",
                        f64::acos,
                        Derivative::Rule(|b, x, _| {
                            let d = one_minus_square(b, x);
                            let r = b.unary(UnaryOp::Rsqrt, d);
                            b.neg(r)
                        }),
                    )
                }
            }
            UnaryOp::Atan => {
                &const {
                    float(
                        "atan",
                        "Angle in (-pi/2, pi/2) with the tangent x.",
                        f64::atan,
                        Derivative::Rule(|b, x, _| {
                            let one = b.full_like(1.0, x);
                            let x2 = b.mul(x, x);
                            let d = b.add(one, x2);
                            b.div(one, d)
                        }),
                    )
                }
            }
            UnaryOp::Sinh => {
                &const { float("sinh", "Hyperbolic sine.", f64::sinh, Derivative::Rule(|b, x, _| b.unary(UnaryOp::Cosh, x))) }
            }
            UnaryOp::Cosh => {
                &const {
                    float(
                        "cosh",
                        "Hyperbolic cosine.",
                        f64::cosh,
                        Derivative::Rule(|b, x, _| b.unary(UnaryOp::Sinh, x)),
                    )
                }
            }
            UnaryOp::Tanh => {
                &const { float("tanh", "Hyperbolic tangent.", f64::tanh, Derivative::Rule(|b, _, y| one_minus_square(b, y))) }
            }
            UnaryOp::Sigmoid => {
                &const {
                    float(
                        "sigmoid",
                        "Logistic function 1 / (1 + exp(-x)), without overflow.",
                        special::sigmoid,
                        Derivative::Rule(|b, _, y| {
                            let one = b.full_like(1.0, y);
                            let rest = b.sub(one, y);
                            b.mul(y, rest)
                        }),
                    )
                }
            }
            UnaryOp::Erf => {
                &const {
                    float(
                        "erf",
                        "Error function: 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x.",
                        special::erf,
                        Derivative::Rule(|b, x, _| {
                            let x2 = b.mul(x, x);
                            let m = b.neg(x2);
                            let e = b.unary(UnaryOp::Exp, m);
                            scaled(b, e, std::f64::consts::FRAC_2_SQRT_PI)
                        }),
                    )
                }
            }
            UnaryOp::Lgamma => {
                &const {
                    float(
                        "lgamma",
                        "Logarithm of the absolute value of the gamma function.",
                        special::lgamma,
                        Derivative::Rule(|b, x, _| b.unary(UnaryOp::Digamma, x)),
                    )
                }
            }
            UnaryOp::Digamma => {
                &const {
                    float(
                        "digamma",
                        "Derivative of `lgamma`.",
                        special::digamma,
                        Derivative::Rule(|b, x, _| {
                            let one = b.full_like(1.0, x);
                            b.binary(BinaryOp::Polygamma, one, x)
                        }),
                    )
                }
            }
            UnaryOp::IsNan => &const { predicate("isnan", "Is the element NaN?", f64::is_nan) },
            UnaryOp::IsFinite => {
                &const { predicate("isfinite", "Is the element neither infinite nor NaN?", f64::is_finite) }
            }
        }
    }
}

fn scaled(b: &mut Builder, x: ValueId, c: f64) -> ValueId {
    let c = b.full_like(c, x);
    b.mul(c, x)
}

fn reciprocal(b: &mut Builder, x: ValueId) -> ValueId {
    let one = b.full_like(1.0, x);
    b.div(one, x)
}

/// `(1 - x)(1 + x)`: no cancellation near ±1.
fn one_minus_square(b: &mut Builder, x: ValueId) -> ValueId {
    let one = b.full_like(1.0, x);
    let (minus, plus) = (b.sub(one, x), b.add(one, x));
    b.mul(minus, plus)
}
