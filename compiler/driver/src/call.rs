//! Calling a compiled function with values, and the same through the interpreter: what tests and the REPL do.

use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use tdl_ir::interp::{Interp, RunErrorKind, Tensor, Value};
use tdl_ir::{Function, Module};
use tdl_llvm::{Jit, symbol};
use tdl_runtime::abi::FAILED;
use tdl_runtime::start::message;
use tdl_runtime::{Ctx, FailureKind, Output};

use crate::host::RealHost;
use crate::interpret::{Place, run_error, site_text};
use crate::native::{function, watch, watch_nothing};
use crate::{Device, Failure, Session};

/// A module's functions, ready to be called.
pub(crate) struct Callable {
    module: Module,
    native: Option<(Jit, tdl_loops::Program)>,
}

/// How a call ended.
pub(crate) enum Outcome {
    Done(Vec<Value>),
    /// The code of the failure and its rendered message.
    Failed {
        code: &'static str,
        text: String,
    },
    Interrupted,
}

/// Where the text goes that a call prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prints {
    Through,
    Kept,
}

impl Prints {
    fn output(self) -> Output {
        match self {
            Prints::Through => Output::stdout(),
            Prints::Kept => Output::Capture(String::new()),
        }
    }
}

/// A call that has ended.
pub(crate) struct Call {
    pub outcome: Outcome,
    pub time: Duration,
    /// What was kept of the printed text.
    pub printed: String,
}

fn printed(output: &mut Output, stop: &AtomicU32) -> String {
    let _ = output.flush(stop);
    match output {
        Output::Capture(text) => std::mem::take(text),
        Output::Stdout { .. } => String::new(),
    }
}

impl Callable {
    pub(crate) fn func(&self, index: usize) -> &Function {
        &self.module.funcs[index]
    }
}

impl Session {
    /// Compiles a flat module for this session's device.
    pub(crate) fn callable(&mut self, module: Module) -> Result<Callable, Failure> {
        let native = match self.options.device {
            Device::Cpu | Device::Sim | Device::Cuda(_) => Some(self.load(&module)?),
            Device::Interp => None,
        };
        Ok(Callable { module, native })
    }

    /// Calls function `index`.
    pub(crate) fn call_values(
        &self,
        callable: &Callable,
        index: usize,
        args: Vec<Value>,
        prints: Prints,
    ) -> Result<Call, Failure> {
        let func = &callable.module.funcs[index];
        let Some((jit, loops)) = &callable.native else {
            let mut host = RealHost::new(prints.output());
            watch(&host.interrupt);
            let begin = Instant::now();
            let result = Interp::new(&callable.module).run(tdl_ir::FuncId(index as u32), args, &mut host);
            let time = begin.elapsed();
            watch_nothing();
            let printed = printed(&mut host.output, &host.interrupt);
            let outcome = match result {
                Ok(values) => Outcome::Done(values),
                Err(e) if e.kind == RunErrorKind::Interrupted => Outcome::Interrupted,
                Err(e) => {
                    let text = run_error(&e, &self.sources.map, self.text_form())?;
                    let code = crate::interpret::failure_kind(e.kind).map_or("E0701", FailureKind::code);
                    Outcome::Failed { code, text }
                }
            };
            return Ok(Call { outcome, time, printed });
        };
        let address = jit.symbol(&symbol(&func.name))?;
        let threads = self.options.threads.unwrap_or_else(tdl_runtime::start::cores);
        let mut ctx = Ctx::new(threads, prints.output());
        if let Some(d) = self.open_device()? {
            ctx.attach(d);
        }
        let slots = slots(&mut ctx, &args)?;
        let mut results = vec![0u64; result_slots(func)];
        watch(&ctx.interrupt);
        let begin = Instant::now();
        // SAFETY: the slots are those of the function's parameters and results
        let status = unsafe { function(address)(&mut *ctx, slots.as_ptr(), results.as_mut_ptr()) };
        let status = if ctx.finish() { status } else { FAILED };
        let time = begin.elapsed();
        watch_nothing();
        ctx.progress.clear();
        let printed = printed(&mut ctx.output, &ctx.interrupt);
        let outcome = match status {
            0 => Outcome::Done(values(&mut ctx, func, &results)?),
            _ => self.failure(&mut ctx, loops),
        };
        Ok(Call { outcome, time, printed })
    }

    /// Why a call failed.
    fn failure(&self, ctx: &mut Ctx, loops: &tdl_loops::Program) -> Outcome {
        let Some(failure) = ctx.take_failure() else { return Outcome::Interrupted };
        if matches!(failure.kind, FailureKind::Interrupted | FailureKind::BrokenPipe) {
            return Outcome::Interrupted;
        }
        let places: Vec<Place> =
            loops.sites.iter().map(|s| site_text(&self.sources.map, s.span).unwrap_or_default()).collect();
        let sites: Vec<_> = places.iter().map(Place::site).collect();
        // SAFETY: the texts of `places` are alive
        let text = unsafe { message(&failure, &sites, self.text_form()) };
        Outcome::Failed { code: failure.kind.code(), text }
    }

    /// Calls function `index` again and again; `go_on` is told the seconds of each call and says when to stop. What is
    /// printed is dropped. An outcome that is not `Done` ends it.
    pub(crate) fn repeat(
        &self,
        callable: &Callable,
        index: usize,
        args: &[Value],
        go_on: &mut dyn FnMut(f64) -> bool,
    ) -> Result<Outcome, Failure> {
        let Some((jit, loops)) = &callable.native else {
            loop {
                let call = self.call_values(callable, index, args.to_vec(), Prints::Kept)?;
                match call.outcome {
                    Outcome::Done(_) if go_on(call.time.as_secs_f64()) => {}
                    outcome => return Ok(outcome),
                }
            }
        };
        let func = &callable.module.funcs[index];
        let address = function(jit.symbol(&symbol(&func.name))?);
        let threads = self.options.threads.unwrap_or_else(tdl_runtime::start::cores);
        let mut ctx = Ctx::new(threads, Prints::Kept.output());
        if let Some(d) = self.open_device()? {
            ctx.attach(d);
        }
        let mut slots = slots(&mut ctx, args)?;
        let mut results = vec![0u64; result_slots(func)];
        watch(&ctx.interrupt);
        let outcome = loop {
            let begin = Instant::now();
            // SAFETY: the slots are those of the function's parameters and results
            let status = unsafe { address(&mut *ctx, slots.as_ptr(), results.as_mut_ptr()) };
            let status = if ctx.finish() { status } else { FAILED };
            let time = begin.elapsed();
            if status != 0 {
                break self.failure(&mut ctx, loops);
            }
            // the results were all computed: the caller of a compiled function may read them
            std::hint::black_box(&results);
            ctx.free_all();
            if ctx.device.is_some() {
                // the arguments were on the device too
                slots = self::slots(&mut ctx, args)?;
            }
            printed(&mut ctx.output, &ctx.interrupt);
            if !go_on(time.as_secs_f64()) {
                break Outcome::Done(Vec::new());
            }
        };
        watch_nothing();
        Ok(outcome)
    }
}

/// Arguments as generated code takes them. A device gets copies of tensors.
fn slots(ctx: &mut Ctx, args: &[Value]) -> Result<Vec<u64>, Failure> {
    let mut slots = Vec::new();
    for a in args {
        match a {
            Value::Tensor(t) if t.shape.is_empty() => slots.push(scalar_slot(t)),
            Value::Tensor(t) => {
                let data = match &mut ctx.device {
                    Some(d) => d.give(&t.data).map_err(|e| Failure::Usage(e.to_string()))?,
                    None => t.data.as_ptr().cast_mut(),
                };
                slots.push(data as u64);
                slots.extend(t.shape.iter().map(|d| *d as u64));
            }
            Value::Str(s) => slots.push(ctx.keep_text(s.to_string()) as u64),
            Value::Stack(_) => slots.push(0),
        }
    }
    Ok(slots)
}

fn scalar_slot(t: &Tensor) -> u64 {
    let mut bits = [0u8; 8];
    bits[..t.data.len()].copy_from_slice(&t.data);
    u64::from_le_bytes(bits)
}

fn result_slots(func: &Function) -> usize {
    let slots = |ty: &tdl_ir::Type| if ty.rank() == 0 { 1 } else { 1 + ty.rank() };
    func.results().iter().map(|r| slots(func.ty(*r))).sum::<usize>().max(1)
}

/// Copies results out of the context's memory.
fn values(ctx: &mut Ctx, func: &Function, slots: &[u64]) -> Result<Vec<Value>, Failure> {
    let mut at = 0;
    let mut out = Vec::new();
    for r in func.results() {
        let ty = func.ty(*r);
        let Some(dtype) = ty.dtype() else {
            // SAFETY: a text's slot is a handle of this context
            out.push(Value::Str(unsafe { ctx.text(slots[at]) }.into()));
            at += 1;
            continue;
        };
        let shape: Vec<usize> = (0..ty.rank()).map(|k| slots[at + 1 + k] as usize).collect();
        let bytes = shape.iter().product::<usize>() * dtype.size();
        let data = if shape.is_empty() {
            slots[at].to_le_bytes()[..bytes].to_vec()
        } else if bytes == 0 {
            Vec::new()
        } else if let Some(d) = &mut ctx.device {
            d.fetch(slots[at] as *const u8, bytes).map_err(|e| Failure::Usage(e.to_string()))?
        } else {
            // SAFETY: the function handed out a tensor of this size
            unsafe { std::slice::from_raw_parts(slots[at] as *const u8, bytes) }.to_vec()
        };
        at += 1 + shape.len();
        out.push(Tensor::new(dtype, shape, data).into());
    }
    Ok(out)
}
