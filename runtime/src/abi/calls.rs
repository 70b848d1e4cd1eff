//! The functions that generated code calls. Each returns [`OK`] or [`FAILED`] with a description in the context, unless its
//! signature says otherwise.
//!
//! Safety of all of them: `ctx` is the running program's context; pointers come from generated code, which keeps them
//! valid and of the sizes given here for the length of the call.
#![allow(clippy::missing_safety_doc, unsafe_op_in_unsafe_fn)]

use std::ffi::c_void;

use super::{Arg, Dtype, Entry, FAILED, Gemm, OK, Text, Windows};
use crate::context::{Ctx, Failure, FailureKind};
use crate::draw::Dist;
use crate::files;
use crate::fmt::{self, Piece};
use crate::product;
use crate::windows;

pub mod host;

type Result<T> = std::result::Result<T, String>;

/// Runs `f`; an error becomes the context's failure at `site`.
unsafe fn guard(ctx: *mut Ctx, site: u32, kind: FailureKind, f: impl FnOnce(&mut Ctx) -> Result<()>) -> i32 {
    let ctx = &mut *ctx;
    match f(ctx) {
        Ok(()) => OK,
        Err(message) => {
            ctx.fail(Failure { kind, message, site: Some(site) });
            FAILED
        }
    }
}

/// `bytes` of memory aligned to 64, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_alloc(ctx: *mut Ctx, bytes: i64, site: u32) -> *mut u8 {
    let ctx = &mut *ctx;
    let size = usize::try_from(bytes).ok();
    match size.and_then(|s| ctx.memory.alloc(s)) {
        Some(p) => p.as_ptr(),
        None => {
            let message = format!("out of memory: a tensor of {} was asked for", fmt::bytes(bytes));
            ctx.fail(Failure { kind: FailureKind::Memory, message, site: Some(site) });
            std::ptr::null_mut()
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_free(ctx: *mut Ctx, ptr: *mut u8) {
    // SAFETY: generated code frees what it allocated, once
    (*ctx).memory.free(ptr);
}

/// Calls `f(env, lo, hi)` for chunks of `grain` of `0..range`, on all threads; returns when all are done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_parallel(
    ctx: *mut Ctx,
    f: unsafe extern "C" fn(*mut c_void, i64, i64),
    env: *mut c_void,
    range: i64,
    grain: i64,
) {
    let env = env as usize;
    (*ctx).pool.chunks(range, grain, &|lo, hi| f(env as *mut c_void, lo, hi));
}

/// A product of f32, or of f16 or bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_gemm_f32(ctx: *mut Ctx, g: *const Gemm) {
    product::f32(&(*ctx).pool, &*g);
}

/// A product of f64.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_gemm_f64(ctx: *mut Ctx, g: *const Gemm) {
    product::f64(&(*ctx).pool, &*g);
}

/// A product of integers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_gemm_int(ctx: *mut Ctx, g: *const Gemm) {
    product::int(&(*ctx).pool, &*g);
}

/// A convolution of f32, or a derivative of one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_windows_f32(ctx: *mut Ctx, w: *const Windows) {
    windows::f32(&(*ctx).pool, &*w);
}

/// A convolution of f64, or a derivative of one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_windows_f64(ctx: *mut Ctx, w: *const Windows) {
    windows::f64(&(*ctx).pool, &*w);
}

/// The user asked to stop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_interrupted(ctx: *mut Ctx) {
    (*ctx).fail(Failure { kind: FailureKind::Interrupted, message: "interrupted".into(), site: None });
}

/// Records a failure; `kind` is the index of the compiler's `AssertKind`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_fail(
    ctx: *mut Ctx,
    kind: u32,
    site: u32,
    pieces: *const u8,
    pieces_len: u64,
    args: *const Arg,
    n_args: u64,
) {
    let message = formatted(pieces, pieces_len, args, n_args);
    let kind = FailureKind::from_assert(kind);
    (*ctx).fail(Failure { kind, message, site: Some(site) });
}

/// Pieces are a sequence of: kind (0 text, 1 value), length as 4 little-endian bytes, the text or format.
unsafe fn formatted(pieces: *const u8, len: u64, args: *const Arg, n_args: u64) -> String {
    let bytes = slice(pieces, len);
    let args = slice(args, n_args);
    let mut values = args.iter();
    let mut out = String::new();
    for piece in fmt::pieces(bytes) {
        match piece {
            Piece::Text(t) => out.push_str(t),
            Piece::Value(spec) => {
                if let Some(arg) = values.next() {
                    out.push_str(&value(arg, spec));
                }
            }
        }
    }
    out
}

unsafe fn slice<'a, T>(ptr: *const T, len: u64) -> &'a [T] {
    if len == 0 { &[] } else { std::slice::from_raw_parts(ptr, len as usize) }
}

/// The elements and extents behind an argument.
unsafe fn tensor(arg: &Arg) -> Option<(Dtype, Vec<usize>, &[u8])> {
    let dtype = Dtype::from_code(arg.dtype)?;
    if arg.dims.is_null() {
        let bits = &arg.value as *const u64 as *const u8;
        return Some((dtype, Vec::new(), slice(bits, dtype.size() as u64)));
    }
    let shape: Vec<usize> = slice(arg.dims, u64::from(arg.rank)).iter().map(|d| *d as usize).collect();
    let n: usize = shape.iter().product();
    Some((dtype, shape, slice(arg.value as *const u8, (n * dtype.size()) as u64)))
}

unsafe fn value(arg: &Arg, spec: &str) -> String {
    if arg.dtype == super::TEXT {
        return fmt::text(text_of(arg.value as *const c_void), spec);
    }
    match tensor(arg) {
        Some((dtype, shape, bytes)) => fmt::tensor(dtype, &shape, bytes, spec),
        None => "?".into(),
    }
}

unsafe fn text_of<'a>(handle: *const c_void) -> &'a str {
    (*(handle as *const Box<str>)).as_ref()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_print(
    ctx: *mut Ctx,
    pieces: *const u8,
    pieces_len: u64,
    args: *const Arg,
    n_args: u64,
    end: *const u8,
    end_len: u64,
) -> i32 {
    let mut text = formatted(pieces, pieces_len, args, n_args);
    text.push_str(Text { ptr: end, len: end_len }.as_str());
    let ctx = &mut *ctx;
    ctx.progress.clear();
    match ctx.output.write(&text) {
        Ok(()) => OK,
        Err(e) => {
            let kind =
                if e.kind() == std::io::ErrorKind::BrokenPipe { FailureKind::BrokenPipe } else { FailureKind::Io };
            ctx.fail(Failure { kind, message: format!("cannot write to standard output: {e}"), site: None });
            FAILED
        }
    }
}

/// A handle of the interpolated text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_format(
    ctx: *mut Ctx,
    pieces: *const u8,
    pieces_len: u64,
    args: *const Arg,
    n_args: u64,
) -> *const c_void {
    let text = formatted(pieces, pieces_len, args, n_args);
    (*ctx).keep_text(text)
}

/// A handle of constant text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_text(ctx: *mut Ctx, ptr: *const u8, len: u64) -> *const c_void {
    let text = Text { ptr, len }.as_str().to_owned();
    (*ctx).keep_text(text)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_sort(
    _ctx: *mut Ctx,
    src: *const u8,
    values: *mut u8,
    indices: *mut i64,
    dtype: u32,
    rows: i64,
    len: i64,
    descending: u32,
) {
    if let Some(dtype) = Dtype::from_code(dtype) {
        crate::sort::rows(dtype, src, values, indices, rows as usize, len as usize, descending != 0);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_count_true(_ctx: *mut Ctx, mask: *const u8, len: i64) -> i64 {
    slice(mask, len as u64).iter().map(|b| i64::from(*b != 0)).sum()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_positions(_ctx: *mut Ctx, dst: *mut i64, mask: *const u8, len: i64) {
    let mut out = dst;
    for (i, b) in slice(mask, len as u64).iter().enumerate() {
        if *b != 0 {
            *out = i as i64;
            out = out.add(1);
        }
    }
}

/// `dist`: 0 bits, 1 uniform, 2 normal.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_random(
    ctx: *mut Ctx,
    dst: *mut c_void,
    dist: u32,
    dtype: u32,
    key: i64,
    counter: i64,
    len: i64,
) {
    if let (Some(dist), Some(dtype)) = (Dist::from_code(dist), Dtype::from_code(dtype)) {
        crate::draw::fill(&(*ctx).pool, dst.cast(), dist, dtype, key, counter, len);
    }
}

/// A growable row of bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_stack_new(ctx: *mut Ctx) -> *mut c_void {
    (*ctx).memory.stack_new() as *mut c_void
}

/// Room for `bytes` more: their address, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_stack_grow(ctx: *mut Ctx, stack: *mut c_void, bytes: i64, site: u32) -> *mut u8 {
    let ctx = &mut *ctx;
    match ctx.memory.stack_grow(stack as *mut crate::memory::Stack, bytes as usize) {
        Some(p) => p.as_ptr(),
        None => {
            let message = format!("out of memory: the gradient of a loop keeps {} more", fmt::bytes(bytes));
            ctx.fail(Failure { kind: FailureKind::Memory, message, site: Some(site) });
            std::ptr::null_mut()
        }
    }
}

/// Address and length in bytes of the contents.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_stack_contents(stack: *const c_void, bytes: *mut i64) -> *mut u8 {
    let stack = &*(stack as *const crate::memory::Stack);
    *bytes = stack.len as i64;
    stack.data
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_stack_free(ctx: *mut Ctx, stack: *mut c_void) {
    (*ctx).memory.stack_free(stack as *mut crate::memory::Stack);
}

/// Copies bytes into memory of the program's own.
fn give(ctx: &mut Ctx, bytes: &[u8]) -> Result<*mut u8> {
    let p = ctx.memory.alloc(bytes.len()).ok_or_else(|| "out of memory".to_owned())?;
    // SAFETY: `p` has room for `bytes`
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), p.as_ptr(), bytes.len()) };
    Ok(p.as_ptr())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_read_csv(
    ctx: *mut Ctx,
    path: *const c_void,
    dtype: u32,
    header: i64,
    rows: *mut i64,
    cols: *mut i64,
    data: *mut *mut u8,
    site: u32,
) -> i32 {
    guard(ctx, site, FailureKind::Io, |ctx| {
        let dtype = Dtype::from_code(dtype).unwrap_or(Dtype::F32);
        let table = files::read_csv(text_of(path), header as usize, dtype)?;
        (*rows, *cols) = (table.rows as i64, table.cols as i64);
        *data = give(ctx, &table.bytes)?;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_read_npy(
    ctx: *mut Ctx,
    path: *const c_void,
    dtype: u32,
    rank: u64,
    dims: *mut i64,
    data: *mut *mut u8,
    site: u32,
) -> i32 {
    guard(ctx, site, FailureKind::Io, |ctx| {
        let dtype = Dtype::from_code(dtype).unwrap_or(Dtype::F32);
        let (shape, bytes) = files::read_npy(text_of(path), dtype, rank as usize)?;
        for (i, d) in shape.iter().enumerate() {
            *dims.add(i) = *d as i64;
        }
        *data = give(ctx, &bytes)?;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_read_text(ctx: *mut Ctx, path: *const c_void, out: *mut *const c_void, site: u32) -> i32 {
    guard(ctx, site, FailureKind::Io, |ctx| {
        let text = files::read_text(text_of(path))?;
        *out = ctx.keep_text(text);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_save(ctx: *mut Ctx, path: *const c_void, entries: *const Entry, n: u64, site: u32) -> i32 {
    guard(ctx, site, FailureKind::Io, |_| {
        let all: Vec<files::Named<'_>> = slice(entries, n)
            .iter()
            .filter_map(|e| {
                tensor(&e.value).map(|(d, s, b)| files::Named { name: e.name.as_str(), dtype: d, shape: s, bytes: b })
            })
            .collect();
        files::save(text_of(path), &all)
    })
}

/// Fills the elements behind each entry's value. `renamed`, if there, has the own names of the file's entries.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_load(
    ctx: *mut Ctx,
    path: *const c_void,
    entries: *const Entry,
    n: u64,
    renamed: *const Arg,
    extra: u32,
    site: u32,
) -> i32 {
    guard(ctx, site, FailureKind::Io, |_| {
        let path = text_of(path);
        let entries = slice(entries, n);
        let wanted: Vec<(&str, Dtype, Vec<usize>)> = entries
            .iter()
            .filter_map(|e| {
                let dtype = Dtype::from_code(e.value.dtype)?;
                let dims = slice(e.value.dims, u64::from(e.value.rank));
                Some((e.name.as_str(), dtype, dims.iter().map(|d| *d as usize).collect()))
            })
            .collect();
        let renamed = if renamed.is_null() { None } else { tensor(&*renamed).map(|(_, _, bytes)| bytes) };
        let loaded = files::load(path, &wanted, renamed, extra != 0)?;
        for (e, bytes) in entries.iter().zip(loaded) {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), e.value.value as *mut u8, bytes.len());
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_write_npy(ctx: *mut Ctx, path: *const c_void, value: *const Arg, site: u32) -> i32 {
    guard(ctx, site, FailureKind::Io, |_| match tensor(&*value) {
        Some((dtype, shape, bytes)) => files::write_npy(text_of(path), dtype, &shape, bytes),
        None => Err("a text cannot be written as npy".into()),
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_exists(_ctx: *mut Ctx, path: *const c_void) -> u32 {
    u32::from(std::path::Path::new(text_of(path)).exists())
}

/// Seconds of a monotonic clock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_clock(ctx: *mut Ctx) -> f64 {
    (*ctx).started.elapsed().as_secs_f64()
}

/// Iteration `i` of `n` of a loop of `main` is done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_progress(ctx: *mut Ctx, i: i64, n: i64) {
    (*ctx).progress.tick(i, n);
}

/// `log |Γ(x)|`.
#[unsafe(no_mangle)]
pub extern "C" fn tdl_lgamma(x: f64) -> f64 {
    crate::special::lgamma(x)
}

/// `d/dx log Γ(x)`.
#[unsafe(no_mangle)]
pub extern "C" fn tdl_digamma(x: f64) -> f64 {
    crate::special::digamma(x)
}
