//! Random well-typed programs for tests: differential (interpreter against compiled code), passes, text form, gradients.
//!
//! Values stay well conditioned: every float has a bound, and what decides (conditions, order, positions) is computed from
//! inputs and integers alone, so that rounding never changes the course of a program.

mod steps;

use tdl_source::Span;

use crate::interp::{Tensor, Value};
use crate::{Builder, Dim, Dtype, FuncId, Function, Module, Op, Scalar, Type, UnaryOp, ValueId};

/// What kind of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything; floats are `f32` or `f64`.
    Any,
    /// One smooth `f64` scalar of float inputs, of ranks 0 to 4 and with extents 0 and 1 among them: for gradients against
    /// finite differences.
    Smooth,
}

/// A module whose entry `main` takes the returned arguments. Equal seeds give equal programs; `size` is about the number of
/// steps, each a few instructions. The program never fails.
pub fn random_module(seed: u64, size: usize) -> (Module, Vec<Value>) {
    random_module_of(Kind::Any, seed, size)
}

pub fn random_module_of(kind: Kind, seed: u64, size: usize) -> (Module, Vec<Value>) {
    let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66);
    let dtype = if kind == Kind::Smooth || rng.chance(2) { Dtype::F64 } else { Dtype::F32 };
    let mut module = Module::default();
    let n_helpers = rng.below(3);
    for k in 0..n_helpers {
        let (f, _) = Gen::new(kind, dtype, &mut rng, &format!("helper{k}"), Vec::new()).helper(size / 4 + 1);
        module.add(f);
    }
    let helpers: Vec<FuncId> = module.ids().collect();
    let (main, args) = Gen::new(kind, dtype, &mut rng, "main", helpers).main(size);
    module.entry = Some(module.add(main));
    (module, args)
}

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// True once in `n` times.
    fn chance(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A value that later steps may use.
#[derive(Clone, Debug)]
struct Entry {
    v: ValueId,
    ty: Type,
    /// No element is larger in magnitude (floats).
    bound: f64,
    /// Bit for bit the same everywhere.
    exact: bool,
}

/// Larger floats are brought down by `tanh`.
const LIMIT: f64 = 8.0;

struct Gen<'r> {
    b: Builder,
    rng: &'r mut Rng,
    kind: Kind,
    dtype: Dtype,
    helpers: Vec<FuncId>,
    pool: Vec<Entry>,
    /// The size parameter: at least 3 at run time.
    n: ValueId,
    depth: usize,
}

impl<'r> Gen<'r> {
    fn new(kind: Kind, dtype: Dtype, rng: &'r mut Rng, name: &str, helpers: Vec<FuncId>) -> Gen<'r> {
        let mut b = Builder::new(name, Span::default());
        let n = b.param(Type::scalar(Dtype::I64));
        b.name_value(n, "n");
        Gen { b, rng, kind, dtype, helpers, pool: Vec::new(), n, depth: 0 }
    }

    /// `(n, x: [n], s) -> ([n], scalar)`
    fn helper(mut self, size: usize) -> (Function, Vec<Value>) {
        let dtype = self.dtype;
        let row = Type::tensor(dtype, [Dim::Val(self.n)]);
        for (name, ty) in [("x", row.clone()), ("s", Type::scalar(dtype))] {
            let v = self.b.param(ty);
            self.b.name_value(v, name);
            self.push(v, LIMIT, false);
        }
        for _ in 0..size {
            self.step();
        }
        let results = [row, Type::scalar(dtype)].map(|ty| {
            let e = self.latest(&ty);
            self.tame(e)
        });
        (self.b.finish(results.map(|e| e.v).to_vec()), Vec::new())
    }

    fn main(mut self, size: usize) -> (Function, Vec<Value>) {
        let n = 3 + self.rng.below(4) as i64;
        let mut args = vec![Value::int(n)];
        let sym = Dim::Val(self.n);
        let mut shapes: Vec<Vec<Dim>> = vec![
            vec![sym],
            vec![sym, Dim::Const(4)],
            vec![Dim::Const(4), Dim::Const(3)],
            vec![],
            vec![Dim::Const(2), sym, Dim::Const(3)],
        ];
        shapes.truncate(2 + self.rng.below(4));
        if self.kind == Kind::Smooth {
            let [zero, one, two] = [0, 1, 2].map(Dim::Const);
            let odd = [vec![one], vec![sym, one], vec![zero, Dim::Const(3)], vec![two, one, sym, two], vec![one, zero]];
            shapes.extend(odd.into_iter().filter(|_| self.rng.chance(3)));
        }
        for (k, dims) in shapes.into_iter().enumerate() {
            let shape: Vec<usize> = dims.iter().map(|d| if let Dim::Const(c) = d { *c } else { n } as usize).collect();
            let numel = shape.iter().product::<usize>();
            let values: Vec<f64> = (0..numel).map(|_| 2.0 * self.rng.unit() - 1.0).collect();
            args.push(Tensor::from_floats(self.dtype, shape, values).into());
            let v = self.b.param(Type::tensor(self.dtype, dims));
            self.b.name_value(v, ["x", "y", "w", "s", "z"].get(k).unwrap_or(&"odd"));
            self.push(v, 1.0, true);
        }
        if self.kind == Kind::Any {
            let v = self.b.param(Type::tensor(Dtype::I64, [sym]));
            let ids: Vec<i64> = (0..n).map(|_| self.rng.below(100) as i64 - 50).collect();
            args.push(Tensor::from_ints(Dtype::I64, vec![n as usize], ids).into());
            self.b.name_value(v, "ids");
            self.push(v, 0.0, true);
            let v = self.b.param(Type::scalar(Dtype::Bool));
            args.push(Tensor::from_bools(vec![], [self.rng.chance(2)]).into());
            self.b.name_value(v, "flag");
            self.push(v, 0.0, true);
        }
        for _ in 0..size {
            self.step();
        }
        let results = match self.kind {
            Kind::Any => {
                let from = self.pool.len().saturating_sub(5);
                let last: Vec<Entry> = self.pool[from..].to_vec();
                last.iter().map(|e| e.v).collect()
            }
            Kind::Smooth => vec![self.total()],
        };
        (self.b.finish(results), args)
    }

    /// A scalar that every float of the pool contributes to.
    fn total(&mut self) -> ValueId {
        let mut sum = self.b.const_num(0.0, self.dtype);
        for e in self.pool.clone() {
            if e.ty.is_float_tensor() {
                let axes: Vec<usize> = (0..e.ty.rank()).collect();
                let s = self.b.sum(e.v, axes);
                let s = self.b.unary(UnaryOp::Tanh, s);
                sum = self.b.add(sum, s);
            }
        }
        sum
    }

    fn push(&mut self, v: ValueId, bound: f64, exact: bool) -> Entry {
        let e = Entry { v, ty: self.b.ty(v).clone(), bound, exact };
        self.pool.push(e.clone());
        e
    }

    /// Adds a float, brought below the limit.
    fn push_float(&mut self, v: ValueId, bound: f64) {
        let e = Entry { v, ty: self.b.ty(v).clone(), bound, exact: false };
        let e = self.tame(e);
        self.pool.push(e);
    }

    fn tame(&mut self, e: Entry) -> Entry {
        if e.bound <= LIMIT || !e.ty.is_float_tensor() {
            return e;
        }
        let v = self.b.unary(UnaryOp::Tanh, e.v);
        Entry { v, bound: 1.0, exact: false, ..e }
    }

    /// A random entry that fits.
    fn any(&mut self, fits: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let all: Vec<usize> = (0..self.pool.len()).filter(|i| fits(&self.pool[*i])).collect();
        if all.is_empty() {
            return None;
        }
        // Later values are likelier, so that programs are deep.
        let k = self.rng.below(all.len()).max(self.rng.below(all.len()));
        Some(self.pool[all[k]].clone())
    }

    /// More than any value's rank.
    fn ranks(&self) -> usize {
        match self.kind {
            Kind::Any => 4,
            Kind::Smooth => 5,
        }
    }

    fn float(&mut self, ranks: std::ops::Range<usize>) -> Option<Entry> {
        self.any(|e| e.ty.is_float_tensor() && ranks.contains(&e.ty.rank()))
    }

    /// The latest entry of a type; there is one.
    fn latest(&self, ty: &Type) -> Entry {
        self.pool.iter().rev().find(|e| e.ty == *ty).expect("the type comes from the pool").clone()
    }

    fn constant(&mut self, x: f64) -> ValueId {
        self.b.const_num(x, self.dtype)
    }

    fn int(&mut self, x: i64) -> ValueId {
        self.b.inst1(Op::Const(Scalar::Int(x)), vec![], Type::scalar(Dtype::I64))
    }
}

#[cfg(test)]
mod tests;
