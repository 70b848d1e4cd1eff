//! Loop IR computes what the tensor IR says, on random programs.

mod support;

use support::check::check;
use tdl_ir::interp::PlainHost;
use tdl_ir::testgen::{Kind, random_module_of};

#[test]
fn random_programs() {
    let count = std::env::var("TDL_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(150);
    for seed in 0..count {
        for (kind, size) in [(Kind::Any, 6), (Kind::Any, 25), (Kind::Smooth, 12)] {
            let (module, args) = random_module_of(kind, seed, size);
            let run = std::panic::AssertUnwindSafe(|| {
                check(&module, module.entry.expect("an entry"), args, PlainHost::default())
            });
            match std::panic::catch_unwind(run) {
                Ok(Ok(())) => {}
                Ok(Err(e)) => panic!("seed {seed}, {kind:?}, size {size}: {e}"),
                Err(_) => panic!("seed {seed}, {kind:?}, size {size} panicked\n{}", tdl_ir::print(&module)),
            }
        }
    }
}
