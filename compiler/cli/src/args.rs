//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tdl_driver::Device;

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
    #[command(after_help = RUN_HELP)]
    Run(Run),
    /// Compile a program to a native binary
    #[command(after_help = BUILD_HELP)]
    Build(Build),
    /// Check names, types and shapes without running anything
    Check(Check),
    /// Type expressions and see their values
    Repl(Repl),
    /// Run the `test` and `prop` blocks and the examples in doc comments
    #[command(after_help = TEST_HELP)]
    Test(Test),
    /// Measure the `bench` blocks
    #[command(after_help = BENCH_HELP)]
    Bench(Bench),
    /// Format source files in place
    #[command(after_help = FMT_HELP)]
    Fmt(Fmt),
    /// Write HTML pages about a module, or about the standard library
    Doc(Doc),
    /// Start a project: a folder with a program, its tests and a README
    New(New),
    /// Print what a stage of the compiler produces
    #[command(after_help = EMIT_HELP)]
    Emit(Emit),
    /// Explain an error code such as E0401; without one, list them all
    Explain(Explain),
    /// Serve an editor: errors, types and completion while typing
    #[command(after_help = LSP_HELP)]
    Lsp(Lsp),
}

const RUN_HELP: &str = "Arguments after `--` are the parameters of the program's `main`:
  fn main(steps: i64 = 200, lr: f32 = 0.1) { … }
  tdl run train.tdl -- --steps 500 --lr 0.01
  tdl run train.tdl -- --help";

const BUILD_HELP: &str =
    "The binary takes `main`'s parameters as flags (`--help` lists them) and needs no tdl at run time.";

const TEST_HELP: &str = "What is run:
  test \"softmax sums to one\" { assert allclose(sum(softmax([1.0, 2.0])), 1.0) }
  test \"bad product\" expect error E0401 { ones(f32[2, 3]) @ ones(f32[2, 3]) }
  prop \"transpose twice\" (x: f32[n, m]) { all(x.T.T == x) }
  and code blocks in `##` comments

A property is tried with random sizes (0 and 1 first) and values; one that fails is shown with the simplest values
found. The same seed gives the same values. Exit code 1 if a test failed.";

const BENCH_HELP: &str = "What is measured:
  bench \"matmul\" for n in [256, 512] { ones(f32[n, n]) @ ones(f32[n, n]) }

Each block is called until warm and then for --time seconds. Shown is the median; ± is half the width of the middle
half of the times. A change against the baseline counts when the middle halves do not touch.";

const FMT_HELP: &str =
    "Files are rewritten in place; `-` reads standard input and writes standard output. With --check nothing is
written: what would change is shown and the exit code is 1.";

const EMIT_HELP: &str = "Stages in order: ast, typed, ir (tensor IR), grad (after differentiation), opt (after all passes), loops (buffers and
kernels), llvm, asm, ptx (assembly of a GPU). The output goes to standard output.";

const LSP_HELP: &str = "An editor starts this by itself and speaks the Language Server Protocol with it over standard input and output. How to
set up VS Code, Neovim, Helix and Emacs is in the book, chapter \"Editors\".";

#[derive(Debug, Args)]
pub struct Lsp {
    /// Accepted because many editors pass it; there is no other way
    #[arg(long)]
    pub stdio: bool,
}

#[derive(Debug, Args)]
pub struct Common {
    /// Threads for the program's kernels [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Where the program runs: `cpu`; `cuda` or `cuda:1`, an NVIDIA GPU; `sim`, a simulated GPU that finds races in
    /// kernels; `interp`, the reference interpreter. The last two are slow, for comparison
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: Device,
    /// Optimization level: 0 to 3
    #[arg(short = 'O', value_name = "LEVEL", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub opt: u8,
    /// Print how long each pass took, and the peak of the program's memory, to standard error
    #[arg(long)]
    pub timings: bool,
    /// Print diagnostics, those of a program that fails included, as JSON, one object a line
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

/// `cpu`, `interp` (the reference interpreter), `sim` (the simulated GPU), or `cuda` with the number of a GPU.
fn device(text: &str) -> Result<Device, String> {
    let number = text.strip_prefix("cuda:").map(str::parse);
    match (text, number) {
        ("cpu", _) => Ok(Device::Cpu),
        ("interp", _) => Ok(Device::Interp),
        ("sim", _) => Ok(Device::Sim),
        ("cuda", _) => Ok(Device::Cuda(0)),
        (_, Some(Ok(number))) => Ok(Device::Cuda(number)),
        _ => Err("a device is `cpu`, `cuda`, `cuda:1` (the second GPU), `sim` or `interp`".into()),
    }
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
    /// Print where the time went, by source line and kernel, to standard error; with a file (`--profile=trace.json`), also
    /// write a trace there for ui.perfetto.dev
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub profile: Option<Option<PathBuf>>,
    /// The program; `-` is standard input
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
    /// Let the binary print where its time went, at its end, to standard error
    #[arg(long)]
    pub profile: bool,
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
    /// Seed of the values that properties are tried with
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// How many values each property is tried with
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub cases: u32,
    /// Try properties with inf and nan too
    #[arg(long)]
    pub non_finite: bool,
}

#[derive(Debug, Args)]
pub struct Bench {
    #[command(flatten)]
    pub common: Common,
    /// The programs
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Run only benchmarks whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// How long each one is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub time: f64,
    /// Write the measurements to a file
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Compare with the measurements in a file that --save wrote
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "no number".to_owned())?;
    if (0.0..=3600.0).contains(&value) { Ok(value) } else { Err("between 0 and 3600".into()) }
}

#[derive(Debug, Args)]
pub struct Fmt {
    /// The files; `-` is standard input
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Write nothing; show what would change and exit with 1 if anything would
    #[arg(long)]
    pub check: bool,
    /// Colour in diagnostics
    #[arg(long, value_enum, default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
}

#[derive(Debug, Args)]
pub struct Doc {
    /// The modules
    #[arg(required_unless_present = "std")]
    pub files: Vec<PathBuf>,
    /// The standard library
    #[arg(long)]
    pub std: bool,
    /// The folder to write to
    #[arg(short, long, value_name = "DIR", default_value = "doc")]
    pub output: PathBuf,
    /// Colour in diagnostics
    #[arg(long, value_enum, default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
}

#[derive(Debug, Args)]
pub struct New {
    /// The folder to make; its last part is the project's name
    pub name: PathBuf,
}

#[derive(Debug, Args)]
pub struct Emit {
    #[command(flatten)]
    pub common: Common,
    /// Which stage
    #[arg(long, value_enum)]
    pub stage: Stage,
    /// The processor that the stages llvm, asm and ptx are for: `native`, a name LLVM knows; for ptx `sm_75`, `sm_80`, …
    #[arg(long, default_value = "native", value_name = "NAME")]
    pub cpu: String,
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
    /// GPU assembly
    Ptx,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// The code
    pub code: Option<String>,
}
