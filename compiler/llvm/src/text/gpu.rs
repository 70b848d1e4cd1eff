//! GPUs: kernels for a simulated one or for PTX, from one body, and the host's calls to whichever device the program runs
//! on. The two differ in how a thread learns where it is, in barriers, and in what shared memory is.

use std::fmt::Write;

use tdl_ir::Dtype;
use tdl_loops::ir::{Access, DataId, Kernel, KernelId, Operand, Per, Place, Program, Reg, RegTy};

use super::func::{Emit, reg_ty};
use super::{Globals, device, llty, math, memty, scalar};
use crate::{Image, ImageCode};
use tdl_runtime::abi::ImageKind;

/// What runs a piece of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    /// The host, with tensors in its own memory.
    Cpu,
    /// The host, with tensors in a GPU's memory.
    HostOfGpu,
    /// A thread of the simulated GPU, on the host's processor.
    Simulated,
    /// A thread of a real one.
    Ptx(Arch),
}

/// What instructions a GPU has: 80 is 8.0.
pub(crate) type Arch = u32;

/// Declarations that the host code of a GPU program needs.
pub(super) const HOST_PRELUDE: &str = "%Kernel = type { %Text, ptr, i32, i32, i32, i32, i64, ptr, i64 }
%Image = type { i32, i32, i32, i32, %Text }
declare ptr @tdl_device_alloc(ptr, i64, i32)
declare ptr @tdl_device_alloc_ahead(ptr, i64, i32)
declare void @tdl_device_alloc_missing(ptr, i64, i32)
declare void @tdl_device_free(ptr, ptr)
declare ptr @tdl_device_data(ptr, ptr, i64)
declare i32 @tdl_device_read(ptr, ptr, ptr, i64)
declare i32 @tdl_device_write(ptr, ptr, ptr, i64)
declare i32 @tdl_device_copy(ptr, ptr, ptr, i64)
declare i32 @tdl_device_zero(ptr, ptr, i64)
declare i32 @tdl_device_launch(ptr, ptr, ptr, i64)
declare void @tdl_device_segment(ptr, i32, i32)
declare void @tdl_sim_access(ptr, ptr, i32, i32, i32)
declare void @tdl_sim_barrier(ptr, i32, i32)
declare i64 @tdl_sim_shuffle(ptr, i32, i64, i32)
declare void @tdl_sim_matrices(ptr, i32, ptr, ptr, i32)
declare void @tdl_sim_product(ptr, i32, ptr, i32)
declare void @tdl_sim_copy(ptr, ptr, ptr, i32, i32)
declare void @tdl_sim_group(ptr)
declare void @tdl_sim_wait(ptr, i32)
";

/// The bit that the simulated device's addresses carry outside of its kernels.
const DEVICE_BIT: u64 = tdl_runtime::abi::DEVICE_BIT;

/// A module of kernels alone, for PTX.
pub(super) fn ptx(program: &Program, arch: Arch) -> String {
    let mut g = Globals::default();
    let mut body = String::new();
    for (i, k) in program.kernels.iter().enumerate() {
        kernel(&mut body, &mut g, program, i, k, Machine::Ptx(arch));
    }
    gamma(&mut body, &mut g, program);
    if body.contains("@tdl.product(") {
        body.push_str(&device::product_by_shuffles());
    }
    body.push_str(scalar::POWER);
    body.push_str(math::FMOD);
    format!(
        "{}\n{body}\nattributes #0 = {{ nounwind }}\nattributes #1 = {{ convergent nounwind }}\nattributes #2 = {{ nounwind memory(inaccessiblemem: readwrite) }}\n{}",
        g.text, g.metadata
    )
}

/// The functions of the runtime that kernels call, if they do.
fn gamma(body: &mut String, g: &mut Globals, program: &Program) {
    if ["lgamma", "digamma", "polygamma"].iter().any(|name| body.contains(&format!("@tdl.{name}("))) {
        body.push_str(&math::gamma_functions(g, program));
    }
}

/// Kernels of the simulated device, if it is that one, and what the host launches them by. `images` are the kernels for real
/// ones.
pub(super) fn kernels(body: &mut String, g: &mut Globals, program: &Program, images: Option<&[Image]>) {
    let table = images.unwrap_or(&[]).iter().map(|i| image(g, i)).collect::<Vec<_>>();
    let n = table.len();
    let _ = writeln!(g.text, "@images = private constant [{n} x %Image] [{}]", table.join(", "));
    for (i, k) in program.kernels.iter().enumerate() {
        let mut shared = 0;
        let code = if images.is_none() {
            shared = kernel(body, g, program, i, k, Machine::Simulated);
            format!("@k{i}")
        } else {
            "null".into()
        };
        let (threads, together) = k.grid.map_or((1, false), |g| (g.threads, g.per != Per::Thread));
        let name = g.text_value(&k.name);
        let _ = writeln!(
            g.text,
            "@kernel{i} = private constant %Kernel {{ %Text {name}, ptr {code}, i32 {i}, i32 {}, i32 {threads}, i32 {}, i64 {shared}, ptr @images, i64 {n} }}",
            k.params.len(),
            u32::from(together)
        );
    }
    gamma(body, g, program);
}

fn image(g: &mut Globals, image: &Image) -> String {
    let kind = match &image.code {
        ImageCode::Assembly(_) => ImageKind::Assembly,
        ImageCode::Machine(_) => ImageKind::Machine,
    };
    let mut data = match &image.code {
        ImageCode::Assembly(text) => text.clone().into_bytes(),
        ImageCode::Machine(bytes) => bytes.clone(),
    };
    let len = data.len();
    // the driver looks for the end of assembly
    data.push(0);
    let at = g.constant(&data);
    let (capability, exact) = (arch(&image.arch), u32::from(image.arch.ends_with('a')));
    format!("%Image {{ i32 {capability}, i32 {}, i32 {exact}, i32 0, %Text {{ ptr {at}, i64 {len} }} }}", kind as u32)
}

/// `sm_90a` has the instructions 90.
pub(crate) fn arch(name: &str) -> Arch {
    name.trim_start_matches("sm_").trim_end_matches('a').parse().unwrap_or(0)
}

/// One kernel; gives the bytes that a block shares.
fn kernel(out: &mut String, g: &mut Globals, program: &Program, id: usize, k: &Kernel, machine: Machine) -> usize {
    let mut e = Emit::new(g, program, &k.regs);
    e.machine = machine;
    e.kernel = id;
    let range = k.grid.map_or(k.hi, |g| g.range);
    let mut head = Vec::new();
    for (i, p) in k.params.iter().enumerate() {
        let ty = k.regs[p.reg.0 as usize].ty;
        if let Machine::Ptx(_) = machine {
            head.push(e.ptx_param(i, p.reg, ty, p.access));
            continue;
        }
        let at = e.tmp("getelementptr i64, ptr %args, i64 ", &i.to_string());
        let value = if ty == RegTy::Ptr {
            let tagged = e.tmp("load i64, ptr ", &at);
            let bits = e.tmp("and i64 ", &format!("{tagged}, {}", !DEVICE_BIT as i64));
            e.tmp("inttoptr i64 ", &format!("{bits} to ptr"))
        } else {
            e.tmp(&format!("load {}, ptr ", reg_ty(ty)), &at)
        };
        e.set(p.reg, value);
    }
    e.block(&k.body);
    let range = e.reg(range).to_owned();
    let (convention, params) = match machine {
        Machine::Ptx(_) => {
            head.push(format!("i64 {range}"));
            ("ptx_kernel ", head.join(", "))
        }
        _ => ("internal ", format!("ptr %args, i64 {range}, ptr %thread")),
    };
    let _ = writeln!(out, "; {}\ndefine {convention}void @k{id}({params}) #0 {{\nentry:", k.name);
    let _ = writeln!(out, "{}{}  ret void\n}}\n", e.slots, e.out);
    e.shared_bytes
}

impl Emit<'_> {
    /// A parameter of a PTX kernel; its register is defined at the kernel's start.
    fn ptx_param(&mut self, i: usize, reg: Reg, ty: RegTy, access: Access) -> String {
        match ty {
            RegTy::Scalar(Dtype::Bool) => {
                let value = self.tmp("icmp ne i8 0, ", &format!("%p{i}"));
                self.set(reg, value);
                format!("i8 %p{i}")
            }
            RegTy::Scalar(d) => format!("{} {}", llty(d), self.reg(reg)),
            RegTy::Ptr | RegTy::Str | RegTy::Stack => {
                let value = self.tmp("addrspacecast ptr addrspace(1) ", &format!("%p{i} to ptr"));
                self.set(reg, value);
                let attrs = if access == Access::Read { "noalias readonly" } else { "noalias" };
                format!("ptr addrspace(1) {attrs} %p{i}")
            }
        }
    }

    pub(super) fn place(&mut self, p: Place) -> String {
        if let Machine::Ptx(_) = self.machine {
            let register = match p {
                Place::Thread => "tid",
                Place::Block => "ctaid",
                Place::Blocks => "nctaid",
            };
            let v = self.tmp(&format!("call i32 @llvm.nvvm.read.ptx.sreg.{register}.x()"), "");
            return self.tmp("zext i32 ", &format!("{v} to i64"));
        }
        let field = match p {
            Place::Thread => 0,
            Place::Block => 1,
            Place::Blocks => 2,
        };
        let at = self.tmp("getelementptr i64, ptr %thread, i64 ", &field.to_string());
        self.tmp("load i64, ptr ", &at)
    }

    pub(super) fn shared(&mut self, dst: Reg, dtype: Dtype, len: usize) {
        let bytes = (len * dtype.size()).next_multiple_of(16);
        let at = self.shared_bytes;
        self.shared_bytes += bytes;
        if let Machine::Ptx(_) = self.machine {
            let name = format!("@k{}.s{at}", self.kernel);
            let ty = format!("[{len} x {}]", memty(dtype));
            let _ = writeln!(self.g.text, "{name} = internal addrspace(3) global {ty} undef, align 16");
            let value = self.tmp("addrspacecast ptr addrspace(3) ", &format!("{name} to ptr"));
            return self.set(dst, value);
        }
        let base = self.tmp("getelementptr i64, ptr %thread, i64 3", "");
        let base = self.tmp("load ptr, ptr ", &base);
        let value = self.tmp("getelementptr i8, ptr ", &format!("{base}, i64 {at}"));
        self.set(dst, value);
    }

    pub(super) fn barrier(&mut self, per: Per) {
        let (n, warp) = (self.meeting(), per == Per::Warp);
        match (self.machine, warp) {
            (Machine::Ptx(_), false) => self.line("call void @llvm.nvvm.barrier0()"),
            (Machine::Ptx(_), true) => self.line("call void @llvm.nvvm.bar.warp.sync(i32 -1)"),
            _ => self.line(&format!("call void @tdl_sim_barrier(ptr %thread, i32 {n}, i32 {})", u32::from(warp))),
        }
    }

    /// The number of a place where threads meet.
    pub(super) fn meeting(&mut self) -> usize {
        self.meetings += 1;
        self.meetings
    }

    /// Tells the simulated device of an access to `count` elements, before it is made.
    pub(super) fn watch(&mut self, ptr: Reg, address: &str, dtype: Dtype, count: usize, write: bool) {
        if self.machine == Machine::Simulated && !self.private.contains(&ptr) {
            let (size, write) = (dtype.size(), u32::from(write));
            let text = format!("ptr {address}, i32 {size}, i32 {count}, i32 {write}");
            self.line(&format!("call void @tdl_sim_access(ptr %thread, {text})"));
        }
    }

    // --- the host

    /// The runtime's function for the memory that tensors are in.
    pub(super) fn memory_call(&self, name: &str) -> String {
        if self.machine == Machine::HostOfGpu { format!("tdl_device_{name}") } else { format!("tdl_{name}") }
    }

    /// An element of the device's memory.
    pub(super) fn read_there(&mut self, address: &str, dtype: Dtype) -> String {
        let slot = self.slot("i64");
        let text = format!("ptr {slot}, ptr {address}, i64 {})", dtype.size());
        let status = self.tmp("call i32 @tdl_device_read(ptr %ctx, ", &text);
        self.check_status(&status);
        self.load(&slot, dtype)
    }

    pub(super) fn write_there(&mut self, address: &str, dtype: Dtype, value: &str) {
        let slot = self.slot("i64");
        self.store(&slot, dtype, value);
        let text = format!("ptr {address}, ptr {slot}, i64 {})", dtype.size());
        let status = self.tmp("call i32 @tdl_device_write(ptr %ctx, ", &text);
        self.check_status(&status);
    }

    /// Constant data, in the device's memory.
    pub(super) fn data_there(&mut self, id: DataId) -> String {
        let len = self.program.data[id.0 as usize].len();
        let p = self.tmp("call ptr @tdl_device_data(ptr %ctx, ", &format!("ptr @data{}, i64 {len})", id.0));
        let ok = self.tmp("icmp ne ptr null, ", &p);
        self.fail_unless(&ok);
        p
    }

    pub(super) fn launch_there(&mut self, id: KernelId, args: &[Operand], range: Operand) {
        let env = self.slot(&format!("[{} x i64]", args.len().max(1)));
        for (i, a) in args.iter().enumerate() {
            let at = self.tmp("getelementptr i64, ptr ", &format!("{env}, i64 {i}"));
            let (ty, value) = (self.op_ty(*a), self.op(*a));
            if !matches!(ty, "i64" | "ptr" | "double") {
                // equal arguments are equal slots
                self.line(&format!("store i64 0, ptr {at}"));
            }
            self.line(&format!("store {ty} {value}, ptr {at}"));
        }
        let text = format!("ptr @kernel{}, ptr {env}, i64 {})", id.0, self.op(range));
        let status = self.tmp("call i32 @tdl_device_launch(ptr %ctx, ", &text);
        self.check_status(&status);
    }
}
