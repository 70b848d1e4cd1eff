//! What a thread of a GPU does beyond scalars: wide accesses, and what a warp does together.

use std::fmt::Write;

use tdl_ir::Dtype;
use tdl_loops::ir::{Device, Index, Operand, Reg, WIDE};

use super::func::Emit;
use super::gpu::Machine;
use super::{llty, memty};

/// The first instructions with copies that go on by themselves, and with products of 16-bit matrices that are 16 deep.
const SM_80: u32 = 80;

/// The assembler's own instructions: all threads of the warp, and no access to memory is moved over it.
const TOGETHER: &str = "asm sideeffect";

impl Emit<'_> {
    pub(super) fn device(&mut self, d: &Device) {
        match d {
            Device::Load { dst, ptr, dtype, index } => self.wide_load(dst, *ptr, *dtype, index),
            Device::Store { ptr, dtype, index, values } => self.wide_store(*ptr, *dtype, index, values),
            Device::Shuffle { dst, dtype, x, xor } => {
                let x = self.op(*x);
                let value = self.shuffle(*dtype, &x, *xor);
                self.set(*dst, value);
            }
            Device::Matrices { dst, ptr, dtype, index, transposed } => {
                let at = self.address(*ptr, *dtype, index);
                let values = self.matrices(&at, *transposed);
                dst.iter().zip(values).for_each(|(r, v)| self.set(*r, v));
            }
            Device::Product { dst, dtype, a, b, c } => {
                let words: Vec<String> = a.iter().chain(b).map(|r| self.reg(*r).to_owned()).collect();
                let sums: Vec<String> = c.iter().map(|c| self.op(*c)).collect();
                let values = self.product(*dtype, &words, &sums);
                dst.iter().zip(values).for_each(|(r, v)| self.set(*r, v));
            }
            Device::Copy { to, at, from, index, dtype, inside } => {
                let to = self.address(*to, *dtype, at);
                let from = self.address(*from, *dtype, index);
                let inside = self.op(*inside);
                self.copy(&to, &from, *dtype, &inside);
            }
            Device::Group => match self.machine {
                Machine::Ptx(arch) if arch < SM_80 => {}
                Machine::Ptx(_) => self.line("call void asm sideeffect \"cp.async.commit_group;\", \"~{memory}\"()"),
                _ => self.line("call void @tdl_sim_group(ptr %thread)"),
            },
            Device::Wait { left } => match self.machine {
                Machine::Ptx(arch) if arch < SM_80 => {}
                Machine::Ptx(_) => {
                    self.line(&format!("call void asm sideeffect \"cp.async.wait_group {left};\", \"~{{memory}}\"()"));
                }
                _ => self.line(&format!("call void @tdl_sim_wait(ptr %thread, i32 {left})")),
            },
        }
    }

    // --- several elements at a time

    /// The type that an access to `n` elements has in memory: words, where elements are narrower, and how it is seen afterwards.
    fn wide_types(dtype: Dtype, n: usize) -> (String, String) {
        let elements = format!("<{n} x {}>", memty(dtype));
        match n * dtype.size() {
            bytes if dtype.size() < 4 && bytes % 4 == 0 => (format!("<{} x i32>", bytes / 4), elements),
            _ => (elements.clone(), elements),
        }
    }

    fn wide_load(&mut self, dst: &[Reg], ptr: Reg, dtype: Dtype, index: &Index) {
        let n = dst.len();
        let at = self.address(ptr, dtype, index);
        self.watch(ptr, &at, dtype, n, false);
        let (words, elements) = Self::wide_types(dtype, n);
        let mut all = self.tmp(&format!("load {words}, ptr {at}, align "), &(n * dtype.size()).to_string());
        if words != elements {
            all = self.tmp(&format!("bitcast {words} {all} to "), &elements);
        }
        if let Machine::Ptx(_) = self.machine {
            // so that no part of the load is merged with a load of another branch
            self.line("call void asm sideeffect \"\", \"\"() #2");
        }
        for (i, r) in dst.iter().enumerate() {
            let mut x = self.tmp(&format!("extractelement {elements} {all}, i32 "), &i.to_string());
            if dtype == Dtype::Bool {
                x = self.tmp("icmp ne i8 0, ", &x);
            }
            self.set(*r, x);
        }
    }

    fn wide_store(&mut self, ptr: Reg, dtype: Dtype, index: &Index, values: &[Operand]) {
        let n = values.len();
        let at = self.address(ptr, dtype, index);
        self.watch(ptr, &at, dtype, n, true);
        let (words, elements) = Self::wide_types(dtype, n);
        let mut all = "undef".to_owned();
        for (i, v) in values.iter().enumerate() {
            let mut x = self.op(*v);
            if dtype == Dtype::Bool {
                x = self.tmp(&format!("zext i1 {x} to "), "i8");
            }
            let text = format!("{elements} {all}, {} {x}, i32 {i}", memty(dtype));
            all = self.tmp("insertelement ", &text);
        }
        if words != elements {
            all = self.tmp(&format!("bitcast {elements} {all} to "), &words);
        }
        self.line(&format!("store {words} {all}, ptr {at}, align {}", n * dtype.size()));
    }

    // --- a warp together

    /// The `x` of the thread whose number differs in the bits of `xor`.
    fn shuffle(&mut self, dtype: Dtype, x: &str, xor: u32) -> String {
        let ty = llty(dtype);
        let bits = 8 * dtype.size();
        let int = if dtype == Dtype::Bool { "i1".to_owned() } else { format!("i{bits}") };
        let float = ty != int;
        let mut v = x.to_owned();
        if float {
            v = self.tmp(&format!("bitcast {ty} {v} to "), &int);
        }
        let carrier = if self.machine == Machine::Simulated || bits == 64 { "i64" } else { "i32" };
        if int != carrier {
            v = self.tmp(&format!("zext {int} {v} to "), carrier);
        }
        v = match (&self.machine, carrier) {
            (Machine::Simulated, _) => {
                let n = self.meeting();
                self.tmp("call i64 @tdl_sim_shuffle(ptr %thread, ", &format!("i32 {n}, i64 {v}, i32 {xor})"))
            }
            (_, "i64") => {
                let halves = self.tmp(&format!("bitcast i64 {v} to "), "<2 x i32>");
                let mut out = "undef".to_owned();
                for half in 0..2 {
                    let h = self.tmp(&format!("extractelement <2 x i32> {halves}, i32 "), &half.to_string());
                    let h = self.exchange(&h, xor);
                    out = self.tmp("insertelement <2 x i32> ", &format!("{out}, i32 {h}, i32 {half}"));
                }
                self.tmp(&format!("bitcast <2 x i32> {out} to "), "i64")
            }
            _ => self.exchange(&v, xor),
        };
        if int != carrier {
            v = self.tmp(&format!("trunc {carrier} {v} to "), &int);
        }
        if float {
            v = self.tmp(&format!("bitcast {int} {v} to "), ty);
        }
        v
    }

    fn exchange(&mut self, word: &str, xor: u32) -> String {
        self.tmp("call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, ", &format!("i32 {word}, i32 {xor}, i32 31)"))
    }

    fn matrices(&mut self, at: &str, transposed: bool) -> Vec<String> {
        if self.machine == Machine::Simulated {
            let n = self.meeting();
            let slot = self.slot("[4 x i32]");
            let text = format!("i32 {n}, ptr {at}, ptr {slot}, i32 {}", u32::from(transposed));
            self.line(&format!("call void @tdl_sim_matrices(ptr %thread, {text})"));
            return self.words(&slot, "i32", 0..4);
        }
        let place = self.shared_address(at);
        let transposed = if transposed { ".trans" } else { "" };
        let instruction = format!("ldmatrix.sync.aligned.m8n8.x4{transposed}.shared.b16 {{$0, $1, $2, $3}}, [$4];");
        let constraints = "=r,=r,=r,=r,r,~{memory}";
        let all = self.tmp(
            &format!("call {{i32, i32, i32, i32}} {TOGETHER} \"{instruction}\", \"{constraints}\"("),
            &format!("i32 {place}) #1"),
        );
        self.parts("{i32, i32, i32, i32}", &all)
    }

    fn product(&mut self, dtype: Dtype, words: &[String], sums: &[String]) -> Vec<String> {
        const RESULT: &str = "{float, float, float, float}";
        let arch = match self.machine {
            Machine::Ptx(arch) => arch,
            _ => return self.simulated_product(dtype, words, sums),
        };
        let bf16 = dtype == Dtype::Bf16;
        let w: Vec<String> = words.iter().map(|w| format!("i32 {w}")).collect();
        let s: Vec<String> = sums.iter().map(|s| format!("float {s}")).collect();
        if arch < SM_80 && bf16 {
            let text = format!("{}, {}) #1", w.join(", "), s.join(", "));
            let all = self.tmp(&format!("call {RESULT} @tdl.product("), &text);
            return self.parts(RESULT, &all);
        }
        if arch < SM_80 {
            let mut sums = s;
            let mut out = Vec::new();
            for k in 0..2 {
                let instruction = "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {$0, $1, $2, $3}, {$4, $5}, {$6}, {$7, $8, $9, $10};";
                let constraints = "=f,=f,=f,=f,r,r,r,f,f,f,f";
                let text = format!("{}, {}, {}, {}) #1", w[2 * k], w[2 * k + 1], w[4 + k], sums.join(", "));
                let call = format!("call {RESULT} {TOGETHER} \"{instruction}\", \"{constraints}\"(");
                let all = self.tmp(&call, &text);
                out = self.parts(RESULT, &all);
                sums = out.iter().map(|s| format!("float {s}")).collect();
            }
            return out;
        }
        let ty = if bf16 { "bf16" } else { "f16" };
        let instruction = format!(
            "mma.sync.aligned.m16n8k16.row.col.f32.{ty}.{ty}.f32 {{$0, $1, $2, $3}}, {{$4, $5, $6, $7}}, {{$8, $9}}, {{$10, $11, $12, $13}};"
        );
        let constraints = "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f";
        let text = format!("{}, {}) #1", w.join(", "), s.join(", "));
        let all = self.tmp(&format!("call {RESULT} {TOGETHER} \"{instruction}\", \"{constraints}\"("), &text);
        self.parts(RESULT, &all)
    }

    fn simulated_product(&mut self, dtype: Dtype, words: &[String], sums: &[String]) -> Vec<String> {
        let n = self.meeting();
        let slot = self.slot("[10 x i32]");
        let words = words.iter().map(|w| ("i32", w));
        for (i, (ty, v)) in words.chain(sums.iter().map(|s| ("float", s))).enumerate() {
            let at = self.tmp("getelementptr i32, ptr ", &format!("{slot}, i64 {i}"));
            self.line(&format!("store {ty} {v}, ptr {at}"));
        }
        let bf16 = u32::from(dtype == Dtype::Bf16);
        self.line(&format!("call void @tdl_sim_product(ptr %thread, i32 {n}, ptr {slot}, i32 {bf16})"));
        self.words(&slot, "float", 6..10)
    }

    fn words(&mut self, slot: &str, ty: &str, which: std::ops::Range<usize>) -> Vec<String> {
        which
            .map(|i| {
                let at = self.tmp("getelementptr i32, ptr ", &format!("{slot}, i64 {i}"));
                self.tmp(&format!("load {ty}, ptr "), &at)
            })
            .collect()
    }

    fn parts(&mut self, ty: &str, all: &str) -> Vec<String> {
        (0..4).map(|i| self.tmp(&format!("extractvalue {ty} {all}, "), &i.to_string())).collect()
    }

    fn shared_address(&mut self, at: &str) -> String {
        let p = self.tmp(&format!("addrspacecast ptr {at} to "), "ptr addrspace(3)");
        self.tmp(&format!("ptrtoint ptr addrspace(3) {p} to "), "i32")
    }

    fn copy(&mut self, to: &str, from: &str, dtype: Dtype, inside: &str) {
        match self.machine {
            Machine::Ptx(arch) if arch < SM_80 => {
                let (then, join) = (self.fresh_block("copy"), self.fresh_block("copied"));
                let slot = self.slot("<4 x i32>");
                self.line(&format!("store <4 x i32> zeroinitializer, ptr {slot}, align {WIDE}"));
                self.line(&format!("br i1 {inside}, label %{then}, label %{join}"));
                self.start(&then);
                let x = self.tmp("load <4 x i32>, ptr ", &format!("{from}, align {WIDE}"));
                self.line(&format!("store <4 x i32> {x}, ptr {slot}, align {WIDE}"));
                self.line(&format!("br label %{join}"));
                self.start(&join);
                let x = self.tmp("load <4 x i32>, ptr ", &format!("{slot}, align {WIDE}"));
                self.line(&format!("store <4 x i32> {x}, ptr {to}, align {WIDE}"));
            }
            Machine::Ptx(_) => {
                let to = self.shared_address(to);
                let p = self.tmp(&format!("addrspacecast ptr {from} to "), "ptr addrspace(1)");
                let bytes = self.tmp(&format!("select i1 {inside}, i32 {WIDE}, i32 "), "0");
                let instruction = format!("cp.async.cg.shared.global [$0], [$1], {WIDE}, $2;");
                self.line(&format!(
                    "call void asm sideeffect \"{instruction}\", \"r,l,r,~{{memory}}\"(i32 {to}, ptr addrspace(1) {p}, i32 {bytes})"
                ));
            }
            _ => {
                let inside = self.tmp(&format!("zext i1 {inside} to "), "i32");
                let size = dtype.size();
                let text = format!("ptr {to}, ptr {from}, i32 {size}, i32 {inside}");
                self.line(&format!("call void @tdl_sim_copy(ptr %thread, {text})"));
            }
        }
    }
}

/// Products of bf16 matrices where the GPU has none: each thread collects the rows and columns that it needs by shuffles. It is long,
/// so it stands once in a program.
pub(super) fn product_by_shuffles() -> String {
    let params: Vec<String> = ["a0", "a1", "a2", "a3", "b0", "b1"].map(|n| format!("i32 %{n}")).to_vec();
    let sums: Vec<String> = (0..4).map(|i| format!("float %c{i}")).collect();
    let mut out = format!(
        "define internal {{float, float, float, float}} @tdl.product({}, {}) noinline #1 {{\n",
        params.join(", "),
        sums.join(", ")
    );
    let _ = writeln!(
        out,
        "  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()\n  %lane = and i32 %t, 31\n  %row = and i32 %lane, 28\n  %q = and i32 %lane, 3\n  %col = shl i32 %q, 3"
    );
    let mut acc: Vec<String> = (0..4).map(|i| format!("%c{i}")).collect();
    for k in 0..2 {
        for q in 0..4 {
            let _ = writeln!(out, "  %from.{k}.{q} = add i32 %row, {q}");
            for (name, reg, from) in [
                ("x0", format!("%a{}", 2 * k), format!("%from.{k}.{q}")),
                ("x1", format!("%a{}", 2 * k + 1), format!("%from.{k}.{q}")),
                ("y0", format!("%b{k}"), format!("%y0.from.{k}.{q}")),
                ("y1", format!("%b{k}"), format!("%y1.from.{k}.{q}")),
            ] {
                if name.starts_with('y') {
                    let offset = q + if name == "y1" { 4 } else { 0 };
                    let _ = writeln!(out, "  {from} = add i32 %col, {offset}");
                }
                let id = format!("%{name}.{k}.{q}");
                let _ = writeln!(
                    out,
                    "  {id} = call i32 @llvm.nvvm.shfl.sync.idx.i32(i32 -1, i32 {reg}, i32 {from}, i32 31)\n  {id}.l = shl i32 {id}, 16\n  {id}.h = and i32 {id}, -65536\n  {id}.f0 = bitcast i32 {id}.l to float\n  {id}.f1 = bitcast i32 {id}.h to float"
                );
            }
            for h in 0..2 {
                for (i, sum) in acc.iter_mut().enumerate() {
                    let next = format!("%s.{k}.{q}.{h}.{i}");
                    let (x, y) = (i / 2, i % 2);
                    let _ = writeln!(
                        out,
                        "  {next} = call float @llvm.fma.f32(float %x{x}.{k}.{q}.f{h}, float %y{y}.{k}.{q}.f{h}, float {sum})"
                    );
                    *sum = next;
                }
            }
        }
    }
    let mut all = "undef".to_owned();
    for (i, sum) in acc.iter().enumerate() {
        let _ = writeln!(out, "  %r{i} = insertvalue {{float, float, float, float}} {all}, float {sum}, {i}");
        all = format!("%r{i}");
    }
    let _ = writeln!(out, "  ret {{float, float, float, float}} {all}\n}}\n");
    out
}
