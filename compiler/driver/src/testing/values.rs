//! Values for properties: a type as a row of leaves, random tensors for them, and smaller ones.

use std::collections::HashMap;

use tdl_ir::interp::{Tensor, Value};
use tdl_ir::{Dim as Extent, Dtype, Function, Scalar};
use tdl_runtime::host::intern;
use tdl_types::thir::{FnDef, Program, Spread};
use tdl_types::ty::{Dim, Elem, Ty};
use tdl_types::{Fact, SizeExpr, SizeVar};

use crate::repl::fields;

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64, name: &str) -> Random {
        // FNV-1a, so that a property's values do not depend on what else is in the file
        let hash =
            name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        Random(seed ^ hash)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which is not zero.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

/// One IR parameter.
#[derive(Clone, Debug)]
pub(super) enum Leaf {
    Tensor {
        dtype: Dtype,
        dims: Vec<SizeExpr>,
    },
    Text,
    /// A generator's key or counter.
    Seed {
        counter: bool,
    },
    /// A size that a value carries along (`some k`).
    Size(SizeVar),
    /// An `i64` that later types use.
    Number(SizeVar),
}

/// An element of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Float(f64),
    Int(i64),
    Bool(bool),
}

impl From<Scalar> for Number {
    fn from(s: Scalar) -> Number {
        match s {
            Scalar::Float(bits) => Number::Float(f64::from_bits(bits)),
            Scalar::Int(i) => Number::Int(i),
            Scalar::Bool(b) => Number::Bool(b),
        }
    }
}

/// How a property's arguments look.
pub(super) struct Signature {
    /// What is free: size parameters first, in order.
    pub vars: Vec<SizeVar>,
    /// How many of them are parameters of the function.
    pub generics: usize,
    pub leaves: Vec<Leaf>,
    /// What sizes must be like.
    facts: Vec<Fact>,
    /// The leaves in the order of the compiled function's parameters.
    order: Vec<usize>,
}

impl Signature {
    /// None if a parameter has a type that no value can be made up for.
    pub fn new(program: &Program, def: &FnDef, facts: &[Fact]) -> Option<Signature> {
        let vars: Vec<SizeVar> = def.generics.iter().map(|g| SizeVar::Param(*g)).collect();
        let generics = vars.len();
        let mut out = Signature { generics, vars, leaves: Vec::new(), facts: facts.to_vec(), order: Vec::new() };
        let mut starts = Vec::new();
        let mut used = Vec::new();
        def.params.iter().for_each(|p| p.ty.visit_sizes(&mut |v| used.push(v)));
        facts.iter().for_each(|f| f.visit_vars(&mut |v| used.push(v)));
        for p in &def.params {
            starts.push(out.leaves.len());
            let number = SizeVar::Local(p.local);
            if p.ty == Ty::I64 && used.contains(&number) {
                out.vars.push(number);
                out.leaves.push(Leaf::Number(number));
            } else {
                out.flatten(program, &p.ty, &[])?;
            }
        }
        starts.push(out.leaves.len());
        out.order = tdl_elaborate::parameter_order(def).into_iter().flat_map(|i| starts[i]..starts[i + 1]).collect();
        Some(out)
    }

    fn admits(&self, sizes: &[i64]) -> bool {
        self.facts.iter().all(|f| f.eval(&|v| size(self, sizes, v)) == Some(true))
    }

    fn flatten(&mut self, program: &Program, ty: &Ty, front: &[SizeExpr]) -> Option<()> {
        match ty {
            Ty::Tensor(Elem::Dtype(dtype), shape) => {
                let mut dims = front.to_vec();
                dims.extend(extents(shape)?);
                self.leaves.push(Leaf::Tensor { dtype: *dtype, dims });
            }
            Ty::Tuple(items) => {
                for t in items {
                    self.flatten(program, t, front)?;
                }
            }
            Ty::Struct(..) => {
                for (_, t) in fields(program, ty) {
                    self.flatten(program, &t, front)?;
                }
            }
            Ty::Stack(shape, elem) => {
                let mut dims = front.to_vec();
                dims.extend(extents(shape)?);
                self.flatten(program, elem, &dims)?;
            }
            Ty::Exists(vars, inner) => {
                self.vars.extend(vars);
                self.leaves.extend(vars.iter().map(|v| Leaf::Size(*v)));
                self.flatten(program, inner, front)?;
            }
            Ty::Str if front.is_empty() => self.leaves.push(Leaf::Text),
            Ty::Rng if front.is_empty() => {
                self.leaves.extend([Leaf::Seed { counter: false }, Leaf::Seed { counter: true }]);
            }
            Ty::Tensor(Elem::Param(_) | Elem::Infer(_), _)
            | Ty::Str
            | Ty::Rng
            | Ty::Error
            | Ty::Never
            | Ty::Param(_)
            | Ty::Fn(_)
            | Ty::Infer(_) => return None,
        }
        Some(())
    }
}

fn extents(shape: &[Dim]) -> Option<Vec<SizeExpr>> {
    let extent = |d: &Dim| match d {
        Dim::Size(e) => Some(e.clone()),
        // `..s` is tried with one axis
        Dim::Spread(Spread::Param(g)) => Some(SizeExpr::var(SizeVar::Param(*g))),
        Dim::Spread(Spread::Infer(_)) => None,
    };
    shape.iter().map(extent).collect()
}

/// The kind of numbers a case is made of.
#[derive(Clone, Copy)]
pub(super) enum Flavour {
    /// Integers from -3 to 3.
    Small,
    /// Normal, of one scale.
    Normal(f64),
    /// Zeros of both signs, ones, the largest, the smallest, denormals among others; with `true` inf and nan.
    Special(bool),
}

/// Arguments of one trial.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Case {
    /// Of `Signature::vars`.
    pub sizes: Vec<i64>,
    /// Of `Signature::leaves`.
    pub leaves: Vec<Value>,
}

impl Case {
    /// None if a size comes out negative or huge, or does not fulfil the facts.
    pub fn random(signature: &Signature, sizes: Vec<i64>, flavour: Flavour, random: &mut Random) -> Option<Case> {
        if !signature.admits(&sizes) {
            return None;
        }
        let mut leaves = Vec::new();
        for leaf in &signature.leaves {
            leaves.push(match leaf {
                Leaf::Tensor { dtype, dims } => {
                    let shape = shape(signature, &sizes, dims)?;
                    let n = shape.iter().product();
                    tensor(*dtype, shape, (0..n).map(|_| number(*dtype, flavour, random)).collect())
                }
                Leaf::Text => {
                    const TEXTS: [&str; 6] = ["", "a", "tdl", "zwölf Ω", "a,b c", "\"{0}\""];
                    Value::Str(TEXTS[random.below(6) as usize].into())
                }
                Leaf::Seed { counter: false } => Value::int(random.below(1 << 31) as i64),
                Leaf::Seed { counter: true } => Value::int(0),
                Leaf::Size(v) | Leaf::Number(v) => Value::int(size(signature, &sizes, *v)?),
            });
        }
        Some(Case { sizes, leaves })
    }

    /// What the compiled function takes: a text by its number. Before a tensor come those of its extents that are no sizes by themselves (`n + 1`).
    pub fn arguments(&self, signature: &Signature, func: &Function) -> Vec<Value> {
        let mut out: Vec<Value> = self.sizes[..signature.generics].iter().map(|s| Value::int(*s)).collect();
        for i in &signature.order {
            let leaf = &self.leaves[*i];
            if let Value::Tensor(t) = leaf {
                let mut extents = Vec::new();
                let own = func.params()[out.len()..].iter().find(|p| {
                    let tensor = func.ty(**p).rank() > 0;
                    extents.extend((!tensor).then_some(Extent::Val(**p)));
                    tensor
                });
                if let (Some(own), false) = (own, t.shape.is_empty()) {
                    let place = |d: &Extent| func.ty(*own).dims().iter().position(|e| e == d);
                    out.extend(extents.iter().filter_map(place).map(|k| Value::int(t.shape[k] as i64)));
                }
            }
            out.push(match leaf {
                Value::Str(text) => Value::int(intern(text)),
                Value::Tensor(_) | Value::Stack(_) => leaf.clone(),
            });
        }
        out
    }

    /// The same values with other sizes: what is too much is cut off, at the front if `last` are kept.
    fn resized(&self, signature: &Signature, sizes: Vec<i64>, last: bool) -> Option<Case> {
        if !signature.admits(&sizes) {
            return None;
        }
        let mut leaves = Vec::new();
        for (leaf, old) in signature.leaves.iter().zip(&self.leaves) {
            leaves.push(match (leaf, old) {
                (Leaf::Tensor { dims, .. }, Value::Tensor(t)) => {
                    let shape = shape(signature, &sizes, dims)?;
                    let n: usize = shape.iter().product();
                    let elements = (0..n).map(|i| at(t, &shape, i, last)).collect();
                    tensor(t.dtype, shape, elements)
                }
                (Leaf::Size(v) | Leaf::Number(v), _) => Value::int(size(signature, &sizes, *v)?),
                (Leaf::Tensor { .. } | Leaf::Text | Leaf::Seed { .. }, old) => old.clone(),
            });
        }
        Some(Case { sizes, leaves })
    }

    /// Cases that are simpler, the simplest first.
    pub fn simpler(&self, signature: &Signature) -> Vec<Case> {
        let mut out = Vec::new();
        for (i, size) in self.sizes.iter().enumerate() {
            let mut tried = Vec::new();
            for smaller in [0, 1, size / 2, size - 1] {
                if smaller < *size && smaller >= 0 && !tried.contains(&smaller) {
                    tried.push(smaller);
                    let mut sizes = self.sizes.clone();
                    sizes[i] = smaller;
                    out.extend(self.resized(signature, sizes.clone(), false));
                    out.extend(self.resized(signature, sizes, true));
                }
            }
        }
        for (i, leaf) in signature.leaves.iter().enumerate() {
            let mut with = |value: Value| {
                let mut case = self.clone();
                case.leaves[i] = value;
                if case != *self {
                    out.push(case);
                }
            };
            match (leaf, &self.leaves[i]) {
                (Leaf::Tensor { .. }, Value::Tensor(t)) => simpler_tensors(t).into_iter().for_each(&mut with),
                (Leaf::Text, _) => with(Value::Str("".into())),
                (Leaf::Seed { .. }, _) => with(Value::int(0)),
                (Leaf::Tensor { .. } | Leaf::Size(_) | Leaf::Number(_), _) => {}
            }
        }
        out
    }
}

/// How many elements of a tensor are made simpler one by one.
const ONE_BY_ONE: usize = 32;

fn simpler_tensors(t: &Tensor) -> Vec<Value> {
    let elements: Vec<Number> = t.elements().map(Number::from).collect();
    let mut out = vec![tensor(t.dtype, t.shape.clone(), vec![zero(t.dtype); elements.len()])];
    let whole = |x: &Number| match x {
        Number::Float(x) if x.is_finite() => Number::Float(x.trunc()),
        other => *other,
    };
    out.push(tensor(t.dtype, t.shape.clone(), elements.iter().map(whole).collect()));
    for (i, x) in elements.iter().enumerate().take(ONE_BY_ONE) {
        let simple: Vec<Number> = match x {
            Number::Float(x) if *x == 0.0 => Vec::new(),
            Number::Float(x) => {
                let mut all = vec![0.0, 1.0, 2.0, -1.0];
                if x.is_finite() {
                    all.extend([x.trunc(), (x / 2.0).trunc(), (x * 8.0).trunc() / 8.0]);
                }
                let simpler = |y: &f64| complexity(*y) < complexity(*x);
                all.into_iter().filter(simpler).map(Number::Float).collect()
            }
            Number::Int(x) => {
                // from far to near: half of it, three quarters, …, one less
                let near = (1..63).map(|k| x / (1i64 << k)).take_while(|d| *d != 0).map(|d| x - d);
                let all = [0, 1].into_iter().chain(near).chain([x - x.signum()]);
                all.filter(|y| y.unsigned_abs() < x.unsigned_abs()).map(Number::Int).collect()
            }
            Number::Bool(true) => vec![Number::Bool(false)],
            Number::Bool(false) => Vec::new(),
        };
        for s in simple {
            let mut new = elements.clone();
            new[i] = s;
            out.push(tensor(t.dtype, t.shape.clone(), new));
        }
    }
    out
}

/// Smaller is easier to read: 0, 1, 2, -1, small integers, integers, fractions, what is not finite.
fn complexity(x: f64) -> (u8, f64) {
    let rank = match x {
        0.0 => 0,
        1.0 => 1,
        2.0 => 2,
        -1.0 => 3,
        _ if !x.is_finite() => 7,
        _ if x == x.trunc() => 4,
        _ if x * 8.0 == (x * 8.0).trunc() => 5,
        _ => 6,
    };
    (rank, if x.is_nan() { f64::INFINITY } else { x.abs() })
}

fn zero(dtype: Dtype) -> Number {
    match dtype {
        Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64 => Number::Float(0.0),
        Dtype::Bool => Number::Bool(false),
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 | Dtype::U8 | Dtype::U32 | Dtype::U64 => Number::Int(0),
    }
}

/// Element `i` of a tensor of this shape in a tensor of another, zero where that has none. The first elements of each
/// axis correspond, or the last.
fn at(t: &Tensor, shape: &[usize], i: usize, last: bool) -> Number {
    let (mut rest, mut old, mut stride) = (i, 0, 1);
    for (new, have) in shape.iter().zip(&t.shape).rev() {
        let k = rest % new + if last { have.saturating_sub(*new) } else { 0 };
        rest /= new;
        if k >= *have {
            return zero(t.dtype);
        }
        old += k * stride;
        stride *= have;
    }
    t.get(old).into()
}

fn tensor(dtype: Dtype, shape: Vec<usize>, elements: Vec<Number>) -> Value {
    let float = |s: &Number| match s {
        Number::Float(x) => *x,
        Number::Int(i) => *i as f64,
        Number::Bool(b) => f64::from(u8::from(*b)),
    };
    let int = |s: &Number| match s {
        Number::Int(i) => *i,
        Number::Float(x) => *x as i64,
        Number::Bool(b) => i64::from(*b),
    };
    match zero(dtype) {
        Number::Float(_) => Tensor::from_floats(dtype, shape, elements.iter().map(float)).into(),
        Number::Int(_) => Tensor::from_ints(dtype, shape, elements.iter().map(int)).into(),
        Number::Bool(_) => Tensor::from_bools(shape, elements.iter().map(|s| matches!(s, Number::Bool(true)))).into(),
    }
}

fn size(signature: &Signature, sizes: &[i64], var: SizeVar) -> Option<i64> {
    let i = signature.vars.iter().position(|v| *v == var)?;
    sizes.get(i).copied()
}

fn shape(signature: &Signature, sizes: &[i64], dims: &[SizeExpr]) -> Option<Vec<usize>> {
    let known: HashMap<SizeVar, i64> = signature.vars.iter().copied().zip(sizes.iter().copied()).collect();
    let extent = |e: &SizeExpr| e.eval(&|v| known.get(&v).copied()).and_then(|n| usize::try_from(n).ok());
    let shape: Vec<usize> = dims.iter().map(extent).collect::<Option<_>>()?;
    (shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))? <= 1 << 20).then_some(shape)
}

fn number(dtype: Dtype, flavour: Flavour, random: &mut Random) -> Number {
    let special = matches!(flavour, Flavour::Special(_)) && random.below(2) == 0;
    let float = |random: &mut Random, max: f64, min: f64, tiny: f64| -> f64 {
        match flavour {
            Flavour::Small => random.below(7) as f64 - 3.0,
            Flavour::Normal(scale) => scale * random.normal(),
            Flavour::Special(_) if !special => random.normal(),
            Flavour::Special(non_finite) => {
                let values =
                    [0.0, -0.0, 1.0, -1.0, 0.5, max, -max, min, tiny, -tiny, f64::INFINITY, -f64::INFINITY, f64::NAN];
                values[random.below(if non_finite { 13 } else { 10 }) as usize]
            }
        }
    };
    let int = |random: &mut Random, min: i64, max: i64| -> i64 {
        match flavour {
            Flavour::Special(_) if special => [min, max, 0, 1, min.saturating_add(1)][random.below(5) as usize],
            Flavour::Small => (random.below(7) as i64 - 3).clamp(min, max),
            Flavour::Normal(_) | Flavour::Special(_) => (random.below(201) as i64 - 100).clamp(min, max),
        }
    };
    match dtype {
        Dtype::F64 => Number::Float(float(random, f64::MAX, f64::MIN_POSITIVE, 5e-324)),
        Dtype::F32 => Number::Float(float(random, f32::MAX.into(), f32::MIN_POSITIVE.into(), 1.401_298_464e-45)),
        Dtype::F16 => Number::Float(float(random, 65504.0, 6.103_515_625e-5, 5.960_464_477_539_063e-8)),
        Dtype::Bf16 => Number::Float(float(random, 3.389_531_389_251_535_5e38, f32::MIN_POSITIVE.into(), 9.2e-41)),
        Dtype::I8 => Number::Int(int(random, -128, 127)),
        Dtype::I16 => Number::Int(int(random, -32768, 32767)),
        Dtype::I32 => Number::Int(int(random, i32::MIN.into(), i32::MAX.into())),
        Dtype::I64 => Number::Int(int(random, i64::MIN, i64::MAX)),
        Dtype::U8 => Number::Int(int(random, 0, 255)),
        Dtype::U32 => Number::Int(int(random, 0, u32::MAX.into())),
        Dtype::U64 => Number::Int(int(random, 0, i64::MAX)),
        Dtype::Bool => Number::Bool(random.below(2) == 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let draw = |seed, name| (0..4).map(|_| 0).scan(Random::new(seed, name), |r, _: i32| Some(r.next())).collect();
        let a: Vec<u64> = draw(1, "p");
        assert_eq!(a, draw(1, "p"));
        assert_ne!(a, draw(2, "p"));
        assert_ne!(a, draw(1, "q"));
    }

    #[test]
    fn cutting_a_tensor_keeps_what_is_left() {
        let t = Tensor::from_ints(Dtype::I64, vec![2, 3], 0..6);
        let small: Vec<Number> = (0..2).map(|i| at(&t, &[2, 1], i, false)).collect();
        assert_eq!(small, [Number::Int(0), Number::Int(3)]);
        let tail: Vec<Number> = (0..2).map(|i| at(&t, &[1, 2], i, true)).collect();
        assert_eq!(tail, [Number::Int(4), Number::Int(5)]);
        let wide: Vec<Number> = (0..8).map(|i| at(&t, &[2, 4], i, false)).collect();
        assert_eq!(wide[3], Number::Int(0));
        assert_eq!(wide[4], Number::Int(3));
    }

    #[test]
    fn simpler_numbers_come_to_an_end() {
        let mut t = Tensor::from_floats(Dtype::F64, vec![1], [-1234.567]);
        for step in 0..100 {
            let Some(Value::Tensor(next)) = simpler_tensors(&t).into_iter().find(|v| v.tensor() != Some(&t)) else {
                return assert!(step > 0, "-1234.567 is not simplest");
            };
            t = next;
        }
        panic!("never ends");
    }
}
