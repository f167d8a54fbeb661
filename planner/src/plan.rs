//! The plan: what this node has to make true. Plain data, compared and swapped as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vipgate_api::ObjectKey;

/// Everything this node has to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Addresses to hold.
    pub vips: BTreeMap<IpAddr, Vip>,
    /// Sockets to listen on.
    pub listeners: Vec<Listener>,
}

/// One virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Vip {
    /// The address.
    pub address: IpAddr,
    /// Whether the wire has to be asked first (RFC 5227): the claim is new.
    pub probe: bool,
    /// How the address becomes reachable.
    pub announce: Announce,
}

/// How an address becomes reachable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Announce {
    /// In 127.0.0.0/8: the kernel has it already; nothing to put on the host, nothing to say.
    Loopback,
    /// By ARP on these interfaces.
    Layer2(Vec<String>),
    /// Not from this node; the text says why.
    Nowhere(String),
}

/// Which socket: a listener of a Gateway on one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ListenerId {
    /// The Gateway.
    pub gateway: ObjectKey,
    /// The listener's name (`sectionName`).
    pub name: String,
    /// The address.
    pub address: IpAddr,
}

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listener {} on {}", self.gateway, self.name, self.address)
    }
}

/// One socket that accepts TCP connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Which.
    pub id: ListenerId,
    /// Where it listens.
    pub bind: SocketAddr,
    /// Where new connections go. Without a target they are accepted and reset.
    pub target: Option<Arc<Target>>,
    /// Every route that is attached, also those that an older one supersedes: a connection lives
    /// on as long as its route is in here.
    pub attached: BTreeSet<ObjectKey>,
}

/// Where a route sends connections: one share is picked by weight over all of them, then an
/// endpoint inside it. A picked share without endpoints resets the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The TCPRoute.
    pub route: ObjectKey,
    /// The backendRefs in the order of the route.
    pub shares: Vec<BackendShare>,
}

/// One backendRef with its weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendShare {
    /// For people: `Service default/web:80`.
    pub backend: String,
    /// Share of the connections is `weight / sum of weights`.
    pub weight: u32,
    /// Usable endpoints, sorted; empty means that this share is reset.
    pub endpoints: Vec<Endpoint>,
    /// Why there are no endpoints, when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
}

/// Where one connection can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Endpoint(pub SocketAddr);
