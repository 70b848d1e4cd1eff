//! `@vjp(f)`: a derivative rule of one's own. What it is given and what it gives is checked as a call, once for all of
//! `f`'s types: a function `f.vjp` of `f`'s parameters, its result and the cotangent, whose body calls the rule.

use tdl_source::{Diagnostic, Span, code};
use tdl_syntax::ast::{self, ExprKind as A};

use super::call::{ArgValue, CallArg};
use super::errors::mk;
use super::field::Base;
use super::{Checker, Def};
use crate::ids::*;
use crate::thir::{Body, Builtin, Expect, Expr, ExprKind, Param, TestDef};
use crate::ty::{Kind, Ty};

impl Checker<'_> {
    /// Checks the rules that `signature` has found, after all bodies.
    pub(super) fn check_rules(&mut self) {
        for (rule, annotation) in std::mem::take(&mut self.rules) {
            self.module = self.program.fns[rule.index()].module;
            self.fresh_body();
            let Some((target, tested)) = self.ruled(rule, &annotation) else { continue };
            self.check_rule(rule, target, annotation.span);
            if tested && self.program.fns[target.index()].vjp.is_some() {
                self.rule_test(rule, target);
            }
        }
    }

    /// The test that every rule has.
    fn rule_test(&mut self, rule: FnId, target: FnId) {
        let (span, module) = (self.program.fns[rule.index()].name_span, self.module);
        let name = format!("derivative rule of {}", self.program.fns[target.index()].name).into();
        let op = Builtin::CheckRule(target);
        let value = mk(ExprKind::Builtin { op, args: Vec::new() }, Ty::unit(), span);
        let body = Some(Body { locals: Vec::new(), opens: Vec::new(), lambdas: Vec::new(), value });
        self.program.tests.push(TestDef { name, module, expect: Expect::Success, message: None, body, span });
    }

    /// The function that the annotation names, if it can have a rule, and whether `tdl test` tests it.
    fn ruled(&mut self, rule: FnId, annotation: &ast::Annotation) -> Option<(FnId, bool)> {
        let wrong = |text: String, span: Span, label: &str| {
            Diagnostic::error(code::E0505, text, span, label).help("name the function: `@vjp(softplus)`")
        };
        let is_check = |l: &ast::Arg| l.label.as_ref().is_some_and(|l| &*l.name == "check");
        let (value, tested) = match annotation.args.as_slice() {
            [ast::Arg { label: None, value }] => (value, true),
            [ast::Arg { label: None, value }, check] if is_check(check) => match check.value.kind {
                A::Bool(tested) => (value, tested),
                _ => {
                    let text = "`check` is `true` or `false`".into();
                    self.error(wrong(text, check.value.span, "a literal is needed"));
                    return None;
                }
            },
            _ => {
                self.error(wrong("`@vjp` takes one function".into(), annotation.span, "of which function?"));
                return None;
            }
        };
        let target = match &value.kind {
            A::Name(name) => match self.def_of(&name.name) {
                Some(Def::Fn(id)) => Some(id),
                Some(_) => None,
                None if super::builtin::find(&name.name).is_some() => {
                    let text = format!("`{}` is built in and has its derivative", name.name);
                    let d = Diagnostic::error(code::E0505, text, value.span, "no rule for this");
                    self.error(d.help("write a function that calls it, and a rule for that one"));
                    return None;
                }
                None => {
                    self.unknown_name(name, "function");
                    return None;
                }
            },
            A::Field { base, name } => match self.base_of(base) {
                Base::Module(m) => match self.member(m, name) {
                    Some(Def::Fn(id)) => Some(id),
                    Some(_) => None,
                    None => return None,
                },
                Base::Struct(id, _) => match self.method_of(id, &name.name) {
                    Some(id) => Some(id),
                    None => {
                        self.unknown_method(id, name);
                        return None;
                    }
                },
                Base::Error => return None,
                Base::Tree | Base::Value => None,
            },
            _ => None,
        };
        let Some(target) = target else {
            self.error(wrong("`@vjp` takes a function of this module".into(), value.span, "not one"));
            return None;
        };
        let def = &self.program.fns[target.index()];
        let name = def.name.clone();
        let has_fn = |t: &Ty| matches!(t, Ty::Fn(_));
        let why = if def.module != self.module {
            Some(("is another module's", "a rule stands in the module of its function"))
        } else if target == rule {
            Some(("cannot be its own rule", "write the rule as another function"))
        } else if def.io {
            Some(("is an `io fn`, which is not differentiated", "give what is pure a function, and a rule, of its own"))
        } else if def.params.iter().any(|p| p.mutable) {
            Some((
                "changes a `mut` parameter",
                "give the rule to a pure function of the old value that returns the new one, and assign its result",
            ))
        } else if def.params.iter().any(|p| has_fn(&p.ty))
            || has_fn(&def.result)
            || def.generics.iter().any(|g| matches!(self.program.generics[g.index()].kind, Kind::Fn(_)))
        {
            Some((
                "takes or gives a function, whose captured values the rule could not reach",
                "give the rule to a function of values, which this one calls",
            ))
        } else if matches!(def.result, Ty::Exists(..)) || def.params.iter().any(|p| matches!(p.ty, Ty::Exists(..))) {
            Some((
                "has sizes that are known only at run time",
                "name the sizes of the parameters in brackets; a result's must follow from them",
            ))
        } else if def.vjp.is_some() {
            Some(("has a rule already", "remove one of the two"))
        } else {
            None
        };
        if let Some((why, help)) = why {
            let d = Diagnostic::error(code::E0505, format!("`{name}` {why}"), value.span, "no rule for this");
            let at = self.program.fns[target.index()].name_span;
            self.error(d.label(at, "this function").help(help));
            return None;
        }
        Some((target, tested))
    }

    fn check_rule(&mut self, rule: FnId, target: FnId, span: Span) {
        let def = self.program.fns[target.index()].clone();
        let errors = self.errors.len();
        let wanted = def.params.len() + 2;
        let have = self.program.fns[rule.index()].clone();
        if have.io || have.params.len() != wanted {
            let names: Vec<String> = def.params.iter().map(|p| format!("`{}`", p.name)).collect();
            let text = if have.io {
                format!("the rule `{}` cannot be an `io fn`", have.name)
            } else {
                let n = super::lower::count(have.params.len(), "parameter");
                format!("a rule for `{}` takes {wanted} parameters, `{}` has {n}", def.name, have.name)
            };
            let list = names.join(", ");
            self.error(
                Diagnostic::error(code::E0505, text, have.name_span, "this rule")
                    .label(def.name_span, "of this function")
                    .help(format!("all parameters ({list}), then the result, then its cotangent")),
            );
            return;
        }
        self.enter_fn(target);
        let mut params: Vec<Param> = Vec::new();
        for (p, local) in def.params.iter().zip(self.body.params.clone()) {
            params.push(Param { local, default: None, ..p.clone() });
        }
        for (name, p) in ["y", "dy"].iter().zip(&have.params[def.params.len()..]) {
            let local = self.new_local(name, def.result.clone(), false, p.span);
            let name = (*name).into();
            params.push(Param { local, name, ty: def.result.clone(), mutable: false, default: None, span: p.span });
        }
        let mut cotangents: Vec<Ty> = Vec::new();
        for p in &def.params {
            let mut floats = Vec::new();
            self.float_elems(&p.ty, &mut floats);
            if !floats.is_empty() || super::derive::has_param(&p.ty) {
                cotangents.push(p.ty.clone());
            }
        }
        let result = match cotangents.len() {
            1 => cotangents.remove(0),
            0 => {
                let text = format!("`{}` has no float parameter, so it has no derivative", def.name);
                let d = Diagnostic::error(code::E0505, text, span, "no rule for this");
                self.error(d.label(def.name_span, "this function"));
                return;
            }
            _ => Ty::tuple(cotangents),
        };
        let what = "a rule gives a cotangent for each parameter that has floats, of its type";
        let value = self.statement(|cx| {
            let args = params
                .iter()
                .zip(&have.params)
                .map(|(p, q)| {
                    let e: Expr = mk(ExprKind::Local(p.local), p.ty.clone(), q.span);
                    CallArg { label: None, value: ArgValue::Ready(Box::new(e)) }
                })
                .collect();
            let call = cx.call_fn(rule, None, None, args, Some(&result), have.name_span, have.name_span);
            cx.coerce(call, &result, what)
        });
        let calls = std::mem::take(&mut self.body.calls);
        let body = self.finish(value);
        if self.errors.len() > errors {
            return;
        }
        let name = format!("{}.vjp", def.name).into();
        let id = self.new_fn(def.module, name, None, None, have.name_span, span);
        self.call_graph[id.index()] = calls;
        self.sigs[id.index()].self_args = self.sigs[target.index()].self_args.clone();
        let hidden = &mut self.program.fns[id.index()];
        hidden.generics = def.generics;
        hidden.self_generics = def.self_generics;
        hidden.self_struct = def.self_struct;
        hidden.params = params;
        hidden.result = result;
        hidden.body = body;
        self.program.fns[target.index()].vjp = Some(id);
    }
}
