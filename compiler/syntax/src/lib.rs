//! Text to syntax tree: grammar, parser, tokens. No name is resolved here and no type is known.

pub mod ast;
