//! `tdl run --profile`: what it counts, prints and writes, and that it changes nothing.

mod support;

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use support::{output, stderr, stdout, tdl};

const PROGRAM: &str = r#"import nn.relu

fn main(n: i64 = 64) {
  let mut rng = Rng(1)
  let a = rng.normal(f32[n, 48])
  let b = rng.normal(f32[48, 80])
  let mut s = 0.0
  for i in 0..10 {
    let c = a @ (b * f32(i))
    let d = exp(c * 0.001) + 1.0
    s = s + sum(d)
  }
  print("{s}", sum(relu(a) / a))
  print(tree.map(|x| 2.0 * x, a)[0, 0])
}
"#;

/// A folder with one program.
fn with(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("a.tdl"), text).expect("writable");
    dir
}

fn run(dir: &Path, args: &[&str]) -> Output {
    output(&mut tdl(&[&["run"], args, &["a.tdl"]].concat(), dir))
}

/// The complete events of a trace, which is checked: times in order on each track, within what is around them.
fn events(dir: &Path, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join(file)).expect("a trace");
    let trace: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let all = trace["traceEvents"].as_array().expect("events").clone();
    let complete: Vec<Value> = all.into_iter().filter(|e| e["ph"] == "X").collect();
    let tracks: std::collections::BTreeSet<u64> = complete.iter().filter_map(|e| e["tid"].as_u64()).collect();
    for t in tracks {
        let mut open: Vec<f64> = Vec::new();
        let mut last = 0.0;
        for e in complete.iter().filter(|e| e["tid"] == t) {
            let (start, dur) = (e["ts"].as_f64().expect("a time"), e["dur"].as_f64().expect("a time"));
            assert!(start >= last, "{e} begins before the event that comes before it");
            last = start;
            // decimals of a microsecond are exact to their last digit
            while open.last().is_some_and(|end| *end <= start + 1e-4) {
                open.pop();
            }
            if let Some(end) = open.last() {
                assert!(start + dur <= end + 1e-3, "{e} ends after the event around it");
            }
            open.push(start + dur);
        }
    }
    complete
}

fn named<'e>(events: &'e [Value], start: &str) -> Vec<&'e Value> {
    events.iter().filter(|e| e["name"].as_str().is_some_and(|n| n.starts_with(start)) && e["cat"] != "part").collect()
}

/// Is the event of this line?
fn at(e: &Value, line: u32) -> bool {
    e["name"].as_str().is_some_and(|n| n.ends_with(&format!(" (a.tdl:{line})")))
}

#[test]
fn counts_places_and_shapes() {
    for device in ["cpu", "sim"] {
        let dir = with(PROGRAM);
        let out = run(dir.path(), &["--device", device, "--profile=t.json"]);
        assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
        let events = events(dir.path(), "t.json");
        assert_eq!((&events[0]["name"], &events[0]["cat"]), (&"main".into(), &"program".into()));
        let product = if device == "cpu" { "gemm" } else { "product" };
        let gemms = named(&events, product);
        assert_eq!(gemms.len(), 10, "{events:?}");
        for e in gemms {
            assert!(at(e, 9), "{e}");
            let a = &e["args"];
            assert_eq!(a["flops"], 2 * 64 * 48 * 80);
            assert_eq!(a["bytes"], 4 * (64 * 48 + 48 * 80 + 64 * 80));
            assert_eq!(a["shape"], "64×80×48");
            assert_eq!(a["line"], "let c = a @ (b * f32(i))");
        }
        // mul, exp (12), add and the sum itself; the sum is one kernel with them
        let sums: Vec<&Value> = named(&events, "total").into_iter().filter(|e| at(e, 10)).collect();
        assert_eq!(sums.len(), 10, "{events:?}");
        assert!(sums.iter().all(|e| e["args"]["flops"] == 15 * 64 * 80 && e["args"]["bytes"] == 4 * 64 * 80));
        // what the library does counts where it is called
        assert!(events.iter().any(|e| e["cat"] == "kernel" && at(e, 13)), "{events:?}");
        assert_eq!(named(&events, "print").len(), 2);
        let table = stderr(&out);
        for part in
            ["a.tdl: ", "a.tdl:9  let c = a @ (b * f32(i))", "  kernels\n", "  printing, 3 calls\n", " 100.0 %  in all"]
        {
            assert!(table.contains(part), "no `{part}` in:\n{table}");
        }
        assert_eq!(table.contains(" on the simulated GPU\n"), device == "sim", "{table}");
        assert_eq!(table.contains("The limits here"), device == "cpu", "a GPU has other limits");
        assert!(!table.contains('\x1b'), "no colour in a pipe");
    }
}

/// Milliseconds in front of a line of the table that ends so.
fn amount(table: &str, end: &str) -> f64 {
    let line = table.lines().find(|l| l.ends_with(end)).unwrap_or_else(|| panic!("no `{end}` in:\n{table}"));
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no number in {line}"))
}

#[test]
fn times_add_up() {
    let dir = with(PROGRAM);
    let out = output(&mut tdl(&["run", "--profile", "a.tdl", "--", "--n", "20000"], dir.path()));
    let table = stderr(&out);
    let all = amount(&table, "in all");
    let mut sum = 0.0;
    for line in table.lines().skip_while(|l| !l.ends_with("  kernels")).filter(|l| !l.ends_with("in all")) {
        sum += amount(line, line);
    }
    assert!((all - sum).abs() < 0.05, "{sum} is not {all}:\n{table}");
    let lines: f64 =
        table.lines().filter(|l| l.contains("  a.tdl:") || l.contains(" more line")).map(|l| amount(l, l)).sum();
    let kernels = amount(&table, "  kernels");
    assert!((lines - kernels).abs() < 0.1, "{lines} is not {kernels}:\n{table}");
    assert!(kernels > 0.0, "{table}");
}

#[test]
fn results_are_the_same_bits() {
    let dir = with(PROGRAM);
    let plain = stdout(&run(dir.path(), &[]));
    assert!(!plain.is_empty());
    for threads in ["1", "2", "3"] {
        // the second time from the cache
        for _ in 0..2 {
            let out = run(dir.path(), &["--threads", threads, "--profile=t.json"]);
            assert_eq!(stdout(&out), plain);
            assert_eq!(named(&events(dir.path(), "t.json"), "gemm").len(), 10);
        }
    }
    // without a profile, nothing is recorded by what the cache holds
    let out = run(dir.path(), &[]);
    assert_eq!((stdout(&out), stderr(&out)), (plain, String::new()));
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("a folder").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn helpers_have_tracks_of_their_own() {
    let dir = with(PROGRAM);
    let args = ["run", "--threads", "2", "--profile=t.json", "a.tdl", "--", "--n", "20000"];
    // on a busy machine the other thread may come too late for all of the work
    for _ in 0..20 {
        output(&mut tdl(&args, dir.path()));
        let events = events(dir.path(), "t.json");
        let parts: Vec<&Value> = events.iter().filter(|e| e["cat"] == "part" && e["tid"] == 1).collect();
        assert!(parts.iter().all(|e| e["name"].as_str().is_some_and(|n| n.contains(" (a.tdl:"))), "{parts:?}");
        if !parts.is_empty() {
            return;
        }
    }
    panic!("the other thread did nothing");
}

#[test]
fn a_trace_that_cannot_be_written_is_found_before_the_run() {
    let dir = with(PROGRAM);
    std::fs::create_dir(dir.path().join("folder")).expect("writable");
    for (path, why) in [("no/such/t.json", "o such file"), ("folder", "it is a folder")] {
        let out = run(dir.path(), &[&format!("--profile={path}")]);
        assert_eq!((out.status.code(), stdout(&out)), (Some(1), String::new()));
        let text = stderr(&out);
        assert!(text.contains("E0706") && text.contains(why) && text.contains(path), "{text}");
    }
}

#[test]
fn a_program_that_fails_has_a_profile_too() {
    let dir = with("fn main(i: i64 = 7) {\n  print([1.0, 2.0][i])\n}\n");
    let out = run(dir.path(), &["--profile"]);
    let text = stderr(&out);
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("E0702") && text.contains("100.0 %  in all"), "{text}");
}

#[test]
fn the_interpreter_has_no_kernels() {
    let dir = with(PROGRAM);
    let out = run(dir.path(), &["--profile", "--device", "interp"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("the interpreter has no kernels"), "{}", stderr(&out));
}

#[test]
fn binaries_print_their_profile() {
    let dir = with(PROGRAM);
    let out = output(&mut tdl(&["build", "--profile", "a.tdl", "-o", "a"], dir.path()));
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let mut binary = std::process::Command::new(dir.path().join("a"));
    let out = output(binary.args(["--threads", "1"]).current_dir(dir.path()));
    assert_eq!(stdout(&out), stdout(&run(dir.path(), &[])));
    let table = stderr(&out);
    for part in [" on 1 thread\n", "a.tdl:9  let c = a @ (b * f32(i))", "gemm 64×80×48", "100.0 %  in all"] {
        assert!(table.contains(part), "no `{part}` in:\n{table}");
    }
}

#[test]
fn colours_when_asked_for() {
    let dir = with(PROGRAM);
    let out = run(dir.path(), &["--profile", "--color", "always"]);
    assert!(stderr(&out).contains("\x1b[1m"), "{}", stderr(&out));
}
