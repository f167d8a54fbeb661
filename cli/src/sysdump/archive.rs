//! The archive: a tar.gz that has an end, and says what it lacks.
//!
//! Always holds: nothing gets in but through [`redact`](super::redact), no part is larger than [`PART`], all of
//! them not larger than what was asked for, and what is cut or left out is a line in `left-out.txt`. What could not
//! be read is one in `errors.txt`. Both are there, if empty.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::redact::Redactor;

/// The largest part, in bytes.
const PART: usize = 8 << 20;

/// An archive that is being written.
pub(super) struct Archive<W: Write> {
    tar: tar::Builder<GzEncoder<W>>,
    /// The directory that all is in.
    top: String,
    /// When it is made, in seconds.
    time: u64,
    /// Bytes that may still be added.
    room: usize,
    errors: String,
    left_out: String,
    pub(super) redactor: Redactor,
}

impl<W: Write> Archive<W> {
    /// An empty one, in which all is below `top`, for so many bytes before they are packed.
    pub(super) fn new(to: W, top: &str, time: u64, limit: usize) -> Self {
        Self {
            tar: tar::Builder::new(GzEncoder::new(to, Compression::default())),
            top: top.to_owned(),
            time,
            room: limit,
            errors: String::new(),
            left_out: String::new(),
            redactor: Redactor::default(),
        }
    }

    /// What could not be read, and why.
    pub(super) fn failed(&mut self, part: &str, error: impl std::fmt::Display) {
        let error = self.redactor.text(&error.to_string());
        self.errors += &format!("{part}: {error}\n");
    }

    /// What was known to be more than is taken.
    pub(super) fn left_out(&mut self, part: &str, what: &str) {
        self.left_out += &format!("{part}: {what}\n");
    }

    /// A text. Of one that is too long the end stays, as it is the newer part of a log.
    pub(super) fn text(&mut self, part: &str, text: &str) -> io::Result<()> {
        let text = self.redactor.text(text);
        let room = self.room.min(PART);
        let over = text.len().saturating_sub(room);
        if over == 0 {
            return self.put(part, &text);
        }
        // Whole lines only: what was cut in the middle may not be known for a secret any more.
        let from = text.ceil_char_boundary(over);
        let from = text[from..].find('\n').map_or(text.len(), |end| from + end + 1);
        self.left_out(part, &format!("the first {from} of {} bytes", text.len()));
        if from == text.len() { Ok(()) } else { self.put(part, &text[from..]) }
    }

    /// A value, as JSON.
    pub(super) fn json(&mut self, part: &str, value: &Value) -> io::Result<()> {
        let mut value = value.clone();
        self.redactor.json(&mut value);
        let text = format!("{value:#}\n");
        if text.len() > self.room.min(PART) {
            self.left_out(part, &format!("all {} bytes", text.len()));
            return Ok(());
        }
        self.put(part, &text)
    }

    /// Values, one a line, as many as there is room for.
    pub(super) fn lines(&mut self, part: &str, values: &[Value]) -> io::Result<()> {
        let room = self.room.min(PART);
        let mut text = String::new();
        for (index, value) in values.iter().enumerate() {
            let mut value = value.clone();
            self.redactor.json(&mut value);
            let line = value.to_string();
            if text.len() + line.len() + 1 > room {
                self.left_out(
                    part,
                    &format!("{} of {} objects", values.len() - index, values.len()),
                );
                break;
            }
            text += &line;
            text.push('\n');
        }
        self.put(part, &text)
    }

    fn put(&mut self, part: &str, text: &str) -> io::Result<()> {
        self.room = self.room.saturating_sub(text.len());
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(text.len()).unwrap_or(u64::MAX));
        header.set_mode(0o600);
        header.set_mtime(self.time);
        self.tar.append_data(&mut header, format!("{}/{part}", self.top), text.as_bytes())
    }

    /// Closes it; says how many parts could not be read, and how many were cut or left out.
    pub(super) fn finish(mut self) -> io::Result<(usize, usize)> {
        let (errors, left_out) = (self.errors.clone(), self.left_out.clone());
        // These two are not counted: one says what the others cost.
        self.room = usize::MAX;
        self.put("errors.txt", &errors)?;
        self.put("left-out.txt", &left_out)?;
        self.tar.into_inner()?.finish()?.flush()?;
        Ok((errors.lines().count(), left_out.lines().count()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use flate2::read::GzDecoder;
    use serde_json::json;

    use super::*;

    /// All parts of an archive.
    pub(crate) fn parts(archive: &[u8]) -> BTreeMap<String, String> {
        let mut archive = tar::Archive::new(GzDecoder::new(archive));
        let read = |entry: io::Result<tar::Entry<'_, _>>| {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().mode().unwrap(), 0o600);
            let path = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            let _: usize = Read::read_to_string(&mut entry, &mut text).unwrap();
            (path, text)
        };
        archive.entries().unwrap().map(read).collect()
    }

    #[test]
    fn what_is_too_large_is_cut_and_said() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes, "top", 0, 100);
        archive.text("small.txt", "hello\n").unwrap();
        archive.failed("broken", "no such file");
        archive.text("log.txt", &"0123456789\n".repeat(20)).unwrap();
        let objects = vec![json!({"a": 1}); 3];
        archive.lines("objects.jsonl", &objects).unwrap();
        archive.json("big.json", &json!({"a": "x".repeat(50)})).unwrap();
        assert_eq!(archive.finish().unwrap(), (1, 3));
        let parts = parts(&bytes);
        assert_eq!(parts["top/small.txt"], "hello\n");
        assert_eq!(parts["top/log.txt"], "0123456789\n".repeat(8), "the end, whole lines");
        assert_eq!(parts["top/errors.txt"], "broken: no such file\n");
        assert_eq!(
            parts["top/left-out.txt"],
            "log.txt: the first 132 of 220 bytes\nobjects.jsonl: 3 of 3 objects\nbig.json: all 64 bytes\n"
        );
        assert!(!parts.contains_key("top/big.json"));
    }
}
