//! A simulated GPU on the host's processor, for tests of the compiler: threads of a block are fibers that a barrier suspends.
//!
//! It shows what would be luck on a real one: an access outside of allocated memory or at an address that is no multiple of its
//! length, two threads that touch the same element between two barriers (or in two blocks) when one of them writes, shared
//! memory that is read before it is written or while it is being copied, barriers that not all threads of a block (or warp) reach, and
//! shuffles or products that not all threads of a warp do. Each is an error that names the kernel.

mod race;
#[cfg(test)]
mod tests;
mod warp;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::c_void;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::abi::{DEVICE_BIT, Kernel};
use crate::device::{self, Device, Error};
use crate::memory::{Counters, Memory};
use crate::repeat::{Machine, Op};
use race::{Shadow, Who};
use warp::{Together, WARP};

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
        ("tdl_sim_shuffle", warp::tdl_sim_shuffle as *const () as usize),
        ("tdl_sim_matrices", warp::tdl_sim_matrices as *const () as usize),
        ("tdl_sim_product", warp::tdl_sim_product as *const () as usize),
        ("tdl_sim_copy", warp::tdl_sim_copy as *const () as usize),
        ("tdl_sim_group", warp::tdl_sim_group as *const () as usize),
        ("tdl_sim_wait", warp::tdl_sim_wait as *const () as usize),
    ]
}

/// Why a thread or a copy is wrong.
type Result<T> = std::result::Result<T, String>;

#[derive(Default)]
pub struct Sim {
    memory: Memory,
    /// Lengths of blocks in use, by address.
    live: BTreeMap<usize, usize>,
    /// Blocks that were freed while work was held back that may still use them.
    retired: Vec<usize>,
    hold: bool,
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
    yielder: Cell<*const Yielder<(), Wait>>,
    /// Barriers of its warp that it has behind it.
    warp_interval: Cell<u32>,
    /// What it leaves for the other threads of its warp.
    place: Cell<*mut u8>,
    /// Copies that it has begun, by group, the open one last.
    copies: RefCell<Vec<Vec<warp::Copy>>>,
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

/// What a thread waits for, with the number that the place has in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// The block.
    Block(u32),
    /// The warp.
    Warp(u32),
    Together(u32, Together),
    /// It found an error: for ever.
    Stop,
}

impl Wait {
    fn text(at: Option<Wait>) -> String {
        match at {
            None => "has ended".into(),
            Some(Wait::Block(n)) => format!("is at barrier {n}"),
            Some(Wait::Warp(n)) => format!("is at barrier {n} of its warp"),
            Some(Wait::Together(n, Together::Shuffle(_))) => format!("is at shuffle {n}"),
            Some(Wait::Together(n, _)) => format!("is at product {n}"),
            Some(Wait::Stop) => "has failed".into(),
        }
    }
}

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
    fn alloc(&mut self, bytes: usize) -> device::Result<*mut u8> {
        let p = self.memory.alloc(bytes).ok_or(Error::Memory(bytes))?;
        // SAFETY: the block holds as many bytes
        unsafe { p.as_ptr().write_bytes(GARBAGE, bytes) };
        self.live.insert(p.as_ptr() as usize, bytes);
        Ok(tagged(p.as_ptr()))
    }

    fn free(&mut self, ptr: *mut u8) {
        let address = plain(ptr);
        if self.hold && self.live.contains_key(&address) {
            self.retired.push(address);
        } else if self.live.remove(&address).is_some() {
            // SAFETY: it was in use
            unsafe { self.memory.free(address as *mut u8) };
        }
    }

    fn free_all(&mut self) {
        self.retired.clear();
        self.live.clear();
        self.memory.free_all();
    }

    fn counters(&self) -> Counters {
        self.memory.counters()
    }

    fn read(&mut self, to: &mut [u8], from: *const u8) -> device::Result<()> {
        let from = self.range(from, to.len())?;
        // SAFETY: the range is in use
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    fn write(&mut self, to: *mut u8, from: &[u8]) -> device::Result<()> {
        let to = self.range(to, from.len())?;
        // SAFETY: the range is in use
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to as *mut u8, from.len()) };
        Ok(())
    }

    fn copy(&mut self, to: *mut u8, from: *const u8, bytes: usize) -> device::Result<()> {
        let (to, from) = (self.range(to, bytes)?, self.range(from, bytes)?);
        if from < to + bytes && to < from + bytes && from != to {
            return Err("the host copies between places that overlap".to_owned().into());
        }
        // SAFETY: both ranges are in use
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }

    fn zero(&mut self, to: *mut u8, bytes: usize) -> device::Result<()> {
        let to = self.range(to, bytes)?;
        // SAFETY: the range is in use
        unsafe { (to as *mut u8).write_bytes(0, bytes) };
        Ok(())
    }

    unsafe fn launch(&mut self, kernel: &Kernel, args: *const u64, range: i64) -> device::Result<()> {
        // SAFETY: by contract
        let name = unsafe { kernel.name.as_str() };
        let Some(code) = kernel.code else {
            return Err(format!("kernel {name} was not compiled for the simulated GPU").into());
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
                warp_interval: Cell::new(0),
                place: Cell::new(std::ptr::null_mut()),
                copies: RefCell::new(vec![Vec::new()]),
            });
            let result = if kernel.together != 0 {
                self.together(code, args, range, all.collect())
            } else {
                self.alone(code, args, range, all.collect())
            };
            let error = launch.error.take().or(result.err());
            if let Some(e) = error {
                return Err(format!("kernel {name}: {e}").into());
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> device::Result<()> {
        Ok(())
    }
}

impl Machine for Sim {
    type Graph = Vec<Op>;

    unsafe fn build(&mut self, ops: &[Op]) -> device::Result<Vec<Op>> {
        Ok(ops.to_vec())
    }

    unsafe fn change(&mut self, graph: &mut Vec<Op>, at: usize, op: &Op) -> device::Result<()> {
        graph[at] = op.clone();
        Ok(())
    }

    fn start(&mut self, graph: &Vec<Op>) -> device::Result<()> {
        graph.iter().try_for_each(|op| match op {
            // SAFETY: by contract of `build`
            Op::Launch { kernel, args, range } => unsafe { self.launch(&**kernel, args.as_ptr(), *range) },
            Op::Copy { to, from, bytes } => self.copy(*to, *from, *bytes),
            Op::Zero { to, bytes } => self.zero(*to, *bytes),
        })
    }

    fn drop_graph(&mut self, _graph: Vec<Op>) {}

    fn trim(&mut self) -> device::Result<()> {
        Ok(())
    }

    fn hold(&mut self, on: bool) {
        self.hold = on;
        if !on {
            for p in std::mem::take(&mut self.retired) {
                self.free(tagged(p as *mut u8));
            }
        }
    }
}

type Code = unsafe extern "C" fn(*const u64, i64, *mut c_void);
type Fiber = Coroutine<(), Wait, (), DefaultStack>;

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
            CoroutineResult::Return(()) | CoroutineResult::Yield(Wait::Stop) => Ok(()),
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

/// Warps run to the next barrier one after the other, then all go on.
fn rounds(fibers: &mut [Fiber], threads: &[Thread]) -> Result<()> {
    let Some(first) = threads.first() else { return Ok(()) };
    // SAFETY: the launch outlives its threads
    let launch = unsafe { &*first.launch };
    launch.interval.set(0);
    loop {
        let mut met: Option<Option<Wait>> = None;
        for (fibers, threads) in fibers.chunks_mut(WARP).zip(threads.chunks(WARP)) {
            let at = warp_round(fibers, threads)?;
            match met {
                _ if at == Some(Wait::Stop) => return Ok(()),
                Some(other) if other != at => {
                    let (other, at) = (Wait::text(other), Wait::text(at));
                    return Err(format!("thread 0 {other} while thread {} {at}", threads[0].thread));
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

/// Runs a warp to the block's next barrier, or to its end. Its threads come to everything that waits together.
fn warp_round(fibers: &mut [Fiber], threads: &[Thread]) -> Result<Option<Wait>> {
    loop {
        let mut met: Option<Option<Wait>> = None;
        for (f, t) in fibers.iter_mut().zip(threads) {
            let at = match f.resume(()) {
                CoroutineResult::Yield(Wait::Stop) => return Ok(Some(Wait::Stop)),
                CoroutineResult::Yield(at) => Some(at),
                CoroutineResult::Return(()) => None,
            };
            match met {
                Some(other) if other != at => {
                    let (other, at) = (Wait::text(other), Wait::text(at));
                    return Err(format!("thread {} {other} while thread {} {at}", threads[0].thread, t.thread));
                }
                _ => met = Some(at),
            }
        }
        match met.flatten() {
            Some(Wait::Warp(_)) => threads.iter().for_each(|t| t.warp_interval.set(t.warp_interval.get() + 1)),
            // SAFETY: all threads are suspended at this place
            Some(Wait::Together(_, op)) => unsafe { warp::exchange(op, threads)? },
            at => return Ok(at),
        }
    }
}

/// Barrier `n` of the kernel, of the block or of the warp.
unsafe extern "C" fn tdl_sim_barrier(thread: *const Thread, n: u32, warp: u32) {
    let wait = if warp != 0 { Wait::Warp(n) } else { Wait::Block(n) };
    // SAFETY: generated code passes on its thread, whose fiber is running
    unsafe { (*(*thread).yielder.get()).suspend(wait) };
}

/// An access to `count` elements of `size` bytes that is about to be made. After an error it does not return.
unsafe extern "C" fn tdl_sim_access(thread: *const Thread, address: usize, size: u32, count: u32, write: u32) {
    // SAFETY: generated code passes on its thread, whose launch is running
    unsafe { check(&*thread, address, size, count, write != 0) };
}

/// # Safety
/// The thread's fiber is the one that runs.
unsafe fn check(t: &Thread, address: usize, size: u32, count: u32, write: bool) {
    // SAFETY: the launch outlives its threads
    let launch = unsafe { &*t.launch };
    let (size, bytes) = (size as usize, size as usize * count as usize);
    let shared = launch.shared.0 <= address && address + bytes <= launch.shared.1;
    // SAFETY: as above
    let known = shared || inside(unsafe { &*launch.live }, address, bytes);
    let error = if !known {
        Some("an access outside of the memory that the program has".to_owned())
    } else if !address.is_multiple_of(bytes) {
        Some(format!("an access of {bytes} bytes at an address that is no multiple of that"))
    } else {
        let who = Who {
            block: t.block as u32,
            thread: t.thread as u32,
            interval: launch.interval.get(),
            warp_interval: t.warp_interval.get(),
        };
        let mut shadow = launch.shadow.take();
        let error = (0..count as usize).find_map(|i| shadow.access(address + i * size, who, write, shared));
        launch.shadow.set(shadow);
        error
    };
    if let Some(e) = error {
        // SAFETY: by contract
        unsafe { stop(t, e) };
    }
}

/// Ends the launch with an error.
///
/// # Safety
/// The thread's fiber is the one that runs.
unsafe fn stop(t: &Thread, error: String) {
    // SAFETY: the launch outlives its threads; by contract
    unsafe {
        (*t.launch).error.set(Some(format!("thread {} of block {}: {error}", t.thread, t.block)));
        (*t.yielder.get()).suspend(Wait::Stop);
    }
}
