//! Carried tensors of which each iteration writes one slot: tapes of derivatives, results collected by a loop.
//!
//! What goes into the slot is computed there, without a copy; and where the iterations write all slots, what was there
//! before the loop is not needed.

use tdl_ir::{BinaryOp, Block as IrBlock, Inst, Op, Scalar, Update, ValueId};

use crate::buffers::{Block, Buf, BufId};
use crate::code::Idx;
use crate::ir::*;
use crate::lower::Lower;
use crate::size::{Size, dense_strides};
use crate::values::{Role, Start, Values};

/// What the new values of a region do to the old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Set,
    Add,
    /// The old ones are zeros that nobody has written; `-0` becomes `0`.
    AddToZero,
}

/// The update by which a loop's body makes its next value of a carried tensor, if nothing else in it reads that.
fn slot_update<'a>(values: &Values<'a>, result: ValueId) -> Option<&'a Inst> {
    let (inst, _) = values.graph.inst(result)?;
    let Op::UpdateSlice { steps, mode: _ } = &inst.op else { return None };
    let param = inst.args[0];
    let carried = values.graph.inst(param).is_none() && values.graph.depth(param) == values.graph.depth(result);
    let alone = values.graph.uses(param) == 1 && values.graph.uses(result) == 1;
    (carried && alone && steps.iter().all(|s| *s == 1)).then_some(inst)
}

/// Whether the axes from `from` on are written whole.
fn whole(values: &Values<'_>, inst: &Inst, from: usize) -> bool {
    let (dims, region) = (values.sizes(inst.args[0]), values.sizes(inst.args[1]));
    (from..dims.len()).all(|i| region[i] == dims[i] && values.start(inst.args[2 + i]) == Start::Const(0))
}

/// True if the iterations of a `for` write every element of its `k`-th carried tensor once and need none of what it was, or
/// add to zeros.
pub fn covered(values: &Values<'_>, inst: &Inst, k: usize) -> bool {
    let region = &inst.regions[0];
    let Some(update) = slot_update(values, region.results[k]) else { return false };
    let adds = matches!(update.op, Op::UpdateSlice { mode: Update::Add, .. });
    if update.args[0] != region.params[k + 1] || adds && !zeros(values, inst.args[k + 1]) {
        return false;
    }
    let (dims, slot) = (values.sizes(update.args[0]), values.sizes(update.args[1]));
    let trips = values.graph.value_size(inst.args[0]);
    dims[0] == trips
        && slot[0].is(1)
        && whole(values, update, 1)
        && each_once(values, update.args[2], region.params[0], &trips)
}

fn zeros(values: &Values<'_>, v: ValueId) -> bool {
    match values.graph.inst(v) {
        Some((inst, _)) if matches!(inst.op, Op::Expand { .. } | Op::Reshape) => zeros(values, inst.args[0]),
        Some((inst, _)) => matches!(inst.op, Op::Const(Scalar::Float(0) | Scalar::Int(0) | Scalar::Bool(false))),
        None => false,
    }
}

/// `var` or `trips - 1 - var`.
fn each_once(values: &Values<'_>, start: ValueId, var: ValueId, trips: &Size) -> bool {
    if start == var {
        return true;
    }
    let constant = |v: ValueId| match values.graph.op(v) {
        Some(Op::Const(Scalar::Int(c))) => Some(*c),
        _ => None,
    };
    match values.graph.inst(start) {
        Some((inst, _)) if inst.op == Op::Binary(BinaryOp::Sub) => {
            inst.args[1] == var && trips.as_const().is_some_and(|t| constant(inst.args[0]) == Some(t - 1))
        }
        _ => false,
    }
}

impl Lower<'_> {
    /// Before a body is lowered: what it writes into slots of its destinations is to be computed there.
    pub fn prefer_slots(&mut self, block: &IrBlock, dests: &[Option<BufId>], ctx: &mut Block) {
        for (y, dest) in block.results.iter().zip(dests) {
            let Some(tape) = *dest else { continue };
            let Some(inst) = slot_update(&self.values, *y) else { continue };
            let mode = self.write_mode(inst);
            if mode == Write::Add || self.home.get(&inst.args[0]) != Some(&tape) {
                continue;
            }
            let Some(s) = self.values.storage(inst.args[1]) else { continue };
            // what is stored element by element can be added to zero on the way
            let stored = self.values.graph.op(s).is_some_and(|op| {
                matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Convert | Op::Concat { .. })
            });
            if mode == Write::AddToZero && !stored {
                continue;
            }
            let depth = self.values.graph.depth(*y);
            let here = self.values.graph.depth(s) == depth
                && self.values.graph.op(s).is_some_and(|op| !matches!(op, Op::If | Op::For | Op::While));
            let (dims, slot) = (self.sizes_of(*y), self.sizes_of(inst.args[1]));
            let first = slot.iter().position(|e| !e.is(1)).unwrap_or(slot.len() - 1);
            let starts = &inst.args[2..];
            if !here
                || self.home.contains_key(&s)
                || ctx.prefer.contains_key(&s)
                || !whole(&self.values, inst, first + 1)
                || !starts.iter().all(|v| self.ready(*v, depth))
            {
                continue;
            }
            let mut at = Idx::ZERO;
            for (start, stride) in starts.iter().zip(dense_strides(&dims)).take(first + 1) {
                at = at.add(&Idx::operand(self.scalar(*start)).scale(&stride));
            }
            let index = self.index(&at);
            let (ptr, dtype) = (self.buf(tape).ptr, self.dtype(*y));
            let dst = self.host.reg(RegTy::Ptr);
            self.host.push(Stmt::Let { dst, value: Expr::Offset { ptr, dtype, index } });
            let bytes = self.bytes(s);
            let view = self.new_buf(Buf { ptr: dst, bytes, slot: None, mutable: false, occupant: None });
            ctx.prefer.insert(s, view);
            ctx.reserved.insert(view);
            self.slots.insert(view, tape);
            if mode == Write::AddToZero {
                self.added.insert(view);
            }
        }
    }

    /// What an update does to its slot.
    pub fn write_mode(&self, inst: &Inst) -> Write {
        match inst.op {
            Op::UpdateSlice { mode: Update::Add, .. } if self.written_once.contains(&inst.results[0]) => {
                Write::AddToZero
            }
            Op::UpdateSlice { mode: Update::Add, .. } => Write::Add,
            _ => Write::Set,
        }
    }

    /// Known when a block at `depth` begins.
    fn ready(&self, v: ValueId, depth: usize) -> bool {
        match self.values.graph.inst(v) {
            _ if self.values.graph.depth(v) < depth => true,
            None => true,
            Some((inst, _)) => self.values.role(v) == Role::Lazy && inst.args.iter().all(|a| self.ready(*a, depth)),
        }
    }

    /// True if `u` has been computed in its slot of `tape`.
    pub fn in_slot(&self, u: ValueId, tape: BufId) -> bool {
        let home = self.values.storage(u).and_then(|s| self.home.get(&s));
        home.is_some_and(|view| self.slots.get(view) == Some(&tape))
    }
}
