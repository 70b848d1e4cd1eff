//! Kernels on a GPU: from loops over a part of a range to loops of one thread of a grid.
//!
//! Two ways of sharing out a range. Where each step is a loop of its own (a row to be reduced, a block of columns), a team of
//! threads takes a step and its vector loops are dealt out to the threads (`together`): a warp, if the loops are short, else a
//! block. Else every thread takes steps of its own (`alone`). In both the grid may be of any size: who is done takes the next
//! step that nobody has. Threads take as many neighbouring elements at a time as 16 bytes hold (`wide`).
//!
//! ```text
//! kernel rows(x, y, lo, hi)                   kernel rows(x, y, range)
//!   for r in lo..hi                             s = shared f32[8]
//!     vector for i in 0..n, s += x[r*n + i]  →  for r in block..range by blocks
//!     y[r] = s                                    for i in 4*thread..n by 4*256, part += x[r*n + i], …, part += x[r*n + i + 3]
//!                                                 part += shuffle(part, 1); part += shuffle(part, 2); … shuffle(part, 16)
//!                                                 if thread % 32 == 0 { s[thread / 32] = part }; barrier
//!                                                 all = s[thread % 8]; all += shuffle(all, 1); … shuffle(all, 4)
//!                                                 if thread == 0 { y[r] = all }
//! ```
//!
//! The order of a reduction is that of the code above, whether or not memory is aligned so that 4 elements can be loaded at a time: it
//! depends on extents and on the number of threads in a team, which the kernel fixes, and never on which team took the step. Both
//! threads of a shuffle compute the same sum, so all threads of a team know the result, to the bit.

mod alone;
mod cols;
mod draw;
mod product;
pub mod scan;
pub mod scatter;
mod segments;
pub mod sort;
pub mod teams;
mod together;
mod variants;
mod wide;

use tdl_ir::{Dtype, ReduceOp};

use crate::ir::*;

/// Spreads all kernels of a program over a grid, and marks what its host code may do again.
pub fn map(program: &mut Program) {
    variants::map(program);
    segments::mark(program);
}

/// Threads of a block, at most.
pub const THREADS: usize = 256;
/// Threads of a block whose warps each take steps of their own.
const WARPS: usize = 128;
/// Loops up to here are dealt out to a warp.
const WARP_LOOP: i64 = 1024;
/// A step of loops up to here is done by one thread.
const SHORT: i64 = 8;
/// Bytes that the threads of a block may share on every GPU.
const SHARED: usize = 48 << 10;

/// Are a kernel's steps the iterations of one vector loop?
fn is_elements(k: &Kernel) -> bool {
    match k.body.as_slice() {
        [Stmt::For(f)] => {
            let all = f.lo == k.lo.into() && f.hi == k.hi.into();
            f.kind == LoopKind::Vector && all && f.reductions.is_empty()
        }
        _ => false,
    }
}

/// Spreads a kernel of the host over a grid.
fn spread(k: &mut Kernel) {
    if is_elements(k) {
        let Some(Stmt::For(f)) = k.body.pop() else { return };
        return alone::elements(k, f);
    }
    let mut trips = Vec::new();
    vector_trips(&k.body, &mut trips);
    let short = trips.iter().all(|t| t.is_some_and(|t| t <= SHORT));
    let local = shared_bytes(&k.body);
    // a block leaves a value for each of its warps and reductions
    if short || local + trips.len() * 2 * 8 * THREADS / WARP > SHARED {
        return alone::map(k);
    }
    let longest = trips.iter().map(|t| t.unwrap_or(i64::MAX)).max().unwrap_or(i64::MAX);
    if local == 0 && longest <= WARP_LOOP {
        return together::map(k, together::Team { threads: WARP, block: WARPS });
    }
    let threads = (longest.min(THREADS as i64) as usize).next_power_of_two().clamp(WARP, THREADS);
    together::map(k, together::Team { threads, block: threads });
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

    fn bool(&mut self, out: &mut Vec<Stmt>, value: Expr) -> Reg {
        let dst = self.reg(RegTy::Scalar(Dtype::Bool));
        out.push(Stmt::Let { dst, value });
        dst
    }

    fn ty(&self, r: Reg) -> RegTy {
        self.0[r.0 as usize].ty
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
