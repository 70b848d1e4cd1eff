//! Every tensor of random convolutions against plain loops, with the same bits at any number of threads.

use super::*;
use crate::abi::{Dtype, Window};

struct Case {
    counts: [usize; 4],
    windows: [Window; 3],
}

/// Numbers that look random, in `0..n`.
struct Dice(u64);

impl Dice {
    fn next(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }

    fn numbers(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| self.next(2001) as f64 / 1000.0 - 1.0).collect()
    }
}

fn case(dice: &mut Dice) -> Case {
    let depthwise = dice.next(5) == 0;
    let mut count = |most: u64| dice.next(most) as usize + 1;
    let counts = if depthwise { [count(3), count(40), 1, 1] } else { [count(5), count(3), count(9), count(90)] };
    let mut windows = [Window { whole: 1, place: 1, tap: 1, stride: 1, dilation: 1, padding: 0 }; 3];
    let rank = dice.next(3) as usize + 1;
    for w in &mut windows[3 - rank..] {
        let mut d = |most: u64| dice.next(most) as i64;
        *w = Window {
            whole: d(9) + 1,
            place: d(9),
            tap: d(4) + 1,
            stride: d(3) + 1,
            dilation: d(3) + 1,
            padding: d(6) - 2,
        };
    }
    Case { counts, windows }
}

fn plain(case: &Case, result: u32, tensors: &[Vec<f64>; 3]) -> Vec<f64> {
    let [n, g, c, o] = case.counts;
    let w = &case.windows;
    let mut out = vec![0.0; tensors[result as usize].len()];
    let axis = |f: fn(&Window) -> i64| w.each_ref().map(|w| f(w) as usize);
    let (whole, place, tap) = (axis(|w| w.whole), axis(|w| w.place), axis(|w| w.tap));
    let all =
        |e: [usize; 3]| (0..e[0]).flat_map(move |i| (0..e[1]).flat_map(move |j| (0..e[2]).map(move |k| [i, j, k])));
    for p in all(place) {
        for t in all(tap) {
            let at = [0, 1, 2].map(|k| w[k].stride * p[k] as i64 + w[k].dilation * t[k] as i64 - w[k].padding);
            if (0..3).any(|k| !(0..w[k].whole).contains(&at[k])) {
                continue;
            }
            let flat = |e: [usize; 3], i: [usize; 3]| (i[0] * e[1] + i[1]) * e[2] + i[2];
            let (fx, ft, fp) = (flat(whole, at.map(|a| a as usize)), flat(tap, t), flat(place, p));
            let sizes = [whole, tap, place].map(product);
            for (n, g, c, o) in (0..n)
                .flat_map(|n| (0..g).flat_map(move |g| (0..c).flat_map(move |c| (0..o).map(move |o| (n, g, c, o)))))
            {
                let [_, groups, cs, os] = case.counts;
                let at = [
                    ((n * sizes[0] + fx) * groups + g) * cs + c,
                    ((g * sizes[1] + ft) * cs + c) * os + o,
                    ((n * sizes[2] + fp) * groups + g) * os + o,
                ];
                let value = |k: usize| tensors[k][at[k]];
                out[at[result as usize]] += match result {
                    0 => value(1) * value(2),
                    1 => value(0) * value(2),
                    _ => value(0) * value(1),
                };
            }
        }
    }
    out
}

fn computed<T: Element>(
    case: &Case,
    result: u32,
    tensors: &[Vec<f64>; 3],
    threads: usize,
    dtype: Dtype,
    from: fn(f64) -> T,
) -> Vec<T> {
    let mut own = tensors.clone().map(|t| t.into_iter().map(from).collect::<Vec<T>>());
    own[result as usize].fill(from(f64::NAN));
    let [n, g, c, o] = case.counts.map(|n| n as i64);
    let [x, w, y] = own.each_mut().map(|t| t.as_mut_ptr().cast());
    let call = Windows { dtype: dtype as u32, result, x, w, y, n, g, c, o, windows: case.windows };
    // SAFETY: the tensors have these shapes
    unsafe { run::<T>(&Pool::new(threads), &call) };
    let [x, w, y] = own;
    match result {
        0 => x,
        1 => w,
        _ => y,
    }
}

#[test]
fn random_convolutions_agree_with_plain_loops() {
    let mut dice = Dice(7);
    for round in 0..300 {
        let case = case(&mut dice);
        let [n, g, c, o] = case.counts;
        let size = |f: fn(&Window) -> i64| case.windows.iter().map(|w| f(w) as usize).product::<usize>();
        let tensors = [
            dice.numbers(n * size(|w| w.whole) * g * c),
            dice.numbers(g * size(|w| w.tap) * c * o),
            dice.numbers(n * size(|w| w.place) * g * o),
        ];
        for result in 0..3 {
            let want = plain(&case, result, &tensors);
            let got = computed::<f64>(&case, result, &tensors, 1, Dtype::F64, |x| x);
            let close = want.iter().zip(&got).all(|(a, b)| (a - b).abs() <= 1e-10 * (1.0 + a.abs()));
            assert!(close, "round {round}, tensor {result}, {:?} {:?}", case.counts, case.windows);
            let one = computed::<f32>(&case, result, &tensors, 1, Dtype::F32, |x| x as f32);
            let three = computed::<f32>(&case, result, &tensors, 3, Dtype::F32, |x| x as f32);
            assert!(one.iter().zip(&three).all(|(a, b)| a.to_bits() == b.to_bits()), "round {round}: threads");
            let close = want.iter().zip(&one).all(|(a, b)| (a - f64::from(*b)).abs() <= 1e-3 * (1.0 + a.abs()));
            assert!(close, "round {round}, tensor {result} in f32, {:?} {:?}", case.counts, case.windows);
        }
    }
}

#[test]
fn large_ones_are_cut_the_same_way_at_any_number_of_threads() {
    let window = |whole, place, tap, padding| Window { whole, place, tap, stride: 1, dilation: 1, padding };
    let one = window(1, 1, 1, 0);
    let cases = [
        Case { counts: [2, 1, 16, 64], windows: [one, window(24, 24, 3, 1), window(24, 24, 3, 1)] },
        Case { counts: [20, 1, 8, 32], windows: [one, window(14, 14, 3, 1), window(14, 14, 3, 1)] },
        Case { counts: [2, 1, 256, 512], windows: [one, window(4, 4, 3, 1), window(4, 4, 3, 1)] },
    ];
    let mut dice = Dice(3);
    for case in cases {
        let [n, g, c, o] = case.counts;
        let size = |f: fn(&Window) -> i64| case.windows.iter().map(|w| f(w) as usize).product::<usize>();
        let tensors = [
            dice.numbers(n * size(|w| w.whole) * g * c),
            dice.numbers(g * size(|w| w.tap) * c * o),
            dice.numbers(n * size(|w| w.place) * g * o),
        ];
        for result in 0..3 {
            let one = computed::<f32>(&case, result, &tensors, 1, Dtype::F32, |x| x as f32);
            for threads in [2, 5] {
                let more = computed::<f32>(&case, result, &tensors, threads, Dtype::F32, |x| x as f32);
                assert!(one.iter().zip(&more).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
            let want = plain(&case, result, &tensors);
            assert!(want.iter().zip(&one).all(|(a, b)| (a - f64::from(*b)).abs() <= 1e-3 * (1.0 + a.abs())));
        }
    }
}
