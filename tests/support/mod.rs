//! What the test programs share: running `tdl`, comparing with files, blessing with `UPDATE=1`.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use libtest_mimic::Failed;

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository exists")
}

/// A `tdl` command that writes no colour and keeps its cache out of the user's.
pub fn tdl(args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tdl"));
    command.args(args).current_dir(dir).env("NO_COLOR", "1").env("TDL_CACHE_DIR", cache_dir()).stdin(Stdio::null());
    command
}

fn cache_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"))
}

/// With a text as standard input.
pub fn output_with(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), input.as_bytes()).expect("taken");
    child.wait_with_output().expect("it ends")
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The `.tdl` files of a folder, in order.
pub fn programs(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "tdl"))
        .collect();
    files.sort();
    files
}

pub fn name(path: &Path) -> String {
    path.file_stem().expect("a file name").to_string_lossy().into_owned()
}

/// Compares with a file's contents, or writes them under `UPDATE=1`.
pub fn compare(path: &Path, actual: &str) -> Result<(), Failed> {
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(path, actual).map_err(|e| format!("{}: {e}", path.display()).into());
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return Ok(());
    }
    let diff = similar::TextDiff::from_lines(expected.as_str(), actual);
    Err(format!("{} differs (UPDATE=1 accepts it):\n{}", path.display(), diff.unified_diff()).into())
}

/// Turns a failed expectation into a test failure.
pub fn expect(condition: bool, message: impl Into<String>) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(message.into().into()) }
}

/// A folder with a program, `a.tdl`, and a driver for GPUs that there are not (`tests/data/fake_cuda.c`).
pub fn fake_driver(program: &str) -> Result<tempfile::TempDir, Failed> {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("a.tdl"), program)?;
    let library = dir.path().join("libcuda.so");
    let source = root().join("tests/data/fake_cuda.c");
    let done = output(Command::new("cc").args(["-shared", "-fPIC", "-w", "-o"]).arg(&library).arg(source));
    expect(done.status.success(), stderr(&done))?;
    // by both names that drivers are looked for
    std::os::unix::fs::symlink("libcuda.so", dir.path().join("libcuda.so.1"))?;
    Ok(dir)
}
