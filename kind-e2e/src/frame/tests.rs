use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Arp, ArpOp, Frame};
use crate::Mac;

const SENDER: Mac = Mac([2, 0, 0, 0, 0, 1]);
const VIP: [u8; 4] = [10, 77, 0, 200];

/// A request for the VIP, from `sender`, written out as it is on the wire.
fn request(sender: [u8; 4]) -> Frame {
    let bytes = [
        &[0xff; 6][..],
        &SENDER.0,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &SENDER.0,
        &sender,
        &[0; 6],
        &VIP,
    ]
    .concat();
    Frame { at: Duration::ZERO, bytes }
}

#[test]
fn fields_of_a_request() {
    let expected = Arp {
        eth_src: SENDER,
        eth_dst: Mac::BROADCAST,
        op: ArpOp::Request,
        sender_mac: SENDER,
        sender_ip: Ipv4Addr::new(10, 77, 0, 1),
        target_mac: Mac::ZERO,
        target_ip: VIP.into(),
    };
    assert_eq!(request([10, 77, 0, 1]).arp(), Some(expected));
}

#[test]
fn probe_and_announcement_are_told_apart() {
    let probe = request([0; 4]).arp().unwrap();
    assert!(probe.is_probe() && !probe.is_announcement());
    let announcement = request(VIP).arp().unwrap();
    assert!(announcement.is_announcement() && !announcement.is_probe());
}

#[test]
fn no_prefix_of_a_packet_is_a_packet() {
    let frame = request([10, 77, 0, 1]);
    for length in 0..frame.bytes.len() {
        let cut = Frame { at: Duration::ZERO, bytes: frame.bytes[..length].to_vec() };
        assert_eq!(cut.arp(), None, "{length}");
    }
}
