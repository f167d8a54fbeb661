//! What ARP and NDP on this host have done so far; the source of its metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::reason::DropReason;
use super::responder::Purpose;

/// Counts that only grow, shared by all links.
#[derive(Debug, Default)]
pub(super) struct Counters {
    wakeups: AtomicU64,
    received: AtomicU64,
    requests: AtomicU64,
    replies: AtomicU64,
    gratuitous: AtomicU64,
    defences: AtomicU64,
    probes: AtomicU64,
    send_errors: AtomicU64,
    sightings_lost: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
}

/// The counts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times the kernel woke a link's task because of received frames.
    pub wakeups: u64,
    /// Frames that passed the filters.
    pub received: u64,
    /// Requests for VIPs, also those not answered because of the rate limit.
    pub requests: u64,
    /// Replies sent.
    pub replies: u64,
    /// Gratuitous frames sent: two per announcement of an IPv4 VIP, one of an IPv6 VIP; defences not
    /// included.
    pub gratuitous: u64,
    /// Defending frames sent, as many per defence.
    pub defences: u64,
    /// Probes sent, three per address and link when it is free.
    pub probes: u64,
    /// Frames the kernel did not take.
    pub send_errors: u64,
    /// Sightings not reported because nobody took the earlier ones.
    pub sightings_lost: u64,
    /// Received frames that were dropped, by reason; only reasons that occurred.
    pub dropped: BTreeMap<DropReason, u64>,
}

impl Counters {
    pub(super) fn woke(&self) {
        self.wakeups.fetch_add(1, Relaxed);
    }

    pub(super) fn received(&self) {
        self.received.fetch_add(1, Relaxed);
    }

    pub(super) fn requested(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn sent(&self, purpose: Purpose) {
        let counter = match purpose {
            Purpose::Reply => &self.replies,
            Purpose::Gratuitous => &self.gratuitous,
            Purpose::Defence => &self.defences,
            Purpose::Probe => &self.probes,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn send_failed(&self) {
        self.send_errors.fetch_add(1, Relaxed);
    }

    pub(super) fn sighting_lost(&self) {
        self.sightings_lost.fetch_add(1, Relaxed);
    }

    pub(super) fn dropped(&self, reason: DropReason) {
        self.dropped[reason as usize].fetch_add(1, Relaxed);
    }

    /// The counts now. They are read one after the other, so sums may be off by a frame.
    pub(super) fn snapshot(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Counts {
            wakeups: read(&self.wakeups),
            received: read(&self.received),
            requests: read(&self.requests),
            replies: read(&self.replies),
            gratuitous: read(&self.gratuitous),
            defences: read(&self.defences),
            probes: read(&self.probes),
            send_errors: read(&self.send_errors),
            sightings_lost: read(&self.sightings_lost),
            dropped: DropReason::ALL
                .iter()
                .map(|reason| (*reason, read(&self.dropped[*reason as usize])))
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }
}
