//! NumPy's npy files (format 1.0 to 3.0). Headers are read through the crate `npyz`; elements are taken as they are, turned around where
//! their byte order or the order of their axes is the other one.
//!
//! Source: NumPy's `numpy.lib.format`.

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use super::{Array, Bytes, Want, byte_count, check, holds, open, swap_bytes};
use crate::abi::Dtype;
use crate::fmt::type_name;

const MAGIC: &[u8] = b"\x93NUMPY";

/// NumPy's name of a dtype; bf16 has none.
fn descr(dtype: Dtype) -> Option<&'static str> {
    Some(match dtype {
        Dtype::F16 => "<f2",
        Dtype::F32 => "<f4",
        Dtype::F64 => "<f8",
        Dtype::I8 => "|i1",
        Dtype::I16 => "<i2",
        Dtype::I32 => "<i4",
        Dtype::I64 => "<i8",
        Dtype::U8 => "|u1",
        Dtype::U32 => "<u4",
        Dtype::U64 => "<u8",
        Dtype::Bool => "|b1",
        Dtype::Bf16 => return None,
    })
}

/// What the header says.
pub(super) struct Head {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    big_endian: bool,
    fortran: bool,
    /// Where the elements begin.
    start: usize,
    /// How many bytes they have.
    pub bytes: usize,
}

/// How deep brackets of a header may be; those of arrays of numbers have one level inside the braces.
const DEEPEST: usize = 16;

/// The header at the beginning of `file`, which is an npy file or an entry of an npz file.
pub(super) fn head(file: &[u8], path: &str, entry: &str) -> Result<Head, String> {
    let name = if entry.is_empty() { format!("`{path}`") } else { format!("`{entry}` in `{path}`") };
    let damaged = |what: &str| format!("{name} is no npy file, or a damaged one: {what}");
    let rest = file
        .strip_prefix(MAGIC)
        .ok_or_else(|| damaged(if file.is_empty() { "it is empty" } else { "it does not begin with \\x93NUMPY" }))?;
    let (version, rest) = rest.split_at_checked(2).ok_or_else(|| damaged("no version"))?;
    let width = if version[0] == 1 { 2 } else { 4 };
    let (len, rest) = rest.split_at_checked(width).ok_or_else(|| damaged("no header"))?;
    let len = len.iter().rev().fold(0usize, |n, b| n << 8 | usize::from(*b));
    let text = rest.get(..len).ok_or_else(|| damaged("the header is cut off"))?;
    let mut depth = 0;
    for b in text {
        match b {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = usize::saturating_sub(depth, 1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(damaged("the header cannot be read"));
        }
    }
    let start = MAGIC.len() + 2 + width + len;
    let header = NpyHeader::from_reader(&file[..start]).map_err(|_| damaged("the header cannot be read"))?;
    let found = header.dtype();
    let dtype = match &found {
        DType::Plain(t) => {
            let letter = match t.type_char() {
                TypeChar::Bool => 'b',
                TypeChar::Int => 'i',
                TypeChar::Uint => 'u',
                TypeChar::Float => 'f',
                _ => '?',
            };
            let name = format!("{letter}{}", t.size_field());
            Dtype::ALL.into_iter().find(|d| descr(*d).is_some_and(|s| s[1..] == name)).map(|d| (d, t.endianness()))
        }
        DType::Array(..) | DType::Record(_) => None,
    };
    let Some((dtype, order)) = dtype else {
        return Err(format!("{} elements of NumPy's dtype {}, which tdl has not", holds(path, entry), found.descr()));
    };
    let shape: Option<Vec<usize>> = header.shape().iter().map(|d| usize::try_from(*d).ok()).collect();
    let shape = shape.ok_or_else(|| damaged("its shape"))?;
    let bytes = byte_count(dtype, &shape).ok_or_else(|| damaged("its shape"))?;
    let (big_endian, fortran) = (order == Endianness::Big, header.order() == Order::Fortran);
    Ok(Head { dtype, shape, big_endian, fortran, start, bytes })
}

/// The array of an npy file's contents.
pub(super) fn array(file: &Bytes, path: &str, entry: &str) -> Result<Array, String> {
    let head = head(file, path, entry)?;
    elements(head, file, path, entry)
}

fn elements(head: Head, file: &Bytes, path: &str, entry: &str) -> Result<Array, String> {
    let Head { dtype, shape, big_endian, fortran, start, bytes } = head;
    let mut data = file.behind(start);
    if data.len() != bytes {
        let name = if entry.is_empty() { format!("`{path}`") } else { format!("`{entry}` in `{path}`") };
        let (of, has) = (type_name(dtype, &shape), data.len());
        return Err(format!("{name} is a damaged npy file: {of} needs {bytes} bytes, it has {has}"));
    }
    if big_endian && dtype.size() > 1 {
        data = swap_bytes(&data, dtype.size()).into();
    }
    if fortran && shape.len() > 1 && !data.is_empty() {
        data = row_major(&data, dtype.size(), &shape).into();
    }
    Ok(Array { dtype, shape, bytes: data })
}

/// Elements whose first axis varies fastest, with the last axis fastest.
fn row_major(bytes: &[u8], width: usize, shape: &[usize]) -> Vec<u8> {
    let mut strides = vec![width; shape.len()];
    for i in 1..shape.len() {
        strides[i] = strides[i - 1] * shape[i - 1];
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = vec![0; shape.len()];
    while out.len() < bytes.len() {
        let at: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        out.extend_from_slice(&bytes[at..at + width]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}

/// The array of an npy file.
pub fn read_npy(path: &str, want: &Want) -> Result<Array, String> {
    let file = open(path)?;
    let head = head(&file, path, "")?;
    check(path, "", head.dtype, &head.shape, want)?;
    elements(head, &file, path, "")
}

/// What stands before the elements, format 1.0.
pub(super) fn header(path: &str, dtype: Dtype, shape: &[usize]) -> Result<Vec<u8>, String> {
    let descr = descr(dtype).ok_or_else(|| {
        let name = dtype.name();
        format!("cannot write `{path}`: npy files have no {name}; write `f32(x)`, or `save` to a safetensors file")
    })?;
    let dims: String = shape.iter().map(|d| format!("{d},")).collect();
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    let total = MAGIC.len() + 4 + text.len() + 1;
    text.push_str(&" ".repeat(total.next_multiple_of(64) - total));
    text.push('\n');
    let mut out = MAGIC.to_vec();
    out.extend([1, 0]);
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
    Ok(out)
}

/// Writes a tensor.
pub fn write_npy(path: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Result<(), String> {
    super::write(path, &[&header(path, dtype, shape)?, bytes])
}
