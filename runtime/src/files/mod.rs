//! Files of numbers. Every error names the file and where in it. Writing is atomic: to a temporary file in the same folder,
//! then renamed.

mod csv;
mod npy;
mod tensors;

use std::io::Write;
use std::path::Path;

pub use csv::{Table, read_csv};
pub use npy::{read_npy, write_npy};
pub use tensors::{Named, entries, load, save, sizes};

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

fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| cannot("read", path, &e))
}

/// A file's text, which must be UTF-8.
pub fn read_text(path: &str) -> Result<String, String> {
    String::from_utf8(read(path)?)
        .map_err(|e| format!("`{path}` is not UTF-8 text (offset {})", e.utf8_error().valid_up_to()))
}

/// Replaces a file's text.
pub fn write_text(path: &str, text: &str) -> Result<(), String> {
    write(path, &[text.as_bytes()])
}

/// Replaces a file in one step; a link stays a link, and what is no file (a pipe, a device) is written to.
fn write(path: &str, parts: &[&[u8]]) -> Result<(), String> {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| Path::new(path).to_owned());
    let target = real.as_path();
    let old = std::fs::metadata(target).ok();
    if old.as_ref().is_some_and(|m| !m.is_file()) {
        let put = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new().write(true).open(target)?;
            parts.iter().try_for_each(|part| file.write_all(part))
        };
        return put().map_err(|e| cannot("write", path, &e));
    }
    let name = target.file_name().ok_or_else(|| format!("cannot write `{path}`: no file name"))?;
    let temporary = target.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let attempt = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&temporary)?;
        for part in parts {
            file.write_all(part)?;
        }
        if let Some(old) = &old {
            file.set_permissions(old.permissions())?;
        }
        file.sync_all()?;
        std::fs::rename(&temporary, target)
    };
    attempt().map_err(|e| {
        let _ = std::fs::remove_file(&temporary);
        cannot("write", path, &e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::Dtype;

    fn scratch(name: &str) -> String {
        let dir = std::env::temp_dir().join(format!("tdl-files-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        dir.join(name).to_string_lossy().into_owned()
    }

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn csv_and_its_errors() {
        let path = scratch("a.csv");
        let put = |text: &str| std::fs::write(&path, text).expect("written");
        put("1,2.5\n3,-4e1\n");
        let t = read_csv(&path, 0, Dtype::F32).expect("reads");
        assert_eq!((t.rows, t.cols, t.bytes), (2, 2, f32s(&[1.0, 2.5, 3.0, -40.0])));
        put("a,b\n1,2\n");
        assert_eq!(read_csv(&path, 1, Dtype::I64).expect("reads").rows, 1);
        let fails = |header, dtype| read_csv(&path, header, dtype).err().unwrap_or_default();
        assert!(fails(0, Dtype::F32).contains("line 1, column 1: `a` is no number"), "{}", fails(0, Dtype::F32));
        put("1,2\n3\n");
        assert!(fails(0, Dtype::F32).contains("line 2 has 1 value, line 1 has 2"), "{}", fails(0, Dtype::F32));
        put("1,2.5\n");
        assert!(fails(0, Dtype::I64).contains("`2.5` is no i64"), "{}", fails(0, Dtype::I64));
        put("1,2\n3,");
        assert!(fails(0, Dtype::F32).contains("line 2, column 2: no value"), "{}", fails(0, Dtype::F32));
        put("");
        assert!(fails(0, Dtype::F32).contains("it is empty"), "{}", fails(0, Dtype::F32));
        assert!(fails(1, Dtype::F32).contains("it is empty"), "{}", fails(1, Dtype::F32));
        put("a,b,c\n");
        let t = read_csv(&path, 1, Dtype::F32).expect("reads");
        assert_eq!((t.rows, t.cols), (0, 3));
        put("\u{feff}1, 2\r\n\r\n\"3\", 4\r\n");
        assert_eq!(read_csv(&path, 0, Dtype::F32).expect("reads").bytes, f32s(&[1.0, 2.0, 3.0, 4.0]));
        put("1,2\r\n\r\n3,x\r\n");
        assert!(fails(0, Dtype::F32).contains("line 3, column 2: `x`"), "{}", fails(0, Dtype::F32));
        put("1,2\r\n\r\n3\r\n");
        assert!(fails(0, Dtype::F32).contains("line 3 has 1 value, line 1 has 2"), "{}", fails(0, Dtype::F32));
        assert!(read_csv("/no/such.csv", 0, Dtype::F32).err().is_some_and(|e| e.contains("no such file")));
    }

    #[test]
    fn npy_round_trip() {
        let path = scratch("a.npy");
        let bytes = f32s(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        write_npy(&path, Dtype::F32, &[2, 3], &bytes).expect("writes");
        assert_eq!(read_npy(&path, Dtype::F32, 2).expect("reads"), (vec![2, 3], bytes));
        let e = read_npy(&path, Dtype::F64, 2).expect_err("another dtype");
        assert!(e.contains("f32[2, 3]") && e.contains("f64"), "{e}");
        assert!(read_npy(&path, Dtype::F32, 1).is_err());
        let whole = std::fs::read(&path).expect("bytes");
        for cut in [0, 5, 9, 60, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).expect("written");
            assert!(read_npy(&path, Dtype::F32, 2).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn stacks_are_saved_entry_by_entry() {
        let path = scratch("stack.safetensors");
        let w = f32s(&[1.0, 2.0, 3.0, 4.0]);
        save(&path, &[Named { name: "blocks.*.w", dtype: Dtype::F32, shape: vec![2, 2], bytes: &w }]).expect("saves");
        let names: Vec<String> = entries(&path).expect("entries").into_iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["blocks.0.w", "blocks.1.w"]);
        assert_eq!(load(&path, &[("blocks.*.w", Dtype::F32, vec![2, 2])], None, false).expect("loads"), vec![w]);
        assert_eq!(sizes(&path, "blocks.*.w", None, 2).expect("sizes"), [2, 2]);
        let e = load(&path, &[("blocks.*.w", Dtype::F32, vec![3, 2])], None, false).expect_err("one too few");
        assert!(e.contains("no entry `blocks.2.w`"), "{e}");
        let e = load(&path, &[("blocks.*.w", Dtype::F32, vec![1, 2])], None, false).expect_err("one too many");
        assert!(e.contains("`blocks.1.w`"), "{e}");
    }

    #[test]
    fn named_tensors_round_trip() {
        let path = scratch("a.safetensors");
        let (w, b) = (f32s(&[1.0, 2.0]), 7i64.to_le_bytes().to_vec());
        let all = [
            Named { name: "l1.weight", dtype: Dtype::F32, shape: vec![2, 1], bytes: &w },
            Named { name: "t", dtype: Dtype::I64, shape: vec![], bytes: &b },
        ];
        save(&path, &all).expect("saves");
        let want = [("t", Dtype::I64, vec![]), ("l1.weight", Dtype::F32, vec![2, 1])];
        assert_eq!(load(&path, &want, None, false).expect("loads"), vec![b, w]);
        let e = load(&path, &[("l1.weight", Dtype::F32, vec![3])], None, true).expect_err("another shape");
        assert!(e.contains("`l1.weight`") && e.contains("f32[2, 1]") && e.contains("f32[3]"), "{e}");
        let e = load(&path, &[("l1.wieght", Dtype::F32, vec![3])], None, true).expect_err("missing");
        assert!(e.contains("no entry `l1.wieght`") && e.contains("l1.weight"), "{e}");
        let e = load(&path, &want[..1], None, false).expect_err("more than is read");
        assert!(e.contains("`l1.weight`") && e.contains("extra: true"), "{e}");
        let whole = std::fs::read(&path).expect("bytes");
        for cut in [0, 7, 20, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).expect("written");
            let e = load(&path, &want, None, false).expect_err("damaged");
            assert!(e.contains(&path), "{e}");
        }
    }
}
