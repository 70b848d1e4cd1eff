//! Random smooth programs: loops, branches, updates, sorts, gathers, calls.

use tdl_ir::testgen::{Kind, random_module_of};
use tdl_ir::{Dtype, FuncId};

use crate::support::{Case, check_case};

fn random_case(seed: u64) -> Case {
    let (module, args) = random_module_of(Kind::Smooth, seed, 4 + seed as usize % 24);
    let func = FuncId(module.funcs.len() as u32 - 1);
    let is_float = |k: &usize| args[*k].tensor().is_some_and(|t| t.dtype == Dtype::F64);
    let wrt = (0..args.len()).filter(is_float).collect();
    Case { module, func, args, wrt }
}

#[test]
fn forward_and_reverse_agree_with_differences() {
    for seed in 0..300 {
        check_case(&random_case(seed), 1e-4);
    }
}

#[test]
fn second_derivatives_agree_with_differences() {
    for seed in 0..60 {
        let case = random_case(1000 + seed);
        if case.wrt.is_empty() {
            continue;
        }
        check_case(&crate::support::gradient_case(&case), 1e-4);
    }
}
