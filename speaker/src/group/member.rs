//! One member with its part in the ownership of VIPs: `core` and the planner's rule, joined.
//!
//! ```text
//!   what others say ──> View ──> Keeper ──> entries of our own, said to all
//!   offers, time ────────────────>  └─────> Standing: what is served here, who is there, who says what
//! ```
//!
//! What a member says stands in its record, under the keys of `record`.
//!
//! A machine without socket, clock and task, as `core` is.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use vipgate_planner::ownership::{Entries, Entry, Hold, Keeper, Offer, Ownership, Rebalance, View};

use super::codec::{take, take_u8, take_u16, take_u64};
use super::core::{Core, Input, Output, Setup};
use super::counters::Counts;
use super::record::{NAME, NOTE, REBALANCE, VIP};
use super::store::MAX_ENTRY;
use super::takeover::{Takeover, Takeovers};
use super::wire::Stamp;

/// What could be served here, by VIP.
pub type Offers = BTreeMap<IpAddr, Offer>;

/// Short values that a process wants its peers to know; key and value together at most
/// [`MAX_ENTRY`] bytes less one, and what is longer is not said.
pub type Notes = BTreeMap<Vec<u8>, Vec<u8>>;

const OFFER: u8 = 1;
const LEAVING: u8 = 2;
const PREEMPT: u8 = 4;
const HOLD: u8 = 8;
const SOLID: u8 = 16;
const SERVING: u8 = 32;
const ANNOUNCED: u8 = 64;

/// What a member makes of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The other members that are alive.
    pub others: BTreeMap<SocketAddr, Arc<Other>>,
    /// Members that should be there and are not.
    pub missing: Vec<SocketAddr>,
    /// Where each VIP is.
    pub ownership: Ownership,
    /// The VIPs that are held here, with their epochs: what to begin the next life with.
    pub holds: BTreeMap<IpAddr, u64>,
    /// Of the VIPs that are here, those that another member had before: since when it did not serve them.
    pub takeovers: BTreeMap<IpAddr, Takeover>,
}

impl Standing {
    /// Whether the same members say the same of themselves; what they offer and hold aside.
    pub fn is_said_alike(&self, other: &Self) -> bool {
        let said = |one: &Other, other: &Other| {
            one.name == other.name && one.complete == other.complete && one.notes == other.notes
        };
        self.others.len() == other.others.len()
            && self.others.iter().zip(&other.others).all(|((at, one), (address, other))| {
                at == address && (Arc::ptr_eq(one, other) || said(one, other))
            })
    }

    /// The name of the member that the rule calls `owner`, or else that.
    pub fn name_of<'a>(&'a self, owner: &'a str) -> &'a str {
        let other = owner.parse().ok().and_then(|address: SocketAddr| self.others.get(&address));
        other.map(|other| other.name.as_str()).filter(|name| !name.is_empty()).unwrap_or(owner)
    }
}

/// Another member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Other {
    /// Its name, once it is known.
    pub name: String,
    /// What it offers and holds.
    pub entries: Entries,
    /// Whether it says that VIPs are to be spread anew.
    pub rebalances: bool,
    /// What its process says.
    pub notes: Notes,
    /// Whether all that it says is known here.
    pub complete: bool,
}

impl Other {
    fn read<'a>(entries: Entries, says: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut other = Self { entries, ..Self::default() };
        for (key, value) in says {
            match key.split_first() {
                Some((&NOTE, key)) => drop(other.notes.insert(key.to_vec(), value.to_vec())),
                _ if key == REBALANCE => other.rebalances = true,
                _ if key == NAME => other.name = String::from_utf8_lossy(value).into_owned(),
                _ => {}
            }
        }
        other
    }
}

/// A member.
#[derive(Debug)]
pub struct Member {
    core: Core,
    keeper: Keeper,
    /// Begins the keeper's clock.
    started: Instant,
    offers: Offers,
    /// What is said under [`VIP`], [`NOTE`] and [`REBALANCE`].
    said: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of which entries, and whether with [`REBALANCE`]; nothing where the notes are new. Most of what
    /// others say changes nothing here.
    said_of: Option<(Entries, bool)>,
    notes: Notes,
    rebalance: Rebalance,
    view: View,
    /// As of when the others are read.
    seen: BTreeMap<SocketAddr, Stamp>,
    standing: Standing,
    takeovers: Takeovers,
    /// Whether something changed since the rule was asked.
    stale: bool,
    /// Whether the rule was asked since somebody looked at the standing.
    news: bool,
}

impl Member {
    /// A member that starts now. `former` are the VIPs that it held in its last life.
    pub fn new(
        now: Instant,
        setup: &Setup,
        name: &str,
        former: &BTreeMap<IpAddr, u64>,
        rng: SmallRng,
    ) -> Self {
        let mut core = Core::new(now, setup, rng);
        // Nobody is there yet to be told.
        drop(core.handle(now, Input::Say(vec![(NAME.to_vec(), Some(name.as_bytes().to_vec()))])));
        // The rule knows members by where they are reached: names may be given twice.
        let keeper = Keeper::resume(&setup.address.to_string(), Duration::ZERO, former);
        let mut member = Self {
            core,
            keeper,
            started: now,
            offers: Offers::new(),
            said: BTreeMap::new(),
            said_of: None,
            notes: Notes::new(),
            rebalance: Rebalance::new(setup.rebalance),
            view: View::default(),
            seen: BTreeMap::new(),
            standing: Standing::default(),
            takeovers: Takeovers::default(),
            stale: true,
            news: true,
        };
        // What is still held has to be part of all that the others ever know of this life: they would
        // take it otherwise.
        drop(member.say(now, false));
        member
    }

    /// When [`Input::Tick`] and [`Member::settle`] are due.
    pub fn due(&self) -> Instant {
        let due = self.keeper.due().into_iter().chain(self.rebalance.due()).min();
        due.map_or(self.core.due(), |due| self.core.due().min(self.started + due))
    }

    /// How things stand.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Whether the standing may be another one than when this was asked last: most datagrams change
    /// nothing, and looking costs as much as there are VIPs.
    pub fn has_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Datagrams in and out, and what was refused.
    pub fn counts(&self) -> &Counts {
        self.core.counts()
    }

    /// Takes in what happens to the membership. What follows for VIPs comes with [`Member::settle`],
    /// so that many datagrams cost one look at all VIPs.
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let out = self.core.handle(now, input);
        self.stale |= out.contains(&Output::Changed);
        out
    }

    /// Replaces what could be served here.
    pub fn offer(&mut self, offers: Offers) {
        self.offers = offers;
        self.stale = true;
    }

    /// Replaces what the process says.
    pub fn note(&mut self, notes: Notes) {
        self.notes = notes;
        self.said_of = None;
        self.stale = true;
    }

    /// Has VIPs spread anew, by all members.
    pub fn rebalance(&mut self, now: Instant) {
        self.rebalance.ask(now - self.started);
        self.stale = true;
    }

    /// Does what follows for VIPs, if anything does.
    pub fn settle(&mut self, now: Instant) -> Vec<Output> {
        let mut due = self.keeper.due().into_iter().chain(self.rebalance.due());
        let due = due.any(|due| self.started + due <= now);
        if std::mem::take(&mut self.stale) || due { self.step(now) } else { Vec::new() }
    }

    /// Asks the rule, and says what follows.
    fn step(&mut self, now: Instant) -> Vec<Output> {
        self.news = true;
        self.look();
        let others = self.view.others.keys().map(String::as_str);
        let ours = self.rebalance.look(now - self.started, others);
        self.view.rebalance = ours || self.standing.others.values().any(|other| other.rebalances);
        let ownership = self.keeper.step(now - self.started, &self.offers, &self.view);
        let sign = |owner: &str| self.core.last_sign_of(owner.parse().ok()?);
        let places = (&self.standing.ownership.vips, &ownership.vips);
        self.takeovers.follow(now, places, &self.view, sign);
        let out = self.say(now, ours);
        let alive = self.core.alive();
        let missing = self.core.seeds().iter().filter(|seed| !alive.contains(seed));
        let entries = self.keeper.entries().iter();
        self.standing.missing = missing.copied().collect();
        self.standing.holds = entries.filter_map(|(vip, e)| Some((*vip, e.hold?.epoch))).collect();
        self.standing.ownership = ownership;
        self.standing.takeovers.clone_from(self.takeovers.here());
        out
    }

    /// Reads again what those say who say something new.
    fn look(&mut self) {
        let Self { core, view, seen, standing, .. } = self;
        let alive = core.alive();
        seen.retain(|address, _| alive.contains(address));
        standing.others.retain(|address, _| alive.contains(address));
        view.others.retain(|name, _| name.parse().is_ok_and(|address| alive.contains(&address)));
        view.expected = core.expected();
        for address in alive {
            let peer = view.others.entry(address.to_string()).or_default();
            let other = standing.others.entry(*address).or_default();
            // What it said before it died is not so any more.
            let stamp = core.stamp_of(*address);
            if seen.get(address) != stamp.as_ref() {
                let says = || core.says(*address).filter(|_| stamp.is_some());
                peer.entries = read(says());
                *other = Arc::new(Other::read(peer.entries.clone(), says()));
                match stamp {
                    Some(stamp) => drop(seen.insert(*address, stamp)),
                    None => drop(seen.remove(address)),
                }
            }
            peer.complete = core.knows_all_of(*address);
            if other.complete != peer.complete {
                Arc::make_mut(other).complete = peer.complete;
            }
        }
    }

    /// Tells the others what is new.
    fn say(&mut self, now: Instant, rebalances: bool) -> Vec<Output> {
        let is_said =
            |said: &(Entries, bool)| said.0 == *self.keeper.entries() && said.1 == rebalances;
        if self.said_of.as_ref().is_some_and(is_said) {
            return Vec::new();
        }
        self.said_of = Some((self.keeper.entries().clone(), rebalances));
        let keyed = |prefix: u8, rest: &[u8]| [&[prefix], rest].concat();
        let vips = self.keeper.entries().iter().map(|(vip, entry)| {
            let key = match vip {
                IpAddr::V4(ip) => keyed(VIP, &ip.octets()),
                IpAddr::V6(ip) => keyed(VIP, &ip.octets()),
            };
            (key, write(entry))
        });
        let notes = self.notes.iter().map(|(key, value)| (keyed(NOTE, key), value.clone()));
        let fits = |(key, value): &(Vec<u8>, Vec<u8>)| key.len() + value.len() <= MAX_ENTRY;
        let rebalance = rebalances.then(|| (REBALANCE.to_vec(), Vec::new()));
        let say: BTreeMap<Vec<u8>, Vec<u8>> =
            vips.chain(notes).chain(rebalance).filter(fits).collect();
        let gone =
            self.said.keys().filter(|key| !say.contains_key(*key)).map(|k| (k.clone(), None));
        let new = say.iter().filter(|(key, value)| self.said.get(*key) != Some(value));
        let changes: Vec<_> =
            gone.chain(new.map(|(key, value)| (key.clone(), Some(value.clone())))).collect();
        self.said = say;
        if changes.is_empty() {
            return Vec::new();
        }
        self.core.handle(now, Input::Say(changes))
    }
}

/// What a member says of VIPs; what is not understood does not count.
fn read<'a>(says: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Entries {
    says.filter_map(|(key, value)| {
        let (&VIP, octets) = key.split_first()? else { return None };
        let vip = match octets.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
        };
        Some((vip, parse(value)?))
    })
    .collect()
}

/// Flags (1), weight (4), listeners bound (2), epoch (8).
fn write(entry: &Entry) -> Vec<u8> {
    let offer = entry.offer.unwrap_or_default();
    let hold = entry.hold.unwrap_or(Hold { epoch: 0, solid: false, serving: false });
    let flags = [
        (entry.offer.is_some(), OFFER),
        (offer.leaving, LEAVING),
        (offer.preempt, PREEMPT),
        (offer.announced, ANNOUNCED),
        (entry.hold.is_some(), HOLD),
        (hold.solid, SOLID),
        (hold.serving, SERVING),
    ];
    let flags = flags.iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum();
    let mut out = vec![flags];
    out.extend_from_slice(&offer.weight.to_be_bytes());
    out.extend_from_slice(&offer.bound.to_be_bytes());
    out.extend_from_slice(&hold.epoch.to_be_bytes());
    out
}

fn parse(mut bytes: &[u8]) -> Option<Entry> {
    let from = &mut bytes;
    let flags = take_u8(from).ok()?;
    let weight = take(from).map(u32::from_be_bytes).ok()?;
    let (bound, epoch) = (take_u16(from).ok()?, take_u64(from).ok()?);
    let is = |bit: u8| flags & bit != 0;
    let offer = Offer {
        weight,
        bound,
        leaving: is(LEAVING),
        preempt: is(PREEMPT),
        announced: is(ANNOUNCED),
    };
    let hold = Hold { epoch, solid: is(SOLID), serving: is(SERVING) };
    Some(Entry { offer: is(OFFER).then_some(offer), hold: is(HOLD).then_some(hold) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;
    use crate::group::{GroupKey, Keyring};

    fn member(restart: Option<Duration>, former: &BTreeMap<IpAddr, u64>) -> Member {
        let address: SocketAddr = "192.0.2.1:7947".parse().unwrap();
        let keys = Keyring::new(vec![GroupKey::random().unwrap()]).unwrap();
        let (group, seeds) = ("test".to_owned(), BTreeSet::new());
        let setup = Setup {
            group,
            keys,
            address,
            epoch: 1,
            seeds,
            restart,
            beacon: false,
            rebalance: false,
        };
        Member::new(Instant::now(), &setup, "one", former, SmallRng::seed_from_u64(1))
    }

    /// Of two keys that are one, each would be read as the other.
    #[test]
    fn one_that_is_restarted_does_not_ask_for_a_rebalance_and_says_so_after_one_too() {
        let half_a_second = Duration::from_millis(500);
        let mut member = member(Some(half_a_second), &BTreeMap::new());
        let (me, now) = (member.core.address(), Instant::now());
        let rebalances =
            |member: &Member| Other::read(Entries::new(), member.core.says(me)).rebalances;
        assert!(!rebalances(&member));
        assert_eq!(member.core.restart_of(me), Some(half_a_second));
        drop(member.say(now, true));
        assert!(rebalances(&member));
        drop(member.say(now, false));
        assert!(!rebalances(&member));
        assert_eq!(member.core.restart_of(me), Some(half_a_second));
    }

    #[test]
    fn what_was_held_before_is_said_from_the_first_datagram_on() {
        let vip = IpAddr::from([192, 0, 2, 200]);
        let member = member(None, &[(vip, 7)].into());
        let hold = read(member.core.says(member.core.address()))[&vip].hold.expect("it is held");
        assert_eq!(hold.epoch, 7);
    }

    #[test]
    fn what_is_said_of_a_vip_is_read_as_it_was_written() {
        let offers = [
            None,
            Some(Offer { weight: 7, bound: 3, leaving: true, ..Offer::default() }),
            Some(Offer { weight: u32::MAX, bound: u16::MAX, preempt: true, ..Offer::default() }),
            Some(Offer { announced: true, ..Offer::default() }),
        ];
        let holds = [
            None,
            Some(Hold { epoch: u64::MAX, solid: true, serving: false }),
            Some(Hold { epoch: 1, solid: false, serving: true }),
        ];
        for offer in offers {
            for hold in holds {
                let entry = Entry { offer, hold };
                assert_eq!(parse(&write(&entry)), Some(entry));
            }
        }
        assert_eq!(parse(&[HOLD, 0, 0]), None, "too short");
    }
}
