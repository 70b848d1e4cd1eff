//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A small language for tensors: shapes checked before anything runs, gradients built in, native code.
#[derive(Debug, Parser)]
#[command(name = "tdl", version, max_term_width = 100, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  tdl run examples/digits.tdl                  train, with the program's own defaults
  tdl run examples/digits.tdl -- --epochs 5    arguments after `--` go to the program's `main`
  tdl run examples/digits.tdl -- --help        what `main` takes
  tdl build examples/digits.tdl -o digits      a native binary that needs nothing else
  tdl repl                                     try things out
  tdl explain E0401                            what an error code means";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compile a program and run its `main`
    Run(Run),
    /// Compile a program to a native binary
    Build(Build),
    /// Check names, types and shapes without running anything
    Check(Check),
    /// Type expressions and see their values
    Repl(Repl),
    /// Run the `test` blocks and the examples in doc comments
    Test(Test),
    /// Print what a stage of the compiler produces
    Emit(Emit),
    /// Explain an error code such as E0401; without one, list them all
    Explain(Explain),
}

#[derive(Debug, Args)]
pub struct Common {
    /// Threads for the program's kernels [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Where the program runs
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,
    /// Optimization level: 0 to 3
    #[arg(short = 'O', value_name = "LEVEL", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub opt: u8,
    /// Print how long each pass took, and the peak of the program's memory, to standard error
    #[arg(long)]
    pub timings: bool,
    /// Print diagnostics as JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// Colour in diagnostics
    #[arg(long, value_enum, default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
    /// Stop with an error at the expression that first gives a NaN
    #[arg(long)]
    pub trap_nan: bool,
    /// Do not read or write the cache of compiled programs
    #[arg(long)]
    pub no_cache: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// Native code on this machine's processor
    Cpu,
    /// The reference interpreter: slow, for comparison
    Interp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub common: Common,
    /// The program
    pub file: PathBuf,
    /// What the program's `main` takes: `-- --steps 500`
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Build {
    #[command(flatten)]
    pub common: Common,
    /// The program
    pub file: PathBuf,
    /// The binary to write [default: the program's name without `.tdl`]
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// The processor to compile for: `native`, `x86-64-v3`, or another name LLVM knows
    #[arg(long, default_value = "native", value_name = "NAME")]
    pub cpu: String,
    /// Compile for a debugger: DWARF places and variables, no optimization
    #[arg(short = 'g', long)]
    pub debug: bool,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub common: Common,
    /// The programs
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Repl {
    #[command(flatten)]
    pub common: Common,
    /// A file to load first
    pub file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Test {
    #[command(flatten)]
    pub common: Common,
    /// The programs
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Run only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
}

#[derive(Debug, Args)]
pub struct Emit {
    #[command(flatten)]
    pub common: Common,
    /// Which stage
    #[arg(long, value_enum)]
    pub stage: Stage,
    /// The program
    pub file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// The syntax tree
    Ast,
    /// The syntax tree with types
    Typed,
    /// Tensor IR as elaborated
    Ir,
    /// Tensor IR after differentiation
    Grad,
    /// Tensor IR after all passes
    Opt,
    /// Loop IR: buffers and kernels
    Loops,
    /// LLVM IR
    Llvm,
    /// Assembly
    Asm,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// The code
    pub code: Option<String>,
}
