//! One IR function for each function of the program and each choice of its dtypes, types and functions; sizes stay parameters.

use tdl_ir::{Attrs, Dim, Dtype, Type};
use tdl_types::thir::FnId;

use crate::elab::Elab;
use crate::env::Env;
use crate::rty::{RArg, RDim, RTy};
use crate::val::Val;
use crate::{R, internal, remap};

impl<'p> Elab<'p> {
    /// The IR function for a function with these dtypes, ranks and type arguments; sizes are its first parameters.
    pub fn instance(&mut self, id: FnId, generics: &[RArg<'p>]) -> R<tdl_ir::FuncId> {
        let key = format!("{}<{}>", id.0, generics.iter().map(remap::key).collect::<Vec<_>>().join(";"));
        if let Some(func) = self.instances.get(&key) {
            return Ok(*func);
        }
        let func = self.build_instance(id, generics, Self::named_params)?;
        self.instances.insert(key, func);
        let def = &self.program.fns[id.index()];
        if let Some(rule) = def.vjp {
            let name = self.module.func(func).name.clone();
            let rule = self.rule(&name, def, rule, generics)?;
            self.module.func_mut(func).attrs.custom_vjp = Some(rule);
        }
        Ok(func)
    }

    /// An instance that is called from outside with whatever fits: all extents of its parameters are parameters.
    pub fn standing(&mut self, id: FnId, generics: &[RArg<'p>]) -> R<tdl_ir::FuncId> {
        let func = self.instance(id, generics)?;
        let f = self.module.func(func);
        let given = |d: &Dim| match d {
            Dim::Const(_) => true,
            Dim::Val(v) => f.params().contains(v),
        };
        if f.params().iter().all(|p| f.ty(*p).dims().iter().all(given)) {
            return Ok(func);
        }
        let standing = self.build_instance(id, generics, Self::standing_params)?;
        // who asks for the function means this one
        let name = std::mem::take(&mut self.module.func_mut(standing).name);
        let name = std::mem::replace(&mut self.module.func_mut(func).name, name);
        self.module.func_mut(standing).name = name;
        Ok(standing)
    }

    fn build_instance(
        &mut self,
        id: FnId,
        generics: &[RArg<'p>],
        params: impl Fn(&mut Self, &str, &RTy<'p>) -> R<Val<'p>>,
    ) -> R<tdl_ir::FuncId> {
        let program = self.program;
        let def = &program.fns[id.index()];
        let Some(body) = &def.body else { return Err(internal(format!("`{}` has no body", def.name))) };
        let module = &program.modules[def.module.index()].name;
        let name = match &**module {
            "" | "prelude" => def.name.to_string(),
            m => format!("{m}.{}", def.name),
        };
        let composite = crate::STDLIB.contains(&&**module).then(|| name.as_str().into());
        let attrs = Attrs { composite, remat: def.remat, custom_vjp: None, effects: false };
        // its own derivatives are asked for in it
        let passed_at = self.passed_at.take();
        let func = self.function(&name, def.span, attrs, |this| {
            let mut env = Env::empty(body);
            for (g, a) in def.generics.iter().zip(generics) {
                let size_name = &program.generics[g.index()].name;
                let a = this.abstracted(a, size_name);
                env.generics.insert(*g, a);
            }
            for i in crate::parameter_order(def) {
                let p = &def.params[i];
                this.b.span = p.span;
                let ty = this.ty(&env, &p.ty)?;
                let v = params(this, &p.name, &ty)?;
                env.set(p.local, v);
            }
            this.b.span = body.value.span;
            let ty = this.ty(&env, &def.result)?;
            let result = this.body(&mut env, &body.value, &ty)?;
            let result = if matches!(result, Val::Never) { this.placeholder(&ty)? } else { result };
            let mut results = result.leaves();
            for (_, v) in this.muts(&env, id)? {
                results.extend(v.leaves());
            }
            Ok(results)
        });
        self.passed_at = passed_at;
        func
    }

    /// A generic argument in the callee: every size that is a value becomes a parameter.
    pub fn abstracted(&mut self, a: &RArg<'p>, name: &str) -> RArg<'p> {
        let fresh = |this: &mut Self, name: &str| {
            let v = this.b.param(Type::scalar(Dtype::I64));
            this.b.name_value(v, name);
            v
        };
        match a {
            RArg::Size(_) => RArg::Size(RDim::Known(Dim::Val(fresh(self, name)))),
            RArg::Shape(dims) => RArg::Shape(dims.iter().map(|_| RDim::Known(Dim::Val(fresh(self, name)))).collect()),
            RArg::Dtype(_) | RArg::Ty(_) | RArg::Fn(_) => remap::rarg(a, &mut |_| fresh(self, name)),
        }
    }
}
