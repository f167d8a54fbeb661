//! What the handle and all workers share.

use std::io;
use std::time::Instant;

use super::config::Config;
use super::places::{Claim, Claims};
use super::stats::EngineStats;
use super::table::Table;
use crate::published::Published;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    /// What comes in after it was published is forwarded by it.
    pub(super) table: Published<Table>,
    pub(super) stats: EngineStats,
    /// Of each worker, what others ask it for.
    pub(super) claims: Box<[Claims]>,
    /// What rates are reckoned from.
    pub(super) started: Instant,
}

impl Shared {
    pub(super) fn new(config: Config) -> io::Result<Self> {
        let workers = config.workers.get();
        Ok(Self {
            table: Published::new(workers)?,
            config,
            stats: EngineStats::default(),
            claims: (0..workers).map(|_| Claims::default()).collect(),
            started: Instant::now(),
        })
    }

    /// Asks a worker for a place, and wakes it.
    pub(super) fn claim(&self, worker: usize, claim: Claim) {
        self.claims[worker].add(claim);
        self.table.wake(worker);
    }
}
