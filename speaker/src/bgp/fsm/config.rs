//! What a session is told before it begins.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::bgp::wire::{Capabilities, Family, GracefulRestart, Open};

/// The AS a peer must be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAs {
    /// This one.
    Exactly(u32),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

/// Graceful restart as we offer it (RFC 4724): we are the one that restarts, never the helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// How long the peer is to keep our routes without us; whole seconds, at most 4095.
    pub time: Duration,
    /// This process follows another one whose routes the peer still has.
    pub restarted: bool,
    /// Families of which all that is announced is forwarded without us. The others are not offered:
    /// their routes go when the session does.
    pub families: BTreeSet<Family>,
}

/// Settings of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Our AS number towards this peer.
    pub asn: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// The peer's AS.
    pub peer_as: PeerAs,
    /// A peer of another AS may be behind routers.
    pub multihop: bool,
    /// Offered; the smaller one of both sides counts. Zero is for ever.
    pub hold_time: Duration,
    /// At most this long between KEEPALIVEs; a third of the hold time when not given.
    pub keepalive_time: Option<Duration>,
    /// At most this long between attempts to connect; of a passive session, after this long without a
    /// call it is said.
    pub connect_time: Duration,
    /// The peer calls, and we never do.
    pub passive: bool,
    /// What we have to announce.
    pub families: BTreeSet<Family>,
    /// Offer IPv6 next hops for IPv4 prefixes (RFC 8950).
    pub extended_next_hop: bool,
    /// Offer graceful restart.
    pub graceful_restart: Option<Restart>,
    /// How long routes stay marked before they are withdrawn, at a planned stop.
    pub drain_mark: Duration,
    /// How long the session goes on after that.
    pub drain_settle: Duration,
}

impl Config {
    /// The families for which graceful restart is offered.
    pub(super) fn surviving(&self) -> impl Iterator<Item = Family> {
        let restart = self.graceful_restart.iter();
        let families = restart.flat_map(|restart| &restart.families).copied();
        families.filter(|family| self.families.contains(family))
    }

    /// Our OPEN. `established_before`: in the life of this process.
    pub(super) fn open(&self, established_before: bool) -> Open {
        let restart = self.graceful_restart.as_ref().map(|restart| GracefulRestart {
            restarting: restart.restarted && !established_before,
            time: u16::try_from(restart.time.as_secs()).unwrap_or(u16::MAX).min(0x0fff),
            families: self.surviving().map(|family| (family, true)).collect(),
        });
        let restart = restart.filter(|restart| !restart.families.is_empty());
        Open {
            asn: self.asn,
            hold_time: u16::try_from(self.hold_time.as_secs()).unwrap_or(u16::MAX),
            router_id: self.router_id,
            capabilities: Capabilities {
                families: self.families.clone(),
                as4: true,
                route_refresh: true,
                extended_next_hop: self.extended_next_hop,
                graceful_restart: restart,
                others: BTreeSet::new(),
            },
        }
    }
}
