//! Names of a module: definitions, each once, and imports.

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast;

use super::{Checker, Def};
use crate::ids::*;

impl<'a> Checker<'a> {
    pub(super) fn duplicate(&mut self, name: &ast::Ident, what: &str, first: Option<Span>) {
        let mut d = Diagnostic::error(
            code::E0202,
            format!("a second {what} named `{}`", name.name),
            name.span,
            "defined again here",
        )
        .help("give one of them another name");
        if let Some(first) = first {
            d = d.label(first, "first defined here");
        }
        self.errors.push(d);
    }

    pub(super) fn define(&mut self, module: ModuleId, name: &ast::Ident, def: Def) -> bool {
        if crate::ty::Dtype::from_name(&name.name).is_some() || matches!(&*name.name, "str" | "Rng") {
            let text = format!("`{}` is a type of the language", name.name);
            self.errors.push(
                Diagnostic::error(code::E0202, text, name.span, "defined again here")
                    .help("give the item another name: it would hide the type from the whole file"),
            );
            return false;
        }
        let scope = &mut self.scopes[module.index()];
        if let Some(first) = scope.get(&*name.name).copied() {
            let at = self.def_span(first);
            self.duplicate(name, "item", at);
            return false;
        }
        scope.insert(name.name.as_ref().into(), def);
        true
    }

    fn def_span(&self, def: Def) -> Option<Span> {
        match def {
            Def::Fn(id) => Some(self.program.fns[id.index()].name_span),
            Def::Struct(id) => Some(self.program.structs[id.index()].span),
            Def::Interface(id) => Some(self.program.interfaces[id.index()].span),
            Def::Const(id) => Some(self.program.consts[id.index()].span),
            Def::Alias(i) => Some(self.aliases[i].ast.name.span),
            Def::Module(_) => None,
        }
    }

    pub(super) fn import(&mut self, module: ModuleId, import: &'a ast::Import) {
        let find = |cx: &Checker<'_>, path: &[ast::Ident]| {
            let dotted: Vec<&str> = path.iter().map(|p| &*p.name).collect();
            let dotted = dotted.join(".");
            cx.asts.iter().position(|m| m.name == dotted).map(|i| ModuleId(i as u32))
        };
        let Some(last) = import.path.last() else { return };
        let bind = |cx: &mut Checker<'a>, name: &ast::Ident, def: Def| {
            // importing the same thing twice is harmless
            if cx.scopes[module.index()].get(&*name.name) != Some(&def) {
                cx.define(module, name, def);
            }
        };
        if let Some(target) = find(self, &import.path) {
            match &import.names {
                None => bind(self, import.alias.as_ref().unwrap_or(last), Def::Module(target)),
                Some(names) => {
                    for n in names {
                        let own = n.alias.as_ref().unwrap_or(&n.name);
                        match self.member(target, &n.name) {
                            Some(def) => bind(self, own, def),
                            None => self.import_failed(module, own),
                        }
                    }
                }
            }
            return;
        }
        // import optim.Adam
        if import.names.is_none()
            && import.path.len() > 1
            && let Some(target) = find(self, &import.path[..import.path.len() - 1])
        {
            let own = import.alias.as_ref().unwrap_or(last);
            match self.member(target, last) {
                Some(def) => bind(self, own, def),
                None => self.import_failed(module, own),
            }
            return;
        }
        match &import.names {
            None => self.import_failed(module, import.alias.as_ref().unwrap_or(last)),
            Some(names) => {
                names.iter().for_each(|n| self.import_failed(module, n.alias.as_ref().unwrap_or(&n.name)));
            }
        }
        let dotted: Vec<&str> = import.path.iter().map(|p| &*p.name).collect();
        let span = import.path[0].span.to(last.span);
        let mut d = Diagnostic::error(
            code::E0204,
            format!("there is no module `{}`", dotted.join(".")),
            span,
            "neither in the standard library nor beside this file",
        );
        let known: Vec<&str> = self.asts.iter().map(|m| m.name).filter(|n| !n.is_empty()).collect();
        let hint = super::hints::name(dotted[0])
            .filter(|_| matches!(dotted[0], "torch" | "numpy" | "jax" | "math" | "random"));
        if let Some(near) = super::names::nearest(&dotted.join("."), known.into_iter()) {
            d = d.help(format!("did you mean `{near}`?"));
        } else if let Some(hint) = hint {
            d = d.help(hint);
        }
        self.errors.push(d);
    }

    /// Uses of what an import should have brought are no second error.
    fn import_failed(&mut self, module: ModuleId, name: &ast::Ident) {
        self.broken.insert((module, name.name.as_ref().into()));
    }
}
