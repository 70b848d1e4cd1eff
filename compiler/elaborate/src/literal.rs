//! Literals as data.

use tdl_ir::op::{round_float, wrap_int};
use tdl_ir::{Dtype, Scalar, UnaryOp};
use tdl_types::thir::{Expr, ExprKind};

/// An integer literal in a dtype, which may be a float.
pub fn int(x: i128, dtype: Dtype) -> Scalar {
    if dtype.is_float() {
        Scalar::float(x as f64)
    } else if dtype == Dtype::Bool {
        Scalar::Bool(x != 0)
    } else {
        Scalar::Int(wrap_int(x as i64, dtype))
    }
}

/// A literal, perhaps with a sign.
fn scalar(e: &Expr, dtype: Dtype) -> Option<Scalar> {
    match &e.kind {
        ExprKind::Int(x) => Some(int(*x, dtype)),
        ExprKind::Float(x) => Some(Scalar::float(*x)),
        ExprKind::Bool(x) => Some(Scalar::Bool(*x)),
        ExprKind::Unary { op: UnaryOp::Neg, operand } => Some(match scalar(operand, dtype)? {
            Scalar::Float(bits) => Scalar::float(-f64::from_bits(bits)),
            Scalar::Int(x) => Scalar::Int(wrap_int(x.wrapping_neg(), dtype)),
            Scalar::Bool(_) => return None,
        }),
        _ => None,
    }
}

/// A nested array of literals: little-endian elements in row-major order, and the extents.
pub fn dense(items: &[Expr], dtype: Dtype) -> Option<(Vec<u8>, Vec<i64>)> {
    let mut bytes = Vec::new();
    let mut inner: Option<Vec<i64>> = None;
    for item in items {
        let dims = match &item.kind {
            ExprKind::Array(nested) => {
                let (data, dims) = dense(nested, dtype)?;
                bytes.extend(data);
                dims
            }
            _ => {
                push(&mut bytes, scalar(item, dtype)?, dtype)?;
                Vec::new()
            }
        };
        if inner.get_or_insert_with(|| dims.clone()) != &dims {
            return None;
        }
    }
    let mut dims = vec![i64::try_from(items.len()).ok()?];
    dims.extend(inner?);
    Some((bytes, dims))
}

fn push(bytes: &mut Vec<u8>, x: Scalar, dtype: Dtype) -> Option<()> {
    match (x, dtype) {
        (Scalar::Float(bits), Dtype::F64) => bytes.extend(bits.to_le_bytes()),
        (Scalar::Float(bits), Dtype::F32) => bytes.extend((f64::from_bits(bits) as f32).to_le_bytes()),
        (Scalar::Float(bits), Dtype::F16 | Dtype::Bf16) => {
            bytes.extend(half_bits(round_float(f64::from_bits(bits), dtype), dtype).to_le_bytes());
        }
        (Scalar::Int(x), d) if d.is_int() => bytes.extend(&x.to_le_bytes()[..d.size()]),
        (Scalar::Bool(x), Dtype::Bool) => bytes.push(u8::from(x)),
        (Scalar::Float(_) | Scalar::Int(_) | Scalar::Bool(_), _) => return None,
    }
    Some(())
}

/// The bits of a float that is exactly an f16 or bf16.
fn half_bits(x: f64, dtype: Dtype) -> u16 {
    let bits = (x as f32).to_bits();
    if dtype == Dtype::Bf16 {
        return (bits >> 16) as u16;
    }
    let sign = ((bits >> 16) & 0x8000) as u16;
    let exponent = ((bits >> 23) & 0xff) as i32 - 127;
    let fraction = bits & 0x007f_ffff;
    if x.is_nan() {
        sign | 0x7e00
    } else if exponent > 15 {
        sign | 0x7c00
    } else if exponent >= -14 {
        sign | (((exponent + 15) as u16) << 10) | (fraction >> 13) as u16
    } else {
        // a denormal: x is a multiple of 2^-24
        sign | (x.abs() * f64::from(1 << 24)) as u16
    }
}
