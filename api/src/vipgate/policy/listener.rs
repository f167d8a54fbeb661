//! ListenerPolicy: how listeners treat their clients.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway::PolicyTargetReference;
use crate::k8s::ObjectMeta;

/// How listeners of a Gateway or ListenerSet treat their clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerPolicy {
    /// Standard object metadata; namespaced.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ListenerPolicySpec,
}

/// What is wanted of listeners, and of which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerPolicySpec {
    /// Gateways and ListenerSets of the policy's namespace, as a whole or one listener of them
    /// (`sectionName`). What is said of a listener goes before what is said of its whole Gateway or
    /// ListenerSet, field by field; and what is said of a ListenerSet before what is said of its Gateway.
    #[schemars(schema_with = "crate::crd::rules::policy::listener_targets")]
    pub target_refs: Vec<PolicyTargetReference>,
}
