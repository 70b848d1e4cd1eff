//! What a profile counts.

mod support;

use support::check::arguments;
use tdl_loops::ir::TaskKind;
use tdl_loops::{Options, lower, verify};

/// Name, flops and bytes of each call that is no allocation, without the kernels' numbers.
fn counts(text: &str, sizes: &[i64]) -> Vec<(String, i64, i64)> {
    let module = tdl_ir::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
    let id = module.ids().next().expect("a function");
    let options = Options { roots: vec![id], profile: true, ..Options::default() };
    let program = lower(&module, &options).expect("no derivatives");
    verify(&program).unwrap_or_else(|e| panic!("{e}\n{}", tdl_loops::print(&program)));
    let mut machine = support::Machine::new(&program);
    machine.run(0, &arguments(&module, id, sizes)).expect("no failure");
    let tasks = program.tasks.as_deref().expect("a profile");
    let mut out = Vec::new();
    for (task, flops, bytes) in &machine.tocks {
        let t = &tasks[task.0 as usize];
        if t.kind != TaskKind::Allocation {
            let name = t.name.rsplit_once(".k").map_or(&*t.name, |(n, _)| n);
            out.push((name.to_owned(), *flops, *bytes));
        }
    }
    out
}

#[track_caller]
fn check(text: &str, sizes: &[i64], expected: &[(&str, i64, i64)]) {
    let found = counts(text, sizes);
    let found: Vec<(&str, i64, i64)> = found.iter().map(|(n, f, b)| (&**n, *f, *b)).collect();
    assert_eq!(found, expected);
}

#[test]
fn elementwise_operations_count_once_for_each_element() {
    // exp counts 12; the row is read once, though it is used in every row
    let text = r#"
func @f(%n: i64, %x: f32[%n, 16], %r: f32[16]) {
  %e: f32[16] = exp %r
  %b: f32[%n, 16] = expand %e, axes: [0]
  %y: f32[%n, 16] = mul %x, %b
  %z: f32[%n, 16] = add %y, %x
  return %z
}
"#;
    for n in [1, 5, 100] {
        let all = counts(text, &[n]);
        let (flops, bytes) = all.iter().fold((0, 0), |(f, b), c| (f + c.1, b + c.2));
        assert_eq!(flops, 12 * 16 + 2 * 16 * n, "{all:?}");
        // the exponentials may have memory of their own
        let own = all.iter().filter(|c| c.1 == 12 * 16).map(|_| 2 * 4 * 16).sum::<i64>();
        assert_eq!(bytes - own, 4 * (2 * 16 * n + 16), "{all:?}");
    }
}

#[test]
fn reductions_count_their_elements() {
    let text = r#"
func @f(%n: i64, %x: f64[%n, 32]) {
  %e: f64[%n, 32] = exp %x
  %s: f64[%n] = sum %e, axes: [1]
  return %s
}
"#;
    check(text, &[20], &[("rows.exp", 13 * 20 * 32, 8 * (20 * 32 + 20))]);
}

#[test]
fn slices_count_what_they_read() {
    let text = r#"
func @f(%n: i64, %x: f32[%n, 64]) {
  %zero: i64 = const 0
  %at: i64 = const 3
  %s: f32[%n, 32] = slice %x, %zero, %at, steps: [1, 1]
  %y: f32[%n, 32] = mul %s, %s
  return %y
}
"#;
    check(text, &[10], &[("map.mul", 320, 4 * (320 + 320))]);
}

#[test]
fn a_tensor_that_is_read_in_two_ways_is_read_once() {
    let text = r#"
func @f(%n: i64, %x: f32[%n, %n]) {
  %t: f32[%n, %n] = permute %x, perm: [1, 0]
  %y: f32[%n, %n] = add %x, %t
  return %y
}
"#;
    let all = counts(text, &[20]);
    assert_eq!(all.iter().map(|c| (c.1, c.2)).collect::<Vec<_>>(), [(400, 4 * 800)]);
}

#[test]
fn products_count_two_operations_a_step() {
    let text = r#"
func @f(%n: i64, %a: f32[7, %n, 5], %b: f32[5, 6]) {
  %c: f32[7, %n, 6] = contract %a, %b, "bij,jk->bik"
  return %c
}
"#;
    check(text, &[4], &[("gemm", 2 * 7 * 4 * 5 * 6, 4 * (7 * 4 * 5 + 5 * 6 + 7 * 4 * 6))]);
}

#[test]
fn every_iteration_counts() {
    let text = r#"
func @f(%n: i64, %x: f32[32]) {
  %y: f32[32] = for %i < %n, %c: f32[32] = %x {
    %d: f32[32] = mul %c, %c
    yield %d
  }
  return %y
}
"#;
    let all = counts(text, &[3]);
    let muls: Vec<_> = all.iter().filter(|c| c.0 == "map.mul").map(|c| (c.1, c.2)).collect();
    assert_eq!(muls, [(32, 4 * 64); 3], "{all:?}");
}
