//! Files in pieces of one item each, every piece with a number of its own in the source map. A piece that an edit has not
//! changed keeps its tree, and all spans in it, wherever it stands now.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tdl_source::{FileId, SourceMap, Span};
use tdl_syntax::ast::{Module, Source};
use tdl_syntax::{Parsed, Piece};

/// What was read of all files.
#[derive(Debug, Default)]
pub struct Pieces {
    files: HashMap<PathBuf, FileId>,
    known: HashMap<FileId, Document>,
}

#[derive(Debug, Default)]
struct Document {
    text: Arc<str>,
    /// In order.
    pieces: Vec<Known>,
    /// Numbers of pieces that are gone.
    free: Vec<FileId>,
}

#[derive(Debug)]
struct Known {
    file: FileId,
    text: Arc<str>,
    first: bool,
    /// The text from the first token on, which spans mean, where it is in the file, and how many lines are before it.
    code: Arc<str>,
    offset: usize,
    line: usize,
    parsed: Arc<Piece>,
}

impl Pieces {
    pub fn known(&self, path: &Path) -> Option<FileId> {
        self.files.get(path).copied()
    }

    pub fn remember(&mut self, path: &Path, file: FileId) {
        self.files.insert(path.to_owned(), file);
    }

    /// Parses what has changed in a file.
    pub fn parse(&mut self, map: &mut SourceMap, file: FileId) -> Parsed {
        let document = self.known.entry(file).or_default();
        let text = Arc::clone(&map.file(file).text);
        if !Arc::ptr_eq(&document.text, &text) || document.pieces.is_empty() {
            document.update(map, file, &text);
            document.text = text;
        }
        let mut out = Parsed { module: Module::default(), errors: Vec::new() };
        for p in &document.pieces {
            let (module, piece) = (&mut out.module, &p.parsed);
            module.doc = module.doc.take().or_else(|| piece.doc.clone());
            module.items.extend(piece.items.iter().cloned());
            module.broken.extend(piece.broken.iter().cloned());
            let text = Arc::clone(&p.code);
            module.sources.push(Source { file: p.file, whole: file, text, line: p.line });
            out.errors.extend(piece.errors.iter().cloned());
        }
        out
    }

    /// The piece in which an offset of a file is, and the offset in it; itself, for a file without pieces, and in comments
    /// before the first token.
    pub fn at(&self, file: FileId, offset: u32) -> (FileId, u32) {
        let Some(document) = self.known.get(&file) else { return (file, offset) };
        let i = document.pieces.partition_point(|p| p.offset <= offset as usize);
        match i.checked_sub(1).and_then(|i| document.pieces.get(i)) {
            Some(p) if offset as usize <= p.offset + p.code.len() => (p.file, offset - p.offset as u32),
            Some(_) | None => (file, offset),
        }
    }

    /// The span in a piece that is at a place of a file.
    pub fn inner(&self, span: Span) -> Span {
        let (file, start) = self.at(span.file, span.start);
        Span { file, start, end: start + (span.end - span.start), ..span }
    }
}

impl Document {
    fn update(&mut self, map: &mut SourceMap, whole: FileId, text: &str) {
        let ranges = tdl_syntax::pieces(text);
        let mut old: Vec<Option<Known>> = std::mem::take(&mut self.pieces).into_iter().map(Some).collect();
        let mut new: Vec<Option<Known>> = ranges.iter().map(|_| None).collect();
        let fits = |k: &Option<Known>, r: &Range<usize>| {
            k.as_ref().is_some_and(|k| *k.text == text[r.clone()] && k.first == (r.start == 0))
        };
        // what is before and behind an edit
        let common = old.len().min(new.len());
        let head = (0..common).take_while(|i| fits(&old[*i], &ranges[*i])).count();
        let (a, b) = (old.len(), new.len());
        let tail = (1..=common - head).take_while(|i| fits(&old[a - i], &ranges[b - i])).count();
        for i in 0..head {
            new[i] = old[i].take();
        }
        for i in 1..=tail {
            new[b - i] = old[a - i].take();
        }
        // what was moved
        let mut moved: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
        for i in (head..a - tail).rev() {
            if let Some(k) = &old[i] {
                moved.entry(Arc::clone(&k.text)).or_default().push(i);
            }
        }
        for i in head..b - tail {
            let found = moved.get_mut(&text[ranges[i].clone()]).and_then(Vec::pop);
            if let Some(found) = found.filter(|f| fits(&old[*f], &ranges[i])) {
                new[i] = old[found].take();
            }
        }
        // what has changed keeps its number, which is in the spans of what it says about itself
        let mut numbers = old.into_iter().flatten().map(|k| k.file);
        let mut fresh: Vec<(usize, FileId)> = Vec::new();
        for i in (head..b - tail).filter(|i| new[*i].is_none()) {
            let number = numbers.next().or_else(|| self.free.pop());
            fresh.push((i, number.unwrap_or_else(|| map.add_piece(whole))));
        }
        self.free.extend(numbers);
        let size = fresh.iter().map(|(i, _)| ranges[*i].len()).sum();
        let read = tdl_syntax::in_parallel(size, &fresh, |(i, file)| {
            let (piece, first) = (&text[ranges[*i].clone()], ranges[*i].start == 0);
            let lead = tdl_syntax::lead(piece);
            let parsed = Arc::new(tdl_syntax::parse_piece(*file, piece, lead, first));
            let code = piece[lead..].into();
            Known { file: *file, text: piece.into(), first, code, offset: 0, line: 0, parsed }
        });
        for ((i, _), known) in fresh.into_iter().zip(read) {
            new[i] = Some(known);
        }
        let breaks = |text: &str| text.bytes().filter(|b| *b == b'\n').count();
        let mut line = 0;
        self.pieces = new.into_iter().flatten().collect();
        for (p, range) in self.pieces.iter_mut().zip(&ranges) {
            let lead = p.text.len() - p.code.len();
            (p.offset, p.line) = (range.start + lead, line + breaks(&p.text[..lead]));
            line = p.line + breaks(&p.code);
            map.set_piece(p.file, p.offset, &p.code);
        }
    }
}
