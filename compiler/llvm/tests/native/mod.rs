//! Runs functions as native code, here on the processor, and on a GPU: the simulated one, or with `TDL_TEST_CUDA=n` the n-th real one.
#![allow(dead_code, reason = "each test takes what it needs")]

use tdl_ir::interp::{Tensor, Value};
use tdl_ir::{Dtype, FuncId, Module};
use tdl_llvm::{Gpu, Jit, Options, ProgramInfo, symbol};
use tdl_loops::Target;
use tdl_runtime::abi::Func;
use tdl_runtime::cuda::{self, Cuda};
use tdl_runtime::device::Device;
use tdl_runtime::sim::Sim;
use tdl_runtime::{Ctx, Output};

/// What code is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Threads(usize),
    Gpu,
}

/// The real GPU that tests are to use.
fn real() -> Option<u32> {
    std::env::var("TDL_TEST_CUDA").ok().map(|n| n.parse().expect("TDL_TEST_CUDA is the number of a GPU"))
}

fn gpu() -> Gpu {
    let Some(number) = real() else { return Gpu::Simulated };
    let capability = cuda::find(number).expect("a GPU").capability;
    Gpu::Cuda(tdl_llvm::gpu_for(capability).expect("one that is new enough").to_owned())
}

fn device() -> Box<dyn Device> {
    match real() {
        None => Box::new(Sim::default()),
        Some(number) => Box::new(Cuda::open(number).expect("a GPU")),
    }
}

/// Compiles a function and runs it.
pub fn native(module: &Module, id: FuncId, args: &[Value], way: Way) -> Result<Vec<Value>, String> {
    Compiled::new(module, id, way, 2)?.run(args)
}

/// A function as native code.
pub struct Compiled {
    jit: Jit,
    way: Way,
    symbol: String,
    /// Of each result: its elements, and how many axes it has.
    results: Vec<(Dtype, usize)>,
}

impl Compiled {
    /// With two threads it is profiled, which changes nothing.
    pub fn new(module: &Module, id: FuncId, way: Way, opt_level: u8) -> Result<Compiled, String> {
        let (target, threads) = match way {
            Way::Threads(n) => (Target::Cpu, n),
            Way::Gpu => (Target::Gpu, 1),
        };
        let lowering = tdl_loops::Options { roots: vec![id], target, profile: threads == 2 };
        let program = tdl_loops::lower(module, &lowering).map_err(|e| e.to_string())?;
        tdl_loops::verify(&program).map_err(|e| e.to_string())?;
        let info = ProgramInfo { sites: vec![None; program.sites.len()], ..ProgramInfo::default() };
        let options = Options { opt_level, cpu: "native".into(), gpu: gpu() };
        let object = tdl_llvm::compile(&program, &info, &options, tdl_llvm::Role::Loaded)
            .map_err(|e| format!("{e}\n{}", e.ir.as_deref().unwrap_or("")))?;
        let func = module.func(id);
        let of = |r: &tdl_ir::ValueId| (func.ty(*r).dtype().expect("a tensor"), func.ty(*r).rank());
        Ok(Compiled {
            jit: Jit::load(&object).map_err(|e| e.to_string())?,
            way,
            symbol: symbol(&func.name),
            results: func.results().iter().map(of).collect(),
        })
    }

    /// Results come back as tensors.
    pub fn run(&self, args: &[Value]) -> Result<Vec<Value>, String> {
        let address = self.jit.symbol(&self.symbol).map_err(|e| e.to_string())?;
        // SAFETY: the symbol is a generated function
        let code: Func = unsafe { std::mem::transmute(address) };
        let threads = if let Way::Threads(n) = self.way { n } else { 1 };
        let mut ctx = Ctx::new(threads, Output::Capture(String::new()));
        if self.way == Way::Gpu {
            ctx.attach(device());
        }
        let mut slots = Vec::new();
        for a in args {
            match a {
                Value::Tensor(t) if t.shape.is_empty() => {
                    let mut bits = [0u8; 8];
                    bits[..t.data.len()].copy_from_slice(&t.data);
                    slots.push(u64::from_le_bytes(bits));
                }
                Value::Tensor(t) => {
                    let data = match &mut ctx.device {
                        Some(d) => d.give(&t.data).map_err(|e| e.to_string())?,
                        None => t.data.as_ptr().cast_mut(),
                    };
                    slots.push(data as u64);
                    slots.extend(t.shape.iter().map(|d| *d as u64));
                }
                other => return Err(format!("{other:?}")),
            }
        }
        let mut out = vec![0u64; 64];
        // SAFETY: the slots are those of the function's signature
        let status = unsafe { code(&mut *ctx, slots.as_ptr(), out.as_mut_ptr()) };
        if status != 0 {
            return Err(format!("{:?}", ctx.take_failure()));
        }
        let mut at = 0;
        let mut results = Vec::new();
        for (dtype, rank) in self.results.iter().copied() {
            let shape: Vec<usize> = (0..rank).map(|k| out[at + 1 + k] as usize).collect();
            let bytes = shape.iter().product::<usize>() * dtype.size();
            let data = if shape.is_empty() {
                out[at].to_le_bytes()[..bytes].to_vec()
            } else if let Some(d) = &mut ctx.device {
                d.fetch(out[at] as *const u8, bytes).map_err(|e| e.to_string())?
            } else {
                // SAFETY: the function gave this many bytes out
                unsafe { std::slice::from_raw_parts(out[at] as *const u8, bytes) }.to_vec()
            };
            at += if shape.is_empty() { 1 } else { 1 + shape.len() };
            results.push(Tensor::new(dtype, shape, data).into());
        }
        Ok(results)
    }
}
