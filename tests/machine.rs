//! Bad input and a hostile machine: a clear error, the right exit status (1: the program, 2: the command), in bounded
//! time, and never a panic.

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use support::{output, stderr, stdout, tdl};

fn dir() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("machine");
    std::fs::create_dir_all(dir.join("folder")).expect("a folder to write to");
    dir
}

fn write(name: &str, text: impl AsRef<[u8]>) {
    std::fs::write(dir().join(name), text).expect("a file to write to");
}

/// Runs `tdl`; whatever comes out, it is no bug of the compiler, and it comes in time.
#[track_caller]
fn sane(args: &[&str]) -> Output {
    let start = Instant::now();
    let out = output(&mut tdl(args, &dir()));
    let text = stderr(&out);
    assert!(matches!(out.status.code(), Some(0..=2)), "{args:?}: {:?}\n{}", out.status, head(&text));
    assert!(!text.contains("internal error") && !text.contains("panicked"), "{args:?}: {}", head(&text));
    assert!(text.len() < 100_000, "{args:?}: {} bytes of messages", text.len());
    // generous: the machine may be busy with other tests
    assert!(start.elapsed() < Duration::from_secs(60), "{args:?} took {:?}", start.elapsed());
    out
}

fn head(text: &str) -> String {
    text.chars().take(2000).collect()
}

#[track_caller]
fn fails(args: &[&str], status: i32, message: &str) {
    let out = sane(args);
    let text = stderr(&out);
    assert_eq!(out.status.code(), Some(status), "{args:?}: {}", head(&text));
    assert!(text.contains(message), "{args:?}: no `{message}` in: {}", head(&text));
}

#[track_caller]
fn prints(args: &[&str], expected: &str) {
    let out = sane(args);
    assert_eq!(stdout(&out), expected, "{args:?}: {}", head(&stderr(&out)));
}

#[test]
fn files_that_are_no_programs() {
    fails(&["run", "no_such_file.tdl"], 2, "no such file");
    fails(&["check", "folder"], 2, "it is a folder");
    write("latin.tdl", b"fn main() { print(\"\xe9\") }");
    fails(&["check", "latin.tdl"], 2, "not UTF-8");
    write("utf16.tdl", b"\xff\xfef\0n\0");
    fails(&["check", "utf16.tdl"], 2, "not UTF-8");
    write("empty.tdl", "");
    assert_eq!(sane(&["check", "empty.tdl"]).status.code(), Some(0));
    fails(&["run", "empty.tdl"], 2, "no `fn main`");
    write("nul.tdl", b"fn f() {\0}\n");
    fails(&["check", "nul.tdl"], 1, "E0101");
    write("nuls.tdl", [0; 1000]);
    fails(&["check", "nuls.tdl"], 1, "E0101");
}

#[test]
fn line_ends_and_marks() {
    write("crlf.tdl", "fn main() {\r\n  let x = 1\r\n  print(x)\r\n}\r\n");
    prints(&["run", "crlf.tdl"], "1\n");
    write("bom.tdl", "\u{feff}fn main() { print(2) }\n");
    prints(&["run", "bom.tdl"], "2\n");
}

#[test]
fn five_megabytes_of_one_thing() {
    for (i, c) in ["(", "[", "{", "-", "not ", "|", "\"", "f(", "@"].iter().enumerate() {
        let file = format!("raw_{i}.tdl");
        write(&file, c.repeat(5_000_000 / c.len()));
        fails(&["check", &file], 1, "error[E01");
        write(&file, format!("fn f() = {}", c.repeat(5_000_000 / c.len())));
        fails(&["check", &file], 1, "error[E01");
    }
}

#[test]
fn everything_nested_deep() {
    let n = 20_000;
    let cases: &[(&str, String)] = &[
        ("if", format!("fn f(a: bool) {{ {}{} }}", "if a { ".repeat(n), "}".repeat(n))),
        ("for", format!("fn f() {{ {}{} }}", "for i in 0..3 { ".repeat(n), "}".repeat(n))),
        ("else if", format!("fn f(a: bool) -> i64 = if a {{ 1 }} {} else {{ 3 }}", "else if a { 2 } ".repeat(n))),
        ("lambda", format!("fn f() {{ let g = {}x\n }}", "|x: f32| ".repeat(n))),
        ("pipe", format!("fn f(x: f32) -> f32 = x{}", " |> sin".repeat(n))),
        ("sum", format!("fn f(x: f32) -> f32 = x{}", " + x".repeat(n))),
        ("power", format!("fn f(x: f32) -> f32 = x{}", " ^ x".repeat(n))),
        ("compare", format!("fn f(x: f32) -> bool = x{}", " < x".repeat(n))),
        ("field", format!("fn f(x: f32) -> f32 = x{}", ".a".repeat(n))),
        ("call", format!("fn f(x: f32) -> f32 = x{}", "()".repeat(n))),
        ("index", format!("fn f(x: f32[3]) -> f32 = x{}", "[0]".repeat(n))),
        ("as", format!("fn f(x: f32) -> f32 = x{}", " as f32".repeat(n))),
        ("function type", format!("fn f(x: {}f32) {{}}", "fn(f32) -> ".repeat(n))),
        ("some", format!("fn f(x: {}f32[k]) {{}}", "some k. ".repeat(n))),
        ("type arguments", format!("fn f(x: {}{}) {{}}", "f32[".repeat(n), "]".repeat(n))),
        ("text", format!("fn f() {{ print({}1{}) }}", "\"{".repeat(n), "}\"".repeat(n))),
        ("return", format!("fn f() {{ {}1 }}", "return ".repeat(n))),
        ("import", format!("import {}b\nfn f() {{}}", "a.".repeat(n))),
    ];
    for (name, text) in cases {
        let file = format!("deep_{}.tdl", name.replace(' ', "_"));
        write(&file, text);
        fails(&["check", &file], 1, "error[E");
    }
}

#[test]
fn large_programs() {
    write("wide.tdl", format!("fn main() {{ print(sum([{}0.0])) }}", "1.0, ".repeat(10_000)));
    prints(&["run", "--device", "interp", "wide.tdl"], "10000.0\n");
    write("line.tdl", format!("fn main() {{ print(len(\"{}\")) }}", "x".repeat(1_000_000)));
    sane(&["check", "line.tdl"]);
    write("items.tdl", "fn f() {}\n".repeat(5000));
    fails(&["check", "items.tdl"], 1, "E0202");
    write("comments.tdl", format!("{}fn f() {{}}\n", "# a\n## b\n\n".repeat(50_000)));
    assert_eq!(sane(&["check", "comments.tdl"]).status.code(), Some(0));
    let lines: String = (0..10_000).map(|i| format!("fn item_{i}(x: f32[{}]) -> f32 = sum(x * x)\n", i % 7)).collect();
    write("lines.tdl", lines);
    assert_eq!(sane(&["check", "lines.tdl"]).status.code(), Some(0));
}

#[test]
fn imports_that_lead_nowhere() {
    write("ring_a.tdl", "import ring_b\nfn a() -> i64 = 1\nfn main() { print(ring_b.b()) }\n");
    write("ring_b.tdl", "import ring_a\nfn b() -> i64 = ring_a.a() + 1\n");
    sane(&["run", "ring_a.tdl"]);
    write("alone.tdl", "import alone\nfn g() -> i64 = 1\nfn main() { print(alone.g()) }\n");
    sane(&["run", "alone.tdl"]);
    write("to_folder.tdl", "import folder\nfn main() {}\n");
    fails(&["check", "to_folder.tdl"], 1, "E0204");
    write("latin2.tdl", b"fn g() { print(\"\xe9\") }");
    write("to_latin.tdl", "import latin2\nfn main() {}\n");
    fails(&["check", "to_latin.tdl"], 2, "latin2.tdl");
}

#[test]
fn numbers_and_sizes_beyond_all_bounds() {
    for (name, expr, code) in [
        ("digits", "9".repeat(10_000), "E0107"),
        ("hex", format!("0x{}", "f".repeat(100)), "E0107"),
        ("literal", "9223372036854775808".into(), "E0107"),
        ("tera", "zeros(f32[1000000000000])".into(), "E0705"),
        ("square", "zeros(f32[1000000000000, 1000000000000])".into(), "E0705"),
        ("numbers", "arange(i64[1000000000000])".into(), "E0705"),
    ] {
        let file = format!("size_{name}.tdl");
        write(&file, format!("fn main() {{ print({expr}) }}"));
        fails(&["run", &file], 1, code);
    }
    write("size_run.tdl", "fn main(n: i64 = 9223372036854775807) { print(zeros(f32[n])) }");
    fails(&["run", "size_run.tdl"], 1, "E0705");
    write("size_minus.tdl", "fn main(n: i64 = -5) { print(zeros(f32[n])) }");
    fails(&["run", "size_minus.tdl"], 1, "E0703");
}

#[test]
fn damaged_data() {
    write("short.csv", "1,2\n3\n");
    write("bytes.csv", (0..=255).collect::<Vec<u8>>());
    write("none.csv", "");
    for name in ["short.csv", "bytes.csv", "none.csv", "folder", "missing.csv"] {
        let file = "reads.tdl";
        write(file, format!("fn main() {{ print(read_csv(\"{name}\")) }}"));
        fails(&["run", file], 1, "E0706");
        fails(&["run", file], 1, name);
    }
}

#[test]
fn no_linker_and_no_place_to_write() {
    write("ok.tdl", "fn main() { print(1) }\n");
    let mut build = tdl(&["build", "ok.tdl", "-o", "ok"], &dir());
    let out = output(build.env("PATH", "/nonexistent").env_remove("CC"));
    assert!(stderr(&out).contains("E0601") || stderr(&out).contains("C compiler"), "{}", stderr(&out));
    assert!(matches!(out.status.code(), Some(1 | 2)), "{:?}", out.status);
    let mut build = tdl(&["build", "ok.tdl", "-o", "ok"], &dir());
    let out = output(build.env("CC", "false"));
    assert!(matches!(out.status.code(), Some(1 | 2)) && !stderr(&out).contains("internal"), "{}", stderr(&out));
    let out = sane(&["build", "ok.tdl", "-o", "no/such/folder/ok"]);
    assert!(matches!(out.status.code(), Some(1 | 2)) && stderr(&out).contains("no/such/folder"), "{}", stderr(&out));
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away() {
    write("many.tdl", "fn main() { for i in 0..10000000 { print(i) } }\n");
    let mut child =
        tdl(&["run", "many.tdl"], &dir()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("tdl starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line, "0\n");
    // the pipe is closed now; the program ends soon and quietly
    let start = Instant::now();
    let out = child.wait_with_output().expect("it ends");
    assert!(start.elapsed() < Duration::from_secs(30));
    let text = stderr(&out);
    assert!(!text.contains("internal") && !text.contains("panicked"), "{text}");
}
