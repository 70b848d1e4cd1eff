//! Movement, reductions, order, products and indexed access: ops that change shapes.

use super::Scope;
use super::ops::{Check, I64, ascending, axis_in, count, dim_agrees, dims_agree, ensure, same};
use crate::attention::sums_type;
use crate::op::{DtypeRule, Window};
use crate::{Dim, Dtype, Inst, ReduceOp, ScanOp, Type, Update};

impl<'m> Scope<'m> {
    /// Dtype and extents of the first operand, and the extents of the result, which has the same dtype.
    fn moved(&self, inst: &'m Inst) -> Result<(Dtype, &'m [Dim], &'m [Dim]), String> {
        count("results", inst.results.len(), 1)?;
        count("regions", inst.regions.len(), 0)?;
        ensure(!inst.args.is_empty(), || "no operand".into())?;
        let ((dtype, dims), (to, out)) = (self.operand(inst, 0)?, self.outcome(inst, 0)?);
        ensure(dtype == to, || format!("the dtype changes from {dtype} to {to}"))?;
        Ok((dtype, dims, out))
    }

    pub(super) fn expand(&self, inst: &'m Inst, axes: &[usize]) -> Check {
        let (_, dims, out) = self.moved(inst)?;
        self.shape(inst, 1, 1)?;
        ascending(axes, out.len())?;
        let kept: Vec<Dim> = (0..out.len()).filter(|i| !axes.contains(i)).map(|i| out[i]).collect();
        ensure(dims_agree(dims, &kept), || "the old axes change".into())
    }

    pub(super) fn reshape(&self, inst: &'m Inst) -> Check {
        let (_, dims, out) = self.moved(inst)?;
        self.shape(inst, 1, 1)?;
        let numel = |dims: &[Dim]| {
            dims.iter().try_fold(1_i64, |n, d| match d {
                Dim::Const(c) => Some(n.saturating_mul(*c)),
                Dim::Val(_) => None,
            })
        };
        match (numel(dims), numel(out)) {
            (Some(a), Some(b)) => ensure(a == b, || format!("{a} elements become {b}")),
            (None, _) | (_, None) => Ok(()),
        }
    }

    pub(super) fn permute(&self, inst: &'m Inst, perm: &[usize]) -> Check {
        let (_, dims, out) = self.moved(inst)?;
        self.shape(inst, 1, 1)?;
        let mut sorted = perm.to_vec();
        sorted.sort_unstable();
        ensure(sorted.iter().copied().eq(0..dims.len()), || format!("{perm:?} is no permutation"))?;
        let want: Vec<Dim> = perm.iter().map(|p| dims[*p]).collect();
        ensure(dims_agree(&want, out), || "the axes do not follow".into())
    }

    pub(super) fn slice(&self, inst: &'m Inst, steps: &[i64]) -> Check {
        let (_, dims, out) = self.moved(inst)?;
        self.shape(inst, 1 + dims.len(), 1)?;
        count("steps", steps.len(), dims.len())?;
        count("result axes", out.len(), dims.len())?;
        ensure(steps.iter().all(|s| *s >= 1), || format!("steps {steps:?}"))?;
        self.i64_scalars(&inst.args[1..])
    }

    pub(super) fn update_slice(&self, inst: &'m Inst, steps: &[i64], mode: Update) -> Check {
        let (dtype, dims, out) = self.moved(inst)?;
        self.shape(inst, 2 + dims.len(), 1)?;
        count("steps", steps.len(), dims.len())?;
        ensure(steps.iter().all(|s| *s >= 1), || format!("steps {steps:?}"))?;
        let (du, u) = self.operand(inst, 1)?;
        ensure(du == dtype && u.len() == dims.len(), || "the update has another dtype or rank".into())?;
        ensure(mode == Update::Set || dtype.is_num(), || "bools cannot be added".into())?;
        ensure(dims_agree(dims, out), || "the shape changes".into())?;
        self.i64_scalars(&inst.args[2..])
    }

    pub(super) fn flip(&self, inst: &'m Inst, axes: &[usize]) -> Check {
        let (_, dims, out) = self.moved(inst)?;
        self.shape(inst, 1, 1)?;
        ascending(axes, dims.len())?;
        ensure(dims_agree(dims, out), || "the shape changes".into())
    }

    pub(super) fn shear(&self, inst: &'m Inst, axis: usize) -> Check {
        let (dtype, dims, out) = self.moved(inst)?;
        self.shape(inst, 4, 1)?;
        self.i64_scalars(&inst.args[1..])?;
        ensure(dtype.is_num(), || "bools have no zero".into())?;
        axis_in(axis + 1, dims.len())?;
        let kept = dims.len() == out.len() && (0..dims.len()).all(|i| i == axis || dim_agrees(dims[i], out[i]));
        ensure(kept, || "the other axes change".into())
    }

    pub(super) fn concat(&self, inst: &'m Inst, axis: usize) -> Check {
        let (dtype, dims, out) = self.moved(inst)?;
        axis_in(axis, dims.len())?;
        let mut total = Some(0_i64);
        for i in 0..inst.args.len() {
            let (d, part) = self.operand(inst, i)?;
            ensure(d == dtype && part.len() == dims.len(), || "the operands differ in dtype or rank".into())?;
            let rest = (0..dims.len()).filter(|a| *a != axis).all(|a| dim_agrees(part[a], out[a]));
            ensure(out.len() == dims.len() && rest, || "the other axes differ".into())?;
            total = match (total, part[axis]) {
                (Some(n), Dim::Const(c)) => Some(n + c),
                (None, _) | (_, Dim::Val(_)) => None,
            };
        }
        match total {
            Some(n) => ensure(dim_agrees(out[axis], Dim::Const(n)), || format!("{n} rows in all")),
            None => Ok(()),
        }
    }

    pub(super) fn reduce(&self, inst: &'m Inst, op: ReduceOp, axes: &[usize]) -> Check {
        self.shape(inst, 1, 1)?;
        let (dtype, dims) = self.operand(inst, 0)?;
        self.takes(op.def().dtype, dtype)?;
        ascending(axes, dims.len())?;
        let kept: Vec<Dim> = (0..dims.len()).filter(|i| !axes.contains(i)).map(|i| dims[i]).collect();
        same("the result", self.result(inst, 0), &Type::tensor(dtype, kept))
    }

    pub(super) fn arg_reduce(&self, inst: &'m Inst, axis: usize) -> Check {
        self.shape(inst, 1, 1)?;
        let (_, dims) = self.operand(inst, 0)?;
        axis_in(axis, dims.len())?;
        let kept: Vec<Dim> = (0..dims.len()).filter(|i| *i != axis).map(|i| dims[i]).collect();
        same("the result", self.result(inst, 0), &Type::tensor(Dtype::I64, kept))
    }

    pub(super) fn scan(&self, inst: &'m Inst, op: ScanOp, axis: usize) -> Check {
        self.shape(inst, 1, 1)?;
        let (dtype, dims) = self.operand(inst, 0)?;
        self.takes(op.def().dtype, dtype)?;
        axis_in(axis, dims.len())?;
        same("the result", self.result(inst, 0), self.arg(inst, 0))
    }

    pub(super) fn sort(&self, inst: &'m Inst, axis: usize) -> Check {
        self.shape(inst, 1, 2)?;
        let (_, dims) = self.operand(inst, 0)?;
        axis_in(axis, dims.len())?;
        same("the result", self.result(inst, 0), self.arg(inst, 0))?;
        same("the indices", self.result(inst, 1), &Type::tensor(Dtype::I64, dims))
    }

    pub(super) fn nonzero(&self, inst: &'m Inst) -> Check {
        self.shape(inst, 1, 2)?;
        let (dtype, dims) = self.operand(inst, 0)?;
        ensure(dtype == Dtype::Bool && dims.len() == 1, || "the mask is no bool[n]".into())?;
        same("the count", self.result(inst, 0), &I64)?;
        let want = Type::tensor(Dtype::I64, [Dim::Val(inst.results[0])]);
        same("the positions", self.result(inst, 1), &want)
    }

    /// Queries, keys and values; the type of the result.
    fn attended(&self, inst: &'m Inst) -> Result<Type, String> {
        let ((dtype, q), (dk, k), (dv, v)) = (self.operand(inst, 0)?, self.operand(inst, 1)?, self.operand(inst, 2)?);
        ensure(dtype == dk && dtype == dv, || format!("{dtype} with {dk} and {dv}"))?;
        self.takes(DtypeRule::Float, dtype)?;
        ensure(q.len() >= 2, || "no axis of queries or of their elements".into())?;
        let lead = &q[..q.len() - 2];
        let with = |tail: [Dim; 2]| Type::tensor(dtype, lead.iter().copied().chain(tail).collect::<Vec<_>>());
        let [.., m, _] = k else { return Err("no axis of keys".into()) };
        same("the keys", self.arg(inst, 1), &with([*m, q[q.len() - 1]]))?;
        let [.., e] = v else { return Err("no axis of values".into()) };
        same("the values", self.arg(inst, 2), &with([*m, *e]))?;
        Ok(with([q[q.len() - 2], *e]))
    }

    pub(super) fn attention(&self, inst: &'m Inst) -> Check {
        self.shape(inst, 4, 2)?;
        self.i64_scalars(&inst.args[3..])?;
        same("the result", self.result(inst, 0), &self.attended(inst)?)?;
        same("the sums", self.result(inst, 1), &sums_type(self.arg(inst, 0)))
    }

    pub(super) fn attention_grad(&self, inst: &'m Inst) -> Check {
        self.shape(inst, 7, 3)?;
        self.i64_scalars(&inst.args[6..])?;
        same("the cotangent", self.arg(inst, 3), &self.attended(inst)?)?;
        for k in [4, 5] {
            same("an operand", self.arg(inst, k), &sums_type(self.arg(inst, 0)))?;
        }
        (0..3).try_for_each(|k| same("a result", self.result(inst, k), self.arg(inst, k)))
    }

    pub(super) fn gather(&self, inst: &'m Inst) -> Check {
        self.shape(inst, 2, 1)?;
        let (dtype, dims) = self.operand(inst, 0)?;
        let (di, ids) = self.operand(inst, 1)?;
        ensure(di == Dtype::I64, || "the ids are not i64".into())?;
        ensure(!dims.is_empty(), || "a scalar has no rows".into())?;
        let want: Vec<Dim> = ids.iter().chain(&dims[1..]).copied().collect();
        same("the result", self.result(inst, 0), &Type::tensor(dtype, want))
    }

    pub(super) fn scatter(&self, inst: &'m Inst, mode: Update) -> Check {
        self.shape(inst, 3, 1)?;
        let (dtype, dims) = self.operand(inst, 0)?;
        let (di, ids) = self.operand(inst, 1)?;
        ensure(di == Dtype::I64, || "the ids are not i64".into())?;
        ensure(!dims.is_empty(), || "a scalar has no rows".into())?;
        ensure(mode == Update::Set || dtype.is_num(), || "bools cannot be added".into())?;
        let want: Vec<Dim> = ids.iter().chain(&dims[1..]).copied().collect();
        same("the update", self.arg(inst, 2), &Type::tensor(dtype, want))?;
        same("the result", self.result(inst, 0), self.arg(inst, 0))
    }

    pub(super) fn contract(&self, inst: &Inst, lhs: &[u8], rhs: &[u8], out: &[u8]) -> Check {
        self.shape(inst, 2, 1)?;
        self.product(inst, lhs, rhs, out, &[])
    }

    pub(super) fn window(&self, inst: &Inst, lhs: &[u8], rhs: &[u8], out: &[u8], windows: &[Window]) -> Check {
        self.shape(inst, 2 + 3 * windows.len(), 1)?;
        self.i64_scalars(&inst.args[2..])?;
        ensure((1..=3).contains(&windows.len()), || format!("{} windows", windows.len()))?;
        let mut labels: Vec<u8> = windows.iter().flat_map(|w| w.labels()).collect();
        labels.sort_unstable();
        ensure(labels.windows(2).all(|w| w[0] != w[1]), || "two windows share a label".into())?;
        let roles = Window::roles(windows, [lhs, rhs, out]);
        ensure(roles.is_some(), || "the parts of the windows are not in three tensors".into())?;
        self.product(inst, lhs, rhs, out, windows)
    }

    fn product(&self, inst: &Inst, lhs: &[u8], rhs: &[u8], out: &[u8], windows: &[Window]) -> Check {
        let ((da, a), (db, b), (dy, y)) = (self.operand(inst, 0)?, self.operand(inst, 1)?, self.outcome(inst, 0)?);
        ensure(da == db && da == dy, || format!("{da} with {db} gives {dy}"))?;
        self.takes(DtypeRule::Num, da)?;
        for (labels, dims, what) in [(lhs, a, "left"), (rhs, b, "right"), (out, y, "result")] {
            count(&format!("{what} labels"), labels.len(), dims.len())?;
            let repeats = (1..labels.len()).any(|i| labels[..i].contains(&labels[i]));
            ensure(!repeats, || format!("a {what} label repeats"))?;
        }
        let at = |labels: &[u8], dims: &[Dim], l: u8| labels.iter().position(|x| *x == l).map(|i| dims[i]);
        for l in lhs.iter().chain(rhs).filter(|l| !Window::any(windows, **l)) {
            let places = [at(lhs, a, *l), at(rhs, b, *l), at(out, y, *l)];
            ensure(places.iter().flatten().count() >= 2, || format!("label {l} is alone"))?;
            let known: Vec<Dim> = places.into_iter().flatten().collect();
            let fits = known.iter().all(|p| known.iter().all(|q| dim_agrees(*p, *q)));
            ensure(fits, || format!("the extents of label {l} differ"))?;
        }
        let known = |l: &u8| lhs.contains(l) || rhs.contains(l) || Window::any(windows, *l);
        ensure(out.iter().all(known), || "a result label is in no operand".into())
    }
}
