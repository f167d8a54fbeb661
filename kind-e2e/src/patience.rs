//! Waiting for something to become true, with an end and with the last failure in the message.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::Result;

/// Factor on every wait of the lab; for slow machines and for runs under a debugger.
const VARIABLE: &str = "VIPGATE_LAB_PATIENCE";
/// Long enough not to disturb what is waited for, short against every timeout in use.
const INTERVAL: Duration = Duration::from_millis(20);

/// `timeout`, multiplied by `VIPGATE_LAB_PATIENCE` (a positive number, 1 when unset).
///
/// # Panics
/// When the variable is set to something else: a typing error must not pass as impatience.
#[must_use]
pub fn patience(timeout: Duration) -> Duration {
    let Ok(text) = std::env::var(VARIABLE) else { return timeout };
    match text.parse::<f64>() {
        Ok(factor) if factor > 0.0 && factor <= 1000.0 => timeout.mul_f64(factor),
        _ => panic!("{VARIABLE}={text:?}: give a factor above 0 and at most 1000, such as 2.5"),
    }
}

/// Calls `check` until it succeeds and returns what it returned; gives up after [`patience`]
/// of `timeout`, with the last failure as the cause. `check` runs at least once.
///
/// # Errors
/// The last failure of `check`, and for how long it was waited.
pub fn eventually<T>(timeout: Duration, mut check: impl FnMut() -> Result<T>) -> Result<T> {
    let timeout = patience(timeout);
    let start = Instant::now();
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() >= timeout => {
                return Err(error).with_context(|| format!("still failing after {timeout:?}"));
            }
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}
