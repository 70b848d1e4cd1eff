//! The gradient tests of `transform`, with derivatives that a GPU computes: the simulated one, or a real one.

mod native;

#[path = "../../transform/tests/gradients/control.rs"]
mod control;
#[path = "../../transform/tests/gradients/higher.rs"]
mod higher;
#[path = "../../transform/tests/gradients/ops.rs"]
mod ops;
#[path = "../../transform/tests/gradients/programs.rs"]
mod programs;
#[path = "../../transform/tests/gradients/rules.rs"]
mod rules;
#[path = "../../transform/tests/gradients/support.rs"]
mod support;
#[path = "../../transform/tests/gradients/tables.rs"]
mod tables;

/// What runs the programs: code for a GPU.
mod machine {
    use std::cell::RefCell;

    use tdl_ir::interp::Value;
    use tdl_ir::{FuncId, Module};

    use crate::native::{Compiled, Way};

    /// One of so many random programs is tried.
    pub const EVERY: usize = 20;
    /// One of so many shapes of each op is tried.
    pub const EACH: usize = 4;

    thread_local! {
        /// The last function: most are run several times, one after the other.
        static LAST: RefCell<Option<(String, Compiled)>> = const { RefCell::new(None) };
    }

    pub fn run(module: &Module, func: FuncId, args: Vec<Value>) -> Vec<Value> {
        let text = format!("{func:?}\n{}", tdl_ir::print(module));
        LAST.with_borrow_mut(|last| {
            if last.as_ref().is_none_or(|(known, _)| *known != text) {
                let compiled = Compiled::new(module, func, Way::Gpu, 1).unwrap_or_else(|e| panic!("{e}\n{text}"));
                *last = Some((text.clone(), compiled));
            }
            let compiled = &last.as_ref().expect("it was just made").1;
            compiled.run(&args).unwrap_or_else(|e| panic!("{e}\n{text}"))
        })
    }
}
