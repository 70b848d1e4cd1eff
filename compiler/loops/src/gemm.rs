//! Products of matrices: labels become rows, columns, inner and batch axes; transposes become strides.

use tdl_ir::{Inst, Op, ValueId};

use crate::buffers::BufId;
use crate::code::Idx;
use crate::ir::*;
use crate::lower::Lower;
use crate::plan::{Group, folded};
use crate::size::{Size, dense_strides, reshape_runs};

/// A tensor in memory, seen through strides.
struct View {
    buf: BufId,
    offset: Idx,
    strides: Vec<Size>,
}

/// Axes that are one loop of the product, with the stride of each operand: left, right, result.
#[derive(Clone)]
struct Axis {
    extent: Size,
    strides: [Size; 3],
}

/// What becomes of a product.
enum Goal<'g> {
    /// It is written.
    Store(BufId),
    /// It is added to what is there.
    Add(BufId),
    /// The group of the node after this one goes on with it, if it is added up in one piece and has room of its own; else it is stored.
    Group(&'g Group, usize),
}

impl Lower<'_> {
    fn view(&mut self, v: ValueId) -> View {
        self.strided(v).unwrap_or_else(|| {
            let buf = self.dense(v);
            View { buf, offset: Idx::ZERO, strides: dense_strides(&self.sizes_of(v)) }
        })
    }

    /// Where a tensor lies: its address, the first element, and the strides of its axes.
    pub fn lies(&mut self, v: ValueId) -> (Reg, Index, Vec<Size>) {
        let view = self.view(v);
        (self.buf(view.buf).ptr, self.index(&view.offset), view.strides)
    }

    fn strided(&mut self, v: ValueId) -> Option<View> {
        if let Some(s) = self.values.storage(v)
            && let Some(buf) = self.home.get(&s)
        {
            return Some(View { buf: *buf, offset: Idx::ZERO, strides: dense_strides(&self.sizes_of(v)) });
        }
        let (inst, _) = self.values.graph.inst(v)?;
        let x = *inst.args.first()?;
        if !self.is_tensor(x) {
            return None;
        }
        match &inst.op {
            tdl_ir::Op::Permute { perm } => {
                let inner = self.strided(x)?;
                let strides = perm.iter().map(|p| inner.strides[*p].clone()).collect();
                Some(View { strides, ..inner })
            }
            tdl_ir::Op::Slice { steps } => {
                let mut inner = self.strided(x)?;
                for (i, step) in steps.iter().enumerate() {
                    let start = self.scalar(inst.args[1 + i]);
                    inner.offset = inner.offset.add(&Idx::operand(start).scale(&inner.strides[i]));
                    inner.strides[i] = inner.strides[i].scale(*step);
                }
                Some(inner)
            }
            tdl_ir::Op::Expand { axes } => {
                let inner = self.strided(x)?;
                let rank = self.ty(v).rank();
                let mut old = inner.strides.into_iter();
                let strides = (0..rank)
                    .map(|i| if axes.contains(&i) { Size::constant(0) } else { old.next().expect("a kept axis") })
                    .collect();
                Some(View { strides, ..inner })
            }
            tdl_ir::Op::Reshape => {
                let inner = self.strided(x)?;
                let (from, to) = (self.sizes_of(x), self.sizes_of(v));
                let mut strides = vec![Size::constant(0); to.len()];
                for (f, t) in reshape_runs(&from, &to) {
                    let contiguous = f.clone().skip(1).all(|i| inner.strides[i - 1] == inner.strides[i].mul(&from[i]));
                    if f.is_empty() || t.is_empty() {
                        continue;
                    }
                    if !contiguous {
                        return None;
                    }
                    let unit = &inner.strides[f.end - 1];
                    for (i, s) in t.clone().zip(dense_strides(&to[t])) {
                        strides[i] = s.mul(unit);
                    }
                }
                Some(View { strides, ..inner })
            }
            _ => None,
        }
    }

    /// Emits the product; its result is dense.
    pub fn contract(&mut self, inst: &Inst, lhs: &[u8], rhs: &[u8], out: &[u8], n: usize) {
        let buf = self.place(inst.results[0], n);
        self.contract_into(inst, [lhs, rhs, out], Goal::Store(buf));
    }

    /// The product of node `n`, and the group of the next one where the product is; true if that is done.
    pub fn contract_and(&mut self, inst: &Inst, g: &Group, n: usize) -> bool {
        let Op::Contract { lhs, rhs, out } = &inst.op else { unreachable!("a product") };
        self.contract_into(inst, [lhs, rhs, out], Goal::Group(g, n))
    }

    /// A sum with a product, which is added to the other operand where that is (see [`crate::plan::Plan`]).
    pub fn accumulate(&mut self, inst: &Inst, n: usize) {
        let product =
            inst.args.iter().find_map(|a| self.values.graph.inst(*a).filter(|(i, _)| folded(&self.values, i)));
        let Some((product, _)) = product else { unreachable!("a sum that is no group has a product") };
        let Op::Contract { lhs, rhs, out } = &product.op else { unreachable!("a product") };
        let old = inst.args.iter().find(|a| **a != product.results[0]).expect("the other operand");
        let (buf, aside) = self.updated(*old, inst.results[0], n, &product.args, None);
        self.contract_into(product, [lhs, rhs, out], Goal::Add(buf));
        self.put_back(aside);
    }

    /// Computes the product; true if what follows it is done too.
    fn contract_into(&mut self, inst: &Inst, [lhs, rhs, out]: [&[u8]; 3], goal: Goal<'_>) -> bool {
        let r = inst.results[0];
        let (a, b) = (self.view(inst.args[0]), self.view(inst.args[1]));
        let (da, db, dc) = (self.sizes_of(inst.args[0]), self.sizes_of(inst.args[1]), self.sizes_of(r));
        let c_strides = dense_strides(&dc);
        let stride = |labels: &[u8], strides: &[Size], l: u8| {
            labels.iter().position(|x| *x == l).map_or(Size::constant(0), |i| strides[i].clone())
        };
        let extent = |l: u8| match lhs.iter().position(|x| *x == l) {
            Some(i) => da[i].clone(),
            None => db[rhs.iter().position(|x| *x == l).expect("a label of an operand")].clone(),
        };
        let axes = |labels: Vec<u8>| -> Vec<Axis> {
            let all = labels.into_iter().map(|l| Axis {
                extent: extent(l),
                strides: [stride(lhs, &a.strides, l), stride(rhs, &b.strides, l), stride(out, &c_strides, l)],
            });
            merge(all.filter(|a| !a.extent.is(1)).collect())
        };
        let (inl, inr, ino) = (|l: &u8| lhs.contains(l), |l: &u8| rhs.contains(l), |l: &u8| out.contains(l));
        let mut m = axes(out.iter().copied().filter(|l| !inr(l)).collect());
        let mut nn = axes(out.iter().copied().filter(|l| !inl(l)).collect());
        let mut batch = axes(out.iter().copied().filter(|l| inl(l) && inr(l)).collect());
        let by_left: Vec<Axis> = axes(lhs.iter().copied().filter(|l| inr(l) && !ino(l)).collect());
        let by_right: Vec<Axis> = axes(rhs.iter().copied().filter(|l| inl(l) && !ino(l)).collect());
        let mut k = if by_right.len() < by_left.len() { by_right } else { by_left };
        let one = || Axis { extent: Size::ONE, strides: [Size::ONE, Size::ONE, Size::ONE] };
        let rows = m.pop().unwrap_or_else(one);
        let cols = nn.pop().unwrap_or_else(one);
        let inner = k.pop().unwrap_or_else(one);
        batch.extend(m);
        batch.extend(nn);

        let dtype = self.dtype(r);
        let mut index = a.offset.clone();
        let mut index_b = b.offset.clone();
        // Inner axes that are not one in memory: the products are added up.
        let add = matches!(goal, Goal::Add(_));
        let accumulate = add || !k.is_empty();
        let mut fused = None;
        let buf = match goal {
            Goal::Store(buf) | Goal::Add(buf) => buf,
            Goal::Group(g, n) if k.is_empty() && !self.goes_to(g, [a.buf, b.buf]) => {
                let f = self.fuse(g, r, n, [a.buf, b.buf]);
                let out = f.out();
                fused = Some(f);
                out
            }
            Goal::Group(_, n) => self.place(r, n),
        };
        if accumulate && !add {
            let bytes = self.bytes(r);
            let (dst, bytes) = (self.buf(buf).ptr, self.size(&bytes));
            self.perform(Stmt::ZeroBytes { dst, bytes });
        }
        let mut heads = Vec::new();
        for axis in &k {
            let hi = self.size(&axis.extent);
            let head = self.host.begin_loop(Operand::i64(0), hi, LoopKind::Serial);
            index = index.add(&Idx::reg(head.var).scale(&axis.strides[0]));
            index_b = index_b.add(&Idx::reg(head.var).scale(&axis.strides[1]));
            heads.push(head);
        }
        let extents: Vec<Operand> = batch.iter().map(|x| self.size(&x.extent)).collect();
        let matrix = |l: &mut Self, which: usize, buf: BufId, offset: &Idx, row: &Axis, col: &Axis| Matrix {
            ptr: l.buf(buf).ptr,
            offset: l.index(offset),
            row_stride: l.size(&row.strides[which]),
            col_stride: l.size(&col.strides[which]),
            batch_strides: batch.iter().map(|x| l.size(&x.strides[which])).collect(),
        };
        let gemm = Gemm {
            dtype,
            a: matrix(self, 0, a.buf, &index, &rows, &inner),
            b: matrix(self, 1, b.buf, &index_b, &inner, &cols),
            c: matrix(self, 2, buf, &Idx::ZERO, &rows, &cols),
            m: self.size(&rows.extent),
            n: self.size(&cols.extent),
            k: self.size(&inner.extent),
            batch: extents,
            accumulate,
        };
        if self.on_gpu() {
            self.launch_product(&gemm, fused.as_ref());
        } else {
            self.perform(Stmt::Gemm(Box::new(gemm)));
        }
        for head in heads.into_iter().rev() {
            self.host.end_loop(head, vec![], vec![]);
        }
        fused.is_some()
    }
}

/// Joins neighbours that every operand sees as one axis.
fn merge(axes: Vec<Axis>) -> Vec<Axis> {
    let mut out: Vec<Axis> = Vec::new();
    for a in axes {
        if let Some(o) = out.last_mut()
            && (0..3).all(|i| o.strides[i] == a.strides[i].mul(&a.extent))
        {
            o.extent = o.extent.mul(&a.extent);
            o.strides = a.strides;
            continue;
        }
        out.push(a);
    }
    out
}
