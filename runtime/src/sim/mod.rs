//! A simulated GPU on the host's processor, for tests of the compiler: threads of a block are fibers that a barrier suspends.
//!
//! It shows what would be luck on a real one: an access outside of allocated memory, two threads that touch the same element
//! between two barriers (or in two blocks) when one of them writes, shared memory that is read before it is written, and
//! barriers that not all threads of a block reach. Each is an error that names the kernel.

mod race;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::c_void;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::abi::{DEVICE_BIT, Kernel};
use crate::device::{Device, Result};
use crate::memory::{Counters, Memory};
use race::{Shadow, Who};

/// Blocks that run at most: few, so that most launches need several rounds.
const BLOCKS: i64 = 4;
/// Bytes of a thread's stack.
const STACK: usize = 64 << 10;
/// What fresh memory holds: nobody may rely on zeros.
const GARBAGE: u8 = 0xA5;

/// What generated code calls.
pub fn symbols() -> Vec<(&'static str, usize)> {
    vec![
        ("tdl_sim_access", tdl_sim_access as *const () as usize),
        ("tdl_sim_barrier", tdl_sim_barrier as *const () as usize),
    ]
}

#[derive(Default)]
pub struct Sim {
    memory: Memory,
    /// Lengths of blocks in use, by address.
    live: BTreeMap<usize, usize>,
    stacks: Vec<DefaultStack>,
}

/// What a thread of the simulated GPU knows. Generated code reads the first four fields.
#[repr(C)]
struct Thread {
    thread: i64,
    block: i64,
    blocks: i64,
    shared: *mut u8,
    launch: *const Launch,
    yielder: Cell<*const Yielder<(), u32>>,
}

/// A running kernel.
struct Launch {
    live: *const BTreeMap<usize, usize>,
    shadow: Cell<Shadow>,
    shared: (usize, usize),
    /// Counts the barriers of the block that runs.
    interval: Cell<u32>,
    error: Cell<Option<String>>,
}

/// What a thread that found an error waits at, for ever.
const STOP: u32 = u32::MAX;

fn tagged(p: *mut u8) -> *mut u8 {
    (p as u64 | DEVICE_BIT) as *mut u8
}

fn plain(p: *const u8) -> usize {
    (p as u64 & !DEVICE_BIT) as usize
}

/// Does a block in use hold `address..address + bytes`?
fn inside(live: &BTreeMap<usize, usize>, address: usize, bytes: usize) -> bool {
    live.range(..=address).next_back().is_some_and(|(start, len)| address + bytes <= start + len)
}

impl Sim {
    fn range(&self, p: *const u8, bytes: usize) -> Result<usize> {
        let address = plain(p);
        if bytes == 0 || p as u64 & DEVICE_BIT != 0 && inside(&self.live, address, bytes) {
            Ok(address)
        } else {
            Err(format!("the host copies {bytes} bytes at {p:p}, which is no memory of the simulated GPU"))
        }
    }
}

impl Device for Sim {
    fn alloc(&mut self, bytes: usize) -> Option<*mut u8> {
        let p = self.memory.alloc(bytes)?;
        // SAFETY: the block holds as many bytes
        unsafe { p.as_ptr().write_bytes(GARBAGE, bytes) };
        self.live.insert(p.as_ptr() as usize, bytes);
        Some(tagged(p.as_ptr()))
    }

    fn free(&mut self, ptr: *mut u8) {
        let address = plain(ptr);
        if self.live.remove(&address).is_some() {
            // SAFETY: it was in use
            unsafe { self.memory.free(address as *mut u8) };
        }
    }

    fn free_all(&mut self) {
        self.live.clear();
        self.memory.free_all();
    }

    fn counters(&self) -> Counters {
        self.memory.counters()
    }

    fn read(&mut self, to: &mut [u8], from: *const u8) -> Result<()> {
        let from = self.range(from, to.len())?;
        // SAFETY: the range is in use
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    fn write(&mut self, to: *mut u8, from: &[u8]) -> Result<()> {
        let to = self.range(to, from.len())?;
        // SAFETY: the range is in use
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to as *mut u8, from.len()) };
        Ok(())
    }

    fn copy(&mut self, to: *mut u8, from: *const u8, bytes: usize) -> Result<()> {
        let (to, from) = (self.range(to, bytes)?, self.range(from, bytes)?);
        if from < to + bytes && to < from + bytes && from != to {
            return Err("the host copies between places that overlap".into());
        }
        // SAFETY: both ranges are in use
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }

    fn zero(&mut self, to: *mut u8, bytes: usize) -> Result<()> {
        let to = self.range(to, bytes)?;
        // SAFETY: the range is in use
        unsafe { (to as *mut u8).write_bytes(0, bytes) };
        Ok(())
    }

    unsafe fn launch(&mut self, kernel: &Kernel, args: *const u64, range: i64) -> Result<()> {
        // SAFETY: by contract
        let name = unsafe { kernel.name.as_str() };
        let Some(code) = kernel.code else {
            return Err(format!("kernel {name} was not compiled for the simulated GPU"));
        };
        let threads = i64::from(kernel.threads);
        let wanted = if kernel.together != 0 { range } else { (range + threads - 1) / threads };
        let blocks = wanted.min(BLOCKS);
        // 16-byte units, so that it is aligned
        let mut shared = vec![0u128; (kernel.shared as usize).div_ceil(16)];
        let place = shared.as_mut_ptr().cast::<u8>();
        let launch = Launch {
            live: &raw const self.live,
            shadow: Cell::default(),
            shared: (place as usize, place as usize + kernel.shared as usize),
            interval: Cell::new(0),
            error: Cell::new(None),
        };
        for block in 0..blocks {
            shared.fill(u128::from_ne_bytes([GARBAGE; 16]));
            let mut shadow = launch.shadow.take();
            shadow.forget(launch.shared);
            launch.shadow.set(shadow);
            let all = (0..threads).map(|thread| Thread {
                thread,
                block,
                blocks,
                shared: place,
                launch: &raw const launch,
                yielder: Cell::new(std::ptr::null()),
            });
            let result = if kernel.together != 0 {
                self.together(code, args, range, all.collect())
            } else {
                self.alone(code, args, range, all.collect())
            };
            let error = launch.error.take().or(result.err());
            if let Some(e) = error {
                return Err(format!("kernel {name}: {e}"));
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

type Code = unsafe extern "C" fn(*const u64, i64, *mut c_void);
type Fiber = Coroutine<(), u32, (), DefaultStack>;

impl Sim {
    fn stack(&mut self) -> Result<DefaultStack> {
        match self.stacks.pop() {
            Some(s) => Ok(s),
            None => DefaultStack::new(STACK).map_err(|e| format!("no stack for a thread: {e}")),
        }
    }

    /// Gives back a fiber's stack; one that has not ended is dropped where it stands.
    fn end(&mut self, mut fiber: Fiber) {
        if !fiber.done() {
            // SAFETY: what its frames hold (generated code, and the runtime's functions that it called) needs no drop
            unsafe { fiber.force_reset() };
        }
        self.stacks.push(fiber.into_stack());
    }

    /// Threads without barriers, one after the other.
    fn alone(&mut self, code: Code, args: *const u64, range: i64, threads: Vec<Thread>) -> Result<()> {
        let args = args as usize;
        let mut fiber: Fiber = Coroutine::with_stack(self.stack()?, move |yielder, ()| {
            for t in &threads {
                t.yielder.set(yielder);
                // SAFETY: the arguments are the kernel's
                unsafe { code(args as *const u64, range, (&raw const *t).cast_mut().cast()) };
            }
        });
        let result = match fiber.resume(()) {
            CoroutineResult::Return(()) | CoroutineResult::Yield(STOP) => Ok(()),
            CoroutineResult::Yield(_) => Err("a barrier where threads are on their own".to_owned()),
        };
        self.end(fiber);
        result
    }

    /// Threads that meet at barriers: all run to the next one, then all go on.
    fn together(&mut self, code: Code, args: *const u64, range: i64, threads: Vec<Thread>) -> Result<()> {
        let args = args as usize;
        let mut fibers: Vec<Fiber> = Vec::with_capacity(threads.len());
        for t in &threads {
            let at = &raw const *t as usize;
            let stack = self.stack()?;
            fibers.push(Coroutine::with_stack(stack, move |yielder, ()| {
                let t = at as *const Thread;
                // SAFETY: the thread outlives its fiber; the arguments are the kernel's
                unsafe {
                    (*t).yielder.set(yielder);
                    code(args as *const u64, range, t.cast_mut().cast());
                }
            }));
        }
        let result = rounds(&mut fibers, &threads);
        for f in fibers {
            self.end(f);
        }
        result
    }
}

fn rounds(fibers: &mut [Fiber], threads: &[Thread]) -> Result<()> {
    let Some(first) = threads.first() else { return Ok(()) };
    // SAFETY: the launch outlives its threads
    let launch = unsafe { &*first.launch };
    launch.interval.set(0);
    loop {
        let mut met: Option<Option<u32>> = None;
        for (k, f) in fibers.iter_mut().enumerate() {
            let at = match f.resume(()) {
                CoroutineResult::Yield(STOP) => return Ok(()),
                CoroutineResult::Yield(n) => Some(n),
                CoroutineResult::Return(()) => None,
            };
            let what = |at: Option<u32>| at.map_or("has ended".to_owned(), |n| format!("is at barrier {n}"));
            match met {
                Some(other) if other != at => {
                    return Err(format!("thread 0 {} while thread {k} {}", what(other), what(at)));
                }
                _ => met = Some(at),
            }
        }
        if met == Some(None) {
            return Ok(());
        }
        launch.interval.set(launch.interval.get() + 1);
    }
}

/// Barrier `n` of the kernel.
unsafe extern "C" fn tdl_sim_barrier(thread: *const Thread, n: u32) {
    // SAFETY: generated code passes on its thread, whose fiber is running
    unsafe { (*(*thread).yielder.get()).suspend(n) };
}

/// An access that is about to be made. After an error it does not return.
unsafe extern "C" fn tdl_sim_access(thread: *const Thread, address: usize, bytes: u32, write: u32) {
    // SAFETY: generated code passes on its thread, whose launch is running
    let (t, launch) = unsafe { (&*thread, &*(*thread).launch) };
    let bytes = bytes as usize;
    let shared = launch.shared.0 <= address && address + bytes <= launch.shared.1;
    // SAFETY: as above
    let known = shared || inside(unsafe { &*launch.live }, address, bytes);
    let who = Who { block: t.block as u32, thread: t.thread as u32, interval: launch.interval.get() };
    let error = if known {
        let mut shadow = launch.shadow.take();
        let error = shadow.access(address, who, write != 0, shared);
        launch.shadow.set(shadow);
        error
    } else {
        Some("an access outside of the memory that the program has".to_owned())
    };
    if let Some(e) = error {
        launch.error.set(Some(format!("thread {} of block {}: {e}", t.thread, t.block)));
        // SAFETY: as above
        unsafe { (*t.yielder.get()).suspend(STOP) };
    }
}
