//! Kernels written by hand, right ones and wrong ones.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "bodies touch memory that `run` has, or that the simulator refuses first"
)]

use super::*;
use crate::abi::Text;

type Body = unsafe fn(&Thread, *mut u8);

/// A kernel whose only argument is a buffer of 64 bytes, and 1024 bytes of shared memory.
fn run(code: Code, threads: u32, together: bool, range: i64) -> Result<Vec<u8>> {
    launched(code, threads, together, range).map_err(|e| e.to_string())
}

fn launched(code: Code, threads: u32, together: bool, range: i64) -> device::Result<Vec<u8>> {
    let mut sim = Sim::default();
    let buffer = sim.alloc(64)?;
    sim.zero(buffer, 64)?;
    let name = "test";
    let text = Text { ptr: name.as_ptr(), len: name.len() as u64 };
    let kernel = Kernel {
        name: text,
        code: Some(code),
        id: 0,
        n_params: 1,
        threads,
        together: u32::from(together),
        shared: 1024,
        images: std::ptr::null(),
        n_images: 0,
    };
    let args = [buffer as u64];
    // SAFETY: the argument is the kernel's
    unsafe { sim.launch(&kernel, args.as_ptr(), range)? };
    let mut out = vec![0; 64];
    sim.read(&mut out, buffer)?;
    Ok(out)
}

macro_rules! kernel {
    ($name:ident, $body:expr) => {
        unsafe extern "C" fn $name(args: *const u64, _: i64, thread: *mut c_void) {
            let body: Body = $body;
            // SAFETY: `run` passes a buffer and the simulator a thread
            unsafe { body(&*thread.cast::<Thread>(), plain(*args as *const u8) as *mut u8) }
        }
    };
}

/// Adds one to a byte.
unsafe fn touch(t: &Thread, at: *mut u8) {
    // SAFETY: the access is checked first
    unsafe {
        tdl_sim_access(t, at as usize, 1, 1, 0);
        tdl_sim_access(t, at as usize, 1, 1, 1);
        *at += 1;
    }
}

kernel!(each_its_own, |t, p| unsafe { touch(t, p.add((t.block * 4 + t.thread) as usize)) });
kernel!(all_the_same, |t, p| unsafe { touch(t, p) });
kernel!(outside, |t, p| unsafe { touch(t, p.add(64 + t.thread as usize)) });
kernel!(divergent, |t, _| unsafe {
    if t.thread != 2 {
        tdl_sim_barrier(t, 1, 0);
    }
});
kernel!(two_barriers, |t, _| unsafe { tdl_sim_barrier(t, 1 + (t.thread == 3) as u32, 0) });
kernel!(handed_on, |t, p| unsafe {
    let mine = t.shared.add(t.thread as usize);
    tdl_sim_access(t, mine as usize, 1, 1, 1);
    *mine = 10 + t.thread as u8;
    tdl_sim_barrier(t, 1, 0);
    let other = t.shared.add(3 - t.thread as usize);
    tdl_sim_access(t, other as usize, 1, 1, 0);
    let at = p.add((t.block * 4 + t.thread) as usize);
    tdl_sim_access(t, at as usize, 1, 1, 1);
    *at = *other;
});
kernel!(too_early, |t, _| unsafe {
    let mine = t.shared.add(t.thread as usize);
    tdl_sim_access(t, mine as usize, 1, 1, 1);
    tdl_sim_access(t, t.shared.add(3 - t.thread as usize) as usize, 1, 1, 0);
    tdl_sim_barrier(t, 1, 0);
});

// --- warps

unsafe fn put(t: &Thread, at: *mut u8, value: u8) {
    // SAFETY: the access is checked first
    unsafe {
        tdl_sim_access(t, at as usize, 1, 1, 1);
        *at = value;
    }
}

unsafe fn get(t: &Thread, at: *mut u8) -> u8 {
    // SAFETY: the access is checked first
    unsafe {
        tdl_sim_access(t, at as usize, 1, 1, 0);
        *at
    }
}

kernel!(sum_of_four, |t, p| unsafe {
    let mut x = 1 + t.thread as u64;
    for (n, xor) in [(1, 1), (2, 2)] {
        x += warp::tdl_sim_shuffle(t, n, x, xor);
    }
    put(t, p.add(t.thread as usize), x as u8);
});
kernel!(divergent_shuffle, |t, _| unsafe {
    if t.thread != 2 {
        warp::tdl_sim_shuffle(t, 1, 0, 1);
    }
});
kernel!(two_shuffles, |t, _| unsafe { _ = warp::tdl_sim_shuffle(t, 1 + (t.thread == 3) as u32, 0, 1) });
kernel!(shuffle_and_barrier, |t, _| unsafe {
    if t.thread == 1 {
        tdl_sim_barrier(t, 1, 0);
    } else {
        warp::tdl_sim_shuffle(t, 1, 0, 1);
    }
});
kernel!(absent_lane, |t, _| unsafe { _ = warp::tdl_sim_shuffle(t, 1, 0, 4) });
kernel!(a_shuffle_orders_nothing, |t, _| unsafe {
    put(t, t.shared.add(t.thread as usize), 1);
    warp::tdl_sim_shuffle(t, 1, 0, 1);
    get(t, t.shared.add((t.thread ^ 1) as usize));
});
kernel!(a_warp_barrier_orders_the_warp, |t, p| unsafe {
    put(t, t.shared.add(t.thread as usize), t.thread as u8);
    tdl_sim_barrier(t, 1, 1);
    let x = get(t, t.shared.add((t.thread ^ 1) as usize));
    if t.thread < 4 {
        put(t, p.add(t.thread as usize), x);
    }
});
kernel!(a_warp_barrier_orders_no_block, |t, _| unsafe {
    put(t, t.shared.add(t.thread as usize), 1);
    tdl_sim_barrier(t, 1, 1);
    get(t, t.shared.add((t.thread ^ 32) as usize));
});
kernel!(unaligned, |t, p| unsafe { tdl_sim_access(t, p as usize + 4, 4, 4, 0) });
kernel!(wide_race, |t, p| unsafe {
    if t.thread == 0 {
        tdl_sim_access(t, p as usize, 4, 4, 1);
    } else {
        tdl_sim_access(t, p as usize + 12, 4, 1, 0);
    }
});

/// Copies what thread 0 gets from thread 1's copy, with and without a barrier.
unsafe fn copied(t: &Thread, p: *mut u8, wait: bool, barrier: bool) {
    // SAFETY: the accesses are checked first
    unsafe {
        if t.thread == 1 {
            warp::tdl_sim_copy(t, t.shared as usize, p as usize + 16, 4, 1);
            warp::tdl_sim_copy(t, t.shared as usize + 16, 0, 4, 0);
            warp::tdl_sim_group(t);
        }
        if wait {
            warp::tdl_sim_wait(t, 0);
        }
        if barrier {
            tdl_sim_barrier(t, 1, 0);
        }
        if t.thread == 0 {
            for i in 0..32 {
                tdl_sim_access(t, t.shared as usize + i / 4 * 4, 4, 1, 0);
                let x = *t.shared.add(i);
                put(t, p.add(32 + i), x);
            }
        }
    }
}

kernel!(copy, |t, p| unsafe {
    put(t, p.add(16 + t.thread as usize), 7);
    tdl_sim_barrier(t, 9, 0);
    copied(t, p, true, true)
});
kernel!(copy_without_barrier, |t, p| unsafe { copied(t, p, true, false) });
kernel!(copy_without_wait, |t, p| unsafe { copied(t, p, false, true) });

/// The product of two matrices of ones and twos, with what the threads hold written to shared memory and read as matrices.
unsafe fn tile(t: &Thread, p: *mut u8, threads: i64) {
    const BF16: [u16; 2] = [0x3F80, 0x4000];
    // SAFETY: the accesses are checked first
    unsafe {
        if t.thread >= threads {
            return;
        }
        // 8 x 8 matrix m has all elements m % 2 + 1
        for e in 0..8 {
            let at = t.shared.add(16 * t.thread as usize + 2 * e);
            tdl_sim_access(t, at as usize, 2, 1, 1);
            *at.cast::<u16>() = BF16[(t.thread / 8 % 2) as usize];
        }
        tdl_sim_barrier(t, 1, 1);
        let mut words = [0u32; 10];
        warp::tdl_sim_matrices(t, 2, t.shared as usize + 16 * t.thread as usize, words.as_mut_ptr(), 0);
        (words[4], words[5]) = (words[0], words[1]);
        warp::tdl_sim_product(t, 3, words.as_mut_ptr(), 1);
        // rows of ones by eight ones and eight twos, rows of twos by the same
        let [a, b] = [6, 8].map(|i| f32::from_bits(words[i]));
        if t.thread == 5 {
            put(t, p, a as u8);
            put(t, p.add(1), b as u8);
        }
    }
}

kernel!(product, |t, p| unsafe { tile(t, p, 32) });
kernel!(product_without_the_last, |t, p| unsafe { tile(t, p, 31) });

#[test]
fn a_warp_shuffles() {
    assert_eq!(run(sum_of_four, 4, true, 1).map(|o| o[..5].to_vec()), Ok(vec![10, 10, 10, 10, 0]));
    let e = error(divergent_shuffle, true);
    assert!(e.contains("thread 0 is at shuffle 1 while thread 2 has ended"), "{e}");
    assert!(error(two_shuffles, true).contains("thread 0 is at shuffle 1 while thread 3 is at shuffle 2"));
    assert!(error(shuffle_and_barrier, true).contains("thread 0 is at shuffle 1 while thread 1 is at barrier 1"));
    assert!(error(absent_lane, true).contains("thread 0 takes a value of thread 4, which is not there"));
    assert!(error(a_shuffle_orders_nothing, true).contains("at the same time"));
}

#[test]
fn a_warp_has_barriers() {
    assert_eq!(run(a_warp_barrier_orders_the_warp, 64, true, 1).map(|o| o[..4].to_vec()), Ok(vec![1, 0, 3, 2]));
    assert!(run(a_warp_barrier_orders_no_block, 64, true, 1).is_err_and(|e| e.contains("shared memory")));
}

#[test]
fn wide_accesses_are_checked() {
    assert!(error(unaligned, false).contains("an access of 16 bytes at an address that is no multiple of that"));
    assert!(error(wide_race, true).contains("at the same time"));
}

#[test]
fn copies_are_there_when_waited_for() {
    let out = run(copy, 16, true, 1).expect("a copy");
    assert_eq!((&out[32..48], &out[48..]), ([7; 16].as_slice(), [0; 16].as_slice()));
    assert!(run(copy_without_barrier, 16, true, 1).is_err_and(|e| e.contains("shared memory")));
    let out = run(copy_without_wait, 16, true, 1).expect("garbage");
    assert_eq!(&out[32..], [GARBAGE; 32].as_slice());
}

#[test]
fn a_warp_multiplies() {
    assert_eq!(run(product, 32, true, 1).map(|o| o[..2].to_vec()), Ok(vec![24, 48]));
    let e = run(product_without_the_last, 32, true, 1).err().unwrap_or_default();
    assert!(e.contains("while thread 31 has ended"), "{e}");
}

fn error(code: Code, together: bool) -> String {
    run(code, 4, together, 8).err().unwrap_or_default()
}

#[test]
fn threads_and_blocks() {
    assert_eq!(run(each_its_own, 4, false, 8).map(|o| o[..9].to_vec()), Ok(vec![1, 1, 1, 1, 1, 1, 1, 1, 0]));
    assert_eq!(run(handed_on, 4, true, 2).map(|o| o[..9].to_vec()), Ok(vec![13, 12, 11, 10, 13, 12, 11, 10, 0]));
}

#[test]
fn races_are_errors() {
    assert!(error(all_the_same, false).contains("kernel test: thread 1 of block 0"));
    assert!(error(all_the_same, true).contains("at the same time"));
    assert!(error(too_early, true).contains("shared memory"), "{}", error(too_early, true));
}

#[test]
fn divergent_barriers_are_errors() {
    assert!(error(divergent, true).contains("is at barrier 1 while thread 2 has ended"), "{}", error(divergent, true));
    assert!(error(two_barriers, true).contains("is at barrier 1 while thread 3 is at barrier 2"));
    assert!(error(two_barriers, false).contains("a barrier where threads are on their own"));
}

#[test]
fn foreign_memory_is_an_error() {
    assert!(error(outside, false).contains("outside"));
    let mut sim = Sim::default();
    let p = sim.alloc(8).expect("memory");
    assert!(sim.read(&mut [0; 9], p).is_err());
    assert!(sim.read(&mut [0; 8], plain(p) as *const u8).is_err());
    assert!(sim.copy(p.wrapping_add(1), p, 4).is_err());
    sim.free(p);
    assert!(sim.write(p, &[1]).is_err());
}
