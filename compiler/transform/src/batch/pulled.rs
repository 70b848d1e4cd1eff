//! The derivative of a mapped function, for the mapped derivative of a function.
//!
//! before: %y, %g = vjp @f wrt [0] %x %w %ct          where %x differs from lane to lane
//! after:  %y, %g = vjp @f.lanes wrt [1] %n %x %w %ct     with f.lanes(%n, %x, %w) = vmap @f(%n, %x, %w), mapped: [0]
//!
//! Both are the same numbers, since no lane's results depend on another lane's parameters. A backward pass that is written out
//! before it is mapped keeps a stack of its own for each lane, and so goes lane by lane; that of the mapped function goes over all
//! lanes together. Parameters that are the same in all lanes, but of which each lane wants a derivative, are copied to all.

use tdl_ir::{Builder, Dim, FuncId, Function, Inst, Op, Type, ValueId};

use super::{Batcher, Lanes};
use crate::clone::Map;

/// Would something in `f` go lane by lane?
pub fn goes_by_lane(f: &Function, mapped: &[usize], masks: bool) -> bool {
    let lanes = Lanes::new(f, mapped, masks);
    let mut found = false;
    f.body.visit_insts(&mut |i| found |= lanes.by_lane(i));
    found
}

/// Can `f`, in which derivatives are still to be taken, be mapped as one? `derived` says so of a function that is differentiated, with
/// the parameters that have lanes.
pub fn is_even(
    f: &Function,
    (mapped, uniform): (&[usize], usize),
    mut derived: impl FnMut(FuncId, &[usize]) -> bool,
) -> bool {
    let lanes = Lanes::new(f, mapped, true);
    let mut even = results_are_even(f, &lanes, uniform);
    f.body.visit_insts(&mut |i| {
        even = even && !lanes.by_lane(i);
        if let Op::Vjp { func, wrt } = &i.op {
            even = even && derived(*func, &with_lanes(i, wrt, &lanes));
        }
    });
    even
}

/// Can a function that is differentiated be mapped as one, and be a function of its own then?
pub fn is_function(f: &Function, mapped: &[usize]) -> bool {
    let lanes = Lanes::new(f, mapped, true);
    let known = |d: &Dim| match d {
        Dim::Const(_) => true,
        Dim::Val(v) => f.params().contains(v) && !lanes.differs(*v),
    };
    let all = f.params().iter().chain(f.results());
    all.clone().all(|v| f.ty(*v).dims().iter().all(known) && f.ty(*v).dtype().is_some())
        && results_are_even(f, &lanes, 0)
        && !goes_by_lane(f, mapped, true)
}

fn results_are_even(f: &Function, lanes: &Lanes<'_>, uniform: usize) -> bool {
    let results = f.results().iter().enumerate();
    results.into_iter().all(|(k, r)| !(lanes.ragged(*r) || k < uniform && lanes.differs(*r)))
}

/// The arguments that have lanes: those that differ, and those by which each lane differentiates.
fn with_lanes(i: &Inst, wrt: &[usize], lanes: &Lanes<'_>) -> Vec<usize> {
    let differs = |k: usize| i.args.get(k).is_some_and(|a| lanes.differs(*a));
    let mut all: Vec<usize> = (0..i.args.len()).filter(|k| differs(*k)).chain(wrt.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// `f` on lanes, a function of their number and the arguments; see [`is_function`].
pub fn function(f: &Function, id: FuncId, mapped: &[usize]) -> Function {
    let mut b = Builder::new(format!("{}.lanes", f.name), f.span);
    b.attrs().effects = f.attrs.effects;
    let n = b.param(Type::scalar(tdl_ir::Dtype::I64));
    let lane = Dim::Val(n);
    let mut map = Map::default();
    let in_front = |b: &Builder, map: &Map, v: ValueId| {
        let ty = map.ty(b, f.ty(v));
        let dims: Vec<Dim> = std::iter::once(lane).chain(ty.dims().iter().copied()).collect();
        ty.dtype().map_or_else(|| ty.clone(), |dtype| Type::tensor(dtype, dims))
    };
    let mut args = vec![n];
    for (k, p) in f.params().iter().enumerate() {
        let ty = if mapped.contains(&k) { in_front(&b, &map, *p) } else { map.ty(&b, f.ty(*p)) };
        let new = b.param(ty);
        b.copy_name(f.value(*p), new);
        map.set(*p, new);
        args.push(new);
    }
    let types = f.results().iter().map(|r| in_front(&b, &map, *r)).collect();
    let results = b.inst(Op::Vmap { func: id, mapped: mapped.to_vec(), uniform: 0 }, args, types, Vec::new());
    b.finish(results)
}

impl Batcher<'_> {
    /// A derivative that is taken of the mapped function.
    pub(super) fn pull(&mut self, i: &Inst, func: FuncId, wrt: &[usize]) {
        let mapped = with_lanes(i, wrt, &self.lanes);
        let (func, params) = (self.on_lanes)(func, &mapped);
        let mut args = vec![self.n];
        for (k, a) in i.args.iter().enumerate() {
            let all = k >= params || mapped.contains(&k);
            args.push(if all { self.laned(*a) } else { self.map.get(*a) });
        }
        let wrt = wrt.iter().map(|p| p + 1).collect();
        self.emit(i, Op::Vjp { func, wrt }, args);
    }
}
