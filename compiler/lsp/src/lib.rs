//! `tdl lsp`: the language server. Messages come in and go out here; what they ask is answered by the driver's
//! [`tdl_driver::Editor`].
//!
//! One thread reads, this one answers in order. Changes that wait are applied together before anything is checked, and
//! errors are published when nothing waits, so that a fast typist is not followed keystroke by keystroke. After an edit only
//! what it touched is checked again; derivatives are looked at in pauses, and left at the next message.

mod answer;
mod documents;
mod position;
mod publish;
mod transport;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use lsp_server::{ErrorCode, Message, Notification, Request, RequestId, Response};
use serde_json::{Value, json};
use tdl_driver::{Analysis, Editor, Options};

use transport::{Incoming, Transport};

/// Serves on standard input and output until the client says `exit`; the exit code: 0 after `shutdown`, 1 otherwise.
pub fn serve(options: Options) -> i32 {
    let mut server = Server::new(options, Transport::stdio());
    server.run()
}

/// How long nobody types before what takes longer is done.
const PAUSE: Duration = Duration::from_millis(200);

struct Server {
    transport: Transport,
    waiting: VecDeque<Incoming>,
    state: State,
    editor: Editor,
    /// Open documents: their addresses as the client writes them.
    documents: BTreeMap<PathBuf, String>,
    analyses: BTreeMap<PathBuf, Analysis>,
    /// Programs with a text that has changed since.
    stale: BTreeSet<PathBuf>,
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
            stale: BTreeSet::new(),
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
        if let Some(more) = self.transport.wait_for(PAUSE) {
            self.waiting.push_back(more);
            self.underived.push(path);
            return true;
        }
        let (transport, waiting) = (&self.transport, &mut self.waiting);
        let mut stop = || {
            waiting.extend(transport.poll());
            !waiting.is_empty()
        };
        let analysis = self.analyses.get_mut(&path);
        match analysis.map(|a| guarded(|| a.check_derivatives(&mut stop)).unwrap_or(Some(false))) {
            Some(Some(true)) => self.publish(),
            Some(None) => self.underived.push(path),
            Some(Some(false)) | None => {}
        }
        true
    }

    /// Checks what has no analysis of its present state; true if there was something.
    fn analyse_stale(&mut self) -> bool {
        let fresh = |p: &PathBuf| self.analyses.contains_key(p) && !self.stale.contains(p);
        let stale: Vec<PathBuf> =
            self.documents.keys().filter(|p| !fresh(p) && !self.failed.contains(*p)).cloned().collect();
        for path in &stale {
            let editor = &self.editor;
            self.stale.remove(path);
            let again = self.analyses.remove(path).and_then(|old| guarded(|| editor.analyse_again(old)).ok());
            match again.map_or_else(|| guarded(|| editor.analyse(path)), Ok) {
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

    /// Has programs checked again that a text belongs to; all, if none is given.
    fn spoil(&mut self, path: Option<&PathBuf>) {
        let documents = &self.documents;
        self.analyses.retain(|main, _| documents.contains_key(main));
        for (main, a) in &self.analyses {
            if path.is_none_or(|p| main == p || a.files().any(|(f, _)| f == p)) {
                self.stale.insert(main.clone());
            }
        }
        self.failed.clear();
        let (analyses, stale) = (&self.analyses, &self.stale);
        self.underived.retain(|p| analyses.contains_key(p) && !stale.contains(p));
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
