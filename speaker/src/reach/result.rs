//! What was found, for whoever asks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vipgate_planner::MacAddr;

/// How a VIP was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Its owner answers for the address, and on every port, as each was found when it was asked for last.
    Reached,
    /// Nobody answers for the address.
    Unanswered,
    /// A host that is not its owner answers for the address.
    AnotherHost(MacAddr),
    /// A port is refused.
    Refused(u16),
    /// A port does not answer.
    Silent(u16),
}

impl Outcome {
    /// The names there are.
    pub const NAMES: [&'static str; 5] =
        ["reached", "unanswered", "another_host", "refused", "silent"];

    /// As it is called in metrics.
    pub fn name(self) -> &'static str {
        Self::NAMES[match self {
            Self::Reached => 0,
            Self::Unanswered => 1,
            Self::AnotherHost(_) => 2,
            Self::Refused(_) => 3,
            Self::Silent(_) => 4,
        }]
    }

    /// In words, of what `owner` has.
    pub fn in_words(self, owner: &str) -> String {
        match self {
            Self::Reached => format!("{owner} has it and answers"),
            Self::Unanswered => format!("{owner} has it, and nobody on the LAN answers for it"),
            Self::AnotherHost(mac) => format!("{owner} has it, and {mac} answers for it"),
            Self::Refused(port) => format!("{owner} has it, and refuses port {port}"),
            Self::Silent(port) => format!("{owner} has it, and does not answer at port {port}"),
        }
    }
}

/// What was found of a VIP the last time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The name of the member that has it.
    pub owner: String,
    /// How it was found.
    pub outcome: Outcome,
    /// How often in a row it was not reached.
    pub failures: u32,
    /// From the first frame of the question to the last answer.
    pub took: Duration,
    /// Its TCP ports, and whether they answered when they were asked for last.
    pub ports: BTreeMap<u16, bool>,
}

/// What was found, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The VIPs that this node asks for.
    pub vips: BTreeMap<IpAddr, Reached>,
    /// How many times each came out, by its name, since the start.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Questions that could not be asked, since the start.
    pub unasked: u64,
}

/// Where it is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Arc<Mutex<Snapshot>>);

impl Board {
    /// As of now.
    pub(crate) fn read(&self) -> Snapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Snapshot {
    /// Forgets the ports of a VIP that listeners have no more.
    pub(super) fn keep_ports(&mut self, vip: IpAddr, ports: &[u16]) {
        if let Some(found) = self.vips.get_mut(&vip) {
            found.ports.retain(|port, _| ports.contains(port));
        }
    }

    /// Takes in what a visit found. How often in a row the VIP was not reached before, and is not now; and how it
    /// stands with what is known of the ports that were not asked for this time.
    pub(super) fn learn(&mut self, vip: IpAddr, mut found: Reached) -> (u32, u32, Outcome) {
        let former = self.vips.get(&vip).filter(|former| former.owner == found.owner);
        let before = former.map_or(0, |former| former.failures);
        // Where it has more ports than are asked for at a time.
        if let Some(former) = former {
            for (port, answers) in &former.ports {
                found.ports.entry(*port).or_insert(*answers);
            }
        }
        let dead = found.ports.iter().find(|(_, answers)| !**answers).map(|(port, _)| *port);
        if let (Outcome::Reached, Some(port)) = (found.outcome, dead) {
            // As it was found when it was asked last.
            let still = |outcome: &Outcome| match outcome {
                Outcome::Refused(port) | Outcome::Silent(port) => {
                    found.ports.get(port) == Some(&false)
                }
                _ => false,
            };
            let stands = former.map(|former| former.outcome).filter(still);
            found.outcome = stands.unwrap_or(Outcome::Silent(port));
        }
        if found.outcome != Outcome::Reached {
            found.failures = before.saturating_add(1);
        }
        *self.outcomes.entry(found.outcome.name()).or_default() += 1;
        let (now, outcome) = (found.failures, found.outcome);
        self.vips.insert(vip, found);
        (before, now, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::turns::Turns;

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 200));

    /// Visits a VIP with these ports, of which some do not answer.
    fn visit(
        snapshot: &mut Snapshot,
        turns: &mut Turns,
        ports: &[u16],
        dead: &[u16],
    ) -> (u32, Outcome) {
        let asked = turns.take(VIP, ports);
        let silent = asked.iter().filter(|port| dead.contains(port)).min();
        let found = Reached {
            owner: "a".to_owned(),
            outcome: silent.map_or(Outcome::Reached, |port| Outcome::Silent(*port)),
            failures: 0,
            took: Duration::ZERO,
            ports: asked.iter().map(|port| (*port, !dead.contains(port))).collect(),
        };
        snapshot.keep_ports(VIP, ports);
        let (_, failures, outcome) = snapshot.learn(VIP, found);
        assert_eq!(snapshot.vips[&VIP].outcome, outcome);
        (failures, outcome)
    }

    #[test]
    fn a_dead_port_of_many_counts_until_it_answers_again() {
        for count in [20, 32] {
            let ports: Vec<u16> = (1..=count).collect();
            let (mut snapshot, mut turns) = (Snapshot::default(), Turns::default());
            let mut visit = |dead: &[u16]| visit(&mut snapshot, &mut turns, &ports, dead);
            assert_eq!(visit(&[3]), (1, Outcome::Silent(3)));
            for failures in 2..=7 {
                assert_eq!(visit(&[3]), (failures, Outcome::Silent(3)), "{count} ports");
            }
            // It answers again, and is asked for within two visits.
            let (one, two) = (visit(&[]), visit(&[]));
            assert!(one.1 == Outcome::Reached || one == (8, Outcome::Silent(3)), "{one:?}");
            assert_eq!(two, (0, Outcome::Reached), "{count} ports");
        }
    }

    #[test]
    fn a_port_that_was_refused_stays_so_until_it_has_its_turn() {
        let found = |outcome, ports: &[(u16, bool)]| Reached {
            owner: "a".to_owned(),
            outcome,
            failures: 0,
            took: Duration::ZERO,
            ports: ports.iter().copied().collect(),
        };
        let mut snapshot = Snapshot::default();
        let refused = Outcome::Refused(3);
        assert_eq!(snapshot.learn(VIP, found(refused, &[(3, false)])), (0, 1, refused));
        let others = found(Outcome::Reached, &[(17, true)]);
        assert_eq!(snapshot.learn(VIP, others), (1, 2, refused));
        let again = found(Outcome::Reached, &[(3, true)]);
        assert_eq!(snapshot.learn(VIP, again), (2, 0, Outcome::Reached));
    }

    #[test]
    fn a_dead_port_that_is_no_longer_a_listeners_does_not_count() {
        let ports: Vec<u16> = (1..=32).collect();
        let (mut snapshot, mut turns) = (Snapshot::default(), Turns::default());
        assert_eq!(visit(&mut snapshot, &mut turns, &ports, &[3]), (1, Outcome::Silent(3)));
        let others: Vec<u16> = ports.into_iter().filter(|port| *port != 3).collect();
        assert_eq!(visit(&mut snapshot, &mut turns, &others, &[]), (0, Outcome::Reached));
        assert!(!snapshot.vips[&VIP].ports.contains_key(&3));
    }

    #[test]
    fn failures_in_a_row_are_those_of_one_owner() {
        let found = |owner: &str, outcome| Reached {
            owner: owner.to_owned(),
            outcome,
            failures: 0,
            took: Duration::ZERO,
            ports: BTreeMap::new(),
        };
        let mut snapshot = Snapshot::default();
        assert_eq!(
            snapshot.learn(VIP, found("a", Outcome::Silent(80))),
            (0, 1, Outcome::Silent(80))
        );
        assert_eq!(
            snapshot.learn(VIP, found("a", Outcome::Unanswered)),
            (1, 2, Outcome::Unanswered)
        );
        assert_eq!(
            snapshot.learn(VIP, found("b", Outcome::Unanswered)),
            (0, 1, Outcome::Unanswered)
        );
        assert_eq!(snapshot.learn(VIP, found("b", Outcome::Reached)), (1, 0, Outcome::Reached));
        assert_eq!(snapshot.outcomes["unanswered"], 2);
    }

    #[test]
    fn every_outcome_has_its_name() {
        let all = [
            Outcome::Reached,
            Outcome::Unanswered,
            Outcome::AnotherHost(MacAddr([2; 6])),
            Outcome::Refused(1),
            Outcome::Silent(1),
        ];
        assert_eq!(all.map(Outcome::name), Outcome::NAMES);
    }
}
