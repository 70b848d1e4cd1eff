//! The checker: one struct whose methods, in the files beside this one, go over items, types and bodies.
//!
//! Order: [`collect`] enters all items of all modules, lowers structs and signatures; then each body is checked once, for
//! all sizes. Expected types flow inwards as hints; what is unknown is solved within the statement ([`store`]).

mod again;
mod along;
mod arguments;
mod assign;
mod blame;
mod body;
mod builtin;
mod call;
mod callable;
mod choice;
mod clause;
mod collect;
mod comprehension;
mod contents;
mod convert;
mod derive;
mod errors;
mod expr;
mod extents;
mod field;
mod finish;
mod flow;
mod fn_arg;
mod generated;
mod hints;
mod imports;
mod index;
mod instantiate;
mod lambda;
mod loops;
mod lower;
mod method;
mod moves;
mod names;
mod opened;
mod ops;
mod order;
mod place;
mod ranges;
mod recursion;
mod rule;
mod signature;
mod stmt;
mod store;
mod tests_items;
mod tree;
mod vmap;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use tdl_source::{Diagnostic, FileId, Span};
use tdl_syntax::ast;

use crate::ids::*;
use crate::size::{Facts, SizeExpr};
use crate::thir::{Body, Expr, Lambda, LocalDef, OpenDef, Program, Stmt};
use crate::ty::{GenericArg, Ty};
pub use again::Kept;
pub use builtin::{BuiltinHelp, builtin_help, names as builtin_names};
use clause::Clause;
pub use names::nearest;
use store::Store;

/// A parsed file. `name` is its import path (`nn`, `a.b`), `prelude` for the prelude, empty for the program itself.
#[derive(Clone, Copy, Debug)]
pub struct Module<'a> {
    pub name: &'a str,
    pub ast: &'a ast::Module,
}

/// What [`check`] found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Complete only if there are no errors.
    pub program: Program,
    /// In the order of modules, then of places.
    pub errors: Vec<Diagnostic>,
    /// Bodies with errors, which the program lacks, for what editors show: types may be [`Ty::Error`], and lambdas do not
    /// stand at their ids.
    pub broken: Vec<Rc<Body>>,
}

/// Checks a program: the prelude, the modules it imports (in any order), and the program itself.
pub fn check(modules: &[Module<'_>]) -> Checked {
    let generated = generated::generate(modules);
    let mut cx = Checker::new(modules);
    cx.collect();
    cx.enter_generated(&generated);
    cx.check_bodies(&mut None);
    cx.into_checked()
}

/// As [`check`], after an edit: `last` is what the last call gave, with the program that it found. What is found is the same.
pub fn check_again(modules: &[Module<'_>], last: Option<(Kept, Program)>) -> (Checked, Kept) {
    let mut before = last.and_then(|(kept, program)| kept.before(program, modules));
    let generated = generated::generate(modules);
    let mut cx = Checker::new(modules);
    cx.collect();
    cx.enter_generated(&generated);
    cx.check_bodies(&mut before);
    let kept = cx.keep();
    (cx.into_checked(), kept)
}

/// A variable that an earlier entry of an interactive session made.
#[derive(Clone, Debug)]
pub struct Binding {
    pub name: Rc<str>,
    /// Closed: its sizes are numbers. `ids` in it are those of a program with the same modules in the same order.
    pub ty: Ty,
    pub mutable: bool,
    /// The value of an immutable `i64`, which is a size.
    pub value: Option<i64>,
}

/// A checked entry of an interactive session: function `func` of the program takes the earlier bindings as its
/// parameters, in order (mutable ones as `mut`), and returns the tuple of the new bindings' values followed, if
/// `value` is some, by the value of the entry's last expression. Unknown sizes are packed.
#[derive(Clone, Debug)]
pub struct CheckedEntry {
    pub checked: Checked,
    pub func: Option<FnId>,
    /// What the entry binds: their types are those in the function's result.
    pub bindings: Vec<Binding>,
    pub value: Option<Ty>,
}

/// Checks statements of an interactive session after the items of `modules`.
pub fn check_entry(modules: &[Module<'_>], bindings: &[Binding], stmts: &[ast::Stmt]) -> CheckedEntry {
    let generated = generated::generate(modules);
    let mut cx = Checker::new(modules);
    cx.collect();
    cx.enter_generated(&generated);
    cx.check_bodies(&mut None);
    let (func, bindings, value) = cx.entry(bindings, stmts);
    CheckedEntry { checked: cx.into_checked(), func, bindings, value }
}

/// What a name of a module means.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Def {
    Fn(FnId),
    Struct(StructId),
    Interface(InterfaceId),
    Const(ConstId),
    Alias(usize),
    Module(ModuleId),
}

/// What may need itself.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    Fn(FnId),
    Const(ConstId),
}

/// What a name inside an item means.
#[derive(Clone, Debug)]
enum Entry {
    Local(LocalId),
    Generic(GenericId),
    /// `let [k] y`.
    Size(SizeExpr),
}

struct Alias<'a> {
    module: ModuleId,
    ast: &'a ast::TypeAlias,
    /// Being expanded: a second visit is a cycle.
    active: bool,
    /// Part of a cycle that was reported.
    cyclic: bool,
}

/// The part of a signature that the typed AST does not show.
struct Sig<'a> {
    ast: Option<&'a ast::Fn>,
    clauses: Vec<Clause>,
    /// The arguments of the struct in the impl's header; empty for functions.
    self_args: Vec<GenericArg>,
    /// Parameters that take a type, `fn blank[T: tree](T)`: by position, the parameter in brackets. As values they are `()`.
    type_params: Vec<Option<GenericId>>,
}

#[derive(Default)]
struct StructInfo {
    clauses: Vec<Clause>,
    /// Of its generics, over its generics.
    defaults: Vec<Option<GenericArg>>,
}

/// A lambda that waits for the types of its parameters.
#[derive(Clone)]
struct Pending {
    id: LambdaId,
    ast: Rc<ast::Expr>,
    params: Vec<Ty>,
    result: Ty,
    names: Vec<FxHashMap<Rc<str>, Entry>>,
    depth: u32,
    generics: Vec<GenericId>,
}

/// A condition on a type that is not known yet.
#[derive(Clone)]
enum Later {
    /// A differentiated function's output must be a float scalar (or a pair of one and something with `aux`).
    Loss { result: Ty, loss: Ty, extra: Option<Ty>, span: Span, func: Span },
    /// What is differentiated must have floats.
    Floats { ty: Ty, span: Span, func: Span, name: String },
    /// The result of `jacobian` and `hessian` in terms of a parameter and a result.
    Matrix { hessian: bool, param: Ty, result: Ty, out: Ty, func: Span },
    /// A mapped function's types in terms of the function's.
    Mapping(Box<vmap::Mapping>),
}

/// The state of the body being checked.
#[derive(Clone, Default)]
struct BodyCx {
    locals: Vec<LocalDef>,
    /// The value of an immutable `i64` that is a size itself.
    local_sizes: Vec<Option<SizeExpr>>,
    /// How many lambdas enclose the local's binding.
    local_depth: Vec<u32>,
    opens: Vec<OpenDef>,
    lambdas: Vec<Option<Lambda>>,
    lambda_depth: Vec<u32>,
    names: Vec<FxHashMap<Rc<str>, Entry>>,
    store: Store,
    temps: Vec<Stmt>,
    pending: Vec<Pending>,
    later: Vec<Later>,
    /// Lambdas that are mapped.
    mapped: Vec<LambdaId>,
    depth: u32,
    /// The enclosing function's result; none in constants and defaults.
    result: Option<Ty>,
    /// What a type was expected for (the `what` of a message), where that was said, and how.
    ends: Vec<(String, Span, String)>,
    /// The function being checked.
    own: Option<(Rc<str>, Span)>,
    /// Its struct, with the arguments of the `impl`.
    own_struct: Option<(StructId, Vec<GenericArg>)>,
    /// Inside of a body `_` is a type to be found out.
    open: bool,
    in_loop: bool,
    io: bool,
    /// The value of a pipe, for `_`.
    piped: Vec<Option<Expr>>,
    /// Functions and constants that are used, for the search for recursion.
    calls: Vec<(Node, Span)>,
    params: Vec<LocalId>,
    ranges: ranges::Ranges,
    /// Variables (and fields of them) whose existential sizes have names; see [`opened`].
    opened: opened::Opened,
    /// The calls being checked, the inner ones last, with the arguments of their generics.
    call_args: Vec<(FnId, Vec<GenericArg>)>,
    /// Bound by a `for`.
    loop_vars: Vec<LocalId>,
}

struct Checker<'a> {
    program: Program,
    asts: Vec<Module<'a>>,
    scopes: Vec<FxHashMap<Rc<str>, Def>>,
    /// Names of imports that failed and were reported.
    broken: FxHashSet<(ModuleId, Rc<str>)>,
    /// Parameters whose kind has an error: what they stand for has none of its own.
    kindless: FxHashSet<GenericId>,
    aliases: Vec<Alias<'a>>,
    sigs: Vec<Sig<'a>>,
    struct_infos: Vec<StructInfo>,
    const_sizes: Vec<Option<SizeExpr>>,
    const_asts: Vec<&'a ast::Const>,
    /// What functions and constants use, by their ids.
    call_graph: Vec<Vec<(Node, Span)>>,
    const_graph: Vec<Vec<(Node, Span)>>,
    /// Constants whose values are being checked.
    consts_open: Vec<ConstId>,
    /// Functions that are derivative rules, with the annotation that says so.
    rules: Vec<(FnId, ast::Annotation)>,
    facts: Facts,
    errors: Vec<Diagnostic>,
    /// Bodies with errors.
    failed: Vec<Rc<Body>>,
    /// By function, the item that it stands in, and its place there.
    origins: Vec<Option<(&'a Arc<ast::Item>, usize)>>,
    /// Texts by the numbers of spans.
    sources: FxHashMap<FileId, &'a ast::Source>,
    /// Which numbers of lines the body being checked has told.
    lines: RefCell<Vec<(Span, Option<usize>)>>,
    kept: Kept,
    module: ModuleId,
    body: BodyCx,
    /// Functions given for parameters of structs that wait for the signatures.
    fn_args: Vec<fn_arg::Given>,
    signatures_done: bool,
    /// Divisors in types that were reported: they may be 0.
    divisors: Vec<SizeExpr>,
}
