//! Memory: slots that are allocated once and reused, buffers in them, and which value occupies which buffer.
//!
//! A slot is allocated outside of all loops that leave its size alone, so a repeated step allocates nothing; within its
//! scope it goes from one dead value to the next of equal size. A loop may never run, or never come to where a slot is
//! needed: there it is checked whether the memory was there. Frees are placed after the last statement that mentions the slot,
//! when its scope ends.

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::ValueId;

use crate::ir::*;
use crate::lower::Lower;
use crate::plan::{Group, Member, Part, member_leaves};
use crate::size::Size;

/// Bytes that are there, or the program fails wherever it is.
const SMALL: i64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufId(pub usize);

/// Memory that values occupy, one at a time.
#[derive(Clone, Debug)]
pub struct Buf {
    pub ptr: Reg,
    pub bytes: Size,
    /// Where it is from; `None` if somebody else owns the memory.
    pub slot: Option<(usize, usize)>,
    /// May be written.
    pub mutable: bool,
    pub occupant: Option<ValueId>,
}

#[derive(Clone, Debug)]
struct Slot {
    ptr: Reg,
    bytes: Size,
    in_use: bool,
    /// Somebody else frees it.
    escaped: bool,
    /// Other registers may hold its address: it is freed at the end of the scope.
    pinned: bool,
    /// It was asked for in front of a loop, which may never come to where it is needed.
    ahead: bool,
}

/// One open block of the tensor IR.
#[derive(Default)]
pub struct Scope {
    slots: Vec<Slot>,
    /// Its statements run repeatedly.
    pub is_loop: bool,
    /// Stacks to be freed at the end.
    pub stacks: Vec<Reg>,
}

/// What is known of the values of the block that is being lowered.
#[derive(Default)]
pub struct Block {
    pub last_read: FxHashMap<ValueId, usize>,
    /// Where a value should be written.
    pub prefer: FxHashMap<ValueId, BufId>,
    /// Stored values of this block that are not dead.
    pub alive: FxHashSet<ValueId>,
    /// Stored values that the block hands out; they never die in it.
    pub yields: FxHashSet<ValueId>,
    /// Buffers that outlive the block: destinations, and those of carried values.
    pub reserved: FxHashSet<BufId>,
}

impl Lower<'_> {
    pub fn block(&mut self) -> &mut Block {
        self.blocks.last_mut().expect("a block is open")
    }

    pub fn buf(&self, id: BufId) -> &Buf {
        &self.bufs[id.0]
    }

    pub fn new_buf(&mut self, buf: Buf) -> BufId {
        self.bufs.push(buf);
        BufId(self.bufs.len() - 1)
    }

    /// Memory owned by somebody else.
    pub fn borrowed(&mut self, ptr: Reg, bytes: Size, occupant: ValueId) -> BufId {
        let buf = Buf { ptr, bytes, slot: None, mutable: false, occupant: Some(occupant) };
        let id = self.new_buf(buf);
        self.home.insert(occupant, id);
        id
    }

    /// Memory of a size that is no product of extents, until [`Lower::end_scratch`].
    pub fn scratch(&mut self, bytes: Operand) -> BufId {
        let (ptr, site) = (self.host.reg(RegTy::Ptr), self.site());
        self.perform(Stmt::Alloc { dst: ptr, bytes, site, ahead: false });
        self.new_buf(Buf { ptr, bytes: Size::ONE, slot: None, mutable: true, occupant: None })
    }

    pub fn end_scratch(&mut self, buf: BufId) {
        let ptr = self.buf(buf).ptr;
        self.perform(Stmt::Free { ptr });
    }

    /// Memory that the runtime allocated, to be freed with the scope.
    pub fn adopted(&mut self, ptr: Reg, bytes: Size, occupant: ValueId) -> BufId {
        let depth = self.scopes.len() - 1;
        let slot = Slot { ptr, bytes: bytes.clone(), in_use: true, escaped: false, pinned: false, ahead: false };
        self.scopes[depth].slots.push(slot);
        let slot = Some((depth, self.scopes[depth].slots.len() - 1));
        let id = self.new_buf(Buf { ptr, bytes, slot, mutable: true, occupant: Some(occupant) });
        self.home.insert(occupant, id);
        id
    }

    /// A buffer of `bytes`: a free slot, or a new one as far out as its size allows.
    pub fn alloc(&mut self, bytes: &Size, occupant: Option<ValueId>) -> BufId {
        let current = self.scopes.len() - 1;
        let lowest = self.size_depth(bytes);
        let target = (lowest + 1..=current).find(|d| self.scopes[*d].is_loop).map_or(current, |d| d - 1);
        let slot = (target..=current)
            .find_map(|d| best_fit(&self.scopes[d].slots, bytes).map(|i| (d, i)))
            .unwrap_or_else(|| {
                let value = self.room(bytes);
                let ahead = target < current && bytes.as_const().is_none_or(|c| c > SMALL);
                let name = occupant.and_then(|v| self.values.graph.func.value(v).name.clone());
                let dst = self.host.named(RegTy::Ptr, name);
                let site = self.site();
                let timed = self.timed(Stmt::Alloc { dst, bytes: value, site, ahead });
                self.host.blocks[target].extend(timed);
                let slot = Slot { ptr: dst, bytes: bytes.clone(), in_use: true, escaped: false, pinned: false, ahead };
                self.scopes[target].slots.push(slot);
                (target, self.scopes[target].slots.len() - 1)
            });
        let s = &mut self.scopes[slot.0].slots[slot.1];
        s.in_use = true;
        let (ptr, ahead) = (s.ptr, s.ahead);
        if ahead {
            let (bytes, site) = (self.room(bytes), self.site());
            self.host.push(Stmt::Need { ptr, bytes, site });
        }
        let id = self.new_buf(Buf { ptr, bytes: bytes.clone(), slot: Some(slot), mutable: true, occupant });
        if let Some(v) = occupant {
            self.home.insert(v, id);
        }
        id
    }

    /// A buffer for a stored value.
    pub fn alloc_for(&mut self, v: ValueId) -> BufId {
        let bytes = self.bytes(v);
        self.alloc(&bytes, Some(v))
    }

    /// Gives a buffer's slot back.
    pub fn release(&mut self, id: BufId) {
        self.bufs[id.0].occupant = None;
        if let Some((d, i)) = self.bufs[id.0].slot
            && let Some(s) = self.scopes.get_mut(d).and_then(|s| s.slots.get_mut(i))
            && !s.pinned
            && !s.escaped
        {
            s.in_use = false;
        }
    }

    /// The slot stays reserved until its scope ends: its address is in other registers.
    pub fn pin(&mut self, id: BufId) {
        if let Some((d, i)) = self.bufs[id.0].slot {
            let s = &mut self.scopes[d].slots[i];
            s.pinned = true;
            s.in_use = true;
        }
    }

    /// Takes the memory out of the function's hands. False if it isn't its own to give.
    pub fn give_away(&mut self, id: BufId) -> bool {
        match self.bufs[id.0].slot {
            Some((d, i)) if !self.scopes[d].slots[i].pinned && !self.scopes[d].slots[i].escaped => {
                self.scopes[d].slots[i].escaped = true;
                true
            }
            Some(_) | None => false,
        }
    }

    /// A fresh allocation that no scope owns.
    pub fn alloc_unowned(&mut self, bytes: &Size) -> Reg {
        let bytes = self.room(bytes);
        let dst = self.host.reg(RegTy::Ptr);
        let site = self.site();
        self.perform(Stmt::Alloc { dst, bytes, site, ahead: false });
        dst
    }

    pub fn copy_bytes(&mut self, dst: Reg, src: Reg, bytes: &Size) {
        let bytes = self.size(bytes);
        self.perform(Stmt::CopyBytes { dst, src, bytes });
    }

    // --- who may write where

    /// Does node `n` alone read a value of the open block?
    pub fn read_by(&self, v: ValueId, n: usize) -> bool {
        let b = self.blocks.last().expect("a block is open");
        !b.yields.contains(&v) && b.last_read.get(&v) == Some(&n)
    }

    /// A stored value of the open block that nobody reads after node `n`, in memory that may be written.
    pub fn dies_at(&self, v: ValueId, n: usize) -> bool {
        let b = self.blocks.last().expect("a block is open");
        b.alive.contains(&v)
            && !b.yields.contains(&v)
            && b.last_read.get(&v).is_none_or(|l| *l <= n)
            && self.home.get(&v).is_some_and(|id| {
                let buf = self.buf(*id);
                buf.mutable && buf.occupant == Some(v)
            })
    }

    /// True if node `n` may write to `buf`, given whether it may overwrite the occupant if that dies here.
    fn writable(&self, buf: BufId, n: usize, over: impl Fn(ValueId) -> bool) -> bool {
        match self.buf(buf).occupant {
            None => true,
            Some(o) => {
                let b = self.blocks.last().expect("a block is open");
                let known = b.alive.contains(&o) && !b.yields.contains(&o);
                match b.last_read.get(&o) {
                    _ if !known => false,
                    None => true,
                    Some(l) if *l < n => true,
                    Some(l) => *l == n && over(o),
                }
            }
        }
    }

    /// Where node `n` writes `v`, if it reads nothing of what it overwrites.
    pub fn place(&mut self, v: ValueId, n: usize) -> BufId {
        if let Some(buf) = self.block().prefer.get(&v).copied()
            && self.writable(buf, n, |_| false)
        {
            return self.settle(v, buf);
        }
        self.alloc_for(v)
    }

    /// Where a group writes a member: the preferred place, or over an input that dies here and is read element by element.
    pub fn place_member(&mut self, g: &Group, m: &Member, n: usize, taken: &FxHashSet<BufId>) -> BufId {
        let v = m.value;
        let bytes = self.bytes(v);
        if let Some(buf) = self.block().prefer.get(&v).copied()
            && !taken.contains(&buf)
            && self.writable(buf, n, |o| self.may_overwrite(g, m, o))
        {
            return self.settle(v, buf);
        }
        let mut inputs: Vec<ValueId> =
            member_leaves(&self.values, g, m).into_iter().filter_map(|l| l.storage).collect();
        inputs.sort_unstable();
        inputs.dedup();
        for x in inputs {
            let Some(buf) = self.home.get(&x).copied() else { continue };
            if !self.block().reserved.contains(&buf)
                && !taken.contains(&buf)
                && self.dies_at(x, n)
                && self.buf(buf).bytes == bytes
                && self.may_overwrite(g, m, x)
            {
                return self.settle(v, buf);
            }
        }
        self.alloc(&bytes, Some(v))
    }

    /// All reads of `x` in the group are at the element that `m` writes, and no later than it.
    fn may_overwrite(&self, g: &Group, m: &Member, x: ValueId) -> bool {
        let rank = g.outer.len() + g.inner.len();
        let same = self.dtype(x).size() == self.dtype(m.value).size();
        g.members.iter().all(|other| {
            let leaves = member_leaves(&self.values, g, other);
            leaves.iter().filter(|l| l.storage == Some(x)).all(|l| {
                same && m.part == Part::Element
                    && other.part != Part::Row
                    && other.stage <= m.stage
                    && l.is_identity(rank)
                    && l.dims.iter().eq(g.outer.iter().chain(&g.inner))
            })
        })
    }

    /// `v` now lives in `buf`; what was there is dead.
    pub fn settle(&mut self, v: ValueId, buf: BufId) -> BufId {
        self.bufs[buf.0].occupant = Some(v);
        self.home.insert(v, buf);
        buf
    }

    /// After node `n`: forgets values that nobody reads any more and gives their slots back.
    pub fn bury(&mut self, n: usize) {
        let b = self.block();
        let dead: Vec<ValueId> = b
            .alive
            .iter()
            .copied()
            .filter(|v| !b.yields.contains(v) && b.last_read.get(v).is_none_or(|l| *l <= n))
            .collect();
        for v in dead {
            self.block().alive.remove(&v);
            let Some(buf) = self.home.get(&v).copied() else { continue };
            if self.buf(buf).occupant == Some(v) {
                self.bufs[buf.0].occupant = None;
                if !self.block().reserved.contains(&buf) {
                    self.release(buf);
                }
            }
        }
    }

    // --- scopes

    pub fn open_scope(&mut self, is_loop: bool) {
        self.scopes.push(Scope { is_loop, ..Scope::default() });
    }

    /// Ends the innermost scope: places its frees in the host's innermost block, which must be that scope's.
    pub fn close_scope(&mut self) {
        let scope = self.scopes.pop().expect("a scope is open");
        let last = self.host.blocks.last_mut().expect("a block is open");
        let end = last.pop_if(|s| matches!(s, Stmt::Return { .. }));
        for stack in &scope.stacks {
            let site = self.site();
            self.perform(Stmt::Runtime { call: RuntimeCall::StackFree { stack: *stack }, site });
        }
        let mut block = std::mem::take(self.host.blocks.last_mut().expect("a block is open"));
        block.extend(end);
        let mut last: FxHashMap<Reg, usize> = FxHashMap::default();
        for s in scope.slots.iter().filter(|s| !s.escaped) {
            last.insert(s.ptr, 0);
        }
        if last.is_empty() {
            self.put_block(block);
            return;
        }
        for (i, s) in block.iter().enumerate() {
            mention(s, &mut |r| {
                if let Some(at) = last.get_mut(&r) {
                    *at = i;
                }
            });
        }
        let end = block.len();
        let end = if matches!(block.last(), Some(Stmt::Return { .. })) { end - 1 } else { end };
        let mut frees: Vec<(usize, Reg)> = scope
            .slots
            .iter()
            .filter(|s| !s.escaped)
            .map(|s| {
                let mut at = last[&s.ptr] + 1;
                // what is being timed is not interrupted
                at += usize::from(matches!(block.get(at), Some(Stmt::Tock(_))));
                (if s.pinned { end } else { at.min(end) }, s.ptr)
            })
            .collect();
        frees.sort_unstable();
        let mut out = Vec::with_capacity(block.len() + frees.len());
        let mut frees = frees.into_iter().peekable();
        for (i, s) in block.into_iter().enumerate() {
            while let Some((_, ptr)) = frees.next_if(|(at, _)| *at <= i) {
                out.extend(self.timed(Stmt::Free { ptr }));
            }
            out.push(s);
        }
        for (_, ptr) in frees {
            out.extend(self.timed(Stmt::Free { ptr }));
        }
        self.put_block(out);
    }

    fn put_block(&mut self, block: Vec<Stmt>) {
        *self.host.blocks.last_mut().expect("a block is open") = block;
    }
}

/// Calls `f` on every register that a statement, its blocks included, reads or defines.
fn mention(s: &Stmt, f: &mut impl FnMut(Reg)) {
    let mut operand = |o: Operand| {
        if let Operand::Reg(r) = o {
            f(r);
        }
    };
    s.visit(&mut operand);
    s.visit_yields(&mut operand);
    s.defs().into_iter().for_each(&mut *f);
    for b in s.blocks() {
        b.iter().for_each(|s| mention(s, f));
    }
}

/// The free slot that wastes least: of equal size, or a constant one not much larger.
fn best_fit(slots: &[Slot], bytes: &Size) -> Option<usize> {
    let waste = |s: &Slot| match (s.bytes.as_const(), bytes.as_const()) {
        (Some(have), Some(want)) if have >= want && have <= want.saturating_mul(2) + 4096 => Some(have - want),
        _ if s.bytes == *bytes => Some(0),
        _ => None,
    };
    let free = slots.iter().enumerate().filter(|(_, s)| !s.in_use && !s.escaped && !s.pinned);
    free.filter_map(|(i, s)| waste(s).map(|w| (w, i))).min().map(|(_, i)| i)
}
