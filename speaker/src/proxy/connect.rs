//! Connecting to an endpoint of the picked backendRef, and to another of the same one on failure.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, connect, getpeername, ipproto, socket_with, sockopt,
};
use vipgate_planner::{BackendSettings, ProxyVersion};

use super::balance::hash::Client;
use super::departure::Member;
use super::endpoint::{EndpointState, Held};
use super::preserve::Source;
use super::share::{Forward, Share};
use super::tls::backend::Secure;

/// A connection keeps its port for a minute after it is over, if the client ended it first (RFC 9293, TIME-WAIT).
const NO_PORT: &str = "this host has no port left to connect from: net.ipv4.ip_local_port_range is used up towards it";

/// The attempts of one connection. Exists only until it is connected, so that an open connection
/// does not hold on to tables that were replaced long ago.
#[derive(Debug)]
pub(super) struct Dial {
    forward: Arc<Forward>,
    share: usize,
    /// As picks see it.
    client: Client,
    /// The endpoint of the attempt that is under way.
    at: usize,
    /// The same, where connections are counted.
    held: Option<Held>,
    /// What only the backend is told, where it is told anything.
    pub(super) introduction: Option<Box<Introduction>>,
    /// The endpoints of the attempts that failed, and whether they answered.
    failed: Vec<(usize, bool)>,
    /// When the attempt that is under way has taken too long.
    pub(super) deadline: Instant,
    /// From which address the attempt that is under way comes.
    pub(super) source: Source,
}

impl Dial {
    /// Starts with an endpoint of a share that has some.
    pub(super) fn new(
        forward: Arc<Forward>,
        share: usize,
        first: usize,
        deadline: Instant,
    ) -> Self {
        let held = forward.shares[share].hold(first);
        let client = Client::ANY;
        let failed = Vec::new();
        let source = Source::default();
        Self {
            forward,
            share,
            client,
            at: first,
            held,
            introduction: None,
            failed,
            deadline,
            source,
        }
    }

    /// For a client whose address decides.
    pub(super) fn of(self, client: Client) -> Self {
        Self { client, ..self }
    }

    /// Keeps what the backend is to be told of the client, if anything: where it connected to, and which
    /// name it asked for.
    pub(super) fn introduce(&mut self, to: SocketAddr, name: Option<&str>) {
        self.introduction = self.settings().proxy_protocol.map(|version| {
            let name = name.map(str::to_owned);
            Box::new(Introduction { version, to, name })
        });
    }

    fn share(&self) -> &Share {
        &self.forward.shares[self.share]
    }

    /// How the picked backendRef is connected to.
    pub(super) fn settings(&self) -> &BackendSettings {
        &self.share().settings
    }

    /// The endpoint of the attempt that is under way.
    pub(super) fn endpoint(&self) -> &Arc<EndpointState> {
        &self.share().endpoints[self.at]
    }

    /// Whether any endpoint of the share is to see clients' addresses.
    pub(super) fn preserves(&self) -> bool {
        !self.share().preserved.is_empty()
    }

    /// The network of the endpoint of the attempt that is under way, if it is to see the client's address.
    pub(super) fn preserved(&self) -> Option<Option<IpNet>> {
        self.share().preserved.get(&self.endpoint().address).copied()
    }

    /// Whether it is not the first that this endpoint gets.
    pub(super) fn was_asked(&self) -> bool {
        self.failed.iter().any(|(at, _)| *at == self.at)
    }

    /// How the endpoints are spoken to, if by TLS.
    pub(super) fn tls(&self) -> Option<&Secure> {
        self.share().tls.as_deref()
    }

    /// Notes that the attempt failed and stays with the endpoint; `false` when there is no further try.
    pub(super) fn failed_and_stays(&mut self, error: Errno) -> bool {
        self.endpoint().failed(error);
        self.failed.push((self.at, error != Errno::TIMEDOUT));
        self.has_tries()
    }

    /// Notes that the attempt failed and goes to the next one; `false` when there is none.
    pub(super) fn failed(&mut self, error: Errno) -> bool {
        self.endpoint().failed(error);
        self.go_on(error != Errno::TIMEDOUT)
    }

    /// Notes that this host has no port to connect from to this endpoint, which is no fault of the endpoint's,
    /// and goes to the next one, towards which it may have some; `false` when there is none.
    pub(super) fn has_no_port(&mut self) -> bool {
        self.endpoint().complained(NO_PORT.to_owned());
        self.go_on(true)
    }

    /// The same of one that was connected to, and failed in the TLS handshake for this reason.
    pub(super) fn failed_secure(&mut self, why: String) -> bool {
        self.endpoint().failed_secure(why);
        self.go_on(true)
    }

    fn has_tries(&self) -> bool {
        self.failed.len() < self.settings().connect_tries.clamp(1, 8).into()
    }

    fn go_on(&mut self, answered: bool) -> bool {
        self.failed.push((self.at, answered));
        if !self.has_tries() {
            return false;
        }
        let asked = |place| self.failed.iter().find(|(at, _)| *at == place).map(|(_, said)| *said);
        let Some(next) = self.share().next(&self.client, self.at, asked) else { return false };
        self.at = next;
        self.held = self.share().hold(next);
        true
    }

    /// Notes that the attempt succeeded. What is kept for it while the connection is there, if anything:
    /// the endpoint that is held, and whoever knows when it left.
    pub(super) fn succeeded(&mut self, now: Instant) -> (Option<Held>, Option<Arc<Member>>) {
        self.endpoint().connected();
        if !self.failed.is_empty() {
            self.share().moved(&self.client, self.at, now);
        }
        (self.held.take(), self.share().members.get(self.at).cloned())
    }
}

/// What a backend is told of a client (the PROXY protocol), besides its address.
#[derive(Debug)]
pub(super) struct Introduction {
    pub(super) version: ProxyVersion,
    /// Where the client connected to: the listener's address and port. (The socket's port is another where
    /// connections are led from one to the other.)
    pub(super) to: SocketAddr,
    /// The name that it asked for, where it was asked.
    pub(super) name: Option<String>,
}

/// Starts to connect. The socket reports writable when it is connected.
pub(super) fn start(address: SocketAddr) -> Result<OwnedFd, Errno> {
    reach(open(address)?, address)
}

/// A socket to connect there with.
pub(super) fn open(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    // An urgent byte stays in the stream, where the other side looks for it (telnet).
    sockopt::set_socket_oobinline(&socket, true)?;
    Ok(socket)
}

/// Starts to connect a socket; see [`start`].
pub(super) fn reach(socket: OwnedFd, address: SocketAddr) -> Result<OwnedFd, Errno> {
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// What has come of it; `None`: nothing yet.
pub(super) fn outcome(socket: &OwnedFd) -> Option<Result<(), Errno>> {
    match sockopt::socket_error(socket).and_then(|result| result) {
        Ok(()) => getpeername(socket).is_ok().then_some(Ok(())),
        Err(error) => Some(Err(error)),
    }
}

/// Whether an error of an attempt says that this host has no port left towards an endpoint. It says the same where
/// the host has no address of the family, and then a datagram socket cannot be connected there either.
pub(super) fn lacks_port(error: Errno, endpoint: SocketAddr) -> bool {
    let has_address = || {
        let any = match endpoint {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        UdpSocket::bind(any).is_ok_and(|socket| socket.connect(endpoint).is_ok())
    };
    error == Errno::ADDRNOTAVAIL && has_address()
}

/// Whether an error says that this process or host, not the endpoint, has nothing left to connect anywhere.
pub(super) fn is_exhaustion(error: Errno) -> bool {
    // NOSPC: of `fs.epoll.max_user_watches`.
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC)
}
