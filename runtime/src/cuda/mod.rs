//! NVIDIA GPUs, through the driver that the machine has: it is loaded when it is first needed, and nothing else of CUDA is.
//!
//! One stream of its own, in order: kernels and copies are started and not waited for, but for copies to the host. Memory is
//! allocated in the order of the stream; what is freed is kept by size, so that a repeated step asks the driver for nothing
//! and finds its buffers at the same addresses. What a program repeats is a graph (`repeat.rs`, `graph.rs`).

mod graph;
mod open;
mod program;
mod staging;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CString, c_void};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use crate::abi::{Image, Kernel};
use crate::device::{Device, Error, Result};
use crate::memory::{Counters, class_bytes, class_of};
use crate::repeat::Op;
use crate::start::slice;
use open::{Context, Stream, text};
pub use open::{Found, Missing, find};
use staging::Staging;

/// Blocks for each multiprocessor, at most: enough to hide latencies, few enough that each has several steps.
const BLOCKS_EACH: i64 = 32;

/// Whether repeated work is to be graphs: TDL_CUDA_GRAPHS=0 says no.
pub fn graphs() -> bool {
    std::env::var_os("TDL_CUDA_GRAPHS").is_none_or(|v| v != "0")
}

/// An open GPU. The order of its fields is that in which they go.
pub struct Cuda {
    found: Found,
    staging: Staging,
    /// Images that were loaded, by the address of their table, and their kernels by number.
    modules: HashMap<usize, (sys::CUmodule, HashMap<u32, sys::CUfunction>)>,
    free: HashMap<usize, Vec<u64>>,
    /// Classes of blocks in use.
    live: HashMap<u64, usize>,
    counters: Counters,
    /// Nanoseconds that work took since somebody asked, if it is measured.
    took: Option<u64>,
    measures: bool,
    stream: Stream,
    context: Context,
}

/// An error of the driver. After those of the first list the device itself is no more there; after one of a kernel's the
/// context is of no use either, but another start of the program finds the device as it was.
fn error(e: DriverError) -> Error {
    use sys::CUresult as Code;
    match e.0 {
        Code::CUDA_ERROR_DEVICE_UNAVAILABLE
        | Code::CUDA_ERROR_ECC_UNCORRECTABLE
        | Code::CUDA_ERROR_NVLINK_UNCORRECTABLE
        | Code::CUDA_ERROR_CONTEXT_IS_DESTROYED
        | Code::CUDA_ERROR_DEINITIALIZED
        | Code::CUDA_ERROR_UNKNOWN => Error::Lost(text(e)),
        _ => Error::Refused(text(e)),
    }
}

fn of_kernel(name: &str, e: DriverError) -> Error {
    match error(e) {
        Error::Refused(text) => Error::Refused(format!("kernel {name}: {text}")),
        e => e,
    }
}

fn is_memory(e: DriverError) -> bool {
    e.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY
}

impl Cuda {
    /// The GPU of this number.
    pub fn open(number: u32) -> std::result::Result<Cuda, Missing> {
        let found = find(number)?;
        let open = || {
            let context = Context::retain(found.device)?;
            if found.pools {
                // the pool keeps what it has; we give it back when memory is short
                let mut all = u64::MAX;
                // SAFETY: the pool is the device's, and the attribute is a number of this size
                unsafe {
                    let pool = result::device::get_default_mem_pool(found.device)?;
                    let keep = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
                    result::mem_pool::set_attribute(pool, keep, (&raw mut all).cast())?;
                }
            }
            Ok((Stream::create()?, context))
        };
        let (stream, context) = open().map_err(|e| Missing::Device(text(e)))?;
        Ok(Cuda {
            found,
            staging: Staging::default(),
            modules: HashMap::new(),
            free: HashMap::new(),
            live: HashMap::new(),
            counters: Counters::default(),
            took: None,
            measures: false,
            stream,
            context,
        })
    }

    /// New memory of the driver's.
    fn system(&mut self, size: usize) -> std::result::Result<u64, DriverError> {
        self.counters.system += 1;
        // SAFETY: the context is current; what the driver gives is nobody's
        unsafe { if self.found.pools { result::malloc_async(self.stream.0, size) } else { result::malloc_sync(size) } }
    }

    /// Gives what is free back to the driver, and to the other programs on the device.
    fn give_back(&mut self) -> std::result::Result<(), DriverError> {
        for p in self.free.drain().flat_map(|(_, list)| list) {
            // SAFETY: it came from the driver; what still uses it stands before this in the stream
            unsafe { if self.found.pools { result::free_async(p, self.stream.0) } else { result::free_sync(p) } }?;
        }
        self.stream.synchronize()?;
        if self.found.pools {
            // SAFETY: the pool is the device's
            unsafe { result::mem_pool::trim_to(result::device::get_default_mem_pool(self.found.device)?, 0)? };
        }
        Ok(())
    }

    fn function(&mut self, kernel: &Kernel) -> Result<sys::CUfunction> {
        // SAFETY: the table's texts and images live as long as the program
        let (images, name) = unsafe { (slice(kernel.images, kernel.n_images), kernel.name.as_str()) };
        let (module, functions) = match self.modules.entry(kernel.images as usize) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert((load(images, self.found.capability)?, HashMap::new())),
        };
        if let Some(f) = functions.get(&kernel.id) {
            return Ok(*f);
        }
        let symbol = CString::new(format!("k{}", kernel.id)).unwrap_or_default();
        // SAFETY: the module is loaded
        let f = unsafe { result::module::get_function(*module, symbol) };
        let f = f.map_err(|e| of_kernel(name, e))?;
        functions.insert(kernel.id, f);
        Ok(f)
    }

    fn prepare(&mut self, kernel: &Kernel, range: i64) -> Result<Start> {
        let threads = i64::from(kernel.threads);
        let wanted = if kernel.together != 0 { range } else { (range + threads - 1) / threads };
        let blocks = wanted.min(BLOCKS_EACH * self.found.multiprocessors) as u32;
        Ok(Start { function: self.function(kernel)?, blocks })
    }
}

/// What a launch needs of a kernel.
struct Start {
    function: sys::CUfunction,
    blocks: u32,
}

/// The addresses of a kernel's parameters: its arguments, and the range that it runs over.
fn parameters(kernel: &Kernel, args: *const u64, range: &i64) -> Vec<*mut c_void> {
    let mut params: Vec<*mut c_void> =
        (0..kernel.n_params as usize).map(|i| args.wrapping_add(i).cast_mut().cast()).collect();
    params.push(std::ptr::from_ref(range).cast_mut().cast());
    params
}

/// Loads the best of the images that the driver takes: made for the newest GPU, and machine code before assembly.
fn load(images: &[Image], capability: i32) -> Result<sys::CUmodule> {
    let mut fit: Vec<&Image> = images.iter().filter(|i| i.runs_on(capability as u32)).collect();
    fit.sort_by_key(|i| std::cmp::Reverse((i.capability, i.exact, i.kind)));
    let mut refused = None;
    for image in fit {
        // SAFETY: an image is a whole one, and assembly has a zero behind it
        match unsafe { result::module::load_data(image.data.ptr.cast()) } {
            Ok(module) => return Ok(module),
            Err(e) => refused = refused.or(Some(error(e))),
        }
    }
    Err(refused.unwrap_or_else(|| {
        let version = format!("{}.{}", capability / 10, capability % 10);
        Error::Refused(format!("the program has no kernels for GPUs whose instructions are of version {version}"))
    }))
}

impl Device for Cuda {
    fn alloc(&mut self, bytes: usize) -> Result<*mut u8> {
        let class = class_of(bytes).ok_or(Error::Memory(bytes))?;
        let size = class_bytes(class);
        let p = match self.free.get_mut(&class).and_then(Vec::pop) {
            Some(p) => p,
            None => self.system(size).map_err(|e| if is_memory(e) { Error::Memory(bytes) } else { error(e) })?,
        };
        self.live.insert(p, class);
        self.counters.blocks += 1;
        self.counters.live_bytes += size;
        self.counters.peak_bytes = self.counters.peak_bytes.max(self.counters.live_bytes);
        Ok(p as *mut u8)
    }

    fn free(&mut self, ptr: *mut u8) {
        if let Some(class) = self.live.remove(&(ptr as u64)) {
            self.counters.live_bytes -= class_bytes(class);
            self.free.entry(class).or_default().push(ptr as u64);
        }
    }

    fn free_all(&mut self) {
        let mut all: Vec<u64> = self.live.keys().copied().collect();
        all.sort_unstable();
        for p in all {
            self.free(p as *mut u8);
        }
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn read(&mut self, to: &mut [u8], from: *const u8) -> Result<()> {
        self.staging.read(&self.stream, to, from as u64).map_err(error)
    }

    fn write(&mut self, to: *mut u8, from: &[u8]) -> Result<()> {
        self.staging.write(&self.stream, to as u64, from).map_err(error)
    }

    fn copy(&mut self, to: *mut u8, from: *const u8, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        if self.measures {
            return self.timed(&Op::Copy { to, from, bytes });
        }
        // SAFETY: generated code copies between what it allocated
        unsafe { result::memcpy_dtod_async(to as u64, from as u64, bytes, self.stream.0) }.map_err(error)
    }

    fn zero(&mut self, to: *mut u8, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        if self.measures {
            return self.timed(&Op::Zero { to, bytes });
        }
        // SAFETY: generated code clears what it allocated
        unsafe { result::memset_d8_async(to as u64, 0, bytes, self.stream.0) }.map_err(error)
    }

    unsafe fn launch(&mut self, kernel: &Kernel, args: *const u64, range: i64) -> Result<()> {
        if self.measures {
            // SAFETY: by contract there are as many
            let args = unsafe { slice(args, kernel.n_params.into()) };
            return self.timed(&Op::Launch { kernel, args: args.into(), range });
        }
        let Start { function, blocks } = self.prepare(kernel, range)?;
        let mut params = parameters(kernel, args, &range);
        let (grid, block) = ((blocks, 1, 1), (kernel.threads, 1, 1));
        // SAFETY: the parameters are the kernel's, each in a slot that is at least as large; the driver copies them
        let result = unsafe { result::launch_kernel(function, grid, block, 0, self.stream.0, &mut params) };
        // SAFETY: the table's texts live as long as the program
        result.map_err(|e| of_kernel(unsafe { kernel.name.as_str() }, e))
    }

    fn measure(&mut self) {
        self.measures = true;
    }

    fn took(&mut self) -> Option<u64> {
        self.took.take()
    }

    fn finish(&mut self) -> Result<()> {
        self.stream.synchronize().map_err(error)
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // whoever drops it may be another thread; of a device that failed nothing can be asked
        let _ = self.context.make_current();
        // nothing may be given back that a copy or a kernel still uses
        let _ = self.stream.synchronize();
        self.free_all();
        let _ = self.give_back();
        for (module, _) in self.modules.values() {
            // SAFETY: loaded by `function`, and no kernel of it is started any more
            let _ = unsafe { result::module::unload(*module) };
        }
    }
}
