use super::*;
use crate::{Dtype, parse, verify};

fn f32s(shape: &[usize], values: &[f64]) -> Value {
    Tensor::from_floats(Dtype::F32, shape.to_vec(), values.iter().copied()).into()
}

fn f64s(shape: &[usize], values: &[f64]) -> Value {
    Tensor::from_floats(Dtype::F64, shape.to_vec(), values.iter().copied()).into()
}

fn i64s(shape: &[usize], values: &[i64]) -> Value {
    Tensor::from_ints(Dtype::I64, shape.to_vec(), values.iter().copied()).into()
}

fn bools(shape: &[usize], values: &[bool]) -> Value {
    Tensor::from_bools(shape.to_vec(), values.iter().copied()).into()
}

/// Runs the last function of a module.
fn run_with(text: &str, args: Vec<Value>, host: &mut PlainHost) -> Result<Vec<Value>, RunError> {
    let module = match parse(text) {
        Ok(m) => m,
        Err(e) => panic!("{e}"),
    };
    if let Err(e) = verify(&module) {
        panic!("{}", e.message);
    }
    let last = FuncId(module.funcs.len() as u32 - 1);
    Interp::new(&module).run(last, args, host)
}

#[track_caller]
fn gives(text: &str, args: Vec<Value>, want: Vec<Value>) {
    match run_with(text, args, &mut PlainHost::default()) {
        Ok(got) => assert_eq!(got, want),
        Err(e) => panic!("{e}"),
    }
}

#[track_caller]
fn fails(text: &str, args: Vec<Value>, kind: RunErrorKind, message: &str) {
    let e = run_with(text, args, &mut PlainHost::default()).expect_err("must fail");
    assert_eq!((e.kind, e.message.as_str()), (kind, message));
}

#[test]
fn matrix_product_with_batches_and_transposes() {
    gives(
        r#"func @f(%a: f32[2, 2, 3], %b: f32[3, 2]) {
  %0: f32[2, 2, 2] = contract %a, %b, "bik,kj->jbi"
  return %0
}"#,
        vec![
            f32s(&[2, 2, 3], &[1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12.]),
            f32s(&[3, 2], &[1., 0., 0., 1., 1., 1.]),
        ],
        vec![f32s(&[2, 2, 2], &[4., 10., 16., 22., 5., 11., 17., 23.])],
    );
}

#[test]
fn products_over_nothing_and_outer_products() {
    gives(
        r#"func @f(%a: f64[2, 0], %b: f64[0, 2], %x: i64[2], %y: i64[3]) {
  %0: f64[2, 2] = contract %a, %b, "ik,kj->ij"
  %1: i64[3, 2] = contract %x, %y, "i,j->ji"
  %2: i64 = contract %x, %x, "i,i->"
  return %0, %1, %2
}"#,
        vec![f64s(&[2, 0], &[]), f64s(&[0, 2], &[]), i64s(&[2], &[1, 2]), i64s(&[3], &[3, 4, 5])],
        vec![f64s(&[2, 2], &[0.; 4]), i64s(&[3, 2], &[3, 6, 4, 8, 5, 10]), i64s(&[], &[5])],
    );
}

#[test]
fn movement_of_axes() {
    gives(
        r#"func @f(%n: i64, %x: i64[%n, 3]) {
  %1: i64 = const 1
  %0: i64 = const 0
  %t: i64[3, %n] = permute %x, perm: [1, 0]
  %s: i64[1, 2] = slice %x, %1, %0, steps: [1, 2]
  %f: i64[%n, 3] = flip %x, axes: [1]
  %e: i64[2, %n, 3] = expand %x, axes: [0]
  %r: i64[3, %n] = reshape %x
  %u: i64[%n, 3] = update_slice %x, %s, %0, %0, steps: [1, 2], mode: add
  %c: i64[%n, 6] = concat %x, %f, axis: 1
  return %t, %s, %f, %e, %r, %u, %c
}"#,
        vec![i64s(&[], &[2]), i64s(&[2, 3], &[1, 2, 3, 4, 5, 6])],
        vec![
            i64s(&[3, 2], &[1, 4, 2, 5, 3, 6]),
            i64s(&[1, 2], &[4, 6]),
            i64s(&[2, 3], &[3, 2, 1, 6, 5, 4]),
            i64s(&[2, 2, 3], &[1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]),
            i64s(&[3, 2], &[1, 2, 3, 4, 5, 6]),
            i64s(&[2, 3], &[5, 2, 9, 4, 5, 6]),
            i64s(&[2, 6], &[1, 2, 3, 3, 2, 1, 4, 5, 6, 6, 5, 4]),
        ],
    );
}

#[test]
fn reductions_over_empty_axes_give_identities() {
    gives(
        r#"func @f(%x: f32[2, 0], %i: i8[0], %b: bool[0]) {
  %0: f32[2] = sum %x, axes: [1]
  %1: f32[2] = max %x, axes: [1]
  %2: f32 = prod %x, axes: [0, 1]
  %3: i8 = min %i, axes: [0]
  %4: bool = all %b, axes: [0]
  %5: bool = any %b, axes: [0]
  return %0, %1, %2, %3, %4, %5
}"#,
        vec![f32s(&[2, 0], &[]), Tensor::from_ints(Dtype::I8, vec![0], []).into(), bools(&[0], &[])],
        vec![
            f32s(&[2], &[0., 0.]),
            f32s(&[2], &[f64::NEG_INFINITY; 2]),
            f32s(&[], &[1.]),
            Tensor::from_ints(Dtype::I8, vec![], [127]).into(),
            bools(&[], &[true]),
            bools(&[], &[false]),
        ],
    );
}

#[test]
fn order_puts_nan_last_and_is_stable() {
    let nan = f64::NAN;
    let out = run_with(
        r#"func @f(%x: f64[5]) {
  %0: f64[5], %1: i64[5] = sort %x, axis: 0
  %2: f64[5], %3: i64[5] = sort %x, axis: 0, descending
  %4: i64 = argmax %x, axis: 0
  %5: f64[5] = cummax %x, axis: 0
  return %1, %3, %4
}"#,
        vec![f64s(&[5], &[2., nan, 1., 2., 3.])],
        &mut PlainHost::default(),
    );
    assert_eq!(out, Ok(vec![i64s(&[5], &[2, 0, 3, 4, 1]), i64s(&[5], &[4, 0, 3, 2, 1]), i64s(&[], &[1])]));
}

#[test]
fn scans_run_along_any_axis_both_ways() {
    gives(
        r#"func @f(%x: i64[2, 3]) {
  %0: i64[2, 3] = cumsum %x, axis: 0
  %1: i64[2, 3] = cumsum %x, axis: 1, reverse
  return %0, %1
}"#,
        vec![i64s(&[2, 3], &[1, 2, 3, 4, 5, 6])],
        vec![i64s(&[2, 3], &[1, 2, 3, 5, 7, 9]), i64s(&[2, 3], &[6, 5, 3, 15, 11, 6])],
    );
}

#[test]
fn gather_and_scatter_with_repeats() {
    gives(
        r#"func @f(%x: f32[3, 2], %ids: i64[2, 2], %u: f32[2, 2, 2]) {
  %0: f32[2, 2, 2] = gather %x, %ids
  %1: f32[3, 2] = scatter %x, %ids, %u, mode: add
  %2: f32[3, 2] = scatter %x, %ids, %u, mode: set
  return %0, %1, %2
}"#,
        vec![
            f32s(&[3, 2], &[1., 2., 3., 4., 5., 6.]),
            i64s(&[2, 2], &[0, 2, 2, 0]),
            f32s(&[2, 2, 2], &[10., 20., 30., 40., 50., 60., 70., 80.]),
        ],
        vec![
            f32s(&[2, 2, 2], &[1., 2., 5., 6., 5., 6., 1., 2.]),
            f32s(&[3, 2], &[81., 102., 3., 4., 85., 106.]),
            f32s(&[3, 2], &[70., 80., 3., 4., 50., 60.]),
        ],
    );
}

#[test]
fn existential_sizes_come_from_results() {
    gives(
        r#"func @f(%n: i64, %m: bool[%n], %x: f32[%n]) {
  %k: i64, %ids: i64[%k] = nonzero %m
  %0: f32[%k] = gather %x, %ids
  %1: f32 = sum %0, axes: [0]
  return %k, %0, %1
}"#,
        vec![i64s(&[], &[3]), bools(&[3], &[true, false, true]), f32s(&[3], &[1., 2., 4.])],
        vec![i64s(&[], &[2]), f32s(&[2], &[1., 4.]), f32s(&[], &[5.])],
    );
}

#[test]
fn loops_carry_values_and_update_in_place() {
    gives(
        r#"func @f(%n: i64) {
  %z: i64 = const 0
  %x: i64[%n] = iota
  %one: i64 = const 1
  %y: i64[%n] = for %i < %n, %acc: i64[%n] = %x {
    %u: i64[1] = reshape %one
    %0: i64[%n] = update_slice %acc, %u, %i, mode: add
    yield %0
  }
  %w: i64 = while %a: i64 = %one {
    %1: bool = lt %a, %n
    yield %1
  } do %b: i64 {
    %2: i64 = add %b, %b
    yield %2
  }
  return %x, %y, %w
}"#,
        vec![i64s(&[], &[5])],
        vec![i64s(&[5], &[0, 1, 2, 3, 4]), i64s(&[5], &[1, 2, 3, 4, 5]), i64s(&[], &[8])],
    );
}

#[test]
fn a_long_in_place_loop_takes_linear_time() {
    let n = 20_000;
    let out = run_with(
        r#"func @f(%n: i64) {
  %zero: f32 = const 0.0
  %x: f32[%n] = expand %zero, axes: [0]
  %y: f32[%n] = for %i < %n, %acc: f32[%n] = %x {
    %f: f32 = convert %i
    %u: f32[1] = reshape %f
    %0: f32[%n] = update_slice %acc, %u, %i, mode: set
    yield %0
  }
  %s: f32 = max %y, axes: [0]
  return %s
}"#,
        vec![Value::int(n)],
        &mut PlainHost::default(),
    );
    assert_eq!(out, Ok(vec![f32s(&[], &[n as f64 - 1.0])]));
}

#[test]
fn stacks_grow_in_a_while() {
    gives(
        r#"func @f(%x: f64[2]) {
  %s: stack<f64[2]> = stack_new
  %zero: i64 = const 0
  %three: i64 = const 3
  %one: i64 = const 1
  %i: i64, %a: f64[2], %t: stack<f64[2]> = while %j: i64 = %zero, %b: f64[2] = %x, %u: stack<f64[2]> = %s {
    %0: bool = lt %j, %three
    yield %0
  } do %j2: i64, %b2: f64[2], %u2: stack<f64[2]> {
    %1: stack<f64[2]> = stack_push %u2, %b2
    %2: f64[2] = add %b2, %b2
    %3: i64 = add %j2, %one
    yield %3, %2, %1
  }
  %k: i64, %all: f64[%k, 2] = stack_tensor %t
  return %all
}"#,
        vec![f64s(&[2], &[1., 3.])],
        vec![f64s(&[3, 2], &[1., 3., 2., 6., 4., 12.])],
    );
}

#[test]
fn effects_happen_in_order_through_the_host() {
    let mut host = PlainHost::default();
    let out = run_with(
        r#"func @g(%x: f32) {
  print "x = {.2} \{\}", %x, end: ";"
}
func @main(%x: f32, %path: str, %n: i64, %t: f64[%n, 2]) {
  call @g(%x)
  save %path, %t, names: ["a.b"]
  %l: f64[%n, 2] = load %path, names: ["a.b"]
  print "{}", %l
  %s: str = format "{}!", %path
  return %s
}"#,
        vec![f32s(&[], &[1.5]), Value::Str("t.csv".into()), Value::int(2), f64s(&[2, 2], &[1., 2., 3., 4.])],
        &mut host,
    );
    assert_eq!(out, Ok(vec![Value::Str("t.csv!".into())]));
    assert_eq!(host.out, "x = 1.50 {};[[1, 2], [3, 4]]\n");
}

#[test]
fn failed_checks_stop_with_their_message() {
    let text = r#"func @f(%i: i64, %n: i64) {
  %0: bool = lt %i, %n
  assert %0, index, "index {} out of range for size {}", %i, %n
}"#;
    gives(text, vec![Value::int(1), Value::int(2)], vec![]);
    fails(
        text,
        vec![Value::int(2), Value::int(2)],
        RunErrorKind::Assert(AssertKind::Index),
        "index 2 out of range for size 2",
    );
    fails(
        "func @f(%p: str) {\n  %0: f32[2] = load %p, names: [\"a\"]\n}",
        vec![Value::Str("no.txt".into())],
        RunErrorKind::Io,
        "cannot read `no.txt`: no such file",
    );
}

#[test]
fn wrong_extents_and_huge_tensors_are_errors() {
    fails(
        "func @f(%n: i64, %x: f32[%n]) {\n}",
        vec![Value::int(3), f32s(&[2], &[1., 2.])],
        RunErrorKind::Internal,
        "%x in `f` is f32[2], not f32[3]",
    );
    fails(
        "func @f(%n: i64) {\n  %0: i64[%n] = iota\n}",
        vec![Value::int(i64::MAX)],
        RunErrorKind::Memory,
        "out of memory: i64[9223372036854775807]",
    );
}

#[test]
fn narrow_floats_round_after_each_op() {
    let text = r#"func @f(%x: D[4]) {
  %0: D[4] = mul %x, %x
  %1: D = sum %0, axes: [0]
  return %0, %1
}"#;
    for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F32, Dtype::F64] {
        let x = [0.1, 0.2, 3.3, 1000.0];
        let t = Tensor::from_floats(dtype, vec![4], x);
        let square: Vec<f64> = t.floats().iter().map(|x| crate::op::round_float(x * x, dtype)).collect();
        let sum = Tensor::from_floats(dtype, vec![], [square.iter().sum()]);
        let squares = Tensor::from_floats(dtype, vec![4], square);
        gives(&text.replace('D', dtype.name()), vec![t.into()], vec![squares.into(), sum.into()]);
    }
}

#[test]
fn random_draws_depend_on_key_and_index_alone() {
    let text = r#"func @f(%key: i64, %c: i64, %n: i64) {
  %0: f32[%n] = random_uniform %key, %c
  return %0
}"#;
    let draw = |c: i64, n: i64| {
        let args = vec![Value::int(7), Value::int(c), Value::int(n)];
        let out = run_with(text, args, &mut PlainHost::default()).expect("runs");
        out[0].tensor().expect("a tensor").floats()
    };
    assert_eq!(draw(0, 10)[3..], draw(3, 7)[..]);
}

#[test]
fn pairwise_sums_are_accurate() {
    let n = 1_000_000;
    let x = Value::Tensor(Tensor::from_floats(Dtype::F32, vec![n], std::iter::repeat_n(0.1, n)));
    let text = "func @f(%x: f32[1000000]) {\n  %0: f32 = sum %x, axes: [0]\n  return %0\n}";
    let out = run_with(text, vec![x], &mut PlainHost::default()).expect("runs");
    let got = out[0].tensor().expect("a tensor").floats()[0];
    assert!((got / (f64::from(0.1_f32) * n as f64) - 1.0).abs() < 1e-7, "{got}");
}
