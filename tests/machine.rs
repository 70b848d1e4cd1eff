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
fn programs_that_grow_beyond_all_bounds() {
    let twice = |n: usize| -> String {
        (0..n).map(|i| format!("fn g{}(x: f32) -> f32 = g{i}(g{i}(x) + 1.0)\n", i + 1)).collect()
    };
    write("grows_calls.tdl", format!("fn g0(x: f32) -> f32 = sin(x)\n{}fn main() {{ print(g40(1.0)) }}\n", twice(40)));
    fails(&["run", "grows_calls.tdl"], 1, "E0603");
    let derivatives = "grad(|x: f32| g15(x))(1.0)";
    write(
        "grows_grad.tdl",
        format!(
            "fn g0(x: f32) -> f32 = sin(x) * exp(x) * tanh(x)\n{}fn main() {{ print({derivatives}) }}\n",
            twice(15)
        ),
    );
    fails(&["run", "grows_grad.tdl"], 1, "E0603");
    let pairs: String = (0..40).map(|i| format!("  let x{} = (x{i}, x{i})\n", i + 1)).collect();
    write("grows_tuple.tdl", format!("fn main() {{\n  let x0 = (1.0, 1.0)\n{pairs}  print(1)\n}}\n"));
    fails(&["check", "grows_tuple.tdl"], 1, "E0603");
    let structs: String = (0..40).map(|i| format!("struct S{} {{ a: S{i}, b: S{i} }}\n", i + 1)).collect();
    write(
        "grows_struct.tdl",
        format!("struct S0 {{ a: f32 }}\n{structs}fn main() {{ print(tree.sum(zeros(S40))) }}\n"),
    );
    fails(&["run", "grows_struct.tdl"], 1, "E0603");
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

/// A program under way, whose standard output nobody reads.
#[cfg(unix)]
struct Running(std::process::Child);

#[cfg(unix)]
impl Running {
    /// Starts it, and waits until it has written the file `mark`, if it writes one.
    #[track_caller]
    fn start(command: &mut std::process::Command, mark: Option<&str>) -> Running {
        let mark = mark.map(|m| dir().join(m));
        if let Some(mark) = &mark {
            let _ = std::fs::remove_file(mark);
        }
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut running = Running(child);
        let start = Instant::now();
        while mark.as_ref().is_some_and(|m| !m.exists()) {
            assert!(running.0.try_wait().expect("a status").is_none(), "it has ended by itself");
            assert!(start.elapsed() < Duration::from_secs(60), "it does not get going");
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }

    /// Ctrl-C: it ends soon, and not as if it had come to its end.
    #[track_caller]
    fn ends(mut self, what: &str) {
        use std::os::unix::process::ExitStatusExt;
        let id = self.0.id().to_string();
        let sent = output(std::process::Command::new("sh").args(["-c", "kill -INT $0", &id]));
        assert!(sent.status.success(), "{what}: {}", stderr(&sent));
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().expect("a status") {
                break status;
            }
            if start.elapsed() > Duration::from_secs(30) {
                let _ = self.0.kill();
                panic!("{what}: it does not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(status.code() == Some(130) || status.signal() == Some(2), "{what}: {status:?}");
    }
}

/// What goes on without end after it has written the file `mark`.
const ENDLESS: &[(&str, &str)] = &[
    ("a pipe that nobody reads", "for i in 0..100000000 { print(i) }"),
    ("one long text for it", "for i in 0..1000 { print(\"{ones(f32[100, 100])}\") }"),
    ("a pure loop", "while true {}"),
    ("a long loop", "let mut s = 0.0\n  for i in 0..1000000000000 { s = sin(s + 1.0) }\n  print(s)"),
    ("a long kernel", "let n = len(\"{s}\") * 1000000\n  print(sum([sin(f32(i * j)) for i < n, j < n]))"),
    ("products", "let mut y = x\n  while y[0, 0] >= 0.0 { y = abs(y @ x) }\n  print(y)"),
    ("reading", "while len(read_text(\"mark_reading\")) > 0 {}"),
];

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_run() {
    for (i, (what, body)) in ENDLESS.iter().enumerate() {
        let (file, bin) = (format!("endless_{i}.tdl"), format!("./endless_{i}"));
        let text = |mark: &str| {
            let x = "let s = \"0123\"\n  let x = 0.001 * ones(f32[1500, 1500])";
            format!("fn main() {{\n  {x}\n  write_text(\"{mark}\", \"x\")\n  {body}\n}}\n")
        };
        write("mark_reading", "x");
        let mark = format!("mark_{i}");
        write(&file, text(&mark));
        Running::start(&mut tdl(&["run", &file], &dir()), Some(&mark)).ends(what);
        if i < 3 {
            Running::start(&mut tdl(&["run", "--device", "interp", &file], &dir()), Some(&mark)).ends(what);
        }
        assert!(sane(&["build", &file, "-o", &bin]).status.success(), "{what}");
        Running::start(std::process::Command::new(dir().join(&bin)).current_dir(dir()), Some(&mark)).ends(what);
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_tests_and_compiling() {
    write("endless_test.tdl", "test \"a\" {\n  write_text(\"mark_test\", \"x\")\n  while true {}\n}\n");
    Running::start(&mut tdl(&["test", "endless_test.tdl"], &dir()), Some("mark_test")).ends("a test");
    // LLVM takes more than a minute for it
    let sums: String = (1..9000).map(|i| format!("  let v{i} = sin(v{}) + v{} * 0.5\n", i - 1, i / 2)).collect();
    write("long.tdl", format!("fn main(v0: f32 = 1.0) {{\n{sums}  print(v8999)\n}}\n"));
    let running = Running::start(&mut tdl(&["run", "long.tdl"], &dir()), None);
    std::thread::sleep(Duration::from_millis(700));
    running.ends("compiling");
}
