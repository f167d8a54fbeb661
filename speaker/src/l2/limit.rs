//! How often one station is answered about one VIP.
//!
//! An answer costs the wire no more than its question, so the limit is there for a station that
//! asks in a loop, not for the many that ask at once after a switch-over: it counts each pair of
//! requester and VIP by itself. State is bounded; a flood from forged addresses empties the table
//! and so loosens the limit, rather than starving honest requesters.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipgate_planner::MacAddr;

/// Sustained distance of replies to one requester about one VIP. Stacks repeat a request after
/// one second, `arping` at its fastest useful setting after a tenth.
pub(super) const INTERVAL: Duration = Duration::from_millis(50);
/// Replies given at once before [`INTERVAL`] applies.
pub(super) const BURST: u32 = 10;
/// Pairs remembered on a link.
pub(super) const REMEMBERED: usize = 4096;

/// Grants replies by the generic cell rate algorithm: one instant per pair is all it keeps.
#[derive(Debug, Default)]
pub(super) struct ReplyLimit {
    /// When the pair would be back at rest, if nothing more were granted.
    pub(super) at_rest: BTreeMap<(MacAddr, IpAddr), Instant>,
}

impl ReplyLimit {
    /// Whether `requester` may be answered about `vip` now; if so, it is counted.
    pub(super) fn admit(&mut self, requester: MacAddr, vip: IpAddr, now: Instant) -> bool {
        if self.at_rest.len() >= REMEMBERED && !self.at_rest.contains_key(&(requester, vip)) {
            self.make_room(now);
        }
        let at_rest = self.at_rest.entry((requester, vip)).or_insert(now);
        let from = (*at_rest).max(now);
        if from - now > INTERVAL * (BURST - 1) {
            return false;
        }
        *at_rest = from + INTERVAL;
        true
    }

    fn make_room(&mut self, now: Instant) {
        self.at_rest.retain(|_, at_rest| *at_rest > now);
        if self.at_rest.len() >= REMEMBERED {
            self.at_rest.clear();
        }
    }
}
