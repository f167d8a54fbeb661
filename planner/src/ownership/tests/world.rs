//! Members that hear of each other with delay and loss, in simulated time.
//!
//! Who is alive comes from an oracle: a member that cannot be reached is thought dead after 300 to
//! 750 ms, one that can be again is found within 600 ms. What members say arrives after a delay and
//! is sent again until it has, as `speaker::group` does. A member is asked when it heard something
//! new or when it said that it is due, as there.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::super::rule::{RULE, Rule};
use super::super::{Entries, Keeper, Offer, Ownership, Peer, Possession, View};

thread_local! {
    /// The rule that worlds of this thread go by: another one where a test is to fail.
    pub(super) static RULES: Cell<Rule> = const { Cell::new(RULE) };
}

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

/// What a member said: life, version, entries.
type Word = (u64, u64, Arc<Entries>);

/// What one member knows of another.
#[derive(Clone, Default)]
struct Sight {
    alive: bool,
    /// When `alive` turns, if what is reachable stays as it is.
    turns: Option<u64>,
    heard: Word,
    /// What is under way, with when it arrives.
    arrives: Vec<(u64, Word)>,
    /// When the last one was sent.
    sent: u64,
}

pub(super) struct Node {
    pub(super) running: bool,
    /// It stands still until then, and knows nothing of that.
    pub(super) stalled: u64,
    life: u64,
    version: u64,
    keeper: Keeper,
    pub(super) offers: BTreeMap<IpAddr, Offer>,
    asked: BTreeMap<IpAddr, Offer>,
    pub(super) ownership: Ownership,
    said: Arc<Entries>,
    sight: Vec<Sight>,
    view: View,
    stale: bool,
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
    /// Whether VIPs are spread anew.
    pub(super) rebalance: bool,
    /// Counts what was served anew or no more, by anybody.
    pub(super) changes: u64,
    names: Vec<String>,
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
                let keeper = Keeper::new(&name(number), Duration::from_millis(offset));
                Node {
                    running: true,
                    stalled: 0,
                    life: 1,
                    version: 0,
                    keeper: keeper.with_rule(RULES.get()),
                    offers: offers.clone(),
                    asked: BTreeMap::new(),
                    ownership: Ownership::default(),
                    said: Arc::default(),
                    sight: vec![Sight::default(); count],
                    view: View { expected: count, ..View::default() },
                    stale: true,
                    holds: BTreeMap::new(),
                    offset,
                }
            })
            .collect();
        Self {
            now: 0,
            nodes,
            side: vec![0; count],
            dice,
            loss: 0,
            delay: 5,
            rebalance: false,
            changes: 0,
            names: (0..count).map(name).collect(),
        }
    }

    pub(super) fn crash(&mut self, number: usize) {
        self.nodes[number].running = false;
        self.nodes[number].ownership = Ownership::default();
        self.changes += 1;
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
        node.stalled = 0;
        node.life += 1;
        node.version = 0;
        let keeper = if resume {
            Keeper::resume(&name(number), now, &node.holds)
        } else {
            Keeper::new(&name(number), now)
        };
        node.keeper = keeper.with_rule(RULES.get());
        node.said = Arc::new(node.keeper.entries().clone());
        node.sight = vec![Sight::default(); count];
        node.view = View { expected: count, ..View::default() };
        node.stale = true;
    }

    /// A node that does nothing for a while, and does not notice.
    pub(super) fn stall(&mut self, number: usize, time: u64) {
        self.nodes[number].stalled = self.now + time;
    }

    fn awake(&self, number: usize) -> bool {
        self.nodes[number].running && self.nodes[number].stalled <= self.now
    }

    pub(super) fn connected(&self, a: usize, b: usize) -> bool {
        self.awake(a) && self.awake(b) && self.side[a] == self.side[b]
    }

    /// Whether two count each other among the living, and can talk.
    pub(super) fn know_each_other(&self, a: usize, b: usize) -> bool {
        self.connected(a, b) && self.nodes[a].sight[b].alive && self.nodes[b].sight[a].alive
    }

    /// Whom a node believes to be alive.
    pub(super) fn alive(&self, me: usize) -> Vec<usize> {
        let sight = self.nodes[me].sight.iter().enumerate();
        sight.filter(|(other, sight)| *other != me && sight.alive).map(|(other, _)| other).collect()
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
                if self.awake(number) {
                    self.hear(number);
                    self.think(number);
                }
            }
            each(self);
        }
    }

    /// What a node hears and sees of the others.
    fn hear(&mut self, me: usize) {
        let now = self.now;
        for other in (0..self.nodes.len()).filter(|other| *other != me) {
            let reachable = self.connected(me, other);
            let told = (self.nodes[other].life, self.nodes[other].version);
            let mut mine = std::mem::take(&mut self.nodes[me].sight[other]);
            let mut stale = false;
            if reachable == mine.alive {
                mine.turns = None;
            } else {
                let turns = match mine.turns {
                    Some(turns) => turns,
                    None if reachable => now + self.dice.between(0, 600),
                    None => now + self.dice.between(300, 750),
                };
                mine.turns = Some(turns);
                if now >= turns {
                    mine.alive = reachable;
                    mine.turns = None;
                    stale = true;
                }
            }
            // What is new is sent at once, and then each 40 ms until it is there.
            let is_news = (mine.heard.0, mine.heard.1) != told;
            let flying = mine.arrives.iter().any(|(_, word)| (word.0, word.1) == told);
            if reachable && is_news && (!flying || now >= mine.sent + 40) {
                mine.sent = now;
                if self.dice.below(100) >= self.loss {
                    let at = now + self.dice.between(0, self.delay.max(1));
                    let said = Arc::clone(&self.nodes[other].said);
                    mine.arrives.push((at, (told.0, told.1, said)));
                }
            }
            for (at, word) in std::mem::take(&mut mine.arrives) {
                if at > now {
                    mine.arrives.push((at, word));
                } else if reachable && (word.0, word.1) > (mine.heard.0, mine.heard.1) {
                    mine.heard = word;
                    stale = true;
                }
            }
            self.nodes[me].sight[other] = mine;
            self.look(me, other, told, stale);
        }
    }

    /// Takes what is known of another one into the view.
    fn look(&mut self, me: usize, other: usize, told: (u64, u64), stale: bool) {
        let Self { nodes, names, .. } = self;
        let Node { sight, view, stale: mine, .. } = &mut nodes[me];
        let sight = &sight[other];
        // It knows how far the other's record goes from the stamp on its datagrams.
        let complete = (sight.heard.0, sight.heard.1) == told;
        if stale {
            *mine = true;
            view.others.remove(&names[other]);
            if sight.alive {
                let entries = (*sight.heard.2).clone();
                view.others.insert(names[other].clone(), Peer { entries, complete });
            }
        } else if sight.alive
            && let Some(peer) = view.others.get_mut(&names[other])
            && peer.complete != complete
        {
            peer.complete = complete;
            *mine = true;
        }
    }

    fn think(&mut self, me: usize) {
        let node = &mut self.nodes[me];
        let now = Duration::from_millis(self.now + node.offset);
        let due = node.keeper.due().is_some_and(|due| due <= now);
        let same = node.offers == node.asked && node.view.rebalance == self.rebalance;
        if !std::mem::take(&mut node.stale) && !due && same {
            return;
        }
        node.view.rebalance = self.rebalance;
        node.asked.clone_from(&node.offers);
        let ownership = node.keeper.step(now, &node.offers, &node.view);
        if ownership.vips != node.ownership.vips {
            self.changes += 1;
        }
        node.ownership = ownership;
        if *node.said != *node.keeper.entries() {
            node.said = Arc::new(node.keeper.entries().clone());
            node.version += 1;
            let holds = node.said.iter();
            node.holds = holds.filter_map(|(vip, entry)| Some((*vip, entry.hold?.epoch))).collect();
        }
    }
}
