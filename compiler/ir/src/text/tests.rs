use super::*;
use crate::verify;

/// Parses, verifies, prints: the text is as it was.
#[track_caller]
fn same(text: &str) {
    let module = match parse(text) {
        Ok(m) => m,
        Err(e) => panic!("{e}"),
    };
    if let Err(e) = verify(&module) {
        panic!("{}", e.message);
    }
    assert_eq!(print(&module), text);
}

#[track_caller]
fn refused(text: &str, error: &str) {
    assert_eq!(parse(text).expect_err("must not parse").to_string(), error);
}

#[test]
fn an_extent_of_a_parameter_may_be_computed_in_the_block() {
    same(
        r"func @f(%n: i64, %x: f32[%m], %y: f32[%m]) {
  %m: i64 = add %n, %n
  %0: f32[%m] = add %x, %y
  return %0
}
",
    );
}

#[test]
fn elementwise_and_reductions() {
    same(
        r#"func @f(%n: i64, %x: f32[%n, 64]) composite: "nn.f", remat {
  %s: f32[64] = sum %x, axes: [0]
  %0: f32 = convert %n
  %1: f32[64] = expand %0, axes: [0]
  %s#2: f32[64] = div %s, %1
  %2: bool[64] = lt %s, %s#2
  %3: f32[64] = select %2, %s, %s#2
  return %3
}
"#,
    );
}

#[test]
fn constants_keep_their_bits() {
    same(
        r#"func @f() {
  %0: f32 = const 0.1
  %1: f32 = const 0.1d
  %2: f64 = const -0.0
  %3: f64 = const nan
  %4: f64 = const nan(0xfff8000000000001)
  %5: bf16 = const -inf
  %6: u64 = const 18446744073709551615
  %7: i8 = const -128
  %8: bool = const true
  %9: f64 = const 1e-308
  %10: f16[2, 2] = dense [1.0, -2.5, nan, inf]
  %11: bool[3] = dense [true, false, true]
  %12: f32[1] = dense hex "010080ff"
  %13: i64[0] = dense []
  %14: str = text "a \"b\"\n\\ {c} \u{1b}é"
  %15: f64 = const 1e300
  %16: f32 = const 1e20
}
"#,
    );
}

#[test]
fn control_flow_nests() {
    same(
        r#"func @g(%x: f32) effects {
  return %x
}

func @main(%n: i64, %x: f32, %go: bool) effects, entry {
  %y: f32 = for %i < %n, %acc: f32 = %x {
    %0: f32 = if %go {
      %1: f32 = call @g(%acc)
      yield %1
    } else {
      yield %acc
    }
    yield %0
  }
  %2: f32 = while %z: f32 = %y {
    %3: bool = lt %z, %x
    yield %3
  } do %w: f32 {
    print "w {.4} \{\}", %w, end: ""
    yield %w
  }
  for %i#2 < %n {
  }
  assert %go, index, "index {} out of {}", %n, %n
  %4: f32, %5: f32 = vjp @g(%x, %2), wrt: [0]
  %6: f32, %7: f32 = jvp @g(%x, %2), wrt: [0]
  return %4, %7
}
"#,
    );
}

#[test]
fn every_other_op() {
    same(
        r#"func @f(%n: i64, %x: f32[%n, 8], %ids: i64[3], %m: bool[%n], %path: str) {
  %k: i64, %pos: i64[%k] = nonzero %m
  %sorted: f32[%n, 8], %0: i64[%n, 8] = sort %x, axis: 1, descending
  %1: f32[3, 8] = gather %x, %ids
  %2: f32[%n, 8] = scatter %x, %ids, %1, mode: add
  %3: f32[8, %n] = permute %2, perm: [1, 0]
  %4: f32[%n, %n] = contract %x, %3, "ab,bc->ac"
  %5: f32[%n, %n] = contract %x, %3, lhs: [0, 1], rhs: [1, 2], out: [0, 2]
  %6: i64 = const 0
  %7: f32[%n, 4] = slice %x, %6, %6, steps: [1, 2]
  %8: f32[%n, 4] = slice %x, %6, %6
  %9: f32[%n, 8] = update_slice %x, %8, %6, %6, mode: set
  %10: f32[%n, 16] = concat %x, %9, axis: 1
  %11: f32[%n, 8] = flip %x, axes: [0, 1]
  %12: i64[%n] = argmax %x, axis: 1
  %13: f32[%n, 8] = cumsum %x, axis: 0, reverse
  %14: f32[%k] = random_normal %n, %6
  %15: stack<f32[%n, 8]> = stack_new
  %16: stack<f32[%n, 8]> = stack_push %15, %x
  %17: i64, %18: f32[%17, %n, 8] = stack_tensor %16
  %19: i64, %20: i64[%19] = host entry_names, %6
  save %path, %x, %ids, names: ["a.b", "c"]
  %21: f32[%n, 8] = load %path, names: ["x"]
  %22: str = format "{}: {.3}", %n, %x
  %23: f64 = clock
  progress %n, %n
  %"odd name": i64[%n] = iota
  %"3": f32[%n, 8] = stop_grad %x
  %24: f32[%n, 8] = reshape %x
  %25: f32[%n, 8] = barrier %x
  return %"odd name", %"3"
}
"#,
    );
}

#[test]
fn spans_survive_when_printed() {
    let text = "func @f(%x: f32) loc(1:0..9) {\n  %0: f32 = exp %x loc(1:3..5)\n  return %0\n}\n";
    let module = parse(text).expect("parses");
    assert_eq!(print_with_spans(&module), text);
    assert!(!print(&module).contains("loc"));
}

#[test]
fn errors_name_their_place() {
    refused("func @f() {\n  %0: f32 = exp %1\n}\n", "2:17: this value is not defined before");
    refused("func @f(%x: f32[%m, %n], %y: f32[%n]) {\n}\n", "1:17: this value is not defined");
    refused("func @f() {\n  %0: f32 = frob\n}\n", "2:13: there is no op `frob`");
    refused("func @f() {", "1:12: expected an op");
    refused("func @f() {\n  %0: f3 = const 1\n}", "2:7: `f3` is no type");
    refused("func @f() {\n  %0: i8 = const 1.5\n}", "2:12: `1.5` is no i8");
    refused("func @f() { }\nfunc @f() { }", "2:6: a second function `f`");
}

#[test]
fn deep_nesting_is_an_error_not_an_overflow() {
    let text = format!("func @f(%c: bool) {{{}", "if %c {".repeat(100_000));
    assert!(parse(&text).expect_err("too deep").message.contains("too deeply"));
}
