//! The choice of a new owner.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::super::{Candidate, Offer, choose};

fn vip(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 20, high, low).into()
}

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("node-{number}")).collect()
}

fn owners(vips: u16, names: &[String]) -> BTreeMap<IpAddr, String> {
    let offer = Offer::default();
    (0..vips)
        .map(|number| {
            let candidates = names.iter().map(|name| Candidate { name, offer });
            (vip(number), choose(vip(number), candidates).unwrap().name.to_owned())
        })
        .collect()
}

fn shares(owners: &BTreeMap<IpAddr, String>) -> BTreeMap<&str, usize> {
    let mut shares = BTreeMap::new();
    owners.values().for_each(|name| *shares.entry(name.as_str()).or_default() += 1);
    shares
}

#[test]
fn a_thousand_vips_spread_evenly() {
    for (count, tolerance) in [(3, 0.15), (10, 0.30)] {
        let even = 1_000.0 / count as f64;
        for (name, share) in shares(&owners(1_000, &names(count))) {
            let off = (share as f64 - even).abs() / even;
            assert!(off <= tolerance, "{name} of {count} has {share}");
        }
    }
}

#[test]
fn a_lost_member_moves_only_its_own() {
    let all = names(5);
    let before = owners(1_000, &all);
    let after = owners(1_000, &all[..4]);
    for (vip, owner) in &before {
        assert!(owner == "node-5" || after[vip] == *owner, "{vip} was {owner}'s");
    }
    assert!(shares(&after).len() == 4);
}

#[test]
fn the_hash_is_the_same_in_all_versions() {
    // Two versions that disagree here both take what the dead one had.
    assert_eq!(super::super::score(Ipv4Addr::new(10, 0, 0, 1).into(), "node-1"), GOLDEN);
}

const GOLDEN: u64 = 1_999_030_106_275_882_280;

#[test]
fn weight_counts_before_listeners_and_these_before_the_hash() {
    let of = |name, offer| Candidate { name, offer };
    for number in 0..50 {
        let pick = |a, b| choose(vip(number), [of("a", a), of("b", b)]).unwrap().name;
        let plain = Offer { bound: 1, ..Offer::default() };
        assert_eq!(pick(plain, Offer { weight: 1, bound: 0, ..plain }), "b");
        assert_eq!(pick(plain, Offer { bound: 2, ..plain }), "b");
        assert_eq!(pick(plain, Offer { weight: 100, leaving: true, ..plain }), "a");
    }
}

#[test]
fn one_that_leaves_is_better_than_nobody() {
    let offer = Offer { leaving: true, ..Offer::default() };
    assert_eq!(choose(vip(1), [Candidate { name: "a", offer }]).unwrap().name, "a");
    assert_eq!(choose(vip(1), []), None);
}
