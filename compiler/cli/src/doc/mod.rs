//! `tdl doc`: HTML pages about modules, one each and an index. They need nothing else: they open from a folder.

mod markdown;
mod module;
mod page;

use std::path::Path;

use tdl_driver::{Failure, STDLIB};
use tdl_source::SourceMap;

use crate::args::Doc;
use crate::commands::style_of;
use module::Module;

const STYLE: &str = include_str!("style.css");

/// Writes the pages; the exit code.
pub fn doc(args: &Doc) -> i32 {
    let mut map = SourceMap::default();
    let result = read(args, &mut map).and_then(|modules| write(&modules, &args.output));
    match result {
        Ok(count) => {
            sayln!("{count} pages in {}: open {}", args.output.display(), args.output.join("index.html").display());
            0
        }
        Err(failure) => {
            complain!("{}", failure.text(&map, style_of(args.color), false));
            failure.exit_code()
        }
    }
}

fn read(args: &Doc, map: &mut SourceMap) -> Result<Vec<Module>, Failure> {
    let mut modules = Vec::new();
    if args.std {
        for (name, text) in STDLIB {
            modules.push(parse(name, &format!("<std>/{name}.tdl"), text, map)?);
        }
    }
    for path in &args.files {
        let text = tdl_driver::read_source(path)?;
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        modules.push(parse(&name, &path.to_string_lossy(), &text, map)?);
    }
    // two files of one name would share a page
    let mut names: Vec<&str> = modules.iter().map(|m| m.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|w| w[0] == w[1]) {
        return Err(Failure::Usage(format!("two modules are called `{}`", pair[0])));
    }
    Ok(modules)
}

fn parse(name: &str, path: &str, text: &str, map: &mut SourceMap) -> Result<Module, Failure> {
    let file = map.add(path, text);
    let parsed = tdl_syntax::parse(file, text);
    if !parsed.errors.is_empty() {
        return Err(parsed.errors.into());
    }
    Ok(Module::new(name, text, &parsed.module))
}

fn write(modules: &[Module], dir: &Path) -> Result<usize, Failure> {
    let failed = |path: &Path, e: std::io::Error| Failure::Usage(format!("cannot write `{}`: {e}", path.display()));
    std::fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
    let links = page::Links::new(modules);
    let mut files =
        vec![("style.css".to_owned(), STYLE.to_owned()), ("index.html".to_owned(), page::index(modules, &links))];
    for m in modules {
        files.push((page::file_of(&m.name), page::module(m, modules, &links)));
    }
    for (name, text) in &files {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|e| failed(&path, e))?;
    }
    Ok(files.len() - 1)
}
