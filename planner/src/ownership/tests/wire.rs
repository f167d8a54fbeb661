//! Members whose datagrams do not pass, on a LAN where frames do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::super::wire::{Appearance, Meeting, SILENCES, Verdict, Wire, settle};
use super::super::{Offer, Possession};
use super::world::{STEP, World, name, vip};
use crate::node::MacAddr;

const VIPS: u8 = 8;
/// After a take-over, in milliseconds.
const BURST: [u64; 4] = [0, 100, 300, 1_000];
/// How often the wire is asked for what was yielded, and how long a question without answer takes.
const ASKED_EVERY: u64 = 500;
/// Longest time that two may announce one VIP once both do.
const TWO_OWNERS: u64 = 1_000;

fn mac(number: usize) -> MacAddr {
    // In another order than the names.
    MacAddr([2, 0, 0, 0, 0, [0x50, 0x10, 0x90, 0x30][number]])
}

/// A world with a LAN: what is announced is seen by those that have the VIP themselves.
struct Lan {
    world: World,
    wires: Vec<Wire>,
    /// When each member announces each VIP, and what is offered as far as the host goes.
    announcing: Vec<BTreeMap<IpAddr, Vec<u64>>>,
    offers: Vec<BTreeMap<IpAddr, Offer>>,
    asked: Vec<u64>,
    /// Whether the rule is obeyed.
    ruled: bool,
    /// Since when a VIP has two owners on the wire.
    two: BTreeMap<IpAddr, u64>,
    worst: u64,
}

impl Lan {
    /// `count` members that agree.
    fn new(seed: u64, count: usize, ruled: bool) -> Lan {
        let world = World::new(seed, count, VIPS);
        let offers = world.nodes.iter().map(|node| node.offers.clone()).collect();
        let mut lan = Lan {
            world,
            wires: vec![Wire::default(); count],
            announcing: vec![BTreeMap::new(); count],
            offers,
            asked: vec![0; count],
            ruled,
            two: BTreeMap::new(),
            worst: 0,
        };
        lan.run(4_000);
        lan
    }

    /// Who announces a VIP.
    fn owners(&self, vip: IpAddr) -> BTreeSet<usize> {
        let announces = |number: &usize| self.announcing[*number].contains_key(&vip);
        (0..self.wires.len()).filter(announces).collect()
    }

    fn all_owners(&self) -> Vec<BTreeSet<usize>> {
        (1..=VIPS).map(|number| self.owners(vip(number))).collect()
    }

    /// Nobody hears anybody.
    fn cut(&mut self) {
        self.world.side = (0..self.wires.len() as u64).collect();
    }

    fn run(&mut self, milliseconds: u64) {
        let end = self.world.now + milliseconds;
        while self.world.now < end {
            self.world.run(STEP, |_| {});
            for me in 0..self.wires.len() {
                self.follow(me);
            }
            self.frames();
            for me in 0..self.wires.len() {
                self.decide(me);
            }
            self.look();
        }
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.world.now)
    }

    fn follow(&mut self, me: usize) {
        let look = |number: &usize| {
            let appearance = Appearance { name: name(*number), macs: [mac(*number)].into() };
            (name(*number), appearance)
        };
        let heard = self.world.alive(me).iter().map(look).collect();
        let vips = &self.world.nodes[me].ownership.vips;
        let planned = self.offers[me].keys().map(|vip| (*vip, vips.get(vip).cloned())).collect();
        let now = self.now();
        self.wires[me].follow(now, &heard, &planned);
        self.announce(me);
    }

    /// What the host does by what the group and the wire say.
    fn announce(&mut self, me: usize) {
        let node = &self.world.nodes[me];
        let wire = &self.wires[me];
        let yielded = |vip: &IpAddr| self.ruled && wire.yielded(*vip).is_some();
        let here = |vip: &IpAddr| {
            node.running && node.ownership.vips.get(vip) == Some(&Possession::Here) && !yielded(vip)
        };
        let now = self.world.now;
        let announcing = &mut self.announcing[me];
        announcing.retain(|vip, _| here(vip));
        for vip in self.offers[me].keys().filter(|vip| here(vip)) {
            announcing.entry(*vip).or_insert_with(|| BURST.map(|after| now + after).to_vec());
        }
        let offers = self.offers[me].iter().filter(|(vip, _)| !yielded(vip));
        self.world.nodes[me].offers = offers.map(|(vip, offer)| (*vip, *offer)).collect();
    }

    /// Frames that are due reach all that have the VIP.
    fn frames(&mut self) {
        let (now, at) = (self.now(), self.world.now);
        for sender in 0..self.wires.len() {
            for (vip, due) in self.announcing[sender].clone() {
                if !due.contains(&at) {
                    continue;
                }
                for listener in (0..self.wires.len()).filter(|listener| *listener != sender) {
                    if self.announcing[listener].contains_key(&vip) {
                        self.wires[listener].seen(now, vip, mac(sender));
                    }
                }
            }
        }
    }

    fn decide(&mut self, me: usize) {
        let now = self.now();
        if self.ruled {
            for vip in self.wires[me].decide(now, mac(me)) {
                let burst = BURST.map(|after| self.world.now + STEP + after).to_vec();
                self.announcing[me].insert(vip, burst);
            }
        }
        if self.world.now >= self.asked[me] + ASKED_EVERY {
            self.asked[me] = self.world.now;
            for vip in self.wires[me].to_ask().collect::<Vec<_>>() {
                let answers = self.owners(vip).into_iter().find(|owner| *owner != me);
                self.wires[me].answered(now, vip, answers.map(mac));
            }
        }
        self.announce(me);
    }

    fn look(&mut self) {
        for number in 1..=VIPS {
            let vip = vip(number);
            if self.owners(vip).len() < 2 {
                self.two.remove(&vip);
                continue;
            }
            let since = *self.two.entry(vip).or_insert(self.world.now);
            self.worst = self.worst.max(self.world.now - since);
        }
    }

    fn crash(&mut self, number: usize) {
        self.world.crash(number);
        self.announcing[number].clear();
    }
}

#[test]
fn nothing_moves_when_all_datagrams_are_blocked_and_the_lan_is_one() {
    for seed in 0..6 {
        for count in [2, 3, 4] {
            let mut lan = Lan::new(seed, count, true);
            let before = lan.all_owners();
            assert!(before.iter().all(|owners| owners.len() == 1), "{before:?}");
            lan.cut();
            lan.run(20_000);
            assert!(lan.worst <= TWO_OWNERS, "seed {seed}, {count}: two for {} ms", lan.worst);
            assert_eq!(lan.all_owners(), before, "seed {seed}, {count}");
            // And not when they pass again.
            lan.world.side = vec![0; count];
            lan.run(5_000);
            assert!(lan.worst <= TWO_OWNERS);
            assert_eq!(lan.all_owners(), before, "seed {seed}, {count}: healed");
        }
    }
}

/// What the group settles when it is whole again is left to it: also frames were not seen meanwhile.
#[test]
fn members_that_were_apart_on_the_wire_too_leave_it_to_the_group() {
    let apart = || {
        let mut pair = Pair::new();
        pair.follow(100, Possession::There { owner: "10.0.0.9:7947".into(), announced: true });
        pair.heard.clear();
        pair.follow(600, Possession::Here);
        assert_eq!(pair.seen(5_000, mac(2)), [].into());
        assert_eq!(pair.wire.yielded(vip(1)), None, "it was theirs, but that is long ago");
        assert_eq!(pair.wire.due(), Some(Duration::from_millis(5_900)));
        pair
    };
    let mut pair = apart();
    pair.heard = Pair::new().heard;
    pair.follow(5_600, Possession::Here);
    assert_eq!(pair.wire.due(), None);
    assert_eq!(pair.wire.decide(Duration::from_millis(6_000), mac(0)), [].into());

    // They still do not hear each other: the lower address keeps it.
    let mut pair = apart();
    let late = Duration::from_millis(5_900);
    assert_eq!(pair.wire.decide(late, mac(0)), [vip(1)].into());
    assert_eq!(pair.wire.due(), None);
    let mut pair = apart();
    pair.wire.decide(late, MacAddr([0xfe, 0, 0, 0, 0, 1]));
    assert_eq!(pair.wire.yielded(vip(1)), Some("other"));
}

/// The control: without the rule each goes on to announce all.
#[test]
fn without_the_rule_two_owners_stay() {
    let mut lan = Lan::new(1, 2, false);
    lan.cut();
    lan.run(20_000);
    assert!(lan.all_owners().iter().all(|owners| owners.len() == 2));
    assert!(lan.worst > 10 * TWO_OWNERS);
}

#[test]
fn one_that_is_cut_off_from_two_keeps_what_it_has() {
    for seed in 0..6 {
        let mut lan = Lan::new(seed, 3, true);
        let before = lan.all_owners();
        lan.world.side = vec![0, 1, 1];
        lan.run(20_000);
        assert!(lan.worst <= TWO_OWNERS, "seed {seed}: two for {} ms", lan.worst);
        assert_eq!(lan.all_owners(), before, "seed {seed}");
    }
}

#[test]
fn what_was_yielded_is_taken_when_the_other_dies() {
    for seed in 0..6 {
        let mut lan = Lan::new(seed, 2, true);
        lan.cut();
        lan.run(5_000);
        lan.crash(0);
        lan.run(u64::from(SILENCES + 2) * ASKED_EVERY);
        let after = lan.all_owners();
        assert!(after.iter().all(|owners| *owners == [1].into()), "seed {seed}: {after:?}");
    }
}

/// Nobody had it before, so the addresses decide, whoever was quicker.
#[test]
fn a_vip_that_is_new_to_both_is_the_lower_ones() {
    for seed in 0..6 {
        let mut lan = Lan::new(seed, 2, true);
        lan.cut();
        lan.run(3_000);
        let new = vip(200);
        let offer = Offer { bound: 1, ..Offer::default() };
        let first = usize::try_from(seed % 2).unwrap();
        for me in [first, 1 - first] {
            lan.offers[me].insert(new, offer);
            lan.run(70);
        }
        lan.run(3_000);
        assert_eq!(lan.owners(new), [1].into(), "seed {seed}");
        assert!(lan.worst <= TWO_OWNERS, "seed {seed}: {}", lan.worst);
    }
}

#[test]
fn the_rule_gives_a_vip_to_one_of_two() {
    let any = Meeting::default();
    assert_eq!(settle(Meeting { was_theirs: true, lower: true, ..any }), Verdict::Yield);
    assert_eq!(settle(Meeting { was_ours: true, ..any }), Verdict::Keep);
    assert_eq!(settle(Meeting { lower: true, ..any }), Verdict::Keep);
    assert_eq!(settle(any), Verdict::Yield);
    // Both insist, whatever they remember: of each pair exactly one keeps it.
    for ours in [false, true] {
        for theirs in [false, true] {
            let one = Meeting { was_ours: ours, insists: true, lower: true, ..any };
            let other = Meeting { was_ours: theirs, insists: true, ..any };
            assert_ne!(settle(one), settle(other));
        }
    }
}

/// A member says that it has a VIP of ours, first while it is heard.
struct Pair {
    wire: Wire,
    heard: BTreeMap<String, Appearance>,
}

impl Pair {
    /// The other, with a higher address, is heard; the VIP is ours.
    fn new() -> Pair {
        let appearance = Appearance { name: "other".into(), macs: [mac(2)].into() };
        let heard = BTreeMap::from([("10.0.0.9:7947".to_owned(), appearance)]);
        let mut pair = Pair { wire: Wire::default(), heard };
        pair.follow(0, Possession::Here);
        pair
    }

    fn follow(&mut self, at: u64, possession: Possession) {
        let planned = BTreeMap::from([(vip(1), Some(possession))]);
        self.wire.follow(Duration::from_millis(at), &self.heard, &planned);
    }

    fn seen(&mut self, at: u64, by: MacAddr) -> BTreeSet<IpAddr> {
        let at = Duration::from_millis(at);
        self.wire.seen(at, vip(1), by);
        self.wire.decide(at, mac(0))
    }
}

#[test]
fn what_a_member_that_is_heard_says_is_left_to_the_group_until_it_is_lost() {
    let mut pair = Pair::new();
    assert_eq!(pair.seen(1_000, mac(2)), [].into());
    pair.heard.clear();
    pair.follow(1_200, Possession::Here);
    let decided = pair.wire.decide(Duration::from_millis(1_200), mac(0));
    assert_eq!(decided, [vip(1)].into(), "it was ours when the other was lost");
    assert_eq!(pair.wire.yielded(vip(1)), None);
}

#[test]
fn a_vip_is_announced_anew_once_in_ten_seconds_against_one_member() {
    let mut pair = Pair::new();
    pair.heard.clear();
    pair.follow(500, Possession::Here);
    // Ours is the lower address, so however it insists it stays ours.
    let answers = (600..21_000).step_by(100).filter(|at| !pair.seen(*at, mac(2)).is_empty());
    assert_eq!(answers.collect::<Vec<_>>(), [600, 10_600, 20_600]);
}

#[test]
fn strangers_and_members_that_were_long_lost_are_not_yielded_to() {
    let mut pair = Pair::new();
    pair.heard.clear();
    pair.follow(500, Possession::Here);
    assert_eq!(pair.seen(600, mac(1)), [].into(), "a stranger is the business of `l2`");
    assert_eq!(pair.wire.macs(), [mac(2)].into());
    pair.follow(700_000, Possession::Here);
    assert_eq!(pair.wire.macs(), [].into());
    assert_eq!(pair.seen(700_100, mac(2)), [].into());
}

#[test]
fn what_was_yielded_is_offered_again_when_it_is_heard_or_silent() {
    let yielded = || {
        let mut pair = Pair::new();
        pair.follow(100, Possession::There { owner: "10.0.0.9:7947".into(), announced: true });
        pair.heard.clear();
        pair.follow(600, Possession::Here);
        assert_eq!(pair.seen(700, mac(2)), [].into());
        assert_eq!(pair.wire.yielded(vip(1)), Some("other"), "it was theirs");
        pair
    };
    let mut pair = yielded();
    pair.heard = Pair::new().heard;
    pair.follow(2_000, Possession::Here);
    assert_eq!(pair.wire.yielded(vip(1)), None, "the group decides");

    let mut pair = yielded();
    let at = Duration::from_secs(2);
    for _ in 1..SILENCES {
        pair.wire.answered(at, vip(1), None);
    }
    pair.wire.answered(at, vip(1), Some(mac(2)));
    for _ in 1..SILENCES {
        pair.wire.answered(at, vip(1), None);
    }
    assert!(pair.wire.yielded(vip(1)).is_some(), "an answer begins the count anew");
    pair.wire.answered(at, vip(1), None);
    assert_eq!(pair.wire.yielded(vip(1)), None);
    // What it was before does not count when the other shows up after all: ours is the lower address.
    pair.follow(3_000, Possession::Here);
    pair.seen(3_100, mac(2));
    assert_eq!(pair.wire.yielded(vip(1)), None);
}
