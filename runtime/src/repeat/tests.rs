use super::*;

/// A machine that writes down what it is asked for. A kernel adds its second argument to the number at its first one.
#[derive(Default)]
struct Paper {
    log: Vec<String>,
    memory: Vec<u64>,
    held: bool,
    graphs: usize,
    /// Building, changing or starting a graph fails.
    broken: &'static str,
    /// Allocations that are refused.
    full: usize,
}

impl Paper {
    fn add(&mut self, op: &Op) {
        match op {
            Op::Launch { args, .. } => self.memory[args[0] as usize] += args[1],
            Op::Copy { to, from, .. } => self.memory[*to as usize] = self.memory[*from as usize],
            Op::Zero { to, .. } => self.memory[*to as usize] = 0,
        }
    }

    fn fails(&self, what: &str) -> Result<()> {
        if self.broken == what { Err(format!("no {what}").into()) } else { Ok(()) }
    }
}

impl Device for Paper {
    fn alloc(&mut self, bytes: usize) -> Result<*mut u8> {
        if self.full > 0 {
            self.full -= 1;
            return Err(Error::Memory(bytes));
        }
        Ok(std::ptr::null_mut())
    }
    fn free(&mut self, _ptr: *mut u8) {}
    fn free_all(&mut self) {}
    fn counters(&self) -> Counters {
        Counters::default()
    }
    fn read(&mut self, to: &mut [u8], from: *const u8) -> Result<()> {
        assert!(!self.held, "what is read was held back");
        self.log.push("read".into());
        to[0] = self.memory[from as usize] as u8;
        Ok(())
    }
    fn write(&mut self, to: *mut u8, from: &[u8]) -> Result<()> {
        assert!(!self.held, "what comes before was held back");
        self.memory[to as usize] = from[0].into();
        Ok(())
    }
    fn copy(&mut self, to: *mut u8, from: *const u8, bytes: usize) -> Result<()> {
        self.log.push("copy".into());
        self.add(&Op::Copy { to, from, bytes });
        Ok(())
    }
    fn zero(&mut self, to: *mut u8, bytes: usize) -> Result<()> {
        self.log.push("zero".into());
        self.add(&Op::Zero { to, bytes });
        Ok(())
    }
    unsafe fn launch(&mut self, kernel: &Kernel, args: *const u64, range: i64) -> Result<()> {
        self.fails("launch")?;
        self.log.push(format!("k{}", kernel.id));
        // SAFETY: the kernels here have two
        let args = unsafe { std::slice::from_raw_parts(args, 2) };
        self.add(&Op::Launch { kernel, args: args.into(), range });
        Ok(())
    }
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Machine for Paper {
    type Graph = Vec<Op>;
    unsafe fn build(&mut self, ops: &[Op]) -> Result<Vec<Op>> {
        self.fails("build")?;
        self.log.push(format!("build {}", ops.len()));
        self.graphs += 1;
        Ok(ops.to_vec())
    }
    unsafe fn change(&mut self, graph: &mut Vec<Op>, at: usize, op: &Op) -> Result<()> {
        self.fails("change")?;
        self.log.push(format!("change {at}"));
        graph[at] = op.clone();
        Ok(())
    }
    fn start(&mut self, graph: &Vec<Op>) -> Result<()> {
        self.fails("start")?;
        self.log.push(format!("start {}", graph.len()));
        graph.iter().for_each(|op| self.add(op));
        Ok(())
    }
    fn drop_graph(&mut self, _graph: Vec<Op>) {
        self.graphs -= 1;
    }
    fn trim(&mut self) -> Result<()> {
        assert!(!self.held, "memory that is given back was held");
        self.log.push("trim".into());
        Ok(())
    }
    fn hold(&mut self, on: bool) {
        self.held = on;
    }
}

fn paper(broken: &'static str) -> Repeating<Paper> {
    Repeating::new(Paper { memory: vec![0; 8], broken, ..Paper::default() }, true)
}

fn kernel(id: u32) -> &'static Kernel {
    let text = crate::abi::Text { ptr: std::ptr::null(), len: 0 };
    Box::leak(Box::new(Kernel {
        name: text,
        code: None,
        id,
        n_params: 2,
        threads: 1,
        together: 0,
        shared: 0,
        images: std::ptr::null(),
        n_images: 0,
    }))
}

/// The place of this number in the machine's memory.
fn at(i: usize) -> *mut u8 {
    std::ptr::without_provenance_mut(i)
}

fn run(r: &mut Repeating<Paper>, k: &Kernel, to: u64, x: u64, range: i64) {
    // SAFETY: the kernels here have two arguments
    unsafe { r.launch(k, [to, x].as_ptr(), range) }.expect("it runs");
}

/// The log since the last call.
fn log(r: &mut Repeating<Paper>) -> String {
    std::mem::take(&mut r.machine.log).join(" ")
}

#[test]
fn a_step_that_was_the_same_twice_is_a_graph() {
    let (mut r, k, l) = (paper(""), kernel(1), kernel(2));
    for i in 0..5 {
        r.segment(7, 1).expect("a place");
        run(&mut r, k, 0, 1, 10);
        r.zero(at(5), 4).expect("it runs");
        run(&mut r, l, 1, i, 10);
        run(&mut r, k, 0, 2, 10);
        r.copy(at(2), at(0), 4).expect("it runs");
    }
    r.segment(8, 1).expect("a place");
    let one = "k1 zero k2 k1 copy";
    assert_eq!(log(&mut r), format!("{one} {one} build 5 change 2 start 5 change 2 start 5 change 2 start 5"));
    assert_eq!(r.machine.memory[..3], [15, 10, 15]);
    assert_eq!(r.machine.graphs, 1);
}

#[test]
fn other_sizes_have_graphs_of_their_own() {
    let (mut r, k) = (paper(""), kernel(1));
    // as epochs of which the last step is smaller
    for step in 0..16 {
        r.segment(7, 1).expect("a place");
        for _ in 0..4 {
            run(&mut r, k, 0, 1, if step % 4 == 3 { 3 } else { 10 });
        }
    }
    r.segment(8, 1).expect("a place");
    let one = "k1 k1 k1 k1";
    let expected = [one, one, "build 4", "start 4", one, "start 4", "start 4", "start 4", one, "build 4"];
    let rest = ["start 4"; 8];
    assert_eq!(log(&mut r), [&expected[..], &rest[..]].concat().join(" "));
    assert_eq!(r.machine.memory[0], 64);
}

#[test]
fn what_begins_alike_and_ends_otherwise_starts_one_by_one() {
    let (mut r, k, l) = (paper(""), kernel(1), kernel(2));
    let step = |r: &mut Repeating<Paper>, kernels: &[&'static Kernel]| {
        r.segment(7, 1).expect("a place");
        kernels.iter().for_each(|k| run(r, k, 0, 1, 10));
        r.finish().expect("it waits");
        assert!(!r.machine.held);
        log(r)
    };
    let four = [k, k, k, k];
    assert_eq!(step(&mut r, &four), "k1 k1 k1 k1");
    assert_eq!(step(&mut r, &four), "k1 k1 k1 k1 build 4");
    assert_eq!(step(&mut r, &four), "start 4");
    // shorter, other, longer
    assert_eq!(step(&mut r, &[k, k]), "k1 k1");
    assert_eq!(step(&mut r, &[k, k, l, k]), "k1 k1 k2 k1");
    assert_eq!(step(&mut r, &[k, k, k, k, l]), "start 4 k2");
    assert_eq!(step(&mut r, &[k, k, l, k]), "k1 k1 k2 k1 build 4");
    assert_eq!(step(&mut r, &[k, k, l, k]), "start 4");
    assert_eq!(step(&mut r, &four), "start 4");
    assert_eq!(r.machine.memory[0], 4 + 4 + 4 + 2 + 4 + 5 + 4 + 4 + 4);
}

#[test]
fn what_the_host_reads_has_been_done() {
    let (mut r, k) = (paper(""), kernel(1));
    for i in 1..6u8 {
        r.segment(7, 1).expect("a place");
        (0..5).for_each(|_| run(&mut r, k, 0, 1, 10));
        let mut x = [0];
        r.read(&mut x, at(0)).expect("it is read");
        assert_eq!(x[0], 10 * i - 5);
        (0..5).for_each(|_| run(&mut r, k, 0, 1, 10));
        r.write(at(1), &[i]).expect("it is written");
    }
    let text = log(&mut r);
    assert!(text.ends_with("start 5 read start 5"), "{text}");
    assert_eq!(r.machine.graphs, 2);
}

#[test]
fn loops_within_are_part_of_an_iteration_unless_that_is_too_long() {
    for (rounds, expected) in [(3, "start 18"), (LONGEST, "start 6")] {
        let (mut r, k) = (paper(""), kernel(1));
        for _ in 0..3 {
            r.segment(1, 1).expect("a place");
            for _ in 0..rounds {
                r.segment(2, 2).expect("a place");
                (0..6).for_each(|_| run(&mut r, k, 0, 1, 10));
            }
            r.segment(3, 2).expect("a place");
        }
        r.segment(4, 1).expect("a place");
        assert!(log(&mut r).ends_with(expected));
        assert_eq!(r.machine.memory[0], 18 * rounds as u64);
    }
}

#[test]
fn without_graphs_work_starts_as_it_comes() {
    for (broken, on) in [("build", true), ("change", true), ("start", true), ("", false)] {
        let (mut r, k) = (paper(broken), kernel(1));
        r.on = on;
        for i in 0..40 {
            r.segment(7, 1).expect("a place");
            (0..4).for_each(|_| run(&mut r, k, 0, i, 10));
        }
        r.finish().expect("it ends");
        let text = log(&mut r);
        assert!(!text.contains("start"), "{text}");
        assert_eq!(r.machine.memory[0], 4 * 39 * 20, "{broken}");
        assert_eq!(r.machine.graphs, 0);
    }
}

#[test]
fn errors_of_what_was_held_back_are_told() {
    let (mut r, k) = (paper(""), kernel(1));
    for _ in 0..3 {
        r.segment(7, 1).expect("a place");
        (0..4).for_each(|_| run(&mut r, k, 0, 1, 10));
    }
    r.segment(7, 1).expect("a place");
    run(&mut r, k, 0, 1, 10);
    r.machine.broken = "launch";
    assert_eq!(r.read(&mut [0], at(0)), Err(Error::Refused("no launch".into())));
    assert!(!r.machine.held);
}

#[test]
fn memory_that_is_out_ends_all_graphs() {
    let (mut r, k) = (paper(""), kernel(1));
    for _ in 0..3 {
        r.segment(7, 1).expect("a place");
        (0..4).for_each(|_| run(&mut r, k, 0, 1, 10));
    }
    r.segment(7, 1).expect("a place");
    run(&mut r, k, 0, 1, 10);
    log(&mut r);
    r.machine.full = 1;
    assert!(r.alloc(10).is_ok());
    assert_eq!((log(&mut r).as_str(), r.machine.graphs), ("k1 trim", 0));
    r.machine.full = 2;
    assert_eq!(r.alloc(10), Err(Error::Memory(10)));
}

#[test]
fn what_never_is_the_same_is_no_more_looked_at() {
    let (mut r, k) = (paper(""), kernel(1));
    for i in 0..100 {
        r.segment(7, 1).expect("a place");
        (0..4).for_each(|_| run(&mut r, k, 0, 1, i));
    }
    assert!(matches!(r.here.as_ref().map(|h| &h.state), Some(State::Passes)));
    assert_eq!(r.machine.memory[0], 400);
}
