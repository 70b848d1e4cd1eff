//! Inlines calls and replaces derivative ops, innermost first.
//!
//! before: %y, %g = vjp @loss wrt [0] %w %x %one     after: the forward pass of `loss`, then its transposed linear part
//!
//! Both are one walk: to differentiate a function, its calls must be gone; what `grad` emits may call again (custom
//! rules, recomputation), so a function is walked until nothing is left. Calls to functions with a rule of their own
//! (`@vjp`, `@remat`) stay until they have been differentiated.

use rustc_hash::FxHashMap;
use tdl_ir::{Builder, FuncId, Function, Inst, Module, Op};
use tdl_source::Diagnostic;

use crate::clone::{self, Map};
use crate::grad;
use crate::{Error, cse, dce, simplify};

/// A copy of the function without calls and without derivative ops.
pub fn flatten(module: &Module, id: FuncId) -> Result<Function, Error> {
    let mut cx = Flattener { module, done: FxHashMap::default(), errors: Vec::new() };
    let mut f = cx.function(id, false)?;
    while has_calls(&f) {
        f = cx.walk(&f, false)?;
    }
    Ok(f)
}

struct Flattener<'a> {
    module: &'a Module,
    done: FxHashMap<(FuncId, bool), Function>,
    errors: Vec<Diagnostic>,
}

impl Flattener<'_> {
    /// `keep`: leave calls to functions that have a rule of their own, since the result will be differentiated.
    fn function(&mut self, id: FuncId, keep: bool) -> Result<Function, Error> {
        if let Some(f) = self.done.get(&(id, keep)) {
            return Ok(f.clone());
        }
        let mut f = self.walk(self.module.func(id), keep)?;
        while has_derivatives(&f) {
            f = self.walk(&f, keep)?;
        }
        if keep {
            simplify::function(&mut f);
            cse::function(&mut f);
            dce::function(&mut f);
        }
        self.done.insert((id, keep), f.clone());
        Ok(f)
    }

    fn walk(&mut self, from: &Function, keep: bool) -> Result<Function, Error> {
        let out = clone::function(from, &mut |b, i, map| self.inst(b, from, i, map, keep));
        if self.errors.is_empty() { Ok(out) } else { Err(Error::Program(std::mem::take(&mut self.errors))) }
    }

    fn inst(&mut self, b: &mut Builder, from: &Function, i: &Inst, map: &mut Map, keep: bool) {
        match &i.op {
            Op::Call { func } => {
                let attrs = &self.module.func(*func).attrs;
                if keep && (attrs.custom_vjp.is_some() || attrs.remat) {
                    clone::inst(b, from, i, map);
                    return;
                }
                match self.function(*func, keep) {
                    Ok(callee) => {
                        let args = map.all(&i.args);
                        let results = inline(b, &callee, &args);
                        for (old, new) in i.results.iter().zip(results) {
                            map.set(*old, new);
                        }
                    }
                    Err(e) => self.fail(e, b, from, i, map),
                }
            }
            Op::Vjp { func, wrt } | Op::Jvp { func, wrt } => {
                let reverse = matches!(i.op, Op::Vjp { .. });
                let args = map.all(&i.args);
                b.span = i.span;
                let derived = self.function(*func, true).and_then(|f| {
                    let derive = if reverse { grad::vjp } else { grad::jvp };
                    derive(b, self.module, &f, wrt, &args, i.span)
                });
                match derived {
                    Ok(results) => {
                        for (old, new) in i.results.iter().zip(results) {
                            map.set(*old, new);
                        }
                    }
                    Err(e) => self.fail(e, b, from, i, map),
                }
            }
            _ => {
                let mut regions = Vec::new();
                for r in &i.regions {
                    regions.push(clone::region_with(b, from, r, map, &mut |b, i, map| {
                        self.inst(b, from, i, map, keep);
                    }));
                }
                clone::inst_with(b, from, i, regions, map);
            }
        }
    }

    /// Remembers the error and keeps the copy well formed.
    fn fail(&mut self, e: Error, b: &mut Builder, from: &Function, i: &Inst, map: &mut Map) {
        match e {
            Error::Program(d) => {
                for d in d {
                    if !self.errors.contains(&d) {
                        self.errors.push(d);
                    }
                }
            }
            Error::Internal(e) => self.errors.push(Diagnostic::error(
                tdl_source::code::E0390,
                e.to_string(),
                i.span,
                "while differentiating this",
            )),
        }
        clone::inst(b, from, i, map);
    }
}

/// Copies a callee's body into the open block; its parameters stand for `args`.
pub fn inline(b: &mut Builder, callee: &Function, args: &[tdl_ir::ValueId]) -> Vec<tdl_ir::ValueId> {
    let mut map = Map::default();
    for (p, a) in callee.params().iter().zip(args) {
        map.set(*p, *a);
    }
    for i in &callee.body.insts {
        clone::inst(b, callee, i, &mut map);
    }
    map.all(callee.results())
}

fn has_calls(f: &Function) -> bool {
    let mut found = false;
    f.body.visit_insts(&mut |i| found |= matches!(i.op, Op::Call { .. } | Op::Vjp { .. } | Op::Jvp { .. }));
    found
}

fn has_derivatives(f: &Function) -> bool {
    let mut found = false;
    f.body.visit_insts(&mut |i| found |= matches!(i.op, Op::Vjp { .. } | Op::Jvp { .. }));
    found
}
