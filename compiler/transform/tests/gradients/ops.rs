//! Every op.

use tdl_ir::interp::Value;

use crate::support::{check, f64s, i64s, seeds};

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

/// With the sums, with queries that see no key, and with keys that no query sees.
const ATTENTION: &str = r#"func @f(%q: f64[2, 4, 3], %k: f64[2, 5, 3], %v: f64[2, 5, 2], %reach: i64) {
  %y: f64[2, 4, 2], %sums: f64[2, 4] = attention %q, %k, %v, %reach
  %0: f64[2, 4] = sin %sums
  return %y, %0
}"#;

fn attended(reach: i64) -> Vec<Value> {
    vec![seeds(&[2, 4, 3], 1), seeds(&[2, 5, 3], 2), seeds(&[2, 5, 2], 3), Value::int(reach)]
}

#[test]
fn attention() {
    for reach in [5, 1, -2] {
        check(ATTENTION, attended(reach), &[0, 1, 2]);
    }
}

#[test]
fn attention_twice() {
    for wrt in [0, 1, 2] {
        let text = format!(
            "{ATTENTION}\nfunc @g(%q: f64[2, 4, 3], %k: f64[2, 5, 3], %v: f64[2, 5, 2], %reach: i64, %dy: f64[2, 4, 2], %ds: f64[2, 4]) {{\n  %y: f64[2, 4, 2], %s: f64[2, 4], %d: f64[2, {}] = vjp @f(%q, %k, %v, %reach, %dy, %ds), wrt: [{wrt}]\n  return %d\n}}",
            ["4, 3", "5, 3", "5, 2"][wrt]
        );
        for reach in [5, 0, -2] {
            let args = attended(reach).into_iter().chain([seeds(&[2, 4, 2], 4), seeds(&[2, 4], 5)]).collect();
            check(&text, args, &[0, 1, 2, 4, 5]);
        }
    }
}
