//! Runs a program both ways: tensor IR by its reference interpreter, loop IR by this one.

use tdl_ir::interp::{Interp, PlainHost, Tensor, Value};
use tdl_ir::{Dtype, FuncId, Module, Type, element};
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

/// Runs the entry both ways, in bands where that can be, and once more with a profile, without bands, which changes nothing.
pub fn check(module: &Module, entry: FuncId, args: Vec<Value>, host: PlainHost) -> Result<(), String> {
    tdl_ir::verify(module).map_err(|e| e.to_string())?;
    let mut reference = host.clone();
    let expected = Interp::new(module).run(entry, args.clone(), &mut reference);
    // every band by itself, though there is little to touch
    let bands = tdl_loops::bands::Limits { far: 0, chunk: 1, band: i64::MAX, chunks: 1 };
    let options = Options { roots: vec![entry], bands, ..Options::default() };
    let program = lower(module, &options).map_err(|e| e.to_string())?;
    let text = || format!("{}\n{}", tdl_ir::print(module), print(&program));
    tdl_loops::verify(&program).map_err(|e| format!("{e}\n{}", text()))?;
    let mut machine = super::Machine::new(&program);
    machine.host = host.clone();
    let found = machine.run(0, &args);
    let options = Options { roots: vec![entry], profile: true, ..Options::default() };
    let profiled = lower(module, &options).map_err(|e| e.to_string())?;
    tdl_loops::verify(&profiled).map_err(|e| format!("{e}\n{}", print(&profiled)))?;
    let mut again = super::Machine::new(&profiled);
    again.host = host;
    if again.run(0, &args) != found || again.host.out != machine.host.out {
        return Err(format!("a profile changes the result\n{}", print(&profiled)));
    }
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

/// Arguments for a function: `i64` parameters take `sizes` in turn, indices stay below the first size, floats are small and
/// different.
pub fn arguments(module: &Module, entry: FuncId, sizes: &[i64]) -> Vec<Value> {
    let f = module.func(entry);
    let mut sizes = sizes.iter().copied();
    let mut known = std::collections::HashMap::new();
    let mut out = Vec::new();
    for (k, p) in f.params().iter().enumerate() {
        let Type::Tensor { dtype, dims } = f.ty(*p) else {
            out.push(Value::Str("file".into()));
            continue;
        };
        if *dtype == Dtype::I64
            && dims.is_empty()
            && let Some(n) = sizes.next()
        {
            known.insert(*p, n);
            out.push(Value::int(n));
            continue;
        }
        let shape: Vec<usize> = dims
            .iter()
            .map(|d| match d {
                tdl_ir::Dim::Const(c) => *c as usize,
                tdl_ir::Dim::Val(v) => known[v] as usize,
            })
            .collect();
        let n = shape.iter().product::<usize>();
        let wave = |i: usize| (((i * 37 + k * 11 + 5) % 41) as f64 - 19.5) / 8.0;
        out.push(Value::Tensor(if dtype.is_float() {
            Tensor::from_floats(*dtype, shape, (0..n).map(wave))
        } else {
            let most = if *dtype == Dtype::Bool { 2 } else { 3 };
            Tensor::from_ints(*dtype, shape, (0..n).map(|i| ((i * 7 + k) % most) as i64))
        }));
    }
    out
}

/// Every function of a text, with the sizes given.
pub fn check_text(text: &str, sizes: &[i64]) {
    let module = tdl_ir::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
    for id in module.ids() {
        let args = arguments(&module, id, sizes);
        let mut host = PlainHost::default();
        host.texts.insert("file".into(), "1,2,3\n4,5,6\n".into());
        host.tensors.insert(
            "file".into(),
            vec![("a".into(), Tensor::from_floats(Dtype::F32, vec![2, 3], (0..6).map(f64::from)))],
        );
        check(&module, id, args, host).unwrap_or_else(|e| panic!("`{}`: {e}", module.func(id).name));
    }
}
