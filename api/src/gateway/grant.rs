//! ReferenceGrant: permission, given in the target's namespace, to refer to it from another.

use serde::{Deserialize, Serialize};

use crate::k8s::ObjectMeta;

/// Allows references from the kinds and namespaces of `from` to the kinds of `to`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceGrant {
    /// Standard object metadata; its namespace is the one that is opened.
    pub metadata: ObjectMeta,
    /// What is allowed.
    pub spec: ReferenceGrantSpec,
}

/// `ReferenceGrant.spec`: any `from` to any `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceGrantSpec {
    /// 1..=16 trusted sources.
    pub from: Vec<GrantFrom>,
    /// 1..=16 targets.
    pub to: Vec<GrantTo>,
}

/// A trusted source of references.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantFrom {
    /// API group of the referrer.
    pub group: String,
    /// Kind of the referrer.
    pub kind: String,
    /// Namespace of the referrer.
    pub namespace: String,
}

/// What may be referred to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantTo {
    /// API group of the target; `""` is core.
    pub group: String,
    /// Kind of the target.
    pub kind: String,
    /// Name of the target; every object of the kind when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
