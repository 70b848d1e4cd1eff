//! What a failed program says.

use crate::abi::Site;
use crate::context::Failure;
use crate::start::Form;

/// A failure in the form of the compiler's errors; its places are among `sites`.
///
/// # Safety
/// The sites' texts are alive.
pub unsafe fn message(failure: &Failure, sites: &[Site], form: Form) -> String {
    let code = failure.kind.code();
    let color = match form {
        // SAFETY: by contract
        Form::Json => return unsafe { json(failure, sites) },
        Form::Text { color } => color,
    };
    let (red, bold, off) = if color { ("\x1b[1;31m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
    let mut out = format!("{red}error[{code}]{off}{bold}: {}{off}\n", failure.message);
    // SAFETY: by contract
    let (place, notes) = unsafe { (place(failure.site, sites), notes(failure, sites)) };
    let Some((site, file)) = place else {
        out.extend(notes.iter().map(|n| format!("note: {n}\n")));
        return out;
    };
    // SAFETY: by contract
    let source = unsafe { site.source.as_str() };
    let line = site.line.to_string();
    let gutter = " ".repeat(line.len());
    let indent: String = source
        .chars()
        .take(site.column.saturating_sub(1) as usize)
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let marks = "─".repeat(site.width.clamp(1, 200) as usize);
    out.push_str(&format!("{gutter}  ╭─[{file}:{line}:{}]\n", site.column));
    out.push_str(&format!(" {line} │ {source}\n{gutter}  │ {indent}{marks}\n"));
    out.extend(notes.iter().map(|n| format!("{gutter}  │ note: {n}\n")));
    out
}

/// A site that has a place in the source, and its file.
unsafe fn place(site: Option<u32>, sites: &[Site]) -> Option<(&Site, &str)> {
    // SAFETY: by contract of `message`
    let file = |s: &Site| unsafe { s.file.as_str() };
    site.and_then(|i| sites.get(i as usize)).map(|s| (s, file(s))).filter(|(_, file)| !file.is_empty())
}

/// What is said below a failure.
unsafe fn notes(failure: &Failure, sites: &[Site]) -> Vec<String> {
    // SAFETY: by contract of `message`
    let place = |site| unsafe { place(site, sites) };
    let mut notes = Vec::new();
    // SAFETY: by contract of `message`
    let inside = place(failure.site).map_or("", |(site, _)| unsafe { site.inside.as_str() });
    if !inside.is_empty() {
        notes.push(format!("it happened in {inside}"));
    }
    for note in &failure.notes {
        notes.push(match place(note.site) {
            Some((site, file)) => {
                // SAFETY: by contract of `message`
                let source = unsafe { site.source.as_str() }.chars().skip(site.column.saturating_sub(1) as usize);
                let code: String = source.take(site.width as usize).collect();
                format!("{}: `{code}` ({file}:{}:{})", note.text, site.line, site.column)
            }
            None => note.text.clone(),
        });
    }
    notes
}

/// A failure as the compiler's `--json` writes errors, without byte offsets, which a program does not carry.
unsafe fn json(failure: &Failure, sites: &[Site]) -> String {
    let (code, message) = (failure.kind.code(), quoted(&failure.message));
    // SAFETY: by contract of `message`
    let (place, notes) = unsafe { (place(failure.site, sites), notes(failure, sites)) };
    let primary = place.map_or("null".to_owned(), |(site, file)| {
        let Site { line, column, width, .. } = *site;
        format!(
            r#"{{"file":{},"line":{line},"column":{column},"end_line":{line},"end_column":{},"text":""}}"#,
            quoted(file),
            column + width
        )
    });
    let notes: Vec<String> = notes.iter().map(|n| quoted(n)).collect();
    format!(
        "{{\"severity\":\"error\",\"code\":\"{code}\",\"message\":{message},\"primary\":{primary},\"secondary\":[],\"notes\":[{}],\"help\":[]}}\n",
        notes.join(",")
    )
}

/// A text as JSON (RFC 8259, section 7).
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::Text;
    use crate::context::{FailureKind, Note};

    #[test]
    fn failures_show_their_line() {
        let text = |s: &'static str| Text { ptr: s.as_ptr(), len: s.len() as u64 };
        let site = Site {
            file: text("a.tdl"),
            line: 12,
            column: 5,
            width: 4,
            _pad: 0,
            source: text("let x[i] = 3"),
            inside: text(""),
        };
        let failure = Failure::new(FailureKind::Index, "index 7 is out of range").at(0);
        // SAFETY: the texts are static
        let out = unsafe { message(&failure, std::slice::from_ref(&site), Form::Text { color: false }) };
        assert_eq!(
            out,
            "error[E0702]: index 7 is out of range\n    ╭─[a.tdl:12:5]\n 12 │ let x[i] = 3\n    │     ────\n"
        );
        let site = Site { inside: text("<std>/data.tdl:3:1"), ..site };
        // SAFETY: the texts are static
        let out = unsafe { message(&failure, std::slice::from_ref(&site), Form::Text { color: false }) };
        assert!(out.ends_with("│ note: it happened in <std>/data.tdl:3:1\n"), "{out}");
        let holds = Note { text: "one tensor holds 8 bytes".into(), site: Some(0) };
        let full = Failure { notes: vec![holds], ..failure.clone() };
        // SAFETY: the texts are static
        let out = unsafe { message(&full, std::slice::from_ref(&site), Form::Text { color: false }) };
        assert!(out.ends_with("note: one tensor holds 8 bytes: `x[i]` (a.tdl:12:5)\n"), "{out}");
        let failure = Failure { message: "a \"b\"\n\u{1}".into(), ..failure };
        // SAFETY: the texts are static
        let out = unsafe { message(&failure, std::slice::from_ref(&site), Form::Json) };
        assert_eq!(
            out,
            r#"{"severity":"error","code":"E0702","message":"a \"b\"\n\u0001","primary":{"file":"a.tdl","line":12,"column":5,"end_line":12,"end_column":9,"text":""},"secondary":[],"notes":["it happened in <std>/data.tdl:3:1"],"help":[]}"#
                .to_owned()
                + "\n"
        );
    }
}
