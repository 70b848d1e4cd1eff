//! Emits the primal computation and records its linear part.

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{Builder, Function, Inst, Module, Op, Type, ValueId};
use tdl_source::{Diagnostic, Span, code};

use super::tape::{Kind, Step, Tan, Tape};
use crate::Error;
use crate::clone::{self, Map};

/// Why a step has no derivative.
pub(super) struct Reason {
    pub span: Span,
    pub text: String,
}

pub(super) struct Linearizer<'a> {
    pub b: &'a mut Builder,
    pub module: &'a Module,
    /// Flat: no calls but those with a rule of their own.
    pub from: &'a Function,
    /// Values of `from` to primal values.
    pub map: Map,
    pub scopes: Vec<Scope>,
    /// Integers and bools computed from what has a tangent.
    tainted: FxHashSet<ValueId>,
    reasons: Vec<Reason>,
    grad_span: Span,
    /// Iteration numbers of the loops around.
    pub counters: Vec<ValueId>,
}

/// A block's tape, and which of `from`'s values have which tangent in it.
#[derive(Default)]
pub(super) struct Scope {
    pub tape: Tape,
    pub tans: FxHashMap<ValueId, Tan>,
    /// Values of outer scopes that became inputs here, in the order of the inputs.
    pub captures: Vec<ValueId>,
}

impl<'a> Linearizer<'a> {
    pub fn new(
        b: &'a mut Builder,
        module: &'a Module,
        from: &'a Function,
        wrt: &[usize],
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
        Linearizer {
            b,
            module,
            from,
            map,
            scopes: vec![scope],
            tainted: FxHashSet::default(),
            reasons: Vec::new(),
            grad_span,
            counters: Vec::new(),
        }
    }

    /// Emits everything; returns the primal results.
    pub fn run(&mut self) -> Result<Vec<ValueId>, Error> {
        let from = self.from;
        for i in &from.body.insts {
            self.inst(i)?;
        }
        let outputs = from.results().iter().map(|r| self.tan(*r)).collect();
        self.top().tape.outputs = outputs;
        Ok(self.map.all(from.results()))
    }

    pub fn finish(mut self) -> (Tape, Vec<Diagnostic>) {
        let tape = self.scopes.pop().map(|s| s.tape).unwrap_or_default();
        let grad_span = self.grad_span;
        let diagnose = |r: Reason| {
            Diagnostic::error(code::E0504, r.text.clone(), grad_span, "asked for here")
                .label(r.span, "on the way from the parameter to the result")
                .help("`stop_grad(…)` says that no derivative is wanted there")
        };
        (tape, self.reasons.into_iter().map(diagnose).collect())
    }

    pub fn top(&mut self) -> &mut Scope {
        self.scopes.last_mut().expect("a scope is open")
    }

    /// The tangent of a value in the innermost scope; a value from outside becomes an input of the scopes in between.
    pub fn tan(&mut self, v: ValueId) -> Option<Tan> {
        let depth = self.scopes.iter().rposition(|s| s.tans.contains_key(&v))?;
        let mut t = self.scopes[depth].tans[&v];
        for k in depth + 1..self.scopes.len() {
            let ty = self.scopes[k - 1].tape.types[t.0].clone();
            let scope = &mut self.scopes[k];
            t = scope.tape.input(ty);
            scope.tans.insert(v, t);
            scope.captures.push(v);
        }
        Some(t)
    }

    pub fn is_active(&self, v: ValueId) -> bool {
        self.scopes.iter().any(|s| s.tans.contains_key(&v))
    }

    pub fn set_tan(&mut self, v: ValueId, t: Tan) {
        self.top().tans.insert(v, t);
    }

    /// Records a step whose result is the tangent of `from`'s value `v`.
    pub fn record(&mut self, kind: Kind, ins: Vec<Option<Tan>>, v: ValueId) {
        let ty = self.b.ty(self.map.get(v)).clone();
        let t = self.top().tape.step(kind, ins, ty);
        self.set_tan(v, t);
    }

    /// Records a step in between.
    pub fn between(&mut self, kind: Kind, ins: Vec<Option<Tan>>, ty: Type) -> Tan {
        self.top().tape.step(kind, ins, ty)
    }

    /// The tangent of `v` is asked for in vain.
    pub fn poison(&mut self, v: ValueId, ins: Vec<Option<Tan>>, span: Span, text: impl Into<String>) {
        self.reasons.push(Reason { span, text: text.into() });
        let k = self.reasons.len() - 1;
        self.record(Kind::Poison(k), ins, v);
    }

    pub fn inst(&mut self, i: &Inst) -> Result<(), Error> {
        match &i.op {
            Op::If => return self.branch(i),
            Op::For | Op::While => return self.repeat(i),
            Op::Call { func } if i.args.iter().any(|a| self.is_active(*a)) => {
                clone::inst(self.b, self.from, i, &mut self.map);
                self.call(*func, i);
                return Ok(());
            }
            _ => clone::inst(self.b, self.from, i, &mut self.map),
        }
        let active = i.args.iter().any(|a| self.is_active(*a));
        let tainted = i.args.iter().any(|a| self.tainted.contains(a));
        if !active && !tainted {
            return Ok(());
        }
        for r in &i.results {
            let discrete = self.from.ty(*r).dtype().is_some_and(|d| !d.is_float());
            if discrete && !matches!(i.op, Op::StopGrad) {
                self.tainted.insert(*r);
            }
        }
        if matches!(i.op, Op::Convert) && !active {
            if self.from.ty(i.results[0]).is_float_tensor() {
                let text = "a float converted from an integer or bool that depends on the parameter has no derivative";
                self.poison(i.results[0], Vec::new(), i.span, text);
            }
            return Ok(());
        }
        if active {
            let span = self.b.span;
            self.b.span = i.span;
            self.rule(i);
            self.b.span = span;
        }
        Ok(())
    }

    fn call(&mut self, func: tdl_ir::FuncId, i: &Inst) {
        let ins: Vec<Option<Tan>> = i.args.iter().map(|a| self.tan(*a)).collect();
        let args = self.map.all(&i.args);
        let results = self.map.all(&i.results);
        let outs: Vec<Option<Tan>> = i
            .results
            .iter()
            .map(|r| {
                let ty = self.b.ty(self.map.get(*r)).clone();
                ty.is_float_tensor().then(|| {
                    let t = self.top().tape.tangent(ty);
                    self.set_tan(*r, t);
                    t
                })
            })
            .collect();
        let kind = match self.module.func(func).attrs.custom_vjp {
            Some(rule) => Kind::Custom { rule, args, results },
            None => {
                let wrt = (0..ins.len()).filter(|k| ins[*k].is_some()).collect();
                Kind::Remat { func, wrt, args, result_count: i.results.len() }
            }
        };
        self.top().tape.steps.push(Step { kind, ins, outs });
    }
}

/// An error if a step without a derivative is left.
pub(super) fn refuse(tape: &Tape, reasons: &[Diagnostic]) -> Result<(), Error> {
    match tape.poison() {
        Some(i) => Err(Error::Program(vec![reasons[i].clone()])),
        None => Ok(()),
    }
}
