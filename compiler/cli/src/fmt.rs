//! `tdl fmt`: formats files in place, or shows what would change.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use tdl_driver::Failure;
use tdl_source::SourceMap;

use crate::args::Fmt;
use crate::commands::style_of;

/// Formats; the exit code.
pub fn fmt(args: &Fmt) -> i32 {
    let mut worst = 0;
    let mut files = Vec::new();
    for path in &args.files {
        if let Err(e) = collect(path, &mut files) {
            complainln!("error: cannot read `{}`: {e}", path.display());
            worst = 2;
        }
    }
    for path in &files {
        let code = match one(path, args) {
            Ok(changed) => i32::from(changed && args.check),
            Err((failure, map)) => {
                complain!("{}", failure.text(&map, style_of(args.color), false));
                failure.exit_code()
            }
        };
        worst = worst.max(code);
    }
    worst
}

/// A file, or the `.tdl` files of a folder and its folders.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<std::io::Result<_>>()?;
    entries.sort();
    for entry in entries {
        let hidden = entry.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if !hidden && (entry.is_dir() || entry.extension().is_some_and(|x| x == "tdl")) {
            collect(&entry, files)?;
        }
    }
    Ok(())
}

/// True if the file was not formatted.
fn one(path: &Path, args: &Fmt) -> Result<bool, (Failure, SourceMap)> {
    let stdin = path == Path::new("-");
    let mut map = SourceMap::default();
    let read = if stdin { read_stdin() } else { tdl_driver::read_source(path) };
    let text = match read {
        Ok(text) => text,
        Err(e) => return Err((e, map)),
    };
    let name = if stdin { "<stdin>".to_owned() } else { path.to_string_lossy().into_owned() };
    let file = map.add(name.as_str(), text.as_str());
    let formatted = match tdl_syntax::format(file, &text) {
        Ok(formatted) => formatted,
        Err(errors) => return Err((errors.into(), map)),
    };
    let changed = formatted != text;
    if args.check {
        if changed {
            let diff = similar::TextDiff::from_lines(text.as_str(), formatted.as_str());
            print(&diff.unified_diff().header(&name, &format!("{name} (formatted)")).to_string());
        }
    } else if stdin {
        print(&formatted);
    } else if changed && let Err(e) = replace(path, &formatted) {
        return Err((Failure::Usage(format!("cannot write `{}`: {e}", path.display())), map));
    }
    Ok(changed)
}

fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn read_stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    read.map_err(|e| Failure::Usage(format!("cannot read standard input: {e}")))?;
    String::from_utf8(bytes).map_err(|_| Failure::Usage("standard input is not UTF-8 text".into()))
}

/// Writes beside the file and renames, so that nothing is lost if the disk is full.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    // through a link, so that the link stays one
    let target = std::fs::canonicalize(path)?;
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = target.with_file_name(name);
    let result = std::fs::write(&temporary, text)
        .and_then(|()| std::fs::set_permissions(&temporary, std::fs::metadata(&target)?.permissions()))
        .and_then(|()| std::fs::rename(&temporary, &target));
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    result
}
