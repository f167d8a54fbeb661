//! BackendPolicy: how connections get to backends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway::PolicyTargetReference;
use crate::k8s::ObjectMeta;

/// How connections get to the backends of a route, or to a Service or Backend from whatever route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendPolicy {
    /// Standard object metadata; namespaced.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: BackendPolicySpec,
}

/// What is wanted of connections to backends, and to which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendPolicySpec {
    /// Routes, Services and Backends of the policy's namespace. What is said of a Service or Backend goes
    /// before what is said of a route, field by field: whoever has the servers knows them best.
    #[schemars(schema_with = "crate::crd::rules::policy::backend_targets")]
    pub target_refs: Vec<PolicyTargetReference>,
}
