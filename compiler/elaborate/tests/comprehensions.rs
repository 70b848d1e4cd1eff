//! What comprehensions become: whole tensor operations where they can, loops where they must.

use tdl_elaborate::{Roots, elaborate};
use tdl_ir::{Module, Op};
use tdl_source::{SourceMap, Style, render};

/// The program after all passes.
fn optimized(source: &str) -> Module {
    let mut map = SourceMap::default();
    let parsed = tdl_syntax::parse(map.add(String::new(), source), source);
    assert!(parsed.errors.is_empty(), "{}", render(&parsed.errors, &map, Style::default()));
    let checked = tdl_types::check(&[tdl_types::Module { name: "", ast: &parsed.module }]);
    assert!(checked.errors.is_empty(), "{}", render(&checked.errors, &map, Style::default()));
    let out = elaborate(&checked.program, &Roots::Main, false).unwrap_or_else(|e| panic!("{e:?}"));
    let entry = out.main.expect("has a main");
    let mut module = tdl_transform::differentiate(&out.module, &[entry.func], true).unwrap_or_else(|e| panic!("{e:?}"));
    tdl_transform::optimize(&mut module, true).unwrap_or_else(|e| panic!("{e:?}"));
    module
}

/// Names of the ops that are neither constants, movement nor effects, in order.
fn work(source: &str) -> Vec<&'static str> {
    let module = optimized(source);
    let mut out = Vec::new();
    module.funcs[0].body.visit_insts(&mut |i| match &i.op {
        Op::Const(_) | Op::Expand { .. } | Op::Reshape | Op::Permute { .. } | Op::Print { .. } | Op::Random { .. } => {}
        op => out.push(op.name()),
    });
    out
}

/// A program that gives `f` two matrices `a: f32[n, m]`, `b: f32[m, n]`.
fn on_matrices(value: &str) -> String {
    format!(
        "fn main(n: i64 = 3, m: i64 = 4) {{
  let mut rng = Rng(n)
  let a: f32[n, m] = rng.normal(f32[n, m])
  let b: f32[m, n] = rng.normal(f32[m, n])
  print({value})
}}"
    )
}

#[track_caller]
fn same_as(value: &str, other: &str) {
    assert_eq!(work(&on_matrices(value)), work(&on_matrices(other)));
}

#[test]
fn a_matrix_product_is_one_contraction() {
    let found = work(&on_matrices("[sum(a[i, l] * b[l, j] for l) for i, j]"));
    assert_eq!(found.iter().filter(|n| **n == "contract").count(), 1, "{found:?}");
    assert!(!found.contains(&"for") && !found.contains(&"sum") && !found.contains(&"gather"), "{found:?}");
    same_as("[sum(a[i, l] * b[l, j] for l) for i, j]", "a @ b");
    same_as("[sum(b[l, j] * a[i, l] for l) for j, i]", "(a @ b).T");
    same_as("[[sum(a[i, k] * a[j, k] for k) for j] for i]", "a @ a.T");
}

#[test]
fn a_product_by_patterns_is_one_contraction() {
    same_as("einsum(\"i j, j k -> i k\", a, b)", "a @ b");
}

#[test]
fn elements_are_whole_operations() {
    same_as("[exp(a[i, j]) + 1.0 for i, j]", "exp(a) + 1.0");
    same_as("[a[i, j] + b[j, i] for i, j]", "a + b.T");
    same_as("[sum(a[i]) for i]", "sum(a, axis: 1)");
    same_as("max(a[i, j] for i, j)", "max(a)");
}

#[test]
fn both_gradients_of_a_product_are_contractions() {
    let found = work(&on_matrices("grad(|a: f32[n, m]| sum([sum(a[i, l] * b[l, j] for l) for i, j] ^ 2.0))(a)"));
    assert_eq!(found.iter().filter(|n| **n == "contract").count(), 2, "{found:?}");
    assert!(!found.contains(&"for") && !found.contains(&"scatter"), "{found:?}");
}

#[test]
fn a_choice_of_harmless_branches_is_a_select() {
    let found = work(&on_matrices("[if j <= i { a[i, j] } else { -inf } for i, j]"));
    assert!(found.contains(&"select") && !found.contains(&"for"), "{found:?}");
}

#[test]
fn what_happens_in_order_stays_a_loop() {
    let found = work(&on_matrices("[{ print(i)\n  a[i, 0] } for i]"));
    assert!(found.contains(&"for"), "{found:?}");
    let drawn = "fn main(n: i64 = 3) {
  let mut rng = Rng(0)
  let mut keys = rng.split(n)
  print([keys[i].normal(f32) for i < n])
}";
    assert!(work(drawn).contains(&"for"));
}

#[test]
fn a_window_is_one_gather() {
    let found = work(
        "fn conv[n, k](x: f32[n], w: f32[k]) -> f32[n - k + 1] where k <= n =
  [sum(x[i + j] * w[j] for j) for i < n - k + 1]
fn main(n: i64 = 5) {
  let mut rng = Rng(n)
  assert 2 <= n
  print(conv(rng.normal(f32[n]), rng.normal(f32[2])))
}",
    );
    assert_eq!(found.iter().filter(|n| **n == "gather").count(), 1, "{found:?}");
    assert!(!found.contains(&"for") && !found.contains(&"scatter"), "{found:?}");
}
