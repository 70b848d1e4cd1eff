//! Gradients against central differences in f64, through the reference interpreter.

use tdl_ir::interp::{Interp, PlainHost, Tensor, Value};
use tdl_ir::{Builder, Dtype, FuncId, Module, Op, Type};
use tdl_source::Span;

/// A module of textual IR; its last function takes f64 tensors (and others, which get no derivative) and returns floats.
struct Case {
    module: Module,
    func: FuncId,
    args: Vec<Value>,
    wrt: Vec<usize>,
}

fn case(text: &str, args: Vec<Value>, wrt: &[usize]) -> Case {
    let module = tdl_ir::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    tdl_ir::verify(&module).unwrap_or_else(|e| panic!("{}\n{text}", e.message));
    let func = FuncId(module.funcs.len() as u32 - 1);
    Case { module, func, args, wrt: wrt.to_vec() }
}

fn f64s(shape: &[usize], values: &[f64]) -> Value {
    Tensor::from_floats(Dtype::F64, shape.to_vec(), values.iter().copied()).into()
}

fn i64s(shape: &[usize], values: &[i64]) -> Value {
    Tensor::from_ints(Dtype::I64, shape.to_vec(), values.iter().copied()).into()
}

fn floats(v: &Value) -> Vec<f64> {
    let t = v.tensor().expect("a tensor");
    (0..t.numel())
        .map(|i| match t.get(i) {
            tdl_ir::Scalar::Float(bits) => f64::from_bits(bits),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn run(module: &Module, func: FuncId, args: Vec<Value>) -> Vec<Value> {
    match Interp::new(module).run(func, args, &mut PlainHost::default()) {
        Ok(v) => v,
        Err(e) => panic!("{e}\n{}", tdl_ir::print(module)),
    }
}

/// Adds `g(args…, cotangents or tangents…)` that applies the derivative op, and returns it flat and optimized.
fn derived(case: &Case, reverse: bool) -> Module {
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

fn seeds(shape: &[usize], salt: usize) -> Value {
    let n: usize = shape.iter().product();
    f64s(shape, &(0..n).map(|i| ((i * 7 + salt * 3) % 11) as f64 / 7.0 - 0.6).collect::<Vec<_>>())
}

/// `<ct, J v>` by differences, by forward mode and by reverse mode must agree.
#[track_caller]
fn check(text: &str, args: Vec<Value>, wrt: &[usize]) {
    let case = case(text, args, wrt);
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
        let module = derived(&case, reverse);
        let mut args = case.args.clone();
        args.extend(if reverse { cts.clone() } else { tangents.clone() });
        let out = run(&module, FuncId(0), args);
        let extra = &out[plain.len()..];
        values.push(if reverse { dot(extra, &tangents) } else { dot(&cts, extra) });
    }
    let close = |a: f64, b: f64| (a - b).abs() <= 2e-6 * (1.0 + a.abs().max(b.abs()));
    assert!(
        close(values[0], numeric)
            && close(values[1], numeric)
            && (values[0] - values[1]).abs() < 1e-9 * (1.0 + numeric.abs()),
        "differences {numeric}, forward {}, reverse {}\n{text}\n{}",
        values[0],
        values[1],
        tdl_ir::print(&derived(&case, true)),
    );
}

#[test]
fn products_and_broadcasts() {
    check(
        r#"func @f(%x: f64[3, 2], %w: f64[2, 4], %b: f64[4]) {
  %0: f64[3, 4] = contract %x, %w, "ik,kj->ij"
  %1: f64[3, 4] = expand %b, axes: [0]
  %2: f64[3, 4] = add %0, %1
  %3: f64[3, 4] = tanh %2
  %4: f64[4] = sum %3, axes: [0]
  return %4
}"#,
        vec![seeds(&[3, 2], 1), seeds(&[2, 4], 2), seeds(&[4], 3)],
        &[0, 1, 2],
    );
}

#[test]
fn reductions_with_zeros_and_ties() {
    check(
        r#"func @f(%x: f64[2, 3]) {
  %0: f64[2] = prod %x, axes: [1]
  %1: f64[3] = max %x, axes: [0]
  %2: f64[2, 3] = cumsum %x, axis: 1, reverse
  return %0, %1, %2
}"#,
        vec![f64s(&[2, 3], &[0.5, 0.0, -2.0, 3.0, 1.5, 0.25])],
        &[0],
    );
}

#[test]
fn indexed_access() {
    check(
        r#"func @f(%x: f64[4, 2], %ids: i64[3], %u: f64[3, 2], %i: i64) {
  %0: f64[3, 2] = gather %x, %ids
  %1: f64[4, 2] = scatter %x, %ids, %u, mode: set
  %2: f64[4, 2] = scatter %x, %ids, %u, mode: add
  %z: i64 = const 0
  %3: f64[2, 1] = slice %x, %i, %z, steps: [2, 1]
  %4: f64[2, 2] = slice %u, %z, %z
  %5: f64[4, 2] = update_slice %x, %4, %i, %z, mode: set
  %6: f64[4, 2] = update_slice %x, %4, %i, %z, mode: add
  %7: f64[6, 2] = concat %4, %x, axis: 0
  %8: f64[6, 2], %9: i64[6, 2] = sort %7, axis: 0
  %10: f64[6, 2] = mul %8, %8
  %11: f64[6, 2] = flip %10, axes: [0]
  return %0, %1, %2, %3, %5, %6, %11
}"#,
        vec![
            f64s(&[4, 2], &[0.1, 0.2, 0.3, -0.4, 0.5, -0.6, 0.7, 0.8]),
            i64s(&[3], &[1, 3, 1]),
            f64s(&[3, 2], &[1.1, 1.2, 1.3, -1.4, 1.5, -1.6]),
            Value::int(1),
        ],
        &[0, 2],
    );
}

const FOR: &str = r#"func @f(%x: f64[3], %w: f64[3], %n: i64) {
  %one: f64 = const 1.0
  %acc0: f64[3] = expand %one, axes: [0]
  %y: f64[3], %s: f64 = for %i < %n, %acc: f64[3] = %acc0, %t: f64 = %one {
    %0: f64[3] = mul %acc, %x
    %1: f64[3] = sin %0
    %2: f64[3] = add %1, %w
    %xi: f64[1] = slice %w, %i
    %xs: f64 = reshape %xi
    %3: f64 = mul %t, %xs
    %4: f64 = exp %3
    yield %2, %4
  }
  return %y, %s
}"#;

#[test]
fn counted_loops() {
    for n in [0, 1, 3] {
        check(FOR, vec![seeds(&[3], 1), seeds(&[3], 2), Value::int(n)], &[0, 1]);
    }
}

const WHILE: &str = r#"func @f(%x: f64) {
  %one: f64 = const 1.0
  %half: f64 = const 0.5
  %y: f64, %n: i64 = while %a: f64 = %x, %k: i64 = %zero {
    %go: bool = gt %a, %one
    yield %go
  } do %b: f64, %m: i64 {
    %big: bool = gt %b, %four
    %0: f64 = if %big {
      %1: f64 = sqrt %b
      %2: f64 = mul %1, %half
      yield %2
    } else {
      %3: f64 = mul %b, %half
      %4: f64 = sin %3
      yield %4
    }
    %5: f64 = mul %0, %x
    %6: f64 = mul %5, %tenth
    %7: f64 = add %0, %6
    %step: i64 = add %m, %unit
    yield %7, %step
  }
  return %y, %n
}"#;

fn with_constants(text: &str) -> String {
    text.replace(
        "  %half: f64 = const 0.5\n",
        "  %half: f64 = const 0.5\n  %four: f64 = const 4.0\n  %tenth: f64 = const 0.01\n  %zero: i64 = const 0\n  %unit: i64 = const 1\n",
    )
}

#[test]
fn loops_of_unknown_length_with_branches() {
    for x in [0.5, 1.5, 3.0, 10.0, 40.0] {
        check(&with_constants(WHILE), vec![f64s(&[], &[x])], &[0]);
    }
}

#[test]
fn nested_loops() {
    check(
        r#"func @f(%x: f64[2], %n: i64) {
  %y: f64[2] = for %i < %n, %a: f64[2] = %x {
    %0: f64[2] = for %j < %n, %b: f64[2] = %a {
      %1: f64[2] = mul %b, %x
      %2: f64[2] = sin %1
      %3: f64[2] = add %2, %a
      yield %3
    }
    %4: f64[2] = tanh %0
    yield %4
  }
  return %y
}"#,
        vec![f64s(&[2], &[0.7, -0.4]), Value::int(3)],
        &[0],
    );
}

/// `f` and its reverse-mode derivative: the gradient's own gradient is checked.
fn gradient_of(text: &str, params: &str, args: &str, ty: &str, outs: usize) -> String {
    let results: Vec<String> = (0..outs).map(|k| format!("%r{k}: {ty}")).collect();
    format!(
        "{text}\nfunc @g({params}, %ct: {ty}) {{\n  {}, %d: {ty} = vjp @f({args}, %ct), wrt: [0]\n  return %d\n}}",
        results.join(", ")
    )
}

#[test]
fn gradients_of_gradients_through_a_while() {
    let text = with_constants(WHILE).replace("return %y, %n", "return %y");
    let text = gradient_of(&text, "%x: f64", "%x", "f64", 1);
    for x in [0.5, 1.5, 10.0, 40.0] {
        check(&text, vec![f64s(&[], &[x]), f64s(&[], &[1.0])], &[0]);
    }
}

#[test]
fn gradients_of_gradients_through_a_for() {
    let text = FOR.replace("return %y, %s", "return %y");
    let text = gradient_of(&text, "%x: f64[3], %w: f64[3], %n: i64", "%x, %w, %n", "f64[3]", 1);
    check(&text, vec![seeds(&[3], 1), seeds(&[3], 2), Value::int(3), seeds(&[3], 4)], &[0, 1]);
}
