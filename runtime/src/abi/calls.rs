//! The functions that generated code calls. Each returns [`OK`] or [`FAILED`] with a description in the context, unless its
//! signature says otherwise.
//!
//! Safety of all of them: `ctx` is the running program's context; pointers come from generated code, which keeps them
//! valid and of the sizes given here for the length of the call.
#![allow(clippy::missing_safety_doc, unsafe_op_in_unsafe_fn)]

use std::borrow::Cow;
use std::ffi::c_void;

use super::{Arg, Dtype, Entry, FAILED, Gemm, OK, Text, Windows};
use crate::context::{Ctx, Failure, FailureKind};
use crate::device::Error;
use crate::draw::Dist;
use crate::files;
use crate::fmt::{self, Piece};
use crate::product;
use crate::sort;
use crate::windows;

pub mod bands;
pub mod device;
pub mod host;

/// What code for a GPU calls.
pub fn device_symbols() -> Vec<(&'static str, usize)> {
    let all = vec![
        ("tdl_device_alloc", device::tdl_device_alloc as *const () as usize),
        ("tdl_device_alloc_ahead", device::tdl_device_alloc_ahead as *const () as usize),
        ("tdl_device_alloc_missing", device::tdl_device_alloc_missing as *const () as usize),
        ("tdl_device_free", device::tdl_device_free as *const () as usize),
        ("tdl_device_data", device::tdl_device_data as *const () as usize),
        ("tdl_device_read", device::tdl_device_read as *const () as usize),
        ("tdl_device_write", device::tdl_device_write as *const () as usize),
        ("tdl_device_copy", device::tdl_device_copy as *const () as usize),
        ("tdl_device_zero", device::tdl_device_zero as *const () as usize),
        ("tdl_device_launch", device::tdl_device_launch as *const () as usize),
        ("tdl_device_segment", device::tdl_device_segment as *const () as usize),
    ];
    #[cfg(feature = "sim")]
    let all = [all, crate::sim::symbols()].concat();
    all
}

/// What the code of steps in bands calls.
pub fn band_symbols() -> Vec<(&'static str, usize)> {
    vec![
        ("tdl_bands", bands::tdl_bands as *const () as usize),
        ("tdl_step_kernel", bands::tdl_step_kernel as *const () as usize),
        ("tdl_step_gemm_f32", bands::tdl_step_gemm_f32 as *const () as usize),
        ("tdl_step_gemm_f64", bands::tdl_step_gemm_f64 as *const () as usize),
        ("tdl_step_gemm_int", bands::tdl_step_gemm_int as *const () as usize),
        ("tdl_step_windows_f32", bands::tdl_step_windows_f32 as *const () as usize),
        ("tdl_step_windows_f64", bands::tdl_step_windows_f64 as *const () as usize),
    ]
}

type Result<T> = std::result::Result<T, String>;

/// Runs `f`; an error becomes the context's failure at `site`.
unsafe fn guard(ctx: *mut Ctx, site: u32, kind: FailureKind, f: impl FnOnce(&mut Ctx) -> Result<()>) -> i32 {
    let ctx = &mut *ctx;
    match f(ctx) {
        Ok(()) => OK,
        Err(message) => {
            ctx.fail(Failure::new(kind, message).at(site));
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
            ctx.fail(out_of_memory(bytes, site));
            std::ptr::null_mut()
        }
    }
}

/// The same for memory that may not be needed: null is no failure yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_alloc_ahead(ctx: *mut Ctx, bytes: i64, _site: u32) -> *mut u8 {
    let size = usize::try_from(bytes).ok();
    size.and_then(|s| (*ctx).memory.alloc(s)).map_or(std::ptr::null_mut(), |p| p.as_ptr())
}

/// What [`tdl_alloc_ahead`] did not get is needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_alloc_missing(ctx: *mut Ctx, bytes: i64, site: u32) {
    (*ctx).fail(out_of_memory(bytes, site));
}

fn out_of_memory(bytes: i64, site: u32) -> Failure {
    let message = format!("out of memory: a tensor of {} was asked for", fmt::bytes(bytes));
    Failure::new(FailureKind::Memory, message).at(site)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_free(ctx: *mut Ctx, ptr: *mut u8) {
    // what was not there ahead and never needed is null
    if !ptr.is_null() {
        // SAFETY: generated code frees what it allocated, once
        (*ctx).memory.free(ptr);
    }
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
    (*ctx).fail(Failure::new(FailureKind::Interrupted, "interrupted"));
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
    let message = formatted(&mut *ctx, pieces, pieces_len, args, n_args);
    let kind = FailureKind::from_assert(kind);
    (*ctx).fail(Failure::new(kind, message).at(site));
}

/// Pieces are a sequence of: kind (0 text, 1 value), length as 4 little-endian bytes, the text or format.
unsafe fn formatted(ctx: &mut Ctx, pieces: *const u8, len: u64, args: *const Arg, n_args: u64) -> String {
    let bytes = slice(pieces, len);
    let args = slice(args, n_args);
    let mut values = args.iter();
    let mut out = String::new();
    for piece in fmt::pieces(bytes) {
        match piece {
            Piece::Text(t) => out.push_str(t),
            Piece::Value(spec) => {
                if let Some(arg) = values.next() {
                    out.push_str(&value(ctx, arg, spec));
                }
            }
        }
    }
    out
}

unsafe fn slice<'a, T>(ptr: *const T, len: u64) -> &'a [T] {
    if len == 0 { &[] } else { std::slice::from_raw_parts(ptr, len as usize) }
}

/// What is behind an argument that is no text.
type Tensor<'a> = (Dtype, Vec<usize>, Cow<'a, [u8]>);

/// The elements and extents behind an argument; `None` for a text.
unsafe fn tensor<'a>(ctx: &mut Ctx, arg: &'a Arg) -> Result<Option<Tensor<'a>>> {
    let Some(dtype) = Dtype::from_code(arg.dtype) else { return Ok(None) };
    if arg.dims.is_null() {
        let bits = &arg.value as *const u64 as *const u8;
        return Ok(Some((dtype, Vec::new(), Cow::Borrowed(slice(bits, dtype.size() as u64)))));
    }
    let shape: Vec<usize> = slice(arg.dims, u64::from(arg.rank)).iter().map(|d| *d as usize).collect();
    let n: usize = shape.iter().product();
    let bytes = n * dtype.size();
    let data = match &mut ctx.device {
        Some(d) => Cow::Owned(d.fetch(arg.value as *const u8, bytes).map_err(|e| refused(ctx, &e))?),
        None => Cow::Borrowed(slice(arg.value as *const u8, bytes as u64)),
    };
    Ok(Some((dtype, shape, data)))
}

unsafe fn value(ctx: &mut Ctx, arg: &Arg, spec: &str) -> String {
    if arg.dtype == super::TEXT {
        return fmt::text(text_of(arg.value as *const c_void), spec);
    }
    match tensor(ctx, arg) {
        Ok(Some((dtype, shape, bytes))) => fmt::tensor(dtype, &shape, &bytes, spec),
        Ok(None) => "?".into(),
        // the failure is recorded
        Err(_) => "?".into(),
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
    let ctx = &mut *ctx;
    let mut text = formatted(ctx, pieces, pieces_len, args, n_args);
    if ctx.failed() {
        return FAILED;
    }
    text.push_str(Text { ptr: end, len: end_len }.as_str());
    ctx.progress.clear();
    match ctx.output.write(&text, &ctx.interrupt) {
        Ok(()) => OK,
        Err(e) => {
            let kind = match e.kind() {
                std::io::ErrorKind::BrokenPipe => FailureKind::BrokenPipe,
                std::io::ErrorKind::Interrupted => FailureKind::Interrupted,
                _ => FailureKind::Io,
            };
            ctx.fail(Failure::new(kind, format!("cannot write to standard output: {e}")));
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
    let text = formatted(&mut *ctx, pieces, pieces_len, args, n_args);
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
    ctx: *mut Ctx,
    src: *const u8,
    values: *mut u8,
    indices: *mut i64,
    dtype: u32,
    rows: i64,
    len: i64,
    descending: u32,
    site: u32,
) -> i32 {
    guard(ctx, site, FailureKind::Memory, |ctx| {
        let Some(dtype) = Dtype::from_code(dtype) else { return Ok(()) };
        let (rows, len) = (rows as usize, len as usize);
        let bytes = len.saturating_mul(size_of::<sort::Pair>());
        let Some(pairs) = ctx.memory.alloc(bytes) else {
            let shown = fmt::bytes(i64::try_from(bytes).unwrap_or(i64::MAX));
            return Err(format!("out of memory: sorting needs {shown} more"));
        };
        sort::rows(dtype, src, values, indices, pairs.as_ptr().cast(), rows, len, descending != 0);
        ctx.memory.free(pairs.as_ptr());
        Ok(())
    })
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
    let stack = stack as *mut crate::memory::Stack;
    let grown = match &mut ctx.device {
        Some(d) => d.stack_grow(stack, bytes as usize, site),
        None => ctx.memory.stack_grow(stack, bytes as usize).map(|p| p.as_ptr()).ok_or(Error::Memory(bytes as usize)),
    };
    grown.unwrap_or_else(|e| {
        ctx.refuse(&e, Some(site));
        std::ptr::null_mut()
    })
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
    let (ctx, stack) = (&mut *ctx, stack as *mut crate::memory::Stack);
    match &mut ctx.device {
        Some(d) => d.stack_free(&mut ctx.memory, stack),
        None => ctx.memory.stack_free(stack),
    }
}

/// Copies bytes into memory of the program's own.
fn give(ctx: &mut Ctx, bytes: &[u8]) -> Result<*mut u8> {
    ctx.give(bytes).map_err(|e| refused(ctx, &e))
}

/// Records an error of the device as what it is, before the caller makes one of its own of the text: the first one counts.
fn refused(ctx: &mut Ctx, error: &Error) -> String {
    ctx.refuse(error, None);
    error.to_string()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_save(ctx: *mut Ctx, path: *const c_void, entries: *const Entry, n: u64, site: u32) -> i32 {
    guard(ctx, site, FailureKind::Io, |ctx| {
        let entries = slice(entries, n);
        let tensors: Vec<Option<Tensor<'_>>> = entries.iter().map(|e| tensor(ctx, &e.value)).collect::<Result<_>>()?;
        let all: Vec<files::Named<'_>> = entries
            .iter()
            .zip(&tensors)
            .filter_map(|(e, t)| {
                let (dtype, shape, bytes) = t.as_ref()?;
                Some(files::Named { name: e.name.as_str(), dtype: *dtype, shape: shape.clone(), bytes })
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
    guard(ctx, site, FailureKind::Io, |ctx| {
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
        let renamed = if renamed.is_null() { None } else { tensor(ctx, &*renamed)?.map(|(_, _, bytes)| bytes) };
        let loaded = files::load(path, &wanted, renamed.as_deref(), extra != 0)?;
        for (e, bytes) in entries.iter().zip(loaded) {
            let to = e.value.value as *mut u8;
            match &mut ctx.device {
                Some(d) => d.device.write(to, &bytes).map_err(|e| refused(ctx, &e))?,
                None => std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()),
            }
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_exists(_ctx: *mut Ctx, path: *const c_void) -> u32 {
    u32::from(std::path::Path::new(text_of(path)).exists())
}

/// Seconds of a monotonic clock, when all is done that came before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_clock(ctx: *mut Ctx) -> f64 {
    // a device that has failed says so at the next call
    if let Some(d) = &mut (*ctx).device {
        let _ = d.device.finish();
    }
    (*ctx).started.elapsed().as_secs_f64()
}

/// Ticks since a profile began.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_tick(ctx: *mut Ctx) -> i64 {
    let ctx = &mut *ctx;
    // what comes before is no part of it
    if let Some(d) = &mut ctx.device {
        d.device.took();
    }
    ctx.profile.as_ref().map_or(0, |p| p.now() as i64)
}

/// Records that `task` ran since `since`, and waits for a device to have done it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_tock(
    ctx: *mut Ctx,
    task: u32,
    since: i64,
    flops: i64,
    bytes: i64,
    dims: *const i64,
    n_dims: i64,
) {
    let ctx = &mut *ctx;
    let Some(profile) = &mut ctx.profile else { return };
    let mut took = None;
    if let Some(d) = &mut ctx.device {
        // one that has failed says so at the next call
        let _ = d.device.finish();
        took = d.device.took();
    }
    profile.record(task, since as u64, took, flops as u64, bytes as u64, slice(dims, n_dims as u64));
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

/// The `n`-th derivative of it.
#[unsafe(no_mangle)]
pub extern "C" fn tdl_polygamma(n: f64, x: f64) -> f64 {
    crate::special::polygamma(n, x)
}
