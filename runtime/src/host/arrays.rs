//! Files of one array. A reader's last two arguments say what the program expects: an extent for each axis, negative where the file decides,
//! and a tensor of the dtype. It gives the extents, then the array.

use super::text::{numbers, one, text_of};
use super::{Out, Outs, Value, wrong};
use crate::files::{self, Array, Named, Want};

/// What the two arguments from `at` on expect.
fn want(args: &[Value<'_>], at: usize) -> Option<Want> {
    let (dims, _) = numbers(args.get(at))?;
    match args.get(at + 1)? {
        Value::Tensor { dtype, .. } => Some(Want::new(*dtype, &dims)),
        Value::Text(_) => None,
    }
}

fn outs(array: Array) -> Outs {
    let Array { dtype, shape, bytes } = array;
    let mut out: Vec<Out> = shape.iter().map(|d| Out::Int(*d as i64)).collect();
    out.push(Out::Tensor { dtype, shape, bytes });
    Ok(out)
}

/// A reader whose first argument is the path; `option` arguments follow it.
fn read(name: &str, args: &[Value<'_>], option: usize, f: impl FnOnce(&str, &Want) -> Result<Array, String>) -> Outs {
    let (Some(path), Some(want)) = (one(args.first()), want(args, 1 + option)) else { return Err(wrong(name)) };
    outs(f(&path, &want)?)
}

pub(super) fn read_csv(args: &[Value<'_>]) -> Outs {
    let header = numbers(args.get(1)).and_then(|(n, _)| n.first().copied()).ok_or_else(|| wrong("read_csv"))?;
    read("read_csv", args, 1, |path, want| files::read_csv(path, header, want))
}

pub(super) fn read_npy(args: &[Value<'_>]) -> Outs {
    read("read_npy", args, 0, files::read_npy)
}

pub(super) fn read_npz(args: &[Value<'_>]) -> Outs {
    let entry = one(args.get(1)).ok_or_else(|| wrong("read_npz"))?;
    read("read_npz", args, 1, |path, want| files::read_npz(path, &entry, want))
}

pub(super) fn read_idx(args: &[Value<'_>]) -> Outs {
    read("read_idx", args, 0, files::read_idx)
}

pub(super) fn read_image(args: &[Value<'_>]) -> Outs {
    read("read_image", args, 0, files::read_image)
}

pub(super) fn check_array(args: &[Value<'_>]) -> Outs {
    let (Some(path), Some(entry), Some((found, _)), Some(want)) =
        (one(args.first()), one(args.get(1)), numbers(args.get(2)), want(args, 3))
    else {
        return Err(wrong("check_array"));
    };
    let found: Vec<usize> = found.into_iter().map(|d| d as usize).collect();
    files::check(&path, &entry, want.dtype, &found, &want)?;
    Ok(Vec::new())
}

/// A writer of the tensor at `at`.
fn write(
    name: &str,
    args: &[Value<'_>],
    at: usize,
    f: impl FnOnce(&str, crate::abi::Dtype, &[usize], &[u8]) -> Result<(), String>,
) -> Outs {
    let (Some(path), Some(Value::Tensor { dtype, shape, bytes })) = (one(args.first()), args.get(at)) else {
        return Err(wrong(name));
    };
    f(&path, *dtype, shape, bytes)?;
    Ok(Vec::new())
}

pub(super) fn write_csv(args: &[Value<'_>]) -> Outs {
    let (names, _) = numbers(args.get(2)).ok_or_else(|| wrong("write_csv"))?;
    let names: Vec<_> = names.into_iter().map(text_of).collect();
    let names: Vec<&str> = names.iter().map(|n| &**n).collect();
    write("write_csv", args, 1, |path, dtype, shape, bytes| files::write_csv(path, &names, dtype, shape, bytes))
}

pub(super) fn write_npy(args: &[Value<'_>]) -> Outs {
    write("write_npy", args, 1, files::write_npy)
}

pub(super) fn write_idx(args: &[Value<'_>]) -> Outs {
    write("write_idx", args, 1, files::write_idx)
}

pub(super) fn write_image(args: &[Value<'_>]) -> Outs {
    write("write_image", args, 1, files::write_image)
}

pub(super) fn write_npz(args: &[Value<'_>]) -> Outs {
    let (Some(path), Some((names, _))) = (one(args.first()), numbers(args.get(1))) else {
        return Err(wrong("write_npz"));
    };
    let names: Vec<_> = names.into_iter().map(text_of).collect();
    let mut entries = Vec::with_capacity(names.len());
    for (name, value) in names.iter().zip(&args[2..]) {
        let Value::Tensor { dtype, shape, bytes } = value else { return Err(wrong("write_npz")) };
        entries.push(Named { name, dtype: *dtype, shape: shape.clone(), bytes });
    }
    files::write_npz(&path, &entries)?;
    Ok(Vec::new())
}
