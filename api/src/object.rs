//! Objects of all kinds: how they are named, how old they are, and the one enum that holds any.

mod kinds;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use self::kinds::Read;
pub use self::kinds::{Kind, Object};
use crate::k8s::ObjectMeta;

/// Namespace and name. Orders by namespace, then name, which is also the last tie-break of age.
///
/// There are many copies of each, as keys of maps and in what follows from an object: they share its text.
#[derive(Clone)]
pub struct ObjectKey(Arc<FullName>);

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

impl ObjectKey {
    /// A key in a namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self(Arc::new(FullName { namespace: namespace.into(), name: name.into() }))
    }

    /// The key of an object with this metadata.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FullName { namespace, name } = &*self.0;
        f.debug_struct("ObjectKey").field("namespace", namespace).field("name", name).finish()
    }
}

impl Deref for ObjectKey {
    type Target = FullName;

    fn deref(&self) -> &FullName {
        &self.0
    }
}

impl PartialEq for ObjectKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for ObjectKey {}

impl Hash for ObjectKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ObjectKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Arc::new(FullName::deserialize(deserializer)?)))
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

/// An object, named: `Gateway default/web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Kind.
    pub kind: Kind,
    /// Namespace and name.
    #[serde(flatten)]
    pub key: ObjectKey,
}

impl ObjectRef {
    /// The object of this kind, namespace and name.
    pub fn new(kind: Kind, key: ObjectKey) -> Self {
        Self { kind, key }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// What every kind has in common.
pub trait Resource {
    /// Which kind this is.
    const KIND: Kind;

    /// Its metadata.
    fn metadata(&self) -> &ObjectMeta;

    /// Its namespace and name.
    fn key(&self) -> ObjectKey {
        ObjectKey::of(self.metadata())
    }
}

/// How old an object is, for "the oldest wins": by creation time where both have one, dated before
/// undated, then by place. Without an API server the place is the file's path and the position in
/// it; with one it is empty, and equal ages are decided by namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Age {
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// File path and index of the document in it.
    pub place: (String, usize),
}

impl Ord for Age {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.created, other.created) {
            (Some(mine), Some(theirs)) => mine.cmp(&theirs),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
        .then_with(|| self.place.cmp(&other.place))
    }
}

impl PartialOrd for Age {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An object with its age, as the planner keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<T> {
    /// The object.
    pub object: Arc<T>,
    /// How old it is.
    pub age: Age,
}
