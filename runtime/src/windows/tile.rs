//! The innermost loops: sums in registers, some rows by some vectors.

use super::vector::Vector;

/// A run of `len` elements of the input that stand one after the other, each with its row of the packed weights.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub offset: usize,
    pub row: usize,
    pub len: usize,
}

/// Columns `first..first + cols` of a packed matrix: rows of `vectors` full vectors, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    pub first: usize,
    pub cols: usize,
    pub vectors: usize,
    /// Where it begins among the packed elements, in columns of the whole matrix.
    pub at: usize,
}

/// Cuts `cols` columns into panels of 4, 2 and 1 vectors.
pub fn panels(cols: usize, lanes: usize) -> Vec<Panel> {
    let (mut out, mut first, mut at) = (Vec::new(), 0, 0);
    while first < cols {
        let vectors = match (cols - first).div_ceil(lanes) {
            4.. => 4,
            2 | 3 => 2,
            _ => 1,
        };
        let width = (vectors * lanes).min(cols - first);
        out.push(Panel { first, cols: width, vectors, at });
        first += width;
        at += vectors * lanes;
    }
    out
}

/// How many rows the next tile takes, of `left`; one of those that [`rows`] and [`columns`] know.
fn height<V: Vector>(vectors: usize, left: usize) -> usize {
    let most = (V::SUMS / vectors).min(left);
    if vectors == 4 {
        // even parts: 8 rows are 4 and 4
        return left.div_ceil(left.div_ceil(most.min(7)));
    }
    match most {
        14.. => 14,
        7..14 => 7,
        4..7 => 4,
        2 | 3 => 2,
        _ => 1,
    }
}

macro_rules! heights {
    ($f:ident, $vectors:expr, $height:expr, $args:tt) => {
        match ($vectors, $height) {
            (4, 7) => heights!(@call $f 7 4 $args),
            (4, 6) => heights!(@call $f 6 4 $args),
            (4, 5) => heights!(@call $f 5 4 $args),
            (4, 4) => heights!(@call $f 4 4 $args),
            (4, 3) => heights!(@call $f 3 4 $args),
            (4, 2) => heights!(@call $f 2 4 $args),
            (4, _) => heights!(@call $f 1 4 $args),
            (2, 14) => heights!(@call $f 14 2 $args),
            (2, 7) => heights!(@call $f 7 2 $args),
            (2, 4) => heights!(@call $f 4 2 $args),
            (2, 2) => heights!(@call $f 2 2 $args),
            (2, _) => heights!(@call $f 1 2 $args),
            (_, 14) => heights!(@call $f 14 1 $args),
            (_, 7) => heights!(@call $f 7 1 $args),
            (_, 4) => heights!(@call $f 4 1 $args),
            (_, 2) => heights!(@call $f 2 1 $args),
            (_, _) => heights!(@call $f 1 1 $args),
        }
    };
    (@call $f:ident $rows:literal $vectors:literal ($($arg:expr),*)) => { $f::<V, $rows, $vectors>($($arg),*) };
}

/// `count` rows of a panel of the result: row `i` is the sum of the runs of `input + i * step`, each element times its row of
/// `weights`.
#[inline(always)]
pub unsafe fn rows<V: Vector>(
    input: *const V::Elem,
    step: usize,
    runs: &[Run],
    weights: *const V::Elem,
    panel: Panel,
    out: *mut V::Elem,
    out_step: usize,
    count: usize,
) {
    let mut i = 0;
    while i < count {
        let h = height::<V>(panel.vectors, count - i);
        // SAFETY: rows `i..i + h` are the caller's
        unsafe {
            let (x, y) = (input.add(i * step), out.add(i * out_step));
            heights!(row_tile, panel.vectors, h, (x, step, runs, weights, y, out_step, panel.cols));
        }
        i += h;
    }
}

#[inline(always)]
unsafe fn row_tile<V: Vector, const ROWS: usize, const VECTORS: usize>(
    input: *const V::Elem,
    step: usize,
    runs: &[Run],
    weights: *const V::Elem,
    out: *mut V::Elem,
    out_step: usize,
    cols: usize,
) {
    // SAFETY: the runs are inside of the input, their rows inside of the weights, the result's rows are the caller's
    unsafe {
        let mut sums = [[V::splat(V::Elem::default()); VECTORS]; ROWS];
        for run in runs {
            let mut x = input.add(run.offset);
            let mut w = weights.add(run.row * VECTORS * V::LANES);
            for _ in 0..run.len {
                let mut row = [V::splat(V::Elem::default()); VECTORS];
                for (k, r) in row.iter_mut().enumerate() {
                    *r = V::load(w.add(k * V::LANES));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let a = V::splat(*x.add(i * step));
                    for (s, r) in sums.iter_mut().zip(&row) {
                        *s = s.add_product(a, *r);
                    }
                }
                x = x.add(1);
                w = w.add(VECTORS * V::LANES);
            }
        }
        store(&sums, out, out_step, cols);
    }
}

/// Writes sums to rows of `cols` elements.
#[inline(always)]
unsafe fn store<V: Vector, const ROWS: usize, const VECTORS: usize>(
    sums: &[[V; VECTORS]; ROWS],
    out: *mut V::Elem,
    out_step: usize,
    cols: usize,
) {
    // SAFETY: the caller's rows; the room on the stack holds a row of vectors
    unsafe {
        for (i, row) in sums.iter().enumerate() {
            let to = out.add(i * out_step);
            if cols == VECTORS * V::LANES {
                for (k, s) in row.iter().enumerate() {
                    s.store(to.add(k * V::LANES));
                }
            } else {
                let mut room = [V::Elem::default(); 64];
                for (k, s) in row.iter().enumerate() {
                    s.store(room.as_mut_ptr().add(k * V::LANES));
                }
                std::ptr::copy_nonoverlapping(room.as_ptr(), to, cols);
            }
        }
    }
}

/// A row of places: where its inputs and its cotangents begin.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub input: usize,
    pub other: usize,
}

/// Adds to rows of `sums` (full vectors, `width` apart): row `i` gains the sum over all places of `input` at `offsets[i]` times
/// `other`, the vectors there.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub unsafe fn columns<V: Vector>(
    input: *const V::Elem,
    offsets: &[usize],
    step: usize,
    other: *const V::Elem,
    other_step: usize,
    lines: &[Line],
    places: usize,
    vectors: usize,
    sums: *mut V::Elem,
    width: usize,
) {
    let mut i = 0;
    while i < offsets.len() {
        let h = height::<V>(vectors, offsets.len() - i);
        // SAFETY: rows `i..i + h` are the caller's
        unsafe {
            let (own, to) = (&offsets[i..i + h], sums.add(i * width));
            heights!(column_tile, vectors, h, (input, own, step, other, other_step, lines, places, to, width));
        }
        i += h;
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn column_tile<V: Vector, const ROWS: usize, const VECTORS: usize>(
    input: *const V::Elem,
    offsets: &[usize],
    step: usize,
    other: *const V::Elem,
    other_step: usize,
    lines: &[Line],
    places: usize,
    to: *mut V::Elem,
    width: usize,
) {
    // SAFETY: there are `ROWS` offsets; inputs, others and sums are the caller's
    unsafe {
        let mut sums = [[V::splat(V::Elem::default()); VECTORS]; ROWS];
        for (i, row) in sums.iter_mut().enumerate() {
            for (k, s) in row.iter_mut().enumerate() {
                *s = V::load(to.add(i * width + k * V::LANES));
            }
        }
        let mut at = [0; ROWS];
        for (a, o) in at.iter_mut().zip(offsets) {
            *a = *o;
        }
        for line in lines {
            let mut x = input.add(line.input);
            let mut y = other.add(line.other);
            for _ in 0..places {
                let mut row = [V::splat(V::Elem::default()); VECTORS];
                for (k, r) in row.iter_mut().enumerate() {
                    *r = V::load(y.add(k * V::LANES));
                }
                for (sums, o) in sums.iter_mut().zip(at) {
                    let a = V::splat(*x.add(o));
                    for (s, r) in sums.iter_mut().zip(&row) {
                        *s = s.add_product(a, *r);
                    }
                }
                x = x.add(step);
                y = y.add(other_step);
            }
        }
        for (i, row) in sums.iter().enumerate() {
            for (k, s) in row.iter().enumerate() {
                s.store(to.add(i * width + k * V::LANES));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_cover_all_columns() {
        for lanes in [4, 8, 16] {
            for cols in 0..200 {
                let all = panels(cols, lanes);
                let mut next = 0;
                for p in &all {
                    assert_eq!(p.first, next);
                    assert!(p.cols <= p.vectors * lanes && p.cols > (p.vectors - 1) * lanes);
                    next += p.cols;
                }
                assert_eq!(next, cols);
            }
        }
    }
}
