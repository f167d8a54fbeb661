//! How long to wait before the next try: twice as long each time, up to a limit, and not the same for
//! everybody, so that all who lost the API server at one moment do not come back at one.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(200);
/// The longest: what comes back is noticed within it.
const LONGEST: Duration = Duration::from_secs(5);

/// Waits between tries.
#[derive(Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next wait.
    pub fn wait(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.tries.min(16)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        // Between a half and the whole.
        whole.mul_f64(0.5 + 0.5 * chance())
    }

    /// A try succeeded.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

/// A number from 0 to 1. (The keys of the standard library's maps are the randomness at hand.)
fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_start_again() {
        let mut backoff = Backoff::default();
        let first = backoff.wait();
        assert!(first >= FIRST / 2 && first <= FIRST, "{first:?}");
        for _ in 0..100 {
            assert!(backoff.wait() <= LONGEST);
        }
        assert!(backoff.wait() >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
    }

    #[test]
    fn not_everybody_waits_as_long() {
        let waits: std::collections::BTreeSet<Duration> =
            (0..32).map(|_| Backoff::default().wait()).collect();
        assert!(waits.len() > 16, "{waits:?}");
    }
}
