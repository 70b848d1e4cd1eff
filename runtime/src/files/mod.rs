//! Files of numbers. Every error names the file and where in it. Writing is atomic: to a temporary file in the same folder,
//! then renamed. Large files are mapped, not read: only the pages that are used come into memory.

mod csv;
mod idx;
mod image;
mod npy;
mod npz;
mod tensors;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Write;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

pub use csv::{read_csv, write_csv};
pub use idx::{read_idx, write_idx};
pub use image::{read_image, write_image};
pub use npy::{read_npy, write_npy};
pub use npz::{read_npz, write_npz};
pub use tensors::{Named, entries, load, save, sizes};

use crate::abi::Dtype;
use crate::fmt::type_name;

/// A message for a failed system call.
pub(crate) fn cannot(verb: &str, path: &str, e: &std::io::Error) -> String {
    let why = match e.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => e.to_string(),
    };
    format!("cannot {verb} `{path}`: {why}")
}

// --- contents

/// A part of a file, or bytes that were made.
#[derive(Clone)]
pub struct Bytes {
    file: Arc<Contents>,
    range: Range<usize>,
}

enum Contents {
    Read(Vec<u8>),
    Mapped(memmap2::Mmap),
}

impl Bytes {
    /// A part; `range` lies inside.
    fn part(&self, range: Range<usize>) -> Bytes {
        Bytes { file: Arc::clone(&self.file), range: self.range.start + range.start..self.range.start + range.end }
    }

    fn behind(&self, start: usize) -> Bytes {
        self.part(start..self.len())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.file {
            Contents::Read(v) => &v[self.range.clone()],
            Contents::Mapped(m) => &m[self.range.clone()],
        }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(v: Vec<u8>) -> Bytes {
        let range = 0..v.len();
        Bytes { file: Arc::new(Contents::Read(v)), range }
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Bytes) -> bool {
        **self == **other
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

/// From here on a file is mapped.
const LARGE: u64 = 1 << 20;

/// What a file holds.
fn open(path: &str) -> Result<Bytes, String> {
    let failed = |e: std::io::Error| cannot("read", path, &e);
    let file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if meta.is_file() && meta.len() >= LARGE {
        // SAFETY: the map is only read. A file that another process makes shorter meanwhile ends this one, as in every
        // program that maps files; our own writes put a new file in the place of the old one.
        if let Ok(map) = unsafe { memmap2::Mmap::map(&file) } {
            let range = 0..map.len();
            return Ok(Bytes { file: Arc::new(Contents::Mapped(map)), range });
        }
    }
    std::fs::read(path).map(Bytes::from).map_err(failed)
}

/// A file's text, which must be UTF-8.
pub fn read_text(path: &str) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|e| cannot("read", path, &e))?;
    String::from_utf8(bytes)
        .map_err(|e| format!("`{path}` is not UTF-8 text (offset {})", e.utf8_error().valid_up_to()))
}

/// Replaces a file's text.
pub fn write_text(path: &str, text: &str) -> Result<(), String> {
    write(path, &[text.as_bytes()])
}

/// Replaces a file; what is no file (a pipe, a device) is written to.
fn write(path: &str, parts: &[&[u8]]) -> Result<(), String> {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| Path::new(path).to_owned());
    if std::fs::metadata(&real).is_ok_and(|m| !m.is_file()) {
        let put = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new().write(true).open(&real)?;
            parts.iter().try_for_each(|part| file.write_all(part))
        };
        return put().map_err(|e| cannot("write", path, &e));
    }
    replace(path, |file, _| {
        for part in parts {
            file.write_all(part).map_err(|e| cannot("write", path, &e))?;
        }
        Ok(())
    })
}

/// Replaces a file in one step by what `fill` writes; its errors are messages. A link stays a link, and the new file has the
/// permissions of the old one.
fn replace(path: &str, fill: impl FnOnce(&mut File, &Path) -> Result<(), String>) -> Result<(), String> {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| Path::new(path).to_owned());
    let target = real.as_path();
    let name = target.file_name().ok_or_else(|| format!("cannot write `{path}`: no file name"))?;
    let temporary = target.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let failed = |e: std::io::Error| cannot("write", path, &e);
    let attempt = || {
        let mut file = File::create(&temporary).map_err(failed)?;
        fill(&mut file, &temporary)?;
        if let Ok(old) = std::fs::metadata(target) {
            file.set_permissions(old.permissions()).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        std::fs::rename(&temporary, target).map_err(failed)
    };
    attempt().inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

// --- arrays

/// An array as a file has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Row-major little-endian elements.
    pub bytes: Bytes,
}

/// What a program expects of an array: the dtype, and for each axis its extent, or `None` where the file decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    pub dtype: Dtype,
    pub dims: Vec<Option<usize>>,
}

impl Want {
    /// From numbers, of which a negative one leaves it to the file.
    pub fn new(dtype: Dtype, dims: &[i64]) -> Want {
        Want { dtype, dims: dims.iter().map(|d| usize::try_from(*d).ok()).collect() }
    }

    fn accepts(&self, shape: &[usize]) -> bool {
        self.dims.len() == shape.len() && self.dims.iter().zip(shape).all(|(w, d)| w.is_none_or(|w| w == *d))
    }
}

impl std::fmt::Display for Want {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dims: Vec<String> = self.dims.iter().map(|d| d.map_or("_".into(), |d| d.to_string())).collect();
        let name = self.dtype.name();
        if dims.is_empty() { f.write_str(name) } else { write!(f, "{name}[{}]", dims.join(", ")) }
    }
}

/// What is where: `entry` is empty for a file of one array.
fn holds(path: &str, entry: &str) -> String {
    if entry.is_empty() { format!("`{path}` holds") } else { format!("`{entry}` in `{path}` is") }
}

/// Whether an array is what the program expects; if not, the message shows both.
pub fn check(path: &str, entry: &str, dtype: Dtype, shape: &[usize], want: &Want) -> Result<(), String> {
    if dtype == want.dtype && want.accepts(shape) {
        return Ok(());
    }
    let convert = if dtype != want.dtype && want.accepts(shape) {
        let (has, wanted) = (dtype.name(), want.dtype.name());
        format!("; read it as {has} and convert it: `{wanted}(x)`")
    } else {
        String::new()
    };
    Err(format!("{} {}, not {want}{convert}", holds(path, entry), type_name(dtype, shape)))
}

/// The number of bytes of an array, unless no machine has as many.
fn byte_count(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    let total = shape.iter().try_fold(dtype.size(), |n, d| n.checked_mul(*d))?;
    (total <= isize::MAX as usize).then_some(total)
}

/// Turns elements of other byte order around.
fn swap_bytes(bytes: &[u8], width: usize) -> Vec<u8> {
    bytes.chunks_exact(width).flat_map(|c| c.iter().rev().copied()).collect()
}
