//! What is known of a session: for reports, and live counters for whoever measures.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use ipnet::IpNet;
use tokio::sync::watch;
use vipgate_api::ObjectKey;
use vipgate_planner::Refusal;
use vipgate_planner::bgp::PeerReport;

use super::settings::Beside;
use crate::bfd;
use crate::bfd::fsm::Echoing;
use crate::bgp::fsm::{Session, State};
use crate::bgp::io::Status;
use crate::bgp::rib::Told;
use crate::bgp::wire::Family;

/// The sessions, by BGPPeer.
pub type Board = BTreeMap<ObjectKey, Known>;

/// What is known of a session.
#[derive(Clone, Debug)]
pub struct Known {
    /// For people.
    pub report: PeerReport,
    told: Option<Told>,
    live: Option<Live>,
}

/// A session that runs.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) bgp: watch::Receiver<Status>,
    pub(super) bfd: watch::Receiver<bfd::io::Status>,
}

/// Counters of a session, as they are now. They begin with the session's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Whether it is established.
    pub up: bool,
    /// How often it was.
    pub established: u64,
    /// Prefixes that the router has from us.
    pub prefixes: u64,
    /// Prefixes that fit no message.
    pub refused: u64,
    /// UPDATEs that came; none is used.
    pub updates_received: u64,
    /// Those of them with a defect.
    pub defects: u64,
    /// How often BFD came up.
    pub bfd_ups: u64,
    /// How often it went down.
    pub bfd_downs: u64,
}

impl Known {
    /// A session that cannot be begun.
    pub(super) fn failed(why: &str) -> Self {
        let report = PeerReport {
            state: "Idle".to_owned(),
            since: in_words(Instant::now()),
            address: None,
            peer_as: None,
            capabilities: Vec::new(),
            hold_time: None,
            prefixes: 0,
            last_error: Some(why.to_owned()),
            reason: None,
            bfd: None,
            bfd_echo: None,
        };
        Self { report, told: None, live: None }
    }

    /// A session that cannot be asked for.
    pub(super) fn refused(why: &Refusal) -> Self {
        let mut known = Self::failed(&why.message);
        known.report.reason = Some(why.reason);
        known
    }

    /// A session that runs; since when it is established or not is said in words already.
    pub(super) fn running(live: &Live, since: &str, place: &Place<'_>) -> Self {
        let status = live.bgp.borrow().clone();
        let session = status.session.as_ref();
        let routes = status.routes;
        let refused = status.refused.map(|why| {
            let prefixes = if routes.refused == 1 { "a prefix is" } else { "some prefixes are" };
            format!("{prefixes} not told: {why}")
        });
        let bfd = *live.bfd.borrow();
        let report = PeerReport {
            state: name(status.state).to_owned(),
            since: since.to_owned(),
            address: place.address.map(|address| with_interface(address, place.device)),
            peer_as: session.map(|session| session.peer_as),
            capabilities: session.map(|one| capabilities(one, place.restart)).unwrap_or_default(),
            hold_time: session.map(|one| u16::try_from(one.hold.as_secs()).unwrap_or(u16::MAX)),
            prefixes: u32::try_from(routes.sent).unwrap_or(u32::MAX),
            last_error: status.last_error.or(refused).or_else(|| place.trouble.clone()),
            reason: None,
            bfd: place.beside.map(|_| format!("{:?}", bfd.state)),
            bfd_echo: place.beside.and_then(|beside| echo(beside, &bfd)),
        };
        Self { report, told: status.told, live: Some(live.clone()) }
    }

    /// Whether the router was told of a prefix.
    #[must_use]
    pub fn knows(&self, prefix: &IpNet) -> bool {
        self.told.as_ref().is_some_and(|told| told.has(prefix))
    }

    /// Counters, as they are now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let Some(Live { bgp, bfd }) = &self.live else { return Counters::default() };
        let (bgp, bfd) = (bgp.borrow(), bfd.borrow());
        Counters {
            up: bgp.state >= State::Established,
            established: bgp.established,
            prefixes: bgp.routes.sent as u64,
            refused: bgp.routes.refused as u64,
            updates_received: bgp.received.updates,
            defects: bgp.received.defects,
            bfd_ups: bfd.ups,
            bfd_downs: bfd.downs,
        }
    }

    /// Whether somebody who looks would see a difference.
    pub(super) fn differs(&self, other: &Self) -> bool {
        (&self.report, &self.told) != (&other.report, &other.told)
    }
}

/// What a report has that the session itself does not know.
pub(super) struct Place<'a> {
    /// Where the router is, as far as known.
    pub(super) address: Option<SocketAddr>,
    /// The interface, where one is named.
    pub(super) device: Option<&'a String>,
    /// BFD, where it is wanted.
    pub(super) beside: Option<&'a Beside>,
    /// Why there is no BFD although it is wanted.
    pub(super) trouble: Option<String>,
    /// Whether graceful restart is offered.
    pub(super) restart: bool,
}

/// The name that RFC 4271 has for a state. All of an attempt, and the time between two, is connecting: a
/// Speaker object is not written anew, and read by all others, with each step of a peer that refuses us.
fn name(state: State) -> &'static str {
    match state {
        State::Idle => "Idle",
        State::Waiting | State::Connect | State::OpenSent | State::OpenConfirm => "Connect",
        State::Established | State::Draining => "Established",
    }
}

/// What the echo function does, where it is asked for.
fn echo(beside: &Beside, bfd: &bfd::io::Status) -> Option<String> {
    if let Err(why) = beside.echo? {
        return Some(why.to_string());
    }
    let words = match bfd.echo {
        Echoing::Active => "active",
        Echoing::NotReturned => {
            "not active: the router returns none (its Required Min Echo RX Interval is 0)"
        }
        Echoing::Failed => "failed: they do not come back (Echo Function Failed)",
        Echoing::NotUp => "not active yet",
        Echoing::NoPath | Echoing::Off => {
            "not active: no BFD packet of the router was seen by a packet socket on its link"
        }
    };
    Some(words.to_owned())
}

fn capabilities(session: &Session, restart: bool) -> Vec<String> {
    let families = session.families.iter().map(|family| match family {
        Family::Ipv4 => "ipv4-unicast",
        Family::Ipv6 => "ipv6-unicast",
    });
    let others = [
        (session.as4, "4-byte-as"),
        (session.extended_next_hop, "extended-next-hop"),
        (session.route_refresh, "route-refresh"),
        (restart && session.graceful_restart.is_some(), "graceful-restart"),
    ];
    let others = others.into_iter().filter_map(|(has, name)| has.then_some(name));
    families.chain(others).map(str::to_owned).collect()
}

/// A link-local address belongs to an interface, which people know by its name.
fn with_interface(address: SocketAddr, device: Option<&String>) -> String {
    match (address, device) {
        (SocketAddr::V6(v6), Some(device)) if v6.ip().is_unicast_link_local() => {
            format!("[{}%{device}]:{}", v6.ip(), v6.port())
        }
        _ => address.to_string(),
    }
}

/// A moment, as people write it.
pub(crate) fn in_words(moment: Instant) -> String {
    let then = jiff::Timestamp::now().checked_sub(moment.elapsed());
    let then = then.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
