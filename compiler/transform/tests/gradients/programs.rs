//! Random smooth programs: loops, branches, updates, sorts, gathers, calls.

use tdl_ir::testgen::{Kind, random_module_of};
use tdl_ir::{Dtype, FuncId};

use crate::machine::EVERY;
use crate::support::{Case, check_case, derived, f64s, floats, run, seeds};

fn random_case(seed: u64) -> Case {
    let (module, args) = random_module_of(Kind::Smooth, seed, 4 + seed as usize % 24);
    let func = FuncId(module.funcs.len() as u32 - 1);
    let is_float = |k: &usize| args[*k].tensor().is_some_and(|t| t.dtype == Dtype::F64);
    let wrt = (0..args.len()).filter(is_float).collect();
    Case { module, func, args, wrt }
}

#[test]
fn forward_and_reverse_agree_with_differences() {
    for seed in (0..300).step_by(EVERY) {
        check_case(&random_case(seed), 1e-4);
    }
}

#[test]
fn second_derivatives_agree_with_differences() {
    for seed in (0..60).step_by(EVERY) {
        let case = random_case(1000 + seed);
        if case.wrt.is_empty() {
            continue;
        }
        check_case(&crate::support::gradient_case(&case), 1e-4);
    }
}

/// `J (2 u - 3 v) = 2 J u - 3 J v` in forward mode, and the same of cotangents in reverse mode.
#[test]
fn derivatives_are_linear() {
    for seed in (0..100).step_by(EVERY) {
        let case = random_case(2000 + seed);
        let shape = |v: &tdl_ir::interp::Value| v.tensor().expect("a tensor").shape.clone();
        for reverse in [false, true] {
            let module = derived(&case, reverse);
            let plain = case.module.func(case.func).results().len();
            let shapes: Vec<Vec<usize>> =
                if reverse { vec![Vec::new()] } else { case.wrt.iter().map(|k| shape(&case.args[*k])).collect() };
            let at = |salt: usize| -> Vec<Vec<f64>> {
                shapes.iter().enumerate().map(|(k, s)| floats(&seeds(s, k + salt))).collect()
            };
            let (u, v) = (at(1), at(17));
            let derivative = |direction: Vec<Vec<f64>>| -> Vec<f64> {
                let mut args = case.args.clone();
                args.extend(shapes.iter().zip(&direction).map(|(s, d)| f64s(s, d)));
                run(&module, FuncId(0), args)[plain..].iter().flat_map(floats).collect()
            };
            let sum =
                u.iter().zip(&v).map(|(a, b)| a.iter().zip(b).map(|(a, b)| 2.0 * a - 3.0 * b).collect()).collect();
            let whole = derivative(sum);
            for ((w, a), b) in whole.iter().zip(derivative(u)).zip(derivative(v)) {
                let parts = 2.0 * a - 3.0 * b;
                assert!((w - parts).abs() <= 1e-9 * (1.0 + a.abs() + b.abs()), "seed {seed}: {w} is not {parts}");
            }
        }
    }
}
