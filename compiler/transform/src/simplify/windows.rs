//! Windows that do not overlap are a reshape: blocks of an axis.

use tdl_ir::{Builder, Dim, Op, ReduceOp, Type, Update, ValueId};

use super::Simplifier;

impl Simplifier {
    /// Windows of a tensor by place and tap, if each begins where the one before ends.
    pub(super) fn shear(
        &mut self,
        b: &mut Builder,
        axis: usize,
        spread: bool,
        args: &[ValueId],
        ty: &Type,
    ) -> Option<ValueId> {
        if self.derivatives || spread {
            return None;
        }
        let x = match self.def(args[0])? {
            (Op::Expand { axes }, from) if *axes == [axis + 1] => from[0],
            _ => return None,
        };
        let (taps, places) = (constant(ty.dims()[axis + 1])?, constant(ty.dims()[axis])?);
        let mut dims = b.dims(x);
        if !blocks(b, &args[1..], taps) || places * taps > constant(dims[axis])? {
            return None;
        }
        dims[axis] = Dim::Const(places * taps);
        let zero = b.const_i64(0);
        let all = [x].into_iter().chain(dims.iter().map(|_| zero)).collect();
        let part = Type::tensor(ty.dtype()?, dims);
        let x = self.emit(b, Op::Slice { steps: vec![1; part.rank()] }, all, part);
        Some(self.emit(b, Op::Reshape, vec![x], ty.clone()))
    }

    /// The sum of such windows where they stand is what they hold, and zeros behind.
    pub(super) fn sum_of_windows(&mut self, b: &mut Builder, axes: &[usize], x: ValueId, ty: &Type) -> Option<ValueId> {
        let (axis, args) = match self.def(x)? {
            (Op::Shear { axis, spread: true }, args) if axes.contains(&(axis + 1)) => (*axis, args.to_vec()),
            _ => return None,
        };
        let mut dims = b.dims(args[0]);
        let (places, taps) = (constant(dims[axis])?, constant(dims[axis + 1])?);
        let whole = b.dims(x)[axis];
        if self.derivatives || !blocks(b, &args[1..], taps) || places * taps > constant(whole)? {
            return None;
        }
        dims.remove(axis + 1);
        dims[axis] = Dim::Const(places * taps);
        let dtype = ty.dtype()?;
        let mut v = self.emit(b, Op::Reshape, vec![args[0]], Type::tensor(dtype, dims.clone()));
        if dims[axis] != whole {
            dims[axis] = whole;
            let zeros = b.full(0.0, dtype, &dims);
            let zero = b.const_i64(0);
            let all = [zeros, v].into_iter().chain(dims.iter().map(|_| zero)).collect();
            let op = Op::UpdateSlice { steps: vec![1; dims.len()], mode: Update::Set };
            v = self.emit(b, op, all, Type::tensor(dtype, dims));
        }
        let rest: Vec<usize> =
            axes.iter().filter(|a| **a != axis + 1).map(|a| if *a > axis { a - 1 } else { *a }).collect();
        if rest.is_empty() {
            return Some(v);
        }
        Some(self.emit(b, Op::Reduce { op: ReduceOp::Sum, axes: rest }, vec![v], ty.clone()))
    }
}

/// Stride, dilation and padding of windows of `taps` that follow one another.
fn blocks(b: &Builder, steps: &[ValueId], taps: i64) -> bool {
    let step = |k: usize| b.as_i64(steps[k]);
    step(0) == Some(taps) && (step(1) == Some(1) || taps == 1) && step(2) == Some(0)
}

fn constant(d: Dim) -> Option<i64> {
    match d {
        Dim::Const(c) => Some(c),
        Dim::Val(_) => None,
    }
}
