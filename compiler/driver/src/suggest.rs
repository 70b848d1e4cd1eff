//! Unknown names that a module of the standard library has: the checker sees imported modules alone.

use tdl_source::{Diagnostic, Help, code};
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
        let homes = self.library_names();
        for d in errors.iter_mut().filter(|d| unknown(d)) {
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

    /// Functions and structs of the library with their modules.
    fn library_names(&mut self) -> Vec<(String, &'static str)> {
        let mut out = Vec::new();
        for (module, text) in STDLIB.iter().filter(|(m, _)| *m != "prelude") {
            let Some(file) = self.sources.std_module(module) else { continue };
            for item in tdl_syntax::parse(file, text).module.items {
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
    }
}
