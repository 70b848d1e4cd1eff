//! Derivative rules of one's own (`@vjp`) as functions of the IR.

use std::rc::Rc;

use tdl_ir::{Attrs, Type, ValueId};
use tdl_types::thir::{FnDef, FnId};

use crate::elab::Elab;
use crate::env::Env;
use crate::rty::RArg;
use crate::val::Val;
use crate::{R, internal};

impl<'p> Elab<'p> {
    /// The derivative rule of an instance: the function's parameters, its results and the cotangents of its float results,
    /// to the cotangents of its float parameters.
    pub fn rule(&mut self, name: &str, def: &'p FnDef, rule: FnId, generics: &[RArg<'p>]) -> R<tdl_ir::FuncId> {
        let hidden = &self.program.fns[rule.index()];
        self.function(&format!("{name}.vjp"), hidden.span, Attrs::default(), |this| {
            let mut env = Env::empty(this.no_body);
            let mut all = Vec::with_capacity(generics.len());
            for (g, a) in def.generics.iter().zip(generics) {
                let size_name = Rc::clone(&this.program.generics[g.index()].name);
                let a = this.abstracted(a, &size_name);
                env.generics.insert(*g, a.clone());
                all.push(a);
            }
            let mut args = Vec::with_capacity(hidden.params.len());
            // sizes that are parameters' values are those of the function's own body
            let mut locals = Env::empty(def.body.as_ref().unwrap_or(this.no_body));
            locals.generics = env.generics;
            for p in &def.params {
                let ty = this.ty(&locals, &p.ty)?;
                let v = this.named_params(&p.name, &ty)?;
                locals.set(p.local, v.clone());
                args.push(v);
            }
            let ty = this.ty(&locals, &def.result)?;
            let y = this.named_params("y", &ty)?;
            let dy = y.map(&mut |v| {
                let ty = this.b.ty(v).clone();
                Ok(if ty.is_float_tensor() { this.b.param(ty) } else { v })
            })?;
            let wanted: Vec<Type> =
                args.iter().flat_map(Val::leaves).map(|v| this.b.ty(v).clone()).filter(Type::is_float_tensor).collect();
            args.extend([y, dy]);
            let (result, _) = this.invoke(rule, all, args)?;
            let floats: Vec<ValueId> =
                result.leaves().into_iter().filter(|v| this.b.ty(*v).is_float_tensor()).collect();
            if floats.len() != wanted.len() {
                return Err(internal("a rule gives another number of cotangents than there are parameters"));
            }
            Ok(floats.into_iter().zip(&wanted).map(|(v, t)| this.b.reshape(v, t.dims())).collect())
        })
    }
}
