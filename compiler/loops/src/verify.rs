//! Checks the invariants of a program: single assignment, visibility, types, what a kernel may hold.

use rustc_hash::FxHashSet;
use tdl_ir::{Dtype, UnaryOp};
use tdl_source::InternalError;

use crate::ir::*;

/// Says what is wrong first, with the function or kernel it is in.
pub fn verify(program: &Program) -> Result<(), InternalError> {
    let fail = |name: &str, message: String| InternalError {
        pass: "loops".into(),
        message: format!("`{name}`: {message}"),
        ir: Some(crate::print(program)),
    };
    for f in &program.funcs {
        let mut c = Checker::new(program, &f.regs);
        for p in &f.params {
            c.define_all(&p.slots).map_err(|e| fail(&f.name, e))?;
        }
        c.block(&f.body).map_err(|e| fail(&f.name, e))?;
        if !matches!(f.body.last(), Some(Stmt::Return { slots }) if slots.len() == f.results.iter().map(|r| r.slots()).sum::<usize>())
        {
            return Err(fail(&f.name, "it does not end with a return of its result slots".into()));
        }
    }
    for k in &program.kernels {
        if k.grid.is_some() != (program.target == Target::Gpu) {
            return Err(fail(&k.name, "it is a kernel of another target".into()));
        }
        let mut c = Checker { kernel: true, grid: k.grid.is_some(), ..Checker::new(program, &k.regs) };
        let bounds = k.grid.map_or(vec![k.lo, k.hi], |g| vec![g.range]);
        let params = k.params.iter().map(|p| p.reg).chain(bounds).collect::<Vec<_>>();
        c.define_all(&params).map_err(|e| fail(&k.name, e))?;
        c.block(&k.body).map_err(|e| fail(&k.name, e))?;
    }
    Ok(())
}

struct Checker<'p> {
    program: &'p Program,
    regs: &'p [RegData],
    /// What is visible now.
    seen: FxHashSet<Reg>,
    kernel: bool,
    grid: bool,
    vector: bool,
}

type Check = Result<(), String>;

impl<'p> Checker<'p> {
    fn new(program: &'p Program, regs: &'p [RegData]) -> Checker<'p> {
        Checker { program, regs, seen: FxHashSet::default(), kernel: false, grid: false, vector: false }
    }

    fn define(&mut self, r: Reg) -> Check {
        if r.0 as usize >= self.regs.len() {
            return Err(format!("register {} does not exist", r.0));
        }
        if !self.seen.insert(r) {
            return Err(format!("register {} is assigned twice", r.0));
        }
        Ok(())
    }

    fn define_all(&mut self, rs: &[Reg]) -> Check {
        rs.iter().try_for_each(|r| self.define(*r))
    }

    fn ty(&self, o: Operand) -> RegTy {
        match o {
            Operand::Reg(r) => self.regs[r.0 as usize].ty,
            Operand::Const(_, d) => RegTy::Scalar(d),
        }
    }

    fn expect(&self, o: Operand, ty: RegTy) -> Check {
        let found = self.ty(o);
        if found == ty { Ok(()) } else { Err(format!("{o:?} is {found:?}, not {ty:?}")) }
    }

    fn scalar(&self, o: Operand, dtype: Dtype) -> Check {
        self.expect(o, RegTy::Scalar(dtype))
    }

    fn index(&self, i: &Index) -> Check {
        i.terms.iter().try_for_each(|t| {
            self.scalar(t.reg.into(), Dtype::I64)?;
            self.scalar(t.stride, Dtype::I64)
        })
    }

    fn block(&mut self, body: &[Stmt]) -> Check {
        let outer = self.seen.clone();
        self.statements(body)?;
        self.seen = outer;
        Ok(())
    }

    fn statements(&mut self, body: &[Stmt]) -> Check {
        body.iter().try_for_each(|s| self.stmt(s))
    }

    fn visible(&self, o: Operand) -> Check {
        match o {
            Operand::Reg(r) if !self.seen.contains(&r) => Err(format!("register {} is not visible", r.0)),
            Operand::Reg(_) | Operand::Const(..) => Ok(()),
        }
    }

    fn stmt(&mut self, s: &Stmt) -> Check {
        let mut result = Ok(());
        s.visit(&mut |o| {
            if result.is_ok() {
                result = self.visible(o);
            }
        });
        result.map_err(|e| format!("{e} in {s:?}"))?;
        if self.kernel
            && !matches!(
                s,
                Stmt::Let { .. }
                    | Stmt::Store { .. }
                    | Stmt::Stream { .. }
                    | Stmt::Prefetch { .. }
                    | Stmt::For(_)
                    | Stmt::If(_)
                    | Stmt::Local { .. }
                    | Stmt::Shared { .. }
                    | Stmt::Barrier(_)
                    | Stmt::Device(_)
            )
        {
            return Err(format!("a kernel may not hold {s:?}"));
        }
        let gpu = matches!(s, Stmt::Shared { .. } | Stmt::Barrier(_) | Stmt::Device(_));
        let cpu = match s {
            Stmt::Stream { .. } | Stmt::Prefetch { .. } => true,
            Stmt::For(l) => l.kind == LoopKind::Vector,
            _ => false,
        };
        if gpu && !self.grid || cpu && self.grid {
            return Err(format!("a kernel of another target holds {s:?}"));
        }
        if self.vector && !matches!(s, Stmt::Let { .. } | Stmt::Store { .. }) {
            return Err(format!("a vector loop may not hold {s:?}"));
        }
        self.types(s).map_err(|e| format!("{e} in {s:?}"))?;
        if s.blocks().is_empty() {
            return self.define_all(&s.defs());
        }
        let outer = self.seen.clone();
        match s {
            Stmt::For(l) => {
                if l.kind == LoopKind::Vector && !l.carried.is_empty() {
                    return Err("a vector loop carries registers".into());
                }
                self.define(l.var)?;
                l.carried.iter().try_for_each(|c| self.define(c.param))?;
                let vector = std::mem::replace(&mut self.vector, l.kind == LoopKind::Vector);
                self.statements(&l.body)?;
                self.vector = vector;
                l.carried.iter().try_for_each(|c| self.visible(c.next))?;
                l.reductions.iter().try_for_each(|r| self.visible(r.value))?;
            }
            Stmt::If(i) => {
                self.statements(&i.then)?;
                i.results.iter().try_for_each(|r| self.visible(r.then))?;
                self.seen = outer.clone();
                self.statements(&i.els)?;
                i.results.iter().try_for_each(|r| self.visible(r.els))?;
            }
            Stmt::While(w) => {
                w.carried.iter().try_for_each(|c| self.define(c.param))?;
                let params = self.seen.clone();
                self.statements(&w.cond_body)?;
                self.visible(w.cond)?;
                self.seen = params;
                self.statements(&w.body)?;
                w.carried.iter().try_for_each(|c| self.visible(c.next))?;
            }
            Stmt::Bands(b) => self.statements(&b.steps)?,
            _ => {}
        }
        self.seen = outer;
        s.defs().into_iter().try_for_each(|r| self.define(r))
    }

    fn types(&self, s: &Stmt) -> Check {
        let i64 = |o: Operand| self.scalar(o, Dtype::I64);
        match s {
            Stmt::Let { dst, value } => {
                let ty = self.expr(value)?;
                self.expect((*dst).into(), ty)
            }
            Stmt::Store { ptr, dtype, index, value } => {
                self.expect((*ptr).into(), RegTy::Ptr)?;
                self.index(index)?;
                self.scalar(*value, *dtype)
            }
            Stmt::For(l) => {
                i64(l.lo)?;
                i64(l.hi)?;
                i64(l.step)?;
                self.carried(&l.carried)?;
                l.reductions.iter().try_for_each(|r| {
                    self.scalar(r.init, r.dtype)?;
                    self.scalar(r.value, r.dtype)?;
                    self.scalar(r.result.into(), r.dtype)
                })
            }
            Stmt::If(i) => {
                self.scalar(i.cond, Dtype::Bool)?;
                i.results.iter().try_for_each(|r| {
                    let ty = self.ty(r.result.into());
                    self.expect(r.then, ty)?;
                    self.expect(r.els, ty)
                })
            }
            Stmt::While(w) => {
                self.scalar(w.cond, Dtype::Bool)?;
                self.carried(&w.carried)
            }
            Stmt::Launch { kernel, args, range, grain } => {
                let Some(k) = self.program.kernels.get(kernel.0 as usize) else {
                    return Err("the kernel does not exist".into());
                };
                if k.params.len() != args.len() {
                    return Err(format!("{} takes {} arguments", k.name, k.params.len()));
                }
                i64(*range)?;
                i64(*grain)?;
                args.iter().zip(&k.params).try_for_each(|(a, p)| self.expect(*a, k.regs[p.reg.0 as usize].ty))
            }
            Stmt::Bands(b) => {
                let step = |s: &Stmt| {
                    matches!(
                        s,
                        Stmt::Launch { .. } | Stmt::Gemm(_) | Stmt::Runtime { call: RuntimeCall::Windows(_), .. }
                    )
                };
                if b.chunk < 1 || !b.steps.iter().all(step) {
                    return Err("bands of something else than launches, products and convolutions".into());
                }
                i64(b.count)
            }
            Stmt::Alloc { bytes, .. } => i64(*bytes),
            Stmt::Need { ptr, bytes, site: _ } => {
                self.expect((*ptr).into(), RegTy::Ptr)?;
                i64(*bytes)
            }
            Stmt::CopyBytes { dst, src, bytes } => {
                self.expect((*dst).into(), RegTy::Ptr)?;
                self.expect((*src).into(), RegTy::Ptr)?;
                i64(*bytes)
            }
            Stmt::ZeroBytes { dst, bytes } => {
                self.expect((*dst).into(), RegTy::Ptr)?;
                i64(*bytes)
            }
            Stmt::Stream { dst, dtype: _, index: _, src, len } => {
                self.expect((*dst).into(), RegTy::Ptr)?;
                self.expect((*src).into(), RegTy::Ptr)?;
                i64(*len)
            }
            Stmt::Prefetch { ptr, .. } => self.expect((*ptr).into(), RegTy::Ptr),
            Stmt::Free { ptr } => self.expect((*ptr).into(), RegTy::Ptr),
            Stmt::Tick { dst } => i64((*dst).into()),
            Stmt::Tock(t) => {
                if self.program.tasks.as_ref().is_none_or(|all| all.len() <= t.task.0 as usize) {
                    return Err("the task does not exist".into());
                }
                [t.since.into(), t.flops, t.bytes].into_iter().chain(t.dims.iter().copied()).try_for_each(i64)
            }
            Stmt::Assert { ok, .. } => self.scalar(*ok, Dtype::Bool),
            Stmt::Gemm(g) => [g.m, g.n, g.k].into_iter().chain(g.batch.iter().copied()).try_for_each(i64),
            Stmt::Device(d) => self.device(d),
            Stmt::Barrier(Per::Thread) => Err("a barrier of one thread".into()),
            Stmt::Local { .. }
            | Stmt::Shared { .. }
            | Stmt::Barrier(_)
            | Stmt::Runtime { .. }
            | Stmt::Print { .. }
            | Stmt::Format { .. }
            | Stmt::Debug { .. }
            | Stmt::Safepoint
            | Stmt::Return { .. } => Ok(()),
        }
    }

    fn device(&self, d: &Device) -> Check {
        let wide = |len: usize, dtype: Dtype| match len.is_power_of_two() && len * dtype.size() <= WIDE {
            true => Ok(()),
            false => Err(format!("an access to {len} elements")),
        };
        let place = |ptr: Reg, index: &Index| {
            self.expect(ptr.into(), RegTy::Ptr)?;
            self.index(index)
        };
        let all = |regs: &[Reg], dtype| regs.iter().try_for_each(|r| self.scalar((*r).into(), dtype));
        match d {
            Device::Load { dst, ptr, dtype, index } => {
                wide(dst.len(), *dtype)?;
                place(*ptr, index)?;
                all(dst, *dtype)
            }
            Device::Store { ptr, dtype, index, values } => {
                wide(values.len(), *dtype)?;
                place(*ptr, index)?;
                values.iter().try_for_each(|v| self.scalar(*v, *dtype))
            }
            Device::Shuffle { dst, dtype, x, xor } => {
                if *xor as usize >= WARP {
                    return Err(format!("a warp has {WARP} threads"));
                }
                self.scalar((*dst).into(), *dtype)?;
                self.scalar(*x, *dtype)
            }
            Device::Matrices { dst, ptr, dtype: _, index, transposed: _ } => {
                place(*ptr, index)?;
                all(dst, Dtype::U32)
            }
            Device::Product { dst, dtype, a, b, c } => {
                if !matches!(dtype, Dtype::F16 | Dtype::Bf16) {
                    return Err(format!("there is no such product of {dtype}"));
                }
                all(a, Dtype::U32)?;
                all(b, Dtype::U32)?;
                all(dst, Dtype::F32)?;
                c.iter().try_for_each(|x| self.scalar(*x, Dtype::F32))
            }
            Device::Copy { to, at, from, index, dtype: _, inside } => {
                place(*to, at)?;
                place(*from, index)?;
                self.scalar(*inside, Dtype::Bool)
            }
            Device::Group | Device::Wait { .. } => Ok(()),
        }
    }

    fn carried(&self, carried: &[Carried]) -> Check {
        carried.iter().try_for_each(|c| {
            let ty = self.ty(c.param.into());
            self.expect(c.init, ty)?;
            self.expect(c.next, ty)?;
            self.expect(c.result.into(), ty)
        })
    }

    fn expr(&self, e: &Expr) -> Result<RegTy, String> {
        Ok(RegTy::Scalar(match e {
            Expr::Copy(x) => return Ok(self.ty(*x)),
            Expr::Unary { op, dtype, x } => {
                self.scalar(*x, *dtype)?;
                if matches!(op, UnaryOp::IsNan | UnaryOp::IsFinite) { Dtype::Bool } else { *dtype }
            }
            Expr::Binary { op: _, dtype, a, b } => {
                self.scalar(*a, *dtype)?;
                self.scalar(*b, *dtype)?;
                *dtype
            }
            Expr::Compare { op: _, dtype, a, b } => {
                self.scalar(*a, *dtype)?;
                self.scalar(*b, *dtype)?;
                Dtype::Bool
            }
            Expr::Select { dtype, cond, a, b } => {
                self.scalar(*cond, Dtype::Bool)?;
                self.scalar(*a, *dtype)?;
                self.scalar(*b, *dtype)?;
                *dtype
            }
            Expr::Bits { from, to, x } => {
                if from.size() != to.size() {
                    return Err(format!("{from} and {to} have not the same size"));
                }
                self.scalar(*x, *from)?;
                *to
            }
            Expr::Convert { from, to, x } => {
                self.scalar(*x, *from)?;
                *to
            }
            Expr::MulAdd { dtype, a, b, c } => {
                [a, b, c].into_iter().try_for_each(|o| self.scalar(*o, *dtype))?;
                *dtype
            }
            Expr::Load { ptr, dtype, index } => {
                self.expect((*ptr).into(), RegTy::Ptr)?;
                self.index(index)?;
                *dtype
            }
            Expr::Index(i) => {
                self.index(i)?;
                Dtype::I64
            }
            Expr::IndexDiv { a, b } | Expr::IndexRem { a, b } | Expr::SizeMul { a, b } => {
                self.scalar(*a, Dtype::I64)?;
                self.scalar(*b, Dtype::I64)?;
                Dtype::I64
            }
            Expr::Offset { .. } if self.grid => return Err("a kernel of a GPU has no addresses of parts".into()),
            Expr::Offset { ptr, dtype: _, index } => {
                self.expect((*ptr).into(), RegTy::Ptr)?;
                self.index(index)?;
                return Ok(RegTy::Ptr);
            }
            Expr::Place(_) | Expr::Address(_) if self.grid => Dtype::I64,
            Expr::Place(_) | Expr::Address(_) => return Err("the host is not in a grid".into()),
            Expr::Data(_) => return Ok(RegTy::Ptr),
            Expr::Text(_) => return Ok(RegTy::Str),
        }))
    }
}
