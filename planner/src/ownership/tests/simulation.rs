//! Schedules of faults, seeded; what must hold in every one of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::world::{STEP, World, vip};

const VIPS: u8 = 20;
/// Faults of a schedule, at least.
const FAULTS: u64 = 12;
/// Virtual time of a schedule, at least.
const TIME: u64 = 32_000;
/// Longest time that two which count each other among the living may serve one VIP.
const TWO_OWNERS: u64 = 1_000;
/// Longest time without an owner while there are candidates that hear each other: detection, and
/// at a start the patience, or the time until a member that says nothing is no longer waited for.
const NO_OWNER: u64 = 3_500;

/// Since when something is so, if it is.
type Since = Option<u64>;

/// What is followed of all VIPs.
struct Run {
    seed: u64,
    /// By VIP and two of its servers that know each other.
    two: BTreeMap<(IpAddr, usize, usize), u64>,
    none: BTreeMap<IpAddr, Since>,
    /// As of when it was looked, to look again only when something is new.
    seen: (u64, u64),
    worst: (u64, u64),
}

impl Run {
    fn new(seed: u64) -> Self {
        let (two, none) = (BTreeMap::new(), BTreeMap::new());
        Self { seed, two, none, seen: (u64::MAX, 0), worst: (0, 0) }
    }

    fn look(&mut self, world: &World) {
        // Who knows whom changes without a change of owners, but not often.
        if self.seen.0 != world.changes || world.now >= self.seen.1 + 5 * STEP {
            self.seen = (world.changes, world.now);
            (1..=VIPS).for_each(|number| self.look_at(vip(number), world));
        }
        let (seed, now) = (self.seed, world.now);
        for ((vip, a, b), since) in &self.two {
            let time = now - since;
            self.worst.0 = self.worst.0.max(time);
            assert!(time <= TWO_OWNERS, "seed {seed}: {vip} is served by {a} and {b} at {now} ms");
        }
        for (vip, since) in &self.none {
            let time = since.map_or(0, |since| now - since);
            self.worst.1 = self.worst.1.max(time);
            assert!(time <= NO_OWNER, "seed {seed}: {vip} has no owner at {now} ms");
        }
    }

    fn look_at(&mut self, vip: IpAddr, world: &World) {
        let servers = world.servers(vip);
        let both = |a: usize, b: usize| {
            servers.contains(&a) && servers.contains(&b) && world.know_each_other(a, b)
        };
        self.two.retain(|(of, a, b), _| *of != vip || both(*a, *b));
        for (a, b) in servers.iter().flat_map(|a| servers.range(a + 1..).map(move |b| (*a, *b))) {
            if both(a, b) {
                self.two.entry((vip, a, b)).or_insert(world.now);
            }
        }
        // Sides that have a candidate and no owner.
        let none = (0..world.nodes.len()).any(|candidate| {
            world.connected(candidate, candidate)
                && world.nodes[candidate].offers.contains_key(&vip)
                && !servers.iter().any(|server| world.connected(candidate, *server))
        });
        let since = self.none.entry(vip).or_default();
        *since = none.then(|| since.unwrap_or(world.now));
    }

    /// What a fault breaks may take its time again. Two owners stay two owners.
    fn fault(&mut self) {
        self.none.clear();
        self.seen.0 = u64::MAX;
    }
}

/// One fault, of any kind.
fn fault(world: &mut World) {
    let count = world.nodes.len();
    let node = usize::try_from(world.dice.below(count as u64)).unwrap();
    let some = vip(u8::try_from(1 + world.dice.below(VIPS.into())).unwrap());
    match world.dice.below(12) {
        0 | 1 => world.crash(node),
        2 | 3 => {
            let resume = world.dice.below(2) == 0;
            world.restart(node, resume);
        }
        4 => {
            for side in &mut world.side {
                *side = world.dice.below(2);
            }
        }
        5 => world.side = vec![0; count],
        6 => drop(world.nodes[node].offers.remove(&some)),
        7 => {
            let time = world.dice.between(100, 2_000);
            world.stall(node, time);
        }
        8 => {
            world.loss = world.dice.below(40);
            world.delay = world.dice.between(1, 120);
        }
        9 => world.rebalance = !world.rebalance,
        10 => {
            let weight = u32::try_from(world.dice.below(3)).unwrap();
            for offer in world.nodes[node].offers.values_mut() {
                offer.weight = weight;
            }
        }
        _ => {
            for offer in world.nodes[node].offers.values_mut() {
                offer.leaving = !offer.leaving;
            }
        }
    }
}

/// 3 to 9 nodes, a fault about every two and a half seconds, then quiet.
pub(super) fn schedule(seed: u64) -> (u64, u64) {
    let mut world = World::new(seed, 3, VIPS);
    let count = 3 + usize::try_from(world.dice.below(7)).unwrap();
    let mut world = World::new(world.dice.roll(), count, VIPS);
    world.loss = world.dice.below(40);
    world.delay = world.dice.between(1, 120);
    let preempt = world.dice.below(4) == 0;
    for node in &mut world.nodes {
        node.offers.values_mut().for_each(|offer| offer.preempt = preempt);
    }
    let mut run = Run::new(seed);
    let mut faults = 0;
    while faults < FAULTS || world.now < TIME {
        fault(&mut world);
        faults += 1;
        run.fault();
        let time = world.dice.between(200, 5_000);
        world.run(time, |world| run.look(world));
    }
    // All comes back, and one owner for each is what is left, and stays.
    world.side = vec![0; count];
    world.rebalance = false;
    for node in 0..count {
        world.restart(node, false);
    }
    run.fault();
    world.run(6_000, |world| run.look(world));
    let owners = |world: &World| (1..=VIPS).map(|n| world.servers(vip(n))).collect::<Vec<_>>();
    let settled = owners(&world);
    assert!(settled.iter().all(|servers| servers.len() <= 1), "seed {seed}: {settled:?}");
    world.run(3_000, |world| run.look(world));
    let offers = || world.nodes.iter().flat_map(|node| node.offers.values());
    let restless = preempt || offers().any(|offer| offer.leaving);
    assert!(restless || owners(&world) == settled, "seed {seed}: moves in quiet times");
    run.worst
}

fn schedules(seeds: std::ops::Range<u64>) {
    let count = seeds.end - seeds.start;
    let threads = std::thread::available_parallelism().map_or(1, |number| number.get() as u64);
    let part = |thread: u64| {
        let seeds = seeds.clone().skip(usize::try_from(thread).unwrap());
        let seeds = seeds.step_by(usize::try_from(threads).unwrap());
        seeds.map(schedule).fold((0, 0), |worst, now| (worst.0.max(now.0), worst.1.max(now.1)))
    };
    let (two, none) = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|thread| scope.spawn(move || part(thread))).collect();
        let parts = parts.into_iter().map(|part| part.join().expect("what fails says why above"));
        parts.fold((0, 0), |worst, now| (worst.0.max(now.0), worst.1.max(now.1)))
    });
    eprintln!("{count} schedules: two owners at most {two} ms, none at most {none} ms");
}

#[test]
fn a_thousand_schedules_of_faults() {
    schedules(0..1_000);
}

#[test]
#[ignore = "takes an hour: make lab"]
fn long_a_hundred_thousand_schedules_of_faults() {
    schedules(1_000..101_000);
}
