//! Devices with memory of their own: tensors are there, and host code reaches them by copies alone.

use std::collections::HashMap;

use crate::abi::Kernel;
use crate::context::{Failure, FailureKind, Note};
use crate::fmt;
use crate::memory::{Counters, Memory, Stack};

/// Why a device refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no memory for as many bytes; `usize::MAX` where no address is that large.
    Memory(usize),
    /// It is gone, and nothing on it can be reached: what its driver says.
    Lost(String),
    /// Anything else, for the user.
    Refused(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Memory(bytes) => {
                let bytes = fmt::bytes(i64::try_from(*bytes).unwrap_or(i64::MAX));
                write!(f, "out of memory: a tensor of {bytes} was asked for")
            }
            Error::Lost(text) => write!(f, "the GPU was lost: {text}"),
            Error::Refused(text) => f.write_str(text),
        }
    }
}

impl From<String> for Error {
    fn from(text: String) -> Error {
        Error::Refused(text)
    }
}

impl Error {
    /// The code of a run-time error that it becomes.
    pub fn kind(&self) -> FailureKind {
        match self {
            Error::Memory(_) => FailureKind::Memory,
            Error::Lost(_) => FailureKind::Lost,
            Error::Refused(_) => FailureKind::Device,
        }
    }
}

/// A GPU, or what stands for one. Addresses are the device's; the host may add to them and hand them back, never look
/// behind them.
pub trait Device {
    fn alloc(&mut self, bytes: usize) -> Result<*mut u8>;
    fn free(&mut self, ptr: *mut u8);
    fn free_all(&mut self);
    fn counters(&self) -> Counters;
    fn read(&mut self, to: &mut [u8], from: *const u8) -> Result<()>;
    fn write(&mut self, to: *mut u8, from: &[u8]) -> Result<()>;
    /// Between equal or disjoint places on the device.
    fn copy(&mut self, to: *mut u8, from: *const u8, bytes: usize) -> Result<()>;
    fn zero(&mut self, to: *mut u8, bytes: usize) -> Result<()>;
    /// Runs a kernel over `0..range`.
    ///
    /// # Safety
    /// `args` are the kernel's arguments, one to a slot of 8 bytes, and the kernel's table lives as long as the device.
    unsafe fn launch(&mut self, kernel: &Kernel, args: *const u64, range: i64) -> Result<()>;
    /// An iteration of a loop begins at a place of the host's code, or what follows it does; `depth`: how many loops there are around it.
    fn segment(&mut self, _place: u32, _depth: u32) -> Result<()> {
        Ok(())
    }
    /// From now on it is measured how long work takes on the device, where that is possible, and work is not repeated as a whole.
    fn measure(&mut self) {}
    /// Nanoseconds that work took on the device since the last time that somebody asked; none: it was not measured.
    fn took(&mut self) -> Option<u64> {
        None
    }
    /// Waits for all that was started, and says whether it failed.
    fn finish(&mut self) -> Result<()>;
}

/// Buffers that an error of memory names, at most.
const NAMED: usize = 3;

/// A program's device, and what the program has there.
pub struct Attached {
    pub device: Box<dyn Device>,
    constants: HashMap<usize, *mut u8>,
    /// Buffers in use by address: how long they are, and the site that asked for them.
    live: HashMap<usize, (usize, Option<u32>)>,
}

impl Attached {
    pub fn new(device: Box<dyn Device>) -> Attached {
        Attached { device, constants: HashMap::new(), live: HashMap::new() }
    }

    pub fn alloc(&mut self, bytes: usize, site: Option<u32>) -> Result<*mut u8> {
        let p = self.device.alloc(bytes)?;
        self.live.insert(p as usize, (bytes, site));
        Ok(p)
    }

    pub fn free(&mut self, ptr: *mut u8) {
        self.live.remove(&(ptr as usize));
        self.device.free(ptr);
    }

    pub fn free_all(&mut self) {
        self.device.free_all();
        self.constants.clear();
        self.live.clear();
    }

    /// The error as a run-time error of the program. One of memory names the places that hold the most.
    pub fn failure(&self, error: &Error, site: Option<u32>) -> Failure {
        let mut failure = Failure::new(error.kind(), error.to_string());
        failure.site = site;
        if error.kind() == FailureKind::Memory {
            failure.notes = self.holders();
        }
        failure
    }

    fn holders(&self) -> Vec<Note> {
        let mut sites: HashMap<Option<u32>, (usize, usize)> = HashMap::new();
        for (bytes, site) in self.live.values() {
            let of = sites.entry(*site).or_default();
            *of = (of.0 + bytes, of.1 + 1);
        }
        let mut all: Vec<_> = sites.into_iter().filter(|(_, (bytes, _))| *bytes > 0).collect();
        all.sort_by_key(|(site, (bytes, _))| (std::cmp::Reverse(*bytes), *site));
        all.truncate(NAMED);
        let text = |bytes: usize, count: usize| {
            let bytes = fmt::bytes(i64::try_from(bytes).unwrap_or(i64::MAX));
            if count == 1 { format!("one tensor holds {bytes}") } else { format!("{count} tensors hold {bytes}") }
        };
        all.into_iter().map(|(site, (bytes, count))| Note { text: text(bytes, count), site }).collect()
    }

    /// Memory with these contents.
    pub fn give(&mut self, bytes: &[u8]) -> Result<*mut u8> {
        let p = self.alloc(bytes.len(), None)?;
        self.device.write(p, bytes)?;
        Ok(p)
    }

    /// Constant data, which is copied when it is first asked for.
    pub fn constant(&mut self, bytes: &[u8]) -> Result<*mut u8> {
        let key = bytes.as_ptr() as usize;
        if let Some(p) = self.constants.get(&key) {
            return Ok(*p);
        }
        let p = self.give(bytes)?;
        self.constants.insert(key, p);
        Ok(p)
    }

    pub fn fetch(&mut self, from: *const u8, bytes: usize) -> Result<Vec<u8>> {
        let mut out = vec![0; bytes];
        self.device.read(&mut out, from)?;
        Ok(out)
    }

    /// As [`Memory::stack_grow`]: the stack's head is the host's, its contents are on the device.
    ///
    /// # Safety
    /// `stack` is live.
    pub unsafe fn stack_grow(&mut self, stack: *mut Stack, bytes: usize, site: u32) -> Result<*mut u8> {
        // SAFETY: by contract
        let s = unsafe { stack.as_mut() }.ok_or(Error::Memory(bytes))?;
        let need = s.len.checked_add(bytes).ok_or(Error::Memory(bytes))?;
        if need > s.capacity || s.data.is_null() {
            let capacity = need.max(2 * s.capacity).max(4096);
            let new = self.alloc(capacity, Some(site))?;
            if !s.data.is_null() {
                self.device.copy(new, s.data, s.len)?;
                self.free(s.data);
            }
            (s.data, s.capacity) = (new, capacity);
        }
        let at = s.data.wrapping_add(s.len);
        s.len = need;
        Ok(at)
    }

    /// Frees a stack's contents; its head is left to the host's memory.
    ///
    /// # Safety
    /// `stack` is live.
    pub unsafe fn stack_free(&mut self, memory: &mut Memory, stack: *mut Stack) {
        // SAFETY: by contract
        if let Some(s) = unsafe { stack.as_mut() } {
            if !s.data.is_null() {
                self.free(s.data);
            }
            s.data = std::ptr::null_mut();
            memory.stack_free(stack);
        }
    }
}
