//! Checking a program again after an edit.
//!
//! A body is checked against what items say about themselves, never against other bodies. So as long as nothing but bodies
//! has changed since the last check, all tables come out as they were, ids included, and what was found in a body that is the
//! same holds still. The same is true of bodies that do not mention the one function whose signature has changed, if nothing
//! but bodies mentions it. Tables are always made anew: that is cheap, and leaves nothing to keep right.

use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tdl_source::{Diagnostic, Span};
use tdl_syntax::ast::{Item, ItemKind};

use super::{Checker, Module, Node};
use crate::ids::FnId;
use crate::thir::{Body, Program, TestDef};
use crate::ty::Ty;

/// What a check leaves for the next one.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    modules: Vec<KeptModule>,
    /// By the ids of functions; those that rules made later are missing.
    fns: Vec<KeptFn>,
    tests: FxHashMap<*const Item, KeptTest>,
    /// How long the tables were before bodies added to them, and after the first check did.
    collected: Tables,
    first: Tables,
}

#[derive(Clone, Debug)]
struct KeptModule {
    name: String,
    items: Vec<Arc<Item>>,
    broken: Vec<Arc<str>>,
}

/// Tables of a [`Program`] that bodies add to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tables {
    generics: usize,
    bound_names: usize,
}

impl Tables {
    fn of(p: &Program) -> Tables {
        Tables { generics: p.generics.len(), bound_names: p.bound_names.len() }
    }
}

/// What was found in a body.
#[derive(Clone, Debug, Default)]
struct Found {
    errors: Vec<Diagnostic>,
    failed: Vec<Rc<Body>>,
    /// Numbers of lines that stand in messages.
    lines: Vec<(Span, Option<usize>)>,
}

#[derive(Clone, Debug, Default)]
struct KeptFn {
    origin: Option<Origin>,
    found: Found,
    calls: Vec<(Node, Span)>,
}

/// A function's item, and which of its functions it is.
pub(super) type Origin = (Arc<Item>, usize);

#[derive(Clone, Debug)]
struct KeptTest {
    /// Keeps the address of the key in use.
    _item: Arc<Item>,
    found: Found,
    /// By its place in [`Program::tests`].
    def: Option<usize>,
}

/// What the last check left: its tables and bodies.
pub(super) struct Before {
    kept: Kept,
    program: Program,
    /// Names that mean something else now. What mentions them is checked.
    touched: Vec<Arc<str>>,
    /// The function whose signature has changed.
    changed: Option<*const Item>,
}

impl Kept {
    /// The last check of these modules, if its tables are as they would be now, but for what some names mean.
    pub(super) fn before(self, program: Program, modules: &[Module<'_>]) -> Option<Before> {
        // what bodies add to tables is never taken away: from time to time all begins anew
        let now = Tables::of(&program);
        let grown =
            now.generics > 2 * self.first.generics + 1000 || now.bound_names > 2 * self.first.bound_names + 1000;
        if grown || self.modules.len() != modules.len() {
            return None;
        }
        let (mut touched, mut changed) = (Vec::new(), None);
        for (old, new) in self.modules.iter().zip(modules) {
            if old.name != new.name {
                return None;
            }
            let counts = |i: &&Arc<Item>| !matches!(i.kind, ItemKind::Test(_));
            let (mut a, mut b) = (old.items.iter().filter(counts), new.ast.items.iter().filter(counts));
            loop {
                match (a.next(), b.next()) {
                    (None, None) => break,
                    (Some(a), Some(b)) if Arc::ptr_eq(a, b) || same_outside(a, b) => {}
                    (Some(a), Some(b)) => match (&a.kind, &b.kind) {
                        // with two, ids between them could be others
                        (ItemKind::Fn(f), ItemKind::Fn(g)) if f.name.name == g.name.name && changed.is_none() => {
                            touched.push(Arc::clone(&g.name.name));
                            changed = Some(Arc::as_ptr(b));
                        }
                        _ => return None,
                    },
                    _ => return None,
                }
            }
            // a name that is broken may have been an item's: its uses are no errors
            let apart =
                |a: &[Arc<str>], b: &[Arc<str>]| a.iter().filter(|n| !b.contains(n)).cloned().collect::<Vec<_>>();
            let mut broken = apart(&old.broken, &new.ast.broken);
            broken.extend(apart(&new.ast.broken, &old.broken));
            // of an impl, the methods are missing: they have names of their own
            if broken.iter().any(|n| has_parts(modules, n)) {
                return None;
            }
            touched.extend(broken);
        }
        Some(Before { kept: self, program, touched, changed })
    }
}

/// Whether a struct or an interface has this name.
fn has_parts(modules: &[Module<'_>], name: &str) -> bool {
    modules.iter().flat_map(|m| &m.ast.items).any(|i| match &i.kind {
        ItemKind::Struct(s) => *s.name.name == *name,
        ItemKind::Interface(s) => *s.name.name == *name,
        _ => false,
    })
}

/// Whether two items say the same about themselves, at the same places.
fn same_outside(a: &Item, b: &Item) -> bool {
    // no body depends on a comment
    if a.annotations != b.annotations {
        return false;
    }
    match (&a.kind, &b.kind) {
        (ItemKind::Fn(f), ItemKind::Fn(g)) => {
            (f.io, &f.name, &f.generics, &f.params, &f.result, &f.facts, f.body.is_some())
                == (g.io, &g.name, &g.generics, &g.params, &g.result, &g.facts, g.body.is_some())
        }
        (ItemKind::Impl(f), ItemKind::Impl(g)) => {
            (&f.name, &f.generics, &f.facts, f.items.len()) == (&g.name, &g.generics, &g.facts, g.items.len())
                && f.items.iter().zip(&g.items).all(|(a, b)| same_outside(a, b))
        }
        (ItemKind::Prop(f), ItemKind::Prop(g)) => {
            (&f.name, f.name_span, &f.params, &f.facts) == (&g.name, g.name_span, &g.params, &g.facts)
        }
        (ItemKind::Bench(f), ItemKind::Bench(g)) => (&f.name, f.name_span, &f.over) == (&g.name, g.name_span, &g.over),
        (
            ItemKind::Import(_)
            | ItemKind::Const(_)
            | ItemKind::TypeAlias(_)
            | ItemKind::Struct(_)
            | ItemKind::Interface(_)
            | ItemKind::Fn(_)
            | ItemKind::Impl(_)
            | ItemKind::Prop(_)
            | ItemKind::Bench(_)
            | ItemKind::Test(_),
            _,
        ) => a.kind == b.kind,
    }
}

/// Whether a function's body is the same in two states of its item.
fn same_body((a, i): &Origin, (b, j): &Origin) -> bool {
    if i != j {
        return false;
    }
    if Arc::ptr_eq(a, b) {
        return true;
    }
    match (&a.kind, &b.kind) {
        (ItemKind::Fn(f), ItemKind::Fn(g)) => f.body == g.body,
        (ItemKind::Impl(f), ItemKind::Impl(g)) => match (&f.items[*i].kind, &g.items[*i].kind) {
            (ItemKind::Fn(f), ItemKind::Fn(g)) => f.body == g.body,
            _ => false,
        },
        (ItemKind::Prop(f), ItemKind::Prop(g)) => f.body == g.body,
        (ItemKind::Bench(f), ItemKind::Bench(g)) => f.body == g.body,
        _ => false,
    }
}

/// Whether one of the names stands in a text as a word.
fn mentions(text: &str, names: &[Arc<str>]) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    names.iter().any(|name| {
        text.match_indices(&**name)
            .any(|(at, _)| !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part))
    })
}

impl<'a> Checker<'a> {
    /// Checks the bodies of all functions, or takes over what is known of them.
    pub(super) fn check_fns(&mut self, before: &mut Option<Before>) {
        self.kept.collected = Tables::of(&self.program);
        if before.as_ref().is_some_and(|b| b.kept.collected != self.kept.collected || self.reaches_far(b)) {
            *before = None;
        }
        if let Some(b) = before {
            // what was added for bodies that stay
            self.program.generics.append(&mut b.program.generics.split_off(b.kept.collected.generics));
            self.program.bound_names.append(&mut b.program.bound_names.split_off(b.kept.collected.bound_names));
        }
        for i in 0..self.program.fns.len() {
            let origin = self.origins[i].map(|(item, at)| (Arc::clone(item), at));
            if let Some(b) = before
                && let Some(old) = b.kept.fns.get_mut(i)
                && let (Some(was), Some(is)) = (&old.origin, &origin)
                && same_body(was, is)
                && self.still(&old.found)
                && !mentions(self.text_of(is.0.span), &b.touched)
            {
                let old = std::mem::take(old);
                let (from, to) = (&mut b.program.fns[i], &mut self.program.fns[i]);
                to.body = from.body.take();
                for (to, from) in to.params.iter_mut().zip(&from.params) {
                    to.default.clone_from(&from.default);
                }
                if self.is_bench(FnId(i as u32)) {
                    self.program.fns[i].result = std::mem::replace(&mut from.result, Ty::Error);
                }
                self.call_graph[i].clone_from(&old.calls);
                self.take_over(&old.found);
                self.kept.fns.push(KeptFn { origin, ..old });
                continue;
            }
            let found = self.finding(|cx| cx.check_fn(FnId(i as u32)));
            self.kept.fns.push(KeptFn { origin, found, calls: self.call_graph[i].clone() });
        }
    }

    /// Checks a test, or takes over what is known of it.
    pub(super) fn check_test_again(&mut self, item: &Arc<Item>, before: &mut Option<Before>) {
        let ItemKind::Test(test) = &item.kind else { return };
        let key = Arc::as_ptr(item);
        let first = self.program.tests.len();
        let mut known = None;
        if let Some(b) = before
            && let Some(old) = b.kept.tests.get(&key)
            && self.still(&old.found)
            && !mentions(self.text_of(item.span), &b.touched)
        {
            if let Some(def) = old.def.and_then(|i| b.program.tests.get_mut(i)) {
                let body = def.body.take();
                self.program.tests.push(TestDef { body, ..def.clone() });
            }
            known = Some(old.found.clone());
        }
        let found = match known {
            Some(found) => {
                self.take_over(&found);
                found
            }
            None => self.finding(|cx| cx.check_test(test)),
        };
        let def = (self.program.tests.len() > first).then_some(first);
        self.kept.tests.insert(key, KeptTest { _item: Arc::clone(item), found, def });
    }

    /// What a check of a body finds.
    fn finding(&mut self, check: impl FnOnce(&mut Self)) -> Found {
        let (errors, failed, divisors) = (self.errors.len(), self.failed.len(), self.divisors.len());
        self.lines.take();
        check(self);
        // each body speaks for itself
        self.divisors.truncate(divisors);
        Found {
            errors: self.errors[errors..].to_vec(),
            failed: self.failed[failed..].to_vec(),
            lines: self.lines.take(),
        }
    }

    fn take_over(&mut self, found: &Found) {
        self.errors.extend_from_slice(&found.errors);
        self.failed.extend_from_slice(&found.failed);
    }

    /// Whether anything but bodies mentions a name that means something else now.
    fn reaches_far(&self, before: &Before) -> bool {
        if before.touched.is_empty() {
            return false;
        }
        self.asts.iter().flat_map(|m| &m.ast.items).any(|item| {
            let mentioned = |span: Span| mentions(self.text_of(span), &before.touched);
            let head = |body: Option<Span>| Span { end: body.map_or(item.span.end, |b| b.start), ..item.span };
            match &item.kind {
                ItemKind::Test(_) => false,
                ItemKind::Fn(f) => {
                    before.changed != Some(Arc::as_ptr(item)) && mentioned(head(f.body.as_ref().map(|b| b.span)))
                }
                ItemKind::Prop(p) => mentioned(head(Some(p.body.span))),
                ItemKind::Bench(b) => mentioned(head(Some(b.body.span))),
                ItemKind::Impl(i) => {
                    let mut from = item.span.start;
                    let bodies = i.items.iter().filter_map(|m| match &m.kind {
                        ItemKind::Fn(f) => f.body.as_ref().map(|b| b.span),
                        _ => None,
                    });
                    bodies.chain([Span { start: item.span.end, ..item.span }]).any(|body| {
                        let start = std::mem::replace(&mut from, body.end);
                        mentioned(Span { start, end: body.start.max(start), ..item.span })
                    })
                }
                ItemKind::Import(_)
                | ItemKind::Const(_)
                | ItemKind::TypeAlias(_)
                | ItemKind::Struct(_)
                | ItemKind::Interface(_) => mentioned(item.span),
            }
        })
    }

    fn text_of(&self, span: Span) -> &'a str {
        let source = self.sources.get(&span.file);
        source.and_then(|s| s.text.get(span.start as usize..span.end as usize)).unwrap_or("")
    }

    /// Whether the lines in messages have their numbers still.
    fn still(&self, found: &Found) -> bool {
        found.lines.iter().all(|(span, line)| self.line_of(*span) == *line)
    }

    /// What the next check starts from.
    pub(super) fn keep(&mut self) -> Kept {
        let mut kept = std::mem::take(&mut self.kept);
        let module = |m: &Module<'_>| KeptModule {
            name: m.name.to_owned(),
            items: m.ast.items.clone(),
            broken: m.ast.broken.clone(),
        };
        kept.modules = self.asts.iter().map(module).collect();
        kept
    }

    /// Remembers how large the first check made the tables.
    pub(super) fn measure(&mut self, before: Option<&Before>) {
        self.kept.first = before.map_or_else(|| Tables::of(&self.program), |b| b.kept.first);
    }
}
