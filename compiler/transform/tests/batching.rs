//! A mapped program gives in each lane what the program gives for the lane's arguments: random programs, plain and
//! differentiated, mapped and then differentiated, through the reference interpreter.

use tdl_ir::interp::{Interp, PlainHost, Tensor, Value};
use tdl_ir::testgen::{Kind, random_module_of};
use tdl_ir::{Builder, Dim, Dtype, FuncId, Module, Op, Scalar, Type, ValueId};
use tdl_source::Span;

struct Case {
    module: Module,
    func: FuncId,
    /// For each parameter the arguments of all lanes.
    lanes: Vec<Vec<Value>>,
    mapped: Vec<usize>,
}

/// A random program with arguments that differ from lane to lane, some of which are mapped.
fn random_case(kind: Kind, seed: u64, n: usize) -> Case {
    let (module, args) = random_module_of(kind, seed, 4 + seed as usize % 24);
    let func = FuncId(module.funcs.len() as u32 - 1);
    let mut mapped = Vec::new();
    let mut lanes = Vec::new();
    for (k, a) in args.iter().enumerate() {
        let t = a.tensor().expect("a tensor");
        let chosen = k > 0 && !(seed >> (k % 60)).is_multiple_of(3);
        if chosen {
            mapped.push(k);
        }
        lanes.push((0..n).map(|lane| if chosen { varied(t, lane) } else { a.clone() }).collect());
    }
    Case { module, func, lanes, mapped }
}

fn varied(t: &Tensor, lane: usize) -> Value {
    match t.dtype {
        Dtype::Bool => {
            let flip = lane % 2 == 1;
            let values = numbers(t).into_iter().map(|x| (x != 0.0) != flip);
            return Tensor::from_bools(t.shape.clone(), values.collect::<Vec<_>>()).into();
        }
        d if !d.is_float() => {
            let values = numbers(t).into_iter().map(|x| x as i64 + 3 * lane as i64);
            return Tensor::from_ints(d, t.shape.clone(), values.collect::<Vec<_>>()).into();
        }
        _ => {}
    }
    // smaller in magnitude, so that all bounds hold; every other lane with the other sign
    let scale = (1.0 - 0.2 * lane as f64) * if lane.is_multiple_of(2) { 1.0 } else { -1.0 };
    let values = numbers(t).into_iter().map(|x| x * scale).collect::<Vec<_>>();
    Tensor::from_floats(t.dtype, t.shape.clone(), values).into()
}

fn numbers(t: &Tensor) -> Vec<f64> {
    (0..t.numel())
        .map(|i| match t.get(i) {
            Scalar::Float(bits) => f64::from_bits(bits),
            Scalar::Int(x) => x as f64,
            Scalar::Bool(x) => f64::from(u8::from(x)),
        })
        .collect()
}

/// The arguments of one parameter as one tensor with the lanes in front.
fn stacked(lanes: &[Value], like: &Value) -> Value {
    let like = like.tensor().expect("a tensor");
    let shape: Vec<usize> = std::iter::once(lanes.len()).chain(like.shape.iter().copied()).collect();
    let all: Vec<f64> = lanes.iter().flat_map(|v| numbers(v.tensor().expect("a tensor"))).collect();
    match like.dtype {
        d if d.is_float() => Tensor::from_floats(d, shape, all).into(),
        Dtype::Bool => Tensor::from_bools(shape, all.into_iter().map(|x| x != 0.0).collect::<Vec<_>>()).into(),
        d => Tensor::from_ints(d, shape, all.into_iter().map(|x| x as i64)).into(),
    }
}

fn run(module: &Module, func: FuncId, args: Vec<Value>) -> Vec<Value> {
    match Interp::new(module).run(func, args, &mut PlainHost::default()) {
        Ok(v) => v,
        Err(e) => panic!("{e}\n{}", tdl_ir::print(module)),
    }
}

/// The parameters of `func` as parameters of `b`, those in `mapped` with `lanes` in front.
fn params(b: &mut Builder, module: &Module, func: FuncId, lanes: Option<(ValueId, &[usize])>) -> Vec<ValueId> {
    let f = module.func(func);
    let mut map = std::collections::HashMap::new();
    let mut out = Vec::new();
    for (k, p) in f.params().iter().enumerate() {
        let mut ty = f.ty(*p).map_dims(|d| match d {
            Dim::Val(v) => Dim::Val(map[&v]),
            d @ Dim::Const(_) => d,
        });
        if let (Some((n, mapped)), Type::Tensor { dtype, dims }) = (lanes, ty.clone())
            && mapped.contains(&k)
        {
            ty = Type::tensor(dtype, std::iter::once(Dim::Val(n)).chain(dims).collect::<Vec<_>>());
        }
        let new = b.param(ty);
        map.insert(*p, new);
        out.push(new);
    }
    out
}

/// Types of the results in terms of these parameters; none if they have sizes of their own.
fn result_types(module: &Module, func: FuncId, args: &[ValueId]) -> Option<Vec<Type>> {
    let f = module.func(func);
    let known = |v: ValueId| f.params().iter().position(|p| *p == v).map(|k| args[k]);
    let own = f.results().iter().flat_map(|r| f.ty(*r).dims()).any(|d| matches!(d, Dim::Val(v) if known(*v).is_none()));
    let ty = |r: &ValueId| {
        f.ty(*r).map_dims(|d| match d {
            Dim::Val(v) => Dim::Val(known(v).unwrap_or(v)),
            d @ Dim::Const(_) => d,
        })
    };
    (!own).then(|| f.results().iter().map(ty).collect())
}

/// Adds `g(n, args…) = vmap func`; none if its results have sizes of their own.
fn mapped(module: &mut Module, func: FuncId, mapped: &[usize]) -> Option<FuncId> {
    let mut b = Builder::new("mapped", Span::default());
    let n = b.param(Type::scalar(Dtype::I64));
    let args = params(&mut b, module, func, Some((n, mapped)));
    let types = result_types(module, func, &args)?.into_iter().map(|ty| match ty {
        Type::Tensor { dtype, dims } => {
            Type::tensor(dtype, std::iter::once(Dim::Val(n)).chain(dims).collect::<Vec<_>>())
        }
        other @ (Type::Str | Type::Stack { .. }) => other,
    });
    let types = types.collect();
    let mut all = vec![n];
    all.extend(args);
    let out = b.inst(Op::Vmap { func, mapped: mapped.to_vec(), uniform: 0 }, all, types, Vec::new());
    Some(module.add(b.finish(out)))
}

fn flat(module: &Module, func: FuncId) -> Module {
    let mut flat = tdl_transform::differentiate(module, &[func], true).unwrap_or_else(|e| panic!("{e:?}"));
    tdl_transform::optimize(&mut flat, true).unwrap_or_else(|e| panic!("{e:?}"));
    flat
}

fn float_params(module: &Module, func: FuncId) -> Vec<usize> {
    let f = module.func(func);
    (0..f.params().len()).filter(|k| f.ty(f.params()[*k]).is_float_tensor()).collect()
}

/// Adds the gradient of a function with one float scalar as its result, by all its float parameters.
fn gradient(module: &mut Module, func: FuncId) -> FuncId {
    let mut b = Builder::new("gradient", Span::default());
    let mut args = params(&mut b, module, func, None);
    let wrt = float_params(module, func);
    let mut types = result_types(module, func, &args).expect("a scalar");
    let own = types.len();
    types.extend(wrt.iter().map(|k| b.ty(args[*k]).clone()));
    args.push(b.const_num(1.0, Dtype::F64));
    let out = b.inst(Op::Vjp { func, wrt }, args, types, Vec::new());
    module.add(b.finish(out[own..].to_vec()))
}

#[track_caller]
fn same(what: &str, all: &[f64], want: &[f64], tolerance: f64, module: &Module) {
    let close = |a: &f64, b: &f64| (a - b).abs() <= tolerance * (1.0 + b.abs()) || a.is_nan() && b.is_nan();
    let equal = all.len() == want.len() && all.iter().zip(want).all(|(a, b)| close(a, b));
    assert!(equal, "{what}: {all:?}, lane by lane {want:?}\n{}", tdl_ir::print(module));
}

/// The mapped function against each lane by itself.
fn check(case: &Case, func: FuncId, module: &Module, n: usize) -> bool {
    let mut with = module.clone();
    let Some(g) = mapped(&mut with, func, &case.mapped) else { return false };
    let (each, all) = (flat(module, func), flat(&with, g));
    let mut args: Vec<Value> = vec![Tensor::from_ints(Dtype::I64, vec![], [n as i64]).into()];
    for (k, lanes) in case.lanes.iter().enumerate() {
        args.push(if case.mapped.contains(&k) { stacked(lanes, &lanes[0]) } else { lanes[0].clone() });
    }
    let got = run(&all, FuncId(0), args);
    for lane in 0..n {
        let one = run(&each, FuncId(0), case.lanes.iter().map(|l| l[lane].clone()).collect());
        for (k, (got, one)) in got.iter().zip(&one).enumerate() {
            let (got, one) = (got.tensor().expect("a tensor"), one.tensor().expect("a tensor"));
            assert_eq!(got.shape[0], n);
            let (size, tolerance) = (one.numel(), if one.dtype == Dtype::F32 { 1e-3 } else { 1e-9 });
            let rows = &numbers(got)[lane * size..(lane + 1) * size];
            same(&format!("result {k}, lane {lane}"), rows, &numbers(one), tolerance, &all);
        }
    }
    true
}

#[test]
fn random_programs_on_lanes() {
    let mut checked = 0;
    for seed in 0_u64..250 {
        let kind = if seed.is_multiple_of(2) { Kind::Any } else { Kind::Smooth };
        let n = 1 + seed as usize % 4;
        let case = random_case(kind, 7000 + seed, n);
        checked += usize::from(check(&case, case.func, &case.module, n));
    }
    assert!(checked > 150, "{checked}");
}

#[test]
fn gradients_on_lanes() {
    for seed in 0..80 {
        let case = random_case(Kind::Smooth, 9000 + seed, 3);
        let mut module = case.module.clone();
        let g = gradient(&mut module, case.func);
        assert!(check(&case, g, &module, 3));
    }
}

#[test]
fn gradients_of_mapped_programs() {
    for seed in 0..80 {
        let n = 1 + seed as usize % 3;
        let case = random_case(Kind::Smooth, 11_000 + seed, n);
        let mut one = case.module.clone();
        let each = gradient(&mut one, case.func);
        let mut all = case.module.clone();
        let g = mapped(&mut all, case.func, &case.mapped).expect("a scalar");
        // the sum over the lanes, then its gradient
        let mut b = Builder::new("total", Span::default());
        let args = params(&mut b, &all, g, None);
        let types = vec![Type::tensor(Dtype::F64, [Dim::Val(args[0])])];
        let rows = b.call(g, args, types);
        let total = b.sum(rows[0], vec![0]);
        let total = all.add(b.finish(vec![total]));
        let whole = gradient(&mut all, total);
        let mut args: Vec<Value> = vec![Tensor::from_ints(Dtype::I64, vec![], [n as i64]).into()];
        for (k, lanes) in case.lanes.iter().enumerate() {
            args.push(if case.mapped.contains(&k) { stacked(lanes, &lanes[0]) } else { lanes[0].clone() });
        }
        let (one, all) = (flat(&one, each), flat(&all, whole));
        let got = run(&all, FuncId(0), args);
        let lanes: Vec<Vec<Value>> =
            (0..n).map(|lane| run(&one, FuncId(0), case.lanes.iter().map(|l| l[lane].clone()).collect())).collect();
        for (k, p) in float_params(&case.module, case.func).into_iter().enumerate() {
            let parts: Vec<Vec<f64>> = lanes.iter().map(|l| numbers(l[k].tensor().expect("a tensor"))).collect();
            let want: Vec<f64> = match case.mapped.contains(&p) {
                true => parts.concat(),
                false => (0..parts[0].len()).map(|i| parts.iter().map(|r| r[i]).sum()).collect(),
            };
            same(&format!("gradient {k}"), &numbers(got[k].tensor().expect("a tensor")), &want, 1e-8, &all);
        }
    }
}

#[test]
fn no_lanes_at_all() {
    for seed in 0..40 {
        let case = random_case(Kind::Smooth, 13_000 + seed, 1);
        let mut module = case.module.clone();
        if case.mapped.is_empty() {
            continue;
        }
        let g = mapped(&mut module, case.func, &case.mapped).expect("a scalar");
        let mut args: Vec<Value> = vec![Tensor::from_ints(Dtype::I64, vec![], [0]).into()];
        for (k, lanes) in case.lanes.iter().enumerate() {
            args.push(if case.mapped.contains(&k) { stacked(&[], &lanes[0]) } else { lanes[0].clone() });
        }
        let got = run(&flat(&module, g), FuncId(0), args);
        assert_eq!(got[0].tensor().expect("a tensor").shape, vec![0]);
    }
}
