//! Hosts that claim a VIP which serves here, as the wire showed lately.
//!
//! The L2 speaker defends the VIP and says so; here it is remembered for [`HOLDS`], long enough to
//! be seen by whoever looks, and renewed by every further claim. How many there were is counted for as
//! long as the VIP is planned.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use vipgate_planner::{MacAddr, Plan};

use crate::l2::Sighting;

/// How long after its last claim a host is still named.
pub(super) const HOLDS: Duration = Duration::from_secs(60);

/// How many claims there were, for whoever asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<Mutex<BTreeMap<IpAddr, u64>>>);

impl Tally {
    /// By VIP.
    pub(super) fn read(&self) -> BTreeMap<IpAddr, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<IpAddr, u64>)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The last claim for each VIP.
#[derive(Debug, Default)]
pub(super) struct Contests {
    last: BTreeMap<IpAddr, (MacAddr, Instant)>,
    tally: Tally,
}

impl Contests {
    /// With nothing seen, counting here.
    pub(super) fn counting(tally: Tally) -> Self {
        Self { tally, ..Self::default() }
    }

    /// Remembers a claim.
    pub(super) fn seen(&mut self, claim: &Sighting, now: Instant) {
        self.last.insert(claim.vip, (claim.mac, now));
        self.tally.change(|counts| *counts.entry(claim.vip).or_default() += 1);
    }

    /// Forgets what is too long ago or no longer planned, and returns the rest.
    pub(super) fn lately(&mut self, plan: &Plan, now: Instant) -> BTreeMap<IpAddr, MacAddr> {
        self.tally.change(|counts| counts.retain(|vip, _| plan.vips.contains_key(vip)));
        self.last.retain(|vip, (_, at)| plan.vips.contains_key(vip) && now < *at + HOLDS);
        self.last.iter().map(|(vip, (mac, _))| (*vip, *mac)).collect()
    }

    /// Forgets claims by these.
    pub(super) fn forget(&mut self, macs: &BTreeSet<MacAddr>) {
        self.last.retain(|_, (mac, _)| !macs.contains(mac));
    }

    /// When there is something to forget, if ever.
    pub(super) fn due(&self) -> Option<Instant> {
        self.last.values().map(|(_, at)| *at + HOLDS).min()
    }
}

#[cfg(test)]
mod tests;
