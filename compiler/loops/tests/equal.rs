//! Loop IR computes what the tensor IR says: both interpreters on the same programs.

mod support;

use tdl_ir::interp::{Interp, PlainHost, Tensor, Value};
use tdl_ir::testgen::{Kind, random_module_of};
use tdl_ir::{Module, element};
use tdl_loops::{Options, lower, print};

fn close(a: &Tensor, b: &Tensor) -> bool {
    let tolerance = match a.dtype.size() {
        2 => 2e-2,
        4 => 2e-4,
        _ => 1e-9,
    };
    a.dtype == b.dtype
        && a.shape == b.shape
        && if a.dtype.is_float() {
            (0..a.numel()).all(|i| {
                let (x, y) = (element::read_float(&a.data, i, a.dtype), element::read_float(&b.data, i, b.dtype));
                x == y || x.is_nan() && y.is_nan() || (x - y).abs() <= tolerance * (1.0 + x.abs().max(y.abs()))
            })
        } else {
            a.data == b.data
        }
}

/// Runs the entry both ways.
fn check(module: &Module, args: Vec<Value>, host: PlainHost) -> Result<(), String> {
    let entry = module.entry.expect("an entry");
    tdl_ir::verify(module).map_err(|e| e.to_string())?;
    let mut reference = host.clone();
    let expected = Interp::new(module).run(entry, args.clone(), &mut reference);
    let program = lower(module, &Options::default()).map_err(|e| e.to_string())?;
    let text = || format!("{}\n{}", tdl_ir::print(module), print(&program));
    tdl_loops::verify(&program).map_err(|e| format!("{e}\n{}", text()))?;
    let mut machine = support::Machine::new(&program);
    machine.host = host;
    let found = machine.run(program.entry.expect("an entry"), &args);
    match (expected, found) {
        (Ok(e), Ok(f)) => {
            for (k, (e, f)) in e.iter().zip(&f).enumerate() {
                let equal = match (e, f) {
                    (Value::Tensor(e), Value::Tensor(f)) => close(e, f),
                    (e, f) => e == f,
                };
                if !equal {
                    return Err(format!("result {k}: expected {e:?}, found {f:?}\n{}", text()));
                }
            }
            if reference.out != machine.host.out {
                return Err(format!("printed {:?}, not {:?}\n{}", machine.host.out, reference.out, text()));
            }
            Ok(())
        }
        (Err(e), Err(f)) if e.message == f => Ok(()),
        (e, f) => Err(format!("expected {e:?}, found {f:?}\n{}", text())),
    }
}

#[test]
fn random_programs() {
    let count = std::env::var("TDL_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(150);
    for seed in 0..count {
        for (kind, size) in [(Kind::Any, 6), (Kind::Any, 25), (Kind::Smooth, 12)] {
            let (module, args) = random_module_of(kind, seed, size);
            let run = std::panic::AssertUnwindSafe(|| check(&module, args, PlainHost::default()));
            match std::panic::catch_unwind(run) {
                Ok(Ok(())) => {}
                Ok(Err(e)) => panic!("seed {seed}, {kind:?}, size {size}: {e}"),
                Err(_) => panic!("seed {seed}, {kind:?}, size {size} panicked\n{}", tdl_ir::print(&module)),
            }
        }
    }
}
