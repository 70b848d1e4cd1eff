//! Pages of the book that are made from the sources: the standard library's doc comments, the tables of operations, the
//! pages of the error codes.

use std::fmt::Write as _;

use tdl_ir::op::{BinaryOp, Derivative, ResultDtype, UnaryOp};
use tdl_source::SourceMap;
use tdl_syntax::ast::{Fn, Item, ItemKind};

use crate::support::root;

/// Paths below `docs/src`, and their text.
pub fn pages() -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = crate::support::programs(&root().join("stdlib"))
        .iter()
        .map(|path| {
            let name = crate::support::name(path);
            let text = std::fs::read_to_string(path).expect("a readable module");
            (format!("stdlib/{name}.md"), module(&name, &text))
        })
        .collect();
    out.push(("reference/elementwise.md".into(), elementwise()));
    out.push(("errors.md".into(), errors()));
    out
}

fn module(name: &str, text: &str) -> String {
    let mut map = SourceMap::default();
    let file = map.add(name, text);
    let parsed = tdl_syntax::parse(file, text);
    let mut out = format!("# {name}\n\n");
    if let Some(doc) = &parsed.module.doc {
        let _ = writeln!(out, "{}\n", prose(doc));
    }
    if name != "prelude" {
        let _ = writeln!(out, "`import {name}`, then `{name}.…`; or `import {name}.{{…}}`.\n");
    }
    for item in &parsed.module.items {
        entry(&mut out, item, text, "##", "");
    }
    format!("{}\n", out.trim_end())
}

/// Items without a doc comment are not for users.
fn entry(out: &mut String, item: &Item, text: &str, level: &str, owner: &str) {
    let source = |from: u32, to: u32| text[from as usize..to as usize].trim().to_owned();
    let (title, signature) = match &item.kind {
        ItemKind::Fn(f) if item.doc.is_some() => (format!("{owner}{}", f.name.name), head(f, item, text)),
        ItemKind::Struct(s) => (s.name.name.to_string(), source(item.span.start, item.span.end)),
        ItemKind::Interface(i) => (i.name.name.to_string(), source(item.span.start, item.span.end)),
        ItemKind::Const(c) if item.doc.is_some() => (c.name.name.to_string(), source(item.span.start, item.span.end)),
        ItemKind::Impl(block) => {
            for inner in &block.items {
                entry(out, inner, text, "###", &format!("{}.", block.name.name));
            }
            return;
        }
        ItemKind::Fn(_)
        | ItemKind::Const(_)
        | ItemKind::Import(_)
        | ItemKind::TypeAlias(_)
        | ItemKind::Test(_)
        | ItemKind::Prop(_)
        | ItemKind::Bench(_) => return,
    };
    let _ = writeln!(out, "{level} {title}\n\n```tdl std\n{signature}\n```\n");
    if let Some(doc) = &item.doc {
        let _ = writeln!(out, "{}\n", prose(doc));
    }
}

/// A function without its body.
fn head(f: &Fn, item: &Item, text: &str) -> String {
    let end = f.body.as_ref().map_or(item.span.end, |b| b.span.start) as usize;
    let start = item.span.start as usize;
    text[start..end.max(start)].trim_end().trim_end_matches(['=', '{']).trim_end().to_owned()
}

/// A doc comment: its fences hold examples, `[name]` is a name.
fn prose(doc: &str) -> String {
    let mut inside = false;
    let lines = doc.lines().map(|line| match (line.strip_prefix("```"), inside) {
        (Some(""), false) => {
            inside = true;
            "```tdl std".to_owned()
        }
        (Some(_), _) => {
            inside = !inside;
            line.to_owned()
        }
        (None, true) => line.to_owned(),
        (None, false) => line.replace("[gelu]", "`gelu`"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn elementwise() -> String {
    let mut out = String::from(
        "# Elementwise functions\n\nFrom the compiler's tables. They work on scalars and on tensors of any shape; those \
         of two operands broadcast.\n\n\
         | function | operands | result | derivative | |\n|---|---|---|---|---|\n",
    );
    for op in UnaryOp::ALL.iter().filter(|op| !matches!(op, UnaryOp::Neg | UnaryOp::Not)) {
        let def = op.def();
        let result = match def.result {
            ResultDtype::Same => "the same",
            ResultDtype::Bool => "`bool`",
        };
        let _ = writeln!(
            out,
            "| `{}(x)` | {} | {result} | {} | {} |",
            def.name,
            def.dtype.describe(),
            derivative(&def.derivative),
            def.doc
        );
    }
    for op in BinaryOp::ALL {
        let def = op.def();
        let call = def.symbol.map_or_else(|| format!("{}(a, b)", def.name), |s| format!("a {s} b"));
        let _ = writeln!(
            out,
            "| `{}` | {} | the same | {} | {} |",
            call.replace('|', "\\|"),
            def.dtype.describe(),
            derivative(&def.derivative[0]),
            def.doc.replace("An integer by 0 is 0 here; programs assert before.", "An integer by 0 is E0704.")
        );
    }
    out
}

fn derivative<F>(d: &Derivative<F>) -> &'static str {
    match d {
        Derivative::Rule(_) => "yes",
        Derivative::Zero => "0",
        Derivative::NotDifferentiable(_) => "E0504",
    }
}

fn errors() -> String {
    let mut out = String::from("# Errors\n\n`tdl explain E0401` prints the page of a code. All of them:\n");
    for def in tdl_source::CODES {
        // the pages' own test runs them
        let page = def.page.trim().replace("```tdl wrong\n", "```tdl std\n").replace("```tdl\n", "```tdl std\n");
        let page = page.strip_prefix('#').map_or_else(|| page.clone(), |rest| format!("##{rest}"));
        let _ = write!(out, "\n{page}\n");
    }
    out
}
