//! Interval arithmetic against plain sets of addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use vipgate_api::vipgate::AddressRange;

use crate::allocation::span::{Family, Spans, next};

/// 16 addresses of each family, at the very ends of both, where arithmetic can overflow.
fn universe() -> Vec<IpAddr> {
    let v4 = (0..8).chain(u32::MAX - 7..=u32::MAX).map(|bits| Ipv4Addr::from_bits(bits).into());
    let v6 = (0..8).chain(u128::MAX - 7..=u128::MAX).map(|bits| Ipv6Addr::from_bits(bits).into());
    v4.chain(v6).collect()
}

fn ranges() -> impl Strategy<Value = Vec<AddressRange>> {
    // Two of the 8 addresses of one end of one family.
    let range = (0..4usize, 0..8usize, 0..8usize).prop_map(|(block, a, b)| {
        let all = universe();
        let [first, last] = [a.min(b), a.max(b)].map(|index| all[block * 8 + index]);
        AddressRange { first, last }
    });
    prop::collection::vec(range, 0..8)
}

fn set(ranges: &[AddressRange]) -> BTreeSet<IpAddr> {
    let inside = |address: &IpAddr| ranges.iter().any(|range| range.contains(*address));
    universe().into_iter().filter(inside).collect()
}

fn members(spans: &Spans) -> BTreeSet<IpAddr> {
    universe().into_iter().filter(|address| spans.contains(*address)).collect()
}

proptest! {
    #[test]
    fn agrees_with_plain_sets(a in ranges(), b in ranges()) {
        let (spans, others) = (Spans::from_iter(a.clone()), Spans::from_iter(b.clone()));
        let (plain, other) = (set(&a), set(&b));
        prop_assert_eq!(&members(&spans), &plain);
        prop_assert_eq!(members(&spans.minus(&others)), &plain - &other);
        prop_assert_eq!(members(&spans.and(&others)), &plain & &other);
        prop_assert_eq!(members(&spans.or(&others)), &plain | &other);
        prop_assert_eq!(spans.is_empty(), plain.is_empty());
        for from in universe() {
            let family = Family::of(from);
            let expected = plain.range(from..).find(|found| Family::of(**found) == family);
            prop_assert_eq!(spans.at_or_after(from), expected.copied());
        }
    }

    /// One set has one form, so equal sets compare equal whatever they were made of.
    #[test]
    fn is_canonical(a in ranges(), b in ranges()) {
        let (spans, others) = (Spans::from_iter(a.clone()), Spans::from_iter(b.clone()));
        prop_assert_eq!(spans == others, set(&a) == set(&b));
        prop_assert_eq!(spans.minus(&others).or(&spans.and(&others)), spans);
    }
}

#[test]
fn the_last_address_has_no_next() {
    assert_eq!(next(Ipv4Addr::BROADCAST.into()), None);
    assert_eq!(next(Ipv6Addr::from_bits(u128::MAX).into()), None);
}

#[test]
fn long_lists_are_summed_up() {
    let range = |text: &str| text.parse::<AddressRange>().unwrap();
    let texts = ["10.0.0.1", "10.0.0.3-10.0.0.4", "10.0.0.6", "10.0.0.8", "fd00::/127", "fd00::9"];
    let all: Spans = texts.iter().map(|text| range(text)).collect();
    let few: Spans = texts[..2].iter().map(|text| range(text)).collect();
    assert_eq!(few.to_string(), "10.0.0.1, 10.0.0.3-10.0.0.4");
    assert_eq!(all.to_string(), "10.0.0.1, 10.0.0.3-10.0.0.4, 10.0.0.6, 10.0.0.8 and 2 more");
}
