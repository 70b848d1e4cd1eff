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

/// A convolution or one of its derivatives, by dense operands `x: [n, whole…, g, c]`, `w: [g, tap…, c, o]` and `y: [n, place…, g, o]`,
/// one of which is computed from the others: sums of `x * w * y` over all places and taps with `whole = stride * place + dilation *
/// tap - padding`. There are three windows; those that a program does not have have one place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Windows {
    /// f32 or f64.
    pub dtype: Dtype,
    pub result: Role,
    pub x: Reg,
    pub w: Reg,
    pub y: Reg,
    /// `n`, `g`, `c`, `o`.
    pub counts: [Operand; 4],
    pub steps: [WindowSteps; 3],
}

/// One of the tensors of [`Windows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    X,
    W,
    Y,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowSteps {
    pub whole: Operand,
    pub place: Operand,
    pub tap: Operand,
    pub stride: Operand,
    pub dilation: Operand,
    pub padding: Operand,
}

impl WindowSteps {
    pub fn all(self) -> [Operand; 6] {
        [self.whole, self.place, self.tap, self.stride, self.dilation, self.padding]
    }
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

    Windows(Box<Windows>),

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
    /// What a GPU is to do from here on may be what it did the last time: see `gpu/segments.rs`.
    Segment {
        place: u32,
        depth: u32,
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
