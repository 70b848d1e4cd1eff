//! Walks over operands: what an expression, a statement or a runtime call reads and defines.

use crate::ir::*;

impl Index {
    pub fn visit(&self, f: &mut impl FnMut(Operand)) {
        for t in &self.terms {
            f(Operand::Reg(t.reg));
            f(t.stride);
        }
    }
}

impl Index {
    /// Replaces registers.
    pub fn rename(&mut self, f: &impl Fn(Reg) -> Reg) {
        for t in &mut self.terms {
            t.reg = f(t.reg);
            t.stride.rename(f);
        }
    }
}

impl Operand {
    fn rename(&mut self, f: &impl Fn(Reg) -> Reg) {
        if let Operand::Reg(r) = self {
            *r = f(*r);
        }
    }
}

impl Expr {
    /// Replaces registers.
    pub fn rename(&mut self, f: &impl Fn(Reg) -> Reg) {
        match self {
            Expr::Copy(x) | Expr::Unary { x, .. } | Expr::Convert { x, .. } | Expr::Bits { x, .. } => x.rename(f),
            Expr::Binary { a, b, .. }
            | Expr::Compare { a, b, .. }
            | Expr::IndexDiv { a, b }
            | Expr::IndexRem { a, b }
            | Expr::SizeMul { a, b } => [a, b].into_iter().for_each(|o| o.rename(f)),
            Expr::Select { cond, a, b, .. } => [cond, a, b].into_iter().for_each(|o| o.rename(f)),
            Expr::MulAdd { a, b, c, .. } => [a, b, c].into_iter().for_each(|o| o.rename(f)),
            Expr::Load { ptr, index, .. } | Expr::Offset { ptr, index, .. } => {
                *ptr = f(*ptr);
                index.rename(f);
            }
            Expr::Index(index) => index.rename(f),
            Expr::Address(ptr) => *ptr = f(*ptr),
            Expr::Place(_) | Expr::Data(_) | Expr::Text(_) => {}
        }
    }

    /// Calls `f` on every operand, pointers and text handles included.
    pub fn visit(&self, f: &mut impl FnMut(Operand)) {
        match self {
            Expr::Copy(x) | Expr::Unary { x, .. } | Expr::Convert { x, .. } | Expr::Bits { x, .. } => f(*x),
            Expr::Binary { a, b, .. }
            | Expr::Compare { a, b, .. }
            | Expr::IndexDiv { a, b }
            | Expr::IndexRem { a, b }
            | Expr::SizeMul { a, b } => {
                f(*a);
                f(*b);
            }
            Expr::Select { cond, a, b, .. } => {
                f(*cond);
                f(*a);
                f(*b);
            }
            Expr::MulAdd { a, b, c, .. } => {
                f(*a);
                f(*b);
                f(*c);
            }
            Expr::Load { ptr, index, .. } | Expr::Offset { ptr, index, .. } => {
                f((*ptr).into());
                index.visit(f);
            }
            Expr::Index(index) => index.visit(f),
            Expr::Address(ptr) => f((*ptr).into()),
            Expr::Place(_) | Expr::Data(_) | Expr::Text(_) => {}
        }
    }
}

impl Arg {
    pub fn visit(&self, f: &mut impl FnMut(Operand)) {
        match self {
            Arg::Scalar { value, .. } => f(*value),
            Arg::Str(r) => f((*r).into()),
            Arg::Tensor { ptr, dims, .. } => {
                f((*ptr).into());
                dims.iter().copied().for_each(f);
            }
        }
    }
}

impl Matrix {
    fn visit(&self, f: &mut impl FnMut(Operand)) {
        f(self.ptr.into());
        self.offset.visit(f);
        f(self.row_stride);
        f(self.col_stride);
        self.batch_strides.iter().copied().for_each(f);
    }
}

impl Gemm {
    pub fn visit(&self, f: &mut impl FnMut(Operand)) {
        f(self.m);
        f(self.n);
        f(self.k);
        self.batch.iter().copied().for_each(&mut *f);
        self.a.visit(f);
        self.b.visit(f);
        self.c.visit(f);
    }
}

impl RuntimeCall {
    /// Calls `f` on what the call reads, buffers that it fills included.
    pub fn visit(&self, f: &mut impl FnMut(Operand)) {
        match self {
            RuntimeCall::Sort { src, values, indices, dtype: _, rows, len, descending: _ } => {
                f((*src).into());
                f((*values).into());
                f((*indices).into());
                f(*rows);
                f(*len);
            }
            RuntimeCall::CountTrue { dst: _, mask, len } => {
                f((*mask).into());
                f(*len);
            }
            RuntimeCall::Positions { dst, mask, len } => {
                f((*dst).into());
                f((*mask).into());
                f(*len);
            }
            RuntimeCall::Random { dst, dist: _, dtype: _, key, counter, len } => {
                f((*dst).into());
                f(*key);
                f(*counter);
                f(*len);
            }
            RuntimeCall::Windows(w) => {
                [w.x, w.w, w.y].into_iter().for_each(|r| f(r.into()));
                w.counts.into_iter().for_each(&mut *f);
                w.steps.iter().flat_map(|s| s.all()).for_each(f);
            }
            RuntimeCall::StackNew { dst: _ } | RuntimeCall::Clock { dst: _ } => {}
            RuntimeCall::StackGrow { dst: _, stack, bytes } => {
                f((*stack).into());
                f(*bytes);
            }
            RuntimeCall::StackContents { ptr: _, bytes: _, stack } | RuntimeCall::StackFree { stack } => {
                f((*stack).into());
            }
            RuntimeCall::Exists { path, .. } => f((*path).into()),
            RuntimeCall::Save { path, entries } => {
                f((*path).into());
                entries.iter().for_each(|e| e.value.visit(f));
            }
            RuntimeCall::Load { path, entries, renamed, extra: _ } => {
                f((*path).into());
                renamed.iter().for_each(|a| a.visit(f));
                for e in entries {
                    f(e.dst.into());
                    e.dims.iter().copied().for_each(&mut *f);
                }
            }
            RuntimeCall::Host { args, .. } => args.iter().for_each(|a| a.visit(f)),
            RuntimeCall::Progress { i, n } => {
                f(*i);
                f(*n);
            }
            RuntimeCall::Segment { .. } => {}
        }
    }

    /// The registers that the call defines.
    pub fn defs(&self) -> Vec<Reg> {
        match self {
            RuntimeCall::CountTrue { dst, .. }
            | RuntimeCall::StackNew { dst }
            | RuntimeCall::StackGrow { dst, .. }
            | RuntimeCall::Exists { dst, .. }
            | RuntimeCall::Clock { dst } => vec![*dst],
            RuntimeCall::StackContents { ptr, bytes, .. } => vec![*ptr, *bytes],
            RuntimeCall::Host { results, .. } => results.clone(),
            RuntimeCall::Sort { .. }
            | RuntimeCall::Positions { .. }
            | RuntimeCall::Random { .. }
            | RuntimeCall::Windows(_)
            | RuntimeCall::StackFree { .. }
            | RuntimeCall::Save { .. }
            | RuntimeCall::Load { .. }
            | RuntimeCall::Progress { .. }
            | RuntimeCall::Segment { .. } => vec![],
        }
    }
}

impl Stmt {
    /// Calls `f` on what the statement itself reads before its blocks run: not on what stands in its blocks, nor on what
    /// its blocks hand out ([`Stmt::visit_yields`]).
    pub fn visit(&self, f: &mut impl FnMut(Operand)) {
        match self {
            Stmt::Let { value, .. } => value.visit(f),
            Stmt::Store { ptr, index, value, .. } => {
                f((*ptr).into());
                index.visit(f);
                f(*value);
            }
            Stmt::For(l) => {
                f(l.lo);
                f(l.hi);
                f(l.step);
                l.carried.iter().for_each(|c| f(c.init));
                l.reductions.iter().for_each(|r| f(r.init));
            }
            Stmt::If(i) => f(i.cond),
            Stmt::While(w) => w.carried.iter().for_each(|c| f(c.init)),
            Stmt::Stream { dst, dtype: _, index, src, len } => {
                f((*dst).into());
                index.visit(f);
                f((*src).into());
                f(*len);
            }
            Stmt::Prefetch { ptr, index, .. } => {
                f((*ptr).into());
                index.visit(f);
            }
            Stmt::Device(d) => d.visit(f),
            Stmt::Local { .. } | Stmt::Shared { .. } | Stmt::Barrier(_) | Stmt::Safepoint | Stmt::Tick { .. } => {}
            Stmt::Tock(t) => [t.since.into(), t.flops, t.bytes].into_iter().chain(t.dims.iter().copied()).for_each(f),
            Stmt::Alloc { bytes, .. } => f(*bytes),
            Stmt::Need { ptr, bytes, .. } => {
                f((*ptr).into());
                f(*bytes);
            }
            Stmt::Free { ptr } => f((*ptr).into()),
            Stmt::Launch { args, range, grain, .. } => {
                args.iter().copied().for_each(&mut *f);
                f(*range);
                f(*grain);
            }
            Stmt::Bands(b) => f(b.count),
            Stmt::CopyBytes { dst, src, bytes } => {
                f((*dst).into());
                f((*src).into());
                f(*bytes);
            }
            Stmt::ZeroBytes { dst, bytes } => {
                f((*dst).into());
                f(*bytes);
            }
            Stmt::Gemm(g) => g.visit(f),
            Stmt::Runtime { call, .. } => call.visit(f),
            Stmt::Print { args, .. } | Stmt::Format { args, .. } => args.iter().for_each(|a| a.visit(f)),
            Stmt::Debug { variable, .. } => variable.iter().for_each(|(_, a)| a.visit(f)),
            Stmt::Assert { ok, args, .. } => {
                f(*ok);
                args.iter().for_each(|a| a.visit(f));
            }
            Stmt::Return { slots } => slots.iter().copied().for_each(f),
        }
    }

    /// Calls `f` on what the ends of the statement's blocks read.
    pub fn visit_yields(&self, f: &mut impl FnMut(Operand)) {
        match self {
            Stmt::For(l) => {
                l.carried.iter().for_each(|c| f(c.next));
                l.reductions.iter().for_each(|r| f(r.value));
            }
            Stmt::If(i) => i.results.iter().for_each(|r| {
                f(r.then);
                f(r.els);
            }),
            Stmt::While(w) => {
                f(w.cond);
                w.carried.iter().for_each(|c| f(c.next));
            }
            Stmt::Let { .. }
            | Stmt::Store { .. }
            | Stmt::Stream { .. }
            | Stmt::Prefetch { .. }
            | Stmt::Local { .. }
            | Stmt::Shared { .. }
            | Stmt::Barrier(_)
            | Stmt::Device(_)
            | Stmt::Alloc { .. }
            | Stmt::Need { .. }
            | Stmt::Free { .. }
            | Stmt::Launch { .. }
            | Stmt::Bands(_)
            | Stmt::CopyBytes { .. }
            | Stmt::ZeroBytes { .. }
            | Stmt::Gemm(_)
            | Stmt::Runtime { .. }
            | Stmt::Print { .. }
            | Stmt::Format { .. }
            | Stmt::Assert { .. }
            | Stmt::Debug { .. }
            | Stmt::Safepoint
            | Stmt::Tick { .. }
            | Stmt::Tock(_)
            | Stmt::Return { .. } => {}
        }
    }

    /// The statement's blocks.
    pub fn blocks(&self) -> Vec<&[Stmt]> {
        match self {
            Stmt::For(l) => vec![&l.body],
            Stmt::If(i) => vec![&i.then, &i.els],
            Stmt::While(w) => vec![&w.cond_body, &w.body],
            Stmt::Bands(b) => vec![&b.steps],
            Stmt::Let { .. }
            | Stmt::Store { .. }
            | Stmt::Stream { .. }
            | Stmt::Prefetch { .. }
            | Stmt::Local { .. }
            | Stmt::Shared { .. }
            | Stmt::Barrier(_)
            | Stmt::Device(_)
            | Stmt::Alloc { .. }
            | Stmt::Need { .. }
            | Stmt::Free { .. }
            | Stmt::Launch { .. }
            | Stmt::CopyBytes { .. }
            | Stmt::ZeroBytes { .. }
            | Stmt::Gemm(_)
            | Stmt::Runtime { .. }
            | Stmt::Print { .. }
            | Stmt::Format { .. }
            | Stmt::Assert { .. }
            | Stmt::Debug { .. }
            | Stmt::Safepoint
            | Stmt::Tick { .. }
            | Stmt::Tock(_)
            | Stmt::Return { .. } => vec![],
        }
    }

    /// The registers that are visible after the statement.
    pub fn defs(&self) -> Vec<Reg> {
        match self {
            Stmt::Let { dst, .. }
            | Stmt::Local { dst, .. }
            | Stmt::Shared { dst, .. }
            | Stmt::Alloc { dst, .. }
            | Stmt::Tick { dst }
            | Stmt::Format { dst, .. } => vec![*dst],
            Stmt::For(l) => l.carried.iter().map(|c| c.result).chain(l.reductions.iter().map(|r| r.result)).collect(),
            Stmt::If(i) => i.results.iter().map(|r| r.result).collect(),
            Stmt::While(w) => w.carried.iter().map(|c| c.result).collect(),
            Stmt::Runtime { call, .. } => call.defs(),
            Stmt::Device(d) => d.defs(),
            Stmt::Store { .. }
            | Stmt::Stream { .. }
            | Stmt::Prefetch { .. }
            | Stmt::Barrier(_)
            | Stmt::Need { .. }
            | Stmt::Free { .. }
            | Stmt::Launch { .. }
            | Stmt::Bands(_)
            | Stmt::CopyBytes { .. }
            | Stmt::ZeroBytes { .. }
            | Stmt::Gemm(_)
            | Stmt::Print { .. }
            | Stmt::Assert { .. }
            | Stmt::Debug { .. }
            | Stmt::Safepoint
            | Stmt::Tock(_)
            | Stmt::Return { .. } => vec![],
        }
    }
}
