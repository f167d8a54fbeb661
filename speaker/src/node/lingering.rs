//! VIPs that went from here and stay on the host for a moment, in silence: who has not heard of it yet
//! still sends here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipgate_planner::VipState;

use super::LINGER;

/// How long after routers were told that a VIP is not here any more: what they tell each other takes its
/// time.
const ROUTED: Duration = Duration::from_secs(1);

/// Until when they stay.
#[derive(Debug, Default)]
pub(super) struct Lingering(BTreeMap<IpAddr, Stay>);

#[derive(Debug)]
struct Stay {
    until: Instant,
    /// Routers knew it: it stays though it is planned no more, for a packet that comes must not be sent
    /// back to the router.
    routed: bool,
}

impl Lingering {
    /// Takes in what was held by the last round, of which routers knew `told`, and what is held by this
    /// one; `others` are the VIPs of other members. Returns those that stay.
    pub(super) fn follow(
        &mut self,
        (held, told): (&BTreeSet<IpAddr>, &BTreeSet<IpAddr>),
        ready: &BTreeSet<IpAddr>,
        others: &BTreeMap<IpAddr, VipState>,
        now: Instant,
    ) -> BTreeSet<IpAddr> {
        for vip in held.difference(ready) {
            let taken = matches!(others.get(vip), Some(VipState::Standby { .. }));
            let stay = match told.contains(vip) {
                true => Some(Stay { until: now + ROUTED, routed: true }),
                false => taken.then_some(Stay { until: now + LINGER, routed: false }),
            };
            self.0.extend(stay.map(|stay| (*vip, stay)));
        }
        self.0.retain(|vip, stay| {
            let known = stay.routed || others.contains_key(vip);
            now < stay.until && known && !ready.contains(vip)
        });
        self.0.keys().copied().collect()
    }

    /// When the first of them goes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|stay| stay.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn standby() -> BTreeMap<IpAddr, VipState> {
        [(VIP, VipState::Standby { owner: "other".to_owned(), announced: true })].into()
    }

    #[test]
    fn a_vip_that_routers_knew_stays_for_longer_and_whether_it_is_planned_or_not() {
        let (some, none) = (BTreeSet::from([VIP]), BTreeSet::new());
        let start = Instant::now();
        let mut lingering = Lingering::default();
        let nobody = BTreeMap::new();
        assert_eq!(lingering.follow((&some, &some), &none, &nobody, start), some);
        assert_eq!(lingering.follow((&none, &none), &none, &nobody, start + LINGER), some);
        assert_eq!(lingering.due(), Some(start + ROUTED));
        assert_eq!(lingering.follow((&none, &none), &none, &nobody, start + ROUTED), none);
        assert_eq!(lingering.due(), None);
    }

    #[test]
    fn one_that_another_member_took_stays_until_clients_know_and_one_that_is_gone_does_not() {
        let (some, none) = (BTreeSet::from([VIP]), BTreeSet::new());
        let start = Instant::now();
        let mut lingering = Lingering::default();
        assert_eq!(lingering.follow((&some, &none), &none, &standby(), start), some);
        assert_eq!(lingering.follow((&none, &none), &none, &standby(), start + LINGER), none);
        assert_eq!(lingering.follow((&some, &none), &none, &BTreeMap::new(), start), none);
    }

    #[test]
    fn what_is_held_does_not_linger() {
        let (some, none) = (BTreeSet::from([VIP]), BTreeSet::new());
        let start = Instant::now();
        let mut lingering = Lingering::default();
        lingering.follow((&some, &some), &none, &BTreeMap::new(), start);
        assert_eq!(lingering.follow((&none, &none), &some, &BTreeMap::new(), start), none);
        assert_eq!(lingering.due(), None);
        // A member of the group has it on the LAN, and routers send here as well: for ever.
        assert_eq!(lingering.follow((&some, &some), &some, &standby(), start), none);
        assert_eq!(lingering.due(), None);
    }
}
