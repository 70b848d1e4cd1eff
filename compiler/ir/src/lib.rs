//! The tensor IR: SSA with structured control flow, value semantics, symbolic sizes as ordinary `i64` values.

mod builder;
mod module;
pub mod op;
mod types;

pub use builder::Builder;
pub use module::{Attrs, Block, Function, Inst, Module, ValueData};
pub use op::{AssertKind, BinaryOp, CompareOp, Dist, IoOp, Op, Piece, ReduceOp, Scalar, ScanOp, UnaryOp, Update};
pub use types::{Dim, Dtype, DtypeClass, FuncId, Type, ValueId};
