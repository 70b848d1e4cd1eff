//! A profile as trace events, as Perfetto and Chrome's tracing page read them.
//!
//! https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU: complete events (`ph: X`) with times in
//! microseconds; track 0 is the program's own thread, with `main` around everything, then the kernels and calls, and within
//! a kernel the caller's part of it; the other tracks are the threads that help.

use std::io::{Result, Write};

use super::{Event, Events, Kind, Recorder, shape_text};

impl Recorder {
    /// Writes the calls that were kept.
    pub fn write_trace(&self, out: &mut impl Write, program: &str) -> Result<()> {
        let none = Events::default();
        let events = self.events.as_ref().unwrap_or(&none);
        write!(out, "{{\"displayTimeUnit\":\"ms\",\"otherData\":{{\"program\":{}", text(program))?;
        write!(out, ",\"threads\":{},\"dropped\":{}}},\n\"traceEvents\":[\n", self.threads, events.dropped)?;
        let meta = |kind: &str, tid: usize, name: &str| {
            format!("{{\"name\":\"{kind}\",\"ph\":\"M\",\"pid\":1,\"tid\":{tid},\"args\":{{\"name\":{}}}}}", text(name))
        };
        writeln!(out, "{},", meta("process_name", 0, &format!("tdl run {program}")))?;
        writeln!(out, "{},", meta("thread_name", 0, "main"))?;
        for t in 1..events.spans.len() {
            writeln!(out, "{},", meta("thread_name", t, &format!("thread {t}")))?;
        }
        write!(out, "{}", complete("main", "program", 0, [0, self.wall], "{}"))?;
        let own = events.spans.first().map_or(&[][..], |s| s);
        let mut parts = own.iter().peekable();
        for e in &events.list {
            write!(out, ",\n{}", self.event(events, e))?;
            while let Some((start, end)) = parts.next_if(|(start, _)| *start <= e.end) {
                if *start >= e.start {
                    let end = (*end).min(e.end);
                    write!(out, ",\n{}", complete(&self.name(e), "part", 0, [*start, end], "{}"))?;
                }
            }
        }
        for (t, spans) in events.spans.iter().enumerate().skip(1) {
            for (start, end) in spans {
                let after = events.list.partition_point(|e| e.start <= *start);
                let within = events.list[..after].last().filter(|e| *start <= e.end);
                let name = within.map_or_else(|| "kernel".into(), |e| self.name(e));
                write!(out, ",\n{}", complete(&name, "part", t, [*start, *end], "{}"))?;
            }
        }
        writeln!(out, "\n]}}")
    }

    /// `gemm (train.tdl:12)`.
    fn name(&self, e: &Event) -> String {
        let task = &self.tasks[e.task as usize];
        if task.file.is_empty() {
            return task.name.clone();
        }
        let file = std::path::Path::new(&task.file).file_name().map_or("".into(), |f| f.to_string_lossy());
        format!("{} ({file}:{})", task.name, task.line)
    }

    fn event(&self, events: &Events, e: &Event) -> String {
        let task = &self.tasks[e.task as usize];
        let shape = &events.shapes[e.shape as usize];
        let mut args = format!("{{\"line\":{}", text(&task.source));
        if !shape.dims.is_empty() {
            args.push_str(&format!(",\"shape\":{}", text(&shape_text(&shape.dims))));
        }
        let seconds = (e.end - e.start).max(1) as f64 / 1e9;
        for (name, rate, count) in [("flops", "GFLOP/s", shape.flops), ("bytes", "GB/s", shape.bytes)] {
            if count > 0 {
                args.push_str(&format!(",\"{name}\":{count}"));
            }
            if count > 0 && task.kind == Kind::Kernel {
                args.push_str(&format!(",\"{rate}\":{:.3}", count as f64 / seconds / 1e9));
            }
        }
        args.push('}');
        complete(&self.name(e), task.kind.name(), 0, [e.start, e.end], &args)
    }
}

fn complete(name: &str, category: &str, tid: usize, [start, end]: [u64; 2], args: &str) -> String {
    // microseconds with the nanoseconds as decimals
    let us = |n: u64| format!("{}.{:03}", n / 1000, n % 1000);
    format!(
        "{{\"name\":{},\"cat\":\"{category}\",\"ph\":\"X\",\"ts\":{},\"dur\":{},\"pid\":1,\"tid\":{tid},\"args\":{args}}}",
        text(name),
        us(start),
        us(end.saturating_sub(start))
    )
}

/// A JSON string.
fn text(s: &str) -> String {
    let mut out = String::from("\"");
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::recorder;

    #[test]
    fn events_in_order_with_their_counts() {
        let mut out = Vec::new();
        recorder(true).write_trace(&mut out, "dir/a \"b\".tdl").expect("memory takes it");
        let text = String::from_utf8(out).expect("text");
        for part in [
            r#""program":"dir/a \"b\".tdl""#,
            r#"{"name":"main","cat":"program","ph":"X","ts":0.000,"dur":1.000,"pid":1,"tid":0,"args":{}}"#,
            r#"{"name":"gemm (a.tdl:3)","cat":"kernel","ph":"X","ts":0.100,"dur":0.200,"pid":1,"tid":0,"args":{"line":"let x3 = gemm","shape":"2×3×4","flops":4000,"GFLOP/s":20.000,"bytes":400,"GB/s":2.000}}"#,
            r#""name":"print (a.tdl:6)","cat":"printing""#,
        ] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }
}
