//! The text form of the IR: what `tdl emit --stage ir` shows, and what parses back to the same module.
//!
//! ```text
//! func @mean(%n: i64, %x: f32[%n, 64]) composite: "prelude.mean" {
//!   %s: f32[64] = sum %x, axes: [0]
//!   %0: f32 = convert %n
//!   %1: f32[64] = expand %0, axes: [0]
//!   %2: f32[64] = div %s, %1
//!   return %2
//! }
//! ```
//!
//! A named value is printed by its name, and by `%name#2` where the function has several of that name; others are numbered.
//! Loops: `for %i < %n, %acc: f32 = %init {` … `yield %next` `}` and `while %x: f32 = %init {` … `yield %go` `} do %x#2: f32 {`.
//! In messages `{spec}` stands for a value; `\{` is a brace. `//` begins a comment.

mod items;
mod lex;
mod number;
mod parse;
mod parse_op;
mod print;
mod print_op;

pub use parse::{ParseError, parse};
pub use print::{print, print_function, print_type, print_with_spans};

#[cfg(test)]
mod tests;
