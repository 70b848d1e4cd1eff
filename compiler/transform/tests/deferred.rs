//! Sums over a loop's iterations that leave the loop.

use tdl_ir::interp::{Interp, PlainHost, Tensor, Value};
use tdl_ir::{Block, Dtype, FuncId, Module, Op};
use tdl_transform::PASSES;

fn pass(module: &mut Module, name: &str) {
    let pass = PASSES.iter().find(|p| p.name == name).expect("a pass");
    module.funcs.iter_mut().for_each(pass.run);
    tdl_ir::verify(module).unwrap_or_else(|e| panic!("{name}: {}\n{}", e.message, tdl_ir::print(module)));
}

fn run(module: &Module, args: Vec<Value>) -> Vec<Value> {
    let done = Interp::new(module).run(FuncId(0), args, &mut PlainHost::default());
    done.unwrap_or_else(|e| panic!("{e}\n{}", tdl_ir::print(module)))
}

/// Products and sums in the bodies of loops.
fn sums_in_loops(block: &Block, inside: bool) -> usize {
    let of = |i: &tdl_ir::Inst| {
        let here = inside && matches!(i.op, Op::Contract { .. } | Op::Reduce { .. });
        usize::from(here) + i.regions.iter().map(|r| sums_in_loops(r, inside || i.op == Op::For)).sum::<usize>()
    };
    block.insts.iter().map(of).sum()
}

/// The sums that stay in the loop of a function of `x: f64[4, 2, 3]` and `w: f64[3, 5]` with this body; it computes the same
/// as before.
#[track_caller]
fn stay(body: &str) -> usize {
    let text = format!("func @f(%n: i64, %x: f64[4, 2, 3], %w: f64[3, 5]) {{\n{body}\n}}\n");
    let before = tdl_ir::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    tdl_ir::verify(&before).unwrap_or_else(|e| panic!("{}\n{text}", e.message));
    let mut after = before.clone();
    pass(&mut after, "defer");
    pass(&mut after, "dce");
    let tensor = |dims: &[usize], seed: f64| {
        let len = dims.iter().product::<usize>();
        Value::Tensor(Tensor::from_floats(Dtype::F64, dims.to_vec(), (0..len).map(|i| (i as f64 * 0.7 + seed).sin())))
    };
    let args = || vec![Value::int(4), tensor(&[4, 2, 3], 0.1), tensor(&[3, 5], 0.5)];
    for (a, b) in run(&before, args()).iter().zip(run(&after, args())) {
        let (a, b) = (a.tensor().expect("a tensor"), b.tensor().expect("a tensor"));
        assert_eq!(a.shape, b.shape);
        for (x, y) in a.floats().into_iter().zip(b.floats()) {
            assert!((x - y).abs() < 1e-12, "{x} {y}\n{}", tdl_ir::print(&after));
        }
    }
    sums_in_loops(&after.funcs[0].body, false)
}

/// A loop with a step that keeps what it computes in `%kept`, as the transposed loop of a recurrence does: `at` is where, `more`
/// comes before the end of the step, and `sum` is the new `%s`.
fn steps(at: &str, more: &str, sum: &str) -> String {
    format!(
        "
  %zero: f64 = const 0.0
  %none: i64 = const 0
  %three: i64 = const 3
  %four: i64 = const 4
  %z: f64[4, 2, 5] = expand %zero, axes: [0, 1, 2]
  %s0: f64[3, 5] = expand %zero, axes: [0, 1]
  %r: f64[3, 5], %t: f64[4, 2, 5] = for %i < %four, %s: f64[3, 5] = %s0, %kept: f64[4, 2, 5] = %z {{
    %at: i64 = {at}
    %row: f64[1, 2, 3] = slice %x, %at, %none, %none
    %h: f64[2, 3] = reshape %row
    %p: f64[2, 5] = contract %h, %w, lhs: [0, 1], rhs: [1, 2], out: [0, 2]
    %g: f64[2, 5] = tanh %p
    %one: f64[1, 2, 5] = reshape %g
    %next: f64[4, 2, 5] = update_slice %kept, %one, %at, %none, %none, mode: set
    %d: f64[3, 5] = contract %h, %g, lhs: [0, 1], rhs: [0, 2], out: [1, 2]
{more}
    yield {sum}, %next
  }}
  return %r, %t"
    )
}

#[test]
fn a_product_of_what_is_kept_leaves_the_loop() {
    for at in ["sub %three, %i", "add %i, %none"] {
        // only the product that computes the step stays; a place that is not known to be each once keeps the other, too
        let known = if at.starts_with("sub") { 1 } else { 2 };
        assert_eq!(stay(&steps(at, "    %new: f64[3, 5] = add %s, %d", "%new")), known, "{at}");
    }
}

#[test]
fn the_rest_of_a_sum_stays() {
    let more = "
    %e: f64[3, 5] = exp %w
    %both: f64[3, 5] = add %d, %e
    %new: f64[3, 5] = add %both, %s";
    assert_eq!(stay(&steps("sub %three, %i", more, "%new")), 1);
}

#[test]
fn a_sum_that_the_loop_reads_stays() {
    let more = "
    %new: f64[3, 5] = add %s, %d
    %e: f64[3, 5] = exp %s
    %out: f64[3, 5] = mul %e, %new";
    assert_eq!(stay(&steps("sub %three, %i", more, "%out")), 2);
}

#[test]
fn tensors_in_different_orders_stay() {
    let more = "
    %other: f64[1, 2, 3] = slice %x, %i, %none, %none
    %oh: f64[2, 3] = reshape %other
    %od: f64[3, 5] = contract %oh, %g, lhs: [0, 1], rhs: [0, 2], out: [1, 2]
    %new: f64[3, 5] = add %s, %od";
    assert_eq!(stay(&steps("sub %three, %i", more, "%new")), 2);
}

#[test]
fn sums_of_rows_leave_with_shapes_of_their_own() {
    let text = "
  %zero: f64 = const 0.0
  %none: i64 = const 0
  %four: i64 = const 4
  %s0: f64[3] = expand %zero, axes: [0]
  %r: f64[3] = for %i < %four, %s: f64[3] = %s0 {
    %row: f64[1, 2, 3] = slice %x, %i, %none, %none
    %h: f64[1, 3, 2] = reshape %row
    %f: f64[3, 2] = reshape %h
    %d: f64[3] = sum %f, axes: [1]
    %new: f64[3] = add %s, %d
    yield %new
  }
  return %r";
    assert_eq!(stay(text), 0);
}

#[test]
fn fewer_iterations_than_positions_stay() {
    let text = "
  %zero: f64 = const 0.0
  %none: i64 = const 0
  %s0: f64[3] = expand %zero, axes: [0]
  %r: f64[3] = for %i < %n, %s: f64[3] = %s0 {
    %row: f64[1, 2, 3] = slice %x, %i, %none, %none
    %h: f64[2, 3] = reshape %row
    %d: f64[3] = sum %h, axes: [0]
    %new: f64[3] = add %s, %d
    yield %new
  }
  return %r";
    assert_eq!(stay(text), 1);
}
