//! GPUs without a GPU: the PTX of all programs of `tests/run`, as NVIDIA's assembler takes it, and what the commands say.
//!
//! The assembler is `ptxas` of the variable TDL_PTXAS or of the path (the wheel `nvidia-cuda-nvcc-cu12` has it); without one its
//! trials are left out, and said to be.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};
use support::{expect, name, output, programs, root, stderr, stdout, tdl};

const ARCHITECTURES: [&str; 3] = ["sm_75", "sm_80", "sm_90a"];

fn main() {
    let mut trials = vec![
        Trial::test("a_binary_has_no_simulated_gpu", a_binary_has_no_simulated_gpu),
        Trial::test("ptx_of_an_unknown_gpu", ptx_of_an_unknown_gpu),
        Trial::test("ptx_has_the_kernels", ptx_has_the_kernels),
        Trial::test("tests_and_properties", tests_and_properties),
        Trial::test("benchmarks", benchmarks),
        Trial::test("out_of_memory", out_of_memory),
    ];
    match ptxas() {
        Some(ptxas) => {
            for path in programs(&root().join("tests/run")) {
                let ptxas = ptxas.clone();
                trials.push(Trial::test(format!("{}::ptxas", name(&path)), move || assembles(&ptxas, &path)));
            }
        }
        None => eprintln!("no `ptxas` in TDL_PTXAS or on the path: PTX is not assembled"),
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn ptxas() -> Option<PathBuf> {
    let name = std::env::var_os("TDL_PTXAS").map_or("ptxas".into(), PathBuf::from);
    Command::new(&name).arg("--version").output().ok().filter(|o| o.status.success()).map(|_| name)
}

fn assembles(ptxas: &Path, program: &Path) -> Result<(), Failed> {
    let file = program.to_string_lossy();
    for arch in ARCHITECTURES {
        let out = output(&mut tdl(&["emit", "--stage", "ptx", "--cpu", arch, &file], &root()));
        expect(out.status.success(), stderr(&out))?;
        let ptx = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.{arch}.ptx", name(program)));
        std::fs::write(&ptx, &out.stdout)?;
        let done = output(Command::new(ptxas).args(["-arch", arch, "-o", "/dev/null"]).arg(&ptx));
        expect(done.status.success(), format!("{arch}: {}{}", stdout(&done), stderr(&done)))?;
        std::fs::remove_file(ptx)?;
    }
    Ok(())
}

/// A folder with one program, `a.tdl`.
fn with(text: &str) -> Result<tempfile::TempDir, Failed> {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("a.tdl"), text)?;
    Ok(dir)
}

fn a_binary_has_no_simulated_gpu() -> Result<(), Failed> {
    let dir = with("fn main() { print(1) }\n")?;
    let out = output(&mut tdl(&["build", "--device", "sim", "a.tdl"], dir.path()));
    expect(out.status.code() == Some(1) && stderr(&out).contains("error[E0603]"), stderr(&out))?;
    expect(!dir.path().join("a").exists(), "a binary was written")
}

fn ptx_of_an_unknown_gpu() -> Result<(), Failed> {
    let dir = with("fn main() { print(ones(f32[3])) }\n")?;
    let out = output(&mut tdl(&["emit", "--stage", "ptx", "--cpu", "sm_1", "a.tdl"], dir.path()));
    let message = "error: there is no GPU `sm_1`; there are sm_75, sm_80, sm_86, sm_89, sm_90, sm_90a\n";
    expect(out.status.code() == Some(2) && stderr(&out) == message, stderr(&out))
}

fn ptx_has_the_kernels() -> Result<(), Failed> {
    let dir = with("fn main() {\n  let x = [[1.0, 2.0], [3.0, 4.0]]\n  print(x @ x, sum(exp(x)))\n}\n")?;
    let out = output(&mut tdl(&["emit", "--stage", "ptx", "--cpu", "sm_80", "a.tdl"], dir.path()));
    let text = stdout(&out);
    expect(text.matches(".visible .entry k").count() >= 2, &text)?;
    for part in [".target sm_80", "bar.sync", "ld.shared.f32", "fma.rn.f32", "%ctaid.x"] {
        expect(text.contains(part), format!("no {part} in\n{text}"))?;
    }
    Ok(())
}

fn tests_and_properties() -> Result<(), Failed> {
    let dir = with(
        "test \"sums\" { assert sum(ones(f32[1000])) == 1000.0 }\n\
         test \"wrong\" { assert sum(ones(f32[10])) == 9.0 }\n\
         prop \"transpose\" (x: f32[n, m]) { all(x.T.T == x) }\n",
    )?;
    let out = output(&mut tdl(&["test", "--device", "sim", "--cases", "10", "a.tdl"], dir.path()));
    let text = stdout(&out);
    expect(out.status.code() == Some(1) && text.ends_with("2 passed, 1 failed\n"), format!("{text}{}", stderr(&out)))?;
    expect(text.contains("─[a.tdl:2:"), text)
}

fn benchmarks() -> Result<(), Failed> {
    let dir = with("bench \"product\" for n in [8] { ones(f32[n, n]) @ ones(f32[n, n]) }\n")?;
    let out = output(&mut tdl(&["bench", "--device", "sim", "--time", "0.01", "a.tdl"], dir.path()));
    expect(out.status.success() && stdout(&out).contains("product"), format!("{}{}", stdout(&out), stderr(&out)))
}

fn out_of_memory() -> Result<(), Failed> {
    let dir = with("fn main() {\n  let n = 1 << 50\n  print(sum(ones(f32[n])) > 0.0)\n  print(ones(f32[n])[0])\n}\n")?;
    let out = output(&mut tdl(&["run", "--device", "sim", "a.tdl"], dir.path()));
    let cpu = output(&mut tdl(&["run", "a.tdl"], dir.path()));
    expect(out.status.code() == cpu.status.code(), format!("{}\n{}", stderr(&out), stderr(&cpu)))
}
