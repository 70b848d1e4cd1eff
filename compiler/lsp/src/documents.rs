//! Documents and their addresses.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Server, position};

/// The path of a `file:` address; other addresses are names of texts that are nowhere on disk.
pub fn path_of(uri: &str) -> PathBuf {
    let Some(rest) = uri.strip_prefix("file://") else { return PathBuf::from(uri) };
    // a host stands before the path; `localhost` is none
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    let mut bytes = Vec::new();
    let mut at = 0;
    let raw = rest.as_bytes();
    while at < raw.len() {
        let hex = raw.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) if raw[at] == b'%' => {
                bytes.push(byte);
                at += 3;
            }
            _ => {
                bytes.push(raw[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}

/// The address of a file.
pub fn uri_of(path: &Path) -> String {
    let text = path.to_string_lossy();
    if !path.is_absolute() {
        return text.into_owned();
    }
    let mut out = String::from("file://");
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

impl Server {
    pub fn opened(&mut self, params: &Value) {
        let document = &params["textDocument"];
        let (Some(uri), Some(text)) = (document["uri"].as_str(), document["text"].as_str()) else { return };
        let path = path_of(uri);
        self.editor.set(&path, text);
        self.documents.insert(path, uri.to_owned());
        // it may be what another program imports
        self.spoil(None);
    }

    pub fn changed(&mut self, params: &Value) {
        let Some(uri) = params["textDocument"]["uri"].as_str() else { return };
        let path = path_of(uri);
        let Some(text) = self.editor.text(&path) else { return };
        let mut text = text.to_string();
        for change in params["contentChanges"].as_array().into_iter().flatten() {
            let Some(new) = change["text"].as_str() else { continue };
            let Some(range) = change.get("range").filter(|r| !r.is_null()) else {
                text = new.to_owned();
                continue;
            };
            let at = |name: &str| position::offset(&text, range.get(name)?);
            if let (Some(start), Some(end)) = (at("start"), at("end"))
                && start <= end
            {
                text.replace_range(start..end, new);
            }
        }
        self.editor.set(&path, &text);
        self.spoil(Some(&path));
    }

    pub fn closed(&mut self, params: &Value) {
        let Some(uri) = params["textDocument"]["uri"].as_str() else { return };
        let path = path_of(uri);
        self.editor.close(&path);
        self.documents.remove(&path);
        self.spoil(None);
        self.publish();
    }

    /// The address of a file: as the client writes it, if it is open.
    pub fn uri(&self, path: &Path) -> String {
        self.documents.get(path).cloned().unwrap_or_else(|| uri_of(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_paths() {
        for path in ["/a/b.tdl", "/a b/é%20/c#.tdl"] {
            assert_eq!(path_of(&uri_of(Path::new(path))), Path::new(path));
        }
        assert_eq!(path_of("file:///a%3Ab/x.tdl"), Path::new("/a:b/x.tdl"));
        assert_eq!(path_of("untitled:Untitled-1"), Path::new("untitled:Untitled-1"));
        assert_eq!(path_of("file:///100%"), Path::new("/100%"));
    }
}
