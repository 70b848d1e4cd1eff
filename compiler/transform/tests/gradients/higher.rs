//! Derivatives of derivatives.

use tdl_ir::interp::Value;

use crate::control::{FOR, TRIANGLE, WHILE, WHILE_IN_FOR, with_constants};
use crate::support::{check, f64s, gradient_of, seeds};

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

/// `f` and its forward-mode derivative along `dx`.
fn tangent_of(text: &str, params: &str, args: &str, ty: &str) -> String {
    format!(
        "{text}\nfunc @g({params}, %dx: {ty}) {{\n  %r: {ty}, %d: {ty} = jvp @f({args}, %dx), wrt: [0]\n  return %r, %d\n}}"
    )
}

#[test]
fn every_mix_of_modes_through_nested_loops() {
    let (params, args) = ("%x: f64[2], %n: i64", "%x, %n");
    let values = |n| vec![f64s(&[2], &[0.7, 0.4]), Value::int(n), seeds(&[2], 2)];
    for n in [0, 1, 3] {
        check(&gradient_of(WHILE_IN_FOR, params, args, "f64[2]", 1), values(n), &[0]);
        check(&tangent_of(WHILE_IN_FOR, params, args, "f64[2]"), values(n), &[0, 2]);
    }
}

#[test]
fn ragged_residuals_twice() {
    let gradient = format!(
        "{TRIANGLE}\nfunc @g(%x: f64[5], %n: i64, %ct: f64) {{\n  %r: f64, %d: f64[5] = vjp @f(%x, %n, %ct), wrt: [0]\n  return %d\n}}"
    );
    for n in [0, 1, 4] {
        check(&gradient, vec![seeds(&[5], 3), Value::int(n), f64s(&[], &[1.0])], &[0]);
    }
}

#[test]
fn third_order() {
    let text = with_constants(WHILE).replace("return %y, %n", "return %y");
    let twice = format!(
        "{}\nfunc @h(%x: f64, %one: f64) {{\n  %r: f64, %d: f64 = vjp @g(%x, %one, %one), wrt: [0]\n  return %d\n}}",
        gradient_of(&text, "%x: f64", "%x", "f64", 1)
    );
    check(&twice, vec![f64s(&[], &[3.0]), f64s(&[], &[1.0])], &[0]);
}
