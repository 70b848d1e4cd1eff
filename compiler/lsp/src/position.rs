//! Positions of the protocol, lines and UTF-16 units from 0, and offsets in bytes.

use serde_json::{Value, json};

/// Where the line begins that a number means, and where it ends without its break. Lines end in `\n`, `\r\n` or `\r`.
fn line(text: &str, number: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let (mut start, mut at) = (0, 0);
    for _ in 0..number {
        let skipped = bytes[at..].iter().position(|b| matches!(b, b'\n' | b'\r'))?;
        at += skipped + 1;
        if bytes[at - 1] == b'\r' && bytes.get(at) == Some(&b'\n') {
            at += 1;
        }
        start = at;
    }
    let end = bytes[start..].iter().position(|b| matches!(b, b'\n' | b'\r')).map_or(bytes.len(), |i| start + i);
    Some((start, end))
}

/// The offset of a position; positions behind a line or a text mean its end.
pub fn offset(text: &str, position: &Value) -> Option<usize> {
    let number = |name: &str| position.get(name)?.as_u64();
    let (row, column) = (number("line")?, number("character")?);
    let Some((start, end)) = line(text, usize::try_from(row).ok()?) else { return Some(text.len()) };
    let mut units = 0;
    for (i, c) in text[start..end].char_indices() {
        if units >= column {
            return Some(start + i);
        }
        units += c.len_utf16() as u64;
    }
    Some(end)
}

/// The positions of many offsets of one text.
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Lines<'a> {
        let bytes = text.as_bytes();
        let mut starts = vec![0];
        for (i, b) in bytes.iter().enumerate() {
            if *b == b'\n' || (*b == b'\r' && bytes.get(i + 1) != Some(&b'\n')) {
                starts.push(i + 1);
            }
        }
        Lines { text, starts }
    }

    /// Line and column in UTF-16 units.
    pub fn at(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let row = self.starts.partition_point(|s| *s <= offset) - 1;
        let column = self.text[self.starts[row]..offset].trim_end_matches(['\r', '\n']).encode_utf16().count();
        (row, column)
    }

    pub fn position(&self, offset: usize) -> Value {
        let (line, character) = self.at(offset);
        json!({ "line": line, "character": character })
    }

    pub fn range(&self, start: usize, end: usize) -> Value {
        json!({ "start": self.position(start), "end": self.position(end.max(start)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_positions_are_inverse() {
        let text = "let é = \"𝔸b\"\r\nx\r\ry = 1\n\nend";
        let lines = Lines::new(text);
        for (i, _) in text.char_indices() {
            let inside_break = text[..i].ends_with('\r') && text[i..].starts_with('\n');
            if !inside_break {
                assert_eq!(offset(text, &lines.position(i)), Some(i), "{i}");
            }
        }
        // two units for the letter outside of the basic plane
        assert_eq!(lines.at(text.find('b').expect("there")), (0, 11));
        assert_eq!(lines.at(text.find("end").expect("there")), (5, 0));
    }

    #[test]
    fn positions_outside_are_ends() {
        let at = |line: u64, character: u64| offset("ab\r\nc", &json!({ "line": line, "character": character }));
        assert_eq!((at(0, 99), at(1, 9), at(7, 0)), (Some(2), Some(5), Some(5)));
        assert_eq!(offset("ab", &json!({ "line": -1 })), None);
    }
}
