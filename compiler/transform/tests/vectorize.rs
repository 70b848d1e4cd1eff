//! Loops whose iterations are independent, on textual IR.

use tdl_ir::interp::{Interp, PlainHost, Value};
use tdl_ir::{FuncId, Module};

fn parse(text: &str) -> Module {
    let module = tdl_ir::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    tdl_ir::verify(&module).unwrap_or_else(|e| panic!("{}", e.message));
    module
}

fn run(module: &Module, args: &[Value]) -> Result<Vec<Value>, String> {
    Interp::new(module).run(FuncId(0), args.to_vec(), &mut PlainHost::default()).map_err(|e| e.message)
}

/// The function after the pass (which runs where calls are inlined); whether a loop is left.
fn vectorized(text: &str) -> (Module, Module, bool) {
    let before = parse(text);
    let after = tdl_transform::differentiate(&before, &[FuncId(0)], true).unwrap_or_else(|e| panic!("{e:?}"));
    let mut loops = false;
    after.funcs[0].body.visit_insts(&mut |i| loops |= matches!(i.op, tdl_ir::Op::For));
    (before, after, loops)
}

#[track_caller]
fn same(text: &str, args: &[Value], loops: bool) {
    let (before, after, left) = vectorized(text);
    assert_eq!(left, loops, "{}", tdl_ir::print(&after));
    assert_eq!(run(&before, args), run(&after, args), "{}", tdl_ir::print(&after));
}

fn table() -> Value {
    let text = "func @f() {\n  %0: i64[12] = iota\n  %1: i64[3, 4] = reshape %0\n  return %1\n}\n";
    run(&parse(text), &[]).expect("a constant")[0].clone()
}

/// A loop over the rows of `%x: i64[3, 4]` that writes `%row: i64[1]` into `i64[3]`.
fn rows(body: &str) -> String {
    let body: Vec<String> = body.lines().map(|l| format!("    {}", l.trim())).collect();
    format!(
        "func @f(%x: i64[3, 4], %k: i64) {{
  %n: i64 = const 3
  %zero: i64 = const 0
  %one: i64 = const 1
  %init: i64[3] = expand %zero, axes: [0]
  %out: i64[3] = for %i < %n, %acc: i64[3] = %init {{
{}
    %next: i64[3] = update_slice %acc, %row, %i, mode: set
    yield %next
  }}
  return %out
}}
",
        body.join("\n")
    )
}

#[test]
fn a_column_is_a_slice() {
    let text = rows("%a: i64[1, 1] = slice %x, %i, %one\n %row: i64[1] = reshape %a");
    same(&text, &[table(), Value::int(0)], false);
    let (_, after, _) = vectorized(&text);
    assert!(!tdl_ir::print(&after).contains("gather"));
}

#[test]
fn a_diagonal_is_a_gather() {
    let text = rows("%a: i64[1, 1] = slice %x, %i, %i\n %row: i64[1] = reshape %a");
    same(&text, &[table(), Value::int(0)], false);
}

#[test]
fn windows_and_strides() {
    let text = rows("%a: i64[1, 2] = slice %x, %i, %i\n %b: i64[1] = sum %a, axes: [1]\n %row: i64[1] = neg %b");
    same(&text, &[table(), Value::int(0)], false);
    let text = rows(
        "%two: i64 = const 2
         %j: i64 = sub %two, %i
         %a: i64[1, 4] = slice %x, %j, %zero
         %b: i64[1] = max %a, axes: [1]
         %row: i64[1] = add %b, %b",
    );
    same(&text, &[table(), Value::int(0)], false);
}

#[test]
fn a_check_names_the_first_that_fails() {
    let text = rows(
        "%j: i64 = add %i, %k
         %four: i64 = const 4
         %ok: bool = lt %j, %four
         assert %ok, index, \"index {} is out of range\", %j
         %a: i64[1, 1] = slice %x, %zero, %j
         %row: i64[1] = reshape %a",
    );
    same(&text, &[table(), Value::int(1)], false);
    let (_, after, _) = vectorized(&text);
    assert_eq!(run(&after, &[table(), Value::int(2)]), Err("index 4 is out of range".into()));
}

#[test]
fn a_recurrence_inside_runs_once_for_all() {
    let text = rows(
        "%s: i64 = for %t < %n, %c: i64 = %i {
           %a: i64[1, 1] = slice %x, %i, %t
           %b: i64 = reshape %a
           %d: i64 = mul %c, %k
           %e: i64 = add %d, %b
           yield %e
         }
         %row: i64[1] = reshape %s",
    );
    same(&text, &[table(), Value::int(3)], true);
    let (_, after, _) = vectorized(&text);
    assert_eq!(tdl_ir::print(&after).matches("for ").count(), 1);
}

#[test]
fn a_loop_that_reads_what_it_writes_stays() {
    let text = rows(
        "%a: i64[1] = slice %acc, %zero
         %i1: i64[1] = reshape %i
         %row: i64[1] = add %a, %i1",
    );
    same(&text, &[table(), Value::int(0)], true);
}

#[test]
fn sizes_that_depend_on_the_index_keep_the_loop() {
    let text = rows(
        "%a: i64[1, %i] = slice %x, %zero, %zero
         %row: i64[1] = sum %a, axes: [1]",
    );
    same(&text, &[table(), Value::int(0)], true);
}
