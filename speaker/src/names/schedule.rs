//! When which name is asked for, and what is known of each: pure, time and chance come from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipgate_planner::{Answer, Names};

use super::{MOST_ADDRESSES, MOST_NAMES};

/// An answer is good for so long at least, and at most, whatever its TTL says.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);
/// After the first failure, and after many.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// What came of asking for the addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// These, for so long.
    Has(BTreeSet<IpAddr>, Duration),
    /// The name is there and has none, for so long, if that was said.
    HasNone(Option<Duration>),
    /// Nothing that can be used, and why.
    Failed(String),
}

/// What came of asking for a name: A and AAAA.
pub(super) type Looked = [Family; 2];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    names: BTreeMap<String, Name>,
    /// Wanted, and too many.
    surplus: BTreeSet<String>,
}

#[derive(Debug)]
struct Name {
    /// By the last good answer, IPv4 and IPv6.
    addresses: [BTreeSet<IpAddr>; 2],
    error: Option<String>,
    failures: u32,
    due: Instant,
    asked: bool,
}

impl Schedule {
    /// These are wanted from now on, new ones at once.
    pub(super) fn want(&mut self, wanted: &BTreeSet<String>, now: Instant) {
        self.surplus = wanted.iter().skip(MOST_NAMES).cloned().collect();
        self.names.retain(|name, _| wanted.contains(name) && !self.surplus.contains(name));
        for name in wanted.iter().take(MOST_NAMES) {
            self.names.entry(name.clone()).or_insert_with(|| Name {
                addresses: Default::default(),
                error: None,
                failures: 0,
                due: now,
                asked: false,
            });
        }
    }

    /// Takes up to so many names that are to be asked for now; each has to be answered.
    pub(super) fn due(&mut self, now: Instant, most: usize) -> Vec<String> {
        let mut due: Vec<_> =
            self.names.iter_mut().filter(|(_, one)| !one.asked && one.due <= now).collect();
        due.sort_by_key(|(_, one)| one.due);
        let taken = due.into_iter().take(most).map(|(name, one)| {
            one.asked = true;
            name.clone()
        });
        taken.collect()
    }

    /// When the next one is to be asked for.
    pub(super) fn next(&self) -> Option<Instant> {
        self.names.values().filter(|one| !one.asked).map(|one| one.due).min()
    }

    /// Takes in what came of a name; one that is not wanted any more is passed over. Whether that is
    /// something else than was known of it. `chance` is from 0 to 1.
    pub(super) fn answered(
        &mut self,
        name: &str,
        looked: Looked,
        now: Instant,
        chance: f64,
    ) -> bool {
        let Some(one) = self.names.get_mut(name) else { return false };
        let before = one.answer();
        one.asked = false;
        let good_for = one.take(looked);
        let pause = match good_for {
            Some(ttl) => {
                one.failures = 0;
                // Not all nodes at the same moment. A little early: who answers from a cache says how long
                // it is good still.
                ttl.clamp(SHORTEST, LONGEST)
                    .mul_f64(1.0 - chance.clamp(0.0, 1.0) / 10.0)
                    .max(SHORTEST)
            }
            None => {
                let doubled = FIRST_PAUSE * 2_u32.pow(one.failures.min(5));
                one.failures = one.failures.saturating_add(1);
                doubled.min(LAST_PAUSE).mul_f64(1.0 - chance.clamp(0.0, 1.0) / 4.0)
            }
        };
        one.due = now + pause;
        one.answer() != before
    }

    /// What is known of each name, those left out that nothing is known of yet.
    pub(super) fn answers(&self) -> Names {
        let known = self.names.iter().map(|(name, one)| (name.clone(), one.answer()));
        let known = known.filter(|(_, answer)| *answer != Answer::default());
        let surplus = self.surplus.iter().map(|name| {
            let error =
                format!("more than {MOST_NAMES} names are in use, this one is not looked up");
            (name.clone(), Answer { error: Some(error), ..Answer::default() })
        });
        known.chain(surplus).collect()
    }
}

impl Name {
    /// Replaces what was known by what is good of it. For how long that is good; `None` if it is to be
    /// tried again.
    fn take(&mut self, looked: Looked) -> Option<Duration> {
        let mut ttl: Option<Duration> = None;
        let mut shorter = |other: Duration| ttl = Some(ttl.map_or(other, |ttl| ttl.min(other)));
        self.error = None;
        let has_some = looked.iter().any(|family| matches!(family, Family::Has(..)));
        let nothing = looked.iter().all(|family| matches!(family, Family::HasNone(_)));
        for (family, known) in looked.into_iter().zip(&mut self.addresses) {
            match family {
                Family::Has(addresses, good_for) => {
                    *known = addresses;
                    shorter(good_for);
                }
                Family::HasNone(good_for) if has_some => {
                    known.clear();
                    good_for.into_iter().for_each(&mut shorter);
                }
                Family::HasNone(_) => {}
                // Some servers never answer to one of the two: no trouble where the other one is enough.
                Family::Failed(_) if has_some && known.is_empty() => {}
                Family::Failed(why) => drop(self.error.get_or_insert(why)),
            }
        }
        if nothing {
            self.error = Some("it has neither A nor AAAA records".to_owned());
        }
        if self.error.is_some() { None } else { ttl }
    }

    fn answer(&self) -> Answer {
        let addresses = self.addresses.iter().flatten().copied().take(MOST_ADDRESSES).collect();
        Answer { addresses, error: self.error.clone() }
    }
}

#[cfg(test)]
mod tests;
