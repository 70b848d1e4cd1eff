//! Linking native binaries with the system's C compiler and the runtime library inside this crate.

use std::io::Write;
use std::path::Path;
use std::process::Command;

/// The runtime, packed by `build.rs`.
const RUNTIME: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/runtime.a.zst"));

/// Why there is no binary.
#[derive(Debug)]
pub enum LinkError {
    /// No C compiler: the name that was tried.
    NoCompiler(String),
    /// What the linker said.
    Linker(String),
    /// A file could not be written.
    Io(String),
}

/// Links objects into an executable, which replaces `output` in one step. `debug` keeps its symbols.
pub fn link(objects: &[Vec<u8>], output: &Path, debug: bool) -> Result<(), LinkError> {
    let compiler = std::env::var("CC").ok().filter(|c| !c.is_empty()).unwrap_or_else(|| "cc".into());
    let folder = output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = output.file_name().ok_or_else(|| LinkError::Io(format!("`{}` is no file name", output.display())))?;
    if std::fs::metadata(output).is_ok_and(|m| !m.is_file()) {
        return Err(LinkError::Io(format!("cannot write `{}`: there is something that is no file", output.display())));
    }
    let io = |what: &Path, e: std::io::Error| LinkError::Io(format!("cannot write `{}`: {e}", what.display()));
    let scratch = std::env::temp_dir().join(format!("tdl-link-{}-{}", std::process::id(), unique()));
    std::fs::create_dir_all(&scratch).map_err(|e| io(&scratch, e))?;
    let _guard = Scratch(&scratch);
    let library = scratch.join("libtdl_runtime.a");
    let mut paths = Vec::new();
    for (k, object) in objects.iter().enumerate() {
        let path = scratch.join(format!("program{k}.o"));
        std::fs::write(&path, object).map_err(|e| io(&path, e))?;
        paths.push(path);
    }
    let mut file = std::fs::File::create(&library).map_err(|e| io(&library, e))?;
    let unpacked = zstd::decode_all(RUNTIME).map_err(|e| io(&library, e))?;
    file.write_all(&unpacked).map_err(|e| io(&library, e))?;
    drop(file);
    let temporary = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let result = Command::new(&compiler)
        .args(&paths)
        .arg(&library)
        .args(["-o".as_ref(), temporary.as_os_str()])
        .args(["-Wl,--gc-sections", "-Wl,--as-needed", "-lpthread", "-lm", "-ldl"])
        .args((!debug).then_some("-Wl,-s"))
        .output();
    let done = match result {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(LinkError::NoCompiler(compiler)),
        Err(e) => return Err(LinkError::Linker(format!("cannot start `{compiler}`: {e}"))),
        Ok(done) => done,
    };
    if !done.status.success() {
        let _ = std::fs::remove_file(&temporary);
        let text = String::from_utf8_lossy(&done.stderr);
        return Err(LinkError::Linker(text.lines().take(20).collect::<Vec<_>>().join("\n")));
    }
    std::fs::rename(&temporary, output).map_err(|e| {
        let _ = std::fs::remove_file(&temporary);
        io(output, e)
    })
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

struct Scratch<'a>(&'a Path);

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0);
    }
}
