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

    /// A module that has the name.
    pub(super) fn home(&self, name: &Ident) -> Option<String> {
        let (_, m) = self.asts.iter().enumerate().find(|(i, m)| {
            !m.name.is_empty()
                && m.name != "prelude"
                && matches!(self.scopes[*i].get(&*name.name), Some(Def::Fn(_) | Def::Struct(_)))
        })?;
        Some(format!("`{}` is in `{}`: write `import {}.{{{}}}`", name.name, m.name, m.name, name.name))
    }

    /// Where a name that `module` lacks is to be had.
    pub(super) fn elsewhere(&self, module: ModuleId, name: &Ident) -> Option<String> {
        let global = self.prelude().is_some_and(|p| self.scopes[p.index()].contains_key(&*name.name))
            || super::builtin::find(&name.name).is_some();
        if global {
            return Some(format!("`{}` is known everywhere, without an import", name.name));
        }
        let wanted = self.asts[module.index()].name;
        self.home(name)
            .filter(|help| !help.contains(&format!("is in `{wanted}`")))
            .or_else(|| super::hints::name(&name.name).map(str::to_owned))
    }

    /// What stands for a name of another library.
    pub(super) fn of_library(&self, name: &str) -> Option<String> {
        let (module, ours) = super::hints::library(name)?;
        Some(format!("it is `{ours}` here: `import {module}.{{{ours}}}`"))
    }

    /// "unknown name", with what was probably meant. Reported once for each body.
    pub(super) fn unknown_name(&mut self, name: &Ident, what: &str) {
        if self.broken.contains(&(self.module, name.name.as_ref().into())) {
            return;
        }
        let mut known: Vec<Rc<str>> = Vec::new();
        known.extend(self.body.names.iter().flat_map(|f| f.keys().cloned()));
        known.extend(self.scopes[self.module.index()].keys().cloned());
        if let Some(p) = self.prelude() {
            known.extend(self.scopes[p.index()].keys().cloned());
        }
        known.extend(super::builtin::names().map(Rc::from));
        if what == "type" || what == "function" {
            known.extend(Dtype::ALL.iter().map(|d| Rc::from(d.name())));
        }
        let (mut text, mut label) = (format!("unknown {what} `{}`", name.name), "not defined here");
        if Dtype::from_name(&name.name).is_some() {
            (text, label) = (format!("`{}` is a type, not a value", name.name), "a value is needed here");
        }
        let mut d = Diagnostic::error(code::E0201, text, name.span, label);
        if let Some(help) = self.home(name).or_else(|| self.of_library(&name.name)) {
            d = d.help(help);
        } else if Dtype::from_name(&name.name).is_some() {
            d = d.help(format!("a conversion is `{}(x)`", name.name));
        } else if let Some(help) =
            self.self_hint(&name.name).or_else(|| super::hints::name(&name.name).map(str::to_owned))
        {
            d = d.help(help);
        } else if &*name.name == "self" {
            d = d.help("a method of an `impl` takes it as its first parameter: `fn f(self)`");
        } else if let Some(m) = self.asts.iter().find(|m| m.name.rsplit('.').next() == Some(&*name.name)) {
            d = d.help(format!("it is a module: `import {}` makes its name known", m.name));
        } else if let Some(near) = nearest(&name.name, known.iter().map(|n| &**n)) {
            d = d.fix(format!("did you mean `{near}`?"), name.span, near);
        } else if what == "size" {
            let n = &name.name;
            d = d.help(format!("a size is declared in brackets: `fn f[{n}](x: f32[{n}])`, `struct S[{n}]`"));
        }
        self.errors.push(d);
    }

    /// After a report: further uses of the name in this body stay quiet.
    pub(super) fn hush(&mut self, name: &Ident) {
        let id = self.new_local(&name.name, Ty::Error, true, name.span);
        if let Some(frame) = self.body.names.first_mut() {
            frame.insert(name.name.as_ref().into(), Entry::Local(id));
        }
    }
}

/// The most similar name, if it is similar enough to be meant.
pub fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<String> {
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
