//! A clock that is cheap to read: the processor's counter of ticks where that has a constant rate, else the system's clock.

use std::time::Instant;

/// Counts from when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    /// The counter at that time; none: ticks are nanoseconds.
    counter: Option<u64>,
}

impl Clock {
    pub fn start() -> Clock {
        let counter = steady().then(counter);
        Clock { origin: Instant::now(), counter }
    }

    #[inline]
    pub fn ticks(&self) -> u64 {
        match self.counter {
            // another core may be a little behind
            Some(start) => counter().saturating_sub(start),
            None => self.origin.elapsed().as_nanos() as u64,
        }
    }

    /// How long a tick is, in nanoseconds: the better known the longer the clock has run.
    pub fn nanos_per_tick(&self) -> f64 {
        match self.counter {
            Some(_) => self.origin.elapsed().as_nanos() as f64 / self.ticks().max(1) as f64,
            None => 1.0,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn counter() -> u64 {
    // SAFETY: every x86-64 has it
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Whether the counter goes on at one rate, whatever the processor's own.
#[cfg(target_arch = "x86_64")]
#[allow(unused_unsafe)]
fn steady() -> bool {
    const LEAF: u32 = 0x8000_0007;
    // SAFETY: every x86-64 has this instruction, and the leaf is asked for where it exists
    unsafe {
        core::arch::x86_64::__cpuid(0x8000_0000).eax >= LEAF && core::arch::x86_64::__cpuid(LEAF).edx >> 8 & 1 == 1
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    0
}

#[cfg(not(target_arch = "x86_64"))]
fn steady() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_time() {
        for clock in [Clock::start(), Clock { origin: Instant::now(), counter: None }] {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let (ticks, before) = (clock.ticks(), clock.origin.elapsed().as_nanos() as f64);
            let nanos = ticks as f64 * clock.nanos_per_tick();
            assert!(nanos > 1.9e7 && (nanos - before).abs() < 0.2 * before, "{nanos} is not {before}");
        }
    }
}
