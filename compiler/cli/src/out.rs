//! Standard output and standard error of the commands. Nobody may be reading them, or their disk may be full: that is no bug
//! of the compiler.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes to standard output. Without a reader the process ends; on another error it says so and ends with 2.
pub fn put(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let Err(e) = out.write_fmt(text).and_then(|()| out.flush()) else { return };
    if e.kind() == ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    complain(format_args!("error: cannot write: {e}\n"));
    std::process::exit(2);
}

/// Writes to standard error, if it takes anything.
pub fn complain(text: Arguments<'_>) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_fmt(text);
}

macro_rules! say {
    ($($arg:tt)*) => { $crate::out::put(format_args!($($arg)*)) };
}

macro_rules! sayln {
    ($($arg:tt)*) => { $crate::out::put(format_args!("{}\n", format_args!($($arg)*))) };
}

macro_rules! complain {
    ($($arg:tt)*) => { $crate::out::complain(format_args!($($arg)*)) };
}

macro_rules! complainln {
    ($($arg:tt)*) => { $crate::out::complain(format_args!("{}\n", format_args!($($arg)*))) };
}
