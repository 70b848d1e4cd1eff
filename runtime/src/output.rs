//! Where `print` goes. A reader that takes nothing stops the program, but not its Ctrl-C.

use std::fmt::Arguments;
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
        flushed: Instant,
    },
    Capture(String),
}

impl Output {
    pub fn stdout() -> Output {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
        Output::Stdout { buffer: Vec::new(), terminal, flushed: Instant::now() }
    }

    /// Prints `text`; gives up with [`ErrorKind::Interrupted`] if the reader takes nothing and `stop` is set.
    pub fn write(&mut self, text: &str, stop: &AtomicU32) -> Result<()> {
        match self {
            Output::Capture(s) => {
                s.push_str(text);
                Ok(())
            }
            Output::Stdout { buffer, terminal, flushed } => {
                buffer.extend_from_slice(text.as_bytes());
                if *terminal || buffer.len() > 1 << 16 || flushed.elapsed() > FLUSH { self.flush(stop) } else { Ok(()) }
            }
        }
    }

    /// Hands on what waits, as [`Output::write`]; what could not be written is dropped.
    pub fn flush(&mut self, stop: &AtomicU32) -> Result<()> {
        match self {
            Output::Capture(_) => Ok(()),
            Output::Stdout { buffer, flushed, .. } => {
                *flushed = Instant::now();
                let mut out = std::io::stdout().lock();
                let mut pieces = buffer.chunks(PIECE);
                let result = pieces.try_for_each(|piece| {
                    while !room() {
                        if stop.load(Ordering::Relaxed) != 0 {
                            return Err(Error::from(ErrorKind::Interrupted));
                        }
                    }
                    out.write_all(piece).and_then(|()| out.flush())
                });
                buffer.clear();
                result
            }
        }
    }
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

    #[test]
    fn captured_text_needs_no_room() {
        let mut out = Output::Capture(String::new());
        out.write("a", &AtomicU32::new(1)).expect("there is room");
        out.flush(&AtomicU32::new(1)).expect("nothing waits");
        assert!(matches!(out, Output::Capture(s) if s == "a"));
    }
}
