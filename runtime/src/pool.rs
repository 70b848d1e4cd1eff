//! A fixed pool of threads. Work is cut into chunks of a size that does not depend on the number of threads, so results do
//! not either; who takes which chunk does not matter.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

thread_local! {
    /// This thread is inside a chunk: nested calls run in place.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// How often a waiting thread looks before it sleeps.
const SPINS: usize = 2000;

/// Threads that wait for work. The calling thread works too, so one thread means no other.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    size: usize,
}

struct Shared {
    /// Counts jobs; workers wait for it to change.
    generation: AtomicU64,
    stop: AtomicU64,
    job: Mutex<Option<Job>>,
    wake: Condvar,
    next: AtomicI64,
    busy: AtomicUsize,
}

#[derive(Clone, Copy)]
struct Job {
    f: *const (dyn Fn(i64, i64) + Sync),
    range: i64,
    grain: i64,
}

// SAFETY: the closure behind `f` is Sync and outlives the job: `chunks` waits for every worker
unsafe impl Send for Job {}

impl Pool {
    /// A pool that uses `size` threads, the caller's among them. Threads start at the first job.
    pub fn new(size: usize) -> Pool {
        let shared = Arc::new(Shared {
            generation: AtomicU64::new(0),
            stop: AtomicU64::new(0),
            job: Mutex::new(None),
            wake: Condvar::new(),
            next: AtomicI64::new(0),
            busy: AtomicUsize::new(0),
        });
        let threads = (1..size.max(1))
            .map_while(|_| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new().name("tdl".into()).spawn(move || worker(&shared)).ok()
            })
            .collect();
        Pool { shared, threads, size: size.max(1) }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// Calls `f(lo, hi)` for chunks of `grain` of `0..range`.
    pub fn chunks(&self, range: i64, grain: i64, f: &(dyn Fn(i64, i64) + Sync)) {
        let grain = grain.max(1);
        if range <= 0 {
            return;
        }
        if range <= grain || self.threads.is_empty() || INSIDE.get() {
            let mut lo = 0;
            while lo < range {
                f(lo, (lo + grain).min(range));
                lo += grain;
            }
            return;
        }
        let s = &*self.shared;
        // SAFETY: only the lifetime is erased; this function returns after the last worker is done with it
        let f: *const (dyn Fn(i64, i64) + Sync) = unsafe { std::mem::transmute(f) };
        let job = Job { f, range, grain };
        s.next.store(0, Ordering::Relaxed);
        s.busy.store(self.threads.len(), Ordering::Relaxed);
        {
            let mut slot = lock(&s.job);
            *slot = Some(job);
            s.generation.fetch_add(1, Ordering::Release);
        }
        s.wake.notify_all();
        work(s, job);
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

fn work(s: &Shared, job: Job) {
    INSIDE.set(true);
    loop {
        let lo = s.next.fetch_add(job.grain, Ordering::Relaxed);
        if lo >= job.range {
            break;
        }
        // SAFETY: the job's closure lives until every worker has said that it is done
        unsafe { (*job.f)(lo, (lo + job.grain).min(job.range)) };
    }
    INSIDE.set(false);
}

fn worker(s: &Shared) {
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
            *slot
        };
        if s.stop.load(Ordering::Acquire) != 0 {
            return;
        }
        if let Some(job) = job {
            work(s, job);
        }
        s.busy.fetch_sub(1, Ordering::Release);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(1, Ordering::Release);
        {
            let mut slot = lock(&self.shared.job);
            *slot = None;
            self.shared.generation.fetch_add(1, Ordering::Release);
        }
        self.shared.wake.notify_all();
        for t in self.threads.drain(..) {
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
}
