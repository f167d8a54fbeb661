//! Objects of all kinds: how they are named, how old they are, and the one enum that holds any.

mod key;
mod kinds;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::key::{FullName, ObjectKey};
pub(crate) use self::kinds::Read;
pub use self::kinds::{Kind, Object};
use crate::k8s::ObjectMeta;

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
