//! The commands, one function each.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use tdl_driver::{Device, Failure, Options, Session, Stage};
use tdl_source::Style;

use crate::args::{self, Build, Check, ColorChoice, Command, Common, Emit, Repl, Run, Test};
use crate::{explain, repl};

/// Runs a command and returns the process's exit code.
pub fn dispatch(command: Command) -> i32 {
    match command {
        Command::Run(run) => self::run(run),
        Command::Build(build) => self::build(build),
        Command::Check(check) => self::check(check),
        Command::Repl(Repl { common, file }) => repl::repl(options(&common), file, style(&common)),
        Command::Test(test) => self::test(test),
        Command::Emit(emit) => self::emit(emit),
        Command::Explain(e) => match explain::explain(e.code.as_deref()) {
            Ok(text) => write_out(&text),
            Err(message) => {
                eprintln!("error: {message}");
                2
            }
        },
    }
}

fn options(common: &Common) -> Options {
    Options {
        opt_level: common.opt,
        threads: common.threads.map(usize::from),
        cpu: "native".into(),
        cache: !common.no_cache && !common.timings,
        trap_nan: common.trap_nan,
        device: match common.device {
            args::Device::Cpu => Device::Cpu,
            args::Device::Interp => Device::Interp,
        },
        verify: cfg!(debug_assertions) || std::env::var_os("TDL_VERIFY").is_some(),
        color: style(common).color,
        debug: false,
    }
}

/// Colour on a terminal, unless NO_COLOR is set (https://no-color.org).
pub fn style(common: &Common) -> Style {
    let color = match common.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        }
    };
    Style { color, ascii: false }
}

fn run(run: Run) -> i32 {
    let mut session = Session::new(options(&run.common));
    let result = session.run(&run.file, &run.args);
    finish(session, result, &run.common)
}

fn build(build: Build) -> i32 {
    let mut session = {
        let common = options(&build.common);
        // a debugger follows the code as it was written
        let opt_level = if build.debug { 0 } else { common.opt_level };
        Session::new(Options { cpu: build.cpu.clone(), debug: build.debug, opt_level, ..common })
    };
    let output = build.output.clone().unwrap_or_else(|| default_output(&build.file));
    let result = session.build(&build.file, &output).map(|()| 0);
    finish(session, result, &build.common)
}

/// `dir/digits.tdl` becomes `digits` in the current folder.
fn default_output(file: &Path) -> PathBuf {
    match file.file_stem() {
        Some(stem) if file.extension().is_some() => PathBuf::from(stem),
        Some(_) | None => PathBuf::from("a.out"),
    }
}

fn check(check: Check) -> i32 {
    let mut worst = 0;
    for file in &check.files {
        let mut session = Session::new(options(&check.common));
        let result = session.check(file).map(|()| 0);
        worst = worst.max(finish(session, result, &check.common));
    }
    worst
}

fn test(test: Test) -> i32 {
    let mut worst = 0;
    for file in &test.files {
        let mut session = Session::new(options(&test.common));
        let result = session.test(file, test.filter.as_deref(), &mut std::io::stdout());
        worst = worst.max(finish(session, result, &test.common));
    }
    worst
}

fn emit(emit: Emit) -> i32 {
    let stage = match emit.stage {
        args::Stage::Ast => Stage::Ast,
        args::Stage::Typed => Stage::Typed,
        args::Stage::Ir => Stage::Ir,
        args::Stage::Grad => Stage::Grad,
        args::Stage::Opt => Stage::Opt,
        args::Stage::Loops => Stage::Loops,
        args::Stage::Llvm => Stage::Llvm,
        args::Stage::Asm => Stage::Asm,
    };
    let mut session = Session::new(options(&emit.common));
    let result = session.emit(&emit.file, stage).map(|text| write_out(&text));
    finish(session, result, &emit.common)
}

/// Prints the failure, if any, and the timings, if asked for.
fn finish(session: Session, result: Result<i32, Failure>, common: &Common) -> i32 {
    let code = result.unwrap_or_else(|failure| {
        eprint!("{}", failure.text(session.map(), style(common), common.json));
        failure.exit_code()
    });
    if common.timings {
        eprint!("{}", session.timings().table());
    }
    code
}

/// Writes to standard output; a reader that went away is no error.
fn write_out(text: &str) -> i32 {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => 0,
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(e) => {
            eprintln!("error: cannot write: {e}");
            2
        }
    }
}
