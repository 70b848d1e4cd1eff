//! Kernels on the CPU, and their launches.
//!
//! A kernel is two functions: one with the kernel's own parameters, and one whose arguments come in 8-byte slots, which the runtime's
//! threads call. A kernel in another module ([`Globals::elsewhere`]) is seen as the second alone.

use std::collections::HashSet;
use std::fmt::Write;

use tdl_loops::ir::{Access, Func, Kernel, KernelId, Operand, Program, RegTy, Stmt};

use super::Globals;
use super::func::{Emit, reg_ty};

/// A kernel's text. Whether other modules see it is known only when all kernels have been written.
pub struct KernelText {
    id: usize,
    name: String,
    params: String,
    body: String,
    thunk: String,
}

impl KernelText {
    /// How much text there is, which says how long it takes to compile.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    pub fn id(&self) -> KernelId {
        KernelId(self.id as u32)
    }

    /// `linkage` is that of the form with arguments in slots.
    pub fn define(&self, out: &mut String, linkage: &str) {
        let KernelText { id, name, params, body, thunk } = self;
        let _ = writeln!(out, "; {name}\ndefine internal void @k{id}({params}) #0 {{\n{body}}}\n");
        let _ = writeln!(out, "define {linkage} void @k{id}.part(ptr %env, i64 %lo, i64 %hi) #0 {{\n{thunk}}}\n");
    }

    /// It is in another module.
    pub fn declare(&self, out: &mut String) {
        let _ = writeln!(out, "declare hidden void @k{}.part(ptr, i64, i64) #0", self.id);
    }
}

pub fn kernel(g: &mut Globals, program: &Program, id: usize, k: &Kernel) -> KernelText {
    let mut e = Emit::new(g, program, &k.regs);
    let mut params = Vec::new();
    for p in &k.params {
        let attrs = match (e.regs[p.reg.0 as usize].ty, p.access) {
            (RegTy::Ptr, Access::Read) => " noalias nocapture readonly",
            (RegTy::Ptr, Access::Write | Access::ReadWrite) => " noalias nocapture",
            (RegTy::Scalar(_) | RegTy::Str | RegTy::Stack, _) => "",
        };
        params.push(format!("{}{attrs} {}", e.reg_ty(p.reg), e.reg(p.reg)));
    }
    params.push(format!("i64 {}", e.reg(k.lo)));
    params.push(format!("i64 {}", e.reg(k.hi)));
    e.block(&k.body);
    if e.streams {
        e.line("fence seq_cst");
    }
    let body = format!("entry:\n{}{}  ret void\n", e.slots, e.out);
    KernelText { id, name: k.name.clone(), params: params.join(", "), body, thunk: thunk(id, k) }
}

/// The body of the form of a kernel that the runtime's threads call: its arguments come in 8-byte slots.
fn thunk(id: usize, k: &Kernel) -> String {
    let mut out = String::new();
    let mut args = Vec::new();
    for (i, p) in k.params.iter().enumerate() {
        let ty = reg_ty(k.regs[p.reg.0 as usize].ty);
        let _ = writeln!(out, "  %p{i} = getelementptr i64, ptr %env, i64 {i}\n  %a{i} = load {ty}, ptr %p{i}");
        args.push(format!("{ty} %a{i}"));
    }
    args.push("i64 %lo, i64 %hi".into());
    let _ = writeln!(out, "  call void @k{id}({})\n  ret void", args.join(", "));
    out
}

impl Emit<'_> {
    /// A kernel's arguments in 8-byte slots.
    pub(super) fn env(&mut self, args: &[Operand]) -> String {
        let typed: Vec<String> = args.iter().map(|a| format!("{} {}", self.op_ty(*a), self.op(*a))).collect();
        let env = self.slot(&format!("[{} x i64]", args.len().max(1)));
        for (i, text) in typed.iter().enumerate() {
            let at = self.tmp("getelementptr i64, ptr ", &format!("{env}, i64 {i}"));
            self.line(&format!("store {text}, ptr {at}"));
        }
        env
    }

    pub(super) fn launch(&mut self, id: KernelId, args: &[Operand], range: Operand, grain: Operand) {
        let typed: Vec<String> = args.iter().map(|a| format!("{} {}", self.op_ty(*a), self.op(*a))).collect();
        let (range_text, grain_text) = (self.op(range), self.op(grain));
        let direct = |e: &mut Self, env: Option<&str>| match env {
            Some(env) => e.line(&format!("call void @k{}.part(ptr {env}, i64 0, i64 {range_text})", id.0)),
            None => {
                let mut all = typed.clone();
                all.push(format!("i64 0, i64 {range_text}"));
                e.line(&format!("call void @k{}({})", id.0, all.join(", ")));
            }
        };
        let elsewhere = self.g.elsewhere.contains(&id).then(|| self.env(args));
        if is_small(range, grain) {
            return direct(self, elsewhere.as_deref());
        }
        let (small, large, done) = (self.fresh_label("small"), self.fresh_label("large"), self.fresh_label("done"));
        let c = self.tmp("icmp sle i64 ", &format!("{range_text}, {grain_text}"));
        self.line(&format!("br i1 {c}, label %{small}, label %{large}"));
        self.start(&small);
        direct(self, elsewhere.as_deref());
        self.line(&format!("br label %{done}"));
        self.start(&large);
        let env = elsewhere.unwrap_or_else(|| self.env(args));
        self.line(&format!(
            "call void @tdl_parallel(ptr %ctx, ptr @k{}.part, ptr {env}, i64 {range_text}, i64 {grain_text})",
            id.0
        ));
        self.line(&format!("br label %{done}"));
        self.start(&done);
    }
}

/// One thread does it.
fn is_small(range: Operand, grain: Operand) -> bool {
    matches!((range.as_i64(), grain.as_i64()), (Some(r), Some(g)) if r <= g)
}

/// The kernels that one thread does wherever they are launched, and not from a function of `long`: they may be part of the code
/// around them.
pub fn small_kernels(program: &Program, long: &[&Func]) -> HashSet<KernelId> {
    fn launches(body: &[Stmt], long: bool, small: &mut HashSet<KernelId>) {
        for s in body {
            if let Stmt::Bands(b) = s {
                // the runtime calls them
                launches(&b.steps, true, small);
                continue;
            }
            if let Stmt::Launch { kernel, range, grain, .. } = s
                && (long || !is_small(*range, *grain))
            {
                small.remove(kernel);
            }
            s.blocks().into_iter().for_each(|b| launches(b, long, small));
        }
    }
    let mut small = (0..program.kernels.len()).map(|k| KernelId(k as u32)).collect();
    for f in &program.funcs {
        launches(&f.body, long.iter().any(|l| std::ptr::eq(*l, f)), &mut small);
    }
    small
}

/// About as many branches as the code of a function will have.
pub fn branches(body: &[Stmt]) -> usize {
    let here = |s: &Stmt| !matches!(s, Stmt::Let { .. } | Stmt::Store { .. } | Stmt::Local { .. } | Stmt::Debug { .. });
    body.iter().map(|s| usize::from(here(s)) + s.blocks().into_iter().map(branches).sum::<usize>()).sum()
}
