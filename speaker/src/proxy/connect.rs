//! Connecting to an endpoint of the picked backendRef, and to another of the same one on failure.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};

use super::table::{Forward, Upstream};

/// The attempts of one connection. Exists only until it is connected, so that an open connection
/// does not hold on to tables that were replaced long ago.
#[derive(Debug)]
pub(super) struct Dial {
    forward: Arc<Forward>,
    share: usize,
    /// The endpoint of the first attempt.
    first: usize,
    /// Attempts that failed.
    failures: u8,
    /// Which of the failed attempts, as bits, were answered: those endpoints are not asked again.
    answered: u8,
    /// When the attempt that is under way has taken too long.
    pub(super) deadline: Instant,
}

impl Dial {
    /// Starts with an endpoint of a share that has some.
    pub(super) fn new(
        forward: Arc<Forward>,
        share: usize,
        first: usize,
        deadline: Instant,
    ) -> Self {
        Self { forward, share, first, failures: 0, answered: 0, deadline }
    }

    /// The endpoint of the attempt that is under way.
    pub(super) fn upstream(&self) -> &Upstream {
        let endpoints = &self.forward.shares[self.share].endpoints;
        &endpoints[(self.first + usize::from(self.failures)) % endpoints.len()]
    }

    /// Notes that the attempt failed and goes to the next one; `false` when there is none: the
    /// tries are used up, or the endpoint whose turn it is has already answered with a refusal.
    /// (One that stayed silent may have lost a packet, and is asked again.)
    pub(super) fn failed(&mut self, error: Errno, tries: u8) -> bool {
        self.upstream().stats.failed(error);
        if error != Errno::TIMEDOUT {
            self.answered |= 1 << self.failures;
        }
        self.failures += 1;
        let endpoints = self.forward.shares[self.share].endpoints.len();
        let asked_before = usize::from(self.failures).checked_sub(endpoints);
        self.failures < tries && asked_before.is_none_or(|n| self.answered & (1 << n) == 0)
    }
}

/// Starts to connect. The socket reports writable when it is connected.
pub(super) fn start(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    // An urgent byte stays in the stream, where the other side looks for it (telnet).
    sockopt::set_socket_oobinline(&socket, true)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Whether an error says that this process or host, not the endpoint, has nothing left.
pub(super) fn is_exhaustion(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}
