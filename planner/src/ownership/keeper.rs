//! One member's part in the ownership of all VIPs.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::election::Candidate;
use super::rebalance::PACE;
use super::rule::{RULE, Rule};
use super::{Entries, Entry, Hold, Offer, View};

/// How long a preferred member must have been able before it takes a VIP back.
pub const STEADY: Duration = Duration::from_secs(30);
/// How long after our start a VIP that we had before is kept for us to be able to serve it again.
pub const RESUME_WITHIN: Duration = Duration::from_secs(1);
/// How long a hold must be undisputed before most of the group to count as solid.
const SETTLED: Duration = Duration::from_secs(2);

/// Where a VIP is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Possession {
    /// Here.
    Here,
    /// With another member.
    There {
        /// Which.
        owner: String,
        /// Whether it says that it announces it.
        announced: bool,
    },
    /// With nobody yet; the text says what is waited for.
    Nowhere(&'static str),
}

/// What follows from a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Each VIP that is offered here or held anywhere.
    pub vips: BTreeMap<IpAddr, Possession>,
    /// Whether what the others hold and say is known, as far as it will be.
    pub settled: bool,
}

/// What a member remembers.
#[derive(Clone, Debug)]
pub struct Keeper {
    rule: Rule,
    me: String,
    entries: Entries,
    /// The largest epoch that was ever seen of a VIP.
    epochs: BTreeMap<IpAddr, u64>,
    /// Since when a VIP is held without dispute by us.
    undisputed: BTreeMap<IpAddr, Duration>,
    /// Since when a VIP is taken and the former owner has not let go.
    taking: BTreeMap<IpAddr, Duration>,
    /// Since when we are preferred to the owner.
    preferred: BTreeMap<IpAddr, Duration>,
    /// When a rebalance moved a VIP here the last time.
    moved: Option<Duration>,
    /// Since when a VIP is offered here.
    offered: BTreeMap<IpAddr, Duration>,
    /// How many others there were, and when they became more.
    others: usize,
    gained: Option<Duration>,
    /// When all of the group was there last.
    whole: Option<Duration>,
    /// VIPs that we had before our start, and have not served since.
    resumed: BTreeSet<IpAddr>,
    /// Whether the group, or the end of the patience, was seen.
    joined: bool,
    started: Duration,
    /// Since when members that live are not known completely.
    unheard: Option<Duration>,
    due: Option<Duration>,
}

/// What of the group is there, this member with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Larger,
    Half,
    Smaller,
}

impl Part {
    fn of(view: &View) -> Self {
        match (2 * (view.others.len() + 1)).cmp(&view.expected) {
            Ordering::Greater => Self::Larger,
            Ordering::Equal => Self::Half,
            Ordering::Less => Self::Smaller,
        }
    }
}

impl Keeper {
    /// A member that starts now and holds nothing.
    pub fn new(me: &str, now: Duration) -> Self {
        Self {
            rule: RULE,
            me: me.to_owned(),
            entries: Entries::new(),
            epochs: BTreeMap::new(),
            undisputed: BTreeMap::new(),
            taking: BTreeMap::new(),
            preferred: BTreeMap::new(),
            moved: None,
            offered: BTreeMap::new(),
            others: 0,
            gained: None,
            whole: None,
            resumed: BTreeSet::new(),
            joined: false,
            started: now,
            unheard: None,
            due: None,
        }
    }

    /// A member that starts again and had these VIPs before. They are still its own if nobody took
    /// them meanwhile, and if it can serve them within [`RESUME_WITHIN`].
    pub fn resume(me: &str, now: Duration, former: &BTreeMap<IpAddr, u64>) -> Self {
        let mut keeper = Self::new(me, now);
        for (vip, epoch) in former {
            // Whoever took it since has a later epoch, and must not lose it to us.
            let hold = Hold { epoch: *epoch, solid: false, serving: false };
            keeper.entries.insert(*vip, Entry { offer: None, hold: Some(hold) });
            keeper.epochs.insert(*vip, *epoch);
            keeper.resumed.insert(*vip);
        }
        keeper
    }

    #[cfg(test)]
    pub(super) fn with_rule(self, rule: Rule) -> Self {
        Self { rule, ..self }
    }

    /// What we say of ourselves.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// When the next step is due, if nothing happens before.
    pub fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Looks at everything anew.
    pub fn step(
        &mut self,
        now: Duration,
        offers: &BTreeMap<IpAddr, Offer>,
        view: &View,
    ) -> Ownership {
        self.due = None;
        // Also of VIPs that nobody speaks of any more: nobody may, while we are alone.
        self.offered.retain(|vip, _| offers.contains_key(vip));
        let waits = self.waits(now, view);
        let part = Part::of(view);
        if view.others.len() > self.others {
            self.gained = Some(now);
        }
        self.others = view.others.len();
        if view.others.len() + 1 >= view.expected {
            self.whole = Some(now);
        }
        let mut vips: BTreeSet<IpAddr> = offers.keys().copied().collect();
        vips.extend(self.entries.keys());
        vips.extend(view.others.values().flat_map(|peer| peer.entries.keys()));
        let mut ownership = Ownership { settled: waits.is_none(), ..Ownership::default() };
        for vip in vips {
            let offer = offers.get(&vip).copied();
            let possession = self.decide(vip, now, offer, view, waits, part);
            if let Some(possession) = possession {
                ownership.vips.insert(vip, possession);
            }
        }
        ownership
    }

    /// Why nothing may be taken yet.
    fn waits(&mut self, now: Duration, view: &View) -> Option<&'static str> {
        // One that is heard does not do: what those have that are found later would look free.
        self.joined |=
            view.others.len() + 1 >= view.expected || now >= self.started + self.rule.patience;
        if !self.joined {
            self.wake(self.started + self.rule.patience);
            return Some("the other members of the group were not heard yet");
        }
        if view.others.values().all(|peer| peer.complete) {
            self.unheard = None;
            return None;
        }
        let since = *self.unheard.get_or_insert(now);
        if now >= since + self.rule.unheard {
            return None;
        }
        self.wake(since + self.rule.unheard);
        Some("a member of the group has not said yet what it holds")
    }

    /// One VIP.
    fn decide(
        &mut self,
        vip: IpAddr,
        now: Duration,
        offer: Option<Offer>,
        view: &View,
        waits: Option<&'static str>,
        part: Part,
    ) -> Option<Possession> {
        let Rule { rank, choose, .. } = self.rule;
        let of = |name: &str| view.others.get(name).and_then(|peer| peer.entries.get(&vip));
        let holds: Vec<(&str, Hold)> = view
            .others
            .iter()
            .filter_map(|(name, peer)| Some((name.as_str(), peer.entries.get(&vip)?.hold?)))
            .collect();
        let epoch = self.epochs.entry(vip).or_default();
        *epoch = holds.iter().map(|(_, hold)| hold.epoch).fold(*epoch, u64::max);
        let best = holds.iter().copied().max_by_key(|(name, hold)| rank(vip, name, *hold));

        let mut hold = self.entries.get(&vip).and_then(|entry| entry.hold);
        if let Some(ours) = hold {
            let beaten = best
                .is_some_and(|(name, theirs)| rank(vip, name, theirs) > rank(vip, &self.me, ours));
            // Nothing is held that could not be served, or not soon after a start.
            let resumes = !ours.serving && now < self.started + RESUME_WITHIN;
            if beaten || (offer.is_none() && !resumes) {
                hold = None;
            } else if offer.is_none() {
                self.wake(self.started + RESUME_WITHIN);
            }
        }
        match offer {
            Some(_) => drop(self.offered.entry(vip).or_insert(now)),
            None => drop(self.offered.remove(&vip)),
        }
        let known = offer.is_some() || !holds.is_empty() || hold.is_some();
        match (&mut hold, offer) {
            // Somebody may have taken it while we were away.
            (Some(_), Some(_)) if waits.is_some() && self.resumed.contains(&vip) => {}
            (Some(ours), Some(_)) => {
                self.preferred.remove(&vip);
                self.resumed.remove(&vip);
                let disputed = best.is_some();
                self.serve(vip, now, ours, disputed);
                if !disputed {
                    self.settle(vip, now, ours, part);
                }
            }
            (None, Some(offer)) if waits.is_none() => {
                let me = self.me.clone();
                let candidates = view
                    .others
                    .iter()
                    .filter_map(|(name, peer)| {
                        Some(Candidate { name, offer: peer.entries.get(&vip)?.offer? })
                    })
                    .chain([Candidate { name: &me, offer }]);
                let candidates: Vec<Candidate<'_>> = candidates.collect();
                let is_me = |best: Option<Candidate<'_>>| best.is_some_and(|one| one.name == me);
                let take = match best {
                    None if self.gathers(vip, now, view, part) => false,
                    None => is_me(choose(vip, &candidates)),
                    Some((owner, held)) => {
                        let theirs = of(owner).and_then(|entry| entry.offer);
                        let first = || is_me(choose(vip, &candidates));
                        let others = candidates.iter().copied().filter(|one| one.name != owner);
                        let ours = is_me(choose(vip, &others.collect::<Vec<_>>()));
                        ours && (self.may_take(vip, now, offer, theirs)
                            || view.rebalance && first() && self.may_move(now, held))
                    }
                };
                if take {
                    // Taken from a solid hold, it must outrank it. Otherwise it is not: when the group
                    // falls apart, members are found to be gone one after the other, and for a moment
                    // a small part believes to be most of it.
                    let solid = best.is_some_and(|(_, theirs)| theirs.solid);
                    hold = Some(self.take(vip, now, best.is_none(), solid));
                }
            }
            _ => drop(self.preferred.remove(&vip)),
        }
        self.remember(vip, Entry { offer, hold });
        if !known {
            return None;
        }
        Some(match (hold, best) {
            (Some(hold), _) if hold.serving => Possession::Here,
            (Some(_), _) => Possession::Nowhere(waits.unwrap_or("the former owner lets go")),
            (None, Some((name, _))) => {
                let offer = of(name).and_then(|entry| entry.offer);
                let announced = offer.is_some_and(|offer| offer.announced);
                Possession::There { owner: name.to_owned(), announced }
            }
            (None, None) => Possession::Nowhere(waits.unwrap_or("a member is about to take it")),
        })
    }

    /// Whether a VIP that nobody ever had should wait for others to offer it too, so that it does not
    /// fall to whoever read of it first; or one that we can serve again, for others to say that they have
    /// it, when a link is back and not all of the group was heard over it yet.
    fn gathers(&mut self, vip: IpAddr, now: Duration, view: &View, part: Part) -> bool {
        if self.epochs.get(&vip).is_some_and(|epoch| *epoch > 0) {
            let since = self.offered.get(&vip).copied().unwrap_or(now);
            let until = since + self.rule.patience;
            // Those who come back come one after the other.
            let coming = self.gained.is_some_and(|at| now < at + self.rule.patience);
            let heard_all = self.whole.is_some_and(|at| at >= since);
            let gathers = !heard_all && now < until && (part == Part::Smaller || coming);
            if gathers {
                self.wake(until);
            }
            return gathers;
        }
        if view.others.values().all(|peer| peer.entries.contains_key(&vip)) {
            return false;
        }
        let since = self.offered.get(&vip).copied().unwrap_or(now);
        // Others that start with us have nothing to offer yet.
        let starting = view.others.values().any(|peer| peer.entries.is_empty());
        let started = if starting { self.started + self.rule.patience } else { self.started };
        let until = started.max(since + self.rule.gather);
        self.wake(until);
        now < until
    }

    /// Whether we may take a VIP from its owner.
    fn may_take(&mut self, vip: IpAddr, now: Duration, ours: Offer, theirs: Option<Offer>) -> bool {
        let Some(theirs) = theirs else {
            // It holds what it cannot serve, and is about to say so; to be quicker gains nothing.
            self.preferred.remove(&vip);
            return false;
        };
        if ours.leaving {
            return false;
        }
        if theirs.leaving {
            return true;
        }
        if !(self.rule.prefers)(ours, theirs) {
            self.preferred.remove(&vip);
            return false;
        }
        let since = *self.preferred.entry(vip).or_insert(now);
        self.wake(since + STEADY);
        now >= since + STEADY
    }

    /// Whether a VIP that is better here may come in a rebalance now. One after the other.
    fn may_move(&mut self, now: Duration, held: Hold) -> bool {
        if !held.serving {
            return false;
        }
        let next = self.moved.map_or(now, |moved| moved + PACE);
        if now < next {
            self.wake(next);
            return false;
        }
        self.moved = Some(now);
        true
    }

    /// A new hold. One that nobody has is served at once.
    fn take(&mut self, vip: IpAddr, now: Duration, free: bool, solid: bool) -> Hold {
        let epoch = self.epochs.entry(vip).or_default();
        *epoch += 1;
        let hold = Hold { epoch: *epoch, solid, serving: free };
        self.preferred.remove(&vip);
        self.undisputed.insert(vip, now);
        self.wake(now + SETTLED);
        if !free {
            self.taking.insert(vip, now);
            self.wake(now + self.rule.let_go_within);
        }
        hold
    }

    /// A hold that is not served yet: when the former owner let go, or took too long.
    fn serve(&mut self, vip: IpAddr, now: Duration, hold: &mut Hold, disputed: bool) {
        if hold.serving {
            return;
        }
        let since = self.taking.get(&vip).copied().unwrap_or(now);
        if disputed && now < since + self.rule.let_go_within {
            return self.wake(since + self.rule.let_go_within);
        }
        self.taking.remove(&vip);
        hold.serving = true;
    }

    /// A hold that was taken in a part of the group becomes solid once the group is there again, and is
    /// not solid any more in the smaller part: the other one has chosen an owner by now.
    fn settle(&mut self, vip: IpAddr, now: Duration, hold: &mut Hold, part: Part) {
        hold.solid &= part != Part::Smaller;
        if hold.solid {
            return;
        }
        if part != Part::Larger {
            self.undisputed.insert(vip, now);
            return;
        }
        let since = *self.undisputed.entry(vip).or_insert(now);
        if now >= since + SETTLED {
            hold.solid = true;
        } else {
            self.wake(since + SETTLED);
        }
    }

    fn remember(&mut self, vip: IpAddr, entry: Entry) {
        if entry.hold.is_none() {
            self.undisputed.remove(&vip);
            self.taking.remove(&vip);
            self.resumed.remove(&vip);
        }
        if entry == Entry::default() {
            self.entries.remove(&vip);
        } else {
            self.entries.insert(vip, entry);
        }
    }

    fn wake(&mut self, at: Duration) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}
