//! Items.

use std::sync::Arc;

use tdl_source::{Diagnostic, Span, code};

use super::{Cx, P, Rule, inner, next, take};
use crate::ast::*;

impl Cx<'_> {
    pub(super) fn item(&self, pair: P<'_>) -> Item {
        let span = self.span(&pair);
        let mut parts = inner(pair);
        let annotations = self.annotations(&mut parts);
        let kind = next(&mut parts);
        let doc = self.doc(span).or_else(|| self.doc(self.span(&kind)));
        let kind = match kind.as_rule() {
            Rule::import => ItemKind::Import(self.import(kind)),
            Rule::constant => ItemKind::Const(self.constant(kind)),
            Rule::alias => ItemKind::TypeAlias(self.alias(kind)),
            Rule::structure => ItemKind::Struct(self.structure(kind)),
            Rule::implementation => ItemKind::Impl(self.implementation(kind)),
            Rule::interface => ItemKind::Interface(self.interface(kind)),
            Rule::function => ItemKind::Fn(self.function(kind, true)),
            Rule::test => ItemKind::Test(self.test(kind)),
            Rule::prop => ItemKind::Prop(self.prop(kind)),
            Rule::bench => ItemKind::Bench(self.bench(kind)),
            other => unreachable!("{other:?} is no item"),
        };
        Item { doc, annotations, kind, span }
    }

    pub(super) fn annotations(
        &self,
        parts: &mut std::iter::Peekable<pest::iterators::Pairs<'_, Rule>>,
    ) -> Vec<Annotation> {
        let mut out = Vec::new();
        while let Some(pair) = take(parts, Rule::annotation) {
            let span = self.span(&pair);
            let mut inside = inner(pair);
            let name = self.ident(&next(&mut inside));
            let args = inside.next().map(|a| self.args(a)).unwrap_or_default();
            out.push(Annotation { name, args, span });
        }
        out
    }

    fn import(&self, pair: P<'_>) -> Import {
        let mut out = Import { path: Vec::new(), names: None, alias: None };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::import_path => {
                    for p in part.into_inner() {
                        if p.as_rule() == Rule::import_names {
                            out.names = Some(p.into_inner().map(|n| self.import_name(n)).collect());
                        } else {
                            out.path.push(self.ident(&p));
                        }
                    }
                }
                Rule::ident => out.alias = Some(self.ident(&part)),
                _ => {}
            }
        }
        out
    }

    fn import_name(&self, pair: P<'_>) -> ImportName {
        let mut idents = pair.into_inner().filter(|p| p.as_rule() == Rule::ident);
        let name = self.ident(&idents.next().expect("a name"));
        ImportName { name, alias: idents.next().map(|p| self.ident(&p)) }
    }

    fn constant(&self, pair: P<'_>) -> Const {
        let mut parts = inner(pair);
        take(&mut parts, Rule::k_const);
        let name = self.ident(&next(&mut parts));
        let ty = take(&mut parts, Rule::ty).map(|t| self.ty(t));
        Const { name, ty, value: self.expr(next(&mut parts)) }
    }

    fn alias(&self, pair: P<'_>) -> TypeAlias {
        let mut parts = inner(pair);
        take(&mut parts, Rule::k_type);
        let name = self.ident(&next(&mut parts));
        let generics = self.opt_generics(&mut parts);
        TypeAlias { name, generics, ty: self.ty(next(&mut parts)) }
    }

    fn opt_generics(&self, parts: &mut std::iter::Peekable<pest::iterators::Pairs<'_, Rule>>) -> Vec<Generic> {
        take(parts, Rule::generics).map(|g| self.generics(g)).unwrap_or_default()
    }

    pub(super) fn generics(&self, pair: P<'_>) -> Vec<Generic> {
        pair.into_inner()
            .map(|g| {
                let span = self.span(&g);
                let mut parts = inner(g);
                let variadic = take(&mut parts, Rule::spread_dots).is_some();
                let name = self.ident(&next(&mut parts));
                let kind = take(&mut parts, Rule::ty).map(|t| self.ty(t));
                let default = take(&mut parts, Rule::expr).map(|e| self.expr(e));
                Generic { variadic, name, kind, default, span }
            })
            .collect()
    }

    fn opt_facts(&self, parts: &mut std::iter::Peekable<pest::iterators::Pairs<'_, Rule>>) -> Vec<Expr> {
        let Some(facts) = take(parts, Rule::facts) else { return Vec::new() };
        facts.into_inner().filter(|p| p.as_rule() == Rule::head_expr).map(|p| self.expr(p)).collect()
    }

    fn structure(&self, pair: P<'_>) -> Struct {
        let mut parts = inner(pair);
        take(&mut parts, Rule::k_struct);
        let name = self.ident(&next(&mut parts));
        let generics = self.opt_generics(&mut parts);
        let facts = self.opt_facts(&mut parts);
        let fields = next(&mut parts).into_inner().map(|f| self.field(f)).collect();
        Struct { name, generics, facts, fields }
    }

    fn field(&self, pair: P<'_>) -> Field {
        let doc = self.doc(self.span(&pair));
        let mut parts = inner(pair);
        let mutable = take(&mut parts, Rule::k_mut).is_some();
        let name = self.ident(&next(&mut parts));
        Field { doc, mutable, name, ty: self.ty(next(&mut parts)) }
    }

    fn implementation(&self, pair: P<'_>) -> Impl {
        let mut parts = inner(pair);
        take(&mut parts, Rule::k_impl);
        let name = self.ident(&next(&mut parts));
        let generics = self.opt_generics(&mut parts);
        let facts = self.opt_facts(&mut parts);
        let items = self.members(next(&mut parts), true);
        Impl { name, generics, facts, items }
    }

    fn interface(&self, pair: P<'_>) -> Interface {
        let mut parts = inner(pair);
        take(&mut parts, Rule::k_interface);
        let name = self.ident(&next(&mut parts));
        let generics = self.opt_generics(&mut parts);
        Interface { name, generics, items: self.members(next(&mut parts), false) }
    }

    fn members(&self, pair: P<'_>, bodies: bool) -> Vec<Item> {
        pair.into_inner()
            .map(|member| {
                let span = self.span(&member);
                let doc = self.doc(span);
                let mut parts = inner(member);
                let annotations = self.annotations(&mut parts);
                let kind = ItemKind::Fn(self.function(next(&mut parts), bodies));
                Item { doc, annotations, kind, span }
            })
            .collect()
    }

    fn function(&self, pair: P<'_>, wants_body: bool) -> Fn {
        let span = self.span(&pair);
        let mut parts = inner(pair);
        let io = take(&mut parts, Rule::k_io).is_some();
        take(&mut parts, Rule::k_fn);
        let name = self.ident(&next(&mut parts));
        let generics = self.opt_generics(&mut parts);
        let params = self.params(next(&mut parts));
        let result = take(&mut parts, Rule::ty).map(|t| self.ty(t));
        let facts = self.opt_facts(&mut parts);
        let body = parts.next().map(|body| match body.as_rule() {
            Rule::block => {
                let span = self.span(&body);
                Expr { kind: ExprKind::Block(self.block(body)), span }
            }
            _ => self.expr(inner(body).next().expect("an expression")),
        });
        if wants_body && body.is_none() {
            let end = Span { start: span.end, ..span };
            self.error(
                Diagnostic::error(code::E0103, format!("`{}` has no body", name.name), name.span, "this function")
                    .label(end, "expected `= expression` or `{ … }`"),
            );
        }
        Fn { io, name, generics, params, result, facts, body }
    }

    fn params(&self, pair: P<'_>) -> Vec<Param> {
        pair.into_inner().map(|p| self.param(p)).collect()
    }

    /// A parameter of a function or lambda.
    pub(super) fn param(&self, pair: P<'_>) -> Param {
        let span = self.span(&pair);
        let mut parts = inner(pair);
        let mut mutable = take(&mut parts, Rule::k_mut).is_some();
        let name = self.ident(&next(&mut parts));
        let mut ty = None;
        if let Some(t) = take(&mut parts, Rule::param_ty) {
            let (m, t) = self.param_ty(t);
            mutable |= m;
            ty = Some(t);
        }
        let default = take(&mut parts, Rule::expr).map(|e| self.expr(e));
        Param { mutable, name, ty, default, span }
    }

    pub(super) fn param_ty(&self, pair: P<'_>) -> (bool, Type) {
        let mut parts = inner(pair);
        let mutable = take(&mut parts, Rule::k_mut).is_some();
        (mutable, self.ty(next(&mut parts)))
    }

    fn title(&self, pair: P<'_>) -> (Arc<str>, Span) {
        let span = self.span(&pair);
        let whole = pair.as_str().trim();
        let text = whole.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(whole).to_owned();
        (text.into(), span)
    }

    fn test(&self, pair: P<'_>) -> Test {
        let mut parts = inner(pair);
        take(&mut parts, Rule::k_test);
        let (name, name_span) = self.title(next(&mut parts));
        let (mut expect, mut message) = (None, None);
        if take(&mut parts, Rule::k_expect).is_some() {
            take(&mut parts, Rule::k_error);
            expect = take(&mut parts, Rule::word).map(|w| self.ident(&w));
            let plain = |s: P<'_>| self.title(s).0.replace("\\\"", "\"").replace("{{", "{").replace("}}", "}").into();
            message = take(&mut parts, Rule::string).map(plain);
        }
        Test { name, name_span, expect, message, body: self.block(next(&mut parts)) }
    }

    fn prop(&self, pair: P<'_>) -> Prop {
        let mut parts = inner(pair);
        take(&mut parts, Rule::k_prop);
        let (name, name_span) = self.title(next(&mut parts));
        let params = self.params(next(&mut parts));
        let facts = self.opt_facts(&mut parts);
        Prop { name, name_span, params, facts, body: self.block(next(&mut parts)) }
    }

    fn bench(&self, pair: P<'_>) -> Bench {
        let mut parts = inner(pair);
        take(&mut parts, Rule::k_bench);
        let (name, name_span) = self.title(next(&mut parts));
        let mut over = None;
        if take(&mut parts, Rule::k_for).is_some() {
            let var = self.ident(&next(&mut parts));
            take(&mut parts, Rule::k_in);
            over = Some((var, self.expr(next(&mut parts))));
        }
        Bench { name, name_span, over, body: self.block(next(&mut parts)) }
    }
}
