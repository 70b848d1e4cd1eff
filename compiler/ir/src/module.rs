//! The module: functions of structured, tree-shaped SSA.
//!
//! Invariants (the verifier checks them after every pass):
//! - a value is defined once, by a parameter or as the result of one instruction, and dominates its uses; a region sees
//!   everything its surrounding blocks have defined before it;
//! - a `Dim::Val` is an `i64` scalar that dominates the value whose type mentions it; one of a function's parameter may also be
//!   computed in its own block, from other parameters: callers give what fits, and what is called from outside has no such one;
//! - operands have the dtype, rank and constant extents their op asks for; there is no implicit broadcasting;
//! - there is no recursion between functions.

use std::sync::Arc;

use tdl_source::{FileId, Span};

use crate::{FuncId, Op, Type, ValueId};

/// A whole program.
#[derive(Clone, Debug, Default)]
pub struct Module {
    pub funcs: Vec<Function>,
    /// Where a program starts, if it has a `main`.
    pub entry: Option<FuncId>,
    /// The files of the standard library: a failure in them is shown at the program's call.
    pub library: Vec<FileId>,
    /// The program's own calls, in order of their places.
    pub calls: Vec<Span>,
    /// What [`Span::via`] is for the first of them.
    pub first_call: u32,
}

impl Module {
    pub fn func(&self, id: FuncId) -> &Function {
        &self.funcs[id.0 as usize]
    }

    pub fn func_mut(&mut self, id: FuncId) -> &mut Function {
        &mut self.funcs[id.0 as usize]
    }

    pub fn add(&mut self, func: Function) -> FuncId {
        self.funcs.push(func);
        FuncId(self.funcs.len() as u32 - 1)
    }

    pub fn ids(&self) -> impl Iterator<Item = FuncId> + use<> {
        (0..self.funcs.len() as u32).map(FuncId)
    }

    /// Sets [`Module::library`] and finds [`Module::calls`], which join a session's `known` ones. `in_place` are calls without
    /// an instruction, each with the number (from 1) of the one around it, or 0: [`Span::via`] of what was made for them counts
    /// them so far, and the program's own calls afterwards.
    pub fn set_library(&mut self, library: Vec<FileId>, in_place: &[(Span, u32)], known: &mut Vec<Span>) {
        let own = |s: Span| library.binary_search(&s.file).is_err();
        // the innermost that the program itself wrote
        let caller = |s: Span| {
            let mut via = if own(s) { 0 } else { s.via };
            while let Some((call, around)) = (via as usize).checked_sub(1).and_then(|i| in_place.get(i)) {
                if own(*call) {
                    return Some(*call);
                }
                via = *around;
            }
            None
        };
        let mut calls = Vec::new();
        for f in &self.funcs {
            f.body.visit_insts(&mut |i| {
                if i.op.callee().is_some() && own(i.span) {
                    calls.push(Span { via: 0, ..i.span });
                }
                calls.extend(caller(i.span));
            });
        }
        calls.sort_unstable();
        calls.dedup();
        self.first_call = known.len() as u32 + 1;
        let first = self.first_call;
        let number = |s: Span| caller(s).and_then(|c| calls.binary_search(&c).ok()).map_or(0, |k| first + k as u32);
        for f in &mut self.funcs {
            each_inst(&mut f.body, &mut |i| i.span.via = number(i.span));
        }
        known.extend(&calls);
        (self.library, self.calls) = (library, calls);
    }

    pub fn find(&self, name: &str) -> Option<FuncId> {
        self.ids().find(|id| self.func(*id).name == name)
    }
}

/// What is known of a value besides its definition.
#[derive(Clone, Debug)]
pub struct ValueData {
    pub ty: Type,
    pub span: Span,
    /// The user's name for it, for dumps and messages.
    pub name: Option<Arc<str>>,
}

/// A function. Size parameters come first, as `i64` scalars; then the leaves of the arguments; then captures.
#[derive(Clone, Debug)]
pub struct Function {
    /// Unique in the module: `Linear.call`, `main`, `main.lambda1`.
    pub name: String,
    pub span: Span,
    pub values: Vec<ValueData>,
    /// Its `params` are the function's parameters, its `results` what the function returns.
    pub body: Block,
    pub attrs: Attrs,
}

/// Properties that passes read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attrs {
    /// A standard-library function that keeps its identity until fusion (`nn.softmax`).
    pub composite: Option<Arc<str>>,
    /// `@remat`: its residuals are recomputed, not stored.
    pub remat: bool,
    /// `@vjp`: the function that replaces the derived rule. It takes all parameters, the results, the cotangents of
    /// the float results, and returns the cotangents of the float parameters.
    pub custom_vjp: Option<FuncId>,
    /// Prints, asserts, reads or writes files (its own effects or a callee's).
    pub effects: bool,
}

impl Function {
    pub fn value(&self, id: ValueId) -> &ValueData {
        &self.values[id.0 as usize]
    }

    pub fn ty(&self, id: ValueId) -> &Type {
        &self.value(id).ty
    }

    pub fn params(&self) -> &[ValueId] {
        &self.body.params
    }

    pub fn results(&self) -> &[ValueId] {
        &self.body.results
    }

    pub fn new_value(&mut self, ty: Type, span: Span) -> ValueId {
        self.values.push(ValueData { ty, span, name: None });
        ValueId(self.values.len() as u32 - 1)
    }
}

/// A straight sequence of instructions with parameters and results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    pub params: Vec<ValueId>,
    pub insts: Vec<Inst>,
    pub results: Vec<ValueId>,
}

/// One operation. The types of its results stand in the function's value table.
#[derive(Clone, Debug, PartialEq)]
pub struct Inst {
    pub op: Op,
    pub args: Vec<ValueId>,
    pub results: Vec<ValueId>,
    pub regions: Vec<Block>,
    pub span: Span,
}

impl Inst {
    /// Calls `f` on every value that this instruction or its regions use as an operand (not on extents in types).
    pub fn visit_uses(&self, f: &mut impl FnMut(ValueId)) {
        self.args.iter().copied().for_each(&mut *f);
        for region in &self.regions {
            region.visit_uses(f);
        }
    }
}

impl Block {
    /// Calls `f` on every operand and block result, regions included.
    pub fn visit_uses(&self, f: &mut impl FnMut(ValueId)) {
        for inst in &self.insts {
            inst.visit_uses(f);
        }
        self.results.iter().copied().for_each(f);
    }

    /// Calls `f` on every instruction, outermost first, in order.
    pub fn visit_insts<'a>(&'a self, f: &mut impl FnMut(&'a Inst)) {
        for inst in &self.insts {
            f(inst);
            for region in &inst.regions {
                region.visit_insts(f);
            }
        }
    }
}

fn each_inst(block: &mut Block, f: &mut impl FnMut(&mut Inst)) {
    for i in &mut block.insts {
        f(i);
        i.regions.iter_mut().for_each(|r| each_inst(r, f));
    }
}
