//! What a compiled tdl program needs at run time: memory, threads, products, random numbers, printing, files, and the start
//! of a program. An rlib for the compiler, a staticlib inside the binaries that `tdl build` makes.
//!
//! Generated code sees [`abi`] alone.

pub mod abi;
mod context;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod device;
mod draw;
pub mod files;
pub mod fmt;
pub mod host;
mod memory;
mod output;
mod pool;
mod product;
pub mod profile;
mod progress;
/// The numbers themselves: one source file with the reference interpreter's, so that both draw the same bits.
#[path = "../../compiler/ir/src/random.rs"]
#[allow(dead_code)]
pub mod random;
pub mod repeat;
mod report;
#[cfg(feature = "sim")]
pub mod sim;
mod simd;
pub mod sort;
mod special;
pub mod start;
mod windows;

pub use context::{Ctx, Failure, FailureKind, Output};
pub use memory::Counters;
pub use output::{complain, put};
