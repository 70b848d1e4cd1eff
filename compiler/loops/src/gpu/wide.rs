//! Vector loops of which a thread takes several neighbouring iterations at a time, so that what is contiguous in memory is loaded and
//! stored 16 bytes at a time.
//!
//! ```text
//! y[i] = x[i] + b[i % n]    →    x0, x1, x2, x3 = wide x[i]
//!                                b0, b1, b2, b3 = wide b[i % n]          if n % 4 == 0
//!                                wide y[i] = x0 + b0, x1 + b1, x2 + b2, x3 + b3
//! ```
//!
//! Whether all that is contiguous begins at a multiple of the width is a condition that the kernel checks; where it does not
//! hold, and for what is left at the end, the same iterations are done by the same thread one by one.

use rustc_hash::FxHashMap;
use tdl_ir::{BinaryOp, CompareOp, Dtype};

use super::{Regs, index};
use crate::ir::*;

/// Iterations that a thread takes at a time, at most.
pub const MOST: i64 = 8;
/// Bodies with more statements than this are not repeated.
const LONG: usize = 96;

/// What a register holds in the iterations that are taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Same,
    /// A multiple of the width in the first one, and one more in each.
    Next,
    Each,
}

/// What makes it right to take iterations together.
#[derive(Clone, Debug, PartialEq)]
enum Condition {
    /// A multiple of the width.
    Multiple(Operand),
    Sum(Index),
    /// Aligned to [`WIDE`] bytes.
    Pointer(Reg),
}

/// How the iterations of a loop are taken together.
#[derive(Clone, Debug)]
pub struct Wide {
    pub width: i64,
    classes: FxHashMap<Reg, Class>,
    conditions: Vec<Condition>,
}

/// The registers of each of the iterations that are taken together, by those of the loop.
pub struct Lanes(Vec<FxHashMap<Reg, Reg>>);

impl Lanes {
    pub fn of(&self, lane: usize, o: Operand) -> Operand {
        match o {
            Operand::Reg(r) => self.reg(lane, r).into(),
            Operand::Const(..) => o,
        }
    }

    fn reg(&self, lane: usize, r: Reg) -> Reg {
        self.0[lane].get(&r).copied().unwrap_or(r)
    }
}

/// How to take the iterations of `for var in lo..` together; none, if that is no use.
pub fn plan(body: &[Stmt], var: Reg, lo: Operand) -> Option<Wide> {
    let simple = |s: &Stmt| matches!(s, Stmt::Let { .. } | Stmt::Store { .. });
    if body.len() > LONG || !body.iter().all(simple) {
        return None;
    }
    let least = body.iter().filter_map(access).map(|(_, dtype, _)| dtype.size()).min()?;
    let width = (WIDE / least).clamp(2, MOST as usize) as i64;
    let mut w = Wide { width, classes: FxHashMap::default(), conditions: Vec::new() };
    w.classes.insert(var, Class::Next);
    if !w.multiple(lo) {
        return None;
    }
    for s in body {
        if let Stmt::Let { dst, value } = s {
            let class = w.class(value);
            w.classes.insert(*dst, class);
        }
    }
    let mut used = false;
    for (ptr, dtype, index) in body.iter().filter_map(access) {
        if w.contiguous(index) {
            used |= dtype.size() < WIDE;
            w.condition(Condition::Pointer(ptr));
            w.index(index);
        }
    }
    used.then_some(w)
}

fn access(s: &Stmt) -> Option<(Reg, Dtype, &Index)> {
    match s {
        Stmt::Let { dst: _, value: Expr::Load { ptr, dtype, index } } => Some((*ptr, *dtype, index)),
        Stmt::Store { ptr, dtype, index, .. } => Some((*ptr, *dtype, index)),
        _ => None,
    }
}

impl Wide {
    fn of(&self, o: Operand) -> Class {
        match o {
            Operand::Reg(r) => self.classes.get(&r).copied().unwrap_or(Class::Same),
            Operand::Const(..) => Class::Same,
        }
    }

    /// Is it defined outside of the loop?
    fn outside(&self, o: Operand) -> bool {
        matches!(o, Operand::Reg(r) if !self.classes.contains_key(&r))
    }

    fn condition(&mut self, c: Condition) {
        if !self.conditions.contains(&c) {
            self.conditions.push(c);
        }
    }

    /// Could this be a multiple of the width? Then that is a condition.
    fn multiple(&mut self, o: Operand) -> bool {
        match o.as_i64() {
            Some(x) => x % self.width == 0,
            None if self.outside(o) => {
                self.condition(Condition::Multiple(o));
                true
            }
            None => false,
        }
    }

    fn class(&mut self, value: &Expr) -> Class {
        match value {
            Expr::Index(i) if self.contiguous(i) => {
                self.index(i);
                Class::Next
            }
            Expr::IndexRem { a, b } if self.of(*a) == Class::Next && self.multiple(*b) => Class::Next,
            Expr::IndexDiv { a, b } if self.of(*a) == Class::Next && self.multiple(*b) => Class::Same,
            Expr::Binary { op: BinaryOp::Add, dtype: Dtype::I64, a, b } => match (self.of(*a), self.of(*b)) {
                (Class::Next, Class::Same) if self.multiple(*b) => Class::Next,
                (Class::Same, Class::Next) if self.multiple(*a) => Class::Next,
                (Class::Same, Class::Same) => Class::Same,
                _ => Class::Each,
            },
            value => {
                let mut same = true;
                value.visit(&mut |o| same &= self.of(o) == Class::Same);
                if same { Class::Same } else { Class::Each }
            }
        }
    }

    /// Is this index one more in each iteration, and may it begin at a multiple of the width?
    pub fn contiguous(&self, i: &Index) -> bool {
        let (next, rest): (Vec<&Term>, Vec<&Term>) = i.terms.iter().partition(|t| self.of(t.reg.into()) == Class::Next);
        let [t] = next.as_slice() else { return false };
        let fits = |x: i64| x % self.width == 0;
        let open = |t: &&Term| self.outside(t.reg.into()) && t.stride.as_i64().is_none_or(|s| !fits(s));
        t.stride.as_i64() == Some(1)
            && rest.iter().all(|t| {
                self.of(t.reg.into()) == Class::Same
                    && (self.outside(t.reg.into()) || t.stride.as_i64().map_or(self.outside(t.stride), fits))
            })
            && (fits(i.offset) || rest.iter().any(open))
    }

    /// The conditions under which a contiguous index begins at a multiple of the width.
    fn index(&mut self, i: &Index) {
        let mut sum = Index { offset: i.offset, terms: Vec::new() };
        for t in &i.terms {
            match self.of(t.reg.into()) {
                Class::Next => {}
                _ if self.outside(t.reg.into()) => sum.terms.push(*t),
                _ => _ = self.multiple(t.stride),
            }
        }
        sum.terms.retain(|t| t.stride.as_i64().is_none_or(|s| s % self.width != 0));
        if !sum.terms.is_empty() || sum.offset % self.width != 0 {
            self.condition(Condition::Sum(sum));
        }
    }

    /// Says whether the iterations may be taken together.
    pub fn check(&self, regs: &mut Regs<'_>, out: &mut Vec<Stmt>) -> Operand {
        let (mut counts, mut addresses): (Option<Operand>, Option<Operand>) = (None, None);
        let and = |regs: &mut Regs<'_>, out: &mut Vec<Stmt>, all: &mut Option<Operand>, o: Operand| {
            *all = Some(match *all {
                None => o,
                Some(a) => regs.i64(out, Expr::Binary { op: BinaryOp::Or, dtype: Dtype::I64, a, b: o }).into(),
            });
        };
        for c in &self.conditions {
            match c {
                Condition::Multiple(o) => and(regs, out, &mut counts, *o),
                Condition::Sum(i) => {
                    let sum = regs.i64(out, Expr::Index(i.clone()));
                    and(regs, out, &mut counts, sum.into());
                }
                Condition::Pointer(p) => {
                    let address = regs.i64(out, Expr::Address(*p));
                    and(regs, out, &mut addresses, address.into());
                }
            }
        }
        let mut ok = Operand::bool(true);
        for (all, of) in [(counts, self.width), (addresses, WIDE as i64)] {
            let Some(all) = all else { continue };
            let (a, b) = (all, Operand::i64(of - 1));
            let rest = regs.i64(out, Expr::Binary { op: BinaryOp::And, dtype: Dtype::I64, a, b });
            let (a, b) = (rest.into(), Operand::i64(0));
            let fits = regs.bool(out, Expr::Compare { op: CompareOp::Eq, dtype: Dtype::I64, a, b });
            ok = match ok {
                Operand::Const(..) => fits.into(),
                a => regs.bool(out, Expr::Binary { op: BinaryOp::And, dtype: Dtype::Bool, a, b: fits.into() }).into(),
            };
        }
        ok
    }

    /// The iterations from `base` on, together.
    pub fn unroll(&self, regs: &mut Regs<'_>, out: &mut Vec<Stmt>, body: &[Stmt], var: Reg, base: Reg) -> Lanes {
        let lanes = self.width as usize;
        let mut l = Lanes(vec![FxHashMap::default(); lanes]);
        self.next(regs, out, &mut l, var, base);
        for s in body {
            match s {
                Stmt::Let { dst, value: Expr::Load { ptr, dtype, index } } if self.contiguous(index) => {
                    let ty = RegTy::Scalar(*dtype);
                    let all: Vec<Reg> = (0..lanes).map(|_| regs.reg(ty)).collect();
                    let most = WIDE / dtype.size();
                    for (n, dst) in all.chunks(most).enumerate() {
                        let index = self.at(&l, index, n * most);
                        out.push(Device::Load { dst: dst.to_vec(), ptr: *ptr, dtype: *dtype, index }.into());
                    }
                    l.0.iter_mut().zip(all).for_each(|(lane, r)| _ = lane.insert(*dst, r));
                }
                Stmt::Let { dst, value } => {
                    let copy = |regs: &mut Regs<'_>, out: &mut Vec<Stmt>, l: &Lanes, lane: usize| {
                        let mut value = value.clone();
                        value.rename(&|r| l.reg(lane, r));
                        let new = regs.reg(regs.ty(*dst));
                        out.push(Stmt::Let { dst: new, value });
                        new
                    };
                    match self.of((*dst).into()) {
                        Class::Same => {
                            let new = copy(regs, out, &l, 0);
                            l.0.iter_mut().for_each(|lane| _ = lane.insert(*dst, new));
                        }
                        Class::Next => {
                            let new = copy(regs, out, &l, 0);
                            self.next(regs, out, &mut l, *dst, new);
                        }
                        Class::Each => {
                            for lane in 0..lanes {
                                let new = copy(regs, out, &l, lane);
                                l.0[lane].insert(*dst, new);
                            }
                        }
                    }
                }
                Stmt::Store { ptr, dtype, index, value } if self.contiguous(index) => {
                    let all: Vec<Operand> = (0..lanes).map(|lane| l.of(lane, *value)).collect();
                    let most = WIDE / dtype.size();
                    for (n, values) in all.chunks(most).enumerate() {
                        let index = self.at(&l, index, n * most);
                        let (ptr, dtype, values) = (*ptr, *dtype, values.to_vec());
                        out.push(Device::Store { ptr, dtype, index, values }.into());
                    }
                }
                Stmt::Store { ptr, dtype, index, value } => {
                    for lane in 0..lanes {
                        let mut index = index.clone();
                        index.rename(&|r| l.reg(lane, r));
                        out.push(Stmt::Store { ptr: *ptr, dtype: *dtype, index, value: l.of(lane, *value) });
                    }
                }
                _ => {}
            }
        }
        l
    }

    /// A contiguous index, in iteration `lane`.
    fn at(&self, l: &Lanes, index: &Index, lane: usize) -> Index {
        let mut index = index.clone();
        index.rename(&|r| l.reg(0, r));
        index.offset += lane as i64;
        index
    }

    /// `of` is `first` in the first iteration, and one more in each.
    fn next(&self, regs: &mut Regs<'_>, out: &mut Vec<Stmt>, l: &mut Lanes, of: Reg, first: Reg) {
        l.0[0].insert(of, first);
        for lane in 1..self.width {
            let new = regs.i64(out, Expr::Index(index(lane, &[(first, 1)])));
            l.0[lane as usize].insert(of, new);
        }
    }
}
