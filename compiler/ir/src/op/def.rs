//! What a row of an op table says.

use crate::{Builder, Dtype, DtypeClass, ValueId};

/// Which element types an op takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DtypeRule {
    Float,
    /// Floats and integers.
    Num,
    Int,
    Bool,
    IntOrBool,
    Any,
}

impl DtypeRule {
    pub fn accepts(self, dtype: Dtype) -> bool {
        match self {
            DtypeRule::Float => dtype.is_float(),
            DtypeRule::Num => dtype.is_num(),
            DtypeRule::Int => dtype.is_int(),
            DtypeRule::Bool => dtype == Dtype::Bool,
            DtypeRule::IntOrBool => dtype.is_int() || dtype == Dtype::Bool,
            DtypeRule::Any => true,
        }
    }

    /// For messages: `exp` takes "a float".
    pub fn describe(self) -> &'static str {
        match self {
            DtypeRule::Float => "a float",
            DtypeRule::Num => "a number",
            DtypeRule::Int => "an integer",
            DtypeRule::Bool => "a bool",
            DtypeRule::IntOrBool => "an integer or a bool",
            DtypeRule::Any => "any dtype",
        }
    }
}

/// The element type of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResultDtype {
    /// That of the operands.
    Same,
    Bool,
}

impl ResultDtype {
    pub fn of(self, operand: Dtype) -> Dtype {
        match self {
            ResultDtype::Same => operand,
            ResultDtype::Bool => Dtype::Bool,
        }
    }
}

/// A derivative rule of type `F`, or why there is none.
#[derive(Clone, Copy, Debug)]
pub enum Derivative<F> {
    Rule(F),
    /// Zero wherever it exists (steps, predicates, integers).
    Zero,
    /// The reason reaches the user.
    NotDifferentiable(&'static str),
}

/// `(b, x, y)`: builds `dy/dx` with the type of `x`, where `y` is the op's result.
pub type UnaryRule = fn(&mut Builder, ValueId, ValueId) -> ValueId;

/// `(b, x, other, y)`: builds the derivative of the result `y` by one operand, with the operands' type. The operands come
/// in their order, also in the rule for the second.
pub type BinaryRule = fn(&mut Builder, ValueId, ValueId, ValueId) -> ValueId;

/// How an elementwise function of one operand computes, per dtype class. Floats of every width compute in `f64` and are
/// rounded; integers compute as `i64` (unsigned ones zero-extended) and wrap to their width.
#[derive(Clone, Copy, Debug)]
pub enum UnaryEval {
    Float(fn(f64) -> f64),
    Num {
        float: fn(f64) -> f64,
        int: fn(i64) -> i64,
        uint: fn(u64) -> u64,
    },
    Bits {
        int: fn(i64) -> i64,
        bool: fn(bool) -> bool,
    },
    /// Float to bool.
    Predicate(fn(f64) -> bool),
}

/// How an elementwise function of two operands computes; see [`UnaryEval`].
#[derive(Clone, Copy, Debug)]
pub enum BinaryEval {
    Float(fn(f64, f64) -> f64),
    Num { float: fn(f64, f64) -> f64, int: fn(i64, i64) -> i64, uint: fn(u64, u64) -> u64 },
    Bits { int: fn(i64, i64) -> i64, uint: fn(u64, u64) -> u64, bool: fn(bool, bool) -> bool },
    Int { int: fn(i64, i64) -> i64, uint: fn(u64, u64) -> u64 },
}

/// `x` rounded to the precision of a float dtype (unchanged for others).
pub fn round_float(x: f64, dtype: Dtype) -> f64 {
    match dtype {
        Dtype::F16 => half::f16::from_f32(towards_odd(x)).to_f64(),
        Dtype::Bf16 => half::bf16::from_f32(towards_odd(x)).to_f64(),
        Dtype::F32 => f64::from(x as f32),
        Dtype::F64
        | Dtype::I8
        | Dtype::I16
        | Dtype::I32
        | Dtype::I64
        | Dtype::U8
        | Dtype::U32
        | Dtype::U64
        | Dtype::Bool => x,
    }
}

/// An f32 that rounds to fewer digits as `x` does: where `x` lies between two, the odd one (S. Boldo and G. Melquiond, *When
/// double rounding is odd*, 2005). `half` itself drops the last 32 bits of an f64.
fn towards_odd(x: f64) -> f32 {
    let near = x as f32;
    if x.is_nan() || f64::from(near) == x {
        return near;
    }
    let bits = near.to_bits();
    let cut = if f64::from(near).abs() > x.abs() { bits - 1 } else { bits };
    f32::from_bits(cut | 1)
}

/// `x` wrapped to the width of an integer dtype: sign- or zero-extended to 64 bits (unchanged for others).
pub fn wrap_int(x: i64, dtype: Dtype) -> i64 {
    match dtype {
        Dtype::I8 => i64::from(x as i8),
        Dtype::I16 => i64::from(x as i16),
        Dtype::I32 => i64::from(x as i32),
        Dtype::U8 => i64::from(x as u8),
        Dtype::U32 => i64::from(x as u32),
        Dtype::I64 | Dtype::U64 | Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64 | Dtype::Bool => x,
    }
}

/// The smallest and the largest value of an integer dtype (as two's complement for `u64`); `None` for others.
pub fn int_range(dtype: Dtype) -> Option<(i64, i64)> {
    match dtype {
        Dtype::I8 => Some((i64::from(i8::MIN), i64::from(i8::MAX))),
        Dtype::I16 => Some((i64::from(i16::MIN), i64::from(i16::MAX))),
        Dtype::I32 => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
        Dtype::I64 => Some((i64::MIN, i64::MAX)),
        Dtype::U8 => Some((0, i64::from(u8::MAX))),
        Dtype::U32 => Some((0, i64::from(u32::MAX))),
        Dtype::U64 => Some((0, -1)),
        Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64 | Dtype::Bool => None,
    }
}

/// Float to integer: truncates, saturates, NaN gives 0.
pub fn float_to_int(x: f64, dtype: Dtype) -> i64 {
    match dtype.class() {
        DtypeClass::Unsigned if dtype == Dtype::U64 => (x as u64) as i64,
        DtypeClass::Signed | DtypeClass::Unsigned => {
            let (lo, hi) = int_range(dtype).unwrap_or((i64::MIN, i64::MAX));
            (x as i64).clamp(lo, hi)
        }
        DtypeClass::Float | DtypeClass::Bool => x as i64,
    }
}

/// Integer to float: the `u64` is kept as two's complement.
pub fn int_to_float(x: i64, dtype: Dtype) -> f64 {
    if dtype == Dtype::U64 { x as u64 as f64 } else { x as f64 }
}
