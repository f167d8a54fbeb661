//! What a node says by BGP, and to whom: the part of a [`Plan`](crate::Plan) that routers see.
//!
//! Plain data. Sessions are the node's own, by the BGPPeers that select it; routes belong to VIPs
//! ([`Vip::routes`](crate::Vip::routes)), so that one is announced exactly while its VIP serves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;
use vipgate_api::{ObjectKey, Reason};

/// The sessions that this node holds, by BGPPeer.
pub type Peers = BTreeMap<ObjectKey, Peer>;

/// A session with a router. Every default is filled in already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Our AS number towards it: `localASN` where given, `myASN` else.
    pub asn: u32,
    /// Its AS number.
    pub peer_as: PeerAs,
    /// Where it is.
    pub place: Place,
    /// The VRF that it is in, by its device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// The TCP port it listens on.
    pub port: u16,
    /// Our address; the kernel's choice when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Our BGP identifier; derived by the node when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router_id: Option<Ipv4Addr>,
    /// Offered; the smaller of both sides counts. Zero is for ever.
    pub hold_time: Duration,
    /// At most this long between KEEPALIVEs; a third of the hold time when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<Duration>,
    /// At most this long between attempts to connect.
    pub connect_time: Duration,
    /// It calls, and we never do.
    pub passive: bool,
    /// A peer of another AS may be behind routers.
    pub multihop: bool,
    /// Refuse what crossed a router (RFC 5082).
    pub ttl_security: bool,
    /// Offer graceful restart.
    pub graceful_restart: bool,
    /// The key of TCP MD5.
    #[serde(skip)]
    pub password: Option<Password>,
    /// BFD beside the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bfd: Option<Bfd>,
}

/// The AS a peer must be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PeerAs {
    /// This one.
    Exactly(u32),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// At an address; reached by this interface, which a link-local address needs.
    At(IpAddr, Option<String>),
    /// Whoever is the router on this link (unnumbered).
    On(String),
}

/// The key of a session. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Vec<u8>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A BFD session, from a BFDProfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bfd {
    /// Send this often, if the other side can take it.
    pub transmit_interval: Duration,
    /// Take packets this often.
    pub receive_interval: Duration,
    /// So many of ours may be missed.
    pub multiplier: u8,
    /// Send nothing until the other side does.
    pub passive: bool,
    /// Of a multihop session: the least TTL to be received.
    pub minimum_ttl: u8,
    /// Send echo packets this often, and return those of the other side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<Duration>,
}

/// How a VIP is announced, to some of the peers: it, or the shorter prefix that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// What is announced.
    pub prefix: IpNet,
    /// To whom: keys of [`Peers`], never empty.
    pub peers: BTreeSet<ObjectKey>,
    /// For peers of our own AS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// Communities (RFC 1997), as numbers.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub communities: BTreeSet<u32>,
    /// Large communities (RFC 8092).
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub large_communities: BTreeSet<[u32; 3]>,
}

/// What a session does, as the node reports it.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct PeerReport {
    /// `Idle`, `Connect` (until it is established) or `Established` (RFC 4271 section 8.2.2).
    pub state: String,
    /// Since when it is established, or not (RFC 3339).
    pub since: String,
    /// Where it is, as far as known: address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The peer's AS number, while established.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_as: Option<u32>,
    /// What both sides can, while established, in the field's words: `ipv4-unicast`, `4-byte-as` ….
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Hold time in seconds, as negotiated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<u16>,
    /// How many prefixes the peer was told.
    #[serde(default)]
    pub prefixes: u32,
    /// Why the last attempt or session ended, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Why there is no session, where the BGPPeer cannot be followed here; `last_error` says it in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub reason: Option<Reason>,
    /// `Up`, `Down`, `Init`, `AdminDown` (RFC 5880), where BFD is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<String>,
    /// Where the echo function of BFD is asked for: `active`, or why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd_echo: Option<String>,
}

impl PeerReport {
    /// Whether routes go over it.
    pub fn is_established(&self) -> bool {
        self.state == "Established"
    }
}
