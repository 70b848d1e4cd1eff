//! Checks the invariants of `module.rs` and what each op asks of its operands.
//!
//! Extents: two different constants where one extent is meant are an error; a symbolic extent agrees with anything.

mod axes;
mod control;
mod ops;

use tdl_source::InternalError;

use crate::{Block, Dim, Dtype, FuncId, Function, Inst, Module, Op, Type, ValueId};

/// Checks a module. The error's `pass` is "verify"; who runs passes puts the guilty one there.
pub fn verify(module: &Module) -> Result<(), InternalError> {
    check(module).map_err(|message| InternalError { pass: "verify".into(), message, ir: Some(crate::print(module)) })
}

fn check(module: &Module) -> Result<(), String> {
    let mut names = std::collections::HashSet::new();
    for func in &module.funcs {
        if !names.insert(func.name.as_str()) {
            return Err(format!("two functions are called `{}`", func.name));
        }
    }
    if let Some(entry) = module.entry
        && entry.0 as usize >= module.funcs.len()
    {
        return Err(format!("the entry {} does not exist", entry.0));
    }
    // The signatures are looked at from calls, before the bodies.
    for func in &module.funcs {
        let known = |v: &ValueId| (v.0 as usize) < func.values.len();
        if !func.params().iter().chain(func.results()).all(known) {
            return Err(format!("a parameter or result of `{}` is not in its value table", func.name));
        }
    }
    for func in &module.funcs {
        let mut scope = Scope::new(module, func);
        scope.function().map_err(|e| format!("in `{}`: {e}", func.name))?;
    }
    no_recursion(module)
}

/// What is visible at one place of a function.
struct Scope<'m> {
    module: &'m Module,
    func: &'m Function,
    /// Defined anywhere before: a second definition is an error.
    seen: Vec<bool>,
    /// Visible here.
    visible: Vec<bool>,
    /// Extents of parameters that the function computes.
    computed: Vec<ValueId>,
}

impl<'m> Scope<'m> {
    fn new(module: &'m Module, func: &'m Function) -> Scope<'m> {
        let n = func.values.len();
        Scope { module, func, seen: vec![false; n], visible: vec![false; n], computed: Vec::new() }
    }

    fn ty(&self, v: ValueId) -> &'m Type {
        self.func.ty(v)
    }

    fn function(&mut self) -> Result<(), String> {
        if let Some(rule) = self.func.attrs.custom_vjp
            && rule.0 as usize >= self.module.funcs.len()
        {
            return Err("its derivative rule does not exist".into());
        }
        // what a function's own block computes may be an extent of its parameters: its callers give what fits
        let own: Vec<ValueId> = self.func.body.insts.iter().flat_map(|i| i.results.iter().copied()).collect();
        for v in self.func.params().iter().flat_map(|p| self.func.ty(*p).dims()) {
            if let Dim::Val(v) = v
                && own.contains(v)
            {
                self.computed.push(*v);
            }
        }
        self.block(&self.func.body)
    }

    /// Makes a value visible: once, and with a type that mentions visible scalars alone.
    fn define(&mut self, v: ValueId) -> Result<(), String> {
        let at = v.0 as usize;
        match self.seen.get(at) {
            None => return Err(format!("value {at} is not in the value table")),
            Some(true) => return Err(format!("{} is defined twice", self.name(v))),
            Some(false) => {}
        }
        for dim in self.ty(v).dims() {
            match dim {
                Dim::Const(c) if *c < 0 => {
                    return Err(format!("{} has the negative extent {c}", self.name(v)));
                }
                Dim::Const(_) => {}
                Dim::Val(d) => {
                    if !self.computed.contains(d) {
                        self.used(*d).map_err(|e| format!("{e}, as an extent of {}", self.name(v)))?;
                    }
                    if *self.ty(*d) != Type::scalar(Dtype::I64) {
                        return Err(format!("the extent {} of {} is no i64 scalar", self.name(*d), self.name(v)));
                    }
                }
            }
        }
        self.seen[at] = true;
        self.visible[at] = true;
        Ok(())
    }

    fn used(&self, v: ValueId) -> Result<(), String> {
        match self.visible.get(v.0 as usize) {
            Some(true) => Ok(()),
            Some(false) => Err(format!("{} is used where it is not defined", self.name(v))),
            None => Err(format!("value {} is not in the value table", v.0)),
        }
    }

    /// Checks a block and hides what it defined, except for the values of `self.func.body`, whose results are checked here.
    fn block(&mut self, block: &'m Block) -> Result<(), String> {
        for p in &block.params {
            self.define(*p)?;
        }
        for inst in &block.insts {
            self.inst(inst).map_err(|e| self.describe(inst, &e))?;
        }
        for r in &block.results {
            self.used(*r)?;
        }
        for v in block.params.iter().chain(block.insts.iter().flat_map(|i| &i.results)) {
            self.visible[v.0 as usize] = false;
        }
        Ok(())
    }

    fn describe(&self, inst: &Inst, error: &str) -> String {
        match inst.results.first() {
            Some(r) if (r.0 as usize) < self.func.values.len() => {
                format!("{} = {}: {error}", self.name(*r), inst.op.name())
            }
            Some(_) | None => format!("{}: {error}", inst.op.name()),
        }
    }

    fn inst(&mut self, inst: &'m Inst) -> Result<(), String> {
        for a in &inst.args {
            self.used(*a)?;
        }
        for region in &inst.regions {
            self.block(region)?;
        }
        for r in &inst.results {
            self.define(*r)?;
        }
        self.op(inst)
    }

    fn name(&self, v: ValueId) -> String {
        match self.func.values.get(v.0 as usize).and_then(|d| d.name.as_deref()) {
            Some(name) => format!("%{name} (value {})", v.0),
            None => format!("value {}", v.0),
        }
    }
}

/// Depth-first search for a cycle of calls.
fn no_recursion(module: &Module) -> Result<(), String> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    fn callees(func: &Function) -> Vec<FuncId> {
        let mut out = Vec::new();
        func.body.visit_insts(&mut |inst| {
            if let Op::Call { func } | Op::Vjp { func, .. } | Op::Jvp { func, .. } | Op::Vmap { func, .. } = &inst.op {
                out.push(*func);
            }
        });
        out
    }
    let mut marks = vec![Mark::New; module.funcs.len()];
    for root in module.ids() {
        if marks[root.0 as usize] != Mark::New {
            continue;
        }
        let mut stack = vec![(root, callees(module.func(root)))];
        marks[root.0 as usize] = Mark::Open;
        while let Some((f, rest)) = stack.last_mut() {
            let Some(next) = rest.pop() else {
                marks[f.0 as usize] = Mark::Done;
                stack.pop();
                continue;
            };
            match marks[next.0 as usize] {
                Mark::Done => {}
                Mark::Open => {
                    return Err(format!("`{}` calls itself", module.func(next).name));
                }
                Mark::New => {
                    marks[next.0 as usize] = Mark::Open;
                    stack.push((next, callees(module.func(next))));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
