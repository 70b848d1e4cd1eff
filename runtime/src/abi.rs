//! The interface between generated code and the runtime: the one place where symbol names and layouts live.
//!
//! A generated function is `extern "C" fn(ctx, args: *const u64, results: *mut u64) -> i32`; 0 is success. Every parameter and
//! result takes 8-byte slots: a scalar one (its bits in the low bytes), a text one (a handle), a tensor a pointer and one
//! slot per extent. Tensors are dense and row-major. Nothing unwinds through generated code.

use std::ffi::c_void;

use crate::context::Ctx;

/// Success, and a failure that the context describes.
pub const OK: i32 = 0;
pub const FAILED: i32 = 1;

/// Element types as generated code passes them; the order of the compiler's `Dtype::ALL`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    F16 = 0,
    Bf16 = 1,
    F32 = 2,
    F64 = 3,
    I8 = 4,
    I16 = 5,
    I32 = 6,
    I64 = 7,
    U8 = 8,
    U32 = 9,
    U64 = 10,
    Bool = 11,
}

/// The number that stands for text where a [`Dtype`] is expected.
pub const TEXT: u32 = 32;

impl Dtype {
    pub const ALL: [Dtype; 12] = [
        Dtype::F16,
        Dtype::Bf16,
        Dtype::F32,
        Dtype::F64,
        Dtype::I8,
        Dtype::I16,
        Dtype::I32,
        Dtype::I64,
        Dtype::U8,
        Dtype::U32,
        Dtype::U64,
        Dtype::Bool,
    ];

    pub fn from_code(code: u32) -> Option<Dtype> {
        Dtype::ALL.get(code as usize).copied()
    }

    pub const fn size(self) -> usize {
        match self {
            Dtype::F16 | Dtype::Bf16 | Dtype::I16 => 2,
            Dtype::F32 | Dtype::I32 | Dtype::U32 => 4,
            Dtype::F64 | Dtype::I64 | Dtype::U64 => 8,
            Dtype::I8 | Dtype::U8 | Dtype::Bool => 1,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
            Dtype::F32 => "f32",
            Dtype::F64 => "f64",
            Dtype::I8 => "i8",
            Dtype::I16 => "i16",
            Dtype::I32 => "i32",
            Dtype::I64 => "i64",
            Dtype::U8 => "u8",
            Dtype::U32 => "u32",
            Dtype::U64 => "u64",
            Dtype::Bool => "bool",
        }
    }

    pub fn from_name(name: &str) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|d| d.name() == name)
    }
}

/// A generated function.
pub type Func = unsafe extern "C" fn(*mut Ctx, *const u64, *mut u64) -> i32;

/// A slice of UTF-8.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Text {
    pub ptr: *const u8,
    pub len: u64,
}

impl Text {
    /// # Safety
    /// `ptr` points to `len` bytes that live as long as the caller uses the result.
    pub unsafe fn as_str<'a>(self) -> &'a str {
        if self.len == 0 {
            return "";
        }
        // SAFETY: by contract
        let bytes = unsafe { std::slice::from_raw_parts(self.ptr, self.len as usize) };
        std::str::from_utf8(bytes).unwrap_or("?")
    }
}

/// A value that is printed, formatted or saved.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    /// A [`Dtype`], or [`TEXT`].
    pub dtype: u32,
    /// Number of axes; a scalar has none and a null `dims`.
    pub rank: u32,
    /// The scalar's bits, the text's handle, or the address of the elements.
    pub value: u64,
    /// `rank` extents; unused for scalars and texts.
    pub dims: *const i64,
}

/// An entry of a file of named tensors.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub name: Text,
    pub value: Arg,
}

/// An operand of a product: element `(i, j)` of batch `b…` is at `ptr + i * rows + j * cols + sum b * batch` (in elements).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    pub ptr: *mut c_void,
    pub rows: i64,
    pub cols: i64,
    /// One stride for each batch axis.
    pub batch: *const i64,
}

/// `c[m, n] = a[m, k] @ b[k, n]`, or `c += …`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Gemm {
    pub dtype: u32,
    pub accumulate: u32,
    pub m: i64,
    pub n: i64,
    pub k: i64,
    pub batch_rank: i64,
    pub batch: *const i64,
    pub a: Matrix,
    pub b: Matrix,
    pub c: Matrix,
}

/// A convolution, or one of its derivatives: see `product::windows`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    pub dtype: u32,
    /// What is computed: 0 `x`, 1 `w`, 2 `y`.
    pub result: u32,
    /// `[n, whole…, g, c]`.
    pub x: *mut c_void,
    /// `[g, tap…, c, o]`.
    pub w: *mut c_void,
    /// `[n, place…, g, o]`.
    pub y: *mut c_void,
    pub n: i64,
    pub g: i64,
    pub c: i64,
    pub o: i64,
    pub windows: [Window; 3],
}

/// `whole = stride * place + dilation * tap - padding`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub whole: i64,
    pub place: i64,
    pub tap: i64,
    pub stride: i64,
    pub dilation: i64,
    pub padding: i64,
}

/// A step that goes band by band: a launch, a product, a convolution.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Step {
    /// Does bands `lo..hi` of `of`.
    pub run: unsafe extern "C" fn(ctx: *mut Ctx, step: *const Step, lo: i64, hi: i64, of: i64),
    /// The kernel, the [`Gemm`] or the [`Windows`].
    pub what: *const c_void,
    /// A kernel's arguments.
    pub env: *mut c_void,
    /// A kernel's range, and steps of it in a chunk.
    pub range: i64,
    pub grain: i64,
}

/// A place in the source; `file` is empty where there is none.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Site {
    pub file: Text,
    pub line: u32,
    pub column: u32,
    /// Characters from `column` to the end of the expression, within the line.
    pub width: u32,
    pub _pad: u32,
    /// The whole line.
    pub source: Text,
    /// Where in the standard library, if the place is a call of the program's; else empty.
    pub inside: Text,
}

/// A parameter of `main`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Param {
    pub name: Text,
    /// A [`Dtype`], or [`TEXT`].
    pub dtype: u32,
    pub _pad: u32,
    /// Computes the default; null where the flag must be given.
    pub default: Option<Func>,
}

/// The exported symbol [`PROGRAM`] of a program's object.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Program {
    pub version: u32,
    pub n_params: u32,
    pub params: *const Param,
    pub entry: Option<Func>,
    pub sites: *const Site,
    pub n_sites: u64,
    /// What `--help` says first.
    pub doc: Text,
    /// Names of CPU features the code needs, separated by commas.
    pub features: Text,
}

/// What a profile tells apart: a launch or call at one place in the source.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub name: Text,
    /// A [`crate::profile::Kind`].
    pub kind: u32,
    /// Index into the program's sites.
    pub site: u32,
    /// 1: it computes in f64.
    pub double: u32,
    pub _pad: u32,
}

/// The exported symbol [`PROFILE`] of a profiled program's object.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub n_tasks: u64,
    pub tasks: *const Task,
}

/// A kernel of a program for a GPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    pub name: Text,
    /// For the simulated GPU: `fn(args, range, thread)`.
    pub code: Option<unsafe extern "C" fn(*const u64, i64, *mut c_void)>,
    /// In PTX it is called `k` and this number.
    pub id: u32,
    pub n_params: u32,
    /// Threads of a block.
    pub threads: u32,
    /// A block has one step of the range, not each of its threads.
    pub together: u32,
    /// Bytes that the threads of a block share, on the simulated GPU.
    pub shared: u64,
    /// For real ones: all kernels of the program, for several GPUs.
    pub images: *const Image,
    pub n_images: u64,
}

/// The kernels of a program as a GPU's driver takes them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// Version of the instructions: 80 is 8.0.
    pub capability: u32,
    /// An [`ImageKind`].
    pub kind: u32,
    /// 1: for GPUs of this very version alone.
    pub exact: u32,
    pub _pad: u32,
    /// Assembly, with a zero behind it, or machine code.
    pub data: Text,
}

/// What an [`Image`] is.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// PTX, which the driver compiles.
    Assembly = 0,
    /// A cubin, which runs as it is.
    Machine = 1,
}

impl Image {
    /// Whether a GPU of this version runs it: assembly runs on all that are newer, machine code on those of the same generation.
    pub fn runs_on(&self, capability: u32) -> bool {
        match (self.exact != 0, self.kind == ImageKind::Machine as u32) {
            (true, _) => self.capability == capability,
            (false, true) => self.capability / 10 == capability / 10 && self.capability <= capability,
            (false, false) => self.capability <= capability,
        }
    }
}

/// Set in addresses of the simulated GPU, so that the host can't mistake them for its own.
pub const DEVICE_BIT: u64 = 1 << 62;

/// Layout version of [`Program`].
pub const VERSION: u32 = 4;

/// The symbol of the [`Program`] table.
pub const PROGRAM: &str = "tdl_program";

/// The symbol of the [`Program`] table that a binary for a GPU has for machines without one.
pub const FALLBACK: &str = "tdl_program_cpu";

/// The symbol of the [`Profile`] table.
pub const PROFILE: &str = "tdl_profile";

macro_rules! symbols {
    ($($name:ident),* $(,)?) => {
        /// Every runtime symbol that generated code may call, with its address (for the JIT).
        pub fn symbols() -> Vec<(&'static str, usize)> {
            let mut all = vec![$((stringify!($name), calls::$name as *const () as usize)),*];
            all.extend(calls::host::symbols());
            all.extend(calls::band_symbols());
            all.extend(calls::device_symbols());
            all
        }
    };
}

symbols!(
    tdl_alloc,
    tdl_alloc_ahead,
    tdl_alloc_missing,
    tdl_free,
    tdl_parallel,
    tdl_gemm_f32,
    tdl_gemm_f64,
    tdl_gemm_int,
    tdl_windows_f32,
    tdl_windows_f64,
    tdl_interrupted,
    tdl_fail,
    tdl_print,
    tdl_format,
    tdl_text,
    tdl_sort,
    tdl_count_true,
    tdl_positions,
    tdl_random,
    tdl_stack_new,
    tdl_stack_grow,
    tdl_stack_contents,
    tdl_stack_free,
    tdl_save,
    tdl_load,
    tdl_exists,
    tdl_clock,
    tdl_tick,
    tdl_tock,
    tdl_progress,
    tdl_lgamma,
    tdl_digamma,
    tdl_polygamma,
);

pub mod calls;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_run_where_their_kind_does() {
        let image = |capability, kind: ImageKind, exact| Image {
            capability,
            kind: kind as u32,
            exact,
            _pad: 0,
            data: Text { ptr: std::ptr::null(), len: 0 },
        };
        let on = |i: Image| [75, 80, 86, 90, 100].map(|gpu| i.runs_on(gpu));
        assert_eq!(on(image(75, ImageKind::Assembly, 0)), [true; 5]);
        assert_eq!(on(image(80, ImageKind::Assembly, 0)), [false, true, true, true, true]);
        assert_eq!(on(image(80, ImageKind::Machine, 0)), [false, true, true, false, false]);
        assert_eq!(on(image(86, ImageKind::Machine, 0)), [false, false, true, false, false]);
        assert_eq!(on(image(90, ImageKind::Assembly, 1)), [false, false, false, true, false]);
        assert_eq!(on(image(90, ImageKind::Machine, 1)), [false, false, false, true, false]);
    }
}
