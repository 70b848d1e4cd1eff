//! Which GPUs there are, and what of the driver belongs to one that is open. Each thing is a guard, so that a step that fails
//! gives back what the steps before it took.

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

/// Why there is no GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No driver is installed.
    Driver,
    /// The driver is of this version of CUDA, which lacks what the runtime calls.
    Old { major: i32, minor: i32 },
    /// There is none of this number: the names of those that there are.
    Number { number: u32, names: Vec<String> },
    /// Its instructions are of this version, for which there is no code.
    Instructions(i32),
    /// What the driver says.
    Device(String),
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Missing::Driver => f.write_str("there is no NVIDIA driver (no library `libcuda.so`)"),
            Missing::Old { major, minor } => {
                write!(
                    f,
                    "its driver is of CUDA {major}.{minor}, and {}.{} is the oldest that will do",
                    OLDEST.0, OLDEST.1
                )
            }
            Missing::Number { names, .. } if names.is_empty() => f.write_str("the driver has no device"),
            Missing::Number { number, .. } => write!(f, "there is no device `cuda:{number}`"),
            Missing::Instructions(v) => write!(
                f,
                "its instructions are of version {}.{}, and {}.{} is the oldest that will do",
                v / 10,
                v % 10,
                CAPABILITY / 10,
                CAPABILITY % 10
            ),
            Missing::Device(text) => f.write_str(text),
        }
    }
}

impl Missing {
    /// The devices that there are, if another was asked for.
    pub fn others(&self) -> Option<String> {
        let Missing::Number { names, .. } = self else { return None };
        let list: Vec<String> = names.iter().enumerate().map(|(i, n)| format!("`cuda:{i}` ({n})")).collect();
        (!list.is_empty()).then(|| format!("there is {}", list.join(", ")))
    }
}

/// The oldest driver: the first that knows all instructions that programs are compiled to (PTX 8.0).
const OLDEST: (i32, i32) = (12, 0);

/// The oldest instructions that there is code for: those of Turing.
const CAPABILITY: i32 = 75;

/// A GPU that is there.
#[derive(Clone, Debug)]
pub struct Found {
    pub(super) device: sys::CUdevice,
    pub name: String,
    /// Version of the instructions that it has: 80 is 8.0.
    pub capability: i32,
    pub(super) multiprocessors: i64,
    /// Whether it has memory that is allocated in the order of a stream.
    pub(super) pools: bool,
}

pub(super) fn text(e: DriverError) -> String {
    match e.error_string() {
        Ok(s) => format!("the GPU's driver says: {}", s.to_string_lossy()),
        Err(_) => format!("the GPU's driver says: error {}", e.0 as u32),
    }
}

/// The GPU of this number among those that the driver shows; CUDA_VISIBLE_DEVICES chooses those. Nothing is opened.
pub fn find(number: u32) -> Result<Found, Missing> {
    use sys::CUdevice_attribute_enum as Attribute;
    // SAFETY: loading the driver's library runs its initialisers, which any program does that uses it
    if !unsafe { sys::is_culib_present() } {
        return Err(Missing::Driver);
    }
    let driver = |e| Missing::Device(text(e));
    let mut version = 0;
    // SAFETY: it may be called before all else, and writes the number
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(driver)?;
    let (major, minor) = (version / 1000, version % 1000 / 10);
    if (major, minor) < OLDEST {
        return Err(Missing::Old { major, minor });
    }
    result::init().map_err(driver)?;
    let count = u32::try_from(result::device::get_count().map_err(driver)?).unwrap_or(0);
    if number >= count {
        let name = |i: u32| result::device::get(i as i32).and_then(result::device::get_name).map_err(driver);
        return Err(Missing::Number { number, names: (0..count).map(name).collect::<Result<_, _>>()? });
    }
    let found = || {
        let device = result::device::get(number as i32)?;
        // SAFETY: the device is one of the driver's
        let attribute = |a| unsafe { result::device::get_attribute(device, a) };
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        Ok(Found {
            device,
            name: result::device::get_name(device)?,
            capability: 10 * major + minor,
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?.max(1).into(),
            pools: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? != 0,
        })
    };
    let found: Found = found().map_err(driver)?;
    if found.capability < CAPABILITY { Err(Missing::Instructions(found.capability)) } else { Ok(found) }
}

/// The device's own context, which is current on this thread.
pub(super) struct Context {
    device: sys::CUdevice,
    context: sys::CUcontext,
}

impl Context {
    pub fn retain(device: sys::CUdevice) -> Result<Context, DriverError> {
        // SAFETY: the device is one of the driver's
        let context = Context { device, context: unsafe { result::primary_ctx::retain(device) }? };
        context.make_current()?;
        Ok(context)
    }

    pub fn handle(&self) -> sys::CUcontext {
        self.context
    }

    pub fn make_current(&self) -> Result<(), DriverError> {
        // SAFETY: the context is retained
        unsafe { result::ctx::set_current(self.context) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once; what lived in it is gone
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// A stream of its own, which does not wait for the null stream: that one cannot be captured.
pub(super) struct Stream(pub sys::CUstream);

impl Stream {
    pub fn create() -> Result<Stream, DriverError> {
        result::stream::create(result::stream::StreamKind::NonBlocking).map(Stream)
    }

    pub fn synchronize(&self) -> Result<(), DriverError> {
        // SAFETY: the stream lives
        unsafe { result::stream::synchronize(self.0) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: created once, and used no more
        let _ = unsafe { result::stream::destroy(self.0) };
    }
}
