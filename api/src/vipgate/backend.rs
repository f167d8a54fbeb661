//! Backend: endpoints outside the cluster.

use serde::{Deserialize, Serialize};

use crate::k8s::ObjectMeta;

/// Addresses that a route can forward to without a Service; named in `backendRefs` with group
/// `vipgate.dev` and kind `Backend`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// Standard object metadata; namespaced.
    pub metadata: ObjectMeta,
    /// Where it is.
    pub spec: BackendSpec,
}

/// `Backend.spec`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendSpec {
    /// 1..=100 endpoints, used in turn.
    pub endpoints: Vec<BackendEndpoint>,
}

/// One endpoint of a Backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendEndpoint {
    /// IPv4 or IPv6 address. (DNS names come with the data-plane work on resolving.)
    pub address: String,
    /// 1..=65535. A `port` in the backendRef must be equal to it or absent.
    pub port: u16,
}
