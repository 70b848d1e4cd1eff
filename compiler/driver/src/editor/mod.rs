//! What an editor asks about a program while it is being written: the errors of texts that are not saved, and what stands
//! at a place of them. Answers are data; `lsp` gives them the form of its protocol.

mod complete;
mod describe;
mod names;
mod pieces;
mod place;
mod symbols;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use tdl_source::{CODES, Code, Diagnostic, FileId, SourceMap, Span};
use tdl_types::Kept;
use tdl_types::thir::{Body, Program};

use crate::session::Parsed;
use crate::sources::STDLIB;
use crate::{Cache, Failure, Options, Session};

pub use complete::{Completion, CompletionKind, Signature};
pub use describe::{Hint, Hover};
pub(crate) use pieces::Pieces;
pub use symbols::{Symbol, SymbolKind};

use names::Names;
use place::Types;

/// How many functions are differentiated before an edit can stop it.
const TOGETHER: usize = 8;

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
        self.analyse_with(main, Arc::clone(&self.open), None)
    }

    /// As [`Editor::analyse`], after an edit of some of its texts: what is known of the rest holds still.
    pub fn analyse_again(&self, before: Analysis) -> Analysis {
        let main = before.main.clone();
        self.analyse_with(&main, Arc::clone(&self.open), Some(before))
    }

    /// As if `main` had another text, from what is known of its present one.
    fn analyse_as(&self, main: &Path, text: &str, known: Option<Analysis>) -> Analysis {
        let mut open = HashMap::clone(&self.open);
        open.insert(main.to_owned(), text.into());
        self.analyse_with(main, Arc::new(open), known)
    }

    fn analyse_with(&self, main: &Path, open: Arc<HashMap<PathBuf, Arc<str>>>, before: Option<Analysis>) -> Analysis {
        let (mut session, last) = match before {
            Some(mut before) => {
                let last = before.kept.take().map(|kept| (kept, before.program));
                (before.session, last)
            }
            None => {
                let mut session = Session::new(Options { cache: false, ..self.options.clone() });
                session.sources.pieces = Some(Pieces::default());
                (session, None)
            }
        };
        session.sources.restart();
        session.sources.open = open;
        let mut out = Analysis {
            session,
            main: main.to_owned(),
            library: self.library.clone(),
            modules: Vec::new(),
            program: Program::default(),
            broken: Vec::new(),
            kept: None,
            diagnostics: Vec::new(),
            failure: None,
            names: OnceCell::new(),
            types: OnceCell::new(),
        };
        if let Err(failure) = out.check(last) {
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
    broken: Vec<Rc<Body>>,
    /// For the next check.
    kept: Option<Kept>,
    diagnostics: Vec<Diagnostic>,
    /// Why there is no more: a file that cannot be read, a bug.
    failure: Option<String>,
    names: OnceCell<Names>,
    types: OnceCell<Types>,
}

impl Analysis {
    fn check(&mut self, last: Option<(Kept, Program)>) -> Result<(), Failure> {
        let main = self.main.clone();
        let file = self.session.sources.read(&main)?;
        let folder = main.parent().map(Path::to_owned).unwrap_or_default();
        let (modules, mut errors) = self.session.parse_all(file, &folder)?;
        self.modules = modules;
        let views: Vec<tdl_types::Module<'_>> =
            self.modules.iter().map(|m| tdl_types::Module { name: &m.name, ast: &m.ast }).collect();
        let (checked, kept) = tdl_types::check_again(&views, last);
        self.program = checked.program;
        self.broken = checked.broken;
        self.kept = Some(kept);
        let mut found = checked.errors;
        self.session.suggest_imports(&mut found);
        errors.extend(found);
        self.report(errors);
        Ok(())
    }

    /// Adds diagnostics, with the places where they are in whole files, and in their order.
    fn report(&mut self, found: Vec<Diagnostic>) {
        let map = self.session.map();
        let placed = found.into_iter().map(|mut d| {
            let edits = d.help.iter_mut().filter_map(|h| h.edit.as_mut()).map(|e| &mut e.span);
            let labels = d.secondary.iter_mut().map(|l| &mut l.span);
            for span in edits.chain(labels).chain([&mut d.primary.span]) {
                *span = map.place(*span);
            }
            d
        });
        self.diagnostics.extend(placed);
        self.diagnostics.sort_by_key(|d| (d.primary.span.file, d.primary.span.start));
    }

    fn take(&mut self, failure: Failure) {
        match failure {
            Failure::Program(found) => self.report(found),
            Failure::Usage(text) | Failure::Run(text) => self.failure = Some(text),
            Failure::Internal(e) => self.failure = Some(e.to_string()),
            Failure::Interrupted => {}
        }
    }

    fn names(&self) -> &Names {
        self.names.get_or_init(|| names::names(&self.modules))
    }

    fn types(&self) -> &Types {
        self.types.get_or_init(|| Types::new(&self.program, &self.broken))
    }

    /// The piece in which a place of a file is: all that is known of texts speaks of pieces.
    fn inner(&self, file: FileId, offset: u32) -> (FileId, u32) {
        self.session.sources.pieces.as_ref().map_or((file, offset), |p| p.at(file, offset))
    }

    fn inner_span(&self, span: Span) -> Span {
        self.session.sources.pieces.as_ref().map_or(span, |p| p.inner(span))
    }

    /// Where a span is in its file.
    fn outer(&self, span: Span) -> Span {
        self.map().place(span)
    }

    /// Differentiates what the program asks for, if it has no errors so far; true if that found some. It takes its time:
    /// `stop` is asked now and then, and none is the answer if it stopped.
    pub fn check_derivatives(&mut self, stop: &mut dyn FnMut() -> bool) -> Option<bool> {
        if !self.diagnostics.is_empty() || self.failure.is_some() {
            return Some(false);
        }
        let program = std::mem::take(&mut self.program);
        let result = self.session.check_derivatives_until(&program, TOGETHER, stop);
        self.program = program;
        match result {
            Ok(whole) => whole.then_some(false),
            Err(failure) => {
                self.take(failure);
                Some(true)
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
        // other editors may be reading it
        let folder = path.parent()?;
        std::fs::create_dir_all(folder).ok()?;
        let new = folder.join(format!(".{}-{}", std::process::id(), path.file_name()?.to_str()?));
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &path));
        if written.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        written.ok().map(|()| path)
    }

    /// Goes through all bodies, those with errors too.
    fn each_body<'s>(&'s self, f: &mut dyn FnMut(&'s Body)) {
        tdl_types::visit_bodies(&self.program, f);
        self.broken.iter().for_each(|b| f(b));
    }

    fn text(&self, span: Span) -> &str {
        self.map().text(span)
    }
}
