//! How long VIPs that other members had took to be announced here.
//!
//! State: counts since the start, shared with whoever asks, and which take-overs were counted. What always holds:
//! each is counted once, when the VIP is on the host and its first announcement was handed to the tasks of its links.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::group::{Cause, Takeover};

/// How long the take-overs of one cause took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailoverTimes {
    /// How many took at most as long as the bound of the same place, and longer than the one before; the
    /// last is those that took longer than all.
    pub counts: [u64; Self::BOUNDS.len() + 1],
    /// Of all together.
    pub sum: Duration,
}

impl FailoverTimes {
    /// Milliseconds: from a hand-over to an outage that people saw.
    pub const BOUNDS: [u64; 12] =
        [10, 25, 50, 100, 200, 350, 500, 800, 1_500, 3_000, 10_000, 60_000];

    fn count(&mut self, took: Duration) {
        let place = Self::BOUNDS.partition_point(|bound| Duration::from_millis(*bound) < took);
        self.counts[place] += 1;
        self.sum += took;
    }
}

/// By cause.
pub type Failovers = BTreeMap<Cause, FailoverTimes>;

/// The counts, for whoever asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock(Arc<Mutex<Failovers>>);

impl Clock {
    /// As of now; every cause is there.
    pub(super) fn read(&self) -> Failovers {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let of = |cause: Cause| (cause, counted.get(&cause).cloned().unwrap_or_default());
        Cause::ALL.map(of).into()
    }

    fn count(&self, cause: Cause, took: Duration) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.entry(cause).or_default().count(took);
    }
}

/// Which take-overs were counted.
#[derive(Debug, Default)]
pub(super) struct Watch {
    clock: Clock,
    counted: BTreeMap<IpAddr, Takeover>,
}

impl Watch {
    /// Counting here.
    pub(super) fn of(clock: Clock) -> Self {
        Self { clock, counted: BTreeMap::new() }
    }

    /// Takes in which VIPs are announced here from now on, and how they came.
    pub(super) fn announced(
        &mut self,
        vips: &BTreeSet<IpAddr>,
        takeovers: &BTreeMap<IpAddr, Takeover>,
        now: Instant,
    ) {
        self.counted.retain(|vip, takeover| takeovers.get(vip) == Some(&*takeover));
        let new = vips.iter().filter_map(|vip| Some((*vip, *takeovers.get(vip)?)));
        for (vip, takeover) in new {
            if self.counted.insert(vip, takeover).is_none() {
                let took = now.saturating_duration_since(takeover.since);
                self.clock.count(takeover.cause, took);
                tracing::debug!(%vip, ?took, cause = takeover.cause.name(), "taken over and announced");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_once_when_it_is_announced() {
        let (clock, now) = (Clock::default(), Instant::now());
        let mut watch = Watch::of(clock.clone());
        let [first, second]: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
        let ago = |milliseconds, cause| Takeover {
            since: now - Duration::from_millis(milliseconds),
            cause,
        };
        let mut takeovers =
            BTreeMap::from([(first, ago(300, Cause::Dead)), (second, ago(5, Cause::Left))]);
        watch.announced(&BTreeSet::new(), &takeovers, now);
        assert!(clock.read().values().all(|times| *times == FailoverTimes::default()));
        watch.announced(&[first].into(), &takeovers, now);
        watch.announced(&[first, second].into(), &takeovers, now + Duration::from_secs(9));
        let counted = clock.read();
        assert_eq!(counted.len(), Cause::ALL.len());
        let dead = &counted[&Cause::Dead];
        assert_eq!((dead.counts[5], dead.counts.iter().sum::<u64>()), (1, 1), "{dead:?}");
        assert_eq!(dead.sum, Duration::from_millis(300));
        assert_eq!(counted[&Cause::Left].counts[10], 1, "9.005 s: it was not announced before");

        // It goes, and comes another time.
        takeovers.remove(&first);
        watch.announced(&[second].into(), &takeovers, now);
        takeovers.insert(first, ago(300, Cause::Dead));
        watch.announced(&[first, second].into(), &takeovers, now);
        assert_eq!(clock.read()[&Cause::Dead].counts[5], 2);
        // What has no other owner before is not of interest.
        watch.announced(&[[192, 0, 2, 3].into()].into(), &BTreeMap::new(), now);
        assert_eq!(clock.read()[&Cause::Dead].counts.iter().sum::<u64>(), 2);
    }

    #[test]
    fn a_bound_is_of_its_bucket() {
        let mut times = FailoverTimes::default();
        for milliseconds in [10, 11, 60_000, 60_001] {
            times.count(Duration::from_millis(milliseconds));
        }
        assert_eq!(times.counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    }
}
