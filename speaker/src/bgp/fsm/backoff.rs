//! How long to wait before the next attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);

/// Twice as long each time, up to a limit, and each time somewhat less at random (RFC 4271
/// section 10), so that the speakers of a cluster do not all dial a returning router at once.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    limit: Duration,
    next: Duration,
    random: u64,
}

impl Backoff {
    pub(super) fn new(limit: Duration, seed: u64) -> Backoff {
        let limit = limit.max(FIRST);
        Backoff { limit, next: FIRST, random: seed }
    }

    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    pub(super) fn next(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.limit);
        // 75 to 100 per cent.
        let thousandths = 750 + self.draw() % 251;
        full * u32::try_from(thousandths).expect("at most 1000") / 1000
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}
