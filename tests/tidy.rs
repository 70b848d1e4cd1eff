//! House rules that a program can check.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use support::root;

/// For each crate: the workspace crates it may depend on.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("tdl-source", &[]),
    ("tdl-syntax", &["tdl-source"]),
    ("tdl-ir", &["tdl-source"]),
    ("tdl-types", &["tdl-source", "tdl-syntax", "tdl-ir"]),
    ("tdl-elaborate", &["tdl-source", "tdl-syntax", "tdl-types", "tdl-ir"]),
    ("tdl-transform", &["tdl-source", "tdl-ir"]),
    ("tdl-loops", &["tdl-source", "tdl-ir"]),
    ("tdl-llvm", &["tdl-source", "tdl-loops", "tdl-ir", "tdl-runtime"]),
    ("tdl-runtime", &[]),
    (
        "tdl-driver",
        &[
            "tdl-source",
            "tdl-syntax",
            "tdl-types",
            "tdl-ir",
            "tdl-elaborate",
            "tdl-transform",
            "tdl-loops",
            "tdl-llvm",
            "tdl-runtime",
        ],
    ),
    ("tdl-lsp", &["tdl-source", "tdl-syntax", "tdl-driver"]),
    ("tdl", &["tdl-source", "tdl-syntax", "tdl-driver", "tdl-lsp"]),
];

#[test]
fn crates_depend_in_the_allowed_direction() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".into()])
        .exec()
        .expect("cargo metadata");
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let (_, allowed) = DIRECTIONS.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("{name} has no row"));
        for dependency in &package.dependencies {
            let normal = dependency.kind == cargo_metadata::DependencyKind::Normal;
            if normal && ours.contains(dependency.name.as_str()) {
                assert!(allowed.contains(&dependency.name.as_str()), "{name} must not depend on {}", dependency.name);
            }
        }
    }
}

#[test]
fn only_llvm_links_llvm_and_only_source_draws() {
    for (word, home) in [("inkwell", "compiler/llvm"), ("ariadne", "compiler/source")] {
        for file in sources("toml") {
            let text = std::fs::read_to_string(&file).expect("a readable file");
            let path = file.strip_prefix(root()).expect("inside").to_string_lossy().into_owned();
            let uses = text.lines().any(|l| l.starts_with(word));
            assert!(!uses || path.starts_with(home) || path == "Cargo.toml", "{path} uses {word}");
        }
    }
}

#[test]
fn files_tell_one_story() {
    for file in sources("rs") {
        let lines = std::fs::read_to_string(&file).expect("a readable file").lines().count();
        assert!(lines <= 700, "{} has {lines} lines: split it", file.display());
    }
}

#[test]
fn nothing_is_left_open() {
    for file in sources("rs").into_iter().chain(sources("tdl")) {
        if file.ends_with("tests/tidy.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a readable file");
        for word in ["todo!(", "unimplemented!(", "TODO", "FIXME", "XXX"] {
            assert!(!text.contains(word), "{} contains {word}", file.display());
        }
    }
}

#[test]
fn every_code_has_a_page_in_form() {
    for def in tdl_source::CODES {
        let page = def.page;
        assert!(page.starts_with(&format!("# {}: {}", def.code, def.title)), "{}: the title differs", def.code);
        assert!(page.len() > 120, "{}: too short to help", def.code);
    }
    let numbers: Vec<u16> = tdl_source::CODES.iter().map(|d| d.code.0).collect();
    assert!(numbers.is_sorted(), "codes are in order");
}

fn sources(extension: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    walk(&root(), extension, &mut out);
    out
}

fn walk(dir: &Path, extension: &str, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                walk(&path, extension, out);
            }
        } else if path.extension().is_some_and(|e| e == extension) {
            out.push(path);
        }
    }
}
