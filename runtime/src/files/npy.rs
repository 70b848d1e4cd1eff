//! NumPy's npy files (format 1.0 to 3.0, C order), read and written whole.
//!
//! Source: NumPy's `numpy.lib.format`. The header is a Python dict literal with three known keys.

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

/// A tensor of the given dtype and rank: extents and elements.
pub fn read_npy(path: &str, dtype: Dtype, rank: usize) -> Result<(Vec<usize>, Vec<u8>), String> {
    let file = super::read(path)?;
    let damaged = |what: &str| format!("`{path}` is no npy file, or a damaged one: {what}");
    let rest = file.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not begin with \\x93NUMPY"))?;
    let (version, rest) = rest.split_at_checked(2).ok_or_else(|| damaged("no version"))?;
    let width = if version[0] == 1 { 2 } else { 4 };
    let (len, rest) = rest.split_at_checked(width).ok_or_else(|| damaged("no header"))?;
    let len = len.iter().rev().fold(0usize, |n, b| n << 8 | usize::from(*b));
    let (header, data) = rest.split_at_checked(len).ok_or_else(|| damaged("the header is cut off"))?;
    let header = std::str::from_utf8(header).map_err(|_| damaged("the header is no text"))?;
    let (found, shape) = parse(header).ok_or_else(|| damaged("the header cannot be read"))?;
    if header.contains("'fortran_order': True") && shape.len() > 1 {
        return Err(format!("`{path}` is in Fortran order; save it with numpy.ascontiguousarray"));
    }
    let known = Dtype::ALL.into_iter().find(|d| descr(*d).is_some_and(|s| s[1..] == found[1..]));
    match known {
        Some(d) if d == dtype && shape.len() == rank && !found.starts_with('>') => {}
        Some(d) if !found.starts_with('>') => {
            let dims = vec!["_"; rank].join(", ");
            return Err(format!("`{path}` holds {}, not {}[{dims}]", type_name(d, &shape), dtype.name()));
        }
        Some(_) | None => {
            return Err(format!("`{path}` holds elements of NumPy's dtype `{found}`, not {}", dtype.name()));
        }
    }
    let bytes = shape.iter().try_fold(dtype.size(), |n, d| n.checked_mul(*d)).ok_or_else(|| damaged("its shape"))?;
    if data.len() != bytes {
        return Err(damaged(&format!("{} needs {bytes} bytes, it has {}", type_name(dtype, &shape), data.len())));
    }
    Ok((shape, data.to_vec()))
}

/// The dtype's name and the shape.
fn parse(header: &str) -> Option<(String, Vec<usize>)> {
    let after = |key: &str| header.split_once(key).map(|(_, rest)| rest.trim_start_matches([':', ' ']));
    let descr = after("'descr'")?.strip_prefix('\'')?.split_once('\'')?.0.to_owned();
    let inside = after("'shape'")?.strip_prefix('(')?.split_once(')')?.0;
    let shape =
        inside.split(',').map(str::trim).filter(|s| !s.is_empty()).map(|s| s.parse().ok()).collect::<Option<_>>()?;
    (descr.len() >= 2).then_some((descr, shape))
}

/// Writes a tensor, format 1.0.
pub fn write_npy(path: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Result<(), String> {
    let descr = descr(dtype).ok_or_else(|| format!("npy files have no {}", dtype.name()))?;
    let dims: String = shape.iter().map(|d| format!("{d},")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    let total = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(total.next_multiple_of(64) - total));
    header.push('\n');
    let len = (header.len() as u16).to_le_bytes();
    super::write(path, &[MAGIC, &[1, 0], &len, header.as_bytes(), bytes])
}
