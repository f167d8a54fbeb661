//! Schedules of faults, seeded; what must hold in every one of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::world::{STEP, World, vip};

const VIPS: u8 = 20;
/// Longest time that two which hear each other may serve one VIP: to find each other (600 ms), and to
/// hear what the other holds.
const TWO_OWNERS: u64 = 1_000;
/// Longest time without an owner while there are candidates that hear each other: detection, and
/// at a start the patience, or the time until a member that says nothing is no longer waited for.
const NO_OWNER: u64 = 3_500;

/// What is followed of one VIP.
#[derive(Default)]
struct Watch {
    two: u64,
    none: u64,
}

struct Run {
    seed: u64,
    watches: BTreeMap<IpAddr, Watch>,
    worst: (u64, u64),
}

impl Run {
    fn look(&mut self, world: &World) {
        let runs: Vec<usize> =
            (0..world.nodes.len()).filter(|number| world.nodes[*number].running).collect();
        for number in 1..=VIPS {
            let vip = vip(number);
            let servers = world.servers(vip);
            let two =
                servers.iter().any(|a| servers.iter().any(|b| a != b && world.connected(*a, *b)));
            // Sides that have a candidate and no owner.
            let none = runs.iter().any(|candidate| {
                world.nodes[*candidate].offers.contains_key(&vip)
                    && !servers.iter().any(|server| world.connected(*candidate, *server))
            });
            let watch = self.watches.entry(vip).or_default();
            watch.two = if two { watch.two + STEP } else { 0 };
            watch.none = if none { watch.none + STEP } else { 0 };
            let (seed, at) = (self.seed, world.now);
            assert!(watch.two <= TWO_OWNERS, "seed {seed}: {vip} has two owners at {at} ms");
            assert!(watch.none <= NO_OWNER, "seed {seed}: {vip} has no owner at {at} ms");
            self.worst.0 = self.worst.0.max(watch.two);
            self.worst.1 = self.worst.1.max(watch.none);
        }
    }

    /// A fault begins a new count: what it breaks may take its time again.
    fn fault(&mut self) {
        self.watches.clear();
    }
}

/// 30 s, 3 to 9 nodes, a fault about every two seconds, then quiet.
fn schedule(seed: u64) -> (u64, u64) {
    let mut world = World::new(seed, 3, VIPS);
    let count = 3 + usize::try_from(world.dice.below(7)).unwrap();
    let mut world = World::new(world.dice.roll(), count, VIPS);
    world.loss = world.dice.below(40);
    world.delay = world.dice.between(1, 120);
    let mut run = Run { seed, watches: BTreeMap::new(), worst: (0, 0) };
    for _ in 0..12 {
        let node = usize::try_from(world.dice.below(count as u64)).unwrap();
        let resume = world.dice.below(2) == 0;
        match world.dice.below(8) {
            0 | 1 => world.crash(node),
            2 | 3 => world.restart(node, resume),
            4 => {
                for side in &mut world.side {
                    *side = world.dice.below(2);
                }
            }
            5 => world.side = vec![0; count],
            6 => {
                let gone = vip(u8::try_from(1 + world.dice.below(VIPS.into())).unwrap());
                world.nodes[node].offers.remove(&gone);
            }
            _ => {
                for offer in world.nodes[node].offers.values_mut() {
                    offer.leaving = !offer.leaving;
                }
            }
        }
        run.fault();
        let time = world.dice.between(200, 3_600);
        world.run(time, |world| run.look(world));
    }
    // All comes back, and one owner for each is what is left, and stays.
    world.side = vec![0; count];
    for node in 0..count {
        world.restart(node, false);
    }
    run.fault();
    world.run(5_000, |world| run.look(world));
    let owners = |world: &World| (1..=VIPS).map(|n| world.servers(vip(n))).collect::<Vec<_>>();
    let settled = owners(&world);
    assert!(settled.iter().all(|servers| servers.len() <= 1), "seed {seed}: {settled:?}");
    world.run(3_000, |_| {});
    let leaving = world.nodes.iter().any(|n| n.offers.values().any(|offer| offer.leaving));
    assert!(leaving || owners(&world) == settled, "seed {seed}: moves in quiet times");
    run.worst
}

fn schedules(seeds: std::ops::Range<u64>) {
    let (mut two, mut none) = (0, 0);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let worst = schedule(seed);
        two = two.max(worst.0);
        none = none.max(worst.1);
    }
    eprintln!("{count} schedules: two owners at most {two} ms, none at most {none} ms");
}

#[test]
fn twenty_schedules_of_faults() {
    schedules(0..20);
}

#[test]
#[ignore = "takes minutes: make lab"]
fn long_a_hundred_schedules_of_faults() {
    schedules(0..100);
}
