//! Generic items with fresh unknowns for their parameters, and what the parameters' kinds ask of the arguments.

use std::rc::Rc;

use tdl_source::{Diagnostic, Span, code};

use super::Checker;
use super::store::Class;
use crate::ids::*;
use crate::size::SizeVar;
use crate::subst::Bindings;
use crate::ty::{Elem, FnParam, FnTy, GenericArg, Kind, Ty};

/// A function with its parameters in brackets replaced.
pub(super) struct Instance {
    pub args: Vec<GenericArg>,
    pub bindings: Bindings,
    pub params: Vec<FnParam>,
    pub result: Ty,
    /// `i64` parameters that occur in types: by position, the size they must be.
    pub size_params: Vec<Option<crate::size::SizeExpr>>,
}

impl Checker<'_> {
    pub(super) fn fresh_args(&mut self, generics: &[GenericId]) -> Vec<GenericArg> {
        let kinds: Vec<Kind> = generics.iter().map(|g| self.program.generics[g.index()].kind.clone()).collect();
        kinds.iter().map(|k| self.body.store.new_arg(k)).collect()
    }

    /// `given` are the struct's arguments where they are known (a receiver, `Mlp[128].init`).
    pub(super) fn instantiate(&mut self, id: FnId, given: Option<&[GenericArg]>) -> Instance {
        let def = &self.program.fns[id.index()];
        let generics = def.generics.clone();
        let self_generics = def.self_generics;
        let self_struct = def.self_struct;
        let def_params = def.params.clone();
        let def_result = def.result.clone();
        let args = self.fresh_args(&generics);
        let mut bindings = Bindings::new(&generics, &args);
        if let Some(sid) = self_struct {
            // arguments that the impl's header leaves to defaults are fixed, others may fall back to the struct's defaults
            let header = self.sigs[id.index()].self_args.clone();
            let defaults = self.struct_infos[sid.index()].defaults.clone();
            let struct_generics = self.program.structs[sid.index()].generics.clone();
            let as_struct = Bindings::new(&struct_generics, &args[..self_generics]);
            for (i, own) in args[..self_generics].iter().enumerate() {
                let fixed = header[i].subst(&bindings);
                if fixed != *own {
                    let _ = self.unify_arg(own, &fixed);
                } else if let Some(d) = defaults.get(i).cloned().flatten() {
                    self.body.store.defaults.push((own.clone(), d.subst(&as_struct)));
                }
            }
            // inside of the struct's own `impl`, what nothing else says is as in the `impl`
            if let Some((_, here)) = self.body.own_struct.as_ref().filter(|(s, _)| *s == sid) {
                let pairs: Vec<_> = args[..self_generics].iter().cloned().zip(here.iter().cloned()).collect();
                self.body.store.defaults.extend(pairs);
            }
            if let Some(given) = given {
                for (own, known) in args[..self_generics].iter().zip(given) {
                    let _ = self.unify_arg(own, known);
                }
            }
        }
        let mut mentioned = Vec::new();
        let mut note = |v: SizeVar| {
            if let SizeVar::Local(l) = v {
                mentioned.push(l);
            }
        };
        def_params.iter().for_each(|p| p.ty.visit_sizes(&mut note));
        def_result.visit_sizes(&mut note);
        for clause in &self.sigs[id.index()].clauses {
            clause.fact.map(&|e| {
                e.visit_vars(&mut |_| ());
                e.clone()
            });
        }
        let clause_mentions = |l: LocalId, cx: &Checker<'_>| {
            let found = std::cell::Cell::new(false);
            for clause in &cx.sigs[id.index()].clauses {
                clause.fact.map(&|e| {
                    if e.mentions(SizeVar::Local(l)) {
                        found.set(true);
                    }
                    e.clone()
                });
            }
            found.get()
        };
        let mut size_params = Vec::new();
        for p in &def_params {
            let used = mentioned.contains(&p.local) || clause_mentions(p.local, self);
            if used && !p.mutable && p.ty == Ty::I64 {
                let size = self.body.store.new_size();
                bindings.sizes.insert(SizeVar::Local(p.local), size.clone());
                size_params.push(Some(size));
            } else {
                size_params.push(None);
            }
        }
        let params = def_params
            .iter()
            .map(|p| FnParam { name: Some(p.name.clone()), ty: p.ty.subst(&bindings), mutable: p.mutable })
            .collect();
        Instance { params, result: def_result.subst(&bindings), args, bindings, size_params }
    }

    /// The type of a function as a value, with unknowns for its generics.
    pub(super) fn fn_value_type(&mut self, id: FnId) -> (Vec<GenericArg>, Ty) {
        let inst = self.instantiate(id, None);
        let io = self.program.fns[id.index()].io;
        let ty = Ty::Fn(Rc::new(FnTy { generics: Vec::new(), params: inst.params, result: inst.result, io }));
        (inst.args, ty)
    }

    /// What the kinds of parameters ask: all float leaves of one dtype, the methods of an interface.
    pub(super) fn check_kinds(&mut self, generics: &[GenericId], args: &[GenericArg], bindings: &Bindings, span: Span) {
        for (g, arg) in generics.iter().zip(args) {
            let GenericArg::Ty(t) = arg else { continue };
            let t = self.zonk(t);
            match self.program.generics[g.index()].kind.clone() {
                Kind::Tree(Some(elem)) => {
                    let want = crate::subst::subst_elem(elem, bindings);
                    let mut elems = Vec::new();
                    self.float_elems(&t, &mut elems);
                    for have in elems {
                        if self.unify_elem(want, have).is_err() {
                            let (w, h) = (self.show().elem(self.zonk_elem(want)), self.show().elem(have));
                            let name = self.program.generics[g.index()].name.clone();
                            self.errors.push(Diagnostic::error(
                                code::E0302,
                                format!("`{name}` needs all floats to be {w}, but {} has {h}", self.show_ty(&t)),
                                span,
                                format!("has floats of dtype {h}"),
                            ));
                            break;
                        }
                    }
                    self.require_tree(&t, span);
                }
                Kind::Tree(None) => self.require_tree(&t, span),
                Kind::Interface(id, iargs) => {
                    let iargs: Vec<GenericArg> = iargs.iter().map(|a| a.subst(bindings)).collect();
                    self.check_interface(id, &iargs, &t, span);
                }
                Kind::Size | Kind::Shape | Kind::Dtype(_) | Kind::Fn(_) => {}
            }
        }
    }

    fn require_tree(&mut self, t: &Ty, span: Span) {
        if let Ty::Fn(_) = t {
            let text = format!("a function is no tree of tensors: {}", self.show_ty(t));
            self.errors.push(Diagnostic::error(code::E0301, text, span, "a struct, tuple or tensor is needed"));
        }
    }

    /// Dtypes of all float leaves that are not state.
    pub(super) fn float_elems(&self, t: &Ty, out: &mut Vec<Elem>) {
        match t {
            Ty::Tensor(e, _) => {
                if self.elem_within(*e, crate::ty::DtypeBound::Float) && !out.contains(e) {
                    out.push(*e);
                }
            }
            Ty::Tuple(items) => items.iter().for_each(|t| self.float_elems(t, out)),
            Ty::Struct(id, args) => {
                let def = &self.program.structs[id.index()];
                let bindings = Bindings::new(&def.generics, args);
                for f in &def.fields {
                    if !f.state {
                        self.float_elems(&self.zonk(&f.ty.subst(&bindings)), out);
                    }
                }
            }
            Ty::Stack(_, t) | Ty::Exists(_, t) => self.float_elems(t, out),
            Ty::Param(id) => match &self.program.generics[id.index()].kind {
                Kind::Tree(Some(e)) => {
                    if !out.contains(e) {
                        out.push(*e);
                    }
                }
                Kind::Tree(None) | Kind::Size | Kind::Shape | Kind::Dtype(_) | Kind::Interface(..) | Kind::Fn(_) => {}
            },
            Ty::Error | Ty::Never | Ty::Fn(_) | Ty::Str | Ty::Rng | Ty::Infer(_) => {}
        }
    }

    fn check_interface(&mut self, id: InterfaceId, args: &[GenericArg], t: &Ty, span: Span) {
        let def = self.program.interfaces[id.index()].clone();
        match t {
            Ty::Struct(sid, sargs) => {
                let mut bindings = Bindings::new(&def.generics, args);
                bindings.generics.insert(def.self_generic, GenericArg::Ty(t.clone()));
                for m in &def.methods {
                    let methods = &self.program.structs[sid.index()].methods;
                    let found = methods.iter().find(|(n, _)| *n == m.name).map(|(_, f)| *f);
                    let struct_name = self.program.structs[sid.index()].name.clone();
                    let Some(func) = found else {
                        self.errors.push(
                            Diagnostic::error(
                                code::E0312,
                                format!(
                                    "`{struct_name}` has no method `{}`, which interface `{}` asks for",
                                    m.name, def.name
                                ),
                                span,
                                format!("not a `{}`", def.name),
                            )
                            .label(m.span, "asked for here"),
                        );
                        continue;
                    };
                    let inst = self.instantiate(func, Some(sargs));
                    let ast = self.sigs[func.index()].ast;
                    let more_have_defaults =
                        ast.is_some_and(|f| f.params.iter().skip(m.params.len()).all(|p| p.default.is_some()));
                    // the method's own generics stay rigid
                    let fits = inst.params.len() >= m.params.len()
                        && more_have_defaults
                        && (m.io || !self.program.fns[func.index()].io)
                        && inst.params.iter().zip(&m.params).all(|(have, want)| {
                            have.mutable == want.mutable && self.unify(&want.ty.subst(&bindings), &have.ty).is_ok()
                        })
                        && self.unify(&m.result.subst(&bindings), &inst.result).is_ok();
                    if !fits {
                        let span_have = self.program.fns[func.index()].name_span;
                        self.errors.push(
                            Diagnostic::error(
                                code::E0312,
                                format!("`{struct_name}.{}` does not fit interface `{}`", m.name, def.name),
                                span,
                                format!("not a `{}`", def.name),
                            )
                            .label(m.span, "asked for here")
                            .label(span_have, "this method"),
                        );
                    }
                }
            }
            Ty::Param(p) => {
                if let Kind::Interface(own, own_args) = self.program.generics[p.index()].kind.clone()
                    && own == id
                {
                    for (a, b) in args.iter().zip(&own_args) {
                        let _ = self.unify_arg(a, b);
                    }
                    return;
                }
                let text = format!("{} is not known to be a `{}`", self.show_ty(t), def.name);
                self.errors.push(Diagnostic::error(code::E0312, text, span, "a type parameter without the interface"));
            }
            Ty::Infer(_) | Ty::Error | Ty::Never => {}
            Ty::Tensor(..) | Ty::Tuple(_) | Ty::Stack(..) | Ty::Fn(_) | Ty::Str | Ty::Rng | Ty::Exists(..) => {
                let text = format!("{} has no methods, so it is not a `{}`", self.show_ty(t), def.name);
                self.errors.push(Diagnostic::error(code::E0312, text, span, "a struct is needed"));
            }
        }
    }

    /// An unknown dtype that a builtin's rule restricts.
    pub(super) fn elem_bound(&mut self, bound: crate::ty::DtypeBound) -> Elem {
        self.body.store.new_elem(Class::Bound(bound, None))
    }
}
