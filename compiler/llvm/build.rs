//! Builds the runtime as a static library and packs it: `tdl build` links it into programs.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for path in [
        "runtime/src",
        "runtime/Cargo.toml",
        "compiler/ir/src/random.rs",
        "compiler/ir/src/op/special.rs",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let target = out.join("runtime");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(&root)
        .args(["rustc", "--package", "tdl-runtime", "--lib", "--profile", "runtime", "--crate-type", "staticlib"])
        // binaries that were not built for a GPU have none of it: the linker leaves it out
        .args(["--features", "cuda"])
        .args(["--locked", "--quiet", "--target-dir"])
        .arg(&target);
    // settings of the outer build are not for this one
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_PROFILE"] {
        cargo.env_remove(name);
    }
    for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("CARGO_FEATURE_") || n.starts_with("CARGO_CFG_")) {
        cargo.env_remove(name);
    }
    let status = cargo.status().unwrap_or_else(|e| panic!("cannot start cargo: {e}"));
    assert!(status.success(), "the runtime library does not build");
    let library = std::fs::read(target.join("runtime/libtdl_runtime.a")).expect("the runtime library");
    let packed = zstd::encode_all(library.as_slice(), 9).expect("zstd packs");
    std::fs::write(out.join("runtime.a.zst"), packed).expect("OUT_DIR can be written");
}
