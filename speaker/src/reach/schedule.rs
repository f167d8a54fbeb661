//! When which VIP is asked for: each every so often, no two together because they were together before, and never
//! more in a second than [`PACE`].
//!
//! Time and chance are arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// So many begin in a second at most. With more of them each is asked for less often.
pub(super) const PACE: u32 = 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Schedule {
    every: Duration,
    /// When each is due; nothing while it is being asked for.
    due: BTreeMap<IpAddr, Option<Instant>>,
    /// No other begins before.
    next: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, due: BTreeMap::new(), next: None }
    }

    /// Takes in which VIPs there are to ask for. New ones are due after some part of an interval;
    /// `chance` gives numbers from 0 to 1.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        vips: &BTreeSet<IpAddr>,
        mut chance: impl FnMut() -> f64,
    ) {
        self.due.retain(|vip, _| vips.contains(vip));
        for vip in vips {
            let every = self.every;
            self.due.entry(*vip).or_insert_with(|| Some(now + every.mul_f64(chance())));
        }
    }

    /// When one may begin, if nothing happens before.
    pub(super) fn due(&self) -> Option<Instant> {
        let first = self.due.values().flatten().min()?;
        Some(self.next.map_or(*first, |next| next.max(*first)))
    }

    /// The one that is to begin now, if any is.
    pub(super) fn take(&mut self, now: Instant) -> Option<IpAddr> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        let waiting = self.due.iter().filter_map(|(vip, due)| Some(((*due)?, *vip)));
        let (_, vip) = waiting.filter(|(due, _)| *due <= now).min()?;
        self.due.insert(vip, None);
        self.next = Some(now + Duration::from_secs(1) / PACE);
        Some(vip)
    }

    /// One was asked for: it is due again after three to five quarters of an interval.
    pub(super) fn done(&mut self, now: Instant, vip: IpAddr, chance: f64) {
        if let Some(due) = self.due.get_mut(&vip) {
            *due = Some(now + self.every.mul_f64(0.75 + chance / 2.0));
        }
    }
}

#[cfg(test)]
mod tests;
