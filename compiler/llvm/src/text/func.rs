//! Functions: structured control flow as basic blocks. A loop's registers are phis in its head.

use std::collections::HashSet;
use std::fmt::Write;

use tdl_ir::{Dtype, ReduceOp, Scalar};
use tdl_loops::ir::{
    Carried, Expr, For, Func, If, Index, LoopKind, Operand, Program, Reduction, Reg, RegData, RegTy, Stmt, Target,
    While,
};

use super::float::int_of;
use super::gpu::Machine;
use super::{Globals, literal, llty, memty, symbol};

/// Emits one function's body.
pub(crate) struct Emit<'a> {
    pub g: &'a mut Globals,
    pub program: &'a Program,
    pub regs: &'a [RegData],
    pub out: String,
    /// Stack slots, which stand in the entry block.
    pub slots: String,
    /// What each register is called.
    names: Vec<String>,
    next: usize,
    label: String,
    /// Access group of the vector loop around.
    group: Option<usize>,
    /// Registers that the vector loop around defines.
    inner: HashSet<Reg>,
    pub fails: bool,
    /// Scope and variables for a debugger.
    pub debug: Option<super::debug::Host>,
    /// Writes past the caches, which others see after a fence.
    pub(super) streams: bool,
    /// What runs this code.
    pub machine: Machine,
    /// Memory of one thread.
    pub private: HashSet<Reg>,
    /// Bytes that the threads of a block share so far, and places where they meet.
    pub shared_bytes: usize,
    pub meetings: usize,
    /// The kernel's number.
    pub kernel: usize,
}

/// Bytes of a cache line.
const LINE: usize = 64;

pub(super) fn reg_ty(ty: RegTy) -> &'static str {
    match ty {
        RegTy::Scalar(d) => llty(d),
        RegTy::Ptr | RegTy::Str | RegTy::Stack => "ptr",
    }
}

pub fn host(out: &mut String, g: &mut Globals, program: &Program, f: &Func) {
    let debug = super::debug::begin(g, f);
    let mut e = Emit::new(g, program, &f.regs);
    if program.target == Target::Gpu {
        e.machine = Machine::HostOfGpu;
    }
    e.debug = debug;
    let mut slot = 0;
    for p in &f.params {
        for reg in &p.slots {
            let at = e.tmp("getelementptr i64, ptr %args, i64 ", &slot.to_string());
            let name = match e.regs[reg.0 as usize].ty {
                RegTy::Scalar(d) => e.load(&at, d),
                RegTy::Ptr | RegTy::Str | RegTy::Stack => e.tmp("load ptr, ptr ", &at),
            };
            e.set(*reg, name);
            slot += 1;
        }
    }
    e.block(&f.body);
    let name = symbol(&f.name);
    let (scope, body) = match e.debug.take() {
        Some(host) => (format!(" !dbg !{}", host.subprogram), host.finish(&e.out)),
        None => (String::new(), std::mem::take(&mut e.out)),
    };
    let _ = writeln!(out, "define i32 @{name}(ptr %ctx, ptr %args, ptr %results) #0{scope} {{\nentry:");
    let _ = writeln!(out, "{}{body}", e.slots);
    if e.fails {
        out.push_str("fail:\n  ret i32 1\n");
    }
    out.push_str("}\n\n");
}

impl<'a> Emit<'a> {
    pub(super) fn new(g: &'a mut Globals, program: &'a Program, regs: &'a [RegData]) -> Emit<'a> {
        let names = (0..regs.len()).map(|i| format!("%r{i}")).collect();
        Emit {
            g,
            program,
            regs,
            out: String::new(),
            slots: String::new(),
            names,
            next: 0,
            label: "entry".into(),
            group: None,
            inner: HashSet::new(),
            fails: false,
            debug: None,
            streams: false,
            machine: Machine::Cpu,
            private: HashSet::new(),
            shared_bytes: 0,
            meetings: 0,
            kernel: 0,
        }
    }

    pub fn reg(&self, r: Reg) -> &str {
        &self.names[r.0 as usize]
    }

    pub fn set(&mut self, r: Reg, name: String) {
        if self.group.is_some() {
            self.inner.insert(r);
        }
        self.names[r.0 as usize] = name;
    }

    /// Within a vector loop: the same in all its iterations, and no power of two, by which to divide is to multiply.
    pub fn invariant(&self, o: Operand) -> bool {
        self.group.is_some()
            && match o {
                Operand::Reg(r) => !self.inner.contains(&r),
                Operand::Const(c, _) => !matches!(c, Scalar::Float(bits) if bits << 12 == 0),
            }
    }

    pub(super) fn reg_ty(&self, r: Reg) -> &'static str {
        reg_ty(self.regs[r.0 as usize].ty)
    }

    /// An operand without its type.
    pub fn op(&self, o: Operand) -> String {
        match o {
            Operand::Reg(r) => self.reg(r).to_owned(),
            Operand::Const(c, d) => literal(c, d),
        }
    }

    pub fn op_ty(&self, o: Operand) -> &'static str {
        match o {
            Operand::Reg(r) => self.reg_ty(r),
            Operand::Const(_, d) => llty(d),
        }
    }

    pub fn fresh(&mut self) -> String {
        self.next += 1;
        format!("%t{}", self.next)
    }

    pub fn fresh_block(&mut self, what: &str) -> String {
        self.fresh_label(what)
    }

    pub(super) fn fresh_label(&mut self, what: &str) -> String {
        self.next += 1;
        format!("{what}{}", self.next)
    }

    /// `%t = <instruction><operand>`.
    pub fn tmp(&mut self, instruction: &str, operand: &str) -> String {
        let name = self.fresh();
        let _ = writeln!(self.out, "  {name} = {instruction}{operand}");
        name
    }

    pub fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "  {text}");
    }

    pub fn start(&mut self, label: &str) {
        let _ = writeln!(self.out, "{label}:");
        self.label = label.to_owned();
    }

    /// A stack slot of this type, in the entry block.
    pub fn slot(&mut self, ty: &str) -> String {
        let name = self.fresh();
        let _ = writeln!(self.slots, "  {name} = alloca {ty}, align 16");
        name
    }

    /// The block in which the function gives up.
    pub fn fail_unless(&mut self, ok: &str) {
        self.fails = true;
        let go = self.fresh_label("ok");
        self.line(&format!("br i1 {ok}, label %{go}, label %fail"));
        self.start(&go);
    }

    pub fn check_status(&mut self, status: &str) {
        let ok = self.tmp("icmp eq i32 0, ", status);
        self.fail_unless(&ok);
    }

    // --- memory

    fn group_tag(&self) -> String {
        self.group.map_or(String::new(), |g| format!(", !llvm.access.group !{g}"))
    }

    /// Loads an element; a bool becomes one bit, a bf16 stays as it is.
    pub fn load(&mut self, address: &str, d: Dtype) -> String {
        let tag = self.group_tag();
        let v = self.tmp(&format!("load {}, ptr {address}, align {}", memty(d), d.size()), &tag);
        if d == Dtype::Bool { self.tmp("icmp ne i8 0, ", &v) } else { v }
    }

    pub fn store(&mut self, address: &str, d: Dtype, value: &str) {
        let tag = self.group_tag();
        let value = if d == Dtype::Bool { self.tmp(&format!("zext i1 {value} to "), "i8") } else { value.to_owned() };
        self.line(&format!("store {} {value}, ptr {address}, align {}{tag}", memty(d), d.size()));
    }

    pub fn index(&mut self, index: &Index) -> String {
        let mut sum: Option<String> = (index.offset != 0).then(|| index.offset.to_string());
        for term in &index.terms {
            let r = self.reg(term.reg).to_owned();
            let part = match term.stride.as_i64() {
                Some(1) => r,
                _ => {
                    let s = self.op(term.stride);
                    self.tmp("mul nsw i64 ", &format!("{r}, {s}"))
                }
            };
            sum = Some(match sum {
                Some(s) => self.tmp("add nsw i64 ", &format!("{s}, {part}")),
                None => part,
            });
        }
        sum.unwrap_or_else(|| "0".into())
    }

    pub fn address(&mut self, ptr: Reg, d: Dtype, index: &Index) -> String {
        let base = self.reg(ptr).to_owned();
        if index.offset == 0 && index.terms.is_empty() {
            return base;
        }
        let i = self.index(index);
        self.tmp("getelementptr inbounds ", &format!("{}, ptr {base}, i64 {i}", memty(d)))
    }

    // --- statements

    pub fn block(&mut self, body: &[Stmt]) {
        for s in body {
            self.stmt(s);
        }
    }

    fn stmt(&mut self, s: &Stmt) {
        match s {
            Stmt::Let { dst, value } => {
                let name = self.expr(value);
                self.set(*dst, name);
            }
            Stmt::Store { ptr, dtype, index, value } => {
                let at = self.address(*ptr, *dtype, index);
                let v = self.op(*value);
                match self.machine {
                    Machine::HostOfGpu => self.write_there(&at, *dtype, &v),
                    Machine::Cpu | Machine::Simulated | Machine::Ptx(_) => {
                        self.watch(*ptr, &at, *dtype, 1, true);
                        self.store(&at, *dtype, &v);
                    }
                }
            }
            Stmt::Stream { dst, dtype, index, src, len } => {
                self.streams = true;
                let to = self.address(*dst, *dtype, index);
                let from = self.reg(*src).to_owned();
                let bytes = match len.as_i64() {
                    Some(n) => (n * dtype.size() as i64).to_string(),
                    None => self.tmp("mul nsw i64 ", &format!("{}, {}", self.op(*len), dtype.size())),
                };
                let call = format!("call void @tdl.stream(ptr {to}, ptr {from}, i64 {bytes})");
                match len.as_i64().map(|n| n as usize * dtype.size()) {
                    Some(n) if n % LINE == 0 && n <= 16 * LINE => self.stream_lines(&to, &from, n / LINE, &call),
                    _ => self.line(&call),
                }
            }
            Stmt::Prefetch { ptr, dtype, index, lines, write } => {
                // not `inbounds`: it may be behind the end
                let base = self.reg(*ptr).to_owned();
                let i = self.index(index);
                let from = self.tmp("getelementptr ", &format!("{}, ptr {base}, i64 {i}", memty(*dtype)));
                for k in 0..*lines {
                    let at = self.tmp("getelementptr i8, ptr ", &format!("{from}, i64 {}", LINE * k));
                    self.line(&format!(
                        "call void @llvm.prefetch.p0(ptr {at}, i32 {}, i32 3, i32 1)",
                        i32::from(*write)
                    ));
                }
            }
            Stmt::For(f) => self.for_loop(f),
            Stmt::If(i) => self.branch(i),
            Stmt::Local { dst, dtype, len } => {
                let slot = self.fresh();
                let _ = writeln!(self.slots, "  {slot} = alloca [{len} x {}], align 64", memty(*dtype));
                self.set(*dst, slot);
                self.private.insert(*dst);
            }
            Stmt::Shared { dst, dtype, len } => self.shared(*dst, *dtype, *len),
            Stmt::Barrier(per) => self.barrier(*per),
            Stmt::Device(d) => self.device(d),
            Stmt::While(w) => self.while_loop(w),
            Stmt::Launch { kernel, args, range, grain: _ } if self.machine == Machine::HostOfGpu => {
                self.launch_there(*kernel, args, *range);
            }
            Stmt::Launch { kernel, args, range, grain } => self.launch(*kernel, args, *range, *grain),
            Stmt::Bands(b) => self.bands(b),
            Stmt::Debug { site, func, variable } => self.debug(*site, func, variable.as_ref()),
            Stmt::Alloc { .. }
            | Stmt::Need { .. }
            | Stmt::Free { .. }
            | Stmt::CopyBytes { .. }
            | Stmt::ZeroBytes { .. }
            | Stmt::Gemm(_)
            | Stmt::Runtime { .. }
            | Stmt::Print { .. }
            | Stmt::Format { .. }
            | Stmt::Assert { .. }
            | Stmt::Safepoint
            | Stmt::Tick { .. }
            | Stmt::Tock(_)
            | Stmt::Return { .. } => self.runtime_stmt(s),
        }
    }

    /// Writes whole lines past the caches, one after another if they are lines of memory too; if not, by a call.
    fn stream_lines(&mut self, to: &str, from: &str, lines: usize, call: &str) {
        let (whole, parts, done) = (self.fresh_label("whole"), self.fresh_label("parts"), self.fresh_label("done"));
        let address = self.tmp(&format!("ptrtoint ptr {to} to "), "i64");
        let rest = self.tmp("and i64 ", &format!("{address}, {}", LINE - 1));
        let c = self.tmp("icmp eq i64 0, ", &rest);
        self.line(&format!("br i1 {c}, label %{whole}, label %{parts}"));
        self.start(&parts);
        self.line(call);
        self.line(&format!("br label %{done}"));
        self.start(&whole);
        for k in 0..lines {
            let a = self.tmp("getelementptr i8, ptr ", &format!("{from}, i64 {}", LINE * k));
            let b = self.tmp("getelementptr i8, ptr ", &format!("{to}, i64 {}", LINE * k));
            let line = self.tmp("load <16 x i32>, ptr ", &format!("{a}, align {LINE}"));
            self.line(&format!("store <16 x i32> {line}, ptr {b}, align {LINE}, !nontemporal !2147483647"));
        }
        self.line(&format!("br label %{done}"));
        self.start(&done);
    }

    fn expr(&mut self, e: &Expr) -> String {
        match e {
            Expr::Copy(o) => self.op(*o),
            Expr::Load { ptr, dtype, index } => {
                let at = self.address(*ptr, *dtype, index);
                match self.machine {
                    Machine::HostOfGpu => self.read_there(&at, *dtype),
                    Machine::Cpu | Machine::Simulated | Machine::Ptx(_) => {
                        self.watch(*ptr, &at, *dtype, 1, false);
                        self.load(&at, *dtype)
                    }
                }
            }
            Expr::Place(p) => self.place(*p),
            Expr::Address(p) => {
                let p = self.reg(*p).to_owned();
                self.tmp("ptrtoint ptr ", &format!("{p} to i64"))
            }
            Expr::Index(i) => self.index(i),
            Expr::IndexDiv { a, b } => {
                let text = format!("{}, {}", self.op(*a), self.op(*b));
                self.tmp("udiv i64 ", &text)
            }
            Expr::IndexRem { a, b } => {
                let text = format!("{}, {}", self.op(*a), self.op(*b));
                self.tmp("urem i64 ", &text)
            }
            Expr::SizeMul { a, b } => {
                let text = format!("i64 {}, i64 {})", self.op(*a), self.op(*b));
                let both = self.tmp("call {i64, i1} @llvm.smul.with.overflow.i64(", &text);
                let product = self.tmp("extractvalue {i64, i1} ", &format!("{both}, 0"));
                let over = self.tmp("extractvalue {i64, i1} ", &format!("{both}, 1"));
                self.tmp("select i1 ", &format!("{over}, i64 {}, i64 {product}", i64::MAX))
            }
            Expr::Offset { ptr, dtype, index } => self.address(*ptr, *dtype, index),
            Expr::Data(id) if self.machine == Machine::HostOfGpu => self.data_there(*id),
            Expr::Data(id) => format!("@data{}", id.0),
            Expr::Text(t) => {
                let c = self.g.constant(t.as_bytes());
                self.tmp("call ptr @tdl_text(ptr %ctx, ", &format!("ptr {c}, i64 {})", t.len()))
            }
            Expr::Unary { .. }
            | Expr::Binary { .. }
            | Expr::Compare { .. }
            | Expr::Select { .. }
            | Expr::Convert { .. }
            | Expr::Bits { .. }
            | Expr::MulAdd { .. } => self.scalar(e),
        }
    }

    fn branch(&mut self, i: &If) {
        let (then, els, join) = (self.fresh_label("then"), self.fresh_label("else"), self.fresh_label("join"));
        let c = self.op(i.cond);
        self.line(&format!("br i1 {c}, label %{then}, label %{els}"));
        let mut ends = Vec::new();
        for (label, body, pick) in [(&then, &i.then, 0), (&els, &i.els, 1)] {
            self.start(label);
            self.block(body);
            let values: Vec<String> =
                i.results.iter().map(|r| self.op(if pick == 0 { r.then } else { r.els })).collect();
            ends.push((self.label.clone(), values));
            self.line(&format!("br label %{join}"));
        }
        self.start(&join);
        for (k, r) in i.results.iter().enumerate() {
            let ty = self.reg_ty(r.result);
            let name = self.tmp(
                &format!("phi {ty} "),
                &format!("[{}, %{}], [{}, %{}]", ends[0].1[k], ends[0].0, ends[1].1[k], ends[1].0),
            );
            self.set(r.result, name);
        }
    }

    /// Phis of a loop head; what flows in from the end of the body is filled in by [`Emit::close`].
    fn heads(&mut self, carried: &[Carried]) -> Vec<(String, &'static str, String)> {
        let mut phis = Vec::new();
        for c in carried {
            let init = self.op(c.init);
            let name = self.fresh();
            phis.push((name.clone(), self.reg_ty(c.param), init));
            self.set(c.param, name.clone());
            self.set(c.result, name);
        }
        phis
    }

    fn for_loop(&mut self, f: &For) {
        let (head, body, exit) = (self.fresh_label("head"), self.fresh_label("body"), self.fresh_label("exit"));
        let before = self.label.clone();
        let (lo, hi, step) = (self.op(f.lo), self.op(f.hi), self.op(f.step));
        let mut phis = self.heads(&f.carried);
        let var = self.fresh();
        self.set(f.var, var.clone());
        let mut sums = Vec::new();
        for r in &f.reductions {
            let init = self.op(r.init);
            let name = self.fresh();
            self.set(r.result, name.clone());
            if by_order(r, f.kind) {
                let init = self.ordered(r.op, r.dtype, &init);
                sums.push((name, int_of(r.dtype), init));
            } else {
                sums.push((name, llty(r.dtype), init));
            }
        }
        self.line(&format!("br label %{head}"));
        let outer = std::mem::take(&mut self.out);
        let metadata = (f.kind == LoopKind::Vector).then(|| self.g.vector_loop());
        let outer_group = self.group;
        if let Some((group, _)) = metadata {
            self.group = Some(group);
            self.inner.clear();
            self.inner.insert(f.var);
            self.inner.extend(f.carried.iter().map(|c| c.param));
        }
        self.start(&body);
        self.block(&f.body);
        let mut latch: Vec<String> = f.carried.iter().map(|c| self.op(c.next)).collect();
        for (r, (acc, _, _)) in f.reductions.iter().zip(sums.clone()) {
            let next = self.reduce(r, &acc, f.kind);
            latch.push(next);
        }
        let next_var = self.tmp("add nsw i64 ", &format!("{var}, {step}"));
        let tag = metadata.map_or(String::new(), |(_, id)| format!(", !llvm.loop !{id}"));
        self.line(&format!("br label %{head}{tag}"));
        self.group = outer_group;
        let end = self.label.clone();
        let inner = std::mem::replace(&mut self.out, outer);
        let _ = writeln!(self.out, "{head}:");
        self.line(&format!("{var} = phi i64 [{lo}, %{before}], [{next_var}, %{end}]"));
        phis.extend(sums);
        self.close(&phis, &latch, &before, &end);
        let c = self.tmp("icmp slt i64 ", &format!("{var}, {hi}"));
        self.line(&format!("br i1 {c}, label %{body}, label %{exit}"));
        self.out.push_str(&inner);
        self.start(&exit);
        for r in f.reductions.iter().filter(|r| by_order(r, f.kind)) {
            let key = self.op(Operand::Reg(r.result));
            let value = self.unordered(r.dtype, &key);
            self.set(r.result, value);
        }
    }

    fn close(&mut self, phis: &[(String, &'static str, String)], latch: &[String], before: &str, end: &str) {
        for ((name, ty, init), next) in phis.iter().zip(latch) {
            self.line(&format!("{name} = phi {ty} [{init}, %{before}], [{next}, %{end}]"));
        }
    }

    /// The accumulator after one more value. In vector loops the order is the vectoriser's, which is fixed by the target.
    fn reduce(&mut self, r: &Reduction, acc: &str, kind: LoopKind) -> String {
        let v = self.op(r.value);
        let ty = llty(r.dtype);
        let float = matches!(r.dtype, Dtype::F32 | Dtype::F64);
        if by_order(r, kind) {
            let key = self.ordered(r.op, r.dtype, &v);
            let (pick, int) = (if r.op == ReduceOp::Max { "smax" } else { "smin" }, int_of(r.dtype));
            return self.tmp(&format!("call {int} @llvm.{pick}.{int}("), &format!("{int} {acc}, {int} {key})"));
        }
        if float {
            let flags = if kind == LoopKind::Vector { "reassoc " } else { "" };
            return match r.op {
                ReduceOp::Sum => self.tmp(&format!("fadd {flags}{ty} "), &format!("{acc}, {v}")),
                ReduceOp::Prod => self.tmp(&format!("fmul {flags}{ty} "), &format!("{acc}, {v}")),
                ReduceOp::Max => self.float_call("maximum", r.dtype, &[acc, &v]),
                ReduceOp::Min => self.float_call("minimum", r.dtype, &[acc, &v]),
                ReduceOp::Any | ReduceOp::All => v,
            };
        }
        self.combine(r.op, r.dtype, acc, &v)
    }

    fn while_loop(&mut self, w: &While) {
        let (head, body, exit) = (self.fresh_label("head"), self.fresh_label("body"), self.fresh_label("exit"));
        let before = self.label.clone();
        let phis = self.heads(&w.carried);
        self.line(&format!("br label %{head}"));
        let outer = std::mem::take(&mut self.out);
        self.label = head.clone();
        self.block(&w.cond_body);
        let c = self.op(w.cond);
        self.line(&format!("br i1 {c}, label %{body}, label %{exit}"));
        self.start(&body);
        self.block(&w.body);
        let latch: Vec<String> = w.carried.iter().map(|c| self.op(c.next)).collect();
        self.line(&format!("br label %{head}"));
        let end = self.label.clone();
        let inner = std::mem::replace(&mut self.out, outer);
        let _ = writeln!(self.out, "{head}:");
        self.close(&phis, &latch, &before, &end);
        self.out.push_str(&inner);
        self.start(&exit);
    }
}

/// The largest or least float of a vector loop is found among integers (see [`Emit::ordered`]).
fn by_order(r: &Reduction, kind: LoopKind) -> bool {
    let float = matches!(r.dtype, Dtype::F32 | Dtype::F64);
    kind == LoopKind::Vector && float && matches!(r.op, ReduceOp::Max | ReduceOp::Min)
}
