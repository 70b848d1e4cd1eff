//! The compiler as a whole: from a file name to text of any stage, a running program or a native binary.
//!
//! Besides `cli` and `lsp` this is the only crate of the compiler that reads files, the environment or the clock.

mod bench;
mod cache;
mod call;
mod editor;
mod emit;
mod failure;
mod gpu;
mod host;
mod interpret;
mod native;
mod profile;
mod repl;
mod session;
mod sources;
mod suggest;
mod testing;
mod timings;

pub use bench::{BenchOptions, Measure};
pub use cache::Cache;
pub use editor::{Analysis, Completion, CompletionKind, Editor, Hint, Hover, Signature, Symbol, SymbolKind};
pub use failure::Failure;
pub use native::{Second, catch_interrupts};
pub use repl::ReplSession;
pub use session::{Device, Options, Session, Stage};
pub use sources::{STDLIB, read_source};
pub use testing::{Summary, TestOptions};
pub use timings::Timings;
