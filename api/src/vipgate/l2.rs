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
    /// Services and Gateways by label, one hit is enough; all of them when empty. A Gateway has its own
    /// labels and those of its `spec.infrastructure`, which go first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::selectors")]
    pub service_selectors: Vec<LabelSelector>,
    /// Nodes that are preferred among those that may announce. A node has the sum of the weights of all
    /// preferences that it meets, in all advertisements of the VIP that take it; the highest is chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::preferences")]
    pub preferred_node_selectors: Vec<PreferredNodeSelector>,
    /// Whether a VIP moves to a node of higher weight that has been there for 30 s; unless said, it does
    /// where `preferredNodeSelectors` are given. Of several advertisements of a VIP one that says `false`
    /// decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preempt: Option<bool>,
}

/// Nodes that are preferred.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreferredNodeSelector {
    /// How much, 1 to 100.
    pub weight: u32,
    /// Which nodes, by label.
    pub preference: LabelSelector,
}

/// Whether the kernel takes this for the name of an interface (`dev_valid_name`): 15 bytes, no slash, colon
/// or blank, not `.` or `..`.
pub fn is_interface_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
        && name != "."
        && name != ".."
}
