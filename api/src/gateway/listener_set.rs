//! ListenerSet: listeners that somebody else adds to a Gateway (GEP-1713).

use serde::{Deserialize, Serialize};

use super::Listener;
use crate::k8s::ObjectMeta;

/// More listeners for a Gateway, `v1` of the Gateway API (XListenerSet before 1.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerSet {
    /// Standard object metadata; namespaced.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ListenerSetSpec,
}

/// `ListenerSet.spec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    /// The Gateway.
    pub parent_ref: ParentGatewayReference,
    /// 1..=64 listeners.
    pub listeners: Vec<Listener>,
}

/// `ListenerSet.spec.parentRef`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentGatewayReference {
    /// API group; the Gateway API's unless named.
    #[serde(default = "super::gateway_group")]
    pub group: String,
    /// Kind; `Gateway` unless named.
    #[serde(default = "super::gateway_kind_name")]
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace; the set's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}
