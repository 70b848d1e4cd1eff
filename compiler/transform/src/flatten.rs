//! Inlines calls and replaces derivative ops, innermost first.
//!
//! before: %y, %g = vjp @loss wrt [0] %w %x %one     after: the forward pass of `loss`, then its transposed linear part
//!
//! To differentiate a function, its calls must be gone, but those to functions with a rule of their own (`@vjp`, `@remat`)
//! stay until reverse mode has seen them. What reverse mode emits may call again (rules, recomputation), so a function is
//! walked until nothing is left.
//!
//! A call and the `vjp`s of the same function at the same arguments (what `vjp(f, x)` and its pullback become) share one
//! forward pass.

use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{Block, Builder, FuncId, Function, Inst, Module, Op, Scalar, ValueId};
use tdl_source::{Diagnostic, FileId, InternalError, Span, code};

use crate::clone::{self, Map};
use crate::grad::{self, Linear};
use crate::{Error, batch, cse, dce, hoist, simplify, vectorize};

/// A copy of the function without calls and without derivative ops. With `masks`, lanes may compute what is then thrown away.
pub fn flatten(module: &Module, id: FuncId, masks: bool) -> Result<Function, Error> {
    let mut cx = Flattener::new(module, masks);
    let f = cx.function(id, Purpose::RUN)?;
    drop(cx);
    Ok(Rc::try_unwrap(f).unwrap_or_else(|f| (*f).clone()))
}

/// Makes the functions that ask for derivatives flat, one by one, for the errors alone.
pub fn check(module: &Module) -> Result<(), Error> {
    let mut cx = Flattener::new(module, true);
    let mut errors: Vec<Diagnostic> = Vec::new();
    for id in module.ids() {
        let mut asks = false;
        let inside = |i: &Inst| matches!(i.op, Op::Vjp { .. } | Op::Jvp { .. } | Op::Vmap { .. });
        module.func(id).body.visit_insts(&mut |i| asks |= inside(i));
        if !asks {
            continue;
        }
        match cx.function(id, Purpose::RUN) {
            Err(Error::Program(found)) => {
                for d in found {
                    if !errors.contains(&d) {
                        errors.push(d);
                    }
                }
            }
            Err(internal) => return Err(internal),
            Ok(_) => {}
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Error::Program(errors)) }
}

/// What a flat function is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Purpose {
    mode: Mode,
    /// It is mapped, and derivatives are taken afterwards.
    mapped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mode {
    Run,
    /// Calls to functions that have a rule of their own stay.
    Forward,
    /// And calls to functions that are computed again.
    Reverse,
}

impl Purpose {
    const RUN: Purpose = Purpose { mode: Mode::Run, mapped: false };
    const FORWARD: Purpose = Purpose { mode: Mode::Forward, mapped: false };
    const REVERSE: Purpose = Purpose { mode: Mode::Reverse, mapped: false };
}

struct Flattener<'a> {
    module: &'a Module,
    masks: bool,
    /// Functions on lanes, numbered after those of the module.
    on_lanes: OnLanes,
    done: FxHashMap<(FuncId, Purpose), Rc<Function>>,
    /// What is wrong with the others: found out once, however many calls there are.
    failed: FxHashMap<(FuncId, Purpose), Vec<Diagnostic>>,
    /// What is being made flat, outermost first.
    open: Vec<(FuncId, Purpose)>,
    errors: Vec<Diagnostic>,
    internal: Option<InternalError>,
}

/// Functions that are mapped before they are differentiated.
#[derive(Default)]
struct OnLanes {
    /// By the function that they map, and the parameters that have lanes.
    ids: FxHashMap<(FuncId, Vec<usize>), FuncId>,
    funcs: Vec<Rc<Function>>,
}

/// One walk over one function.
struct Walk<'a> {
    from: &'a Function,
    purpose: Purpose,
    /// What is differentiated in this function: function, arguments, and for which results.
    pulled: FxHashMap<(FuncId, Vec<ValueId>), Pulled>,
    /// Forward passes that can be seen from here.
    linear: Vec<(FuncId, Vec<ValueId>, Rc<Linear>)>,
}

#[derive(Default)]
struct Pulled {
    wrt: FxHashSet<usize>,
    wanted: FxHashSet<usize>,
}

impl OnLanes {
    /// A function on lanes, and the number of its parameters without.
    fn get(&mut self, module: &Module, func: FuncId, mapped: &[usize]) -> (FuncId, usize) {
        let first = module.funcs.len();
        let from = match (func.0 as usize).checked_sub(first) {
            Some(k) => &self.funcs[k],
            None => module.func(func),
        };
        let params = from.params().len();
        let mapped: Vec<usize> = mapped.iter().copied().filter(|k| *k < params).collect();
        if let Some(id) = self.ids.get(&(func, mapped.clone())) {
            return (*id, params);
        }
        let made = batch::on_lanes(from, func, &mapped);
        let id = FuncId((first + self.funcs.len()) as u32);
        self.funcs.push(Rc::new(made));
        self.ids.insert((func, mapped), id);
        (id, params)
    }
}

impl<'a> Flattener<'a> {
    fn new(module: &'a Module, masks: bool) -> Flattener<'a> {
        Flattener {
            module,
            masks,
            on_lanes: OnLanes::default(),
            done: FxHashMap::default(),
            failed: FxHashMap::default(),
            open: Vec::new(),
            errors: Vec::new(),
            internal: None,
        }
    }
}

impl Flattener<'_> {
    fn function(&mut self, id: FuncId, purpose: Purpose) -> Result<Rc<Function>, Error> {
        if let Some(f) = self.done.get(&(id, purpose)) {
            return Ok(Rc::clone(f));
        }
        if let Some(d) = self.failed.get(&(id, purpose)) {
            return Err(Error::Program(d.clone()));
        }
        if self.open.contains(&(id, purpose)) {
            return Err(self.endless(id));
        }
        self.open.push((id, purpose));
        let walked = self.walk_to_end(id, purpose);
        self.open.pop();
        if let Err(Error::Program(d)) = &walked {
            self.failed.insert((id, purpose), d.clone());
        }
        let mut f = walked?;
        if !purpose.mapped {
            vectorize::function(&mut f, self.masks);
        }
        if purpose.mode != Mode::Run && !purpose.mapped {
            simplify::function(&mut f);
            cse::function(&mut f);
            hoist::function(&mut f);
            dce::function(&mut f);
        }
        let f = Rc::new(f);
        self.done.insert((id, purpose), Rc::clone(&f));
        Ok(f)
    }

    /// A function that is called at `call`. What fails in one of the standard library is shown at the program's call of it.
    fn called(&mut self, id: FuncId, purpose: Purpose, call: Span) -> Result<Rc<Function>, Error> {
        let f = self.function(id, purpose)?;
        let Module { library, calls, first_call, .. } = self.module;
        let via = match calls.binary_search(&call) {
            Ok(k) => first_call + k as u32,
            // of the library, in a call that was elaborated in place
            Err(_) => call.via,
        };
        if via == 0 || !library.contains(&f.span.file) {
            return Ok(f);
        }
        let mut f = Function::clone(&f);
        seen_from(&mut f.body, library, via);
        Ok(Rc::new(f))
    }

    fn func(&self, id: FuncId) -> &Function {
        match (id.0 as usize).checked_sub(self.module.funcs.len()) {
            Some(k) => &self.on_lanes.funcs[k],
            None => self.module.func(id),
        }
    }

    fn walk_to_end(&mut self, id: FuncId, purpose: Purpose) -> Result<Function, Error> {
        let mut f = match (id.0 as usize).checked_sub(self.module.funcs.len()) {
            Some(k) => {
                let f = Rc::clone(&self.on_lanes.funcs[k]);
                self.walk(&f, purpose)?
            }
            None => self.walk(self.module.func(id), purpose)?,
        };
        while self.unfinished(&f, purpose) {
            f = self.walk(&f, purpose)?;
        }
        Ok(f)
    }

    /// A function that is mapped. Its derivatives are taken afterwards where that keeps lanes together.
    fn mapped(
        &mut self,
        func: FuncId,
        purpose: Purpose,
        (mapped, uniform): (&[usize], usize),
        call: Span,
    ) -> Result<Rc<Function>, Error> {
        let f = self.called(func, purpose, call)?;
        if !self.masks || !batch::goes_by_lane(&f, mapped, true) {
            return Ok(f);
        }
        let later = self.called(func, Purpose { mapped: true, ..purpose }, call)?;
        let even = batch::is_even(&later, (mapped, uniform), |func, mapped| {
            let params = self.func(func).params().len();
            let mapped: Vec<usize> = mapped.iter().copied().filter(|k| *k < params).collect();
            self.function(func, Purpose::REVERSE).is_ok_and(|f| batch::is_function(&f, &mapped))
        });
        Ok(if even { later } else { f })
    }

    /// A derivative rule that needs itself: it differentiates the function that it is the rule of.
    fn endless(&self, id: FuncId) -> Error {
        let f = self.func(id);
        let ruled = self.module.funcs.iter().find(|g| g.attrs.custom_vjp == Some(id));
        let name = f.name.trim_end_matches(".vjp");
        let mut d = Diagnostic::error(
            code::E0307,
            format!("the derivative rule of `{name}` needs the derivative of `{name}`"),
            f.span,
            "this rule",
        );
        if let Some(g) = ruled {
            d = d.label(g.span, "of this function");
        }
        Error::Program(vec![d.help("write the derivative as a formula of the parameters and the result")])
    }

    fn walk(&mut self, from: &Function, purpose: Purpose) -> Result<Function, Error> {
        let pulled = if purpose.mapped { FxHashMap::default() } else { self.pulled(from) };
        let mut w = Walk { from, purpose, pulled, linear: Vec::new() };
        let out = clone::function(from, &mut |b, i, map| self.inst(b, &mut w, i, map));
        if let Some(e) = self.internal.take() {
            return Err(Error::Internal(e));
        }
        if self.errors.is_empty() {
            fits(out.values.len(), from.span, "this function")?;
            Ok(out)
        } else {
            Err(Error::Program(std::mem::take(&mut self.errors)))
        }
    }

    /// Does the call stay?
    fn stays(&self, func: FuncId, purpose: Purpose) -> bool {
        let attrs = &self.func(func).attrs;
        match purpose.mode {
            Mode::Run => false,
            Mode::Forward => attrs.custom_vjp.is_some(),
            Mode::Reverse => attrs.custom_vjp.is_some() || attrs.remat && !self.prints(func),
        }
    }

    /// Does a mapped call stay? (What is recomputed is mapped as it is.)
    fn keeps_rule(&self, func: FuncId, purpose: Purpose) -> bool {
        purpose.mode != Mode::Run && self.func(func).attrs.custom_vjp.is_some()
    }

    /// Does something that must not happen twice. (What is computed again may assert again.)
    fn prints(&self, func: FuncId) -> bool {
        let mut found = false;
        self.func(func).body.visit_insts(&mut |i| {
            found |= match &i.op {
                Op::Print { .. } | Op::Io(_) => true,
                Op::Host(f) => f.def().effect,
                Op::Call { func } | Op::Vjp { func, .. } | Op::Jvp { func, .. } | Op::Vmap { func, .. } => {
                    self.prints(*func)
                }
                _ => false,
            };
        });
        found
    }

    fn unfinished(&self, f: &Function, purpose: Purpose) -> bool {
        let mut found = false;
        f.body.visit_insts(&mut |i| match &i.op {
            Op::Call { func } => found |= !self.stays(*func, purpose),
            Op::Vmap { func, .. } => found |= !self.keeps_rule(*func, purpose),
            Op::Vjp { .. } => found |= !purpose.mapped,
            Op::Jvp { .. } => found = true,
            _ => {}
        });
        found
    }

    /// The `vjp`s of a function by what they differentiate where.
    fn pulled(&self, from: &Function) -> FxHashMap<(FuncId, Vec<ValueId>), Pulled> {
        let mut out: FxHashMap<(FuncId, Vec<ValueId>), Pulled> = FxHashMap::default();
        let mut zeros: FxHashSet<ValueId> = FxHashSet::default();
        from.body.visit_insts(&mut |i| match &i.op {
            Op::Const(Scalar::Float(0)) => _ = zeros.insert(i.results[0]),
            Op::Expand { .. } if zeros.contains(&i.args[0]) => _ = zeros.insert(i.results[0]),
            Op::Vjp { func, wrt } => {
                let f = self.func(*func);
                let (args, cts) = i.args.split_at(f.params().len());
                let pulled = out.entry((*func, args.to_vec())).or_default();
                pulled.wrt.extend(wrt);
                let floats = (0..f.results().len()).filter(|k| f.ty(f.results()[*k]).is_float_tensor());
                pulled.wanted.extend(floats.zip(cts).filter(|(_, ct)| !zeros.contains(ct)).map(|(k, _)| k));
            }
            _ => {}
        });
        out
    }

    fn inst(&mut self, b: &mut Builder, w: &mut Walk<'_>, i: &Inst, map: &mut Map) {
        b.span = i.span;
        match &i.op {
            Op::Call { func } if self.stays(*func, w.purpose) => clone::inst(b, w.from, i, map),
            Op::Call { func } => {
                let args = map.all(&i.args);
                let results = match self.forward_pass(b, w, *func, &i.args, &args, i) {
                    Some(Ok(linear)) => Ok(linear.results.clone()),
                    Some(Err(e)) => Err(e),
                    None => self.called(*func, w.purpose, i.span).and_then(|f| {
                        fits(size(b) + f.values.len(), i.span, "with this call")?;
                        Ok(inline(b, &f, &args))
                    }),
                };
                self.finish(results, b, w, i, map);
            }
            Op::Vjp { .. } if w.purpose.mapped => clone::inst(b, w.from, i, map),
            Op::Vjp { func, wrt } => {
                let results = self.vjp(b, w, *func, wrt, i, map);
                self.finish(results, b, w, i, map);
            }
            Op::Vmap { func, .. } if self.keeps_rule(*func, w.purpose) => clone::inst(b, w.from, i, map),
            Op::Vmap { func, mapped, uniform } => {
                let args = map.all(&i.args);
                let results = self.mapped(*func, w.purpose, (mapped, *uniform), i.span).and_then(|f| {
                    let Flattener { module, masks, on_lanes, .. } = self;
                    let mut on_lanes = |func, mapped: &[usize]| on_lanes.get(module, func, mapped);
                    let how = (*masks, &mut on_lanes as batch::OnLanes<'_>);
                    batch::batch(b, &f, args[0], (mapped, *uniform), &args[1..], how, i.span)
                });
                self.finish(results, b, w, i, map);
            }
            Op::Jvp { func, wrt } => {
                let args = map.all(&i.args);
                let results = self
                    .called(*func, Purpose::FORWARD, i.span)
                    .and_then(|f| grad::jvp(b, self.module, &f, wrt, &args, i.span));
                self.finish(results, b, w, i, map);
            }
            _ => {
                let mut regions = Vec::new();
                for r in &i.regions {
                    let visible = w.linear.len();
                    let from = w.from;
                    let region = clone::region_with(b, from, r, map, &mut |b, i, map| self.inst(b, w, i, map));
                    regions.push(region);
                    w.linear.truncate(visible);
                }
                clone::inst_with(b, w.from, i, regions, map);
            }
        }
    }

    /// The forward pass that pullbacks of this call share; `None` if there are none.
    fn forward_pass(
        &mut self,
        b: &mut Builder,
        w: &mut Walk<'_>,
        func: FuncId,
        old_args: &[ValueId],
        args: &[ValueId],
        i: &Inst,
    ) -> Option<Result<Rc<Linear>, Error>> {
        let pulled = w.pulled.get(&(func, old_args.to_vec()))?;
        if let Some((_, _, linear)) = w.linear.iter().rev().find(|(f, a, _)| *f == func && a == args) {
            return Some(Ok(Rc::clone(linear)));
        }
        let sorted = |set: &FxHashSet<usize>| {
            let mut all: Vec<usize> = set.iter().copied().collect();
            all.sort_unstable();
            all
        };
        let (wrt, wanted) = (sorted(&pulled.wrt), sorted(&pulled.wanted));
        let linear = self
            .called(func, Purpose::REVERSE, i.span)
            .and_then(|f| grad::linearize(b, self.module, &f, &wrt, &wanted, args, i.span));
        Some(linear.map(|linear| {
            let linear = Rc::new(linear);
            w.linear.push((func, args.to_vec(), Rc::clone(&linear)));
            linear
        }))
    }

    fn vjp(
        &mut self,
        b: &mut Builder,
        w: &mut Walk<'_>,
        func: FuncId,
        wrt: &[usize],
        i: &Inst,
        map: &Map,
    ) -> Result<Vec<ValueId>, Error> {
        let (old_args, _) = i.args.split_at(self.func(func).params().len());
        let all = map.all(&i.args);
        let (args, cts) = all.split_at(old_args.len());
        let linear = match self.forward_pass(b, w, func, old_args, args, i) {
            Some(linear) => linear?,
            None => unreachable!("every vjp has been counted"),
        };
        b.span = i.span;
        let back = grad::pull(b, &linear, cts);
        let mut results = linear.results.clone();
        let wanted = linear.wrt().iter().zip(back).filter(|(p, _)| wrt.contains(p));
        results.extend(wanted.map(|(_, v)| v));
        Ok(results)
    }

    /// Remembers an error and keeps the copy well formed.
    fn finish(&mut self, results: Result<Vec<ValueId>, Error>, b: &mut Builder, w: &Walk<'_>, i: &Inst, map: &mut Map) {
        match results {
            Ok(results) => {
                for (old, new) in i.results.iter().zip(results) {
                    map.set(*old, new);
                }
                return;
            }
            Err(Error::Program(d)) => {
                for d in d {
                    if !self.errors.contains(&d) {
                        self.errors.push(d);
                    }
                }
            }
            Err(Error::Internal(e)) => self.internal = Some(e),
        }
        clone::inst(b, w.from, i, map);
    }
}

/// Values of a function, at most: LLVM takes about a minute for these.
const MAX_VALUES: usize = 300_000;

fn size(b: &Builder) -> usize {
    b.next_value(0).0 as usize
}

fn fits(values: usize, span: Span, label: &str) -> Result<(), Error> {
    if values <= MAX_VALUES {
        return Ok(());
    }
    let message = format!("the program is too large: more than {MAX_VALUES} operations, all calls written out");
    let d = Diagnostic::error(code::E0603, message, span, label);
    Err(Error::Program(vec![d.help("call what is repeated in a loop")]))
}

/// Says of instructions of the library which call led there.
fn seen_from(block: &mut Block, library: &[FileId], via: u32) {
    for i in &mut block.insts {
        if i.span.via == 0 && library.contains(&i.span.file) {
            i.span.via = via;
        }
        i.regions.iter_mut().for_each(|r| seen_from(r, library, via));
    }
}

/// Copies a callee's body into the open block; its parameters stand for `args`.
fn inline(b: &mut Builder, callee: &Function, args: &[ValueId]) -> Vec<ValueId> {
    let mut map = Map::default();
    for (p, a) in callee.params().iter().zip(args) {
        map.set(*p, *a);
    }
    for i in &callee.body.insts {
        clone::inst(b, callee, i, &mut map);
    }
    map.all(callee.results())
}
