//! Products of floats: which way each goes, and the loops for few rows, where the other matrix is read once from memory
//! and all that counts is reading it fast.

use super::{Block, View, dots, library, scratch, transpose};
use crate::simd::versions;

/// Most rows that count as few.
pub const FEW: usize = 8;
/// Fewest rows for which a matrix is worth transposing first.
const TRANSPOSE: usize = 9;
/// Sums that stay in the first-level cache: as many as possible, for a processor guesses best what comes next of long rows.
const TILE: usize = 4096;
/// Rows of `b` that are added at a time.
const UNROLL: usize = 8;

macro_rules! product {
    ($ty:ident, $stream:ident, $columns:ident, $dots:path, $transpose:path, $packed:path) => {
        /// One block of a product.
        pub unsafe fn $ty(p: Block<$ty>) {
            // rows of c contiguous if any axis is; one column is one row
            let p = if p.n == 1 || (p.c.cols != 1 && p.c.rows == 1) { p.transposed() } else { p };
            // SAFETY: the shapes are the caller's
            unsafe {
                if p.m <= FEW && p.b.cols == 1 && (p.c.cols == 1 || p.n == 1) {
                    return $stream(p);
                }
                if p.m <= FEW && p.b.rows == 1 && dots::fast() {
                    return with_rows(p, |p| $dots(&p));
                }
                if p.n <= FEW && p.a.cols == 1 && dots::fast() {
                    return with_rows(p.transposed(), |p| $dots(&p));
                }
                #[cfg(target_arch = "x86_64")]
                if p.c.cols == 1 && crate::simd::avx512() {
                    return $packed(&p);
                }
                if p.m >= TRANSPOSE
                    && p.b.rows == 1
                    && p.b.cols != 1
                    && p.c.cols == 1
                    && 4 * p.m * (p.k + p.n) < p.k * p.n
                {
                    return $columns(p);
                }
                if p.m >= TRANSPOSE && p.b.rows == 1 && p.b.cols != 1 {
                    return scratch::<$ty, ()>(p.k * p.n, |room| {
                        $transpose(room, p.b.ptr, p.n, p.k, p.b.cols);
                        let b = View { ptr: room, rows: p.n as isize, cols: 1 };
                        library(&Block { b, ..p }, 0.0, 1.0)
                    });
                }
                library(&p, 0.0, 1.0)
            }
        }

        /// A product with a `b` whose columns are contiguous and that is much larger than `a` and `c`: these are transposed in its
        /// stead, so that the columns of `c` are computed.
        unsafe fn $columns(p: Block<$ty>) {
            let (m, n, k) = (p.m, p.n, p.k);
            // SAFETY: the scratch holds a copy of `a` and two of `c`; all indices are inside the block
            scratch::<$ty, ()>(m * k + 2 * m * n, |room| unsafe {
                let (columns, rows) = (room.add(m * k), room.add(m * k + m * n));
                let a = if p.a.rows == 1 {
                    p.a
                } else {
                    if p.a.cols == 1 {
                        $transpose(room, p.a.ptr, m, k, p.a.rows);
                    } else {
                        for i in 0..m {
                            for l in 0..k {
                                *room.add(l * m + i) = *p.a.at(i, l);
                            }
                        }
                    }
                    View { ptr: room, rows: 1, cols: m as isize }
                };
                let c = View { ptr: columns, rows: 1, cols: m as isize };
                library(&Block { a, c, accumulate: false, ..p }, 0.0, 1.0);
                $transpose(rows, columns, n, m, m as isize);
                for i in 0..m {
                    let from = std::slice::from_raw_parts(rows.add(i * n), n);
                    let to = std::slice::from_raw_parts_mut(p.c.at(i, 0), n);
                    if p.accumulate {
                        to.iter_mut().zip(from).for_each(|(c, x)| *c += x);
                    } else {
                        to.copy_from_slice(from);
                    }
                }
            })
        }

        versions! {
            /// Few rows times a matrix with contiguous rows: sums of its rows.
            unsafe fn $stream(p: Block<$ty>) {
                // SAFETY: all indices are inside the block
                unsafe {
                    let tile = (TILE / p.m.next_power_of_two()).max(TILE / 4);
                    for lo in (0..p.n).step_by(tile) {
                        let width = tile.min(p.n - lo);
                        for i in 0..p.m {
                            if !p.accumulate {
                                std::slice::from_raw_parts_mut(p.c.at(i, lo), width).fill(0.0);
                            }
                        }
                        let mut l = 0;
                        while l + UNROLL <= p.k {
                            for i in 0..p.m {
                                let x: [$ty; UNROLL] = std::array::from_fn(|u| *p.a.at(i, l + u));
                                let rows: [&[$ty]; UNROLL] =
                                    std::array::from_fn(|u| std::slice::from_raw_parts(p.b.at(l + u, lo), width));
                                let c = std::slice::from_raw_parts_mut(p.c.at(i, lo), width);
                                for j in 0..width {
                                    let mut sum = c[j];
                                    for u in 0..UNROLL {
                                        sum = x[u].mul_add(*rows[u].get_unchecked(j), sum);
                                    }
                                    c[j] = sum;
                                }
                            }
                            l += UNROLL;
                        }
                        while l < p.k {
                            for i in 0..p.m {
                                let x = *p.a.at(i, l);
                                let row = std::slice::from_raw_parts(p.b.at(l, lo), width);
                                let c = std::slice::from_raw_parts_mut(p.c.at(i, lo), width);
                                for j in 0..width {
                                    c[j] = x.mul_add(row[j], c[j]);
                                }
                            }
                            l += 1;
                        }
                    }
                }
            }
        }
    };
}

/// Calls `f` with a block whose `a` has contiguous rows.
unsafe fn with_rows<T: Copy>(p: Block<T>, f: impl FnOnce(Block<T>)) {
    if p.a.cols == 1 {
        return f(p);
    }
    scratch::<T, ()>(p.m * p.k, |room| {
        let a = View { ptr: room, rows: p.k as isize, cols: 1 };
        for i in 0..p.m {
            for l in 0..p.k {
                // SAFETY: all indices are inside the matrices
                unsafe { *a.at(i, l) = *p.a.at(i, l) };
            }
        }
        f(Block { a, ..p })
    })
}

product!(f32, stream_f32, columns_f32, dots::f32, transpose::f32, super::packed::f32);
product!(f64, stream_f64, columns_f64, dots::f64, transpose::f64, super::packed::f64);
