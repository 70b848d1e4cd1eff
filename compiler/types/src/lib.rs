//! Names, types, symbolic sizes: from the syntax tree to the typed AST of [`thir`], or to errors.
//!
//! [`check`] is the whole interface. No IO happens here: the modules of a program come parsed.

mod ids;
pub mod size;
pub mod thir;
pub mod ty;

pub use size::{SizeExpr, SizeVar};
pub use ty::{Dim, Elem, GenericArg, Ty};
