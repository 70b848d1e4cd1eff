//! The syntax tree. Every node has a span; names are not resolved; nothing here knows a type.
//!
//! `name[…]` is one node, [`ExprKind::Index`], whether it turns out to be indexing, a type such as `f32[n, m]` or a
//! struct with parameters such as `Mlp[128]`: the checker decides by what the name means.

use std::sync::Arc;

use tdl_source::{FileId, Span};

/// A name as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ident {
    pub name: Arc<str>,
    pub span: Span,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Module {
    /// Text of the `##` lines at the top of the file, before an empty line.
    pub doc: Option<Arc<str>>,
    pub items: Vec<Arc<Item>>,
    /// Names of items that could not be read: their uses are no second error.
    pub broken: Vec<Arc<str>>,
    /// What it was read from, for messages that quote the program; none where items of several texts are together.
    pub sources: Vec<Source>,
}

/// The text of a file, or of a piece of one that has a number of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub file: FileId,
    /// The file; `file` itself, if this is all of it.
    pub whole: FileId,
    pub text: Arc<str>,
    /// How many lines of the file stand before it.
    pub line: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub doc: Option<Arc<str>>,
    /// `@remat`, `@vjp(f)`.
    pub annotations: Vec<Annotation>,
    pub kind: ItemKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    pub name: Ident,
    pub args: Vec<Arg>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ItemKind {
    Import(Import),
    Const(Const),
    TypeAlias(TypeAlias),
    Struct(Struct),
    Impl(Impl),
    Interface(Interface),
    Fn(Fn),
    Test(Test),
    Prop(Prop),
    Bench(Bench),
}

/// `import a.b`, `import nn.{Linear, relu}`, `import a as b`.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    pub path: Vec<Ident>,
    /// The names in braces.
    pub names: Option<Vec<ImportName>>,
    pub alias: Option<Ident>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ImportName {
    pub name: Ident,
    pub alias: Option<Ident>,
}

/// `const LR: f32 = 1e-3`.
#[derive(Clone, Debug, PartialEq)]
pub struct Const {
    pub name: Ident,
    pub ty: Option<Type>,
    pub value: Expr,
}

/// `type Image[n] = f32[n, 28, 28]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeAlias {
    pub name: Ident,
    pub generics: Vec<Generic>,
    pub ty: Type,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Struct {
    pub name: Ident,
    pub generics: Vec<Generic>,
    pub facts: Vec<Expr>,
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub doc: Option<Arc<str>>,
    /// State: saved, but without a gradient.
    pub mutable: bool,
    pub name: Ident,
    pub ty: Type,
}

/// `impl Linear[i, o] where … { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Impl {
    pub name: Ident,
    pub generics: Vec<Generic>,
    pub facts: Vec<Expr>,
    /// Only `Fn` items.
    pub items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    pub name: Ident,
    pub generics: Vec<Generic>,
    /// Functions without bodies.
    pub items: Vec<Item>,
}

/// One entry of `[n, ..s, E: float = f32, act: fn(f32) -> f32 = relu]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Generic {
    /// `..s`.
    pub variadic: bool,
    pub name: Ident,
    /// After `:`; none for a size. `float`, `tree[F]`, an interface, a function type.
    pub kind: Option<Type>,
    pub default: Option<Expr>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Fn {
    pub io: bool,
    pub name: Ident,
    pub generics: Vec<Generic>,
    pub params: Vec<Param>,
    pub result: Option<Type>,
    /// The clauses after `where`.
    pub facts: Vec<Expr>,
    /// None in an interface. `= expr` is the expression, `{ … }` a block.
    pub body: Option<Expr>,
}

/// A parameter of a function, method or lambda.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub mutable: bool,
    /// `self` is the name `self` without a type.
    pub name: Ident,
    pub ty: Option<Type>,
    pub default: Option<Expr>,
    pub span: Span,
}

/// `test "name" { … }`, `test "name" expect error E0401 "got 28" { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    pub name: Arc<str>,
    pub name_span: Span,
    pub expect: Option<Ident>,
    /// A part of the message of the error that is expected.
    pub message: Option<Arc<str>>,
    pub body: Block,
}

/// `prop "name" (x: f32[n, m]) where n <= m { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Prop {
    pub name: Arc<str>,
    pub name_span: Span,
    pub params: Vec<Param>,
    pub facts: Vec<Expr>,
    pub body: Block,
}

/// `bench "name" for n in [256, 512] { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Bench {
    pub name: Arc<str>,
    pub name_span: Span,
    pub over: Option<(Ident, Expr)>,
    pub body: Block,
}

// --- types

#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    pub kind: TypeKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TypeKind {
    /// `f32`, `Linear`, `nn.Linear`, with any number of bracket groups: `f32[n, d]`, `Block[d, h][L]`, `Cell[][L]`.
    Path {
        path: Vec<Ident>,
        args: Vec<Vec<TypeArg>>,
    },
    Tuple(Vec<Type>),
    Fn(Box<FnType>),
    /// `some k, m. T`.
    Some {
        vars: Vec<Ident>,
        body: Box<Type>,
    },
    /// `_`.
    Infer,
}

/// One entry in the brackets of a type.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeArg {
    /// A size expression, a type, or a function value: the checker decides.
    Expr(Expr),
    /// What can only be a type: `(A, B)`-free forms such as `fn(A) -> B` and `some k. T`.
    Type(Type),
    /// `..s`.
    Spread(Ident, Span),
    /// `d: 64`.
    Named(Ident, Box<TypeArg>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct FnType {
    pub generics: Vec<Generic>,
    pub params: Vec<FnTypeParam>,
    pub result: Type,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FnTypeParam {
    pub mutable: bool,
    pub name: Option<Ident>,
    pub ty: Type,
}

// --- statements

#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub stmts: Vec<Stmt>,
    /// The last expression, without which the block's value is `()`.
    pub result: Option<Box<Expr>>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    pub kind: StmtKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// `let [k] mut y: T = e`.
    Let {
        sizes: Vec<Ident>,
        /// All names of the pattern are variables.
        mutable: bool,
        pattern: Pattern,
        ty: Option<Type>,
        value: Expr,
    },
    /// `place = e`, `(a, b) = e`.
    Assign {
        target: Expr,
        value: Expr,
    },
    /// `place += e`.
    Update {
        target: Expr,
        op: BinaryOp,
        op_span: Span,
        value: Expr,
    },
    For {
        annotations: Vec<Annotation>,
        pattern: Pattern,
        iter: Expr,
        body: Block,
    },
    While {
        annotations: Vec<Annotation>,
        cond: Expr,
        body: Block,
    },
    Assert {
        cond: Expr,
        message: Option<Expr>,
    },
    Expr(Expr),
    /// An item where it may not stand; the checker says so.
    Item(Box<Item>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    pub kind: PatternKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PatternKind {
    Name {
        mutable: bool,
        name: Ident,
    },
    Tuple(Vec<Pattern>),
    /// `_`.
    Ignore,
}

// --- expressions

#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    Int(i128),
    Float(f64),
    Bool(bool),
    /// Text without interpolation has one `Text` piece or none.
    Str(Vec<StrPiece>),
    Name(Ident),
    /// `[a, b]`.
    Array(Vec<Expr>),
    /// `[e for i, j < n]` and, as the only argument of a reduction, `e for i`.
    Comprehension {
        body: Box<Expr>,
        binders: Vec<Binder>,
        /// Without brackets: a call's argument.
        bare: bool,
    },
    /// `()`, `(a, b)`; a single parenthesised expression is itself.
    Tuple(Vec<Expr>),
    /// `S { f: e }`, `S[][n] { … }`, `nn.S[d] { … }`.
    Struct {
        ty: Type,
        fields: Vec<(Ident, Expr)>,
    },
    Unary {
        op: UnaryOp,
        op_span: Span,
        operand: Box<Expr>,
    },
    Binary {
        op: BinaryOp,
        op_span: Span,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `a < b <= c` keeps its operands in order; two operands are the usual case.
    Compare {
        op: CompareOp,
        op_span: Span,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Pipe {
        value: Box<Expr>,
        op_span: Span,
        target: Box<Expr>,
    },
    /// `e as T`.
    As {
        value: Box<Expr>,
        ty: Type,
    },
    /// `a..b`.
    Range {
        from: Box<Expr>,
        to: Box<Expr>,
    },
    Call {
        callee: Box<Expr>,
        args: Vec<Arg>,
        args_span: Span,
    },
    Index {
        base: Box<Expr>,
        items: Vec<IndexItem>,
        items_span: Span,
    },
    /// `e.name`, also `.T`.
    Field {
        base: Box<Expr>,
        name: Ident,
    },
    /// `e.0`.
    TupleField {
        base: Box<Expr>,
        index: usize,
        index_span: Span,
    },
    Lambda {
        params: Vec<Param>,
        result: Option<Type>,
        body: Box<Expr>,
    },
    If {
        cond: Box<Expr>,
        then: Block,
        els: Option<Box<Expr>>,
    },
    Block(Block),
    Break,
    Continue,
    Return(Option<Box<Expr>>),
    /// What can only be a type, in a place where an expression stands: `fn(A) -> B`, `some k. T`, `f32[..s, n]`.
    Type(Type),
    /// `_` as a whole argument of a pipe's target.
    Placeholder,
    /// Stands where something could not be parsed; an error has been reported.
    Error,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StrPiece {
    Text(Arc<str>),
    /// `{expr:format}`.
    Value {
        expr: Expr,
        format: Arc<str>,
    },
}

/// `i`, `i < n`, `k in a..b`.
#[derive(Clone, Debug, PartialEq)]
pub struct Binder {
    pub name: Ident,
    pub range: BinderRange,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum BinderRange {
    Inferred,
    Below(Expr),
    In(Expr),
}

/// `e`, `name: e`.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    pub label: Option<Ident>,
    pub value: Expr,
}

// A subscript has few items and they do not live long: a box for each slice would cost more than it saves.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
pub enum IndexItem {
    /// An index, an index tensor, a mask; or a size or type, if the base is a type.
    Expr(Expr),
    /// `a:b:c`, each part optional. If the base is a type, `d: 64` is a named parameter.
    Slice { from: Option<Expr>, to: Option<Expr>, step: Option<Expr>, span: Span },
    /// `...`.
    Ellipsis(Span),
    /// `new`.
    New(Span),
    /// `..s`, if the base is a type.
    Spread(Ident, Span),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    Neg,
    Not,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Rem,
    Pow,
    MatMul,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}
