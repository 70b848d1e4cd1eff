//! The state of an interactive session: items and values of earlier entries. An entry is checked against their types,
//! compiled as a function of their values, and called; an error leaves everything as it was.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tdl_elaborate::Roots;
use tdl_ir::interp::Value;
use tdl_source::{FileId, SourceMap};
use tdl_syntax::ast::{self, ItemKind, PatternKind, Stmt, StmtKind};
use tdl_types::thir::{GenericArg, GenericId, Program, Ty};
use tdl_types::{Binding, SizeExpr, SizeVar, Subst};

use crate::call::{Outcome, Prints};
use crate::host::show;
use crate::session::Parsed;
use crate::{Failure, Options, Session};

/// One interactive session.
pub struct ReplSession {
    session: Session,
    items: Vec<Arc<ast::Item>>,
    bindings: Vec<Binding>,
    /// Leaves of each binding.
    values: Vec<Vec<Value>>,
    /// `let` statements that bind functions: functions are no values at run time, so these are repeated.
    functions: Vec<Stmt>,
    /// As of the last entry that was checked.
    program: Program,
    entries: usize,
    last_run: Duration,
}

impl ReplSession {
    pub fn new(options: Options) -> ReplSession {
        ReplSession {
            session: Session::new(Options { cache: false, ..options }),
            items: Vec::new(),
            bindings: Vec::new(),
            values: Vec::new(),
            functions: Vec::new(),
            program: Program::default(),
            entries: 0,
            last_run: Duration::ZERO,
        }
    }

    pub fn map(&self) -> &SourceMap {
        self.session.map()
    }

    /// How long the last entry ran, compiling not counted.
    pub fn last_run(&self) -> Duration {
        self.last_run
    }

    /// Names for completion.
    pub fn names(&self) -> Vec<String> {
        let items =
            self.items.iter().filter_map(|i| item_name(&i.kind).filter(|(own, _)| *own).map(|(_, n)| n.to_owned()));
        items.chain(self.bindings.iter().map(|b| b.name.to_string())).collect()
    }

    /// What is bound, a line each.
    pub fn vars(&self) -> String {
        let line = |b: &Binding| {
            let ty = tdl_types::type_to_string(&self.program, None, &b.ty);
            format!("{}{}: {ty}\n", if b.mutable { "mut " } else { "" }, b.name)
        };
        self.bindings.iter().map(line).collect()
    }

    /// Reads the items of a file; the text to print.
    pub fn load(&mut self, path: &Path) -> Result<String, Failure> {
        let parsed = self.session.parse(path)?;
        let own = parsed.into_iter().find(|m| m.name.is_empty());
        let items = own.map(|m| m.ast.items).unwrap_or_default();
        self.add_items(items)
    }

    /// Runs an entry; the text to print.
    pub fn eval(&mut self, text: &str) -> Result<String, Failure> {
        self.last_run = Duration::ZERO;
        let stmts = self.parse(text)?;
        let mut items = Vec::new();
        let mut rest = Vec::new();
        for s in stmts {
            match s.kind {
                StmtKind::Item(item) => items.push(Arc::new(*item)),
                _ => rest.push(s),
            }
        }
        let gone = if items.is_empty() { String::new() } else { self.add_items(items)? };
        Ok(if rest.is_empty() { gone } else { gone + &self.run(rest)? })
    }

    fn parse(&mut self, text: &str) -> Result<Vec<Stmt>, Failure> {
        self.entries += 1;
        let file = self.session.sources.map.add(format!("<repl:{}>", self.entries), text);
        let entry = tdl_syntax::parse_entry(file, text);
        if entry.errors.is_empty() { Ok(entry.stmts) } else { Err(entry.errors.into()) }
    }

    /// The prelude, imported modules and the session's own items, in the order that every check uses.
    fn modules(&mut self) -> Result<Vec<Parsed>, Failure> {
        let own = ast::Module { doc: None, items: self.items.clone(), ..Default::default() };
        // imports are found by the same search as a file's
        let text = String::new();
        let file: FileId = self.session.sources.map.add("<repl>", text);
        let mut parsed = self.session.parse_from(file, Path::new(""))?;
        let mut queue: Vec<ast::Import> = imports(&own);
        while let Some(import) = queue.pop() {
            if let Some((name, file)) = self.session.find_module(&import, Path::new(""))?
                && parsed.iter().all(|m| m.name != name)
            {
                let text = self.session.sources.map.file(file).text.clone();
                let result = tdl_syntax::parse(file, &text);
                if !result.errors.is_empty() {
                    return Err(result.errors.into());
                }
                queue.extend(imports(&result.module));
                parsed.push(Parsed { name, file, ast: result.module });
            }
        }
        parsed.retain(|m| !m.name.is_empty());
        parsed.push(Parsed { name: String::new(), file, ast: own });
        Ok(parsed)
    }

    /// Adds items, replacing those of the same name; all or none. The text says which values are gone with them.
    fn add_items(&mut self, new: Vec<Arc<ast::Item>>) -> Result<String, Failure> {
        let before = self.items.clone();
        for item in new {
            let name = item_name(&item.kind);
            self.items.retain(|old| match (&old.kind, &item.kind) {
                // an impl belongs to its struct: a struct that is written again starts anew
                (ItemKind::Impl(a), ItemKind::Struct(b)) => a.name.name != b.name.name,
                (ItemKind::Impl(a), ItemKind::Impl(b)) => !same_methods(a, b),
                _ => name.is_none() || item_name(&old.kind) != name,
            });
            self.items.push(item);
        }
        let checked = self
            .modules()
            .and_then(|m| self.session.check_modules(&m))
            .and_then(|program| self.session.check_derivatives(&program).map(|()| program));
        match checked {
            Ok(program) => Ok(self.carry_values(program)),
            Err(e) => {
                self.items = before;
                Err(e)
            }
        }
    }

    /// Takes the values over to a program with other items. One whose struct was written again with other fields is gone.
    fn carry_values(&mut self, program: Program) -> String {
        let mut gone = String::new();
        let bindings = std::mem::take(&mut self.bindings);
        let values = std::mem::take(&mut self.values);
        for (binding, leaves) in bindings.into_iter().zip(values) {
            match tdl_types::carry(&binding.ty, &self.program, &program) {
                Some(ty) => {
                    self.bindings.push(Binding { ty, ..binding });
                    self.values.push(leaves);
                }
                None => {
                    let ty = tdl_types::type_to_string(&self.program, None, &binding.ty);
                    gone.push_str(&format!("`{}` is gone: it was a {ty} of before\n", binding.name));
                }
            }
        }
        self.program = program;
        gone
    }

    /// Checks statements; functions bound earlier come first.
    fn check(&mut self, stmts: &[Stmt]) -> Result<tdl_types::CheckedEntry, Failure> {
        let parsed = self.modules()?;
        let modules: Vec<tdl_types::Module<'_>> =
            parsed.iter().map(|m| tdl_types::Module { name: &m.name, ast: &m.ast }).collect();
        let all: Vec<Stmt> = self.functions.iter().chain(stmts).cloned().collect();
        let entry = self.session.timings.time("check", || tdl_types::check_entry(&modules, &self.bindings, &all));
        if entry.checked.errors.is_empty() {
            return Ok(entry);
        }
        let mut errors = entry.checked.errors;
        self.session.suggest_imports(&mut errors);
        Err(errors.into())
    }

    fn run(&mut self, stmts: Vec<Stmt>) -> Result<String, Failure> {
        let entry = self.check(&stmts)?;
        let program = &entry.checked.program;
        self.program = program.clone();
        self.remember_functions(&stmts, &entry.bindings);
        let Some(func) = entry.func else { return Ok(String::new()) };
        let elaborated = self.session.elaborate(program, &Roots::Fns(vec![func]))?;
        let Some((_, root)) = elaborated.fns.first() else { return Ok(String::new()) };
        let module = self.session.optimize(&elaborated.module, &[*root])?;
        let callable = self.session.callable(module)?;
        let order = tdl_elaborate::parameter_order(&program.fns[func.index()]);
        let args: Vec<Value> = order.into_iter().flat_map(|i| self.values[i].iter().cloned()).collect();
        let call = self.session.call_values(&callable, 0, args, Prints::Through)?;
        self.last_run = call.time;
        let mut results = match call.outcome {
            Outcome::Done(values) => values.into_iter(),
            Outcome::Failed { text, .. } => return Ok(text),
            Outcome::Interrupted => return Ok("interrupted\n".into()),
        };
        let (vars, items) = match &program.fns[func.index()].result {
            Ty::Exists(vars, inner) => (vars.clone(), tuple_items(inner)),
            other => (Vec::new(), tuple_items(other)),
        };
        let sizes: Vec<i64> = vars.iter().map(|_| results.next().as_ref().map_or(0, number)).collect();
        let close = Close { vars: &vars, sizes: &sizes };
        let mut closed = Vec::new();
        for ty in &items {
            let ty = ty.subst(&close);
            let leaves: Vec<Value> = results.by_ref().take(leaf_count(program, &ty)).collect();
            closed.push((ty, leaves));
        }
        // what `mut` bindings became
        for (binding, old) in self.bindings.iter().zip(&mut self.values) {
            if binding.mutable {
                *old = results.by_ref().take(old.len()).collect();
            }
        }
        let mut closed = closed.into_iter();
        for (binding, (ty, leaves)) in entry.bindings.iter().zip(closed.by_ref()) {
            self.bind(binding, ty, leaves);
        }
        Ok(match (closed.next(), &entry.value) {
            (Some((ty, leaves)), Some(_)) => {
                let mut text = String::new();
                write_value(program, &ty, &mut leaves.iter(), true, &mut text);
                format!("{text}\n")
            }
            _ => String::new(),
        })
    }

    fn bind(&mut self, binding: &Binding, ty: Ty, leaves: Vec<Value>) {
        let value = match (&leaves[..], binding.mutable) {
            _ if matches!(ty, Ty::Str) => None,
            ([Value::Tensor(t)], false) if t.dtype == tdl_ir::Dtype::I64 && t.shape.is_empty() => {
                leaves.first().map(number)
            }
            _ => None,
        };
        let new = Binding { name: Rc::clone(&binding.name), ty, mutable: binding.mutable, value };
        match self.bindings.iter().position(|b| b.name == new.name) {
            Some(i) => {
                self.bindings[i] = new;
                self.values[i] = leaves;
            }
            None => {
                self.bindings.push(new);
                self.values.push(leaves);
            }
        }
    }

    /// Keeps the `let`s whose names did not become values.
    fn remember_functions(&mut self, stmts: &[Stmt], bindings: &[Binding]) {
        for s in stmts {
            let StmtKind::Let { pattern, .. } = &s.kind else { continue };
            let PatternKind::Name { name, .. } = &pattern.kind else { continue };
            let same = |old: &Stmt| match &old.kind {
                StmtKind::Let { pattern, .. } => {
                    matches!(&pattern.kind, PatternKind::Name { name: n, .. } if n.name == name.name)
                }
                _ => false,
            };
            self.functions.retain(|old| !same(old));
            if bindings.iter().all(|b| *b.name != *name.name) {
                if let Some(i) = self.bindings.iter().position(|b| *b.name == *name.name) {
                    self.bindings.remove(i);
                    self.values.remove(i);
                }
                self.functions.push(s.clone());
            }
        }
    }

    /// The type of an expression, which is not run.
    pub fn type_of(&mut self, text: &str) -> Result<String, Failure> {
        let stmts = self.parse(text)?;
        let entry = self.check(&stmts)?;
        Ok(match &entry.value {
            Some(ty) => tdl_types::type_to_string(&entry.checked.program, None, ty),
            None => "()".into(),
        })
    }

    /// The shape of an expression, which is run if the type does not tell.
    pub fn shape_of(&mut self, text: &str) -> Result<String, Failure> {
        let ty = self.type_of(text)?;
        let shape = ty.find('[').map_or("[]".to_owned(), |i| ty[i..].to_owned());
        Ok(if ty.starts_with("some ") { ty } else { shape })
    }

    /// The IR of a function of the session.
    pub fn ir_of(&mut self, name: &str) -> Result<String, Failure> {
        let module = self.function_ir(name)?;
        Ok(tdl_ir::print(&module))
    }

    /// The IR of a function's gradient: `grad(name)` applied to parameters of the function's own types.
    pub fn grad_of(&mut self, name: &str) -> Result<String, Failure> {
        let module = self.function_ir(name)?;
        let Some(id) = module.ids().last() else { return Ok(String::new()) };
        let func = module.func(id);
        let wrt: Vec<usize> =
            (0..func.params().len()).filter(|k| func.ty(func.params()[*k]).is_float_tensor()).take(1).collect();
        let scalar = func.results().first().is_some_and(|r| func.ty(*r).is_scalar() && func.ty(*r).is_float_tensor());
        if wrt.is_empty() || !scalar {
            return Err(Failure::Usage(format!("`{name}` has no float parameter, or its result is no float scalar")));
        }
        let mut module = module.clone();
        let root = module.add(gradient(func, id, &wrt));
        let module = self.session.optimize(&module, &[root])?;
        Ok(tdl_ir::print(&module))
    }

    fn function_ir(&mut self, name: &str) -> Result<tdl_ir::Module, Failure> {
        let parsed = self.modules()?;
        let program = self.session.check_modules(&parsed)?;
        let found = program
            .fns
            .iter()
            .position(|f| *f.name == *name && program.modules[f.module.index()].name.is_empty())
            .or_else(|| program.fns.iter().position(|f| *f.name == *name));
        let Some(i) = found else {
            return Err(Failure::Usage(format!("there is no function `{name}`")));
        };
        let id = tdl_types::thir::FnId(i as u32);
        let elaborated = self.session.elaborate(&program, &Roots::Fns(vec![id]))?;
        let roots: Vec<_> = elaborated.fns.iter().map(|(_, f)| *f).collect();
        self.session.optimize(&elaborated.module, &roots)
    }
}

/// `f`'s arguments to its gradient.
fn gradient(f: &tdl_ir::Function, id: tdl_ir::FuncId, wrt: &[usize]) -> tdl_ir::Function {
    let mut b = tdl_ir::Builder::new(format!("grad {}", f.name), f.span);
    let mut map = std::collections::HashMap::new();
    let rename = |map: &std::collections::HashMap<_, _>, ty: &tdl_ir::Type| {
        ty.map_dims(|d| match d {
            tdl_ir::Dim::Val(v) => tdl_ir::Dim::Val(*map.get(&v).unwrap_or(&v)),
            tdl_ir::Dim::Const(_) => d,
        })
    };
    let mut args = Vec::new();
    for p in f.params() {
        let new = b.param(rename(&map, f.ty(*p)));
        b.copy_name(f.value(*p), new);
        map.insert(*p, new);
        args.push(new);
    }
    for r in f.results().iter().filter(|r| f.ty(**r).is_float_tensor()) {
        let ty = rename(&map, f.ty(*r));
        let seed = b.full(1.0, ty.dtype().unwrap_or(tdl_ir::Dtype::F32), ty.dims());
        args.push(seed);
    }
    let mut types: Vec<_> = f.results().iter().map(|r| rename(&map, f.ty(*r))).collect();
    types.extend(wrt.iter().map(|k| rename(&map, f.ty(f.params()[*k]))));
    let out = b.inst(tdl_ir::Op::Vjp { func: id, wrt: wrt.to_vec() }, args, types, Vec::new());
    b.finish(out[f.results().len()..].to_vec())
}

fn imports(module: &ast::Module) -> Vec<ast::Import> {
    let import = |i: &Arc<ast::Item>| match &i.kind {
        ItemKind::Import(i) => Some(i.clone()),
        _ => None,
    };
    module.items.iter().filter_map(import).collect()
}

/// What an item is known by; the name of a test is no name of the program.
fn item_name(kind: &ItemKind) -> Option<(bool, &str)> {
    match kind {
        ItemKind::Const(c) => Some((true, &c.name.name)),
        ItemKind::TypeAlias(a) => Some((true, &a.name.name)),
        ItemKind::Struct(s) => Some((true, &s.name.name)),
        ItemKind::Interface(i) => Some((true, &i.name.name)),
        ItemKind::Fn(f) => Some((true, &f.name.name)),
        ItemKind::Test(t) => Some((false, &t.name)),
        ItemKind::Prop(p) => Some((false, &p.name)),
        ItemKind::Bench(b) => Some((false, &b.name)),
        ItemKind::Import(_) | ItemKind::Impl(_) => None,
    }
}

/// Two impls of one struct with a method in common: the later one replaces the earlier.
fn same_methods(a: &ast::Impl, b: &ast::Impl) -> bool {
    let names = |i: &ast::Impl| -> Vec<String> {
        i.items.iter().filter_map(|i| item_name(&i.kind).map(|(_, n)| n.to_owned())).collect()
    };
    a.name.name == b.name.name && names(a).iter().any(|n| names(b).contains(n))
}

fn tuple_items(ty: &Ty) -> Vec<Ty> {
    match ty {
        Ty::Tuple(items) => items.clone(),
        other => vec![other.clone()],
    }
}

fn number(v: &Value) -> i64 {
    match v.tensor().map(|t| t.get(0)) {
        Some(tdl_ir::Scalar::Int(i)) => i,
        Some(tdl_ir::Scalar::Float(_) | tdl_ir::Scalar::Bool(_)) | None => 0,
    }
}

/// Numbers for the sizes that an existential left open.
pub(crate) struct Close<'a> {
    pub vars: &'a [SizeVar],
    pub sizes: &'a [i64],
}

impl Subst for Close<'_> {
    fn size(&self, var: SizeVar) -> Option<SizeExpr> {
        let i = self.vars.iter().position(|v| *v == var)?;
        Some(SizeExpr::constant(self.sizes[i]))
    }
}

/// A struct's arguments for its parameters.
struct Args<'a> {
    generics: &'a [GenericId],
    args: &'a [GenericArg],
}

impl Args<'_> {
    fn get(&self, id: GenericId) -> Option<&GenericArg> {
        let i = self.generics.iter().position(|g| *g == id)?;
        self.args.get(i)
    }
}

impl Subst for Args<'_> {
    fn size(&self, var: SizeVar) -> Option<SizeExpr> {
        match var {
            SizeVar::Param(id) => match self.get(id)? {
                GenericArg::Size(e) => Some(e.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    fn elem(&self, elem: tdl_types::thir::Elem) -> Option<tdl_types::thir::Elem> {
        match elem {
            tdl_types::thir::Elem::Param(id) => match self.get(id)? {
                GenericArg::Dtype(e) => Some(*e),
                _ => None,
            },
            _ => None,
        }
    }

    fn param(&self, id: GenericId) -> Option<Ty> {
        match self.get(id)? {
            GenericArg::Ty(t) => Some(t.clone()),
            _ => None,
        }
    }
}

pub(crate) fn fields(program: &Program, ty: &Ty) -> Vec<(String, Ty)> {
    let Ty::Struct(id, args) = ty else { return Vec::new() };
    let def = &program.structs[id.index()];
    let subst = Args { generics: &def.generics, args };
    def.fields.iter().map(|f| (f.name.to_string(), f.ty.subst(&subst))).collect()
}

/// Number of values a closed type flattens to.
fn leaf_count(program: &Program, ty: &Ty) -> usize {
    match ty {
        Ty::Tensor(..) | Ty::Str => 1,
        Ty::Rng => 2,
        Ty::Tuple(items) => items.iter().map(|t| leaf_count(program, t)).sum(),
        Ty::Struct(..) => fields(program, ty).iter().map(|(_, t)| leaf_count(program, t)).sum(),
        Ty::Stack(_, elem) => leaf_count(program, elem),
        Ty::Exists(vars, inner) => vars.len() + leaf_count(program, inner),
        Ty::Error | Ty::Never | Ty::Param(_) | Ty::Fn(_) | Ty::Infer(_) => 0,
    }
}

/// A value as the session shows it: tensors as `print` does, with their type; structs with their fields.
pub(crate) fn write_value<'v>(
    program: &Program,
    ty: &Ty,
    leaves: &mut impl Iterator<Item = &'v Value>,
    top: bool,
    out: &mut String,
) {
    match ty {
        Ty::Tensor(..) => {
            let Some(v) = leaves.next() else { return };
            out.push_str(&show(v, ""));
            if let (true, Some(t)) = (top, v.tensor())
                && t.shape.is_empty()
            {
                out.push_str(&format!(" : {}", t.dtype));
            }
        }
        Ty::Str => {
            if let Some(v) = leaves.next() {
                out.push_str(&format!("{:?}", tdl_runtime::host::text_of(number(v))));
            }
        }
        Ty::Rng => {
            let (key, counter) = (leaves.next().map_or(0, number), leaves.next().map_or(0, number));
            out.push_str(&format!("Rng(key {key}, counter {counter})"));
        }
        Ty::Tuple(items) => {
            out.push('(');
            for (i, t) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_value(program, t, leaves, false, out);
            }
            out.push(')');
        }
        Ty::Struct(id, _) => {
            out.push_str(&format!("{} {{ ", program.structs[id.index()].name));
            for (i, (name, t)) in fields(program, ty).iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                out.push_str(&format!("{name}: "));
                write_value(program, t, leaves, false, out);
            }
            out.push_str(" }");
        }
        Ty::Stack(_, elem) if matches!(**elem, Ty::Str) => {
            if let Some(v) = leaves.next() {
                out.push_str(&crate::host::show_texts(v));
            }
        }
        Ty::Stack(_, elem) => write_value(program, elem, leaves, top, out),
        Ty::Exists(vars, inner) => {
            for _ in vars {
                leaves.next();
            }
            write_value(program, inner, leaves, top, out);
        }
        Ty::Error | Ty::Never | Ty::Param(_) | Ty::Fn(_) | Ty::Infer(_) => {}
    }
}
