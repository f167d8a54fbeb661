//! Which ports of a VIP are asked for: all of few; of many some, and others the next time.
//!
//! State: for each VIP that has many, how often it was its turn. Each has a count of its own, so that all of its ports
//! are asked for whatever is asked for between.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// So many ports of a VIP are asked for at a time.
pub(super) const PORTS: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeMap<IpAddr, usize>);

impl Turns {
    /// Forgets all but these.
    pub(super) fn keep(&mut self, vips: &BTreeSet<IpAddr>) {
        self.0.retain(|vip, _| vips.contains(vip));
    }

    /// The ports of a VIP whose turn it is.
    pub(super) fn take(&mut self, vip: IpAddr, ports: &[u16]) -> Vec<u16> {
        if ports.len() <= PORTS {
            return ports.to_vec();
        }
        let turn = self.0.entry(vip).or_default();
        let first = turn.wrapping_mul(PORTS) % ports.len();
        *turn = turn.wrapping_add(1);
        ports.iter().cycle().skip(first).take(PORTS).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 200));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 201));

    #[test]
    fn of_many_ports_each_has_its_turn() {
        let mut turns = Turns::default();
        assert_eq!(turns.take(ONE, &[80, 443]), [80, 443]);
        assert!(turns.0.is_empty(), "few need no turns");
        for (count, visits) in [(17, 2), (20, 2), (32, 2), (33, 3), (256, 16)] {
            let ports: Vec<u16> = (1..=count).collect();
            let mut turns = Turns::default();
            let mut asked = BTreeSet::new();
            for _ in 0..visits {
                let some = turns.take(ONE, &ports);
                assert_eq!(some.len(), PORTS);
                asked.extend(some);
            }
            assert!(asked.iter().eq(&ports), "{count} ports: {asked:?}");
        }
    }

    #[test]
    fn vips_that_alternate_are_asked_for_all_ports_each() {
        let ports: Vec<u16> = (1..=32).collect();
        let mut turns = Turns::default();
        let mut asked: BTreeMap<IpAddr, BTreeSet<u16>> = BTreeMap::new();
        for vip in [ONE, OTHER, ONE, OTHER] {
            asked.entry(vip).or_default().extend(turns.take(vip, &ports));
        }
        assert_eq!(asked[&ONE].len(), 32);
        assert_eq!(asked[&OTHER].len(), 32);
        turns.keep(&[OTHER].into());
        assert_eq!(turns.0.keys().collect::<Vec<_>>(), [&OTHER]);
    }

    #[test]
    fn a_count_that_wraps_does_no_harm() {
        let mut turns = Turns([(ONE, usize::MAX)].into());
        let ports: Vec<u16> = (1..=20).collect();
        for _ in 0..2 {
            assert_eq!(turns.take(ONE, &ports).len(), PORTS);
        }
    }
}
