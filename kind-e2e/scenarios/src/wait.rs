//! Waiting for something to become true.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::Result;

/// For a plan, some writes, a probe of an address, and a slow machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// Each try is a program or more that is started.
const INTERVAL: Duration = Duration::from_millis(100);

/// Calls `check` until it succeeds, and returns what it returned; gives up after `within`, with the last failure as the
/// cause. It runs at least once.
///
/// # Errors
/// The last failure, and for how long it was waited.
pub fn eventually<T>(within: Duration, mut check: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(error) if began.elapsed() >= within => {
                return Err(error).with_context(|| format!("still failing after {within:?}"));
            }
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}
