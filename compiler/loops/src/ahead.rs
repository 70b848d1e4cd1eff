//! Reading ahead: what a kernel will touch of a large tensor is asked for some time before, so that it has come when it is needed.
//!
//! The processor guesses what comes next, but not far enough ahead, least of all what is written. A pass over memory goes in
//! blocks, and each begins by asking for another one. Where a kernel reads a row several times, its last pass asks for
//! the next row: the others find theirs in the cache.

use rustc_hash::FxHashSet;
use tdl_ir::ValueId;

use crate::buffers::BufId;
use crate::ir::*;
use crate::lower::Lower;
use crate::plan::{Group, GroupKind, Member, Part, member_leaves};
use crate::size::Size;
use crate::values::Leaf;

/// Bytes from which on a kernel finds little of what it touches in the nearer caches.
const NEAR: i64 = 12 << 20;
/// Bytes of a tensor that is not worth the trouble.
const SMALL: i64 = 64 << 10;
/// How far ahead, in bytes.
const DISTANCE: i64 = 2 << 10;
/// Bytes of a row that the next one fits beside in the nearest cache.
const ROW: i64 = 16 << 10;
/// Bytes that are asked for at once.
const LINE: usize = 64;

/// A tensor that the open pass asks for ahead, and how far, in bytes.
pub struct Ahead {
    buf: BufId,
    distance: i64,
}

impl Lower<'_> {
    /// What `pass` asks for ahead, one of the passes of `g`.
    pub fn look_ahead(&mut self, g: &Group, pass: &[&Member], leaves: &[Leaf]) {
        self.ahead.clear();
        if self.on_gpu() || g.kind == GroupKind::Cols || self.traffic(g, leaves) <= NEAR {
            return;
        }
        let here = pass.first().map_or(0, |m| m.stage);
        let mut wanted = Vec::new();
        for v in self.far_reads(g, pass) {
            let others = g.members.iter().filter(|m| m.stage != here && self.far_reads(g, &[m]).contains(&v));
            let passes: Vec<usize> = others.map(|m| m.stage).collect();
            if passes.iter().any(|s| *s > here) {
                continue;
            }
            let row = Size::product(&g.inner).scale(self.dtype(v).size() as i64).as_const();
            let distance = row.filter(|r| !passes.is_empty() && *r <= ROW).unwrap_or(DISTANCE);
            wanted.push(Ahead { buf: self.home[&v], distance });
        }
        let written = pass.iter().filter(|m| m.store && m.part == Part::Element && self.is_far(m.value));
        wanted.extend(written.map(|m| Ahead { buf: self.home[&m.value], distance: DISTANCE }));
        wanted.retain(|a| self.rows.iter().all(|r| r.buf != a.buf));
        self.ahead = wanted;
    }

    /// Bytes that a group touches: of each tensor an element for one of the space at most.
    fn traffic(&self, g: &Group, leaves: &[Leaf]) -> i64 {
        let tensors: FxHashSet<ValueId> = leaves.iter().filter_map(|l| l.storage).collect();
        let space = Size::product(&g.outer).mul(&Size::product(&g.inner)).as_const().unwrap_or(i64::MAX);
        let touched =
            |v: ValueId| Some(self.bytes(v).as_const()?.min(space.saturating_mul(self.dtype(v).size() as i64)));
        tensors.iter().filter_map(|v| touched(*v)).fold(0, i64::saturating_add)
    }

    fn is_far(&self, v: ValueId) -> bool {
        self.home.contains_key(&v) && self.bytes(v).as_const().is_some_and(|b| b > SMALL)
    }

    /// Tensors in far memory that members read.
    fn far_reads(&self, g: &Group, members: &[&Member]) -> Vec<ValueId> {
        let mut found = Vec::new();
        for leaf in members.iter().flat_map(|m| member_leaves(&self.values, g, m)) {
            if let Some(v) = leaf.storage.filter(|v| self.is_far(*v) && !found.contains(v)) {
                found.push(v);
            }
        }
        found
    }

    /// The vector loop over `var`, which is the last statement and begins at `lo`, asks for what a later one touches.
    pub fn fetch_ahead(&mut self, var: Reg, lo: Operand) {
        let Some(k) = self.kernel.as_ref().filter(|_| !self.ahead.is_empty()) else { return };
        let from: Vec<(Reg, i64)> = self.ahead.iter().filter_map(|a| Some((k.known(a.buf)?, a.distance))).collect();
        let Some(Stmt::For(l)) = self.code().blocks.last_mut().and_then(Vec::pop) else { return };
        let inside: Vec<Reg> = l.body.iter().flat_map(Stmt::defs).collect();
        let trip = match (lo.as_i64(), l.hi.as_i64()) {
            (Some(a), Some(b)) => b - a,
            _ => self.step,
        };
        let mut asked: Vec<Stmt> = Vec::new();
        // first what is written: it need not be asked for again to be read
        for write in [true, false] {
            for s in &l.body {
                let (ptr, dtype, index) = match s {
                    Stmt::Store { ptr, dtype, index, .. } if write => (*ptr, *dtype, index),
                    Stmt::Let { value: Expr::Load { ptr, dtype, index }, .. } if !write => (*ptr, *dtype, index),
                    _ => continue,
                };
                let Some((_, distance)) = from.iter().find(|(p, _)| *p == ptr) else { continue };
                let Some(mut index) = block_start(index, var, lo, &inside) else { continue };
                index.offset += distance / dtype.size() as i64;
                let near = |s: &Stmt| match s {
                    Stmt::Prefetch { ptr: p, index: i, .. } => {
                        *p == ptr && i.terms == index.terms && (i.offset - index.offset).abs() < trip
                    }
                    _ => false,
                };
                if !asked.iter().any(near) {
                    let lines = (trip.max(0) as usize * dtype.size()).div_ceil(LINE);
                    asked.push(Stmt::Prefetch { ptr, dtype, index, lines, write });
                }
            }
        }
        asked.push(Stmt::For(l));
        self.code().blocks.last_mut().expect("a block is open").extend(asked);
    }
}

/// Where a vector loop over `var` that begins at `lo` first touches what it goes through element by element.
fn block_start(index: &Index, var: Reg, lo: Operand, inside: &[Reg]) -> Option<Index> {
    let (along, rest): (Vec<Term>, Vec<Term>) = index.terms.iter().partition(|t| t.reg == var);
    let contiguous = matches!(along.as_slice(), [t] if t.stride.as_i64() == Some(1));
    if !contiguous || rest.iter().any(|t| inside.contains(&t.reg)) {
        return None;
    }
    let mut start = Index { offset: index.offset, terms: rest };
    match lo {
        Operand::Reg(reg) => start.terms.push(Term { reg, stride: Operand::i64(1) }),
        Operand::Const(..) => start.offset += lo.as_i64().unwrap_or(0),
    }
    Some(start)
}
