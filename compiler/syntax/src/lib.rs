//! Text to syntax tree: grammar, parser, tokens. No name is resolved here and no type is known.

pub mod ast;
mod dump;
mod format;
mod lines;
mod parse;
pub mod tokens;

pub use dump::{dump_expr, dump_module, dump_type};
pub use format::format;
pub use lines::{lead, pieces};
pub use parse::{Parsed, ParsedEntry, Piece, in_parallel, parse, parse_entry, parse_piece};
