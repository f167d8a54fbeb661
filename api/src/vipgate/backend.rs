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

/// Where the servers are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendSpec {
    /// The endpoints, used in turn.
    #[schemars(length(min = 1, max = 100))]
    #[schemars(extend("x-kubernetes-validations" = crate::crd::rules::endpoints_once()))]
    pub endpoints: Vec<BackendEndpoint>,
}

/// One endpoint of a Backend: an address, or a name and with it every address that it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = crate::crd::rules::address_or_hostname()))]
pub struct BackendEndpoint {
    /// IPv4 or IPv6 address. Nothing is forwarded to loopback (unless the VIP is a loopback one),
    /// link-local and metadata addresses and to VIPs: the route says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::endpoint_address")]
    pub address: Option<String>,
    /// DNS name, written in full: no search domain is tried, and it ends without a dot. Each node asks for
    /// its A and AAAA records, again whenever their TTL is over, and keeps the last good answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::endpoint_hostname")]
    pub hostname: Option<String>,
    /// TCP or UDP port, as the route is. A `port` in the backendRef has to be equal to it or absent.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}
