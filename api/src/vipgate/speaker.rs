//! Speaker: what one node really serves and announces.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::k8s::ObjectMeta;
use crate::{Kind, ObjectRef};

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
    /// The Gateways and ListenerSets that the plan was made from, each with the
    /// `metadata.generation` that is served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::crd::rules::MANY))]
    pub plan: Vec<PlannedObject>,
    /// Listeners that are in the plan but are not served in full; all others are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::crd::rules::MANY))]
    pub failed_listeners: Vec<FailedListener>,
    /// Where the other speakers of the group reach this one: IP address and UDP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 60))]
    pub group_address: Option<String>,
    /// Names of the speakers that this one sees, itself included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::crd::rules::MANY))]
    pub members: Vec<String>,
    /// What went wrong last, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub errors: Vec<String>,
    /// Whether this is not all, for want of room: VIPs and objects that are missing may be served
    /// here or not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
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
    /// Serving: interfaces that it is announced on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::crd::rules::MANY))]
    pub interfaces: Vec<String>,
    /// Standby: the speaker that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub owner: Option<String>,
    /// Conflict, or serving and defended: the MAC of the other host that claims it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict_mac: Option<String>,
    /// Failed or waiting: why, and what to check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
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
    /// Could not be put on the host or announced.
    Failed,
}

/// An object that the plan was made from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedObject {
    /// Which: kind `Gateway` or `ListenerSet`.
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
