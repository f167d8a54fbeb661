//! Members that hear of each other with delay and loss, in simulated time.
//!
//! Who is alive comes from an oracle: a member that cannot be reached is thought dead after 300 to
//! 750 ms, one that can be again is found within 600 ms. What members say arrives after a delay and
//! is sent again until it has, as `speaker::group` does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::super::{Entries, Keeper, Offer, Ownership, Peer, Possession, View};

/// A small generator with a published form (SplitMix64); tests need no more.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low)
    }
}

pub(super) fn vip(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

/// Milliseconds; time goes in steps of this.
pub(super) const STEP: u64 = 10;

/// What one member knows of another.
#[derive(Clone, Default)]
struct Sight {
    alive: bool,
    /// When `alive` turns, if what is reachable stays as it is.
    turns: Option<u64>,
    /// What was heard: life, version, entries.
    heard: (u64, u64, Entries),
    /// What is under way.
    arrives: Vec<(u64, (u64, u64, Entries))>,
}

pub(super) struct Node {
    pub(super) running: bool,
    life: u64,
    version: u64,
    keeper: Keeper,
    pub(super) offers: BTreeMap<IpAddr, Offer>,
    pub(super) ownership: Ownership,
    said: Entries,
    sight: BTreeMap<usize, Sight>,
    /// What a state file would have.
    holds: BTreeMap<IpAddr, u64>,
    /// Its clock was here when it started.
    offset: u64,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) side: Vec<u64>,
    pub(super) dice: Dice,
    /// Percent of messages that are lost.
    pub(super) loss: u64,
    /// Longest delay of a message, in milliseconds.
    pub(super) delay: u64,
}

pub(super) fn name(number: usize) -> String {
    format!("node-{number}")
}

impl World {
    pub(super) fn new(seed: u64, count: usize, vips: u8) -> Self {
        let mut dice = Dice(seed);
        let offers: BTreeMap<IpAddr, Offer> = (1..=vips)
            .map(|number| (vip(number), Offer { bound: 1, ..Offer::default() }))
            .collect();
        let nodes = (0..count)
            .map(|number| {
                // Monotonic clocks begin anywhere.
                let offset = dice.below(1 << 40);
                Node {
                    running: true,
                    life: 1,
                    version: 0,
                    keeper: Keeper::new(&name(number), Duration::from_millis(offset)),
                    offers: offers.clone(),
                    ownership: Ownership::default(),
                    said: Entries::new(),
                    sight: (0..count).map(|other| (other, Sight::default())).collect(),
                    holds: BTreeMap::new(),
                    offset,
                }
            })
            .collect();
        Self { now: 0, nodes, side: vec![0; count], dice, loss: 0, delay: 5 }
    }

    pub(super) fn crash(&mut self, number: usize) {
        self.nodes[number].running = false;
        self.nodes[number].ownership = Ownership::default();
    }

    /// Starts a node; `resume`: with what it held when it last ran.
    pub(super) fn restart(&mut self, number: usize, resume: bool) {
        let count = self.nodes.len();
        let node = &mut self.nodes[number];
        if node.running {
            return;
        }
        let now = Duration::from_millis(self.now + node.offset);
        node.running = true;
        node.life += 1;
        node.version = 0;
        node.keeper = if resume {
            Keeper::resume(&name(number), now, &node.holds)
        } else {
            Keeper::new(&name(number), now)
        };
        node.said = node.keeper.entries().clone();
        node.sight = (0..count).map(|other| (other, Sight::default())).collect();
    }

    pub(super) fn connected(&self, a: usize, b: usize) -> bool {
        self.nodes[a].running && self.nodes[b].running && self.side[a] == self.side[b]
    }

    /// Whom a node believes to be alive.
    pub(super) fn alive(&self, me: usize) -> Vec<usize> {
        let sight = self.nodes[me].sight.iter();
        sight
            .filter(|(other, sight)| **other != me && sight.alive)
            .map(|(other, _)| *other)
            .collect()
    }

    /// Who serves a VIP.
    pub(super) fn servers(&self, vip: IpAddr) -> BTreeSet<usize> {
        let serves = |node: &Node| {
            node.running && matches!(node.ownership.vips.get(&vip), Some(Possession::Here))
        };
        (0..self.nodes.len()).filter(|number| serves(&self.nodes[*number])).collect()
    }

    pub(super) fn run(&mut self, milliseconds: u64, mut each: impl FnMut(&Self)) {
        let end = self.now + milliseconds;
        while self.now < end {
            self.now += STEP;
            for number in 0..self.nodes.len() {
                if self.nodes[number].running {
                    self.hear(number);
                    self.think(number);
                }
            }
            each(self);
        }
    }

    /// What a node hears and sees of the others.
    fn hear(&mut self, me: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != me) {
            let reachable = self.connected(me, other);
            let told = (self.nodes[other].life, self.nodes[other].version);
            let said = self.nodes[other].said.clone();
            let (down, up) = (self.dice.between(300, 750), self.dice.between(0, 600));
            let lost = self.dice.below(100) < self.loss;
            let delay = self.dice.between(0, self.delay.max(1));
            let now = self.now;
            let sight = self.nodes[me].sight.get_mut(&other).unwrap();
            if reachable == sight.alive {
                sight.turns = None;
            } else {
                let turns = *sight.turns.get_or_insert(now + if reachable { up } else { down });
                if now >= turns {
                    sight.alive = reachable;
                    sight.turns = None;
                }
            }
            // What is new is sent at once, and then each 40 ms until it is there.
            let flying = sight.arrives.iter().any(|(at, _)| *at + 40 > now);
            if reachable && (sight.heard.0, sight.heard.1) != told && !flying && !lost {
                sight.arrives.push((now + delay, (told.0, told.1, said)));
            }
            for (at, message) in std::mem::take(&mut sight.arrives) {
                if at > now {
                    sight.arrives.push((at, message));
                } else if reachable && (message.0, message.1) > (sight.heard.0, sight.heard.1) {
                    sight.heard = message;
                }
            }
        }
    }

    fn think(&mut self, me: usize) {
        let lives: Vec<(u64, u64)> =
            self.nodes.iter().map(|node| (node.life, node.version)).collect();
        let expected = self.nodes.len();
        let node = &mut self.nodes[me];
        let others = node
            .sight
            .iter()
            .filter(|(other, sight)| **other != me && sight.alive)
            .map(|(other, sight)| {
                // It knows how far the other's record goes from the stamp on its datagrams.
                let complete = (sight.heard.0, sight.heard.1) == lives[*other];
                (name(*other), Peer { entries: sight.heard.2.clone(), complete })
            })
            .collect();
        let view = View { others, expected };
        let now = Duration::from_millis(self.now + node.offset);
        node.ownership = node.keeper.step(now, &node.offers, &view);
        if node.said != *node.keeper.entries() {
            node.said = node.keeper.entries().clone();
            node.version += 1;
        }
        node.holds =
            node.said.iter().filter_map(|(vip, entry)| Some((*vip, entry.hold?.epoch))).collect();
    }
}
