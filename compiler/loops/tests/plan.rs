//! What the plan looks like: snapshots of whole programs, and how often they allocate.

mod support;

use support::check::{arguments, check_text};
use tdl_loops::{Options, lower, print};

fn module(text: &str) -> tdl_ir::Module {
    tdl_ir::parse(text).unwrap_or_else(|e| panic!("{e:?}"))
}

fn snapshot(name: &str, text: &str) {
    let module = module(text);
    let roots = module.ids().collect();
    let program = lower(&module, &Options { roots, ..Options::default() }).expect("no derivatives");
    insta::assert_snapshot!(name, print(&program));
}

/// Allocations of a run with these sizes.
fn allocations(text: &str, sizes: &[i64]) -> usize {
    let module = module(text);
    let id = module.ids().next().expect("a function");
    let program = lower(&module, &Options { roots: vec![id], ..Options::default() }).expect("no derivatives");
    let mut machine = support::Machine::new(&program);
    machine.run(0, &arguments(&module, id, sizes)).expect("no failure");
    machine.allocs
}

#[test]
fn rows_are_one_kernel() {
    snapshot("rows", include_str!("programs/rows.tdlir"));
    check_text(include_str!("programs/rows.tdlir"), &[3, 5]);
}

#[test]
fn what_is_far_is_asked_for_ahead() {
    snapshot("large", include_str!("programs/large.tdlir"));
}

#[test]
fn a_training_step_updates_in_place() {
    snapshot("mlp_step", include_str!("programs/mlp_step.tdlir"));
}

#[test]
fn steps_after_the_first_allocate_nothing() {
    let text = include_str!("programs/mlp_step.tdlir").replace("784", "7").replace("512", "6");
    check_text(&text, &[3]);
    assert_eq!(allocations(&text, &[1]), allocations(&text, &[20]));
}

#[test]
fn loops_over_unknown_sizes_allocate_outside() {
    let text = r#"
func @steps(%k: i64, %n: i64, %x: f32[%n, 4], %w: f32[4, 4]) {
  %y: f32[%n, 4] = for %i < %k, %h: f32[%n, 4] = %x {
    %g: f32[%n, 4] = contract %h, %w, "ij,jk->ik"
    %m: f32[%n] = max %g, axes: [1]
    %e: f32[%n, 4] = expand %m, axes: [1]
    %d: f32[%n, 4] = sub %g, %e
    yield %d
  }
  return %y
}
"#;
    assert_eq!(allocations(text, &[1, 3]), allocations(text, &[9, 3]));
}
