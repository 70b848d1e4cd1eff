//! Typed AST to tensor IR: dtypes, type parameters and function values are substituted, sizes stay symbolic.
//!
//! A function becomes one IR function per choice of dtypes, ranks and type arguments. Its parameters are its sizes as
//! `i64` scalars (a `..s` is one per axis), then the leaves of its arguments; its results the leaves of its result, then
//! those of its `mut` parameters. An existential is its witnesses and then its body. A call with a function among its
//! arguments is elaborated in place; function values exist only here.
//!
//! Errors are the language's: what is not implemented yet (E0390). Anything else that goes wrong is a bug of the
//! compiler, an [`InternalError`]; no program makes it panic.

mod builtin;
mod call;
mod comprehension;
mod debug;
mod derive;
mod effects;
mod elab;
mod env;
mod expr;
mod flow;
mod infer;
mod instance;
mod io;
mod jacobian;
mod lift;
mod literal;
mod loops;
mod mentions;
mod random;
mod remap;
mod roots;
mod rty;
mod rule;
mod search;
mod subscript;
mod tensor;
mod text;
mod tree;
mod val;
mod vmap;
mod walk;

use tdl_source::{Diagnostic, InternalError, Span, code};
use tdl_types::SizeVar;
use tdl_types::thir::{FnDef, Ty};

pub use roots::{Elaborated, Entry, MainParam, Roots, elaborate, stands_alone};

/// Modules whose functions keep their names until fusion.
const STDLIB: &[&str] = &["prelude", "nn", "conv", "optim", "data", "train", "random", "linalg", "math"];

/// Why there is no IR.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The program uses what is not implemented.
    Program(Box<Diagnostic>),
    /// A bug of the compiler.
    Internal(InternalError),
}

type R<T> = Result<T, Failure>;

/// Positions of a function's parameters in the order of the IR function's, which follow its sizes: as they are declared,
/// but numbers first if the type of one before them is made of them (`x: f32[k], k: i64`).
pub fn parameter_order(def: &FnDef) -> Vec<usize> {
    let all = 0..def.params.len();
    let made_of_later = all.clone().any(|i| {
        let mut found = false;
        def.params[i].ty.visit_sizes(&mut |v| {
            found |= def.params[i + 1..].iter().any(|p| v == SizeVar::Local(p.local));
        });
        found
    });
    let first = |i: &usize| made_of_later && def.params[*i].ty == Ty::I64;
    all.clone().filter(first).chain(all.filter(|i| !first(i))).collect()
}

fn internal(message: impl Into<String>) -> Failure {
    Failure::Internal(InternalError { pass: "elaborate".into(), message: message.into(), ir: None })
}

fn unsupported(what: &str, span: Span) -> Failure {
    let message = format!("not implemented yet: {what}");
    Failure::Program(Box::new(Diagnostic::error(code::E0390, message, span, "here")))
}

/// The span of what no source stands behind.
fn nowhere() -> Span {
    Span::default()
}
