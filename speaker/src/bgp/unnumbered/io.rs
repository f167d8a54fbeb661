//! The task of one interface: sends our advertisements, hears those of the router.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::neighbour::Neighbour;
use super::wire;

/// As often as FRR.
const INTERVAL: Duration = Duration::from_secs(10);
/// At first, and after a failure to send: until the link is up and the other side listens.
const EAGER: Duration = Duration::from_secs(1);
/// How many are sent eagerly.
const EAGER_COUNT: u32 = 5;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Messages taken before ours has its turn.
const BUDGET: usize = 16;

/// Why a link cannot be listened to.
#[derive(Debug, Error)]
pub enum DiscoveryError {
    /// No such interface.
    #[error("there is no interface {0}: check `interface` of the BGPPeer against `ip link`")]
    NoSuchLink(String),
    /// The process may not open raw sockets.
    #[error(
        "not permitted to send router advertisements on {0}: CAP_NET_RAW is missing; run as root \
         or grant the capability"
    )]
    Permission(String),
    /// Something else.
    #[error("no ICMPv6 socket for {0}: {1}")]
    Socket(String, #[source] io::Error),
}

/// The search for the router on an interface. Dropping it, and all its receivers, ends it.
#[derive(Debug)]
pub struct Discovery {
    found: watch::Receiver<Option<SocketAddrV6>>,
}

impl Discovery {
    /// Begins, on a task of `tracker`. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When there is no such interface, or no socket for it.
    pub fn start(interface: &str, tracker: &TaskTracker) -> Result<Discovery, DiscoveryError> {
        let (socket, index) = open(interface)?;
        let (reports, found) = watch::channel(None);
        let name = interface.to_owned();
        tracker.spawn(Task { name, socket, index, neighbour: Neighbour::default(), reports }.run());
        Ok(Discovery { found })
    }

    /// The router's link-local address, with the interface, once it was heard.
    #[must_use]
    pub fn found(&self) -> watch::Receiver<Option<SocketAddrV6>> {
        self.found.clone()
    }
}

struct Task {
    name: String,
    /// A raw socket; for the runtime one kind of datagrams is as good as another.
    socket: UdpSocket,
    index: u32,
    neighbour: Neighbour,
    reports: watch::Sender<Option<SocketAddrV6>>,
}

impl Task {
    async fn run(mut self) {
        let mut sent = 0_u32;
        let mut next = tokio::time::Instant::now();
        loop {
            tokio::select! {
                biased;
                () = self.reports.closed() => return,
                () = tokio::time::sleep_until(next) => {
                    sent = if self.send() { sent.saturating_add(1) } else { 0 };
                    next += if sent < EAGER_COUNT { EAGER } else { INTERVAL };
                }
                ready = self.socket.readable() => match ready {
                    Ok(()) => if self.receive() {
                        // The router has come, or come back: it is to hear of us at once.
                        (sent, next) = (0, tokio::time::Instant::now());
                    },
                    Err(_runtime_ends) => return,
                },
            }
        }
    }

    fn send(&self) -> bool {
        let to = SockAddr::from(SocketAddrV6::new(ALL_NODES, 0, 0, self.index));
        let raw = socket2::SockRef::from(&self.socket);
        match raw.send_to(&wire::advertisement(), &to) {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(interface = %self.name, %error, "no router advertisement sent");
                false
            }
        }
    }

    /// Takes what has come; whether the neighbour is another one now.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 1500];
        let mut changed = false;
        for _ in 0..BUDGET {
            let Ok((length, from)) = self.socket.try_recv_from(&mut buffer) else { break };
            let IpAddr::V6(address) = from.ip() else { continue };
            if wire::is_advertisement(&buffer[..length])
                && self.neighbour.heard(address, Instant::now())
            {
                tracing::info!(interface = %self.name, router = %address, "found the router");
                let place = SocketAddrV6::new(address, 0, 0, self.index);
                self.reports.send_replace(Some(place));
                changed = true;
            }
        }
        changed
    }
}

fn open(interface: &str) -> Result<(UdpSocket, u32), DiscoveryError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => DiscoveryError::Permission(interface.to_owned()),
        _ if error.raw_os_error() == Some(libc::ENODEV) => {
            DiscoveryError::NoSuchLink(interface.to_owned())
        }
        _ => DiscoveryError::Socket(interface.to_owned(), error),
    };
    let opened = || -> io::Result<(UdpSocket, u32)> {
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6))?;
        socket.attach_filter(&filter())?;
        // What came before the filter was there.
        let mut early = [0; 1];
        while (&socket).read(&mut early).is_ok() {}
        let index = rustix::net::netdevice::name_to_index(&socket, interface)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_multicast_hops_v6(255)?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_multicast_if_v6(index)?;
        Ok((UdpSocket::from_std(socket.into())?, index))
    };
    opened().map_err(failed)
}

/// Passes router advertisements with hop limit 255: they come from this link (RFC 4861 6.1.2).
fn filter() -> [SockFilter; 6] {
    /// `linux/filter.h`: offsets from here on are relative to the network header.
    const NETWORK_HEADER: u32 = 0xfff0_0000;
    /// Load a byte; jump if equal; return.
    const LOAD: u16 = 0x30;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD, 0, 0, NETWORK_HEADER + 7),
        SockFilter::new(EQUAL, 0, 3, 255),
        SockFilter::new(LOAD, 0, 0, 0),
        SockFilter::new(EQUAL, 0, 1, u32::from(wire::TYPE)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// The address of a neighbour with the port of BGP, or another one.
pub(in crate::bgp) fn with_port(neighbour: SocketAddrV6, port: u16) -> SocketAddr {
    let mut place = neighbour;
    place.set_port(port);
    SocketAddr::V6(place)
}
