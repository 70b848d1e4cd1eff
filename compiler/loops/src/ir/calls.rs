//! Calls into the runtime: matrix products, sorting, random numbers, stacks, files.

use std::sync::Arc;

use tdl_ir::{Dist, Dtype, HostFn};

use super::{Index, Operand, Reg};

/// A float matrix operand: element `(i, j)` of batch item `b` is at `ptr[offset + i * rows + j * cols + …]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Matrix {
    pub ptr: Reg,
    /// Element offset.
    pub offset: Index,
    pub row_stride: Operand,
    pub col_stride: Operand,
    /// Per axis of [`Gemm::batch`].
    pub batch_strides: Vec<Operand>,
}

/// `c[m, n] = a[m, k] @ b[k, n]`, or `c += …`, for every batch index. Strides are in elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gemm {
    /// f16, bf16 (computed in f32), f32 or f64.
    pub dtype: Dtype,
    pub m: Operand,
    pub n: Operand,
    pub k: Operand,
    /// Extents of the batch axes, outermost first; usually none.
    pub batch: Vec<Operand>,
    pub a: Matrix,
    pub b: Matrix,
    pub c: Matrix,
    pub accumulate: bool,
}

/// An argument that is printed, formatted, saved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Arg {
    Scalar {
        value: Operand,
        dtype: Dtype,
    },
    Str(Reg),
    /// Dense, row-major.
    Tensor {
        ptr: Reg,
        dtype: Dtype,
        dims: Vec<Operand>,
    },
}

/// What the runtime does for a program. Buffers are dense; those that a call fills have been allocated, unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RuntimeCall {
    /// `rows` independent stable sorts of `len` elements, NaN last; `indices` are `i64`.
    Sort {
        src: Reg,
        values: Reg,
        indices: Reg,
        dtype: Dtype,
        rows: Operand,
        len: Operand,
        descending: bool,
    },
    /// Number of true bytes.
    CountTrue {
        dst: Reg,
        mask: Reg,
        len: Operand,
    },
    /// Positions of the true bytes, as `i64`.
    Positions {
        dst: Reg,
        mask: Reg,
        len: Operand,
    },
    /// Element `i` is a function of `key` and `counter + i`.
    Random {
        dst: Reg,
        dist: Dist,
        dtype: Dtype,
        key: Operand,
        counter: Operand,
        len: Operand,
    },

    StackNew {
        dst: Reg,
    },
    /// Makes room for `bytes` more at the end; `dst` is their address, valid until the next `StackGrow`.
    StackGrow {
        dst: Reg,
        stack: Reg,
        bytes: Operand,
    },
    /// Address and length in bytes of the contents, valid until the stack grows or is freed.
    StackContents {
        ptr: Reg,
        bytes: Reg,
        stack: Reg,
    },
    StackFree {
        stack: Reg,
    },

    Save {
        path: Reg,
        entries: Vec<SaveEntry>,
    },
    Load {
        path: Reg,
        entries: Vec<LoadEntry>,
        /// Own names of the file's entries: numbers of texts.
        renamed: Option<Arg>,
        extra: bool,
    },
    Exists {
        dst: Reg,
        path: Reg,
    },
    Clock {
        dst: Reg,
    },
    /// Results in order; the runtime allocates tensors.
    Host {
        func: HostFn,
        args: Vec<Arg>,
        results: Vec<Reg>,
    },
    Progress {
        i: Operand,
        n: Operand,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SaveEntry {
    pub name: Arc<str>,
    pub value: Arg,
}

/// Dtype and extents are checked against the file's. Scalars are read into a buffer of one element.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoadEntry {
    pub name: Arc<str>,
    pub dst: Reg,
    pub dtype: Dtype,
    pub dims: Vec<Operand>,
}
