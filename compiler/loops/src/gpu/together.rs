//! A team of threads to a step: vector loops are dealt out to the threads, what stands around them every thread computes for
//! itself, and the first one stores. Barriers stand where one thread may touch what another has written, or writes what
//! another may still be reading.
//!
//! A team is a warp or a block. Reductions go through shuffles; those of a block leave each warp's value in shared memory and
//! shuffle again, so that all of them have one barrier. Two arrays in turn take them, so that nobody has to wait before writing.

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{BinaryOp, CompareOp, Dtype};

use super::wide::{self, Wide};
use super::{Regs, combine, index, serial};
use crate::ir::*;
use crate::nest::identity;

/// Threads that take a step together, and those of a block.
#[derive(Clone, Copy, Debug)]
pub struct Team {
    pub threads: usize,
    pub block: usize,
}

impl Team {
    pub fn per(self) -> Per {
        if self.threads == self.block { Per::Block } else { Per::Warp }
    }
}

pub fn map(k: &mut Kernel, team: Team) {
    let body = std::mem::take(&mut k.body);
    let mut regs = Regs(&mut k.regs);
    let (range, mut top) = (regs.named("range"), Vec::new());
    let thread = regs.place(&mut top, Place::Thread);
    let block = regs.place(&mut top, Place::Block);
    let blocks = regs.place(&mut top, Place::Blocks);
    let teams = (team.block / team.threads) as i64;
    let (lane, first, step) = match team.per() {
        Per::Block => (thread, block, blocks),
        Per::Thread | Per::Warp => {
            let size = Operand::i64(team.threads as i64);
            let lane = regs.i64(&mut top, Expr::IndexRem { a: thread.into(), b: size });
            let number = regs.i64(&mut top, Expr::IndexDiv { a: thread.into(), b: size });
            let first = regs.i64(&mut top, Expr::Index(index(0, &[(number, 1), (block, teams)])));
            (lane, first, regs.i64(&mut top, Expr::Index(index(0, &[(blocks, teams)]))))
        }
    };
    let mut plans = FxHashMap::default();
    let mut starts = FxHashSet::default();
    // what is one element a thread stays so
    if !body.iter().any(|s| matches!(s, Stmt::Local { .. })) {
        plan(&body, &mut plans);
        aligned(&body, team.threads as i64 * wide::MOST, &mut starts);
    }
    let mut m = Together {
        regs,
        lane,
        team,
        plans,
        starts,
        scratch: FxHashMap::default(),
        turn: 0,
        shared: Vec::new(),
        pending: Touched::default(),
    };
    let mut inner = vec![Stmt::Let { dst: k.hi, value: Expr::Index(index(1, &[(k.lo, 1)])) }];
    let body = m.repeated(body, &[k.lo]);
    inner.extend(body);
    let mut body = m.shared;
    body.append(&mut top);
    body.push(Stmt::For(serial(k.lo, first.into(), range.into(), step.into(), inner)));
    k.body = body;
    k.grid = Some(Grid { range, threads: team.block, per: team.per() });
}

/// How the vector loops are taken, by their variables.
fn plan(body: &[Stmt], out: &mut FxHashMap<Reg, Wide>) {
    for s in body {
        if let Stmt::For(f) = s
            && f.kind == LoopKind::Vector
        {
            out.extend(wide::plan(&f.body, f.var, f.lo).map(|w| (f.var, w)));
        }
        s.blocks().into_iter().for_each(|b| plan(b, out));
    }
}

/// Variables of serial loops that are multiples of `of`.
fn aligned(body: &[Stmt], of: i64, out: &mut FxHashSet<Reg>) {
    for s in body {
        if let Stmt::For(f) = s
            && f.kind == LoopKind::Serial
            && f.lo.as_i64() == Some(0)
            && f.step.as_i64().is_some_and(|s| s % of == 0)
        {
            out.insert(f.var);
        }
        s.blocks().into_iter().for_each(|b| aligned(b, of, out));
    }
}

/// Which thread touches which element of a buffer.
#[derive(Clone, Debug, PartialEq)]
enum Who {
    /// Element `base + i` is touched by thread `i / width % threads` alone.
    Owner {
        width: i64,
        base: Index,
    },
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
                let old = to.entry(*r).or_insert_with(|| w.clone());
                if w != old {
                    *old = Who::Any;
                }
            }
        }
    }

    /// The same, where `vars` and what `body` defines differ from time to time.
    fn repeated(mut self, body: &[Stmt], vars: &[Reg]) -> Touched {
        let mut defined: FxHashSet<Reg> = vars.iter().copied().collect();
        definitions(body, &mut defined);
        for who in self.read.values_mut().chain(self.written.values_mut()) {
            if let Who::Owner { base, .. } = who {
                let mut moves = false;
                base.visit(&mut |o| moves |= matches!(o, Operand::Reg(r) if defined.contains(&r)));
                if moves {
                    *who = Who::Any;
                }
            }
        }
        self
    }

    /// Could a thread of `next` see too early or too late what one of these writes, or the other way round?
    fn conflicts(&self, next: &Touched) -> bool {
        let clash = |a: &FxHashMap<Reg, Who>, b: &FxHashMap<Reg, Who>| {
            a.iter().any(|(r, w)| b.get(r).is_some_and(|v| *w == Who::Any || v != w))
        };
        clash(&self.written, &next.read) || clash(&self.read, &next.written) || clash(&self.written, &next.written)
    }
}

struct Together<'k> {
    regs: Regs<'k>,
    /// The thread's number in its team.
    lane: Reg,
    team: Team,
    plans: FxHashMap<Reg, Wide>,
    starts: FxHashSet<Reg>,
    /// Arrays of one element a warp, by dtype, number and turn.
    scratch: FxHashMap<(Dtype, usize, usize), Reg>,
    turn: usize,
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
        out.push(Stmt::Barrier(self.team.per()));
        self.pending = Touched::default();
    }

    /// The body of a loop: a barrier at its end if the next round could meet this one. Reductions use the same arrays each time.
    fn repeated(&mut self, body: Vec<Stmt>, vars: &[Reg]) -> Vec<Stmt> {
        let before = self.pending.clone();
        let mut all = Touched::default();
        self.touches(&body, None, &mut all);
        let all = all.repeated(&body, vars);
        let reduces = self.team.threads > WARP && reduces(&body);
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
                self.touches(std::slice::from_ref(&s), None, &mut next);
                self.before(out, &next);
                self.first(out, vec![s]);
            }
            Stmt::For(f) if f.kind == LoopKind::Vector => {
                self.touches(std::slice::from_ref(&Stmt::For(f.clone())), None, &mut next);
                self.before(out, &next);
                let reductions = f.reductions.clone();
                let parts = self.deal(f, out);
                self.reduce(out, &reductions, &parts);
            }
            Stmt::For(f) if self.folds_blocks(&f) => {
                self.touches(std::slice::from_ref(&Stmt::For(f.clone())), None, &mut next);
                self.before(out, &next);
                self.fold_blocks(f, out);
            }
            Stmt::For(f) => {
                let vars: Vec<Reg> = f.carried.iter().map(|c| c.param).chain([f.var]).collect();
                let body = self.repeated(f.body, &vars);
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
                self.touches(std::slice::from_ref(&s), None, &mut next);
                self.before(out, &next);
                out.push(s);
            }
        }
    }

    /// `if thread == 0 { body }`, of the team.
    fn first(&mut self, out: &mut Vec<Stmt>, then: Vec<Stmt>) {
        let (a, b) = (self.lane.into(), Operand::i64(0));
        let cond = self.regs.bool(out, Expr::Compare { op: CompareOp::Eq, dtype: Dtype::I64, a, b });
        out.push(Stmt::If(If { cond: cond.into(), then, els: vec![], results: vec![] }));
    }

    /// A vector loop: of its chunks of one or more iterations, chunk `i` is done by thread `i % threads`. Gives each thread's reductions.
    fn deal(&mut self, f: For, out: &mut Vec<Stmt>) -> Vec<Reg> {
        let plan = self.plans.get(&f.var).cloned();
        let width = plan.as_ref().map_or(1, |w| w.width);
        let mine = match width {
            1 => self.lane,
            _ => self.regs.i64(out, Expr::Index(index(0, &[(self.lane, width)]))),
        };
        let first = match f.lo.as_i64() {
            Some(0) => mine,
            Some(lo) => self.regs.i64(out, Expr::Index(index(lo, &[(mine, 1)]))),
            None => {
                let (a, b) = (f.lo, mine.into());
                self.regs.i64(out, Expr::Binary { op: BinaryOp::Add, dtype: Dtype::I64, a, b })
            }
        };
        let step = Operand::i64(self.team.threads as i64 * width);
        let new = |m: &mut Self, d: Dtype| m.regs.reg(RegTy::Scalar(d));
        let Some(w) = plan else {
            let own = |r: &Reduction| {
                let result = new(self, r.dtype);
                Reduction { init: identity(r.op, r.dtype), result, ..r.clone() }
            };
            let reductions: Vec<Reduction> = f.reductions.iter().map(own).collect();
            let parts = reductions.iter().map(|r| r.result).collect();
            out.push(Stmt::For(For { reductions, ..serial(f.var, first.into(), f.hi, step, f.body) }));
            return parts;
        };
        let aligned = w.check(&mut self.regs, out);
        let (chunk, mut body) = (new(self, Dtype::I64), Vec::new());
        let end = self.regs.i64(&mut body, Expr::Index(index(width, &[(chunk, 1)])));
        let (a, b) = (end.into(), f.hi);
        let whole = self.regs.bool(&mut body, Expr::Compare { op: CompareOp::Le, dtype: Dtype::I64, a, b });
        let (a, b) = (whole.into(), aligned);
        let cond = self.regs.bool(&mut body, Expr::Binary { op: BinaryOp::And, dtype: Dtype::Bool, a, b }).into();
        let (a, b) = (end.into(), f.hi);
        let end = self.regs.i64(&mut body, Expr::Binary { op: BinaryOp::Min, dtype: Dtype::I64, a, b });

        let mut then = Vec::new();
        let lanes = w.unroll(&mut self.regs, &mut then, &f.body, f.var, chunk);
        let (mut results, mut carried, mut own) = (Vec::new(), Vec::new(), Vec::new());
        for r in &f.reductions {
            let [param, next, one, part] = [0; 4].map(|_| new(self, r.dtype));
            let mut sum = param;
            for lane in 0..width as usize {
                let (dtype, b) = (r.dtype, lanes.of(lane, r.value));
                let value = Expr::Binary { op: combine(r.op), dtype, a: sum.into(), b };
                sum = new(self, dtype);
                then.push(Stmt::Let { dst: sum, value });
            }
            own.push(Reduction { init: param.into(), result: one, ..r.clone() });
            results.push(IfResult { result: next, then: sum.into(), els: one.into() });
            carried.push(Carried { param, init: identity(r.op, r.dtype), next: next.into(), result: part });
        }
        let parts = carried.iter().map(|c| c.result).collect();
        let rest = For { reductions: own, ..serial(f.var, chunk.into(), end.into(), Operand::i64(1), f.body) };
        body.push(Stmt::If(If { cond, then, els: vec![Stmt::For(rest)], results }));
        out.push(Stmt::For(For { carried, ..serial(chunk, first.into(), f.hi, step, body) }));
        parts
    }

    /// Is this a loop over blocks of one vector loop that adds up their reductions, in which no thread meets another?
    fn folds_blocks(&self, f: &For) -> bool {
        let mut all = Touched::default();
        self.touches(&f.body, None, &mut all);
        let all = all.repeated(&f.body, &[f.var]);
        let vector = f.body.iter().filter(|s| matches!(s, Stmt::For(v) if v.kind == LoopKind::Vector)).count();
        let pure = |s: &Stmt| match s {
            Stmt::For(v) => v.kind == LoopKind::Vector,
            s => matches!(s, Stmt::Let { value, .. } if !matches!(value, Expr::Load { .. })),
        };
        f.carried.is_empty()
            && !f.reductions.is_empty()
            && vector == 1
            && f.body.iter().all(pure)
            && f.reductions.iter().all(|r| folded(&f.body, r))
            && !all.conflicts(&all)
    }

    /// Each thread adds up its own parts of all blocks, in the dtype of the outer sum; the threads' sums are added at the end.
    fn fold_blocks(&mut self, f: For, out: &mut Vec<Stmt>) {
        let mut body = Vec::new();
        for s in f.body {
            match s {
                Stmt::For(v) => {
                    let results: Vec<Reg> = v.reductions.iter().map(|r| r.result).collect();
                    let parts = self.deal(v, &mut body);
                    let own = results.into_iter().zip(parts);
                    body.extend(own.map(|(dst, part)| Stmt::Let { dst, value: Expr::Copy(part.into()) }));
                }
                s => body.push(s),
            }
        }
        let mut own = Vec::new();
        for r in &f.reductions {
            let result = self.regs.reg(RegTy::Scalar(r.dtype));
            own.push(Reduction { init: identity(r.op, r.dtype), result, ..r.clone() });
        }
        let parts: Vec<Reg> = own.iter().map(|r| r.result).collect();
        out.push(Stmt::For(For { reductions: own, ..serial(f.var, f.lo, f.hi, f.step, body) }));
        self.reduce(out, &f.reductions, &parts);
    }

    /// The team's values from each thread's, for all threads: pairs of neighbours, then pairs of pairs, and so on, which for few
    /// values is their order.
    fn reduce(&mut self, out: &mut Vec<Stmt>, reductions: &[Reduction], parts: &[Reg]) {
        if reductions.is_empty() {
            return;
        }
        let mut all: Vec<Reg> = parts.to_vec();
        for (r, part) in reductions.iter().zip(&mut all) {
            *part = self.exchange(out, r, *part, self.team.threads.min(WARP));
        }
        let warps = self.team.threads / WARP;
        if warps > 1 {
            all = self.over_warps(out, reductions, &all, warps);
        }
        for (r, sum) in reductions.iter().zip(all) {
            let dst = r.result;
            let value = if r.init == identity(r.op, r.dtype) {
                Expr::Copy(sum.into())
            } else {
                Expr::Binary { op: combine(r.op), dtype: r.dtype, a: r.init, b: sum.into() }
            };
            out.push(Stmt::Let { dst, value });
        }
    }

    /// Reduces over each `of` neighbours of a warp.
    fn exchange(&mut self, out: &mut Vec<Stmt>, r: &Reduction, mut value: Reg, of: usize) -> Reg {
        let dtype = r.dtype;
        let mut xor = 1;
        while xor < of {
            let [other, sum] = [0; 2].map(|_| self.regs.reg(RegTy::Scalar(dtype)));
            out.push(Device::Shuffle { dst: other, dtype, x: value.into(), xor: xor as u32 }.into());
            let (a, b) = (value.into(), other.into());
            out.push(Stmt::Let { dst: sum, value: Expr::Binary { op: combine(r.op), dtype, a, b } });
            value = sum;
            xor *= 2;
        }
        value
    }

    /// The warps' values become the block's.
    fn over_warps(&mut self, out: &mut Vec<Stmt>, reductions: &[Reduction], sums: &[Reg], warps: usize) -> Vec<Reg> {
        let arrays: Vec<Reg> = reductions.iter().enumerate().map(|(n, r)| self.array(r.dtype, n, warps)).collect();
        self.turn ^= 1;
        let mut next = Touched::default();
        next.written.extend(arrays.iter().map(|a| (*a, Who::Any)));
        self.before(out, &next);
        let size = Operand::i64(WARP as i64);
        let warp = self.regs.i64(out, Expr::IndexDiv { a: self.lane.into(), b: size });
        let lane = self.regs.i64(out, Expr::IndexRem { a: self.lane.into(), b: size });
        let (a, b) = (lane.into(), Operand::i64(0));
        let first = self.regs.bool(out, Expr::Compare { op: CompareOp::Eq, dtype: Dtype::I64, a, b });
        let store = |((r, sum), ptr): ((&Reduction, &Reg), &Reg)| {
            let (ptr, dtype, index) = (*ptr, r.dtype, index(0, &[(warp, 1)]));
            Stmt::Store { ptr, dtype, index, value: (*sum).into() }
        };
        let then = reductions.iter().zip(sums).zip(&arrays).map(store).collect();
        out.push(Stmt::If(If { cond: first.into(), then, els: vec![], results: vec![] }));
        self.barrier(out);
        let from = self.regs.i64(out, Expr::IndexRem { a: lane.into(), b: Operand::i64(warps as i64) });
        let mut all = Vec::new();
        for (r, ptr) in reductions.iter().zip(&arrays) {
            let part = self.regs.reg(RegTy::Scalar(r.dtype));
            let value = Expr::Load { ptr: *ptr, dtype: r.dtype, index: index(0, &[(from, 1)]) };
            out.push(Stmt::Let { dst: part, value });
            all.push(self.exchange(out, r, part, warps));
        }
        self.pending.read.extend(arrays.iter().map(|a| (*a, Who::Any)));
        all
    }

    fn array(&mut self, dtype: Dtype, n: usize, len: usize) -> Reg {
        if let Some(r) = self.scratch.get(&(dtype, n, self.turn)) {
            return *r;
        }
        let dst = self.regs.reg(RegTy::Ptr);
        self.shared.push(Stmt::Shared { dst, dtype, len });
        self.scratch.insert((dtype, n, self.turn), dst);
        dst
    }

    /// What statements read and write. In a vector loop over `var` from a multiple of all threads' chunks on, an element at `var`
    /// belongs to the thread that has that iteration.
    fn touches(&self, body: &[Stmt], var: Option<(Reg, i64)>, out: &mut Touched) {
        let mut inside = FxHashSet::default();
        definitions(body, &mut inside);
        let who = |i: &Index| {
            let Some((var, width)) = var else { return Who::Any };
            let (own, rest): (Vec<Term>, Vec<Term>) = i.terms.iter().partition(|t| t.reg == var);
            let base = Index { offset: i.offset, terms: rest };
            let mut moves = false;
            base.visit(&mut |o| moves |= matches!(o, Operand::Reg(r) if inside.contains(&r)));
            match own.as_slice() {
                [t] if t.stride.as_i64() == Some(1) && !moves => Who::Owner { width, base },
                _ => Who::Any,
            }
        };
        for s in body {
            let mut here = Touched::default();
            match s {
                Stmt::Let { dst: _, value: Expr::Load { ptr, index, .. } } => _ = here.read.insert(*ptr, who(index)),
                Stmt::Store { ptr, index, .. } => _ = here.written.insert(*ptr, who(index)),
                Stmt::For(f) => {
                    let start = match f.lo {
                        Operand::Reg(r) => self.starts.contains(&r),
                        lo => lo.as_i64() == Some(0),
                    };
                    let width = self.plans.get(&f.var).map_or(1, |w| w.width);
                    let own = f.kind == LoopKind::Vector && start;
                    self.touches(&f.body, own.then_some((f.var, width)), &mut here);
                }
                Stmt::If(i) => {
                    self.touches(&i.then, var, &mut here);
                    self.touches(&i.els, var, &mut here);
                }
                _ => {}
            }
            out.add(&here);
        }
    }
}

/// Is what a loop adds up a reduction of the vector loop in its body, perhaps in another dtype?
fn folded(body: &[Stmt], r: &Reduction) -> bool {
    let mut value = r.value;
    for s in body.iter().rev() {
        match s {
            Stmt::Let { dst, value: Expr::Convert { x, .. } } if Operand::Reg(*dst) == value => value = *x,
            Stmt::For(v) => {
                return v.reductions.iter().any(|inner| Operand::Reg(inner.result) == value && inner.op == r.op);
            }
            _ => {}
        }
    }
    false
}

/// The registers that statements and those in their blocks define.
fn definitions(body: &[Stmt], out: &mut FxHashSet<Reg>) {
    for s in body {
        out.extend(s.defs());
        if let Stmt::For(f) = s {
            out.insert(f.var);
            out.extend(f.carried.iter().map(|c| c.param));
        }
        s.blocks().into_iter().for_each(|b| definitions(b, out));
    }
}

fn reduces(body: &[Stmt]) -> bool {
    body.iter().any(|s| match s {
        Stmt::For(f) if f.kind == LoopKind::Vector => !f.reductions.is_empty(),
        s => s.blocks().into_iter().any(reduces),
    })
}
