//! Native code, for the CPU and for a GPU (simulated, or the real one of `native`), against the reference interpreter: random programs, and every
//! function of one operand over its range.

mod native;

use native::{Way, native};
use tdl_ir::interp::{Interp, PlainHost, Tensor, Value};
use tdl_ir::{BinaryOp, Builder, Dim, Dtype, FuncId, Module, Scalar, Type, UnaryOp};
use tdl_source::Span;

fn number(t: &Tensor, i: usize) -> f64 {
    match t.get(i) {
        Scalar::Float(bits) => f64::from_bits(bits),
        Scalar::Int(x) => x as f64,
        Scalar::Bool(b) => f64::from(u8::from(b)),
    }
}

#[track_caller]
fn same(a: &[Value], b: &[Value], tolerance: f64, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (x.tensor().expect("tensor"), y.tensor().expect("tensor"));
        assert_eq!((x.dtype, &x.shape), (y.dtype, &y.shape), "{what}");
        for i in 0..x.numel() {
            let (p, q) = (number(x, i), number(y, i));
            let ok = p == q || p.is_nan() && q.is_nan() || (p - q).abs() <= tolerance * (1.0 + q.abs());
            assert!(ok, "element {i}: native {p}, interpreter {q}\n{what}");
        }
    }
}

#[test]
fn random_programs_agree() {
    for seed in 0..60 {
        let (module, args) = tdl_ir::testgen::random_module(seed, 12 + seed as usize % 20);
        let id = FuncId(module.funcs.len() as u32 - 1);
        let id = module.entry.unwrap_or(id);
        let want = match Interp::new(&module).run(id, args.clone(), &mut PlainHost::default()) {
            Ok(v) => v,
            Err(e) => panic!("seed {seed}: {e}"),
        };
        let mut flat = tdl_transform::differentiate(&module, &[id], true).unwrap_or_else(|e| panic!("{e:?}"));
        tdl_transform::optimize(&mut flat, true).unwrap_or_else(|e| panic!("{e:?}"));
        let what = format!("seed {seed}\n{}", tdl_ir::print(&flat));
        let one = native(&flat, FuncId(0), &args, Way::Threads(1)).unwrap_or_else(|e| panic!("{what}\n{e}"));
        same(&one, &want, 2e-4, &what);
        let two = native(&flat, FuncId(0), &args, Way::Threads(2)).unwrap_or_else(|e| panic!("{what}\n{e}"));
        assert_eq!(one, two, "threads change the result\n{what}");
        let gpu = native(&flat, FuncId(0), &args, Way::Gpu).unwrap_or_else(|e| panic!("{what}\n{e}"));
        same(&gpu, &want, 2e-4, &what);
    }
}

/// `f(x: [n]) -> op(x)`.
fn elementwise(op: UnaryOp, dtype: Dtype) -> Module {
    let mut b = Builder::new("f", Span::default());
    let n = b.param(Type::scalar(Dtype::I64));
    let x = b.param(Type::tensor(dtype, vec![Dim::Val(n)]));
    let y = b.unary(op, x);
    let mut m = Module::default();
    m.add(b.finish(vec![y]));
    m
}

fn samples(lo: f64, hi: f64) -> Vec<f64> {
    let mut all: Vec<f64> = (0..4000).map(|i| lo + (hi - lo) * (f64::from(i) + 0.5) / 4000.0).collect();
    for e in -44..38 {
        for m in [1.0, 1.5, -1.0, -1.7] {
            all.push(m * 10f64.powi(e));
        }
    }
    all.extend([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-300, 2.0, 10.0, 8.0]);
    all
}

#[test]
fn functions_of_one_operand_are_accurate() {
    let mut worst = Vec::new();
    for op in UnaryOp::ALL.iter().copied() {
        if matches!(op, UnaryOp::Not | UnaryOp::IsNan | UnaryOp::IsFinite) {
            continue;
        }
        for (dtype, bound) in [(Dtype::F32, 1e-6), (Dtype::F64, 1e-12)] {
            let trig = matches!(op, UnaryOp::Sin | UnaryOp::Cos | UnaryOp::Tan);
            let xs: Vec<f64> =
                samples(-20.0, 20.0).into_iter().filter(|x| !trig || x.abs() < 1e7 || !x.is_finite()).collect();
            let n = xs.len();
            let args = vec![Value::int(n as i64), Tensor::from_floats(dtype, vec![n], xs).into()];
            let module = elementwise(op, dtype);
            let want = Interp::new(&module).run(FuncId(0), args.clone(), &mut PlainHost::default()).expect("runs");
            let (want, xs) = (want[0].tensor().expect("tensor").clone(), args[1].tensor().expect("tensor").clone());
            for way in [Way::Threads(1), Way::Gpu] {
                let got = native(&module, FuncId(0), &args, way).unwrap_or_else(|e| panic!("{op:?}: {e}"));
                let got = got[0].tensor().expect("tensor").clone();
                for i in 0..n {
                    let (w, g, x) = (number(&want, i), number(&got, i), number(&xs, i));
                    let smallest = if dtype == Dtype::F32 { 1e-37 } else { 1e-300 };
                    let error = if w == g || w.is_nan() && g.is_nan() {
                        0.0
                    } else if trig
                        || matches!(
                            op,
                            UnaryOp::Lgamma | UnaryOp::Digamma | UnaryOp::Log | UnaryOp::Log2 | UnaryOp::Log10
                        )
                    {
                        // absolute near their zeros
                        (w - g).abs() / w.abs().max(1.0)
                    } else {
                        (w - g).abs() / w.abs().max(smallest)
                    };
                    if error.is_nan() || error > bound {
                        worst.push(format!("{way:?} {op:?} {dtype}({x:e}) = {g:e}, not {w:e} (error {error:e})"));
                        break;
                    }
                }
            }
        }
    }
    assert!(worst.is_empty(), "{}", worst.join("\n"));
}

#[test]
fn powers_and_angles() {
    let values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        2.0,
        -2.0,
        3.0,
        -3.0,
        2.5,
        1e10,
        1e-10,
        -7.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    for (op, bound) in [
        (BinaryOp::Pow, 1e-12),
        (BinaryOp::Atan2, 1e-12),
        (BinaryOp::Polygamma, 1e-12),
        (BinaryOp::FloorDiv, 0.0),
        (BinaryOp::Rem, 1e-12),
        (BinaryOp::Min, 0.0),
        (BinaryOp::Max, 0.0),
    ] {
        let mut b = Builder::new("f", Span::default());
        let n = b.param(Type::scalar(Dtype::I64));
        let x = b.param(Type::tensor(Dtype::F64, vec![Dim::Val(n)]));
        let y = b.param(Type::tensor(Dtype::F64, vec![Dim::Val(n)]));
        let r = b.binary(op, x, y);
        let mut m = Module::default();
        m.add(b.finish(vec![r]));
        let pairs: Vec<(f64, f64)> = values.iter().flat_map(|a| values.iter().map(|b| (*a, *b))).collect();
        let n = pairs.len();
        let column = |f: fn(&(f64, f64)) -> f64| -> Value {
            Tensor::from_floats(Dtype::F64, vec![n], pairs.iter().map(f)).into()
        };
        let args = vec![Value::int(n as i64), column(|p| p.0), column(|p| p.1)];
        let want = Interp::new(&m).run(FuncId(0), args.clone(), &mut PlainHost::default()).expect("runs");
        let want = want[0].tensor().expect("tensor").clone();
        for way in [Way::Threads(1), Way::Gpu] {
            let got = native(&m, FuncId(0), &args, way).unwrap_or_else(|e| panic!("{op:?}: {e}"));
            let got = got[0].tensor().expect("tensor").clone();
            let mut wrong = Vec::new();
            for (i, (a, c)) in pairs.iter().enumerate() {
                let (w, g) = (number(&want, i), number(&got, i));
                // a remainder needs a quotient that f64 holds
                let vast = op == BinaryOp::Rem && (a / c).abs() > 1e15 && c.is_finite();
                let ok = w == g || w.is_nan() && g.is_nan() || (w - g).abs() <= bound * w.abs() || vast;
                if !ok {
                    wrong.push(format!("{op:?}({a}, {c}) = {g}, not {w}"));
                }
            }
            assert!(wrong.is_empty(), "{way:?}: {}", wrong.join("\n"));
        }
    }
}
