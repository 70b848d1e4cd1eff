//! What each reader takes and refuses.

use std::io::Write;

use super::*;
use crate::abi::Dtype;

fn scratch(name: &str) -> String {
    let dir = std::env::temp_dir().join(format!("tdl-files-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    dir.join(name).to_string_lossy().into_owned()
}

fn any(dtype: Dtype, rank: usize) -> Want {
    Want { dtype, dims: vec![None; rank] }
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn csv_and_its_errors() {
    let path = scratch("a.csv");
    let put = |text: &str| std::fs::write(&path, text).expect("written");
    put("1,2.5\n3,-4e1\n");
    let t = read_csv(&path, 0, &any(Dtype::F32, 2)).expect("reads");
    assert_eq!((&t.shape[..], &*t.bytes), (&[2, 2][..], &*f32s(&[1.0, 2.5, 3.0, -40.0])));
    put("a,b\n1,2\n");
    assert_eq!(read_csv(&path, 1, &any(Dtype::I64, 2)).expect("reads").shape[0], 1);
    let fails = |header, dtype| read_csv(&path, header, &any(dtype, 2)).err().unwrap_or_default();
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
    let t = read_csv(&path, 1, &any(Dtype::F32, 2)).expect("reads");
    assert_eq!(t.shape, [0, 3]);
    put("\u{feff}1, 2\r\n\r\n\"3\", 4\r\n");
    assert_eq!(*read_csv(&path, 0, &any(Dtype::F32, 2)).expect("reads").bytes, f32s(&[1.0, 2.0, 3.0, 4.0]));
    put("1,2\r\n\r\n3,x\r\n");
    assert!(fails(0, Dtype::F32).contains("line 3, column 2: `x`"), "{}", fails(0, Dtype::F32));
    put("1,2\r\n\r\n3\r\n");
    assert!(fails(0, Dtype::F32).contains("line 3 has 1 value, line 1 has 2"), "{}", fails(0, Dtype::F32));
    assert!(read_csv("/no/such.csv", 0, &any(Dtype::F32, 2)).err().is_some_and(|e| e.contains("no such file")));
    put("1,2\n3,4\n");
    let e = read_csv(&path, 0, &Want::new(Dtype::F32, &[3, -1])).expect_err("another shape");
    assert!(e.contains("holds f32[2, 2], not f32[3, _]"), "{e}");
    assert!(read_csv(&path, -1, &any(Dtype::F32, 2)).is_err());
}

#[test]
fn npy_round_trip() {
    let path = scratch("a.npy");
    let bytes = f32s(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    write_npy(&path, Dtype::F32, &[2, 3], &bytes).expect("writes");
    let back = read_npy(&path, &any(Dtype::F32, 2)).expect("reads");
    assert_eq!((&back.shape[..], &*back.bytes), (&[2, 3][..], &*bytes));
    let e = read_npy(&path, &any(Dtype::F64, 2)).expect_err("another dtype");
    assert!(e.contains("f32[2, 3]") && e.contains("f64[_, _]") && e.contains("read it as f32"), "{e}");
    assert!(read_npy(&path, &any(Dtype::F32, 1)).is_err());
    let e = read_npy(&path, &Want::new(Dtype::F32, &[-1, 4])).expect_err("another shape");
    assert!(e.contains("holds f32[2, 3], not f32[_, 4]"), "{e}");
    let whole = std::fs::read(&path).expect("bytes");
    for cut in [0, 5, 9, 60, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).expect("written");
        let e = read_npy(&path, &any(Dtype::F32, 2)).expect_err("cut");
        assert!(e.contains(&path), "cut at {cut}: {e}");
    }
}

#[test]
fn stacks_are_saved_entry_by_entry() {
    let path = scratch("stack.safetensors");
    let w = f32s(&[1.0, 2.0, 3.0, 4.0]);
    save(&path, &[Named { name: "blocks.*.w", dtype: Dtype::F32, shape: vec![2, 2], bytes: &w }]).expect("saves");
    let names: Vec<String> = entries(&path).expect("entries");
    assert_eq!(names, ["blocks.0.w", "blocks.1.w"]);
    assert_eq!(load(&path, &[("blocks.*.w", Dtype::F32, vec![2, 2])], None, false).expect("loads"), [Bytes::from(w)]);
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
    assert_eq!(load(&path, &want, None, false).expect("loads"), [Bytes::from(b), Bytes::from(w)]);
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

/// Some of the shorter beginnings of a file, the empty one among them: each is refused with the file's name. The last `spare` bytes hold
/// nothing that is read.
fn refuses_what_is_cut(path: &str, spare: usize, reads: impl Fn() -> Option<String>) {
    let whole = std::fs::read(path).expect("bytes");
    for cut in (0..whole.len())
        .step_by((whole.len() / 40).max(1))
        .chain([whole.len() - 1])
        .filter(|n| *n + spare < whole.len())
    {
        std::fs::write(path, &whole[..cut]).expect("written");
        let e = reads().unwrap_or_else(|| panic!("cut at {cut} of {}", whole.len()));
        assert!(e.contains(path), "cut at {cut}: {e}");
    }
    std::fs::write(path, whole).expect("written");
    assert_eq!(reads(), None);
}

#[test]
fn npy_of_other_orders() {
    let path = scratch("order.npy");
    let put = |descr: &str, fortran: &str, shape: &str, data: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let len = (header.len() as u16).to_le_bytes();
        std::fs::write(&path, [b"\x93NUMPY\x01\x00", &len[..], header.as_bytes(), data].concat()).expect("written");
    };
    let big: Vec<u8> = [1i32, -2].iter().flat_map(|x| x.to_be_bytes()).collect();
    put(">i4", "False", "(2,)", &big);
    let small: Vec<u8> = [1i32, -2].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(*read_npy(&path, &any(Dtype::I32, 1)).expect("reads").bytes, small);
    put("|u1", "True", "(2, 3)", &[1, 4, 2, 5, 3, 6]);
    assert_eq!(*read_npy(&path, &any(Dtype::U8, 2)).expect("reads").bytes, [1, 2, 3, 4, 5, 6]);
    put("<c8", "False", "(1,)", &[0; 8]);
    let e = read_npy(&path, &any(Dtype::F32, 1)).expect_err("complex");
    assert!(e.contains("'<c8'"), "{e}");
    for (descr, shape) in [("|u1", "(18446744073709551615, 2)"), ("<f8", "(4611686018427387904, 3)"), ("|u1", "(-1,)")]
    {
        put(descr, "False", shape, &[]);
        assert!(read_npy(&path, &any(Dtype::U8, 2)).is_err(), "{shape}");
    }
    put("|u1", "False", &format!("{}1{}", "(".repeat(30_000), ",)".repeat(30_000)), &[]);
    assert!(read_npy(&path, &any(Dtype::U8, 1)).is_err());
}

#[test]
fn large_files_are_mapped() {
    let path = scratch("large.npy");
    let bytes: Vec<u8> = (0..2_000_000u32).map(|i| i as u8).collect();
    write_npy(&path, Dtype::U8, &[2, 1_000_000], &bytes).expect("writes");
    let back = read_npy(&path, &any(Dtype::U8, 2)).expect("reads");
    assert!(matches!(&*back.bytes.file, Contents::Mapped(_)));
    // the file may be replaced while what was read of it lives
    write_npy(&path, Dtype::U8, &[1], &[7]).expect("writes");
    assert_eq!(*back.bytes, bytes);
    let path = scratch("large.safetensors");
    let entry = Named { name: "a", dtype: Dtype::U8, shape: vec![2_000_000], bytes: &bytes };
    save(&path, &[entry]).expect("saves");
    let back = load(&path, &[("a", Dtype::U8, vec![2_000_000])], None, false).expect("loads");
    assert!(matches!(&*back[0].file, Contents::Mapped(_)) && *back[0] == bytes);
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let path = scratch("kept.npz");
    let x = f32s(&[1.0]);
    save(&path, &[Named { name: "a", dtype: Dtype::F32, shape: vec![1], bytes: &x }]).expect("saves");
    let before = std::fs::read(&path).expect("bytes");
    // npy has no bf16
    let e = save(&path, &[Named { name: "a", dtype: Dtype::Bf16, shape: vec![2], bytes: &x }]).expect_err("no bf16");
    assert!(e.contains("bf16") && e.contains(&path), "{e}");
    assert_eq!(std::fs::read(&path).expect("bytes"), before);
    let folder = std::path::Path::new(&path).parent().expect("a folder");
    let left: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .filter_map(|e| e.ok().map(|e| e.file_name().to_string_lossy().into_owned()))
        .filter(|n| n.starts_with(".kept"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn npz_round_trip() {
    let path = scratch("a.npz");
    let (x, ids) = (f32s(&[1.0, 2.0, 3.0, 4.0]), [1i64, 2].map(i64::to_le_bytes).concat());
    let all = [
        Named { name: "x", dtype: Dtype::F32, shape: vec![2, 2], bytes: &x },
        Named { name: "blocks.*.ids", dtype: Dtype::I64, shape: vec![2, 1], bytes: &ids },
    ];
    write_npz(&path, &all).expect("writes");
    assert_eq!(entries(&path).expect("entries"), ["blocks.0.ids", "blocks.1.ids", "x"]);
    assert_eq!(*read_npz(&path, "x", &any(Dtype::F32, 2)).expect("reads").bytes, x);
    let want = [("x", Dtype::F32, vec![2, 2]), ("blocks.*.ids", Dtype::I64, vec![2, 1])];
    assert_eq!(load(&path, &want, None, false).expect("loads"), [Bytes::from(x), Bytes::from(ids)]);
    assert_eq!(sizes(&path, "x", None, 2).expect("sizes"), [2, 2]);
    let e = read_npz(&path, "y", &any(Dtype::F32, 2)).expect_err("missing");
    assert!(e.contains("no entry `y`") && e.contains("blocks.0.ids"), "{e}");
    let e = read_npz(&path, "x", &Want::new(Dtype::F32, &[3, -1])).expect_err("another shape");
    assert!(e.contains("`x` in") && e.contains("is f32[2, 2], not f32[3, _]"), "{e}");
    refuses_what_is_cut(&path, 0, || read_npz(&path, "x", &any(Dtype::F32, 2)).err());
    // a bit turned in the elements is found by the archive's sum
    let mut whole = std::fs::read(&path).expect("bytes");
    let at = whole.windows(4).position(|w| w == 4.0f32.to_le_bytes()).expect("the last element");
    whole[at] ^= 1;
    std::fs::write(&path, whole).expect("written");
    let e = read_npz(&path, "x", &any(Dtype::F32, 2)).expect_err("damaged");
    assert!(e.contains("`x` in") && e.contains("damaged"), "{e}");
}

#[test]
fn idx_round_trip() {
    let path = scratch("a-idx2");
    let bytes: Vec<u8> = [1i32, -2, 3, 4, 5, 6].iter().flat_map(|x| x.to_le_bytes()).collect();
    write_idx(&path, Dtype::I32, &[2, 3], &bytes).expect("writes");
    assert_eq!(std::fs::read(&path).expect("bytes")[..12], [0, 0, 0x0C, 2, 0, 0, 0, 2, 0, 0, 0, 3]);
    let back = read_idx(&path, &any(Dtype::I32, 2)).expect("reads");
    assert_eq!((&back.shape[..], &*back.bytes), (&[2, 3][..], &*bytes));
    let e = read_idx(&path, &any(Dtype::U8, 3)).expect_err("another shape");
    assert!(e.contains("holds i32[2, 3], not u8[_, _, _]"), "{e}");
    refuses_what_is_cut(&path, 0, || read_idx(&path, &any(Dtype::I32, 2)).err());
    let plain = std::fs::read(&path).expect("bytes");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(&plain).expect("compressed");
    std::fs::write(&path, gz.finish().expect("compressed")).expect("written");
    assert_eq!(*read_idx(&path, &any(Dtype::I32, 2)).expect("reads").bytes, bytes);
    refuses_what_is_cut(&path, 0, || read_idx(&path, &any(Dtype::I32, 2)).err());
    std::fs::write(&path, [0, 0, 0x77, 1, 0, 0, 0, 1, 5]).expect("written");
    assert!(read_idx(&path, &any(Dtype::U8, 1)).err().is_some_and(|e| e.contains("0x77")));
    assert!(write_idx(&path, Dtype::I64, &[1], &[0; 8]).err().is_some_and(|e| e.contains("no i64")));
}

#[test]
fn images_round_trip() {
    let rgb: Vec<u8> = vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30, 40, 50, 60, 70, 80, 90];
    for end in ["png", "bmp", "ppm"] {
        let path = scratch(&format!("a.{end}"));
        write_image(&path, Dtype::U8, &[2, 3, 3], &rgb).expect("writes");
        let back = read_image(&path, &any(Dtype::U8, 3)).expect("reads");
        assert_eq!((&back.shape[..], &*back.bytes), (&[2, 3, 3][..], &*rgb), "{end}");
        let gray = read_image(&path, &any(Dtype::U8, 2)).expect("reads");
        assert_eq!((&gray.shape[..], gray.bytes.len()), (&[2, 3][..], 6));
        let float = read_image(&path, &any(Dtype::F32, 3)).expect("reads");
        assert_eq!(float.bytes[..12], f32s(&[1.0, 0.0, 0.0]));
        let alpha = read_image(&path, &Want::new(Dtype::U8, &[-1, -1, 4])).expect("reads");
        assert_eq!((&alpha.shape[..], &alpha.bytes[..4]), (&[2, 3, 4][..], &[255, 0, 0, 255][..]));
        let e = read_image(&path, &Want::new(Dtype::U8, &[3, 3, 3])).expect_err("another shape");
        assert!(e.contains("holds u8[2, 3, 3], not u8[3, 3, 3]"), "{e}");
    }
    let path = scratch("gray.png");
    write_image(&path, Dtype::F32, &[1, 4], &f32s(&[-1.0, 0.5, 2.0, f32::NAN])).expect("writes");
    assert_eq!(*read_image(&path, &any(Dtype::U8, 2)).expect("reads").bytes, [0, 128, 255, 0]);
    refuses_what_is_cut(&path, 16, || read_image(&path, &any(Dtype::U8, 2)).err());
    assert!(write_image("x.gif", Dtype::U8, &[1, 1], &[0]).err().is_some_and(|e| e.contains(".png")));
    assert!(write_image(&path, Dtype::U8, &[0, 3], &[]).err().is_some_and(|e| e.contains("no pixels")));
    std::fs::write(&path, "no image").expect("written");
    assert!(read_image(&path, &any(Dtype::U8, 2)).err().is_some_and(|e| e.contains("none of PNG")));
}

#[test]
fn csv_round_trip() {
    let path = scratch("out.csv");
    let values = [0.1f32, -0.0, f32::INFINITY, 1e-45, 16_777_216.0, 3.4e38];
    write_csv(&path, &["a", "b, \"c\""], Dtype::F32, &[3, 2], &f32s(&values)).expect("writes");
    assert_eq!(*read_csv(&path, 1, &any(Dtype::F32, 2)).expect("reads").bytes, f32s(&values));
    assert!(std::fs::read_to_string(&path).expect("text").starts_with("a,\"b, \"\"c\"\"\"\n0.1,-0\ninf,"));
    write_csv(&path, &[], Dtype::I64, &[2], &[5i64, -6].map(i64::to_le_bytes).concat()).expect("writes");
    assert_eq!(std::fs::read_to_string(&path).expect("text"), "5\n-6\n");
    let e = write_csv(&path, &["a"], Dtype::U8, &[1, 2], &[0, 1]).expect_err("one name");
    assert!(e.contains("1 name for the columns of u8[1, 2]"), "{e}");
    assert!(write_csv(&path, &[], Dtype::U8, &[1, 1, 1], &[0]).is_err());
}
