//! VIPs are spread anew, by hand-overs, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::super::rebalance::{PACE, QUIET, Rebalance, WINDOW};
use super::super::score;
use super::moves::{VIPS, moved, one_owner_each, settled};
use super::world::{STEP, World, name, vip};

/// Restarts every node, one after the other.
fn rolling_reboot(world: &mut World) {
    for number in 0..world.nodes.len() {
        world.crash(number);
        world.run(3_000, |_| {});
        world.restart(number, false);
        world.run(4_000, |_| {});
    }
}

fn choice(vip: IpAddr, count: usize) -> usize {
    (0..count).max_by_key(|number| score(vip, &name(*number))).unwrap()
}

#[test]
fn after_a_rolling_reboot_every_vip_goes_where_the_hash_says_and_back_to_rest() {
    for seed in 0..10 {
        let mut world = settled(seed, 4);
        rolling_reboot(&mut world);
        let before = one_owner_each(&world);
        let last = before.values().filter(|owner| **owner == 3).count();
        assert_eq!(last, 0, "seed {seed}: the last one that was restarted has nothing");
        world.run(40_000, |_| {});
        assert_eq!(
            moved(&before, &one_owner_each(&world)),
            0,
            "seed {seed}: nothing moves by itself"
        );

        world.rebalance = true;
        let mut gap: BTreeMap<IpAddr, u64> = BTreeMap::new();
        world.run(5_000, |world| {
            for number in 1..=VIPS {
                let servers = world.servers(vip(number));
                assert!(servers.len() <= 1, "seed {seed}: two at once");
                let gap = gap.entry(vip(number)).or_default();
                *gap = if servers.is_empty() { *gap + STEP } else { 0 };
                assert!(*gap <= 50, "seed {seed}: nobody for {gap} ms");
            }
        });
        let after = one_owner_each(&world);
        assert!(
            after.iter().all(|(vip, owner)| *owner == choice(*vip, 4)),
            "seed {seed}: {after:?}"
        );
        world.rebalance = false;
        world.run(5_000, |_| {});
        assert_eq!(moved(&after, &one_owner_each(&world)), 0, "seed {seed}");
    }
}

#[test]
fn it_goes_at_a_bounded_pace() {
    let mut world = settled(1, 3);
    world.crash(0);
    world.run(3_000, |_| {});
    world.restart(0, false);
    world.run(4_000, |_| {});
    world.rebalance = true;
    let (mut had, mut came): (BTreeSet<IpAddr>, Vec<u64>) = <_>::default();
    world.run(5_000, |world| {
        for number in 1..=VIPS {
            if world.servers(vip(number)).contains(&0) && had.insert(vip(number)) {
                came.push(world.now);
            }
        }
    });
    assert!(came.len() >= 5, "{came:?}");
    let pace = u64::try_from(PACE.as_millis()).unwrap();
    let took = came[came.len() - 1] - came[0];
    // What is taken by two steps may be served by one.
    assert!(took + 2 * pace >= pace * (came.len() as u64 - 1), "{came:?}");
}

#[test]
fn a_member_of_lower_weight_is_never_the_goal() {
    let mut world = settled(2, 3);
    for offer in world.nodes[1].offers.values_mut() {
        offer.weight = 10;
    }
    world.rebalance = true;
    world.run(5_000, |_| {});
    assert!(one_owner_each(&world).values().all(|owner| *owner == 1));
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_window_opens_when_it_is_asked_for_and_closes_by_itself() {
    let mut rebalance = Rebalance::new(false);
    assert!(!rebalance.look(at(1), ["a"]));
    assert!(!rebalance.look(at(500), ["a", "b"]), "who joins opens none");
    assert_eq!(rebalance.due(), None);
    rebalance.ask(at(500));
    assert!(rebalance.look(at(500), ["a", "b"]));
    assert_eq!(rebalance.due(), Some(at(500) + WINDOW));
    assert!(!rebalance.look(at(500) + WINDOW, ["a", "b"]));
}

#[test]
fn an_automatic_window_waits_until_the_group_is_quiet_after_somebody_joined() {
    let mut rebalance = Rebalance::new(true);
    rebalance.look(at(0), ["a", "b"]);
    assert!(rebalance.look(QUIET, ["a", "b"]), "we joined ourselves");
    let closed = QUIET + WINDOW;
    assert!(!rebalance.look(closed, ["a", "b"]));
    // Somebody who only goes is no reason: what it had was spread already.
    assert!(!rebalance.look(closed + at(1), ["a"]));
    assert_eq!(rebalance.due(), None);
    assert!(!rebalance.look(closed + at(300), ["a"]));
    // A rolling reboot: one comes back, the next one goes.
    let came = closed + at(400);
    assert!(!rebalance.look(came, ["a", "b"]));
    assert!(!rebalance.look(came + at(50), ["b"]));
    assert!(!rebalance.look(came + QUIET, ["b"]), "not quiet for long enough");
    assert!(!rebalance.look(came + at(100), ["a", "b"]));
    assert_eq!(rebalance.due(), Some(came + at(100) + QUIET));
    assert!(rebalance.look(came + at(100) + QUIET, ["a", "b"]));
}
