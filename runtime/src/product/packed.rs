//! The product on AVX-512, after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), with the
//! loops inside turned: a strip of `a` stays in the first-level cache while the panels of `b` go by from the second.
//!
//! Every element of `c` is summed in the same order wherever the product is cut: in runs of `k` that `k` alone decides.

use super::kernel::{ACROSS, Form, ROWS, STRIP, Tile, double, single, turn};
use super::{Block, View, scratch};

/// Most bytes of a row of `a` in one run.
const DEEP: usize = 1536;
/// Strips of `a` that are packed at a time: these and a block of `b` are in the second-level cache.
const STRIPS: usize = 32;
/// Columns of `b` that are packed at a time.
const WIDE: usize = 512;
/// Strips with which packing `b` is not worth it.
const FEW_STRIPS: usize = 8;
/// Rows of `a` and `c` with which transposing these may be worth it.
const FEW_ROWS: usize = 512;
/// Bytes of a `b` that is read where it lies, by what is read of `a`: they stay in a cache as they are.
const SMALL: [usize; 2] = [256 << 10, 48 << 10];

/// The columns of `b` that go through the tiles one after another: parts of about the same number of vectors.
#[derive(Clone, Copy)]
struct Panels {
    columns: usize,
    lanes: usize,
    vectors: usize,
    count: usize,
}

impl Panels {
    fn new(columns: usize, lanes: usize) -> Panels {
        let vectors = columns.div_ceil(lanes);
        Panels { columns, lanes, vectors, count: vectors.div_ceil(ACROSS) }
    }

    /// Where panel `i` begins, also in vectors of a packing.
    fn start(self, i: usize) -> usize {
        self.vectors * i / self.count * self.lanes
    }

    /// Its columns, and these with what fills up the last vector.
    fn width(self, i: usize) -> [usize; 2] {
        let [lo, hi] = [i, i + 1].map(|i| self.start(i));
        [hi.min(self.columns) - lo, hi - lo]
    }
}

macro_rules! packed {
    ($ty:ident, $kernel:ident) => {
        /// Needs AVX-512; `c` has contiguous rows.
        pub unsafe fn $ty(p: &Block<$ty>) {
            if p.b.rows == 1 && p.b.cols != 1 && p.m <= FEW_ROWS && 4 * p.m * (p.k + p.n) < p.k * p.n {
                // SAFETY: the caller's matrices
                return unsafe { turned::$ty(p) };
            }
            const SIZE: usize = size_of::<$ty>();
            if p.k == 0 {
                for i in 0..if p.accumulate { 0 } else { p.m } {
                    // SAFETY: the rows of c
                    unsafe { std::slice::from_raw_parts_mut(p.c.at(i, 0), p.n).fill(0.0) };
                }
                return;
            }
            let form = if p.a.cols == 1 { Form::InPlace } else { Form::Packed };
            let deep = p.k.div_ceil((p.k * SIZE).div_ceil(DEEP)).next_multiple_of(8).min(p.k);
            let strips = p.m.div_ceil(ROWS);
            // strips of about the same height: no tile is too low to be fast
            let top = |s: usize| p.m * s / strips;
            let b_in_place = p.b.cols == 1 && (strips <= FEW_STRIPS || p.k * p.n * SIZE <= SMALL[form as usize]);
            let room = [
                if form == Form::InPlace { 0 } else { STRIP * deep * strips.min(STRIPS).div_ceil(2) },
                if b_in_place { 0 } else { deep * p.n.min(WIDE).next_multiple_of($kernel::LANES) },
            ];
            // SAFETY: all indices are inside the matrices, whose shapes are the caller's; the scratch has room for both packings
            scratch::<$ty, ()>(room[0] + room[1], |room_a| unsafe {
                let room_b = room_a.add(room[0]);
                // two strips lie beside each other
                let pair = |s: usize, k: usize| room_a.add(s / 2 * STRIP * k);
                for first in (0..p.k).step_by(deep) {
                    let k = deep.min(p.k - first);
                    for left in (0..p.n).step_by(WIDE) {
                        let panels = Panels::new(WIDE.min(p.n - left), $kernel::LANES);
                        if !b_in_place {
                            pack_columns::$ty(k, panels, View { ptr: p.b.at(first, left), ..p.b }, room_b);
                        }
                        for s0 in (0..strips).step_by(STRIPS) {
                            let s1 = strips.min(s0 + STRIPS);
                            let again = form == Form::Packed && (left == 0 || strips > STRIPS);
                            for s in (s0..if again { s1 } else { s0 }).step_by(2) {
                                let from = View { ptr: p.a.at(top(s), first), ..p.a };
                                pack_rows::$ty(top(s1.min(s + 2)) - top(s), k, from, pair(s - s0, k));
                            }
                            for s in s0..s1 {
                                for i in 0..panels.count {
                                    let (j, [n, whole]) = (panels.start(i), panels.width(i));
                                    let (b, b_rows) = if b_in_place {
                                        (p.b.at(first, left + j), p.b.rows as usize)
                                    } else {
                                        (room_b.add(j * k), whole)
                                    };
                                    $kernel::compute(&Tile {
                                        m: top(s + 1) - top(s),
                                        n,
                                        k,
                                        form,
                                        a: match form {
                                            Form::Packed if (s - s0) % 2 == 1 => {
                                                pair(s - s0, k).add(top(s) - top(s - 1))
                                            }
                                            Form::Packed => pair(s - s0, k),
                                            Form::InPlace => p.a.at(top(s), first),
                                        },
                                        a_rows: p.a.rows,
                                        b,
                                        b_rows,
                                        c: p.c.at(top(s), left + j),
                                        c_rows: p.c.rows,
                                        accumulate: p.accumulate || first > 0,
                                    });
                                }
                            }
                        }
                    }
                }
            });
        }
    };
}

packed!(f32, single);
packed!(f64, double);

mod turned {
    //! A product with a `b` whose columns are contiguous and that is much larger than `a` and `c`: these are transposed in its
    //! stead, and `cᵀ = bᵀ @ aᵀ` reads it in place. The sums are the same.

    use super::super::{Block, View, transpose, turned as room};

    macro_rules! turned {
        ($ty:ident) => {
            pub unsafe fn $ty(p: &Block<$ty>) {
                let (m, n) = (p.m, p.n);
                // SAFETY: the room holds two copies of `c`; all indices are inside the block
                room::<$ty, ()>(2 * m * n, |columns| unsafe {
                    let rows = columns.add(m * n);
                    let c = View { ptr: columns, rows: m as isize, cols: 1 };
                    super::$ty(&Block {
                        m: n,
                        n: m,
                        k: p.k,
                        a: p.b.transposed(),
                        b: p.a.transposed(),
                        c,
                        accumulate: false,
                    });
                    transpose::$ty(rows, columns, n, m, m as isize);
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
        };
    }

    turned!(f32);
    turned!(f64);
}

mod pack_rows {
    //! A strip of `a` as columns [`STRIP`] apart.

    use super::{STRIP, View, double, single, turn};

    macro_rules! pack {
        ($ty:ident, $kernel:ident) => {
            pub unsafe fn $ty(m: usize, k: usize, a: View<$ty>, out: *mut $ty) {
                // SAFETY: all indices are inside the strip and its packing
                unsafe {
                    if a.cols == 1 {
                        for i in (0..m).step_by($kernel::LANES) {
                            turn::$kernel($kernel::LANES.min(m - i), k, a.at(i, 0), a.rows, out.add(i), STRIP);
                        }
                        return;
                    }
                    if a.rows == 1 {
                        return $kernel::rows(k, m, a.ptr, a.cols, out, STRIP);
                    }
                    for l in 0..k {
                        for i in 0..m {
                            *out.add(l * STRIP + i) = *a.at(i, l);
                        }
                    }
                }
            }
        };
    }

    pack!(f32, single);
    pack!(f64, double);
}

mod pack_columns {
    //! Panels of `b` with contiguous rows, one after another.

    use super::{Panels, View, double, single, turn};

    /// Rows that are read at a time, a panel's width of each in turn: as they come from memory.
    const ROWS: usize = 4;

    macro_rules! pack {
        ($ty:ident, $kernel:ident) => {
            pub unsafe fn $ty(k: usize, panels: Panels, b: View<$ty>, out: *mut $ty) {
                const LANES: usize = $kernel::LANES;
                // SAFETY: all indices are inside the block and its packing
                unsafe {
                    for first in (0..if b.cols == 1 { k } else { 0 }).step_by(ROWS) {
                        for i in 0..panels.count {
                            let (j, [n, whole]) = (panels.start(i), panels.width(i));
                            let from = View { ptr: b.at(first, j), ..b };
                            $kernel::rows(
                                ROWS.min(k - first),
                                n,
                                from.ptr,
                                b.rows,
                                out.add(j * k + first * whole),
                                whole,
                            );
                        }
                    }
                    for i in 0..if b.cols == 1 { 0 } else { panels.count } {
                        let (j, [n, whole]) = (panels.start(i), panels.width(i));
                        for v in (0..n).step_by(LANES) {
                            let (out, n) = (out.add(j * k + v), LANES.min(n - v));
                            if b.rows == 1 {
                                turn::$kernel(n, k, b.at(0, j + v), b.cols, out, whole);
                                continue;
                            }
                            for l in 0..k {
                                for x in 0..n {
                                    *out.add(l * whole + x) = *b.at(l, j + v + x);
                                }
                            }
                        }
                    }
                }
            }
        };
    }

    pack!(f32, single);
    pack!(f64, double);
}
