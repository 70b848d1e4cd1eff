//! Messages over pipes: a header with the length, an empty line, JSON. A message that is none gets an answer and does not
//! end the connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use lsp_server::{ErrorCode, Message};
use serde_json::Value;

/// Longest message, in bytes.
const MAX_BYTES: usize = 256 << 20;

pub enum Incoming {
    Message(Message),
    Bad { code: ErrorCode, text: String },
}

pub struct Transport {
    incoming: Receiver<Incoming>,
}

impl Transport {
    pub fn stdio() -> Transport {
        let (sender, incoming) = channel();
        std::thread::spawn(move || {
            let mut input = BufReader::new(std::io::stdin());
            while let Some(message) = read(&mut input) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Transport { incoming }
    }

    /// What has come already.
    pub fn poll(&self) -> Option<Incoming> {
        self.incoming.try_recv().ok()
    }

    /// What comes next; none at the end of the input.
    pub fn wait(&self) -> Option<Incoming> {
        self.incoming.recv().ok()
    }

    /// What comes within a time.
    pub fn wait_for(&self, time: Duration) -> Option<Incoming> {
        self.incoming.recv_timeout(time).ok()
    }

    pub fn send(&self, message: Message) {
        // a client that does not read any more has closed its end: the reader notices
        let mut out = std::io::stdout().lock();
        let _ = message.write(&mut out).and_then(|()| out.flush());
    }

    /// For what has no id, which [`Message`] does not know.
    pub fn send_raw(&self, message: &Value) {
        let text = message.to_string();
        let mut out = std::io::stdout().lock();
        let _ = write!(out, "Content-Length: {}\r\n\r\n{text}", text.len()).and_then(|()| out.flush());
    }
}

/// The next message; none at the end of the input or where nothing tells how it goes on.
fn read(input: &mut impl BufRead) -> Option<Incoming> {
    let mut length: Option<usize> = None;
    loop {
        let mut line = Vec::new();
        // a header is short
        if input.by_ref().take(64 << 10).read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() {
            match length {
                Some(_) => break,
                // an empty line too many, or a header that says nothing
                None => continue,
            }
        }
        if let Some((name, value)) = line.split_once(':')
            && name.trim().eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    let length = length.filter(|n| *n <= MAX_BYTES)?;
    let mut bytes = Vec::new();
    input.by_ref().take(length as u64).read_to_end(&mut bytes).ok()?;
    if bytes.len() < length {
        return None;
    }
    let bad = |code, text: String| Some(Incoming::Bad { code, text });
    let value: Value = match serde_json::from_slice(&bytes) {
        Ok(value) => value,
        Err(e) => return bad(ErrorCode::ParseError, format!("this is no JSON: {e}")),
    };
    match serde_json::from_value(value) {
        Ok(message) => Some(Incoming::Message(message)),
        Err(_) => bad(ErrorCode::InvalidRequest, "this is neither a request nor a notification nor a response".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_messages_do_not_hide_the_next() {
        let good = r#"{"jsonrpc":"2.0","method":"exit"}"#;
        let text = format!(
            "Content-Length: 3\r\n\r\n{{]}}content-type: x\r\nCONTENT-LENGTH: 2\r\n\r\n[]\r\nContent-Length: {}\r\n\r\n{good}",
            good.len()
        );
        let mut input = text.as_bytes();
        let mut kinds = Vec::new();
        while let Some(m) = read(&mut input) {
            kinds.push(match m {
                Incoming::Bad { code, .. } => code as i32,
                Incoming::Message(_) => 0,
            });
        }
        assert_eq!(kinds, [-32700, -32600, 0]);
    }

    #[test]
    fn what_is_cut_off_ends_the_input() {
        for text in ["", "Content-Length: 9\r\n\r\n{}", "Content-Length: 99999999999999999999\r\n\r\n{}", "x"] {
            assert!(read(&mut text.as_bytes()).is_none(), "{text}");
        }
    }
}
