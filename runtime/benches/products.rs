//! How fast products and draws are: `cargo bench -p tdl-runtime`. The best of many rounds, so that other programs disturb little.

use std::ffi::c_void;
use std::time::Instant;

use tdl_runtime::abi::calls::{tdl_gemm_f32, tdl_gemm_f64, tdl_gemm_int, tdl_random};
use tdl_runtime::abi::{Dtype, Gemm, Matrix};
use tdl_runtime::{Ctx, Output};

fn best(mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    let mut rounds = 0;
    while rounds < 3 || start.elapsed().as_secs_f64() < 0.5 {
        let t = Instant::now();
        f();
        best = best.min(t.elapsed().as_secs_f64());
        rounds += 1;
    }
    best
}

fn product(ctx: &mut Ctx, dtype: Dtype, [m, k, n]: [i64; 3], [ta, tb]: [bool; 2]) -> f64 {
    let buffer = |len: i64| vec![0x3Cu8; len as usize * dtype.size()];
    let (mut a, mut b, mut c) = (buffer(m * k), buffer(k * n), buffer(m * n));
    let matrix = |v: &mut Vec<u8>, rows: i64, cols: i64, transposed: bool| Matrix {
        ptr: v.as_mut_ptr().cast::<c_void>(),
        rows: if transposed { 1 } else { cols },
        cols: if transposed { rows } else { 1 },
        batch: std::ptr::null(),
    };
    let g = Gemm {
        dtype: dtype as u32,
        accumulate: 0,
        m,
        n,
        k,
        batch_rank: 0,
        batch: std::ptr::null(),
        a: matrix(&mut a, m, k, ta),
        b: matrix(&mut b, k, n, tb),
        c: matrix(&mut c, m, n, false),
    };
    let gemm = match dtype {
        Dtype::F64 => tdl_gemm_f64,
        Dtype::I64 | Dtype::I32 => tdl_gemm_int,
        _ => tdl_gemm_f32,
    };
    // SAFETY: the buffers have the sizes that the strides need
    best(|| unsafe { gemm(ctx, &g) })
}

fn main() {
    for threads in [1, 2] {
        let mut ctx = Ctx::new(threads, Output::Capture(String::new()));
        println!("threads {threads}");
        let sizes = [
            [64, 64, 64],
            [256, 256, 256],
            [1024, 1024, 1024],
            [2048, 2048, 2048],
            [128, 784, 512],
            [128, 512, 256],
            [128, 256, 10],
            [512, 128, 784],
            [128, 256, 512],
            [128, 10, 256],
            [784, 128, 512],
            [512, 128, 256],
            [256, 128, 10],
            [4, 4096, 4096],
            [16, 4096, 4096],
            [32, 1024, 1024],
            [1, 4096, 4096],
            [4096, 4096, 1],
        ];
        for size in sizes {
            for transposed in [[false, false], [true, false], [false, true]] {
                let t = product(&mut ctx, Dtype::F32, size, transposed);
                let flops = 2.0 * size.iter().product::<i64>() as f64;
                println!("  f32 {size:?} {transposed:?}: {:9.1} us  {:6.1} GFLOP/s", t * 1e6, flops / t * 1e-9);
            }
        }
        for dtype in [Dtype::F64, Dtype::F16, Dtype::Bf16, Dtype::I64, Dtype::I32] {
            let size = [256, 256, 256];
            let t = product(&mut ctx, dtype, size, [false; 2]);
            let flops = 2.0 * size.iter().product::<i64>() as f64;
            println!("  {} {size:?}: {:9.1} us  {:6.1} GFLOP/s", dtype.name(), t * 1e6, flops / t * 1e-9);
        }
        let n = 1 << 20;
        let mut out = vec![0u8; 8 * n];
        for (dist, name) in ["bits", "uniform", "normal"].into_iter().enumerate() {
            for dtype in [Dtype::F32, Dtype::F64] {
                let dtype = match (dist, dtype) {
                    (0, Dtype::F32) => Dtype::U32,
                    (0, _) => Dtype::U64,
                    _ => dtype,
                };
                // SAFETY: room for n elements
                let t = best(|| unsafe {
                    tdl_random(&mut *ctx, out.as_mut_ptr().cast(), dist as u32, dtype as u32, 42, 7, n as i64);
                });
                println!("  {name} {}: {:5.2} ns/element", dtype.name(), t / n as f64 * 1e9);
            }
        }
    }
}
