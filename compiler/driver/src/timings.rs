//! How long each pass took, and what memory the program used.

use std::time::{Duration, Instant};

use tdl_runtime::Counters;

/// Named durations in the order they happened.
#[derive(Debug, Default)]
pub struct Timings {
    rows: Vec<(String, Duration)>,
    /// Of a program that has run.
    pub(crate) memory: Option<Counters>,
}

impl Timings {
    pub fn time<T>(&mut self, name: &str, f: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = f();
        self.add(name, start.elapsed());
        result
    }

    pub fn add(&mut self, name: &str, duration: Duration) {
        self.rows.push((name.to_owned(), duration));
    }

    /// Time of the passes alone: running the program is no pass.
    pub fn total(&self) -> Duration {
        self.rows.iter().filter(|(n, _)| n != "run").map(|(_, d)| *d).sum()
    }

    /// A table; rows that are indented by their name are parts of the row before them.
    pub fn table(&self) -> String {
        let width = self.rows.iter().map(|(n, _)| n.len()).max().unwrap_or(0).max(11);
        let mut out = format!("{:width$}  {:>10}\n", "pass", "ms");
        for (name, d) in &self.rows {
            out.push_str(&format!("{name:width$}  {:>10.3}\n", d.as_secs_f64() * 1e3));
        }
        out.push_str(&format!("{:width$}  {:>10.3}\n", "compile", self.total().as_secs_f64() * 1e3));
        if let Some(m) = self.memory {
            out.push_str(&format!(
                "{:width$}  {:>10.3}  MB in tensors at once\n",
                "peak memory",
                m.peak_bytes as f64 / 1e6
            ));
            out.push_str(&format!("{:width$}  {:>10}  blocks asked of the system\n", "allocations", m.system));
        }
        out
    }
}
