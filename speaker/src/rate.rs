//! How fast connections or sessions of a listener may begin, over all workers: one number, changed by whoever
//! begins one.
//!
//! The generic cell rate algorithm (ITU-T I.371, annex A): kept is the time at which the next one would be
//! due if all came evenly; how far that may be ahead of now is the burst.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use vipgate_planner::Rate;

/// See the module. In nanoseconds since some beginning.
#[derive(Debug, Default)]
pub(crate) struct Meter(AtomicU64);

impl Meter {
    /// Whether one more may come now. Then it counts.
    pub(crate) fn admit(&self, rate: Rate, now: u64) -> bool {
        let apart = (1_000_000_000 / u64::from(rate.per_second.max(1))).max(1);
        let ahead = now.saturating_add(apart * u64::from(rate.burst.max(1) - 1));
        let mut due = self.0.load(Relaxed);
        loop {
            // Farther ahead only if it was reckoned by another rate: nobody waits for what that allowed.
            let known = due.min(ahead.saturating_add(apart));
            let admits = known <= ahead;
            let next = if admits { known.max(now) + apart } else { known };
            if next == due {
                return admits;
            }
            match self.0.compare_exchange_weak(due, next, Relaxed, Relaxed) {
                Ok(_) => return admits,
                Err(newer) => due = newer,
            }
        }
    }

    /// Nothing of the burst is used up.
    pub(crate) fn forget(&self) {
        self.0.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn admitted(meter: &Meter, rate: Rate, at: u64, of: usize) -> usize {
        (0..of).filter(|_| meter.admit(rate, at)).count()
    }

    #[test]
    fn a_burst_at_once_and_then_evenly() {
        let (meter, rate) = (Meter::default(), Rate { per_second: 10, burst: 5 });
        let start = 100 * SECOND;
        assert_eq!(admitted(&meter, rate, start, 100), 5);
        assert_eq!(admitted(&meter, rate, start + SECOND / 10 - 1, 100), 0);
        assert_eq!(admitted(&meter, rate, start + SECOND / 10, 100), 1);
        assert_eq!(admitted(&meter, rate, start + SECOND * 3 / 10, 100), 2);
        // Whoever waits for long saves up a burst and no more.
        assert_eq!(admitted(&meter, rate, start + 1000 * SECOND, 100), 5);
        let ten_seconds =
            (0..10_000).filter(|n| meter.admit(rate, start + 2000 * SECOND + n * SECOND / 1000));
        assert_eq!(ten_seconds.count(), 5 + 99);
    }

    #[test]
    fn a_new_rate_does_not_wait_for_what_the_old_one_allowed() {
        let meter = Meter::default();
        assert_eq!(admitted(&meter, Rate { per_second: 1, burst: 1000 }, SECOND, 2000), 1000);
        let new = Rate { per_second: 100, burst: 1 };
        assert_eq!(admitted(&meter, new, SECOND, 10), 0);
        assert_eq!(admitted(&meter, new, SECOND + SECOND / 100, 10), 1);
    }

    #[test]
    fn the_fastest_and_the_slowest_fit() {
        let meter = Meter::default();
        let most = Rate { per_second: u32::MAX, burst: u32::MAX };
        assert_eq!(admitted(&meter, most, 0, 1000), 1000);
        let least = Rate { per_second: 1, burst: u32::MAX };
        assert_eq!(admitted(&Meter::default(), least, 10 * SECOND, 1000), 1000);
    }

    #[test]
    fn workers_share_it() {
        let (meter, rate) = (Meter::default(), Rate { per_second: 1, burst: 1000 });
        let count = || admitted(&meter, rate, SECOND, 1000);
        let all: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(all, 1000);
    }

    #[test]
    fn in_the_long_run_it_is_the_rate_whatever_is_asked_for() {
        let (meter, rate) = (Meter::default(), Rate { per_second: 10, burst: 5 });
        let allowed = |ms: u64, asked| admitted(&meter, rate, ms * SECOND / 1000, asked);
        assert_eq!(allowed(0, 100), 5);
        assert_eq!(allowed(99, 100), 0);
        assert_eq!(allowed(100, 100), 1);
        assert_eq!(allowed(350, 100), 2);
        assert_eq!(allowed(60_000, 100), 5);
        let total: usize = (0..10_000).map(|ms| allowed(60_000 + ms, 3)).sum();
        assert_eq!(total, 99);
        meter.forget();
        assert_eq!(allowed(70_000, 100), 5);
    }

    #[test]
    fn nothing_overflows() {
        // Not the longest burst, not after centuries.
        let centuries = (1 << 33) * SECOND;
        for extreme in [u32::MAX, 1, 0] {
            let (meter, rate) = (Meter::default(), Rate { per_second: extreme, burst: extreme });
            assert!(meter.admit(rate, 0));
            assert!(meter.admit(rate, centuries));
        }
        let (meter, rate) = (Meter::default(), Rate { per_second: 1, burst: u32::MAX });
        assert!(meter.admit(rate, 0) && meter.admit(rate, centuries));
    }
}
