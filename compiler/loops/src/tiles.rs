//! Elementwise spaces that are written along one axis and read along another (`x.T + y`): in square tiles, with what is
//! read across copied row by row into a tile of its own, so that each line of memory is touched once.

use tdl_ir::{BinaryOp, Dtype};

use crate::buffers::BufId;
use crate::code::Idx;
use crate::ir::*;
use crate::kernel::Work;
use crate::lower::Lower;
use crate::nest::{Run, extents, place_runs};
use crate::size::Size;
use crate::values::{Ax, Leaf};

/// Rows and columns of a tile.
const TILE: i64 = 64;
/// Elements from row to row of a copied tile: a power of two would put a column into few sets of the cache.
const PITCH: i64 = TILE + 1;
/// Copies that stay in the first-level cache.
const COPIES: usize = 2;

/// The tile that is being written.
pub struct Tile {
    row: Reg,
    col: Reg,
    copies: Vec<TileCopy>,
    /// Registers from here on are defined inside the tile's loops.
    first: u32,
}

struct TileCopy {
    buf: BufId,
    dtype: Dtype,
    /// Where element (0, 0) stands, and the distance from one column of the tile to the next.
    base: Idx,
    stride: Size,
    local: Reg,
}

/// The run along which something is contiguous that is not so along the last one, if both are long.
pub fn crossing(runs: &[Run], leaves: &[Leaf]) -> Option<usize> {
    let (last, outer) = runs.split_last()?;
    let long = |r: &Run| r.extent.as_const().is_none_or(|e| e >= 16);
    if !long(last) {
        return None;
    }
    outer.iter().position(|r| {
        let (inner, across) = (r.axes.last(), last.axes.last());
        let axis = |a: &Ax| match a {
            Ax::Axis(i) => Some(*i),
            Ax::Zero | Ax::Shift { .. } | Ax::Mixed(_) => None,
        };
        long(r)
            && leaves.iter().any(|l| {
                l.ax.last().and_then(axis).as_ref() == inner && l.ax.iter().any(|a| axis(a).as_ref() == across)
            })
    })
}

impl<'l> Lower<'l> {
    /// A kernel over all runs in tiles of `runs[across]` and the last run.
    pub fn tiled(
        &mut self,
        runs: &[Run],
        across: usize,
        rank: usize,
        cost: i64,
        body: &mut dyn FnMut(&mut Self, &[Idx]),
    ) {
        let (rows, cols) = (&runs[across], runs.last().expect("two runs"));
        let others: Vec<Run> = runs
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != across && *i + 1 != runs.len())
            .map(|(_, r)| r.clone())
            .collect();
        let other_extents = extents(&others);
        let count = |l: &mut Self, extent: &Size| {
            let n = l.size(extent);
            let up = l.host.add(n, Operand::i64(TILE - 1));
            l.host.div(up, Operand::i64(TILE))
        };
        let (down, right) = (count(self, &rows.extent), count(self, &cols.extent));
        let n = self.size(&Size::product(&other_extents));
        let n = self.host.mul(n, down);
        let range = self.host.mul(n, right);
        let grain = self.grain(&Work { elements: Size::constant(TILE * TILE), cost });
        self.launch_over("tiles", range, grain, |l, lo, hi| {
            let step = l.code().begin_loop(lo, hi, LoopKind::Serial);
            let (down, right) = (l.outer(down), l.outer(right));
            let col_tile = l.code().rem(step.var.into(), right);
            let rest = l.code().div(step.var.into(), right);
            let row_tile = l.code().rem(rest, down);
            let rest = l.code().div(rest, down);
            let at = l.decompose(rest, &other_extents);
            let (row0, height) = l.tile_bounds(row_tile, &rows.extent);
            let (col0, width) = l.tile_bounds(col_tile, &cols.extent);
            let first = l.code().regs.len() as u32;
            let row = l.code().begin_loop(Operand::i64(0), height, LoopKind::Serial);
            let col = l.code().begin_loop(Operand::i64(0), width, LoopKind::Vector);
            l.tile = Some(Tile { row: row.var, col: col.var, copies: Vec::new(), first });
            let mut idx = vec![Idx::ZERO; rank];
            place_runs(&mut idx, &others, &at);
            let (i, j) = (Idx::operand(row0).add(&Idx::reg(row.var)), Idx::operand(col0).add(&Idx::reg(col.var)));
            place_runs(&mut idx, &[rows.clone(), cols.clone()], &[i, j]);
            l.enter_streams(col.var, Operand::i64(0));
            body(l, &idx);
            let tile = l.tile.take().expect("the tile is open");
            l.code().end_loop(col, vec![], vec![]);
            l.leave_streams(width);
            l.code().end_loop(row, vec![], vec![]);
            let block = l.code().blocks.last_mut().expect("a block is open");
            let compute = block.pop().expect("the tile's loops");
            for copy in &tile.copies {
                l.copy_tile(copy, height, width);
            }
            l.code().push(compute);
            l.code().end_loop(step, vec![], vec![]);
        });
    }

    /// First index and length of a tile along an axis.
    fn tile_bounds(&mut self, tile: Operand, extent: &Size) -> (Operand, Operand) {
        let extent = self.outer_size(extent);
        let start = self.code().mul(tile, Operand::i64(TILE));
        let rest = self.code().binary(BinaryOp::Sub, Dtype::I64, extent, start);
        (start, self.code().min(rest, Operand::i64(TILE)))
    }

    /// Fills a copy: what the tile reads down its columns is contiguous along its rows.
    fn copy_tile(&mut self, copy: &TileCopy, height: Operand, width: Operand) {
        let col = self.code().begin_loop(Operand::i64(0), width, LoopKind::Serial);
        let row = self.code().begin_loop(Operand::i64(0), height, LoopKind::Vector);
        let from = copy.base.add(&Idx::reg(row.var)).add(&Idx::reg(col.var).scale(&copy.stride));
        let ptr = self.pointer(copy.buf, Access::Read);
        let index = self.index(&from);
        let value = self.code().scalar(copy.dtype, Expr::Load { ptr, dtype: copy.dtype, index });
        let index = tile_index(row.var, col.var);
        self.code().push(Stmt::Store { ptr: copy.local, dtype: copy.dtype, index, value });
        self.code().end_loop(row, vec![], vec![]);
        self.code().end_loop(col, vec![], vec![]);
    }

    /// An element of `buf` at `at` from a copy, if it is one that the open tile reads across.
    pub fn load_from_tile(&mut self, buf: BufId, dtype: Dtype, at: &Idx) -> Option<Operand> {
        let tile = self.tile.as_mut()?;
        let stride_of = |r: Reg| {
            let mut found = at.terms.iter().filter(|(q, _)| *q == Some(r)).map(|(_, s)| s.clone());
            found.next().filter(|_| found.next().is_none())
        };
        let stride = stride_of(tile.col)?;
        if stride.is(1) || !stride_of(tile.row)?.is(1) {
            return None;
        }
        let base: Vec<_> =
            at.terms.iter().filter(|(r, _)| *r != Some(tile.row) && *r != Some(tile.col)).cloned().collect();
        if base.iter().any(|(r, _)| r.is_some_and(|r| r.0 >= tile.first)) {
            return None;
        }
        let base = Idx { terms: base };
        let (row, col) = (tile.row, tile.col);
        let known = tile.copies.iter().find(|c| c.buf == buf && c.base == base && c.stride == stride);
        let local = match known {
            Some(c) => c.local,
            None if tile.copies.len() == COPIES => return None,
            None => {
                let local = self.code().reg(RegTy::Ptr);
                let room = Stmt::Local { dst: local, dtype, len: (TILE * PITCH) as usize };
                self.code().blocks[0].push(room);
                self.tile.as_mut()?.copies.push(TileCopy { buf, dtype, base, stride, local });
                local
            }
        };
        let index = tile_index(row, col);
        Some(self.code().scalar(dtype, Expr::Load { ptr: local, dtype, index }))
    }
}

fn tile_index(row: Reg, col: Reg) -> Index {
    let terms = vec![Term { reg: col, stride: Operand::i64(PITCH) }, Term { reg: row, stride: Operand::i64(1) }];
    Index { offset: 0, terms }
}
