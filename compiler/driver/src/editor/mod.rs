//! What an editor asks about a program while it is being written: the errors of texts that are not saved, and what stands
//! at a place of them. Answers are data; `lsp` gives them the form of its protocol.

mod complete;
mod describe;
mod names;
mod place;
mod symbols;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tdl_source::{CODES, Code, Diagnostic, FileId, SourceMap, Span};
use tdl_types::thir::{Body, Program};

use crate::session::Parsed;
use crate::sources::STDLIB;
use crate::{Cache, Failure, Options, Session};

pub use complete::{Completion, CompletionKind, Signature};
pub use describe::{Hint, Hover};
pub use symbols::{Symbol, SymbolKind};

use names::Names;
use place::Types;

/// The texts that are open.
#[derive(Debug)]
pub struct Editor {
    options: Options,
    open: Arc<HashMap<PathBuf, Arc<str>>>,
    /// Where the library's texts are written for an editor to show.
    library: Option<PathBuf>,
}

impl Editor {
    pub fn new(options: Options) -> Editor {
        let library = Cache::open().dir().map(|d| d.join(format!("std-{}", env!("CARGO_PKG_VERSION"))));
        Editor { options, open: Arc::default(), library }
    }

    /// Opens a text, or gives it a new state.
    pub fn set(&mut self, path: &Path, text: &str) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Arc::make_mut(&mut self.open).insert(path.to_owned(), text.into());
    }

    /// What is on disk counts again.
    pub fn close(&mut self, path: &Path) {
        Arc::make_mut(&mut self.open).remove(path);
    }

    pub fn text(&self, path: &Path) -> Option<&Arc<str>> {
        self.open.get(path)
    }

    /// Checks names, types and shapes of a program.
    pub fn analyse(&self, main: &Path) -> Analysis {
        self.analyse_with(main, Arc::clone(&self.open))
    }

    /// As if `main` had another text.
    pub fn analyse_as(&self, main: &Path, text: &str) -> Analysis {
        let mut open = HashMap::clone(&self.open);
        open.insert(main.to_owned(), text.into());
        self.analyse_with(main, Arc::new(open))
    }

    fn analyse_with(&self, main: &Path, open: Arc<HashMap<PathBuf, Arc<str>>>) -> Analysis {
        let mut session = Session::new(Options { cache: false, ..self.options.clone() });
        session.sources.open = open;
        let mut out = Analysis {
            session,
            main: main.to_owned(),
            library: self.library.clone(),
            modules: Vec::new(),
            program: Program::default(),
            broken: Vec::new(),
            diagnostics: Vec::new(),
            failure: None,
            names: Names::default(),
            types: Types::default(),
        };
        if let Err(failure) = out.check() {
            out.take(failure);
        }
        out
    }
}

/// What is known about a program in one state of its texts.
pub struct Analysis {
    session: Session,
    main: PathBuf,
    library: Option<PathBuf>,
    modules: Vec<Parsed>,
    /// Bodies with errors are missing.
    program: Program,
    broken: Vec<Body>,
    diagnostics: Vec<Diagnostic>,
    /// Why there is no more: a file that cannot be read, a bug.
    failure: Option<String>,
    names: Names,
    types: Types,
}

impl Analysis {
    fn check(&mut self) -> Result<(), Failure> {
        let main = self.main.clone();
        let file = self.session.sources.read(&main)?;
        let folder = main.parent().map(Path::to_owned).unwrap_or_default();
        let (modules, mut errors) = self.session.parse_all(file, &folder)?;
        self.modules = modules;
        let views: Vec<tdl_types::Module<'_>> =
            self.modules.iter().map(|m| tdl_types::Module { name: &m.name, ast: &m.ast }).collect();
        let checked = tdl_types::check(&views);
        self.program = checked.program;
        self.broken = checked.broken;
        let mut found = checked.errors;
        self.session.suggest_imports(&mut found);
        errors.extend(found);
        errors.sort_by_key(|d| (d.primary.span.file, d.primary.span.start));
        self.diagnostics = errors;
        self.names = names::names(&self.modules);
        self.types = Types::new(&self.program, &self.broken);
        Ok(())
    }

    fn take(&mut self, failure: Failure) {
        match failure {
            Failure::Program(found) => self.diagnostics.extend(found),
            Failure::Usage(text) | Failure::Run(text) => self.failure = Some(text),
            Failure::Internal(e) => self.failure = Some(e.to_string()),
            Failure::Interrupted => {}
        }
    }

    /// Differentiates what the program asks for, if it has no errors so far; true if that found some.
    pub fn check_derivatives(&mut self) -> bool {
        if !self.diagnostics.is_empty() || self.failure.is_some() {
            return false;
        }
        let program = std::mem::take(&mut self.program);
        let result = self.session.check_derivatives(&program);
        self.program = program;
        match result {
            Ok(()) => false,
            Err(failure) => {
                self.take(failure);
                true
            }
        }
    }

    pub fn map(&self) -> &SourceMap {
        self.session.map()
    }

    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The files of the program, without the library's.
    pub fn files(&self) -> impl Iterator<Item = (&Path, FileId)> {
        self.session.sources.files().iter().map(|(p, id)| (p.as_path(), *id))
    }

    pub fn file(&self, path: &Path) -> Option<FileId> {
        if let Some((_, id)) = self.files().find(|(p, _)| *p == path) {
            return Some(id);
        }
        // a text of the library that the editor shows
        let inside = path.strip_prefix(self.library.as_ref()?).ok()?;
        let name = format!("<std>/{}", inside.to_str()?);
        self.map().files().find(|(_, f)| f.name == name).map(|(id, _)| id)
    }

    /// Where a file can be opened; those of the library are written out for it.
    pub fn path(&self, file: FileId) -> Option<PathBuf> {
        if let Some((path, _)) = self.files().find(|(_, id)| *id == file) {
            return Some(path.to_owned());
        }
        let name = self.map().file(file).name.strip_prefix("<std>/")?.to_owned();
        let text = STDLIB.iter().find(|(m, _)| name == format!("{m}.tdl"))?.1;
        self.written(&name, text)
    }

    /// The page of an error code as a file.
    pub fn page(&self, code: Code) -> Option<PathBuf> {
        let def = CODES.iter().find(|d| d.code == code)?;
        self.written(&format!("codes/{code}.md"), def.page)
    }

    /// A file with this text in the library's folder.
    fn written(&self, name: &str, text: &str) -> Option<PathBuf> {
        let path = self.library.as_ref()?.join(name);
        if std::fs::read(&path).is_ok_and(|t| t == text.as_bytes()) {
            return Some(path);
        }
        std::fs::create_dir_all(path.parent()?).ok()?;
        std::fs::write(&path, text).ok()?;
        Some(path)
    }

    /// Goes through all bodies, those with errors too.
    fn each_body<'s>(&'s self, f: &mut dyn FnMut(&'s Body)) {
        tdl_types::visit_bodies(&self.program, f);
        self.broken.iter().for_each(f);
    }

    fn text(&self, span: Span) -> &str {
        self.map().text(span)
    }
}
