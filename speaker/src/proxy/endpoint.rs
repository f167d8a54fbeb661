//! What is known of an endpoint: how connecting to it went, and whether new connections keep away.
//!
//! ```text
//!   healthy ── so many failed attempts in a row ──> ejected ── the prober connects ──> healthy
//! ```
//!
//! The connections of clients show whether an endpoint works; where checks are asked for, these do too
//! ([`check`](super::check)). One that is ejected gets none of them while another endpoint of its backendRef
//! is left ([`balance`](super::balance)), and is asked by the [`prober`](super::prober) until it answers.
//! There is one state per address, whichever routes use it, and all workers share it: it changes once per
//! connection at most.
//!
//! After how many failures is for each backendRef to say. The one that says the least has it ejected, and so
//! asked; the others keep away from it when it has failed as often as they say, or never
//! ([`is_ejected_after`](EndpointState::is_ejected_after)).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize};
use std::time::Duration;

use rustix::io::Errno;

use super::prober::Prober;
use super::stats::EndpointHealth;

/// Of `eject_after`: never.
const NEVER: u32 = u32::MAX;

/// See the module.
#[derive(Debug)]
pub(crate) struct EndpointState {
    pub(crate) address: SocketAddr,
    connected: AtomicU64,
    failed: AtomicU64,
    consecutive_failures: AtomicU32,
    /// `errno` of the last failure; 0: none yet.
    last_error: AtomicI32,
    ejected: AtomicBool,
    /// The prober has it.
    asked: AtomicBool,
    ejections: AtomicU64,
    /// Connections and attempts that are counted; see [`Held`].
    open: AtomicUsize,
    /// Of those who use it, the strictest.
    eject_after: AtomicU32,
    /// Milliseconds that a question may take: of those who use it, the most patient's.
    patience: AtomicU32,
    /// Whether some target has it; open connections may outlive that.
    in_use: AtomicBool,
    prober: Option<Prober>,
}

/// What those who use an endpoint ask of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// Failures after which it is ejected; never when absent.
    pub(crate) eject_after: Option<u32>,
    /// How long connecting may take.
    pub(crate) patience: Duration,
}

impl Use {
    /// Both at once.
    pub(crate) fn and(self, other: Self) -> Self {
        let strictest = [self.eject_after, other.eject_after].into_iter().flatten().min();
        Self { eject_after: strictest, patience: self.patience.max(other.patience) }
    }
}

impl EndpointState {
    /// One that nothing is known of. Without a prober it is never ejected.
    pub(crate) fn new(address: SocketAddr, prober: Option<Prober>) -> Self {
        Self {
            address,
            connected: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            consecutive_failures: AtomicU32::new(0),
            last_error: AtomicI32::new(0),
            ejected: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            ejections: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            eject_after: AtomicU32::new(NEVER),
            patience: AtomicU32::new(1000),
            in_use: AtomicBool::new(true),
            prober,
        }
    }

    /// What those who use it ask of it from now on; nothing, when nobody does.
    pub(super) fn use_as(&self, by: Option<Use>) {
        self.in_use.store(by.is_some(), Relaxed);
        if let Some(Use { eject_after, patience }) = by {
            self.eject_after.store(eject_after.unwrap_or(NEVER).max(1), Relaxed);
            let patience = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
            self.patience.store(patience, Relaxed);
        }
    }

    /// Whether some target has it.
    pub(super) fn is_in_use(&self) -> bool {
        self.in_use.load(Relaxed)
    }

    /// How long a question may take.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience.load(Relaxed).into())
    }

    /// A client's connection was made.
    pub(crate) fn connected(&self) {
        self.connected.fetch_add(1, Relaxed);
        // Read first: the line stays shared while all is well.
        if self.consecutive_failures.load(Relaxed) != 0 {
            self.consecutive_failures.store(0, Relaxed);
            self.ejected.store(false, Relaxed);
        }
    }

    /// It answered the prober.
    pub(super) fn answers(&self) {
        self.consecutive_failures.store(0, Relaxed);
        if self.ejected.swap(false, Relaxed) {
            tracing::info!(endpoint = %self.address, "answers again; gets connections again");
        }
    }

    /// An attempt to connect failed.
    pub(crate) fn failed(self: &Arc<Self>, error: Errno) {
        self.failed.fetch_add(1, Relaxed);
        self.last_error.store(error.raw_os_error(), Relaxed);
        let failures = self.consecutive_failures.fetch_add(1, Relaxed).saturating_add(1);
        if let Some(prober) = &self.prober
            && failures >= self.eject_after.load(Relaxed)
            && !self.ejected.swap(true, Relaxed)
        {
            if self.asked.swap(true, Relaxed) {
                // Not for the first time lately: the prober has it still, and it was told of.
                self.ejections.fetch_add(1, Relaxed);
                return;
            }
            if !prober.ejected(self) {
                // Nobody would ask it: the next failure tries again.
                self.asked.store(false, Relaxed);
                self.ejected.store(false, Relaxed);
                return;
            }
            self.ejections.fetch_add(1, Relaxed);
            tracing::warn!(endpoint = %self.address, %error, failures, "cannot be connected to; gets no \
                connections while there are others, and is asked until it answers");
        }
    }

    /// Whether the prober is to ask it: it is ejected still (a client may have got through), and some target
    /// has it. If not, the prober leaves it.
    pub(super) fn is_wanted(&self) -> bool {
        if !self.is_in_use() {
            // It begins anew when it comes back.
            self.consecutive_failures.store(0, Relaxed);
            self.ejected.store(false, SeqCst);
        }
        self.is_ejected() || !self.is_left()
    }

    /// The prober leaves it, unless it was ejected again this very moment.
    pub(super) fn is_left(&self) -> bool {
        self.asked.store(false, SeqCst);
        !self.ejected.load(SeqCst) || self.asked.swap(true, SeqCst)
    }

    /// Whether new connections keep away, of those that do so soonest.
    pub(super) fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }

    /// Whether new connections keep away that do so after so many failures in a row.
    pub(crate) fn is_ejected_after(&self, failures: u32) -> bool {
        self.is_ejected() && self.consecutive_failures.load(Relaxed) >= failures
    }

    /// Connections and attempts of this node, of those that are [`Held`].
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    pub(crate) fn snapshot(&self) -> EndpointHealth {
        let last_error = self.last_error.load(Relaxed);
        EndpointHealth {
            connected: self.connected.load(Relaxed),
            failed: self.failed.load(Relaxed),
            consecutive_failures: self.consecutive_failures.load(Relaxed),
            last_error: (last_error != 0).then(|| Errno::from_raw_os_error(last_error).to_string()),
            ejected: self.is_ejected(),
            ejections: self.ejections.load(Relaxed),
            unhealthy: false,
        }
    }
}

/// A connection to an endpoint, or an attempt at one, that counts as open there until this is dropped. Only
/// what a backendRef with least connections or `close_gone_after` has is held, so others do not count.
#[derive(Debug)]
pub(crate) struct Held(Arc<EndpointState>);

impl Held {
    /// One more.
    pub(crate) fn new(endpoint: &Arc<EndpointState>) -> Self {
        endpoint.open.fetch_add(1, Relaxed);
        Self(Arc::clone(endpoint))
    }

    /// To which.
    pub(crate) fn endpoint(&self) -> &Arc<EndpointState> {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
