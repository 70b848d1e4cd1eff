//! The format of the MNIST data sets: two zero bytes, one for the dtype, one for the number of axes, big-endian extents and
//! elements. A file that gzip has compressed is read too.
//!
//! Source: <http://yann.lecun.com/exdb/mnist/>.

use std::io::Read;

use super::{Array, Bytes, Want, byte_count, check, open, swap_bytes};
use crate::abi::Dtype;
use crate::fmt::type_name;

const CODES: &[(u8, Dtype)] = &[
    (0x08, Dtype::U8),
    (0x09, Dtype::I8),
    (0x0B, Dtype::I16),
    (0x0C, Dtype::I32),
    (0x0D, Dtype::F32),
    (0x0E, Dtype::F64),
];

/// The array of an IDX file.
pub fn read_idx(path: &str, want: &Want) -> Result<Array, String> {
    let mut file = open(path)?;
    let damaged = |what: &str| format!("`{path}` is no IDX file, or a damaged one: {what}");
    if file.starts_with(&[0x1f, 0x8b]) {
        let mut out = Vec::new();
        flate2::read::MultiGzDecoder::new(&*file)
            .read_to_end(&mut out)
            .map_err(|e| damaged(&format!("it cannot be decompressed ({e})")))?;
        file = out.into();
    }
    let [0, 0, code, rank] =
        file.get(..4).ok_or_else(|| damaged(if file.is_empty() { "it is empty" } else { "it is cut off" }))?
    else {
        return Err(damaged("it does not begin with two zero bytes"));
    };
    let found = CODES.iter().find(|(c, _)| c == code);
    let dtype = found.ok_or_else(|| damaged(&format!("no dtype has the code {code:#04x}")))?.1;
    let start = 4 + 4 * usize::from(*rank);
    let dims = file.get(4..start).ok_or_else(|| damaged("its header is cut off"))?;
    let dim = |b: &[u8]| b.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
    let shape: Vec<usize> = dims.chunks_exact(4).map(dim).collect();
    check(path, "", dtype, &shape, want)?;
    let bytes = byte_count(dtype, &shape).ok_or_else(|| damaged("its shape"))?;
    let data = file.behind(start);
    if data.len() != bytes {
        return Err(damaged(&format!("{} needs {bytes} bytes, it has {}", type_name(dtype, &shape), data.len())));
    }
    let bytes: Bytes = if dtype.size() > 1 { swap_bytes(&data, dtype.size()).into() } else { data };
    Ok(Array { dtype, shape, bytes })
}

/// Writes a tensor as an IDX file.
pub fn write_idx(path: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Result<(), String> {
    let Some((code, _)) = CODES.iter().find(|(_, d)| *d == dtype) else {
        let names: Vec<&str> = CODES.iter().map(|(_, d)| d.name()).collect();
        return Err(format!("cannot write `{path}`: IDX files have no {}, only {}", dtype.name(), names.join(", ")));
    };
    let dim = |d: &usize| {
        u32::try_from(*d).map_err(|_| format!("cannot write `{path}`: an axis of {d} is too long for an IDX file"))
    };
    let rank =
        u8::try_from(shape.len()).map_err(|_| format!("cannot write `{path}`: too many axes for an IDX file"))?;
    let mut head = vec![0, 0, *code, rank];
    for d in shape {
        head.extend(dim(d)?.to_be_bytes());
    }
    let data = if dtype.size() > 1 { swap_bytes(bytes, dtype.size()) } else { Vec::new() };
    super::write(path, &[&head, if dtype.size() > 1 { &data } else { bytes }])
}
