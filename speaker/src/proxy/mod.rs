//! Accepts TCP connections on VIPs and forwards them to the endpoints of routes.
//!
//! ```text
//!   plan's listeners                     each worker: a thread, an epoll, a 64 KiB buffer
//!        │ apply                        ┌──────────────────────────────────────────────────┐
//!        v                   publish    │ accept ──> pick ──> connect ──> pump  up  client─>server
//!   Control ───────> Table ───────────> │  (every listener,   (tries in    └──> down server─>client
//!   (sockets by bind,   (swapped,       │   exclusive)         one share)  timers · stats          │
//!    slots by listener)  never edited)  └──────────────────────────────────────────────────┘
//! ```
//!
//! The workers are an epoll loop of their own beside tokio: a connection that is idle costs about
//! a hundred bytes and no buffer, and forwarding makes no system call that it does not need.
//!
//! Where several listeners share a port, or clients speak TLS, the client has to say first what it wants
//! (`hello`, `host`, `client_hello`; how often, says `pace`); elsewhere nothing is looked at.
//! TLS may end here, and may begin anew to the backend, whose handshake is part of connecting (`tls`,
//! `end`, `tls_pump`).
//!
//! What a listener's settings say (`settings` of the plan's listener) costs where it is set: a connection of
//! such a port is received (`admission`) instead of forwarded at once, a PROXY header is read
//! (`proxy_protocol`), and limits are kept by all workers together (`limits`).
//!
//! Guarantees:
//! * Weights are exact ([`pick`]); a picked share without endpoints resets; another endpoint is
//!   tried only inside the picked share. Which endpoint of it is for its policy to say (`balance`); one
//!   that cannot be connected to (`endpoint`), or fails its checks (`check`), is passed over.
//! * Configuration closes a connection only when its listener is gone or its route is no longer
//!   attached to it, or where a policy says so of endpoints that left (`departure`). A listening socket lives on while any listener wants its address and port.
//! * Half-closes and resets are passed on in both directions; a receiver that stalls stops its
//!   sender.
//! * Without traffic nothing runs. Without files, accepting pauses, and what is open goes on.

mod accept;
mod admission;
mod adopt;
pub(crate) mod balance;
mod check;
mod choose;
mod client_hello;
pub mod config;
mod connect;
mod connection;
mod control;
mod departure;
mod door;
mod end;
pub(crate) mod endpoint;
mod endpoints;
mod farewell;
mod hello;
pub mod holder;
mod host;
mod idle;
mod keepalive;
mod limits;
pub mod listener;
mod name;
mod pace;
pub mod pick;
mod pipe;
mod preserve;
pub(crate) mod prober;
mod proxy_protocol;
mod pump;
mod refusal;
mod relay;
pub(crate) mod share;
mod shared;
pub(crate) mod slots;
mod socket;
mod spread;
pub mod stats;
pub(crate) mod table;
mod timer;
mod tls;
mod tls_pump;
mod token;
mod undecided;
mod worker;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use vipgate_planner::{Endpoint, Listener, ListenerId};

pub use config::Config;
pub use holder::{Holder, listeners_on, receivers_on};
pub use listener::BindError;
pub use preserve::NotPreserved;
pub use stats::{
    ConnectTimes, EndpointHealth, ListenerCounters, PortCounters, ResetReason, Snapshot,
};

use crate::access_log::{Counts, Log};
use control::Control;
use endpoint::EndpointState;
use shared::Shared;
use table::Table;
use worker::Worker;

/// The running engine. Its methods may be called from any thread. Dropping it ends it like
/// [`shutdown`](Self::shutdown).
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    control: Mutex<Control>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    log: Mutex<Option<Log>>,
    logged: Arc<Counts>,
}

impl Proxy {
    /// Starts the workers, with no listener yet. Lines of connections go to the log.
    ///
    /// # Errors
    /// When the operating system has no thread, file or epoll to give.
    pub fn start(config: Config, log: Log) -> io::Result<Self> {
        let prober = prober::start()?;
        let shared = Arc::new(Shared::new(config)?);
        let logger = log.logger();
        let proxy = Self {
            shared: Arc::clone(&shared),
            control: Mutex::new(Control::new(Some(prober))),
            workers: Mutex::default(),
            logged: log.counts(),
            log: Mutex::new(Some(log)),
        };
        for index in 0..shared.config.workers.get() {
            let worker = Worker::new(index, Arc::clone(&shared), logger.clone())?;
            let thread = thread::Builder::new()
                .name(format!("proxy-{index}"))
                .stack_size(256 * 1024)
                .spawn(move || worker.run())?;
            lock(&proxy.workers).push(thread);
        }
        Ok(proxy)
    }

    /// Makes these the listeners: opens new ones, keeps those that stay (the very socket, with its
    /// accept queue), closes those that are gone, and forwards connections accepted from now on to
    /// the new targets. Says per listener where it listens, or why not; a failed one is tried again
    /// by the next call. Calling it again with the same listeners changes nothing.
    ///
    /// Where it listens is another port than it wants if a socket of somebody else has that on all
    /// addresses, and [`Proxy::allow_redirects`] says that connections are led there.
    ///
    /// Those of UDP are none of its business.
    ///
    /// A few system calls per change; does not wait for the workers.
    pub fn apply<L: Clone + Into<Arc<Listener>>>(
        &self,
        listeners: &[L],
    ) -> BTreeMap<ListenerId, Result<SocketAddr, BindError>> {
        let listeners: Vec<_> = listeners.iter().cloned().map(Into::into).collect();
        lock(&self.control).apply(&listeners, &self.shared)
    }

    /// As [`Proxy::apply`], for who knows what came of the last ones: whether that is true of these as well. It
    /// is where the same listeners listen in the same places and all of them can; anything else is asked of
    /// [`Proxy::apply`].
    pub fn renew(&self, listeners: &[Arc<Listener>]) -> bool {
        lock(&self.control).renew(listeners, &self.shared)
    }

    /// Says whether connections to a port of an address can be led to another port of it, for the
    /// next [`Proxy::apply`]; at first they cannot.
    pub fn allow_redirects(&self, allow: bool) {
        lock(&self.control).allow_redirects(allow);
    }

    /// Says whether the host leads what endpoints answer to clients' addresses back to this process; at first it
    /// does not, and all connections come from the node's address.
    pub fn allow_preserving(&self, allow: bool) {
        self.shared.preserving.allowed.store(allow, Relaxed);
    }

    /// How many connections are open that come from their clients' addresses: they need that until they end.
    #[must_use]
    pub fn preserved(&self) -> usize {
        self.shared.preserving.open.load(Relaxed)
    }

    /// Keeps so many files for the forwarding of datagrams, besides `Config::reserved_files`, from the next
    /// [`Proxy::apply`] on. What is open goes on; where that is too much, nothing more is accepted until it is not.
    pub fn keep_files(&self, files: usize) {
        lock(&self.control).keep_files(files);
    }

    /// Stops accepting (after what is already queued), lets connections finish, and resets those
    /// that are still open at the deadline. Blocks until then: in async code, call it on a thread
    /// for blocking work. Returns how many were reset. Another call meanwhile sets a new deadline.
    pub fn drain(&self, deadline: Duration) -> u64 {
        let until = Instant::now() + deadline;
        let table = lock(&self.control).drain(until);
        self.shared.table.publish(table);
        let workers = std::mem::take(&mut *lock(&self.workers));
        if workers.is_empty() {
            return 0;
        }
        for worker in workers {
            if worker.join().is_err() {
                tracing::error!("a worker had panicked");
            }
        }
        let log = lock(&self.log).take();
        if let Some(log) = log {
            log.leave();
        }
        self.shared.table.publish(Table { drain_until: Some(until), ..Table::default() });
        let mut control = lock(&self.control);
        control.release();
        let listeners = control.listeners().map(|(_, stats)| stats);
        listeners
            .chain(control.ports().map(|(_, _, stats)| stats))
            .filter_map(|stats| stats.total().resets.get(&ResetReason::DrainDeadline).copied())
            .sum()
    }

    /// Closes listeners and resets connections at once.
    pub fn shutdown(&self) {
        self.drain(Duration::ZERO);
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> Snapshot {
        let control = lock(&self.control);
        let (mut listeners, mut routes) = (BTreeMap::new(), BTreeMap::new());
        for (id, stats) in control.listeners() {
            let (by_route, all) = stats.snapshot();
            listeners.insert(id.clone(), all);
            routes.extend(by_route.into_iter().map(|(route, one)| ((id.clone(), route), one)));
        }
        let unhealthy = control.unhealthy();
        let health = |state: &EndpointState| EndpointHealth {
            unhealthy: unhealthy.contains(&state.address),
            ..state.snapshot()
        };
        Snapshot {
            listeners,
            routes,
            ports: control
                .ports()
                .filter(|(_, asks, _)| *asks)
                .map(|(bind, _, stats)| (*bind, stats.total().into()))
                .collect(),
            endpoints: control
                .endpoints()
                .map(|state| (Endpoint(state.address), health(&state)))
                .collect(),
            open: self.shared.open.load(Relaxed),
            preserved: self.preserved(),
            limit: self.shared.limit.load(Relaxed),
            accept_pauses: self.shared.stats.accept_pauses.load(Relaxed),
            panics: self.shared.stats.panics.load(Relaxed),
            logged: self.logged.written.load(Relaxed),
            log_dropped: self.logged.dropped.load(Relaxed),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// A lock whose holder panicked is used on: tables are replaced as a whole, never half-edited.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
