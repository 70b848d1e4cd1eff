//! Results too large for the caches: computed a block at a time in scratch, and written from there past the caches.
//!
//! An ordinary store reads a line of memory before it overwrites it; where nothing will find the line in a cache again,
//! that reading is a third of a copy's traffic.

use tdl_ir::Dtype;

use crate::buffers::BufId;
use crate::code::Idx;
use crate::ir::*;
use crate::lower::Lower;
use crate::nest::{BLOCK, WHOLE_BLOCK};
use crate::plan::{Group, GroupKind, Member, Part};
use crate::size::Size;
use crate::values::Leaf;

/// Bytes from which a result is written past the caches.
const LARGE: i64 = 32 << 20;
/// Bytes of a row that may wait in scratch.
const ROW: i64 = 32 << 10;

/// A result that is being written past the caches.
pub struct Stream {
    buf: BufId,
    dtype: Dtype,
    /// Scratch for a block; there once the kernel is open.
    local: Option<Reg>,
    /// The vector loop that is open, and where it begins.
    at: Option<(Reg, Operand)>,
    /// Where the loop's first element goes.
    to: Option<Idx>,
}

/// A row of scratch in place of a tensor: `outer` axes do not count.
pub struct RowScratch {
    pub buf: BufId,
    pub outer: usize,
    dtype: Dtype,
    len: usize,
    pub local: Option<Reg>,
}

impl Lower<'_> {
    /// Decides how a member of a group is written to `buf`; what waits in its row until then may need another place.
    pub fn stream_member(&mut self, g: &Group, m: &Member, waits: Option<&Member>, buf: BufId, leaves: &[Leaf]) {
        if self.on_gpu() {
            return;
        }
        let large = self.bytes(m.value).as_const().is_some_and(|b| b >= LARGE);
        let read = leaves
            .iter()
            .filter_map(|l| l.storage)
            .any(|s| s != m.value && waits.is_none_or(|w| w.value != s) && self.home.get(&s) == Some(&buf));
        if !large || read || m.part != Part::Element || g.kind == GroupKind::Cols || g.outer.is_empty() {
            return;
        }
        if let Some(w) = waits {
            let dtype = self.dtype(w.value);
            let row = Size::product(&g.inner).scale(dtype.size() as i64).as_const();
            let Some(row) = row.filter(|r| *r <= ROW) else { return };
            let scratch = self.new_buf(crate::buffers::Buf { slot: None, mutable: false, ..self.buf(buf).clone() });
            self.home.insert(w.value, scratch);
            let len = row as usize / dtype.size();
            self.rows.push(RowScratch { buf: scratch, outer: g.outer.len(), dtype, len, local: None });
        }
        self.streams.push(Stream { buf, dtype: self.dtype(m.value), local: None, at: None, to: None });
    }

    /// Gives the streams and rows of a kernel their scratch.
    pub fn open_scratch(&mut self) {
        let Some(k) = &mut self.kernel else { return };
        let code = &mut k.code;
        let mut local = |dtype, len| {
            let dst = code.reg(RegTy::Ptr);
            code.blocks[0].push(Stmt::Local { dst, dtype, len });
            Some(dst)
        };
        for s in &mut self.streams {
            s.local = local(s.dtype, BLOCK as usize);
        }
        for r in &mut self.rows {
            r.local = local(r.dtype, r.len);
        }
    }

    /// A vector loop begins.
    pub fn enter_streams(&mut self, var: Reg, lo: Operand) {
        for s in self.streams.iter_mut().filter(|s| s.local.is_some()) {
            s.at = Some((var, lo));
        }
    }

    /// A vector loop has ended: its blocks go to memory.
    pub fn leave_streams(&mut self, hi: Operand) {
        for k in 0..self.streams.len() {
            let Some((_, lo)) = self.streams[k].at.take() else { continue };
            let Some(to) = self.streams[k].to.take() else { continue };
            let (buf, dtype) = (self.streams[k].buf, self.streams[k].dtype);
            let Some(src) = self.streams[k].local else { continue };
            let to = to.add(&Idx::operand(lo));
            let len = match (lo.as_i64(), hi.as_i64()) {
                (Some(0), _) => hi,
                (Some(a), Some(b)) => Operand::i64(b - a),
                _ if self.step == WHOLE_BLOCK => Operand::i64(WHOLE_BLOCK),
                _ => self.code().binary(tdl_ir::BinaryOp::Sub, Dtype::I64, hi, lo),
            };
            let dst = self.pointer(buf, Access::Write);
            let index = self.index(&to);
            self.code().push(Stmt::Stream { dst, dtype, index, src, len });
        }
    }

    /// Stores to the scratch of a stream, if `buf` at `at` is in the open block of one.
    pub fn store_to_stream(&mut self, buf: BufId, at: &Idx, value: Operand) -> bool {
        let Some(s) = self.streams.iter_mut().find(|s| s.buf == buf) else { return false };
        let (Some((var, lo)), Some(ptr)) = (s.at, s.local) else { return false };
        let along: Vec<_> = at.terms.iter().filter(|(r, _)| *r == Some(var)).collect();
        if !matches!(along.as_slice(), [(_, stride)] if stride.is(1)) {
            return false;
        }
        let terms = at.terms.iter().filter(|(r, _)| *r != Some(var)).cloned().collect();
        s.to = Some(Idx { terms });
        let dtype = s.dtype;
        let mut index = Index { offset: 0, terms: vec![Term { reg: var, stride: Operand::i64(1) }] };
        match lo {
            Operand::Reg(reg) => index.terms.push(Term { reg, stride: Operand::i64(-1) }),
            Operand::Const(..) => index.offset = -lo.as_i64().unwrap_or(0),
        }
        self.code().push(Stmt::Store { ptr, dtype, index, value });
        true
    }

    /// Axes of a buffer's tensor that its memory does not have.
    pub fn outer_axes(&self, buf: BufId) -> usize {
        self.rows.iter().find(|r| r.buf == buf).map_or(0, |r| r.outer)
    }
}
