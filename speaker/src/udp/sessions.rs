//! The sessions of one worker: by flow, and in the order in which they were heard.
//!
//! There are three stages. A session is *fresh* until its client speaks again after an answer; then it is
//! *proven*: whoever sends once under each of many false addresses never gets there, and a question with one answer (DNS)
//! is over by then. It is *settled* when the client has done so [`ROUNDS`] times, each [`APART`] from the one
//! before: whoever sends twice under each false address does not get there either. Those of the lowest stage go
//! first when there is no room, so that a flood of them ends each other and not what goes on; each stage leaves
//! some room to those below, that new clients have some while all the others go on.
//!
//! Always holds: no more than the limit in all, nor than the limit of a source of one source.

mod stage;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use slab::Slab;

pub(super) use self::stage::{Patience, Stage};
use self::stage::{Queues, giving};
use super::lru::{Linked, Links};
use crate::clients::source_of;

/// How often a client of a settled session has spoken after an answer.
const ROUNDS: u8 = 5;
/// From one time that counts to the next.
const APART: Duration = Duration::from_secs(1);
/// Lists that a session is in: that of its class, and those of its groups.
const LISTS: usize = 4;
/// No group.
const NONE: u32 = u32::MAX;

/// A client's address and port, and the port of ours (by number) that it speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    pub(super) port: u32,
    pub(super) client: SocketAddr,
}

/// How many sessions there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) all: usize,
    pub(super) of_a_source: usize,
}

/// What holds for the sessions of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) patience: Patience,
    /// Whether it may be asked which of its sessions has to go ([`Sessions::first_at`]).
    pub(super) bounded: bool,
    /// The same of one source ([`Sessions::first_of`]).
    pub(super) bounded_by_source: bool,
}

impl Terms {
    /// Where nothing is bounded but silence.
    pub(super) fn usual(patience: Patience) -> Self {
        Self { patience, bounded: false, bounded_by_source: false }
    }
}

/// Why there is no room for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crowd {
    /// Too many in all.
    All,
    /// Too many of its source.
    Source,
}

/// See the module. `S` is what the worker keeps of a session.
#[derive(Debug)]
pub(super) struct Sessions<S> {
    limits: Limits,
    /// Of ports without terms of their own.
    usual: Terms,
    /// By the number of the port.
    terms: Vec<Terms>,
    slots: Slab<Entry<S>>,
    flows: HashMap<Flow, u32>,
    /// By how long they may be silent; each session is in one.
    classes: Vec<(Patience, Queues)>,
    groups: Slab<(Key, Queues)>,
    by_key: HashMap<Key, u32>,
}

/// What sessions of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Source(IpAddr),
    /// Where its terms say so.
    Port(u32),
    /// Likewise.
    SourceAtPort(IpAddr, u32),
}

#[derive(Debug)]
struct Entry<S> {
    flow: Flow,
    session: S,
    stage: Stage,
    /// How often the client has spoken after an answer, as far as it counts, and when it last did.
    rounds: u8,
    round: Instant,
    /// How often the endpoint was heard.
    answers: u32,
    /// When either side was heard.
    heard: Instant,
    /// Since when the client waits for an answer, if it does.
    waits: Option<Instant>,
    class: u32,
    /// Or `NONE`, each.
    groups: [u32; LISTS - 1],
    /// In the list of the class, and in those of the groups.
    links: [Links; LISTS],
}

/// The slots as one of the lists sees them.
struct Among<'a, S>(&'a mut Slab<Entry<S>>, usize);

impl<S> Linked for Among<'_, S> {
    fn links(&mut self, slot: u32) -> &mut Links {
        &mut self.0[slot as usize].links[self.1]
    }
}

impl<S> Sessions<S> {
    pub(super) fn new(limits: Limits, patience: Patience) -> Self {
        Self {
            limits,
            usual: Terms::usual(patience),
            terms: Vec::new(),
            slots: Slab::new(),
            flows: HashMap::new(),
            classes: Vec::new(),
            groups: Slab::new(),
            by_key: HashMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The session of a flow.
    pub(super) fn find(&self, flow: &Flow) -> Option<u32> {
        self.flows.get(flow).copied()
    }

    /// A session with its flow.
    pub(super) fn get(&self, slot: u32) -> Option<(&Flow, &S)> {
        let entry = self.slots.get(slot as usize)?;
        Some((&entry.flow, &entry.session))
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut S> {
        self.slots.get_mut(slot as usize).map(|entry| &mut entry.session)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Flow, &mut S)> {
        self.slots.iter_mut().map(|(_, entry)| (&entry.flow, &mut entry.session))
    }

    /// Whether the client has waited this long for an answer.
    pub(super) fn is_unanswered(&self, slot: u32, now: Instant, patience: Duration) -> bool {
        let waits = self.slots.get(slot as usize).and_then(|entry| entry.waits);
        waits.is_some_and(|since| since + patience <= now)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Flow, &S)> {
        self.slots.iter().map(|(slot, entry)| (number(slot), &entry.flow, &entry.session))
    }

    /// Says what holds for the sessions of each port, by its number.
    pub(super) fn set_terms(&mut self, terms: Vec<Terms>) {
        if self.terms != terms {
            self.terms = terms;
            self.arrange();
        }
    }

    /// Has fresh sessions of every port silent for no longer than this.
    pub(super) fn hurry(&mut self, fresh: Duration) {
        let all = std::iter::once(&mut self.usual).chain(&mut self.terms);
        all.for_each(|terms| terms.patience.fresh = terms.patience.fresh.min(fresh));
        self.arrange();
    }

    /// Puts every session into the lists that its terms say.
    fn arrange(&mut self) {
        let mut order: Vec<u32> = self.slots.iter().map(|(slot, _)| number(slot)).collect();
        order.sort_by_key(|slot| self.slots[*slot as usize].heard);
        self.classes.clear();
        self.groups.clear();
        self.by_key.clear();
        for slot in order {
            self.enter(slot);
        }
    }

    /// Puts a session that is in no list into those where it belongs.
    fn enter(&mut self, slot: u32) {
        let Flow { port, client } = self.slots[slot as usize].flow;
        let source = source_of(client.ip());
        let terms = *self.terms.get(port as usize).unwrap_or(&self.usual);
        let class = self.class(terms.patience);
        let groups = [
            Some(Key::Source(source)),
            terms.bounded.then_some(Key::Port(port)),
            terms.bounded_by_source.then_some(Key::SourceAtPort(source, port)),
        ];
        let groups = groups.map(|key| key.map_or(NONE, |key| self.group(key)));
        let entry = &mut self.slots[slot as usize];
        (entry.class, entry.groups) = (class, groups);
        let stage = entry.stage;
        self.each_list(slot, |queues, slots| queues.stage_mut(stage).push(slot, slots));
    }

    /// The class of those that may be silent for so long. There are as many as ports at most, between one
    /// [`Sessions::arrange`] and the next.
    fn class(&mut self, patience: Patience) -> u32 {
        let known = self.classes.iter().position(|(of, _)| *of == patience);
        number(known.unwrap_or_else(|| {
            self.classes.push((patience, Queues::default()));
            self.classes.len() - 1
        }))
    }

    fn group(&mut self, key: Key) -> u32 {
        let groups = &mut self.groups;
        let new = || number(groups.insert((key, Queues::default())));
        *self.by_key.entry(key).or_insert_with(new)
    }

    fn grouped(&self, key: Key) -> Option<&Queues> {
        self.by_key.get(&key).map(|group| &self.groups[*group as usize].1)
    }

    /// Does something with each list that a session is in.
    fn each_list(&mut self, slot: u32, act: impl Fn(&mut Queues, &mut Among<'_, S>)) {
        let Entry { class, groups, .. } = self.slots[slot as usize];
        act(&mut self.classes[class as usize].1, &mut Among(&mut self.slots, 0));
        for (place, group) in groups.into_iter().enumerate().filter(|(_, group)| *group != NONE) {
            act(&mut self.groups[group as usize].1, &mut Among(&mut self.slots, place + 1));
        }
    }

    /// Which session has to go before this client can have another, if one has to.
    pub(super) fn in_the_way(&self, client: SocketAddr) -> Option<(u32, Crowd)> {
        let Limits { all, of_a_source } = self.limits;
        let queues = self.grouped(Key::Source(source_of(client.ip())));
        if let Some(queues) = queues.filter(|queues| queues.len() >= of_a_source) {
            return Some((queues.first_to_go(of_a_source)?, Crowd::Source));
        }
        if self.slots.len() < all {
            return None;
        }
        Some((self.first_to_go()?, Crowd::All))
    }

    /// The session that goes first when anything is short.
    pub(super) fn first_to_go(&self) -> Option<u32> {
        let mut lens = [0; Stage::ALL.len()];
        for (_, queues) in &self.classes {
            lens.iter_mut().zip(queues.lens()).for_each(|(sum, len)| *sum += len);
        }
        let stage = giving(lens, self.limits.all)?;
        let first = self.classes.iter().filter_map(|(_, queues)| queues.stage(stage).first());
        first.min_by_key(|slot| self.slots[*slot as usize].heard)
    }

    /// The session that goes first when a port has too many; its terms have to say that it is bounded.
    pub(super) fn first_at(&self, port: u32) -> Option<u32> {
        let queues = self.grouped(Key::Port(port))?;
        queues.first_to_go(queues.len())
    }

    /// The same when a source has too many at a port.
    pub(super) fn first_of(&self, source: IpAddr, port: u32) -> Option<u32> {
        let queues = self.grouped(Key::SourceAtPort(source, port))?;
        queues.first_to_go(queues.len())
    }

    /// Begins a session. There is none of this flow, and nothing is in the way.
    pub(super) fn begin(&mut self, flow: Flow, session: S, now: Instant) -> u32 {
        let slot = number(self.slots.insert(Entry {
            flow,
            session,
            stage: Stage::Fresh,
            rounds: 0,
            round: now,
            answers: 0,
            heard: now,
            waits: Some(now),
            class: 0,
            groups: [NONE; LISTS - 1],
            links: [Links::default(); LISTS],
        }));
        self.flows.insert(flow, slot);
        self.enter(slot);
        slot
    }

    /// Its client was heard. Whether that is what proves it.
    pub(super) fn hear_client(&mut self, slot: u32, now: Instant) -> bool {
        let Some(entry) = self.slots.get_mut(slot as usize) else { return false };
        let answered = entry.waits.is_none();
        entry.waits = entry.waits.or(Some(now));
        match entry.stage {
            Stage::Fresh if answered => {
                (entry.rounds, entry.round) = (1, now);
                self.promote(slot, Stage::Proven, now);
                return true;
            }
            Stage::Proven if answered && entry.round + APART <= now => {
                (entry.rounds, entry.round) = (entry.rounds + 1, now);
                if entry.rounds == ROUNDS {
                    self.promote(slot, Stage::Settled, now);
                    return false;
                }
            }
            _ => {}
        }
        self.hear(slot, now);
        false
    }

    fn promote(&mut self, slot: u32, to: Stage, now: Instant) {
        let entry = &mut self.slots[slot as usize];
        let from = std::mem::replace(&mut entry.stage, to);
        entry.heard = now;
        self.each_list(slot, |queues, slots| {
            queues.stage_mut(from).remove(slot, slots);
            queues.stage_mut(to).push(slot, slots);
        });
    }

    /// Its endpoint was heard. How often it was, with this time.
    pub(super) fn hear_endpoint(&mut self, slot: u32, now: Instant) -> u32 {
        let Some(entry) = self.slots.get_mut(slot as usize) else { return 0 };
        entry.answers = entry.answers.saturating_add(1);
        let answers = entry.answers;
        entry.waits = None;
        self.hear(slot, now);
        answers
    }

    fn hear(&mut self, slot: u32, now: Instant) {
        let entry = &mut self.slots[slot as usize];
        entry.heard = now;
        let stage = entry.stage;
        self.each_list(slot, |queues, slots| queues.stage_mut(stage).hear(slot, slots));
    }

    /// Ends a session.
    pub(super) fn end(&mut self, slot: u32) -> Option<(Flow, S)> {
        let stage = self.slots.get(slot as usize)?.stage;
        self.each_list(slot, |queues, slots| queues.stage_mut(stage).remove(slot, slots));
        let Entry { flow, session, groups, .. } = self.slots.remove(slot as usize);
        self.flows.remove(&flow);
        for group in groups.into_iter().filter(|group| *group != NONE) {
            let (key, queues) = &self.groups[group as usize];
            if queues.len() == 0 {
                self.by_key.remove(key);
                self.groups.remove(group as usize);
            }
        }
        Some((flow, session))
    }

    /// A session that has been silent for too long.
    pub(super) fn silent(&self, now: Instant) -> Option<u32> {
        self.firsts().find(|(_, until)| *until <= now).map(|(slot, _)| slot)
    }

    /// When there will be one, if nobody is heard.
    pub(super) fn next_silent(&self) -> Option<Instant> {
        self.firsts().map(|(_, until)| until).min()
    }

    /// Of each class and stage the one that was silent for longest, and until when it may be.
    fn firsts(&self) -> impl Iterator<Item = (u32, Instant)> {
        self.classes.iter().flat_map(|(patience, queues)| {
            let first = |stage: Stage| {
                let slot = queues.stage(stage).first()?;
                Some((slot, self.slots[slot as usize].heard + patience.with(stage)))
            };
            Stage::ALL.into_iter().filter_map(first)
        })
    }

    /// The shortest time that any session may be silent.
    pub(super) fn least_patience(&self) -> Duration {
        let patiences =
            self.classes.iter().map(|(patience, _)| patience.fresh.min(patience.proven));
        patiences.min().unwrap_or(Duration::MAX)
    }
}

fn number(slot: usize) -> u32 {
    u32::try_from(slot).expect("a process has fewer than 2^32 files")
}

#[cfg(test)]
mod tests;
