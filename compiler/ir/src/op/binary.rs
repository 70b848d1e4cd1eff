//! Elementwise functions of two operands.

/// See the table for each op's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    /// Floats only.
    Div,
    /// Rounds towards minus infinity.
    FloorDiv,
    /// `a - b * floor(a / b)`: has the sign of `b`.
    Rem,
    Pow,
    Min,
    Max,
    Atan2,
    And,
    Or,
    Xor,
    Shl,
    Shr,
}

/// Comparisons; any with NaN is false, except `Ne`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CompareOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}
