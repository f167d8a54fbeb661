//! What the handle and all workers share: the table, the way to announce a new one, and the
//! engine's own counters.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use rustix::event::{EventfdFlags, eventfd};

use super::config::Config;
use super::stats::EngineStats;
use super::table::Table;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    table: ArcSwap<Table>,
    /// Number of the table; written after it.
    generation: AtomicU64,
    /// One per worker.
    pub(super) wakers: Vec<OwnedFd>,
    /// Connections of all workers.
    pub(super) open: AtomicUsize,
    /// How many there may be.
    pub(super) limit: AtomicUsize,
    pub(super) stats: EngineStats,
}

impl Shared {
    pub(super) fn new(config: Config) -> io::Result<Self> {
        let wakers = (0..config.workers.get())
            .map(|_| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            config,
            table: ArcSwap::default(),
            generation: AtomicU64::new(0),
            wakers,
            open: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
            stats: EngineStats::default(),
        })
    }

    /// Gives all workers a new table. Connections accepted after this are forwarded by it.
    pub(super) fn publish(&self, table: Table) {
        self.table.store(Arc::new(table));
        self.generation.fetch_add(1, Ordering::Release);
        for waker in &self.wakers {
            // Fails only when the counter is about to overflow: then the worker is awake anyway.
            let _ = rustix::io::write(waker, &1_u64.to_ne_bytes());
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Whether another connection would leave too few files to the rest of the process. Workers look
    /// without waiting for each other, so all of them may take a last one; the limit has room for that.
    pub(super) fn is_full(&self) -> bool {
        self.open.load(Ordering::Relaxed) >= self.limit.load(Ordering::Relaxed)
    }
}
