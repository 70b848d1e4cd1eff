//! Where `print` goes. A reader that takes nothing stops the program, but not its Ctrl-C.

use std::fmt::Arguments;
use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What a pipe waits for at most, if the program prints on.
const FLUSH: Duration = Duration::from_millis(200);

/// Where `print` goes.
pub enum Output {
    /// Standard output, through a buffer that is flushed after each text on a terminal, a few times a second elsewhere.
    Stdout {
        buffer: Vec<u8>,
        terminal: bool,
        /// A terminal opened again, for writes that never wait: Ctrl-C empties a terminal's buffer without waking who waits for room in it.
        direct: Option<File>,
        flushed: Instant,
    },
    Capture(String),
}

impl Output {
    pub fn stdout() -> Output {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
        Output::Stdout {
            buffer: Vec::new(),
            terminal,
            direct: terminal.then(reopened).flatten(),
            flushed: Instant::now(),
        }
    }

    /// Prints `text`; gives up with [`ErrorKind::Interrupted`] if the reader takes nothing and `stop` is set.
    pub fn write(&mut self, text: &str, stop: &AtomicU32) -> Result<()> {
        match self {
            Output::Capture(s) => {
                s.push_str(text);
                Ok(())
            }
            Output::Stdout { buffer, terminal, flushed, .. } => {
                buffer.extend_from_slice(text.as_bytes());
                if *terminal || buffer.len() > 1 << 16 || flushed.elapsed() > FLUSH { self.flush(stop) } else { Ok(()) }
            }
        }
    }

    /// Hands on what waits, as [`Output::write`]; what could not be written is dropped.
    pub fn flush(&mut self, stop: &AtomicU32) -> Result<()> {
        match self {
            Output::Capture(_) => Ok(()),
            Output::Stdout { buffer, direct, flushed, .. } => {
                *flushed = Instant::now();
                let result = match direct {
                    Some(file) => patiently(file, buffer, stop),
                    None => patiently(&mut Whole(std::io::stdout().lock()), buffer, stop),
                };
                buffer.clear();
                result
            }
        }
    }
}

/// Writes when there is room, until all is written or `stop` is set while there is none.
fn patiently(out: &mut impl Write, mut bytes: &[u8], stop: &AtomicU32) -> Result<()> {
    while !bytes.is_empty() {
        if !room() {
            if stop.load(Ordering::Relaxed) != 0 {
                return Err(Error::from(ErrorKind::Interrupted));
            }
            continue;
        }
        match out.write(&bytes[..bytes.len().min(PIECE)]) {
            Ok(0) => return Err(Error::from(ErrorKind::WriteZero)),
            Ok(n) => bytes = &bytes[n..],
            // there is room, but not for the next character
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                if stop.load(Ordering::Relaxed) != 0 {
                    return Err(Error::from(ErrorKind::Interrupted));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// A buffered output that is flushed after each write.
struct Whole<W: Write>(W);

impl<W: Write> Write for Whole<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.write_all(bytes).and_then(|()| self.0.flush()).map(|()| bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}

/// Standard output, opened anew so that writes can be told not to wait; the one that was given is shared with other programs.
#[cfg(target_os = "linux")]
fn reopened() -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    const NONBLOCK_NOCTTY: i32 = 0o4000 | 0o400;
    File::options().write(true).custom_flags(NONBLOCK_NOCTTY).open("/proc/self/fd/1").ok()
}

#[cfg(not(target_os = "linux"))]
fn reopened() -> Option<File> {
    None
}

/// Writes to standard error, if that takes anything.
pub fn complain(text: Arguments<'_>) {
    let _ = std::io::stderr().lock().write_fmt(text);
}

/// Writes to standard output; the exit code. A reader that went away is no error.
pub fn put(text: &str) -> i32 {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            complain(format_args!("error: cannot write: {e}\n"));
            2
        }
        Ok(()) | Err(_) => 0,
    }
}

/// What a pipe that has room takes without waiting (`PIPE_BUF`).
const PIECE: usize = 4096;

/// Whether standard output takes a piece now; waits a moment for it.
#[cfg(unix)]
fn room() -> bool {
    use std::os::fd::AsRawFd;

    #[repr(C)]
    struct PollFd {
        fd: i32,
        events: i16,
        revents: i16,
    }
    unsafe extern "C" {
        fn poll(fds: *mut PollFd, n: std::ffi::c_ulong, timeout: i32) -> i32;
    }
    const POLLOUT: i16 = 4;
    const MILLISECONDS: i32 = 50;
    let mut fd = PollFd { fd: std::io::stdout().as_raw_fd(), events: POLLOUT, revents: 0 };
    // SAFETY: one descriptor, which lives through the call
    let ready = unsafe { poll(&mut fd, 1, MILLISECONDS) };
    // what poll cannot wait for (an error, a closed descriptor) the write reports
    ready > 0 || ready < 0 && Error::last_os_error().kind() != ErrorKind::Interrupted
}

#[cfg(not(unix))]
fn room() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes two bytes now and then.
    struct Slow(Vec<u8>, bool);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(Error::from(ErrorKind::WouldBlock));
            }
            self.0.extend(&bytes[..bytes.len().min(2)]);
            Ok(bytes.len().min(2))
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_is_written_in_parts_unless_it_is_to_stop() {
        let mut out = Slow(Vec::new(), false);
        patiently(&mut out, b"seven..", &AtomicU32::new(0)).expect("written");
        assert_eq!(out.0, b"seven..");
        let stopped = patiently(&mut Slow(Vec::new(), false), b"x", &AtomicU32::new(1));
        assert_eq!(stopped.expect_err("stopped").kind(), ErrorKind::Interrupted);
    }

    #[test]
    fn captured_text_needs_no_room() {
        let mut out = Output::Capture(String::new());
        out.write("a", &AtomicU32::new(1)).expect("there is room");
        out.flush(&AtomicU32::new(1)).expect("nothing waits");
        assert!(matches!(out, Output::Capture(s) if s == "a"));
    }
}
