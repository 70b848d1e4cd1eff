//! The GPU that a session's programs run on.

use std::path::PathBuf;
use std::process::Command;

use tdl_llvm::{Gpu, Image, ImageCode};
use tdl_runtime::complain;
use tdl_runtime::cuda::{self, Cuda, Missing};
use tdl_runtime::sim::Sim;
use tdl_source::{Code, Diagnostic, Span, code};

use crate::{Device, Failure, Session};

/// A GPU, or none, for a program.
pub(crate) type Opened = Option<Box<dyn tdl_runtime::device::Device>>;

impl Session {
    /// Where a program's tensors will be; `None`: in the host's memory.
    pub(crate) fn open_device(&self) -> Result<Opened, Failure> {
        Ok(match self.options.device {
            Device::Cpu | Device::Interp => None,
            Device::Sim => Some(Box::new(Sim::default())),
            Device::Cuda(number) => Some(Box::new(Cuda::open(number).map_err(|why| self.missing(why))?)),
        })
    }

    /// What kernels are compiled for.
    pub(crate) fn gpu(&self) -> Result<Gpu, Failure> {
        let Device::Cuda(number) = self.options.device else { return Ok(Gpu::Simulated) };
        let capability = cuda::find(number).map_err(|why| self.missing(why))?.capability;
        match tdl_llvm::gpu_for(capability) {
            Some(name) => Ok(Gpu::Cuda(name.to_owned())),
            None => Err(self.missing(Missing::Instructions(capability))),
        }
    }

    /// The kernels of a binary: assembly, and, where there is `ptxas`, machine code.
    pub(crate) fn images(&mut self, program: &tdl_loops::Program) -> Result<Vec<Image>, Failure> {
        let level = self.options.opt_level;
        let ptxas = Ptxas::find();
        let mut images = Vec::new();
        for arch in BINARY {
            let ptx = self.timings.time("ptx", || tdl_llvm::emit_ptx(program, arch, level))?;
            let made = ptxas.as_ref().map(|p| self.timings.time("ptxas", || p.assemble(arch, &ptx)));
            match made {
                Some(Ok(code)) => images.push(Image { arch: arch.into(), code: ImageCode::Machine(code) }),
                Some(Err(why)) => complain(format_args!("note: there is no machine code for {arch}: {why}\n")),
                None => {}
            }
            images.push(Image { arch: arch.into(), code: ImageCode::Assembly(ptx) });
        }
        Ok(images)
    }

    fn missing(&self, why: Missing) -> Failure {
        let message = format!("cannot run on a GPU: {why}");
        match why {
            Missing::Driver => self.no_gpu(
                message,
                "install the driver of your GPU, or leave `--device cuda` out; `--device sim` simulates a GPU",
            ),
            Missing::Old { .. } => self.at_program(
                code::E0606,
                message,
                "install a newer driver of your GPU, or leave `--device cuda` out",
            ),
            Missing::Instructions(_) => self.no_gpu(message, "GPUs from 2018 on (Turing) can run tdl"),
            Missing::Number { .. } | Missing::Device(_) => {
                let look = "see what `nvidia-smi` says of the device, or leave `--device cuda` out";
                self.no_gpu(message, &why.others().unwrap_or_else(|| look.into()))
            }
        }
    }

    fn no_gpu(&self, message: String, help: &str) -> Failure {
        self.at_program(code::E0604, message, help)
    }

    fn at_program(&self, code: Code, message: String, help: &str) -> Failure {
        let files = self.sources.files();
        let span = files.first().map(|(_, id)| Span::new(*id, 0, 0)).unwrap_or_default();
        Failure::Program(vec![Diagnostic::error(code, message, span, "this program").help(help)])
    }
}

/// What binaries have kernels for: each runs on all newer GPUs, but for the last, which has its own.
const BINARY: [&str; 3] = ["sm_75", "sm_80", "sm_90a"];

/// NVIDIA's assembler: the variable TDL_PTXAS, or the one on the path.
struct Ptxas(PathBuf);

impl Ptxas {
    fn find() -> Option<Ptxas> {
        let path = std::env::var_os("TDL_PTXAS").map_or("ptxas".into(), PathBuf::from);
        Command::new(&path).arg("--version").output().ok().filter(|o| o.status.success()).map(|_| Ptxas(path))
    }

    fn assemble(&self, arch: &str, ptx: &str) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let (from, to) = (folder.path().join("a.ptx"), folder.path().join("a.cubin"));
        std::fs::write(&from, ptx).map_err(|e| e.to_string())?;
        let done = Command::new(&self.0).args(["-O3", "-arch", arch, "-o"]).arg(&to).arg(&from).output();
        let done = done.map_err(|e| e.to_string())?;
        if !done.status.success() {
            let text = String::from_utf8_lossy(&done.stderr);
            return Err(text.lines().next().unwrap_or("`ptxas` failed").to_owned());
        }
        std::fs::read(&to).map_err(|e| e.to_string())
    }
}
