//! Connections to endpoints that come from the client's own address (`clientAddress: Preserve`).
//!
//! The socket is bound to the client's address and a port of its own choice before it connects (IP_TRANSPARENT,
//! ip(7)), so the endpoint sees who is there without being told by a PROXY header. What it answers comes back to
//! this socket by rules of the host ([`host`](crate::host)); [`Preserving`] is told whether they are there.
//!
//! What always holds: no client is turned away because its address cannot be preserved. Then the connection comes
//! from the node's address, is counted with the reason ([`NotPreserved`]), and the first of each listener is
//! logged. Where it shows only by silence (the answers take another way), an endpoint that was not reached lately
//! from a client's address is asked again from the node's, in the same attempt budget, and for [`DOUBT`] it is not
//! tried again: so one client in that time waits for a time-out, not each.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustix::io::Errno;
use socket2::SockRef;

use super::connect::{self, Dial};
use super::proxy_protocol::Addresses;

/// How long what was found out about an endpoint counts.
const DOUBT: Duration = Duration::from_secs(30);
/// Ports that are tried when one turns out to be taken, by what the kernel drew.
const PORTS: usize = 3;

/// What all workers know of it.
#[derive(Debug, Default)]
pub(super) struct Preserving {
    /// Whether the host leads answers back.
    pub(super) allowed: AtomicBool,
    /// Connections that are open from a client's address.
    pub(super) open: Arc<AtomicUsize>,
}

impl Preserving {
    /// Counts a connection for as long as what this returns is kept.
    pub(super) fn count(&self) -> Preserved {
        self.open.fetch_add(1, Relaxed);
        Preserved(Arc::clone(&self.open))
    }
}

/// A connection that comes from its client's address.
#[derive(Debug)]
pub(super) struct Preserved(Arc<AtomicUsize>);

impl Drop for Preserved {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Why an endpoint on this node sees the node's address, though the client's is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NotPreserved {
    /// The rules of the host that lead answers back are not in place.
    NoRules,
    /// The client comes by IPv4 and the endpoint has IPv6, or the other way round.
    OtherFamily,
    /// The client is in the endpoint's own network, and would get the answers itself.
    Neighbours,
    /// The kernel refuses a socket with the client's address.
    Refused,
    /// What the endpoint answers to the client's address does not come by this node.
    Unanswered,
}

impl NotPreserved {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 5] =
        [Self::NoRules, Self::OtherFamily, Self::Neighbours, Self::Refused, Self::Unanswered];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRules => "no_rules",
            Self::OtherFamily => "other_family",
            Self::Neighbours => "neighbours",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }
}

impl fmt::Display for NotPreserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRules => {
                "the host's rules that lead answers back are not in place: see what the log says of nftables and \
                 `ip rule`"
            }
            Self::OtherFamily => "client and endpoint have addresses of different families",
            Self::Neighbours => {
                "the client is in the endpoint's own network, where answers would go to it directly"
            }
            Self::Refused => {
                "the kernel refuses a socket with the client's address: give the process CAP_NET_ADMIN or \
                 CAP_NET_RAW"
            }
            Self::Unanswered => {
                "what the endpoint answers to the client's address does not come by this node: check its default \
                 route, and rp_filter on the way"
            }
        })
    }
}

/// From which address an attempt comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Source {
    /// The node's, as it is wanted.
    #[default]
    Node,
    /// The client's.
    Client,
    /// The node's, though the client's is wanted.
    Instead(NotPreserved),
}

/// What is known of an endpoint that is on this node.
#[derive(Debug)]
pub(super) struct Answers {
    since: Instant,
    /// Milliseconds since then and one more; 0: never.
    came: AtomicU64,
    stayed_away: AtomicU64,
}

impl Default for Answers {
    fn default() -> Self {
        let (came, stayed_away) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { since: Instant::now(), came, stayed_away }
    }
}

impl Answers {
    /// It was connected to from a client's address.
    pub(super) fn came(&self, now: Instant) {
        self.came.store(self.at(now), Relaxed);
    }

    /// It was connected to from the node's address after it had not been from a client's.
    pub(super) fn stayed_away(&self, now: Instant) {
        self.stayed_away.store(self.at(now), Relaxed);
    }

    /// Whether it answers clients' addresses, as was seen lately.
    fn are_sure(&self, now: Instant) -> bool {
        self.lately(&self.came, now)
    }

    /// Whether it does not, likewise.
    fn are_lost(&self, now: Instant) -> bool {
        !self.are_sure(now) && self.lately(&self.stayed_away, now)
    }

    fn at(&self, now: Instant) -> u64 {
        let millis = now.saturating_duration_since(self.since).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX - 1) + 1
    }

    fn lately(&self, event: &AtomicU64, now: Instant) -> bool {
        let at = event.load(Relaxed);
        at != 0 && Duration::from_millis(self.at(now).saturating_sub(at)) < DOUBT
    }
}

impl Dial {
    /// Starts an attempt, from the client's address where that is wanted and can be.
    pub(super) fn attempt(
        &mut self,
        client: Option<Addresses>,
        preserving: &Preserving,
        now: Instant,
    ) -> Result<OwnedFd, Errno> {
        let address = self.endpoint().address;
        self.source = self.source_for(client, preserving, now);
        if let (Source::Client, Some(client)) = (self.source, client) {
            match start_from(client.source.ip(), address) {
                Err(error) if !connect::is_exhaustion(error) => {
                    tracing::debug!(client = %client.source, endpoint = %address, %error, "no socket with the client's address");
                    self.source = Source::Instead(NotPreserved::Refused);
                }
                started => return started,
            }
        }
        connect::start(address)
    }

    fn source_for(
        &self,
        client: Option<Addresses>,
        preserving: &Preserving,
        now: Instant,
    ) -> Source {
        let (Some(network), Some(Addresses { source, destination })) = (self.preserved(), client)
        else {
            return Source::Node;
        };
        let (client, endpoint) = (source.ip(), self.endpoint());
        // The host itself has no other address than the node's; and what it connects to it connects from.
        if client == destination.ip() || client.is_loopback() {
            return Source::Node;
        }
        let is_neighbour = |net: IpNet| net.contains(&client);
        let why = if client.is_ipv4() != endpoint.address.is_ipv4() {
            NotPreserved::OtherFamily
        } else if client == endpoint.address.ip() || network.is_some_and(is_neighbour) {
            NotPreserved::Neighbours
        } else if !preserving.allowed.load(Relaxed) {
            NotPreserved::NoRules
        } else if self.was_asked() || endpoint.answers.are_lost(now) {
            NotPreserved::Unanswered
        } else {
            return Source::Client;
        };
        Source::Instead(why)
    }

    /// Whether an attempt that met with silence is to be made again from the node's address: it came from the
    /// client's, and it is not known that the endpoint answers that.
    pub(super) fn doubts(&self, error: Errno, now: Instant) -> bool {
        let doubtful = self.source == Source::Client && !self.endpoint().answers.are_sure(now);
        error == Errno::TIMEDOUT && doubtful
    }
}

/// Starts to connect from an address that need not be this host's.
fn start_from(client: IpAddr, to: SocketAddr) -> Result<OwnedFd, Errno> {
    let mut result = Err(Errno::ADDRNOTAVAIL);
    for _ in 0..PORTS {
        let socket = connect::open(to)?;
        bind(&socket, client)?;
        result = connect::reach(socket, to);
        // The port is one of a connection that lately ended, from the same address to the same endpoint.
        if !matches!(result, Err(Errno::ADDRNOTAVAIL)) {
            break;
        }
    }
    result
}

fn bind(socket: &OwnedFd, client: IpAddr) -> Result<(), Errno> {
    let socket = SockRef::from(socket);
    let bound = || {
        match client {
            IpAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
            IpAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
        }
        // So that ports of connections that are over, or go elsewhere, do not run out.
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::new(client, 0).into())
    };
    bound().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_out_counts_for_a_while_and_success_counts_more() {
        let answers = Answers::default();
        let now = answers.since;
        assert!(!answers.are_sure(now) && !answers.are_lost(now));
        answers.stayed_away(now);
        assert!(answers.are_lost(now) && answers.are_lost(now + DOUBT - Duration::from_millis(1)));
        assert!(!answers.are_lost(now + DOUBT));
        answers.came(now);
        assert!(answers.are_sure(now) && !answers.are_lost(now));
        assert!(!answers.are_sure(now + DOUBT));
    }
}
