//! Statements that go over the same parts of their tensors are done part by part: what one writes, the next finds in the cache.
//!
//! ```text
//! windows p1 = p0 * w           n: 64           bands 64 by 1
//! launch bias_relu(p1, b, p2) over 50176    →     windows p1 = p0 * w           n: 64
//! launch max_pool(p2, p3) over 12544              launch bias_relu(p1, b, p2) over 50176
//!                                                 launch max_pool(p2, p3) over 12544
//! ```
//!
//! A band is the same share of every step's range: an image, a row, some of them. A buffer that a step of the group writes is
//! touched by every step in the band's own part alone (see [`reach`]); so bands do not depend on each other, and each result is
//! what it would be without them, to the bit.

mod reach;

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{BinaryOp, Dtype};

use crate::ir::*;
use reach::Reach;

/// When statements are worth doing in bands.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that a group touches, at least: less stays in a cache anyhow.
    pub far: i64,
    /// Bytes that a chunk of bands touches, about: a part of a second-level cache.
    pub chunk: i64,
    /// Bytes that a band touches, at most.
    pub band: i64,
    /// Chunks of bands, at least: threads share them.
    pub chunks: i64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { far: 4 << 20, chunk: 512 << 10, band: 2 << 20, chunks: 16 }
    }
}

/// Steps of a group, at most.
const STEPS: usize = 16;

/// Finds groups in all functions of a program for the CPU.
pub fn group(program: &mut Program, limits: Limits) {
    for i in 0..program.funcs.len() {
        let body = std::mem::take(&mut program.funcs[i].body);
        let mut facts = Facts::default();
        facts.block(&body);
        let finder = Finder { program, facts, limits };
        let body = finder.block(body);
        program.funcs[i].body = body;
    }
}

/// What is known of a function's registers.
#[derive(Default)]
struct Facts {
    /// Pure values by their registers.
    values: FxHashMap<Reg, Expr>,
    /// Memory that one register alone points to.
    own: FxHashSet<Reg>,
    /// Registers whose memory others may point to.
    shared: FxHashSet<Reg>,
}

impl Facts {
    fn block(&mut self, body: &[Stmt]) {
        for s in body {
            match s {
                Stmt::Let { dst, value } => {
                    match value {
                        Expr::Copy(Operand::Reg(r)) => _ = self.shared.insert(*r),
                        Expr::Offset { ptr, .. } => _ = self.shared.insert(*ptr),
                        _ => {}
                    }
                    self.values.insert(*dst, value.clone());
                }
                Stmt::Alloc { dst, .. } => _ = self.own.insert(*dst),
                _ => {}
            }
            s.visit_yields(&mut |o| self.share(o));
            match s {
                Stmt::For(l) => l.carried.iter().for_each(|c| self.share(c.init)),
                Stmt::While(w) => w.carried.iter().for_each(|c| self.share(c.init)),
                _ => {}
            }
            s.blocks().into_iter().for_each(|b| self.block(b));
        }
    }

    fn share(&mut self, o: Operand) {
        if let Operand::Reg(r) = o {
            self.shared.insert(r);
        }
    }

    fn is_own(&self, r: Reg) -> bool {
        self.own.contains(&r) && !self.shared.contains(&r)
    }

    /// A number as a constant times a register, or a constant alone.
    fn multiple(&self, o: Operand) -> Option<(i64, Option<Reg>)> {
        let Operand::Reg(r) = o else { return o.as_i64().filter(|c| *c > 0).map(|c| (c, None)) };
        match self.values.get(&r) {
            Some(Expr::Copy(o)) => self.multiple(*o),
            Some(Expr::Index(Index { offset: 0, terms })) => match terms.as_slice() {
                [t] => {
                    let by = t.stride.as_i64().filter(|s| *s > 0)?;
                    let (c, base) = self.multiple(t.reg.into())?;
                    Some((c.checked_mul(by)?, base))
                }
                _ => Some((1, Some(r))),
            },
            Some(Expr::SizeMul { a, b } | Expr::Binary { op: BinaryOp::Mul, dtype: Dtype::I64, a, b }) => {
                match (self.multiple(*a), self.multiple(*b)) {
                    (Some((x, base)), Some((y, None))) | (Some((x, None)), Some((y, base))) => {
                        Some((x.checked_mul(y)?, base))
                    }
                    _ => Some((1, Some(r))),
                }
            }
            Some(_) | None => Some((1, Some(r))),
        }
    }
}

/// What a step does with its buffers, for a band of given size.
type Touches = Vec<(Reg, Reach)>;

struct Finder<'p> {
    program: &'p Program,
    facts: Facts,
    limits: Limits,
}

/// A group in the making: statements in order, with what becomes of each if the group stands.
#[derive(Default)]
struct Group {
    all: Vec<(Stmt, Role)>,
    /// Shares of the steps' ranges, and the register that they are multiples of.
    ranges: Vec<i64>,
    base: Option<Reg>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Before,
    Step,
    After,
}

impl Group {
    fn steps(&self) -> impl Iterator<Item = &Stmt> {
        self.all.iter().filter(|(_, r)| *r == Role::Step).map(|(s, _)| s)
    }

    /// Bands, if their number is known; else 1 band is the base's one.
    fn count(&self) -> i64 {
        match self.base {
            Some(_) => 1,
            None => self.ranges.iter().copied().reduce(gcd).unwrap_or(1),
        }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Finder<'_> {
    fn block(&self, body: Vec<Stmt>) -> Vec<Stmt> {
        let mut out = Vec::with_capacity(body.len());
        let mut group = Group::default();
        for mut s in body {
            match &mut s {
                Stmt::For(l) => l.body = self.block(std::mem::take(&mut l.body)),
                Stmt::If(i) => {
                    i.then = self.block(std::mem::take(&mut i.then));
                    i.els = self.block(std::mem::take(&mut i.els));
                }
                Stmt::While(w) => {
                    w.cond_body = self.block(std::mem::take(&mut w.cond_body));
                    w.body = self.block(std::mem::take(&mut w.body));
                }
                _ => {}
            }
            let open = !group.all.is_empty();
            match &s {
                Stmt::Let { value, .. } if open && !matches!(value, Expr::Load { .. }) => {
                    group.all.push((s, Role::Before));
                }
                Stmt::Alloc { .. } | Stmt::Need { .. } if open => group.all.push((s, Role::Before)),
                Stmt::Free { .. } if open => group.all.push((s, Role::After)),
                Stmt::Launch { .. } | Stmt::Gemm(_) | Stmt::Runtime { call: RuntimeCall::Windows(_), .. } => {
                    if let Some(s) = self.add(&mut group, s) {
                        self.close(&mut group, &mut out);
                        if let Some(s) = self.add(&mut group, s) {
                            out.push(s);
                        }
                    }
                }
                _ => {
                    self.close(&mut group, &mut out);
                    out.push(s);
                }
            }
        }
        self.close(&mut group, &mut out);
        out
    }

    /// The range of a step, as a multiple.
    fn range(&self, s: &Stmt) -> Option<(i64, Option<Reg>)> {
        let range = match s {
            Stmt::Launch { range, .. } => *range,
            Stmt::Gemm(g) => *g.batch.first()?,
            Stmt::Runtime { call: RuntimeCall::Windows(w), .. } => w.counts[0],
            _ => return None,
        };
        self.facts.multiple(range)
    }

    fn touches(&self, s: &Stmt, per: i64) -> Option<Touches> {
        match s {
            Stmt::Launch { kernel, args, .. } => {
                let found = reach::of_kernel(&self.program.kernels[kernel.0 as usize], per)?;
                let all = args.iter().zip(found).filter_map(|(a, r)| match a {
                    Operand::Reg(p) => r.map(|r| (*p, r)),
                    Operand::Const(..) => None,
                });
                Some(all.collect())
            }
            Stmt::Gemm(g) => reach::of_gemm(g, per),
            Stmt::Runtime { call: RuntimeCall::Windows(w), .. } => reach::of_windows(w, per),
            _ => None,
        }
    }

    /// Makes the statement a step of the group, or one that stands before it; else it comes back.
    fn add(&self, group: &mut Group, s: Stmt) -> Option<Stmt> {
        let Some((range, base)) = self.range(&s) else { return Some(s) };
        let before = self.together(group);
        if let (Some(before), Some(own)) = (&before, self.touches(&s, range)) {
            let with =
                |p: &Reg| before.iter().flatten().filter(|(q, _)| q == p).map(|(_, r)| r.access).collect::<Vec<_>>();
            let reads_theirs = own.iter().any(|(p, _)| with(p).iter().any(|a| *a != Access::Read));
            let writes = || own.iter().filter(|(_, r)| r.access != Access::Read);
            let aside = writes().all(|(p, _)| with(p).is_empty() && self.facts.is_own(*p));
            if !group.ranges.is_empty() && !reads_theirs && aside {
                group.all.push((s, Role::Before));
                return None;
            }
        }
        if group.ranges.len() == STEPS || !group.ranges.is_empty() && group.base != base {
            return Some(s);
        }
        group.base = base;
        group.ranges.push(range);
        group.all.push((s, Role::Step));
        if self.together(group).is_some() {
            return None;
        }
        group.ranges.pop();
        group.all.pop().map(|(s, _)| s)
    }

    /// What the steps touch, if they can go band by band.
    fn together(&self, group: &Group) -> Option<Vec<Touches>> {
        let count = group.count();
        if group.base.is_none() && !group.ranges.is_empty() && count < self.limits.chunks {
            return None;
        }
        let steps = group.steps().zip(&group.ranges);
        let all = steps.map(|(s, range)| self.touches(s, range / count)).collect::<Option<Vec<_>>>()?;
        let mut sizes: FxHashMap<Reg, Option<i64>> = FxHashMap::default();
        let mut written: FxHashSet<Reg> = FxHashSet::default();
        for (p, r) in all.iter().flatten() {
            let size = sizes.entry(*p).or_insert(r.size);
            if *size != r.size {
                *size = None;
            }
            if r.access != Access::Read {
                written.insert(*p);
            }
        }
        written.iter().all(|p| self.facts.is_own(*p) && sizes[p].is_some()).then_some(all)
    }

    /// Ends the group: as bands, if that is worth it.
    fn close(&self, group: &mut Group, out: &mut Vec<Stmt>) {
        let group = std::mem::take(group);
        let Some(chunk) = self.chunk(&group) else {
            return out.extend(group.all.into_iter().map(|(s, _)| s));
        };
        let count = match group.base {
            Some(base) => base.into(),
            None => Operand::i64(group.count()),
        };
        let (mut steps, mut after) = (Vec::new(), Vec::new());
        for (s, role) in group.all {
            match role {
                Role::Before => out.push(s),
                Role::Step => steps.push(s),
                Role::After => after.push(s),
            }
        }
        let fewest = (self.limits.chunks / 2).max(1);
        out.push(Stmt::Bands(Box::new(Bands { count, chunk, fewest, steps })));
        out.extend(after);
    }

    /// Bands that one thread takes at a time, if the group is worth having.
    fn chunk(&self, group: &Group) -> Option<i64> {
        let all = self.together(group)?;
        let mut written: FxHashSet<Reg> = FxHashSet::default();
        let mut handed = false;
        let mut bytes: FxHashMap<Reg, i64> = FxHashMap::default();
        for touches in &all {
            handed |= touches.iter().any(|(p, r)| r.access != Access::Write && written.contains(p));
            written.extend(touches.iter().filter(|(_, r)| r.access != Access::Read).map(|(p, _)| *p));
            bytes.extend(touches.iter().filter_map(|(p, r)| Some((*p, r.size?.checked_mul(r.dtype.size() as i64)?))));
        }
        let band = bytes.values().try_fold(0i64, |sum, b| sum.checked_add(*b)).filter(|b| handed && *b > 0)?;
        let most = match group.base {
            Some(_) => i64::MAX,
            None => {
                let count = group.count();
                if band.saturating_mul(count) < self.limits.far {
                    return None;
                }
                (count / self.limits.chunks).max(1)
            }
        };
        (band <= self.limits.band).then(|| (self.limits.chunk / band).clamp(1, most))
    }
}
