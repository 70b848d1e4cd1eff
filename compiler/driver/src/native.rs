//! Native code: compile, cache, load, call.

use std::ffi::c_void;
use std::path::Path;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tdl_elaborate::{Elaborated, Roots};
use tdl_ir::Module;
use tdl_llvm::{Gpu, Jit, LinkError, ProgramInfo, ProgramParam, Role, SiteText};
use tdl_loops::Program;
use tdl_runtime::Ctx;
use tdl_runtime::abi;
use tdl_runtime::start;
use tdl_source::Diagnostic;

use crate::interpret::{no_main, roots, site_text};
use crate::profile::Trace;
use crate::{Cache, Device, Failure, Session};

impl Session {
    /// Runs a program's `main` with the given arguments; the exit code. A profile is printed, and written to `trace`.
    pub fn run(&mut self, path: &Path, args: &[String], trace: Option<&Path>) -> Result<i32, Failure> {
        match self.options.device {
            Device::Interp if self.options.profile => {
                Err(Failure::Usage("the interpreter has no kernels: leave `--profile` or `--device interp` out".into()))
            }
            Device::Interp => self.interpret(path, args),
            Device::Cpu | Device::Sim | Device::Cuda(_) => {
                let trace = trace.map(|path| Trace::create(path, self.options.color)).transpose()?;
                let objects = self.objects(path)?;
                self.run_objects(&objects, path, args, trace)
            }
        }
    }

    /// The program's objects, from the cache if nothing changed.
    fn objects(&mut self, path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
        let main = self.sources.read(path)?;
        let text = self.sources.map.file(main).text.clone();
        let key = Cache::key(&self.key()?, path, &text);
        if let Some(objects) = self.cache.get(&key) {
            return Ok(objects);
        }
        let program = self.typed_from(main, path)?;
        let objects = self.compile_main(&program, path, Role::Loaded)?;
        let imports: Vec<_> =
            self.sources.files()[1..].iter().map(|(p, id)| (p.clone(), &*self.sources.map.file(*id).text)).collect();
        self.cache.put(&key, &imports, &objects);
        Ok(objects)
    }

    /// What besides the sources decides about the code.
    fn key(&self) -> Result<String, Failure> {
        let trap = if self.options.trap_nan { " trap-nan" } else { "" };
        let profile = if self.options.profile { " profile" } else { "" };
        let device = match self.options.device {
            Device::Cpu | Device::Interp => String::new(),
            Device::Sim | Device::Cuda(_) => format!(" {:?}", self.gpu()?),
        };
        Ok(format!("{} {} {}{trap}{profile}{device}", self.options.opt_level, self.options.cpu, std::env::consts::ARCH))
    }

    fn llvm_options(&self) -> Result<tdl_llvm::Options, Failure> {
        Ok(tdl_llvm::Options { gpu: self.gpu()?, ..self.host_options() })
    }

    /// What does not depend on a GPU.
    fn host_options(&self) -> tdl_llvm::Options {
        let (opt_level, cpu) = (self.options.opt_level, self.options.cpu.clone());
        tdl_llvm::Options { opt_level, cpu, gpu: Gpu::Simulated }
    }

    fn compile_main(
        &mut self,
        program: &tdl_types::thir::Program,
        path: &Path,
        role: Role,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let elaborated = self.elaborate(program, &Roots::Main)?;
        if elaborated.main.is_none() {
            return Err(no_main(path));
        }
        let module = self.optimize(&elaborated.module, &roots(&elaborated))?;
        let loops = loops(self, &module)?;
        let mut info = self.info(&loops);
        describe(&mut info, &elaborated);
        let options = match role {
            Role::Gpu => tdl_llvm::Options { gpu: Gpu::Images(self.images(&loops)?), ..self.host_options() },
            Role::Binary | Role::Fallback => self.host_options(),
            Role::Loaded => self.llvm_options()?,
        };
        if role != Role::Loaded {
            info.features = tdl_llvm::required_features(&options);
        }
        Ok(self.timings.time("llvm", || tdl_llvm::compile(&loops, &info, &options, role))?)
    }

    /// The places of run-time errors.
    pub(crate) fn info(&self, loops: &Program) -> ProgramInfo {
        let site = |s: &tdl_loops::ir::Site| {
            site_text(&self.sources.map, s.span).map(|p| SiteText {
                file: p.file,
                line: p.line,
                column: p.column,
                width: p.width,
                source: p.source,
                inside: p.inside,
            })
        };
        let folder = std::env::current_dir().map(|d| d.to_string_lossy().into_owned()).unwrap_or_default();
        ProgramInfo {
            sites: loops.sites.iter().map(site).collect(),
            debug: self.options.debug,
            folder,
            ..ProgramInfo::default()
        }
    }

    /// Objects of functions that the driver itself calls (tests, REPL entries).
    pub(crate) fn load(&mut self, module: &Module) -> Result<(Jit, Program), Failure> {
        let loops = loops(self, module)?;
        let info = self.info(&loops);
        let options = self.llvm_options()?;
        let objects = self.timings.time("llvm", || tdl_llvm::compile(&loops, &info, &options, Role::Loaded))?;
        let jit = self.timings.time("jit", || Jit::load(&objects))?;
        Ok((jit, loops))
    }

    /// How failures of a program are written.
    pub(crate) fn form(&self) -> start::Form {
        if self.options.json { start::Form::Json } else { self.text_form() }
    }

    pub(crate) fn text_form(&self) -> start::Form {
        start::Form::Text { color: self.options.color }
    }

    fn run_objects(
        &mut self,
        objects: &[Vec<u8>],
        path: &Path,
        args: &[String],
        trace: Option<Trace>,
    ) -> Result<i32, Failure> {
        let jit = self.timings.time("jit", || Jit::load(objects))?;
        let table = jit.symbol(abi::PROGRAM)?;
        let options = start::Options {
            name: path.to_string_lossy().into_owned(),
            threads: self.options.threads,
            form: self.form(),
            devices: false,
        };
        catch_interrupts(Second::Ends);
        let begin = Instant::now();
        let mut memory = None;
        let device = self.open_device()?;
        let mut profile = match self.options.profile {
            true => Some(self.profiler(jit.symbol(abi::PROFILE)?, table, trace)),
            false => None,
        };
        let started = |ctx: &mut Ctx| {
            if let Some(d) = device {
                ctx.attach(d);
            }
            if let Some(p) = &mut profile {
                p.start(ctx);
            }
            watch(&ctx.interrupt);
        };
        let mut recorder = None;
        let ended = |ctx: &mut Ctx| {
            recorder = ctx.end_profile();
            memory = Some(ctx.counters());
        };
        // SAFETY: the symbol is the table of an object that `tdl_llvm::compile` made
        let code = unsafe { start::run(&*table.cast::<abi::Program>(), args, &options, started, ended) };
        watch_nothing();
        self.timings.memory = memory;
        self.timings.add("run", begin.elapsed());
        if let (Some(p), Some(r)) = (profile, recorder) {
            p.report(&r)?;
        }
        Ok(code)
    }

    /// Compiles a program to a native binary. One for a GPU has the program a second time, for machines without a GPU.
    pub fn build(&mut self, path: &Path, output: &Path) -> Result<(), Failure> {
        let on_gpu = matches!(self.options.device, Device::Cuda(_));
        let refusal = match self.options.device {
            Device::Sim => Some(("no binary runs on the simulated GPU", "leave `--device` out, or use `tdl run`")),
            Device::Cuda(_) if self.options.profile => {
                Some(("a binary for a GPU has no profile", "use `tdl run --device cuda --profile`"))
            }
            Device::Cpu | Device::Interp | Device::Cuda(_) => None,
        };
        if let Some((message, help)) = refusal {
            self.sources.read(path)?;
            return Err(link_failure(self, tdl_source::code::E0605, format!("cannot build: {message}"), help));
        }
        let program = self.typed(path)?;
        let objects = if on_gpu {
            let mut objects = self.compile_main(&program, path, Role::Gpu)?;
            let device = std::mem::replace(&mut self.options.device, Device::Cpu);
            let fallback = self.compile_main(&program, path, Role::Fallback);
            self.options.device = device;
            objects.extend(fallback?);
            objects
        } else {
            self.compile_main(&program, path, Role::Binary)?
        };
        let debug = self.options.debug;
        let result = self.timings.time("link", || tdl_llvm::link(&objects, output, debug));
        result.map_err(|e| match e {
            LinkError::NoCompiler(name) => link_failure(
                self,
                tdl_source::code::E0601,
                format!("cannot link: there is no C compiler `{name}`"),
                "install one (Debian and Ubuntu: `apt install gcc`) or name it in the variable CC",
            ),
            LinkError::Linker(text) => link_failure(
                self,
                tdl_source::code::E0602,
                format!("the linker failed: {text}"),
                "see the message above",
            ),
            LinkError::Io(text) => Failure::Usage(text),
        })
    }
}

fn link_failure(session: &Session, code: tdl_source::Code, message: String, help: &str) -> Failure {
    let span = session.sources.files().first().map(|(_, id)| tdl_source::Span::new(*id, 0, 0)).unwrap_or_default();
    Failure::Program(vec![Diagnostic::error(code, message, span, "this program").help(help)])
}

/// Loop IR of all functions of a flat module.
pub(crate) fn loops(session: &mut Session, module: &Module) -> Result<Program, Failure> {
    let all: Vec<_> = module.ids().collect();
    let options = tdl_loops::Options {
        roots: all,
        target: session.options.device.target(),
        profile: session.options.profile,
        ..Default::default()
    };
    let program = session.timings.time("loops", || tdl_loops::lower(module, &options))?;
    if session.options.verify {
        tdl_loops::verify(&program)?;
    }
    Ok(program)
}

/// LLVM IR or assembly.
pub(crate) fn text(session: &mut Session, program: &Program, asm: bool) -> Result<String, Failure> {
    let info = session.info(program);
    let options = session.llvm_options()?;
    let result =
        if asm { tdl_llvm::emit_asm(program, &info, &options) } else { tdl_llvm::emit_llvm(program, &info, &options) };
    Ok(result?)
}

/// The parameters of `main` for the program's table.
fn describe(info: &mut ProgramInfo, elaborated: &Elaborated) {
    let Some(main) = &elaborated.main else { return };
    for p in &main.params {
        info.params.push(ProgramParam {
            name: p.name.clone(),
            dtype: p.dtype,
            default: p.default.map(|f| elaborated.module.func(f).name.clone()),
        });
    }
}

// --- Ctrl-C

/// The flag of the program that is running.
static RUNNING: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

/// What becomes of a program that does not come to a safepoint after Ctrl-C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Second {
    /// The process ends after a while.
    Ends,
    /// The process ends when the user asks again: there may be something to lose.
    Asks,
}

/// How long a program may take to its next safepoint.
const GRACE: Duration = Duration::from_secs(1);

/// From now on Ctrl-C stops the running program at its next safepoint; without one, or the second time, it ends the
/// process.
pub fn catch_interrupts(second: Second) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let _ = ctrlc::set_handler(move || {
            let flag = RUNNING.load(Ordering::Acquire);
            // SAFETY: the flag is withdrawn before its context is dropped
            if flag.is_null() || unsafe { (*flag).swap(1, Ordering::Relaxed) } != 0 {
                end();
            }
            if second == Second::Ends {
                std::thread::spawn(|| {
                    std::thread::sleep(GRACE);
                    // what comes after the program, a profile that is written, is waited for
                    if !RUNNING.load(Ordering::Acquire).is_null() {
                        end();
                    }
                });
            }
        });
    });
}

/// Ends the process now: the other threads may be anywhere, in a write that waits too, so nothing is said or cleaned up.
fn end() -> ! {
    unsafe extern "C" {
        fn _exit(code: i32) -> !;
    }
    // SAFETY: it takes no part in anything of this process
    unsafe { _exit(130) }
}

pub(crate) fn watch(flag: &AtomicU32) {
    RUNNING.store(std::ptr::from_ref(flag).cast_mut(), Ordering::Release);
}

pub(crate) fn watch_nothing() {
    RUNNING.store(std::ptr::null_mut(), Ordering::Release);
}

/// A generated function behind a symbol.
pub(crate) fn function(address: *const c_void) -> abi::Func {
    // SAFETY: the caller looked up a function of an object that `tdl_llvm::compile` made
    unsafe { std::mem::transmute::<*const c_void, abi::Func>(address) }
}
