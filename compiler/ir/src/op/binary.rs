//! Elementwise functions of two operands.

use super::compare::CompareOp;
use super::def::{BinaryEval, BinaryRule, Derivative, DtypeRule};
use super::special;
use super::unary::UnaryOp;
use crate::{Builder, ValueId};

/// See the table for each op's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    /// Floats only.
    Div,
    /// Rounds towards minus infinity.
    FloorDiv,
    /// `a - b * floor(a / b)`: has the sign of `b`.
    Rem,
    Pow,
    Min,
    Max,
    Atan2,
    Polygamma,
    And,
    Or,
    Xor,
    Shl,
    Shr,
}

/// A row of the table. Operands and result have one dtype.
#[derive(Clone, Copy, Debug)]
pub struct BinaryDef {
    /// As the user calls it, or what the operator is called in dumps.
    pub name: &'static str,
    /// The operator, for ops that are written as one.
    pub symbol: Option<&'static str>,
    pub doc: &'static str,
    pub dtype: DtypeRule,
    pub eval: BinaryEval,
    /// By the first and by the second operand.
    pub derivative: [Derivative<BinaryRule>; 2],
}

const ZERO: [Derivative<BinaryRule>; 2] = [Derivative::Zero, Derivative::Zero];

const fn both(da: BinaryRule, db: BinaryRule) -> [Derivative<BinaryRule>; 2] {
    [Derivative::Rule(da), Derivative::Rule(db)]
}

impl BinaryOp {
    pub const ALL: &[BinaryOp] = &[
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::FloorDiv,
        BinaryOp::Rem,
        BinaryOp::Pow,
        BinaryOp::Min,
        BinaryOp::Max,
        BinaryOp::Atan2,
        BinaryOp::Polygamma,
        BinaryOp::And,
        BinaryOp::Or,
        BinaryOp::Xor,
        BinaryOp::Shl,
        BinaryOp::Shr,
    ];

    pub fn from_name(name: &str) -> Option<BinaryOp> {
        BinaryOp::ALL.iter().copied().find(|op| op.def().name == name)
    }

    /// The op that is written as this operator.
    pub fn from_symbol(symbol: &str) -> Option<BinaryOp> {
        BinaryOp::ALL.iter().copied().find(|op| op.def().symbol == Some(symbol))
    }

    pub fn def(self) -> &'static BinaryDef {
        match self {
            BinaryOp::Add => {
                &const {
                    BinaryDef {
                        name: "add",
                        symbol: Some("+"),
                        doc: "Sum; integers wrap.",
                        dtype: DtypeRule::Num,
                        eval: BinaryEval::Num { float: |a, b| a + b, int: i64::wrapping_add, uint: u64::wrapping_add },
                        derivative: both(|b, x, _, _| b.full_like(1.0, x), |b, x, _, _| b.full_like(1.0, x)),
                    }
                }
            }
            BinaryOp::Sub => {
                &const {
                    BinaryDef {
                        name: "sub",
                        symbol: Some("-"),
                        doc: "Difference; integers wrap.",
                        dtype: DtypeRule::Num,
                        eval: BinaryEval::Num { float: |a, b| a - b, int: i64::wrapping_sub, uint: u64::wrapping_sub },
                        derivative: both(|b, x, _, _| b.full_like(1.0, x), |b, x, _, _| b.full_like(-1.0, x)),
                    }
                }
            }
            BinaryOp::Mul => {
                &const {
                    BinaryDef {
                        name: "mul",
                        symbol: Some("*"),
                        doc: "Product; integers wrap.",
                        dtype: DtypeRule::Num,
                        eval: BinaryEval::Num { float: |a, b| a * b, int: i64::wrapping_mul, uint: u64::wrapping_mul },
                        derivative: both(|_, _, c, _| c, |_, x, _, _| x),
                    }
                }
            }
            BinaryOp::Div => {
                &const {
                    BinaryDef {
                        name: "div",
                        symbol: Some("/"),
                        doc: "Quotient of floats.",
                        dtype: DtypeRule::Float,
                        eval: BinaryEval::Float(|a, b| a / b),
                        derivative: both(
                            |b, x, c, _| {
                                let one = b.full_like(1.0, x);
                                b.div(one, c)
                            },
                            |b, _, c, y| {
                                let q = b.div(y, c);
                                b.neg(q)
                            },
                        ),
                    }
                }
            }
            BinaryOp::FloorDiv => {
                &const {
                    BinaryDef {
                        name: "floordiv",
                        symbol: Some("//"),
                        doc: "Quotient rounded towards minus infinity. An integer by 0 is 0 here; programs assert before.",
                        dtype: DtypeRule::Num,
                        eval: BinaryEval::Num {
                            float: float_floordiv,
                            int: int_floordiv,
                            uint: |a, b| a.checked_div(b).unwrap_or(0),
                        },
                        derivative: ZERO,
                    }
                }
            }
            BinaryOp::Rem => {
                &const {
                    BinaryDef {
                        name: "rem",
                        symbol: Some("%"),
                        doc: "a - b * floor(a / b): has the sign of b. An integer by 0 is 0 here; programs assert before.",
                        dtype: DtypeRule::Num,
                        eval: BinaryEval::Num {
                            float: float_rem,
                            int: int_rem,
                            uint: |a, b| a.checked_rem(b).unwrap_or(0),
                        },
                        derivative: both(
                            |b, x, _, _| b.full_like(1.0, x),
                            |b, x, c, _| {
                                let q = b.binary(BinaryOp::FloorDiv, x, c);
                                b.neg(q)
                            },
                        ),
                    }
                }
            }
            BinaryOp::Pow => {
                &const {
                    BinaryDef {
                        name: "pow",
                        symbol: Some("^"),
                        doc: "a to the power of b; 1 where b is 0. Integers wrap, and a negative exponent truncates here; programs assert before.",
                        dtype: DtypeRule::Num,
                        eval: BinaryEval::Num { float: f64::powf, int: int_pow, uint: uint_pow },
                        derivative: both(pow_by_base, pow_by_exponent),
                    }
                }
            }
            BinaryOp::Min => {
                &const {
                    BinaryDef {
                        name: "minimum",
                        symbol: None,
                        doc: "The smaller one; NaN if either is. In a derivative ties share equally.",
                        dtype: DtypeRule::Num,
                        eval: BinaryEval::Num { float: float_min, int: |a, b| a.min(b), uint: |a, b| a.min(b) },
                        derivative: both(
                            |b, x, c, _| share(b, CompareOp::Lt, x, c),
                            |b, x, c, _| share(b, CompareOp::Lt, c, x),
                        ),
                    }
                }
            }
            BinaryOp::Max => {
                &const {
                    BinaryDef {
                        name: "maximum",
                        symbol: None,
                        doc: "The larger one; NaN if either is. In a derivative ties share equally.",
                        dtype: DtypeRule::Num,
                        eval: BinaryEval::Num { float: float_max, int: |a, b| a.max(b), uint: |a, b| a.max(b) },
                        derivative: both(
                            |b, x, c, _| share(b, CompareOp::Gt, x, c),
                            |b, x, c, _| share(b, CompareOp::Gt, c, x),
                        ),
                    }
                }
            }
            BinaryOp::Atan2 => {
                &const {
                    BinaryDef {
                        name: "atan2",
                        symbol: None,
                        doc: "Angle of the point (b, a) in (-pi, pi]; its derivatives at the origin are 0.",
                        dtype: DtypeRule::Float,
                        eval: BinaryEval::Float(f64::atan2),
                        derivative: both(
                            |b, x, c, _| over_square_radius(b, c, x, c),
                            |b, x, c, _| {
                                let m = b.neg(x);
                                over_square_radius(b, m, x, c)
                            },
                        ),
                    }
                }
            }
            BinaryOp::Polygamma => {
                &const {
                    BinaryDef {
                        name: "polygamma",
                        symbol: None,
                        doc: "a-th derivative of `digamma` at b, for a whole number a that is not negative; NaN for any other.",
                        dtype: DtypeRule::Float,
                        eval: BinaryEval::Float(special::polygamma),
                        derivative: [
                            Derivative::NotDifferentiable("`polygamma` has no derivative by its order, a whole number"),
                            Derivative::Rule(|b, n, x, _| {
                                let one = b.full_like(1.0, n);
                                let next = b.add(n, one);
                                b.binary(BinaryOp::Polygamma, next, x)
                            }),
                        ],
                    }
                }
            }
            BinaryOp::And => {
                &const {
                    BinaryDef {
                        name: "and",
                        symbol: Some("and"),
                        doc: "Both; integers bit by bit.",
                        dtype: DtypeRule::IntOrBool,
                        eval: BinaryEval::Bits { int: |a, b| a & b, uint: |a, b| a & b, bool: |a, b| a & b },
                        derivative: ZERO,
                    }
                }
            }
            BinaryOp::Or => {
                &const {
                    BinaryDef {
                        name: "or",
                        symbol: Some("or"),
                        doc: "Either or both; integers bit by bit.",
                        dtype: DtypeRule::IntOrBool,
                        eval: BinaryEval::Bits { int: |a, b| a | b, uint: |a, b| a | b, bool: |a, b| a | b },
                        derivative: ZERO,
                    }
                }
            }
            BinaryOp::Xor => {
                &const {
                    BinaryDef {
                        name: "xor",
                        symbol: None,
                        doc: "Exactly one of both; integers bit by bit.",
                        dtype: DtypeRule::IntOrBool,
                        eval: BinaryEval::Bits { int: |a, b| a ^ b, uint: |a, b| a ^ b, bool: |a, b| a ^ b },
                        derivative: ZERO,
                    }
                }
            }
            BinaryOp::Shl => {
                &const {
                    BinaryDef {
                        name: "shl",
                        symbol: None,
                        doc: "Bits shifted left; 0 where the distance is negative or the width and more.",
                        dtype: DtypeRule::Int,
                        eval: BinaryEval::Int {
                            int: |a, b| if (0..64).contains(&b) { a << b } else { 0 },
                            uint: |a, b| if b < 64 { a << b } else { 0 },
                        },
                        derivative: ZERO,
                    }
                }
            }
            BinaryOp::Shr => {
                &const {
                    BinaryDef {
                        name: "shr",
                        symbol: None,
                        doc: "Bits shifted right, keeping the sign; a negative distance or the width and more leaves only the sign.",
                        dtype: DtypeRule::Int,
                        eval: BinaryEval::Int {
                            int: |a, b| a >> if (0..64).contains(&b) { b } else { 63 },
                            uint: |a, b| if b < 64 { a >> b } else { 0 },
                        },
                        derivative: ZERO,
                    }
                }
            }
        }
    }
}

// --- evaluation

fn float_rem(a: f64, b: f64) -> f64 {
    let r = a % b;
    if r == 0.0 {
        r.abs().copysign(b)
    } else if (r < 0.0) != (b < 0.0) {
        r + b
    } else {
        r
    }
}

/// The floor of the exact quotient, as NumPy has it: -0 is below 0, and a finite number by infinity 0 or -1.
fn float_floordiv(a: f64, b: f64) -> f64 {
    if b == 0.0 {
        return a / b;
    }
    let rest = a % b;
    let apart = rest != 0.0 && (rest < 0.0) != (b < 0.0);
    let q = (a - rest) / b - if apart { 1.0 } else { 0.0 };
    if q == 0.0 {
        return 0f64.copysign(a / b);
    }
    // all but an integer already: what is off is rounding
    let floor = q.floor();
    if q - floor > 0.5 { floor + 1.0 } else { floor }
}

fn int_floordiv(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0;
    }
    let q = a.wrapping_div(b);
    if a.wrapping_rem(b) != 0 && (a < 0) != (b < 0) { q - 1 } else { q }
}

fn int_rem(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0;
    }
    let r = a.wrapping_rem(b);
    if r != 0 && (r < 0) != (b < 0) { r + b } else { r }
}

fn uint_pow(a: u64, b: u64) -> u64 {
    let (mut base, mut exponent, mut y) = (a, b, 1_u64);
    while exponent > 0 {
        if exponent & 1 == 1 {
            y = y.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    y
}

fn int_pow(a: i64, b: i64) -> i64 {
    match (a, b) {
        (_, 0..) => uint_pow(a as u64, b as u64) as i64,
        (1, _) => 1,
        (-1, _) => 1 - 2 * (b & 1),
        (_, _) => 0,
    }
}

fn float_min(a: f64, b: f64) -> f64 {
    -float_max(-a, -b)
}

/// IEEE 754 `maximum`: NaN wins, +0 is above -0.
fn float_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == b && a.is_sign_negative() {
        b
    } else if a >= b {
        a
    } else {
        b
    }
}

// --- derivatives

/// `p x^(p-1)`, 0 where `p` is 0 whatever `x` is.
fn pow_by_base(b: &mut Builder, x: ValueId, p: ValueId, _: ValueId) -> ValueId {
    let (zero, one) = (b.full_like(0.0, p), b.full_like(1.0, p));
    let is_zero = b.compare(CompareOp::Eq, p, zero);
    let less = b.sub(p, one);
    let exponent = b.select(is_zero, zero, less);
    let power = b.binary(BinaryOp::Pow, x, exponent);
    b.mul(p, power)
}

/// `x^p log x`, 0 where `x` is 0.
fn pow_by_exponent(b: &mut Builder, x: ValueId, _: ValueId, y: ValueId) -> ValueId {
    let (zero, one) = (b.full_like(0.0, x), b.full_like(1.0, x));
    let is_zero = b.compare(CompareOp::Eq, x, zero);
    let safe = b.select(is_zero, one, x);
    let log = b.unary(UnaryOp::Log, safe);
    b.mul(log, y)
}

/// 1 where `win(x, other)`, a half where they are equal, else 0.
fn share(b: &mut Builder, win: CompareOp, x: ValueId, other: ValueId) -> ValueId {
    let (zero, half, one) = (b.full_like(0.0, x), b.full_like(0.5, x), b.full_like(1.0, x));
    let wins = b.compare(win, x, other);
    let ties = b.compare(CompareOp::Eq, x, other);
    let rest = b.select(ties, half, zero);
    b.select(wins, one, rest)
}

/// `numerator / (y^2 + x^2)`, 0 at the origin.
fn over_square_radius(b: &mut Builder, numerator: ValueId, y: ValueId, x: ValueId) -> ValueId {
    let (y2, x2) = (b.mul(y, y), b.mul(x, x));
    let r2 = b.add(y2, x2);
    let (zero, one) = (b.full_like(0.0, r2), b.full_like(1.0, r2));
    let origin = b.compare(CompareOp::Eq, r2, zero);
    let safe = b.select(origin, one, r2);
    let q = b.div(numerator, safe);
    b.select(origin, zero, q)
}
