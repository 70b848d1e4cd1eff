//! The three tensors of a convolution, each from the two others.

use super::frame::Frame;
use super::tile::{self, Line, Panel, Run};
use super::vector::Vector;
use super::{CHUNKS, Element, GRAIN, LARGE, Shape, Shared, product};
use crate::pool::Pool;
use crate::product::scratch;

/// Rows of places that are computed from one frame: `x` for a phase of the stride, or `y`.
struct Phase {
    /// Rows of the result, `[i, j]`, and places in a row.
    counts: [usize; 3],
    /// What each step along an axis of places means for the frame and for the result, in elements.
    from: [usize; 3],
    to: [usize; 3],
    /// Where the result of place 0 begins.
    first: usize,
    runs: Vec<Run>,
}

/// Images of one side from those of the other, with the packed weights of all groups.
pub struct Image<'a, T> {
    frame: Frame,
    /// Channels of an image that is read, of one that is written.
    inner: usize,
    outer: usize,
    groups: usize,
    /// Elements of an image with all groups.
    read: usize,
    written: usize,
    phases: &'a [Phase],
    bands: usize,
    panels: &'a [Panel],
    /// Packed columns and rows of the weights of a group.
    width: usize,
    rows: usize,
    weights: &'a [T],
    input: Shared<T>,
    output: Shared<T>,
}

/// Joins runs that are one in the input and in the weights.
fn joined(all: impl Iterator<Item = Run>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for r in all {
        match runs.last_mut() {
            Some(last) if last.offset + last.len == r.offset && last.row + last.len == r.row => last.len += r.len,
            Some(_) | None => runs.push(r),
        }
    }
    runs
}

/// `y` from `x` and `w`.
pub unsafe fn forward<T: Element>(pool: &Pool, s: &Shape, x: *mut T, w: *mut T, y: *mut T) {
    let [first, last] = s.covered();
    let frame = Frame::new(s.whole, first, last, s.c);
    let strides = frame.strides();
    let taps = s.taps().enumerate().map(|(k, t)| Run { offset: frame.at(s.read(t)), row: k * s.c, len: s.c });
    let row = s.place[2] * s.g * s.o;
    let phase = Phase {
        counts: s.place,
        from: [0, 1, 2].map(|k| s.stride[k] as usize * strides[k]),
        to: [s.place[1] * row, row, s.g * s.o],
        first: 0,
        runs: joined(taps),
    };
    // SAFETY: the caller's tensors
    unsafe { images(pool, s, frame, [s.c, s.o], [s.whole, s.place], &[phase], w, false, x, y) }
}

/// `x` from `w` and `y`: for each phase of the strides the taps that meet there.
pub unsafe fn backward<T: Element>(pool: &Pool, s: &Shape, x: *mut T, w: *mut T, y: *mut T) {
    let first = [0, 1, 2].map(|k| (s.padding[k] - s.dilation[k] * (s.tap[k] as i64 - 1)).div_euclid(s.stride[k]));
    let last = [0, 1, 2].map(|k| (s.whole[k] as i64 - 1 + s.padding[k]).div_euclid(s.stride[k]));
    let frame = Frame::new(s.place, first, last, s.o);
    let row = s.whole[2] * s.g * s.c;
    let steps = [s.whole[1] * row, row, s.g * s.c];
    let count = product(s.tap);
    let mut phases = Vec::new();
    let [a, b, c] = [0, 1, 2].map(|k| s.stride[k].min(s.whole[k] as i64));
    for at in (0..a).flat_map(|i| (0..b).flat_map(move |j| (0..c).map(move |k| [i, j, k]))) {
        // taps from the last to the first, as the weights are packed: then places ascend
        let taps: Vec<(usize, [i64; 3])> = s.taps().enumerate().collect();
        let runs = taps.iter().rev().filter_map(|(k, t)| {
            let mut place = [0; 3];
            for i in 0..3 {
                let from = at[i] + s.padding[i] - s.dilation[i] * t[i];
                place[i] = from.div_euclid(s.stride[i]);
                if from.rem_euclid(s.stride[i]) != 0 {
                    return None;
                }
            }
            Some(Run { offset: frame.at(place), row: (count - 1 - k) * s.o, len: s.o })
        });
        phases.push(Phase {
            counts: [0, 1, 2].map(|k| (s.whole[k] - at[k] as usize).div_ceil(s.stride[k] as usize)),
            from: frame.strides(),
            to: [0, 1, 2].map(|k| s.stride[k] as usize * steps[k]),
            first: (0..3).map(|k| at[k] as usize * steps[k]).sum(),
            runs: joined(runs),
        });
    }
    // SAFETY: the caller's tensors
    unsafe { images(pool, s, frame, [s.o, s.c], [s.place, s.whole], &phases, w, true, y, x) }
}

#[allow(clippy::too_many_arguments)]
unsafe fn images<T: Element>(
    pool: &Pool,
    s: &Shape,
    frame: Frame,
    [inner, outer]: [usize; 2],
    [read, written]: [[usize; 3]; 2],
    phases: &[Phase],
    w: *const T,
    transposed: bool,
    input: *mut T,
    output: *mut T,
) {
    let panels = tile::panels(outer, T::lanes());
    let width = panels.last().map_or(0, |p| p.at + p.vectors * T::lanes());
    let rows = product(s.tap) * inner;
    let mut weights = vec![T::default(); s.g * rows * width];
    for (g, to) in weights.chunks_exact_mut((rows * width).max(1)).enumerate() {
        // SAFETY: the group's weights
        unsafe { pack(s, w.add(g * product(s.tap) * s.c * s.o), &panels, transposed, to) };
    }
    // an image is cut into bands of rows where there are few
    let units = s.n * s.g;
    let bands = if units >= CHUNKS { 1 } else { CHUNKS.div_ceil(units).min(written[0] * written[1]) };
    let bands = bands.min(s.work() / GRAIN + 1);
    let part = Image {
        frame,
        inner,
        outer,
        groups: s.g,
        read: product(read) * s.g * inner,
        written: product(written) * s.g * outer,
        phases,
        bands,
        panels: &panels,
        width,
        rows,
        weights: &weights,
        input: Shared(input),
        output: Shared(output),
    };
    let grain = (GRAIN * bands / s.work()).max(1);
    pool.chunks((units * bands) as i64, grain as i64, &|lo, hi| {
        scratch::<T, ()>(frame.len(), |room| {
            for unit in lo..hi {
                // SAFETY: the unit's rows of the result are its own
                unsafe { T::image(&part, unit as usize, room) };
            }
        });
    });
}

/// The weights of a group `[tap…, c, o]` as rows of panels: a row for each tap and channel that is summed, `c` and then lanes `o`;
/// `transposed`, `o` and then lanes `c`, with the last tap first.
unsafe fn pack<T: Element>(s: &Shape, w: *const T, panels: &[Panel], transposed: bool, to: &mut [T]) {
    let count = product(s.tap);
    let inner = if transposed { s.o } else { s.c };
    for p in panels {
        let width = p.vectors * T::lanes();
        let own = &mut to[p.at * count * inner..(p.at + width) * count * inner];
        for (row, to) in own.chunks_exact_mut(width).enumerate() {
            let (tap, i) = (row / inner, row % inner);
            for (k, to) in to[..p.cols].iter_mut().enumerate() {
                let col = p.first + k;
                let at =
                    if transposed { ((count - 1 - tap) * s.c + col) * s.o + i } else { (tap * s.c + i) * s.o + col };
                // SAFETY: inside of the group's weights
                *to = unsafe { *w.add(at) };
            }
        }
    }
}

/// One band of rows of one image in one group; `room` is for its frame.
//
// Nothing here and below is a closure: the processor's instructions are those of the function that this is inlined into.
#[inline(always)]
pub unsafe fn image<V: Vector>(p: &Image<'_, V::Elem>, unit: usize, room: *mut V::Elem)
where
    V::Elem: Element,
{
    let (item, band) = (unit / p.bands, unit % p.bands);
    let (n, g) = (item / p.groups, item % p.groups);
    let pixel = p.groups * p.inner;
    // SAFETY: image `n` and group `g` are there
    unsafe {
        let from = p.input.get().add(n * p.read + g * p.inner).cast_const();
        let to = p.output.get().add(n * p.written + g * p.outer);
        let weights = p.weights.as_ptr().add(g * p.rows * p.width);
        if p.frame.is_bare(p.inner, pixel) {
            return bands::<V>(p, band, from, to, weights);
        }
        p.frame.fill(room, from, p.inner, pixel, V::Elem::default());
        bands::<V>(p, band, room, to, weights);
    }
}

#[inline(always)]
unsafe fn bands<V: Vector>(
    p: &Image<'_, V::Elem>,
    band: usize,
    frame: *const V::Elem,
    to: *mut V::Elem,
    weights: *const V::Elem,
) where
    V::Elem: Element,
{
    for phase in p.phases {
        let [a, b, count] = phase.counts;
        let rows = a * b;
        for row in rows * band / p.bands..rows * (band + 1) / p.bands {
            let (i, j) = (row / b, row % b);
            for panel in p.panels {
                // SAFETY: the row is inside of the frame and of the result
                unsafe {
                    let x = frame.add(i * phase.from[0] + j * phase.from[1]);
                    let y = to.add(phase.first + i * phase.to[0] + j * phase.to[1] + panel.first);
                    let w = weights.add(panel.at * p.rows);
                    tile::rows::<V>(x, phase.from[2], &phase.runs, w, *panel, y, phase.to[2], count);
                }
            }
        }
    }
}

/// The weights from images of both sides.
pub struct Filter<'a, T> {
    shape: &'a Shape,
    frame: Frame,
    /// Frame of an image of `y`, if it isn't used as it is: with channels that fill whole vectors.
    other: Frame,
    /// Where the rows of the weights are read for place 0.
    offsets: &'a [usize],
    lines: &'a [Line],
    panels: &'a [Panel],
    chunks: usize,
    blocks: usize,
    /// Sums of each chunk and group, `[tap…, c]` rows of `width`.
    width: usize,
    sums: Shared<T>,
    x: Shared<T>,
    y: Shared<T>,
}

/// `w` from `x` and `y`.
pub unsafe fn filters<T: Element>(pool: &Pool, s: &Shape, x: *mut T, w: *mut T, y: *mut T) {
    let [first, last] = s.covered();
    let frame = Frame::new(s.whole, first, last, s.c);
    let strides = frame.strides();
    let panels = tile::panels(s.o, T::lanes());
    let width = panels.last().map_or(0, |p| p.at + p.vectors * T::lanes());
    let other = Frame::new(s.place, [0; 3], [0; 3], width);
    let offsets: Vec<usize> =
        s.taps().flat_map(|t| (0..s.c).map(move |c| (t, c))).map(|(t, c)| frame.at(s.read(t)) + c).collect();
    let pixel = if other.is_bare(s.o, s.g * s.o) { s.o } else { width };
    let mut lines = Vec::with_capacity(s.place[0] * s.place[1]);
    for i in 0..s.place[0] {
        for j in 0..s.place[1] {
            let input = i * s.stride[0] as usize * strides[0] + j * s.stride[1] as usize * strides[1];
            lines.push(Line { input, other: (i * s.place[1] + j) * s.place[2] * pixel });
        }
    }
    let rows = offsets.len();
    // many weights are shared out by rows, few by images
    let enough = s.work().saturating_mul(s.n) / GRAIN + 1;
    let (chunks, blocks) =
        if rows * width >= LARGE { (1, CHUNKS.min(enough).min(rows)) } else { (CHUNKS.min(enough).min(s.n), 1) };
    let mut sums = vec![T::default(); chunks * s.g * rows * width];
    let part = Filter {
        shape: s,
        frame,
        other,
        offsets: &offsets,
        lines: &lines,
        panels: &panels,
        chunks,
        blocks,
        width,
        sums: Shared(sums.as_mut_ptr()),
        x: Shared(x),
        y: Shared(y),
    };
    pool.chunks((chunks * blocks * s.g) as i64, 1, &|lo, hi| {
        scratch::<T, ()>(frame.len() + other.len(), |room| {
            for chunk in lo..hi {
                // SAFETY: the chunk's sums are its own
                unsafe { T::filter(&part, chunk as usize, room) };
            }
        });
    });
    for g in 0..s.g {
        for row in 0..rows {
            for p in &panels {
                for k in 0..p.cols {
                    let at = |chunk: usize| sums[((chunk * s.g + g) * rows + row) * width + p.at + k];
                    let sum = (1..chunks).fold(at(0), |sum, chunk| sum + at(chunk));
                    // SAFETY: inside of the weights
                    unsafe { *w.add((g * rows + row) * s.o + p.first + k) = sum };
                }
            }
        }
    }
}

/// Some images, or some rows of the weights, in one group; `room` is for the frames of both sides.
#[inline(always)]
pub unsafe fn filter<V: Vector>(p: &Filter<'_, V::Elem>, chunk: usize, room: *mut V::Elem)
where
    V::Elem: Element,
{
    let s = p.shape;
    let (g, rest) = (chunk % s.g, chunk / s.g);
    let (block, part) = (rest % p.blocks, rest / p.blocks);
    let rows = p.offsets.len();
    let own = rows * block / p.blocks..rows * (block + 1) / p.blocks;
    let bare = p.frame.is_bare(s.c, s.g * s.c);
    let bare_other = p.other.is_bare(s.o, s.g * s.o);
    let pixel = if bare_other { s.o } else { p.width };
    let step = s.stride[2] as usize * p.frame.strides()[2];
    for n in s.n * part / p.chunks..s.n * (part + 1) / p.chunks {
        // SAFETY: image `n` and group `g` are there; the room is that of both frames
        unsafe {
            let mut x = p.x.get().add(n * product(s.whole) * s.g * s.c + g * s.c).cast_const();
            let mut y = p.y.get().add(n * product(s.place) * s.g * s.o + g * s.o).cast_const();
            if !bare {
                p.frame.fill(room, x, s.c, s.g * s.c, V::Elem::default());
                x = room;
            }
            if !bare_other {
                let to = room.add(p.frame.len());
                p.other.fill(to, y, s.o, s.g * s.o, V::Elem::default());
                y = to;
            }
            let sums = p.sums.get().add(((part * s.g + g) * rows + own.start) * p.width);
            let offsets = &p.offsets[own.start..own.end];
            for panel in p.panels {
                let (y, to) = (y.add(panel.at), sums.add(panel.at));
                let places = s.place[2];
                tile::columns::<V>(x, offsets, step, y, pixel, p.lines, places, panel.vectors, to, p.width);
            }
        }
    }
}
