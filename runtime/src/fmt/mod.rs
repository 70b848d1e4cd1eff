//! Values as text, in the manner of NumPy: what `print`, interpolation and the REPL show.

mod number;
mod spec;
mod tensor;

use crate::abi::Dtype;
pub use number::{scalar, to_bf16, to_f16};
pub use spec::{Spec, parse as parse_spec};

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Text(&'a str),
    /// The next value, in this format.
    Value(&'a str),
}

/// Reads pieces as generated code stores them: kind (0 text, 1 value), length as 4 little-endian bytes, the bytes.
pub fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_at_checked(5)?;
        let len = u32::from_le_bytes(head[1..5].try_into().ok()?) as usize;
        let (text, rest) = rest.split_at_checked(len)?;
        bytes = rest;
        let text = std::str::from_utf8(text).unwrap_or("?");
        Some(if head[0] == 0 { Piece::Text(text) } else { Piece::Value(text) })
    })
}

/// The form that [`pieces`] reads.
pub fn encode_pieces<'a>(all: impl IntoIterator<Item = Piece<'a>>) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in all {
        let (kind, text) = match piece {
            Piece::Text(t) => (0, t),
            Piece::Value(t) => (1, t),
        };
        out.push(kind);
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    }
    out
}

/// A tensor of `shape` with row-major little-endian elements; rank 0 is a bare number. An empty `spec` is the default form,
/// which ends in the type: `[1. 2.] : f32[2]`.
pub fn tensor(dtype: Dtype, shape: &[usize], bytes: &[u8], spec: &str) -> String {
    let parsed = spec::parse(spec).unwrap_or_default();
    if shape.is_empty() {
        return parsed.pad(&number::scalar(dtype, bytes, &parsed));
    }
    let body = tensor::body(dtype, shape, bytes, &parsed);
    if spec.is_empty() { format!("{body} : {}", type_name(dtype, shape)) } else { body }
}

/// Elements that are texts already, in the layout of a tensor.
pub fn layout(shape: &[usize], elements: &[String]) -> String {
    tensor::layout(shape, elements)
}

/// `f32[2, 3]`.
pub fn type_name(dtype: Dtype, shape: &[usize]) -> String {
    if shape.is_empty() {
        return dtype.name().into();
    }
    format!("{}[{}]", dtype.name(), shape.iter().map(|d| d.to_string()).collect::<Vec<_>>().join(", "))
}

/// Text in a format (width and alignment).
pub fn text(value: &str, spec: &str) -> String {
    spec::parse(spec).unwrap_or_default().pad(value)
}

/// A number of bytes for people.
pub fn bytes(n: i64) -> String {
    match n {
        n if n < 0 => "a negative number of bytes".into(),
        i64::MAX => "2^63 bytes or more".into(),
        n if n < 10 << 10 => format!("{n} bytes"),
        n if n < 10 << 20 => format!("{} KiB", n >> 10),
        n if n < 10 << 30 => format!("{} MiB", n >> 20),
        n => format!("{} GiB", n >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32s(shape: &[usize], values: &[f32]) -> String {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        tensor(Dtype::F32, shape, &bytes, "")
    }

    #[test]
    fn like_numpy() {
        // expected values: numpy 2.4 `print(np.array(..., dtype=np.float32))`
        assert_eq!(f32s(&[2, 2], &[2.0; 4]), "[[2. 2.]\n [2. 2.]] : f32[2, 2]");
        assert_eq!(f32s(&[3], &[1.0, 0.5, -12.25]), "[  1.     0.5  -12.25] : f32[3]");
        assert_eq!(f32s(&[2], &[0.1, 1e-5]), "[1.e-01 1.e-05] : f32[2]");
        assert_eq!(f32s(&[3], &[f32::NAN, f32::INFINITY, 1.0]), "[nan inf  1.] : f32[3]");
        assert_eq!(f32s(&[0], &[]), "[] : f32[0]");
        assert_eq!(f32s(&[2, 0], &[]), "[] : f32[2, 0]");
        assert_eq!(f32s(&[2], &[1e10, 1.0]), "[1.e+10 1.e+00] : f32[2]");
        assert_eq!(f32s(&[2], &[1.0 / 3.0, 2.0 / 3.0]), "[0.33333334 0.6666667 ] : f32[2]");
    }

    #[test]
    fn integers_and_bools() {
        let bytes: Vec<u8> = [1i64, -20, 300].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(tensor(Dtype::I64, &[3], &bytes, ""), "[  1 -20 300] : i64[3]");
        assert_eq!(tensor(Dtype::Bool, &[2], &[1, 0], ""), "[ true false] : bool[2]");
    }

    #[test]
    fn long_tensors_are_summarized_and_wrapped() {
        let all: Vec<f32> = (0..2000).map(|i| i as f32).collect();
        assert_eq!(
            f32s(&[2000], &all),
            "[0.000e+00 1.000e+00 2.000e+00 ... 1.997e+03 1.998e+03 1.999e+03] : f32[2000]"
        );
        let text = f32s(&[40], &all[..40]);
        assert!(text.lines().all(|l| l.len() <= 90), "{text}");
        assert!(text.lines().nth(1).is_some_and(|l| l.starts_with(" ")), "{text}");
    }

    #[test]
    fn scalars_and_formats() {
        let f = |x: f32, spec: &str| tensor(Dtype::F32, &[], &x.to_le_bytes(), spec);
        assert_eq!(f(0.1, ""), "0.1");
        assert_eq!(f(3.0, ""), "3.0");
        assert_eq!(f(1e10, ""), "10000000000.0");
        assert_eq!(f(1e-7, ""), "1e-07");
        assert_eq!(f(1e20, ""), "1e+20");
        assert_eq!(f(-f32::INFINITY, ""), "-inf");
        assert_eq!(f(2.0 / 3.0, ".3"), "0.667");
        assert_eq!(f(2.0 / 3.0, "8.3f"), "   0.667");
        assert_eq!(f(2.0 / 3.0, "<8.2"), "0.67    ");
        assert_eq!(f(12345.678, ".2e"), "1.23e+04");
        assert_eq!(f(0.256, ".1%"), "25.6%");
        assert_eq!(f(1234567.0, ",.1"), "1,234,567.0");
        assert_eq!(f(1.5, "+.1"), "+1.5");
        assert_eq!(tensor(Dtype::I64, &[], &42i64.to_le_bytes(), "6"), "    42");
        assert_eq!(text("ab", ">5"), "   ab");
    }

    #[test]
    fn pieces_survive() {
        let all = [Piece::Text("a "), Piece::Value(".3"), Piece::Text(" b")];
        let bytes = encode_pieces(all);
        assert_eq!(pieces(&bytes).collect::<Vec<_>>(), all);
    }
}
