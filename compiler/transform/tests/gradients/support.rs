//! Programs as text, derivatives of them, differences.

use tdl_ir::interp::{Tensor, Value};
use tdl_ir::{Builder, Dtype, FuncId, Module, Op, Type};
use tdl_source::Span;

pub use crate::machine::run;

/// A module of textual IR; its last function takes f64 tensors (and others, which get no derivative) and returns floats.
pub struct Case {
    pub module: Module,
    pub func: FuncId,
    pub args: Vec<Value>,
    pub wrt: Vec<usize>,
}

pub fn case(text: &str, args: Vec<Value>, wrt: &[usize]) -> Case {
    let module = tdl_ir::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    tdl_ir::verify(&module).unwrap_or_else(|e| panic!("{}\n{text}", e.message));
    let func = FuncId(module.funcs.len() as u32 - 1);
    Case { module, func, args, wrt: wrt.to_vec() }
}

pub fn f64s(shape: &[usize], values: &[f64]) -> Value {
    Tensor::from_floats(Dtype::F64, shape.to_vec(), values.iter().copied()).into()
}

pub fn i64s(shape: &[usize], values: &[i64]) -> Value {
    Tensor::from_ints(Dtype::I64, shape.to_vec(), values.iter().copied()).into()
}

pub fn floats(v: &Value) -> Vec<f64> {
    let t = v.tensor().expect("a tensor");
    (0..t.numel())
        .map(|i| match t.get(i) {
            tdl_ir::Scalar::Float(bits) => f64::from_bits(bits),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Adds `g(args…, cotangents or tangents…)` that applies the derivative op, and returns it flat and optimized.
pub fn derived(case: &Case, reverse: bool) -> Module {
    let mut module = case.module.clone();
    let f = module.func(case.func).clone();
    let mut b = Builder::new("g", Span::default());
    let mut args = Vec::new();
    let mut map = std::collections::HashMap::new();
    for p in f.params() {
        let ty = f.ty(*p).map_dims(|d| match d {
            tdl_ir::Dim::Val(v) => tdl_ir::Dim::Val(map[&v]),
            d => d,
        });
        let new = b.param(ty);
        map.insert(*p, new);
        args.push(new);
    }
    let results: Vec<Type> = f.results().iter().map(|r| f.ty(*r).clone()).collect();
    let floats: Vec<Type> = results.iter().filter(|t| t.is_float_tensor()).cloned().collect();
    let wrt: Vec<Type> = case.wrt.iter().map(|k| f.ty(f.params()[*k]).clone()).collect();
    let (more, extra) = if reverse { (&floats, &wrt) } else { (&wrt, &floats) };
    for ty in more {
        args.push(b.param(ty.clone()));
    }
    let types: Vec<Type> = results.iter().chain(extra).cloned().collect();
    let wrt = case.wrt.clone();
    let op = if reverse { Op::Vjp { func: case.func, wrt } } else { Op::Jvp { func: case.func, wrt } };
    let out = b.inst(op, args, types, Vec::new());
    let g = module.add(b.finish(out));
    let mut flat = tdl_transform::differentiate(&module, &[g], true).unwrap_or_else(|e| panic!("{e:?}"));
    tdl_transform::optimize(&mut flat, true).unwrap_or_else(|e| panic!("{e:?}"));
    flat
}

pub fn seeds(shape: &[usize], salt: usize) -> Value {
    let n: usize = shape.iter().product();
    f64s(shape, &(0..n).map(|i| ((i * 7 + salt * 3) % 11) as f64 / 7.0 - 0.6).collect::<Vec<_>>())
}

/// `<ct, J v>` by differences, by forward mode and by reverse mode must agree.
#[track_caller]
pub fn check(text: &str, args: Vec<Value>, wrt: &[usize]) {
    check_case(&case(text, args, wrt), 2e-6);
}

/// The same, with the error of the differences that is allowed.
#[track_caller]
pub fn check_case(case: &Case, tolerance: f64) {
    let wrt = &case.wrt;
    let flat = tdl_transform::differentiate(&case.module, &[case.func], true).unwrap_or_else(|e| panic!("{e:?}"));
    let plain = run(&flat, FuncId(0), case.args.clone());
    let tangents: Vec<Value> =
        wrt.iter().enumerate().map(|(k, w)| seeds(&case.args[*w].tensor().expect("tensor").shape, k)).collect();
    let is_float = |v: &&Value| v.tensor().is_some_and(|t| t.dtype == Dtype::F64);
    let cts: Vec<Value> = plain
        .iter()
        .filter(is_float)
        .enumerate()
        .map(|(k, v)| seeds(&v.tensor().expect("tensor").shape, k + 5))
        .collect();
    let dot = |a: &[Value], b: &[Value]| -> f64 {
        a.iter().zip(b).map(|(x, y)| floats(x).iter().zip(floats(y)).map(|(p, q)| p * q).sum::<f64>()).sum()
    };
    let h = 1e-6;
    let moved = |sign: f64| {
        let mut args = case.args.clone();
        for (w, t) in wrt.iter().zip(&tangents) {
            let shape = args[*w].tensor().expect("tensor").shape.clone();
            let sum: Vec<f64> = floats(&args[*w]).iter().zip(floats(t)).map(|(x, d)| x + sign * h * d).collect();
            args[*w] = f64s(&shape, &sum);
        }
        let out: Vec<Value> = run(&flat, FuncId(0), args).into_iter().filter(|v| is_float(&v)).collect();
        dot(&cts, &out)
    };
    let numeric = (moved(1.0) - moved(-1.0)) / (2.0 * h);
    let mut values = Vec::new();
    for reverse in [false, true] {
        let module = derived(case, reverse);
        let mut args = case.args.clone();
        args.extend(if reverse { cts.clone() } else { tangents.clone() });
        let out = run(&module, FuncId(0), args);
        let extra = &out[plain.len()..];
        values.push(if reverse { dot(extra, &tangents) } else { dot(&cts, extra) });
    }
    let close = |a: f64, b: f64| (a - b).abs() <= tolerance * (1.0 + a.abs().max(b.abs()));
    assert!(
        close(values[0], numeric)
            && close(values[1], numeric)
            && (values[0] - values[1]).abs() < 1e-9 * (1.0 + numeric.abs()),
        "differences {numeric}, forward {}, reverse {}\n{}\n{}",
        values[0],
        values[1],
        tdl_ir::print(&case.module),
        tdl_ir::print(&derived(case, true)),
    );
}

/// `f` and its reverse-mode derivative: the gradient's own gradient is checked.
pub fn gradient_of(text: &str, params: &str, args: &str, ty: &str, outs: usize) -> String {
    let results: Vec<String> = (0..outs).map(|k| format!("%r{k}: {ty}")).collect();
    format!(
        "{text}\nfunc @g({params}, %ct: {ty}) {{\n  {}, %d: {ty} = vjp @f({args}, %ct), wrt: [0]\n  return %d\n}}",
        results.join(", ")
    )
}

/// The reverse-mode derivative of a case whose only float result is a scalar, as a case.
pub fn gradient_case(case: &Case) -> Case {
    let mut module = case.module.clone();
    let f = module.func(case.func).clone();
    let mut b = Builder::new("gradient", Span::default());
    let mut map = std::collections::HashMap::new();
    let mut args = Vec::new();
    for p in f.params() {
        let ty = f.ty(*p).map_dims(|d| match d {
            tdl_ir::Dim::Val(v) => tdl_ir::Dim::Val(map[&v]),
            d => d,
        });
        let new = b.param(ty);
        map.insert(*p, new);
        args.push(new);
    }
    let types: Vec<Type> = case.wrt.iter().map(|k| b.ty(args[*k]).clone()).collect();
    let mut all: Vec<Type> = f.results().iter().map(|r| f.ty(*r).clone()).collect();
    let n = all.len();
    all.extend(types);
    args.push(b.const_num(1.0, Dtype::F64));
    let out = b.inst(Op::Vjp { func: case.func, wrt: case.wrt.clone() }, args, all, Vec::new());
    let func = module.add(b.finish(out[n..].to_vec()));
    Case { module, func, args: case.args.clone(), wrt: case.wrt.clone() }
}
