//! A fixed pool of threads. Work is cut into chunks of a size that does not depend on the number of threads, so results do
//! not either; who takes which chunk does not matter.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::JoinHandle;

use crate::profile::Clock;

thread_local! {
    /// This thread is inside a chunk: nested calls run in place.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// How often a waiting thread looks before it sleeps: about 50 microseconds.
const SPINS: usize = 2000;

/// Threads that wait for work. The calling thread works too, so one thread means no other.
pub struct Pool {
    shared: Arc<Shared>,
    /// Started at the first job that is cut into chunks.
    threads: OnceLock<Vec<JoinHandle<()>>>,
    size: usize,
}

struct Shared {
    /// Counts jobs; workers wait for it to change.
    generation: AtomicU64,
    stop: AtomicBool,
    /// Here while there may be work left. A worker that comes later has missed it, and nobody waits for it.
    job: Mutex<Option<Job>>,
    wake: Condvar,
    /// Where the next chunk begins.
    next: AtomicI64,
    /// Workers that have taken the job and are not done with it.
    busy: AtomicUsize,
    /// When each thread worked, if somebody wants to know.
    watch: OnceLock<Watch>,
}

/// Start and end of a thread's part of a job, in ticks.
pub type Span = (u64, u64);

/// Spans that are kept of one thread.
const MAX_SPANS: usize = 1 << 20;

struct Watch {
    clock: Clock,
    /// The caller's first.
    threads: Vec<Mutex<Vec<Span>>>,
}

#[derive(Clone, Copy)]
struct Job {
    f: *const (dyn Fn(i64, i64) + Sync),
    range: i64,
    grain: i64,
}

// SAFETY: the closure behind `f` is Sync and outlives the job: `chunks` waits for every worker that took it
unsafe impl Send for Job {}

impl Pool {
    /// A pool that uses `size` threads, the caller's among them.
    pub fn new(size: usize) -> Pool {
        let shared = Arc::new(Shared {
            generation: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            job: Mutex::new(None),
            wake: Condvar::new(),
            next: AtomicI64::new(0),
            busy: AtomicUsize::new(0),
            watch: OnceLock::new(),
        });
        Pool { shared, threads: OnceLock::new(), size: size.max(1) }
    }

    /// Number of threads, the caller's among them.
    pub fn size(&self) -> usize {
        self.size
    }

    /// From now on the times are kept at which each thread works.
    pub fn watch(&self, clock: Clock) {
        let threads = (0..self.size).map(|_| Mutex::default()).collect();
        let _ = self.shared.watch.set(Watch { clock, threads });
    }

    /// When each thread worked, the caller first.
    pub fn spans(&self) -> Vec<Vec<Span>> {
        let Some(watch) = self.shared.watch.get() else { return Vec::new() };
        watch.threads.iter().map(|t| std::mem::take(&mut *lock(t))).collect()
    }

    fn start(&self) -> Vec<JoinHandle<()>> {
        (1..self.size)
            .map_while(|who| {
                let shared = Arc::clone(&self.shared);
                std::thread::Builder::new().name("tdl".into()).spawn(move || worker(&shared, who)).ok()
            })
            .collect()
    }

    /// Calls `f(lo, hi)` for chunks of `grain` of `0..range`, each once, on any thread. Returns when all are done.
    pub fn chunks(&self, range: i64, grain: i64, f: &(dyn Fn(i64, i64) + Sync)) {
        let grain = grain.max(1);
        if range <= 0 {
            return;
        }
        let alone = range <= grain || self.size == 1 || INSIDE.get();
        if alone || self.threads.get_or_init(|| self.start()).is_empty() {
            let mut lo = 0;
            while lo < range {
                let hi = range.min(lo.saturating_add(grain));
                f(lo, hi);
                lo = hi;
            }
            return;
        }
        let s = &*self.shared;
        // SAFETY: only the lifetime is erased; this function returns after the last worker is done with it
        let f: *const (dyn Fn(i64, i64) + Sync) = unsafe { std::mem::transmute(f) };
        let job = Job { f, range, grain };
        {
            let mut slot = lock(&s.job);
            s.next.store(0, Ordering::Relaxed);
            *slot = Some(job);
            s.generation.fetch_add(1, Ordering::Release);
        }
        s.wake.notify_all();
        work(s, job, 0);
        *lock(&s.job) = None;
        let mut spins = 0;
        while s.busy.load(Ordering::Acquire) != 0 {
            spins += 1;
            if spins > SPINS { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn work(s: &Shared, job: Job, who: usize) {
    match s.watch.get() {
        None => _ = share(s, job),
        Some(w) => {
            let start = w.clock.ticks();
            if share(s, job) {
                let mut spans = lock(&w.threads[who]);
                if spans.len() < MAX_SPANS {
                    spans.push((start, w.clock.ticks()));
                }
            }
        }
    }
}

/// Does chunks until there is none; false if there was none.
fn share(s: &Shared, job: Job) -> bool {
    let mut any = false;
    INSIDE.set(true);
    loop {
        let lo = s.next.fetch_add(job.grain, Ordering::Relaxed);
        if lo >= job.range {
            break;
        }
        any = true;
        // SAFETY: the job's closure lives until every worker that took it has said that it is done
        unsafe { (*job.f)(lo, job.range.min(lo + job.grain)) };
    }
    INSIDE.set(false);
    any
}

fn worker(s: &Shared, who: usize) {
    let mut seen = 0;
    loop {
        let mut spins = 0;
        while s.generation.load(Ordering::Acquire) == seen && spins < SPINS {
            spins += 1;
            std::hint::spin_loop();
        }
        let job = {
            let mut slot = lock(&s.job);
            while s.generation.load(Ordering::Acquire) == seen {
                slot = s.wake.wait(slot).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
            seen = s.generation.load(Ordering::Acquire);
            if slot.is_some() {
                s.busy.fetch_add(1, Ordering::Relaxed);
            }
            *slot
        };
        if s.stop.load(Ordering::Acquire) {
            return;
        }
        if let Some(job) = job {
            work(s, job, who);
            s.busy.fetch_sub(1, Ordering::Release);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        {
            let _slot = lock(&self.shared.job);
            self.shared.generation.fetch_add(1, Ordering::Release);
        }
        self.shared.wake.notify_all();
        for t in self.threads.take().into_iter().flatten() {
            let _ = t.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_visited_once() {
        for threads in [1, 2, 4] {
            let pool = Pool::new(threads);
            for (range, grain) in [(0, 4), (1, 4), (7, 1), (1000, 7), (64, 64)] {
                let hits: Vec<AtomicUsize> = (0..range).map(|_| AtomicUsize::new(0)).collect();
                pool.chunks(range, grain, &|lo, hi| {
                    assert!(hi - lo <= grain && lo % grain == 0);
                    for i in lo..hi {
                        hits[i as usize].fetch_add(1, Ordering::Relaxed);
                        pool.chunks(3, 1, &|_, _| {});
                    }
                });
                assert!(hits.iter().all(|h| h.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn many_short_jobs() {
        let pool = Pool::new(4);
        let total = AtomicUsize::new(0);
        for job in 0..20_000 {
            pool.chunks(8, 1, &|lo, hi| {
                total.fetch_add((hi - lo) as usize, Ordering::Relaxed);
            });
            assert_eq!(total.load(Ordering::Relaxed), 8 * (job + 1));
            if job % 5000 == 0 {
                // long enough for the threads to sleep
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
    }
}
