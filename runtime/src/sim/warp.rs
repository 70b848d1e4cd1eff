//! What the threads of a warp do together: each leaves its values and waits, the last one's arrival makes all results.

use super::{Launch, Thread, Wait, check};

/// Threads of a warp.
pub const WARP: usize = 32;

/// What a warp does together. Each thread's `place` points to its own words, which the results replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Together {
    /// One `u64`, which goes to the thread whose number differs in these bits.
    Shuffle(u32),
    /// An address; then four words.
    Matrices { transposed: bool },
    /// Six words of operands and four `f32` to add to.
    Product { bf16: bool },
}

/// All threads of a warp have come to the same place.
///
/// # Safety
/// The threads are suspended there, so their words are theirs.
pub unsafe fn exchange(op: Together, threads: &[Thread]) -> Result<(), String> {
    let first = threads.first().map_or(0, |t| t.thread);
    match op {
        Together::Shuffle(xor) => {
            // SAFETY: by contract, each has left one word
            let values: Vec<u64> = threads.iter().map(|t| unsafe { *t.place.get().cast::<u64>() }).collect();
            for (i, t) in threads.iter().enumerate() {
                let from = i ^ xor as usize;
                let value = values.get(from).ok_or_else(|| {
                    format!("thread {} takes a value of thread {}, which is not there", t.thread, first as usize + from)
                })?;
                // SAFETY: as above
                unsafe { *t.place.get().cast::<u64>() = *value };
            }
        }
        _ if threads.len() != WARP => return Err("a warp is not whole where matrices are multiplied".into()),
        Together::Matrices { transposed } => {
            // SAFETY: each has left the address of eight elements that it may read
            let rows: Vec<[u16; 8]> =
                threads.iter().map(|t| unsafe { **t.place.get().cast::<*const [u16; 8]>() }).collect();
            for (t, thread) in threads.iter().enumerate() {
                let (g, q) = (t / 4, 2 * (t % 4));
                for m in 0..4 {
                    let pair = [q, q + 1].map(|e| if transposed { rows[8 * m + e][g] } else { rows[8 * m + g][e] });
                    let word = u32::from(pair[0]) | u32::from(pair[1]) << 16;
                    // SAFETY: it has room for four words behind the address
                    unsafe { *thread.place.get().add(8).cast::<u32>().add(m) = word };
                }
            }
        }
        Together::Product { bf16 } => product(threads, bf16),
    }
    Ok(())
}

/// See `tdl_loops::ir::Tile` for who has what.
fn product(threads: &[Thread], bf16: bool) {
    let wide = |word: u32, half: usize| {
        let bits = (word >> (16 * half)) as u16;
        if bf16 { half::bf16::from_bits(bits).to_f32() } else { half::f16::from_bits(bits).to_f32() }
    };
    let (mut a, mut b) = ([[0f32; 16]; 16], [[0f32; 8]; 16]);
    for (t, thread) in threads.iter().enumerate() {
        let (g, q) = (t / 4, 2 * (t % 4));
        // SAFETY: each has left ten words
        let words = unsafe { *thread.place.get().cast::<[u32; 6]>() };
        for h in 0..2 {
            for (r, word) in words[..4].iter().enumerate() {
                a[g + 8 * (r % 2)][q + h + 8 * (r / 2)] = wide(*word, h);
            }
            for (r, word) in words[4..].iter().enumerate() {
                b[q + h + 8 * r][g] = wide(*word, h);
            }
        }
    }
    for (t, thread) in threads.iter().enumerate() {
        let (g, q) = (t / 4, 2 * (t % 4));
        // SAFETY: as above
        let sums = unsafe { &mut *thread.place.get().cast::<f32>().add(6).cast::<[f32; 4]>() };
        for (r, sum) in sums.iter_mut().enumerate() {
            let (i, j) = (g + 8 * (r / 2), q + r % 2);
            // products of 16-bit floats are exact in f32
            *sum = (0..16).fold(*sum, |s, k| s + a[i][k] * b[k][j]);
        }
    }
}

/// Waits, at place `n` of the kernel, for the other threads of the warp.
unsafe fn meet(t: &Thread, n: u32, op: Together, place: *mut u8) {
    t.place.set(place);
    // SAFETY: the fiber is running
    unsafe { (*t.yielder.get()).suspend(Wait::Together(n, op)) };
}

/// The value of the thread of the warp whose number differs in the bits of `xor`.
pub unsafe extern "C" fn tdl_sim_shuffle(thread: *const Thread, n: u32, mut value: u64, xor: u32) -> u64 {
    // SAFETY: generated code passes on its thread, whose fiber is running
    unsafe { meet(&*thread, n, Together::Shuffle(xor), (&raw mut value).cast()) };
    value
}

pub unsafe extern "C" fn tdl_sim_matrices(
    thread: *const Thread,
    n: u32,
    address: usize,
    to: *mut u32,
    transposed: u32,
) {
    let mut place: (usize, [u32; 4]) = (address, [0; 4]);
    // SAFETY: as above; there is room for four words
    unsafe {
        check(&*thread, address, 2, 8, false);
        meet(&*thread, n, Together::Matrices { transposed: transposed != 0 }, (&raw mut place).cast());
        to.copy_from_nonoverlapping(place.1.as_ptr(), 4);
    }
}

pub unsafe extern "C" fn tdl_sim_product(thread: *const Thread, n: u32, words: *mut u32, bf16: u32) {
    // SAFETY: as above; there are ten words
    unsafe { meet(&*thread, n, Together::Product { bf16: bf16 != 0 }, words.cast()) };
}

/// What an asynchronous copy has to do, when it is waited for at last.
#[derive(Clone, Copy)]
pub struct Copy {
    to: usize,
    from: Option<usize>,
    size: u32,
}

const BYTES: usize = 16;

/// A copy of 16 bytes into shared memory begins. Until it is waited for, nobody may touch what it writes, and it is garbage.
pub unsafe extern "C" fn tdl_sim_copy(thread: *const Thread, to: usize, from: usize, size: u32, inside: u32) {
    // SAFETY: as above
    unsafe {
        let t = &*thread;
        let count = BYTES as u32 / size;
        let launch: &Launch = &*t.launch;
        if !(launch.shared.0 <= to && to + BYTES <= launch.shared.1) {
            super::stop(t, "a copy to what is not shared memory".into());
        }
        check(t, to, size, count, true);
        if inside != 0 {
            check(t, from, size, count, false);
        }
        (to as *mut u8).write_bytes(super::GARBAGE, BYTES);
        let copy = Copy { to, from: (inside != 0).then_some(from), size };
        t.copies.borrow_mut().last_mut().expect("a group is open").push(copy);
    }
}

/// The copies begun so far are a group.
pub unsafe extern "C" fn tdl_sim_group(thread: *const Thread) {
    // SAFETY: as above
    unsafe { (*thread).copies.borrow_mut().push(Vec::new()) };
}

/// Waits for all groups but the last `left`.
pub unsafe extern "C" fn tdl_sim_wait(thread: *const Thread, left: u32) {
    // SAFETY: as above
    let t = unsafe { &*thread };
    let done: Vec<Copy> = {
        let mut groups = t.copies.borrow_mut();
        let n = (groups.len() - 1).saturating_sub(left as usize);
        groups.drain(..n).flatten().collect()
    };
    for Copy { to, from, size } in done {
        // SAFETY: as above; both places were checked when the copy began
        unsafe {
            check(t, to, size, BYTES as u32 / size, true);
            match from {
                Some(from) => (to as *mut u8).copy_from_nonoverlapping(from as *const u8, BYTES),
                None => (to as *mut u8).write_bytes(0, BYTES),
            }
        }
    }
}
