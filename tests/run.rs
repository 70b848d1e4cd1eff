//! Programs and what they print: reference interpreter = native code in this process = native binary = simulated GPU, whose sums
//! of few values are in the order of the others.
//!
//! `tests/run/x.tdl` prints `x.stdout`; where `x.stderr` exists the program fails with exit code 1 and that message.
//! A first line `# args: --steps 5` gives arguments. Files that a program writes are its own: `env("TDL_TEST_DIR", "/tmp")` is a new
//! folder each time.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use support::{compare, expect, name, output, programs, root, stderr, stdout, tdl};

fn main() {
    let dir = root().join("tests/run");
    let mut trials = Vec::new();
    let mut ways = vec![
        ("interpreter", interpreter as fn(&Path, &Path, &[String]) -> Output),
        ("jit", jit),
        ("cached", jit),
        ("binary", binary),
        ("sim", sim),
    ];
    // the number of a GPU
    if std::env::var_os("TDL_TEST_CUDA").is_some() {
        ways.push(("cuda", cuda));
    }
    for path in programs(&dir) {
        for (way, run) in ways.clone() {
            let (path, dir) = (path.clone(), dir.clone());
            trials.push(Trial::test(format!("{}::{way}", name(&path)), move || check(&path, &dir, run)));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn check(path: &PathBuf, dir: &Path, run: fn(&Path, &Path, &[String]) -> Output) -> Result<(), Failed> {
    let source = std::fs::read_to_string(path)?;
    let args: Vec<String> = source
        .lines()
        .next()
        .and_then(|l| l.strip_prefix("# args:"))
        .map(|l| l.split_whitespace().map(str::to_owned).collect())
        .unwrap_or_default();
    let out = run(path, dir, &args);
    let errors = path.with_extension("stderr");
    let fails = errors.exists();
    let code = out.status.code();
    expect(code == Some(i32::from(fails)), format!("exit code {code:?}\n{}\n{}", stdout(&out), stderr(&out)))?;
    compare(&path.with_extension("stdout"), &stdout(&out))?;
    if fails { compare(&errors, &stderr(&out)) } else { expect(out.stderr.is_empty(), stderr(&out)) }
}

fn file(path: &Path) -> String {
    path.file_name().expect("a file name").to_string_lossy().into_owned()
}

fn with<'a>(mut head: Vec<&'a str>, args: &'a [String]) -> Vec<&'a str> {
    if !args.is_empty() {
        head.push("--");
        head.extend(args.iter().map(String::as_str));
    }
    head
}

fn interpreter(path: &Path, dir: &Path, args: &[String]) -> Output {
    apart(&mut tdl(&with(vec!["run", "--device", "interp", &file(path)], args), dir))
}

fn jit(path: &Path, dir: &Path, args: &[String]) -> Output {
    apart(&mut tdl(&with(vec!["run", &file(path)], args), dir))
}

/// With a folder of its own.
fn apart(command: &mut Command) -> Output {
    let dir = tempfile::tempdir().expect("a folder");
    output(command.env("TDL_TEST_DIR", dir.path()))
}

fn sim(path: &Path, dir: &Path, args: &[String]) -> Output {
    output(&mut tdl(&with(vec!["run", "--device", "sim", &file(path)], args), dir))
}

fn cuda(path: &Path, dir: &Path, args: &[String]) -> Output {
    let number = std::env::var("TDL_TEST_CUDA").unwrap_or_default();
    output(&mut tdl(&with(vec!["run", "--device", &format!("cuda:{number}"), &file(path)], args), dir))
}

fn binary(path: &Path, dir: &Path, args: &[String]) -> Output {
    let bin = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("run-{}", name(path)));
    let built = output(&mut tdl(&["build", &file(path), "-o", &bin.to_string_lossy()], dir));
    if !built.status.success() {
        return built;
    }
    let out = apart(Command::new(&bin).args(args).current_dir(dir).env("NO_COLOR", "1"));
    let _ = std::fs::remove_file(bin);
    out
}
