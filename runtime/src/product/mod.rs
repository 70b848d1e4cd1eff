//! Matrix products: floats by own loops on AVX-512 and where a matrix is only streamed through, else by the crate `gemm`;
//! integers by plain loops.
//!
//! The result does not depend on the number of threads: every element is summed in one block, and `c` is cut into blocks by the
//! shape alone where the cut could be seen in the bits.

mod dots;
#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(target_arch = "x86_64")]
mod packed;
mod plain;
mod stream;
mod transpose;

use std::cell::Cell;
use std::thread::LocalKey;

use gemm::Parallelism;

use crate::abi::{Dtype, Gemm, Matrix};
use crate::pool::Pool;

/// Multiply-adds below which a product stays on one thread.
const SMALL: i64 = 2 << 20;
/// Multiply-adds of a block, while there are few blocks and when there are many.
const BLOCK: i64 = 8 << 20;
const LARGE_BLOCK: i64 = 64 << 20;
/// Elements in the longest vectors of the loops.
const VECTOR: i64 = 32;

/// One block: `c[m, n] = a[m, k] @ b[k, n]`. A matrix is its address and the strides of its rows and columns, in elements.
#[derive(Clone, Copy)]
struct Block<T> {
    m: usize,
    n: usize,
    k: usize,
    a: View<T>,
    b: View<T>,
    c: View<T>,
    accumulate: bool,
}

#[derive(Clone, Copy)]
struct View<T> {
    ptr: *mut T,
    rows: isize,
    cols: isize,
}

impl<T> View<T> {
    fn transposed(self) -> View<T> {
        View { ptr: self.ptr, rows: self.cols, cols: self.rows }
    }

    /// The address of element `(i, j)`.
    #[inline(always)]
    unsafe fn at(self, i: usize, j: usize) -> *mut T {
        // SAFETY: the caller stays inside the matrix
        unsafe { self.ptr.offset(i as isize * self.rows + j as isize * self.cols) }
    }
}

impl<T> Block<T> {
    /// The same product as `cᵀ = bᵀ @ aᵀ`.
    fn transposed(self) -> Block<T> {
        Block { m: self.n, n: self.m, a: self.b.transposed(), b: self.a.transposed(), c: self.c.transposed(), ..self }
    }
}

/// Computes a product of f32, or of f16 or bf16, with all threads of the pool. See [`Gemm`] for the shapes.
pub fn f32(pool: &Pool, g: &Gemm) {
    let p = &Shared(*g);
    // SAFETY: the ranges that `cut` passes stay inside the operands, whose dtype is `dtype`
    cut(pool, g, &|o, rows, cols| unsafe {
        match Dtype::from_code(p.0.dtype) {
            Some(Dtype::F16) => plain::f16(p.part(o, rows, cols)),
            Some(Dtype::Bf16) => plain::bf16(p.part(o, rows, cols)),
            _ => stream::f32(p.part(o, rows, cols)),
        }
    });
}

/// Computes a product of f64.
pub fn f64(pool: &Pool, g: &Gemm) {
    let p = &Shared(*g);
    // SAFETY: as in `f32`
    cut(pool, g, &|o, rows, cols| unsafe { stream::f64(p.part(o, rows, cols)) });
}

/// Computes a product of integers.
pub fn int(pool: &Pool, g: &Gemm) {
    let p = &Shared(*g);
    // SAFETY: as in `f32`
    cut(pool, g, &|o, rows, cols| unsafe {
        match Dtype::from_code(p.0.dtype).map_or(8, Dtype::size) {
            1 => plain::i8(p.part(o, rows, cols)),
            2 => plain::i16(p.part(o, rows, cols)),
            4 => plain::i32(p.part(o, rows, cols)),
            _ => plain::i64(p.part(o, rows, cols)),
        }
    });
}

/// Calls `block(offsets of a, b and c, rows, columns)` for the parts of a product, on all threads.
fn cut(pool: &Pool, g: &Gemm, block: &(dyn Fn([i64; 3], [i64; 2], [i64; 2]) + Sync)) {
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
    let work = m.saturating_mul(n).saturating_mul(g.k.max(1));
    if items > 1 {
        // whole products to a chunk, so that a chunk is worth waking a thread for
        let grain = (SMALL / work.max(1)).max(1);
        pool.chunks(items, grain, &|lo, hi| {
            for item in lo..hi {
                let (mut offsets, mut rest) = ([0; 3], item);
                for (axis, extent) in extents.iter().enumerate().rev() {
                    for (o, s) in offsets.iter_mut().zip(&strides) {
                        *o += (rest % extent) * s[axis];
                    }
                    rest /= extent;
                }
                block(offsets, [0, m], [0, n]);
            }
        });
        return;
    }
    let [down, across] = grid(m, n, g.k, pool.size() as i64);
    pool.chunks(down * across, 1, &|lo, hi| {
        for i in lo..hi {
            let (rows, cols) = (part(m, down, i / across), part(n, across, i % across));
            if rows[0] < rows[1] && cols[0] < cols[1] {
                block([0; 3], rows, cols);
            }
        }
    });
}

/// Where the part `i` of `parts` begins and ends: about equal ones of whole vectors, none with less than two of these, so that a part is
/// computed in the way that the whole would be.
fn part(size: i64, parts: i64, i: i64) -> [i64; 2] {
    let vectors = (size + VECTOR - 1) / VECTOR;
    let parts = parts.min(vectors / 2).max(1);
    [i, i + 1].map(|i| (vectors * i.min(parts) / parts * VECTOR).min(size))
}

/// The bits of a product do not depend on where it is cut.
fn anywhere() -> bool {
    #[cfg(target_arch = "x86_64")]
    return crate::simd::avx512();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// How many blocks a product is cut into, down and across: about square ones, which read least.
fn grid(m: i64, n: i64, k: i64, threads: i64) -> [i64; 2] {
    let work = m.saturating_mul(n).saturating_mul(k.max(1));
    let (few, many) = (m.min(n), m.max(n));
    if few <= stream::FEW as i64 {
        // streamed: bound by memory, so worth sharing earlier. Every element is summed on its own, wherever the cuts are
        let blocks = (work / few / (SMALL / 16)).clamp(1, threads).min(many / 256 + 1);
        let blocks = if threads == 1 { 1 } else { blocks };
        return if m < n { [1, blocks] } else { [blocks, 1] };
    }
    if anywhere() {
        // large ones in more blocks than threads, so that one that is late is not waited for
        let each = if work < 2 * LARGE_BLOCK { 1 } else { 2 };
        let blocks = if work < SMALL || threads == 1 { 1 } else { each * threads };
        // every part down reads all of `b`, every part across all of `a`
        let reads = |down: i64| blocks / down * m + down * n;
        let down = (1..=blocks).filter(|down| blocks % down == 0).min_by_key(|down| reads(*down)).unwrap_or(1);
        return [down, blocks / down];
    }
    let mut blocks = if work < SMALL { 1 } else { (work / BLOCK).clamp(2, 16).max((work / LARGE_BLOCK).min(64)) };
    let (mut down, mut across) = (1, 1);
    while blocks > 1 {
        if m / down > n / across {
            down *= 2
        } else {
            across *= 2
        }
        blocks /= 2;
    }
    [down, across]
}

struct Shared(Gemm);

// SAFETY: blocks of `c` are disjoint; `a` and `b` are only read
unsafe impl Sync for Shared {}

impl Shared {
    /// Rows and columns `rows × cols` of the product at these batch offsets.
    unsafe fn part<T>(&self, offsets: [i64; 3], rows: [i64; 2], cols: [i64; 2]) -> Block<T> {
        let g = &self.0;
        let view = |m: &Matrix, offset: i64, row: i64, col: i64| View {
            // SAFETY: the caller stays inside the operand
            ptr: unsafe { m.ptr.cast::<T>().offset((offset + row * m.rows + col * m.cols) as isize) },
            rows: m.rows as isize,
            cols: m.cols as isize,
        };
        Block {
            m: (rows[1] - rows[0]) as usize,
            n: (cols[1] - cols[0]) as usize,
            k: g.k as usize,
            a: view(&g.a, offsets[0], rows[0], 0),
            b: view(&g.b, offsets[1], 0, cols[0]),
            c: view(&g.c, offsets[2], rows[0], cols[0]),
            accumulate: g.accumulate != 0,
        }
    }
}

/// The product by the crate `gemm`, on this thread.
unsafe fn library<T: Copy + 'static>(p: &Block<T>, zero: T, one: T) {
    // SAFETY: the matrices have these shapes and strides
    unsafe {
        gemm::gemm::<T>(
            p.m,
            p.n,
            p.k,
            p.c.ptr,
            p.c.cols,
            p.c.rows,
            p.accumulate,
            p.a.ptr,
            p.a.cols,
            p.a.rows,
            p.b.ptr,
            p.b.cols,
            p.b.rows,
            if p.accumulate { one } else { zero },
            one,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

thread_local! {
    /// Memory for packed operands, kept from product to product.
    static SCRATCH: Cell<Vec<u64>> = const { Cell::new(Vec::new()) };
    /// Memory for widened operands, whose product packs them.
    static WIDE: Cell<Vec<u64>> = const { Cell::new(Vec::new()) };
    /// Memory for transposed results.
    static TURNED: Cell<Vec<u64>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with room for `len` elements, which hold anything.
pub fn scratch<T: Copy, R>(len: usize, f: impl FnOnce(*mut T) -> R) -> R {
    room(&SCRATCH, len, f)
}

/// The same for operands that are widened first.
fn wide<R>(len: usize, f: impl FnOnce(*mut f32) -> R) -> R {
    room(&WIDE, len, f)
}

/// The same for results that are transposed last.
#[cfg(target_arch = "x86_64")]
fn turned<T: Copy, R>(len: usize, f: impl FnOnce(*mut T) -> R) -> R {
    room(&TURNED, len, f)
}

fn room<T: Copy, R>(kept: &'static LocalKey<Cell<Vec<u64>>>, len: usize, f: impl FnOnce(*mut T) -> R) -> R {
    let mut memory = kept.take();
    // aligned to 64 bytes
    let words = (len * size_of::<T>()).div_ceil(8) + 8;
    if memory.len() < words {
        memory = vec![0; words];
    }
    let start = memory.as_mut_ptr();
    let result = f(start.cast::<u8>().wrapping_add(start.cast::<u8>().align_offset(64)).cast());
    kept.set(memory);
    result
}

#[cfg(test)]
mod tests;
