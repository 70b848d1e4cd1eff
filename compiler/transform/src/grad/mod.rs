//! Differentiation: linearise, then run the linear part forward (`jvp`) or transpose it (`vjp`).
//!
//! Here is traversal and accumulation only; an elementwise op's rule stands in its row of the op table. Linearisation
//! emits the primal computation and records a [`tape::Tape`] of linear steps; both modes read that one tape.
//!
//! Sources: Griewank and Walther, *Evaluating Derivatives*, 2nd ed. 2008, chapters 3 and 4; Radul et al., *You Only
//! Linearize Once*, POPL 2023, for the decomposition.

mod control;
mod forward;
mod linearize;
mod loops;
mod prepare;
mod rules;
mod tape;
mod transpose;

use tdl_ir::{Builder, Function, Module, ValueId};
use tdl_source::Span;

use crate::Error;
use linearize::Linearizer;
use tape::Tan;

/// Emits `func(args)` and its transposed derivative. `args` are `func`'s arguments, then a cotangent for each float
/// result (`None`-like zeros are found by `is_zero`). Returns `func`'s results and the cotangents of `wrt`.
pub fn vjp(
    b: &mut Builder,
    module: &Module,
    func: &Function,
    wrt: &[usize],
    args: &[ValueId],
    span: Span,
) -> Result<Vec<ValueId>, Error> {
    let func = &prepare::prepare(func);
    let n = func.params().len();
    let (primal, cotangents) = args.split_at(n);
    let mut lin = Linearizer::new(b, module, func, wrt, primal, span);
    let results = lin.run()?;
    let (mut tape, reasons) = lin.finish();
    let mut seeds = Vec::new();
    let mut k = 0;
    for (i, r) in func.results().iter().enumerate() {
        if func.ty(*r).is_float_tensor() {
            let ct = cotangents[k];
            k += 1;
            if is_zero(b, ct) {
                tape.outputs[i] = None;
            }
            seeds.push(Some(ct));
        } else {
            tape.outputs[i] = None;
            seeds.push(None);
        }
    }
    tape.prune();
    linearize::refuse(&tape, &reasons)?;
    b.span = span;
    let inputs: Vec<Tan> = tape.inputs.clone();
    let wanted = transpose::transpose(b, &tape, &seeds, &vec![None; inputs.len()]);
    let mut out = results;
    for (p, ct) in wrt.iter().zip(wanted) {
        out.push(match ct {
            Some(ct) => ct,
            None => b.full_like(0.0, primal[*p]),
        });
    }
    Ok(out)
}

/// Emits `func(args)` and the tangents of its float results. `args` are `func`'s arguments, then a tangent for each of
/// `wrt`.
pub fn jvp(
    b: &mut Builder,
    module: &Module,
    func: &Function,
    wrt: &[usize],
    args: &[ValueId],
    span: Span,
) -> Result<Vec<ValueId>, Error> {
    let func = &prepare::prepare(func);
    let n = func.params().len();
    let (primal, tangents) = args.split_at(n);
    let mut lin = Linearizer::new(b, module, func, wrt, primal, span);
    let results = lin.run()?;
    let (mut tape, reasons) = lin.finish();
    tape.prune();
    linearize::refuse(&tape, &reasons)?;
    b.span = span;
    let seeds: Vec<Option<ValueId>> = tangents.iter().map(|t| Some(*t)).collect();
    let out_tangents = forward::forward(b, &tape, &seeds);
    let mut out = results.clone();
    for (i, r) in func.results().iter().enumerate() {
        if func.ty(*r).is_float_tensor() {
            out.push(match out_tangents[i] {
                Some(t) => t,
                None => b.full_like(0.0, results[i]),
            });
        }
    }
    Ok(out)
}

/// A scalar constant zero (a cotangent that `aux` results get).
fn is_zero(b: &Builder, v: ValueId) -> bool {
    b.is_splat(v, 0.0)
}
