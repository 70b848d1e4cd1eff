//! Products of integers (exact, wrapping) and of f16 and bf16 (in f32, rounded once).

use half::{bf16 as Bf16, f16 as F16};

use super::{Block, View, stream};
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
const PANEL: usize = 256;

macro_rules! narrow {
    ($name:ident, $ty:ident) => {
        pub unsafe fn $name(p: Block<$ty>) {
            let (width, sizes) = (PANEL.min(p.n), [p.m * p.k, p.k * PANEL.min(p.n), p.m * PANEL.min(p.n)]);
            let mut room = vec![0.0f32; sizes.iter().sum()];
            let (wide_a, rest) = room.split_at_mut(sizes[0]);
            let (wide_b, wide_c) = rest.split_at_mut(sizes[1]);
            let dense = |v: &mut [f32], cols: usize| View { ptr: v.as_mut_ptr(), rows: cols as isize, cols: 1 };
            // SAFETY: all indices are inside the matrices
            unsafe {
                let widen = |to: View<f32>, from: View<$ty>, rows: usize, cols: usize| {
                    for i in 0..rows {
                        for j in 0..cols {
                            *to.at(i, j) = (*from.at(i, j)).to_f32();
                        }
                    }
                };
                let a = dense(wide_a, p.k);
                widen(a, p.a, p.m, p.k);
                for lo in (0..p.n).step_by(width.max(1)) {
                    let n = width.min(p.n - lo);
                    let (b, c) = (dense(wide_b, n), dense(wide_c, n));
                    let from = View { ptr: p.b.at(0, lo), ..p.b };
                    let to = View { ptr: p.c.at(0, lo), ..p.c };
                    widen(b, from, p.k, n);
                    if p.accumulate {
                        widen(c, to, p.m, n);
                    }
                    stream::f32(Block { m: p.m, n, k: p.k, a, b, c, accumulate: p.accumulate });
                    for i in 0..p.m {
                        for j in 0..n {
                            *to.at(i, j) = $ty::from_f32(*c.at(i, j));
                        }
                    }
                }
            }
        }
    };
}

narrow!(f16, F16);
narrow!(bf16, Bf16);
