//! Files, spans and diagnostics: what every room of the compiler uses to speak about source text.
//!
//! A span is a byte range in a file that the [`SourceMap`] holds. A [`Diagnostic`] is data; only [`render()`] knows
//! how it looks on a terminal, and it is the one user of ariadne.

pub mod code;
mod diagnostic;
mod map;
mod render;

pub use code::{CODES, Code, CodeDef};
pub use diagnostic::{Diagnostic, Edit, Help, InternalError, Label, Severity};
pub use map::{FileId, LineCol, SourceFile, SourceMap, Span};
pub use render::{Style, render, to_json, usage_json};
