//! The start of a binary that was built for a GPU: it runs there if there is one, and on the processor otherwise.

use std::ffi::c_char;

use super::{Cuda, Missing, find, graphs};
use crate::abi::Program;
use crate::context::Ctx;
use crate::output::complain;
use crate::repeat::Repeating;
use crate::start::{Choice, command_line, run, slice};

/// `main` of a binary for a GPU. `--device cuda:1` and `--device cpu` choose; without them it is the first GPU, or, where there is
/// none, the processor, which is said.
///
/// # Safety
/// Called by the generated `main` with its arguments and the program's tables: for the GPU, and for the processor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_main_gpu(
    argc: i32,
    argv: *const *const c_char,
    gpu: *const Program,
    cpu: *const Program,
) -> i32 {
    // SAFETY: by contract
    let (mut options, mut args) = unsafe { command_line(argc, argv) };
    // SAFETY: by contract
    let params = unsafe { slice((*cpu).params, (*cpu).n_params.into()) };
    // SAFETY: by contract; a program that has a parameter of this name keeps the flag for itself
    options.devices = params.iter().all(|p| unsafe { p.name.as_str() } != "device");
    let on_cpu = |args: &[String]| {
        // SAFETY: by contract
        unsafe { run(&*cpu, args, &options, |_| {}, |_| {}) }
    };
    let choice = if options.devices { Choice::take(&mut args) } else { Ok(Choice::Any) };
    let number = match choice {
        Ok(Choice::Help | Choice::Cpu) => return on_cpu(&args),
        Ok(Choice::Any) => match find(0) {
            Ok(_) => 0,
            Err(why) => {
                complain(format_args!("note: the program runs on the processor: {why}\n"));
                return on_cpu(&args);
            }
        },
        Ok(Choice::Gpu(number)) => number,
        Err(message) => {
            complain(format_args!("error: {message}\nFor what there is, try '--help'.\n"));
            return 2;
        }
    };
    let device = match Cuda::open(number) {
        Ok(device) => Repeating::new(device, graphs()),
        Err(why) => {
            complain(format_args!("{}", refusal(&why)));
            return 1;
        }
    };
    // SAFETY: by contract
    unsafe { run(&*gpu, &args, &options, |ctx: &mut Ctx| ctx.attach(Box::new(device)), |_| {}) }
}

/// The error of a program that was to run on a GPU that is not there.
fn refusal(why: &Missing) -> String {
    let code = if let Missing::Old { .. } = why { "E0606" } else { "E0604" };
    let list = why.others().map(|l| format!("help: {l}\n")).unwrap_or_default();
    format!("error[{code}]: cannot run on a GPU: {why}\n{list}help: `--device cpu` runs the program on the processor\n")
}
