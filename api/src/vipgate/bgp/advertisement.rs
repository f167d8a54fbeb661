//! BGPAdvertisement: what routers are told of the addresses of pools.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Fault;
use super::value::{CommunityValue, CommunityValueError};
use crate::k8s::{LabelSelector, ObjectMeta};

/// Announces the addresses of the selected pools to routers, from the selected nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BgpAdvertisement {
    /// Standard object metadata; namespaced, but the namespace has no meaning.
    pub metadata: ObjectMeta,
    /// What is announced, and how.
    #[serde(default)]
    pub spec: BgpAdvertisementSpec,
}

/// What is announced, and how. Several advertisements that select one pool add up: of one prefix a router
/// is told the communities of all of them, and the highest local preference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = crate::crd::rules::bgp::whole_addresses()))]
pub struct BgpAdvertisementSpec {
    /// Pools by name; with `ipAddressPoolSelectors` one hit is enough; all pools when both empty.
    #[serde(default, rename = "ipAddressPools", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::names")]
    pub ip_address_pools: Vec<String>,
    /// Pools by label.
    #[serde(default, rename = "ipAddressPoolSelectors", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::selectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// How many bits of an IPv4 address are announced; 32, the address alone, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub aggregation_length: Option<u8>,
    /// How many bits of an IPv6 address are announced; 128, the address alone, unless said.
    #[serde(default, rename = "aggregationLengthV6", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 128))]
    pub aggregation_length_v6: Option<u8>,
    /// Local preference, for routers of our own AS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::bgp::local_pref")]
    pub local_pref: Option<u32>,
    /// Communities: `65001:100`, `large:64500:1:2`, names from Community objects, and well-known ones such
    /// as `no-export`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::bgp::communities")]
    pub communities: Vec<String>,
    /// BGPPeers by name; all of the node when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::bgp::peers")]
    pub peers: Vec<String>,
    /// Nodes that announce, by label; every node when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// Services by label; one hit is enough. Then no Gateways, unless `gatewaySelectors` takes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::selectors")]
    pub service_selectors: Vec<LabelSelector>,
    /// Gateways by label, one hit is enough: by their own labels and those of their `spec.infrastructure`,
    /// which go first. Then no Services, unless `serviceSelectors` takes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::selectors")]
    pub gateway_selectors: Vec<LabelSelector>,
}

impl BgpAdvertisementSpec {
    /// How many bits of an IPv4 and of an IPv6 address are announced.
    pub fn lengths(&self) -> (u8, u8) {
        (self.aggregation_length.unwrap_or(32), self.aggregation_length_v6.unwrap_or(128))
    }

    /// What is wrong with it, as far as it alone can tell.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (field, length, most) in [
            ("aggregationLength", self.aggregation_length, 32),
            ("aggregationLengthV6", self.aggregation_length_v6, 128),
        ] {
            if let Some(length) = length.filter(|length| !(1..=most).contains(length)) {
                let message = format!("must be a number of bits from 1 to {most}, not {length}");
                faults.push(Fault::new(format!("spec.{field}"), message));
            }
        }
        let selects = !self.service_selectors.is_empty() || !self.gateway_selectors.is_empty();
        if selects && faults.is_empty() && self.lengths() != (32, 128) {
            let message = "a shorter prefix has the addresses of others, too: write no `aggregationLength` \
                with `serviceSelectors` or `gatewaySelectors`";
            let field = match self.lengths().0 {
                32 => "spec.aggregationLengthV6",
                _ => "spec.aggregationLength",
            };
            faults.push(Fault::new(field, message));
        }
        for (index, text) in self.communities.iter().enumerate() {
            // What has a colon is no name.
            if text.is_empty() || text.contains(':') && text.parse::<CommunityValue>().is_err() {
                let message = format!("{text:?} {CommunityValueError}, or a name");
                faults.push(Fault::new(format!("spec.communities[{index}]"), message));
            }
        }
        faults
    }
}
