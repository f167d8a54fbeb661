//! How often a foreign change is undone at once.
//!
//! An address manager that restarts takes our addresses and tables away once, and we put them back
//! in the same moment. A program that does so again and again would draw us into a fight at full
//! speed, so after a burst of repairs the next ones wait for the regular renewal.

use std::time::Duration;

use tokio::time::Instant;

/// Repairs in a row that happen at once: one `ip addr flush` deletes up to ten times what it finds.
const BURST: u32 = 12;
/// Time after which one more may.
const REFILL: Duration = Duration::from_secs(5);

/// When to repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repair {
    /// At once.
    Now,
    /// At the next renewal. The first of these in a row is worth a line in the log.
    Later {
        /// Whether it is the first.
        first: bool,
    },
}

/// A token bucket. Pure: the time is an argument.
#[derive(Debug)]
pub(super) struct Repairs {
    left: u32,
    refilled: Instant,
    waiting: bool,
}

impl Repairs {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, refilled: now, waiting: false }
    }

    /// Decides about one repair.
    pub(super) fn next(&mut self, now: Instant) -> Repair {
        while self.left < BURST && now.duration_since(self.refilled) >= REFILL {
            self.left += 1;
            self.refilled += REFILL;
        }
        if self.left == 0 {
            return Repair::Later { first: !std::mem::replace(&mut self.waiting, true) };
        }
        if self.left == BURST {
            self.refilled = now;
        }
        self.left -= 1;
        self.waiting = false;
        Repair::Now
    }
}
