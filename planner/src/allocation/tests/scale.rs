//! Ten thousand Gateways. The bounds are an order of magnitude above what is needed, and one
//! below what a search that starts anew for every address takes.

use std::time::{Duration, Instant};

use super::*;

const MANY: usize = 10_000;
const BOUND: Duration = Duration::from_secs(4);

fn crowd(setup: Setup, want: impl Fn(usize) -> Want) -> Setup {
    let wants = (0..MANY).map(|index| Want { age: age(index), ..want(index) }).collect();
    Setup { wants, ..setup }
}

/// On a busy machine a run may be slow for reasons of others; the best of three counts.
fn timed(name: &str, setup: &Setup) -> Allocation {
    let run = || {
        let start = Instant::now();
        let allocation = setup.run();
        (start.elapsed(), allocation)
    };
    let mut best = run();
    for _ in 1..3 {
        if best.0 >= BOUND {
            best = std::cmp::min_by_key(best, run(), |(took, _)| *took);
        }
    }
    let (took, allocation) = best;
    println!("{name}: {took:?}");
    assert!(took < BOUND, "{name} took {took:?}");
    let all: BTreeSet<_> = allocation.users.values().flat_map(|g| &g.assigned).collect();
    assert_eq!(all.len(), MANY);
    assert_eq!(allocation.claims.0.len(), MANY);
    allocation
}

/// New, then again with every claim known, then with every second Gateway gone and as many new.
fn fills_and_refills(name: &str, setup: Setup) {
    let setup = crowd(setup, |index| gateway(&format!("g{index}")));
    let first = timed(&format!("{name}, all new"), &setup);
    let again = Setup { claims: first.claims.clone(), ..setup.clone() };
    assert_eq!(timed(&format!("{name}, none new"), &again), first);
    let half = crowd(again, |index| match index % 2 {
        0 => gateway(&format!("g{index}")),
        _ => gateway(&format!("new{index}")),
    });
    let second = timed(&format!("{name}, every second new"), &half);
    assert!(second.claims.0.keys().eq(first.claims.0.keys()), "the holes are filled, in order");
}

#[test]
fn in_a_slash_16() {
    fills_and_refills("v4 /16", Setup::new().pool("a", &["10.0.0.0/16"]));
}

#[test]
fn in_a_slash_64_of_ipv6() {
    fills_and_refills("v6 /64", Setup::new().pool("a", &["2001:db8::/64"]));
}

#[test]
fn in_a_slash_8_without_buggy_addresses() {
    let setup = Setup::new().pool_with("a", &["10.0.0.0/8"], |spec| spec.avoid_buggy_ips = true);
    fills_and_refills("v4 /8 avoiding", setup);
}

#[test]
fn in_a_pool_of_ten_thousand_single_addresses() {
    let addresses: Vec<_> = (0..MANY).map(|n| format!("10.{}.{}.1", n / 256, n % 256)).collect();
    let texts: Vec<_> = addresses.iter().map(String::as_str).collect();
    fills_and_refills("v4 singles", Setup::new().pool("a", &texts));
}

#[test]
fn when_everybody_asks_for_an_address() {
    let setup = Setup::new().pool("a", &["10.0.0.0/8"]);
    let setup =
        crowd(setup, |n| asking(&format!("g{n}"), &[&format!("10.{}.{}.9", n % 100, n / 100)]));
    timed("v4 /8, requested", &setup);
}

#[test]
fn when_the_pool_is_far_too_small() {
    let setup = Setup::new().pool("a", &["10.0.0.0/24"]);
    let setup = crowd(setup, |n| gateway(&format!("g{n}")));
    let start = Instant::now();
    let allocation = setup.run();
    println!("v4 /24, exhausted: {:?}", start.elapsed());
    assert!(start.elapsed() < BOUND);
    assert_eq!(allocation.claims.0.len(), 256);
}
