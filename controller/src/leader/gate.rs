//! Whether this replica may write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Open until the end of our own lease. Whoever is about to write asks it, each time.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicU64>);

impl Gate {
    /// Whether writing is allowed now.
    pub fn is_open(&self) -> bool {
        millis(now()) < self.0.load(Ordering::Acquire)
    }

    pub(super) fn open_until(&self, end: Duration) {
        self.0.store(millis(end), Ordering::Release);
    }

    pub(super) fn close(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// Time since the host started, sleep included.
pub(super) fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_closes_by_itself() {
        let gate = Gate::default();
        assert!(!gate.is_open());
        gate.open_until(now() + Duration::from_secs(60));
        assert!(gate.is_open());
        gate.open_until(now());
        assert!(!gate.is_open());
    }
}
