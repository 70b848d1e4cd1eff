//! `vmap`: a function value on each of many lanes, as the IR's `vmap` of the lifted function.

use std::rc::Rc;

use tdl_ir::{Dim, Op, Type, ValueId};
use tdl_types::thir::Axis;

use crate::elab::Elab;
use crate::val::{Argument, Closure, Val};
use crate::{R, internal};

impl<'p> Elab<'p> {
    pub fn vmap(
        &mut self,
        func: &Rc<Closure<'p>>,
        axes: &[Option<Axis>],
        out: Axis,
        args: Vec<Argument<'p>>,
    ) -> R<Val<'p>> {
        let mut lanes: Option<Dim> = None;
        let mut moved = Vec::with_capacity(args.len());
        let mut types = Vec::new();
        for (arg, axis) in args.iter().zip(axes) {
            let Some(axis) = axis else {
                types.extend(arg.val.leaves().iter().map(|v| self.b.ty(*v).clone()));
                moved.push(arg.clone());
                continue;
            };
            let val = arg.val.map(&mut |v| self.lanes_first(v, *axis))?;
            for v in val.leaves() {
                let ty = self.b.ty(v).clone();
                let (Some(dtype), [n, rest @ ..]) = (ty.dtype(), ty.dims()) else {
                    return Err(internal("a mapped argument has no lanes"));
                };
                // constant extents first: they are known to be equal
                lanes = match (lanes, *n) {
                    (Some(Dim::Const(c)), _) => Some(Dim::Const(c)),
                    (_, n) => Some(n),
                };
                types.push(Type::tensor(dtype, rest));
            }
            moved.push(Argument { val, active: Rc::clone(&arg.active) });
        }
        let Some(lanes) = lanes else { return Err(internal("nothing is mapped")) };
        let f = self.lift_as(func, &moved, types)?;
        let mapped = axes.iter().zip(&f.positions).filter(|(a, _)| a.is_some());
        let mapped: Vec<usize> = mapped.flat_map(|(_, p)| p.iter().copied()).collect();
        let n = self.b.dim_value(lanes);
        let op = Op::Vmap { func: f.func, mapped, uniform: f.computed_sizes() };
        let result = self.emit_lanes(op, &f, n, lanes)?;
        result.map(&mut |v| self.lanes_last(v, out))
    }

    fn lanes_first(&mut self, v: ValueId, axis: Axis) -> R<ValueId> {
        let rank = self.b.rank(v);
        let at = match axis {
            Axis::FromStart(k) => Some(k),
            Axis::FromEnd(k) => rank.checked_sub(k),
        };
        let Some(at) = at.filter(|at| *at < rank) else { return Err(internal("a mapped argument lacks the axis")) };
        let perm = std::iter::once(at).chain((0..rank).filter(|k| *k != at)).collect();
        Ok(self.b.permute(v, perm))
    }

    fn lanes_last(&mut self, v: ValueId, axis: Axis) -> R<ValueId> {
        let rank = self.b.rank(v);
        let at = match axis {
            Axis::FromStart(k) => Some(k),
            Axis::FromEnd(k) => rank.checked_sub(k),
        };
        let Some(at) = at.filter(|at| *at < rank) else { return Err(internal("a mapped result lacks the axis")) };
        let mut perm: Vec<usize> = (1..rank).collect();
        perm.insert(at, 0);
        Ok(self.b.permute(v, perm))
    }
}
