//! Two members that are lost to each other, and meet on the wire.
//!
//! Where the group's datagrams do not pass (a firewall, a broken switch) and the LAN is one, each takes
//! what the other has: for each the other is dead. But frames show that it lives. Then one of the two
//! goes quiet, by a rule that both come to by themselves, from what each remembers of the other:
//!
//! 1. A claim by who had the VIP when it was lost: it still has it. We took it in error, and **yield**.
//! 2. We had the VIP when the other was lost: it took it in error, and has to see that we live. We
//!    **keep** it and announce it anew (once in [`ANSWER_EVERY`]).
//! 3. Neither (it is new, or was a third one's), or the other still claims it [`INSISTS_AFTER`] our
//!    answer, so that it knows better or does not remember: the one with the **lower Ethernet address**
//!    keeps it. That is the same on both sides, whatever they remember.
//!
//! The first two hold only when they meet soon ([`APART`]) after they were lost to each other: frames passed all the
//! time. Later it is the LAN that is whole again, and the group will be in a moment: [`GRACE`] is left to
//! that, and then the addresses decide.
//!
//! So where the datagrams of all members are blocked at once, nothing moves. Who yielded does not offer
//! the VIP to those that it does hear, and keeps asking the wire for it: [`SILENCES`] questions without
//! an answer mean that the other is gone, and it is offered again. Members that hear each other again
//! settle it by [`super::keeper`].
//!
//! What is not solved: frames that pass in one direction only. Who is not heard cannot be yielded to;
//! who is heard, and does not hear, goes on as if alone.
//!
//! No clock, no randomness, no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::Possession;
use crate::node::MacAddr;

/// A VIP is announced anew against one member at most once in this time.
pub const ANSWER_EVERY: Duration = Duration::from_secs(10);
/// How long after our answer a claim shows that the other insists. One that yields takes a few
/// milliseconds; the last announcement of its take-over comes a second after the first.
pub const INSISTS_AFTER: Duration = Duration::from_millis(500);
/// How long a claim counts. Members are not lost to each other at the same moment: until both are, what
/// one sees of the other is a hand-over.
pub const FRESH: Duration = Duration::from_secs(3);
/// Members that did not see each other for so long were apart on the wire too. Two that are lost to each
/// other while frames pass meet within the half second by which they find that out at different times, and
/// a take-over's announcements.
pub const APART: Duration = Duration::from_millis(1_500);
/// How long the group has to find together after members that were apart meet.
pub const GRACE: Duration = Duration::from_millis(900);
/// How long a lost member is known by its Ethernet addresses, from when it was last heard or seen.
pub const REMEMBERED: Duration = Duration::from_secs(600);
/// Questions that nobody answers before a VIP that was yielded is offered again: one may be lost.
pub const SILENCES: u32 = 3;

/// How a member shows itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appearance {
    /// Its name, for people.
    pub name: String,
    /// The Ethernet addresses by which it announces.
    pub macs: BTreeSet<MacAddr>,
}

/// What is known when a lost member claims a VIP that is ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meeting {
    /// It had the VIP when it was lost.
    pub was_theirs: bool,
    /// We had the VIP when it was lost.
    pub was_ours: bool,
    /// It goes on after we announced the VIP anew.
    pub insists: bool,
    /// We saw nothing of each other for a while, on the wire either.
    pub apart: bool,
    /// Our lowest Ethernet address is below its lowest.
    pub lower: bool,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays ours.
    Keep,
    /// It is theirs.
    Yield,
}

/// The rule.
pub fn settle(meeting: Meeting) -> Verdict {
    let keeps = match meeting {
        Meeting { insists: false, apart: false, was_theirs: true, .. } => false,
        Meeting { insists: false, apart: false, was_ours: true, .. } => true,
        Meeting { lower, .. } => lower,
    };
    if keeps { Verdict::Keep } else { Verdict::Yield }
}

/// What a member remembers of the others and of its VIPs, for the rule.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    members: BTreeMap<String, Known>,
    vips: BTreeMap<IpAddr, Place>,
}

#[derive(Clone, Debug)]
struct Known {
    appearance: Appearance,
    /// When it was lost; nothing while it is heard.
    lost: Option<Duration>,
    /// When it was last heard, or seen on the wire.
    noticed: Duration,
}

/// Where a VIP is and was.
#[derive(Clone, Debug, Default)]
struct Place {
    /// Since when it is ours.
    ours: Option<Duration>,
    /// The other member that has it, or had it last.
    owner: Option<String>,
    /// Members that had it when they were lost.
    lost_with: BTreeSet<String>,
    claims: BTreeMap<String, Claimed>,
    yielded: Option<Yielded>,
}

/// A claim of a member.
#[derive(Clone, Copy, Debug)]
struct Claimed {
    /// The first of a series.
    first: Duration,
    at: Duration,
    apart: bool,
    /// Whether it waits to be decided about.
    waits: bool,
    answered: Option<Duration>,
}

impl Claimed {
    /// When it may be decided about.
    fn due(&self) -> Duration {
        if self.apart { self.first + GRACE } else { self.first }
    }
}

/// A VIP that was yielded.
#[derive(Clone, Debug)]
struct Yielded {
    to: String,
    silences: u32,
}

impl Wire {
    /// Takes in who is heard, and where the VIPs of the plan are as far as the group says.
    pub fn follow(
        &mut self,
        now: Duration,
        heard: &BTreeMap<String, Appearance>,
        planned: &BTreeMap<IpAddr, Option<Possession>>,
    ) {
        let lost = self.follow_members(now, heard);
        self.vips.retain(|vip, _| planned.contains_key(vip));
        for (vip, possession) in planned {
            let place = self.vips.entry(*vip).or_default();
            if place.ours.is_none()
                && let Some(owner) = place.owner.take_if(|owner| lost.contains(owner))
            {
                place.lost_with.insert(owner);
            }
            match possession {
                Some(Possession::Here) => {
                    place.owner = None;
                    place.ours.get_or_insert(now);
                }
                Some(Possession::There { owner, .. }) => {
                    place.owner = Some(owner.clone());
                    place.ours = None;
                }
                Some(Possession::Nowhere(_)) | None => place.ours = None,
            }
            // What those that are heard claim is the business of the group.
            place.lost_with.retain(|member| !heard.contains_key(member));
            place.claims.retain(|member, _| !heard.contains_key(member));
            place.yielded.take_if(|yielded| heard.contains_key(&yielded.to));
        }
    }

    /// Returns those that were lost just now.
    fn follow_members(
        &mut self,
        now: Duration,
        heard: &BTreeMap<String, Appearance>,
    ) -> BTreeSet<String> {
        for (member, appearance) in heard {
            let appearance = appearance.clone();
            let known = Known { appearance, lost: None, noticed: now };
            self.members.insert(member.clone(), known);
        }
        let mut lost = BTreeSet::new();
        for (member, known) in &mut self.members {
            if known.lost.is_none() && !heard.contains_key(member) {
                known.lost = Some(now);
                lost.insert(member.clone());
            }
        }
        self.members.retain(|_, known| known.lost.is_none() || now < known.noticed + REMEMBERED);
        lost
    }

    /// The Ethernet addresses of all members that are heard or remembered.
    pub fn macs(&self) -> BTreeSet<MacAddr> {
        self.members.values().flat_map(|known| known.appearance.macs.iter().copied()).collect()
    }

    /// A frame in which a member claims a VIP. One of nobody that is known changes nothing.
    pub fn seen(&mut self, now: Duration, vip: IpAddr, mac: MacAddr) {
        let by = |known: &Known| known.appearance.macs.contains(&mac);
        let Some((member, known)) = self.members.iter_mut().find(|(_, known)| by(known)) else {
            return;
        };
        let unseen = known.lost.map(|lost| now.saturating_sub(lost.max(known.noticed)));
        known.noticed = now;
        let Some(place) = self.vips.get_mut(&vip) else { return };
        let apart = unseen.is_some_and(|unseen| unseen > APART);
        let new = Claimed { first: now, at: now, apart, waits: apart, answered: None };
        let claim = place.claims.entry(member.clone()).or_insert(new);
        if now >= claim.at + FRESH {
            *claim = Claimed { answered: claim.answered, ..new };
        }
        claim.at = now;
    }

    /// When there is something to decide, if nothing happens before.
    pub fn due(&self) -> Option<Duration> {
        let ours = self.vips.values().filter(|place| place.ours.is_some());
        let claims = ours.filter(|place| place.yielded.is_none()).flat_map(|place| &place.claims);
        let lost = |member: &String| self.members.get(member).is_some_and(|m| m.lost.is_some());
        let waiting = claims.filter(|(member, claim)| lost(member) && claim.waits);
        waiting.map(|(_, claim)| claim.due()).min()
    }

    /// Applies the rule to what was seen. Returns the VIPs to announce anew. `lowest` is the lowest
    /// Ethernet address by which this member announces.
    pub fn decide(&mut self, now: Duration, lowest: MacAddr) -> BTreeSet<IpAddr> {
        let mut answers = BTreeSet::new();
        for (vip, place) in &mut self.vips {
            let Some(since) = place.ours.filter(|_| place.yielded.is_none()) else { continue };
            for (member, claim) in &mut place.claims {
                let Some(known) = self.members.get(member) else { continue };
                let Some(lost) = known.lost.filter(|_| now >= claim.due()) else { continue };
                claim.waits = false;
                if now >= claim.at + FRESH {
                    continue;
                }
                let meeting = Meeting {
                    was_theirs: place.lost_with.contains(member),
                    was_ours: since < lost,
                    apart: claim.apart,
                    insists: claim.answered.is_some_and(|at| claim.at >= at + INSISTS_AFTER),
                    lower: known.appearance.macs.first().is_none_or(|theirs| lowest < *theirs),
                };
                if settle(meeting) == Verdict::Yield {
                    place.yielded = Some(Yielded { to: member.clone(), silences: 0 });
                    break;
                }
                if claim.answered.is_none_or(|at| claim.at > at && now >= at + ANSWER_EVERY) {
                    claim.answered = Some(now);
                    answers.insert(*vip);
                }
            }
        }
        answers
    }

    /// The name of the member that a VIP was yielded to, if it was.
    pub fn yielded(&self, vip: IpAddr) -> Option<&str> {
        let to = &self.vips.get(&vip)?.yielded.as_ref()?.to;
        let name = self.members.get(to).map(|known| known.appearance.name.as_str());
        Some(name.filter(|name| !name.is_empty()).unwrap_or(to))
    }

    /// The VIPs that were yielded: the wire is to be asked for them.
    pub fn to_ask(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.vips.iter().filter(|(_, place)| place.yielded.is_some()).map(|(vip, _)| *vip)
    }

    /// What a question about a VIP that was yielded found: who answers for it, if anybody.
    pub fn answered(&mut self, now: Duration, vip: IpAddr, mac: Option<MacAddr>) {
        let Some(place) = self.vips.get_mut(&vip) else { return };
        let Some(yielded) = &mut place.yielded else { return };
        // A stranger is no reason to leave it: against one it is defended.
        let by = |known: &Known| mac.is_some_and(|mac| known.appearance.macs.contains(&mac));
        if let Some((member, known)) = self.members.iter_mut().find(|(_, known)| by(known)) {
            known.noticed = now;
            *yielded = Yielded { to: member.clone(), silences: 0 };
            return;
        }
        yielded.silences += 1;
        if yielded.silences >= SILENCES {
            // Who had it before does not matter any more: should it come back, the addresses decide.
            *place = Place::default();
        }
    }
}
