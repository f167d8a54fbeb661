//! What is known of an endpoint: how connecting to it went, and whether new connections keep away.
//!
//! ```text
//!   healthy ── EJECT_AFTER failed attempts in a row ──> ejected ── the prober connects ──> healthy
//! ```
//!
//! Nobody asks an endpoint that works whether it does; the connections of clients show it. One that is
//! ejected gets none of them while another endpoint of its backendRef is left ([`choose`](super::choose)),
//! and is asked by the [`prober`](super::prober) until it answers. There is one state per address,
//! whichever routes use it, and all workers share it: it changes once per connection at most.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::preserve::Answers;
use super::prober::Ejected;
use super::stats::EndpointHealth;

/// One attempt may fail by a lost packet; two in a row, with no success of anybody's between them, are
/// taken for the truth.
const EJECT_AFTER: u32 = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct EndpointState {
    pub(crate) address: SocketAddr,
    connected: AtomicU64,
    failed: AtomicU64,
    consecutive_failures: AtomicU32,
    /// What was wrong at the last failure, for people.
    last_error: Mutex<Option<String>>,
    ejected: AtomicBool,
    /// The prober has it.
    asked: AtomicBool,
    ejections: AtomicU64,
    prober: Option<Ejected>,
    /// Whether what it answers to clients' addresses comes back.
    pub(super) answers: Answers,
}

impl EndpointState {
    /// One that nothing is known of. Without a prober it is never ejected.
    pub(crate) fn new(address: SocketAddr, prober: Option<Ejected>) -> Self {
        Self {
            address,
            connected: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            consecutive_failures: AtomicU32::new(0),
            last_error: Mutex::new(None),
            ejected: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            ejections: AtomicU64::new(0),
            prober,
            answers: Answers::default(),
        }
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
    pub(crate) fn answers(&self) {
        self.consecutive_failures.store(0, Relaxed);
        if self.ejected.swap(false, Relaxed) {
            tracing::info!(endpoint = %self.address, "answers again; gets connections again");
        }
    }

    /// An attempt to connect failed.
    pub(crate) fn failed(self: &Arc<Self>, error: Errno) {
        self.count_failure(error.to_string());
    }

    /// It was connected to, and there is no TLS with it for this reason.
    pub(crate) fn failed_secure(self: &Arc<Self>, why: String) {
        self.count_failure(why);
    }

    /// A connection that was made ended for this reason, which nobody else shows.
    pub(crate) fn complained(&self, why: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    fn count_failure(self: &Arc<Self>, error: String) {
        self.failed.fetch_add(1, Relaxed);
        self.complained(error.clone());
        let failures = self.consecutive_failures.fetch_add(1, Relaxed) + 1;
        if let Some(prober) = &self.prober
            && failures >= EJECT_AFTER
            && !self.ejected.swap(true, Relaxed)
        {
            if self.asked.swap(true, Relaxed) {
                // Not for the first time lately: the prober has it still, and it was told of.
                self.ejections.fetch_add(1, Relaxed);
                return;
            }
            if !prober.tell(self) {
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

    /// The prober leaves it, unless it was ejected again this very moment.
    pub(crate) fn is_left(&self) -> bool {
        self.asked.store(false, SeqCst);
        !self.ejected.load(SeqCst) || self.asked.swap(true, SeqCst)
    }

    /// Whether new connections keep away.
    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }

    pub(crate) fn snapshot(&self) -> EndpointHealth {
        EndpointHealth {
            connected: self.connected.load(Relaxed),
            failed: self.failed.load(Relaxed),
            consecutive_failures: self.consecutive_failures.load(Relaxed),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ejected: self.is_ejected(),
            ejections: self.ejections.load(Relaxed),
        }
    }
}
