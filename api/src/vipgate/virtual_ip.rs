//! VirtualIP: the claim on one address.

use std::net::{IpAddr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ObjectRef;
use crate::k8s::ObjectMeta;

/// One address, and who has it. Cluster-scoped; its name is the address ([`virtual_ip_name`]), so
/// that creating it is the compare-and-set that makes double allocation impossible. Written only
/// by the controller; speakers serve and announce only what stands in one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VirtualIp {
    /// Standard object metadata.
    pub metadata: ObjectMeta,
    /// The claim.
    pub spec: VirtualIpSpec,
}

/// The claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualIpSpec {
    /// The address, in its shortest form (RFC 5952).
    #[schemars(schema_with = "crate::crd::rules::claimed_address")]
    pub address: IpAddr,
    /// Name of the IPAddressPool that it came from.
    #[schemars(length(min = 1, max = 253))]
    pub pool: String,
    /// Whether somebody asked for this very address.
    pub origin: Origin,
    /// Whether it was probed (RFC 5227) and found free, and so may stand in statuses. From then on
    /// it is not changed any more.
    #[serde(default)]
    pub published: bool,
    /// Gateways and Services that have it, each with its ports; by kind, namespace and name.
    #[schemars(length(min = 1, max = crate::crd::rules::MANY))]
    pub users: Vec<VipUser>,
}

/// Why this address and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Origin {
    /// The lowest that was free.
    Chosen,
    /// The user names it.
    Requested,
}

/// A Gateway or Service that has an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct VipUser {
    /// Which: kind `Gateway` or `Service`.
    #[serde(flatten)]
    #[schemars(schema_with = "crate::crd::rules::claimant")]
    pub object: ObjectRef,
    /// Ports that it serves on the address, sorted. No two users have one in common.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::crd::rules::MANY))]
    pub ports: Vec<PortUse>,
    /// Digest of the terms on which it shares the address; absent when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub terms: Option<String>,
}

/// A port of a transport protocol.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct PortUse {
    /// TCP, UDP or SCTP.
    pub protocol: Transport,
    /// Its number.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// A transport protocol, as in `Service.spec.ports[].protocol`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Transport {
    /// TCP.
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
    /// SCTP.
    #[serde(rename = "SCTP")]
    Sctp,
}

impl Transport {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }

    /// The protocol of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|protocol| protocol.name() == name)
    }
}

/// The one name of an address: IPv4 dotted (`192.0.2.10`), IPv6 as all eight groups of four hex
/// digits joined by `-` (`2001-0db8-0000-0000-0000-0000-0000-0001`).
pub fn virtual_ip_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => v6.segments().map(|group| format!("{group:04x}")).join("-"),
    }
}

/// The address that a name stands for; `None` when it is not the canonical name of one.
pub fn virtual_ip_address(name: &str) -> Option<IpAddr> {
    let address = match name.contains('-') {
        true => name.replace('-', ":").parse::<Ipv6Addr>().ok()?.into(),
        false => name.parse::<IpAddr>().ok()?,
    };
    (virtual_ip_name(address) == name).then_some(address)
}
