//! Special functions that generated code calls; one source file with the reference interpreter's.
#[path = "../../compiler/ir/src/op/special.rs"]
#[allow(dead_code)]
mod functions;

pub use functions::{digamma, lgamma, polygamma};
