//! Loops that update arrays copy none of them, whatever the updates stand in: branches, and after parts that are read later.

mod support;

use support::check::{arguments, check_text};
use tdl_loops::{Options, lower};

/// Equal to the interpreter, and what is copied does not grow with the number of iterations.
fn check(text: &str) {
    for n in [2, 3, 8] {
        check_text(text, &[n]);
    }
    let copied = |n: i64| {
        let module = tdl_ir::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
        let id = module.ids().next().expect("a function");
        let program = lower(&module, &Options { roots: vec![id], ..Options::default() }).expect("no derivatives");
        let mut machine = support::Machine::new(&program);
        machine.run(0, &arguments(&module, id, &[n])).expect("no failure");
        machine.copied
    };
    let (few, many) = (copied(40), copied(400));
    assert!(many <= 20 * few.max(400), "{few} bytes are copied for 40 elements, {many} for 400:\n{text}");
}

/// A loop over `y[1..]`, with the body's text: it may use `%y` (the array), `%i`, `%before` (`i - 1`) and `%c` (a condition).
fn walk(body: &str) -> String {
    format!(
        "func @walk(%n: i64, %x: f64[%n]) {{
  %one: i64 = const 1
  %zero: i64 = const 0
  %half: f64 = const 0.5
  %steps: i64 = sub %n, %one
  %r: f64[%n], %s: f64[%n] = for %k < %steps, %y: f64[%n] = %x, %z: f64[%n] = %x {{
    %i: i64 = add %k, %one
    %before: i64 = sub %i, %one
    %a: f64[1] = slice %y, %before
    %p: f64[1] = slice %y, %i
    %a0: f64 = reshape %a
    %c: bool = lt %a0, %half
{body}
  }}
  return %r, %s
}}"
    )
}

#[test]
fn one_side_of_a_branch_updates_and_reads_a_neighbour() {
    check(&walk(
        "    %w: f64[%n] = if %c {
      %m: f64[1] = mul %p, %a
      %u: f64[%n] = update_slice %y, %m, %i, mode: set
      yield %u
    } else {
      yield %y
    }
    yield %w, %z",
    ));
}

#[test]
fn both_sides_update_and_what_is_read_first_is_used_last() {
    check(&walk(
        "    %w: f64[%n], %v: f64[%n] = if %c {
      %u: f64[%n] = update_slice %y, %a, %i, mode: set
      %t: f64[1] = mul %p, %p
      %u2: f64[%n] = update_slice %u, %t, %before, mode: add
      yield %u2, %z
    } else {
      %q: f64[1] = slice %z, %i
      %none: f64[1] = expand %half, axes: [0]
      %v1: f64[%n] = update_slice %z, %none, %i, mode: set
      %v2: f64[%n] = update_slice %v1, %q, %before, mode: add
      %v3: f64[%n] = update_slice %y, %q, %i, mode: add
      yield %v3, %v2
    }
    yield %w, %v",
    ));
}

#[test]
fn branches_in_branches_and_loops_in_branches() {
    check(&walk(
        "    %w: f64[%n] = if %c {
      %p0: f64 = reshape %p
      %d: bool = lt %p0, %half
      %v: f64[%n] = if %d {
        %u: f64[%n] = update_slice %y, %a, %i, mode: add
        yield %u
      } else {
        %two: i64 = const 2
        %l: f64[%n] = for %j < %two, %g: f64[%n] = %y {
          %b: f64[1] = slice %g, %before
          %u2: f64[%n] = update_slice %g, %b, %i, mode: add
          yield %u2
        }
        yield %l
      }
      yield %v
    } else {
      %u3: f64[%n] = update_slice %y, %p, %before, mode: set
      yield %u3
    }
    yield %w, %z",
    ));
}

#[test]
fn a_part_from_before_the_update_is_used_in_a_branch_after_it() {
    check(&walk(
        "    %none: f64[1] = expand %half, axes: [0]
    %u: f64[%n] = update_slice %y, %none, %i, mode: set
    %w: f64[%n] = if %c {
      %u2: f64[%n] = update_slice %u, %p, %before, mode: add
      yield %u2
    } else {
      yield %u
    }
    yield %w, %z",
    ));
}

#[test]
fn a_region_is_written_from_a_shifted_one() {
    let text = "func @shift(%n: i64, %x: f64[%n, 3]) {
  %one: i64 = const 1
  %zero: i64 = const 0
  %r: f64[%n, 3] = for %k < %n, %y: f64[%n, 3] = %x {
    %a: f64[1, 2] = slice %y, %k, %zero
    %b: f64[1, 2] = mul %a, %a
    %u: f64[%n, 3] = update_slice %y, %b, %k, %one, mode: add
    yield %u
  }
  return %r
}";
    check(text);
}

#[test]
fn rows_are_scattered_from_the_same_array() {
    let text = "func @rows(%n: i64, %x: f64[%n]) {
  %three: i64 = const 3
  %ids: i64[2] = dense [0, 1]
  %r: f64[%n] = for %k < %n, %y: f64[%n] = %x {
    %all: i64[2] = expand %k, axes: [0]
    %sum: i64[2] = add %ids, %all
    %many: i64[2] = expand %n, axes: [0]
    %to: i64[2] = rem %sum, %many
    %a: f64[2] = gather %y, %ids
    %u: f64[%n] = scatter %y, %to, %a, mode: add
    yield %u
  }
  return %r
}";
    check(text);
}
