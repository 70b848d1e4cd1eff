//! `tdl new`: a project that runs and passes its tests from the first minute.

use std::io::ErrorKind;
use std::path::Path;

const PROGRAM: &str = include_str!("../template/main.tdl");
const MODEL: &str = include_str!("../template/model.tdl");
const README: &str = include_str!("../template/README.md");

/// Makes the folder; the exit code.
pub fn new(path: &Path) -> i32 {
    match create(path) {
        Ok(()) => {
            let shown = path.display();
            sayln!("made {shown}: try `tdl run {shown}/main.tdl` and `tdl test {shown}/model.tdl`");
            0
        }
        Err(message) => {
            complainln!("error: {message}");
            2
        }
    }
}

fn create(path: &Path) -> Result<(), String> {
    let Some(name) = path.file_name().map(|n| n.to_string_lossy().into_owned()) else {
        return Err(format!("`{}` has no name for a project", path.display()));
    };
    let failed = |what: &Path, e: std::io::Error| format!("cannot make `{}`: {e}", what.display());
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|e| failed(parent, e))?;
    }
    // fails if it is there: nothing is ever overwritten
    std::fs::create_dir(path).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => format!("`{}` exists already; choose another name", path.display()),
        _ => failed(path, e),
    })?;
    let files = [
        ("main.tdl", PROGRAM.to_owned()),
        ("model.tdl", MODEL.to_owned()),
        ("README.md", README.replace("NAME", &name)),
        (".gitignore", "*.safetensors\n".to_owned()),
    ];
    for (file, text) in files {
        let at = path.join(file);
        std::fs::write(&at, text).map_err(|e| failed(&at, e))?;
    }
    Ok(())
}
