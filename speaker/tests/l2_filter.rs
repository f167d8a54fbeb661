//! The filter in the real kernel: it is accepted, and passes what it should.

mod l2_rig;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use l2_rig::{End, FOREIGN, Lan, PEER_IP, VIP};
use vipgate_planner::MacAddr;
use vipgate_speaker::l2::Protocol;
use vipgate_speaker::l2::arp::{Arp, FRAME_LEN, parse};
use vipgate_speaker::l2::filter::{ARP_SNAP_LEN, MAX_RANGES, program};
use vipgate_speaker::l2::socket::PacketSocket;

/// Sends the frames, then one about `marker`, which must be in the filter; what came before it.
fn received(lan: &Lan, socket: &PacketSocket, frames: &[Vec<u8>], marker: Ipv4Addr) -> Vec<Arp> {
    let last = Arp::probe(MacAddr([2, 0, 0, 0, 0, 0xee]), marker);
    lan.inject(frames);
    lan.inject(&[last.to_bytes().to_vec()]);
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut seen = Vec::new();
    let mut buffer = [0; 256];
    loop {
        match socket.receive(&mut buffer) {
            Ok(length) => match parse(&buffer[..length]).expect("what passes is ARP") {
                frame if frame == last => return seen,
                frame => seen.push(frame),
            },
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                assert!(Instant::now() < deadline, "the marker does not arrive");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

fn asks(target: Ipv4Addr) -> Arp {
    Arp { sender_ip: PEER_IP, ..Arp::probe(FOREIGN, target) }
}

fn bytes(frame: Arp) -> Vec<u8> {
    frame.to_bytes().to_vec()
}

#[test]
fn passes_members_and_nothing_else() {
    let lan = Lan::new();
    let index = lan.link(End::Node).index;
    lan.enter(End::Node, || {
        let socket = PacketSocket::open(index, Protocol::Arp).unwrap();
        let set = BTreeSet::from([VIP.into()]);
        socket.set_filter(&program(Protocol::Arp, &set, MAX_RANGES)).unwrap();

        let unicast = Arp { destination: lan.mac(End::Node), ..asks(VIP) };
        let claim = Arp::announcement(FOREIGN, VIP)[1];
        let mut padded = bytes(asks(VIP));
        padded.resize(60, 0);
        let good = [bytes(asks(VIP)), bytes(unicast), bytes(claim), padded];

        let other_station = Arp { destination: FOREIGN, ..asks(VIP) };
        let mut tagged = bytes(asks(VIP));
        tagged.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
        let mut wrong_length = bytes(asks(VIP));
        wrong_length[18] = 8;
        let short = bytes(asks(VIP))[..41].to_vec();
        let bad = [
            bytes(asks([10, 80, 0, 79].into())),
            bytes(asks([10, 80, 0, 81].into())),
            bytes(other_station),
            tagged,
            wrong_length,
            short,
        ];
        let mixed: Vec<_> = bad.iter().chain(&good).chain(&bad).cloned().collect();
        let expected = [asks(VIP), unicast, claim, asks(VIP)];
        assert_eq!(received(&lan, &socket, &mixed, VIP), expected);
    });
}

/// The kernel takes the tag of a VLAN that the host has not got off, and would hand the frame to
/// us as if it had come on our own segment.
#[test]
fn the_packet_type_is_what_keeps_foreign_vlans_out() {
    let lan = Lan::new();
    let index = lan.link(End::Node).index;
    lan.enter(End::Node, || {
        let socket = PacketSocket::open(index, Protocol::Arp).unwrap();
        let with_check = program(Protocol::Arp, &BTreeSet::from([VIP.into()]), MAX_RANGES);
        let at = with_check
            .iter()
            .position(|i| i.k == vipgate_speaker::l2::filter::PACKET_TYPE)
            .expect("it checks the packet type");
        let mut without = with_check.clone();
        without.drain(at..at + 3);
        socket.set_filter(&without).unwrap();
        let mut tagged = bytes(asks(VIP));
        tagged.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
        assert_eq!(received(&lan, &socket, &[tagged.clone()], VIP), [asks(VIP)], "the control");
        socket.set_filter(&with_check).unwrap();
        assert_eq!(received(&lan, &socket, &[tagged], VIP), []);
    });
}

#[test]
fn the_largest_program_is_accepted_and_exact() {
    let lan = Lan::new();
    let index = lan.link(End::Node).index;
    lan.enter(End::Node, || {
        let socket = PacketSocket::open(index, Protocol::Arp).unwrap();
        let set: BTreeSet<IpAddr> =
            (0..MAX_RANGES as u32).map(|n| Ipv4Addr::from(0x0a50_1000 + 2 * n).into()).collect();
        socket.set_filter(&program(Protocol::Arp, &set, MAX_RANGES)).unwrap();
        socket.set_filter(&program(Protocol::Arp, &set, MAX_RANGES)).unwrap();
        let all: Vec<Ipv4Addr> =
            (0..2 * MAX_RANGES as u32 + 4).map(|n| (0x0a50_0ffe + n).into()).collect();
        // In parts, so that the socket's queue holds them.
        for part in all.chunks(50) {
            let frames: Vec<_> = part.iter().map(|ip| bytes(asks(*ip))).collect();
            let marker = Ipv4Addr::from(0x0a50_1000);
            let passed: Vec<Ipv4Addr> =
                received(&lan, &socket, &frames, marker).iter().map(|f| f.target_ip).collect();
            let members: Vec<Ipv4Addr> =
                part.iter().copied().filter(|ip| set.contains(&IpAddr::V4(*ip))).collect();
            assert_eq!(passed, members);
        }
    });
}

#[test]
fn a_new_socket_and_an_empty_set_pass_nothing() {
    let lan = Lan::new();
    let index = lan.link(End::Node).index;
    lan.enter(End::Node, || {
        let socket = PacketSocket::open(index, Protocol::Arp).unwrap();
        lan.inject(&vec![bytes(asks(VIP)); 10]);
        socket.set_filter(&program(Protocol::Arp, &BTreeSet::new(), MAX_RANGES)).unwrap();
        lan.inject(&vec![bytes(asks(VIP)); 10]);
        socket
            .set_filter(&program(Protocol::Arp, &BTreeSet::from([VIP.into()]), MAX_RANGES))
            .unwrap();
        assert_eq!(received(&lan, &socket, &[], VIP), [], "only the marker, sent last");
    });
}

#[test]
fn no_more_of_a_frame_is_copied_than_is_read() {
    const { assert!(ARP_SNAP_LEN as usize >= FRAME_LEN) };
    let lan = Lan::new();
    let index = lan.link(End::Node).index;
    lan.enter(End::Node, || {
        let socket = PacketSocket::open(index, Protocol::Arp).unwrap();
        socket
            .set_filter(&program(Protocol::Arp, &BTreeSet::from([VIP.into()]), MAX_RANGES))
            .unwrap();
        let mut long = bytes(asks(VIP));
        long.resize(1_400, 0xaa);
        lan.inject(&[long]);
        std::thread::sleep(Duration::from_millis(50));
        let mut buffer = [0; 2_048];
        assert_eq!(socket.receive(&mut buffer).unwrap(), ARP_SNAP_LEN as usize);
    });
}

#[test]
fn a_link_that_does_not_exist_cannot_be_opened() {
    Lan::new().enter(End::Node, || {
        let error = PacketSocket::open(4_711, Protocol::Arp).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    });
}
