//! IPAddressPool: addresses that may be given out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;
use crate::k8s::{LabelSelector, ObjectMeta};

/// A set of addresses, and to whom they may be given. A pool is enough for a working address: one
/// that no advertisement selects is announced on L2 (L2 is the default).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IpAddressPool {
    /// Standard object metadata; namespaced, but the namespace has no meaning (as in MetalLB).
    pub metadata: ObjectMeta,
    /// What is offered.
    pub spec: IpAddressPoolSpec,
}

/// What is offered, and to whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IpAddressPoolSpec {
    /// CIDRs (`192.0.2.0/24`, `2001:db8::/120`), ranges (`192.0.2.10-192.0.2.20`) or single
    /// addresses, of both families. A CIDR with host bits (`192.0.2.5/24`) means the whole network.
    #[schemars(schema_with = "crate::crd::rules::addresses")]
    pub addresses: Vec<String>,
    /// Addresses of the above that are never given out, in the same forms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::exclusions")]
    pub exclusions: Vec<String>,
    /// Whether addresses may be chosen from this pool without naming it; `true` unless said.
    #[serde(default = "yes")]
    pub auto_assign: bool,
    /// Never give out IPv4 addresses that end in `.0` or `.255`; `false` unless said.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    /// Whether an address that is in use is taken back when this pool no longer has it (by
    /// `addresses`, `exclusions` or `avoidBuggyIPs`); `false`, unless said: its users keep it. A pool
    /// that is deleted never takes anything back.
    #[serde(default)]
    pub reclaim: bool,
    /// Who may have addresses of this pool; everybody when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocation>,
}

/// Who may have addresses of a pool. All that is given must match. Where one kind of object is
/// selected by label (`serviceSelectors`, `gatewaySelectors`), the other kind may have addresses only
/// if it is selected too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAllocation {
    /// Order among pools that match: 1 first, 0 (the default) last.
    #[serde(default)]
    #[schemars(range(max = i32::MAX))]
    pub priority: u32,
    /// Namespaces by name; together with `namespaceSelectors` one hit is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::namespaces")]
    pub namespaces: Vec<String>,
    /// Namespaces by label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::selectors")]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services by label; one hit is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::selectors")]
    pub service_selectors: Vec<LabelSelector>,
    /// Gateways by label; one hit is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::selectors")]
    pub gateway_selectors: Vec<LabelSelector>,
}

/// How much is given out, and whether the pool is used as it is written. An address in use counts as
/// assigned in the pool that it came from, also when that no longer has it. (The planner has no clock:
/// its conditions are without times.)
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IpAddressPoolStatus {
    /// IPv4 addresses that are given out.
    #[serde(default, rename = "assignedIPv4")]
    pub assigned_ipv4: i64,
    /// IPv6 addresses that are given out.
    #[serde(default, rename = "assignedIPv6")]
    pub assigned_ipv6: i64,
    /// IPv4 addresses that are left.
    #[serde(default, rename = "availableIPv4")]
    pub available_ipv4: i64,
    /// IPv6 addresses that are left; no more than 2⁶³ - 1.
    #[serde(default, rename = "availableIPv6")]
    pub available_ipv6: i64,
    /// Accepted: whether the pool is used as it is written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::conditions")]
    pub conditions: Vec<Condition>,
}

fn yes() -> bool {
    true
}
