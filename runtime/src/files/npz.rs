//! NumPy's npz files: zip archives of npy files, through the crate `zip`.

use std::io::{BufWriter, Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::tensors::{Named, missing, spread};
use super::{Array, Bytes, Want, check, npy, open, replace};

/// The first bytes of every zip archive, and those of an empty one.
pub(super) fn is_npz(file: &[u8]) -> bool {
    file.starts_with(b"PK\x03\x04") || file.starts_with(b"PK\x05\x06")
}

/// An open archive.
pub(super) struct Archive<'f> {
    path: &'f str,
    zip: ZipArchive<Cursor<&'f [u8]>>,
}

impl<'f> Archive<'f> {
    pub fn new(path: &'f str, file: &'f [u8]) -> Result<Archive<'f>, String> {
        let zip = ZipArchive::new(Cursor::new(file))
            .map_err(|e| format!("`{path}` is no npz file, or a damaged one: {e}"))?;
        Ok(Archive { path, zip })
    }

    pub fn path(&self) -> &'f str {
        self.path
    }

    /// The entries, in the order of their names.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.zip.file_names().filter_map(|n| n.strip_suffix(".npy")).map(str::to_owned).collect();
        names.sort();
        names
    }

    /// At most `limit` bytes of an entry.
    fn bytes(&mut self, entry: &str, limit: u64) -> Result<Vec<u8>, String> {
        let path = self.path;
        let damaged = |e: &dyn std::fmt::Display| format!("`{entry}` in `{path}` is damaged: {e}");
        let file = self.zip.by_name(&format!("{entry}.npy")).map_err(|e| damaged(&e))?;
        let mut out = Vec::new();
        file.take(limit).read_to_end(&mut out).map_err(|e| damaged(&e))?;
        Ok(out)
    }

    /// Dtype and shape of an entry.
    pub fn head(&mut self, entry: &str) -> Result<npy::Head, String> {
        // longer than any header of format 1.0; what a longer one says is not known before all of it is read
        let start = self.bytes(entry, 1 << 17)?;
        npy::head(&start, self.path, entry)
    }

    pub fn array(&mut self, entry: &str) -> Result<Array, String> {
        let head = self.head(entry)?;
        // one byte more than there should be tells a longer entry from a whole one
        let limit = (head.bytes as u64).saturating_add((1 << 17) + 1);
        let bytes: Bytes = self.bytes(entry, limit)?.into();
        npy::array(&bytes, self.path, entry)
    }
}

/// One array of an npz file.
pub fn read_npz(path: &str, entry: &str, want: &Want) -> Result<Array, String> {
    let file = open(path)?;
    let mut archive = Archive::new(path, &file)?;
    let names = archive.names();
    if !names.iter().any(|n| n == entry) {
        return Err(missing(path, entry, &names));
    }
    let head = archive.head(entry)?;
    check(path, entry, head.dtype, &head.shape, want)?;
    archive.array(entry)
}

/// Writes named arrays, atomically and without compression, as `numpy.savez` does.
pub fn write_npz(path: &str, entries: &[Named<'_>]) -> Result<(), String> {
    let cannot = |e: &dyn std::fmt::Display| format!("cannot write `{path}`: {e}");
    replace(path, |file, _| {
        let mut zip = ZipWriter::new(BufWriter::new(file));
        for e in entries {
            for part in spread(e) {
                let header = npy::header(path, e.dtype, part.shape)?;
                let total = (header.len() + part.bytes.len()) as u64;
                let options = SimpleFileOptions::default()
                    .compression_method(CompressionMethod::Stored)
                    .large_file(total >= u64::from(u32::MAX));
                zip.start_file(format!("{}.npy", part.name), options).map_err(|e| cannot(&e))?;
                zip.write_all(&header).and_then(|()| zip.write_all(part.bytes)).map_err(|e| cannot(&e))?;
            }
        }
        let mut file = zip.finish().map_err(|e| cannot(&e))?;
        file.flush().map_err(|e| cannot(&e))
    })
}
