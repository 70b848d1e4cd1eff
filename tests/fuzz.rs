//! The compiler on mutated programs: every program of the repository with tokens deleted, doubled, swapped, replaced or
//! taken from another one. Each mutant goes through all stages up to loop IR, with the verifier on; it may be wrong, but
//! there is no panic, no internal error, and an answer in time.
//!
//! The programs as they are go the same way.
//!
//! Without settings the same 400 mutants are tried each time; `FUZZ_SECONDS` makes it longer, `FUZZ_SEED` different. What fails is written to the target folder's `tmp/fuzz`.

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::root;
use tdl_driver::{Device, Failure, Options, Session, Stage};
use tdl_source::Style;
use tdl_syntax::tokens::tokens;

/// Longest time for one mutant of a program of a few hundred lines; the machine may be busy.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn mutants_of_real_programs() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (seconds, seed) = (number("FUZZ_SECONDS", 0), number("FUZZ_SEED", 1));
    // deep but legal programs need stack, as in the command
    let worker = std::thread::Builder::new().stack_size(256 << 20);
    let failures = worker.spawn(move || fuzz(Duration::from_secs(seconds), seed)).expect("a thread").join();
    let failures = failures.expect("the fuzzer itself does not panic");
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_program_passes_the_verifier() {
    let check = || {
        let broken = |p: &PathBuf| emit(p).map(|message| format!("{}: {message}", p.display()));
        sources().iter().filter_map(broken).collect::<Vec<_>>()
    };
    let worker = std::thread::Builder::new().stack_size(256 << 20).spawn(check).expect("a thread");
    let broken = worker.join().expect("no panic");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn fuzz(time: Duration, seed: u64) -> Vec<String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    std::fs::create_dir_all(&dir).expect("a folder to write to");
    let programs = corpus();
    assert!(programs.len() > 10, "the repository has programs");
    let words: Vec<Vec<String>> = programs.iter().map(|p| split(p)).collect();
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (start, mut failures, mut count) = (Instant::now(), Vec::new(), 0);
    let watch = Watch::start(dir.join(format!("hang-{seed}.tdl")));
    std::panic::set_hook(Box::new(|_| ()));
    while count < 400 || start.elapsed() < time {
        let text = mutant(&words, &mut random);
        count += 1;
        watch.begin(&text);
        let failure = compile(&dir.join(format!("mutant-{seed}.tdl")), &text);
        watch.end();
        if let Some(message) = failure {
            let kept = dir.join(format!("{seed}-{count}.tdl"));
            std::fs::write(&kept, &text).expect("a file to write to");
            failures.push(format!("{}: {message}", kept.display()));
        }
    }
    let _ = std::panic::take_hook();
    println!("{count} mutants");
    failures
}

fn compile(path: &Path, text: &str) -> Option<String> {
    std::fs::write(path, text).expect("a file to write to");
    emit(path)
}

/// All stages short of machine code; the message of what must not happen.
fn emit(path: &Path) -> Option<String> {
    let options = Options {
        opt_level: 2,
        threads: Some(1),
        cpu: "native".into(),
        cache: false,
        device: Device::Interp,
        verify: true,
        color: false,
        debug: false,
        trap_nan: false,
    };
    let run = || {
        let mut session = Session::new(options);
        let result = session.emit(path, Stage::Loops);
        match result {
            Err(failure @ Failure::Program(_)) => {
                failure.text(session.map(), Style { color: true, ascii: false }, false);
                failure.text(session.map(), Style::default(), true);
                None
            }
            Err(Failure::Internal(e)) => Some(e.to_string()),
            Err(Failure::Usage(_) | Failure::Run(_) | Failure::Interrupted) | Ok(_) => None,
        }
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(message) => message,
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            Some(format!("panic: {}", text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("?")))
        }
    }
}

/// Ends the process when one mutant takes too long: nothing else can.
struct Watch {
    /// Milliseconds since the start at which the current mutant began, plus one; 0 between mutants.
    began: Arc<AtomicU64>,
    text: Arc<Mutex<String>>,
    start: Instant,
}

impl Watch {
    fn start(kept: PathBuf) -> Watch {
        let watch = Watch { began: Arc::default(), text: Arc::default(), start: Instant::now() };
        let (began, text, start) = (Arc::clone(&watch.began), Arc::clone(&watch.text), watch.start);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(200));
                let at = began.load(Ordering::SeqCst);
                if at != 0 && start.elapsed() > Duration::from_millis(at - 1) + LIMIT {
                    let _ = std::fs::write(&kept, &*text.lock().expect("the text"));
                    eprintln!("no answer within {LIMIT:?}: {}", kept.display());
                    std::process::exit(1);
                }
            }
        });
        watch
    }

    fn begin(&self, text: &str) {
        *self.text.lock().expect("the text") = text.to_owned();
        self.began.store(self.start.elapsed().as_millis() as u64 + 1, Ordering::SeqCst);
    }

    fn end(&self) {
        self.began.store(0, Ordering::SeqCst);
    }
}

fn corpus() -> Vec<String> {
    sources().iter().filter_map(|p| std::fs::read_to_string(p).ok()).collect()
}

fn sources() -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for dir in ["tests/run", "tests/ui", "stdlib", "examples", "bench"] {
        let entries = std::fs::read_dir(root().join(dir)).into_iter().flatten().flatten();
        paths.extend(entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "tdl")));
    }
    paths.sort();
    paths
}

/// Tokens with the blanks between them, so that joining gives the text back.
fn split(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut at = 0;
    for (_, range) in tokens(text) {
        if range.start > at {
            out.push(text[at..range.start].to_owned());
        }
        out.push(text[range.clone()].to_owned());
        at = range.end;
    }
    out.push(text[at..].to_owned());
    out
}

fn mutant(programs: &[Vec<String>], random: &mut Random) -> String {
    let mut words = programs[random.below(programs.len())].clone();
    for _ in 0..1 + random.below(4) {
        if words.is_empty() {
            break;
        }
        let (i, j) = (random.below(words.len()), random.below(words.len()));
        match random.below(8) {
            0 => drop(words.remove(i)),
            1 => words.insert(i, words[i].clone()),
            2 => words.swap(i, j),
            3 => words[i] = words[j].clone(),
            4 => {
                let other = &programs[random.below(programs.len())];
                words[i] = other[random.below(other.len())].clone();
            }
            5 => words[i] = STRANGE[random.below(STRANGE.len())].to_owned(),
            6 => {
                // a stretch is lost
                let end = (i + 1 + random.below(6)).min(words.len());
                words.drain(i..end);
            }
            _ => {
                // a stretch comes twice
                let end = (i + 1 + random.below(12)).min(words.len());
                let copy: Vec<String> = words[i..end].to_vec();
                words.splice(i..i, copy);
            }
        }
    }
    words.concat()
}

const STRANGE: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "9223372036854775807",
    "1e308",
    "n",
    "x",
    "self",
    "mut ",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "..",
    "...",
    "new",
    "_",
    "f32",
    "i64",
    "bool",
    "f64",
    "str",
    "Rng",
    "as f32",
    "some k. ",
    "()",
    "[]",
    "grad(",
    "|x| ",
    ":",
    ".T",
    "if c { 1 }",
    "zeros(f32[0])",
    "f32[n]",
    "fn(f32) -> f32",
    "not ",
    "@",
    "%",
    "//",
    "^",
    "\"{x}\"",
    "\n",
    "return ",
    "break",
];

/// A small generator (xorshift64*), so that a seed gives the same mutants everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
}
