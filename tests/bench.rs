//! `bench/gpu/run`, tried out: all of it on the simulated GPU with tiny sizes, and what it says of a machine's driver. Without `python3` the
//! trials are left out, and said to be.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::{fake_driver, output, root, stderr, stdout};

fn bench(driver: Option<&Path>, args: &[&str]) -> Option<Output> {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("no `python3`: `bench/gpu/run` is not tried");
        return None;
    }
    let mut command = Command::new("python3");
    command.arg(root().join("bench/gpu/run")).args(args).env("TDL", env!("CARGO_BIN_EXE_tdl"));
    if let Some(folder) = driver {
        command.env("LD_LIBRARY_PATH", folder).env("FAKE_CUDA", "idle");
    }
    Some(output(&mut command))
}

const PAGE: &str = "# Benchmarks\n\nOf the processor.\n\n## On a GPU\n\nOld.\n\n## Checking\n\nOf the checker.\n";

#[test]
fn each_part_runs_and_is_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let [page, again, results] = ["page.md", "again.md", "results.json"].map(|f| dir.path().join(f));
    for p in [&page, &again] {
        std::fs::write(p, PAGE).expect("writable");
    }
    let [p, a, r] = [&page, &again, &results].map(|p| p.to_string_lossy().into_owned());
    let flags = ["--device", "sim", "--programs", "4", "--jobs", "2", "--limit", "4", "--docs", &p, "--results", &r];
    let Some(out) = bench(None, &flags) else { return };
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(&out), stderr(&out));
    let text = std::fs::read_to_string(&page).expect("a page");
    assert!(text.starts_with("# Benchmarks\n\nOf the processor.\n\n## On a GPU\n\nMeasured on "), "{text}");
    assert!(text.ends_with("\n\n## Checking\n\nOf the checker.\n"), "{text}");
    for part in [
        "| 4 of 4 |",
        "| random numbers and the processor's | equal |",
        "| softmax | ",
        "| bf16_64x512x512x512 | ",
        "| gpt2_train | ",
        "| launch_100 | ",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains("fails") && !text.contains("Old."), "{text}");
    // from what was kept, the same page
    let out = bench(None, &["--render", &r, "--docs", &a]).expect("it runs");
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(std::fs::read_to_string(&again).expect("a page"), text);
}

#[test]
fn without_a_gpu_it_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let page = dir.path().join("page.md").to_string_lossy().into_owned();
    let Some(out) = bench(None, &["--device", "cuda:77", "--docs", &page]) else { return };
    let text = stderr(&out);
    assert_eq!(out.status.code(), Some(1), "{}{text}", stdout(&out));
    assert!(text.starts_with("no NVIDIA GPU: ") && text.contains("`--device sim`"), "{text}");
    assert!(!Path::new(&page).exists(), "nothing was measured");
}

#[test]
fn with_a_driver_it_measures_there() {
    let dir = fake_driver("fn main() {}\n").expect("a driver");
    let page = dir.path().join("page.md").to_string_lossy().into_owned();
    let flags = ["--device", "cuda:1", "--part", "launch", "--peers", "", "--docs", &page];
    let Some(out) = bench(Some(dir.path()), &flags) else { return };
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(&out), stderr(&out));
    let text = std::fs::read_to_string(&page).expect("a page");
    for part in ["Fake 1, driver of CUDA 12.4", "Copies within its memory move ", "| launch_100 | "] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}
