//! A profile as a table: source lines by their time, under each its kernels, and at the end what the host did besides.

use std::fmt::Write;

use super::{Kind, Limits, Recorder, Total, shape_text};

/// How a table is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The program, as the user calls it.
    pub program: String,
    /// Where the kernels ran, if not on the processor.
    pub device: Option<String>,
    /// What the machine can do, if that is known.
    pub limits: Option<Limits>,
    /// Columns of the terminal; none: lines are as long as they are.
    pub width: Option<usize>,
    pub color: bool,
}

/// A kernel of a line.
struct Row {
    name: String,
    total: Total,
    double: bool,
}

/// A line of the source with its kernels.
struct Line<'r> {
    place: String,
    source: &'r str,
    nanos: u64,
    rows: Vec<Row>,
}

/// What there is room for beside a kernel's name.
#[derive(Clone, Copy)]
struct Columns {
    rates: bool,
    limits: Option<Limits>,
}

impl Columns {
    fn of(shown: &Shown) -> Columns {
        let room = |columns: usize| shown.width.is_none_or(|w| w >= columns);
        Columns { rates: room(76), limits: shown.limits.filter(|_| room(92)) }
    }
}

/// Lines that are shown whatever their share, and at most; and the share from which others are.
const FIRST: usize = 5;
const MOST: usize = 40;
const SHARE: f64 = 0.005;
/// Kernels of a line that are shown in any case.
const FIRST_KERNELS: usize = 1;

impl Recorder {
    /// The table.
    pub fn table(&self, shown: &Shown) -> String {
        let (bold, dim, off) = if shown.color { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        let mut out = Out { text: String::new(), width: shown.width };
        let place = match &shown.device {
            Some(device) => device.clone(),
            None => count(self.threads as u64, "thread"),
        };
        out.line(&format!("{bold}{}{off}: {} on {place}", shown.program, duration(self.wall as f64)));
        if let Some(l) = shown.limits {
            out.line(&format!(
                "The limits here: {:.0} GFLOP/s in f32, {:.0} in f64; {:.0} GB/s.",
                l.f32 / 1e9,
                l.f64 / 1e9,
                l.bytes / 1e9
            ));
        }
        let columns = Columns::of(shown);
        let percent = if columns.limits.is_some() { "     %" } else { "" };
        let rates =
            if columns.rates { format!(" {:>8}{percent} {:>7}{percent}", "GFLOP/s", "GB/s") } else { String::new() };
        out.line("");
        out.line(&format!("{bold}{:>10} {:>7} {:>9} {:>9}{rates}  kernel{off}", "time ms", "share", "calls", "mean"));
        let lines = self.lines();
        let kernels: u64 = lines.iter().map(|l| l.nanos).sum();
        let mut rest = (0, 0);
        for (i, l) in lines.iter().enumerate() {
            if i >= MOST || i >= FIRST && self.share(l.nanos) < SHARE {
                rest = (rest.0 + 1, rest.1 + l.nanos);
                continue;
            }
            let source = if l.source.is_empty() { String::new() } else { format!("  {dim}{}{off}", l.source) };
            out.line(&format!("{bold}{}  {}{off}{source}", self.amount(l.nanos), l.place));
            let mut small = (0, 0);
            for (k, row) in l.rows.iter().enumerate() {
                if k >= FIRST_KERNELS && self.share(row.total.nanos) < SHARE {
                    small = (small.0 + 1, small.1 + row.total.nanos);
                } else {
                    out.line(&self.row(row, columns));
                }
            }
            if small.0 > 0 {
                out.line(&format!("{}  … {}", self.amount(small.1), count(small.0, "more kernel")));
            }
        }
        if rest.0 > 0 {
            out.line(&format!("{bold}{}{off}  … {}", self.amount(rest.1), count(rest.0, "more line")));
        }
        out.line("");
        out.line(&format!("{}  kernels", self.amount(kernels)));
        let mut used = kernels;
        for kind in [Kind::Allocation, Kind::Printing, Kind::Files] {
            let (calls, nanos) = self.sum(kind);
            if calls > 0 {
                out.line(&format!("{}  {}, {}", self.amount(nanos), kind.name(), count(calls, "call")));
            }
            used += nanos;
        }
        out.line(&format!("{}  control flow and scalars on the host", self.amount(self.wall.saturating_sub(used))));
        out.line(&format!("{bold}{}  in all{off}", self.amount(self.wall)));
        let dropped = self.events.as_ref().map_or(0, |e| e.dropped);
        if dropped > 0 {
            out.line(&format!("The trace ends early: {} did not fit in it.", count(dropped, "call")));
        }
        out.text
    }

    fn share(&self, nanos: u64) -> f64 {
        nanos as f64 / self.wall.max(1) as f64
    }

    /// The first two columns.
    fn amount(&self, nanos: u64) -> String {
        // short programs in microseconds
        let decimals = if self.wall < 10_000_000 { 3 } else { 2 };
        format!("{:>10.decimals$} {:>5.1} %", nanos as f64 / 1e6, 100.0 * self.share(nanos))
    }

    fn sum(&self, kind: Kind) -> (u64, u64) {
        let all = self.tasks.iter().zip(&self.totals).filter(|(t, _)| t.kind == kind);
        all.fold((0, 0), |(calls, nanos), (_, t)| (calls + t.calls, nanos + t.nanos))
    }

    /// Lines with kernels that have run, the longest first.
    fn lines(&self) -> Vec<Line<'_>> {
        let mut lines: Vec<Line<'_>> = Vec::new();
        for (task, total) in self.tasks.iter().zip(&self.totals) {
            if task.kind != Kind::Kernel || total.calls == 0 {
                continue;
            }
            let place = if task.file.is_empty() { "(no line)".into() } else { format!("{}:{}", task.file, task.line) };
            let at = lines.iter().position(|l| l.place == place).unwrap_or_else(|| {
                lines.push(Line { place, source: &task.source, nanos: 0, rows: Vec::new() });
                lines.len() - 1
            });
            let line = &mut lines[at];
            line.nanos += total.nanos;
            let name = match shape_text(&total.dims) {
                _ if total.varies => format!("{} of several shapes", task.name),
                shape if shape.is_empty() => task.name.clone(),
                shape => format!("{} {shape}", task.name),
            };
            match line.rows.iter_mut().find(|r| r.name == name && r.double == task.double) {
                Some(r) => {
                    r.total.calls += total.calls;
                    r.total.nanos += total.nanos;
                    r.total.flops = r.total.flops.wrapping_add(total.flops);
                    r.total.bytes = r.total.bytes.wrapping_add(total.bytes);
                }
                None => line.rows.push(Row { name, total: total.clone(), double: task.double }),
            }
        }
        lines.sort_by_key(|l| std::cmp::Reverse(l.nanos));
        for l in &mut lines {
            l.rows.sort_by_key(|r| std::cmp::Reverse(r.total.nanos));
        }
        lines
    }

    fn row(&self, row: &Row, columns: Columns) -> String {
        let t = &row.total;
        let seconds = t.nanos.max(1) as f64 / 1e9;
        let mean = duration(t.nanos as f64 / t.calls as f64);
        let mut out = format!("{} {:>9} {mean:>9}", self.amount(t.nanos), t.calls);
        let most = columns.limits.map(|l| (if row.double { l.f64 } else { l.f32 }, l.bytes));
        let rates = [(t.flops, 8, most.map(|m| m.0)), (t.bytes, 7, most.map(|m| m.1))];
        for (count, width, limit) in rates.into_iter().filter(|_| columns.rates) {
            let rate = count as f64 / seconds;
            let text = if count == 0 { "-".into() } else { format!("{:.1}", rate / 1e9) };
            let _ = write!(out, " {text:>width$}");
            if let Some(limit) = limit {
                let share = if count == 0 { String::new() } else { format!("{:.0}", 100.0 * rate / limit) };
                let _ = write!(out, " {share:>5}");
            }
        }
        out + "  " + &row.name
    }
}

fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// `1.23 ms` from nanoseconds.
fn duration(nanos: f64) -> String {
    match nanos {
        n if n < 999.5 => format!("{n:.0} ns"),
        n if n < 999_500.0 => format!("{} µs", three(n / 1e3)),
        n if n < 999_500_000.0 => format!("{} ms", three(n / 1e6)),
        n => format!("{} s", three(n / 1e9)),
    }
}

/// Three digits.
fn three(x: f64) -> String {
    let decimals = if x < 9.995 {
        2
    } else if x < 99.95 {
        1
    } else {
        0
    };
    format!("{x:.decimals$}")
}

/// Lines that end where the terminal does.
struct Out {
    text: String,
    width: Option<usize>,
}

impl Out {
    fn line(&mut self, line: &str) {
        self.text.push_str(&clipped(line, self.width));
        self.text.push('\n');
    }
}

/// The first `width` characters, the last of them `…` if there are more. Colours take no room and stay whole.
fn clipped(line: &str, width: Option<usize>) -> String {
    let Some(width) = width.map(|w| w.max(20)) else { return line.trim_end().to_owned() };
    let mut lengths = 0;
    let mut colour = false;
    let visible = |c: char, colour: &mut bool| {
        let was = *colour;
        *colour = c == '\x1b' || was && c != 'm';
        !was && c != '\x1b'
    };
    for c in line.chars() {
        lengths += usize::from(visible(c, &mut colour));
    }
    if lengths <= width {
        return line.trim_end().to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in line.chars() {
        let shows = visible(c, &mut colour);
        if shows && used + 1 == width {
            out.push('…');
        }
        if !shows || used + 1 < width {
            out.push(c);
        }
        used += usize::from(shows);
    }
    out
}

/// Columns of the terminal behind standard error.
#[cfg(unix)]
pub fn terminal_width() -> Option<usize> {
    #[repr(C)]
    #[derive(Default)]
    struct Size {
        rows: u16,
        columns: u16,
        x: u16,
        y: u16,
    }
    unsafe extern "C" {
        fn ioctl(fd: i32, request: std::ffi::c_ulong, ...) -> i32;
    }
    let request = if cfg!(any(target_os = "linux", target_os = "android")) { 0x5413 } else { 0x4008_7468 };
    let mut size = Size::default();
    // SAFETY: the request (TIOCGWINSZ) fills a structure of this layout, or fails
    let status = unsafe { ioctl(2, request, &mut size) };
    (status == 0 && size.columns > 0).then_some(usize::from(size.columns))
}

#[cfg(not(unix))]
pub fn terminal_width() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests::recorder;
    use super::*;

    fn shown(width: Option<usize>, color: bool) -> Shown {
        let limits = Some(Limits { f32: 1e11, f64: 5e10, bytes: 1e10 });
        Shown { program: "dir/a.tdl".into(), device: None, limits, width, color }
    }

    #[test]
    fn lines_kernels_and_the_host_add_up() {
        let text = recorder(false).table(&shown(None, false));
        let expected = "\
dir/a.tdl: 1.00 µs on 1 thread
The limits here: 100 GFLOP/s in f32, 50 in f64; 10 GB/s.

   time ms   share     calls      mean  GFLOP/s     %    GB/s     %  kernel
     0.000  45.0 %  dir/a.tdl:3  let x3 = gemm
     0.000  40.0 %         2    200 ns     20.0    20     2.0    20  gemm 2×3×4
     0.000   5.0 %         1     50 ns      0.2     0     2.0    20  map.add.k0 10
     0.000   5.0 %  dir/a.tdl:5  let x5 = rows.sum.k1
     0.000   5.0 %         2     25 ns      0.6     1    24.0   240  rows.sum.k1 of several shapes

     0.001  50.0 %  kernels
     0.000  10.0 %  printing, 1 call
     0.000  40.0 %  control flow and scalars on the host
     0.001 100.0 %  in all
";
        assert_eq!(text, expected, "{text}");
    }

    #[test]
    fn narrow_terminals_get_narrow_lines() {
        for color in [false, true] {
            let text = recorder(false).table(&shown(Some(40), color));
            for l in text.lines() {
                let mut plain = l.to_owned();
                for code in ["\x1b[1m", "\x1b[2m", "\x1b[0m"] {
                    plain = plain.replace(code, "");
                }
                assert!(plain.chars().count() <= 40, "{plain:?}");
                let on = l.matches("\x1b[1m").count() + l.matches("\x1b[2m").count();
                assert!(on == 0 || l.ends_with("\x1b[0m") || l.contains("\x1b[0m"), "{l:?}");
            }
            assert!(text.contains('…'));
        }
        // what is left out are rates, not names
        for (width, percent, rates) in [(100, true, true), (80, false, true), (60, false, false)] {
            let text = recorder(false).table(&shown(Some(width), false));
            assert!(text.contains("  gemm 2×3×4\n") && text.contains("  map.add.k0 10\n"), "{text}");
            assert_eq!((text.contains(" %    GB"), text.contains("  GFLOP/s ")), (percent, rates), "{text}");
        }
    }

    #[test]
    fn durations_have_three_digits() {
        for (nanos, text) in
            [(7.0, "7 ns"), (1234.0, "1.23 µs"), (99_960.0, "100 µs"), (5e8, "500 ms"), (1.5e9, "1.50 s")]
        {
            assert_eq!(duration(nanos), text);
        }
    }
}
