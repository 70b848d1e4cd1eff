//! One pass on textual IR, and the whole pipeline on random programs.

use tdl_ir::interp::{Interp, PlainHost, RunErrorKind, Tensor, Value};
use tdl_ir::testgen::random_module;
use tdl_ir::{AssertKind, FuncId, Module};
use tdl_transform::PASSES;

/// The pass `name` on a function with this signature and body.
#[track_caller]
fn check(name: &str, signature: &str, before: &str, after: &str) {
    let pass = PASSES.iter().find(|p| p.name == name).expect("a pass");
    let text = |body: &str| {
        let lines: Vec<String> =
            body.lines().map(str::trim_end).filter(|l| !l.trim().is_empty()).map(String::from).collect();
        let indent = lines.iter().map(|l| l.len() - l.trim_start().len()).min().unwrap_or(0);
        let lines: Vec<String> = lines.iter().map(|l| format!("  {}", &l[indent..])).collect();
        format!("func @f({signature}) {{\n{}\n}}\n", lines.join("\n"))
    };
    let mut module = tdl_ir::parse(&text(before)).unwrap_or_else(|e| panic!("{e}\n{}", text(before)));
    tdl_ir::verify(&module).unwrap_or_else(|e| panic!("{}", e.message));
    module.funcs.iter_mut().for_each(pass.run);
    tdl_ir::verify(&module).unwrap_or_else(|e| panic!("{}\n{}", e.message, tdl_ir::print(&module)));
    // numbered like the expectation
    let want = tdl_ir::parse(&text(after)).unwrap_or_else(|e| panic!("{e}\n{}", text(after)));
    assert_eq!(tdl_ir::print(&module), tdl_ir::print(&want));
}

#[test]
fn dce_drops_what_only_feeds_itself() {
    check(
        "dce",
        "%x: f64, %n: i64, %go: bool",
        r#"
        %y: f64, %dead: f64, %feeds: f64 = for %i < %n, %a: f64 = %x, %b: f64 = %x, %c: f64 = %x {
          %0: f64 = add %a, %c
          %1: f64 = exp %b
          %2: f64 = mul %c, %c
          yield %0, %1, %2
        }
        %3: f64, %4: f64 = if %go {
          print "kept"
          %5: f64 = exp %y
          yield %5, %y
        } else {
          yield %y, %y
        }
        return %4
        "#,
        r#"
        %y: f64, %feeds: f64 = for %i < %n, %a: f64 = %x, %c: f64 = %x {
          %0: f64 = add %a, %c
          %2: f64 = mul %c, %c
          yield %0, %2
        }
        %4: f64 = if %go {
          print "kept"
          yield %y
        } else {
          yield %y
        }
        return %4
        "#,
    );
}

/// A loop whose results nobody needs: dropped if it surely ends.
#[track_caller]
fn unused_loop(start: &str, cond: &str, step: &str, dropped: bool) {
    let step = step.replace("%a", "%d");
    let loops = format!(
        "
        %c: i64 = const 1
        %two: i64 = const 2
        %i: i64, %y: f64 = while %a: i64 = {start}, %b: f64 = %x {{
          {cond}
          yield %go
        }} do %d: i64, %e: f64 {{
          {step}
          %s: f64 = sin %e
          yield %next, %s
        }}
        return %x
        "
    );
    let signature = "%n: i64, %x: f64";
    let text = format!("func @f({signature}) {{{loops}}}\n");
    let mut module = tdl_ir::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    tdl_ir::verify(&module).unwrap_or_else(|e| panic!("{}\n{text}", e.message));
    let pass = PASSES.iter().find(|p| p.name == "dce").expect("a pass");
    module.funcs.iter_mut().for_each(pass.run);
    tdl_ir::verify(&module).unwrap_or_else(|e| panic!("{}", e.message));
    let after = tdl_ir::print(&module);
    assert_eq!(!after.contains("while"), dropped, "{text}\n{after}");
    assert!(!after.contains("sin"), "{after}");
}

#[test]
fn dce_keeps_a_while_that_may_not_end() {
    let up = "%next: i64 = add %a, %c";
    unused_loop("%n", "%go: bool = lt %a, %n", up, true);
    unused_loop("%n", "%go: bool = gt %n, %a", up, true);
    unused_loop("%n", "%go: bool = gt %a, %n", "%next: i64 = sub %a, %c", true);
    unused_loop("%n", "%p: bool = lt %a, %n\n %q: bool = ne %a, %c\n %go: bool = and %q, %p", up, true);
    // it may count past the limit and wrap, or away from it, or never change
    unused_loop("%n", "%go: bool = le %a, %n", up, false);
    unused_loop("%n", "%go: bool = ne %a, %n", up, false);
    unused_loop("%n", "%go: bool = gt %a, %n", up, false);
    unused_loop("%n", "%go: bool = lt %a, %n", "%next: i64 = add %a, %two", false);
    unused_loop("%n", "%go: bool = lt %a, %n", "%next: i64 = mul %a, %two", false);
    unused_loop("%n", "%go: bool = const true", up, false);
    unused_loop("%n", "%m: i64 = mul %a, %two\n %go: bool = lt %a, %m", up, false);
}

#[test]
fn cse_shares_with_what_surrounds() {
    check(
        "cse",
        "%x: f64[3], %z: f64[3], %go: bool",
        r#"
        %0: f64[3] = add %x, %z
        %1: f64[3] = if %go {
          %2: f64[3] = add %z, %x
          %3: f64[3] = exp %2
          yield %3
        } else {
          %4: f64[3] = exp %0
          yield %4
        }
        return %1
        "#,
        r#"
        %0: f64[3] = add %x, %z
        %1: f64[3] = if %go {
          %3: f64[3] = exp %0
          yield %3
        } else {
          %4: f64[3] = exp %0
          yield %4
        }
        return %1
        "#,
    );
}

#[test]
fn invariants_leave_loops_but_reads_and_divisions_stay() {
    check(
        "hoist",
        "%x: f64[3], %n: i64, %k: i64",
        r#"
        %y: f64[3] = for %i < %n, %a: f64[3] = %x {
          %two: f64 = const 2.0
          %wide: f64[3] = expand %two, axes: [0]
          %0: f64[3] = mul %x, %wide
          %1: f64[3] = exp %0
          %q: i64 = floordiv %n, %k
          %row: f64[1] = slice %x, %k
          %s: f64 = reshape %row
          %b: f64[3] = expand %s, axes: [0]
          %2: f64[3] = add %1, %b
          %3: f64[3] = add %2, %a
          yield %3
        }
        return %y
        "#,
        r#"
        %two: f64 = const 2.0
        %wide: f64[3] = expand %two, axes: [0]
        %0: f64[3] = mul %x, %wide
        %1: f64[3] = exp %0
        %y: f64[3] = for %i < %n, %a: f64[3] = %x {
          %q: i64 = floordiv %n, %k
          %row: f64[1] = slice %x, %k
          %s: f64 = reshape %row
          %b: f64[3] = expand %s, axes: [0]
          %2: f64[3] = add %1, %b
          %3: f64[3] = add %2, %a
          yield %3
        }
        return %y
        "#,
    );
}

#[test]
fn simplify_folds_and_cancels() {
    check(
        "simplify",
        "%x: f64[2, 3]",
        r#"
        %one: f64 = const 1.0
        %ones: f64[2, 3] = expand %one, axes: [0, 1]
        %0: f64[2, 3] = mul %x, %ones
        %1: f64[3, 2] = permute %0, perm: [1, 0]
        %2: f64[2, 3] = permute %1, perm: [1, 0]
        %3: f64[2, 3] = neg %2
        %4: f64[2, 3] = sub %2, %3
        return %4
        "#,
        r#"
        %one: f64 = const 1.0
        %ones: f64[2, 3] = expand %one, axes: [0, 1]
        %1: f64[3, 2] = permute %x, perm: [1, 0]
        %3: f64[2, 3] = neg %x
        %4: f64[2, 3] = add %x, %x
        return %4
        "#,
    );
}

#[test]
fn simplify_finds_products() {
    check(
        "simplify",
        "%x: f64[2, 3], %z: f64[3, 4]",
        r#"
        %0: f64[2, 3, 4] = expand %x, axes: [2]
        %1: f64[2, 3, 4] = expand %z, axes: [0]
        %2: f64[2, 3, 4] = mul %0, %1
        %3: f64[2, 4] = sum %2, axes: [1]
        %4: f64[4, 2] = permute %3, perm: [1, 0]
        return %4
        "#,
        r#"
        %0: f64[2, 3, 4] = expand %x, axes: [2]
        %1: f64[2, 3, 4] = expand %z, axes: [0]
        %2: f64[2, 3, 4] = mul %0, %1
        %3: f64[2, 4] = contract %x, %z, lhs: [0, 1], rhs: [1, 2], out: [0, 2]
        %4: f64[4, 2] = contract %x, %z, lhs: [0, 1], rhs: [1, 2], out: [2, 0]
        return %4
        "#,
    );
}

#[test]
fn simplify_joins_parts() {
    check(
        "simplify",
        "%p: f64[2, 1], %q: f64[2, 2]",
        r#"
        %o: i64 = const 0
        %i: i64 = const 1
        %zero: f64 = const 0.0
        %0: f64[2, 3] = expand %zero, axes: [0, 1]
        %1: f64[2, 3] = update_slice %0, %q, %o, %i, mode: add
        %2: f64[2, 3] = update_slice %1, %p, %o, %o, mode: add
        return %2
        "#,
        r#"
        %o: i64 = const 0
        %i: i64 = const 1
        %zero: f64 = const 0.0
        %0: f64[2, 3] = expand %zero, axes: [0, 1]
        %1: f64[2, 3] = update_slice %0, %q, %o, %i, mode: set
        %2: f64[2, 3] = concat %p, %q, axis: 1
        return %2
        "#,
    );
}

#[test]
fn simplify_drops_axes_of_one() {
    check(
        "simplify",
        "%x: f64[2, 3], %s: f64[2]",
        r#"
        %0: f64[2, 1] = reshape %s
        %1: f64[2, 1] = exp %0
        %2: f64[2, 1] = stop_grad %1
        %3: f64[2] = reshape %2
        %4: f64[2, 3] = expand %3, axes: [1]
        return %4
        "#,
        r#"
        %0: f64[2, 1] = reshape %s
        %1: f64[2] = exp %s
        %2: f64[2, 1] = reshape %1
        %4: f64[2, 3] = expand %1, axes: [1]
        return %4
        "#,
    );
}

#[test]
fn simplify_unwinds_control_flow() {
    check(
        "simplify",
        "%x: f64, %w: f64[3], %n: i64, %go: bool",
        r#"
        %yes: bool = const true
        %0: f64 = if %yes {
          %1: f64 = exp %x
          yield %1
        } else {
          yield %x
        }
        %2: f64 = if %go {
          yield %0
        } else {
          yield %x
        }
        %3: f64, %4: f64[3] = for %i < %n, %a: f64 = %2, %b: f64[3] = %w {
          %s: f64 = sum %b, axes: [0]
          %5: f64 = mul %a, %s
          yield %5, %b
        }
        return %3, %4
        "#,
        r#"
        %yes: bool = const true
        %1: f64 = exp %x
        %2: f64 = select %go, %1, %x
        %3: f64 = for %i < %n, %a: f64 = %2 {
          %s: f64 = sum %w, axes: [0]
          %5: f64 = mul %a, %s
          yield %5
        }
        return %3, %w
        "#,
    );
}

#[test]
fn sums_of_equal_values_are_products() {
    check(
        "simplify",
        "%x: f32[4], %n: i64",
        r#"
        %0: f32[%n, 4] = expand %x, axes: [0]
        %1: f32[4] = sum %0, axes: [0]
        return %1
        "#,
        r#"
        %0: f32[%n, 4] = expand %x, axes: [0]
        %1: i64 = const 1
        %2: f32 = convert %n
        %3: f32[4] = expand %2, axes: [0]
        %4: f32[4] = mul %x, %3
        return %4
        "#,
    );
}

fn run(module: &Module, func: FuncId, args: Vec<Value>) -> Vec<Value> {
    match Interp::new(module).run(func, args, &mut PlainHost::default()) {
        Ok(v) => v,
        Err(e) => panic!("{e}\n{}", tdl_ir::print(module)),
    }
}

fn close(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.tensor(), b.tensor()) else { return a == b };
    if !a.dtype.is_float() {
        return a == b;
    }
    let near =
        |x: f64, y: f64| (x - y).abs() <= 1e-4 * (1.0 + x.abs().max(y.abs())) || x.is_nan() && y.is_nan() || x == y;
    a.shape == b.shape && a.floats().iter().zip(b.floats()).all(|(x, y)| near(*x, y))
}

#[test]
fn random_programs_keep_their_meaning() {
    for seed in 0..400 {
        let (module, args) = random_module(seed, 5 + seed as usize % 40);
        let entry = module.entry.expect("a main");
        let want = run(&module, entry, args.clone());
        let mut flat = tdl_transform::differentiate(&module, &[entry], true).unwrap_or_else(|e| panic!("{e:?}"));
        tdl_transform::optimize(&mut flat, true).unwrap_or_else(|e| panic!("{e:?}"));
        let got = run(&flat, FuncId(0), args);
        let same = want.len() == got.len() && want.iter().zip(&got).all(|(a, b)| close(a, b));
        assert!(same, "seed {seed}\n{want:?}\n{got:?}\n{}\n{}", tdl_ir::print(&module), tdl_ir::print(&flat));
    }
}

#[test]
fn a_trap_fires_where_the_first_nan_appears() {
    let text = "func @f(%x: f64[2]) {\n  %a: f64[2] = log %x\n  %b: f64[2] = exp %a\n  %c: f64 = sum %b, axes: [0]\n  return %c\n}\n";
    let plain = tdl_ir::parse(text).unwrap_or_else(|e| panic!("{e}"));
    let mut trapped = plain.clone();
    tdl_transform::trap_nan(&mut trapped, true).unwrap_or_else(|e| panic!("{e:?}"));
    tdl_transform::optimize(&mut trapped, true).unwrap_or_else(|e| panic!("{e:?}"));
    let on = |module: &Module, x: [f64; 2]| {
        let x = Tensor::from_floats(tdl_ir::Dtype::F64, vec![2], x);
        Interp::new(module).run(FuncId(0), vec![x.into()], &mut PlainHost::default())
    };
    assert_eq!(on(&trapped, [1.0, 2.0]).map_err(|e| e.message), on(&plain, [1.0, 2.0]).map_err(|e| e.message));
    assert!(on(&plain, [1.0, -2.0]).is_ok());
    let e = on(&trapped, [1.0, -2.0]).err().map(|e| (e.kind, e.message));
    let Some((RunErrorKind::Assert(AssertKind::Nan), message)) = e else { panic!("{e:?}") };
    assert!(message.contains("`log`"), "{message}");
    // handed on, not made
    assert!(on(&trapped, [1.0, f64::NAN]).is_ok());
}

#[test]
fn a_sum_of_a_product_sums_the_operands_first() {
    check(
        "simplify",
        "%x: f64[3, 4], %y: f64[4, 5]",
        r#"
        %0: f64[3, 5] = contract %x, %y, lhs: [0, 1], rhs: [1, 2], out: [0, 2]
        %1: f64[3, 5] = neg %0
        %2: f64[5] = sum %1, axes: [0]
        return %2
        "#,
        r#"
        %0: f64[3, 5] = contract %x, %y, lhs: [0, 1], rhs: [1, 2], out: [0, 2]
        %1: f64[3, 5] = neg %0
        %2: f64[4] = sum %x, axes: [0]
        %3: f64[5] = contract %2, %y, lhs: [1], rhs: [1, 2], out: [2]
        %4: f64[5] = neg %3
        return %4
        "#,
    );
}
