//! What the machine can do at most, measured: arithmetic on all threads at once, and bytes to and from memory.

use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Bytes of all threads' buffers together: more than their caches hold.
const BYTES: usize = 128 << 20;
/// Words that are read or copied at a time: a fraction of a millisecond.
const WORDS: usize = 1 << 18;
/// How long each limit is measured.
const TIME: Duration = Duration::from_millis(60);
/// Steps of the arithmetic loops: less than a millisecond.
const STEPS: usize = 1 << 16;

/// A machine's limits, in operations and bytes a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub f32: f64,
    pub f64: f64,
    pub bytes: f64,
}

impl Limits {
    /// Measures them for so many threads; takes a fraction of a second.
    pub fn measure(threads: usize) -> Limits {
        Limits {
            f32: rate(TIME, vec![(); threads], |()| steps_f32(STEPS)),
            f64: rate(TIME, vec![(); threads], |()| steps_f64(STEPS)),
            bytes: bandwidth(threads),
        }
    }

    /// As [`Limits::parse`] reads it.
    pub fn text(&self) -> String {
        format!("f32 {}\nf64 {}\nbytes {}\n", self.f32, self.f64, self.bytes)
    }

    pub fn parse(text: &str) -> Option<Limits> {
        let value = |name: &str| {
            let mut found = text.lines().filter_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
            found.next()?.parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0)
        };
        Some(Limits { f32: value("f32")?, f64: value("f64")?, bytes: value("bytes")? })
    }
}

/// The processor's name, as far as the system tells.
pub fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, n)| n.trim().to_owned())
}

/// What all threads do in a second together: the best that each of them did while all were at it, since others may use the
/// machine too. `f` does a little and says how much.
fn rate<T: Send>(time: Duration, threads: Vec<T>, f: impl Fn(&mut T) -> f64 + Sync) -> f64 {
    let (all, f) = (Barrier::new(threads.len()), &f);
    std::thread::scope(|s| {
        let start = |mut state: T| {
            let all = &all;
            s.spawn(move || {
                f(&mut state);
                all.wait();
                let (begin, mut best) = (Instant::now(), 0.0f64);
                while begin.elapsed() < time {
                    let one = Instant::now();
                    let done = f(&mut state);
                    best = best.max(done / one.elapsed().as_secs_f64());
                }
                best
            })
        };
        let workers: Vec<_> = threads.into_iter().map(start).collect();
        workers.into_iter().map(|w| w.join().unwrap_or(0.0)).sum()
    })
}

/// Bytes a second: the better of reading alone and of copying, which reads and writes.
fn bandwidth(threads: usize) -> f64 {
    let half = BYTES / 16 / threads / WORDS * WORDS;
    let states = (0..threads).map(|_| (vec![1u64; half], vec![1u64; half], 0usize)).collect();
    rate(TIME, states, |(from, to, step)| {
        // always somewhere else: what was touched before has left the caches when its turn comes again
        let at = *step * WORDS % half;
        let (from, to) = (&from[at..at + WORDS], &mut to[at..at + WORDS]);
        *step += 1;
        if *step % 2 == 0 {
            to.copy_from_slice(from);
            std::hint::black_box(to);
            (16 * WORDS) as f64
        } else {
            std::hint::black_box(from.iter().fold(0u64, |a, x| a.wrapping_add(*x)));
            (8 * WORDS) as f64
        }
    })
}

/// Accumulators that are independent of each other: enough for every latency, few enough for the registers.
const LANES: usize = 12;

macro_rules! arithmetic {
    ($name:ident, $t:ty, $avx512:ident, $avx2:ident, $w512:ident, $w256:ident, $set512:ident, $set256:ident, $fma512:ident, $fma256:ident) => {
        /// Multiplies and adds; gives the number of operations.
        fn $name(steps: usize) -> f64 {
            #[cfg(target_arch = "x86_64")]
            {
                use std::arch::x86_64::*;
                const W512: usize = size_of::<$w512>() / size_of::<$t>();
                const W256: usize = size_of::<$w256>() / size_of::<$t>();
                #[target_feature(enable = "avx512f")]
                fn $avx512(steps: usize) -> f64 {
                    let (a, b) = ($set512(0.5), $set512(1.0));
                    let mut acc = [a; LANES];
                    for _ in 0..steps {
                        for x in &mut acc {
                            *x = $fma512(*x, a, b);
                        }
                    }
                    std::hint::black_box(acc);
                    (2 * steps * LANES * W512) as f64
                }
                #[target_feature(enable = "avx2,fma")]
                fn $avx2(steps: usize) -> f64 {
                    let (a, b) = ($set256(0.5), $set256(1.0));
                    let mut acc = [a; LANES];
                    for _ in 0..steps {
                        for x in &mut acc {
                            *x = $fma256(*x, a, b);
                        }
                    }
                    std::hint::black_box(acc);
                    (2 * steps * LANES * W256) as f64
                }
                if crate::simd::avx512() {
                    // SAFETY: the processor has these instructions
                    return unsafe { $avx512(steps) };
                }
                if crate::simd::avx2() {
                    // SAFETY: the processor has these instructions
                    return unsafe { $avx2(steps) };
                }
            }
            const W: usize = 16 / size_of::<$t>();
            let mut acc: [[$t; W]; LANES] = [[0.5; W]; LANES];
            for _ in 0..steps {
                for x in acc.as_flattened_mut() {
                    *x = if cfg!(target_arch = "aarch64") { x.mul_add(0.5, 1.0) } else { *x * 0.5 + 1.0 };
                }
            }
            std::hint::black_box(acc);
            (2 * steps * LANES * W) as f64
        }
    };
}

arithmetic!(
    steps_f32,
    f32,
    avx512_f32,
    avx2_f32,
    __m512,
    __m256,
    _mm512_set1_ps,
    _mm256_set1_ps,
    _mm512_fmadd_ps,
    _mm256_fmadd_ps
);
arithmetic!(
    steps_f64,
    f64,
    avx512_f64,
    avx2_f64,
    __m512d,
    __m256d,
    _mm512_set1_pd,
    _mm256_set1_pd,
    _mm512_fmadd_pd,
    _mm256_fmadd_pd
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_limits_are_plausible_and_kept() {
        let limits = Limits::measure(1);
        assert!(limits.f32 > 1e8 && limits.f64 > 1e8 && limits.bytes > 1e8, "{limits:?}");
        assert_eq!(Limits::parse(&limits.text()), Some(limits));
        assert_eq!(Limits::parse("f32 1\nf64 nan\nbytes 3\n"), None);
        assert_eq!(Limits::parse("nonsense"), None);
    }
}
