//! Computes one element of a tensor at an index, through everything that stays virtual.

use tdl_ir::{BinaryOp, Dtype, Op, ReduceOp, ValueId};

use crate::code::Idx;
use crate::ir::*;
use crate::lower::{Lower, elementwise};
use crate::nest::identity;
use crate::size::{Size, dense_strides, reshape_runs};

impl Lower<'_> {
    /// The element of `v` at `idx`, in a register where elements are computed now.
    pub fn eval(&mut self, v: ValueId, idx: &[Idx]) -> Operand {
        if let Some(o) = self.row_regs.get(&v) {
            return *o;
        }
        if self.is_scalar(v) && (self.scalars.contains_key(&v) || self.values.role(v) != crate::values::Role::Virtual) {
            let o = self.scalar(v);
            return self.outer(o);
        }
        if let Some(o) = self.code().recall(v, idx) {
            return o;
        }
        let o = if self.home.contains_key(&v) { self.load(v, v, idx) } else { self.eval_op(v, idx) };
        self.code().remember(v, idx, o);
        o
    }

    /// Loads element `idx` of `v`, whose elements are those of `storage` in the same order.
    fn load(&mut self, storage: ValueId, v: ValueId, idx: &[Idx]) -> Operand {
        let dims = self.sizes_of(v);
        // computed here, and perhaps not written yet
        if let Some(o) = self.code().recall(storage, &[flat(idx, &dims)]) {
            return o;
        }
        let buf = self.home[&storage];
        let skip = self.outer_axes(buf);
        let at = flat(&idx[skip..], &dims[skip..]);
        let dtype = self.dtype(v);
        if let Some(o) = self.load_from_tile(buf, dtype, &at) {
            return o;
        }
        let ptr = self.pointer(buf, Access::Read);
        let index = self.index(&at);
        self.code().scalar(dtype, Expr::Load { ptr, dtype, index })
    }

    /// Writes element `idx` of a dense tensor with extents `dims` in `buf`.
    pub fn store(&mut self, buf: BufStore<'_>, idx: &[Idx], mut value: Operand) {
        if self.added.contains(&buf.id) {
            let zero = identity(ReduceOp::Sum, buf.dtype);
            value = self.code().binary(BinaryOp::Add, buf.dtype, zero, value);
        }
        let skip = self.outer_axes(buf.id);
        let at = flat(&idx[skip..], &buf.dims[skip..]);
        if self.store_to_stream(buf.id, &at, value) {
            return;
        }
        let ptr = self.pointer(buf.id, Access::Write);
        let index = self.index(&at);
        let dtype = buf.dtype;
        self.code().push(Stmt::Store { ptr, dtype, index, value });
    }

    /// Computes `v` from its operands, even if it has memory of its own.
    pub fn eval_op(&mut self, v: ValueId, idx: &[Idx]) -> Operand {
        let (inst, _) = self.values.graph.inst(v).expect("a parameter is in memory");
        let x = |i: usize| inst.args[i];
        match &inst.op {
            Op::Iota => {
                let at = self.position(&idx[0]);
                let dtype = self.dtype(v);
                self.code().convert(Dtype::I64, dtype, at)
            }
            Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Convert => {
                let args: Vec<Operand> = inst.args.iter().map(|a| self.eval(*a, idx)).collect();
                let dtypes: Vec<Dtype> = inst.args.iter().map(|a| self.dtype(*a)).collect();
                self.word(|| word(&inst.op));
                let dtype = self.dtype(v);
                let expr = elementwise(&inst.op, dtype, &dtypes, &args);
                self.code().scalar(dtype, expr)
            }
            Op::StopGrad | Op::Barrier => self.eval(x(0), idx),
            Op::Expand { axes } => {
                let inner: Vec<Idx> =
                    idx.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, a)| a.clone()).collect();
                self.eval(x(0), &inner)
            }
            Op::Permute { perm } => {
                let mut inner = vec![Idx::ZERO; idx.len()];
                for (i, p) in perm.iter().enumerate() {
                    inner[*p] = idx[i].clone();
                }
                self.eval(x(0), &inner)
            }
            Op::Slice { steps } => {
                let inner: Vec<Idx> = (0..idx.len())
                    .map(|i| {
                        let start = self.scalar(x(1 + i));
                        let start = self.outer(start);
                        Idx::operand(start).add(&idx[i].scale(&Size::constant(steps[i])))
                    })
                    .collect();
                self.eval(x(0), &inner)
            }
            Op::Shear { axis, spread } => self.shear(v, *axis, *spread, idx),
            Op::Flip { axes } => {
                let dims = self.sizes_of(v);
                let inner: Vec<Idx> = (0..idx.len())
                    .map(|i| {
                        if !axes.contains(&i) {
                            return idx[i].clone();
                        }
                        Idx::size(dims[i].clone()).add(&Idx::constant(-1)).add(&idx[i].scale(&Size::constant(-1)))
                    })
                    .collect();
                self.eval(x(0), &inner)
            }
            Op::Reshape => match self.values.storage(x(0)) {
                Some(s) if self.sizes_of(s) == self.sizes_of(v) => self.eval(s, idx),
                Some(s) if self.home.contains_key(&s) && !self.row_regs.contains_key(&s) => self.load(s, v, idx),
                _ => {
                    let inner = self.reshape_index(v, x(0), idx);
                    self.eval(x(0), &inner)
                }
            },
            Op::Gather => {
                let rank = self.ty(x(1)).rank();
                let row = self.eval(x(1), &idx[..rank]);
                let mut inner = vec![Idx::operand(row)];
                inner.extend_from_slice(&idx[rank..]);
                self.word(|| "gather".into());
                self.eval(x(0), &inner)
            }
            other => unreachable!("{other:?} is not computed element by element"),
        }
    }

    /// The index in `from` of the element that stands at `idx` in its reshape `v`.
    fn reshape_index(&mut self, v: ValueId, from: ValueId, idx: &[Idx]) -> Vec<Idx> {
        let (old, new) = (self.sizes_of(from), self.sizes_of(v));
        let mut inner = vec![Idx::ZERO; old.len()];
        for (f, t) in reshape_runs(&old, &new) {
            let strides = dense_strides(&new[t.clone()]);
            let mut linear = Idx::ZERO;
            for (i, s) in t.zip(&strides) {
                linear = linear.add(&idx[i].scale(s));
            }
            match f.len() {
                0 => {}
                1 => inner[f.start] = linear,
                _ => {
                    let mut rest = self.position(&linear);
                    for k in f.clone().rev() {
                        if k == f.start {
                            inner[k] = Idx::operand(rest);
                            break;
                        }
                        let d = self.outer_size(&old[k]);
                        let at = self.code().rem(rest, d);
                        inner[k] = Idx::operand(at);
                        rest = self.code().div(rest, d);
                    }
                }
            }
        }
        inner
    }
}

/// Where an element stands in a dense tensor.
pub fn flat(idx: &[Idx], dims: &[Size]) -> Idx {
    idx.iter().zip(&dense_strides(dims)).fold(Idx::ZERO, |at, (i, s)| at.add(&i.scale(s)))
}

/// A dense tensor to be written.
#[derive(Clone, Copy)]
pub struct BufStore<'a> {
    pub id: crate::buffers::BufId,
    pub dtype: Dtype,
    pub dims: &'a [Size],
}

fn word(op: &Op) -> String {
    match op {
        Op::Unary(u) => format!("{u:?}").to_lowercase(),
        Op::Binary(b) => format!("{b:?}").to_lowercase(),
        Op::Compare(c) => format!("{c:?}").to_lowercase(),
        Op::Select => "select".into(),
        _ => "convert".into(),
    }
}
