//! Hosts that claim a VIP which serves here, as the wire showed lately.
//!
//! The L2 speaker defends the VIP and says so; here it is remembered for [`HOLDS`], long enough to
//! be seen by whoever looks, and renewed by every further claim.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipgate_planner::{MacAddr, Plan};

use crate::l2::Sighting;

/// How long after its last claim a host is still named.
pub(super) const HOLDS: Duration = Duration::from_secs(60);

/// The last claim for each VIP.
#[derive(Debug, Default)]
pub(super) struct Contests(BTreeMap<IpAddr, (MacAddr, Instant)>);

impl Contests {
    /// Remembers a claim.
    pub(super) fn seen(&mut self, claim: &Sighting, now: Instant) {
        self.0.insert(claim.vip, (claim.mac, now));
    }

    /// Forgets what is too long ago or no longer planned, and returns the rest.
    pub(super) fn lately(&mut self, plan: &Plan, now: Instant) -> BTreeMap<IpAddr, MacAddr> {
        self.0.retain(|vip, (_, at)| plan.vips.contains_key(vip) && now < *at + HOLDS);
        self.0.iter().map(|(vip, (mac, _))| (*vip, *mac)).collect()
    }

    /// Forgets claims by these.
    pub(super) fn forget(&mut self, macs: &BTreeSet<MacAddr>) {
        self.0.retain(|_, (mac, _)| !macs.contains(mac));
    }

    /// When there is something to forget, if ever.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|(_, at)| *at + HOLDS).min()
    }
}

#[cfg(test)]
mod tests;
