//! A function or kernel under construction, and index expressions in it.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tdl_ir::{Dtype, ValueId};

use crate::ir::*;
use crate::size::Size;

/// `sum of reg * size` (no register: the size itself), in elements.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Idx {
    pub terms: Vec<(Option<Reg>, Size)>,
}

impl Idx {
    pub const ZERO: Idx = Idx { terms: Vec::new() };

    pub fn reg(r: Reg) -> Idx {
        Idx { terms: vec![(Some(r), Size::ONE)] }
    }

    pub fn constant(c: i64) -> Idx {
        Idx::size(Size::constant(c))
    }

    pub fn size(s: Size) -> Idx {
        if s.is(0) { Idx::ZERO } else { Idx { terms: vec![(None, s)] } }
    }

    /// From an operand that is visible where the index is used.
    pub fn operand(o: Operand) -> Idx {
        match o {
            Operand::Reg(r) => Idx::reg(r),
            Operand::Const(..) => Idx::constant(o.as_i64().unwrap_or(0)),
        }
    }

    pub fn add(&self, other: &Idx) -> Idx {
        let mut terms = self.terms.clone();
        for (r, s) in &other.terms {
            match terms.iter_mut().find(|(q, t)| q == r && t.atoms == s.atoms) {
                Some((_, t)) => t.coef = t.coef.wrapping_add(s.coef),
                None => terms.push((*r, s.clone())),
            }
        }
        terms.retain(|(_, s)| s.coef != 0);
        Idx { terms }
    }

    pub fn scale(&self, by: &Size) -> Idx {
        let terms = self.terms.iter().map(|(r, s)| (*r, s.mul(by))).filter(|(_, s)| s.coef != 0).collect();
        Idx { terms }
    }
}

#[derive(Default)]
struct Memo {
    evals: FxHashMap<(ValueId, Vec<Idx>), Operand>,
    exprs: FxHashMap<Expr, Reg>,
}

/// Registers and the open blocks of statements, innermost last.
#[derive(Default)]
pub struct Code {
    pub regs: Vec<RegData>,
    pub blocks: Vec<Vec<Stmt>>,
    memos: Vec<Memo>,
}

impl Code {
    pub fn new() -> Code {
        Code { regs: Vec::new(), blocks: vec![Vec::new()], memos: Vec::new() }
    }

    pub fn reg(&mut self, ty: RegTy) -> Reg {
        self.regs.push(RegData { ty, name: None });
        Reg(self.regs.len() as u32 - 1)
    }

    pub fn named(&mut self, ty: RegTy, name: Option<Arc<str>>) -> Reg {
        self.regs.push(RegData { ty, name });
        Reg(self.regs.len() as u32 - 1)
    }

    pub fn i64(&mut self) -> Reg {
        self.reg(RegTy::Scalar(Dtype::I64))
    }

    pub fn push(&mut self, s: Stmt) {
        self.blocks.last_mut().expect("a block is open").push(s);
    }

    pub fn begin(&mut self) {
        self.blocks.push(Vec::new());
        self.memos.push(Memo::default());
    }

    pub fn end(&mut self) -> Vec<Stmt> {
        self.memos.pop();
        self.blocks.pop().expect("a block is open")
    }

    /// Opens a memory of values that have been computed, without a block.
    pub fn begin_memo(&mut self) {
        self.memos.push(Memo::default());
    }

    pub fn end_memo(&mut self) {
        self.memos.pop();
    }

    pub fn recall(&self, v: ValueId, idx: &[Idx]) -> Option<Operand> {
        if self.memos.is_empty() {
            return None;
        }
        let key = (v, idx.to_vec());
        self.memos.iter().rev().find_map(|m| m.evals.get(&key).copied())
    }

    pub fn remember(&mut self, v: ValueId, idx: &[Idx], o: Operand) {
        if let Some(m) = self.memos.last_mut() {
            m.evals.insert((v, idx.to_vec()), o);
        }
    }

    /// `value` in a register; equal expressions share one. Loads are remembered only as values ([`Code::remember`]).
    pub fn let_(&mut self, ty: RegTy, value: Expr) -> Reg {
        let pure = !matches!(value, Expr::Load { .. });
        if pure && let Some(r) = self.memos.iter().rev().find_map(|m| m.exprs.get(&value)) {
            return *r;
        }
        let dst = self.reg(ty);
        if pure && let Some(m) = self.memos.last_mut() {
            m.exprs.insert(value.clone(), dst);
        }
        self.push(Stmt::Let { dst, value });
        dst
    }

    pub fn scalar(&mut self, dtype: Dtype, value: Expr) -> Operand {
        self.let_(RegTy::Scalar(dtype), value).into()
    }

    pub fn binary(&mut self, op: tdl_ir::BinaryOp, dtype: Dtype, a: Operand, b: Operand) -> Operand {
        self.scalar(dtype, Expr::Binary { op, dtype, a, b })
    }

    /// `min` of `i64`s.
    pub fn min(&mut self, a: Operand, b: Operand) -> Operand {
        match (a.as_i64(), b.as_i64()) {
            (Some(x), Some(y)) => Operand::i64(x.min(y)),
            _ => self.binary(tdl_ir::BinaryOp::Min, Dtype::I64, a, b),
        }
    }

    pub fn max(&mut self, a: Operand, b: Operand) -> Operand {
        match (a.as_i64(), b.as_i64()) {
            (Some(x), Some(y)) => Operand::i64(x.max(y)),
            _ => self.binary(tdl_ir::BinaryOp::Max, Dtype::I64, a, b),
        }
    }

    pub fn add(&mut self, a: Operand, b: Operand) -> Operand {
        match (a.as_i64(), b.as_i64()) {
            (Some(x), Some(y)) => Operand::i64(x.wrapping_add(y)),
            (Some(0), _) => b,
            (_, Some(0)) => a,
            _ => self.binary(tdl_ir::BinaryOp::Add, Dtype::I64, a, b),
        }
    }

    pub fn mul(&mut self, a: Operand, b: Operand) -> Operand {
        match (a.as_i64(), b.as_i64()) {
            (Some(x), Some(y)) => Operand::i64(x.wrapping_mul(y)),
            (Some(1), _) => b,
            (_, Some(1)) => a,
            _ => self.binary(tdl_ir::BinaryOp::Mul, Dtype::I64, a, b),
        }
    }

    pub fn div(&mut self, a: Operand, b: Operand) -> Operand {
        match (a.as_i64(), b.as_i64()) {
            (Some(x), Some(y)) if y > 0 => Operand::i64(x.max(0) / y),
            (_, Some(1)) => a,
            _ => self.scalar(Dtype::I64, Expr::IndexDiv { a, b }),
        }
    }

    pub fn rem(&mut self, a: Operand, b: Operand) -> Operand {
        match (a.as_i64(), b.as_i64()) {
            (Some(x), Some(y)) if y > 0 => Operand::i64(x.max(0) % y),
            (_, Some(1)) => Operand::i64(0),
            _ => self.scalar(Dtype::I64, Expr::IndexRem { a, b }),
        }
    }

    pub fn convert(&mut self, from: Dtype, to: Dtype, x: Operand) -> Operand {
        if from == to { x } else { self.scalar(to, Expr::Convert { from, to, x }) }
    }
}

/// The parts of a loop that differ from use to use.
pub struct LoopHead {
    pub var: Reg,
    pub lo: Operand,
    pub hi: Operand,
    pub kind: LoopKind,
}

impl Code {
    /// Opens `for var in lo..hi`; close it with [`Code::end_loop`].
    pub fn begin_loop(&mut self, lo: Operand, hi: Operand, kind: LoopKind) -> LoopHead {
        let var = self.i64();
        self.begin();
        LoopHead { var, lo, hi, kind }
    }

    pub fn end_loop(&mut self, head: LoopHead, carried: Vec<Carried>, reductions: Vec<Reduction>) {
        let body = self.end();
        let LoopHead { var, lo, hi, kind } = head;
        self.push(Stmt::For(For { var, lo, hi, step: Operand::i64(1), kind, carried, reductions, body }));
    }
}
