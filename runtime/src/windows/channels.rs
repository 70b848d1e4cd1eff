//! Convolutions of each channel by itself: `x: [n, whole…, g]`, `w: [g, tap…]`, `y: [n, place…, g]`, with the channels in vectors.

use super::vector::Vector;
use super::{CHUNKS, Element, GRAIN, Shape, Shared, product};
use crate::pool::Pool;

pub struct Part<'a, T> {
    shape: &'a Shape,
    /// As in [`crate::abi::Windows`].
    result: u32,
    chunks: usize,
    x: Shared<T>,
    y: Shared<T>,
    /// `[tap…, g]`; if it is the result, one for each chunk.
    w: Shared<T>,
}

pub unsafe fn run<T: Element>(pool: &Pool, s: &Shape, result: u32, x: *mut T, w: *mut T, y: *mut T) {
    let (taps, g) = (product(s.tap), s.g);
    let chunks = CHUNKS.min(s.n).min(s.work().saturating_mul(s.n * g) / GRAIN + 1);
    let copies = if result == 1 { chunks } else { 1 };
    let mut turned = vec![T::default(); copies * taps * g];
    if result != 1 {
        for (at, to) in turned.iter_mut().enumerate() {
            // SAFETY: inside of the weights
            *to = unsafe { *w.add(at % g * taps + at / g) };
        }
    }
    let part = Part { shape: s, result, chunks, x: Shared(x), y: Shared(y), w: Shared(turned.as_mut_ptr()) };
    pool.chunks(chunks as i64, 1, &|lo, hi| {
        for chunk in lo..hi {
            // SAFETY: the chunk's images, or its weights, are its own
            unsafe { T::channels(&part, chunk as usize, std::ptr::null_mut()) };
        }
    });
    if result == 1 {
        for at in 0..taps * g {
            let sum = (1..chunks).fold(turned[at], |sum, chunk| sum + turned[chunk * taps * g + at]);
            // SAFETY: inside of the weights
            unsafe { *w.add(at % g * taps + at / g) = sum };
        }
    }
}

/// Some images.
#[inline(always)]
pub unsafe fn by_channel<V: Vector>(p: &Part<'_, V::Elem>, chunk: usize, _room: *mut V::Elem)
where
    V::Elem: Element,
{
    let s = p.shape;
    let (g, places, wholes, taps) = (s.g, product(s.place), product(s.whole), product(s.tap));
    let copy = if p.result == 1 { chunk } else { 0 };
    for n in s.n * chunk / p.chunks..s.n * (chunk + 1) / p.chunks {
        // SAFETY: image `n` is there; what is read of it is checked to be inside
        unsafe {
            let (x, y) = (p.x.get().add(n * wholes * g), p.y.get().add(n * places * g));
            let w = p.w.get().add(copy * taps * g);
            match p.result {
                0 => std::slice::from_raw_parts_mut(x, wholes * g).fill(V::Elem::default()),
                1 => {}
                _ => std::slice::from_raw_parts_mut(y, places * g).fill(V::Elem::default()),
            }
            for place in 0..places {
                let at = [place / (s.place[1] * s.place[2]), place / s.place[2] % s.place[1], place % s.place[2]];
                for (k, tap) in s.taps().enumerate() {
                    let read = s.read(tap);
                    let (mut inside, mut whole) = (true, 0);
                    for i in 0..3 {
                        let from = s.stride[i] * at[i] as i64 + read[i];
                        inside &= (0..s.whole[i] as i64).contains(&from);
                        whole = whole * s.whole[i] + from.max(0) as usize;
                    }
                    if !inside {
                        continue;
                    }
                    let (x, y, w) = (x.add(whole * g), y.add(place * g), w.add(k * g));
                    match p.result {
                        0 => add_products(x, y, w, g),
                        1 => add_products(w, x, y, g),
                        _ => add_products(y, x, w, g),
                    }
                }
            }
        }
    }
}

/// `sums += a * b`, element by element.
#[inline(always)]
unsafe fn add_products<T: Element>(sums: *mut T, a: *const T, b: *const T, len: usize) {
    // SAFETY: each has `len` elements, and the sums are in neither operand
    unsafe {
        let sums = std::slice::from_raw_parts_mut(sums, len);
        let (a, b) = (std::slice::from_raw_parts(a, len), std::slice::from_raw_parts(b, len));
        for ((s, a), b) in sums.iter_mut().zip(a).zip(b) {
            *s = *s + *a * *b;
        }
    }
}
