//! What runs the programs: the reference interpreter. The same tests run native code in `llvm/tests/gradients.rs`.

use tdl_ir::interp::{Interp, PlainHost, Value};
use tdl_ir::{FuncId, Module};

/// One of so many random programs is tried.
pub const EVERY: usize = 1;
/// One of so many shapes of each op is tried.
pub const EACH: usize = 1;

pub fn run(module: &Module, func: FuncId, args: Vec<Value>) -> Vec<Value> {
    match Interp::new(module).run(func, args, &mut PlainHost::default()) {
        Ok(v) => v,
        Err(e) => panic!("{e}\n{}", tdl_ir::print(module)),
    }
}
