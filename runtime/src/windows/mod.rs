//! Convolutions and their derivatives, directly: the windows of an image are read where they stand, with no matrix of them.
//!
//! Of `x: [n, whole…, g, c]`, `w: [g, tap…, c, o]` and `y: [n, place…, g, o]` one is computed from the two others, as the sum of
//! `x * w * y` over all places and taps with `whole = stride * place + dilation * tap - padding`. An image that is read outside is
//! copied into a frame of zeros first. `y` has the channels `o` in vectors and some places of a row in registers; so has `x`, by the
//! taps that meet at each of its places; `w` has its rows there. What does not depend on the channel of the other side (`c` and
//! `o` are 1) goes channel by channel in vectors.
//!
//! The result does not depend on the number of threads: what a chunk computes is fixed by the shape.

mod channels;
mod frame;
mod parts;
mod tile;
mod vector;

use crate::abi::Windows;
use crate::pool::Pool;
use channels::by_channel;
use parts::{Filter, Image, filter, image};

/// Multiply-adds that are worth a chunk of their own.
const GRAIN: usize = 1 << 20;
/// Chunks that work is cut into, where it is enough.
const CHUNKS: usize = 16;
/// Weights from which a filter's rows are shared out in place of the images.
const LARGE: usize = 1 << 20;

/// A convolution of f32, or a derivative of one.
///
/// # Safety
/// The tensors have the shapes that are given; the result overlaps no operand.
pub unsafe fn f32(pool: &Pool, w: &Windows) {
    // SAFETY: the caller's contract
    unsafe { run::<f32>(pool, w) }
}

/// The same for f64.
///
/// # Safety
/// As [`f32`].
pub unsafe fn f64(pool: &Pool, w: &Windows) {
    // SAFETY: the caller's contract
    unsafe { run::<f64>(pool, w) }
}

/// The shape of a convolution.
#[derive(Clone, Copy, Debug)]
struct Shape {
    n: usize,
    g: usize,
    c: usize,
    o: usize,
    whole: [usize; 3],
    place: [usize; 3],
    tap: [usize; 3],
    stride: [i64; 3],
    dilation: [i64; 3],
    padding: [i64; 3],
}

fn product(list: [usize; 3]) -> usize {
    list.iter().product()
}

impl Shape {
    fn new(w: &Windows) -> Shape {
        let count = |f: fn(&crate::abi::Window) -> i64| w.windows.each_ref().map(|w| f(w).max(0) as usize);
        Shape {
            n: w.n.max(0) as usize,
            g: w.g.max(0) as usize,
            c: w.c.max(0) as usize,
            o: w.o.max(0) as usize,
            whole: count(|w| w.whole),
            place: count(|w| w.place),
            tap: count(|w| w.tap),
            stride: w.windows.map(|w| w.stride.max(1)),
            dilation: w.windows.map(|w| w.dilation.max(1)),
            padding: w.windows.map(|w| w.padding),
        }
    }

    /// Elements of `x`, `w` and `y`.
    fn numel(&self) -> [usize; 3] {
        [
            self.n * product(self.whole) * self.g * self.c,
            self.g * product(self.tap) * self.c * self.o,
            self.n * product(self.place) * self.g * self.o,
        ]
    }

    /// Multiply-adds of one image in one group.
    fn work(&self) -> usize {
        product(self.place).saturating_mul(product(self.tap)).saturating_mul(self.c * self.o).max(1)
    }

    /// All taps, the last axis fastest.
    fn taps(&self) -> impl Iterator<Item = [i64; 3]> + use<> {
        let [a, b, c] = self.tap.map(|t| t as i64);
        (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| [i, j, k])))
    }

    /// Where tap 0 … is read for place 0.
    fn read(&self, tap: [i64; 3]) -> [i64; 3] {
        [0, 1, 2].map(|k| self.dilation[k] * tap[k] - self.padding[k])
    }

    /// The first and the last place of `x` that a window covers.
    fn covered(&self) -> [[i64; 3]; 2] {
        let first = self.padding.map(|p| -p);
        let last = [0, 1, 2].map(|k| {
            let (p, t) = (self.place[k] as i64 - 1, self.tap[k] as i64 - 1);
            self.stride[k] * p + self.dilation[k] * t - self.padding[k]
        });
        [first, last]
    }
}

/// Addresses that threads share: they write different parts of the result.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);

// SAFETY: chunks of a result are disjoint; operands are only read
unsafe impl<T> Sync for Shared<T> {}
// SAFETY: as above
unsafe impl<T> Send for Shared<T> {}

impl<T> Shared<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

/// A type of elements, with the loops for the processor at hand.
trait Element:
    Copy + Default + Send + Sync + std::ops::Add<Output = Self> + std::ops::Mul<Output = Self> + 'static
{
    fn lanes() -> usize;
    unsafe fn image(part: &Image<'_, Self>, unit: usize, room: *mut Self);
    unsafe fn filter(part: &Filter<'_, Self>, chunk: usize, room: *mut Self);
    unsafe fn channels(part: &channels::Part<'_, Self>, chunk: usize, room: *mut Self);
}

macro_rules! element {
    ($elem:ident, $wide:ident, $middle:ident) => {
        impl Element for $elem {
            fn lanes() -> usize {
                #[cfg(target_arch = "x86_64")]
                {
                    if crate::simd::avx512() {
                        return <std::arch::x86_64::$wide as vector::Vector>::LANES;
                    }
                    if crate::simd::avx2() {
                        return <std::arch::x86_64::$middle as vector::Vector>::LANES;
                    }
                }
                <vector::Plain<$elem> as vector::Vector>::LANES
            }

            unsafe fn image(part: &Image<'_, $elem>, unit: usize, room: *mut $elem) {
                element!(part, unit, room, Image<'_, $elem>, $elem, $wide, $middle, image);
            }

            unsafe fn filter(part: &Filter<'_, $elem>, chunk: usize, room: *mut $elem) {
                element!(part, chunk, room, Filter<'_, $elem>, $elem, $wide, $middle, filter);
            }

            unsafe fn channels(part: &channels::Part<'_, $elem>, chunk: usize, room: *mut $elem) {
                element!(part, chunk, room, channels::Part<'_, $elem>, $elem, $wide, $middle, by_channel);
            }
        }
    };
    ($part:ident, $at:ident, $room:ident, $ty:ty, $elem:ident, $wide:ident, $middle:ident, $f:ident) => {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
            unsafe fn wide(part: &$ty, at: usize, room: *mut $elem) {
                // SAFETY: the caller's contract
                unsafe { $f::<std::arch::x86_64::$wide>(part, at, room) }
            }
            #[target_feature(enable = "avx2,fma,bmi2")]
            unsafe fn middle(part: &$ty, at: usize, room: *mut $elem) {
                // SAFETY: the caller's contract
                unsafe { $f::<std::arch::x86_64::$middle>(part, at, room) }
            }
            if crate::simd::avx512() {
                // SAFETY: the processor has these instructions; else the caller's contract
                return unsafe { wide($part, $at, $room) };
            }
            if crate::simd::avx2() {
                // SAFETY: the processor has these instructions; else the caller's contract
                return unsafe { middle($part, $at, $room) };
            }
        }
        // SAFETY: the caller's contract
        unsafe { $f::<vector::Plain<$elem>>($part, $at, $room) }
    };
}

element!(f32, __m512, __m256);
element!(f64, __m512d, __m256d);

unsafe fn run<T: Element>(pool: &Pool, w: &Windows) {
    let shape = Shape::new(w);
    let (x, f, y) = (w.x.cast::<T>(), w.w.cast::<T>(), w.y.cast::<T>());
    let [nx, nw, ny] = shape.numel();
    let (result, len, empty) = match w.result {
        0 => (x, nx, nw == 0 || ny == 0),
        1 => (f, nw, nx == 0 || ny == 0),
        _ => (y, ny, nx == 0 || nw == 0),
    };
    if empty || len == 0 {
        // SAFETY: the result has `len` elements
        unsafe { std::slice::from_raw_parts_mut(result, len) }.fill(T::default());
        return;
    }
    // SAFETY: the caller's contract
    unsafe {
        match w.result {
            _ if shape.c == 1 && shape.o == 1 && shape.g > 1 => channels::run(pool, &shape, w.result, x, f, y),
            0 => parts::backward(pool, &shape, x, f, y),
            1 => parts::filters(pool, &shape, x, f, y),
            _ => parts::forward(pool, &shape, x, f, y),
        }
    }
}

#[cfg(test)]
mod tests;
