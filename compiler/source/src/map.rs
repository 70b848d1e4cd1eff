//! Source files and positions in them.

use std::sync::Arc;

/// Index of a file in a [`SourceMap`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// A byte range `start..end` of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
    /// Of a place in the standard library, the call in the user's program that led there: one more than its index in
    /// [`SourceMap::calls`]. 0 elsewhere.
    pub via: u32,
}

impl Span {
    pub fn new(file: FileId, start: usize, end: usize) -> Span {
        Span { file, start: start as u32, end: end as u32, via: 0 }
    }

    /// The smallest span that covers both; `self` when the files differ.
    pub fn to(self, other: Span) -> Span {
        if self.file != other.file {
            return self;
        }
        Span { start: self.start.min(other.start), end: self.end.max(other.end), ..self }
    }
}

/// One source text. Columns count characters from 1, lines from 1.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// As the user wrote the path; `<std>/nn.tdl` for the standard library, `<repl:3>` for the REPL.
    pub name: String,
    pub text: Arc<str>,
    line_starts: Vec<u32>,
    /// Of a piece of another text: which, and where it stands there.
    within: Option<(FileId, u32)>,
}

/// A position for people: both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineCol {
    pub line: u32,
    pub col: u32,
}

/// All source texts of a session.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
    /// Calls of the program that is compiled, in order; [`Span::via`] counts them.
    pub calls: Vec<Span>,
}

impl SourceMap {
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        let text = text.into();
        let line_starts = line_starts(&text);
        self.files.push(SourceFile { name: name.into(), text, line_starts, within: None });
        FileId(self.files.len() as u32 - 1)
    }

    /// Gives a text a new state.
    pub fn replace(&mut self, id: FileId, text: Arc<str>) {
        let file = &mut self.files[id.0 as usize];
        file.line_starts = line_starts(&text);
        file.text = text;
    }

    /// Adds a piece of a text, yet empty, under a number of its own, so that spans in it stay what they are when text before it
    /// changes. [`SourceMap::place`] says where they are.
    pub fn add_piece(&mut self, whole: FileId) -> FileId {
        let name = self.file(whole).name.clone();
        self.files.push(SourceFile { name, text: "".into(), line_starts: Vec::new(), within: Some((whole, 0)) });
        FileId(self.files.len() as u32 - 1)
    }

    /// Moves a piece, and gives it another text.
    pub fn set_piece(&mut self, id: FileId, offset: usize, text: &Arc<str>) {
        let file = &mut self.files[id.0 as usize];
        file.within = file.within.map(|(whole, _)| (whole, offset as u32));
        if !Arc::ptr_eq(&file.text, text) {
            file.text = Arc::clone(text);
        }
    }

    /// Where a span is in the text that has lines: the same, if it is not in a piece.
    pub fn place(&self, span: Span) -> Span {
        match self.files.get(span.file.0 as usize).and_then(|f| f.within) {
            Some((file, offset)) => Span { file, start: span.start + offset, end: span.end + offset, ..span },
            None => span,
        }
    }

    /// The call in the user's program that led to a place in the standard library.
    pub fn caller(&self, span: Span) -> Option<Span> {
        self.calls.get((span.via as usize).checked_sub(1)?).copied()
    }

    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    pub fn files(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.files.iter().enumerate().map(|(i, f)| (FileId(i as u32), f))
    }

    /// The text under a span; empty where the span does not fit the file.
    pub fn text(&self, span: Span) -> &str {
        self.file(span.file).text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    pub fn line_col(&self, file: FileId, offset: u32) -> LineCol {
        let at = self.place(Span::new(file, offset as usize, offset as usize));
        let (f, offset) = (self.file(at.file), at.start);
        let line = f.line_starts.partition_point(|s| *s <= offset).max(1) - 1;
        let start = f.line_starts[line] as usize;
        let col = f.text.get(start..offset as usize).map_or(0, |s| s.chars().count());
        LineCol { line: line as u32 + 1, col: col as u32 + 1 }
    }

    /// `FILE:LINE:COL` of a span's start.
    pub fn location(&self, span: Span) -> String {
        let lc = self.line_col(span.file, span.start);
        format!("{}:{}:{}", self.file(span.file).name, lc.line, lc.col)
    }
}

fn line_starts(text: &str) -> Vec<u32> {
    let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i as u32 + 1);
    std::iter::once(0).chain(breaks).collect()
}
