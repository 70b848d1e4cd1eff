//! `tdl build -g`: gdb stops at lines of the `.tdl` file, steps, and shows scalars and small tensors.

mod support;

use std::process::Command;

use support::{output, root, stderr, stdout, tdl};

/// What gdb prints when it runs these commands on `tests/data/debug.tdl`.
fn gdb(commands: &[&str]) -> Option<String> {
    if Command::new("gdb").arg("--version").output().is_err() {
        eprintln!("no gdb on this machine: nothing is tested");
        return None;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let bin = dir.path().join("debug");
    let built = output(&mut tdl(&["build", "-g", "tests/data/debug.tdl", "-o", &bin.to_string_lossy()], &root()));
    assert!(built.status.success(), "{}", stderr(&built));
    let mut command = Command::new("gdb");
    command.args(["-nx", "-q", "-batch", "-iex", "set debuginfod enabled off"]);
    for c in commands {
        command.args(["-ex", c]);
    }
    let out = output(command.arg(&bin).current_dir(root()).env("NO_COLOR", "1"));
    Some(format!("{}{}", stdout(&out), stderr(&out)))
}

fn holds(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => panic!("`{part}` is missing (after what came before it) in:\n{text}"),
        }
    }
}

#[test]
fn stops_at_a_line_and_shows_variables() {
    let Some(text) = gdb(&["break debug.tdl:13", "run", "print total", "print v", "print n", "info locals"]) else {
        return;
    };
    holds(&text, &["Breakpoint 1", "debug.tdl:13", "13\t", "= 10.5", "= {1, 2, 3}", "= 2"]);
}

#[test]
fn steps_line_by_line() {
    let Some(text) = gdb(&["break debug.tdl:8", "run", "next", "next", "next", "next"]) else { return };
    holds(&text, &["debug.tdl:8", "\n9\t", "\n10\t", "\n11\t"]);
}

#[test]
fn stops_in_a_loop_each_time_around() {
    let Some(text) = gdb(&["break debug.tdl:11", "run", "print i", "continue", "print i", "print total"]) else {
        return;
    };
    holds(&text, &["= 0", "debug.tdl:11", "= 1", "= 0.5"]);
}

#[test]
fn stops_in_a_function_and_names_it() {
    let Some(text) = gdb(&["break debug.tdl:4", "run", "print doubled", "print by", "backtrace"]) else { return };
    holds(&text, &["debug.tdl:4", "= {2, 4, 6}", "= 2", "#0  scale", "#1 ", "main"]);
}
