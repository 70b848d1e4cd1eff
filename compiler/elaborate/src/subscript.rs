//! Indexing, and places that are assigned.

use tdl_ir::{AssertKind, BinaryOp, CompareOp, Dim, ReduceOp, Update, ValueId};
use tdl_types::thir::{Expr, Place, Projection, Subscript, Target, Ty};

use crate::elab::Elab;
use crate::env::{Env, Slot};
use crate::rty::{RDim, RTy, stack};
use crate::tensor::index::{self, Item};
use crate::tensor::{broadcast, reduce, write};
use crate::val::{Argument, Val};
use crate::{R, internal};

/// A step into a value, with its subscripts evaluated and checked.
enum Step {
    Field(usize),
    /// The items cover all axes of a tensor, or all stack axes.
    Index(Vec<Item>),
}

/// A place whose subscripts have been evaluated, once.
pub struct Resolved {
    root: Slot,
    steps: Vec<Step>,
}

impl<'p> Elab<'p> {
    pub fn index(&mut self, env: &mut Env<'p>, base: &'p Expr, subscripts: &'p [Subscript], ty: &Ty) -> R<Val<'p>> {
        let x = self.expr(env, base)?.unpacked();
        let base_ty = self.ty(env, &base.ty)?;
        let items = self.items(env, &x, &base_ty, subscripts)?;
        let masked = items.iter().find_map(|i| match i {
            Item::Mask { ids, .. } => Some(*ids),
            Item::At(_) | Item::Range { .. } | Item::Full | Item::New | Item::Apart | Item::Gather(_) => None,
        });
        let y = self.read_items(&x, &items)?;
        match masked {
            Some(ids) => {
                let k = self.b.dims(ids)[0];
                let k = self.b.dim_value(k);
                self.pack(env, y, vec![k], ty)
            }
            None => Ok(y),
        }
    }

    fn read_items(&mut self, x: &Val<'p>, items: &[Item]) -> R<Val<'p>> {
        x.map(&mut |v| {
            let all = index::complete(&self.b, items, self.b.rank(v));
            Ok(index::read(&mut self.b, v, &all))
        })
    }

    /// Evaluates subscripts of a value: extents are those of its first leaf, on as many axes as its type has.
    fn items(&mut self, env: &mut Env<'p>, x: &Val<'p>, ty: &RTy<'p>, subscripts: &'p [Subscript]) -> R<Vec<Item>> {
        let axes = ty.axes();
        let Some(first) = x.leaves().first().copied() else {
            return Err(internal("indexing what has no leaves"));
        };
        let dims: Vec<Dim> = self.b.dims(first).into_iter().take(axes).collect();
        // masks first: they say how many axes they use
        let mut used = 0;
        let mut masks = Vec::new();
        for s in subscripts {
            match s {
                Subscript::Mask { mask } => {
                    let mask = self.value(env, mask)?;
                    used += self.b.rank(mask);
                    masks.push(mask);
                }
                Subscript::Index { .. } | Subscript::Slice { .. } | Subscript::Full | Subscript::Gather { .. } => {
                    used += 1
                }
                Subscript::New | Subscript::Rest | Subscript::Apart => {}
            }
        }
        let mut masks = masks.into_iter();
        let (mut items, mut axis) = (Vec::new(), 0);
        for s in subscripts {
            let n = dims.get(axis).copied().unwrap_or(Dim::Const(1));
            match s {
                Subscript::Index { index, proved } => {
                    let i = self.value(env, index)?;
                    let i = self.b.convert(i, tdl_ir::Dtype::I64);
                    if !proved {
                        self.check_index(i, n, axis);
                    }
                    items.push(Item::At(i));
                    axis += 1;
                }
                Subscript::Slice { from, to, step, len, proved } => {
                    let start = self.size_value(env, from)?;
                    let extent = self.known(env, len)?;
                    if !proved {
                        let end = self.size_value(env, to)?;
                        if *step < 0 {
                            self.check_backward(start, end, n, axis);
                        } else {
                            self.check_slice(start, end, n, axis);
                        }
                    }
                    items.push(Item::Range { start, extent, step: *step });
                    axis += 1;
                }
                Subscript::Full => {
                    items.push(Item::Full);
                    axis += 1;
                }
                Subscript::New => items.push(Item::New),
                Subscript::Apart => items.push(Item::Apart),
                Subscript::Rest => {
                    for _ in 0..axes.saturating_sub(used) {
                        items.push(Item::Full);
                        axis += 1;
                    }
                }
                Subscript::Gather { ids, proved } => {
                    let ids = self.value(env, ids)?;
                    let ids = self.b.convert(ids, tdl_ir::Dtype::I64);
                    if !proved {
                        self.check_ids(ids, n, axis);
                    }
                    items.push(Item::Gather(ids));
                    axis += 1;
                }
                Subscript::Mask { .. } => {
                    let Some(mask) = masks.next() else { return Err(internal("a mask is missing")) };
                    axis += self.b.rank(mask);
                    let ids = index::nonzero(&mut self.b, mask).1;
                    items.push(Item::Mask { mask, ids });
                }
            }
        }
        for _ in axis..axes {
            items.push(Item::Full);
        }
        Ok(items)
    }

    fn check_index(&mut self, i: ValueId, n: Dim, axis: usize) {
        let (zero, n) = (self.b.const_i64(0), self.b.dim_value(n));
        let low = self.compare_sizes(CompareOp::Ge, i, zero);
        let high = self.compare_sizes(CompareOp::Lt, i, n);
        let ok = self.both(low, high);
        let message = format!("index {{}} is out of range: axis {axis} has size {{}}");
        self.assert(ok, AssertKind::Index, &message, &[i, n]);
    }

    fn check_slice(&mut self, from: ValueId, to: ValueId, n: Dim, axis: usize) {
        let (zero, n) = (self.b.const_i64(0), self.b.dim_value(n));
        let low = self.compare_sizes(CompareOp::Ge, from, zero);
        let order = self.compare_sizes(CompareOp::Le, from, to);
        let high = self.compare_sizes(CompareOp::Le, to, n);
        let ok = self.both(low, order);
        let ok = self.both(ok, high);
        let message = format!("slice {{}}:{{}} is out of range: axis {axis} has size {{}}");
        self.assert(ok, AssertKind::Index, &message, &[from, to, n]);
    }

    fn check_backward(&mut self, from: ValueId, to: ValueId, n: Dim, axis: usize) {
        let n = self.b.dim_value(n);
        // without an end it is -1; one that is computed is a position
        let end = if self.b.as_i64(to) == Some(-1) { -1 } else { 0 };
        let lowest = self.b.const_i64(end);
        let low = self.compare_sizes(CompareOp::Ge, to, lowest);
        let order = self.compare_sizes(CompareOp::Le, to, from);
        let high = self.compare_sizes(CompareOp::Lt, from, n);
        let ok = self.both(low, order);
        let ok = self.both(ok, high);
        if end < 0 {
            let message = format!("slice {{}}::-1 is out of range: axis {axis} has size {{}}");
            self.assert(ok, AssertKind::Index, &message, &[from, n]);
        } else {
            let message = format!("slice {{}}:{{}}, which goes down, is out of range: axis {axis} has size {{}}");
            self.assert(ok, AssertKind::Index, &message, &[from, to, n]);
        }
    }

    fn check_ids(&mut self, ids: ValueId, n: Dim, axis: usize) {
        let axes: Vec<usize> = (0..self.b.rank(ids)).collect();
        let low = self.b.reduce(ReduceOp::Min, ids, axes.clone());
        let high = self.b.reduce(ReduceOp::Max, ids, axes);
        let (zero, n) = (self.b.const_i64(0), self.b.dim_value(n));
        let above = self.b.compare(CompareOp::Ge, low, zero);
        let below = self.b.compare(CompareOp::Lt, high, n);
        let ok = self.both(above, below);
        // the one that is out of range: too low, if there is such a one, else too high
        let wrong = self.b.select(above, high, low);
        let message = format!("index {{}} is out of range: axis {axis} has size {{}}");
        self.assert(ok, AssertKind::Index, &message, &[wrong, n]);
    }

    // --- places

    /// Evaluates the subscripts of a place.
    pub fn resolve(&mut self, env: &mut Env<'p>, place: &'p Place) -> R<Resolved> {
        let root = Slot::Local(place.root);
        let Some(mut val) = env.vars.get(&root).cloned() else { return Err(internal("a place without a value")) };
        let mut ty = self.ty(env, &env.body.locals[place.root.index()].ty)?;
        let mut steps = Vec::with_capacity(place.path.len());
        for p in &place.path {
            val = val.unpacked();
            if let RTy::Exists(_, body) = ty {
                ty = *body;
            }
            match p {
                Projection::Field(i) | Projection::TupleField(i) => {
                    ty = self.field_ty(ty, *i)?;
                    val = val.tree()?.get(*i).cloned().ok_or_else(|| internal("no such field"))?;
                    steps.push(Step::Field(*i));
                }
                Projection::Index(subscripts) => {
                    let items = self.items(env, &val, &ty, subscripts)?;
                    ty = indexed(ty, &items);
                    // a step further needs the part; a last one only its shape
                    if steps.len() + 1 < place.path.len() {
                        val = self.read_items(&val, &items)?;
                    }
                    steps.push(Step::Index(items));
                }
            }
        }
        Ok(Resolved { root, steps })
    }

    fn field_ty(&mut self, ty: RTy<'p>, i: usize) -> R<RTy<'p>> {
        let item = match ty {
            RTy::Tuple(items) => items.get(i).cloned(),
            RTy::Struct(id, args) => self.fields(id, &args)?.get(i).cloned(),
            RTy::Stack(dims, elem) => return Ok(stack(dims, self.field_ty(*elem, i)?)),
            RTy::Exists(_, body) => return self.field_ty(*body, i),
            RTy::Never | RTy::Tensor(..) | RTy::Str | RTy::Rng | RTy::Fn => None,
        };
        item.ok_or_else(|| internal("no such field"))
    }

    pub fn read_place(&mut self, env: &Env<'p>, place: &Resolved) -> R<Val<'p>> {
        self.read_steps(env, place.root, &place.steps)
    }

    fn read_steps(&mut self, env: &Env<'p>, root: Slot, steps: &[Step]) -> R<Val<'p>> {
        let Some(mut val) = env.vars.get(&root).cloned() else { return Err(internal("a place without a value")) };
        for step in steps {
            val = val.unpacked();
            val = match step {
                Step::Field(i) => val.tree()?.get(*i).cloned().ok_or_else(|| internal("no such field"))?,
                Step::Index(items) => self.read_items(&val, items)?,
            };
        }
        Ok(val)
    }

    pub fn write_place(&mut self, env: &mut Env<'p>, place: &Resolved, new: Val<'p>, mode: Update) -> R<()> {
        let Some(old) = env.vars.get(&place.root).cloned() else { return Err(internal("a place without a value")) };
        let val = self.written(old, &place.steps, new, mode)?;
        if let Slot::Local(l) = place.root {
            self.name_local(env, l, &val);
        }
        env.vars.insert(place.root, val);
        Ok(())
    }

    fn written(&mut self, old: Val<'p>, steps: &[Step], new: Val<'p>, mode: Update) -> R<Val<'p>> {
        let Some((step, rest)) = steps.split_first() else {
            return match mode {
                Update::Set => Ok(new),
                Update::Add => Err(internal("adding to a whole variable")),
            };
        };
        if let Val::Pack(slots, body) = old {
            return Ok(Val::Pack(slots, Box::new(self.written(*body, steps, new, mode)?)));
        }
        match step {
            Step::Field(i) => {
                let mut items = old.tree()?.to_vec();
                let Some(item) = items.get_mut(*i) else { return Err(internal("no such field")) };
                *item = self.written(item.clone(), rest, new, mode)?;
                Ok(Val::Tree(items))
            }
            Step::Index(items) => {
                let (new, mode) = if rest.is_empty() {
                    (new, mode)
                } else {
                    let part = self.read_items(&old, items)?;
                    (self.written(part, rest, new, mode)?, Update::Set)
                };
                let new = self.selected(&old, items, new)?;
                Val::zip(&[&old, &new], &mut |pair| {
                    let all = index::complete(&self.b, items, self.b.rank(pair[0]));
                    Ok(write::write(&mut self.b, pair[0], &all, pair[1], mode))
                })
            }
        }
    }

    /// What is written to the places that a mask selects: as many values as there are places, checked, or one for all.
    fn selected(&mut self, old: &Val<'p>, items: &[Item], new: Val<'p>) -> R<Val<'p>> {
        let Some(at) = items.iter().position(|i| matches!(i, Item::Mask { .. })) else { return Ok(new) };
        let Item::Mask { ids, .. } = items[at] else { return Ok(new) };
        let kept = |items: &[Item]| items.iter().filter(|i| !matches!(i, Item::At(_) | Item::Apart)).count();
        let apart = items.iter().any(|i| matches!(i, Item::Apart));
        let axis = if apart { 0 } else { kept(&items[..at]) };
        let count = self.b.dims(ids)[0];
        let new = new.unpacked();
        if matches!(new, Val::Never) {
            return Ok(new);
        }
        let mut checked = false;
        Val::zip(&[old, &new], &mut |pair| {
            let all = index::complete(&self.b, items, self.b.rank(pair[0]));
            let mut dims = self.b.dims(pair[1]);
            // the value's axes are the last of the part's
            let Some(axis) = (axis + dims.len()).checked_sub(kept(&all)) else { return Ok(pair[1]) };
            if dims[axis] == count || dims[axis] == Dim::Const(1) {
                return Ok(pair[1]);
            }
            if !checked {
                checked = true;
                let (have, want) = (self.b.dim_value(dims[axis]), self.b.dim_value(count));
                let ok = self.compare_sizes(CompareOp::Eq, have, want);
                self.assert(ok, AssertKind::Index, "the mask selects {} places, there are {} values", &[want, have]);
            }
            dims[axis] = count;
            Ok(self.b.reshape(pair[1], &dims))
        })
    }

    pub fn assign(&mut self, env: &mut Env<'p>, target: &'p Target, value: Val<'p>) -> R<()> {
        match (target, value) {
            (_, Val::Never) | (Target::Ignore, _) => Ok(()),
            (Target::Place(p), value) => {
                let place = self.resolve(env, p)?;
                self.write_place(env, &place, value, Update::Set)
            }
            (Target::Tuple(items), Val::Tree(values)) if items.len() == values.len() => {
                items.iter().zip(values).try_for_each(|(t, v)| self.assign(env, t, v))
            }
            (Target::Tuple(_), Val::Leaf(_) | Val::Tree(_) | Val::Pack(..) | Val::Fn(_)) => {
                Err(internal("a tuple of places meets something else"))
            }
        }
    }

    /// `place op= rhs`; `scalar`: the right side is a number.
    pub fn update(
        &mut self,
        env: &mut Env<'p>,
        place: &'p Place,
        op: BinaryOp,
        mut rhs: Argument<'p>,
        scalar: bool,
    ) -> R<()> {
        let at = self.resolve(env, place)?;
        if let Some((Step::Index(items), before)) = at.steps.split_last()
            && items.iter().any(|i| matches!(i, Item::Mask { .. }))
        {
            let whole = self.read_steps(env, at.root, before)?.unpacked();
            rhs.val = self.selected(&whole, items, rhs.val)?;
        }
        let indexed = matches!(at.steps.last(), Some(Step::Index(_)));
        if let (true, Val::Leaf(v)) = (indexed, &rhs.val) {
            let added = match op {
                BinaryOp::Add => Some(*v),
                BinaryOp::Sub => Some(self.unary(tdl_ir::UnaryOp::Neg, *v)),
                _ => None,
            };
            let leaf = place.ty.as_tensor().is_some();
            if let (Some(v), true) = (added, leaf) {
                return self.write_place(env, &at, Val::Leaf(v), Update::Add);
            }
        }
        let old = self.read_place(env, &at)?;
        let (slots, old) = match old {
            Val::Pack(slots, body) => (Some(slots), *body),
            other @ (Val::Leaf(_) | Val::Tree(_) | Val::Fn(_) | Val::Never) => (None, other),
        };
        let new = match (&old, &rhs.val) {
            (Val::Leaf(x), Val::Leaf(y)) => Val::Leaf(self.binary(op, *x, *y)?),
            (_, _) => {
                let mut active = self.active(env, &place.ty)?;
                // the leaves alone, without the unknown sizes before them
                if let Ty::Exists(sizes, _) = &place.ty {
                    active = active[sizes.len()..].into();
                }
                let old = Argument { val: old, active };
                self.tree_binary(op, (&old, false), (&rhs, scalar))?
            }
        };
        let new = match slots {
            Some(slots) => Val::Pack(slots, Box::new(new)),
            None => new,
        };
        self.write_place(env, &at, new, Update::Set)
    }

    /// Several values of one type along a new axis of the result type.
    pub fn stack_values(&mut self, values: &[Val<'p>], axis: usize, ty: &RTy<'p>) -> R<Val<'p>> {
        let leaves = self.leaves(ty)?;
        if values.is_empty() {
            return self.filled(ty, 0.0);
        }
        let refs: Vec<&Val<'p>> = values.iter().collect();
        let mut k = 0;
        Val::zip(&refs, &mut |parts| {
            let leaf = &leaves[k];
            k += 1;
            let dims = crate::rty::known_all(&leaf.dims)?;
            let mut one = dims.clone();
            one[axis] = Dim::Const(1);
            let rows: Vec<ValueId> = parts.iter().map(|p| self.b.reshape(*p, &one)).collect();
            Ok(self.concat(&rows, axis, &dims))
        })
    }

    pub fn concat(&mut self, parts: &[ValueId], axis: usize, dims: &[Dim]) -> ValueId {
        if let [one] = parts {
            return self.b.reshape(*one, dims);
        }
        let ty = tdl_ir::Type::tensor(self.b.dtype(parts[0]), dims);
        self.b.inst1(tdl_ir::Op::Concat { axis }, parts.to_vec(), ty)
    }

    /// All elements of a bool tensor.
    pub fn all_true(&mut self, x: ValueId) -> ValueId {
        let axes = reduce::Axes::all(self.b.rank(x));
        reduce::reduce(&mut self.b, ReduceOp::All, x, &axes)
    }

    /// `x` in the shape of leaf `like`, a scalar or a mask over its first axes.
    pub fn spread_front(&mut self, x: ValueId, like: ValueId) -> ValueId {
        let (rank, dims) = (self.b.rank(x), self.b.dims(like));
        if rank == 0 {
            return broadcast::to(&mut self.b, x, &dims);
        }
        let axes = (rank..dims.len()).collect();
        self.b.expand(x, axes, &dims)
    }
}

/// The type of a part; only how many axes it has matters.
fn indexed<'p>(ty: RTy<'p>, items: &[Item]) -> RTy<'p> {
    let left = items.iter().filter(|i| !matches!(i, Item::At(_) | Item::Apart)).count();
    let dims = vec![RDim::Known(Dim::Const(0)); left];
    match ty {
        RTy::Tensor(d, _) => RTy::Tensor(d, dims),
        RTy::Stack(_, elem) => stack(dims, *elem),
        RTy::Exists(_, body) => indexed(*body, items),
        other @ (RTy::Never | RTy::Tuple(_) | RTy::Struct(..) | RTy::Str | RTy::Rng | RTy::Fn) => other,
    }
}
