//! Differentiation. Forward mode emits each linear step beside its primal instruction. Reverse mode linearises (emits the
//! primal and records the linear steps on a tape), then transposes the tape.
//!
//! Here is traversal and accumulation only; an elementwise op's rule stands in its row of the op table. Both modes read
//! the same rules.
//!
//! Sources: Griewank and Walther, *Evaluating Derivatives*, 2nd ed. 2008, chapters 3 and 4; Radul et al., *You Only
//! Linearize Once*, POPL 2023, for the decomposition.

mod activity;
mod calls;
mod control;
mod forward;
mod linearize;
mod loops;
mod mincut;
mod prepare;
mod price;
mod residuals;
mod rules;
mod stacks;
mod tape;
mod transpose;

use tdl_ir::{Builder, Function, Module, ValueId};
use tdl_source::Span;

use crate::Error;
use linearize::{Linearizer, Mode};
use tape::Tape;

/// A function that has been evaluated at some arguments, and its derivative there.
pub struct Linear {
    /// Primal results.
    pub results: Vec<ValueId>,
    args: Vec<ValueId>,
    wrt: Vec<usize>,
    tape: Tape,
}

impl Linear {
    /// The parameters that it can be pulled back to.
    pub fn wrt(&self) -> &[usize] {
        &self.wrt
    }
}

/// Emits `func(args)` so that it can be pulled back. `wanted` are the results (by number) whose cotangent may be nonzero.
pub fn linearize(
    b: &mut Builder,
    module: &Module,
    func: &Function,
    wrt: &[usize],
    wanted: &[usize],
    args: &[ValueId],
    span: Span,
) -> Result<Linear, Error> {
    let func = &*prepare::prepare(func, Mode::Reverse, wrt, wanted);
    let wanted: Vec<ValueId> = wanted.iter().map(|k| func.results()[*k]).collect();
    let mut lin = Linearizer::new(b, module, func, Mode::Reverse, wrt, &wanted, args, span);
    let results = lin.run()?;
    let tape = lin.finish();
    Ok(Linear { results, args: args.to_vec(), wrt: wrt.to_vec(), tape })
}

/// Emits the cotangents of the `wrt` parameters from those of the float results.
pub fn pull(b: &mut Builder, linear: &Linear, cotangents: &[ValueId]) -> Vec<ValueId> {
    let mut given = cotangents.iter().copied();
    let mut seeds = Vec::new();
    for r in &linear.results {
        let ct = if b.ty(*r).is_float_tensor() { given.next() } else { None };
        seeds.push(ct.filter(|ct| !b.is_splat(*ct, 0.0)));
    }
    let tape = &linear.tape;
    let back = transpose::transpose(b, tape, &seeds, &vec![None; tape.inputs.len()]);
    let pairs = linear.wrt.iter().zip(back);
    pairs.map(|(p, ct)| ct.unwrap_or_else(|| b.full_like(0.0, linear.args[*p]))).collect()
}

/// Emits `func(args)` and the tangents of its float results. `args` are `func`'s arguments, then a tangent for each of
/// `wrt`. `func` is flat.
pub fn jvp(
    b: &mut Builder,
    module: &Module,
    func: &Function,
    wrt: &[usize],
    args: &[ValueId],
    span: Span,
) -> Result<Vec<ValueId>, Error> {
    let wanted: Vec<usize> =
        (0..func.results().len()).filter(|k| func.ty(func.results()[*k]).is_float_tensor()).collect();
    let func = &*prepare::prepare(func, Mode::Forward, wrt, &wanted);
    let floats: Vec<ValueId> = wanted.iter().map(|k| func.results()[*k]).collect();
    let (primal, tangents) = args.split_at(func.params().len());
    let mut lin = Linearizer::new(b, module, func, Mode::Forward, wrt, &floats, primal, span);
    for (p, t) in wrt.iter().zip(tangents) {
        lin.set_tangent(func.params()[*p], *t);
    }
    let mut out = lin.run()?;
    for k in wanted {
        let zero = out[k];
        let tangent = lin.tangent(func.results()[k]);
        out.push(tangent.unwrap_or_else(|| lin.b.full_like(0.0, zero)));
    }
    Ok(out)
}
