//! BGPPeer: a router that nodes have a session with.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, seconds};
use crate::k8s::{LabelSelector, ObjectMeta};

/// A router, and how the selected nodes speak with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BgpPeer {
    /// Standard object metadata; namespaced, but the namespace has no meaning beyond `passwordSecret`.
    pub metadata: ObjectMeta,
    /// Where it is, and how it is spoken with.
    pub spec: BgpPeerSpec,
}

/// Where a router is, and how it is spoken with. Nodes dial, and the router has to accept, unless `passive`
/// says that it is the other way round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = crate::crd::rules::bgp::peer()))]
pub struct BgpPeerSpec {
    /// AS number of the nodes.
    #[serde(rename = "myASN")]
    #[schemars(schema_with = "crate::crd::rules::bgp::asn")]
    pub my_asn: u32,
    /// AS number of the router; one of this and `dynamicASN`.
    #[serde(default, rename = "peerASN", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::bgp::asn")]
    pub peer_asn: Option<u32>,
    /// Which AS the router may be of, where it is not known beforehand: `internal` (ours), `external` (any
    /// other).
    #[serde(default, rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DynamicAsn")]
    pub dynamic_asn: Option<DynamicAsn>,
    /// AS number of the nodes towards this router, in the place of `myASN`; for routers of another AS.
    #[serde(default, rename = "localASN", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::bgp::asn")]
    pub local_asn: Option<u32>,
    /// Address of the router, IPv4 or IPv6; a link-local one together with `interface`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::bgp::peer_address")]
    pub peer_address: Option<String>,
    /// Interface of the node that the router is on, as `ip link` shows it. Without `peerAddress`: whoever
    /// is the router there (unnumbered).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::interface")]
    pub interface: Option<String>,
    /// The VRF of the node that the router is in, by the name of its device, as `ip link show type vrf` has
    /// it. Not beside `interface`, which is in a VRF or in none by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::interface")]
    pub vrf: Option<String>,
    /// TCP port of the router; nobody asks for it with `passive`.
    #[serde(default = "bgp_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub peer_port: u16,
    /// Address of the node to speak from; the kernel's choice unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::bgp::source_address")]
    pub source_address: Option<String>,
    /// BGP identifier of the node, in the form of an IPv4 address; its own choice unless said. Each node
    /// needs another one: select one node.
    #[serde(default, rename = "routerID", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::bgp::router_id")]
    pub router_id: Option<String>,
    /// After how long without a word the session is given up, such as `90s`, which it is unless said; 0
    /// for never, or at least 3 s. The smaller one of both sides counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::bgp::hold_time")]
    pub hold_time: Option<String>,
    /// How often a word is sent; a third of the hold time unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::bgp::some_seconds")]
    pub keepalive_time: Option<String>,
    /// How long it is waited at most before the router is dialled again; `30s` unless said. With `passive`,
    /// after how long without a call that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::bgp::some_seconds")]
    pub connect_time: Option<String>,
    /// Whether the router dials and nodes do not: each of them listens on TCP port 179 then, on which no
    /// other BGP daemon of the node can be. Its other routers may dial, too, while it does.
    #[serde(default)]
    pub passive: bool,
    /// Whether a router of another AS may be behind routers.
    #[serde(default)]
    pub ebgp_multi_hop: bool,
    /// The key of TCP MD5 (RFC 2385).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PasswordSecret")]
    pub password_secret: Option<PasswordSecret>,
    /// No field of ours: passwords do not stand in objects that everybody may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::bgp::no_password")]
    pub password: Option<Refused>,
    /// Whether what crossed a router is refused (RFC 5082): the router has to send TTL 255.
    #[serde(default)]
    pub ttl_security: bool,
    /// Whether the router is asked to keep routes over a restart of the speaker (RFC 4724).
    #[serde(default)]
    pub enable_graceful_restart: bool,
    /// Nodes that speak with it, by label, one hit is enough; every node when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// The BFDProfile to watch the path with; no BFD unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::bgp::bfd_profile")]
    pub bfd_profile: Option<String>,
}

/// What stands in a field that is there to be refused. Nothing of it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Refused;

impl<'de> Deserialize<'de> for Refused {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Refused)
    }
}

/// Which AS a router may be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DynamicAsn {
    /// Ours.
    Internal,
    /// Any other.
    External,
}

/// A Secret of type `kubernetes.io/basic-auth`, whose `password` it is. Speakers read Secrets of the
/// namespace that they run in, and no others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PasswordSecret {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace; that of the BGPPeer unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
}

impl PasswordSecret {
    /// The type that the Secret has to be of.
    pub const TYPE: &str = "kubernetes.io/basic-auth";
}

fn bgp_port() -> u16 {
    179
}

impl BgpPeerSpec {
    /// Our AS number towards it.
    pub fn asn(&self) -> u32 {
        self.local_asn.unwrap_or(self.my_asn)
    }

    /// Where it is, if that is an address.
    pub fn address(&self) -> Option<IpAddr> {
        self.peer_address.as_ref().and_then(|text| text.parse().ok())
    }

    /// Hold time, with its default.
    pub fn hold_time(&self) -> Option<Duration> {
        self.hold_time.as_deref().map_or(Some(Duration::from_secs(90)), seconds)
    }

    /// Connect time, with its default.
    pub fn connect_time(&self) -> Option<Duration> {
        self.connect_time.as_deref().map_or(Some(Duration::from_secs(30)), seconds)
    }

    /// Whether it is certainly of the AS of the nodes.
    pub fn is_internal(&self) -> bool {
        self.peer_asn == Some(self.my_asn) || self.dynamic_asn == Some(DynamicAsn::Internal)
    }

    /// What is wrong with it, as far as it alone can tell.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults(Vec::new());
        self.numbers(&mut faults);
        self.place(&mut faults);
        self.times(&mut faults);
        if self.peer_port == 0 {
            faults.add("peerPort", "must be a port from 1 to 65535, not 0");
        }
        if let Some(text) = &self.router_id
            && text.parse::<Ipv4Addr>().ok().is_none_or(|id| id.is_unspecified())
        {
            let message = format!(
                "{text:?} is no BGP identifier: write it as an IPv4 address, such as 192.0.2.1"
            );
            faults.add("routerID", message);
        }
        if self.password.is_some() {
            let message = "passwords do not stand in objects that everybody may read: put it into a Secret of \
                type kubernetes.io/basic-auth and write `passwordSecret: {name: ...}`";
            faults.add("password", message);
        }
        if self.password_secret.as_ref().is_some_and(|secret| secret.name.is_empty()) {
            faults.add("passwordSecret.name", "is empty: write the name of a Secret");
        }
        if self.bfd_profile.as_ref().is_some_and(String::is_empty) {
            faults.add("bfdProfile", "is empty: write the name of a BFDProfile, or leave it out");
        }
        faults.0
    }

    fn numbers(&self, faults: &mut Faults) {
        for (field, number) in
            [("myASN", Some(self.my_asn)), ("peerASN", self.peer_asn), ("localASN", self.local_asn)]
        {
            if number == Some(0) {
                faults.add(field, "must be an AS number from 1 to 4294967295, not 0");
            }
        }
        match (self.peer_asn, self.dynamic_asn) {
            (None, None) => {
                let message = "missing: write it, or `dynamicASN: external` (or `internal`) where it is not \
                    known beforehand";
                faults.add("peerASN", message);
            }
            (Some(_), Some(_)) => {
                faults.add("dynamicASN", "write one of `peerASN` and `dynamicASN`, not both");
            }
            _ => {}
        }
        if let Some(local) = self.local_asn
            && (self.is_internal() || self.peer_asn == Some(local))
        {
            let message = "is for routers of another AS: write `myASN` alone for one of our own";
            faults.add("localASN", message);
        }
        if self.ebgp_multi_hop && self.is_internal() {
            let message =
                "is for routers of another AS: one of our own may be anywhere, leave it out";
            faults.add("ebgpMultiHop", message);
        }
        if self.ebgp_multi_hop && self.ttl_security {
            let message = "has no meaning with `ebgpMultiHop`, where packets do cross routers: write one of both";
            faults.add("ttlSecurity", message);
        }
    }

    fn place(&self, faults: &mut Faults) {
        if let Some(name) = &self.interface
            && !crate::vipgate::is_interface_name(name)
        {
            let message = format!("{name:?} is not the name of an interface: see `ip link`");
            faults.add("interface", message);
        }
        if let Some(name) = &self.vrf
            && !crate::vipgate::is_interface_name(name)
        {
            let message = format!("{name:?} is not the name of a VRF: see `ip link show type vrf`");
            faults.add("vrf", message);
        }
        if self.vrf.is_some() && self.interface.is_some() {
            faults.add(
                "vrf",
                "has no meaning with `interface`, which is in its VRF anyway: leave it out",
            );
        }
        let address = match &self.peer_address {
            None if self.interface.is_none() => {
                let message = "missing: write the address of the router, or `interface` for whoever is the \
                    router there";
                return faults.add("peerAddress", message);
            }
            None => None,
            Some(text) => match unicast(text) {
                Ok(address) => Some(address),
                Err(message) => return faults.add("peerAddress", message),
            },
        };
        match (address.map(is_link_local), &self.interface) {
            (Some(true), None) => {
                let message = "is link-local, which every link has: write `interface` too";
                faults.add("peerAddress", message);
            }
            (Some(false), Some(_)) => {
                let message = "is for link-local addresses, and for routers without `peerAddress`: leave it out";
                faults.add("interface", message);
            }
            _ => {}
        }
        if address.is_none() && self.ebgp_multi_hop {
            faults.add("ebgpMultiHop", "a router on `interface` is behind no other: leave it out");
        }
        let Some(text) = &self.source_address else { return };
        match (unicast(text), address) {
            (Err(message), _) => faults.add("sourceAddress", message),
            (Ok(_), None) => {
                let message =
                    "has no meaning for a router that is known by `interface`: leave it out";
                faults.add("sourceAddress", message);
            }
            (Ok(source), Some(address)) if source.is_ipv4() != address.is_ipv4() => {
                let message = format!(
                    "{source} and {address} are of different families: write one of the same"
                );
                faults.add("sourceAddress", message);
            }
            _ => {}
        }
    }

    fn times(&self, faults: &mut Faults) {
        const FORM: &str = "write whole seconds up to 65535, such as 90s or 1m30s";
        let hold = self.hold_time();
        match hold.map(|hold| hold.as_secs()) {
            None => faults.add("holdTime", format!("is no time: {FORM}")),
            Some(1 | 2) => {
                faults.add("holdTime", "is too short: write 0s for ever, or at least 3s")
            }
            Some(_) => {}
        }
        let some = |text: &Option<String>| {
            let text = text.as_ref()?;
            Some(seconds(text).filter(|time| !time.is_zero()))
        };
        match (some(&self.keepalive_time), hold) {
            (Some(None), _) => {
                faults.add("keepaliveTime", format!("is no time: {FORM}, at least 1s"))
            }
            (Some(Some(keepalive)), Some(hold)) if keepalive > hold => {
                let message =
                    "is longer than the hold time: write at most a third of that, or leave it out";
                faults.add("keepaliveTime", message);
            }
            _ => {}
        }
        if some(&self.connect_time) == Some(None) {
            faults.add("connectTime", format!("is no time: {FORM}, at least 1s"));
        }
    }
}

struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(Fault::new(format!("spec.{field}"), message));
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Reads the address of a host; says what to write instead.
fn unicast(text: &str) -> Result<IpAddr, String> {
    if let Some((address, link)) = text.split_once('%') {
        return Err(format!(
            "{text:?} has an interface in it: write {address}, and `interface: {link}`"
        ));
    }
    let address: IpAddr = text.parse().map_err(|_| {
        format!(
            "{text:?} is not an IP address (names are not resolved): write one, such as 192.0.2.1"
        )
    })?;
    let is_mapped = matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
    if address.is_unspecified() || address.is_multicast() || is_mapped {
        return Err(format!("{address} is no address of a host: write one, such as 192.0.2.1"));
    }
    Ok(address)
}
