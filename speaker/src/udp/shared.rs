//! What the handle and all workers share.

use std::io;

use super::config::Config;
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
}

impl Shared {
    pub(super) fn new(config: Config) -> io::Result<Self> {
        let table = Published::new(config.workers.get())?;
        Ok(Self { config, table, stats: EngineStats::default() })
    }
}
