//! The state of one running program.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::device::{self, Attached, Device};
use crate::memory::{Counters, Memory};
pub use crate::output::Output;
use crate::pool::Pool;
use crate::profile::Recorder;
use crate::progress::Progress;

/// Generated code reads the first field and passes the rest on.
#[repr(C)]
pub struct Ctx {
    /// Not zero: stop at the next safepoint. At offset 0.
    pub interrupt: AtomicU32,
    pub memory: Memory,
    pub pool: Pool,
    pub output: Output,
    pub progress: Progress,
    pub started: Instant,
    /// Where tensors are; none: in `memory`.
    pub device: Option<Attached>,
    /// What a profiled program records, if somebody wants it.
    pub profile: Option<Box<Recorder>>,
    failure: Option<Failure>,
    // a handle points to a Box<str> that must not move
    #[expect(clippy::vec_box, reason = "handles are addresses of the inner boxes")]
    texts: Vec<Box<Box<str>>>,
}

/// Why a program stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
    /// Index into the program's sites.
    pub site: Option<u32>,
    pub notes: Vec<Note>,
}

/// What is said below a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub text: String,
    /// The place that it speaks of.
    pub site: Option<u32>,
}

impl Failure {
    /// One without a place.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), site: None, notes: Vec::new() }
    }

    pub fn at(self, site: u32) -> Failure {
        Failure { site: Some(site), ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The user's `assert`.
    Assert,
    Index,
    Shape,
    Division,
    /// A NaN, under `--trap-nan`.
    Nan,
    Memory,
    Io,
    Interrupted,
    /// A GPU that fails.
    Device,
    /// A GPU that is no more there.
    Lost,
    /// The reader of standard output went away: no message.
    BrokenPipe,
}

impl FailureKind {
    /// From the index of the compiler's `AssertKind`.
    pub fn from_assert(kind: u32) -> FailureKind {
        match kind {
            1 => FailureKind::Index,
            2 => FailureKind::Shape,
            3 => FailureKind::Division,
            4 => FailureKind::Nan,
            5 => FailureKind::Memory,
            _ => FailureKind::Assert,
        }
    }

    /// The error code, `E07xx`.
    pub fn code(self) -> &'static str {
        match self {
            FailureKind::Assert => "E0701",
            FailureKind::Index => "E0702",
            FailureKind::Shape => "E0703",
            FailureKind::Division => "E0704",
            FailureKind::Memory => "E0705",
            FailureKind::Io => "E0706",
            FailureKind::Interrupted | FailureKind::BrokenPipe => "E0707",
            FailureKind::Nan => "E0708",
            FailureKind::Device => "E0709",
            FailureKind::Lost => "E0710",
        }
    }
}

impl Ctx {
    /// A context with a pool of `threads` threads.
    pub fn new(threads: usize, output: Output) -> Box<Ctx> {
        Box::new(Ctx {
            interrupt: AtomicU32::new(0),
            memory: Memory::default(),
            pool: Pool::new(threads),
            output,
            progress: Progress::default(),
            started: Instant::now(),
            device: None,
            profile: None,
            failure: None,
            texts: Vec::new(),
        })
    }

    /// From now on tensors are in the memory of a device.
    pub fn attach(&mut self, device: Box<dyn Device>) {
        self.device = Some(Attached::new(device));
    }

    /// Copies bytes to where tensors are.
    pub fn give(&mut self, bytes: &[u8]) -> device::Result<*mut u8> {
        if let Some(d) = &mut self.device {
            return d.give(bytes);
        }
        let p = self.memory.alloc(bytes.len()).ok_or(device::Error::Memory(bytes.len()))?;
        // SAFETY: `p` has room for `bytes`
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), p.as_ptr(), bytes.len()) };
        Ok(p.as_ptr())
    }

    /// How much memory tensors take.
    pub fn counters(&self) -> Counters {
        self.device.as_ref().map_or_else(|| self.memory.counters(), |d| d.device.counters())
    }

    /// What has been recorded, at the end of a profiled program.
    pub fn end_profile(&mut self) -> Option<Box<Recorder>> {
        let mut recorder = self.profile.take()?;
        recorder.finish(&self.pool);
        Some(recorder)
    }

    /// Waits for the device, if there is one. False: it has failed.
    pub fn finish(&mut self) -> bool {
        match self.device.as_mut().map_or(Ok(()), |d| d.device.finish()) {
            Ok(()) => true,
            Err(e) => {
                self.refuse(&e, None);
                false
            }
        }
    }

    /// Records a failure of the device, or of memory.
    pub fn refuse(&mut self, error: &device::Error, site: Option<u32>) {
        let failure = match &self.device {
            Some(d) => d.failure(error, site),
            None => Failure { site, ..Failure::new(error.kind(), error.to_string()) },
        };
        self.fail(failure);
    }

    /// Frees all tensors.
    pub fn free_all(&mut self) {
        self.memory.free_all();
        if let Some(d) = &mut self.device {
            d.free_all();
        }
    }

    /// Records a failure; the first one counts.
    pub fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    pub fn failed(&self) -> bool {
        self.failure.is_some()
    }

    /// The failure that ended the last call; the context is usable again. What the call allocated stays until the context goes
    /// or [`Memory::free_all`].
    pub fn take_failure(&mut self) -> Option<Failure> {
        self.interrupt.store(0, Ordering::Relaxed);
        self.failure.take()
    }

    /// A handle that lives as long as the context.
    pub fn keep_text(&mut self, text: String) -> *const c_void {
        self.texts.push(Box::new(text.into_boxed_str()));
        let last = self.texts.last().map_or(std::ptr::null(), |t| std::ptr::from_ref::<Box<str>>(t));
        last.cast()
    }

    /// The text behind a handle.
    ///
    /// # Safety
    /// The handle came from this context.
    pub unsafe fn text(&self, handle: u64) -> &str {
        // SAFETY: by contract the handle is the address of one of `texts`
        unsafe { (*(handle as *const Box<str>)).as_ref() }
    }
}
