//! Every path against sums in f64, in every layout, and the same bits from any number of threads.

use super::*;
use half::{bf16, f16};

/// Deterministic small values.
fn value(i: usize) -> f64 {
    ((i * 37 % 101) as f64 - 50.0) / 64.0
}

trait Number: Copy {
    const DTYPE: Dtype;
    fn of(x: f64) -> Self;
    fn to(self) -> f64;
}

macro_rules! number {
    ($ty:ty, $dtype:ident, $from:expr, $to:expr) => {
        impl Number for $ty {
            const DTYPE: Dtype = Dtype::$dtype;
            fn of(x: f64) -> $ty {
                $from(x)
            }
            fn to(self) -> f64 {
                $to(self)
            }
        }
    };
}

number!(f32, F32, |x| x as f32, f64::from);
number!(f64, F64, |x| x, |x| x);
number!(f16, F16, f16::from_f64, f16::to_f64);
number!(bf16, Bf16, bf16::from_f64, bf16::to_f64);
number!(i64, I64, |x: f64| (x * 64.0) as i64, |x| x as f64);
number!(i32, I32, |x: f64| (x * 64.0) as i32, f64::from);
number!(i16, I16, |x: f64| (x * 8.0) as i16, f64::from);

/// `transposed` says for a, b and c whether columns are contiguous; `batch` items have their own a and c and share b.
fn product<T: Number>(
    threads: usize,
    [m, k, n]: [usize; 3],
    transposed: [bool; 3],
    accumulate: bool,
    batch: usize,
) -> (Vec<T>, f64) {
    let fill = |len: usize, salt: usize| (0..len).map(|i| T::of(value(i + salt))).collect::<Vec<T>>();
    let (mut a, mut b, mut c) = (fill(batch * m * k, 0), fill(k * n, 7), fill(batch * m * n, 3));
    let before = c.clone();
    let strides = |rows: usize, cols: usize, t: bool| if t { (1, rows) } else { (cols, 1) };
    let shapes = [strides(m, k, transposed[0]), strides(k, n, transposed[1]), strides(m, n, transposed[2])];
    let (extent, by) = ([batch as i64], [[(m * k) as i64], [0], [(m * n) as i64]]);
    let matrix = |v: &mut Vec<T>, i: usize| Matrix {
        ptr: v.as_mut_ptr().cast(),
        rows: shapes[i].0 as i64,
        cols: shapes[i].1 as i64,
        batch: by[i].as_ptr(),
    };
    let g = Gemm {
        dtype: T::DTYPE as u32,
        accumulate: u32::from(accumulate),
        m: m as i64,
        n: n as i64,
        k: k as i64,
        batch_rank: i64::from(batch != 1),
        batch: extent.as_ptr(),
        a: matrix(&mut a, 0),
        b: matrix(&mut b, 1),
        c: matrix(&mut c, 2),
    };
    let compute = match T::DTYPE {
        Dtype::F16 | Dtype::Bf16 | Dtype::F32 => super::f32,
        Dtype::F64 => super::f64,
        _ => super::int,
    };
    compute(&Pool::new(threads), &g);
    let mut worst = 0.0f64;
    for item in 0..batch {
        for i in (0..m).step_by(1 + m / 7) {
            for j in (0..n).step_by(1 + n / 7) {
                let at = |s: (usize, usize), i: usize, j: usize| i * s.0 + j * s.1;
                let exact: f64 =
                    (0..k).map(|l| a[item * m * k + at(shapes[0], i, l)].to() * b[at(shapes[1], l, j)].to()).sum();
                let place = item * m * n + at(shapes[2], i, j);
                let start = if accumulate { before[place].to() } else { 0.0 };
                worst = worst.max((c[place].to() - (exact + start)).abs());
            }
        }
    }
    (c, worst)
}

const SIZES: [[usize; 3]; 19] = [
    [1, 1, 1],
    [2, 3, 4],
    [1, 500, 700],
    [700, 500, 1],
    [3, 300, 1100],
    [1100, 65, 3],
    [8, 100, 9],
    [64, 64, 64],
    [65, 33, 17],
    [128, 784, 100],
    [300, 200, 100],
    [100, 256, 300],
    [40, 600, 1100],
    [150, 130, 600],
    [16, 700, 900],
    [1500, 70, 10],
    [270, 400, 530],
    [7, 0, 5],
    [1, 0, 5],
];

fn layouts() -> impl Iterator<Item = [bool; 3]> {
    (0..8).map(|i| [i & 1 != 0, i & 2 != 0, i & 4 != 0])
}

fn check<T: Number>(tolerance: f64, sizes: &[[usize; 3]]) {
    for size in sizes {
        for layout in layouts() {
            for accumulate in [false, true] {
                let (_, worst) = product::<T>(2, *size, layout, accumulate, 1);
                assert!(worst <= tolerance, "{size:?} {layout:?} {accumulate}: off by {worst}");
            }
        }
    }
}

#[test]
fn f32_products() {
    check::<f32>(1e-3, &SIZES);
}

#[test]
fn f64_products() {
    check::<f64>(1e-11, &SIZES);
}

#[test]
fn narrow_products_round_once() {
    check::<f16>(0.04, &SIZES[..9]);
    check::<bf16>(0.3, &SIZES[..9]);
}

#[test]
fn integer_products_are_exact() {
    check::<i64>(0.0, &SIZES[..9]);
    check::<i32>(0.0, &SIZES[..9]);
    check::<i16>(0.0, &SIZES[1..2]);
}

#[test]
fn batches() {
    for size in [[3, 4, 5], [1, 64, 64], [40, 64, 40], [64, 512, 16]] {
        for layout in layouts() {
            assert!(product::<f32>(2, size, layout, false, 9).1 < 1e-3, "{size:?} {layout:?}");
        }
    }
}

#[test]
fn products_do_not_depend_on_threads() {
    fn same<T: Number + PartialEq + std::fmt::Debug>(size: [usize; 3]) {
        for layout in layouts() {
            let one = product::<T>(1, size, layout, true, 1).0;
            for threads in [2, 3, 8] {
                assert_eq!(product::<T>(threads, size, layout, true, 1).0, one, "{size:?} {layout:?}");
            }
        }
    }
    for size in [[64, 64, 64], [128, 784, 512], [300, 200, 100], [1, 900, 1500], [4, 600, 2000], [513, 129, 257]] {
        same::<f32>(size);
    }
    // where the last part could be so narrow that it went another way
    for size in [[300, 500, 700], [3000, 90, 36], [36, 900, 300], [3000, 90, 97], [37, 300, 1001]] {
        same::<f32>(size);
        same::<f64>(size);
        same::<bf16>(size);
    }
}

#[test]
fn parts_cover_everything_once() {
    for size in 0..400 {
        for parts in 1..9 {
            let bounds: Vec<[i64; 2]> = (0..parts).map(|i| part(size, parts, i)).collect();
            assert_eq!((bounds[0][0], bounds[bounds.len() - 1][1]), (0, size));
            assert!(bounds.windows(2).all(|w| w[0][1] == w[1][0]), "{bounds:?}");
            let least = bounds.iter().map(|b| b[1] - b[0]).filter(|n| *n > 0).min().unwrap_or(0);
            assert!(least > VECTOR || least == size, "{bounds:?}");
        }
    }
}
