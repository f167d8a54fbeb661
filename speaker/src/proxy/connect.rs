//! Connecting to an endpoint of the picked backendRef, and to another of the same one on failure.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, connect, getpeername, ipproto, socket_with, sockopt,
};
use vipgate_api::ObjectRef;
use vipgate_planner::{BackendSettings, ProxyVersion};

use super::balance::hash::Client;
use super::departure::Member;
use super::endpoint::{EndpointState, Held};
use super::share::{Forward, Share};

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
        Self { forward, share, client, at: first, held, introduction: None, failed, deadline }
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

    pub(super) fn route(&self) -> &Arc<ObjectRef> {
        &self.forward.route
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

    /// Notes that the attempt failed and goes to the next one; `false` when there is none.
    pub(super) fn failed(&mut self, error: Errno) -> bool {
        self.endpoint().failed(error);
        self.failed.push((self.at, error != Errno::TIMEDOUT));
        if self.failed.len() >= self.settings().connect_tries.clamp(1, 8).into() {
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
