//! Types of IR values.

use std::fmt;

/// Element types. The table [`Dtype::ALL`] is open: nothing may assume "float, int or bool".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dtype {
    F16,
    Bf16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U32,
    U64,
    Bool,
}

/// How an element type computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DtypeClass {
    Float,
    Signed,
    Unsigned,
    Bool,
}

impl Dtype {
    pub const ALL: &[Dtype] = &[
        Dtype::F16,
        Dtype::Bf16,
        Dtype::F32,
        Dtype::F64,
        Dtype::I8,
        Dtype::I16,
        Dtype::I32,
        Dtype::I64,
        Dtype::U8,
        Dtype::U32,
        Dtype::U64,
        Dtype::Bool,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
            Dtype::F32 => "f32",
            Dtype::F64 => "f64",
            Dtype::I8 => "i8",
            Dtype::I16 => "i16",
            Dtype::I32 => "i32",
            Dtype::I64 => "i64",
            Dtype::U8 => "u8",
            Dtype::U32 => "u32",
            Dtype::U64 => "u64",
            Dtype::Bool => "bool",
        }
    }

    pub fn from_name(name: &str) -> Option<Dtype> {
        Dtype::ALL.iter().copied().find(|d| d.name() == name)
    }

    /// Bytes of one element in memory (a bool takes one).
    pub const fn size(self) -> usize {
        match self {
            Dtype::F16 | Dtype::Bf16 | Dtype::I16 => 2,
            Dtype::F32 | Dtype::I32 | Dtype::U32 => 4,
            Dtype::F64 | Dtype::I64 | Dtype::U64 => 8,
            Dtype::I8 | Dtype::U8 | Dtype::Bool => 1,
        }
    }

    pub const fn class(self) -> DtypeClass {
        match self {
            Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64 => DtypeClass::Float,
            Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => DtypeClass::Signed,
            Dtype::U8 | Dtype::U32 | Dtype::U64 => DtypeClass::Unsigned,
            Dtype::Bool => DtypeClass::Bool,
        }
    }

    pub const fn is_float(self) -> bool {
        matches!(self.class(), DtypeClass::Float)
    }

    pub const fn is_int(self) -> bool {
        matches!(self.class(), DtypeClass::Signed | DtypeClass::Unsigned)
    }

    pub const fn is_num(self) -> bool {
        !matches!(self, Dtype::Bool)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value of one function: an index into [`crate::Function::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// A function of the module: an index into [`crate::Module::funcs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FuncId(pub u32);

/// One extent of a tensor: known, or the value of an `i64` scalar that dominates every value with that type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dim {
    Const(i64),
    Val(ValueId),
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Row-major tensor; rank 0 is a scalar.
    Tensor { dtype: Dtype, dims: Vec<Dim> },
    /// Immutable text.
    Str,
    /// Growable sequence of equal tensors; holds what a `while` keeps for its transposed loop.
    Stack { dtype: Dtype, dims: Vec<Dim> },
}

impl Type {
    pub fn tensor(dtype: Dtype, dims: impl Into<Vec<Dim>>) -> Type {
        Type::Tensor { dtype, dims: dims.into() }
    }

    pub fn scalar(dtype: Dtype) -> Type {
        Type::Tensor { dtype, dims: Vec::new() }
    }

    /// Element type; `None` for text.
    pub fn dtype(&self) -> Option<Dtype> {
        match self {
            Type::Tensor { dtype, .. } | Type::Stack { dtype, .. } => Some(*dtype),
            Type::Str => None,
        }
    }

    /// Extents; empty for text.
    pub fn dims(&self) -> &[Dim] {
        match self {
            Type::Tensor { dims, .. } | Type::Stack { dims, .. } => dims,
            Type::Str => &[],
        }
    }

    pub fn rank(&self) -> usize {
        self.dims().len()
    }

    pub fn is_scalar(&self) -> bool {
        matches!(self, Type::Tensor { dims, .. } if dims.is_empty())
    }

    /// A tensor of floats: what has a tangent.
    pub fn is_float_tensor(&self) -> bool {
        matches!(self, Type::Tensor { dtype, .. } if dtype.is_float())
    }

    /// The same type with every extent mapped.
    pub fn map_dims(&self, mut f: impl FnMut(Dim) -> Dim) -> Type {
        match self {
            Type::Tensor { dtype, dims } => Type::Tensor { dtype: *dtype, dims: dims.iter().map(|d| f(*d)).collect() },
            Type::Stack { dtype, dims } => Type::Stack { dtype: *dtype, dims: dims.iter().map(|d| f(*d)).collect() },
            Type::Str => Type::Str,
        }
    }

    /// The same shape with another element type.
    pub fn with_dtype(&self, dtype: Dtype) -> Type {
        Type::Tensor { dtype, dims: self.dims().to_vec() }
    }
}
