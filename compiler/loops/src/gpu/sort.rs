//! Stable sorting of rows, NaN last, in the order that the host's sort gives (`runtime/src/sort.rs`).
//!
//! Elements become unsigned keys that order as they do. A block sorts a tile of a row in shared memory by a bitonic network, which
//! compares keys and then places, so equal elements keep their order. Longer rows are tiles that are merged pair by pair: each
//! element finds by bisection how many of the other run come before it, so every thread has the same work, and no thread waits for another.

use tdl_ir::{BinaryOp, CompareOp, Dtype, Scalar, UnaryOp};

use super::teams::Step;
use super::together::Team;
use super::{THREADS, WARPS, index};
use crate::buffers::BufId;
use crate::code::{Code, Idx};
use crate::eval::BufStore;
use crate::ir::*;
use crate::lower::Lower;
use crate::size::Size;

/// Elements of a tile, at most.
const TILE: i64 = 1024;
/// Elements of a row that a warp sorts.
const WARP_TILE: i64 = 64;
/// Rows are not longer than `TILE * 4^ROUNDS`.
const ROUNDS: u32 = 20;

/// Rows to be sorted.
pub struct Rows {
    pub src: BufId,
    pub values: BufId,
    pub indices: BufId,
    pub dtype: Dtype,
    pub rows: Size,
    pub len: Size,
    pub descending: bool,
}

/// Keys and places of runs that are sorted.
#[derive(Clone, Copy)]
struct Runs {
    keys: BufId,
    places: BufId,
}

const ONE: Operand = Operand::i64(1);

impl Rows {
    /// Unsigned, of 32 bits where that is enough.
    fn key(&self) -> Dtype {
        if self.dtype.size() == 8 { Dtype::U64 } else { Dtype::U32 }
    }
}

impl Lower<'_> {
    pub fn sort_rows(&mut self, s: &Rows) {
        let len = self.size(&s.len);
        match len.as_i64() {
            Some(n) if n <= TILE => self.sort_tiles(s, None),
            Some(_) => self.sort_long(s),
            None => {
                let (op, dtype, b) = (CompareOp::Le, Dtype::I64, Operand::i64(TILE));
                let cond = self.host.scalar(Dtype::Bool, Expr::Compare { op, dtype, a: len, b });
                self.host_when(cond, |l| l.sort_tiles(s, None), |l| l.sort_long(s));
            }
        }
    }

    fn sort_long(&mut self, s: &Rows) {
        let all = s.rows.mul(&s.len);
        let bytes = [s.key(), Dtype::I64].map(|d| all.scale(d.size() as i64));
        let [a, b] = [0; 2].map(|_| {
            let [keys, places] = bytes.each_ref().map(|b| self.alloc(b, None));
            Runs { keys, places }
        });
        self.sort_tiles(s, Some(a));
        let len = self.size(&s.len);
        let mut rounds = Operand::i64(0);
        for i in 0..ROUNDS {
            let width = Operand::i64(TILE << (2 * i));
            let (op, dtype) = (CompareOp::Gt, Dtype::I64);
            let more = match len.as_i64() {
                Some(n) => Operand::i64(i64::from(n > TILE << (2 * i))),
                None => {
                    let more = self.host.scalar(Dtype::Bool, Expr::Compare { op, dtype, a: len, b: width });
                    self.host.convert(Dtype::Bool, Dtype::I64, more)
                }
            };
            rounds = self.host.add(rounds, more);
        }
        // two merges a round, so that what is sorted ends where it began
        let (param, result) = (self.host.i64(), self.host.i64());
        let head = self.host.begin_loop(Operand::i64(0), rounds, LoopKind::Serial);
        let twice = self.host.mul(param.into(), Operand::i64(2));
        let next = self.host.mul(param.into(), Operand::i64(4));
        self.merge(s, a, b, param.into());
        self.merge(s, b, a, twice);
        self.host.end_loop(head, vec![Carried { param, init: Operand::i64(TILE), next, result }], vec![]);
        self.place_sorted(s, a);
        for r in [a, b] {
            self.release(r.keys);
            self.release(r.places);
        }
    }

    /// Sorts tiles: whole rows into the results, or parts of rows into runs.
    fn sort_tiles(&mut self, s: &Rows, to: Option<Runs>) {
        let tile = s.len.as_const().map_or(TILE, |n| (n.max(2) as u64).next_power_of_two().min(TILE as u64) as i64);
        let team = if tile <= WARP_TILE {
            Team { threads: WARP, block: WARPS }
        } else {
            let threads = (tile / 2).min(THREADS as i64) as usize;
            Team { threads, block: threads }
        };
        let teams = team.block / team.threads;
        let (rows, len) = (self.size(&s.rows), self.size(&s.len));
        let mut range = rows;
        let mut tiles = ONE;
        if to.is_some() {
            let up = self.host.add(len, Operand::i64(tile - 1));
            tiles = self.host.div(up, Operand::i64(tile));
            range = self.host.mul(rows, tiles);
        }
        let key = s.key();
        let shared = [(key, teams * tile as usize), (Dtype::I32, teams * tile as usize)];
        self.launch_teams("sort", range, team, &shared, |l, step| {
            let len = l.outer(len);
            let tiles = l.outer(tiles);
            let (row, number) = (l.code().div(step.number, tiles), l.code().rem(step.number, tiles));
            let start = l.code().mul(number, Operand::i64(tile));
            let end = l.code().add(start, Operand::i64(tile));
            let end = l.code().min(end, len);
            let count = l.code().binary(BinaryOp::Sub, Dtype::I64, end, start);
            let row = l.code().mul(row, len);
            let first = l.code().add(row, start);
            let t = Tile::new(l, step, team, tile, key);
            l.fill_tile(s, step, &t, first, count);
            l.sort_tile(step, &t, count);
            l.put_tile(s, step, &t, to, (first, start, count));
            // the next step has the same memory
            l.code().push(Stmt::Barrier(team.per()));
        });
    }

    /// Keys and places of the tile's elements, and behind them what sorts last.
    fn fill_tile(&mut self, s: &Rows, step: &Step, t: &Tile, first: Operand, count: Operand) {
        self.team_loop(step, t, Operand::i64(t.len), |l, e| {
            let ok = l.below(e, count);
            let [key] = l.either(
                [t.key],
                ok,
                |l| {
                    let at = l.code().add(first, e);
                    let x = l.load_at(s.src, s.dtype, &[Size::ONE], &[Idx::operand(at)]);
                    [key(l.code(), s, x)]
                },
                |_| [most(t.key)],
            );
            let place = l.code().convert(Dtype::I64, Dtype::I32, e);
            t.put(l.code(), e, key, place);
        });
        self.code().push(Stmt::Barrier(t.team.per()));
    }

    /// A bitonic network over as many elements as there are, rounded up to a power of two.
    fn sort_tile(&mut self, step: &Step, t: &Tile, count: Operand) {
        let mut levels = Operand::i64(0);
        let mut half = Operand::i64(1);
        for i in 0..t.len.trailing_zeros() {
            let n = Operand::i64(1 << i);
            let more = self.below(n, count);
            let more = self.code().convert(Dtype::Bool, Dtype::I64, more);
            levels = if i == 0 { more } else { self.code().add(levels, more) };
        }
        half = self.code().binary(BinaryOp::Shl, Dtype::I64, half, levels);
        half = self.code().div(half, Operand::i64(2));
        let outer = self.code().begin_loop(Operand::i64(0), levels, LoopKind::Serial);
        let level: Operand = outer.var.into();
        let rounds = self.code().add(level, ONE);
        let inner = self.code().begin_loop(Operand::i64(0), rounds, LoopKind::Serial);
        let shift = self.code().binary(BinaryOp::Sub, Dtype::I64, level, inner.var.into());
        let distance = self.code().binary(BinaryOp::Shl, Dtype::I64, ONE, shift);
        let below = self.code().add(distance, Operand::i64(-1));
        let run = self.code().binary(BinaryOp::Shl, Dtype::I64, Operand::i64(2), level);
        self.team_loop(step, t, half, |l, e| {
            let c = l.code();
            // the two whose numbers differ in the bit of the distance
            let low = c.binary(BinaryOp::And, Dtype::I64, e, below);
            let i = c.add(e, e);
            let i = c.binary(BinaryOp::Sub, Dtype::I64, i, low);
            let p = c.add(i, distance);
            let (a, b) = (t.get(c, i), t.get(c, p));
            let greater = later(c, t.key, a, b);
            let upwards = c.binary(BinaryOp::And, Dtype::I64, i, run);
            let upwards = compare(c, CompareOp::Eq, Dtype::I64, upwards, Operand::i64(0));
            let swap = compare(c, CompareOp::Eq, Dtype::Bool, greater, upwards);
            l.when(swap, |l| {
                t.put(l.code(), i, b.0, b.1);
                t.put(l.code(), p, a.0, a.1);
            });
        });
        self.code().push(Stmt::Barrier(t.team.per()));
        self.code().end_loop(inner, vec![], vec![]);
        self.code().end_loop(outer, vec![], vec![]);
    }

    fn put_tile(
        &mut self,
        s: &Rows,
        step: &Step,
        t: &Tile,
        to: Option<Runs>,
        (first, start, count): (Operand, Operand, Operand),
    ) {
        self.team_loop(step, t, count, |l, e| {
            let (key, place) = t.get(l.code(), e);
            let place = l.code().convert(Dtype::I32, Dtype::I64, place);
            let at = Idx::operand(l.code().add(first, e));
            match to {
                None => {
                    let from = l.code().add(first, place);
                    let x = l.load_at(s.src, s.dtype, &[Size::ONE], &[Idx::operand(from)]);
                    l.put_at(s.values, s.dtype, &at, x);
                    l.put_at(s.indices, Dtype::I64, &at, place);
                }
                Some(runs) => {
                    let place = l.code().add(start, place);
                    l.put_at(runs.keys, t.key, &at, key);
                    l.put_at(runs.places, Dtype::I64, &at, place);
                }
            }
        });
    }

    fn put_at(&mut self, id: BufId, dtype: Dtype, at: &Idx, value: Operand) {
        self.store(BufStore { id, dtype, dims: &[Size::ONE] }, std::slice::from_ref(at), value);
    }

    /// Numbers below `end`, dealt out to the team.
    fn team_loop(&mut self, step: &Step, t: &Tile, end: Operand, body: impl FnOnce(&mut Self, Operand)) {
        let e = self.code().i64();
        self.code().begin();
        body(self, e.into());
        let body = self.code().end();
        let by = Operand::i64(t.team.threads as i64);
        self.code().push(Stmt::For(super::serial(e, step.lane, end, by, body)));
    }

    /// Merges each two runs of `width` elements, of which the last of a row may be shorter.
    fn merge(&mut self, s: &Rows, from: Runs, to: Runs, width: Operand) {
        let (rows, len, key) = (self.size(&s.rows), self.size(&s.len), s.key());
        let range = self.host.mul(rows, len);
        self.tally_parts(range, 2 * (key.size() + 8));
        self.launch_over("sort.merge", range, ONE, |l, lo, hi| {
            let head = l.code().begin_loop(lo, hi, LoopKind::Vector);
            let (len, width) = (l.outer(len), l.outer(width));
            let number: Operand = head.var.into();
            let at = l.code().rem(number, len);
            let row = l.code().binary(BinaryOp::Sub, Dtype::I64, number, at);
            let pair = l.code().add(width, width);
            let within = l.code().rem(at, pair);
            let base = l.code().binary(BinaryOp::Sub, Dtype::I64, at, within);
            let bound = |l: &mut Self, by| {
                let end = l.code().add(base, by);
                l.code().min(end, len)
            };
            let (middle, end) = (bound(l, width), bound(l, pair));
            let left = l.below(at, middle);
            let mine = l.load_at(from.keys, key, &[Size::ONE], &[Idx::operand(number)]);
            let place = l.load_at(from.places, Dtype::I64, &[Size::ONE], &[Idx::operand(number)]);
            let i64 = Dtype::I64;
            let (first, last) = (l.choose(i64, left, middle, base), l.choose(i64, left, end, middle));
            let before = l.bisect(from.keys, key, mine, row, (first, last), (left, width));
            // its place in its own run, and those of the other that come before it
            let own_start = l.choose(i64, left, base, middle);
            let own = l.code().binary(BinaryOp::Sub, i64, at, own_start);
            let others = l.code().binary(BinaryOp::Sub, i64, before, first);
            let to_at = l.code().add(own, others);
            let to_at = l.code().add(base, to_at);
            let to_at = Idx::operand(l.code().add(row, to_at));
            l.put_at(to.keys, key, &to_at, mine);
            l.put_at(to.places, i64, &to_at, place);
            l.code().end_loop(head, vec![], vec![]);
        });
    }

    /// The end of those in `first..last` of a row that come before `mine`: smaller keys, or, unless `left`, equal ones too. There are at most
    /// `width` of them.
    pub fn bisect(
        &mut self,
        keys: BufId,
        dtype: Dtype,
        mine: Operand,
        row: Operand,
        (first, last): (Operand, Operand),
        (left, width): (Operand, Operand),
    ) -> Operand {
        // as many steps as `width` has bits: a float's exponent says it, and would at most say one more
        let c = self.code();
        let wide = c.convert(Dtype::I64, Dtype::F64, width);
        let bits = c.scalar(Dtype::I64, Expr::Bits { from: Dtype::F64, to: Dtype::I64, x: wide });
        let steps = c.binary(BinaryOp::Shr, Dtype::I64, bits, Operand::i64(52));
        let steps = c.add(steps, Operand::i64(1 - 1023));
        let [lo, hi, lo_end, hi_end] = [0; 4].map(|_| c.i64());
        let head = c.begin_loop(Operand::i64(0), steps, LoopKind::Serial);
        let open = self.below(lo.into(), hi.into());
        let c = self.code();
        let sum = c.add(lo.into(), hi.into());
        let middle = c.div(sum, Operand::i64(2));
        let [before] = self.either(
            [Dtype::Bool],
            open,
            |l| {
                let at = l.code().add(row, middle);
                let other = l.load_at(keys, dtype, &[Size::ONE], &[Idx::operand(at)]);
                let (less, equal) = (
                    compare(l.code(), CompareOp::Lt, dtype, other, mine),
                    compare(l.code(), CompareOp::Le, dtype, other, mine),
                );
                [l.choose(Dtype::Bool, left, less, equal)]
            },
            |_| [Operand::bool(false)],
        );
        let c = self.code();
        let above = c.add(middle, ONE);
        let i64 = Dtype::I64;
        let next_lo = self.choose(i64, before, above, lo.into());
        let rest = self.choose(i64, open, middle, hi.into());
        let next_hi = self.choose(i64, before, hi.into(), rest);
        let carried = vec![
            Carried { param: lo, init: first, next: next_lo, result: lo_end },
            Carried { param: hi, init: last, next: next_hi, result: hi_end },
        ];
        self.code().end_loop(head, carried, vec![]);
        lo_end.into()
    }

    /// The results, from the places of what is sorted.
    fn place_sorted(&mut self, s: &Rows, runs: Runs) {
        let (rows, len) = (self.size(&s.rows), self.size(&s.len));
        let range = self.host.mul(rows, len);
        self.tally_parts(range, 2 * s.dtype.size() + 16);
        self.launch_over("sort.place", range, ONE, |l, lo, hi| {
            let head = l.code().begin_loop(lo, hi, LoopKind::Vector);
            let len = l.outer(len);
            let number: Operand = head.var.into();
            let at = l.code().rem(number, len);
            let row = l.code().binary(BinaryOp::Sub, Dtype::I64, number, at);
            let place = l.load_at(runs.places, Dtype::I64, &[Size::ONE], &[Idx::operand(number)]);
            let from = l.code().add(row, place);
            let x = l.load_at(s.src, s.dtype, &[Size::ONE], &[Idx::operand(from)]);
            l.put_at(s.values, s.dtype, &Idx::operand(number), x);
            l.put_at(s.indices, Dtype::I64, &Idx::operand(number), place);
            l.code().end_loop(head, vec![], vec![]);
        });
    }
}

/// A team's elements in shared memory.
struct Tile {
    team: Team,
    key: Dtype,
    len: i64,
    keys: Reg,
    places: Reg,
    /// Where the team's part begins.
    first: Operand,
}

impl Tile {
    fn new(l: &mut Lower<'_>, step: &Step, team: Team, len: i64, key: Dtype) -> Tile {
        let first = match team.block / team.threads {
            1 => Operand::i64(0),
            _ => {
                let thread = l.code().scalar(Dtype::I64, Expr::Place(Place::Thread));
                let number = l.code().div(thread, Operand::i64(team.threads as i64));
                l.code().mul(number, Operand::i64(len))
            }
        };
        Tile { team, key, len, keys: step.shared[0], places: step.shared[1], first }
    }

    fn at(&self, c: &mut Code, e: Operand) -> Index {
        match c.add(self.first, e) {
            Operand::Reg(r) => index(0, &[(r, 1)]),
            o @ Operand::Const(..) => Index { offset: o.as_i64().unwrap_or(0), terms: vec![] },
        }
    }

    fn get(&self, c: &mut Code, e: Operand) -> (Operand, Operand) {
        let index = self.at(c, e);
        let load = |c: &mut Code, ptr, dtype| c.scalar(dtype, Expr::Load { ptr, dtype, index: index.clone() });
        (load(c, self.keys, self.key), load(c, self.places, Dtype::I32))
    }

    fn put(&self, c: &mut Code, e: Operand, key: Operand, place: Operand) {
        let index = self.at(c, e);
        c.push(Stmt::Store { ptr: self.keys, dtype: self.key, index: index.clone(), value: key });
        c.push(Stmt::Store { ptr: self.places, dtype: Dtype::I32, index, value: place });
    }
}

fn compare(c: &mut Code, op: CompareOp, dtype: Dtype, a: Operand, b: Operand) -> Operand {
    c.scalar(Dtype::Bool, Expr::Compare { op, dtype, a, b })
}

/// Does `a` come after `b`?
fn later(c: &mut Code, dtype: Dtype, a: (Operand, Operand), b: (Operand, Operand)) -> Operand {
    let greater = compare(c, CompareOp::Gt, dtype, a.0, b.0);
    let same = compare(c, CompareOp::Eq, dtype, a.0, b.0);
    let after = compare(c, CompareOp::Gt, Dtype::I32, a.1, b.1);
    let after = c.binary(BinaryOp::And, Dtype::Bool, same, after);
    c.binary(BinaryOp::Or, Dtype::Bool, greater, after)
}

fn most(key: Dtype) -> Operand {
    Operand::Const(Scalar::Int(if key == Dtype::U64 { -1 } else { i64::from(u32::MAX) }), key)
}

/// A number that orders as `x` does; that of NaN is the largest.
fn key(c: &mut Code, s: &Rows, x: Operand) -> Operand {
    let (key, dtype) = (s.key(), s.dtype);
    let sign = Operand::Const(Scalar::Int(if key == Dtype::U64 { i64::MIN } else { 1 << 31 }), key);
    let flip = |c: &mut Code, bits| c.binary(BinaryOp::Xor, key, bits, most(key));
    if !dtype.is_float() {
        let signed = matches!(dtype, Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64);
        let mut bits = if signed {
            let wide = if key == Dtype::U64 { Dtype::I64 } else { Dtype::I32 };
            let x = c.convert(dtype, wide, x);
            let bits = c.scalar(key, Expr::Bits { from: wide, to: key, x });
            c.binary(BinaryOp::Xor, key, bits, sign)
        } else {
            c.convert(dtype, key, x)
        };
        if s.descending {
            bits = flip(c, bits);
        }
        return bits;
    }
    // the bits of a float order as integers do, backwards where it is negative; both zeros are equal
    let wide = if key == Dtype::U64 { Dtype::F64 } else { Dtype::F32 };
    let x = c.convert(dtype, wide, x);
    let zero = Operand::Const(Scalar::float(0.0), wide);
    let is_zero = compare(c, CompareOp::Eq, wide, x, zero);
    let y = c.scalar(wide, Expr::Select { dtype: wide, cond: is_zero, a: zero, b: x });
    let bits = c.scalar(key, Expr::Bits { from: wide, to: key, x: y });
    let negative = compare(c, CompareOp::Ge, key, bits, sign);
    let (below, above) = (flip(c, bits), c.binary(BinaryOp::Or, key, bits, sign));
    let mut ordered = c.scalar(key, Expr::Select { dtype: key, cond: negative, a: below, b: above });
    if s.descending {
        ordered = flip(c, ordered);
    }
    let nan = c.scalar(Dtype::Bool, Expr::Unary { op: UnaryOp::IsNan, dtype: wide, x });
    c.scalar(key, Expr::Select { dtype: key, cond: nan, a: most(key), b: ordered })
}
