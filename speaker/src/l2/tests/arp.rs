use proptest::prelude::{any, proptest};
use vipgate_planner::MacAddr;

use super::{CLIENT, LOWER, OURS, VIP, request_from};
use crate::l2::DropReason;
use crate::l2::arp::{Arp, FRAME_LEN, Operation, parse};
use crate::l2::frame::{BROADCAST, NO_MAC};

/// As Linux 6.18 sent it over veth and tcpdump captured it: who-has 10.80.0.9 tell 10.80.0.2.
const CAPTURED: [u8; 42] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0xef, 0x6d, 0x9a, 0x96, 0x51, 0x08, 0x06, 0x00, 0x01,
    0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0xde, 0xef, 0x6d, 0x9a, 0x96, 0x51, 0x0a, 0x50, 0x00, 0x02,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x50, 0x00, 0x09,
];

#[test]
fn reads_a_captured_request_and_writes_the_same_bytes() {
    let frame = parse(&CAPTURED).unwrap();
    let mac = MacAddr([0xde, 0xef, 0x6d, 0x9a, 0x96, 0x51]);
    let expected = Arp {
        destination: BROADCAST,
        source: mac,
        operation: Operation::Request,
        sender_mac: mac,
        sender_ip: [10, 80, 0, 2].into(),
        target_mac: NO_MAC,
        target_ip: [10, 80, 0, 9].into(),
    };
    assert_eq!(frame, expected);
    assert_eq!(frame.to_bytes(), CAPTURED);
}

#[test]
fn agrees_with_etherparse() {
    for frame in Arp::announcement(OURS, VIP) {
        let bytes = frame.to_bytes();
        let sliced = etherparse::SlicedPacket::from_ethernet(&bytes).unwrap();
        let Some(etherparse::NetSlice::Arp(arp)) = sliced.net else {
            panic!("not ARP: {sliced:?}")
        };
        let arp = arp.to_packet().try_eth_ipv4().unwrap();
        assert_eq!(arp.sender_mac, OURS.0);
        assert_eq!(arp.sender_ipv4_addr(), VIP);
        assert_eq!(arp.target_ipv4_addr(), VIP);
        assert_eq!(arp.operation.0, if frame.operation == Operation::Request { 1 } else { 2 });
    }
}

#[test]
fn every_prefix_is_short_and_padding_is_ignored() {
    for length in 0..FRAME_LEN {
        assert_eq!(parse(&CAPTURED[..length]), Err(DropReason::Short), "{length} bytes");
    }
    let mut padded = CAPTURED.to_vec();
    padded.resize(60, 0xaa);
    assert_eq!(parse(&padded), parse(&CAPTURED));
}

#[test]
fn names_what_is_wrong() {
    let cases = [
        (12, 0x86, DropReason::EtherType),
        (13, 0x00, DropReason::EtherType),
        (15, 6, DropReason::HardwareType),
        (16, 0x86, DropReason::ProtocolType),
        (18, 0, DropReason::HardwareLength),
        (18, 255, DropReason::HardwareLength),
        (19, 16, DropReason::ProtocolLength),
        (21, 0, DropReason::Operation),
        (21, 3, DropReason::Operation),
        (20, 1, DropReason::Operation),
        (22, 0x01, DropReason::SenderMac),
    ];
    for (at, value, reason) in cases {
        let mut bytes = CAPTURED;
        bytes[at] = value;
        assert_eq!(parse(&bytes), Err(reason), "byte {at} = {value}");
    }
    let mut bytes = CAPTURED;
    bytes[22..28].fill(0);
    assert_eq!(parse(&bytes), Err(DropReason::SenderMac));
    // A VLAN tag moves the EtherType away.
    let mut tagged = CAPTURED[..12].to_vec();
    tagged.extend([0x81, 0x00, 0x00, 0x05]);
    tagged.extend(&CAPTURED[12..]);
    assert_eq!(parse(&tagged), Err(DropReason::EtherType));
}

#[test]
fn labels_are_distinct_and_in_the_order_of_discriminants() {
    let labels: std::collections::BTreeSet<_> = DropReason::ALL.map(DropReason::label).into();
    assert_eq!(labels.len(), DropReason::ALL.len());
    for (i, reason) in DropReason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, i);
    }
}

#[test]
fn an_announcement_is_a_request_and_a_reply_to_everybody() {
    let [request, reply] = Arp::announcement(OURS, VIP);
    assert_eq!((request.operation, reply.operation), (Operation::Request, Operation::Reply));
    for frame in [request, reply] {
        assert_eq!((frame.destination, frame.source), (BROADCAST, OURS));
        assert_eq!((frame.sender_mac, frame.sender_ip, frame.target_ip), (OURS, VIP, VIP));
    }
}

#[test]
fn a_reply_goes_to_the_requester_alone() {
    let reply = request_from(LOWER).reply_from(OURS);
    assert_eq!((reply.destination, reply.source), (LOWER, OURS));
    assert_eq!((reply.sender_mac, reply.sender_ip), (OURS, VIP));
    assert_eq!((reply.target_mac, reply.target_ip), (LOWER, CLIENT));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _either = parse(&bytes);
    }

    /// Mutations of a good frame get deeper than random bytes do.
    #[test]
    fn what_is_accepted_is_written_back_bit_for_bit(
        mutations in proptest::collection::vec((0..FRAME_LEN, any::<u8>()), 0..4),
    ) {
        let mut bytes = CAPTURED;
        for (at, value) in mutations {
            bytes[at] = value;
        }
        if let Ok(frame) = parse(&bytes) {
            assert_eq!(frame.to_bytes(), bytes);
        }
    }
}
