//! Tensor IR → loop IR: which operations share a loop nest, where values live, what runs in parallel.
//!
//! Invariants: `loops` never sees source text or the typed AST; it consumes a verified module without derivative ops and
//! yields a [`Program`] that `llvm` lowers without looking back.

pub mod ir;
mod print;
mod visit;

pub use ir::Program;
pub use print::print;
