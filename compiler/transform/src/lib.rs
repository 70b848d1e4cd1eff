//! Passes over the tensor IR, differentiation among them. `transform` never sees source text or the typed tree.
//!
//! The pipeline, top to bottom, is the compiler's middle: [`differentiate`] makes each function flat and free of
//! derivative ops; [`PASSES`] then run in order. The verifier runs after each.

mod batch;
mod callers;
mod checkpoint;
mod clone;
mod composites;
mod cse;
mod dce;
mod defer;
mod flatten;
mod grad;
mod hoist;
mod layout;
mod simplify;
mod trap_nan;
mod vectorize;

use std::time::{Duration, Instant};

use tdl_ir::{FuncId, Function, Module};
use tdl_source::{Diagnostic, InternalError};

pub use callers::callers;
pub use composites::composites;

/// Why a pass stopped.
#[derive(Debug)]
pub enum Error {
    /// The program asks for what cannot be done (`E05xx`).
    Program(Vec<Diagnostic>),
    Internal(InternalError),
}

/// One transformation of a function.
pub struct Pass {
    pub name: &'static str,
    /// What it is for, in a few words.
    pub about: &'static str,
    pub run: fn(&mut Function),
}

const SIMPLIFY: Pass = Pass { name: "simplify", about: "fold constants, cheaper equal forms", run: simplify::derived };
const CSE: Pass = Pass { name: "cse", about: "compute equal values once", run: cse::function };
const LAYOUT: Pass = Pass { name: "layout", about: "images in the order of their kernels", run: layout::function };
const DEFER: Pass = Pass { name: "defer", about: "sums over a loop at once behind it", run: defer::function };
const HOIST: Pass = Pass { name: "hoist", about: "move invariant values out of loops", run: hoist::function };
const DCE: Pass = Pass { name: "dce", about: "drop unused pure values", run: dce::function };

/// What runs after differentiation, in order.
pub const PASSES: &[Pass] = &[DCE, LAYOUT, SIMPLIFY, CSE, DEFER, HOIST, DCE, SIMPLIFY, CSE, DCE];

/// Name of a pass and how long it took.
pub type Timing = (&'static str, Duration);

/// Inlines calls into the functions `roots` and replaces their derivative ops. The result holds the roots alone, in order.
///
/// Errors: E0504, E0507.
pub fn differentiate(module: &Module, roots: &[FuncId], verify: bool) -> Result<Module, Error> {
    flat(module, roots, true, verify)
}

/// The same for a program in which each computed value matters, thrown away or not (`--trap-nan`): a mapped function computes
/// for a lane only what the lane's own control flow reaches.
pub fn differentiate_exact(module: &Module, roots: &[FuncId], verify: bool) -> Result<Module, Error> {
    flat(module, roots, false, verify)
}

fn flat(module: &Module, roots: &[FuncId], masks: bool, verify: bool) -> Result<Module, Error> {
    let module = &*checkpoint::outline(module);
    let mut out = Module::default();
    for root in roots {
        let f = flatten::flatten(module, *root, masks)?;
        let id = out.add(f);
        if module.entry == Some(*root) {
            out.entry = Some(id);
        }
    }
    if verify {
        verify_after(&out, "grad")?;
    }
    Ok(out)
}

/// Differentiates every function that asks for derivatives, and throws the result away: can everything be differentiated?
///
/// Errors: E0504, E0507.
pub fn check(module: &Module) -> Result<(), Error> {
    let module = &*checkpoint::outline(module);
    flatten::check(module)
}

/// Runs [`PASSES`] over every function.
pub fn optimize(module: &mut Module, verify: bool) -> Result<Vec<Timing>, Error> {
    let mut timings = Vec::new();
    for pass in PASSES {
        let start = Instant::now();
        module.funcs.iter_mut().for_each(pass.run);
        timings.push((pass.name, start.elapsed()));
        if verify {
            verify_after(module, pass.name)?;
        }
    }
    Ok(timings)
}

/// Makes every function stop where a NaN first appears; before [`optimize`].
pub fn trap_nan(module: &mut Module, verify: bool) -> Result<(), Error> {
    for pass in [&DCE, &trap_nan::PASS] {
        module.funcs.iter_mut().for_each(pass.run);
        if verify {
            verify_after(module, pass.name)?;
        }
    }
    Ok(())
}

/// The verifier's error names the pass and carries the IR.
fn verify_after(module: &Module, pass: &str) -> Result<(), Error> {
    tdl_ir::verify(module).map_err(|e| {
        let ir = Some(tdl_ir::print(module));
        Error::Internal(InternalError { pass: pass.to_owned(), ir, ..e })
    })
}
