//! `tdl test`: the `test` blocks of a file, and the examples in its doc comments.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use tdl_elaborate::Roots;
use tdl_syntax::ast::{self, ItemKind};
use tdl_types::thir::{Expect, Program};

use crate::call::Outcome;
use crate::session::Parsed;
use crate::{Failure, Session};

impl Session {
    /// Runs the tests whose name contains `filter`; reports to `out`. The exit code is 1 if one failed.
    pub fn test(&mut self, path: &Path, filter: Option<&str>, out: &mut dyn Write) -> Result<i32, Failure> {
        let program = self.tests_of(path)?;
        let wanted: Vec<usize> = program
            .tests
            .iter()
            .enumerate()
            .filter(|(_, t)| filter.is_none_or(|f| t.name.contains(f)))
            .filter(|(_, t)| !self.is_std(t.span))
            .map(|(i, _)| i)
            .collect();
        let runnable: Vec<usize> = wanted.iter().copied().filter(|i| program.tests[*i].body.is_some()).collect();
        let elaborated = self.elaborate(&program, &Roots::Tests(runnable.clone()))?;
        let funcs: Vec<_> = elaborated.tests.iter().map(|(_, f)| *f).collect();
        let module = self.optimize(&elaborated.module, &funcs)?;
        let callable = self.callable(module)?;
        let (mut passed, mut failed) = (0, 0);
        for i in wanted {
            let test = &program.tests[i];
            let result = match (test.expect, elaborated.tests.iter().position(|(t, _)| *t == i)) {
                (Expect::CompileError { found: true, .. }, _) => Ok(()),
                (Expect::CompileError { code, found: false }, _) => Err(format!("the error {code} was expected\n")),
                (Expect::Success, Some(k)) => match self.call_values(&callable, k, Vec::new())?.0 {
                    Outcome::Done(_) => Ok(()),
                    Outcome::Failed { text, .. } => Err(text),
                    Outcome::Interrupted => return Ok(130),
                },
                (Expect::RuntimeError(code), Some(k)) => match self.call_values(&callable, k, Vec::new())?.0 {
                    Outcome::Done(_) => Err(format!("the error {code} was expected\n")),
                    Outcome::Failed { code: found, .. } if found == code.to_string() => Ok(()),
                    Outcome::Failed { text, .. } => Err(text),
                    Outcome::Interrupted => return Ok(130),
                },
                (_, None) => Err("the test has no body\n".into()),
            };
            match result {
                Ok(()) => {
                    passed += 1;
                    let _ = writeln!(out, "test {} ... ok", test.name);
                }
                Err(text) => {
                    failed += 1;
                    let _ = write!(out, "test {} ... FAILED\n{text}", test.name);
                }
            }
        }
        let _ = writeln!(out, "{}: {passed} passed, {failed} failed", path.display());
        Ok(i32::from(failed > 0))
    }

    fn is_std(&self, span: tdl_source::Span) -> bool {
        self.sources.map.file(span.file).name.starts_with("<std>")
    }

    /// The program of a file and of its examples: the file becomes a module, the examples import it.
    fn tests_of(&mut self, path: &Path) -> Result<Program, Failure> {
        let mut parsed = self.parse(path)?;
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(own) = parsed.iter().position(|m| m.name.is_empty()) else { return self.check_modules(&parsed) };
        let examples = examples(&parsed[own].ast);
        // a file of the standard library stands in for the built-in one
        parsed.retain(|m| m.name != stem);
        if let Some(own) = parsed.iter_mut().find(|m| m.name.is_empty()) {
            own.name.clone_from(&stem);
        }
        let names = parsed.iter().find(|m| m.name == stem).map(|m| item_names(&m.ast)).unwrap_or_default();
        let mut text = String::new();
        if stem != "prelude" {
            let _ = writeln!(text, "import {stem}");
            if !names.is_empty() {
                let _ = writeln!(text, "import {stem}.{{{}}}", names.join(", "));
            }
        }
        for (name, body) in examples {
            let _ = writeln!(text, "test \"example of {name}\" {{\n{body}\n}}");
        }
        let file = self.sources.map.add(format!("<examples of {}>", path.display()), text.as_str());
        let result = tdl_syntax::parse(file, &text);
        if !result.errors.is_empty() {
            return Err(result.errors.into());
        }
        parsed.push(Parsed { name: String::new(), ast: result.module });
        self.check_modules(&parsed)
    }
}

/// Names that an import can bring in.
fn item_names(module: &ast::Module) -> Vec<String> {
    let name = |item: &ast::Item| match &item.kind {
        ItemKind::Const(c) => Some(c.name.name.to_string()),
        ItemKind::TypeAlias(a) => Some(a.name.name.to_string()),
        ItemKind::Struct(s) => Some(s.name.name.to_string()),
        ItemKind::Interface(i) => Some(i.name.name.to_string()),
        ItemKind::Fn(f) => Some(f.name.name.to_string()).filter(|n| n != "main"),
        ItemKind::Import(_) | ItemKind::Impl(_) | ItemKind::Test(_) | ItemKind::Prop(_) | ItemKind::Bench(_) => None,
    };
    module.items.iter().filter_map(name).collect()
}

/// Code blocks of doc comments, with the name of what they document.
fn examples(module: &ast::Module) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for item in &module.items {
        let (name, members): (String, &[ast::Item]) = match &item.kind {
            ItemKind::Fn(f) => (f.name.name.to_string(), &[]),
            ItemKind::Struct(s) => (s.name.name.to_string(), &[]),
            ItemKind::Impl(i) => (i.name.name.to_string(), &i.items),
            _ => continue,
        };
        from_doc(item.doc.as_deref(), &name, &mut out);
        for member in members {
            if let ItemKind::Fn(f) = &member.kind {
                from_doc(member.doc.as_deref(), &format!("{name}.{}", f.name.name), &mut out);
            }
        }
    }
    out
}

fn from_doc(doc: Option<&str>, name: &str, out: &mut Vec<(String, String)>) {
    let mut block: Option<Vec<&str>> = None;
    for line in doc.unwrap_or("").lines() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            match block.take() {
                Some(lines) => out.push((name.to_owned(), lines.join("\n"))),
                None if info.is_empty() || info == "tdl" => block = Some(Vec::new()),
                None => {}
            }
        } else if let Some(lines) = &mut block {
            lines.push(line);
        }
    }
}
