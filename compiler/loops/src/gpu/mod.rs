//! Kernels on a GPU: from loops over a part of a range to loops of one thread of a grid.
//!
//! Two ways of sharing out a range. Where each step is a loop of its own (a row to be reduced, a block of columns), a block of
//! threads takes a step and its vector loops are dealt out to the threads (`together`); else every thread takes steps
//! of its own (`alone`). In both the grid may be of any size: who is done takes the next step that nobody has.
//!
//! ```text
//! kernel rows(x, y, lo, hi)                   kernel rows(x, y, range)
//!   for r in lo..hi                             s = shared f32[256]
//!     vector for i in 0..n, s += x[r*n + i]  →  for r in block..range by blocks
//!     y[r] = s                                    for i in thread..n by 256, part += x[r*n + i]
//!                                                 s[thread] = part; barrier; …; if thread % 2 == 0 { s[thread] += s[thread + 1] } …
//!                                                 if thread == 0 { y[r] = s[0] }
//! ```
//!
//! The order of a reduction is that of the code above: it depends on extents and on the number of threads in a block, which the
//! kernel fixes, and never on which block took the step.

mod draw;
mod product;
mod together;

use tdl_ir::{Dtype, ReduceOp};

use crate::ir::*;

/// Threads of a block, at most.
pub const THREADS: usize = 256;
/// Threads that run in step: no block is smaller.
const WARP: usize = 32;
/// A step of loops up to here is done by one thread.
const SHORT: i64 = 8;
/// Bytes that the threads of a block may share on every GPU.
const SHARED: usize = 48 << 10;

/// Spreads a kernel of the host over a grid.
pub fn map(k: &mut Kernel) {
    let mut trips = Vec::new();
    vector_trips(&k.body, &mut trips);
    let steps = matches!(k.body.as_slice(), [Stmt::For(f)] if f.kind == LoopKind::Vector && f.lo == k.lo.into() && f.hi == k.hi.into());
    let short = trips.iter().all(|t| t.is_some_and(|t| t <= SHORT));
    let threads = trips.iter().map(|t| t.map_or(THREADS, |t| t as usize)).max().unwrap_or(THREADS);
    let threads = threads.next_power_of_two().clamp(WARP, THREADS);
    let room = shared_bytes(&k.body) + trips.len() * 8 * THREADS;
    if steps || short || room > SHARED {
        alone(k);
    } else {
        together::map(k, threads);
    }
}

/// Trip counts of the vector loops, where they are known.
fn vector_trips(body: &[Stmt], out: &mut Vec<Option<i64>>) {
    for s in body {
        if let Stmt::For(f) = s
            && f.kind == LoopKind::Vector
        {
            let trip = f.hi.as_i64().zip(f.lo.as_i64()).map(|(h, l)| (h - l).max(0));
            out.push(trip);
        }
        s.blocks().into_iter().for_each(|b| vector_trips(b, out));
    }
}

fn shared_bytes(body: &[Stmt]) -> usize {
    let bytes = |s: &Stmt| match s {
        Stmt::Local { dst: _, dtype, len } => dtype.size() * len,
        _ => 0,
    };
    body.iter().map(bytes).sum()
}

/// Adds registers to a kernel.
struct Regs<'k>(&'k mut Vec<RegData>);

impl Regs<'_> {
    fn reg(&mut self, ty: RegTy) -> Reg {
        self.0.push(RegData { ty, name: None });
        Reg(self.0.len() as u32 - 1)
    }

    fn named(&mut self, name: &str) -> Reg {
        self.0.push(RegData { ty: RegTy::Scalar(Dtype::I64), name: Some(name.into()) });
        Reg(self.0.len() as u32 - 1)
    }

    /// `let dst = value` of an `i64`.
    fn i64(&mut self, out: &mut Vec<Stmt>, value: Expr) -> Reg {
        let dst = self.reg(RegTy::Scalar(Dtype::I64));
        out.push(Stmt::Let { dst, value });
        dst
    }

    fn place(&mut self, out: &mut Vec<Stmt>, place: Place) -> Reg {
        let name = match place {
            Place::Thread => "thread",
            Place::Block => "block",
            Place::Blocks => "blocks",
        };
        let dst = self.named(name);
        out.push(Stmt::Let { dst, value: Expr::Place(place) });
        dst
    }
}

fn index(offset: i64, terms: &[(Reg, i64)]) -> Index {
    let term = |(reg, stride): &(Reg, i64)| Term { reg: *reg, stride: Operand::i64(*stride) };
    Index { offset, terms: terms.iter().map(term).collect() }
}

fn serial(var: Reg, lo: Operand, hi: Operand, step: Operand, body: Vec<Stmt>) -> For {
    For { var, lo, hi, step, kind: LoopKind::Serial, carried: vec![], reductions: vec![], body }
}

/// Every thread takes steps of its own.
fn alone(k: &mut Kernel) {
    let mut regs = Regs(&mut k.regs);
    let (range, mut top) = (regs.named("range"), Vec::new());
    let thread = regs.place(&mut top, Place::Thread);
    let block = regs.place(&mut top, Place::Block);
    let blocks = regs.place(&mut top, Place::Blocks);
    let threads = THREADS as i64;
    let first = regs.i64(&mut top, Expr::Index(index(0, &[(thread, 1), (block, threads)])));
    let step = regs.i64(&mut top, Expr::Index(index(0, &[(blocks, threads)])));
    let mut body = std::mem::take(&mut k.body);
    scalar_loops(&mut body);
    let (mut locals, rest): (Vec<Stmt>, Vec<Stmt>) = body.into_iter().partition(|s| matches!(s, Stmt::Local { .. }));
    let mut inner = vec![Stmt::Let { dst: k.hi, value: Expr::Index(index(1, &[(k.lo, 1)])) }];
    inner.extend(rest);
    locals.append(&mut top);
    locals.push(Stmt::For(serial(k.lo, first.into(), range.into(), step.into(), inner)));
    k.body = locals;
    k.grid = Some(Grid { range, threads: THREADS, per: Per::Thread });
}

fn scalar_loops(body: &mut [Stmt]) {
    for s in body {
        match s {
            Stmt::For(f) => {
                f.kind = LoopKind::Serial;
                scalar_loops(&mut f.body);
            }
            Stmt::If(i) => {
                scalar_loops(&mut i.then);
                scalar_loops(&mut i.els);
            }
            _ => {}
        }
    }
}

/// The elementwise operation of a reduction. `Max` and `Min` propagate NaN in both.
pub fn combine(op: ReduceOp) -> tdl_ir::BinaryOp {
    match op {
        ReduceOp::Sum => tdl_ir::BinaryOp::Add,
        ReduceOp::Prod => tdl_ir::BinaryOp::Mul,
        ReduceOp::Max => tdl_ir::BinaryOp::Max,
        ReduceOp::Min => tdl_ir::BinaryOp::Min,
        ReduceOp::Any => tdl_ir::BinaryOp::Or,
        ReduceOp::All => tdl_ir::BinaryOp::And,
    }
}
