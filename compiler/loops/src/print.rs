//! Readable text of a program: `tdl emit --stage loops`. One way; nothing parses it.
//!
//! A value that is used once is written where it is used, so a kernel's body reads like the formula it computes.

mod device;

use std::fmt::Write;

use rustc_hash::FxHashMap;
use tdl_ir::{BinaryOp, CompareOp, Piece, Scalar};

use crate::ir::*;

/// The whole program.
pub fn print(program: &Program) -> String {
    let mut out = String::new();
    for (i, f) in program.funcs.iter().enumerate() {
        let params = f.params.iter().map(|p| format!("{}: {}", slots(&f.regs, &p.slots), ty(p.ty)));
        let results = f.results.iter().map(|r| ty(*r));
        let _ = writeln!(
            out,
            "{}fn {}({}) -> ({})",
            if program.entry == Some(i) { "entry " } else { "" },
            f.name,
            params.collect::<Vec<_>>().join(", "),
            results.collect::<Vec<_>>().join(", ")
        );
        block_text(&mut out, program, &f.regs, &f.body);
        out.push('\n');
    }
    for k in &program.kernels {
        out.push_str(&print_kernel(program, k));
        out.push('\n');
    }
    for (i, d) in program.data.iter().enumerate() {
        let _ = writeln!(out, "data @{i}: {} bytes", d.len());
    }
    out
}

/// One kernel.
pub fn print_kernel(program: &Program, k: &Kernel) -> String {
    let mut out = String::new();
    let params = k.params.iter().map(|p| match (k.regs[p.reg.0 as usize].ty, p.access) {
        (RegTy::Ptr, Access::Read) => format!("in {}", reg_name(&k.regs, p.reg)),
        (RegTy::Ptr, Access::Write) => format!("out {}", reg_name(&k.regs, p.reg)),
        (RegTy::Ptr, Access::ReadWrite) => format!("inout {}", reg_name(&k.regs, p.reg)),
        (t @ (RegTy::Scalar(_) | RegTy::Str | RegTy::Stack), _) => {
            format!("{}: {}", reg_name(&k.regs, p.reg), reg_ty(t))
        }
    });
    let range = match k.grid {
        None => format!("{}..{}", reg_name(&k.regs, k.lo), reg_name(&k.regs, k.hi)),
        Some(g) => {
            let range = reg_name(&k.regs, g.range);
            match g.per {
                Per::Thread => format!("{range} threads, {} to a block", g.threads),
                Per::Warp => format!("{range} warps, {} to a block", g.threads / WARP),
                Per::Block => format!("{range} blocks of {} threads", g.threads),
            }
        }
    };
    let _ = writeln!(out, "kernel {}({}) over {range}", k.name, params.collect::<Vec<_>>().join(", "));
    block_text(&mut out, program, &k.regs, &k.body);
    out
}

fn block_text(out: &mut String, program: &Program, regs: &[RegData], body: &[Stmt]) {
    let mut p = Printer { out, program, regs, uses: FxHashMap::default(), inline: FxHashMap::default(), depth: 1 };
    p.count(body);
    p.block(body);
}

fn ty(t: ResultTy) -> String {
    match t {
        ResultTy::Scalar(d) => d.to_string(),
        ResultTy::Str => "str".into(),
        ResultTy::Tensor { dtype, rank } => format!("{dtype}[{}]", vec!["_"; rank].join(", ")),
    }
}

fn reg_ty(t: RegTy) -> String {
    match t {
        RegTy::Scalar(d) => d.to_string(),
        RegTy::Ptr => "ptr".into(),
        RegTy::Str => "str".into(),
        RegTy::Stack => "stack".into(),
    }
}

fn slots(regs: &[RegData], slots: &[Reg]) -> String {
    slots.iter().map(|r| reg_name(regs, *r)).collect::<Vec<_>>().join(" ")
}

fn reg_name(regs: &[RegData], r: Reg) -> String {
    match &regs[r.0 as usize].name {
        Some(n) => format!("{n}.{}", r.0),
        None => format!("{}{}", if regs[r.0 as usize].ty == RegTy::Ptr { "p" } else { "%" }, r.0),
    }
}

struct Printer<'a> {
    out: &'a mut String,
    program: &'a Program,
    regs: &'a [RegData],
    uses: FxHashMap<Reg, u32>,
    inline: FxHashMap<Reg, String>,
    depth: usize,
}

impl Printer<'_> {
    fn count(&mut self, body: &[Stmt]) {
        for s in body {
            let uses = &mut self.uses;
            let mut f = |o: Operand| {
                if let Operand::Reg(r) = o {
                    *uses.entry(r).or_default() += 1;
                }
            };
            s.visit(&mut f);
            s.visit_yields(&mut f);
            for b in s.blocks() {
                self.count(b);
            }
        }
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{:w$}{text}", "", w = self.depth * 2);
    }

    fn r(&self, r: Reg) -> String {
        self.inline.get(&r).cloned().unwrap_or_else(|| reg_name(self.regs, r))
    }

    fn o(&self, o: Operand) -> String {
        match o {
            Operand::Reg(r) => self.r(r),
            Operand::Const(Scalar::Int(x), _) => x.to_string(),
            Operand::Const(Scalar::Bool(x), _) => x.to_string(),
            Operand::Const(Scalar::Float(x), _) => format!("{:?}", f64::from_bits(x)),
        }
    }

    fn os(&self, os: &[Operand]) -> String {
        os.iter().map(|o| self.o(*o)).collect::<Vec<_>>().join(", ")
    }

    fn index(&self, i: &Index) -> String {
        let mut parts: Vec<String> = i
            .terms
            .iter()
            .map(|t| match t.stride {
                Operand::Const(Scalar::Int(1), _) => self.r(t.reg),
                stride => format!("{}*{}", self.r(t.reg), self.o(stride)),
            })
            .collect();
        if i.offset != 0 || parts.is_empty() {
            parts.push(i.offset.to_string());
        }
        parts.join(" + ")
    }

    fn expr(&self, e: &Expr) -> String {
        match e {
            Expr::Copy(x) => self.o(*x),
            Expr::Unary { op, dtype: _, x } => format!("{}({})", lower(op), self.o(*x)),
            Expr::Binary { op, dtype: _, a, b } => match infix(*op) {
                Some(sign) => format!("({} {sign} {})", self.o(*a), self.o(*b)),
                None => format!("{}({}, {})", lower(op), self.o(*a), self.o(*b)),
            },
            Expr::Compare { op, dtype: _, a, b } => {
                let sign = match op {
                    CompareOp::Eq => "==",
                    CompareOp::Ne => "!=",
                    CompareOp::Lt => "<",
                    CompareOp::Le => "<=",
                    CompareOp::Gt => ">",
                    CompareOp::Ge => ">=",
                };
                format!("({} {sign} {})", self.o(*a), self.o(*b))
            }
            Expr::Select { dtype: _, cond, a, b } => {
                format!("({} ? {} : {})", self.o(*cond), self.o(*a), self.o(*b))
            }
            Expr::Convert { from: _, to, x } => format!("{to}({})", self.o(*x)),
            Expr::Bits { from: _, to, x } => format!("bits.{to}({})", self.o(*x)),
            Expr::MulAdd { dtype: _, a, b, c } => {
                format!("muladd({}, {}, {})", self.o(*a), self.o(*b), self.o(*c))
            }
            Expr::Load { ptr, dtype: _, index } => format!("{}[{}]", self.r(*ptr), self.index(index)),
            Expr::Index(i) => format!("({})", self.index(i)),
            Expr::SizeMul { a, b } => format!("sizemul({}, {})", self.o(*a), self.o(*b)),
            Expr::IndexDiv { a, b } => format!("({} / {})", self.o(*a), self.o(*b)),
            Expr::IndexRem { a, b } => format!("({} % {})", self.o(*a), self.o(*b)),
            Expr::Offset { ptr, dtype: _, index } => format!("&{}[{}]", self.r(*ptr), self.index(index)),
            Expr::Address(p) => format!("address({})", self.r(*p)),
            Expr::Place(p) => format!("{p:?}").to_lowercase(),
            Expr::Data(d) => format!("@{}", d.0),
            Expr::Text(t) => format!("{t:?}"),
        }
    }

    fn arg(&self, a: &Arg) -> String {
        match a {
            Arg::Scalar { value, dtype: _ } => self.o(*value),
            Arg::Str(r) => self.r(*r),
            Arg::Tensor { ptr, dtype, dims } => format!("{}: {dtype}[{}]", self.r(*ptr), self.os(dims)),
        }
    }

    fn args(&self, args: &[Arg]) -> String {
        args.iter().map(|a| self.arg(a)).collect::<Vec<_>>().join(", ")
    }

    fn block(&mut self, body: &[Stmt]) {
        for s in body {
            self.stmt(s);
        }
    }

    fn nested(&mut self, body: &[Stmt], end: &str) {
        self.depth += 1;
        self.block(body);
        if !end.is_empty() {
            self.line(end);
        }
        self.depth -= 1;
    }

    fn carried(&self, carried: &[Carried]) -> String {
        carried.iter().map(|c| format!(", {} = {}", self.r(c.param), self.o(c.init))).collect()
    }

    fn stmt(&mut self, s: &Stmt) {
        match s {
            Stmt::Let { dst, value } => {
                let text = self.expr(value);
                let named = self.regs[dst.0 as usize].name.is_some();
                if self.uses.get(dst).copied().unwrap_or(0) == 1 && !named && text.len() < 100 {
                    self.inline.insert(*dst, text);
                } else {
                    self.line(&format!("{} = {text}", self.r(*dst)));
                }
            }
            Stmt::Store { ptr, dtype: _, index, value } => {
                self.line(&format!("{}[{}] = {}", self.r(*ptr), self.index(index), self.o(*value)));
            }
            Stmt::For(l) => self.for_loop(l),
            Stmt::If(i) => self.if_else(i),
            Stmt::While(w) => {
                self.line(&format!("while{}", self.carried(&w.carried)));
                self.nested(&w.cond_body, "");
                let cond = self.o(w.cond);
                self.line(&format!("do if {cond}"));
                self.depth += 1;
                self.block(&w.body);
                let next: Vec<String> = w.carried.iter().map(|c| self.o(c.next)).collect();
                self.line(&format!("next {}", next.join(", ")));
                self.depth -= 1;
                let results: Vec<String> = w.carried.iter().map(|c| self.r(c.result)).collect();
                self.line(&format!("-> {}", results.join(", ")));
            }
            Stmt::Stream { dst, dtype: _, index, src, len } => {
                let line =
                    format!("stream {}[{}] <- {}, {}", self.r(*dst), self.index(index), self.r(*src), self.o(*len));
                self.line(&line);
            }
            Stmt::Prefetch { ptr, dtype: _, index, lines, write } => {
                let what = if *write { " to write" } else { "" };
                self.line(&format!("prefetch {}[{}], {lines} lines{what}", self.r(*ptr), self.index(index)));
            }
            Stmt::Local { dst, dtype, len } => self.line(&format!("{} = local {dtype}[{len}]", self.r(*dst))),
            Stmt::Shared { dst, dtype, len } => self.line(&format!("{} = shared {dtype}[{len}]", self.r(*dst))),
            Stmt::Barrier(Per::Warp) => self.line("barrier of the warp"),
            Stmt::Barrier(_) => self.line("barrier"),
            Stmt::Device(d) => self.device(d),
            Stmt::Alloc { dst, bytes, site: _, ahead } => {
                let ahead = if *ahead { " ahead" } else { "" };
                self.line(&format!("{} = alloc{ahead} {}", self.r(*dst), self.o(*bytes)));
            }
            Stmt::Need { ptr, bytes, site: _ } => {
                self.line(&format!("need {}, {} bytes", self.r(*ptr), self.o(*bytes)));
            }
            Stmt::Free { ptr } => self.line(&format!("free {}", self.r(*ptr))),
            Stmt::Launch { kernel, args, range, grain } => {
                let name = &self.program.kernels[kernel.0 as usize].name;
                self.line(&format!(
                    "launch {name}({}) over {} grain {}",
                    self.os(args),
                    self.o(*range),
                    self.o(*grain)
                ));
            }
            Stmt::Bands(b) => {
                self.line(&format!("bands {} by {}", self.o(b.count), b.chunk));
                self.depth += 1;
                self.block(&b.steps);
                self.depth -= 1;
            }
            Stmt::CopyBytes { dst, src, bytes } => {
                self.line(&format!("copy {} <- {}, {} bytes", self.r(*dst), self.r(*src), self.o(*bytes)));
            }
            Stmt::ZeroBytes { dst, bytes } => self.line(&format!("zero {}, {} bytes", self.r(*dst), self.o(*bytes))),
            Stmt::Gemm(g) => {
                let m = |x: &Matrix| {
                    let batch: String = x.batch_strides.iter().map(|s| format!(" {}", self.o(*s))).collect();
                    let (r, c) = (self.o(x.row_stride), self.o(x.col_stride));
                    let at = self.index(&x.offset);
                    let at = if at == "0" { String::new() } else { format!("[{at}]") };
                    format!("{}{at}<{r} {c}{batch}>", self.r(x.ptr))
                };
                let batch: String = g.batch.iter().map(|b| format!("{}x", self.o(*b))).collect();
                let text = format!(
                    "gemm.{} {} {} {} @ {}  [{batch}{} x {} x {}]",
                    g.dtype,
                    m(&g.c),
                    if g.accumulate { "+=" } else { "=" },
                    m(&g.a),
                    m(&g.b),
                    self.o(g.m),
                    self.o(g.k),
                    self.o(g.n)
                );
                self.line(&text);
            }
            Stmt::Runtime { call, site: _ } => {
                let text = self.runtime(call);
                self.line(&text);
            }
            Stmt::Print { pieces, args, end } => {
                self.line(&format!("print {} ({}) end {end:?}", pieces_text(pieces), self.args(args)));
            }
            Stmt::Format { dst, pieces, args } => {
                self.line(&format!("{} = format {} ({})", self.r(*dst), pieces_text(pieces), self.args(args)));
            }
            Stmt::Assert { ok, kind, pieces, args, site: _ } => {
                let kind = format!("{kind:?}").to_lowercase();
                self.line(&format!("assert.{kind} {}, {} ({})", self.o(*ok), pieces_text(pieces), self.args(args)));
            }
            Stmt::Debug { site: _, func, variable: None } => self.line(&format!("debug {func}")),
            Stmt::Debug { site: _, func, variable: Some((name, value)) } => {
                let value = self.args(std::slice::from_ref(value));
                self.line(&format!("debug {func}: {name} = {value}"));
            }
            Stmt::Safepoint => self.line("safepoint"),
            Stmt::Tick { dst } => self.line(&format!("{} = tick", self.r(*dst))),
            Stmt::Tock(t) => {
                let all = self.program.tasks.as_deref().unwrap_or(&[]);
                let name = all.get(t.task.0 as usize).map_or("?", |t| &t.name);
                let (flops, bytes) = (self.o(t.flops), self.o(t.bytes));
                self.line(&format!("tock {name} since {}: {flops} flops, {bytes} bytes", self.r(t.since)));
            }
            Stmt::Return { slots } => self.line(&format!("return {}", self.os(slots))),
        }
    }

    fn for_loop(&mut self, l: &For) {
        let kind = match l.kind {
            LoopKind::Serial => "for",
            LoopKind::Vector => "vector for",
        };
        let step = if l.step.as_i64() == Some(1) { String::new() } else { format!(" by {}", self.o(l.step)) };
        let head =
            format!("{kind} {} in {}..{}{step}{}", self.r(l.var), self.o(l.lo), self.o(l.hi), self.carried(&l.carried));
        self.line(&head);
        self.depth += 1;
        self.block(&l.body);
        if !l.carried.is_empty() {
            let next: Vec<String> = l.carried.iter().map(|c| self.o(c.next)).collect();
            self.line(&format!("next {}", next.join(", ")));
        }
        self.depth -= 1;
        for r in &l.reductions {
            let op = lower(&r.op);
            let init = self.o(r.init);
            self.line(&format!("-> {} = {op}({init}, {}…)", self.r(r.result), self.o(r.value)));
        }
        if !l.carried.is_empty() {
            let results: Vec<String> = l.carried.iter().map(|c| self.r(c.result)).collect();
            self.line(&format!("-> {}", results.join(", ")));
        }
    }

    fn if_else(&mut self, i: &If) {
        let cond = self.o(i.cond);
        self.line(&format!("if {cond}"));
        self.depth += 1;
        self.block(&i.then);
        let then: Vec<String> = i.results.iter().map(|r| self.o(r.then)).collect();
        if !then.is_empty() {
            self.line(&format!("yield {}", then.join(", ")));
        }
        self.depth -= 1;
        if !i.els.is_empty() || !then.is_empty() {
            self.line("else");
            self.depth += 1;
            self.block(&i.els);
            let els: Vec<String> = i.results.iter().map(|r| self.o(r.els)).collect();
            if !els.is_empty() {
                self.line(&format!("yield {}", els.join(", ")));
            }
            self.depth -= 1;
        }
        if !i.results.is_empty() {
            let results: Vec<String> = i.results.iter().map(|r| self.r(r.result)).collect();
            self.line(&format!("-> {}", results.join(", ")));
        }
    }

    fn runtime(&self, call: &RuntimeCall) -> String {
        let r = |x: &Reg| self.r(*x);
        match call {
            RuntimeCall::Sort { src, values, indices, dtype, rows, len, descending } => format!(
                "sort{} {}, {} <- {}: {dtype}[{}, {}]",
                if *descending { ".descending" } else { "" },
                r(values),
                r(indices),
                r(src),
                self.o(*rows),
                self.o(*len)
            ),
            RuntimeCall::CountTrue { dst, mask, len } => {
                format!("{} = count_true {}[{}]", r(dst), r(mask), self.o(*len))
            }
            RuntimeCall::Positions { dst, mask, len } => {
                format!("positions {} <- {}[{}]", r(dst), r(mask), self.o(*len))
            }
            RuntimeCall::Windows(w) => {
                let list = |l: &[Operand]| l.iter().map(|o| self.o(*o)).collect::<Vec<_>>().join(" ");
                let steps: Vec<String> = w.steps.iter().map(|s| format!("[{}]", list(&s.all()))).collect();
                let [x, f, y] = [w.x, w.w, w.y].map(|r| self.r(r));
                let product = match w.result {
                    Role::X => format!("{x} = {y} * {f}"),
                    Role::W => format!("{f} = {x} * {y}"),
                    Role::Y => format!("{y} = {x} * {f}"),
                };
                format!("windows.{} {product} n g c o: {} {}", w.dtype, list(&w.counts), steps.join(" "))
            }
            RuntimeCall::Random { dst, dist, dtype, key, counter, len } => format!(
                "random.{} {}: {dtype}[{}] key {} counter {}",
                lower(dist),
                r(dst),
                self.o(*len),
                self.o(*key),
                self.o(*counter)
            ),
            RuntimeCall::StackNew { dst } => format!("{} = stack_new", r(dst)),
            RuntimeCall::StackGrow { dst, stack, bytes } => {
                format!("{} = stack_grow {}, {}", r(dst), r(stack), self.o(*bytes))
            }
            RuntimeCall::StackContents { ptr, bytes, stack } => {
                format!("{}, {} = stack_contents {}", r(ptr), r(bytes), r(stack))
            }
            RuntimeCall::StackFree { stack } => format!("stack_free {}", r(stack)),
            RuntimeCall::Save { path, entries } => {
                let entries: Vec<String> =
                    entries.iter().map(|e| format!("{:?}: {}", e.name, self.arg(&e.value))).collect();
                format!("save {} ({})", r(path), entries.join(", "))
            }
            RuntimeCall::Load { path, entries, renamed, extra } => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|e| format!("{:?}: {} {}[{}]", e.name, r(&e.dst), e.dtype, self.os(&e.dims)))
                    .collect();
                let renamed = renamed.as_ref().map_or(String::new(), |a| format!(" renamed {}", self.arg(a)));
                let extra = if *extra { " extra" } else { "" };
                format!("load {} ({}){renamed}{extra}", r(path), entries.join(", "))
            }
            RuntimeCall::Exists { dst, path } => format!("{} = exists {}", r(dst), r(path)),
            RuntimeCall::Host { func, args, results } => {
                let results: Vec<String> = results.iter().map(r).collect();
                let args: Vec<String> = args.iter().map(|a| self.arg(a)).collect();
                let lead = if results.is_empty() { String::new() } else { format!("{} = ", results.join(", ")) };
                format!("{lead}host {}({})", func.def().name, args.join(", "))
            }
            RuntimeCall::Clock { dst } => format!("{} = clock", r(dst)),
            RuntimeCall::Progress { i, n } => format!("progress {} of {}", self.o(*i), self.o(*n)),
            RuntimeCall::Segment { place, depth } => format!("segment {place} at depth {depth}"),
        }
    }
}

fn lower(x: &impl std::fmt::Debug) -> String {
    format!("{x:?}").to_lowercase()
}

fn pieces_text(pieces: &[Piece]) -> String {
    let mut text = String::new();
    for p in pieces {
        match p {
            Piece::Text(t) => text.push_str(t),
            Piece::Value { spec } if spec.is_empty() => text.push_str("{}"),
            Piece::Value { spec } => {
                let _ = write!(text, "{{:{spec}}}");
            }
        }
    }
    format!("{text:?}")
}

/// The sign of an operator that has one.
fn infix(op: BinaryOp) -> Option<&'static str> {
    match op {
        BinaryOp::Add => Some("+"),
        BinaryOp::Sub => Some("-"),
        BinaryOp::Mul => Some("*"),
        BinaryOp::Div => Some("/"),
        BinaryOp::FloorDiv => Some("//"),
        BinaryOp::Rem => Some("%"),
        BinaryOp::And => Some("and"),
        BinaryOp::Or => Some("or"),
        BinaryOp::Pow
        | BinaryOp::Min
        | BinaryOp::Max
        | BinaryOp::Atan2
        | BinaryOp::Polygamma
        | BinaryOp::Xor
        | BinaryOp::Shl
        | BinaryOp::Shr => None,
    }
}
