//! Statements that call the runtime; the structures they pass stand in the entry block's stack slots.

use tdl_ir::{AssertKind, Dist, Dtype, Piece};
use tdl_loops::ir::{Arg, Gemm, Matrix, Role, RuntimeCall, Stmt, Windows};

use super::func::Emit;
use super::gpu::Machine;
use super::{code, llty, memty};

/// The ABI's number for text.
const TEXT: u32 = 32;

impl Emit<'_> {
    pub(super) fn runtime_stmt(&mut self, s: &Stmt) {
        match s {
            Stmt::Alloc { dst, bytes, site, ahead: true } => {
                let bytes = self.op(*bytes);
                let call = format!("call ptr @{}(ptr %ctx, i64 ", self.memory_call("alloc_ahead"));
                let p = self.tmp(&call, &format!("{bytes}, i32 {})", site.0));
                self.set(*dst, p);
            }
            Stmt::Need { ptr, bytes, site } => {
                let (p, bytes) = (self.reg(*ptr).to_owned(), self.op(*bytes));
                let ok = self.tmp("icmp ne ptr null, ", &p);
                let (good, bad) = (self.fresh_block("ok"), self.fresh_block("bad"));
                self.line(&format!("br i1 {ok}, label %{good}, label %{bad}"));
                self.start(&bad);
                let call = self.memory_call("alloc_missing");
                self.line(&format!("call void @{call}(ptr %ctx, i64 {bytes}, i32 {})", site.0));
                self.line("br label %fail");
                self.fails = true;
                self.start(&good);
            }
            Stmt::Alloc { dst, bytes, site, ahead: false } => {
                let bytes = self.op(*bytes);
                let call = format!("call ptr @{}(ptr %ctx, i64 ", self.memory_call("alloc"));
                let p = self.tmp(&call, &format!("{bytes}, i32 {})", site.0));
                let ok = self.tmp("icmp ne ptr null, ", &p);
                self.fail_unless(&ok);
                self.set(*dst, p);
            }
            Stmt::Free { ptr } => {
                let p = self.reg(*ptr).to_owned();
                self.line(&format!("call void @{}(ptr %ctx, ptr {p})", self.memory_call("free")));
            }
            Stmt::CopyBytes { dst, src, bytes } => {
                let (d, s, n) = (self.reg(*dst).to_owned(), self.reg(*src).to_owned(), self.op(*bytes));
                if self.machine == Machine::HostOfGpu {
                    let text = format!("ptr {d}, ptr {s}, i64 {n})");
                    let status = self.tmp("call i32 @tdl_device_copy(ptr %ctx, ", &text);
                    return self.check_status(&status);
                }
                self.line(&format!("call void @llvm.memmove.p0.p0.i64(ptr {d}, ptr {s}, i64 {n}, i1 false)"));
            }
            Stmt::ZeroBytes { dst, bytes } => {
                let (d, n) = (self.reg(*dst).to_owned(), self.op(*bytes));
                if self.machine == Machine::HostOfGpu {
                    let status = self.tmp("call i32 @tdl_device_zero(ptr %ctx, ", &format!("ptr {d}, i64 {n})"));
                    return self.check_status(&status);
                }
                self.line(&format!("call void @llvm.memset.p0.i64(ptr {d}, i8 0, i64 {n}, i1 false)"));
            }
            Stmt::Gemm(g) => self.gemm(g),
            Stmt::Runtime { call, site } => self.runtime_call(call, site.0),
            Stmt::Print { pieces, args, end } => {
                let (p, n) = self.pieces(pieces);
                let (a, k) = self.args(args);
                let (e, len) =
                    if end.is_empty() { ("null".to_owned(), 0) } else { (self.g.constant(end.as_bytes()), end.len()) };
                let status = self.tmp(
                    "call i32 @tdl_print(ptr %ctx, ",
                    &format!("ptr {p}, i64 {n}, ptr {a}, i64 {k}, ptr {e}, i64 {len})"),
                );
                self.check_status(&status);
            }
            Stmt::Format { dst, pieces, args } => {
                let (p, n) = self.pieces(pieces);
                let (a, k) = self.args(args);
                let t = self.tmp("call ptr @tdl_format(ptr %ctx, ", &format!("ptr {p}, i64 {n}, ptr {a}, i64 {k})"));
                self.set(*dst, t);
            }
            Stmt::Assert { ok, kind, pieces, args, site } => {
                let ok = self.op(*ok);
                let (good, bad) = (self.fresh_block("ok"), self.fresh_block("bad"));
                self.line(&format!("br i1 {ok}, label %{good}, label %{bad}"));
                self.start(&bad);
                let (p, n) = self.pieces(pieces);
                let (a, k) = self.args(args);
                let kind = match kind {
                    AssertKind::User => 0,
                    AssertKind::Index => 1,
                    AssertKind::Shape => 2,
                    AssertKind::Division => 3,
                    AssertKind::Nan => 4,
                    AssertKind::Memory => 5,
                };
                self.line(&format!(
                    "call void @tdl_fail(ptr %ctx, i32 {kind}, i32 {}, ptr {p}, i64 {n}, ptr {a}, i64 {k})",
                    site.0
                ));
                self.fails = true;
                self.line("br label %fail");
                self.start(&good);
            }
            Stmt::Safepoint => {
                let flag = self.tmp("load atomic i32, ptr %ctx monotonic, align 4", "");
                let (go, stop) = (self.fresh_block("go"), self.fresh_block("stop"));
                let c = self.tmp("icmp eq i32 0, ", &flag);
                self.line(&format!("br i1 {c}, label %{go}, label %{stop}"));
                self.start(&stop);
                self.line("call void @tdl_interrupted(ptr %ctx)");
                self.fails = true;
                self.line("br label %fail");
                self.start(&go);
            }
            Stmt::Tick { dst } => {
                let now = self.tmp("call i64 @tdl_tick(ptr %ctx)", "");
                self.set(*dst, now);
            }
            Stmt::Tock(t) => {
                let dims: Vec<String> = t.dims.iter().map(|d| self.op(*d)).collect();
                let list = self.numbers(&dims);
                let (since, flops, bytes) = (self.reg(t.since).to_owned(), self.op(t.flops), self.op(t.bytes));
                self.line(&format!(
                    "call void @tdl_tock(ptr %ctx, i32 {}, i64 {since}, i64 {flops}, i64 {bytes}, ptr {list}, i64 {})",
                    t.task.0,
                    dims.len()
                ));
            }
            Stmt::Return { slots } => {
                for (i, o) in slots.iter().enumerate() {
                    let at = self.tmp("getelementptr i64, ptr %results, i64 ", &i.to_string());
                    let (ty, v) = (self.op_ty(*o), self.op(*o));
                    if ty == "i1" {
                        let wide = self.tmp(&format!("zext i1 {v} to "), "i64");
                        self.line(&format!("store i64 {wide}, ptr {at}"));
                    } else {
                        self.line(&format!("store {ty} {v}, ptr {at}"));
                    }
                }
                self.line("ret i32 0");
            }
            _ => unreachable!("control flow is handled by the caller"),
        }
    }

    /// Encoded pieces as a constant, and their length.
    fn pieces(&mut self, pieces: &[Piece]) -> (String, usize) {
        let bytes = tdl_runtime::fmt::encode_pieces(pieces.iter().map(|p| match p {
            Piece::Text(t) => tdl_runtime::fmt::Piece::Text(t),
            Piece::Value { spec } => tdl_runtime::fmt::Piece::Value(spec),
        }));
        if bytes.is_empty() { ("null".into(), 0) } else { (self.g.constant(&bytes), bytes.len()) }
    }

    /// Arguments in a stack slot, and their number.
    fn args(&mut self, args: &[Arg]) -> (String, usize) {
        if args.is_empty() {
            return ("null".into(), 0);
        }
        let slot = self.slot(&format!("[{} x %Arg]", args.len()));
        for (i, a) in args.iter().enumerate() {
            let at = self.tmp("getelementptr %Arg, ptr ", &format!("{slot}, i64 {i}"));
            self.arg(&at, a);
        }
        (slot, args.len())
    }

    fn field(&mut self, base: &str, ty: &str, index: usize) -> String {
        self.tmp(&format!("getelementptr {ty}, ptr {base}, i32 0, i32 "), &index.to_string())
    }

    pub(super) fn put(&mut self, base: &str, ty: &str, index: usize, value: &str) {
        let at = self.field(base, ty, index);
        self.line(&format!("store {value}, ptr {at}"));
    }

    fn arg(&mut self, at: &str, a: &Arg) {
        match a {
            Arg::Scalar { value, dtype } => {
                self.put(at, "%Arg", 0, &format!("i32 {}", code(*dtype)));
                self.put(at, "%Arg", 1, "i32 0");
                self.put(at, "%Arg", 2, "i64 0");
                let v = self.op(*value);
                let p = self.field(at, "%Arg", 2);
                let text = if llty(*dtype) == "i1" {
                    let wide = self.tmp(&format!("zext i1 {v} to "), "i8");
                    format!("i8 {wide}")
                } else {
                    format!("{} {v}", memty(*dtype))
                };
                self.line(&format!("store {text}, ptr {p}"));
                self.put(at, "%Arg", 3, "ptr null");
            }
            Arg::Str(r) => {
                self.put(at, "%Arg", 0, &format!("i32 {TEXT}"));
                self.put(at, "%Arg", 1, "i32 0");
                let v = format!("ptr {}", self.reg(*r));
                self.put(at, "%Arg", 2, &v);
                self.put(at, "%Arg", 3, "ptr null");
            }
            Arg::Tensor { ptr, dtype, dims } => {
                self.put(at, "%Arg", 0, &format!("i32 {}", code(*dtype)));
                self.put(at, "%Arg", 1, &format!("i32 {}", dims.len()));
                let v = format!("ptr {}", self.reg(*ptr));
                self.put(at, "%Arg", 2, &v);
                let dims: Vec<String> = dims.iter().map(|d| self.op(*d)).collect();
                let list = self.numbers(&dims);
                self.put(at, "%Arg", 3, &format!("ptr {list}"));
            }
        }
    }

    /// `i64`s in a stack slot; a slot even if there are none, since null means a scalar.
    fn numbers(&mut self, values: &[String]) -> String {
        let slot = self.slot(&format!("[{} x i64]", values.len().max(1)));
        for (i, v) in values.iter().enumerate() {
            let at = self.tmp("getelementptr i64, ptr ", &format!("{slot}, i64 {i}"));
            self.line(&format!("store i64 {v}, ptr {at}"));
        }
        slot
    }

    fn gemm(&mut self, g: &Gemm) {
        let (slot, class) = self.gemm_slot(g);
        self.line(&format!("call void @tdl_gemm_{class}(ptr %ctx, ptr {slot})"));
    }

    /// What the runtime is told of a product, and the class of its dtype.
    pub(super) fn gemm_slot(&mut self, g: &Gemm) -> (String, &'static str) {
        let slot = self.slot("%Gemm");
        self.put(&slot, "%Gemm", 0, &format!("i32 {}", code(g.dtype)));
        self.put(&slot, "%Gemm", 1, &format!("i32 {}", u32::from(g.accumulate)));
        for (k, o) in [(2, g.m), (3, g.n), (4, g.k)] {
            let v = format!("i64 {}", self.op(o));
            self.put(&slot, "%Gemm", k, &v);
        }
        self.put(&slot, "%Gemm", 5, &format!("i64 {}", g.batch.len()));
        let extents: Vec<String> = g.batch.iter().map(|o| self.op(*o)).collect();
        let list = self.numbers(&extents);
        self.put(&slot, "%Gemm", 6, &format!("ptr {list}"));
        for (k, m) in [(7, &g.a), (8, &g.b), (9, &g.c)] {
            let at = self.field(&slot, "%Gemm", k);
            self.matrix(&at, g, m);
        }
        // one entry for each class of dtypes, so that a binary holds only what it needs
        let class = match g.dtype {
            Dtype::F16 | Dtype::Bf16 | Dtype::F32 => "f32",
            Dtype::F64 => "f64",
            Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 | Dtype::U8 | Dtype::U32 | Dtype::U64 | Dtype::Bool => {
                "int"
            }
        };
        (slot, class)
    }

    fn windows(&mut self, w: &Windows) {
        let (slot, class) = self.windows_slot(w);
        self.line(&format!("call void @tdl_windows_{class}(ptr %ctx, ptr {slot})"));
    }

    /// The same for a convolution.
    pub(super) fn windows_slot(&mut self, w: &Windows) -> (String, &'static str) {
        let slot = self.slot("%Windows");
        self.put(&slot, "%Windows", 0, &format!("i32 {}", code(w.dtype)));
        let result = match w.result {
            Role::X => 0,
            Role::W => 1,
            Role::Y => 2,
        };
        self.put(&slot, "%Windows", 1, &format!("i32 {result}"));
        for (k, r) in [(2, w.x), (3, w.w), (4, w.y)] {
            let v = format!("ptr {}", self.reg(r));
            self.put(&slot, "%Windows", k, &v);
        }
        for (k, o) in w.counts.into_iter().chain(w.steps.iter().flat_map(|s| s.all())).enumerate() {
            let v = format!("i64 {}", self.op(o));
            self.put(&slot, "%Windows", 5 + k, &v);
        }
        (slot, if w.dtype == Dtype::F64 { "f64" } else { "f32" })
    }

    fn matrix(&mut self, at: &str, g: &Gemm, m: &Matrix) {
        let p = self.address(m.ptr, g.dtype, &m.offset);
        self.put(at, "%Matrix", 0, &format!("ptr {p}"));
        let (rows, cols) = (self.op(m.row_stride), self.op(m.col_stride));
        self.put(at, "%Matrix", 1, &format!("i64 {rows}"));
        self.put(at, "%Matrix", 2, &format!("i64 {cols}"));
        let strides: Vec<String> = m.batch_strides.iter().map(|o| self.op(*o)).collect();
        let list = self.numbers(&strides);
        self.put(at, "%Matrix", 3, &format!("ptr {list}"));
    }

    /// An output that the runtime writes: its slot now, its value after the call.
    fn output(&mut self, ty: &str) -> String {
        self.slot(ty)
    }

    fn runtime_call(&mut self, call: &RuntimeCall, site: u32) {
        match call {
            RuntimeCall::Sort { src, values, indices, dtype, rows, len, descending } => {
                let text = format!(
                    "ptr {}, ptr {}, ptr {}, i32 {}, i64 {}, i64 {}, i32 {}",
                    self.reg(*src),
                    self.reg(*values),
                    self.reg(*indices),
                    code(*dtype),
                    self.op(*rows),
                    self.op(*len),
                    u32::from(*descending)
                );
                let status = self.tmp("call i32 @tdl_sort(ptr %ctx, ", &format!("{text}, i32 {site})"));
                self.check_status(&status);
            }
            RuntimeCall::Windows(w) => self.windows(w),
            RuntimeCall::CountTrue { dst, mask, len } => {
                let text = format!("ptr {}, i64 {})", self.reg(*mask), self.op(*len));
                let v = self.tmp("call i64 @tdl_count_true(ptr %ctx, ", &text);
                self.set(*dst, v);
            }
            RuntimeCall::Positions { dst, mask, len } => {
                let text = format!("ptr {}, ptr {}, i64 {})", self.reg(*dst), self.reg(*mask), self.op(*len));
                self.line(&format!("call void @tdl_positions(ptr %ctx, {text}"));
            }
            RuntimeCall::Random { dst, dist, dtype, key, counter, len } => {
                let dist = match dist {
                    Dist::Bits => 0,
                    Dist::Uniform => 1,
                    Dist::Normal => 2,
                };
                let text = format!(
                    "call void @tdl_random(ptr %ctx, ptr {}, i32 {dist}, i32 {}, i64 {}, i64 {}, i64 {})",
                    self.reg(*dst),
                    code(*dtype),
                    self.op(*key),
                    self.op(*counter),
                    self.op(*len)
                );
                self.line(&text);
            }
            RuntimeCall::StackNew { dst } => {
                let v = self.tmp("call ptr @tdl_stack_new(ptr %ctx)", "");
                self.set(*dst, v);
            }
            RuntimeCall::StackGrow { dst, stack, bytes } => {
                let text = format!("ptr {}, i64 {}, i32 {site})", self.reg(*stack), self.op(*bytes));
                let v = self.tmp("call ptr @tdl_stack_grow(ptr %ctx, ", &text);
                let ok = self.tmp("icmp ne ptr null, ", &v);
                self.fail_unless(&ok);
                self.set(*dst, v);
            }
            RuntimeCall::StackContents { ptr, bytes, stack } => {
                let len = self.output("i64");
                let text = format!("{}, ptr {len})", self.reg(*stack));
                let p = self.tmp("call ptr @tdl_stack_contents(ptr ", &text);
                let n = self.tmp("load i64, ptr ", &len);
                self.set(*ptr, p);
                self.set(*bytes, n);
            }
            RuntimeCall::StackFree { stack } => {
                let s = self.reg(*stack).to_owned();
                self.line(&format!("call void @tdl_stack_free(ptr %ctx, ptr {s})"));
            }
            RuntimeCall::Save { path, entries } => {
                let all: Vec<(&str, Arg)> = entries.iter().map(|e| (&*e.name, e.value.clone())).collect();
                let list = self.entries(&all);
                let text = format!("ptr {}, ptr {list}, i64 {}, i32 {site})", self.reg(*path), entries.len());
                let status = self.tmp("call i32 @tdl_save(ptr %ctx, ", &text);
                self.check_status(&status);
            }
            RuntimeCall::Load { path, entries, renamed, extra } => {
                let all: Vec<(&str, Arg)> = entries
                    .iter()
                    .map(|e| (&*e.name, Arg::Tensor { ptr: e.dst, dtype: e.dtype, dims: e.dims.clone() }))
                    .collect();
                let list = self.entries(&all);
                let renamed = match renamed {
                    Some(a) => self.args(std::slice::from_ref(a)).0,
                    None => "null".into(),
                };
                let text = format!(
                    "ptr {}, ptr {list}, i64 {}, ptr {renamed}, i32 {}, i32 {site})",
                    self.reg(*path),
                    entries.len(),
                    u32::from(*extra)
                );
                let status = self.tmp("call i32 @tdl_load(ptr %ctx, ", &text);
                self.check_status(&status);
            }
            RuntimeCall::Exists { dst, path } => {
                let p = format!("ptr {})", self.reg(*path));
                let v = self.tmp("call i32 @tdl_exists(ptr %ctx, ", &p);
                let v = self.tmp("icmp ne i32 0, ", &v);
                self.set(*dst, v);
            }
            RuntimeCall::Host { func, args, results } => {
                let (a, n) = self.args(args);
                let slots = self.slot(&format!("[{} x i64]", results.len().max(1)));
                let call = format!("call i32 @tdl_{}(ptr %ctx, ptr {a}, i64 {n}, ", func.def().name);
                let status = self.tmp(&call, &format!("ptr {slots}, i32 {site})"));
                self.check_status(&status);
                for (i, r) in results.iter().enumerate() {
                    let at = self.tmp("getelementptr i64, ptr ", &format!("{slots}, i64 {i}"));
                    let ty = self.reg_ty(*r);
                    let v = if ty == "i1" {
                        let byte = self.tmp("load i8, ptr ", &at);
                        self.tmp("icmp ne i8 0, ", &byte)
                    } else {
                        self.tmp(&format!("load {ty}, ptr "), &at)
                    };
                    self.set(*r, v);
                }
            }
            RuntimeCall::Clock { dst } => {
                let v = self.tmp("call double @tdl_clock(ptr %ctx)", "");
                self.set(*dst, v);
            }
            RuntimeCall::Progress { i, n } => {
                let text = format!("i64 {}, i64 {})", self.op(*i), self.op(*n));
                self.line(&format!("call void @tdl_progress(ptr %ctx, {text}"));
            }
            RuntimeCall::Segment { place, depth } => {
                self.line(&format!("call void @tdl_device_segment(ptr %ctx, i32 {place}, i32 {depth})"));
            }
        }
    }

    fn entries(&mut self, entries: &[(&str, Arg)]) -> String {
        let slot = self.slot(&format!("[{} x %Entry]", entries.len().max(1)));
        for (i, (name, value)) in entries.iter().enumerate() {
            let at = self.tmp("getelementptr %Entry, ptr ", &format!("{slot}, i64 {i}"));
            let name = self.g.text_value(name);
            self.put(&at, "%Entry", 0, &format!("%Text {name}"));
            let value_at = self.field(&at, "%Entry", 1);
            self.arg(&value_at, value);
        }
        slot
    }
}
