//! Backend: endpoints outside the cluster.

use schemars::JsonSchema;
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendSpec {
    /// 1..=100 endpoints, used in turn.
    #[schemars(length(min = 1, max = 100))]
    pub endpoints: Vec<BackendEndpoint>,
}

/// One endpoint of a Backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackendEndpoint {
    /// IPv4 or IPv6 address. (DNS names come with the data-plane work on resolving.)
    #[schemars(length(min = 2, max = 45))]
    #[schemars(extend("x-kubernetes-validations" = crate::crd::rules(&[(
        "isIP(self)",
        "spec.endpoints[].address is not an IP address: write one such as 192.0.2.10 or 2001:db8::10",
    )])))]
    pub address: String,
    /// 1..=65535. A `port` in the backendRef must be equal to it or absent.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}
