//! Names, labels and annotations of objects of every kind.

use super::names;
use crate::manifest::problem::Findings;
use crate::{Kind, Object};

/// All annotations of an object together.
const MAX_ANNOTATIONS: usize = 256 * 1024;

pub(super) fn check(object: &Object, findings: &mut Findings) {
    let metadata = object.metadata();
    if metadata.generate_name.is_some() {
        let message = "a manifest needs a fixed name: write `metadata.name` instead";
        findings.error("metadata.generateName", message);
        return;
    }
    match metadata.name.as_deref() {
        None | Some("") => findings.error("metadata.name", "missing: write it"),
        Some(name) => {
            let good = match object.kind() {
                Kind::Namespace => names::label(name),
                Kind::Service => names::service(name),
                _ => names::subdomain(name),
            };
            note("metadata.name", good, findings);
        }
    }
    if let Some(namespace) = &metadata.namespace {
        note("metadata.namespace", names::label(namespace), findings);
    }
    for (key, value) in metadata.labels.iter().flatten() {
        label("metadata.labels", key, value, findings);
    }
    for key in metadata.annotations.iter().flatten().map(|(key, _)| key) {
        // Keys of annotations may have capitals in their prefix, as an API server allows.
        note_below("metadata.annotations", key, names::qualified(&key.to_lowercase()), findings);
    }
    let size = |(key, value): (&String, &String)| key.len() + value.len();
    let annotations: usize = metadata.annotations.iter().flatten().map(size).sum();
    if annotations > MAX_ANNOTATIONS {
        let message = format!("{annotations} bytes together: the most is {MAX_ANNOTATIONS}");
        findings.error("metadata.annotations", message);
    }
}

/// One label of an object or of a selector.
pub(super) fn label(path: &str, key: &str, value: &str, findings: &mut Findings) {
    note_below(path, key, names::qualified(key), findings);
    note_below(path, key, names::label_value(value), findings);
}

/// Reports a refusal, if it is one.
pub(super) fn note(path: &str, good: Result<(), String>, findings: &mut Findings) {
    if let Err(message) = good {
        findings.error(path, message);
    }
}

fn note_below(path: &str, key: &str, good: Result<(), String>, findings: &mut Findings) {
    if let Err(message) = good {
        findings.error(format!("{path}.{}", key.escape_debug()), message);
    }
}
