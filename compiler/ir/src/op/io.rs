//! Files, clock and environment.

use std::sync::Arc;

/// Effects on the outside world. `path` operands are `str`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IoOp {
    /// `(path) -> (n: i64, m: i64, [n, m])` in the result's dtype; `header` lines are skipped.
    ReadCsv { header: usize },
    /// `(path) -> (size…: i64 per axis, tensor)`; a file of another dtype or rank is an error.
    ReadNpy,
    /// `(path) -> str`.
    ReadText,
    /// `(path, leaf…)`: writes a safetensors file atomically; `names` are the entries; a `*` in one is an index,
    /// the leaf has an axis for each, in front.
    Save { names: Vec<Arc<str>> },
    /// `(path) -> leaf…`: entries of a safetensors file, each checked against the result's dtype and extents. With a second operand
    /// `i64[n]` the file's entries, in order, go by these names (numbers of texts). Entries that are not read are an error unless
    /// `extra`. A `*` in a name is an index: the leaf has an axis for each, in front.
    Load { names: Vec<Arc<str>>, extra: bool },
    /// `(path, tensor)`: writes an npy file atomically.
    WriteNpy,
    /// `(path) -> bool`.
    Exists,
    /// `() -> f64`: seconds of a monotonic clock.
    Clock,
    /// `(i: i64, n: i64)`: progress of a long loop, shown on a terminal only.
    Progress,
}
