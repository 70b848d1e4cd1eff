//! `tdl repl` behind a real pseudo-terminal, as a person uses it.
#![cfg(unix)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use expectrl::{ControlCode, Eof, Expect, Regex, Session, session::OsSession};

const PROMPT: &str = "tdl> ";

fn start(dir: &Path) -> OsSession {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tdl"));
    command.arg("repl").current_dir(dir).env("NO_COLOR", "1").env("TERM", "xterm");
    command.env("TDL_HISTORY", dir.join("history")).env("TDL_CACHE_DIR", dir.join("cache"));
    let mut session = Session::spawn(command).expect("a pseudo-terminal");
    session.set_expect_timeout(Some(Duration::from_secs(60)));
    see(&mut session, "Ctrl-D to leave");
    see(&mut session, PROMPT);
    session
}

/// Waits for a text.
#[track_caller]
fn see(session: &mut OsSession, text: &str) -> String {
    match session.expect(text) {
        Ok(found) => String::from_utf8_lossy(found.before()).into_owned(),
        Err(e) => {
            let mut rest = [0; 4096];
            let n = session.try_read(&mut rest).unwrap_or(0);
            panic!("`{text}` does not come: {e}; there is: {}", String::from_utf8_lossy(&rest[..n]));
        }
    }
}

/// Types a line and waits for an answer and the next prompt.
#[track_caller]
fn say(session: &mut OsSession, line: &str, answer: &str) {
    session.send_line(line).expect("typed");
    see(session, answer);
    see(session, PROMPT);
}

#[test]
fn a_shape_error_is_fixed_and_differentiated() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut s = start(dir.path());
    say(&mut s, "fn loss(w: f32[3], x: f32[5, 3]) -> f32 = sum(w @ x)", "error[E04");
    say(&mut s, "fn loss(w: f32[3], x: f32[5, 3]) -> f32 = sum(x @ w)", "");
    say(&mut s, "let x = ones(f32[5, 3])", "");
    say(&mut s, "loss([1.0, 2.0, 3.0], x)", "30.0 : f32");
    say(&mut s, "grad(loss)([1.0, 2.0, 3.0], x)", "[5. 5. 5.] : f32[3]");
    say(&mut s, ":type loss([1.0, 2.0, 3.0], x)", "f32");
    say(&mut s, ":shape x.T", "[3, 5]");
    say(&mut s, ":ir loss", "func @loss");
    say(&mut s, ":grad loss", "func @");
    say(&mut s, ":time loss([1.0, 2.0, 3.0], x)", "compile ");
    say(&mut s, ":vars", "x: f32[5, 3]");
    say(&mut s, ":help", "Ctrl-D leaves");
    say(&mut s, ":nonsense", "there is no command `:nonsense`");
    say(&mut s, "undefined_name + 1", "error[E0201]");
    // an error leaves everything as it was
    say(&mut s, "len(x)", "5 : i64");
    s.send(ControlCode::EndOfTransmission).expect("typed");
    s.expect(Eof).expect("the end");
}

#[test]
fn values_keep_their_structs_when_items_come_and_go() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut s = start(dir.path());
    say(&mut s, "struct P { x: f32 }", "");
    say(&mut s, "struct Q[f: fn[..s](f32[..s]) -> f32[..s]] { y: i64, x: f32 }", "");
    say(&mut s, "impl Q[f] { fn call(self) -> f32 = f(self.x) }", "");
    say(&mut s, "let p = P { x: 1 }", "");
    say(&mut s, "let q: Q[exp] = Q { y: 4, x: 0 }", "");
    // the module's structs come before the session's own
    say(&mut s, "import nn.{relu}", "");
    say(&mut s, "relu(-1.0)", "0.0 : f32");
    say(&mut s, "p", "P { x: 1.0 }");
    say(&mut s, "q()", "1.0 : f32");
    say(&mut s, "p.x = 2", "help: declare it `let mut p = …`");
    say(&mut s, "struct P { x: f32, z: f32 }", "`p` is gone: it was a P of before");
    say(&mut s, "p", "error[E0201]");
    say(&mut s, "q", "Q { y: 4, x: 0.0 }");
    say(&mut s, "gelu(1.0)", "help: `gelu` is in `nn`: write `import nn.{gelu}`");
}

#[test]
fn an_entry_goes_over_several_lines() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut s = start(dir.path());
    let lines = ["fn f(x: f32) -> f32 {", "  let y = 2.0 * x", "  y + 1.0", "}", "f(3.5) *", "  10.0"];
    for line in lines {
        s.send_line(line).expect("typed");
        // as fast as a person types, not as a paste
        std::thread::sleep(Duration::from_millis(200));
    }
    see(&mut s, "80.0 : f32");
    see(&mut s, PROMPT);
    s.send(ControlCode::EndOfTransmission).expect("typed");
    s.expect(Eof).expect("the end");
}

#[test]
fn ctrl_c_ends_an_endless_loop_and_the_session_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut s = start(dir.path());
    say(&mut s, "let mut k = 41", "");
    s.send_line("while true { k = k + 1 }").expect("typed");
    // time to compile and to get going
    std::thread::sleep(Duration::from_secs(3));
    let begin = Instant::now();
    s.send(ControlCode::EndOfText).expect("typed");
    see(&mut s, "interrupted");
    println!("Ctrl-C to prompt: {:?}", begin.elapsed());
    see(&mut s, PROMPT);
    say(&mut s, "k + 1", "42 : i64");
    // at the prompt it drops the input
    s.send("1 +").expect("typed");
    s.send(ControlCode::EndOfText).expect("typed");
    see(&mut s, PROMPT);
    say(&mut s, "2 + 5", "7 : i64");
    s.send(ControlCode::EndOfTransmission).expect("typed");
    s.expect(Eof).expect("the end");
}

#[test]
fn history_is_kept_and_files_are_loaded() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("m.tdl"), "fn triple(x: f32) -> f32 = 3.0 * x\n").expect("writable");
    let mut s = start(dir.path());
    say(&mut s, ":load m.tdl", "");
    say(&mut s, "triple(2.5)", "7.5 : f32");
    say(&mut s, ":load missing.tdl", "cannot read `missing.tdl`: no such file");
    s.send(ControlCode::EndOfTransmission).expect("typed");
    s.expect(Eof).expect("the end");
    let history = std::fs::read_to_string(dir.path().join("history")).expect("a history");
    assert!(history.contains("triple(2.5)"), "{history}");
    let mut s = start(dir.path());
    say(&mut s, ":load m.tdl", "");
    // up, up, up: the entry of the session before
    s.send("\x1b[A\x1b[A\x1b[A\r").expect("typed");
    see(&mut s, "7.5 : f32");
    see(&mut s, PROMPT);
    s.send(ControlCode::EndOfTransmission).expect("typed");
    s.expect(Eof).expect("the end");
}

#[test]
fn small_expressions_echo_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut s = start(dir.path());
    say(&mut s, "1 + 1", "2 : i64");
    let mut times: Vec<Duration> = Vec::new();
    for i in 0..9 {
        let begin = Instant::now();
        s.send_line(format!("{i} * 1000 + 7")).expect("typed");
        s.expect(Regex(&format!("{} : i64", i * 1000 + 7))).expect("the value");
        times.push(begin.elapsed());
        see(&mut s, PROMPT);
    }
    times.sort();
    println!("a small expression echoes in {:?} (median of {}; wanted: 50 ms)", times[times.len() / 2], times.len());
    assert!(times[times.len() / 2] < Duration::from_secs(2), "{times:?}");
    s.send(ControlCode::EndOfTransmission).expect("typed");
}

#[test]
fn what_is_typed_ahead_is_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut s = start(dir.path());
    let slow = "let mut t = 0.0\rfor i in 0..60000000 { t = sin(t + 1.0) }\r";
    s.send(format!("{slow}1000 + 1\r2000 + 2\rlet z = [3.0, 4.0]\rsum(z) * 1000.0\r")).expect("typed");
    for answer in ["1001 : i64", "2002 : i64", "7000.0 : f32"] {
        see(&mut s, answer);
    }
    // and while a cell runs
    s.send_line("for i in 0..60000000 { t = sin(t + 1.0) }").expect("typed");
    std::thread::sleep(Duration::from_millis(500));
    s.send("3000 + 3\r4000 +").expect("typed");
    see(&mut s, "3003 : i64");
    s.send(" 4\r").expect("typed");
    see(&mut s, "4004 : i64");
    // typed ahead, the end of the input would be a key without meaning
    see(&mut s, PROMPT);
    s.send(ControlCode::EndOfTransmission).expect("typed");
    s.expect(Eof).expect("the end");
}

#[test]
fn memory_that_is_not_there_is_no_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut s = start(dir.path());
    say(&mut s, "let n = 4294967296", "");
    say(&mut s, "zeros(f32[n, n])", "error[E0705]");
    say(&mut s, "let x = zeros(f32[10000000, 10000000]) + 1.0", "error[E0705]");
    say(&mut s, "zeros(f32[3 - len(\"{n}\")])", "error[E0703]");
    say(&mut s, "n + 1", "4294967297 : i64");
    s.send(ControlCode::EndOfTransmission).expect("typed");
    s.expect(Eof).expect("the end");
}

#[test]
fn ctrl_c_ends_a_cell_that_prints_or_multiplies() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut s = start(dir.path());
    say(&mut s, "let x = 0.001 * ones(f32[1000, 1000])", "");
    for cell in ["for i in 0..100000000 { print(i) }", "while sum(x @ x) >= 0.0 {}"] {
        s.send_line(cell).expect("typed");
        std::thread::sleep(Duration::from_secs(2));
        s.send(ControlCode::EndOfText).expect("typed");
        see(&mut s, "interrupted");
        see(&mut s, PROMPT);
    }
    say(&mut s, "2 + 5", "7 : i64");
    s.send(ControlCode::EndOfTransmission).expect("typed");
    s.expect(Eof).expect("the end");
}
