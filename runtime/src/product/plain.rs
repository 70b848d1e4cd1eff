//! Products of integers (exact, wrapping) and of f16 and bf16 (in f32, rounded once).

use half::slice::HalfFloatSliceExt;
use half::{bf16 as Bf16, f16 as F16};

use super::{Block, View, part, stream};
use crate::simd::versions;

macro_rules! integers {
    ($($ty:ident),*) => {$(
        versions! {
            pub unsafe fn $ty(p: Block<$ty>) {
                // SAFETY: all indices are inside the block
                unsafe {
                    for i in 0..p.m {
                        if p.b.cols == 1 && p.c.cols == 1 {
                            let c = std::slice::from_raw_parts_mut(p.c.at(i, 0), p.n);
                            if !p.accumulate {
                                c.fill(0);
                            }
                            for l in 0..p.k {
                                let x = *p.a.at(i, l);
                                let b = std::slice::from_raw_parts(p.b.at(l, 0), p.n);
                                for (c, b) in c.iter_mut().zip(b) {
                                    *c = c.wrapping_add(x.wrapping_mul(*b));
                                }
                            }
                            continue;
                        }
                        for j in 0..p.n {
                            let c = p.c.at(i, j);
                            let mut sum = if p.accumulate { *c } else { 0 };
                            for l in 0..p.k {
                                sum = sum.wrapping_add((*p.a.at(i, l)).wrapping_mul(*p.b.at(l, j)));
                            }
                            *c = sum;
                        }
                    }
                }
            }
        }
    )*};
}

integers!(i8, i16, i32, i64);

/// Columns of `b` that are widened at a time.
const PANEL: i64 = 256;

macro_rules! narrow {
    ($name:ident, $ty:ident) => {
        pub unsafe fn $name(p: Block<$ty>) {
            let parts = (p.n as i64 / PANEL).max(1);
            let widest =
                (0..parts).map(|i| part(p.n as i64, parts, i)).map(|[lo, hi]| (hi - lo) as usize).max().unwrap_or(0);
            super::wide(p.m * p.k + (p.k + p.m) * widest, |room| {
                let (room_b, room_c) = (room.wrapping_add(p.m * p.k), room.wrapping_add(p.m * p.k + p.k * widest));
                let dense = |ptr, cols: usize| View { ptr, rows: cols as isize, cols: 1 };
                // SAFETY: all indices are inside the matrices
                unsafe {
                    let widen = |to: View<f32>, from: View<$ty>, rows: usize, cols: usize| {
                        for i in 0..rows {
                            if from.cols == 1 {
                                let from = std::slice::from_raw_parts(from.at(i, 0), cols);
                                from.convert_to_f32_slice(std::slice::from_raw_parts_mut(to.at(i, 0), cols));
                                continue;
                            }
                            for j in 0..cols {
                                *to.at(i, j) = (*from.at(i, j)).to_f32();
                            }
                        }
                    };
                    // an operand whose columns are contiguous is widened as its transpose
                    let wide = |room: *mut f32, from: View<$ty>, rows: usize, cols: usize| {
                        if from.rows == 1 && from.cols != 1 {
                            let to = dense(room, rows);
                            widen(to, from.transposed(), cols, rows);
                            return to.transposed();
                        }
                        let to = dense(room, cols);
                        widen(to, from, rows, cols);
                        to
                    };
                    let a = wide(room, p.a, p.m, p.k);
                    for i in 0..parts {
                        let [lo, hi] = part(p.n as i64, parts, i).map(|j| j as usize);
                        let n = hi - lo;
                        let b = wide(room_b, View { ptr: p.b.at(0, lo), ..p.b }, p.k, n);
                        let (to, c) = (View { ptr: p.c.at(0, lo), ..p.c }, dense(room_c, n));
                        if p.accumulate {
                            widen(c, to, p.m, n);
                        }
                        stream::f32(Block { m: p.m, n, k: p.k, a, b, c, accumulate: p.accumulate });
                        for i in 0..p.m {
                            if to.cols == 1 {
                                let from = std::slice::from_raw_parts(c.at(i, 0), n);
                                std::slice::from_raw_parts_mut(to.at(i, 0), n).convert_from_f32_slice(from);
                                continue;
                            }
                            for j in 0..n {
                                *to.at(i, j) = $ty::from_f32(*c.at(i, j));
                            }
                        }
                    }
                }
            });
        }
    };
}

narrow!(f16, F16);
narrow!(bf16, Bf16);
