//! What is the same for both families, with NDP; and where it differs.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::{Strategy, any, prop_oneof, proptest};

use super::solicitation_from;
use super::{CLIENT6, HIGHER, LOWER, OUR_OTHER, OURS, VIP, VIP6, cbpf, link, request_from};
use crate::l2::filter::{MAX_RANGES, NDP_SNAP_LEN, OTHER_HOST, drop_all, program};
use crate::l2::frame::{Frame, Protocol};
use crate::l2::ndp::{ALL_NODES, Ndp, group_mac, parse};
use crate::l2::probe::{self, Outcome, Probe};
use crate::l2::responder::{Input, LinkState, MEMBER_AGAIN, Output, Purpose, Responder};
use crate::l2::{DEFEND_INTERVAL, DropReason};

fn responder(now: Instant) -> Responder {
    let mut responder = Responder::new(link(), Duration::from_secs(30));
    responder.handle(Input::Own(VIP6.into()), now);
    responder.handle(Input::Tick, now);
    responder
}

fn hear(ndp: Ndp) -> Vec<Output> {
    let now = Instant::now();
    responder(now).handle(Input::Received(ndp.into()), now)
}

/// A claim as another station makes it: unasked, as an answer, and by asking from the address.
fn claims() -> [Ndp; 3] {
    let announced = Ndp::announcement(HIGHER, VIP6);
    let answered = solicitation_from(LOWER).reply_from(HIGHER);
    let asks = Ndp { sender_ip: VIP6, target: CLIENT6, ..solicitation_from(HIGHER) };
    [announced, answered, asks]
}

#[test]
fn announces_by_one_advertisement_at_each_time_of_the_schedule() {
    let start = Instant::now();
    let mut responder = Responder::new(link(), Duration::from_secs(30));
    responder.handle(Input::Own(VIP6.into()), start);
    let mut sent = Vec::new();
    while let Some(at) = responder.deadline().filter(|at| *at < start + Duration::from_secs(32)) {
        for output in responder.handle(Input::Tick, at) {
            sent.push(((at - start).as_millis(), output));
        }
    }
    let ours = Output::Send(Ndp::announcement(OURS, VIP6).into(), Purpose::Gratuitous);
    assert_eq!(sent, [0, 100, 300, 1_000, 31_000].map(|at| (at, ours)));
}

#[test]
fn answers_a_solicitation_however_it_comes() {
    let asks = solicitation_from(LOWER);
    let unicast = Ndp { destination: OURS, receiver_ip: VIP6, ..asks };
    let bare = Ndp { link_address: None, ..asks };
    for ndp in [asks, unicast, bare, Ndp::probe(LOWER, VIP6)] {
        let reply = Output::Send(ndp.reply_from(OURS).into(), Purpose::Reply);
        assert_eq!(hear(ndp), [Output::Requested, reply], "{ndp:?}");
    }
}

#[test]
fn ignores_what_is_none_of_its_business() {
    let asks = solicitation_from(LOWER);
    let cases = [
        (Ndp { destination: HIGHER, ..asks }, DropReason::OtherDestination),
        (Ndp { destination: group_mac(ALL_NODES), ..asks }, DropReason::OtherDestination),
        (Ndp { target: CLIENT6, ..asks }, DropReason::NotOwned),
        (Ndp::announcement(LOWER, CLIENT6), DropReason::NotOwned),
        (solicitation_from(OURS), DropReason::Own),
        (Ndp::announcement(OUR_OTHER, VIP6), DropReason::Own),
        (Ndp::probe(OURS, VIP6), DropReason::Own),
    ];
    for (ndp, reason) in cases {
        assert_eq!(hear(ndp), [Output::Dropped(reason)], "{ndp:?}");
    }
}

#[test]
fn every_form_of_a_foreign_claim_is_a_conflict_and_defended_once() {
    for ndp in claims() {
        let now = Instant::now();
        let mut responder = responder(now);
        let mut hear = |at| responder.handle(Input::Received(ndp.into()), at);
        let defence = Output::Send(Ndp::announcement(OURS, VIP6).into(), Purpose::Defence);
        let conflict = Output::Conflict { vip: VIP6.into(), mac: HIGHER };
        assert_eq!(hear(now), [conflict, defence], "{ndp:?}");
        assert_eq!(hear(now + DEFEND_INTERVAL / 2), []);
        assert_eq!(hear(now + DEFEND_INTERVAL), [conflict, defence]);
    }
}

#[test]
fn what_a_member_says_is_no_conflict_and_reported() {
    let mut now = Instant::now();
    let mut responder = responder(now);
    let friends = LinkState { friends: Arc::new([HIGHER].into()), ..link() };
    responder.handle(Input::Link(friends), now);
    for ndp in claims() {
        let mut hear = |at| responder.handle(Input::Received(ndp.into()), at);
        let (dropped, vip) = (Output::Dropped(DropReason::Member), VIP6.into());
        let outputs = hear(now);
        assert_eq!(outputs, [dropped, Output::Member { vip, mac: HIGHER }], "{ndp:?}");
        assert_eq!(hear(now), [dropped], "not again at once");
        now += MEMBER_AGAIN;
        assert_eq!(hear(now).len(), 2);
        now += MEMBER_AGAIN;
    }
}

#[test]
fn a_vip_that_is_insisted_on_is_announced_as_after_a_take_over() {
    let start = Instant::now();
    let mut responder = responder(start);
    let later = start + Duration::from_secs(5);
    responder.handle(Input::Tick, later);
    responder.handle(Input::Insist(VIP6.into()), later);
    responder.handle(Input::Insist(CLIENT6.into()), later);
    let mut at = Vec::new();
    while let Some(due) = responder.deadline().filter(|due| *due < later + Duration::from_secs(2)) {
        assert_eq!(responder.handle(Input::Tick, due).len(), 1);
        at.push((due - later).as_millis());
    }
    assert_eq!(at, [0, 100, 300, 1_000]);
}

/// Who looks for an address wants to see members of the group too, and wants it not itself.
#[test]
fn who_only_looks_finds_members_that_have_it() {
    let friends = || LinkState { friends: Arc::new([HIGHER].into()), ..link() };
    let start = Instant::now();
    let found = |begin: fn(IpAddr, LinkState, Instant) -> Probe, ndp: Ndp| {
        begin(VIP6.into(), friends(), start).handle(probe::Input::Received(&ndp.into()), start)
    };
    let theirs = Some(probe::Output::Done(Outcome::Conflict(HIGHER)));
    assert_eq!(found(Probe::looking, Ndp::announcement(HIGHER, VIP6)), theirs);
    assert_eq!(found(Probe::starting, Ndp::announcement(HIGHER, VIP6)), None);
    assert_eq!(found(Probe::looking, Ndp::probe(LOWER, VIP6)), None);
    assert!(found(Probe::starting, Ndp::probe(LOWER, VIP6)).is_some());
}

/// Ticks a probe for the VIP to its end, and hears `ndp` after 150 ms.
fn probed(ndp: Ndp) -> Outcome {
    let start = Instant::now();
    let mut probe = Probe::starting(VIP6.into(), link(), start);
    let mut heard = Some(start + Duration::from_millis(150));
    loop {
        let due = probe.deadline().unwrap();
        let output = match heard.take_if(|at| *at <= due) {
            Some(at) => probe.handle(probe::Input::Received(&ndp.into()), at),
            None => probe.handle(probe::Input::Tick, due),
        };
        match output {
            None => {}
            Some(probe::Output::Send(frame)) => {
                assert_eq!(frame, Ndp::probe(OURS, VIP6).into());
            }
            Some(probe::Output::Done(outcome)) => return outcome,
        }
    }
}

#[test]
fn a_probe_finds_who_has_the_address() {
    for ndp in claims() {
        assert_eq!(probed(ndp), Outcome::Conflict(HIGHER), "{ndp:?}");
    }
    // The answer to our own question goes to all nodes.
    let answer = Ndp::probe(OURS, VIP6).reply_from(HIGHER);
    assert_eq!(probed(answer), Outcome::Conflict(HIGHER));
    // Who asks for it has not got it; of two that want it the lower comes first.
    assert_eq!(probed(solicitation_from(LOWER)), Outcome::Free);
    assert_eq!(probed(Ndp::probe(LOWER, VIP6)), Outcome::Conflict(LOWER));
    assert_eq!(probed(Ndp::probe(HIGHER, VIP6)), Outcome::Free);
    assert_eq!(probed(Ndp::probe(OUR_OTHER, VIP6)), Outcome::Free);
    assert_eq!(probed(Ndp::announcement(HIGHER, CLIENT6)), Outcome::Free);
}

fn passes(addresses: &BTreeSet<IpAddr>, ranges: usize, bytes: &[u8]) -> bool {
    let program = program(Protocol::Ndp, addresses, ranges);
    cbpf::check(&program);
    cbpf::run(&program, bytes, 1) == NDP_SNAP_LEN
}

#[test]
fn the_filter_passes_solicitations_and_advertisements_about_the_address() {
    let set = BTreeSet::from([VIP6.into()]);
    for ndp in claims().into_iter().chain([solicitation_from(LOWER), Ndp::probe(LOWER, VIP6)]) {
        assert!(passes(&set, MAX_RANGES, &ndp.to_bytes()), "{ndp:?}");
    }
    let good = solicitation_from(LOWER).to_bytes();
    for (at, value) in [(12, 0x08), (20, 17), (21, 254), (54, 133), (54, 137), (55, 1), (77, 0x81)]
    {
        let mut bytes = good.clone();
        bytes[at] = value;
        assert!(!passes(&set, MAX_RANGES, &bytes), "byte {at} = {value}");
    }
    for length in 0..78 {
        assert!(!passes(&set, MAX_RANGES, &good[..length]), "{length} bytes");
    }
    assert_eq!(cbpf::run(&program(Protocol::Ndp, &set, MAX_RANGES), &good, OTHER_HOST), 0);
}

/// The link has one set of VIPs of each family; neither filter looks at those of the other.
#[test]
fn a_filter_is_about_its_own_family() {
    let (v4, v6) = (BTreeSet::from([VIP.into()]), BTreeSet::from([VIP6.into()]));
    assert_eq!(program(Protocol::Ndp, &v4, MAX_RANGES), drop_all());
    assert_eq!(program(Protocol::Arp, &v6, MAX_RANGES), drop_all());
    assert!(!passes(&v6, MAX_RANGES, &request_from(LOWER).to_bytes()));
}

/// Addresses in a few networks, near each other; and some anywhere.
fn address() -> impl Strategy<Value = Ipv6Addr> + Clone {
    let near = (0_u128..4, 0_u128..0x40)
        .prop_map(|(network, host)| (0x2001_0db8_u128 << 96 | network << 64 | host).into());
    prop_oneof![8 => near, 1 => any::<u128>().prop_map(Ipv6Addr::from)]
}

fn asks(target: Ipv6Addr, sender: Ipv6Addr) -> Vec<u8> {
    Ndp { target, sender_ip: sender, ..solicitation_from(LOWER) }.to_bytes()
}

proptest! {
    #[test]
    fn the_filter_passes_exactly_the_members(
        members in proptest::collection::btree_set(address(), 0..60),
        asked in proptest::collection::vec((address(), address()), 1..50),
    ) {
        let set: BTreeSet<IpAddr> = members.iter().copied().map(IpAddr::V6).collect();
        for (target, sender) in asked {
            let passed = passes(&set, MAX_RANGES, &asks(target, sender));
            assert_eq!(passed, members.contains(&target) || members.contains(&sender));
        }
    }

    #[test]
    fn a_coarser_filter_passes_more_never_less(
        members in proptest::collection::btree_set(address(), 1..60),
        ranges in 0_usize..40,
    ) {
        let set: BTreeSet<IpAddr> = members.iter().copied().map(IpAddr::V6).collect();
        for member in members {
            assert!(passes(&set, ranges, &asks(member, CLIENT6)));
            assert!(passes(&set, ranges, &asks(CLIENT6, member)));
        }
    }

    /// Hundreds of addresses, each in a network of its own, fit as well.
    #[test]
    fn many_networks_fit(networks in 1_u128..600) {
        let member = |n: u128| Ipv6Addr::from(0x2001_0db8_u128 << 96 | n << 64 | n);
        let set: BTreeSet<IpAddr> = (0..networks).map(|n| member(n).into()).collect();
        assert!(passes(&set, MAX_RANGES, &asks(member(networks / 2), CLIENT6)));
    }

    /// The parser and the filter agree on what NDP is, but for what the kernel cannot check.
    #[test]
    fn what_passes_is_read(
        mutations in proptest::collection::vec((0..86_usize, any::<u8>()), 0..3),
    ) {
        let mut bytes = solicitation_from(LOWER).to_bytes();
        for (at, value) in mutations {
            bytes[at] = value;
        }
        if passes(&BTreeSet::from([VIP6.into()]), MAX_RANGES, &bytes) {
            let unchecked = [
                DropReason::Short, DropReason::IpVersion, DropReason::Checksum, DropReason::Options,
                DropReason::SenderMac, DropReason::Inconsistent,
            ];
            assert!(parse(&bytes).err().is_none_or(|reason| unchecked.contains(&reason)));
        }
    }
}

/// What the responder says of an address can be read back, whatever the address.
#[test]
fn frames_are_of_the_family_of_the_address() {
    for vip in [IpAddr::V4(VIP), IpAddr::V6(VIP6)] {
        let protocol = Protocol::of(vip);
        let frames = Frame::announcement(OURS, vip).into_iter().chain([Frame::probe(OURS, vip)]);
        for frame in frames {
            assert_eq!(protocol.parse(&frame.to_bytes()), Ok(frame));
            assert_eq!(frame.sender(), OURS);
        }
    }
}
