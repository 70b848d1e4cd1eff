//! A block of threads to a step: vector loops are dealt out to the threads, what stands around them every thread computes for
//! itself, and the first one stores. Barriers stand where one thread may touch what another has written, or writes what
//! another may still be reading.

use rustc_hash::FxHashMap;
use tdl_ir::{BinaryOp, CompareOp, Dtype};

use super::{Regs, combine, index, serial};
use crate::ir::*;
use crate::nest::identity;

pub fn map(k: &mut Kernel, threads: usize) {
    let body = std::mem::take(&mut k.body);
    let mut regs = Regs(&mut k.regs);
    let (range, mut top) = (regs.named("range"), Vec::new());
    let thread = regs.place(&mut top, Place::Thread);
    let block = regs.place(&mut top, Place::Block);
    let blocks = regs.place(&mut top, Place::Blocks);
    let mut m = Together {
        regs,
        thread,
        threads,
        scratch: FxHashMap::default(),
        shared: Vec::new(),
        pending: Touched::default(),
    };
    let mut inner = vec![Stmt::Let { dst: k.hi, value: Expr::Index(index(1, &[(k.lo, 1)])) }];
    let step = m.repeated(body);
    inner.extend(step);
    let mut body = m.shared;
    body.append(&mut top);
    body.push(Stmt::For(serial(k.lo, block.into(), range.into(), blocks.into(), inner)));
    k.body = body;
    k.grid = Some(Grid { range, threads, per: Per::Block });
}

/// Which thread touches which element of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Element `i` is touched by thread `i % threads` alone.
    Owner,
    Any,
}

/// Buffers that were touched since the last barrier. Buffers never overlap.
#[derive(Clone, Debug, Default)]
struct Touched {
    read: FxHashMap<Reg, Who>,
    written: FxHashMap<Reg, Who>,
}

impl Touched {
    fn add(&mut self, other: &Touched) {
        for (to, from) in [(&mut self.read, &other.read), (&mut self.written, &other.written)] {
            for (r, w) in from {
                let old = to.entry(*r).or_insert(*w);
                if *w == Who::Any {
                    *old = Who::Any;
                }
            }
        }
    }

    /// Could a thread of `next` see too early or too late what one of these writes, or the other way round?
    fn conflicts(&self, next: &Touched) -> bool {
        let clash = |a: &FxHashMap<Reg, Who>, b: &FxHashMap<Reg, Who>| {
            a.iter().any(|(r, w)| b.get(r).is_some_and(|v| (*w, *v) != (Who::Owner, Who::Owner)))
        };
        clash(&self.written, &next.read) || clash(&self.read, &next.written) || clash(&self.written, &next.written)
    }
}

struct Together<'k> {
    regs: Regs<'k>,
    thread: Reg,
    threads: usize,
    /// Arrays of one element a thread, by dtype and number.
    scratch: FxHashMap<(Dtype, usize), Reg>,
    shared: Vec<Stmt>,
    pending: Touched,
}

impl Together<'_> {
    /// A barrier, if `next` needs one.
    fn before(&mut self, out: &mut Vec<Stmt>, next: &Touched) {
        if self.pending.conflicts(next) {
            self.barrier(out);
        }
        self.pending.add(next);
    }

    fn barrier(&mut self, out: &mut Vec<Stmt>) {
        out.push(Stmt::Barrier);
        self.pending = Touched::default();
    }

    /// The body of a loop: a barrier at its end if the next round could meet this one. Reductions use the same arrays each time.
    fn repeated(&mut self, body: Vec<Stmt>) -> Vec<Stmt> {
        let before = self.pending.clone();
        let mut all = Touched::default();
        touches(&body, None, &mut all);
        let reduces = reduces(&body);
        let mut out = self.block(body);
        if all.conflicts(&all) || reduces {
            self.barrier(&mut out);
        }
        // it may have run not at all
        self.pending.add(&before);
        out
    }

    fn block(&mut self, body: Vec<Stmt>) -> Vec<Stmt> {
        let mut out = Vec::new();
        for s in body {
            self.stmt(s, &mut out);
        }
        out
    }

    fn stmt(&mut self, s: Stmt, out: &mut Vec<Stmt>) {
        let mut next = Touched::default();
        match s {
            Stmt::Local { dst, dtype, len } => self.shared.push(Stmt::Shared { dst, dtype, len }),
            Stmt::Store { .. } => {
                touches(std::slice::from_ref(&s), None, &mut next);
                self.before(out, &next);
                self.first(out, vec![s]);
            }
            Stmt::For(f) if f.kind == LoopKind::Vector => self.deal(f, out),
            Stmt::For(f) => {
                let body = self.repeated(f.body);
                out.push(Stmt::For(For { body, ..f }));
            }
            Stmt::If(i) => {
                let before = self.pending.clone();
                let then = self.block(i.then);
                let after = std::mem::replace(&mut self.pending, before);
                let els = self.block(i.els);
                self.pending.add(&after);
                out.push(Stmt::If(If { then, els, ..i }));
            }
            s => {
                touches(std::slice::from_ref(&s), None, &mut next);
                self.before(out, &next);
                out.push(s);
            }
        }
    }

    /// `if thread == 0 { body }`.
    fn first(&mut self, out: &mut Vec<Stmt>, body: Vec<Stmt>) {
        self.every(out, self.threads, body);
    }

    /// `if thread % n == 0 { body }`, for powers of two.
    fn every(&mut self, out: &mut Vec<Stmt>, n: usize, then: Vec<Stmt>) {
        let (a, b) = (self.thread.into(), Operand::i64(n as i64 - 1));
        let low = self.regs.i64(out, Expr::Binary { op: BinaryOp::And, dtype: Dtype::I64, a, b });
        let cond = self.regs.reg(RegTy::Scalar(Dtype::Bool));
        let (a, b) = (low.into(), Operand::i64(0));
        out.push(Stmt::Let { dst: cond, value: Expr::Compare { op: CompareOp::Eq, dtype: Dtype::I64, a, b } });
        out.push(Stmt::If(If { cond: cond.into(), then, els: vec![], results: vec![] }));
    }

    /// A vector loop: iteration `i` is done by thread `(i - lo) % threads`.
    fn deal(&mut self, f: For, out: &mut Vec<Stmt>) {
        let mut next = Touched::default();
        touches(&f.body, (f.lo.as_i64() == Some(0)).then_some(f.var), &mut next);
        self.before(out, &next);
        let first = match f.lo.as_i64() {
            Some(0) => self.thread,
            Some(lo) => self.regs.i64(out, Expr::Index(index(lo, &[(self.thread, 1)]))),
            None => {
                let (a, b) = (f.lo, self.thread.into());
                self.regs.i64(out, Expr::Binary { op: BinaryOp::Add, dtype: Dtype::I64, a, b })
            }
        };
        let mut parts = Vec::new();
        let mut own = Vec::new();
        for r in &f.reductions {
            let part = self.regs.reg(RegTy::Scalar(r.dtype));
            own.push(Reduction { init: identity(r.op, r.dtype), result: part, ..r.clone() });
            parts.push(part);
        }
        let step = Operand::i64(self.threads as i64);
        out.push(Stmt::For(For { reductions: own, ..serial(f.var, first.into(), f.hi, step, f.body) }));
        if !parts.is_empty() {
            self.reduce(out, &f.reductions, &parts);
        }
    }

    /// The block's values from each thread's, for all threads: pairs of neighbours, then pairs of pairs, and so on, which for few
    /// values is their order.
    fn reduce(&mut self, out: &mut Vec<Stmt>, reductions: &[Reduction], parts: &[Reg]) {
        let arrays: Vec<Reg> = reductions.iter().enumerate().map(|(n, r)| self.array(r.dtype, n)).collect();
        let mut next = Touched::default();
        next.written.extend(arrays.iter().map(|a| (*a, Who::Any)));
        self.before(out, &next);
        let at = |offset: usize, t: Reg| index(offset as i64, &[(t, 1)]);
        for ((r, part), ptr) in reductions.iter().zip(parts).zip(&arrays) {
            let (ptr, dtype, index) = (*ptr, r.dtype, at(0, self.thread));
            out.push(Stmt::Store { ptr, dtype, index, value: (*part).into() });
        }
        self.barrier(out);
        let mut half = 1;
        while half < self.threads {
            let mut body = Vec::new();
            for (r, ptr) in reductions.iter().zip(&arrays) {
                let dtype = r.dtype;
                let [a, b, sum] = [0; 3].map(|_| self.regs.reg(RegTy::Scalar(dtype)));
                for (dst, offset) in [(a, 0), (b, half)] {
                    let value = Expr::Load { ptr: *ptr, dtype, index: at(offset, self.thread) };
                    body.push(Stmt::Let { dst, value });
                }
                let value = Expr::Binary { op: combine(r.op), dtype, a: a.into(), b: b.into() };
                body.push(Stmt::Let { dst: sum, value });
                body.push(Stmt::Store { ptr: *ptr, dtype, index: at(0, self.thread), value: sum.into() });
            }
            self.every(out, 2 * half, body);
            self.barrier(out);
            half *= 2;
        }
        for (r, ptr) in reductions.iter().zip(&arrays) {
            let load = Expr::Load { ptr: *ptr, dtype: r.dtype, index: Index::default() };
            if r.init == identity(r.op, r.dtype) {
                out.push(Stmt::Let { dst: r.result, value: load });
                continue;
            }
            let sum = self.regs.reg(RegTy::Scalar(r.dtype));
            out.push(Stmt::Let { dst: sum, value: load });
            let value = Expr::Binary { op: combine(r.op), dtype: r.dtype, a: r.init, b: sum.into() };
            out.push(Stmt::Let { dst: r.result, value });
        }
        self.pending.read.extend(arrays.iter().map(|a| (*a, Who::Any)));
    }

    fn array(&mut self, dtype: Dtype, n: usize) -> Reg {
        if let Some(r) = self.scratch.get(&(dtype, n)) {
            return *r;
        }
        let dst = self.regs.reg(RegTy::Ptr);
        self.shared.push(Stmt::Shared { dst, dtype, len: self.threads });
        self.scratch.insert((dtype, n), dst);
        dst
    }
}

fn reduces(body: &[Stmt]) -> bool {
    body.iter().any(|s| match s {
        Stmt::For(f) if f.kind == LoopKind::Vector => !f.reductions.is_empty(),
        s => s.blocks().into_iter().any(reduces),
    })
}

/// What statements read and write. In a vector loop over `var` from 0 on, an element at `var` belongs to the thread that
/// has that iteration.
fn touches(body: &[Stmt], var: Option<Reg>, out: &mut Touched) {
    let who = |i: &Index| match (i.offset, i.terms.as_slice()) {
        (0, [t]) if Some(t.reg) == var && t.stride.as_i64() == Some(1) => Who::Owner,
        _ => Who::Any,
    };
    for s in body {
        let mut here = Touched::default();
        match s {
            Stmt::Let { dst: _, value: Expr::Load { ptr, index, .. } } => _ = here.read.insert(*ptr, who(index)),
            Stmt::Store { ptr, index, .. } => _ = here.written.insert(*ptr, who(index)),
            Stmt::For(f) => {
                let own = f.kind == LoopKind::Vector && f.lo.as_i64() == Some(0);
                touches(&f.body, own.then_some(f.var), &mut here);
            }
            Stmt::If(i) => {
                touches(&i.then, var, &mut here);
                touches(&i.els, var, &mut here);
            }
            _ => {}
        }
        out.add(&here);
    }
}
