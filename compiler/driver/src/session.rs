//! One run of the compiler over one program: the stages in order, each once.

use std::path::{Path, PathBuf};

use tdl_elaborate::{Elaborated, Roots};
use tdl_ir::Module;
use tdl_source::{Diagnostic, FileId, SourceMap, code};
use tdl_syntax::ast;
use tdl_types::thir;

use crate::sources::{LIBRARY, Sources};
use crate::{Cache, Failure, Timings};

/// How to compile and run.
#[derive(Clone, Debug)]
pub struct Options {
    /// 0 to 3.
    pub opt_level: u8,
    /// All cores if none is given.
    pub threads: Option<usize>,
    /// `native`, or a name LLVM knows.
    pub cpu: String,
    pub cache: bool,
    pub device: Device,
    /// Run the IR verifier after every pass.
    pub verify: bool,
    /// Programs stop where a NaN first appears.
    pub trap_nan: bool,
    pub color: bool,
    /// Run-time failures as JSON, one object a line.
    pub json: bool,
    /// Compile for a debugger.
    pub debug: bool,
    /// Let the program record what its kernels and calls take.
    pub profile: bool,
}

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    Cpu,
    /// The reference interpreter.
    Interp,
    /// The simulated GPU.
    Sim,
    /// The NVIDIA GPU of this number among those that the driver shows.
    Cuda(u32),
}

impl Device {
    /// What programs are lowered for.
    pub(crate) fn target(self) -> tdl_loops::Target {
        match self {
            Device::Cpu | Device::Interp => tdl_loops::Target::Cpu,
            Device::Sim | Device::Cuda(_) => tdl_loops::Target::Gpu,
        }
    }
}

/// What `emit` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Ast,
    Typed,
    Ir,
    Grad,
    Opt,
    Loops,
    Llvm,
    Asm,
    Ptx,
}

/// The state of one command.
pub struct Session {
    pub(crate) sources: Sources,
    pub(crate) options: Options,
    pub(crate) timings: Timings,
    pub(crate) cache: Cache,
}

/// Most parts of a path that are looked for as folders.
const MAX_PARTS: usize = 32;

/// A module as parsed.
pub(crate) struct Parsed {
    pub name: String,
    pub file: FileId,
    pub ast: ast::Module,
}

impl Session {
    pub fn new(options: Options) -> Session {
        let cache = if options.cache { Cache::open() } else { Cache::disabled() };
        Session { sources: Sources::default(), options, timings: Timings::default(), cache }
    }

    pub fn map(&self) -> &SourceMap {
        &self.sources.map
    }

    pub fn timings(&self) -> &Timings {
        &self.timings
    }

    /// Reads and parses a program with everything it imports. Syntax errors of all files come together.
    pub(crate) fn parse(&mut self, path: &Path) -> Result<Vec<Parsed>, Failure> {
        let main = self.sources.read(path)?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        self.parse_from(main, &folder)
    }

    pub(crate) fn parse_from(&mut self, main: FileId, folder: &Path) -> Result<Vec<Parsed>, Failure> {
        let (modules, errors) = self.parse_all(main, folder)?;
        if errors.is_empty() { Ok(modules) } else { Err(errors.into()) }
    }

    /// What could be read of all files, and what could not.
    pub(crate) fn parse_all(&mut self, main: FileId, folder: &Path) -> Result<(Vec<Parsed>, Vec<Diagnostic>), Failure> {
        let mut errors = Vec::new();
        let mut modules: Vec<Parsed> = Vec::new();
        let mut queue: Vec<(String, FileId)> = vec![(String::new(), main)];
        if let Some(prelude) = self.sources.std_module("prelude") {
            queue.push(("prelude".into(), prelude));
        }
        while let Some((name, file)) = queue.pop() {
            let sources = &mut self.sources;
            let parsed = self.timings.time("parse", || sources.parse(file));
            errors.extend(parsed.errors);
            for item in &parsed.module.items {
                let ast::ItemKind::Import(import) = &item.kind else { continue };
                if let Some((module, file)) = self.find_module(import, folder)? {
                    let known = modules.iter().map(|m| &m.name).chain(queue.iter().map(|q| &q.0));
                    if !known.chain([&name]).any(|n| *n == module) {
                        queue.push((module, file));
                    }
                }
            }
            modules.push(Parsed { name, file, ast: parsed.module });
        }
        Ok((modules, errors))
    }

    /// The file behind an import: `a.b` beside the program, then in the standard library; the last part may be an item.
    pub(crate) fn find_module(
        &mut self,
        import: &ast::Import,
        folder: &Path,
    ) -> Result<Option<(String, FileId)>, Failure> {
        let parts: Vec<&str> = import.path.iter().map(|p| &*p.name).collect();
        for len in (1..=parts.len().min(MAX_PARTS)).rev() {
            let name = parts[..len].join(".");
            let file: PathBuf = folder.join(parts[..len].join("/")).with_extension("tdl");
            if self.sources.has(&file) {
                let known = self.sources.files().iter().find(|(p, _)| *p == file).map(|(_, id)| *id);
                let id = match known {
                    Some(id) => id,
                    None => self.sources.read(&file)?,
                };
                return Ok(Some((name, id)));
            }
            if let Some(id) = self.sources.std_module(&name) {
                return Ok(Some((name, id)));
            }
        }
        Ok(None)
    }

    /// Parses and checks.
    pub(crate) fn typed(&mut self, path: &Path) -> Result<thir::Program, Failure> {
        let main = self.sources.read(path)?;
        self.typed_from(main, path)
    }

    /// As [`Session::typed`], of a file that has been read.
    pub(crate) fn typed_from(&mut self, main: FileId, path: &Path) -> Result<thir::Program, Failure> {
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let (parsed, mut errors) = self.parse_all(main, &folder)?;
        let (program, more) = self.check_items(&parsed);
        if errors.is_empty() && more.is_empty() {
            return Ok(program);
        }
        // one bad item does not hide what is wrong with the others
        errors.extend(more);
        // what needs itself has no end
        if errors.iter().all(|d| d.code != code::E0307) {
            errors.extend(self.derivative_errors(&program));
        }
        errors.sort_by_key(|d| (d.primary.span.file, d.primary.span.start));
        Err(errors.into())
    }

    /// What has no derivative in a program that has other errors: as far as can be told without the items with errors.
    pub(crate) fn derivative_errors(&mut self, program: &thir::Program) -> Vec<Diagnostic> {
        let asked = tdl_types::derivatives(program);
        let mut roots: Vec<Roots> = asked.main.then_some(Roots::Main).into_iter().collect();
        roots.extend(asked.tests.into_iter().map(|t| Roots::Tests(vec![t])));
        let alone = asked.fns.into_iter().filter(|id| tdl_elaborate::stands_alone(program, *id));
        roots.extend(alone.map(|f| Roots::Fns(vec![f])));
        let mut errors: Vec<Diagnostic> = Vec::new();
        for root in roots {
            // any other failure comes of an item that is not there
            if let Err(Failure::Program(found)) = self.differentiate_all(program, &root) {
                let of_derivatives = |d: &Diagnostic| d.code.to_string().starts_with("E05");
                let new: Vec<Diagnostic> =
                    found.into_iter().filter(|d| of_derivatives(d) && !errors.contains(d)).collect();
                errors.extend(new);
            }
        }
        errors
    }

    pub(crate) fn check_modules(&mut self, parsed: &[Parsed]) -> Result<thir::Program, Failure> {
        let (program, errors) = self.check_items(parsed);
        if errors.is_empty() { Ok(program) } else { Err(errors.into()) }
    }

    /// What is right of a program, and what is wrong with the rest.
    fn check_items(&mut self, parsed: &[Parsed]) -> (thir::Program, Vec<Diagnostic>) {
        let modules: Vec<tdl_types::Module<'_>> =
            parsed.iter().map(|m| tdl_types::Module { name: &m.name, ast: &m.ast }).collect();
        let checked = self.timings.time("check", || tdl_types::check(&modules));
        let mut errors = checked.errors;
        if !errors.is_empty() {
            self.suggest_imports(&mut errors);
        }
        (checked.program, errors)
    }

    /// Names, types and shapes of a program, and its derivatives.
    pub fn check(&mut self, path: &Path) -> Result<(), Failure> {
        let program = self.typed(path)?;
        self.check_derivatives(&program)
    }

    /// As [`Session::check_derivatives_until`], of all at once.
    pub(crate) fn check_derivatives(&mut self, program: &thir::Program) -> Result<(), Failure> {
        self.check_derivatives_until(program, usize::MAX, &mut || false).map(|_| ())
    }

    /// Differentiates what the program's own file asks for, without making code of it: what has no derivative is found there.
    /// So many functions are done together; false if `stop` said so between two of these steps.
    pub(crate) fn check_derivatives_until(
        &mut self,
        program: &thir::Program,
        together: usize,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<bool, Failure> {
        let asked = tdl_types::derivatives(program);
        let mut errors: Vec<Diagnostic> = Vec::new();
        let mut roots = Vec::new();
        if asked.main {
            roots.push(Roots::Main);
        }
        roots.extend(asked.tests.chunks(together).map(|t| Roots::Tests(t.to_vec())));
        let alone: Vec<thir::FnId> =
            asked.fns.into_iter().filter(|id| tdl_elaborate::stands_alone(program, *id)).collect();
        roots.extend(alone.chunks(together).map(|f| Roots::Fns(f.to_vec())));
        for root in roots {
            if stop() {
                return Ok(false);
            }
            match self.differentiate_all(program, &root) {
                Err(Failure::Program(found)) => {
                    let new: Vec<Diagnostic> = found.into_iter().filter(|d| !errors.contains(d)).collect();
                    errors.extend(new);
                }
                Err(other) => return Err(other),
                Ok(()) => {}
            }
        }
        errors.sort_by_key(|d| (d.primary.span.file, d.primary.span.start));
        if errors.is_empty() { Ok(true) } else { Err(errors.into()) }
    }

    pub(crate) fn differentiate_all(&mut self, program: &thir::Program, root: &Roots) -> Result<(), Failure> {
        let module = self.elaborate(program, root)?.module;
        self.timings.time("grad", || tdl_transform::check(&module)).map_err(failed)
    }

    pub(crate) fn elaborate(&mut self, program: &thir::Program, roots: &Roots) -> Result<Elaborated, Failure> {
        let debug = self.options.debug;
        let result = self.timings.time("elaborate", || tdl_elaborate::elaborate(program, roots, debug));
        let mut out = result.map_err(|failures| {
            let mut diagnostics = Vec::new();
            for f in failures {
                match f {
                    tdl_elaborate::Failure::Program(d) => diagnostics.push(*d),
                    tdl_elaborate::Failure::Internal(e) => return Failure::Internal(e),
                }
            }
            Failure::Program(diagnostics)
        })?;
        let library = self.sources.library();
        out.module.set_library(library, &out.calls, &mut self.sources.map.calls);
        if self.options.verify {
            tdl_ir::verify(&out.module)?;
        }
        Ok(out)
    }

    /// The module with the ops that the target has kernels for, if there are any.
    pub(crate) fn composites(&self, module: &Module) -> Option<Module> {
        match self.options.device.target() {
            tdl_loops::Target::Cpu => None,
            tdl_loops::Target::Gpu => tdl_transform::composites(module),
        }
    }

    /// Inlined, differentiated and optimized copies of the functions.
    pub(crate) fn optimize(&mut self, module: &Module, roots: &[tdl_ir::FuncId]) -> Result<Module, Failure> {
        let verify = self.options.verify;
        let placed = self.options.profile.then(|| {
            let map = &self.sources.map;
            tdl_transform::callers(module, &|file| map.file(file).name.starts_with(LIBRARY))
        });
        let module = placed.as_ref().unwrap_or(module);
        let composites = self.composites(module);
        let module = composites.as_ref().unwrap_or(module);
        let flatten = match self.options.trap_nan {
            true => tdl_transform::differentiate_exact,
            false => tdl_transform::differentiate,
        };
        let mut flat = self.timings.time("grad", || flatten(module, roots, verify)).map_err(failed)?;
        if self.options.trap_nan {
            tdl_transform::trap_nan(&mut flat, verify).map_err(failed)?;
        }
        let passes = tdl_transform::optimize(&mut flat, verify).map_err(failed)?;
        for (name, time) in passes {
            self.timings.add(name, time);
        }
        Ok(flat)
    }
}

pub(crate) fn failed(e: tdl_transform::Error) -> Failure {
    match e {
        tdl_transform::Error::Program(d) => Failure::Program(d),
        tdl_transform::Error::Internal(e) => Failure::Internal(e),
    }
}
