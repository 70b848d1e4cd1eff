//! The innermost loops of a product on AVX-512: a tile of `c` whose sums stay in registers, and the transposition that packing needs.

/// What a tile reads of `a`.
#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    /// A packed strip, whose columns are [`STRIP`] apart.
    Packed,
    /// Rows where they lie. Eight of them fit in one set of the cache, if they are a power of two apart.
    InPlace,
}

/// Most rows of a tile.
pub const ROWS: usize = 8;
/// Most vectors across a tile: eight rows of three take fewer loads for their sums than what else fits in the registers, and so
/// less power, which is what limits a processor that does nothing but multiply.
pub const ACROSS: usize = 3;
/// Distance of the columns of packed strips of `a`, two of which are packed beside each other: what a transposition writes.
pub const STRIP: usize = 16;
/// Columns of `a` that a turn of the loop takes.
const UNROLL: usize = 4;

/// `c[m, n] (+)= a[m, k] @ b[k, n]` for one tile; `b` and `c` have contiguous rows.
pub struct Tile<T> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub form: Form,
    pub a: *const T,
    /// From row to row of `a`, if it is in place.
    pub a_rows: isize,
    pub b: *const T,
    /// From row to row of `b`.
    pub b_rows: usize,
    pub c: *mut T,
    pub c_rows: isize,
    pub accumulate: bool,
}

/// The versions of a tile for these numbers of rows.
macro_rules! versions {
    ($f:ident, $n:literal: $($m:literal)*) => { [$($f::<$m, $n>),*] };
}

macro_rules! kernel {
    ($name:ident, $ty:ident, $lanes:literal, $mask:ident, $zero:ident, $set:ident, $load:ident, $maskz:ident, $store:ident, $fma:ident, $add:ident) => {
        pub mod $name {
            use std::arch::x86_64::*;

            use super::{ACROSS, Form, ROWS, STRIP, Tile, UNROLL};

            pub const LANES: usize = $lanes;

            type Kernel = unsafe fn(&Tile<$ty>);

            /// By vectors across, less one, and rows, less one.
            const PACKED: [[Kernel; ROWS]; ACROSS] = [
        versions!(packed, 1: 1 2 3 4 5 6 7 8),
        versions!(packed, 2: 1 2 3 4 5 6 7 8),
        versions!(packed, 3: 1 2 3 4 5 6 7 8),
            ];
            const IN_PLACE: [[Kernel; ROWS]; ACROSS] = [
        versions!(in_place, 1: 1 2 3 4 5 6 7 8),
        versions!(in_place, 2: 1 2 3 4 5 6 7 8),
        versions!(in_place, 3: 1 2 3 4 5 6 7 8),
            ];

            /// A tile of [`ROWS`] rows and [`ACROSS`] vectors at most. An element is the same whatever tile it is in.
            pub unsafe fn compute(t: &Tile<$ty>) {
                let (m, n) = (t.m - 1, (t.n - 1) / LANES);
                // SAFETY: the caller's tile; the processor has AVX-512
                unsafe {
                    match t.form {
                        Form::Packed => PACKED[n][m](t),
                        Form::InPlace => IN_PLACE[n][m](t),
                    }
                }
            }

            #[target_feature(enable = "avx512f")]
            unsafe fn packed<const M: usize, const N: usize>(t: &Tile<$ty>) {
                // SAFETY: the caller's tile
                unsafe { tile::<M, N, false>(t) }
            }

            #[target_feature(enable = "avx512f")]
            unsafe fn in_place<const M: usize, const N: usize>(t: &Tile<$ty>) {
                // SAFETY: the caller's tile
                unsafe { tile::<M, N, true>(t) }
            }

            /// Copies `m` rows of `n` elements to rows of whole vectors, filled up with zeros.
            #[target_feature(enable = "avx512f")]
            pub unsafe fn rows(m: usize, n: usize, from: *const $ty, stride: isize, out: *mut $ty, out_stride: usize) {
                for l in 0..m {
                    for j in (0..n).step_by(LANES) {
                        let mask = $mask::MAX >> (LANES - LANES.min(n - j));
                        // SAFETY: masked to the row; the caller has room for whole vectors
                        unsafe {
                            $store(
                                out.add(l * out_stride + j),
                                $mask::MAX,
                                $maskz(mask, from.offset(l as isize * stride).add(j)),
                            )
                        };
                    }
                }
            }

            #[inline]
            #[target_feature(enable = "avx512f")]
            unsafe fn tile<const M: usize, const N: usize, const IN_PLACE: bool>(t: &Tile<$ty>) {
                let last: $mask = $mask::MAX >> (N * LANES - t.n);
                let b_rows = t.b_rows;
                // rows of `a` in place are reached from every fourth one
                let distance: [isize; 4] = [0, t.a_rows, 2 * t.a_rows, 3 * t.a_rows];
                let mut a: [*const $ty; 4] =
                    std::array::from_fn(
                        |i| if IN_PLACE { t.a.wrapping_offset(4 * i as isize * t.a_rows) } else { t.a },
                    );
                let mut b = t.b;
                // SAFETY: lanes outside the tile are masked
                unsafe {
                    for i in 0..M {
                        for j in 0..N {
                            _mm_prefetch::<_MM_HINT_T0>(t.c.offset(i as isize * t.c_rows).add(j * LANES).cast());
                        }
                    }
                    let mut sums = [[$zero(); N]; M];
                    let mut step = |a: &[*const $ty; 4], b: *const $ty, u: usize| {
                        let mut row = [$zero(); N];
                        for (j, v) in row.iter_mut().enumerate() {
                            let p = b.add(j * LANES);
                            *v = if j + 1 == N { $maskz(last, p) } else { $load(p) };
                        }
                        for (i, sums) in sums.iter_mut().enumerate() {
                            let x = if IN_PLACE {
                                a[i / 4].offset(distance[i % 4]).add(u)
                            } else {
                                a[0].add(u * STRIP + i)
                            };
                            let x = $set(*x);
                            for j in 0..N {
                                sums[j] = $fma(x, row[j], sums[j]);
                            }
                        }
                    };
                    for _ in 0..t.k / UNROLL {
                        for u in 0..UNROLL {
                            step(&a, b.add(u * b_rows), u);
                        }
                        a = a.map(|a| a.wrapping_add(if IN_PLACE { UNROLL } else { UNROLL * STRIP }));
                        b = b.add(UNROLL * b_rows);
                    }
                    for u in 0..t.k % UNROLL {
                        step(&a, b.add(u * b_rows), u);
                    }
                    for (i, sums) in sums.iter().enumerate() {
                        for (j, sum) in sums.iter().enumerate() {
                            let p = t.c.offset(i as isize * t.c_rows).add(j * LANES);
                            let mask = if j + 1 == N { last } else { $mask::MAX };
                            let sum = if t.accumulate { $add($maskz(mask, p), *sum) } else { *sum };
                            $store(p, mask, sum);
                        }
                    }
                }
            }
        }
    };
}

#[rustfmt::skip]
kernel!(
    single, f32, 16, __mmask16, _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_mask_storeu_ps,
    _mm512_fmadd_ps, _mm512_add_ps
);
#[rustfmt::skip]
kernel!(
    double, f64, 8, __mmask8, _mm512_setzero_pd, _mm512_set1_pd, _mm512_loadu_pd, _mm512_maskz_loadu_pd, _mm512_mask_storeu_pd,
    _mm512_fmadd_pd, _mm512_add_pd
);

pub mod turn {
    //! `out[l * stride + i] = a[i * rows + l]`, a square of vectors at a time.

    use std::arch::x86_64::*;

    /// Sixteen rows at most, of `cols` elements; writes sixteen of each column, zeros for rows that are not there.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn single(rows: usize, cols: usize, a: *const f32, stride: isize, out: *mut f32, out_stride: usize) {
        let whole = cols / 16 * 16;
        let mut l = 0;
        while l < cols {
            let width = if l < whole { 16 } else { cols - whole };
            let mask: __mmask16 = __mmask16::MAX >> (16 - width);
            let mut r = [_mm512_setzero_ps(); 16];
            for (i, r) in r.iter_mut().enumerate() {
                if i < rows {
                    // SAFETY: masked to the row
                    *r = unsafe { _mm512_maskz_loadu_ps(mask, a.offset(i as isize * stride).add(l)) };
                }
            }
            let t: [__m512; 16] = std::array::from_fn(|i| {
                let (a, b) = (r[i / 2 * 2], r[i / 2 * 2 + 1]);
                if i % 2 == 0 { _mm512_unpacklo_ps(a, b) } else { _mm512_unpackhi_ps(a, b) }
            });
            let wide = |x| _mm512_castps_pd(x);
            let u: [__m512; 16] = std::array::from_fn(|i| {
                let (a, b) = (wide(t[i / 4 * 4 + i % 4 / 2]), wide(t[i / 4 * 4 + i % 4 / 2 + 2]));
                _mm512_castpd_ps(if i % 2 == 0 { _mm512_unpacklo_pd(a, b) } else { _mm512_unpackhi_pd(a, b) })
            });
            for i in 0..4 {
                let even = |a, b| _mm512_shuffle_f32x4::<0x88>(a, b);
                let odd = |a, b| _mm512_shuffle_f32x4::<0xdd>(a, b);
                let (low, high) = ([u[i], u[i + 4]], [u[i + 8], u[i + 12]]);
                r[i] = even(even(low[0], low[1]), even(high[0], high[1]));
                r[i + 4] = even(odd(low[0], low[1]), odd(high[0], high[1]));
                r[i + 8] = odd(even(low[0], low[1]), even(high[0], high[1]));
                r[i + 12] = odd(odd(low[0], low[1]), odd(high[0], high[1]));
            }
            for (i, r) in r.iter().enumerate() {
                if i < width {
                    // SAFETY: the caller has room for sixteen of each column
                    unsafe { _mm512_storeu_ps(out.add((l + i) * out_stride), *r) };
                }
            }
            l += 16;
        }
    }

    /// Eight rows at most.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn double(rows: usize, cols: usize, a: *const f64, stride: isize, out: *mut f64, out_stride: usize) {
        let whole = cols / 8 * 8;
        let mut l = 0;
        while l < cols {
            let width = if l < whole { 8 } else { cols - whole };
            let mask: __mmask8 = __mmask8::MAX >> (8 - width);
            let mut r = [_mm512_setzero_pd(); 8];
            for (i, r) in r.iter_mut().enumerate() {
                if i < rows {
                    // SAFETY: masked to the row
                    *r = unsafe { _mm512_maskz_loadu_pd(mask, a.offset(i as isize * stride).add(l)) };
                }
            }
            let t: [__m512d; 8] = std::array::from_fn(|i| {
                let (a, b) = (r[i / 2 * 2], r[i / 2 * 2 + 1]);
                if i % 2 == 0 { _mm512_unpacklo_pd(a, b) } else { _mm512_unpackhi_pd(a, b) }
            });
            for i in 0..2 {
                let even = |a, b| _mm512_shuffle_f64x2::<0x88>(a, b);
                let odd = |a, b| _mm512_shuffle_f64x2::<0xdd>(a, b);
                let (low, high) = ([t[i], t[i + 2]], [t[i + 4], t[i + 6]]);
                r[i] = even(even(low[0], low[1]), even(high[0], high[1]));
                r[i + 2] = even(odd(low[0], low[1]), odd(high[0], high[1]));
                r[i + 4] = odd(even(low[0], low[1]), even(high[0], high[1]));
                r[i + 6] = odd(odd(low[0], low[1]), odd(high[0], high[1]));
            }
            for (i, r) in r.iter().enumerate() {
                if i < width {
                    // SAFETY: the caller has room for eight of each column
                    unsafe { _mm512_storeu_pd(out.add((l + i) * out_stride), *r) };
                }
            }
            l += 8;
        }
    }
}
