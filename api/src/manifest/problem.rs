//! What is wrong in a manifest, where it is, and what to write instead.

use std::fmt;

use crate::ObjectRef;

/// One thing that is wrong, or looks wrong, in a manifest.
///
/// Shown as `file:line: Kind namespace/name: message`. A message names the field and says what to
/// write instead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Path of the file, as the listing names it.
    pub file: String,
    /// Line from 1 on; 0 when the whole file is meant.
    pub line: u32,
    /// The object it is about, when its name is known.
    pub object: Option<ObjectRef>,
    /// Whether the object is refused for it.
    pub severity: Severity,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The object (or file) is not taken on; its last good version stays in use.
    Error,
    /// The object is taken on, but probably does not mean what its author thinks.
    Warning,
}

impl Problem {
    /// A problem of a whole file.
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self::error(file, 0, None, message)
    }

    /// An error at a line.
    pub fn error(
        file: &str,
        line: u32,
        object: Option<ObjectRef>,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        Self { file: file.to_owned(), line, object, severity: Severity::Error, message }
    }

    /// Whether something is refused for it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        f.write_str(": ")?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// A problem inside one object, by field; becomes a [`Problem`] when the line is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Field, as in `spec.listeners[0].port`; empty for the object as a whole.
    pub path: String,
    /// Whether the object is refused for it.
    pub severity: Severity,
    /// What is wrong and what to write instead, without the field.
    pub message: String,
}

/// All findings of one object; the first hundred are kept, the others counted.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    refused: bool,
    more: usize,
}

/// Most findings of one object that are shown: who has more starts with these.
const MAX_FINDINGS: usize = 100;

impl Findings {
    /// Refuses the object.
    pub(super) fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.push(path.into(), Severity::Error, message.into());
    }

    /// Takes the object on, with a word of doubt.
    pub(super) fn warning(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.push(path.into(), Severity::Warning, message.into());
    }

    fn push(&mut self, path: String, severity: Severity, message: String) {
        self.refused |= severity == Severity::Error;
        if self.kept.len() < MAX_FINDINGS {
            let (path, message) = (cut(path), cut(message));
            self.kept.push(Finding { path, severity, message });
        } else {
            self.more += 1;
        }
    }

    /// A warning whose text costs something to find.
    pub(super) fn warning_by(&mut self, text: impl FnOnce() -> (String, String)) {
        let (path, message) = if self.kept.len() < MAX_FINDINGS { text() } else { <_>::default() };
        self.warning(path, message);
    }

    /// Whether the object is refused.
    pub(super) fn refused(&self) -> bool {
        self.refused
    }

    /// What was found, with a last entry for what is not shown.
    pub(super) fn into_list(self) -> Vec<Finding> {
        let mut list = self.kept;
        if self.more > 0 {
            let severity = if self.refused { Severity::Error } else { Severity::Warning };
            let message = format!("{} more problems are not shown", self.more);
            list.push(Finding { path: String::new(), severity, message });
        }
        list
    }
}

/// A text that is not longer than anybody reads; what was written may be a megabyte.
fn cut(mut text: String) -> String {
    const LONGEST: usize = 500;
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

impl Finding {
    /// The message with the field in front.
    pub(super) fn text(&self) -> String {
        if self.path.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", self.path, self.message)
        }
    }
}
