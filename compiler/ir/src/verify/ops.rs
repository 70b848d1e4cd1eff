//! What each op asks of its operands, regions and result types.

use super::Scope;
use crate::op::{Dist, DtypeRule, IoOp, Piece, ResultDtype};
use crate::{Block, Dim, Dtype, FuncId, Function, Inst, Op, Type, ValueId};

type Check = Result<(), String>;

static I64: Type = Type::Tensor { dtype: Dtype::I64, dims: Vec::new() };
static BOOL: Type = Type::Tensor { dtype: Dtype::Bool, dims: Vec::new() };

fn ensure(ok: bool, message: impl FnOnce() -> String) -> Check {
    if ok { Ok(()) } else { Err(message()) }
}

fn count(what: &str, got: usize, want: usize) -> Check {
    ensure(got == want, || format!("{got} {what}, not {want}"))
}

fn dims_agree(a: &[Dim], b: &[Dim]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| dim_agrees(*a, *b))
}

fn dim_agrees(a: Dim, b: Dim) -> bool {
    match (a, b) {
        (Dim::Const(a), Dim::Const(b)) => a == b,
        (Dim::Const(_) | Dim::Val(_), Dim::Val(_)) | (Dim::Val(_), Dim::Const(_)) => true,
    }
}

/// Same kind, dtype, rank, and no two different constants.
fn agree(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Str, Type::Str) => true,
        (Type::Tensor { dtype: a, dims: da }, Type::Tensor { dtype: b, dims: db })
        | (Type::Stack { dtype: a, dims: da }, Type::Stack { dtype: b, dims: db }) => a == b && dims_agree(da, db),
        (Type::Str | Type::Tensor { .. } | Type::Stack { .. }, _) => false,
    }
}

fn same(what: &str, got: &Type, want: &Type) -> Check {
    ensure(agree(got, want), || format!("{what} is {}, not {}", crate::print_type(got), crate::print_type(want)))
}

fn ascending(axes: &[usize], rank: usize) -> Check {
    let sorted = axes.windows(2).all(|w| w[0] < w[1]);
    ensure(sorted && axes.iter().all(|a| *a < rank), || format!("axes {axes:?} of rank {rank}"))
}

fn axis_in(axis: usize, rank: usize) -> Check {
    ensure(axis < rank, || format!("axis {axis} of rank {rank}"))
}

impl<'m> Scope<'m> {
    fn arg(&self, inst: &Inst, i: usize) -> &'m Type {
        self.ty(inst.args[i])
    }

    fn result(&self, inst: &Inst, i: usize) -> &'m Type {
        self.ty(inst.results[i])
    }

    /// `args` operands and `results` results, no regions.
    fn shape(&self, inst: &Inst, args: usize, results: usize) -> Check {
        count("operands", inst.args.len(), args)?;
        count("results", inst.results.len(), results)?;
        count("regions", inst.regions.len(), 0)
    }

    fn tensor(&self, what: &str, ty: &'m Type) -> Result<(Dtype, &'m [Dim]), String> {
        match ty {
            Type::Tensor { dtype, dims } => Ok((*dtype, dims)),
            Type::Str | Type::Stack { .. } => Err(format!("{what} is no tensor")),
        }
    }

    fn operand(&self, inst: &Inst, i: usize) -> Result<(Dtype, &'m [Dim]), String> {
        self.tensor("an operand", self.arg(inst, i))
    }

    fn outcome(&self, inst: &Inst, i: usize) -> Result<(Dtype, &'m [Dim]), String> {
        self.tensor("a result", self.result(inst, i))
    }

    fn takes(&self, rule: DtypeRule, dtype: Dtype) -> Check {
        ensure(rule.accepts(dtype), || format!("takes {}, not {dtype}", rule.describe()))
    }

    fn i64_scalars(&self, values: &[ValueId]) -> Check {
        values.iter().try_for_each(|v| same("an operand", self.ty(*v), &I64))
    }

    pub(super) fn op(&self, inst: &'m Inst) -> Check {
        match &inst.op {
            Op::Const(c) => {
                self.shape(inst, 0, 1)?;
                let (dtype, dims) = self.outcome(inst, 0)?;
                count("axes of a scalar", dims.len(), 0)?;
                let fits = match c {
                    crate::Scalar::Float(_) => dtype.is_float(),
                    crate::Scalar::Int(_) => dtype.is_int(),
                    crate::Scalar::Bool(_) => dtype == Dtype::Bool,
                };
                ensure(fits, || format!("{c:?} is no {dtype}"))
            }
            Op::Dense(bytes) => {
                self.shape(inst, 0, 1)?;
                let (dtype, dims) = self.outcome(inst, 0)?;
                let mut n = dtype.size() as i64;
                for d in dims {
                    match d {
                        Dim::Const(c) => n = n.saturating_mul(*c),
                        Dim::Val(_) => return Err("its extents are not constant".into()),
                    }
                }
                count("bytes", bytes.len(), n as usize)
            }
            Op::Text(_) => {
                self.shape(inst, 0, 1)?;
                same("the result", self.result(inst, 0), &Type::Str)
            }
            Op::Iota => {
                self.shape(inst, 0, 1)?;
                let (dtype, dims) = self.outcome(inst, 0)?;
                count("axes", dims.len(), 1)?;
                self.takes(DtypeRule::Num, dtype)
            }
            Op::Unary(op) => {
                self.shape(inst, 1, 1)?;
                let (dtype, dims) = self.operand(inst, 0)?;
                self.takes(op.def().dtype, dtype)?;
                let want = Type::tensor(op.def().result.of(dtype), dims);
                same("the result", self.result(inst, 0), &want)
            }
            Op::Binary(op) => {
                self.shape(inst, 2, 1)?;
                let (dtype, _) = self.operand(inst, 0)?;
                self.takes(op.def().dtype, dtype)?;
                self.alike(inst, 0, 1)?;
                same("the result", self.result(inst, 0), self.arg(inst, 0))
            }
            Op::Compare(op) => {
                self.shape(inst, 2, 1)?;
                let (dtype, dims) = self.operand(inst, 0)?;
                self.takes(op.def().dtype, dtype)?;
                self.alike(inst, 0, 1)?;
                let want = Type::tensor(ResultDtype::Bool.of(dtype), dims);
                same("the result", self.result(inst, 0), &want)
            }
            Op::Select => {
                self.shape(inst, 3, 1)?;
                let (_, dims) = self.operand(inst, 1)?;
                same("the condition", self.arg(inst, 0), &Type::tensor(Dtype::Bool, dims))?;
                self.alike(inst, 1, 2)?;
                same("the result", self.result(inst, 0), self.arg(inst, 1))
            }
            Op::Convert => {
                self.shape(inst, 1, 1)?;
                let ((_, from), (_, to)) = (self.operand(inst, 0)?, self.outcome(inst, 0)?);
                ensure(dims_agree(from, to), || "the shape changes".into())
            }
            Op::StopGrad => {
                self.shape(inst, 1, 1)?;
                same("the result", self.result(inst, 0), self.arg(inst, 0))
            }
            Op::Expand { .. }
            | Op::Reshape
            | Op::Permute { .. }
            | Op::Slice { .. }
            | Op::UpdateSlice { .. }
            | Op::Flip { .. }
            | Op::Concat { .. } => self.movement(inst),
            Op::Reduce { .. }
            | Op::ArgReduce { .. }
            | Op::Scan { .. }
            | Op::Sort { .. }
            | Op::Nonzero
            | Op::Contract { .. }
            | Op::Gather
            | Op::Scatter { .. } => self.gathering(inst),
            Op::Random { dist } => {
                self.shape(inst, 2, 1)?;
                self.i64_scalars(&inst.args)?;
                let (dtype, _) = self.outcome(inst, 0)?;
                let fits = match dist {
                    Dist::Bits => matches!(dtype, Dtype::U32 | Dtype::U64 | Dtype::I64),
                    Dist::Uniform | Dist::Normal => matches!(dtype, Dtype::F32 | Dtype::F64),
                };
                ensure(fits, || format!("cannot draw {dtype}"))
            }
            Op::If | Op::For | Op::While | Op::Call { .. } | Op::Vjp { .. } | Op::Jvp { .. } => self.control(inst),
            Op::StackNew => {
                self.shape(inst, 0, 1)?;
                ensure(matches!(self.result(inst, 0), Type::Stack { .. }), || "the result is no stack".into())
            }
            Op::StackPush => {
                self.shape(inst, 2, 1)?;
                let Type::Stack { dtype, dims } = self.arg(inst, 0) else {
                    return Err("the operand is no stack".into());
                };
                same("the element", self.arg(inst, 1), &Type::tensor(*dtype, dims.clone()))?;
                same("the result", self.result(inst, 0), self.arg(inst, 0))
            }
            Op::StackTensor => {
                self.shape(inst, 1, 2)?;
                let Type::Stack { dtype, dims } = self.arg(inst, 0) else {
                    return Err("the operand is no stack".into());
                };
                same("the length", self.result(inst, 0), &I64)?;
                let mut all = vec![Dim::Val(inst.results[0])];
                all.extend(dims);
                same("the result", self.result(inst, 1), &Type::tensor(*dtype, all))
            }
            Op::Print { pieces, .. } => {
                self.shape(inst, pieces.iter().filter(|p| matches!(p, Piece::Value { .. })).count(), 0)?;
                self.printable(&inst.args)
            }
            Op::Assert { pieces, .. } => {
                let n = pieces.iter().filter(|p| matches!(p, Piece::Value { .. })).count();
                self.shape(inst, n + 1, 0)?;
                same("the condition", self.arg(inst, 0), &BOOL)?;
                self.printable(&inst.args)
            }
            Op::Format { pieces } => {
                self.shape(inst, pieces.iter().filter(|p| matches!(p, Piece::Value { .. })).count(), 1)?;
                self.printable(&inst.args)?;
                same("the result", self.result(inst, 0), &Type::Str)
            }
            Op::Io(io) => self.io(inst, io),
        }
    }

    fn alike(&self, inst: &Inst, i: usize, j: usize) -> Check {
        same("an operand", self.arg(inst, j), self.arg(inst, i))
    }

    fn printable(&self, values: &[ValueId]) -> Check {
        ensure(values.iter().all(|v| !matches!(self.ty(*v), Type::Stack { .. })), || "a stack cannot be printed".into())
    }

    fn movement(&self, inst: &Inst) -> Check {
        count("results", inst.results.len(), 1)?;
        count("regions", inst.regions.len(), 0)?;
        ensure(!inst.args.is_empty(), || "no operand".into())?;
        let ((dtype, dims), (to, out)) = (self.operand(inst, 0)?, self.outcome(inst, 0)?);
        ensure(dtype == to, || format!("the dtype changes from {dtype} to {to}"))?;
        match &inst.op {
            Op::Expand { axes } => {
                self.shape(inst, 1, 1)?;
                ascending(axes, out.len())?;
                let kept: Vec<Dim> = (0..out.len()).filter(|i| !axes.contains(i)).map(|i| out[i]).collect();
                ensure(dims_agree(dims, &kept), || "the old axes change".into())
            }
            Op::Reshape => {
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
            Op::Permute { perm } => {
                self.shape(inst, 1, 1)?;
                let mut sorted = perm.clone();
                sorted.sort_unstable();
                ensure(sorted.iter().copied().eq(0..dims.len()), || format!("{perm:?} is no permutation"))?;
                let want: Vec<Dim> = perm.iter().map(|p| dims[*p]).collect();
                ensure(dims_agree(&want, out), || "the axes do not follow".into())
            }
            Op::Slice { steps } => {
                self.shape(inst, 1 + dims.len(), 1)?;
                count("steps", steps.len(), dims.len())?;
                count("result axes", out.len(), dims.len())?;
                ensure(steps.iter().all(|s| *s >= 1), || format!("steps {steps:?}"))?;
                self.i64_scalars(&inst.args[1..])
            }
            Op::UpdateSlice { steps, mode } => {
                self.shape(inst, 2 + dims.len(), 1)?;
                count("steps", steps.len(), dims.len())?;
                ensure(steps.iter().all(|s| *s >= 1), || format!("steps {steps:?}"))?;
                let (du, u) = self.operand(inst, 1)?;
                ensure(du == dtype && u.len() == dims.len(), || "the update has another dtype or rank".into())?;
                ensure(*mode == crate::Update::Set || dtype.is_num(), || "bools cannot be added".into())?;
                ensure(dims_agree(dims, out), || "the shape changes".into())?;
                self.i64_scalars(&inst.args[2..])
            }
            Op::Flip { axes } => {
                self.shape(inst, 1, 1)?;
                ascending(axes, dims.len())?;
                ensure(dims_agree(dims, out), || "the shape changes".into())
            }
            Op::Concat { axis } => {
                axis_in(*axis, dims.len())?;
                let mut total = Some(0_i64);
                for i in 0..inst.args.len() {
                    let (d, part) = self.operand(inst, i)?;
                    ensure(d == dtype && part.len() == dims.len(), || "the operands differ in dtype or rank".into())?;
                    let rest = (0..dims.len()).filter(|a| a != axis).all(|a| dim_agrees(part[a], out[a]));
                    ensure(out.len() == dims.len() && rest, || "the other axes differ".into())?;
                    total = match (total, part[*axis]) {
                        (Some(n), Dim::Const(c)) => Some(n + c),
                        (None, _) | (_, Dim::Val(_)) => None,
                    };
                }
                match total {
                    Some(n) => ensure(dim_agrees(out[*axis], Dim::Const(n)), || format!("{n} rows in all")),
                    None => Ok(()),
                }
            }
            _ => Err("is no movement".into()),
        }
    }

    fn gathering(&self, inst: &Inst) -> Check {
        count("regions", inst.regions.len(), 0)?;
        ensure(!inst.args.is_empty() && !inst.results.is_empty(), || "no operand or result".into())?;
        let (dtype, dims) = self.operand(inst, 0)?;
        match &inst.op {
            Op::Reduce { op, axes } => {
                self.shape(inst, 1, 1)?;
                self.takes(op.def().dtype, dtype)?;
                ascending(axes, dims.len())?;
                let kept: Vec<Dim> = (0..dims.len()).filter(|i| !axes.contains(i)).map(|i| dims[i]).collect();
                same("the result", self.result(inst, 0), &Type::tensor(dtype, kept))
            }
            Op::ArgReduce { axis, .. } => {
                self.shape(inst, 1, 1)?;
                axis_in(*axis, dims.len())?;
                let kept: Vec<Dim> = (0..dims.len()).filter(|i| i != axis).map(|i| dims[i]).collect();
                same("the result", self.result(inst, 0), &Type::tensor(Dtype::I64, kept))
            }
            Op::Scan { op, axis, .. } => {
                self.shape(inst, 1, 1)?;
                self.takes(op.def().dtype, dtype)?;
                axis_in(*axis, dims.len())?;
                same("the result", self.result(inst, 0), self.arg(inst, 0))
            }
            Op::Sort { axis, .. } => {
                self.shape(inst, 1, 2)?;
                axis_in(*axis, dims.len())?;
                same("the result", self.result(inst, 0), self.arg(inst, 0))?;
                same("the indices", self.result(inst, 1), &Type::tensor(Dtype::I64, dims))
            }
            Op::Nonzero => {
                self.shape(inst, 1, 2)?;
                ensure(dtype == Dtype::Bool && dims.len() == 1, || "the mask is no bool[n]".into())?;
                same("the count", self.result(inst, 0), &I64)?;
                let want = Type::tensor(Dtype::I64, [Dim::Val(inst.results[0])]);
                same("the positions", self.result(inst, 1), &want)
            }
            Op::Contract { lhs, rhs, out } => {
                self.shape(inst, 2, 1)?;
                self.contract(inst, lhs, rhs, out)
            }
            Op::Gather => {
                self.shape(inst, 2, 1)?;
                let (di, ids) = self.operand(inst, 1)?;
                ensure(di == Dtype::I64, || "the ids are not i64".into())?;
                ensure(!dims.is_empty(), || "a scalar has no rows".into())?;
                let want: Vec<Dim> = ids.iter().chain(&dims[1..]).copied().collect();
                same("the result", self.result(inst, 0), &Type::tensor(dtype, want))
            }
            Op::Scatter { mode } => {
                self.shape(inst, 3, 1)?;
                let (di, ids) = self.operand(inst, 1)?;
                ensure(di == Dtype::I64, || "the ids are not i64".into())?;
                ensure(!dims.is_empty(), || "a scalar has no rows".into())?;
                ensure(*mode == crate::Update::Set || dtype.is_num(), || "bools cannot be added".into())?;
                let want: Vec<Dim> = ids.iter().chain(&dims[1..]).copied().collect();
                same("the update", self.arg(inst, 2), &Type::tensor(dtype, want))?;
                same("the result", self.result(inst, 0), self.arg(inst, 0))
            }
            _ => Err("is no reduction or indexed access".into()),
        }
    }

    fn contract(&self, inst: &Inst, lhs: &[u8], rhs: &[u8], out: &[u8]) -> Check {
        let ((da, a), (db, b), (dy, y)) = (self.operand(inst, 0)?, self.operand(inst, 1)?, self.outcome(inst, 0)?);
        ensure(da == db && da == dy, || format!("{da} with {db} gives {dy}"))?;
        self.takes(DtypeRule::Num, da)?;
        for (labels, dims, what) in [(lhs, a, "left"), (rhs, b, "right"), (out, y, "result")] {
            count(&format!("{what} labels"), labels.len(), dims.len())?;
            let repeats = (1..labels.len()).any(|i| labels[..i].contains(&labels[i]));
            ensure(!repeats, || format!("a {what} label repeats"))?;
        }
        let at = |labels: &[u8], dims: &[Dim], l: u8| labels.iter().position(|x| *x == l).map(|i| dims[i]);
        for l in lhs.iter().chain(rhs) {
            let places = [at(lhs, a, *l), at(rhs, b, *l), at(out, y, *l)];
            ensure(places.iter().flatten().count() >= 2, || format!("label {l} is alone"))?;
            let known: Vec<Dim> = places.into_iter().flatten().collect();
            let fits = known.iter().all(|p| known.iter().all(|q| dim_agrees(*p, *q)));
            ensure(fits, || format!("the extents of label {l} differ"))?;
        }
        ensure(out.iter().all(|l| lhs.contains(l) || rhs.contains(l)), || "a result label is in no operand".into())
    }

    fn region(&self, region: &Block, params: &[&Type], results: &[&Type]) -> Check {
        count("region parameters", region.params.len(), params.len())?;
        for (p, want) in region.params.iter().zip(params) {
            same("a region parameter", self.ty(*p), want)?;
        }
        count("yielded values", region.results.len(), results.len())?;
        for (r, want) in region.results.iter().zip(results) {
            same("a yielded value", self.ty(*r), want)?;
        }
        Ok(())
    }

    fn callee(&self, id: FuncId) -> Result<&'m Function, String> {
        self.module.funcs.get(id.0 as usize).ok_or_else(|| format!("function {} does not exist", id.0))
    }

    fn control(&self, inst: &'m Inst) -> Check {
        let results: Vec<&Type> = inst.results.iter().map(|r| self.ty(*r)).collect();
        match &inst.op {
            Op::If => {
                count("operands", inst.args.len(), 1)?;
                count("regions", inst.regions.len(), 2)?;
                same("the condition", self.arg(inst, 0), &BOOL)?;
                inst.regions.iter().try_for_each(|r| self.region(r, &[], &results))
            }
            Op::For => {
                count("operands", inst.args.len(), 1 + results.len())?;
                count("regions", inst.regions.len(), 1)?;
                same("the trip count", self.arg(inst, 0), &I64)?;
                for (a, want) in inst.args[1..].iter().zip(&results) {
                    same("an initial value", self.ty(*a), want)?;
                }
                let mut params = vec![&I64];
                params.extend(&results);
                self.region(&inst.regions[0], &params, &results)
            }
            Op::While => {
                count("operands", inst.args.len(), results.len())?;
                count("regions", inst.regions.len(), 2)?;
                for (a, want) in inst.args.iter().zip(&results) {
                    same("an initial value", self.ty(*a), want)?;
                }
                self.region(&inst.regions[0], &results, &[&BOOL])?;
                self.region(&inst.regions[1], &results, &results)
            }
            Op::Call { func } => {
                count("regions", inst.regions.len(), 0)?;
                let f = self.callee(*func)?;
                self.pass(f, &inst.args)?;
                count("results", results.len(), f.results().len())?;
                self.come_back(f, &results)
            }
            Op::Vjp { func, wrt } => {
                count("regions", inst.regions.len(), 0)?;
                let f = self.callee(*func)?;
                let floats: Vec<&Type> = float_results(f);
                let n = f.params().len();
                count("operands", inst.args.len(), n + floats.len())?;
                self.pass(f, &inst.args[..n])?;
                for (a, want) in inst.args[n..].iter().zip(floats) {
                    same("a cotangent", self.ty(*a), want)?;
                }
                let params = self.wrt(f, wrt)?;
                let m = f.results().len();
                count("results", results.len(), m + params.len())?;
                self.come_back(f, &results[..m])?;
                results[m..].iter().zip(params).try_for_each(|(r, want)| same("a cotangent", r, want))
            }
            Op::Jvp { func, wrt } => {
                count("regions", inst.regions.len(), 0)?;
                let f = self.callee(*func)?;
                let params = self.wrt(f, wrt)?;
                let n = f.params().len();
                count("operands", inst.args.len(), n + params.len())?;
                self.pass(f, &inst.args[..n])?;
                for (a, want) in inst.args[n..].iter().zip(params) {
                    same("a tangent", self.ty(*a), want)?;
                }
                let floats = float_results(f);
                let m = f.results().len();
                count("results", results.len(), m + floats.len())?;
                self.come_back(f, &results[..m])?;
                results[m..].iter().zip(floats).try_for_each(|(r, want)| same("a tangent", r, want))
            }
            _ => Err("is no control flow".into()),
        }
    }

    fn pass(&self, f: &Function, args: &[ValueId]) -> Check {
        count("arguments", args.len(), f.params().len())?;
        args.iter().zip(f.params()).try_for_each(|(a, p)| same("an argument", self.ty(*a), f.ty(*p)))
    }

    fn come_back(&self, f: &Function, results: &[&Type]) -> Check {
        results.iter().zip(f.results()).try_for_each(|(r, want)| same("a result", r, f.ty(*want)))
    }

    /// The types of the parameters that are differentiated.
    fn wrt<'f>(&self, f: &'f Function, wrt: &[usize]) -> Result<Vec<&'f Type>, String> {
        ascending(wrt, f.params().len())?;
        let types: Vec<&Type> = wrt.iter().map(|i| f.ty(f.params()[*i])).collect();
        ensure(types.iter().all(|t| t.is_float_tensor()), || "a parameter without floats is differentiated".into())?;
        Ok(types)
    }

    fn io(&self, inst: &Inst, io: &IoOp) -> Check {
        count("regions", inst.regions.len(), 0)?;
        let path = |n: usize| -> Check {
            count("operands", inst.args.len(), n)?;
            same("the path", self.arg(inst, 0), &Type::Str)
        };
        let results = |n: usize| count("results", inst.results.len(), n);
        match io {
            IoOp::ReadCsv { .. } => {
                path(1)?;
                results(3)?;
                self.i64_scalars(&inst.results[..2])?;
                let (_, dims) = self.outcome(inst, 2)?;
                count("axes", dims.len(), 2)
            }
            IoOp::ReadNpy => {
                path(1)?;
                let Some((tensor, sizes)) = inst.results.split_last() else {
                    return Err("no result".into());
                };
                self.i64_scalars(sizes)?;
                count("axes", self.ty(*tensor).rank(), sizes.len())
            }
            IoOp::ReadText => {
                path(1)?;
                results(1)?;
                same("the result", self.result(inst, 0), &Type::Str)
            }
            IoOp::Save { names } => {
                path(1 + names.len())?;
                results(0)?;
                inst.args[1..].iter().try_for_each(|a| self.tensor("a leaf", self.ty(*a)).map(drop))
            }
            IoOp::Load { names } => {
                path(1)?;
                results(names.len())?;
                inst.results.iter().try_for_each(|r| self.tensor("a leaf", self.ty(*r)).map(drop))
            }
            IoOp::WriteNpy => {
                path(2)?;
                results(0)?;
                self.operand(inst, 1).map(drop)
            }
            IoOp::Exists => {
                path(1)?;
                results(1)?;
                same("the result", self.result(inst, 0), &BOOL)
            }
            IoOp::Clock => {
                self.shape(inst, 0, 1)?;
                same("the result", self.result(inst, 0), &Type::scalar(Dtype::F64))
            }
            IoOp::Progress => {
                self.shape(inst, 2, 0)?;
                self.i64_scalars(&inst.args)
            }
        }
    }
}

fn float_results(f: &Function) -> Vec<&Type> {
    f.results().iter().map(|r| f.ty(*r)).filter(|t| t.is_float_tensor()).collect()
}
