//! `tdl lsp` as an editor drives it: messages over pipes.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

/// A client with a server of its own.
struct Client {
    child: Child,
    input: ChildStdin,
    incoming: Receiver<Value>,
    next: i64,
    dir: tempfile::TempDir,
    /// The latest diagnostics by address.
    shown: std::collections::BTreeMap<String, Value>,
}

fn read(out: &mut impl BufRead) -> Option<Value> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if out.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(n) = line.strip_prefix("Content-Length: ") {
            length = n.trim().parse::<usize>().ok();
        } else if line.trim().is_empty() {
            break;
        }
    }
    let mut bytes = vec![0; length?];
    out.read_exact(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

impl Client {
    fn start() -> Client {
        let dir = tempfile::tempdir().expect("a folder");
        let mut command = support::tdl(&["lsp"], dir.path());
        command.env("TDL_CACHE_DIR", dir.path().join("cache"));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
        let input = child.stdin.take().expect("piped");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, incoming) = channel();
        std::thread::spawn(move || {
            while let Some(message) = read(&mut out) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Client { child, input, incoming, next: 1, dir, shown: Default::default() }
    }

    fn ready() -> Client {
        let mut c = Client::start();
        let answer = c.ask("initialize", json!({ "capabilities": {} }));
        assert_eq!(answer["capabilities"]["hoverProvider"], true, "{answer}");
        c.tell("initialized", json!({}));
        c
    }

    fn raw(&mut self, text: &str) {
        write!(self.input, "Content-Length: {}\r\n\r\n{text}", text.len()).expect("the server reads");
        self.input.flush().expect("the server reads");
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.raw(&json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string());
    }

    fn receive(&mut self) -> Value {
        let message = self.incoming.recv_timeout(Duration::from_secs(60)).expect("an answer");
        if message["method"] == "textDocument/publishDiagnostics" {
            let uri = message["params"]["uri"].as_str().expect("an address").to_owned();
            self.shown.insert(uri, message["params"]["diagnostics"].clone());
        }
        message
    }

    /// The whole response.
    fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.next;
        self.next += 1;
        self.raw(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string());
        loop {
            let message = self.receive();
            if message["id"] == id {
                return message;
            }
        }
    }

    #[track_caller]
    fn ask(&mut self, method: &str, params: Value) -> Value {
        let response = self.call(method, params);
        assert!(response.get("error").is_none(), "{method}: {response}");
        response["result"].clone()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn uri(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    fn open(&mut self, name: &str, text: &str) {
        let document = json!({ "uri": self.uri(name), "languageId": "tdl", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
    }

    fn change(&mut self, name: &str, changes: Value) {
        let document = json!({ "uri": self.uri(name), "version": 2 });
        self.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
    }

    /// Diagnostics of a file in its present state: an answer comes after what was published for the state.
    fn diagnostics(&mut self, name: &str) -> Vec<Value> {
        let uri = self.uri(name);
        self.ask("textDocument/documentSymbol", json!({ "textDocument": { "uri": uri } }));
        self.shown.get(&uri).and_then(Value::as_array).cloned().unwrap_or_default()
    }

    fn at(&self, name: &str, line: u32, character: u32) -> Value {
        json!({ "textDocument": { "uri": self.uri(name) }, "position": { "line": line, "character": character } })
    }

    fn hover(&mut self, name: &str, line: u32, character: u32) -> String {
        let params = self.at(name, line, character);
        self.ask("textDocument/hover", params)["contents"]["value"].as_str().unwrap_or("").to_owned()
    }

    fn finish(mut self) -> i32 {
        self.ask("shutdown", Value::Null);
        self.tell("exit", Value::Null);
        self.code()
    }

    fn code(&mut self) -> i32 {
        self.child.wait().expect("ends").code().unwrap_or(-1)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start_of(range: &Value) -> (u64, u64) {
    let at = |n: &str| range["start"][n].as_u64().unwrap_or(u64::MAX);
    (at("line"), at("character"))
}

const PROGRAM: &str = "\
import nn.{relu, Linear}

## Scales.
fn scaled(x: f32[n], by: f32 = 2.0) -> f32[n] = x * by

struct Net[d] {
  ## The first layer.
  one: Linear[d, 10]
}

impl Net[d] {
  ## Applies it.
  fn call[n](self, x: f32[n, d]) -> f32[n, 10] {
    let h = self.one(x)
    relu(h)
  }
}

fn main() {
  let é = ones(f32[3])
  let total = sum(scaled(é))
  print(\"{total}\", é)
}
";

/// Size parameters in brackets, as the language wants them.
fn program() -> String {
    PROGRAM.replace("fn scaled(x", "fn scaled[n](x")
}

#[test]
fn errors_come_and_go_with_edits() {
    let mut c = Client::ready();
    c.open("a.tdl", "fn main() {\r\n  let é = ones(f32[2, 3])\r\n  print(é @ é)\r\n}\r\n");
    let found = c.diagnostics("a.tdl");
    assert_eq!(found.len(), 1, "{found:?}");
    let d = &found[0];
    assert_eq!((&d["code"], &d["severity"], &d["source"]), (&json!("E0401"), &json!(1), &json!("tdl")));
    assert_eq!(start_of(&d["range"]).0, 2, "{d}");
    let page = d["codeDescription"]["href"].as_str().expect("a page").strip_prefix("file://").expect("a file");
    assert!(std::fs::read_to_string(page).expect("written").starts_with("# E0401"));
    // `é @ é` becomes `é @ é.T`
    let end = json!({ "line": 2, "character": 13 });
    c.change("a.tdl", json!([{ "range": { "start": end, "end": end }, "text": ".T" }]));
    assert!(c.diagnostics("a.tdl").is_empty());
    // two changes in one message, one after the other, then the whole text
    c.change("a.tdl", json!([
        { "range": { "start": { "line": 1, "character": 2 }, "end": { "line": 1, "character": 5 } }, "text": "lett" },
        { "range": { "start": { "line": 1, "character": 2 }, "end": { "line": 1, "character": 6 } }, "text": "let" },
    ]));
    assert!(c.diagnostics("a.tdl").is_empty());
    c.change("a.tdl", json!([{ "text": "fn main() { print(x) }" }]));
    let found = c.diagnostics("a.tdl");
    assert_eq!(found[0]["code"], "E0201", "{found:?}");
    assert_eq!(c.finish(), 0);
}

#[test]
fn derivatives_are_checked_in_pauses() {
    let mut c = Client::ready();
    c.open(
        "a.tdl",
        "fn steps(x: f32) -> f32 = f32(i64(x)) * x\nfn gradient(x: f32) -> f32 = grad(steps)(x)\nfn main() { print(1) }\n",
    );
    let uri = c.uri("a.tdl");
    while c.shown.get(&uri).and_then(Value::as_array).is_none_or(Vec::is_empty) {
        c.receive();
    }
    assert_eq!(c.shown[&uri][0]["code"], "E0504", "{:?}", c.shown);
    c.change("a.tdl", json!([{ "text": "fn main() { print(1) }\n" }]));
    assert!(c.diagnostics("a.tdl").is_empty());
    assert_eq!(c.finish(), 0);
}

#[test]
fn unsaved_imports_count_and_have_their_errors() {
    let mut c = Client::ready();
    std::fs::write(c.path("m.tdl"), "fn twice(x: f32) -> f32 = 2.0 * x\n").expect("writable");
    c.open("a.tdl", "import m\nfn main() { print(m.twice(1.0)) }\n");
    assert!(c.diagnostics("a.tdl").is_empty());
    // not saved: another name
    c.open("m.tdl", "fn double(x: f32) -> f32 = 2.0 * x\n");
    assert_eq!(c.diagnostics("a.tdl").len(), 1);
    c.change("m.tdl", json!([{ "text": "fn twice(x: f32) -> f32 = 2.0 * y\n" }]));
    assert!(c.diagnostics("a.tdl").is_empty());
    assert_eq!(c.diagnostics("m.tdl").len(), 1);
    // what is on disk counts again
    let document = json!({ "textDocument": { "uri": c.uri("m.tdl") } });
    c.tell("textDocument/didClose", document);
    assert!(c.diagnostics("a.tdl").is_empty());
    assert!(c.diagnostics("m.tdl").is_empty());
    // a document that has no file
    let text = "fn main() { print(nothing) }";
    let document = json!({ "uri": "untitled:Untitled-1", "languageId": "tdl", "version": 1, "text": text });
    c.tell("textDocument/didOpen", json!({ "textDocument": document }));
    c.diagnostics("a.tdl");
    assert_eq!(c.shown["untitled:Untitled-1"][0]["code"], "E0201");
    assert_eq!(c.finish(), 0);
}

#[test]
fn hover_shows_types_shapes_and_comments() {
    let mut c = Client::ready();
    c.open("a.tdl", &program());
    assert!(c.diagnostics("a.tdl").is_empty(), "{:?}", c.shown);
    let line = |text: &str| program().lines().position(|l| l.contains(text)).expect("there") as u32;
    let checks = [
        (line("let h ="), 8, "h: f32[n, 10]"),
        (line("  relu(h)"), 9, "h: f32[n, 10]"),
        (line("let é"), 6, "é: f32[3]"),
        (line("let total"), 20, "Scales."),
        (line("let total"), 20, "fn scaled[n](x: f32[n], by: f32 = 2.0) -> f32[n]"),
        (line("let total"), 14, "sum(x, axis?, keepdims?)"),
        (line("self.one"), 18, "The first layer."),
        (line("{total}"), 11, "total: f32"),
        (0, 12, "fn relu"),
        (line("x * by"), 51, "f32[n]"),
    ];
    for (line, character, text) in checks {
        let hover = c.hover("a.tdl", line, character);
        assert!(hover.contains(text), "{line}:{character}: no `{text}` in `{hover}`");
    }
    c.open("b.tdl", "test \"bad\" expect error E0401 { ones(f32[2, 3]) @ ones(f32[2, 3]) }\n");
    assert!(c.hover("b.tdl", 0, 27).starts_with("# E0401"));
    assert_eq!(c.hover("b.tdl", 9, 0), "");
    assert_eq!(c.finish(), 0);
}

#[test]
fn definitions_references_and_names() {
    let mut c = Client::ready();
    std::fs::write(c.path("m.tdl"), "fn twice(x: f32) -> f32 = 2.0 * x\n").expect("writable");
    c.open("a.tdl", &format!("import m\n{}", program()));
    c.open("b.tdl", "import m.{twice}\nfn main() {\n  let x = twice(1.0)\n  let z = x + x\n  print(twice(z), x)\n}\n");
    let go = |c: &mut Client, name: &str, line: u32, character: u32| {
        let params = c.at(name, line, character);
        let found = c.ask("textDocument/definition", params);
        (found["uri"].as_str().unwrap_or("").to_owned(), start_of(&found["range"]))
    };
    assert_eq!(go(&mut c, "b.tdl", 2, 12), (c.uri("m.tdl"), (0, 3)));
    assert_eq!(go(&mut c, "b.tdl", 4, 14), (c.uri("b.tdl"), (3, 6)));
    assert_eq!(go(&mut c, "a.tdl", 0, 8), (c.uri("m.tdl"), (0, 0)));
    // into the library, whose text is a file that can be read
    let (uri, at) = go(&mut c, "a.tdl", 1, 13);
    let text = std::fs::read_to_string(uri.strip_prefix("file://").expect("a file")).expect("written");
    let line = text.lines().nth(at.0 as usize).expect("a line");
    assert!(line[at.1 as usize..].starts_with("relu"), "{line}");
    // a field, and a method of the library through a type
    let line = program().lines().position(|l| l.contains("self.one(x)")).expect("there") as u32 + 1;
    assert_eq!(go(&mut c, "a.tdl", line, 18).1, (u64::from(line) - 6, 2));
    let references = |c: &mut Client, line: u32, character: u32| {
        let mut params = c.at("b.tdl", line, character);
        params["context"] = json!({ "includeDeclaration": true });
        c.ask("textDocument/references", params).as_array().expect("a list").len()
    };
    assert_eq!(references(&mut c, 2, 6), 4);
    // the import, two calls, the definition
    assert_eq!(references(&mut c, 2, 12), 4);
    let rename = |c: &mut Client, line: u32, character: u32, new: &str| {
        let mut params = c.at("b.tdl", line, character);
        params["newName"] = json!(new);
        c.call("textDocument/rename", params)
    };
    let done = rename(&mut c, 2, 12, "doubled");
    let changes = &done["result"]["changes"];
    assert_eq!(changes[c.uri("b.tdl")].as_array().map(Vec::len), Some(3), "{done}");
    assert_eq!(changes[c.uri("m.tdl")].as_array().map(Vec::len), Some(1), "{done}");
    for (new, text) in [("fn", "no name"), ("z", "already"), ("a b", "no name"), ("", "no name"), ("sum", "no name")] {
        let refused = rename(&mut c, 2, 6, new);
        assert!(refused["error"]["message"].as_str().is_some_and(|m| m.contains(text)), "{new}: {refused}");
    }
    assert!(rename(&mut c, 4, 4, "show")["error"].is_object(), "`print` is built in");
    assert_eq!(c.finish(), 0);
}

#[test]
fn completion_knows_names_members_modules_and_labels() {
    let mut c = Client::ready();
    let words = |c: &mut Client, text: &str| {
        let at = text.find('|').expect("a place");
        let clean = text.replace('|', "");
        c.open("a.tdl", &clean);
        let before = &text[..at];
        let line = before.matches('\n').count() as u32;
        let column = before.rsplit('\n').next().unwrap_or("").encode_utf16().count() as u32;
        let params = c.at("a.tdl", line, column);
        let found = c.ask("textDocument/completion", params);
        found.as_array().into_iter().flatten().map(|i| i["label"].as_str().unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    let has = |found: &[String], word: &str| assert!(found.iter().any(|f| f == word), "no `{word}` in {found:?}");
    let found = words(&mut c, "import |\n");
    has(&found, "nn");
    assert!(!found.contains(&"prelude".to_owned()));
    has(&words(&mut c, "import nn.{re|}\n"), "relu");
    let found = words(&mut c, "import nn\nfn f(abc: f32, é: f32) -> f32 {\n  let first = abc\n  let y = a|\n  y\n}\n");
    for word in ["abc", "é", "first", "f", "nn", "sum", "let", "f32"] {
        has(&found, word);
    }
    assert!(!found.contains(&"y".to_owned()), "not bound yet");
    has(&words(&mut c, "import nn\nfn f(x: f32[3]) -> f32[3] = nn.|\n"), "relu");
    let program = "struct S { a: f32[3], b: f32 }\nimpl S { fn both(self) -> f32 = self.b }\n";
    let found = words(&mut c, &format!("{program}fn f(s: S) -> f32 {{\n  let t = s\n  t.|\n}}\n"));
    assert_eq!(found, ["a", "b", "both"]);
    has(&words(&mut c, "fn g(x: f32, by: f32) -> f32 = x * by\nfn f(x: f32) -> f32 = g(x, b|)\n"), "by:");
    has(&words(&mut c, "fn f(x: f32[2, 3]) -> f32[2] = sum(x, |)\n"), "axis:");
    assert!(words(&mut c, "fn main() { print(\"a|\") }\n").is_empty());
    assert!(words(&mut c, "fn main() { print(1.|) }\n").is_empty());
    assert_eq!(c.finish(), 0);
}

#[test]
fn signatures_while_a_call_is_written() {
    let mut c = Client::ready();
    c.open("a.tdl", "fn g[n](x: f32[n], by: f32) -> f32[n] = x * by\nfn f(x: f32[2]) -> f32[2] {\n  g(x, (1.0 + \n}\n");
    let params = c.at("a.tdl", 2, 7);
    let found = c.ask("textDocument/signatureHelp", params);
    assert_eq!(found["signatures"][0]["label"], "fn g[n](x: f32[n], by: f32) -> f32[n]");
    assert_eq!(
        (&found["activeParameter"], &found["signatures"][0]["parameters"][1]["label"]),
        (&json!(1), &json!("by: f32"))
    );
    c.open("a.tdl", "fn main() { print(sum([1.0], ");
    let params = c.at("a.tdl", 0, 29);
    let found = c.ask("textDocument/signatureHelp", params);
    assert_eq!(found["signatures"][0]["label"], "sum(x, axis?, keepdims?)");
    let params = c.at("a.tdl", 0, 5);
    assert_eq!(c.ask("textDocument/signatureHelp", params), Value::Null);
    assert_eq!(c.finish(), 0);
}

#[test]
fn outline_format_tokens_hints_and_fixes() {
    let mut c = Client::ready();
    c.open("a.tdl", &program());
    let document = json!({ "textDocument": { "uri": c.uri("a.tdl") } });
    let outline = c.ask("textDocument/documentSymbol", document.clone());
    let names: Vec<&str> = outline.as_array().expect("a list").iter().filter_map(|s| s["name"].as_str()).collect();
    assert_eq!(names, ["scaled", "Net", "impl Net", "main"]);
    assert_eq!(outline[2]["children"][0]["name"], "call");
    let range = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 99, "character": 0 } });
    let mut params = document.clone();
    params["range"] = range;
    let hints = c.ask("textDocument/inlayHint", params);
    let shown: Vec<&str> = hints.as_array().expect("a list").iter().filter_map(|h| h["label"].as_str()).collect();
    assert_eq!(shown, [": f32[n, 10]", ": f32[3]", ": f32"]);
    let tokens = c.ask("textDocument/semanticTokens/full", document.clone());
    let data = tokens["data"].as_array().expect("numbers");
    assert_eq!(data[..5], [json!(0), json!(0), json!(6), json!(0), json!(0)], "`import` is a keyword");
    assert_eq!(c.ask("textDocument/formatting", document.clone()), json!([]));
    c.change("a.tdl", json!([{ "text": "fn f(x:f32)->f32 = x\n# é\nfn g(x: f32) -> f32 = x\n" }]));
    let edits = c.ask("textDocument/formatting", document.clone());
    assert_eq!(edits.as_array().map(Vec::len), Some(1), "{edits}");
    assert!(edits[0]["newText"].as_str().is_some_and(|t| t.starts_with("fn f(x: f32) -> f32 = x\n")), "{edits}");
    c.change("a.tdl", json!([{ "text": "fn f( = \n" }]));
    assert_eq!(c.ask("textDocument/formatting", document), Value::Null);
    assert_eq!(c.finish(), 0);
}

#[test]
fn bad_messages_get_answers() {
    let mut c = Client::start();
    let early = c.call("textDocument/hover", json!({}));
    assert_eq!(early["error"]["code"], -32002);
    c.raw("{ this is no JSON");
    assert_eq!(c.receive()["error"]["code"], -32700);
    c.raw("[1, 2]");
    assert_eq!(c.receive()["error"]["code"], -32600);
    c.ask("initialize", json!({ "capabilities": {} }));
    assert_eq!(c.call("initialize", json!({}))["error"]["code"], -32600);
    assert_eq!(c.call("textDocument/nothing", json!({}))["error"]["code"], -32601);
    assert_eq!(c.call("textDocument/hover", json!({}))["error"]["code"], -32602);
    assert_eq!(
        c.call("textDocument/hover", json!({ "textDocument": { "uri": "file:///none" }, "position": {} }))["result"],
        Value::Null
    );
    for params in [json!({}), json!(null), json!({ "textDocument": 3 }), json!([7])] {
        for method in ["textDocument/didOpen", "textDocument/didChange", "textDocument/didClose", "$/unknown", "no"] {
            c.tell(method, params.clone());
        }
    }
    c.open("a.tdl", "fn main() { print(1) }\n");
    c.change("a.tdl", json!([{ "range": { "start": { "line": 9 } }, "text": "x" }, { "nothing": 1 }, 5]));
    assert!(c.diagnostics("a.tdl").is_empty());
    // a request is cancelled while it waits behind another
    let hover = c.at("a.tdl", 0, 4).to_string();
    let (first, second) = (r#""id":"a","method":"textDocument/hover""#, r#""id":"b","method":"textDocument/hover""#);
    let parts = [
        format!(r#"{{"jsonrpc":"2.0",{first},"params":{hover}}}"#),
        format!(r#"{{"jsonrpc":"2.0",{second},"params":{hover}}}"#),
        r#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"b"}}"#.to_owned(),
    ];
    let all: String = parts.iter().map(|p| format!("Content-Length: {}\r\n\r\n{p}", p.len())).collect();
    c.input.write_all(all.as_bytes()).expect("the server reads");
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let m = c.receive();
        if m["id"].is_string() {
            answers.push(m["id"].as_str().unwrap_or("").to_owned());
        }
    }
    assert_eq!(answers, ["a", "b"], "every request is answered once");
    c.ask("shutdown", Value::Null);
    assert_eq!(c.call("textDocument/hover", json!({}))["error"]["code"], -32600);
    c.tell("exit", Value::Null);
    assert_eq!(c.code(), 0);
}

#[test]
fn ends_without_shutdown_are_failures() {
    let mut c = Client::ready();
    c.tell("exit", Value::Null);
    assert_eq!(c.code(), 1);
}

#[test]
fn every_program_can_be_asked_about_everywhere() {
    let mut c = Client::ready();
    for name in ["linear", "kmeans"] {
        let file = support::root().join("examples").join(format!("{name}.tdl"));
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let uri = format!("file://{}", Path::new(&file).display());
        let document = json!({ "uri": uri, "languageId": "tdl", "version": 1, "text": text });
        c.tell("textDocument/didOpen", json!({ "textDocument": document }));
        for (row, line) in text.lines().enumerate() {
            for column in (0..line.chars().count()).step_by(3) {
                let at = json!({ "textDocument": { "uri": uri }, "position": { "line": row, "character": column } });
                for method in ["hover", "definition", "references", "prepareRename"] {
                    let answer = c.call(&format!("textDocument/{method}"), at.clone());
                    assert_ne!(answer["error"]["code"], -32603, "{method} {row}:{column}: {answer}");
                }
            }
        }
    }
    assert_eq!(c.finish(), 0);
}

#[test]
fn errors_propose_fixes_and_name_their_other_ends() {
    let mut c = Client::ready();
    c.open("a.tdl", "fn f(x: f32[2, 3]) -> f32[2] = sum(x, axs: 1)\nfn g(x: f32[2]) -> f32[3] = x\n");
    let found = c.diagnostics("a.tdl");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0]["message"].as_str().is_some_and(|m| m.contains("help: did you mean `axis`?")), "{found:?}");
    assert_eq!(found[1]["relatedInformation"][0]["location"]["uri"], c.uri("a.tdl"), "{found:?}");
    let whole =
        |line: u32| json!({ "start": { "line": line, "character": 0 }, "end": { "line": line, "character": 99 } });
    let ask = |c: &mut Client, line: u32| {
        let params = json!({ "textDocument": { "uri": c.uri("a.tdl") }, "range": whole(line), "context": {} });
        c.ask("textDocument/codeAction", params)
    };
    assert_eq!(ask(&mut c, 1), json!([]));
    let actions = ask(&mut c, 0);
    let edit = actions[0]["edit"]["changes"][c.uri("a.tdl")][0].clone();
    assert_eq!(edit["newText"], "axis", "{actions}");
    // the fix mends it
    c.change("a.tdl", json!([{ "range": edit["range"], "text": edit["newText"] }]));
    assert_eq!(c.diagnostics("a.tdl").len(), 1);
    assert_eq!(c.finish(), 0);
}

#[test]
fn types_are_shown_in_functions_with_errors() {
    let mut c = Client::ready();
    c.open("a.tdl", "fn f[n](x: f32[n, 3]) -> f32[n] {\n  let y = x * 2.0\n  let z = missing(y)\n  y\n}\n");
    assert_eq!(c.diagnostics("a.tdl").len(), 2);
    assert!(c.hover("a.tdl", 3, 2).contains("y: f32[n, 3]"));
    let range = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 9, "character": 0 } });
    let params = json!({ "textDocument": { "uri": c.uri("a.tdl") }, "range": range });
    let hints = c.ask("textDocument/inlayHint", params);
    assert_eq!(hints.as_array().map(Vec::len), Some(1), "{hints}");
    assert_eq!(hints[0]["label"], ": f32[n, 3]");
    assert_eq!(c.finish(), 0);
}
