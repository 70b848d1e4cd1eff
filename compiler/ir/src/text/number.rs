//! Scalars and strings as text.

use crate::{Dtype, DtypeClass, Scalar, element};

const CANONICAL_NAN: u64 = 0x7ff8_0000_0000_0000;

/// The shortest text that reads back to the same bits. A constant that its dtype cannot hold exactly has the suffix `d`.
pub fn write_scalar(x: Scalar, dtype: Dtype) -> String {
    match x {
        Scalar::Bool(b) => b.to_string(),
        Scalar::Int(i) if dtype == Dtype::U64 => (i as u64).to_string(),
        Scalar::Int(i) => i.to_string(),
        Scalar::Float(bits) => {
            let f = f64::from_bits(bits);
            if f.is_nan() {
                if bits == CANONICAL_NAN { "nan".into() } else { format!("nan(0x{bits:x})") }
            } else if dtype == Dtype::F64 {
                format!("{f:?}")
            } else if f64::from(f as f32).to_bits() == bits {
                format!("{:?}", f as f32)
            } else {
                format!("{f:?}d")
            }
        }
    }
}

/// Inverse of [`write_scalar`]; `None` for text that is no scalar of the dtype.
pub fn read_scalar(text: &str, dtype: Dtype) -> Option<Scalar> {
    match dtype.class() {
        DtypeClass::Bool => text.parse().ok().map(Scalar::Bool),
        DtypeClass::Unsigned if dtype == Dtype::U64 => {
            text.parse::<u64>().ok().map(|x| x as i64).or_else(|| text.parse().ok()).map(Scalar::Int)
        }
        DtypeClass::Signed | DtypeClass::Unsigned => text.parse().ok().map(Scalar::Int),
        DtypeClass::Float => {
            if text == "nan" {
                return Some(Scalar::Float(CANONICAL_NAN));
            }
            if let Some(hex) = text.strip_prefix("nan(0x").and_then(|t| t.strip_suffix(')')) {
                let bits = u64::from_str_radix(hex, 16).ok()?;
                return f64::from_bits(bits).is_nan().then_some(Scalar::Float(bits));
            }
            if let Some(wide) = text.strip_suffix('d') {
                return wide.parse().ok().map(Scalar::float);
            }
            if dtype == Dtype::F64 {
                return text.parse().ok().map(Scalar::float);
            }
            text.parse::<f32>().ok().map(|f| Scalar::float(f64::from(f)))
        }
    }
}

/// `[1.0, 2.0]`, or `hex "…"` for bytes that are no exact elements of the dtype.
pub fn write_dense(bytes: &[u8], dtype: Dtype) -> String {
    if bytes.len().is_multiple_of(dtype.size()) {
        let n = bytes.len() / dtype.size();
        let elements: Vec<Scalar> = (0..n).map(|i| element::read(bytes, i, dtype)).collect();
        let mut again = Vec::with_capacity(bytes.len());
        elements.iter().for_each(|e| element::write(&mut again, *e, dtype));
        if again == bytes {
            let texts: Vec<String> = elements.iter().map(|e| write_scalar(*e, dtype)).collect();
            return format!("[{}]", texts.join(", "));
        }
    }
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("hex \"{hex}\"")
}

/// A string literal.
pub fn quote(s: &str) -> String {
    let mut out = String::from("\"");
    escape_into(&mut out, s, false);
    out.push('"');
    out
}

/// The inside of a literal; in messages (`braces`) also `{` and `}` are escaped.
pub fn escape_into(out: &mut String, s: &str, braces: bool) {
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '{' | '}' if braces => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
}

/// One character of a literal, its escape resolved; says whether it was escaped. `None` at the end or for a bad escape.
pub fn unescape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<(char, bool)> {
    let c = chars.next()?;
    if c != '\\' {
        return Some((c, false));
    }
    let c = match chars.next()? {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'u' => {
            if chars.next()? != '{' {
                return None;
            }
            let mut hex = String::new();
            loop {
                match chars.next()? {
                    '}' => break,
                    c => hex.push(c),
                }
            }
            char::from_u32(u32::from_str_radix(&hex, 16).ok()?)?
        }
        c @ ('"' | '\\' | '{' | '}') => c,
        _ => return None,
    };
    Some((c, true))
}
