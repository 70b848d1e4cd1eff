//! Arithmetic on trees, leaf by leaf. State and leaves that are no floats come from the first tree.

use tdl_ir::{BinaryOp, Dim, Dtype, ReduceOp, UnaryOp, ValueId};

use crate::elab::Elab;
use crate::rty::RTy;
use crate::tensor::{broadcast, reduce};
use crate::val::{Argument, Val};
use crate::{R, internal};

impl<'p> Elab<'p> {
    pub fn tree_unary(&mut self, op: UnaryOp, x: &Val<'p>, active: &[bool]) -> R<Val<'p>> {
        self.map_active(x, active, &mut |this, v| Ok(this.b.unary(op, v)))
    }

    /// `f` on the active leaves; the others stay.
    pub fn map_active(
        &mut self,
        x: &Val<'p>,
        active: &[bool],
        f: &mut impl FnMut(&mut Self, ValueId) -> R<ValueId>,
    ) -> R<Val<'p>> {
        let old = x.leaves();
        let mut new = Vec::with_capacity(old.len());
        for (i, v) in old.into_iter().enumerate() {
            new.push(if active.get(i).copied().unwrap_or(false) { f(self, v)? } else { v });
        }
        x.rebuild(&mut new.into_iter())
    }

    /// Each side with whether it is a scalar.
    pub fn tree_binary(&mut self, op: BinaryOp, x: (&Argument<'p>, bool), y: (&Argument<'p>, bool)) -> R<Val<'p>> {
        match (x, y) {
            ((x, false), (y, false)) => {
                let (a, b) = (x.val.leaves(), y.val.leaves());
                if a.len() != b.len() {
                    return Err(internal("trees of different shapes"));
                }
                let mut new = Vec::with_capacity(a.len());
                for (i, (a, b)) in a.into_iter().zip(b).enumerate() {
                    new.push(if x.active[i] { self.binary(op, a, b)? } else { a });
                }
                x.val.rebuild(&mut new.into_iter())
            }
            ((x, _), (y, true)) => {
                let s = y.val.leaf()?;
                self.map_active(&x.val, &x.active, &mut |this, v| {
                    let s = this.scalar_like(s, v);
                    this.binary(op, v, s)
                })
            }
            ((x, true), (y, false)) => {
                let s = x.val.leaf()?;
                self.map_active(&y.val, &y.active, &mut |this, v| {
                    let s = this.scalar_like(s, v);
                    this.binary(op, s, v)
                })
            }
        }
    }

    fn scalar_like(&mut self, s: ValueId, v: ValueId) -> ValueId {
        let dtype = self.b.dtype(v);
        self.convert_value(s, dtype)
    }

    fn active_leaves(x: &Argument<'p>) -> Vec<ValueId> {
        x.val.leaves().into_iter().zip(x.active.iter()).filter(|(_, a)| **a).map(|(v, _)| v).collect()
    }

    /// The sum of a number per active leaf, in the result's dtype.
    fn total(&mut self, parts: Vec<ValueId>, dtype: Dtype) -> ValueId {
        let mut total: Option<ValueId> = None;
        for p in parts {
            let p = self.b.convert(p, dtype);
            total = Some(match total {
                None => p,
                Some(t) => self.b.add(t, p),
            });
        }
        match total {
            Some(t) => t,
            None => self.b.const_num(0.0, dtype),
        }
    }

    fn sum_all(&mut self, x: ValueId) -> ValueId {
        let axes = reduce::Axes::all(self.b.rank(x));
        reduce::reduce(&mut self.b, ReduceOp::Sum, x, &axes)
    }

    pub fn tree_dot(&mut self, x: &Argument<'p>, y: &Argument<'p>, dtype: Dtype) -> ValueId {
        let pairs: Vec<(ValueId, ValueId)> = Self::active_leaves(x).into_iter().zip(Self::active_leaves(y)).collect();
        let mut parts = Vec::new();
        for (a, b) in pairs {
            let p = self.b.mul(a, b);
            parts.push(self.sum_all(p));
        }
        self.total(parts, dtype)
    }

    pub fn tree_sum(&mut self, x: &Argument<'p>, dtype: Dtype) -> ValueId {
        let parts = Self::active_leaves(x).into_iter().map(|v| self.sum_all(v)).collect();
        self.total(parts, dtype)
    }

    pub fn tree_norm(&mut self, x: &Argument<'p>, dtype: Dtype) -> ValueId {
        let square = self.tree_dot(x, x, dtype);
        reduce::safe_sqrt(&mut self.b, square)
    }

    /// The tree scaled down to norm `limit` if it is longer.
    pub fn tree_clip(&mut self, x: &Argument<'p>, limit: ValueId) -> R<Val<'p>> {
        let dtype = self.b.dtype(limit);
        let norm = self.tree_norm(x, dtype);
        let largest = self.b.binary(BinaryOp::Max, norm, limit);
        let scale = self.b.div(limit, largest);
        // a zero norm under a zero limit: 0 / 0
        let longer = self.b.compare(tdl_ir::CompareOp::Gt, norm, limit);
        let one = self.b.full_like(1.0, scale);
        let scale = self.b.select(longer, scale, one);
        self.map_active(&x.val, &x.active, &mut |this, v| {
            let s = this.scalar_like(scale, v);
            let (v, s) = broadcast::pair(&mut this.b, v, s);
            Ok(this.b.mul(v, s))
        })
    }

    pub fn tree_count(&mut self, x: &Argument<'p>) -> ValueId {
        let mut n = self.b.const_i64(0);
        for v in Self::active_leaves(x) {
            let dims: Vec<Dim> = self.b.dims(v);
            let k = self.b.numel(&dims);
            n = self.b.size_binary(BinaryOp::Add, n, k);
        }
        n
    }

    /// Zeros where a gradient has none, the given values where it has one.
    pub fn gradient(&mut self, x: &Argument<'p>, grads: &mut impl Iterator<Item = ValueId>) -> R<Val<'p>> {
        let mut k = 0;
        self.gradient_of(&x.val, &x.active, &mut k, grads)
    }

    fn gradient_of(
        &mut self,
        x: &Val<'p>,
        active: &[bool],
        k: &mut usize,
        grads: &mut impl Iterator<Item = ValueId>,
    ) -> R<Val<'p>> {
        Ok(match x {
            Val::Leaf(v) => {
                *k += 1;
                if active.get(*k - 1).copied().unwrap_or(false) {
                    Val::Leaf(grads.next().ok_or_else(|| internal("too few gradients"))?)
                } else if self.b.ty(*v).dtype().is_some() {
                    Val::Leaf(self.b.full_like(0.0, *v))
                } else {
                    Val::Leaf(*v)
                }
            }
            Val::Tree(items) => {
                let mut out = Vec::with_capacity(items.len());
                for v in items {
                    out.push(self.gradient_of(v, active, k, grads)?);
                }
                Val::Tree(out)
            }
            Val::Pack(slots, body) => {
                *k += slots.len();
                Val::Pack(slots.clone(), Box::new(self.gradient_of(body, active, k, grads)?))
            }
            Val::Fn(_) | Val::Never => x.clone(),
        })
    }

    /// The dtype of a scalar type.
    pub fn dtype_of(ty: &RTy<'p>) -> R<Dtype> {
        match ty {
            RTy::Tensor(d, _) => Ok(*d),
            RTy::Exists(_, body) => Self::dtype_of(body),
            RTy::Never | RTy::Tuple(_) | RTy::Struct(..) | RTy::Stack(..) | RTy::Str | RTy::Rng | RTy::Fn => {
                Err(internal("no dtype"))
            }
        }
    }
}
