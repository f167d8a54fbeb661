//! One member of the group, without socket, clock and task: inputs to outputs.
//!
//! Joins `session` (who may talk), `swim` (who is alive) and `store` (what each says).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::counters::Counts;
use super::key::Keyring;
use super::record::RESTART;
use super::session::{Datagrams, Received, Sessions};
use super::store::{Message, Store};
use super::swim::{Effect, MemberId, Swim};
use super::wire::{Channel, MAX_PAYLOAD, Stamp};

/// How often a summary goes to one member.
const SUMMARY_EVERY: Duration = Duration::from_millis(500);
/// When a member that starts is to be found.
const BEACONS_AT_START: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(1_000),
];
/// How often later on, so that two parts find each other that never met.
const BEACON_EVERY: Duration = Duration::from_secs(5);
/// For how long it is known when a member that is gone was heard last.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How often a member's record is asked for, at most.
const ASK_AGAIN: Duration = Duration::from_millis(15);

/// What a member is told at its start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Name of the group; members of another one are not heard.
    pub group: String,
    /// Keys of the group.
    pub keys: Keyring,
    /// Where the others reach this member.
    pub address: SocketAddr,
    /// Larger than in every life before.
    pub epoch: u64,
    /// Addresses of other members; one that is there is enough.
    pub seeds: BTreeSet<SocketAddr>,
    /// Within what time a supervisor starts the process again when it ends; nothing without one. The
    /// others wait that long, when they see that the host lives.
    pub restart: Option<Duration>,
    /// Whether members find each other by beacons, too: who belongs to the group is not known then.
    pub beacon: bool,
    /// Whether VIPs are spread anew by themselves, when a member joined and the group is quiet again.
    pub rebalance: bool,
}

/// What happens to a member.
#[derive(Clone, Debug)]
pub enum Input {
    /// A datagram came.
    Datagram(SocketAddr, Vec<u8>),
    /// A beacon came.
    Beacon(SocketAddr, Vec<u8>),
    /// A member's host says that no process has its port.
    Refused(SocketAddr),
    /// It is time ([`Core::due`]).
    Tick,
    /// We say something of ourselves, or take it back.
    Say(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    /// The keys were changed.
    Keys(Keyring),
    /// The members to look for were changed.
    Seeds(BTreeSet<SocketAddr>),
    /// We go.
    Leave,
}

/// What a member does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Sends.
    Send(SocketAddr, Vec<u8>),
    /// Sends to whoever listens for beacons.
    Beacon(Vec<u8>),
    /// Others came or went, or one says something else.
    Changed,
}

/// A member.
#[derive(Debug)]
pub struct Core {
    me: SocketAddr,
    sessions: Sessions,
    swim: Swim,
    store: Store,
    /// The largest stamps that came with datagrams of their own.
    heard: BTreeMap<SocketAddr, Stamp>,
    /// When members were heard last.
    signs: BTreeMap<SocketAddr, Instant>,
    asked: BTreeMap<SocketAddr, Instant>,
    summary: Instant,
    /// When the next beacons are due, the last one first; none without them.
    beacons: Vec<Instant>,
    counts: Counts,
    rng: SmallRng,
}

impl Core {
    /// A member that starts now.
    pub fn new(now: Instant, setup: &Setup, mut rng: SmallRng) -> Self {
        let mut fork = || SmallRng::seed_from_u64(rng.random());
        let longest = NonZeroUsize::new(MAX_PAYLOAD).expect("not zero");
        let me = MemberId::new(setup.address, setup.epoch);
        let mut store = Store::new(setup.address, setup.epoch);
        if let Some(restart) = setup.restart {
            let milliseconds = u16::try_from(restart.as_millis()).unwrap_or(u16::MAX);
            store.set(RESTART, Some(milliseconds.to_be_bytes().to_vec()));
        }
        Self {
            me: setup.address,
            sessions: Sessions::new(&setup.group, &setup.keys, fork()),
            swim: Swim::new(now, me, setup.seeds.iter().copied(), longest, fork()),
            store,
            heard: BTreeMap::new(),
            signs: BTreeMap::new(),
            asked: BTreeMap::new(),
            summary: now + SUMMARY_EVERY,
            beacons: match setup.beacon {
                true => BEACONS_AT_START.iter().rev().map(|after| now + *after).collect(),
                false => Vec::new(),
            },
            counts: Counts::default(),
            rng: fork(),
        }
    }

    /// When the next tick is due.
    pub fn due(&self) -> Instant {
        let due = self.swim.due().min(self.summary);
        self.beacons.last().map_or(due, |beacon| due.min(*beacon))
    }

    /// Where this member is reached.
    pub fn address(&self) -> SocketAddr {
        self.me
    }

    /// Members that are alive, without this one.
    pub fn alive(&self) -> &BTreeSet<SocketAddr> {
        self.swim.alive()
    }

    /// Whether a live member's record is known as far as it was heard to go. Of one that others tell of
    /// and that was not heard itself since it is back, what is known may be what it said before.
    pub fn knows_all_of(&self, member: SocketAddr) -> bool {
        let (known, heard) = (self.store.stamp_of(member), self.heard.get(&member));
        known.is_some_and(|known| heard.is_some_and(|heard| known >= *heard))
    }

    /// When the last datagram of a member came that had the seal of the group; of one that is gone, too,
    /// for a minute.
    pub fn last_sign_of(&self, member: SocketAddr) -> Option<Instant> {
        self.signs.get(&member).copied()
    }

    /// Where a member's record stands, as far as it is known; nothing while only that of a former life
    /// is.
    pub fn stamp_of(&self, member: SocketAddr) -> Option<Stamp> {
        let heard = self.heard_of(member);
        self.store.stamp_of(member).filter(|known| known.generation >= heard.generation)
    }

    fn heard_of(&self, member: SocketAddr) -> Stamp {
        self.heard.get(&member).copied().unwrap_or_default()
    }

    /// What a member says of itself; also of one that is gone, as long as it is remembered.
    pub fn says(&self, member: SocketAddr) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.store.entries(member)
    }

    /// Within what time a member said that it is started again when its process ends.
    pub(super) fn restart_of(&self, member: SocketAddr) -> Option<Duration> {
        let (_, value) = self.store.entries(member).find(|(key, _)| *key == RESTART)?;
        Some(Duration::from_millis(u16::from_be_bytes(value.try_into().ok()?).into()))
    }

    /// Of how many the group should consist, this member with it. Where members find each other, of
    /// those that were there lately, and of one more than us: a start waits for it.
    pub fn expected(&self) -> usize {
        let known = self.seeds().union(self.alive()).count();
        match self.beacons.is_empty() {
            true => known + 1,
            false => (known + self.swim.lost().count() + 1).max(2),
        }
    }

    /// Members that should be there.
    pub fn seeds(&self) -> &BTreeSet<SocketAddr> {
        self.swim.seeds()
    }

    /// Datagrams in and out, and what was refused.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Takes in what happens.
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Datagram(from, datagram) => self.datagram(now, from, &datagram, &mut out),
            Input::Beacon(from, datagram) => {
                self.counts.received += 1;
                match self.sessions.read_beacon(now, from, &datagram) {
                    Ok(member) => self.swim.meet(now, member),
                    Err(reject) => *self.counts.refused.entry(reject).or_default() += 1,
                }
            }
            Input::Refused(member) => {
                let restart = self.restart_of(member);
                self.swim.refused(now, member, restart);
            }
            Input::Tick => {
                let effects = self.swim.tick(now);
                self.follow(now, effects, &mut out);
                if now >= self.summary {
                    self.summary = now + SUMMARY_EVERY;
                    self.summarise(now, &mut out);
                }
                if self.beacons.pop_if(|at| *at <= now).is_some() {
                    if self.beacons.is_empty() {
                        self.beacons.push(now + BEACON_EVERY);
                    }
                    self.counts.sent += 1;
                    out.push(Output::Beacon(self.sessions.beacon(self.me)));
                }
            }
            Input::Say(entries) => {
                for (key, value) in entries {
                    self.store.set(&key, value);
                }
                self.push(now, &mut out);
            }
            Input::Keys(keys) => self.sessions.set_keys(&keys),
            Input::Seeds(seeds) => self.swim.set_seeds(seeds),
            Input::Leave => {
                let effects = self.swim.leave(now);
                self.follow(now, effects, &mut out);
            }
        }
        out
    }

    fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], out: &mut Vec<Output>) {
        self.counts.received += 1;
        let mut datagrams = Vec::new();
        let received = self.sessions.receive(now, from, bytes, &mut datagrams);
        self.emit(datagrams, out);
        match received {
            Ok(Some(received)) => self.payload(now, from, received, out),
            Ok(None) => {}
            Err(reject) => *self.counts.refused.entry(reject).or_default() += 1,
        }
    }

    fn payload(
        &mut self,
        now: Instant,
        from: SocketAddr,
        received: Received,
        out: &mut Vec<Output>,
    ) {
        let heard = self.heard.entry(from).or_default();
        *heard = received.stamp.max(*heard);
        self.signs.insert(from, now);
        self.swim.heard(now, from);
        match received.channel {
            Channel::Swim => {
                let effects = self.swim.receive(now, &received.payload);
                self.follow(now, effects, out);
            }
            Channel::State => match Message::from_bytes(&received.payload) {
                Ok(message) => {
                    let (answers, changed) = self.store.receive(message);
                    for answer in answers {
                        self.send_state(now, from, &answer, out);
                    }
                    if changed {
                        out.push(Output::Changed);
                    }
                }
                Err(_) => self.counts.malformed += 1,
            },
        }
        self.ask(now, from, out);
    }

    /// Asks a live member for what it has and we do not.
    fn ask(&mut self, now: Instant, member: SocketAddr, out: &mut Vec<Output>) {
        if !self.swim.alive().contains(&member)
            || self.asked.get(&member).is_some_and(|asked| now < *asked + ASK_AGAIN)
        {
            return;
        }
        if let Some(wanted) = self.store.behind(member, self.heard_of(member)) {
            self.asked.insert(member, now);
            self.send_state(now, member, &wanted, out);
        }
    }

    fn follow(&mut self, now: Instant, effects: Vec<Effect>, out: &mut Vec<Output>) {
        for effect in effects {
            match effect {
                Effect::Send(to, payload) => self.send(now, to, Channel::Swim, payload, out),
                Effect::Up(member) => {
                    for message in self.store.whole() {
                        self.send_state(now, member, &message, out);
                    }
                    out.push(Output::Changed);
                }
                Effect::Down(member) => {
                    self.heard.remove(&member);
                    self.asked.remove(&member);
                    let alive = self.swim.alive();
                    self.signs.retain(|one, at| alive.contains(one) || now < *at + REMEMBERED);
                    self.store.forget(self.swim.alive());
                    out.push(Output::Changed);
                }
                Effect::Renewed(epoch) => {
                    self.store.renew(epoch);
                    self.push(now, out);
                }
            }
        }
    }

    /// Sends what is new of ours to everybody.
    fn push(&mut self, now: Instant, out: &mut Vec<Output>) {
        let messages = self.store.push();
        let alive: Vec<SocketAddr> = self.swim.alive().iter().copied().collect();
        for message in &messages {
            for member in &alive {
                self.send_state(now, *member, message, out);
            }
        }
    }

    fn summarise(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mut alive: Vec<SocketAddr> = self.swim.alive().iter().copied().collect();
        if alive.is_empty() {
            return;
        }
        let to = alive.swap_remove(self.rng.random_range(0..alive.len()));
        let rng = &mut self.rng;
        let summary = self.store.summary(|others| others.shuffle(rng));
        self.send_state(now, to, &summary, out);
    }

    fn send_state(
        &mut self,
        now: Instant,
        to: SocketAddr,
        message: &Message,
        out: &mut Vec<Output>,
    ) {
        let payload = message.to_bytes();
        debug_assert!(payload.len() <= MAX_PAYLOAD, "{} bytes", payload.len());
        self.send(now, to, Channel::State, payload, out);
    }

    fn send(
        &mut self,
        now: Instant,
        to: SocketAddr,
        channel: Channel,
        payload: Vec<u8>,
        out: &mut Vec<Output>,
    ) {
        let mut datagrams = Vec::new();
        self.sessions.send(now, to, self.store.stamp(), channel, payload, &mut datagrams);
        self.emit(datagrams, out);
    }

    fn emit(&mut self, datagrams: Datagrams, out: &mut Vec<Output>) {
        for (to, datagram) in datagrams {
            self.counts.sent += 1;
            out.push(Output::Send(to, datagram));
        }
    }
}
