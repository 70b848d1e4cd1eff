//! What names mean: the scopes of a body, the items of the module, the prelude.

use std::rc::Rc;

use rustc_hash::FxHashMap;
use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::Ident;

use super::{Checker, Def, Entry};
use crate::ids::*;
use crate::thir::LocalDef;
use crate::ty::{Dtype, Ty};

impl Checker<'_> {
    pub(super) fn entry_of(&self, name: &str) -> Option<Entry> {
        self.body.names.iter().rev().find_map(|frame| frame.get(name).cloned())
    }

    /// An item of the current module or of the prelude.
    pub(super) fn def_of(&self, name: &str) -> Option<Def> {
        let own = self.scopes[self.module.index()].get(name).copied();
        own.or_else(|| self.prelude().and_then(|p| self.scopes[p.index()].get(name).copied()))
    }

    pub(super) fn prelude(&self) -> Option<ModuleId> {
        self.asts.iter().position(|m| m.name == "prelude").map(|i| ModuleId(i as u32))
    }

    pub(super) fn push_names(&mut self) {
        self.body.names.push(FxHashMap::default());
    }

    pub(super) fn pop_names(&mut self) {
        self.body.names.pop();
    }

    pub(super) fn bind_name(&mut self, name: &str, entry: Entry) {
        if self.body.names.is_empty() {
            self.push_names();
        }
        if let Some(frame) = self.body.names.last_mut() {
            frame.insert(name.into(), entry);
        }
    }

    /// A new variable, not yet in scope.
    pub(super) fn new_local(&mut self, name: &str, ty: Ty, mutable: bool, span: Span) -> LocalId {
        let id = LocalId(self.body.locals.len() as u32);
        self.body.locals.push(LocalDef { name: name.into(), ty, mutable, span });
        self.body.local_sizes.push(None);
        self.body.local_depth.push(self.body.depth);
        id
    }

    /// A new variable in scope.
    pub(super) fn bind_local(&mut self, name: &Ident, ty: Ty, mutable: bool) -> LocalId {
        let id = self.new_local(&name.name, ty, mutable, name.span);
        self.bind_name(&name.name, Entry::Local(id));
        id
    }

    /// "unknown name", with the nearest one there is.
    pub(super) fn unknown_name(&mut self, name: &Ident, what: &str) {
        let mut known: Vec<Rc<str>> = Vec::new();
        known.extend(self.body.names.iter().flat_map(|f| f.keys().cloned()));
        known.extend(self.scopes[self.module.index()].keys().cloned());
        if let Some(p) = self.prelude() {
            known.extend(self.scopes[p.index()].keys().cloned());
        }
        known.extend(super::builtin::names().map(Rc::from));
        known.extend(Dtype::ALL.iter().map(|d| Rc::from(d.name())));
        let mut d =
            Diagnostic::error(code::E0201, format!("unknown {what} `{}`", name.name), name.span, "not defined here");
        // a module that has it?
        let home = self.asts.iter().enumerate().find(|(i, m)| {
            !m.name.is_empty() && matches!(self.scopes[*i].get(&*name.name), Some(Def::Fn(_) | Def::Struct(_)))
        });
        if let Some(near) = nearest(&name.name, known.iter().map(|n| &**n)) {
            d = d.fix(format!("did you mean `{near}`?"), name.span, near);
        } else if let Some((_, m)) = home {
            d = d.help(format!("import it: `import {}.{}`", m.name, name.name));
        } else if let Some(m) = ["nn", "optim", "data"].iter().find(|m| **m == &*name.name) {
            d = d.help(format!("import the module: `import {m}`"));
        }
        self.errors.push(d);
    }
}

/// The most similar name, if it is similar enough to be meant.
pub(super) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<String> {
    let lower = name.to_lowercase();
    let scored = known.filter(|k| *k != name).map(|k| {
        let distance = if k.to_lowercase() == lower { 0 } else { strsim::damerau_levenshtein(name, k) };
        (distance, k)
    });
    let (distance, best) = scored.min_by(|a, b| a.0.cmp(&b.0).then(a.1.cmp(b.1)))?;
    let limit = match name.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    (distance <= limit).then(|| best.to_string())
}
