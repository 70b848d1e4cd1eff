//! The compiler on mutated programs: every program of the repository with tokens deleted, doubled, swapped, replaced or
//! taken from another one. Each mutant goes through all stages up to loop IR, with the verifier on; it may be wrong, but
//! there is no panic, no internal error, and an answer in time.
//!
//! The programs as they are go the same way. The formatter gets mutants with other blanks, line ends and comments: what it
//! accepts keeps its tokens and is as it should be at once. Random well-typed programs (`support/generate`) compute the same
//! in the reference interpreter, as native code and on the simulated GPU.
//!
//! Without settings the same programs are tried each time; `FUZZ_SECONDS` makes it longer, `FUZZ_SEED` different. What fails is written to the target folder's `tmp/fuzz`.

#[path = "support/generate/mod.rs"]
mod generate;
mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use generate::Random;
use support::{output, root, stderr, stdout, tdl};
use tdl_driver::{Device, Failure, Options, Session, Stage};
use tdl_source::{FileId, Style};
use tdl_syntax::tokens::{Token, tokens};

/// Longest time for one mutant of a program of a few hundred lines; the machine may be busy.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn mutants_of_real_programs() {
    let (time, seed) = settings();
    none(&with_stack(move || fuzz(time, seed)));
}

#[test]
fn formatting_keeps_tokens_and_is_done_at_once() {
    let (time, seed) = settings();
    none(&with_stack(move || fuzz_format(time, seed)));
}

#[test]
fn random_programs_compute_the_same_everywhere() {
    let (time, seed) = settings();
    let dir = fuzz_dir();
    let (start, mut failures, mut count) = (Instant::now(), Vec::new(), 0);
    while count < 30 || start.elapsed() < time {
        let number = seed * 1_000_000 + count;
        let text = generate::program(number);
        let path = dir.join(format!("random-{number}.tdl"));
        std::fs::write(&path, &text).expect("a file to write to");
        match everywhere(&path, count % 3 == 0) {
            Ok(()) => drop(std::fs::remove_file(&path)),
            Err(e) => failures.push(format!("{}: {e}", path.display())),
        }
        count += 1;
    }
    println!("{count} programs");
    none(&failures);
}

/// How long, and from which seed.
fn settings() -> (Duration, u64) {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    (Duration::from_secs(number("FUZZ_SECONDS", 0)), number("FUZZ_SEED", 1))
}

/// Deep but legal programs need stack: as much as the command has.
fn with_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let worker = std::thread::Builder::new().stack_size(256 << 20).spawn(work).expect("a thread");
    worker.join().expect("nothing panics")
}

fn none(failures: &[String]) {
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

fn fuzz_dir() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    std::fs::create_dir_all(&dir).expect("a folder to write to");
    dir
}

#[test]
fn every_program_passes_the_verifier() {
    let check = || {
        let broken = |p: &PathBuf| emit(p).map(|message| format!("{}: {message}", p.display()));
        sources().iter().filter_map(broken).collect::<Vec<_>>()
    };
    none(&with_stack(check));
}

fn fuzz(time: Duration, seed: u64) -> Vec<String> {
    let dir = fuzz_dir();
    let programs = corpus();
    assert!(programs.len() > 10, "the repository has programs");
    let words: Vec<Vec<String>> = programs.iter().map(|p| split(p)).collect();
    let mut random = Random::new(seed);
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

/// Mutants of the blanks; now and then of the words too.
fn fuzz_format(time: Duration, seed: u64) -> Vec<String> {
    let (dir, programs) = (fuzz_dir(), corpus());
    let words: Vec<Vec<String>> = programs.iter().map(|p| split(p)).collect();
    let mut random = Random::new(seed);
    let (start, mut failures, mut count, mut formatted) = (Instant::now(), Vec::new(), 0, 0);
    let watch = Watch::start(dir.join(format!("hang-format-{seed}.tdl")));
    while count < 2000 || start.elapsed() < time {
        let text = match random.below(4) {
            0 => mutant(&words, &mut random),
            1 => generate::program(random.below(1 << 30) as u64),
            _ => {
                let program = random.below(words.len());
                respaced(&words[program], &mut random)
            }
        };
        count += 1;
        watch.begin(&text);
        let failure = well_formatted(&text);
        watch.end();
        match failure {
            Ok(done) => formatted += usize::from(done),
            Err(message) => {
                let kept = dir.join(format!("format-{seed}-{count}.tdl"));
                std::fs::write(&kept, &text).expect("a file to write to");
                failures.push(format!("{}: {message}", kept.display()));
            }
        }
    }
    println!("{formatted} of {count} texts formatted");
    assert!(formatted * 4 > count, "most texts can be formatted");
    failures
}

/// Whether it could be formatted.
fn well_formatted(text: &str) -> Result<bool, String> {
    let file = FileId(0);
    let Ok(once) = tdl_syntax::format(file, text) else {
        return Ok(false);
    };
    let twice = tdl_syntax::format(file, &once).map_err(|e| format!("the result does not parse: {}", e[0].message))?;
    if once != twice {
        return Err(format!("twice is different:\n{}", similar::TextDiff::from_lines(&once, &twice).unified_diff()));
    }
    if let Some(line) = once.lines().find(|l| l.ends_with(' ') || l.contains('\t') && !text.contains('\t')) {
        return Err(format!("blanks at the end of `{line}`"));
    }
    let tree = |text: &str| {
        let parsed = tdl_syntax::parse(file, text);
        tdl_syntax::dump_module(&parsed.module)
    };
    let (before, after) = (tree(text), tree(&once));
    if before != after {
        let diff = similar::TextDiff::from_lines(&before, &after);
        return Err(format!("the meaning is different:\n{}", diff.unified_diff()));
    }
    let comments = |text: &str| {
        let all = tokens(text).filter(|(t, _)| matches!(t, Ok(Token::Comment | Token::Doc)));
        // a blank after the signs is put in
        all.map(|(_, r)| text[r].trim_start_matches('#').trim().to_owned()).collect::<Vec<_>>()
    };
    if comments(text) != comments(&once) {
        return Err(format!("comments are lost or moved: {:?} {:?}", comments(text), comments(&once)));
    }
    Ok(true)
}

/// The same words with other blanks, line ends and comments between them.
fn respaced(words: &[String], random: &mut Random) -> String {
    let mut out = String::new();
    let rare = 2 + random.below(60);
    for word in words {
        let blank = word.chars().all(char::is_whitespace);
        if random.below(rare) > 0 {
            out += word;
            continue;
        }
        match random.below(6) {
            0 if blank => out += "    ",
            1 if blank => out += "\n",
            2 => {
                out += word;
                out += " # a remark\n";
            }
            3 => {
                out += word;
                out += "\n\n\n";
            }
            4 => {
                out += word;
                out += "\r\n";
            }
            _ => {
                out += word;
                out.push(' ');
            }
        }
    }
    out
}

/// Runs a program in the interpreter, as native code and perhaps on the simulated GPU.
fn everywhere(path: &Path, gpu: bool) -> Result<(), String> {
    let dir = fuzz_dir();
    let run = |device: &str| {
        let out = output(&mut tdl(&["run", "--device", device, &path.to_string_lossy()], &dir));
        if out.status.success() {
            Ok(stdout(&out))
        } else {
            Err(format!("on {device}: {}\n{}", out.status, stderr(&out)))
        }
    };
    let reference = run("interp")?;
    for device in if gpu { &["cpu", "sim"][..] } else { &["cpu"] } {
        let printed = run(device)?;
        if !agree(&reference, &printed, std::fs::read_to_string(path).is_ok_and(|t| t.contains("f32"))) {
            let diff = similar::TextDiff::from_lines(&reference, &printed);
            return Err(format!("`interp` and `{device}` differ:\n{}", diff.unified_diff()));
        }
    }
    Ok(())
}

/// The same words, and numbers that are close.
fn agree(a: &str, b: &str, single: bool) -> bool {
    let words = |text: &str| {
        let apart = |c: char| c.is_whitespace() || matches!(c, '[' | ']' | ',');
        text.split(apart).filter(|w| !w.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let (a, b) = (words(a), words(b));
    let tolerance = if single { 5e-3 } else { 1e-6 };
    let close = |x: &str, y: &str| match (x.parse::<f64>(), y.parse::<f64>()) {
        (Ok(x), Ok(y)) => {
            x == y || x.is_nan() && y.is_nan() || (x - y).abs() <= tolerance * (1.0 + x.abs().max(y.abs()))
        }
        _ => x == y,
    };
    a.len() == b.len() && a.iter().zip(&b).all(|(x, y)| close(x, y))
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
        json: false,
        debug: false,
        profile: false,
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
