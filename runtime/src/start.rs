//! The start of a program: flags become `main`'s parameters, failures become messages. One path for native binaries and for
//! `tdl run`.

use std::ffi::{CStr, c_char};

use crate::abi::{Dtype, OK, Param, Profile, Program, Site, TEXT, VERSION};
use crate::context::{Ctx, Failure, FailureKind, Output};
use crate::output::{complain, put};
use crate::profile::{self, Recorder, Task};

/// What a start needs besides the program.
pub struct Options {
    /// As the user calls it, for `--help`.
    pub name: String,
    /// Threads; all cores if none is given.
    pub threads: Option<usize>,
    pub form: Form,
}

/// How a failure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text {
        color: bool,
    },
    /// One JSON object on a line, with the keys of the compiler's.
    Json,
}

/// All cores this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs a program to its end and returns the exit code: 0, 1 after a failure, 2 for wrong flags. `started` sees the
/// context before `main` begins, `ended` after it.
///
/// # Safety
/// `program` and everything it points to is the table of a loaded object.
pub unsafe fn run(
    program: &Program,
    args: &[String],
    options: &Options,
    started: impl FnOnce(&mut Ctx),
    ended: impl FnOnce(&mut Ctx),
) -> i32 {
    if program.version != VERSION {
        complain(format_args!("error: the program was made for another version of the runtime\n"));
        return 2;
    }
    // SAFETY: by contract
    let (params, features) = unsafe { (slice(program.params, program.n_params.into()), program.features.as_str()) };
    if let Some(missing) = features.split(',').find(|f| !f.is_empty() && !cpu_has(f)) {
        complain(format_args!("error: this processor lacks `{missing}`, for which the program was compiled\n"));
        complain(format_args!("help: build it with `tdl build --cpu x86-64-v2`\n"));
        return 2;
    }
    let flag = |p: &Param| {
        // SAFETY: by contract
        Flag { name: unsafe { p.name.as_str() }, dtype: p.dtype }
    };
    let known: Vec<Flag<'_>> = params.iter().map(flag).collect();
    let flags = match Flags::parse(&known, args) {
        Ok(Parsed::Help) => {
            // SAFETY: by contract
            return put(&unsafe { program_help(program, params, &known, options) });
        }
        Ok(Parsed::Flags(flags)) => flags,
        Err(message) => {
            return refuse(options, &format!("{message}\nFor what there is, try '--help'."));
        }
    };
    let Some(entry) = program.entry else {
        return refuse(options, "the program has no `main`");
    };
    let threads = flags.threads.or(options.threads).unwrap_or_else(cores);
    let mut ctx = Ctx::new(threads, Output::stdout());
    started(&mut ctx);
    let mut slots = Vec::new();
    for (param, value) in params.iter().zip(&flags.values) {
        match (value, param.default) {
            (Some(value), _) => slots.push(value.slot(&mut ctx)),
            (None, Some(default)) => {
                let mut slot = 0u64;
                // SAFETY: a default takes no arguments and gives one slot
                if unsafe { default(&mut *ctx, std::ptr::null(), &mut slot) } != OK {
                    // SAFETY: by contract
                    return unsafe { failed(&mut ctx, program, options) };
                }
                slots.push(slot);
            }
            (None, None) => {
                // SAFETY: by contract
                let name = unsafe { param.name.as_str() };
                return refuse(options, &format!("the flag `--{name}` is missing\nFor what there is, try '--help'."));
            }
        }
    }
    let mut results = [0u64; 1];
    // SAFETY: the slots are those of the parameters; `main` returns nothing
    let status = unsafe { entry(&mut *ctx, slots.as_ptr(), results.as_mut_ptr()) };
    ctx.progress.clear();
    ended(&mut ctx);
    if status != OK || !ctx.finish() {
        // SAFETY: by contract
        return unsafe { failed(&mut ctx, program, options) };
    }
    match ctx.output.flush(&ctx.interrupt) {
        Ok(()) => 0,
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {
            complain(format_args!("interrupted\n"));
            130
        }
        Err(e) => {
            complain(format_args!("{}", unwritten(&e, options.form)));
            1
        }
    }
}

/// Prints the failure of the last call; returns the exit code.
unsafe fn failed(ctx: &mut Ctx, program: &Program, options: &Options) -> i32 {
    let _ = ctx.output.flush(&ctx.interrupt);
    ctx.progress.clear();
    let Some(failure) = ctx.take_failure() else { return 1 };
    match failure.kind {
        FailureKind::BrokenPipe => return 0,
        FailureKind::Interrupted => {
            complain(format_args!("interrupted\n"));
            return 130;
        }
        _ => {}
    }
    // SAFETY: by contract of `run`
    let site = unsafe { failure.site.and_then(|i| slice(program.sites, program.n_sites).get(i as usize)) };
    // SAFETY: by contract of `run`
    complain(format_args!("{}", unsafe { message(&failure, site, options.form) }));
    1
}

/// A failure in the form of the compiler's errors.
///
/// # Safety
/// The site's texts are alive.
pub unsafe fn message(failure: &Failure, site: Option<&Site>, form: Form) -> String {
    let code = failure.kind.code();
    let color = match form {
        // SAFETY: by contract
        Form::Json => return unsafe { json(failure, site) },
        Form::Text { color } => color,
    };
    let (red, bold, off) = if color { ("\x1b[1;31m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
    let mut out = format!("{red}error[{code}]{off}{bold}: {}{off}\n", failure.message);
    // SAFETY: by contract
    let Some((site, file)) = site.map(|s| (s, unsafe { s.file.as_str() })).filter(|(_, f)| !f.is_empty()) else {
        return out;
    };
    // SAFETY: by contract
    let source = unsafe { site.source.as_str() };
    let line = site.line.to_string();
    let gutter = " ".repeat(line.len());
    let indent: String = source
        .chars()
        .take(site.column.saturating_sub(1) as usize)
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let marks = "─".repeat(site.width.clamp(1, 200) as usize);
    out.push_str(&format!("{gutter}  ╭─[{file}:{line}:{}]\n", site.column));
    out.push_str(&format!(" {line} │ {source}\n{gutter}  │ {indent}{marks}\n"));
    // SAFETY: by contract
    let inside = unsafe { site.inside.as_str() };
    if !inside.is_empty() {
        out.push_str(&format!("{gutter}  │ note: it happened in {inside}\n"));
    }
    out
}

/// A failure as the compiler's `--json` writes errors, without byte offsets, which a program does not carry.
unsafe fn json(failure: &Failure, site: Option<&Site>) -> String {
    let (code, message) = (failure.kind.code(), quoted(&failure.message));
    let (mut primary, mut notes) = ("null".to_owned(), String::new());
    // SAFETY: by contract of `message`
    if let Some((site, file)) = site.map(|s| (s, unsafe { s.file.as_str() })).filter(|(_, f)| !f.is_empty()) {
        let Site { line, column, width, .. } = *site;
        primary = format!(
            r#"{{"file":{},"line":{line},"column":{column},"end_line":{line},"end_column":{},"text":""}}"#,
            quoted(file),
            column + width
        );
        // SAFETY: by contract of `message`
        let inside = unsafe { site.inside.as_str() };
        if !inside.is_empty() {
            notes = quoted(&format!("it happened in {inside}"));
        }
    }
    format!(
        "{{\"severity\":\"error\",\"code\":\"{code}\",\"message\":{message},\"primary\":{primary},\"secondary\":[],\"notes\":[{notes}],\"help\":[]}}\n"
    )
}

/// Says why the program was not started; the exit code of that.
fn refuse(options: &Options, message: &str) -> i32 {
    match options.form {
        Form::Text { .. } => complain(format_args!("error: {message}\n")),
        Form::Json => complain(format_args!(
            "{{\"severity\":\"error\",\"code\":null,\"message\":{},\"primary\":null,\"secondary\":[],\"notes\":[],\"help\":[]}}\n",
            quoted(message)
        )),
    }
    2
}

/// A text as JSON (RFC 8259, section 7).
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The failure of a program whose output could not be written.
pub fn unwritten(e: &std::io::Error, form: Form) -> String {
    let message = format!("cannot write to standard output: {e}");
    let failure = Failure { kind: FailureKind::Io, message, site: None };
    // SAFETY: there is no site
    unsafe { self::message(&failure, None, form) }
}

pub(crate) unsafe fn slice<'a, T>(ptr: *const T, len: u64) -> &'a [T] {
    // SAFETY: the caller passes a table of the program
    if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(ptr, len as usize) } }
}

/// A parameter of `main` as a flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag<'a> {
    pub name: &'a str,
    /// A [`Dtype`], or [`TEXT`].
    pub dtype: u32,
}

/// A parameter's value from the command line.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Int(i64),
    Float(f64, Dtype),
    Bool(bool),
    Text(String),
}

impl Value {
    fn parse(dtype: u32, text: &str) -> Result<Value, String> {
        if dtype == TEXT {
            return Ok(Value::Text(text.to_owned()));
        }
        let clean = text.replace('_', "");
        match Dtype::from_code(dtype) {
            Some(d @ (Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64)) => {
                clean.parse().map(|x| Value::Float(x, d)).map_err(|_| format!("`{text}` is no number"))
            }
            Some(Dtype::Bool) => match text {
                "true" | "1" | "yes" | "on" => Ok(Value::Bool(true)),
                "false" | "0" | "no" | "off" => Ok(Value::Bool(false)),
                _ => Err(format!("`{text}` is neither true nor false")),
            },
            Some(d) => {
                let wide: i128 = clean.parse().map_err(|_| format!("`{text}` is no integer"))?;
                let (low, high) = int_range(d);
                if (low..=high).contains(&wide) {
                    Ok(Value::Int(wide as i64))
                } else {
                    Err(format!("`{text}` is out of range: {low} to {high}"))
                }
            }
            None => Err(format!("`{text}` has no type")),
        }
    }

    fn slot(&self, ctx: &mut Ctx) -> u64 {
        match self {
            Value::Int(i) => *i as u64,
            Value::Float(x, Dtype::F64) => x.to_bits(),
            Value::Float(x, Dtype::F16) => half::f16::from_f64(*x).to_bits().into(),
            Value::Float(x, Dtype::Bf16) => half::bf16::from_f64(*x).to_bits().into(),
            Value::Float(x, _) => (*x as f32).to_bits().into(),
            Value::Bool(b) => u64::from(*b),
            Value::Text(t) => ctx.keep_text(t.clone()) as u64,
        }
    }
}

/// Least and greatest value of an integer dtype.
fn int_range(dtype: Dtype) -> (i128, i128) {
    let (bits, signed) = match dtype {
        Dtype::I8 => (8, true),
        Dtype::I16 => (16, true),
        Dtype::I32 => (32, true),
        Dtype::I64 => (64, true),
        Dtype::U8 => (8, false),
        Dtype::U32 => (32, false),
        Dtype::U64 => (64, false),
        Dtype::Bool => (1, false),
        Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64 => (64, true),
    };
    if signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Parsed {
    Help,
    Flags(Flags),
}

/// `--steps 500`, `--steps=500`, `--on` for a bool; `_` and `-` are the same in a name.
#[derive(Debug)]
pub struct Flags {
    /// In the order of the parameters; `None` where the default counts.
    pub values: Vec<Option<Value>>,
    pub threads: Option<usize>,
}

impl Flags {
    /// Reads a command line; `Err` says what is wrong with it.
    pub fn parse(params: &[Flag<'_>], args: &[String]) -> Result<Parsed, String> {
        let names: Vec<&str> = params.iter().map(|p| p.name).collect();
        let mut flags = Flags { values: vec![None; params.len()], threads: None };
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            if arg == "--help" || arg == "-h" {
                return Ok(Parsed::Help);
            }
            let Some(flag) = arg.strip_prefix("--") else {
                return Err(format!("unexpected argument `{arg}`: flags are written `--name value`"));
            };
            let (name, given) = flag.split_once('=').map_or((flag, None), |(n, v)| (n, Some(v)));
            let found = names.iter().position(|n| n.replace('_', "-") == name.replace('_', "-"));
            let dtype = match (found, name) {
                (Some(k), _) => params[k].dtype,
                (None, "threads") => Dtype::I64 as u32,
                (None, _) => return Err(unknown(name, &names)),
            };
            let is_bool = dtype == Dtype::Bool as u32;
            let value = match given {
                Some(v) => v.to_owned(),
                None if is_bool && rest.as_slice().first().is_none_or(|v| Value::parse(dtype, v).is_err()) => {
                    "true".into()
                }
                None => rest.next().cloned().ok_or_else(|| format!("`--{name}` needs a value"))?,
            };
            let value = Value::parse(dtype, &value).map_err(|e| format!("`--{name}`: {e}"))?;
            match (found, value) {
                (Some(k), value) => flags.values[k] = Some(value),
                (None, Value::Int(n)) if (1..=1024).contains(&n) => flags.threads = Some(n as usize),
                (None, _) => return Err("`--threads` takes a number from 1 to 1024".into()),
            }
        }
        Ok(Parsed::Flags(flags))
    }
}

fn unknown(name: &str, names: &[&str]) -> String {
    let all = || names.iter().copied().chain(["threads", "help"]);
    let near = all().map(|n| (distance(n, name), n)).filter(|(d, n)| *d <= n.len().max(2) / 2).min();
    let list = names.iter().map(|n| format!("--{}", n.replace('_', "-"))).collect::<Vec<_>>().join(", ");
    match near {
        Some((_, n)) => format!("there is no flag `--{name}`; did you mean `--{}`?", n.replace('_', "-")),
        None if names.is_empty() => format!("there is no flag `--{name}`; this program takes none"),
        None => format!("there is no flag `--{name}`; there are {list}"),
    }
}

/// Edit distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

unsafe fn program_help(program: &Program, params: &[Param], flags: &[Flag<'_>], options: &Options) -> String {
    let mut ctx = Ctx::new(1, Output::Capture(String::new()));
    let mut defaults = Vec::new();
    for p in params {
        let mut slot = 0u64;
        defaults.push(match p.default {
            // SAFETY: a default takes no arguments and gives one slot of the parameter's dtype
            Some(f) if unsafe { f(&mut *ctx, std::ptr::null(), &mut slot) } == OK => {
                // SAFETY: the slot has been written with a value of this dtype
                Some(unsafe { shown(&ctx, p.dtype, slot) })
            }
            Some(_) => Some("?".into()),
            None => None,
        });
    }
    // SAFETY: by contract of `run`
    help(unsafe { program.doc.as_str() }, &options.name, flags, &defaults)
}

/// The text of `--help`; a flag without a default must be given.
pub fn help(doc: &str, name: &str, flags: &[Flag<'_>], defaults: &[Option<String>]) -> String {
    let mut out = String::new();
    if !doc.is_empty() {
        out.push_str(&format!("{doc}\n\n"));
    }
    out.push_str(&format!("Usage: {name} [FLAGS]\n\nFlags:\n"));
    let mut rows = Vec::new();
    for (flag, default) in flags.iter().zip(defaults) {
        let kind = Dtype::from_code(flag.dtype).map_or("str", Dtype::name);
        let default = default.as_ref().map_or("(required)".into(), |d| format!("[default: {d}]"));
        rows.push((format!("--{} <{kind}>", flag.name.replace('_', "-")), default));
    }
    rows.push(("--threads <n>".into(), "[default: all cores]".into()));
    rows.push(("--help".into(), "print this".into()));
    let width = rows.iter().map(|(l, _)| l.len()).max().unwrap_or(0);
    for (left, right) in rows {
        out.push_str(&format!("  {left:width$}  {right}\n"));
    }
    out
}

unsafe fn shown(ctx: &Ctx, dtype: u32, slot: u64) -> String {
    match Dtype::from_code(dtype) {
        Some(d) => crate::fmt::tensor(d, &[], &slot.to_le_bytes(), ""),
        // SAFETY: a text's slot is a handle
        None => format!("{:?}", unsafe { ctx.text(slot) }),
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_has(feature: &str) -> bool {
    match feature {
        "avx" => std::arch::is_x86_feature_detected!("avx"),
        "avx2" => std::arch::is_x86_feature_detected!("avx2"),
        "fma" => std::arch::is_x86_feature_detected!("fma"),
        "f16c" => std::arch::is_x86_feature_detected!("f16c"),
        "avx512f" => std::arch::is_x86_feature_detected!("avx512f"),
        "avx512bw" => std::arch::is_x86_feature_detected!("avx512bw"),
        "avx512dq" => std::arch::is_x86_feature_detected!("avx512dq"),
        "avx512vl" => std::arch::is_x86_feature_detected!("avx512vl"),
        _ => true,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_has(_: &str) -> bool {
    true
}

/// `main` of a native binary.
///
/// # Safety
/// Called by the generated `main` with its arguments and the program's table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_main(argc: i32, argv: *const *const c_char, program: *const Program) -> i32 {
    // SAFETY: by contract
    let (options, args) = unsafe { command_line(argc, argv) };
    // SAFETY: by contract
    unsafe { run(&*program, &args, &options, |_| {}, |_| {}) }
}

/// `main` of a native binary that prints a profile at its end.
///
/// # Safety
/// As [`tdl_main`]; `profile` is the program's other table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_main_profiled(
    argc: i32,
    argv: *const *const c_char,
    program: *const Program,
    profile: *const Profile,
) -> i32 {
    // SAFETY: by contract
    let (options, args) = unsafe { command_line(argc, argv) };
    // SAFETY: by contract
    let tasks = unsafe { Task::all(&*program, &*profile) };
    let (width, color) = (profile::terminal_width(), matches!(options.form, Form::Text { color: true }));
    let mut shown = profile::Shown { program: options.name.clone(), device: None, limits: None, width, color };
    let started = |ctx: &mut Ctx| {
        shown.limits = Some(profile::Limits::measure(ctx.pool.size()));
        ctx.profile = Some(Box::new(Recorder::new(tasks, false, &ctx.pool)));
    };
    let mut recorder = None;
    let ended = |ctx: &mut Ctx| recorder = ctx.end_profile();
    // SAFETY: by contract
    let code = unsafe { run(&*program, &args, &options, started, ended) };
    if let Some(r) = recorder {
        complain(format_args!("{}", r.table(&shown)));
    }
    code
}

/// How a binary was called, and its arguments.
unsafe fn command_line(argc: i32, argv: *const *const c_char) -> (Options, Vec<String>) {
    let mut args = (0..argc.max(0) as usize)
        // SAFETY: `argv` holds `argc` C strings
        .map(|i| unsafe { CStr::from_ptr(*argv.add(i)) }.to_string_lossy().into_owned());
    let name = args.next().unwrap_or_else(|| "program".into());
    let color = std::io::IsTerminal::is_terminal(&std::io::stderr())
        && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    (Options { name, threads: None, form: Form::Text { color } }, args.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::Text;

    fn parse(args: &[&str]) -> Result<Vec<Option<Value>>, String> {
        let flag = |name, dtype| Flag { name, dtype };
        let params = [
            flag("steps", Dtype::I64 as u32),
            flag("learning_rate", Dtype::F32 as u32),
            flag("name", TEXT),
            flag("on", Dtype::Bool as u32),
        ];
        let args: Vec<String> = args.iter().map(|a| a.to_string()).collect();
        match Flags::parse(&params, &args)? {
            Parsed::Flags(f) => Ok(f.values),
            Parsed::Help => Err("help".into()),
        }
    }

    #[test]
    fn flags_of_every_kind() {
        let all = parse(&["--steps", "1_000", "--learning-rate=0.5", "--name", "a b", "--on"]).expect("parses");
        assert_eq!(
            all,
            [
                Some(Value::Int(1000)),
                Some(Value::Float(0.5, Dtype::F32)),
                Some(Value::Text("a b".into())),
                Some(Value::Bool(true))
            ]
        );
        assert_eq!(parse(&["--on", "false", "--steps", "-3"]).expect("parses")[3], Some(Value::Bool(false)));
    }

    #[test]
    fn wrong_flags_are_explained() {
        for (args, message) in [
            (&["--step", "3"][..], "did you mean `--steps`"),
            (&["--steps", "x"], "`x` is no integer"),
            (&["--steps"], "needs a value"),
            (&["steps"], "unexpected argument"),
            (&["--zzzzzzzz"], "there are --steps"),
            (&["--threads", "0"], "1 to 1024"),
        ] {
            let e = parse(args).expect_err("wrong");
            assert!(e.contains(message), "{e}");
        }
    }

    #[test]
    fn failures_show_their_line() {
        let text = |s: &'static str| Text { ptr: s.as_ptr(), len: s.len() as u64 };
        let site = Site {
            file: text("a.tdl"),
            line: 12,
            column: 5,
            width: 4,
            _pad: 0,
            source: text("let x[i] = 3"),
            inside: text(""),
        };
        let failure = Failure { kind: FailureKind::Index, message: "index 7 is out of range".into(), site: Some(0) };
        // SAFETY: the texts are static
        let out = unsafe { message(&failure, Some(&site), Form::Text { color: false }) };
        assert_eq!(
            out,
            "error[E0702]: index 7 is out of range\n    ╭─[a.tdl:12:5]\n 12 │ let x[i] = 3\n    │     ────\n"
        );
        let site = Site { inside: text("<std>/data.tdl:3:1"), ..site };
        // SAFETY: the texts are static
        let out = unsafe { message(&failure, Some(&site), Form::Text { color: false }) };
        assert!(out.ends_with("│ note: it happened in <std>/data.tdl:3:1\n"), "{out}");
        let failure = Failure { message: "a \"b\"\n\u{1}".into(), ..failure };
        // SAFETY: the texts are static
        let out = unsafe { message(&failure, Some(&site), Form::Json) };
        assert_eq!(
            out,
            r#"{"severity":"error","code":"E0702","message":"a \"b\"\n\u0001","primary":{"file":"a.tdl","line":12,"column":5,"end_line":12,"end_column":9,"text":""},"secondary":[],"notes":["it happened in <std>/data.tdl:3:1"],"help":[]}"#
                .to_owned()
                + "\n"
        );
    }
}
