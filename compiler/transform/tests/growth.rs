//! Derivatives stay small: no exponential growth in the depth of loops or of nested derivatives.

use std::fmt::Write;
use std::time::Instant;

use tdl_ir::{FuncId, Module};

fn parse(text: &str) -> Module {
    tdl_ir::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Instructions of the flat, optimized last function.
fn size(module: &Module) -> usize {
    let start = Instant::now();
    let last = FuncId(module.funcs.len() as u32 - 1);
    let mut flat = tdl_transform::differentiate(module, &[last], false).unwrap_or_else(|e| panic!("{e:?}"));
    let flattened = start.elapsed();
    let timings = tdl_transform::optimize(&mut flat, false).unwrap_or_else(|e| panic!("{e:?}"));
    let mut n = 0;
    flat.funcs[0].body.visit_insts(&mut |_| n += 1);
    println!("{n} instructions: grad {flattened:?}, {timings:?}");
    n
}

/// `f` with `depth` nested loops around a few operations, and its gradient.
fn nested_loops(depth: usize) -> String {
    let mut text = String::from("func @f0(%x: f64[4], %n: i64) {\n");
    let mut init = String::from("%x");
    for d in 0..depth {
        _ = writeln!(text, "%y{d}: f64[4] = for %i{d} < %n, %a{d}: f64[4] = {init} {{");
        init = format!("%a{d}");
    }
    _ = writeln!(text, "%s: f64[4] = sin {init}\n%m: f64[4] = mul %s, %x");
    for d in (0..depth).rev() {
        let inner = if d + 1 == depth { "%m".to_string() } else { format!("%y{}", d + 1) };
        _ = writeln!(text, "%t{d}: f64[4] = exp {inner}\nyield %t{d}\n}}");
    }
    text + "return %y0\n}\n" + GRADIENT
}

const GRADIENT: &str = "func @f1(%x: f64[4], %n: i64) {\n%one: f64 = const 1.0\n%c: f64[4] = expand %one, axes: [0]\n%r: f64[4], %d: f64[4] = vjp @f0(%x, %n, %c), wrt: [0]\nreturn %d\n}\n";

#[test]
fn loops_in_loops() {
    let sizes: Vec<usize> = (1..=7).map(|d| size(&parse(&nested_loops(d)))).collect();
    // each further level adds about what the one before did
    let growth: Vec<usize> = sizes.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(growth.windows(2).all(|g| g[1] <= g[0] + g[0] / 2 + 24), "{sizes:?}");
}

/// A chain of `ops` elementwise operations, differentiated `order` times.
fn nested_gradients(ops: usize, order: usize) -> String {
    let mut text = String::from("func @f0(%x: f64[4], %n: i64) {\n%v0: f64[4] = sin %x\n");
    for k in 0..ops {
        let op = ["sin", "tanh", "exp", "cos"][k % 4];
        _ = writeln!(text, "%u{k}: f64[4] = {op} %v{k}\n%v{}: f64[4] = mul %u{k}, %x", k + 1);
    }
    _ = writeln!(text, "return %v{ops}\n}}");
    for k in 0..order {
        _ = writeln!(
            text,
            "func @f{}(%x: f64[4], %n: i64) {{\n%one: f64 = const 1.0\n%c: f64[4] = expand %one, axes: [0]\n%r: f64[4], %d: f64[4] = vjp @f{k}(%x, %n, %c), wrt: [0]\nreturn %d\n}}",
            k + 1
        );
    }
    text
}

#[test]
fn gradients_of_gradients() {
    for ops in [25, 50, 100] {
        let sizes: Vec<usize> = (0..=3).map(|order| size(&parse(&nested_gradients(ops, order)))).collect();
        assert!(sizes.windows(2).all(|w| w[1] <= 6 * w[0]), "{sizes:?}");
    }
}
