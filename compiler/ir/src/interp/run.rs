//! Runs blocks: an environment of values per call, regions in the environment of their function.

use std::sync::Arc;

use tdl_source::Span;

use super::plan::{InstPlan, Plan};
use super::tensor::bytes_of;
use super::{
    Eval, Host, Interp, Part, RunError, RunErrorKind, Tensor, Value, attention, contract, elementwise, index, internal,
    movement, reduce, window,
};
use crate::{Block, Dim, Dtype, FuncId, Function, Inst, IoOp, Op, Piece, Scalar, Type, ValueId};

pub fn call(interp: &Interp<'_>, id: FuncId, args: Vec<Value>, host: &mut dyn Host) -> Result<Vec<Value>, RunError> {
    let func = interp.module.func(id);
    let mut frame = Frame { interp, func, env: vec![None; func.values.len()], host };
    if args.len() != func.params().len() {
        let message = format!("`{}` takes {} values, not {}", func.name, func.params().len(), args.len());
        return Err(at(func.span)((RunErrorKind::Internal, message)));
    }
    frame.bind(func.params(), args).map_err(at(func.span))?;
    frame.block(&func.body, &interp.plans[id.0 as usize])
}

fn at(span: Span) -> impl Fn((RunErrorKind, String)) -> RunError {
    move |(kind, message)| RunError { kind, message, span }
}

struct Frame<'a> {
    interp: &'a Interp<'a>,
    func: &'a Function,
    env: Vec<Option<Value>>,
    host: &'a mut dyn Host,
}

impl<'a> Frame<'a> {
    /// Gives values to parameters or results, in order, and checks them against their types.
    fn bind(&mut self, ids: &[ValueId], values: Vec<Value>) -> Eval<()> {
        if ids.len() != values.len() {
            return internal(format!("{} values for {} names", values.len(), ids.len()));
        }
        for (id, value) in ids.iter().zip(values) {
            // Sizes may be results of the same instruction: bind first, then look at the next type.
            let ok = match (self.func.ty(*id), &value) {
                (ty @ Type::Tensor { dtype, .. }, Value::Tensor(t)) => *dtype == t.dtype && self.shape(ty)? == t.shape,
                (Type::Str, Value::Str(_)) | (Type::Stack { .. }, Value::Stack(_)) => true,
                (Type::Tensor { .. } | Type::Str | Type::Stack { .. }, _) => false,
            };
            if !ok {
                let name = self.func.value(*id).name.clone().unwrap_or_else(|| format!("{}", id.0).into());
                let got = match &value {
                    Value::Tensor(t) => format!("{}{:?}", t.dtype, t.shape),
                    Value::Str(_) => "str".into(),
                    Value::Stack(_) => "a stack".into(),
                };
                let want = match self.func.ty(*id) {
                    ty @ Type::Tensor { dtype, .. } => format!("{dtype}{:?}", self.shape(ty)?),
                    ty @ (Type::Str | Type::Stack { .. }) => crate::print_type(ty),
                };
                return internal(format!("%{name} in `{}` is {got}, not {want}", self.func.name));
            }
            self.env[id.0 as usize] = Some(value);
        }
        Ok(())
    }

    fn block(&mut self, block: &'a Block, plan: &'a Plan) -> Result<Vec<Value>, RunError> {
        for (inst, plan) in block.insts.iter().zip(&plan.insts) {
            let results = self.inst(inst, plan)?;
            self.bind(&inst.results, results).map_err(at(inst.span))?;
        }
        let results = block.results.iter().zip(&plan.take);
        results.map(|(v, take)| self.read(*v, *take)).collect::<Eval<_>>().map_err(at(self.func.span))
    }

    fn read(&mut self, v: ValueId, take: bool) -> Eval<Value> {
        let slot = &mut self.env[v.0 as usize];
        match if take { slot.take() } else { slot.clone() } {
            Some(value) => Ok(value),
            None => internal(format!("value {} of `{}` is not there", v.0, self.func.name)),
        }
    }

    fn int(&self, v: ValueId) -> Eval<i64> {
        match self.env[v.0 as usize].as_ref().and_then(Value::tensor).and_then(Tensor::as_int) {
            Some(x) => Ok(x),
            None => internal(format!("value {} of `{}` is no integer scalar", v.0, self.func.name)),
        }
    }

    fn shape(&self, ty: &Type) -> Eval<Vec<usize>> {
        let extent = |d: &Dim| {
            let n = match d {
                Dim::Const(c) => *c,
                Dim::Val(v) => self.int(*v)?,
            };
            usize::try_from(n).or_else(|_| internal(format!("the extent {n}")))
        };
        ty.dims().iter().map(extent).collect()
    }

    /// Fails if there is no memory for the results, as far as their extents are known before the op.
    fn room(&self, inst: &Inst) -> Eval<()> {
        for r in &inst.results {
            let ty = self.func.ty(*r);
            let Some(dtype) = ty.dtype().filter(|_| ty.rank() > 0) else { continue };
            let known = |d: &Dim| match d {
                Dim::Const(_) => true,
                Dim::Val(v) => self.env[v.0 as usize].is_some(),
            };
            if ty.dims().iter().all(known) {
                bytes_of(dtype, &self.shape(ty)?)?;
            }
        }
        Ok(())
    }

    fn inst(&mut self, inst: &'a Inst, plan: &'a InstPlan) -> Result<Vec<Value>, RunError> {
        let err = at(inst.span);
        let mut args = Vec::with_capacity(inst.args.len());
        for (a, take) in inst.args.iter().zip(&plan.take) {
            args.push(self.read(*a, *take).map_err(&err)?);
        }
        match &inst.op {
            Op::If => {
                let yes = scalar(&args[0]).map_err(err)? != 0;
                let side = usize::from(!yes);
                self.block(&inst.regions[side], &plan.regions[side])
            }
            Op::For => {
                let mut carried = args.split_off(1);
                let n = scalar(&args[0]).map_err(&err)?;
                let (body, plan) = (&inst.regions[0], &plan.regions[0]);
                for i in 0..n {
                    self.safepoint(inst)?;
                    carried.insert(0, Value::int(i));
                    self.bind(&body.params, carried).map_err(&err)?;
                    carried = self.block(body, plan)?;
                }
                Ok(carried)
            }
            Op::While => {
                let (cond, body) = (&inst.regions[0], &inst.regions[1]);
                let mut carried = args;
                loop {
                    self.safepoint(inst)?;
                    self.bind(&cond.params, carried.clone()).map_err(&err)?;
                    let go = self.block(cond, &plan.regions[0])?;
                    for p in &cond.params {
                        self.env[p.0 as usize] = None;
                    }
                    if scalar(&go[0]).map_err(&err)? == 0 {
                        return Ok(carried);
                    }
                    self.bind(&body.params, carried).map_err(&err)?;
                    carried = self.block(body, &plan.regions[1])?;
                }
            }
            Op::Call { func } => call(self.interp, *func, args, self.host),
            op => {
                self.room(inst).map_err(&err)?;
                self.op(inst, op, args).map_err(err)
            }
        }
    }

    fn safepoint(&mut self, inst: &Inst) -> Result<(), RunError> {
        if self.host.interrupted() {
            return Err(at(inst.span)((RunErrorKind::Interrupted, "interrupted".into())));
        }
        Ok(())
    }

    /// Everything without regions.
    fn op(&mut self, inst: &Inst, op: &Op, mut args: Vec<Value>) -> Eval<Vec<Value>> {
        let out = |i: usize| self.func.ty(inst.results[i]);
        let out_dtype = |i: usize| out(i).dtype().unwrap_or(Dtype::F64);
        let one = |t: Tensor| Ok(vec![Value::Tensor(t)]);
        match op {
            Op::Const(c) => one(Tensor::scalar(*c, out_dtype(0))),
            Op::Dense(bytes) => one(Tensor::new(out_dtype(0), self.shape(out(0))?, bytes.to_vec())),
            Op::Text(s) => Ok(vec![Value::Str(Arc::clone(s))]),
            Op::Iota => one(index::iota(out_dtype(0), self.shape(out(0))?)?),
            Op::Unary(op) => one(elementwise::unary(*op, tensor(&args[0])?)?),
            Op::Binary(op) => one(elementwise::binary(*op, tensor(&args[0])?, tensor(&args[1])?)?),
            Op::Compare(op) => one(elementwise::compare(*op, tensor(&args[0])?, tensor(&args[1])?)?),
            Op::Select => one(elementwise::select(tensor(&args[0])?, tensor(&args[1])?, tensor(&args[2])?)?),
            Op::Convert => one(elementwise::convert(tensor(&args[0])?, out_dtype(0))),
            Op::StopGrad | Op::Barrier => Ok(args),
            Op::Expand { axes } => one(movement::expand(tensor(&args[0])?, axes, self.shape(out(0))?)?),
            Op::Reshape => {
                let shape = self.shape(out(0))?;
                one(movement::reshape(owned(args.remove(0))?, shape)?)
            }
            Op::Permute { perm } => one(movement::permute(tensor(&args[0])?, perm)),
            Op::Slice { steps } => {
                let starts = scalars(&args[1..])?;
                one(movement::slice(tensor(&args[0])?, &starts, steps, self.shape(out(0))?)?)
            }
            Op::UpdateSlice { steps, mode } => {
                let starts = scalars(&args[2..])?;
                let x = owned(args.remove(0))?;
                one(movement::update_slice(x, tensor(&args[0])?, &starts, steps, *mode)?)
            }
            Op::Flip { axes } => one(movement::flip(tensor(&args[0])?, axes)),
            Op::Shear { axis, spread } => {
                let (steps, shape) = (scalars(&args[1..])?, self.shape(out(0))?);
                let [stride, dilation, padding] = steps[..] else { return internal("a window without its steps") };
                one(window::shear(tensor(&args[0])?, *axis, *spread, [stride, dilation, padding], shape)?)
            }
            Op::Concat { axis } => {
                let parts: Vec<&Tensor> = args.iter().map(tensor).collect::<Eval<_>>()?;
                one(movement::concat(&parts, *axis)?)
            }
            Op::Reduce { op, axes } => one(reduce::reduce(*op, tensor(&args[0])?, axes)?),
            Op::ArgReduce { max, axis } => one(reduce::arg_reduce(*max, tensor(&args[0])?, *axis)),
            Op::Scan { op, axis, reverse } => one(reduce::scan(*op, tensor(&args[0])?, *axis, *reverse)?),
            Op::Sort { axis, descending } => {
                let (sorted, ids) = reduce::sort(tensor(&args[0])?, *axis, *descending);
                Ok(vec![sorted.into(), ids.into()])
            }
            Op::Nonzero => {
                let ids = reduce::nonzero(tensor(&args[0])?);
                Ok(vec![Value::int(ids.numel() as i64), ids.into()])
            }
            Op::Contract { lhs, rhs, out } => {
                one(contract::contract(tensor(&args[0])?, tensor(&args[1])?, lhs, rhs, out)?)
            }
            Op::Window { lhs, rhs, out: labels, windows } => {
                let steps: Vec<window::Steps> =
                    scalars(&args[2..])?.chunks_exact(3).map(|s| [s[0], s[1], s[2]]).collect();
                let (a, b, shape) = (tensor(&args[0])?, tensor(&args[1])?, self.shape(out(0))?);
                one(window::product(a, b, [lhs, rhs, labels], windows, &steps, shape)?)
            }
            Op::Attention | Op::AttentionGrad => {
                let tensors = args.iter().map(tensor).collect::<Eval<Vec<_>>>()?;
                let Some(module) = attention::defined(op, &tensors) else {
                    return internal(format!("`{}` of {} values", op.name(), args.len()));
                };
                let spelt = Interp::new(&module);
                call(&spelt, FuncId(0), args, self.host).map_err(|e| (e.kind, e.message))
            }
            Op::Gather => one(index::gather(tensor(&args[0])?, tensor(&args[1])?)?),
            Op::Scatter { mode } => {
                let x = owned(args.remove(0))?;
                one(index::scatter(x, tensor(&args[0])?, tensor(&args[1])?, *mode)?)
            }
            Op::Random { dist } => {
                let (key, counter) = (scalar(&args[0])?, scalar(&args[1])?);
                one(index::draw(*dist, key, counter, out_dtype(0), self.shape(out(0))?)?)
            }
            Op::StackNew => Ok(vec![Value::Stack(Arc::default())]),
            Op::StackPush => {
                let x = owned(args.remove(1))?;
                let rank = self.func.ty(inst.args[0]).rank();
                let mut stack = stack(args.remove(0))?;
                if x.shape.len() > rank {
                    Arc::make_mut(&mut stack).extend(x.rows());
                } else {
                    Arc::make_mut(&mut stack).push(x);
                }
                Ok(vec![Value::Stack(stack)])
            }
            Op::StackTensor => {
                let Type::Stack { dtype, .. } = self.func.ty(inst.args[0]) else {
                    return internal("no stack");
                };
                let mut shape = self.shape(self.func.ty(inst.args[0]))?;
                let stack = stack(args.remove(0))?;
                shape.insert(0, stack.len());
                let data = stack.iter().flat_map(|t| t.data.iter().copied()).collect();
                Ok(vec![Value::int(stack.len() as i64), Tensor::new(*dtype, shape, data).into()])
            }
            Op::Print { pieces, end } => {
                let mut text = self.message(pieces, &args);
                text.push_str(end);
                self.host.print(&text).map_err(|e| {
                    if self.host.interrupted() {
                        (RunErrorKind::Interrupted, "interrupted".into())
                    } else {
                        io_error(e)
                    }
                })?;
                Ok(Vec::new())
            }
            Op::Assert { kind, pieces } => {
                if scalar(&args[0])? != 0 {
                    return Ok(Vec::new());
                }
                Err((RunErrorKind::Assert(*kind), self.message(pieces, &args[1..])))
            }
            Op::Format { pieces } => Ok(vec![Value::Str(self.message(pieces, &args).into())]),
            Op::Io(io) => self.io(inst, io, &args),
            Op::Debug { .. } => Ok(Vec::new()),
            Op::Host(f) => {
                let values = self.host.call(*f, &args).map_err(io_error)?;
                if values.len() != inst.results.len() {
                    return internal(format!("`{}` gives {} values", f.def().name, values.len()));
                }
                Ok(values)
            }
            Op::If | Op::For | Op::While | Op::Call { .. } => internal("control flow is handled before"),
            Op::Vjp { .. } | Op::Jvp { .. } | Op::Vmap { .. } | Op::Checkpoint { .. } => {
                internal(format!("`{}` is left in a program that runs", op.name()))
            }
        }
    }

    fn message(&mut self, pieces: &[Piece], values: &[Value]) -> String {
        let mut values = values.iter();
        let parts: Vec<Part<'_>> = pieces
            .iter()
            .filter_map(|p| match p {
                Piece::Text(s) => Some(Part::Text(s)),
                Piece::Value { spec } => values.next().map(|value| Part::Value { value, spec }),
            })
            .collect();
        self.host.format(&parts)
    }

    fn io(&mut self, inst: &Inst, io: &IoOp, args: &[Value]) -> Eval<Vec<Value>> {
        let path = || match args.first() {
            Some(Value::Str(s)) => Ok(Arc::clone(s)),
            Some(Value::Tensor(_) | Value::Stack(_)) | None => internal("the path is no text"),
        };
        let dtype = |i: usize| self.func.ty(inst.results[i]).dtype().unwrap_or(Dtype::F64);
        match io {
            IoOp::Save { names } => {
                let leaves: Vec<(&str, &Tensor)> =
                    names.iter().zip(&args[1..]).map(|(n, v)| Ok((&**n, tensor(v)?))).collect::<Eval<_>>()?;
                self.host.save(&path()?, &leaves).map_err(io_error)?;
                Ok(Vec::new())
            }
            IoOp::Load { names, extra } => {
                let mut leaves: Vec<(&str, Dtype, Vec<usize>)> = Vec::new();
                for (i, n) in names.iter().enumerate() {
                    leaves.push((n, dtype(i), self.shape(self.func.ty(inst.results[i]))?));
                }
                let renamed = match args.get(1) {
                    Some(v) => Some(tensor(v)?),
                    None => None,
                };
                let tensors = self.host.load(&path()?, &leaves, renamed, *extra).map_err(io_error)?;
                Ok(tensors.into_iter().map(Value::Tensor).collect())
            }
            IoOp::Exists => {
                let yes = self.host.exists(&path()?);
                Ok(vec![Tensor::scalar(Scalar::Bool(yes), Dtype::Bool).into()])
            }
            IoOp::Clock => {
                let now = self.host.clock();
                Ok(vec![Tensor::scalar(Scalar::float(now), Dtype::F64).into()])
            }
            IoOp::Progress => {
                let (i, n) = (scalar(&args[0])?, scalar(&args[1])?);
                self.host.progress(i, n);
                Ok(Vec::new())
            }
        }
    }
}

fn io_error(message: String) -> (RunErrorKind, String) {
    (RunErrorKind::Io, message)
}

fn tensor(v: &Value) -> Eval<&Tensor> {
    match v.tensor() {
        Some(t) => Ok(t),
        None => internal("a value is no tensor"),
    }
}

fn owned(v: Value) -> Eval<Tensor> {
    match v {
        Value::Tensor(t) => Ok(t),
        Value::Str(_) | Value::Stack(_) => internal("a value is no tensor"),
    }
}

fn stack(v: Value) -> Eval<Arc<Vec<Tensor>>> {
    match v {
        Value::Stack(s) => Ok(s),
        Value::Str(_) | Value::Tensor(_) => internal("a value is no stack"),
    }
}

fn scalar(v: &Value) -> Eval<i64> {
    match v.tensor().and_then(Tensor::as_int) {
        Some(x) => Ok(x),
        None => internal("a value is no integer or bool scalar"),
    }
}

fn scalars(values: &[Value]) -> Eval<Vec<i64>> {
    values.iter().map(scalar).collect()
}
