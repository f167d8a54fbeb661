//! From a peer of the plan to what the engines are told.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use thiserror::Error;
use vipgate_planner::Link;
use vipgate_planner::bgp::{self, PeerAs, Place};

use crate::bfd;
use crate::bgp::fsm::{self, Restart};
use crate::bgp::wire::Family;

/// How long a router is to keep routes of VIPs that the kernel forwards, without us: a kubelet may have
/// to fetch an image first.
const RESTART_TIME: Duration = Duration::from_secs(120);
/// At a planned stop: how long routers may look for better paths while ours is still there …
const MARK: Duration = Duration::from_millis(500);
/// … and how long they may go on to send here after it was withdrawn.
const SETTLE: Duration = Duration::from_secs(1);

/// All that a session is begun with. When it changes the session begins anew, but for BFD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// As planned, without BFD.
    pub(super) peer: bgp::Peer,
    pub(super) router_id: Ipv4Addr,
    /// Where the peer is, or why that cannot be said.
    pub(super) place: Result<Found, String>,
    /// The index of the VRF's device: sockets of one that is made anew are dead.
    vrf: Option<u32>,
    pub(super) bfd: Option<Beside>,
}

/// Where a peer is, with the index of the interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    At(SocketAddr),
    On(String, u32),
}

/// BFD beside a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beside {
    pub(super) config: bfd::fsm::Config,
    /// Of a session over routers: the least TTL to be received.
    pub(super) multihop: Option<u8>,
    /// Where echo is asked for: by which link, or why there is none.
    pub(super) echo: Option<Result<u32, NoEcho>>,
}

/// Why there is no echo though it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum NoEcho {
    #[error("not used: it is IPv4 single-hop only (RFC 5881), and the router has an IPv6 address")]
    Ipv6,
    #[error("not used: it is IPv4 single-hop only (RFC 5883), and the router may be behind others")]
    Multihop,
    #[error("not used: the router is on no network of this node, so no frame takes it there")]
    Elsewhere,
    #[error("not used: the interface to the router has no Ethernet address")]
    NoEthernet,
}

impl Settings {
    pub(super) fn of(peer: &bgp::Peer, links: &[Link], router_id: Ipv4Addr) -> Self {
        let bfd = peer.bfd.map(|bfd| {
            let multihop = crosses_routers(peer, links).then_some(bfd.minimum_ttl);
            let config = bfd::fsm::Config {
                transmit_interval: bfd.transmit_interval,
                receive_interval: bfd.receive_interval,
                multiplier: bfd.multiplier,
                passive: bfd.passive,
                echo: bfd.echo,
            };
            let echo = bfd.echo.map(|_| echo_link(peer, links, multihop.is_some()));
            Beside { config, multihop, echo }
        });
        let vrf = peer.vrf.as_ref().map(|name| index(name, links)).transpose();
        let (vrf, place) = match vrf {
            Ok(vrf) => (vrf, find(peer, links)),
            Err(why) => (None, Err(format!("spec.vrf: {why}"))),
        };
        Self { peer: bgp::Peer { bfd: None, ..peer.clone() }, router_id, place, vrf, bfd }
    }

    /// Whether a session with the one can go on with the other.
    pub(super) fn same_session(&self, other: &Self) -> bool {
        (&self.peer, self.router_id, &self.place, self.vrf)
            == (&other.peer, other.router_id, &other.place, other.vrf)
    }

    /// The interface, where one is named.
    pub(super) fn device(&self) -> Option<&String> {
        match &self.peer.place {
            Place::At(_, device) => device.as_ref(),
            Place::On(device) => Some(device),
        }
    }

    /// What is offered of graceful restart.
    pub(super) fn restart(&self, surviving: &BTreeSet<Family>) -> Option<Restart> {
        let families = surviving.clone();
        let restart = || Restart { time: RESTART_TIME, restarted: true, families };
        self.peer.graceful_restart.then(restart)
    }

    pub(super) fn session(&self, surviving: &BTreeSet<Family>) -> fsm::Config {
        let peer = &self.peer;
        fsm::Config {
            asn: peer.asn,
            router_id: self.router_id,
            peer_as: match peer.peer_as {
                PeerAs::Exactly(asn) => fsm::PeerAs::Exactly(asn),
                PeerAs::Internal => fsm::PeerAs::Internal,
                PeerAs::External => fsm::PeerAs::External,
            },
            multihop: peer.multihop,
            hold_time: peer.hold_time,
            keepalive_time: peer.keepalive_time,
            connect_time: peer.connect_time,
            passive: peer.passive,
            families: Family::ALL.into(),
            extended_next_hop: true,
            graceful_restart: self.restart(surviving),
            drain_mark: MARK,
            drain_settle: SETTLE,
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn index(name: &str, links: &[Link]) -> Result<u32, String> {
    let link = links.iter().find(|link| link.name == name);
    link.map(|link| link.index).ok_or_else(|| {
        let have: Vec<&str> =
            links.iter().filter(|link| !link.loopback).map(|link| link.name.as_str()).collect();
        format!("this node has no interface {name}: it has {}", have.join(", "))
    })
}

fn find(peer: &bgp::Peer, links: &[Link]) -> Result<Found, String> {
    let index = |name: &str| index(name, links);
    match &peer.place {
        Place::On(name) => Ok(Found::On(name.clone(), index(name)?)),
        Place::At(IpAddr::V6(address), Some(name)) if address.is_unicast_link_local() => {
            Ok(Found::At(SocketAddrV6::new(*address, peer.port, 0, index(name)?).into()))
        }
        Place::At(address, None) if is_link_local(*address) => Err(format!(
            "{address} is a link-local address: say on which interface it is (spec.interface)"
        )),
        Place::At(address, _) => Ok(Found::At(SocketAddr::new(*address, peer.port))),
    }
}

/// The link that frames to a router leave by.
fn echo_link(peer: &bgp::Peer, links: &[Link], multihop: bool) -> Result<u32, NoEcho> {
    let (address, device) = match &peer.place {
        Place::At(address, device) if address.is_ipv4() => (address, device.as_ref()),
        Place::At(..) | Place::On(_) => return Err(NoEcho::Ipv6),
    };
    if multihop {
        return Err(NoEcho::Multihop);
    }
    let networks = links.iter().filter(|link| device.is_none_or(|device| *device == link.name));
    let networks = networks.flat_map(|link| link.addresses.iter().map(move |net| (net, link)));
    let of_router = networks.filter(|(net, _)| net.contains(address));
    let (_, link) = of_router.max_by_key(|(net, _)| net.prefix_len()).ok_or(NoEcho::Elsewhere)?;
    link.mac.map(|_| link.index).ok_or(NoEcho::NoEthernet)
}

/// Whether BFD is to expect routers in between, as FRR decides it: where BGP may, and with a peer of our
/// own AS that is on no network of this node.
fn crosses_routers(peer: &bgp::Peer, links: &[Link]) -> bool {
    let internal = match peer.peer_as {
        PeerAs::Exactly(asn) => asn == peer.asn,
        PeerAs::Internal => true,
        PeerAs::External => false,
    };
    let on_link = match peer.place {
        Place::On(_) => true,
        Place::At(address, _) => {
            is_link_local(address)
                || links.iter().flat_map(|link| &link.addresses).any(|net| net.contains(&address))
        }
    };
    peer.multihop || (internal && !on_link)
}
