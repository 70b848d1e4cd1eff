//! What is done with a product's elements before they are stored: a group of elementwise operations (bias, activation, residual, scale,
//! conversion), of which each thread computes the elements that it has.

use rustc_hash::FxHashSet;
use tdl_ir::{Dtype, Inst, Op, ValueId};

use super::{Epilogue, Here};
use crate::buffers::BufId;
use crate::code::{Code, Idx};
use crate::ir::*;
use crate::kernel::KernelCode;
use crate::lower::Lower;
use crate::nest::{Run, collapse, extents, place_runs};
use crate::plan::{Group, GroupKind, Node, Part, member_leaves};
use crate::values::Role;

/// A group that alone reads a product.
pub struct Fused<'g> {
    group: &'g Group,
    product: ValueId,
    /// Its axes, as all that it reads sees them.
    runs: Vec<Run>,
    /// Where its first member goes.
    out: BufId,
}

/// How a product's rows and columns are those of the group's runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    RowCol,
    ColRow,
    /// Only by the element's place in memory.
    Flat,
}

impl<'l> Lower<'l> {
    /// The group of the node after node `n`, if it can be computed where that node's product is.
    pub fn follows<'g>(&self, inst: &Inst, n: usize, next: Option<&'g Node<'l>>) -> Option<&'g Group> {
        let (Op::Contract { .. }, [product], Some(Node::Group(g))) = (&inst.op, inst.results.as_slice(), next) else {
            return None;
        };
        let simple = g.kind == GroupKind::Flat
            && g.outer == self.sizes_of(*product)
            && g.members.iter().all(|m| m.part == Part::Element && m.store && m.scratch.is_none());
        if !self.on_gpu() || !simple || self.values.role(*product) != Role::Stored || !self.read_by(*product, n + 1) {
            return None;
        }
        let leaves = g.members.iter().flat_map(|m| member_leaves(&self.values, g, m));
        let own: Vec<_> = leaves.filter(|l| l.storage == Some(*product)).collect();
        let same = own.iter().all(|l| l.is_identity(g.outer.len()) && l.dims == g.outer);
        (same && !own.is_empty()).then_some(g)
    }

    /// Should a result of the group be where an operand of the product is? (A loop's value is, that is multiplied again and again: to compute the
    /// next one elsewhere would cost a copy, as much as is saved.)
    pub fn goes_to(&mut self, g: &Group, operands: [BufId; 2]) -> bool {
        let prefer = &self.block().prefer;
        g.members.iter().any(|m| prefer.get(&m.value).is_some_and(|b| operands.contains(b)))
    }

    /// Makes room for the group's results; none of `operands` is overwritten.
    pub fn fuse<'g>(&mut self, g: &'g Group, product: ValueId, n: usize, operands: [BufId; 2]) -> Fused<'g> {
        let mut taken: FxHashSet<BufId> = operands.into_iter().collect();
        for m in &g.members {
            let buf = self.place_member(g, m, n, &taken);
            taken.insert(buf);
            self.block().alive.insert(m.value);
        }
        let leaves = self.group_leaves(g);
        let runs = collapse(&(0..g.outer.len()).collect::<Vec<_>>(), &g.outer, &leaves);
        Fused { group: g, product, runs, out: self.home[&g.members[0].value] }
    }
}

impl Fused<'_> {
    pub fn out(&self) -> BufId {
        self.out
    }

    fn order(&self, l: &mut Lower<'_>, g: &Gemm) -> Order {
        let [outer, inner] = self.runs.as_slice() else { return Order::Flat };
        if !g.batch.is_empty() {
            return Order::Flat;
        }
        let (outer, inner) = (l.size(&outer.extent), l.size(&inner.extent));
        match (g.c.row_stride.as_i64(), g.c.col_stride.as_i64()) {
            (_, Some(1)) if outer == g.m && inner == g.n => Order::RowCol,
            (Some(1), _) if outer == g.n && inner == g.m => Order::ColRow,
            _ => Order::Flat,
        }
    }
}

/// A kernel of a product that goes on with the group.
pub struct After<'x, 'l, 'g> {
    l: &'x mut Lower<'l>,
    fused: &'x Fused<'g>,
    order: Order,
}

impl<'x, 'l, 'g> After<'x, 'l, 'g> {
    pub fn new(l: &'x mut Lower<'l>, fused: &'x Fused<'g>, g: &Gemm) -> After<'x, 'l, 'g> {
        let order = fused.order(l, g);
        l.kernel = Some(KernelCode::new());
        After { l, fused, order }
    }

    /// What the group captured of the host, to follow the product's own parameters.
    pub fn end(self) -> (Vec<KernelParam>, Vec<Operand>) {
        self.l.kernel.take().map(KernelCode::into_parts).unwrap_or_default()
    }

    /// Does `f` while the product's code is the kernel's.
    fn within<T>(&mut self, c: &mut Code, f: impl FnOnce(&mut Self) -> T) -> T {
        let swap = |s: &mut Self, c: &mut Code| {
            let Some(k) = &mut s.l.kernel else { unreachable!("the kernel is open") };
            std::mem::swap(&mut k.code, c);
        };
        swap(self, c);
        let out = f(self);
        swap(self, c);
        out
    }

    /// The indices of an element, `q` columns on.
    fn index(&mut self, here: &Here, q: i64) -> Vec<Idx> {
        let l = &mut *self.l;
        let inner = match self.order {
            Order::Flat => {
                let mut flat = here.index.clone();
                flat.offset += q;
                let flat = l.code().scalar(Dtype::I64, Expr::Index(flat));
                l.decompose(flat, &extents(&self.fused.runs))
            }
            order => {
                let col = l.code().add(here.col, Operand::i64(q));
                let [row, col] = [here.row, col].map(Idx::operand);
                if order == Order::RowCol { vec![row, col] } else { vec![col, row] }
            }
        };
        let mut idx = vec![Idx::ZERO; self.fused.group.outer.len()];
        place_runs(&mut idx, &self.fused.runs, &inner);
        idx
    }
}

impl Epilogue for After<'_, '_, '_> {
    fn out(&mut self, c: &mut Code) -> Reg {
        let out = self.fused.out;
        self.within(c, |s| s.l.pointer(out, Access::Write))
    }

    fn put(&mut self, c: &mut Code, here: &Here, values: &[Operand]) {
        self.within(c, |s| {
            let Fused { group, product, out, .. } = s.fused;
            let out = s.l.pointer(*out, Access::Write);
            let members: Vec<_> = group.members.iter().collect();
            let mut stores: Vec<(Reg, Dtype, Index, Vec<Operand>)> = Vec::new();
            for (q, value) in values.iter().enumerate() {
                let idx = s.index(here, q as i64);
                s.l.row_regs.insert(*product, *value);
                s.l.code().begin();
                s.l.element(group, &members, &idx);
                let code = s.l.code().end();
                s.l.row_regs.remove(product);
                for stmt in code {
                    match stmt {
                        Stmt::Store { ptr, dtype, index, value } => {
                            match stores.iter_mut().find(|s| s.0 == ptr && ptr == out) {
                                Some(s) => s.3.push(value),
                                None => stores.push((ptr, dtype, index, vec![value])),
                            }
                        }
                        stmt => s.l.code().push(stmt),
                    }
                }
            }
            // neighbours of the first result, which the kernel knows to be aligned, are stored together
            for (ptr, dtype, index, values) in stores {
                for (n, values) in values.chunks(WIDE / dtype.size()).enumerate() {
                    let mut index = index.clone();
                    index.offset += (n * (WIDE / dtype.size())) as i64;
                    s.l.code().push(match values {
                        [value] => Stmt::Store { ptr, dtype, index, value: *value },
                        _ => Device::Store { ptr, dtype, index, values: values.to_vec() }.into(),
                    });
                }
            }
        });
    }
}
