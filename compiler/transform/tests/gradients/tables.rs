//! Every row of the op tables, first and second order, at several shapes (empty ones among them), away from kinks.

use tdl_ir::op::{Derivative, ResultDtype};
use tdl_ir::{BinaryOp, ReduceOp, ScanOp, UnaryOp};

use crate::machine::EACH;
use crate::support::{check, f64s};

const SHAPES: &[&[usize]] = &[&[], &[1], &[5], &[0], &[2, 3], &[2, 1, 3], &[2, 0, 3], &[2, 1, 2, 3]];

fn ty(shape: &[usize]) -> String {
    let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
    if dims.is_empty() { "f64".into() } else { format!("f64[{}]", dims.join(", ")) }
}

/// Numbers between `lo` and `hi`, no two equal.
fn spread(shape: &[usize], lo: f64, hi: f64) -> tdl_ir::interp::Value {
    let n: usize = shape.iter().product();
    f64s(shape, &(0..n).map(|i| lo + (hi - lo) * ((i * 37 + 11) % 101) as f64 / 101.0).collect::<Vec<_>>())
}

/// `op` applied to the parameters `names`, which all have the same shape, checked in first and second order.
fn both_orders(line: &str, names: &[&str], shape: &[usize], result: &str, ranges: &[(f64, f64)]) {
    let ty = ty(shape);
    let params: Vec<String> = names.iter().map(|n| format!("%{n}: {ty}")).collect();
    let text = format!("func @f({}) {{\n  %y: {result} = {line}\n  return %y\n}}", params.join(", "));
    let values: Vec<_> = ranges.iter().map(|(lo, hi)| spread(shape, *lo, *hi)).collect();
    let wrt: Vec<usize> = (0..names.len()).collect();
    check(&text, values.clone(), &wrt);
    let args: Vec<String> = names.iter().map(|n| format!("%{n}")).collect();
    let outs: Vec<String> = names.iter().map(|n| format!("%d_{n}: {ty}")).collect();
    let twice = format!(
        "{text}\nfunc @g({}, %ct: {result}) {{\n  %y: {result}, {} = vjp @f({}, %ct), wrt: {wrt:?}\n  return {}\n}}",
        params.join(", "),
        outs.join(", "),
        args.join(", "),
        names.iter().map(|n| format!("%d_{n}")).collect::<Vec<_>>().join(", "),
    );
    let result_shape: Vec<usize> = result
        .trim_start_matches("f64")
        .trim_matches(['[', ']'])
        .split(", ")
        .filter(|s| !s.is_empty())
        .map(|s| s.parse().expect("an extent"))
        .collect();
    let mut values = values;
    values.push(spread(&result_shape, 0.5, 1.5));
    check(&twice, values, &wrt);
}

#[test]
fn unary_functions() {
    for op in UnaryOp::ALL {
        let def = op.def();
        if matches!(def.result, ResultDtype::Bool)
            || matches!(def.derivative, Derivative::NotDifferentiable(_))
            || *op == UnaryOp::Not
        {
            continue;
        }
        for shape in SHAPES.iter().step_by(EACH) {
            for range in [(0.12, 0.43), (0.56, 0.94)] {
                both_orders(&format!("{} %x", def.name), &["x"], shape, &ty(shape), &[range]);
            }
        }
    }
}

#[test]
fn binary_functions() {
    for op in BinaryOp::ALL {
        let def = op.def();
        if !def.dtype.accepts(tdl_ir::Dtype::F64) || *op == BinaryOp::Polygamma {
            continue;
        }
        for shape in SHAPES.iter().step_by(EACH) {
            for ranges in [[(2.51, 2.89), (1.01, 1.19)], [(0.31, 0.52), (1.21, 1.83)]] {
                both_orders(&format!("{} %x, %z", def.name), &["x", "z"], shape, &ty(shape), &ranges);
            }
        }
    }
}

/// Its order is a whole number, so it has a derivative by the other operand alone.
#[test]
fn functions_of_the_gamma_function() {
    for shape in SHAPES.iter().step_by(EACH) {
        let t = ty(shape);
        for order in [0, 1, 2, 3] {
            let axes: Vec<usize> = (0..shape.len()).collect();
            let text = format!(
                "%c: f64 = const {order}.0\n  %n: {t} = expand %c, axes: {axes:?}\n  %y: {t} = polygamma %n, %x\n  return %y"
            );
            for range in [(0.61, 1.94), (-0.81, -0.62)] {
                check(&format!("func @f(%x: {t}) {{\n  {text}\n}}"), vec![spread(shape, range.0, range.1)], &[0]);
            }
        }
    }
}

#[test]
fn reductions() {
    for op in ReduceOp::ALL {
        let def = op.def();
        if !def.dtype.accepts(tdl_ir::Dtype::F64) {
            continue;
        }
        for (shape, axes, kept) in [
            (&[4][..], &[0][..], &[][..]),
            (&[2, 3], &[0, 1], &[]),
            (&[2, 3, 2], &[1], &[2, 2]),
            (&[2, 3, 2], &[0, 2], &[3]),
            (&[2, 1, 3, 2], &[1, 3], &[2, 3]),
            (&[3, 1], &[1], &[3]),
            (&[0, 2], &[1], &[0]),
        ] {
            both_orders(&format!("{} %x, axes: {axes:?}", def.name), &["x"], shape, &ty(kept), &[(0.3, 1.7)]);
        }
    }
}

#[test]
fn scans() {
    for op in ScanOp::ALL {
        for (shape, axis) in [(&[4][..], 0), (&[2, 3], 0), (&[2, 3], 1), (&[0, 2], 0), (&[1, 3], 0), (&[2, 1, 3, 2], 2)]
        {
            for reverse in ["", ", reverse"] {
                let line = format!("{} %x, axis: {axis}{reverse}", op.def().name);
                both_orders(&line, &["x"], shape, &ty(shape), &[(-0.8, 0.9)]);
            }
        }
    }
}

#[test]
fn order_and_movement() {
    for (line, shape, result) in [
        ("reshape %x", &[2, 3][..], "f64[3, 2]"),
        ("reshape %x", &[1], "f64"),
        ("permute %x, perm: [2, 0, 1]", &[2, 3, 4], "f64[4, 2, 3]"),
        ("flip %x, axes: [0, 2]", &[2, 3, 2], "f64[2, 3, 2]"),
        ("expand %x, axes: [0, 2]", &[2, 3], "f64[4, 2, 2, 3]"),
        ("expand %x, axes: [0]", &[], "f64[3]"),
    ] {
        both_orders(line, &["x"], shape, result, &[(-0.9, 0.8)]);
    }
    for (line, shape, result) in [
        ("contract %x, %z, \"ab,ab->ab\"", &[2, 3][..], "f64[2, 3]"),
        ("contract %x, %z, \"ab,ab->a\"", &[2, 3], "f64[2]"),
        ("contract %x, %z, \"ab,ab->\"", &[2, 3], "f64"),
        ("contract %x, %z, \"ab,cb->ca\"", &[2, 3], "f64[2, 2]"),
        ("contract %x, %z, \"ab,cd->dbca\"", &[2, 3], "f64[3, 3, 2, 2]"),
        ("contract %x, %z, \"abc,adc->bad\"", &[2, 3, 2], "f64[3, 2, 3]"),
        ("contract %x, %z, \",->\"", &[], "f64"),
        ("concat %x, %z, axis: 1", &[2, 3], "f64[2, 6]"),
        ("concat %x, %x, %z, axis: 0", &[0, 3], "f64[0, 3]"),
    ] {
        both_orders(line, &["x", "z"], shape, result, &[(-0.9, 0.8), (0.2, 1.1)]);
    }
}
