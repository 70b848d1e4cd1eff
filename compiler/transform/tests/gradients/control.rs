//! Branches and loops.

use tdl_ir::interp::Value;

use crate::support::{check, f64s, seeds};

pub const FOR: &str = r#"func @f(%x: f64[3], %w: f64[3], %n: i64) {
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

pub const WHILE: &str = r#"func @f(%x: f64) {
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

pub fn with_constants(text: &str) -> String {
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

/// The inner loop runs for a number of trips that the outer one's values decide.
pub const WHILE_IN_FOR: &str = r#"func @f(%x: f64[2], %n: i64) {
  %ten: f64 = const 3.0
  %grow: f64 = const 1.3
  %wide: f64[2] = expand %grow, axes: [0]
  %y: f64[2] = for %i < %n, %a: f64[2] = %x {
    %0: f64[2] = while %b: f64[2] = %a {
      %s: f64 = sum %b, axes: [0]
      %go: bool = lt %s, %ten
      yield %go
    } do %c: f64[2] {
      %1: f64[2] = sin %c
      %2: f64[2] = mul %1, %x
      %3: f64[2] = mul %c, %wide
      %4: f64[2] = add %2, %3
      yield %4
    }
    %5: f64[2] = sin %0
    %6: f64[2] = mul %5, %a
    %7: f64[2] = abs %6
    yield %7
  }
  return %y
}"#;

#[test]
fn a_while_in_a_for() {
    for n in [0, 1, 4] {
        check(WHILE_IN_FOR, vec![f64s(&[2], &[0.7, 0.4]), Value::int(n)], &[0]);
    }
}

pub const TRIANGLE: &str = r#"func @f(%x: f64[5], %n: i64) {
  %zero: f64 = const 0.0
  %o: i64 = const 0
  %one: i64 = const 1
  %y: f64 = for %i < %n, %a: f64 = %zero {
    %m: i64 = mul %i, %one
    %0: f64 = for %j < %m, %b: f64 = %a {
      %xi: f64[1] = slice %x, %j
      %xs: f64 = reshape %xi
      %1: f64 = mul %b, %xs
      %2: f64 = sin %1
      %3: f64 = add %2, %xs
      yield %3
    }
    %part: f64[%m] = slice %x, %o
    %w: f64[%m] = expand %0, axes: [0]
    %p: f64[%m] = mul %part, %w
    %q: f64[%m] = exp %p
    %s: f64 = sum %q, axes: [0]
    %t: f64 = tanh %s
    %4: f64 = add %0, %t
    yield %4
  }
  return %y
}"#;

#[test]
fn sizes_and_trips_that_depend_on_the_outer_iteration() {
    for n in [0, 1, 5] {
        check(TRIANGLE, vec![seeds(&[5], 3), Value::int(n)], &[0]);
    }
}

#[test]
fn a_loop_in_a_branch_in_a_while() {
    let text = r#"func @f(%x: f64) {
  %k0: i64 = const 0
  %unit: i64 = const 1
  %two: i64 = const 2
  %six: i64 = const 6
  %limit: f64 = const 2.0
  %y: f64, %n: i64 = while %a: f64 = %x, %k: i64 = %k0 {
    %go: bool = lt %k, %six
    yield %go
  } do %b: f64, %m: i64 {
    %r: i64 = rem %m, %two
    %odd: bool = eq %r, %unit
    %0: f64 = if %odd {
      %1: f64 = while %c: f64 = %b {
        %small: bool = lt %c, %limit
        yield %small
      } do %d: f64 {
        %2: f64 = exp %d
        %3: f64 = mul %2, %x
        %4: f64 = add %3, %d
        yield %4
      }
      %5: f64 = sqrt %1
      yield %5
    } else {
      %6: f64 = mul %b, %x
      %7: f64 = sin %6
      yield %7
    }
    %step: i64 = add %m, %unit
    yield %0, %step
  }
  return %y
}"#;
    check(text, vec![f64s(&[], &[0.8])], &[0]);
}

#[test]
fn values_captured_in_branches() {
    let text = r#"func @f(%x: f64[3], %w: f64[3], %c: bool) {
  %0: f64[3] = if %c {
    %1: f64[3] = mul %x, %w
    %2: f64[3] = sin %1
    yield %2
  } else {
    %3: f64[3] = exp %w
    yield %3
  }
  %4: f64[3] = mul %0, %x
  return %4
}"#;
    for c in [true, false] {
        let flag = tdl_ir::interp::Tensor::from_bools(vec![], [c]).into();
        check(text, vec![seeds(&[3], 1), seeds(&[3], 2), flag], &[0, 1]);
    }
}

#[test]
fn in_place_updates_in_a_loop() {
    let text = r#"func @f(%x: f64[4], %n: i64) {
  %z: f64 = const 0.5
  %three: i64 = const 3
  %buf: f64[4] = expand %z, axes: [0]
  %y: f64[4] = for %i < %n, %b: f64[4] = %buf {
    %k: i64 = rem %i, %three
    %0: f64[1] = slice %b, %k
    %1: f64[1] = slice %x, %k
    %2: f64[1] = mul %0, %1
    %3: f64[1] = sin %2
    %one: i64 = const 1
    %next: i64 = add %k, %one
    %4: f64[4] = update_slice %b, %3, %next, mode: set
    %5: f64[4] = update_slice %4, %1, %k, mode: add
    yield %5
  }
  return %y
}"#;
    check(text, vec![seeds(&[4], 1), Value::int(7)], &[0]);
}
