//! Every op and the ways they meet, against the reference interpreter.

mod support;

use support::check::check_text;

#[test]
fn reductions_along_any_axes() {
    let text = r#"
func @all(%n: i64, %m: i64, %x: f32[%n, %m, 5]) {
  %a: f32[%n] = sum %x, axes: [1, 2]
  %b: f32[5] = sum %x, axes: [0, 1]
  %c: f32[%m] = max %x, axes: [0, 2]
  %d: f32[%n, 5] = min %x, axes: [1]
  %e: f32 = prod %x, axes: [0, 1, 2]
  %f: f32[%n, %m] = sum %x, axes: [2]
  return %a, %b, %c, %d, %e, %f
}
func @half(%n: i64, %m: i64, %x: f16[%n, %m]) {
  %a: f16[%n] = sum %x, axes: [1]
  %b: f16[%m] = sum %x, axes: [0]
  %c: f16 = sum %x, axes: [0, 1]
  %d: f16[%n, %m] = exp %x
  %e: bf16[%n, %m] = convert %d
  return %a, %b, %c, %d, %e
}
func @bools(%n: i64, %m: i64, %x: bool[%n, %m]) {
  %a: bool[%n] = any %x, axes: [1]
  %b: bool[%m] = all %x, axes: [0]
  %c: bool = any %x, axes: [0, 1]
  return %a, %b, %c
}
func @ints(%n: i64, %m: i64, %x: i32[%n, %m], %u: u8[%m]) {
  %a: i32[%n] = sum %x, axes: [1]
  %b: i32[%m] = max %x, axes: [0]
  %c: u8 = sum %u, axes: [0]
  %d: u8 = min %u, axes: [0]
  return %a, %b, %c, %d
}
"#;
    check_text(text, &[4, 7]);
    check_text(text, &[3, 0]);
    check_text(text, &[0, 6]);
    check_text(text, &[1, 700]);
    check_text(text, &[700, 1]);
}

#[test]
fn long_sums_in_chunks() {
    let text = r#"
func @long(%n: i64, %x: f32[%n], %y: f32[%n, 3]) {
  %a: f32 = sum %x, axes: [0]
  %b: f32 = max %x, axes: [0]
  %c: f32[3] = sum %y, axes: [0]
  %d: f32[%n] = sum %y, axes: [1]
  %z: f32[3, %n] = permute %y, perm: [1, 0]
  %e: f32[3] = sum %z, axes: [1]
  %f: f32 = sum %z, axes: [0, 1]
  %q: f32[%n] = mul %x, %x
  %r: f32 = sum %q, axes: [0]
  return %a, %b, %c, %d, %e, %f, %q, %r
}
"#;
    check_text(text, &[200_001]);
    check_text(text, &[0]);
}

#[test]
fn argmax_scan_sort() {
    let text = r#"
func @order(%n: i64, %m: i64, %x: f32[%n, %m], %k: i32[%m]) {
  %a: i64[%n] = argmax %x, axis: 1
  %b: i64[%m] = argmin %x, axis: 0
  %c: i64 = argmax %k, axis: 0
  %d: f32[%n, %m] = cumsum %x, axis: 0
  %e: f32[%n, %m] = cummax %x, axis: 1, reverse
  %f: f32[%n, %m], %g: i64[%n, %m] = sort %x, axis: 0
  %h: i32[%m], %i: i64[%m] = sort %k, axis: 0, descending
  return %a, %b, %c, %d, %e, %f, %g, %h, %i
}
func @nan(%n: i64, %m: i64, %x: f32[%n, %m]) {
  %l: f32[%n, %m] = log %x
  %a: i64[%n] = argmax %l, axis: 1
  %b: i64[%n] = argmin %l, axis: 1
  %c: f32[%n] = max %l, axes: [1]
  %d: f32[%m] = min %l, axes: [0]
  %s: f32[%n, %m], %t: i64[%n, %m] = sort %l, axis: 1
  return %a, %b, %c, %d, %s, %t
}
"#;
    check_text(text, &[5, 9]);
    check_text(text, &[1, 1]);
}

#[test]
fn movement_chains() {
    let text = r#"
func @move(%n: i64, %x: f32[%n, 6], %y: f32[4, 6]) {
  %a: f32[6, %n] = permute %x, perm: [1, 0]
  %nn: i64 = const 6
  %m: i64 = mul %n, %nn
  %b: f32[%m] = reshape %a
  %c: f32[%m] = flip %b, axes: [0]
  %d: f32[%m] = add %b, %c
  %e: f32[%n, 2, 3] = reshape %x
  %f: f32[3, %n, 2] = permute %e, perm: [2, 0, 1]
  %g: f32[3, %m] = expand %d, axes: [0]
  %one: i64 = const 1
  %zero: i64 = const 0
  %h: f32[2, 3] = slice %y, %one, %zero, steps: [2, 2]
  %i: f32[2, 3] = exp %h
  %o: i64[%m] = iota
  %p: f32[%m] = convert %o
  %q: f32[%m] = mul %p, %d
  return %b, %d, %f, %g, %i, %q
}
func @concat(%n: i64, %x: f32[%n, 6], %y: f32[4, 6], %s: f32) {
  %k: i64 = const 4
  %m: i64 = add %n, %k
  %a: f32[%m, 6] = concat %x, %y, axis: 0
  %b: f32[4, 12] = concat %y, %y, axis: 1
  %c: f32[1] = reshape %s
  %t: f32 = mul %s, %s
  %d: f32[1] = reshape %t
  %e: f32[2] = concat %c, %d, axis: 0
  %f: f32[%m, 6] = tanh %a
  return %a, %b, %e, %f
}
"#;
    check_text(text, &[5]);
    check_text(text, &[1]);
}

#[test]
fn indexed_access() {
    let text = r#"
func @rows(%n: i64, %x: f32[%n, 4], %ids: i64[6], %u: f32[6, 4], %mask: bool[%n]) {
  %a: f32[6, 4] = gather %x, %ids
  %b: f32[6, 4] = mul %a, %u
  %c: f32[%n, 4] = scatter %x, %ids, %b, mode: add
  %d: f32[%n, 4] = scatter %x, %ids, %u, mode: set
  %k: i64, %p: i64[%k] = nonzero %mask
  %e: f32[%k, 4] = gather %x, %p
  %one: i64 = const 1
  %zero: i64 = const 0
  %s: f32[1, 4] = slice %x, %one, %zero, steps: [1, 1]
  %s2: f32[1, 4] = add %s, %s
  %f: f32[%n, 4] = update_slice %x, %s2, %one, %zero, mode: set
  %g: f32[%n, 4] = update_slice %f, %s2, %one, %zero, mode: add
  %t: f32[1, 1] = slice %x, %one, %one, steps: [1, 1]
  %v: f32 = reshape %t
  return %a, %c, %d, %k, %e, %g, %v
}
func @over(%n: i64, %x: f32[%n, 4]) {
  %y: f32[%n, 4] = exp %x
  %one: i64 = const 1
  %zero: i64 = const 0
  %m: i64 = sub %n, %one
  %s: f32[%m, 4] = slice %y, %one, %zero, steps: [1, 1]
  %t: f32[%m, 4] = neg %s
  %z: f32[%n, 4] = update_slice %y, %t, %zero, %zero, mode: set
  return %z
}
"#;
    check_text(text, &[5]);
}

#[test]
fn products() {
    let text = r#"
func @contract(%n: i64, %a: f32[%n, 3], %b: f32[3, 5], %v: f32[3], %c: f32[2, %n, 3], %d: f32[2, 3, 4], %e: f32[2, 3, %n, 3], %i: i32[%n, 3], %j: i32[3, 2]) {
  %0: f32[%n, 5] = contract %a, %b, "ij,jk->ik"
  %1: f32[5, %n] = contract %a, %b, "ij,jk->ki"
  %2: f32[%n] = contract %a, %v, "ij,j->i"
  %3: f32[5] = contract %v, %b, "j,jk->k"
  %4: f32 = contract %v, %v, "j,j->"
  %5: f32[3, 3] = contract %v, %v, "i,j->ij"
  %6: f32[2, %n, 4] = contract %c, %d, "bij,bjk->bik"
  %7: f32[%n, %n] = contract %a, %a, "ij,kj->ik"
  %8: f32[3, 3] = contract %a, %a, "ij,ik->jk"
  %9: f32[2, %n, 5] = contract %c, %b, "bij,jk->bik"
  %11: i32[%n, 2] = contract %i, %j, "ij,jk->ik"
  return %0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %11
}
func @views(%n: i64, %x: f32[%n, 8], %w: f32[8, 4]) {
  %z: i64 = const 0
  %two: i64 = const 2
  %xs: f32[%n, 3] = slice %x, %z, %two, steps: [1, 2]
  %ws: f32[3, 4] = slice %w, %two, %z, steps: [2, 1]
  %y: f32[%n, 4] = contract %xs, %ws, "ij,jk->ik"
  %xt: f32[8, %n] = permute %x, perm: [1, 0]
  %e: f32[8, %n] = exp %xt
  %g: f32[%n, 4] = contract %e, %w, "ji,jk->ik"
  %one: f32 = const 1.0
  %o: f32[%n, 8] = expand %one, axes: [0, 1]
  %h: f32[%n, 4] = contract %o, %w, "ij,jk->ik"
  %r: f32[%n, 2, 4] = reshape %x
  %s: f32[%n, 4, 2] = permute %r, perm: [0, 2, 1]
  %w2: f32[4, 2, 4] = reshape %w
  %k: f32[%n, 4] = contract %s, %w2, "iab,abk->ik"
  return %y, %g, %h, %k
}
"#;
    check_text(text, &[4]);
    check_text(text, &[1]);
    check_text(text, &[0]);
}

#[test]
fn loops_carry_in_place_swapped_and_growing() {
    let text = r#"
func @stencil(%n: i64, %x: f32[40]) {
  %y: f32[40] = for %i < %n, %u: f32[40] = %x {
    %z: i64 = const 0
    %two: i64 = const 2
    %one: i64 = const 1
    %a: f32[38] = slice %u, %z, steps: [1]
    %b: f32[38] = slice %u, %two, steps: [1]
    %s: f32[38] = add %a, %b
    %v: f32[40] = update_slice %u, %s, %one, mode: set
    %w: f32[40] = flip %v, axes: [0]
    yield %w
  }
  return %y, %x
}
func @swap(%n: i64, %a: f32[4], %b: f32[4]) {
  %x: f32[4], %y: f32[4], %z: f32[4] = for %i < %n, %p: f32[4] = %a, %q: f32[4] = %b, %r: f32[4] = %a {
    %s: f32[4] = add %p, %q
    yield %q, %p, %s
  }
  return %x, %y, %z
}
func @reverse(%n: i64, %a: f32[4], %h: f32[2, 4], %w: f32[4, 4]) {
  %x: f32[4], %y: f32[2, 4] = for %i < %n, %p: f32[4] = %a, %g0: f32[2, 4] = %h {
    %f: f32[4] = flip %p, axes: [0]
    %g: f32[2, 4] = contract %g0, %w, "ij,jk->ik"
    yield %f, %g
  }
  return %x, %y
}
func @grow(%n: i64, %a: f32[3]) {
  %k0: i64 = const 3
  %k: i64, %out: f32[%k] = for %i < %n, %c: i64 = %k0, %v: f32[%c] = %a {
    %three: i64 = const 3
    %m: i64 = add %c, %three
    %w: f32[%m] = concat %v, %a, axis: 0
    yield %m, %w
  }
  %s: f32 = sum %out, axes: [0]
  return %k, %out, %s
}
func @nested(%n: i64, %a: f32[4], %b: f32[4]) {
  %x: f32[4] = for %i < %n, %p: f32[4] = %a {
    %y: f32[4] = for %j < %i, %q: f32[4] = %p {
      %f: f32[4] = flip %q, axes: [0]
      %g: f32[4] = add %f, %b
      yield %g
    }
    %z: f32[4] = mul %y, %b
    yield %z
  }
  return %x, %a
}
func @whole(%n: i64, %a: f32[4], %s0: f32) {
  %zero: i64 = const 0
  %i: i64, %x: f32[4], %t: f32 = while %j: i64 = %zero, %u: f32[4] = %a, %s: f32 = %s0 {
    %m: f32 = max %u, axes: [0]
    %lim: f32 = const 100.0
    %small: bool = lt %m, %lim
    %few: bool = lt %j, %n
    %go: bool = and %small, %few
    yield %go
  } do %j2: i64, %u2: f32[4], %s2: f32 {
    %one: i64 = const 1
    %j3: i64 = add %j2, %one
    %u3: f32[4] = add %u2, %u2
    %s3: f32 = sum %u3, axes: [0]
    yield %j3, %u3, %s3
  }
  return %i, %x, %t
}
"#;
    for n in [0, 1, 2, 5] {
        check_text(text, &[n]);
    }
}

#[test]
fn branches_update_in_place_or_copy() {
    let text = r#"
func @update(%n: i64, %x: f32[8], %c: bool) {
  %y: f32[8] = exp %x
  %z: f32[8] = if %c {
    %i: i64 = const 2
    %u: f32[2] = slice %x, %i, steps: [1]
    %v: f32[8] = update_slice %y, %u, %i, mode: set
    yield %v
  } else {
    yield %y
  }
  %w: f32[8] = if %c {
    yield %x
  } else {
    %f: f32[8] = flip %z, axes: [0]
    yield %f
  }
  return %z, %w
}
func @sizes(%n: i64, %x: f32[8], %c: bool) {
  %k: i64, %y: f32[%k] = if %c {
    %four: i64 = const 4
    %zero: i64 = const 0
    %a: f32[4] = slice %x, %zero, steps: [2]
    yield %four, %a
  } else {
    %eight: i64 = const 8
    yield %eight, %x
  }
  %s: f32 = sum %y, axes: [0]
  return %k, %y, %s
}
func @scalars(%n: i64, %a: f32, %c: bool, %t: str) {
  %x: f32, %s: str = if %c {
    %u: f32 = exp %a
    %v: str = format "got {} of {.2}", %t, %u
    yield %u, %v
  } else {
    yield %a, %t
  }
  print "{} {}", %x, %s
  return %x, %s
}
"#;
    check_text(text, &[1]);
}

#[test]
fn stacks_keep_what_a_loop_pushes() {
    let text = r#"
func @push(%n: i64, %a: f32[3], %b: f32) {
  %s0: stack<f32[3]> = stack_new
  %t0: stack<f32> = stack_new
  %x: f32[3], %s: stack<f32[3]>, %t: stack<f32> = for %i < %n, %p: f32[3] = %a, %q: stack<f32[3]> = %s0, %r: stack<f32> = %t0 {
    %q2: stack<f32[3]> = stack_push %q, %p
    %m: f32 = max %p, axes: [0]
    %r2: stack<f32> = stack_push %r, %m
    %p2: f32[3] = sin %p
    yield %p2, %q2, %r2
  }
  %k: i64, %all: f32[%k, 3] = stack_tensor %s
  %l: i64, %tops: f32[%l] = stack_tensor %t
  return %x, %k, %all, %tops
}
"#;
    for n in [0, 1, 4] {
        check_text(text, &[n]);
    }
}

#[test]
fn effects_come_in_order() {
    let text = r#"
func @order(%n: i64, %x: f32[4], %ids: i64[2]) {
  %a: f32[4] = exp %x
  print "first {}", %a
  %four: i64 = const 4
  %m: i64 = max %ids, axes: [0]
  %ok: bool = lt %m, %four
  assert %ok, "index {} of {}", %m, %four, index
  %b: f32[2] = gather %a, %ids
  print "{} {}", %b, %x, end: "!"
  %bad: bool = lt %n, %m
  %s: f32 = sum %b, axes: [0]
  assert %bad, "stop {}", %s, user
  print "never"
  return %b
}
func @files(%n: i64, %p: str) {
  %zero: i64 = const 0
  %half: f32 = const 0.5
  %path: i64 = host intern, %p
  %two: i64[2] = expand %zero, axes: [0]
  %like: f32[0] = expand %half, axes: [0]
  %r: i64, %c: i64, %t: f32[%r, %c] = host read_csv, %path, %zero, %two, %like
  %u: f32[2, 3] = load %p, names: ["a"]
  %s: f32[%r] = sum %t, axes: [1]
  %e: bool = exists %p
  save %p, %s, %r, names: ["s", "r"]
  print "{} {} {}", %s, %u, %e
  return %t
}
func @draws(%n: i64, %key: i64, %counter: i64) {
  %a: f32[5] = random_normal %key, %counter
  %b: f64 = random_uniform %key, %counter
  %c: u32[3] = random_bits %key, %counter
  %d: f32[5] = add %a, %a
  return %a, %b, %c, %d
}
"#;
    check_text(text, &[1]);
}

#[test]
fn constants_and_scalars() {
    let text = r#"
func @consts(%n: i64, %x: f32[3]) {
  %d: f32[3] = dense [1.0, 2.0, 3.0]
  %y: f32[3] = mul %d, %x
  %i: i64[4] = dense [1, 2, 3, 4]
  %z: f32 = const 0.0
  %f: f32[3, 2] = expand %z, axes: [0, 1]
  %o: f32 = const 1.5
  %g: f32[%n] = expand %o, axes: [0]
  %e: f32[1] = expand %o, axes: [0]
  return %d, %y, %i, %f, %g, %e, %x
}
func @same(%n: i64, %x: f32[%n]) {
  %y: f32[%n] = neg %x
  return %y, %y, %x
}
"#;
    check_text(text, &[6]);
}

#[test]
fn a_result_seen_in_another_shape_beside_itself() {
    let text = r#"
func @view(%n: i64, %m: i64, %x: f32[%n, %m]) {
  %g: f32[%n, %m] = exp %x
  %r: f32[%n, 1, %m] = reshape %g
  %p: f32[%n, %m, 1] = permute %r, perm: [0, 2, 1]
  %s: f32[%n, %m] = reshape %p
  %t: f32[%n, %m] = neg %s
  return %g, %s, %t
}
func @rows(%n: i64, %m: i64, %x: f32[%n, %m]) {
  %ids: i64[%n] = iota
  %g: f32[%n, %m] = gather %x, %ids
  %r: f32[%n, 1, %m] = reshape %g
  %p: f32[%n, %m, 1] = permute %r, perm: [0, 2, 1]
  %s: f32[%n, %m] = reshape %p
  return %s, %g
}
"#;
    check_text(text, &[3, 5]);
    check_text(text, &[1, 40]);
    check_text(text, &[40, 1]);
}
