//! Devices with memory of their own: tensors are there, and host code reaches them by copies alone.

use std::collections::HashMap;

use crate::abi::Kernel;
use crate::memory::{Counters, Memory, Stack};

/// Why a device refused, for the user.
pub type Result<T> = std::result::Result<T, String>;

/// A GPU, or what stands for one. Addresses are the device's; the host may add to them and hand them back, never look
/// behind them.
pub trait Device {
    /// `None` when memory is out.
    fn alloc(&mut self, bytes: usize) -> Option<*mut u8>;
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
    /// Waits for all that was started, and says whether it failed.
    fn finish(&mut self) -> Result<()>;
}

/// A program's device, and the constants that it has there.
pub struct Attached {
    pub device: Box<dyn Device>,
    constants: HashMap<usize, *mut u8>,
}

impl Attached {
    pub fn new(device: Box<dyn Device>) -> Attached {
        Attached { device, constants: HashMap::new() }
    }

    pub fn free_all(&mut self) {
        self.device.free_all();
        self.constants.clear();
    }

    /// Memory with these contents; `None` when memory is out.
    pub fn give(&mut self, bytes: &[u8]) -> Result<Option<*mut u8>> {
        match self.device.alloc(bytes.len()) {
            Some(p) => self.device.write(p, bytes).map(|()| Some(p)),
            None => Ok(None),
        }
    }

    /// Constant data, which is copied when it is first asked for.
    pub fn constant(&mut self, bytes: &[u8]) -> Result<Option<*mut u8>> {
        let key = bytes.as_ptr() as usize;
        if let Some(p) = self.constants.get(&key) {
            return Ok(Some(*p));
        }
        let p = self.give(bytes)?;
        self.constants.extend(p.map(|p| (key, p)));
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
    pub unsafe fn stack_grow(&mut self, stack: *mut Stack, bytes: usize) -> Result<Option<*mut u8>> {
        // SAFETY: by contract
        let Some(s) = (unsafe { stack.as_mut() }) else { return Ok(None) };
        let Some(need) = s.len.checked_add(bytes) else { return Ok(None) };
        if need > s.capacity || s.data.is_null() {
            let capacity = need.max(2 * s.capacity).max(4096);
            let Some(new) = self.device.alloc(capacity) else { return Ok(None) };
            if !s.data.is_null() {
                self.device.copy(new, s.data, s.len)?;
                self.device.free(s.data);
            }
            (s.data, s.capacity) = (new, capacity);
        }
        let at = s.data.wrapping_add(s.len);
        s.len = need;
        Ok(Some(at))
    }

    /// Frees a stack's contents; its head is left to the host's memory.
    ///
    /// # Safety
    /// `stack` is live.
    pub unsafe fn stack_free(&mut self, memory: &mut Memory, stack: *mut Stack) {
        // SAFETY: by contract
        if let Some(s) = unsafe { stack.as_mut() } {
            if !s.data.is_null() {
                self.device.free(s.data);
            }
            s.data = std::ptr::null_mut();
            memory.stack_free(stack);
        }
    }
}
