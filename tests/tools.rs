//! The command-line tools as their users see them: what they print, write and return.

mod support;

use std::path::Path;
use std::process::{Output, Stdio};

use support::{output, output_with, root, stderr, stdout, tdl};

/// A folder with one program.
fn with(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("a.tdl");
    std::fs::write(&file, text).expect("writable");
    (dir, "a.tdl".to_owned())
}

fn run(args: &[&str], dir: &Path) -> Output {
    output(&mut tdl(args, dir))
}

fn code(out: &Output) -> i32 {
    out.status.code().unwrap_or(-1)
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}

fn json(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

// --- tdl test

const TESTS: &str = "\
## Doubles.
##
## ```
## assert double(2.0) == 4.0
## ```
fn double(x: f32) -> f32 = 2.0 * x

## ```
## assert double(1.0) == 3.0
## ```
fn wrong_example() -> f32 = 1.0

test \"passes\" { assert double(1.0) == 2.0 }
test \"fails\" {
  print(\"on the way\")
  assert double(1.0) == 3.0, \"it is {double(1.0)}\"
}
test \"bad product\" expect error E0401 { ones(f32[2, 3]) @ ones(f32[2, 3]) }
test \"index\" expect error E0702 {
  let i = 7
  print([1.0, 2.0][i])
}
test \"ends well\" expect error E0702 { print(1) }
";

#[test]
fn tests_report_places_messages_and_counts() {
    let (dir, file) = with(TESTS);
    let out = run(&["test", &file], dir.path());
    let text = stdout(&out);
    assert_eq!(code(&out), 1, "{text}");
    has(
        &text,
        &[
            "test passes ... ok",
            "test fails ... FAILED\nerror[E0701]: it is 2.0",
            "─[a.tdl:16:3]",
            "on the way",
            "test bad product ... ok",
            "test index ... ok",
            "test ends well ... FAILED",
            "the error E0702 was expected, but the test ran to its end",
            "test example of double ... ok",
            "test example of wrong_example ... FAILED",
            // a place in a comment is a place in the file
            "─[a.tdl:9:4]",
            "\n4 passed, 3 failed\n",
        ],
    );
    assert_eq!(stderr(&out), "");
}

#[test]
fn tests_as_json() {
    let (dir, file) = with(TESTS);
    let lines = json(&stdout(&run(&["test", "--json", &file], dir.path())));
    let fails = lines.iter().find(|l| l["name"] == "fails").expect("a line");
    assert_eq!((fails["ok"].as_bool(), fails["line"].as_u64()), (Some(false), Some(14)));
    assert_eq!(fails["output"], "on the way\n");
    has(fails["message"].as_str().unwrap_or(""), &["E0701", "it is 2.0"]);
    assert!(lines.iter().any(|l| l["name"] == "example of double" && l["kind"] == "example" && l["ok"] == true));
    let last = lines.last().expect("a summary");
    assert_eq!((last["passed"].as_u64(), last["failed"].as_u64()), (Some(4), Some(3)));
}

#[test]
fn only_tests_of_the_filter_run() {
    let (dir, file) = with(TESTS);
    let out = run(&["test", "--filter", "double", &file], dir.path());
    assert_eq!((code(&out), stdout(&out).as_str()), (0, "test example of double ... ok\n1 passed, 0 failed\n"));
}

#[test]
fn tests_in_the_interpreter_too() {
    let (dir, file) = with(TESTS);
    let out = run(&["test", "--device", "interp", &file], dir.path());
    has(&stdout(&out), &["─[a.tdl:16:3]", "\n4 passed, 3 failed\n"]);
}

#[test]
fn an_expected_error_says_what_is_expected_of_it() {
    let (dir, file) = with(
        "test \"says it\" expect error E0401 \"axes of 3 and 2\" { print(ones(f32[2, 3]) @ ones(f32[2, 3])) }\n\
         test \"at run time\" expect error E0702 \"index 7\" { let i = 7\n print([1.0][i]) }\n\
         test \"another index\" expect error E0702 \"index 8\" { let i = 7\n print([1.0][i]) }\n",
    );
    let out = run(&["test", &file], dir.path());
    has(
        &stdout(&out),
        &[
            "test says it ... ok",
            "test at run time ... ok",
            "test another index ... FAILED",
            "the error E0702 was expected, but its message does not say `index 8`",
            "\n2 passed, 1 failed\n",
        ],
    );
    let (dir, file) =
        with("test \"other words\" expect error E0401 \"zebra\" { print(ones(f32[2]) + ones(f32[3])) }\n");
    let out = run(&["test", &file], dir.path());
    assert_eq!(code(&out), 1);
    has(&(stdout(&out) + &stderr(&out)), &["error[E0402]"]);
}

#[test]
fn every_module_of_the_standard_library_passes_its_tests() {
    let mut modules: Vec<_> = std::fs::read_dir(root().join("stdlib"))
        .expect("the library")
        .map(|e| e.expect("a module").path())
        .filter(|p| p.extension().is_some_and(|e| e == "tdl"))
        .collect();
    modules.sort();
    assert!(modules.len() >= 8);
    let dir = tempfile::tempdir().expect("a folder");
    for module in modules {
        let out = run(&["test", &module.display().to_string()], dir.path());
        let (text, errors) = (stdout(&out), stderr(&out));
        assert_eq!((code(&out), errors.as_str()), (0, ""), "{}\n{text}", module.display());
        has(&text, &[" passed, 0 failed\n"]);
        assert!(!text.contains("\n0 passed"), "{}", module.display());
    }
}

#[test]
fn tests_may_expect_that_something_has_no_derivative() {
    let (dir, file) = with(
        "fn f(x: f32) -> f32 = f32(i64(x)) * x
test \"none\" expect error E0504 { assert grad(f)(2.5) > 0.0 }
test \"there is one\" expect error E0504 { assert grad(|x: f32| x * x)(2.5) > 0.0 }
",
    );
    assert_eq!(code(&run(&["check", &file], dir.path())), 0);
    let text = stdout(&run(&["test", &file], dir.path()));
    has(
        &text,
        &["test none ... ok", "test there is one ... FAILED", "the compiler finds nothing wrong", "1 passed, 1 failed"],
    );
}

// --- properties

#[test]
fn sizes_in_properties_and_functions_may_be_computed() {
    let text = "\
struct E[k] { a: f32[k], b: f32[3 * k] }
fn steps[n](x: f32[n + 1]) -> f32[n] = x[1:] - x[: n]
fn total[h](e: E[h + 1], s: E[h][2 * h]) -> f32 = sum(e.b * e.b) + sum(s.a)
prop \"steps\" (x: f32[n + 1], y: f32[n]) { len(steps(x)) == len(y) }
prop \"cube\" (x: f32[n + 1, n + 1, 2 * m], z: f32[m]) { sum(x) < 1000.0 or len(z) < 2 }
prop \"struct\" (e: E[h + 1], s: E[h][2 * h], z: f32[h]) { len(e.b) == 3 * len(z) + 3 and len(s) == 2 * len(z) }
prop \"fewer\" (x: f32[n - 3], y: f32[n]) { len(x) + 3 == len(y) }
prop \"number\" (k: i64, x: f32[2 * k], s: str) { len(x) == 2 * k }
prop \"text\" (s: str) { len(utf8(s)) < 2 }
";
    let (dir, file) = with(text);
    for device in ["cpu", "interp"] {
        let out = run(&["test", "--device", device, &file], dir.path());
        has(
            &stdout(&out),
            &[
                "steps ... ok",
                "struct ... ok",
                "fewer ... ok",
                "number ... ok",
                "text ... FAILED",
                "4 passed, 2 failed",
                "cube ... FAILED",
            ],
        );
        has(&stdout(&out), &["n = 0, m = 2\n", ": f32[1, 1, 4]\n"]);
    }
    for stage in ["ir", "grad", "opt", "loops", "llvm", "asm"] {
        let out = run(&["emit", "--stage", stage, &file], dir.path());
        assert_eq!(code(&out), 0, "{stage}: {}", stderr(&out));
        has(&stdout(&out), &["steps", "total"]);
    }
    let ir = stdout(&run(&["emit", "--stage", "opt", &file], dir.path()));
    has(&ir, &["func @steps(%n: i64, %0: i64, %x: f32[%0])", "`x` needs the extent {}, got {}"]);
    let mut repl = tdl(&["repl"], dir.path());
    repl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = repl.spawn().expect("it starts");
    let entries = format!(":load {file}\n:ir steps\n:grad total\n");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), entries.as_bytes()).expect("taken");
    let out = child.wait_with_output().expect("it ends");
    assert!(stderr(&out).is_empty(), "{}", stderr(&out));
    has(&stdout(&out), &["func @steps(", "func @\"grad total\"("]);
}

#[test]
fn true_properties_hold_for_every_kind_of_value() {
    let (dir, file) = with(
        "struct P[n] { x: f32[n], k: i64 }\n\
         prop \"transpose\" (x: f32[n, m]) { all(x.T.T == x) }\n\
         prop \"sizes\" (a: f64[n, m], b: f64[m]) { assert len(b) == m\n len(a) == n }\n\
         prop \"dtypes\" (a: i8[n], b: u8[n], c: bool[n], d: bf16[n], e: f16, f: u64) { len(a) == len(d) }\n\
         prop \"struct\" (p: P[n], q: (f32[n], bool)) { len(p.x) == len(q.0) }\n\
         prop \"number\" (k: i64, x: f32[k]) { len(x) == k }\n\
         prop \"generator\" (g: mut Rng, s: str) { let y = g.uniform(f32)\n 0.0 <= y and y < 1.0 }\n\
         prop \"any rank\" (x: f32[..s]) { all(x == x) }\n\
         prop \"constants\" (x: f32[3]) { len(x) == 3 }\n",
    );
    let out = run(&["test", &file], dir.path());
    assert_eq!(code(&out), 0, "{}{}", stdout(&out), stderr(&out));
    has(&stdout(&out), &["8 passed, 0 failed"]);
}

#[test]
fn a_false_property_is_shown_with_its_simplest_values() {
    let (dir, file) = with("prop \"short\" (x: f32[n], y: i64) { len(x) < 4 or y < 5 }\n");
    let once = stdout(&run(&["test", &file], dir.path()));
    has(&once, &["error[E0701]: `short` does not hold", "a.tdl:1:6", "n = 4\n", "x = [0. 0. 0. 0.] : f32[4]"]);
    has(&once, &["y = 5 : i64", "0 passed, 1 failed"]);
    let again = stdout(&run(&["test", &file], dir.path()));
    assert_eq!(once, again, "the same seed gives the same values");
}

#[test]
fn seeds_give_other_values() {
    // true for all values but few
    let (dir, file) = with("prop \"p\" (x: f64) { print(x)\n x < 0.5 }\n");
    let with_seed = |seed: &str| stdout(&run(&["test", "--seed", seed, "--json", &file], dir.path()));
    assert_ne!(with_seed("1"), with_seed("2"));
}

#[test]
fn sizes_zero_and_one_and_special_values_are_tried() {
    for (body, seen) in [
        ("(x: f32[n]) { len(x) != 0 }", "n = 0"),
        ("(x: f32[n]) { len(x) != 1 }", "n = 1"),
        ("(x: f32[n]) { all(abs(x) < 3e38) }", "3.4028"),
        ("(x: f64) { x == 0.0 or abs(x) > 1e-300 }", "counterexample"),
        ("(x: i32) { x > -2147483648 }", "-2147483648"),
    ] {
        let (dir, file) = with(&format!("prop \"p\" {body}\n"));
        let out = run(&["test", &file], dir.path());
        assert_eq!(code(&out), 1, "{body}: {}{}", stdout(&out), stderr(&out));
        has(&stdout(&out), &[seen]);
    }
    let (dir, file) = with("prop \"no nan\" (x: f32[n]) { all(x == x) }\n");
    assert_eq!(code(&run(&["test", &file], dir.path())), 0);
    let out = run(&["test", "--non-finite", &file], dir.path());
    assert_eq!(code(&out), 1);
    has(&stdout(&out), &["nan"]);
}

#[test]
fn an_assertion_in_a_property_shows_its_place_and_the_values() {
    let (dir, file) = with("prop \"p\" (k: i64) {\n  assert k < 7, \"k is {k}\"\n  true\n}\n");
    has(&stdout(&run(&["test", &file], dir.path())), &["error[E0701]: k is", "─[a.tdl:2:3]", "counterexample", "k = "]);
}

#[test]
fn what_a_property_cannot_make_up_is_an_error() {
    let (dir, file) = with("prop \"p\" (f: fn(f32) -> f32) { f(1.0) == f(1.0) }\n");
    let out = run(&["test", &file], dir.path());
    assert_eq!(code(&out), 1);
    has(&stderr(&out), &["error[E0303]: a property cannot make up a function"]);
}

// --- tdl bench

#[test]
fn benchmarks_measure_save_and_compare() {
    let (dir, file) = with(
        "bench \"matmul\" for n in [32, 256] { ones(f32[n, n]) @ ones(f32[n, n]) }\n\
         bench \"sum\" { sum(arange(i64[100_000])) }\n",
    );
    let out = run(&["bench", "--time", "0.1", "--json", "--save", "base.json", &file], dir.path());
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    let lines = json(&stdout(&out));
    let names: Vec<_> = lines.iter().map(|l| (l["name"].as_str().unwrap_or(""), l["n"].as_i64())).collect();
    assert_eq!(names, [("matmul", Some(32)), ("matmul", Some(256)), ("sum", None)]);
    let median = |i: usize| lines[i]["median"].as_f64().unwrap_or(0.0);
    // 512 times the work: nothing of it was done before the clock started
    assert!(median(1) > 8.0 * median(0), "{} and {}", median(0), median(1));
    assert!(median(2) > 1e-6, "100 000 additions in {} s", median(2));
    for l in &lines {
        let (low, high) = (l["quartiles"][0].as_f64().unwrap_or(0.0), l["quartiles"][1].as_f64().unwrap_or(0.0));
        let m = l["median"].as_f64().unwrap_or(0.0);
        assert!(l["min"].as_f64().unwrap_or(1.0) <= low && low <= m && m <= high, "{l}");
    }
    let out = run(&["bench", "--time", "0.1", "--baseline", "base.json", "--filter", "sum", &file], dir.path());
    has(&stdout(&out), &["bench sum", "% against"]);
    let out = run(&["bench", "--baseline", "a.tdl", &file], dir.path());
    assert_eq!(code(&out), 2);
    has(&stderr(&out), &["`a.tdl` is no file that `tdl bench --save` wrote"]);
}

#[test]
fn a_benchmark_that_fails_says_where() {
    let (dir, file) = with("bench \"b\" for n in [1] {\n  assert n > 1, \"n is {n}\"\n  n\n}\n");
    let out = run(&["bench", &file], dir.path());
    assert_eq!(code(&out), 1);
    has(&stderr(&out), &["error[E0701]: n is 1", "a.tdl:2:3"]);
}

// --- tdl fmt

#[test]
fn fmt_rewrites_checks_and_filters() {
    let (dir, file) = with("fn f(x:f32)->f32=x*2.0   # two\n");
    let formatted = "fn f(x: f32) -> f32 = x * 2.0  # two\n";
    let out = run(&["fmt", "--check", &file], dir.path());
    assert_eq!(code(&out), 1);
    has(&stdout(&out), &["-fn f(x:f32)->f32=x*2.0   # two", &format!("+{formatted}")]);
    assert_eq!(code(&run(&["fmt", "."], dir.path())), 0);
    assert_eq!(std::fs::read_to_string(dir.path().join(&file)).expect("readable"), formatted);
    let out = run(&["fmt", "--check", &file], dir.path());
    assert_eq!((code(&out), stdout(&out).as_str()), (0, ""));
    let mut child =
        tdl(&["fmt", "-"], dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("tdl starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), b"const  A=1\n").expect("writable");
    let out = child.wait_with_output().expect("tdl ends");
    assert_eq!(stdout(&out), "const A = 1\n");
    let (dir, file) = with("fn f( = 1\n");
    let out = run(&["fmt", &file], dir.path());
    assert_eq!(code(&out), 1);
    has(&stderr(&out), &["error[E0104]", "a.tdl:1:5"]);
}

#[test]
fn a_property_with_a_clause_is_tried_with_sizes_that_fulfil_it() {
    let (dir, file) = with(
        "\
prop \"slice\" (x: f32[n], k: i64) where 0 <= k, k <= n { len(x[0:k]) == k }
prop \"halves\" (x: f32[n], y: f32[m]) where n == 2 * m, 1 <= m { n % 2 == 0 and n > 0 }
prop \"divides\" (x: f32[n], h: i64) where 1 <= h, n % h == 0 { sum(reshape(x, [h, -1])) <= inf or any(isnan(x)) }
prop \"never\" (x: f32[n]) where 100 <= n { true }
prop \"small\" (x: f32[n]) where 3 <= n { n < 5 }
",
    );
    let out = run(&["test", &file], dir.path());
    assert_eq!(code(&out), 1);
    let text = stdout(&out);
    has(&text, &["prop slice ... ok", "prop halves ... ok", "prop divides ... ok", "3 passed, 2 failed"]);
    has(&text, &["no sizes up to 9 are as `never` asks for"]);
    // the simplest sizes that the clause allows
    has(&text, &["`small` does not hold", "n = 5\n"]);
}

#[test]
fn few_cases_are_not_passed_over() {
    // section 5: with one case the only sizes are 0, which neither clause takes
    let (dir, file) =
        with("prop \"five\" (x: f32[n]) where 5 <= n { n < 5 }\nprop \"never\" (x: f32[n]) where 100 <= n { true }\n");
    let out = run(&["test", "--cases", "1", &file], dir.path());
    assert_eq!(code(&out), 1);
    has(&stdout(&out), &["`five` does not hold", "no sizes up to 9 are as `never` asks for", "0 passed, 2 failed"]);
}

#[test]
fn usage_errors_as_json() {
    // section 10
    let (dir, file) = with("fn main(n: i64) { print(n) }\n");
    let cases: [(&[&str], &str); 9] = [
        (&["run", "--json", "--nope", &file], "unexpected argument '--nope'"),
        (&["check", "--json"], "required arguments"),
        (&["emit", "--json", "--stage", "bad", &file], "invalid value 'bad'"),
        (&["check", "--json", "absent.tdl"], "cannot read `absent.tdl`"),
        (&["bench", "--json", "--baseline", "absent.json", &file], "cannot read `absent.json`"),
        (&["run", "--json", &file], "the flag `--n` is missing"),
        (&["run", "--json", "--device", "interp", &file], "the flag `--n` is missing"),
        (&["run", "--json", &file, "--", "--q", "\"3\""], "--q"),
        (&["run", "--json", "--device", "interp", &file, "--", "--q", "3"], "--q"),
    ];
    for (args, text) in cases {
        let out = run(args, dir.path());
        assert_eq!(code(&out), 2, "{args:?}");
        assert_eq!(stdout(&out), "", "{args:?}");
        let lines = json(&stderr(&out));
        assert_eq!(lines.len(), 1, "{args:?}");
        assert_eq!(lines[0]["severity"], "error");
        assert!(lines[0]["code"].is_null() && lines[0]["primary"].is_null(), "{args:?}");
        let message = lines[0]["message"].as_str().unwrap_or("");
        assert!(message.contains(text) && !message.starts_with("error"), "{message}");
    }
    // an argument of the program is none of the command's
    let out = run(&["run", &file, "--", "--json"], dir.path());
    assert_eq!(code(&out), 2);
    has(&stderr(&out), &["error: "]);
    assert_eq!(code(&run(&["check", "--json", "--help"], dir.path())), 0);
}

#[test]
fn a_program_from_standard_input() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("beside.tdl"), "fn two() -> i64 = 2\n").expect("writable");
    let mut command = tdl(&["run", "-", "--", "--n", "5"], dir.path());
    let text = "import beside\nfn main(n: i64 = 1) { print(n * beside.two())\n  assert n < 0 }\n";
    let out = output_with(&mut command, text);
    assert_eq!((code(&out), stdout(&out).as_str()), (1, "10\n"), "{}", stderr(&out));
    has(&stderr(&out), &["error[E0701]", "<input>:3:3"]);
    let out = output_with(&mut tdl(&["check", "-"], dir.path()), "fn f() -> i64 = 1.5\n");
    assert_eq!(code(&out), 1);
    has(&stderr(&out), &["<input>:1:17"]);
}

#[test]
fn failures_of_a_program_as_json() {
    let (dir, file) = with(
        "\
import data
fn main(path: str = \"\", n: i64 = 3) {
  if path != \"\" { print(len(data.csv(path))) }
  print([1, 2][n])
}
",
    );
    for device in ["cpu", "interp", "sim"] {
        let out = run(&["run", "--json", "--device", device, &file], dir.path());
        assert_eq!(code(&out), 1);
        let lines = json(&stderr(&out));
        let [line] = lines.as_slice() else { panic!("{}", stderr(&out)) };
        assert_eq!((line["severity"].as_str(), line["code"].as_str()), (Some("error"), Some("E0702")));
        assert_eq!(line["message"], "index 3 is out of range: axis 0 has size 2");
        let place = &line["primary"];
        assert_eq!((&place["file"], &place["line"], &place["column"]), (&"a.tdl".into(), &4.into(), &9.into()));
        let out = run(&["run", "--json", "--device", device, &file, "--", "--path", "no \"such\" file"], dir.path());
        let lines = json(&stderr(&out));
        let [line] = lines.as_slice() else { panic!("{}", stderr(&out)) };
        assert_eq!((&line["code"], &line["primary"]["line"]), (&"E0706".into(), &3.into()));
        has(&line["notes"].to_string(), &["it happened in <std>/data.tdl:"]);
    }
}

#[test]
fn what_is_shipped_is_in_the_form_of_fmt() {
    let root = support::root();
    for folder in ["examples", "bench", "stdlib"] {
        let out = run(&["fmt", "--check", folder], &root);
        assert_eq!(code(&out), 0, "{folder}: {}", stdout(&out));
    }
    let mut files = vec!["fmt".to_owned(), "--check".to_owned()];
    for entry in std::fs::read_dir(root.join("tests/run")).expect("a folder") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        // these are about line ends and blanks
        if name.ends_with(".tdl") && !["lexical_newlines.tdl", "s01_lexical.tdl", "operators.tdl"].contains(&&*name) {
            files.push(format!("tests/run/{name}"));
        }
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let out = run(&files, &root);
    assert_eq!(code(&out), 0, "{}", stdout(&out));
}

// --- tdl doc

#[test]
fn pages_have_signatures_examples_and_links_that_lead_somewhere() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = run(&["doc", "--std", "-o", "pages"], dir.path());
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    let pages = dir.path().join("pages");
    let read = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let nn = read("module.nn.html");
    has(&nn, &["id=\"Linear\"", "id=\"Linear.init\"", "id=\"relu\"", "<h2>Functions</h2>", "cross_entropy", "assert"]);
    has(&nn, &["<span class=\"t\">f32</span>", "href=\"module.nn.html#gelu\""]);
    let mut links = 0;
    for entry in std::fs::read_dir(&pages).expect("a folder") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        let text = read(&name);
        for part in text.split("href=\"").skip(1) {
            let target = part.split('"').next().expect("a target");
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            if file.starts_with("http") {
                continue;
            }
            let there = if file.is_empty() { text.clone() } else { read(file) };
            let found = anchor.is_empty() || there.contains(&format!("id=\"{anchor}\""));
            assert!(found, "{name}: {target} leads nowhere");
            links += 1;
        }
    }
    assert!(links > 50, "only {links} links");
    let (dir, file) = with(
        "## About <this> & that.\n\n## Half: see [twice].\nfn half(x: f32) -> f32 = 0.5 * x\n\nfn twice(x: f32) -> f32 {\n  2.0 * x\n}\n",
    );
    assert_eq!(code(&run(&["doc", &file], dir.path())), 0);
    let page = std::fs::read_to_string(dir.path().join("doc/module.a.html")).expect("a page");
    has(&page, &["About &lt;this&gt; &amp; that.", "href=\"module.a.html#twice\"", "id=\"half\""]);
    assert!(!page.contains("2.0"), "no bodies in signatures");
}

// --- tdl new

#[test]
fn a_new_project_works_and_is_not_overwritten() {
    let dir = tempfile::tempdir().expect("a folder");
    assert_eq!(code(&run(&["new", "deep/line"], dir.path())), 0);
    let out = run(&["run", "deep/line/main.tdl"], dir.path());
    has(&stdout(&out), &["y = 2.0", " x + ", "loss 0.01"]);
    let out = run(&["test", "deep/line/model.tdl"], dir.path());
    assert_eq!(code(&out), 0, "{}{}", stdout(&out), stderr(&out));
    has(&stdout(&out), &["3 passed, 0 failed"]);
    assert_eq!(code(&run(&["bench", "--time", "0.02", "deep/line/model.tdl"], dir.path())), 0);
    assert_eq!(code(&run(&["fmt", "--check", "deep/line"], dir.path())), 0);
    has(&std::fs::read_to_string(dir.path().join("deep/line/README.md")).expect("a README"), &["# line"]);
    let out = run(&["new", "deep/line"], dir.path());
    assert_eq!(code(&out), 2);
    has(&stderr(&out), &["`deep/line` exists already"]);
}

// --- files and flags

const COMMANDS: &[&[&str]] =
    &[&["check"], &["run"], &["build"], &["test"], &["bench"], &["fmt"], &["emit", "--stage", "ir"], &["repl"]];

#[test]
fn files_that_cannot_be_read_are_explained() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(dir.path().join("folder.tdl")).expect("writable");
    std::fs::write(dir.path().join("latin.tdl"), b"# caf\xe9\n").expect("writable");
    for command in COMMANDS {
        for (file, message) in [
            ("missing.tdl", "cannot read `missing.tdl`: no such file"),
            ("latin.tdl", "not UTF-8 text: the byte 0xe9 on line 1 (offset 5)"),
            ("folder.tdl", "cannot read `folder.tdl`: it is a folder"),
        ] {
            if command[0] == "fmt" && file == "folder.tdl" {
                continue;
            }
            let args: Vec<&str> = command.iter().copied().chain([file]).collect();
            let out = run(&args, dir.path());
            assert_eq!(code(&out), 2, "{args:?}: {}", stderr(&out));
            has(&stderr(&out), &[message]);
        }
    }
}

#[test]
fn empty_files_are_programs_without_main() {
    let (dir, file) = with("");
    for (command, expected, says) in [
        (&["check"][..], 0, ""),
        (&["run"], 2, "has no `fn main`"),
        (&["build"], 2, "has no `fn main`"),
        (&["test"], 0, "0 passed, 0 failed"),
        (&["bench"], 0, "no benchmarks"),
        (&["fmt"], 0, ""),
        (&["emit", "--stage", "opt"], 0, ""),
    ] {
        let args: Vec<&str> = command.iter().copied().chain([file.as_str()]).collect();
        let out = run(&args, dir.path());
        assert_eq!(code(&out), expected, "{args:?}: {}", stderr(&out));
        has(&(stdout(&out) + &stderr(&out)), &[says]);
    }
}

#[test]
fn usage_errors_exit_with_two_and_help_with_zero() {
    let dir = tempfile::tempdir().expect("a folder");
    for args in [
        &["chekc", "a.tdl"][..],
        &["run"],
        &["run", "--thread", "3", "a.tdl"],
        &["run", "--threads", "0", "a.tdl"],
        &["run", "--device", "gpu", "a.tdl"],
        &["run", "--device", "cuda:x", "a.tdl"],
        &["test", "--cases", "0", "a.tdl"],
        &["bench", "--time", "-1", "a.tdl"],
        &["emit", "a.tdl"],
        &["emit", "--stage", "nonsense", "a.tdl"],
        &["emit", "--stage", "ptx", "--cpu", "sm_1", "a.tdl"],
        &["explain", "E9999"],
        &["new"],
    ] {
        let out = run(args, dir.path());
        assert_eq!(code(&out), 2, "{args:?}: {}", stderr(&out));
        has(&stderr(&out), &["error"]);
    }
    for command in ["run", "build", "check", "repl", "test", "bench", "fmt", "new", "emit", "explain", "lsp"] {
        let out = run(&[command, "--help"], dir.path());
        assert_eq!(code(&out), 0, "{command}");
        assert!(stdout(&out).lines().count() >= 6, "{command}: {}", stdout(&out));
    }
}

// --- tdl emit

#[test]
fn machine_code_stages_are_there() {
    let (dir, file) = with("fn main(n: i64 = 3) { print(sum(exp(ones(f32[n])))) }\n");
    for (stage, part) in [("llvm", "define"), ("asm", "ret")] {
        let out = run(&["emit", "--stage", stage, &file], dir.path());
        assert_eq!(code(&out), 0, "{}", stderr(&out));
        has(&stdout(&out), &[part]);
    }
}

// --- editors

#[test]
fn editors_know_every_keyword() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let vim = read("editors/vim/syntax/tdl.vim");
    let grammar: serde_json::Value =
        serde_json::from_str(&read("editors/vscode/syntaxes/tdl.tmLanguage.json")).expect("valid JSON");
    for other in ["editors/vscode/package.json", "editors/vscode/language-configuration.json"] {
        serde_json::from_str::<serde_json::Value>(&read(other)).unwrap_or_else(|e| panic!("{other}: {e}"));
    }
    let keywords: Vec<&str> =
        vim.lines().filter(|l| l.starts_with("syntax keyword")).flat_map(str::split_whitespace).collect();
    let mut patterns = Vec::new();
    collect_matches(&grammar, &mut patterns);
    let words: Vec<&str> = patterns.iter().flat_map(|p| p.split(|c: char| !c.is_alphanumeric() && c != '_')).collect();
    let types = ["f16", "bf16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u32", "u64", "bool", "str", "Rng"];
    for word in
        tdl_syntax::tokens::KEYWORDS.iter().chain(&types).chain(&["inf", "nan", "where", "assert", "some", "io"])
    {
        assert!(keywords.contains(word), "Vim does not know `{word}`");
        // `\bin` leaves a `b` in front of the word
        let found = words.iter().any(|w| w == word || w.strip_prefix('b') == Some(word));
        assert!(found, "the TextMate grammar does not know `{word}`");
    }
    for word in ["test", "prop", "bench", "expect"] {
        assert!(vim.contains(word), "Vim does not know `{word}`");
        assert!(patterns.iter().any(|p| p.contains(word)), "the TextMate grammar does not know `{word}`");
    }
}

fn collect_matches(value: &serde_json::Value, out: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value.as_str()) {
                    ("match" | "begin", Some(pattern)) => out.push(pattern.to_owned()),
                    _ => collect_matches(value, out),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|v| collect_matches(v, out)),
        _ => {}
    }
}
