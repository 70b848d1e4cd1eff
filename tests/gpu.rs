//! GPUs without a GPU: the PTX of all programs of `tests/run`, as NVIDIA's assembler takes it, and what the commands say.
//!
//! The assembler is `ptxas` of the variable TDL_PTXAS or of the path (the wheel `nvidia-cuda-nvcc-cu12` has it); without one its
//! trials are left out, and said to be.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use support::{expect, fake_driver, name, output, programs, root, stderr, stdout, tdl};

const ARCHITECTURES: [&str; 3] = ["sm_75", "sm_80", "sm_90a"];

fn main() {
    let mut trials = vec![
        Trial::test("a_binary_has_no_simulated_gpu", a_binary_has_no_simulated_gpu),
        Trial::test("ptx_of_an_unknown_gpu", ptx_of_an_unknown_gpu),
        Trial::test("ptx_has_the_kernels", ptx_has_the_kernels),
        Trial::test("tests_and_properties", tests_and_properties),
        Trial::test("benchmarks", benchmarks),
        Trial::test("out_of_memory", out_of_memory),
        Trial::test("out_of_memory_names_what_holds_it", out_of_memory_names_what_holds_it),
        Trial::test("freed_memory_is_given_back_before_it_is_out", freed_memory_is_given_back_before_it_is_out),
        Trial::test("binaries_for_a_gpu", binaries_for_a_gpu),
        Trial::test("copies_larger_than_a_place_for_them", copies_larger_than_a_place_for_them),
        Trial::test("no_driver", no_driver),
        Trial::test("what_is_asked_of_a_driver", what_is_asked_of_a_driver),
        Trial::test("one_of_several_devices", one_of_several_devices),
        Trial::test("a_driver_that_fails", a_driver_that_fails),
        Trial::test("a_repeated_step_is_a_graph", a_repeated_step_is_a_graph),
        Trial::test("profiles_have_the_times_of_the_gpu", profiles_have_the_times_of_the_gpu),
    ];
    match ptxas() {
        Some(ptxas) => {
            let same = ptxas.clone();
            trials.push(Trial::test("products_are_those_of_tensor_cores::ptxas", move || products(&same)));
            let same = ptxas.clone();
            trials.push(Trial::test("attention_has_no_matrix_of_scores::ptxas", move || attention(&same)));
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

/// Products in all orders of their operands: what instructions they are made of, and that sums stay in registers.
fn products(ptxas: &Path) -> Result<(), Failed> {
    let mut text = String::from("fn main(n: i64 = 8) {\n");
    for (i, dtype) in ["f32", "f64", "i32", "f16", "bf16"].into_iter().enumerate() {
        text += &format!(
            "  let x{i} = {dtype}(reshape(arange(i64[n * n]), [n, n]))\n  let y{i} = stack((x{i}, x{i}))\n  print(x{i} @ x{i}, x{i}.T @ x{i}, x{i} @ x{i}.T, x{i}.T @ x{i}.T)\n"
        );
        text += &format!("  print(y{i} @ x{i}, x{i} + x{i} @ x{i})\n");
        // with few columns: by lines, by columns, in parts
        for (name, rows, cols, inner) in [("u", "n", 1, 640), ("v", "n", 8, 640), ("w", "64", 5, 4096)] {
            text += &format!(
                "  let {name}{i} = {dtype}(reshape(arange(i64[{rows} * {inner}]), [{rows}, {inner}]))\n  let {name}v{i} = {dtype}(reshape(arange(i64[{inner} * {cols}]), [{cols}, {inner}]))\n  print({name}{i} @ {name}v{i}.T)\n  let {name}t{i} = {dtype}(reshape(arange(i64[{rows} * {inner}]), [{inner}, {rows}]))\n  print({name}v{i} @ {name}t{i})\n"
            );
        }
    }
    let dir = with(&(text + "}\n"))?;
    for (arch, parts) in [
        ("sm_75", ["mma.sync.aligned.m16n8k8.row.col.f32.f16", "shfl.sync.idx", "ldmatrix"].as_slice()),
        ("sm_80", &["m16n8k16.row.col.f32.f16", "m16n8k16.row.col.f32.bf16", "x4.trans", "cp.async.cg"]),
        ("sm_90a", &["m16n8k16.row.col.f32.f16", "m16n8k16.row.col.f32.bf16", "x4.trans", "cp.async.cg"]),
    ] {
        let out = output(&mut tdl(&["emit", "--stage", "ptx", "--cpu", arch, "a.tdl"], dir.path()));
        let ptx = stdout(&out);
        for part in parts.iter().chain(&["ld.global.nc.v4.f32", "ld.shared.v4.f32", "fma.rn.f32", "fma.rn.f64"]) {
            expect(ptx.contains(part), format!("{arch}: no {part}"))?;
        }
        unspilt(ptxas, arch, &ptx, dir.path(), 60)?;
    }
    Ok(())
}

/// Attention and its derivative: kernels of their own, whose sums stay in registers, and nothing with all scores.
fn attention(ptxas: &Path) -> Result<(), Failed> {
    let mut text = String::from("import nn.attention\n\nfn main(n: i64 = 8) {\n");
    for dtype in ["f32", "f16", "bf16"] {
        text += &format!("  let x = {dtype}(reshape(arange(i64[n * 64]), [n, 64]))\n");
        text += &format!("  let f = |x: {dtype}[n, 64]| f32(sum(attention(x, x + 1.0, x * 0.5, causal: true)))\n");
        text += "  print(grad(f)(x))\n";
    }
    let dir = with(&(text + "}\n"))?;
    let out = output(&mut tdl(&["emit", "--stage", "loops", "--device", "sim", "a.tdl"], dir.path()));
    let loops = stdout(&out);
    for dtype in ["f32", "f16", "bf16"] {
        for kernel in ["attention", "attention_grad.q", "attention_grad.kv"] {
            expect(loops.contains(&format!("kernel {kernel}.{dtype}.")), format!("no {kernel}.{dtype}: {loops}"))?;
        }
    }
    expect(!loops.contains("launch product"), loops)?;
    for (arch, part) in [
        ("sm_75", "mma.sync.aligned.m16n8k8.row.col.f32.f16"),
        ("sm_80", "m16n8k16.row.col.f32.bf16"),
        ("sm_90a", "m16n8k16.row.col.f32.bf16"),
    ] {
        let ptx = stdout(&output(&mut tdl(&["emit", "--stage", "ptx", "--cpu", arch, "a.tdl"], dir.path())));
        expect(ptx.contains(part), format!("{arch}: no {part}"))?;
        unspilt(ptxas, arch, &ptx, dir.path(), 9)?;
    }
    Ok(())
}

/// Assembles a program of so many kernels or more, all of whose values stay in registers.
fn unspilt(ptxas: &Path, arch: &str, ptx: &str, dir: &Path, least: usize) -> Result<(), Failed> {
    let file = dir.join("a.ptx");
    std::fs::write(&file, ptx)?;
    let done = output(Command::new(ptxas).args(["-v", "-arch", arch, "-o", "/dev/null"]).arg(&file));
    let report = format!("{}{}", stdout(&done), stderr(&done));
    expect(done.status.success(), format!("{arch}: {report}"))?;
    let kernels = report.matches("bytes spill stores").count();
    let kept = report.matches(" 0 bytes spill stores, 0 bytes spill loads").count();
    expect(kernels >= least && kernels == kept, format!("{arch}: {report}"))
}

/// A folder with one program, `a.tdl`.
fn with(text: &str) -> Result<tempfile::TempDir, Failed> {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("a.tdl"), text)?;
    Ok(dir)
}

fn a_binary_has_no_simulated_gpu() -> Result<(), Failed> {
    let dir = with("fn main() { print(1) }\n")?;
    for (flags, message) in [
        (["--device=sim"].as_slice(), "error[E0605]: cannot build: no binary runs on the simulated GPU\n"),
        (&["--device=cuda", "--profile"], "error[E0605]: cannot build: a binary for a GPU has no profile\n"),
    ] {
        let out = output(&mut tdl(&[&["build"], flags, &["a.tdl"]].concat(), dir.path()));
        expect(out.status.code() == Some(1) && stderr(&out).starts_with(message), stderr(&out))?;
        expect(!dir.path().join("a").exists(), "a binary was written")?;
    }
    Ok(())
}

fn binaries_for_a_gpu() -> Result<(), Failed> {
    let dir = with_driver()?;
    let none = tempfile::tempdir()?;
    let mut assemblers = vec![(none.path().join("ptxas"), "assembly\n")];
    assemblers.extend(ptxas().map(|p| (p, "machine code\n")));
    for (assembler, image) in assemblers {
        let mut build = tdl(&["build", "--device", "cuda", "a.tdl"], dir.path());
        let out = output(build.env("TDL_PTXAS", assembler));
        expect(out.status.success() && stderr(&out).is_empty(), stderr(&out))?;
        let run = |driver: &Path, fails: &str, args: &[&str]| {
            let mut binary = Command::new(dir.path().join("a"));
            output(binary.args(args).env("LD_LIBRARY_PATH", driver).env("FAKE_CUDA", fails))
        };
        // a real driver finds no kernel in its own way: only the other one is asked then
        let real = Path::new("/usr/lib/x86_64-linux-gnu/libcuda.so.1").exists();
        let steps = "1 blocks of 256 threads, 3 steps\n";
        let missing = "there is no NVIDIA driver (no library `libcuda.so`)";
        let fake = dir.path();
        for (driver, fails, args, code, printed, said) in [
            (fake, "", vec![], 0, "[0. 2. 4.] : f32[3]\n", steps.to_owned()),
            (fake, "images", vec![], 0, "[0. 2. 4.] : f32[3]\n", format!("{image}{steps}")),
            (fake, "", vec!["--device", "cuda:1"], 0, "[0. 2. 4.] : f32[3]\n", steps.to_owned()),
            (fake, "", vec!["--device=cpu"], 0, "[0. 2. 4.] : f32[3]\n", String::new()),
            (
                fake,
                "none",
                vec![],
                0,
                "[0. 2. 4.] : f32[3]\n",
                "note: the program runs on the processor: the driver has no device\n".into(),
            ),
            (
                none.path(),
                "",
                vec!["--n", "2"],
                0,
                "[0. 2.] : f32[2]\n",
                format!("note: the program runs on the processor: {missing}\n"),
            ),
            (
                none.path(),
                "",
                vec!["--device", "cuda"],
                1,
                "",
                format!(
                    "error[E0604]: cannot run on a GPU: {missing}\nhelp: `--device cpu` runs the program on the processor\n"
                ),
            ),
            (
                fake,
                "",
                vec!["--device", "cuda:7"],
                1,
                "",
                "error[E0604]: cannot run on a GPU: there is no device `cuda:7`\nhelp: there is `cuda:0` (Fake 0), `cuda:1` (Fake 1)\nhelp: `--device cpu` runs the program on the processor\n".into(),
            ),
        ] {
            if real && driver == none.path() {
                continue;
            }
            let out = run(driver, fails, &args);
            let all = format!("{fails} {args:?}: {}{}", stdout(&out), stderr(&out));
            expect(out.status.code() == Some(code) && stdout(&out) == printed && stderr(&out) == said, all)?;
        }
        let out = run(fake, "images,no-machine", &[]);
        expect(out.status.success() && stderr(&out).ends_with(&format!("assembly\n{steps}")), stderr(&out))?;
        let out = run(fake, "memory", &[]);
        let text = stderr(&out);
        expect(text.starts_with("error[E0705]: out of memory: a tensor of 12 bytes was asked for\n"), &text)?;
        expect(text.contains("[a.tdl:2:"), &text)?;
        let help = run(none.path(), "", &["--help"]);
        expect(help.status.success() && stdout(&help).contains("--device <name>"), stdout(&help))?;
    }
    Ok(())
}

fn ptx_of_an_unknown_gpu() -> Result<(), Failed> {
    let dir = with("fn main() { print(ones(f32[3])) }\n")?;
    let out = output(&mut tdl(&["emit", "--stage", "ptx", "--cpu", "sm_1", "a.tdl"], dir.path()));
    let message = "error: there is no GPU `sm_1`; there are sm_75, sm_80, sm_86, sm_89, sm_90, sm_90a\n";
    expect(out.status.code() == Some(2) && stderr(&out) == message, stderr(&out))
}

fn ptx_has_the_kernels() -> Result<(), Failed> {
    let dir = with(
        "fn main(n: i64 = 9) {\n  let x = f32(reshape(arange(i64[n * n]), [n, n]))\n  print(x @ x, sum(exp(x)))\n}\n",
    )?;
    let out = output(&mut tdl(&["emit", "--stage", "ptx", "--cpu", "sm_80", "a.tdl"], dir.path()));
    let text = stdout(&out);
    expect(text.matches(".visible .entry k").count() >= 2, &text)?;
    for part in [".target sm_80", "bar.sync", "shfl.sync.bfly.b32", "ld.shared.v4.f32", "fma.rn.f32", "%ctaid.x"] {
        expect(text.contains(part), format!("no {part} in\n{text}"))?;
    }
    Ok(())
}

/// On a machine with a driver the program runs.
fn no_driver() -> Result<(), Failed> {
    let dir = with("fn main() { print(sum(ones(f32[3]))) }\ntest \"t\" { assert sum(ones(f32[3])) == 3.0 }\n")?;
    let out = output(&mut tdl(&["run", "--device", "cuda", "a.tdl"], dir.path()));
    if out.status.success() {
        return expect(stdout(&out) == "3.0\n", stdout(&out));
    }
    let tested = output(&mut tdl(&["test", "--device", "cuda", "a.tdl"], dir.path()));
    for out in [out, tested] {
        expect(out.status.code() == Some(1) && out.stdout.is_empty(), format!("{}{}", stdout(&out), stderr(&out)))?;
        expect(stderr(&out).starts_with("error[E0604]: cannot run on a GPU: "), stderr(&out))?;
    }
    Ok(())
}

/// A folder with one program, one kernel, and a driver that knows it.
fn with_driver() -> Result<tempfile::TempDir, Failed> {
    fake_driver("fn main(n: i64 = 3) {\n  print(f32(arange(i64[n])) * 2.0)\n}\n")
}

/// Runs the program on that driver, of which `fails` fails.
fn on_driver(dir: &Path, fails: &str, args: &[&str]) -> Output {
    on_device(dir, "cuda", fails, args)
}

fn on_device(dir: &Path, device: &str, fails: &str, args: &[&str]) -> Output {
    let all = [&["run", "--device", device, "a.tdl"], args].concat();
    let mut command = tdl(&all, dir);
    output(command.env("LD_LIBRARY_PATH", dir).env("FAKE_CUDA", fails))
}

fn what_is_asked_of_a_driver() -> Result<(), Failed> {
    let dir = with_driver()?;
    for (n, printed, steps) in [
        ("3", "[0. 2. 4.] : f32[3]\n", "1 blocks of 256 threads, 3 steps\n"),
        ("257", "", "2 blocks of 256 threads, 257 steps\n"),
        ("100000", "", "64 blocks of 256 threads, 100000 steps\n"),
        ("0", "[] : f32[0]\n", ""),
    ] {
        let out = on_driver(dir.path(), "", &["--", "--n", n]);
        expect(out.status.success() && stderr(&out) == steps, format!("{}{}", stdout(&out), stderr(&out)))?;
        expect(printed.is_empty() || stdout(&out) == printed, stdout(&out))?;
    }
    Ok(())
}

fn one_of_several_devices() -> Result<(), Failed> {
    let dir = with_driver()?;
    for (device, fails, runs) in
        [("cuda:0", "second", true), ("cuda:1", "", true), ("cuda:1", "second", false), ("cuda:2", "", false)]
    {
        let out = on_device(dir.path(), device, fails, &[]);
        expect(out.status.success() == runs, format!("{device}: {}{}", stdout(&out), stderr(&out)))?;
        let message = "error[E0604]: cannot run on a GPU: ";
        expect(runs || stderr(&out).starts_with(message), stderr(&out))?;
    }
    let text = stderr(&on_device(dir.path(), "cuda:2", "", &[]));
    expect(text.starts_with("error[E0604]: cannot run on a GPU: there is no device `cuda:2`\n"), &text)?;
    expect(text.contains("there is `cuda:0` (Fake 0), `cuda:1` (Fake 1)"), &text)?;
    let text = stderr(&on_device(dir.path(), "cuda:0", "none", &[]));
    expect(text.starts_with("error[E0604]: cannot run on a GPU: the driver has no device\n"), &text)
}

fn a_driver_that_fails() -> Result<(), Failed> {
    let dir = with_driver()?;
    for (fails, message) in [
        ("init", "error[E0604]: cannot run on a GPU: the GPU's driver says: no device\n"),
        (
            "version:11080",
            "error[E0606]: cannot run on a GPU: its driver is of CUDA 11.8, and 12.0 is the oldest that will do\n",
        ),
        ("stream", "error[E0604]: cannot run on a GPU: the GPU's driver says: the launch failed\n"),
        (
            "old",
            "error[E0604]: cannot run on a GPU: its instructions are of version 6.0, and 7.5 is the oldest that will do\n",
        ),
        ("memory", "error[E0705]: out of memory: a tensor of 12 bytes was asked for\n"),
        ("module", "error[E0709]: the GPU's driver says: another error\n"),
        ("later", "error[E0709]: the GPU's driver says: the launch failed\n"),
        ("lost:0", "error[E0710]: the GPU was lost: the GPU's driver says: an error of its memory\n"),
        ("launch", "error[E0709]: kernel map.convert_mul.k0: the GPU's driver says: the launch failed\n"),
    ] {
        let out = on_driver(dir.path(), fails, &[]);
        let text = stderr(&out).replace("1 blocks of 256 threads, 3 steps\n", "");
        expect(out.status.code() == Some(1) && text.starts_with(message), format!("{fails}: {text}"))?;
        expect(!text.contains(" left\n"), format!("{fails}: {text}"))?;
    }
    let out = on_driver(dir.path(), "no-pools", &[]);
    expect(out.status.success() && stdout(&out) == "[0. 2. 4.] : f32[3]\n", stderr(&out))
}

/// A program of several kernels on the driver whose kernels do nothing, and how it ends.
fn idle(text: &str, fails: &str) -> Result<Output, Failed> {
    let dir = with_driver()?;
    std::fs::write(dir.path().join("a.tdl"), text)?;
    Ok(on_driver(dir.path(), &format!("idle,{fails}"), &[]))
}

fn out_of_memory_names_what_holds_it() -> Result<(), Failed> {
    let program = "fn main(n: i64 = 100_000) {\n  let a = f32(arange(i64[n]))\n  let b = f64(arange(i64[n]))\n  \
                   print(a, b)\n  let c = reshape(a, [n, 1]) @ reshape(f32(b), [1, n])\n  print(c, a, b)\n}\n";
    let out = idle(program, "limit:4000000")?;
    let text = stderr(&out);
    expect(out.status.code() == Some(1), format!("{}{text}", stdout(&out)))?;
    expect(text.starts_with("error[E0705]: out of memory: a tensor of 37 GiB was asked for\n"), &text)?;
    expect(text.contains("[a.tdl:5:11]"), &text)?;
    let notes: Vec<&str> = text.lines().filter_map(|l| l.split_once("note: ").map(|(_, n)| n)).collect();
    let wanted = [
        "one tensor holds 781 KiB: `f64(arange(i64[n]))` (a.tdl:3:11)",
        "one tensor holds 390 KiB: `f32(arange(i64[n]))` (a.tdl:2:11)",
    ];
    expect(notes == wanted, &text)
}

fn freed_memory_is_given_back_before_it_is_out() -> Result<(), Failed> {
    let program = "fn main(n: i64 = 1000) {\n  for i in 0..4 {\n    let m = n * 4 ^ i\n    \
                   let a = f32(arange(i64[m]))\n    print(a[0], a)\n  }\n}\n";
    for (fails, done) in [("limit:300000", true), ("limit:100000", false)] {
        let out = idle(program, fails)?;
        let text = stderr(&out);
        expect(out.status.success() == done, format!("{fails}: {text}"))?;
        expect(done || text.contains("out of memory: a tensor of 250 KiB was asked for"), text)?;
    }
    Ok(())
}

fn copies_larger_than_a_place_for_them() -> Result<(), Failed> {
    let dir = with_driver()?;
    let write = "fn main() { write_npy(\"x.npy\", arange(i64[700_001])) }\n";
    std::fs::write(dir.path().join("w.tdl"), write)?;
    let out = output(&mut tdl(&["run", "w.tdl"], dir.path()));
    expect(out.status.success(), stderr(&out))?;
    let program = "fn main() {\n  let x = read_npy(\"x.npy\") as some n. i64[n]\n  write_npy(\"y.npy\", x)\n}\n";
    std::fs::write(dir.path().join("a.tdl"), program)?;
    let out = on_driver(dir.path(), "idle", &[]);
    expect(out.status.success() && stderr(&out).is_empty(), stderr(&out))?;
    let [x, y] = ["x.npy", "y.npy"].map(|f| std::fs::read(dir.path().join(f)));
    expect(x? == y?, "the copies differ")
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
    let dir =
        with("fn main(n: i64 = 1_000_000_000_000_000) {\n  print(n > 5)\n  let x = ones(f32[n])\n  print(x)\n}\n")?;
    for device in ["sim", "cpu"] {
        let out = output(&mut tdl(&["run", "--device", device, "a.tdl"], dir.path()));
        let text = stderr(&out);
        expect(out.status.code() == Some(1) && stdout(&out) == "true\n", format!("{device}: {}{text}", stdout(&out)))?;
        expect(text.starts_with("error[E0705]: out of memory: ") && text.contains("[a.tdl:3:11]"), text)?;
    }
    Ok(())
}

/// The counts that the driver tells at the end: launches, graphs, starts of them, changes in them.
fn counts(out: &Output) -> Vec<u64> {
    let text = stderr(out);
    let line = text.lines().find(|l| l.contains(" launches, ")).unwrap_or_default();
    line.split_whitespace().filter_map(|w| w.parse().ok()).collect()
}

/// A step of some kernels; `read`: at its end the host decides by what was computed.
fn steps(read: bool) -> String {
    let end = if read { "    if sum(x) > 1e30 { print(i) }\n" } else { "" };
    format!(
        "fn main(n: i64 = 200, steps: i64 = 20) {{\n  let mut x = f32(reshape(arange(i64[n * 10]), [n, 10]))\n  let mut y = x\n  \
         for i in 0..steps {{\n    y = cumsum(sort(cumsum(x) + f32(i)))\n    x = softmax(y[:, ::-1] - x) + y\n{end}  }}\n  \
         print(x[0, 0], y[0, 0])\n}}\n"
    )
}

fn a_repeated_step_is_a_graph() -> Result<(), Failed> {
    for read in [false, true] {
        let dir = with_driver()?;
        std::fs::write(dir.path().join("a.tdl"), steps(read))?;
        let run = |fails: &str, args: &[&str]| on_driver(dir.path(), &format!("idle,count{fails}"), args);
        let few = run("", &["--", "--steps", "2"]);
        let many = run("", &["--", "--steps", "20"]);
        for out in [&few, &many] {
            expect(out.status.success() && !stderr(out).contains(" left\n"), stderr(out))?;
        }
        let (few, many) = (counts(&few), counts(&many));
        let shown = format!("{few:?} {many:?}");
        // the graph is made of the second step, and then nothing is launched by itself; `i` changes in each
        expect(few.len() == 4 && few[1..] == [1, 0, 0] && many[1] == 1, &shown)?;
        expect(many[0] == few[0] && many[2] == 18 && many[3] >= 18, &shown)?;
        // where the driver makes none, or can't change it, steps are launched
        for fails in [",graph", ",instantiate", ",change"] {
            let out = run(fails, &["--", "--steps", "20"]);
            expect(out.status.success() && !stderr(&out).contains(" left\n"), stderr(&out))?;
            let c = counts(&out);
            expect(c[0] > 3 * many[0] && c[2] == 0, format!("{fails}: {c:?}, {many:?}"))?;
        }
        let mut off = tdl(&["run", "--device", "cuda", "a.tdl"], dir.path());
        let out =
            output(off.env("LD_LIBRARY_PATH", dir.path()).env("FAKE_CUDA", "idle,count").env("TDL_CUDA_GRAPHS", "0"));
        expect(counts(&out)[1] == 0, stderr(&out))?;
    }
    Ok(())
}

/// A profile has the device's own times: here each piece of work takes a microsecond.
fn profiles_have_the_times_of_the_gpu() -> Result<(), Failed> {
    let dir = with_driver()?;
    std::fs::write(dir.path().join("a.tdl"), steps(false))?;
    let mut command = tdl(&["run", "--device", "cuda", "--profile", "a.tdl"], dir.path());
    let out = output(command.env("LD_LIBRARY_PATH", dir.path()).env("FAKE_CUDA", "idle"));
    let text = stderr(&out);
    expect(out.status.success() && text.contains(" on GPU 0\n") && !text.contains(" left\n"), &text)?;
    let kernels: Vec<&str> = text.lines().filter(|l| l.contains(" 200×10") && l.contains(" µs")).collect();
    expect(!kernels.is_empty(), &text)?;
    // a kernel of two launches takes two
    expect(kernels.iter().all(|l| ["1.00 µs", "2.00 µs", "3.00 µs"].iter().any(|t| l.contains(t))), &text)
}
