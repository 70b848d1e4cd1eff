//! The reference interpreter: what every op means, straightforwardly.
//!
//! Floats of every width compute in `f64` and are rounded once per op; integers are exact. Values are reference-counted and
//! an update of a value that nobody reads again happens in place. It does no input or output: a [`Host`] does.
//! `vjp` and `jvp` are gone before a program runs; meeting one is an internal error.

mod attention;
mod contract;
mod elementwise;
mod host;
mod index;
mod movement;
mod plan;
mod reduce;
mod run;
mod tensor;
mod window;

use std::fmt;

use tdl_source::Span;

pub use host::{Host, Part, PlainHost};
pub use tensor::{Tensor, Value};

use crate::{AssertKind, FuncId, Module};
use plan::Plan;

/// A module that is ready to run.
pub struct Interp<'m> {
    module: &'m Module,
    plans: Vec<Plan>,
}

/// Why a program stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct RunError {
    pub kind: RunErrorKind,
    pub message: String,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunErrorKind {
    /// A failed check of the program.
    Assert(AssertKind),
    /// A file, or standard output.
    Io,
    Memory,
    Interrupted,
    /// A bug in the compiler: the module is not what the verifier and the checks promise.
    Internal,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RunError {}

impl<'m> Interp<'m> {
    pub fn new(module: &'m Module) -> Interp<'m> {
        Interp { module, plans: module.funcs.iter().map(Plan::new).collect() }
    }

    /// Runs a function. `args` are its parameters in order, size parameters included.
    pub fn run(&self, func: FuncId, args: Vec<Value>, host: &mut dyn Host) -> Result<Vec<Value>, RunError> {
        run::call(self, func, args, host)
    }
}

/// What an op's evaluation answers; the span is added where the instruction is known.
type Eval<T> = Result<T, (RunErrorKind, String)>;

fn internal<T>(message: impl Into<String>) -> Eval<T> {
    Err((RunErrorKind::Internal, message.into()))
}

#[cfg(test)]
mod tests;
