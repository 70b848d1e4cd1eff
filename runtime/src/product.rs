//! Matrix products, by the crate `gemm`; integers by plain loops.
//!
//! The result does not depend on the number of threads: `c` is cut into blocks by the shape alone, and every element is
//! summed in one block.

use gemm::Parallelism;
use half::{bf16, f16};

use crate::abi::{Dtype, Gemm, Matrix};
use crate::pool::Pool;

/// Multiply-adds below which a product stays on one thread.
const SMALL: i64 = 2 << 20;
/// Multiply-adds of one block.
const BLOCK: i64 = 8 << 20;
/// Most blocks a product is cut into.
const MAX_BLOCKS: i64 = 16;

pub fn gemm(pool: &Pool, g: &Gemm) {
    // SAFETY: generated code passes arrays of `batch_rank` extents and strides
    let (extents, strides) = unsafe {
        let of = |p: *const i64| {
            if g.batch_rank == 0 { &[][..] } else { std::slice::from_raw_parts(p, g.batch_rank as usize) }
        };
        (of(g.batch), [of(g.a.batch), of(g.b.batch), of(g.c.batch)])
    };
    let items: i64 = extents.iter().product();
    if items == 0 || g.m == 0 || g.n == 0 {
        return;
    }
    let (m, n) = (g.m, g.n);
    let work = m * n * g.k.max(1);
    let strides = strides.map(<[i64]>::to_vec);
    let at = |mut item: i64| -> [i64; 3] {
        let mut offsets = [0; 3];
        for (axis, extent) in extents.iter().enumerate().rev() {
            for (o, s) in offsets.iter_mut().zip(&strides) {
                *o += (item % extent) * s[axis];
            }
            item /= extent;
        }
        offsets
    };
    let shared = &Shared(*g);
    if items > 1 {
        // whole products to a chunk, so that a chunk is worth waking a thread for
        let grain = (SMALL / work.max(1)).max(1);
        let run = |lo, hi| {
            for item in lo..hi {
                shared.block(at(item), [0, m], [0, n]);
            }
        };
        pool.chunks(items, grain, &run);
        return;
    }
    let blocks = if work < SMALL { 1 } else { (work / BLOCK).clamp(2, MAX_BLOCKS) };
    let along_n = n >= m;
    let length = if along_n { n } else { m };
    let width = ((length + blocks - 1) / blocks + 31) / 32 * 32;
    let run = |lo, hi| {
        if along_n { shared.block([0; 3], [0, m], [lo, hi]) } else { shared.block([0; 3], [lo, hi], [0, n]) }
    };
    if blocks == 1 { run(0, length) } else { pool.chunks(length, width, &run) }
}

struct Shared(Gemm);

// SAFETY: blocks of `c` are disjoint; `a` and `b` are only read
unsafe impl Sync for Shared {}

impl Shared {
    /// Rows and columns `rows × cols` of the product at these batch offsets.
    fn block(&self, offsets: [i64; 3], rows: [i64; 2], cols: [i64; 2]) {
        let g = &self.0;
        let a = offsets[0] + rows[0] * g.a.rows;
        let b = offsets[1] + cols[0] * g.b.cols;
        let c = offsets[2] + rows[0] * g.c.rows + cols[0] * g.c.cols;
        let size = [rows[1] - rows[0], cols[1] - cols[0], g.k];
        // SAFETY: the offsets stay inside the operands, whose dtype is `dtype`
        unsafe {
            match Dtype::from_code(g.dtype) {
                Some(Dtype::F32) => float::<f32>(g, [a, b, c], size, 1.0, 0.0),
                Some(Dtype::F64) => float::<f64>(g, [a, b, c], size, 1.0, 0.0),
                Some(Dtype::F16) => narrow::<f16>(g, [a, b, c], size),
                Some(Dtype::Bf16) => narrow::<bf16>(g, [a, b, c], size),
                Some(Dtype::I64 | Dtype::U64) => int::<i64>(g, [a, b, c], size, i64::wrapping_mul, i64::wrapping_add),
                Some(Dtype::I32 | Dtype::U32) => int::<i32>(g, [a, b, c], size, i32::wrapping_mul, i32::wrapping_add),
                Some(Dtype::I16) => int::<i16>(g, [a, b, c], size, i16::wrapping_mul, i16::wrapping_add),
                Some(Dtype::I8 | Dtype::U8) => int::<i8>(g, [a, b, c], size, i8::wrapping_mul, i8::wrapping_add),
                Some(Dtype::Bool) | None => {}
            }
        }
    }
}

unsafe fn at<T>(m: &Matrix, offset: i64) -> *mut T {
    // SAFETY: the caller keeps the offset inside the operand
    unsafe { m.ptr.cast::<T>().offset(offset as isize) }
}

unsafe fn float<T: 'static>(g: &Gemm, at_: [i64; 3], size: [i64; 3], one: T, zero: T)
where
    T: Copy,
{
    // SAFETY: see `block`
    unsafe {
        gemm::gemm::<T>(
            size[0] as usize,
            size[1] as usize,
            size[2] as usize,
            at::<T>(&g.c, at_[2]),
            g.c.cols as isize,
            g.c.rows as isize,
            g.accumulate != 0,
            at::<T>(&g.a, at_[0]),
            g.a.cols as isize,
            g.a.rows as isize,
            at::<T>(&g.b, at_[1]),
            g.b.cols as isize,
            g.b.rows as isize,
            if g.accumulate != 0 { one } else { zero },
            one,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// f16 and bf16: summed in f32, rounded once.
unsafe fn narrow<T: Copy + Into<f32> + FromF32>(g: &Gemm, at_: [i64; 3], size: [i64; 3]) {
    let [m, n, k] = size;
    // SAFETY: see `block`
    unsafe {
        for i in 0..m {
            for j in 0..n {
                let c = at::<T>(&g.c, at_[2] + i * g.c.rows + j * g.c.cols);
                let mut sum = if g.accumulate != 0 { (*c).into() } else { 0.0f32 };
                for l in 0..k {
                    let x: f32 = (*at::<T>(&g.a, at_[0] + i * g.a.rows + l * g.a.cols)).into();
                    let y: f32 = (*at::<T>(&g.b, at_[1] + l * g.b.rows + j * g.b.cols)).into();
                    sum = x.mul_add(y, sum);
                }
                *c = T::from_f32(sum);
            }
        }
    }
}

trait FromF32 {
    fn from_f32(x: f32) -> Self;
}

impl FromF32 for f16 {
    fn from_f32(x: f32) -> f16 {
        f16::from_f32(x)
    }
}

impl FromF32 for bf16 {
    fn from_f32(x: f32) -> bf16 {
        bf16::from_f32(x)
    }
}

unsafe fn int<T: Copy + Default>(g: &Gemm, at_: [i64; 3], size: [i64; 3], mul: fn(T, T) -> T, add: fn(T, T) -> T) {
    let [m, n, k] = size;
    // SAFETY: see `block`
    unsafe {
        for i in 0..m {
            for j in 0..n {
                let c = at::<T>(&g.c, at_[2] + i * g.c.rows + j * g.c.cols);
                let mut sum = if g.accumulate != 0 { *c } else { T::default() };
                for l in 0..k {
                    let x = *at::<T>(&g.a, at_[0] + i * g.a.rows + l * g.a.cols);
                    let y = *at::<T>(&g.b, at_[1] + l * g.b.rows + j * g.b.cols);
                    sum = add(sum, mul(x, y));
                }
                *c = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(threads: usize, m: i64, k: i64, n: i64, accumulate: bool) -> Vec<f32> {
        let value = |i: i64| ((i * 37 % 101) as f32 - 50.0) / 64.0;
        let mut a: Vec<f32> = (0..m * k).map(value).collect();
        let mut b: Vec<f32> = (0..k * n).map(|i| value(i + 7)).collect();
        let mut c = vec![1.0f32; (m * n) as usize];
        let matrix =
            |v: &mut Vec<f32>, rows, cols| Matrix { ptr: v.as_mut_ptr().cast(), rows, cols, batch: std::ptr::null() };
        let g = Gemm {
            dtype: Dtype::F32 as u32,
            accumulate: u32::from(accumulate),
            m,
            n,
            k,
            batch_rank: 0,
            batch: std::ptr::null(),
            // a is stored transposed
            a: matrix(&mut a, 1, m),
            b: matrix(&mut b, n, 1),
            c: matrix(&mut c, n, 1),
        };
        gemm(&Pool::new(threads), &g);
        for (i, j) in [(0, 0), (m - 1, n - 1), (m / 2, n / 3)] {
            let exact: f64 =
                (0..k).map(|l| f64::from(a[(l * m + i) as usize]) * f64::from(b[(l * n + j) as usize])).sum();
            let want = exact + f64::from(u8::from(accumulate));
            let got = f64::from(c[(i * n + j) as usize]);
            assert!((got - want).abs() < 1e-3, "{got} {want}");
        }
        c
    }

    #[test]
    fn products_do_not_depend_on_threads() {
        for (m, k, n) in [(1, 1, 1), (64, 64, 64), (128, 784, 512), (300, 200, 100), (1, 500, 500), (7, 0, 5)] {
            let one = if k == 0 { continue } else { product(1, m, k, n, false) };
            for threads in [2, 3] {
                assert_eq!(product(threads, m, k, n, false), one, "{m} {k} {n}");
            }
            product(2, m, k, n, true);
        }
    }
}
