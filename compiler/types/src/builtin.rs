//! The operations of the typed AST that are built in: reductions, derivatives, draws, functions of the prelude.

use std::sync::Arc;

use tdl_ir::op::{BinaryOp, HostFn, ScanOp, UnaryOp};

use crate::thir::{Axis, Expr, FnId};

/// How a reduction combines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    Sum,
    Prod,
    Max,
    Min,
    Mean,
    Any,
    All,
}

/// Which derivative a function value is.
#[derive(Clone, Debug)]
pub struct Derivative {
    pub kind: DerivativeKind,
    pub func: Box<Expr>,
    /// Parameters of `func`, by position.
    pub wrt: Vec<usize>,
    /// `wrt` was a tuple: so is the gradient.
    pub wrt_tuple: bool,
    /// `func` gives `(loss, extra)`.
    pub aux: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DerivativeKind {
    /// `grad(f)`: as `f`, with the gradient as the result (`(g, extra)` with aux).
    Grad,
    /// `(loss, g)`, with aux `((loss, extra), g)`.
    ValueAndGrad,
    /// For each leaf of the result the parameter's tree, each leaf with the result leaf's shape in front.
    Jacobian,
    /// The Jacobian of the gradient.
    Hessian,
}

/// A function on each of many lanes.
#[derive(Clone, Debug)]
pub struct Vmap {
    pub func: Box<Expr>,
    /// Where the lanes are in each argument's leaves; none: the argument is the same in all.
    pub axes: Vec<Option<Axis>>,
    /// Where they are in the result's leaves.
    pub out: Axis,
}

/// Draws from a generator. Results have the expression's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RngOp {
    Normal,
    Uniform,
    /// args: probability of true (scalar float). Result: bool tensor.
    Bernoulli,
    /// args: low, high (i64, high excluded). Result: integer tensor.
    Randint,
    /// args: n. Result: `i64[n]`.
    Permutation,
    /// args: a tensor or stack; its rows in random order.
    Shuffle,
    /// args: a tensor or stack with at least one row; one row.
    Choice,
    /// args: logits `[..s, n]`. Result: `i64[..s]`.
    Categorical,
    /// An independent child.
    Split,
    /// args: n. A stack of children, `Rng[n]`.
    SplitN,
}

/// An entry of a pattern of `einsum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EinsumAxis {
    Label(u8),
    /// `...`
    Rest,
}

/// Primitives with typing rules of their own. Static parameters stand here, values in the arguments, type arguments in the result's type.
#[derive(Clone, Debug, PartialEq)]
pub enum Builtin {
    /// `exp(x)` and every other row of the table.
    Elementwise1(UnaryOp),
    /// `maximum(a, b)` and every other row, with broadcasting.
    Elementwise2(BinaryOp),
    /// `axes`: none means all. With `keepdims` they stay as 1.
    Reduce {
        op: Reduction,
        axes: Option<Vec<Axis>>,
        keepdims: bool,
    },
    /// Index of the first largest or smallest; without axis over all elements in row-major order.
    ArgReduce {
        max: bool,
        axis: Option<Axis>,
        keepdims: bool,
    },
    Scan {
        op: ScanOp,
        axis: Axis,
        reverse: bool,
    },
    Sort {
        axis: Axis,
        descending: bool,
    },
    Argsort {
        axis: Axis,
        descending: bool,
    },
    /// `(c, a, b)` with broadcasting; `a` and `b` may be trees of one type, then `c` is a scalar or covers the stack's axes.
    Where,
    /// Of the result's type, which may be a tree.
    Zeros,
    Ones,
    /// args: the scalar.
    Full,
    /// Square matrix with ones on the diagonal.
    Eye,
    /// 0, 1, … of the result's dtype; args: nothing, or start and step.
    Arange,
    /// args: first and last.
    Linspace,
    /// Of a tensor or a stack; to the result's shape.
    Reshape,
    /// Result axis `i` is operand axis `perm[i]`.
    Permute {
        perm: Vec<Axis>,
    },
    /// `x.T`: swaps the last two axes.
    Transpose,
    /// args: one tuple's items, tensors or stacks, along `axis`.
    Concat {
        axis: Axis,
    },
    /// args: items of one type, along a new axis of the result.
    Stack {
        axis: Axis,
    },
    Flip {
        axes: Vec<Axis>,
    },
    /// Products of the operands' elements, summed over the labels that the result lacks. A label has one extent; it stands once in an
    /// operand; `...` stands for the same axes wherever it does.
    Einsum {
        operands: Vec<Vec<EinsumAxis>>,
        result: Vec<EinsumAxis>,
    },
    /// The same over windows, of the result's type: of each window the labels of the axis that it moves over, of its place and of its
    /// element. args: one or two operands, then stride, dilation and padding of each window (i64).
    Window {
        operands: Vec<Vec<EinsumAxis>>,
        result: Vec<EinsumAxis>,
        windows: Vec<[u8; 3]>,
    },
    /// Broadcast to the result's shape.
    BroadcastTo,
    /// `i64[k, rank]` for a tensor, `i64[k]` for a vector: positions of true, in row-major order. Existential.
    Nonzero,
    /// args: a, b, and rtol, atol (f64). A bool scalar; on trees all leaves.
    Allclose,
    /// Values and text, separated by blanks; `end` instead of a newline.
    Print {
        end: Arc<str>,
    },
    StopGrad,
    /// args: a seed (i64).
    RngNew,
    TreeMap,
    TreeDot,
    TreeSum,
    TreeNorm,
    /// args: tree, largest norm.
    TreeClip,
    TreeCount,
    /// args: path, value. `names`: leaf paths are made by `elaborate`.
    Save,
    /// args: path, and if `rename` a function from a name in the file to one of the type. Of the result's type, which may have
    /// sizes of its own. Entries that are not read are an error unless `extra`.
    Load {
        rename: bool,
        extra: bool,
    },
    /// A reader of one array. args: path, and what else the function takes before it is told what is expected. Of the result's type, a
    /// tensor, or one with sizes that the file decides: what the type says is checked.
    Read(HostFn),
    /// args: path, tree: an npz file.
    WriteNpz,
    /// A function of the runtime, with its arguments; of the result's type, which may have sizes of its own.
    Host(HostFn),
    /// `unique(x)` of a vector of numbers or text: the distinct ones in order.
    Unique,
    /// args: a sorted vector, values: how many of the vector are less than each value (or equal, with `right`).
    SearchSorted {
        right: bool,
    },
    Exists,
    Clock,
    /// Fails unless the derivative rule of a function agrees with finite differences at a random place.
    CheckRule(FnId),
}
