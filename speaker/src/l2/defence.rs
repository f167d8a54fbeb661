//! What is done about a foreign station that claims a VIP (RFC 5227 section 2.4).

use std::time::{Duration, Instant};

use vipgate_planner::MacAddr;

/// A VIP is defended at most once in this time (RFC 5227 section 1.1, `DEFEND_INTERVAL`), so that
/// two stations that both insist on an address do not storm.
pub const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// Foreign stations reported per VIP and [`DEFEND_INTERVAL`].
pub(super) const REPORTED: usize = 8;

/// What to do about one conflicting frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reaction {
    /// Announce the VIP once.
    pub(super) defend: bool,
    /// Tell the node that there is a conflict with this station.
    pub(super) report: bool,
}

/// The conflict about one VIP, as far as it goes on.
///
/// Of the choices in RFC 5227 section 2.4 this is (c): an address that others rely on is not given
/// up by this machine; the node decides on the report.
#[derive(Clone, Debug, Default)]
pub(super) struct Defence {
    last: Option<Instant>,
    reported: Vec<MacAddr>,
}

impl Defence {
    /// Decides about one frame in which `foreign` claims the VIP.
    pub(super) fn react(&mut self, foreign: MacAddr, now: Instant) -> Reaction {
        let defend =
            self.last.is_none_or(|last| now.saturating_duration_since(last) >= DEFEND_INTERVAL);
        if defend {
            self.last = Some(now);
            self.reported.clear();
        }
        let report = self.reported.len() < REPORTED && !self.reported.contains(&foreign);
        if report {
            self.reported.push(foreign);
        }
        Reaction { defend, report }
    }
}
