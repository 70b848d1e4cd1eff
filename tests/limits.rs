//! What runs out, and what is asked for by a flag: memory, threads, `--trap-nan`, the cache.
#![cfg(unix)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{output, stderr, stdout, tdl};

fn dir() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("limits");
    std::fs::create_dir_all(&dir).expect("a folder to write to");
    dir
}

fn write(name: &str, text: &str) {
    std::fs::write(dir().join(name), text).expect("a file to write to");
}

/// A program's runs: in this process, by the interpreter, as a binary.
#[track_caller]
fn ways(name: &str, text: &str, flags: &[&str], limit: Option<u64>) -> Vec<(&'static str, Output)> {
    let file = format!("{name}.tdl");
    write(&file, text);
    let build: Vec<&str> = [&["build"][..], flags, &[&*file, "-o", name]].concat();
    let built = output(&mut tdl(&build, &dir()));
    assert!(built.status.success(), "{name}: {}", stderr(&built));
    let mut out = Vec::new();
    for (way, head) in
        [("run", vec!["run"]), ("interpreter", vec!["run", "--device", "interp"]), ("binary", Vec::new())]
    {
        let mut command = match head.is_empty() {
            true => Command::new(dir().join(name)),
            false => tdl(&[&head, flags, &[&*file]].concat(), &dir()),
        };
        if let Some(kib) = limit {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("ulimit -v {kib}; exec \"$0\" \"$@\"")).arg(command.get_program());
            shell.args(command.get_args());
            shell.envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
            command = shell;
        }
        out.push((way, output(command.current_dir(dir()).env("NO_COLOR", "1"))));
    }
    out
}

/// The program fails with this code at this place, and says each of `words` if it is compiled.
#[track_caller]
fn fails_at(name: &str, text: &str, flags: &[&str], limit: Option<u64>, code: &str, place: &str, words: &[&str]) {
    for (way, out) in ways(name, text, flags, limit) {
        let message = stderr(&out);
        assert_eq!(out.status.code(), Some(1), "{name}, {way}: {message}");
        assert!(message.contains(code), "{name}, {way}: no {code} in {message}");
        assert!(message.contains(&format!("[{name}.tdl:{place}]")), "{name}, {way}: not at {place}: {message}");
        for word in words {
            assert!(way == "interpreter" || message.contains(word), "{name}, {way}: no `{word}` in {message}");
        }
    }
}

#[test]
fn tensors_beyond_all_numbers() {
    let main = |sizes: &str, body: &str| format!("fn main({sizes}) {{\n  {body}\n}}\n");
    let n = "n: i64 = 4294967296";
    for (name, sizes, body, column) in [
        // 2^64 elements: a product that wraps to 0
        ("square", n, "let mut x = zeros(f32[n, n])\n  x[n - 1, 3] = 2.0\n  print(x)", 15),
        ("written", "", "let mut x = zeros(f32[4294967296, 4294967296])\n  x[7, 3] = 2.0\n  print(x)", 15),
        ("cube", n, "print(zeros(u8[n, n, n]))", 9),
        ("negative", "n: i64 = 3037000500", "print(zeros(u8[n, n]))", 9),
        ("bytes", "n: i64 = 4611686018427387904", "print(zeros(f32[n]))", 9),
        ("drawn", n, "let mut r = Rng(1)\n  print(sum(r.normal(f32[n, n]) @ r.normal(f32[n])))", 0),
        ("repeated", n, "print(repeat(arange(f32[2]), \"a -> a n m\", n: n, m: n))", 9),
        ("comprehension", n, "print([f32(i - j) for i < n, j < n])", 0),
        ("joined", "n: i64 = 4611686018427387904", "let x = ones(f32[n])\n  print(concat((x, x, x, x)))", 0),
    ] {
        for (way, out) in ways(name, &main(sizes, body), &[], None) {
            let message = stderr(&out);
            assert_eq!(out.status.code(), Some(1), "{name}, {way}: {message}");
            assert!(message.contains("error[E0705]: out of memory"), "{name}, {way}: {message}");
            let place = format!("[{name}.tdl:2:{column}]");
            assert!(column == 0 || message.contains(&place), "{name}, {way}: not at {place}: {message}");
        }
    }
}

#[test]
fn a_wrapped_product_is_no_proof_of_a_shape() {
    let text = "fn main(n: i64 = 4294967296) {\n  let [k] e = nonzero(ones(bool[5])[n % 2 : 0])\n  \
                assert n * n == k\n  print(reshape(e, [n, n])[5, 7000])\n}\n";
    fails_at("wrapped", text, &[], None, "E0703", "4:9", &["more than 2^62 elements"]);
}

#[test]
fn negative_sizes() {
    for (name, expr) in
        [("fewer", "zeros(f32[n - 7])"), ("list", "[1.0 for i < n - 7]"), ("counted", "arange(i64[n - 9])")]
    {
        let text = format!("fn main(n: i64 = 3) {{\n  print({expr})\n}}\n");
        for (way, out) in ways(name, &text, &[], None) {
            assert_eq!(out.status.code(), Some(1), "{name}, {way}");
            assert!(stderr(&out).contains("error[E0703]"), "{name}, {way}: {}", stderr(&out));
        }
    }
}

/// KiB of address space: enough for the compiler.
const LIMIT: Option<u64> = Some(4 << 20);

#[test]
fn memory_runs_out() {
    let n = "n: i64 = 10000000";
    for (name, sizes, body, place, words) in [
        ("huge", n, "let mut x = zeros(f32[n, n])\n  x[3, n - 1] = 1.0\n  print(x)", "2:15", "372529 GiB"),
        ("many", "n: i64 = 40000", "let x = ones(f32[n, n])\n  print(x @ x)", "3:9", "6103 MiB"),
        ("draws", n, "let mut r = Rng(1)\n  let x = r.normal(f32[n, n])\n  print(x[5, 7])", "3:11", "372529 GiB"),
        (
            "kept",
            "n: i64 = 40000",
            "let f = |x: f32[40000]| {\n    let mut y = x\n    for i in 0..n { y = sin(y) * y }\n    sum(y)\n  }\n  print(sum(grad(f)(ones(f32[40000]))))",
            "",
            "6103 MiB",
        ),
        ("sorted", "n: i64 = 200000000", "let mut r = Rng(1)\n  print(sort(r.uniform(f32[n]))[0])", "", "MiB"),
    ] {
        let text = format!("fn main({sizes}) {{\n  {body}\n}}\n");
        for (way, out) in ways(name, &text, &[], LIMIT) {
            if way == "interpreter" && name == "kept" {
                continue; // 40,000 steps of an interpreter take their time
            }
            let message = stderr(&out);
            assert_eq!(out.status.code(), Some(1), "{name}, {way}: {:?} {message}", out.status);
            assert!(message.contains("error[E0705]: out of memory"), "{name}, {way}: {message}");
            assert!(message.contains(&format!("[{name}.tdl:{place}")), "{name}, {way}: not at {place}: {message}");
            assert!(way == "interpreter" || message.contains(words), "{name}, {way}: no `{words}` in {message}");
        }
    }
}

#[test]
fn a_nan_is_trapped_where_it_begins() {
    let forward = "fn f(x: f32) -> f32 {\n  let y = x - 1.0\n  let z = log(y)\n  z * 0.0 + 2.0\n}\nfn main() {\n  print(f(0.0))\n}\n";
    fails_at("nan_forward", forward, &["--trap-nan"], None, "E0708", "3:11", &["log"]);
    let backward = "fn f(x: f32) -> f32 {\n  let y = x * x\n  sqrt(y)\n}\nfn main() {\n  print(f(0.0))\n  print(grad(f)(0.0))\n}\n";
    fails_at("nan_backward", backward, &["--trap-nan"], None, "E0708", "2:11", &["mul"]);
    for (way, out) in ways("nan_free", forward, &[], None) {
        assert_eq!((out.status.code(), stdout(&out)), (Some(0), "nan\n".into()), "{way}");
    }
    let branches =
        "fn f(x: f32) -> f32 = if x > 0.0 { log(x) } else { 0.0 }\nfn main() {\n  print(vmap(f)([1.0, -1.0]))\n}\n";
    for (way, out) in ways("nan_lanes", branches, &["--trap-nan"], None) {
        assert_eq!(
            (out.status.code(), stdout(&out)),
            (Some(0), "[0. 0.] : f32[2]\n".into()),
            "{way}: {}",
            stderr(&out)
        );
    }
    let fine = "fn main() {\n  let x = [1.0, -1.0]\n  print(where(x > 0.0, log(x), 0.0))\n}\n";
    for (way, out) in ways("nan_untaken", fine, &[], None) {
        assert_eq!((out.status.code(), stdout(&out)), (Some(0), "[0. 0.] : f32[2]\n".into()), "{way}");
    }
}

#[test]
fn threads_do_not_change_a_result() {
    let text = "fn main(seed: i64 = 3) {\n  let mut r = Rng(seed)\n  let x = r.normal(f32[700, 300])\n  let y = softmax(x @ x.T)\n  \
                print(\"{sum(y * y):.9} {sum(exp(x)):.9} {max(y):.9}\")\n}\n";
    write("threads.tdl", text);
    let build = output(&mut tdl(&["build", "threads.tdl", "-o", "threads"], &dir()));
    assert!(build.status.success(), "{}", stderr(&build));
    let mut seen = Vec::new();
    for n in ["1", "2", "3", "7"] {
        let run = output(&mut tdl(&["run", "--threads", n, "threads.tdl"], &dir()));
        assert!(run.status.success(), "{}", stderr(&run));
        let binary = output(Command::new(dir().join("threads")).args(["--threads", n]));
        assert_eq!(stdout(&run), stdout(&binary), "{n} threads");
        seen.push(stdout(&run));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    for n in ["0", "-1", "x", "1000000", ""] {
        let run = output(&mut tdl(&["run", "--threads", n, "threads.tdl"], &dir()));
        assert_eq!(run.status.code(), Some(2), "--threads {n}: {}", stderr(&run));
        let binary = output(Command::new(dir().join("threads")).args(["--threads", n]));
        assert_eq!(binary.status.code(), Some(2), "--threads {n}: {}", stderr(&binary));
        assert!(stderr(&binary).contains("threads"), "--threads {n}: {}", stderr(&binary));
    }
}

/// As a shell runs it: `$TDL` is the command.
fn shell(script: &str) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).current_dir(dir()).env("TDL", tdl(&[], &dir()).get_program()).env("NO_COLOR", "1");
    output(shell.env("TDL_CACHE_DIR", dir().join("cache")))
}

#[test]
fn nowhere_to_write() {
    write("prints.tdl", "fn main() { for i in 0..30000 { print(i) } }\ntest \"a\" { assert true }\n");
    write("wrong.tdl", "fn main() { print(x) }\n");
    for (script, status, message) in [
        ("$TDL run prints.tdl > /dev/full", 1, "error[E0706]"),
        ("$TDL run --device interp prints.tdl > /dev/full", 1, "error[E0706]"),
        ("$TDL build prints.tdl -o prints && ./prints > /dev/full", 1, "error[E0706]"),
        ("./prints --help > /dev/full", 2, "cannot write"),
        ("$TDL test prints.tdl > /dev/full", 2, "cannot write"),
        ("$TDL explain E0401 > /dev/full", 2, "cannot write"),
        ("$TDL emit --stage ir prints.tdl > /dev/full", 2, "cannot write"),
        ("printf '1+1\\n' | $TDL repl > /dev/full", 2, "cannot write"),
        ("$TDL run prints.tdl >&-", 0, ""),
        ("$TDL check wrong.tdl 2> /dev/full", 1, ""),
        ("$TDL check wrong.tdl 2>&-", 1, ""),
        ("$TDL nonsense 2> /dev/full", 2, ""),
        ("./prints --nonsense 2> /dev/full", 2, ""),
        ("$TDL run prints.tdl <&-; exit $?", 0, ""),
        ("rm -rf folder; mkdir folder; $TDL build prints.tdl -o folder", 2, "no file"),
        ("rm -f pipe; mkfifo pipe; $TDL build prints.tdl -o pipe", 2, "no file"),
        ("head -c 70000000 /dev/zero > big.tdl; $TDL check big.tdl; s=$?; rm big.tdl; exit $s", 2, "64"),
        ("$TDL check /dev/zero", 2, "64 MB"),
    ] {
        let out = shell(script);
        assert_eq!(out.status.code(), Some(status), "{script}: {:?}\n{}", out.status, stderr(&out));
        assert!(stderr(&out).contains(message), "{script}: no `{message}` in: {}", stderr(&out));
        assert!(!stderr(&out).contains("internal error"), "{script}: {}", stderr(&out));
    }
    // a reader that went away
    for script in ["$TDL test prints.tdl | true", "$TDL explain | head -1", "$TDL run prints.tdl | head -1"] {
        let out = shell(script);
        assert!(out.status.success() && stderr(&out).is_empty(), "{script}: {}", stderr(&out));
    }
}

#[test]
fn files_that_are_written_stay_what_they_are() {
    write("writes.tdl", "fn main(path: str) { write_text(path, \"text\") }\n");
    let script = "rm -f real link fifo; echo old > real; chmod 640 real; ln -s real link
        $TDL run writes.tdl -- --path link && test -L link && test \"$(cat real)\" = text || exit 3
        test $(stat -c %a real) = 640 || exit 4
        mkfifo fifo; cat fifo > copy & $TDL run writes.tdl -- --path fifo && wait && test -p fifo || exit 5
        test \"$(cat copy)\" = text || exit 6
        $TDL run writes.tdl -- --path . 2> said && exit 7; grep -q E0706 said || exit 8
        $TDL run writes.tdl -- --path /dev/full 2> said && exit 9; grep -q E0706 said && test -c /dev/full || exit 10";
    let out = shell(script);
    assert!(out.status.success(), "{:?} {}", out.status, stderr(&out));
}

#[test]
fn the_cache_may_be_anything() {
    write("cached.tdl", "fn main() { print(1) }\n");
    let script = "run() { test \"$($TDL run cached.tdl)\" = 1 || exit $1; }
        rm -rf cache; run 3; run 4
        for f in cache/*.tdlo; do head -c 100 $f > part; cp part $f; done; run 5
        for f in cache/*.tdlo; do printf x | dd of=$f bs=1 seek=5000 conv=notrunc 2> /dev/null; done; run 6
        for f in cache/*.tdlo; do printf '\\377\\377\\377\\377' | dd of=$f bs=1 seek=12 conv=notrunc 2> /dev/null; done; run 7
        for f in cache/*.tdlo; do rm $f; mkdir $f; done; run 8
        rm -rf cache; echo > cache; run 9; rm cache
        TDL_CACHE_DIR=/proc/none; export TDL_CACHE_DIR; run 10
        unset TDL_CACHE_DIR HOME XDG_CACHE_HOME; run 11";
    let out = shell(script);
    assert!(out.status.success(), "{:?} {}", out.status, stderr(&out));
    assert!(stderr(&out).is_empty(), "{}", stderr(&out));
    // many at once, and some that are killed
    let script = "for i in 1 2 3 4 5 6 7 8; do $TDL run cached.tdl > out$i & done
        for i in 1 2 3 4; do $TDL run cached.tdl > /dev/null & kill -KILL $!; done
        wait; for i in 1 2 3 4 5 6 7 8; do test \"$(cat out$i)\" = 1 || exit 3; done; test \"$($TDL run cached.tdl)\" = 1";
    let out = shell(script);
    assert!(out.status.success(), "{:?} {}", out.status, stderr(&out));
}

/// Programs with so many branches, or so long chains of operations, that they are compiled in parts: the same numbers as by the
/// interpreter.
#[test]
fn long_programs() {
    let mut branches =
        String::from("fn main(a: f32 = 1.0) {\n  let mut x = a * Rng(1).uniform(f32[64])\n  let mut s: f32 = 0.0\n");
    let mut chain = String::from("fn main(a: f32 = 1.0) {\n  let x = a * Rng(1).normal(f32[512])\n  let mut y = x\n");
    for i in 1..1700 {
        branches += &format!("  if s > {i}.0 {{ x = x * 1.0625 }} else {{ s += x[{}] }}\n", i % 64);
    }
    for _ in 1..600 {
        chain += "  y = sin(y) + x * 0.5\n";
    }
    branches += "  print(\"{sum(x):.3} {s:.3}\")\n}\n";
    chain += "  print(\"{sum(y):.3} {y[7]:.4}\")\n}\n";
    for (name, text) in [("branches", branches), ("chain", chain)] {
        let outs = ways(name, &text, &[], None);
        let expected = stdout(&outs[1].1);
        assert!(expected.len() > 8, "{name}: {}", stderr(&outs[1].1));
        for (way, out) in &outs {
            assert_eq!(stdout(out), expected, "{name}, {way}: {}", stderr(out));
        }
    }
}
