//! Speaker: what one node really serves and announces.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::k8s::ObjectMeta;
use crate::{Kind, ObjectRef, Reason};

/// The status of one node. Cluster-scoped, named after the Node; its sole writer is the speaker of
/// that node. At most one write per second, none when nothing changed, at most 256 KiB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speaker {
    /// Standard object metadata.
    pub metadata: ObjectMeta,
    /// What is so.
    #[serde(default)]
    pub status: SpeakerStatus,
}

/// What is so on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpeakerStatus {
    /// How many VIPs are on this node and announced.
    #[serde(default)]
    #[schemars(range(max = i32::MAX))]
    pub serving: u32,
    /// How many VIPs another member of the group serves, and this node would take over.
    #[serde(default)]
    #[schemars(range(max = i32::MAX))]
    pub standby: u32,
    /// How many VIPs of the plan are neither: `vips` says why.
    #[serde(default)]
    #[schemars(range(max = i32::MAX))]
    pub not_serving: u32,
    /// VIPs of the plan, by address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::crd::rules::MANY))]
    pub vips: Vec<SpeakerVip>,
    /// The Gateways and ListenerSets that the plan was made from, and the BGPPeers that take the node, each
    /// with the `metadata.generation` that is served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::crd::rules::MANY))]
    pub plan: Vec<PlannedObject>,
    /// Listeners that are in the plan but are not served in full; all others are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::crd::rules::MANY))]
    pub failed_listeners: Vec<FailedListener>,
    /// The BGP sessions of the node, by BGPPeer. What changes all the time is not in here: the speaker's
    /// metrics have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::crd::rules::MANY))]
    pub peers: Vec<SpeakerPeer>,
    /// Where the other speakers of the group reach this one: IP address and UDP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 60))]
    pub group_address: Option<String>,
    /// Names of the speakers that this one sees, itself included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::crd::rules::MANY))]
    pub members: Vec<String>,
    /// Why VIPs of this node go to others that can have them, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gives_way: Option<GivesWay>,
    /// What went wrong last, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub errors: Vec<String>,
    /// Whether this is not all, for want of room: VIPs and objects that are missing may be served
    /// here or not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// Why VIPs of this node go to others that can have them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GivesWay {
    /// Why, for programs.
    pub reason: ExclusionReason,
    /// Why, for people.
    pub message: String,
}

/// One VIP on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpeakerVip {
    /// The address.
    #[schemars(with = "String", length(min = 2, max = 45))]
    pub address: IpAddr,
    /// How far it has come.
    pub state: SpeakerVipState,
    /// Serving: interfaces that it is announced on; none where only routers are told of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::crd::rules::MANY))]
    pub interfaces: Vec<String>,
    /// Standby or excluded: the speaker that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub owner: Option<String>,
    /// Conflict, or serving and defended: the MAC of the other host that claims it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict_mac: Option<String>,
    /// Why it is excluded, or what else decides about candidates; for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ExclusionReason")]
    pub reason: Option<ExclusionReason>,
    /// The same for people; and why it failed or waits, and what to check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Sum of the weights of the preferences that this node meets for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = i32::MAX))]
    pub weight: u32,
    /// How many routers were told of it by this node, where any are to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i32::MAX))]
    pub routers: Option<u32>,
    /// Serving: since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub since: Option<String>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl SpeakerVip {
    /// Nothing but that it is in this state.
    pub fn new(address: IpAddr, state: SpeakerVipState) -> Self {
        Self {
            address,
            state,
            interfaces: Vec::new(),
            owner: None,
            conflict_mac: None,
            reason: None,
            message: None,
            weight: 0,
            routers: None,
            since: None,
        }
    }
}

/// Why a node does not have a VIP: it cannot, or it gives it to others.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum ExclusionReason {
    /// Advertisements select the pool, and none of them takes the Service or Gateway
    /// (`serviceSelectors`, `gatewaySelectors`).
    NoAdvertisement,
    /// No advertisement of it takes the node (`nodeSelectors`).
    NodeNotSelected,
    /// The node has no BGPPeer that its BGPAdvertisements announce to.
    NoPeer,
    /// No interface of the node is in the subnet of the VIP.
    NoSubnet,
    /// The node has no such interface that speaks ARP.
    NoInterface,
    /// The interface is down or has no carrier.
    LinkDown,
    /// No endpoint of a Service with `externalTrafficPolicy: Local` is ready on the node.
    NoLocalEndpoint,
    /// No backend has a usable endpoint, and `vipgate.dev/no-backends: Withdraw` is asked for.
    NoBackend,
    /// None of its listeners could be bound on the node.
    NotBound,
    /// Not excluded: no node fits all who have the VIP, so its candidates are those of the oldest.
    NoCommonNode,
    /// Gives way: the node is cordoned.
    Cordoned,
    /// Gives way: the node is not Ready.
    NotReady,
    /// Gives way: the network of the node is not available.
    NetworkUnavailable,
    /// Gives way: the node has the label `node.kubernetes.io/exclude-from-external-load-balancers`.
    ExcludedByLabel,
}

impl ExclusionReason {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoAdvertisement => "NoAdvertisement",
            Self::NodeNotSelected => "NodeNotSelected",
            Self::NoPeer => "NoPeer",
            Self::NoSubnet => "NoSubnet",
            Self::NoInterface => "NoInterface",
            Self::LinkDown => "LinkDown",
            Self::NoLocalEndpoint => "NoLocalEndpoint",
            Self::NoBackend => "NoBackend",
            Self::NotBound => "NotBound",
            Self::NoCommonNode => "NoCommonNode",
            Self::Cordoned => "Cordoned",
            Self::NotReady => "NotReady",
            Self::NetworkUnavailable => "NetworkUnavailable",
            Self::ExcludedByLabel => "ExcludedByLabel",
        }
    }
}

impl std::fmt::Display for ExclusionReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// `Speaker.status.vips[].state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SpeakerVipState {
    /// Asking the wire whether somebody has it.
    Probing,
    /// Somebody else has it.
    Conflict,
    /// On the host and announced.
    Serving,
    /// Another speaker has it, and this node would take it over.
    Standby,
    /// No speaker has it yet.
    Waiting,
    /// This node is no candidate for it.
    Excluded,
    /// Could not be put on the host or announced.
    Failed,
}

/// A BGP session of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpeakerPeer {
    /// The BGPPeer that it is by: `namespace/name`.
    #[schemars(length(max = 317))]
    pub peer: String,
    /// `Idle`, `Connect` (until it is established) or `Established` (RFC 4271).
    #[schemars(length(max = 16))]
    pub state: String,
    /// Since when it is established, or not.
    #[schemars(length(max = 40))]
    pub since: String,
    /// Where the router is, as far as known: IP address and TCP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub address: Option<String>,
    /// The router's AS number, while established.
    #[serde(default, rename = "peerASN", skip_serializing_if = "Option::is_none")]
    pub peer_asn: Option<u32>,
    /// What both sides can, while established, such as `ipv4-unicast` and `graceful-restart`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub capabilities: Vec<String>,
    /// Hold time in seconds, as negotiated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time_seconds: Option<u16>,
    /// How many prefixes the router was told.
    #[serde(default)]
    #[schemars(range(max = i32::MAX))]
    pub prefixes: u32,
    /// Why the last attempt or session ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Why there is no session, for programs, where the BGPPeer cannot be followed here; `lastError` says it
    /// for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 64))]
    pub reason: Option<Reason>,
    /// `Up`, `Init`, `Down` or `AdminDown` (RFC 5880), where BFD is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub bfd: Option<String>,
    /// Where the echo function of BFD is asked for: `active`, or why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub bfd_echo: Option<String>,
}

/// An object that the plan was made from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedObject {
    /// Which: kind `Gateway`, `ListenerSet` or `BGPPeer`.
    #[serde(flatten)]
    #[schemars(schema_with = "crate::crd::rules::source")]
    pub object: ObjectRef,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// Its `metadata.uid`: an object that is made again under its old name is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<String>,
}

/// A listener that is not served in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedListener {
    /// The Gateway.
    pub gateway: crate::ObjectKey,
    /// The ListenerSet that it comes from; absent for the Gateway's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_set: Option<crate::ObjectKey>,
    /// Its name.
    pub name: String,
    /// The address.
    #[schemars(with = "String", length(min = 2, max = 45))]
    pub address: IpAddr,
    /// What is amiss.
    #[serde(default)]
    pub fault: ListenerFault,
    /// Why, and what to check.
    pub message: String,
}

impl FailedListener {
    /// The object that it comes from.
    pub fn source(&self) -> ObjectRef {
        match &self.listener_set {
            Some(set) => ObjectRef::new(Kind::ListenerSet, set.clone()),
            None => ObjectRef::new(Kind::Gateway, self.gateway.clone()),
        }
    }
}

/// `Speaker.status.failedListeners[].fault`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ListenerFault {
    /// Its port could not be bound.
    #[default]
    NotBound,
    /// Its port is bound, but no certificate of it is here: handshakes are reset.
    NoCertificate,
}
