//! Gradients of random programs and of nested loops, as `transform` writes them: growing stacks, rows of residuals,
//! accumulators.

mod support;

use support::check::check;
use tdl_ir::interp::{PlainHost, Tensor, Value};
use tdl_ir::testgen::{Kind, random_module_of};
use tdl_ir::{Builder, Dim, Dtype, FuncId, Module, Op, Type};
use tdl_source::Span;

/// Adds the reverse-mode derivative of the last function with respect to its float parameters; cotangents are 1.
fn with_gradient(module: &mut Module) -> FuncId {
    let func = FuncId(module.funcs.len() as u32 - 1);
    let f = module.func(func).clone();
    let mut b = Builder::new(format!("d{}", func.0), Span::default());
    let mut map = std::collections::HashMap::new();
    let mut args = Vec::new();
    for p in f.params() {
        let ty = f.ty(*p).map_dims(|d| match d {
            Dim::Val(v) => Dim::Val(map[&v]),
            d => d,
        });
        let new = b.param(ty);
        map.insert(*p, new);
        args.push(new);
    }
    let wrt: Vec<usize> = (0..args.len()).filter(|k| b.ty(args[*k]).is_float_tensor()).collect();
    let mut types: Vec<Type> = f.results().iter().map(|r| f.ty(*r).clone()).collect();
    let n = types.len();
    types.extend(wrt.iter().map(|k| b.ty(args[*k]).clone()));
    for r in f.results() {
        let ty = f.ty(*r);
        if ty.is_float_tensor() {
            args.push(b.full(1.0, ty.dtype().expect("a float"), ty.dims()));
        }
    }
    let out = b.inst(Op::Vjp { func, wrt }, args, types, Vec::new());
    module.add(b.finish(out[n..].to_vec()))
}

#[track_caller]
fn compare(module: &Module, root: FuncId, args: Vec<Value>, what: &str) {
    let mut flat = tdl_transform::differentiate(module, &[root], true).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    tdl_transform::optimize(&mut flat, true).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    let run = std::panic::AssertUnwindSafe(|| check(&flat, FuncId(0), args, PlainHost::default()));
    match std::panic::catch_unwind(run) {
        Ok(Ok(())) => {}
        Ok(Err(e)) => panic!("{what}: {e}"),
        Err(_) => panic!("{what} panicked\n{}", tdl_ir::print(&flat)),
    }
}

#[test]
fn gradients_of_random_programs() {
    for seed in 0..100 {
        let (mut module, args) = random_module_of(Kind::Smooth, seed, 4 + seed as usize % 20);
        let g = with_gradient(&mut module);
        compare(&module, g, args.clone(), &format!("seed {seed}"));
        if seed < 30 {
            let h = with_gradient(&mut module);
            compare(&module, h, args, &format!("seed {seed}, second order"));
        }
    }
}

#[test]
fn gradients_of_nested_loops() {
    let text = std::fs::read_to_string("tests/programs/while_in_for.tdlir").expect("the program");
    for n in [0, 1, 4] {
        let mut module = tdl_ir::parse(&text).unwrap_or_else(|e| panic!("{e}"));
        let x = Tensor::from_floats(Dtype::F64, vec![2], [0.7, 0.4]);
        for order in 1..=2 {
            let g = with_gradient(&mut module);
            compare(&module, g, vec![x.clone().into(), Value::int(n)], &format!("n {n}, order {order}"));
        }
    }
}
