//! The functions as generated code calls them, and whole programs made by hand.

use std::ffi::c_void;

use tdl_runtime::abi::calls::*;
use tdl_runtime::abi::{Arg, Dtype, Entry, FAILED, OK, Param, Program, Site, TEXT, Text, VERSION, symbols};
use tdl_runtime::fmt::{Piece, encode_pieces};
use tdl_runtime::start::{Options, run};
use tdl_runtime::{Ctx, Output};

fn context() -> Box<Ctx> {
    Ctx::new(2, Output::Capture(String::new()))
}

fn printed(ctx: &Ctx) -> &str {
    match &ctx.output {
        Output::Capture(text) => text,
        Output::Stdout { .. } => panic!("captured"),
    }
}

fn text(s: &'static str) -> Text {
    Text { ptr: s.as_ptr(), len: s.len() as u64 }
}

fn handle(ctx: &mut Ctx, s: &str) -> *const c_void {
    // SAFETY: the text is copied
    unsafe { tdl_text(ctx, s.as_ptr(), s.len() as u64) }
}

fn scalar(dtype: Dtype, bits: u64) -> Arg {
    Arg { dtype: dtype as u32, rank: 0, value: bits, dims: std::ptr::null() }
}

fn tensor<T>(dtype: Dtype, data: &[T], dims: &[i64]) -> Arg {
    Arg { dtype: dtype as u32, rank: dims.len() as u32, value: data.as_ptr() as u64, dims: dims.as_ptr() }
}

#[test]
fn every_function_is_in_the_table() {
    let table: Vec<&str> = symbols().into_iter().map(|(name, _)| name).collect();
    let declared = include_str!("../src/abi/calls.rs").lines().filter_map(|l| {
        let rest = l.split_once("extern \"C\" fn ")?.1;
        rest.starts_with("tdl_").then(|| rest.split('(').next().unwrap_or(rest))
    });
    // the functions of the host are in the table by how they are made
    for name in declared {
        assert!(table.contains(&name), "{name} is not in the table");
    }
    let mut names = table.clone();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), table.len(), "a name is there twice");
}

#[test]
fn layouts_are_those_of_generated_code() {
    use std::mem::{offset_of, size_of};
    assert_eq!((size_of::<Arg>(), offset_of!(Arg, dims)), (24, 16));
    assert_eq!(size_of::<Entry>(), 40);
    assert_eq!((size_of::<Site>(), offset_of!(Site, source), offset_of!(Site, inside)), (64, 32, 48));
    assert_eq!((size_of::<Param>(), offset_of!(Param, default)), (32, 24));
    assert_eq!((size_of::<Program>(), offset_of!(Program, doc)), (72, 40));
    assert_eq!((size_of::<tdl_runtime::abi::Gemm>(), offset_of!(tdl_runtime::abi::Gemm, a)), (144, 48));
    assert_eq!(offset_of!(Ctx, interrupt), 0);
}

#[test]
fn print_format_and_fail() {
    let mut ctx = context();
    let name = handle(&mut ctx, "x");
    let data = [1.0f32, 2.5];
    let args = [
        Arg { dtype: TEXT, rank: 0, value: name as u64, dims: std::ptr::null() },
        tensor(Dtype::F32, &data, &[2]),
        scalar(Dtype::F64, 0.5f64.to_bits()),
        scalar(Dtype::I64, -3i64 as u64),
    ];
    let pieces = encode_pieces([
        Piece::Value(""),
        Piece::Text(" = "),
        Piece::Value(""),
        Piece::Text(", "),
        Piece::Value(".2"),
        Piece::Text("; "),
        Piece::Value(""),
    ]);
    let (p, n) = (pieces.as_ptr(), pieces.len() as u64);
    let want = "x = [1.  2.5] : f32[2], 0.50; -3";
    // SAFETY: pieces and arguments are alive
    unsafe {
        assert_eq!(tdl_print(&mut *ctx, p, n, args.as_ptr(), 4, "\n".as_ptr(), 1), OK);
        assert_eq!(printed(&ctx), format!("{want}\n"));
        let t = tdl_format(&mut *ctx, p, n, args.as_ptr(), 4);
        assert_eq!(ctx.text(t as u64), want);
        tdl_fail(&mut *ctx, 1, 7, p, n, args.as_ptr(), 4);
        // the first failure counts
        tdl_fail(&mut *ctx, 0, 8, p, 0, args.as_ptr(), 0);
    }
    let failure = ctx.take_failure().expect("a failure");
    assert_eq!((failure.message.as_str(), failure.site, failure.kind.code()), (want, Some(7), "E0702"));
    assert!(ctx.take_failure().is_none());
}

#[test]
fn memory_is_asked_for_once() {
    let mut ctx = context();
    for _ in 0..10 {
        // SAFETY: freed once each
        unsafe {
            let blocks = [100, 1 << 20, 0].map(|n| tdl_alloc(&mut *ctx, n, 0));
            assert!(blocks.iter().all(|b| !b.is_null() && b.addr().is_multiple_of(64)));
            let stack = tdl_stack_new(&mut *ctx);
            for i in 0..5000i64 {
                tdl_stack_grow(&mut *ctx, stack, 8, 0).cast::<i64>().write(i);
            }
            let mut bytes = 0;
            let contents = tdl_stack_contents(stack, &mut bytes).cast::<i64>();
            assert_eq!((bytes, *contents.add(4999)), (40_000, 4999));
            tdl_stack_free(&mut *ctx, stack);
            for b in blocks {
                tdl_free(&mut *ctx, b);
            }
        }
    }
    let first = ctx.memory.counters().system;
    assert!(first < 12, "{first}");
    assert_eq!(ctx.memory.counters().live_bytes, 0);
    // SAFETY: no memory is given
    unsafe {
        assert!(tdl_alloc(&mut *ctx, i64::MAX, 3).is_null());
        assert!(tdl_alloc(&mut *ctx, -1, 3).is_null());
    }
    let failure = ctx.take_failure().expect("out of memory");
    assert!(failure.message.contains("out of memory"), "{}", failure.message);
    assert_eq!(failure.site, Some(3));
}

#[test]
fn files_fail_at_their_site() {
    let mut ctx = context();
    let path = handle(&mut ctx, "/no/such/file.safetensors");
    // SAFETY: the handle is the context's
    let status = unsafe { tdl_load(&mut *ctx, path, std::ptr::null(), 0, std::ptr::null(), 0, 5) };
    assert_eq!(status, FAILED);
    let failure = ctx.take_failure().expect("a failure");
    assert_eq!((failure.site, failure.kind.code()), (Some(5), "E0706"));
    assert_eq!(failure.message, "cannot read `/no/such/file.safetensors`: no such file");
}

#[test]
fn saved_trees_load() {
    let mut ctx = context();
    let path = std::env::temp_dir().join(format!("tdl-calls-{}.safetensors", std::process::id()));
    let path = handle(&mut ctx, &path.to_string_lossy());
    let w = [1.0f32, 2.0, 3.0];
    let mut back = [0.0f32; 3];
    let mut step = 0i64;
    let dims = [3i64];
    let entry = |name, value| Entry { name: text(name), value };
    let from = [entry("w", tensor(Dtype::F32, &w, &dims)), entry("step", scalar(Dtype::I64, 9))];
    let to = [
        entry("w", Arg { value: back.as_mut_ptr() as u64, ..tensor(Dtype::F32, &w, &dims) }),
        entry("step", Arg { value: &raw mut step as u64, ..scalar(Dtype::I64, 0) }),
    ];
    // SAFETY: the buffers hold the elements
    unsafe {
        assert_eq!(tdl_save(&mut *ctx, path, from.as_ptr(), 2, 0), OK);
        assert_eq!(tdl_exists(&mut *ctx, path), 1);
        assert_eq!(tdl_load(&mut *ctx, path, to.as_ptr(), 2, std::ptr::null(), 0, 0), OK);
        std::fs::remove_file(ctx.text(path as u64)).expect("removed");
        assert_eq!(tdl_exists(&mut *ctx, path), 0);
    }
    assert_eq!((back, step), (w, 9));
}

// --- programs

/// Prints nothing; fails at site 0 if its parameter is negative.
unsafe extern "C" fn entry(ctx: *mut Ctx, args: *const u64, _: *mut u64) -> i32 {
    // SAFETY: called with one integer
    unsafe {
        let n = *args as i64;
        if n >= 0 {
            return OK;
        }
        let pieces = encode_pieces([Piece::Text("got "), Piece::Value("")]);
        let arg = scalar(Dtype::I64, n as u64);
        tdl_fail(ctx, 0, 0, pieces.as_ptr(), pieces.len() as u64, &arg, 1);
        FAILED
    }
}

unsafe extern "C" fn ten(_: *mut Ctx, _: *const u64, results: *mut u64) -> i32 {
    // SAFETY: room for one result
    unsafe { *results = 10 };
    OK
}

fn exit_code(args: &[&str], default: bool, version: u32) -> i32 {
    let default: Option<tdl_runtime::abi::Func> = if default { Some(ten) } else { None };
    let params = [Param { name: text("n"), dtype: Dtype::I64 as u32, _pad: 0, default }];
    let sites =
        [Site { file: text("a.tdl"), line: 1, column: 1, width: 3, _pad: 0, source: text("f(n)"), inside: text("") }];
    let program = Program {
        version,
        n_params: 1,
        params: params.as_ptr(),
        entry: Some(entry),
        sites: sites.as_ptr(),
        n_sites: 1,
        doc: text("A program."),
        features: text(""),
    };
    let args: Vec<String> = args.iter().map(|a| a.to_string()).collect();
    let options = Options {
        name: "a".into(),
        threads: Some(1),
        form: tdl_runtime::start::Form::Text { color: false },
        devices: false,
    };
    // SAFETY: the tables are alive
    unsafe { run(&program, &args, &options, |_| {}, |_| {}) }
}

#[test]
fn exit_codes() {
    assert_eq!(exit_code(&[], true, VERSION), 0);
    assert_eq!(exit_code(&["--n", "3"], true, VERSION), 0);
    assert_eq!(exit_code(&["--help"], true, VERSION), 0);
    assert_eq!(exit_code(&["--n", "-1"], true, VERSION), 1);
    assert_eq!(exit_code(&["--m", "1"], true, VERSION), 2);
    assert_eq!(exit_code(&[], false, VERSION), 2);
    assert_eq!(exit_code(&[], true, VERSION + 1), 2);
}
