//! What a file of named tensors holds.

use super::text::{i64s, list, numbers, one};
use super::{Outs, Value, wrong};
use crate::files;

pub(super) fn names(args: &[Value<'_>]) -> Outs {
    let path = one(args.first()).ok_or_else(|| wrong("entry_names"))?;
    let names = files::entries(&path)?;
    Ok(list(names.iter().map(String::as_str)))
}

pub(super) fn sizes(args: &[Value<'_>]) -> Outs {
    let (Some(path), Some(pattern), Some(Value::Tensor { bytes: renamed, .. }), Some((like, _))) =
        (one(args.first()), one(args.get(1)), args.get(2), numbers(args.get(3)))
    else {
        return Err(wrong("entry_sizes"));
    };
    let renamed = if renamed.is_empty() { None } else { Some(*renamed) };
    let found = files::sizes(&path, &pattern, renamed, like.len())?;
    let rank = found.len();
    Ok(vec![i64s(found.into_iter().map(|n| n as i64), vec![rank])])
}
