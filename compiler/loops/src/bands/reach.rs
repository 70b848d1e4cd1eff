//! How far a kernel, a product or a convolution reaches: which part of a buffer it touches for a part of its range.

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{BinaryOp, Dtype};

use crate::ir::*;

/// What a step does with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    pub access: Access,
    pub dtype: Dtype,
    /// Elements: for band `b` it touches `size * b .. size * (b + 1)` alone. None: it may touch everything.
    pub size: Option<i64>,
}

/// `band * b + x`, where `b` is the number of the band and `x` between `lo` and `hi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    band: i64,
    lo: i64,
    hi: i64,
}

impl Known {
    fn constant(x: i64) -> Known {
        Known { band: 0, lo: x, hi: x }
    }

    fn add(self, o: Known) -> Option<Known> {
        Some(Known {
            band: self.band.checked_add(o.band)?,
            lo: self.lo.checked_add(o.lo)?,
            hi: self.hi.checked_add(o.hi)?,
        })
    }

    fn scale(self, by: i64) -> Option<Known> {
        let (a, b) = (self.lo.checked_mul(by)?, self.hi.checked_mul(by)?);
        Some(Known { band: self.band.checked_mul(by)?, lo: a.min(b), hi: a.max(b) })
    }

    /// `self / by`, rounded down.
    fn div(self, by: i64) -> Option<Known> {
        let even = by > 0 && self.band % by == 0;
        even.then(|| Known { band: self.band / by, lo: self.lo.div_euclid(by), hi: self.hi.div_euclid(by) })
    }

    /// `self % by`, not negative.
    fn rem(self, by: i64) -> Option<Known> {
        if by <= 0 {
            return None;
        }
        let same = self.band % by == 0 && self.lo.div_euclid(by) == self.hi.div_euclid(by);
        Some(if same {
            Known { band: 0, lo: self.lo.rem_euclid(by), hi: self.hi.rem_euclid(by) }
        } else {
            Known { band: 0, lo: 0, hi: by - 1 }
        })
    }
}

/// What `kernel` does with each of its parameters that is a buffer, if a band is `per` steps of its range. None: no part of its
/// range can be told apart.
pub fn of_kernel(kernel: &Kernel, per: i64) -> Option<Vec<Option<Reach>>> {
    let mut w = Walk {
        kernel,
        per,
        known: FxHashMap::default(),
        local: FxHashSet::default(),
        touched: vec![Touched::Never; kernel.params.len()],
        refused: false,
    };
    w.block(&kernel.body, true);
    if w.refused {
        return None;
    }
    let reach = |(p, t): (&KernelParam, &Touched)| match t {
        Touched::Never => None,
        Touched::Within(dtype, k) => {
            let inside = k.band > 0 && k.lo >= 0 && k.hi < k.band;
            Some(Reach { access: p.access, dtype: *dtype, size: inside.then_some(k.band) })
        }
        Touched::Anywhere(dtype) => Some(Reach { access: p.access, dtype: *dtype, size: None }),
    };
    Some(kernel.params.iter().zip(&w.touched).map(reach).collect())
}

#[derive(Clone, Copy, Debug)]
enum Touched {
    Never,
    Within(Dtype, Known),
    Anywhere(Dtype),
}

struct Walk<'k> {
    kernel: &'k Kernel,
    per: i64,
    known: FxHashMap<Reg, Known>,
    /// Pointers to the kernel's own memory.
    local: FxHashSet<Reg>,
    touched: Vec<Touched>,
    refused: bool,
}

impl Walk<'_> {
    fn operand(&self, o: Operand) -> Option<Known> {
        match o {
            Operand::Reg(r) => self.known.get(&r).copied(),
            Operand::Const(..) => o.as_i64().map(Known::constant),
        }
    }

    fn index(&self, i: &Index) -> Option<Known> {
        i.terms.iter().try_fold(Known::constant(i.offset), |sum, t| {
            sum.add(self.operand(t.reg.into())?.scale(t.stride.as_i64()?)?)
        })
    }

    fn touch(&mut self, ptr: Reg, dtype: Dtype, at: Option<Known>) {
        if self.local.contains(&ptr) {
            return;
        }
        let Some(p) = self.kernel.params.iter().position(|p| p.reg == ptr) else {
            self.refused = true;
            return;
        };
        self.touched[p] = match (self.touched[p], at) {
            (Touched::Never, Some(k)) => Touched::Within(dtype, k),
            (Touched::Within(_, a), Some(b)) if a.band == b.band => {
                Touched::Within(dtype, Known { band: a.band, lo: a.lo.min(b.lo), hi: a.hi.max(b.hi) })
            }
            (Touched::Never | Touched::Within(..) | Touched::Anywhere(_), _) => Touched::Anywhere(dtype),
        };
    }

    fn block(&mut self, body: &[Stmt], top: bool) {
        body.iter().for_each(|s| self.stmt(s, top));
    }

    fn stmt(&mut self, s: &Stmt, top: bool) {
        match s {
            Stmt::Let { dst, value } => {
                if let Some(k) = self.value(value) {
                    self.known.insert(*dst, k);
                }
            }
            Stmt::Store { ptr, dtype, index, value: _ } => {
                let at = self.index(index);
                self.touch(*ptr, *dtype, at);
            }
            Stmt::For(l) => {
                let whole = l.lo == self.kernel.lo.into() && l.hi == self.kernel.hi.into();
                let var = if whole && top && l.step.as_i64() == Some(1) {
                    Some(Known { band: self.per, lo: 0, hi: self.per - 1 })
                } else {
                    self.operand(l.lo).zip(self.operand(l.hi)).filter(|(a, b)| a.band == b.band).map(|(a, b)| Known {
                        band: a.band,
                        lo: a.lo,
                        hi: b.hi - 1,
                    })
                };
                self.known.extend(var.map(|k| (l.var, k)));
                self.block(&l.body, false);
            }
            Stmt::If(i) => {
                self.block(&i.then, false);
                self.block(&i.els, false);
            }
            Stmt::Local { dst, .. } => _ = self.local.insert(*dst),
            Stmt::Prefetch { .. } => {}
            // past the caches, where the next step would not find it; what else there is is no kernel's on the host
            Stmt::Stream { .. }
            | Stmt::Shared { .. }
            | Stmt::Barrier(_)
            | Stmt::Device(_)
            | Stmt::While(_)
            | Stmt::Alloc { .. }
            | Stmt::Need { .. }
            | Stmt::Free { .. }
            | Stmt::Launch { .. }
            | Stmt::Bands(_)
            | Stmt::CopyBytes { .. }
            | Stmt::ZeroBytes { .. }
            | Stmt::Gemm(_)
            | Stmt::Runtime { .. }
            | Stmt::Print { .. }
            | Stmt::Format { .. }
            | Stmt::Assert { .. }
            | Stmt::Debug { .. }
            | Stmt::Safepoint
            | Stmt::Tick { .. }
            | Stmt::Tock(_)
            | Stmt::Return { .. } => self.refused = true,
        }
    }

    fn value(&mut self, e: &Expr) -> Option<Known> {
        match e {
            Expr::Copy(x) => self.operand(*x),
            Expr::Index(i) => self.index(i),
            Expr::IndexDiv { a, b } => self.operand(*a)?.div(b.as_i64()?),
            Expr::IndexRem { a, b } => self.operand(*a)?.rem(b.as_i64()?),
            Expr::Binary { op: BinaryOp::Min, dtype: Dtype::I64, a, b } => {
                let (a, b) = (self.operand(*a)?, self.operand(*b)?);
                (a.band == b.band).then(|| Known { band: a.band, lo: a.lo.min(b.lo), hi: a.hi.min(b.hi) })
            }
            Expr::Load { ptr, dtype, index } => {
                let at = self.index(index);
                self.touch(*ptr, *dtype, at);
                None
            }
            Expr::Offset { .. } => {
                self.refused = true;
                None
            }
            Expr::Unary { .. }
            | Expr::Binary { .. }
            | Expr::Compare { .. }
            | Expr::Select { .. }
            | Expr::Convert { .. }
            | Expr::Bits { .. }
            | Expr::MulAdd { .. }
            | Expr::SizeMul { .. }
            | Expr::Place(_)
            | Expr::Address(_)
            | Expr::Data(_)
            | Expr::Text(_) => None,
        }
    }
}

/// What a batch of products does with its operands, if a band is `per` items of the outermost axis.
pub fn of_gemm(g: &Gemm, per: i64) -> Option<Vec<(Reg, Reach)>> {
    let matrix = |m: &Matrix, [rows, cols]: [Operand; 2], access| {
        let size = || {
            let (outer, inner) = m.batch_strides.split_first()?;
            let outer = outer.as_i64()?;
            let plain = m.offset.terms.is_empty() && m.offset.offset >= 0;
            let strides = inner.iter().zip(&g.batch[1..]);
            let axes = strides.chain([(&m.row_stride, &rows), (&m.col_stride, &cols)]);
            let last = axes.into_iter().try_fold(m.offset.offset, |at, (stride, extent)| {
                let stride = stride.as_i64().filter(|s| *s >= 0)?;
                at.checked_add(stride.checked_mul((extent.as_i64()? - 1).max(0))?)
            })?;
            (plain && last < outer).then(|| outer.checked_mul(per)).flatten()
        };
        (m.ptr, Reach { access, dtype: g.dtype, size: size() })
    };
    let write = if g.accumulate { Access::ReadWrite } else { Access::Write };
    (!g.batch.is_empty()).then(|| {
        vec![
            matrix(&g.a, [g.m, g.k], Access::Read),
            matrix(&g.b, [g.k, g.n], Access::Read),
            matrix(&g.c, [g.m, g.n], write),
        ]
    })
}

/// What a convolution does with its operands, if a band is `per` images. None for the derivative by the filter, a sum over images.
pub fn of_windows(w: &Windows, per: i64) -> Option<Vec<(Reg, Reach)>> {
    let [_, g, c, o] = w.counts;
    let image = |extents: [Operand; 3], channels: Operand| {
        let all = extents.into_iter().chain([g, channels]);
        all.into_iter().try_fold(per, |size, e| size.checked_mul(e.as_i64()?))
    };
    let x = image(w.steps.map(|s| s.whole), c);
    let y = image(w.steps.map(|s| s.place), o);
    let reach = |access, size| Reach { access, dtype: w.dtype, size };
    let by = |role| if role == w.result { Access::Write } else { Access::Read };
    (w.result != Role::W)
        .then(|| vec![(w.x, reach(by(Role::X), x)), (w.w, reach(Access::Read, None)), (w.y, reach(by(Role::Y), y))])
}
