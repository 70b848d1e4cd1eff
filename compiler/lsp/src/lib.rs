//! `tdl lsp`: the language server. Messages come in and go out here; what they ask is answered by the driver's
//! [`tdl_driver::Editor`].
//!
//! One thread reads, this one answers in order. Changes that wait are applied together before anything is checked, and
//! errors are published when nothing waits, so that a fast typist is not followed keystroke by keystroke.

mod answer;
mod documents;
mod position;
mod publish;
mod transport;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use lsp_server::{ErrorCode, Message, Notification, Request, RequestId, Response};
use serde_json::{Value, json};
use tdl_driver::{Analysis, Editor, Options};

use transport::{Incoming, Transport};

/// Serves on standard input and output until the client says `exit`; the exit code: 0 after `shutdown`, 1 otherwise.
pub fn serve(options: Options) -> i32 {
    let mut server = Server::new(options, Transport::stdio());
    server.run()
}

struct Server {
    transport: Transport,
    waiting: VecDeque<Incoming>,
    state: State,
    editor: Editor,
    /// Open documents: their addresses as the client writes them.
    documents: BTreeMap<PathBuf, String>,
    analyses: BTreeMap<PathBuf, Analysis>,
    /// Programs whose types have been checked, but not their derivatives.
    underived: Vec<PathBuf>,
    /// Texts that the compiler failed on, until they change.
    failed: BTreeSet<PathBuf>,
    /// What has been published, by address.
    published: BTreeMap<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Ready,
    Down,
}

type Answer = Result<Value, (ErrorCode, String)>;

impl Server {
    fn new(options: Options, transport: Transport) -> Server {
        Server {
            transport,
            waiting: VecDeque::new(),
            state: State::New,
            editor: Editor::new(options),
            documents: BTreeMap::new(),
            analyses: BTreeMap::new(),
            underived: Vec::new(),
            failed: BTreeSet::new(),
            published: BTreeMap::new(),
        }
    }

    fn run(&mut self) -> i32 {
        loop {
            while let Some(more) = self.transport.poll() {
                self.waiting.push_back(more);
            }
            let Some(incoming) = self.waiting.pop_front() else {
                if self.idle() {
                    continue;
                }
                match self.transport.wait() {
                    Some(more) => self.waiting.push_back(more),
                    // the client is gone
                    None => return i32::from(self.state != State::Down),
                }
                continue;
            };
            match incoming {
                Incoming::Bad { code, text } => {
                    let error = json!({ "code": code as i32, "message": text });
                    self.transport.send_raw(&json!({ "jsonrpc": "2.0", "id": null, "error": error }));
                }
                Incoming::Message(Message::Request(request)) => self.request(request),
                Incoming::Message(Message::Notification(n)) if n.method == "exit" => {
                    return i32::from(self.state != State::Down);
                }
                Incoming::Message(Message::Notification(n)) => self.notification(n),
                // nothing is asked of the client
                Incoming::Message(Message::Response(_)) => {}
            }
        }
    }

    /// Work that waits for a pause; false if there is none.
    fn idle(&mut self) -> bool {
        if self.state != State::Ready {
            return false;
        }
        if self.analyse_stale() {
            self.publish();
            return true;
        }
        let Some(path) = self.underived.pop() else { return false };
        let found = self.analyses.get_mut(&path).is_some_and(|a| guarded(|| a.check_derivatives()).unwrap_or(false));
        if found {
            self.publish();
        }
        true
    }

    /// Checks what has no analysis; true if there was something.
    fn analyse_stale(&mut self) -> bool {
        let stale: Vec<PathBuf> = self
            .documents
            .keys()
            .filter(|p| !self.analyses.contains_key(*p) && !self.failed.contains(*p))
            .cloned()
            .collect();
        for path in &stale {
            let editor = &self.editor;
            match guarded(|| editor.analyse(path)) {
                Ok(analysis) => {
                    self.analyses.insert(path.clone(), analysis);
                    self.underived.push(path.clone());
                }
                Err(text) => {
                    self.failed.insert(path.clone());
                    self.say(&format!("tdl cannot check {}: {text}", path.display()));
                }
            }
        }
        !stale.is_empty()
    }

    /// Forgets what was known about programs that a text belongs to; about all, if none is given.
    fn spoil(&mut self, path: Option<&PathBuf>) {
        self.analyses.retain(|main, a| path.is_some_and(|p| main != p && a.files().all(|(f, _)| f != p)));
        self.failed.clear();
        let analyses = &self.analyses;
        self.underived.retain(|p| analyses.contains_key(p));
    }

    /// Shows a message to the user.
    fn say(&mut self, text: &str) {
        self.notify("window/showMessage", json!({ "type": 1, "message": text }));
    }

    fn notify(&mut self, method: &str, params: Value) {
        self.transport.send(Message::Notification(Notification { method: method.to_owned(), params }));
    }

    fn request(&mut self, request: Request) {
        let id = request.id.clone();
        if self.take_cancel(&id) {
            return self.reply(id, Err((ErrorCode::RequestCanceled, "cancelled".into())));
        }
        let answer = match (self.state, request.method.as_str()) {
            (State::New, "initialize") => {
                self.state = State::Ready;
                Ok(answer::capabilities())
            }
            (State::New, _) => Err((ErrorCode::ServerNotInitialized, "`initialize` comes first".into())),
            (State::Down, _) => Err((ErrorCode::InvalidRequest, "the server is shut down".into())),
            (State::Ready, "initialize") => Err((ErrorCode::InvalidRequest, "initialized already".into())),
            (State::Ready, "shutdown") => {
                self.state = State::Down;
                Ok(Value::Null)
            }
            (State::Ready, _) => {
                if self.analyse_stale() {
                    self.publish();
                }
                match guarded(|| answer::answer(self, &request)) {
                    Ok(answer) => answer,
                    Err(text) => Err((ErrorCode::InternalError, text)),
                }
            }
        };
        self.reply(id, answer);
    }

    fn reply(&mut self, id: RequestId, answer: Answer) {
        let response = match answer {
            Ok(value) => Response::new_ok(id, value),
            Err((code, text)) => Response::new_err(id, code as i32, text),
        };
        self.transport.send(Message::Response(response));
    }

    /// Whether a request was cancelled while it waited.
    fn take_cancel(&mut self, id: &RequestId) -> bool {
        let wanted = serde_json::to_value(id).unwrap_or_default();
        let cancels = |m: &Incoming| {
            matches!(m, Incoming::Message(Message::Notification(n))
                if n.method == "$/cancelRequest" && n.params.get("id") == Some(&wanted))
        };
        match self.waiting.iter().position(cancels) {
            Some(i) => self.waiting.remove(i).is_some(),
            None => false,
        }
    }

    fn notification(&mut self, n: Notification) {
        if self.state != State::Ready {
            return;
        }
        match n.method.as_str() {
            "textDocument/didOpen" => self.opened(&n.params),
            "textDocument/didChange" => self.changed(&n.params),
            "textDocument/didClose" => self.closed(&n.params),
            // a file that is imported may have come, gone or changed
            "textDocument/didSave" | "workspace/didChangeWatchedFiles" => self.spoil(None),
            // what begins with `$/` may be ignored, and so may all that is not known
            _ => {}
        }
    }
}

/// Runs what must not end the server: a panic is a bug, and is told as one.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a bug in tdl");
        format!("internal error: {text}")
    })
}
