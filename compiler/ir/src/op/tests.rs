//! The tables: evaluation against the mathematics, derivative rules against central differences.

use super::*;
use crate::{Builder, Dtype, Type, ValueId};
use tdl_source::Span;

fn f(x: f64) -> Scalar {
    Scalar::float(x)
}

fn value(x: Scalar) -> f64 {
    match x {
        Scalar::Float(bits) => f64::from_bits(bits),
        Scalar::Int(i) => i as f64,
        Scalar::Bool(b) => f64::from(u8::from(b)),
    }
}

/// Evaluates a straight line of scalar `f64` ops, as rules build them.
fn run(build: impl FnOnce(&mut Builder, &[ValueId]) -> ValueId, args: &[f64]) -> f64 {
    let mut b = Builder::new("f", Span::default());
    let params: Vec<ValueId> = args.iter().map(|_| b.param(Type::scalar(Dtype::F64))).collect();
    let y = build(&mut b, &params);
    let func = b.finish(vec![y]);
    let mut env = vec![Scalar::Int(0); func.values.len()];
    for (p, x) in params.iter().zip(args) {
        env[p.0 as usize] = f(*x);
    }
    for inst in &func.body.insts {
        let ins: Vec<Scalar> = inst.args.iter().map(|a| env[a.0 as usize]).collect();
        let y = fold(&inst.op, &ins, Dtype::F64, Dtype::F64).expect("rules are elementwise");
        env[inst.results[0].0 as usize] = y;
    }
    value(env[y.0 as usize])
}

const POINTS: &[f64] = &[-2.3, -0.7, -0.2, 0.15, 0.4, 0.85, 1.3, 2.6];

#[track_caller]
fn slope_matches(name: &str, x: f64, slope: f64, g: impl Fn(f64) -> f64) {
    let h = 1e-5;
    let numeric = (g(x + h) - g(x - h)) / (2.0 * h);
    if numeric.is_nan() {
        return;
    }
    let error = (slope - numeric).abs() / numeric.abs().max(1.0);
    assert!(error < 1e-7, "{name} at {x}: {slope} is not {numeric}");
}

#[test]
fn unary_rules_agree_with_central_differences() {
    for op in UnaryOp::ALL {
        let def = op.def();
        let Derivative::Rule(rule) = def.derivative else {
            continue;
        };
        for x in POINTS {
            let slope = run(
                |b, p| {
                    let y = b.unary(*op, p[0]);
                    rule(b, p[0], y)
                },
                &[*x],
            );
            slope_matches(def.name, *x, slope, |x| def.eval_f64(x));
        }
    }
}

#[test]
fn binary_rules_agree_with_central_differences() {
    for op in BinaryOp::ALL {
        let def = op.def();
        for (side, rule) in def.derivative.iter().enumerate() {
            let Derivative::Rule(rule) = rule else {
                continue;
            };
            for x in POINTS {
                for y in [-1.73, -0.37, 0.53, 1.91] {
                    let slope = run(
                        |b, p| {
                            let z = b.binary(*op, p[0], p[1]);
                            rule(b, p[0], p[1], z)
                        },
                        &[*x, y],
                    );
                    let at = [*x, y];
                    slope_matches(def.name, at[side], slope, |t| {
                        let mut at = at;
                        at[side] = t;
                        def.eval_f64(at[0], at[1])
                    });
                }
            }
        }
    }
}

#[track_caller]
fn binary_slopes(op: BinaryOp, at: [f64; 2], want: [f64; 2]) {
    for (side, want) in want.into_iter().enumerate() {
        let Derivative::Rule(rule) = op.def().derivative[side] else {
            panic!("no rule");
        };
        let got = run(
            |b, p| {
                let z = b.binary(op, p[0], p[1]);
                rule(b, p[0], p[1], z)
            },
            &at,
        );
        assert_eq!(got, want, "{op:?} at {at:?}, side {side}");
    }
}

#[test]
fn conventions_at_kinks() {
    binary_slopes(BinaryOp::Max, [1.0, 1.0], [0.5, 0.5]);
    binary_slopes(BinaryOp::Min, [1.0, 1.0], [0.5, 0.5]);
    binary_slopes(BinaryOp::Max, [f64::NAN, 1.0], [0.0, 0.0]);
    binary_slopes(BinaryOp::Pow, [0.0, 0.0], [0.0, 0.0]);
    binary_slopes(BinaryOp::Pow, [0.0, 1.0], [1.0, 0.0]);
    binary_slopes(BinaryOp::Pow, [0.0, 2.0], [0.0, 0.0]);
    binary_slopes(BinaryOp::Atan2, [0.0, 0.0], [0.0, 0.0]);
    let Derivative::Rule(abs) = UnaryOp::Abs.def().derivative else {
        panic!("no rule");
    };
    let slope = |b: &mut Builder, p: &[ValueId]| abs(b, p[0], p[0]);
    assert_eq!(run(slope, &[0.0]), 0.0);
    let Derivative::Rule(by_base) = BinaryOp::Pow.def().derivative[0] else {
        panic!("no rule");
    };
    assert_eq!(run(|b, p| by_base(b, p[0], p[1], p[0]), &[-3.0, 2.0]), -6.0);
}

#[test]
fn integers_floor_wrap_and_saturate() {
    let int = |op: BinaryOp, a: i64, b: i64, d: Dtype| op.def().eval(Scalar::Int(a), Scalar::Int(b), d);
    assert_eq!(int(BinaryOp::FloorDiv, -7, 2, Dtype::I64), Some(Scalar::Int(-4)));
    assert_eq!(int(BinaryOp::FloorDiv, 7, -2, Dtype::I64), Some(Scalar::Int(-4)));
    assert_eq!(int(BinaryOp::Rem, -7, 3, Dtype::I64), Some(Scalar::Int(2)));
    assert_eq!(int(BinaryOp::Rem, 7, -3, Dtype::I64), Some(Scalar::Int(-2)));
    assert_eq!(int(BinaryOp::FloorDiv, i64::MIN, -1, Dtype::I64), Some(Scalar::Int(i64::MIN)));
    assert_eq!(int(BinaryOp::Add, 127, 1, Dtype::I8), Some(Scalar::Int(-128)));
    assert_eq!(int(BinaryOp::Sub, 0, 1, Dtype::U32), Some(Scalar::Int(0xffff_ffff)));
    assert_eq!(int(BinaryOp::Max, -1, 1, Dtype::U64), Some(Scalar::Int(-1)));
    assert_eq!(int(BinaryOp::Pow, 3, 4, Dtype::I32), Some(Scalar::Int(81)));
    assert_eq!(int(BinaryOp::Pow, -1, -3, Dtype::I32), Some(Scalar::Int(-1)));
    assert_eq!(int(BinaryOp::Shr, -8, 1, Dtype::I32), Some(Scalar::Int(-4)));
    assert_eq!(int(BinaryOp::Shl, 1, 40, Dtype::I32), Some(Scalar::Int(0)));
    let to = |x: f64, d: Dtype| fold(&Op::Convert, &[f(x)], Dtype::F64, d);
    assert_eq!(to(300.7, Dtype::I8), Some(Scalar::Int(127)));
    assert_eq!(to(-1.0, Dtype::U64), Some(Scalar::Int(0)));
    assert_eq!(to(f64::NAN, Dtype::I32), Some(Scalar::Int(0)));
    assert_eq!(to(1e30, Dtype::U64), Some(Scalar::Int(-1)));
    assert_eq!(to(-2.9, Dtype::I16), Some(Scalar::Int(-2)));
}

#[test]
fn floats_floor_propagate_nan_and_round_to_their_width() {
    let float = |op: BinaryOp, a: f64, b: f64| op.def().eval_f64(a, b);
    assert_eq!(float(BinaryOp::Rem, -7.5, 2.0), 0.5);
    assert_eq!(float(BinaryOp::Rem, 7.5, -2.0), -0.5);
    assert_eq!(float(BinaryOp::FloorDiv, -7.5, 2.0), -4.0);
    // the exact remainder, where the quotient has more digits than a float (CPython's `math.fmod`)
    assert_eq!(float(BinaryOp::Rem, 1e30, 7.25), 1.25);
    assert_eq!(float(BinaryOp::FloorDiv, 1e30, 7.25), 1.3793103448275862e29);
    assert_eq!(float(BinaryOp::FloorDiv, 1.7e308, -1e308), -2.0);
    assert_eq!(float(BinaryOp::FloorDiv, -5.0, f64::INFINITY), -1.0);
    assert!(float(BinaryOp::FloorDiv, f64::INFINITY, 2.0).is_nan());
    assert_eq!(float(BinaryOp::FloorDiv, 1.0, 0.0), f64::INFINITY);
    assert!(float(BinaryOp::Max, f64::NAN, 1.0).is_nan());
    assert!(float(BinaryOp::Min, 1.0, f64::NAN).is_nan());
    assert_eq!(float(BinaryOp::Max, -0.0, 0.0).to_bits(), 0);
    assert_eq!(UnaryOp::Round.def().eval_f64(2.5), 2.0);
    let third = |d| value(fold(&Op::Binary(BinaryOp::Div), &[f(1.0), f(3.0)], d, d).expect("folds"));
    assert_eq!(third(Dtype::F32), f64::from(1.0_f32 / 3.0));
    assert_eq!(third(Dtype::F16), 0.333_251_953_125);
    assert_eq!(third(Dtype::Bf16), 0.333_984_375);
}

#[test]
fn division_by_zero_is_not_folded() {
    let zero = [Scalar::Int(1), Scalar::Int(0)];
    assert_eq!(fold(&Op::Binary(BinaryOp::Rem), &zero, Dtype::I64, Dtype::I64), None);
}

#[test]
fn identities_are_neutral() {
    for op in ReduceOp::ALL {
        let def = op.def();
        for dtype in Dtype::ALL.iter().copied().filter(|d| def.dtype.accepts(*d)) {
            let one = match dtype.class() {
                crate::DtypeClass::Float => f(1.0),
                crate::DtypeClass::Signed | crate::DtypeClass::Unsigned => Scalar::Int(1),
                crate::DtypeClass::Bool => Scalar::Bool(true),
            };
            let got = def.combine.def().eval((def.identity)(dtype), one, dtype);
            assert_eq!(got, Some(one), "{} of {dtype}", def.name);
        }
    }
}

/// `d reduce(x) / dx` by the table's coefficient, and the reduction itself, over both axes of `[2, 2]`.
fn reduction(op: ReduceOp, x: [f64; 4]) -> (Vec<f64>, f64) {
    use crate::interp::{Interp, PlainHost, Tensor};
    let ReduceDerivative::Coefficient(rule) = op.def().derivative else {
        panic!("no coefficient");
    };
    let mut b = Builder::new("f", Span::default());
    let p = b.param(Type::tensor(Dtype::F64, [crate::Dim::Const(2), crate::Dim::Const(2)]));
    let y = b.reduce(op, p, vec![0, 1]);
    let c = rule(&mut b, p, y, &[0, 1]);
    let mut module = crate::Module::default();
    let f = module.add(b.finish(vec![c, y]));
    crate::verify(&module).expect("rules are well formed");
    let arg = Tensor::from_floats(Dtype::F64, vec![2, 2], x).into();
    let out = Interp::new(&module).run(f, vec![arg], &mut PlainHost::default()).expect("runs");
    let floats = |i: usize| out[i].tensor().expect("a tensor").floats();
    (floats(0), floats(1)[0])
}

#[test]
fn reduction_rules_agree_with_central_differences() {
    for op in [ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min] {
        for x in [[0.5, -1.5, 2.0, 3.0], [0.0, -1.5, 2.0, 3.0], [0.0, 1.5, 0.0, -3.0]] {
            let (slope, _) = reduction(op, x);
            for i in 0..4 {
                if op != ReduceOp::Prod && x.iter().filter(|y| **y == x[i]).count() > 1 {
                    continue;
                }
                slope_matches(op.def().name, x[i], slope[i], |t| {
                    let mut x = x;
                    x[i] = t;
                    reduction(op, x).1
                });
            }
        }
    }
}

#[test]
fn ties_in_a_reduction_share_equally() {
    assert_eq!(reduction(ReduceOp::Max, [1.0, 3.0, 3.0, 3.0]).0, [0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]);
    assert_eq!(reduction(ReduceOp::Min, [1.0, 1.0, 3.0, 3.0]).0, [0.5, 0.5, 0.0, 0.0]);
}

#[test]
fn what_lies_just_above_the_middle_rounds_up() {
    // the digit that decides is among the last 32 bits of the f64
    let x = f64::from(f32::from_bits(0x3f80_8001));
    assert_eq!(round_float(x, Dtype::Bf16), 1.0078125);
    assert_eq!(round_float(-x, Dtype::Bf16), -1.0078125);
    assert_eq!(round_float(1.0 + 0.5f64.powi(11) + 0.5f64.powi(50), Dtype::F16), 1.0009765625);
    assert_eq!(round_float(1.0 + 0.5f64.powi(11), Dtype::F16), 1.0);
    assert_eq!(round_float(1.0 + 3.0 * 0.5f64.powi(11) - 0.5f64.powi(50), Dtype::F16), 1.0009765625);
    assert_eq!(round_float(65519.99999999, Dtype::F16), 65504.0);
    assert_eq!(round_float(65520.0, Dtype::F16), f64::INFINITY);
    assert_eq!(round_float(1e300, Dtype::Bf16), f64::INFINITY);
    assert!(round_float(f64::NAN, Dtype::F16).is_nan());
}
