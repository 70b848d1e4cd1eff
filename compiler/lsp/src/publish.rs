//! Errors of programs for the client.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Value, json};
use tdl_driver::Analysis;
use tdl_source::{Diagnostic, FileId, Severity, Span};

use crate::Server;
use crate::documents::uri_of;
use crate::position::Lines;

impl Server {
    /// Sends what differs from what was sent before. A file of several programs has the errors of all, each once.
    pub fn publish(&mut self) {
        let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (path, analysis) in &self.analyses {
            // a file without errors is told so
            for (file, _) in analysis.files() {
                all.entry(self.uri(file)).or_default();
            }
            let places = Places::new(self, analysis);
            for d in analysis.diagnostics() {
                let Some((uri, value)) = places.diagnostic(d) else { continue };
                let of_file = all.entry(uri).or_default();
                if !of_file.contains(&value) {
                    of_file.push(value);
                }
            }
            if let Some(text) = analysis.failure() {
                let range = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 0, "character": 1 } });
                let value = json!({ "range": range, "severity": 1, "source": "tdl", "message": text });
                all.entry(self.uri(path)).or_default().push(value);
            }
        }
        for uri in self.published.keys() {
            all.entry(uri.clone()).or_default();
        }
        for (uri, diagnostics) in all {
            let value = Value::Array(diagnostics);
            if self.published.get(&uri) == Some(&value) {
                continue;
            }
            self.notify("textDocument/publishDiagnostics", json!({ "uri": uri, "diagnostics": value }));
            self.published.insert(uri, value);
        }
    }

    /// A span as the client names it.
    pub fn location(&self, analysis: &Analysis, span: Span) -> Option<(String, Value)> {
        Places::new(self, analysis).location(span)
    }
}

/// Spans of one program as the client names them.
struct Places<'a> {
    server: &'a Server,
    analysis: &'a Analysis,
    lines: RefCell<BTreeMap<FileId, Lines<'a>>>,
}

impl<'a> Places<'a> {
    fn new(server: &'a Server, analysis: &'a Analysis) -> Places<'a> {
        Places { server, analysis, lines: RefCell::default() }
    }

    fn location(&self, span: Span) -> Option<(String, Value)> {
        let path = self.analysis.path(span.file)?;
        let mut lines = self.lines.borrow_mut();
        let text = &self.analysis.map().file(span.file).text;
        let lines = lines.entry(span.file).or_insert_with(|| Lines::new(text));
        Some((self.server.uri(&path), lines.range(span.start as usize, span.end as usize)))
    }

    /// The address of a diagnostic's file, and the diagnostic.
    fn diagnostic(&self, d: &Diagnostic) -> Option<(String, Value)> {
        let (uri, range) = self.location(d.primary.span)?;
        let mut message = d.message.clone();
        if !d.primary.text.is_empty() {
            message.push_str(&format!("\n{}", d.primary.text));
        }
        d.help.iter().for_each(|h| message.push_str(&format!("\nhelp: {}", h.text)));
        d.notes.iter().for_each(|n| message.push_str(&format!("\nnote: {n}")));
        let related: Vec<Value> = d
            .secondary
            .iter()
            .filter_map(|l| {
                let (uri, range) = self.location(l.span)?;
                Some(json!({ "location": { "uri": uri, "range": range }, "message": l.text }))
            })
            .collect();
        let severity = match d.severity {
            Severity::Error => 1,
            Severity::Warning => 2,
        };
        let mut value = json!({
            "range": range,
            "severity": severity,
            "code": d.code.to_string(),
            "source": "tdl",
            "message": message,
            "relatedInformation": related,
        });
        if let Some(page) = self.analysis.page(d.code) {
            value["codeDescription"] = json!({ "href": uri_of(&page) });
        }
        Some((uri, value))
    }
}
