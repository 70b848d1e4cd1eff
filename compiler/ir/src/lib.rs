//! The tensor IR: SSA with structured control flow, value semantics, symbolic sizes as ordinary `i64` values.

pub mod attention;
mod builder;
pub mod element;
pub mod interp;
mod module;
pub mod op;
pub mod random;
#[cfg(any(test, feature = "testgen"))]
pub mod testgen;
mod text;
mod types;
mod verify;

pub use builder::Builder;
pub use module::{Attrs, Block, Function, Inst, Module, ValueData};
pub use op::{
    AssertKind, BinaryOp, CompareOp, Dist, HostFn, IoOp, Op, Piece, ReduceOp, Scalar, ScanOp, UnaryOp, Update, Window,
};
pub use text::{ParseError, parse, print, print_function, print_type, print_with_spans};
pub use types::{Dim, Dtype, DtypeClass, FuncId, Type, ValueId};
pub use verify::verify;
