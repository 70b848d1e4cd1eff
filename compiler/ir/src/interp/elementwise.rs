//! Elementwise ops over whole tensors.

use super::{Eval, Tensor, internal};
use crate::op::{BinaryEval, UnaryEval, convert as convert_scalar, wrap_int};
use crate::{BinaryOp, CompareOp, Dtype, DtypeClass, Scalar, UnaryOp};

pub fn unary(op: UnaryOp, x: &Tensor) -> Eval<Tensor> {
    let (dtype, shape) = (x.dtype, x.shape.clone());
    match (op.def().eval, dtype.class()) {
        (UnaryEval::Float(f) | UnaryEval::Num { float: f, .. }, DtypeClass::Float) => {
            Ok(Tensor::from_floats(dtype, shape, x.floats().into_iter().map(f)))
        }
        (UnaryEval::Predicate(f), DtypeClass::Float) => Ok(Tensor::from_bools(shape, x.floats().into_iter().map(f))),
        (UnaryEval::Num { uint, .. }, DtypeClass::Unsigned) => {
            Ok(Tensor::from_ints(dtype, shape, x.ints().into_iter().map(|x| uint(x as u64) as i64)))
        }
        (UnaryEval::Num { int, .. }, DtypeClass::Signed)
        | (UnaryEval::Bits { int, .. }, DtypeClass::Signed | DtypeClass::Unsigned) => {
            Ok(Tensor::from_ints(dtype, shape, x.ints().into_iter().map(int)))
        }
        (UnaryEval::Bits { bool, .. }, DtypeClass::Bool) => {
            Ok(Tensor::from_bools(shape, x.bools().into_iter().map(bool)))
        }
        (
            UnaryEval::Float(_) | UnaryEval::Predicate(_),
            DtypeClass::Signed | DtypeClass::Unsigned | DtypeClass::Bool,
        )
        | (UnaryEval::Num { .. }, DtypeClass::Bool)
        | (UnaryEval::Bits { .. }, DtypeClass::Float) => internal(format!("`{}` of {dtype}", op.def().name)),
    }
}

pub fn binary(op: BinaryOp, a: &Tensor, b: &Tensor) -> Eval<Tensor> {
    if a.dtype != b.dtype || a.shape != b.shape {
        return internal(format!("{}{:?} {} {}{:?}", a.dtype, a.shape, op.def().name, b.dtype, b.shape));
    }
    let (dtype, shape) = (a.dtype, a.shape.clone());
    match (op.def().eval, dtype.class()) {
        (BinaryEval::Float(f) | BinaryEval::Num { float: f, .. }, DtypeClass::Float) => {
            let pairs = a.floats().into_iter().zip(b.floats());
            Ok(Tensor::from_floats(dtype, shape, pairs.map(|(a, b)| f(a, b))))
        }
        (
            BinaryEval::Num { uint, .. } | BinaryEval::Bits { uint, .. } | BinaryEval::Int { uint, .. },
            DtypeClass::Unsigned,
        ) => {
            let pairs = a.ints().into_iter().zip(b.ints());
            Ok(Tensor::from_ints(dtype, shape, pairs.map(|(a, b)| uint(a as u64, b as u64) as i64)))
        }
        (
            BinaryEval::Num { int, .. } | BinaryEval::Bits { int, .. } | BinaryEval::Int { int, .. },
            DtypeClass::Signed,
        ) => {
            let pairs = a.ints().into_iter().zip(b.ints());
            Ok(Tensor::from_ints(dtype, shape, pairs.map(|(a, b)| int(a, b))))
        }
        (BinaryEval::Bits { bool, .. }, DtypeClass::Bool) => {
            let pairs = a.bools().into_iter().zip(b.bools());
            Ok(Tensor::from_bools(shape, pairs.map(|(a, b)| bool(a, b))))
        }
        (BinaryEval::Float(_), DtypeClass::Signed | DtypeClass::Unsigned | DtypeClass::Bool)
        | (BinaryEval::Num { .. } | BinaryEval::Int { .. }, DtypeClass::Bool)
        | (BinaryEval::Bits { .. } | BinaryEval::Int { .. }, DtypeClass::Float) => {
            internal(format!("`{}` of {dtype}", op.def().name))
        }
    }
}

pub fn compare(op: CompareOp, a: &Tensor, b: &Tensor) -> Eval<Tensor> {
    if a.dtype != b.dtype || a.shape != b.shape {
        return internal(format!("{}{:?} {} {}{:?}", a.dtype, a.shape, op.def().name, b.dtype, b.shape));
    }
    let (def, shape) = (op.def(), a.shape.clone());
    Ok(match a.dtype.class() {
        DtypeClass::Float => {
            Tensor::from_bools(shape, a.floats().into_iter().zip(b.floats()).map(|(a, b)| (def.float)(a, b)))
        }
        DtypeClass::Signed => {
            Tensor::from_bools(shape, a.ints().into_iter().zip(b.ints()).map(|(a, b)| (def.int)(a, b)))
        }
        DtypeClass::Unsigned => {
            Tensor::from_bools(shape, a.ints().into_iter().zip(b.ints()).map(|(a, b)| (def.uint)(a as u64, b as u64)))
        }
        DtypeClass::Bool => {
            Tensor::from_bools(shape, a.bools().into_iter().zip(b.bools()).map(|(a, b)| (def.bool)(a, b)))
        }
    })
}

pub fn select(c: &Tensor, a: &Tensor, b: &Tensor) -> Eval<Tensor> {
    if a.dtype != b.dtype || a.shape != b.shape || c.dtype != Dtype::Bool || c.shape != a.shape {
        return internal(format!("select {:?} {}{:?} {}{:?}", c.shape, a.dtype, a.shape, b.dtype, b.shape));
    }
    let size = a.dtype.size();
    let mut data = Vec::with_capacity(a.data.len());
    for (i, c) in c.data.iter().enumerate() {
        let from = if *c != 0 { a } else { b };
        data.extend_from_slice(&from.data[i * size..(i + 1) * size]);
    }
    Ok(Tensor::new(a.dtype, a.shape.clone(), data))
}

pub fn convert(x: &Tensor, to: Dtype) -> Tensor {
    let (from, shape) = (x.dtype, x.shape.clone());
    if from == to {
        return x.clone();
    }
    match (from.class(), to.class()) {
        (DtypeClass::Float, DtypeClass::Float) => Tensor::from_floats(to, shape, x.floats()),
        (DtypeClass::Signed | DtypeClass::Unsigned | DtypeClass::Bool, DtypeClass::Signed | DtypeClass::Unsigned) => {
            Tensor::from_ints(to, shape, x.ints().into_iter().map(|i| wrap_int(i, to)))
        }
        (_, DtypeClass::Bool) => Tensor::from_bools(shape, x.bools()),
        (DtypeClass::Float, DtypeClass::Signed | DtypeClass::Unsigned)
        | (DtypeClass::Signed | DtypeClass::Unsigned | DtypeClass::Bool, DtypeClass::Float) => {
            let one = |s| convert_scalar(s, from, to);
            if to.is_float() {
                let value = |s: Scalar| match s {
                    Scalar::Float(bits) => f64::from_bits(bits),
                    Scalar::Int(i) => i as f64,
                    Scalar::Bool(b) => f64::from(u8::from(b)),
                };
                Tensor::from_floats(to, shape, x.elements().map(|s| value(one(s))))
            } else {
                let value = |s: Scalar| match s {
                    Scalar::Int(i) => i,
                    Scalar::Float(bits) => f64::from_bits(bits) as i64,
                    Scalar::Bool(b) => i64::from(b),
                };
                Tensor::from_ints(to, shape, x.elements().map(|s| value(one(s))))
            }
        }
    }
}
