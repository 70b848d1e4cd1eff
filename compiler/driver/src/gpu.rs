//! The GPU that a session's programs run on.

use tdl_llvm::Gpu;
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
        match architecture(capability) {
            Some(name) => Ok(Gpu::Cuda(name.to_owned())),
            None => {
                let version = format!("{}.{}", capability / 10, capability % 10);
                let message = format!("cannot run on this GPU: its instructions are of version {version}");
                Err(self.no_gpu(message, "GPUs from version 7.5 on (Turing, 2018) can run tdl"))
            }
        }
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
            Missing::Number { names, .. } if !names.is_empty() => {
                let list: Vec<String> = names.iter().enumerate().map(|(i, n)| format!("`cuda:{i}` ({n})")).collect();
                self.no_gpu(message, &format!("there is {}", list.join(", ")))
            }
            Missing::Number { .. } | Missing::Device(_) => {
                self.no_gpu(message, "see what `nvidia-smi` says of the device, or leave `--device cuda` out")
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

/// The newest architecture that a GPU of this version runs. `sm_90a` is for 9.0 alone.
fn architecture(capability: i32) -> Option<&'static str> {
    let runs = |name: &str| match name.strip_prefix("sm_").map(str::parse::<i32>) {
        Some(Ok(version)) => version <= capability,
        Some(Err(_)) | None => false,
    };
    tdl_llvm::GPUS.iter().map(|(name, _)| *name).rfind(|name| runs(name))
}

#[cfg(test)]
mod tests {
    use super::architecture;

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
            assert_eq!(architecture(capability), name, "{capability}");
        }
    }
}
