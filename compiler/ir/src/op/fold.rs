//! Evaluation of elementwise ops on scalars, from the tables: the constant folder and the interpreter use it.

use super::def::{BinaryEval, UnaryEval, float_to_int, int_to_float, round_float, wrap_int};
use super::{BinaryDef, CompareOp, Op, Scalar, UnaryDef};
use crate::{Dtype, DtypeClass, element};

impl UnaryDef {
    /// The function on floats. (Ops without one return NaN.)
    pub fn eval_f64(&self, x: f64) -> f64 {
        match self.eval {
            UnaryEval::Float(f) | UnaryEval::Num { float: f, .. } => f(x),
            UnaryEval::Bits { .. } | UnaryEval::Predicate(_) => f64::NAN,
        }
    }

    /// The result for one element of `dtype`; `None` where the dtype rule refuses it.
    pub fn eval(&self, x: Scalar, dtype: Dtype) -> Option<Scalar> {
        match (self.eval, x) {
            (UnaryEval::Float(f) | UnaryEval::Num { float: f, .. }, Scalar::Float(x)) => {
                Some(Scalar::float(round_float(f(f64::from_bits(x)), dtype)))
            }
            (UnaryEval::Predicate(f), Scalar::Float(x)) => Some(Scalar::Bool(f(f64::from_bits(x)))),
            (UnaryEval::Num { uint, .. }, Scalar::Int(x)) if dtype.class() == DtypeClass::Unsigned => {
                Some(Scalar::Int(wrap_int(uint(x as u64) as i64, dtype)))
            }
            (UnaryEval::Num { int, .. } | UnaryEval::Bits { int, .. }, Scalar::Int(x)) => {
                Some(Scalar::Int(wrap_int(int(x), dtype)))
            }
            (UnaryEval::Bits { bool, .. }, Scalar::Bool(x)) => Some(Scalar::Bool(bool(x))),
            (UnaryEval::Float(_) | UnaryEval::Predicate(_), Scalar::Int(_) | Scalar::Bool(_))
            | (UnaryEval::Num { .. }, Scalar::Bool(_))
            | (UnaryEval::Bits { .. }, Scalar::Float(_)) => None,
        }
    }
}

impl BinaryDef {
    /// The function on floats. (Ops without one return NaN.)
    pub fn eval_f64(&self, a: f64, b: f64) -> f64 {
        match self.eval {
            BinaryEval::Float(f) | BinaryEval::Num { float: f, .. } => f(a, b),
            BinaryEval::Bits { .. } | BinaryEval::Int { .. } => f64::NAN,
        }
    }

    /// The result for one pair of elements of `dtype`; `None` where the dtype rule refuses them.
    pub fn eval(&self, a: Scalar, b: Scalar, dtype: Dtype) -> Option<Scalar> {
        match (a, b) {
            (Scalar::Float(a), Scalar::Float(b)) => match self.eval {
                BinaryEval::Float(f) | BinaryEval::Num { float: f, .. } => {
                    Some(Scalar::float(round_float(f(f64::from_bits(a), f64::from_bits(b)), dtype)))
                }
                BinaryEval::Bits { .. } | BinaryEval::Int { .. } => None,
            },
            (Scalar::Int(a), Scalar::Int(b)) => match self.eval {
                BinaryEval::Num { int, uint, .. }
                | BinaryEval::Bits { int, uint, .. }
                | BinaryEval::Int { int, uint } => {
                    let y =
                        if dtype.class() == DtypeClass::Unsigned { uint(a as u64, b as u64) as i64 } else { int(a, b) };
                    Some(Scalar::Int(wrap_int(y, dtype)))
                }
                BinaryEval::Float(_) => None,
            },
            (Scalar::Bool(a), Scalar::Bool(b)) => match self.eval {
                BinaryEval::Bits { bool, .. } => Some(Scalar::Bool(bool(a, b))),
                BinaryEval::Float(_) | BinaryEval::Num { .. } | BinaryEval::Int { .. } => None,
            },
            (Scalar::Float(_) | Scalar::Int(_) | Scalar::Bool(_), _) => None,
        }
    }
}

impl CompareOp {
    /// The result for one pair of elements of `dtype`; `None` for scalars of different classes.
    pub fn eval(self, a: Scalar, b: Scalar, dtype: Dtype) -> Option<bool> {
        let def = self.def();
        match (a, b) {
            (Scalar::Float(a), Scalar::Float(b)) => Some((def.float)(f64::from_bits(a), f64::from_bits(b))),
            (Scalar::Int(a), Scalar::Int(b)) if dtype.class() == DtypeClass::Unsigned => {
                Some((def.uint)(a as u64, b as u64))
            }
            (Scalar::Int(a), Scalar::Int(b)) => Some((def.int)(a, b)),
            (Scalar::Bool(a), Scalar::Bool(b)) => Some((def.bool)(a, b)),
            (Scalar::Float(_) | Scalar::Int(_) | Scalar::Bool(_), _) => None,
        }
    }
}

/// `Op::Convert` of one element.
pub fn convert(x: Scalar, from: Dtype, to: Dtype) -> Scalar {
    match (to.class(), x) {
        (DtypeClass::Float, Scalar::Float(x)) => Scalar::float(round_float(f64::from_bits(x), to)),
        (DtypeClass::Float, Scalar::Int(x)) => Scalar::float(int_to_narrow(x, from, to)),
        (DtypeClass::Float, Scalar::Bool(x)) => Scalar::float(f64::from(u8::from(x))),
        (DtypeClass::Signed | DtypeClass::Unsigned, Scalar::Float(x)) => {
            Scalar::Int(float_to_int(f64::from_bits(x), to))
        }
        (DtypeClass::Signed | DtypeClass::Unsigned, Scalar::Int(x)) => Scalar::Int(wrap_int(x, to)),
        (DtypeClass::Signed | DtypeClass::Unsigned, Scalar::Bool(x)) => Scalar::Int(i64::from(x)),
        (DtypeClass::Bool, Scalar::Float(x)) => Scalar::Bool(f64::from_bits(x) != 0.0),
        (DtypeClass::Bool, Scalar::Int(x)) => Scalar::Bool(x != 0),
        (DtypeClass::Bool, Scalar::Bool(x)) => Scalar::Bool(x),
    }
}

/// An integer rounded once to a float dtype.
fn int_to_narrow(x: i64, from: Dtype, to: Dtype) -> f64 {
    match to {
        Dtype::F32 if from == Dtype::U64 => f64::from(x as u64 as f32),
        Dtype::F32 => f64::from(x as f32),
        Dtype::F16
        | Dtype::Bf16
        | Dtype::F64
        | Dtype::I8
        | Dtype::I16
        | Dtype::I32
        | Dtype::I64
        | Dtype::U8
        | Dtype::U32
        | Dtype::U64
        | Dtype::Bool => round_float(int_to_float(x, from), to),
    }
}

/// The value of an elementwise op on constants of the dtype `from` (for `Select`, that of the branches), as an element of
/// the result dtype `to`. `None` for other ops, and where a program would fail (integer division by zero).
pub fn fold(op: &Op, args: &[Scalar], from: Dtype, to: Dtype) -> Option<Scalar> {
    let c = |i: usize| args.get(i).map(|x| element::canonical(*x, from));
    match op {
        Op::Const(x) => Some(element::canonical(*x, to)),
        Op::Unary(op) => op.def().eval(c(0)?, from),
        Op::Binary(op) => {
            let (a, b) = (c(0)?, c(1)?);
            let divides = matches!(op, super::BinaryOp::FloorDiv | super::BinaryOp::Rem);
            if divides && b == Scalar::Int(0) {
                return None;
            }
            op.def().eval(a, b, from)
        }
        Op::Compare(op) => op.eval(c(0)?, c(1)?, from).map(Scalar::Bool),
        Op::Select => match args.first()? {
            Scalar::Bool(true) => c(1),
            Scalar::Bool(false) => c(2),
            Scalar::Float(_) | Scalar::Int(_) => None,
        },
        Op::Convert => Some(convert(c(0)?, from, to)),
        Op::StopGrad => c(0),
        Op::Barrier
        | Op::Dense(_)
        | Op::Text(_)
        | Op::Iota
        | Op::Expand { .. }
        | Op::Reshape
        | Op::Permute { .. }
        | Op::Slice { .. }
        | Op::UpdateSlice { .. }
        | Op::Flip { .. }
        | Op::Shear { .. }
        | Op::Concat { .. }
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::Scan { .. }
        | Op::Sort { .. }
        | Op::Nonzero
        | Op::Contract { .. }
        | Op::Window { .. }
        | Op::Attention
        | Op::AttentionGrad
        | Op::Gather
        | Op::Scatter { .. }
        | Op::Random { .. }
        | Op::If
        | Op::For
        | Op::While
        | Op::Call { .. }
        | Op::Vjp { .. }
        | Op::Jvp { .. }
        | Op::Checkpoint { .. }
        | Op::Vmap { .. }
        | Op::StackNew
        | Op::StackPush
        | Op::StackTensor
        | Op::Print { .. }
        | Op::Assert { .. }
        | Op::Format { .. }
        | Op::Io(_)
        | Op::Debug { .. }
        | Op::Host(_) => None,
    }
}
