//! The steps a random program is made of.

use super::{Entry, Gen, Kind, LIMIT};
use crate::op::Dist;
use crate::{AssertKind, BinaryOp, CompareOp, Dim, Dtype, Op, Piece, ReduceOp, ScanOp, Type, UnaryOp, Update, ValueId};

impl Gen<'_> {
    /// Adds a few instructions; nothing where the pool has no operands for the chosen step.
    pub(super) fn step(&mut self) {
        let smooth = self.kind == Kind::Smooth;
        let done = match self.rng.below(24) {
            0..=3 => self.unary(),
            4..=7 => self.binary(),
            8 => self.select(),
            9..=11 => self.movement(),
            12 => self.reduce(),
            13 => self.contract(),
            14 => self.gather(),
            15 => self.update(),
            16 => self.scan_or_sort(),
            17 => self.branch(),
            18 => self.counted_loop(),
            19 => self.while_loop(),
            20 => self.call(),
            23 => self.guarded_read(),
            21 if !smooth => self.integers(),
            22 if !smooth => self.draw_or_mask(),
            _ => self.unary(),
        };
        if done.is_none() {
            let _ = self.unary();
        }
    }

    fn unary(&mut self) -> Option<()> {
        let x = self.float(0..self.ranks())?;
        let (v, b) = (x.v, x.bound);
        let one = self.b.full_like(1.0, v);
        let (op, arg, bound) = match self.rng.below(15) {
            0 => (UnaryOp::Neg, v, b),
            1 => (UnaryOp::Tanh, v, 1.0),
            2 => (UnaryOp::Sigmoid, v, 1.0),
            3 => (UnaryOp::Sin, v, 1.0),
            4 => (UnaryOp::Cos, v, 1.0),
            5 => (UnaryOp::Erf, v, 1.0),
            6 => (UnaryOp::Atan, v, 1.6),
            7 if b <= 2.0 => (UnaryOp::Exp, v, b.exp()),
            8 if b <= 2.0 => (UnaryOp::Expm1, v, b.exp()),
            9 if b <= 2.0 => (UnaryOp::Sinh, v, b.sinh()),
            k @ 10..=13 => {
                let square = self.b.mul(v, v);
                match k {
                    10 => (UnaryOp::Log1p, square, b * b),
                    11 => (UnaryOp::Rsqrt, self.b.add(one, square), 1.0),
                    12 => (UnaryOp::Sqrt, self.b.add(one, square), b + 1.0),
                    _ => (UnaryOp::Log, self.b.add(one, square), b * b),
                }
            }
            14 if self.kind == Kind::Any => (UnaryOp::Abs, v, b),
            _ => (UnaryOp::Tanh, v, 1.0),
        };
        let y = self.b.unary(op, arg);
        self.push_float(y, bound);
        Some(())
    }

    /// A second operand of the same type.
    fn partner(&mut self, x: &Entry) -> Entry {
        let ty = x.ty.clone();
        self.any(|e| e.ty == ty).unwrap_or_else(|| x.clone())
    }

    fn binary(&mut self) -> Option<()> {
        let x = self.float(0..self.ranks())?;
        let y = self.partner(&x);
        let (v, bound) = match self.rng.below(6) {
            0 => (self.b.add(x.v, y.v), x.bound + y.bound),
            1 => (self.b.sub(x.v, y.v), x.bound + y.bound),
            2 => (self.b.mul(x.v, y.v), x.bound * y.bound),
            3 => {
                let one = self.b.full_like(1.0, y.v);
                let square = self.b.mul(y.v, y.v);
                let d = self.b.add(one, square);
                (self.b.div(x.v, d), x.bound)
            }
            4 if self.kind == Kind::Any => (self.b.binary(BinaryOp::Max, x.v, y.v), x.bound.max(y.bound)),
            5 if self.kind == Kind::Any => (self.b.binary(BinaryOp::Min, x.v, y.v), x.bound.max(y.bound)),
            _ => {
                let two = self.b.full_like(2.0, x.v);
                (self.b.binary(BinaryOp::Pow, x.v, two), x.bound * x.bound)
            }
        };
        self.push_float(v, bound);
        Some(())
    }

    /// A bool scalar that does not depend on rounding.
    fn condition(&mut self) -> ValueId {
        if let Some(e) = self.any(|e| e.ty == Type::scalar(Dtype::Bool))
            && self.rng.chance(2)
        {
            return e.v;
        }
        if let Some(x) = self.exact_scalar()
            && self.rng.chance(2)
        {
            let cut = self.constant(0.07);
            return self.b.compare(CompareOp::Lt, x, cut);
        }
        let c = 3 + self.rng.below(4) as i64;
        let c = self.int(c);
        self.b.compare(CompareOp::Lt, self.n, c)
    }

    /// A float that is bit for bit the same everywhere.
    fn exact_scalar(&mut self) -> Option<ValueId> {
        let n = Dim::Val(self.n);
        let x = self.any(|e| e.exact && e.ty.is_float_tensor() && (e.ty.dims() == [n] || e.ty.is_scalar()))?;
        if x.ty.is_scalar() {
            return Some(x.v);
        }
        let at = self.rng.below(3) as i64;
        let at = self.int(at);
        Some(self.b.index0(x.v, at))
    }

    /// A small number, not negative: the size, a constant, or one that depends on an input.
    fn count(&mut self) -> ValueId {
        match (self.rng.below(4), self.exact_scalar()) {
            (0, _) => self.n,
            (1, _) | (_, None) => self.int(2),
            (_, Some(x)) => {
                let x = self.b.unary(UnaryOp::Abs, x);
                let c = self.constant(3.7);
                let scaled = self.b.mul(x, c);
                let k = self.b.convert(scaled, Dtype::I64);
                let most = self.int(5);
                self.b.binary(BinaryOp::Min, k, most)
            }
        }
    }

    /// A row that is there only for some numbers, read, checked and written where it is.
    fn guarded_read(&mut self) -> Option<()> {
        let n = Dim::Val(self.n);
        let x = self.any(|e| e.ty.is_float_tensor() && e.ty.dims().first() == Some(&n))?;
        let k = self.count();
        let there = self.b.compare(CompareOp::Lt, k, self.n);
        let writes = self.rng.chance(2);
        let ty = if writes { x.ty.clone() } else { Type::tensor(self.dtype, &x.ty.dims()[1..]) };
        self.b.begin_region();
        let ok = self.b.compare(CompareOp::Lt, k, self.n);
        let pieces = vec![Piece::Text("no such row".into())];
        self.b.inst(Op::Assert { kind: AssertKind::Index, pieces }, vec![ok], Vec::new(), Vec::new());
        let mut row = self.b.index0(x.v, k);
        if writes {
            let half = self.b.full_like(0.5, row);
            let less = self.b.mul(row, half);
            row = self.b.update0(x.v, k, less, if self.rng.chance(2) { Update::Set } else { Update::Add });
        }
        let then = self.b.end_region(vec![row]);
        self.b.begin_region();
        let other = if writes { x.v } else { self.b.full(0.25, self.dtype, ty.dims()) };
        let els = self.b.end_region(vec![other]);
        let v = self.b.inst(Op::If, vec![there], vec![ty], vec![then, els])[0];
        self.push_float(v, 1.5 * x.bound + 0.25);
        Some(())
    }

    /// A mask that does not depend on rounding, of the shape `dims`.
    fn mask(&mut self, dims: &[Dim]) -> ValueId {
        let of_shape = |e: &Entry| e.exact && e.ty.dims() == dims && e.ty.is_float_tensor();
        if let Some(e) = self.any(of_shape) {
            let cut = self.b.full(0.1, self.dtype, dims);
            return self.b.compare(CompareOp::Lt, e.v, cut);
        }
        let c = self.condition();
        self.b.splat(c, dims)
    }

    fn select(&mut self) -> Option<()> {
        let x = self.float(0..self.ranks())?;
        let y = self.partner(&x);
        let c = self.mask(x.ty.dims());
        let v = self.b.select(c, x.v, y.v);
        self.push_float(v, x.bound.max(y.bound));
        Some(())
    }

    fn movement(&mut self) -> Option<()> {
        let x = self.float(0..self.ranks())?;
        let dims = x.ty.dims().to_vec();
        let rank = dims.len();
        let axis = self.rng.below(rank);
        let v = match self.rng.below(7) {
            0 if rank + 1 < self.ranks() => {
                let at = self.rng.below(rank + 1);
                let extent = [Dim::Const(1), Dim::Const(3), Dim::Const(4), Dim::Val(self.n)][self.rng.below(4)];
                let mut wide = dims;
                wide.insert(at, extent);
                self.b.expand(x.v, vec![at], &wide)
            }
            1 if rank > 1 => {
                let mut perm: Vec<usize> = (0..rank).collect();
                perm.rotate_left(1 + self.rng.below(rank - 1));
                self.b.permute(x.v, perm)
            }
            2 if rank > 1 => {
                let n = self.b.numel(&dims);
                let n = self.b.dim(n);
                let flat = self.b.reshape(x.v, &[n]);
                let doubled = self.b.add(flat, flat);
                self.b.reshape(doubled, &dims)
            }
            3 if rank > 0 => self.slice(&x, axis),
            4 if rank > 0 => self.b.inst1(Op::Flip { axes: vec![axis] }, vec![x.v], x.ty.clone()),
            5 if rank > 0 => {
                let y = self.partner(&x);
                let d = self.b.dim_value(dims[axis]);
                let total = self.b.size_binary(BinaryOp::Add, d, d);
                let mut wide = dims;
                wide[axis] = self.b.dim(total);
                let ty = Type::tensor(self.dtype, wide);
                let bound = x.bound.max(y.bound);
                let v = self.b.inst1(Op::Concat { axis }, vec![x.v, y.v], ty);
                self.push(v, bound, x.exact && y.exact);
                return Some(());
            }
            _ if rank + 1 < self.ranks() => {
                let mut wide = dims;
                wide.push(Dim::Const(2));
                self.b.expand(x.v, vec![rank], &wide)
            }
            _ if dims[axis] == Dim::Const(0) => self.b.sum(x.v, vec![axis]),
            _ => self.b.reduce(ReduceOp::Max, x.v, vec![axis]),
        };
        self.push_float(v, 2.0 * x.bound);
        Some(())
    }

    /// Two of the elements along an axis, from the front or the back.
    fn slice(&mut self, x: &Entry, axis: usize) -> ValueId {
        let mut dims = x.ty.dims().to_vec();
        let zero = self.int(0);
        let mut starts = vec![zero; dims.len()];
        let mut steps = vec![1; dims.len()];
        let large = !matches!(dims[axis], Dim::Const(0..=2));
        if large && self.rng.chance(2) {
            let d = self.b.dim_value(dims[axis]);
            let two = self.int(2);
            starts[axis] = self.b.size_binary(BinaryOp::Sub, d, two);
        } else if large {
            steps[axis] = 2;
        }
        let extent = if let Dim::Const(c @ 0..=1) = dims[axis] { c } else { 2 };
        dims[axis] = Dim::Const(extent);
        let mut args = vec![x.v];
        args.extend(starts);
        self.b.inst1(Op::Slice { steps }, args, Type::tensor(self.dtype, dims))
    }

    fn reduce(&mut self) -> Option<()> {
        let x = self.float(1..self.ranks())?;
        let axes: Vec<usize> = (0..x.ty.rank()).filter(|_| self.rng.chance(2)).collect();
        let axes = if axes.is_empty() { vec![x.ty.rank() - 1] } else { axes };
        if self.kind == Kind::Any && self.rng.chance(3) {
            let v = self.b.reduce(ReduceOp::Max, x.v, axes);
            self.push_float(v, x.bound);
            return Some(());
        }
        let s = self.b.sum(x.v, axes);
        let c = self.b.full_like(0.125, s);
        let v = self.b.mul(s, c);
        self.push_float(v, 8.0 * x.bound);
        Some(())
    }

    fn contract(&mut self) -> Option<()> {
        let x = self.float(1..3)?;
        let shared = *x.ty.dims().last()?;
        let y =
            self.any(|e| e.ty.is_float_tensor() && (1..3).contains(&e.ty.rank()) && e.ty.dims().contains(&shared))?;
        let lhs: Vec<u8> = (0..x.ty.rank() as u8).map(|i| b'a' + i).collect();
        let k = *lhs.last()?;
        let at = y.ty.dims().iter().position(|d| *d == shared)?;
        let mut rhs: Vec<u8> = (0..y.ty.rank() as u8).map(|i| b'p' + i).collect();
        rhs[at] = k;
        let mut out: Vec<u8> = lhs.iter().chain(&rhs).copied().filter(|l| *l != k).collect();
        if out.len() > 1 && self.rng.chance(2) {
            out.reverse();
        }
        let p = self.b.contract(x.v, y.v, &lhs, &rhs, &out);
        let c = self.b.full_like(0.125, p);
        let v = self.b.mul(p, c);
        self.push_float(v, 4.0 * x.bound * y.bound);
        Some(())
    }

    /// `i64[k]` within the rows of `x`.
    fn rows(&mut self, x: &Entry) -> ValueId {
        let k = Dim::Const(1 + self.rng.below(5) as i64);
        let ids = match self.any(|e| e.ty.dtype() == Some(Dtype::I64) && e.ty.rank() == 1) {
            Some(e) if self.rng.chance(2) => e.v,
            Some(_) | None => self.b.inst1(Op::Iota, vec![], Type::tensor(Dtype::I64, [k])),
        };
        let n = self.b.dim_value(x.ty.dims()[0]);
        let dims = self.b.dims(ids);
        let n = self.b.splat(n, &dims);
        self.b.binary(BinaryOp::Rem, ids, n)
    }

    fn with_rows(&mut self) -> Option<Entry> {
        self.any(|e| e.ty.is_float_tensor() && e.ty.rank() > 0 && e.ty.dims()[0] != Dim::Const(0))
    }

    fn gather(&mut self) -> Option<()> {
        let x = self.with_rows()?;
        let ids = self.rows(&x);
        let mut dims = self.b.dims(ids);
        dims.extend(&x.ty.dims()[1..]);
        let v = self.b.inst1(Op::Gather, vec![x.v, ids], Type::tensor(self.dtype, dims));
        self.push(v, x.bound, x.exact);
        if self.rng.chance(2) {
            let mode = if self.rng.chance(2) { Update::Add } else { Update::Set };
            let s = self.b.inst1(Op::Scatter { mode }, vec![x.v, ids, v], x.ty.clone());
            self.push_float(s, 8.0 * x.bound);
        }
        Some(())
    }

    fn update(&mut self) -> Option<()> {
        let x = self.float(1..self.ranks())?;
        let axis = self.rng.below(x.ty.rank());
        let u = self.slice(&x, axis);
        let u = self.b.unary(UnaryOp::Cos, u);
        let zero = self.int(0);
        let mut args = vec![x.v, u];
        args.extend(vec![zero; x.ty.rank()]);
        let mode = if self.rng.chance(2) { Update::Add } else { Update::Set };
        let op = Op::UpdateSlice { steps: vec![1; x.ty.rank()], mode };
        let v = self.b.inst1(op, args, x.ty.clone());
        self.push_float(v, x.bound + 1.0);
        Some(())
    }

    fn scan_or_sort(&mut self) -> Option<()> {
        let x = self.any(|e| e.exact && e.ty.is_float_tensor() && e.ty.rank() > 0)?;
        let axis = self.rng.below(x.ty.rank());
        if self.rng.chance(2) {
            let op = Op::Scan { op: ScanOp::Sum, axis, reverse: self.rng.chance(2) };
            let s = self.b.inst1(op, vec![x.v], x.ty.clone());
            let c = self.b.full_like(0.25, s);
            let v = self.b.mul(s, c);
            self.push_float(v, 2.0 * x.bound);
            return Some(());
        }
        let ids = Type::tensor(Dtype::I64, x.ty.dims());
        let op = Op::Sort { axis, descending: self.rng.chance(2) };
        let out = self.b.inst(op, vec![x.v], vec![x.ty.clone(), ids], Vec::new());
        self.push(out[0], x.bound, true);
        self.push(out[1], 0.0, true);
        if self.kind == Kind::Any {
            let kept: Vec<Dim> = x.ty.dims().iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, d)| *d).collect();
            let op = Op::ArgReduce { max: self.rng.chance(2), axis };
            let v = self.b.inst1(op, vec![x.v], Type::tensor(Dtype::I64, kept));
            self.push(v, 0.0, true);
        }
        Some(())
    }

    /// A few steps that see the pool and leave only the latest value of a type behind.
    fn nested(&mut self, ty: &Type) -> ValueId {
        let before = self.pool.len();
        self.depth += 1;
        for _ in 0..1 + self.rng.below(3) {
            self.step();
        }
        self.depth -= 1;
        let e = self.latest(ty);
        self.pool.truncate(before);
        e.v
    }

    fn branch(&mut self) -> Option<()> {
        if self.depth > 1 {
            return None;
        }
        let x = self.float(0..self.ranks())?;
        let c = self.condition();
        self.b.begin_region();
        let yes = self.nested(&x.ty);
        let then = self.b.end_region(vec![yes]);
        self.b.begin_region();
        let no = self.nested(&x.ty);
        let els = self.b.end_region(vec![no]);
        let v = self.b.inst(Op::If, vec![c], vec![x.ty.clone()], vec![then, els])[0];
        self.push_float(v, LIMIT);
        Some(())
    }

    fn counted_loop(&mut self) -> Option<()> {
        if self.depth > 1 {
            return None;
        }
        let x = self.float(0..self.ranks())?;
        let trips = self.count();
        let before = self.pool.len();
        self.b.begin_region();
        let i = self.b.param(Type::scalar(Dtype::I64));
        let acc = self.b.param(x.ty.clone());
        self.b.name_value(i, "i");
        self.b.name_value(acc, "acc");
        self.push(i, 0.0, true);
        self.push(acc, x.bound.max(1.0), false);
        let y = self.nested(&x.ty);
        let y = self.b.unary(UnaryOp::Tanh, y);
        let body = self.b.end_region(vec![y]);
        self.pool.truncate(before);
        let v = self.b.inst(Op::For, vec![trips, x.v], vec![x.ty.clone()], vec![body])[0];
        self.push_float(v, x.bound.max(1.0));
        Some(())
    }

    fn while_loop(&mut self) -> Option<()> {
        if self.depth > 1 {
            return None;
        }
        let x = self.float(0..self.ranks())?;
        let count = Type::scalar(Dtype::I64);
        let (zero, one) = (self.int(0), self.int(1));
        let limit = self.count();
        self.b.begin_region();
        let k = self.b.param(count.clone());
        self.b.param(x.ty.clone());
        let go = self.b.compare(CompareOp::Lt, k, limit);
        let cond = self.b.end_region(vec![go]);
        let before = self.pool.len();
        self.b.begin_region();
        let k = self.b.param(count.clone());
        let acc = self.b.param(x.ty.clone());
        self.push(acc, x.bound.max(1.0), false);
        let y = self.nested(&x.ty);
        let y = self.b.unary(UnaryOp::Sin, y);
        let next = self.b.add(k, one);
        let body = self.b.end_region(vec![next, y]);
        self.pool.truncate(before);
        let out = self.b.inst(Op::While, vec![zero, x.v], vec![count, x.ty.clone()], vec![cond, body]);
        self.push_float(out[1], x.bound.max(1.0));
        Some(())
    }

    fn call(&mut self) -> Option<()> {
        if self.helpers.is_empty() {
            return None;
        }
        let func = self.helpers[self.rng.below(self.helpers.len())];
        let row = Type::tensor(self.dtype, [Dim::Val(self.n)]);
        let (r, s) = (row.clone(), Type::scalar(self.dtype));
        let x = self.any(|e| e.ty == r)?;
        let s = match self.any(|e| e.ty == s) {
            Some(e) => e.v,
            None => self.constant(0.5),
        };
        let types = vec![row, Type::scalar(self.dtype)];
        let out = self.b.call(func, vec![self.n, x.v, s], types);
        self.push(out[0], LIMIT, false);
        self.push(out[1], LIMIT, false);
        Some(())
    }

    fn integers(&mut self) -> Option<()> {
        let x = self.any(|e| e.ty.dtype() == Some(Dtype::I64))?;
        let y = self.partner(&x);
        let op = [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Max, BinaryOp::Min, BinaryOp::Xor];
        let v = match self.rng.below(8) {
            k @ 0..=5 => self.b.binary(op[k], x.v, y.v),
            6 => {
                let dims = self.b.dims(x.v);
                let d = self.int(7);
                let d = self.b.splat(d, &dims);
                let rest = self.b.binary(BinaryOp::Rem, x.v, d);
                let f = self.b.convert(rest, self.dtype);
                let c = self.b.full_like(0.2, f);
                let scaled = self.b.mul(f, c);
                self.push_float(scaled, 1.4);
                self.b.binary(BinaryOp::FloorDiv, x.v, d)
            }
            _ => {
                let narrow = self.b.convert(x.v, Dtype::I16);
                self.b.convert(narrow, Dtype::I64)
            }
        };
        self.push(v, 0.0, true);
        Some(())
    }

    fn draw_or_mask(&mut self) -> Option<()> {
        if self.rng.chance(2) {
            let key = self.rng.below(1000) as i64;
            let (key, counter) = (self.int(key), self.int(5));
            let dims = [Dim::Val(self.n), Dim::Const(3)];
            let dist = if self.rng.chance(2) { Dist::Uniform } else { Dist::Normal };
            let v = self.b.inst1(Op::Random { dist }, vec![key, counter], Type::tensor(self.dtype, dims));
            let bound = if dist == Dist::Uniform { 1.0 } else { 7.0 };
            self.push(v, bound, true);
            return Some(());
        }
        let x = self.any(|e| e.ty.is_float_tensor() && e.ty.rank() == 1)?;
        let mask = self.mask(x.ty.dims());
        let k = Dim::Val(self.b.next_value(0));
        let types = vec![Type::scalar(Dtype::I64), Type::tensor(Dtype::I64, [k])];
        let out = self.b.inst(Op::Nonzero, vec![mask], types, Vec::new());
        let picked = self.b.inst1(Op::Gather, vec![x.v, out[1]], Type::tensor(self.dtype, [k]));
        let s = self.b.sum(picked, vec![0]);
        let c = self.constant(0.125);
        let v = self.b.mul(s, c);
        self.push(out[0], 0.0, true);
        self.push_float(v, 4.0 * x.bound);
        Some(())
    }
}
