//! YAML documents as trees whose every node knows its line.
//!
//! Built from the events of `granit-parser` (YAML 1.2). Every limit holds while parsing, so hostile
//! text is refused in bounded time and memory: depth, nodes per document, length of a scalar.
//! Aliases are refused (a few lines of them expand to gigabytes, and manifests that people share
//! do not need them), and so are duplicate keys, of which an API server would keep either one.
//!
//! A text is read document by document: a line that starts with `---` ends a document whatever
//! came before (YAML 1.2, 9.1.2), so a document that is broken spoils none of its neighbours.

mod build;
mod scalar;
mod syntax;

use std::borrow::Cow;

pub(super) use build::parse;
pub(super) use scalar::{Scalar, ScalarKind};

/// Deepest nesting of lists and mappings.
pub(super) const MAX_DEPTH: usize = 64;
/// Most nodes (scalars, lists and mappings; a key is part of its value) in one document.
pub(super) const MAX_NODES: usize = 500_000;
/// Longest scalar, in bytes.
pub(super) const MAX_SCALAR: usize = 1 << 20;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node<'a> {
    /// Line from 1 on.
    pub line: u32,
    /// What is there.
    pub value: Value<'a>,
}

/// What a node holds.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// Text, number, boolean or null.
    Scalar(Scalar<'a>),
    /// `- a`.
    List(Vec<Node<'a>>),
    /// `key: value`, in the order of the text; keys are distinct.
    Map(Vec<Entry<'a>>),
}

/// One `key: value`.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// The key; `80: x` has the key `"80"`.
    pub key: Cow<'a, str>,
    /// Line of the key.
    pub line: u32,
    /// The value.
    pub node: Node<'a>,
}

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct SyntaxError {
    /// Line of the file, from 1 on.
    pub line: u32,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl<'a> Node<'a> {
    /// The value of a key, when this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Entry<'a>> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key)
    }

    /// The text, when this is a scalar that holds text.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_text() => Some(&scalar.text),
            _ => None,
        }
    }

    /// Whether this is `null`, `~` or nothing at all.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.kind == ScalarKind::Null)
    }
}

/// Splits a text into its documents, each with the number of lines before it. Pieces without
/// content (comments, directives) stay with the document that follows.
pub(super) fn documents(text: &str) -> Vec<(u32, &str)> {
    let mut pieces = Vec::new();
    let (mut start, mut start_line, mut at, mut has_content) = (0, 0, 0, false);
    for (line, content) in (0_u32..).zip(text.split_inclusive('\n')) {
        if is_document_start(content) && has_content {
            pieces.push((start_line, &text[start..at]));
            (start, start_line, has_content) = (at, line, false);
        }
        let body = content.strip_prefix("---").unwrap_or(content).trim_start();
        has_content |= !(body.is_empty() || body.starts_with('#') || content.starts_with('%'));
        at += content.len();
    }
    if has_content {
        pieces.push((start_line, &text[start..]));
    }
    pieces
}

fn is_document_start(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

#[cfg(test)]
mod tests;
