//! What policies have in common: the objects that they are about, and what is said of them (GEP-713).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ParentReference;
use crate::Condition;

/// What a policy is about: an object of its own namespace, or a part of it
/// (`LocalPolicyTargetReferenceWithSectionName`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTargetReference {
    /// API group; `""` is core.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// A listener of a Gateway or ListenerSet, a port of a Service (by name), a rule of a route; the whole
    /// object when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// `status` of a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyStatus {
    /// What the policy comes to, by what it ends in: at most 16 entries, of which we write our own.
    #[serde(default)]
    #[schemars(schema_with = "crate::crd::rules::policy::ancestors")]
    pub ancestors: Vec<PolicyAncestorStatus>,
}

impl PolicyStatus {
    /// The most entries that fit.
    pub const MOST_ANCESTORS: usize = 16;
}

/// One of `status.ancestors` of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestorStatus {
    /// A Gateway that the target belongs to; the target itself where there is none.
    pub ancestor_ref: ParentReference,
    /// Whose entry it is.
    pub controller_name: String,
    /// 1..=8 of them.
    pub conditions: Vec<Condition>,
}
