//! Associative combinations along axes.

/// Reductions. NaN propagates through `Max`, `Min`, `Sum`, `Prod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReduceOp {
    Sum,
    Prod,
    Max,
    Min,
    /// Bool only.
    Any,
    /// Bool only.
    All,
}

/// Prefix combinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScanOp {
    Sum,
    Prod,
    Max,
    Min,
}
