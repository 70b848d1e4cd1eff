//! Trees in files, clock and environment.

use std::sync::Arc;

/// Effects on the outside world. `path` operands are `str`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IoOp {
    /// `(path, leaf…)`: writes a file of named tensors atomically; `names` are the entries; a `*` in one is an index,
    /// the leaf has an axis for each, in front.
    Save { names: Vec<Arc<str>> },
    /// `(path) -> leaf…`: entries of a file of named tensors, each checked against the result's dtype and extents. With a second operand
    /// `i64[n]` the file's entries, in order, go by these names (numbers of texts). Entries that are not read are an error unless
    /// `extra`. A `*` in a name is an index: the leaf has an axis for each, in front.
    Load { names: Vec<Arc<str>>, extra: bool },
    /// `(path) -> bool`.
    Exists,
    /// `() -> f64`: seconds of a monotonic clock.
    Clock,
    /// `(i: i64, n: i64)`: progress of a long loop, shown on a terminal only.
    Progress,
}
