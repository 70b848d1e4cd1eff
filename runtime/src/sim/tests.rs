//! Kernels written by hand, right ones and wrong ones.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "bodies touch memory that `run` has, or that the simulator refuses first"
)]

use super::*;
use crate::abi::Text;

type Body = unsafe fn(&Thread, *mut u8);

/// A kernel whose only argument is a buffer, and 16 bytes of shared memory.
fn run(code: Code, threads: u32, together: bool, range: i64) -> Result<Vec<u8>> {
    let mut sim = Sim::default();
    let buffer = sim.alloc(64).ok_or("memory")?;
    sim.zero(buffer, 64)?;
    let name = "test";
    let text = Text { ptr: name.as_ptr(), len: name.len() as u64 };
    let none = Text { ptr: std::ptr::null(), len: 0 };
    let kernel = Kernel {
        name: text,
        code: Some(code),
        id: 0,
        n_params: 1,
        threads,
        together: u32::from(together),
        shared: 16,
        ptx: none,
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
        tdl_sim_access(t, at as usize, 1, 0);
        tdl_sim_access(t, at as usize, 1, 1);
        *at += 1;
    }
}

kernel!(each_its_own, |t, p| unsafe { touch(t, p.add((t.block * 4 + t.thread) as usize)) });
kernel!(all_the_same, |t, p| unsafe { touch(t, p) });
kernel!(outside, |t, p| unsafe { touch(t, p.add(64 + t.thread as usize)) });
kernel!(divergent, |t, _| unsafe {
    if t.thread != 2 {
        tdl_sim_barrier(t, 1);
    }
});
kernel!(two_barriers, |t, _| unsafe { tdl_sim_barrier(t, 1 + (t.thread == 3) as u32) });
kernel!(handed_on, |t, p| unsafe {
    let mine = t.shared.add(t.thread as usize);
    tdl_sim_access(t, mine as usize, 1, 1);
    *mine = 10 + t.thread as u8;
    tdl_sim_barrier(t, 1);
    let other = t.shared.add(3 - t.thread as usize);
    tdl_sim_access(t, other as usize, 1, 0);
    let at = p.add((t.block * 4 + t.thread) as usize);
    tdl_sim_access(t, at as usize, 1, 1);
    *at = *other;
});
kernel!(too_early, |t, _| unsafe {
    let mine = t.shared.add(t.thread as usize);
    tdl_sim_access(t, mine as usize, 1, 1);
    tdl_sim_access(t, t.shared.add(3 - t.thread as usize) as usize, 1, 0);
    tdl_sim_barrier(t, 1);
});

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
