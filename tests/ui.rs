//! Wrong programs and what the compiler says of them.
//!
//! `tests/ui/x.tdl` is checked; every error must be announced by a comment `#~ E0401 part of the message` on the line
//! of its primary place (or `#~^` on the line below it), and the rendered text must equal `x.stderr`.

mod support;

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use support::{compare, expect, name, output, programs, root, stderr, tdl};

fn main() {
    let dir = root().join("tests/ui");
    let trials = programs(&dir)
        .into_iter()
        .map(|path| {
            let dir = dir.clone();
            Trial::test(name(&path), move || check(&path, &dir))
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

#[derive(Debug, PartialEq)]
struct Expected {
    line: u64,
    code: String,
    text: String,
}

fn check(path: &PathBuf, dir: &Path) -> Result<(), Failed> {
    let source = std::fs::read_to_string(path)?;
    let file = path.file_name().expect("a file name").to_string_lossy().into_owned();
    let json = output(&mut tdl(&["check", "--json", &file], dir));
    expect(json.status.code() == Some(1), format!("`tdl check` exits with {:?}, not 1", json.status.code()))?;
    let mut found = Vec::new();
    for line in stderr(&json).lines() {
        let d: serde_json::Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
        found.push((
            d["primary"]["line"].as_u64().unwrap_or(0),
            d["code"].as_str().unwrap_or("").to_owned(),
            format!("{} {}", d["message"].as_str().unwrap_or(""), d["primary"]["text"].as_str().unwrap_or("")),
        ));
    }
    let announced = announced(&source);
    expect(!announced.is_empty(), "no `#~ CODE text` in the file")?;
    for e in &announced {
        let hit = found.iter().position(|(l, c, m)| *l == e.line && *c == e.code && m.contains(&e.text));
        match hit {
            Some(i) => drop(found.remove(i)),
            None => return Err(format!("not reported: {e:?}; reported: {found:?}").into()),
        }
    }
    expect(found.is_empty(), format!("not announced: {found:?}"))?;
    let rendered = output(&mut tdl(&["check", &file], dir));
    compare(&path.with_extension("stderr"), &stderr(&rendered))
}

fn announced(source: &str) -> Vec<Expected> {
    let mut out = Vec::new();
    for (i, line) in source.lines().enumerate() {
        let Some((_, rest)) = line.split_once("#~") else { continue };
        let up = rest.chars().take_while(|c| *c == '^').count();
        let rest = rest[up..].trim();
        let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
        out.push(Expected { line: (i + 1 - up) as u64, code: code.to_owned(), text: text.trim().to_owned() });
    }
    out
}
