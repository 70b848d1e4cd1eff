//! Copies between the host's memory and the GPU's go through two places that the GPU reads and writes by itself. While it copies
//! one, the processor copies the other; a write is not waited for.

use std::ffi::c_void;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use super::open::Stream;

/// Bytes of a place: much more than the GPU copies while the processor does what there is to do for each.
const SIZE: usize = 2 << 20;

type Result<T> = std::result::Result<T, DriverError>;

#[derive(Default)]
pub(super) struct Staging {
    /// Made when the first copy needs them.
    places: Vec<Place>,
    next: usize,
}

/// Memory of the host that does not move, and the end of the last copy from or to it.
struct Place {
    memory: *mut c_void,
    done: sys::CUevent,
}

impl Place {
    fn new() -> Result<Place> {
        // SAFETY: the context is current; the place owns both
        unsafe {
            let mut place = Place { memory: result::malloc_host(SIZE, 0)?, done: std::ptr::null_mut() };
            place.memory.cast::<u8>().write_bytes(0, SIZE);
            place.done = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)?;
            Ok(place)
        }
    }

    /// Its first bytes, once the GPU is done with them.
    fn bytes(&mut self, len: usize) -> Result<&mut [u8]> {
        // SAFETY: nobody else writes or reads the memory, which holds `SIZE` bytes, after the event, which stands for success
        // when it was never recorded
        unsafe {
            result::event::synchronize(self.done)?;
            Ok(std::slice::from_raw_parts_mut(self.memory.cast(), len.min(SIZE)))
        }
    }

    fn record(&self, stream: &Stream) -> Result<()> {
        // SAFETY: both live
        unsafe { result::event::record(self.done, stream.0) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // SAFETY: both are its own; the stream was waited for
        unsafe {
            if !self.done.is_null() {
                let _ = result::event::destroy(self.done);
            }
            let _ = result::free_host(self.memory);
        }
    }
}

impl Staging {
    /// The places in turn.
    fn next(&mut self) -> Result<usize> {
        while self.places.len() < 2 {
            self.places.push(Place::new()?);
        }
        self.next ^= 1;
        Ok(self.next)
    }

    /// Begins a copy to the GPU; `from` may change when this returns.
    pub fn write(&mut self, stream: &Stream, to: u64, from: &[u8]) -> Result<()> {
        for (i, part) in from.chunks(SIZE).enumerate() {
            let at = self.next()?;
            let place = &mut self.places[at];
            place.bytes(part.len())?.copy_from_slice(part);
            // SAFETY: the caller has as much memory at `to`; the place is not touched before the event
            unsafe { sys::cuMemcpyHtoDAsync_v2(to + (i * SIZE) as u64, place.memory, part.len(), stream.0) }
                .result()?;
            place.record(stream)?;
        }
        Ok(())
    }

    /// Copies from the GPU, after all that was started before.
    pub fn read(&mut self, stream: &Stream, to: &mut [u8], from: u64) -> Result<()> {
        let mut begun: Option<(usize, &mut [u8])> = None;
        for (i, part) in to.chunks_mut(SIZE).enumerate() {
            let at = self.next()?;
            let place = &mut self.places[at];
            place.bytes(0)?;
            // SAFETY: the caller has as much memory at `from`; the place is not touched before the event
            unsafe { sys::cuMemcpyDtoHAsync_v2(place.memory, from + (i * SIZE) as u64, part.len(), stream.0) }
                .result()?;
            place.record(stream)?;
            if let Some((at, part)) = begun.replace((at, part)) {
                part.copy_from_slice(self.places[at].bytes(part.len())?);
            }
        }
        if let Some((at, part)) = begun {
            part.copy_from_slice(self.places[at].bytes(part.len())?);
        }
        Ok(())
    }
}
