//! Loop IR to the text of an LLVM module. Text, because LLVM's own parser checks it and because it can be read:
//! `tdl emit --stage llvm` shows what is compiled.
//!
//! One function a kernel (`@k3`), one a host function (`@tdl_fn_main`), and the exported table `@tdl_program`.

mod bands;
mod debug;
mod device;
mod float;
mod func;
mod gpu;
mod kernel;
mod math;
mod runtime;
mod scalar;
mod table;

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use tdl_ir::{Dtype, HostFn, Scalar};
use tdl_loops::ir::{Func, KernelId, Program, Target};

use crate::{Image, Role};
pub(crate) use gpu::arch;
use kernel::KernelText;

pub use table::{ProgramInfo, ProgramParam, SiteText};

/// Name of a host function's symbol.
pub fn symbol(name: &str) -> String {
    let clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '.' }).collect();
    format!("tdl_fn_{clean}")
}

/// Kernels of a program for a GPU alone, to be compiled to PTX; `arch` 80 is 8.0.
pub fn kernels(program: &Program, arch: u32) -> String {
    gpu::ptx(program, arch)
}

/// The whole program as one module, for `role`. `images` are the kernels, if a GPU runs them; without them, a program for a GPU
/// runs on the simulated one.
pub fn module(program: &Program, info: &ProgramInfo, role: Role, images: Option<&[Image]>) -> String {
    let mut g = Globals::default();
    let kernels = cpu_kernels(&mut g, program);
    let funcs: Vec<&Func> = program.funcs.iter().collect();
    host(g, program, info, role, images, (&funcs, &[]), |out| kernels.iter().for_each(|k| k.define(out, "internal")))
}

/// A module that is compiled on its own.
pub struct Part {
    pub text: String,
    /// It is long: that it is compiled quickly matters more than that it is fast.
    pub long: bool,
}

/// The same as modules that are compiled side by side: that of the host, those of kernels, those of long functions. What goes where
/// depends on the program alone.
pub fn modules(program: &Program, info: &ProgramInfo, role: Role, images: Option<&[Image]>) -> Vec<Part> {
    let part = |text| Part { text, long: false };
    if info.debug || program.target == Target::Gpu {
        return vec![part(module(program, info, role, images))];
    }
    let mut g = Globals::default();
    let kernels = cpu_kernels(&mut g, program);
    let (long, short): (Vec<&Func>, Vec<&Func>) = program.funcs.iter().partition(|f| kernel::branches(&f.body) > MANY);
    let small = kernel::small_kernels(program, &long);
    let (stay, mut go): (Vec<&KernelText>, Vec<&KernelText>) = kernels.iter().partition(|k| small.contains(&k.id()));
    let len: usize = go.iter().map(|k| k.len()).sum();
    let count = (len / SHARE).clamp(usize::from(!long.is_empty()), SHARES);
    if count == 0 {
        let define = |out: &mut String| kernels.iter().for_each(|k| k.define(out, "internal"));
        return vec![part(host(g, program, info, role, images, (&short, &[]), define))];
    }
    // the longest first, each to whom has the least
    go.sort_by_key(|k| std::cmp::Reverse(k.len()));
    let mut shares: Vec<(usize, String)> = vec![(0, String::new()); count];
    for k in &go {
        let Some((len, text)) = shares.iter_mut().min_by_key(|(len, _)| *len) else { continue };
        *len += k.len();
        k.define(text, "hidden");
    }
    let elsewhere: HashSet<KernelId> = go.iter().map(|k| k.id()).collect();
    let around = |constants: &str, text: &str, metadata: &str| {
        format!(
            "{PRELUDE}{}{constants}\n{text}\n{}{}{}\n{metadata}",
            host_prelude(program),
            scalar::STREAM,
            scalar::POWER,
            math::FMOD
        )
    };
    let mut all: Vec<Part> = shares.iter().map(|(_, text)| part(around(&g.text, text, &g.metadata))).collect();
    for f in &long {
        let mut g = Globals { elsewhere: elsewhere.clone(), ..Globals::default() };
        let mut text = String::new();
        go.iter().for_each(|k| k.declare(&mut text));
        func::host(&mut text, &mut g, program, f);
        for (i, data) in program.data.iter().enumerate() {
            let _ = writeln!(g.text, "@data{i} = external hidden constant [{} x i8]", data.len());
        }
        all.push(Part { text: around(&g.text, &text, &g.metadata), long: true });
    }
    g.elsewhere = elsewhere;
    let first = host(g, program, info, role, images, (&short, &long), |out| {
        stay.iter().for_each(|k| k.define(out, "internal"));
        go.iter().for_each(|k| k.declare(out));
    });
    all.insert(0, part(first));
    all
}

/// Text of kernels that is worth a module of its own, and the most modules.
const SHARE: usize = 20 << 10;
const SHARES: usize = 8;
/// In a function with more branches LLVM's allocation of registers takes seconds, in one with ten times as many minutes.
const MANY: usize = 1500;

fn cpu_kernels(g: &mut Globals, program: &Program) -> Vec<KernelText> {
    match program.target {
        Target::Cpu => program.kernels.iter().enumerate().map(|(i, k)| kernel::kernel(g, program, i, k)).collect(),
        Target::Gpu => Vec::new(),
    }
}

/// The module with the functions `funcs` of the host, or that of all, and what belongs to the program as a whole; `kernels` adds those of
/// the CPU, or says that they are elsewhere.
fn host(
    mut g: Globals,
    program: &Program,
    info: &ProgramInfo,
    role: Role,
    images: Option<&[Image]>,
    (funcs, elsewhere): (&[&Func], &[&Func]),
    kernels: impl FnOnce(&mut String),
) -> String {
    let mut body = String::new();
    if info.debug {
        g.debug = Some(debug::Unit::new(&mut g, info));
        body.push_str("declare void @llvm.dbg.declare(metadata, metadata, metadata)\n");
    }
    match program.target {
        Target::Cpu => {
            kernels(&mut body);
            body.push_str(scalar::STREAM);
        }
        Target::Gpu => gpu::kernels(&mut body, &mut g, program, images),
    }
    for f in funcs {
        func::host(&mut body, &mut g, program, f);
    }
    for f in elsewhere {
        let _ = writeln!(body, "declare i32 @{}(ptr, ptr, ptr) #0", symbol(&f.name));
    }
    table::emit(&mut body, &mut g, program, info, role);
    for (i, data) in program.data.iter().enumerate() {
        let linkage = if elsewhere.is_empty() { "private unnamed_addr" } else { "hidden" };
        let _ = writeln!(g.text, "@data{i} = {linkage} constant {}, align 64", bytes(data));
    }
    let host = host_prelude(program);
    format!("{PRELUDE}{host}{}\n{body}\n{}{}\n{}", g.text, scalar::POWER, math::FMOD, g.metadata)
}

/// What a module with functions of the host declares besides.
fn host_prelude(program: &Program) -> String {
    let mut host = match program.target {
        Target::Cpu => String::new(),
        Target::Gpu => gpu::HOST_PRELUDE.to_owned(),
    };
    if program.tasks.is_some() {
        host.push_str(table::PROFILE_PRELUDE);
    }
    for f in HostFn::ALL {
        let _ = writeln!(host, "declare i32 @tdl_{}(ptr, ptr, i64, ptr, i32)", f.def().name);
    }
    host
}

/// What every module declares. Attribute group 0 gets the target's name and features when the module is compiled.
const PRELUDE: &str = "%Arg = type { i32, i32, i64, ptr }
%Text = type { ptr, i64 }
%Entry = type { %Text, %Arg }
%Matrix = type { ptr, i64, i64, ptr }
%Gemm = type { i32, i32, i64, i64, i64, i64, ptr, %Matrix, %Matrix, %Matrix }
%Site = type { %Text, i32, i32, i32, i32, %Text, %Text }
%Param = type { %Text, i32, i32, ptr }
%Program = type { i32, i32, ptr, ptr, ptr, i64, %Text, %Text }
%Step = type { ptr, ptr, ptr, i64, i64 }
%Windows = type { i32, i32, ptr, ptr, ptr, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64 }
declare ptr @tdl_alloc(ptr, i64, i32)
declare ptr @tdl_alloc_ahead(ptr, i64, i32)
declare void @tdl_alloc_missing(ptr, i64, i32)
declare void @tdl_free(ptr, ptr)
declare void @tdl_parallel(ptr, ptr, ptr, i64, i64)
declare void @tdl_gemm_f32(ptr, ptr)
declare void @tdl_gemm_f64(ptr, ptr)
declare void @tdl_gemm_int(ptr, ptr)
declare void @tdl_windows_f32(ptr, ptr)
declare void @tdl_windows_f64(ptr, ptr)
declare void @tdl_bands(ptr, ptr, i64, i64, i64, i64)
declare void @tdl_step_kernel(ptr, ptr, i64, i64, i64)
declare void @tdl_step_gemm_f32(ptr, ptr, i64, i64, i64)
declare void @tdl_step_gemm_f64(ptr, ptr, i64, i64, i64)
declare void @tdl_step_gemm_int(ptr, ptr, i64, i64, i64)
declare void @tdl_step_windows_f32(ptr, ptr, i64, i64, i64)
declare void @tdl_step_windows_f64(ptr, ptr, i64, i64, i64)
declare void @tdl_interrupted(ptr)
declare void @tdl_fail(ptr, i32, i32, ptr, i64, ptr, i64)
declare i32 @tdl_print(ptr, ptr, i64, ptr, i64, ptr, i64)
declare ptr @tdl_format(ptr, ptr, i64, ptr, i64)
declare ptr @tdl_text(ptr, ptr, i64)
declare i32 @tdl_sort(ptr, ptr, ptr, ptr, i32, i64, i64, i32, i32)
declare i64 @tdl_count_true(ptr, ptr, i64)
declare void @tdl_positions(ptr, ptr, ptr, i64)
declare void @tdl_random(ptr, ptr, i32, i32, i64, i64, i64)
declare ptr @tdl_stack_new(ptr)
declare ptr @tdl_stack_grow(ptr, ptr, i64, i32)
declare ptr @tdl_stack_contents(ptr, ptr)
declare void @tdl_stack_free(ptr, ptr)
declare i32 @tdl_save(ptr, ptr, ptr, i64, i32)
declare i32 @tdl_load(ptr, ptr, ptr, i64, ptr, i32, i32)
declare i32 @tdl_exists(ptr, ptr)
declare double @tdl_clock(ptr)
declare void @tdl_progress(ptr, i64, i64)
declare double @tdl_lgamma(double)
declare double @tdl_digamma(double)
declare double @tdl_polygamma(double, double)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
declare {i64, i1} @llvm.smul.with.overflow.i64(i64, i64)
";

/// Constants and metadata that functions refer to.
#[derive(Default)]
pub(crate) struct Globals {
    pub text: String,
    pub metadata: String,
    strings: HashMap<Vec<u8>, usize>,
    next_metadata: usize,
    /// Metadata nodes by what they say.
    nodes: HashMap<String, usize>,
    /// Scopes of source functions.
    subprograms: HashMap<String, usize>,
    pub debug: Option<debug::Unit>,
    /// Kernels of other modules.
    pub elsewhere: HashSet<KernelId>,
}

impl Globals {
    /// The name of a constant with these bytes.
    pub fn constant(&mut self, data: &[u8]) -> String {
        let next = self.strings.len();
        let id = *self.strings.entry(data.to_vec()).or_insert(next);
        if id == next {
            let _ = writeln!(self.text, "@s{id} = private unnamed_addr constant {}", bytes(data));
        }
        format!("@s{id}")
    }

    /// `%Text` of these bytes, as a constant.
    pub fn text_value(&mut self, text: &str) -> String {
        if text.is_empty() {
            return "{ ptr null, i64 0 }".into();
        }
        format!("{{ ptr {}, i64 {} }}", self.constant(text.as_bytes()), text.len())
    }

    /// The number of a metadata node.
    pub fn node(&mut self, text: &str) -> usize {
        self.node_as(text, text)
    }

    /// As [`Self::node`], found again by `key`.
    pub fn node_as(&mut self, key: &str, text: &str) -> usize {
        if let Some(id) = self.nodes.get(key) {
            return *id;
        }
        let id = self.next_metadata;
        self.next_metadata += 1;
        self.nodes.insert(key.to_owned(), id);
        let _ = writeln!(self.metadata, "!{id} = {text}");
        id
    }

    /// A loop's metadata (to vectorise) and the access group of its loads and stores.
    pub fn vector_loop(&mut self) -> (usize, usize) {
        let n = self.next_metadata;
        self.next_metadata += 4;
        let (group, id) = (n, n + 1);
        let _ = writeln!(
            self.metadata,
            "!{group} = distinct !{{}}\n!{id} = distinct !{{!{id}, !{}, !{}}}\n!{} = !{{!\"llvm.loop.vectorize.enable\", i1 true}}\n!{} = !{{!\"llvm.loop.parallel_accesses\", !{group}}}",
            n + 2,
            n + 3,
            n + 2,
            n + 3
        );
        (group, id)
    }
}

/// `[3 x i8] c"a\00b"`.
fn bytes(data: &[u8]) -> String {
    let mut out = format!("[{} x i8] c\"", data.len());
    for b in data {
        if (b.is_ascii_graphic() || *b == b' ') && *b != b'"' && *b != b'\\' {
            out.push(*b as char);
        } else {
            let _ = write!(out, "\\{b:02X}");
        }
    }
    out.push('"');
    out
}

/// Type of a register. bf16 is computed by integer operations, so that no library is called for it.
pub(crate) fn llty(d: Dtype) -> &'static str {
    match d {
        Dtype::F16 => "half",
        Dtype::Bf16 => "i16",
        Dtype::F32 => "float",
        Dtype::F64 => "double",
        Dtype::I8 | Dtype::U8 => "i8",
        Dtype::I16 => "i16",
        Dtype::I32 | Dtype::U32 => "i32",
        Dtype::I64 | Dtype::U64 => "i64",
        Dtype::Bool => "i1",
    }
}

/// Type in memory.
pub(crate) fn memty(d: Dtype) -> &'static str {
    if d == Dtype::Bool { "i8" } else { llty(d) }
}

/// The ABI's number of a dtype.
pub(crate) fn code(d: Dtype) -> u32 {
    Dtype::ALL.iter().position(|x| *x == d).unwrap_or(0) as u32
}

/// A constant in LLVM's spelling.
pub(crate) fn literal(c: Scalar, d: Dtype) -> String {
    match c {
        Scalar::Bool(b) => b.to_string(),
        Scalar::Int(i) => match d {
            Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64 => literal(Scalar::float(i as f64), d),
            Dtype::Bool => (i != 0).to_string(),
            Dtype::I8 | Dtype::U8 => (i as i8).to_string(),
            Dtype::I16 => (i as i16).to_string(),
            Dtype::I32 | Dtype::U32 => (i as i32).to_string(),
            Dtype::I64 | Dtype::U64 => i.to_string(),
        },
        Scalar::Float(bits) => {
            let x = f64::from_bits(bits);
            match d {
                Dtype::F64 => format!("0x{bits:016X}"),
                Dtype::F16 => format!("0xH{:04X}", half::f16::from_f64(x).to_bits()),
                Dtype::Bf16 => (half::bf16::from_f64(x).to_bits() as i16).to_string(),
                _ => format!("0x{:016X}", f64::from(x as f32).to_bits()),
            }
        }
    }
}
