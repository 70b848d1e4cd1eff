//! Builds functions: typed helpers for every op, constant folding of sizes, regions by closures.

use std::collections::HashMap;
use std::sync::Arc;

use tdl_source::Span;

use crate::{
    Attrs, BinaryOp, Block, CompareOp, Dim, Dtype, FuncId, Function, Inst, Op, ReduceOp, Scalar, Type, UnaryOp, Update,
    ValueData, ValueId,
};

/// A function under construction. Instructions go to the innermost open block.
pub struct Builder {
    func: Function,
    open: Vec<Block>,
    /// Span of the instructions that come next.
    pub span: Span,
    consts: HashMap<ValueId, Scalar>,
    /// Tensors whose every element is one constant.
    splats: HashMap<ValueId, Scalar>,
}

impl Builder {
    pub fn new(name: impl Into<String>, span: Span) -> Builder {
        let func =
            Function { name: name.into(), span, values: Vec::new(), body: Block::default(), attrs: Attrs::default() };
        Builder { func, open: vec![Block::default()], span, consts: HashMap::new(), splats: HashMap::new() }
    }

    /// The name of the function under construction.
    pub fn name(&self) -> &str {
        &self.func.name
    }

    pub fn attrs(&mut self) -> &mut Attrs {
        &mut self.func.attrs
    }

    /// Ends the function.
    pub fn finish(mut self, results: Vec<ValueId>) -> Function {
        assert_eq!(self.open.len(), 1, "a region is still open");
        let mut body = self.open.pop().expect("the body is open");
        body.results = results;
        self.func.body = body;
        self.func
    }

    pub fn ty(&self, v: ValueId) -> &Type {
        self.func.ty(v)
    }

    pub fn dtype(&self, v: ValueId) -> Dtype {
        self.ty(v).dtype().expect("text has no dtype")
    }

    pub fn dims(&self, v: ValueId) -> Vec<Dim> {
        self.ty(v).dims().to_vec()
    }

    pub fn rank(&self, v: ValueId) -> usize {
        self.ty(v).rank()
    }

    pub fn value(&self, v: ValueId) -> &ValueData {
        self.func.value(v)
    }

    pub fn name_value(&mut self, v: ValueId, name: &str) {
        self.func.values[v.0 as usize].name.get_or_insert_with(|| name.into());
    }

    /// A new parameter of the innermost open block.
    pub fn param(&mut self, ty: Type) -> ValueId {
        let v = self.func.new_value(ty, self.span);
        self.block().params.push(v);
        v
    }

    /// The parameters of the innermost block so far.
    pub fn params(&self) -> &[ValueId] {
        &self.open.last().expect("a block is open").params
    }

    fn block(&mut self) -> &mut Block {
        self.open.last_mut().expect("a block is open")
    }

    /// The number of instructions of the open block so far.
    pub fn position(&self) -> usize {
        self.open.last().map_or(0, |b| b.insts.len())
    }

    /// The instructions of the open block from a position on.
    pub fn since(&mut self, position: usize) -> &mut [Inst] {
        self.block().insts.get_mut(position..).unwrap_or_default()
    }

    /// Opens a region; [`Builder::end_region`] closes it. Prefer [`Builder::region`].
    pub fn begin_region(&mut self) {
        self.open.push(Block::default());
    }

    pub fn end_region(&mut self, results: Vec<ValueId>) -> Block {
        assert!(self.open.len() > 1, "no region is open");
        let mut block = self.open.pop().expect("a region is open");
        block.results = results;
        block
    }

    /// Appends the instructions of a closed region without parameters to the innermost open block.
    pub fn splice(&mut self, region: Block) {
        self.block().insts.extend(region.insts);
    }

    pub fn region(&mut self, f: impl FnOnce(&mut Builder) -> Vec<ValueId>) -> Block {
        self.begin_region();
        let results = f(self);
        self.end_region(results)
    }

    /// Appends an instruction with the given result types. A result type may mention results before it: write such an
    /// extent as the id from [`Builder::next_value`].
    pub fn inst(&mut self, op: Op, args: Vec<ValueId>, types: Vec<Type>, regions: Vec<Block>) -> Vec<ValueId> {
        let span = self.span;
        let results: Vec<ValueId> = types.into_iter().map(|t| self.func.new_value(t, span)).collect();
        if let (Op::Const(c), [r]) = (&op, results.as_slice()) {
            self.consts.insert(*r, *c);
        }
        if let (Op::Expand { .. } | Op::Reshape, [r]) = (&op, results.as_slice())
            && let Some(c) = self.as_splat(args[0])
        {
            self.splats.insert(*r, c);
        }
        self.block().insts.push(Inst { op, args, results: results.clone(), regions, span });
        results
    }

    /// The id that the `k`-th result of the next instruction will have (no regions may be opened in between).
    pub fn next_value(&self, k: usize) -> ValueId {
        ValueId((self.func.values.len() + k) as u32)
    }

    /// Appends an instruction with one result.
    pub fn inst1(&mut self, op: Op, args: Vec<ValueId>, ty: Type) -> ValueId {
        self.inst(op, args, vec![ty], Vec::new())[0]
    }

    // --- constants and sizes

    pub fn constant(&mut self, c: Scalar, dtype: Dtype) -> ValueId {
        self.inst1(Op::Const(c), vec![], Type::scalar(dtype))
    }

    pub fn const_i64(&mut self, x: i64) -> ValueId {
        self.constant(Scalar::Int(x), Dtype::I64)
    }

    pub fn const_bool(&mut self, x: bool) -> ValueId {
        self.constant(Scalar::Bool(x), Dtype::Bool)
    }

    /// `x` in any dtype.
    pub fn const_num(&mut self, x: f64, dtype: Dtype) -> ValueId {
        let c = if dtype.is_float() {
            Scalar::float(x)
        } else if dtype == Dtype::Bool {
            Scalar::Bool(x != 0.0)
        } else {
            Scalar::Int(x as i64)
        };
        self.constant(c, dtype)
    }

    pub fn text(&mut self, s: &str) -> ValueId {
        self.inst1(Op::Text(s.into()), vec![], Type::Str)
    }

    /// The constant behind a value of this function, if it is one.
    pub fn as_const(&self, v: ValueId) -> Option<Scalar> {
        self.consts.get(&v).copied()
    }

    /// The constant that every element of a value is, if that is known.
    pub fn as_splat(&self, v: ValueId) -> Option<Scalar> {
        self.consts.get(&v).or_else(|| self.splats.get(&v)).copied()
    }

    /// Every element is known to be `x`.
    pub fn is_splat(&self, v: ValueId, x: f64) -> bool {
        match self.as_splat(v) {
            Some(Scalar::Float(bits)) => f64::from_bits(bits) == x,
            Some(Scalar::Int(i)) => i as f64 == x,
            Some(Scalar::Bool(_)) | None => false,
        }
    }

    pub fn as_i64(&self, v: ValueId) -> Option<i64> {
        match self.as_const(v) {
            Some(Scalar::Int(x)) => Some(x),
            Some(Scalar::Float(_) | Scalar::Bool(_)) | None => None,
        }
    }

    /// An extent from an `i64` scalar: a constant where the value is one that an extent can have. A negative one stays a value; a
    /// check that fails stands before it.
    pub fn dim(&self, v: ValueId) -> Dim {
        self.as_i64(v).filter(|n| *n >= 0).map_or(Dim::Val(v), Dim::Const)
    }

    /// An `i64` scalar with the value of an extent.
    pub fn dim_value(&mut self, d: Dim) -> ValueId {
        match d {
            Dim::Const(c) => self.const_i64(c),
            Dim::Val(v) => v,
        }
    }

    /// Number of elements of a shape.
    pub fn numel(&mut self, dims: &[Dim]) -> ValueId {
        let mut n = self.const_i64(1);
        for d in dims {
            let d = self.dim_value(*d);
            n = self.size_binary(BinaryOp::Mul, n, d);
        }
        n
    }

    /// `i64` arithmetic for sizes; folds constants, zeros and ones.
    pub fn size_binary(&mut self, op: BinaryOp, a: ValueId, b: ValueId) -> ValueId {
        let (ca, cb) = (self.as_i64(a), self.as_i64(b));
        let folded = match (op, ca, cb) {
            (BinaryOp::Add, Some(x), Some(y)) => Some(x.wrapping_add(y)),
            (BinaryOp::Sub, Some(x), Some(y)) => Some(x.wrapping_sub(y)),
            (BinaryOp::Mul, Some(x), Some(y)) => Some(x.wrapping_mul(y)),
            (BinaryOp::FloorDiv, Some(x), Some(y)) if y > 0 => Some(x.div_euclid(y)),
            (BinaryOp::Rem, Some(x), Some(y)) if y > 0 => Some(x.rem_euclid(y)),
            _ => None,
        };
        if let Some(c) = folded {
            return self.const_i64(c);
        }
        match (op, ca, cb) {
            (BinaryOp::Add, Some(0), _) | (BinaryOp::Mul, Some(1), _) => b,
            (BinaryOp::Add | BinaryOp::Sub, _, Some(0)) | (BinaryOp::Mul | BinaryOp::FloorDiv, _, Some(1)) => a,
            _ => self.binary(op, a, b),
        }
    }

    // --- elementwise

    pub fn unary(&mut self, op: UnaryOp, x: ValueId) -> ValueId {
        let dtype = op.def().result.of(self.dtype(x));
        let ty = self.ty(x).with_dtype(dtype);
        self.inst1(Op::Unary(op), vec![x], ty)
    }

    pub fn binary(&mut self, op: BinaryOp, a: ValueId, b: ValueId) -> ValueId {
        let ty = self.ty(a).clone();
        self.inst1(Op::Binary(op), vec![a, b], ty)
    }

    pub fn compare(&mut self, op: CompareOp, a: ValueId, b: ValueId) -> ValueId {
        let ty = self.ty(a).with_dtype(Dtype::Bool);
        self.inst1(Op::Compare(op), vec![a, b], ty)
    }

    pub fn select(&mut self, c: ValueId, a: ValueId, b: ValueId) -> ValueId {
        let ty = self.ty(a).clone();
        self.inst1(Op::Select, vec![c, a, b], ty)
    }

    pub fn convert(&mut self, x: ValueId, dtype: Dtype) -> ValueId {
        if self.dtype(x) == dtype {
            return x;
        }
        let ty = self.ty(x).with_dtype(dtype);
        self.inst1(Op::Convert, vec![x], ty)
    }

    pub fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(BinaryOp::Add, a, b)
    }

    pub fn sub(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(BinaryOp::Sub, a, b)
    }

    pub fn mul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(BinaryOp::Mul, a, b)
    }

    pub fn div(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(BinaryOp::Div, a, b)
    }

    pub fn neg(&mut self, x: ValueId) -> ValueId {
        self.unary(UnaryOp::Neg, x)
    }

    // --- movement

    /// A scalar stretched to `dims`.
    pub fn splat(&mut self, x: ValueId, dims: &[Dim]) -> ValueId {
        let axes: Vec<usize> = (0..dims.len()).collect();
        self.expand(x, axes, dims)
    }

    /// A tensor of `dims` whose every element is `x`.
    pub fn full(&mut self, x: f64, dtype: Dtype, dims: &[Dim]) -> ValueId {
        let c = self.const_num(x, dtype);
        self.splat(c, dims)
    }

    /// A constant with the type of `v`.
    pub fn full_like(&mut self, x: f64, v: ValueId) -> ValueId {
        let (dtype, dims) = (self.dtype(v), self.dims(v));
        self.full(x, dtype, &dims)
    }

    /// Inserts the axes `axes` of the result shape `dims`.
    pub fn expand(&mut self, x: ValueId, axes: Vec<usize>, dims: &[Dim]) -> ValueId {
        if axes.is_empty() {
            return x;
        }
        let ty = Type::tensor(self.dtype(x), dims);
        self.inst1(Op::Expand { axes }, vec![x], ty)
    }

    pub fn reshape(&mut self, x: ValueId, dims: &[Dim]) -> ValueId {
        if self.ty(x).dims() == dims {
            return x;
        }
        let ty = Type::tensor(self.dtype(x), dims);
        self.inst1(Op::Reshape, vec![x], ty)
    }

    pub fn permute(&mut self, x: ValueId, perm: Vec<usize>) -> ValueId {
        if perm.iter().enumerate().all(|(i, p)| i == *p) {
            return x;
        }
        let dims = self.dims(x);
        let ty = Type::tensor(self.dtype(x), perm.iter().map(|p| dims[*p]).collect::<Vec<_>>());
        self.inst1(Op::Permute { perm }, vec![x], ty)
    }

    /// Unit-step slice with the extents `dims`.
    pub fn slice(&mut self, x: ValueId, starts: Vec<ValueId>, dims: &[Dim]) -> ValueId {
        let steps = vec![1; dims.len()];
        let ty = Type::tensor(self.dtype(x), dims);
        let mut args = vec![x];
        args.extend(starts);
        self.inst1(Op::Slice { steps }, args, ty)
    }

    /// `x[i]`: drops axis 0.
    pub fn index0(&mut self, x: ValueId, i: ValueId) -> ValueId {
        let dims = self.dims(x);
        let zero = self.const_i64(0);
        let mut starts = vec![zero; dims.len()];
        starts[0] = i;
        let mut row = dims.clone();
        row[0] = Dim::Const(1);
        let s = self.slice(x, starts, &row);
        self.reshape(s, &dims[1..])
    }

    /// `x` with row `i` of axis 0 replaced by `row`, or added to.
    pub fn update0(&mut self, x: ValueId, i: ValueId, row: ValueId, mode: Update) -> ValueId {
        let dims = self.dims(x);
        let zero = self.const_i64(0);
        let mut args = vec![x];
        let mut one = dims.clone();
        one[0] = Dim::Const(1);
        args.push(self.reshape(row, &one));
        args.push(i);
        args.extend(std::iter::repeat_n(zero, dims.len() - 1));
        let ty = self.ty(x).clone();
        self.inst1(Op::UpdateSlice { steps: vec![1; dims.len()], mode }, args, ty)
    }

    // --- reductions and products

    pub fn reduce(&mut self, op: ReduceOp, x: ValueId, axes: Vec<usize>) -> ValueId {
        if axes.is_empty() {
            return x;
        }
        let dims = self.dims(x);
        let kept: Vec<Dim> = (0..dims.len()).filter(|i| !axes.contains(i)).map(|i| dims[i]).collect();
        let ty = Type::tensor(self.dtype(x), kept);
        self.inst1(Op::Reduce { op, axes }, vec![x], ty)
    }

    pub fn sum(&mut self, x: ValueId, axes: Vec<usize>) -> ValueId {
        self.reduce(ReduceOp::Sum, x, axes)
    }

    /// Einsum of two operands; see [`Op::Contract`].
    pub fn contract(&mut self, a: ValueId, b: ValueId, lhs: &[u8], rhs: &[u8], out: &[u8]) -> ValueId {
        let (da, db) = (self.dims(a), self.dims(b));
        let extent = |label: &u8| match lhs.iter().position(|l| l == label) {
            Some(i) => da[i],
            None => db[rhs.iter().position(|l| l == label).expect("an output label is an input label")],
        };
        let ty = Type::tensor(self.dtype(a), out.iter().map(extent).collect::<Vec<_>>());
        self.inst1(Op::Contract { lhs: lhs.to_vec(), rhs: rhs.to_vec(), out: out.to_vec() }, vec![a, b], ty)
    }

    // --- control flow

    pub fn if_else(
        &mut self,
        cond: ValueId,
        types: Vec<Type>,
        then: impl FnOnce(&mut Builder) -> Vec<ValueId>,
        els: impl FnOnce(&mut Builder) -> Vec<ValueId>,
    ) -> Vec<ValueId> {
        let (then, els) = (self.region(then), self.region(els));
        self.inst(Op::If, vec![cond], types, vec![then, els])
    }

    /// `body(b, i, carried) -> carried`. Carried types must not mention carried values (use [`Builder::inst`] for that).
    pub fn for_loop(
        &mut self,
        n: ValueId,
        inits: Vec<ValueId>,
        body: impl FnOnce(&mut Builder, ValueId, &[ValueId]) -> Vec<ValueId>,
    ) -> Vec<ValueId> {
        let types: Vec<Type> = inits.iter().map(|v| self.ty(*v).clone()).collect();
        self.begin_region();
        let i = self.param(Type::scalar(Dtype::I64));
        let carried: Vec<ValueId> = types.iter().map(|t| self.param(t.clone())).collect();
        let next = body(self, i, &carried);
        let region = self.end_region(next);
        let mut args = vec![n];
        args.extend(inits);
        self.inst(Op::For, args, types, vec![region])
    }

    pub fn call(&mut self, func: FuncId, args: Vec<ValueId>, types: Vec<Type>) -> Vec<ValueId> {
        self.inst(Op::Call { func }, args, types, Vec::new())
    }

    /// A name for the value in dumps, taken over from another function's value.
    pub fn copy_name(&mut self, from: &ValueData, to: ValueId) {
        if let Some(name) = &from.name {
            self.func.values[to.0 as usize].name = Some(Arc::clone(name));
        }
    }
}
