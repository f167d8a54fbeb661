//! What a scalar means: the core schema of YAML 1.2 (10.3), with an eye on what kubectl reads.
//!
//! kubectl reads YAML 1.1, where `yes`, `no`, `on`, `off` are booleans and a leading zero means
//! octal. Here they are text, unless a field wants a boolean; [`Scalar::is_ambiguous`] tells the
//! reader to warn, for the same file would mean something else on a cluster.

use std::borrow::Cow;

/// A scalar as written, and what it means.
#[derive(Debug)]
pub(in crate::manifest) struct Scalar<'a> {
    /// The text after quotes and escapes are taken away.
    pub text: Cow<'a, str>,
    /// What it means.
    pub kind: ScalarKind,
}

/// The meaning of a scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::manifest) enum ScalarKind {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that fits 64 bits.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Text without quotes.
    Plain,
    /// Text in quotes or in a block.
    Quoted,
}

impl<'a> Scalar<'a> {
    /// A scalar without quotes: its look decides what it is.
    pub(super) fn plain(text: Cow<'a, str>) -> Self {
        let kind = resolve(&text);
        Self { text, kind }
    }

    /// A scalar that is text, whatever it looks like.
    pub(super) fn quoted(text: Cow<'a, str>) -> Self {
        Self { text, kind: ScalarKind::Quoted }
    }

    /// Whether it is text.
    pub(in crate::manifest) fn is_text(&self) -> bool {
        matches!(self.kind, ScalarKind::Plain | ScalarKind::Quoted)
    }

    /// Unquoted text that kubectl takes for something else.
    pub(in crate::manifest) fn is_ambiguous(&self) -> bool {
        self.kind == ScalarKind::Plain
            && (self.as_yaml_1_1_bool().is_some() || has_leading_zero(&self.text))
    }

    /// What kubectl makes of unquoted `yes`, `no`, `on` and `off`.
    pub(in crate::manifest) fn as_yaml_1_1_bool(&self) -> Option<bool> {
        if self.kind != ScalarKind::Plain {
            return None;
        }
        match &*self.text {
            "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
            "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
            _ => None,
        }
    }
}

fn resolve(text: &str) -> ScalarKind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return ScalarKind::Null,
        "true" | "True" | "TRUE" => return ScalarKind::Bool(true),
        "false" | "False" | "FALSE" => return ScalarKind::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return ScalarKind::Float(f64::NAN),
        _ => {}
    }
    if has_leading_zero(text) {
        return ScalarKind::Plain;
    }
    integer(text)
        .map(ScalarKind::Int)
        .or_else(|| float(text).map(ScalarKind::Float))
        .unwrap_or(ScalarKind::Plain)
}

/// `0755`: decimal in YAML 1.2, octal in 1.1, so no number at all here.
fn has_leading_zero(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn integer(text: &str) -> Option<i64> {
    let radix = |prefix, radix| {
        text.strip_prefix(prefix)
            .filter(|digits| !digits.starts_with(['+', '-']))
            .and_then(|digits| i64::from_str_radix(digits, radix).ok())
    };
    radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| text.parse().ok())
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    // Rust also reads words such as `infinity`, which are text in YAML.
    let digits = unsigned.strip_prefix('.').unwrap_or(unsigned);
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit())
        && unsigned
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    numeric.then(|| text.parse().ok()).flatten()
}
