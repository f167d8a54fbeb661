//! L2Advertisement: where addresses are announced by ARP (and NDP).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::k8s::{LabelSelector, ObjectMeta};

/// Announces the addresses of the selected pools on the selected nodes and interfaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct L2Advertisement {
    /// Standard object metadata.
    pub metadata: ObjectMeta,
    /// What is announced where.
    #[serde(default)]
    pub spec: L2AdvertisementSpec,
}

/// What is announced where. Several advertisements that select one pool add up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct L2AdvertisementSpec {
    /// Pools by name; with `ipAddressPoolSelectors` one hit is enough; all pools when both empty.
    #[serde(default, rename = "ipAddressPools", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::names")]
    pub ip_address_pools: Vec<String>,
    /// Pools by label.
    #[serde(default, rename = "ipAddressPoolSelectors", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::selectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Nodes that may announce, by label; every node when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// Interfaces by exact name; when empty, those that are up and have the VIP in their subnet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::interfaces")]
    pub interfaces: Vec<String>,
}
