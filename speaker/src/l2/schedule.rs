//! When a VIP is announced: a burst after it is taken over, then at a steady interval.

use std::time::{Duration, Instant};

/// The burst, counted from the moment the VIP is owned. Several, because one frame may be lost and
/// because a switch port that has just come up may not forward yet.
pub(super) const BURST: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(1000),
];

/// The announcements of one VIP on one link.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    start: Instant,
    /// Announcements of the burst that are behind us.
    done: usize,
    /// When the next one is due; `None` when there is none.
    due: Option<Instant>,
}

impl Schedule {
    /// Begins a burst now.
    pub(super) fn starting(now: Instant) -> Schedule {
        Schedule { start: now, done: 0, due: Some(now) }
    }

    /// When the next announcement is due; `None` when there is none.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether to announce now. Announcements that were missed are not made up for: one is enough.
    /// `every` is the steady interval; zero means that the burst is all.
    pub(super) fn take(&mut self, now: Instant, every: Duration) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        while self.done < BURST.len() && self.start + BURST[self.done] <= now {
            self.done += 1;
        }
        self.due = match BURST.get(self.done) {
            Some(&offset) => Some(self.start + offset),
            None if every.is_zero() => None,
            None => Some(now + every),
        };
        true
    }
}
