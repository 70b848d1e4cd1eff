//! Steps that are done band by band: which ones, and that their results are those of whole steps.

mod support;

use support::check::{arguments, check_text};
use tdl_loops::bands::Limits;
use tdl_loops::{Options, lower};

/// Groups that are done in bands in a run with these sizes; the results are right.
#[track_caller]
fn groups(text: &str, sizes: &[i64]) -> usize {
    check_text(text, sizes);
    let module = tdl_ir::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
    let id = module.ids().next().expect("a function");
    let bands = Limits { far: 0, chunk: 1, band: i64::MAX, chunks: 1 };
    let program = lower(&module, &Options { roots: vec![id], bands, ..Options::default() }).expect("no derivatives");
    let mut machine = support::Machine::new(&program);
    machine.run(0, &arguments(&module, id, sizes)).expect("no failure");
    machine.bands
}

/// Attention of `n` heads.
const ATTENTION: &str = r#"
func @attention(%n: i64, %q: f32[N, 5, 4], %k: f32[N, 5, 4], %v: f32[N, 5, 3]) {
  %s: f32[N, 5, 5] = contract %q, %k, "hij,hkj->hik"
  %m: f32[N, 5] = max %s, axes: [2]
  %me: f32[N, 5, 5] = expand %m, axes: [2]
  %d: f32[N, 5, 5] = sub %s, %me
  %e: f32[N, 5, 5] = exp %d
  %t: f32[N, 5] = sum %e, axes: [2]
  %te: f32[N, 5, 5] = expand %t, axes: [2]
  %p: f32[N, 5, 5] = div %e, %te
  %y: f32[N, 5, 3] = contract %p, %v, "hik,hkj->hij"
  return %y
}
"#;

#[test]
fn products_and_the_rows_between_them() {
    assert_eq!(groups(&ATTENTION.replace('N', "6"), &[6]), 1);
}

#[test]
fn a_size_that_is_known_only_at_run_time() {
    for n in [0, 1, 7] {
        assert_eq!(groups(&ATTENTION.replace('N', "%n"), &[n]), 1);
    }
}

#[test]
fn places_that_come_from_divisions() {
    let text = r#"
func @pool(%a: f32[6, 4, 3], %b: f32[3, 5], %w: f32[6, 5, 5]) {
  %be: f32[6, 3, 5] = expand %b, axes: [0]
  %x: f32[6, 4, 5] = contract %a, %be, "hij,hjk->hik"
  %zero: i64 = const 0
  %one: i64 = const 1
  %u: f32[6, 2, 5] = slice %x, %zero, %zero, %zero, steps: [1, 2, 1]
  %v: f32[6, 2, 5] = slice %x, %zero, %one, %zero, steps: [1, 2, 1]
  %m: f32[6, 2, 5] = maximum %u, %v
  %y: f32[6, 2, 5] = contract %m, %w, "hij,hjk->hik"
  return %y, %x
}
"#;
    assert_eq!(groups(text, &[]), 1);
}

#[test]
fn steps_that_read_other_bands_are_whole() {
    let text = r#"
func @mixed(%a: f32[6, 4, 3], %b: f32[6, 3, 4], %w: f32[6, 4, 4]) {
  %x: f32[6, 4, 4] = contract %a, %b, "hij,hjk->hik"
  %f: f32[6, 4, 4] = flip %x, axes: [0]
  %e: f32[6, 4, 4] = exp %f
  %y: f32[6, 4, 4] = contract %e, %w, "hij,hjk->hik"
  return %y
}
"#;
    // the second product is written where `x` was
    assert_eq!(groups(text, &[]), 0);
    // the flipped rows go on to it band by band, and `x` stays whole
    assert_eq!(groups(&text.replace("return %y", "return %y, %x"), &[]), 1);
}

#[test]
fn little_work_is_left_as_it_is() {
    let text = ATTENTION.replace('N', "6");
    let module = tdl_ir::parse(&text).expect("a module");
    let program = lower(&module, &Options::default()).expect("no derivatives");
    assert!(!tdl_loops::print(&program).contains("bands"));
}
