//! Builtin functions.

use tdl_ir::{AssertKind, BinaryOp, CompareOp, Dim, Dtype, HostFn, IoOp, Op, ReduceOp, Type, ValueId, Window};
use tdl_types::thir::{Axis, Builtin, EinsumAxis, Expr, Reduction, Ty};

use crate::call::seen_at;
use crate::elab::Elab;
use crate::env::Env;
use crate::expr::is_text;
use crate::rty::{RTy, known_all};
use crate::tensor::reduce::{self, Axes};
use crate::tensor::{broadcast, index, random, window};
use crate::val::{Argument, Val};
use crate::{R, internal};

impl<'p> Elab<'p> {
    pub fn builtin_expr(&mut self, env: &mut Env<'p>, op: &'p Builtin, args: &'p [Expr], ty: &Ty) -> R<Val<'p>> {
        let mut values = args.iter().map(|e| self.argument(env, e)).collect::<R<Vec<_>>>()?;
        for v in &mut values {
            if let Val::Fn(f) = &mut v.val {
                *f = seen_at(f, env);
            }
        }
        let tys: Vec<&Ty> = args.iter().map(|e| &e.ty).collect();
        self.builtin(env, op, values, &tys, ty)
    }

    /// Applies a builtin to values; `tys` and `ty` are the types of arguments and result in `env`.
    pub fn builtin(
        &mut self,
        env: &Env<'p>,
        op: &Builtin,
        args: Vec<Argument<'p>>,
        tys: &[&Ty],
        ty: &Ty,
    ) -> R<Val<'p>> {
        let arg = |i: usize| args.get(i).ok_or_else(|| internal("a builtin lacks an argument"));
        let leaf = |i: usize| arg(i)?.val.leaf();
        let path = |this: &mut Self| leaf(0).map(|v| this.text_of(v));
        match op {
            Builtin::Elementwise1(op) => {
                let x = leaf(0)?;
                Ok(Val::Leaf(self.unary(*op, x)))
            }
            Builtin::Elementwise2(op) => {
                let (x, y) = (leaf(0)?, leaf(1)?);
                Ok(Val::Leaf(self.binary(*op, x, y)?))
            }
            Builtin::Reduce { op, axes, keepdims } => {
                let x = leaf(0)?;
                let axes = self.axes(axes.as_deref(), x, *keepdims);
                Ok(Val::Leaf(self.reduction(*op, x, &axes)))
            }
            Builtin::ArgReduce { max, axis, keepdims } => {
                let x = leaf(0)?;
                Ok(Val::Leaf(match axis {
                    Some(a) => {
                        let a = position(*a, self.b.rank(x));
                        self.not_empty(x, a, if *max { "argmax" } else { "argmin" });
                        reduce::arg(&mut self.b, x, *max, a, *keepdims)
                    }
                    None => {
                        let flat = reduce::flatten(&mut self.b, x);
                        self.not_empty(flat, 0, if *max { "argmax" } else { "argmin" });
                        reduce::arg_all(&mut self.b, flat, *max)
                    }
                }))
            }
            Builtin::Scan { op, axis, reverse } => {
                let x = leaf(0)?;
                let axis = position(*axis, self.b.rank(x));
                Ok(Val::Leaf(reduce::scan(&mut self.b, *op, x, axis, *reverse)))
            }
            Builtin::Sort { axis, descending } if is_text(tys[0]) => {
                let x = leaf(0)?;
                let axis = position(*axis, self.b.rank(x));
                let (ranks, table) = self.text_ranks(x);
                let sorted = reduce::sort(&mut self.b, ranks, axis, *descending).0;
                let ty = self.b.ty(x).clone();
                Ok(Val::Leaf(self.b.inst1(Op::Gather, vec![table, sorted], ty)))
            }
            Builtin::Sort { axis, descending } => {
                let x = leaf(0)?;
                let axis = position(*axis, self.b.rank(x));
                Ok(Val::Leaf(reduce::sort(&mut self.b, x, axis, *descending).0))
            }
            Builtin::Argsort { axis, descending } => {
                let x = leaf(0)?;
                let axis = position(*axis, self.b.rank(x));
                let x = if is_text(tys[0]) { self.text_ranks(x).0 } else { x };
                Ok(Val::Leaf(reduce::sort(&mut self.b, x, axis, *descending).1))
            }
            Builtin::Where => {
                let c = leaf(0)?;
                match (&arg(1)?.val, &arg(2)?.val) {
                    (Val::Leaf(x), Val::Leaf(y)) if !matches!(ty, Ty::Stack(..) | Ty::Param(_)) => {
                        let all = broadcast::all(&mut self.b, &[c, *x, *y]);
                        Ok(Val::Leaf(self.b.select(all[0], all[1], all[2])))
                    }
                    (x, y) => Val::zip(&[x, y], &mut |pair| {
                        let c = self.spread_front(c, pair[0]);
                        Ok(self.b.select(c, pair[0], pair[1]))
                    }),
                }
            }
            Builtin::Zeros => {
                let ty = self.ty(env, ty)?;
                self.filled(&ty, 0.0)
            }
            Builtin::Ones => {
                let ty = self.ty(env, ty)?;
                self.filled(&ty, 1.0)
            }
            Builtin::Full => {
                let x = leaf(0)?;
                let ty = self.ty(env, ty)?;
                self.full(&ty, x)
            }
            Builtin::Eye => {
                let (dtype, dims) = self.tensor_ty(env, ty)?;
                let row = self.b.inst1(Op::Iota, Vec::new(), Type::tensor(Dtype::I64, [dims[0]]));
                let column = self.b.inst1(Op::Iota, Vec::new(), Type::tensor(Dtype::I64, [dims[1]]));
                let row = self.b.expand(row, vec![1], &dims);
                let column = self.b.expand(column, vec![0], &dims);
                let same = self.b.compare(CompareOp::Eq, row, column);
                Ok(Val::Leaf(self.b.convert(same, dtype)))
            }
            Builtin::Arange => {
                let (dtype, dims) = self.tensor_ty(env, ty)?;
                let iota = self.b.inst1(Op::Iota, Vec::new(), Type::tensor(dtype, dims));
                if args.is_empty() {
                    return Ok(Val::Leaf(iota));
                }
                let mut x = iota;
                if args.len() > 1 {
                    let step = self.convert_value(leaf(1)?, dtype);
                    x = self.binary(BinaryOp::Mul, x, step)?;
                }
                let start = self.convert_value(leaf(0)?, dtype);
                Ok(Val::Leaf(self.binary(BinaryOp::Add, x, start)?))
            }
            Builtin::Linspace => self.linspace(env, leaf(0)?, leaf(1)?, ty),
            Builtin::Reshape => {
                let ty = self.ty(env, ty)?;
                self.reshaped(&arg(0)?.val, &ty)
            }
            Builtin::Permute { perm } => {
                let axes = self.ty(env, tys[0])?.axes();
                let own: Vec<usize> = perm.iter().map(|a| position(*a, axes)).collect();
                arg(0)?.val.map(&mut |v| {
                    let perm = own.iter().copied().chain(axes..self.b.rank(v)).collect();
                    Ok(self.b.permute(v, perm))
                })
            }
            Builtin::Transpose => {
                let x = leaf(0)?;
                let rank = self.b.rank(x);
                let mut perm: Vec<usize> = (0..rank).collect();
                if rank >= 2 {
                    perm.swap(rank - 1, rank - 2);
                }
                Ok(Val::Leaf(self.b.permute(x, perm)))
            }
            Builtin::Concat { axis } => {
                let rank = self.ty(env, tys[0])?.axes();
                let ty = self.ty(env, ty)?;
                let axis = position(*axis, rank);
                let parts: Vec<&Val<'p>> = args.iter().map(|a| &a.val).collect();
                self.concatenated(&parts, axis, &ty)
            }
            Builtin::Stack { axis } => {
                let ty = self.ty(env, ty)?;
                let axis = position(*axis, ty.axes());
                let parts: Vec<Val<'p>> = args.iter().map(|a| a.val.clone()).collect();
                self.stack_values(&parts, axis, &ty)
            }
            Builtin::Flip { axes } => {
                let rank = self.ty(env, tys[0])?.axes();
                let mut own: Vec<usize> = axes.iter().map(|a| position(*a, rank)).collect();
                own.sort_unstable();
                arg(0)?.val.map(&mut |v| {
                    let ty = self.b.ty(v).clone();
                    Ok(self.b.inst1(Op::Flip { axes: own.clone() }, vec![v], ty))
                })
            }
            Builtin::Einsum { operands, result } => self.einsum(&args, operands, result).map(Val::Leaf),
            Builtin::Window { operands, result, windows } => {
                let (dtype, dims) = self.tensor_ty(env, ty)?;
                let values: Vec<ValueId> = (0..args.len()).map(leaf).collect::<R<_>>()?;
                let (operands, result) = self.labels(&values, operands, result);
                let windows: Vec<Window> = windows
                    .iter()
                    .map(|[whole, place, tap]| Window { whole: *whole, place: *place, tap: *tap })
                    .collect();
                let (values, steps) = values.split_at(operands.len());
                for (k, s) in steps.iter().enumerate().filter(|(k, _)| k % 3 < 2) {
                    let one = self.b.const_i64(1);
                    let ok = self.b.compare(CompareOp::Ge, *s, one);
                    let what = if k % 3 == 0 { "stride" } else { "dilation" };
                    let text = format!("the {what} of a window is at least 1, got {{}}");
                    self.assert(ok, AssertKind::Shape, &text, &[*s]);
                }
                let ty = Type::tensor(dtype, dims);
                window::window(&mut self.b, values, &operands, &result, &windows, steps, &ty)
                    .map(Val::Leaf)
                    .ok_or_else(|| internal("a pattern of `window` that fits nothing"))
            }
            Builtin::BroadcastTo => {
                let ty = self.ty(env, ty)?;
                let mut leaves = self.leaves(&ty)?.into_iter();
                arg(0)?.val.map(&mut |v| match leaves.next() {
                    Some(l) => {
                        let dims = known_all(&l.dims)?;
                        self.check_elements(&dims);
                        Ok(broadcast::to(&mut self.b, v, &dims))
                    }
                    None => Err(internal("a broadcast without a shape")),
                })
            }
            Builtin::Nonzero => self.nonzero(env, leaf(0)?, ty),
            Builtin::Allclose => {
                let (rtol, atol) = (leaf(2)?, leaf(3)?);
                self.allclose(&arg(0)?.val, &arg(1)?.val, rtol, atol)
            }
            Builtin::Print { end } => self.print(env, &args, tys, end),
            Builtin::StopGrad => arg(0)?.val.map(&mut |v| {
                if !self.b.ty(v).is_float_tensor() {
                    return Ok(v);
                }
                let ty = self.b.ty(v).clone();
                Ok(self.b.inst1(Op::StopGrad, vec![v], ty))
            }),
            Builtin::RngNew => {
                let s = random::seeded(&mut self.b, leaf(0)?);
                Ok(Val::Tree(vec![Val::Leaf(s.key), Val::Leaf(s.counter)]))
            }
            Builtin::TreeMap => {
                let func = arg(0)?.val.function()?;
                self.tree_map(&func, &args[1..])
            }
            Builtin::TreeDot => {
                let dtype = self.scalar_result(env, ty)?;
                Ok(Val::Leaf(self.tree_dot(arg(0)?, arg(1)?, dtype)))
            }
            Builtin::TreeSum => {
                let dtype = self.scalar_result(env, ty)?;
                Ok(Val::Leaf(self.tree_sum(arg(0)?, dtype)))
            }
            Builtin::TreeNorm => {
                let dtype = self.scalar_result(env, ty)?;
                Ok(Val::Leaf(self.tree_norm(arg(0)?, dtype)))
            }
            Builtin::TreeClip => {
                let limit = leaf(1)?;
                self.tree_clip(arg(0)?, limit)
            }
            Builtin::TreeCount => Ok(Val::Leaf(self.tree_count(arg(0)?))),
            Builtin::Unique => self.unique(env, leaf(0)?, is_text(tys[0]), ty),
            Builtin::SearchSorted { right } => {
                let (sorted, x) = (leaf(0)?, leaf(1)?);
                Ok(Val::Leaf(self.search_sorted(sorted, x, *right, is_text(tys[0]))?))
            }
            Builtin::Host(f) => {
                let mut values: Vec<ValueId> = args.iter().flat_map(|a| a.val.leaves()).collect();
                if *f == HostFn::WriteCsv && args.len() == 2 {
                    values.push(self.b.full(0.0, Dtype::I64, &[Dim::Const(0)]));
                }
                self.host_call(env, *f, values, ty)
            }
            Builtin::Save => {
                let path = path(self)?;
                self.save(env, path, &arg(1)?.val, tys[1])
            }
            Builtin::Load { rename, extra } => {
                let rename = if *rename { Some(arg(1)?.val.function()?) } else { None };
                self.load(env, leaf(0)?, rename, *extra, ty)
            }
            Builtin::Read(f) => {
                let values: Vec<ValueId> = args.iter().flat_map(|a| a.val.leaves()).collect();
                self.read_array(env, *f, values, ty)
            }
            Builtin::WriteNpz => self.write_npz(env, leaf(0)?, &arg(1)?.val, tys[1]),
            Builtin::Exists => {
                let path = path(self)?;
                Ok(Val::Leaf(self.b.inst1(Op::Io(IoOp::Exists), vec![path], Type::scalar(Dtype::Bool))))
            }
            Builtin::CheckRule(id) => self.check_rule(*id),
            Builtin::Clock => Ok(Val::Leaf(self.b.inst1(Op::Io(IoOp::Clock), Vec::new(), Type::scalar(Dtype::F64)))),
        }
    }

    fn einsum(&mut self, args: &[Argument<'p>], operands: &[Vec<EinsumAxis>], result: &[EinsumAxis]) -> R<ValueId> {
        let values: Vec<ValueId> = args.iter().map(|a| a.val.leaf()).collect::<R<_>>()?;
        let (labels, result) = self.labels(&values, operands, result);
        let values: Vec<(ValueId, Vec<u8>)> = values.into_iter().zip(labels).collect();
        crate::tensor::einsum::einsum(&mut self.b, &values, &result)
            .ok_or_else(|| internal("`einsum` without operands"))
    }

    /// The labels of operands and result, those of `...` among them.
    fn labels(
        &self,
        values: &[ValueId],
        operands: &[Vec<EinsumAxis>],
        result: &[EinsumAxis],
    ) -> (Vec<Vec<u8>>, Vec<u8>) {
        // labels of the axes of `...`: after those with names
        let named = |axes: &[EinsumAxis]| axes.iter().filter(|a| **a != EinsumAxis::Rest).count();
        let first = 128;
        let mut lists = Vec::with_capacity(operands.len());
        let mut rest = 0;
        let expand = |axes: &[EinsumAxis], rest: usize| -> Vec<u8> {
            let one = |a: &EinsumAxis| match a {
                EinsumAxis::Label(l) => vec![*l],
                EinsumAxis::Rest => (0..rest).map(|k| (first + k) as u8).collect(),
            };
            axes.iter().flat_map(one).collect()
        };
        for (x, axes) in values.iter().zip(operands) {
            let hidden = self.b.rank(*x).saturating_sub(named(axes));
            if axes.contains(&EinsumAxis::Rest) {
                rest = hidden;
            }
            lists.push(expand(axes, hidden));
        }
        (lists, expand(result, rest))
    }

    fn axes(&self, axes: Option<&[Axis]>, x: ValueId, keepdims: bool) -> Axes {
        let rank = self.b.rank(x);
        let mut own: Vec<usize> = match axes {
            Some(axes) => axes.iter().map(|a| position(*a, rank)).collect(),
            None => (0..rank).collect(),
        };
        own.sort_unstable();
        own.dedup();
        Axes { axes: own, keepdims }
    }

    fn reduction(&mut self, op: Reduction, x: ValueId, axes: &Axes) -> ValueId {
        let op = match op {
            Reduction::Sum => ReduceOp::Sum,
            Reduction::Prod => ReduceOp::Prod,
            Reduction::Max => ReduceOp::Max,
            Reduction::Min => ReduceOp::Min,
            Reduction::Any => ReduceOp::Any,
            Reduction::All => ReduceOp::All,
            Reduction::Mean => return reduce::mean(&mut self.b, x, axes),
        };
        reduce::reduce(&mut self.b, op, x, axes)
    }

    /// An extent of 0 has no largest element.
    fn not_empty(&mut self, x: ValueId, axis: usize, what: &str) {
        let n = self.b.dims(x)[axis];
        let n = self.b.dim_value(n);
        let zero = self.b.const_i64(0);
        let ok = self.compare_sizes(CompareOp::Gt, n, zero);
        let message = format!("`{what}` of no elements: axis {axis} has size {{}}");
        self.assert(ok, tdl_ir::AssertKind::Index, &message, &[n]);
    }

    fn scalar_result(&mut self, env: &Env<'p>, ty: &Ty) -> R<Dtype> {
        let ty = self.ty(env, ty)?;
        Self::dtype_of(&ty)
    }

    pub fn tensor_ty(&mut self, env: &Env<'p>, ty: &Ty) -> R<(Dtype, Vec<Dim>)> {
        match self.ty(env, ty)? {
            RTy::Tensor(d, dims) => Ok((d, known_all(&dims)?)),
            RTy::Never
            | RTy::Tuple(_)
            | RTy::Struct(..)
            | RTy::Stack(..)
            | RTy::Str
            | RTy::Rng
            | RTy::Fn
            | RTy::Exists(..) => Err(internal("a tensor is expected")),
        }
    }

    fn linspace(&mut self, env: &Env<'p>, first: ValueId, last: ValueId, ty: &Ty) -> R<Val<'p>> {
        let (dtype, dims) = self.tensor_ty(env, ty)?;
        let (first, last) = (self.convert_value(first, dtype), self.convert_value(last, dtype));
        let iota = self.b.inst1(Op::Iota, Vec::new(), Type::tensor(dtype, dims.clone()));
        // first (1 - t) + last t with t = i / (n - 1): both ends exact
        let n = self.b.dim_value(dims[0]);
        let one = self.b.const_i64(1);
        let steps = self.b.size_binary(BinaryOp::Sub, n, one);
        let steps = match self.b.as_i64(steps) {
            Some(s) => self.b.const_i64(s.max(1)),
            None => self.b.binary(BinaryOp::Max, steps, one),
        };
        let steps = self.convert_value(steps, dtype);
        let t = self.binary(BinaryOp::Div, iota, steps)?;
        let ones = self.b.full_like(1.0, t);
        let rest = self.b.sub(ones, t);
        let (a, b) = (self.binary(BinaryOp::Mul, rest, first)?, self.binary(BinaryOp::Mul, t, last)?);
        Ok(Val::Leaf(self.b.add(a, b)))
    }

    fn reshaped(&mut self, x: &Val<'p>, ty: &RTy<'p>) -> R<Val<'p>> {
        let mut leaves = self.leaves(ty)?.into_iter();
        x.map(&mut |v| match leaves.next() {
            Some(l) => {
                let dims = known_all(&l.dims)?;
                self.guard_elements(v, &dims);
                Ok(self.b.reshape(v, &dims))
            }
            None => Err(internal("a reshape without a shape")),
        })
    }

    /// That `dims` have as many elements as `x` may be what an `assert` said with numbers that wrap: `n * n == k` holds
    /// for k = 0 and n = 2^32. The elements are counted again, in floats.
    fn guard_elements(&mut self, x: ValueId, dims: &[Dim]) {
        let unknown = |dims: &[Dim]| {
            let mut vs: Vec<Dim> = dims.iter().copied().filter(|d| matches!(d, Dim::Val(_))).collect();
            vs.sort_unstable();
            vs
        };
        let factors: Vec<Dim> = dims.iter().copied().filter(|d| *d != Dim::Const(1)).collect();
        let new = unknown(dims);
        if new.is_empty() || factors.len() < 2 || new == unknown(&self.b.dims(x)) {
            return;
        }
        let mut count = self.b.const_num(1.0, Dtype::F64);
        for d in factors {
            let d = self.b.dim_value(d);
            let d = self.b.convert(d, Dtype::F64);
            count = self.b.mul(count, d);
        }
        let limit = self.b.const_num(2f64.powi(62), Dtype::F64);
        let ok = self.b.compare(CompareOp::Lt, count, limit);
        self.assert(ok, AssertKind::Shape, "the new shape has more than 2^62 elements", &[]);
    }

    fn concatenated(&mut self, parts: &[&Val<'p>], axis: usize, ty: &RTy<'p>) -> R<Val<'p>> {
        let mut leaves = self.leaves(ty)?.into_iter().filter(|l| l.slot.is_none());
        Val::zip(parts, &mut |vs| {
            let leaf = leaves.next().ok_or_else(|| internal("a concatenation without a shape"))?;
            let dims = known_all(&leaf.dims)?;
            Ok(self.concat(vs, axis, &dims))
        })
    }

    fn nonzero(&mut self, env: &Env<'p>, x: ValueId, ty: &Ty) -> R<Val<'p>> {
        let dims = self.b.dims(x);
        let (k, flat) = index::nonzero(&mut self.b, x);
        if dims.len() == 1 {
            return self.pack(env, Val::Leaf(flat), vec![k], ty);
        }
        let n = Dim::Val(k);
        let mut columns = Vec::with_capacity(dims.len());
        let mut rest = flat;
        for d in dims.iter().rev() {
            let (q, r) = self.div_rem(rest, *d);
            columns.push(self.b.reshape(r, &[n, Dim::Const(1)]));
            rest = q;
        }
        columns.reverse();
        let all = self.concat(&columns, 1, &[n, Dim::Const(dims.len() as i64)]);
        self.pack(env, Val::Leaf(all), vec![k], ty)
    }

    fn allclose(&mut self, x: &Val<'p>, y: &Val<'p>, rtol: ValueId, atol: ValueId) -> R<Val<'p>> {
        let mut ok = self.b.const_bool(true);
        let (xs, ys) = (x.leaves(), y.leaves());
        if xs.len() != ys.len() {
            return Err(internal("trees of different shapes"));
        }
        for (a, b) in xs.into_iter().zip(ys) {
            let near = if self.b.ty(a).is_float_tensor() {
                let dtype = self.b.dtype(a);
                let (rtol, atol) = (self.b.convert(rtol, dtype), self.b.convert(atol, dtype));
                reduce::allclose(&mut self.b, a, b, rtol, atol)
            } else {
                let (a, b) = broadcast::pair(&mut self.b, a, b);
                let same = self.b.compare(CompareOp::Eq, a, b);
                self.all_true(same)
            };
            ok = self.both(ok, near);
        }
        Ok(Val::Leaf(ok))
    }
}

/// An axis of a value with this many axes.
pub fn position(axis: Axis, rank: usize) -> usize {
    match axis {
        Axis::FromStart(i) => i,
        Axis::FromEnd(k) => rank.saturating_sub(k),
    }
}
