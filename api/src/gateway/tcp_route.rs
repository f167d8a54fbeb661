//! TCPRoute (`v1` and `v1alpha2`: the same shape, except that `v1` takes exactly one rule).

use serde::{Deserialize, Serialize};

use super::{BackendRef, ParentReference};
use crate::k8s::ObjectMeta;

/// Forwards the connections of TCP listeners to weighted backends (GEP-2644).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TcpRoute {
    /// Standard object metadata; namespaced.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: TcpRouteSpec,
}

/// `TCPRoute.spec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpRouteSpec {
    /// Up to 32 parents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Exactly one rule in `v1`; up to 16 in `v1alpha2`, of which the first is served.
    pub rules: Vec<TcpRouteRule>,
}

/// `TCPRoute.spec.rules[]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpRouteRule {
    /// Name of the rule, unique in the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// 1..=16 weighted backends.
    pub backend_refs: Vec<BackendRef>,
}
