//! The examples run, in this process and as binaries, to the same bits; the digits reach their accuracy; a training
//! step after the first allocates nothing.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::{name, output, programs, root, stderr, stdout, tdl};

fn binary(example: &Path, dir: &Path) -> std::path::PathBuf {
    let bin = dir.join(name(example));
    let built = output(&mut tdl(&["build", &example.to_string_lossy(), "-o", &bin.to_string_lossy()], &root()));
    assert!(built.status.success(), "{}", stderr(&built));
    bin
}

fn succeeded(out: &Output) -> String {
    assert!(out.status.success(), "exit code {:?}\n{}\n{}", out.status.code(), stdout(out), stderr(out));
    stdout(out)
}

/// Runs the JIT and the binary in folders of their own; returns what both printed and the files they wrote.
fn both_ways(example: &Path, args: &[&str]) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let bin = binary(example, dir.path());
    let mut printed = Vec::new();
    let mut written = Vec::new();
    for way in ["jit", "binary"] {
        let at = dir.path().join(way);
        std::fs::create_dir(&at).expect("a folder");
        std::os::unix::fs::symlink(root().join("examples"), at.join("examples")).expect("a link");
        let file = example.to_string_lossy().into_owned();
        let mut command = if way == "jit" {
            tdl(&[vec!["run", &file, "--"], args.to_vec()].concat(), &at)
        } else {
            let mut c = Command::new(&bin);
            c.args(args).current_dir(&at).env("NO_COLOR", "1");
            c
        };
        printed.push(succeeded(&output(&mut command)));
        let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(&at)
            .expect("a folder")
            .map(|e| e.expect("an entry"))
            .filter(|e| e.file_type().is_ok_and(|t| t.is_file()))
            .map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read(e.path()).expect("a file")))
            .collect();
        files.sort();
        written.push(files);
    }
    assert_eq!(printed[0], printed[1], "the JIT and the binary differ");
    assert!(written[0] == written[1], "the JIT and the binary wrote different files");
    printed.swap_remove(0)
}

#[test]
fn every_example_runs_in_both_ways() {
    for example in programs(&root().join("examples")) {
        // half a minute with its defaults
        let args: &[&str] = if name(&example) == "transformer" { &["--steps", "10", "--letters", "20"] } else { &[] };
        both_ways(&example, args);
    }
}

#[test]
fn what_the_examples_test_holds() {
    for device in ["cpu", "interp"] {
        for example in programs(&root().join("examples")) {
            let file = example.to_string_lossy().into_owned();
            let out = output(&mut tdl(&["test", "--device", device, &file], &root()));
            assert!(out.status.success(), "{file} ({device}): {}{}", stdout(&out), stderr(&out));
        }
    }
}

#[test]
fn digits_reach_their_accuracy_with_several_seeds() {
    let example = root().join("examples/digits.tdl");
    for seed in ["0", "1", "2"] {
        let text = both_ways(&example, &["--seed", seed]);
        let last = text.lines().last().unwrap_or_default();
        let accuracy: f64 = last.rsplit(' ').next().and_then(|w| w.parse().ok()).unwrap_or(0.0);
        assert!(accuracy >= 0.95, "seed {seed}: {last}");
    }
}

#[test]
fn the_transformer_learns() {
    let text = both_ways(&root().join("examples/transformer.tdl"), &["--steps", "101", "--letters", "0"]);
    let losses: Vec<f64> = text.lines().filter_map(|l| l.rsplit(' ').next()?.parse().ok()).collect();
    assert!(losses.first() > Some(&4.5) && losses.last() < Some(&2.8), "{text}");
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let dir = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(root().join("examples"), dir.path().join("examples")).expect("a link");
    let run = |threads: &str| {
        succeeded(&output(&mut tdl(&["run", "--threads", threads, "examples/digits.tdl"], dir.path())));
        std::fs::read(dir.path().join("mlp.safetensors")).expect("the saved model")
    };
    let one = run("1");
    assert!(one == run("2") && one == run("3"), "the model depends on the number of threads");
}

/// The losses of the first steps on the digits, in the reference interpreter and compiled.
#[test]
fn the_interpreter_agrees_on_the_first_losses() {
    let losses = |device: &str| -> Vec<f64> {
        let out = output(&mut tdl(&["run", "--device", device, "tests/data/digits_losses.tdl"], &root()));
        succeeded(&out).lines().map(|l| l.parse().unwrap_or(f64::NAN)).collect()
    };
    let (slow, fast) = (losses("interp"), losses("cpu"));
    assert_eq!(slow.len(), 10);
    for (a, b) in slow.iter().zip(&fast) {
        assert!((a - b).abs() <= 1e-5 * a.abs(), "{slow:?} {fast:?}");
    }
    assert!(slow[9] < slow[0], "no progress: {slow:?}");
}

/// `--timings` reports how often memory was asked of the system. Ten times as many steps ask as often.
#[test]
fn steps_after_the_first_allocate_nothing() {
    let allocations = |steps: &str| -> u64 {
        let out = output(&mut tdl(
            &["run", "--timings", "--threads", "1", "tests/data/digits_losses.tdl", "--", "--steps", steps, "--quiet"],
            &root(),
        ));
        succeeded(&out);
        let text = stderr(&out);
        let line = text.lines().find(|l| l.starts_with("allocations")).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().nth(1).and_then(|w| w.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    };
    assert_eq!(allocations("2"), allocations("20"));
}

/// `--timings` reports the peak of the program's tensors, which is the same in every run.
#[test]
fn gradients_keep_little() {
    let peak = |file: &str, gradient: bool| -> f64 {
        let file = format!("bench/gradients/{file}.tdl");
        let mut args = vec!["run", "--timings", "--threads", "1", &file];
        args.extend(if gradient { &["--", "--gradient", "true"][..] } else { &[] });
        let out = output(&mut tdl(&args, &root()));
        succeeded(&out);
        let text = stderr(&out);
        let line = text.lines().find(|l| l.starts_with("peak memory")).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().nth(2).and_then(|w| w.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    };
    let (function, gradient) = (peak("gmm", false), peak("gmm", true));
    assert!(gradient <= 2.5 * function, "mixture: {gradient} of {function} MB");
    // hidden and cell of two layers of 14, for each of 1023 steps
    let states = 1023.0 * 4.0 * 14.0 * 8e-6;
    let kept = peak("lstm", true) - peak("lstm", false);
    assert!(kept <= 1.2 * states, "LSTM: {kept} of {states} MB");
    let states = 100_000.0 * 64.0 * 8e-6;
    let kept = peak("checkpoint", true) - peak("checkpoint", false);
    assert!(kept <= 1.2 * states, "loop: {kept} of {states} MB");
}
