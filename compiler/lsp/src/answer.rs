//! Requests about documents, and their answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lsp_server::{ErrorCode, Request};
use serde_json::{Value, json};
use tdl_driver::{Analysis, CompletionKind, Editor, Symbol, SymbolKind};
use tdl_source::{FileId, Span};
use tdl_syntax::tokens::{Class, highlight};

use crate::documents::path_of;
use crate::position::{Lines, offset};
use crate::{Answer, Server};

/// The classes of [`highlight`] that are told, with the protocol's names, by index.
const CLASSES: &[(Class, &str)] = &[
    (Class::Keyword, "keyword"),
    (Class::Type, "type"),
    (Class::Name, "variable"),
    (Class::Number, "number"),
    (Class::Text, "string"),
    (Class::Comment, "comment"),
    (Class::Operator, "operator"),
];

pub fn capabilities() -> Value {
    let names: Vec<&str> = CLASSES.iter().map(|(_, name)| *name).collect();
    json!({
        "capabilities": {
            "positionEncoding": "utf-16",
            "textDocumentSync": { "openClose": true, "change": 2, "save": true },
            "hoverProvider": true,
            "definitionProvider": true,
            "referencesProvider": true,
            "renameProvider": { "prepareProvider": true },
            "documentSymbolProvider": true,
            "completionProvider": { "triggerCharacters": ["."] },
            "signatureHelpProvider": { "triggerCharacters": ["(", ","] },
            "documentFormattingProvider": true,
            "semanticTokensProvider": { "legend": { "tokenTypes": names, "tokenModifiers": [] }, "full": true },
            "codeActionProvider": { "codeActionKinds": ["quickfix"] },
            "inlayHintProvider": true,
        },
        "serverInfo": { "name": "tdl", "version": env!("CARGO_PKG_VERSION") },
    })
}

/// A document and a place in it.
struct At<'s> {
    path: PathBuf,
    analysis: &'s Analysis,
    file: FileId,
    offset: usize,
}

fn invalid(text: &str) -> (ErrorCode, String) {
    (ErrorCode::InvalidParams, text.to_owned())
}

pub fn answer(server: &mut Server, request: &Request) -> Answer {
    let params = &request.params;
    match request.method.as_str() {
        "textDocument/hover" => at(server, params).map(|a| a.map_or(Value::Null, |a| hover(&a))),
        "textDocument/definition" => at(server, params).map(|a| a.map_or(Value::Null, |a| definition(server, &a))),
        "textDocument/references" => {
            at(server, params).map(|a| a.map_or(Value::Null, |a| references(server, &a, params)))
        }
        "textDocument/prepareRename" => at(server, params)?.map_or(Ok(Value::Null), |a| prepare_rename(&a)),
        "textDocument/rename" => at(server, params)?.map_or(Ok(Value::Null), |a| rename(server, &a, params)),
        "textDocument/completion" => unfinished(server, params, completion),
        "textDocument/signatureHelp" => unfinished(server, params, signature),
        "textDocument/documentSymbol" => document(server, params).map(|d| {
            d.map_or(Value::Null, |(_, analysis, file)| {
                let lines = Lines::new(&analysis.map().file(file).text);
                analysis.symbols(file).iter().map(|s| symbol(s, &lines)).collect()
            })
        }),
        "textDocument/formatting" => format(server, params),
        "textDocument/semanticTokens/full" => semantic_tokens(server, params),
        "textDocument/codeAction" => code_actions(server, params),
        "textDocument/inlayHint" => inlay_hints(server, params),
        method => Err((ErrorCode::MethodNotFound, format!("`{method}` is not known"))),
    }
}

fn path(params: &Value) -> Result<PathBuf, (ErrorCode, String)> {
    params["textDocument"]["uri"].as_str().map(path_of).ok_or_else(|| invalid("`textDocument.uri` is missing"))
}

type Document<'s> = (PathBuf, &'s Analysis, FileId);

/// The document that is asked about: one that is open, or a file of a program that is.
fn document<'s>(server: &'s Server, params: &Value) -> Result<Option<Document<'s>>, (ErrorCode, String)> {
    let path = path(params)?;
    let own = server.analyses.get(&path).and_then(|a| Some((a, a.file(&path)?)));
    let found = own.or_else(|| server.analyses.values().find_map(|a| Some((a, a.file(&path)?))));
    Ok(found.map(|(analysis, file)| (path, analysis, file)))
}

fn at<'s>(server: &'s Server, params: &Value) -> Result<Option<At<'s>>, (ErrorCode, String)> {
    let Some((path, analysis, file)) = document(server, params)? else { return Ok(None) };
    let text = &analysis.map().file(file).text;
    let offset = offset(text, &params["position"]).ok_or_else(|| invalid("`position` is missing"))?;
    Ok(Some(At { path, analysis, file, offset }))
}

fn range(analysis: &Analysis, span: Span) -> Value {
    Lines::new(&analysis.map().file(span.file).text).range(span.start as usize, span.end as usize)
}

fn hover(a: &At<'_>) -> Value {
    match a.analysis.hover(a.file, a.offset as u32) {
        Some(h) => {
            json!({ "contents": { "kind": "markdown", "value": h.text }, "range": range(a.analysis, h.span) })
        }
        None => Value::Null,
    }
}

fn location(server: &Server, analysis: &Analysis, span: Span) -> Value {
    match server.location(analysis, span) {
        Some((uri, range)) => json!({ "uri": uri, "range": range }),
        None => Value::Null,
    }
}

fn definition(server: &Server, a: &At<'_>) -> Value {
    match a.analysis.definition(a.file, a.offset as u32) {
        Some(span) => location(server, a.analysis, span),
        None => Value::Null,
    }
}

/// All mentions in all programs that are open: what is defined in a module may be used by several.
fn everywhere<'s>(server: &'s Server, a: &At<'s>) -> Option<BTreeMap<String, (&'s Analysis, Vec<Span>)>> {
    let definition = a.analysis.definition(a.file, a.offset as u32)?;
    let home = a.analysis.path(definition.file)?;
    let mut out: BTreeMap<String, (&Analysis, Vec<Span>)> = BTreeMap::new();
    for analysis in server.analyses.values() {
        let Some(file) = analysis.file(&home) else { continue };
        for span in analysis.references(Span { file, ..definition }) {
            let Some(path) = analysis.path(span.file) else { continue };
            let (first, spans) = out.entry(server.uri(&path)).or_insert((analysis, Vec::new()));
            let known = spans.iter().any(|s| (s.start, s.end) == (span.start, span.end));
            if !known {
                // one program's spans speak of one file: that of the entry
                let file = first.file(&path).unwrap_or(span.file);
                spans.push(Span { file, ..span });
            }
        }
    }
    Some(out)
}

fn references(server: &Server, a: &At<'_>, params: &Value) -> Value {
    let Some(all) = everywhere(server, a) else { return Value::Null };
    let own = a.analysis.definition(a.file, a.offset as u32);
    let home = own.and_then(|d| server.location(a.analysis, d));
    let with_own = params["context"]["includeDeclaration"].as_bool().unwrap_or(true);
    let mut out = Vec::new();
    for (uri, (analysis, spans)) in all {
        for span in spans {
            let range = range(analysis, span);
            let is_own = home.as_ref().is_some_and(|(u, r)| *u == uri && *r == range);
            if with_own || !is_own {
                out.push(json!({ "uri": uri, "range": range }));
            }
        }
    }
    out.into()
}

fn failed(text: String) -> (ErrorCode, String) {
    (ErrorCode::RequestFailed, text)
}

fn prepare_rename(a: &At<'_>) -> Answer {
    let offset = a.offset as u32;
    let Some(word) = a.analysis.word(a.file, offset) else { return Ok(Value::Null) };
    let definition = a.analysis.definition(a.file, offset);
    let definition = definition.ok_or_else(|| failed("nothing here has a name of its own".into()))?;
    a.analysis.may_rename(definition).map_err(failed)?;
    Ok(range(a.analysis, word))
}

fn rename(server: &Server, a: &At<'_>, params: &Value) -> Answer {
    let new = params["newName"].as_str().ok_or_else(|| invalid("`newName` is missing"))?;
    let definition = a.analysis.definition(a.file, a.offset as u32);
    let definition = definition.ok_or_else(|| failed("nothing here has a name of its own".into()))?;
    let home = a.analysis.path(definition.file);
    for analysis in server.analyses.values() {
        if let Some(file) = home.as_ref().and_then(|h| analysis.file(h)) {
            analysis.may_rename(Span { file, ..definition }).map_err(failed)?;
        }
    }
    let mut changes = serde_json::Map::new();
    for (uri, (analysis, spans)) in everywhere(server, a).unwrap_or_default() {
        analysis.may_be_called(&spans, new).map_err(failed)?;
        let edit = |s: &Span| json!({ "range": range(analysis, *s), "newText": new });
        changes.insert(uri, spans.iter().map(edit).collect());
    }
    Ok(json!({ "changes": changes }))
}

/// Asks about a place where something is being written, with the analysis that is there; which then is one of another text.
fn unfinished(
    server: &mut Server,
    params: &Value,
    ask: fn(&Editor, &Path, usize, &mut Option<Analysis>) -> Value,
) -> Answer {
    let Some(At { path, offset, .. }) = at(server, params)? else { return Ok(Value::Null) };
    let mut known = server.analyses.remove(&path);
    let answer = ask(&server.editor, &path, offset, &mut known);
    if let Some(known) = known {
        server.stale.insert(path.clone());
        server.analyses.insert(path, known);
    }
    Ok(answer)
}

fn completion(editor: &Editor, path: &Path, offset: usize, known: &mut Option<Analysis>) -> Value {
    let item = |(i, c): (usize, tdl_driver::Completion)| {
        let kind = match c.kind {
            CompletionKind::Method => 2,
            CompletionKind::Function => 3,
            CompletionKind::Field => 5,
            CompletionKind::Variable => 6,
            CompletionKind::Label => 10,
            CompletionKind::Module => 9,
            CompletionKind::Keyword => 14,
            CompletionKind::Constant => 21,
            CompletionKind::Struct => 22,
            CompletionKind::Type => 25,
        };
        json!({ "label": c.name, "kind": kind, "detail": c.detail, "sortText": format!("{i:05}") })
    };
    editor.complete(path, offset, known).into_iter().enumerate().map(item).collect()
}

fn signature(editor: &Editor, path: &Path, offset: usize, known: &mut Option<Analysis>) -> Value {
    let Some(s) = editor.signature(path, offset, known) else { return Value::Null };
    let params: Vec<Value> = s.params.iter().map(|p| json!({ "label": p })).collect();
    let active = s.active.min(params.len().saturating_sub(1));
    let mut one = json!({ "label": s.text, "parameters": params });
    if let Some(doc) = s.doc {
        one["documentation"] = json!({ "kind": "markdown", "value": doc });
    }
    json!({ "signatures": [one], "activeSignature": 0, "activeParameter": active })
}

fn symbol(s: &Symbol, lines: &Lines<'_>) -> Value {
    let kind = match s.kind {
        SymbolKind::Function => 12,
        SymbolKind::Method => 6,
        SymbolKind::Struct => 23,
        SymbolKind::Field => 8,
        SymbolKind::Interface => 11,
        SymbolKind::Constant => 14,
        SymbolKind::Type => 26,
        SymbolKind::Impl => 3,
        SymbolKind::Test => 24,
    };
    let range = |s: Span| lines.range(s.start as usize, s.end as usize);
    let children: Vec<Value> = s.children.iter().map(|c| symbol(c, lines)).collect();
    json!({
        "name": s.name,
        "kind": kind,
        "range": range(s.span),
        "selectionRange": range(s.name_span),
        "children": children,
    })
}

/// The lines that the formatter changes; nothing while the text has syntax errors.
fn format(server: &Server, params: &Value) -> Answer {
    let path = path(params)?;
    let Some(text) = server.editor.text(&path) else { return Ok(Value::Null) };
    let Ok(new) = tdl_syntax::format(FileId(0), text) else { return Ok(Value::Null) };
    if *new == **text {
        return Ok(json!([]));
    }
    // whole lines at the start and at the end that stay
    let mut start = text.bytes().zip(new.bytes()).take_while(|(a, b)| a == b).count();
    start = text.as_bytes()[..start].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let rest = (&text[start..], &new[start..]);
    let same = rest.0.bytes().rev().zip(rest.1.bytes().rev()).take_while(|(a, b)| a == b).count();
    let tail = &rest.0[rest.0.len() - floor(rest.0, same)..];
    let kept = tail.find('\n').map_or(0, |i| tail.len() - i - 1);
    let range = Lines::new(text).range(start, text.len() - kept);
    Ok(json!([{ "range": range, "newText": &new[start..new.len() - kept] }]))
}

/// As many bytes from the end as are whole characters.
fn floor(text: &str, mut count: usize) -> usize {
    while !text.is_char_boundary(text.len() - count) {
        count -= 1;
    }
    count
}

fn semantic_tokens(server: &Server, params: &Value) -> Answer {
    let path = path(params)?;
    let Some(text) = server.editor.text(&path) else { return Ok(Value::Null) };
    let lines = Lines::new(text);
    let mut data: Vec<usize> = Vec::new();
    let mut last = (0, 0);
    for (range, class) in highlight(text) {
        let Some(kind) = CLASSES.iter().position(|(c, _)| *c == class) else { continue };
        let (row, column) = lines.at(range.start);
        let length = text[range].trim_end().encode_utf16().count();
        let step = if row == last.0 { (0, column - last.1) } else { (row - last.0, column) };
        data.extend([step.0, step.1, length, kind, 0]);
        last = (row, column);
    }
    Ok(json!({ "data": data }))
}

/// What diagnostics in a range propose to write.
fn code_actions(server: &Server, params: &Value) -> Answer {
    let Some((_, analysis, file)) = document(server, params)? else { return Ok(Value::Null) };
    let text = &analysis.map().file(file).text;
    let bound = |name: &str| offset(text, &params["range"][name]).ok_or_else(|| invalid("`range` is missing"));
    let (from, to) = (bound("start")? as u32, bound("end")? as u32);
    let mut out = Vec::new();
    for d in analysis.diagnostics() {
        let at = d.primary.span;
        if at.file != file || at.end < from || to < at.start {
            continue;
        }
        for (help, edit) in d.help.iter().filter_map(|h| Some((h, h.edit.as_ref()?))) {
            let Some((uri, range)) = server.location(analysis, edit.span) else { continue };
            let mut changes = serde_json::Map::new();
            changes.insert(uri, json!([{ "range": range, "newText": edit.replacement }]));
            out.push(json!({ "title": help.text, "kind": "quickfix", "edit": { "changes": changes } }));
        }
    }
    Ok(out.into())
}

fn inlay_hints(server: &Server, params: &Value) -> Answer {
    let Some((_, analysis, file)) = document(server, params)? else { return Ok(Value::Null) };
    let text = &analysis.map().file(file).text;
    let bound = |name: &str| offset(text, &params["range"][name]).ok_or_else(|| invalid("`range` is missing"));
    let (from, to) = (bound("start")? as u32, bound("end")? as u32);
    let lines = Lines::new(text);
    let hint = |h: tdl_driver::Hint| json!({ "position": lines.position(h.at as usize), "label": h.text, "kind": 1 });
    Ok(analysis.hints(file, from, to).into_iter().map(hint).collect())
}
