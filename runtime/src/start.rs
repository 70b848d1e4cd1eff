//! The start of a program: flags become `main`'s parameters, failures become messages. One path for native binaries and for
//! `tdl run`.

use std::ffi::{CStr, c_char};

use crate::abi::{Dtype, OK, Param, Profile, Program, TEXT, VERSION};
use crate::context::{Ctx, Failure, FailureKind, Output};
use crate::output::{complain, put};
use crate::profile::{self, Recorder, Task};
pub use crate::report::message;

/// What a start needs besides the program.
pub struct Options {
    /// As the user calls it, for `--help`.
    pub name: String,
    /// Threads; all cores if none is given.
    pub threads: Option<usize>,
    pub form: Form,
    /// Whether the program has a flag `--device`.
    pub devices: bool,
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
        return refuse(options, "the program was made for another version of the runtime", None);
    }
    // SAFETY: by contract
    let (params, features) = unsafe { (slice(program.params, program.n_params.into()), program.features.as_str()) };
    if let Some(missing) = features.split(',').find(|f| !f.is_empty() && !cpu_has(f)) {
        let message = format!("this processor lacks `{missing}`, for which the program was compiled");
        return refuse(options, &message, Some("build it with `tdl build --cpu x86-64-v2`"));
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
            return refuse(options, &format!("{message}\nFor what there is, try '--help'."), None);
        }
    };
    let Some(entry) = program.entry else {
        return refuse(options, "the program has no `main`", None);
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
                let message = format!("the flag `--{name}` is missing\nFor what there is, try '--help'.");
                return refuse(options, &message, None);
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
    complain(format_args!("{}", unsafe { message(&failure, slice(program.sites, program.n_sites), options.form) }));
    1
}

/// Says why the program was not started; the exit code of that.
fn refuse(options: &Options, message: &str, help: Option<&str>) -> i32 {
    complain(format_args!("{}", refusal(options.form, message, help)));
    2
}

fn refusal(form: Form, message: &str, help: Option<&str>) -> String {
    match form {
        Form::Text { .. } => {
            let help = help.map_or_else(String::new, |h| format!("help: {h}\n"));
            format!("error: {message}\n{help}")
        }
        Form::Json => {
            let quoted = crate::report::quoted;
            let help = help.map_or_else(String::new, |h| format!(r#"{{"text":{},"edit":null}}"#, quoted(h)));
            format!(
                "{{\"severity\":\"error\",\"code\":null,\"message\":{},\"primary\":null,\"secondary\":[],\"notes\":[],\"help\":[{help}]}}\n",
                quoted(message)
            )
        }
    }
}

/// The failure of a program whose output could not be written.
pub fn unwritten(e: &std::io::Error, form: Form) -> String {
    let message = format!("cannot write to standard output: {e}");
    let failure = Failure::new(FailureKind::Io, message);
    // SAFETY: there is no site
    unsafe { self::message(&failure, &[], form) }
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
            // an f32 is rounded once too
            Some(d @ Dtype::F32) => {
                clean.parse::<f32>().map(|x| Value::Float(x.into(), d)).map_err(|_| format!("`{text}` is no number"))
            }
            Some(d @ (Dtype::F16 | Dtype::Bf16 | Dtype::F64)) => {
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
            Value::Float(x, Dtype::F16) => crate::fmt::to_f16(*x).to_bits().into(),
            Value::Float(x, Dtype::Bf16) => crate::fmt::to_bf16(*x).to_bits().into(),
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

/// Where a binary for a GPU is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing was said.
    Any,
    Cpu,
    Gpu(u32),
    /// Nowhere: the flags are listed.
    Help,
}

impl Choice {
    /// Takes `--device` out of a command line.
    pub fn take(args: &mut Vec<String>) -> Result<Choice, String> {
        if args.iter().any(|a| a == "--help" || a == "-h") {
            return Ok(Choice::Help);
        }
        let Some(at) = args.iter().position(|a| a == "--device" || a.starts_with("--device=")) else {
            return Ok(Choice::Any);
        };
        let flag = args.remove(at);
        let value = match flag.split_once('=') {
            Some((_, value)) => value.to_owned(),
            None if at < args.len() => args.remove(at),
            None => return Err("`--device` needs a value".into()),
        };
        let number = value.strip_prefix("cuda:").and_then(|n| n.parse().ok());
        match (value.as_str(), number) {
            ("cpu", _) => Ok(Choice::Cpu),
            ("cuda", _) => Ok(Choice::Gpu(0)),
            (_, Some(number)) => Ok(Choice::Gpu(number)),
            _ => {
                Err(format!("`--device`: there is no `{value}`; there are `cuda`, `cuda:1` (the second GPU) and `cpu`"))
            }
        }
    }
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
    help(unsafe { program.doc.as_str() }, &options.name, flags, &defaults, options.devices)
}

/// The text of `--help`; a flag without a default must be given. `devices`: there is a flag `--device`.
pub fn help(doc: &str, name: &str, flags: &[Flag<'_>], defaults: &[Option<String>], devices: bool) -> String {
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
    if devices {
        rows.push(("--device <name>".into(), "cuda, cuda:1, cpu [default: a GPU if there is one]".into()));
    }
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
pub(crate) unsafe fn command_line(argc: i32, argv: *const *const c_char) -> (Options, Vec<String>) {
    let mut args = (0..argc.max(0) as usize)
        // SAFETY: `argv` holds `argc` C strings
        .map(|i| unsafe { CStr::from_ptr(*argv.add(i)) }.to_string_lossy().into_owned());
    let name = args.next().unwrap_or_else(|| "program".into());
    let color = std::io::IsTerminal::is_terminal(&std::io::stderr())
        && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    (Options { name, threads: None, form: Form::Text { color }, devices: false }, args.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_its_help_in_both_forms() {
        let text = refusal(Form::Text { color: false }, "no", Some("write `x`"));
        assert_eq!(text, "error: no\nhelp: write `x`\n");
        let json = refusal(Form::Json, "no", Some("write `x`"));
        assert!(json.contains(r#""message":"no""#) && json.contains(r#""help":[{"text":"write `x`","edit":null}]"#));
        assert!(refusal(Form::Json, "no", None).contains(r#""help":[]"#));
    }

    #[test]
    fn floats_of_flags_are_rounded_once() {
        let near = |text: &str, d: Dtype| match Value::parse(d as u32, text) {
            Ok(Value::Float(x, _)) => x,
            _ => f64::NAN,
        };
        // a little above the middle of two f32s, where an f64 is the middle
        let above = "1.000000059604644775390625000001";
        assert_eq!(near(above, Dtype::F32), f64::from(above.parse::<f32>().unwrap_or_default()));
    }

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
    fn a_device_is_taken_out_of_the_flags() {
        let take = |args: &[&str]| {
            let mut args: Vec<String> = args.iter().map(|a| a.to_string()).collect();
            Choice::take(&mut args).map(|c| (c, args.join(" ")))
        };
        assert_eq!(take(&["--n", "3"]), Ok((Choice::Any, "--n 3".into())));
        assert_eq!(take(&["--device", "cpu", "--n", "3"]), Ok((Choice::Cpu, "--n 3".into())));
        assert_eq!(take(&["--n", "3", "--device=cuda:2"]), Ok((Choice::Gpu(2), "--n 3".into())));
        assert_eq!(take(&["--device", "cuda"]), Ok((Choice::Gpu(0), String::new())));
        assert_eq!(take(&["--help", "--device", "x"]), Ok((Choice::Help, "--help --device x".into())));
        assert!(take(&["--device"]).is_err_and(|e| e.contains("needs a value")));
        assert!(take(&["--device", "gpu"]).is_err_and(|e| e.contains("there is no `gpu`")));
    }
}
