//! Profiles of programs that `tdl run` runs: the machine's limits, the table, the trace file.

use std::ffi::c_void;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tdl_runtime::profile::{Limits, Recorder, Shown, Task, limits, terminal_width};
use tdl_runtime::{Ctx, FailureKind, abi};

use crate::{Device, Failure, Session};

/// A trace file to be. It stands beside its place under another name until it is whole, unless the place is no file (a pipe).
pub(crate) struct Trace {
    path: PathBuf,
    temporary: Option<PathBuf>,
    file: Option<File>,
}

impl Trace {
    /// Makes sure, before a program runs, that its trace can be written.
    pub(crate) fn create(path: &Path, color: bool) -> Result<Trace, Failure> {
        let failed = |e: std::io::Error| unwritable(path, &e.to_string(), color);
        let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
            return Err(unwritable(path, "it is a folder", color));
        };
        if path.exists() && !path.is_file() {
            let file = File::options().write(true).open(path).map_err(failed)?;
            return Ok(Trace { path: path.to_owned(), temporary: None, file: Some(file) });
        }
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(hidden);
        let file = File::create(&temporary).map_err(failed)?;
        Ok(Trace { path: path.to_owned(), temporary: Some(temporary), file: Some(file) })
    }

    fn write(mut self, recorder: &Recorder, shown: &Shown) -> Result<(), Failure> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let mut out = BufWriter::new(file);
        recorder
            .write_trace(&mut out, &shown.program)
            .and_then(|()| out.flush())
            .and_then(|()| self.temporary.as_ref().map_or(Ok(()), |t| std::fs::rename(t, &self.path)))
            .map_err(|e| unwritable(&self.path, &e.to_string(), shown.color))
    }
}

impl Drop for Trace {
    /// Where the trace is in place, nothing is left to remove.
    fn drop(&mut self) {
        if let Some(t) = &self.temporary {
            let _ = std::fs::remove_file(t);
        }
    }
}

fn unwritable(path: &Path, why: &str, color: bool) -> Failure {
    let message = format!("cannot write the trace `{}`: {why}", path.display());
    let failure = tdl_runtime::Failure::new(FailureKind::Io, message);
    // SAFETY: there is no site
    Failure::Run(unsafe { tdl_runtime::start::message(&failure, &[], tdl_runtime::start::Form::Text { color }) })
}

/// What a profiled run needs.
pub(crate) struct Profiler {
    tasks: Option<Vec<Task>>,
    trace: Option<Trace>,
    shown: Shown,
    /// Where the machine's limits are kept; none: they are measured each time.
    cache: Option<PathBuf>,
}

impl Session {
    /// `profile` and `program` are the tables of one loaded object.
    pub(crate) fn profiler(&self, profile: *const c_void, program: *const c_void, trace: Option<Trace>) -> Profiler {
        // SAFETY: the symbols are the tables of an object that `tdl_llvm::compile` made
        let tasks = unsafe { Task::all(&*program.cast::<abi::Program>(), &*profile.cast::<abi::Profile>()) };
        let name = self.sources.files().first().map_or(String::new(), |(path, _)| path.display().to_string());
        let device = match self.options.device {
            Device::Cpu | Device::Interp => None,
            Device::Sim => Some("the simulated GPU".to_owned()),
            Device::Cuda(number) => Some(format!("GPU {number}")),
        };
        let (width, color) = (terminal_width(), self.options.color);
        let shown = Shown { program: name, device, limits: None, width, color };
        Profiler { tasks: Some(tasks), trace, shown, cache: self.cache.dir().map(Path::to_owned) }
    }
}

impl Profiler {
    /// Begins to record.
    pub(crate) fn start(&mut self, ctx: &mut Ctx) {
        // on a GPU the processor's limits say nothing
        if self.shown.device.is_none() {
            self.shown.limits = Some(self.limits(ctx.pool.size()));
        }
        if let Some(d) = &mut ctx.device {
            d.device.measure();
        }
        let tasks = self.tasks.take().unwrap_or_default();
        ctx.profile = Some(Box::new(Recorder::new(tasks, self.trace.is_some(), &ctx.pool)));
    }

    /// The machine's limits for so many threads: from the cache, or measured now and kept there.
    fn limits(&self, threads: usize) -> Limits {
        let cpu = limits::cpu_name();
        let key = blake3::hash(format!("2 {cpu} {threads}").as_bytes()).to_hex();
        let path = self.cache.as_ref().map(|dir| dir.join(format!("limits-{}.txt", &key[..16])));
        let known = path.as_ref().and_then(|p| std::fs::read_to_string(p).ok());
        if let Some(limits) = known.as_deref().and_then(Limits::parse) {
            return limits;
        }
        let limits = Limits::measure(threads);
        if let (Some(path), Some(dir)) = (path, &self.cache) {
            // a cache that can't be written is none
            let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
            let text = format!("{cpu}\nthreads {threads}\n{}", limits.text());
            let _ = std::fs::create_dir_all(dir);
            if std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, &path)).is_err() {
                let _ = std::fs::remove_file(&temporary);
            }
        }
        limits
    }

    /// Prints the table to standard error and writes the trace.
    pub(crate) fn report(self, recorder: &Recorder) -> Result<(), Failure> {
        tdl_runtime::complain(format_args!("{}", recorder.table(&self.shown)));
        match self.trace {
            Some(trace) => trace.write(recorder, &self.shown),
            None => Ok(()),
        }
    }
}
