//! Loop IR to machine code. The only crate that links LLVM.
//!
//! One path for everything: text of LLVM modules ([`text`]), LLVM's passes, objects of our own target machine. The JIT
//! loads the same objects that `tdl build` links and that the cache keeps.

mod jit;
mod link;
mod target;
pub mod text;

use std::sync::atomic::{AtomicUsize, Ordering};

use inkwell::context::Context;
use inkwell::memory_buffer::MemoryBuffer;
use inkwell::module::Module;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{FileType, TargetMachine};
use tdl_loops::ir::{Program, Target};
use tdl_source::InternalError;

pub use jit::Jit;
pub use link::{LinkError, link};
pub use text::{ProgramInfo, ProgramParam, SiteText, symbol};

/// How to compile.
#[derive(Clone, Debug)]
pub struct Options {
    /// 0 to 3.
    pub opt_level: u8,
    /// `native`, or a name LLVM knows.
    pub cpu: String,
    /// What runs the kernels of a program for a GPU.
    pub gpu: Gpu,
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gpu {
    /// The simulated one, on the host's processor.
    Simulated,
    /// NVIDIA's, of an architecture among [`GPUS`].
    Cuda(String),
    /// Several of NVIDIA's: their kernels are compiled already.
    Images(Vec<Image>),
}

/// The kernels of a program for one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Among [`GPUS`].
    pub arch: String,
    pub code: ImageCode,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageCode {
    /// PTX.
    Assembly(String),
    /// What `ptxas` made of it.
    Machine(Vec<u8>),
}

/// What objects are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To be loaded into this process.
    Loaded,
    /// To be a binary.
    Binary,
    /// To be a binary for a GPU, together with a [`Role::Fallback`].
    Gpu,
    /// What such a binary runs on a machine without a GPU.
    Fallback,
}

/// Architectures that there is PTX for, with the version of the PTX language that knows them.
pub const GPUS: [(&str, &str); 6] = [
    ("sm_75", "ptx70"),
    ("sm_80", "ptx70"),
    ("sm_86", "ptx71"),
    ("sm_89", "ptx78"),
    ("sm_90", "ptx78"),
    ("sm_90a", "ptx80"),
];

/// The newest architecture that a GPU of this version runs. `sm_90a` is for 9.0 alone.
pub fn gpu_for(capability: i32) -> Option<&'static str> {
    let runs = |name: &str| match name.strip_prefix("sm_").map(str::parse::<i32>) {
        Some(Ok(version)) => version <= capability,
        Some(Err(_)) | None => false,
    };
    GPUS.iter().map(|(name, _)| *name).rfind(|name| runs(name))
}

/// The CPU name and features that `options` mean: what a program checks at its start.
pub fn required_features(options: &Options) -> Vec<String> {
    target::checked_features(options)
}

/// Object files that belong together, the same ones on any machine.
pub fn compile(
    program: &Program,
    info: &ProgramInfo,
    options: &Options,
    role: Role,
) -> Result<Vec<Vec<u8>>, InternalError> {
    let images = images(program, options)?;
    let modules = text::modules(program, info, role, images.as_deref());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(modules.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let k = next.fetch_add(1, Ordering::Relaxed);
            match modules.get(k) {
                Some(part) => done.push((k, object(part, options, role))),
                None => return done,
            }
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for thread in others {
            match thread.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(k, _)| *k);
    done.into_iter().map(|(_, object)| object).collect()
}

/// The object of a module.
fn object(part: &text::Part, options: &Options, role: Role) -> Result<Vec<u8>, InternalError> {
    let mut options = options.clone();
    if part.long {
        options.opt_level = 0;
    }
    let machine = target::machine(&options).map_err(|e| error("target", &e, None))?;
    let (cpu, features) = target::cpu(&options);
    let source = format!("{}{}", part.text, target::attributes(&cpu, &features));
    passes(&source, &machine, options.opt_level, |_, machine, module| {
        if role == Role::Gpu {
            hide(module);
        }
        let buffer = machine
            .write_to_memory_buffer(module, FileType::Object)
            .map_err(|e| error("object", e.to_str().unwrap_or("?"), None))?;
        Ok(buffer.as_slice().to_vec())
    })
}

/// The optimized module as text.
pub fn emit_llvm(program: &Program, info: &ProgramInfo, options: &Options) -> Result<String, InternalError> {
    optimized(program, info, options, |_, _, module| Ok(module.print_to_string().to_string_lossy().into_owned()))
}

/// Assembly.
pub fn emit_asm(program: &Program, info: &ProgramInfo, options: &Options) -> Result<String, InternalError> {
    optimized(program, info, options, |_, machine, module| assembly(machine, module))
}

/// The optimized program, as one module.
fn optimized<T>(
    program: &Program,
    info: &ProgramInfo,
    options: &Options,
    f: impl FnOnce(&Context, &TargetMachine, &Module<'_>) -> Result<T, InternalError>,
) -> Result<T, InternalError> {
    let machine = target::machine(options).map_err(|e| error("target", &e, None))?;
    let (cpu, features) = target::cpu(options);
    let mut source = text::module(program, info, Role::Loaded, images(program, options)?.as_deref());
    source.push_str(&target::attributes(&cpu, &features));
    passes(&source, &machine, options.opt_level, f)
}

/// Keeps the names of functions within the object, which is all there is of a program for a GPU: the fallback's are the same.
fn hide(module: &Module<'_>) {
    for f in module.get_functions() {
        if f.count_basic_blocks() > 0 && f.get_name().to_bytes() != b"main" {
            f.set_linkage(inkwell::module::Linkage::Internal);
        }
    }
}

/// The kernels, if a GPU runs them.
fn images(program: &Program, options: &Options) -> Result<Option<Vec<Image>>, InternalError> {
    Ok(match (&options.gpu, program.target) {
        (Gpu::Cuda(arch), Target::Gpu) => {
            let code = ImageCode::Assembly(emit_ptx(program, arch, options.opt_level)?);
            Some(vec![Image { arch: arch.clone(), code }])
        }
        (Gpu::Images(images), Target::Gpu) => Some(images.clone()),
        (Gpu::Simulated, Target::Gpu) | (_, Target::Cpu) => None,
    })
}

/// The kernels of a program for a GPU as PTX, for an architecture among [`GPUS`].
pub fn emit_ptx(program: &Program, arch: &str, opt_level: u8) -> Result<String, InternalError> {
    let machine = target::gpu(arch).map_err(|e| error("target", &e, None))?;
    passes(&text::kernels(program, text::arch(arch)), &machine, opt_level.max(1), |_, machine, module| {
        assembly(machine, module)
    })
}

fn assembly(machine: &TargetMachine, module: &Module<'_>) -> Result<String, InternalError> {
    let buffer = machine
        .write_to_memory_buffer(module, FileType::Assembly)
        .map_err(|e| error("assembly", e.to_str().unwrap_or("?"), None))?;
    Ok(String::from_utf8_lossy(buffer.as_slice()).trim_end_matches('\0').to_owned())
}

/// Parses, verifies and optimizes a module's text, and hands it over.
fn passes<T>(
    source: &str,
    machine: &TargetMachine,
    opt_level: u8,
    f: impl FnOnce(&Context, &TargetMachine, &Module<'_>) -> Result<T, InternalError>,
) -> Result<T, InternalError> {
    let context = Context::create();
    silence(&context);
    let buffer = MemoryBuffer::create_from_memory_range_copy(source.as_bytes(), "program");
    let module = context
        .create_module_from_ir(buffer)
        .map_err(|e| error("llvm-parse", e.to_str().unwrap_or("?"), Some(source.to_owned())))?;
    module.set_triple(&machine.get_triple());
    module.set_data_layout(&machine.get_target_data().get_data_layout());
    module.verify().map_err(|e| error("llvm-verify", e.to_str().unwrap_or("?"), Some(source.to_owned())))?;
    let passes = match opt_level {
        0 => "default<O0>",
        1 => "default<O1>",
        2 => "default<O2>",
        _ => "default<O3>",
    };
    let pass_options = PassBuilderOptions::create();
    pass_options.set_loop_vectorization(true);
    pass_options.set_loop_slp_vectorization(opt_level > 1);
    pass_options.set_loop_interleaving(true);
    pass_options.set_loop_unrolling(true);
    module
        .run_passes(passes, machine, pass_options)
        .map_err(|e| error("llvm-passes", e.to_str().unwrap_or("?"), None))?;
    f(&context, machine, &module)
}

/// LLVM's remarks (a loop that was not vectorised) are not for the user's terminal.
fn silence(context: &Context) {
    extern "C" fn ignore(_: inkwell::llvm_sys::prelude::LLVMDiagnosticInfoRef, _: *mut std::ffi::c_void) {}
    // SAFETY: the context is alive, and the handler takes nothing from its arguments
    unsafe {
        inkwell::llvm_sys::core::LLVMContextSetDiagnosticHandler(context.raw(), Some(ignore), std::ptr::null_mut());
    }
}

fn error(pass: &str, message: &str, ir: Option<String>) -> InternalError {
    InternalError { pass: pass.to_owned(), message: message.to_owned(), ir }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_gets_what_it_runs() {
        for (capability, name) in [
            (70, None),
            (75, Some("sm_75")),
            (80, Some("sm_80")),
            (87, Some("sm_86")),
            (89, Some("sm_89")),
            (90, Some("sm_90")),
            (120, Some("sm_90")),
        ] {
            assert_eq!(gpu_for(capability), name, "{capability}");
        }
    }
}
