//! Examples in doc comments as tests.
//!
//! The code blocks of a file's `##` comments are read from a copy of the file in which everything else is blank and each
//! block stands in `test "example of NAME" { … }`, so that a place in an example is a place in the file.

use std::path::Path;
use std::sync::Arc;

use tdl_syntax::ast::{self, Ident, ItemKind};
use tdl_types::thir::Program;

use crate::session::Parsed;
use crate::{Failure, Session};

impl Session {
    /// A file with its examples as tests among its own, and what the file's module is called.
    pub(super) fn tests_of(&mut self, path: &Path) -> Result<(String, Program), Failure> {
        let mut parsed = self.parse(path)?;
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        // a file of the standard library stands in for the built-in one
        parsed.retain(|m| m.name != stem);
        let Some(own) = parsed.iter_mut().find(|m| m.name.is_empty()) else {
            let program = self.check_modules(&parsed)?;
            return Ok((stem, program));
        };
        own.name.clone_from(&stem);
        let Some((_, file)) = self.sources.files().first() else { return Ok((stem, Program::default())) };
        let source = &self.sources.map.file(*file).text;
        let text = blocks(source, &own.ast);
        if let Some(text) = text {
            let name = self.sources.map.file(*file).name.clone();
            let examples = self.sources.map.add(name, text.as_str());
            let result = tdl_syntax::parse(examples, &text);
            if !result.errors.is_empty() {
                return Err(result.errors.into());
            }
            let items = result.module.items;
            refer_to_itself(own, &stem, &items);
            own.ast.items.extend(items);
        }
        let program = self.check_modules(&parsed)?;
        Ok((stem, program))
    }
}

/// Examples may call the module by its name: `data.split(…)`.
fn refer_to_itself(own: &mut Parsed, stem: &str, examples: &[Arc<ast::Item>]) {
    let Some(span) = examples.first().map(|i| i.span) else { return };
    let taken = own.ast.items.iter().any(|i| match &i.kind {
        ItemKind::Import(i) => {
            let names = i.names.iter().flatten().map(|n| n.alias.as_ref().unwrap_or(&n.name));
            let whole = i.alias.as_ref().or(i.path.last()).filter(|_| i.names.is_none());
            names.chain(whole).any(|n| *n.name == *stem)
        }
        ItemKind::Const(c) => *c.name.name == *stem,
        ItemKind::TypeAlias(a) => *a.name.name == *stem,
        ItemKind::Struct(s) => *s.name.name == *stem,
        ItemKind::Interface(s) => *s.name.name == *stem,
        ItemKind::Fn(f) => *f.name.name == *stem,
        ItemKind::Impl(_) | ItemKind::Test(_) | ItemKind::Prop(_) | ItemKind::Bench(_) => false,
    });
    if taken || stem == "prelude" {
        return;
    }
    let import = ast::Import { path: vec![Ident { name: stem.into(), span }], names: None, alias: None };
    let import = ast::Item { doc: None, annotations: Vec::new(), kind: ItemKind::Import(import), span };
    own.ast.items.push(Arc::new(import));
}

/// The text of the examples, line for line and column for column where they stand; none if there are none.
fn blocks(source: &str, module: &ast::Module) -> Option<String> {
    let mut out = String::with_capacity(source.len());
    // the block being read, and whether it is code to run
    let mut open: Option<bool> = None;
    let mut found = false;
    let mut offset = 0;
    let mut kept = String::new();
    for line in source.split_inclusive('\n') {
        let start = offset;
        offset += line.len();
        let text = line.trim_end_matches(['\n', '\r']);
        let trimmed = text.trim_start();
        let Some(doc) = trimmed.strip_prefix("##") else {
            // a block that nothing closes is no example
            if open.take().is_some() {
                out.push_str(&"\n".repeat(kept.matches('\n').count()));
                kept.clear();
            }
            out.push('\n');
            continue;
        };
        if let Some(info) = doc.trim_start().strip_prefix("```") {
            match open.take() {
                Some(runs) => {
                    found |= runs;
                    out.push_str(&kept);
                    kept.clear();
                    out.push_str(if runs { "}\n" } else { "\n" });
                }
                None => {
                    let runs = matches!(info.trim(), "" | "tdl");
                    open = Some(runs);
                    match runs {
                        true => kept.push_str(&format!("test \"example of {}\" {{\n", documented(module, start))),
                        false => kept.push('\n'),
                    }
                }
            }
            continue;
        }
        match open {
            Some(true) => {
                kept.push_str(&" ".repeat(text.len() - trimmed.len() + 2));
                kept.push_str(doc);
                kept.push('\n');
            }
            Some(false) => kept.push('\n'),
            None => out.push('\n'),
        }
    }
    found.then_some(out)
}

/// What a comment at this offset is about: the next function, struct, … behind it.
fn documented(module: &ast::Module, offset: usize) -> String {
    let mut best: Option<(u32, String)> = None;
    let mut offer = |start: u32, name: String| {
        if start as usize > offset && best.as_ref().is_none_or(|(b, _)| start < *b) {
            best = Some((start, name));
        }
    };
    for item in &module.items {
        let start = item.span.start;
        match &item.kind {
            ItemKind::Fn(f) => offer(start, f.name.name.to_string()),
            ItemKind::Struct(s) => {
                offer(start, s.name.name.to_string());
                for f in &s.fields {
                    offer(f.name.span.start, format!("{}.{}", s.name.name, f.name.name));
                }
            }
            ItemKind::Interface(s) => offer(start, s.name.name.to_string()),
            ItemKind::Const(c) => offer(start, c.name.name.to_string()),
            ItemKind::TypeAlias(a) => offer(start, a.name.name.to_string()),
            ItemKind::Impl(i) => {
                offer(start, i.name.name.to_string());
                for member in &i.items {
                    if let ItemKind::Fn(f) = &member.kind {
                        offer(member.span.start, format!("{}.{}", i.name.name, f.name.name));
                    }
                }
            }
            ItemKind::Import(_) => offer(start, "the module".into()),
            ItemKind::Test(_) | ItemKind::Prop(_) | ItemKind::Bench(_) => {}
        }
    }
    best.map_or_else(|| "the module".into(), |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tdl_source::SourceMap;

    fn examples(source: &str) -> Option<String> {
        let mut map = SourceMap::default();
        let file = map.add("a.tdl", source);
        let module = tdl_syntax::parse(file, source).module;
        blocks(source, &module)
    }

    #[test]
    fn places_stay() {
        let source = "## A.\n##\n## ```\n## assert f() == 1\n## ```\nfn f() -> i64 = 1\n";
        assert_eq!(examples(source).as_deref(), Some("\n\ntest \"example of f\" {\n   assert f() == 1\n}\n\n"));
    }

    #[test]
    fn methods_are_named_with_their_struct() {
        let source =
            "struct S { a: i64 }\nimpl S {\n  ## ```tdl\n  ## assert true\n  ## ```\n  fn f(self) -> i64 = 1\n}\n";
        let text = examples(source).expect("an example");
        assert!(text.contains("example of S.f"), "{text}");
        assert!(text.contains("\n     assert true\n"), "{text}");
    }

    #[test]
    fn only_closed_blocks_of_tdl_are_examples() {
        assert_eq!(examples("## ```text\n## x\n## ```\nfn f() -> i64 = 1\n"), None);
        assert_eq!(examples("## ```\n## x\nfn f() -> i64 = 1\n"), None);
    }
}
