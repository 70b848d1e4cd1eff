//! What the editor is told after an edit, of which only what it touched is checked again, is what a check of everything
//! finds: programs of the repository are edited at random, in bodies, in signatures, across items, into broken texts and
//! back; after each edit errors, outline, hovers, definitions, references and hints are compared with those of a new editor.
//!
//! Without settings the same edits are made each time; `FUZZ_SECONDS` makes it longer, `FUZZ_SEED` different.

#[path = "support/generate/random.rs"]
mod random;
mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use random::Random;
use support::root;
use tdl_driver::{Analysis, Device, Editor, Failure, Options, Session, Symbol};
use tdl_source::{Diagnostic, FileId, SourceMap, Span};

const MAIN: &str = "/edits/main.tdl";
const OTHER: &str = "/edits/other.tdl";

#[test]
fn edits_find_what_a_whole_check_finds() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (time, seed) = (Duration::from_secs(number("FUZZ_SECONDS", 0)), number("FUZZ_SEED", 1));
    // deep but legal programs need stack: as much as the command has
    let worker = std::thread::Builder::new().stack_size(256 << 20).spawn(move || edits(time, seed)).expect("a thread");
    worker.join().expect("no difference");
}

fn options() -> Options {
    Options {
        opt_level: 2,
        threads: Some(1),
        cpu: "native".into(),
        cache: false,
        device: Device::Cpu,
        verify: false,
        color: false,
        json: false,
        debug: false,
        profile: false,
        trap_nan: false,
    }
}

fn programs() -> Vec<String> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for folder in ["examples", "stdlib", "tests/run", "tests/ui", "bench"] {
        let files = std::fs::read_dir(root().join(folder)).expect("a folder");
        paths.extend(files.filter_map(|f| Some(f.ok()?.path())).filter(|p| p.extension().is_some_and(|e| e == "tdl")));
    }
    paths.sort();
    let texts = paths.iter().filter_map(|p| std::fs::read_to_string(p).ok());
    texts.filter(|t| t.len() < 20_000).collect()
}

fn edits(time: Duration, seed: u64) {
    let programs = programs();
    assert!(programs.len() > 100, "the repository has programs");
    let mut random = Random::new(seed);
    let (start, mut steps, mut sound, mut sessions) = (Instant::now(), 0, 0, 0);
    while sessions < 12 || start.elapsed() < time {
        sessions += 1;
        let mut text = random.pick(&programs);
        let two = random.below(4) == 0;
        if two {
            text = format!("import other\n{text}");
        }
        let mut other = random.pick(&programs);
        let mut history = vec![(text.clone(), other.clone())];
        let mut editor = Editor::new(options());
        set(&mut editor, &text, two.then_some(&other));
        let mut analysis = editor.analyse(Path::new(MAIN));
        for step in 0..25 {
            let last = history.last().cloned().expect("the first state");
            if random.below(3) == 0 {
                (text, other) = random.pick(&history);
            } else if two && random.below(3) == 0 {
                edit(&mut other, &programs, &mut random);
            } else {
                for _ in 0..1 + random.below(3) {
                    edit(&mut text, &programs, &mut random);
                }
            }
            history.push((text.clone(), other.clone()));
            set(&mut editor, &text, two.then_some(&other));
            // derivatives are looked at in between, or not
            if random.below(3) == 0 {
                analysis.check_derivatives(&mut || false);
            }
            analysis = editor.analyse_again(analysis);
            let mut fresh = new_editor(&text, two.then_some(&other)).analyse(Path::new(MAIN));
            let places: Vec<usize> = (0..24).map(|_| random.below(text.len() + 1)).collect();
            let describe = || format!("seed {seed}, session {sessions}, step {step}");
            let before = (two, &last, text.as_str(), other.as_str());
            equal(&told(&analysis, &places), &told(&fresh, &places), before, &describe());
            steps += 1;
            sound += usize::from(fresh.diagnostics().is_empty());
            if random.below(4) == 0 {
                analysis = complete(&editor, analysis, &text, before, &describe(), &mut random);
            }
            if !two && random.below(12) == 0 {
                analysis.check_derivatives(&mut || false);
                fresh.check_derivatives(&mut || false);
                equal(&errors(&analysis), &errors(&fresh), before, &describe());
                equal(&errors(&fresh), &by_command(&text), before, &describe());
            }
        }
    }
    println!("{steps} edits, {sound} of them to programs without errors");
    assert!(sound * 20 > steps, "enough programs without errors: {sound} of {steps}");
}

fn set(editor: &mut Editor, text: &str, other: Option<&String>) {
    editor.set(Path::new(MAIN), text);
    if let Some(other) = other {
        editor.set(Path::new(OTHER), other);
    }
}

fn new_editor(text: &str, other: Option<&String>) -> Editor {
    let mut editor = Editor::new(options());
    set(&mut editor, text, other);
    editor
}

/// A change as people make them, and as they do not.
fn edit(text: &mut String, programs: &[String], random: &mut Random) {
    let place = |text: &str, random: &mut Random| {
        let mut at = random.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let at = place(text, random);
    let lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let row = if lines.is_empty() { 0 } else { random.below(lines.len()) };
    let item = |text: &str, random: &mut Random| {
        let pieces = tdl_syntax::pieces(text);
        pieces[random.below(pieces.len())].clone()
    };
    match random.below(12) {
        0 => {
            let signs: Vec<char> = "()[]{}\"'#.,:=+-*/@|<> \n\n\t\rabnx019é;&".chars().collect();
            text.insert(at, random.pick(&signs));
        }
        1 => {
            let end = (at + 1 + random.below(12)).min(text.len());
            let end = (end..=text.len()).find(|e| text.is_char_boundary(*e)).unwrap_or(text.len());
            text.replace_range(at..end, "");
        }
        // a line goes elsewhere
        2 if lines.len() > 1 => {
            let mut lines = lines;
            let line = lines.remove(row);
            lines.insert(random.below(lines.len() + 1), line);
            *text = lines.concat();
        }
        // an item of this or another program comes in
        3 => {
            let from = if random.below(2) == 0 { text.clone() } else { random.pick(programs) };
            let new = item(&from, random);
            let to = item(text, random).start;
            text.insert_str(to, &from[new]);
        }
        4 => {
            let range = item(text, random);
            text.replace_range(range, "");
        }
        5 if !lines.is_empty() => {
            let start: usize = lines[..row].iter().map(String::len).sum();
            text.insert_str(start, &lines[row]);
        }
        // two items change places
        6 => {
            let (a, b) = (item(text, random), item(text, random));
            if a.end <= b.start {
                *text = format!(
                    "{}{}{}{}{}",
                    &text[..a.start],
                    &text[b.clone()],
                    &text[a.end..b.start],
                    &text[a.clone()],
                    &text[b.end..]
                );
            }
        }
        // a word in place of another
        7 | 8 => {
            let words: Vec<(usize, usize)> = words(text);
            if !words.is_empty() {
                let (a, b) = (random.pick(&words), random.pick(&words));
                let new = text[b.0..b.1].to_owned();
                text.replace_range(a.0..a.1, &new);
            }
        }
        // a number in place of another, a letter more in a name
        9 => {
            let words = words(text);
            if !words.is_empty() {
                let (_, end) = random.pick(&words);
                text.insert(end, random.pick(&['x', '1']));
            }
        }
        10 => text.insert_str(0, random.pick(&["\n", "# a comment\n", "## About this.\n\n", "## About this.\n"])),
        _ => {
            let start: usize = lines[..row].iter().map(String::len).sum();
            text.insert_str(
                start,
                random.pick(&["\n", "  # a comment\n", "## More.\n", "  let x = 1\n", "}\n", "{\n"]),
            );
        }
    }
}

fn words(text: &str) -> Vec<(usize, usize)> {
    let all = tdl_syntax::tokens::tokens(text);
    all.filter(|(t, _)| matches!(t, Ok(tdl_syntax::tokens::Token::Word))).map(|(_, r)| (r.start, r.end)).collect()
}

/// What can be written next, from what is known and from nothing.
fn complete(
    editor: &Editor,
    known: Analysis,
    text: &str,
    before: (bool, &(String, String), &str, &str),
    describe: &str,
    random: &mut Random,
) -> Analysis {
    let mut at = random.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let ask = |known: &mut Option<Analysis>| {
        let all = editor.complete(Path::new(MAIN), at, known);
        let names: String = all.iter().map(|c| format!("{at} {} {}\n", c.name, c.detail)).collect();
        format!("{names}{:?}\n", editor.signature(Path::new(MAIN), at, known))
    };
    let mut known = Some(known);
    equal(&ask(&mut known), &ask(&mut None), before, describe);
    editor.analyse_again(known.expect("what was given"))
}

/// Everything that a client is told of the program.
fn told(a: &Analysis, places: &[usize]) -> String {
    let mut out = errors(a);
    let map = a.map();
    out += &format!("failure {:?}\n", a.failure());
    let Some(file) = a.file(Path::new(MAIN)) else { return out };
    symbols(map, &a.symbols(file), &mut out);
    for hint in a.hints(file, 0, u32::MAX) {
        out += &format!("hint {} {}\n", hint.at, hint.text);
    }
    for at in places {
        let at = *at as u32;
        if let Some(h) = a.hover(file, at) {
            out += &format!("hover {at} {} {}\n", shown(map, h.span), h.text);
        }
        if let Some(span) = a.definition(file, at) {
            out += &format!("definition {at} {}\n", shown(map, span));
            let mut all: Vec<String> = a.references(span).iter().map(|s| shown(map, *s)).collect();
            all.sort();
            out += &format!("references {}; may be renamed: {:?}\n", all.join(" "), a.may_rename(span));
        }
        if let Some(span) = a.word(file, at) {
            out += &format!("word {at} {}\n", shown(map, span));
        }
    }
    out
}

fn symbols(map: &SourceMap, list: &[Symbol], out: &mut String) {
    for s in list {
        *out += &format!("{} {:?} {} {}\n", s.name, s.kind, shown(map, s.span), shown(map, s.name_span));
        symbols(map, &s.children, out);
    }
}

fn errors(a: &Analysis) -> String {
    list(a.map(), a.diagnostics())
}

fn list(map: &SourceMap, all: &[Diagnostic]) -> String {
    let mut out = String::new();
    for d in all {
        out +=
            &format!("{} {:?} {} {} {:?}\n", d.code, d.severity, d.message, shown(map, d.primary.span), d.primary.text);
        for l in &d.secondary {
            out += &format!("  label {} {}\n", shown(map, l.span), l.text);
        }
        for h in &d.help {
            let edit = h.edit.as_ref().map(|e| (shown(map, e.span), &e.replacement));
            out += &format!("  help {} {edit:?}\n", h.text);
        }
        out += &format!("  notes {:?}\n", d.notes);
    }
    out
}

/// Files have other numbers in another analysis.
fn shown(map: &SourceMap, span: Span) -> String {
    let place = |offset: u32| {
        let at = map.line_col(span.file, offset);
        format!("{}:{}", at.line, at.col)
    };
    format!("{}:{}-{}", map.file(span.file).name, place(span.start), place(span.end))
}

/// The errors that `tdl check` finds, which reads the file in one piece.
fn by_command(text: &str) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("main.tdl");
    std::fs::write(&path, text).expect("a file to write to");
    let mut session = Session::new(options());
    let found = match session.check(&path) {
        Err(Failure::Program(all)) => list(session.map(), &all),
        Err(other) => other.text(session.map(), Default::default(), false),
        Ok(()) => String::new(),
    };
    assert!(session.map().files().next().is_some_and(|(id, _)| id == FileId(0)));
    found.replace(&*path.to_string_lossy(), MAIN)
}

#[track_caller]
fn equal(found: &str, expected: &str, edit: (bool, &(String, String), &str, &str), describe: &str) {
    if found == expected {
        return;
    }
    let (two, (before, other_before), after, other_after) = edit;
    let diff = |a: &str, b: &str| similar::TextDiff::from_lines(a, b).unified_diff().context_radius(1).to_string();
    let mut text = format!("{describe}: found (-) and expected (+):\n{}", diff(found, expected));
    text += &format!("after this edit:\n{}", diff(before, after));
    if two {
        text += &format!("and of the other file:\n{}", diff(other_before, other_after));
    }
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("edit.txt");
    let whole = format!("{text}\n=== before\n{before}\n=== after\n{after}\n=== other\n{other_after}\n");
    std::fs::write(&kept, whole).expect("a file to write to");
    panic!("{text}\nsee {}", kept.display());
}
