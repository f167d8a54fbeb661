//! Namespace and name, as everything is looked up by.
//!
//! There are many copies of each key, in maps and in what follows from an object, and a full plan compares millions
//! of them. So they share their text, and each has the start of both texts beside the pointer, as the strings of the
//! Umbra database have: most comparisons are decided there, and do not wait for memory.
//!
//! What always holds: keys compare as their texts do.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::k8s::ObjectMeta;

/// Namespace and name. Orders by namespace, then name, which is also the last tie-break of age.
#[derive(Clone)]
pub struct ObjectKey {
    namespace_start: Start,
    name_start: Start,
    full: Arc<FullName>,
}

/// Namespace and name. Orders by namespace, then name, which is also the last tie-break of age.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ObjectKey")]
pub struct FullName {
    /// `""` for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The first bytes of a text, padded with zeros; in the last byte, whether that is all of it.
#[derive(Clone, Copy)]
struct Start([u64; 2]);

/// In the last byte of a [`Start`]: there is more, or the padding cannot be told from the text.
const MORE: u64 = 1;

impl Start {
    fn of(text: &str) -> Self {
        let mut bytes = [0; 16];
        let length = text.len().min(15);
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        let is_all = length == text.len() && !bytes[..length].contains(&0);
        let [first, last] = [0, 8].map(|at| {
            let half = bytes[at..at + 8].try_into().unwrap_or_default();
            u64::from_be_bytes(half)
        });
        Self([first, last | if is_all { 0 } else { MORE }])
    }

    /// How two texts compare, if their starts say.
    fn compare(self, other: Self) -> Option<Ordering> {
        let ([first, last], [other_first, other_last]) = (self.0, other.0);
        let by_start = first.cmp(&other_first).then((last & !MORE).cmp(&(other_last & !MORE)));
        (by_start.is_ne() || (last | other_last) & MORE == 0).then_some(by_start)
    }
}

impl ObjectKey {
    /// A key in a namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self::from(FullName { namespace: namespace.into(), name: name.into() })
    }

    /// The key of an object with this metadata.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }
}

impl From<FullName> for ObjectKey {
    fn from(full: FullName) -> Self {
        let (namespace_start, name_start) = (Start::of(&full.namespace), Start::of(&full.name));
        Self { namespace_start, name_start, full: Arc::new(full) }
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FullName { namespace, name } = &*self.full;
        f.debug_struct("ObjectKey").field("namespace", namespace).field("name", name).finish()
    }
}

impl Deref for ObjectKey {
    type Target = FullName;

    fn deref(&self) -> &FullName {
        &self.full
    }
}

impl PartialEq for ObjectKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ObjectKey {}

impl Hash for ObjectKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.full.hash(state);
    }
}

impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.full, &other.full) {
            return Ordering::Equal;
        }
        let by_namespace = self.namespace_start.compare(other.namespace_start);
        by_namespace.unwrap_or_else(|| self.full.namespace.cmp(&other.full.namespace)).then_with(
            || {
                let by_name = self.name_start.compare(other.name_start);
                by_name.unwrap_or_else(|| self.full.name.cmp(&other.full.name))
            },
        )
    }
}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.full.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ObjectKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        FullName::deserialize(deserializer).map(Self::from)
    }
}

impl JsonSchema for ObjectKey {
    fn inline_schema() -> bool {
        FullName::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        FullName::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        FullName::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        FullName::json_schema(generator)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

#[cfg(test)]
mod tests;
