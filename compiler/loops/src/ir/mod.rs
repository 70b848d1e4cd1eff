//! Loop IR: what `llvm` lowers one to one.
//!
//! A [`Program`] has host functions (structured control flow, scalars in registers, buffers behind pointer registers) and
//! kernels (loop nests over buffers). Both are written in one small register language, so one emitter serves both; the
//! verifier says which statements a kernel may not hold.
//!
//! Invariants (see `verify`):
//! - registers are SSA: assigned once, visible in the rest of their block and in the blocks inside it;
//! - loads, stores and index arithmetic count in elements; tensors in memory are dense unless an index says otherwise;
//! - pointers that are passed to one kernel never overlap;
//! - rank-0 values are registers, never buffers, except where memory is asked for (a result of a runtime call);
//! - every index is in range: checks are `Assert`s that stand before;
//! - memory that is still allocated when a function fails belongs to the context, which frees it.

mod calls;
mod device;
mod tasks;

use std::sync::Arc;

use tdl_ir::{AssertKind, BinaryOp, CompareOp, Dtype, Piece, ReduceOp, Scalar, UnaryOp};

pub use calls::{Arg, Gemm, LoadEntry, Matrix, Role, RuntimeCall, SaveEntry, WindowSteps, Windows};
pub use device::{Device, Tile, WARP, WIDE};
pub use tasks::{Task, TaskId, TaskKind, Tock};
use tdl_source::Span;

/// An SSA register of one function or kernel: an index into its `regs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(pub u32);

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegTy {
    /// A number. `Bool` is one bit in registers and one byte in memory. f16 and bf16 keep their own width: an operation
    /// on them converts to f32, computes and rounds back.
    Scalar(Dtype),
    /// Address of a buffer.
    Ptr,
    /// Handle of an immutable text that the context owns.
    Str,
    /// Handle of a growable byte stack (residuals of a `while`).
    Stack,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegData {
    pub ty: RegTy,
    /// The user's name for it, for dumps. Never part of a kernel's identity.
    pub name: Option<Arc<str>>,
}

/// A register or a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    Reg(Reg),
    Const(Scalar, Dtype),
}

impl Operand {
    pub const fn i64(x: i64) -> Operand {
        Operand::Const(Scalar::Int(x), Dtype::I64)
    }

    pub const fn bool(x: bool) -> Operand {
        Operand::Const(Scalar::Bool(x), Dtype::Bool)
    }

    /// The integer, if this is an integer constant.
    pub const fn as_i64(self) -> Option<i64> {
        match self {
            Operand::Const(Scalar::Int(x), _) => Some(x),
            Operand::Const(Scalar::Float(_) | Scalar::Bool(_), _) | Operand::Reg(_) => None,
        }
    }
}

impl From<Reg> for Operand {
    fn from(r: Reg) -> Operand {
        Operand::Reg(r)
    }
}

/// `offset + sum of reg * stride`, in elements. Never overflows, so it may be emitted with `nsw`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Index {
    pub offset: i64,
    pub terms: Vec<Term>,
}

/// `reg * stride`; both are `i64`. Within a vector loop, `reg` is the loop variable (contiguous if the stride is 1), a
/// value from outside of the loop, or one computed inside it (a gather).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    pub reg: Reg,
    pub stride: Operand,
}

/// What a program is lowered for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Target {
    /// Everything on the host's processor, in its memory.
    #[default]
    Cpu,
    /// Tensors in a GPU's memory, kernels on a grid of its threads; the rest on the host.
    Gpu,
}

/// A whole program.
#[derive(Clone, Debug, Default)]
pub struct Program {
    pub target: Target,
    /// The functions that can be called from outside; calls between them have been inlined.
    pub funcs: Vec<Func>,
    /// Index into `funcs` of the module's entry, if it was lowered.
    pub entry: Option<usize>,
    /// Equal kernels appear once.
    pub kernels: Vec<Kernel>,
    /// Constant tensors; read only, to be aligned to 64 bytes.
    pub data: Vec<Arc<[u8]>>,
    /// Texts (file names, pieces) are inline in statements; places for run-time errors are here.
    pub sites: Vec<Site>,
    /// What a profile tells apart; none: the program is not profiled.
    pub tasks: Option<Vec<Task>>,
}

/// Index into [`Program::data`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataId(pub u32);

/// Index into [`Program::kernels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelId(pub u32);

/// Index into [`Program::sites`]: where in the source a statement that can fail comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SiteId(pub u32);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    pub span: Span,
}

/// A host function: `fn(ctx, args: *const u64, results: *mut u64) -> status`.
///
/// Every parameter and result occupies `u64` slots in declared order: a scalar one slot (its bits, low bytes first), a text
/// one (its handle), a tensor a pointer slot followed by one slot per extent. Tensors that come in are the caller's and are never
/// written; tensors that go out are the caller's to free.
#[derive(Clone, Debug)]
pub struct Func {
    pub name: String,
    pub span: Span,
    pub regs: Vec<RegData>,
    pub params: Vec<Param>,
    pub results: Vec<ResultTy>,
    /// Ends with exactly one `Return`, which is the only one.
    pub body: Vec<Stmt>,
}

/// A parameter with the registers that its slots fill, in slot order.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub name: Option<Arc<str>>,
    pub ty: ResultTy,
    pub slots: Vec<Reg>,
}

/// Shape of a parameter's or result's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResultTy {
    Scalar(Dtype),
    Str,
    Tensor { dtype: Dtype, rank: usize },
}

impl ResultTy {
    /// Number of `u64` slots.
    pub const fn slots(self) -> usize {
        match self {
            ResultTy::Scalar(_) | ResultTy::Str => 1,
            ResultTy::Tensor { rank, .. } => 1 + rank,
        }
    }
}

/// A loop nest over buffers: `fn(params…, lo, hi)`. It covers `lo..hi` of the launch's range; calls with disjoint ranges may
/// run at the same time. It holds `Let`, `Store`, `Stream`, `Prefetch`, `For`, `If`, `Local` alone, so it can't fail.
///
/// On a GPU (`grid`) it is `fn(params…, range)`, and every thread of the grid runs the body: it covers the whole range together
/// with the others. There it may also hold `Shared`, `Barrier` and `Device`, and has no `Stream`, no `Prefetch` and no vector loop.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Says what it computes, for dumps and profiles; unique in the program.
    pub name: String,
    pub regs: Vec<RegData>,
    pub params: Vec<KernelParam>,
    pub lo: Reg,
    pub hi: Reg,
    pub body: Vec<Stmt>,
    /// How it is spread over a GPU; none: it is the host's.
    pub grid: Option<Grid>,
}

/// How a kernel is spread over a GPU. Its registers `lo` and `hi` are defined in its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    /// The number of steps, a parameter.
    pub range: Reg,
    /// Threads of a block: a power of two.
    pub threads: usize,
    pub per: Per,
}

/// Who does a step of a kernel's range, or meets at a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Per {
    Thread,
    Warp,
    Block,
}

/// A thread's place in the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Its number in its block.
    Thread,
    /// The number of its block.
    Block,
    /// How many blocks there are.
    Blocks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelParam {
    pub reg: Reg,
    /// For pointers; `Read` for scalars.
    pub access: Access,
}

/// What a kernel does with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    Read,
    Write,
    ReadWrite,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// `dst = value`.
    Let {
        dst: Reg,
        value: Expr,
    },
    /// `ptr[index] = value`.
    Store {
        ptr: Reg,
        dtype: Dtype,
        index: Index,
        value: Operand,
    },
    For(For),
    If(If),
    /// Copies `len` elements from scratch to `dst[index…]`, past the caches. In kernels only.
    Stream {
        dst: Reg,
        dtype: Dtype,
        index: Index,
        src: Reg,
        len: Operand,
    },
    /// Asks for cache lines from `ptr[index]` on, to read or to write; they may lie behind the tensor's end. In kernels only.
    Prefetch {
        ptr: Reg,
        dtype: Dtype,
        index: Index,
        lines: usize,
        write: bool,
    },
    /// `dst` points to `len` elements of thread-local scratch (on the stack; `len` is small). At the top of a kernel only.
    Local {
        dst: Reg,
        dtype: Dtype,
        len: usize,
    },

    /// `dst` points to `len` elements that the threads of a block share. At the top of a GPU's kernel only.
    Shared {
        dst: Reg,
        dtype: Dtype,
        len: usize,
    },
    /// No thread of the block or the warp goes on before all have come here, and sees what they wrote before. In a GPU's
    /// kernels only, where all of those threads come by.
    Barrier(Per),
    /// In a GPU's kernels only.
    Device(Box<Device>),

    // --- host only
    While(While),
    /// `bytes` is an `i64`; aligned to 64. Fails when memory is out; `ahead` of where it is needed, what fails is the
    /// [`Stmt::Need`] there. Zero bytes give a valid pointer.
    Alloc {
        dst: Reg,
        bytes: Operand,
        site: SiteId,
        ahead: bool,
    },
    /// Fails if the memory at `ptr`, so many bytes, was not there.
    Need {
        ptr: Reg,
        bytes: Operand,
        site: SiteId,
    },
    Free {
        ptr: Reg,
    },
    /// Runs `kernel(args…, lo, hi)` over `0..range`: directly if `range <= grain`, else in parallel chunks of `grain` (the last
    /// may be shorter). Chunking does not depend on the number of threads. A GPU's kernel runs on a grid, whatever the grain.
    Launch {
        kernel: KernelId,
        args: Vec<Operand>,
        range: Operand,
        grain: Operand,
    },
    /// Steps over the same bands of what they touch. On the host's processor alone.
    Bands(Box<Bands>),
    /// `bytes` from `src` to `dst`, which are equal or do not overlap.
    CopyBytes {
        dst: Reg,
        src: Reg,
        bytes: Operand,
    },
    ZeroBytes {
        dst: Reg,
        bytes: Operand,
    },
    Gemm(Box<Gemm>),
    /// A call into the runtime; `site` is where its failure is reported.
    Runtime {
        call: RuntimeCall,
        site: SiteId,
    },
    /// Writes the pieces and `end` to standard output.
    Print {
        pieces: Vec<Piece>,
        args: Vec<Arg>,
        end: Arc<str>,
    },
    /// Interpolated text.
    Format {
        dst: Reg,
        pieces: Vec<Piece>,
        args: Vec<Arg>,
    },
    /// Fails with the message unless `ok`. `args` are the pieces' values.
    Assert {
        ok: Operand,
        kind: AssertKind,
        pieces: Vec<Piece>,
        args: Vec<Arg>,
        site: SiteId,
    },
    /// Returns the interrupted status if the user asked to stop. Stands in each host loop that does real work.
    Safepoint,
    /// `dst` is what the clock says, `i64`. In profiled programs alone, as [`Stmt::Tock`].
    Tick {
        dst: Reg,
    },
    /// Records what was done since a `Tick`.
    Tock(Box<Tock>),
    /// A place of the source function `func` where a debugger may stop, or a variable that it shows from there on.
    Debug {
        site: SiteId,
        func: Arc<str>,
        variable: Option<(Arc<str>, Arg)>,
    },
    /// Writes the result slots and returns 0.
    Return {
        slots: Vec<Operand>,
    },
}

/// Launches, products and convolutions that are done one band after the other: for each chunk of `chunk` of `count` bands, the steps
/// in order, each over that share of its range (of the outermost axis of its batch, of its images). Chunks are independent.
#[derive(Clone, Debug, PartialEq)]
pub struct Bands {
    /// Divides the range of each step.
    pub count: Operand,
    pub chunk: i64,
    /// Chunks from which on it is done so; with fewer, each step is done whole. The results are the same, but for products on processors
    /// without AVX-512, whose sums depend on how they are cut; so the number of threads must not decide.
    pub fewest: i64,
    pub steps: Vec<Stmt>,
}

/// A value; operands of `Unary` … `Select` have the dtype named, and so has the result unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// The operand itself (a constant that needs a register).
    Copy(Operand),
    /// `IsNan` and `IsFinite` give bool.
    Unary {
        op: UnaryOp,
        dtype: Dtype,
        x: Operand,
    },
    /// Integer division by zero has been asserted away, or its result is not used: it must give some value, not trap.
    Binary {
        op: BinaryOp,
        dtype: Dtype,
        a: Operand,
        b: Operand,
    },
    /// `dtype` of the operands; gives bool.
    Compare {
        op: CompareOp,
        dtype: Dtype,
        a: Operand,
        b: Operand,
    },
    Select {
        dtype: Dtype,
        cond: Operand,
        a: Operand,
        b: Operand,
    },
    /// Float → int truncates and saturates, NaN gives 0; number → bool is `x != 0`.
    Convert {
        from: Dtype,
        to: Dtype,
        x: Operand,
    },
    /// The same bits, as another dtype of the same size.
    Bits {
        from: Dtype,
        to: Dtype,
        x: Operand,
    },
    /// `a * b + c`, rounded once.
    MulAdd {
        dtype: Dtype,
        a: Operand,
        b: Operand,
        c: Operand,
    },
    Load {
        ptr: Reg,
        dtype: Dtype,
        index: Index,
    },
    /// The number itself, `i64`.
    Index(Index),
    /// `a / b` of `i64`s with `a >= 0`, `b > 0`: an unsigned division.
    IndexDiv {
        a: Operand,
        b: Operand,
    },
    /// `a % b` of `i64`s with `a >= 0`, `b > 0`.
    IndexRem {
        a: Operand,
        b: Operand,
    },
    /// `a * b` of `i64`s that are not negative; `i64::MAX` where the product is larger.
    SizeMul {
        a: Operand,
        b: Operand,
    },
    /// The address of `ptr[index]`.
    Offset {
        ptr: Reg,
        dtype: Dtype,
        index: Index,
    },
    /// Where this thread is in the grid, `i64`. In a GPU's kernels only.
    Place(Place),
    /// The address as a number, `i64`. In a GPU's kernels only.
    Address(Reg),
    /// The address of constant data. Host only.
    Data(DataId),
    /// A text constant. Host only.
    Text(Arc<str>),
}

/// How a loop's iterations relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoopKind {
    /// In order.
    Serial,
    /// Innermost, to be vectorised. No iteration reads what another one writes, so loads and stores of different iterations may
    /// be exchanged; reductions may be split into lanes (in a way that depends on the target alone). Holds only `Let` and
    /// `Store`, and no carried registers.
    Vector,
}

/// `for var in lo..hi` by `step`.
#[derive(Clone, Debug, PartialEq)]
pub struct For {
    pub var: Reg,
    pub lo: Operand,
    pub hi: Operand,
    /// Positive.
    pub step: Operand,
    pub kind: LoopKind,
    /// Registers handed from one iteration to the next (pointers too: that is how buffers swap).
    pub carried: Vec<Carried>,
    /// Combinations of all iterations' values.
    pub reductions: Vec<Reduction>,
    pub body: Vec<Stmt>,
}

/// `param` is `init` in the first iteration and then the `next` of the one before; `result` is the last `next`, or `init`.
#[derive(Clone, Debug, PartialEq)]
pub struct Carried {
    pub param: Reg,
    pub init: Operand,
    /// Visible at the end of the body.
    pub next: Operand,
    pub result: Reg,
}

/// `result = init op value(0) op value(1) …`: `value` is computed in the body. Max and min propagate NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduction {
    pub op: ReduceOp,
    pub dtype: Dtype,
    pub init: Operand,
    pub value: Operand,
    pub result: Reg,
}

/// `while { cond_body; cond } { body }`. Carried registers are visible in both; a `result` is the value at the exit.
#[derive(Clone, Debug, PartialEq)]
pub struct While {
    pub carried: Vec<Carried>,
    pub cond_body: Vec<Stmt>,
    pub cond: Operand,
    pub body: Vec<Stmt>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct If {
    pub cond: Operand,
    pub then: Vec<Stmt>,
    pub els: Vec<Stmt>,
    pub results: Vec<IfResult>,
}

/// `result` is `then` or `els`, whichever branch ran.
#[derive(Clone, Debug, PartialEq)]
pub struct IfResult {
    pub result: Reg,
    pub then: Operand,
    pub els: Operand,
}
