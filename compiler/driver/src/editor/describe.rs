//! What stands at a place, in words: types with their shapes, signatures, comments, pages of error codes.

use tdl_source::{CODES, FileId, Span};
use tdl_syntax::ast::{Item, ItemKind};
use tdl_types::thir::{Body, Ty};

use super::Analysis;
use super::names::{Target, item_name};

/// Text in Markdown about a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hover {
    pub span: Span,
    pub text: String,
}

/// `: f32[n, 10]` behind a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub at: u32,
    pub text: String,
}

fn code_block(code: &str) -> String {
    format!("```tdl\n{code}\n```")
}

fn with_doc(code: &str, doc: Option<&str>) -> String {
    match doc.map(str::trim).filter(|d| !d.is_empty()) {
        Some(doc) => format!("{}\n\n{doc}", code_block(code)),
        None => code_block(code),
    }
}

impl Analysis {
    pub fn hover(&self, file: FileId, offset: u32) -> Option<Hover> {
        let (file, offset) = self.inner(file, offset);
        let found = self.hover_in(file, offset)?;
        Some(Hover { span: self.outer(found.span), ..found })
    }

    fn hover_in(&self, file: FileId, offset: u32) -> Option<Hover> {
        let word = self.word_in(file, offset);
        if let Some(word) = word {
            let text = self.text(word);
            if let Some(def) = CODES.iter().find(|d| d.code.to_string() == text) {
                return Some(Hover { span: word, text: def.page.to_owned() });
            }
            if let Some(text) = self.describe_name(word, file, offset) {
                return Some(Hover { span: word, text });
            }
        }
        let (body, ty, span) = self.expr_at(file, offset)?;
        let shown = tdl_types::type_to_string(&self.program, Some(body), &ty);
        Some(Hover { span, text: code_block(&shown) })
    }

    fn describe_name(&self, word: Span, file: FileId, offset: u32) -> Option<String> {
        match self.target(file, offset) {
            Some(Target::Module(m)) => {
                let module = self.modules.get(m)?;
                Some(with_doc(&format!("import {}", module.name), module.ast.doc.as_deref()))
            }
            Some(Target::Place(definition)) => self.describe(definition, word),
            None => {
                let name = self.builtin_at(word)?;
                let doc = tdl_types::builtin_help(&name)?.doc;
                let mut out = with_doc(&builtin_signature(&name)?, doc);
                if let Some((body, ty, _)) = self.expr_at(file, offset) {
                    let shown = tdl_types::type_to_string(&self.program, Some(body), &ty);
                    out = format!("{out}\n\nhere: `{shown}`");
                }
                Some(out)
            }
        }
    }

    /// The builtin function that a name without a definition is; `tree.map` has a dot.
    fn builtin_at(&self, word: Span) -> Option<String> {
        let name = self.text(word);
        let text = &self.map().file(word.file).text;
        if let Some(before) = text[..word.start as usize].strip_suffix("tree.") {
            let inner = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let full = format!("tree.{name}");
            if !inner && tdl_types::builtin_help(&full).is_some() {
                return Some(full);
            }
        }
        if text[..word.start as usize].ends_with('.') {
            return None;
        }
        tdl_types::builtin_help(name).is_some().then(|| name.to_owned())
    }

    fn describe(&self, definition: Span, word: Span) -> Option<String> {
        if let Some((item, owner)) = self.item_at(definition) {
            let mut out = with_doc(&self.signature_of(item), item.doc.as_deref());
            if let Some(owner) = owner {
                out = format!("`{owner}`\n\n{out}");
            }
            return Some(out);
        }
        for s in &self.program.structs {
            if let Some(f) = s.fields.iter().find(|f| f.span == definition) {
                let shown = tdl_types::type_to_string(&self.program, None, &f.ty);
                let state = if f.state { "mut " } else { "" };
                let text = format!("{state}{}: {shown}", f.name);
                // a field of a particular struct has a particular type
                let here = self.exact(word).map(|t| format!("\n\nhere: `{t}`")).unwrap_or_default();
                return Some(format!("`{}`\n\n{}{here}", s.name, with_doc(&text, f.doc.as_deref())));
            }
        }
        let name = self.text(definition);
        let shown = self.local_type(definition);
        let size = self.names().generics.contains(&definition);
        match shown {
            Some(t) => Some(code_block(&format!("{name}: {t}"))),
            None if size => Some(format!("`{name}`, a parameter in brackets")),
            None => Some(format!("`{name}`")),
        }
    }

    /// The type of the expression whose last name this is.
    fn exact(&self, word: Span) -> Option<String> {
        let mut best: Option<String> = None;
        self.each_body(&mut |body| {
            tdl_types::visit_body(body, &mut |e| {
                if best.is_none() && e.span.file == word.file && e.span.end == word.end && e.span.start <= word.start {
                    best = Some(tdl_types::type_to_string(&self.program, Some(body), &e.ty));
                }
            });
        });
        best
    }

    /// The type of the variable whose name stands there.
    pub(super) fn local_type(&self, definition: Span) -> Option<String> {
        let mut out = None;
        self.each_body(&mut |body| {
            let mut named = body.locals.iter().filter(|l| l.span == definition || starts_with_name(l.span, definition));
            if let Some(l) = named.next().filter(|l| !matches!(l.ty, Ty::Error | Ty::Infer(_))) {
                out.get_or_insert_with(|| tdl_types::type_to_string(&self.program, Some(body), &l.ty));
            }
        });
        out
    }

    /// The type and the place of the smallest expression around an offset.
    pub(super) fn expr_at(&self, file: FileId, offset: u32) -> Option<(&Body, Ty, Span)> {
        let mut best: Option<(&Body, Ty, Span)> = None;
        let mut bodies = Vec::new();
        self.each_body(&mut |b| bodies.push(b));
        for body in bodies {
            tdl_types::visit_body(body, &mut |e| {
                let s = e.span;
                if s.file == file && s.start <= offset && offset <= s.end && s.end > s.start {
                    let len = s.end - s.start;
                    if best.as_ref().is_none_or(|(_, _, b)| len < b.end - b.start) {
                        best = Some((body, e.ty.clone(), s));
                    }
                }
            });
        }
        best
    }

    /// The item whose name stands there, and the struct it belongs to.
    pub(super) fn item_at(&self, name: Span) -> Option<(&Item, Option<&str>)> {
        let named = |i: &Item| item_name(i).is_some_and(|n| n.span == name);
        for item in self.modules.iter().flat_map(|m| &m.ast.items) {
            if named(item) {
                return Some((item, None));
            }
            let (owner, inner) = match &item.kind {
                ItemKind::Impl(i) => (&i.name, &i.items),
                ItemKind::Interface(i) => (&i.name, &i.items),
                _ => continue,
            };
            if let Some(found) = inner.iter().find(|i| named(i)) {
                return Some((found, Some(&owner.name)));
            }
        }
        None
    }

    /// An item without its body.
    pub(super) fn signature_of(&self, item: &Item) -> String {
        let end = match &item.kind {
            ItemKind::Fn(f) => f.body.as_ref().map_or(item.span.end, |b| b.span.start),
            _ => item.span.end,
        };
        let start = item.annotations.last().map_or(item.span.start, |a| a.span.end.max(item.span.start));
        let text = self.text(Span { start, end, ..item.span }).trim();
        text.strip_suffix('=').unwrap_or(text).trim_end().to_owned()
    }

    /// The types of variables that are bound without one, in a range.
    pub fn hints(&self, file: FileId, from: u32, to: u32) -> Vec<Hint> {
        let wanted = |s: &&Span| {
            let s = self.outer(**s);
            s.file == file && from <= s.start && s.start <= to
        };
        let names: std::collections::HashSet<Span> = self.names().untyped.iter().filter(wanted).copied().collect();
        let mut out = Vec::new();
        self.each_body(&mut |body| {
            for l in body.locals.iter().filter(|l| names.contains(&l.span)) {
                if matches!(l.ty, Ty::Error | Ty::Infer(_) | Ty::Fn(_) | Ty::Never) {
                    continue;
                }
                let shown = tdl_types::type_to_string(&self.program, Some(body), &l.ty);
                out.push(Hint { at: self.outer(l.span).end, text: format!(": {shown}") });
            }
        });
        out.sort_by_key(|h| h.at);
        out.dedup();
        out
    }
}

/// Parameters have the span of the whole of `x: f32[n]`.
fn starts_with_name(whole: Span, name: Span) -> bool {
    whole.file == name.file && whole.start == name.start && whole.end >= name.end
}

/// `sum(x, axis, keepdims)`; what may be left out has a question mark.
pub fn builtin_signature(name: &str) -> Option<String> {
    let help = tdl_types::builtin_help(name)?;
    Some(format!("{name}({})", builtin_params(&help).join(", ")))
}

pub fn builtin_params(help: &tdl_types::BuiltinHelp) -> Vec<String> {
    let optional = |(i, p): (usize, &&str)| if i < help.required { (*p).to_string() } else { format!("{p}?") };
    let mut params: Vec<String> = help.params.iter().enumerate().map(optional).collect();
    if help.rest {
        params.insert(help.required.min(params.len()), "…".into());
    }
    params
}
