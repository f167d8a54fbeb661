//! When VIPs move, and when they do not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::Offer;
use super::world::{STEP, World, vip};

pub(super) const VIPS: u8 = 30;

pub(super) fn settled(seed: u64, count: usize) -> World {
    let mut world = World::new(seed, count, VIPS);
    world.run(4_000, |_| {});
    one_owner_each(&world);
    world
}

pub(super) fn one_owner_each(world: &World) -> BTreeMap<IpAddr, usize> {
    (1..=VIPS)
        .map(|number| {
            let servers = world.servers(vip(number));
            assert_eq!(servers.len(), 1, "{} at {} ms: {servers:?}", vip(number), world.now);
            (vip(number), *servers.first().unwrap())
        })
        .collect()
}

pub(super) fn moved(before: &BTreeMap<IpAddr, usize>, after: &BTreeMap<IpAddr, usize>) -> usize {
    before.iter().filter(|(vip, owner)| after[*vip] != **owner).count()
}

#[test]
fn members_that_start_together_share_the_vips() {
    for seed in 0..20 {
        let world = settled(seed, 3);
        let mut shares = [0; 3];
        one_owner_each(&world).values().for_each(|owner| shares[*owner] += 1);
        assert!(shares.iter().all(|share| *share >= 4), "seed {seed}: {shares:?} of {VIPS}");
    }
}

#[test]
pub(super) fn a_new_vip_falls_to_whom_the_hash_says_and_not_to_whom_reads_of_it_first() {
    for seed in 0..20 {
        let mut world = settled(seed, 3);
        let new = vip(200);
        for number in 0..3 {
            let offer = Offer { bound: 1, ..Offer::default() };
            world.nodes[number].offers.insert(new, offer);
            world.run(60, |_| {});
        }
        world.run(500, |_| {});
        let names: Vec<String> = (0..3).map(super::world::name).collect();
        let best = (0..3).max_by_key(|number| super::super::score(new, &names[*number])).unwrap();
        assert_eq!(world.servers(new), BTreeSet::from([best]), "seed {seed}");
    }
}

#[test]
pub(super) fn a_crash_moves_only_what_the_dead_one_had_and_its_return_moves_nothing() {
    for seed in 0..20 {
        let mut world = settled(seed, 4);
        let before = one_owner_each(&world);
        world.crash(0);
        let crashed = world.now;
        let mut served_again = None;
        world.run(2_000, |world| {
            let all = (1..=VIPS).all(|number| world.servers(vip(number)).len() == 1);
            served_again = served_again.or(all.then_some(world.now));
        });
        let took = served_again.expect("all are served") - crashed;
        assert!(took <= 800, "seed {seed}: {took} ms");
        let after = one_owner_each(&world);
        for (vip, owner) in &before {
            assert!(*owner == 0 || after[vip] == *owner, "seed {seed}: {vip} moved without reason");
        }
        world.restart(0, false);
        world.run(5_000, |_| {});
        assert_eq!(moved(&after, &one_owner_each(&world)), 0, "seed {seed}");
        world.run(40_000, |_| {});
        assert_eq!(moved(&after, &one_owner_each(&world)), 0, "seed {seed}: nor later");
    }
}

#[test]
fn a_restart_within_half_a_second_keeps_everything() {
    for seed in 0..20 {
        let mut world = settled(seed, 3);
        let before = one_owner_each(&world);
        world.crash(1);
        world.run(world.dice.0 % 20 * STEP + 50, |_| {});
        world.restart(1, true);
        world.run(3_000, |_| {});
        assert_eq!(moved(&before, &one_owner_each(&world)), 0, "seed {seed}");
    }
}

/// Not even until it hears of it: it waits.
#[test]
pub(super) fn nobody_serves_what_another_one_has_after_a_restart() {
    for seed in 0..20 {
        let mut world = settled(seed, 3);
        world.crash(1);
        world.run(3_000, |_| {});
        world.restart(1, false);
        world.run(3_000, |world| {
            let two = (1..=VIPS).any(|number| world.servers(vip(number)).len() > 1);
            assert!(!two, "seed {seed}: two serve one at {} ms", world.now);
        });
    }
}

#[test]
fn a_late_restart_takes_nothing_back() {
    for seed in 0..20 {
        // Of two, the one that is left is never most of the group.
        for count in [2, 3] {
            let mut world = settled(seed, count);
            world.crash(1);
            world.run(3_000, |_| {});
            let during = one_owner_each(&world);
            world.restart(1, true);
            world.run(5_000, |_| {});
            assert_eq!(moved(&during, &one_owner_each(&world)), 0, "seed {seed}, {count}");
        }
    }
}

#[test]
pub(super) fn after_a_partition_those_who_were_the_most_keep_what_they_have() {
    for seed in 0..20 {
        let mut world = settled(seed, 5);
        world.side = vec![1, 0, 0, 0, 1];
        world.run(6_000, |_| {});
        let majority: BTreeMap<IpAddr, usize> = (1..=VIPS)
            .map(|number| {
                let servers = world.servers(vip(number));
                let inside: Vec<usize> =
                    servers.into_iter().filter(|n| (1..4).contains(n)).collect();
                assert_eq!(inside.len(), 1, "the majority serves {number}");
                (vip(number), inside[0])
            })
            .collect();
        world.side = vec![0; 5];
        let healed = world.now;
        let mut single = None;
        world.run(5_000, |world| {
            let one = (1..=VIPS).all(|number| world.servers(vip(number)).len() == 1);
            single = if one { single.or(Some(world.now)) } else { None };
        });
        assert_eq!(moved(&majority, &one_owner_each(&world)), 0, "seed {seed}");
        let took = single.unwrap() - healed;
        assert!(took <= 1_000, "seed {seed}: {took} ms");
    }
}

#[test]
fn two_halves_of_two_keep_what_each_had_before() {
    for seed in 0..20 {
        let mut world = settled(seed, 2);
        let before = one_owner_each(&world);
        world.side = vec![0, 1];
        world.run(6_000, |_| {});
        world.side = vec![0, 0];
        world.run(3_000, |_| {});
        assert_eq!(moved(&before, &one_owner_each(&world)), 0, "seed {seed}");
    }
}

#[test]
pub(super) fn one_that_leaves_hands_over_with_a_gap_of_a_round_trip() {
    for seed in 0..20 {
        let mut world = settled(seed, 3);
        for offer in world.nodes[2].offers.values_mut() {
            offer.leaving = true;
        }
        let mut longest: BTreeMap<IpAddr, u64> = BTreeMap::new();
        let mut gap: BTreeMap<IpAddr, u64> = BTreeMap::new();
        world.run(1_500, |world| {
            for number in 1..=VIPS {
                let servers = world.servers(vip(number)).len();
                assert!(servers <= 1, "two at once");
                let gap = gap.entry(vip(number)).or_default();
                *gap = if servers == 0 { *gap + STEP } else { 0 };
                let longest = longest.entry(vip(number)).or_default();
                *longest = (*longest).max(*gap);
            }
        });
        assert!(one_owner_each(&world).values().all(|owner| *owner != 2), "seed {seed}");
        let worst = longest.values().max().unwrap();
        assert!(*worst <= 50, "seed {seed}: {worst} ms");
    }
}

#[test]
pub(super) fn a_hand_over_has_one_owner_at_a_time_on_a_slow_network_too() {
    for seed in 0..10 {
        let mut world = settled(seed, 3);
        world.delay = 80;
        for offer in world.nodes[2].offers.values_mut() {
            offer.leaving = true;
        }
        world.run(1_500, |world| {
            let two = (1..=VIPS).any(|number| world.servers(vip(number)).len() > 1);
            assert!(!two, "seed {seed}: two serve one at {} ms", world.now);
        });
        assert!(one_owner_each(&world).values().all(|owner| *owner != 2), "seed {seed}");
    }
}

#[test]
fn one_whose_link_fails_loses_its_vips_at_once() {
    let mut world = settled(3, 3);
    world.nodes[1].offers.clear();
    world.run(100, |_| {});
    assert!(one_owner_each(&world).values().all(|owner| *owner != 1));
}

/// Its link is its way to the group, too: each time it is back it hears the others only after a while.
#[test]
fn one_whose_only_link_flaps_takes_nothing_back() {
    for seed in 0..10 {
        let mut world = settled(seed, 3);
        let offers = world.nodes[1].offers.clone();
        for _ in 0..10 {
            world.side[1] = 1;
            world.nodes[1].offers.clear();
            world.run(900, |_| {});
            world.side[1] = 0;
            world.nodes[1].offers.clone_from(&offers);
            world.run(400, |world| {
                let served = (1..=VIPS).filter(|number| world.servers(vip(*number)).contains(&1));
                assert_eq!(served.count(), 0, "seed {seed}, at {} ms", world.now);
            });
        }
        world.run(4_000, |_| {});
        assert!(one_owner_each(&world).values().all(|owner| *owner != 1), "seed {seed}");
    }
}

#[test]
pub(super) fn a_preferred_member_takes_back_only_when_asked_to_and_after_half_a_minute() {
    for preempt in [false, true] {
        let mut world = settled(5, 3);
        for offer in world.nodes[0].offers.values_mut() {
            (offer.weight, offer.preempt) = (10, preempt);
        }
        let before = one_owner_each(&world);
        world.run(28_000, |_| {});
        assert_eq!(moved(&before, &one_owner_each(&world)), 0, "too early");
        world.run(4_000, |_| {});
        let all = one_owner_each(&world).values().all(|owner| *owner == 0);
        assert_eq!(all, preempt);
    }
}

#[test]
fn one_alone_serves_all_when_the_patience_is_over() {
    let mut world = World::new(1, 3, VIPS);
    world.crash(1);
    world.crash(2);
    world.run(1_000, |world| assert!(world.servers(vip(1)).is_empty(), "the others may have it"));
    world.run(1_000, |_| {});
    one_owner_each(&world);
}
