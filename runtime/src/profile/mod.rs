//! What a profiled program records: time, arithmetic and bytes of each kernel and call, and on request each single one.

mod clock;
pub mod limits;
mod table;
mod trace;

use std::collections::HashMap;

use crate::abi;
use crate::pool::{Pool, Span};
pub use clock::Clock;
pub use limits::Limits;
pub use table::{Shown, terminal_width};

/// Calls that are kept one by one for a trace; later ones are only added up.
const MAX_EVENTS: usize = 1_000_000;

/// What time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Kernel,
    Allocation,
    Printing,
    Files,
}

impl Kind {
    fn from_code(code: u32) -> Kind {
        match code {
            0 => Kind::Kernel,
            1 => Kind::Allocation,
            2 => Kind::Printing,
            _ => Kind::Files,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Kernel => "kernel",
            Kind::Allocation => "allocation",
            Kind::Printing => "printing",
            Kind::Files => "files and texts",
        }
    }
}

/// A launch or call at its place in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub name: String,
    pub kind: Kind,
    /// Computes in f64.
    pub double: bool,
    /// Empty where there is no source.
    pub file: String,
    pub line: u32,
    pub source: String,
}

impl Task {
    /// The tasks of a profiled program.
    ///
    /// # Safety
    /// Both are tables of one loaded object.
    pub unsafe fn all(program: &abi::Program, profile: &abi::Profile) -> Vec<Task> {
        // SAFETY: by contract
        let (tasks, sites) = unsafe {
            (crate::start::slice(profile.tasks, profile.n_tasks), crate::start::slice(program.sites, program.n_sites))
        };
        let one = |t: &abi::Task| {
            let site = sites.get(t.site as usize);
            // SAFETY: by contract
            let text = |t: Option<abi::Text>| t.map_or(String::new(), |t| unsafe { t.as_str() }.to_owned());
            Task {
                name: text(Some(t.name)),
                kind: Kind::from_code(t.kind),
                double: t.double != 0,
                file: text(site.map(|s| s.file)),
                line: site.map_or(0, |s| s.line),
                source: text(site.map(|s| s.source)).trim().to_owned(),
            }
        };
        tasks.iter().map(one).collect()
    }
}

/// Sums over all calls of a task. Times are ticks while the program runs.
#[derive(Clone, Debug, Default)]
struct Total {
    calls: u64,
    nanos: u64,
    flops: u64,
    bytes: u64,
    /// Of the first call, and whether others had other ones.
    dims: Vec<i64>,
    varies: bool,
}

/// One call.
struct Event {
    task: u32,
    /// Index into `shapes`.
    shape: u32,
    start: u64,
    end: u64,
}

/// What calls of equal size have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Shape {
    task: u32,
    flops: u64,
    bytes: u64,
    dims: Box<[i64]>,
}

/// Calls one by one.
#[derive(Default)]
struct Events {
    list: Vec<Event>,
    shapes: Vec<Shape>,
    numbers: HashMap<Shape, u32>,
    /// The shape that each task had last.
    last: Vec<u32>,
    dropped: u64,
    spans: Vec<Vec<Span>>,
}

/// What a program records while it runs.
pub struct Recorder {
    clock: Clock,
    tasks: Vec<Task>,
    totals: Vec<Total>,
    events: Option<Events>,
    threads: usize,
    /// How long the program ran, when it has ended.
    wall: u64,
}

impl Recorder {
    /// `trace`: calls are kept one by one too.
    pub fn new(tasks: Vec<Task>, trace: bool, pool: &Pool) -> Recorder {
        let n = tasks.len();
        let events = trace.then(|| Events { last: vec![u32::MAX; n], ..Events::default() });
        let totals = vec![Total::default(); n];
        let clock = Clock::start();
        if trace {
            pool.watch(clock);
        }
        Recorder { clock, tasks, totals, events, threads: pool.size(), wall: 0 }
    }

    /// Ticks since the start.
    #[inline]
    pub fn now(&self) -> u64 {
        self.clock.ticks()
    }

    /// A call of `task` that began at `start` is done; `took`: the nanoseconds of a kernel that a device has measured, at the end of that time.
    pub fn record(&mut self, task: u32, start: u64, took: Option<u64>, flops: u64, bytes: u64, dims: &[i64]) {
        let end = self.now();
        let kernel = self.tasks.get(task as usize).is_some_and(|t| t.kind == Kind::Kernel);
        let start = match took.filter(|_| kernel) {
            Some(nanos) => start.max(end.saturating_sub((nanos as f64 / self.clock.nanos_per_tick()) as u64)),
            None => start,
        };
        let Some(total) = self.totals.get_mut(task as usize) else { return };
        if total.calls == 0 {
            total.dims = dims.to_vec();
        } else if !total.varies && *total.dims != *dims {
            total.varies = true;
        }
        total.calls += 1;
        total.nanos += end.saturating_sub(start);
        total.flops = total.flops.wrapping_add(flops);
        total.bytes = total.bytes.wrapping_add(bytes);
        if let Some(events) = &mut self.events {
            events.add(task, [start, end], flops, bytes, dims);
        }
    }

    /// The program has ended.
    pub fn finish(&mut self, pool: &Pool) {
        let (wall, scale) = (self.now(), self.clock.nanos_per_tick());
        let nanos = |ticks: u64| (ticks as f64 * scale) as u64;
        self.wall = nanos(wall);
        for t in &mut self.totals {
            t.nanos = nanos(t.nanos);
        }
        if let Some(events) = &mut self.events {
            for e in &mut events.list {
                (e.start, e.end) = (nanos(e.start), nanos(e.end));
            }
            events.spans = pool.spans();
            for (start, end) in events.spans.iter_mut().flatten() {
                (*start, *end) = (nanos(*start), nanos(*end));
            }
        }
    }
}

impl Events {
    fn add(&mut self, task: u32, [start, end]: [u64; 2], flops: u64, bytes: u64, dims: &[i64]) {
        if self.list.len() >= MAX_EVENTS {
            self.dropped += 1;
            return;
        }
        let last = self.last[task as usize];
        let same =
            self.shapes.get(last as usize).is_some_and(|s| (s.flops, s.bytes) == (flops, bytes) && *s.dims == *dims);
        let shape = if same { last } else { self.shape(Shape { task, flops, bytes, dims: dims.into() }) };
        self.list.push(Event { task, shape, start, end });
    }

    fn shape(&mut self, shape: Shape) -> u32 {
        let task = shape.task as usize;
        let number = *self.numbers.entry(shape).or_insert_with_key(|s| {
            self.shapes.push(s.clone());
            self.shapes.len() as u32 - 1
        });
        self.last[task] = number;
        number
    }
}

/// `64×128`.
fn shape_text(dims: &[i64]) -> String {
    dims.iter().map(i64::to_string).collect::<Vec<_>>().join("×")
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn task(name: &str, kind: Kind, line: u32) -> Task {
        let source = format!("let x{line} = {name}");
        Task { name: name.into(), kind, double: false, file: "dir/a.tdl".into(), line, source }
    }

    /// Two kernels on line 3, one on line 5, some printing; 1000 ns in all.
    pub(super) fn recorder(trace: bool) -> Recorder {
        let tasks = vec![
            task("gemm", Kind::Kernel, 3),
            task("map.add.k0", Kind::Kernel, 3),
            task("rows.sum.k1", Kind::Kernel, 5),
            task("print", Kind::Printing, 6),
        ];
        let mut r = Recorder::new(tasks, trace, &Pool::new(1));
        for (task, start, end, flops, bytes, dims) in [
            (0, 100, 300, 4000, 400, &[2, 3, 4][..]),
            (1, 300, 350, 10, 100, &[10]),
            (0, 400, 600, 4000, 400, &[2, 3, 4]),
            (2, 600, 640, 20, 800, &[2, 10]),
            (2, 650, 660, 10, 400, &[1, 10]),
            (3, 700, 800, 0, 0, &[]),
        ] {
            let total = &mut r.totals[task as usize];
            let before = total.nanos;
            r.record(task, start, None, flops, bytes, dims);
            r.totals[task as usize].nanos = before + end - start;
            if let Some(last) = r.events.as_mut().and_then(|e| e.list.last_mut()) {
                last.end = end;
            }
        }
        r.wall = 1000;
        r
    }

    #[test]
    fn calls_add_up() {
        let r = recorder(true);
        let gemm = &r.totals[0];
        assert_eq!((gemm.calls, gemm.nanos, gemm.flops, gemm.bytes), (2, 400, 8000, 800));
        assert!(!gemm.varies && r.totals[2].varies);
        let events = r.events.as_ref().expect("a trace");
        assert_eq!(events.shapes.len(), 5, "equal sizes are kept once");
        assert_eq!(events.list.len(), 6);
    }
}
