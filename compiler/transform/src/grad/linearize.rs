//! Emits the primal computation and its linear part: recorded on a [`Tape`] for reverse mode, emitted at once beside the
//! primal for forward mode.

use rustc_hash::FxHashMap;
use tdl_ir::{Block, Builder, Function, Inst, Module, Op, Type, ValueId};
use tdl_source::{Diagnostic, Span, code};

use super::activity::{self, Values};
use super::forward;
use super::stacks::StackInfo;
use super::tape::{Kind, Lanes, Tan, Tape};
use crate::Error;
use crate::clone::{self, Map};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Forward,
    Reverse,
}

pub(super) struct Linearizer<'a> {
    pub b: &'a mut Builder,
    pub module: &'a Module,
    /// Flat: no calls but (in reverse mode) those with a rule of their own.
    pub from: &'a Function,
    pub mode: Mode,
    /// Values of `from` to primal values.
    pub map: Map,
    active: Values,
    scopes: Vec<Scope>,
    /// What is known of `from`'s stacks.
    pub stacks: FxHashMap<ValueId, StackInfo>,
    /// The first value of the outermost loop that is being linearised.
    pub floor: Option<u32>,
    grad_span: Span,
    errors: Vec<Diagnostic>,
}

/// A block's tape, and which of `from`'s values have which tangent in it.
#[derive(Default)]
pub(super) struct Scope {
    pub tape: Tape,
    tans: FxHashMap<ValueId, Tan>,
    /// Values of outer scopes that became inputs here, in the order of the inputs.
    pub captures: Vec<ValueId>,
    /// In forward mode, the tangents that have been emitted.
    values: Vec<Option<ValueId>>,
}

impl<'a> Linearizer<'a> {
    /// `wanted` are the results of `from` whose derivative is asked for.
    pub fn new(
        b: &'a mut Builder,
        module: &'a Module,
        from: &'a Function,
        mode: Mode,
        wrt: &[usize],
        wanted: &[ValueId],
        args: &[ValueId],
        grad_span: Span,
    ) -> Linearizer<'a> {
        let mut map = Map::default();
        for (p, a) in from.params().iter().zip(args) {
            map.set(*p, *a);
        }
        let mut scope = Scope::default();
        for p in wrt {
            let ty = b.ty(args[*p]).clone();
            let t = scope.tape.input(ty);
            scope.tans.insert(from.params()[*p], t);
        }
        let active = activity::active(from, wrt, wanted);
        let stacks = FxHashMap::default();
        Linearizer {
            b,
            module,
            from,
            mode,
            map,
            active,
            scopes: vec![scope],
            stacks,
            floor: None,
            grad_span,
            errors: Vec::new(),
        }
    }

    /// Emits everything; returns the primal results.
    pub fn run(&mut self) -> Result<Vec<ValueId>, Error> {
        let from = self.from;
        self.insts(&from.body);
        if !self.errors.is_empty() {
            return Err(Error::Program(std::mem::take(&mut self.errors)));
        }
        let outputs = from.results().iter().map(|r| self.tan(*r)).collect();
        self.top().tape.outputs = outputs;
        Ok(self.map.all(from.results()))
    }

    /// The finished tape.
    pub fn finish(mut self) -> Tape {
        let mut tape = self.scopes.pop().map(|s| s.tape).unwrap_or_default();
        tape.prune();
        tape
    }

    // --- tangents

    pub fn top(&mut self) -> &mut Scope {
        self.scopes.last_mut().expect("a scope is open")
    }

    pub fn open_scope(&mut self) {
        self.scopes.push(Scope::default());
    }

    pub fn close_scope(&mut self) -> Scope {
        let mut scope = self.scopes.pop().unwrap_or_default();
        scope.tape.prune();
        scope
    }

    pub fn is_active(&self, v: ValueId) -> bool {
        self.active.has(v)
    }

    /// The tangent of a value in the innermost scope; a value from outside becomes an input of the scopes in between.
    pub fn tan(&mut self, v: ValueId) -> Option<Tan> {
        if !self.is_active(v) {
            return None;
        }
        let depth = self.scopes.iter().rposition(|s| s.tans.contains_key(&v))?;
        let mut t = self.scopes[depth].tans[&v];
        for k in depth + 1..self.scopes.len() {
            let outer = &self.scopes[k - 1];
            let (ty, value) = (outer.tape.types[t.0].clone(), outer.values.get(t.0).copied().flatten());
            let scope = &mut self.scopes[k];
            t = scope.tape.input(ty);
            scope.tans.insert(v, t);
            scope.captures.push(v);
            scope.set_value(t, value);
        }
        Some(t)
    }

    pub fn set_tan(&mut self, v: ValueId, t: Tan) {
        self.top().tans.insert(v, t);
    }

    /// A new input of the innermost scope that is the tangent of `v`.
    pub fn input(&mut self, v: ValueId, ty: Type) -> Tan {
        let t = self.top().tape.input(ty);
        self.set_tan(v, t);
        t
    }

    /// Forward mode: the tangent of a value, if it has one.
    pub fn tangent(&mut self, v: ValueId) -> Option<ValueId> {
        let t = self.tan(v)?;
        self.top().values.get(t.0).copied().flatten()
    }

    /// Forward mode: gives `v` a tangent.
    pub fn set_tangent(&mut self, v: ValueId, tangent: ValueId) {
        let ty = self.b.ty(tangent).clone();
        let t = self.top().tape.tangent(ty);
        self.set_tan(v, t);
        self.top().set_value(t, Some(tangent));
    }

    /// Records a step whose result is the tangent of `from`'s value `v`.
    pub fn record(&mut self, kind: Kind, ins: Vec<Option<Tan>>, v: ValueId) {
        let ty = self.b.ty(self.map.get(v)).clone();
        let t = self.between(kind, ins, ty);
        self.set_tan(v, t);
    }

    /// Records a step in between.
    pub fn between(&mut self, kind: Kind, ins: Vec<Option<Tan>>, ty: Type) -> Tan {
        let forward = self.mode == Mode::Forward;
        let scope = self.scopes.last_mut().expect("a scope is open");
        if !forward {
            return scope.tape.step(kind, ins, ty);
        }
        let t = scope.tape.tangent(ty.clone());
        let values: Vec<Option<ValueId>> = ins.iter().map(|t| t.and_then(|t| scope.value(t))).collect();
        let value = forward::step(self.b, &kind, &values, &ty);
        scope.set_value(t, value);
        t
    }

    /// The derivative of an instruction is asked for in vain. The walk goes on, so that every such place is told.
    pub fn refuse(&mut self, i: &Inst, text: impl Into<String>) {
        let mut diagnostic = Diagnostic::error(code::E0504, text, self.grad_span, "asked for here")
            .label(i.span, "on the way from the parameter to the result");
        for v in self.active.path(self.from, i) {
            let data = self.from.value(v);
            let Some(name) = data.name.as_deref().filter(|_| data.span != i.span && data.span != self.grad_span) else {
                continue;
            };
            let text = match self.from.params().contains(&v) {
                true => format!("the parameter `{name}`"),
                false => format!("`{name}` depends on the parameter"),
            };
            diagnostic = diagnostic.label(data.span, text);
        }
        self.errors.push(diagnostic.help("`stop_grad(…)` says that no derivative is wanted there"));
    }

    // --- instructions

    pub fn insts(&mut self, block: &Block) {
        block.insts.iter().for_each(|i| self.inst(i));
    }

    fn inst(&mut self, i: &Inst) {
        let before = self.top().tape.steps.len();
        self.linearized(i);
        self.top().tape.steps[before..].iter_mut().for_each(|s| s.span = i.span);
    }

    fn linearized(&mut self, i: &Inst) {
        let active = i.results.iter().any(|r| self.is_active(*r));
        if !active {
            return clone::inst(self.b, self.from, i, &mut self.map);
        }
        match (&i.op, self.mode) {
            (Op::If, Mode::Reverse) => return self.branch(i),
            (Op::If, Mode::Forward) => return self.branch_forward(i),
            (Op::For | Op::While, Mode::Reverse) => return self.repeat(i),
            (Op::For | Op::While, Mode::Forward) => return self.repeat_forward(i),
            (_, _) => {}
        }
        clone::inst(self.b, self.from, i, &mut self.map);
        let span = std::mem::replace(&mut self.b.span, i.span);
        match &i.op {
            Op::Call { func } => self.call(*func, None, i),
            Op::Vmap { func, mapped, .. } => {
                let n = self.map.get(i.args[0]);
                self.call(*func, Some(Lanes { n, mapped: mapped.clone() }), i);
            }
            _ => self.rule(i),
        }
        self.b.span = span;
    }
}

impl Scope {
    fn value(&self, t: Tan) -> Option<ValueId> {
        self.values.get(t.0).copied().flatten()
    }

    pub fn set_value(&mut self, t: Tan, value: Option<ValueId>) {
        if self.values.len() <= t.0 {
            self.values.resize(t.0 + 1, None);
        }
        self.values[t.0] = value;
    }
}
