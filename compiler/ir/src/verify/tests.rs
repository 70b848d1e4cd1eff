use crate::{parse, verify};

/// The text parses, and the verifier finds this fault.
#[track_caller]
fn refused(text: &str, fault: &str) {
    let module = match parse(text) {
        Ok(m) => m,
        Err(e) => panic!("{e}"),
    };
    let e = verify(&module).expect_err("must be refused");
    assert_eq!(e.message, fault);
    assert!(e.ir.is_some());
}

/// One instruction in a function with some parameters.
#[track_caller]
fn inst(line: &str, fault: &str) {
    let params = "%n: i64, %c: bool, %x: f32[%n, 4], %y: f32[3, 4], %i: i64[3], %s: f32, %t: str";
    refused(&format!("func @f({params}) {{\n  {line}\n}}"), &format!("in `f`: {fault}"));
}

#[test]
fn values_of_a_region_are_not_seen_outside() {
    refused(
        "func @f(%c: bool, %x: f32) {\n  if %c {\n    %y: f32 = exp %x\n  } else {\n  }\n  return %y\n}",
        "in `f`: %y (value 2) is used where it is not defined",
    );
}

#[test]
fn extents_are_visible_i64_scalars() {
    refused("func @f(%s: f32, %x: f32[%s]) {\n}", "in `f`: the extent %s (value 0) of %x (value 1) is no i64 scalar");
    refused("func @f(%x: f32[-1]) {\n}", "in `f`: %x (value 0) has the negative extent -1");
}

#[test]
fn an_extent_of_a_parameter_may_be_computed_from_others() {
    let module = parse("func @f(%n: i64, %x: f32[%m]) {\n  %m: i64 = add %n, %n\n  %y: f32[%m] = exp %x\n}");
    assert!(module.is_ok_and(|m| verify(&m).is_ok()));
    refused(
        "func @f(%x: f32[%m]) {\n  %m: f32 = const 1.0\n}",
        "in `f`: the extent %m (value 0) of %x (value 1) is no i64 scalar",
    );
    refused(
        "func @f(%c: bool, %n: i64, %x: f32[%m]) {\n  if %c {\n    %m: i64 = add %n, %n\n  } else {\n  }\n}",
        "in `f`: %m (value 2) is used where it is not defined, as an extent of %x (value 3)",
    );
}

#[test]
fn operands_have_the_dtype_rank_and_extents_of_their_op() {
    inst("%z: f32[%n, 4] = add %x, %s", "%z (value 7) = add: an operand is f32, not f32[%0, 4]");
}

#[test]
fn symbolic_extents_agree_with_anything_but_constants_must_match() {
    let ok = "func @f(%n: i64, %x: f32[%n], %y: f32[3], %z: f32[4]) {\n  %0: f32[%n] = add %x, %y\n}";
    assert!(verify(&parse(ok).expect("parses")).is_ok());
    refused(
        "func @f(%y: f32[3], %z: f32[4]) {\n  %0: f32[3] = add %y, %z\n}",
        "in `f`: value 2 = add: an operand is f32[4], not f32[3]",
    );
}

#[test]
fn each_family_checks_its_shapes() {
    inst("%z: i64[3] = exp %i", "%z (value 7) = exp: takes a float, not i64");
    inst("%z: f32 = add %s", "%z (value 7) = add: 1 operands, not 2");
    inst("%z: f32[4] = sum %y, axes: [1]", "%z (value 7) = sum: the result is f32[4], not f32[3]");
    inst("%z: f32[3] = sum %y, axes: [2]", "%z (value 7) = sum: axes [2] of rank 2");
    inst("%z: f32[4, 4] = permute %y, perm: [1, 0]", "%z (value 7) = permute: the axes do not follow");
    inst("%z: f32[3, 4] = permute %y, perm: [1, 1]", "%z (value 7) = permute: [1, 1] is no permutation");
    inst("%z: f32[11] = reshape %y", "%z (value 7) = reshape: 12 elements become 11");
    inst("%z: f32[2, 3, 5] = expand %y, axes: [0]", "%z (value 7) = expand: the old axes change");
    inst("%z: f32[5, 4] = concat %y, %y, axis: 0", "%z (value 7) = concat: 6 rows in all");
    inst("%z: f32[3, 4] = gather %y, %s", "%z (value 7) = gather: the ids are not i64");
    inst("%z: f32[3] = contract %y, %s, \"ab,->a\"", "%z (value 7) = contract: label 98 is alone");
    inst("%z: f32[3, 3] = contract %y, %i, \"ab,b->ab\"", "%z (value 7) = contract: f32 with i64 gives f32");
    inst("%z: i64[4] = dense [1, 2]", "%z (value 7) = dense: 16 bytes, not 32");
    inst("%z: i64[2] = random_normal %n, %n", "%z (value 7) = random_normal: cannot draw i64");
    inst("print \"{}\", %n, %n", "print: 2 operands, not 1");
    inst("assert %n, user, \"no\"", "assert: the condition is i64, not bool");
    inst("%z: bool = exists %s", "%z (value 7) = exists: the path is f32, not str");
}

#[test]
fn regions_yield_what_the_results_are() {
    inst(
        "%z: f32 = if %c {\n    yield %n\n  } else {\n    yield %s\n  }",
        "%z (value 7) = if: a yielded value is i64, not f32",
    );
    inst("for %k < %n, %a: f32 = %s {\n  }", "for: 2 operands, not 1");
}

#[test]
fn calls_fit_signatures_and_never_recur() {
    refused("func @f(%x: f32) {\n  call @f(%x)\n}", "`f` calls itself");
    refused("func @f() {\n  call @g()\n}\nfunc @g() {\n  call @f()\n}", "`f` calls itself");
    refused(
        "func @g(%x: f32) {\n  return %x\n}\nfunc @f(%x: f64) {\n  %y: f32 = call @g(%x)\n}",
        "in `f`: %y (value 1) = call: an argument is f64, not f32",
    );
    refused(
        "func @g(%x: i64) {\n  return %x\n}\nfunc @f(%x: i64) {\n  %y: i64, %d: i64 = vjp @g(%x), wrt: [0]\n}",
        "in `f`: %y (value 1) = vjp: a parameter without floats is differentiated",
    );
}
