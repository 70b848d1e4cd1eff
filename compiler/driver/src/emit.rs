//! `tdl emit`: what each stage produces, as text.

use std::path::Path;

use tdl_elaborate::Roots;

use crate::interpret::roots;
use crate::native;
use crate::{Failure, Session, Stage};

impl Session {
    /// The text of a stage.
    pub fn emit(&mut self, path: &Path, stage: Stage) -> Result<String, Failure> {
        if stage == Stage::Ast {
            let parsed = self.parse(path)?;
            let own = parsed.iter().find(|m| m.name.is_empty());
            return Ok(own.map(|m| tdl_syntax::dump_module(&m.ast)).unwrap_or_default());
        }
        let program = self.typed(path)?;
        if stage == Stage::Typed {
            return Ok(tdl_types::dump(&program));
        }
        let mut elaborated = self.elaborate(&program, &Roots::Main)?;
        if elaborated.main.is_none() {
            elaborated = self.elaborate(&program, &Roots::All)?;
        }
        if stage == Stage::Ir {
            return Ok(tdl_ir::print(&elaborated.module));
        }
        if stage == Stage::Ptx {
            self.options.device = crate::Device::Sim;
        }
        let mut wanted = roots(&elaborated);
        wanted.extend(elaborated.fns.iter().map(|(_, f)| *f));
        let module = if stage == Stage::Grad {
            let composites = self.composites(&elaborated.module);
            let module = composites.as_ref().unwrap_or(&elaborated.module);
            let flat = tdl_transform::differentiate(module, &wanted, self.options.verify);
            return flat.map(|m| tdl_ir::print(&m)).map_err(crate::session::failed);
        } else {
            self.optimize(&elaborated.module, &wanted)?
        };
        if stage == Stage::Opt {
            return Ok(tdl_ir::print(&module));
        }
        let program = native::loops(self, &module)?;
        match stage {
            Stage::Loops => Ok(tdl_loops::print(&program)),
            Stage::Llvm | Stage::Asm => native::text(self, &program, stage == Stage::Asm),
            Stage::Ptx => {
                let (arch, level) = (gpu(&self.options.cpu)?, self.options.opt_level);
                Ok(self.timings.time("ptx", || tdl_llvm::emit_ptx(&program, arch, level))?)
            }
            Stage::Ast | Stage::Typed | Stage::Ir | Stage::Grad | Stage::Opt => Ok(String::new()),
        }
    }
}

/// The GPU of this name; `native` is the oldest, whose code all run.
fn gpu(name: &str) -> Result<&'static str, Failure> {
    let known: Vec<&str> = tdl_llvm::GPUS.iter().map(|(name, _)| *name).collect();
    match known.iter().find(|k| **k == name) {
        Some(found) => Ok(found),
        None if name == "native" => Ok(known[0]),
        None => Err(Failure::Usage(format!("there is no GPU `{name}`; there are {}", known.join(", ")))),
    }
}
