//! The typed AST: what the checker hands to `elaborate`. It exists only for programs without errors.
//!
//! # What a reader may rely on
//!
//! **Names** are resolved to ids. Imports, aliases of types, pipes, operators' method forms and labels are gone. Methods
//! are functions whose generics are those of the impl, one for one those of the struct, followed by their own
//! ([`FnDef::self_generics`] says how many are the impl's), and whose first parameter is `self` if they have one.
//!
//! **Types**: every expression has its final type; no inference unknown is left; literals have their dtype. A tensor's
//! dtype may be a dtype parameter, its shape may have one `..s`, a type may be a type parameter: `elaborate` substitutes.
//!
//! **Sizes** in types are [`SizeExpr`]s over: size parameters of the function (and of its impl), immutable `i64` locals
//! of the body ([`SizeVar::Local`]), constants, and opened existentials ([`SizeVar::Open`]). Each variable's value is in
//! scope wherever the type is needed: a local that a type mentions is bound earlier on every path to the expression, though
//! perhaps inside an inner plain block; it never escapes a branch, a loop body or a lambda. A local `let m = 2 * n` whose value
//! is a size itself does not occur: types say `2 * n`. [`ExprKind::Size`] is a size used as a number.
//! Sizes that may be negative or do not divide, because they come from run time, are guarded by
//! [`ExprKind::CheckSizes`]; all others are proved.
//!
//! **Existentials** are explicit. An expression has an existential type only if it is a call, a builtin, an index with a
//! mask, a variable or a field declared `some`, an `if` or block of such type, or a `Pack`; and it stands directly
//! under an [`ExprKind::Open`], or where an existential value is expected (result, argument, initialiser of a
//! `some` variable, assignment to one). `Pack` gives the witnesses in the order of the type's variables.
//!
//! **Broadcasting**: the operands of [`ExprKind::Binary`], [`ExprKind::Compare`], [`Builtin::Elementwise2`], [`Builtin::Where`] have one dtype
//! and shapes that broadcast to the result's shape: right-aligned; equal, absent, or a literal 1 (in an operand that is
//! not the longer one). `elaborate` inserts the expands. A `..s` in an operand's shape is the same `..s` in the result's, or absent.
//!
//! **Trees**: arithmetic on structs, tuples, stacks and type parameters is [`ExprKind::TreeUnary`] and [`ExprKind::TreeBinary`], leaf by leaf;
//! state (`mut`) fields and non-float leaves come from the first tree.
//!
//! **Arguments** stand in the order of the parameters; one that was left out is [`Arg::Default`], which stands for
//! [`Param::default`] evaluated with the callee's generics. An argument for a `mut` parameter is [`Arg::Place`], or a
//! [`Arg::Value`] for a temporary. A `let`-bound temporary is introduced where an argument's value becomes a size in the
//! call's result.
//!
//! **Order**: struct literal fields stand in declaration order.
//!
//! **Control flow**: `for` is always over a range of `i64`; going over a tensor, a stack or a struct with `len` and `at` is
//! spelled out. `return`, `break` and `continue` are expressions of type [`Ty::Never`] that occur only as a
//! statement, as a block's result, or as a branch of an `if` in such a place.
//!
//! **Comprehensions**: a reduction over one is a [`Builtin::Reduce`] or [`Builtin::ArgReduce`] over its first axes. Where a range
//! depends on an index outside of it, only its reduction is of one size, so the comprehension stands under that.
//!
//! **Index checks**: a subscript with `proved` needs no run-time check.
//!
//! **Lambdas** are entries of [`Body::lambdas`]; a lambda captures the values of locals at the moment it is made.

use std::rc::Rc;
use std::sync::Arc;

use tdl_ir::op::{BinaryOp, CompareOp, UnaryOp};
use tdl_source::{Code, Span};

pub use crate::builtin::{Builtin, Derivative, DerivativeKind, EinsumAxis, Reduction, RngOp, Vmap};
pub use crate::ids::{ConstId, FnId, GenericId, InterfaceId, LambdaId, LocalId, ModuleId, OpenId, StructId};
pub use crate::size::{Fact, SizeExpr, SizeVar};
pub use crate::ty::{Dim, Dtype, DtypeBound, Elem, FnArg, FnParam, FnTy, GenericArg, Kind, Shape, Spread, Ty};

/// All modules of a program.
#[derive(Clone, Debug, Default)]
pub struct Program {
    pub modules: Vec<ModuleDef>,
    pub generics: Vec<GenericDef>,
    pub structs: Vec<StructDef>,
    pub interfaces: Vec<InterfaceDef>,
    pub fns: Vec<FnDef>,
    pub consts: Vec<ConstDef>,
    pub tests: Vec<TestDef>,
    pub props: Vec<PropDef>,
    pub benches: Vec<BenchDef>,
    /// What the sizes of `some` types are called, by the number of their [`SizeVar::Bound`].
    pub bound_names: Vec<Rc<str>>,
}

#[derive(Clone, Debug)]
pub struct ModuleDef {
    /// `nn`, `a.b`; `prelude` for the prelude; empty for the program's own file.
    pub name: Rc<str>,
    /// `main` of this module.
    pub main: Option<FnId>,
}

/// A parameter in brackets.
#[derive(Clone, Debug)]
pub struct GenericDef {
    pub name: Rc<str>,
    pub kind: Kind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct StructDef {
    pub name: Rc<str>,
    pub module: ModuleId,
    pub generics: Vec<GenericId>,
    /// In declaration order, which is the order of leaves.
    pub fields: Vec<FieldDef>,
    /// Methods by name, in source order, of all impls.
    pub methods: Vec<(Rc<str>, FnId)>,
    pub doc: Option<Arc<str>>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct FieldDef {
    pub name: Rc<str>,
    pub ty: Ty,
    /// Marked `mut`: state. Saved and loaded, but arithmetic carries it over and its gradient is zero.
    pub state: bool,
    pub doc: Option<Arc<str>>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct InterfaceDef {
    pub name: Rc<str>,
    pub module: ModuleId,
    /// The type that has the interface, as a type parameter.
    pub self_generic: GenericId,
    pub generics: Vec<GenericId>,
    pub methods: Vec<MethodSig>,
    pub span: Span,
}

/// What an interface asks for. `params` includes `self`.
#[derive(Clone, Debug)]
pub struct MethodSig {
    pub name: Rc<str>,
    pub generics: Vec<GenericId>,
    pub params: Vec<FnParam>,
    pub result: Ty,
    pub io: bool,
    pub span: Span,
}

/// A function or method.
#[derive(Clone, Debug)]
pub struct FnDef {
    /// `Linear.init` for a method.
    pub name: Rc<str>,
    pub module: ModuleId,
    pub io: bool,
    /// Those of the impl first.
    pub generics: Vec<GenericId>,
    /// How many of `generics` are the impl's: one for one the parameters of `self_struct`.
    pub self_generics: usize,
    /// The struct whose impl it stands in.
    pub self_struct: Option<StructId>,
    pub params: Vec<Param>,
    pub result: Ty,
    /// `where` clauses, for messages at calls; proved at each call.
    pub clauses: Vec<Span>,
    /// `@remat`: recompute instead of storing.
    pub remat: bool,
    /// Its derivative rule (`@vjp`), as a function with the same generics: of the parameters, the result and the result's
    /// cotangent, to the cotangents of the parameters that have floats (of one: itself; of several: a tuple).
    pub vjp: Option<FnId>,
    /// None if its body has errors.
    pub body: Option<Body>,
    pub doc: Option<Arc<str>>,
    pub name_span: Span,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Param {
    /// In the function's body.
    pub local: LocalId,
    pub name: Rc<str>,
    pub ty: Ty,
    /// Written back to the argument's place: an extra result of the function.
    pub mutable: bool,
    /// Depends on generics and globals only.
    pub default: Option<Rc<Body>>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct ConstDef {
    pub name: Rc<str>,
    pub module: ModuleId,
    pub ty: Ty,
    pub value: Option<Body>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct TestDef {
    pub name: Arc<str>,
    pub module: ModuleId,
    pub expect: Expect,
    /// A part of the message of the error that is expected.
    pub message: Option<Arc<str>>,
    /// None if the compiler reported the expected error, or if there are others.
    pub body: Option<Body>,
    pub span: Span,
}

/// How a test ends when it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Success,
    /// The checker must report this code; `found` says that it did (the error is not among the program's).
    CompileError {
        code: Code,
        found: bool,
    },
    /// Running must fail with this code (E07xx).
    RuntimeError(Code),
}

/// `prop "…" (x: f32[n, m]) where n <= m { … }`: a function whose result is a bool scalar; sizes are its generics.
#[derive(Clone, Debug)]
pub struct PropDef {
    pub name: Arc<str>,
    pub func: FnId,
    /// What its sizes must be like: the `where` clause.
    pub facts: Vec<Fact>,
}

/// `bench "…" for n in [256, 512] { … }`: `func` takes `n: i64` if there is a range.
#[derive(Clone, Debug)]
pub struct BenchDef {
    pub name: Arc<str>,
    pub func: FnId,
    pub over: Vec<i64>,
}

/// The code of a function, constant, default or test, with the tables its ids point into.
#[derive(Clone, Debug)]
pub struct Body {
    pub locals: Vec<LocalDef>,
    pub opens: Vec<OpenDef>,
    pub lambdas: Vec<Lambda>,
    pub value: Expr,
}

#[derive(Clone, Debug)]
pub struct LocalDef {
    pub name: Rc<str>,
    pub ty: Ty,
    pub mutable: bool,
    pub span: Span,
}

/// A size that an existential gave.
#[derive(Clone, Debug)]
pub struct OpenDef {
    /// Its name if the source gives one, otherwise what diagnostics call it: "the length of `y`".
    pub name: Rc<str>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Lambda {
    /// Of a lambda that is passed for a polymorphic function type, or to `tree.map`: a [`ExprKind::CallValue`] binds them.
    /// `tree.map` applies it to each float leaf with the first generic (a shape) the leaf's shape, and the second, if there is one, the leaf's dtype.
    pub generics: Vec<GenericId>,
    /// A parameter that is `mutable` is the lambda's own variable.
    pub params: Vec<LocalId>,
    pub param_mutable: Vec<bool>,
    /// Locals of the enclosing body (or lambda) that it mentions, in order of first mention. A generator among them is
    /// copied: each call starts from the state at capture.
    pub captures: Vec<LocalId>,
    pub body: Expr,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub ty: Ty,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Block {
    pub stmts: Vec<Stmt>,
    /// None: the value is `()`, or the block never ends.
    pub result: Option<Box<Expr>>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct Stmt {
    pub kind: StmtKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum StmtKind {
    Let {
        pattern: Pattern,
        value: Expr,
    },
    /// Right side first, then the targets from left to right.
    Assign {
        target: Target,
        value: Expr,
    },
    /// `place op= value`; the value broadcasts to the place, whose type does not change. With a gather in the place,
    /// `+=` accumulates repeats. On trees it is leaf by leaf.
    Update {
        place: Place,
        op: BinaryOp,
        value: Expr,
    },
    /// `index` goes from `from` up to `to - 1`; both are `i64`, evaluated once.
    For {
        index: LocalId,
        from: Expr,
        to: Expr,
        body: Block,
        remat: Option<u64>,
    },
    While {
        cond: Expr,
        body: Block,
        remat: Option<u64>,
    },
    Assert {
        cond: Expr,
        message: Vec<TextPiece>,
    },
    /// Its value is `()` or nothing.
    Expr(Expr),
}

#[derive(Clone, Debug)]
pub enum Pattern {
    Local(LocalId),
    Tuple(Vec<Pattern>),
    Ignore,
}

/// Left side of an assignment.
#[derive(Clone, Debug)]
pub enum Target {
    Place(Place),
    Tuple(Vec<Target>),
    Ignore,
}

/// A part of a mutable variable.
#[derive(Clone, Debug)]
pub struct Place {
    pub root: LocalId,
    pub path: Vec<Projection>,
    /// Of the part; an existential if the variable is declared `some` and `path` is empty.
    pub ty: Ty,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Projection {
    /// Of a struct, or of a stack of structs.
    Field(usize),
    TupleField(usize),
    /// Of a tensor or a stack; never a mask with an unknown count except as the last.
    Index(Vec<Subscript>),
}

#[derive(Clone, Debug)]
pub enum Arg {
    Value(Expr),
    /// For a `mut` parameter: read, and written back after the call.
    Place(Place),
    /// The parameter's default.
    Default,
}

#[derive(Clone, Debug)]
pub enum ExprKind {
    /// Of the dtype of the expression's type, which may be a dtype parameter, and may be a float.
    Int(i128),
    Float(f64),
    Bool(bool),
    Text(Vec<TextPiece>),
    Local(LocalId),
    Const(ConstId),
    /// A size used as an `i64`.
    Size(SizeExpr),
    /// A function item as a value.
    Fn {
        func: FnId,
        generics: Vec<GenericArg>,
    },
    /// A function that is a parameter of a struct: `act` in `struct Dense[i, o, act: fn(f32) -> f32]`.
    FnParam(GenericId),
    /// A builtin as a value: `mean` in `reduce(x, "…", mean)`, `exp` in `x |> exp`. Applied to the value's parameters in order.
    BuiltinFn(Builtin),
    /// A method as a value: `x |> self.l1` of a struct with `call`.
    Bound {
        method: Method,
        generics: Vec<GenericArg>,
        receiver: Box<Expr>,
    },
    Lambda(LambdaId),
    Tuple(Vec<Expr>),
    /// `[a, b]`: elements of one type, along a new first axis. The result is a tensor or a stack.
    Array(Vec<Expr>),
    /// Fields in declaration order.
    Struct {
        id: StructId,
        generics: Vec<GenericArg>,
        fields: Vec<Expr>,
    },
    /// `S[][n] { x: xs }`: each field with the stack's axes in front. The expression's type is the stack.
    StructStack {
        fields: Vec<Expr>,
    },
    /// Of a struct; of a stack of structs, the leaf or subtree with the stack's axes in front.
    Field {
        base: Box<Expr>,
        index: usize,
    },
    TupleField {
        base: Box<Expr>,
        index: usize,
    },
    Unary {
        op: UnaryOp,
        operand: Box<Expr>,
    },
    /// Elementwise with broadcasting.
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Compare {
        op: CompareOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// Short-circuit if both are scalars, otherwise elementwise with broadcasting.
    Logic {
        and: bool,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    MatMul {
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `-tree`.
    TreeUnary {
        op: UnaryOp,
        operand: Box<Expr>,
    },
    /// Both sides of one tree type (`+ -`), or a scalar and a tree (`* /` and also `+ -`): the scalar is converted to each float leaf's dtype.
    TreeBinary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Index {
        base: Box<Expr>,
        subscripts: Vec<Subscript>,
    },
    /// `[value for i < n, j in a..b]`: the value for each index, the first binder outermost, with the extents as new first
    /// axes: of a tensor, of a stack of structs, and of each part of a tuple. The sizes of the binders and of the value's type
    /// are known before; each evaluation is independent of the others and assigns no variable from outside.
    Comprehension {
        binders: Vec<Binder>,
        value: Box<Expr>,
    },
    Call {
        callee: Callee,
        generics: Vec<GenericArg>,
        args: Vec<Arg>,
    },
    /// Of a function value: a lambda, a parameter, a derivative.
    CallValue {
        callee: Box<Expr>,
        args: Vec<Arg>,
    },
    Builtin {
        op: Builtin,
        args: Vec<Expr>,
    },
    /// `rng.normal(T)` and the like. The generator advances: a place is written back; a temporary is dropped.
    Random {
        op: RngOp,
        rng: Box<Arg>,
        args: Vec<Expr>,
    },
    /// `f32(x)`; on a tree, its float leaves.
    Convert(Box<Expr>),
    /// `x as T`: the same value with another view of its sizes. At run time each pair must be equal.
    As {
        value: Box<Expr>,
        checks: Vec<SizeCheck>,
    },
    /// Fails at run time unless all sizes are ≥ 0, before `value` is evaluated.
    CheckSizes {
        sizes: Vec<SizeExpr>,
        value: Box<Expr>,
    },
    If {
        cond: Box<Expr>,
        then: Block,
        els: Option<Block>,
    },
    Block(Block),
    /// The function value `grad(f)` and the like.
    Derivative(Derivative),
    /// The function value `vmap(f)`.
    Vmap(Vmap),
    /// `vjp(f, x…)`: `(y, pull)` where `pull` is a function value from the cotangent of `y` to those of `wrt` (one: itself; several: a tuple).
    Vjp {
        func: Box<Expr>,
        args: Vec<Expr>,
        wrt: Vec<usize>,
    },
    /// `jvp(f, x, dx)`: `(y, dy)`; the tangents are those of the parameters in `wrt`.
    Jvp {
        func: Box<Expr>,
        args: Vec<Expr>,
        tangents: Vec<Expr>,
        wrt: Vec<usize>,
    },
    Pack {
        value: Box<Expr>,
        witnesses: Vec<SizeExpr>,
    },
    /// Binds the variables, one for each of the value's existential sizes.
    Open {
        value: Box<Expr>,
        vars: Vec<OpenId>,
    },
    Break,
    Continue,
    Return(Option<Box<Expr>>),
    /// Has been reported; absent from programs without errors.
    Error,
}

/// An index of a comprehension: `from`, `from + 1`, … `extent` of them; a constant, proved or guarded to be at least 0.
#[derive(Clone, Debug)]
pub struct Binder {
    pub index: LocalId,
    pub from: SizeExpr,
    pub extent: SizeExpr,
}

/// Which function a call goes to.
#[derive(Clone, Debug)]
pub enum Callee {
    Fn(FnId),
    Method(Method),
}

/// A method that an interface promises; found on the struct that `receiver` stands for. The call's generics are the method's own;
/// the impl's are the struct's arguments.
#[derive(Clone, Debug)]
pub struct Method {
    pub interface: InterfaceId,
    pub index: usize,
    /// A type parameter.
    pub receiver: Ty,
}

/// At run time `actual == expected`.
#[derive(Clone, Debug)]
pub struct SizeCheck {
    pub actual: SizeExpr,
    pub expected: SizeExpr,
    /// Counted from the first axis of the value, for the message.
    pub axis: usize,
}

#[derive(Clone, Debug)]
pub enum TextPiece {
    Text(Arc<str>),
    /// `{expr:format}`; the format is checked.
    Value {
        value: Expr,
        format: Arc<str>,
    },
}

/// One entry of `x[…]`. Entries before [`Subscript::Rest`] count from the first axis, those after it from the last; axes that are not
/// mentioned stay whole.
#[derive(Clone, Debug)]
pub enum Subscript {
    /// Removes the axis. Literal negatives are resolved to `n - k`.
    Index { index: Expr, proved: bool },
    /// `from + step * k` for `k < len`; unless proved, `0 <= from <= to <= n` is checked, or `-1 <= to <= from < n` where the step is negative.
    Slice { from: SizeExpr, to: SizeExpr, step: i64, len: SizeExpr, proved: bool },
    /// The axis as it is.
    Full,
    /// `new`: an axis of extent 1.
    New,
    /// `...`.
    Rest,
    /// The first of all, if index tensors (or a mask) and positions have other entries between them: the axes that they give then
    /// come first in the result.
    Apart,
    /// An integer tensor; its axes replace the axis. Several in one index pair elementwise (they have one shape) and
    /// their axes stand where the first does.
    Gather { ids: Expr, proved: bool },
    /// A bool tensor over as many axes as it has; they become one axis of existential size, the expression's only one.
    Mask { mask: Expr },
}

/// An axis; `..s` shapes are counted from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    FromStart(usize),
    /// 1 is the last.
    FromEnd(usize),
}
