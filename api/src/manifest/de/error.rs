//! Why a value does not fit its field, in the words of the person who wrote it.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::manifest::nearest::nearest;
use crate::manifest::path::Path;

/// A value that does not fit, and the field it stands in.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(in crate::manifest) struct Error {
    /// The innermost field that is known; `None` until the first caller that knows says it.
    pub path: Option<String>,
    /// What is wrong and what to write instead, without the field.
    pub message: String,
}

impl Error {
    /// An error whose field is not known yet.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { path: None, message: message.into() }
    }

    /// Says which field it is, unless something deeper has said so.
    pub(super) fn at(mut self, path: &Path<'_>) -> Self {
        self.path.get_or_insert_with(|| path.to_string());
        self
    }
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    // What was written is not repeated here: it may be a secret.
    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {}", plain_words(&expected.to_string())))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {}", plain_words(&expected.to_string())))
    }

    fn unknown_variant(written: &str, expected: &'static [&'static str]) -> Self {
        let hint = nearest(written, expected)
            .map_or_else(String::new, |name| format!(": did you mean `{name}`?"));
        let written = super::shorten(written, true);
        Self::new(format!("must be one of {}, not {written}{hint}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the field `{field}` is missing: add it"))
    }
}

/// Types of the Kubernetes library give their own names as what they expect.
fn plain_words(expected: &str) -> &str {
    match expected {
        "IntOrString" => "a number or a name",
        "Time" => "a time, such as 2026-01-31T12:00:00Z",
        _ => expected,
    }
}
