//! Single numbers.

use half::{bf16, f16};

use super::spec::{Kind, Spec};
use crate::abi::Dtype;

/// A number of one of the three kinds that print differently.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// With the digits that its own width needs: see [`digits`].
    Float(f64, Dtype),
    Int(i128),
    Bool(bool),
}

/// Reads one element.
pub fn read(dtype: Dtype, bytes: &[u8]) -> Number {
    fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes[..N].try_into().unwrap_or([0; N])
    }
    match dtype {
        Dtype::F16 => Number::Float(f16::from_le_bytes(array(bytes)).to_f64(), dtype),
        Dtype::Bf16 => Number::Float(bf16::from_le_bytes(array(bytes)).to_f64(), dtype),
        Dtype::F32 => Number::Float(f32::from_le_bytes(array(bytes)).into(), dtype),
        Dtype::F64 => Number::Float(f64::from_le_bytes(array(bytes)), dtype),
        Dtype::I8 => Number::Int(i8::from_le_bytes(array(bytes)).into()),
        Dtype::I16 => Number::Int(i16::from_le_bytes(array(bytes)).into()),
        Dtype::I32 => Number::Int(i32::from_le_bytes(array(bytes)).into()),
        Dtype::I64 => Number::Int(i64::from_le_bytes(array(bytes)).into()),
        Dtype::U8 => Number::Int(bytes[0].into()),
        Dtype::U32 => Number::Int(u32::from_le_bytes(array(bytes)).into()),
        Dtype::U64 => Number::Int(u64::from_le_bytes(array(bytes)).into()),
        Dtype::Bool => Number::Bool(bytes[0] != 0),
    }
}

/// A scalar in a format; the default is the shortest text that reads back as the same number, with a dot or exponent if
/// it is a float.
pub fn scalar(dtype: Dtype, bytes: &[u8], spec: &Spec) -> String {
    number(read(dtype, bytes), spec)
}

pub fn number(n: Number, spec: &Spec) -> String {
    let text = match n {
        Number::Bool(b) => return b.to_string(),
        Number::Int(i) => match (spec.kind, spec.precision) {
            (Kind::Hex, _) => format!("{i:x}"),
            (Kind::Percent, _) | (Kind::Exponent, _) | (Kind::Fixed, Some(_)) => float(i as f64, Dtype::F64, spec),
            (Kind::Default | Kind::Fixed, _) => i.to_string(),
        },
        Number::Float(x, dtype) => float(x, dtype, spec),
    };
    let text = if spec.thousands { thousands(&text) } else { text };
    if spec.plus && !text.starts_with('-') && !text.starts_with("nan") { format!("+{text}") } else { text }
}

/// The nearest f16, rounded once.
pub fn to_f16(x: f64) -> f16 {
    f16::from_f32(towards_odd(x))
}

/// The nearest bf16, rounded once.
pub fn to_bf16(x: f64) -> bf16 {
    bf16::from_f32(towards_odd(x))
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

fn float(x: f64, dtype: Dtype, spec: &Spec) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf".into() } else { "-inf".into() };
    }
    match (spec.kind, spec.precision) {
        (Kind::Exponent, p) => exponent(x, p.unwrap_or(6)),
        (Kind::Percent, p) => format!("{:.*}%", p.unwrap_or(6), x * 100.0),
        (Kind::Fixed, p) => format!("{x:.*}", p.unwrap_or(6)),
        (Kind::Default | Kind::Hex, Some(p)) => format!("{x:.p$}"),
        (Kind::Default | Kind::Hex, None) => shortest(x, dtype),
    }
}

/// Python's rule: positional between 1e-4 and 1e16, else scientific.
fn shortest(x: f64, dtype: Dtype) -> String {
    let magnitude = x.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let (digits, exp) = digits(x, dtype);
        let sign = if x < 0.0 { "-" } else { "" };
        let (head, tail) = digits.split_at(1);
        let dot = if tail.is_empty() { "" } else { "." };
        let mark = if exp < 0 { '-' } else { '+' };
        return format!("{sign}{head}{dot}{tail}e{mark}{:02}", exp.abs());
    }
    let text = positional(x, dtype);
    if text.contains('.') { text } else { format!("{text}.0") }
}

/// The shortest decimal digits of a nonzero number that read back as the same number of its dtype, and the exponent of the
/// first digit.
pub fn digits(x: f64, dtype: Dtype) -> (String, i32) {
    let text = match dtype {
        Dtype::F64 => format!("{:e}", x.abs()),
        Dtype::F16 => narrow(x, |y| to_f16(y).to_f64()),
        Dtype::Bf16 => narrow(x, |y| to_bf16(y).to_f64()),
        _ => format!("{:e}", x.abs() as f32),
    };
    let (mantissa, exp) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.replace('.', ""), exp.parse().unwrap_or(0))
}

/// The fewest digits that round back in a narrow format.
fn narrow(x: f64, round: fn(f64) -> f64) -> String {
    let x = x.abs();
    for p in 0..8 {
        let text = format!("{x:.p$e}");
        if text.parse::<f64>().is_ok_and(|y| round(y) == x) {
            let (m, e) = text.split_once('e').unwrap_or((&text, "0"));
            let m = if m.contains('.') { m.trim_end_matches('0').trim_end_matches('.') } else { m };
            return format!("{m}e{e}");
        }
    }
    format!("{x:e}")
}

/// The shortest positional text, without an exponent; an integer has no dot.
pub fn positional(x: f64, dtype: Dtype) -> String {
    if x == 0.0 {
        return if x.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let (digits, exp) = digits(x, dtype);
    let sign = if x < 0.0 { "-" } else { "" };
    let body = if exp < 0 {
        format!("0.{}{digits}", "0".repeat((-exp - 1) as usize))
    } else if digits.len() as i32 <= exp + 1 {
        format!("{digits}{}", "0".repeat((exp + 1) as usize - digits.len()))
    } else {
        let (a, b) = digits.split_at((exp + 1) as usize);
        format!("{a}.{b}")
    };
    format!("{sign}{body}")
}

/// Scientific with a number of digits after the point and at least two exponent digits.
pub fn exponent(x: f64, precision: usize) -> String {
    let text = format!("{x:.precision$e}");
    let (m, e) = text.split_once('e').unwrap_or((&text, "0"));
    let e: i32 = e.parse().unwrap_or(0);
    format!("{m}e{}{:02}", if e < 0 { '-' } else { '+' }, e.abs())
}

fn thousands(text: &str) -> String {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |r| ("-", r));
    let cut = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (whole, tail) = rest.split_at(cut);
    let mut out = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    format!("{sign}{out}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_floats_are_rounded_once() {
        let (middle, middle_b) = (1.0 + 2f64.powi(-11), 1.0 + 2f64.powi(-8));
        assert_eq!(to_f16(middle).to_f64(), 1.0);
        assert_eq!(to_f16(middle + 2f64.powi(-45)).to_f64(), 1.0 + 2f64.powi(-10));
        assert_eq!(to_f16(-(middle + 2f64.powi(-45))).to_f64(), -1.0 - 2f64.powi(-10));
        assert_eq!(to_f16(middle - 2f64.powi(-45)).to_f64(), 1.0);
        assert_eq!(to_bf16(middle_b).to_f64(), 1.0);
        assert_eq!(to_bf16(middle_b + 2f64.powi(-45)).to_f64(), 1.0 + 2f64.powi(-7));
        assert_eq!(to_f16(65520.0).to_f64(), f64::INFINITY);
        assert_eq!(to_f16(65_519.999_999_999).to_f64(), 65504.0);
        assert!(to_f16(f64::NAN).is_nan() && to_bf16(f64::INFINITY).is_infinite());
    }
}
