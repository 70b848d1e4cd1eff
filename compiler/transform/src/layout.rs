//! Chooses the order in memory of what convolutions read and write: channels last, as their kernels want it. Images stay in that
//! order through whatever works element by element, reduces, stretches or cuts axes, and are put into the order of the program only
//! where something else reads them.
//!
//! before: %2: f32[n, o, p, q] = window %0, %1, …   %3 = exp %2
//! after:  %2: f32[n, p, q, o] = window %0, %1, …   %3 = exp %2   %4: f32[n, o, p, q] = permute %3
//!
//! One walk in order. A value may have a home: an equal value with its axes in another order. What is computed from values with a
//! home is computed from their homes, and gets one.

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_ir::{Block, Builder, Dim, Function, Inst, Op, Type, ValueId, Window};

use crate::clone::{self, Map};

pub fn function(f: &mut Function) {
    if !has_windows(&f.body) {
        return;
    }
    let from = std::mem::replace(f, Builder::new("", f.span).finish(Vec::new()));
    let mut layout = Layout { homes: FxHashMap::default(), stretched: FxHashSet::default() };
    *f = clone::function(&from, &mut |b, i, map| layout.inst(b, &from, i, map));
}

fn has_windows(block: &Block) -> bool {
    block.insts.iter().any(|i| matches!(i.op, Op::Window { .. }) || i.regions.iter().any(has_windows))
}

/// Axis `k` of a value is axis `perm[k]` of `base`.
#[derive(Clone)]
struct Home {
    base: ValueId,
    perm: Vec<usize>,
}

impl Home {
    /// Which axis of the value each axis of the base is.
    fn order(&self) -> Vec<usize> {
        inverse(&self.perm)
    }
}

fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut inv = vec![0; perm.len()];
    for (k, p) in perm.iter().enumerate() {
        inv[*p] = k;
    }
    inv
}

struct Layout {
    homes: FxHashMap<ValueId, Home>,
    /// Bases that only repeat others: their order costs nothing to change.
    stretched: FxHashSet<ValueId>,
}

impl Layout {
    fn inst(&mut self, b: &mut Builder, from: &Function, i: &Inst, map: &mut Map) {
        b.span = i.span;
        if let ([r], true) = (i.results.as_slice(), i.regions.is_empty()) {
            let args = map.all(&i.args);
            let ty = map.ty(b, from.ty(*r));
            if let Some((base, order)) = self.moved(b, &i.op, &args, &ty) {
                let perm = inverse(&order);
                let v = b.permute(base, perm.clone());
                b.copy_name(from.value(*r), v);
                map.set(*r, v);
                if v != base && !matches!(i.op, Op::Window { .. } if filter(&i.op)) {
                    self.homes.insert(v, Home { base, perm });
                }
                return;
            }
        }
        let regions = i
            .regions
            .iter()
            .map(|r| clone::region_with(b, from, r, map, &mut |b, i, map| self.inst(b, from, i, map)))
            .collect();
        clone::inst_with(b, from, i, regions, map);
    }

    /// The op in another order of axes: its value, and which axis of the result each of its axes is.
    fn moved(&mut self, b: &mut Builder, op: &Op, args: &[ValueId], ty: &Type) -> Option<(ValueId, Vec<usize>)> {
        let home = args.first().and_then(|a| self.homes.get(a)).cloned();
        match op {
            Op::Window { lhs, rhs, out, windows } => Some(self.window(b, [lhs, rhs, out], windows, args, ty)),
            Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Convert | Op::StopGrad | Op::Barrier => {
                self.elementwise(b, op, args, ty)
            }
            Op::Expand { axes } => {
                let home = home?;
                // new axes come behind those that they stand behind
                let kept: Vec<usize> = (0..ty.rank()).filter(|k| !axes.contains(k)).collect();
                let mut order: Vec<usize> = home.order().iter().map(|k| kept[*k]).collect();
                for a in axes {
                    let at = order.iter().position(|k| k + 1 == *a).map_or(0, |p| p + 1);
                    order.insert(at, *a);
                }
                let own = (0..order.len()).filter(|p| axes.contains(&order[*p])).collect();
                let base = self.emit(b, Op::Expand { axes: own }, vec![home.base], ty, &order);
                self.stretched.insert(base);
                Some((base, order))
            }
            Op::Reduce { op, axes } => {
                let home = home?;
                let mut own: Vec<usize> = axes.iter().map(|a| home.perm[*a]).collect();
                own.sort_unstable();
                let kept: Vec<usize> = (0..home.perm.len()).filter(|k| !axes.contains(k)).collect();
                let left = home.order().into_iter().filter(|k| !axes.contains(k));
                let order: Vec<usize> = left.map(|k| kept.iter().position(|o| *o == k).unwrap_or(0)).collect();
                Some((self.emit(b, Op::Reduce { op: *op, axes: own }, vec![home.base], ty, &order), order))
            }
            Op::Slice { steps } => {
                let home = home?;
                let order = home.order();
                let op = Op::Slice { steps: order.iter().map(|k| steps[*k]).collect() };
                let all = [home.base].into_iter().chain(order.iter().map(|k| args[1 + k])).collect();
                Some((self.emit(b, op, all, ty, &order), order))
            }
            Op::Permute { perm } => {
                let home = home?;
                let own: Vec<usize> = perm.iter().map(|p| home.perm[*p]).collect();
                Some((home.base, inverse(&own)))
            }
            Op::Shear { axis, spread } => {
                let home = home?;
                let own = home.perm[*axis];
                if home.perm[axis + 1] != own + 1 {
                    return None;
                }
                let order = home.order();
                let all = [home.base].into_iter().chain(args[1..].iter().copied()).collect();
                Some((self.emit(b, Op::Shear { axis: own, spread: *spread }, all, ty, &order), order))
            }
            Op::Reshape => {
                let home = home?;
                let order = reshaped(b.ty(args[0]).dims(), ty.dims(), &home)?;
                Some((self.emit(b, Op::Reshape, vec![home.base], ty, &order), order))
            }
            Op::Concat { axis } => {
                let home = home?;
                let homes: Vec<&Home> = args.iter().map(|a| self.homes.get(a)).collect::<Option<_>>()?;
                if homes.iter().any(|h| h.perm != home.perm) {
                    return None;
                }
                let bases = homes.iter().map(|h| h.base).collect();
                let order = home.order();
                Some((self.emit(b, Op::Concat { axis: home.perm[*axis] }, bases, ty, &order), order))
            }
            _ => None,
        }
    }

    /// Emits an op whose result has the axes of `ty` in this order.
    fn emit(&self, b: &mut Builder, op: Op, args: Vec<ValueId>, ty: &Type, order: &[usize]) -> ValueId {
        let dims: Vec<Dim> = order.iter().map(|k| ty.dims()[*k]).collect();
        let ty = match ty.dtype() {
            Some(dtype) => Type::tensor(dtype, dims),
            None => ty.clone(),
        };
        b.inst1(op, args, ty)
    }

    fn window(
        &self,
        b: &mut Builder,
        labels: [&Vec<u8>; 3],
        windows: &[Window],
        args: &[ValueId],
        ty: &Type,
    ) -> (ValueId, Vec<usize>) {
        let mut lists = labels.map(Clone::clone);
        let mut all = args.to_vec();
        for k in 0..2 {
            if let Some(home) = self.homes.get(&args[k]) {
                all[k] = home.base;
                lists[k] = home.order().iter().map(|i| labels[k][*i]).collect();
            }
        }
        let wanted = Window::orders(windows, [labels[0], labels[1], labels[2]]).map(|o| o[2].concat());
        let out = wanted.unwrap_or_else(|| labels[2].clone());
        let order: Vec<usize> = out.iter().filter_map(|l| labels[2].iter().position(|k| k == l)).collect();
        let [lhs, rhs, _] = lists;
        let op = Op::Window { lhs, rhs, out, windows: windows.to_vec() };
        (self.emit(b, op, all, ty, &order), order)
    }

    fn elementwise(&self, b: &mut Builder, op: &Op, args: &[ValueId], ty: &Type) -> Option<(ValueId, Vec<usize>)> {
        let homes = || args.iter().filter_map(|a| self.homes.get(a));
        let lead = homes().find(|h| !self.stretched.contains(&h.base)).or_else(|| homes().next())?;
        let order = lead.order();
        let mut own = Vec::with_capacity(args.len());
        for a in args {
            own.push(match self.homes.get(a) {
                Some(h) if h.perm == lead.perm => h.base,
                Some(_) | None => b.permute(*a, order.clone()),
            });
        }
        Some((self.emit(b, op.clone(), own, ty, &order), order))
    }
}

/// Its result is a filter, which stays as the program has it: an optimizer reads it beside others.
fn filter(op: &Op) -> bool {
    match op {
        Op::Window { out, windows, .. } => windows.iter().any(|w| out.contains(&w.tap)),
        _ => false,
    }
}

/// The order of the axes after a reshape that cuts or joins axes which stand together in the base.
fn reshaped(from: &[Dim], to: &[Dim], home: &Home) -> Option<Vec<usize>> {
    let mut runs: Vec<(std::ops::Range<usize>, std::ops::Range<usize>)> = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < from.len() && j < to.len() {
        let (first, start) = (i, j);
        let (mut left, mut right) = (from[i], to[j]);
        (i, j) = (i + 1, j + 1);
        while left != right {
            let (Dim::Const(l), Dim::Const(r)) = (left, right) else { return None };
            if l < r {
                let Some(Dim::Const(d)) = from.get(i) else { return None };
                (left, i) = (Dim::Const(l * d), i + 1);
            } else {
                let Some(Dim::Const(d)) = to.get(j) else { return None };
                (right, j) = (Dim::Const(r * d), j + 1);
            }
        }
        runs.push((first..i, start..j));
    }
    if i < from.len() || j < to.len() {
        return None;
    }
    let mut order = Vec::with_capacity(to.len());
    let base = home.order();
    let mut at = 0;
    while at < base.len() {
        let (f, t) = runs.iter().find(|(f, _)| f.start == base[at])?;
        if !f.clone().eq(base.get(at..at + f.len())?.iter().copied()) {
            return None;
        }
        order.extend(t.clone());
        at += f.len();
    }
    Some(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_and_joins_keep_the_base() {
        let dims = |list: &[i64]| list.iter().map(|d| Dim::Const(*d)).collect::<Vec<_>>();
        let home = Home { base: ValueId(0), perm: vec![0, 3, 1, 2] };
        // n c h w, of which the base is n h w c
        let cut = reshaped(&dims(&[2, 3, 4, 6]), &dims(&[2, 3, 2, 2, 3, 2]), &home);
        assert_eq!(cut, Some(vec![0, 2, 3, 4, 5, 1]));
        assert_eq!(reshaped(&dims(&[2, 3, 4, 6]), &dims(&[2, 3, 24]), &home), Some(vec![0, 2, 1]));
        assert_eq!(reshaped(&dims(&[2, 3, 4, 6]), &dims(&[2, 72]), &home), None);
        assert_eq!(reshaped(&dims(&[2, 3, 4, 6]), &dims(&[6, 4, 6]), &home), None);
    }

    #[test]
    fn images_stay_channels_last_between_convolutions() {
        let text = "func @f(%x: f32[2, 3, 8, 8], %k: f32[4, 3, 3, 3], %l: f32[5, 4, 3, 3]) {
  %one: i64 = const 1
  %y: f32[2, 4, 8, 8] = window %x, %k, %one, %one, %one, %one, %one, %one, \"nchw,ocpq->noyx; hyp wxq\"
  %e: f32[2, 4, 8, 8] = exp %y
  %z: f32[2, 5, 8, 8] = window %e, %l, %one, %one, %one, %one, %one, %one, \"nchw,ocpq->noyx; hyp wxq\"
  return %z
}
";
        let mut module = tdl_ir::parse(text).expect("it parses");
        function(&mut module.funcs[0]);
        tdl_ir::verify(&module).expect("it verifies");
        crate::dce::function(&mut module.funcs[0]);
        let out = tdl_ir::print(&module);
        assert!(out.contains("\"nchw,ocpq->nyxo;"), "{out}");
        assert!(out.contains("\"nhwc,ocpq->nyxo;"), "{out}");
        assert_eq!(out.matches("permute").count(), 1, "{out}");
    }
}
