//! `x[items] = v` and `x[items] += v` as functional updates.

use tdl_ir::{Builder, Dim, Op, Type, Update, ValueId};

use super::broadcast;
use super::index::{Item, Region, front, region, result_dims, strip_masks};

/// `x` with the places `items` ([`super::index::complete`]) replaced by `v` or added to; `v` broadcasts.
pub fn write(b: &mut Builder, x: ValueId, items: &[Item], v: ValueId, mode: Update) -> ValueId {
    let items: Vec<Item> = items.iter().copied().filter(|i| !matches!(i, Item::New)).collect();
    if !items.iter().any(|i| matches!(i, Item::Gather(_) | Item::Mask { .. })) {
        return write_region(b, x, &items, v, mode);
    }
    if let ([Item::Mask { mask, .. }], Update::Set, 0) = (items.as_slice(), mode, b.rank(v)) {
        let dims = b.dims(x);
        let v = broadcast::to(b, v, &dims);
        let rank = b.rank(*mask);
        let axes = (rank..dims.len()).collect();
        let mask = b.expand(*mask, axes, &dims);
        return b.select(mask, v, x);
    }
    let whole = b.dims(x);
    let (flat, items) = strip_masks(b, x, &items);
    // the slices' part alone, the scatter into it, and the part back
    let slices: Vec<Item> =
        items.iter().map(|i| if matches!(i, Item::Gather(_) | Item::Mask { .. }) { Item::Full } else { *i }).collect();
    let r = region(b, flat, &slices);
    let part = if r.is_whole(b, flat) { flat } else { read_region(b, flat, &r) };
    let rest: Vec<Item> =
        items.iter().map(|i| if matches!(i, Item::Gather(_) | Item::Apart) { *i } else { Item::Full }).collect();
    let f = front(b, part, &rest);
    let ids_rank = b.rank(f.ids);
    let mut rows_dims = b.dims(f.rows);
    rows_dims.remove(0);
    // the value as the user shapes it: others before, ids, others after, without the dropped axes
    let ids_dims = b.dims(f.ids);
    let other_items: Vec<Item> =
        items.iter().copied().filter(|i| !matches!(i, Item::Gather(_) | Item::Apart)).collect();
    let dropped = |k: usize| matches!(other_items[k], Item::At(_));
    let mut user: Vec<Dim> = Vec::new();
    let lead = f.before;
    user.extend((0..lead).filter(|k| !dropped(*k)).map(|k| rows_dims[k]));
    let before = user.len();
    user.extend(&ids_dims);
    user.extend((lead..f.others).filter(|k| !dropped(*k)).map(|k| rows_dims[k]));
    let v = broadcast::to(b, v, &user);
    let perm: Vec<usize> = (before..before + ids_rank).chain(0..before).chain(before + ids_rank..user.len()).collect();
    let v = b.permute(v, perm);
    let full: Vec<Dim> = ids_dims.iter().chain(&rows_dims).copied().collect();
    let v = b.reshape(v, &full);
    let ty = b.ty(f.rows).clone();
    let rows = b.inst1(Op::Scatter { mode }, vec![f.rows, f.ids, v], ty);
    let unflat = b.reshape(rows, &f.permuted);
    let mut inverse = vec![0; f.perm.len()];
    for (i, p) in f.perm.iter().enumerate() {
        inverse[*p] = i;
    }
    let part = b.permute(unflat, inverse);
    let flat = if r.is_whole(b, flat) { part } else { update_region(b, flat, &r, part, Update::Set) };
    b.reshape(flat, &whole)
}

fn write_region(b: &mut Builder, x: ValueId, items: &[Item], v: ValueId, mode: Update) -> ValueId {
    let r = region(b, x, items);
    let dims = result_dims(&r.dims, items);
    let v = broadcast::to(b, v, &dims);
    let v = b.reshape(v, &r.dims);
    if r.is_whole(b, x) {
        return match mode {
            Update::Set => v,
            Update::Add => b.add(x, v),
        };
    }
    update_region(b, x, &r, v, mode)
}

fn read_region(b: &mut Builder, x: ValueId, r: &Region) -> ValueId {
    let ty = Type::tensor(b.dtype(x), r.dims.clone());
    let mut args = vec![x];
    args.extend(&r.starts);
    let y = b.inst1(Op::Slice { steps: r.steps.clone() }, args, ty);
    flip(b, y, &r.flips)
}

fn update_region(b: &mut Builder, x: ValueId, r: &Region, v: ValueId, mode: Update) -> ValueId {
    let v = flip(b, v, &r.flips);
    let ty = b.ty(x).clone();
    let mut args = vec![x, v];
    args.extend(&r.starts);
    b.inst1(Op::UpdateSlice { steps: r.steps.clone(), mode }, args, ty)
}

fn flip(b: &mut Builder, x: ValueId, axes: &[usize]) -> ValueId {
    if axes.is_empty() {
        return x;
    }
    let ty = b.ty(x).clone();
    b.inst1(Op::Flip { axes: axes.to_vec() }, vec![x], ty)
}
