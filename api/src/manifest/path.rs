//! Paths of fields, `spec.listeners[0].port`, and the lines they stand on.

use std::fmt;
use std::sync::Arc;

use super::tree::{Node, Value};

/// A field, as a chain from the innermost step outwards; costs nothing until it is shown.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    /// The object.
    Root,
    /// A field of a mapping.
    Key(&'p Path<'p>, &'p str),
    /// An item of a list.
    Index(&'p Path<'p>, usize),
}

impl<'p> Path<'p> {
    /// The first field on the way, such as `metadata`.
    pub(super) fn top(&self) -> &'p str {
        match self {
            Self::Root => "",
            Self::Key(Self::Root, key) => key,
            Self::Key(parent, _) | Self::Index(parent, _) => parent.top(),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => write!(f, "{}", key.escape_debug()),
            Self::Key(parent, key) => write!(f, "{parent}.{}", key.escape_debug()),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// The line of every field of one object.
///
/// Kept as long as the object is, for problems that only show against other objects, so it is
/// small: 16 bytes per field, found by a hash of the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldLines {
    /// Line of the object.
    start: u32,
    /// Hash of the path and line, sorted.
    fields: Arc<[(u64, u32)]>,
}

impl FieldLines {
    /// The lines of a document (or of an item of a List).
    pub(super) fn of(document: &Node<'_>) -> Self {
        let mut fields = Vec::new();
        collect(document, FNV_OFFSET, &mut fields);
        fields.sort_unstable();
        Self { start: document.line, fields: fields.into() }
    }

    /// The line of a field written as `spec.listeners[0].port`; when the manifest does not have
    /// the field, that of the nearest one around it.
    pub fn line(&self, field: &str) -> u32 {
        let mut field = field;
        while !field.is_empty() {
            let hash = field.bytes().fold(FNV_OFFSET, fnv);
            if let Ok(at) = self.fields.binary_search_by_key(&hash, |(hash, _)| *hash) {
                return self.fields[at].1;
            }
            field = field.rfind(['.', '[']).map_or("", |end| &field[..end]);
        }
        self.start
    }
}

fn collect(node: &Node<'_>, hash: u64, fields: &mut Vec<(u64, u32)>) {
    match &node.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let hash = format!("[{index}]").bytes().fold(hash, fnv);
                fields.push((hash, item.line));
                collect(item, hash, fields);
            }
        }
        Value::Map(entries) => {
            let dot = if hash == FNV_OFFSET { hash } else { fnv(hash, b'.') };
            for entry in entries {
                let hash = entry.key.bytes().fold(dot, fnv);
                fields.push((hash, entry.line));
                collect(&entry.node, hash, fields);
            }
        }
    }
}

// FNV-1a, 64 bits: paths are hashed step by step, and a wrong hit costs a wrong line number.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}
