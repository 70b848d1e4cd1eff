//! Run-time values.

use std::sync::Arc;

use super::{Eval, RunErrorKind};
use crate::{Dtype, DtypeClass, Scalar, element};

/// What a value of the IR is while a program runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Tensor(Tensor),
    Str(Arc<str>),
    Stack(Arc<Vec<Tensor>>),
}

impl Value {
    pub fn tensor(&self) -> Option<&Tensor> {
        match self {
            Value::Tensor(t) => Some(t),
            Value::Str(_) | Value::Stack(_) => None,
        }
    }

    /// An `i64` scalar.
    pub fn int(x: i64) -> Value {
        Value::Tensor(Tensor::scalar(Scalar::Int(x), Dtype::I64))
    }
}

impl From<Tensor> for Value {
    fn from(t: Tensor) -> Value {
        Value::Tensor(t)
    }
}

/// A dense row-major tensor; bytes are little-endian, as in the runtime's buffers.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Arc<Vec<u8>>,
}

/// What an op takes besides its result for an element of it, at most: positions, and numbers in the widest type.
const SCRATCH: usize = 24;
/// Tensors up to this many bytes are not asked about before they are made.
const SMALL: usize = 1 << 20;

/// Bytes of a tensor, or out of memory.
pub fn bytes_of(dtype: Dtype, shape: &[usize]) -> Eval<usize> {
    let total = shape.iter().try_fold(dtype.size(), |n, d| n.checked_mul(*d));
    let room = |n: &usize| {
        let work = n.checked_add((*n / dtype.size()).checked_mul(SCRATCH)?)?;
        (work <= SMALL || Vec::<u8>::new().try_reserve_exact(work).is_ok()).then_some(())
    };
    match total {
        Some(n) if room(&n).is_some() => Ok(n),
        Some(_) | None => {
            let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
            Err((RunErrorKind::Memory, format!("out of memory: {dtype}[{}]", dims.join(", "))))
        }
    }
}

impl Tensor {
    /// `data` holds exactly the elements of `shape`.
    pub fn new(dtype: Dtype, shape: Vec<usize>, data: Vec<u8>) -> Tensor {
        assert_eq!(data.len(), shape.iter().product::<usize>() * dtype.size(), "bytes of {dtype}{shape:?}");
        Tensor { dtype, shape, data: Arc::new(data) }
    }

    pub fn scalar(x: Scalar, dtype: Dtype) -> Tensor {
        let mut data = Vec::with_capacity(dtype.size());
        element::write(&mut data, x, dtype);
        Tensor { dtype, shape: Vec::new(), data: Arc::new(data) }
    }

    /// Floats rounded to `dtype` (integers converted).
    pub fn from_floats(dtype: Dtype, shape: Vec<usize>, values: impl IntoIterator<Item = f64>) -> Tensor {
        let mut data = Vec::new();
        match dtype {
            Dtype::F32 => values.into_iter().for_each(|x| data.extend((x as f32).to_le_bytes())),
            Dtype::F64 => values.into_iter().for_each(|x| data.extend(x.to_le_bytes())),
            Dtype::F16
            | Dtype::Bf16
            | Dtype::I8
            | Dtype::I16
            | Dtype::I32
            | Dtype::I64
            | Dtype::U8
            | Dtype::U32
            | Dtype::U64
            | Dtype::Bool => values.into_iter().for_each(|x| element::write_float(&mut data, x, dtype)),
        }
        Tensor::new(dtype, shape, data)
    }

    /// Integers wrapped to `dtype`.
    pub fn from_ints(dtype: Dtype, shape: Vec<usize>, values: impl IntoIterator<Item = i64>) -> Tensor {
        let mut data = Vec::new();
        values.into_iter().for_each(|x| element::write_int(&mut data, x, dtype));
        Tensor::new(dtype, shape, data)
    }

    pub fn from_bools(shape: Vec<usize>, values: impl IntoIterator<Item = bool>) -> Tensor {
        Tensor::new(Dtype::Bool, shape, values.into_iter().map(u8::from).collect())
    }

    /// The tensors along axis 0.
    pub(super) fn rows(&self) -> impl Iterator<Item = Tensor> {
        let shape = self.shape[1..].to_vec();
        let size = self.dtype.size() * shape.iter().product::<usize>();
        (0..self.shape[0])
            .map(move |k| Tensor::new(self.dtype, shape.clone(), self.data[k * size..(k + 1) * size].to_vec()))
    }

    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn get(&self, i: usize) -> Scalar {
        element::read(&self.data, i, self.dtype)
    }

    pub fn elements(&self) -> impl Iterator<Item = Scalar> {
        (0..self.numel()).map(|i| self.get(i))
    }

    /// The elements as floats; integers and bools by value.
    pub fn floats(&self) -> Vec<f64> {
        match self.dtype {
            Dtype::F32 => {
                let four = |b: &[u8]| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                self.data.chunks_exact(4).map(four).collect()
            }
            Dtype::U64 => self.ints().into_iter().map(|x| x as u64 as f64).collect(),
            Dtype::F16
            | Dtype::Bf16
            | Dtype::F64
            | Dtype::I8
            | Dtype::I16
            | Dtype::I32
            | Dtype::I64
            | Dtype::U8
            | Dtype::U32
            | Dtype::Bool => (0..self.numel()).map(|i| element::read_float(&self.data, i, self.dtype)).collect(),
        }
    }

    /// The elements as integers (`u64` as two's complement); floats truncated.
    pub fn ints(&self) -> Vec<i64> {
        (0..self.numel()).map(|i| element::read_int(&self.data, i, self.dtype)).collect()
    }

    pub fn bools(&self) -> Vec<bool> {
        match self.dtype.class() {
            DtypeClass::Bool => self.data.iter().map(|b| *b != 0).collect(),
            DtypeClass::Float => self.floats().iter().map(|x| *x != 0.0).collect(),
            DtypeClass::Signed | DtypeClass::Unsigned => self.ints().iter().map(|x| *x != 0).collect(),
        }
    }

    /// The only element of an integer or bool scalar.
    pub fn as_int(&self) -> Option<i64> {
        (self.numel() == 1 && !self.dtype.is_float()).then(|| element::read_int(&self.data, 0, self.dtype))
    }

    /// Row-major strides in elements.
    pub fn strides(&self) -> Vec<isize> {
        strides(&self.shape)
    }
}

pub fn strides(shape: &[usize]) -> Vec<isize> {
    let mut out = vec![1_isize; shape.len()];
    for i in (1..shape.len()).rev() {
        out[i - 1] = out[i] * shape[i] as isize;
    }
    out
}
