//! Reading programs: the main file, the modules it imports, and the standard library inside the compiler.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tdl_source::{FileId, SourceMap};

use crate::Failure;
use crate::editor::Pieces;

/// The standard library: module name and text.
pub const STDLIB: &[(&str, &str)] = &[
    ("prelude", include_str!("../../../stdlib/prelude.tdl")),
    ("nn", include_str!("../../../stdlib/nn.tdl")),
    ("conv", include_str!("../../../stdlib/conv.tdl")),
    ("optim", include_str!("../../../stdlib/optim.tdl")),
    ("data", include_str!("../../../stdlib/data.tdl")),
    ("linalg", include_str!("../../../stdlib/linalg.tdl")),
    ("math", include_str!("../../../stdlib/math.tdl")),
    ("random", include_str!("../../../stdlib/random.tdl")),
    ("train", include_str!("../../../stdlib/train.tdl")),
];

/// The program that is read from standard input.
const INPUT: &str = "-";

/// Largest source file that is read, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// What the names of the standard library's files begin with.
pub const LIBRARY: &str = "<std>/";

/// Reads files into a source map and remembers which they were (the cache asks).
#[derive(Debug, Default)]
pub struct Sources {
    pub map: SourceMap,
    files: Vec<(PathBuf, FileId)>,
    /// Texts that are read instead of files: what an editor has not saved.
    pub open: Arc<HashMap<PathBuf, Arc<str>>>,
    /// An editor's: what was read before, to be read again when it has changed.
    pub pieces: Option<Pieces>,
}

impl Sources {
    /// Reads the file the user named.
    pub fn read(&mut self, path: &Path) -> Result<FileId, Failure> {
        let text: Arc<str> = match self.open.get(path) {
            Some(text) => Arc::clone(text),
            None => read_source(path)?.into(),
        };
        if let Some(id) = self.pieces.as_mut().and_then(|p| p.known(path)) {
            if self.map.file(id).text != text {
                self.map.replace(id, text);
            }
            self.files.push((path.to_owned(), id));
            return Ok(id);
        }
        let shown = if path == Path::new(INPUT) { "<input>".into() } else { path.to_string_lossy() };
        let id = self.map.add(shown, text);
        self.files.push((path.to_owned(), id));
        if let Some(pieces) = &mut self.pieces {
            pieces.remember(path, id);
        }
        Ok(id)
    }

    /// Parses a file that has been read.
    pub fn parse(&mut self, file: FileId) -> tdl_syntax::Parsed {
        match &mut self.pieces {
            Some(pieces) => pieces.parse(&mut self.map, file),
            None => {
                let text = Arc::clone(&self.map.file(file).text);
                tdl_syntax::parse(file, &text)
            }
        }
    }

    /// Forgets which files a program has, to read it again.
    pub fn restart(&mut self) {
        self.files.clear();
        self.map.calls.clear();
    }

    /// Whether there is such a file, saved or not.
    pub fn has(&self, path: &Path) -> bool {
        self.open.contains_key(path) || path.is_file()
    }

    /// A module of the standard library.
    pub fn std_module(&mut self, name: &str) -> Option<FileId> {
        let (_, text) = STDLIB.iter().find(|(n, _)| *n == name)?;
        let shown = format!("{LIBRARY}{name}.tdl");
        if let Some((id, _)) = self.map.files().find(|(_, f)| f.name == shown) {
            return Some(id);
        }
        Some(self.map.add(shown, *text))
    }

    /// The files of the standard library, in order.
    pub fn library(&self) -> Vec<FileId> {
        self.map.files().filter(|(_, f)| f.name.starts_with(LIBRARY)).map(|(id, _)| id).collect()
    }

    /// Files read so far, the main one first.
    pub fn files(&self) -> &[(PathBuf, FileId)] {
        &self.files
    }
}

/// A file's text: a clear message when it is missing, a folder, too large or not UTF-8.
///
/// `-` is standard input.
pub fn read_source(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let usage = |why: String| Failure::Usage(format!("cannot read `{shown}`: {why}"));
    if path == Path::new(INPUT) {
        return read_text(&mut std::io::stdin().lock(), &usage);
    }
    let meta = std::fs::metadata(path).map_err(|e| usage(plain(&e)))?;
    if meta.is_dir() {
        return Err(usage("it is a folder".into()));
    }
    if meta.len() > MAX_BYTES {
        return Err(usage(format!("it has {} MB; a source file may have {}", meta.len() >> 20, MAX_BYTES >> 20)));
    }
    let mut file = std::fs::File::open(path).map_err(|e| usage(plain(&e)))?;
    read_text(&mut file, &usage)
}

fn read_text(from: &mut dyn Read, usage: &dyn Fn(String) -> Failure) -> Result<String, Failure> {
    // what is no file (a pipe, a device) does not say how much it has
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| usage(plain(&e)))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(usage(format!("a source file may have {} MB", MAX_BYTES >> 20)));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
        usage(format!("not UTF-8 text: the byte 0x{:02x} on line {line} (offset {at})", e.as_bytes()[at]))
    })?;
    // some editors begin a file with a byte order mark
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn plain(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => e.to_string(),
    }
}
