//! The node as the planner sees it: what it is, and what it reports.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vipgate_api::ObjectRef;
use vipgate_api::selector::Labels;

use crate::bgp::PeerReport;
use crate::exclusion::Exclusion;
use crate::plan::{ListenerId, Source};

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = MacAddrError;

    /// Reads six pairs of hex digits with colons between them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(MacAddrError)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| MacAddrError)?;
        }
        parts.next().is_none().then_some(Self(octets)).ok_or(MacAddrError)
    }
}

/// A text that is no Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ethernet address: write six pairs of hex digits, such as 02:00:00:00:00:01")]
pub struct MacAddrError;

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// This node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Name, as `--node` gives it.
    pub name: String,
    /// Labels, as `--label` gives them.
    pub labels: Labels,
    /// Network interfaces, by index.
    pub links: Vec<Link>,
    /// Why its VIPs are better on another node, if they are: it is drained, or not ready.
    #[serde(default)]
    pub gives_way: Option<Exclusion>,
}

/// Another node that could have VIPs, as far as that can be told from elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbour {
    /// Labels.
    pub labels: Labels,
    /// Whether its VIPs are better on another node.
    pub gives_way: bool,
}

/// The other nodes that could have VIPs, by name.
pub type Neighbours = BTreeMap<String, Neighbour>;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Kernel index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Administratively up and with carrier.
    pub up: bool,
    /// Whether it is `lo`.
    pub loopback: bool,
    /// Ethernet address; absent on links that speak no ARP.
    pub mac: Option<MacAddr>,
    /// Addresses of the host on it, with prefix length; never VIPs of ours.
    pub addresses: Vec<IpNet>,
}

/// What this node really does; the planner turns it into `Programmed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// State of each VIP of the plan.
    pub vips: BTreeMap<IpAddr, VipState>,
    /// State of each listener of the plan.
    #[serde(with = "listener_states")]
    pub listeners: BTreeMap<ListenerId, ListenerState>,
    /// Since when VIPs are served here (RFC 3339).
    #[serde(default)]
    pub since: BTreeMap<IpAddr, String>,
    /// Of the plan's VIPs, those for which this node is preferred, and how much.
    #[serde(default)]
    pub weights: BTreeMap<IpAddr, u32>,
    /// VIPs whose candidates are those of one of their users: no node fits all.
    #[serde(default)]
    pub compromises: BTreeMap<IpAddr, Exclusion>,
    /// Why the VIPs of this node go to others that can have them, if they do.
    #[serde(default)]
    pub gives_way: Option<Exclusion>,
    /// VIPs that serve here while another host claims them too, as seen on the wire lately.
    #[serde(default)]
    pub contested: BTreeMap<IpAddr, MacAddr>,
    /// The BGP sessions, by BGPPeer (`namespace/name`).
    #[serde(default)]
    pub peers: BTreeMap<String, PeerReport>,
    /// VIPs of which routers were told, and how many sessions have them.
    #[serde(default)]
    pub routed: BTreeMap<IpAddr, u32>,
    /// [`Plan::sources`](crate::Plan::sources) of the plan that this is about.
    #[serde(skip)]
    pub sources: BTreeMap<ObjectRef, Source>,
    /// Whether there is more than is said here, because a report has only so much room: what is
    /// missing is unknown.
    #[serde(default)]
    pub truncated: bool,
}

/// State of a VIP on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VipState {
    /// Asking the wire whether somebody has it.
    Probing,
    /// Somebody has it.
    Conflict(MacAddr),
    /// On the host, and announced on these interfaces (none for a loopback VIP).
    Serving(Vec<String>),
    /// Another member of the group has it, and this node would take it over.
    Standby {
        /// The name of that member.
        owner: String,
        /// Whether it says that it announces it.
        announced: bool,
    },
    /// This node is no candidate for it.
    Excluded {
        /// Why.
        why: Exclusion,
        /// The member of the group that has it, if one has.
        owner: Option<String>,
        /// Whether that says that it announces it.
        announced: bool,
    },
    /// No member of the group has it yet; the text says what is waited for.
    Waiting(String),
    /// Could not be put on the host or announced; the text says what to check.
    Failed(String),
}

impl VipState {
    /// Whether it is announced, here or by another member of the group.
    pub fn is_announced(&self) -> bool {
        matches!(
            self,
            Self::Serving(_)
                | Self::Standby { announced: true, .. }
                | Self::Excluded { announced: true, .. }
        )
    }
}

/// State of a listener on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListenerState {
    /// The socket listens.
    Bound,
    /// The socket listens, but the listener ends TLS and no certificate is here: handshakes are
    /// reset.
    NoCertificate,
    /// It does not; the text says why and what to check.
    Failed(String),
}

impl ListenerState {
    /// Whether the socket listens.
    pub fn listens(&self) -> bool {
        match self {
            Self::Bound | Self::NoCertificate => true,
            Self::Failed(_) => false,
        }
    }
}

/// JSON keys are strings, so listener states travel as a list of pairs.
mod listener_states {
    use serde::{Deserializer, Serializer};

    use super::{BTreeMap, Deserialize, ListenerId, ListenerState, Serialize};

    pub(super) fn serialize<S: Serializer>(
        states: &BTreeMap<ListenerId, ListenerState>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        states.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<ListenerId, ListenerState>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}
