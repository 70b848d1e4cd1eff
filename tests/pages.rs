//! The pages of the error codes: the wrong program of each gives its code and no other, the right one none. Programs of codes
//! that come at run time are run.

mod support;

use std::path::Path;

use libtest_mimic::{Arguments, Failed, Trial};
use support::{expect, output, stderr, tdl};
use tdl_source::{CODES, Code, CodeDef, code};

/// Codes that no program gives by itself: they come from the machine around it. `tests/machine.rs` and
/// `tests/gpu.rs` have those.
const AROUND: &[Code] = &[
    code::E0601,
    code::E0602,
    code::E0604,
    code::E0605,
    code::E0606,
    code::E0705,
    code::E0707,
    code::E0708,
    code::E0709,
    code::E0710,
];

fn main() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&dir).expect("a folder to write to");
    let trials = CODES
        .iter()
        .map(|def| {
            let dir = dir.clone();
            Trial::test(def.code.to_string(), move || check(def, &dir))
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn check(def: &CodeDef, dir: &Path) -> Result<(), Failed> {
    let (wrong, right) = (fenced(def.page, "tdl wrong"), fenced(def.page, "tdl"));
    // what is not implemented yet changes from day to day
    if AROUND.contains(&def.code) || def.code == code::E0390 {
        return Ok(());
    }
    expect(!wrong.is_empty() && !right.is_empty(), "the page needs a fence `tdl wrong` and one `tdl`")?;
    let at_run_time = def.code.0 >= 700;
    for (i, text) in wrong.iter().enumerate() {
        let file = format!("{}_wrong_{i}.tdl", def.code);
        std::fs::write(dir.join(&file), text)?;
        if at_run_time {
            let checked = output(&mut tdl(&["check", &file], dir));
            expect(checked.status.code() == Some(0), format!("it does not check:\n{}", stderr(&checked)))?;
        }
        let mut run = at_run_time;
        // some derivatives are found to be wrong only when they are built
        if (500..600).contains(&def.code.0) {
            run = output(&mut tdl(&["check", &file], dir)).status.success();
        }
        let found = codes(&file, dir, run, 1)?;
        let code = def.code.to_string();
        expect(
            !found.is_empty() && found.iter().all(|c| *c == code),
            format!("the wrong program gives {found:?}:\n{text}"),
        )?;
    }
    for (i, text) in right.iter().enumerate() {
        let file = format!("{}_right_{i}.tdl", def.code);
        std::fs::write(dir.join(&file), text)?;
        codes(&file, dir, at_run_time, 0)?;
    }
    Ok(())
}

/// The codes that `tdl check`, or `tdl run`, reports.
fn codes(file: &str, dir: &Path, run: bool, status: i32) -> Result<Vec<String>, Failed> {
    let command = if run { "run" } else { "check" };
    let out = output(&mut tdl(&[command, file], dir));
    let text = stderr(&out);
    let got = out.status.code();
    expect(got == Some(status), format!("`tdl {command} {file}` exits with {got:?}, not {status}:\n{text}"))?;
    let heads = text.lines().filter_map(|l| l.strip_prefix("error[")?.split_once(']'));
    Ok(heads.map(|(code, _)| code.to_owned()).collect())
}

/// The contents of the fences with this info string.
fn fenced(page: &str, info: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut inside = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(i), None) => {
                inside = Some(i.trim() == info);
                if inside == Some(true) {
                    out.push(String::new());
                }
            }
            (Some(_), Some(_)) => inside = None,
            (None, Some(true)) => {
                if let Some(text) = out.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            (None, Some(false) | None) => {}
        }
    }
    out
}
