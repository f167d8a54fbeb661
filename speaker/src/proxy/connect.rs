//! Connecting to an endpoint of the picked backendRef, and to another of the same one on failure.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, connect, getpeername, ipproto, socket_with, sockopt,
};

use super::endpoint::EndpointState;
use super::preserve::Source;
use super::table::Forward;
use super::tls::backend::Secure;

/// The attempts of one connection. Exists only until it is connected, so that an open connection
/// does not hold on to tables that were replaced long ago.
#[derive(Debug)]
pub(super) struct Dial {
    forward: Arc<Forward>,
    share: usize,
    /// The endpoint of the attempt that is under way.
    at: usize,
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
        let source = Source::default();
        Self { forward, share, at: first, failed: Vec::new(), deadline, source }
    }

    fn endpoints(&self) -> &[Arc<EndpointState>] {
        &self.forward.shares[self.share].endpoints
    }

    /// The endpoint of the attempt that is under way.
    pub(super) fn endpoint(&self) -> &Arc<EndpointState> {
        &self.endpoints()[self.at]
    }

    /// Whether any endpoint of the share is to see clients' addresses.
    pub(super) fn preserves(&self) -> bool {
        !self.forward.shares[self.share].preserved.is_empty()
    }

    /// The network of the endpoint of the attempt that is under way, if it is to see the client's address.
    pub(super) fn preserved(&self) -> Option<Option<IpNet>> {
        self.forward.shares[self.share].preserved.get(&self.endpoint().address).copied()
    }

    /// Whether it is not the first that this endpoint gets.
    pub(super) fn was_asked(&self) -> bool {
        self.failed.iter().any(|(at, _)| *at == self.at)
    }

    /// How the endpoints are spoken to, if by TLS.
    pub(super) fn tls(&self) -> Option<&Secure> {
        self.forward.shares[self.share].tls.as_deref()
    }

    /// Notes that the attempt failed and stays with the endpoint; `false` when there is no further try.
    pub(super) fn failed_and_stays(&mut self, error: Errno, tries: u8) -> bool {
        self.endpoint().failed(error);
        self.failed.push((self.at, error != Errno::TIMEDOUT));
        self.failed.len() < tries.into()
    }

    /// Notes that the attempt failed and goes to the next one; `false` when there is none.
    pub(super) fn failed(&mut self, error: Errno, tries: u8) -> bool {
        self.endpoint().failed(error);
        self.go_on(error != Errno::TIMEDOUT, tries)
    }

    /// The same of one that was connected to, and failed in the TLS handshake for this reason.
    pub(super) fn failed_secure(&mut self, why: String, tries: u8) -> bool {
        self.endpoint().failed_secure(why);
        self.go_on(true, tries)
    }

    fn go_on(&mut self, answered: bool, tries: u8) -> bool {
        self.failed.push((self.at, answered));
        if self.failed.len() >= tries.into() {
            return false;
        }
        let next = self.next();
        self.at = next.unwrap_or(self.at);
        next.is_some()
    }

    /// Whose turn it is: the next that was not asked, ejected ones after the others. When all were, the
    /// next one, unless it has already answered with a refusal. (One that stayed silent may have lost
    /// a packet.)
    fn next(&self) -> Option<usize> {
        let endpoints = self.endpoints();
        let others = || (1..=endpoints.len()).map(|step| (self.at + step) % endpoints.len());
        let asked = |place: usize| self.failed.iter().find(|(at, _)| *at == place);
        others()
            .find(|place| asked(*place).is_none() && !endpoints[*place].is_ejected())
            .or_else(|| others().find(|place| asked(*place).is_none()))
            .or_else(|| others().next().filter(|at| !asked(*at).is_some_and(|(_, said)| *said)))
    }
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

/// Whether an error says that this process or host, not the endpoint, has nothing left.
pub(super) fn is_exhaustion(error: Errno) -> bool {
    // NOSPC: of `fs.epoll.max_user_watches`.
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC)
}
