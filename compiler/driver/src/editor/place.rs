//! From a place in a text to what stands there, and to the other places that mean the same.

use std::collections::HashMap;
use std::rc::Rc;

use tdl_source::{FileId, Span};
use tdl_syntax::tokens::{KEYWORDS, Token, tokens};
use tdl_types::thir::{Body, Callee, ExprKind, FnId, Program, Ty};

use super::Analysis;
use super::names::Target;

/// What types say about places.
#[derive(Debug, Default)]
pub struct Types {
    /// Of the field that an expression reads, and of the function that it calls: where the name is defined.
    pub members: HashMap<Span, Span>,
}

impl Types {
    pub fn new(program: &Program, broken: &[Rc<Body>]) -> Types {
        let mut out = Types::default();
        let of_fn = |id: FnId| program.fns[id.index()].name_span;
        let mut look = |body: &Body| {
            tdl_types::visit_body(body, &mut |e| {
                let target = match &e.kind {
                    ExprKind::Field { base, index } => struct_of(&base.ty)
                        .and_then(|id| program.structs[id.index()].fields.get(*index))
                        .map(|f| f.span),
                    ExprKind::Call { callee: Callee::Fn(id), .. } | ExprKind::Fn { func: id, .. } => Some(of_fn(*id)),
                    ExprKind::Call { callee: Callee::Method(m), .. } | ExprKind::Bound { method: m, .. } => {
                        program.interfaces[m.interface.index()].methods.get(m.index).map(|m| m.span)
                    }
                    _ => None,
                };
                if let Some(target) = target {
                    out.members.insert(e.span, target);
                }
            });
        };
        tdl_types::visit_bodies(program, &mut |b| look(b));
        broken.iter().for_each(|b| look(b));
        out
    }
}

/// The struct whose fields `.name` reads.
pub fn struct_of(t: &Ty) -> Option<tdl_types::thir::StructId> {
    match t {
        Ty::Struct(id, _) => Some(*id),
        Ty::Stack(_, inner) | Ty::Exists(_, inner) => struct_of(inner),
        _ => None,
    }
}

fn holds(span: Span, file: FileId, offset: u32) -> bool {
    span.file == file && (span.start..=span.end).contains(&offset)
}

impl Analysis {
    /// The name under an offset.
    pub fn word(&self, file: FileId, offset: u32) -> Option<Span> {
        let (file, offset) = self.inner(file, offset);
        Some(self.outer(self.word_in(file, offset)?))
    }

    /// As [`Analysis::word`], in a piece.
    pub(super) fn word_in(&self, file: FileId, offset: u32) -> Option<Span> {
        let text = &self.map().file(file).text;
        self.names_in(file, 0, text.len()).find(|s| holds(*s, file, offset))
    }

    /// The names of a part of a text that starts where a token does; those inside of texts too.
    fn names_in(&self, file: FileId, from: usize, to: usize) -> impl Iterator<Item = Span> {
        let mut out = Vec::new();
        let text = &self.map().file(file).text;
        collect_names(&text[from..to], from, &mut out);
        out.into_iter().map(move |(a, b)| Span::new(file, a, b))
    }

    /// What the name under an offset of a piece means.
    pub(super) fn target(&self, file: FileId, offset: u32) -> Option<Target> {
        let word = self.word_in(file, offset)?;
        if let Some((_, target)) = self.names().uses.iter().find(|(s, _)| *s == word) {
            return Some(*target);
        }
        self.member(word).map(Target::Place)
    }

    /// The definition of a name behind a dot.
    fn member(&self, name: Span) -> Option<Span> {
        let member = self.names().members.iter().find(|m| m.name == name)?;
        let call = self.names().calls.iter().find(|c| c.callee == Some(name)).map(|c| c.span);
        let known = |s: Span| self.types().members.get(&s).copied();
        // of `self.layer(x)`, the method that the field's value is called with has another name
        let named = |s: &Span| self.text(*s) == self.text(name);
        [call.and_then(known), known(member.expr)].into_iter().flatten().find(named)
    }

    /// Where the name under an offset is defined.
    pub fn definition(&self, file: FileId, offset: u32) -> Option<Span> {
        let (file, offset) = self.inner(file, offset);
        match self.target(file, offset)? {
            Target::Place(span) => Some(self.outer(span)),
            Target::Module(m) => self.start_of(m),
        }
    }

    fn start_of(&self, module: usize) -> Option<Span> {
        Some(Span::new(self.modules.get(module)?.file, 0, 0))
    }

    /// All places that mean what is defined at `definition`, which is among them.
    pub fn references(&self, definition: Span) -> Vec<Span> {
        let definition = self.inner_span(definition);
        let by_scope = self.names().uses.iter().filter(|(_, t)| *t == Target::Place(definition)).map(|(s, _)| *s);
        let members = self.names().members.iter().map(|m| m.name);
        let by_type = members.filter(|name| self.member(*name) == Some(definition));
        let mut out: Vec<Span> = by_scope.chain(by_type).map(|s| self.outer(s)).collect();
        out.sort();
        out.dedup();
        // what is imported under another name keeps that
        let name = self.text(definition).to_owned();
        out.retain(|s| self.text(*s) == name);
        out
    }

    /// Whether what is defined there can be given another name, or why not.
    pub fn may_rename(&self, definition: Span) -> Result<(), String> {
        let definition = self.inner_span(definition);
        if self.map().file(definition.file).name.starts_with("<std>/") {
            return Err("this is part of the standard library".into());
        }
        if !self.diagnostics.is_empty() {
            return Err("the program has errors: a name in them could be missed".into());
        }
        let name = self.text(definition);
        if name == "self" {
            return Err("`self` has no other name".into());
        }
        let local = self.names().locals.iter().find(|l| l.span == definition);
        let label = |l: &tdl_syntax::ast::Ident| &*l.name == name;
        if local.is_some_and(|l| l.param) && self.names().calls.iter().any(|c| c.labels.iter().any(label)) {
            return Err(format!("calls give `{name}` by its name"));
        }
        let item = self.names().scopes.iter().any(|s| s.values().any(|t| *t == Target::Place(definition)));
        if local.is_none() && !item {
            return Err("only variables, sizes, functions, structs, types and constants can be renamed".into());
        }
        Ok(())
    }

    /// Why `new` cannot be the name of what is at these places.
    pub fn may_be_called(&self, places: &[Span], new: &str) -> Result<(), String> {
        let mut words = tokens(new);
        let one = matches!((words.next(), words.next()), (Some((Ok(Token::Word), r)), None) if r == (0..new.len()));
        if !one || KEYWORDS.contains(&new) || tdl_types::builtin_help(new).is_some() {
            return Err(format!("`{new}` is no name for this"));
        }
        let files: std::collections::BTreeSet<FileId> = places.iter().map(|s| s.file).collect();
        for file in files {
            let len = self.map().file(file).text.len();
            if self.names_in(file, 0, len).any(|s| self.text(s) == new) {
                return Err(format!("`{new}` already stands in {}", self.map().file(file).name));
            }
        }
        Ok(())
    }
}

/// Names of a text by their ranges; in texts between quotes those in braces.
fn collect_names(text: &str, base: usize, out: &mut Vec<(usize, usize)>) {
    for (token, range) in tokens(text) {
        match token {
            Ok(Token::Word) => out.push((base + range.start, base + range.end)),
            Ok(Token::Str) if text[range.clone()].contains('{') => {
                // a quote is one byte on each side
                let inside = range.start + 1..range.end - 1;
                collect_names(&text[inside.clone()], base + inside.start, out);
            }
            _ => {}
        }
    }
}
