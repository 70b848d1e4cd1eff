//! `tdl bench`: the `bench` blocks of a file.
//!
//! A block is a compiled function whose result is the block's value, and what it computes with are its parameters
//! ([`inputs`]), so that nothing of it can be optimised away. It is
//! called until it is warm, then for a while; the median counts, and the middle half of the times says how far to trust it.

mod inputs;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tdl_elaborate::Roots;
use tdl_ir::interp::Value;

use crate::call::{Callable, Outcome};
use crate::{Failure, Session};

/// What to measure, and how to report.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Only benchmarks whose name contains this.
    pub filter: Option<String>,
    /// How long each is measured; a tenth of it warms up.
    pub time: Duration,
    /// Measurements to compare with.
    pub baseline: Option<Vec<Measure>>,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// One measurement. Times are in seconds per call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    pub file: String,
    pub name: String,
    /// The value of the block's variable.
    pub n: Option<i64>,
    pub median: f64,
    /// The bounds of the middle half.
    pub quartiles: (f64, f64),
    pub min: f64,
    pub runs: usize,
}

/// A measurement as JSON, with what it is compared with.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    measure: &'a Measure,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<f64>,
    /// `median / baseline - 1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<f64>,
}

/// At least and at most so many calls are measured.
const RUNS: std::ops::RangeInclusive<usize> = 5..=100_000;

impl Session {
    /// Runs a file's benchmarks and reports them to `out`.
    pub fn bench(&mut self, path: &Path, options: &BenchOptions, out: &mut dyn Write) -> Result<Vec<Measure>, Failure> {
        let program = self.typed(path)?;
        let wanted: Vec<_> = program
            .benches
            .iter()
            .filter(|b| program.modules[program.fns[b.func.index()].module.index()].name.is_empty())
            .filter(|b| options.filter.as_ref().is_none_or(|f| b.name.contains(f)))
            .collect();
        let mut all = Vec::new();
        if wanted.is_empty() {
            return Ok(all);
        }
        let mut elaborated = self.elaborate(&program, &Roots::Fns(wanted.iter().map(|b| b.func).collect()))?;
        let funcs: Vec<_> = elaborated.fns.iter().map(|(_, f)| *f).collect();
        let inputs: Vec<_> = funcs.iter().map(|f| inputs::lift(elaborated.module.func_mut(*f))).collect();
        let module = self.optimize(&elaborated.module, &funcs)?;
        let callable = self.callable(module)?;
        for (k, bench) in wanted.iter().enumerate() {
            let takes = !program.fns[bench.func.index()].params.is_empty();
            let values: Vec<Option<i64>> =
                if takes { bench.over.iter().copied().map(Some).collect() } else { vec![None] };
            for n in values {
                let file = path.to_string_lossy().into_owned();
                let mut args: Vec<Value> = n.into_iter().map(Value::int).collect();
                for input in &inputs[k] {
                    args.extend(input.make(n));
                }
                if args.len() < inputs[k].len() + usize::from(takes) {
                    return Err(Failure::Usage(format!("`{}`: {} is no size", bench.name, n.unwrap_or(0))));
                }
                let measured = self.measure(&callable, k, &args, options)?;
                let measure = match measured {
                    Ok(times) => summary(file, &bench.name, n, times),
                    Err(Outcome::Failed { text, .. }) => return Err(Failure::Run(text)),
                    Err(Outcome::Interrupted | Outcome::Done(_)) => return Err(Failure::Interrupted),
                };
                report(&measure, options, out);
                all.push(measure);
            }
        }
        Ok(all)
    }

    /// Seconds of each call, or how a call ended that did not do its work.
    fn measure(
        &self,
        callable: &Callable,
        index: usize,
        args: &[Value],
        options: &BenchOptions,
    ) -> Result<Result<Vec<f64>, Outcome>, Failure> {
        let start = Instant::now();
        let mut calls = 0;
        let warm = self.repeat(callable, index, args, &mut |_| {
            calls += 1;
            calls < 2 || start.elapsed() < options.time / 10
        })?;
        if !matches!(warm, Outcome::Done(_)) {
            return Ok(Err(warm));
        }
        let start = Instant::now();
        let mut times = Vec::new();
        let outcome = self.repeat(callable, index, args, &mut |t| {
            times.push(t);
            times.len() < *RUNS.start() || (start.elapsed() < options.time && times.len() < *RUNS.end())
        })?;
        Ok(match outcome {
            Outcome::Done(_) => Ok(times),
            other => Err(other),
        })
    }
}

fn summary(file: String, name: &str, n: Option<i64>, mut times: Vec<f64>) -> Measure {
    times.sort_by(f64::total_cmp);
    let at = |q: f64| {
        let x = q * (times.len() - 1) as f64;
        let (i, part) = (x.floor() as usize, x.fract());
        times[i] + part * (times[(i + 1).min(times.len() - 1)] - times[i])
    };
    Measure {
        file,
        name: name.to_owned(),
        n,
        median: at(0.5),
        quartiles: (at(0.25), at(0.75)),
        min: times[0],
        runs: times.len(),
    }
}

fn report(m: &Measure, options: &BenchOptions, out: &mut dyn Write) {
    let old = options.baseline.iter().flatten().find(|b| b.name == m.name && b.n == m.n && b.file == m.file);
    let change = old.map(|b| m.median / b.median - 1.0);
    if options.json {
        let line = Line { measure: m, baseline: old.map(|b| b.median), change };
        let _ = writeln!(out, "{}", serde_json::to_string(&line).unwrap_or_default());
        return;
    }
    let label = match m.n {
        Some(n) => format!("{} n={n}", m.name),
        None => m.name.clone(),
    };
    let spread = (m.quartiles.1 - m.quartiles.0) / 2.0 / m.median.max(f64::MIN_POSITIVE) * 100.0;
    let median = seconds(m.median);
    let _ = write!(out, "bench {label:32} {median:>11}  ± {spread:.1} %  (min {}, {} runs)", seconds(m.min), m.runs);
    if let (Some(b), Some(change)) = (old, change) {
        // a change counts when the middle halves do not touch
        let verdict = match () {
            () if m.quartiles.1 < b.quartiles.0 => "faster",
            () if m.quartiles.0 > b.quartiles.1 => "slower",
            () => "no clear change",
        };
        let _ = write!(out, "  {:+.1} % against {}: {verdict}", change * 100.0, seconds(b.median));
    }
    let _ = writeln!(out);
}

/// A time with four digits and its unit.
fn seconds(s: f64) -> String {
    let (value, unit) = match s {
        s if s < 1e-6 => (s * 1e9, "ns"),
        s if s < 1e-3 => (s * 1e6, "µs"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    let digits = if value < 10.0 { 3 } else { usize::from(value < 100.0) + 1 };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quartiles() {
        let m = summary("f".into(), "b", Some(3), vec![4.0, 1.0, 2.0, 3.0, 5.0]);
        assert_eq!((m.median, m.quartiles, m.min, m.runs), (3.0, (2.0, 4.0), 1.0, 5));
        let m = summary("f".into(), "b", None, vec![1.0, 2.0]);
        assert_eq!(m.median, 1.5);
    }

    #[test]
    fn times_have_units() {
        assert_eq!(seconds(1.23456e-7), "123.5 ns");
        assert_eq!(seconds(1.23456e-5), "12.35 µs");
        assert_eq!(seconds(0.00123456), "1.235 ms");
        assert_eq!(seconds(2.0), "2.000 s");
    }
}
