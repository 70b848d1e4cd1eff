//! NVIDIA GPUs, through the driver that the machine has: it is loaded when it is first needed, and nothing else of CUDA is.
//!
//! One stream in order: kernels are started and not waited for, copies to the host wait for what was started before. Freed
//! memory is kept by size, so that a repeated step asks the driver for nothing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CString, c_void};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use crate::abi::Kernel;
use crate::device::{Device, Result};
use crate::memory::{Counters, class_bytes, class_of};

/// Why there is no GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No driver is installed.
    Driver,
    /// The driver has no device.
    Device(String),
}

/// Blocks for each multiprocessor, at most: enough to hide latencies, few enough that each has several steps.
const BLOCKS_EACH: i64 = 32;

/// An open GPU.
pub struct Cuda {
    device: sys::CUdevice,
    context: sys::CUcontext,
    /// Version of the instructions that it has: 80 is 8.0.
    capability: i32,
    multiprocessors: i64,
    /// Assembly that was loaded, by its address, and its kernels by number.
    modules: HashMap<usize, (sys::CUmodule, HashMap<u32, sys::CUfunction>)>,
    free: HashMap<usize, Vec<u64>>,
    /// Classes of blocks in use.
    live: HashMap<u64, usize>,
    counters: Counters,
}

fn text(e: DriverError) -> String {
    match e.error_string() {
        Ok(s) => format!("the GPU's driver says: {}", s.to_string_lossy()),
        Err(_) => format!("the GPU's driver says: error {}", e.0 as u32),
    }
}

impl Cuda {
    /// The GPU of this number among those that the driver shows; CUDA_VISIBLE_DEVICES chooses those.
    pub fn open(number: u32) -> std::result::Result<Cuda, Missing> {
        // SAFETY: loading the driver's library runs its initialisers, which any program does that uses it
        if !unsafe { sys::is_culib_present() } {
            return Err(Missing::Driver);
        }
        let open = || {
            use sys::CUdevice_attribute_enum as Attribute;
            result::init()?;
            let device = result::device::get(number.try_into().unwrap_or(i32::MAX))?;
            // SAFETY: the device is one of the driver's, and its context lives until `drop`
            unsafe {
                let context = result::primary_ctx::retain(device)?;
                result::ctx::set_current(context)?;
                let attribute = |a| result::device::get_attribute(device, a);
                let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
                let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
                let multiprocessors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
                Ok(Cuda {
                    device,
                    context,
                    capability: 10 * major + minor,
                    multiprocessors: multiprocessors.max(1).into(),
                    modules: HashMap::new(),
                    free: HashMap::new(),
                    live: HashMap::new(),
                    counters: Counters::default(),
                })
            }
        };
        open().map_err(|e| Missing::Device(text(e)))
    }

    /// Version of its instructions: 80 is 8.0.
    pub fn capability(&self) -> i32 {
        self.capability
    }

    /// Gives what is free back to the driver.
    fn trim(&mut self) {
        for p in self.free.drain().flat_map(|(_, list)| list) {
            // SAFETY: it came from the driver and nobody uses it
            let _ = unsafe { result::free_sync(p) };
        }
    }

    fn function(&mut self, kernel: &Kernel) -> Result<sys::CUfunction> {
        // SAFETY: the table's texts live as long as the program
        let (ptx, name) = unsafe { (kernel.ptx.as_str(), kernel.name.as_str()) };
        let key = ptx.as_ptr() as usize;
        let (module, functions) = match self.modules.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let image = CString::new(ptx).map_err(|_| "the program's assembly has a zero byte".to_owned())?;
                // SAFETY: the image is text that ends with a zero
                let module = unsafe { result::module::load_data(image.as_ptr().cast()) }.map_err(text)?;
                new.insert((module, HashMap::new()))
            }
        };
        if let Some(f) = functions.get(&kernel.id) {
            return Ok(*f);
        }
        let symbol = CString::new(format!("k{}", kernel.id)).unwrap_or_default();
        // SAFETY: the module is loaded
        let f = unsafe { result::module::get_function(*module, symbol) };
        let f = f.map_err(|e| format!("kernel {name}: {}", text(e)))?;
        functions.insert(kernel.id, f);
        Ok(f)
    }
}

impl Device for Cuda {
    fn alloc(&mut self, bytes: usize) -> Option<*mut u8> {
        let class = class_of(bytes)?;
        let size = class_bytes(class);
        let kept = self.free.get_mut(&class).and_then(Vec::pop);
        let p = match kept {
            Some(p) => p,
            // SAFETY: the context is current; what the driver gives is nobody's
            None => unsafe {
                let first = result::malloc_sync(size);
                let p = first.or_else(|_| {
                    self.trim();
                    result::malloc_sync(size)
                });
                self.counters.system += 1;
                p.ok()?
            },
        };
        self.live.insert(p, class);
        self.counters.blocks += 1;
        self.counters.live_bytes += size;
        self.counters.peak_bytes = self.counters.peak_bytes.max(self.counters.live_bytes);
        Some(p as *mut u8)
    }

    fn free(&mut self, ptr: *mut u8) {
        if let Some(class) = self.live.remove(&(ptr as u64)) {
            self.counters.live_bytes -= class_bytes(class);
            self.free.entry(class).or_default().push(ptr as u64);
        }
    }

    fn free_all(&mut self) {
        let all: Vec<u64> = self.live.keys().copied().collect();
        for p in all {
            self.free(p as *mut u8);
        }
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn read(&mut self, to: &mut [u8], from: *const u8) -> Result<()> {
        if to.is_empty() {
            return Ok(());
        }
        // SAFETY: generated code reads what it allocated
        unsafe { result::memcpy_dtoh_sync(to, from as u64) }.map_err(text)
    }

    fn write(&mut self, to: *mut u8, from: &[u8]) -> Result<()> {
        if from.is_empty() {
            return Ok(());
        }
        // SAFETY: generated code writes what it allocated
        unsafe { result::memcpy_htod_sync(to as u64, from) }.map_err(text)
    }

    fn copy(&mut self, to: *mut u8, from: *const u8, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: generated code copies between what it allocated
        unsafe { result::memcpy_dtod_async(to as u64, from as u64, bytes, std::ptr::null_mut()) }.map_err(text)
    }

    fn zero(&mut self, to: *mut u8, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: generated code clears what it allocated
        unsafe { result::memset_d8_async(to as u64, 0, bytes, std::ptr::null_mut()) }.map_err(text)
    }

    unsafe fn launch(&mut self, kernel: &Kernel, args: *const u64, range: i64) -> Result<()> {
        let f = self.function(kernel)?;
        let threads = i64::from(kernel.threads);
        let wanted = if kernel.together != 0 { range } else { (range + threads - 1) / threads };
        let blocks = wanted.min(BLOCKS_EACH * self.multiprocessors);
        let mut params: Vec<*mut c_void> =
            (0..kernel.n_params as usize).map(|i| args.wrapping_add(i).cast_mut().cast()).collect();
        params.push((&raw const range).cast_mut().cast());
        let (grid, block) = ((blocks as u32, 1, 1), (kernel.threads, 1, 1));
        // SAFETY: the parameters are the kernel's, each in a slot that is at least as large; the driver copies them
        let result = unsafe { result::launch_kernel(f, grid, block, 0, std::ptr::null_mut(), &mut params) };
        // SAFETY: the table's texts live as long as the program
        result.map_err(|e| format!("kernel {}: {}", unsafe { kernel.name.as_str() }, text(e)))
    }

    fn finish(&mut self) -> Result<()> {
        // SAFETY: the context is current
        unsafe { result::stream::synchronize(std::ptr::null_mut()) }.map_err(text)
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        self.free_all();
        self.trim();
        for (module, _) in self.modules.values() {
            // SAFETY: loaded by `function`, and no kernel of it is started any more
            let _ = unsafe { result::module::unload(*module) };
        }
        // SAFETY: retained by `open`
        let _ = unsafe { result::primary_ctx::release(self.device) };
        self.context = std::ptr::null_mut();
    }
}
