//! Unknown names that a module of the standard library has: the checker sees imported modules alone.

use std::path::Path;
use std::sync::LazyLock;

use tdl_source::{Diagnostic, FileId, Help, code};
use tdl_syntax::ast::ItemKind;

use crate::Session;
use crate::sources::STDLIB;

impl Session {
    /// Adds "write `import nn.{relu}`" to what an import would mend.
    pub(crate) fn suggest_imports(&mut self, errors: &mut [Diagnostic]) {
        let unknown = |d: &Diagnostic| {
            matches!(d.code, code::E0201 | code::E0204) && !d.help.iter().any(|h| h.text.contains("import "))
        };
        if !errors.iter().any(unknown) {
            return;
        }
        let homes = &*LIBRARY_NAMES;
        let modules = self.module_names();
        for d in errors.iter_mut().filter(|d| unknown(d)) {
            if d.message.starts_with("there is no module") {
                let path = self.sources.map.text(d.primary.span).to_owned();
                let (first, rest) = path.split_once('.').unwrap_or((&path, ""));
                let near = tdl_types::nearest(first, modules.iter().map(String::as_str));
                if let (Some(near), true) = (near, d.help.is_empty()) {
                    let dot = if rest.is_empty() { "" } else { "." };
                    d.help.push(Help { text: format!("did you mean `{near}{dot}{rest}`?"), edit: None });
                }
                continue;
            }
            let name = self.sources.map.text(d.primary.span).to_owned();
            let text = if let Some((_, module)) = homes.iter().find(|(n, _)| *n == name) {
                format!("`{name}` is in `{module}`: write `import {module}.{{{name}}}`")
            } else if STDLIB.iter().any(|(module, _)| *module == name) {
                format!("`{name}` is a module: write `import {name}`")
            } else {
                continue;
            };
            d.help = vec![Help { text, edit: None }];
        }
    }

    /// Modules of the library, and the files beside the program.
    fn module_names(&self) -> Vec<String> {
        let mut out: Vec<String> =
            STDLIB.iter().map(|(m, _)| *m).filter(|m| *m != "prelude").map(str::to_owned).collect();
        let folder = self.sources.files().first().and_then(|(path, _)| path.parent().map(Path::to_owned));
        let folder = folder.map(|f| if f.as_os_str().is_empty() { Path::new(".").to_owned() } else { f });
        let beside = folder.and_then(|f| std::fs::read_dir(f).ok());
        for path in beside.into_iter().flatten().flatten().map(|e| e.path()) {
            if let (Some(name), true) = (path.file_stem(), path.extension().is_some_and(|e| e == "tdl")) {
                out.push(name.to_string_lossy().into_owned());
            }
        }
        out.sort();
        out
    }
}

/// Functions and structs of the library with their modules.
static LIBRARY_NAMES: LazyLock<Vec<(String, &'static str)>> = LazyLock::new(|| {
    let mut out = Vec::new();
    for (module, text) in STDLIB.iter().filter(|(m, _)| *m != "prelude") {
        for item in tdl_syntax::parse(FileId::default(), text).module.items {
            let name = match &item.kind {
                ItemKind::Fn(f) => &f.name,
                ItemKind::Struct(s) => &s.name,
                ItemKind::Interface(i) => &i.name,
                ItemKind::Const(c) => &c.name,
                ItemKind::TypeAlias(t) => &t.name,
                ItemKind::Import(_)
                | ItemKind::Impl(_)
                | ItemKind::Test(_)
                | ItemKind::Prop(_)
                | ItemKind::Bench(_) => continue,
            };
            out.push((name.name.to_string(), *module));
        }
    }
    out
});
