//! Scans along the last axis.

use tdl_ir::{BinaryOp, Dtype};

use super::{PARTS_OF_MANY, Parts, Scan};
use crate::code::Idx;
use crate::eval::BufStore;
use crate::gpu::teams::Step;
use crate::gpu::together::Team;
use crate::gpu::wide::{self, Lanes, Wide};
use crate::gpu::{Regs, THREADS};
use crate::ir::*;
use crate::lower::Lower;
use crate::size::Size;

/// So many blocks keep a GPU busy.
const BUSY: i64 = 512;
/// Elements of a part, at least.
pub(super) const PART: i64 = 4096;
/// Parts of a row, at most: a block's threads have one each.
pub(super) const PARTS: i64 = THREADS as i64;
/// Elements of a thread where they can't be loaded together.
const FEW: i64 = 4;
/// A part's length is a multiple of this: the longest tile.
pub(super) const TILE: i64 = THREADS as i64 * wide::MOST;

/// How a row's elements are loaded by a thread: `value` at `var` by `body`, as many at a time as `wide` says.
struct Neighbours {
    var: Reg,
    body: Vec<Stmt>,
    value: Operand,
    wide: Option<Wide>,
    /// They are stored together too.
    stores: bool,
}

/// What a thread has of a tile: elements from `base` on.
pub(super) struct Tile {
    pub base: Operand,
    pub end: Operand,
    /// All of them are before the end.
    whole: Operand,
    pub values: Vec<Operand>,
    /// What is before them.
    pub before: Operand,
    stores: bool,
}

impl Lower<'_> {
    pub(super) fn scan_long_rows(&mut self, s: &Scan) {
        let rows = Size::product(&s.others());
        let most = rows.as_const().map_or(PARTS_OF_MANY, |r| (BUSY / r.max(1)).clamp(1, PARTS));
        let len = self.size(&s.dims[s.axis]);
        let parts = self.cut(s, len, (PART, most, TILE), &rows);
        let block = Team { threads: THREADS, block: THREADS };
        let Some(totals) = parts.totals else { return self.scan_rows(s, block, None) };
        self.if_cut(parts, |l| l.combine_parts(s, parts, &rows));
        self.scan_rows(s, block, Some(parts));
        self.release(totals);
    }

    /// What each part has.
    pub(super) fn combine_parts(&mut self, s: &Scan, parts: Parts, rows: &Size) {
        let Some(totals) = parts.totals else { return };
        let row_count = self.size(rows);
        let range = self.host.mul(row_count, parts.count);
        self.tally_parts(range, s.combine.acc.size());
        self.launch_over("scan.parts", range, Operand::i64(1), |l, lo, hi| {
            let head = l.code().begin_loop(lo, hi, LoopKind::Serial);
            let (others, start, end, _) = l.part_of_row(s, head.var.into(), parts);
            let fold = s.fold();
            let sums = l.lanes(start, end, &mut vec![], &[fold], &mut |l, at| {
                let x = l.eval(s.x, &s.at(&others, at[0].clone()));
                vec![l.code().convert(s.dtype, fold.dtype, x)]
            });
            let to = BufStore { id: totals, dtype: s.combine.acc, dims: &[Size::ONE] };
            l.store(to, &[Idx::reg(head.var)], sums[0].0);
            l.code().end_loop(head, vec![], vec![]);
        });
    }

    /// Where part `number` of all is: the other axes' indices, its bounds, its number in its row.
    pub(super) fn part_of_row(&mut self, s: &Scan, number: Operand, p: Parts) -> (Vec<Idx>, Operand, Operand, Operand) {
        let (count, each, len) = (self.outer(p.count), self.outer(p.each), self.outer_size(&s.dims[s.axis]));
        let (row, part) = (self.code().div(number, count), self.code().rem(number, count));
        let others = self.decompose(row, &s.others());
        let start = self.code().mul(part, each);
        let end = self.code().add(start, each);
        (others, start, self.code().min(end, len), part)
    }

    pub(super) fn scan_rows(&mut self, s: &Scan, team: Team, parts: Option<Parts>) {
        let rows = self.size(&Size::product(&s.others()));
        let range = parts.map_or(rows, |p| self.host.mul(rows, p.count));
        let warps = team.threads / WARP;
        let shared = if warps > 1 { vec![(s.combine.acc, 3 * warps)] } else { vec![] };
        self.tally_along(s.x, s.result);
        self.launch_teams("scan", range, team, &shared, |l, step| {
            let (others, start, end, carry) = match parts {
                Some(p) => {
                    let (others, start, end, part) = l.part_of_row(s, step.number, p);
                    let carry = l.parts_before(s, step, team, p, part);
                    (others, start, end, carry)
                }
                None => {
                    let len = l.outer_size(&s.dims[s.axis]);
                    (l.decompose(step.number, &s.others()), Operand::i64(0), len, s.combine.none())
                }
            };
            l.over_tiles(s, step, team, &others, (start, end), carry, |l, tile| {
                let mut running = tile.before;
                let mut out = vec![running; tile.values.len()];
                for i in s.combine.order(out.len()) {
                    running = l.code().binary(s.combine.op, s.combine.acc, running, tile.values[i]);
                    out[i] = l.code().convert(s.combine.acc, s.dtype, running);
                }
                l.put_elements(s, &others, tile, &out);
            });
            if warps > 1 {
                // the next step uses the same memory
                l.code().push(Stmt::Barrier(Per::Block));
            }
        });
    }

    /// What the parts of the row before this one have: each thread takes one.
    pub(super) fn parts_before(&mut self, s: &Scan, step: &Step, team: Team, p: Parts, part: Operand) -> Operand {
        let Some(totals) = p.totals else { return s.combine.none() };
        let count = self.outer(p.count);
        let ok = match s.combine.reverse {
            false => self.below(step.lane, part),
            true => {
                let (after, inside) = (self.below(part, step.lane), self.below(step.lane, count));
                self.both(after, inside)
            }
        };
        let [mine] = self.either(
            [s.combine.acc],
            ok,
            |l| {
                let first = l.code().binary(BinaryOp::Sub, Dtype::I64, step.number, part);
                let at = l.code().add(first, step.lane);
                [l.load_at(totals, s.combine.acc, &[Size::ONE], &[Idx::operand(at)])]
            },
            |_| [s.combine.none()],
        );
        let (_, all) = self.before(&s.combine, step, team, mine, Operand::i64(2));
        all
    }

    /// Goes over a part of a row, tile by tile; `body` gets what a thread has in one.
    pub(super) fn over_tiles(
        &mut self,
        s: &Scan,
        step: &Step,
        team: Team,
        others: &[Idx],
        (start, end): (Operand, Operand),
        carry: Operand,
        body: impl FnOnce(&mut Self, &Tile),
    ) {
        let neighbours = self.neighbours(s, others);
        let width = neighbours.wide.as_ref().map_or(FEW, |w| w.width);
        let mut aligned = Operand::bool(true);
        if let Some(w) = &neighbours.wide {
            let mut out = Vec::new();
            let c = self.code();
            aligned = w.check(&mut Regs(&mut c.regs), &mut out);
            out.into_iter().for_each(|s| c.push(s));
        }
        let tile = team.threads as i64 * width;
        let c = self.code();
        let len = c.binary(BinaryOp::Sub, Dtype::I64, end, start);
        let up = c.add(len, Operand::i64(tile - 1));
        let tiles = c.div(up, Operand::i64(tile));
        let (param, result) = (c.reg(RegTy::Scalar(s.combine.acc)), c.reg(RegTy::Scalar(s.combine.acc)));
        let head = c.begin_loop(Operand::i64(0), tiles, LoopKind::Serial);
        let turn = c.rem(head.var.into(), Operand::i64(2));
        let mut number: Operand = head.var.into();
        if s.combine.reverse {
            let last = c.add(tiles, Operand::i64(-1));
            number = c.binary(BinaryOp::Sub, Dtype::I64, last, number);
        }
        let (number, mine) = (c.mul(number, Operand::i64(tile)), c.mul(step.lane, Operand::i64(width)));
        let base = c.add(start, number);
        let base = c.add(base, mine);
        let last = c.add(base, Operand::i64(width));
        let op = tdl_ir::CompareOp::Le;
        let whole = c.scalar(Dtype::Bool, Expr::Compare { op, dtype: Dtype::I64, a: last, b: end });
        let whole = self.both(whole, aligned);
        let values = self.elements(s, others, &neighbours, (base, end, width), whole);

        let order: Vec<usize> = s.combine.order(values.len()).collect();
        let mut mine = values[order[0]];
        for i in &order[1..] {
            mine = self.code().binary(s.combine.op, s.combine.acc, mine, values[*i]);
        }
        let (before, all) = self.before(&s.combine, step, team, mine, turn);
        let before = self.code().binary(s.combine.op, s.combine.acc, param.into(), before);
        let stores = neighbours.stores;
        body(self, &Tile { base, end, whole, values, before, stores });
        let next = self.code().binary(s.combine.op, s.combine.acc, param.into(), all);
        self.code().end_loop(head, vec![Carried { param, init: carry, next, result }], vec![]);
    }

    /// How the elements of a row are loaded.
    fn neighbours(&mut self, s: &Scan, others: &[Idx]) -> Neighbours {
        let var = self.code().i64();
        self.code().begin();
        let idx = s.at(others, Idx::reg(var));
        let x = self.eval(s.x, &idx);
        let value = self.code().convert(s.dtype, s.combine.acc, x);
        let len = self.code().blocks.last().map_or(0, Vec::len);
        if let Some(id) = s.to {
            self.store(BufStore { id, dtype: s.dtype, dims: &s.dims }, &idx, x);
        }
        let mut body = self.code().end();
        let wide = wide::plan(&body, var, Operand::i64(0));
        let stores = match (&wide, body.last()) {
            (Some(w), Some(Stmt::Store { index, .. })) if body.len() > len => w.contiguous(index),
            _ => false,
        };
        body.truncate(len);
        Neighbours { var, body, value, wide, stores }
    }

    /// A thread's elements from `base` on; outside, those that change nothing.
    fn elements(
        &mut self,
        s: &Scan,
        others: &[Idx],
        n: &Neighbours,
        (base, end, width): (Operand, Operand, i64),
        whole: Operand,
    ) -> Vec<Operand> {
        let one = |l: &mut Self, at: Operand| {
            let x = l.eval(s.x, &s.at(others, Idx::operand(at)));
            l.code().convert(s.dtype, s.combine.acc, x)
        };
        self.code().begin();
        let all: Vec<Operand> = match (&n.wide, base) {
            (Some(w), Operand::Reg(base)) => {
                let (c, mut out) = (self.code(), Vec::new());
                let lanes: Lanes = w.unroll(&mut Regs(&mut c.regs), &mut out, &n.body, n.var, base);
                out.into_iter().for_each(|s| c.push(s));
                (0..width as usize).map(|k| lanes.of(k, n.value)).collect()
            }
            _ => (0..width)
                .map(|k| {
                    let at = self.code().add(base, Operand::i64(k));
                    one(self, at)
                })
                .collect(),
        };
        let then = self.code().end();
        self.code().begin();
        let single: Vec<Operand> = (0..width)
            .map(|k| {
                let at = self.code().add(base, Operand::i64(k));
                let ok = self.below(at, end);
                self.either([s.combine.acc], ok, |l| [one(l, at)], |_| [s.combine.none()])[0]
            })
            .collect();
        let els = self.code().end();
        let regs: Vec<Reg> = all.iter().map(|_| self.code().reg(RegTy::Scalar(s.combine.acc))).collect();
        let results = (0..regs.len()).map(|k| IfResult { result: regs[k], then: all[k], els: single[k] }).collect();
        self.code().push(Stmt::If(If { cond: whole, then, els, results }));
        regs.into_iter().map(Operand::from).collect()
    }

    fn put_elements(&mut self, s: &Scan, others: &[Idx], tile: &Tile, values: &[Operand]) {
        let (Some(id), &Tile { base, end, whole, stores, .. }) = (s.to, tile) else { return };
        let put = |l: &mut Self, k: usize, at: Operand| {
            let to = BufStore { id, dtype: s.dtype, dims: &s.dims };
            l.store(to, &s.at(others, Idx::operand(at)), values[k]);
        };
        self.code().begin();
        if stores {
            put(self, 0, base);
            // the same place, for as many as are stored at a time
            if let Some(Stmt::Store { ptr, dtype, index, .. }) = self.code().blocks.last_mut().and_then(Vec::pop) {
                let most = WIDE / dtype.size();
                for (q, values) in values.chunks(most).enumerate() {
                    let mut index = index.clone();
                    index.offset += (q * most) as i64;
                    self.code().push(Device::Store { ptr, dtype, index, values: values.to_vec() }.into());
                }
            }
        } else {
            for k in 0..values.len() {
                let at = self.code().add(base, Operand::i64(k as i64));
                put(self, k, at);
            }
        }
        let then = self.code().end();
        self.code().begin();
        for k in 0..values.len() {
            let at = self.code().add(base, Operand::i64(k as i64));
            let ok = self.below(at, end);
            self.when(ok, |l| put(l, k, at));
        }
        let els = self.code().end();
        self.code().push(Stmt::If(If { cond: whole, then, els, results: vec![] }));
    }
}
