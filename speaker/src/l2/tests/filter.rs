use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::{LOWER, VIP, cbpf, request_from};
use crate::l2::Protocol;
use crate::l2::arp::{Arp, Operation, parse};
use crate::l2::filter::{ARP_SNAP_LEN, MAX_LEN, MAX_RANGES, OTHER_HOST, drop_all, program};

const BROADCAST_TYPE: u32 = 1;

fn passes(addresses: &BTreeSet<IpAddr>, bytes: &[u8]) -> bool {
    let program = program(Protocol::Arp, addresses, MAX_RANGES);
    cbpf::check(&program);
    cbpf::run(&program, bytes, BROADCAST_TYPE) == ARP_SNAP_LEN
}

fn about(sender: u32, target: u32) -> Arp {
    Arp { sender_ip: sender.into(), target_ip: target.into(), ..request_from(LOWER) }
}

#[test]
fn an_empty_set_passes_nothing() {
    assert_eq!(program(Protocol::Arp, &BTreeSet::new(), MAX_RANGES), drop_all());
    assert!(!passes(&BTreeSet::new(), &request_from(LOWER).to_bytes()));
}

#[test]
fn passes_requests_replies_and_probes_about_the_address() {
    let set = BTreeSet::from([VIP.into()]);
    let claim = Arp::announcement(LOWER, VIP);
    let reply = request_from(LOWER).reply_from(super::HIGHER);
    for frame in [request_from(LOWER), Arp::probe(LOWER, VIP), claim[0], claim[1], reply] {
        assert!(passes(&set, &frame.to_bytes()), "{frame:?}");
    }
}

#[test]
fn drops_what_is_malformed_short_or_for_another_station() {
    let set = BTreeSet::from([VIP.into()]);
    let good = request_from(LOWER).to_bytes();
    for (at, value) in [(12, 0x86), (15, 6), (17, 1), (18, 8), (19, 16), (21, 0), (21, 3), (20, 1)]
    {
        let mut bytes = good;
        bytes[at] = value;
        assert!(!passes(&set, &bytes), "byte {at} = {value}");
    }
    for length in 0..good.len() {
        assert!(!passes(&set, &good[..length]), "{length} bytes");
    }
    assert_eq!(cbpf::run(&program(Protocol::Arp, &set, MAX_RANGES), &good, OTHER_HOST), 0);
}

#[test]
fn both_ends_of_the_address_space_are_addresses_too() {
    let set = BTreeSet::from([Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()]);
    assert!(passes(&set, &about(0, 5).to_bytes()));
    assert!(passes(&set, &about(5, u32::MAX).to_bytes()));
    assert!(!passes(&set, &about(1, u32::MAX - 1).to_bytes()));
}

#[test]
fn a_whole_pool_is_one_range() {
    let pool: BTreeSet<IpAddr> =
        (0..65_536).map(|n| Ipv4Addr::from(0x0a00_0000 + n).into()).collect();
    let one = program(Protocol::Arp, &BTreeSet::from([VIP.into()]), MAX_RANGES);
    assert_eq!(program(Protocol::Arp, &pool, MAX_RANGES).len(), one.len());
    assert!(passes(&pool, &about(1, 0x0a00_ffff).to_bytes()));
    assert!(!passes(&pool, &about(1, 0x0a01_0000).to_bytes()));
}

#[test]
fn exact_up_to_the_promised_number_of_ranges() {
    let set: BTreeSet<IpAddr> =
        (0..MAX_RANGES as u32).map(|n| Ipv4Addr::from(0x0a00_0000 + 2 * n).into()).collect();
    let program = program(Protocol::Arp, &set, MAX_RANGES);
    cbpf::check(&program);
    for n in 0..2 * MAX_RANGES as u32 + 2 {
        let address = 0x0a00_0000 - 1 + n;
        let inside = set.contains(&Ipv4Addr::from(address).into());
        for frame in [about(1, address), about(address, 1)] {
            let passed = cbpf::run(&program, &frame.to_bytes(), BROADCAST_TYPE) > 0;
            assert_eq!(passed, inside, "{frame:?}");
        }
    }
}

#[test]
fn beyond_that_it_closes_the_smallest_gaps_and_loses_nothing() {
    // Pairs one apart, with large gaps between the pairs: the small gaps are closed first.
    let set: BTreeSet<IpAddr> = (0..MAX_RANGES as u32)
        .flat_map(|n| [n * 1_000_000, n * 1_000_000 + 2].map(|ip| Ipv4Addr::from(ip).into()))
        .collect();
    let program = program(Protocol::Arp, &set, MAX_RANGES);
    cbpf::check(&program);
    let passed =
        |ip: u32| cbpf::run(&program, &about(7_777_777, ip).to_bytes(), BROADCAST_TYPE) > 0;
    for n in 0..MAX_RANGES as u32 {
        let start = n * 1_000_000;
        assert!(passed(start) && passed(start + 1) && passed(start + 2));
        assert!(!passed(start + 3) && !passed(start + 500_000));
    }
}

#[test]
fn a_kernel_short_of_memory_gets_a_coarser_program() {
    let set: BTreeSet<IpAddr> = (0..400).map(|n| Ipv4Addr::from(3 * n).into()).collect();
    let lengths = [500, 120, 30, 1, 0].map(|ranges| program(Protocol::Arp, &set, ranges).len());
    assert!(lengths[0] < MAX_LEN && lengths[1] < 1_000 && lengths[2] < 270, "{lengths:?}");
    assert_eq!(lengths[3], program(Protocol::Arp, &BTreeSet::from([VIP.into()]), 1).len());
    assert_eq!(lengths[3], lengths[4]);
}

/// Addresses near each other, so that ranges, gaps and hits are common; and some anywhere.
fn address() -> impl Strategy<Value = u32> + Clone {
    prop_oneof![8 => 0x0a00_0000_u32..0x0a00_0200, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

proptest! {
    #[test]
    fn passes_exactly_the_members(
        members in proptest::collection::btree_set(address(), 0..300),
        asked in proptest::collection::vec((address(), address(), any::<bool>()), 1..50),
    ) {
        let set: BTreeSet<IpAddr> = members.iter().map(|ip| Ipv4Addr::from(*ip).into()).collect();
        let program = program(Protocol::Arp, &set, MAX_RANGES);
        cbpf::check(&program);
        for (sender, target, reply) in asked {
            let mut frame = about(sender, target);
            if reply {
                frame.operation = Operation::Reply;
            }
            let passed = cbpf::run(&program, &frame.to_bytes(), BROADCAST_TYPE) > 0;
            assert_eq!(passed, members.contains(&sender) || members.contains(&target));
        }
    }

    /// Whatever the number of ranges allowed, no member is lost.
    #[test]
    fn a_coarser_program_passes_more_never_less(
        members in proptest::collection::btree_set(address(), 1..200),
        ranges in 0_usize..40,
    ) {
        let set: BTreeSet<IpAddr> = members.iter().map(|ip| Ipv4Addr::from(*ip).into()).collect();
        let program = program(Protocol::Arp, &set, ranges);
        cbpf::check(&program);
        for ip in &members {
            for frame in [about(1, *ip), about(*ip, 1)] {
                assert!(cbpf::run(&program, &frame.to_bytes(), BROADCAST_TYPE) > 0);
            }
        }
    }

    /// The parser and the filter agree on what ARP is, but for the sender's hardware address.
    #[test]
    fn what_passes_is_read(
        mutations in proptest::collection::vec((0..42_usize, any::<u8>()), 0..4),
    ) {
        let mut bytes = request_from(LOWER).to_bytes();
        for (at, value) in mutations {
            bytes[at] = value;
        }
        if passes(&BTreeSet::from([VIP.into()]), &bytes) {
            let read = parse(&bytes);
            assert!(read.is_ok() || read == Err(crate::l2::DropReason::SenderMac), "{read:?}");
        }
    }
}
