//! The book in `docs/`, the README and the pages of the error codes: every example runs, every page that is made from
//! the sources is up to date. `UPDATE=1` writes what is printed into the pages.
//!
//! The wording of messages and the pages made from the sources are compared where `TDL_DOCS_EXACT` is set, as `./tdl ci`
//! does; without it, codes, and what programs print.
//!
//! A fence `tdl` holds a program; a fence `text` right after it what the program prints. Without `text` it is only
//! checked, unless its words say more:
//!
//! | words | |
//! |---|---|
//! | `tdl` | runs if `text` follows, else is checked; statements outside of functions become `main` |
//! | `tdl wrong E0401` | is refused with this code, in `check` or when it runs; of `text` the words are compared |
//! | `tdl test` | `tdl test` passes |
//! | `tdl file=x.tdl` | is called `x.tdl`; later blocks of the page import or run it |
//! | `tdl std` | an example of the standard library or of a code's page: another test runs it |
//! | `console` | each `$ command` prints what follows it; a line `...` stands for any lines |
//! | `console fails` | a command may fail |
//! | `text approx`, `console approx` | numbers with a point may differ by 5 % |
//! | `text`, `python`, `sh` | are only shown |

mod book;
mod support;

use std::path::{Path, PathBuf};

use book::{generated, page};
use libtest_mimic::{Arguments, Failed, Trial};
use support::{compare, expect, root};

fn main() {
    let mut trials = Vec::new();
    for path in pages() {
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        trials.push(Trial::test(name, move || page::check(&path)));
    }
    for (path, text) in generated::pages() {
        let name = format!("generated::{path}");
        trials.push(Trial::test(name, move || up_to_date(&book_dir().join(path), &text)));
    }
    trials.push(Trial::test("summary::every_page_is_listed", every_page_is_listed));
    trials.push(Trial::test("summary::links_lead_somewhere", links_lead_somewhere));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn book_dir() -> PathBuf {
    root().join("docs/src")
}

/// What is checked: the book, and the README.
fn pages() -> Vec<PathBuf> {
    let mut out = vec![root().join("README.md")];
    walk(&book_dir(), &mut out);
    out
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, out);
        } else if path.extension().is_some_and(|e| e == "md") {
            out.push(path);
        }
    }
}

fn every_page_is_listed() -> Result<(), Failed> {
    let summary = std::fs::read_to_string(book_dir().join("SUMMARY.md"))?;
    let mut pages = Vec::new();
    walk(&book_dir(), &mut pages);
    for page in pages {
        let name = page.strip_prefix(book_dir())?.display().to_string();
        let listed = name == "SUMMARY.md" || summary.contains(&format!("({name})"));
        expect(listed, format!("{name} is not in SUMMARY.md"))?;
    }
    Ok(())
}

/// A page that is made from the sources.
fn up_to_date(path: &Path, text: &str) -> Result<(), Failed> {
    if page::exact() {
        return compare(path, text);
    }
    let title = text.lines().next().unwrap_or_default();
    let Ok(there) = std::fs::read_to_string(path) else { return Ok(()) };
    expect(there.starts_with(title), format!("{} is not about {title}", path.display()))
}

/// A page without its blocks.
fn prose(text: &str) -> String {
    let mut inside = false;
    let outside = text.lines().filter(|line| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

/// Links to files inside the repository.
fn links_lead_somewhere() -> Result<(), Failed> {
    for page in pages() {
        let text = prose(&std::fs::read_to_string(&page)?);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#', ' ', '\n']).next().unwrap_or("");
            if !target.contains('.') || target.contains("://") {
                continue;
            }
            let file = page.parent().unwrap_or(Path::new("")).join(target);
            expect(file.exists(), format!("{}: no {target}", page.display()))?;
        }
    }
    Ok(())
}
