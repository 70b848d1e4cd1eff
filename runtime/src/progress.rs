//! A line that tells how far a long loop is: on a terminal only, a few times a second, after the first second.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Progress {
    started: Option<Instant>,
    shown: Option<Instant>,
    visible: bool,
    terminal: Option<bool>,
}

impl Progress {
    /// Iteration `i` of `n` is done.
    pub fn tick(&mut self, i: i64, n: i64) {
        if !*self.terminal.get_or_insert_with(|| std::io::stderr().is_terminal()) {
            return;
        }
        let now = Instant::now();
        if i == 0 {
            self.started = Some(now);
            self.shown = Some(now);
        }
        if i + 1 >= n {
            self.clear();
            return;
        }
        let (Some(started), Some(shown)) = (self.started, self.shown) else { return };
        if now - started < Duration::from_secs(1) || now - shown < Duration::from_millis(100) {
            return;
        }
        self.shown = Some(now);
        self.visible = true;
        let line = line(i + 1, n, (now - started).as_secs_f64() / i.max(1) as f64);
        let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
    }

    /// Removes the line, before something else is printed.
    pub fn clear(&mut self) {
        if self.visible {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
            self.visible = false;
        }
    }
}

/// `done` of `n` iterations of so many seconds.
fn line(done: i64, n: i64, seconds: f64) -> String {
    const WIDTH: usize = 30;
    let full = (done as f64 / n as f64 * WIDTH as f64) as usize;
    let bar = "█".repeat(full) + &"░".repeat(WIDTH - full);
    format!("{bar} {done}/{n}  {} left", duration(seconds * (n - done) as f64))
}

fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    if s >= 3600 { format!("{}h{:02}m", s / 3600, s / 60 % 60) } else { format!("{}:{:02}", s / 60, s % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_share_and_rest() {
        let text = line(25, 100, 0.4);
        assert!(text.ends_with("25/100  0:30 left"), "{text}");
        assert_eq!(duration(3700.0), "1h01m");
    }
}
