//! What the handle and all workers share: the table, and the engine's own counters.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, getrlimit};

use super::config::Config;
use super::pipe;
use super::preserve::Preserving;
use super::spread::Spread;
use super::stats::EngineStats;
use super::table::Table;
use crate::published::Published;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    /// Connections accepted after it was published are forwarded by it.
    pub(super) table: Published<Table>,
    /// Connections of all workers.
    pub(super) open: AtomicUsize,
    /// How many there may be.
    pub(super) limit: AtomicUsize,
    /// Pipes of all workers, and how many there may be.
    pub(super) pipes: Arc<AtomicUsize>,
    pub(super) most_pipes: usize,
    pub(super) spread: Spread,
    pub(super) stats: EngineStats,
    pub(super) preserving: Preserving,
}

impl Shared {
    pub(super) fn new(config: Config) -> io::Result<Self> {
        Ok(Self {
            table: Published::new(config.workers.get())?,
            spread: Spread::new(config.workers.get()),
            config,
            open: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
            pipes: Arc::default(),
            most_pipes: pipe::most(files()),
            stats: EngineStats::default(),
            preserving: Preserving::default(),
        })
    }

    /// Whether another connection would leave too few files to the rest of the process. Workers look
    /// without waiting for each other, so all of them may take a last one; the limit has room for that.
    pub(super) fn is_full(&self) -> bool {
        self.open.load(Ordering::Relaxed) >= self.limit.load(Ordering::Relaxed)
    }
}

/// How many files may be open.
pub(super) fn files() -> usize {
    let files = getrlimit(Resource::Nofile).current;
    files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}
