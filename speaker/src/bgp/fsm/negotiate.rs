//! What two OPENs agree on; a value, made once per session.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::config::{Config, PeerAs};
use super::{LEAST_SEND_HOLD, Output, Timer};
use crate::bgp::wire::{Cease, Encoding, Family, GracefulRestart, NextHops, Notification, Open};
use crate::bgp::wire::{OPEN_ERROR, open_error};

/// A negotiated session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Our AS number.
    pub asn: u32,
    /// The peer's.
    pub peer_as: u32,
    /// The peer's BGP identifier.
    pub peer_router_id: Ipv4Addr,
    /// Zero is for ever.
    pub hold: Duration,
    /// Zero is never.
    pub keepalive: Duration,
    /// What both have.
    pub families: BTreeSet<Family>,
    /// The peer reads AS numbers of four bytes.
    pub as4: bool,
    /// IPv6 next hops for IPv4 prefixes.
    pub extended_next_hop: bool,
    /// The peer can ask for everything again, and be asked.
    pub route_refresh: bool,
    /// What the peer says about graceful restart.
    pub graceful_restart: Option<GracefulRestart>,
    /// All routes were withdrawn, the end is near.
    pub(super) withdrawn: bool,
}

impl Session {
    /// What the peer's OPEN and our settings agree on, or what is wrong with it.
    pub(super) fn negotiate(
        config: &Config,
        open: &Open,
        on_link: bool,
    ) -> Result<Session, (Notification, String)> {
        check_as(config, open.asn)?;
        let internal = open.asn == config.asn;
        if !internal && !on_link && !config.multihop {
            let why = "it is of another AS and on no network of this node: set ebgpMultiHop if \
                       that is wanted";
            return Err((Notification::cease(Cease::ConnectionRejected, ""), why.to_owned()));
        }
        if open.router_id.is_unspecified() || (internal && open.router_id == config.router_id) {
            let why = format!("its router ID {} is none or ours", open.router_id);
            return Err((refused(open_error::IDENTIFIER), why));
        }
        if matches!(open.hold_time, 1 | 2) {
            let why = format!("it wants a hold time of {} s, 3 is the least", open.hold_time);
            return Err((refused(open_error::HOLD_TIME), why));
        }
        let theirs = &open.capabilities;
        let mut families = theirs.families.clone();
        if families.is_empty() {
            families.insert(Family::Ipv4);
        }
        families.retain(|family| config.families.contains(family));
        if families.is_empty() {
            let why = "no address family in common: activate IPv4 or IPv6 unicast for this \
                       neighbour on the router";
            return Err((refused(open_error::CAPABILITY), why.to_owned()));
        }
        let hold = config.hold_time.min(Duration::from_secs(u64::from(open.hold_time)));
        let third = hold / 3;
        Ok(Session {
            asn: config.asn,
            peer_as: open.asn,
            peer_router_id: open.router_id,
            hold,
            keepalive: config.keepalive_time.map_or(third, |time| time.min(third)),
            families,
            as4: theirs.as4,
            extended_next_hop: config.extended_next_hop && theirs.extended_next_hop,
            route_refresh: theirs.route_refresh,
            graceful_restart: theirs.graceful_restart.clone(),
            withdrawn: false,
        })
    }

    /// Whether the peer is of our AS.
    #[must_use]
    pub fn internal(&self) -> bool {
        self.asn == self.peer_as
    }

    /// How routes are written, with these next hops.
    #[must_use]
    pub fn encoding(&self, next_hops: NextHops) -> Encoding {
        Encoding {
            asn: self.asn,
            internal: self.internal(),
            as4: self.as4,
            extended_next_hop: self.extended_next_hop,
            next_hops,
        }
    }

    pub(super) fn hold_timer(&self) -> Option<Output> {
        (!self.hold.is_zero()).then_some(Output::Set(Timer::Hold, self.hold))
    }

    pub(super) fn keepalive_timer(&self) -> Option<Output> {
        (!self.keepalive.is_zero()).then_some(Output::Set(Timer::Keepalive, self.keepalive))
    }

    pub(super) fn send_hold_timer(&self) -> Option<Output> {
        let time = (self.hold * 2).max(LEAST_SEND_HOLD);
        (!self.hold.is_zero()).then_some(Output::Set(Timer::SendHold, time))
    }
}

fn check_as(config: &Config, asn: u32) -> Result<(), (Notification, String)> {
    let (fits, wanted) = match config.peer_as {
        PeerAs::Exactly(wanted) => (asn == wanted, wanted.to_string()),
        PeerAs::Internal => (asn == config.asn, format!("ours, {}", config.asn)),
        PeerAs::External => (asn != config.asn, format!("any but ours, {}", config.asn)),
    };
    if fits && asn != 0 {
        return Ok(());
    }
    let why = format!("it is of AS {asn}, the BGPPeer asks for {wanted}");
    Err((refused(open_error::PEER_AS), why))
}

fn refused(subcode: u8) -> Notification {
    Notification::new(OPEN_ERROR, subcode)
}
