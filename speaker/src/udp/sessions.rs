//! The sessions of one worker: by flow, and in the order in which they were heard.
//!
//! There are two stages. A session is *fresh* until its client speaks again after an answer; then it is
//! *proven*: whoever sends once under each of many false addresses never gets there, and a question with one answer (DNS)
//! is over by then. Fresh sessions go first when there is no room, so that a flood of them ends each other
//! and not what goes on; they leave to others an eighth of the room at least, that new clients have
//! some while all the others go on.
//!
//! Always holds: no more than the limit in all, nor than the limit of a source of one source.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use slab::Slab;

use super::lru::{Linked, Links, Queue};

/// A client's address and port, and the port of ours (by number) that it speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    pub(super) port: u32,
    pub(super) client: SocketAddr,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The client has not said anything after an answer.
    Fresh,
    /// It has.
    Proven,
}

/// How long a session of each stage may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) fresh: Duration,
    pub(super) proven: Duration,
}

impl Patience {
    fn with(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Fresh => self.fresh,
            Stage::Proven => self.proven,
        }
    }
}

/// How many sessions there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) all: usize,
    pub(super) of_a_source: usize,
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
    slots: Slab<Entry<S>>,
    flows: HashMap<Flow, u32>,
    all: Queues,
    sources: Slab<(IpAddr, Queues)>,
    by_address: HashMap<IpAddr, u32>,
}

#[derive(Debug)]
struct Entry<S> {
    flow: Flow,
    session: S,
    stage: Stage,
    /// How often the endpoint was heard.
    answers: u32,
    /// When either side was heard.
    heard: Instant,
    /// Since when the client waits for an answer, if it does.
    waits: Option<Instant>,
    source: u32,
    /// Among all.
    links: Links,
    /// Among those of its source.
    in_source: Links,
}

/// Sessions by stage, in each stage in the order in which they were heard.
#[derive(Debug, Default)]
struct Queues {
    fresh: Queue,
    proven: Queue,
}

impl Queues {
    fn of(&mut self, stage: Stage) -> &mut Queue {
        match stage {
            Stage::Fresh => &mut self.fresh,
            Stage::Proven => &mut self.proven,
        }
    }

    fn len(&self) -> usize {
        self.fresh.len() + self.proven.len()
    }

    /// The one to go when there are `limit`.
    fn first_to_go(&self, limit: usize) -> Option<u32> {
        let (fresh, proven) = (self.fresh.first(), self.proven.first());
        // Rounded down, so that one of few is not kept from anybody.
        if self.proven.len() > limit - limit / 8 { proven.or(fresh) } else { fresh.or(proven) }
    }
}

/// The slots as the list of all sees them.
struct Among<'a, S>(&'a mut Slab<Entry<S>>);
/// As the list of a source sees them.
struct AmongSource<'a, S>(&'a mut Slab<Entry<S>>);

impl<S> Linked for Among<'_, S> {
    fn links(&mut self, slot: u32) -> &mut Links {
        &mut self.0[slot as usize].links
    }
}

impl<S> Linked for AmongSource<'_, S> {
    fn links(&mut self, slot: u32) -> &mut Links {
        &mut self.0[slot as usize].in_source
    }
}

impl<S> Sessions<S> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            slots: Slab::new(),
            flows: HashMap::new(),
            all: Queues::default(),
            sources: Slab::new(),
            by_address: HashMap::new(),
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

    /// Which session has to go before this client can have another, if one has to.
    pub(super) fn in_the_way(&self, client: SocketAddr) -> Option<(u32, Crowd)> {
        let Limits { all, of_a_source } = self.limits;
        let queues =
            self.by_address.get(&source_of(client)).map(|at| &self.sources[*at as usize].1);
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
        self.all.first_to_go(self.limits.all)
    }

    /// Begins a session. There is none of this flow, and nothing is in the way.
    pub(super) fn begin(&mut self, flow: Flow, session: S, now: Instant) -> u32 {
        let address = source_of(flow.client);
        let sources = &mut self.sources;
        let source = *self
            .by_address
            .entry(address)
            .or_insert_with(|| number(sources.insert((address, Queues::default()))));
        let slot = number(self.slots.insert(Entry {
            flow,
            session,
            stage: Stage::Fresh,
            answers: 0,
            heard: now,
            waits: Some(now),
            source,
            links: Links::default(),
            in_source: Links::default(),
        }));
        self.flows.insert(flow, slot);
        self.all.fresh.push(slot, &mut Among(&mut self.slots));
        self.sources[source as usize].1.fresh.push(slot, &mut AmongSource(&mut self.slots));
        slot
    }

    /// Its client was heard. Whether that is what proves it.
    pub(super) fn hear_client(&mut self, slot: u32, now: Instant) -> bool {
        let Some(entry) = self.slots.get_mut(slot as usize) else { return false };
        entry.waits = entry.waits.or(Some(now));
        let proves = entry.stage == Stage::Fresh && entry.answers > 0;
        if proves {
            self.unlink(slot);
            self.slots[slot as usize].stage = Stage::Proven;
            self.slots[slot as usize].heard = now;
            let source = self.slots[slot as usize].source as usize;
            self.all.proven.push(slot, &mut Among(&mut self.slots));
            self.sources[source].1.proven.push(slot, &mut AmongSource(&mut self.slots));
        } else {
            self.hear(slot, now);
        }
        proves
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
        let (stage, source) = (entry.stage, entry.source as usize);
        self.all.of(stage).hear(slot, &mut Among(&mut self.slots));
        self.sources[source].1.of(stage).hear(slot, &mut AmongSource(&mut self.slots));
    }

    /// Ends a session.
    pub(super) fn end(&mut self, slot: u32) -> Option<(Flow, S)> {
        if !self.slots.contains(slot as usize) {
            return None;
        }
        self.unlink(slot);
        let Entry { flow, session, source, .. } = self.slots.remove(slot as usize);
        self.flows.remove(&flow);
        let (address, queues) = &self.sources[source as usize];
        if queues.len() == 0 {
            self.by_address.remove(address);
            self.sources.remove(source as usize);
        }
        Some((flow, session))
    }

    /// A session that has been silent for too long.
    pub(super) fn silent(&self, now: Instant, patience: Patience) -> Option<u32> {
        let first = [(Stage::Fresh, &self.all.fresh), (Stage::Proven, &self.all.proven)];
        first.into_iter().find_map(|(stage, queue)| {
            let slot = queue.first()?;
            let heard = self.slots[slot as usize].heard;
            (heard + patience.with(stage) <= now).then_some(slot)
        })
    }

    /// When there will be one, if nobody is heard.
    pub(super) fn next_silent(&self, patience: Patience) -> Option<Instant> {
        let first = [(Stage::Fresh, &self.all.fresh), (Stage::Proven, &self.all.proven)];
        let until = first.into_iter().filter_map(|(stage, queue)| {
            Some(self.slots[queue.first()? as usize].heard + patience.with(stage))
        });
        until.min()
    }

    /// Takes a session out of its lists.
    fn unlink(&mut self, slot: u32) {
        let entry = &self.slots[slot as usize];
        let (stage, source) = (entry.stage, entry.source as usize);
        self.all.of(stage).remove(slot, &mut Among(&mut self.slots));
        self.sources[source].1.of(stage).remove(slot, &mut AmongSource(&mut self.slots));
    }
}

/// Whom a client counts with: its address; by IPv6 its /64, of which one host has every address.
fn source_of(client: SocketAddr) -> IpAddr {
    match client.ip() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

fn number(slot: usize) -> u32 {
    u32::try_from(slot).expect("a process has fewer than 2^32 files")
}

#[cfg(test)]
mod tests;
