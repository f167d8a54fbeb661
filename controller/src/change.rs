//! Changes to objects that the controller keeps for others: companions, copies, finalizers.
//!
//! Pure modules say what is to be changed; the controller carries it out, each change against the
//! version of the object that it was worked out from.

use serde_json::Value;
use vipgate_api::ObjectRef;

/// One change to one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Create it with this content, `apiVersion` and `kind` included.
    Create(ObjectRef, Value),
    /// Change these fields (JSON merge patch, RFC 7396).
    Merge(ObjectRef, Value),
    /// Delete it.
    Delete(ObjectRef),
}

impl Change {
    /// The object.
    pub fn object(&self) -> &ObjectRef {
        match self {
            Self::Create(object, _) | Self::Merge(object, _) | Self::Delete(object) => object,
        }
    }

    /// What it is to be afterwards; `null` for nothing.
    pub fn content(&self) -> &Value {
        match self {
            Self::Create(_, content) | Self::Merge(_, content) => content,
            Self::Delete(_) => &Value::Null,
        }
    }
}
