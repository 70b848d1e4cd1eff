//! What a benchmark computes with. A tensor that the compiler knows, such as `ones(f32[n, n])`, would be computed with at
//! compile time: `ones @ ones` is `n` everywhere. Those tensors become parameters, made before the clock starts.
//!
//! before: func(%n) { %1 = const 1.0   %2: f32[%n, %n] = expand %1   %3 = contract %2 %2 }
//! after:  func(%n, %2: f32[%n, %n]) { %1 = const 1.0   %3 = contract %2 %2 }

use tdl_ir::interp::{Tensor, Value};
use tdl_ir::{Dim, Dtype, Function, Op, Scalar, ValueId};

/// A tensor that is made before a benchmark runs.
pub(super) struct Input {
    dtype: Dtype,
    dims: Vec<Extent>,
    contents: Contents,
}

enum Extent {
    Const(i64),
    /// The benchmark's own parameter.
    N,
}

enum Contents {
    Filled(Scalar),
    /// 0, 1, 2, …
    Counting,
    Bytes(std::sync::Arc<[u8]>),
}

/// Turns the known tensors of a benchmark's function into parameters.
pub(super) fn lift(func: &mut Function) -> Vec<Input> {
    let n = func.params().first().copied();
    let mut consts: Vec<(ValueId, Scalar)> = Vec::new();
    let mut inputs = Vec::new();
    let mut params = Vec::new();
    for inst in &func.body.insts {
        let Some(result) = inst.results.first().copied() else { continue };
        let contents = match &inst.op {
            Op::Const(s) => {
                consts.push((result, *s));
                continue;
            }
            Op::Expand { .. } => {
                let source = consts.iter().find(|(v, _)| inst.args.first() == Some(v));
                source.map(|(_, s)| Contents::Filled(*s))
            }
            Op::Iota => Some(Contents::Counting),
            Op::Dense(bytes) => Some(Contents::Bytes(std::sync::Arc::clone(bytes))),
            _ => None,
        };
        let ty = func.ty(result);
        let extent = |d: &Dim| match d {
            Dim::Const(c) => Some(Extent::Const(*c)),
            Dim::Val(v) => (Some(*v) == n).then_some(Extent::N),
        };
        let dims: Option<Vec<Extent>> = ty.dims().iter().map(extent).collect();
        if let (Some(contents), Some(dims), Some(dtype)) = (contents, dims, ty.dtype()) {
            inputs.push(Input { dtype, dims, contents });
            params.push(result);
        }
    }
    func.body.insts.retain(|i| i.results.first().is_none_or(|r| !params.contains(r)));
    func.body.params.extend(params);
    inputs
}

impl Input {
    /// The tensor for a value of the benchmark's parameter; none if it has a negative extent.
    pub fn make(&self, n: Option<i64>) -> Option<Value> {
        let extent = |e: &Extent| match e {
            Extent::Const(c) => usize::try_from(*c).ok(),
            Extent::N => usize::try_from(n?).ok(),
        };
        let shape: Vec<usize> = self.dims.iter().map(extent).collect::<Option<_>>()?;
        let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n < 1 << 34)?;
        Some(Value::Tensor(match &self.contents {
            Contents::Filled(s) => {
                let one = Tensor::scalar(*s, self.dtype);
                Tensor::new(self.dtype, shape, one.data.repeat(count))
            }
            Contents::Counting => {
                let numbers = 0..count as i64;
                match self.dtype.is_float() {
                    true => Tensor::from_floats(self.dtype, shape, numbers.map(|i| i as f64)),
                    false => Tensor::from_ints(self.dtype, shape, numbers),
                }
            }
            Contents::Bytes(bytes) => Tensor::new(self.dtype, shape, bytes.to_vec()),
        }))
    }
}
