//! Steps over the same bands of what they touch: one chunk of bands after the other, the steps in order, so that what one writes the
//! next finds in the cache.

use std::ffi::c_void;

use super::super::{Gemm, Step, Windows};
use crate::context::Ctx;
use crate::{product, windows};

/// Does `n` steps for all of `count` bands, of which a chunk takes `chunk`; each step whole, if there are not `fewest` chunks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_bands(ctx: *mut Ctx, steps: *const Step, n: i64, count: i64, chunk: i64, fewest: i64) {
    let steps = Shared(ctx, std::slice::from_raw_parts(steps, n as usize));
    let steps = &steps;
    let run = |lo, hi| {
        let Shared(ctx, steps) = steps;
        steps.iter().for_each(|s| (s.run)(*ctx, s, lo, hi, count));
    };
    if count < fewest.saturating_mul(chunk) { run(0, count) } else { (*ctx).pool.chunks(count, chunk, &run) }
}

struct Shared<'s>(*mut Ctx, &'s [Step]);

// SAFETY: steps use the context's pool alone, which runs nested work in place; bands touch different memory
unsafe impl Sync for Shared<'_> {}

/// A kernel's share of its range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_step_kernel(ctx: *mut Ctx, step: *const Step, lo: i64, hi: i64, of: i64) {
    let s = &*step;
    // SAFETY: what the step of a launch holds is a kernel
    let f: unsafe extern "C" fn(*mut c_void, i64, i64) = std::mem::transmute(s.what);
    let per = s.range / of.max(1);
    let (env, first) = (s.env as usize, per * lo);
    (*ctx).pool.chunks(per * (hi - lo), s.grain, &|a, b| f(env as *mut c_void, first + a, first + b));
}

/// Items of the outermost axis of a batch of products.
unsafe fn items(step: *const Step, lo: i64, hi: i64, of: i64, f: impl FnOnce(&Gemm)) {
    let mut g = *(*step).what.cast::<Gemm>();
    let mut extents = std::slice::from_raw_parts(g.batch, g.batch_rank as usize).to_vec();
    let per = extents[0] / of.max(1);
    extents[0] = per * (hi - lo);
    g.batch = extents.as_ptr();
    let size = super::Dtype::from_code(g.dtype).map_or(8, super::Dtype::size) as isize;
    for m in [&mut g.a, &mut g.b, &mut g.c] {
        m.ptr = m.ptr.wrapping_byte_offset((per * lo * *m.batch) as isize * size);
    }
    f(&g);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_step_gemm_f32(ctx: *mut Ctx, step: *const Step, lo: i64, hi: i64, of: i64) {
    items(step, lo, hi, of, |g| product::f32(&(*ctx).pool, g));
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_step_gemm_f64(ctx: *mut Ctx, step: *const Step, lo: i64, hi: i64, of: i64) {
    items(step, lo, hi, of, |g| product::f64(&(*ctx).pool, g));
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_step_gemm_int(ctx: *mut Ctx, step: *const Step, lo: i64, hi: i64, of: i64) {
    items(step, lo, hi, of, |g| product::int(&(*ctx).pool, g));
}

/// Images of a convolution.
unsafe fn images(step: *const Step, lo: i64, hi: i64, of: i64, size: usize, f: impl FnOnce(&Windows)) {
    let mut w = *(*step).what.cast::<Windows>();
    let per = w.n / of.max(1);
    let product = |f: fn(&super::super::Window) -> i64| w.windows.iter().map(f).product::<i64>();
    let (x, y) = (product(|w| w.whole) * w.g * w.c, product(|w| w.place) * w.g * w.o);
    let at = |p: *mut c_void, image: i64| p.wrapping_byte_offset((per * lo * image) as isize * size as isize);
    (w.x, w.y, w.n) = (at(w.x, x), at(w.y, y), per * (hi - lo));
    f(&w);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_step_windows_f32(ctx: *mut Ctx, step: *const Step, lo: i64, hi: i64, of: i64) {
    images(step, lo, hi, of, 4, |w| windows::f32(&(*ctx).pool, w));
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_step_windows_f64(ctx: *mut Ctx, step: *const Step, lo: i64, hi: i64, of: i64) {
    images(step, lo, hi, of, 8, |w| windows::f64(&(*ctx).pool, w));
}
