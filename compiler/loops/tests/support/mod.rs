//! An interpreter of loop IR that checks what compiled code only assumes: every access is in bounds and in live memory, kernel
//! arguments do not overlap, vector iterations and parallel chunks come in an order of their own.

#![allow(dead_code)]

pub mod check;
mod memory;
mod runtime;

use std::collections::HashMap;

use memory::{Memory, Pointer};
use tdl_ir::interp::{Host, Part, PlainHost, Tensor, Value};
use tdl_ir::op::{convert, fold};
use tdl_ir::{Dtype, Op, Piece, ReduceOp, Scalar, element};
use tdl_loops::ir::*;

#[derive(Clone, Debug, PartialEq)]
pub enum V {
    Scalar(Scalar),
    Ptr(Pointer),
    Str(std::sync::Arc<str>),
    Stack(usize),
}

/// The message of a failed check.
pub type Run<T> = Result<T, String>;

pub struct Machine<'p> {
    program: &'p Program,
    mem: Memory,
    stacks: Vec<Vec<u8>>,
    data: HashMap<u32, Pointer>,
    pub host: PlainHost,
    /// Allocations that a run makes, per statement count of the program's loops.
    pub allocs: usize,
    /// Bytes that have been copied from buffer to buffer.
    pub copied: usize,
    /// Groups of steps that were done in bands.
    pub bands: usize,
    /// What a profile has recorded: flops and bytes.
    pub tocks: Vec<(TaskId, i64, i64)>,
}

struct Frame<'r> {
    regs: &'r [RegData],
    values: Vec<Option<V>>,
    vector: bool,
}

impl Frame<'_> {
    fn set(&mut self, r: Reg, v: V) {
        self.values[r.0 as usize] = Some(v);
    }
}

pub fn int(v: &V) -> i64 {
    match v {
        V::Scalar(Scalar::Int(x)) => *x,
        other => panic!("{other:?} is no integer"),
    }
}

impl<'p> Machine<'p> {
    pub fn new(program: &'p Program) -> Machine<'p> {
        Machine {
            program,
            mem: Memory::default(),
            stacks: Vec::new(),
            data: HashMap::new(),
            host: PlainHost::default(),
            allocs: 0,
            copied: 0,
            bands: 0,
            tocks: Vec::new(),
        }
    }

    /// Calls a function of the program. All memory but the results must be free afterwards.
    pub fn run(&mut self, func: usize, args: &[Value]) -> Run<Vec<Value>> {
        let f = &self.program.funcs[func];
        let mut frame = Frame { regs: &f.regs, values: vec![None; f.regs.len()], vector: false };
        let mut owned = Vec::new();
        assert_eq!(args.len(), f.params.len(), "arguments of `{}`", f.name);
        for (p, a) in f.params.iter().zip(args) {
            match (p.ty, a) {
                (ResultTy::Str, Value::Str(s)) => frame.set(p.slots[0], V::Str(s.clone())),
                (ResultTy::Scalar(d), Value::Tensor(t)) => {
                    frame.set(p.slots[0], V::Scalar(element::read(&t.data, 0, d)))
                }
                (ResultTy::Tensor { .. }, Value::Tensor(t)) => {
                    let ptr = self.mem.alloc_with(t.data.to_vec(), true);
                    owned.push(ptr);
                    frame.set(p.slots[0], V::Ptr(ptr));
                    for (r, d) in p.slots[1..].iter().zip(&t.shape) {
                        frame.set(*r, V::Scalar(Scalar::Int(*d as i64)));
                    }
                }
                (ty, v) => panic!("{v:?} for a parameter {ty:?}"),
            }
        }
        let slots = self.block(&mut frame, &f.body)?.expect("a function returns");
        let mut slots = slots.into_iter();
        let mut results = Vec::new();
        for ty in &f.results {
            let first = slots.next().expect("a slot");
            results.push(match (*ty, first) {
                (ResultTy::Str, V::Str(s)) => Value::Str(s),
                (ResultTy::Scalar(d), V::Scalar(x)) => Value::Tensor(Tensor::scalar(x, d)),
                (ResultTy::Tensor { dtype, rank }, V::Ptr(p)) => {
                    let shape: Vec<usize> = (0..rank).map(|_| int(&slots.next().expect("a slot")) as usize).collect();
                    let bytes = shape.iter().product::<usize>() * dtype.size();
                    let t = Tensor::new(dtype, shape, self.mem.bytes(p, bytes)?.to_vec());
                    self.mem.free(p)?;
                    Value::Tensor(t)
                }
                (ty, v) => panic!("{v:?} for a result {ty:?}"),
            });
        }
        for p in owned {
            self.mem.free_unchecked(p);
        }
        for p in self.data.values() {
            self.mem.free_unchecked(*p);
        }
        self.data.clear();
        self.mem.all_free()?;
        Ok(results)
    }

    fn get(&self, f: &Frame<'_>, o: Operand) -> V {
        match o {
            Operand::Const(s, _) => V::Scalar(s),
            Operand::Reg(r) => match &f.values[r.0 as usize] {
                Some(v) => v.clone(),
                None => panic!("register {r:?} is not set"),
            },
        }
    }

    fn scalar(&self, f: &Frame<'_>, o: Operand) -> Scalar {
        match self.get(f, o) {
            V::Scalar(s) => s,
            other => panic!("{other:?} is no scalar"),
        }
    }

    fn int(&self, f: &Frame<'_>, o: Operand) -> i64 {
        int(&self.get(f, o))
    }

    fn ptr(&self, f: &Frame<'_>, r: Reg) -> Pointer {
        match self.get(f, r.into()) {
            V::Ptr(p) => p,
            other => panic!("{other:?} is no pointer"),
        }
    }

    fn index(&self, f: &Frame<'_>, i: &Index) -> i64 {
        i.offset + i.terms.iter().map(|t| self.int(f, t.reg.into()) * self.int(f, t.stride)).sum::<i64>()
    }

    fn expr(&mut self, f: &Frame<'_>, e: &Expr) -> Run<V> {
        let apply = |op: Op, args: &[Scalar], from: Dtype, to: Dtype| -> V {
            // The interpreter's fold refuses what programs assert away; compiled code gives some value.
            V::Scalar(fold(&op, args, from, to).unwrap_or(Scalar::Int(0)))
        };
        let s = |o: &Operand| self.scalar(f, *o);
        Ok(match e {
            Expr::Copy(x) => self.get(f, *x),
            Expr::Unary { op, dtype, x } => apply(Op::Unary(*op), &[s(x)], *dtype, *dtype),
            Expr::Binary { op, dtype, a, b } => apply(Op::Binary(*op), &[s(a), s(b)], *dtype, *dtype),
            Expr::Compare { op, dtype, a, b } => apply(Op::Compare(*op), &[s(a), s(b)], *dtype, Dtype::Bool),
            Expr::Select { dtype, cond, a, b } => match s(cond) {
                Scalar::Bool(c) => V::Scalar(element::canonical(if c { s(a) } else { s(b) }, *dtype)),
                other => panic!("{other:?} is no condition"),
            },
            Expr::Convert { from, to, x } => V::Scalar(convert(s(x), *from, *to)),
            Expr::Place(_) | Expr::Address(_) | Expr::Bits { .. } => unreachable!("kernels of a GPU are not run here"),
            Expr::MulAdd { dtype, a, b, c } => {
                let f = |o: &Operand| match s(o) {
                    Scalar::Float(x) => f64::from_bits(x),
                    other => panic!("{other:?} is no float"),
                };
                V::Scalar(element::canonical(Scalar::float(f(a).mul_add(f(b), f(c))), *dtype))
            }
            Expr::Load { ptr, dtype, index } => {
                let (p, i) = (self.ptr(f, *ptr), self.index(f, index));
                V::Scalar(self.mem.load(p, i, *dtype)?)
            }
            Expr::Index(i) => V::Scalar(Scalar::Int(self.index(f, i))),
            Expr::SizeMul { a, b } => V::Scalar(Scalar::Int(self.int(f, *a).saturating_mul(self.int(f, *b)))),
            Expr::IndexDiv { a, b } => V::Scalar(Scalar::Int(self.int(f, *a) / self.int(f, *b))),
            Expr::IndexRem { a, b } => V::Scalar(Scalar::Int(self.int(f, *a) % self.int(f, *b))),
            Expr::Offset { ptr, dtype, index } => {
                let (p, i) = (self.ptr(f, *ptr), self.index(f, index));
                V::Ptr(Pointer { offset: p.offset + i * dtype.size() as i64, ..p })
            }
            Expr::Data(d) => {
                let program = self.program;
                let mem = &mut self.mem;
                let make = || mem.alloc_with(program.data[d.0 as usize].to_vec(), true);
                V::Ptr(*self.data.entry(d.0).or_insert_with(make))
            }
            Expr::Text(t) => V::Str(t.clone()),
        })
    }

    fn fold_value(&self, op: ReduceOp, dtype: Dtype, a: Scalar, b: Scalar) -> Scalar {
        let combine = op.def().combine;
        fold(&Op::Binary(combine), &[a, b], dtype, dtype).expect("a reduction")
    }

    fn block(&mut self, f: &mut Frame<'_>, body: &[Stmt]) -> Run<Option<Vec<V>>> {
        for s in body {
            if let Stmt::Return { slots } = s {
                return Ok(Some(slots.iter().map(|o| self.get(f, *o)).collect()));
            }
            self.stmt(f, s)?;
        }
        Ok(None)
    }

    fn stmt(&mut self, f: &mut Frame<'_>, s: &Stmt) -> Run<()> {
        match s {
            Stmt::Let { dst, value } => {
                let v = self.expr(f, value)?;
                if let (RegTy::Scalar(d), V::Scalar(x)) = (f.regs[dst.0 as usize].ty, &v) {
                    assert_eq!(element::canonical(*x, d), *x, "{dst:?} holds a {d} that is none: {value:?}");
                }
                f.set(*dst, v);
            }
            Stmt::Store { ptr, dtype, index, value } => {
                let (p, i, x) = (self.ptr(f, *ptr), self.index(f, index), self.scalar(f, *value));
                self.mem.store(p, i, *dtype, x)?;
            }
            Stmt::Stream { dst, dtype, index, src, len } => {
                let (to, from, first) = (self.ptr(f, *dst), self.ptr(f, *src), self.index(f, index));
                for i in 0..self.int(f, *len) {
                    let x = self.mem.load(from, i, *dtype)?;
                    self.mem.store(to, first + i, *dtype, x)?;
                }
            }
            Stmt::Prefetch { .. } => {}
            Stmt::For(l) => self.for_loop(f, l)?,
            Stmt::If(i) => {
                let c = self.scalar(f, i.cond) == Scalar::Bool(true);
                self.block(f, if c { &i.then } else { &i.els })?;
                let values: Vec<V> = i.results.iter().map(|r| self.get(f, if c { r.then } else { r.els })).collect();
                for (r, v) in i.results.iter().zip(values) {
                    f.set(r.result, v);
                }
            }
            Stmt::While(w) => {
                for c in &w.carried {
                    let v = self.get(f, c.init);
                    f.set(c.param, v);
                }
                let mut count = 0;
                loop {
                    self.block(f, &w.cond_body)?;
                    if self.scalar(f, w.cond) != Scalar::Bool(true) {
                        break;
                    }
                    self.block(f, &w.body)?;
                    self.hand_on(f, &w.carried);
                    count += 1;
                    assert!(count < 1_000_000, "a loop does not end");
                }
                for c in &w.carried {
                    let v = self.get(f, c.param.into());
                    f.set(c.result, v);
                }
            }
            Stmt::Shared { .. } | Stmt::Barrier(_) | Stmt::Device(_) => {
                unreachable!("kernels of a GPU are not run here")
            }
            Stmt::Local { dst, dtype, len } => {
                let p = self.mem.alloc(dtype.size() * len);
                f.set(*dst, V::Ptr(p));
            }
            Stmt::Alloc { dst, bytes, site: _, ahead: _ } => {
                let n = self.int(f, *bytes);
                assert!(n >= 0, "allocation of {n} bytes");
                self.allocs += 1;
                let p = self.mem.alloc(n as usize);
                f.set(*dst, V::Ptr(p));
            }
            Stmt::Need { .. } => {}
            Stmt::Free { ptr } => self.mem.free(self.ptr(f, *ptr))?,
            Stmt::Launch { kernel, args, range, grain } => {
                let args: Vec<V> = args.iter().map(|a| self.get(f, *a)).collect();
                let (range, grain) = (self.int(f, *range), self.int(f, *grain));
                self.launch(*kernel, args, 0..range, grain)?;
            }
            Stmt::Bands(b) => self.bands(f, b)?,
            Stmt::CopyBytes { dst, src, bytes } => {
                let n = self.int(f, *bytes) as usize;
                self.copied += n;
                let from = self.mem.bytes(self.ptr(f, *src), n)?.to_vec();
                self.mem.bytes_mut(self.ptr(f, *dst), n)?.copy_from_slice(&from);
            }
            Stmt::ZeroBytes { dst, bytes } => {
                let n = self.int(f, *bytes) as usize;
                self.mem.bytes_mut(self.ptr(f, *dst), n)?.fill(0);
            }
            Stmt::Gemm(g) => self.gemm(f, g)?,
            Stmt::Runtime { call, site: _ } => self.runtime(f, call)?,
            Stmt::Print { pieces, args, end } => {
                let mut text = self.message(f, pieces, args)?;
                text.push_str(end);
                self.host.print(&text)?;
            }
            Stmt::Format { dst, pieces, args } => {
                let text = self.message(f, pieces, args)?;
                f.set(*dst, V::Str(text.into()));
            }
            Stmt::Assert { ok, kind: _, pieces, args, site: _ } => {
                if self.scalar(f, *ok) != Scalar::Bool(true) {
                    return Err(self.message(f, pieces, args)?);
                }
            }
            Stmt::Safepoint | Stmt::Debug { .. } => {}
            Stmt::Tick { dst } => f.set(*dst, V::Scalar(Scalar::Int(0))),
            Stmt::Tock(t) => {
                let (flops, bytes) = (self.int(f, t.flops), self.int(f, t.bytes));
                self.tocks.push((t.task, flops, bytes));
            }
            Stmt::Return { .. } => unreachable!("handled by the block"),
        }
        Ok(())
    }

    fn hand_on(&self, f: &mut Frame<'_>, carried: &[Carried]) {
        let next: Vec<V> = carried.iter().map(|c| self.get(f, c.next)).collect();
        for (c, v) in carried.iter().zip(next) {
            f.set(c.param, v);
        }
    }

    fn for_loop(&mut self, f: &mut Frame<'_>, l: &For) -> Run<()> {
        let (lo, hi, step) = (self.int(f, l.lo), self.int(f, l.hi), self.int(f, l.step));
        assert!(step > 0, "step {step}");
        for c in &l.carried {
            let v = self.get(f, c.init);
            f.set(c.param, v);
        }
        let mut acc: Vec<Scalar> = l.reductions.iter().map(|r| self.scalar(f, r.init)).collect();
        let mut order: Vec<i64> = (lo..hi).step_by(step as usize).collect();
        if l.kind == LoopKind::Vector {
            assert!(l.carried.is_empty(), "a vector loop carries nothing");
            assert!(!f.vector, "vector loops do not nest");
            order.reverse();
        }
        f.vector = l.kind == LoopKind::Vector;
        for i in order {
            f.set(l.var, V::Scalar(Scalar::Int(i)));
            self.block(f, &l.body)?;
            for (a, r) in acc.iter_mut().zip(&l.reductions) {
                *a = self.fold_value(r.op, r.dtype, *a, self.scalar(f, r.value));
            }
            self.hand_on(f, &l.carried);
        }
        f.vector = false;
        for (a, r) in acc.into_iter().zip(&l.reductions) {
            f.set(r.result, V::Scalar(a));
        }
        for c in &l.carried {
            let v = self.get(f, c.param.into());
            f.set(c.result, v);
        }
        Ok(())
    }

    /// The last chunk first: they must not care.
    fn bands(&mut self, f: &mut Frame<'_>, b: &Bands) -> Run<()> {
        let count = self.int(f, b.count);
        let mut chunks: Vec<i64> = (0..count).step_by(b.chunk as usize).collect();
        chunks.reverse();
        for lo in chunks {
            let hi = count.min(lo + b.chunk);
            let share = |range: i64| {
                assert_eq!(range % count, 0, "{count} bands of {range}");
                range / count * lo..range / count * hi
            };
            for s in &b.steps {
                match s {
                    Stmt::Launch { kernel, args, range, grain } => {
                        let args: Vec<V> = args.iter().map(|a| self.get(f, *a)).collect();
                        let (range, grain) = (self.int(f, *range), self.int(f, *grain));
                        self.launch(*kernel, args, share(range), grain)?;
                    }
                    Stmt::Gemm(g) => {
                        let mut part = g.clone();
                        let items = share(self.int(f, g.batch[0]));
                        part.batch[0] = Operand::i64(items.end - items.start);
                        for m in [&mut part.a, &mut part.b, &mut part.c] {
                            m.offset.offset += items.start * self.int(f, m.batch_strides[0]);
                        }
                        self.gemm(f, &part)?;
                    }
                    Stmt::Runtime { call: RuntimeCall::Windows(w), .. } => {
                        self.windows(f, w, share(self.int(f, w.counts[0])))?;
                    }
                    other => panic!("{other:?} in bands"),
                }
            }
        }
        self.bands += 1;
        Ok(())
    }

    fn launch(&mut self, id: KernelId, args: Vec<V>, range: std::ops::Range<i64>, grain: i64) -> Run<()> {
        let k = &self.program.kernels[id.0 as usize];
        assert!(grain > 0, "grain {grain} of {}", k.name);
        let pointers: Vec<Pointer> =
            args.iter().filter_map(|a| if let V::Ptr(p) = a { Some(*p) } else { None }).collect();
        for (i, p) in pointers.iter().enumerate() {
            assert!(pointers[..i].iter().all(|q| q.block != p.block), "arguments of {} overlap", k.name);
        }
        // Small chunks in reverse: a kernel must not care.
        let steps = range.end - range.start;
        let grain = if steps <= grain { steps } else { grain.min((steps + 2) / 3) }.max(1);
        let mut chunks: Vec<i64> = (range.start..range.end.max(range.start + 1)).step_by(grain as usize).collect();
        chunks.reverse();
        for lo in chunks {
            let mark = self.mem.mark();
            let mut frame = Frame { regs: &k.regs, values: vec![None; k.regs.len()], vector: false };
            for (p, a) in k.params.iter().zip(&args) {
                frame.set(p.reg, a.clone());
            }
            frame.set(k.lo, V::Scalar(Scalar::Int(lo)));
            frame.set(k.hi, V::Scalar(Scalar::Int((lo + grain).min(range.end))));
            self.block(&mut frame, &k.body).map_err(|e| format!("{}: {e}", k.name))?;
            self.mem.release(mark);
        }
        Ok(())
    }

    fn gemm(&mut self, f: &Frame<'_>, g: &Gemm) -> Run<()> {
        let n = |o: Operand| self.int(f, o);
        let (rows, cols, inner) = (n(g.m), n(g.n), n(g.k));
        let extents: Vec<i64> = g.batch.iter().map(|b| n(*b)).collect();
        for b in 0..extents.iter().product() {
            let mut at = vec![0; extents.len()];
            let mut rest = b;
            for k in (0..extents.len()).rev() {
                at[k] = rest % extents[k];
                rest /= extents[k];
            }
            let start = |m: &Matrix| {
                self.index(f, &m.offset)
                    + at.iter().zip(&m.batch_strides).map(|(i, s)| i * self.int(f, *s)).sum::<i64>()
            };
            let (a0, b0, c0) = (start(&g.a), start(&g.b), start(&g.c));
            let stride = |m: &Matrix| (self.int(f, m.row_stride), self.int(f, m.col_stride));
            let (sa, sb, sc) = (stride(&g.a), stride(&g.b), stride(&g.c));
            let (pa, pb, pc) = (self.ptr(f, g.a.ptr), self.ptr(f, g.b.ptr), self.ptr(f, g.c.ptr));
            assert!(pc.block != pa.block && pc.block != pb.block, "gemm over its operand");
            for i in 0..rows {
                for j in 0..cols {
                    let to = c0 + i * sc.0 + j * sc.1;
                    let float = |s: Scalar| match s {
                        Scalar::Float(x) => f64::from_bits(x),
                        other => panic!("{other:?} is no float"),
                    };
                    let mut sum = if g.accumulate { float(self.mem.load(pc, to, g.dtype)?) } else { 0.0 };
                    for k in 0..inner {
                        let x = float(self.mem.load(pa, a0 + i * sa.0 + k * sa.1, g.dtype)?);
                        let y = float(self.mem.load(pb, b0 + k * sb.0 + j * sb.1, g.dtype)?);
                        sum += x * y;
                    }
                    let sum = element::canonical(Scalar::float(sum), g.dtype);
                    self.mem.store(pc, to, g.dtype, sum)?;
                }
            }
        }
        Ok(())
    }

    fn value(&self, f: &Frame<'_>, a: &Arg) -> Run<Value> {
        Ok(match a {
            Arg::Scalar { value, dtype } => Value::Tensor(Tensor::scalar(self.scalar(f, *value), *dtype)),
            Arg::Str(r) => match self.get(f, (*r).into()) {
                V::Str(s) => Value::Str(s),
                other => panic!("{other:?} is no text"),
            },
            Arg::Tensor { ptr, dtype, dims } => {
                let shape: Vec<usize> = dims.iter().map(|d| self.int(f, *d) as usize).collect();
                let bytes = shape.iter().product::<usize>() * dtype.size();
                Value::Tensor(Tensor::new(*dtype, shape, self.mem.bytes(self.ptr(f, *ptr), bytes)?.to_vec()))
            }
        })
    }

    fn message(&mut self, f: &Frame<'_>, pieces: &[Piece], args: &[Arg]) -> Run<String> {
        let values: Vec<Value> = args.iter().map(|a| self.value(f, a)).collect::<Run<_>>()?;
        let mut next = values.iter();
        let parts: Vec<Part<'_>> = pieces
            .iter()
            .map(|p| match p {
                Piece::Text(t) => Part::Text(t),
                Piece::Value { spec } => Part::Value { value: next.next().expect("an argument"), spec },
            })
            .collect();
        Ok(self.host.format(&parts))
    }
}
