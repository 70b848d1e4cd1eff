//! The machine that code is made for.

use std::sync::Once;

use inkwell::OptimizationLevel;
use inkwell::targets::{CodeModel, InitializationConfig, RelocMode, Target, TargetMachine};

use crate::Options;

static INIT: Once = Once::new();

/// CPU name and feature string.
pub fn cpu(options: &Options) -> (String, String) {
    if options.cpu == "native" {
        // `LLVMString`'s Display adds quotes: use the text itself
        let text = |s: inkwell::support::LLVMString| s.to_str().unwrap_or("").to_owned();
        return (text(TargetMachine::get_host_cpu_name()), text(TargetMachine::get_host_cpu_features()));
    }
    (options.cpu.clone(), String::new())
}

pub fn machine(options: &Options) -> Result<TargetMachine, String> {
    INIT.call_once(|| {
        // fails only if LLVM was built without a native target, which `from_triple` then says
        let _ = Target::initialize_native(&InitializationConfig::default());
    });
    let triple = TargetMachine::get_default_triple();
    let target = Target::from_triple(&triple).map_err(|e| e.to_str().unwrap_or("?").to_owned())?;
    let (cpu, features) = cpu(options);
    let level = match options.opt_level {
        0 => OptimizationLevel::None,
        1 => OptimizationLevel::Less,
        2 => OptimizationLevel::Default,
        _ => OptimizationLevel::Aggressive,
    };
    target
        .create_target_machine(&triple, &cpu, &features, level, RelocMode::PIC, CodeModel::Default)
        .ok_or_else(|| format!("LLVM cannot compile for `{cpu}`"))
}

/// An NVIDIA GPU.
pub fn gpu(arch: &str) -> Result<TargetMachine, String> {
    static INIT: Once = Once::new();
    INIT.call_once(|| Target::initialize_nvptx(&InitializationConfig::default()));
    let version = crate::GPUS.iter().find(|(name, _)| *name == arch).map(|(_, version)| version);
    let features = format!("+{}", version.ok_or_else(|| format!("there is no PTX for `{arch}`"))?);
    let triple = inkwell::targets::TargetTriple::create("nvptx64-nvidia-cuda");
    let target = Target::from_triple(&triple).map_err(|e| e.to_str().unwrap_or("?").to_owned())?;
    let level = OptimizationLevel::Default;
    target
        .create_target_machine(&triple, arch, &features, level, RelocMode::Default, CodeModel::Default)
        .ok_or_else(|| format!("LLVM cannot compile for `{arch}`"))
}

/// Attribute group 0, which every function has.
pub fn attributes(cpu: &str, features: &str) -> String {
    let features = if features.is_empty() { String::new() } else { format!(" \"target-features\"=\"{features}\"") };
    format!(
        "\nattributes #0 = {{ nounwind \"target-cpu\"=\"{cpu}\"{features} \"prefer-vector-width\"=\"512\" \"no-builtins\" }}\n"
    )
}

/// Features that a program checks when it starts; those of the levels of x86-64 are enough to tell machines apart.
pub fn checked_features(options: &Options) -> Vec<String> {
    let known = ["avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl"];
    let (cpu, features) = cpu(options);
    let level: &[&str] = match cpu.as_str() {
        "x86-64-v4" => &known,
        "x86-64-v3" => &known[..4],
        _ => &[],
    };
    let on = |f: &str| level.contains(&f) || features.split(',').any(|x| x.strip_prefix('+') == Some(f));
    known.iter().filter(|f| on(f)).map(|f| (*f).to_owned()).collect()
}
