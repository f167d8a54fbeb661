//! Forwards datagrams that come to VIPs to the endpoints of routes, and the answers back.
//!
//! ```text
//!   plan's listeners                     each worker: a thread, an epoll, two batches of buffers
//!        │ apply                        ┌──────────────────────────────────────────────────────┐
//!        v                   publish    │  port's socket ──> session? ──> its socket, connected │
//!   Control ───────> Table ───────────> │   (own of each       │ no         to the endpoint     │
//!   (sockets by bind)   (swapped,       │    worker)           v                 │              │
//!                        never edited)  │       ^            pick ──> begin      │              │
//!                                       │       └──────── answers of many ───────┘              │
//!                                       └──────────────────────────────────────────────────────┘
//! ```
//!
//! A session is a client's address and port and the VIP's: what they exchange goes to one endpoint and
//! back until nobody says anything for a while. Each has a socket of its own that is connected to the
//! endpoint, so nobody else can answer, and an endpoint that does not listen is noticed.
//!
//! The engine stands beside the one for connections (`proxy`) and is built like it; it has threads of
//! its own, because one that forwards a burst of datagrams has no time for anything else.
//!
//! Guarantees:
//! * Weights are exact over the sessions of a listener, over all workers. A picked share without
//!   endpoints drops. Which endpoint of it is for its policy to say (`proxy::balance`); another is tried only
//!   inside the picked share, and only if the host has no way to the first.
//! * A client gets what its endpoint sent, from the VIP, and nothing else: never more than one datagram
//!   for each one of the endpoint. What begins no session is not answered.
//! * A datagram is forwarded whole or not at all, and those of a flow in their order.
//! * Configuration ends a session only when its listener or port is gone or its route is no longer
//!   attached. An endpoint that left keeps its sessions for as long as it answers.
//! * There is a limit of sessions, and one for each source; above them the session that was silent for
//!   longest ends (`sessions`). A listener may have such limits of its own, exact over all workers (`room`),
//!   and say whose sessions it has and how fast they may begin. All of it is looked at when a session begins:
//!   those that there are go on.
//! * Without traffic nothing runs but the ends of sessions.

mod adopt;
mod batch;
pub mod config;
mod control;
mod holder;
mod listener;
mod lru;
mod places;
mod relay;
mod room;
mod rotation;
mod session;
mod sessions;
mod shared;
pub mod stats;
mod table;
mod token;
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
pub use stats::{DropReason, EndReason, ListenerCounters, Snapshot};

use crate::access_log::Log;
use crate::proxy::{BindError, prober};
use control::Control;
use shared::Shared;
use table::Table;
use worker::Worker;

/// The running engine. Its methods may be called from any thread. Dropping it ends it like
/// [`shutdown`](Self::shutdown).
#[derive(Debug)]
pub struct Udp {
    shared: Arc<Shared>,
    control: Mutex<Control>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    log: Mutex<Option<Log>>,
}

impl Udp {
    /// Starts the workers, with no listener yet. Lines of sessions go to the log.
    ///
    /// # Errors
    /// When the operating system has no thread, file or epoll to give.
    pub fn start(config: Config, log: Log) -> io::Result<Self> {
        let prober = prober::start()?;
        let shared = Arc::new(Shared::new(config)?);
        let logger = log.logger();
        let udp = Self {
            shared: Arc::clone(&shared),
            control: Mutex::new(Control::new(prober)),
            workers: Mutex::default(),
            log: Mutex::new(Some(log)),
        };
        for index in 0..shared.config.workers.get() {
            let worker = Worker::new(index, Arc::clone(&shared), logger.clone())?;
            let thread = thread::Builder::new()
                .name(format!("udp-{index}"))
                .stack_size(256 * 1024)
                .spawn(move || worker.run())?;
            lock(&udp.workers).push(thread);
        }
        Ok(udp)
    }

    /// Makes these the listeners: opens new ones, keeps those that stay (the very sockets, with what is
    /// queued), closes those that are gone, and begins sessions from now on with the new targets. Says per
    /// listener where it listens, or why not; a failed one is tried again by the next call. Calling it
    /// again with the same listeners changes nothing.
    ///
    /// Where it listens is another port than it wants if a socket of somebody else has that on all
    /// addresses, and [`Udp::allow_redirects`] says that datagrams are led there.
    ///
    /// Those that are not of UDP are none of its business.
    ///
    /// A few system calls per change; does not wait for the workers, unless they still have a port that
    /// was given up just before.
    pub fn apply<L: Clone + Into<Arc<Listener>>>(
        &self,
        listeners: &[L],
    ) -> BTreeMap<ListenerId, Result<SocketAddr, BindError>> {
        let listeners: Vec<_> = listeners.iter().cloned().map(Into::into).collect();
        lock(&self.control).apply(&listeners, &self.shared)
    }

    /// Says whether datagrams to a port of an address can be led to another port of it, for the
    /// next [`Udp::apply`]; at first they cannot.
    pub fn allow_redirects(&self, allow: bool) {
        lock(&self.control).allow_redirects(allow);
    }

    /// Files that it may have open: one for each session, what workers need, and the sockets of so many
    /// ports. Without any port there are no sessions.
    #[must_use]
    pub fn files(&self, ports: usize) -> usize {
        let Config { workers, sessions, .. } = &self.shared.config;
        let sessions = if ports > 0 { *sessions } else { 0 };
        sessions + (2 + ports) * workers.get()
    }

    /// Begins no session any more, lets those that there are go on until they are silent, and ends those
    /// that are left at the deadline. Blocks until then: in async code, call it on a thread for blocking
    /// work. Returns how many were ended. Another call meanwhile sets a new deadline.
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
        let ended = control.listeners().map(|(_, stats)| stats.snapshot().ended);
        ended.filter_map(|ended| ended.get(&EndReason::DrainDeadline).copied()).sum()
    }

    /// Closes listeners and ends sessions at once.
    pub fn shutdown(&self) {
        self.drain(Duration::ZERO);
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> Snapshot {
        let control = lock(&self.control);
        let stats = &self.shared.stats;
        Snapshot {
            listeners: control
                .listeners()
                .map(|(id, stats)| (id.clone(), stats.snapshot()))
                .collect(),
            endpoints: control
                .endpoints()
                .map(|state| (Endpoint(state.address), state.snapshot()))
                .collect(),
            limit: self.shared.config.sessions,
            joined: stats.joined.load(Relaxed),
            cut: stats.cut.load(Relaxed),
            panics: stats.panics.load(Relaxed),
        }
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// A lock whose holder panicked is used on: tables are replaced as a whole, never half-edited.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
