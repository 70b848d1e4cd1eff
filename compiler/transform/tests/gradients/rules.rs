//! Conventions, rules of the user's own, and what is refused.

use tdl_ir::interp::Value;
use tdl_ir::{FuncId, Op};

use crate::support::{case, check, derived, f64s, floats, run, seeds};

/// The reverse-mode derivative of `text` at `x`, with cotangent 1.
fn slope(text: &str, x: f64) -> f64 {
    let case = case(text, vec![f64s(&[], &[x])], &[0]);
    let out = run(&derived(&case, true), FuncId(0), vec![f64s(&[], &[x]), f64s(&[], &[1.0])]);
    let reverse = floats(&out[1])[0];
    let out = run(&derived(&case, false), FuncId(0), vec![f64s(&[], &[x]), f64s(&[], &[1.0])]);
    let forward = floats(&out[1])[0];
    assert!(forward == reverse || forward.is_nan() && reverse.is_nan(), "{forward} forward, {reverse} reverse");
    reverse
}

#[test]
fn the_untaken_side_of_a_select_gives_no_nan() {
    let text = r#"func @f(%x: f64) {
  %zero: f64 = const 0.0
  %pos: bool = gt %x, %zero
  %0: f64 = log %x
  %1: f64 = sqrt %0
  %2: f64 = mul %1, %x
  %3: f64 = select %pos, %2, %x
  return %3
}"#;
    assert_eq!(slope(text, 0.0), 1.0);
    assert_eq!(slope(text, -1.0), 1.0);
}

#[test]
fn also_not_through_a_loop() {
    let text = r#"func @f(%x: f64) {
  %zero: f64 = const 0.0
  %n: i64 = const 2
  %pos: bool = gt %x, %zero
  %0: f64 = for %i < %n, %a: f64 = %x {
    %1: f64 = sqrt %a
    %2: f64 = div %1, %x
    yield %2
  }
  %3: f64 = select %pos, %0, %x
  return %3
}"#;
    assert_eq!(slope(text, 0.0), 1.0);
}

const SOFTPLUS: &str = r#"func @softplus(%x: f64) custom_vjp: @back {
  %e: f64 = exp %x
  %y: f64 = log1p %e
  return %y
}

func @back(%x: f64, %y: f64, %dy: f64) {
  %s: f64 = sigmoid %x
  %d: f64 = mul %s, %dy
  return %d
}

func @f(%x: f64) {
  %0: f64 = call @softplus(%x)
  %1: f64 = mul %0, %x
  return %1
}"#;

#[test]
fn rules_of_the_user() {
    check(SOFTPLUS, vec![f64s(&[], &[0.7])], &[0]);
    let back = derived(&case(SOFTPLUS, vec![], &[0]), true);
    assert!(tdl_ir::print(&back).contains("sigmoid"), "the rule is used");
    let twice = format!(
        "{SOFTPLUS}\nfunc @g(%x: f64, %ct: f64) {{\n  %r: f64, %d: f64 = vjp @f(%x, %ct), wrt: [0]\n  return %d\n}}"
    );
    check(&twice, vec![f64s(&[], &[0.7]), f64s(&[], &[1.0])], &[0]);
}

#[test]
fn recomputed_functions() {
    let text = r#"func @layer(%x: f64[3], %k: i64) remat {
  %0: f64[3] = sin %x
  %1: f64[3] = exp %0
  return %1, %k
}

func @f(%x: f64[3]) {
  %k: i64 = const 2
  %0: f64[3], %m: i64 = call @layer(%x, %k)
  %1: f64[3], %j: i64 = call @layer(%0, %m)
  return %1
}"#;
    check(text, vec![seeds(&[3], 1)], &[0]);
    // each layer's `exp` is computed twice, and with the second layer's input nothing else is kept
    let module = derived(&case(text, vec![], &[0]), true);
    let count = |module: &tdl_ir::Module, op: tdl_ir::UnaryOp| {
        let mut n = 0;
        module.funcs[0].body.visit_insts(&mut |i| n += usize::from(i.op == Op::Unary(op)));
        n
    };
    assert_eq!(count(&module, tdl_ir::UnaryOp::Exp), 4);
    let module = derived(&case(&text.replace(" remat", ""), vec![], &[0]), true);
    assert_eq!(count(&module, tdl_ir::UnaryOp::Exp), 2);
}

#[test]
fn a_pullback_shares_the_forward_pass() {
    let text = r#"func @f(%x: f64[3]) {
  %0: f64[3] = exp %x
  %1: f64[3] = sin %0
  return %1
}

func @rows(%x: f64[3], %a: f64[3], %b: f64[3]) {
  %y: f64[3] = call @f(%x)
  %n: i64 = const 2
  %r: f64[3], %d: f64[3] = vjp @f(%x, %a), wrt: [0]
  %s: f64[3] = for %i < %n, %c: f64[3] = %d {
    %q: f64[3], %e: f64[3] = vjp @f(%x, %c), wrt: [0]
    yield %e
  }
  return %y, %s
}"#;
    let module = tdl_ir::parse(text).expect("parses");
    let flat = tdl_transform::differentiate(&module, &[FuncId(1)], true).expect("flat");
    let mut exps = 0;
    flat.funcs[0].body.visit_insts(&mut |i| exps += usize::from(i.op == Op::Unary(tdl_ir::UnaryOp::Exp)));
    assert_eq!(exps, 1);
    check(text, vec![seeds(&[3], 1), seeds(&[3], 2), seeds(&[3], 3)], &[0, 1]);
}

#[test]
fn what_has_no_derivative_is_refused_with_its_place() {
    let refused = |body: &str| -> Option<String> {
        let text = format!(
            "func @f(%x: f64) {{\n{body}  return %y\n}}\nfunc @g(%x: f64, %ct: f64) {{\n  %r: f64, %d: f64 = vjp @f(%x, %ct), wrt: [0]\n  return %d\n}}"
        );
        let module = tdl_ir::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        match tdl_transform::differentiate(&module, &[FuncId(1)], true) {
            Ok(_) => None,
            Err(tdl_transform::Error::Program(d)) => Some(format!("{}: {}", d[0].code, d[0].message)),
            Err(e) => panic!("{e:?}"),
        }
    };
    let message = "E0504: a float converted from an integer or bool that depends on the parameter has no derivative";
    let converted = "  %k: i64 = convert %x\n  %z: f64 = convert %k\n";
    assert_eq!(refused(&format!("{converted}  %y: f64 = mul %z, %x\n")).as_deref(), Some(message));
    // through a loop
    let looped = "  %k: i64 = convert %x\n  %n: i64 = const 3\n  %m: i64 = for %i < %n, %c: i64 = %i0 {\n    %e: i64 = add %c, %k\n    yield %e\n  }\n  %z: f64 = convert %m\n  %y: f64 = mul %z, %x\n";
    let looped = format!("  %i0: i64 = const 0\n{looped}");
    assert_eq!(refused(&looped).as_deref(), Some(message));
    // what does not reach the result is no error, nor what stop_grad covers
    assert_eq!(refused(&format!("{converted}  %y: f64 = mul %x, %x\n")), None);
    assert_eq!(refused(&format!("{converted}  %s: f64 = stop_grad %z\n  %y: f64 = mul %s, %x\n")), None);
    assert_eq!(
        refused("  %y: f64 = polygamma %x, %x\n").as_deref(),
        Some("E0504: `polygamma` has no derivative by its order, a whole number")
    );
}

#[test]
fn every_refused_place_is_told_with_the_way_to_it() {
    let text = r#"func @f(%x: f64, %c: bool, %n: i64) {
  %0: f64 = if %c {
    %k: i64 = convert %x loc(1:10..11)
    %a: f64 = convert %k loc(1:12..13)
    yield %a
  } else {
    yield %x
  }
  %1: f64 = for %i < %n, %s: f64 = %0 {
    %2: f64 = polygamma %s, %s loc(1:20..21)
    yield %2
  }
  return %1
}
func @g(%x: f64, %c: bool, %n: i64, %ct: f64) {
  %r: f64, %d: f64 = vjp @f(%x, %c, %n, %ct), wrt: [0] loc(1:30..31)
  return %d
}"#;
    let module = tdl_ir::parse(text).unwrap_or_else(|e| panic!("{e}"));
    for op in ["vjp", "jvp"] {
        let module =
            if op == "vjp" { module.clone() } else { tdl_ir::parse(&text.replace("vjp", "jvp")).expect("parses") };
        let Err(tdl_transform::Error::Program(errors)) = tdl_transform::differentiate(&module, &[FuncId(1)], true)
        else {
            panic!("must be refused");
        };
        let told: Vec<String> = errors
            .iter()
            .map(|d| {
                let labels: Vec<String> = d.secondary.iter().map(|l| format!("{}: {}", l.span.start, l.text)).collect();
                format!("{} {}", d.primary.span.start, labels.join(", "))
            })
            .collect();
        assert_eq!(
            told,
            [
                "30 12: on the way from the parameter to the result, 0: the parameter `x`, 10: `k` depends on the parameter",
                "30 20: on the way from the parameter to the result, 0: the parameter `x`, 10: `k` depends on the parameter, \
                 12: `a` depends on the parameter, 0: `s` depends on the parameter",
            ],
            "{op}"
        );
    }
}

#[test]
fn no_product_is_wasted_on_what_is_not_asked_for() {
    let text = r#"func @f(%w1: f64[4, 8], %w2: f64[8, 8], %w3: f64[8, 3], %x: f64[5, 4]) {
  %0: f64[5, 8] = contract %x, %w1, "ab,bc->ac"
  %1: f64[5, 8] = tanh %0
  %2: f64[5, 8] = contract %1, %w2, "ab,bc->ac"
  %3: f64[5, 8] = tanh %2
  %4: f64[5, 3] = contract %3, %w3, "ab,bc->ac"
  return %4
}"#;
    let args = vec![seeds(&[4, 8], 1), seeds(&[8, 8], 2), seeds(&[8, 3], 3), seeds(&[5, 4], 4)];
    let module = derived(&case(text, args.clone(), &[0, 1, 2]), true);
    let mut contracts = 0;
    module.funcs[0].body.visit_insts(&mut |i| contracts += usize::from(matches!(i.op, Op::Contract { .. })));
    assert_eq!(contracts, 3 + 5);
    check(text, args, &[0, 1, 2]);
}

#[test]
fn shares_at_ties() {
    let text = r#"func @f(%x: f64) {
  %two: f64[2] = expand %x, axes: [0]
  %0: f64 = max %two, axes: [0]
  %1: f64 = abs %0
  return %1
}"#;
    assert_eq!(slope(text, 2.0), 1.0);
    assert_eq!(slope(text, 0.0), 0.0);
}

#[test]
fn what_is_kept_is_named_after_its_value_and_what_needs_it() {
    let text = r#"func @f(%x: f64[3], %w: f64[3, 3], %n: i64) {
  %y: f64[3] = for %i < %n, %h: f64[3] = %x {
    %z: f64[3] = contract %h, %w, "a,ab->b"
    %a: f64[3] = tanh %z
    yield %a
  }
  return %y
}"#;
    let args = vec![seeds(&[3], 1), seeds(&[3, 3], 2), Value::int(4)];
    check(text, args.clone(), &[0, 1]);
    let text = tdl_ir::print(&derived(&case(text, args, &[0, 1]), true));
    for name in ["%h.kept.product", ".kept.factor"] {
        assert!(text.contains(name), "no {name} in {text}");
    }
}

/// The gradient of a case (whose only result is a scalar), and how many numbers its loops keep of an iteration, value by
/// value.
fn gradient_and_kept(text: &str, args: &[Value], wrt: &[usize]) -> (Vec<Value>, Vec<i64>) {
    let module = derived(&case(text, args.to_vec(), wrt), true);
    let mut all = args.to_vec();
    all.push(f64s(&[], &[1.0]));
    let out = run(&module, FuncId(0), all);
    let f = &module.funcs[0];
    let mut kept = Vec::new();
    f.body.insts.iter().filter(|i| i.op == Op::For).flat_map(|i| &i.results).for_each(|r| {
        if f.value(*r).name.as_ref().is_some_and(|n| n.contains(".kept.")) {
            let extents = f.ty(*r).dims()[1..].iter().map(|d| match d {
                tdl_ir::Dim::Const(c) => *c,
                tdl_ir::Dim::Val(_) => panic!("an unknown extent"),
            });
            kept.push(extents.product());
        }
    });
    (out, kept)
}

/// What is computed again, in whole loops and branches too, has the bits of what would be kept.
#[test]
fn only_the_states_of_a_loop_are_kept_where_the_rest_is_cheap() {
    let text = r#"func @f(%x: f64[16], %w: f64[3, 16], %n: i64) attribute {
  %three: i64 = const 3
  %zero: i64 = const 0
  %one: i64 = const 1
  %s: f64[16], %c: f64[16] = for %i < %n, %h: f64[16] = %x, %g: f64[16] = %x {
    %odd: i64 = rem %i, %three
    %first: bool = eq %odd, %zero
    %a: f64[16], %m: f64[16] = for %k < %three, %u: f64[16] = %h, %v: f64[16] = %g {
      %in: bool = lt %k, %three
      assert %in, index, "never"
      %0: f64[1, 16] = slice %w, %k, %zero
      %1: f64[16] = reshape %0
      %2: f64[16] = mul %u, %1
      %3: f64[16] = sigmoid %2
      %4: f64[16] = tanh %v
      %5: f64[16] = mul %3, %4
      %6: f64[16] = if %first {
        %7: f64[16] = sin %5
        yield %7
      } else {
        %8: f64[16] = cos %5
        %9: f64[16] = mul %8, %8
        yield %9
      }
      yield %6, %3
    }
    %b: f64[16] = exp %m
    %d: f64[16] = mul %a, %b
    yield %d, %m
  }
  %y: f64 = sum %s, axes: [0]
  return %y
}"#;
    let args = [seeds(&[16], 1), seeds(&[3, 16], 2), Value::int(5)];
    let lean = text.replace(" attribute", "");
    check(&lean, args.to_vec(), &[0, 1]);
    let (gradient, kept) = gradient_and_kept(&lean, &args, &[0, 1]);
    assert_eq!(kept, [16, 16]);
    // a function that is recomputed keeps what is there, since it is there for a short time only
    let (same, more) = gradient_and_kept(&text.replace("attribute", "remat"), &args, &[0, 1]);
    assert!(more.len() > 4, "{more:?}");
    let bits = |v: &[Value]| -> Vec<u64> { v.iter().flat_map(floats).map(f64::to_bits).collect() };
    assert_eq!(bits(&gradient), bits(&same));
    let none = gradient_and_kept(&lean, &[seeds(&[16], 1), seeds(&[3, 16], 2), Value::int(0)], &[0, 1]);
    assert_eq!(floats(&none.0[2]), [0.0; 48]);
}

/// A product is computed again if its inner axis is short; else it costs more than its place.
#[test]
fn long_products_are_kept() {
    let text = |inner: usize| {
        format!(
            r#"func @f(%x: f64[30, {inner}], %w: f64[4, {inner}, 8]) {{
  %n: i64 = const 4
  %zero: i64 = const 0
  %none: f64 = const 0.0
  %y: f64 = for %i < %n, %s: f64 = %none {{
    %0: f64[1, {inner}, 8] = slice %w, %i, %zero, %zero
    %1: f64[{inner}, 8] = reshape %0
    %z: f64[30, 8] = contract %x, %1, "ab,bc->ac"
    %2: f64[30, 8] = mul %z, %z
    %3: f64 = sum %2, axes: [0, 1]
    %4: f64 = add %s, %3
    yield %4
  }}
  return %y
}}"#
        )
    };
    let kept = |inner: usize| {
        let args = [seeds(&[30, inner], 1), seeds(&[4, inner, 8], 2)];
        check(&text(inner), args.to_vec(), &[0, 1]);
        gradient_and_kept(&text(inner), &args, &[0, 1]).1
    };
    assert!(kept(20).is_empty());
    assert_eq!(kept(64), [240]);
}

/// Arrays that grow in a loop are not kept whole for each iteration, also where a branch reads them.
#[test]
fn arrays_that_are_updated_in_place_are_not_kept() {
    let text = r#"func @f(%x: f64[50], %n: i64) {
  %y: f64[50] = for %i < %n, %b: f64[50] = %x {
    %two: i64 = const 2
    %r: i64 = rem %i, %two
    %zero: i64 = const 0
    %even: bool = eq %r, %zero
    %0: f64[1] = if %even {
      %1: f64[1] = slice %b, %i
      %2: f64[1] = mul %1, %1
      yield %2
    } else {
      %3: f64[1] = slice %b, %zero
      %4: f64[1] = slice %b, %i
      %5: f64[1] = mul %3, %4
      yield %5
    }
    %6: f64[50] = update_slice %b, %0, %i, mode: set
    yield %6
  }
  return %y
}"#;
    let args = vec![seeds(&[50], 1), Value::int(9)];
    check(text, args.clone(), &[0]);
    let module = derived(&case(text, args, &[0]), true);
    let f = &module.funcs[0];
    f.body.visit_insts(&mut |i| {
        let whole = |r: &tdl_ir::ValueId| f.ty(*r).rank() == 2 && f.ty(*r).dims()[1] == tdl_ir::Dim::Const(50);
        assert!(!i.results.iter().any(whole), "{}", tdl_ir::print(&module));
    });
}

#[test]
fn differentiated_code_prints_once_and_in_order() {
    let text = r#"func @f(%x: f64, %n: i64) effects {
  %y: f64 = for %i < %n, %a: f64 = %x {
    print "step {}", %i
    %0: f64 = sin %a
    yield %0
  }
  print "done"
  return %y
}

func @g(%x: f64, %n: i64) effects {
  %one: f64 = const 1.0
  %y: f64 = call @f(%x, %n)
  print "between"
  %z: f64, %d: f64 = vjp @f(%x, %n, %one), wrt: [0]
  %w: f64, %e: f64 = jvp @f(%x, %n, %one), wrt: [0]
  return %d, %e
}"#;
    let printed = |text: &str, root: u32| {
        let module = tdl_ir::parse(text).unwrap_or_else(|e| panic!("{e}"));
        let mut flat = tdl_transform::differentiate(&module, &[FuncId(root)], true).expect("flat");
        tdl_transform::optimize(&mut flat, true).expect("optimized");
        let mut host = tdl_ir::interp::PlainHost::default();
        let args = vec![f64s(&[], &[0.5]), Value::int(2)];
        let out = tdl_ir::interp::Interp::new(&flat).run(FuncId(0), args, &mut host).expect("runs");
        assert_eq!(floats(&out[0]), floats(&out[1]));
        host.out
    };
    let once = "step 0\nstep 1\ndone\n";
    assert_eq!(printed(text, 1), format!("{once}between\n{once}"));
    // also where it would be computed again
    let again = text.replace("%n: i64) effects {\n  %y: f64 = for", "%n: i64) remat, effects {\n  %y: f64 = for");
    let again = again.replace(
        "func @g(",
        "func @h(%x: f64, %n: i64) effects {\n  %y: f64 = call @f(%x, %n)\n  return %y\n}\n\nfunc @g(",
    );
    let again = again.replace("call @f(%x, %n)\n  print", "call @h(%x, %n)\n  print").replace("vjp @f", "vjp @h");
    assert!(again.contains("remat"));
    assert_eq!(printed(&again, 2), format!("{once}between\n{once}"));
}
