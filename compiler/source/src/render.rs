//! Diagnostics as text for people (through ariadne, whose only user this is) and as JSON for programs.
//!
//! The form is the reference's section 11: `error[E0401]: message`, then the excerpt whose first `FILE:LINE:COL` is the
//! primary place, then notes and help.

use ariadne::{CharSet, Color, Config, IndexType, Label, Report, ReportKind, Source};
use serde::Serialize;

use crate::{Diagnostic, FileId, Severity, SourceMap, Span};

/// How to draw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    pub color: bool,
    /// Draw boxes with ASCII characters.
    pub ascii: bool,
}

/// Longest line, in bytes, that is drawn whole.
const LONG_LINE: usize = 240;

/// Most diagnostics that are drawn; nobody reads more at once.
const MOST: usize = 100;

/// Draws diagnostics one after the other, with an empty line in between.
pub fn render(diagnostics: &[Diagnostic], map: &SourceMap, style: Style) -> String {
    let mut cache = Cache { map, sources: Vec::new() };
    let drawn: Vec<String> = diagnostics.iter().take(MOST).map(|d| render_one(d, map, &mut cache, style)).collect();
    let mut out = drawn.join("\n");
    if diagnostics.len() > MOST {
        out.push_str(&format!("\n… and {} more\n", diagnostics.len() - MOST));
    }
    out
}

fn render_one(d: &Diagnostic, map: &SourceMap, cache: &mut Cache<'_>, style: Style) -> String {
    let primary = clamp(d.primary.span, map);
    let mut out = header(d, style);
    let involved = || std::iter::once(&d.primary).chain(&d.secondary);
    if involved().any(|l| longest_line(clamp(l.span, map), map) > LONG_LINE) {
        out.push_str(&plain_excerpt(d, primary, map));
    } else {
        out.push_str(&drawn_excerpt(d, primary, cache, style));
    }
    out
}

fn header(d: &Diagnostic, style: Style) -> String {
    let (word, ansi) = match d.severity {
        Severity::Error => ("error", "31"),
        Severity::Warning => ("warning", "33"),
    };
    if style.color {
        format!("\x1b[1;{ansi}m{word}[{}]\x1b[0m\x1b[1m: {}\x1b[0m\n", d.code, d.message)
    } else {
        format!("{word}[{}]: {}\n", d.code, d.message)
    }
}

type Place = (FileId, std::ops::Range<usize>);

fn drawn_excerpt(d: &Diagnostic, primary: Span, cache: &mut Cache<'_>, style: Style) -> String {
    let map = cache.map;
    let place = |s: Span| -> Place { (s.file, s.start as usize..s.end as usize) };
    let config = Config::default()
        .with_color(style.color)
        .with_index_type(IndexType::Byte)
        .with_cross_gap(true)
        .with_compact(false)
        .with_char_set(if style.ascii { CharSet::Ascii } else { CharSet::Unicode });
    let kind_color = match d.severity {
        Severity::Error => Color::Red,
        Severity::Warning => Color::Yellow,
    };
    // from top to bottom; on a line from the right, so that no arrow crosses another
    let mut labels = vec![(primary, d.primary.text.as_str(), kind_color, 1)];
    labels.extend(d.secondary.iter().map(|l| (clamp(l.span, map), l.text.as_str(), Color::Cyan, 0)));
    labels.sort_by_key(|(s, ..)| {
        let last = map.line_col(s.file, s.end.max(s.start + 1) - 1).line;
        (s.file != primary.file, s.file, last, std::cmp::Reverse(s.start))
    });
    let mut report = Report::build(ReportKind::Error, place(primary)).with_config(config);
    for (order, (span, text, color, priority)) in (0..).zip(labels) {
        let label = Label::new(place(span)).with_color(color).with_priority(priority).with_order(order);
        report.add_label(if text.is_empty() { label } else { label.with_message(text) });
    }
    let mut drawn = Vec::new();
    let result = report.finish().write(cache, &mut drawn);
    let drawn = String::from_utf8_lossy(&drawn);
    match (result, drawn.split_once('\n')) {
        // ariadne's own first line is replaced by ours
        (Ok(()), Some((_, excerpt))) => tidy(excerpt) + &remarks(d, &gutter_of(excerpt), style),
        (Ok(()) | Err(_), _) => plain_excerpt(d, primary, map),
    }
}

/// The blanks before the frame.
fn gutter_of(excerpt: &str) -> String {
    " ".repeat(excerpt.chars().take_while(|c| *c == ' ').count())
}

/// Help and notes under an excerpt. Help comes first: it is what most readers look for.
fn remarks(d: &Diagnostic, gutter: &str, style: Style) -> String {
    let bar = if style.ascii { '|' } else { '│' };
    let helps = d.help.iter().map(|h| ("help", h.text.as_str()));
    let notes = d.notes.iter().map(|n| ("note", n.as_str()));
    let mut out = String::new();
    for (word, text) in helps.chain(notes) {
        let word = if style.color { format!("\x1b[1m{word}\x1b[0m") } else { word.to_owned() };
        let lines = text.replace('\n', &format!("\n{gutter}{bar}       "));
        out.push_str(&format!("{gutter}{bar} {word}: {lines}\n"));
    }
    out
}

/// ariadne's drawing in the reference's form: `[FILE:L:C]`, no empty lines, short arrows, no blanks at line ends.
fn tidy(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let cells = cells(line.trim_end());
        let numbered = cells.iter().map(|c| c.0).find(|c| *c != ' ').is_some_and(|c| c.is_ascii_digit());
        if numbered {
            out.push_str(line.trim_end());
        } else if let Some(open) = head(&cells) {
            let close = cells.iter().rposition(|c| c.0 == ']').unwrap_or(cells.len());
            for (i, (_, whole)) in cells.iter().enumerate() {
                // colours that stand around a blank stay
                let blank = i == open + 1 || i + 1 == close;
                out.push_str(&if blank { whole.replace(' ', "") } else { (*whole).to_owned() });
            }
        } else {
            let drawn = |c: char| !matches!(c, ' ' | '│' | '|' | '┆' | '╯' | '─' | '\'' | '-');
            if !cells.iter().any(|c| drawn(c.0)) {
                continue;
            }
            out.push_str(short_arrow(&cells).trim_end());
        }
        out.push('\n');
    }
    out
}

/// Where `[` stands in the first line of an excerpt, `╭─[ FILE:L:C ]`.
fn head(cells: &[(char, &str)]) -> Option<usize> {
    let open = cells.windows(2).position(|c| c[0].0 == '[' && c[1].0 == ' ')?;
    cells[..open].iter().any(|c| matches!(c.0, '╭' | '├' | ',' | '|')).then_some(open)
}

/// `╰────────── text` becomes `╰── text`.
fn short_arrow(cells: &[(char, &str)]) -> String {
    let mut out = String::new();
    let mut run = None;
    for (c, whole) in cells {
        match (c, run) {
            ('╰' | '`', None) => run = Some(0),
            ('─' | '-', Some(n)) => {
                run = Some(n + 1);
                if n >= 2 {
                    continue;
                }
            }
            (_, Some(n)) if n > 0 => run = Some(i32::MIN),
            _ => {}
        }
        out.push_str(whole);
    }
    out
}

/// The characters of a line, each with the colour codes around it.
fn cells(line: &str) -> Vec<(char, &str)> {
    let mut out: Vec<(char, &str)> = Vec::new();
    let (mut at, mut start) = (0, 0);
    while let Some(c) = line[at..].chars().next() {
        if c == '\x1b' {
            let end = line[at..].find('m').map_or(line.len(), |i| at + i + 1);
            let reset = &line[at..end] == "\x1b[0m";
            at = end;
            // a reset ends the character before it
            if reset
                && start < end
                && let Some(last) = out.last_mut()
            {
                let from = last.1.as_ptr() as usize - line.as_ptr() as usize;
                last.1 = &line[from..end];
                start = end;
            }
            continue;
        }
        at += c.len_utf8();
        out.push((c, &line[start..at]));
        start = at;
    }
    out
}

/// For lines too long to draw: a window of the line around the primary place.
fn plain_excerpt(d: &Diagnostic, primary: Span, map: &SourceMap) -> String {
    let text = &map.file(primary.file).text;
    let start = primary.start as usize;
    let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |i| start + i);
    let before: String = text[line_start..start].chars().rev().take(30).collect::<Vec<_>>().into_iter().rev().collect();
    let after: String = text[start..line_end].chars().take(40).collect();
    let lead = if before.len() < start - line_start { "…" } else { "" };
    let tail = if after.len() < line_end - start { "…" } else { "" };
    let line = map.line_col(primary.file, primary.start).line;
    let gutter = " ".repeat(line.to_string().len());
    let indent = " ".repeat(lead.chars().count() + before.chars().count());
    let mut out = format!(
        "{gutter}  ╭─[{}]\n {line} │ {lead}{before}{after}{tail}\n{gutter}  │ {indent}^ {}\n",
        map.location(primary),
        d.primary.text
    );
    for label in &d.secondary {
        out.push_str(&format!("{gutter}  │ {}: {}\n", map.location(clamp(label.span, map)), label.text));
    }
    out + &remarks(d, &format!("{gutter}  "), Style::default())
}

/// The span moved inside its file and onto character boundaries.
fn clamp(span: Span, map: &SourceMap) -> Span {
    let text = &map.file(span.file).text;
    let mut start = (span.start as usize).min(text.len());
    let mut end = (span.end as usize).clamp(start, text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    Span::new(span.file, start, end)
}

fn longest_line(span: Span, map: &SourceMap) -> usize {
    let text = &map.file(span.file).text;
    let start = text[..span.start as usize].rfind('\n').map_or(0, |i| i + 1);
    let end = text[span.end as usize..].find('\n').map_or(text.len(), |i| span.end as usize + i);
    text[start..end].split('\n').map(str::len).max().unwrap_or(0)
}

struct Cache<'a> {
    map: &'a SourceMap,
    sources: Vec<(FileId, Source<String>)>,
}

impl ariadne::Cache<FileId> for Cache<'_> {
    type Storage = String;

    fn fetch(&mut self, id: &FileId) -> Result<&Source<String>, impl std::fmt::Debug> {
        if !self.sources.iter().any(|(f, _)| f == id) {
            self.sources.push((*id, Source::from(self.map.file(*id).text.to_string())));
        }
        self.sources.iter().find(|(f, _)| f == id).map(|(_, s)| s).ok_or("unknown file")
    }

    fn display<'a>(&self, id: &'a FileId) -> Option<impl std::fmt::Display + 'a> {
        Some(self.map.file(*id).name.clone())
    }
}

#[derive(Serialize)]
struct JsonLabel<'a> {
    file: &'a str,
    line: u32,
    column: u32,
    end_line: u32,
    end_column: u32,
    start: u32,
    end: u32,
    text: &'a str,
}

#[derive(Serialize)]
struct JsonHelp<'a> {
    text: &'a str,
    edit: Option<JsonLabel<'a>>,
}

#[derive(Serialize)]
struct JsonDiagnostic<'a> {
    severity: &'a str,
    code: String,
    message: &'a str,
    primary: JsonLabel<'a>,
    secondary: Vec<JsonLabel<'a>>,
    notes: &'a [String],
    help: Vec<JsonHelp<'a>>,
}

/// One JSON object a line. Lines and columns count from 1, `start` and `end` are byte offsets.
pub fn to_json(diagnostics: &[Diagnostic], map: &SourceMap) -> String {
    let label = |span: Span, text| -> JsonLabel<'_> {
        let span = clamp(span, map);
        let (from, to) = (map.line_col(span.file, span.start), map.line_col(span.file, span.end));
        JsonLabel {
            file: &map.file(span.file).name,
            line: from.line,
            column: from.col,
            end_line: to.line,
            end_column: to.col,
            start: span.start,
            end: span.end,
            text,
        }
    };
    let mut out = String::new();
    for d in diagnostics {
        let json = JsonDiagnostic {
            severity: match d.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            code: d.code.to_string(),
            message: &d.message,
            primary: label(d.primary.span, &d.primary.text),
            secondary: d.secondary.iter().map(|l| label(l.span, &l.text)).collect(),
            notes: &d.notes,
            help: d
                .help
                .iter()
                .map(|h| JsonHelp { text: &h.text, edit: h.edit.as_ref().map(|e| label(e.span, &e.replacement)) })
                .collect(),
        };
        out.push_str(&serde_json::to_string(&json).unwrap_or_default());
        out.push('\n');
    }
    out
}

/// A command that could not be carried out: an object as of `to_json`, without a code and a place.
pub fn usage_json(message: &str) -> String {
    #[derive(Serialize)]
    struct Usage<'a> {
        severity: &'a str,
        code: Option<&'a str>,
        message: &'a str,
        primary: Option<JsonLabel<'a>>,
        secondary: [JsonLabel<'a>; 0],
        notes: [&'a str; 0],
        help: [JsonHelp<'a>; 0],
    }
    let json = Usage { severity: "error", code: None, message, primary: None, secondary: [], notes: [], help: [] };
    serde_json::to_string(&json).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code;

    fn sample(text: &str, start: usize, end: usize) -> (SourceMap, Diagnostic) {
        let mut map = SourceMap::default();
        let file = map.add("a.tdl", text);
        let d = Diagnostic::error(code::E0390, "comprehensions", Span::new(file, start, end), "here").help("wait");
        (map, d)
    }

    #[test]
    fn first_location_is_the_primary_place() {
        let (map, d) = sample("let é = 1\nlet y = [i for i]\n", 19, 28);
        let text = render(&[d], &map, Style::default());
        assert!(text.starts_with("error[E0390]: comprehensions\n"), "{text}");
        assert!(text.contains("a.tdl:2:9"), "{text}");
        assert!(!text.contains('\x1b'));
        insta::assert_snapshot!(text);
    }

    /// Without the codes of colours.
    fn plain(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('\x1b') {
            out.push_str(before);
            rest = after.split_once('m').map_or("", |(_, rest)| rest);
        }
        out + rest
    }

    #[test]
    fn colours_change_nothing_else() {
        let text = "let é = 1\nlet y = [i for i]\nlet zz = y[3] + é\n";
        for (start, end) in [(0, 3), (19, 28), (19, 46), (30, 45)] {
            let (map, d) = sample(text, start, end);
            let file = d.primary.span.file;
            let d =
                d.label(Span::new(file, 4, 6), "defined here").label(Span::new(file, 38, 42), "used").note("a note");
            for ascii in [false, true] {
                let drawn = |color| render(std::slice::from_ref(&d), &map, Style { color, ascii });
                assert_eq!(plain(&drawn(true)), drawn(false));
                assert!(drawn(true).contains('\x1b') && !drawn(true).contains("[ "), "{}", drawn(true));
            }
        }
    }

    #[test]
    fn long_lines_are_cut() {
        let (map, d) = sample(&"(".repeat(100_000), 5000, 5001);
        let text = render(&[d], &map, Style::default());
        assert!(text.len() < 500, "{text}");
        assert!(text.contains("a.tdl:1:5001"));
    }

    #[test]
    fn wild_spans_do_not_panic() {
        for (text, start, end) in [("", 0, 0), ("", 5, 9), ("é", 1, 1), ("a\n", 2, 2), ("ab", 1, 99)] {
            let (map, d) = sample(text, start, end);
            render(std::slice::from_ref(&d), &map, Style { color: true, ascii: true });
            to_json(&[d], &map);
        }
    }
}
