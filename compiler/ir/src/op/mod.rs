//! The operations of the tensor IR, in families. Each family's table says everything about its ops: name, doc, dtype rule,
//! evaluation, derivative. Everything that composes from these is in the standard library, in tdl.
//!
//! Notation below: `x: [a, b]` are operand shapes; result extents stand in the result's type.

mod binary;
mod catalogue;
mod compare;
mod def;
mod fold;
mod host;
mod io;
mod reduce;
pub mod special;
#[cfg(test)]
mod tests;
mod unary;
mod window;

use std::sync::Arc;

pub use binary::{BinaryDef, BinaryOp};
pub use catalogue::{Entry, Family, catalogue};
pub use compare::{CompareDef, CompareOp};
pub use def::{
    BinaryEval, BinaryRule, Derivative, DtypeRule, ResultDtype, UnaryEval, UnaryRule, float_to_int, int_range,
    int_to_float, round_float, wrap_int,
};
pub use fold::{convert, fold};
pub use host::{HostDef, HostFn};
pub use io::IoOp;
pub use reduce::{ReduceDef, ReduceDerivative, ReduceOp, ScanDef, ScanDerivative, ScanOp};
pub use unary::{UnaryDef, UnaryOp};
pub use window::Window;

use crate::FuncId;

/// An operation with its static parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    // --- constants
    /// `() -> scalar` of the result's dtype.
    Const(Scalar),
    /// `() -> tensor` with constant extents: row-major little-endian elements.
    Dense(Arc<[u8]>),
    /// `() -> str`.
    Text(Arc<str>),
    /// `() -> [n]`: 0, 1, … n-1 in the result's dtype (int or float).
    Iota,

    // --- elementwise: operands and result have one shape
    Unary(UnaryOp),
    /// Both operands have the result's dtype.
    Binary(BinaryOp),
    /// Result is bool.
    Compare(CompareOp),
    /// `(c: bool, a, b) -> c ? a : b`.
    Select,
    /// To the result's dtype: float → int truncates and saturates, NaN gives 0; number → bool is `x != 0`.
    Convert,
    /// Identity whose derivative is zero.
    StopGrad,
    /// Identity that no pass looks through: what is computed from it is computed anew, even if an equal value is at hand.
    Barrier,

    // --- movement
    /// Inserts axes: the result's axes listed in `axes` (ascending) are new, the others are the operand's in order.
    Expand {
        axes: Vec<usize>,
    },
    /// Same number of elements in row-major order.
    Reshape,
    /// Result axis `i` is operand axis `perm[i]`.
    Permute {
        perm: Vec<usize>,
    },
    /// `(x, start…)`: result axis `i` reads `start[i] + steps[i] * k`, `k < result dim i`. Steps are ≥ 1; starts are `i64`
    /// scalars, one per axis, proved or asserted in range.
    Slice {
        steps: Vec<i64>,
    },
    /// `(x, u, start…)`: `x` with the strided region replaced by `u`, or added to.
    UpdateSlice {
        steps: Vec<i64>,
        mode: Update,
    },
    Flip {
        axes: Vec<usize>,
    },
    /// `(x, stride, dilation, padding)`: windows along `axis`, whose taps are the next axis. With `at(p, t) = stride * p +
    /// dilation * t - padding`, element `[p, t]` of the result is element `[at(p, t), t]` of the operand, or zero outside of it. With
    /// `spread` the other way round, which is the transpose: element `[at(p, t), t]` of the result is element `[p, t]` of the
    /// operand, and zero where no window is. Stride and dilation are ≥ 1, proved or asserted.
    Shear {
        axis: usize,
        spread: bool,
    },
    /// `(x…)` along `axis`; at least one operand.
    Concat {
        axis: usize,
    },

    // --- reductions, scans, order
    /// Removes `axes` (ascending). Over no elements: the op's identity; `max`/`min` of nothing is -inf/inf (ints: lowest/highest).
    Reduce {
        op: ReduceOp,
        axes: Vec<usize>,
    },
    /// Index (`i64`) of the first largest or smallest element along `axis`; NaN counts as largest/smallest.
    ArgReduce {
        max: bool,
        axis: usize,
    },
    /// Inclusive prefix along `axis` (suffix if `reverse`).
    Scan {
        op: ScanOp,
        axis: usize,
        reverse: bool,
    },
    /// `x -> (sorted, i64 indices)`: stable along `axis`, NaN last.
    Sort {
        axis: usize,
        descending: bool,
    },
    /// `mask: bool[n] -> (k: i64, i64[k])`: positions of true, ascending.
    Nonzero,

    // --- products
    /// Einsum of two operands: each label names an axis. Labels in both operands and not in `out` are summed; a label in
    /// `out` appears in at least one operand; no label repeats within one list.
    Contract {
        lhs: Vec<u8>,
        rhs: Vec<u8>,
        out: Vec<u8>,
    },

    /// `(a, b, (stride, dilation, padding) of each window…)`: a sum of products as `contract`, in which the labels of a window stand
    /// for indices with `whole = stride * place + dilation * tap - padding`. What is outside of its axis counts as zero. One of the
    /// three tensors has the wholes, another the places, the third the taps: so convolutions are windows, and so are their
    /// derivatives, with the tensors in other roles. Up to three windows.
    Window {
        lhs: Vec<u8>,
        rhs: Vec<u8>,
        out: Vec<u8>,
        windows: Vec<Window>,
    },

    // --- attention
    /// `(q: [s…, n, d], k: [s…, m, d], v: [s…, m, e], reach: i64) -> (y: [s…, n, e], sums: [s…, n])`: `y = softmax(q kᵀ / sqrt(d)) v`, where
    /// query `i` sees the keys up to `i + reach`, or weighs all alike if it sees none. `sums` are the logarithms of the softmax's sums. Floats;
    /// 16-bit ones are computed in f32, which is the dtype of `sums`.
    Attention,
    /// `(q, k, v, dy, sums, delta: [s…, n], reach) -> (dq, dk, dv)`: the cotangents for that of `y`. `delta` is each query's `sum(dy * y)` less
    /// the cotangent of `sums`.
    AttentionGrad,

    // --- indexed access along axis 0
    /// `(x: [n, r…], ids: i64[s…]) -> [s…, r…]`; ids proved or asserted in `0..n`.
    Gather,
    /// `(x: [n, r…], ids: i64[s…], u: [s…, r…]) -> x` with rows replaced (last wins) or added to (repeats accumulate).
    Scatter {
        mode: Update,
    },

    // --- random
    /// `(key: i64, counter: i64) -> tensor`: element `i` (row-major) depends on `key` and `counter + i` alone.
    Random {
        dist: Dist,
    },

    // --- control flow
    /// `(c: bool scalar)`, regions then / else without parameters; results are what they yield.
    If,
    /// `(n: i64, init…)`, one region `(i: i64, carried…) -> carried…`; results: final carried.
    For,
    /// `(init…)`, regions `cond(carried…) -> bool` and `body(carried…) -> carried…`; results: final carried.
    While,
    Call {
        func: FuncId,
    },

    // --- derivatives, replaced by the `grad` pass
    /// `(args of func…, cotangents of its float tensor results…) -> (results of func…, cotangents of params listed in wrt…)`.
    /// `wrt` indexes the parameters of `func`; all are float tensors.
    Vjp {
        func: FuncId,
        wrt: Vec<usize>,
    },
    /// `(args of func…, tangents of the params in wrt…) -> (results of func…, tangents of its float tensor results…)`.
    Jvp {
        func: FuncId,
        wrt: Vec<usize>,
    },

    /// `() -> ()`, in the body of a loop: every `every` iterations are one function that is recomputed (`@remat(every: k)`).
    Checkpoint {
        every: u64,
    },

    // --- batching, replaced before a program runs
    /// `(n: i64, args of func…)`: `func` on each of `n` lanes. The arguments of the parameters in `mapped` have the lanes as
    /// an axis in front, and so have the results, but for the first `uniform`: `i64` scalars that are the same in all lanes.
    Vmap {
        func: FuncId,
        mapped: Vec<usize>,
        uniform: usize,
    },

    // --- growable stacks: what a `while` keeps for its transposed loop
    /// `() -> stack`, empty.
    StackNew,
    /// `(s, x) -> s` with `x` appended, or with each of its rows, if it has one axis more than the elements (the old `s` is
    /// dead afterwards).
    StackPush,
    /// `(s) -> (n: i64, [n, dims…])`: the contents as one tensor.
    StackTensor,

    // --- effects, never dropped, never reordered among each other
    /// Writes `pieces` and then a newline (or `end`) to standard output; args are the `Piece::Value`s in order.
    Print {
        pieces: Vec<Piece>,
        end: Arc<str>,
    },
    /// `(ok: bool scalar, value…)`: stops the program with the message unless `ok`.
    Assert {
        kind: AssertKind,
        pieces: Vec<Piece>,
    },
    /// `(values…) -> str`: interpolated text.
    Format {
        pieces: Vec<Piece>,
    },
    Io(IoOp),
    /// `()` or `(x)`: a place of `func` where a debugger may stop (the instruction's span), or a variable of it that the
    /// debugger shows from there on. Only in programs that are compiled for one.
    Debug {
        func: Arc<str>,
        variable: Option<Arc<str>>,
    },
    /// `(values…) -> values…`: a function of the runtime.
    Host(HostFn),
}

/// A scalar constant; its dtype stands in the result's type. Floats of every width are kept as `f64` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    Float(u64),
    /// Signed and unsigned integers (`u64` as its two's complement).
    Int(i64),
    Bool(bool),
}

impl Scalar {
    pub fn float(x: f64) -> Scalar {
        Scalar::Float(x.to_bits())
    }
}

/// What an update does to the old element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Update {
    Set,
    Add,
}

/// Distribution of a random draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dist {
    /// All bits of `u32` or `u64`/`i64`.
    Bits,
    /// In `[0, 1)`; f32 or f64.
    Uniform,
    /// Standard normal; f32 or f64.
    Normal,
}

/// A part of a printed line or message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    Text(Arc<str>),
    /// The next argument, formatted by `spec` (empty: the default).
    Value {
        spec: Arc<str>,
    },
}

/// Why an assertion is there: chooses the run-time error's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AssertKind {
    /// The user's `assert`.
    User,
    /// An index or slice out of range.
    Index,
    /// A size that must be equal, divisible or not negative: `as`, a number used as a size.
    Shape,
    /// Integer division by zero.
    Division,
    /// A NaN, under `--trap-nan`.
    Nan,
    /// More elements than can be counted.
    Memory,
}

impl Op {
    /// The function that it calls, or maps or differentiates.
    pub fn callee(&self) -> Option<FuncId> {
        if let Op::Call { func } | Op::Vjp { func, .. } | Op::Jvp { func, .. } | Op::Vmap { func, .. } = self {
            Some(*func)
        } else {
            None
        }
    }

    /// Must stay where it is, once, even if nobody uses its results. (`If`, loops and calls: see their contents.)
    pub fn has_effect(&self) -> bool {
        match self {
            Op::Print { .. } | Op::Assert { .. } | Op::Io(_) | Op::Debug { .. } => true,
            Op::Host(f) => f.def().effect,
            Op::Const(_)
            | Op::Dense(_)
            | Op::Text(_)
            | Op::Iota
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Select
            | Op::Convert
            | Op::StopGrad
            | Op::Barrier
            | Op::Expand { .. }
            | Op::Reshape
            | Op::Permute { .. }
            | Op::Slice { .. }
            | Op::UpdateSlice { .. }
            | Op::Flip { .. }
            | Op::Shear { .. }
            | Op::Concat { .. }
            | Op::Reduce { .. }
            | Op::ArgReduce { .. }
            | Op::Scan { .. }
            | Op::Sort { .. }
            | Op::Nonzero
            | Op::Contract { .. }
            | Op::Window { .. }
            | Op::Attention
            | Op::AttentionGrad
            | Op::Gather
            | Op::Scatter { .. }
            | Op::Random { .. }
            | Op::If
            | Op::For
            | Op::While
            | Op::Call { .. }
            | Op::Vjp { .. }
            | Op::Jvp { .. }
            | Op::Checkpoint { .. }
            | Op::Vmap { .. }
            | Op::StackNew
            | Op::StackPush
            | Op::StackTensor
            | Op::Format { .. } => false,
        }
    }
}
