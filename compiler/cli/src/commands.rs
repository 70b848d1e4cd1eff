//! The commands, one function each.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use tdl_driver::{BenchOptions, Device, Failure, Measure, Options, Session, Stage, Summary, TestOptions};
use tdl_source::Style;

use crate::args::{self, Bench, Build, Check, ColorChoice, Command, Common, Emit, Repl, Run, Test};
use crate::{explain, fmt, new, repl};

/// Runs a command and returns the process's exit code.
pub fn dispatch(command: Command) -> i32 {
    match command {
        Command::Run(run) => self::run(run),
        Command::Build(build) => self::build(build),
        Command::Check(check) => self::check(check),
        Command::Repl(Repl { common, file }) => repl::repl(options(&common), file, style(&common)),
        Command::Test(test) => self::test(test),
        Command::Bench(bench) => self::bench(bench),
        Command::Fmt(fmt) => fmt::fmt(&fmt),
        Command::Lsp(_) => tdl_lsp::serve(editor_options()),
        Command::Doc(doc) => crate::doc::doc(&doc),
        Command::New(new) => new::new(&new.name),
        Command::Emit(emit) => self::emit(emit),
        Command::Explain(e) => match explain::explain(e.code.as_deref()) {
            Ok(text) => {
                say!("{text}");
                0
            }
            Err(message) => {
                complainln!("error: {message}");
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
        device: common.device,
        verify: cfg!(debug_assertions) || std::env::var_os("TDL_VERIFY").is_some(),
        color: style(common).color,
        json: common.json,
        debug: false,
        profile: false,
    }
}

/// Nothing is compiled for an editor.
fn editor_options() -> Options {
    Options {
        opt_level: 2,
        threads: None,
        cpu: "native".into(),
        cache: false,
        trap_nan: false,
        device: Device::Cpu,
        verify: cfg!(debug_assertions) || std::env::var_os("TDL_VERIFY").is_some(),
        color: false,
        json: false,
        debug: false,
        profile: false,
    }
}

/// Colour on a terminal, unless NO_COLOR is set (https://no-color.org).
pub fn style(common: &Common) -> Style {
    style_of(common.color)
}

pub fn style_of(choice: ColorChoice) -> Style {
    let color = match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        }
    };
    Style { color, ascii: false }
}

fn run(run: Run) -> i32 {
    let mut session = Session::new(Options { profile: run.profile.is_some(), ..options(&run.common) });
    let trace = run.profile.as_ref().and_then(Option::as_deref);
    let result = session.run(&run.file, &run.args, trace);
    finish(session, result, &run.common)
}

fn build(build: Build) -> i32 {
    let mut session = {
        let common = options(&build.common);
        // a debugger follows the code as it was written
        let opt_level = if build.debug { 0 } else { common.opt_level };
        Session::new(Options {
            cpu: build.cpu.clone(),
            debug: build.debug,
            profile: build.profile,
            opt_level,
            ..common
        })
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
    tdl_driver::catch_interrupts(tdl_driver::Second::Ends);
    let options = TestOptions {
        filter: test.filter.clone(),
        seed: test.seed,
        cases: test.cases,
        non_finite: test.non_finite,
        json: test.common.json,
    };
    let (mut worst, mut total) = (0, Summary::default());
    for file in &test.files {
        let mut session = Session::new(self::options(&test.common));
        if test.files.len() > 1 && !options.json {
            sayln!("{}:", file.display());
        }
        let result = session.test(file, &options, &mut std::io::stdout());
        let result = result.map(|summary| {
            total += summary;
            i32::from(summary.failed > 0)
        });
        worst = worst.max(finish(session, result, &test.common));
        if total.interrupted {
            return 130;
        }
    }
    let Summary { passed, failed, .. } = total;
    if worst > 0 && total == Summary::default() {
        // nothing ran: the error is all there is to say
        return worst;
    }
    if options.json {
        sayln!("{{\"passed\":{passed},\"failed\":{failed}}}");
    } else {
        sayln!("{passed} passed, {failed} failed");
    }
    worst
}

fn bench(bench: Bench) -> i32 {
    tdl_driver::catch_interrupts(tdl_driver::Second::Ends);
    let usage = |message: String| {
        if bench.common.json {
            complain!("{}", tdl_source::usage_json(&message));
        } else {
            complainln!("error: {message}");
        }
        2
    };
    let baseline: Option<Vec<Measure>> = match &bench.baseline {
        None => None,
        Some(path) => {
            let shown = path.display();
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(e) => return usage(format!("cannot read `{shown}`: {e}")),
            };
            match serde_json::from_str(&text) {
                Ok(measures) => Some(measures),
                Err(e) => return usage(format!("`{shown}` is no file that `tdl bench --save` wrote: {e}")),
            }
        }
    };
    let options = BenchOptions {
        filter: bench.filter.clone(),
        time: std::time::Duration::from_secs_f64(bench.time),
        baseline,
        json: bench.common.json,
    };
    let (mut worst, mut all) = (0, Vec::new());
    for file in &bench.files {
        let mut session = Session::new(self::options(&bench.common));
        let result = session.bench(file, &options, &mut std::io::stdout()).map(|measures| {
            all.extend(measures);
            0
        });
        worst = worst.max(finish(session, result, &bench.common));
    }
    if all.is_empty() && worst == 0 && !options.json {
        sayln!("no benchmarks");
    }
    if let (Some(path), 0) = (&bench.save, worst) {
        let text = serde_json::to_string_pretty(&all).unwrap_or_default() + "\n";
        if let Err(e) = std::fs::write(path, text) {
            return usage(format!("cannot write `{}`: {e}", path.display()));
        }
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
        args::Stage::Ptx => Stage::Ptx,
    };
    let mut session = Session::new(Options { cpu: emit.cpu, ..options(&emit.common) });
    let result = session.emit(&emit.file, stage).map(|text| {
        say!("{text}");
        0
    });
    finish(session, result, &emit.common)
}

/// Prints the failure, if any, and the timings, if asked for.
fn finish(session: Session, result: Result<i32, Failure>, common: &Common) -> i32 {
    let code = result.unwrap_or_else(|failure| {
        complain!("{}", failure.text(session.map(), style(common), common.json));
        failure.exit_code()
    });
    if common.timings {
        complain!("{}", session.timings().table());
    }
    code
}
