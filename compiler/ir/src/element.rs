//! Elements in memory: little-endian bytes of a dtype, and the scalars they stand for.

use half::{bf16, f16};

use crate::op::{round_float, wrap_int};
use crate::{Dtype, DtypeClass, Scalar};

/// Appends one element. A scalar of another class is converted by value.
pub fn write(out: &mut Vec<u8>, x: Scalar, dtype: Dtype) {
    match dtype.class() {
        DtypeClass::Float => {
            let f = match x {
                Scalar::Float(bits) => f64::from_bits(bits),
                Scalar::Int(i) => i as f64,
                Scalar::Bool(b) => f64::from(u8::from(b)),
            };
            write_float(out, f, dtype);
        }
        DtypeClass::Signed | DtypeClass::Unsigned | DtypeClass::Bool => {
            let i = match x {
                Scalar::Float(bits) => f64::from_bits(bits) as i64,
                Scalar::Int(i) => i,
                Scalar::Bool(b) => i64::from(b),
            };
            write_int(out, i, dtype);
        }
    }
}

/// Appends a float, rounded to the dtype.
pub fn write_float(out: &mut Vec<u8>, x: f64, dtype: Dtype) {
    match dtype {
        Dtype::F16 => out.extend(f16::from_f64(round_float(x, dtype)).to_le_bytes()),
        Dtype::Bf16 => out.extend(bf16::from_f64(round_float(x, dtype)).to_le_bytes()),
        Dtype::F32 => out.extend((x as f32).to_le_bytes()),
        Dtype::F64 => out.extend(x.to_le_bytes()),
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 | Dtype::U8 | Dtype::U32 | Dtype::U64 | Dtype::Bool => {
            write_int(out, x as i64, dtype)
        }
    }
}

/// Appends an integer or bool, wrapped to the dtype.
pub fn write_int(out: &mut Vec<u8>, x: i64, dtype: Dtype) {
    if dtype == Dtype::Bool {
        out.push(u8::from(x != 0));
    } else {
        out.extend(&x.to_le_bytes()[..dtype.size()]);
    }
}

fn bytes<const N: usize>(data: &[u8], i: usize) -> [u8; N] {
    let mut b = [0; N];
    b.copy_from_slice(&data[i * N..(i + 1) * N]);
    b
}

/// Element `i` of a float dtype, widened.
pub fn read_float(data: &[u8], i: usize, dtype: Dtype) -> f64 {
    match dtype {
        Dtype::F16 => f16::from_le_bytes(bytes(data, i)).to_f64(),
        Dtype::Bf16 => bf16::from_le_bytes(bytes(data, i)).to_f64(),
        Dtype::F32 => f64::from(f32::from_le_bytes(bytes(data, i))),
        Dtype::F64 => f64::from_le_bytes(bytes(data, i)),
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 | Dtype::U8 | Dtype::U32 | Dtype::U64 | Dtype::Bool => {
            read_int(data, i, dtype) as f64
        }
    }
}

/// Element `i` of an integer or bool dtype, sign- or zero-extended.
pub fn read_int(data: &[u8], i: usize, dtype: Dtype) -> i64 {
    match dtype {
        Dtype::I8 => i64::from(data[i] as i8),
        Dtype::I16 => i64::from(i16::from_le_bytes(bytes(data, i))),
        Dtype::I32 => i64::from(i32::from_le_bytes(bytes(data, i))),
        Dtype::I64 | Dtype::U64 => i64::from_le_bytes(bytes(data, i)),
        Dtype::U8 => i64::from(data[i]),
        Dtype::U32 => i64::from(u32::from_le_bytes(bytes(data, i))),
        Dtype::Bool => i64::from(data[i] != 0),
        Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64 => read_float(data, i, dtype) as i64,
    }
}

/// Element `i`.
pub fn read(data: &[u8], i: usize, dtype: Dtype) -> Scalar {
    match dtype.class() {
        DtypeClass::Float => Scalar::float(read_float(data, i, dtype)),
        DtypeClass::Signed | DtypeClass::Unsigned => Scalar::Int(read_int(data, i, dtype)),
        DtypeClass::Bool => Scalar::Bool(data[i] != 0),
    }
}

/// A scalar as an element of `dtype` holds it: rounded or wrapped.
pub fn canonical(x: Scalar, dtype: Dtype) -> Scalar {
    match x {
        Scalar::Float(bits) => Scalar::float(round_float(f64::from_bits(bits), dtype)),
        Scalar::Int(i) => Scalar::Int(wrap_int(i, dtype)),
        Scalar::Bool(b) => Scalar::Bool(b),
    }
}
