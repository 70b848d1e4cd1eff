//! Items of all modules: names and imports, then structs and interfaces, then signatures.

use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ItemKind};

use super::signature::is_i64;
use super::{Alias, BodyCx, Checked, Checker, Def, Entry, Module, Sig, StructInfo};
use crate::ids::*;
use crate::size::Facts;
use crate::thir::*;

impl<'a> Checker<'a> {
    pub(super) fn new(modules: &[Module<'a>]) -> Checker<'a> {
        Checker {
            program: Program::default(),
            asts: modules.to_vec(),
            scopes: vec![FxHashMap::default(); modules.len()],
            broken: Default::default(),
            kindless: Default::default(),
            aliases: Vec::new(),
            sigs: Vec::new(),
            struct_infos: Vec::new(),
            const_sizes: Vec::new(),
            const_asts: Vec::new(),
            call_graph: Vec::new(),
            const_graph: Vec::new(),
            consts_open: Vec::new(),
            rules: Vec::new(),
            facts: Facts::default(),
            errors: Vec::new(),
            failed: Vec::new(),
            origins: Vec::new(),
            sources: modules.iter().flat_map(|m| &m.ast.sources).map(|s| (s.file, s)).collect(),
            lines: Default::default(),
            kept: Default::default(),
            fn_args: Vec::new(),
            signatures_done: false,
            divisors: Vec::new(),
            module: ModuleId(0),
            body: BodyCx::default(),
        }
    }

    pub(super) fn into_checked(self) -> Checked {
        let mut errors = self.errors;
        let order = |d: &Diagnostic| (d.primary.span.file, d.primary.span.start, d.code);
        errors.sort_by_key(order);
        errors.dedup();
        Checked { program: self.program, errors, broken: self.failed }
    }

    fn items(&self) -> Vec<(ModuleId, &'a Arc<ast::Item>)> {
        let modules = self.asts.iter().enumerate();
        modules.flat_map(|(i, m)| m.ast.items.iter().map(move |item| (ModuleId(i as u32), item))).collect()
    }

    /// Enters everything that bodies refer to.
    pub(super) fn collect(&mut self) {
        for (i, m) in self.asts.iter().enumerate() {
            self.program.modules.push(ModuleDef { name: m.name.into(), main: None });
            debug_assert_eq!(self.program.modules.len(), i + 1);
        }
        for (i, m) in self.asts.iter().enumerate() {
            self.broken.extend(m.ast.broken.iter().map(|n| (ModuleId(i as u32), Rc::from(&**n))));
        }
        let items = self.items();
        for (module, item) in &items {
            self.enter_names(*module, item);
        }
        for (module, item) in &items {
            if let ItemKind::Import(import) = &item.kind {
                self.import(*module, import);
            }
        }
        let mut structs = Vec::new();
        let mut interfaces = Vec::new();
        for (module, item) in &items {
            self.module = *module;
            match &item.kind {
                ItemKind::Struct(s) => {
                    if let Some(Def::Struct(id)) = self.scopes[module.index()].get(&*s.name.name)
                        && self.program.structs[id.index()].span == s.name.span
                    {
                        structs.push((*module, *id, s));
                    }
                }
                ItemKind::Interface(s) => {
                    if let Some(Def::Interface(id)) = self.scopes[module.index()].get(&*s.name.name)
                        && self.program.interfaces[id.index()].span == s.name.span
                    {
                        interfaces.push((*module, *id, s));
                    }
                }
                ItemKind::Import(_)
                | ItemKind::Const(_)
                | ItemKind::TypeAlias(_)
                | ItemKind::Impl(_)
                | ItemKind::Fn(_)
                | ItemKind::Test(_)
                | ItemKind::Prop(_)
                | ItemKind::Bench(_) => {}
            }
        }
        for (module, id, s) in &interfaces {
            self.interface_generics(*module, *id, s);
        }
        let mut frames = Vec::new();
        for (module, id, s) in &structs {
            self.module = *module;
            self.fresh_body();
            let generics = self.declare_generics(&s.generics);
            self.program.structs[id.index()].generics = generics;
            frames.push(std::mem::take(&mut self.body.names));
        }
        for (_, item) in items.iter().filter(|(_, i)| matches!(i.kind, ItemKind::Const(_))) {
            if let ItemKind::Const(c) = &item.kind {
                self.literal_const(c);
            }
        }
        for ((module, id, s), names) in structs.iter().zip(&frames) {
            self.module = *module;
            self.fresh_body();
            self.body.names = names.clone();
            let generics = self.program.structs[id.index()].generics.clone();
            let mut defaults = Vec::new();
            for (g, gid) in s.generics.iter().zip(&generics) {
                let kind = self.program.generics[gid.index()].kind.clone();
                defaults.push(g.default.as_ref().and_then(|d| self.generic_default(d, &kind)));
            }
            self.struct_infos[id.index()].defaults = defaults;
            self.struct_infos[id.index()].clauses = self.where_clauses(&s.facts);
        }
        for (module, id, s) in &interfaces {
            self.interface_methods(*module, *id, s);
        }
        for ((module, id, s), names) in structs.iter().zip(&frames) {
            self.module = *module;
            self.fresh_body();
            self.body.names = names.clone();
            for clause in self.struct_infos[id.index()].clauses.clone() {
                self.assume(&clause.fact);
            }
            let mut fields: Vec<FieldDef> = Vec::new();
            for f in &s.fields {
                if let Some(first) = fields.iter().find(|g| *g.name == *f.name.name) {
                    self.duplicate(&f.name, "field", Some(first.span));
                    continue;
                }
                let ty = self.lower(&f.ty);
                let name = f.name.name.as_ref().into();
                fields.push(FieldDef { name, ty, state: f.mutable, doc: f.doc.clone(), span: f.name.span });
            }
            self.program.structs[id.index()].fields = fields;
        }
        self.struct_parts();
        for (module, item) in &items {
            self.module = *module;
            match &item.kind {
                ItemKind::Fn(f) => {
                    if let Some(Def::Fn(id)) = self.scopes[module.index()].get(&*f.name.name).copied()
                        && self.program.fns[id.index()].name_span == f.name.span
                    {
                        self.fresh_body();
                        self.signature(id, f, &item.annotations);
                    }
                }
                ItemKind::Impl(i) => self.impl_signatures(i, item),
                ItemKind::Const(c) => self.const_type(c),
                ItemKind::TypeAlias(_)
                | ItemKind::Import(_)
                | ItemKind::Struct(_)
                | ItemKind::Interface(_)
                | ItemKind::Test(_)
                | ItemKind::Prop(_)
                | ItemKind::Bench(_) => {}
            }
        }
        // the values of constants may use anything
        for i in 0..self.program.consts.len() {
            let span = self.program.consts[i].span;
            self.const_type_of(ConstId(i as u32), span);
        }
        self.signatures_done = true;
        self.check_fn_args();
        // aliases nobody uses are lowered once, for their errors
        for i in 0..self.aliases.len() {
            if self.aliases[i].ast.generics.is_empty() {
                self.module = self.aliases[i].module;
                self.fresh_body();
                let ast = self.aliases[i].ast;
                self.lower(&ast.ty);
            }
        }
    }

    pub(super) fn fresh_body(&mut self) {
        self.body = BodyCx::default();
        self.body.names.push(FxHashMap::default());
        self.facts = Facts::default();
    }

    fn enter_names(&mut self, module: ModuleId, item: &'a Arc<ast::Item>) {
        match &item.kind {
            ItemKind::Const(c) => {
                let id = ConstId(self.program.consts.len() as u32);
                let name: Rc<str> = c.name.name.as_ref().into();
                self.program.consts.push(ConstDef { name, module, ty: Ty::Error, value: None, span: c.name.span });
                self.const_sizes.push(None);
                self.const_asts.push(c);
                self.const_graph.push(Vec::new());
                self.define(module, &c.name, Def::Const(id));
            }
            ItemKind::TypeAlias(t) => {
                self.aliases.push(Alias { module, ast: t, active: false, cyclic: false });
                self.define(module, &t.name, Def::Alias(self.aliases.len() - 1));
            }
            ItemKind::Struct(s) => {
                let id = StructId(self.program.structs.len() as u32);
                self.program.structs.push(StructDef {
                    name: s.name.name.as_ref().into(),
                    module,
                    generics: Vec::new(),
                    fields: Vec::new(),
                    methods: Vec::new(),
                    doc: item.doc.clone(),
                    span: s.name.span,
                });
                self.struct_infos.push(StructInfo::default());
                self.define(module, &s.name, Def::Struct(id));
            }
            ItemKind::Interface(s) => {
                let id = InterfaceId(self.program.interfaces.len() as u32);
                self.program.interfaces.push(InterfaceDef {
                    name: s.name.name.as_ref().into(),
                    module,
                    self_generic: GenericId(0),
                    generics: Vec::new(),
                    methods: Vec::new(),
                    span: s.name.span,
                });
                self.define(module, &s.name, Def::Interface(id));
            }
            ItemKind::Fn(f) => {
                let name = f.name.name.as_ref().into();
                let id = self.new_fn(module, name, Some(f), item.doc.clone(), f.name.span, item.span);
                self.origins[id.index()] = Some((item, 0));
                if self.define(module, &f.name, Def::Fn(id)) && &*f.name.name == "main" {
                    self.program.modules[module.index()].main = Some(id);
                }
            }
            ItemKind::Import(_) | ItemKind::Impl(_) | ItemKind::Test(_) | ItemKind::Prop(_) | ItemKind::Bench(_) => {}
        }
    }

    pub(super) fn new_fn(
        &mut self,
        module: ModuleId,
        name: Rc<str>,
        ast: Option<&'a ast::Fn>,
        doc: Option<std::sync::Arc<str>>,
        name_span: Span,
        span: Span,
    ) -> FnId {
        let id = FnId(self.program.fns.len() as u32);
        self.program.fns.push(FnDef {
            name,
            module,
            io: false,
            generics: Vec::new(),
            self_generics: 0,
            self_struct: None,
            params: Vec::new(),
            result: Ty::Error,
            clauses: Vec::new(),
            remat: false,
            vjp: None,
            body: None,
            doc,
            name_span,
            span,
        });
        self.sigs.push(Sig { ast, clauses: Vec::new(), self_args: Vec::new(), type_params: Vec::new() });
        self.call_graph.push(Vec::new());
        self.origins.push(None);
        id
    }

    fn generic_default(&mut self, d: &ast::Expr, kind: &Kind) -> Option<GenericArg> {
        match kind {
            Kind::Size => self.lower_size(d).map(GenericArg::Size),
            Kind::Dtype(_) | Kind::Tree(_) | Kind::Interface(..) => {
                let Some(t) = super::lower::expr_to_type(d) else {
                    self.errors.push(Diagnostic::error(code::E0309, "a type is needed here", d.span, "not a type"));
                    return None;
                };
                let t = self.lower(&t);
                match (kind, t) {
                    (Kind::Dtype(_), Ty::Tensor(e, dims)) if dims.is_empty() => Some(GenericArg::Dtype(e)),
                    (Kind::Dtype(_), _) => None,
                    (_, t) => Some(GenericArg::Ty(t)),
                }
            }
            Kind::Shape => None,
            Kind::Fn(_) => self.lower_fn_arg(d).map(GenericArg::Fn),
        }
    }

    fn interface_generics(&mut self, module: ModuleId, id: InterfaceId, s: &'a ast::Interface) {
        self.module = module;
        self.fresh_body();
        let generics = self.declare_generics(&s.generics);
        // a bare capital is a type here, as in `interface Optimizer[M]`
        for (g, gid) in s.generics.iter().zip(&generics) {
            if g.kind.is_none() && !g.variadic && g.name.name.starts_with(|c: char| c.is_uppercase()) {
                self.program.generics[gid.index()].kind = Kind::Tree(None);
            }
        }
        let self_generic = GenericId(self.program.generics.len() as u32);
        let args = generics.iter().map(|g| self.generic_as_arg(*g)).collect();
        let kind = Kind::Interface(id, args);
        self.program.generics.push(GenericDef { name: "Self".into(), kind, span: s.name.span });
        let def = &mut self.program.interfaces[id.index()];
        def.generics = generics;
        def.self_generic = self_generic;
    }

    fn interface_methods(&mut self, module: ModuleId, id: InterfaceId, s: &'a ast::Interface) {
        let def = self.program.interfaces[id.index()].clone();
        for item in &s.items {
            let ItemKind::Fn(f) = &item.kind else { continue };
            self.module = module;
            self.fresh_body();
            for g in &def.generics {
                let name = self.program.generics[g.index()].name.clone();
                self.bind_name(&name, Entry::Generic(*g));
            }
            self.bind_name("Self", Entry::Generic(def.self_generic));
            let generics = self.declare_generics(&f.generics);
            let mut params = Vec::new();
            for p in &f.params {
                let ty = match (&p.ty, &*p.name.name) {
                    (None, "self") => Ty::Param(def.self_generic),
                    (None, _) => {
                        self.missing_type(p);
                        Ty::Error
                    }
                    (Some(t), _) => self.lower(t),
                };
                self.bind_local(&p.name, ty.clone(), p.mutable);
                params.push(FnParam { name: Some(p.name.name.as_ref().into()), ty, mutable: p.mutable });
            }
            let result = f.result.as_ref().map_or(Ty::unit(), |t| self.lower(t));
            self.program.interfaces[id.index()].methods.push(MethodSig {
                name: f.name.name.as_ref().into(),
                generics,
                params,
                result,
                io: f.io,
                span: f.name.span,
            });
        }
    }

    pub(super) fn generic_as_arg(&self, g: GenericId) -> GenericArg {
        match self.program.generics[g.index()].kind {
            Kind::Size => GenericArg::Size(SizeExpr::var(SizeVar::Param(g))),
            Kind::Shape => GenericArg::Shape(vec![Dim::Spread(Spread::Param(g))]),
            Kind::Dtype(_) => GenericArg::Dtype(Elem::Param(g)),
            Kind::Tree(_) | Kind::Interface(..) => GenericArg::Ty(Ty::Param(g)),
            Kind::Fn(_) => GenericArg::Fn(Rc::new(FnArg::Param(g))),
        }
    }

    fn impl_signatures(&mut self, i: &'a ast::Impl, whole: &'a Arc<ast::Item>) {
        let Some(Def::Struct(sid)) = self.def_of(&i.name.name) else {
            self.unknown_name(&i.name, "struct");
            return;
        };
        let module = self.module;
        let struct_generics = self.program.structs[sid.index()].generics.clone();
        let defaults = self.struct_infos[sid.index()].defaults.clone();
        if i.generics.len() > struct_generics.len() {
            let text = format!(
                "`{}` has {}, got {}",
                i.name.name,
                super::lower::count(struct_generics.len(), "parameter"),
                i.generics.len()
            );
            self.errors.push(Diagnostic::error(code::E0303, text, i.name.span, "too many in brackets"));
            return;
        }
        for (place, item) in i.items.iter().enumerate() {
            let ItemKind::Fn(f) = &item.kind else { continue };
            let known = &self.program.structs[sid.index()].methods;
            if let Some((_, first)) = known.iter().find(|(n, _)| **n == *f.name.name) {
                let first = self.program.fns[first.index()].name_span;
                self.duplicate(&f.name, "method", Some(first));
                continue;
            }
            let name = format!("{}.{}", i.name.name, f.name.name);
            let id = self.new_fn(module, name.into(), Some(f), item.doc.clone(), f.name.span, item.span);
            self.origins[id.index()] = Some((whole, place));
            self.program.structs[sid.index()].methods.push((f.name.name.as_ref().into(), id));
            self.fresh_body();
            // each method has its own copy of the impl's generics, with the kinds of the struct's
            let mut own = Vec::new();
            let mut self_args: Vec<GenericArg> = Vec::new();
            for (at, sg) in struct_generics.iter().enumerate() {
                let gid = GenericId(self.program.generics.len() as u32);
                let mut def = self.program.generics[sg.index()].clone();
                let given = i.generics.get(at);
                if let Some(g) = given {
                    def.name = g.name.name.as_ref().into();
                    def.span = g.span;
                }
                self.program.generics.push(def);
                own.push(gid);
                match (given, defaults.get(at).cloned().flatten()) {
                    (Some(g), _) => {
                        self.bind_name(&g.name.name, Entry::Generic(gid));
                        self_args.push(self.generic_as_arg(gid));
                    }
                    (None, Some(d)) => {
                        self_args.push(d.subst(&crate::subst::Bindings::new(&struct_generics[..at], &self_args)));
                    }
                    (None, None) => {
                        let missing = self.program.generics[sg.index()].name.clone();
                        let text = format!("`impl {}` leaves out the parameter `{missing}`", i.name.name);
                        self.errors.push(Diagnostic::error(code::E0303, text, i.name.span, "it has no default"));
                        return;
                    }
                }
            }
            let rename = crate::subst::Bindings::new(
                &struct_generics,
                &own.iter().map(|g| self.generic_as_arg(*g)).collect::<Vec<_>>(),
            );
            for gid in &own {
                let kind = match self.program.generics[gid.index()].kind.clone() {
                    Kind::Tree(Some(e)) => Kind::Tree(Some(crate::subst::subst_elem(e, &rename))),
                    Kind::Interface(id, args) => Kind::Interface(id, args.iter().map(|a| a.subst(&rename)).collect()),
                    Kind::Fn(sig) => Kind::Fn(Rc::new(sig.subst(&rename))),
                    other @ (Kind::Size | Kind::Shape | Kind::Dtype(_) | Kind::Tree(None)) => other,
                };
                self.program.generics[gid.index()].kind = kind;
            }
            let def = &mut self.program.fns[id.index()];
            def.self_struct = Some(sid);
            def.self_generics = own.len();
            def.generics = own;
            let to_impl = crate::subst::Bindings::new(&struct_generics, &self_args);
            let inherited = self.struct_infos[sid.index()].clauses.clone();
            let inherited = inherited.into_iter().map(|c| super::Clause {
                fact: c.fact.map(&|e| e.subst(&|v| crate::subst::Subst::size(&to_impl, v))),
                text: c.text,
                span: c.span,
            });
            self.sigs[id.index()].clauses = inherited.collect();
            self.sigs[id.index()].self_args = self_args;
            let clauses = self.where_clauses(&i.facts);
            self.sigs[id.index()].clauses.extend(clauses);
            self.signature(id, f, &item.annotations);
        }
    }

    fn literal_const(&mut self, c: &ast::Const) {
        let Some(Def::Const(id)) = self.scopes_const(c) else { return };
        let value = self.pure_size(&c.value);
        if let Some(v) = value.filter(|v| v.as_const().is_some())
            && c.ty.as_ref().is_none_or(is_i64)
        {
            self.const_sizes[id.index()] = Some(v);
        }
    }

    fn scopes_const(&mut self, c: &ast::Const) -> Option<Def> {
        let i = self.program.consts.iter().position(|d| d.span == c.name.span)?;
        self.module = self.program.consts[i].module;
        self.fresh_body();
        Some(Def::Const(ConstId(i as u32)))
    }

    fn const_type(&mut self, c: &'a ast::Const) {
        let Some(Def::Const(id)) = self.scopes_const(c) else { return };
        let ty = match &c.ty {
            Some(t) => self.lower(t),
            // without a type the value says it
            None => return,
        };
        self.program.consts[id.index()].ty = ty;
    }
}
