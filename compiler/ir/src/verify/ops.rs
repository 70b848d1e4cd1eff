//! What each op asks of its operands, regions and result types.

use super::Scope;
use crate::op::{Dist, DtypeRule, Piece, ResultDtype};
use crate::{Dim, Dtype, Inst, Op, Type, ValueId};

pub type Check = Result<(), String>;

pub static I64: Type = Type::Tensor { dtype: Dtype::I64, dims: Vec::new() };
pub static BOOL: Type = Type::Tensor { dtype: Dtype::Bool, dims: Vec::new() };

pub fn ensure(ok: bool, message: impl FnOnce() -> String) -> Check {
    if ok { Ok(()) } else { Err(message()) }
}

pub fn count(what: &str, got: usize, want: usize) -> Check {
    ensure(got == want, || format!("{got} {what}, not {want}"))
}

pub fn dims_agree(a: &[Dim], b: &[Dim]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| dim_agrees(*a, *b))
}

pub fn dim_agrees(a: Dim, b: Dim) -> bool {
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

pub fn same(what: &str, got: &Type, want: &Type) -> Check {
    ensure(agree(got, want), || format!("{what} is {}, not {}", crate::print_type(got), crate::print_type(want)))
}

pub fn ascending(axes: &[usize], rank: usize) -> Check {
    let sorted = axes.windows(2).all(|w| w[0] < w[1]);
    ensure(sorted && axes.iter().all(|a| *a < rank), || format!("axes {axes:?} of rank {rank}"))
}

pub fn axis_in(axis: usize, rank: usize) -> Check {
    ensure(axis < rank, || format!("axis {axis} of rank {rank}"))
}

impl<'m> Scope<'m> {
    pub(super) fn arg(&self, inst: &Inst, i: usize) -> &'m Type {
        self.ty(inst.args[i])
    }

    pub(super) fn result(&self, inst: &Inst, i: usize) -> &'m Type {
        self.ty(inst.results[i])
    }

    /// `args` operands and `results` results, no regions.
    pub(super) fn shape(&self, inst: &Inst, args: usize, results: usize) -> Check {
        count("operands", inst.args.len(), args)?;
        count("results", inst.results.len(), results)?;
        count("regions", inst.regions.len(), 0)
    }

    pub(super) fn tensor(&self, what: &str, ty: &'m Type) -> Result<(Dtype, &'m [Dim]), String> {
        match ty {
            Type::Tensor { dtype, dims } => Ok((*dtype, dims)),
            Type::Str | Type::Stack { .. } => Err(format!("{what} is no tensor")),
        }
    }

    pub(super) fn operand(&self, inst: &Inst, i: usize) -> Result<(Dtype, &'m [Dim]), String> {
        self.tensor("an operand", self.arg(inst, i))
    }

    pub(super) fn outcome(&self, inst: &Inst, i: usize) -> Result<(Dtype, &'m [Dim]), String> {
        self.tensor("a result", self.result(inst, i))
    }

    pub(super) fn takes(&self, rule: DtypeRule, dtype: Dtype) -> Check {
        ensure(rule.accepts(dtype), || format!("takes {}, not {dtype}", rule.describe()))
    }

    pub(super) fn i64_scalars(&self, values: &[ValueId]) -> Check {
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
            Op::StopGrad | Op::Barrier => {
                self.shape(inst, 1, 1)?;
                same("the result", self.result(inst, 0), self.arg(inst, 0))
            }
            Op::Expand { axes } => self.expand(inst, axes),
            Op::Reshape => self.reshape(inst),
            Op::Permute { perm } => self.permute(inst, perm),
            Op::Slice { steps } => self.slice(inst, steps),
            Op::UpdateSlice { steps, mode } => self.update_slice(inst, steps, *mode),
            Op::Flip { axes } => self.flip(inst, axes),
            Op::Shear { axis, spread: _ } => self.shear(inst, *axis),
            Op::Concat { axis } => self.concat(inst, *axis),
            Op::Reduce { op, axes } => self.reduce(inst, *op, axes),
            Op::ArgReduce { max: _, axis } => self.arg_reduce(inst, *axis),
            Op::Scan { op, axis, reverse: _ } => self.scan(inst, *op, *axis),
            Op::Sort { axis, descending: _ } => self.sort(inst, *axis),
            Op::Nonzero => self.nonzero(inst),
            Op::Contract { lhs, rhs, out } => self.contract(inst, lhs, rhs, out),
            Op::Window { lhs, rhs, out, windows } => self.window(inst, lhs, rhs, out, windows),
            Op::Attention => self.attention(inst),
            Op::AttentionGrad => self.attention_grad(inst),
            Op::Gather => self.gather(inst),
            Op::Scatter { mode } => self.scatter(inst, *mode),
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
            Op::If => self.branch(inst),
            Op::For => self.counted_loop(inst),
            Op::While => self.while_loop(inst),
            Op::Call { func } => self.call(inst, *func),
            Op::Vjp { func, wrt } => self.vjp(inst, *func, wrt),
            Op::Jvp { func, wrt } => self.jvp(inst, *func, wrt),
            Op::Checkpoint { every } => {
                self.shape(inst, 0, 0)?;
                ensure(*every > 0, || "a chunk of no iterations".into())
            }
            Op::Vmap { func, mapped, uniform } => self.vmap(inst, *func, mapped, *uniform),
            Op::StackNew => {
                self.shape(inst, 0, 1)?;
                ensure(matches!(self.result(inst, 0), Type::Stack { .. }), || "the result is no stack".into())
            }
            Op::StackPush => {
                self.shape(inst, 2, 1)?;
                let Type::Stack { dtype, dims } = self.arg(inst, 0) else {
                    return Err("the operand is no stack".into());
                };
                let element = self.arg(inst, 1);
                match element.dims() {
                    [rows, rest @ ..] if rest.len() == dims.len() => {
                        let want: Vec<_> = std::iter::once(*rows).chain(dims.iter().copied()).collect();
                        same("the elements", element, &Type::tensor(*dtype, want))?;
                    }
                    _ => same("the element", element, &Type::tensor(*dtype, dims.clone()))?,
                }
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
            Op::Debug { variable, .. } => self.shape(inst, usize::from(variable.is_some()), 0),
            Op::Host(_) => {
                count("regions", inst.regions.len(), 0)?;
                self.printable(&inst.args)?;
                self.printable(&inst.results)
            }
        }
    }

    fn alike(&self, inst: &Inst, i: usize, j: usize) -> Check {
        same("an operand", self.arg(inst, j), self.arg(inst, i))
    }

    fn printable(&self, values: &[ValueId]) -> Check {
        ensure(values.iter().all(|v| !matches!(self.ty(*v), Type::Stack { .. })), || "a stack cannot be printed".into())
    }
}
