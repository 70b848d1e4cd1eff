//! Elementwise comparisons.

use super::def::DtypeRule;

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

/// A row of the table of comparisons. The result is bool; the derivative is zero.
#[derive(Clone, Copy, Debug)]
pub struct CompareDef {
    pub name: &'static str,
    pub symbol: &'static str,
    pub doc: &'static str,
    pub dtype: DtypeRule,
    pub float: fn(f64, f64) -> bool,
    pub int: fn(i64, i64) -> bool,
    pub uint: fn(u64, u64) -> bool,
    pub bool: fn(bool, bool) -> bool,
    /// The comparison with the operands exchanged.
    pub swapped: CompareOp,
}

impl CompareOp {
    pub const ALL: &[CompareOp] =
        &[CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge];

    pub fn from_name(name: &str) -> Option<CompareOp> {
        CompareOp::ALL.iter().copied().find(|op| op.def().name == name)
    }

    pub fn from_symbol(symbol: &str) -> Option<CompareOp> {
        CompareOp::ALL.iter().copied().find(|op| op.def().symbol == symbol)
    }

    pub fn def(self) -> &'static CompareDef {
        match self {
            CompareOp::Eq => &CompareDef {
                name: "eq",
                symbol: "==",
                doc: "Equal; NaN equals nothing.",
                dtype: DtypeRule::Any,
                float: |a, b| a == b,
                int: |a, b| a == b,
                uint: |a, b| a == b,
                bool: |a, b| a == b,
                swapped: CompareOp::Eq,
            },
            CompareOp::Ne => &CompareDef {
                name: "ne",
                symbol: "!=",
                doc: "Not equal; NaN differs from everything.",
                dtype: DtypeRule::Any,
                float: |a, b| a != b,
                int: |a, b| a != b,
                uint: |a, b| a != b,
                bool: |a, b| a != b,
                swapped: CompareOp::Ne,
            },
            CompareOp::Lt => &CompareDef {
                name: "lt",
                symbol: "<",
                doc: "Less; false with NaN.",
                dtype: DtypeRule::Any,
                float: |a, b| a < b,
                int: |a, b| a < b,
                uint: |a, b| a < b,
                bool: |a, b| !a & b,
                swapped: CompareOp::Gt,
            },
            CompareOp::Le => &CompareDef {
                name: "le",
                symbol: "<=",
                doc: "Less or equal; false with NaN.",
                dtype: DtypeRule::Any,
                float: |a, b| a <= b,
                int: |a, b| a <= b,
                uint: |a, b| a <= b,
                bool: |a, b| !a | b,
                swapped: CompareOp::Ge,
            },
            CompareOp::Gt => &CompareDef {
                name: "gt",
                symbol: ">",
                doc: "Greater; false with NaN.",
                dtype: DtypeRule::Any,
                float: |a, b| a > b,
                int: |a, b| a > b,
                uint: |a, b| a > b,
                bool: |a, b| a & !b,
                swapped: CompareOp::Lt,
            },
            CompareOp::Ge => &CompareDef {
                name: "ge",
                symbol: ">=",
                doc: "Greater or equal; false with NaN.",
                dtype: DtypeRule::Any,
                float: |a, b| a >= b,
                int: |a, b| a >= b,
                uint: |a, b| a >= b,
                bool: |a, b| a | !b,
                swapped: CompareOp::Le,
            },
        }
    }
}
