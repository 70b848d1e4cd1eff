//! What can be written next. The text is unfinished, so it is asked about with the unfinished word taken out.

use std::path::Path;

use tdl_source::{FileId, Span};
use tdl_syntax::ast::ItemKind;
use tdl_syntax::tokens::{KEYWORDS, Token, tokens};
use tdl_types::thir::Ty;

use super::describe::{builtin_params, builtin_signature};
use super::names::Target;
use super::place::struct_of;
use super::{Analysis, Editor};
use crate::sources::STDLIB;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionKind {
    Variable,
    Function,
    Method,
    Field,
    Struct,
    Module,
    Constant,
    Type,
    Keyword,
    Label,
}

/// A word that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    pub name: String,
    pub kind: CompletionKind,
    pub detail: String,
}

/// What is being called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub text: String,
    pub doc: Option<String>,
    pub params: Vec<String>,
    /// The parameter that is being written.
    pub active: usize,
}

const TYPES: &[&str] =
    &["f16", "bf16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u32", "u64", "bool", "str", "Rng"];

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl Editor {
    /// Words for an offset of an open text. What is known of its program is used, and is of another text then.
    pub fn complete(&self, path: &Path, offset: usize, known: &mut Option<Analysis>) -> Vec<Completion> {
        let Some(text) = self.text(path) else { return Vec::new() };
        let Some(before) = text.get(..offset) else { return Vec::new() };
        if in_text_or_comment(text, offset) {
            return Vec::new();
        }
        let word = before.trim_end_matches(is_word).len();
        let line = before.rsplit('\n').next().unwrap_or("").trim_start();
        if let Some(rest) = line.strip_prefix("import ") {
            return self.complete_import(path, rest);
        }
        let after = &text[offset..];
        let after = after.trim_start_matches(is_word);
        if let Some(base) = text[..word].strip_suffix('.') {
            // the point of a number
            let start = base.trim_end_matches(is_word).len();
            if base[start..].starts_with(|c: char| c.is_ascii_digit()) {
                return Vec::new();
            }
            let patched = format!("{base}{after}");
            let before = known.take();
            let analysis = known.insert(self.analyse_as(path, &patched, before));
            return analysis.members_of(path, base.len() as u32);
        }
        let patched = format!("{}(){after}", &text[..word]);
        let before = known.take();
        let analysis = known.insert(self.analyse_as(path, &patched, before));
        analysis.names_at(path, word as u32)
    }

    fn complete_import(&self, path: &Path, rest: &str) -> Vec<Completion> {
        let item = |name: String, kind, detail: &str| Completion { name, kind, detail: detail.to_owned() };
        if let Some((module, _)) = rest.split_once(".{").or_else(|| rest.rsplit_once('.')) {
            // what a module has is known once it is imported alone
            let patched = format!("import {module}\n");
            let analysis = self.analyse_as(path, &patched, None);
            let Some(m) = analysis.modules.iter().position(|m| m.name == module) else { return Vec::new() };
            return analysis.items_of(m);
        }
        let mut out: Vec<Completion> = STDLIB
            .iter()
            .filter(|(m, _)| *m != "prelude")
            .map(|(m, _)| item((*m).to_owned(), CompletionKind::Module, "standard library"))
            .collect();
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let mut files: Vec<std::path::PathBuf> =
            std::fs::read_dir(&folder).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())).collect();
        files.extend(self.open.keys().filter(|p| p.parent() == Some(&folder)).cloned());
        files.retain(|f| f != path && f.extension().is_some_and(|x| x == "tdl"));
        files.sort();
        files.dedup();
        let names = files.iter().filter_map(|f| f.file_stem()?.to_str().map(str::to_owned));
        out.extend(names.filter(|n| n.chars().all(is_word)).map(|n| item(n, CompletionKind::Module, "this folder")));
        out
    }

    /// The call around an offset of an open text; `known` as for [`Editor::complete`].
    pub fn signature(&self, path: &Path, offset: usize, known: &mut Option<Analysis>) -> Option<Signature> {
        let text = self.text(path)?;
        let before = text.get(..offset)?;
        let (open, commas) = open_call(before)?;
        let head = before[..open].trim_end();
        // `f[n](`
        let head = match head.strip_suffix(']') {
            Some(_) => &head[..matching(head)?],
            None => head,
        };
        let start = head.trim_end_matches(|c: char| is_word(c) || c == '.').len();
        let callee = &head[start..];
        let name = callee.rsplit('.').next().filter(|n| !n.is_empty())?;
        let rest = text[offset..].find('\n').map_or("", |i| &text[offset + i..]);
        let patched = format!("{head}{rest}");
        let before = known.take();
        let analysis = known.insert(self.analyse_as(path, &patched, before));
        let file = analysis.file(path)?;
        analysis.signature(file, callee, name, head.len() as u32, commas)
    }
}

/// Whether an offset is inside of quotes or of a comment.
fn in_text_or_comment(text: &str, offset: usize) -> bool {
    let around = tokens(text).find(|(_, r)| r.start < offset && offset <= r.end);
    match around {
        Some((Ok(Token::Comment | Token::Doc), _)) => true,
        Some((Ok(Token::Str), r)) => offset < r.end,
        Some((Err(()), r)) => text[r].starts_with('"'),
        _ => false,
    }
}

/// Where the innermost open `(` stands, and how many commas are behind it.
fn open_call(before: &str) -> Option<(usize, usize)> {
    let mut open: Vec<(usize, &str, usize)> = Vec::new();
    for (token, range) in tokens(before) {
        match token {
            Ok(Token::Open) => open.push((range.start, &before[range], 0)),
            Ok(Token::Close) => {
                open.pop();
            }
            Ok(Token::Comma) => {
                if let Some(top) = open.last_mut() {
                    top.2 += 1;
                }
            }
            _ => {}
        }
    }
    open.last().filter(|t| t.1 == "(").map(|t| (t.0, t.2))
}

/// Where the bracket opens that ends a text.
fn matching(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (i, c) in text.char_indices().rev() {
        match c {
            ']' => depth += 1,
            '[' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

impl Analysis {
    fn completion(&self, name: &str, target: Target) -> Completion {
        let (kind, detail) = match target {
            Target::Module(_) => (CompletionKind::Module, String::new()),
            Target::Place(span) => match self.item_at(span) {
                Some((item, owner)) => {
                    let kind = match &item.kind {
                        ItemKind::Fn(_) if owner.is_some() => CompletionKind::Method,
                        ItemKind::Fn(_) => CompletionKind::Function,
                        ItemKind::Struct(_) => CompletionKind::Struct,
                        ItemKind::Const(_) => CompletionKind::Constant,
                        _ => CompletionKind::Type,
                    };
                    let text = self.signature_of(item);
                    (kind, if kind == CompletionKind::Struct { format!("struct {name}") } else { text })
                }
                None => (CompletionKind::Variable, self.local_type(span).unwrap_or_default()),
            },
        };
        Completion { name: name.to_owned(), kind, detail }
    }

    /// The items of a module.
    fn items_of(&self, module: usize) -> Vec<Completion> {
        let mut out: Vec<Completion> =
            self.names().scopes[module].iter().map(|(n, t)| self.completion(n, *t)).collect();
        out.sort_by(|a, b| a.name.cmp(&b.name));
        out
    }

    /// What can stand behind a dot after what ends at an offset.
    fn members_of(&self, path: &Path, end: u32) -> Vec<Completion> {
        let Some(file) = self.file(path) else { return Vec::new() };
        let (file, end) = self.inner(file, end);
        let word = self.word_in(file, end);
        if let Some(word) = word {
            match self.target(file, word.start) {
                Some(Target::Module(m)) => return self.items_of(m),
                Some(Target::Place(span)) if self.names().parts.contains_key(&span) => return self.static_of(span),
                Some(Target::Place(_)) => {}
                None if self.text(word) == "tree" => {
                    let names = tdl_types::builtin_names().filter_map(|n| n.strip_prefix("tree."));
                    return names
                        .map(|n| Completion {
                            name: n.to_owned(),
                            kind: CompletionKind::Function,
                            detail: builtin_signature(&format!("tree.{n}")).unwrap_or_default(),
                        })
                        .collect();
                }
                None => {}
            }
        }
        let mut ty: Option<(u32, Ty)> = None;
        self.each_body(&mut |body| {
            tdl_types::visit_body(body, &mut |e| {
                let s = e.span;
                // of those that end here, a path is what the dot belongs to
                if s.file == file && s.end == end && ty.as_ref().is_none_or(|(len, _)| s.end - s.start < *len) {
                    ty = Some((s.end - s.start, e.ty.clone()));
                }
            });
            if let Some(w) = word
                && let Some(Target::Place(def)) = self.target(file, w.start)
                && let Some(l) = body.locals.iter().find(|l| l.span.file == def.file && l.span.start == def.start)
            {
                ty = Some((0, l.ty.clone()));
            }
        });
        match ty.map(|(_, t)| t) {
            Some(t) => self.parts_of(&t),
            None => Vec::new(),
        }
    }

    /// Functions of a struct that are called on its name.
    fn static_of(&self, owner: Span) -> Vec<Completion> {
        let parts = self.names().parts.get(&owner).into_iter().flatten();
        let methods = parts.filter(|(_, s)| self.item_at(*s).is_some());
        methods.map(|(n, s)| self.completion(n, Target::Place(*s))).collect()
    }

    fn parts_of(&self, t: &Ty) -> Vec<Completion> {
        let mut out = Vec::new();
        if let Some(id) = struct_of(t) {
            let def = &self.program.structs[id.index()];
            for f in &def.fields {
                let detail = tdl_types::type_to_string(&self.program, None, &f.ty);
                out.push(Completion { name: f.name.to_string(), kind: CompletionKind::Field, detail });
            }
            for (name, method) in &def.methods {
                out.push(self.completion(name, Target::Place(self.program.fns[method.index()].name_span)));
            }
        }
        if let Ty::Tensor(..) = t {
            let reversed = ("T", "the axes in reverse order");
            let of_tensors = ["sum", "mean", "max", "min", "prod", "argmax", "argmin", "reshape"];
            out.push(Completion { name: reversed.0.into(), kind: CompletionKind::Field, detail: reversed.1.into() });
            out.extend(of_tensors.iter().map(|n| Completion {
                name: (*n).to_owned(),
                kind: CompletionKind::Method,
                detail: builtin_signature(n).unwrap_or_default(),
            }));
        }
        out
    }

    /// Names in scope at an offset, the nearest first.
    fn names_at(&self, path: &Path, offset: u32) -> Vec<Completion> {
        let Some(file) = self.file(path) else { return Vec::new() };
        let (file, offset) = self.inner(file, offset);
        let mut out: Vec<Completion> = self.labels_at(file, offset);
        let mut seen = std::collections::HashSet::new();
        let inside = |s: Span| s.file == file && s.start <= offset && offset <= s.end;
        let mut locals: Vec<_> = self.names().locals.iter().filter(|l| inside(l.visible)).collect();
        locals.sort_by_key(|l| (l.visible.end - l.visible.start, std::cmp::Reverse(l.span.start)));
        for l in locals {
            if seen.insert(l.name.to_string()) {
                out.push(self.completion(&l.name, Target::Place(l.span)));
            }
        }
        let own = self.modules.iter().position(|m| m.name.is_empty());
        let prelude = self.modules.iter().position(|m| m.name == "prelude");
        for m in [own, prelude].into_iter().flatten() {
            out.extend(self.items_of(m).into_iter().filter(|c| seen.insert(c.name.clone())));
        }
        let mut builtins: Vec<&str> = tdl_types::builtin_names().filter(|n| !n.contains('.')).collect();
        builtins.sort_unstable();
        for name in builtins.into_iter().filter(|n| seen.insert((*n).to_owned())) {
            let detail = builtin_signature(name).unwrap_or_default();
            out.push(Completion { name: name.to_owned(), kind: CompletionKind::Function, detail });
        }
        let word = |kind| move |n: &&str| Completion { name: (*n).to_owned(), kind, detail: String::new() };
        out.extend(TYPES.iter().map(word(CompletionKind::Type)));
        out.extend(KEYWORDS.iter().map(word(CompletionKind::Keyword)));
        out
    }

    /// Names of parameters of the call around an offset.
    fn labels_at(&self, file: FileId, offset: u32) -> Vec<Completion> {
        let text = &self.map().file(file).text;
        let calls = self.names().calls.iter().filter(|c| {
            let inside = c.span.file == file && c.span.start < offset && offset < c.span.end;
            inside && c.callee.is_some_and(|s| s.end < offset) && {
                let from = c.callee.map_or(0, |s| s.end as usize);
                open_call(&text[from..offset as usize]).is_some()
            }
        });
        let Some(call) = calls.min_by_key(|c| c.span.end - c.span.start) else { return Vec::new() };
        let Some(callee) = call.callee else { return Vec::new() };
        let label =
            |name: &str, detail: String| Completion { name: format!("{name}:"), kind: CompletionKind::Label, detail };
        if let Some(Target::Place(span)) = self.target(file, callee.start)
            && let Some((item, _)) = self.item_at(span)
        {
            let ItemKind::Fn(f) = &item.kind else { return Vec::new() };
            let named = f.params.iter().filter(|p| &*p.name.name != "self");
            return named.map(|p| label(&p.name.name, self.text(p.span).to_owned())).collect();
        }
        match tdl_types::builtin_help(self.text(callee)) {
            Some(help) => help.params.iter().map(|p| label(p, String::new())).collect(),
            None => Vec::new(),
        }
    }

    fn signature(&self, file: FileId, callee: &str, name: &str, end: u32, commas: usize) -> Option<Signature> {
        let (file, end) = self.inner(file, end);
        let mut found = match self.target(file, end) {
            Some(Target::Place(span)) => Some(span),
            _ => None,
        };
        if found.is_none() && callee.contains('.') {
            // a method of a value: the only one of that name
            let mut of_name = self.names().parts.values().flatten().filter(|(n, _)| **n == *name).map(|(_, s)| *s);
            found = match (of_name.next(), of_name.next()) {
                (Some(span), None) => Some(span),
                _ => None,
            };
        }
        if let Some((item, _)) = found.and_then(|s| self.item_at(s)) {
            let ItemKind::Fn(f) = &item.kind else { return None };
            let named = f.params.iter().filter(|p| &*p.name.name != "self");
            let params: Vec<String> = named.map(|p| self.text(p.span).to_owned()).collect();
            let doc = item.doc.as_deref().map(str::to_owned);
            return Some(Signature { text: self.signature_of(item), doc, params, active: commas });
        }
        let full = if callee.starts_with("tree.") { callee } else { name };
        let help = tdl_types::builtin_help(full)?;
        let params = builtin_params(&help);
        let doc = help.doc.map(str::to_owned);
        Some(Signature { text: builtin_signature(full)?, doc, params, active: commas })
    }
}
