//! Kernels as a grid of threads: what they look like, and that the verifier accepts them.

use tdl_loops::ir::{Device, Expr, Grid, Kernel, Per, RuntimeCall, Stmt};
use tdl_loops::{Options, Program, Target, lower, print, verify};

fn gpu(text: &str) -> Program {
    let module = tdl_ir::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
    let options = Options { roots: module.ids().collect(), target: Target::Gpu, ..Options::default() };
    let program = lower(&module, &options).expect("no derivatives");
    verify(&program).unwrap_or_else(|e| panic!("{e}"));
    program
}

#[test]
fn rows_are_reduced_by_blocks() {
    insta::assert_snapshot!("rows", print(&gpu(include_str!("programs/rows.tdlir"))));
}

#[test]
fn programs_verify() {
    for text in [include_str!("programs/mlp_step.tdlir"), include_str!("programs/while_in_for.tdlir")] {
        let program = gpu(text);
        assert!(program.kernels.iter().all(|k| k.grid.is_some()));
    }
}

#[test]
fn elements_are_steps_of_threads() {
    let program = gpu("func @f(%n: i64, %m: i64, %x: f32[%n, %m]) {\n  %y: f32[%n, %m] = exp %x\n  return %y\n}\n");
    let [k] = program.kernels.as_slice() else { panic!("{}", print(&program)) };
    assert!(matches!(k.grid, Some(Grid { per: Per::Thread, .. })), "{}", print(&program));
}

/// How often something stands in a kernel.
fn count(k: &Kernel, what: &dyn Fn(&Stmt) -> bool) -> usize {
    statements(&k.body, what)
}

fn statements(body: &[Stmt], what: &dyn Fn(&Stmt) -> bool) -> usize {
    let inside = |s: &Stmt| s.blocks().into_iter().map(|b| statements(b, what)).sum::<usize>();
    body.iter().map(|s| usize::from(what(s)) + inside(s)).sum()
}

fn device(what: impl Fn(&Device) -> bool + 'static) -> Box<dyn Fn(&Stmt) -> bool> {
    Box::new(move |s| matches!(s, Stmt::Device(d) if what(d)))
}

#[test]
fn contiguous_elements_are_accessed_together() {
    let program = gpu("func @f(%n: i64, %m: i64, %x: bf16[%n, %m], %b: f32[%m]) {
  %c: f32[%n, %m] = expand %b, axes: [0]
  %w: f32[%n, %m] = convert %x
  %y: f32[%n, %m] = add %w, %c
  return %y
}
");
    let [k] = program.kernels.as_slice() else { panic!("{}", print(&program)) };
    let loads = |n| device(move |d| matches!(d, Device::Load { dst, .. } if dst.len() == n));
    let stores = device(|d| matches!(d, Device::Store { values, .. } if values.len() == 4));
    // eight elements of the narrowest operand, the others in halves
    let found = [count(k, &loads(8)), count(k, &loads(4)), count(k, &stores)];
    assert_eq!(found, [1, 2, 2], "{}", print(&program));
}

#[test]
fn short_rows_are_those_of_warps() {
    let sum = |m: &str, size: &str| {
        gpu(&format!(
            "func @f(%n: i64{m}, %x: f32[%n, {size}]) {{\n  %y: f32[%n] = sum %x, axes: [1]\n  return %y\n}}\n"
        ))
    };
    let shared = |k: &Kernel| count(k, &|s| matches!(s, Stmt::Shared { .. }));
    let per = |k: &Kernel| k.grid.map(|g| g.per);
    let shuffles = device(|d| matches!(d, Device::Shuffle { .. }));
    let known = sum("", "96");
    let [k] = known.kernels.as_slice() else { panic!("{}", print(&known)) };
    assert_eq!((per(k), shared(k), count(k, &shuffles)), (Some(Per::Warp), 0, 5), "{}", print(&known));
    let long = sum("", "4096");
    let [k] = long.kernels.as_slice() else { panic!("{}", print(&long)) };
    assert_eq!((per(k), shared(k), count(k, &shuffles)), (Some(Per::Block), 1, 8), "{}", print(&long));
    let unknown = sum(", %m: i64", "%m");
    let [rows, short] = unknown.kernels.as_slice() else { panic!("{}", print(&unknown)) };
    assert_eq!((per(rows), per(short)), (Some(Per::Block), Some(Per::Warp)), "{}", print(&unknown));
    let choice = |s: &Stmt| matches!(s, Stmt::If(i) if matches!((i.then.as_slice(), i.els.as_slice()), ([Stmt::Launch { .. }], [Stmt::Launch { .. }])));
    assert!(unknown.funcs[0].body.iter().any(choice), "{}", print(&unknown));
}

#[test]
fn long_products_with_few_tiles_are_made_in_parts() {
    let names = |k: &str| {
        let program = gpu(&format!(
            "func @f(%n: i64, %x: bf16[64, {k}], %y: bf16[{k}, 64]) {{\n  %z: bf16[64, 64] = contract %x, %y, \"ab,bc->ac\"\n  return %z\n}}\n"
        ));
        program.kernels.iter().map(|k| k.name.rsplit_once('.').map_or("", |n| n.0).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("256"), ["product.bf16.64"]);
    assert_eq!(names("8192"), ["product.bf16.64", "product.bf16.parts"]);
    assert_eq!(names("%n"), ["product.bf16.64", "product.bf16.parts", "product.bf16.64"]);
}

#[test]
fn few_columns_are_read_by_lines() {
    let kernel = |x: &str, y: &str, labels: &str, z: &str| {
        let program = gpu(&format!(
            "func @f(%n: i64, %x: f32[{x}], %y: f32[{y}]) {{\n  %z: f32[{z}] = contract %x, %y, \"{labels}\"\n  return %z\n}}\n"
        ));
        let names = program.kernels.iter().map(|k| k.name.rsplit_once('.').map_or("", |n| n.0).to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(kernel("%n, 640", "2, 640", "ab,cb->ac", "%n, 2"), ["product.f32.lines"]);
    assert_eq!(kernel("4, 640", "640, %n", "ab,bc->ac", "4, %n"), ["product.f32.columns"]);
    assert_eq!(kernel("%n, 640", "8, 640", "ab,cb->ac", "%n, 8"), ["product.f32.lines"]);
    assert_eq!(kernel("32, 4096", "5, 4096", "ab,cb->ac", "32, 5"), ["product.f32.lines", "product.f32.parts"]);
    let tiles = ["product.f32.128", "product.f32.64"];
    assert_eq!(kernel("%n, 640", "9, 640", "ab,cb->ac", "%n, 9"), tiles);
    // a row of the second operand is not where a row of the first one is
    assert_eq!(kernel("%n, 640", "640, 8", "ab,bc->ac", "%n, 8"), tiles);
}

#[test]
fn scans_are_those_of_teams() {
    let scan = |dims: &str, axis: usize| {
        gpu(&format!(
            "func @f(%n: i64, %x: f32[{dims}]) {{\n  %y: f32[{dims}] = cumsum %x, axis: {axis}\n  return %y\n}}\n"
        ))
    };
    let kinds = |p: &Program| {
        let kind = |k: &Kernel| (k.name.rsplit_once('.').map_or("", |n| n.0).to_owned(), k.grid.map(|g| g.per));
        p.kernels.iter().map(kind).collect::<Vec<_>>()
    };
    let is = |kind: &str, per| (kind.to_owned(), Some(per));
    assert_eq!(kinds(&scan("%n, 32", 1)), [is("scan", Per::Thread)]);
    let warps = scan("%n, 512", 1);
    assert_eq!(kinds(&warps), [is("scan", Per::Warp)]);
    let k = &warps.kernels[0];
    let wide = device(|d| matches!(d, Device::Load { .. } | Device::Store { .. }));
    let shuffles = device(|d| matches!(d, Device::Shuffle { .. }));
    assert_eq!((count(k, &wide), count(k, &shuffles)), (2, 5), "{}", print(&warps));
    assert_eq!(kinds(&scan("1000, 5000", 1)), [is("scan", Per::Block)]);
    assert_eq!(kinds(&scan("2, 100000", 1)), [is("scan.parts", Per::Block), is("scan", Per::Block)]);
    assert_eq!(kinds(&scan("200000, 60", 0)), [is("scan.parts", Per::Thread), is("scan", Per::Thread)]);
    assert_eq!(kinds(&scan("1000, 200000", 0)), [is("scan", Per::Thread)]);
}

#[test]
fn rows_are_sorted_by_kernels() {
    let names = |m: &str| {
        let program = gpu(&format!(
            "func @f(%n: i64, %x: f32[%n, {m}]) {{\n  %y: f32[%n, {m}], %i: i64[%n, {m}] = sort %x, axis: 1\n  return %y, %i\n}}\n"
        ));
        let call = |s: &Stmt| matches!(s, Stmt::Runtime { call, .. } if !matches!(call, RuntimeCall::Segment { .. }));
        assert!(count_host(&program, &call) == 0, "{}", print(&program));
        program.kernels.iter().map(|k| k.name.rsplit_once('.').map_or("", |n| n.0).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("50"), ["sort"]);
    assert_eq!(names("1024"), ["sort"]);
    // from one memory to another and back
    assert_eq!(names("5000"), ["sort", "sort.merge", "sort.place"]);
    assert_eq!(names("%n"), ["sort", "sort", "sort.merge", "sort.place"]);
}

#[test]
fn what_follows_a_product_is_done_by_its_kernel() {
    let names = |rest: &str, results: &str| {
        let program = gpu(&format!(
            "func @f(%x: f32[128, 64], %y: f32[64, 256], %b: f32[256]) {{\n  %z: f32[128, 256] = contract %x, %y, \"ab,bc->ac\"\n  %c: f32[128, 256] = expand %b, axes: [0]\n  %d: f32[128, 256] = add %z, %c\n{rest}  return {results}\n}}\n"
        ));
        program.kernels.iter().map(|k| k.name.rsplit_once('.').map_or("", |n| n.0).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("", "%d"), ["product.f32.64.fused"]);
    let two = "  %e: f32[128, 256] = exp %d\n  %g: f16[128, 256] = convert %z\n";
    assert_eq!(names(two, "%e, %g"), ["product.f32.64.fused"]);
    // somebody else reads the product
    assert_eq!(names("", "%d, %z"), ["product.f32.64", "map.add"]);
    // the sums of parts go on where they are added
    let program = gpu("func @f(%x: f32[16, 8192], %y: f32[8192, 16]) {
  %z: f32[16, 16] = contract %x, %y, \"ab,bc->ac\"
  %d: f32[16, 16] = exp %z
  return %d
}
");
    let last = program.kernels.last().map_or("", |k| &k.name);
    assert!(last.starts_with("product.f32.parts.fused"), "{}", print(&program));
    // rows of it are added up, for which no thread has them
    assert_eq!(names("  %e: f32[128] = sum %d, axes: [1]\n", "%e")[0], "product.f32.64");
}

#[test]
fn rows_are_added_in_the_order_of_their_numbers() {
    let names = |n: &str, mode: &str| {
        let program = gpu(&format!(
            "func @f(%n: i64, %x: f32[9, 5], %i: i64[{n}], %u: f32[{n}, 5]) {{\n  %y: f32[9, 5] = scatter %x, %i, %u, mode: {mode}\n  return %y\n}}\n"
        ));
        program.kernels.iter().map(|k| k.name.rsplit_once('.').map_or("", |n| n.0).to_owned()).collect::<Vec<_>>()
    };
    // few rows are one team's
    assert_eq!(names("4", "add"), ["scatter"]);
    assert_eq!(names("1000", "set"), ["sort", "scatter"]);
    assert_eq!(names("1000", "add"), ["sort", "scatter", "scatter.pieces"]);
}

fn count_host(p: &Program, what: &dyn Fn(&Stmt) -> bool) -> usize {
    p.funcs.iter().map(|f| statements(&f.body, what)).sum()
}

#[test]
fn the_verifier_knows_the_target() {
    let mut program = gpu(include_str!("programs/rows.tdlir"));
    program.target = Target::Cpu;
    assert!(verify(&program).is_err());
    let mut program = gpu(include_str!("programs/rows.tdlir"));
    let dst = program.kernels[0].lo;
    program.funcs[0].body.insert(0, Stmt::Let { dst, value: Expr::Place(tdl_loops::ir::Place::Thread) });
    assert!(verify(&program).is_err_and(|e| e.to_string().contains("grid")));
    let mut program = gpu(include_str!("programs/rows.tdlir"));
    program.funcs[0].body.insert(0, Device::Group.into());
    assert!(verify(&program).is_err_and(|e| e.to_string().contains("another target")));
    let mut program = gpu(include_str!("programs/rows.tdlir"));
    program.kernels[0].body.push(Stmt::Barrier(Per::Thread));
    assert!(verify(&program).is_err_and(|e| e.to_string().contains("one thread")));
    let mut program = gpu(include_str!("programs/rows.tdlir"));
    program.kernels[0].body.push(Stmt::Safepoint);
    assert!(verify(&program).is_err());
}

/// Where iterations that launch kernels begin and end is marked, with how deep they are; other loops of the host are not.
#[test]
fn iterations_are_marked() {
    let text = "func @f(%n: i64, %m: i64, %x: f32[100]) {
  %zero: i64 = const 0
  %y: f32[100], %k: i64 = for %i < %n, %a: f32[100] = %x, %s: i64 = %zero {
    %b: f32[100] = for %j < %m, %c: f32[100] = %a {
      %d: f32[100] = sin %c
      yield %d
    }
    %t: i64 = for %l < %m, %u: i64 = %s {
      %v: i64 = mul %u, %l
      yield %v
    }
    yield %b, %t
  }
  return %y, %k
}
";
    let shown = print(&gpu(text));
    let marks: Vec<&str> = shown.lines().map(str::trim).filter(|l| l.starts_with("segment ")).collect();
    let expected = ["segment 0 at depth 1", "segment 1 at depth 2", "segment 2 at depth 2", "segment 3 at depth 1"];
    assert_eq!(marks, expected, "{shown}");
    let module = tdl_ir::parse(text).expect("it is text");
    let options = Options { roots: module.ids().collect(), ..Options::default() };
    assert!(!print(&lower(&module, &options).expect("no derivatives")).contains("segment"), "not on the processor");
}
