//! What each stage of the compiler makes of small programs: `tests/stages/x.tdl` becomes `x.stages`, the texts of `tdl emit`
//! one after the other. `UPDATE=1` accepts what comes out. Machine code is only checked to be there.

mod support;

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use support::{compare, expect, name, output, programs, root, stderr, stdout, tdl};

/// The stages whose texts are kept.
const KEPT: &[&str] = &["ast", "typed", "ir", "grad", "opt", "loops"];

/// Stages whose texts depend on the machine, and what they contain at least.
const MACHINE: &[(&str, &str)] = &[("llvm", "define "), ("asm", ".text")];

fn main() {
    let dir = root().join("tests/stages");
    let trials = programs(&dir)
        .into_iter()
        .map(|path| {
            let dir = dir.clone();
            Trial::test(name(&path), move || check(&path, &dir))
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn check(path: &PathBuf, dir: &Path) -> Result<(), Failed> {
    let file = path.file_name().expect("a file name").to_string_lossy().into_owned();
    let mut text = String::new();
    for stage in KEPT {
        text.push_str(&format!("=== {stage}\n{}\n", emit(&file, stage, dir)?.trim_end()));
    }
    compare(&path.with_extension("stages"), &text)?;
    for (stage, part) in MACHINE {
        let text = emit(&file, stage, dir)?;
        expect(text.contains(part), format!("no `{part}` in stage {stage}:\n{text}"))?;
    }
    Ok(())
}

fn emit(file: &str, stage: &str, dir: &Path) -> Result<String, Failed> {
    let out = output(&mut tdl(&["emit", "--stage", stage, file], dir));
    expect(out.status.success(), format!("stage {stage}: {}", stderr(&out)))?;
    // once more: nothing may depend on the order of a hash map
    let again = output(&mut tdl(&["emit", "--stage", stage, file], dir));
    expect(out.stdout == again.stdout, format!("stage {stage} differs from run to run"))?;
    Ok(stdout(&out))
}
