//! Where elaboration starts: `main`, tests, single functions.

use tdl_ir::{Attrs, Dim, Dtype, FuncId, Module, Type, ValueId};
use tdl_source::Span;
use tdl_types::thir::{Body, DtypeBound, Elem, Expr, ExprKind, FnArg, FnId, GenericArg, Kind, Program, Ty};

use crate::elab::Elab;
use crate::env::Env;
use crate::rty::{RArg, RDim, RTy};
use crate::val::Val;
use crate::{Failure, R, internal};

/// What to elaborate; everything that it calls follows.
#[derive(Clone, Debug)]
pub enum Roots {
    /// `main` of the program's own file.
    Main,
    /// Tests, by index into [`Program::tests`].
    Tests(Vec<usize>),
    /// Functions: a REPL entry, a property, a benchmark. Dtype parameters become `f32` or `i64`, a `..s` one axis,
    /// trees a number.
    Fns(Vec<FnId>),
    /// `main` and every function of the program's own file that needs no function or interface to exist.
    All,
}

/// The IR of a program, and where it begins.
#[derive(Clone, Debug, Default)]
pub struct Elaborated {
    pub module: Module,
    pub main: Option<Entry>,
    /// `()` to nothing, with the index of the test.
    pub tests: Vec<(usize, FuncId)>,
    /// Sizes, then leaves of the arguments, to leaves of the result and of `mut` parameters.
    pub fns: Vec<(FnId, FuncId)>,
    /// Calls that were elaborated in place, each with the number (from 1) of the one around it, or 0.
    pub calls: Vec<(Span, u32)>,
}

/// `main`: an IR function whose parameters are `main`'s own.
#[derive(Clone, Debug)]
pub struct Entry {
    pub func: FuncId,
    pub params: Vec<MainParam>,
}

/// A command-line flag.
#[derive(Clone, Debug)]
pub struct MainParam {
    pub name: String,
    /// None: text.
    pub dtype: Option<Dtype>,
    /// `main.default.NAME`, a function without parameters; none for a flag that must be given.
    pub default: Option<FuncId>,
}

/// Elaborates what `roots` says. A root that fails does not hide the failures of others. `debug` marks places and
/// variables for a debugger.
pub fn elaborate(program: &Program, roots: &Roots, debug: bool) -> Result<Elaborated, Vec<Failure>> {
    let value = Expr { kind: ExprKind::Tuple(Vec::new()), ty: Ty::unit(), span: crate::nowhere() };
    let no_body = Body { locals: Vec::new(), opens: Vec::new(), lambdas: Vec::new(), value };
    let mut elab = Elab::new(program, &no_body);
    elab.debug = debug;
    let mut out = Elaborated::default();
    let mut failures = Vec::new();
    let mut keep = |failure: Failure| failures.push(failure);
    match roots {
        Roots::Main => match elab.main() {
            Ok(main) => out.main = main,
            Err(f) => keep(f),
        },
        Roots::Tests(tests) => {
            for i in tests {
                match elab.test(*i) {
                    Ok(func) => out.tests.push((*i, func)),
                    Err(f) => keep(f),
                }
            }
        }
        Roots::Fns(fns) => {
            for id in fns {
                match elab.single(*id) {
                    Ok(Some(func)) => out.fns.push((*id, func)),
                    Ok(None) => keep(internal(format!("`{}` cannot stand alone", program.fns[id.index()].name))),
                    Err(f) => keep(f),
                }
            }
        }
        Roots::All => {
            match elab.main() {
                Ok(main) => out.main = main,
                Err(f) => keep(f),
            }
            let main = own_main(program);
            for (i, def) in program.fns.iter().enumerate() {
                let id = FnId(i as u32);
                if !program.modules[def.module.index()].name.is_empty() || Some(id) == main {
                    continue;
                }
                match elab.single(id) {
                    Ok(Some(func)) => out.fns.push((id, func)),
                    Ok(None) => {}
                    Err(f) => keep(f),
                }
            }
        }
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    out.calls = elab.calls;
    out.module = elab.module;
    out.module.entry = out.main.as_ref().map(|m| m.func);
    Ok(out)
}

fn own_main(program: &Program) -> Option<FnId> {
    program.modules.iter().find(|m| m.name.is_empty()).and_then(|m| m.main)
}

impl<'p> Elab<'p> {
    fn main(&mut self) -> R<Option<Entry>> {
        let program = self.program;
        let Some(id) = own_main(program) else { return Ok(None) };
        let def = &program.fns[id.index()];
        let Some(body) = &def.body else { return Err(internal("`main` has no body")) };
        let mut params = Vec::with_capacity(def.params.len());
        for p in &def.params {
            let dtype = match &p.ty {
                Ty::Str => None,
                Ty::Tensor(Elem::Dtype(d), shape) if shape.is_empty() => Some(*d),
                _ => return Err(crate::unsupported("a parameter of `main` that is no number, bool or text", p.span)),
            };
            let default = match &p.default {
                Some(body) => Some(self.closed(&format!("main.default.{}", p.name), body, dtype.is_none())?),
                None => None,
            };
            params.push(MainParam { name: p.name.to_string(), dtype, default });
        }
        let func = self.function("main", def.span, Attrs::default(), |this| {
            let mut env = Env::empty(body);
            for p in &def.params {
                this.b.span = p.span;
                let ty = this.ty(&env, &p.ty)?;
                let v = match &p.ty {
                    Ty::Str => {
                        let text = this.b.param(Type::Str);
                        this.b.name_value(text, &p.name);
                        Val::Leaf(this.intern(text))
                    }
                    _ => this.named_params(&p.name, &ty)?,
                };
                env.set(p.local, v);
            }
            this.b.span = body.value.span;
            this.at_top_of_main = true;
            let ty = this.ty(&env, &def.result)?;
            this.body(&mut env, &body.value, &ty)?;
            Ok(Vec::new())
        })?;
        Ok(Some(Entry { func, params }))
    }

    fn test(&mut self, i: usize) -> R<FuncId> {
        let program = self.program;
        let test = program.tests.get(i).ok_or_else(|| internal("no such test"))?;
        let Some(body) = &test.body else { return Err(internal("the test has no body")) };
        self.function(&format!("test {}", test.name), test.span, Attrs::default(), |this| {
            let mut env = Env::empty(body);
            this.body(&mut env, &body.value, &RTy::Tuple(Vec::new()))?;
            Ok(Vec::new())
        })
    }

    /// A function without parameters; its value is a text if `text`.
    fn closed(&mut self, name: &str, body: &'p Body, text: bool) -> R<FuncId> {
        self.function(name, body.value.span, Attrs::default(), |this| {
            let mut env = Env::empty(body);
            let v: Val<'p> = this.expr(&mut env, &body.value)?;
            let leaves = v.leaves();
            Ok(if text { leaves.into_iter().map(|v| this.text_of(v)).collect() } else { leaves })
        })
    }

    /// A function by itself, if that is possible.
    fn single(&mut self, id: FnId) -> R<Option<FuncId>> {
        let def = &self.program.fns[id.index()];
        if !stands_alone(self.program, id) {
            return Ok(None);
        }
        // extents are made anew inside; only their number counts
        let some = || RDim::Known(Dim::Val(ValueId(0)));
        let mut generics = Vec::with_capacity(def.generics.len());
        for g in &def.generics {
            let next = match &self.program.generics[g.index()].kind {
                Kind::Size => RArg::Size(some()),
                Kind::Shape => RArg::Shape(vec![some()]),
                Kind::Dtype(DtypeBound::Int) => RArg::Dtype(Dtype::I64),
                Kind::Dtype(DtypeBound::Float | DtypeBound::Num | DtypeBound::Any) => RArg::Dtype(Dtype::F32),
                // the smallest tree; that of a dtype parameter comes after the parameter
                Kind::Tree(elem) => {
                    let dtype = match elem {
                        Some(Elem::Dtype(d)) => *d,
                        Some(Elem::Param(p)) => {
                            match def.generics.iter().position(|g| g == p).and_then(|k| generics.get(k)) {
                                Some(RArg::Dtype(d)) => *d,
                                _ => Dtype::F32,
                            }
                        }
                        Some(Elem::Infer(_)) | None => Dtype::F32,
                    };
                    RArg::Ty(RTy::Tensor(dtype, Vec::new()))
                }
                Kind::Interface(..) | Kind::Fn(_) => return Ok(None),
            };
            generics.push(next);
        }
        self.standing(id, &generics).map(Some)
    }
}

/// Can a function be elaborated by itself? One with a function or an interface among its parameters needs a caller that says which.
pub fn stands_alone(program: &Program, id: FnId) -> bool {
    let def = &program.fns[id.index()];
    let mut tys = def.params.iter().map(|p| &p.ty).chain([&def.result]);
    def.body.is_some()
        && !tys.any(lacks_function)
        && def.generics.iter().all(|g| match program.generics[g.index()].kind {
            Kind::Size | Kind::Shape | Kind::Dtype(_) | Kind::Tree(_) => true,
            Kind::Interface(..) | Kind::Fn(_) => false,
        })
}

/// Whether values of the type hold functions that only a caller knows.
fn lacks_function(ty: &Ty) -> bool {
    match ty {
        Ty::Fn(_) => true,
        Ty::Tuple(items) => items.iter().any(lacks_function),
        Ty::Struct(_, args) => args.iter().any(|a| match a {
            GenericArg::Fn(f) => match **f {
                FnArg::Param(_) | FnArg::Infer(_) => true,
                FnArg::Item(_) | FnArg::Elementwise(_) => false,
            },
            GenericArg::Ty(t) => lacks_function(t),
            GenericArg::Size(_) | GenericArg::Shape(_) | GenericArg::Dtype(_) => false,
        }),
        Ty::Stack(_, t) | Ty::Exists(_, t) => lacks_function(t),
        Ty::Error | Ty::Never | Ty::Tensor(..) | Ty::Param(_) | Ty::Str | Ty::Rng | Ty::Infer(_) => false,
    }
}
