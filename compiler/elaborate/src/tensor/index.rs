//! `x[items]`: slices, index tensors and masks on plain tensors.

use tdl_ir::{BinaryOp, Builder, Dim, Dtype, Op, Type, ValueId};

/// What one axis of the operand is indexed with. [`Item::New`] and [`Item::Apart`] use no axis, [`Item::Mask`] as many as its rank.
#[derive(Clone, Copy, Debug)]
pub enum Item {
    /// A checked position; the axis goes.
    At(ValueId),
    /// `start, start + step, …`: `extent` of them; a negative step goes down from `start`.
    Range {
        start: ValueId,
        extent: Dim,
        step: i64,
    },
    Full,
    New,
    /// The first of all, if the axes of index tensors come first in the result.
    Apart,
    /// Checked positions.
    Gather(ValueId),
    /// A bool tensor over as many axes as it has, and the row-major positions of true ([`nonzero`]).
    Mask {
        mask: ValueId,
        ids: ValueId,
    },
}

impl Item {
    fn is_advanced(self) -> bool {
        match self {
            Item::Gather(_) | Item::Mask { .. } => true,
            Item::At(_) | Item::Range { .. } | Item::Full | Item::New | Item::Apart => false,
        }
    }
}

/// Items that cover every axis of an operand of this rank.
pub fn complete(b: &Builder, items: &[Item], rank: usize) -> Vec<Item> {
    let used: usize = items
        .iter()
        .map(|i| match i {
            Item::New | Item::Apart => 0,
            Item::Mask { mask, .. } => b.rank(*mask),
            Item::At(_) | Item::Range { .. } | Item::Full | Item::Gather(_) => 1,
        })
        .sum();
    let mut all = items.to_vec();
    all.extend(std::iter::repeat_n(Item::Full, rank.saturating_sub(used)));
    all
}

/// Reads `x[items]`; `items` are [`complete`].
pub fn read(b: &mut Builder, x: ValueId, items: &[Item]) -> ValueId {
    let plain = strip_masks(b, x, items);
    let (x, items) = (plain.0, plain.1);
    if !items.iter().any(|i| i.is_advanced()) {
        return basic(b, x, &items);
    }
    // slices first, with whole axes where index tensors stand; new axes last
    let slices: Vec<Item> = items
        .iter()
        .filter(|i| !matches!(i, Item::New | Item::Apart))
        .map(|i| if i.is_advanced() { Item::Full } else { *i })
        .collect();
    let sliced = basic(b, x, &slices);
    let rest: Vec<Item> = items.iter().copied().filter(|i| !matches!(i, Item::At(_))).collect();
    let view = front(b, sliced, &rest);
    let n_ids = b.rank(view.ids);
    let dims: Vec<Dim> = b.dims(view.ids).into_iter().chain(b.dims(view.rows).into_iter().skip(1)).collect();
    let dtype = b.dtype(sliced);
    let rows = b.inst1(Op::Gather, vec![view.rows, view.ids], Type::tensor(dtype, dims));
    // the gathered axes return to the place of the first index tensor
    let perm: Vec<usize> = (0..view.before)
        .map(|i| n_ids + i)
        .chain(0..n_ids)
        .chain((view.before..view.others).map(|i| n_ids + i))
        .collect();
    let placed = b.permute(rows, perm);
    insert_new(b, placed, &rest, n_ids, view.before)
}

/// Masks become index tensors of what is true; a mask of several axes flattens them first.
pub fn strip_masks(b: &mut Builder, x: ValueId, items: &[Item]) -> (ValueId, Vec<Item>) {
    if !items.iter().any(|i| matches!(i, Item::Mask { .. })) {
        return (x, items.to_vec());
    }
    let (mut shape, mut out, mut axis) = (Vec::new(), Vec::new(), 0);
    let dims = b.dims(x);
    for item in items {
        match item {
            Item::New | Item::Apart => out.push(*item),
            Item::Mask { mask, ids } => {
                let rank = b.rank(*mask);
                let n = b.numel(&dims[axis..axis + rank]);
                shape.push(if rank == 1 { dims[axis] } else { b.dim(n) });
                out.push(Item::Gather(*ids));
                axis += rank;
            }
            Item::At(_) | Item::Range { .. } | Item::Full | Item::Gather(_) => {
                shape.push(dims[axis]);
                out.push(*item);
                axis += 1;
            }
        }
    }
    (b.reshape(x, &shape), out)
}

/// Row-major positions of true: how many, and which.
pub fn nonzero(b: &mut Builder, mask: ValueId) -> (ValueId, ValueId) {
    let flat = super::reduce::flatten(b, mask);
    let k = b.next_value(0);
    let types = vec![Type::scalar(Dtype::I64), Type::tensor(Dtype::I64, [Dim::Val(k)])];
    let r = b.inst(Op::Nonzero, vec![flat], types, Vec::new());
    (r[0], r[1])
}

/// The region of `x` that slices describe: starts, extents, steps, and whether to flip, per axis.
pub struct Region {
    pub starts: Vec<ValueId>,
    pub dims: Vec<Dim>,
    pub steps: Vec<i64>,
    pub flips: Vec<usize>,
}

/// `items` without index tensors and new axes.
pub fn region(b: &mut Builder, x: ValueId, items: &[Item]) -> Region {
    let dims = b.dims(x);
    let zero = b.const_i64(0);
    let mut r = Region { starts: Vec::new(), dims: Vec::new(), steps: Vec::new(), flips: Vec::new() };
    for (axis, item) in items.iter().filter(|i| !matches!(i, Item::New | Item::Apart)).enumerate() {
        let (start, extent, step) = match item {
            Item::At(i) => (*i, Dim::Const(1), 1),
            Item::Range { start, extent, step } if *step < 0 => {
                // the lowest position: start + (extent - 1) * step
                let n = b.dim_value(*extent);
                let one = b.const_i64(1);
                let last = b.size_binary(BinaryOp::Sub, n, one);
                let step_value = b.const_i64(*step);
                let way = b.size_binary(BinaryOp::Mul, last, step_value);
                let mut low = b.size_binary(BinaryOp::Add, *start, way);
                if !matches!(extent, Dim::Const(c) if *c > 0) {
                    // of no elements the lowest would stand above the start
                    let above = b.size_binary(BinaryOp::Add, *start, one);
                    low = b.size_binary(BinaryOp::Min, low, above);
                }
                r.flips.push(axis);
                (low, *extent, -step)
            }
            Item::Range { start, extent, step } => (*start, *extent, *step),
            Item::Full | Item::New | Item::Apart | Item::Gather(_) | Item::Mask { .. } => (zero, dims[axis], 1),
        };
        r.starts.push(start);
        r.dims.push(extent);
        r.steps.push(step);
    }
    r
}

impl Region {
    /// Whether it is all of `x`.
    pub fn is_whole(&self, b: &Builder, x: ValueId) -> bool {
        self.steps.iter().all(|s| *s == 1)
            && self.flips.is_empty()
            && self.dims == b.ty(x).dims()
            && self.starts.iter().all(|s| b.as_i64(*s) == Some(0))
    }
}

fn basic(b: &mut Builder, x: ValueId, items: &[Item]) -> ValueId {
    let r = region(b, x, items);
    let mut y = x;
    if !r.is_whole(b, x) {
        let ty = Type::tensor(b.dtype(x), r.dims.clone());
        let mut args = vec![x];
        args.extend(&r.starts);
        y = b.inst1(Op::Slice { steps: r.steps.clone() }, args, ty);
    }
    if !r.flips.is_empty() {
        let ty = b.ty(y).clone();
        y = b.inst1(Op::Flip { axes: r.flips.clone() }, vec![y], ty);
    }
    let dims = result_dims(&r.dims, items);
    b.reshape(y, &dims)
}

/// Extents after positions have dropped their axes and new axes have come.
pub fn result_dims(dims: &[Dim], items: &[Item]) -> Vec<Dim> {
    let mut axis = 0;
    let mut out = Vec::new();
    for item in items {
        match item {
            Item::New => out.push(Dim::Const(1)),
            Item::Apart => {}
            Item::At(_) => axis += 1,
            Item::Range { .. } | Item::Full | Item::Gather(_) | Item::Mask { .. } => {
                out.push(dims[axis]);
                axis += 1;
            }
        }
    }
    out
}

/// Index tensors moved to the front: `rows: [indexed axes as one, others…]`.
pub struct Front {
    pub rows: ValueId,
    pub ids: ValueId,
    /// How many of the other axes stand before the index tensors in the result.
    pub before: usize,
    /// Number of other axes.
    pub others: usize,
    /// The permutation that brought the indexed axes to the front.
    pub perm: Vec<usize>,
    /// Extents right after the permutation.
    pub permuted: Vec<Dim>,
}

/// `items`: per axis of `x` an index tensor or a whole axis; new axes are skipped.
pub fn front(b: &mut Builder, x: ValueId, items: &[Item]) -> Front {
    let apart = items.iter().any(|i| matches!(i, Item::Apart));
    let axes: Vec<Item> = items.iter().copied().filter(|i| !matches!(i, Item::New | Item::Apart)).collect();
    let indexed: Vec<usize> = (0..axes.len()).filter(|i| axes[*i].is_advanced()).collect();
    let others: Vec<usize> = (0..axes.len()).filter(|i| !axes[*i].is_advanced()).collect();
    let before = indexed.first().copied().filter(|_| !apart).unwrap_or(0);
    let perm: Vec<usize> = indexed.iter().chain(&others).copied().collect();
    let permuted_value = b.permute(x, perm.clone());
    let permuted = b.dims(permuted_value);
    let mut ids = None;
    let tensors: Vec<ValueId> = indexed
        .iter()
        .filter_map(|i| match axes[*i] {
            Item::Gather(v) | Item::Mask { ids: v, .. } => Some(v),
            Item::At(_) | Item::Range { .. } | Item::Full | Item::New | Item::Apart => None,
        })
        .collect();
    for (axis, v) in super::broadcast::all(b, &tensors).into_iter().enumerate() {
        let v = b.convert(v, Dtype::I64);
        ids = Some(match ids {
            None => v,
            Some(high) => {
                let n = b.dim_value(permuted[axis]);
                let dims = b.dims(v);
                let n = b.splat(n, &dims);
                let scaled = b.mul(high, n);
                b.add(scaled, v)
            }
        });
    }
    let ids = ids.unwrap_or(x);
    let rows = if indexed.len() > 1 {
        let n = b.numel(&permuted[..indexed.len()]);
        let mut dims = vec![b.dim(n)];
        dims.extend(&permuted[indexed.len()..]);
        b.reshape(permuted_value, &dims)
    } else {
        permuted_value
    };
    Front { rows, ids, before, others: others.len(), perm, permuted }
}

/// New axes after a gather: they count in the order of `items`, where the index tensors stand as one group.
fn insert_new(b: &mut Builder, x: ValueId, items: &[Item], n_ids: usize, before: usize) -> ValueId {
    if !items.iter().any(|i| matches!(i, Item::New)) {
        return x;
    }
    let dims = b.dims(x);
    let (mut out, mut others, mut placed) = (Vec::new(), 0, false);
    let group = |out: &mut Vec<Dim>| out.extend(&dims[before..before + n_ids]);
    for item in items {
        match item {
            Item::New => out.push(Dim::Const(1)),
            Item::Apart | Item::Gather(_) | Item::Mask { .. } => {
                if !placed {
                    group(&mut out);
                    placed = true;
                }
            }
            Item::At(_) | Item::Range { .. } | Item::Full => {
                let at = if others < before { others } else { others + n_ids };
                out.push(dims[at]);
                others += 1;
            }
        }
    }
    b.reshape(x, &out)
}
